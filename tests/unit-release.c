/* SPDX-License-Identifier: MIT */
/* The plan where the master is elsewhere: what goes, and what is left or refused. */
#include "unit-plan.h"

#include <errno.h>
#include <string.h>

static void nothing_to_release_is_well(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.251", 32, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, NULL);
	assert_int_equal(plan.decision, PLAN_RELEASE);
	assert_string_equal(plan.warning.text, "");
	plan_free(&plan);
}

/* Deleting needs the prefix length that the kernel has, not the configured one. */
static void it_goes_with_the_prefix_that_it_has(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 24, ETH0, IFA_F_SECONDARY) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0");
	assert_ptr_equal(plan.steps[0].address, &addresses[1]);
	plan_free(&plan);
}

/* Secondaries before primaries, whatever the order of the kernel. */
static void each_copy_goes(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = {
		ADDRESS("10.0.0.250", 32, ETH0, 0),
		ADDRESS("10.0.0.1", 24, ETH0, 0),
		ADDRESS("10.0.0.250", 24, ETH0, IFA_F_SECONDARY),
		ADDRESS("10.1.0.1", 16, ETH1, 0),
		ADDRESS("10.0.0.250", 16, ETH1, 0),
		ADDRESS("fd00::250", 64, ETH1, IFA_F_DADFAILED | IFA_F_TENTATIVE),
	};
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0",
		    "delete 10.0.0.250/32 eth0", "delete 10.0.0.250/16 eth1",
		    "delete fd00::250/64 eth1");
	plan_free(&plan);
}

/* The VIP was bound by hand before the host's own address, which is its secondary. */
static void a_primary_goes_and_its_secondary_stays(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 24) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 24, ETH0, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, IFA_F_SECONDARY) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	links[0].default_route = true;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0");
	plan_free(&plan);
}

static void a_link_that_is_down_or_gone_is_no_hindrance(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth9", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 32, ETH0, 0),
				       ADDRESS("10.0.0.250", 24, 44, 0) };
	struct link links[] = { LINK(ETH0, "eth0", 0) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/32 eth0");
	plan_free(&plan);
}

static void loopback_is_left_alone(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 32, LO, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 32, ETH0, 0) };
	struct link links[] = { LINK_LO, LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.2");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/32 eth0");
	assert_string_equal(plan.warning.text, "; 10.0.0.250 is left on lo");
	plan_free(&plan);
	truth = plan_truth("10.0.0.2", "10.0.0.1");
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0",
		    "add fd00::250/128 eth0", "announce fd00::250/128 eth0");
	plan_free(&plan);
}

/* The host's own address, written into the config by mistake, is all that it has. */
static void the_last_address_with_the_default_route_stays(void **state)
{
	struct vip vips[] = { VIP("10.0.0.1", 24), VIP("fd00::250", 128) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("fd00::250", 128, ETH0, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.9", "10.0.0.2");
	struct plan plan;

	(void)state;
	links[0].only_vips = links[0].default_route = true;
	expect_refusal(
		&config, &truth, &facts, -EPERM,
		"10.0.0.1 is the only IPv4 address of eth0, which carries the default route");
	/* an interface with nothing but VIPs is a usual thing */
	links[0].default_route = false;
	expect_plan(&config, &truth, &facts, &plan, "delete fd00::250/128 eth0",
		    "delete 10.0.0.1/24 eth0");
	plan_free(&plan);
	links[0].only_vips = false;
	links[0].default_route = true;
	expect_plan(&config, &truth, &facts, &plan, "delete fd00::250/128 eth0",
		    "delete 10.0.0.1/24 eth0");
	plan_free(&plan);
	/* and it is IPv4's affair alone */
	links[0].only_vips = true;
	facts.address_count = 1;
	expect_plan(&config, &truth, &facts, &plan, "delete fd00::250/128 eth0");
	plan_free(&plan);
}

static void a_vip_is_no_server(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("fd00::250", 128) },
		   others[] = { VIP("10.0.0.251", 32) };
	struct master masters[] = { { .name = "m", .vips = vips, .vip_count = 2 },
				    { .name = "n", .vips = others, .vip_count = 1 } };
	struct config config = { .masters = masters, .master_count = 2 };
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 32, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	static const struct {
		const char *from, *to, *says;
	} cases[] = {
		{ "10.0.0.2", "10.0.0.250", "TO-IP 10.0.0.250 is a VIP of [m]" },
		{ "10.0.0.250", "10.0.0.2", "FROM-IP 10.0.0.250 is a VIP of [m]" },
		{ "10.0.0.250", "10.0.0.1", "FROM-IP 10.0.0.250 is a VIP of [m]" },
		{ "10.0.0.250", "10.0.0.250", "10.0.0.250 is a VIP of [m]" },
		{ "", "FD00:0::250", "TO-IP fd00::250 is a VIP of [m]" },
		{ "10.0.0.2", "::ffff:10.0.0.251", "TO-IP 10.0.0.251 is a VIP of [n]" },
		{ "10.0.0.251", "10.0.0.1", "FROM-IP 10.0.0.251 is a VIP of [n]" },
	};
	struct truth truth;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		truth = plan_truth(cases[i].from, cases[i].to);
		expect_refusal(&config, &truth, &facts, -EPERM, cases[i].says);
	}
	/* a name that resolves to a server and to a VIP */
	truth = plan_truth("", "10.0.0.1");
	truth.ips[truth.ip_count++] = unit_ip("10.0.0.250");
	expect_refusal(&config, &truth, &facts, -EPERM, "TO-IP 10.0.0.250 is a VIP of [m]");
}

int unit_release_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_release_is_well),
		cmocka_unit_test(it_goes_with_the_prefix_that_it_has),
		cmocka_unit_test(each_copy_goes),
		cmocka_unit_test(a_primary_goes_and_its_secondary_stays),
		cmocka_unit_test(a_link_that_is_down_or_gone_is_no_hindrance),
		cmocka_unit_test(loopback_is_left_alone),
		cmocka_unit_test(the_last_address_with_the_default_route_stays),
		cmocka_unit_test(a_vip_is_no_server),
	};

	return cmocka_run_group_tests_name("plan releases", tests, NULL, NULL);
}
