/* SPDX-License-Identifier: MIT */
/*
 * Runs for one master that meet: who waits for whom and for how long, what is asked again, and
 * whose announcer falls silent. The lock is taken and the number raised by the test, so that
 * nothing depends on who is faster.
 */
#include "netns-council.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)

/* For the other run of two, so that what it does depends on its arguments alone. */
#define CALL(to) "mymaster", "leader", "start", OLD4, "6379", to, "6379"
#define UNASKED "announce = none\nverify = no\n" CONFIG4

/* ---- the lock's file, as lock.c has it ---- */

/* The kernel's number, or before Linux 5.14 the inode's. */
static uint64_t namespace_number(void)
{
	int fd = lab_socket(us, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	uint64_t number = 0;
	struct stat st;
	socklen_t size = sizeof number;

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &number, &size) < 0) {
		if (fstat(us->netns, &st) < 0)
			lab_fail("fstat: %m");
		number = st.st_ino;
	}
	close(fd);
	return number;
}

static int open_lock(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/sentinel-vip", us->run);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		lab_fail("%s: %m", path);
	snprintf(path, sizeof path, "%s/sentinel-vip/%" PRIu64 ".mymaster", us->run,
		 namespace_number());
	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		lab_fail("%s: %m", path);
	return fd;
}

static int hold_lock(void)
{
	int fd = open_lock();

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		lab_fail("the lock is held by somebody else");
	return fd;
}

/* What a run does that goes on without the lock. */
static uint64_t raise_number(int by)
{
	int fd = open_lock();
	struct stat st;

	for (; by > 0; by--)
		if (write(fd, "", 1) != 1)
			lab_fail("write: %m");
	if (fstat(fd, &st) < 0)
		lab_fail("fstat: %m");
	close(fd);
	return (uint64_t)st.st_size;
}

static pid_t start(const char *const words[])
{
	const char *argv[16] = {lab_program()};

	for (int i = 1; *words; i++)
		argv[i] = *words++;
	return lab_spawn(us, "output", argv);
}

#define start(...) start((const char *const[]){__VA_ARGS__, NULL})

/* A run that began to ask under the lock, when it is the second time. */
static void wait_until_asked(int times)
{
	if (!LAB_UNTIL(council[1]->connections >= times, 3000))
		fail_msg("nobody asked the second Sentinel for the time number %d", times);
}

/* ---- Sentinel's call ---- */

static void a_call_asks_after_it_has_waited(void **state)
{
	int lock = hold_lock();
	pid_t pid;

	(void)state;
	council_says("A3 A3 A3");
	pid = start(CALL(OUR4));
	lab_sleep_ms(150);
	assert_int_equal(lab_wait(pid, 0), -1);
	council_turn(0, "B4 B4 B4"); /* what it waited for */
	council_turn(1, "B4 B4 B4");
	close(lock);
	assert_int_equal(lab_wait(pid, 3000), 0);
	assert_non_null(lab_log_wait(us, "arguments are stale", 500));
	assert_null(lab_log_wait(us, "lock for", 0));
	assert_false(is_here());
}

static void a_call_does_not_wait_for_long(void **state)
{
	uint64_t number = raise_number(1);
	int lock = hold_lock();

	(void)state;
	council_says("A3 A3 A3");
	sentinel(OUR4);
	assert_in_range(council_ms(), 290, 900 * lab_slow());
	expect(0, "claimed", "as Sentinel says", "WARNING: another run kept the lock for 300 ms");
	assert_true(raise_number(0) > number);
	number = raise_number(0);
	council_says("h"); /* and then another 300 ms, not more */
	sentinel(PEER4);
	assert_in_range(council_ms(), 580, 1200 * lab_slow());
	expect(0, "released", "another run kept the lock for 300 ms", "unverified");
	assert_true(raise_number(0) > number);
	close(lock);
}

/* Another master, or another network, has another lock. */
static void a_call_waits_for_its_own_master_only(void **state)
{
	int lock = hold_lock();

	(void)state;
	lab_config(us, UNASKED "[other]\nvip = 10.0.0.77\n");
	vip("other", "leader", "start", OLD4, "6379", OUR4, "6379");
	assert_in_range(council_ms(), 0, 270 * lab_slow());
	expect(0, "other: claimed");
	close(lock);
}

static void expect_told(const char *event, const char *const lines[])
{
	for (; *lines; lines++)
		if (lab_sh(us, NULL, "grep -qxF '%s' /run/told.%s", *lines, event) != 0) {
			lab_sh(us, NULL, "cat /run/told.%s >&2", event);
			fail_msg("%s: no line \"%s\"", event, *lines);
		}
}

/*
 * Overtaken when it has moved the VIP already, it begins again, with arguments that Sentinel contradicts
 * the first time alone. Each of the two moves is told as it was.
 */
static void a_call_that_is_overtaken_tells_of_both_moves(void **state)
{
	uint64_t number = raise_number(0);
	pid_t pid;

	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\nenv >/run/told.$1\n");
	lab_config(us, "announce = none\nafter-claim = /run/hook\nafter-release = /run/hook\n" CONFIG4);
	council_says("A3");
	council_turn(1, "B4");
	pid = lab_spawn(us, "output",
			(const char *const[]){"sh", "-c", "exec strace -qq -o /dev/null "
					      "-P $(echo /run/sentinel-vip/*.mymaster) -e \"$0\" \"$@\"",
					      lab_delay("inject=write:when=1:delay_exit=", 400000), lab_program(),
					      CALL(PEER4), NULL});
	assert_true(LAB_UNTIL(raise_number(0) == number + 1, 5000));
	raise_number(1); /* by a run that did not wait for the lock */
	assert_int_equal(lab_wait(pid, 5000), 0);
	assert_non_null(lab_log_wait(us, "mymaster: claimed " VIP4 " on eth0; released " VIP4, 500));
	assert_false(is_here());
	assert_non_null(lab_log_wait(us, "after-claim: /run/hook ended well", 5000));
	assert_non_null(lab_log_wait(us, "after-release: /run/hook ended well", 5000));
	expect_told("after-claim", (const char *const[]){"SENTINEL_VIP_TO=" OUR4, "SENTINEL_VIP_VIPS=" VIP4,
							 "SENTINEL_VIP_INTERFACE=eth0", NULL});
	expect_told("after-release", (const char *const[]){"SENTINEL_VIP_TO=" PEER4, "SENTINEL_VIP_VIPS=" VIP4,
							   "SENTINEL_VIP_INTERFACE=eth0", NULL});
}

/* The plan was made before Sentinel had answered; what it warns of is none of the log's business then. */
static void a_plan_that_is_not_followed_warns_of_nothing(void **state)
{
	(void)state;
	lab_must(us, "ip link set eth0 arp off");
	council_says("?");
	sentinel(OUR4);
	assert_int_equal(lab_log_count(us, "not announced there"), 0);
	expect(2, "does not know mymaster");
}

/* ---- announcers ---- */

#define ANNOUNCES "announce = 0.4 0.8 1.2\n" CONFIG4
#define FRAMES (lab_capture_count(eyes, lab_is_arp, VIP4))

static void an_announcer_is_silenced_by_the_number(void **state)
{
	(void)state;
	lab_config(us, ANNOUNCES);
	council_says("A3 A3 A3");
	sentinel(OUR4);
	expect(0, "claimed");
	assert_int_equal(lab_host_processes(us, NULL), 1);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 3000));
	assert_int_equal(FRAMES, 2 + 3 * 2); /* nobody silenced it */
	sentinel(OUR4);
	expect(0, "announced");
	raise_number(1);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
	assert_int_equal(FRAMES, 8 + 2);
	assert_true(is_here());
}

/* The loser's announcer must not speak even if the VIP comes back by another way. */
static void an_announcer_is_silenced_by_a_release(void **state)
{
	(void)state;
	lab_config(us, ANNOUNCES);
	council_says("A3 A3 A3");
	sentinel(OUR4);
	expect(0, "claimed");
	council_says("B4 B4 B4");
	sentinel(OUR4);
	expect(0, "released", "arguments are stale");
	council_vip(true);
	lab_sleep_ms(1400);
	assert_int_equal(FRAMES, 2);
	assert_int_equal(lab_host_processes(us, NULL), 0);
}

/* A run may be about to take the VIP away: nothing is said meanwhile, but afterwards. */
static void an_announcer_waits_for_the_lock(void **state)
{
	int lock;

	(void)state;
	lab_config(us, "announce = 0.3\n" CONFIG4);
	council_says("A3 A3 A3");
	sentinel(OUR4);
	expect(0, "claimed");
	lock = hold_lock();
	lab_sleep_ms(600);
	assert_int_equal(FRAMES, 2);
	assert_int_equal(lab_host_processes(us, NULL), 1);
	close(lock);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
	assert_int_equal(FRAMES, 4);
}

/* The release and the new master's announcement, in the same millisecond. */
static void a_release_is_no_conflict(void **state)
{
	struct lab_host *new = lab_host("new", OLD4 "/24", (char *)NULL);
	int lock;

	(void)state;
	lab_config(us, "announce = 0.3 0.6 5\n" CONFIG4);
	council_says("A3 A3 A3");
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(400);
	lock = hold_lock();
	lab_sleep_ms(300); /* the repeat has found it held */
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	netns_speak(new, true);
	lab_sleep_ms(100);
	close(lock);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 300));
	assert_int_equal(lab_log_count(us, "held by"), 0);
	lab_host_free(new);
}

/*
 * A timer's sync saw the VIP missing and waited while a failover's call claimed it. Nothing is left
 * to do for it then, so it has taken nothing over, and the call's announcer must go on.
 */
static void a_sync_that_comes_too_late_silences_nobody(void **state)
{
	int lock = hold_lock();
	pid_t call, sync;

	(void)state;
	lab_config(us, ANNOUNCES);
	council_says("A3 A3 A3");
	call = start(CALL(OUR4)); /* goes on without the lock in a moment */
	lab_sleep_ms(200);
	sync = lab_spawn(us, "sync", (const char *const[]){lab_program(), "sync", NULL});
	assert_true(LAB_UNTIL(is_here(), 3000));
	close(lock);
	assert_int_equal(lab_wait(call, 3000), 0);
	assert_non_null(lab_log_wait(us, "claimed", 500));
	assert_int_equal(lab_wait(sync, 3000), 0);
	assert_true(is_here());
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 3000));
	assert_int_equal(FRAMES, 2 + 3 * 2);
}

/* ---- sync ---- */

/*
 * What the Sentinels said under the lock is older than what a failover's call did meanwhile, which
 * waits for nobody: it is asked again, and the call's truth stands.
 */
static void overtaken(const char *before, const char *after, const char *to)
{
	bool holds = *before == 'B'; /* so that there is something to change */
	pid_t pid;

	council_vip(holds);
	council_says(before);
	council_turn(1, before);
	council_turn(2, after);
	council[1]->turn[1].says[FAKE_ADDRESS].wait_ms = 650;
	pid = start("sync");
	wait_until_asked(2);
	lab_config(us, UNASKED);
	vip(CALL(to));
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_wait(pid, 0), -1); /* it still asks */
	assert_int_equal(lab_wait(pid, 5000), 0);
	assert_true(council[1]->connections >= 3);
	assert_true(is_here() == holds);
}

static void a_sync_that_is_overtaken_by_a_release(void **state)
{
	(void)state;
	overtaken("A3 A3 A3", "B4 B4 B4", PEER4);
	assert_int_equal(lab_log_count(us, "claimed"), 0);
	assert_int_equal(lab_log_count(us, "WARNING: another run kept the lock"), 1);
}

static void a_sync_that_is_overtaken_by_a_claim(void **state)
{
	(void)state;
	overtaken("B3 B3 B3", "A4 A4 A4", OUR4);
	assert_int_equal(lab_log_count(us, "released"), 0);
	assert_int_equal(lab_log_count(us, "announced"), 1);
}

/* It gives up in the end, and the next one will do it. */
static void a_sync_that_is_overtaken_all_the_time(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	council_says("A3 A3 A3");
	council_turn(1, "A3 A3 A3");
	council[1]->turn[1].says[FAKE_ADDRESS].wait_ms = 150;
	pid = start("sync");
	while ((status = lab_wait(pid, 20)) < 0 && council[1]->connections < 10)
		raise_number(1);
	assert_int_equal(status, 1);
	assert_non_null(lab_log_wait(us, "other runs keep changing this master", 500));
	assert_in_range(council[1]->connections, 3, 6);
	assert_false(is_here());
}

/* It is said, and the timer tries again; nothing is done without the lock. */
static void a_sync_waits_for_the_lock(void **state)
{
	int lock = hold_lock();

	(void)state;
	council_says("B3 B3 B3");
	vip("sync"); /* nothing to change is decided without it */
	expect_quiet(0);
	assert_in_range(council_ms(), 0, 270 * lab_slow());
	council_says("A3 A3 A3");
	vip("sync");
	assert_in_range(council_ms(), 290, 2000 * lab_slow());
	expect(1, "mymaster: left to the next sync: another run for this master has the lock");
	assert_false(is_here());
	close(lock);
	vip("sync");
	expect(0, "claimed");
}

/* What it had moved when it was overtaken is told to the hook, before it looks again. */
static void a_sync_that_is_overtaken_halfway_tells_its_hook(void **state)
{
	pid_t pid;

	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\necho \"$SENTINEL_VIP_INTERFACE\" >>/run/told\n");
	lab_config(us, "after-claim = /run/hook\n" COUNCIL_CONFIG);
	council_says("A3 A3 A3");
	pid = lab_spawn(us, "output", (const char *const[]){
		"strace", "-E", "ASAN_OPTIONS=detect_leaks=0", "-qq", "-o", "/run/strace", "-e",
		lab_delay("inject=sendmsg:delay_enter=", 100000), lab_program(), "sync", NULL});
	assert_true(LAB_UNTIL(is_here(), 10000));
	raise_number(1); /* what was added is still to be read back */
	assert_int_equal(lab_wait(pid, 20000), 0);
	assert_int_equal(council[1]->connections, 3);
	assert_true(LAB_UNTIL(lab_sh(us, &r, "cat /run/told") == 0, 3000));
	assert_string_equal(r.out, "eth0\n");
}

/* The majority comes back while a cut-off host waits for the lock to let go of its VIP. */
static void a_fence_looks_once_more(void **state)
{
	char path[200];
	int lock, watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd wanted = {.fd = watch, .events = POLLIN};
	pid_t pid;

	(void)state;
	lab_config(us, "fence = majority\n" COUNCIL_CONFIG);
	council_vip(true);
	council_says("A3 - -");
	lock = hold_lock();
	snprintf(path, sizeof path, "/proc/self/fd/%d", lock);
	assert_true(inotify_add_watch(watch, path, IN_OPEN) >= 0);
	pid = start("sync");
	assert_int_equal(poll(&wanted, 1, 10000), 1);
	assert_int_equal(lab_wait(pid, 0), -1);
	council_says("A3 A3 -");
	close(lock);
	close(watch);
	assert_in_range(lab_wait(pid, 5000), 0, 1);
	assert_true(council[1]->connections > 0);
	assert_true(is_here());
	assert_int_equal(lab_log_count(us, "released"), 0);
	assert_int_equal(lab_log_count(us, "left to the next sync"), 0);
}

int netns_overtake_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(a_call_asks_after_it_has_waited),
		test(a_call_does_not_wait_for_long),
		test(a_call_waits_for_its_own_master_only),
		test(a_call_that_is_overtaken_tells_of_both_moves),
		test(a_plan_that_is_not_followed_warns_of_nothing),
		test(an_announcer_is_silenced_by_the_number),
		test(an_announcer_is_silenced_by_a_release),
		test(an_announcer_waits_for_the_lock),
		test(a_release_is_no_conflict),
		test(a_sync_that_comes_too_late_silences_nobody),
		test(a_sync_that_is_overtaken_by_a_release),
		test(a_sync_that_is_overtaken_by_a_claim),
		test(a_sync_that_is_overtaken_all_the_time),
		test(a_sync_waits_for_the_lock),
		test(a_sync_that_is_overtaken_halfway_tells_its_hook),
		test(a_fence_looks_once_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
