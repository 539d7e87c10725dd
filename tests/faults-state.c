/* SPDX-License-Identifier: MIT */
/*
 * Addresses and routes of the host on which the program runs: read, compared, and made what they
 * were, over rtnetlink and without another process, since it is done thousands of times.
 */
#include "faults.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LINES = 128, LINE = 256, CHANGES = 256, VIPS = 8 };

static struct lab_host *host;
static int asking = -1;
static unsigned eth0;
static bool late_routes; /* are listed, too */

/* ---- questions ---- */

static int ask(struct nlmsghdr *h, mnl_cb_t took, void *arg)
{
	static char buffer[64 << 10];
	static unsigned seq;
	ssize_t n;
	int ret;

	h->nlmsg_seq = ++seq;
	if (send(asking, h, h->nlmsg_len, 0) < 0)
		lab_fail("rtnetlink: %m");
	do {
		n = recv(asking, buffer, sizeof buffer, 0);
		if (n < 0)
			lab_fail("rtnetlink: %m");
		ret = mnl_cb_run(buffer, (size_t)n, seq, 0, took, arg);
	} while (ret > 0);
	return ret < 0 ? -errno : 0;
}

struct lines {
	int n;
	char line[LINES][LINE];
};

static char *new_line(struct lines *l)
{
	if (l->n == LINES)
		lab_fail("more addresses and routes than expected");
	return l->line[l->n++];
}

static const char *address_text(int family, const struct nlattr *a, char out[INET6_ADDRSTRLEN])
{
	if (!a || !inet_ntop(family, mnl_attr_get_payload(a), out, INET6_ADDRSTRLEN))
		snprintf(out, INET6_ADDRSTRLEN, "-");
	return out;
}

static int split(const struct nlmsghdr *h, size_t fixed, const struct nlattr *tb[32])
{
	const struct nlattr *a;

	memset(tb, 0, 32 * sizeof *tb);
	mnl_attr_for_each(a, h, fixed)
	{
		if (mnl_attr_get_type(a) < 32)
			tb[mnl_attr_get_type(a)] = a;
	}
	return MNL_CB_OK;
}

static int take_address(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[32];
	char text[INET6_ADDRSTRLEN];

	split(h, sizeof *m, tb);
	snprintf(new_line(arg), LINE, "address %s/%d dev %u | flags %x",
		 address_text(m->ifa_family, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], text),
		 m->ifa_prefixlen, m->ifa_index,
		 tb[IFA_FLAGS] ? mnl_attr_get_u32(tb[IFA_FLAGS]) : m->ifa_flags);
	return MNL_CB_OK;
}

static int take_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[32];
	char dst[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN], src[INET6_ADDRSTRLEN];

	split(h, sizeof *m, tb);
	/* the kernel makes an IPv6 address's own route some time later (addrconf_dad_work) */
	if (m->rtm_family == AF_INET6 && m->rtm_type == RTN_LOCAL && !late_routes)
		return MNL_CB_OK;
	snprintf(new_line(arg), LINE, "route %s/%d via %s dev %u table %u type %d | src %s",
		 address_text(m->rtm_family, tb[RTA_DST], dst), m->rtm_dst_len,
		 address_text(m->rtm_family, tb[RTA_GATEWAY], via),
		 tb[RTA_OIF] ? mnl_attr_get_u32(tb[RTA_OIF]) : 0,
		 tb[RTA_TABLE] ? mnl_attr_get_u32(tb[RTA_TABLE]) : m->rtm_table, m->rtm_type,
		 address_text(m->rtm_family, tb[RTA_PREFSRC], src));
	return MNL_CB_OK;
}

static struct nlmsghdr *question(char *buffer, uint16_t type, uint16_t flags, size_t fixed,
				 void **out)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	*out = mnl_nlmsg_put_extra_header(h, fixed);
	return h;
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

void state_read(struct state *s)
{
	static struct lines l;
	_Alignas(struct nlmsghdr) char buffer[1024];
	size_t n = 0;
	void *fixed;

	l.n = 0;
	if (ask(question(buffer, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg), &fixed),
		take_address, &l) < 0 ||
	    ask(question(buffer, RTM_GETROUTE, NLM_F_DUMP, sizeof(struct rtmsg), &fixed),
		take_route, &l) < 0)
		lab_fail("rtnetlink: %m");
	qsort(l.line, (size_t)l.n, LINE, compare);
	s->text[0] = '\0';
	for (int i = 0; i < l.n; i++) {
		n += (size_t)snprintf(s->text + n, sizeof s->text - n, "%s\n", l.line[i]);
		if (n >= sizeof s->text)
			lab_fail("more addresses and routes than expected");
	}
}

/* ---- making it what it was ---- */

struct copies {
	int n;
	struct ifaddrmsg fixed[LINES];
	unsigned char bytes[LINES][16];
};

static int take_copy(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[32], *a;
	struct copies *c = arg;

	split(h, sizeof *m, tb);
	a = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (m->ifa_index != eth0 || m->ifa_scope != RT_SCOPE_UNIVERSE || !a || c->n == LINES)
		return MNL_CB_OK;
	c->fixed[c->n] = *m;
	memcpy(c->bytes[c->n++], mnl_attr_get_payload(a), m->ifa_family == AF_INET ? 4 : 16);
	return MNL_CB_OK;
}

static int change(uint16_t type, const struct ifaddrmsg *m, const void *bytes, uint32_t flags,
		  bool deprecated)
{
	_Alignas(struct nlmsghdr) char buffer[1024];
	struct ifa_cacheinfo life = {.ifa_valid = UINT32_MAX};
	size_t size = m->ifa_family == AF_INET ? 4 : 16;
	struct nlmsghdr *h;
	void *fixed;

	h = question(buffer, type,
		     NLM_F_ACK | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0), sizeof *m,
		     &fixed);
	memcpy(fixed, m, sizeof *m);
	mnl_attr_put(h, IFA_LOCAL, size, bytes);
	mnl_attr_put(h, IFA_ADDRESS, size, bytes);
	if (type == RTM_NEWADDR)
		mnl_attr_put_u32(h, IFA_FLAGS, flags);
	if (deprecated)
		mnl_attr_put(h, IFA_CACHEINFO, sizeof life, &life);
	return ask(h, NULL, NULL);
}

static void remove_all(void)
{
	static struct copies c;
	_Alignas(struct nlmsghdr) char buffer[1024];
	void *fixed;

	c.n = 0;
	if (ask(question(buffer, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg), &fixed),
		take_copy, &c) < 0)
		lab_fail("rtnetlink: %m");
	/* a secondary may have gone with its primary */
	for (int i = 0; i < c.n; i++)
		change(RTM_DELADDR, &c.fixed[i], c.bytes[i], 0, false);
}

static void add_address(const struct state_address *a)
{
	struct ifaddrmsg m = {.ifa_index = eth0};
	char text[64];
	unsigned char bytes[16];
	uint32_t flags = 0;
	int err;

	snprintf(text, sizeof text, "%s", a->cidr);
	m.ifa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	m.ifa_prefixlen = (unsigned char)atoi(strchr(text, '/') + 1);
	*strchr(text, '/') = '\0';
	if (inet_pton(m.ifa_family, text, bytes) != 1)
		lab_fail("%s is no address", a->cidr);
	if (m.ifa_family == AF_INET6)
		flags |= IFA_F_NODAD;
	if (a->vip && !a->own_route && m.ifa_prefixlen < 32)
		flags |= IFA_F_NOPREFIXROUTE;
	err = change(RTM_NEWADDR, &m, bytes, flags, a->vip && m.ifa_family == AF_INET6);
	if (err < 0)
		lab_fail("cannot add %s: %s", a->cidr, strerror(-err));
}

static bool has_routes(const struct state_address *addresses)
{
	struct state now;
	bool all = true;

	late_routes = true;
	state_read(&now);
	late_routes = false;
	for (; addresses->cidr; addresses++) {
		char word[80];

		snprintf(word, sizeof word, "route %.*s/128 ", (int)strcspn(addresses->cidr, "/"),
			 addresses->cidr);
		all = all && (!strchr(addresses->cidr, ':') || strstr(now.text, word));
	}
	return all;
}

void state_make(const struct state_address *addresses, const char *gateway)
{
	_Alignas(struct nlmsghdr) char buffer[1024];
	struct nlmsghdr *h;
	struct rtmsg *m;
	struct in_addr via;
	void *fixed;

	remove_all();
	for (const struct state_address *a = addresses; a->cidr; a++)
		add_address(a);
	h = question(buffer, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof *m,
		     &fixed);
	m = fixed;
	*m = (struct rtmsg){.rtm_family = AF_INET,
			    .rtm_table = RT_TABLE_MAIN,
			    .rtm_protocol = RTPROT_STATIC,
			    .rtm_scope = RT_SCOPE_UNIVERSE,
			    .rtm_type = RTN_UNICAST};
	inet_pton(AF_INET, gateway, &via);
	mnl_attr_put(h, RTA_GATEWAY, sizeof via, &via);
	mnl_attr_put_u32(h, RTA_OIF, eth0);
	if (ask(h, NULL, NULL) < 0)
		lab_fail("cannot add the default route");
	if (!LAB_UNTIL(has_routes(addresses), 2000))
		lab_fail("an address has no route of its own");
}

/* ---- comparing ---- */

static bool mentions(const char *line, size_t size, const char *const vips[])
{
	char padded[LINE + 2], word[64];

	snprintf(padded, sizeof padded, "%.*s", (int)size, line);
	for (; *vips; vips++) {
		snprintf(word, sizeof word, " %s/", *vips);
		if (strstr(padded, word))
			return true;
	}
	return false;
}

/* What tells a line apart from others. */
static size_t key_size(const char *line)
{
	const char *bar = strchr(line, '|');

	return bar ? (size_t)(bar - line) : strcspn(line, "\n");
}

static bool has_key(const char *text, const char *line, size_t size)
{
	for (; *text; text += strcspn(text, "\n") + 1)
		if (strncmp(text, line, size) == 0)
			return true;
	return false;
}

bool state_is_whole(const struct state *before, const struct state *now, const char *const vips[],
		    char *text, size_t size)
{
	for (const char *l = before->text; *l; l += strcspn(l, "\n") + 1)
		if (!mentions(l, key_size(l), vips) && !has_key(now->text, l, key_size(l))) {
			snprintf(text, size, "lost: %.*s", (int)strcspn(l, "\n"), l);
			return false;
		}
	for (const char *l = now->text; *l; l += strcspn(l, "\n") + 1)
		if (strncmp(l, "address", 7) == 0 && !mentions(l, key_size(l), vips) &&
		    !has_key(before->text, l, key_size(l))) {
			snprintf(text, size, "left behind: %.*s", (int)strcspn(l, "\n"), l);
			return false;
		}
	return true;
}

/* ---- changes as they come ---- */

/* How many copies of a VIP stand since a call that began and ended then. */
static struct change {
	int vip, copies;
	int64_t begin_ns, end_ns;
} changes[CHANGES];
static int change_count;
static const char *watched[VIPS];
static int stood[VIPS]; /* copies, at the beginning */

static int copies_in(const struct state *s, const char *vip)
{
	char word[64];
	int n = 0;

	snprintf(word, sizeof word, "address %s/", vip);
	for (const char *p = s->text; (p = strstr(p, word)); p++)
		n++;
	return n;
}

static int copies_so_far(int vip)
{
	int copies = stood[vip];

	for (int i = 0; i < change_count; i++)
		if (changes[i].vip == vip)
			copies = changes[i].copies;
	return copies;
}

void state_watched(int64_t begin_ns, int64_t end_ns)
{
	struct state now;

	state_read(&now);
	for (int i = 0; i < VIPS && watched[i]; i++) {
		int copies = copies_in(&now, watched[i]);

		if (copies == copies_so_far(i))
			continue;
		if (change_count == CHANGES)
			lab_fail("more changes than expected");
		changes[change_count++] = (struct change){
			.vip = i, .copies = copies, .begin_ns = begin_ns, .end_ns = end_ns};
	}
}

void state_watch(const char *const vips[])
{
	struct state now;

	memset(watched, 0, sizeof watched);
	change_count = 0;
	state_read(&now);
	for (int i = 0; i < VIPS && vips[i]; i++) {
		watched[i] = vips[i];
		stood[i] = copies_in(&now, vips[i]);
	}
}

static int index_of(const char *address)
{
	for (int i = 0; i < VIPS && watched[i]; i++)
		if (strcmp(watched[i], address) == 0)
			return i;
	lab_fail("%s is not watched", address);
}

bool state_was_away(const char *address, int64_t ns)
{
	int vip = index_of(address);
	int64_t since = stood[vip] > 0 ? -1 : 0; /* no copy stands from then on; -1: one does */

	for (int i = 0; i < change_count; i++) {
		if (changes[i].vip != vip)
			continue;
		if (since >= 0 && ns > since && ns < changes[i].begin_ns)
			return true;
		if (changes[i].copies > 0)
			since = -1;
		else if (since < 0)
			since = changes[i].end_ns;
	}
	return since >= 0 && ns > since;
}

int64_t state_since(const char *address)
{
	int vip = index_of(address), copies = stood[vip];
	int64_t since = copies > 0 ? 0 : -1;

	for (int i = 0; i < change_count; i++) {
		if (changes[i].vip != vip)
			continue;
		if (changes[i].copies == 0)
			since = -1;
		else if (copies == 0)
			since = changes[i].begin_ns;
		copies = changes[i].copies;
	}
	return since;
}

void state_open(struct lab_host *h)
{
	static struct lab_result r;

	host = h;
	asking = lab_socket(h, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	lab_run(h, &r, 5000, (const char *const[]){"ip", "-o", "link", "show", "eth0", NULL});
	eth0 = (unsigned)atoi(r.out);
	if (eth0 == 0)
		lab_fail("eth0 has no index: %s", r.err);
}
