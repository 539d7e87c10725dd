/* SPDX-License-Identifier: MIT */
/*
 * A cluster in the laboratory: hosts with a real redis-server and redis-sentinel each, whose
 * client-reconfig-script is the program under test, and a client on the same switch. A node is
 * known by its index.
 *
 * What cannot be started is a failure (lab_fail); what a test wants to judge is returned. One thing
 * is not as in the field: cluster_settle() demotes a former master by hand, for which Sentinel
 * takes ten seconds.
 */
#ifndef CLUSTER_H
#define CLUSTER_H

#include "lab.h"

#include <hiredis/hiredis.h>

#define CLUSTER_MASTER "mymaster"
#define CLUSTER_REDIS_PORT 6379
#define CLUSTER_SENTINEL_PORT 26379
#define CLUSTER_NODES 5     /* at most */
#define CLUSTER_ADDRESSES 4 /* of a host, at most */

struct cluster_setup {
	int nodes;
	int redises; /* 0: Redis on every node; else on that many, and Sentinel only on the rest */
	/*
	 * ADDR/PREFIX each; the first of a node is what Redis and Sentinel announce. Node 0 is the
	 * master at first.
	 */
	const char *addresses[CLUSTER_NODES][CLUSTER_ADDRESSES];
	const char *client[CLUSTER_ADDRESSES];
	const char *vip_config;                 /* the program's configuration, on each node */
	const char *redis;                      /* more lines for each redis.conf, or NULL */
	const char *sentinel;                   /* more lines for each sentinel.conf, or NULL */
	const char *sentinel_of[CLUSTER_NODES]; /* the same for one node only */
	const char *password;                   /* with which cluster_ask() asks the Sentinels */
	bool names;                             /* Redis is known by its host's name */
	int down_after_ms;                      /* 0: 2000 */
};

struct cluster_node {
	struct lab_host *host;
	char ip[64];
	pid_t redis, sentinel; /* 0: does not run; for kill(), with SIGSTOP and SIGCONT above all */
};

struct cluster {
	const struct cluster_setup *setup;
	int nodes, redises;
	struct cluster_node node[CLUSTER_NODES];
	struct lab_host *client;
	struct lab_capture *eyes; /* announcements as they reach the client */
};

/* ---- cluster.c: started, stopped, brought to rest ---- */

/*
 * Returns when the replicas follow and all Sentinels know all. Nobody holds a VIP yet. `setup` must
 * outlive it.
 */
struct cluster *cluster_start(const struct cluster_setup *setup);
void cluster_free(struct cluster *c); /* NULL is fine */

/*
 * Starting what runs already does nothing. Redis starts as a replica of the present master, if that
 * is another node.
 */
void cluster_redis_start(struct cluster *c, int node);
/* Sentinel starts with the configuration that it last wrote. */
void cluster_sentinel_start(struct cluster *c, int node);
/* SIGKILL; what is stopped already stays so. */
void cluster_redis_kill(struct cluster *c, int node);
void cluster_sentinel_kill(struct cluster *c, int node);

/*
 * Thaws and starts whatever does not run, makes every Redis a replica of the master that a majority
 * of the Sentinels names, and waits until all know that. 30 s at most, then it is a failure.
 */
void cluster_settle(struct cluster *c);

/*
 * SENTINEL FAILOVER, asked of the Sentinel of `node`; tried again for 10 s while it finds no good
 * replica.
 */
void cluster_failover(struct cluster *c, int node);

/* How often a Sentinel said since its last start that the script failed. */
int cluster_script_errors(struct cluster *c);

/* Everybody's logs, on stderr, to explain a failure. */
void cluster_print(struct cluster *c);

/* ---- cluster-ask.c: questions ---- */

/*
 * One question to a server, asked from the client; NULL when there was no answer within 300 ms for
 * the connection and the same for the reply. An error reply is a reply. The caller frees it.
 */
redisReply *cluster_ask(struct cluster *c, const char *address, int port, const char *format, ...)
	LAB_PRINTF(4, 5);

/* A word of a reply: of a list the one at `which`, else the reply itself; "" when there is none. */
const char *cluster_word(const redisReply *reply, size_t which);

/* The node with this address or host name, or -1. */
int cluster_index(const struct cluster *c, const char *name);

/*
 * The master as the Sentinel of `node` names it, or as a majority of all Sentinels does; -1 when
 * there is none.
 */
int cluster_says(struct cluster *c, int node);
int cluster_master(struct cluster *c);

/*
 * Who holds the address, by the kernel's dump on every node: a node, or -1 for nobody, -2 for
 * several (or one twice).
 */
int cluster_holder(struct cluster *c, const char *address);

/* Writes through the address, once: the node that acknowledged it, or -1. */
int cluster_write(struct cluster *c, const char *address);

/* Whether Redis on `node` says that it is a replica. */
bool cluster_is_replica(struct cluster *c, int node);

#endif
