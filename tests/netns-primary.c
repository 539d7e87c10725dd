/* SPDX-License-Identifier: MIT */
/*
 * A VIP that was bound before the host's own address is its primary in the kernel's eyes, and would
 * take it along when it goes. Whatever the host had, routes included, must be there afterwards.
 */
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
