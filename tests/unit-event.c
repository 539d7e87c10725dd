/* SPDX-License-Identifier: MIT */
/* Sentinel's seven words, and what is not them. */
#include "unit.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MASTER, ROLE, STATE, FROM_IP, FROM_PORT, TO_IP, TO_PORT, WORDS };

#define GOOD { "mymaster", "leader", "start", "10.0.0.2", "6379", "10.0.0.3", "6380" }

/* A good call with one word replaced. */
static int with(int place, const char *word, struct event *event, struct why *why)
{
	const char *words[WORDS + 1] = GOOD;

	words[place] = word;
	return event_parse(WORDS, (char *const *)words, event, why);
}

static bool fits_with(int place, const char *word)
{
	const char *words[WORDS + 1] = GOOD;

	words[place] = word;
	return event_fits(WORDS, (char *const *)words);
}

static void a_call_is_told_from_a_command(void **state)
{
	const char *words[] = { "mymaster", "leader", "start", "10.0.0.2", "6379", "10.0.0.3",
				"6380", "more", NULL };

	(void)state;
	assert_true(event_fits(7, (char *const *)words));
	assert_false(event_fits(6, (char *const *)words));
	assert_false(event_fits(8, (char *const *)words));
	assert_false(event_fits(0, (char *const *)words));
	assert_true(fits_with(MASTER, "claim"));	/* a master may be called so */
	assert_true(fits_with(MASTER, "--dry-run"));
	assert_true(fits_with(FROM_PORT, "0")); /* Sentinel sends it with an empty FROM-IP */
	assert_false(fits_with(FROM_PORT, "x"));
	assert_false(fits_with(TO_PORT, "0"));
	assert_false(fits_with(TO_PORT, "x"));
	assert_false(fits_with(TO_PORT, ""));
}

static void all_seven_words_arrive(void **state)
{
	struct event event = { 0 };
	struct ip from = unit_ip("10.0.0.2"), to = unit_ip("10.0.0.3");
	struct why why;

	(void)state;
	assert_int_equal(with(ROLE, "leader", &event, &why), 0);
	assert_string_equal(event.master, "mymaster");
	assert_string_equal(event.from.host, "10.0.0.2");
	assert_true(ip_equal(&event.from.ip, &from));
	assert_int_equal(event.from.port, 6379);
	assert_string_equal(event.to.host, "10.0.0.3");
	assert_true(ip_equal(&event.to.ip, &to));
	assert_int_equal(event.to.port, 6380);
}

/* Words of older and of future Sentinels; they decide nothing. */
static void role_and_state_decide_nothing(void **state)
{
	static const char *const roles[] = { "leader", "observer", "", "start", "\n" };
	static const char *const states[] = { "start", "end", "abort", "failover", "", "10.0.0.9" };
	struct event event = { 0 }, usual = { 0 };
	struct why why;

	(void)state;
	assert_int_equal(with(ROLE, "leader", &usual, &why), 0);
	for (size_t i = 0; i < COUNT(roles); i++) {
		assert_int_equal(with(ROLE, roles[i], &event, &why), 0);
		assert_memory_equal(&event, &usual, sizeof(event));
	}
	for (size_t i = 0; i < COUNT(states); i++) {
		assert_int_equal(with(STATE, states[i], &event, &why), 0);
		assert_memory_equal(&event, &usual, sizeof(event));
	}
}

static void addresses_come_in_many_spellings(void **state)
{
	static const struct {
		const char *text, *is;
	} cases[] = {
		{ "::ffff:10.0.0.3", "10.0.0.3" }, { "FD00:0:0::0003", "fd00::3" },
		{ "fd00::3", "fd00::3" }, { "redis-3", "" }, { "redis-3.example.org.", "" },
		{ "fe80::1%eth0", "" }, { "redis_3", "" }, { "010.0.0.3", "" },
	};
	struct event event;
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip is = unit_ip(cases[i].is);

		assert_int_equal(with(TO_IP, cases[i].text, &event, &why), 0);
		assert_string_equal(event.to.host, cases[i].text);
		assert_int_equal(event.to.ip.family, is.family);
		assert_true(is.family == AF_UNSPEC || ip_equal(&event.to.ip, &is));
	}
}

static void the_old_master_may_be_unresolved(void **state)
{
	struct event event;
	struct why why;

	(void)state;
	assert_int_equal(with(FROM_IP, "", &event, &why), 0);
	assert_string_equal(event.from.host, "");
	assert_int_equal(event.from.ip.family, AF_UNSPEC);
	assert_int_equal(with(FROM_PORT, "0", &event, &why), 0);
	assert_int_equal(event.from.port, 0);
}

static void what_sentinel_would_not_send_is_refused(void **state)
{
	static const struct {
		int place;
		const char *word, *says;
	} cases[] = {
		{ MASTER, "", "cannot be a master's name" },
		{ MASTER, "my master", "\"my master\" cannot be a master's name" },
		{ MASTER, "a\nb", "\"a\\x0ab\" cannot be a master's name" },
		{ MASTER, "../etc/passwd", "cannot be a master's name" },
		{ MASTER, "\xc3\xbc", "cannot be a master's name" },
		{ FROM_IP, "10.0.0.2 ", "FROM-IP \"10.0.0.2 \" is neither" },
		{ FROM_IP, "[fd00::2]", "FROM-IP \"[fd00::2]\" is neither" },
		{ FROM_PORT, "x", "FROM-PORT \"x\" is not a port" },
		{ FROM_PORT, "65536", "FROM-PORT \"65536\" is not a port" },
		{ TO_IP, "", "TO-IP is empty" },
		{ TO_IP, "a\x1b[2Jb", "TO-IP \"a\\x1b[2Jb\" is neither" },
		{ TO_IP, "10.0.0.3;reboot", "TO-IP \"10.0.0.3;reboot\" is neither" },
		{ TO_IP, "10.0.0.3/24", "TO-IP \"10.0.0.3/24\" is neither" },
		{ TO_PORT, "0", "TO-PORT \"0\" is not a port (1 to 65535)" },
		{ TO_PORT, "-1", "TO-PORT \"-1\" is not a port" },
		{ TO_PORT, "", "TO-PORT \"\" is not a port" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct event event = { .master = "untouched" };
		struct why why = { "" };

		assert_int_equal(with(cases[i].place, cases[i].word, &event, &why), -EINVAL);
		expect_text(why.text, cases[i].says);
		assert_null(strpbrk(why.text, "\n\r\x1b"));
		assert_string_equal(event.master, "untouched");
	}
}

static void the_number_of_words_is_checked(void **state)
{
	const char *words[] = { "mymaster", "leader", "start", "10.0.0.2", "6379", "10.0.0.3",
				"6380", "more", NULL };

	(void)state;
	for (int n = 0; n <= 8; n++) {
		struct event event = { .master = "untouched" };
		struct why why = { "" };
		char says[16];

		if (n == WORDS)
			continue;
		snprintf(says, sizeof(says), "not %d;", n);
		assert_int_equal(event_parse(n, (char *const *)words, &event, &why), -EINVAL);
		expect_text(why.text, "Sentinel's call has 7 arguments");
		expect_text(why.text, n > 0 ? "\"mymaster\" is no command" : "\"\" is no command");
		expect_text(why.text, says);
		assert_string_equal(event.master, "untouched");
	}
}

static void long_words_end_where_they_should(void **state)
{
	static char long_word[100 * 1024 + 1];
	char name[MASTER_NAME_SIZE + 1], host[HOST_SIZE + 1];
	struct event event;
	struct why why;

	(void)state;
	memset(long_word, 'a', sizeof(long_word) - 1);
	for (int place = MASTER; place < WORDS; place++) {
		if (place == ROLE || place == STATE) {
			assert_int_equal(with(place, long_word, &event, &why), 0);
			continue;
		}
		assert_int_equal(with(place, long_word, &event, &why), -EINVAL);
		assert_in_range(strlen(why.text), 20, 300);
	}
	memset(name, 'm', sizeof(name));
	name[MASTER_NAME_SIZE - 1] = '\0';
	assert_int_equal(with(MASTER, name, &event, &why), 0);
	assert_string_equal(event.master, name);
	name[MASTER_NAME_SIZE - 1] = 'm';
	name[MASTER_NAME_SIZE] = '\0';
	assert_int_equal(with(MASTER, name, &event, &why), -EINVAL);
	expect_text(why.text, "longer than 63");
	memset(host, 'h', sizeof(host));
	host[HOST_SIZE - 1] = '\0';
	assert_int_equal(with(TO_IP, host, &event, &why), 0);
	assert_string_equal(event.to.host, host);
	host[HOST_SIZE - 1] = 'h';
	host[HOST_SIZE] = '\0';
	assert_int_equal(with(TO_IP, host, &event, &why), -EINVAL);
}

/* sentinel.c allows letters, digits and ".-_" */
static void each_byte_of_a_name_is_judged(void **state)
{
	(void)state;
	assert_false(master_name_ok(""));
	for (int c = 1; c < 256; c++) {
		char name[] = { 'a', (char)c, 'b', '\0' };
		bool ok = c < 128 && (isalnum(c) || c == '.' || c == '-' || c == '_');

		assert_int_equal(master_name_ok(name), ok);
		assert_int_equal(master_name_ok(name + 1), ok);
		name[2] = '\0';
		assert_int_equal(master_name_ok(name), ok);
	}
}

int unit_event_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_told_from_a_command),
		cmocka_unit_test(all_seven_words_arrive),
		cmocka_unit_test(role_and_state_decide_nothing),
		cmocka_unit_test(addresses_come_in_many_spellings),
		cmocka_unit_test(the_old_master_may_be_unresolved),
		cmocka_unit_test(what_sentinel_would_not_send_is_refused),
		cmocka_unit_test(the_number_of_words_is_checked),
		cmocka_unit_test(long_words_end_where_they_should),
		cmocka_unit_test(each_byte_of_a_name_is_judged),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
