/* SPDX-License-Identifier: MIT */
/*
 * The relay as it is meant: what Sentinel's sandbox forbids is done by the process at the other
 * end, and the caller ends as if it had done it itself.
 */
#include "netns-relay.h"

#include "netns-fake.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET "/run/sentinel-vip.socket"

static pid_t relay = -1;

/* ---- the relay and the sandbox ---- */

/* One connection, as a unit with these settings would be started for it. */
static void serve_one(int fd)
{
	const char *const argv[] = {"setpriv", "--reuid", "65502", "--regid", "65501",
				    "--clear-groups", "--bounding-set", "-all,+net_admin,+net_raw",
				    "--inh-caps", "-all,+net_admin,+net_raw", "--ambient-caps",
				    "+net_admin,+net_raw", "--no-new-privs", lab_program(),
				    "--serve", NULL};
	int null = open("/dev/null", O_RDWR);

	if (fork() != 0)
		return;
	/* little is kept for who does not read */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){20000}, sizeof(int));
	/* a file of root's that says something else: it must not be looked at */
	setenv("SENTINEL_VIP_CONFIG", "/run/sentinel-vip.conf", 1);
	if (dup2(fd, 0) == 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2)
		execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static void run_relay(enum relay_manner manner, int ready)
{
	const struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = SOCKET};
	int listener;

	signal(SIGCHLD, SIG_IGN);
	if (lab_enter(us) < 0)
		_exit(1);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	unlink(SOCKET);
	if (bind(listener, (const struct sockaddr *)&at, sizeof at) < 0 ||
	    listen(listener, 4096) < 0 || chown(SOCKET, 0, SENTINEL_ID) < 0 ||
	    chmod(SOCKET, 0660) < 0 || write(ready, "x", 1) != 1)
		_exit(1);
	close(ready);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (manner == RELAY_SERVES)
			serve_one(fd);
		if (manner != RELAY_IS_SILENT)
			close(fd);
	}
}

void relay_stop(void)
{
	if (relay > 0) {
		kill(relay, SIGKILL);
		lab_wait(relay, -1);
	}
	relay = -1;
	lab_must(us, "rm -f " SOCKET);
}

void relay_start(enum relay_manner manner)
{
	int ready[2];
	char c;

	relay_stop();
	if (pipe2(ready, O_CLOEXEC) < 0)
		lab_fail("pipe: %m");
	relay = fork();
	if (relay == 0)
		run_relay(manner, ready[1]);
	close(ready[1]);
	if (relay < 0 || read(ready[0], &c, 1) != 1)
		lab_fail("no relay");
	close(ready[0]);
}

void relay_config(const char *text)
{
	lab_file(us, "etc/sentinel-vip.conf", 0600, SERVER_ID, "%s", text);
}

int relay_setup(void **state)
{
	netns_setup(state);
	/* the laboratory has the others there already */
	lab_must(us, "cp -a /etc/passwd /etc/group /etc/ld.so.* /run/etc/ && mount --bind /run/etc /etc && "
		     "install -d -m 700 -o 65502 -g 65501 /run/sentinel-vip");
	/* whoever looks at this one is found out */
	lab_config(us, "%s", "this is no configuration\n");
	relay_config(CONFIG_BOTH);
	relay_start(RELAY_SERVES);
	return 0;
}

int relay_teardown(void **state)
{
	fake_stop_all();
	relay_stop();
	lab_host_kill(us);
	return netns_teardown(state);
}

struct asker {
	uid_t id;
	const char *const *words;
	size_t group_count;
	gid_t group;
};

static int ask_in_sandbox(void *arg)
{
	const struct asker *a = arg;
	const char *argv[300] = {lab_program()};

	for (int i = 0; i < 298 && a->words[i] != NULL; i++)
		argv[i + 1] = a->words[i];
	unsetenv("SENTINEL_VIP_CONFIG");
	if (setgroups(a->group_count, &a->group) < 0 || setgid(a->id) < 0 || setuid(a->id) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || lab_forbid_family(AF_NETLINK) < 0 ||
	    lab_forbid_family(AF_PACKET) < 0)
		return 126;
	execv(argv[0], (char *const *)argv);
	return 127;
}

int relay_ask_as(uid_t id, const char *const words[])
{
	return lab_call(us, &r, 30000, ask_in_sandbox, &(struct asker){.id = id, .words = words});
}

int relay_ask_in_group(uid_t id, gid_t group, const char *const words[])
{
	return lab_call(us, &r, 30000, ask_in_sandbox,
			&(struct asker){.id = id, .words = words, .group_count = 1, .group = group});
}

pid_t relay_ask_later(const char *const words[])
{
	pid_t child = fork();

	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		_exit(lab_enter(us) < 0 ? 125
					: ask_in_sandbox(&(struct asker){.id = SENTINEL_ID, .words = words}));
	}
	return child;
}

int relay_connect(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s/sentinel-vip.socket", us->run);
	if (connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
		lab_fail("%s: %m", at.sun_path);
	return fd;
}

/* The relay itself is one of the processes. */
bool relay_is_quiet(int timeout_ms)
{
	return LAB_UNTIL(lab_host_processes(us, NULL) <= 1, timeout_ms);
}

/* ---- Sentinel's call ---- */

static void the_vip_comes_and_goes(void **state)
{
	(void)state;
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 0);
	expect(0, "mymaster: claimed " VIP4, ASKER);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	expect_announced(VIP4);
	expect_announced(VIP6);
	assert_string_equal(r.err, "");
	assert_int_equal(ask(SENTINELS_CALL(PEER4)), 0);
	expect(0, "mymaster: released " VIP4, ASKER);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	assert_int_equal(ask(SENTINELS_CALL(PEER4)), 0);
	expect(0, "mymaster: nothing to do", ASKER);
}

/* Sentinel's user may have been put into the group of the socket, and keep his own. */
static void a_member_of_the_group_may_ask(void **state)
{
	static const char *const words[] = {SENTINELS_CALL(OUR4), NULL};

	(void)state;
	assert_int_equal(relay_ask_in_group(65503, SENTINEL_ID, words), 0);
	expect(0, "claimed " VIP4, "; for uid 65503 (uid 65503), pid ");
	/* of another group he comes as far as the socket when that is open to all */
	lab_must(us, "chmod 666 /run/sentinel-vip.socket");
	assert_int_equal(relay_ask_in_group(65503, 65504, words), 2);
	expect(2, "only root and members of the socket's group, 65501, may ask");
}

/* Sentinel waits for the answer, the neighbours for the rest: neither for the other. */
static void the_answer_comes_before_the_announcers_end(void **state)
{
	size_t first;

	(void)state;
	relay_config("interface = eth0\nannounce = 0.3 1.5\n[mymaster]\nvip = " VIP4 "\n");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 0);
	assert_true(lab_took_at_most(&r, 1000));
	expect(0, "claimed " VIP4);
	expect_announced(VIP4);
	first = lab_capture_count(eyes, lab_is_announcement, VIP4);
	/* a service manager would end the announcer with it */
	lab_must(us, "pgrep -x vip-announce && pgrep -f " RELAY_SERVING);
	assert_true(LAB_UNTIL((lab_capture_read(eyes), lab_capture_count(eyes, lab_is_announcement,
									  VIP4)) >= first + 4,
			      3000));
	assert_true(relay_is_quiet(3000));
}

/* Direct runs of root's and runs of the relay exclude each other. */
static void the_lock_is_roots_too(void **state)
{
	pid_t holder;

	(void)state;
	assert_int_equal(ask(SENTINELS_CALL(PEER4)), 0);
	expect(0, "nothing to do");
	lab_must(us, "test $(ls /run/sentinel-vip | wc -l) = 1");
	holder = lab_spawn(us, NULL,
			   (const char *const[]){"sh", "-c",
						 "exec flock -o /run/sentinel-vip/* sleep 600", NULL});
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "flock -n /run/sentinel-vip/* true") != 0, 2000));
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 0);
	expect(0, "claimed " VIP4, "another run kept the lock");
	kill(holder, SIGKILL);
	lab_wait(holder, -1);
	lab_must(us, "chown root /etc/sentinel-vip.conf && env -u SENTINEL_VIP_CONFIG %s release mymaster",
		 lab_program());
	lab_must(us, "test $(ls /run/sentinel-vip | wc -l) = 1 && "
		     "test $(stat -c %%u /run/sentinel-vip/*) = 65502");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/* ---- the verdict ---- */

static void verdicts_are_passed_on(void **state)
{
	struct fake *sentinel = fake_start(us, "127.0.0.1", 26379);
	char *before = netns_state();

	(void)state;
	/* what is asked there outranks the arguments, which may be old */
	fake_turn(sentinel, 0, PEER4, 6379, "7", NULL);
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 0);
	expect(0, "nothing to do", "arguments are stale");
	/* transient, since a Sentinel could be asked */
	fake_turn(sentinel, 0, OUR4, 6379, "7", NULL);
	relay_config("interface = eth7\n[mymaster]\nvip = " VIP4 "\n");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 1);
	expect(1, "eth7");
	/* and permanent when not */
	fake_stop(sentinel);
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	expect(2, "eth7");
	relay_config("[other]\nvip = " VIP4 "\n");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	assert_non_null(strstr(r.err, "/etc/sentinel-vip.conf has no section [mymaster]"));
	expect(2, "has no section [mymaster]", ASKER);
	relay_config("vip\n");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	expect(2, "/etc/sentinel-vip.conf", ASKER);
	expect_same_state(before);
}

/* ---- sync and status ---- */

static void sync_binds_through_it(void **state)
{
	struct fake *sentinel = fake_start(us, "127.0.0.1", 26379);

	(void)state;
	fake_turn(sentinel, 0, OUR4, 6379, "7", NULL);
	assert_int_equal(ask("sync"), 0);
	expect(0, "mymaster: claimed " VIP4, ASKER);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	expect_announced(VIP4);
	assert_int_equal(ask("sync", "--announce", "mymaster"), 0);
	expect(0, "mymaster: announced " VIP4, ASKER);
	fake_stop(sentinel);
	assert_int_equal(ask("sync"), 1);
	expect(1, "undecided", ASKER);
	assert_int_equal(ask("sync", "another"), 2);
	expect(2, "no section [another]", ASKER);
}

static void status_is_printed_here(void **state)
{
	struct fake *sentinel = fake_start(us, "127.0.0.1", 26379);

	(void)state;
	fake_turn(sentinel, 0, OUR4, 6379, "7", NULL);
	assert_int_equal(ask("status"), 1);
	assert_ptr_equal(strstr(r.out, "mymaster: WRONG"), r.out);
	assert_non_null(strstr(r.out, "nobody answers")); /* it could listen to the wire */
	assert_int_equal(ask("status", "--json", "mymaster"), 1);
	assert_ptr_equal(strchr(r.out, '{'), r.out);
	assert_non_null(strstr(r.out, "\"verdict\""));
	assert_string_equal(r.err, "");
}

/* ---- check ---- */

/* A real Sentinel of user `id`, and what check says where it calls the program. */
static void check_with_sentinel_of(uid_t id)
{
	char user[16];
	pid_t sentinel;

	snprintf(user, sizeof user, "%u", (unsigned)id);
	lab_file(us, "sentinel.conf", 0666, id, "port 26379\ndir /\nsentinel monitor mymaster " OUR4
		 " 6379 1\n");
	sentinel = lab_spawn(us, "sentinel.log",
			     (const char *const[]){"setpriv", "--reuid", user, "--regid", user,
						   "--clear-groups", "--bounding-set", "-all",
						   "--inh-caps", "-all", "redis-sentinel",
						   "/run/sentinel.conf", NULL});
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "redis-cli -p 26379 ping") == 0, 5000));
	lab_sh(us, &r, "env -u SENTINEL_VIP_CONFIG %s check", lab_program());
	kill(sentinel, SIGKILL);
	lab_wait(sentinel, -1);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

static void check_knows_the_relay(void **state)
{
	(void)state;
	lab_must(us, "chown 0:65501 /etc/sentinel-vip.conf && chmod 640 /etc/sentinel-vip.conf");
	check_with_sentinel_of(SENTINEL_ID);
	expect_said("ok       relay         Sentinel keeps its sandbox, and hands its calls to sentinel-vip.socket");
	assert_null(strstr(r.out, "CAP_NET"));
	check_with_sentinel_of(65534);
	expect_said("error    relay         Sentinel's user, nobody, may not write to "
		    "/run/sentinel-vip.socket, which is for group 65501");
	expect_said("SocketGroup=65534");
	lab_must(us, "chmod 600 /etc/sentinel-vip.conf");
	check_with_sentinel_of(SENTINEL_ID);
	expect_said("error    relay         it refuses: /etc/sentinel-vip.conf: Permission denied");
	lab_must(us, "chmod 640 /etc/sentinel-vip.conf");
	relay_start(RELAY_CLOSES);
	check_with_sentinel_of(SENTINEL_ID);
	expect_said("error    relay         the relay has closed the connection");
}

int netns_relay_tests(void)
{
	const struct CMUnitTest tests[] = {
		relay_test(the_vip_comes_and_goes),
		relay_test(a_member_of_the_group_may_ask),
		relay_test(the_answer_comes_before_the_announcers_end),
		relay_test(the_lock_is_roots_too),
		relay_test(verdicts_are_passed_on),
		relay_test(sync_binds_through_it),
		relay_test(status_is_printed_here),
		relay_test(check_knows_the_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
