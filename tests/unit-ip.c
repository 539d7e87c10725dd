/* SPDX-License-Identifier: MIT */
/* Addresses, endpoints and ports: read whole or refused, compared in binary. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void addresses_are_read(void **state)
{
	static const struct {
		const char *text;
		sa_family_t family;
		const char *canonical;
	} cases[] = {
		{ "10.0.0.2", AF_INET, "10.0.0.2" },
		{ "0.0.0.0", AF_INET, "0.0.0.0" },
		{ "255.255.255.255", AF_INET, "255.255.255.255" },
		{ "fd00::2", AF_INET6, "fd00::2" },
		{ "FD00:0:0:0::0002", AF_INET6, "fd00::2" },
		{ "::", AF_INET6, "::" },
		{ "2001:db8::10.0.0.2", AF_INET6, "2001:db8::a00:2" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", AF_INET6,
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		/* RFC 4291 section 2.5.5.2, in each spelling */
		{ "::ffff:10.0.0.2", AF_INET, "10.0.0.2" },
		{ "::FFFF:a00:2", AF_INET, "10.0.0.2" },
		{ "0:0:0:0:0:ffff:0a00:0002", AF_INET, "10.0.0.2" },
		/* deprecated IPv4-compatible ones are IPv6 */
		{ "::10.0.0.2", AF_INET6, "::10.0.0.2" },
	};
	char text[IP_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip;

		assert_int_equal(ip_parse(cases[i].text, &ip), 0);
		assert_int_equal(ip.family, cases[i].family);
		assert_string_equal(ip_text(&ip, text), cases[i].canonical);
	}
}

static void address_bytes_are_in_network_order(void **state)
{
	static const uint8_t v4[] = { 10, 1, 2, 3 };
	static const uint8_t v6[] = { 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2 };
	struct ip ip = unit_ip("10.1.2.3");

	(void)state;
	assert_memory_equal(ip.bytes, v4, sizeof(v4));
	ip = unit_ip("fd00::102");
	assert_memory_equal(ip.bytes, v6, sizeof(v6));
	assert_int_equal(ip_bits(&ip), 128);
	ip = unit_ip("::ffff:10.1.2.3");
	assert_memory_equal(ip.bytes, v4, sizeof(v4));
	assert_int_equal(ip_bits(&ip), 32);
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const cases[] = {
		"", " 10.0.0.1", "10.0.0.1 ", "10.0.0.1\n", "10.0.0", "10.0.0.1.", "10.0.0.256",
		"010.0.0.1", "0xa.0.0.1", "167772161", "10.0.0.1/24", "10.0.0.1:6379",
		"1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", ":::", "fd00::2::1", "[fd00::2]",
		"fe80::1%eth0", "g::1", "::ffff:10.0.0.256", "redis-2", "localhost", "*",
		"10.0.0.\xd9\xa1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip = { .family = 77 };

		if (ip_parse(cases[i], &ip) != -EINVAL)
			fail_msg("\"%s\" was taken for an address", cases[i]);
		assert_int_equal(ip.family, 77);
	}
}

static void comparison_looks_at_the_address_only(void **state)
{
	struct ip a = unit_ip("10.0.0.2"), b = a, none = { 0 }, none_too = { 0 };
	struct ip v6 = unit_ip("a00:2::");

	(void)state;
	memset(b.bytes + 4, 0x5a, sizeof(b.bytes) - 4);	/* no part of an IPv4 address */
	assert_true(ip_equal(&a, &b));
	b.bytes[3]++;
	assert_false(ip_equal(&a, &b));
	assert_memory_equal(a.bytes, v6.bytes, 4);
	assert_false(ip_equal(&a, &v6));
	assert_false(ip_equal(&v6, &a));
	assert_false(ip_equal(&none, &none_too));
	assert_false(ip_equal(&none, &a));
	assert_false(ip_equal(&a, &none));
	a = unit_ip("fd00::2");
	b = unit_ip("fd00::3");
	assert_false(ip_equal(&a, &b));
	b = unit_ip("FD00:0::2");
	assert_true(ip_equal(&a, &b));
}

/* One bit after the other, as slowly as it is plain. */
static bool same_net_slowly(const struct ip *a, const struct ip *b, unsigned prefixlen)
{
	for (unsigned bit = 0; bit < prefixlen; bit++)
		if ((a->bytes[bit / 8] >> (7 - bit % 8) & 1) !=
		    (b->bytes[bit / 8] >> (7 - bit % 8) & 1))
			return false;
	return true;
}

static void subnets_are_told_apart(void **state)
{
	struct ip a = unit_ip("10.0.0.1"), b = unit_ip("10.0.0.254"), c = unit_ip("10.0.1.1");
	struct ip v6 = unit_ip("fd00::1"), none = { 0 };

	(void)state;
	assert_true(ip_same_net(&a, &b, 24));
	assert_false(ip_same_net(&a, &b, 25));
	assert_false(ip_same_net(&a, &c, 24));
	assert_true(ip_same_net(&a, &c, 23));
	assert_true(ip_same_net(&a, &c, 0));
	assert_true(ip_same_net(&a, &a, 32));
	assert_false(ip_same_net(&a, &a, 33));
	assert_false(ip_same_net(&v6, &v6, 129));
	assert_false(ip_same_net(&a, &v6, 0));
	assert_false(ip_same_net(&none, &none, 0));
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		struct ip x = { .family = i % 2 == 0 ? AF_INET : AF_INET6 }, y;
		unsigned bits = ip_bits(&x), flip = (unsigned)random() % bits;
		unsigned prefixlen = (unsigned)random() % (bits + 1);

		for (size_t j = 0; j < sizeof(x.bytes); j++)
			x.bytes[j] = (uint8_t)random();
		y = x;
		y.bytes[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
		assert_int_equal(ip_same_net(&x, &y, prefixlen),
				 same_net_slowly(&x, &y, prefixlen));
		assert_false(ip_equal(&x, &y));
	}
}

static void loopback_is_known(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = {
		{ "127.0.0.1", true }, { "127.255.255.255", true }, { "::1", true },
		{ "::ffff:127.0.0.1", true }, { "126.255.255.255", false }, { "128.0.0.1", false },
		{ "::2", false }, { "7f00::1", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip = unit_ip(cases[i].text);

		assert_int_equal(ip_is_loopback(&ip), cases[i].is);
	}
}

static void no_address_has_a_text(void **state)
{
	struct ip none = { 0 };
	char text[IP_TEXT_SIZE];

	(void)state;
	assert_string_equal(ip_text(&none, text), "(no address)");
}

static void endpoints_have_a_text(void **state)
{
	char text[ENDPOINT_TEXT_SIZE];
	struct endpoint e = { .host = "10.0.0.2", .port = 6379 };

	(void)state;
	assert_string_equal(endpoint_text(&e, text), "10.0.0.2:6379");
	strcpy(e.host, "fd00::2");
	assert_string_equal(endpoint_text(&e, text), "[fd00::2]:6379");
	strcpy(e.host, "redis-2");
	e.port = 65535;
	assert_string_equal(endpoint_text(&e, text), "redis-2:65535");
	e.host[0] = '\0';
	assert_string_equal(endpoint_text(&e, text), "(nothing):65535");
	strcpy(e.host, "/run/redis/sentinel.sock");
	e.port = 0;
	assert_string_equal(endpoint_text(&e, text), "/run/redis/sentinel.sock");
	e.port = 65535;
	memset(e.host, ':', sizeof(e.host) - 1);	/* the longest there can be */
	assert_int_equal(strlen(endpoint_text(&e, text)), sizeof(e.host) - 1 + 8);
}

static void endpoints_are_made_of_two_words(void **state)
{
	struct endpoint e, untouched = { .port = 77 };
	struct ip ip = unit_ip("10.0.0.2");
	char host[HOST_SIZE + 1];

	(void)state;
	assert_true(endpoint_make("::ffff:10.0.0.2", "6379", &e));
	assert_string_equal(e.host, "::ffff:10.0.0.2");
	assert_true(ip_equal(&e.ip, &ip));
	assert_int_equal(e.port, 6379);
	assert_true(endpoint_make("redis-2", "1", &e));
	assert_int_equal(e.ip.family, AF_UNSPEC);
	memset(host, 'h', sizeof(host));
	host[HOST_SIZE] = '\0';
	assert_false(endpoint_make(host, "1", &untouched));
	assert_false(endpoint_make("", "1", &untouched));
	assert_false(endpoint_make("redis-2", "0", &untouched));
	assert_false(endpoint_make("redis-2", "x", &untouched));
	assert_int_equal(untouched.port, 77);
	host[HOST_SIZE - 1] = '\0';
	assert_true(endpoint_make(host, "1", &e));
	assert_string_equal(e.host, host);
}

static void endpoints_are_compared_by_what_is_known(void **state)
{
	static const struct {
		const char *host, *port, *other, *other_port;
		bool equal;
	} cases[] = {
		{ "10.0.0.2", "6379", "10.0.0.2", "6379", true },
		{ "10.0.0.2", "6379", "10.0.0.2", "6380", false },
		{ "10.0.0.2", "6379", "10.0.0.3", "6379", false },
		{ "10.0.0.2", "6379", "::ffff:10.0.0.2", "6379", true },
		{ "fd00::2", "6379", "FD00:0::0002", "6379", true },
		{ "redis-2", "6379", "Redis-2", "6379", true },
		{ "redis-2", "6379", "redis-3", "6379", false },
		{ "redis-2", "6379", "10.0.0.2", "6379", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct endpoint a, b;

		assert_true(endpoint_make(cases[i].host, cases[i].port, &a));
		assert_true(endpoint_make(cases[i].other, cases[i].other_port, &b));
		assert_int_equal(endpoint_equal(&a, &b), cases[i].equal);
		assert_int_equal(endpoint_equal(&b, &a), cases[i].equal);
	}
}

static void ports_are_read_whole(void **state)
{
	static const char *const refused[] = { "",       "x",    "6379x", "x6379",  " 6379",
					       "6379 ",  "-1",   "+1",    "65536",  "000001",
					       "100000", "0x10", "1e3",   "6379\n", "\xd9\xa1" };
	uint16_t port = 7;

	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		assert_int_equal(port_parse(refused[i], true, &port), -EINVAL);
		assert_int_equal(port, 7);
	}
	assert_int_equal(port_parse("0", false, &port), -EINVAL);
	assert_int_equal(port_parse("00000", false, &port), -EINVAL);
	assert_int_equal(port, 7);
	assert_int_equal(port_parse("0", true, &port), 0);
	assert_int_equal(port, 0);
	assert_int_equal(port_parse("1", false, &port), 0);
	assert_int_equal(port, 1);
	assert_int_equal(port_parse("65535", false, &port), 0);
	assert_int_equal(port, 65535);
}

static void networks_have_their_addresses(void **state)
{
	static const char list[] = "192.168.0.0/16 fc00::/7 10.0.0.0/8 ::1/128";
	struct ip ip;

	(void)state;
	ip = unit_ip("10.255.0.1");
	assert_true(ip_in_networks(list, &ip));
	assert_false(ip_in_networks("", &ip));
	assert_false(ip_in_networks("fc00::/7", &ip));
	assert_true(ip_in_networks("::/0 0.0.0.0/0", &ip));
	assert_false(ip_in_networks("10.0.0.0 10.0.0.0/99 x/8 /8", &ip));
	ip = unit_ip("11.0.0.1");
	assert_false(ip_in_networks(list, &ip));
	ip = unit_ip("192.168.7.7");
	assert_true(ip_in_networks(list, &ip));
	ip = unit_ip("fd00::5");
	assert_true(ip_in_networks(list, &ip));
	ip = unit_ip("::1");
	assert_true(ip_in_networks(list, &ip));
	ip = unit_ip("::2");
	assert_false(ip_in_networks(list, &ip));
}

int unit_ip_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_have_their_addresses),
		cmocka_unit_test(addresses_are_read),
		cmocka_unit_test(address_bytes_are_in_network_order),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(comparison_looks_at_the_address_only),
		cmocka_unit_test(subnets_are_told_apart),
		cmocka_unit_test(loopback_is_known),
		cmocka_unit_test(no_address_has_a_text),
		cmocka_unit_test(endpoints_have_a_text),
		cmocka_unit_test(endpoints_are_made_of_two_words),
		cmocka_unit_test(endpoints_are_compared_by_what_is_known),
		cmocka_unit_test(ports_are_read_whole),
	};

	return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
