/* SPDX-License-Identifier: MIT */
/*
 * No announcement after the address has gone: releases that race with a running announcer, aimed
 * at the moment of a repeat, with captures where the frames leave and on two peers. When the
 * address went is what the kernel said, not what the program says.
 */
#include "netns.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RACES (lab_slow() < 5 ? 200 : 40)
#define LANES 8      /* races at once, each with a master of its own */
#define VIPS 6       /* of a master; the race is about the one that is announced last */
#define PERIOD_MS 40 /* between two repeats */
#define SCHEDULE "announce = 0.04 0.08 0.12 0.16 0.2 0.24\n"
#define LISTEN_MS 90 /* two more repeats would have left in that time */
#define LATE_MS 5    /* what a frame may take from here to a peer on a busy machine */
#define MS INT64_C(1000000)

/* ---- when addresses go ---- */

struct gone {
	struct in_addr address;
	int64_t ns;
};

static struct {
	unsigned n;
	struct gone items[4096];
} * reported; /* by the ears, in memory shared with them */

static pid_t ears;

static void report_gone(const struct nlmsghdr *m)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	int left = (int)IFA_PAYLOAD(m);
	struct gone *g = &reported->items[reported->n % 4096];

	for (const struct rtattr *t = IFA_RTA(a); RTA_OK(t, left); t = RTA_NEXT(t, left))
		if (m->nlmsg_type == RTM_DELADDR && a->ifa_family == AF_INET &&
		    t->rta_type == IFA_LOCAL) {
			g->ns = lab_now_ns();
			memcpy(&g->address, RTA_DATA(t), sizeof g->address);
			__atomic_add_fetch(&reported->n, 1, __ATOMIC_RELEASE);
		}
}

/* A process of its own, ahead of all others, so that the time it notes is that of the report. */
static void ears_open(void)
{
	const struct sched_param first = {.sched_priority = 10};
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
	int fd = lab_socket(us, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	static char buf[16384];

	reported = mmap(NULL, sizeof *reported, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (reported == MAP_FAILED || bind(fd, (struct sockaddr *)&nl, sizeof nl) < 0)
		lab_fail("rtnetlink: %m");
	fflush(NULL);
	ears = fork();
	if (ears < 0)
		lab_fail("fork: %m");
	if (ears > 0) {
		close(fd);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sched_setscheduler(0, SCHED_FIFO, &first); /* where it may; else it is only less exact */
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof buf, 0);
		unsigned left = (unsigned)n;

		if (n < 0)
			_exit(1);
		for (const struct nlmsghdr *m = (const struct nlmsghdr *)buf; NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			report_gone(m);
	}
}

/* The first report of that address since `since`; 0 when there is none yet. */
static int64_t gone_since(const char *address, int64_t since)
{
	unsigned n = __atomic_load_n(&reported->n, __ATOMIC_ACQUIRE);
	struct in_addr a;

	if (inet_pton(AF_INET, address, &a) != 1)
		lab_fail("%s is no address", address);
	for (unsigned i = n > 4096 ? n - 4096 : 0; i < n; i++) {
		const struct gone *g = &reported->items[i % 4096];

		if (g->address.s_addr == a.s_addr && g->ns >= since)
			return g->ns;
	}
	return 0;
}

/* ---- the captures ---- */

static struct lab_host *third;
static struct lab_capture *lips, *more_eyes; /* what `us` sends, what `third` receives */

static int setup(void **state)
{
	static char config[8192];
	size_t n = (size_t)snprintf(config, sizeof config, "interface = eth0\n" SCHEDULE);

	netns_setup(state);
	third = lab_host("third", "10.0.0.3/24", (char *)NULL);
	more_eyes = lab_capture_announcements(third, "eth0");
	lips = lab_capture_announcements(us, "eth0");
	for (int i = 0; i < LANES * VIPS; i++) {
		if (i % VIPS == 0)
			n += (size_t)snprintf(config + n, sizeof config - n, "[m%d]\n", i / VIPS);
		n += (size_t)snprintf(config + n, sizeof config - n, "vip = 10.0.%d.%d\n", i % VIPS,
				      100 + i / VIPS);
	}
	lab_config(us, "%s", config);
	ears_open();
	return 0;
}

static int teardown(void **state)
{
	kill(ears, SIGKILL);
	lab_wait(ears, -1);
	munmap(reported, sizeof *reported);
	lab_capture_free(lips);
	lab_capture_free(more_eyes);
	lab_host_free(third);
	return netns_teardown(state);
}

/* The n-th frame about the address that `us` sent since `since`, or NULL. */
static const struct lab_frame *sent(const char *address, int64_t since, size_t n)
{
	lab_capture_read(lips);
	for (size_t i = 0; i < lips->n; i++) {
		const struct lab_frame *f = &lips->frames[i];

		if (f->ns >= since && f->outgoing && lab_is_arp(f, address) && n-- == 0)
			return f;
	}
	return NULL;
}

static size_t between(struct lab_capture *c, const char *address, int64_t from, int64_t to)
{
	size_t n = 0;

	lab_capture_read(c);
	for (size_t i = 0; i < c->n; i++)
		n += c->frames[i].ns >= from && c->frames[i].ns < to &&
		     lab_is_arp(&c->frames[i], address);
	return n;
}

/* ---- one race ---- */

struct lane {
	enum { IDLE, CLAIMS, HOLDS, RELEASES, LISTENS } stage;
	char master[8], address[16];
	pid_t pid;
	int64_t begun, shot, at; /* the race, the release; when the next stage begins */
	int64_t gone;            /* no earlier than that the address was gone */
};

static struct lane lanes[LANES];
static int begun, over;
static size_t slipped; /* frames */
static int64_t latest; /* of them */
static int64_t lead;   /* from the start of a release until the address goes */

/* Takes away the address as "ip addr del" would; returns when the kernel has done it. */
static int64_t delete_behind_its_back(const char *address)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg a;
		struct rtattr t;
		struct in_addr in;
	} q = {.h = {.nlmsg_len = sizeof q,
		     .nlmsg_type = RTM_DELADDR,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	       .a = {.ifa_family = AF_INET, .ifa_prefixlen = 32},
	       .t = {.rta_len = RTA_LENGTH(4), .rta_type = IFA_LOCAL}};
	static int fd = -1;
	static struct lab_host *of;
	static int ifindex;
	char answer[1024];

	if (of != us) {
		if (fd >= 0)
			close(fd);
		fd = lab_socket(us, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
		of = us;
		lab_sh(us, &r, "ip -o link show eth0");
		ifindex = atoi(r.out);
	}
	q.a.ifa_index = (unsigned)ifindex;
	inet_pton(AF_INET, address, &q.in);
	if (send(fd, &q, sizeof q, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0 ||
	    ((const struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error)
		lab_fail("%s cannot be deleted", address);
	return lab_now_ns();
}

static pid_t start(const struct lane *l, bool claim)
{
	return lab_spawn(us, l->master,
			 (const char *const[]){lab_program(), l->master, "leader", "start", OLD4,
					       "6379", claim ? OUR4 : PEER4, "6379", NULL});
}

static bool ended(struct lane *l)
{
	int status = lab_wait(l->pid, 0);

	if (status > 0)
		fail_msg("a run for %s ended with %d", l->master, status);
	return status == 0;
}

/* Not one frame left when it was gone, and the peers saw what left and nothing else. */
static void judge(struct lane *l)
{
	int64_t now = lab_now_ns();
	size_t left = between(lips, l->address, l->begun, now);

	for (size_t i = 0; i < lips->n; i++) {
		const struct lab_frame *f = &lips->frames[i];

		if (f->ns <= l->gone || f->ns >= now || !lab_is_arp(f, l->address))
			continue;
		slipped++;
		latest = f->ns - l->gone > latest ? f->ns - l->gone : latest;
	}
	if (between(eyes, l->address, l->begun, now) != left ||
	    between(more_eyes, l->address, l->begun, now) != left)
		fail_msg("%zu frames left for %s, but the peers saw %zu and %zu", left, l->address,
			 between(eyes, l->address, l->begun, now),
			 between(more_eyes, l->address, l->begun, now));
	if (between(eyes, l->address, l->gone + LATE_MS * MS, now) ||
	    between(more_eyes, l->address, l->gone + LATE_MS * MS, now))
		fail_msg("%s was announced long after it had gone", l->address);
}

/* A random moment in the millisecond in which a repeat leaves. */
static int64_t aim(const struct lane *l)
{
	int64_t first = sent(l->address, l->begun, 0)->ns;
	int64_t repeat = (1 + random() % 4) * PERIOD_MS * MS;

	return first + repeat + random() % (MS * 6 / 5);
}

/* Does what is due; a release is `behind its back`, or a run of the program. */
static void step(struct lane *l, bool behind)
{
	int64_t now = lab_now_ns();

	switch (l->stage) {
	case IDLE:
		if (begun == RACES)
			return;
		begun++;
		l->begun = now;
		l->pid = start(l, true);
		l->stage = CLAIMS;
		break;
	case CLAIMS:
		if (!ended(l))
			break;
		if (!sent(l->address, l->begun, 0))
			fail_msg("%s was not announced", l->address);
		l->at = aim(l) - lead;
		l->stage = HOLDS;
		break;
	case HOLDS:
		if (now < l->at - MS / 2)
			break;
		while (behind && lab_now_ns() < l->at)
			;
		l->shot = lab_now_ns();
		if (behind)
			l->gone = delete_behind_its_back(l->address);
		else
			l->pid = start(l, false);
		l->at = l->gone + LISTEN_MS * MS;
		l->stage = behind ? LISTENS : RELEASES;
		break;
	case RELEASES:
		if (!ended(l))
			break;
		/* the ears may be later than the end of the run that they have heard */
		if (!LAB_UNTIL((l->gone = gone_since(l->address, l->shot)) != 0, 500))
			fail_msg("%s has not gone", l->address);
		lead += (l->gone - l->shot - lead) / 8;
		l->at = l->gone + LISTEN_MS * MS;
		l->stage = LISTENS;
		break;
	case LISTENS:
		if (now < l->at)
			break;
		judge(l);
		over++;
		l->gone = 0;
		l->stage = IDLE;
		break;
	}
}

static void race(bool behind)
{
	begun = over = 0;
	slipped = 0;
	latest = 0;
	lead = behind ? 0 : 3 * MS;
	for (int i = 0; i < LANES; i++) {
		lanes[i] = (struct lane){.stage = IDLE};
		snprintf(lanes[i].master, sizeof lanes[i].master, "m%d", i);
		snprintf(lanes[i].address, sizeof lanes[i].address, "10.0.0.%d", 100 + i);
	}
	while (over < RACES) {
		for (int i = 0; i < LANES; i++)
			step(&lanes[i], behind);
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	if (slipped)
		fail_msg("%zu frames left up to %d us after the address", slipped,
			 (int)(latest / 1000));
}

static void released_200_times(void **state)
{
	(void)state;
	race(false);
}

static void deleted_200_times(void **state)
{
	(void)state;
	race(true);
}

/*
 * The worst of all races: the announcer has looked and takes 40 ms for each frame, which is when
 * the release comes. It has to wait.
 */
static void released_under_a_slow_frame(void **state)
{
	const char *const argv[] = {"strace",
				    "-f",
				    "-qq",
				    "-o",
				    "/dev/null",
				    "-e",
				    lab_delay("inject=sendto:delay_enter=", 40000),
				    lab_program(),
				    "claim",
				    "m0",
				    NULL};
	pid_t slow = lab_spawn(us, "slow", argv);
	int64_t since, shot, gone;
	size_t after = 0;

	(void)state;
	assert_non_null(lab_log_wait(us, "m0: claimed", 5000));
	since = lab_now_ns();
	assert_true(LAB_UNTIL(sent("10.0.0.100", since, 0) != NULL, 1000)); /* not the last */
	shot = lab_now_ns();
	vip("release", "m0");
	assert_int_equal(r.status, 0);
	assert_true(LAB_UNTIL((gone = gone_since("10.0.0.100", shot)) > 0, 500));
	assert_int_equal(lab_wait(slow, 1000), 0);
	assert_true(sent("10.0.0.100", shot, 0) != NULL); /* or there was no race */
	for (size_t i = 0; i < lips->n; i++)
		after += lips->frames[i].ns > gone && lips->frames[i].data[13] == 0x06;
	assert_int_equal(after, 0);
}

int netns_quiet_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(released_200_times, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_200_times, setup, teardown),
		cmocka_unit_test_setup_teardown(released_under_a_slow_frame, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
