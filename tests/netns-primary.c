/* SPDX-License-Identifier: MIT */
/*
 * A VIP that was bound before the host's own address is its primary in the kernel's eyes, and would
 * take it along when it goes. Whatever the host had, routes included, must be there afterwards.
 */
#include "netns-council.h"
#include "netns-tcp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void become_secondary(const char *promote)
{
	lab_must(us,
		 "sysctl -qw net.ipv4.conf.all.promote_secondaries=%s "
		 "net.ipv4.conf.eth0.promote_secondaries=%s && "
		 "ip addr del " OUR4 "/24 dev eth0 && ip addr add " VIP4 "/24 dev eth0 && "
		 "ip addr add " OUR4 "/24 dev eth0 && ip addr add 10.0.0.3/24 dev eth0 && "
		 "ip route add default via " PEER4 " && ip route add 10.9.0.0/16 via " PEER4
		 " src " OUR4 " && ip addr show eth0 | grep -q '" OUR4 "/24.* secondary'",
		 promote, promote);
}

static void host_is_unharmed(void)
{
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_true(lab_has_addr(us, "eth0", OUR4 "/24"));
	assert_true(lab_has_addr(us, "eth0", "10.0.0.3/24"));
	assert_int_equal(lab_addr_copies(us, OUR4), 1);
	assert_int_equal(lab_addr_copies(us, "10.0.0.3"), 1);
	assert_int_equal(
		lab_sh(us, NULL, "ip route show | grep -q '^default via " PEER4 " dev eth0'"), 0);
	assert_int_equal(lab_sh(us, NULL,
				"ip route show | grep -q '^10.9.0.0/16 via " PEER4
				" dev eth0 src " OUR4 "'"),
			 0);
	assert_int_equal(
		lab_sh(us, NULL, "ip route show | grep -q '^10.0.0.0/24 dev eth0.* src " OUR4 "'"),
		0);
	assert_int_equal(lab_sh(us, NULL, "ip addr show eth0 | grep -q '" OUR4 "/24.* secondary'"),
			 1);
	lab_poke(us, PEER4);
}

static void release_of_the_primary(void **state)
{
	(void)state;
	become_secondary("0");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	host_is_unharmed();
}

static void release_of_the_primary_with_promotion(void **state)
{
	(void)state;
	become_secondary("1");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	host_is_unharmed();
}

/* The own address also stands as /32, which must not get lost as something that we put there. */
static void release_of_the_primary_spares_a_host_route(void **state)
{
	(void)state;
	become_secondary("0");
	lab_must(us, "ip addr add 10.0.0.3/32 dev eth0");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	assert_true(lab_has_addr(us, "eth0", "10.0.0.3/32"));
	assert_true(lab_has_addr(us, "eth0", "10.0.0.3/24"));
	assert_true(lab_has_addr(us, "eth0", OUR4 "/24"));
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/* As many as there are, all of them come back: the kernel's answers for all come before one is read. */
static void release_of_the_primary_of_a_thousand(void **state)
{
	struct lab_result count;

	(void)state;
	lab_config(us, "interface = eth0\n[mymaster]\nvip = 10.8.255.250\n");
	lab_must(us, "ip addr add 10.8.255.250/16 dev eth0 && for i in 1 2 3 4; do for j in $(seq 250); do "
		     "echo addr add 10.8.$i.$j/16 dev eth0; done; done | ip -batch -");
	lab_sh(us, &count, "ip addr show eth0 | grep -c 'inet 10.8.*secondary'");
	assert_string_equal(count.out, "1000\n");
	sentinel(PEER4);
	expect(0, "released 10.8.255.250");
	lab_sh(us, &count, "ip addr show eth0 | grep -c 'inet 10.8.*/16'");
	assert_string_equal(count.out, "1000\n");
	assert_int_equal(lab_sh(us, NULL, "ip addr show eth0 | grep -q 10.8.255.250"), 1);
}

/*
 * The label, the metric and the lifetimes of the host's own address survive as well.
 */
static void release_of_the_primary_keeps_details(void **state)
{
	char line[512];

	(void)state;
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && ip addr add " VIP4 "/24 dev eth0 && "
		     "ip addr add " OUR4 "/24 brd 10.0.0.255 label eth0:own metric 77 dev eth0 "
		     "valid_lft 1000 preferred_lft 900");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	assert_true(lab_addr_line(us, "eth0", OUR4 "/24", line, sizeof line));
	assert_non_null(strstr(line, "brd 10.0.0.255"));
	assert_non_null(strstr(line, "eth0:own"));
	assert_non_null(strstr(line, "metric 77"));
	assert_null(strstr(line, "forever"));
}

/* With a peer the addresses are in the peer's subnet, however long the prefix is. */
static void release_of_the_primary_with_a_peer(void **state)
{
	(void)state;
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && "
		     "ip addr add " VIP4 " peer 10.0.0.77 dev eth0 && "
		     "ip addr add " OUR4 " peer 10.0.0.77 dev eth0 && "
		     "ip route add default via 10.0.0.77");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_equal(lab_addr_copies(us, OUR4), 1);
	lab_must(us, "ip addr show eth0 | grep -q '" OUR4 " peer 10.0.0.77/32'");
	lab_must(us, "ip route show | grep -q '^default via 10.0.0.77 dev eth0'");
}

/* The host's own address is renewed: the VIP is promoted, and the subnet has to stay reachable. */
static void promoted_vip_keeps_the_subnet(void **state)
{
	(void)state;
	lab_must(us, "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
	lab_config(us, "interface = eth0\n[mymaster]\nvip = " VIP4 "/24\n");
	sentinel(OUR4);
	expect(0, "claimed " VIP4);
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0 && ip addr add " OUR4 "/24 dev eth0");
	lab_must(us, "ip route show | grep -q '^10.0.0.0/24 dev eth0'");
	lab_must(us, "ip route add default via " PEER4);
}

/* ---- the VIP and the host's own address, whichever comes first ---- */

static void promote_secondaries(int value)
{
	lab_must(us, "sysctl -qw net.ipv4.conf.all.promote_secondaries=%d "
		     "net.ipv4.conf.eth1.promote_secondaries=%d", value, value);
}

/* The host goes to that neighbour by this way. */
#define expect_way(to, way)                                                                        \
	do {                                                                                       \
		lab_sh(us, &r, "ip route get " to "; ip -4 addr; ip route");                       \
		if (strncmp(r.out, to " " way " ", strlen(to " " way " ")) != 0)                   \
			fail_msg("not " way ":\n%s%s", r.out, r.err);                              \
	} while (0)

/* What the kernel says of its routes while a sync runs. */
static void routes_during_sync(void)
{
	pid_t monitor = lab_spawn(us, "monitor", (const char *const[]){"ip", "monitor", "route", "address", NULL});

	lab_must(us, "until ip route add 10.66.0.1/32 via " PEER4 " && sleep 0.05 && grep -q 10.66.0.1 "
		     "/run/monitor; do ip route del 10.66.0.1/32; done");
	vip("sync");
	lab_must(us, "ip route del 10.66.0.1/32; until grep -q 'Deleted 10.66.0.1' /run/monitor; do :; done");
	kill(monitor, SIGKILL);
	lab_wait(monitor, 2000);
}

/* Before DHCP has an address for its interface the VIP comes without its prefix, and stays so. */
static void vip_before_the_own_address(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_config(us, "announce = none\n[mymaster]\ninterface = eth1\nvip = 10.7.0.250/24\n");
	council_says("A3 A3 A3");
	tcp_listener("0.0.0.0", 6379);
	for (int promote = 0; promote < 2; promote++) {
		promote_secondaries(promote);
		vip("sync", "--dry-run");
		expect_said("would add 10.7.0.250/32 on eth1\n");
		vip("sync");
		expect(0, "claimed 10.7.0.250");
		lab_must(us, "ip addr add 10.7.0.1/24 dev eth1");
		expect_way("10.7.0.2", "dev eth1 src 10.7.0.1");
		assert_true(lab_has_addr(us, "eth1", "10.7.0.250/32"));
		routes_during_sync();
		expect_quiet(0);
		assert_int_equal(lab_sh(us, &r, "grep -v '10.66.0.1' /run/monitor"), 1);
		vip("status");
		assert_int_equal(r.status, 0);
		expect_said("on eth1 as /32, ");
		expect_way("10.7.0.2", "dev eth1 src 10.7.0.1");
		lab_must(us, "ip addr flush dev eth1");
	}
}

/* The lease is lost, a sync comes, and then the address is back. */
static void own_address_comes_back(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_config(us, "announce = none\n[mymaster]\ninterface = eth1\nvip = 10.7.0.250/24\n");
	council_says("A3 A3 A3");
	for (int promote = 0; promote < 2; promote++) {
		promote_secondaries(promote);
		lab_must(us, "ip addr add 10.7.0.1/24 dev eth1");
		vip("sync");
		assert_true(lab_has_addr(us, "eth1", "10.7.0.250/24"));
		lab_must(us, "ip addr del 10.7.0.1/24 dev eth1");
		vip("sync");
		lab_must(us, "ip addr add 10.7.0.1/24 dev eth1");
		vip("sync");
		assert_int_equal(r.status, 0);
		expect_way("10.7.0.2", "dev eth1 src 10.7.0.1");
		assert_int_equal(lab_addr_copies(us, "10.7.0.250"), 1);
		lab_log_clear(us);
		vip("sync");
		expect_quiet(0);
		lab_must(us, "ip addr flush dev eth1");
	}
}

/* Another VIP is no address of the host's own: neither brings a route, whichever goes first. */
static void vips_of_a_net_without_an_own_address(void **state)
{
	(void)state;
	lab_must(us, "ip route add 10.9.0.0/16 via " PEER4);
	lab_config(us, "interface = eth0\nverify = no\nannounce = none\n"
		       "[m1]\nvip = 10.9.0.250/24\n[m2]\nvip = 10.9.0.251/24\n");
	for (int promote = 0; promote < 2; promote++) {
		lab_must(us, "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=%d", promote);
		vip("claim", "m1");
		vip("claim", "m2");
		assert_int_equal(lab_addr_copies(us, "10.9.0.251"), 1);
		expect_way("10.9.0.77", "via " PEER4 " dev eth0 src " OUR4);
		vip("release", "m1");
		assert_int_equal(lab_addr_copies(us, "10.9.0.250"), 0);
		assert_int_equal(lab_addr_copies(us, "10.9.0.251"), 1);
		expect_way("10.9.0.77", "via " PEER4 " dev eth0 src " OUR4);
		vip("release", "m2");
	}
}

/* The address is taken and given back at once, so that the VIP was promoted and leads. */
static void own_address_is_renewed(void **state)
{
	int at, from, to;

	(void)state;
	lab_must(us, "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
	lab_config(us, "announce = none\n[mymaster]\nvip = " VIP4 "/24\n");
	council_says("A3 A3 A3");
	vip("sync");
	expect(0, "claimed " VIP4);
	at = tcp_listener("0.0.0.0", 6379);
	from = tcp_client(VIP4, 6379);
	to = tcp_server(at);
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0; ip addr add " OUR4 "/24 dev eth0");
	vip("status");
	assert_int_equal(r.status, 1);
	expect_said("mymaster: WRONG: " VIP4 " on eth0 leads this host's own addresses of its network");
	expect_said("remedy     sentinel-vip sync mymaster\n");
	vip("check");
	expect_said(VIP4 " on eth0 leads this host's own addresses of its network");
	vip("sync", "--dry-run");
	expect_said("would narrow " VIP4 "/24 on eth0 to /32\n");
	routes_during_sync();
	expect(0, "narrowed " VIP4 " on eth0 to /32");
	expect_way(PEER4, "dev eth0 src " OUR4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
	assert_int_equal(lab_addr_copies(us, OUR4), 1);
	/* nobody has noticed */
	assert_int_equal(lab_sh(us, &r, "grep -q 'Deleted local " VIP4 "' /run/monitor"), 1);
	assert_true(tcp_passes(from, to) && tcp_passes(to, from));
	vip("sync");
	expect_quiet(0);
	vip("status");
	assert_int_equal(r.status, 0);
	close(at), close(from), close(to);
}

/* Several may lead, one after the other, of one master and of others: one sync is enough. */
static void own_address_is_renewed_behind_several(void **state)
{
	(void)state;
	lab_must(us, "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
	lab_config(us, "announce = none\n[mymaster]\nvip = " VIP4 "/24\nvip = 10.0.0.251/24\n"
		       "[second]\nvip = 10.0.0.252/24\n");
	council_says("A3 A3 A3");
	vip("sync");
	assert_true(lab_has_addr(us, "eth0", "10.0.0.252/24"));
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0; ip addr add " OUR4 "/24 dev eth0");
	vip("sync");
	assert_int_equal(r.status, 0);
	expect_way(PEER4, "dev eth0 src " OUR4);
	assert_int_equal(lab_sh(us, NULL, "ip addr show eth0 | grep -q '" OUR4 "/24.* secondary'"), 1);
	lab_log_clear(us);
	vip("sync");
	expect_quiet(0);
}

#define council_test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)

int netns_primary_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(release_of_the_primary),
		netns_test(release_of_the_primary_with_promotion),
		netns_test(release_of_the_primary_spares_a_host_route),
		netns_test(release_of_the_primary_of_a_thousand),
		netns_test(release_of_the_primary_keeps_details),
		netns_test(release_of_the_primary_with_a_peer),
		netns_test(promoted_vip_keeps_the_subnet),
		council_test(vip_before_the_own_address),
		council_test(own_address_comes_back),
		netns_test(vips_of_a_net_without_an_own_address),
		council_test(own_address_is_renewed),
		council_test(own_address_is_renewed_behind_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
