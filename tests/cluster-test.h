/* SPDX-License-Identifier: MIT */
/*
 * What the cluster tests share: the cluster of a group, the state in which each test finds it, and
 * what is expected of it, all of it looked at from outside: the kernel's dump on every host, a
 * capture at the client, the client's neighbour table, and writes through the VIP.
 */
#ifndef CLUSTER_TEST_H
#define CLUSTER_TEST_H

#include "cluster.h"

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * A planned failover takes one second, a dead master down-after and an election, of which the first
 * may be in vain.
 */
#define FAILOVER_MS (20000 * lab_slow())
/* From the Sentinels' agreement to the last observer's call there is one hello period, 2 s. */
#define FOLLOW_MS (5000 * lab_slow())

#define VIP4 "172.16.2.250"
#define VIP6 "fd00:16:2::250"

/* Three hosts and a client as the field has them; the configuration and the rest as needed. */
#define THREE_HOSTS                                                                                \
	.nodes = 3, .addresses = {{"172.16.2.4/24"}, {"172.16.2.2/24"}, {"172.16.2.15/24"}},       \
	.client = {"172.16.2.100/24"}
#define MASTER_AND_VIP "[" CLUSTER_MASTER "]\nvip = " VIP4 "\n"

extern struct cluster *c;             /* the group's; stands from its first test on */
extern const char *const *vips;       /* the group's, NULL at the end */
extern const char *const only_vip4[]; /* the usual ones */
extern struct lab_result r;           /* of the last run of the program by a test */

/* ---- cluster-test.c: the fixture ---- */

/* To be called by a group before its tests: what cluster they want. */
void test_use(const struct cluster_setup *setup, const char *const *addresses);

/* Starts the cluster unless it stands already. */
void test_cluster(void);

/*
 * Whatever the test before left behind: all run, nothing is cut, the configuration is the group's,
 * and the VIPs are bound by hand to the master, as the client knows.
 */
int test_settle(void **state);

/* Ends the cluster; a group's teardown. */
int test_end(void **state);

#define on_cluster(f) cmocka_unit_test_setup(f, test_settle)

#define check(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error(__VA_ARGS__);                                                  \
			print_error("\n");                                                         \
			cluster_print(c);                                                          \
			_fail(__FILE__, __LINE__);                                                 \
		}                                                                                  \
	} while (0)

/* ---- cluster-test.c: what is expected ---- */

/* Where the client's capture stands now. */
size_t mark(void);

/*
 * The master by the Sentinels' majority is another than `old`, and the client is served by it
 * through every VIP.
 */
int expect_served(int old, size_t since);

/* It is served by that node still. */
void expect_still_served(int node);

/* Of all kernels only that one has the VIPs, and no Sentinel complains of its script. */
void expect_sole_holder(int node);

/* Since that mark the client saw announcements of the VIPs from that host only. */
void expect_only_speaker(int node, size_t since);
/* Since that mark the client saw none from that host. */
void expect_silent(int node, size_t since);

/* Nothing of that changes until `done` (if there is one), and for 6 s at least. */
void expect_stays(int node, bool (*done)(int node), int arg);

/* That many of its host's log lines, or at least one within the time, have this text in them. */
void expect_lines(int node, size_t count, const char *text);
void expect_line(int node, int timeout_ms, const char *text);

/* ---- cluster-test.c: things done ---- */

/* The program on a node; remembered in r, the status is returned. */
#define vip(n, ...) lab_vip(c->node[n].host, &r, __VA_ARGS__, (const char *)NULL)

/* Sentinel's call by hand: the master was `from` and is `to`. */
int call(int node, int from, int to);

/* A planned failover, asked of the old master's Sentinel, until all is as it should be. */
int fail_over(void);

/* The value of a name in a reply of names and values in turn; "" when there is none. */
const char *test_field(const redisReply *reply, const char *name);

/* Of the replicas only that one may be promoted, as all Sentinels know; until the next test. */
void promote_only(int node);

/*
 * Whether Sentinels hear each other's news: without, each goes on with what it knows and answers
 * questions as ever. Until the next test.
 */
void sentinels_gossip(bool on);

/* Sets a time of each Sentinel's own, such as "info-period". */
void sentinel_time(const char *which, int ms);

void log_clear(void); /* on every node */

/* ---- cluster-watch.c: what the kernels report ---- */

/* An address came to a node or left it. */
struct move {
	int64_t ns; /* when it was read */
	int node;
	bool came;
	char address[64];
};

/* What the kernels report of the VIPs from the last clear on; each call hears what is new. */
extern struct move *moves;
size_t moves_heard(void);
void moves_clear(void);
void moves_end(void); /* before the cluster ends */

/* How many of the moves are of that kind; NULL is any address. */
size_t moves_count(int node, bool came, const char *address);
void moves_print(void);

/* The longest time in ms, up to now, that several nodes had the address at once. */
int moves_shared_ms(const char *address);

/* Waits until the condition holds, hearing the kernels all the while. */
#define WATCH_UNTIL(cond, ms) LAB_UNTIL((moves_heard(), (cond)), ms)

/*
 * `sync` on a node at once and then again after each pause, as the timer does, until timers_stop();
 * at most one a node.
 */
void timer_start(int node, int pause_ms);
void timers_stop(void);
/* How often it ended with that status. */
int timer_count(int node, int status);

/* ---- the groups, each run by check-cluster.c in a laboratory of its own ---- */

int cluster_failover_tests(void);
int cluster_ipv6_tests(void);
int cluster_replay_tests(void);
int cluster_overlap_tests(void);
int cluster_sync_tests(void);
int cluster_cut_tests(void);
int cluster_storm_tests(void);
int cluster_window_tests(void);
int cluster_names_tests(void);
int cluster_auth_tests(void);
int cluster_council_tests(void);
int cluster_clients_tests(void);

#endif
