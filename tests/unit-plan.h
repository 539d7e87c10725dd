/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the plan share: a host in the words of the kernel, and the plan
 * as text.
 */
#ifndef UNIT_PLAN_H
#define UNIT_PLAN_H

#include "unit.h"

#include <linux/if_addr.h>
#include <linux/if_arp.h>

enum { LO = 1, ETH0 = 2, ETH1 = 3 };

#define UP (IFF_UP | IFF_LOWER_UP)

/* An address as the kernel holds it. */
#define ADDRESS(text, bits, on, how) \
	{ .ip = unit_ip(text), .prefixlen = (bits), .ifindex = (on), .flags = (how) }

#define VIP(text, bits) { .ip = unit_ip(text), .prefixlen = (bits) }

#define LINK_LO { .ifindex = LO, .name = "lo", .flags = UP | IFF_LOOPBACK, .type = ARPHRD_LOOPBACK }
#define LINK(index, called, how) \
	{ .ifindex = (index), .name = called, .flags = (how), .type = ARPHRD_ETHER, \
	  .mac = { 2, 0, 0, 0, 0, (index) } }

/* Facts of the arrays `addresses` and `links` of the test. */
#define FACTS(configured) \
	{ .addresses = addresses, .address_count = COUNT(addresses), \
	  .links = links, .link_count = COUNT(links), .interface = (configured) }

/* A configuration with this one master. */
#define CONFIG(one) { .masters = (one), .master_count = 1 }

/* What Sentinel's call makes of an address. */
struct truth plan_truth(const char *from, const char *to);

/* A person's word. */
struct truth plan_word(bool here);

/* The plan is made, and its steps are these: "add 10.0.0.250/32 eth0", ...; frees nothing. */
#define expect_plan(config, truth, facts, plan, ...) \
	plan_expect(__FILE__, __LINE__, config, truth, facts, plan, \
		    (const char *const[]){ __VA_ARGS__, NULL })
void plan_expect(const char *file, int line, const struct config *config,
		 const struct truth *truth, const struct facts *facts, struct plan *plan,
		 const char *const steps[]);

/* The plan is refused with this error, and the reason has this part. */
#define expect_refusal(config, truth, facts, error, says) \
	plan_expect_refusal(__FILE__, __LINE__, config, truth, facts, error, says)
void plan_expect_refusal(const char *file, int line, const struct config *config,
			 const struct truth *truth, const struct facts *facts, int error,
			 const char *says);

#endif
