/* SPDX-License-Identifier: MIT */
/*
 * What the tests in network namespaces share: two hosts on a switch, `us` where the program runs
 * and `peer` that watches, new for each test, and the few questions that every test asks.
 */
#ifndef NETNS_H
#define NETNS_H

#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h> /* needs the ones above before it */

#define OUR4 "10.0.0.1"
#define PEER4 "10.0.0.2"
#define OLD4 "10.0.0.9" /* the old master; nobody has it */
#define VIP4 "10.0.0.250"
#define OUR6 "fd00::1"
#define PEER6 "fd00::2"
#define VIP6 "fd00::250"

#define CONFIG4 "interface = eth0\n[mymaster]\nvip = " VIP4 "\n"
#define CONFIG6 "interface = eth0\n[mymaster]\nvip = " VIP6 "\n"
#define CONFIG_BOTH CONFIG4 "vip = " VIP6 "\n"

extern struct lab_host *us, *peer;
extern struct lab_capture *eyes; /* on the peer's eth0 */
extern struct lab_result r;      /* of the last run of the program */

int netns_setup(void **state);
int netns_teardown(void **state);

/* Runs the program on `us` and remembers it in r. */
#define vip(...) lab_vip(us, &r, __VA_ARGS__, (const char *)NULL)

/* Sentinel's call for mymaster: it was OLD4 and is TO now, both on port 6379. */
#define SENTINELS_CALL(to) "mymaster", "leader", "start", OLD4, "6379", to, "6379"
#define sentinel(to) vip(SENTINELS_CALL(to))

/*
 * The last run ended with this status and sent exactly one line to syslog, from this program, with
 * each of these texts in it. Forgets the line.
 */
#define expect(status, ...)                                                                        \
	netns_expect(__FILE__, __LINE__, status, (const char *const[]){__VA_ARGS__, NULL})
void netns_expect(const char *file, int line, int status, const char *const texts[]);

/* The last run printed this. */
#define expect_said(text)                                                                          \
	do {                                                                                       \
		if (strstr(r.out, text) == NULL)                                                   \
			fail_msg("status %d, \"%s\" is not in:\n%s%s", r.status, text, r.out, r.err);                  \
	} while (0)

/* Addresses, routes and links of `us`, as text that the caller frees. */
char *netns_state(void);

/* The state is still what it was, and nothing announces or will. Frees `before`. */
#define expect_unchanged(before) netns_unchanged(__FILE__, __LINE__, before, true)
void netns_unchanged(const char *file, int line, char *before, bool silent);

/* The same but for announcements. */
#define expect_same_state(before) netns_unchanged(__FILE__, __LINE__, before, false)

/* No frame so far, and no process that could send one later. */
#define expect_silence() netns_silence(__FILE__, __LINE__)
void netns_silence(const char *file, int line);

/*
 * At least one announcement of the address arrived at the peer (both forms for IPv4), before the
 * program ended.
 */
#define expect_announced(address) netns_announced(__FILE__, __LINE__, address)
void netns_announced(const char *file, int line, const char *address);

/*
 * A frame of a host that has VIP4: it announces it, unasked, or looks for a neighbour from it.
 */
void netns_speak(struct lab_host *h, bool announces);

/* netns_*.c: the groups, each run by check-netns.c. */
int netns_state_tests(void);
int netns_primary_tests(void);
int netns_line_tests(void);
int netns_late_tests(void);
int netns_meanwhile_tests(void);
int netns_facts_tests(void);
int netns_refuse_tests(void);
int netns_sandbox_tests(void);
int netns_wire_tests(void);
int netns_detach_tests(void);
int netns_fault_tests(void);
int netns_ask_tests(void);
int netns_garbage_tests(void);
int netns_flood_tests(void);
int netns_same_tests(void);
int netns_sync_tests(void);
int netns_many_tests(void);
int netns_fence_tests(void);
int netns_overtake_tests(void);
int netns_frozen_tests(void);
int netns_quiet_tests(void);
int netns_event_tests(void);
int netns_conflict_tests(void);
int netns_yield_tests(void);
int netns_follow_tests(void);
int netns_reset_tests(void);
int netns_strand_tests(void);
int netns_relay_tests(void);
int netns_relay_trouble_tests(void);
int netns_crowd_tests(void);
int netns_hook_tests(void);
int netns_rare_tests(void);
int netns_doubt_tests(void);
int netns_check_tests(void);
int netns_terminal_tests(void);
int netns_units_tests(void);

#define netns_test(f) cmocka_unit_test_setup_teardown(f, netns_setup, netns_teardown)

#endif
