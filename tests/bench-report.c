/* SPDX-License-Identifier: MIT */
/*
 * The report: tables of medians, and the targets with whether they hold.  It refuses to draw a mean:
 * one turn that the machine spent on something else would be all that it shows.
 */
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NUMBER_SIZE 24

static int targets, targets_missed;

struct spread {
	size_t n;
	double low, median, high;	/* 10th, 50th and 90th percentile; NAN when n is 0 */
};

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of a contender's times, or of its times over those of `base` in the same rounds. */
static struct spread spread_of(const struct contender *c, const struct contender *base,
			       enum measure what, size_t rounds)
{
	double *v = calloc(rounds, sizeof(*v));
	struct spread s = { .low = NAN, .median = NAN, .high = NAN };

	if (!v)
		lab_fail("calloc: %m");
	for (size_t r = 0; r < rounds; r++) {
		double x = c->ms[what][r] / (base ? base->ms[what][r] : 1.0);

		if (!isnan(x))
			v[s.n++] = x;
	}
	if (s.n > 0) {
		qsort(v, s.n, sizeof(*v), double_compare);
		s.low = v[(s.n + 9) / 10 - 1];
		s.median = (v[(s.n - 1) / 2] + v[s.n / 2]) / 2;
		s.high = v[(9 * s.n + 9) / 10 - 1];
	}
	free(v);
	return s;
}

static const char *ms_text(double ms, char text[NUMBER_SIZE])
{
	snprintf(text, NUMBER_SIZE, isinf(ms) ? "never" : "%.3f", ms);
	return text;
}

static const char *ratio_text(double ratio, char text[NUMBER_SIZE])
{
	snprintf(text, NUMBER_SIZE, isfinite(ratio) ? "%.2f" : "-", ratio);
	return text;
}

void report_table(const struct contest *contest, const char *title, enum measure what, int base,
		  const char *column)
{
	const struct contender *b = &contest->contenders[base];
	double base_ms = spread_of(b, NULL, what, contest->rounds).median;
	char text[5][NUMBER_SIZE];

	printf("\n%-33s %11s %10s %10s %8s %8s %6s\n", title, "median, ms", "10 %", "90 %", column,
	       "by round", "rounds");
	for (size_t i = 0; i < contest->count; i++) {
		const struct contender *c = &contest->contenders[i];
		struct spread s = spread_of(c, NULL, what, contest->rounds);
		struct spread ratio = spread_of(c, b, what, contest->rounds);

		if (s.n > 0)
			printf("%-33s %11s %10s %10s %8s %8s %6zu\n", c->name,
			       ms_text(s.median, text[0]), ms_text(s.low, text[1]),
			       ms_text(s.high, text[2]), ratio_text(s.median / base_ms, text[3]),
			       ratio_text(ratio.median, text[4]), s.n);
	}
	fflush(stdout);
}

void report_target(const struct contest *contest, const struct target *target)
{
	const struct contender *a = &contest->contenders[target->over];
	const struct contender *b = &contest->contenders[target->under];
	double medians = spread_of(a, NULL, target->what, contest->rounds).median /
			 spread_of(b, NULL, target->what, contest->rounds).median;
	double by_round = spread_of(a, b, target->what, contest->rounds).median;
	bool held = target->at_most ? fmax(medians, by_round) <= target->bound
				    : fmin(medians, by_round) >= target->bound;

	printf("%-60s %7.2f, by round %7.2f   %s\n", target->claim, medians, by_round,
	       held ? "holds" : "MISSED");
	fflush(stdout);
	targets++;
	targets_missed += !held;
}

static void load_print(const char *when)
{
	FILE *loadavg = fopen("/proc/loadavg", "re");
	char load[32];

	if (!loadavg || fscanf(loadavg, "%31s", load) != 1)
		lab_fail("/proc/loadavg: %m");
	fclose(loadavg);
	printf("load %s at the %s", load, when);
}

void report_machine(void)
{
	char line[256], cpu[128] = "unknown processor";
	FILE *cpuinfo = fopen("/proc/cpuinfo", "re");
	struct utsname kernel;
	cpu_set_t allowed;

	while (cpuinfo && fgets(line, sizeof(line), cpuinfo))
		if (sscanf(line, "model name : %127[^\n]", cpu) == 1)
			break;
	if (cpuinfo)
		fclose(cpuinfo);
	if (uname(&kernel) < 0 || sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		lab_fail("uname: %m");
	printf("%s %s, %s, %d of %ld processors, ", kernel.sysname, kernel.release, cpu,
	       CPU_COUNT(&allowed), sysconf(_SC_NPROCESSORS_ONLN));
	load_print("start");
	printf("\nx floor: ratio of the medians; by round: median of the rounds' ratios; a target "
	       "holds when both do\n");
	fflush(stdout);
}

int report_end(void)
{
	if (targets_missed > 0)
		printf("\n%d of %d targets MISSED, ", targets_missed, targets);
	else
		printf("\nall %d targets hold, ", targets);
	load_print("end");
	printf("\n");
	return targets_missed;
}
