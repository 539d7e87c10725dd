/* SPDX-License-Identifier: MIT */
/*
 * sync when names do not resolve: their time is that of all masters together, and what was heard before
 * it is too old to be announced then.
 */
#include "netns-council.h"

#include <stdio.h>

#define UNHEARD "10.0.0.99" /* no name server is there, and nobody says so */
#define SLOW_PORT 26390
#define SLOW_MASTERS 150

/* Masters that are said to be where no name server tells, before and after one that is here. */
static void slow_masters(int count, const char *master)
{
	static char text[32768];
	int n = snprintf(text, sizeof text, "interface = eth0\nsentinel = 127.0.0.1:%d\n", SLOW_PORT);

	lab_file(us, "etc/resolv.conf", 0644, 0, "nameserver " UNHEARD "\noptions timeout:%d\n", LAB_RESOLVER_S);
	if (count > 0)
		fake_turn(fake_start(us, "127.0.0.1", SLOW_PORT), 0, "slow.example", 6379, "3", NULL);
	for (int i = 0; i < count; i++) {
		if (i == count / 2)
			n += snprintf(text + n, sizeof text - (size_t)n, "%s", master);
		n += snprintf(text + n, sizeof text - (size_t)n, "[slow%d]\nvip = 10.1.%d.%d\n", i, i / 200,
			      i % 200 + 1);
	}
	lab_config(us, "%s%s", text, count == 0 ? master : "");
}

#define HERE "[mymaster]\nsentinel = 127.0.0.1:26379\nvip = " VIP4 "\n"

static void names_have_one_limit_for_all(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	slow_masters(SLOW_MASTERS, HERE);
	vip("sync");
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
	assert_int_equal(r.status, 1);
	assert_non_null(lab_log_wait(us, "slow149: ", 500));
	/* about 2 s; it was 50 ms and more for each, or a second */
	assert_in_range(council_ms(), 0, 6000 * lab_slow());
}

/* What stands is announced again, but not on what the Sentinels said more than 2 s ago. */
static void what_is_old_is_not_announced(void **state)
{
	size_t heard;

	(void)state;
	council_says("A3 A3 h");
	council_vip(true);
	slow_masters(0, HERE);
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_in_range(council_ms(), 900, 2000);
	assert_non_null(lab_capture_wait(eyes, 0, lab_is_arp, VIP4, 500));
	heard = lab_capture_count(eyes, lab_is_arp, VIP4);
	slow_masters(1, HERE);
	vip("sync");
	assert_in_range(council_ms(), 2000, 6000 * lab_slow());
	lab_sleep_ms(200);
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), heard);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

int netns_late_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(names_have_one_limit_for_all),
		test(what_is_old_is_not_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
