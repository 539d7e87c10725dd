/* SPDX-License-Identifier: MIT */
/*
 * Addresses added and deleted in a real kernel while answers get lost and memory
 * runs out, and the facts that are gathered meanwhile.
 */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct netlink *netlink;
static unsigned eth0;

static int begin(void **state)
{
	(void)state;
	eth0 = if_nametoindex("eth0");
	lab_must(NULL, "ip addr flush dev eth0 && ip addr add 10.0.0.1/24 dev eth0 && "
		       "ip addr add fd00::1/64 dev eth0 nodad");
	return netlink_open(clock_ms() + 5000, &netlink);
}

static int finish(void **state)
{
	netlink_close(&netlink);
	return fault_clear(state);
}

/* The kernel's entry, whatever its prefix length; false when there is none. */
static bool find(const char *text, struct address *out)
{
	struct ip ip = unit_ip(text);
	struct facts facts;
	bool found = false;

	assert_int_equal(vip_addresses(netlink, AF_UNSPEC, &facts), 0);
	for (size_t i = 0; i < facts.address_count; i++)
		if (ip_equal(&facts.addresses[i].ip, &ip)) {
			*out = facts.addresses[i];
			found = true;
		}
	facts_free(&facts);
	return found;
}

static bool stands(const char *text)
{
	struct address address;

	return find(text, &address);
}

static void an_address_stands_as_it_should(void **state)
{
	static const struct {
		const char *address;
		uint8_t prefixlen;
		uint32_t has, has_not;
	} cases[] = {
		{ "10.0.0.250", 32, IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE },
		/* a secondary of the host's own makes no route anyway */
		{ "10.0.0.251", 24, IFA_F_SECONDARY, IFA_F_NOPREFIXROUTE },
		{ "fd00::250", 128, IFA_F_NODAD | IFA_F_DEPRECATED, IFA_F_TENTATIVE },
		{ "fd00::251", 64, IFA_F_NODAD | IFA_F_DEPRECATED | IFA_F_NOPREFIXROUTE,
		  IFA_F_TENTATIVE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vip vip = { .ip = unit_ip(cases[i].address),
				   .prefixlen = cases[i].prefixlen };
		struct address a;

		for (int twice = 0; twice < 2; twice++)
			assert_int_equal(vip_add(netlink, &vip, eth0), 0);
		assert_true(find(cases[i].address, &a));
		assert_int_equal(a.ifindex, eth0);
		assert_int_equal(a.prefixlen, cases[i].prefixlen);
		assert_int_equal(a.peer.family, AF_UNSPEC);
		assert_int_equal(a.flags & cases[i].has, cases[i].has);
		assert_int_equal(a.flags & cases[i].has_not, 0);
		for (int twice = 0; twice < 2; twice++)
			assert_int_equal(vip_delete(netlink, &a), 0);
		assert_false(stands(cases[i].address));
		assert_true(stands("10.0.0.1") && stands("fd00::1"));
	}
}

/* The change was made, but its answer never came: it is asked for again, and that is well. */
static void a_lost_answer_is_no_failure(void **state)
{
	struct vip vip = { .ip = unit_ip("10.0.0.250"), .prefixlen = 32 };
	struct address a;

	(void)state;
	fault_set(FAULT_RECVMSG, 0, 2, ENOBUFS);
	assert_int_equal(vip_add(netlink, &vip, eth0), 0);
	assert_true(find("10.0.0.250", &a));
	fault_set(FAULT_RECVMSG, 0, 2, ENOBUFS);
	assert_int_equal(vip_delete(netlink, &a), 0);
	assert_false(stands("10.0.0.250"));
}

static void where_there_is_no_link_it_fails(void **state)
{
	struct vip vip = { .ip = unit_ip("10.0.0.250"), .prefixlen = 32 };
	struct address gone = { .ip = unit_ip("10.0.0.250"), .prefixlen = 32, .ifindex = 9999 };
	struct link link = { .ifindex = 77 };

	(void)state;
	assert_int_equal(vip_add(netlink, &vip, 9999), -ENODEV);
	assert_int_equal(vip_delete(netlink, &gone), 0);	/* and gone it is */
	assert_int_equal(facts_read_link(netlink, 9999, &link), -ENODEV);
	assert_int_equal(link.ifindex, 77);
}

static void only_the_exact_address_is_deleted(void **state)
{
	struct address a;

	(void)state;
	lab_must(NULL, "ip addr add 10.0.0.250/24 dev eth0 && ip addr add 10.0.0.250/32 dev eth0");
	assert_true(find("10.0.0.250", &a));
	a.prefixlen = 32;
	a.flags = 0;
	assert_int_equal(vip_delete(netlink, &a), 0);
	assert_true(find("10.0.0.250", &a));
	assert_int_equal(a.prefixlen, 24);
	assert_int_equal(vip_delete(netlink, &a), 0);
	assert_false(stands("10.0.0.250"));
}

static void make_primary(struct address *a)
{
	lab_must(NULL, "ip addr flush dev eth0 && ip addr add 10.0.0.250/24 dev eth0 && "
		       "ip addr add 10.0.0.1/24 dev eth0 && ip addr add 10.0.0.3/24 dev eth0 && "
		       "ip route add default via 10.0.0.2");
	assert_true(find("10.0.0.250", a));
	assert_int_equal(a->flags & IFA_F_SECONDARY, 0);
}

static void expect_companions(void)
{
	struct address a;

	assert_true(find("10.0.0.1", &a));
	assert_int_equal(a.prefixlen, 24);
	assert_true(find("10.0.0.3", &a));
	assert_int_equal(a.prefixlen, 24);
	lab_must(NULL, "ip route show default | grep -q 'via 10.0.0.2 dev eth0'");
	lab_must(NULL, "ip route show | grep -q '10.0.0.0/24 dev eth0'");
}

static void secondaries_outlive_their_primary(void **state)
{
	struct address a;

	(void)state;
	for (int promote = 0; promote <= 1; promote++) {
		lab_must(NULL, "echo %d >/proc/sys/net/ipv4/conf/eth0/promote_secondaries",
			 promote);
		make_primary(&a);
		assert_int_equal(vip_delete(netlink, &a), 0);
		assert_false(stands("10.0.0.250"));
		expect_companions();
	}
	lab_must(NULL, "echo 0 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries");
}

/* Each allocation fails once: then nothing was done, or all of it. */
static void without_memory_no_half_is_done(void **state)
{
	long live = fault_live();
	struct address a;
	unsigned n;

	(void)state;
	for (n = 0; n < 50; n++) {
		int err;

		make_primary(&a);
		fault_set(FAULT_MEMORY, n, 1, ENOMEM);
		err = vip_delete(netlink, &a);
		fault_clear(NULL);
		expect_companions();
		assert_int_equal(stands("10.0.0.250"), err != 0);
		assert_int_equal(fault_live(), live);
		if (err == 0)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_in_range(n, 2, 49);
}

static void an_error_in_a_batch_is_told(void **state)
{
	struct address a;

	(void)state;
	make_primary(&a);
	fault_set(FAULT_SENDMSG, 1, 1, EPERM);		/* after the dump */
	assert_int_equal(vip_delete(netlink, &a), -EPERM);
	assert_true(stands("10.0.0.250"));
	expect_companions();
	assert_int_equal(vip_delete(netlink, &a), 0);
	expect_companions();
}

static void facts_are_all_or_none(void **state)
{
	struct vip vips[] = { { .ip = unit_ip("10.0.0.250"), .prefixlen = 32 } };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	struct config config = { .masters = &master, .master_count = 1 };
	struct ip here = unit_ip("10.0.0.1");
	long live = fault_live();
	struct facts facts;
	unsigned n;

	(void)state;
	/* only VIPs on the link, so that the routes are asked for as well */
	lab_must(NULL, "ip addr flush dev eth0 && ip addr add 10.0.0.250/24 dev eth0 && "
		       "ip route add default via 10.0.0.2");
	for (n = 0; n < 50; n++) {
		int err;

		facts = (struct facts){ .address_count = 77 };
		fault_set(FAULT_MEMORY, n, 1, ENOMEM);
		err = facts_gather(netlink, &config, &master, &here, 1, &facts);
		if (err == 0)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(facts.address_count, 77);
		assert_int_equal(fault_live(), live);
	}
	fault_clear(NULL);
	assert_in_range(n, 1, 49);
	assert_int_equal(facts.interface, eth0);
	assert_non_null(facts_link(&facts, eth0));
	assert_true(facts_link(&facts, eth0)->only_vips);
	assert_true(facts_link(&facts, eth0)->default_route);
	assert_null(facts_link(&facts, 9999));
	facts_free(&facts);
	assert_int_equal(fault_live(), live);
	for (n = 0; n < 3; n++) {		/* addresses, link, routes */
		fault_set(FAULT_SENDMSG, n, 1, EPERM);
		assert_int_equal(facts_gather(netlink, &config, &master, &here, 1, &facts), -EPERM);
	}
	assert_int_equal(fault_live(), live);
}

/* Addresses that are known already are copied, or it is said that they were not. */
static void known_facts_are_all_or_none(void **state)
{
	struct vip vips[] = { { .ip = unit_ip("10.0.0.250"), .prefixlen = 32 } };
	struct master master = { .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	struct config config = { .masters = &master, .master_count = 1 };
	struct ip here = unit_ip("10.0.0.1");
	struct facts known, facts = { .address_count = 77 };
	long live = fault_live();

	(void)state;
	assert_int_equal(vip_addresses(netlink, AF_UNSPEC, &known), 0);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(facts_gather_from(netlink, &known, &config, &master, &here, 1, &facts), -ENOMEM);
	assert_int_equal(facts.address_count, 77);
	assert_int_equal(facts_gather_from(netlink, &known, &config, &master, &here, 1, &facts), 0);
	assert_int_equal(facts.address_count, known.address_count);
	facts_free(&facts);
	facts_free(&known);
	assert_int_equal(fault_live(), live);
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int unit_change_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(an_address_stands_as_it_should),
		test(a_lost_answer_is_no_failure),
		test(where_there_is_no_link_it_fails),
		test(only_the_exact_address_is_deleted),
		test(secondaries_outlive_their_primary),
		test(without_memory_no_half_is_done),
		test(an_error_in_a_batch_is_told),
		test(facts_are_all_or_none),
		test(known_facts_are_all_or_none),
	};

	return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
