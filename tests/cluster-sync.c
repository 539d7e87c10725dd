/* SPDX-License-Identifier: MIT */
/*
 * What no Sentinel calls for, and `sync` has to find: a VIP that somebody took away, a host that
 * rebooted, a leader that died before it called. And what one Sentinel says that must not be
 * believed.
 */
#include "cluster-test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMER_MS 5000 /* as the timer unit has it */
/* A run asks for one second at most; the rest is for a slow machine. */
#define SLACK_MS (1500 * lab_slow())
#define DOWN_AFTER_MS 6000 /* for a reboot that nobody notices */
#define SOON_MS 100
#define PUBLISH_MS 2000    /* the Sentinels' own */
#define NEVER_MS 600000

static const struct cluster_setup synced = {
	.nodes = 3,
	.addresses = {{"172.16.2.4/24", "fd00:16:2::4/64"},
		      {"172.16.2.2/24", "fd00:16:2::2/64"},
		      {"172.16.2.15/24", "fd00:16:2::15/64"}},
	.client = {"172.16.2.100/24", "fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n" MASTER_AND_VIP "vip = " VIP6 "\n",
	.down_after_ms = DOWN_AFTER_MS,
};

static const char *const both[] = {VIP4, VIP6, NULL};

/* On all nodes; returns when each has run once, and has found nothing to do or say. */
static void timers_start(void)
{
	for (int i = 0; i < c->nodes; i++)
		timer_start(i, TIMER_MS);
	for (int i = 0; i < c->nodes; i++) {
		check(WATCH_UNTIL(timer_count(i, 0) >= 1, TIMER_MS * lab_slow()), "sync failed on node %d", i);
		expect_lines(i, 0, "");
	}
	check(moves_heard() == 0, "sync moved what was right");
}

static bool both_came(int node)
{
	return moves_count(node, true, VIP4) && moves_count(node, true, VIP6);
}

/* ---- the tests ---- */

/* As NetworkManager does with an address that it does not know. */
static void removed_behind_our_back(void **state)
{
	int master = cluster_master(c);
	size_t since;

	(void)state;
	timers_start();
	since = mark();
	lab_must(c->node[master].host,
		 "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	check(WATCH_UNTIL(both_came(master), TIMER_MS + SLACK_MS), "not claimed in time");
	expect_sole_holder(master);
	expect_line(master, FOLLOW_MS, "claimed " VIP4 " on eth0, " VIP6 " on eth0");
	expect_only_speaker(master, since);
	for (int i = 0; i < c->nodes; i++)
		expect_lines(i, i == master, "");
	check(moves_heard() == 4, "more moved than was removed and claimed");
	/* and once more, while it is still being announced */
	timers_stop();
	lab_must(c->node[master].host,
		 "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	since = mark();
	lab_sleep_ms(2500);
	expect_silent(master, since);
}

/* The kernel takes all IPv6 addresses off a link that goes down (ipv6(7), addrconf_ifdown). */
static void the_link_was_down(void **state)
{
	int master = cluster_master(c);
	const char *own = synced.addresses[master][1];

	(void)state;
	timers_start();
	lab_must(c->node[master].host,
		 "ip link set eth0 down && ip link set eth0 up && ip addr add %s dev eth0 nodad", own);
	check(WATCH_UNTIL(moves_count(master, true, VIP6) == 1, TIMER_MS + SLACK_MS),
	      "not claimed in time");
	expect_line(master, FOLLOW_MS, "claimed " VIP6 " on eth0");
	expect_sole_holder(master);
	check(cluster_master(c) == master, "a failover, so this was no test of sync");
	check(LAB_UNTIL(cluster_write(c, VIP6) == master, FOLLOW_MS), "no write through " VIP6);
}

/* All that ran is gone, and all addresses but those that the boot gives back. */
static void power_cycle(int node)
{
	struct lab_host *h = c->node[node].host;

	cluster_redis_kill(c, node);
	cluster_sentinel_kill(c, node);
	lab_host_kill(h);
	lab_must(h,
		 "ip link set eth0 down && ip addr flush dev eth0 && rm -rf /run/sentinel-vip && "
		 "ip link set eth0 up");
	for (int i = 0; synced.addresses[node][i]; i++)
		lab_must(h, "ip addr add %s dev eth0", synced.addresses[node][i]);
}

/* Faster than down-after: no Sentinel calls anybody. */
static void rebooted(void **state)
{
	int master = cluster_master(c);

	(void)state;
	power_cycle(master);
	check(cluster_holder(c, VIP4) == -1, "the VIP outlived the reboot");
	/* the first run comes too early */
	timer_start(master, TIMER_MS);
	check(LAB_UNTIL(timer_count(master, 1) >= 1, TIMER_MS * lab_slow()), "sync did not end with 1");
	expect_line(master, 0, "undecided: no majority of its Sentinels");
	moves_clear();
	cluster_redis_start(c, master);
	cluster_sentinel_start(c, master);
	check(WATCH_UNTIL(both_came(master), TIMER_MS + SLACK_MS), "not claimed in time");
	expect_sole_holder(master);
	check(cluster_master(c) == master, "a failover, so this was no test of sync");
	for (int i = 0; i < c->nodes; i++)
		check(i == master || lab_log_count(c->node[i].host, "") == 0,
		      "node %d was called, so this was no test of sync", i);
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_write(c, vips[i]) == master, FOLLOW_MS),
		      "no write through %s", vips[i]);
}

/* The node that Redis was promoted on, of which the Sentinels do not know yet. */
static int promoted(int old)
{
	for (int i = 0; i < c->nodes; i++)
		if (i != old && !cluster_is_replica(c, i))
			return i;
	return -1;
}

/*
 * The leader is on the host that has the VIP. Nobody is called while it is dead; and when it is
 * back it knows the new master and tells the others, but will never call the program itself.
 */
static void leader_died_after_promotion(void **state)
{
	static struct lab_result switches;
	int old = cluster_master(c), now;

	(void)state;
	freeReplyObject(cluster_ask(c, c->node[old].ip, CLUSTER_SENTINEL_PORT,
				    "SENTINEL SIMULATE-FAILURE crash-after-promotion"));
	cluster_failover(c, old);
	check(lab_wait(c->node[old].sentinel, FAILOVER_MS) >= 0, "the leader lives");
	c->node[old].sentinel = 0;
	now = promoted(old);
	check(now >= 0, "nobody was promoted");

	/* to the others node `old` is the master still */
	for (int i = 0; i < c->nodes; i++)
		check(vip(i, "sync") == (i == old ? 1 : 0), "status %d on node %d", r.status, i);
	check(moves_heard() == 0, "sync moved the VIP without a truth");

	for (int i = 0; i < c->nodes; i++)
		timer_start(i, TIMER_MS);
	cluster_sentinel_start(c, old);
	check(WATCH_UNTIL(cluster_master(c) == now, FAILOVER_MS), "the leader told nobody");
	check(WATCH_UNTIL(both_came(now) && moves_count(old, false, VIP4) &&
				  moves_count(old, false, VIP6),
			  TIMER_MS + SLACK_MS),
	      "the VIPs did not move in time");
	expect_sole_holder(now);
	for (int i = 0; vips[i]; i++)
		check(moves_shared_ms(vips[i]) <= TIMER_MS + SLACK_MS, "two holders for %d ms",
		      moves_shared_ms(vips[i]));
	lab_sh(c->node[old].host, &switches, "grep -c switch-master /run/sentinel.log");
	check(atoi(switches.out) == 0, "the leader may have called, so this was no test of sync");
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_write(c, vips[i]) == now, FOLLOW_MS), "no write through %s",
		      vips[i]);
}

/* Started again with the configuration of before the failover, and the others do not tell it. */
static int make_stale(int old)
{
	int now;

	lab_must(c->node[old].host, "cp /run/sentinel/sentinel.conf /run/stale.conf");
	now = fail_over();
	cluster_sentinel_kill(c, old);
	sentinel_time("publish-period", NEVER_MS);
	lab_must(c->node[old].host, "cp /run/stale.conf /run/sentinel/sentinel.conf");
	log_clear();
	moves_clear();
	cluster_sentinel_start(c, old);
	check(LAB_UNTIL(cluster_says(c, old) == old, FOLLOW_MS), "the Sentinel is not stale");
	return now;
}

static void freeze_sentinels(int but, int signal)
{
	for (int i = 0; i < c->nodes; i++)
		if (i != but)
			kill(c->node[i].sentinel, signal);
}

static void stale_sentinel(void **state)
{
	int old = cluster_master(c), now = make_stale(old);
	char said[256];
	size_t since = mark();

	(void)state;
	check(vip(old, "sync") == 0, "status %d", r.status);
	/* two of three are a majority */
	kill(c->node[3 - old - now].sentinel, SIGSTOP);
	check(vip(old, "sync") == 0, "status %d with two Sentinels", r.status);
	check(moves_heard() == 0, "a stale Sentinel was believed");
	/* its own Sentinel has not heard, but it goes all the same */
	lab_must(c->node[old].host, "ip addr add " VIP4 "/32 dev eth0");
	check(vip(old, "sync") == 0, "status %d", r.status);
	expect_sole_holder(now);

	moves_clear();
	freeze_sentinels(old, SIGSTOP);
	check(vip(old, "sync") == 1, "status %d without a majority", r.status);
	freeze_sentinels(old, SIGCONT);
	snprintf(said, sizeof said, "127.0.0.1:%d: %s:%d, epoch", CLUSTER_SENTINEL_PORT,
		 c->node[old].ip, CLUSTER_REDIS_PORT);
	expect_line(old, 0, said);
	snprintf(said, sizeof said, "%s:%d: it did not answer in time", c->node[now].ip,
		 CLUSTER_SENTINEL_PORT);
	expect_line(old, 0, said);
	check(moves_heard() == 0, "a stale Sentinel alone was believed");
	check(cluster_says(c, old) == old, "the Sentinel heard too early, so this was no test");

	/* when it hears, it calls */
	log_clear();
	sentinel_time("publish-period", PUBLISH_MS);
	expect_line(old, FOLLOW_MS, "nothing to do");
	expect_sole_holder(now);
	check(moves_heard() == 0, "its call moved the VIP");
	expect_silent(old, since);
}

/*
 * The node's Sentinel is started with the file as it was first written, naming `master`, as whoever
 * sets hosts up by a tool or builds containers anew does.
 */
static void start_from_new_file(int node, int master)
{
	cluster_sentinel_kill(c, node);
	lab_must(c->node[node].host,
		 "sed -i -E -e '/^sentinel (known-|myid|config-epoch|leader-epoch|current-epoch)/d' "
		 "-e 's/^(sentinel monitor " CLUSTER_MASTER ") [^ ]+/\\1 %s/' "
		 "/run/sentinel/sentinel.conf",
		 c->node[master].ip);
	log_clear();
	moves_clear();
	timer_start(node, SOON_MS);
	cluster_sentinel_start(c, node);
}

/* Until it has heard of the others it knows nobody but itself, and an old master. */
static void sentinel_from_new_file(void **state)
{
	int old = cluster_master(c), now = fail_over();

	(void)state;
	cluster_settle(c);
	for (int i = 0; i < 2; i++) {
		int node = i == 0 ? old : now;

		start_from_new_file(node, old);
		(void)WATCH_UNTIL(moves_count(node, i == 0, NULL) > 0 ||
					  cluster_says(c, node) == now, FOLLOW_MS);
		check(cluster_says(c, node) == now, "node %d names no other master", node);
		check(WATCH_UNTIL(timer_count(node, 0) > 0, FOLLOW_MS), "sync does not agree");
		timers_stop();
		check(moves_heard() == 0, "a Sentinel that knew nobody was believed on %s host",
		      i == 0 ? "the old master's" : "the master's");
		expect_line(node, 0, "too few of its Sentinels are known");
		expect_sole_holder(now);
		cluster_settle(c);
	}
}

int cluster_sync_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(removed_behind_our_back),
		on_cluster(the_link_was_down),
		on_cluster(rebooted),
		on_cluster(leader_died_after_promotion),
		on_cluster(stale_sentinel),
		on_cluster(sentinel_from_new_file),
	};

	test_use(&synced, both);
	return cmocka_run_group_tests_name("sync", tests, NULL, test_end);
}
