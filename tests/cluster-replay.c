/* SPDX-License-Identifier: MIT */
/*
 * Status 1 and what comes of it: Sentinel calls again with the arguments of then, half a minute
 * later, and the program must do what is right now. What fails at first is the interface: `uplink`
 * is another name of eth0 that is taken away from a host and given back.
 */
#include "cluster-test.h"

#include <stdio.h>
#include <string.h>

#define REPLAY_MS 30000 /* the Sentinels' own wait before a replay, and */
#define SOON_MS 1000    /* a shorter one, where the length does not matter */
#define REPLAY_LATEST_MS (REPLAY_MS + FOLLOW_MS)

#define CONFIG "interface = uplink\n" MASTER_AND_VIP

static const struct cluster_setup replay = {
	THREE_HOSTS,
	.vip_config = CONFIG,
};

static void uplink(int node, bool there)
{
	struct lab_host *h = c->node[node].host;

	if (there != (lab_sh(h, NULL, "ip link show dev uplink 2>/dev/null") == 0))
		lab_must(h, "ip link property %s dev eth0 altname uplink", there ? "add" : "del");
}

static int settle(void **state)
{
	test_cluster();
	for (int i = 0; i < c->nodes; i++)
		uplink(i, true);
	return test_settle(state);
}

/* How many scripts the Sentinel of a node will call again. */
static int replays(int node)
{
	redisReply *reply =
		cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT, "SENTINEL PENDING-SCRIPTS");
	int n = 0;

	for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		n += strcmp(test_field(reply->element[i], "flags"), "scheduled") == 0;
	freeReplyObject(reply);
	return n;
}

/* A failover to a host that cannot claim; returns it. */
static int fail_over_in_vain(void)
{
	int old = cluster_master(c), now = -1;

	for (int i = 0; i < c->nodes; i++)
		uplink(i, i == old);
	cluster_failover(c, old);
	check(LAB_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS), "no failover");
	expect_line(now, FOLLOW_MS, "refused: interface uplink does not exist here");
	check(LAB_UNTIL(replays(now) == 1, FOLLOW_MS), "Sentinel will not call again");
	check(LAB_UNTIL(cluster_holder(c, VIP4) == -1, FOLLOW_MS), "the VIP stays on node %d", old);
	return now;
}

/* ---- the tests ---- */

static void status_is_1_only_if_verified(void **state)
{
	int master = cluster_master(c), other = (master + 1) % c->nodes;

	(void)state;
	uplink(master, false);
	check(call(master, other, master) == 1, "status %d", r.status);
	lab_config(c->node[master].host, "verify = no\n" CONFIG);
	check(call(master, other, master) == 2, "status %d with verify = no", r.status);
	expect_lines(master, 0, "unverified"); /* as it was told to */
	lab_config(c->node[master].host, "sentinel = 127.0.0.1:1\n" CONFIG);
	check(call(master, other, master) == 2, "status %d without a Sentinel", r.status);
	expect_lines(master, 1, "unverified");
	expect_sole_holder(master);
}

/* A Sentinel that wants none answers all the same. */
static void password_that_nobody_wants(void **state)
{
	int master = cluster_master(c), other = (master + 1) % c->nodes;

	(void)state;
	lab_file(c->node[master].host, "auth", 0600, 0, "password = secret\n");
	lab_config(c->node[master].host, "sentinel-auth = /run/auth\n" CONFIG);
	check(call(master, other, master) == 0, "status %d", r.status);
	expect_lines(master, 1, ", as Sentinel says");
	expect_lines(master, 0, "unverified");
}

/* The replay of a failover that no other has followed: what failed has been mended. */
static void replay_claims(void **state)
{
	int now;

	(void)state;
	sentinel_time("script-retry-delay", SOON_MS);
	now = fail_over_in_vain();
	uplink(now, true);
	check(WATCH_UNTIL(moves_count(now, true, VIP4), REPLAY_LATEST_MS),
	      "the replay claimed nothing");
	expect_sole_holder(now);
	expect_lines(now, 0, "stale");
	check(replays(now) == 0, "Sentinel will call once more");
	sentinel_time("script-retry-delay", REPLAY_MS);
}

/* The same arguments on every host, while the Sentinels say otherwise. */
static void call_with_old_arguments(int from, int to, int master)
{
	char said[256];

	snprintf(said, sizeof said, "arguments are stale: they say %s:%d, Sentinel says %s:%d",
		 c->node[to].ip, CLUSTER_REDIS_PORT, c->node[master].ip, CLUSTER_REDIS_PORT);
	log_clear();
	for (int i = 0; i < c->nodes; i++) {
		check(call(i, from, to) == 0, "status %d on node %d", r.status, i);
		expect_lines(i, 1, said);
	}
	check(moves_heard() == 0, "old arguments moved the VIP");
}

static void replay_after_the_next_failover(void **state)
{
	int first = cluster_master(c), second, third;
	char said[256];
	size_t since;

	(void)state;
	second = fail_over_in_vain();
	for (int i = 0; i < c->nodes; i++)
		uplink(i, i != second);
	cluster_settle(c);
	third = fail_over();
	uplink(second, true);
	moves_clear();
	since = mark();
	call_with_old_arguments(first, second, third);

	log_clear();
	snprintf(said, sizeof said, "arguments are stale: they say %s:%d, Sentinel says %s:%d",
		 c->node[second].ip, CLUSTER_REDIS_PORT, c->node[third].ip, CLUSTER_REDIS_PORT);
	check(replays(second) == 1, "Sentinel has given up the replay");
	check(WATCH_UNTIL(lab_log_wait(c->node[second].host, said, 0), REPLAY_LATEST_MS),
	      "no replay, or it was believed");
	check(LAB_UNTIL(replays(second) == 0, FOLLOW_MS), "Sentinel will call once more");
	lab_sleep_ms(1500); /* for the second repeat of an announcement, if there is one */
	check(moves_heard() == 0, "the replay moved the VIP");
	expect_sole_holder(third);
	expect_only_speaker(third, since);
}

int cluster_replay_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(status_is_1_only_if_verified, settle),
		cmocka_unit_test_setup(password_that_nobody_wants, settle),
		cmocka_unit_test_setup(replay_claims, settle),
		cmocka_unit_test_setup(replay_after_the_next_failover, settle),
	};

	test_use(&replay, only_vip4);
	return cmocka_run_group_tests_name("replay", tests, NULL, test_end);
}
