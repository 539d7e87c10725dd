/* SPDX-License-Identifier: MIT */
/*
 * Calls and configurations that must be refused: each ends with 2 and one line that says what and
 * where, and changes nothing. The VIPs are bound beforehand, so that a release by mistake would be
 * seen as well as a claim.
 */
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

static char *before;

static int teardown(void **state)
{
	free(before);
	before = NULL;
	return netns_teardown(state);
}

#define refuse_test(f) cmocka_unit_test_setup_teardown(f, netns_setup, teardown)

static void bind_one(void)
{
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	before = netns_state();
}

#define expect_refused(...)                                                                        \
	do {                                                                                       \
		expect(2, __VA_ARGS__);                                                            \
		expect_unchanged(before);                                                          \
		before = netns_state();                                                            \
	} while (0)

static void master_is_unknown(void **state)
{
	(void)state;
	bind_one();
	vip("nobody", "leader", "start", OLD4, "6379", OUR4, "6379");
	expect_refused("nobody", "/run/sentinel-vip.conf");
	vip("MYMASTER", "leader", "start", OLD4, "6379", PEER4, "6379");
	expect_refused("MYMASTER");
	vip("claim", "nobody");
	assert_non_null(strstr(r.err, "nobody"));
	expect_refused("nobody");
	vip("release", "nobody");
	expect_refused("nobody");
}

static void words_are_too_few_or_too_many(void **state)
{
	(void)state;
	bind_one();
	vip("mymaster", "leader", "start", OLD4, "6379", PEER4);
	expect_refused("7 arguments", "6");
	vip("mymaster", "leader", "start", OLD4, "6379", PEER4, "6379", "more");
	expect_refused("7 arguments", "8");
	lab_vip(us, &r, (const char *)NULL); /* not even a word to report */
	assert_int_equal(r.status, 2);
	assert_non_null(strstr(r.err, "usage: sentinel-vip"));
	expect_unchanged(before);
	before = netns_state();
	vip("release");
	expect_refused("MASTER");
	vip("release", "mymaster", "mymaster");
	expect_refused("release");
	vip("relase", "mymaster");
	expect_refused("--help");
	vip("--dry-runs", "release", "mymaster");
	expect_refused("--dry-runs");
	vip("");
	expect_refused("--help");
}

static void ports_are_none(void **state)
{
	const char *const bad[] = {
		"x", "", "6379x", " 6379", "65536", "+1", "0", "99999999999999999999", "0x18eb"};

	(void)state;
	bind_one();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		vip("mymaster", "leader", "start", OLD4, "6379", PEER4, bad[i]);
		expect_refused("TO-PORT");
		if (strcmp(bad[i], "0") != 0) { /* Sentinel may not know the old one's */
			vip("mymaster", "leader", "start", OLD4, bad[i], PEER4, "6379");
			expect_refused("FROM-PORT");
		}
	}
}

static void names_are_none(void **state)
{
	const char *const bad[] = {"my\nmaster",       "mymaster\n",  "",    "my master",
				   "mymaster\x1b[31m", "../mymaster", "\xff"};

	(void)state;
	bind_one();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		vip(bad[i], "leader", "start", OLD4, "6379", PEER4, "6379");
		assert_null(strchr(r.err, '\x1b'));
		expect_refused("master");
		vip("release", bad[i]);
		assert_null(strchr(r.err, '\x1b'));
		expect_refused("");
	}
}

static void hosts_are_none(void **state)
{
	const char *const bad[] = {"", "10.0.0.2\n", "10.0.0.2 ", "$(id)", "10.0.0.2;", "\xc3\xa4"};

	(void)state;
	bind_one();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sentinel(bad[i]);
		expect_refused("TO-IP");
	}
}

static void arguments_are_huge(void **state)
{
	static char huge[100001];
	const char *words[7] = {"mymaster", "leader", "start", OLD4, "6379", PEER4, "6379"};

	(void)state;
	memset(huge, 'a', sizeof huge - 1);
	bind_one();
	for (size_t i = 0; i < 7; i++) {
		const char *word = words[i];

		if (i == 1 || i == 2)
			continue; /* these decide nothing */
		words[i] = huge;
		vip(words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
		assert_true(strlen(lab_log_wait(us, "", 0)) < 1000);
		expect_refused("aaaa");
		words[i] = word;
	}
	vip("release", huge);
	assert_true(strlen(r.err) < 1000);
	expect_refused("aaaa");
	vip(huge);
	expect_refused("");
}

/* ROLE and STATE decide nothing, whatever they are. */
static void role_and_state_are_free(void **state)
{
	static char huge[100001];

	(void)state;
	memset(huge, 'a', sizeof huge - 1);
	lab_config(us, "announce = none\n" CONFIG4);
	vip("mymaster", huge, "failover\n", OLD4, "6379", OUR4, "6379");
	expect(0, "mymaster: claimed " VIP4);
	vip("mymaster", "", "", OLD4, "6379", PEER4, "6379");
	expect(0, "mymaster: released " VIP4);
}

static void config_has_an_error(void **state)
{
	static const struct {
		const char *text, *where;
	} bad[] = {
		{"# 1\n# 2\n# 3\n[mymaster]\nvip = " VIP4 "\n# 6\nvirtual-ip = " VIP4 "\n",
		 "line 7"},
		{"[mymaster]\nvip = " VIP4 "/33\n", "line 2"},
		{"[mymaster]\nvip = 10.0.0\n", "line 2"},
		{"vip = " VIP4 "\n[mymaster]\nvip = " VIP4 "\n", "line 1"},
		{"[mymaster]\nvip = " VIP4 "\n[other]\nvip = " VIP4 "\n", "line 4"},
		{"[mymaster]\nvip = " VIP6 "\n[other]\nvip = fd00:0::250\n", "line 4"},
		{"[mymaster]\n\ninterface eth0\n", "line 3"},
		{"[mymaster]\nvip = " VIP4 "\nannounce = soon\n", "line 3"},
		{"[mymaster]\nvip = " VIP4 "\n[mymaster]\nvip = 10.0.0.251\n", "line 3"},
		{"[mymaster]\nvip = " VIP4 "\n[other]\n", "[other]"},
		{"[mymaster]\nvip = 127.0.0.2\n", "loopback"},
		{"", "no master"},
	};

	(void)state;
	bind_one();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		lab_config(us, "%s", bad[i].text);
		sentinel(i % 2 ? OUR4 : PEER4);
		expect_refused("/run/sentinel-vip.conf", bad[i].where);
	}
}

static void config_is_missing(void **state)
{
	(void)state;
	bind_one();
	lab_must(us, "rm /run/sentinel-vip.conf");
	sentinel(PEER4);
	expect_refused("/run/sentinel-vip.conf", "is not there");
	lab_must(us, "mkdir /run/sentinel-vip.conf");
	sentinel(PEER4);
	expect_refused("/run/sentinel-vip.conf");
	lab_must(us, "rmdir /run/sentinel-vip.conf && mkfifo /run/sentinel-vip.conf");
	sentinel(PEER4);
	assert_true(lab_took_at_most(&r, 1000));
	expect_refused("/run/sentinel-vip.conf");
}

static void config_is_open_to_others(void **state)
{
	static const struct {
		mode_t mode;
		uid_t owner;
	} bad[] = {{0620, 0}, {0602, 0}, {0666, 0}, {0664, 0}, {0600, 65534}, {0444, 65534}};

	(void)state;
	bind_one();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		lab_file(us, "sentinel-vip.conf", bad[i].mode, bad[i].owner, CONFIG4);
		sentinel(i % 2 ? OUR4 : PEER4);
		expect_refused("/run/sentinel-vip.conf", bad[i].owner ? "chown" : "chmod");
	}
	lab_file(us, "sentinel-vip.conf", 0644, 0, CONFIG4);
	sentinel(PEER4);
	expect(0, "released " VIP4);
}

int netns_refuse_tests(void)
{
	const struct CMUnitTest tests[] = {
		refuse_test(master_is_unknown),       refuse_test(words_are_too_few_or_too_many),
		refuse_test(ports_are_none),          refuse_test(names_are_none),
		refuse_test(hosts_are_none),          refuse_test(arguments_are_huge),
		refuse_test(role_and_state_are_free), refuse_test(config_has_an_error),
		refuse_test(config_is_missing),       refuse_test(config_is_open_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
