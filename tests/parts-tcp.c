/* SPDX-License-Identifier: MIT */
/* Which connections are a VIP's, what becomes of them and of all others. */
#include "parts.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

size_t parts_count(const char *address)
{
	struct ip ip = parts_ip(address);
	size_t n = 0;
	int err;

	parts_in(us);
	err = tcp_count(&ip, 1, clock_ms() + HOLDS_MS, &n);
	parts_out();
	assert_int_equal(err, 0);
	return n;
}

size_t parts_destroy(const char *address)
{
	struct ip ip = parts_ip(address);
	size_t n = 0;
	int err;

	parts_in(us);
	err = tcp_destroy(&ip, 1, clock_ms() + HOLDS_MS, &n);
	parts_out();
	assert_int_equal(err, 0);
	return n;
}

static void drop_vips(void)
{
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
}

/* Each way in which a client can be connected with a VIP. */
static const struct way {
	const char *listen, *to, *counted;
} ways[] = {
	{ "0.0.0.0", VIP4, VIP4 },
	{ VIP4, VIP4, VIP4 },
	{ "::", VIP6, VIP6 },
	{ VIP6, VIP6, VIP6 },
	{ "*", VIP4, VIP4 },	/* v4-mapped */
	{ "*", VIP6, VIP6 },
};

static void each_way_is_counted_and_reset(void **state)
{
	(void)state;
	parts_hold_vips(us);
	for (size_t i = 0; i < COUNT(ways); i++) {
		const char *other = ways[i].counted[0] == '1' ? VIP6 : VIP4;
		int listener = parts_listener(us, ways[i].listen, PORT);
		struct pair pair = parts_pair(peer, listener, ways[i].to, PORT);

		assert_int_equal(parts_count(ways[i].counted), 1);
		assert_int_equal(parts_count(other), 0);
		assert_int_equal(parts_destroy(other), 0);
		assert_true(parts_alive(&pair));
		assert_int_equal(parts_destroy(ways[i].counted), 1);
		assert_true(parts_reset(&pair, 50));
		assert_int_equal(parts_count(ways[i].counted), 0);
		assert_int_equal(parts_destroy(ways[i].counted), 0);
		parts_close(&pair);
		close(listener);
	}
}

static void server_reads_an_error(void **state)
{
	int listener = parts_listener(us, "0.0.0.0", PORT);
	struct pair pair;
	char byte;

	(void)state;
	parts_hold_vips(us);
	pair = parts_pair(peer, listener, VIP4, PORT);
	assert_int_equal(parts_destroy(VIP4), 1);
	assert_int_equal(recv(pair.server, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNABORTED);
	parts_close(&pair);
	close(listener);
}

/* In the order of a release: the reset leaves before the address does. */
static void clients_are_told_before_the_address_goes(void **state)
{
	int listener = parts_listener(us, "*", PORT);
	struct pair pairs[2];

	(void)state;
	parts_hold_vips(us);
	pairs[0] = parts_pair(peer, listener, VIP4, PORT);
	pairs[1] = parts_pair(peer, listener, VIP6, PORT);
	assert_int_equal(parts_destroy(VIP4), 1);
	assert_int_equal(parts_destroy(VIP6), 1);
	drop_vips();
	for (size_t i = 0; i < 2; i++) {
		assert_true(parts_reset(&pairs[i], 50));
		parts_close(&pairs[i]);
	}
	close(listener);
}

static void listeners_are_left_alone(void **state)
{
	static const char *const listens[] = { "0.0.0.0", "::", VIP4, VIP6 };
	int listeners[COUNT(listens)];
	struct pair pair;

	(void)state;
	parts_hold_vips(us);
	for (size_t i = 0; i < COUNT(listens); i++)
		listeners[i] = parts_listener(us, listens[i], (uint16_t)(PORT + i));
	pair = parts_pair(peer, listeners[2], VIP4, PORT + 2);
	assert_int_equal(parts_count(VIP4), 1);
	assert_int_equal(parts_destroy(VIP4), 1);
	assert_int_equal(parts_destroy(VIP6), 0);
	parts_close(&pair);
	for (size_t i = 0; i < COUNT(listens); i++) {
		pair = parts_pair(peer, listeners[i], i % 2 == 0 ? VIP4 : VIP6, (uint16_t)(PORT + i));
		assert_true(parts_alive(&pair));
		parts_close(&pair);
		close(listeners[i]);
	}
}

/* Not even those to the same port, from the same client, or that differ in one bit. */
static void other_addresses_are_left_alone(void **state)
{
	static const char *const others[] = { OUR4, OUR6, "10.0.0.251", "10.0.1.250",
		"138.0.0.250", "fd00::251", "fd00::8000:0:250", "7d00::250" };
	int listener = parts_listener(us, "*", PORT);
	struct pair pairs[COUNT(others)], vips[2];

	(void)state;
	parts_hold_vips(us);
	for (size_t i = 0; i < COUNT(others); i++) {
		if (i != 0 && i != 1)
			lab_must(us, "ip addr add %s/%s dev eth0 nodad", others[i],
				 others[i][4] == ':' ? "128" : "32");
		lab_must(peer, "ip route replace %s/%s dev eth0", others[i],
			 others[i][4] == ':' ? "128" : "32");
		pairs[i] = parts_pair(peer, listener, others[i], PORT);
	}
	vips[0] = parts_pair(peer, listener, VIP4, PORT);
	vips[1] = parts_pair(peer, listener, VIP6, PORT);
	assert_int_equal(parts_destroy(VIP4), 1);
	assert_int_equal(parts_destroy(VIP6), 1);
	for (size_t i = 0; i < COUNT(others); i++) {
		assert_true(parts_alive(&pairs[i]));
		assert_int_equal(parts_count(others[i]), 1);
		parts_close(&pairs[i]);
	}
	parts_close(&vips[0]);
	parts_close(&vips[1]);
	close(listener);
}

/* Nor those that have the VIP at their other end, or in another network namespace. */
static void other_ends_are_left_alone(void **state)
{
	int ours = parts_listener(us, "*", PORT), theirs = parts_listener(peer, "0.0.0.0", PORT);
	struct pair in, out;

	(void)state;
	lab_must(peer, "ip addr add " VIP4 "/32 dev eth0");
	in = parts_pair(us, theirs, VIP4, PORT);
	out = parts_pair(peer, ours, OUR4, PORT);
	assert_int_equal(parts_count(VIP4), 0);
	assert_int_equal(parts_destroy(VIP4), 0);
	assert_true(parts_alive(&in));
	assert_true(parts_alive(&out));
	parts_close(&in);
	parts_close(&out);
	close(ours);
	close(theirs);
}

/* A client on this host: both ends have the VIP, and both are told. */
static void local_clients_are_told(void **state)
{
	int listener = parts_listener(us, "0.0.0.0", PORT);
	struct pair pair;
	char byte;

	(void)state;
	parts_hold_vips(us);
	pair = parts_pair(us, listener, VIP4, PORT);
	assert_int_equal(parts_count(VIP4), 2);
	assert_true(parts_destroy(VIP4) >= 1);	/* one may go by the reset of the other */
	assert_int_equal(recv(pair.client, &byte, 1, MSG_DONTWAIT), -1);
	assert_true(errno == ECONNRESET || errno == ECONNABORTED);
	parts_close(&pair);
	close(listener);
}

/* ---- several addresses ---- */

static void each_address_has_its_number(void **state)
{
	const struct ip ips[] = { parts_ip(VIP6), parts_ip("10.0.0.77"), parts_ip(VIP4),
		parts_ip(OUR4), parts_ip(VIP4), { .family = AF_UNSPEC } };
	static const size_t expected[] = { 1, 0, 2, 1, 2, 0 };
	static const char *const to[] = { VIP4, VIP4, VIP6, OUR4 };
	int listener = parts_listener(us, "*", PORT);
	struct pair pairs[COUNT(to)];
	size_t numbers[COUNT(ips)], destroyed;
	int counted, err;

	(void)state;
	parts_hold_vips(us);
	for (size_t i = 0; i < COUNT(to); i++)
		pairs[i] = parts_pair(peer, listener, to[i], PORT);
	parts_in(us);
	counted = tcp_count(ips, COUNT(ips) - 1, clock_ms() + HOLDS_MS, numbers);
	err = tcp_destroy(ips, 3, clock_ms() + HOLDS_MS, &destroyed);
	parts_out();
	assert_int_equal(counted, 0);
	for (size_t i = 0; i < COUNT(ips) - 1; i++)
		assert_int_equal(numbers[i], expected[i]);
	assert_int_equal(err, 0);
	assert_int_equal(destroyed, 3);
	for (size_t i = 0; i < COUNT(to); i++) {
		assert_int_equal(parts_reset(&pairs[i], i < 3 ? 50 : 0), i < 3);
		parts_close(&pairs[i]);
	}
	close(listener);
}

/* As many as fit in a filter of the kernel's, and more: the VIPs at its ends and behind. */
static void many_addresses(void **state)
{
	static const size_t counts[] = { 1, 2, 31, 32, 33, 64, 300 };
	int listener = parts_listener(us, "*", PORT);
	struct ip ips[300];
	size_t numbers[300];

	(void)state;
	parts_hold_vips(us);
	for (size_t i = 0; i < COUNT(counts); i++) {
		size_t n = counts[i], destroyed = 0;
		struct pair four = parts_pair(peer, listener, VIP4, PORT);
		struct pair six = parts_pair(peer, listener, VIP6, PORT);
		struct pair other = parts_pair(peer, listener, OUR4, PORT);
		int err, counted;

		for (size_t j = 0; j < n; j++) {
			ips[j] = parts_ip(j % 2 == 0 ? "10.9.0.0" : "fd99::");
			ips[j].bytes[3] = (uint8_t)j;
		}
		ips[0] = parts_ip(VIP4);
		ips[n - 1] = parts_ip(n == 1 ? VIP4 : VIP6);
		parts_in(us);
		counted = tcp_count(ips, n, clock_ms() + HOLDS_MS, numbers);
		err = tcp_destroy(ips, n, clock_ms() + HOLDS_MS, &destroyed);
		parts_out();
		assert_int_equal(counted, 0);
		assert_int_equal(err, 0);
		for (size_t j = 0; j < n; j++)
			assert_int_equal(numbers[j], j == 0 || j == n - 1);
		assert_int_equal(destroyed, n == 1 ? 1 : 2);
		assert_true(parts_reset(&four, 50));
		assert_int_equal(parts_reset(&six, n == 1 ? 0 : 50), n > 1);
		assert_true(parts_alive(&other));
		parts_close(&four);
		parts_close(&six);
		parts_close(&other);
		parts_destroy(VIP6);
	}
	close(listener);
}

static void no_address_at_all(void **state)
{
	int listener = parts_listener(us, "0.0.0.0", PORT);
	struct pair pair = parts_pair(peer, listener, OUR4, PORT);
	const struct ip none = { .family = AF_UNSPEC };
	size_t destroyed = 77;
	int err;

	(void)state;
	parts_in(us);
	err = tcp_destroy(&none, 0, clock_ms() + HOLDS_MS, &destroyed);
	parts_out();
	assert_int_equal(err, 0);
	assert_int_equal(destroyed, 0);
	parts_in(us);
	err = tcp_destroy(&none, 1, clock_ms() + HOLDS_MS, &destroyed);	/* no address, no connection */
	parts_out();
	assert_true(err < 0 || destroyed == 0);
	assert_true(parts_alive(&pair));
	parts_close(&pair);
	close(listener);
}

int parts_tcp_tests(void)
{
	const struct CMUnitTest tests[] = {
		parts_test(each_way_is_counted_and_reset),
		parts_test(server_reads_an_error),
		parts_test(clients_are_told_before_the_address_goes),
		parts_test(listeners_are_left_alone),
		parts_test(other_addresses_are_left_alone),
		parts_test(other_ends_are_left_alone),
		parts_test(local_clients_are_told),
		parts_test(each_address_has_its_number),
		parts_test(many_addresses),
		parts_test(no_address_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
