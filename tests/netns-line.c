/* SPDX-License-Identifier: MIT */
/*
 * The one line of a run that has much to say: about many VIPs, or with long names.
 */
#include "netns-fake.h"
#include "netns.h"

#include <stdio.h>

/* What was done to so many is no reason to leave out why, what to look after, and how long it took. */
static void a_hundred_vips_make_one_line(void **state)
{
	static char text[8192];
	int n = snprintf(text, sizeof text, "announce = none\nverify = no\ninterface = eth0\n[mymaster]\n");

	(void)state;
	for (int i = 0; i < 100; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "vip = fd00:1111:2222:3333:4444:5555:6666:%x\n",
			      0x1000 + i);
	lab_config(us, "%s", text);
	sentinel(OUR4);
	expect(0, "claimed fd00:1111:2222:3333:4444:5555:6666:1000 on eth0, fd00:", " on eth0 and ", " more; the "
	       "master is " OUR4 ":6379, this host", ", in all ", " ms)");
	lab_must(us, "ip addr del fd00:1111:2222:3333:4444:5555:6666:1001/128 dev eth0; ip link set eth0 arp off");
	sentinel(OUR4);
	expect(0, "claimed fd00:1111:2222:3333:4444:5555:6666:1001 on eth0", "the master is " OUR4 ":6379",
	       "WARNING: eth0 is not an Ethernet that does ARP: not announced there", ", in all ", " ms)");
	lab_must(us, "ip link set eth0 arp on; for i in $(seq 4096 4130); do ip addr add $(printf "
		     "fd00:1111:2222:3333:4444:5555:6666:%%x $i)/128 dev lo; done");
	sentinel(PEER4);
	expect(0, "released fd00:1111:2222:3333:4444:5555:6666:10", " from eth0 and ", " more, 0 connections closed; "
	       "the master is " PEER4 ":6379, another host", "WARNING: fd00:", " is "
	       "left on lo; likewise 34 more", ", in all ", " ms)");
	assert_int_equal(lab_sh(us, NULL, "ip addr show dev eth0 | grep -q fd00:1111"), 1);
}

/* Where not even that is enough, it is what was done that is cut. */
static void a_line_that_is_too_long_keeps_its_end(void **state)
{
	static char text[8192];
	char name[221];
	int n;

	(void)state;
	for (size_t i = 0; i < sizeof name - 1; i++)
		name[i] = i % 60 == 59 ? '.' : 'n';
	name[sizeof name - 1] = '\0';
	n = snprintf(text, sizeof text, "announce = none\ninterface = eth0\nsentinel = %.184s:1\n[mymaster]\n"
		     "vip = " VIP6 "\n", name);
	for (int i = 0; i < 100; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "vip = 10.100.100.%d\n", 100 + i);
	lab_config(us, "%s", text);
	lab_file(us, "etc/hosts", 0644, 0, OUR4 " %s\n", name);
	lab_must(us, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
	vip(SENTINELS_CALL(name));
	expect(2, "failed: cannot add " VIP6, "before that: claimed 10.100.100.100 on eth0, ", "...; the master is nnn",
	       "n:6379, this host; WARNING: unverified: nnn", ":1: ", ", in all ", " ms)");
}

static void make_name(char name[221], char letter)
{
	memset(name, letter, 220);
	for (size_t i = 59; i < 220; i += 60)
		name[i] = '.';
	name[220] = '\0';
}

/* Nor does the reason take the place of what was done, however much there is to say of it. */
static void a_long_reason_leaves_room_for_what_was_done(void **state)
{
	struct fake *f = fake_start(us, "127.0.0.1", 26379);
	char is[221], was[221], text[2048];
	int n = snprintf(text, sizeof text, "announce = none\ninterface = eth0\n[mymaster]\n");

	(void)state;
	make_name(is, 'i');
	make_name(was, 'w');
	for (int i = 0; i < 8; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "vip = 10.100.100.%d\n", 200 + i);
	lab_config(us, "%s", text);
	lab_file(us, "etc/hosts", 0644, 0, OUR4 " %s\n", is);
	fake_turn(f, 0, is, 6379, "7", NULL);
	vip(SENTINELS_CALL(was));
	expect(0, "mymaster: claimed 10.100.100.200 on eth0, ", "10.100.100.207 on eth0; the master is iii",
	       "arguments are stale: they say www", "...");
	fake_stop_all();
}

int netns_line_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(a_hundred_vips_make_one_line),
		netns_test(a_line_that_is_too_long_keeps_its_end),
		netns_test(a_long_reason_leaves_room_for_what_was_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
