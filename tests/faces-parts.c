/* SPDX-License-Identifier: MIT */
/*
 * Parts of `status` and `check` that need no host: what a unit's sandbox means, what a process
 * hands on, what JSON is made of. Linked with the program's own files.
 */
#include "../vip.h"

#include "faces.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PROGRAM "/usr/sbin/sentinel-vip"
#define ALL_CAPS "cap_chown cap_net_bind_service cap_net_admin cap_net_raw cap_sys_admin"

/* `systemctl show` of Debian 12's redis-sentinel.service, as it comes. */
static const char stock[] = "CapabilityBoundingSet=\n"
			    "AmbientCapabilities=\n"
			    "User=redis\n"
			    "ExecPaths=/usr/bin/redis-sentinel /usr/lib /lib\n"
			    "NoExecPaths=/\n"
			    "PrivateNetwork=no\n"
			    "PrivateUsers=yes\n"
			    "NoNewPrivileges=yes\n"
			    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
			    "Id=redis-sentinel.service\n"
			    "LoadState=loaded\n";

/* The same with a drop-in that lets this program work. */
static const char opened[] =
	"CapabilityBoundingSet=cap_net_admin cap_net_raw\n"
	"AmbientCapabilities=cap_net_admin cap_net_raw\n"
	"User=redis\n"
	"ExecPaths=/usr/bin/redis-sentinel /usr/lib /lib /usr/sbin/sentinel-vip\n"
	"NoExecPaths=/\n"
	"PrivateNetwork=no\n"
	"PrivateUsers=no\n"
	"NoNewPrivileges=yes\n"
	"RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX\n"
	"Id=redis-sentinel.service\n"
	"LoadState=loaded\n";

/* A unit without any sandbox, as of the Fedora family. */
static const char bare[] = "CapabilityBoundingSet=" ALL_CAPS "\n"
			   "AmbientCapabilities=\n"
			   "User=redis\n"
			   "ExecPaths=\n"
			   "NoExecPaths=\n"
			   "PrivateNetwork=no\n"
			   "PrivateUsers=no\n"
			   "NoNewPrivileges=no\n"
			   "RestrictAddressFamilies=~\n"
			   "Id=valkey-sentinel.service\n"
			   "LoadState=loaded\n";

static struct report report;
static unsigned counted;

static size_t judge_as(bool relayed, const char *output, const char *program)
{
	free(report.findings);
	report = (struct report){0};
	return check_unit_judge(output, program, relayed, &report, &counted);
}

static size_t judge(const char *output, const char *program)
{
	return judge_as(false, output, program);
}

static size_t errors(void)
{
	size_t n = 0;

	for (size_t i = 0; i < report.count; i++)
		n += report.findings[i].level == LEVEL_ERROR;
	assert_int_equal(counted, n);
	return n;
}

/* One of the errors says this, and its remedy that. */
static void expect_error(const char *text, const char *remedy)
{
	for (size_t i = 0; i < report.count; i++)
		if (report.findings[i].level == LEVEL_ERROR &&
		    strstr(report.findings[i].text.text, text) &&
		    strstr(report.findings[i].remedy.text, remedy))
			return;
	for (size_t i = 0; i < report.count; i++)
		print_error("%s [%s]\n", report.findings[i].text.text,
			    report.findings[i].remedy.text);
	fail_msg("no error \"%s\" with remedy \"%s\"", text, remedy);
}

/* The text with its line KEY=... replaced. */
static const char *with(const char *output, const char *key, const char *line)
{
	static char text[4096];
	const char *at = strstr(output, key), *end = at ? strchr(at, '\n') : NULL;

	assert_non_null(end);
	snprintf(text, sizeof text, "%.*s%s%s", (int)(at - output), output, line, end);
	return text;
}

static void debians_unit_forbids_it_all(void **state)
{
	(void)state;
	assert_int_equal(judge(stock, PROGRAM), 1);
	assert_int_equal(errors(), 5);
	expect_error("NoExecPaths=",
		     "systemctl edit redis-sentinel.service: [Service] ExecPaths=" PROGRAM);
	expect_error("forbids AF_NETLINK", "RestrictAddressFamilies=AF_NETLINK AF_PACKET");
	expect_error("CapabilityBoundingSet=", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW");
	expect_error("AmbientCapabilities=", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW");
	expect_error("PrivateUsers=", "PrivateUsers=no");
	/* below /usr/lib it may be executed, and nothing else is better */
	judge(stock, "/usr/lib/sentinel-vip/sentinel-vip");
	assert_int_equal(errors(), 4);
}

/* What asks the relay has to be started, and to reach a socket. */
static void relayed_it_needs_little(void **state)
{
	(void)state;
	assert_int_equal(judge_as(true, stock, "/usr/lib/sentinel-vip/sentinel-vip"), 1);
	assert_int_equal(errors(), 0);
	assert_int_equal(report.count, 1);
	assert_non_null(strstr(report.findings[0].text.text, "redis-sentinel.service lets"));
	judge_as(true, stock, PROGRAM);
	assert_int_equal(errors(), 1);
	expect_error("NoExecPaths=", "ExecPaths=" PROGRAM);
	judge_as(true, with(opened, "RestrictAddress", "RestrictAddressFamilies=AF_INET"), PROGRAM);
	assert_int_equal(errors(), 1);
	expect_error("forbids AF_UNIX", "RestrictAddressFamilies=AF_UNIX");
	judge_as(true, with(opened, "RestrictAddress", "RestrictAddressFamilies=~AF_UNIX"), PROGRAM);
	assert_int_equal(errors(), 1);
	expect_error("forbids AF_UNIX", "RestrictAddressFamilies=");
	judge_as(true, with(opened, "RestrictAddress", "RestrictAddressFamilies=~"), PROGRAM);
	assert_int_equal(errors(), 0);
	judge_as(true, with(opened, "RestrictAddress", "RestrictAddressFamilies=~AF_PACKET"), PROGRAM);
	assert_int_equal(errors(), 0);
}

static void each_setting_counts_by_itself(void **state)
{
	(void)state;
	assert_int_equal(judge(opened, PROGRAM), 1);
	assert_int_equal(errors(), 0);
	assert_int_equal(report.count, 1);
	judge(with(opened, "ExecPaths=/usr", "ExecPaths=/usr/bin/redis-sentinel"), PROGRAM);
	expect_error("NoExecPaths=", "ExecPaths=" PROGRAM);
	assert_int_equal(errors(), 1);
	judge(with(opened, "RestrictAddress", "RestrictAddressFamilies=AF_INET AF_NETLINK AF_UNIX"),
	      PROGRAM);
	expect_error("forbids AF_PACKET", "RestrictAddressFamilies=AF_NETLINK AF_PACKET");
	assert_int_equal(errors(), 1);
	judge(with(opened, "RestrictAddress", "RestrictAddressFamilies=~AF_VSOCK AF_PACKET"),
	      PROGRAM);
	expect_error("forbids AF_PACKET", "RestrictAddressFamilies=");
	judge(with(opened, "RestrictAddress", "RestrictAddressFamilies=~AF_VSOCK"), PROGRAM);
	assert_int_equal(errors(), 0);
	judge(with(opened, "Ambient", "AmbientCapabilities=cap_net_admin"), PROGRAM);
	expect_error("AmbientCapabilities=", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW");
	assert_int_equal(errors(), 1);
	judge(with(opened, "CapabilityBounding", "CapabilityBoundingSet=cap_net_raw"), PROGRAM);
	expect_error("CapabilityBoundingSet=", "CapabilityBoundingSet=");
	assert_int_equal(errors(), 1);
	judge(with(opened, "PrivateUsers=", "PrivateUsers=yes"), PROGRAM);
	expect_error("PrivateUsers=", "PrivateUsers=no");
	assert_int_equal(errors(), 1);
	judge(with(opened, "PrivateNetwork=", "PrivateNetwork=yes"), PROGRAM);
	expect_error("PrivateNetwork=", "PrivateNetwork=no");
	assert_int_equal(errors(), 1);
}

/* Where the program's file can give capabilities, or the user is root, nothing is wrong. */
static void no_sandbox_is_well(void **state)
{
	(void)state;
	judge(bare, PROGRAM);
	assert_int_equal(errors(), 0);
	judge(with(bare, "NoNewPrivileges=", "NoNewPrivileges=yes"), PROGRAM);
	expect_error("AmbientCapabilities=", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW");
	judge(with(with(bare, "NoNewPrivileges=", "NoNewPrivileges=yes"), "User=", "User="),
	      PROGRAM);
	assert_int_equal(errors(), 0);
}

static void paths_are_compared_by_their_parts(void **state)
{
	(void)state;
	judge(with(opened, "ExecPaths=/usr", "ExecPaths=/usr/sbin"), PROGRAM);
	assert_int_equal(errors(), 0);
	judge(with(opened, "ExecPaths=/usr", "ExecPaths=-/usr/sbin/"), PROGRAM);
	assert_int_equal(errors(), 0);
	judge(with(opened, "ExecPaths=/usr", "ExecPaths=/usr/sbin/sentinel"), PROGRAM);
	assert_int_equal(errors(), 1);
	judge(with(opened, "NoExecPaths=", "NoExecPaths=/usr/sbin"), "/opt/sentinel-vip");
	assert_int_equal(errors(), 0);
	/* the nearer one decides */
	judge(with(with(opened, "NoExecPaths=", "NoExecPaths=/usr/sbin/sentinel-vip"),
		   "ExecPaths=/usr", "ExecPaths=/usr/sbin"),
	      PROGRAM);
	assert_int_equal(errors(), 1);
}

/* An alias comes twice, what is not there comes as not-found, a template's instances each. */
static void several_units_are_told_apart(void **state)
{
	char text[8192];

	(void)state;
	snprintf(text, sizeof text, "%s\n%s\n", stock, stock);
	assert_int_equal(judge(text, PROGRAM), 1);
	assert_int_equal(errors(), 5);
	snprintf(text, sizeof text, "%s\n", with(bare, "LoadState=", "LoadState=not-found"));
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", opened);
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s",
		 with(opened, "Id=", "Id=redis-sentinel@2.service"));
	assert_int_equal(judge(text, PROGRAM), 2);
	assert_int_equal(errors(), 0);
	assert_int_equal(judge("", PROGRAM), 0);
	assert_int_equal(judge("Failed to connect to bus\n\n\n", PROGRAM), 0);
}

/* A unit that has failed too often is not started before that is forgotten. */
static void what_failed_is_reset(void **state)
{
	char path[] = "/tmp/sentinel-XXXXXX.conf", text[4096], failed[4096];
	int fd = mkstemps(path, 5);

	(void)state;
	assert_true(fd >= 0);
	dprintf(fd, "port 26379\nsentinel client-reconfig-script mymaster /nowhere/vip\n");
	snprintf(text, sizeof text, "ActiveState=inactive\nExecStart={ path=/x ; argv[]=/x %s ; }\n%s",
		 path, stock);
	free(report.findings);
	report = (struct report){0};
	check_unit_stopped(text, PROGRAM, &report);
	counted = 1;
	assert_int_equal(errors(), 1);
	expect_error("client-reconfig-script is /nowhere/vip", "; then systemctl restart redis-sentinel");
	snprintf(failed, sizeof failed, "%s", with(text, "ActiveState=", "ActiveState=failed"));
	check_unit_stopped(failed, PROGRAM, &report);
	expect_error("client-reconfig-script is /nowhere/vip",
		     "; then systemctl reset-failed redis-sentinel.service; systemctl restart redis-sent");
	counted = 2;
	assert_int_equal(errors(), 2);	/* said once */
	/* what is there may be forbidden, and is well otherwise */
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	dprintf(fd, "sentinel client-reconfig-script mymaster /bin/true\n");
	close(fd);
	check_unit_stopped(text, PROGRAM, &report);
	expect_error("/bin/true, which NoExecPaths= and ExecPaths= forbid", "NAME " PROGRAM "; then systemctl r");
	counted = 3;
	assert_int_equal(errors(), 3);
	check_unit_stopped(with(text, "NoExecPaths=", "NoExecPaths="), PROGRAM, &report);
	assert_int_equal(errors(), 3);
	unlink(path);
	check_unit_stopped(text, PROGRAM, &report);
	check_unit_stopped(stock, PROGRAM, &report);
	assert_int_equal(errors(), 3);	/* stopped is not failed */
	check_unit_stopped(failed, PROGRAM, &report);
	expect_error("redis-sentinel.service has failed",
		     "systemctl reset-failed redis-sentinel.service; systemctl restart redis-sentinel");
	judge(failed, PROGRAM);
	expect_error("NoExecPaths=", "; then systemctl reset-failed redis-sentinel.service; ");
}

/* capabilities(7), "Transformation of capabilities during execve()" */
static void capabilities_pass_execve_as_the_kernel_says(void **state)
{
	const uint64_t both = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW,
		       all = UINT64_MAX >> 23;
	const struct file_caps none = {0}, file = {.effective = true, .permitted = both};
	const struct file_caps mute = {.permitted = both};
	struct process root = {.uid = 0, .permitted = all, .bounding = all};
	struct process user = {.uid = 101, .bounding = all};
	struct process ambient = {.uid = 101,
				  .bounding = both,
				  .permitted = both,
				  .inheritable = both,
				  .ambient = both};

	(void)state;
	assert_true(process_exec(&root, &none) == all);
	assert_true(process_exec(&user, &none) == 0);
	assert_true(process_exec(&user, &file) == both);
	assert_true(process_exec(&user, &mute) == 0);
	assert_true(process_exec(&ambient, &none) == both);
	root.bounding = both;
	assert_true(process_exec(&root, &none) == both);
	user.no_new_privs = true;
	assert_true(process_exec(&user, &file) == 0);
	ambient.no_new_privs = true;
	assert_true(process_exec(&ambient, &none) == both);
	user = (struct process){.uid = 101, .bounding = UINT64_C(1) << CAP_NET_RAW};
	assert_true(process_exec(&user, &file) == UINT64_C(1) << CAP_NET_RAW);
}

static void lines_are_found_whole(void **state)
{
	char out[8];

	(void)state;
	assert_non_null(file_line("AB=1\nB= 22 \r\nB=3", "B=", out, sizeof out));
	assert_string_equal(out, "22");
	assert_non_null(file_line("B=3", "B=", out, sizeof out));
	assert_string_equal(out, "3");
	assert_non_null(file_line("x\nLong:\t0123456789\n", "Long:", out, sizeof out));
	assert_string_equal(out, "0123456");
	assert_non_null(file_line("B=\nB=2", "B=", out, sizeof out));
	assert_string_equal(out, "");
	assert_null(file_line("", "B=", out, sizeof out));
	assert_null(file_line("AB=1", "B=", out, sizeof out));
}

/* What a Sentinel says is anything; JSON stays JSON, in UTF-8, without control characters. */
static void json_escapes_what_it_must(void **state)
{
	static const char nasty[] = "q\"b\\n\n\x1b[31m \xff\xc3 \xc3\xa9 \xe2\x82\xac \xc2\x9b "
				    "\xed\xa0\x80 \xf0\x9f\x98\x80";
	static char text[16384];
	struct vote votes[1] = {{.answer = {.kind = ANSWER_NONE}}};
	struct master master = {.name = "m"};
	struct state one = {.run.master = &master, .council = { .votes = votes, .count = 1 }};
	struct survey survey = {.states = &one, .count = 1};
	struct judgement j = {.verdict = VERDICT_PERMANENT};
	int saved = dup(1), file = memfd_create("json", MFD_CLOEXEC);
	ssize_t n;

	(void)state;
	snprintf(votes[0].answer.error, sizeof votes[0].answer.error, "%s", nasty);
	snprintf(votes[0].sentinel.host, sizeof votes[0].sentinel.host, "%s", nasty);
	fflush(stdout);
	dup2(file, 1);
	status_json(&survey, &j, VERDICT_PERMANENT);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	n = pread(file, text, sizeof text - 1, 0);
	close(file);
	text[n > 0 ? n : 0] = '\0';
	assert_true(json_valid(text));
	assert_non_null(strstr(
		text,
		"\"q\\\"b\\\\n\\u000a\\u001b[31m \\ufffd\\ufffd \xc3\xa9 \xe2\x82\xac \\u009b "
		"\\ufffd\\ufffd\\ufffd \xf0\x9f\x98\x80\""));
}

int faces_parts_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debians_unit_forbids_it_all),
		cmocka_unit_test(relayed_it_needs_little),
		cmocka_unit_test(each_setting_counts_by_itself),
		cmocka_unit_test(no_sandbox_is_well),
		cmocka_unit_test(paths_are_compared_by_their_parts),
		cmocka_unit_test(several_units_are_told_apart),
		cmocka_unit_test(what_failed_is_reset),
		cmocka_unit_test(capabilities_pass_execve_as_the_kernel_says),
		cmocka_unit_test(lines_are_found_whole),
		cmocka_unit_test(json_escapes_what_it_must),
	};

	return cmocka_run_group_tests_name("parts of status and check", tests, NULL, NULL);
}
