/* SPDX-License-Identifier: MIT */
/*
 * `sync` with one, two and five Sentinels: what a majority of those known is, and that the newest
 * epoch in it counts, not the most votes.
 */
#include "cluster-test.h"

#define CONFIG "interface = eth0\n" MASTER_AND_VIP
#define PUBLISH_MS 2000 /* the Sentinels' own */
#define NEVER_MS 600000

static const struct cluster_setup one = {
	.nodes = 1,
	.addresses = {{"172.16.2.4/24"}},
	.client = {"172.16.2.100/24"},
	.vip_config = CONFIG,
};

static const struct cluster_setup two = {
	.nodes = 2,
	.addresses = {{"172.16.2.4/24"}, {"172.16.2.2/24"}},
	.client = {"172.16.2.100/24"},
	.vip_config = CONFIG,
};

static const struct cluster_setup five = {
	.nodes = 5,
	.addresses = {{"172.16.2.4/24"},
		      {"172.16.2.2/24"},
		      {"172.16.2.15/24"},
		      {"172.16.2.16/24"},
		      {"172.16.2.17/24"}},
	.client = {"172.16.2.100/24"},
	.vip_config = CONFIG,
};

/* The VIP is where it does not belong: on another host if there is one, not on the master's. */
static void misplace(int master)
{
	lab_must(c->node[master].host, "ip addr del " VIP4 "/32 dev eth0");
	if (c->nodes > 1)
		lab_must(c->node[(master + 1) % c->nodes].host, "ip addr add " VIP4 "/32 dev eth0");
	moves_clear();
}

/* sync brings it back: on the nodes it runs on, with that status. */
static void expect_mended(int master)
{
	for (int i = 0; i < c->nodes; i++)
		if (c->node[i].sentinel)
			check(vip(i, "sync") == 0, "status %d on node %d: %s", r.status, i, r.err);
	expect_sole_holder(master);
}

static void expect_left_alone(void)
{
	for (int i = 0; i < c->nodes; i++) {
		check(vip(i, "sync") == 1, "status %d on node %d: %s", r.status, i, r.err);
		expect_line(i, 0, "undecided: no majority of its Sentinels agrees");
	}
	check(moves_heard() == 0, "sync moved the VIP without a majority");
}

static void alone(void **state)
{
	(void)state;
	misplace(0);
	expect_mended(0);
	misplace(0);
	cluster_sentinel_kill(c, 0);
	expect_left_alone();
}

static void both_of_two(void **state)
{
	int master = cluster_master(c);

	(void)state;
	misplace(master);
	expect_mended(master);
}

/* One of two is no majority, whichever it is. */
static void one_of_two(void **state)
{
	int master = cluster_master(c);

	(void)state;
	misplace(master);
	cluster_sentinel_kill(c, 1 - master);
	expect_left_alone();
}

static void failover_of_two(void **state)
{
	int old = cluster_master(c), now;

	(void)state;
	now = fail_over();
	check(now == 1 - old, "failed over to node %d", now);
	misplace(now);
	expect_mended(now);
}

/* All but those of the master and the one after it, which has the misplaced VIP. */
static void kill_sentinels(int master, int count)
{
	for (int i = 0; i < count; i++)
		cluster_sentinel_kill(c, (master + 2 + i) % c->nodes);
}

static void three_of_five(void **state)
{
	int master = cluster_master(c);

	(void)state;
	misplace(master);
	kill_sentinels(master, 2);
	expect_mended(master);
}

static void two_of_five(void **state)
{
	int master = cluster_master(c);

	(void)state;
	misplace(master);
	kill_sentinels(master, 3);
	expect_left_alone();
}

/* Three were started again with what they knew before the failover; they are more, but older. */
static void three_of_five_are_stale(void **state)
{
	int old = cluster_master(c), now;

	(void)state;
	for (int i = 0; i < c->nodes; i++)
		lab_must(c->node[i].host, "cp /run/sentinel/sentinel.conf /run/stale.conf");
	now = fail_over();
	sentinel_time("publish-period", NEVER_MS);
	for (int i = 0, stale = 0; stale < 3; i++) {
		int node = (old + i) % c->nodes;

		if (node == now)
			continue;
		cluster_sentinel_kill(c, node);
		lab_must(c->node[node].host, "cp /run/stale.conf /run/sentinel/sentinel.conf");
		cluster_sentinel_start(c, node);
		/* nor may it be told by those that it is to be older than */
		check(LAB_UNTIL(cluster_says(c, node) == old, FOLLOW_MS), "node %d is not stale",
		      node);
		stale++;
	}
	check(cluster_master(c) == old, "most name the new master, so this was no test");
	log_clear();
	moves_clear();
	for (int i = 0; i < c->nodes; i++)
		check(vip(i, "sync") == 0, "status %d on node %d: %s", r.status, i, r.err);
	check(moves_heard() == 0, "the majority was followed, not the newest epoch");
	check(cluster_master(c) == old, "they heard too early, so this was no test");
	expect_sole_holder(now);
	sentinel_time("publish-period", PUBLISH_MS);
}

int cluster_council_tests(void)
{
	const struct CMUnitTest of_one[] = {on_cluster(alone)};
	const struct CMUnitTest of_two[] = {
		on_cluster(both_of_two),
		on_cluster(one_of_two),
		on_cluster(failover_of_two),
	};
	const struct CMUnitTest of_five[] = {
		on_cluster(three_of_five),
		on_cluster(two_of_five),
		on_cluster(three_of_five_are_stale),
	};
	int bad;

	test_use(&one, only_vip4);
	bad = cmocka_run_group_tests_name("one Sentinel", of_one, NULL, test_end);
	test_use(&two, only_vip4);
	bad += cmocka_run_group_tests_name("two Sentinels", of_two, NULL, test_end);
	test_use(&five, only_vip4);
	bad += cmocka_run_group_tests_name("five Sentinels", of_five, NULL, test_end);
	return bad;
}
