/* SPDX-License-Identifier: MIT */
/*
 * sync: what it makes of what the Sentinels say, and with which status it ends. The Sentinels are
 * fakes (netns-council.h), so that they say what real ones seldom do, at the moment it is wanted.
 */
#include "netns-council.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)
#define is_gone() (lab_addr_copies(us, VIP4) == 0)

/* ---- nothing to do ---- */

/* How many frames, since the last time; they are forgotten. */
static size_t announced(const char *address)
{
	size_t n;

	lab_sleep_ms(50);
	n = lab_capture_count(eyes, lab_is_announcement, address);
	lab_capture_read(eyes);
	eyes->n = 0;
	return n;
}

/* The run that was to announce the one that stands may have been killed before it did. */
static void with_one_missing_all_are_announced(void **state)
{
	(void)state;
	lab_config(us, "refresh = no\n" COUNCIL_CONFIG "vip = 10.0.0.251\n");
	council_vip(true);
	council_says("A3 A3 A3");
	vip("sync");
	expect(0, "claimed 10.0.0.251");
	expect_announced("10.0.0.251");
	expect_announced(VIP4);
}

static void what_agrees_is_left_in_silence(void **state)
{
	char *before;

	(void)state;
	council_vip(true);
	before = netns_state();
	council_says("A3 A3 A3");
	vip("sync");
	expect_quiet(0);
	vip("sync", "mymaster");
	expect_quiet(0);
	expect_same_state(before); /* it is only announced again */
	lab_must(us, "rm -r /run/sentinel-vip");
	announced(VIP4);
	council_vip(false);
	before = netns_state();
	council_says("B3 B3 B3");
	vip("sync");
	expect_quiet(0);
	vip("sync", "--announce");
	expect_quiet(0);
	expect_unchanged(before);
	lab_must(us, "! test -e /run/sentinel-vip"); /* decided without the lock */
}

/* For neighbours that were cut off when it came; once a run, and by nobody that stays behind. */
static void what_stands_is_announced_again(void **state)
{
	(void)state;
	lab_config(us, COUNCIL_CONFIG "vip = " VIP6 "\n");
	council_says("A3 A3 A3");
	vip("claim", "mymaster");
	lab_host_kill(us); /* the claim's announcer */
	lab_log_clear(us);
	announced(VIP4);
	lab_must(peer, "ip neigh replace " VIP4 " lladdr 02:00:00:00:00:99 dev eth0 nud stale && "
		       "ip neigh replace " VIP6 " lladdr 02:00:00:00:00:99 dev eth0 nud stale");
	vip("sync");
	expect_quiet(0);
	expect_announced(VIP4);
	expect_announced(VIP6);
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 2);
	assert_int_equal(lab_capture_count(eyes, lab_is_na, VIP6), 1);
	assert_int_not_equal(lab_sh(peer, NULL, "ip neigh | grep 02:00:00:00:00:99"), 0);
	assert_int_equal(lab_host_processes(us, NULL), 0);
}

static void what_must_not_be_announced_again(void **state)
{
	pid_t holder;

	(void)state;
	council_vip(true);
	council_says("A3 - -"); /* no majority */
	vip("sync");
	assert_int_equal(announced(VIP4), 0);
	council_says("A3 A3 A3");
	vip("-n", "sync");
	assert_int_equal(announced(VIP4), 0);
	vip("sync");
	assert_int_equal(announced(VIP4), 2);
	/* another run is at work */
	holder = lab_spawn(us, NULL, (const char *const[]){
		"sh", "-c", "exec flock /run/sentinel-vip/*.mymaster sleep 600", NULL});
	assert_true(LAB_UNTIL(
		lab_sh(us, NULL, "flock -n /run/sentinel-vip/*.mymaster true") != 0, 2000));
	vip("sync");
	assert_int_equal(announced(VIP4), 0);
	kill(holder, SIGKILL);
	lab_wait(holder, -1);
	lab_host_kill(us);
	vip("sync");
	assert_int_equal(announced(VIP4), 2);
	lab_config(us, "refresh = no\n" COUNCIL_CONFIG);
	vip("sync");
	assert_int_equal(announced(VIP4), 0);
	council_says("B4 B4 B4");
	vip("sync"); /* released */
	assert_int_equal(announced(VIP4), 0);
}

/* One connection to each Sentinel, and no more questions than needed. */
static void each_is_asked_once(void **state)
{
	(void)state;
	council_says("B3 B3 B3");
	vip("sync");
	expect_quiet(0);
	assert_in_range(council_ms(), 0, 270 * lab_slow()); /* nothing to wait for */
	assert_string_equal(council[0]->heard, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\n"
					       "SENTINEL MASTER mymaster\n"
					       "SENTINEL SENTINELS mymaster\n");
	for (int i = 1; i < 3; i++) {
		assert_int_equal(council[i]->connections, 1);
		assert_string_equal(council[i]->heard, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\n"
						       "SENTINEL MASTER mymaster\n"
						       "SENTINEL MYID\n");
	}
	assert_int_equal(council[0]->connections, 1);
}

/* ---- changes ---- */

static void it_claims_and_releases(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	vip("sync");
	assert_non_null(strstr(r.err, "mymaster: claimed " VIP4));
	expect(0, "mymaster: claimed " VIP4 " on eth0", "the master is " OUR4 ":6379, this host",
	       "as Sentinel says");
	assert_true(is_here());
	expect_announced(VIP4);
	vip("sync");
	expect_quiet(0);
	council_says("B4 B4 B4");
	vip("sync");
	expect(0, "released " VIP4 " from eth0", "the master is " PEER4 ":6379, another host");
	assert_true(is_gone());
	vip("sync");
	expect_quiet(0);
}

/* What stands already is not announced again because something else is missing. */
static void it_completes_what_is_missing(void **state)
{
	(void)state;
	lab_config(us, COUNCIL_CONFIG "vip = 10.0.0.251\n");
	council_vip(true);
	council_says("A3 A3 A3");
	vip("sync");
	assert_non_null(lab_log_wait(us, "claimed 10.0.0.251", 500));
	expect_announced("10.0.0.251");
	/* the run that left it out may have ended before it could announce the other */
	expect_announced(VIP4);
}

/* A change is decided twice: the second time under the lock. */
static void what_changes_meanwhile_is_not_done(void **state)
{
	char *before = netns_state();

	(void)state;
	council_says("A3 A3 A3");
	council_turn(1, "B4 B4 B4");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(council[1]->connections, 2);
	assert_null(lab_log_wait(us, "claimed", 50));
	expect_unchanged(before);
	lab_log_clear(us);
	council_vip(true);
	before = netns_state();
	council_says("B3 B3 B3");
	council_turn(1, "B3 - -"); /* the majority is gone */
	vip("sync");
	expect(1, "no majority");
	expect_unchanged(before);
}

/* How often the process has slept, and so been woken. */
static int sleeps(pid_t pid)
{
	assert_int_equal(lab_sh(us, &r, "sed -n 's/^voluntary_ctxt_switches:[[:space:]]*//p' "
				"/proc/%d/status", (int)pid), 0);
	return atoi(r.out);
}

/* Of a hundred masters that fail over to one host, each would wake the announcers of all. */
static void an_announcer_sleeps_through_what_is_added(void **state)
{
	pid_t announcer = 0;
	int before;

	(void)state;
	lab_config(us, "announce = 9\n" CONFIG4);
	vip("claim", "mymaster");
	assert_int_equal(lab_host_processes(us, &announcer), 1);
	lab_sleep_ms(600); /* it has asked who else has the VIP */
	before = sleeps(announcer);
	lab_must(us, "for i in $(seq 20); do ip addr add 10.7.0.$i/32 dev eth0; done");
	assert_in_range(sleeps(announcer) - before, 0, 5);
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0"); /* but not through that */
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
}

#define TWO_MASTERS COUNCIL_CONFIG "[other]\nvip = 10.0.0.77\n"

/* The addresses are looked at once for all masters, but not for what is then changed. */
static void what_has_come_meanwhile_is_not_claimed(void **state)
{
	pid_t sync;

	(void)state;
	lab_config(us, TWO_MASTERS);
	council_says("A3 A3 A3");
	council[1]->turn[1] = council[1]->turn[0];
	for (enum fake_question q = FAKE_ADDRESS; q <= FAKE_MASTER; q++)
		council[1]->turn[1].says[q].wait_ms = 300;
	council[1]->turns = 2;
	sync = lab_spawn(us, NULL, (const char *const[]){lab_program(), "sync", NULL});
	assert_true(LAB_UNTIL(council[1]->connections == 2, 2000));
	council_vip(true);
	assert_int_equal(lab_wait(sync, 5000), 0);
	assert_null(lab_log_wait(us, "claimed " VIP4, 0));
	assert_non_null(lab_log_wait(us, "claimed 10.0.0.77", 500));
}

/* The end of a packet socket takes 5 to 25 ms: one for each of a thousand masters was too long. */
static void many_masters_share_a_packet_socket(void **state)
{
	(void)state;
	lab_config(us, TWO_MASTERS "[third]\nvip = 10.0.0.78\n");
	council_says("A3 A3 A3");
	assert_int_equal(lab_sh(us, &r, "strace -E ASAN_OPTIONS=detect_leaks=0 -qq -o /run/strace "
				"-e trace=socket %s sync 2>&1", lab_program()), 0);
	assert_non_null(lab_log_wait(us, "claimed 10.0.0.78", 500));
	assert_int_equal(lab_sh(us, &r, "test $(grep -c AF_PACKET /run/strace) = 1"), 0);
}

/* The cases of the rule itself are the unit tests' affair; these go the whole way. */
static void majorities(void **state)
{
	static const struct {
		const char *votes;
		char master; /* 0: none */
	} cases[] = {
		{"A1", 'A'},
		{"A1 A1", 'A'},
		{"A1 -", 0},
		{"A1 A1 -", 'A'},
		{"A1 - -", 0},
		{"A1 A1 A1 -", 'A'},
		{"A1 A1 - -", 0},
		{"A1 A1 A1 - -", 'A'},
		{"A1 A1 - - -", 0},
		{"A1 A1 A1 0 0", 'A'}, /* known, and not to be asked */
		{"A1 A1 0 0 0", 0},
		{"A1 A1 A1 n n", 'A'},
		{"A1 n n", 0},
		{"? A1 A1", 0}, /* nor who its fellows are */
		{"! A1 A1", 0},
		{"A1 ! !", 0},
		{"A1 A1 ! ?", 0},
		{"A A A", 0},
		{"- A1 A1", 0},
		/* a Sentinel just restarted, with what it once wrote down */
		{"A1 B2 B2", 'B'},
		{"B1 A2 A2", 'A'},
		/* between the leader's promotion and the others' hearing of it */
		{"B1 A2 B1", 'A'},
		{"A2 B1 B1 B1 B1", 'A'},
		{"A9 B10 A9", 'B'},
		{"A1 B2 C3", 'C'},
		/* no agreement */
		{"A2 B2 A1", 0},
		{"A2 B2 A2", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int holds = 0; holds < 2; holds++) {
			bool after = cases[i].master ? cases[i].master == 'A' : holds;
			int status = cases[i].master ? 0 : 1;

			council_vip(holds);
			council_says(cases[i].votes);
			vip("sync");
			if (r.status != status || (lab_addr_copies(us, VIP4) == 1) != after)
				fail_msg("\"%s\", VIP %s before: status %d, VIP %s\n%s",
					 cases[i].votes, holds ? "here" : "not here", r.status,
					 is_here() ? "here" : "not here", r.err);
			lab_log_clear(us);
		}
}

/* Who did not say it must not be taken for one who has no fellows. */
static void fellows_that_are_not_told(void **state)
{
	static const char *const answers[] = {
		"-NOPERM this user has no permissions to run the 'sentinel|sentinels' command\r\n",
		"-ERR unknown subcommand\r\n",
		"*-1\r\n",
		"+OK\r\n",
		":0\r\n",
		"$0\r\n\r\n",
		"",
		"*2\r\n*0\r\n",
		"HTTP/1.1 400 Bad Request\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
		for (int holds = 0; holds < 2; holds++) {
			council_vip(holds);
			council_says(holds ? "B3" : "A3");
			fake_format(&council[0]->turn[0], FAKE_FELLOWS, "%s", answers[i]);
			vip("sync");
			if (r.status != 1 || is_here() != (holds == 1))
				fail_msg("fellows: \"%s\": status %d, the VIP %s\n%s", answers[i],
					 r.status, is_here() ? "here" : "not here", r.err);
			lab_log_clear(us);
		}
}

/* They are listed, and lack what it takes to ask them. */
static void fellows_that_are_garbage(void **state)
{
	static const char *const entries[] = {
		"*0\r\n",
		"+what\r\n",
		"*-1\r\n",
		"*2\r\n$2\r\nip\r\n$8\r\n" PEER4 "\r\n",
		"*3\r\n$2\r\nip\r\n$8\r\n" PEER4 "\r\n$4\r\nport\r\n",
		"*4\r\n$2\r\nip\r\n$0\r\n\r\n$4\r\nport\r\n$5\r\n26380\r\n",
		"*4\r\n$2\r\nip\r\n:1\r\n$4\r\nport\r\n:26380\r\n",
		"*4\r\n$2\r\nip\r\n$8\r\n" PEER4 "\r\n$4\r\nport\r\n$5\r\n99999\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		council_says("A3");
		fake_format(&council[0]->turn[0], FAKE_FELLOWS, "*2\r\n%s%s", entries[i],
			    entries[i]);
		vip("sync");
		expect(1, "127.0.0.1:26379: " OUR4 ":6379, epoch 3");
		assert_true(is_gone());
	}
}

/* On the leader SENTINEL MASTER shows the old address beside the new epoch. */
static void the_leader_in_the_middle_of_a_failover(void **state)
{
	(void)state;
	council_vip(true);
	council_says("A1 B2 A1");
	fake_format(&council[1]->turn[0], FAKE_MASTER,
		    "*6\r\n$2\r\nip\r\n$8\r\n" OUR4 "\r\n$4\r\nport\r\n$4\r\n6379\r\n$12\r\n"
		    "config-epoch\r\n$1\r\n2\r\n");
	vip("sync");
	expect(0, "released", "the master is " PEER4 ":6379");
}

/* ---- no truth ---- */

static void it_says_who_answered_what(void **state)
{
	char *before = netns_state();

	(void)state;
	council_says("A2 B2 ? ! -");
	vip("sync");
	expect(1, "mymaster: undecided: no majority of its Sentinels agrees on a master",
	       "127.0.0.1:26379: " OUR4 ":6379, epoch 2", PEER4 ":26380: " PEER4 ":6379, epoch 2",
	       PEER4 ":26381: does not know it", PEER4 ":26382: NOAUTH",
	       PEER4 ":26383: it closed the connection", "not here");
	expect_unchanged(before);
	council_vip(true);
	before = netns_state();
	vip("sync");
	expect(1, "undecided", "the VIP stays here");
	council_says("A2 0 0");
	vip("sync");
	expect(1, "?: cannot be asked", "the VIP stays here");
	expect_unchanged(before);
	fake_stop(council[0]);
	vip("sync");
	expect(1, "127.0.0.1:26379: Connection refused", "the VIP stays here");
}

/* ---- time ---- */

/* One second for all of them together, however they hang. */
static void fellows_that_hang(void **state)
{
	(void)state;
	council_vip(true);
	council_says("A3 h h h h");
	vip("sync");
	assert_in_range(council_ms(), 800, 1600 * lab_slow());
	expect(1, PEER4 ":26380: it did not answer in time");
	council_says("A3 A3 A3 h h");
	vip("sync");
	assert_in_range(council_ms(), 0, 1600 * lab_slow());
	expect_quiet(0);
	council_says("h A3 A3"); /* it was to say who the others are */
	vip("sync");
	assert_in_range(council_ms(), 400, 1600 * lab_slow());
	expect(1, "127.0.0.1:26379: it did not answer in time");
	council_says("A3 A3 h");
	for (int i = 0; i < 2; i++) {
		council[i]->turn[0].drip = true;
		council[i]->turn[0].drip_us = 50; /* about 20 ms for the longest */
	}
	vip("sync");
	assert_in_range(council_ms(), 0, 1600 * lab_slow());
	expect_quiet(0);
}

/* A name server that hangs must not take its time for each of them. */
static void fellows_with_names_that_hang(void **state)
{
	static const char entry[] = "*4\r\n$2\r\nip\r\n$14\r\nnobody.example\r\n"
				    "$4\r\nport\r\n$5\r\n2638%d\r\n";
	char ten[1000] = "*10\r\n";

	(void)state;
	lab_file(us, "etc/resolv.conf", 0644, 0, "nameserver 10.0.0.99\n");
	council_vip(true);
	council_says("A3 A3 A3 n n");
	vip("sync");
	assert_in_range(council_ms(), 0, 1700 * lab_slow());
	expect_quiet(0);
	council_says("A3");
	for (int i = 0; i < 10; i++)
		snprintf(ten + strlen(ten), sizeof ten - strlen(ten), entry, i);
	fake_format(&council[0]->turn[0], FAKE_FELLOWS, "%s", ten);
	vip("sync");
	expect(1, "nobody.example:26380: its name does not resolve", "the VIP stays here");
	assert_in_range(council_ms(), 250, 1700 * lab_slow());
}

/* What a release leaves that was killed half-way: it stands, but nothing that is sent to it comes in. */
static void it_mends_a_sealed_vip(void **state)
{
	(void)state;
	council_vip(true);
	council_says("A3 A3 A3");
	lab_must(us, "ip route del local " VIP4 " dev eth0 table local");
	assert_int_equal(vip("status"), 1);
	assert_non_null(strstr(r.out, VIP4 " on eth0 does not work: it has no local route"));
	assert_non_null(strstr(r.out, "sentinel-vip sync mymaster"));
	vip("sync");
	expect(0, "claimed " VIP4 " on eth0");
	lab_must(us, "ip route show table local | grep -q '^local " VIP4 " dev eth0 proto kernel'");
	vip("sync");
	expect_quiet(0);
	vip("status");
	assert_null(strstr(r.out, "does not work"));
}

int netns_sync_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(with_one_missing_all_are_announced),
		test(what_agrees_is_left_in_silence),
		test(what_stands_is_announced_again),
		test(what_must_not_be_announced_again),
		test(each_is_asked_once),
		test(it_claims_and_releases),
		test(it_completes_what_is_missing),
		test(it_mends_a_sealed_vip),
		test(what_changes_meanwhile_is_not_done),
		test(an_announcer_sleeps_through_what_is_added),
		test(what_has_come_meanwhile_is_not_claimed),
		test(many_masters_share_a_packet_socket),
		test(majorities),
		test(fellows_that_are_not_told),
		test(fellows_that_are_garbage),
		test(the_leader_in_the_middle_of_a_failover),
		test(it_says_who_answered_what),
		test(fellows_that_hang),
		test(fellows_with_names_that_hang),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
