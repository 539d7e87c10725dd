/* SPDX-License-Identifier: MIT */
/*
 * Where somebody sits at a terminal, or systemd's journal hears: who is told what.  The terminal is
 * script(1)'s.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>

#define at_a_terminal(command)                                                                     \
	lab_sh(us, &r, "TERM=xterm script -qec '%s " command "' /dev/null", lab_program())

/* Sentinel's call, typed to see what it does. */
static void a_call_answers_at_a_terminal(void **state)
{
	(void)state;
	lab_config(us, "announce = none\nverify = no\n" CONFIG4);
	at_a_terminal("mymaster leader start " OLD4 " 6379 " OUR4 " 6379");
	assert_int_equal(r.status, 0);
	expect_said("sentinel-vip: mymaster: claimed " VIP4);
	assert_int_equal(lab_log_count(us, "claimed " VIP4), 1);
	sentinel(PEER4);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");	/* Sentinel does not read it */
}

/* A timer has nothing to say where nothing is to be done; a person waits for an answer. */
static void sync_answers_whoever_waits(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	council_vip(true);
	vip("sync");
	expect_quiet(0);
	at_a_terminal("sync");
	assert_int_equal(r.status, 0);
	expect_said("sentinel-vip: mymaster: nothing to do; the master is " OUR4 ":6379, this host");
}

/* What cannot be printed was not shown. */
static void what_would_be_done_cannot_be_printed(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	lab_sh(us, &r, "%s -n sync >/dev/full", lab_program());
	assert_int_equal(r.status, 2);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	vip("-n", "sync");
	assert_int_equal(r.status, 0);
	expect_said("would add " VIP4);
}

/* A unit's standard error leads to where syslog leads as well: said once. */
static void the_journal_hears_it_once(void **state)
{
	(void)state;
	lab_must(us, "JOURNAL_STREAM=$(touch /run/err && stat -c %%d:%%i /run/err) %s claim mymaster "
		     "2>/run/err", lab_program());
	lab_must(us, "test ! -s /run/err");
	expect(0, "claimed " VIP4);
	/* what it inherited may speak of another one */
	lab_must(us, "JOURNAL_STREAM=1:1 %s release mymaster 2>/run/err", lab_program());
	lab_must(us, "grep -q 'sentinel-vip: mymaster: released " VIP4 "' /run/err");
	expect(0, "released " VIP4);
}

int netns_terminal_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(a_call_answers_at_a_terminal),
		test(sync_answers_whoever_waits),
		test(what_would_be_done_cannot_be_printed),
		test(the_journal_hears_it_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
