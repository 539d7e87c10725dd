/* SPDX-License-Identifier: MIT */
/*
 * The claim: time from exec to the first announcement, and to exit.  sentinel-vip takes part as it
 * follows its arguments alone (verify = no) and as it asks Sentinel first, which is its default, over
 * TCP and over a unix socket, and the first two once more linked the other way.  What the loader alone costs is told by the floor that is
 * linked as each of them.
 */
#include "bench.h"

#include <stdio.h>
#include <unistd.h>

#define WARM_UP_ROUNDS 5
#define FRAME_WAIT_MS 2000	/* nothing by then is a failure, not a slow turn */

enum { FLOOR, SAME, OURS, ASKING, ASKING_UNIX, OTHER_FLOOR, OTHER, OTHER_ASKING, SCRIPT, CONTENDERS };

#define FLOORS_ARGUMENTS "bench-floor", wire.ifindex, wire.mac, VIP
#define SENTINELS_ARGUMENTS "mymaster", "leader", "start", THERE, "6379", HERE, "6379"

static struct contender contenders[CONTENDERS] = {
	[FLOOR] = {
		.name = "floor, static",
		.program = "tests/bench-floor",
		.argv = { FLOORS_ARGUMENTS },
	},
	[SAME] = {
		.name = "floor, linked as sentinel-vip",
		.program = "build/bench-floor-same",
		.argv = { FLOORS_ARGUMENTS },
	},
	[OURS] = {
		.name = "sentinel-vip, verify = no",
		.program = OURS_PROGRAM,
		.config = "claim.conf",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
	},
	[ASKING] = {
		.name = "sentinel-vip, asking Sentinel",
		.program = OURS_PROGRAM,
		.config = "claim-asking.conf",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
	},
	[ASKING_UNIX] = {
		.name = "sentinel-vip, on its unix socket",
		.program = OURS_PROGRAM,
		.config = "claim-unix.conf",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
	},
	[OTHER_FLOOR] = {
		.name = "linked the other way: floor",
		.program = "build/bench-floor-other",
		.argv = { FLOORS_ARGUMENTS },
		.optional = true,
	},
	[OTHER] = {
		.name = "linked the other way, verify = no",
		.program = OTHER_PROGRAM,
		.config = "claim.conf",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
		.optional = true,
	},
	[OTHER_ASKING] = {
		.name = "linked the other way, asking",
		.program = OTHER_PROGRAM,
		.config = "claim-asking.conf",
		.argv = { "sentinel-vip", SENTINELS_ARGUMENTS },
		.optional = true,
	},
	[SCRIPT] = {
		.name = "ip, arping -c 3 -A",
		.program = "tests/bench-script.sh",
		.argv = { "bench-script.sh", SENTINELS_ARGUMENTS },
		.slow = true,
	},
};

static const struct target targets[] = {
	{ "first frame: verify = no / floor, at most 1.8", true, 1.8, OURS, FLOOR, FRAME },
	{ "first frame: asking Sentinel / floor, at most 2.0", true, 2.0, ASKING, FLOOR, FRAME },
	{ "first frame: on its unix socket / floor, at most 2.0", true, 2.0, ASKING_UNIX, FLOOR, FRAME },
	{ "first frame: script / verify = no, at least 3", false, 3, SCRIPT, OURS, FRAME },
	{ "first frame: script / asking Sentinel, at least 3", false, 3, SCRIPT, ASKING, FRAME },
	{ "exit: script / asking Sentinel, at least 50", false, 50, SCRIPT, ASKING, EXIT },
};

static void turn(const struct contender *c, size_t round)
{
	const struct lab_frame *frame;
	struct times times;

	wire_run(c, &times);
	frame = lab_capture_wait(wire.capture, 0, lab_is_announcement, VIP, FRAME_WAIT_MS);
	if (!frame)
		lab_fail("%s: no announcement reached the neighbour", c->program);
	c->ms[FRAME][round] = (double)(frame->ns - times.exec_ns) / 1e6;
	c->ms[EXIT][round] = (double)(times.exit_ns - times.exec_ns) / 1e6;
	wire_clear(c->program);
}

void claim_bench(size_t rounds, size_t script_rounds)
{
	struct contest contest = {
		.contenders = contenders,
		.count = CONTENDERS,
		.rounds = rounds,
		.slow_rounds = script_rounds,
	};

	contest_run(&contest, WARM_UP_ROUNDS, turn);
	report_table(&contest, "CLAIM, exec to first frame", FRAME, FLOOR, "x floor");
	report_table(&contest, "CLAIM, exec to exit", EXIT, FLOOR, "x floor");
	printf("(sentinel-vip as make links it: %s; the other way: %s)\n\n",
	       *LINKED_IN ? LINKED_IN " linked in" : "all libraries shared",
	       *LINKED_IN ? "all libraries shared" :
	       *ARCHIVED ? ARCHIVED " linked in" : "none, for want of archives");
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		report_target(&contest, &targets[i]);
}
