/* SPDX-License-Identifier: MIT */
/*
 * Two failovers whose runs overlap on one host, the older one slow: it stands still when it has
 * heard who is master and has not done anything about it yet. The newest truth must stand at the
 * end, and the older run must not announce what it has no more.
 */
#include "cluster-test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD 8        /* runs at once on each host */
#define SECOND_MS 1500 /* the second repeat of an announcement comes after 1.1 s */

static const struct cluster_setup overlap = {
	THREE_HOSTS,
	.vip_config = "interface = eth0\n" MASTER_AND_VIP,
};

/* ---- a run that stands still ---- */

static pid_t held;

static void held_exec(int node, const char *const argv[])
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	lab_on_failure = NULL;
	if (dup2(null, STDERR_FILENO) >= 0 && lab_enter(c->node[node].host) == 0 &&
	    setenv("SENTINEL_VIP_CONFIG", "/run/sentinel-vip.conf", 1) == 0 &&
	    ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
		execv(argv[0], (char *const *)argv);
	_exit(127);
}

/* To the next stop; false when it has ended. What is a signal and no stop of ours it hears of. */
static bool held_step(int request)
{
	static long sent;
	int status;

	if (ptrace(request, held, NULL, sent) < 0 || waitpid(held, &status, 0) != held)
		lab_fail("ptrace: %m");
	sent = WIFSTOPPED(status) && (WSTOPSIG(status) & ~0x80) != SIGTRAP ? WSTOPSIG(status) : 0;
	return WIFSTOPPED(status);
}

/* The end of a recv(2) that heard something: rtnetlink is heard by recvmsg(2). */
static bool held_hears(void)
{
	struct __ptrace_syscall_info info;
	static uint64_t number;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, held, sizeof info, &info) < 0)
		lab_fail("ptrace: %m");
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		number = info.entry.nr;
	return info.op == PTRACE_SYSCALL_INFO_EXIT && number == SYS_recvfrom && info.exit.rval > 0;
}

/* Starts a run by hand; returns when it stands still, having heard that many Sentinels. */
static void held_start(int node, int answers, const char *const argv[])
{
	int status;

	fflush(NULL);
	held = fork();
	if (held < 0)
		lab_fail("fork: %m");
	if (held == 0)
		held_exec(node, argv);
	if (waitpid(held, &status, 0) != held || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, held, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) < 0)
		lab_fail("%s cannot be traced: %m", lab_program());
	while (answers > 0) {
		check(held_step(PTRACE_SYSCALL), "the run has asked %d Sentinels too few", answers);
		answers -= held_hears();
	}
}

/* Sentinel's call: the master was `from` and is `to`. */
static void held_call(int node, int from, int to)
{
	held_start(node, 1,
		   (const char *const[]){lab_program(), CLUSTER_MASTER, "leader", "start",
					 c->node[from].ip, "6379", c->node[to].ip, "6379", NULL});
}

static int held_resume(void)
{
	pid_t pid = held;

	held = 0;
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0)
		lab_fail("ptrace: %m");
	return lab_wait(pid, 20000 * lab_slow());
}

static int settle(void **state)
{
	if (held && kill(held, SIGKILL) == 0)
		waitpid(held, NULL, 0);
	held = 0;
	return test_settle(state);
}

/* ---- the tests ---- */

/* A planned failover of which only the Sentinels' word is waited for. */
static int fail_over_unseen(void)
{
	int old = cluster_master(c), now = -1;

	cluster_failover(c, old);
	check(LAB_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS), "no failover");
	return now;
}

/* The run that stands still on the old master's host goes on after the next failover. */
static void overtaken(int old)
{
	size_t since;
	int now;

	log_clear();
	now = fail_over_unseen();
	check(WATCH_UNTIL(cluster_holder(c, VIP4) == now, FOLLOW_MS),
	      "the VIP did not move to node %d while an old run stood still on node %d", now, old);
	expect_line(old, FOLLOW_MS, "; the master is "); /* the newer run there is through */
	moves_clear();
	since = mark();
	check(held_resume() == 0, "the old run failed");
	lab_sleep_ms(SECOND_MS);
	expect_sole_holder(now);
	if (moves_heard())
		moves_print();
	check(moves_heard() == 0, "the old run moved the VIP");
	expect_silent(old, since);
}

static void overtaken_announces_no_more(void **state)
{
	int first = cluster_master(c), old;

	(void)state;
	old = fail_over();
	held_call(old, first, old);
	overtaken(old);
}

static void overtaken_claims_no_more(void **state)
{
	int first = cluster_master(c), old = fail_over();

	(void)state;
	lab_must(c->node[old].host, "ip addr del " VIP4 "/32 dev eth0");
	held_call(old, first, old);
	overtaken(old);
}

/* It has heard each of the Sentinels, so it knows that the VIP is missing; then all is changed. */
static void overtaken_sync(int rounds)
{
	int old = cluster_master(c);

	lab_must(c->node[old].host, "ip addr del " VIP4 "/32 dev eth0");
	held_start(old, rounds * c->nodes, (const char *const[]){lab_program(), "sync", NULL});
	overtaken(old);
}

static void overtaken_sync_asks_again(void **state)
{
	(void)state;
	overtaken_sync(1);
}

/* The second time it asks it has the lock, for which the failover's call does not wait. */
static void overtaken_sync_asks_once_more(void **state)
{
	(void)state;
	overtaken_sync(2);
}

/* Whether another run than the one that stands still is there. */
static bool waits(int node)
{
	return lab_sh(c->node[node].host, NULL,
		      "for p in $(pgrep -x 'sentinel-vip|memcheck.*'); do [ $p != %d ] && [ /proc/$p/ns/net -ef "
		      "/proc/self/ns/net ] && exit 0; done; exit 1",
		      (int)held) == 0;
}

/* The newer run waits for the older one and undoes what that did. */
static void newer_waits_for_older(void **state)
{
	int first = cluster_master(c), old = fail_over(), now;
	size_t since;

	(void)state;
	lab_must(c->node[old].host, "ip addr del " VIP4 "/32 dev eth0");
	held_call(old, first, old);
	cluster_failover(c, old);
	check(LAB_UNTIL(waits(old), FAILOVER_MS), "Sentinel has not called");
	check(held_resume() == 0, "the old run failed");
	check(LAB_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS), "no failover");
	expect_sole_holder(now);
	since = mark();
	lab_sleep_ms(SECOND_MS);
	expect_sole_holder(now);
	expect_silent(old, since);
}

/* Calls of both failovers at once, many of each, on every host. */
static void crowd(void **state)
{
	int first = cluster_master(c), second = fail_over(), third = fail_over();
	pid_t pids[CLUSTER_NODES * CROWD];
	size_t since = mark(), n = 0;

	(void)state;
	lab_sleep_ms(SECOND_MS); /* announcers of the failovers are silenced, but not by chance */
	moves_clear();
	for (int i = 0; i < CROWD; i++)
		for (int node = 0; node < c->nodes; node++) {
			const char *from = c->node[i % 2 ? second : first].ip;
			const char *to = c->node[i % 2 ? third : second].ip;

			pids[n++] = lab_spawn(c->node[node].host, NULL,
					      (const char *const[]){lab_program(), CLUSTER_MASTER,
								    "observer", "start", from,
								    "6379", to, "6379", NULL});
		}
	while (n)
		check(lab_wait(pids[--n], 20000 * lab_slow()) == 0, "a run failed");
	lab_sleep_ms(SECOND_MS);
	check(moves_heard() == 0, "the VIP moved");
	expect_sole_holder(third);
	expect_only_speaker(third, since);
}

int cluster_overlap_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(newer_waits_for_older, settle),
		cmocka_unit_test_setup(overtaken_announces_no_more, settle),
		cmocka_unit_test_setup(overtaken_claims_no_more, settle),
		cmocka_unit_test_setup(overtaken_sync_asks_again, settle),
		cmocka_unit_test_setup(overtaken_sync_asks_once_more, settle),
		cmocka_unit_test_setup(crowd, settle),
	};

	test_use(&overlap, only_vip4);
	return cmocka_run_group_tests_name("overlap", tests, NULL, test_end);
}
