/* SPDX-License-Identifier: MIT */
/*
 * The release: time from exec to the reset that an idle client of the VIP gets, to the VIP's end, and
 * to exit.  The client is connected to Redis through the VIP and says nothing; who deletes the address
 * and no more never tells it.  What it waits for in vain is waited for RESET_WAIT_MS.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WARM_UP_ROUNDS 2
#define SLOW_ROUNDS 5
#define ACCEPT_MS 5		/* Redis takes the client in */

enum { FLOOR, OURS, SS, IP, CONTENDERS };

static struct contender contenders[CONTENDERS] = {
	[FLOOR] = RELEASE_FLOOR,
	[OURS] = RELEASE_OURS,
	[SS] = RELEASE_SS,
	[IP] = {
		.name = "ip addr del",
		.program = "/sbin/ip",
		.argv = { "ip", "addr", "del", VIP "/32", "dev", "eth0" },
		.slow = true,
	},
};

static struct lab_capture *capture;	/* of all frames, on the neighbour's end of the wire */

struct tcp_frame {
	struct ether_header ether;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

_Static_assert(sizeof(struct tcp_frame) == 54, "as on the wire, without IP options");

/* From the VIP to the port of the neighbour's, in network byte order. */
static bool is_reset(const struct lab_frame *frame, const void *port)
{
	struct tcp_frame f;

	memcpy(&f, frame->data, sizeof(f));
	return !frame->outgoing && frame->len >= sizeof(f) &&
	       f.ether.ether_type == htons(ETHERTYPE_IP) && f.ip.version == 4 && f.ip.ihl == 5 &&
	       f.ip.protocol == IPPROTO_TCP && f.ip.saddr == inet_addr(VIP) && f.tcp.rst &&
	       f.tcp.dest == *(const in_port_t *)port;
}

/* Says it with a reset, which Redis hears as soon as the VIP is back: no connection is left there. */
static void client_abort(int fd)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0)
		lab_fail("SO_LINGER: %m");
	close(fd);
}

static void turn(const struct contender *c, size_t round)
{
	const struct lab_frame *frame;
	bool floor = c == &contenders[FLOOR];
	struct times times;
	in_port_t port;
	int client;

	if (wire_vip(true) < 0)
		lab_fail("the VIP cannot be added");
	client = wire_client(REDIS_PORT, &port);
	lab_sleep_ms(ACCEPT_MS);
	wire_run(c, &times);
	frame = lab_capture_wait(capture, 0, is_reset, &port, RESET_WAIT_MS);
	if (frame && !wire_was_reset(client))
		lab_fail("%s: a reset arrived, but the client does not read it", c->program);
	if (wire_vip(true) != (floor ? -EEXIST : 0) || (times.gone_ns != 0) == floor)
		lab_fail("%s: the VIP %s", c->program, floor ? "is gone" : "is still there");
	c->ms[RESET][round] = frame ? (double)(frame->ns - times.exec_ns) / 1e6 : INFINITY;
	c->ms[GONE][round] = floor ? NAN : (double)(times.gone_ns - times.exec_ns) / 1e6;
	c->ms[EXIT][round] = (double)(times.exit_ns - times.exec_ns) / 1e6;
	client_abort(client);
	wire_clear(c->program);
	lab_capture_read(capture);
	capture->n = 0;
}

void release_bench(size_t rounds)
{
	struct contest contest = {
		.contenders = contenders,
		.count = CONTENDERS,
		.rounds = rounds,
		.slow_rounds = rounds < SLOW_ROUNDS ? rounds : SLOW_ROUNDS,
	};

	wire_watch();
	capture = lab_capture(wire.neighbour, "eth0");
	contest_run(&contest, WARM_UP_ROUNDS, turn);
	lab_capture_free(capture);
	report_table(&contest, "RELEASE, exec to client's reset", RESET, FLOOR, "x floor");
	report_table(&contest, "RELEASE, exec to VIP gone", GONE, SS, "x ss, ip");
	report_table(&contest, "RELEASE, exec to exit", EXIT, SS, "x ss, ip");
	printf("(never: not within %d ms)\n", RESET_WAIT_MS);
}
