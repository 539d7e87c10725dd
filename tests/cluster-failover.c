/* SPDX-License-Identifier: MIT */
/*
 * Real failovers, planned and not, of dual-stack hosts and of hosts that have IPv6 only.
 */
#include "cluster-test.h"

#include <signal.h>

#define ANNOUNCED_MS 5500 /* an announcer's last repeat comes after 5 s */

static const struct cluster_setup dual_stack = {
	.nodes = 3,
	.addresses = {{"172.16.2.4/24", "fd00:16:2::4/64"},
		      {"172.16.2.2/24", "fd00:16:2::2/64"},
		      {"172.16.2.15/24", "fd00:16:2::15/64"}},
	.client = {"172.16.2.100/24", "fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n"
		      "[" CLUSTER_MASTER "]\n"
		      "vip = " VIP4 "/24\n"
		      "vip = " VIP6 "\n",
};

static const struct cluster_setup only_ipv6 = {
	.nodes = 3,
	.addresses = {{"fd00:16:2::4/64"}, {"fd00:16:2::2/64"}, {"fd00:16:2::15/64"}},
	.client = {"fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n"
		      "sentinel = [::1]:26379\n"
		      "[" CLUSTER_MASTER "]\n"
		      "vip = " VIP6 "/64\n",
};

static const char *const both[] = {VIP4, VIP6, NULL};
static const char *const ipv6[] = {VIP6, NULL};

static bool is_replica(int node)
{
	return cluster_is_replica(c, node);
}

/* Each run asked its Sentinel, and none had to say anything that a person must look at. */
static void expect_verified(void)
{
	for (int i = 0; i < c->nodes; i++) {
		expect_line(i, FOLLOW_MS, ", as Sentinel says");
		expect_lines(i, 0, "WARNING");
		expect_lines(i, 0, "stale");
	}
}

static void planned_failover(void **state)
{
	int old = cluster_master(c), now;

	(void)state;
	now = fail_over();
	expect_verified();
	/* The old master is one until Sentinel demotes it, ten seconds later. */
	expect_stays(now, is_replica, old);
}

static void master_killed(void **state)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	(void)state;
	cluster_redis_kill(c, old);
	now = expect_served(old, since);
	expect_sole_holder(now);
	expect_stays(now, NULL, 0);
}

/*
 * When it thaws, it still believes to be the master: its host must neither have kept the VIP nor
 * take it again.
 */
static void master_frozen(void **state)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	(void)state;
	kill(c->node[old].redis, SIGSTOP);
	now = expect_served(old, since);
	expect_sole_holder(now);
	kill(c->node[old].redis, SIGCONT);
	expect_stays(now, is_replica, old);
}

/*
 * Redis and Sentinel alike: nobody is left there to release anything, so the client must be led
 * away by the new holder's announcements alone, and stay there although the old holder's announcer
 * is not frozen. When Sentinel thaws, it hears of the failover and the VIP goes.
 */
static void host_frozen(void **state)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	(void)state;
	kill(c->node[old].redis, SIGSTOP);
	kill(c->node[old].sentinel, SIGSTOP);
	now = expect_served(old, since);
	lab_sleep_ms(ANNOUNCED_MS);
	expect_still_served(now);
	kill(c->node[old].redis, SIGCONT);
	kill(c->node[old].sentinel, SIGCONT);
	expect_sole_holder(now);
	expect_stays(now, NULL, 0);
}

/* The questions of sync, and the arguments of a call, where nothing but IPv6 is spoken. */
static void ipv6_asked(void **state)
{
	int master = cluster_master(c), other = (master + 1) % c->nodes;

	(void)state;
	for (int i = 0; i < c->nodes; i++)
		check(vip(i, "sync") == 0, "sync on node %d: %s", i, r.err);
	check(moves_heard() == 0, "sync moved what was right");
	lab_must(c->node[master].host, "ip addr del " VIP6 "/64 dev eth0");
	lab_must(c->node[other].host, "ip addr add " VIP6 "/128 dev eth0 nodad");
	check(vip(other, "sync") == 0, "sync on node %d: %s", other, r.err);
	check(cluster_holder(c, VIP6) == -1, "sync left " VIP6 " on node %d", other);
	check(vip(master, "sync") == 0, "sync on node %d: %s", master, r.err);
	expect_sole_holder(master);
	expect_line(master, 0, ", as Sentinel says");
	check(call(other, master, other) == 0, "status %d", r.status);
	expect_line(other, 0, "arguments are stale: they say [fd00:16:2::");
	expect_sole_holder(master);
}

int cluster_failover_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(master_killed),
		on_cluster(planned_failover),
		on_cluster(master_frozen),
		on_cluster(host_frozen),
	};

	test_use(&dual_stack, both);
	return cmocka_run_group_tests_name("failover", tests, NULL, test_end);
}

int cluster_ipv6_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(ipv6_asked),
		on_cluster(planned_failover),
		on_cluster(master_killed),
	};

	test_use(&only_ipv6, ipv6);
	return cmocka_run_group_tests_name("IPv6 only", tests, NULL, test_end);
}
