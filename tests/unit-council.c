/* SPDX-License-Identifier: MIT */
/* What several Sentinels together say; the rule is pure, and each vote is literal. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* "A 3": 10.0.0.A in epoch 3; "A -": no epoch; "?": unknown to it; "!": denied; ".": silent. */
static struct vote vote(const char *word)
{
	struct vote v = { .answer.kind = ANSWER_MASTER };
	char host[] = "10.0.0.X";

	if (*word == '?' || *word == '!' || *word == '.') {
		v.answer.kind = *word == '?' ? ANSWER_UNKNOWN :
			*word == '!' ? ANSWER_DENIED : ANSWER_NONE;
		v.has_epoch = true;
		v.epoch = 999;
		return v;
	}
	host[sizeof(host) - 2] = *word;
	assert_true(endpoint_make(host, "6379", &v.answer.master));
	/* cppcheck-suppress arrayIndexOutOfBounds ; what names a master is longer */
	v.has_epoch = word[2] != '-';
	v.epoch = v.has_epoch ? (uint64_t)(word[2] - '0') : 999;
	return v;
}

static bool decide(const struct council *council, bool but_local, struct endpoint *master)
{
	const struct vote *vote = council_decide(council, but_local);

	if (vote != NULL)
		*master = vote->answer.master;
	return vote != NULL;
}

struct matter {
	const char *votes[6];
	char master;		/* the last digit, 0 for none */
	char master_but_local;
};

static void judge(const struct matter *m)
{
	struct vote votes[6];
	struct council council = { .votes = votes };

	for (; council.count < COUNT(m->votes) && m->votes[council.count] != NULL; council.count++)
		votes[council.count] = vote(m->votes[council.count]);
	for (int but_local = 0; but_local <= 1; but_local++) {
		char wanted = but_local ? m->master_but_local : m->master;
		struct endpoint master = { .host = "untouched" };
		bool is = decide(&council, but_local, &master);
		char text[16] = "untouched";

		if (wanted != 0)
			snprintf(text, sizeof(text), "10.0.0.%c", wanted);
		if (is != (wanted != 0) || strcmp(master.host, text) != 0)
			fail_msg("%zu votes, the first \"%s\", %s: %s instead of %s", council.count,
				 m->votes[0] != NULL ? m->votes[0] : "",
				 but_local ? "but local" : "all", master.host, text);
	}
}

static void a_majority_of_all_known_must_answer(void **state)
{
	static const struct matter matters[] = {
		{ { NULL }, 0, 0 },
		{ { "1 5" }, '1', 0 },
		{ { "." }, 0, 0 },
		{ { "1 5", "." }, 0, 0 },
		{ { "1 5", "1 5" }, '1', 0 },
		{ { "1 5", "1 5", "." }, '1', 0 },
		{ { "1 5", ".", "." }, 0, 0 },
		{ { ".", "1 5", "1 5" }, '1', '1' },
		{ { "1 5", "1 5", "1 5" }, '1', '1' },
		{ { "1 5", "1 5", ".", "." }, 0, 0 },
		{ { "1 5", "1 5", "1 5", "." }, '1', 0 },
		{ { "1 5", "1 5", "1 5", ".", "." }, '1', 0 },
		{ { "1 5", "1 5", ".", ".", "." }, 0, 0 },
		{ { ".", ".", "1 5", "1 5", "1 5" }, '1', '1' },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(matters); i++)
		judge(&matters[i]);
}

/* Whoever knows nothing, says nothing of use, or no epoch, does not count as an answer. */
static void only_whole_answers_count(void **state)
{
	static const struct matter matters[] = {
		{ { "1 5", "?", "." }, 0, 0 },
		{ { "1 5", "!", "!" }, 0, 0 },
		{ { "1 5", "1 -", "." }, 0, 0 },
		{ { "1 5", "2 -", "1 5" }, '1', 0 },
		{ { "1 5", "?", "1 5" }, '1', 0 },
		{ { "1 -", "1 -", "1 -" }, 0, 0 },
		{ { "!", "1 5", "1 5" }, '1', '1' },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(matters); i++)
		judge(&matters[i]);
}

static void the_highest_epoch_wins_wherever_it_stands(void **state)
{
	static const struct matter matters[] = {
		{ { "1 5", "2 6", "1 5" }, '2', '2' },
		{ { "2 6", "1 5", "1 5" }, '2', '1' },
		{ { "1 5", "1 5", "2 6" }, '2', '2' },
		{ { "1 5", "1 5", "1 5", "1 5", "2 6" }, '2', '2' },
		{ { "1 5", "2 6", "3 7" }, '3', '3' },
		{ { "3 7", "2 6", "1 5" }, '3', '2' },
		{ { "1 5", "2 6", "." }, '2', 0 },
		{ { "1 0", "2 1", "1 0" }, '2', '2' },
		/* two at a lower epoch that do not agree are of no matter */
		{ { "1 5", "2 5", "3 6" }, '3', '3' },
		{ { "3 6", "1 5", "2 5" }, '3', 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(matters); i++)
		judge(&matters[i]);
}

static void two_masters_at_the_highest_epoch_are_none(void **state)
{
	static const struct matter matters[] = {
		{ { "1 5", "2 5" }, 0, 0 },
		{ { "1 5", "2 5", "1 5" }, 0, 0 },
		{ { "1 5", "1 5", "2 5" }, 0, 0 },
		{ { "3 4", "1 5", "2 5" }, 0, 0 },
		{ { "1 5", "2 5", "2 5", "2 5", "2 5" }, 0, '2' },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(matters); i++)
		judge(&matters[i]);
}

/* The same master in two spellings, or on another port. */
static void masters_are_compared_as_endpoints(void **state)
{
	struct vote votes[] = { vote("1 5"), vote("1 5") };
	struct council council = { .votes = votes, .count = 2 };
	struct endpoint master;

	(void)state;
	assert_true(endpoint_make("::ffff:10.0.0.1", "6379", &votes[1].answer.master));
	assert_true(decide(&council, false, &master));
	assert_true(endpoint_make("10.0.0.1", "6380", &votes[1].answer.master));
	assert_false(decide(&council, false, &master));
}

/* The other names the master by a host name that does not resolve here: in either order. */
static void a_name_contradicts_no_address(void **state)
{
	struct vote votes[] = { vote("."), vote("1 5"), vote("1 5") };
	struct council council = { .votes = votes, .count = COUNT(votes) };
	struct endpoint master;

	(void)state;
	for (int named = 1; named <= 2; named++) {
		votes[1] = vote("1 5");
		votes[2] = vote("1 5");
		assert_true(endpoint_make("redis-1", "6379", &votes[named].answer.master));
		memset(&master, 0, sizeof(master));
		assert_true(decide(&council, true, &master));
		assert_string_equal(master.host, "10.0.0.1");
	}
}

/* One that was started or reset a moment ago knows of nobody else, and is no majority of one. */
static void they_must_be_as_many_as_the_quorum(void **state)
{
	static const struct {
		size_t count;
		uint64_t quorum;	/* 0: it was not said */
		bool decided;
	} cases[] = {
		{ 1, 0, true }, { 1, 1, true }, { 1, 2, false }, { 1, UINT64_MAX, false },
		{ 2, 2, true }, { 2, 3, false }, { 3, 2, true }, { 3, 3, true }, { 3, 4, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vote votes[] = { vote("1 5"), vote("1 5"), vote("1 5") };
		struct council council = { .votes = votes, .count = cases[i].count,
					   .quorum = cases[i].quorum };
		struct endpoint master;

		if (decide(&council, false, &master) != cases[i].decided)
			fail_msg("%zu of them, quorum %llu", cases[i].count,
				 (unsigned long long)cases[i].quorum);
		assert_int_equal(council_is_small(&council), !cases[i].decided);
	}
}

static void without_the_local_one_as_well(void **state)
{
	struct vote votes[] = { vote("1 5"), vote("2 6"), vote("2 6") };
	struct council council = { .votes = votes, .count = COUNT(votes), .quorum = 3 };
	struct endpoint master;

	(void)state;
	assert_true(decide(&council, true, &master));
	council.quorum = 4;
	assert_false(decide(&council, true, &master));
}

static void each_vote_is_told(void **state)
{
	struct vote votes[] = { vote("1 5"), vote("2 -"), vote("?"), vote("!"), vote(".") };
	struct council council = { .votes = votes, .count = COUNT(votes) };
	struct line line = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(votes); i++) {
		votes[i].sentinel = (struct endpoint){ .host = "s", .port = (uint16_t)(i + 1) };
		if (i > 2)
			strcpy(votes[i].answer.error, i == 3 ? "NOAUTH" : "no answer in time");
	}
	council_tell(&council, &line);
	assert_string_equal(line.text, "s:1: 10.0.0.1:6379, epoch 5, s:2: 10.0.0.2:6379, no epoch, "
			    "s:3: does not know it, s:4: NOAUTH, s:5: no answer in time");
}

int unit_council_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_majority_of_all_known_must_answer),
		cmocka_unit_test(only_whole_answers_count),
		cmocka_unit_test(the_highest_epoch_wins_wherever_it_stands),
		cmocka_unit_test(two_masters_at_the_highest_epoch_are_none),
		cmocka_unit_test(masters_are_compared_as_endpoints),
		cmocka_unit_test(a_name_contradicts_no_address),
		cmocka_unit_test(they_must_be_as_many_as_the_quorum),
		cmocka_unit_test(without_the_local_one_as_well),
		cmocka_unit_test(each_vote_is_told),
	};

	return cmocka_run_group_tests_name("council", tests, NULL, NULL);
}
