/* SPDX-License-Identifier: MIT */
/*
 * Answers of Sentinels that are no truth though they look like one, and the other way round: of a
 * Sentinel that knows nobody yet.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)

/* ---- fewer are known than the quorum ---- */

/* A council in which the local one has that quorum. */
static void quorum_is(const char *votes, const char *quorum)
{
	council_says(votes);
	fake_quorum(&council[0]->turn[0], quorum);
}

/* Its file is as it was first written, or it was reset: its own word alone moves nothing. */
static void one_that_knows_nobody_yet(void **state)
{
	(void)state;
	for (int holds = 0; holds < 2; holds++) {
		council_vip(holds);
		quorum_is(holds ? "B0" : "A0", "2");
		vip("sync");
		assert_int_equal(is_here(), holds);
		expect(1, "undecided: too few of its Sentinels are known: 127.0.0.1:26379 knows 1, "
			  "itself included, and its quorum is 2",
		       "started or reset a moment ago", "quorum of sentinel monitor",
		       "127.0.0.1:26379: 10.0.0.", holds ? "the VIP stays here" : "is not here");
	}
	/* then it has heard of the others */
	council_vip(false);
	council_says("B0 A5 A5");
	vip("sync");
	expect(0, "claimed " VIP4);
	assert_true(is_here());
}

static void as_many_as_the_quorum_are_enough(void **state)
{
	static const struct {
		const char *votes, *quorum;
		bool moves;
	} cases[] = {
		{"A3", "1", true},       {"A3 A3", "2", true},     {"A3 A3", "3", false},
		{"A3 A3 A3", "3", true}, {"A3 A3 A3", "4", false}, {"A3 A3 -", "2", true},
		{"A3", "0", true},       {"A3", "2x", true},       {"A3", "", true},
		{"A3", "99999999999999999999", true}, /* no number of a Sentinel's */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		council_vip(false);
		quorum_is(cases[i].votes, cases[i].quorum);
		vip("sync");
		if (is_here() != cases[i].moves || r.status != !cases[i].moves)
			fail_msg("\"%s\", quorum %s: status %d\n%s", cases[i].votes,
				 cases[i].quorum, r.status, r.err);
		lab_log_clear(us);
	}
}

/* Whether a host that hears of nobody is cut off or new cannot be told: it has its 3 seconds. */
static void a_fence_waits_until_it_knows_the_others(void **state)
{
	(void)state;
	lab_config(us, "fence = majority\n" COUNCIL_CONFIG);
	council_vip(true);
	council_says("A3 A3 A3");
	for (int n = 0; n < 3; n++) {
		council_turn(n, "B0");
		fake_quorum(&council[0]->turn[n], "2");
	}
	council_turn(3, "A3 A3 A3");
	vip("sync");
	assert_true(is_here());
	expect_quiet(0);
	quorum_is("B0", "2");
	vip("sync");
	assert_false(is_here());
	expect(1, "released " VIP4, "fenced: too few of its Sentinels are known");
}

int netns_doubt_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(one_that_knows_nobody_yet),
		test(as_many_as_the_quorum_are_enough),
		test(a_fence_waits_until_it_knows_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
