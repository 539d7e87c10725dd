/* SPDX-License-Identifier: MIT */
/*
 * The world of one soak: nodes with a Redis for each master and one Sentinel, `sync` from a timer,
 * two clients, and a switch that can be told to lose frames. The program under test is what the
 * Sentinels call. Refuses to go on with a world that cannot be made or changed.
 */
#include "soak.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Twice that passes before a Sentinel tries again after an election that nobody won. */
#define FAILOVER_TIMEOUT_MS 4000

struct world w;

double world_s(void)
{
	return (double)(lab_now_ns() - w.began_ns) / 1e9;
}

struct lab_host *world_end(int end)
{
	return end < w.nodes ? w.node[end].host : w.client[end - w.nodes];
}

int world_ends(void)
{
	return w.nodes + CLIENTS;
}

/* ---- servers ---- */

/* Appended to, as what was said before a restart is of interest as well. */
static pid_t start(int node, const char *log, const char *command)
{
	char line[8192];

	snprintf(line, sizeof line, "exec %s >>/run/%s 2>&1", command, log);
	return lab_spawn(w.node[node].host, NULL, (const char *const[]){"sh", "-c", line, NULL});
}

static void end(pid_t *pid)
{
	if (*pid && kill(*pid, SIGKILL) == 0)
		lab_wait(*pid, -1);
	*pid = 0;
}

void redis_start(int node, int master)
{
	char command[64];

	if (w.node[node].redis[master] || w.node[node].off || node >= w.redises)
		return;
	snprintf(command, sizeof command, "redis-server /run/redis/m%d.conf", master);
	w.node[node].redis[master] = start(node, "redis.log", command);
}

void redis_kill(int node, int master)
{
	end(&w.node[node].redis[master]);
	w.node[node].redis_frozen[master] = false;
}

void redis_freeze(int node, int master, bool on)
{
	pid_t pid = w.node[node].redis[master];

	if (pid)
		kill(pid, on ? SIGSTOP : SIGCONT);
	w.node[node].redis_frozen[master] = pid && on;
}

void sentinel_start(int node)
{
	struct node *n = &w.node[node];

	if (n->sentinel || n->off)
		return;
	n->hurried = false;
	n->sentinel = start(node, "sentinel.log", "redis-sentinel /run/sentinel/sentinel.conf");
}

void sentinel_kill(int node)
{
	end(&w.node[node].sentinel);
	w.node[node].sentinel_frozen = false;
}

void sentinel_freeze(int node, bool on)
{
	pid_t pid = w.node[node].sentinel;

	if (pid)
		kill(pid, on ? SIGSTOP : SIGCONT);
	w.node[node].sentinel_frozen = pid && on;
}

void timer_start(int node)
{
	char command[PATH_MAX + 128];

	if (w.node[node].timer || w.node[node].off)
		return;
	snprintf(command, sizeof command,
		 "sh -c 'while :; do %s sync 2>/dev/null; echo \"status $?\"; sleep %d.%03d; done'",
		 lab_program(), PERIOD_MS / 1000, PERIOD_MS % 1000);
	w.node[node].timer = start(node, "sync.log", command);
}

/* ---- hosts and cables ---- */

static void own_addresses(int node, const char *verb)
{
	struct node *n = &w.node[node];

	lab_must(n->host, "ip addr %s %s/24 dev eth0; ip addr %s %s/64 dev eth0", verb, n->ip, verb,
		 n->ip6);
}

void power(int node, bool on)
{
	struct node *n = &w.node[node];

	if (n->off == !on)
		return;
	if (!on) {
		for (int k = 0; k < w.masters; k++)
			redis_kill(node, k);
		sentinel_kill(node);
		end(&n->timer);
		lab_host_kill(n->host);
		for (int v = 0; v < w.vips; v++)
			watch_forgive(node, v);
		lab_must(n->host, "ip link set eth0 down && ip addr flush dev eth0 && "
				  "rm -rf /run/sentinel-vip");
		n->off = true;
		return;
	}
	n->off = false;
	lab_must(n->host, "ip link set eth0 up");
	own_addresses(node, "replace");
	for (int k = 0; k < w.masters; k++)
		redis_start(node, k);
	sentinel_start(node);
	timer_start(node);
}

void admin_down(int node, bool down)
{
	if (w.node[node].off)
		return;
	for (int v = 0; down && v < w.vips; v++)
		watch_forgive(node, v); /* IPv6 addresses go with it */
	lab_must(w.node[node].host, "ip link set eth0 %s", down ? "down" : "up");
	if (!down)
		own_addresses(node, "replace");
}

/* Between the ends as the bridge passes frames on, so that captures at the ends are not disturbed. */
void cables(void)
{
	char rules[8192];
	size_t n = 0;
	int ends = world_ends();

#define RULE(...) n += (size_t)snprintf(rules + n, sizeof rules - n, __VA_ARGS__)
	RULE("flush chain bridge soak pass\n");
	for (int i = 0; i < ends; i++) {
		const char *name = world_end(i)->name;

		if (w.cable[i].mute)
			RULE("add rule bridge soak pass iifname %s drop\n", name);
		if (w.cable[i].deaf)
			RULE("add rule bridge soak pass oifname %s drop\n", name);
		if (w.cable[i].loss)
			RULE("add rule bridge soak pass oifname %s numgen random mod 100 < %d drop\n",
			     name, w.cable[i].loss);
		for (int j = 0; j < ends; j++)
			if (w.cable[i].side != w.cable[j].side)
				RULE("add rule bridge soak pass iifname %s oifname %s drop\n", name,
				     world_end(j)->name);
	}
#undef RULE
	if (n >= sizeof rules)
		lab_fail("too many rules for the switch");
	lab_write("/run/rules.nft", rules);
	lab_must(NULL, "nft -f /run/rules.nft");
}

/* ---- now and then ---- */

/* Periods that a Sentinel has in its code, so that a failover and what follows take seconds. */
static void hurry(int node)
{
	redisReply *reply = ask(node, SENTINEL_PORT,
				"SENTINEL DEBUG info-period 1000 publish-period 500 ask-period 500 "
				"slave-reconf-timeout 2000 script-retry-delay 3000");

	if (reply && reply->type == REDIS_REPLY_ERROR)
		lab_fail("SENTINEL DEBUG: %s; Redis 7 or Valkey is needed", reply->str);
	w.node[node].hurried = reply != NULL;
	freeReplyObject(reply);
}

/* "PID:X 22 Nov 2026 20:41:29.123 # +promoted-slave slave 10.0.0.2:6380 10.0.0.2 6380 @ m1 ..." */
static void read_promotion(const char *line)
{
	const char *at = strchr(line, ' '), *who = strstr(line, " +promoted-slave slave ");
	const char *which = strstr(line, " @ m");
	struct tm tm = {.tm_isdst = -1};
	const char *rest = at ? strptime(at + 1, "%d %b %Y %H:%M:%S", &tm) : NULL;
	char ip[20];
	int64_t ns;
	int k;

	if (!who || !which || !rest || *rest != '.' || sscanf(who + 23, "%19[0-9.]", ip) != 1 ||
	    (k = atoi(which + 4)) < 0 || k >= w.masters)
		return;
	w.failovers++;
	ns = mktime(&tm) * INT64_C(1000000000) + strtol(rest + 1, NULL, 10) * INT64_C(1000000);
	if (ns > w.promoted[k].ns) { /* the logs are read one after the other */
		w.promoted[k].node = node_of(ip);
		w.promoted[k].ns = ns;
	}
}

void sentinels_publish(bool on)
{
	for (int i = 0; i < w.nodes; i++)
		if (w.node[i].sentinel && !w.node[i].sentinel_frozen)
			freeReplyObject(ask(i, SENTINEL_PORT, "SENTINEL DEBUG publish-period %d",
					    on ? 500 : 3600000));
}

/* What its Sentinel has said since the last time. */
static void read_log(int node)
{
	char path[128], line[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/sentinel.log", w.node[node].host->run);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fseek(f, w.node[node].log_read, SEEK_SET) < 0)
		lab_fail("%s: %m", path);
	while (fgets(line, sizeof line, f) && strchr(line, '\n')) {
		read_promotion(line);
		w.tilts += strstr(line, " +tilt ") != NULL;
		w.script_errors += strstr(line, " -script-error ") != NULL;
		w.node[node].log_read = ftell(f);
	}
	fclose(f);
}

void world_tick(void)
{
	for (int i = 0; i < w.nodes; i++) {
		if (w.node[i].sentinel && !w.node[i].sentinel_frozen && !w.node[i].hurried)
			hurry(i);
		read_log(i);
		lab_log_count(w.node[i].host, ""); /* reads it, so that nobody has to wait */
	}
}

/* ---- the beginning ---- */

static void configure(int node)
{
	struct lab_host *h = w.node[node].host;
	char text[4096], config[1024];
	size_t n = 0, c = 0;

#define ADD(...) n += (size_t)snprintf(text + n, sizeof text - n, __VA_ARGS__)
	ADD("port %d\nbind * -::*\nprotected-mode no\ndir /run/sentinel\n"
	    "sentinel announce-ip %s\n",
	    SENTINEL_PORT, w.node[node].ip);
	c += (size_t)snprintf(config + c, sizeof config - c, "interface = eth0\nfence = %s\n",
			      w.fence ? "majority" : "no");
	for (int k = 0; k < w.masters; k++) {
		char name[32];

		ADD("sentinel monitor m%d %s %d %d\n"
		    "sentinel down-after-milliseconds m%d %d\n"
		    "sentinel failover-timeout m%d %d\n"
		    "sentinel client-reconfig-script m%d %s\n",
		    k, w.node[k % w.redises].ip, REDIS_PORT + k, w.nodes / 2 + 1, k, w.down_after_ms, k,
		    FAILOVER_TIMEOUT_MS, k, lab_program());
		c += (size_t)snprintf(config + c, sizeof config - c, "[m%d]\n", k);
		for (int v = 0; v < w.vips; v++)
			if (w.vip[v].master == k)
				c += (size_t)snprintf(config + c, sizeof config - c, "vip = %s\n",
						      w.vip[v].address);
		snprintf(name, sizeof name, "redis/m%d.conf", k);
		lab_file(h, name, 0644, 0,
			 "port %d\nbind * -::*\nprotected-mode no\ndir /run/redis\nsave \"\"\n"
			 "dbfilename m%d.rdb\nrepl-diskless-sync-delay 0\nrepl-timeout 5\n"
			 "repl-ping-replica-period 1\nreplica-announce-ip %s\n",
			 REDIS_PORT + k, k, w.node[node].ip);
		if (node < w.redises && node != k % w.redises)
			lab_must(h, "echo replicaof %s %d >>/run/%s", w.node[k % w.redises].ip,
				 REDIS_PORT + k, name);
	}
#undef ADD
	lab_file(h, "sentinel/sentinel.conf", 0644, 0, "%s", text);
	lab_config(h, "%s", config);
}

static void add_vip(int master, const char *network, int last)
{
	struct vip *v = &w.vip[w.vips++];

	snprintf(v->address, sizeof v->address, "%s%d", network, last);
	v->master = master;
}

static void make_hosts(void)
{
	char name[16], a[32], b[32];

	for (int i = 0; i < w.nodes; i++) {
		struct node *n = &w.node[i];

		snprintf(n->ip, sizeof n->ip, "10.0.0.%d", 1 + i);
		snprintf(n->ip6, sizeof n->ip6, "fd00::%d", 1 + i);
		snprintf(a, sizeof a, "%s/24", n->ip);
		snprintf(b, sizeof b, "%s/64", n->ip6);
		snprintf(name, sizeof name, "n%d", i);
		n->host = lab_host(name, a, b, NULL);
		if (!lab_mac(n->host, "eth0", n->mac))
			lab_fail("%s has no eth0", name);
	}
	for (int i = 0; i < w.nodes; i++)
		configure(i);
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(name, sizeof name, "c%d", i);
		snprintf(a, sizeof a, "10.0.0.%d/24", 101 + i);
		snprintf(b, sizeof b, "fd00::%d/64", 101 + i);
		w.client[i] = lab_host(name, a, b, NULL);
		if (!lab_mac(w.client[i], "eth0", w.client_mac[i]))
			lab_fail("%s has no eth0", name);
	}
}

void world_make(uint64_t seed)
{
	signal(SIGPIPE, SIG_IGN);
	w.seed = seed;
	w.began_ns = lab_now_ns();
	w.nodes = seed % 2 ? 3 : 5;
	w.redises = 3;
	w.fence = seed / 2 % 2;
	w.masters = 2 + (int)(seed / 4 % 2);
	w.down_after_ms = 1000 + (int)(seed % 3) * 250;
	for (int k = 0; k < w.masters; k++)
		add_vip(k, "10.0.0.", 200 + k);
	add_vip(0, "fd00::", 200);
	lab_must(NULL, "nft 'add table bridge soak; add chain bridge soak pass "
		       "{ type filter hook forward priority 0; }'");
	make_hosts();
	watch_start();
	for (int i = 0; i < w.nodes; i++)
		for (int k = 0; k < w.masters; k++)
			redis_start(i, k);
	for (int i = 0; i < w.nodes; i++) {
		sentinel_start(i);
		timer_start(i);
	}
	writers_start();
}
