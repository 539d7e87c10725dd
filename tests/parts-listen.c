/* SPDX-License-Identifier: MIT */
/* Who listens at a port where a VIP would reach it: on a wildcard, or on the VIP itself. */
#include "parts.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

bool parts_listens(const char *address, uint16_t port)
{
	struct ip ip = parts_ip(address);
	bool listens;
	int err;

	parts_in(us);
	err = tcp_listens(&ip, port, clock_ms() + HOLDS_MS, &listens);
	parts_out();
	assert_int_equal(err, 0);
	return listens;
}

static void who_listens(void **state)
{
	static const struct {
		const char *listen;
		bool on4, on6;
	} cases[] = {
		{ "0.0.0.0", true, false },	{ "::", false, true },
		{ "*", true, true },		{ VIP4, true, false },
		{ VIP6, false, true },		{ OUR4, false, false },
		{ OUR6, false, false },		{ "127.0.0.1", false, false },
		{ "::1", false, false },	{ "10.0.0.251", false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int listener = parts_listener(us, cases[i].listen, PORT);

		assert_int_equal(parts_listens(VIP4, PORT), cases[i].on4);
		assert_int_equal(parts_listens(VIP6, PORT), cases[i].on6);
		assert_false(parts_listens(VIP4, PORT + 1));
		assert_false(parts_listens(VIP6, PORT - 1));
		close(listener);
		assert_false(parts_listens(VIP4, PORT));
		assert_false(parts_listens(VIP6, PORT));
	}
}

static int mapped_listener(const char *address)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	int fd = lab_socket(us, AF_INET6, SOCK_STREAM, 0), on = 1;

	assert_int_equal(inet_pton(AF_INET6, address, &at.sin6_addr), 1);
	if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
		lab_fail("%s: %m", address);
	return fd;
}

/* IPv4 addresses in an IPv6 socket, and several listeners where only the last one counts. */
static void who_listens_mapped(void **state)
{
	int fd = mapped_listener("::ffff:0.0.0.0"), others[3];

	(void)state;
	assert_true(parts_listens(VIP4, PORT));
	assert_false(parts_listens(VIP6, PORT));
	close(fd);
	for (unsigned first = 0; first < 2; first++) {	/* in either order */
		others[0] = first == 0 ? parts_listener(us, "::", PORT) :
			mapped_listener("::ffff:0.0.0.0");
		others[1] = first == 1 ? parts_listener(us, "::", PORT) :
			mapped_listener("::ffff:0.0.0.0");
		assert_true(parts_listens(VIP4, PORT));
		assert_true(parts_listens(VIP6, PORT));
		close(others[0]);
		close(others[1]);
	}
	fd = mapped_listener("::ffff:" VIP4);
	assert_true(parts_listens(VIP4, PORT));
	assert_false(parts_listens("10.0.0.251", PORT));
	close(fd);
	others[0] = parts_listener(us, OUR4, PORT);
	others[1] = parts_listener(us, "127.0.0.1", PORT);
	others[2] = parts_listener(us, "::1", PORT);
	assert_false(parts_listens(VIP4, PORT));
	fd = parts_listener(us, VIP4, PORT);
	assert_true(parts_listens(VIP4, PORT));
	close(fd);
	for (size_t i = 0; i < COUNT(others); i++)
		close(others[i]);
}

/* A connection on the port is no listener, nor is a socket that is only bound. */
static void who_does_not_listen(void **state)
{
	int listener = parts_listener(us, "0.0.0.0", PORT);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int bound = lab_socket(us, AF_INET, SOCK_STREAM, 0), on = 1;
	struct pair pair;

	(void)state;
	parts_hold_vips(us);
	pair = parts_pair(peer, listener, VIP4, PORT);
	close(listener);
	if (setsockopt(bound, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(bound, (struct sockaddr *)&at, sizeof(at)) < 0)
		lab_fail("bind: %m");
	assert_false(parts_listens(VIP4, PORT));
	parts_close(&pair);
	close(bound);
}

int parts_listen_tests(void)
{
	const struct CMUnitTest tests[] = {
		parts_test(who_listens),
		parts_test(who_listens_mapped),
		parts_test(who_does_not_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
