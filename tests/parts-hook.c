/* SPDX-License-Identifier: MIT */
/*
 * The process that keeps a hook, with a shorter limit than the program's: what is left running, and
 * by whom, when the time is up.
 */
#include "parts.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LIMIT_MS = 400 };

static int keep(void *script)
{
	char *const environment[] = {(char[]){"PATH=/usr/bin:/bin"}, NULL};

	(void)script;
	hook_keep("mymaster", "after-claim", "/run/hook", environment, LIMIT_MS);
	return 0;
}

/* What was said of its end, and how long it took. */
static const char *kept(const char *script, int *ms)
{
	int64_t begun;

	lab_file(us, "hook", 0755, 0, "#!/bin/sh\n%s\n", script);
	begun = lab_now_ns();
	assert_int_equal(lab_call(us, &r, 10000, keep, NULL), 0);
	*ms = (int)((lab_now_ns() - begun) / 1000000);
	/* at once, and nobody else's: its end is the end of all */
	assert_int_equal(lab_host_processes(us, NULL), 0);
	return lab_log_wait(us, "after-claim: /run/hook ", 1000);
}

static void expect_kept(const char *script, int least_ms, const char *says)
{
	int ms;
	const char *said = kept(script, &ms);

	if (said == NULL || strstr(said, says) == NULL || ms < least_ms || ms > least_ms + 2000) {
		lab_log_print(us);
		fail_msg("\"%s\" took %d ms, expected %d, \"%s\"", script, ms, least_ms, says);
	}
	lab_log_clear(us);
}

static void one_that_hangs_is_killed(void **state)
{
	(void)state;
	expect_kept("sleep 60", LIMIT_MS, "was killed: it took longer than 0.4 s");
	expect_kept("exec sleep 60", LIMIT_MS, "was killed");
	expect_kept("trap '' TERM; sleep 60 & wait; sleep 60", LIMIT_MS, "was killed");
	/* without a word more, and with the pipe closed */
	expect_kept("exec >&- 2>&-; exec sleep 60", LIMIT_MS, "was killed");
	expect_kept("kill -STOP $$", LIMIT_MS, "was killed");
}

static void what_it_leaves_running_may_end(void **state)
{
	(void)state;
	expect_kept("sleep 0.1 & exit 0", 100, "ended well after");
	expect_kept("sleep 0.1 & exit 5", 100, "failed: exit status 5 after");
	expect_kept("setsid sleep 0.1 >/dev/null 2>&1 & exit 0", 100, "ended well");
}

static void or_is_killed(void **state)
{
	static const char *const ways[] = {
		"sleep 60 & exit 0",
		"setsid sleep 60 </dev/null >/dev/null 2>&1 & exit 0",
		"setsid sh -c 'setsid sleep 60 & setsid sleep 61 & sleep 62' >/dev/null 2>&1 & exit 0",
		"(setsid sh -c 'trap \"\" TERM; sleep 60; sleep 60' &) ; exit 0",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++)
		expect_kept(ways[i], LIMIT_MS, "; what it had left running was killed after 0.4 s");
}

static int keep_without_proc(void *script)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) < 0)
		return 1;
	return keep(script);
}

/* Where nobody says whose children are whose, those of its own process group are found. */
static void its_group_is_killed_without_proc(void **state)
{
	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\nsleep 60 & sleep 61 & sleep 62\n");
	assert_int_equal(lab_call(us, &r, 10000, keep_without_proc, NULL), 0);
	assert_int_equal(lab_host_processes(us, NULL), 0);
	assert_non_null(lab_log_wait(us, "/run/hook was killed", 1000));
}

/* Its output is heard to the end although it is killed, and so is that of the ones it left. */
static void what_was_said_is_heard(void **state)
{
	int ms;

	(void)state;
	assert_non_null(kept("echo one; (sleep 0.1; echo two) & exec sleep 60", &ms));
	assert_int_equal(lab_log_count(us, "says: one"), 1);
	assert_int_equal(lab_log_count(us, "says: two"), 1);
}

/* One that never stops talking is no reason to go on for ever. */
static void a_flood_ends_too(void **state)
{
	(void)state;
	expect_kept("exec yes", LIMIT_MS, "was killed");
}

static double children_ms(void)
{
	struct rusage use;

	getrusage(RUSAGE_CHILDREN, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e3 +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e3;
}

/* Nor is it one to keep a processor busy, or two. */
static void a_flood_costs_little(void **state)
{
	static const char *const ways[] = {"exec yes", "tr '\\0' x </dev/zero", "yes | tr -d '\\n'"};

	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++) {
		double before = children_ms(), cost;

		expect_kept(ways[i], LIMIT_MS, "was killed");
		cost = children_ms() - before;
		if (cost > LIMIT_MS / 4 * lab_slow())
			fail_msg("\"%s\" took %.0f ms of CPU in %d ms", ways[i], cost, LIMIT_MS);
	}
}

enum { LONGER_MS = 2500, CHILDREN = 700 };

static int keep_longer(void *script)
{
	char *const environment[] = {(char[]){"PATH=/usr/bin:/bin"}, NULL};

	(void)script;
	hook_keep("mymaster", "after-claim", "/run/hook", environment, LONGER_MS);
	return 0;
}

/*
 * The list of those that it has left is longer than what is read of it at once, and ends in the middle of a
 * number: 20682, say, as 206. Whoever has that number has nothing to do with it.
 */
static void who_has_part_of_a_number_is_spared(void **state)
{
	(void)state;
	lab_must(peer, "for p in $(seq 200 209); do echo $((p - 1)) >/proc/sys/kernel/ns_last_pid; sleep 60 & "
		       "done >/dev/null 2>&1; for p in $(seq 200 209); do kill -0 $p || exit 1; done");
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\nmkfifo /run/never; i=0\nwhile [ $i -lt %d ]; do\n"
		 "read x </run/never & i=$((i + 1)); done\necho all\n", CHILDREN);
	lab_must(us, "echo 20000 >/proc/sys/kernel/ns_last_pid");
	assert_int_equal(lab_call(us, &r, 20000, keep_longer, NULL), 0);
	assert_non_null(lab_log_wait(us, "after-claim says: all", 1000));
	assert_non_null(lab_log_wait(us, "what it had left running was killed", 1000));
	assert_int_equal(lab_host_processes(us, NULL), 0);
	lab_must(peer, "for p in $(seq 200 209); do grep -q '^State:[[:space:]]*S' /proc/$p/status || exit 1; done");
}

int parts_hook_tests(void)
{
	static const struct CMUnitTest tests[] = {
		parts_test(one_that_hangs_is_killed),
		parts_test(what_it_leaves_running_may_end),
		parts_test(or_is_killed),
		parts_test(its_group_is_killed_without_proc),
		parts_test(what_was_said_is_heard),
		parts_test(a_flood_ends_too),
		parts_test(a_flood_costs_little),
		parts_test(who_has_part_of_a_number_is_spared),
	};

	return cmocka_run_group_tests_name("a hook's keeper", tests, NULL, NULL);
}
