/* SPDX-License-Identifier: MIT */
/*
 * A relay on the host `us` as a service manager makes it: a socket for one group, and for each
 * connection a process of the program's own with two capabilities and no more. Who asks is in a
 * sandbox like Sentinel's: another user, no capability, no netlink, no packet sockets.
 */
#ifndef NETNS_RELAY_H
#define NETNS_RELAY_H

#include "netns.h"

#define SENTINEL_ID 65501 /* user and group of who asks */
#define SERVER_ID 65502   /* the user that serves; its group is the one above */
#define ASKER "; for uid 65501 (uid 65501), pid "

/* Two hosts as netns_setup(), with CONFIG_BOTH as /etc/sentinel-vip.conf of `us`, and a relay. */
int relay_setup(void **state);
int relay_teardown(void **state);

/* The configuration that is served; who asks cannot read it. */
void relay_config(const char *text);

/* What is done with each connection from now on; the default is to serve it. */
enum relay_manner {
	RELAY_SERVES,
	RELAY_CLOSES,   /* at once, as where the service cannot start */
	RELAY_IS_SILENT /* keeps it open */
};
void relay_start(enum relay_manner manner);
void relay_stop(void); /* and the socket is gone */

/* Runs the program in the sandbox; remembers it in r. */
#define ask(...) relay_ask_as(SENTINEL_ID, (const char *const[]){__VA_ARGS__, NULL})
int relay_ask_as(uid_t id, const char *const words[]);
/* The same, as a user of another group who is in this one, too. */
int relay_ask_in_group(uid_t id, gid_t group, const char *const words[]);
/* The same, but does not wait for it. */
pid_t relay_ask_later(const char *const words[]);

/* A connection of root's, from outside. */
int relay_connect(void);

/* For pgrep -f: a process that serves, under valgrind as well. */
#define RELAY_SERVING "'^([^ ]*sentinel-vip|[^ ]*valgrind.*/program) --serve$'"

/* Processes of `us` that serve or announce have ended. */
bool relay_is_quiet(int timeout_ms);

#define relay_test(f) cmocka_unit_test_setup_teardown(f, relay_setup, relay_teardown)

#endif
