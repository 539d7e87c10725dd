/* SPDX-License-Identifier: MIT */
/*
 * What a run costs as things grow: 1 to 256 VIPs of a master, 1 to 1,000 masters in the
 * configuration, up to 10,000 other addresses on the host. For Sentinel's call that claims (which
 * asks a Sentinel), `release`, and `sync` where all is right: milliseconds to the first frame and to
 * the end, and of processor time. One thing grows at a time, and all points take turns.
 *
 *	ROUNDS=N	of each point: 15
 *	SVG=FILE	the plot; none unless told
 *	SCALE_STRICT=1	what grows faster than linearly is a failure
 *
 * Runs as root, with a real redis-sentinel that knows 1,000 masters. A target holds when the last
 * step of a series costs no more for each thing than 1.5 times what the step before has cost.
 */
#include "scale.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ROUNDS = 15,
	ROUNDS_MAX = 1000,
	WARM_UP = 1,
	FRAME_MS = 5000,
	RUN_MS = 30000,
	TRIES = 5,
	CHUNK = 1000,
	REDIS_PORT = 6379,
	MASTERS = 1000, /* that the Sentinel knows */
};

#define THE_MASTER "10.9.9.9" /* of all; each host has it on its loopback */
#define SENTINEL "10.0.0.1"
#define TO_MS 1e6

const char *const face_names[FACES] = {"claim", "release", "sync"};
const char *const cost_names[COSTS] = {"first frame", "exit", "CPU"};

struct series series[SERIES] = {
	{.what = "VIPs of the master", .n = 5, .x = {1, 4, 16, 64, 256}},
	{.what = "masters in the configuration", .n = 4, .x = {1, 10, 100, 1000}},
	{.what = "other addresses of the host", .n = 5, .x = {1, 10, 100, 1000, 10000}},
};

static struct lab_host *hosts[SERIES][POINTS_MAX], *peer;
static struct lab_capture *capture;
static double *samples[SERIES][POINTS_MAX][FACES][COSTS];

/* ---- the hosts ---- */

static void host_make(int s, int p)
{
	char name[12], own[32], path[200];
	int x = series[s].x[p];
	struct lab_host *h;
	FILE *f;

	snprintf(name, sizeof name, "h%d-%d", s, p);
	snprintf(own, sizeof own, "10.0.0.%d/16", 10 + 10 * s + p);
	h = hosts[s][p] = lab_host(name, own, NULL);
	lab_must(h, "ip addr add " THE_MASTER "/32 dev lo");
	/* on a link of their own, as they have nothing to do with the VIP */
	if (s == OTHERS)
		lab_must(h, "ip link add other type veth peer name rehto && "
			    "ip link set other up && ip link set rehto up");
	for (int first = 0; s == OTHERS && first < x; first += CHUNK) /* a call may take 20 s */
		lab_must(h,
			 "i=%d; while [ $i -lt %d ]; do "
			 "echo addr add 10.50.$((i / 250)).$((i %% 250 + 1))/32 dev other; "
			 "i=$((i + 1)); done | ip -batch -",
			 first, first + CHUNK < x ? first + CHUNK : x);
	lab_must(h, "test $(ip -o addr show dev other 2>/dev/null | grep -c 'inet ') = %d",
		 s == OTHERS ? x : 0);
	snprintf(path, sizeof path, "%s/sentinel-vip.conf", h->run);
	lab_config(h, "interface = eth0\nsentinel = " SENTINEL ":26379\nannounce = none\n");
	f = fopen(path, "ae");
	if (!f)
		lab_fail("%s: %m", path);
	for (int m = 0; m < (s == MASTERS_GROW ? x : 1); m++) {
		fprintf(f, "[m%d]\n", m);
		for (int v = 0; v < (s == VIPS ? x : 1); v++)
			fprintf(f, "vip = 10.0.%d.%d\n", 100 + 10 * s + p + (m + v) / 250,
				1 + (m + v) % 250);
	}
	if (fclose(f) != 0)
		lab_fail("%s: %m", path);
}

static void sentinel_start(void)
{
	char path[200];
	FILE *f;

	lab_must(peer, "ip addr add " THE_MASTER "/32 dev lo");
	lab_spawn(peer, "redis.log",
		  (const char *const[]){"redis-server", "--port", "6379", "--save", "", "--bind", "*",
					"--protected-mode", "no", NULL});
	lab_file(peer, "sentinel/sentinel.conf", 0644, 0,
		 "port 26379\nbind *\nprotected-mode no\ndir /run/sentinel\n");
	snprintf(path, sizeof path, "%s/sentinel/sentinel.conf", peer->run);
	f = fopen(path, "ae");
	if (!f)
		lab_fail("%s: %m", path);
	for (int m = 0; m < MASTERS; m++)
		fprintf(f, "sentinel monitor m%d " THE_MASTER " %d 1\n"
			"sentinel down-after-milliseconds m%d 600000\n", m, REDIS_PORT, m);
	if (fclose(f) != 0)
		lab_fail("%s: %m", path);
	lab_spawn(peer, "sentinel.log",
		  (const char *const[]){"sh", "-c",
					"ulimit -n 65536; "
					"exec nice -n -15 redis-sentinel "
					"/run/sentinel/sentinel.conf", NULL});
	if (!LAB_UNTIL(lab_sh(peer, NULL,
			      "redis-cli -p 26379 sentinel get-master-addr-by-name m%d | grep -q "
			      THE_MASTER, MASTERS - 1) == 0, 20000))
		lab_fail("the Sentinel does not answer");
	lab_sleep_ms(3000); /* it connects to all, and is to have nothing more to do of its own */
	lab_must(peer, "redis-cli -p 26379 sentinel debug info-period 3600000 ping-period 3600000 "
		       "ask-period 3600000 publish-period 3600000 | grep -q OK");
	lab_sleep_ms(3000);
}

/* ---- a run ---- */

struct timing {
	int64_t exec_ns, exit_ns;
	double cpu_ms;
	int status;
};

/* As lab_run(), with the processor time of the program alone. */
static void program_run(struct lab_host *h, const char *const argv[], struct timing *t, int tries)
{
	static int64_t *exec_ns; /* written by the child */
	struct rusage usage;
	int status;
	pid_t pid;

	if (!exec_ns)
		exec_ns = mmap(NULL, sizeof *exec_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1, 0);
	fflush(NULL);
	if (exec_ns == MAP_FAILED || (pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (lab_enter(h) < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(null, 2) < 0 ||
		    setenv("SENTINEL_VIP_CONFIG", "/run/sentinel-vip.conf", 1) < 0)
			_exit(127);
		*exec_ns = lab_now_ns();
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			lab_fail("wait4: %m");
	t->exit_ns = lab_now_ns();
	t->exec_ns = *exec_ns;
	t->cpu_ms = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	t->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (t->status != 0 && tries < TRIES) { /* the Sentinel was too slow for it, on a busy machine */
		lab_sleep_ms(500);
		program_run(h, argv, t, tries + 1);
		return;
	}
	if (t->status != 0) {
		lab_log_tail(h, 3, stderr);
		lab_fail("%s %s ended with %d on %s", argv[0], argv[1], t->status, h->name);
	}
	if (!LAB_UNTIL(lab_host_processes(h, NULL) == 0, RUN_MS))
		lab_fail("something goes on running on %s", h->name);
}

static bool any_announcement(const struct lab_frame *f, const void *arg)
{
	(void)arg;
	return f->data[12] == 0x08 && f->data[13] == 0x06 && memcmp(f->data + 28, f->data + 38, 4) == 0;
}

static void keep(int s, int p, enum face face, int round, const struct timing *t, double frame_ms)
{
	if (round < 0)
		return;
	samples[s][p][face][FRAME][round] = frame_ms;
	samples[s][p][face][EXIT][round] = (double)(t->exit_ns - t->exec_ns) / TO_MS;
	samples[s][p][face][CPU][round] = t->cpu_ms;
}

static void turn(int s, int p, int round)
{
	const char *program = lab_program();
	struct lab_host *h = hosts[s][p];
	const struct lab_frame *frame;
	struct timing t;

	lab_capture_read(capture);
	capture->n = 0;
	program_run(h, (const char *const[]){program, "m0", "leader", "start", "10.0.0.2", "6379",
					     THE_MASTER, "6379", NULL}, &t, 0);
	frame = lab_capture_wait(capture, 0, any_announcement, NULL, FRAME_MS);
	if (!frame)
		lab_fail("%s has announced nothing", h->name);
	keep(s, p, CLAIM, round, &t, (double)(frame->ns - t.exec_ns) / TO_MS);
	if (round == -WARM_UP) /* the others' VIPs: from now on they stand */
		program_run(h, (const char *const[]){program, "sync", NULL}, &t, 0);
	program_run(h, (const char *const[]){program, "sync", NULL}, &t, 0);
	keep(s, p, SYNC, round, &t, NAN);
	program_run(h, (const char *const[]){program, "release", "m0", NULL}, &t, 0);
	keep(s, p, RELEASE, round, &t, NAN);
	lab_log_clear(h);
}

/* ---- the report ---- */

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, double_compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void table(const struct series *one)
{
	printf("\n%-30s", one->what);
	for (int f = 0; f < FACES; f++)
		for (int c = f == CLAIM ? FRAME : EXIT; c < COSTS; c++)
			printf(" %7s %-5s", face_names[f], c == FRAME ? "frame" : cost_names[c]);
	printf("\n");
	for (int p = 0; p < one->n; p++) {
		printf("%30d", one->x[p]);
		for (int f = 0; f < FACES; f++)
			for (int c = f == CLAIM ? FRAME : EXIT; c < COSTS; c++)
				printf(" %13.2f", one->ms[p][f][c]);
		printf("\n");
	}
}

/*
 * Whether the last step costs no more for each thing than 1.5 times what the ones before it have
 * cost, a tenth of what one alone costs taken for noise.
 */
static bool is_linear(const struct series *s, enum face f, enum cost c)
{
	const int n = s->n;
	double last = (s->ms[n - 1][f][c] - s->ms[n - 2][f][c]) / (s->x[n - 1] - s->x[n - 2]);
	double before = (s->ms[n - 2][f][c] - s->ms[0][f][c]) / (s->x[n - 2] - s->x[0]);
	double noise = s->ms[0][f][c] / 10 / (s->x[n - 2] - s->x[0]);
	bool holds = last <= 1.5 * (fmax(before, 0) + noise);

	printf("%-30s %-8s %-12s one more: %8.2f us up to %d, %8.2f us up to %d   %s\n", s->what,
	       face_names[f], cost_names[c], before * 1e3, s->x[n - 2], last * 1e3, s->x[n - 1],
	       holds ? "holds" : "MISSED");
	return holds;
}

static int report(int rounds)
{
	int missed = 0;

	for (int s = 0; s < SERIES; s++)
		for (int p = 0; p < series[s].n; p++)
			for (int f = 0; f < FACES; f++)
				for (int c = 0; c < COSTS; c++)
					series[s].ms[p][f][c] = median(samples[s][p][f][c], rounds);
	printf("medians of %d rounds, in ms\n", rounds);
	for (int s = 0; s < SERIES; s++)
		table(&series[s]);
	printf("\n");
	for (int s = 0; s < SERIES; s++)
		for (int f = 0; f < FACES; f++)
			missed += !is_linear(&series[s], (enum face)f, CPU);
	return missed;
}

static int run(int argc, char **argv)
{
	const char *strict = getenv("SCALE_STRICT"), *text = getenv("ROUNDS"), *svg = getenv("SVG");
	int rounds = text ? atoi(text) : ROUNDS, missed, points = 0, order[SERIES * POINTS_MAX][2];

	(void)argc;
	(void)argv;
	if (rounds < 1 || rounds > ROUNDS_MAX)
		lab_fail("ROUNDS: a number from 1 to %d is expected", ROUNDS_MAX);
	peer = lab_host("peer", SENTINEL "/16", NULL);
	capture = lab_capture_announcements(peer, "eth0");
	for (int s = 0; s < SERIES; s++)
		for (int p = 0; p < series[s].n; p++, points++) {
			host_make(s, p);
			order[points][0] = s;
			order[points][1] = p;
			for (int f = 0; f < FACES; f++)
				for (int c = 0; c < COSTS; c++)
					samples[s][p][f][c] = calloc((size_t)rounds, sizeof(double));
		}
	sentinel_start();
	for (int r = -WARM_UP; r < rounds; r++)
		for (int i = 0; i < points; i++) {
			const int *at = order[(i + r + WARM_UP) % points];

			turn(at[0], at[1], r);
		}
	missed = report(rounds);
	if (svg)
		scale_plot(svg);
	return missed > 0 && strict && strcmp(strict, "1") == 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
