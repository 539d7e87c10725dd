/* SPDX-License-Identifier: MIT */
/*
 * How long a claim and a release take, from exec, as the neighbour's kernel and the client see them:
 * sentinel-vip, called as Sentinel calls it, against the least C programs that do the same to the
 * kernel (the floors, bench-floor.c and bench-destroy.c) and against the commands that it replaces.
 * All take turns in one run, in an order that rotates, so that a noisy machine is noisy for each of
 * them; ratios are also taken round by round.
 *
 * Runs as root from the top of the tree, in a laboratory (lab.h) with a real redis-sentinel and
 * redis-server in the host, whose /dev/log is read as a syslog daemon would.  It refuses to go on
 * when a turn leaves anything behind.
 *
 *	ROUNDS=N		of the claim: 200 unless told
 *	SCRIPT_ROUNDS=N		in how many of them the script takes part: 5, since each costs 3 s
 *	RELEASE_ROUNDS=N	of the release: 50, and a tenth of that with 10,000 connections; 0: none
 *	BENCH_STRICT=1		a missed target is a failure
 *
 * Processors are not pinned, as Sentinel does not pin its scripts; `taskset -c 1 make bench` does
 * it.  On a machine that is busy `chrt -f 10 make bench` keeps the rest out of it: all that take
 * turns, and Sentinel, go before everything else then.  Exit status 0: all was measured, and with BENCH_STRICT=1 all targets hold.  A missed target
 * alone is printed and does not fail: on a machine that is busy with something else it says nothing.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 300
#define SCRIPT_ROUNDS 5
#define RELEASE_ROUNDS 50
#define ROUNDS_PER_CROWD 10
#define MAX_ROUNDS 100000

static void samples_make(struct contest *contest)
{
	for (size_t i = 0; i < contest->count; i++)
		for (size_t m = 0; m < MEASURES; m++) {
			double *ms = calloc(contest->rounds, sizeof(*ms));

			if (!ms)
				lab_fail("calloc: %m");
			for (size_t r = 0; r < contest->rounds; r++)
				ms[r] = NAN;
			contest->contenders[i].ms[m] = ms;
		}
}

/* Whether the slow ones, `some` times in `rounds`, are due in this round. */
static bool slow_due(size_t round, size_t rounds, size_t some)
{
	return round * some / rounds != (round + 1) * some / rounds;
}

static bool takes_part(const struct contender *c)
{
	return !c->optional || sizeof(ARCHIVED) > 1;
}

void contest_run(struct contest *contest, size_t warm_up,
		 void (*turn)(const struct contender *c, size_t round))
{
	samples_make(contest);
	for (size_t r = 0; r < warm_up; r++)
		for (size_t i = 0; i < contest->count; i++)
			if (!contest->contenders[i].slow && takes_part(&contest->contenders[i]))
				turn(&contest->contenders[i], 0);
	for (size_t r = 0; r < contest->rounds; r++)
		for (size_t i = 0; i < contest->count; i++) {
			const struct contender *c = &contest->contenders[(i + r) % contest->count];

			if (takes_part(c) &&
			    (!c->slow || slow_due(r, contest->rounds, contest->slow_rounds)))
				turn(c, r);
		}
}

static size_t number_from(const char *name, size_t least, size_t otherwise)
{
	const char *text = getenv(name);
	unsigned long n;
	char *end;

	if (!text)
		return otherwise;
	n = strtoul(text, &end, 10);
	if (*end || end == text || n < least || n > MAX_ROUNDS)
		lab_fail("%s: a number from %zu to %d is expected", name, least, MAX_ROUNDS);
	return n;
}

static int bench(int argc, char **argv)
{
	size_t rounds = number_from("ROUNDS", 1, ROUNDS);
	size_t script_rounds =
		number_from("SCRIPT_ROUNDS", 1, rounds < SCRIPT_ROUNDS ? rounds : SCRIPT_ROUNDS);
	size_t release_rounds = number_from("RELEASE_ROUNDS", 0, RELEASE_ROUNDS);
	const char *strict = getenv("BENCH_STRICT");
	int missed;

	(void)argc;
	(void)argv;
	if (script_rounds > rounds)
		lab_fail("SCRIPT_ROUNDS is more than ROUNDS");
	wire_make();
	report_machine();
	claim_bench(rounds, script_rounds);
	if (release_rounds > 0) {
		release_bench(release_rounds);
		crowd_bench((release_rounds + ROUNDS_PER_CROWD - 1) / ROUNDS_PER_CROWD);
	}
	missed = report_end();
	return strict && strcmp(strict, "1") == 0 && missed > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, bench);
}
