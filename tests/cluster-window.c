/* SPDX-License-Identifier: MIT */
/*
 * The moment between the leader's promotion of a replica and the others' hearing of it, held open:
 * the Sentinels do not hear each other's news, so that only the leader knows the new master, and
 * two of three name the old one. `sync` must already go with the newer epoch.
 */
#include "cluster-test.h"

#include <signal.h>

static const struct cluster_setup window = {
	THREE_HOSTS,
	.vip_config = "interface = eth0\n" MASTER_AND_VIP,
};

/*
 * A failover that only its leader knows of, and is still busy with: the third Redis is frozen and
 * so does not become the new master's replica.
 */
static void begin(int leader, int old, int now)
{
	promote_only(now);
	sentinels_gossip(false);
	kill(c->node[3 - old - now].redis, SIGSTOP);
	cluster_failover(c, leader);
	check(WATCH_UNTIL(cluster_says(c, leader) == now, FAILOVER_MS), "no failover");
	check(WATCH_UNTIL(moves_heard() > 0, FOLLOW_MS), "the leader has not called");
	log_clear();
}

/* Nothing of that has changed meanwhile, or it was no test. */
static void expect_open(int leader, int old)
{
	redisReply *reply = cluster_ask(c, c->node[leader].ip, CLUSTER_SENTINEL_PORT,
					"SENTINEL MASTER " CLUSTER_MASTER);
	bool open = cluster_index(c, test_field(reply, "ip")) == old;

	freeReplyObject(reply);
	for (int i = 0; i < c->nodes; i++)
		open = open && (i == leader || cluster_says(c, i) == old);
	check(open, "others than the leader know already, so this was no test");
}

/* Again and again, on all hosts: with the leader's call, the VIP moves once, and that is all. */
static void expect_synced(int leader, int old, int now)
{
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < c->nodes; i++)
			check(vip(i, "sync") == 0, "status %d on node %d: %s", r.status, i, r.err);
	expect_open(leader, old);
	if (moves_heard() != 2)
		moves_print();
	check(moves_heard() == 2 && moves_count(now, true, VIP4) && moves_count(old, false, VIP4),
	      "the VIP did not just move from node %d to node %d", old, now);
}

static void end(int now)
{
	sentinels_gossip(true);
	cluster_settle(c);
	check(cluster_master(c) == now, "the failover came to nothing");
	expect_sole_holder(now);
}

/* Its call has claimed; the VIP must not be taken away again, and must leave the old host. */
static void only_the_new_host_knows(void **state)
{
	int old = cluster_master(c), now = (old + 1) % c->nodes;

	(void)state;
	begin(now, old, now);
	expect_synced(now, old, now);
	expect_line(old, 0, "released");
	end(now);
}

/* Its call has released; the new host must not wait until its own Sentinel has heard. */
static void only_the_old_host_knows(void **state)
{
	int old = cluster_master(c), now = (old + 1) % c->nodes;

	(void)state;
	begin(old, old, now);
	expect_synced(old, old, now);
	expect_line(now, 0, "claimed");
	end(now);
}

int cluster_window_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(only_the_new_host_knows),
		on_cluster(only_the_old_host_knows),
	};

	test_use(&window, only_vip4);
	return cmocka_run_group_tests_name("window", tests, NULL, test_end);
}
