/* SPDX-License-Identifier: MIT */
/*
 * after-claim and after-release: when they are run, what they are given and what not, and that the
 * run does not care what becomes of them. The hooks are scripts in the host's /run.
 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOOKS "after-claim = /run/hook\nafter-release = /run/hook\n"
#define BOTH HOOKS CONFIG_BOTH

/* /run/hook on `us`, which is root's and may be executed by everybody. */
static void hook(const char *script)
{
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\n%s\n", script);
	lab_config(us, "%s", BOTH);
}

/* The line about the hook's end. */
static const char *end_of(const char *event, int timeout_ms)
{
	char text[64];

	snprintf(text, sizeof text, "mymaster: %s: /run/hook ", event);
	return lab_log_wait(us, text, timeout_ms);
}

#define expect_end(event, says) expect_end_at(__FILE__, __LINE__, event, says)

static void expect_end_at(const char *file, int line, const char *event, const char *says)
{
	const char *end = end_of(event, 5000);

	if (!end || !strstr(end, says)) {
		lab_log_print(us);
		print_error("%s did not end with \"%s\": %s\n", event, says, end ? end : "-");
		_fail(file, line);
	}
	lab_log_clear(us);
}

/* The run itself: its status and its line, among those of the hook. */
static void expect_run(int status, const char *says)
{
	assert_int_equal(r.status, status);
	assert_non_null(lab_log_wait(us, says, 500));
}

/* A file of the host's /run; the text lives until the next call. */
static const char *file_of(const char *name)
{
	static char text[16384];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%s", us->run, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void expect_in(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	while (at && ((at > text && at[-1] != '\n') || at[strlen(line)] != '\n'))
		at = strstr(at + 1, line);
	if (!at)
		fail_msg("no line \"%s\" in:\n%s", line, text);
}

/* ---- when, and with what ---- */

static void is_told_what_has_moved(void **state)
{
	const char *text;

	(void)state;
	hook("env >/run/env; echo \"$0 $#\" \"$@\" >/run/args");
	sentinel(OUR4);
	expect_run(0, "claimed " VIP4);
	expect_end("after-claim", "ended well after");
	text = file_of("env");
	expect_in(text, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	expect_in(text, "SENTINEL_VIP_EVENT=after-claim");
	expect_in(text, "SENTINEL_VIP_MASTER=mymaster");
	expect_in(text, "SENTINEL_VIP_VIPS=" VIP4 " " VIP6);
	expect_in(text, "SENTINEL_VIP_INTERFACE=eth0");
	expect_in(text, "SENTINEL_VIP_FROM=" OLD4);
	expect_in(text, "SENTINEL_VIP_TO=" OUR4);
	expect_in(text, "SENTINEL_VIP_PORT=6379");
	expect_in(text, "SENTINEL_VIP_REASON=the master is " OUR4 ":6379, this host");
	/* the shell adds PWD, and dash OLDPWD; nothing is the caller's */
	assert_null(strstr(text, "SENTINEL_VIP_CONFIG"));
	assert_null(strstr(text, "HOME="));
	expect_in(text, "PWD=/");
	expect_in(file_of("args"), "/run/hook 1 after-claim");

	/* both copies of one address are one */
	lab_must(us, "ip addr add " VIP4 "/24 dev eth0");
	sentinel(PEER4);
	expect_run(0, "released " VIP4);
	expect_end("after-release", "ended well after");
	text = file_of("env");
	expect_in(text, "SENTINEL_VIP_EVENT=after-release");
	expect_in(text, "SENTINEL_VIP_VIPS=" VIP4 " " VIP6);
	expect_in(text, "SENTINEL_VIP_TO=" PEER4);
	expect_in(file_of("args"), "/run/hook 1 after-release");
}

static void only_what_has_moved_counts(void **state)
{
	(void)state;
	hook("env >/run/env");
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	sentinel(OUR4);
	expect_run(0, "claimed " VIP6);
	expect_end("after-claim", "ended well");
	expect_in(file_of("env"), "SENTINEL_VIP_VIPS=" VIP6);
}

/* One of the two cannot be moved; the other is told of, for it has. */
static void what_failed_does_not_count(void **state)
{
	(void)state;
	hook("env >/run/env");
	lab_must(us, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
	sentinel(OUR4);
	expect_run(2, "failed: ");
	expect_end("after-claim", "ended well");
	expect_in(file_of("env"), "SENTINEL_VIP_VIPS=" VIP4);
}

static void by_hand_nothing_is_known_of_the_master(void **state)
{
	(void)state;
	hook("env >/run/env");
	vip("claim", "mymaster");
	expect_run(0, "claimed " VIP4);
	expect_end("after-claim", "ended well");
	expect_in(file_of("env"), "SENTINEL_VIP_FROM=");
	expect_in(file_of("env"), "SENTINEL_VIP_TO=");
	expect_in(file_of("env"), "SENTINEL_VIP_PORT=");
	expect_in(file_of("env"), "SENTINEL_VIP_REASON=by hand");
}

static void nothing_moved_is_no_reason(void **state)
{
	(void)state;
	hook("echo ran >>/run/ran");
	sentinel(OUR4);
	expect_end("after-claim", "ended well");
	sentinel(OUR4); /* announced again */
	expect(0, "announced");
	vip("-n", "release", "mymaster");
	assert_non_null(strstr(r.out, "would run /run/hook"));
	vip("-n", "claim", "mymaster");
	assert_null(strstr(r.out, "would run"));
	sentinel(PEER4);
	expect_end("after-release", "ended well");
	sentinel(PEER4);
	expect(0, "nothing to do");
	lab_config(us, "interface = missing\n" HOOKS "[mymaster]\nvip = " VIP4 "\n");
	sentinel(OUR4);
	expect(2, "does not exist");
	lab_sleep_ms(100);
	assert_string_equal(file_of("ran"), "ran\nran\n");
}

static void a_section_has_its_own_or_none(void **state)
{
	(void)state;
	hook("echo ran >>/run/ran");
	lab_config(us, HOOKS "interface = eth0\n[mymaster]\nvip = " VIP4
			     "\nafter-claim = none\n[other]\nvip = 10.0.0.251\n");
	sentinel(OUR4);
	expect(0, "claimed");
	vip("claim", "other");
	assert_non_null(lab_log_wait(us, "other: after-claim: /run/hook ended well", 5000));
	assert_string_equal(file_of("ran"), "ran\n");
}

/* ---- what it may not do ---- */

static const char shows[] =
	"cat /proc/self/status >/run/status\n"
	"fds=$(for d in 0 1 2 3 4 5 6 7 8 9 10 100; do readlink /proc/$$/fd/$d; done)\n"
	"echo \"$fds\" >/run/fds; cat /proc/$$/stat >/run/stat; cat >/run/stdin";

static void expect_nothing_kept(void)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	int pid, ppid, group, session;
	char text[128];

	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		snprintf(text, sizeof text, "%s:\t0000000000000000", sets[i]);
		expect_in(file_of("status"), text);
	}
	expect_in(file_of("status"), "NoNewPrivs:\t1");
	assert_memory_equal(file_of("fds"), "/dev/null\npipe:[", 16);
	assert_null(strstr(file_of("fds"), "socket:"));
	assert_null(strstr(file_of("fds"), "/run/sentinel-vip"));
	assert_string_equal(file_of("stdin"), "");
	assert_int_equal(sscanf(file_of("stat"), "%d (hook) %*c %d %d %d", &pid, &ppid, &group,
				&session), 4);
	assert_int_equal(group, pid);
	assert_int_equal(session, pid);
}

static void has_no_capability_of_roots(void **state)
{
	(void)state;
	hook(shows);
	sentinel(OUR4);
	expect_end("after-claim", "ended well");
	expect_nothing_kept();
}

/* Seen by a program that is no shell, since those set signals right themselves. */
static void has_clean_signals(void **state)
{
	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/usr/bin/env -S grep -hs ^Sig /proc/self/status\n");
	lab_config(us, "%s", BOTH);
	signal(SIGHUP, SIG_IGN); /* as Sentinel has it */
	sentinel(OUR4);
	signal(SIGHUP, SIG_DFL);
	assert_non_null(end_of("after-claim", 5000));
	/* but for 32 and 33, which posix_spawn(3), make's for one, leaves ignored, and glibc to itself */
	assert_true(lab_log_wait(us, "says: SigIgn:\\x090000000000000000", 100) ||
		    lab_log_wait(us, "says: SigIgn:\\x090000000180000000", 100));
	assert_non_null(lab_log_wait(us, "says: SigBlk:\\x090000000000000000", 100));
}

/* As Sentinel has them by its unit; the bounding set is as it was, it cannot be changed. */
static void has_no_ambient_capability(void **state)
{
	(void)state;
	hook("grep -E 'Cap|Priv' /proc/self/status; id -u; ip addr add 10.0.0.77/32 dev eth0 && echo COULD");
	lab_must(us, "mkdir -m 700 /run/sentinel-vip && chown 65534 /run/sentinel-vip && chown "
		     "65534 /run/sentinel-vip.conf");
	lab_run(us, &r, 20000,
		(const char *const[]){"setpriv", "--reuid", "65534", "--regid", "65534",
				      "--clear-groups", "--bounding-set", "-all,+net_admin,+net_raw",
				      "--inh-caps", "-all,+net_admin,+net_raw", "--ambient-caps",
				      "+net_admin,+net_raw", lab_program(), SENTINELS_CALL(OUR4),
				      NULL});
	expect_run(0, "claimed " VIP4);
	assert_non_null(end_of("after-claim", 5000));
	assert_non_null(lab_log_wait(us, "says: 65534", 100));
	assert_non_null(lab_log_wait(us, "says: CapPrm:\\x090000000000000000", 100));
	assert_non_null(lab_log_wait(us, "says: CapAmb:\\x090000000000000000", 100));
	assert_non_null(lab_log_wait(us, "says: CapInh:\\x090000000000000000", 100));
	assert_int_equal(lab_log_count(us, "COULD"), 0);
	assert_int_equal(lab_addr_copies(us, "10.0.0.77"), 0);
}

static void keeps_nothing_of_the_caller_open(void **state)
{
	struct pollfd p = {.events = 0};
	int leak[2];
	pid_t pid;

	(void)state;
	hook("exec sleep 60");
	assert_int_equal(pipe(leak), 0);
	assert_int_equal(fcntl(leak[0], F_SETFD, FD_CLOEXEC), 0);
	lab_config(us, "announce = none\n%s", BOTH);
	pid = lab_spawn(us, "out", (const char *const[]){lab_program(), SENTINELS_CALL(OUR4), NULL});
	close(leak[1]);
	assert_int_equal(lab_wait(pid, 1000 * lab_slow()), 0);
	p.fd = leak[0];
	assert_int_equal(poll(&p, 1, 500), 1);
	assert_true(p.revents & POLLHUP);
	close(leak[0]);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) >= 2, 1000)); /* and the hook runs */
}

/* ---- what becomes of it ---- */

static void its_failure_is_logged_and_no_more(void **state)
{
	(void)state;
	hook("echo first; echo second >&2; printf unfinished; exit 3");
	sentinel(OUR4);
	expect_run(0, "claimed " VIP4);
	assert_non_null(end_of("after-claim", 5000));
	assert_non_null(lab_log_wait(us, "<29>", 100));
	assert_int_equal(lab_log_count(us, "after-claim says: first"), 1);
	assert_int_equal(lab_log_count(us, "after-claim says: second"), 1);
	assert_int_equal(lab_log_count(us, "after-claim says: unfinished"), 1);
	assert_memory_equal(end_of("after-claim", 0), "<28>", 4);
	expect_end("after-claim", "/run/hook failed: exit status 3 after");
	hook("kill -SEGV $$");
	sentinel(PEER4);
	expect_run(0, "released " VIP4);
	expect_end("after-release", "failed: signal 11 after");
}

static void what_cannot_be_executed_holds_nothing_up(void **state)
{
	static const struct {
		const char *make, *says;
	} cases[] = {
		{"chmod 644 /run/hook", "cannot be executed: Permission denied: chmod +x"},
		{"rm /run/hook", "is not run: No such file or directory: put it there"},
		{"printf '#!/missing\\n' >/run/hook", "No such file or directory, or the program"},
		{"echo true >/run/hook", "Exec format error: its first line must be #!"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		hook("true");
		lab_must(us, "%s", cases[i].make);
		sentinel(OUR4);
		expect_run(0, "claimed " VIP4);
		expect_end("after-claim", cases[i].says);
		lab_must(us, "ip addr flush to " VIP4 "/32 dev eth0; ip addr flush to " VIP6
			     "/128 dev eth0");
	}
}

/* A file system that hangs is no reason for a failover to wait, least of all for the other hook. */
static void nobody_waits_for_the_disk_it_is_on(void **state)
{
	int64_t begun = lab_now_ns();

	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\n");
	lab_config(us, "announce = none\nverify = no\nafter-claim = /run/hook\nafter-release = /run/hook\n" CONFIG4);
	lab_run(us, &r, 20000, (const char *const[]){
		"strace", "-E", "ASAN_OPTIONS=detect_leaks=0", "-qq", "-o", "/dev/null", "-P", "/run/hook", "-e",
		lab_delay("inject=newfstatat,stat:delay_enter=", 2000000), lab_program(), SENTINELS_CALL(OUR4), NULL});
	assert_int_equal(r.status, 0);
	assert_in_range((lab_now_ns() - begun) / 1000000, 0, 1500 * lab_slow());
}

/*
 * Whoever can put another program in its place would have that run: it is not run, and nothing else is
 * different.  Also when that became so after the configuration was read.
 */
static void what_others_may_exchange_is_not_run(void **state)
{
	static const struct {
		const char *make, *says;
	} cases[] = {
		{"chmod 777 /run/d", "/run/d/hook is not run: /run/d leads to /run/d/hook and can be written by "
				     "others, who could put another file there: chmod go-w /run/d"},
		{"chown 65534 /run/d", ": chown root /run/d"},
		{"chmod 775 /run/d/hook", "/run/d/hook can be written by others than its owner: chmod go-w"},
		{"chmod 757 /run/d/hook", "/run/d/hook can be written by others than its owner: chmod go-w"},
		{"chown 65534 /run/d/hook", "/run/d/hook belongs to uid 65534, who could change it: chown root"},
		{"rm /run/d/hook; mkdir /run/d/hook", "/run/d/hook is not a regular file"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		lab_must(us, "rm -rf /run/d/hook");
		lab_file(us, "d/hook", 0755, 0, "#!/bin/sh\necho ran >>/run/ran\n");
		lab_must(us, "chmod 755 /run/d; chown 0 /run/d");
		lab_config(us, "announce = none\nafter-claim = /run/d/hook\n%s", CONFIG4);
		lab_must(us, "%s", cases[i].make);
		sentinel(OUR4);
		expect_run(0, "claimed " VIP4);
		assert_non_null(lab_log_wait(us, cases[i].says, 2000));
		assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
		assert_string_equal(file_of("ran"), "");
		vip("release", "mymaster");
		lab_log_clear(us);
	}
}

/* A megabyte, then a line that never ends: it is neither logged nor in the hook's way. */
static void much_output_is_cut(void **state)
{
	size_t lines;

	(void)state;
	hook("seq -f '%.0f bottles of beer on the wall' 30000\n"
	     "head -c 200000 /dev/zero | tr '\\0' x; echo; exit 4");
	sentinel(OUR4);
	expect_run(0, "claimed " VIP4);
	assert_non_null(end_of("after-claim", 5000));
	assert_non_null(strstr(end_of("after-claim", 0), "exit status 4"));
	lines = lab_log_count(us, "after-claim says: ");
	assert_in_range(lines, 30, 40); /* a few may be lost where the logger is slow */
	assert_int_equal(lab_log_count(us, "says: 1 bottles"), 1);
	assert_int_equal(lab_log_count(us, "says: 41 bottles"), 0);
	assert_int_equal(lab_log_count(us, "said more: "), 1);
}

static void one_long_line_is_cut(void **state)
{
	const char *said;

	(void)state;
	hook("head -c 100000 /dev/zero | tr '\\0' y; printf '\\nnext\\n'");
	sentinel(OUR4);
	assert_non_null(end_of("after-claim", 5000));
	said = lab_log_wait(us, "says: yyy", 100);
	assert_non_null(said);
	assert_int_equal(strspn(strstr(said, "yyy"), "y"), 400);
	assert_int_equal(lab_log_count(us, "says: next"), 1);
	assert_int_equal(lab_log_count(us, "said more: 99600 bytes are not logged"), 1);
}

/* ---- never in the way ---- */

static int64_t number_in(const char *name)
{
	return strtoll(file_of(name), NULL, 10);
}

/* The frame is on the wire and the program has ended, or is about to, when the hook begins. */
static void comes_last(void **state)
{
	const struct lab_frame *f;

	(void)state;
	hook("date +%s%N >/run/began; sleep 1");
	sentinel(OUR4);
	f = lab_capture_wait(eyes, 0, lab_is_arp, VIP4, 500);
	assert_non_null(f);
	expect_run(0, "claimed " VIP4);
	assert_true(lab_took_at_most(&r, 500));
	assert_true(LAB_UNTIL(number_in("began") > 0, 2000));
	assert_true(number_in("began") / lab_clock > f->ns);
	/* the verdict was known: its line had been sent */
	assert_null(end_of("after-claim", 0));
}

/* Whoever kills the one that keeps the hook kills the hook, which nobody would watch any more. */
static void ends_with_its_keeper(void **state)
{
	(void)state;
	hook("echo $$ >/run/pid; echo $PPID >/run/keeper; exec sleep 60");
	lab_config(us, "announce = none\n%s", BOTH);
	sentinel(OUR4);
	expect_run(0, "claimed " VIP4);
	assert_true(LAB_UNTIL(number_in("keeper") > 0, 2000));
	lab_must(us, "kill -0 $(cat /run/pid) && kill -KILL $(cat /run/keeper)");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
}

/* Killed as early as it can be seen: the hook is not left without its keeper, if it runs at all. */
static void a_killed_run_leaves_no_hook_unkept(void **state)
{
	(void)state;
	hook("sleep 0.2; echo done >>/run/done");
	for (int delay_us = 0; delay_us < 4000; delay_us += 250) {
		pid_t pid;

		lab_config(us, "announce = none\n%s", BOTH);
		pid = lab_spawn(us, "out", (const char *const[]){lab_program(), SENTINELS_CALL(OUR4), NULL});
		usleep((useconds_t)delay_us);
		kill(pid, SIGKILL);
		lab_wait(pid, 1000);
		assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 2000));
		/* either it was never started, or its end was seen and said */
		assert_int_equal(lab_log_count(us, "/run/hook ended well") > 0,
				 strstr(file_of("done"), "done") != NULL);
		lab_must(us, "rm -f /run/done; ip addr flush to " VIP4 "/32 dev eth0; ip addr flush to "
			     VIP6 "/128 dev eth0");
		lab_log_clear(us);
	}
}

/* The half minute in its full length, once: the hook, its children and one that has detached itself. */
static void is_killed_after_30_s(void **state)
{
	int64_t begun = lab_now_ns();

	(void)state;
	hook("sleep 61 & setsid sh -c 'sleep 62; :' </dev/null >/dev/null 2>&1 &\n"
	     "trap '' TERM INT HUP; echo waiting; while :; do sleep 1; done");
	lab_config(us, "announce = none\n%s", BOTH);
	sentinel(OUR4);
	expect_run(0, "claimed " VIP4);
	assert_true(lab_now_ns() - begun < lab_slow() * INT64_C(1000000000));
	sentinel(PEER4); /* it is in nobody's way meanwhile */
	expect_run(0, "released " VIP4);
	assert_non_null(lab_log_wait(us, "after-claim says: waiting", 1000));
	assert_null(end_of("after-claim", 29000 - (int)((lab_now_ns() - begun) / 1000000)));
	assert_non_null(end_of("after-claim", 3000));
	assert_non_null(strstr(end_of("after-claim", 0), "was killed: it took longer than 30 s"));
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
}

int netns_hook_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(is_told_what_has_moved),
		netns_test(only_what_has_moved_counts),
		netns_test(what_failed_does_not_count),
		netns_test(by_hand_nothing_is_known_of_the_master),
		netns_test(nothing_moved_is_no_reason),
		netns_test(a_section_has_its_own_or_none),
		netns_test(has_no_capability_of_roots),
		netns_test(has_clean_signals),
		netns_test(has_no_ambient_capability),
		netns_test(keeps_nothing_of_the_caller_open),
		netns_test(its_failure_is_logged_and_no_more),
		netns_test(what_cannot_be_executed_holds_nothing_up),
		netns_test(nobody_waits_for_the_disk_it_is_on),
		netns_test(what_others_may_exchange_is_not_run),
		netns_test(much_output_is_cut),
		netns_test(one_long_line_is_cut),
		netns_test(comes_last),
		netns_test(ends_with_its_keeper),
		netns_test(a_killed_run_leaves_no_hook_unkept),
		netns_test(is_killed_after_30_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
