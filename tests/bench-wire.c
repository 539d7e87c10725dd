/* SPDX-License-Identifier: MIT */
/*
 * The laboratory of the benchmark: a host with Redis and Sentinel, a neighbour with a Redis of its
 * own, and a contender's run in the host.  It refuses to go on when a turn leaves anything behind,
 * since the next one would be measured with it.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_WAIT_MS 30000	/* the script takes 3 s; what runs longer hangs */
#define ALONE_WAIT_MS 3000	/* what an announcer may take to see that the VIP left */
#define SETTLE_MS 5		/* an announcer gets ready; the kernel frees what a turn left */
#define SERVERS_WAIT_MS 10000

struct wire wire = { .netlink = -1, .watch = -1, .null = -1 };

/* ---- the log ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_last[2048];	/* line */
static char log_doubt[2048];	/* the first line of a run that Sentinel did not confirm */

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
		if (!*log_doubt && (strstr(log_last, "unverified") || strstr(log_last, "stale")))
			strcpy(log_doubt, log_last);
		pthread_mutex_unlock(&log_lock);
	}
	return NULL;
}

/* ---- the hosts ---- */

static void redis_start(struct lab_host *h)
{
	lab_file(h, "redis/redis.conf", 0644, 0, "port %d\nbind *\nprotected-mode no\n"
		 "dir /run/redis\nsave \"\"\n", REDIS_PORT);
	lab_spawn(h, "redis.log", (const char *const[]){ "redis-server", "/run/redis/redis.conf",
							 NULL });
}

/*
 * Its masters are this host's Redis, of a VIP that is claimed, and the neighbour's, of one that has
 * moved there.  Neither must ever seem down to it, however busy the machine.
 */
static void sentinel_start(struct lab_host *h)
{
	lab_file(h, "sentinel/sentinel.conf", 0644, 0,
		 "port 26379\nbind 127.0.0.1\nunixsocket /run/sentinel/socket\ndir /run/sentinel\nsentinel announce-ip " HERE "\n"
		 "sentinel monitor mymaster " HERE " %d 1\n"
		 "sentinel down-after-milliseconds mymaster 600000\n"
		 "sentinel monitor moved " THERE " %d 1\n"
		 "sentinel down-after-milliseconds moved 600000\n", REDIS_PORT, REDIS_PORT);
	lab_spawn(h, "sentinel.log", (const char *const[]){ "redis-sentinel",
							    "/run/sentinel/sentinel.conf", NULL });
}

static bool servers_ready(void)
{
	return lab_sh(wire.neighbour, NULL, "redis-cli -h " HERE " ping | grep -q PONG && "
		      "redis-cli ping | grep -q PONG") == 0 &&
	       lab_sh(wire.host, NULL, "redis-cli -p 26379 sentinel get-master-addr-by-name moved | "
		      "grep -q " THERE) == 0;
}

static void servers_start(void)
{
	redis_start(wire.host);
	redis_start(wire.neighbour);
	sentinel_start(wire.host);
	if (!LAB_UNTIL(servers_ready(), SERVERS_WAIT_MS)) {
		lab_sh(wire.host, NULL, "tail -n 20 /run/redis.log /run/sentinel.log >&2");
		lab_fail("Redis and Sentinel did not start within %d s", SERVERS_WAIT_MS / 1000);
	}
	wire.residents = lab_host_processes(wire.host, NULL);
	if (wire.residents != 2)
		lab_fail("%d processes run in the host, not Redis and Sentinel", wire.residents);
}

static void configs_write(void)
{
	static const char vip[] = "vip = " VIP "\ninterface = eth0\n";

	lab_file(wire.host, "claim.conf", 0600, 0, "[mymaster]\n%sverify = no\n", vip);
	lab_file(wire.host, "claim-asking.conf", 0600, 0, "[mymaster]\n%ssentinel = 127.0.0.1:26379\n", vip);
	lab_file(wire.host, "claim-unix.conf", 0600, 0,
		 "[mymaster]\n%ssentinel = unix:/run/sentinel/socket\n", vip);
	lab_file(wire.host, "release.conf", 0600, 0, "[moved]\n%ssentinel = 127.0.0.1:26379\n", vip);
}

void wire_make(void)
{
	struct ifreq request = { .ifr_name = "eth0" };
	unsigned char mac[6];
	pthread_t thread;

	wire.host = lab_host("host", HERE "/24", NULL);
	wire.neighbour = lab_host("neighbour", THERE "/24", NULL);
	wire.capture = lab_capture_announcements(wire.neighbour, "eth0");
	wire.netlink = lab_socket(wire.host, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	wire.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (wire.null < 0 || ioctl(wire.netlink, SIOCGIFINDEX, &request) < 0 ||
	    !lab_mac(wire.host, "eth0", mac))
		lab_fail("the host's interface: %m");
	snprintf(wire.ifindex, sizeof(wire.ifindex), "%d", request.ifr_ifindex);
	snprintf(wire.mac, sizeof(wire.mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		 mac[2], mac[3], mac[4], mac[5]);
	configs_write();
	servers_start();
	if (pthread_create(&thread, NULL, log_drain, NULL) != 0)
		lab_fail("pthread_create");
}

/* Not before it is needed: each change of an address would wake us beside whom we measure. */
void wire_watch(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR };

	if (wire.watch >= 0)
		return;
	wire.watch = lab_socket(wire.host, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (bind(wire.watch, (struct sockaddr *)&address, sizeof(address)) < 0)
		lab_fail("netlink: %m");
}

/* ---- the VIP ---- */

/* Deleting compares no prefix lengths without IFA_ADDRESS: /32 and /24 both go. */
int wire_vip(bool add)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg addr;
		struct rtattr local_head;
		struct in_addr local;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
			.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK |
						  (add ? NLM_F_CREATE | NLM_F_EXCL : 0)),
		},
		.addr = {
			.ifa_family = AF_INET,
			.ifa_prefixlen = 32,
			.ifa_index = (unsigned int)strtoul(wire.ifindex, NULL, 10),
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

void wire_clear(const char *who)
{
	lab_sleep_ms(SETTLE_MS);
	if (wire_vip(false) < 0)
		lab_fail("%s: the host does not hold the VIP", who);
	if (wire_vip(false) != -EADDRNOTAVAIL)
		lab_fail("%s: the VIP is still there after it was deleted", who);
	if (!LAB_UNTIL(lab_host_processes(wire.host, NULL) == wire.residents, ALONE_WAIT_MS))
		lab_fail("%s: %d ms after the VIP left, %d processes run in the host, and %d of them "
			 "are Redis and Sentinel", who, ALONE_WAIT_MS,
			 lab_host_processes(wire.host, NULL), wire.residents);
	pthread_mutex_lock(&log_lock);
	if (*log_doubt)
		lab_fail("%s: Sentinel did not confirm it: %s", who, log_doubt);
	pthread_mutex_unlock(&log_lock);
	lab_sleep_ms(SETTLE_MS);
	lab_capture_read(wire.capture);
	wire.capture->n = 0;
}

/* ---- a run ---- */

/* Reads all that the watch has to say; whether an address left, which can only be the VIP. */
static bool watch_read(void)
{
	char datagram[8192];
	bool left = false;
	ssize_t n;

	while ((n = recv(wire.watch, datagram, sizeof(datagram), 0)) > 0) {
		const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)datagram;

		left |= NLMSG_OK(m, (size_t)n) && m->nlmsg_type == RTM_DELADDR;
	}
	return left;
}

/* As Sentinel starts a script, but for the environment.  Does not return. */
static void child_exec(const struct contender *c, const char *program, const char *const env[],
		       int64_t *exec_ns)
{
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

static void child_wait(pid_t child, const char *who, struct times *times)
{
	struct pollfd p[] = {
		{ .fd = pidfd_open(child, 0), .events = POLLIN },
		{ .fd = wire.watch, .events = POLLIN },
	};
	siginfo_t info = { 0 };

	while (!p[0].revents) {
		int64_t now;

		if (p[0].fd < 0 || poll(p, 2, RUN_WAIT_MS) <= 0)
			lab_fail("%s: it does not end", who);
		now = lab_now_ns();
		if (p[1].revents && watch_read() && times->gone_ns == 0)
			times->gone_ns = now;
		times->exit_ns = now;
	}
	close(p[0].fd);
	if (waitid(P_PID, (id_t)child, &info, WEXITED) < 0)
		lab_fail("%s: %m", who);
	if (info.si_code == CLD_EXITED && info.si_status == 0)
		return;
	lab_sleep_ms(SETTLE_MS);
	pthread_mutex_lock(&log_lock);
	lab_fail("%s: exit status or signal %d; the last line in the log: %s", who, info.si_status,
		 log_last);
}

/*
 * The child borrows our memory until its exec (vfork), so that neither a fork nor the end of a copied
 * address space is measured, and its last act before is to note the time where we can read it.
 */
void wire_run(const struct contender *c, struct times *times)
{
	static char program[PATH_MAX], config[64];
	static const char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", config, "BENCH_SELF=" HERE, "BENCH_VIP=" VIP,
		"BENCH_INTERFACE=eth0", NULL,
	};
	static int64_t exec_ns;
	pid_t child;

	/* A new mount namespace starts at the root directory. */
	if (!realpath(c->program, program))
		lab_fail("%s: %m", c->program);
	snprintf(config, sizeof(config), "SENTINEL_VIP_CONFIG=/run/%s", c->config ? c->config : "");
	if (wire.watch >= 0)
		watch_read();
	child = vfork();
	if (child == 0)
		child_exec(c, program, env, &exec_ns);
	if (child < 0)
		lab_fail("vfork: %m");
	*times = (struct times){ .exec_ns = exec_ns };
	child_wait(child, c->program, times);
}

int wire_client(uint16_t port, in_port_t *from)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = inet_addr(VIP),
	};
	int fd = lab_socket(wire.neighbour, AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(at);

	if (connect(fd, (struct sockaddr *)&at, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &size) < 0)
		lab_fail("a client's connection to the VIP: %m");
	if (from)
		*from = at.sin_port;
	return fd;
}

bool wire_was_reset(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&readable, 1, RESET_WAIT_MS) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0 &&
	       errno == ECONNRESET;
}
