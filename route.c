/* SPDX-License-Identifier: MIT */
/*
 * The routes that hang on addresses: the local one, by which an address takes packets in,
 * and the default routes of links.  It takes local routes away and makes none.
 */
#include "vip.h"

#include <errno.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

enum {
	NEXTHOPS_MAX = 32,
	LOOPBACK_IFINDEX = 1,	/* <net/net_namespace.h> of the kernel */
};

/* Local routes --------------------------------------------------------- */

/* About the route to an address on its link; the table goes as an attribute, which takes any. */
static struct nl_msg *ask_about(int type, const struct address *a, uint32_t table)
{
	struct rtmsg fixed = {
		.rtm_family = (unsigned char)a->ip.family,
		.rtm_dst_len = (unsigned char)ip_bits(&a->ip),
		.rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : 0,	/* any */
		.rtm_type = type == RTM_DELROUTE ? RTN_LOCAL : 0,
	};
	struct nl_msg *msg = netlink_question(type, 0, &fixed, sizeof(fixed));

	if (msg == NULL)
		return NULL;
	if (nla_put(msg, RTA_DST, (int)ip_bits(&a->ip) / 8, a->ip.bytes) == 0 &&
	    nla_put_u32(msg, RTA_OIF, a->ifindex) == 0 &&
	    (type != RTM_DELROUTE || nla_put_u32(msg, RTA_TABLE, table) == 0))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

static int take_from(struct netlink *netlink, const struct address *a, uint32_t table)
{
	CLEANUP(netlink_free_message) struct nl_msg *msg = ask_about(RTM_DELROUTE, a, table);

	return msg == NULL ? -ENOMEM : netlink_ask(netlink, msg, NULL, NULL);
}

static bool read_u32(const struct nlattr *attribute, uint32_t *out)
{
	if (attribute == NULL || nla_len(attribute) != sizeof(*out))
		return false;
	*out = nla_get_u32(attribute);
	return true;
}

/* The local routes to an address, in whichever table. */
struct search {
	const struct address *address;
	uint32_t table;			/* of the one on the address's link; 0: none */
};

static int match_route(void *arg, struct nlmsghdr *message)
{
	struct search *s = arg;
	const struct ip *ip = &s->address->ip;
	struct nlattr *tb[RTA_MAX + 1];
	struct rtmsg *fixed;
	uint32_t oif;

	if (message == NULL) {
		s->table = 0;
		return 0;
	}
	fixed = nlmsg_data(message);
	if (message->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(message, sizeof(*fixed), tb, RTA_MAX, NULL) < 0 ||
	    fixed->rtm_type != RTN_LOCAL || fixed->rtm_dst_len != ip_bits(ip) ||
	    fixed->rtm_family != ip->family || tb[RTA_DST] == NULL ||
	    nla_len(tb[RTA_DST]) != (int)ip_bits(ip) / 8 ||
	    memcmp(nla_data(tb[RTA_DST]), ip->bytes, ip_bits(ip) / 8) != 0)
		return 0;
	/* kernels before 4.17 have IPv6's on loopback */
	if (read_u32(tb[RTA_OIF], &oif) &&
	    (oif == s->address->ifindex || (ip->family == AF_INET6 && oif == LOOPBACK_IFINDEX)) &&
	    !read_u32(tb[RTA_TABLE], &s->table))
		s->table = fixed->rtm_table;
	return 0;
}

/* All routes of the family are read, so only where the short way has not led anywhere. */
static int search_tables(struct netlink *netlink, struct search *search)
{
	struct rtmsg fixed = { .rtm_family = (unsigned char)search->address->ip.family };
	CLEANUP(netlink_free_message) struct nl_msg *msg =
		netlink_question(RTM_GETROUTE, NLM_F_DUMP, &fixed, sizeof(fixed));

	return msg == NULL ? -ENOMEM : netlink_ask(netlink, msg, match_route, search);
}

/* A link that belongs to a VRF has its local routes in the table of that (l3mdev_fib_table()). */
int route_seal(struct netlink *netlink, const struct address *address)
{
	struct search search = { .address = address };
	int err = take_from(netlink, address, RT_TABLE_LOCAL);

	if (err != -ESRCH)
		return err;
	err = search_tables(netlink, &search);
	if (err == 0 && search.table != 0)
		err = take_from(netlink, address, search.table);
	return err == -ESRCH ? 0 : err;
}

static int read_type(void *arg, struct nlmsghdr *message)
{
	if (message != NULL && message->nlmsg_type == RTM_NEWROUTE &&
	    nlmsg_valid_hdr(message, sizeof(struct rtmsg)))
		*(unsigned char *)arg = ((struct rtmsg *)nlmsg_data(message))->rtm_type;
	return 0;
}

/* The route that a packet would take is one look; rules and VRFs may lead it astray. */
int route_is_sealed(struct netlink *netlink, const struct address *address, bool *sealed)
{
	CLEANUP(netlink_free_message) struct nl_msg *msg = ask_about(RTM_GETROUTE, address, 0);
	struct search search = { .address = address };
	unsigned char type = RTN_UNSPEC;
	int err;

	if (msg == NULL)
		return -ENOMEM;
	if (netlink_ask(netlink, msg, read_type, &type) == 0 && type == RTN_LOCAL) {
		*sealed = false;
		return 0;
	}
	err = search_tables(netlink, &search);
	if (err == 0)
		*sealed = search.table == 0;	/* the route of a copy elsewhere may go with that copy */
	return err;
}

/* Default routes ------------------------------------------------------- */

struct defaults {
	struct link *links;
	size_t link_count;
	uint32_t nexthops[NEXTHOPS_MAX];	/* objects that only have a number in the routes */
	size_t nexthop_count;
};

static void mark_link(struct defaults *d, unsigned ifindex)
{
	for (size_t i = 0; i < d->link_count; i++)
		if (d->links[i].ifindex == ifindex)
			d->links[i].default_route = true;
}

static void want_nexthop(struct defaults *d, uint32_t id)
{
	for (size_t i = 0; i < d->nexthop_count; i++)
		if (d->nexthops[i] == id)
			return;
	if (d->nexthop_count < NEXTHOPS_MAX)
		d->nexthops[d->nexthop_count++] = id;
}

/* Or the half of one, 0.0.0.0/1 and 128.0.0.0/1, by which a default route is outdone. */
static int read_route(void *arg, struct nlmsghdr *message)
{
	struct defaults *d = arg;
	struct rtmsg *fixed;
	struct nlattr *tb[RTA_MAX + 1];
	uint32_t number;

	if (message == NULL || message->nlmsg_type != RTM_NEWROUTE)
		return 0;
	fixed = nlmsg_data(message);
	if (nlmsg_parse(message, sizeof(*fixed), tb, RTA_MAX, NULL) < 0 ||
	    fixed->rtm_dst_len > 1 || fixed->rtm_type != RTN_UNICAST)
		return 0;
	if (read_u32(tb[RTA_OIF], &number))
		mark_link(d, number);
	else if (read_u32(tb[RTA_NH_ID], &number))
		want_nexthop(d, number);
	if (tb[RTA_MULTIPATH] != NULL) {
		struct rtnexthop *hop = nla_data(tb[RTA_MULTIPATH]);
		int left = nla_len(tb[RTA_MULTIPATH]);

		/* RTNH_OK() looks into the next one before it looks whether there is one */
		for (; left >= (int)sizeof(*hop) && RTNH_OK(hop, left);
		     left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
			mark_link(d, (unsigned)hop->rtnh_ifindex);
	}
	return 0;
}

/* One of them has a link, a group has further ones. */
static int read_nexthop(void *arg, struct nlmsghdr *message)
{
	struct defaults *d = arg;
	struct nlattr *tb[NHA_MAX + 1];
	uint32_t number;

	if (message == NULL || message->nlmsg_type != RTM_NEWNEXTHOP ||
	    nlmsg_parse(message, sizeof(struct nhmsg), tb, NHA_MAX, NULL) < 0)
		return 0;
	if (read_u32(tb[NHA_OIF], &number))
		mark_link(d, number);
	if (tb[NHA_GROUP] != NULL) {
		const struct nexthop_grp *members = nla_data(tb[NHA_GROUP]);

		for (size_t i = 0; i < (size_t)nla_len(tb[NHA_GROUP]) / sizeof(*members); i++)
			want_nexthop(d, members[i].id);
	}
	return 0;
}

/* With net.ipv4.nexthop_compat_mode 0 the routes do not tell the links.  One that is gone is none. */
static int ask_nexthop(struct netlink *netlink, uint32_t id, struct defaults *d)
{
	struct nhmsg fixed = { 0 };
	CLEANUP(netlink_free_message) struct nl_msg *msg =
		netlink_question(RTM_GETNEXTHOP, 0, &fixed, sizeof(fixed));
	int err;

	if (msg == NULL || nla_put_u32(msg, NHA_ID, id) < 0)
		return -ENOMEM;
	err = netlink_ask(netlink, msg, read_nexthop, d);
	return err == -ENOENT ? 0 : err;
}

int route_find_defaults(struct netlink *netlink, struct link *links, size_t count)
{
	struct rtmsg fixed = { .rtm_family = AF_INET };
	struct defaults d = { .links = links, .link_count = count };
	CLEANUP(netlink_free_message) struct nl_msg *msg =
		netlink_question(RTM_GETROUTE, NLM_F_DUMP, &fixed, sizeof(fixed));
	int err = msg == NULL ? -ENOMEM : netlink_ask(netlink, msg, read_route, &d);

	for (size_t i = 0; err == 0 && i < d.nexthop_count; i++)	/* which grows */
		err = ask_nexthop(netlink, d.nexthops[i], &d);
	return err;
}
