/* SPDX-License-Identifier: MIT */
/* The plan's choice of a link, copies on other links, and what the link cannot do. */
#include "unit-plan.h"

#include <errno.h>
#include <string.h>

static void the_configured_interface_is_taken(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth1", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(ETH1);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth1",
		    "announce 10.0.0.250/32 eth1");
	plan_free(&plan);
}

static void without_one_it_is_the_masters(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.1.0.1", 24, ETH1, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.1.0.2", "10.1.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth1",
		    "announce 10.0.0.250/32 eth1", "add fd00::250/128 eth1",
		    "announce fd00::250/128 eth1");
	plan_free(&plan);
}

/* By hand, or with the master on loopback: the narrowest subnet that the VIP is in. */
static void without_a_master_it_is_the_subnets(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = {
		ADDRESS("10.0.0.9", 30, LO, 0),			/* loopback carries no VIP */
		ADDRESS("10.0.0.250", 32, LO, 0),
		ADDRESS("10.0.0.1", 8, ETH0, 0),
		ADDRESS("10.0.0.2", 24, ETH1, 0),
		ADDRESS("10.0.0.3", 24, ETH0, 0),		/* as narrow, but later */
		ADDRESS("10.0.0.1", 16, ETH0, 0),
		ADDRESS("10.0.1.1", 26, ETH0, 0),		/* narrower, but another subnet */
	};
	struct link links[] = { LINK_LO, LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_word(true);
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth1",
		    "announce 10.0.0.250/32 eth1");
	plan_free(&plan);
	truth = plan_truth("", "127.0.0.1");
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth1",
		    "announce 10.0.0.250/32 eth1");
	plan_free(&plan);
}

/* Its own copy says nothing about where it belongs. */
static void a_copy_of_itself_is_no_subnet(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 25, ETH1, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_word(true);
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0", "delete 10.0.0.250/25 eth1");
	plan_free(&plan);
}

static void a_missing_interface_is_named(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth9", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.9.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_word(true);

	(void)state;
	expect_refusal(&config, &truth, &facts, -ENODEV, "interface eth9 does not exist here");
	facts.interface = 9;	/* it has just gone */
	expect_refusal(&config, &truth, &facts, -ENODEV, "interface eth9 does not exist here");
	master.interface[0] = '\0';
	expect_refusal(
		&config, &truth, &facts, -EINVAL,
		"no interface of this host is in the subnet of 10.0.0.250: set interface = in [m]");
}

/* Nothing is done for the first VIP when there is no place for the second. */
static void all_or_nothing(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("10.9.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_word(true);

	(void)state;
	expect_refusal(&config, &truth, &facts, -EINVAL, "in the subnet of 10.9.0.250");
}

static void a_link_that_is_down_is_named(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", 0) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("", "10.0.0.1");

	(void)state;
	expect_refusal(&config, &truth, &facts, -ENETDOWN, "interface eth0 is down");
	expect_refusal(&config, &truth, &facts, -ENETDOWN, "\"ip link set eth0 up\"");
	links[0].flags = IFF_LOWER_UP;
	expect_refusal(&config, &truth, &facts, -ENETDOWN, "interface eth0 is down");
}

/* It is claimed, and announced when the cable is back. */
static void a_link_without_carrier_is_a_warning(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", IFF_UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0", "add fd00::250/128 eth0",
		    "announce fd00::250/128 eth0");
	assert_string_equal(plan.warning.text, "; eth0 has no carrier: announced when it comes");
	plan_free(&plan);
}

static void a_link_that_does_no_arp_is_a_warning(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 32, ETH0, 0),
				       ADDRESS("fd00::250", 128, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "wg0", UP | IFF_NOARP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("", "10.0.0.1");
	struct plan plan;

	(void)state;
	facts.address_count = 1;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 wg0",
		    "add fd00::250/128 wg0");
	assert_string_equal(plan.warning.text,
			    "; wg0 is not an Ethernet that does ARP: not announced there");
	plan_free(&plan);
	links[0].flags = UP;
	links[0].type = ARPHRD_NONE;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 wg0",
		    "add fd00::250/128 wg0");
	plan_free(&plan);
	/* both stand already: nothing to do, and it is said once all the same */
	facts.address_count = 3;
	expect_plan(&config, &truth, &facts, &plan, NULL);
	assert_string_equal(plan.warning.text,
			    "; wg0 is not an Ethernet that does ARP: not announced there");
	plan_free(&plan);
}

/* From before `interface` was changed, or of another program: after the claim. */
static void copies_on_other_links_go(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("10.0.0.251", 32) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = {
		ADDRESS("10.0.0.250", 24, ETH1, 0), ADDRESS("10.0.0.250", 32, ETH1, 0),
		ADDRESS("10.0.0.250", 32, LO, 0), ADDRESS("10.0.0.1", 24, ETH0, 0),
		ADDRESS("10.0.0.250", 32, 44, 0),
	};
	struct link links[] = { LINK_LO, LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0", "add 10.0.0.251/32 eth0",
		    "announce 10.0.0.251/32 eth0", "delete 10.0.0.250/24 eth1",
		    "delete 10.0.0.250/32 eth1");
	plan_free(&plan);
}

/* The host may depend on it: left, with a warning. IPv6 has other addresses to live on. */
static void the_last_address_of_another_link_stays(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = {
		ADDRESS("10.0.0.1", 24, ETH0, 0), ADDRESS("10.0.0.250", 24, ETH1, 0),
		ADDRESS("fe80::1", 64, ETH1, 0), ADDRESS("fd00::250", 64, ETH1, 0),
	};
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("", "10.0.0.1");
	struct plan plan;

	(void)state;
	links[1].only_vips = links[1].default_route = true;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0", "add fd00::250/128 eth0",
		    "announce fd00::250/128 eth0", "delete fd00::250/64 eth1");
	expect_text(plan.warning.text, "left on eth1, where it is the only address");
	plan_free(&plan);
}

/* What sync does where nothing has changed: no announcement but of what it adds. */
static void a_plan_can_be_quiet(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128), VIP("10.0.0.251", 32) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 3 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 32, ETH0, 0),
				       ADDRESS("10.0.0.251", 32, ETH0, 0),
				       ADDRESS("fd00::250", 128, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_word(true);
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0",
		    "announce fd00::250/128 eth0", "announce 10.0.0.251/32 eth0");
	assert_false(plan_changes(&plan));
	plan_quiet(&plan);
	assert_int_equal(plan.step_count, 0);
	assert_false(plan_changes(&plan));
	plan_free(&plan);
	facts.address_count = 2;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0",
		    "add fd00::250/128 eth0", "announce fd00::250/128 eth0",
		    "announce 10.0.0.251/32 eth0");
	assert_true(plan_changes(&plan));
	plan_quiet(&plan);
	assert_int_equal(plan.step_count, 2);
	assert_int_equal(plan.steps[0].kind, STEP_ADD);
	assert_int_equal(plan.steps[1].kind, STEP_ANNOUNCE);
	assert_ptr_equal(plan.steps[1].vip, &vips[1]);
	plan_free(&plan);
	truth = plan_word(false);
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/32 eth0",
		    "delete 10.0.0.251/32 eth0");
	assert_true(plan_changes(&plan));
	plan_quiet(&plan);
	assert_int_equal(plan.step_count, 2);
	plan_free(&plan);
}

static void local_addresses_are_known(void **state)
{
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("fd00::1", 64, ETH0, 0) };
	struct facts facts = { .addresses = addresses, .address_count = 2 };
	static const struct {
		const char *text;
		bool local;
	} cases[] = { { "10.0.0.1", true }, { "fd00::1", true },   { "127.9.9.9", true },
		      { "::1", true },      { "10.0.0.2", false }, { "fd00::2", false },
		      { "a00:1::", false }, { "", false } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip = unit_ip(cases[i].text);

		assert_int_equal(plan_is_local(&facts, &ip), cases[i].local);
	}
}

int unit_where_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_configured_interface_is_taken),
		cmocka_unit_test(without_one_it_is_the_masters),
		cmocka_unit_test(without_a_master_it_is_the_subnets),
		cmocka_unit_test(a_copy_of_itself_is_no_subnet),
		cmocka_unit_test(a_missing_interface_is_named),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(a_link_that_is_down_is_named),
		cmocka_unit_test(a_link_without_carrier_is_a_warning),
		cmocka_unit_test(a_link_that_does_no_arp_is_a_warning),
		cmocka_unit_test(copies_on_other_links_go),
		cmocka_unit_test(the_last_address_of_another_link_stays),
		cmocka_unit_test(a_plan_can_be_quiet),
		cmocka_unit_test(local_addresses_are_known),
	};

	return cmocka_run_group_tests_name("plan's links", tests, NULL, NULL);
}
