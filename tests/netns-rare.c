/* SPDX-License-Identifier: MIT */
/*
 * What Sentinels hardly ever say, and what must follow from it all the same.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A vote whose epoch is no number is none: which of two masters is the newer cannot be told by it. */
static void an_epoch_that_is_no_number(void **state)
{
	static const char *const votes[] = {"A3x A3x A3x", "A18446744073709551616 A3 B3x",
					    "A-1 A3 Ax"};

	(void)state;
	for (size_t i = 0; i < sizeof votes / sizeof *votes; i++) {
		council_says(votes[i]);
		vip("sync");
		expect(1, "undecided", "no epoch");
		assert_int_equal(lab_addr_copies(us, VIP4), 0);
	}
	council_says("A18446744073709551615 A3x A18446744073709551615");
	vip("sync");
	expect(0, "claimed " VIP4);
}

/* Three Sentinels that know it by the same name: that is one question to the resolver, not three. */
static void a_name_is_resolved_once(void **state)
{
	static const char *const fellows[] = {PEER4 " 26380", PEER4 " 26381", NULL};
	struct lab_result opened;

	(void)state;
	lab_file(us, "etc/hosts", 0644, 0, OUR4 " redis-here\n");
	fake_turn(council[0], 0, "redis-here", 6379, "3", fellows);
	fake_turn(council[1], 0, "Redis-Here", 6379, "3", NULL);
	fake_turn(council[2], 0, "redis-here", 6379, "3", NULL);
	/* the leak sanitizer, where it is built in, cannot do its work under strace(1) */
	lab_run(us, &r, 20000,
		(const char *const[]){"strace", "-E", "ASAN_OPTIONS=detect_leaks=0", "-qq", "-f", "-o",
				      "/run/trace", "-e", "trace=openat", lab_program(), "--dry-run",
				      "sync", NULL});
	assert_non_null(strstr(r.out, "would add " VIP4));
	lab_sh(us, &opened, "grep -c '\"/etc/hosts\"' /run/trace");
	assert_int_equal(atoi(opened.out), 1);
}

/* One names this host, one its address: that is one master, whatever those say who do not answer. */
static void a_name_and_an_address_beside_one_that_hangs_up(void **state)
{
	(void)state;
	lab_file(us, "etc/hosts", 0644, 0, "10.0.0.11 redis-here\n");
	lab_must(us, "ip addr add 10.0.0.11/24 dev eth0"); /* another of this host's */
	council_says("A3 A3 A3 - -");
	fake_turn(council[1], 0, "redis-here", 6379, "3", NULL);
	vip("sync");
	expect(0, "claimed " VIP4);
}

int netns_rare_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(an_epoch_that_is_no_number),
		test(a_name_is_resolved_once),
		test(a_name_and_an_address_beside_one_that_hangs_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
