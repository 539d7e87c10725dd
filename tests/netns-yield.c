/* SPDX-License-Identifier: MIT */
/*
 * Another host announces the VIP, unasked, long after we did: it has been claimed there since, while
 * we were frozen or cut off, or a stale holder has spoken up. The Sentinels know; where they cannot
 * be asked, who announced last is right. A frozen announcer asks them before it goes on.
 */
#include "netns-council.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define LATER_MS 1300 /* after our claim */
#define ASK_MS 1000   /* that the Sentinels are given */
#define SLACK_MS 600 /* it would go on for longer, and be heard */

static struct lab_host *old;
static struct lab_capture *lips; /* what our eth0 sends */

static int setup(void **state)
{
	council_setup(state);
	old = lab_host("old", OLD4 "/24", NULL);
	lips = lab_capture_announcements(us, "eth0");
	lab_config(us, "announce = 0.2 1.1 1.9 2.2 2.5 3\n" CONFIG4);
	return 0;
}

static int teardown(void **state)
{
	lab_capture_free(lips);
	lab_host_free(old);
	return council_teardown(state);
}

static bool is_sent(const struct lab_frame *f, const void *address)
{
	return f->outgoing && lab_is_arp(f, address);
}

static size_t sent(void)
{
	return lab_capture_count(lips, is_sent, VIP4);
}

static bool is_over(int ms)
{
	return LAB_UNTIL(lab_host_processes(us, NULL) == 0, ms);
}

/* A claim of long ago, since when the Sentinels say this. */
static void claim_then(const char *votes)
{
	council_says("A3 A3 A3");
	sentinel(OUR4);
	assert_int_equal(r.status, 0);
	lab_sleep_ms(LATER_MS);
	council_says(votes);
	lab_log_clear(us);
}

static void expect_no_more(void)
{
	size_t before = sent();

	assert_true(is_over(SLACK_MS));
	assert_int_equal(sent(), before);
}

#define expect_yield(why)                                                                          \
	do {                                                                                       \
		expect_no_more();                                                                  \
		assert_non_null(lab_log_wait(us, why, 0));                                         \
	} while (0)

#define MOVED "mymaster: no longer announced: the Sentinels say that another host is the master"

static void to_the_new_master(void **state)
{
	(void)state;
	claim_then("B4 B4 B4");
	netns_speak(old, true);
	expect_yield(MOVED);
}

/* Ours was frozen together with this host, and has not heard of the failover yet. */
static void whatever_our_own_sentinel_says(void **state)
{
	(void)state;
	claim_then("A3 B4 B4");
	netns_speak(old, true);
	expect_yield(MOVED);
}

/* The one who is master does not fall silent because of one who is not. */
static void not_to_a_stale_holder(void **state)
{
	(void)state;
	lab_must(old, "ip addr add " VIP4 "/32 dev eth0");
	claim_then("A3 A3 A3");
	netns_speak(old, true);
	assert_true(is_over(4000));
	/* first, six repeats, and over what the stale holder has said */
	assert_in_range(sent() / 2, 8, 11);
	assert_non_null(lab_log_wait(us, "still held", 0));
	assert_int_equal(lab_log_count(us, "no longer"), 0);
}

/* However often it speaks up, the Sentinels are left in peace. */
static void asked_once_a_second(void **state)
{
	(void)state;
	claim_then("A3 A3 A3");
	for (int i = 0; i < 20; i++) {
		netns_speak(old, true);
		lab_sleep_ms(47);
	}
	assert_in_range(council[1]->connections, 1, 2);
	assert_true(is_over(4000));
}

static void where_nobody_can_tell(void **state)
{
	static const char *const votes[] = {"B4 - -", "A3 h h", "! ! !"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t before;

		claim_then(votes[i]);
		before = sent();
		netns_speak(old, true);
		if (!is_over(ASK_MS + SLACK_MS))
			fail_msg("%s: it goes on", votes[i]);
		assert_int_equal(sent(), before);
		sentinel(PEER4);
	}
}

static void where_nobody_is_to_be_asked(void **state)
{
	(void)state;
	lab_config(us, "verify = no\nannounce = 0.2 1.1 1.9 2.2 2.5 3\n" CONFIG4);
	claim_then("A3 A3 A3");
	netns_speak(old, true);
	expect_no_more();
	assert_int_equal(council[0]->connections, 0);
}

static void freeze(int ms)
{
	pid_t pid;

	assert_int_equal(lab_host_processes(us, &pid), 1);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	lab_sleep_ms(ms);
	assert_int_equal(kill(pid, SIGCONT), 0);
}

/* It hears of nobody, and would go on where it was stopped. */
static void frozen_over_a_failover(void **state)
{
	size_t before;

	(void)state;
	claim_then("A3 B4 B4");
	before = sent();
	freeze(1700);
	assert_true(is_over(ASK_MS + SLACK_MS));
	assert_int_equal(sent(), before);
	assert_non_null(lab_log_wait(us, MOVED, 0));
}

static void frozen_and_still_right(void **state)
{
	size_t before;

	(void)state;
	claim_then("A3 A3 A3");
	before = sent();
	freeze(1700);
	assert_true(is_over(2000));
	assert_true(sent() > before);
	assert_int_equal(lab_log_count(us, "no longer"), 0);
}

int netns_yield_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(to_the_new_master),
		test(whatever_our_own_sentinel_says),
		test(not_to_a_stale_holder),
		test(asked_once_a_second),
		test(where_nobody_can_tell),
		test(where_nobody_is_to_be_asked),
		test(frozen_over_a_failover),
		test(frozen_and_still_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
