/* SPDX-License-Identifier: MIT */
/*
 * What the kernels of the nodes report of the VIPs, and every announcement that leaves a node, in a
 * thread of its own all along: a frame for a VIP that the node surely does not hold is wrong.
 *
 * A report carries no time. It was made after the moment at which nothing was left to be read, and
 * before it was read; in between the node may or may not have held the VIP, and is believed. So a
 * frame that is called wrong is wrong.
 */
#include "soak.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EARS_BUFFER = 4 << 20,
	EVENTS = 1 << 14, /* a ring: minutes of a busy world */
	/*
	 * Who takes a VIP away behind the program's back cannot take its lock either: between the
	 * announcer's last look and its frame there are instructions, and a busy machine.
	 */
	GRACE_MS = 50,
	/*
	 * A new IPv6 address is there at once, but a work queue tells of it (addrconf_dad_work()): 0.7 s
	 * later was seen, on a machine with 25 processes for 2 processors.
	 */
	IPV6_LATE_MS = 2000,
	/* The first of the announcer's repeats comes 200 ms after the frame of the claim itself. */
	CLAIM_MS = 100, /* from the report of an address to its first frame */
	/* A VIP that was held for so long without a frame was not announced; frames are judged late. */
	UNSAID_MS = IPV6_LATE_MS + 1500,
	OURS_MS = 1000, /* until a removal of ours has been reported */
	LOOK_MS = 50, /* how long a frame waits to be judged, at most */
};

struct event {
	enum { NONE, CAME, LEFT, FRAME, WRONG } kind;
	int node, vip;
	int64_t ns;    /* a frame's stamp; when a report was read */
	int64_t since; /* a report is not older */
	bool ours;     /* we took it away */
	char what[40]; /* of a frame */
};

static struct event events[EVENTS];
static unsigned long count; /* of all events ever; the ring has the last ones */
static int holds[NODES_MAX][VIPS_MAX]; /* copies */
static int64_t forgiven[NODES_MAX][VIPS_MAX];
static unsigned long frames, reported;
/* Since when the latest claim waits for its first frame: a report is not older, and when it was read. */
static struct { int64_t since, ns; } unsaid[NODES_MAX][VIPS_MAX];
static unsigned claims, claims_late;
static int ears[NODES_MAX];
static int64_t emptied[NODES_MAX]; /* all that was reported before has been read */
static struct lab_capture *eyes[NODES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct event *event_add(int kind, int node, int vip, int64_t ns)
{
	struct event *e = &events[count++ % EVENTS];

	*e = (struct event){.kind = kind, .node = node, .vip = vip, .ns = ns};
	return e;
}

/* ---- reports ---- */

static int vip_index(int family, const void *binary)
{
	char text[64];

	if (!inet_ntop(family, binary, text, sizeof text))
		return -1;
	for (int v = 0; v < w.vips; v++)
		if (strcmp(w.vip[v].address, text) == 0)
			return v;
	return -1;
}

static void claim_count(bool late)
{
	claims++;
	claims_late += late;
}

/* IFA_LOCAL is the address itself; IPv6 has only IFA_ADDRESS (rtnetlink(7)). */
static void report_read(int node, const struct nlmsghdr *m, int64_t now)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	bool came = m->nlmsg_type == RTM_NEWADDR;
	int left = (int)IFA_PAYLOAD(m), v;
	const void *address = NULL;
	struct event *e;

	if (!came && m->nlmsg_type != RTM_DELADDR)
		return;
	for (const struct rtattr *t = IFA_RTA(a); RTA_OK(t, left); t = RTA_NEXT(t, left))
		if (t->rta_type == IFA_LOCAL || (t->rta_type == IFA_ADDRESS && !address))
			address = RTA_DATA(t);
	if (!address || (v = vip_index(a->ifa_family, address)) < 0)
		return;
	/* IPv6 tells a new address again when its state changes */
	if (came == holds[node][v])
		return;
	holds[node][v] = came;
	e = event_add(came ? CAME : LEFT, node, v, now);
	e->since = emptied[node] - (came && a->ifa_family == AF_INET6 ? IPV6_LATE_MS * INT64_C(1000000) : 0);
	if (!came && unsaid[node][v].ns != 0 && now - unsaid[node][v].ns > UNSAID_MS * INT64_C(1000000))
		claim_count(true);
	unsaid[node][v].since = e->since;
	unsaid[node][v].ns = came ? now : 0;
	e->ours = now - forgiven[node][v] < OURS_MS * INT64_C(1000000);
}

static void reports_read(int node)
{
	static char buf[65536];
	int64_t before = lab_now_ns();
	ssize_t n;

	while ((n = recv(ears[node], buf, sizeof buf, 0)) > 0) {
		unsigned left = (unsigned)n;

		for (const struct nlmsghdr *m = (const struct nlmsghdr *)buf; NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			report_read(node, m, lab_now_ns());
	}
	if (n < 0 && errno != EAGAIN)
		lab_fail("reports of node %d's kernel were lost: %m", node);
	emptied[node] = before;
}

/* ---- frames ---- */

/* Whether the node may have held the VIP at that moment, for all that was reported. */
static bool may_hold(int node, int vip, int64_t ns)
{
	unsigned long oldest = count > EVENTS ? count - EVENTS : 0;

	for (unsigned long i = count; i-- > oldest;) {
		const struct event *e = &events[i % EVENTS];

		if (e->node != node || e->vip != vip || (e->kind != CAME && e->kind != LEFT))
			continue;
		if (e->ns <= ns)
			return e->kind == CAME;
		/* it was read later: before or after it the node held the VIP */
		if (e->since <= ns)
			return true;
	}
	return false;
}

static const char *frame_text(const struct lab_frame *f)
{
	return f->data[12] == 0x86 ? "advertisement" : f->data[21] == 1 ? "request" : "reply";
}

static void frame_judge(int node, const struct lab_frame *f)
{
	for (int v = 0; v < w.vips; v++) {
		struct event *e;
		bool wrong;

		if (!f->outgoing || !lab_is_announcement(f, w.vip[v].address))
			continue;
		frames++;
		wrong = !may_hold(node, v, f->ns) &&
			(f->ns < forgiven[node][v] ||
			 f->ns > forgiven[node][v] + GRACE_MS * INT64_C(1000000));
		if (!wrong && unsaid[node][v].ns != 0 && f->ns >= unsaid[node][v].since) {
			claim_count(f->ns > unsaid[node][v].ns + CLAIM_MS * INT64_C(1000000));
			unsaid[node][v].ns = 0;
		}
		e = event_add(wrong ? WRONG : FRAME, node, v, f->ns);
		snprintf(e->what, sizeof e->what, "%s", frame_text(f));
	}
}

/* What is younger than a report that may still come waits; the rest is judged. */
static void frames_read(int node)
{
	struct lab_capture *c = eyes[node];
	size_t done = 0;

	lab_capture_read(c);
	while (done < c->n && c->frames[done].ns < emptied[node] - IPV6_LATE_MS * INT64_C(1000000))
		frame_judge(node, &c->frames[done++]);
	memmove(c->frames, c->frames + done, (c->n - done) * sizeof *c->frames);
	c->n -= done;
}

static void *look(void *arg)
{
	struct pollfd p[2 * NODES_MAX];

	(void)arg;
	for (;;) {
		for (int i = 0; i < w.nodes; i++) {
			p[2 * i] = (struct pollfd){.fd = ears[i], .events = POLLIN};
			p[2 * i + 1] = (struct pollfd){.fd = eyes[i]->fd, .events = POLLIN};
		}
		if (poll(p, 2 * (nfds_t)w.nodes, LOOK_MS) < 0 && errno != EINTR)
			lab_fail("poll: %m");
		pthread_mutex_lock(&lock);
		for (int i = 0; i < w.nodes; i++) {
			reports_read(i);
			frames_read(i);
		}
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* ---- for the others ---- */

void watch_start(void)
{
	pthread_t thread;
	int size = EARS_BUFFER;

	for (int i = 0; i < w.nodes; i++) {
		struct sockaddr_nl nl = {.nl_family = AF_NETLINK,
					 .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};

		ears[i] = lab_socket(w.node[i].host, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK,
				     NETLINK_ROUTE);
		if (setsockopt(ears[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 ||
		    bind(ears[i], (struct sockaddr *)&nl, sizeof nl) < 0)
			lab_fail("rtnetlink of node %d: %m", i);
		eyes[i] = lab_capture_announcements(w.node[i].host, "eth0");
	}
	if ((errno = pthread_create(&thread, NULL, look, NULL)) != 0)
		lab_fail("pthread_create: %m");
}

void watch_forgive(int node, int vip)
{
	pthread_mutex_lock(&lock);
	forgiven[node][vip] = lab_now_ns();
	pthread_mutex_unlock(&lock);
}

bool watch_holds(int node, int vip)
{
	bool held;

	pthread_mutex_lock(&lock);
	held = holds[node][vip];
	pthread_mutex_unlock(&lock);
	return held;
}

bool watch_lost(int node, int vip, int64_t since_ns)
{
	bool came = false, lost = false;

	pthread_mutex_lock(&lock);
	for (unsigned long i = count > EVENTS ? count - EVENTS : 0; i < count; i++) {
		const struct event *e = &events[i % EVENTS];

		if (e->node != node || e->vip != vip || e->ns <= since_ns)
			continue;
		came = came || e->kind == CAME;
		lost = lost || (came && e->kind == LEFT && !e->ours);
	}
	pthread_mutex_unlock(&lock);
	return lost;
}

bool watch_came(int node, int vip, int64_t since_ns)
{
	bool came = false;

	pthread_mutex_lock(&lock);
	for (unsigned long i = count > EVENTS ? count - EVENTS : 0; i < count; i++) {
		const struct event *e = &events[i % EVENTS];

		came = came || (e->kind == CAME && e->node == node && e->vip == vip &&
				e->since > since_ns);
	}
	pthread_mutex_unlock(&lock);
	return came;
}

unsigned long watch_frames(void)
{
	return frames;
}

unsigned watch_claims(unsigned *late)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = claims;
	*late = claims_late;
	pthread_mutex_unlock(&lock);
	return n;
}

static void event_print(FILE *out, const struct event *e)
{
	static const char *const kinds[] = {
		[CAME] = "came to", [LEFT] = "left", [FRAME] = "was announced by",
		[WRONG] = "was WRONGLY announced by"};

	fprintf(out, "  %9.3f s  %s %s %s %s\n", (double)(e->ns - w.began_ns) / 1e9,
		w.vip[e->vip].address, kinds[e->kind], w.node[e->node].host->name, e->what);
}

unsigned watch_wrong(FILE *out)
{
	unsigned wrong = 0;

	pthread_mutex_lock(&lock);
	if (count > EVENTS && reported < count - EVENTS)
		reported = count - EVENTS;
	for (; reported < count; reported++)
		if (events[reported % EVENTS].kind == WRONG) {
			event_print(out, &events[reported % EVENTS]);
			wrong++;
		}
	pthread_mutex_unlock(&lock);
	return wrong;
}

void watch_print(FILE *out, double seconds)
{
	int64_t from = lab_now_ns() - (int64_t)(seconds * 1e9);

	pthread_mutex_lock(&lock);
	for (unsigned long i = count > EVENTS ? count - EVENTS : 0; i < count; i++)
		if (events[i % EVENTS].ns >= from)
			event_print(out, &events[i % EVENTS]);
	pthread_mutex_unlock(&lock);
}
