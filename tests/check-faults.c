/* SPDX-License-Identifier: MIT */
/*
 * The fault sweep: every point of every scene, in several laboratories at once, and a table of what
 * was tried. Each violation is printed with the name by which its point is repeated.
 */
#include "faults.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SCENES_MAX = 32, JOBS_MAX = 32, POINTS_MAX = 1 << 16 };

/* What the workers share. */
struct face {
	atomic_int ready; /* 1: a worker looks; 2: known */
	int processes, main_at;
	struct {
		int calls, allocations;
		short nr[TRACE_CALLS];
		bool asks[TRACE_CALLS], changes[TRACE_CALLS];
	} of[TRACE_PROCESSES];
	atomic_int next; /* the point that is tried next */
	atomic_int tried[FAULT_KINDS], missed, statuses[4], violations, flukes;
	atomic_int slowest_ms;
};

static struct {
	struct face faces[SCENES_MAX];
	atomic_int failed;
} * shared;

static const char usage[] =
	"usage: check-faults [--jobs N] [--sample N] [--no-lasting] [--bridge]\n"
	"                    [FACE | FACE:PROCESS.NUMBER:WHAT]...\n"
	"A FACE may have * and ?; with --sample every N-th point is tried; with --bridge eth0 is\n"
	"one. See tests/faults.h.\n";

static struct {
	int jobs, sample, count;
	bool lasting, bridge;
	const char *const *names;
} wanted = {.jobs = 8, .sample = 1, .lasting = true};

/* ---- the points of a face ---- */

struct points {
	int n;
	struct fault items[POINTS_MAX];
};

static void add_point(struct points *p, enum fault_kind kind, int process, int number, int error,
		      long nr)
{
	if (p->n == POINTS_MAX)
		lab_fail("more points than expected");
	p->items[p->n++] = (struct fault){
		.kind = kind, .process = process, .number = number, .error = error, .nr = nr};
}

/* What comes before main() is tried once, in the first scene. */
static void list_points(const struct face *face, bool first, struct points *p)
{
	p->n = 0;
	for (int i = 0; i < face->processes; i++) {
		for (int n = i == 0 && !first ? face->main_at : 0; n < face->of[i].calls; n++) {
			short nr = face->of[i].nr[n];

			for (const int *e = fault_errors(nr); *e; e++) {
				add_point(p, FAULT_ERROR, i, n, *e, nr);
				/* signals do not come for ever */
				if (wanted.lasting && *e != EINTR && (i > 0 || n >= face->main_at))
					add_point(p, FAULT_LASTING, i, n, *e, nr);
			}
			for (const int *e = fault_denials; face->of[i].asks[n] && *e; e++)
				add_point(p, FAULT_DENY, i, n, *e, nr);
			if (face->of[i].changes[n])
				add_point(p, FAULT_DROP, i, n, 0, nr);
			add_point(p, FAULT_KILL, i, n, 0, nr);
			if (nr != SYS_exit_group)
				add_point(p, FAULT_KILL_AFTER, i, n, 0, nr);
		}
		for (int n = 1; n <= face->of[i].allocations; n++) {
			add_point(p, FAULT_ALLOC, i, n, 0, -1);
			if (wanted.lasting)
				add_point(p, FAULT_ALLOC_LASTING, i, n, 0, -1);
		}
	}
}

static bool is_wanted(const char *name)
{
	for (int i = 0; i < wanted.count; i++) {
		char face[64];

		snprintf(face, sizeof face, "%.*s", (int)strcspn(wanted.names[i], ":"),
			 wanted.names[i]);
		if (fnmatch(face, name, 0) == 0)
			return true;
	}
	return wanted.count == 0;
}

/* ---- a worker ---- */

static void learn(struct face *face, const struct scene *s)
{
	static struct trace t;
	int unknown = 0;

	judge_begin(s, &t);
	if (!atomic_compare_exchange_strong(&face->ready, &unknown, 1)) {
		if (!LAB_UNTIL(atomic_load(&face->ready) == 2, 60000))
			lab_fail("the worker that looks at %s has failed", s->name);
		return;
	}
	face->processes = t.processes;
	face->main_at = t.of[0].main_at;
	for (int i = 0; i < t.processes; i++) {
		face->of[i].calls = t.of[i].count;
		face->of[i].allocations = stage_allocations(i);
		memcpy(face->of[i].nr, t.of[i].nr, sizeof t.of[i].nr);
		memcpy(face->of[i].asks, t.of[i].asks, sizeof t.of[i].asks);
		memcpy(face->of[i].changes, t.of[i].changes, sizeof t.of[i].changes);
	}
	atomic_store(&face->ready, 2);
}

static void report(const struct scene *s, const struct fault *f, const struct trace *t,
		   const char *said)
{
	char name[FAULT_NAME_SIZE], call[32] = "";
	struct fault was = *f;

	if (t->struck && f->kind != FAULT_ALLOC && f->kind != FAULT_ALLOC_LASTING) {
		fault_call_name(t->struck_nr, call);
		was.number = t->struck_number;
	}
	fprintf(stderr, "\n%s:%s %s (status %d, %.0f ms, rest %.0f ms)\n%s", s->name,
		fault_name(&was, name), call, t->status, t->ms, t->rest_ms, said);
}

static void try_point(struct face *face, const struct scene *s, const struct fault *f, bool verbose)
{
	static struct trace t;
	static char said[32768];
	bool right = judge_point(s, f, &t, said, sizeof said);
	int slowest = atomic_load(&face->slowest_ms);

	atomic_fetch_add(t.struck ? &face->tried[f->kind] : &face->missed, 1);
	atomic_fetch_add(&face->statuses[t.status >= 0 && t.status <= 2 ? t.status : 3], 1);
	while ((int)t.ms > slowest &&
	       !atomic_compare_exchange_weak(&face->slowest_ms, &slowest, (int)t.ms))
		;
	if (!right) {
		static struct trace again;
		static char unsaid[sizeof said];

		/* hosts and Sentinels keep real time, which a busy machine does not give them */
		right = !verbose && judge_point(s, f, &again, unsaid, sizeof unsaid);
		if (right)
			fprintf(stderr, "not again: %s\n", said);
		atomic_fetch_add(right ? &face->flukes : &face->violations, 1);
	}
	if (!right || verbose)
		report(s, f, &t, right ? "all is well\n" : said);
}

static int work(int argc, char **argv)
{
	static struct points points;

	(void)argc;
	(void)argv;
	stage_open(wanted.bridge);
	for (size_t i = 0; i < scene_count; i++) {
		const struct scene *s = &scenes[i];
		struct face *face = &shared->faces[i];
		bool single = false;
		int n;

		if (!is_wanted(s->name))
			continue;
		for (int j = 0; j < wanted.count; j++) {
			const char *colon = strchr(wanted.names[j], ':');
			struct fault f;

			if (!colon)
				continue;
			single = true;
			if (!fault_parse(colon + 1, &f))
				lab_fail("\"%s\" is no point, expected PROCESS.NUMBER:WHAT",
					 colon + 1);
			learn(face, s);
			try_point(face, s, &f, true);
		}
		if (single)
			continue;
		learn(face, s);
		list_points(face, i == 0, &points);
		while ((n = atomic_fetch_add(&face->next, wanted.sample)) < points.n)
			try_point(face, s, &points.items[n], false);
	}
	return 0;
}

/* ---- all of it ---- */

static int table(void)
{
	static const char *const heads[] = {"errors", "lasting", "denied", "kills", "allocs"};
	int sums[5] = {0}, violations = 0, flukes = 0, all = 0;

	printf("%-16s %6s %6s", "face", "calls", "allocs");
	for (int i = 0; i < 5; i++)
		printf(" %8s", heads[i]);
	printf(" %7s | %6s %6s %6s %6s | %8s %10s\n", "missed", "0", "1", "2", "killed", "slowest",
	       "violations");
	for (size_t i = 0; i < scene_count; i++) {
		struct face *f = &shared->faces[i];
		int calls = 0, allocations = 0;
		int columns[5] = {f->tried[FAULT_ERROR], f->tried[FAULT_LASTING],
				  f->tried[FAULT_DENY] + f->tried[FAULT_DROP],
				  f->tried[FAULT_KILL] + f->tried[FAULT_KILL_AFTER],
				  f->tried[FAULT_ALLOC] + f->tried[FAULT_ALLOC_LASTING]};

		if (!atomic_load(&f->ready))
			continue;
		for (int j = 0; j < f->processes; j++) {
			calls += f->of[j].calls;
			allocations += f->of[j].allocations;
		}
		printf("%-16s %6d %6d", scenes[i].name, calls, allocations);
		for (int j = 0; j < 5; j++) {
			printf(" %8d", columns[j]);
			sums[j] += columns[j];
			all += columns[j];
		}
		printf(" %7d | %6d %6d %6d %6d | %5d ms %10d\n", f->missed, f->statuses[0],
		       f->statuses[1], f->statuses[2], f->statuses[3], f->slowest_ms,
		       f->violations);
		violations += f->violations;
		flukes += f->flukes;
	}
	printf("%d points: %d errors, %d lasting errors, %d refusals by the kernel, %d kills, "
	       "%d allocations; %d violation%s\n",
	       all, sums[0], sums[1], sums[2], sums[3], sums[4], violations,
	       violations == 1 ? "" : "s");
	if (flukes)
		printf("%d more that were seen once and not again\n", flukes);
	if (violations)
		printf("to repeat one: check-faults FACE:PROCESS.NUMBER:WHAT, as printed above\n");
	/* a sweep that strikes nothing proves nothing */
	return violations > 0 || all == 0;
}

static bool parse(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--no-lasting") == 0)
			wanted.lasting = false;
		else if (strcmp(argv[i], "--bridge") == 0)
			wanted.bridge = true;
		else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
			wanted.jobs = atoi(argv[++i]);
		else if (strcmp(argv[i], "--sample") == 0 && i + 1 < argc)
			wanted.sample = atoi(argv[++i]);
		else
			return false;
	}
	wanted.names = (const char *const *)argv + i;
	wanted.count = argc - i;
	for (int j = 0; j < wanted.count; j++)
		if (strchr(wanted.names[j], ':'))
			wanted.jobs = 1;
	return wanted.jobs >= 1 && wanted.jobs <= JOBS_MAX && wanted.sample >= 1;
}

int main(int argc, char **argv)
{
	pid_t pids[JOBS_MAX];
	int64_t begun = lab_now_ns();
	int bad = 0, status;

	if (!parse(argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		lab_fail("mmap: %m");
	for (int i = 0; i < wanted.jobs; i++) {
		fflush(NULL);
		pids[i] = fork();
		if (pids[i] < 0)
			lab_fail("fork: %m");
		if (pids[i] == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			_exit(1);
		if (pids[i] == 0)
			_exit(lab_main(argc, argv, work));
	}
	for (int i = 0; i < wanted.jobs; i++)
		if (waitpid(pids[i], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
			bad++;
	bad += table();
	printf("%.0f s in %d laboratories\n", (double)(lab_now_ns() - begun) / 1e9, wanted.jobs);
	return bad > 0;
}
