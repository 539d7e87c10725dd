/* SPDX-License-Identifier: MIT */
/*
 * The storm: a host with M masters dies, and all of them fail over to one other host at once. How
 * long a VIP waits there, from the line in which that host's Sentinel says that it is going to call
 * its script ("+promoted-slave" where it leads the failover, else "+switch-master") to the first
 * frame that announces it, as a neighbour's kernel stamps it. Sentinel runs 16 scripts at a time, so
 * each waits for those before it.
 *
 * Three take turns as the script, a whole storm each: sentinel-vip, which asks Sentinel; a script
 * that execs the least C program (bench-floor.c); and the usual script with ip and arping. The host
 * that died comes back as the replica of all, and is the next to be failed over to.
 *
 *	M=N		masters: 100 unless told
 *	ROUNDS=N	storms for each: 3
 *	SCRIPT_ROUNDS=N	in how many of them the usual script takes part: all
 *	STORM_STRICT=1	a missed target is a failure
 *
 * Real servers, one Redis for each master on either host and three Sentinels. Runs as root from the
 * top of the tree. Refuses to measure a storm in which a VIP does not come.
 */
#include "lab.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MASTERS = 100,
	MASTERS_MAX = 1000,
	ROUNDS = 3,
	ROUNDS_MAX = 100,
	FIRST_PORT = 10000,
	CHUNK = 10,
	HOSTS = 3, /* two with Redis, and one Sentinel more */
	STORM_MS = 240000,
	REST_MS = 240000,
};

#define MS 1000000.0

static struct lab_host *host[HOSTS], *eyes;
static struct lab_capture *capture;
static const char *const ips[HOSTS] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
static int masters, rounds, script_rounds;

static struct contender {
	const char *name, *program;
	double *ms; /* of all its storms */
	size_t n;
} contenders[] = {
	{.name = "a script that execs the floor", .program = "tests/storm-floor.sh"},
	{.name = "sentinel-vip, asking Sentinel"},
	{.name = "ip, arping -c 3 -A", .program = "tests/storm-script.sh"},
};

enum { FLOOR, OURS, SCRIPT, CONTENDERS };

static int number(const char *name, int otherwise, int most)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (!text)
		return otherwise;
	n = strtol(text, &end, 10);
	if (*end || end == text || n < 1 || n > most)
		lab_fail("%s: a number from 1 to %d is expected", name, most);
	return (int)n;
}

static void vip_text(int i, char text[20])
{
	snprintf(text, 20, "10.0.%d.%d", 1 + i / 250, 1 + i % 250);
}

/* ---- the servers ---- */

/* So many at once that it takes no 20 s, which is what a shell line has. */
static void redis_start_some(int at, const char *of, int first, int end)
{
	lab_must(host[at],
		 "mkdir -p /run/redis && cd /run/redis && i=%d && while [ $i -lt %d ]; do "
		 "p=$((%d + i)); redis-server --port $p --bind '*' --protected-mode no --daemonize yes "
		 "--pidfile /run/redis/$p.pid --save '' --hz 1 --repl-diskless-sync-delay 0 "
		 "--repl-backlog-size 16kb --replica-announce-ip %s --loglevel warning "
		 "--dbfilename $p.rdb --logfile '' %s%s%s >/dev/null; "
		 "sleep 0.03; i=$((i + 1)); done",
		 first, end, FIRST_PORT, ips[at], of ? "--replicaof '" : "", of ? of : "",
		 of ? " '$p" : "");
}

static void redis_start(int at, const char *of)
{
	for (int i = 0; i < masters; i += CHUNK)
		redis_start_some(at, of, i, i + CHUNK < masters ? i + CHUNK : masters);
}

static void sentinel_start(int at)
{
	lab_spawn(host[at], NULL,
		  (const char *const[]){"sh", "-c",
					". /run/environment; "
					"exec redis-sentinel /run/sentinel/sentinel.conf "
					">>/run/sentinel.log 2>&1",
					NULL});
}

static void configure(int at)
{
	static struct lab_result r;
	unsigned char mac[6];
	char path[200], vip[20], root[512];
	FILE *f, *conf;

	if (!getcwd(root, sizeof root) || !lab_mac(host[at], "eth0", mac))
		lab_fail("eth0: %m");
	lab_sh(host[at], &r, "ip -o link show eth0");
	lab_file(host[at], "environment", 0644, 0,
		 "export STORM_SELF=%s STORM_FLOOR=%s/tests/bench-floor STORM_IFINDEX=%d "
		 "STORM_MAC=%02x:%02x:%02x:%02x:%02x:%02x\n",
		 ips[at], root, atoi(r.out), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	lab_file(host[at], "sentinel/sentinel.conf", 0644, 0,
		 "port 26379\nbind *\nprotected-mode no\ndir /run/sentinel\n"
		 "sentinel announce-ip %s\n",
		 ips[at]);
	lab_config(host[at], "interface = eth0\n");
	snprintf(path, sizeof path, "%s/sentinel/sentinel.conf", host[at]->run);
	f = fopen(path, "ae");
	snprintf(path, sizeof path, "%s/sentinel-vip.conf", host[at]->run);
	conf = fopen(path, "ae");
	if (!f || !conf)
		lab_fail("%s: %m", path);
	for (int i = 0; i < masters; i++) {
		vip_text(i, vip);
		fprintf(f,
			"sentinel monitor vip-%s %s %d 2\n"
			"sentinel down-after-milliseconds vip-%s 3000\n"
			"sentinel failover-timeout vip-%s 10000\n"
			"sentinel client-reconfig-script vip-%s /run/helper\n",
			vip, ips[0], FIRST_PORT + i, vip, vip, vip);
		fprintf(conf, "[vip-%s]\nvip = %s\n", vip, vip);
	}
	if (fclose(f) != 0 || fclose(conf) != 0)
		lab_fail("%s: %m", path);
}

/* Who is called: the same path for all, since Sentinel looks at it when it is started. */
static void choose(const struct contender *c)
{
	char path[PATH_MAX];

	if (!c->program)
		snprintf(path, sizeof path, "%s", lab_program());
	else if (!realpath(c->program, path))
		lab_fail("%s: %m", c->program);
	for (int i = 0; i < HOSTS; i++)
		lab_must(host[i], "ln -sfn %s /run/helper.new && mv -T /run/helper.new /run/helper",
			 path);
}

/* ---- at rest: all masters on one host, all replicas on the other, all Sentinels content ---- */

static int count(int at, const char *fmt, ...) LAB_PRINTF(2, 3);

static int count(int at, const char *fmt, ...)
{
	static struct lab_result r;
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	lab_sh(host[at], &r, "%s", line);
	return atoi(r.out);
}

static bool at_rest(int master)
{
	for (int i = 0; i < HOSTS; i++) {
		if (count(i, "redis-cli -p 26379 sentinel masters | awk '"
			     "p == \"ip\" { i = $0 } p == \"flags\" { f = $0 } "
			     "p == \"num-slaves\" { s = $0 } p == \"num-other-sentinels\" { o = $0 } "
			     "p == \"parallel-syncs\" && i == \"%s\" && f == \"master\" && s == 1 && "
			     "o == %d { n++ } { p = $0 } END { print n + 0 }'",
			  ips[master], HOSTS - 1) != masters)
			return false;
		if (count(i, "sed -n 's/^\\[\\(.*\\)\\]$/sentinel replicas \\1/p' "
			     "/run/sentinel-vip.conf | redis-cli -p 26379 | awk '"
			     "p == \"flags\" { f = $0 } p == \"master-link-status\" && $0 == \"ok\" && "
			     "f == \"slave\" { n++ } { p = $0 } END { print n + 0 }'") != masters)
			return false;
	}
	return true;
}

static void come_to_rest(int master)
{
	bool is = false;
	int64_t until = lab_now_ns() + REST_MS * INT64_C(1000000);

	for (int i = 0; i < HOSTS; i++)
		lab_sh(host[i], NULL, "redis-cli -p 26379 sentinel debug info-period 2000");
	while (!(is = at_rest(master)) && lab_now_ns() < until)
		lab_sleep_ms(500);
	if (!is)
		lab_fail("the Sentinels do not come to rest in %d s", REST_MS / 1000);
}

/* ---- a storm ---- */

static void die(int at)
{
	lab_carrier(host[at], "eth0", false);
	lab_host_kill(host[at]);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	lab_must(host[at], "ip addr flush dev eth0 && rm -rf /run/sentinel-vip /run/sentinel.log");
}

static void revive(int at, int master)
{
	char of[32];

	snprintf(of, sizeof of, "%s", ips[master]);
	lab_carrier(host[at], "eth0", true);
	lab_must(host[at], "ip addr add %s/16 dev eth0", ips[at]);
	redis_start(at, of);
	sentinel_start(at);
}

/* "PID:X 22 Nov 2026 20:41:29.123 # +switch-master vip-10.0.1.1 ..." */
static int64_t line_ns(const char *line)
{
	const char *at = strchr(line, ' ');
	struct tm tm = {.tm_isdst = -1};
	const char *rest = at ? strptime(at + 1, "%d %b %Y %H:%M:%S", &tm) : NULL;

	if (!rest || *rest != '.')
		return 0;
	return mktime(&tm) * INT64_C(1000000000) + strtol(rest + 1, NULL, 10) * INT64_C(1000000);
}

/* When the Sentinel there said of each master that it is going to call; 0: not yet. */
static int read_calls(int at, int64_t called[])
{
	char path[200], line[512], vip[20];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/sentinel.log", host[at]->run);
	f = fopen(path, "re");
	if (!f)
		lab_fail("%s: %m", path);
	while (fgets(line, sizeof line, f)) {
		const char *name = strstr(line, " +switch-master vip-");

		if (!name && strstr(line, " +promoted-slave "))
			name = strstr(line, " @ vip-");
		name = name ? strstr(name, "vip-") : NULL;
		for (int i = 0; name && i < masters; i++) {
			vip_text(i, vip);
			if (strncmp(name + 4, vip, strlen(vip)) == 0 && name[4 + strlen(vip)] == ' ' &&
			    !called[i]) {
				called[i] = line_ns(line);
				found++;
			}
		}
	}
	fclose(f);
	return found;
}

/* The first frame of each VIP; how many have come. */
static int read_frames(int64_t came[])
{
	char vip[20];
	int found = 0;

	lab_capture_read(capture);
	for (int i = 0; i < masters; i++) {
		vip_text(i, vip);
		for (size_t f = 0; f < capture->n && !came[i]; f++)
			if (lab_is_arp(&capture->frames[f], vip))
				came[i] = capture->frames[f].ns;
		found += came[i] != 0;
	}
	return found;
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q)
{
	return sorted[(size_t)(q * (double)(n - 1) + 0.5)];
}

static void storm(struct contender *c, int from, int to, int round)
{
	int64_t *called = calloc((size_t)masters, sizeof *called);
	int64_t *came = calloc((size_t)masters, sizeof *came);
	int64_t until;
	double *ms = c->ms + c->n;
	int found = 0;

	if (!called || !came)
		lab_fail("calloc: %m");
	choose(c);
	lab_must(host[to], ": >/run/sentinel.log");
	lab_capture_read(capture);
	capture->n = 0;
	die(from);
	until = lab_now_ns() + STORM_MS * INT64_C(1000000);
	while ((found = read_frames(came)) < masters && lab_now_ns() < until)
		lab_sleep_ms(200);
	if (found < masters) {
		static struct lab_result r;

		lab_sh(host[to], &r, "tail -n 40 /run/sentinel.log; ip -o -4 addr show dev eth0 | wc -l");
		fputs(r.out, stderr);
		lab_log_tail(host[to], 20, stderr);
		lab_fail("%s: %d of %d VIPs have not come", c->name, masters - found, masters);
	}
	read_calls(to, called);
	for (int i = 0; i < masters; i++) {
		if (!called[i])
			lab_fail("%s: the Sentinel has not said that master %d has moved", c->name, i);
		c->ms[c->n++] = (double)(came[i] - called[i]) / MS;
	}
	qsort(ms, (size_t)masters, sizeof *ms, double_compare);
	printf("storm %d, %s: median %.0f ms, 90 %% %.0f, worst %.0f\n", round, c->name,
	       quantile(ms, (size_t)masters, 0.5), quantile(ms, (size_t)masters, 0.9),
	       ms[masters - 1]);
	fflush(stdout);
	free(called);
	free(came);
	for (int i = 0; i < HOSTS; i++)
		lab_log_clear(host[i]);
	lab_sleep_ms(c == &contenders[SCRIPT] ? 4000 : 0); /* it still announces */
	revive(from, to);
	come_to_rest(to);
}

/* ---- the report ---- */

static int report(void)
{
	double median[CONTENDERS], worst[CONTENDERS];
	int missed = 0;

	printf("\n%-33s %11s %10s %10s %10s %8s\n", "log line to first frame, ms", "median", "90 %",
	       "99 %", "worst", "x floor");
	for (int i = 0; i < CONTENDERS; i++) {
		struct contender *c = &contenders[i];

		qsort(c->ms, c->n, sizeof *c->ms, double_compare);
		median[i] = quantile(c->ms, c->n, 0.5);
		worst[i] = c->ms[c->n - 1];
		printf("%-33s %11.0f %10.0f %10.0f %10.0f %8.2f\n", c->name, median[i],
		       quantile(c->ms, c->n, 0.9), quantile(c->ms, c->n, 0.99), worst[i],
		       median[i] / median[FLOOR]);
	}
	printf("\n");
	for (int i = 0; i < 2; i++) {
		double ratio = i ? worst[OURS] / worst[FLOOR] : median[OURS] / median[FLOOR];

		printf("%s: sentinel-vip / floor, at most 1.3 %7.2f   %s\n", i ? "worst " : "median",
		       ratio, ratio <= 1.3 ? "holds" : "MISSED");
		missed += ratio > 1.3;
	}
	return missed;
}

static int run(int argc, char **argv)
{
	const char *strict = getenv("STORM_STRICT");
	int at = 0;

	(void)argc;
	(void)argv;
	masters = number("M", MASTERS, MASTERS_MAX);
	rounds = number("ROUNDS", ROUNDS, ROUNDS_MAX);
	script_rounds = number("SCRIPT_ROUNDS", rounds, rounds);
	for (int i = 0; i < HOSTS; i++) {
		char address[32];

		snprintf(address, sizeof address, "%s/16", ips[i]);
		host[i] = lab_host((const char[]){(char)('a' + i), '\0'}, address, NULL);
		configure(i);
	}
	eyes = lab_host("eyes", "10.0.0.9/16", NULL);
	capture = lab_capture_announcements(eyes, "eth0");
	choose(&contenders[OURS]);
	redis_start(0, NULL);
	redis_start(1, ips[0]);
	for (int i = 0; i < HOSTS; i++)
		sentinel_start(i);
	come_to_rest(0);
	printf("%d masters and as many replicas, 3 Sentinels, %d storms for each\n", masters, rounds);
	fflush(stdout);
	for (int i = 0; i < CONTENDERS; i++)
		contenders[i].ms = calloc((size_t)(rounds * masters), sizeof(double));
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < CONTENDERS; i++) {
			int who = (i + r) % CONTENDERS;

			if (who == SCRIPT && r >= script_rounds)
				continue;
			storm(&contenders[who], at, 1 - at, r + 1);
			at = 1 - at;
		}
	return report() > 0 && strict && strcmp(strict, "1") == 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
