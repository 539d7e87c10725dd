/* SPDX-License-Identifier: MIT */
/*
 * Failover upon failover while `sync` runs on every host again and again: it must never take the
 * VIP from the new master nor give it back to the old one, whatever the moment it falls into.
 */
#include "cluster-test.h"

#include <stdio.h>
#include <stdlib.h>

#define STORM_FAILOVERS 50 /* $FAILOVERS */
#define STORM_PAUSE_MS 50  /* between the end of a sync and the next: every moment is met */

/*
 * Two that take turns, since a failover that has another replica to see to takes longer; one whose
 * Sentinel breaks the tie.
 */
static const struct cluster_setup storm = {
	THREE_HOSTS,
	.redises = 2,
	.vip_config = "interface = eth0\nannounce = 0.2\n" MASTER_AND_VIP,
};

/*
 * Every Sentinel names another one than `old`, the same, also as the one it watches: then the
 * leader is through with its failover. A next one before that can leave real Sentinels with two
 * masters of one epoch.
 */
static int agreed(int old)
{
	int now = -1;

	for (int i = 0; i < c->nodes; i++) {
		redisReply *reply = cluster_ask(c, c->node[i].ip, CLUSTER_SENTINEL_PORT,
						"SENTINEL MASTER " CLUSTER_MASTER);
		int watched = cluster_index(c, test_field(reply, "ip"));

		freeReplyObject(reply);
		if (watched < 0 || watched == old || (i > 0 && watched != now) ||
		    cluster_says(c, i) != watched)
			return -1;
		now = watched;
	}
	return now;
}

/* Sentinel would take ten seconds for the old master. */
static void demote(int old, int now)
{
	freeReplyObject(cluster_ask(c, c->node[old].ip, CLUSTER_REDIS_PORT, "REPLICAOF %s %d",
				    c->node[now].ip, CLUSTER_REDIS_PORT));
}

/*
 * One failover, led by the Sentinel of any node, so that now the old and now the new master's host
 * is the first to know. Each kernel reports no more than what it takes.
 */
static int once(int old, int leader)
{
	int now = -1;

	moves_clear();
	cluster_failover(c, leader);
	check(WATCH_UNTIL((now = agreed(old)) >= 0, FAILOVER_MS), "no failover from node %d", old);
	demote(old, now);
	check(WATCH_UNTIL(moves_count(now, true, VIP4) && moves_count(old, false, VIP4), FOLLOW_MS),
	      "the VIP did not move from node %d to node %d", old, now);
	if (moves_heard() != 2)
		moves_print();
	check(moves_heard() == 2, "more moved than from node %d to node %d", old, now);
	return now;
}

static void synced_all_the_time(void **state)
{
	const char *wanted = getenv("FAILOVERS");
	int failovers = wanted ? atoi(wanted) : STORM_FAILOVERS;
	int master = cluster_master(c);
	int64_t begun = lab_now_ns();
	int syncs = 0;

	(void)state;
	for (int i = 0; i < c->nodes; i++)
		timer_start(i, STORM_PAUSE_MS * lab_slow());
	for (int i = 0; i < failovers; i++)
		master = once(master, i % c->nodes);
	timers_stop();
	check(moves_heard() == 2, "the VIP moved after the last failover");
	expect_sole_holder(master);
	for (int i = 0; i < c->nodes; i++)
		syncs += timer_count(i, 0) + timer_count(i, 1);
	print_message("%d failovers in %d s, %d runs of sync\n", failovers,
		      (int)((lab_now_ns() - begun) / 1000000000), syncs);
}

int cluster_storm_tests(void)
{
	const struct CMUnitTest tests[] = {on_cluster(synced_all_the_time)};

	test_use(&storm, only_vip4);
	return cmocka_run_group_tests_name("storm", tests, NULL, test_end);
}
