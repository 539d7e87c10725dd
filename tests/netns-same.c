/* SPDX-License-Identifier: MIT */
/*
 * Sentinel's call with from and to the same: this host's Sentinel could not resolve the new
 * master's name, so that it still names the old one. Its fellows are asked, and it is not heard.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)
#define call(address) vip("mymaster", "observer", "start", address, "6379", address, "6379")

static void the_others_are_followed(void **state)
{
	(void)state;
	council_says("B9 A3 A3");
	call(PEER4);
	expect(0, "claimed " VIP4, "the master is " OUR4 ":6379, this host",
	       "from and to are the same");
	assert_true(is_here());
	council_says("A9 C4 C4");
	call(OUR4);
	expect(0, "released " VIP4, "the master is 10.0.0.3:6379", "from and to are the same");
	assert_false(is_here());
	council_says("A9 B3 C4 - -"); /* two of five */
	call(OUR4);
	expect(1, "refused: ", "no majority of the others");
	council_says("A9 B3 C4 C4 -");
	call(OUR4);
	expect(0, "nothing to do", "the master is 10.0.0.3:6379");
}

static void without_the_others_nothing_is_done(void **state)
{
	static const char *const votes[] = {"A9",     "A9 A3",  "A9 B3 -", "A9 B3 C3", "- B3 B3",
					    "A9 ? ?", "A9 ! !", "A9 B3 0", "A9 n n"};

	(void)state;
	for (size_t i = 0; i < sizeof votes / sizeof *votes; i++)
		for (int holds = 0; holds < 2; holds++) {
			council_vip(holds);
			council_says(votes[i]);
			call(holds ? PEER4 : OUR4);
			/* it was asked, so that a replay will be checked */
			expect(*votes[i] == 'A' ? 1 : 2, "from and to are both ",
			       "no majority of the others", "/etc/hosts");
			if (is_here() != (holds == 1))
				fail_msg("\"%s\": the VIP moved", votes[i]);
		}
}

static void it_takes_a_second_at_most(void **state)
{
	(void)state;
	council_vip(true);
	council_says("A9 h h h h");
	call(OUR4);
	assert_in_range(council_ms(), 800, 1700 * lab_slow());
	expect(1, "no majority of the others");
	council_says("h");
	call(OUR4);
	assert_in_range(council_ms(), 400, 1700 * lab_slow());
	expect(2, "no majority of the others");
	assert_true(is_here());
}

/* The interface may come, and Sentinel can be asked: called again it would be right. */
static void it_may_be_called_again(void **state)
{
	(void)state;
	lab_config(us, "interface = eth7\n[mymaster]\nvip = " VIP4 "\n");
	council_says("B9 A3 A3");
	call(PEER4);
	expect(1, "interface eth7");
}

/* Two instances on one host: that is a failover like any other. */
static void another_port_is_not_the_same(void **state)
{
	(void)state;
	council_says("A1");
	vip("mymaster", "leader", "start", OUR4, "6380", OUR4, "6379");
	expect(0, "claimed", "as Sentinel says");
	assert_string_equal(council[0]->heard, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\n");
}

int netns_same_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(the_others_are_followed),      test(without_the_others_nothing_is_done),
		test(it_takes_a_second_at_most),    test(it_may_be_called_again),
		test(another_port_is_not_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
