/* SPDX-License-Identifier: MIT */
/*
 * The oracle: at a quiet point, with the Sentinels agreed and nothing broken for three periods of
 * the timer (but for what lasts, see faults_lasting()), each VIP must be held by the master that
 * the Sentinels' majority names and by nobody else, everybody's neighbour entry must lead there,
 * no host may have lost an address of its own, and both clients' writes must be acknowledged there.
 * It looks at kernels, Sentinels and clients only, never at what the program says.
 */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SETTLE_MS = 45000,
	LOOK_MS = 100,
	FENCED_MS = 9000, /* a run of sync that hears no majority asks for 3 s before it lets go */
	POKE_MS = 1500,   /* until a neighbour has answered */
	FRESH_MS = 1000,  /* the age of the last acknowledged write */
	STALE_MS = 12000, /* a neighbour's own doubt: delay_first_probe_time 5 s, then 3 probes of 1 s */
	HEAL_MS = 60000,
	TRACE_S = 40,
	LINES = 30, /* of each log */
};

/* ---- whether the Sentinels are through with it ---- */

static bool has_sentinel(int node)
{
	const struct node *n = &w.node[node];

	return !n->off && n->sentinel && !n->sentinel_frozen;
}

static bool has_redis(int node, int k)
{
	const struct node *n = &w.node[node];

	return node < w.redises && !n->off && n->redis[k] && !n->redis_frozen[k];
}

static const char *end_name(int end)
{
	return end < 0 ? "nobody" : world_end(end)->name;
}

static char unrest[160]; /* what kept the last look from being content */

static bool sentinel_settled(int node, int k, int master)
{
	redisReply *reply;
	bool fine;

	snprintf(unrest, sizeof unrest, "the Sentinel of n%d does not name n%d for m%d", node, master, k);
	if (says(node, k) != master)
		return false;
	reply = ask(node, SENTINEL_PORT, "SENTINEL MASTER m%d", k);
	fine = strcmp(field(reply, "flags"), "master") == 0 &&
	       node_of(field(reply, "ip")) == master &&
	       atoi(field(reply, "num-other-sentinels")) == w.nodes - 1;
	snprintf(unrest, sizeof unrest, "to the Sentinel of n%d m%d is %s at %s with %s other Sentinels",
		 node, k, field(reply, "flags"), field(reply, "ip"),
		 field(reply, "num-other-sentinels"));
	freeReplyObject(reply);
	return fine;
}

/* ROLE of a replica: "slave", the master's address, its port, the state of the link. */
static bool redis_settled(int node, int k, int master)
{
	redisReply *role = ask(node, REDIS_PORT + k, "ROLE");
	bool fine = node == master ? strcmp(word(role, 0), "master") == 0
				   : strcmp(word(role, 0), "slave") == 0 &&
					     node_of(word(role, 1)) == master &&
					     strcmp(word(role, 3), "connected") == 0;

	snprintf(unrest, sizeof unrest, "n%d is %s of m%d, below %s, %s", node, word(role, 0), k,
		 word(role, 1), word(role, 3));
	freeReplyObject(role);
	return fine;
}

static bool settled(void)
{
	for (int k = 0; k < w.masters; k++) {
		int master = master_of(k);

		snprintf(unrest, sizeof unrest, "m%d is at %s", k, end_name(master));
		if (master < 0 || !has_redis(master, k))
			return false;
		for (int i = 0; i < w.nodes; i++)
			if ((has_sentinel(i) && !sentinel_settled(i, k, master)) ||
			    (has_redis(i, k) && !redis_settled(i, k, master)))
				return false;
	}
	return true;
}

bool oracle_agreed(int k)
{
	int master = master_of(k);

	for (int i = 0; i < w.nodes; i++)
		if (has_sentinel(i) && !sentinel_settled(i, k, master))
			return false;
	return true;
}

int oracle_settle(void)
{
	int64_t begun = lab_now_ns();
	bool is = false;

	while (!(is = settled()) && lab_now_ns() - begun < SETTLE_MS * INT64_C(1000000)) {
		world_tick();
		lab_sleep_ms(LOOK_MS);
	}
	return is ? (int)((lab_now_ns() - begun) / 1000000) : -1;
}

/* ---- what is wrong ---- */

static unsigned complaints;
static int64_t stepped; /* what was before is not looked at again */

static void complain(FILE *out, const char *fmt, ...) LAB_PRINTF(2, 3);

static void complain(FILE *out, const char *fmt, ...)
{
	va_list ap;

	complaints++;
	fprintf(out, "  ");
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fprintf(out, "\n");
}

/* How often an address stands in the output of `ip -o addr`. */
static int copies(const char *dump, const char *address)
{
	char wanted[64];
	int n = 0;

	snprintf(wanted, sizeof wanted, " %s/", address);
	for (const char *p = dump; (p = strstr(p, wanted)); p++)
		n++;
	return n;
}

/* It cannot know: no Sentinel of its own to tell it who the others are. */
static bool excused(int node)
{
	return !has_sentinel(node);
}

/* Who holds what, and own addresses; whether clients can be asked for more. */
static void judge_addresses(FILE *out, const int masters[], bool judged[])
{
	static struct lab_result r;

	for (int v = 0; v < w.vips; v++)
		judged[v] = true;
	for (int i = 0; i < w.nodes; i++) {
		if (w.node[i].off)
			continue;
		lab_sh(w.node[i].host, &r, "ip -o addr");
		if (copies(r.out, w.node[i].ip) != 1 || copies(r.out, w.node[i].ip6) != 1)
			complain(out, "%s has lost an address of its own", end_name(i));
		for (int v = 0; v < w.vips; v++) {
			int have = copies(r.out, w.vip[v].address);
			int is = masters[w.vip[v].master] == i ? 1 : 0;

			/* without a Sentinel it stays as it was, and a fenced one lets go */
			if (excused(i) && have <= 1 && !(w.fence && !is && have))
				judged[v] = judged[v] && have == is;
			else if (have != is)
				complain(out, "%s stands %d times on %s, and %s is the master",
					 w.vip[v].address, have, end_name(i),
					 end_name(masters[w.vip[v].master]));
		}
	}
}

/* The switch's end with that hardware address. */
static int end_of(const unsigned char mac[6])
{
	for (int i = 0; i < world_ends(); i++)
		if (memcmp(i < w.nodes ? w.node[i].mac : w.client_mac[i - w.nodes], mac, 6) == 0)
			return i;
	return -1;
}

static bool neighbour(int end, const char *address, int *leads_to)
{
	unsigned char mac[6];

	if (!lab_neigh_mac(world_end(end), address, mac))
		return false;
	*leads_to = end_of(mac);
	return true;
}

/* An entry that is there must be right as it is; where there is none, a question must be answered. */
static void judge_neighbours(FILE *out, const int masters[], const bool judged[])
{
	for (int v = 0; v < w.vips; v++)
		for (int e = 0; e < world_ends(); e++) {
			int master = masters[w.vip[v].master], at = -1;

			if (!judged[v] || e == master || (e < w.nodes && w.node[e].off))
				continue;
			if (!neighbour(e, w.vip[v].address, &at)) {
				lab_poke(world_end(e), w.vip[v].address);
				(void)LAB_UNTIL(neighbour(e, w.vip[v].address, &at), POKE_MS);
			}
			if (at != master)
				complain(out, "%s's neighbour entry of %s leads to %s, not to %s",
					 end_name(e), w.vip[v].address, end_name(at),
					 end_name(master));
		}
}

static void judge_writes(FILE *out, const int masters[], const bool judged[])
{
	for (int v = 0; v < w.vips; v++)
		for (int c = 0; c < CLIENTS; c++) {
			const struct writer *writer = writer_of(c, v);
			int master = masters[w.vip[v].master];
			int64_t age = (lab_now_ns() - writer->acked_ns) / 1000000;

			if (judged[v] && (age > FRESH_MS || writer->node != master))
				complain(out,
					 "%s's last write through %s was acknowledged %d ms ago by %s, "
					 "and %s is the master",
					 world_end(w.nodes + c)->name, w.vip[v].address, (int)age,
					 end_name(writer->node), end_name(master));
		}
}

/*
 * Whether sync has claimed it there in this step. Calls are not meant: they follow their own Sentinel,
 * which may be behind the others; only sync, which asks all, may never be.
 */
static bool sync_claimed(int node, int k)
{
	char text[32];

	snprintf(text, sizeof text, "m%d: claimed ", k);
	for (const char *line = NULL; (line = lab_log_next(w.node[node].host, text, line));)
		if (strstr(line, "ask again"))
			return true;
	return false;
}

/*
 * The master that was promoted last has had its VIPs since, once it had them: no run of the program
 * may have taken them away, whatever an older Sentinel believed. A fenced one may.
 */
static void judge_moves(FILE *out, const int masters[])
{
	for (int v = 0; v < w.vips && !w.fence; v++) {
		int k = w.vip[v].master, node = w.promoted[k].node;

		if (masters[k] < 0 || w.promoted[k].ns <= stepped || node != masters[k])
			continue;
		if (watch_lost(node, v, w.promoted[k].ns))
			complain(out, "%s was taken from %s after it had been promoted",
				 w.vip[v].address, end_name(node));
		for (int i = 0; i < w.nodes; i++)
			if (i != node && watch_came(i, v, w.promoted[k].ns) && sync_claimed(i, k))
				complain(out, "sync put %s on %s after %s had been promoted",
					 w.vip[v].address, end_name(i), end_name(node));
	}
}

/* Its statuses are 0 and 1; 137 is the power that failed. */
static void judge_statuses(FILE *out)
{
	static struct lab_result r;

	for (int i = 0; i < w.nodes; i++)
		if (lab_sh(w.node[i].host, &r,
			   "grep -vE '^status (0|1|137)$' /run/sync.log && : >/run/sync.log") == 0)
			complain(out, "sync on %s said: %s", end_name(i), r.out);
}

static bool is_reached(const int masters[], const bool judged[])
{
	FILE *nowhere = fopen("/dev/null", "we");
	unsigned before = complaints;
	bool is;

	if (!nowhere)
		lab_fail("/dev/null: %m");
	world_tick();
	judge_neighbours(nowhere, masters, judged);
	judge_writes(nowhere, masters, judged);
	fclose(nowhere);
	is = complaints == before;
	complaints = before;
	return is;
}

/*
 * Who heard nothing of the claim is told by the holder's next sync. That announces nothing while the
 * holder cannot ask its own Sentinel, and the kernels of the others have to find out themselves.
 */
static void wait_for_doubt(const int masters[], const bool judged[])
{
	for (int k = 0; k < w.masters; k++)
		if (masters[k] >= 0 && excused(masters[k])) {
			(void)LAB_UNTIL(is_reached(masters, judged), STALE_MS);
			return;
		}
}

static unsigned judge(FILE *out)
{
	bool judged[VIPS_MAX];
	int masters[MASTERS_MAX];

	complaints = 0;
	for (int k = 0; k < w.masters; k++)
		masters[k] = master_of(k);
	judge_addresses(out, masters, judged);
	wait_for_doubt(masters, judged);
	judge_neighbours(out, masters, judged);
	judge_writes(out, masters, judged);
	judge_moves(out, masters);
	judge_statuses(out);
	return complaints;
}

/* ---- the report ---- */

static void report(unsigned step, const char *what, const char *findings)
{
	static struct lab_result r;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		lab_fail("open_memstream: %m");
	fprintf(out, "\n==== %s\n==== seed %llu, step %u, at %.3f s; %d nodes, fence = %s; "
		"still broken: %s\n%s\n",
		what, (unsigned long long)w.seed, step, world_s(), w.nodes,
		w.fence ? "majority" : "no", faults_lasting() ? faults_lasting() : "nothing",
		findings);
	fprintf(out, "-- the last faults\n");
	faults_print(out);
	fprintf(out, "-- reports of the kernels, and announcements\n");
	watch_print(out, TRACE_S);
	for (int i = 0; i < w.nodes; i++) {
		lab_sh(w.node[i].host, &r, "date +%%T; ip -o addr show dev eth0; tail -n %d /run/sentinel.log", LINES);
		fprintf(out, "-- %s: addresses and Sentinel%s\n%s", world_end(i)->name,
			w.node[i].off ? " (off)" : "", r.out);
	}
	for (int i = 0; i < w.nodes; i++) {
		fprintf(out, "-- %s: what the program said\n", world_end(i)->name);
		lab_log_tail(w.node[i].host, LINES, out);
	}
	fclose(out);
	fputs(text, stdout); /* at once: others write to it as well */
	fflush(stdout);
	free(text);
}

/* How long it takes until all is well without us, for who looks for the reason. */
static void wait_for_healing(void)
{
	int64_t begun = lab_now_ns();
	char *text;
	size_t size;

	do {
		FILE *out = open_memstream(&text, &size);
		unsigned wrong = out ? judge(out) : 0;

		if (!out || fclose(out) != 0)
			lab_fail("open_memstream: %m");
		free(text);
		if (!wrong) {
			printf("==== healed by itself %.1f s later\n\n",
			       (double)(lab_now_ns() - begun) / 1e9);
			return;
		}
		lab_sleep_ms(LOOK_MS);
	} while (lab_now_ns() - begun < HEAL_MS * INT64_C(1000000));
	printf("==== NOT healed %d s later\n\n", HEAL_MS / 1000);
}

void oracle_restless(unsigned step)
{
	report(step, "no violation: the Sentinels and servers do not come to rest", unrest);
}

/* A failover that nobody asked for begins it anew. */
static bool wait_for_quiet(void)
{
	int before[MASTERS_MAX] = {0};
	bool same;

	do {
		for (int k = 0; k < w.masters; k++)
			before[k] = master_of(k);
		lab_sleep_ms(w.fence && faults_lasting() ? FENCED_MS : QUIET_MS);
		world_tick();
		same = settled();
		for (int k = 0; k < w.masters; k++)
			same = same && before[k] == master_of(k);
		if (!same && oracle_settle() < 0)
			return false;
	} while (!same);
	return true;
}

unsigned oracle_judge(unsigned step)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned wrong;

	if (!out)
		lab_fail("open_memstream: %m");
	if (!wait_for_quiet()) {
		fclose(out);
		free(text);
		oracle_restless(step);
		return 0;
	}
	wrong = judge(out);
	fclose(out);
	if (wrong) {
		report(step, "VIOLATION at a quiet point", text);
		stepped = lab_now_ns();
		wait_for_healing();
	}
	free(text);
	stepped = lab_now_ns();
	return wrong ? 1 : 0;
}

unsigned oracle_wrong_frames(unsigned step)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned wrong;

	if (!out)
		lab_fail("open_memstream: %m");
	wrong = watch_wrong(out);
	fclose(out);
	if (wrong)
		report(step, "VIOLATION: announced by a host that does not hold it", text);
	free(text);
	return wrong;
}
