/* SPDX-License-Identifier: MIT */
/*
 * What is run in the fault sweep: each face, towards here and elsewhere, with what stands on the
 * host before it.
 */
#include "faults.h"

#include <stddef.h>

#define OUR4 "10.0.0.1"
#define OUR6 "fd00::1"
#define PEER4 "10.0.0.2"
#define PEER6 "fd00::2"
#define VIP_A "10.0.0.250"
#define VIP_B "10.0.0.251"
#define VIP_6 "fd00::250"

#define CALL(to) "mymaster", "leader", "start", "10.0.0.9", "6379", to, "6379"
#define KEYS_3 "vip = " VIP_A "\nvip = " VIP_B "/24\nvip = " VIP_6 "\n"

/* The host's own: two addresses of one subnet, another master's VIP; .5 is a secondary. */
#define OWN                                                                                        \
	{OUR4 "/24", false, true}, {"10.0.0.5/24", false, true}, {OUR6 "/64", false, true},        \
	{                                                                                          \
		"10.0.0.77/32", true, false                                                        \
	}

static const struct state_address without[] = {OWN, {NULL, false, false}};
static const struct state_address with[] = {
	OWN,
	{VIP_A "/32", true, false},
	{VIP_A "/24", true, true}, /* somebody's copy */
	{VIP_B "/24", true, true},
	{VIP_6 "/128", true, false},
	{NULL, false, false},
};
/* The VIP came first, so that the host's own address is its secondary. */
static const struct state_address primary[] = {
	{VIP_B "/24", true, true},
	OWN,
	{NULL, false, false},
};
static const struct state_address wrong[] = {
	OWN,
	{VIP_A "/24", true, true},
	{NULL, false, false},
};

const struct scene scenes[] = {
	{.name = "claim",
	 .argv = {"claim", "mymaster"},
	 .votes = "-",
	 .here = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "claim-again",
	 .argv = {"claim", "mymaster"},
	 .votes = "-",
	 .here = true,
	 .before = wrong,
	 .keys = "vip = " VIP_A "\n"},
	{.name = "claim-primary",
	 .argv = {"claim", "mymaster"},
	 .votes = "-",
	 .here = true,
	 .before = primary,
	 .keys = "vip = " VIP_B "\n"},
	{.name = "release",
	 .argv = {"release", "mymaster"},
	 .votes = "-",
	 .before = with,
	 .keys = KEYS_3},
	{.name = "release-primary",
	 .argv = {"release", "mymaster"},
	 .votes = "-",
	 .before = primary,
	 .keys = "vip = " VIP_B "/24\n"},
	{.name = "sync-here",
	 .argv = {"sync", "mymaster"},
	 .votes = "A",
	 .here = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "sync-away",
	 .argv = {"sync", "mymaster"},
	 .votes = "B",
	 .before = with,
	 .keys = KEYS_3},
	{.name = "sync-fenced",
	 .argv = {"sync", "mymaster"},
	 .votes = "A",
	 .alone = true,
	 .before = with,
	 .keys = KEYS_3 "fence = majority\n"},
	{.name = "event-here",
	 .argv = {CALL(OUR4)},
	 .votes = "A",
	 .here = true,
	 .by_sentinel = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "event-away",
	 .argv = {CALL(PEER4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "event-stale",
	 .argv = {CALL(OUR4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .stale = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "serve-here",
	 .argv = {CALL(OUR4)},
	 .votes = "A",
	 .here = true,
	 .by_sentinel = true,
	 .relay = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "serve-away",
	 .argv = {CALL(PEER4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .relay = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "event-soon",
	 .argv = {CALL(PEER4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .claimed = true,
	 .before = without,
	 .keys = KEYS_3},
	{.name = "status",
	 .argv = {"status"},
	 .votes = "A",
	 .here = true,
	 .reads = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "check",
	 .argv = {"check"},
	 .votes = "A",
	 .here = true,
	 .reads = true,
	 .before = with,
	 .keys = KEYS_3},
};
const size_t scene_count = sizeof scenes / sizeof *scenes;

const char *const scene_vips[] = {VIP_A, VIP_B, VIP_6, NULL};
