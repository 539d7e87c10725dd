/* SPDX-License-Identifier: MIT */
/*
 * The fixture of the cluster tests and what all of them expect. Refuses to take the program's word:
 * what is asked are the kernels, the Sentinels and the client.
 */
#include "cluster-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The announcer's last repeat comes after 5 s; nothing must move until then. */
#define STAY_MS 6000

#define DEFAULT_PRIORITY 100
#define INFO_MS 10000 /* the Sentinels' own, and */
#define SOON_MS 300   /* a shorter one, for news of a Redis */

struct cluster *c;
const char *const *vips;
const char *const only_vip4[] = {VIP4, NULL};
struct lab_result r;

static const struct cluster_setup *setup;
static int script_errors; /* before the test */

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

static struct sender sender(const char *address, int node)
{
	struct sender s = {.vip = address};

	check(lab_mac(c->node[node].host, "eth0", s.mac), "node %d has no eth0", node);
	return s;
}

static bool client_sees(const char *address, int node)
{
	struct sender s = sender(address, node);
	unsigned char mac[6];

	return lab_neigh_mac(c->client, address, mac) && memcmp(mac, s.mac, 6) == 0;
}

size_t mark(void)
{
	lab_capture_read(c->eyes);
	return c->eyes->n;
}

int expect_served(int old, size_t since)
{
	const int64_t begun = lab_now_ns();
	int now = -1;

	check(LAB_UNTIL((now = cluster_master(c)) >= 0 && now != old, FAILOVER_MS),
	      "no majority for another master than %d", old);
	for (int i = 0; vips[i]; i++) {
		struct sender s = sender(vips[i], now);

		check(lab_capture_wait(c->eyes, since, announced_by, &s, FOLLOW_MS),
		      "%s was not announced by node %d", vips[i], now);
		check(LAB_UNTIL(client_sees(vips[i], now), 1000 * lab_slow()),
		      "the client's neighbour entry of %s is not node %d", vips[i], now);
		check(LAB_UNTIL(cluster_write(c, vips[i]) == now, FOLLOW_MS),
		      "no write through %s acknowledged by node %d", vips[i], now);
	}
	print_message("served by node %d after %d ms\n", now,
		      (int)((lab_now_ns() - begun) / 1000000));
	return now;
}

void expect_still_served(int node)
{
	for (int i = 0; vips[i]; i++) {
		check(client_sees(vips[i], node),
		      "the client's neighbour entry of %s is no longer node %d", vips[i], node);
		check(cluster_write(c, vips[i]) == node,
		      "writes through %s no longer reach node %d", vips[i], node);
	}
}

void expect_sole_holder(int node)
{
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_holder(c, vips[i]) == node, FOLLOW_MS),
		      "%s is held by %d, not by node %d alone", vips[i], cluster_holder(c, vips[i]),
		      node);
	check(cluster_script_errors(c) == script_errors, "a Sentinel reports -script-error");
}

void expect_only_speaker(int node, size_t since)
{
	for (int i = 0; vips[i]; i++) {
		struct sender s = sender(vips[i], node);

		check(!lab_capture_wait(c->eyes, since, announced_by_another, &s, 0),
		      "another host than %d announced %s", node, vips[i]);
	}
}

void expect_silent(int node, size_t since)
{
	for (int i = 0; vips[i]; i++) {
		struct sender s = sender(vips[i], node);

		check(!lab_capture_wait(c->eyes, since, announced_by, &s, 0),
		      "node %d announced %s", node, vips[i]);
	}
}

void expect_stays(int node, bool (*done)(int), int arg)
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
	expect_only_speaker(node, since);
	expect_still_served(node);
	check(cluster_script_errors(c) == script_errors, "a Sentinel reports -script-error");
}

void expect_lines(int node, size_t count, const char *text)
{
	size_t found = lab_log_count(c->node[node].host, text);

	check(found == count, "%zu lines with \"%s\" in the log of node %d, expected %zu", found,
	      text, node, count);
}

void expect_line(int node, int timeout_ms, const char *text)
{
	check(lab_log_wait(c->node[node].host, text, timeout_ms),
	      "no line with \"%s\" in the log of node %d after %d ms", text, node, timeout_ms);
}

/* ---- things done ---- */

int call(int node, int from, int to)
{
	return vip(node, CLUSTER_MASTER, "leader", "start", c->node[from].ip, "6379",
		   c->node[to].ip, "6379");
}

int fail_over(void)
{
	int old = cluster_master(c), now;
	size_t since = mark();

	cluster_failover(c, old);
	now = expect_served(old, since);
	expect_sole_holder(now);
	return now;
}

const char *test_field(const redisReply *reply, const char *name)
{
	for (size_t i = 0; reply && i + 1 < reply->elements; i += 2)
		if (strcmp(cluster_word(reply, i), name) == 0)
			return cluster_word(reply, i + 1);
	return "";
}

/* Whether the Sentinel of a node has heard which of the replicas may be promoted. */
static bool knows_candidate(int node, int candidate)
{
	redisReply *reply = cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT,
					"SENTINEL REPLICAS " CLUSTER_MASTER);
	bool knows = reply && reply->type == REDIS_REPLY_ARRAY;

	for (size_t i = 0; knows && i < reply->elements; i++) {
		bool may = atoi(test_field(reply->element[i], "slave-priority")) > 0;

		knows = may == (cluster_index(c, test_field(reply->element[i], "ip")) == candidate);
	}
	freeReplyObject(reply);
	return knows;
}

static void set_priority(int node, int priority)
{
	freeReplyObject(cluster_ask(c, c->node[node].ip, CLUSTER_REDIS_PORT,
				    "CONFIG SET replica-priority %d", priority));
}

void promote_only(int node)
{
	int master = cluster_master(c);

	sentinel_time("info-period", SOON_MS);
	for (int i = 0; i < c->nodes; i++)
		set_priority(i, i == node || i == master ? DEFAULT_PRIORITY : 0);
	for (int i = 0; i < c->nodes; i++)
		check(LAB_UNTIL(knows_candidate(i, node), FOLLOW_MS),
		      "node %d has not heard of the priorities", i);
	sentinel_time("info-period", INFO_MS);
}

/* A command that servers have from version 7 on; one that cannot be reached is left alone. */
static void must_have(redisReply *reply, const char *command)
{
	if (reply && reply->type == REDIS_REPLY_ERROR)
		lab_fail("%s: %s; these tests need Redis 7 or Valkey", command, reply->str);
	freeReplyObject(reply);
}

/* News are published, to Redis and to each other; nothing else needs that command. */
void sentinels_gossip(bool on)
{
	const char *rule = on ? "+publish" : "-publish";

	for (int i = 0; i < c->nodes; i++) {
		must_have(cluster_ask(c, c->node[i].ip, CLUSTER_REDIS_PORT,
				      "ACL SETUSER default %s", rule),
			  "ACL SETUSER");
		must_have(cluster_ask(c, c->node[i].ip, CLUSTER_SENTINEL_PORT,
				      "ACL SETUSER default %s", rule),
			  "ACL SETUSER");
	}
}

void sentinel_time(const char *which, int ms)
{
	for (int i = 0; i < c->nodes; i++)
		must_have(cluster_ask(c, c->node[i].ip, CLUSTER_SENTINEL_PORT,
				      "SENTINEL DEBUG %s %d", which, ms),
			  "SENTINEL DEBUG");
}

void log_clear(void)
{
	for (int i = 0; i < c->nodes; i++)
		lab_log_clear(c->node[i].host);
}

/* ---- the fixture ---- */

void test_use(const struct cluster_setup *wanted, const char *const *addresses)
{
	setup = wanted;
	vips = addresses;
}

void test_cluster(void)
{
	int64_t begun = lab_now_ns();

	if (c)
		return;
	c = cluster_start(setup);
	print_message("the cluster stands after %d ms\n", (int)((lab_now_ns() - begun) / 1000000));
}

int test_settle(void **state)
{
	int master;

	(void)state;
	test_cluster();
	timers_stop();
	for (int i = 0; i < c->nodes; i++) {
		lab_cut(c->node[i].host, false);
		lab_config(c->node[i].host, "%s", setup->vip_config);
		if (i < c->redises)
			set_priority(i, DEFAULT_PRIORITY);
	}
	sentinels_gossip(true);
	cluster_settle(c);
	master = cluster_master(c);
	/* the master's host last: it must not find another that has them */
	for (int i = 1; i <= c->nodes; i++) {
		int node = (master + i) % c->nodes;

		check(vip(node, node == master ? "claim" : "release", CLUSTER_MASTER) == 0,
		      "by hand, on node %d: %s%s", node, r.out, r.err);
	}
	script_errors = cluster_script_errors(c);
	expect_sole_holder(master);
	for (int i = 0; vips[i]; i++)
		check(LAB_UNTIL(cluster_write(c, vips[i]) == master, FOLLOW_MS),
		      "no write through %s", vips[i]);
	log_clear();
	moves_clear();
	return 0;
}

int test_end(void **state)
{
	(void)state;
	moves_end();
	cluster_free(c);
	c = NULL;
	return 0;
}
