/* SPDX-License-Identifier: MIT */
/*
 * The program under test ($SENTINEL_VIP) called by real Sentinels in real failovers, looked at from
 * outside: the kernel's dump on every host, a capture at the client, the client's neighbour table,
 * and writes through the VIP. One argument chooses tests by name, `*` and `?` allowed.
 */
#include "cluster.h"

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * A planned failover takes one second, a dead master down-after and an election, of which the first
 * may be in vain.
 */
#define FAILOVER_MS 20000
/* From the Sentinels' agreement to the last observer's call there is one hello period, 2 s. */
#define FOLLOW_MS 5000
/* The announcer's last repeat comes after 5 s; nothing must move until then. */
#define STAY_MS 6000

static const struct cluster_setup dual_stack = {
	.nodes = 3,
	.addresses = {{"172.16.2.4/24", "fd00:16:2::4/64"},
		      {"172.16.2.2/24", "fd00:16:2::2/64"},
		      {"172.16.2.15/24", "fd00:16:2::15/64"}},
	.client = {"172.16.2.100/24", "fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n"
		      "[" CLUSTER_MASTER "]\n"
		      "vip = 172.16.2.250/24\n"
		      "vip = fd00:16:2::250\n",
};

static const struct cluster_setup only_ipv6 = {
	.nodes = 3,
	.addresses = {{"fd00:16:2::4/64"}, {"fd00:16:2::2/64"}, {"fd00:16:2::15/64"}},
	.client = {"fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n"
		      "[" CLUSTER_MASTER "]\n"
		      "vip = fd00:16:2::250/64\n",
};

static const char *const both[] = {"172.16.2.250", "fd00:16:2::250", NULL};
static const char *const ipv6[] = {"fd00:16:2::250", NULL};

static struct cluster *c;
static const char *const *vips; /* of the cluster */
static int script_errors;       /* before the test */

#define check(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error(__VA_ARGS__);                                                  \
			print_error("\n");                                                         \
			cluster_print(c);                                                          \
			_fail(__FILE__, __LINE__);                                                 \
		}                                                                                  \
	} while (0)

/* ---- what is seen from outside ---- */

struct sender {
	const char *vip;
	unsigned char mac[6];
};

static bool announced_by(const struct lab_frame *f, const void *arg)
{
	const struct sender *s = arg;

	return lab_is_announcement(f, s->vip) && memcmp(&f->data[6], s->mac, 6) == 0;
}

static bool announced_by_another(const struct lab_frame *f, const void *arg)
{
	const struct sender *s = arg;

	return !f->outgoing && lab_is_announcement(f, s->vip) &&
	       memcmp(&f->data[6], s->mac, 6) != 0;
}

static struct sender sender(const char *vip, int node)
{
	struct sender s = {.vip = vip};

	check(lab_mac(c->node[node].host, "eth0", s.mac), "node %d has no eth0", node);
	return s;
}

static bool client_sees(const char *vip, int node)
{
	struct sender s = sender(vip, node);
	unsigned char mac[6];

	return lab_neigh_mac(c->client, vip, mac) && memcmp(mac, s.mac, 6) == 0;
}

/* Where the client's capture stands now. */
static size_t mark(void)
{
	lab_capture_read(c->eyes);
	return c->eyes->n;
}

/*
 * The master by the Sentinels' majority is another than `old`, and the client is served by it
 * through every VIP.
 */
static int expect_served(int old, size_t since)
{
	const int64_t begun = lab_now_ns();
	int now = -1;

	check(LAB_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS),
	      "no majority for another master than %d", old);
	for (int i = 0; vips[i]; i++) {
		struct sender s = sender(vips[i], now);

		check(lab_capture_wait(c->eyes, since, announced_by, &s, FOLLOW_MS),
		      "%s was not announced by node %d", vips[i], now);
		check(LAB_UNTIL(client_sees(vips[i], now), 1000),
		      "the client's neighbour entry of %s is not node %d", vips[i], now);
		check(LAB_UNTIL(cluster_write(c, vips[i]) == now, FOLLOW_MS),
		      "no write through %s acknowledged by node %d", vips[i], now);
	}
	print_message("served by node %d after %d ms\n", now,
		      (int)((lab_now_ns() - begun) / 1000000));
	return now;
}

/* Of all kernels only that one has the VIPs. */
static void expect_sole_holder(int node)
{
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_holder(c, vips[i]) == node, FOLLOW_MS),
		      "%s is held by %d, not by node %d alone", vips[i], cluster_holder(c, vips[i]),
		      node);
	check(cluster_script_errors(c) == script_errors, "a Sentinel reports -script-error");
}

/* Nothing of that changes until `done` (if there is one), and for STAY_MS at least. */
static void expect_stays(int node, bool (*done)(int), int arg)
{
	const int64_t begun = lab_now_ns();
	size_t since = mark();
	bool over = false;

	while (!over) {
		const int64_t ms = (lab_now_ns() - begun) / 1000000;

		for (int i = 0; vips[i]; i++)
			check(cluster_holder(c, vips[i]) == node,
			      "%s left node %d after %d ms; the Sentinels name node %d", vips[i],
			      node, (int)ms, cluster_master(c));
		over = ms >= STAY_MS && (!done || done(arg));
		check(ms < FAILOVER_MS + STAY_MS, "what was waited for did not come");
		lab_sleep_ms(50);
	}
	check(cluster_master(c) == node, "the master moved on");
	for (int i = 0; vips[i]; i++) {
		struct sender s = sender(vips[i], node);

		check(!lab_capture_wait(c->eyes, since, announced_by_another, &s, 0),
		      "another host than %d announced %s", node, vips[i]);
		check(client_sees(vips[i], node),
		      "the client's neighbour entry of %s is no longer node %d", vips[i], node);
		check(cluster_write(c, vips[i]) == node,
		      "writes through %s no longer reach node %d", vips[i], node);
	}
	check(cluster_script_errors(c) == script_errors, "a Sentinel reports -script-error");
}

/* ---- the fixture ---- */

static int start(const struct cluster_setup *setup, const char *const *addresses)
{
	int64_t begun = lab_now_ns();

	vips = addresses;
	c = cluster_start(setup);
	print_message("the cluster stands after %d ms\n", (int)((lab_now_ns() - begun) / 1000000));
	return 0;
}

static int start_dual_stack(void **state)
{
	(void)state;
	return start(&dual_stack, both);
}

static int start_only_ipv6(void **state)
{
	(void)state;
	return start(&only_ipv6, ipv6);
}

static int end(void **state)
{
	(void)state;
	cluster_free(c);
	c = NULL;
	return 0;
}

/*
 * Whatever the test before left behind: all run, and the VIPs are bound by hand to the master, as
 * the client knows.
 */
static int settle(void **state)
{
	static struct lab_result r;
	int master;

	(void)state;
	cluster_settle(c);
	master = cluster_master(c);
	for (int i = 0; i < c->nodes; i++)
		check(lab_vip(c->node[i].host, &r, i == master ? "claim" : "release",
			      CLUSTER_MASTER, NULL) == 0,
		      "by hand, on node %d: %s%s", i, r.out, r.err);
	script_errors = cluster_script_errors(c);
	expect_sole_holder(master);
	for (int i = 0; i < c->nodes; i++)
		lab_log_clear(c->node[i].host);
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_write(c, vips[i]) == master, FOLLOW_MS),
		      "no write through %s", vips[i]);
	return 0;
}

/* ---- the tests ---- */

static bool is_replica(int node)
{
	return cluster_is_replica(c, node);
}

static void planned_failover(void **state)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	(void)state;
	cluster_failover(c, old);
	now = expect_served(old, since);
	expect_sole_holder(now);
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
 * away by the new holder's announcements alone. When Sentinel thaws, it hears of the failover and
 * the VIP goes.
 */
static void host_frozen(void **state)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	(void)state;
	kill(c->node[old].redis, SIGSTOP);
	kill(c->node[old].sentinel, SIGSTOP);
	now = expect_served(old, since);
	kill(c->node[old].redis, SIGCONT);
	kill(c->node[old].sentinel, SIGCONT);
	expect_sole_holder(now);
	expect_stays(now, NULL, 0);
}

#define on_cluster(f) cmocka_unit_test_setup(f, settle)

static void failed(const char *message)
{
	fail_msg("%s", message);
}

static int run(int argc, char **argv)
{
	const struct CMUnitTest with_both[] = {
		on_cluster(master_killed),
		on_cluster(planned_failover),
		on_cluster(master_frozen),
		on_cluster(host_frozen),
	};
	const struct CMUnitTest with_ipv6[] = {
		on_cluster(planned_failover),
		on_cluster(master_killed),
	};
	int bad;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	lab_on_failure = failed;
	bad = cmocka_run_group_tests_name("cluster", with_both, start_dual_stack, end);
	bad += cmocka_run_group_tests_name("cluster, IPv6 only", with_ipv6, start_only_ipv6, end);
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
