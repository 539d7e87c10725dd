/* SPDX-License-Identifier: MIT */
/*
 * What the tests of parts share: functions of the program that talk with the kernel or the wire,
 * called directly on a host of a laboratory, while this process looks from the other hosts.
 */
#ifndef PARTS_H
#define PARTS_H

#include "../vip.h"

#include "netns.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The network of this process is the host's, or the laboratory's again. */
void parts_in(const struct lab_host *h);
void parts_out(void);

/* An address that must be one; a link of the host as the program would have it. */
struct ip parts_ip(const char *text);
struct link parts_link(struct lab_host *h, const char *dev);

/* parts-socket.c ----------------------------------------------------------------- */

#define PORT 6379

/* Listens on ADDRESS (of either family; "::" is IPv6 alone, "*" takes both), nonblocking. */
int parts_listener(const struct lab_host *h, const char *address, uint16_t port);

/* A connection with both of its ends. */
struct pair {
	int client, server;
};

/* A socket of the host that has connected; -1 with errno when it could not. */
int parts_client(const struct lab_host *h, const char *address, uint16_t port);
struct pair parts_pair(const struct lab_host *from, int listener, const char *address,
		       uint16_t port);
void parts_close(struct pair *pair);

/* Within MS the client reads a reset; nothing else was there to read. */
bool parts_reset(const struct pair *pair, int ms);
/* A byte goes both ways. */
bool parts_alive(const struct pair *pair);

/* parts-tcp.c, the program's functions on `us`, failing the test on an error -------- */

#define HOLDS_MS 2000	/* the deadline that all but the tests of deadlines give */

size_t parts_count(const char *address);
size_t parts_destroy(const char *address);
bool parts_listens(const char *address, uint16_t port);

/* parts-fault.c: what the kernel is made to say ------------------------------------- */

/* Before libmnl sends a datagram, or asks for one: 0 to go on, or -1 with errno. */
extern int (*parts_on_send)(const void *data, size_t size);
extern int (*parts_on_receive)(void);
/* What it got, or -1 with errno; returns what it is told to have got. */
extern ssize_t (*parts_on_received)(ssize_t size);
int parts_fault_clear(void **state);

/* The groups, run by check-parts.c. */
int parts_frame_tests(void);
int parts_probe_tests(void);
int parts_tcp_tests(void);
int parts_state_tests(void);
int parts_trouble_tests(void);

#define parts_test(f) cmocka_unit_test_setup_teardown(f, netns_setup, parts_teardown)
int parts_teardown(void **state);

#endif
