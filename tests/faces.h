/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the faces that only look share: `status` and `check` on the hosts of a real
 * cluster, in which each test breaks one thing.
 */
#ifndef FACES_H
#define FACES_H

#include "cluster.h"

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define VIP4 "172.16.2.250"
#define VIP6 "fd00:16:2::250"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { A, B, C }; /* the nodes; A is the master in every test */

extern struct cluster *c;
extern struct lab_result r; /* of the last run of the program */

/* ---- check-faces.c: the fixture ---- */

/* As it should be: all run, the VIPs on A and nowhere else, the configuration everywhere. */
int faces_settle(void **state);
#define faces_test(f) cmocka_unit_test_setup(f, faces_settle)

/* The host of a node. */
struct lab_host *faces_host(int node);

/* Runs the program on a node and remembers it in r. */
#define on(node, ...) lab_vip(faces_host(node), &r, __VA_ARGS__, (const char *)NULL)

/* The exit status of the last run, and each of these texts in its standard output. */
#define expect(status, ...)                                                                        \
	faces_expect(__FILE__, __LINE__, status, (const char *const[]){__VA_ARGS__, NULL})
void faces_expect(const char *file, int line, int status, const char *const texts[]);
#define expect_not(text) faces_expect_not(__FILE__, __LINE__, text)
void faces_expect_not(const char *file, int line, const char *text);

/* The MAC of a node's interface, as text. */
const char *faces_mac(int node, const char *dev);

/* Shows the last run, and fails. */
void faces_fail(const char *file, int line, const char *format, ...) LAB_PRINTF(3, 4);

/* A Sentinel of this node that is started by hand, with words before it. */
void faces_restart_sentinel(int node, const char *const before[]);

/* ---- faces-check.c: what check found ---- */

/* There is a line of this level (ok, warning, error) and topic with this text, and a remedy unless
 * it is ok. */
#define expect_finding(level, topic, text) faces_finding(__FILE__, __LINE__, level, topic, text)
void faces_finding(const char *file, int line, const char *level, const char *topic,
		   const char *text);

/* The remedy of the finding that was looked for last. */
const char *faces_remedy(void);

/* The last run found so many, and ended as it must then. */
#define expect_count(errors, warnings) faces_count(__FILE__, __LINE__, errors, warnings)
void faces_count(const char *file, int line, int errors, int warnings);

/* ---- faces-json.c ---- */

/* Whether the text is one JSON value (RFC 8259) and nothing else. */
bool json_valid(const char *text);
/*
 * The value at a path such as "masters.0.name": a string without its escapes, or what stands there.
 * NULL when there is none.
 */
const char *json_at(const char *text, const char *path);

/* ---- the groups ---- */

int faces_parts_tests(void);
int faces_status_tests(void);
int faces_check_tests(void);
int faces_sentinel_tests(void);
int faces_process_tests(void);

#endif
