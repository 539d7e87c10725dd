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

/* ---- check-parts.c ---- */

/* The network of this process is the host's, or the laboratory's again. */
void parts_in(const struct lab_host *h);
void parts_out(void);

/* An address that must be one; a link of the host as the program would have it. */
struct ip parts_ip(const char *text);
struct link parts_link(struct lab_host *h, const char *dev);

/* The host has both VIPs. */
void parts_hold_vips(struct lab_host *h);

#define parts_test(f) cmocka_unit_test_setup_teardown(f, netns_setup, parts_teardown)
int parts_teardown(void **state);

/* ---- parts-socket.c: TCP ---- */

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

/* A fixture: `us` has the VIPs and listens on PORT of 0.0.0.0. */
#define door_test(f) cmocka_unit_test_setup_teardown(f, parts_door_setup, parts_door_teardown)
extern int parts_door;
int parts_door_setup(void **state);
int parts_door_teardown(void **state);

/* The program's functions on `us`, failing the test on an error. */
#define HOLDS_MS 2000 /* the deadline that all but the tests of deadlines give */
size_t parts_count(const char *address);
size_t parts_destroy(const char *address);
bool parts_listens(const char *address, uint16_t port);

/* ---- parts-fault.c: between the program and the kernel ---- */

/* Before libmnl sends a datagram, or asks for one: 0 to go on, or -1 with errno. */
extern int (*parts_on_send)(const void *data, size_t size);
extern int (*parts_on_receive)(void);
/* What it got, or -1 with errno; returns what it is told to have got. */
extern ssize_t (*parts_on_received)(ssize_t size);
int parts_fault_clear(void **state);

/* The requests in a datagram on its way to the kernel, or its answers. */
#define for_each_message(header, data, size)                                                       \
	for (struct nlmsghdr *header = (struct nlmsghdr *)data; NLMSG_OK(header, size);            \
	     header = NLMSG_NEXT(header, size))

/* ---- parts-ear.c: probes ---- */

#define ANSWER_MS 100

/* A fixture: a probe is open on `us`, and `old` is a third host. */
#define ear_test(f) cmocka_unit_test_setup_teardown(f, ear_setup, ear_teardown)
extern struct lab_host *old;
extern struct link ear_link; /* where the probe is */
extern int ear;              /* its descriptor */
extern int mouth;            /* a packet socket of the peer's */
int ear_setup(void **state);
int ear_teardown(void **state);

int ear_open(const struct link *link);
void ear_ask(const char *address);
/* The next holder of either VIP that is heard within MS. */
bool ear_hear(struct holder *holder, int ms);
/* Within ANSWER_MS something is there to be heard, whatever it says. */
bool ear_rings(void);
/* Sends a frame as it is from the peer. */
void ear_inject(const void *frame, size_t size);

#define expect_heard(address, mac, ms) ear_expect(__FILE__, __LINE__, address, mac, ms)
void ear_expect(const char *file, int line, const char *address, const unsigned char *mac, int ms);
#define expect_unheard(ms) ear_expect_nobody(__FILE__, __LINE__, ms)
void ear_expect_nobody(const char *file, int line, int ms);

/* ---- the groups, each run by check-parts.c ---- */

int parts_frame_tests(void);
int parts_tcp_tests(void);
int parts_listen_tests(void);
int parts_state_tests(void);
int parts_trouble_tests(void);
int parts_crowd_tests(void);
int parts_probe_tests(void);
int parts_stranger_tests(void);
int parts_hook_tests(void);

#endif
