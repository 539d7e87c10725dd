/* SPDX-License-Identifier: MIT */
/*
 * Which addresses stand where after a call: claims and releases that succeed. Each is checked by
 * the kernel's own dump.
 */
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- claims ---- */

static void claim_adds_every_vip(void **state)
{
	(void)state;
	lab_config(us, CONFIG_BOTH
		   "vip = 10.0.0.251\nvip = fd00::251\n[other]\nvip = 10.0.0.77\nvip = fd00::77\n");
	sentinel(OUR4);
	expect(0, "]: mymaster: ", "claimed " VIP4 " on eth0", VIP6, "10.0.0.251", "fd00::251",
	       "ms");
	assert_string_equal(r.err, "");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	assert_true(lab_has_addr(us, "eth0", "10.0.0.251/32"));
	assert_true(lab_has_addr(us, "eth0", "fd00::251/128"));
	assert_int_equal(lab_addr_copies(us, "10.0.0.77"), 0);
	assert_int_equal(lab_addr_copies(us, "fd00::77"), 0);
	expect_announced(VIP4);
	expect_announced(VIP6);
	expect_announced("10.0.0.251");
	expect_announced("fd00::251");
}

static void masters_move_one_by_one(void **state)
{
	(void)state;
	lab_config(us, CONFIG_BOTH "[other]\nvip = 10.0.0.77\nvip = fd00::77\n");
	sentinel(OUR4);
	expect(0, "mymaster: ");
	vip("other", "observer", "start", OLD4, "6380", OUR4, "6380");
	expect(0, "]: other: ", "10.0.0.77", "fd00::77");
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 2);
	assert_int_equal(lab_addr_copies(us, "10.0.0.77") + lab_addr_copies(us, "fd00::77"), 2);
	sentinel(PEER4);
	expect(0, "released " VIP4 " from eth0", VIP6);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	assert_int_equal(lab_addr_copies(us, "10.0.0.77") + lab_addr_copies(us, "fd00::77"), 2);
}

/* What a VIP must not bring with it: a second route to the net, a new source address. */
static void vip_is_no_source_and_no_route(const char *prefix4, const char *stands4,
					  const char *prefix6)
{
	static struct lab_result before, after;
	char line[512];

	lab_must(us, "ip route show > /run/r4 && ip -6 route show > /run/r6");
	lab_config(us, "interface = eth0\n[mymaster]\nvip = " VIP4 "%s\nvip = " VIP6 "%s\n",
		   prefix4, prefix6);
	lab_sh(us, &before,
	       "ip route get " PEER4 " && ip route get 10.0.0.251 && ip -6 route get " PEER6
	       " && ip -6 route get fd00::251");
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sh(us, &after,
	       "ip route get " PEER4 " && ip route get 10.0.0.251 && ip -6 route get " PEER6
	       " && ip -6 route get fd00::251");
	assert_string_equal(after.out, before.out);
	lab_must(us, "ip route show | diff /run/r4 -");
	/* the address itself is all that IPv6 adds */
	lab_must(us, "ip -6 route show | grep -v '^" VIP6 " ' | diff /run/r6 -");

	snprintf(line, sizeof line, VIP4 "%s", stands4);
	assert_true(lab_addr_line(us, "eth0", line, line, sizeof line));
	assert_true(strcmp(stands4, "/32") == 0 || strstr(line, " secondary"));
	snprintf(line, sizeof line, VIP6 "%s", *prefix6 ? prefix6 : "/128");
	assert_true(lab_addr_line(us, "eth0", line, line, sizeof line));
	assert_true(!*prefix6 || strstr(line, "noprefixroute"));
	assert_non_null(strstr(line, " nodad"));
	assert_non_null(strstr(line, " deprecated"));
	assert_non_null(strstr(line, "valid_lft forever preferred_lft 0sec"));
	assert_null(strstr(line, "tentative"));
}

static void default_prefix_is_a_host(void **state)
{
	(void)state;
	vip_is_no_source_and_no_route("", "/32", "");
}

static void prefix_of_the_net(void **state)
{
	(void)state;
	vip_is_no_source_and_no_route("/24", "/24", "/64");
}

/* With a prefix longer than the host's own Linux would take it as source address: so it has none. */
static void prefix_longer_than_the_net(void **state)
{
	(void)state;
	vip_is_no_source_and_no_route("/25", "/32", "/65");
}

static void claim_when_already_here(void **state)
{
	char *before;

	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6
		     "/128 dev eth0 nodad preferred_lft 0");
	before = netns_state();
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0", VIP6 " on eth0");
	expect_same_state(before);
	expect_announced(VIP4);
	expect_announced(VIP6);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
	assert_int_equal(lab_addr_copies(us, VIP6), 1);
}

/* What is here stays as it is, whatever prefix it was bound with. */
static void claim_when_here_with_another_prefix(void **state)
{
	(void)state;
	lab_must(us, "ip addr add " VIP4 "/24 dev eth0 && ip addr add " VIP6 "/64 dev eth0 nodad");
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0", VIP6);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/24"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/64"));
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
	assert_int_equal(lab_addr_copies(us, VIP6), 1);
	expect_announced(VIP4);
	expect_announced(VIP6);
}

/* One of two is missing: it is added, the other stays, both are announced. */
static void claim_completes_what_is_missing(void **state)
{
	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0", "claimed " VIP6 " on eth0");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	expect_announced(VIP4);
	expect_announced(VIP6);
}

/* It may be longer than a name. */
static void claim_on_an_altname(void **state)
{
	(void)state;
	lab_must(us,
		 "ip link property add dev eth0 altname enp0s31f6 altname enx001122334455withmore");
	lab_config(us, "interface = enp0s31f6\n[mymaster]\nvip = " VIP4 "\n");
	sentinel(OUR4);
	expect(0, "claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	lab_config(us, "interface = enx001122334455withmore\n[mymaster]\nvip = " VIP4
		       "\nvip = " VIP6 "\n");
	sentinel(OUR4);
	expect(0, "claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	expect_announced(VIP4);
	sentinel(OUR4);
	expect(0, "announced " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

/* Without `interface` it is the one that carries the master's address. */
static void claim_where_the_master_is(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", "10.1.0.1/24", "fd01::1/64", (const char *)NULL);
	lab_config(us, "[mymaster]\nvip = 10.1.0.250\nvip = fd01::250\n");
	sentinel("10.1.0.1");
	expect(0, "claimed 10.1.0.250 on eth1", "fd01::250 on eth1");
	assert_true(lab_has_addr(us, "eth1", "10.1.0.250/32"));
	assert_true(lab_has_addr(us, "eth1", "fd01::250/128"));
}

/* ---- releases ---- */

static void release_when_not_here(void **state)
{
	char *before;

	(void)state;
	before = netns_state();
	sentinel(PEER4);
	expect(0, "]: mymaster: nothing to do");
	assert_string_equal(r.err, "");
	assert_string_equal(r.out, "");
	expect_unchanged(before);
}

/* What the hand that bound it added, routes included, goes with it, and nothing else. */
static void release_of_another_prefix(void **state)
{
	char *before = netns_state();

	(void)state;
	lab_must(us, "ip addr add " VIP4 "/24 dev eth0 && ip addr add " VIP6 "/64 dev eth0 nodad");
	sentinel(PEER4);
	expect(0, "released " VIP4 " from eth0", VIP6 " from eth0");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_equal(lab_addr_copies(us, VIP6), 0);
	expect_unchanged(before);
}

static void release_of_every_copy(void **state)
{
	char *before;

	(void)state;
	lab_host_link(us, "eth1", "10.1.0.1/24", (const char *)NULL);
	before = netns_state();
	lab_must(us,
		 "ip addr add " VIP4 "/24 dev eth0 && ip addr add " VIP4 "/32 dev eth0 && "
		 "ip addr add " VIP4 "/16 dev eth1 && ip addr add " VIP6 "/64 dev eth0 nodad && "
		 "ip addr add " VIP6 "/128 dev eth1 nodad");
	sentinel(PEER4);
	expect(0, "released " VIP4, "eth0", "eth1");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_equal(lab_addr_copies(us, VIP6), 0);
	expect_unchanged(before);
}

static bool has_local_route(const char *vip)
{
	return lab_sh(us, NULL, "ip route show table local type local dev eth0 | grep -q '^local %s '",
		      vip) == 0;
}

/* A release that was killed has left it, and there is a second copy that has its route still. */
static void claim_of_a_copy_without_its_route(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", "10.1.0.1/24", (const char *)NULL);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP4 "/32 dev eth1 && "
		     "ip route del local " VIP4 " dev eth0 table local");
	assert_false(has_local_route(VIP4));
	sentinel(OUR4);
	expect(0, "claimed " VIP4 " on eth0");
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
	assert_true(has_local_route(VIP4));
}

/* A VIP on loopback belongs to somebody's load balancer. */
static void release_spares_loopback(void **state)
{
	(void)state;
	lab_must(us, "ip addr add " VIP4 "/32 dev lo && ip addr add " VIP4 "/32 dev eth0");
	sentinel(PEER4);
	expect(0, "released " VIP4 " from eth0");
	assert_true(lab_has_addr(us, "lo", VIP4 "/32"));
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

/* An address with a peer is deleted by its peer's name. */
static void release_of_a_pointopoint_address(void **state)
{
	(void)state;
	lab_must(us, "ip addr add " VIP4 " peer 10.0.3.1/32 dev eth0");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

static void release_on_an_interface_that_is_down(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", (const char *)NULL);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth1 && ip link set eth1 down");
	sentinel(PEER4);
	expect(0, "released " VIP4 " from eth1");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_not_equal(lab_sh(us, NULL, "ip link show eth1 | grep -q '[<,]UP'"), 0);
}

/* ---- by hand, and only looking ---- */

static void by_hand(void **state)
{
	char *before = netns_state();

	(void)state;
	vip("claim", "mymaster");
	assert_non_null(strstr(r.err, "mymaster: claimed " VIP4 " on eth0"));
	expect(0, "mymaster: claimed " VIP4 " on eth0");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	expect_announced(VIP4);
	vip("release", "mymaster");
	assert_non_null(strstr(r.err, "mymaster: released " VIP4 " from eth0"));
	expect(0, "mymaster: released " VIP4 " from eth0");
	expect_same_state(before);
}

static void dry_run_changes_nothing(void **state)
{
	char *before = netns_state();

	(void)state;
	assert_int_equal(vip("--dry-run", "claim", "mymaster"), 0);
	assert_non_null(strstr(r.out, VIP4));
	assert_non_null(strstr(r.out, VIP6));
	assert_int_equal(
		vip("--dry-run", "mymaster", "leader", "start", OLD4, "6379", OUR4, "6379"), 0);
	assert_non_null(strstr(r.out, VIP4));
	assert_non_null(strstr(r.out, "eth0"));
	expect_unchanged(before);
	lab_must(us, "! test -e /run/sentinel-vip");

	lab_must(us, "ip addr add " VIP4 "/24 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
	before = netns_state();
	assert_int_equal(vip("--dry-run", "release", "mymaster"), 0);
	assert_non_null(strstr(r.out, VIP4 "/24"));
	assert_non_null(strstr(r.out, VIP6));
	assert_int_equal(
		vip("--dry-run", "mymaster", "leader", "start", OLD4, "6379", PEER4, "6379"), 0);
	assert_non_null(strstr(r.out, VIP4 "/24"));
	assert_int_equal(
		vip("--dry-run", "mymaster", "leader", "start", OLD4, "6379", OUR4, "6379"), 0);
	expect_unchanged(before);
}

int netns_state_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(claim_adds_every_vip),
		netns_test(masters_move_one_by_one),
		netns_test(default_prefix_is_a_host),
		netns_test(prefix_of_the_net),
		netns_test(prefix_longer_than_the_net),
		netns_test(claim_when_already_here),
		netns_test(claim_when_here_with_another_prefix),
		netns_test(claim_completes_what_is_missing),
		netns_test(claim_on_an_altname),
		netns_test(claim_where_the_master_is),
		netns_test(release_when_not_here),
		netns_test(release_of_another_prefix),
		netns_test(release_of_every_copy),
		netns_test(claim_of_a_copy_without_its_route),
		netns_test(release_spares_loopback),
		netns_test(release_of_a_pointopoint_address),
		netns_test(release_on_an_interface_that_is_down),
		netns_test(by_hand),
		netns_test(dry_run_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
