/* SPDX-License-Identifier: MIT */
/*
 * A council of fake Sentinels, up to five: the local one on `us`, its fellows on `peer`. What they
 * say is written down in one word each, the local one first:
 *
 *	A3	the master is `us`, config-epoch 3 (B: `peer`, C: a third)
 *	A	the same without an epoch
 *	?	it knows no such master
 *	!	it wants a password
 *	-	it hangs up
 *	h	it hangs
 *	0	the local one lists it with port 0
 *	n	it is listed with a name that does not resolve
 */
#ifndef NETNS_COUNCIL_H
#define NETNS_COUNCIL_H

#include "netns-fake.h"
#include "netns.h"

#define COUNCIL_MAX 5
#define COUNCIL_CONFIG "announce = none\n" CONFIG4

extern struct fake *council[COUNCIL_MAX];

/* The fixture: netns_setup() and a council that nobody has spoken to yet. */
int council_setup(void **state);
int council_teardown(void **state);

/* What they say from now on; or in turn N only, where the turns before it have been said. */
void council_says(const char *votes);
void council_turn(int n, const char *votes);

/* The VIP is bound on `us`, or not. */
void council_vip(bool here);

/* The last run ended with this status, and nobody was told anything. */
#define expect_quiet(status) council_quiet(__FILE__, __LINE__, status)
void council_quiet(const char *file, int line, int status);

/* Milliseconds that the last run took. */
int council_ms(void);

#endif
