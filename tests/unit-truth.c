/* SPDX-License-Identifier: MIT */
/*
 * What a council of Sentinels decides, in whatever order they stand and however they spell
 * it, and how it tells what they said.  The votes are written down in one word each:
 *
 *	A3	the master is A, config-epoch 3
 *	A	the same without an epoch
 *	-	no answer		?	it knows no such master		!	denied
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOTES_MAX = 8 };

/* Masters by their letter. */
static const struct {
	char letter;
	const char *host, *port;
	const char *resolved[2];	/* of a name; NULL: not resolved */
	bool here;
} masters[] = {
	{ 'A', "10.0.0.1", "6379", { NULL }, false },
	{ 'B', "10.0.0.2", "6379", { NULL }, false },
	{ 'C', "10.0.0.3", "6379", { NULL }, false },
	{ 'P', "10.0.0.1", "6380", { NULL }, false },		/* A's host, another port */
	{ 'M', "::ffff:10.0.0.1", "6379", { NULL }, false },	/* A, spelled in another way */
	{ 'S', "fd00::1", "6379", { NULL }, false },
	{ 'T', "FD00:0::0001", "6379", { NULL }, false },	/* S, likewise */
	{ 'N', "redis-1", "6379", { "10.0.0.1" }, false },	/* A by its name */
	{ 'O', "redis-2", "6379", { "10.0.0.2" }, false },	/* B by its name */
	{ 'U', "redis-1", "6379", { NULL }, false },		/* a name that nobody could resolve */
	{ 'V', "REDIS-1", "6379", { NULL }, false },		/* the same name */
	{ 'W', "redis-2", "6379", { NULL }, false },		/* another name */
	{ 'D', "redis", "6379", { "fd00::9", "10.0.0.1" }, false },	/* A and more by a name */
	{ 'E', "redis", "6380", { "fd00::9", "10.0.0.1" }, false },
	{ 'F', "redis-lan", "6379", { "fd00::8", "fd00::9" }, false },	/* D by another name */
	{ 'H', "me", "6379", { NULL }, true },			/* this host by a name of self */
	{ 'I', "me.lan", "6379", { NULL }, true },
	{ 'J', "me", "6380", { NULL }, true },
	{ 'K', "own", "6379", { "127.0.1.1" }, true },		/* likewise, in /etc/hosts */
	{ 'L', "10.0.0.7", "6379", { NULL }, true },		/* an address of this host */
	{ 'Q', "10.0.0.8", "6379", { NULL }, true },		/* and another */
};

static void name_master(char letter, struct vote *vote)
{
	static struct ip addresses[COUNT(masters)][COUNT(masters[0].resolved)];

	vote->ip_count = 0;
	for (size_t i = 0; i < COUNT(masters); i++) {
		if (masters[i].letter != letter)
			continue;
		assert_true(endpoint_make(masters[i].host, masters[i].port, &vote->answer.master));
		vote->answer.kind = ANSWER_MASTER;
		vote->here = masters[i].here;
		for (size_t j = 0; j < COUNT(masters[i].resolved) && masters[i].resolved[j] != NULL; j++)
			addresses[i][vote->ip_count++] = unit_ip(masters[i].resolved[j]);
		vote->ips = vote->ip_count > 0 ? addresses[i] : NULL;
		return;
	}
	fail_msg("no master is called %c", letter);
}

static void read_vote(const char *word, struct vote *vote)
{
	char *end;

	switch (*word) {
	case '-':
		snprintf(vote->answer.error, sizeof(vote->answer.error), "it did not answer in time");
		return;
	case '?':
		vote->answer.kind = ANSWER_UNKNOWN;
		break;
	case '!':
		vote->answer.kind = ANSWER_DENIED;
		snprintf(vote->answer.error, sizeof(vote->answer.error), "NOAUTH really");
		break;
	default:
		name_master(*word, vote);
	}
	/* an epoch without a master is none, so it is given to those too */
	vote->has_epoch = word[1] != '\0';
	vote->epoch = strtoull(word + 1, &end, 10);
	assert_int_equal(*end, '\0');
}

/* From words to votes, of 10.0.1.1 and so on; the votes are the caller's array. */
static struct council council_of(const char *words, struct vote votes[VOTES_MAX])
{
	struct council council = { .votes = votes };
	char text[128], *save = NULL;

	memset(votes, 0, VOTES_MAX * sizeof(*votes));
	assert_true(strlen(words) < sizeof(text));
	strcpy(text, words);
	for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		struct vote *vote = &votes[council.count++];
		char host[32];

		assert_true(council.count <= VOTES_MAX);
		snprintf(host, sizeof(host), "10.0.1.%zu", council.count);
		assert_true(endpoint_make(host, "26379", &vote->sentinel));
		read_vote(word, vote);
	}
	return council;
}

struct decision {
	const char *votes;
	char master;		/* 0: none */
};

/* The local one stands first; who of the others said what must not matter. */
static void expect_decision(const struct decision *d, bool but_local)
{
	struct vote votes[VOTES_MAX];
	struct council council = council_of(d->votes, votes);
	size_t first = but_local ? 1 : 0;
	struct vote expected = { 0 };

	if (d->master != '\0')
		name_master(d->master, &expected);
	for (size_t turn = 0; turn < 2 * council.count + 1; turn++) {
		struct vote moved = votes[first];
		const struct vote *vote = council_decide(&council, but_local);

		if ((vote != NULL) != (d->master != '\0') || (vote != NULL && !vote_same(vote, &expected)))
			fail_msg("\"%s\"%s, turned %zu times: %s:%u", d->votes,
				 but_local ? " but the first" : "", turn,
				 vote != NULL ? vote->answer.master.host : "none",
				 vote != NULL ? vote->answer.master.port : 0);
		if (council.count <= first)
			continue;
		/* all of their orders that begin with another one, then backwards */
		if (turn == council.count - first) {
			for (size_t i = first, j = council.count - 1; i < j; i++, j--) {
				moved = votes[i];
				votes[i] = votes[j];
				votes[j] = moved;
			}
		} else {
			memmove(&votes[first], &votes[first + 1],
				(council.count - first - 1) * sizeof(*votes));
			votes[council.count - 1] = moved;
		}
	}
}

static void the_order_is_of_no_matter(void **state)
{
	static const struct decision cases[] = {
		{ "A1 A1 -", 'A' }, { "A1 - -", 0 }, { "A1 A1 - -", 0 }, { "A1 A1 A1 - -", 'A' },
		{ "A1 A1 A1 A1 - - -", 'A' }, { "A1 A1 A1 - - - -", 0 },
		/* the highest epoch, wherever it stands */
		{ "A1 B2 C3", 'C' }, { "A1 B2 C3 - -", 'C' }, { "A1 A1 A1 A1 B2", 'B' },
		{ "A2 B2 C1 C3", 'C' },
		/* what lower epochs disagree about is history */
		{ "A1 B1 C2", 'C' }, { "A1 B1 A2", 'A' }, { "A1 B1 C2 C2 -", 'C' },
		{ "A1 B1 C1 C2 -", 'C' },
		/* two at the highest are none, however many stand behind one of them */
		{ "A1 A1 A1 A1 B1", 0 }, { "A1 A1 A1 B2 C2", 0 }, { "A2 B2 -", 0 }, { "A1 P1 P1", 0 },
		/* who does not say it counts among those known */
		{ "A1 ? ?", 0 }, { "A1 A1 ?", 'A' }, { "A1 A1 !", 'A' }, { "A1 A1 ? ! -", 0 },
		{ "A1 A -", 0 }, { "A1 A1 B", 'A' }, { "A A A", 0 },
		{ "A1 A1 ?9", 'A' }, { "A1 ?9 !9", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_decision(&cases[i], false);
}

static void epochs_are_numbers_of_64_bits(void **state)
{
	static const struct decision cases[] = {
		{ "A9 B10", 'B' },		/* numbers, not text */
		{ "A0 B1", 'B' }, { "A0 B0", 0 }, { "A0", 'A' },
		{ "A4294967296 B1", 'A' },
		{ "A18446744073709551614 B18446744073709551615", 'B' },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_decision(&cases[i], false);
}

/* Some of them announce host names, some addresses. */
static void names_and_addresses_are_one_master(void **state)
{
	static const struct decision cases[] = {
		{ "A1 M1", 'A' }, { "M1 A1 A1", 'M' }, { "S1 T1", 'S' },
		{ "A1 N1", 'A' }, { "N1 N1 A1", 'N' }, { "A1 O1", 0 }, { "N1 O1", 0 }, { "B1 O1", 'B' },
		{ "A1 B2 O2", 'B' },
		/* unresolved, a name is equal to itself only */
		{ "U1 V1", 'U' }, { "U1 U1 A1", 0 }, { "U1 W1", 0 }, { "U1 N1", 'U' },
		{ "A1 A1 U2", 'U' }, { "U1 A2 A2", 'A' },
		/* any of several addresses; and each with each */
		{ "A1 D1", 'D' }, { "D1 D1 N1", 'A' }, { "D1 F1", 'F' }, { "A1 E1", 0 }, { "B1 D1", 0 },
		{ "A1 D1 F1", 0 },
		/* this host, by names that nobody resolves and by its own addresses */
		{ "H1 H1 H1", 'H' }, { "H1 I1", 'H' }, { "H1 L1 L1", 'L' }, { "H1 K1 L1", 'H' },
		{ "K1 L1 L1", 'L' }, { "H1 J1", 0 }, { "L1 Q1", 0 },
		/* it cannot be known whether another host's address is this host */
		{ "H1 A1 A1", 0 }, { "K1 A1 A1", 0 }, { "H1 N1", 0 }, { "H1 U1", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_decision(&cases[i], false);
}

/* The VIP is to be on the same link as after Sentinel's call, which has the local one's spelling. */
static void the_local_ones_spelling_is_followed(void **state)
{
	static const struct {
		const char *votes, *host;
	} cases[] = {
		{ "H1 L1 L1", "me" }, { "L1 H1 H1", "10.0.0.7" }, { "L0 K1 H1", "own" },
		{ "- L1 H1", "10.0.0.7" }, { "A1 N1 D1", "10.0.0.1" }, { "N1 A1 A1", "redis-1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vote votes[VOTES_MAX];
		struct council council = council_of(cases[i].votes, votes);
		const struct vote *vote = council_decide(&council, false);

		assert_non_null(vote);
		assert_string_equal(vote->answer.master.host, cases[i].host);
	}
}

/* A host that hears a majority is not cut off, whatever it cannot make of names. */
static void what_differs_by_names_is_told_apart(void **state)
{
	static const struct {
		const char *votes;
		bool by_names;
	} cases[] = {
		{ "A1 U1 A1", true }, { "U1 W1 -", true }, { "H1 A1 A1", true }, { "O1 A1 A1", true },
		{ "A1 U1 B2 W2", true },
		{ "A1 A1 A1", false }, { "A1 N1 A1", false },	/* agreed */
		{ "A1 B1 A1", false }, { "A1 B1 U1", false }, { "A1 P1 U1", false },
		{ "A1 U1 - -", false }, { "A1 - -", false }, { "- - -", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vote votes[VOTES_MAX];
		struct council council = council_of(cases[i].votes, votes);

		if (council_differs_by_names(&council) != cases[i].by_names)
			fail_msg("\"%s\"", cases[i].votes);
		council.blind = true;
		assert_false(council_differs_by_names(&council));
	}
}

/* When the local Sentinel is the one in doubt. */
static void the_local_one_can_be_left_out(void **state)
{
	static const struct decision cases[] = {
		{ "A9 B3 B3", 'B' },
		{ "A9 B3 -", 0 },		/* one of three */
		{ "A9", 0 }, { "", 0 },
		{ "A9 B3", 0 },			/* one of two */
		{ "- B3 B3", 'B' },
		{ "A9 B3 B3 - -", 0 },		/* two of five */
		{ "A9 B3 B3 B3 -", 'B' },
		{ "A9 B3 C3", 0 }, { "A9 B3 C4", 'C' },
		{ "A3 U3 B3", 'B' }, { "A3 U3 U3", 'U' }, { "A3 U3 W3", 0 }, { "A3 H3 L3", 'H' },
		{ "A3 B3 B3", 'B' },		/* no tie with the one that is not heard */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_decision(&cases[i], true);
}

/* Telling -------------------------------------------------------------- */

static void it_tells_who_said_what(void **state)
{
	static const struct {
		const char *votes, *text;
	} cases[] = {
		{ "", "" },
		{ "A3", "10.0.1.1:26379: 10.0.0.1:6379, epoch 3" },
		{ "A3 -", "10.0.1.1:26379: 10.0.0.1:6379, epoch 3, "
			  "10.0.1.2:26379: it did not answer in time" },
		{ "S0", "10.0.1.1:26379: [fd00::1]:6379, epoch 0" },
		{ "U18446744073709551615", "10.0.1.1:26379: redis-1:6379, epoch 18446744073709551615" },
		{ "N2", "10.0.1.1:26379: redis-1:6379, epoch 2" },	/* as it was said */
		{ "P", "10.0.1.1:26379: 10.0.0.1:6380, no epoch" },
		{ "? !", "10.0.1.1:26379: does not know it, 10.0.1.2:26379: NOAUTH really" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vote votes[VOTES_MAX];
		struct council council = council_of(cases[i].votes, votes);
		struct line line = { 0 };

		council_tell(&council, &line);
		assert_string_equal(line.text, cases[i].text);
	}
}

static void it_tells_of_those_that_cannot_be_asked(void **state)
{
	struct vote votes[VOTES_MAX];
	struct council council = council_of("A1 - -", votes);
	struct line line = { 0 };

	(void)state;
	votes[1].answer.error[0] = votes[2].answer.error[0] = '\0';
	votes[1].sentinel = (struct endpoint){ .host = "?" };
	votes[2].sentinel = (struct endpoint){ .host = "/run/sentinel.sock" };
	line_add(&line, "before ");
	council_tell(&council, &line);
	assert_string_equal(line.text, "before 10.0.1.1:26379: 10.0.0.1:6379, epoch 1, "
			    "?: cannot be asked, /run/sentinel.sock: cannot be asked");
}

static void a_long_tale_is_cut(void **state)
{
	struct vote votes[VOTES_MAX];
	struct council council = council_of("U1 U1 U1 U1 U1 U1 U1 U1", votes);
	struct line line = { 0 };

	(void)state;
	for (size_t i = 0; i < council.count; i++)
		memset(votes[i].answer.master.host, 'x', sizeof(votes[i].answer.master.host) - 1);
	council_tell(&council, &line);
	assert_int_equal(strlen(line.text), sizeof(line.text) - 1);
	assert_string_equal(line.text + sizeof(line.text) - 4, "...");
}

static void it_can_be_freed_twice(void **state)
{
	struct council council = { .votes = calloc(2, sizeof(struct vote)), .count = 2 };

	(void)state;
	assert_non_null(council.votes);
	council_free(&council);
	assert_null(council.votes);
	assert_int_equal(council.count, 0);
	council_free(&council);
}

/* What no host can be is not asked of a resolver, which would make an address of some of it. */
static void what_is_no_host_is_no_master(void **state)
{
	static const struct {
		const char *host, *expected;
	} cases[] = {
		{ "0.0.0.0", "is said to be 0.0.0.0, which is no host's address" },
		{ "224.0.0.1", "is said to be 224.0.0.1, which is no host's address" },
		{ "255.255.255.255", "which is no host's address" },
		{ "::", "is said to be ::, which is no host's address" },
		{ "ff02::1", "is said to be ff02::1, which is no host's address" },
		{ "10.1", "is said to be \"10.1\", which is neither an address nor a host name" },
		{ "167772161", "neither an address nor a host name" },
		{ "10.0.0.256", "neither an address nor a host name" },
	};
	struct master master;

	(void)state;
	keys_default(&master);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct truth truth = { .ip_count = 77 };
		struct why why = { "" };
		struct endpoint at;

		assert_true(endpoint_make(cases[i].host, "6379", &at));
		assert_int_equal(truth_of(&master, &at, 1, &truth, &why), -EINVAL);
		expect_text(why.text, cases[i].expected);
		assert_int_equal(truth.ip_count, 77);
	}
}

/* What a resolver would say of a name of this host is of no matter. */
static void self_comes_first(void **state)
{
	char self[] = "me 10.0.0.1";
	struct ip ips[] = { unit_ip("10.0.0.9"), unit_ip("fd00::9") };
	struct master master;
	struct truth truth = { 0 };
	struct why why;

	(void)state;
	keys_default(&master);
	master.self = self;
	for (size_t i = 0; i < COUNT(masters); i++) {
		struct vote vote = { 0 };
		bool mine = strcmp(masters[i].host, "me") == 0 || strcmp(masters[i].host, "10.0.0.1") == 0;

		name_master(masters[i].letter, &vote);
		vote.ips = ips;
		vote.ip_count = COUNT(ips);
		assert_int_equal(truth_of_vote(&master, &vote, 1, &truth, &why), 0);
		assert_int_equal(truth.where, mine ? TRUTH_HERE : TRUTH_LOOK);
		assert_int_equal(truth.ip_count, mine ? 0 : vote.answer.master.ip.family != AF_UNSPEC ? 1 : 2);
		if (!mine && truth.ip_count == 2)
			assert_true(ip_equal(&truth.ips[1], &ips[1]));
	}
}

int unit_truth_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_host_is_no_master),
		cmocka_unit_test(the_order_is_of_no_matter),
		cmocka_unit_test(epochs_are_numbers_of_64_bits),
		cmocka_unit_test(names_and_addresses_are_one_master),
		cmocka_unit_test(the_local_ones_spelling_is_followed),
		cmocka_unit_test(what_differs_by_names_is_told_apart),
		cmocka_unit_test(self_comes_first),
		cmocka_unit_test(the_local_one_can_be_left_out),
		cmocka_unit_test(it_tells_who_said_what),
		cmocka_unit_test(it_tells_of_those_that_cannot_be_asked),
		cmocka_unit_test(a_long_tale_is_cut),
		cmocka_unit_test(it_can_be_freed_twice),
	};

	return cmocka_run_group_tests_name("truth", tests, NULL, NULL);
}
