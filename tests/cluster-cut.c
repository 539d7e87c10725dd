/* SPDX-License-Identifier: MIT */
/*
 * The old master's host is cut off from the others, so it keeps the VIP while another takes it; and
 * what `fence = majority` does about that, before the others have elected anybody.
 */
#include "cluster-test.h"

#include <signal.h>

#define CONFIG "interface = eth0\n" MASTER_AND_VIP
#define FENCED "fence = majority\n" CONFIG

#define TIMER_MS 2000
#define SLACK_MS (1500 * lab_slow()) /* the questions of a run, one second at most, and a slow machine */
#define FENCE_MS 3000 /* how long it asks again */
/*
 * With fencing the VIP is gone after a timer period, one second of questions, FENCE_MS, and one
 * more second of questions; only then may another host take it.
 */
#define FENCE_TIMER_MS 1000
#define DOWN_AFTER_MS 8000
#define PUBLISH_MS 2000 /* the Sentinels' own */
#define NEVER_MS 600000

static const struct cluster_setup cuttable = {
	THREE_HOSTS,
	.vip_config = CONFIG,
	.down_after_ms = DOWN_AFTER_MS,
};

static void timers_start(int pause_ms)
{
	for (int i = 0; i < c->nodes; i++)
		timer_start(i, pause_ms);
}

/* The others go on without it. */
static int wait_for_another(int old)
{
	int now = -1;

	check(WATCH_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS),
	      "no failover without node %d", old);
	check(WATCH_UNTIL(moves_count(now, true, VIP4), FOLLOW_MS), "node %d does not claim", now);
	return now;
}

static void healed(int old, int now)
{
	moves_clear();
	lab_cut(c->node[old].host, false);
	check(WATCH_UNTIL(cluster_holder(c, VIP4) == now, TIMER_MS + SLACK_MS),
	      "two holders after the heal");
	check(moves_shared_ms(VIP4) <= TIMER_MS + SLACK_MS, "two holders for %d ms",
	      moves_shared_ms(VIP4));
}

static void cut_off_and_healed(void **state)
{
	int old = cluster_master(c), now;
	size_t since;

	(void)state;
	timers_start(TIMER_MS);
	lab_cut(c->node[old].host, true);
	now = wait_for_another(old);
	check(cluster_holder(c, VIP4) == -2, "node %d has let go though it was not to fence", old);
	expect_line(old, 0, "undecided: no majority of its Sentinels");
	expect_lines(old, 0, "released");
	since = mark();
	sentinel_time("publish-period", NEVER_MS); /* of those that can be reached */
	healed(old, now);
	check(cluster_says(c, old) == old, "its Sentinel called, so this was no test of sync");
	sentinel_time("publish-period", PUBLISH_MS);
	/* the old master is demoted in ten seconds; it must not matter */
	expect_stays(now, NULL, 0);
	expect_only_speaker(now, since);
}

static void fenced(void **state)
{
	int old = cluster_master(c), now;

	(void)state;
	for (int i = 0; i < c->nodes; i++)
		lab_config(c->node[i].host, FENCED);
	timers_start(FENCE_TIMER_MS);
	lab_cut(c->node[old].host, true);
	check(WATCH_UNTIL(moves_heard() > 0, FAILOVER_MS), "nothing happens");
	check(moves[0].node == old && !moves[0].came, "node %d claimed before node %d let go",
	      moves[0].node, old);
	expect_line(old, SLACK_MS, "fenced: ");
	now = wait_for_another(old);
	check(moves_shared_ms(VIP4) == 0, "two holders for %d ms", moves_shared_ms(VIP4));
	healed(old, now);
	check(moves_shared_ms(VIP4) == 0, "two holders for %d ms", moves_shared_ms(VIP4));
	expect_stays(now, NULL, 0);
}

static void freeze_other_sentinels(int but, int signal)
{
	for (int i = 0; i < c->nodes; i++)
		if (i != but)
			kill(c->node[i].sentinel, signal);
}

/* Nothing is cut, but no other Sentinel answers: for a moment, then for longer. */
static void fenced_but_not_at_once(void **state)
{
	int master = cluster_master(c);
	pid_t pid;

	(void)state;
	freeze_other_sentinels(master, SIGSTOP);
	check(vip(master, "sync") == 1, "status %d", r.status);
	check(moves_heard() == 0, "fenced though it was not told to");

	lab_config(c->node[master].host, FENCED);
	pid = lab_spawn(c->node[master].host, NULL,
			(const char *const[]){lab_program(), "sync", NULL});
	lab_sleep_ms(FENCE_MS / 2 + 500);
	freeze_other_sentinels(master, SIGCONT);
	check(lab_wait(pid, 2 * FENCE_MS) == 0,
	      "sync failed though a majority answered in the end");
	check(moves_heard() == 0, "fenced before %d ms were over", FENCE_MS);

	freeze_other_sentinels(master, SIGSTOP);
	check(vip(master, "sync") == 1, "status %d", r.status);
	check(cluster_holder(c, VIP4) == -1, "not fenced");
	freeze_other_sentinels(master, SIGCONT);
	check(LAB_UNTIL(vip(master, "sync") == 0, FOLLOW_MS), "status %d", r.status);
	expect_sole_holder(master);
}

int cluster_cut_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(cut_off_and_healed),
		on_cluster(fenced),
		/* a Sentinel that was frozen for 2 s starts no failover for the next 30 s (TILT) */
		on_cluster(fenced_but_not_at_once),
	};

	test_use(&cuttable, only_vip4);
	return cmocka_run_group_tests_name("cut", tests, NULL, test_end);
}
