/* SPDX-License-Identifier: MIT */
/*
 * The schedule: what breaks, when, and for how long. It is drawn from the seed and the step alone,
 * before the step begins, so that a seed gives the same schedule again: also whom it meets is drawn
 * as a part that is played ("the host of master 1"), since who plays it is Sentinel's choice.
 */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FAULTS_MAX = 5,   /* of a step, and at least two */
	FIRST_MS = 4000,  /* all of a step begin within */
	BRIEF_MS = 900,   /* shorter than Sentinel's patience */
	LONG_MS = 9000,
	STALE_MS = 3000,
	REMEMBERED = 16,
	TICK_MS = 20,
};

enum kind {
	FAILOVER,
	KILL_REDIS,
	KILL_SENTINEL,
	FREEZE_REDIS,
	FREEZE_SENTINEL,
	CARRIER,
	ADMIN_DOWN,
	MUTE,
	DEAF,
	LOSSY,
	PARTITION,
	REBOOT,
	REMOVE,
	STALE,
	KINDS
};

static const struct {
	const char *name;
	int weight;
	bool lasts;   /* may go on into the next step: the majority is as well without it */
	bool clients; /* may meet a client */
} kinds[KINDS] = {
	[FAILOVER] = {"planned failover of", 20, false, false},
	[KILL_REDIS] = {"kill -9 Redis of", 12, true, false},
	[KILL_SENTINEL] = {"kill -9 Sentinel on", 6, true, false},
	[FREEZE_REDIS] = {"freeze Redis of", 10, true, false},
	[FREEZE_SENTINEL] = {"freeze Sentinel on", 5, true, false},
	[CARRIER] = {"no carrier on", 7, false, true},
	[ADMIN_DOWN] = {"eth0 set down on", 5, false, false},
	[MUTE] = {"nothing heard from", 6, false, true},
	[DEAF] = {"nothing heard by", 6, false, true},
	[LOSSY] = {"a third of the frames lost to", 4, false, true},
	[PARTITION] = {"partition", 7, false, true},
	[REBOOT] = {"reboot", 8, true, false},
	[REMOVE] = {"VIP removed from", 6, false, false},
	[STALE] = {"reboot, and Sentinel still believes in the old master, on", 5, false, false},
};

struct fault {
	enum kind kind;
	/* drawn */
	int part;    /* 0: the master's host; 1, 2: a host of its replicas; 3: any end */
	int master;
	unsigned any;
	int at_ms, for_ms;
	bool lasting;
	/* as it came */
	enum { WAITS, ACTS, OVER } state;
	int end; /* the one that was met */
	double began_s, ended_s;
	unsigned step;
};

static struct fault faults[FAULTS_MAX];
static int fault_count;
static struct fault lasting; /* from the step before */
static bool has_lasting;
static struct fault latest[REMEMBERED];
static unsigned long met;
static unsigned tally[KINDS];

/* ---- chance (splitmix64) ---- */

static uint64_t state;

static unsigned chance(unsigned below)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)((z ^ z >> 31) % below);
}

static enum kind draw_kind(void)
{
	int all = 0, drawn;

	for (int k = 0; k < KINDS; k++)
		all += kinds[k].weight;
	drawn = (int)chance((unsigned)all);
	for (int k = 0; k < KINDS; k++)
		if ((drawn -= kinds[k].weight) < 0)
			return (enum kind)k;
	return FAILOVER;
}

static void draw(struct fault *f, unsigned step)
{
	unsigned part = chance(100), length = chance(100), lasts = chance(100);

	*f = (struct fault){.kind = draw_kind(), .step = step, .end = -1};
	f->part = part < 65 ? 0 : part < 80 ? 1 + (int)(part % 2) : 3;
	f->master = (int)chance((unsigned)w.masters);
	f->any = chance(1 << 20);
	f->at_ms = (int)chance(FIRST_MS);
	f->for_ms = (int)(length < 25 ? 50 + chance(BRIEF_MS) : BRIEF_MS + chance(LONG_MS - BRIEF_MS));
	f->lasting = kinds[f->kind].lasts && lasts < 30;
	if (f->kind == STALE) { /* the old master's own, and dead for as long as the failover takes */
		f->part = 0;
		f->for_ms += STALE_MS;
	}
}

/* ---- what they do ---- */

/* Who plays the part now; -1 when nobody knows. */
static int cast(const struct fault *f)
{
	int node = master_of(f->master);

	if (f->part == 3)
		return (int)(f->any % (unsigned)(kinds[f->kind].clients ? world_ends() : w.nodes));
	return node < 0 ? -1 : (node + f->part) % w.redises;
}

static void take_vip(int node, const struct fault *f)
{
	for (int v = 0; v < w.vips; v++)
		if (w.vip[v].master == f->master && watch_holds(node, v)) {
			watch_forgive(node, v);
			lab_sh(w.node[node].host, NULL, "ip addr del %s/%d dev eth0",
			       w.vip[v].address, strchr(w.vip[v].address, ':') ? 128 : 32);
		}
}

static void carrier(int end, bool on)
{
	lab_carrier(world_end(end), "eth0", on);
}

static void divide(unsigned sides)
{
	for (int i = 0; i < world_ends(); i++)
		w.cable[i].side = (int)(sides >> i & 1);
}

/*
 * A host that was off while its master failed over, and whose Sentinel hears nobody for a while when
 * it is back: it goes on believing in the old master, and answers so.
 */
static void stale(int node, int k, bool dead)
{
	if (dead) {
		power(node, false);
		freeReplyObject(ask((node + 1) % w.nodes, SENTINEL_PORT, "SENTINEL FAILOVER m%d", k));
		return;
	}
	sentinels_publish(false);
	power(node, true);
	lab_sleep_ms(2 * PERIOD_MS);
	sentinels_publish(true);
}

/* It begins, or ends. */
static void act(const struct fault *f, bool on)
{
	int e = f->end, k = f->master;

	switch (f->kind) {
	case FAILOVER:
		if (on) /* the Sentinel of any node leads it */
			freeReplyObject(ask((int)(f->any % (unsigned)w.nodes), SENTINEL_PORT,
					    "SENTINEL FAILOVER m%d", k));
		break;
	case KILL_REDIS:
		on ? redis_kill(e, k) : redis_start(e, k);
		break;
	case KILL_SENTINEL:
		on ? sentinel_kill(e) : sentinel_start(e);
		break;
	case FREEZE_REDIS:
		redis_freeze(e, k, on);
		break;
	case FREEZE_SENTINEL:
		sentinel_freeze(e, on);
		break;
	case CARRIER:
		carrier(e, !on);
		break;
	case ADMIN_DOWN:
		admin_down(e, on);
		break;
	case MUTE:
		w.cable[e].mute = on;
		cables();
		break;
	case DEAF:
		w.cable[e].deaf = on;
		cables();
		break;
	case LOSSY:
		w.cable[e].loss = on ? 33 : 0;
		cables();
		break;
	case PARTITION:
		divide(on ? f->any : 0);
		cables();
		break;
	case REBOOT:
		power(e, !on);
		break;
	case REMOVE:
		if (on)
			take_vip(e, f);
		break;
	case STALE:
		stale(e, k, on);
		break;
	case KINDS:
		break;
	}
}

static void remember(const struct fault *f)
{
	for (int i = 0; i < REMEMBERED; i++)
		if (latest[i].step == f->step && latest[i].began_s == f->began_s && f->began_s > 0 &&
		    latest[i].kind == f->kind) {
			latest[i] = *f;
			return;
		}
	latest[met++ % REMEMBERED] = *f;
}

static void begin(struct fault *f)
{
	f->end = cast(f);
	f->began_s = world_s();
	f->state = f->end < 0 ? OVER : ACTS;
	if (f->state == ACTS) {
		tally[f->kind]++;
		act(f, true);
	} else {
		f->ended_s = f->began_s;
	}
	remember(f);
}

static void finish(struct fault *f)
{
	if (f->state == ACTS)
		act(f, false);
	f->state = OVER;
	f->ended_s = world_s();
	remember(f);
}

void faults_heal(void)
{
	for (int i = 0; i < fault_count; i++)
		finish(&faults[i]);
	if (has_lasting)
		finish(&lasting);
	has_lasting = false;
}

/* ---- a step ---- */

/* What began when; true while there is something left. */
static bool faults_move(int64_t begun_ns)
{
	int ms = (int)((lab_now_ns() - begun_ns) / 1000000);
	bool more = false;

	for (int i = 0; i < fault_count; i++) {
		struct fault *f = &faults[i];

		if (f->state == WAITS && ms >= f->at_ms)
			begin(f);
		if (f->state == ACTS && ms >= f->at_ms + f->for_ms && !f->lasting)
			finish(f);
		more = more || f->state == WAITS || (f->state == ACTS && !f->lasting);
	}
	return more;
}

void faults_run(unsigned step)
{
	int64_t begun_ns;

	state = w.seed * UINT64_C(0x2545f4914f6cdd1d) + step;
	chance(2);
	fault_count = 2 + (int)chance(FAULTS_MAX - 1);
	for (int i = 0; i < fault_count; i++) {
		draw(&faults[i], step);
		for (int j = 0; j < i; j++) /* one at a time, or there is no majority left */
			faults[i].lasting = faults[i].lasting && !faults[j].lasting;
	}
	begun_ns = lab_now_ns();
	while (faults_move(begun_ns)) {
		world_tick();
		/* what is left of the step before ends while this one is under way */
		if (has_lasting && lab_now_ns() - begun_ns > FIRST_MS / 2 * INT64_C(1000000)) {
			finish(&lasting);
			has_lasting = false;
		}
		lab_sleep_ms(TICK_MS);
	}
	if (has_lasting)
		finish(&lasting);
	has_lasting = false;
	for (int i = 0; i < fault_count; i++)
		if (faults[i].state == ACTS) {
			lasting = faults[i];
			has_lasting = true;
		}
	fault_count = 0;
}

/* ---- told ---- */

static void fault_print(FILE *out, const struct fault *f)
{
	bool of_master = f->kind == FAILOVER || f->kind == KILL_REDIS || f->kind == FREEZE_REDIS ||
			 f->kind == REMOVE || f->kind == STALE;

	fprintf(out, "%s", kinds[f->kind].name);
	if (of_master)
		fprintf(out, " m%d", f->master);
	if (f->kind == PARTITION)
		for (int i = 0; i < world_ends(); i++)
			fprintf(out, "%s%s", i && (f->any >> i & 1) ? "+" : " ",
				f->any >> i & 1 ? world_end(i)->name : "");
	else if (f->kind == FAILOVER)
		fprintf(out, " by the Sentinel of n%u", f->any % (unsigned)w.nodes);
	else
		fprintf(out, "%s %s", of_master && f->kind != REMOVE ? " on" : "",
			f->end < 0 ? "nobody: there was no majority" : world_end(f->end)->name);
}

const char *faults_lasting(void)
{
	static char text[128];
	FILE *out;

	if (!has_lasting)
		return NULL;
	out = fmemopen(text, sizeof text, "w");
	if (!out)
		lab_fail("fmemopen: %m");
	fault_print(out, &lasting);
	fclose(out);
	return text;
}

void faults_print(FILE *out)
{
	for (unsigned long i = met > REMEMBERED ? met - REMEMBERED : 0; i < met; i++) {
		const struct fault *f = &latest[i % REMEMBERED];

		fprintf(out, "  %9.3f s  ", f->began_s);
		fault_print(out, f);
		if (f->ended_s > 0)
			fprintf(out, ", for %.3f s\n", f->ended_s - f->began_s);
		else
			fprintf(out, ", still\n");
	}
}

void faults_tally(FILE *out)
{
	for (int k = 0; k < KINDS; k++)
		fprintf(out, "%s%s %u", k ? ", " : "", kinds[k].name, tally[k]);
	fprintf(out, "\n");
}
