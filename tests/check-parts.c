/* SPDX-License-Identifier: MIT */
/*
 * Tests of parts that need more than one host: TCP connections and probes. One argument chooses
 * tests by name, `*` and `?` allowed.
 */
#include "parts.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

void parts_in(const struct lab_host *h)
{
	if (setns(h->netns, CLONE_NEWNET) < 0)
		lab_fail("host %s: %m", h->name);
}

void parts_out(void)
{
	int saved = errno;

	if (setns(lab_netns, CLONE_NEWNET) < 0)
		lab_fail("the switch: %m");
	errno = saved;
}

struct ip parts_ip(const char *text)
{
	struct ip ip;

	if (ip_parse(text, &ip) < 0)
		fail_msg("\"%s\" is not an address", text);
	return ip;
}

struct link parts_link(struct lab_host *h, const char *dev)
{
	struct link link = { .type = 1, .flags = IFF_UP | IFF_LOWER_UP };

	parts_in(h);
	link.ifindex = if_nametoindex(dev);
	parts_out();
	snprintf(link.name, sizeof(link.name), "%s", dev);
	if (link.ifindex == 0 || !lab_mac(h, dev, link.mac))
		fail_msg("host %s has no %s", h->name, dev);
	return link;
}

void parts_hold_vips(struct lab_host *h)
{
	lab_must(h, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
}

int parts_teardown(void **state)
{
	parts_fault_clear(state);
	return netns_teardown(state);
}

static void failed(const char *message)
{
	parts_out();
	fail_msg("%s", message);
}

static int run(int argc, char **argv)
{
	static int (*const groups[])(void) = { parts_frame_tests, parts_tcp_tests,
		parts_listen_tests, parts_state_tests, parts_trouble_tests, parts_crowd_tests,
		parts_probe_tests, parts_stranger_tests,
		parts_hook_tests };
	int bad = 0;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	lab_on_failure = failed;
	for (size_t i = 0; i < COUNT(groups); i++)
		bad += groups[i]() != 0;
	return bad > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
