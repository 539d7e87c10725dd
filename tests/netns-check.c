/* SPDX-License-Identifier: MIT */
/*
 * `check` and `status` on one host whose Sentinels are fakes: what a real cluster is not brought into, or
 * would not outlive.
 */
#include "netns-council.h"
#include "netns-tcp.h"

#include <stdio.h>
#include <stdlib.h>

/* What is printed between these two, the first included; static. */
static const char *part(const char *from, const char *to)
{
	static char text[sizeof r.out];
	const char *begin = strstr(r.out, from), *end = begin ? strstr(begin + 1, to) : NULL;

	if (begin == NULL)
		fail_msg("\"%s\" is not in:\n%s%s", from, r.out, r.err);
	snprintf(text, sizeof text, "%.*s", end ? (int)(end - begin) : (int)strlen(begin), begin);
	return text;
}

static int count(const char *text)
{
	int n = 0;

	for (const char *p = r.out; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

/* ---- the Sentinels ---- */

/* Each that is named is looked at once, as whoever logs in there. */
static void several_sentinels_are_told_apart(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	fake_turn(fake_start(us, "127.0.0.1", 26390), 0, OUR4, 6379, "3", NULL);
	lab_file(us, "auth", 0600, 0, "password = secret\n");
	lab_config(us, CONFIG4 "[second]\nsentinel = 127.0.0.1:26390\nvip = 10.0.0.251\n"
			       "[third]\nvip = 10.0.0.252\n"
			       "[fourth]\nsentinel-auth = /run/auth\nvip = 10.0.0.253\n"
			       "[fifth]\nsentinel = 127.0.0.1:26390\nvip = 10.0.0.254\n");
	vip("check");
	assert_int_equal(count("\nSentinel 127.0.0.1:26379\n"), 2); /* without a password, and with it */
	assert_int_equal(count("\nSentinel 127.0.0.1:26390\n"), 1);
	assert_int_equal(count("\nMaster "), 5);
	assert_non_null(strstr(part("\nMaster second\n", "\nMaster "), "only 1 of them watches it"));
	assert_non_null(strstr(part("\nMaster third\n", "\nMaster "), "all 3 name " OUR4 ":6379"));
	vip("status");
	/* each is set apart from the one before */
	assert_int_equal(count("\n\nsecond: WRONG"), 1);
	assert_int_equal(count("\n\nthird: WRONG"), 1);
	assert_int_equal(count("\n\nfourth: WRONG"), 1);
}

/* It would be asked at whoever holds the VIP. */
static void a_sentinel_is_known_under_a_vip(void **state)
{
	static const char *const fellows[] = {PEER4 " 26380", VIP4 " 26379", NULL};

	(void)state;
	council_says("A3 A3");
	fake_turn(council[0], 0, OUR4, 6379, "3", fellows);
	vip("check");
	expect_said("  error    Sentinels     one of them is known under a VIP, " VIP4 "\n");
	expect_said("sentinel announce-ip OWN-ADDRESS in its sentinel.conf, then SENTINEL RESET mymaster on the "
		    "others\n");
}

/* Nor may the name that the master goes by be the VIP's. */
static void the_master_is_known_by_a_name_of_the_vip(void **state)
{
	(void)state;
	lab_file(us, "etc/hosts", 0644, 0, VIP4 " redis\n");
	fake_turn(council[0], 0, "redis", 6379, "3", NULL);
	vip("check");
	expect_said("  error    monitor       127.0.0.1:26379 names a VIP, redis, as the master\n");
}

/* What is to be typed leads to it, too. */
static void a_sentinel_at_a_socket(void **state)
{
	struct fake *f = fake_start(us, "sentinel.sock", 0);
	struct fake_turn *t = fake_turn(f, 0, OUR4, 6379, "3", NULL);

	(void)state;
	fake_format(t, FAKE_ADDRESS, "*-1\r\n");
	lab_config(us, "sentinel = unix:/run/sentinel.sock\n" CONFIG4);
	vip("check");
	expect_said("  error    Sentinel      it does not know mymaster\n");
	expect_said("redis-cli -s /run/sentinel.sock SENTINEL MASTERS shows");
}

/* ---- the host ---- */

/* Whether a connection can be ended is tried with one over lo: where that cannot be made, it is said soon. */
static void loopback_does_not_work(void **state)
{
	static const char *const breaks[] = {
		"ip link set lo down",
		("nft add table ip t; nft add chain ip t c '{type filter hook output priority 0;}'; "
		 "nft add rule ip t c oif lo drop"),
		"nft flush chain ip t c; nft add rule ip t c oif lo reject with tcp reset",
	};

	(void)state;
	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
		lab_must(us, "%s", breaks[i]);
		vip("check");
		assert_true(lab_took_at_most(&r, 3000));
		expect_said("  warning  connections   ending them could not be tried: ");
		expect_said("remedy:       ip link set lo up; modprobe tcp_diag; let no packet filter ");
		lab_must(us, "ip link set lo up");
	}
	lab_must(us, "nft delete table ip t");
	vip("check");
	expect_said("  ok       connections   of a VIP that leaves can be ended (SOCK_DESTROY)\n");
}

static void root_may_not_read_everything(void **state)
{
	(void)state;
	lab_must(us, "chown 65534 /run/sentinel-vip.conf");
	lab_run(us, &r, 10000,
		(const char *const[]){"setpriv", "--bounding-set", "-dac_override,-dac_read_search",
				      lab_program(), "check", NULL});
	assert_int_equal(r.status, 1);
	expect_said("  error    configuration /run/sentinel-vip.conf: Permission denied\n");
	expect_said("remedy:       namei -l /run/sentinel-vip.conf shows what this user may not read\n");
}

/* ---- its interface ---- */

static void the_holders_link_is_down(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	council_vip(true);
	lab_must(us, "ip link set eth0 down");
	vip("check");
	expect_said("  error    interface     eth0 is down\n");
	expect_said("remedy:       ip link set eth0 up\n");
}

/* The kernel has no IPv6 where an MTU is less than IPv6 asks for, nor where it was told at boot. */
static void an_mtu_too_small_for_ipv6(void **state)
{
	(void)state;
	lab_config(us, CONFIG_BOTH);
	lab_must(us, "ip link set eth0 mtu 1200");
	vip("check");
	expect_said("  error    IPv6          the kernel has no IPv6 on eth0, but a VIP is of IPv6\n");
	expect_said("remedy:       ip link set eth0 mtu 1500");
	lab_must(us, "ip link set eth0 mtu 1280");
	vip("check");
	expect_said("  ok       IPv6          is on\n");
}

/* It is the address as it stands that takes others along, whatever the configuration says. */
static void a_vip_that_stands_short(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	council_vip(true);
	vip("check");
	expect_said("  ok       secondaries   promote_secondaries is off, which is no matter");
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0 && ip addr add " VIP4 "/24 dev eth0");
	vip("check");
	expect_said("  warning  secondaries   promote_secondaries is off: ");
}

/* arp_ignore 2: somebody of this host must be in one net with the askers, and a VIP without company is a /32. */
static void a_vip_in_a_net_of_its_own(void **state)
{
	(void)state;
	lab_must(us, "sysctl -qw net.ipv4.conf.eth0.arp_ignore=2");
	lab_config(us, "interface = eth0\n[mymaster]\nvip = 10.1.0.250\n");
	vip("check");
	expect_said("  error    ARP           arp_ignore is 2 and no address of eth0 has 10.1.0.250 in");
	lab_config(us, "interface = eth0\n[mymaster]\nvip = 10.1.0.250/24\n");
	vip("check");
	expect_said("  error    ARP           arp_ignore is 2 and no address of eth0 has 10.1.0.250 in");
	lab_must(us, "ip addr add 10.1.0.1/24 dev eth0");
	vip("check");
	expect_said("  ok       ARP           arp_ignore 2 and arp_announce 0 let it answer for its VIPs\n");
}

/* ---- the VIPs ---- */

static void an_address_that_does_not_work(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	council_vip(true);
	lab_must(us, "ip route del local " VIP4 " table local");
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said(VIP4 " on eth0 does not work: it has no local route");
	lab_must(us, "%s sync", lab_program());
	vip("status");
	assert_null(strstr(r.out, "does not work"));
}

/* Somebody else has it, or may have it still. */
static void an_address_that_is_in_doubt(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	lab_config(us, CONFIG6);
	lab_must(us, "sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.conf.eth0.dad_transmits=60 && "
		     "ip addr add " VIP6 "/128 dev eth0");
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said(VIP6 " on eth0 does not work: its duplicate address detection failed or has not ended");
	lab_must(us, "%s sync", lab_program());
	vip("status");
	assert_null(strstr(r.out, "does not work"));
}

static void an_address_that_stands_twice(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	council_vip(true);
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth1");
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said(VIP4 " is on eth1 as well, where it does not belong");
	lab_must(us, "%s sync", lab_program());
	vip("status");
	assert_null(strstr(r.out, "as well"));
}

/* The Sentinels are reached by another interface, so that all agree; and no client reaches the VIP. */
static void a_holder_without_carrier(void **state)
{
	(void)state;
	council_says("A3 A3 A3");
	lab_host_link(us, "eth1", "10.7.0.1/24", (const char *)NULL);
	lab_config(us, "announce = none\n[mymaster]\ninterface = eth1\nvip = 10.7.0.250\nvip = 10.7.0.251\n");
	tcp_listener("0.0.0.0", 6379);
	vip("sync");
	vip("status");
	assert_int_equal(r.status, 0);
	lab_carrier(us, "eth1", false);
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said("mymaster: WRONG: this host is the master, but nobody reaches 10.7.0.250: eth1 has no carrier\n");
	expect_said("also       this host is the master, but nobody reaches 10.7.0.251: eth1 has no carrier\n");
	expect_said("remedy     look at the cable, the switch port, or the other end of eth1\n");
	vip("status", "--json");
	assert_int_equal(r.status, 1);
	expect_said("\"verdict\": \"wrong\"");
	expect_said("\"problems\": [\"this host is the master, but nobody reaches 10.7.0.250: eth1 has no carrier\"");
	/* once is enough */
	vip("check");
	expect_said("  error    interface     eth1 has no carrier\n");
	assert_int_equal(count("no carrier"), 1);
	/* where it is no holder it is not yet wrong, and where it is down that is what is said */
	council_says("B3 B3 B3");
	for (int i = 0; i < 2; i++) {
		vip("status");
		assert_null(strstr(r.out, "nobody reaches"));
		vip("sync");
	}
	council_says("A3 A3 A3");
	vip("sync");
	lab_must(us, "ip link set eth1 down");
	vip("status");
	assert_null(strstr(r.out, "nobody reaches"));
	lab_must(us, "ip link set eth1 up");
	lab_carrier(us, "eth1", true);
	vip("status");
	assert_int_equal(r.status, 0);
}

/* The master's own address says nothing, where it should; who answers for the VIP is known for another. */
static void a_holder_beside_a_mute_master(void **state)
{
	(void)state;
	lab_must(peer, "ip addr add " VIP4 "/32 dev eth0");
	council_says("C3 C3 C3");
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said(" (" PEER4 ") answers for " VIP4 " on eth0, but the master is 10.0.0.3:6379\n");
	expect_said("remedy     on " PEER4 ": sentinel-vip sync mymaster\n");
	vip("status", "--json");
	expect_said("\"host\": \"" PEER4 "\", \"expected\": false");
	/* an address of another network is not to be heard of here */
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0; ip addr add " OUR4 "/31 dev eth0; ip route add " PEER4
		     " dev eth0");
	vip("status");
	assert_int_equal(r.status, 0);
	expect_said("answered by ");
	lab_must(us, "ip addr add 10.0.0.4/24 dev eth0");
	vip("status");
	assert_int_equal(r.status, 1);
	/* and a master that answers with it is well */
	lab_must(peer, "ip addr add 10.0.0.3/24 dev eth0");
	vip("status");
	assert_int_equal(r.status, 0);
	/* somebody else's answer may be the master's all the same */
	lab_must(peer, "ip addr del 10.0.0.3/24 dev eth0; ip addr del " VIP4 "/32 dev eth0");
	lab_host_link(peer, "eth1", VIP4 "/32", (const char *)NULL);
	lab_must(peer, "sysctl -qw net.ipv4.conf.all.arp_ignore=1");
	vip("status");
	assert_int_equal(r.status, 0);
}

/* What a call would warn of, status tells. */
static void an_address_on_loopback(void **state)
{
	(void)state;
	council_says("B3 B3 B3");
	lab_must(us, "ip addr add " VIP4 "/32 dev lo");
	vip("status");
	expect_said("  note       " VIP4 " is left on lo\n");
}

/* Nobody knows who the master is, so nobody knows whether that host may have it. */
static void a_holder_that_nobody_can_judge(void **state)
{
	(void)state;
	council_says("A3 B3 h");
	lab_must(peer, "ip addr add " VIP4 "/32 dev eth0");
	vip("status", "--json");
	assert_int_equal(r.status, 2);
	expect_said("\"host\": \"" PEER4 "\", \"expected\": null}");
	council_says("B3 B3 B3");
	vip("status", "--json");
	assert_int_equal(r.status, 0);
	expect_said("\"host\": \"" PEER4 "\", \"expected\": true}");
}

int netns_check_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(several_sentinels_are_told_apart),
		test(a_sentinel_is_known_under_a_vip),
		test(the_master_is_known_by_a_name_of_the_vip),
		test(a_sentinel_at_a_socket),
		test(loopback_does_not_work),
		test(root_may_not_read_everything),
		test(the_holders_link_is_down),
		test(an_mtu_too_small_for_ipv6),
		test(a_vip_that_stands_short),
		test(a_vip_in_a_net_of_its_own),
		test(an_address_that_does_not_work),
		test(an_address_that_is_in_doubt),
		test(an_address_that_stands_twice),
		test(a_holder_without_carrier),
		test(a_holder_beside_a_mute_master),
		test(an_address_on_loopback),
		test(a_holder_that_nobody_can_judge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
