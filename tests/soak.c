/* SPDX-License-Identifier: MIT */
/*
 * The soak: hundreds of failovers in every way that a seed can think of, judged by an oracle. See
 * soak.h.
 *
 *	N=NUMBER	failovers, of all laboratories together: 500 unless told
 *	SEED=NUMBER	of the first laboratory; each further one has the next: 1
 *	LABS=NUMBER	laboratories at once: 2
 *	STEPS=NUMBER	ends after so many steps of each as well
 *
 * A seed gives the same schedule every time: SEED=7 LABS=1 is what the seventh of the laboratories
 * of SEED=1 went through. Odd seeds have three Sentinels, even ones five. Exit status 0: no
 * violation was found.
 */
#include "soak.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LATE_FEW = 2, LATE_SHARE = 4, FAILOVERS = 500, LABS = 2, LABS_MAX = 16 };

/* Of all laboratories, in memory that they share. */
static struct totals {
	unsigned failovers, violations, wrong_frames, claims, late, steps, quiet, restless, tilts, script_errors;
	unsigned long frames;
	int ended;
} *totals;

static unsigned long wanted, steps_wanted;
static uint64_t my_seed;

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);
	char *end;
	unsigned long n;

	if (!text)
		return otherwise;
	n = strtoul(text, &end, 10);
	if (*end || end == text || n == 0)
		lab_fail("%s: a number from 1 on is expected", name);
	return n;
}

/*
 * Nothing that the program does can bring real Sentinels to agree: two of them with different masters
 * of one epoch, after SENTINEL FAILOVER on one that nobody heard, go on so for ever. One more
 * failover ends it.
 */
static void help_sentinels(unsigned step)
{
	oracle_restless(step);
	totals->restless++;
	faults_heal();
	for (int k = 0; k < w.masters; k++)
		for (int i = 0; i < w.nodes && master_of(k) >= 0 && !oracle_agreed(k); i++)
			freeReplyObject(ask(i, SENTINEL_PORT, "SENTINEL FAILOVER m%d", k));
	oracle_settle();
}

static void step_run(unsigned step)
{
	unsigned before = w.failovers, wrong = 0;
	int ms;

	for (int i = 0; i < w.nodes; i++)
		lab_log_clear(w.node[i].host);
	faults_run(step);
	ms = oracle_settle();
	if (ms < 0)
		help_sentinels(step);
	else
		wrong += oracle_judge(step);
	world_tick();
	totals->wrong_frames += oracle_wrong_frames(step);
	totals->violations += wrong;
	totals->failovers += w.failovers - before;
	totals->quiet += ms >= 0;
	totals->steps++;
	printf("seed %llu, step %u, %.0f s: %u failovers (%u in all), settled after %.1f s%s%s%s\n",
	       (unsigned long long)w.seed, step, world_s(), w.failovers - before, totals->failovers,
	       ms / 1e3, faults_lasting() ? "; still: " : "",
	       faults_lasting() ? faults_lasting() : "", wrong ? "; VIOLATION" : "");
	fflush(stdout);
}

static int run(int argc, char **argv)
{
	unsigned late;
	int silence = 0;

	(void)argc;
	(void)argv;
	world_make(my_seed);
	printf("seed %llu: %d Sentinels, %d masters, %d VIPs, fence = %s, down-after %d ms, sync every "
	       "%d ms\n",
	       (unsigned long long)w.seed, w.nodes, w.masters, w.vips, w.fence ? "majority" : "no",
	       w.down_after_ms, PERIOD_MS);
	oracle_settle();
	totals->violations += oracle_judge(0);
	for (unsigned step = 1; totals->failovers < wanted && step <= steps_wanted; step++)
		step_run(step);
	for (int c = 0; c < CLIENTS; c++)
		for (int v = 0; v < w.vips; v++)
			if (writer_of(c, v)->silence_ns / 1000000 > silence)
				silence = (int)(writer_of(c, v)->silence_ns / 1000000);
	totals->frames += watch_frames();
	totals->claims += watch_claims(&late);
	totals->late += late;
	totals->tilts += w.tilts;
	totals->script_errors += w.script_errors;
	totals->ended++;
	printf("seed %llu: %u failovers in %.0f s, %lu announcements, the longest silence to a client "
	       "%.1f s; ",
	       (unsigned long long)w.seed, w.failovers, world_s(), watch_frames(), silence / 1e3);
	faults_tally(stdout);
	fflush(stdout);
	return 0;
}

/* A busy machine may keep one for a while between its address and its frame, but not most of them. */
static bool is_late(void)
{
	return totals->late > LATE_FEW && totals->late * LATE_SHARE > totals->claims;
}

static pid_t lab_begin(uint64_t seed, int argc, char **argv)
{
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid > 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	my_seed = seed;
	exit(lab_main(argc, argv, run));
}

int main(int argc, char **argv)
{
	unsigned long seed = number("SEED", 1), labs = number("LABS", LABS);
	bool bad = false;
	int status;

	wanted = number("N", FAILOVERS);
	steps_wanted = number("STEPS", UINT32_MAX);
	if (geteuid() != 0)
		lab_fail("needs root, to make network namespaces: sudo %s", argv[0]);
	if (labs > LABS_MAX)
		lab_fail("LABS: %d at most", LABS_MAX);
	totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (totals == MAP_FAILED)
		lab_fail("mmap: %m");
	for (unsigned long i = 0; i < labs; i++)
		lab_begin(seed + i, argc, argv);
	while (wait(&status) > 0 || errno == EINTR)
		bad = bad || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	printf("\n%u failovers in %u steps: %u quiet points with a violation, %u announcements of %lu by "
	       "a host that did not hold the VIP; Sentinels: %u times not at rest in time, %u times in TILT, "
	       "%u script errors\n",
	       totals->failovers, totals->steps, totals->violations, totals->wrong_frames,
	       totals->frames, totals->restless, totals->tilts, totals->script_errors);
	printf("%u of %u claims announced by none but repeats%s\n", totals->late, totals->claims,
	       is_late() ? ": VIOLATION" : "");
	if (bad || totals->ended != (int)labs)
		printf("%d of %lu laboratories came to their end\n", totals->ended, labs);
	return bad || totals->violations || totals->wrong_frames || is_late() ? 1 : 0;
}
