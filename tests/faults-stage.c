/* SPDX-License-Identifier: MIT */
/*
 * The hosts of the fault sweep: `us` with the program, `peer` with clients, two Sentinels and eyes;
 * and all that is to stand there before a run. It is made again thousands of times, so without
 * another process.
 */
#include "faults.h"
#include "netns-fake.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUR4 "10.0.0.1"
#define OUR6 "fd00::1"
#define PEER4 "10.0.0.2"
#define PEER6 "fd00::2"

enum { PORT = 6379 };

struct stage stage = {
	.connections =
		{
			{OUR4, false, -1, -1},
			{"10.0.0.250", true, -1, -1},
			{"10.0.0.251", true, -1, -1},
			{"fd00::250", true, -1, -1},
		},
};

static struct fake *sentinels[3];
static int listener = -1;
static struct alloc_shared *allocations;
static char preload[512];

/* ---- connections ---- */

static int make_listener(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int fd = lab_socket(stage.us, AF_INET6, SOCK_STREAM, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 64) < 0)
		lab_fail("listen: %m");
	return fd;
}

void stage_close(struct connection *c)
{
	struct linger now = {.l_onoff = 1};

	/* by a reset, so that nothing waits in the kernel */
	for (int i = 0; i < 2; i++) {
		int *fd = i ? &c->far : &c->near;

		if (*fd >= 0) {
			setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
			close(*fd);
		}
		*fd = -1;
	}
}

static void open_connection(struct connection *c)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)}};
	struct timeval limit = {.tv_sec = 3};

	if (inet_pton(AF_INET6, c->to, &to.in6.sin6_addr) != 1) {
		to.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT)};
		inet_pton(AF_INET, c->to, &to.in.sin_addr);
	}
	c->far = lab_socket(stage.peer, to.any.sa_family, SOCK_STREAM, 0);
	setsockopt(c->far, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(c->far, &to.any, sizeof to) < 0)
		lab_fail("connect to %s: %m", c->to);
	c->near = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (c->near < 0)
		lab_fail("accept: %m");
}

bool stage_was_reset(const struct connection *c)
{
	char byte;

	return recv(c->far, &byte, 1, MSG_DONTWAIT) < 0 ? errno != EAGAIN : true;
}

/* ---- before a point ---- */

static int count_files(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		char full[600];

		snprintf(full, sizeof full, "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			n += 1 + (e->d_type == DT_DIR ? count_files(full) : 0);
	}
	if (d)
		closedir(d);
	return n;
}

void stage_forget_locks(void)
{
	char path[600], full[900];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "%s/sentinel-vip", stage.us->run);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(full, sizeof full, "%s/%s", path, e->d_name);
		unlink(full);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

/* By the program, which leaves an announcer at work. */
static void claim(void)
{
	static struct lab_result r;

	if (lab_vip(stage.us, &r, "claim", "mymaster", NULL) != 0)
		lab_fail("claim: %s", r.err);
	/* the kernel makes an IPv6 address's own route some time later (addrconf_dad_work) */
	lab_sleep_ms(10);
}

void stage_prepare(const struct scene *s, struct state *before)
{
	struct connection *connections = stage.connections;
	struct state now;

	for (struct connection *c = connections + 1; c < connections + STAGE_CONNECTIONS; c++)
		stage_close(c);
	if (s->claimed)
		lab_host_kill(stage.us); /* the announcer of the last time */
	state_make(s->before, PEER4);
	if (s->claimed)
		claim();
	state_read(&now);
	if (before->text[0] && strcmp(before->text, now.text) != 0)
		lab_fail("the state before cannot be had again, expected:\n%s\nhave:\n%s",
			 before->text, now.text);
	*before = now;
	if (connections[0].near < 0)
		open_connection(connections);
	for (struct connection *c = connections + 1; c < connections + STAGE_CONNECTIONS; c++)
		if (strstr(now.text, c->to))
			open_connection(c);
	if (s->fresh)
		stage_forget_locks();
	lab_log_clear(stage.us);
	for (int i = 0; i < 3; i++)
		if (sentinels[i])
			fake_forget(sentinels[i]);
	lab_capture_read(stage.eyes);
	stage.eyes->n = 0;
	state_watch(scene_vips);
}

/* The asking end of the relay: a connection with the words in it. */
static void ask_relay(const struct scene *s, int ends[2])
{
	char packet[1024] = {'s', 'v', 'i', 'p', 1, 'q'};
	size_t n = 8;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		lab_fail("socketpair: %m");
	for (int i = 0; s->argv[i]; i++)
		n += 1 + (size_t)sprintf(packet + n, "%s", s->argv[i]);
	if (send(ends[0], packet, n, 0) != (ssize_t)n)
		lab_fail("send: %m");
}

/* The status that the asking end would end with. */
static int relay_status(int fd, int status)
{
	static char packet[1 << 20];
	ssize_t n;

	while ((n = recv(fd, packet, sizeof packet, MSG_DONTWAIT)) > 0)
		if (n >= 8 && packet[5] == 'v')
			return packet[6];
	/* killed before it had an answer; else "the relay broke off", which is 2 */
	return status > 2 ? status : 2;
}

void stage_run(const struct scene *s, const struct fault *f, bool quick, struct trace *t)
{
	bool alloc = f->kind == FAULT_ALLOC || f->kind == FAULT_ALLOC_LASTING;
	int ends[2] = {-1, -1};
	struct trace_order order = {.host = stage.us,
				    .argv = s->relay ? (const char *const[]){"--serve", NULL}
						     : s->argv,
				    .fault = *f,
				    .quick = quick,
				    .preload = alloc ? preload : NULL,
				    .limit_ms = STAGE_LIMIT_MS,
				    .rest_limit_ms = quick ? 0 : STAGE_REST_MS,
				    .sent = state_watched};

	*allocations = (struct alloc_shared){.process = f->process,
					     .number = f->number,
					     .lasting = f->kind == FAULT_ALLOC_LASTING};
	if (s->relay)
		ask_relay(s, ends);
	order.input = ends[1];
	trace_run(&order, t);
	if (s->relay) {
		t->status = relay_status(ends[0], t->status);
		close(ends[0]);
		close(ends[1]);
	}
	if (alloc)
		t->struck = allocations->struck;
}

void stage_set(const struct scene *s)
{
	lab_config(stage.us,
		   "announce = %s\nsentinel = 127.0.0.1:26379\ninterface = eth0\n"
		   "[other]\nvip = 10.0.0.77\n[mymaster]\n%s",
		   s->claimed ? "0.02 0.1 0.2 0.3" : "0.02", s->keys);
	for (int i = 0; i < 3; i++) {
		struct fake_turn *t;

		if (!sentinels[i])
			continue;
		t = fake_turn(sentinels[i], 0, *s->votes == 'B' ? PEER4 : OUR4, PORT, "3",
			      i ? NULL
				: (const char *const[]){PEER4 " 26380", PEER4 " 26381", NULL});
		t->deaf = t->closes = s->alone && i > 0;
	}
	/* --serve reads no other */
	lab_must(stage.us, "cp -p /run/sentinel-vip.conf /etc/sentinel-vip.conf");
	stage_forget_locks();
}

int stage_files(void)
{
	return count_files(stage.us->run);
}

int stage_allocations(int process)
{
	return allocations->counts[process];
}

void stage_open(bool bridge)
{
	char path[600];
	unsigned char mac[6];
	int fd;

	stage.us = lab_host("us", OUR4 "/24", OUR6 "/64", NULL);
	stage.peer = lab_host("peer", PEER4 "/24", PEER6 "/64", NULL);
	/* an /etc of its own, for the configuration that the relay reads */
	lab_must(stage.us,
		 "mkdir /run/host-etc && for f in passwd group hosts nsswitch.conf ld.so.cache; do "
		 "cp -L /etc/$f /run/host-etc; done && mount --bind /run/host-etc /etc");
	if (bridge)
		lab_must(stage.us, "ip addr flush dev eth0 && ip link set eth0 down && "
				   "ip link set eth0 name port0 && "
				   "ip link add eth0 type bridge stp_state 0 forward_delay 0 && "
				   "ip link set port0 master eth0 up && ip link set eth0 up");
	/* so that no run waits for an answer of ours */
	if (!lab_mac(stage.us, "eth0", mac))
		lab_fail("no MAC");
	for (const char *const *v = (const char *const[]){OUR4, OUR6, "10.0.0.250", "10.0.0.251",
							  "fd00::250", NULL};
	     *v; v++)
		lab_must(stage.peer,
			 "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev eth0 nud "
			 "permanent",
			 *v, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	stage.eyes = lab_capture_announcements(stage.peer, "eth0");
	state_open(stage.us);
	listener = make_listener();
	sentinels[0] = fake_start(stage.us, "127.0.0.1", 26379);
	sentinels[1] = fake_start(stage.peer, PEER4, 26380);
	sentinels[2] = fake_start(stage.peer, PEER4, 26381);
	snprintf(path, sizeof path, "%s/%s", stage.us->run, strrchr(ALLOC_FILE, '/') + 1);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof *allocations) < 0)
		lab_fail("%s: %m", path);
	allocations = mmap(NULL, sizeof *allocations, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (allocations == MAP_FAILED)
		lab_fail("mmap: %m");
	close(fd);
	if (readlink("/proc/self/exe", preload, sizeof preload - 1) < 0)
		lab_fail("/proc/self/exe: %m");
	snprintf(strrchr(preload, '/'), 32, "/faults-alloc.so");
}
