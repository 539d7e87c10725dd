/* SPDX-License-Identifier: MIT */
/*
 * sync once more: what fence = majority does to a host that is cut off, what its options change,
 * several masters at once, its exit statuses, and what it costs.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define FENCED "fence = majority\n" COUNCIL_CONFIG

#define is_here() (lab_addr_copies(us, VIP4) == 1)

/* ---- cut off ---- */

static void a_host_that_is_cut_off_releases(void **state)
{
	(void)state;
	lab_config(us, FENCED);
	council_vip(true);
	council_says("A3 - -");
	vip("sync");
	assert_in_range(council_ms(), 2900, 6000 * lab_slow());
	assert_false(is_here());
	expect(1, "mymaster: released " VIP4 " from eth0", "fenced: no majority",
	       PEER4 ":26380: it closed the connection");
	assert_in_range(council[0]->connections, 5, 30); /* asked again, and not without a pause */
	/* now there is nothing to fence, so nothing to wait for */
	vip("sync");
	assert_in_range(council_ms(), 0, 1500 * lab_slow());
	expect(1, "undecided", "not here");
}

/* It is the one that knows of the others: nobody else is asked, however well they are. */
static void the_local_sentinel_is_enough(void **state)
{
	(void)state;
	lab_config(us, FENCED);
	council_vip(true);
	council_says("- A3 A3");
	vip("sync");
	assert_false(is_here());
	expect(1, "mymaster: released " VIP4 " from eth0", "fenced: no majority");
	assert_int_equal(council[1]->connections, 0);
	council_says("A3 A3 A3");
	vip("sync");
	expect(0, "claimed " VIP4);
}

/* Whoever hangs costs his second each time, and no more. */
static void fellows_that_hang_are_no_majority(void **state)
{
	(void)state;
	lab_config(us, FENCED);
	council_vip(true);
	council_says("A3 h h");
	vip("sync");
	assert_in_range(council_ms(), 2900, 6500 * lab_slow());
	assert_false(is_here());
	expect(1, "released", "fenced: ", "it did not answer in time");
}

static void without_fence_it_keeps(void **state)
{
	char *before;

	(void)state;
	council_vip(true);
	before = netns_state();
	council_says("A3 - -");
	vip("sync");
	assert_in_range(council_ms(), 0, 1500 * lab_slow());
	expect(1, "undecided", "the VIP stays here");
	lab_config(us, "fence = no\n" COUNCIL_CONFIG);
	vip("sync");
	assert_in_range(council_ms(), 0, 1500 * lab_slow());
	expect(1, "undecided", "the VIP stays here");
	expect_unchanged(before);
}

static void a_majority_that_comes_back_is_followed(void **state)
{
	(void)state;
	lab_config(us, FENCED);
	council_vip(true);
	council_says("A3 - -");
	council_turn(1, "A3 - -");
	council_turn(2, "A3 A3 -");
	vip("sync");
	assert_in_range(council_ms(), 200, 2500 * lab_slow());
	assert_true(is_here());
	expect_quiet(0);
	council_says("A3 - -");
	council_turn(1, "B4 B4 -");
	vip("sync");
	assert_in_range(council_ms(), 0, 2500 * lab_slow());
	assert_false(is_here());
	expect(0, "released " VIP4, "the master is " PEER4 ":6379");
}

/* A look, that of a person, changes nothing and does not wait. */
static void dry_run_does_not_fence(void **state)
{
	char *before;

	(void)state;
	lab_config(us, FENCED);
	council_vip(true);
	before = netns_state();
	council_says("A3 - -");
	vip("--dry-run", "sync");
	assert_in_range(council_ms(), 0, 1500 * lab_slow());
	expect(1, "undecided");
	expect_unchanged(before);
}

static void each_master_has_its_own_fence(void **state)
{
	(void)state;
	lab_config(us, COUNCIL_CONFIG "fence = majority\n[other]\nvip = 10.0.0.77\n"
				      "[third]\nvip = 10.0.0.78\nfence = majority\n");
	council_vip(true);
	lab_must(us, "ip addr add 10.0.0.77/32 dev eth0");
	council_says("A3 - -");
	vip("sync");
	assert_int_equal(r.status, 1);
	assert_in_range(council_ms(), 2900, 6000 * lab_slow());
	assert_false(is_here());
	assert_int_equal(lab_addr_copies(us, "10.0.0.77"), 1);
	assert_int_equal(lab_log_count(us, "]: mymaster: released"), 1);
	assert_int_equal(lab_log_count(us, "]: other: undecided"), 1);
	assert_int_equal(lab_log_count(us, "]: third: undecided"), 1);
	assert_int_equal(lab_log_count(us, ""), 3);
}

/* ---- options ---- */

static void announce_announces_again(void **state)
{
	char *before;

	(void)state;
	lab_config(us, "refresh = no\n" COUNCIL_CONFIG);
	council_vip(true);
	before = netns_state();
	council_says("A3 A3 A3");
	vip("sync");
	expect_quiet(0);
	expect_silence();
	vip("sync", "--announce");
	expect(0, "announced " VIP4 " on eth0");
	expect_announced(VIP4);
	expect_same_state(before);
}

static void dry_run_tells_and_changes_nothing(void **state)
{
	char *before = netns_state();

	(void)state;
	council_says("A3 A3 A3");
	assert_int_equal(vip("--dry-run", "sync"), 0);
	assert_non_null(strstr(r.out, "would add " VIP4 "/32 on eth0"));
	expect_unchanged(before);
	council_vip(true);
	before = netns_state();
	assert_int_equal(vip("--dry-run", "sync"), 0);
	assert_non_null(strstr(r.out, "nothing to do"));
	assert_int_equal(vip("--dry-run", "sync", "--announce"), 0);
	assert_non_null(strstr(r.out, "would announce " VIP4));
	council_says("B4 B4 B4");
	assert_int_equal(vip("--dry-run", "sync"), 0);
	assert_non_null(strstr(r.out, "would delete " VIP4 "/32 from eth0"));
	assert_int_equal(lab_log_count(us, ""), 0);
	expect_unchanged(before);
	lab_must(us, "! test -e /run/sentinel-vip");
}

/* ---- statuses ---- */

static void statuses(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	vip("sync", "nobody");
	expect(2, "nobody");
	vip("sync", "mymaster", "nobody"); /* nothing is done for the others either */
	expect(2, "nobody");
	assert_false(is_here());
	vip("sync", "--force");
	expect(2, "--force");
	lab_config(us, "interface = eth7\n[mymaster]\nvip = " VIP4 "\n");
	vip("sync");
	expect(1, "interface eth7"); /* it may come */
	lab_config(us, COUNCIL_CONFIG);
	council_says("A3 A3 A3");
	lab_must(us, "ip link set eth0 down");
	council_says("A3"); /* the others cannot be reached */
	vip("sync");
	expect(1, "interface eth0 is down");
	lab_must(us, "ip link set eth0 up");
	lab_config(us, "[mymaster]\nvip = " OUR4 "\n");
	vip("sync");
	expect(2, OUR4 " is a VIP of [mymaster]");
	assert_int_equal(lab_addr_copies(us, OUR4), 1);
}

/* The Sentinel knows some of the masters; each gets its own answer, the worst is the status. */
static void several_masters(void **state)
{
	(void)state;
	lab_config(us, COUNCIL_CONFIG "[other]\nvip = 10.0.0.77\n[third]\nvip = 10.0.0.78\n");
	council_says("A3 A3 A3");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_log_count(us, "claimed"), 3);
	assert_int_equal(lab_log_count(us, ""), 3);
	assert_true(is_here());
	assert_int_equal(lab_addr_copies(us, "10.0.0.77") + lab_addr_copies(us, "10.0.0.78"), 2);
	lab_log_clear(us);
	council_says("A3 A3 A3");
	vip("sync");
	expect_quiet(0);
	for (int i = 0; i < 3; i++) /* all questions on one connection */
		assert_int_equal(council[i]->connections, 1);
	assert_int_equal(fake_heard(council[1], "GET-MASTER-ADDR-BY-NAME other\n"), 1);
	assert_int_equal(fake_heard(council[1], "GET-MASTER-ADDR-BY-NAME third\n"), 1);
	council_says("B4 B4 B4");
	vip("sync", "other");
	expect(0, "other: released 10.0.0.77");
	assert_true(is_here());
	lab_config(us, COUNCIL_CONFIG "[other]\nvip = 10.0.0.77\nsentinel = 127.0.0.1:5\n"
				      "[third]\nvip = 10.0.0.78\n");
	vip("sync");
	assert_int_equal(r.status, 1);
	assert_int_equal(lab_log_count(us, "other: undecided"), 1);
	assert_int_equal(lab_log_count(us, "third: released"), 1);
	assert_int_equal(lab_log_count(us, "mymaster: released"), 1);
}

/* ---- cost ---- */

#define RUNS 20

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* In a child: microseconds of CPU, the median of all runs, on stdout. */
static int measure(void *arg)
{
	int us_of[RUNS];

	(void)arg;
	for (int i = 0; i < RUNS; i++) {
		struct rusage u;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			execl(lab_program(), lab_program(), "sync", (char *)NULL);
			_exit(127);
		}
		if (wait4(pid, &status, 0, &u) != pid || status != 0)
			return 1;
		us_of[i] = (int)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) +
			   1000000 * (int)(u.ru_utime.tv_sec + u.ru_stime.tv_sec);
	}
	qsort(us_of, RUNS, sizeof *us_of, compare);
	printf("%d\n", us_of[RUNS / 2]);
	return fflush(stdout) != 0;
}

/* Under 5 ms, on a machine that is not busy; a busy loop would take tenths of a second. */
static void what_a_run_costs(void **state)
{
	(void)state;
	council_vip(true);
	council_says("A3 A3 A3");
	assert_int_equal(lab_call(us, &r, 20000 * lab_slow(), measure, NULL), 0);
	print_message("a run of sync takes %s us of CPU\n", strtok(r.out, "\n"));
	assert_in_range(atoi(r.out), 100, 50000 * lab_slow() * lab_clock); /* no clock slows that */
}

/* While the Sentinels keep it waiting, too. */
static void waiting_costs_nothing(void **state)
{
	struct rusage before, after;

	(void)state;
	council_vip(true);
	council_says("A3 h h h h");
	getrusage(RUSAGE_CHILDREN, &before);
	vip("sync");
	getrusage(RUSAGE_CHILDREN, &after);
	expect(1, "undecided");
	assert_in_range(after.ru_utime.tv_sec * 1000 + after.ru_utime.tv_usec / 1000 -
				before.ru_utime.tv_sec * 1000 - before.ru_utime.tv_usec / 1000 +
				after.ru_stime.tv_sec * 1000 + after.ru_stime.tv_usec / 1000 -
				before.ru_stime.tv_sec * 1000 - before.ru_stime.tv_usec / 1000,
			0, 150 * lab_slow());
}

int netns_fence_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(a_host_that_is_cut_off_releases),
		test(the_local_sentinel_is_enough),
		test(fellows_that_hang_are_no_majority),
		test(without_fence_it_keeps),
		test(a_majority_that_comes_back_is_followed),
		test(dry_run_does_not_fence),
		test(each_master_has_its_own_fence),
		test(announce_announces_again),
		test(dry_run_tells_and_changes_nothing),
		test(statuses),
		test(several_masters),
		test(what_a_run_costs),
		test(waiting_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
