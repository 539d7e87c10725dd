/* SPDX-License-Identifier: MIT */
/*
 * Redis known by host names, which each Sentinel tells or not as it was configured: one names the
 * host and the others its address, in one and the same failover. And one that cannot resolve what
 * it hears.
 */
#include "cluster-test.h"

#include <stdio.h>

#define NAMER 1      /* the node whose Sentinel tells names */
#define SOON_MS 1000 /* after a status of 1 */

static const struct cluster_setup names = {
	THREE_HOSTS,
	.names = true,
	.vip_config = "interface = eth0\n" MASTER_AND_VIP,
	.sentinel = "sentinel resolve-hostnames yes",
	.sentinel_of[NAMER] = "sentinel announce-hostnames yes",
};

/* How the log of a node names the master. */
static void expect_master_as(int node, const char *host)
{
	char said[128];

	snprintf(said, sizeof said, "the master is %s:%d", host, CLUSTER_REDIS_PORT);
	expect_line(node, FOLLOW_MS, said);
}

/*
 * A Sentinel tells the others what it would tell anybody, so the one that tells names has one to
 * tell only where it leads itself; the others turn that into the address. It comes last: afterwards
 * that Sentinel knows the old master by address and by name, as if it were two.
 */
static void one_tells_names(void **state)
{
	static const int leaders[] = {0, NAMER};

	(void)state;
	for (int n = 0; n < 2; n++) {
		int old = cluster_master(c), now;
		size_t since = mark();

		cluster_settle(c);
		log_clear();
		cluster_failover(c, leaders[n]);
		now = expect_served(old, since);
		expect_sole_holder(now);
		for (int i = 0; i < c->nodes; i++) {
			expect_master_as(i, i == NAMER && leaders[n] == NAMER
						    ? c->node[now].host->name
						    : c->node[now].ip);
			expect_lines(i, 0, "stale");
			expect_lines(i, 0, "unverified");
		}
		moves_clear();
		for (int i = 0; i < c->nodes; i++)
			check(vip(i, "sync") == 0, "sync on node %d: %s", i, r.err);
		check(moves_heard() == 0, "sync moved what was right");
	}
}

/* Arguments by name where Sentinel tells the address, and the other way round. */
static void names_and_addresses_are_the_same(void **state)
{
	int master = cluster_master(c);

	(void)state;
	for (int i = 0; i < c->nodes; i++)
		for (int by_name = 0; by_name <= 1; by_name++) {
			const char *to = by_name ? c->node[master].host->name : c->node[master].ip;

			check(vip(i, CLUSTER_MASTER, "observer", "start", "10.1.1.1", "6379", to,
				  "6379") == 0,
			      "status %d", r.status);
		}
	check(moves_heard() == 0, "the VIP moved");
}

/*
 * The Sentinel on the old master's host knows that there is a new epoch but not where the new
 * master is. It calls with the old one twice, and goes on to name it. The others are in the
 * majority, but two answers at one epoch are no truth for sync. Afterwards this Sentinel would undo
 * the failover, so this is the only test of its cluster.
 */
static void new_name_does_not_resolve(void **state)
{
	int old = cluster_master(c), now = NAMER;
	size_t since;

	(void)state;
	promote_only(now);
	lab_must(c->node[old].host,
		 "sed '/ %s$/d' /run/etc/hosts >/run/hosts && "
		 "cat /run/hosts >/run/etc/hosts",
		 c->node[now].host->name);
	sentinel_time("script-retry-delay", SOON_MS); /* if the others have not heard either */
	log_clear();
	cluster_failover(c, NAMER);
	check(expect_served(old, mark()) == now, "node %d was not promoted", now);
	check(cluster_says(c, old) == old, "the name resolved, so this was no test");
	expect_sole_holder(now);
	since = mark();
	expect_line(old, FOLLOW_MS, "from and to are the same, so the other Sentinels were asked");

	moves_clear();
	for (int i = 0; i < c->nodes; i++)
		check(vip(i, "sync") == 1, "status %d of sync on node %d", r.status, i);
	check(moves_heard() == 0, "sync moved the VIP without a truth");
	expect_only_speaker(now, since);
}

int cluster_names_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(names_and_addresses_are_the_same),
		on_cluster(one_tells_names),
	};
	const struct CMUnitTest unresolved[] = {on_cluster(new_name_does_not_resolve)};
	int bad;

	test_use(&names, only_vip4);
	bad = cmocka_run_group_tests_name("names", tests, NULL, test_end);
	return bad + cmocka_run_group_tests_name("unresolved name", unresolved, NULL, test_end);
}
