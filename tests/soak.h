/* SPDX-License-Identifier: MIT */
/*
 * The soak: clusters of real Redis and Sentinel in laboratories (lab.h) that are failed again and
 * again, in ways and at moments that a seed decides, while clients write through the VIPs; and an
 * oracle that says at each quiet point whether all is as it must be. One process is one laboratory
 * with one world in it.
 *
 * What cannot be done to the world is a failure (lab_fail); what the program under test does wrong
 * is a violation, which is reported and counted, and the run goes on.
 */
#ifndef SOAK_H
#define SOAK_H

#include "lab.h"

#include <hiredis/hiredis.h>

enum {
	NODES_MAX = 5,
	MASTERS_MAX = 3,
	VIPS_MAX = MASTERS_MAX + 1,
	CLIENTS = 2,
	ENDS_MAX = NODES_MAX + CLIENTS, /* of cables: the nodes, then the clients */
	REDIS_PORT = 6379,              /* of master 0; the next one's is one more */
	SENTINEL_PORT = 26379,
	PERIOD_MS = 1000, /* between two runs of sync on a host; the timer unit has 5 s */
	QUIET_MS = 3 * PERIOD_MS,
};

/* ---- soak-world.c: the hosts, and what is done to them ---- */

struct vip {
	char address[40];
	int master;
};

struct node {
	struct lab_host *host;
	char ip[20], ip6[20];
	unsigned char mac[6];
	pid_t redis[MASTERS_MAX], sentinel, timer; /* 0: does not run */
	bool redis_frozen[MASTERS_MAX], sentinel_frozen;
	bool off;           /* without power */
	bool hurried;       /* its Sentinel has been told the periods of the soak */
	long log_read;      /* how far into its Sentinel's log */
};

struct world {
	uint64_t seed;
	int nodes, redises, masters, vips;
	bool fence;
	int down_after_ms;
	struct node node[NODES_MAX];
	struct vip vip[VIPS_MAX];
	struct lab_host *client[CLIENTS];
	unsigned char client_mac[CLIENTS][6];
	/* what the switch does to the frames of each end */
	struct {
		bool mute, deaf; /* nothing from it, nothing to it */
		int loss;        /* per cent, to it */
		int side;        /* only those of one side hear each other */
	} cable[ENDS_MAX];
	int64_t began_ns;
	unsigned failovers, tilts, script_errors;
	/* the latest promotion of each master, as the leader of its failover has said it */
	struct {
		int node;
		int64_t ns;
	} promoted[MASTERS_MAX];
};

extern struct world w;

void world_make(uint64_t seed);
struct lab_host *world_end(int end);
int world_ends(void);

void redis_start(int node, int master);
void redis_kill(int node, int master);
void redis_freeze(int node, int master, bool on);
void sentinel_start(int node);
void sentinel_kill(int node);
void sentinel_freeze(int node, bool on);
void timer_start(int node);

/* Whether those that run tell the others what they know. */
void sentinels_publish(bool on);

/* The power fails: all that ran and all addresses are gone; or it is back and the host boots. */
void power(int node, bool on);
/* The interface is set down by hand, or up again; then somebody gives it its addresses back. */
void admin_down(int node, bool down);
/* Makes the switch do what w.cable says. */
void cables(void);
/* What has to be done now and then: news for fresh Sentinels, their logs. */
void world_tick(void);
double world_s(void); /* since the beginning */

/* ---- soak-ask.c: questions ---- */

/* A question to a server of the node, asked on the node itself; NULL: no answer in 300 ms. */
redisReply *ask(int node, int port, const char *format, ...) LAB_PRINTF(3, 4);
const char *word(const redisReply *reply, size_t which);
const char *field(const redisReply *reply, const char *name);
int node_of(const char *ip); /* -1: none */
/* The master as that Sentinel names it, or as a majority of all does; -1. */
int says(int node, int master);
int master_of(int master);

/* ---- soak-watch.c: the kernels' reports and the wires, all the time ---- */

void watch_start(void);
/* The VIP is about to be taken from the node by our own hand: see GRACE_MS. */
void watch_forgive(int node, int vip);
/* Whether the node holds it, by what its kernel has reported. */
bool watch_holds(int node, int vip);
/* Whether it came to the node after that moment and then left again, not by our own hand. */
bool watch_lost(int node, int vip, int64_t since_ns);
/* Whether it came to the node after that moment. */
bool watch_came(int node, int vip, int64_t since_ns);
/* Frames that should not have been sent, since the last call; each is described in `out`. */
unsigned watch_wrong(FILE *out);
/* What came, left and was announced in the last seconds. */
void watch_print(FILE *out, double seconds);
unsigned long watch_frames(void);
/*
 * How often a VIP came to a node, and how many of these were announced later than a claim itself
 * does it, or not at all: repeats and sync mend that before the next quiet point.
 */
unsigned watch_claims(unsigned *late);

/* ---- soak-writer.c: the clients ---- */

struct writer {
	volatile int64_t acked_ns; /* when the last write was acknowledged ... */
	volatile int node;         /* ... and by whom; -1 */
	volatile unsigned long acks;
	volatile int64_t silence_ns; /* the longest */
};

void writers_start(void);
const struct writer *writer_of(int client, int vip);

/* ---- soak-fault.c: the schedule ---- */

/* One step: faults begin, overlap and end; one of them may go on into the next step. */
void faults_run(unsigned step);
/* All is as it was, at once. */
void faults_heal(void);
/* What is still broken, as text; NULL when nothing is. */
const char *faults_lasting(void);
void faults_print(FILE *out); /* the latest ones */
void faults_tally(FILE *out);

/* ---- soak-oracle.c ---- */

/* Waits until the Sentinels agree and the servers follow: ms, or -1 when they do not. */
int oracle_settle(void);
/* Says that they did not. */
void oracle_restless(unsigned step);
/* Whether all Sentinels agree on that master. */
bool oracle_agreed(int master);
/* Waits out the quiet and judges; how many violations were found and reported. */
unsigned oracle_judge(unsigned step);
unsigned oracle_wrong_frames(unsigned step);

#endif
