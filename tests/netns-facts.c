/* SPDX-License-Identifier: MIT */
/*
 * What this host knows of itself and how a call is compared with it: addresses in any spelling,
 * host names, VIPs that are servers, interfaces that are missing, down or without carrier.
 */
#include "netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a VIP is no server, a server no VIP ---- */

static void to_is_a_vip(void **state)
{
	const char *const to[] = {VIP4, VIP6, "fd00:0::0250", "10.0.0.77", "::ffff:10.0.0.250"};

	(void)state;
	lab_config(us, CONFIG_BOTH "[other]\nvip = 10.0.0.77\n");
	for (int here = 0; here < 2; here++) {
		for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
			char *before = netns_state();

			sentinel(to[i]);
			expect(2, "mymaster: refused", "sentinel monitor");
			expect_unchanged(before);
		}
		lab_must(us, "ip addr replace " VIP4
			     "/32 dev eth0 && ip addr replace 10.0.0.77/32 dev eth0");
	}
}

static void from_is_a_vip(void **state)
{
	const char *const to[] = {OUR4, PEER4};

	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	for (size_t i = 0; i < 2; i++) {
		char *before = netns_state();

		vip("mymaster", "leader", "start", VIP4, "6379", to[i], "6379");
		expect(2, "mymaster: refused", "sentinel monitor");
		expect_unchanged(before);
	}
}

static void from_and_to_on_one_host(void **state)
{
	(void)state;
	vip("mymaster", "leader", "start", OUR4, "6379", OUR4, "6380");
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	vip("mymaster", "leader", "start", OUR4, "6380", OUR4, "6379");
	expect(0, "mymaster: announced " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	vip("mymaster", "leader", "start", PEER4, "6380", PEER4, "6379");
	expect(0, "mymaster: released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
}

/* ---- the host's own address, named as a VIP by mistake ---- */

static void vip_is_the_hosts_own(void **state)
{
	char *before;

	(void)state;
	lab_config(us, CONFIG4);
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && ip addr add " VIP4 "/24 dev eth0 && "
		     "ip route add default via " PEER4);
	before = netns_state();
	sentinel(PEER4);
	expect(2, "mymaster: refused", VIP4, "eth0", "own");
	expect_unchanged(before);
}

/* Neither may the last one of two go. */
static void vips_are_all_that_the_host_has(void **state)
{
	char *before;

	(void)state;
	lab_config(us, CONFIG4 "vip = 10.0.0.251\n");
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && ip addr add " VIP4 "/24 dev eth0 && "
		     "ip addr add 10.0.0.251/24 dev eth0 && ip route add default via " PEER4);
	before = netns_state();
	sentinel(PEER4);
	expect(2, "mymaster: refused", "eth0", "own");
	expect_unchanged(before);
}

/* The route counts in every table, since policy routing is what such hosts have. */
static void default_route_in_another_table(void **state)
{
	char *before;

	(void)state;
	lab_config(us, CONFIG4);
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && ip addr add " VIP4 "/24 dev eth0 && "
		     "ip route add default via " PEER4 " table 100");
	before = netns_state();
	sentinel(PEER4);
	expect(2, "mymaster: refused", VIP4);
	expect_unchanged(before);
}

/* Refused, and nothing changed, with these routes and further addresses beside the VIP. */
static void expect_own(const char *commands)
{
	char *before;

	lab_must(us, "ip addr flush dev eth0 scope global; ip route flush table main; "
		     "ip addr add " VIP4 "/24 dev eth0; %s", commands);
	before = netns_state();
	sentinel(PEER4);
	expect(2, "mymaster: refused", VIP4, "eth0", "own");
	expect_unchanged(before);
}

/* What is no address of the host's own is no reason to take the only one that is. */
static void other_addresses_that_are_not_its_own(void **state)
{
	(void)state;
	lab_config(us, CONFIG4 "[other]\nvip = 10.0.0.251\n");
	expect_own("ip addr add 10.0.0.251/32 dev eth0; ip route add default via " PEER4);
	expect_own("ip addr add 169.254.7.7/16 dev eth0; ip route add default via " PEER4);
}

/* Two halves of all addresses, as VPNs have it, or a nexthop object, which only has a number. */
static void default_routes_in_disguise(void **state)
{
	(void)state;
	lab_config(us, CONFIG4);
	expect_own("ip route add 0.0.0.0/1 via " PEER4 "; ip route add 128.0.0.0/1 via " PEER4);
	expect_own("sysctl -qw net.ipv4.nexthop_compat_mode=0; "
		   "ip nexthop add id 7 via " PEER4 " dev eth0; ip route add default nhid 7");
	expect_own("ip nexthop flush; ip nexthop add id 7 via " PEER4 " dev eth0; "
		   "ip nexthop add id 8 group 7; ip route add default nhid 8");
	/* not of this interface */
	lab_must(us, "ip route flush table main; ip nexthop flush");
	lab_host_link(us, "eth1", "10.7.0.1/24", (const char *)NULL);
	lab_must(us, "ip nexthop add id 9 via 10.7.0.2 dev eth1; ip route add default nhid 9");
	sentinel(PEER4);
	expect(0, "released " VIP4);
}

/* An interface that carries nothing but VIPs is a usual setup. */
static void interface_for_vips_only(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_must(us, "ip route add default via " PEER4);
	lab_config(us, "interface = eth1\n[mymaster]\nvip = 10.7.0.250/24\n");
	sentinel(OUR4);
	expect(0, "claimed 10.7.0.250 on eth1");
	assert_true(lab_has_addr(us, "eth1", "10.7.0.250/32"));
	sentinel(PEER4);
	expect(0, "released 10.7.0.250 from eth1");
	assert_int_equal(lab_addr_copies(us, "10.7.0.250"), 0);
}

/* ---- spellings and names ---- */

static void addresses_are_compared_in_binary(void **state)
{
	const char *const ours[] = {"::ffff:10.0.0.1", "::FFFF:a00:1", "FD00:0:0:0::0001",
				    "fd00:0000::1", "fd00::0.0.0.1"};
	const char *const others[] = {"::ffff:10.0.0.2", "FD00:0:0:0::0002", "10.0.0.11",
				      "fd00::10"};

	(void)state;
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
		sentinel(ours[i]);
		expect(0, "mymaster: claimed " VIP4);
		assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
		assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
		sentinel(others[i % 4]);
		expect(0, "mymaster: released " VIP4);
		assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	}
}

static void to_is_a_host_name(void **state)
{
	(void)state;
	lab_file(us, "etc/hosts", 0644, 0,
		 OUR4 " redis-1\n" PEER4 " redis-2\n" OUR6 " redis-1-6\n");
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	sentinel("redis-1");
	expect(0, "mymaster: claimed " VIP4, "redis-1");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	sentinel("redis-2");
	expect(0, "mymaster: released " VIP4, "redis-2");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	sentinel("redis-1-6");
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
}

static void to_resolves_to_a_vip(void **state)
{
	char *before;

	(void)state;
	lab_file(us, "etc/hosts", 0644, 0, VIP4 " redis-vip\n");
	before = netns_state();
	sentinel("redis-vip");
	expect(2, "mymaster: refused", "sentinel monitor");
	expect_unchanged(before);
}

/*
 * A name server that takes questions and never answers. Returns its socket, where they can be
 * counted.
 */
static int mute_name_server(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = lab_socket(peer, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	lab_file(us, "etc/resolv.conf", 0644, 0, "nameserver " PEER4 "\noptions timeout:%d\n",
		 LAB_RESOLVER_S);
	return fd;
}

static int questions(int fd)
{
	char buf[512];
	int n = 0;

	while (recv(fd, buf, sizeof buf, 0) >= 0)
		n++;
	return n;
}

static void name_server_is_mute(void **state)
{
	int fd = mute_name_server(), ms;
	char *before;

	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	before = netns_state();
	sentinel("redis-1");
	ms = (int)((r.exit_ns - r.exec_ns) / 1000000);
	assert_in_range(ms, 1900, 2500 * lab_slow());
	expect(2, "mymaster: ", "redis-1");
	assert_true(questions(fd) > 0);
	expect_unchanged(before);
	close(fd);
}

static void name_does_not_exist(void **state)
{
	char *before;

	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	before = netns_state();
	sentinel("no-such-host");
	expect(2, "mymaster: ", "no-such-host");
	assert_true(lab_took_at_most(&r, 1900));
	expect_unchanged(before);
}

/* `self` answers without the resolver, in any case and in either place of the config. */
static void self_needs_no_name_server(void **state)
{
	int fd = mute_name_server();

	(void)state;
	lab_config(us, "announce = none\nself = redis-1.example.org\n" CONFIG4
		       "self = alpha redis-1\n");
	sentinel("Redis-1");
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_took_at_most(&r, 500));
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	sentinel("redis-1.example.org");
	expect(0, "mymaster: claimed " VIP4);
	assert_int_equal(questions(fd), 0);
	close(fd);
}

/* FROM decides nothing, so a name there is no reason to wait. */
static void from_is_a_host_name(void **state)
{
	int fd = mute_name_server();

	(void)state;
	vip("mymaster", "observer", "start", "redis-old", "6379", OUR4, "6379");
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_took_at_most(&r, 500));
	assert_int_equal(questions(fd), 0);
	vip("mymaster", "observer", "start", "", "0", PEER4, "6379");
	expect(0, "mymaster: released " VIP4);
	close(fd);
}

/* ---- interfaces ---- */

static void interface_is_missing(void **state)
{
	char *before;

	(void)state;
	lab_config(us, "interface = eth7\n[mymaster]\nvip = " VIP4 "\n");
	before = netns_state();
	sentinel(OUR4);
	expect(2, "mymaster: ", "eth7");
	expect_unchanged(before);
	/* nothing is here, so there is nothing that a missing interface could hinder */
	before = netns_state();
	sentinel(PEER4);
	expect(0, "mymaster: nothing to do");
	expect_unchanged(before);
}

static void interface_is_down(void **state)
{
	char *before;

	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_must(us, "ip link set eth1 down");
	lab_config(us, "interface = eth1\n[mymaster]\nvip = " VIP4 "\nvip = " VIP6 "\n");
	before = netns_state();
	sentinel(OUR4);
	expect(2, "mymaster: ", "eth1", "down", "ip link set");
	expect_unchanged(before);
}

/*
 * After so long the cable is plugged in; what is left of the schedule must then leave, whatever the
 * repeats before it did.
 */
static void carrier_comes(int after_ms, int until_ms)
{
	const char *const vips[] = {VIP4, VIP6};
	int64_t t0;

	lab_carrier(us, "eth0", false);
	assert_true(
		LAB_UNTIL(lab_sh(us, NULL, "ip link show eth0 | grep -q NO-CARRIER") == 0, 3000));
	sentinel(OUR4);
	t0 = r.exit_ns;
	expect(0, "mymaster: claimed " VIP4 " on eth0", "carrier");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	lab_sleep_ms(after_ms);
	lab_carrier(us, "eth0", true);
	for (size_t i = 0; i < 2; i++) {
		int left = until_ms - (int)((lab_now_ns() - t0) / 1000000);

		assert_non_null(lab_capture_wait(eyes, 0, lab_is_announcement, vips[i],
						 left > 0 ? left : 0));
	}
}

static void carrier_comes_soon(void **state)
{
	(void)state;
	carrier_comes(500, 1300);
}

static void carrier_comes_late(void **state)
{
	(void)state;
	carrier_comes(2500, 5300);
}

int netns_facts_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(to_is_a_vip),
		netns_test(from_is_a_vip),
		netns_test(from_and_to_on_one_host),
		netns_test(vip_is_the_hosts_own),
		netns_test(vips_are_all_that_the_host_has),
		netns_test(default_route_in_another_table),
		netns_test(other_addresses_that_are_not_its_own),
		netns_test(default_routes_in_disguise),
		netns_test(interface_for_vips_only),
		netns_test(addresses_are_compared_in_binary),
		netns_test(to_is_a_host_name),
		netns_test(to_resolves_to_a_vip),
		netns_test(name_server_is_mute),
		netns_test(name_does_not_exist),
		netns_test(self_needs_no_name_server),
		netns_test(from_is_a_host_name),
		netns_test(interface_is_missing),
		netns_test(interface_is_down),
		netns_test(carrier_comes_soon),
		netns_test(carrier_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
