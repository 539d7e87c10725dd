/* SPDX-License-Identifier: MIT */
/*
 * What clients read when the VIP moves away under them: a reset at once, whether they wait for
 * messages, for a list or for the answer to a write, over IPv4, IPv6, or IPv4 mapped into IPv6.
 * Redis never listens for the latter, so that a relay does, as a proxy in front of it would. And
 * whether a claim notices that Redis does not accept clients at the VIP.
 */
#include "cluster-test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RELAY_PORT 6380
#define TOLD_MS 50 /* after the address has gone */
#define EARLY_MS 500 /* before it: connections are closed first */
/*
 * Who writes may be told earlier, by the new holder, which the leader calls first and which knows
 * nothing of the connection.
 */
#define WRITER_MS 1000
#define WRITE_MS 10
#define MS INT64_C(1000000)

static const struct cluster_setup dual_stack = {
	.nodes = 3,
	.addresses = {{"172.16.2.4/24", "fd00:16:2::4/64"},
		      {"172.16.2.2/24", "fd00:16:2::2/64"},
		      {"172.16.2.15/24", "fd00:16:2::15/64"}},
	.client = {"172.16.2.100/24", "fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n" MASTER_AND_VIP "vip = " VIP6 "\n",
};

static const char *const both[] = {VIP4, VIP6, NULL};

/* ---- sockets ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int connected(const struct lab_host *h, const char *text, int port)
{
	struct timeval limit = {.tv_sec = 2};
	union address a = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
	int fd;

	if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) != 1) {
		a.in = (struct sockaddr_in){.sin_family = AF_INET,
					    .sin_port = htons((uint16_t)port)};
		inet_pton(AF_INET, text, &a.in.sin_addr);
	}
	fd = h ? lab_socket(h, a.any.sa_family, SOCK_STREAM, 0)
	       : socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
	    connect(fd, &a.any, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

/* ---- the relay: IPv4 clients of a listener on ::, to the Redis of the same host ---- */

static void relay_pass(int client)
{
	int redis = connected(NULL, "127.0.0.1", CLUSTER_REDIS_PORT);
	struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = redis, .events = POLLIN}};
	char buf[4096];

	while (redis >= 0 && poll(p, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, buf, sizeof buf) : -2;

			if (n == -2)
				continue;
			if (n <= 0 || write(p[1 - i].fd, buf, (size_t)n) != n)
				_exit(0);
		}
	_exit(0);
}

static void relay_start(const struct lab_host *h)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(RELAY_PORT)};
	int on = 1, off = 0, fd, client;
	pid_t pid = fork();

	if (pid < 0)
		lab_fail("fork: %m");
	if (pid > 0)
		return;
	lab_on_failure = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	if (lab_enter(h) < 0)
		_exit(1);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, (const struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 16) < 0)
		_exit(1);
	while ((client = accept(fd, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			close(fd);
			relay_pass(client);
		}
		close(client);
	}
	_exit(1);
}

/* ---- the clients ---- */

enum kind { SUBSCRIBES, POPS, WRITES, KINDS };
static const char *const kind_names[] = {"subscriber", "BLPOP", "writer"};

static const struct way {
	const char *name, *address;
	int port;
} ways[] = {{"IPv4", VIP4, CLUSTER_REDIS_PORT},
	    {"IPv6", VIP6, CLUSTER_REDIS_PORT},
	    {"IPv4 mapped into IPv6", VIP4, RELAY_PORT}};

#define WAYS ((int)(sizeof ways / sizeof *ways))

static struct client {
	const struct way *way;
	enum kind kind;
	int fd;
	int64_t told; /* 0: it has read nothing yet that ends it */
	int error;    /* that it was told: 0 for an orderly end */
} clients[3 * KINDS];

#define CLIENTS ((int)(sizeof clients / sizeof *clients))

static void say(struct client *cl, const char *text)
{
	check(send(cl->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text),
	      "%s over %s cannot send: %s", kind_names[cl->kind], cl->way->name, strerror(errno));
}

static void clients_connect(void)
{
	static const char *const words[] = {"SUBSCRIBE news\r\n", "BLPOP nothing 0\r\n",
					    "SET k 0\r\n"};

	for (int i = 0; i < CLIENTS; i++) {
		struct client *cl = &clients[i];
		struct pollfd p = {.events = POLLIN};
		char buf[256];

		*cl = (struct client){.way = &ways[i / KINDS], .kind = (enum kind)(i % KINDS)};
		check(LAB_UNTIL((cl->fd = connected(c->client, cl->way->address, cl->way->port)) >=
					0,
				2000),
		      "no connection over %s", cl->way->name);
		say(cl, words[cl->kind]);
		p.fd = cl->fd;
		/* BLPOP answers nothing */
		if (cl->kind != POPS)
			check(poll(&p, 1, 1000) == 1 && read(cl->fd, buf, sizeof buf) > 0,
			      "no answer over %s", cl->way->name);
	}
}

static void clients_close(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i].fd >= 0)
			close(clients[i].fd);
		clients[i].fd = -1;
	}
}

static void client_read(struct client *cl)
{
	char buf[4096];
	ssize_t n = recv(cl->fd, buf, sizeof buf, MSG_DONTWAIT);

	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	cl->told = lab_now_ns();
	cl->error = n < 0 ? errno : 0;
}

/* Of a writer; whether that told it its end, which is told only once. */
static bool client_write(struct client *cl)
{
	if (cl->kind != WRITES || cl->told ||
	    send(cl->fd, "SET k 1\r\n", 9, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || errno == EAGAIN)
		return false;
	cl->error = errno;
	cl->told = lab_now_ns();
	return true;
}

/* ---- the release, as the old holder's kernel reports it ---- */

static int64_t released[2]; /* VIP4, VIP6 */

static int ear_open(int node)
{
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK,
				 .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
	int fd =
		lab_socket(c->node[node].host, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (bind(fd, (struct sockaddr *)&nl, sizeof nl) < 0)
		lab_fail("rtnetlink: %m");
	return fd;
}

static void ear_read(int fd)
{
	char buf[8192], text[64];
	int64_t now = lab_now_ns();
	ssize_t n = recv(fd, buf, sizeof buf, 0);
	unsigned left = n > 0 ? (unsigned)n : 0;

	for (struct nlmsghdr *m = (struct nlmsghdr *)buf; n > 0 && NLMSG_OK(m, left);
	     m = NLMSG_NEXT(m, left)) {
		struct ifaddrmsg *a = NLMSG_DATA(m);
		int rest = (int)IFA_PAYLOAD(m);

		for (struct rtattr *t = IFA_RTA(a); RTA_OK(t, rest); t = RTA_NEXT(t, rest))
			for (int i = 0; m->nlmsg_type == RTM_DELADDR && i < 2; i++)
				if (t->rta_type == IFA_ADDRESS &&
				    inet_ntop(a->ifa_family, RTA_DATA(t), text, sizeof text) &&
				    strcmp(text, both[i]) == 0)
					released[i] = now;
	}
}

/* Watches the clients and the kernel, and lets the writers write, until all clients were told. */
static void watch(int ear, int timeout_ms)
{
	int64_t until = lab_now_ns() + timeout_ms * MS, write_at = 0;
	int left = CLIENTS;

	memset(released, 0, sizeof released);
	while ((left > 0 || !released[0] || !released[1]) && lab_now_ns() < until) {
		struct pollfd p[CLIENTS + 1] = {{.fd = ear, .events = POLLIN}};

		for (int i = 0; i < CLIENTS; i++)
			p[1 + i] = (struct pollfd){.fd = clients[i].told ? -1 : clients[i].fd,
						   .events = POLLIN};
		poll(p, CLIENTS + 1, WRITE_MS);
		if (p[0].revents)
			ear_read(ear);
		for (int i = 0; i < CLIENTS; i++)
			if (p[1 + i].revents) {
				client_read(&clients[i]);
				left -= clients[i].told != 0;
			}
		if (lab_now_ns() < write_at)
			continue;
		write_at = lab_now_ns() + WRITE_MS * MS;
		for (int i = 0; i < CLIENTS; i++)
			left -= client_write(&clients[i]);
	}
}

static void expect_told(void)
{
	int earliest = 0, latest = 0;

	check(released[0] && released[1], "the old master's host has not released the VIPs");
	for (int i = 0; i < CLIENTS; i++) {
		const struct client *cl = &clients[i];
		int ms = (int)((cl->told - released[strchr(cl->way->address, ':') != NULL]) / MS);

		check(cl->told, "the %s over %s was never told", kind_names[cl->kind],
		      cl->way->name);
		check(cl->error == ECONNRESET, "the %s over %s has read %s", kind_names[cl->kind],
		      cl->way->name, cl->error ? strerror(cl->error) : "an orderly end");
		/* before the address goes; how long before depends on how many sockets there are */
		check(ms >= (cl->kind == WRITES ? -WRITER_MS : -EARLY_MS) && ms <= TOLD_MS,
		      "the %s over %s was told %d ms after the release", kind_names[cl->kind],
		      cl->way->name, ms);
		earliest = ms < earliest ? ms : earliest;
		latest = ms > latest ? ms : latest;
	}
	print_message("told %d to %d ms after the release\n", earliest, latest);
}

/* ---- the tests ---- */

static int settle(void **state)
{
	static bool relayed;

	test_settle(state);
	for (int i = 0; i < c->nodes && !relayed; i++)
		relay_start(c->node[i].host);
	relayed = true;
	clients_connect();
	return 0;
}

static int let_go(void **state)
{
	(void)state;
	clients_close();
	return 0;
}

static void planned(void **state)
{
	int old = cluster_master(c), ear = ear_open(old), now;
	size_t since = mark();

	(void)state;
	cluster_failover(c, old);
	watch(ear, FAILOVER_MS);
	close(ear);
	expect_told();
	expect_line(old, FOLLOW_MS, ", 9 connections closed");
	now = expect_served(old, since);
	clients_close();
	clients_connect(); /* all the same at the new master */
	expect_lines(now, 0, "nobody listens");
}

/*
 * A child of Redis that saves the data inherits its clients, and keeps them when Redis is killed:
 * they wait for somebody who will never answer.
 */
static void killed_while_saving(void **state)
{
	int old = cluster_master(c), ear = ear_open(old);
	const char *ip = c->node[old].ip;
	size_t since = mark();
	pid_t child = 0;

	(void)state;
	freeReplyObject(
		cluster_ask(c, ip, CLUSTER_REDIS_PORT, "CONFIG SET rdb-key-save-delay 60000000"));
	freeReplyObject(cluster_ask(c, ip, CLUSTER_REDIS_PORT, "MSET a 1 b 2 c 3"));
	freeReplyObject(cluster_ask(c, ip, CLUSTER_REDIS_PORT, "BGSAVE"));
	check(LAB_UNTIL(lab_sh(c->node[old].host, &r, "pgrep -P %d", (int)c->node[old].redis) == 0,
			2000),
	      "Redis does not save");
	child = atoi(r.out);
	cluster_redis_kill(c, old);
	watch(ear, FAILOVER_MS);
	close(ear);
	kill(child, SIGKILL);
	expect_told();
	expect_line(old, FOLLOW_MS, ", 9 connections closed");
	expect_served(old, since);
}

/* Stopped, not dead: its kernel keeps the connections alive for as long as it likes. */
static void frozen(void **state)
{
	int old = cluster_master(c), ear = ear_open(old);
	size_t since = mark();

	(void)state;
	kill(c->node[old].redis, SIGSTOP);
	watch(ear, FAILOVER_MS);
	close(ear);
	expect_told();
	expect_served(old, since);
}

static void redis_set(int node, const char *addresses)
{
	redisReply *reply = cluster_ask(c, c->node[node].ip, CLUSTER_REDIS_PORT,
					"CONFIG SET bind %s", addresses);

	check(reply && reply->type == REDIS_REPLY_STATUS, "bind %s: %s", addresses,
	      cluster_word(reply, 0));
	freeReplyObject(reply);
}

/* Redis as it is often found: bound to the address of its host. */
static void bound_elsewhere(void **state)
{
	int master = cluster_master(c), other = (master + 1) % c->nodes;

	(void)state;
	redis_set(master, c->node[master].ip);
	check(call(master, other, master) == 0, "status %d", r.status);
	expect_line(master, 0,
		    "WARNING: nobody listens on " VIP4 " port 6379: see bind in redis.conf");
	log_clear();
	redis_set(master, "* -::*");
	check(call(master, other, master) == 0, "status %d", r.status);
	expect_lines(master, 0, "nobody listens");
}

int cluster_clients_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(planned, settle, let_go),
		cmocka_unit_test_setup_teardown(killed_while_saving, settle, let_go),
		cmocka_unit_test_setup_teardown(frozen, settle, let_go),
		cmocka_unit_test_setup_teardown(bound_elsewhere, settle, let_go),
	};

	test_use(&dual_stack, both);
	return cmocka_run_group_tests_name("clients", tests, NULL, test_end);
}
