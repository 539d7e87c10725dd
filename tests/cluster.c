/* SPDX-License-Identifier: MIT */
/*
 * Real Redis and real Sentinels on hosts of the laboratory: started, stopped, brought to rest.
 * Refuses to return a cluster that does not work yet.
 */
#include "cluster.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_MS 30000
/*
 * Well above 1000: Sentinel reconnects once a second at most, also to a new master when it has just
 * tried the dead one, but its clock for "down" starts at once. With 1000 it then sometimes fails
 * over a second time.
 */
#define DOWN_AFTER_MS 2000

/* ---- starting and stopping ---- */

static const char *cluster_name(const struct cluster *c, int node)
{
	return c->setup->names ? c->node[node].host->name : c->node[node].ip;
}

/* Every host knows every other by name. */
static void cluster_hosts_file(struct cluster *c, int node)
{
	char lines[1024] = "127.0.0.1 localhost\n::1 localhost\n";
	size_t n = strlen(lines);

	for (int i = 0; i < c->nodes; i++)
		n += (size_t)snprintf(lines + n, sizeof lines - n, "%s %s\n", c->node[i].ip,
				      c->node[i].host->name);
	lab_file(c->node[node].host, "etc/hosts", 0644, 0, "%s", lines);
}

static void cluster_configure(struct cluster *c, int node)
{
	const struct cluster_setup *s = c->setup;
	const struct cluster_node *n = &c->node[node];

	lab_config(n->host, "%s", s->vip_config);
	if (s->names)
		cluster_hosts_file(c, node);
	lab_file(n->host, "redis/redis.conf", 0644, 0,
		 "port %d\n"
		 "bind * -::*\n"
		 "protected-mode no\n"
		 "dir /run/redis\n"
		 "save \"\"\n"
		 "repl-diskless-sync-delay 0\n"
		 "replica-announce-ip %s\n"
		 "%s\n",
		 CLUSTER_REDIS_PORT, cluster_name(c, node), s->redis ? s->redis : "");
	lab_file(n->host, "sentinel/sentinel.conf", 0644, 0,
		 "port %d\n"
		 "bind * -::*\n"
		 "protected-mode no\n"
		 "dir /run/sentinel\n"
		 "sentinel announce-ip %s\n"
		 "%s\n"
		 "sentinel monitor " CLUSTER_MASTER " %s %d %d\n"
		 "sentinel down-after-milliseconds " CLUSTER_MASTER " %d\n"
		 "sentinel failover-timeout " CLUSTER_MASTER " 10000\n"
		 "sentinel client-reconfig-script " CLUSTER_MASTER " \"%s\"\n"
		 "%s\n",
		 CLUSTER_SENTINEL_PORT, n->ip, s->sentinel ? s->sentinel : "", cluster_name(c, 0),
		 CLUSTER_REDIS_PORT, c->nodes / 2 + 1,
		 s->down_after_ms ? s->down_after_ms : DOWN_AFTER_MS, lab_program(),
		 s->sentinel_of[node] ? s->sentinel_of[node] : "");
}

/* Starts as a replica of `master`; on its own when that is itself, or nobody. */
static void cluster_redis_start_below(struct cluster *c, int node, int master)
{
	struct cluster_node *n = &c->node[node];
	const char *argv[] = {"redis-server", "/run/redis/redis.conf", NULL, NULL, NULL, NULL};
	char port[8];

	if (n->redis || node >= c->redises)
		return;
	snprintf(port, sizeof port, "%d", CLUSTER_REDIS_PORT);
	if (master >= 0 && master != node) {
		argv[2] = "--replicaof";
		argv[3] = cluster_name(c, master);
		argv[4] = port;
	}
	n->redis = lab_spawn(n->host, "redis.log", argv);
}

void cluster_redis_start(struct cluster *c, int node)
{
	cluster_redis_start_below(c, node, cluster_master(c));
}

void cluster_sentinel_start(struct cluster *c, int node)
{
	struct cluster_node *n = &c->node[node];

	if (!n->sentinel)
		n->sentinel = lab_spawn(n->host, "sentinel.log",
					(const char *const[]){"redis-sentinel",
							      "/run/sentinel/sentinel.conf", NULL});
}

static void cluster_kill(pid_t *pid)
{
	if (*pid && kill(*pid, SIGKILL) == 0)
		lab_wait(*pid, -1);
	*pid = 0;
}

void cluster_redis_kill(struct cluster *c, int node)
{
	cluster_kill(&c->node[node].redis);
}

void cluster_sentinel_kill(struct cluster *c, int node)
{
	cluster_kill(&c->node[node].sentinel);
}

void cluster_failover(struct cluster *c, int node)
{
	char last[256] = "no answer";
	bool accepted = false;

	for (int i = 0; i < 20 && !accepted; i++) {
		redisReply *reply = cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT,
						"SENTINEL FAILOVER " CLUSTER_MASTER);

		accepted = reply && reply->type == REDIS_REPLY_STATUS;
		if (reply && reply->str)
			snprintf(last, sizeof last, "%s", reply->str);
		freeReplyObject(reply);
		if (!accepted)
			lab_sleep_ms(500);
	}
	if (!accepted)
		lab_fail("SENTINEL FAILOVER on node %d: %s", node, last);
}

/* ---- settling ---- */

/* What SENTINEL MASTER says of a field, or -1. */
static long cluster_field(const redisReply *reply, const char *field)
{
	for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
	     i += 2)
		if (strcmp(cluster_word(reply, i), field) == 0)
			return atol(cluster_word(reply, i + 1));
	return -1;
}

/*
 * No replica of the master is down in the eyes of this Sentinel: "flags" is "slave" and nothing
 * else.
 */
static bool cluster_replicas_fine(struct cluster *c, int node)
{
	redisReply *reply = cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT,
					"SENTINEL REPLICAS " CLUSTER_MASTER);
	bool fine = reply && reply->type == REDIS_REPLY_ARRAY;

	for (size_t i = 0; fine && i < reply->elements; i++)
		for (size_t j = 0; j + 1 < reply->element[i]->elements; j += 2)
			if (strcmp(cluster_word(reply->element[i], j), "flags") == 0)
				fine = strcmp(cluster_word(reply->element[i], j + 1), "slave") == 0;
	freeReplyObject(reply);
	return fine;
}

static bool cluster_sentinel_settled(struct cluster *c, int node, int master)
{
	redisReply *reply;
	bool fine;

	if (cluster_says(c, node) != master)
		return false;
	reply = cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT,
			    "SENTINEL MASTER " CLUSTER_MASTER);
	fine = cluster_field(reply, "num-slaves") == c->redises - 1 &&
	       cluster_field(reply, "num-other-sentinels") == c->nodes - 1;
	freeReplyObject(reply);
	return fine && cluster_replicas_fine(c, node);
}

/* ROLE of a replica: "slave", the master's address, its port, the state of the link. */
static bool cluster_redis_settled(struct cluster *c, int node, int master)
{
	redisReply *role = cluster_ask(c, c->node[node].ip, CLUSTER_REDIS_PORT, "ROLE");
	bool replica = strcmp(cluster_word(role, 0), "slave") == 0;
	bool fine = node == master ? role && !replica
				   : replica && cluster_index(c, cluster_word(role, 1)) == master &&
					     strcmp(cluster_word(role, 3), "connected") == 0;

	freeReplyObject(role);
	if (!fine && node != master && !replica)
		freeReplyObject(cluster_ask(c, c->node[node].ip, CLUSTER_REDIS_PORT,
					    "REPLICAOF %s %d", c->node[master].ip,
					    CLUSTER_REDIS_PORT));
	return fine;
}

static bool cluster_settled(struct cluster *c)
{
	int master = cluster_master(c);

	if (master < 0)
		return false;
	for (int i = 0; i < c->nodes; i++)
		if ((i < c->redises && !cluster_redis_settled(c, i, master)) ||
		    !cluster_sentinel_settled(c, i, master)) {
			lab_sleep_ms(50);
			return false;
		}
	return true;
}

void cluster_settle(struct cluster *c)
{
	int master = cluster_master(c);

	for (int i = 0; i < c->nodes; i++) {
		cluster_redis_start_below(c, i, master);
		cluster_sentinel_start(c, i);
		if (i < c->redises)
			kill(c->node[i].redis, SIGCONT);
		kill(c->node[i].sentinel, SIGCONT);
	}
	if (!LAB_UNTIL(cluster_settled(c), SETTLE_MS)) {
		cluster_print(c);
		lab_fail("the cluster does not come to rest");
	}
}

/* ---- the whole ---- */

static struct lab_host *cluster_host(const char *name,
				     const char *const addresses[CLUSTER_ADDRESSES])
{
	return lab_host(name, addresses[0], addresses[1], addresses[2], addresses[3], NULL);
}

struct cluster *cluster_start(const struct cluster_setup *setup)
{
	struct cluster *c = calloc(1, sizeof *c);

	if (!c)
		lab_fail("calloc: %m");
	signal(SIGPIPE, SIG_IGN);
	c->setup = setup;
	c->nodes = setup->nodes;
	c->redises = setup->redises ? setup->redises : setup->nodes;
	for (int i = 0; i < c->nodes; i++) {
		struct cluster_node *n = &c->node[i];

		n->host = cluster_host((const char[]){(char)('a' + i), '\0'}, setup->addresses[i]);
		snprintf(n->ip, sizeof n->ip, "%.*s", (int)strcspn(setup->addresses[i][0], "/"),
			 setup->addresses[i][0]);
	}
	c->client = cluster_host("client", setup->client);
	c->eyes = lab_capture_announcements(c->client, "eth0");
	for (int i = 0; i < c->nodes; i++) {
		cluster_configure(c, i);
		cluster_redis_start_below(c, i, 0);
	}
	/*
	 * Sentinels that start after the replicas follow need not wait for their next INFO to hear
	 * of them.
	 */
	for (int i = 1; i < c->redises; i++)
		if (!LAB_UNTIL(cluster_redis_settled(c, i, 0), SETTLE_MS)) {
			cluster_print(c);
			lab_fail("node %d does not follow node 0", i);
		}
	for (int i = 0; i < c->nodes; i++)
		cluster_sentinel_start(c, i);
	cluster_settle(c);
	return c;
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	for (int i = 0; i < c->nodes; i++) {
		cluster_kill(&c->node[i].redis);
		cluster_kill(&c->node[i].sentinel);
		lab_host_free(c->node[i].host);
	}
	lab_capture_free(c->eyes);
	lab_host_free(c->client);
	free(c);
}

int cluster_script_errors(struct cluster *c)
{
	static struct lab_result r;
	int errors = 0;

	for (int i = 0; i < c->nodes; i++) {
		lab_sh(c->node[i].host, &r, "grep -c -e -script-error /run/sentinel.log");
		errors += atoi(r.out);
	}
	return errors;
}

void cluster_print(struct cluster *c)
{
	static struct lab_result r;

	for (int i = 0; i < c->nodes; i++) {
		lab_sh(c->node[i].host, &r,
		       "ip -o addr show dev eth0; grep -a ' [*#] ' /run/redis.log | tail -n 12; "
		       "tail -n 40 /run/sentinel.log");
		fprintf(stderr, "---- node %d, %s ----\n%s%s", i, c->node[i].ip, r.out, r.err);
		lab_log_print(c->node[i].host);
	}
}
