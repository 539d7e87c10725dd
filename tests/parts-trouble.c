/* SPDX-License-Identifier: MIT */
/* A kernel that refuses, lacks something, is short of memory or says nothing. */
#include "parts.h"

#include <errno.h>
#include <grp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <unistd.h>

/* The three functions, with what they must not write on an error. */
static struct {
	int count, destroy, listens;
	size_t counted, destroyed;
	bool listening;
} said;

static void call_all(double ms)
{
	struct ip ip = parts_ip(VIP4);

	said.counted = said.destroyed = 77;
	said.listening = true;
	parts_in(us);
	said.count = tcp_count(&ip, 1, clock_ms() + ms, &said.counted);
	said.listens = tcp_listens(&ip, PORT + 1, clock_ms() + ms, &said.listening);
	said.destroy = tcp_destroy(&ip, 1, clock_ms() + ms, &said.destroyed);
	parts_out();
}

static void expect_untouched(void)
{
	if (said.count < 0)
		assert_int_equal(said.counted, 77);
	if (said.destroy < 0)
		assert_int_equal(said.destroyed, 77);
	if (said.listens < 0)
		assert_true(said.listening);
}

/* ---- what the kernel refuses or lacks ---- */

/* In a child that is in the host already: 0 when all is as it should be, or the line. */
static int as_nobody(void *arg)
{
	struct ip ip = parts_ip(VIP4);
	double deadline = clock_ms() + HOLDS_MS;
	size_t n = 77;
	bool listens;

	(void)arg;
	if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		return __LINE__ % 256;
	if (tcp_destroy(&ip, 1, deadline, &n) != -EPERM || n != 77)
		return __LINE__ % 256;
	if (tcp_count(&ip, 1, deadline, &n) != 0 || n != 1)
		return __LINE__ % 256;
	if (tcp_listens(&ip, PORT, deadline, &listens) != 0 || !listens)
		return __LINE__ % 256;
	return 0;
}

static void nobody_may_look_but_not_destroy(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	assert_int_equal(lab_call(us, NULL, 5000, as_nobody, NULL), 0);
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

static uint8_t other_family, other_protocol;
static uint16_t other_type;
static bool no_walk;	/* through both families at once */

/* Makes of a request one that this kernel has nothing for, so that it is the one that answers. */
static int turn_away(const void *data, size_t size)
{
	for_each_message(header, data, size) {
		struct inet_diag_req_v2 *request = NLMSG_DATA(header);

		if (header->nlmsg_type == TCPDIAG_GETSOCK) {
			if (no_walk)
				header->nlmsg_type = 999;
			continue;
		}
		if (other_protocol != 0)
			request->sdiag_protocol = other_protocol;
		if (header->nlmsg_type != SOCK_DESTROY)
			continue;
		if (other_family != 0)
			request->sdiag_family = other_family;
		if (other_type != 0)
			header->nlmsg_type = other_type;
	}
	return 0;
}

static void without_destroy(void **state)
{
	struct pair pairs[40];

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++)
		pairs[i] = parts_pair(peer, parts_door, VIP4, PORT);
	parts_on_send = turn_away;
	other_type = other_protocol = 0;
	other_family = AF_NETLINK;	/* listed by sock_diag as well, never destroyed */
	call_all(HOLDS_MS);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	assert_int_equal(said.count, 0);
	assert_int_equal(said.counted, COUNT(pairs));
	expect_untouched();
	other_family = 0;
	other_type = 999;		/* as SOCK_DESTROY was before Linux 4.5 */
	call_all(HOLDS_MS);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	expect_untouched();
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_true(parts_alive(&pairs[i]));
		parts_close(&pairs[i]);
	}
}

/* The kernel says it at the end of a dump that had begun well. */
static void without_tcp_diag(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	parts_on_send = turn_away;
	other_family = 0;
	other_type = 0;
	other_protocol = 253;		/* RFC 3692: for experiments */
	no_walk = true;
	call_all(HOLDS_MS);
	other_protocol = 0;
	no_walk = false;
	assert_int_equal(said.count, -EOPNOTSUPP);
	assert_int_equal(said.listens, -EOPNOTSUPP);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	expect_untouched();
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

/* Then each family is listed by itself, and all is found as before. */
static void without_a_walk_through_both(void **state)
{
	int both = parts_listener(us, "*", PORT + 2);
	struct pair pairs[3] = { parts_pair(peer, parts_door, VIP4, PORT),
				 parts_pair(peer, both, VIP4, PORT + 2),
				 parts_pair(peer, both, VIP6, PORT + 2) };

	(void)state;
	parts_on_send = turn_away;
	other_family = 0;
	other_type = 0;
	no_walk = true;
	assert_int_equal(parts_count(VIP4), 2);
	assert_int_equal(parts_count(VIP6), 1);
	assert_true(parts_listens(VIP4, PORT) && parts_listens(VIP6, PORT + 2));
	assert_int_equal(parts_destroy(VIP4), 2);
	assert_int_equal(parts_destroy(VIP6), 1);
	no_walk = false;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_true(parts_reset(&pairs[i], 50));
		parts_close(&pairs[i]);
	}
	close(both);
}

static unsigned sent;

static int count_sent(const void *data, size_t size)
{
	(void)data;
	(void)size;
	sent++;
	return 0;
}

/* The walk goes through the connections of the whole machine: one for all families is enough. */
static void one_walk_finds_all(void **state)
{
	struct ip ips[2] = { parts_ip(VIP4), parts_ip(VIP6) };
	size_t connections[2];

	(void)state;
	sent = 0;
	parts_on_send = count_sent;
	parts_in(us);
	assert_int_equal(tcp_count(ips, 2, clock_ms() + HOLDS_MS, connections), 0);
	parts_out();
	assert_int_equal(sent, 1);
	assert_true(parts_listens(VIP4, PORT));
	assert_int_equal(sent, 2);
}

/* ---- time and memory ---- */

static void the_deadline_has_passed(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	call_all(-1);
	assert_int_equal(said.count, -ETIMEDOUT);
	assert_int_equal(said.listens, -ETIMEDOUT);
	assert_int_equal(said.destroy, -ETIMEDOUT);
	expect_untouched();
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

static ssize_t silence(ssize_t size)
{
	(void)size;
	errno = EAGAIN;
	return -1;
}

static void the_kernel_is_silent(void **state)
{
	double begun = clock_ms();

	(void)state;
	parts_on_received = silence;
	call_all(100);
	assert_int_equal(said.count, -ETIMEDOUT);
	assert_int_equal(said.listens, -ETIMEDOUT);
	assert_int_equal(said.destroy, -ETIMEDOUT);
	expect_untouched();
	assert_in_range((unsigned)(clock_ms() - begun), 298, 450);
}

static unsigned skip, times;
static int fault;

static int fail_now(void)
{
	if (skip > 0) {
		skip--;
		return 0;
	}
	if (times == 0)
		return 0;
	times--;
	errno = fault;
	return -1;
}

static int fail_to_send(const void *data, size_t size)
{
	(void)data;
	(void)size;
	return fail_now();
}

/* Twice, at the first call, the second, ...: what is tried again begins anew. */
static void the_kernel_is_only_busy(void **state)
{
	static const struct {
		int error;
		bool sending;
	} faults[] = { { ENOBUFS, false }, { EINTR, false }, { ENOBUFS, true } };
	struct pair pairs[900];

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++)
		pairs[i] = parts_pair(peer, parts_door, VIP4, PORT);
	for (size_t i = 0; i < COUNT(faults) * 4; i++) {
		fault = faults[i / 4].error;
		parts_on_receive = faults[i / 4].sending ? NULL : fail_now;
		parts_on_send = faults[i / 4].sending ? fail_to_send : NULL;
		skip = i % 4;
		times = 2;
		assert_int_equal(parts_count(VIP4), COUNT(pairs));
		assert_true(times == 0 || (faults[i / 4].sending && i % 4 >= 1));
		times = 2;
		skip = 0;
		assert_true(parts_listens(VIP4, PORT));
		assert_int_equal(times, 0);
	}
	parts_fault_clear(NULL);
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_true(parts_alive(&pairs[i]));
		parts_close(&pairs[i]);
	}
}

static bool is_told(int err)
{
	/* with memory short until the deadline, either is the reason */
	return err == -fault || (fault == ENOBUFS && err == -ETIMEDOUT);
}

static void errors_are_told(void **state)
{
	static const int faults[] = { ENOMEM, EPERM, ENOBUFS };
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	for (size_t i = 0; i < COUNT(faults); i++) {
		parts_on_receive = fail_now;
		skip = 0;
		times = UINT32_MAX;
		fault = faults[i];
		call_all(100);
		assert_true(is_told(said.count) && is_told(said.listens) && is_told(said.destroy));
		expect_untouched();
	}
	parts_fault_clear(NULL);
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

static void no_descriptor_is_left(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);
	int before = open_files();

	(void)state;
	call_all(-1);
	call_all(HOLDS_MS);
	assert_int_equal(said.destroyed, 1);
	assert_int_equal(open_files(), before);
	parts_close(&pair);
}

int parts_trouble_tests(void)
{
	const struct CMUnitTest tests[] = {
		door_test(nobody_may_look_but_not_destroy),
		door_test(without_destroy),
		door_test(without_tcp_diag),
		door_test(without_a_walk_through_both),
		door_test(one_walk_finds_all),
		door_test(the_deadline_has_passed),
		door_test(the_kernel_is_silent),
		door_test(the_kernel_is_only_busy),
		door_test(errors_are_told),
		door_test(no_descriptor_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
