/* SPDX-License-Identifier: MIT */
/*
 * What changes on the host while Sentinel takes its time to answer: the kernel was asked before,
 * and what it said then is not what counts. And whose password a conversation is opened with.
 */
#include "netns-council.h"

#include <signal.h>
#include <stdio.h>

#define ANSWER_MS 200 /* less than is waited for, and long after the kernel was asked */

/* The master is HOST by an answer that comes late; until then `change` is made. */
static void call(const char *host, const char *change)
{
	const char *const argv[] = {"sh", "-c", change, NULL};
	struct fake_turn *t = fake_turn(council[0], 0, host, 6379, "3", NULL);
	pid_t changer;

	t->says[FAKE_ADDRESS].wait_ms = ANSWER_MS;
	changer = lab_spawn(us, "change", argv);
	vip(SENTINELS_CALL(host));
	assert_int_equal(lab_wait(changer, 5000), 0);
}

static void the_last_address_has_gone(void **state)
{
	(void)state;
	council_vip(true);
	lab_must(us, "ip route add default via " PEER4);
	call(PEER4, "sleep 0.1; ip addr del " OUR4 "/24 dev eth0");
	assert_int_equal(r.status, 2);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

static void the_vip_has_come(void **state)
{
	(void)state;
	call(PEER4, "sleep 0.1; ip addr add " VIP4 "/32 dev eth0");
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

static void the_vip_has_gone(void **state)
{
	(void)state;
	council_vip(true);
	call(OUR4, "sleep 0.1; ip addr del " VIP4 "/32 dev eth0");
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

static void the_interface_is_down(void **state)
{
	(void)state;
	call(OUR4, "sleep 0.1; ip link set eth0 down");
	assert_int_equal(r.status, 1);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_equal(lab_capture_count(eyes, lab_is_announcement, VIP4), 0);
}

/* Sentinel was heard, so that trying again is safe: there may be descriptors by then. */
static void there_are_no_descriptors(void **state)
{
	(void)state;
	council_says("A3");
	/* enough to speak to Sentinel, not enough for a packet socket, nor for the log */
	assert_int_equal(lab_sh(us, &r, "ulimit -n 5; exec %s mymaster leader start " OLD4 " 6379 " OUR4 " 6379",
				lab_program()),
			 1);
	assert_int_equal(fake_heard(council[0], "GET-MASTER-ADDR-BY-NAME mymaster\n"), 1);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/* Neither can ask, so the one that came later knows more: it went on without the lock. */
static void an_older_call_stands_back(void **state)
{
	const char *const older[] = {lab_program(), SENTINELS_CALL(OUR4), NULL};
	pid_t pid;

	(void)state;
	council_vip(true);
	council_says("h");
	pid = lab_spawn(us, "older", older);
	/* it asks when it has the lock */
	assert_true(LAB_UNTIL(fake_heard(council[0], "GET-MASTER-ADDR-BY-NAME mymaster\n") == 1, 3000));
	kill(pid, SIGSTOP);
	sentinel(PEER4);
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	kill(pid, SIGCONT);
	assert_int_equal(lab_wait(pid, 5000), 2);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_non_null(lab_log_wait(us, "a newer run has overtaken this one", 500));
}

static void each_master_has_its_own_password(void **state)
{
	(void)state;
	lab_file(us, "one", 0600, 0, "password = first\n");
	lab_file(us, "two", 0600, 0, "password = second\n");
	lab_config(us, "sentinel-auth = /run/one\n" CONFIG4
		   "[other]\nvip = 10.0.0.251\nsentinel-auth = /run/two\n"
		   "[third]\nvip = 10.0.0.252\n");
	council_says("B3");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(fake_heard(council[0], "AUTH first\n"), 1);
	assert_int_equal(fake_heard(council[0], "AUTH second\n"), 1);
	assert_int_equal(council[0]->connections, 2);
}

int netns_meanwhile_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(the_last_address_has_gone), test(the_vip_has_come),
		test(the_vip_has_gone),		 test(the_interface_is_down),
		test(there_are_no_descriptors),	 test(an_older_call_stands_back),
		test(each_master_has_its_own_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
