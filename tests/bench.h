/* SPDX-License-Identifier: MIT */
/*
 * What `make bench` is made of: contests in which contenders take turns, the wire between them and the
 * neighbour, and the tables.  A contest knows nothing of the others; what cannot be measured ends the
 * program (lab_fail), so nothing returns an error.
 */
#ifndef BENCH_H
#define BENCH_H

#include "lab.h"

#include <netinet/in.h>

#define HERE "10.0.0.1"
#define THERE "10.0.0.2"
#define VIP "10.0.0.250"
#define REDIS_PORT 6379

#define OURS_PROGRAM "sentinel-vip"
#define OTHER_PROGRAM "build/bench-other"	/* the same objects, linked the other way */

/* Milliseconds from exec to ... */
enum measure {
	FRAME,		/* the first announcement, as the neighbour's kernel stamps it */
	RESET,		/* the reset, likewise */
	GONE,		/* the host's kernel telling that the VIP is deleted */
	EXIT,		/* the end of the process */
	MEASURES
};

struct contender {
	const char *name;
	const char *program;		/* below the directory that we are started in */
	const char *config;		/* of sentinel-vip, in the host's /run */
	const char *argv[9];
	bool slow;			/* takes part in slow_rounds rounds only */
	bool optional;			/* takes no part where there is but one way to link */
	double *ms[MEASURES];		/* by round; NAN: took no part, INFINITY: waited in vain */
};

/* Those that every contest of releases has. */
#define RELEASE_FLOOR                                                                              \
	{                                                                                          \
		.name = "floor, SOCK_DESTROY alone", .program = "tests/bench-destroy",             \
		.argv = { "bench-destroy", VIP },                                                  \
	}
#define RELEASE_OURS                                                                               \
	{                                                                                          \
		.name = "sentinel-vip, asking Sentinel", .program = OURS_PROGRAM,                  \
		.config = "release.conf",                                                          \
		.argv = { "sentinel-vip", "moved", "observer", "start", HERE, "6379", THERE,       \
			  "6379" },                                                                \
	}
#define RELEASE_SS                                                                                 \
	{                                                                                          \
		.name = "ss -K, ip addr del", .program = "/bin/sh",                                \
		.argv = { "sh", "-c", "ss -K src " VIP " && ip addr del " VIP "/32 dev eth0" },    \
	}

struct contest {
	struct contender *contenders;
	size_t count, rounds, slow_rounds;
};

/* ---- bench.c ---- */

/*
 * Each contender's turns, in an order that rotates; `warm_up` rounds before are not kept.  turn()
 * fills in ms[][round] of what it measures.
 */
void contest_run(struct contest *contest, size_t warm_up,
		 void (*turn)(const struct contender *c, size_t round));

/* ---- bench-wire.c: the laboratory, and a contender's run in it ---- */

struct wire {
	struct lab_host *host, *neighbour;
	struct lab_capture *capture;	/* announcements, on the neighbour's end */
	char ifindex[16], mac[32];	/* of the host's eth0, as text */
	int netlink;			/* of the host's network */
	int watch;			/* the same, tells addresses that come and go; or -1 */
	int null;
	int residents;			/* processes of Redis and Sentinel in the host */
};

extern struct wire wire;

/*
 * CLOCK_REALTIME; gone_ns is 0 when the VIP was not seen to leave, and when wire.watch is not open.
 */
struct times {
	int64_t exec_ns, gone_ns, exit_ns;
};

void wire_make(void);
/* Until now only the address list was of interest; from now on its changes are, too. */
void wire_watch(void);
/* Runs it in the host as Sentinel runs a script, until it ends; it must end well. */
void wire_run(const struct contender *c, struct times *times);
/* Adds the VIP, or takes it away; 0 or -errno of the kernel's. */
int wire_vip(bool add);
/*
 * Takes the VIP away, which must be there, waits until what goes on announcing has seen it, and
 * fails when anything is left of the turn that ends here, or when Sentinel was asked and did not
 * confirm.
 */
void wire_clear(const char *who);

/*
 * A client of the neighbour's at that port of the VIP; *from gets its own port, in network byte
 * order, unless it is NULL.  Fails when it is not let in.
 */
int wire_client(uint16_t port, in_port_t *from);
/* Whether it reads that it was reset: what is not there yet is waited for. */
#define RESET_WAIT_MS 300
bool wire_was_reset(int fd);

/* ---- the contests, each with its tables and its targets ---- */

void claim_bench(size_t rounds, size_t script_rounds);	/* bench-claim.c */
void release_bench(size_t rounds);			/* bench-release.c */
void crowd_bench(size_t rounds);			/* bench-crowd.c */

/* ---- bench-report.c ---- */

/* Claims a ratio, of contenders of one contest. */
struct target {
	const char *claim;
	bool at_most;			/* otherwise at least */
	double bound;
	int over, under;		/* the contenders, by index */
	enum measure what;
};

/* What it all was measured on. */
void report_machine(void);
/* `column` names the base of the ratios.  Who took no part is left out. */
void report_table(const struct contest *contest, const char *title, enum measure what, int base,
		  const char *column);
/* Holds only when both do: the ratio of the medians, and the median of the rounds' ratios. */
void report_target(const struct contest *contest, const struct target *target);
/* Says how many targets were missed, and returns that. */
int report_end(void);

#endif
