/* SPDX-License-Identifier: MIT */
/*
 * Answers of Sentinels that are no truth though they look like one, and the other way round: of a
 * Sentinel that knows nobody yet; of some that say a name where others say an address; of
 * a Sentinel of another cluster at the address of one that is gone.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)

/* ---- fewer are known than the quorum ---- */

/* A council in which the local one has that quorum. */
static void quorum_is(const char *votes, const char *quorum)
{
	council_says(votes);
	fake_quorum(&council[0]->turn[0], quorum);
}

/* Its file is as it was first written, or it was reset: its own word alone moves nothing. */
static void one_that_knows_nobody_yet(void **state)
{
	(void)state;
	for (int holds = 0; holds < 2; holds++) {
		council_vip(holds);
		quorum_is(holds ? "B0" : "A0", "2");
		vip("sync");
		assert_int_equal(is_here(), holds);
		expect(1, "undecided: too few of its Sentinels are known: 127.0.0.1:26379 knows 1, "
			  "itself included, and its quorum is 2",
		       "started or reset a moment ago", "quorum of sentinel monitor",
		       "127.0.0.1:26379: 10.0.0.", holds ? "the VIP stays here" : "is not here");
	}
	/* then it has heard of the others */
	council_vip(false);
	council_says("B0 A5 A5");
	vip("sync");
	expect(0, "claimed " VIP4);
	assert_true(is_here());
}

static void as_many_as_the_quorum_are_enough(void **state)
{
	static const struct {
		const char *votes, *quorum;
		bool moves;
	} cases[] = {
		{"A3", "1", true},       {"A3 A3", "2", true},     {"A3 A3", "3", false},
		{"A3 A3 A3", "3", true}, {"A3 A3 A3", "4", false}, {"A3 A3 -", "2", true},
		{"A3", "0", true},       {"A3", "2x", true},       {"A3", "", true},
		{"A3", "99999999999999999999", true}, /* no number of a Sentinel's */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		council_vip(false);
		quorum_is(cases[i].votes, cases[i].quorum);
		vip("sync");
		if (is_here() != cases[i].moves || r.status != !cases[i].moves)
			fail_msg("\"%s\", quorum %s: status %d\n%s", cases[i].votes,
				 cases[i].quorum, r.status, r.err);
		lab_log_clear(us);
	}
}

/* Whether a host that hears of nobody is cut off or new cannot be told: it has its 3 seconds. */
static void a_fence_waits_until_it_knows_the_others(void **state)
{
	(void)state;
	lab_config(us, "fence = majority\n" COUNCIL_CONFIG);
	council_vip(true);
	council_says("A3 A3 A3");
	for (int n = 0; n < 3; n++) {
		council_turn(n, "B0");
		fake_quorum(&council[0]->turn[n], "2");
	}
	council_turn(3, "A3 A3 A3");
	vip("sync");
	assert_true(is_here());
	expect_quiet(0);
	quorum_is("B0", "2");
	vip("sync");
	assert_false(is_here());
	expect(1, "released " VIP4, "fenced: too few of its Sentinels are known");
}

/* ---- names ---- */

#define FENCED "announce = none\nfence = majority\n"

/* Three Sentinels, all of one epoch; each says a host. */
static void they_name(const char *const hosts[3])
{
	static const char *const fellows[] = {PEER4 " 26380", PEER4 " 26381", NULL};

	for (int i = 0; i < 3; i++) {
		fake_forget(council[i]);
		fake_turn(council[i], 0, hosts[i], 6379, "5", i == 0 ? fellows : NULL);
	}
}

/* What this host's resolver knows besides. */
static void hosts_are(const char *lines)
{
	lab_file(us, "etc/hosts", 0644, 0, "127.0.0.1 localhost\n%s", lines);
}

/* Behind NAT, or by a DNS that is for others: a name of self is this host, whatever it resolves to. */
static void a_name_of_self_is_not_resolved(void **state)
{
	static const char *const hosts[] = {"203.0.113.7 redis-1\n", "2001:db8::7 redis-1\n", ""};

	(void)state;
	lab_config(us, "announce = none\nself = redis-1\n" CONFIG4);
	they_name((const char *const[]){"redis-1", "redis-1", "redis-1"});
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		hosts_are(hosts[i]);
		council_vip(false);
		vip("mymaster", "leader", "start", OLD4, "6379", "redis-1", "6379");
		expect(0, "claimed " VIP4, "the master is redis-1:6379, this host");
		vip("sync");
		expect_quiet(0);
		assert_true(is_here());
		vip("status");
		expect_said("redis-1:6379, this host");
		council_vip(false);
		vip("sync");
		expect(0, "claimed " VIP4, "the master is redis-1:6379, this host");
	}
}

/* Two interfaces and none configured: both must come to the same one. */
static void sync_leaves_it_where_the_call_put_it(void **state)
{
	(void)state;
	lab_must(us, "ip link add eth1 type veth peer name far && ip link set far up && "
		     "ip addr add 10.7.0.1/24 dev eth1 && ip link set eth1 up");
	hosts_are(OUR4 " redis-1\n");
	lab_config(us, "announce = none\nself = redis-1\n[mymaster]\nvip = 10.7.0.250\n");
	they_name((const char *const[]){"redis-1", OUR4, OUR4});
	vip("mymaster", "leader", "start", OLD4, "6379", "redis-1", "6379");
	expect(0, "claimed 10.7.0.250 on eth1");
	vip("sync");
	expect_quiet(0);
	lab_must(us, "ip -o addr show dev eth1 | grep -q 10.7.0.250");
}

struct spelling {
	const char *hosts, *config, *said[3];
	bool decided;
};

static void spelled(const struct spelling *s, bool holds)
{
	hosts_are(s->hosts);
	lab_config(us, FENCED "%s" CONFIG4, s->config);
	council_vip(holds);
	they_name(s->said);
	vip("sync");
	if (r.status != !s->decided || is_here() != (s->decided || holds))
		fail_msg("%s, %s, %s, hosts \"%s\", %s, VIP %s before: status %d, VIP %s\n%s", s->said[0],
			 s->said[1], s->said[2], s->hosts, s->config, holds ? "here" : "not here",
			 r.status, is_here() ? "here" : "not here", r.err);
	assert_in_range(council_ms(), 0, 2500 * lab_slow()); /* it is not fenced, nor waits for that */
	if (!s->decided)
		expect(1, "undecided: its Sentinels name the master in ways that cannot be told to be one",
		       "into self = on the host that it names");
	lab_log_clear(us);
}

/* They differ in announce-hostnames, and all mean this host. */
static void names_of_this_host_are_its_addresses(void **state)
{
	static const struct spelling cases[] = {
		{OUR4 " redis-1\n", "", {OUR4, "redis-1", OUR4}, true},
		{"127.0.1.1 redis-1\n", "", {OUR4, "redis-1", OUR4}, true},
		{"127.0.1.1 redis-1\n", "self = redis-1\n", {OUR4, "redis-1", OUR4}, true},
		{"127.0.1.1 redis-1\n", "self = redis-1\n", {"redis-1", "redis-1", OUR4}, true},
		{"fd00::77 redis-1\n" OUR4 " redis-1\n", "", {OUR4, "redis-1", OUR4}, true},
		{OUR4 " redis-1\nfd00::77 redis-1\n", "", {"redis-1", OUR4, OUR4}, true},
		{"", "self = redis-1\n", {OUR4, "redis-1", OUR4}, true},
		{OUR4 " redis-1.lan\n", "self = redis-1\n", {"redis-1", "redis-1.lan", OUR4}, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		spelled(&cases[i], false);
		spelled(&cases[i], true);
	}
}

/*
 * A Sentinel that cannot resolve the new master's name goes on to name the old one, at the new epoch: so
 * a name that says nothing here may be another host than an address at its side. Nothing moves, but
 * nobody is cut off either.
 */
static void what_may_be_two_hosts_is_no_truth(void **state)
{
	static const struct spelling cases[] = {
		{"", "", {OUR4, "redis-2", "redis-2"}, false}, /* this host was master */
		{"", "", {OUR4, "redis-2", OUR4}, false},
		{"", "", {"redis-1", "redis-2", "redis-2"}, false},
		{PEER4 " redis-2\n", "", {OUR4, "redis-2", OUR4}, false},
		{"", "self = redis-1\n", {"redis-1", PEER4, PEER4}, false},
		{"", "self = redis-1\n", {PEER4, "redis-1", PEER4}, false},
		{"127.0.1.1 redis-1\n", "", {PEER4, "redis-1", PEER4}, false},
		{"127.0.1.1 redis-1\n", "", {"127.0.0.1", "redis-1", "127.0.0.1"}, false},
		{"", "self = redis-1\n", {VIP4, "redis-1", VIP4}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		spelled(&cases[i], false);
		spelled(&cases[i], true);
	}
}

/* Two addresses are two masters still, and a host that cannot know better lets go where it is to. */
static void two_addresses_are_fenced(void **state)
{
	(void)state;
	hosts_are("127.0.1.1 redis-1\n");
	lab_config(us, FENCED "self = redis-1\n" CONFIG4);
	council_vip(true);
	they_name((const char *const[]){OUR4, PEER4, "redis-1"});
	vip("sync");
	assert_false(is_here());
	expect(1, "released " VIP4, "fenced: no majority of its Sentinels agrees on a master");
}

/* ---- another Sentinel ---- */

#define ANOTHER "is another Sentinel than the one known there"
#define NOBODY "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"

/* The epoch of a cluster that is none of ours means nothing. */
static void a_sentinel_of_another_cluster_is_not_heard(void **state)
{
	(void)state;
	for (int holds = 0; holds < 2; holds++) {
		council_vip(holds);
		council_says(holds ? "A3 A3 C41" : "B3 B3 A41");
		fake_fellow_id(&council[0]->turn[0], 1, NOBODY);
		vip("sync");
		expect_quiet(0);
		assert_int_equal(is_here(), holds);
		vip("status");
		expect_said(PEER4 ":26381   " ANOTHER);
	}
	/* it is known all the same, so the others must be a majority without it */
	council_says("A3 - C41");
	fake_fellow_id(&council[0]->turn[0], 1, NOBODY);
	vip("sync");
	expect(1, "no majority", PEER4 ":26381: " ANOTHER);
	assert_true(is_here());
}

/* Before Redis 6.2, without the permission, or where no id is known: the address is all there is. */
static void without_an_id_it_is_heard(void **state)
{
	static const char *const answers[] = {
		"-ERR Unknown sentinel subcommand 'myid'\r\n",
		"-NOPERM this user has no permissions to run the 'sentinel|myid' command\r\n",
		"+OK\r\n",
		"$-1\r\n",
		"$39\r\n0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\r\n",
		"$40\r\n0B0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\r\n",
	};
	static const char none[] = "[no runid]                              ";

	(void)state;
	for (size_t i = 0; i <= sizeof answers / sizeof *answers; i++) {
		council_vip(false);
		council_says("B3 - A4");
		if (i < sizeof answers / sizeof *answers)
			fake_format(&council[2]->turn[0], FAKE_MYID, "%s", answers[i]);
		else
			fake_fellow_id(&council[0]->turn[0], 1, none);
		vip("sync");
		expect(0, "claimed " VIP4);
		assert_true(is_here());
	}
	assert_int_equal(fake_heard(council[2], "MYID"), 0); /* for the last of them */
}

int netns_doubt_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(one_that_knows_nobody_yet),
		test(as_many_as_the_quorum_are_enough),
		test(a_fence_waits_until_it_knows_the_others),
		test(a_name_of_self_is_not_resolved),
		test(sync_leaves_it_where_the_call_put_it),
		test(names_of_this_host_are_its_addresses),
		test(what_may_be_two_hosts_is_no_truth),
		test(two_addresses_are_fenced),
		test(a_sentinel_of_another_cluster_is_not_heard),
		test(without_an_id_it_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
