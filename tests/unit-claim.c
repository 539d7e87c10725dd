/* SPDX-License-Identifier: MIT */
/*
 * The plan where the master is here: each host as literal facts.  No mocks, no
 * kernel.  What is shared with unit-release.c is here as well.
 */
#include "unit-plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct truth plan_truth(const char *from, const char *to)
{
	struct truth truth = { .where = TRUTH_LOOK, .master.port = 6379, .from = unit_ip(from) };

	snprintf(truth.master.host, sizeof(truth.master.host), "%s", to);
	truth.master.ip = truth.ips[0] = unit_ip(to);
	truth.ip_count = 1;
	return truth;
}

struct truth plan_word(bool here)
{
	return (struct truth){ .where = here ? TRUTH_HERE : TRUTH_ELSEWHERE };
}

static void print_steps(const struct plan *plan, char *out, size_t size)
{
	static const char *const verbs[] = {
		[STEP_DELETE] = "delete", [STEP_ADD] = "add", [STEP_ANNOUNCE] = "announce",
		[STEP_NARROW] = "narrow",
	};

	out[0] = '\0';
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *s = &plan->steps[i];
		char text[IP_TEXT_SIZE];
		size_t n = strlen(out);

		assert_int_equal(s->kind == STEP_DELETE || s->kind == STEP_NARROW, s->address != NULL);
		assert_true(s->address == NULL || ip_equal(&s->address->ip, &s->vip->ip));
		assert_true(s->address == NULL || s->address->ifindex == s->link->ifindex);
		snprintf(out + n, size - n, "%s %s/%u %s\n", verbs[s->kind],
			 ip_text(&s->vip->ip, text),
			 (unsigned)(s->address != NULL ? s->address->prefixlen : s->prefixlen),
			 s->link->name);
	}
}

void plan_expect(const char *file, int line, const struct config *config,
		 const struct truth *truth, const struct facts *facts, struct plan *plan,
		 const char *const steps[])
{
	char wanted[1024] = "", is[1024];
	struct why why = { "" };
	int err = plan_make(config, &config->masters[0], truth, facts, plan, &why);

	if (err < 0) {
		print_error("refused: %s\n", why.text);
		_fail(file, line);
	}
	for (; *steps != NULL; steps++)
		snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "%s\n", *steps);
	print_steps(plan, is, sizeof(is));
	if (strcmp(wanted, is) != 0) {
		print_error("expected the steps\n%sgot\n%s", wanted, is);
		_fail(file, line);
	}
}

void plan_expect_refusal(const char *file, int line, const struct config *config,
			 const struct truth *truth, const struct facts *facts, int error,
			 const char *says)
{
	struct plan plan = { .step_count = 77 };
	struct why why = { "" };
	long live = fault_live();
	int err = plan_make(config, &config->masters[0], truth, facts, &plan, &why);

	_assert_int_equal((LargestIntegralType)err, (LargestIntegralType)error, file, line);
	unit_expect_text(file, line, why.text, says, true);
	assert_int_equal(plan.step_count, 77);		/* written only on success */
	assert_int_equal(fault_live(), live);
}

/* The usual host: 10.0.0.1/24 on eth0, to which the VIP 10.0.0.250/32 shall come. */
static void a_vip_comes_where_the_master_is(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("127.0.0.1", 8, LO, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK_LO, LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	assert_int_equal(plan.decision, PLAN_CLAIM);
	assert_string_equal(plan.warning.text, "");
	plan_free(&plan);
	assert_null(plan.steps);
	assert_int_equal(plan.step_count, 0);
}

static void a_vip_that_stands_is_announced_only(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");
	struct plan plan;

	(void)state;
	/* with another prefix length than configured, or as a secondary, it is the VIP as well */
	for (unsigned i = 0; i < 3; i++) {
		addresses[1].prefixlen = i == 1 ? 32 : 24;
		addresses[1].flags = i == 2 ? IFA_F_SECONDARY : IFA_F_PERMANENT;
		expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0");
		assert_int_equal(plan.decision, PLAN_CLAIM);
		plan_free(&plan);
	}
}

/* A master that was restarted on another port of this host stays this host's. */
static void the_same_address_with_another_port_is_still_here(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 32, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.1", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
	facts.address_count = 1;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
}

static void addresses_are_compared_in_binary(void **state)
{
	static const struct {
		const char *to;
		bool here;
	} cases[] = {
		{ "::ffff:10.0.0.1", true }, { "FD00:0:0::1", true }, { "127.0.0.1", true },
		{ "127.1.2.3", true }, { "::1", true }, { "10.0.0.2", false }, { "fd00::2", false },
		{ "::10.0.0.1", false },
	};
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("fd00::1", 64, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(ETH0);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct truth truth = plan_truth("", cases[i].to);
		struct plan plan;

		if (cases[i].here)
			expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
				    "announce 10.0.0.250/32 eth0");
		else
			expect_plan(&config, &truth, &facts, &plan, NULL);
		assert_int_equal(plan.decision, cases[i].here ? PLAN_CLAIM : PLAN_RELEASE);
		assert_int_equal(plan_is_here(&truth, &facts), cases[i].here);
		plan_free(&plan);
	}
}

/* A host name with several addresses: one of them is enough; `self` needs none. */
static void a_name_is_here_when_one_of_its_addresses_is(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = { .where = TRUTH_LOOK,
			       .master = { .host = "redis-1", .port = 6379 },
			       .ips = { unit_ip("fd00::9"), unit_ip("10.9.9.9"),
					unit_ip("10.0.0.1") },
			       .ip_count = 3 };
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
	truth.ip_count = 2;
	expect_plan(&config, &truth, &facts, &plan, NULL);
	assert_int_equal(plan.decision, PLAN_RELEASE);
	plan_free(&plan);
	truth.where = TRUTH_HERE;
	truth.ip_count = 0;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
}

static void a_person_is_obeyed(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_word(true);
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
	truth = plan_word(false);
	expect_plan(&config, &truth, &facts, &plan, NULL);
	plan_free(&plan);
}

/* Rule: the address first, its first announcement at once; the next one after that. */
static void several_vips_come_one_after_the_other(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 24), VIP("fd00::250", 128), VIP("10.0.0.251", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 3 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.251", 32, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");
	struct plan plan;

	(void)state;
	expect_plan(&config, &truth, &facts, &plan, "add 10.0.0.250/24 eth0",
		    "announce 10.0.0.250/24 eth0", "add fd00::250/128 eth0",
		    "announce fd00::250/128 eth0", "announce 10.0.0.251/32 eth0");
	plan_free(&plan);
}

/* Detection under way or failed: the kernel does not answer for such an address. */
static void a_useless_ipv6_address_is_put_there_anew(void **state)
{
	static const uint32_t useless[] = { IFA_F_TENTATIVE, IFA_F_DADFAILED,
		IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_PERMANENT };
	struct vip vips[] = { VIP("fd00::250", 128) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("fd00::1", 64, ETH0, 0),
				       ADDRESS("fd00::250", 64, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("fd00::2", "fd00::1");
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < COUNT(useless); i++) {
		addresses[1].flags = useless[i];
		expect_plan(&config, &truth, &facts, &plan, "delete fd00::250/64 eth0",
			    "add fd00::250/128 eth0", "announce fd00::250/128 eth0");
		plan_free(&plan);
	}
	addresses[1].flags = IFA_F_DEPRECATED | IFA_F_NODAD | IFA_F_PERMANENT;
	expect_plan(&config, &truth, &facts, &plan, "announce fd00::250/128 eth0");
	plan_free(&plan);
}

/* It stands, but hears nothing: put there anew, unless the link's routes would go with it. */
static void a_sealed_address_is_put_there_anew(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 1 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 32, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");
	struct plan plan;

	(void)state;
	addresses[1].sealed = addresses[2].sealed = true;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0",
		    "delete 10.0.0.250/32 eth0", "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
	links[0].only_vips = links[0].default_route = true;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/32 eth0");
	plan_free(&plan);
}

/*
 * The prefix is given only where the VIP comes behind the host's own address; of its own are neither
 * VIPs, of whichever master, nor what stands on other links.
 */
static void a_prefix_needs_an_own_address_before_it(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 24) }, others[] = { VIP("10.0.0.77", 24) };
	struct master masters[] = {
		{ .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 },
		{ .name = "n", .vips = others, .vip_count = 1 },
	};
	struct config config = { .masters = masters, .master_count = 2 };
	struct address addresses[] = { ADDRESS("10.0.0.77", 24, ETH0, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_word(true);
	static const struct {
		const char *ip, *peer;
		uint8_t prefixlen;
		unsigned on, flags;
		bool leads;
	} owns[] = {
		{ "10.0.0.1", NULL, 24, ETH0, 0, true },
		{ "10.0.0.1", NULL, 24, ETH0, IFA_F_NOPREFIXROUTE, true },
		{ "10.9.9.9", "10.0.0.9", 24, ETH0, 0, true },
		{ "10.0.0.1", NULL, 24, ETH0, IFA_F_SECONDARY, false },	/* of the other VIP */
		{ "10.0.0.1", NULL, 24, ETH1, 0, false },
		{ "10.0.0.1", NULL, 25, ETH0, 0, false },
		{ "10.0.0.1", NULL, 16, ETH0, 0, false },
		{ "10.0.1.1", NULL, 24, ETH0, 0, false },
		{ "10.0.0.1", "10.9.9.9", 24, ETH0, 0, false },
	};
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < COUNT(owns); i++) {
		addresses[1] = (struct address)ADDRESS(owns[i].ip, owns[i].prefixlen, owns[i].on, owns[i].flags);
		if (owns[i].peer != NULL)
			addresses[1].peer = unit_ip(owns[i].peer);
		expect_plan(&config, &truth, &facts, &plan,
			    owns[i].leads ? "add 10.0.0.250/24 eth0" : "add 10.0.0.250/32 eth0",
			    "announce 10.0.0.250/24 eth0");
		plan_free(&plan);
	}
}

/* It came first, or was promoted: the host's own address has no route then. */
static void a_vip_before_the_own_address_is_narrowed(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 24), VIP("fd00::250", 64) };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.250", 24, ETH0, 0),
				       ADDRESS("10.0.0.1", 24, ETH0, IFA_F_SECONDARY),
				       ADDRESS("fd00::250", 64, ETH0, 0),
				       ADDRESS("10.0.0.3", 24, ETH1, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP) };
	struct facts facts = FACTS(ETH0);
	struct truth truth = plan_word(true);
	struct plan plan;

	(void)state;
	/* a secondary before it would be the next to lead */
	for (int secondary = 0; secondary < 2; secondary++) {
		addresses[0].flags = secondary ? IFA_F_SECONDARY : 0;
		expect_plan(&config, &truth, &facts, &plan, "narrow 10.0.0.250/24 eth0",
			    "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
		assert_true(plan_changes(&plan));
		plan_quiet(&plan);
		assert_int_equal(plan.step_count, 1);
		plan_free(&plan);
	}
	/* sealed it is made anew */
	addresses[0].sealed = true;
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0", "add 10.0.0.250/32 eth0",
		    "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
	plan_free(&plan);
	addresses[0].sealed = false;
	/* and elsewhere it is deleted as ever */
	truth = plan_word(false);
	expect_plan(&config, &truth, &facts, &plan, "delete 10.0.0.250/24 eth0", "delete fd00::250/64 eth0");
	plan_free(&plan);
	truth = plan_word(true);
	/* one of its own leads; it has no prefix; there is no other address */
	addresses[3].ifindex = ETH0;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
	plan_free(&plan);
	addresses[1].flags = 0;
	addresses[3].flags = IFA_F_SECONDARY;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
	plan_free(&plan);
	addresses[1].flags = IFA_F_SECONDARY;
	addresses[3].ifindex = ETH1;
	addresses[0].prefixlen = 32;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
	plan_free(&plan);
	addresses[0].prefixlen = 24;
	addresses[1].ifindex = ETH1;
	expect_plan(&config, &truth, &facts, &plan, "announce 10.0.0.250/24 eth0", "announce fd00::250/64 eth0");
	plan_free(&plan);
}

static void memory_can_run_out(void **state)
{
	struct vip vips[] = { VIP("10.0.0.250", 32), VIP("10.0.0.251", 32) };
	struct master master = { .name = "m", .vips = vips, .vip_count = 2 };
	struct config config = CONFIG(&master);
	struct address addresses[] = { ADDRESS("10.0.0.1", 24, ETH0, 0),
				       ADDRESS("10.0.0.250", 24, ETH1, 0) };
	struct link links[] = { LINK(ETH0, "eth0", UP), LINK(ETH1, "eth1", UP) };
	struct facts facts = FACTS(0);
	struct truth truth = plan_truth("10.0.0.2", "10.0.0.1");

	(void)state;
	for (unsigned n = 0; n < 5; n++) {	/* two steps each, and one that is deleted */
		fault_set(FAULT_MEMORY, n, 1, ENOMEM);
		expect_refusal(&config, &truth, &facts, -ENOMEM, "out of memory");
	}
}

int unit_claim_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vip_comes_where_the_master_is),
		cmocka_unit_test(a_vip_that_stands_is_announced_only),
		cmocka_unit_test(the_same_address_with_another_port_is_still_here),
		cmocka_unit_test(addresses_are_compared_in_binary),
		cmocka_unit_test(a_name_is_here_when_one_of_its_addresses_is),
		cmocka_unit_test(a_person_is_obeyed),
		cmocka_unit_test(several_vips_come_one_after_the_other),
		cmocka_unit_test(a_useless_ipv6_address_is_put_there_anew),
		cmocka_unit_test(a_sealed_address_is_put_there_anew),
		cmocka_unit_test(a_prefix_needs_an_own_address_before_it),
		cmocka_unit_test(a_vip_before_the_own_address_is_narrowed),
		cmocka_unit_test_teardown(memory_can_run_out, fault_clear),
	};

	return cmocka_run_group_tests_name("plan claims", tests, NULL, NULL);
}
