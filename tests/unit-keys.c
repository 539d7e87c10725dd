/* SPDX-License-Identifier: MIT */
/* What each key of the configuration takes and refuses. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One key in a section of its own. */
static int set(const char *name, const char *value, struct master *master, struct why *why)
{
	unsigned seen = 0;

	*master = (struct master){ .name = "m" };
	*why = (struct why){ "" };
	return keys_set(name, value, true, &seen, master, why);
}

static void vips_are_read(void **state)
{
	static const struct {
		const char *value, *address;
		unsigned prefixlen;
	} cases[] = {
		{ "172.16.2.250", "172.16.2.250", 32 },
		{ "172.16.2.250/24", "172.16.2.250", 24 },
		{ "172.16.2.250/1", "172.16.2.250", 1 },
		{ "172.16.2.250/32", "172.16.2.250", 32 },
		{ "::ffff:172.16.2.250", "172.16.2.250", 32 },
		{ "fd00::250", "fd00::250", 128 },
		{ "FD00::250/64", "fd00::250", 64 },
		{ "2001:db8::/64", "2001:db8::", 64 },
		{ "10.0.0.0", "10.0.0.0", 32 },	/* a host's: there is no subnet */
		{ "10.0.0.0/31", "10.0.0.0", 31 },	/* RFC 3021 */
		{ "10.0.0.255/31", "10.0.0.255", 31 },
		{ "10.0.0.255/23", "10.0.0.255", 23 },
		{ "10.0.1.0/23", "10.0.1.0", 23 },
		{ "223.255.255.254/24", "223.255.255.254", 24 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip = unit_ip(cases[i].address);
		struct master m;
		struct why why;

		if (set("vip", cases[i].value, &m, &why) < 0)
			fail_msg("%s: %s", cases[i].value, why.text);
		assert_int_equal(m.vip_count, 1);
		assert_true(ip_equal(&m.vips[0].ip, &ip));
		assert_int_equal(m.vips[0].prefixlen, cases[i].prefixlen);
		free(m.vips);
	}
}

static void what_cannot_be_a_vip_is_refused(void **state)
{
	static const struct {
		const char *value, *says;
	} cases[] = {
		{ "", "expected ADDRESS" },
		{ "eth0", "expected ADDRESS" },
		{ "10.0.0.256", "vip = 10.0.0.256: expected ADDRESS or ADDRESS/PREFIX" },
		{ "10.0.0.1 10.0.0.2", "expected ADDRESS" },
		{ "10.0.0.1,10.0.0.2", "expected ADDRESS" },
		{ "10.0.0.1 /24", "expected ADDRESS" },
		{ "/24", "expected ADDRESS" },
		{ "10.0.0.1/", "prefix length \"\": expected 1 to 32" },
		{ "10.0.0.1/0", "prefix length \"0\": expected 1 to 32" },
		{ "10.0.0.1/33", "prefix length \"33\": expected 1 to 32" },
		{ "10.0.0.1/24/24", "prefix length \"24/24\"" },
		{ "10.0.0.1/255.255.255.0", "prefix length \"255.255.255.0\"" },
		{ "10.0.0.1/-1", "prefix length \"-1\"" },
		{ "10.0.0.1/280", "prefix length \"280\"" },	/* 24 in eight bits */
		{ "fd00::1/129", "prefix length \"129\": expected 1 to 128" },
		{ "::ffff:10.0.0.1/128", "prefix length \"128\": expected 1 to 32" },
		{ "127.0.0.1", "loopback" },
		{ "::1", "loopback" },
		{ "0.0.0.0", "not a unicast address" },
		{ "0.1.2.3", "not a unicast address" },
		{ "224.0.0.1", "not a unicast address" },
		{ "239.255.255.255", "not a unicast address" },
		{ "240.0.0.1", "not a unicast address" },
		{ "255.255.255.255", "not a unicast address" },
		{ "::", "not a unicast address" },
		{ "ff02::1", "not a unicast address" },
		{ "fe80::1", "link-local" },
		{ "febf::1/64", "link-local" },
		{ "10.0.0.0/24", "its network's own address" },
		{ "10.0.0.0/30", "its network's own address" },
		{ "10.0.0.255/24", "broadcast address" },
		{ "10.0.0.3/30", "broadcast address" },
		{ "127.255.255.255/1", "loopback" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct master m;
		struct why why;

		if (set("vip", cases[i].value, &m, &why) != -EINVAL)
			fail_msg("%s was taken for a VIP", cases[i].value);
		expect_text(why.text, cases[i].says);
		assert_int_equal(m.vip_count, 0);
	}
}

static void long_values_are_cut_in_the_message_only(void **state)
{
	static const char *const keys[] = { "vip", "interface", "announce" };
	char value[200];
	struct master m;
	struct why why;

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (size_t i = 0; i < COUNT(keys); i++) {
		assert_int_equal(set(keys[i], value, &m, &why), -EINVAL);
		assert_in_range(strlen(why.text), 20, 250);
	}
	memset(value, '1', sizeof(value) - 1);
	memcpy(value, "10.0.0.1/", 9);
	assert_int_equal(set("vip", value, &m, &why), -EINVAL);
	assert_int_equal(set(value, "1", &m, &why), -EINVAL);
	expect_text(why.text, "unknown key");
}

static void interfaces_are_names(void **state)
{
	static const char *const refused[] = { "", "eth0 eth1", "eth0/1", "eth0\teth1" };
	char longest[INTERFACE_SIZE + 1];
	struct master m;
	struct why why;

	(void)state;
	assert_int_equal(set("interface", "eth0", &m, &why), 0);
	assert_string_equal(m.interface, "eth0");
	assert_int_equal(set("interface", "eth0.100@bond:1", &m, &why), 0);
	for (size_t i = 0; i < COUNT(refused); i++) {
		assert_int_equal(set("interface", refused[i], &m, &why), -EINVAL);
		expect_text(why.text, "interface");
	}
	memset(longest, 'e', sizeof(longest));
	longest[INTERFACE_SIZE - 1] = '\0';
	assert_int_equal(set("interface", longest, &m, &why), 0);
	assert_string_equal(m.interface, longest);
	longest[INTERFACE_SIZE - 1] = 'e';
	longest[INTERFACE_SIZE] = '\0';
	assert_int_equal(set("interface", longest, &m, &why), -EINVAL);
}

static void schedules_are_read(void **state)
{
	static const struct {
		const char *value;
		struct schedule is;
	} cases[] = {
		{ "none", { 0, { 0 } } },
		{ "0.2 1.1 2.2 5", { 4, { 200, 1100, 2200, 5000 } } },
		{ "1", { 1, { 1000 } } },
		{ "0.001", { 1, { 1 } } },
		{ "60", { 1, { 60000 } } },
		{ "60.000", { 1, { 60000 } } },
		{ "59.999, 60", { 2, { 59999, 60000 } } },
		{ "1,2,3", { 3, { 1000, 2000, 3000 } } },
		{ "1\t2", { 2, { 1000, 2000 } } },
		{ "0.12 0.123 1.5", { 3, { 120, 123, 1500 } } },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
		  { 16, { 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 11000, 12000,
			  13000, 14000, 15000, 16000 } } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct master m;
		struct why why;

		if (set("announce", cases[i].value, &m, &why) < 0)
			fail_msg("%s: %s", cases[i].value, why.text);
		assert_int_equal(m.announce.count, cases[i].is.count);
		for (unsigned j = 0; j < cases[i].is.count; j++)
			assert_int_equal(m.announce.at_ms[j], cases[i].is.at_ms[j]);
	}
}

static void what_is_no_schedule_is_refused(void **state)
{
	static const struct {
		const char *value, *says;
	} cases[] = {
		{ "", "expected seconds" },
		{ ",", "expected seconds" },
		{ "0", "\"0\": expected seconds" },
		{ "0.000", "\"0.000\": expected seconds" },
		{ "1 0", "\"0\": expected seconds" },
		{ "-1", "\"-1\": expected seconds" },
		{ "1s", "\"1s\": expected seconds" },
		{ ".", "\".\": expected seconds" },
		{ "1.2.3", "\"1.2.3\": expected seconds" },
		{ "0.0005", "\"0.0005\": expected seconds" },
		{ "1.2345", "\"1.2345\": expected seconds" },
		{ "1e1", "\"1e1\": expected seconds" },
		{ "inf", "\"inf\": expected seconds" },
		{ "nan", "\"nan\": expected seconds" },
		{ "60.001", "\"60.001\": expected seconds" },
		{ "61", "up to 60" },
		{ "4294967297", "\"4294967297\": expected seconds" },
		{ "99999999999999999999999", "expected seconds" },
		{ "none 1", "\"none\": expected seconds" },
		{ "1 none", "\"none\": expected seconds" },
		{ "None", "\"None\": expected seconds" },
		{ "2 1", "\"1\" does not come after" },
		{ "1 1", "\"1\" does not come after" },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "more than 16" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct master m;
		struct why why;

		if (set("announce", cases[i].value, &m, &why) != -EINVAL)
			fail_msg("\"%s\" was taken for a schedule", cases[i].value);
		expect_text(why.text, cases[i].says);
	}
}

static void names_of_this_host_add_up(void **state)
{
	struct master m = { .name = "m" };
	unsigned seen = 0;
	struct why why;

	(void)state;
	assert_false(config_is_self(&m, "redis-1"));
	assert_int_equal(keys_set("self", "redis-1 redis-1.example.org", true, &seen, &m, &why), 0);
	assert_int_equal(keys_set("self", "a,b", true, &seen, &m, &why), 0);
	assert_true(config_is_self(&m, "redis-1"));
	assert_true(config_is_self(&m, "REDIS-1.Example.ORG"));
	assert_true(config_is_self(&m, "a"));
	assert_true(config_is_self(&m, "b"));
	assert_false(config_is_self(&m, "redis"));
	assert_false(config_is_self(&m, "redis-11"));
	assert_false(config_is_self(&m, "a,b"));
	assert_false(config_is_self(&m, "org"));
	assert_false(config_is_self(&m, ""));
	assert_false(config_is_self(&m, " "));
	assert_int_equal(keys_set("self", "", true, &seen, &m, &why), -EINVAL);
	expect_text(why.text, "self");
	assert_true(config_is_self(&m, "b"));
	free(m.self);
}

/* Only separators: no name at all, and no name is "". */
static void separators_are_no_names(void **state)
{
	struct master m = { .self = (char *)" , " };

	(void)state;
	assert_false(config_is_self(&m, ""));
	assert_false(config_is_self(&m, ","));
	m.self = (char *)",x";
	assert_true(config_is_self(&m, "x"));
	m.self = (char *)"";
	assert_false(config_is_self(&m, ""));
}

static void keys_have_their_place(void **state)
{
	struct master m = { .name = "m" };
	unsigned seen = 0;
	struct why why;

	(void)state;
	assert_int_equal(keys_set("vip", "10.0.0.1", false, &seen, &m, &why), -EINVAL);
	expect_text(why.text, "belongs in a master's section");
	assert_int_equal(keys_set("interface", "eth0", false, &seen, &m, &why), 0);
	assert_int_equal(keys_set("announce", "1", false, &seen, &m, &why), 0);
	assert_int_equal(keys_set("interface", "eth1", false, &seen, &m, &why), -EINVAL);
	assert_string_equal(why.text, "interface is given twice");
	assert_string_equal(m.interface, "eth0");
	assert_int_equal(keys_set("announce", "2", false, &seen, &m, &why), -EINVAL);
	assert_string_equal(why.text, "announce is given twice");
	seen = 0;		/* a new section */
	assert_int_equal(keys_set("interface", "eth1", true, &seen, &m, &why), 0);
	assert_string_equal(m.interface, "eth1");
}

static void unknown_keys_name_the_known(void **state)
{
	static const char *const unknown[] = { "", "Vip", "vips", "vi", "interface ", "\x1b" };

	(void)state;
	for (size_t i = 0; i < COUNT(unknown); i++) {
		struct master m;
		struct why why;

		assert_int_equal(set(unknown[i], "10.0.0.1", &m, &why), -EINVAL);
		expect_text(why.text, "unknown key \"");
		expect_text(why.text, "known: vip, interface, announce, self");
		assert_null(strchr(why.text, '\x1b'));
	}
}

static void a_failed_allocation_keeps_what_was(void **state)
{
	struct master m = { .name = "m" };
	unsigned seen = 0;
	struct why why;
	long live = fault_live();

	(void)state;
	assert_int_equal(keys_set("vip", "10.0.0.1", true, &seen, &m, &why), 0);
	assert_int_equal(keys_set("self", "a", true, &seen, &m, &why), 0);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(keys_set("vip", "10.0.0.2", true, &seen, &m, &why), -ENOMEM);
	assert_string_equal(why.text, "out of memory");
	assert_int_equal(m.vip_count, 1);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(keys_set("self", "b", true, &seen, &m, &why), -ENOMEM);
	assert_string_equal(m.self, "a");
	free(m.vips);
	free(m.self);
	assert_int_equal(fault_live(), live);
}

/* What is there must be trustworthy; what is not there may come yet. */
static void hooks_are_absolute_paths(void **state)
{
	static const char *const refused[] = { "", "hook", "./hook", "curl https://example.net", "None" };
	const char *path = unit_file("", 0);
	struct master m;
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		assert_int_equal(set("after-claim", refused[i], &m, &why), -EINVAL);
		expect_text(why.text, "after-claim = ");
		expect_text(why.text, "expected the absolute path of a program, or none");
	}
	assert_int_equal(set("after-claim", "/missing/hook", &m, &why), 0);
	assert_string_equal(m.after_claim, "/missing/hook");
	assert_null(m.after_release);
	keys_free(&m);
	assert_int_equal(set("after-release", path, &m, &why), 0);
	assert_string_equal(m.after_release, path);
	assert_null(m.after_claim);
	keys_free(&m);
}

/* A section has the default's, its own, or none. */
static void hooks_are_inherited(void **state)
{
	struct config config;
	struct why why;

	(void)state;
	assert_int_equal(unit_config("after-claim = /a\nafter-release = /b\n[x]\nvip = 10.0.0.1\n"
				     "[y]\nvip = 10.0.0.2\nafter-claim = none\nafter-release = /c\n",
				     &config, &why), 0);
	assert_string_equal(config.masters[0].after_claim, "/a");
	assert_string_equal(config.masters[0].after_release, "/b");
	assert_null(config.masters[1].after_claim);
	assert_string_equal(config.masters[1].after_release, "/c");
	config_free(&config);
}

int unit_keys_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(vips_are_read),
		cmocka_unit_test(what_cannot_be_a_vip_is_refused),
		cmocka_unit_test(long_values_are_cut_in_the_message_only),
		cmocka_unit_test(interfaces_are_names),
		cmocka_unit_test(schedules_are_read),
		cmocka_unit_test(what_is_no_schedule_is_refused),
		cmocka_unit_test(names_of_this_host_add_up),
		cmocka_unit_test(separators_are_no_names),
		cmocka_unit_test(keys_have_their_place),
		cmocka_unit_test(unknown_keys_name_the_known),
		cmocka_unit_test(hooks_are_absolute_paths),
		cmocka_unit_test(hooks_are_inherited),
		cmocka_unit_test_teardown(a_failed_allocation_keeps_what_was, fault_clear),
	};

	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
