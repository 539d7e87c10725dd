/* SPDX-License-Identifier: MIT */
/*
 * The tests in network namespaces: the program under test ($SENTINEL_VIP) on a host of a
 * laboratory, looked at from outside. One argument chooses tests by name, `*` and `?` allowed,
 * or every Nth group: 1/3, 2/3 and 3/3 are all.
 */
#include "netns.h"

#include <stdio.h>

static void failed(const char *message)
{
	fail_msg("%s", message);
}

static int run(int argc, char **argv)
{
	static int (*const groups[])(void) = {
		netns_state_tests,   netns_primary_tests, netns_facts_tests,  netns_refuse_tests,
		netns_sandbox_tests, netns_wire_tests,    netns_detach_tests, netns_fault_tests,
		netns_ask_tests,     netns_garbage_tests, netns_flood_tests,  netns_same_tests,
		netns_sync_tests,    netns_fence_tests,   netns_overtake_tests, netns_frozen_tests,
		netns_quiet_tests,   netns_event_tests,   netns_conflict_tests, netns_yield_tests,
		netns_follow_tests,  netns_strand_tests,
		netns_reset_tests,   netns_crowd_tests,   netns_hook_tests,    netns_relay_tests,
		netns_relay_trouble_tests, netns_many_tests, netns_rare_tests, netns_line_tests,
		netns_doubt_tests,
		netns_late_tests, netns_meanwhile_tests, netns_check_tests, netns_terminal_tests,
		netns_units_tests,
	};
	size_t which = 1, of = 1;
	int bad = 0;

	if (argc > 1 && (sscanf(argv[1], "%zu/%zu", &which, &of) != 2 || which < 1 || which > of))
		cmocka_set_test_filter(argv[1]);
	lab_on_failure = failed;
	for (size_t i = which - 1; i < sizeof groups / sizeof *groups; i += of)
		bad += groups[i]() != 0;
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
