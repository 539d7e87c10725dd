/* SPDX-License-Identifier: MIT */
/*
 * What Sentinel's call does with what the local Sentinel says: whom it follows, with which status
 * it ends, and what the line says of it. The Sentinel is a fake.
 */
#include "netns-fake.h"
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

#define CONFIG "announce = none\n" CONFIG4
#define QUESTION "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\n"

static struct fake *local;
static struct fake_turn *says; /* what it says */

/* As it is in the field: the Sentinel says what the call says. */
static int setup(void **state)
{
	netns_setup(state);
	lab_config(us, CONFIG);
	local = fake_start(us, "127.0.0.1", 26379);
	says = fake_turn(local, 0, OUR4, 6379, "1", NULL);
	return 0;
}

static int teardown(void **state)
{
	fake_stop_all();
	return netns_teardown(state);
}

static void bind_vip(void)
{
	lab_must(us, "ip addr replace " VIP4 "/32 dev eth0");
}

static void expect_no_word(const char *word)
{
	if (lab_log_count(us, word) > 0) {
		lab_log_print(us);
		fail_msg("\"%s\" is in the line", word);
	}
}

/* ---- it says what the arguments say, or not ---- */

static void arguments_are_right(void **state)
{
	(void)state;
	assert_int_equal(sentinel(OUR4), 0);
	assert_non_null(lab_log_wait(us, "the master is " OUR4 ":6379", 500));
	expect_no_word("unverified");
	expect_no_word("stale");
	expect(0, "claimed " VIP4, "this host, as Sentinel says", "ask ");
	assert_string_equal(local->heard, QUESTION);
	assert_int_equal(local->connections, 1);
	assert_true(lab_took_at_most(&r, 270)); /* nothing to wait for */
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	fake_turn(local, 0, PEER4, 6379, "2", NULL);
	assert_int_equal(sentinel(PEER4), 0);
	expect(0, "released " VIP4, "another host, as Sentinel says");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/* An old call that is replayed must not undo what came after it. */
static void arguments_are_stale(void **state)
{
	(void)state;
	sentinel(PEER4);
	expect(0, "claimed " VIP4, "this host",
	       "arguments are stale: they say " PEER4 ":6379, Sentinel says " OUR4 ":6379");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	fake_turn(local, 0, PEER4, 6379, "2", NULL);
	sentinel(OUR4);
	expect(0, "released " VIP4, "another host",
	       "arguments are stale: they say " OUR4 ":6379, Sentinel says " PEER4 ":6379");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	sentinel(OUR4);
	expect(0, "nothing to do", "arguments are stale");
}

/* What the kernel was asked for meanwhile, as if the arguments were right, does not fit then. */
static void arguments_are_stale_and_the_link_is_elsewhere(void **state)
{
	(void)state;
	lab_config(us, "announce = none\n[mymaster]\nvip = 192.0.2.250\n");
	sentinel(PEER4);
	expect(0, "claimed 192.0.2.250 on eth0", "arguments are stale");
}

static void arguments_have_another_port(void **state)
{
	(void)state;
	fake_turn(local, 0, OUR4, 6380, "1", NULL);
	sentinel(OUR4);
	expect(0, "claimed",
	       "arguments are stale: they say " OUR4 ":6379, Sentinel says " OUR4 ":6380");
	fake_turn(local, 0, "::ffff:" OUR4, 6379, "1", NULL);
	sentinel(OUR4);
	expect(0, "announced", "as Sentinel says");
}

/* Sentinel says a name, the arguments an address, or the other way round. */
static void sentinel_says_a_name(void **state)
{
	(void)state;
	lab_file(us, "etc/hosts", 0644, 0,
		 "127.0.0.1 localhost\n" OUR4 " redis-1\n" PEER4 " redis-2\n");
	fake_turn(local, 0, "redis-1", 6379, "1", NULL);
	sentinel(PEER4);
	expect(0, "claimed", "arguments are stale", "redis-1:6379");
	fake_turn(local, 0, "redis-2", 6379, "1", NULL);
	sentinel("redis-2");
	expect(0, "released", "redis-2:6379, another host, as Sentinel says");
	fake_turn(local, 0, OUR4, 6379, "1", NULL);
	sentinel("redis-1");
	expect(0, "claimed");
	lab_config(us, "announce = none\nself = redis-9\n" CONFIG4);
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	fake_turn(local, 0, "Redis-9", 6379, "1", NULL);
	sentinel(PEER4);
	expect(0, "claimed", "arguments are stale");
}

/* A name that nobody knows: the truth is not known, so nothing is done on the arguments' word. */
static void sentinel_says_a_name_that_nobody_knows(void **state)
{
	char *before;

	(void)state;
	bind_vip();
	before = netns_state();
	fake_turn(local, 0, "redis-7", 6379, "1", NULL);
	sentinel(PEER4);
	assert_in_range(r.status, 1, 2);
	expect(r.status, "redis-7", "/etc/hosts");
	expect_unchanged(before);
}

static void master_is_unknown(void **state)
{
	const char *const unknown[] = {"*-1\r\n", "$-1\r\n", "*0\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		char *before;

		bind_vip();
		before = netns_state();
		fake_format(says, FAKE_ADDRESS, "%s", unknown[i]);
		sentinel(i % 2 ? OUR4 : PEER4);
		expect(2, "mymaster: refused: ", "127.0.0.1:26379 does not know mymaster",
		       "sentinel =");
		expect_unchanged(before);
	}
}

/* ---- it may not say ---- */

static void it_wants_a_password(void **state)
{
	const char *const denials[] = {
		"NOAUTH Authentication required.",
		"WRONGPASS invalid username-password pair or user is disabled.",
		"NOPERM this user has no permissions to run the 'sentinel' command"};

	(void)state;
	for (size_t i = 0; i < sizeof denials / sizeof *denials; i++) {
		char *first = strndup(denials[i], strcspn(denials[i], " "));

		fake_format(says, FAKE_ADDRESS, "-%s\r\n", denials[i]);
		sentinel(i % 2 ? PEER4 : OUR4);
		expect(0, i % 2 ? "released" : "claimed", "WARNING",
		       "unverified: 127.0.0.1:26379: ", first, "sentinel-auth");
		assert_int_equal(lab_addr_copies(us, VIP4), i % 2 ? 0 : 1);
		free(first);
	}
}

static void auth(const char *text)
{
	lab_file(us, "auth", 0600, 0, "%s", text);
	lab_config(us, "sentinel-auth = /run/auth\n" CONFIG);
}

static void it_is_given_the_password(void **state)
{
	(void)state;
	auth("password = open sesame\n");
	sentinel(OUR4);
	expect(0, "claimed", "as Sentinel says");
	assert_string_equal(local->heard, "AUTH open sesame\n" QUESTION);
	fake_forget(local);
	auth("user = vip\npassword = secret\n");
	sentinel(PEER4);
	expect(0, "arguments are stale");
	assert_string_equal(local->heard, "AUTH vip secret\n" QUESTION);
	/* it has none itself, and says so, but answers */
	fake_format(says, FAKE_OTHER,
		    "-ERR AUTH <password> called without any password configured for the default "
		    "user. Are you sure your configuration is correct?\r\n");
	sentinel(PEER4);
	expect(0, "arguments are stale");
}

/* The answer to AUTH is the one that says what is wrong. */
static void the_password_is_wrong(void **state)
{
	(void)state;
	auth("password = sesame\n");
	fake_format(says, FAKE_OTHER, "-WRONGPASS invalid username-password pair\r\n");
	fake_format(says, FAKE_ADDRESS, "-NOAUTH Authentication required.\r\n");
	sentinel(OUR4);
	assert_non_null(lab_log_wait(us, "unverified", 500));
	expect_no_word("sesame");
	expect(0, "claimed", "unverified: 127.0.0.1:26379: WRONGPASS", "sentinel-auth");
}

/* ---- where it is ---- */

static void it_is_elsewhere(void **state)
{
	const struct {
		const char *address;
		int port;
		const char *config;
	} places[] = {
		{"sentinel.sock", 0, "unix:/run/sentinel.sock"},
		{OUR4, 5000, OUR4 ":5000"},
		{OUR6, 5000, "[" OUR6 "]:5000"},
		{"127.0.0.1", 5000, "localhost:5000"},
		{"127.0.0.1", 5001, "watcher:5001"},
	};

	(void)state;
	lab_file(us, "etc/hosts", 0644, 0, "127.0.0.1 watcher\n"); /* localhost needs no entry */
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		struct fake *f = fake_start(us, places[i].address, places[i].port);

		fake_turn(f, 0, i % 2 ? PEER4 : OUR4, 6379, "1", NULL);
		lab_config(us, "sentinel = %s\n" CONFIG, places[i].config);
		sentinel(i % 2 ? OUR4 : PEER4);
		expect(0, i % 2 ? "released" : "claimed", "arguments are stale");
		assert_int_equal(f->connections, 1);
		fake_stop(f);
		sentinel(i % 2 ? PEER4 : OUR4);
		expect(0, i % 2 ? "nothing to do" : "announced", "unverified: ");
	}
	assert_int_equal(local->connections, 0);
}

/* It hangs up on the first that asks, as one does that was restarted meanwhile. */
static void who_hangs_up_is_asked_again(void **state)
{
	(void)state;
	bind_vip();
	fake_turn(local, 0, PEER4, 6379, "1", NULL)->closes = true;
	fake_turn(local, 1, PEER4, 6379, "1", NULL);
	sentinel(OUR4);
	expect(0, "released " VIP4, "arguments are stale");
	assert_int_equal(local->connections, 2);
}

/* A host answers to its masters' names only. */
static void each_master_has_its_own(void **state)
{
	struct fake *other = fake_start(us, "127.0.0.1", 26380);

	(void)state;
	fake_turn(other, 0, PEER4, 6380, "1", NULL);
	lab_config(us, CONFIG "[other]\nvip = 10.0.0.77\nsentinel = 127.0.0.1:26380\n");
	vip("other", "leader", "start", OLD4, "6380", OUR4, "6380");
	expect(0, "]: other: nothing to do", "arguments are stale");
	assert_string_equal(other->heard, "SENTINEL GET-MASTER-ADDR-BY-NAME other\n");
	assert_int_equal(local->connections, 0);
}

/* ---- when it is not to be asked ---- */

static void verify_is_no(void **state)
{
	(void)state;
	lab_config(us, "verify = no\n" CONFIG);
	fake_turn(local, 0, PEER4, 6379, "1", NULL);
	sentinel(OUR4);
	assert_non_null(lab_log_wait(us, "claimed", 500));
	expect_no_word("verified");
	expect(0, "claimed", "this host");
	lab_config(us, "verify = no\ninterface = eth7\n[mymaster]\nvip = " VIP4 "\n");
	sentinel(OUR4);
	expect(2, "eth7");
	/* not even when from and to are the same */
	lab_config(us, "verify = no\n" CONFIG);
	vip("mymaster", "observer", "start", OUR4, "6379", OUR4, "6379");
	expect(0, "announced");
	vip("claim", "mymaster");
	vip("release", "mymaster");
	lab_sleep_ms(50);
	assert_int_equal(local->connections, 0);
}

static void by_hand_nobody_is_asked(void **state)
{
	(void)state;
	fake_turn(local, 0, PEER4, 6379, "1", NULL);
	vip("claim", "mymaster");
	expect(0, "claimed", "by hand");
	lab_sleep_ms(50);
	assert_int_equal(local->connections, 0);
}

static void dry_run_asks_and_changes_nothing(void **state)
{
	char *before;

	(void)state;
	bind_vip();
	before = netns_state();
	fake_turn(local, 0, PEER4, 6379, "1", NULL);
	assert_int_equal(
		vip("--dry-run", "mymaster", "leader", "start", OLD4, "6379", OUR4, "6379"), 0);
	assert_non_null(strstr(r.out, "would delete " VIP4 "/32 from eth0"));
	assert_int_equal(local->connections, 1);
	lab_must(us, "! test -e /run/sentinel-vip");
	fake_format(says, FAKE_ADDRESS, "*-1\r\n");
	assert_int_equal(
		vip("--dry-run", "mymaster", "leader", "start", OLD4, "6379", PEER4, "6379"), 2);
	expect_unchanged(before);
}

/* ---- with which status it ends ---- */

/* Called again it would be checked against Sentinel: only then it may ask to be. */
static void eth1_does_not_work(void)
{
	fake_turn(local, 0, OUR4, 6379, "1", NULL);
	sentinel(OUR4);
	expect(1, "refused: interface eth1 ");
	sentinel(PEER4); /* stale, and the truth cannot be done */
	expect(1, "refused: interface eth1 ", "arguments are stale");
	fake_format(says, FAKE_ADDRESS, "-NOAUTH Authentication required.\r\n");
	sentinel(OUR4);
	expect(2, "refused: interface eth1 ", "unverified");
	fake_format(says, FAKE_ADDRESS, "+what\r\n");
	sentinel(OUR4);
	expect(2, "refused: interface eth1 ", "unverified");
	fake_format(says, FAKE_ADDRESS, "*-1\r\n");
	sentinel(OUR4);
	expect(2, "does not know");
	fake_turn(local, 0, PEER4, 6379, "1", NULL);
	sentinel(OUR4); /* nothing that a missing interface could hinder */
	expect(0, "nothing to do", "arguments are stale");
}

static void transient_when_the_interface_is_missing(void **state)
{
	(void)state;
	lab_config(us, "announce = none\ninterface = eth1\n[mymaster]\nvip = " VIP4 "\n");
	eth1_does_not_work();
}

static void transient_when_the_interface_is_down(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_config(us, "announce = none\ninterface = eth1\n[mymaster]\nvip = " VIP4 "\n");
	lab_must(us, "ip link set eth1 down");
	eth1_does_not_work();
}

/* What does not pass by itself is permanent, whoever said so. */
static void permanent_when_the_config_is_wrong(void **state)
{
	char *before = netns_state();

	(void)state;
	fake_turn(local, 0, VIP4, 6379, "1", NULL);
	sentinel(OUR4);
	expect(2, "refused: ", VIP4 " is a VIP");
	expect_unchanged(before);
	lab_config(us, "announce = none\n[mymaster]\nvip = 192.0.2.250\n");
	lab_must(us, "ip addr add 10.9.9.9/32 dev lo");
	fake_turn(local, 0, "10.9.9.9", 6379, "1", NULL);
	sentinel(OUR4);
	expect(2, "refused: ", "set interface =");
}

/* The kernel does not answer; Sentinel did. */
static void transient_when_the_kernel_is_silent(void **state)
{
	(void)state;
	lab_sh(us, &r,
	       "exec strace -E ASAN_OPTIONS=detect_leaks=0 -qq -o /dev/null -e "
	       "inject=recvmsg:error=ENOBUFS %s mymaster leader "
	       "start " OLD4 " 6379 " OUR4 " 6379",
	       lab_program());
	assert_in_range((r.exit_ns - r.exec_ns) / 1000000, 5000, 15000 * lab_slow());
	expect(1, "mymaster: ", "kernel");
}

int netns_ask_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(arguments_are_right),
		test(arguments_are_stale),
		test(arguments_are_stale_and_the_link_is_elsewhere),
		test(arguments_have_another_port),
		test(sentinel_says_a_name),
		test(sentinel_says_a_name_that_nobody_knows),
		test(master_is_unknown),
		test(it_wants_a_password),
		test(it_is_given_the_password),
		test(the_password_is_wrong),
		test(it_is_elsewhere),
		test(who_hangs_up_is_asked_again),
		test(each_master_has_its_own),
		test(verify_is_no),
		test(by_hand_nobody_is_asked),
		test(dry_run_asks_and_changes_nothing),
		test(transient_when_the_interface_is_missing),
		test(transient_when_the_interface_is_down),
		test(permanent_when_the_config_is_wrong),
		test(transient_when_the_kernel_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
