/* SPDX-License-Identifier: MIT */
/*
 * What rtnetlink answers: facts gathered from it and the plan that follows from them, a link, an
 * address added, an address deleted.  An event of an even kind gets its messages' lengths
 * mended, so that what is in them is looked at.
 */
#include "fuzz.h"

#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS = 400, IFINDEX = 3 };

static const struct address *deleted;	/* what may be deleted now; NULL: nothing */
static struct ip stand_ins[64];
static size_t stand_in_count;
static bool sealing;			/* a route may be deleted now */
static bool bare;			/* more stand-ins than are kept here */

static bool read_local(const struct nlmsghdr *message, struct ip *ip)
{
	const struct ifaddrmsg *fixed = NLMSG_DATA(message);
	int left = (int)IFA_PAYLOAD(message);

	*ip = (struct ip){ .family = fixed->ifa_family };
	for (const struct rtattr *a = IFA_RTA(fixed); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFA_LOCAL && RTA_PAYLOAD(a) == ip_bits(ip) / 8) {
			memcpy(ip->bytes, RTA_DATA(a), RTA_PAYLOAD(a));
			return true;
		}
	return false;
}

/*
 * Nothing is deleted but the address that was meant, and stand-ins that this very request has
 * added: whatever the kernel said, the host keeps what is its own.
 */
static void check_delete(const struct nlmsghdr *message)
{
	const struct ifaddrmsg *fixed = NLMSG_DATA(message);
	struct ip ip;

	must(deleted != NULL && read_local(message, &ip));
	must(fixed->ifa_index == deleted->ifindex);
	if (fixed->ifa_prefixlen == deleted->prefixlen && ip_equal(&ip, &deleted->ip))
		return;
	must(fixed->ifa_prefixlen == 32);
	for (size_t i = 0; i < stand_in_count; i++)
		if (ip_equal(&stand_ins[i], &ip))
			return;
	must(bare);
}

static void check_sent(const uint8_t *bytes, size_t size)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;
	size_t left = size;

	stand_in_count = 0;
	bare = false;
	while (left > 0) {
		size_t whole;

		must(left >= sizeof(*message) && message->nlmsg_len >= sizeof(*message));
		must(message->nlmsg_len <= left && (message->nlmsg_flags & NLM_F_REQUEST) != 0);
		if (message->nlmsg_type == RTM_DELADDR)
			check_delete(message);
		else if (message->nlmsg_type == RTM_NEWADDR && stand_in_count < 64)
			stand_in_count += read_local(message, &stand_ins[stand_in_count]);
		else if (message->nlmsg_type == RTM_NEWADDR)
			bare = true;
		else
			must(message->nlmsg_type == RTM_GETADDR || message->nlmsg_type == RTM_GETLINK ||
			     message->nlmsg_type == RTM_GETROUTE || message->nlmsg_type == RTM_GETNEXTHOP ||
			     (message->nlmsg_type == RTM_DELROUTE && sealing));
		whole = NLMSG_ALIGN(message->nlmsg_len) < left ? NLMSG_ALIGN(message->nlmsg_len) : left;
		left -= whole;
		message = (const struct nlmsghdr *)(const void *)((const uint8_t *)message + whole);
	}
}

static struct vip vips[] = {
	{ { .family = AF_INET, .bytes = { 10, 0, 0, 9 } }, 24 },
	{ { .family = AF_INET, .bytes = { 10, 0, 0, 10 } }, 32 },
	{ { .family = AF_INET6, .bytes = { 0xfd, [15] = 9 } }, 64 },
};

static struct master master = { .name = "mymaster", .vips = vips, .kill_connections = true };
static const struct config config = { .path = "conf", .masters = &master, .master_count = 1 };

static bool is_vip(const struct ip *ip)
{
	for (size_t i = 0; i < master.vip_count; i++)
		if (ip_equal(&vips[i].ip, ip))
			return true;
	return false;
}

static void check_facts(const struct facts *facts)
{
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];
		char text[IP_TEXT_SIZE];

		must(a->ip.family == AF_INET || a->ip.family == AF_INET6);
		must(a->peer.family == AF_UNSPEC || a->peer.family == a->ip.family);
		must(strlen(ip_text(&a->ip, text)) > 0);
	}
	for (size_t i = 0; i < facts->link_count; i++) {
		must(facts->links[i].ifindex != 0);
		must(memchr(facts->links[i].name, '\0', IFNAMSIZ) != NULL);
	}
}

static void check_plan(const struct facts *facts, bool here)
{
	struct truth truth = { .where = here ? TRUTH_HERE : TRUTH_ELSEWHERE, .ip_count = 1,
		.ips = { { .family = AF_INET, .bytes = { 10, 0, 0, 1 } } } };
	struct why why = { .text = "" };
	struct plan plan;

	if (plan_make(&config, &master, &truth, facts, &plan, &why) < 0) {
		fuzz_check_why(&why);
		return;
	}
	must(plan.decision == (here ? PLAN_CLAIM : PLAN_RELEASE));
	for (size_t i = 0; i < plan.step_count; i++) {
		const struct step *s = &plan.steps[i];

		must(s->vip >= vips && s->vip < vips + master.vip_count);
		if (s->kind == STEP_DELETE)
			must(is_vip(&s->address->ip) && ip_equal(&s->address->ip, &s->vip->ip));
		else
			must(here && s->link != NULL);
		if (s->kind == STEP_ADD)
			must(s->prefixlen == s->vip->prefixlen || (s->prefixlen == 32 && s->vip->ip.family == AF_INET));
		if (s->kind == STEP_NARROW)
			must(s->address->prefixlen < 32 && s->vip->ip.family == AF_INET && ip_equal(&s->address->ip, &s->vip->ip));
	}
	plan_free(&plan);
}

static void gather(struct netlink *netlink, uint8_t options)
{
	const struct ip here = { .family = AF_INET, .bytes = { 10, 0, 0, 1 } };
	struct facts facts = { .address_count = 77 };
	int err;

	master.vip_count = (options & 1) != 0 ? 3 : 1;
	strcpy(master.interface, (options & 2) == 0 ? "" : (options & 4) == 0 ? "eth0" : "an-altname-of-eth0");
	err = facts_gather(netlink, &config, &master, &here, (options & 8) != 0, &facts);
	fuzz_check_error(err);
	if (err < 0) {
		must(facts.address_count == 77);
		return;
	}
	check_facts(&facts);
	check_plan(&facts, true);
	check_plan(&facts, false);
	facts_free(&facts);
}

static void seal(struct netlink *netlink, uint8_t options)
{
	const struct address a = { .ip = vips[(options & 3) % 3].ip, .prefixlen = 32, .ifindex = IFINDEX };
	bool sealed;

	sealing = (options & 4) != 0;
	fuzz_check_error(sealing ? route_seal(netlink, &a) : route_is_sealed(netlink, &a, &sealed));
	sealing = false;
}

static void change(struct netlink *netlink, uint8_t options)
{
	const struct vip *vip = &vips[(options & 3) % 3];
	struct address a = { .ip = vip->ip, .prefixlen = vip->prefixlen, .ifindex = IFINDEX };

	if ((options & 16) == 0) {
		fuzz_check_error(vip_add(netlink, vip, IFINDEX));
		return;
	}
	if ((options & 8) != 0 && a.ip.family == AF_INET)
		a.peer = (struct ip){ .family = AF_INET, .bytes = { 10, 0, 0, 77 } };
	deleted = &a;
	fuzz_check_error(vip_delete(netlink, &a));
	deleted = NULL;
}

/* What comes unasked is only drained. */
static void watch(void)
{
	CLEANUP(fd_close) int fd = facts_watch();

	must(fd >= 0);
	facts_drain(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_world world = { .script = { data, size }, .framed = true, .sent = check_sent,
				        .mend = fuzz_mend_netlink };
	uint8_t mode = fuzz_byte(&world.script), options = fuzz_byte(&world.script);
	struct link link = { .ifindex = 77 };
	struct netlink *netlink = NULL;
	double begun;
	int err;

	fuzz_begin(&world);
	begun = clock_ms();
	must(netlink_open(begun + DEADLINE_MS, &netlink) == 0);
	switch (mode % 5) {
	case 0:
		err = facts_read_link(netlink, IFINDEX, &link);
		fuzz_check_error(err);
		must(err == 0 ? link.ifindex != 0 : link.ifindex == 77);
		break;
	case 1:
		change(netlink, options);
		break;
	case 2:
		gather(netlink, options);
		break;
	case 3:
		seal(netlink, options);
		break;
	default:
		watch();
		break;
	}
	netlink_close(&netlink);
	must(clock_ms() - begun < 2 * DEADLINE_MS);
	fuzz_end();
	return 0;
}
