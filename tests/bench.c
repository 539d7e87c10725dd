/* SPDX-License-Identifier: MIT */
/*
 * How long from exec to the first announcement, as the neighbour's kernel stamps it, and how long to
 * exit: sentinel-vip, called as Sentinel calls it, against the least C program that does the same to
 * the kernel (bench-floor.c), the same with our libraries loaded, and the shell script that
 * sentinel-vip replaces.  All take turns in one run, in an order that rotates, so that a noisy
 * machine is noisy for each of them; ratios are also taken round by round.
 *
 * Runs as root from the top of the tree, in a laboratory (lab.h) whose /dev/log is read as a syslog
 * daemon would.  It refuses to go on when a turn leaves anything behind.
 *
 *	ROUNDS=N		300 unless told
 *	SCRIPT_ROUNDS=N		in how many of them the script takes part: 5, since each costs 3 s
 *
 * Processors are not pinned, as Sentinel does not pin its scripts; `taskset -c 1 make bench` does
 * it.  Exit status 0: all targets hold.
 */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define HERE "10.0.0.1"
#define THERE "10.0.0.2"
#define VIP "10.0.0.250"

#define WARM_UP_ROUNDS 5
#define MAX_ROUNDS 100000
#define FRAME_WAIT_MS 2000	/* nothing by then is a failure, not a slow turn */
#define ALONE_WAIT_MS 3000	/* what an announcer may take to see that the VIP left */
#define SETTLE_MS 5		/* an announcer gets ready; the kernel frees what a turn left */

#define TARGET_FLOOR_FRAME 1.8
#define TARGET_SCRIPT_FRAME 3.0
#define TARGET_SCRIPT_EXIT 50.0

enum measure { FRAME, EXIT, MEASURES };	/* milliseconds from exec to either */

struct contender {
	const char *name;
	const char *program;		/* below the directory that we are started in */
	const char *argv[9];
	bool slow;			/* takes part in SCRIPT_ROUNDS rounds only */
	double *ms[MEASURES];		/* by round; NAN where it took no part */
};

enum { FLOOR, LOADED, OURS, SCRIPT, CONTENDERS };

static char host_ifindex[16], host_mac[32];

#define FLOORS_ARGUMENTS "bench-floor", host_ifindex, host_mac, VIP
#define SENTINELS_ARGUMENTS "mymaster", "leader", "start", THERE, "6379", HERE, "6379"

static struct contender contenders[CONTENDERS] = {
	[FLOOR] = {
		.name = "floor, static",
		.program = "tests/bench-floor",
		.argv = { FLOORS_ARGUMENTS },
	},
	[LOADED] = {
		.name = "floor, our libraries",
		.program = "tests/bench-floor-dynamic",
		.argv = { FLOORS_ARGUMENTS },
	},
	[OURS] = {
		.name = "sentinel-vip",
		.program = "sentinel-vip",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
	},
	[SCRIPT] = {
		.name = "ip, arping -c 3 -A",
		.program = "tests/bench-script.sh",
		.argv = { "bench-script.sh", SENTINELS_ARGUMENTS },
		.slow = true,
	},
};

static struct {
	struct lab_host *host, *neighbour;
	struct lab_capture *capture;	/* on the neighbour's end of the wire */
	int netlink;			/* of the host's network */
	int null;
} wire;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_last[2048];

/* Stands for the syslog daemon: woken by each line, done with it at once. */
static void *log_drain(void *arg)
{
	struct pollfd readable = { .fd = wire.host->log_fd, .events = POLLIN };
	ssize_t n;

	(void)arg;
	while (poll(&readable, 1, -1) > 0) {
		pthread_mutex_lock(&log_lock);
		n = recv(readable.fd, log_last, sizeof(log_last) - 1, 0);
		if (n >= 0)
			log_last[n] = '\0';
		pthread_mutex_unlock(&log_lock);
	}
	return NULL;
}

static void wire_make(void)
{
	struct ifreq request = { .ifr_name = "eth0" };
	unsigned char mac[6];
	pthread_t thread;

	wire.host = lab_host("host", HERE "/24", NULL);
	wire.neighbour = lab_host("neighbour", THERE "/24", NULL);
	wire.capture = lab_capture_announcements(wire.neighbour, "eth0");
	wire.netlink = lab_socket(wire.host, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	wire.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	lab_config(wire.host, "[mymaster]\nvip = " VIP "\ninterface = eth0\nverify = no\n");
	if (wire.null < 0 || ioctl(wire.netlink, SIOCGIFINDEX, &request) < 0 ||
	    !lab_mac(wire.host, "eth0", mac))
		lab_fail("the host's interface: %m");
	snprintf(host_ifindex, sizeof(host_ifindex), "%d", request.ifr_ifindex);
	snprintf(host_mac, sizeof(host_mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	if (pthread_create(&thread, NULL, log_drain, NULL) != 0)
		lab_fail("pthread_create");
}

/* 0, or -errno.  Without IFA_ADDRESS the kernel compares no prefix lengths: /32 and /24 both go. */
static int vip_delete(void)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg addr;
		struct rtattr local_head;
		struct in_addr local;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_DELADDR,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
		.addr = {
			.ifa_family = AF_INET,
			.ifa_index = (unsigned int)strtoul(host_ifindex, NULL, 10),
		},
		.local_head = {
			.rta_len = RTA_LENGTH(sizeof(request.local)),
			.rta_type = IFA_LOCAL,
		},
		.local = { .s_addr = inet_addr(VIP) },
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		char echo[256];
	} answer;
	ssize_t least = sizeof(answer.head) + sizeof(answer.err);

	if (send(wire.netlink, &request, sizeof(request), 0) < 0 ||
	    recv(wire.netlink, &answer, sizeof(answer), 0) < least)
		lab_fail("netlink: %m");
	return answer.err.error;
}

/* Takes the VIP away, and waits until what goes on announcing has seen it. */
static void wire_clear(const char *who)
{
	lab_sleep_ms(SETTLE_MS);
	if (vip_delete() < 0)
		lab_fail("%s: it announced the VIP but the host does not hold it", who);
	if (vip_delete() != -EADDRNOTAVAIL)
		lab_fail("%s: the VIP is still there after it was deleted", who);
	if (!LAB_UNTIL(lab_host_processes(wire.host, NULL) == 0, ALONE_WAIT_MS))
		lab_fail("%s: it still runs %d ms after the VIP left", who, ALONE_WAIT_MS);
	lab_sleep_ms(SETTLE_MS);
	lab_capture_read(wire.capture);
	wire.capture->n = 0;
}

/* As Sentinel starts a script, but for the environment.  Does not return. */
static void child_exec(const struct contender *c, const char *program, int64_t *exec_ns)
{
	static const char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SENTINEL_VIP_CONFIG=/run/sentinel-vip.conf",
		"BENCH_SELF=" HERE, "BENCH_VIP=" VIP, "BENCH_INTERFACE=eth0", NULL,
	};

	if (lab_enter(wire.host) < 0 || dup2(wire.null, 0) < 0 || dup2(wire.null, 1) < 0 ||
	    dup2(wire.null, 2) < 0)
		_exit(127);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, SIG_IGN);
	*exec_ns = lab_now_ns();
	execve(program, (char *const *)c->argv, (char *const *)env);
	_exit(127);
}

/*
 * The child borrows our memory until its exec (vfork), so that neither a fork nor the end of a copied
 * address space is measured, and its last act before is to note the time where we can read it.
 */
static void turn(const struct contender *c, size_t round)
{
	static int64_t exec_ns, exit_ns;
	static char program[PATH_MAX];
	const struct lab_frame *frame;
	siginfo_t info;
	pid_t child;

	/* A new mount namespace starts at the root directory. */
	if (!realpath(c->program, program))
		lab_fail("%s: %m", c->program);
	child = vfork();
	if (child == 0)
		child_exec(c, program, &exec_ns);
	if (child < 0 || waitid(P_PID, (id_t)child, &info, WEXITED) < 0)
		lab_fail("%s: %m", c->program);
	exit_ns = lab_now_ns();
	if (info.si_code != CLD_EXITED || info.si_status != 0) {
		lab_sleep_ms(SETTLE_MS);
		pthread_mutex_lock(&log_lock);
		lab_fail("%s: exit status or signal %d; the last line in the log: %s", c->program,
			 info.si_status, log_last);
	}
	frame = lab_capture_wait(wire.capture, 0, lab_is_announcement, VIP, FRAME_WAIT_MS);
	if (!frame)
		lab_fail("%s: no announcement reached the neighbour", c->program);
	c->ms[FRAME][round] = (double)(frame->ns - exec_ns) / 1e6;
	c->ms[EXIT][round] = (double)(exit_ns - exec_ns) / 1e6;
	wire_clear(c->program);
}

struct spread {
	size_t n;
	double low, median, high;	/* 10th, 50th and 90th percentile */
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
	struct spread s = { 0 };

	if (!v)
		lab_fail("calloc: %m");
	for (size_t r = 0; r < rounds; r++) {
		double x = c->ms[what][r] / (base ? base->ms[what][r] : 1.0);

		if (!isnan(x))
			v[s.n++] = x;
	}
	qsort(v, s.n, sizeof(*v), double_compare);
	s.low = v[(s.n + 9) / 10 - 1];
	s.median = (v[(s.n - 1) / 2] + v[s.n / 2]) / 2;
	s.high = v[(9 * s.n + 9) / 10 - 1];
	free(v);
	return s;
}

static void table_print(const char *title, enum measure what, size_t rounds)
{
	double floor_ms = spread_of(&contenders[FLOOR], NULL, what, rounds).median;

	printf("\n%-22s %11s %11s %11s %9s %9s %7s\n", title, "median, ms", "10 %", "90 %",
	       "x floor", "by round", "rounds");
	for (size_t i = 0; i < CONTENDERS; i++) {
		struct spread s = spread_of(&contenders[i], NULL, what, rounds);
		struct spread ratio = spread_of(&contenders[i], &contenders[FLOOR], what, rounds);

		printf("%-22s %11.3f %11.3f %11.3f %9.2f %9.2f %7zu\n", contenders[i].name, s.median,
		       s.low, s.high, s.median / floor_ms, ratio.median, s.n);
	}
}

/* Holds only when both do: the ratio of the medians, and the median of the rounds' ratios. */
static bool target_print(const char *claim, bool at_most, double bound, int slower, int faster,
			 enum measure what, size_t rounds)
{
	const struct contender *a = &contenders[slower], *b = &contenders[faster];
	double medians = spread_of(a, NULL, what, rounds).median /
			 spread_of(b, NULL, what, rounds).median;
	double by_round = spread_of(a, b, what, rounds).median;
	bool held = at_most ? fmax(medians, by_round) <= bound : fmin(medians, by_round) >= bound;

	printf("%-52s %8.2f, by round %8.2f   %s\n", claim, medians, by_round,
	       held ? "holds" : "MISSED");
	return held;
}

static void machine_print(size_t rounds)
{
	char line[256], cpu[128] = "unknown processor", load[32] = "?";
	FILE *cpuinfo = fopen("/proc/cpuinfo", "re"), *loadavg = fopen("/proc/loadavg", "re");
	struct utsname kernel;
	cpu_set_t allowed;

	while (cpuinfo && fgets(line, sizeof(line), cpuinfo))
		if (sscanf(line, "model name : %127[^\n]", cpu) == 1)
			break;
	if (!loadavg || fscanf(loadavg, "%31s", load) != 1)
		lab_fail("/proc/loadavg: %m");
	if (cpuinfo)
		fclose(cpuinfo);
	if (loadavg)
		fclose(loadavg);
	if (uname(&kernel) < 0 || sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		lab_fail("uname: %m");
	printf("%s %s, %s, %d of %ld processors, load %s at the end\n", kernel.sysname,
	       kernel.release, cpu, CPU_COUNT(&allowed), sysconf(_SC_NPROCESSORS_ONLN), load);
	printf("%zu rounds after %d to warm up; x floor: of the medians, by round: median of the "
	       "rounds' ratios\n", rounds, WARM_UP_ROUNDS);
}

static int report(size_t rounds)
{
	bool held = true;

	machine_print(rounds);
	table_print("exec to first frame", FRAME, rounds);
	table_print("exec to exit", EXIT, rounds);
	printf("\n");
	held &= target_print("first frame: sentinel-vip / floor, at most 1.8", true,
			     TARGET_FLOOR_FRAME, OURS, FLOOR, FRAME, rounds);
	held &= target_print("first frame: script / sentinel-vip, at least 3", false,
			     TARGET_SCRIPT_FRAME, SCRIPT, OURS, FRAME, rounds);
	held &= target_print("exit: script / sentinel-vip, at least 50", false,
			     TARGET_SCRIPT_EXIT, SCRIPT, OURS, EXIT, rounds);
	return held ? 0 : 1;
}

/* Whether the slow ones, `some` times in `rounds`, are due in this round. */
static bool slow_due(size_t round, size_t rounds, size_t some)
{
	return round * some / rounds != (round + 1) * some / rounds;
}

static void samples_make(size_t rounds)
{
	for (size_t i = 0; i < CONTENDERS; i++)
		for (size_t m = 0; m < MEASURES; m++) {
			contenders[i].ms[m] = calloc(rounds, sizeof(double));
			if (!contenders[i].ms[m])
				lab_fail("calloc: %m");
			for (size_t r = 0; r < rounds; r++)
				contenders[i].ms[m][r] = NAN;
		}
}

static size_t number_from(const char *name, size_t otherwise)
{
	const char *text = getenv(name);
	unsigned long n;
	char *end;

	if (!text)
		return otherwise;
	n = strtoul(text, &end, 10);
	if (*end || end == text || n < 1 || n > MAX_ROUNDS)
		lab_fail("%s: a number from 1 to %d is expected", name, MAX_ROUNDS);
	return n;
}

static int bench(int argc, char **argv)
{
	size_t rounds = number_from("ROUNDS", 300);
	size_t slow_rounds = number_from("SCRIPT_ROUNDS", rounds < 5 ? rounds : 5);

	(void)argc;
	(void)argv;
	if (slow_rounds > rounds)
		lab_fail("SCRIPT_ROUNDS is more than ROUNDS");
	wire_make();
	samples_make(rounds);
	for (size_t r = 0; r < WARM_UP_ROUNDS; r++)
		for (size_t i = 0; i < CONTENDERS; i++)
			if (!contenders[i].slow)
				turn(&contenders[i], 0);
	for (size_t r = 0; r < rounds; r++)
		for (size_t i = 0; i < CONTENDERS; i++) {
			const struct contender *c = &contenders[(i + r) % CONTENDERS];

			if (!c->slow || slow_due(r, rounds, slow_rounds))
				turn(c, r);
		}
	return report(rounds);
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, bench);
}
