/* SPDX-License-Identifier: MIT */
/*
 * What the kernels of a cluster report of the VIPs, as it happens, and `sync` on the nodes as a
 * timer runs it. Refuses to miss a report: a message that was lost is a failure.
 */
#include "cluster-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EARS_BUFFER (1 << 20)

struct move *moves;
static size_t heard, room;
static int ears[CLUSTER_NODES];
static bool listening;
static int64_t cleared;             /* when moves_clear() was called ... */
static unsigned had[CLUSTER_NODES]; /* ... and who had which of the VIPs then, one bit each */
static pid_t timers[CLUSTER_NODES];

/* ---- what the kernels report ---- */

static void moves_begin(void)
{
	int size = EARS_BUFFER;

	for (int i = 0; i < c->nodes; i++) {
		struct sockaddr_nl nl = {.nl_family = AF_NETLINK,
					 .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};

		ears[i] = lab_socket(c->node[i].host, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK,
				     NETLINK_ROUTE);
		if (setsockopt(ears[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 ||
		    bind(ears[i], (struct sockaddr *)&nl, sizeof nl) < 0)
			lab_fail("rtnetlink of node %d: %m", i);
	}
	listening = true;
}

static void move_add(int node, bool came, const char *address)
{
	if (heard == room) {
		room = room ? 2 * room : 256;
		moves = reallocarray(moves, room, sizeof *moves);
		if (!moves)
			lab_fail("reallocarray: %m");
	}
	moves[heard] = (struct move){.ns = lab_now_ns(), .node = node, .came = came};
	snprintf(moves[heard++].address, sizeof moves->address, "%s", address);
}

/* IFA_LOCAL is the address itself; IPv6 has only IFA_ADDRESS (rtnetlink(7)). */
static void move_read(int node, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	int left = (int)IFA_PAYLOAD(m);
	const void *address = NULL;
	char text[64];

	if (m->nlmsg_type != RTM_NEWADDR && m->nlmsg_type != RTM_DELADDR)
		return;
	for (const struct rtattr *t = IFA_RTA(a); RTA_OK(t, left); t = RTA_NEXT(t, left))
		if (t->rta_type == IFA_LOCAL || (t->rta_type == IFA_ADDRESS && !address))
			address = RTA_DATA(t);
	if (!address || !inet_ntop(a->ifa_family, address, text, sizeof text))
		return;
	for (int i = 0; vips[i]; i++)
		if (strcmp(text, vips[i]) == 0)
			move_add(node, m->nlmsg_type == RTM_NEWADDR, text);
}

size_t moves_heard(void)
{
	static char buf[65536];
	ssize_t n;

	for (int i = 0; listening && i < c->nodes; i++) {
		while ((n = recv(ears[i], buf, sizeof buf, 0)) > 0) {
			unsigned left = (unsigned)n;

			for (const struct nlmsghdr *m = (const struct nlmsghdr *)buf;
			     NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
				move_read(i, m);
		}
		if (n < 0 && errno != EAGAIN)
			lab_fail("reports of node %d's kernel were lost: %m", i);
	}
	return heard;
}

void moves_clear(void)
{
	if (!listening)
		moves_begin();
	for (int i = 0; i < c->nodes; i++) {
		had[i] = 0;
		for (int v = 0; vips[v]; v++)
			had[i] |= (unsigned)(lab_addr_copies(c->node[i].host, vips[v]) > 0) << v;
	}
	moves_heard();
	heard = 0;
	cleared = lab_now_ns();
}

void moves_end(void)
{
	for (int i = 0; listening && i < c->nodes; i++)
		close(ears[i]);
	listening = false;
	heard = 0;
}

size_t moves_count(int node, bool came, const char *address)
{
	size_t n = 0;

	moves_heard();
	for (size_t i = 0; i < heard; i++)
		n += moves[i].node == node && moves[i].came == came &&
		     (!address || strcmp(moves[i].address, address) == 0);
	return n;
}

void moves_print(void)
{
	for (size_t i = 0; i < moves_heard(); i++)
		print_message("%+8d ms: %s %s node %d\n",
			      (int)((moves[i].ns - moves[0].ns) / 1000000), moves[i].address,
			      moves[i].came ? "came to" : "left", moves[i].node);
}

int moves_shared_ms(const char *address)
{
	int64_t began = cleared, longest = 0;
	bool has[CLUSTER_NODES] = {0};
	int holders = 0;

	for (int v = 0; vips[v]; v++)
		for (int i = 0; strcmp(vips[v], address) == 0 && i < c->nodes; i++)
			holders += has[i] = had[i] & 1u << v;
	for (size_t i = 0; i <= moves_heard(); i++) {
		int64_t ns = i < heard ? moves[i].ns : lab_now_ns();

		if (i < heard && strcmp(moves[i].address, address) != 0)
			continue;
		if (holders > 1 && ns - began > longest)
			longest = ns - began;
		if (holders < 2)
			began = ns;
		if (i < heard && has[moves[i].node] != moves[i].came) {
			holders += moves[i].came ? 1 : -1;
			has[moves[i].node] = moves[i].came;
		}
	}
	return (int)(longest / 1000000);
}

/* ---- sync as a timer runs it ---- */

void timer_start(int node, int pause_ms)
{
	char pause[16];
	const char *argv[] = {
		"sh",
		"-c",
		"trap 'exit 0' TERM\n"
		"while :; do \"$0\" sync; echo \"status $?\"; sleep \"$1\" & wait $!; "
		"done",
		lab_program(),
		pause,
		NULL};

	snprintf(pause, sizeof pause, "%d.%03d", pause_ms / 1000, pause_ms % 1000);
	timers[node] = lab_spawn(c->node[node].host, "sync.log", argv);
}

void timers_stop(void)
{
	for (int i = 0; i < CLUSTER_NODES; i++)
		if (timers[i] && kill(timers[i], SIGTERM) == 0 && lab_wait(timers[i], 20000) < 0)
			lab_fail("sync on node %d does not end", i);
	memset(timers, 0, sizeof timers);
}

int timer_count(int node, int status)
{
	static struct lab_result said;

	lab_sh(c->node[node].host, &said, "grep -c '^status %d$' /run/sync.log", status);
	return atoi(said.out);
}
