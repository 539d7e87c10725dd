/* SPDX-License-Identifier: MIT */
/*
 * Addresses as the kernel has them, and the two changes that this program makes to
 * them, over libnl-route.  It decides nothing.
 */
#include "vip.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <stdlib.h>
#include <string.h>

static bool read_ip(const struct nlattr *attribute, int family, struct ip *ip)
{
	size_t size = family == AF_INET ? sizeof(ip->in) : sizeof(ip->in6);
	struct ip read = { .family = (sa_family_t)family };

	if (attribute == NULL || (size_t)nla_len(attribute) != size)
		return false;
	memcpy(read.bytes, nla_data(attribute), size);
	*ip = read;
	return true;
}

/* rtnetlink(7): IFA_LOCAL is ours; IPv6 gives IFA_ADDRESS alone when there is no peer. */
static bool read_address(struct nlmsghdr *message, struct address *out)
{
	struct ifaddrmsg *fixed = nlmsg_data(message);
	struct nlattr *tb[IFA_MAX + 1];
	struct address a = { 0 };
	struct ip other;

	if (message->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(message, sizeof(*fixed), tb, IFA_MAX, NULL) < 0 ||
	    (fixed->ifa_family != AF_INET && fixed->ifa_family != AF_INET6))
		return false;
	if (!read_ip(tb[IFA_LOCAL], fixed->ifa_family, &a.ip) &&
	    !read_ip(tb[IFA_ADDRESS], fixed->ifa_family, &a.ip))
		return false;
	if (read_ip(tb[IFA_ADDRESS], fixed->ifa_family, &other) && !ip_equal(&other, &a.ip))
		a.peer = other;
	a.prefixlen = fixed->ifa_prefixlen;
	a.ifindex = fixed->ifa_index;
	a.flags = fixed->ifa_flags;
	if (tb[IFA_FLAGS] != NULL && nla_len(tb[IFA_FLAGS]) == sizeof(uint32_t))
		a.flags = nla_get_u32(tb[IFA_FLAGS]);
	if (tb[IFA_CACHEINFO] != NULL && (size_t)nla_len(tb[IFA_CACHEINFO]) >= sizeof(struct ifa_cacheinfo))
		a.created_cs = ((struct ifa_cacheinfo *)nla_data(tb[IFA_CACHEINFO]))->cstamp;
	*out = a;
	return true;
}

struct address_list {
	struct address *items;
	size_t count, room;
};

static int list_address(void *arg, struct nlmsghdr *message)
{
	struct address_list *list = arg;
	struct address a;

	if (message == NULL) {
		list->count = 0;
		return 0;
	}
	if (!read_address(message, &a))
		return 0;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 32 : list->room * 2;
		struct address *moved = reallocarray(list->items, room, sizeof(a));

		if (moved == NULL)
			return -ENOMEM;
		list->items = moved;
		list->room = room;
	}
	list->items[list->count++] = a;
	return 0;
}

/* A dump of addresses, IPv4 alone or of both families. */
static int dump_addresses(struct netlink *netlink, unsigned char family, netlink_listener listen, void *arg)
{
	struct ifaddrmsg fixed = { .ifa_family = family };
	CLEANUP(netlink_free_message) struct nl_msg *msg =
		netlink_question(RTM_GETADDR, NLM_F_DUMP, &fixed, sizeof(fixed));

	return msg == NULL ? -ENOMEM : netlink_ask(netlink, msg, listen, arg);
}

int vip_addresses(struct netlink *netlink, sa_family_t family, struct facts *facts)
{
	struct address_list list = { 0 };
	int err = dump_addresses(netlink, (unsigned char)family, list_address, &list);

	if (err < 0) {
		free(list.items);
		return err;
	}
	*facts = (struct facts){ .addresses = list.items, .address_count = list.count };
	return 0;
}

/* The libnl form of an address, for a request. */
static int build_address(const struct address *a, struct rtnl_addr **out)
{
	size_t size = ip_bits(&a->ip) / 8;
	struct rtnl_addr *addr = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(a->ip.family, a->ip.bytes, size);
	struct nl_addr *peer = a->peer.family == AF_UNSPEC ? NULL :
		nl_addr_build(a->peer.family, a->peer.bytes, size);
	int err = -ENOMEM;

	if (addr != NULL && local != NULL && (peer != NULL || a->peer.family == AF_UNSPEC)) {
		rtnl_addr_set_ifindex(addr, (int)a->ifindex);
		err = rtnl_addr_set_local(addr, local) < 0 ? -EIO : 0;
		if (err == 0 && peer != NULL)
			err = rtnl_addr_set_peer(addr, peer) < 0 ? -EIO : 0;
		rtnl_addr_set_prefixlen(addr, a->prefixlen);	/* after the address: it sets one */
		rtnl_addr_set_flags(addr, a->flags);
	}
	nl_addr_put(local);
	nl_addr_put(peer);
	if (err < 0)
		rtnl_addr_put(addr);
	else
		*out = addr;
	return err;
}

static void put_address(struct rtnl_addr **addr)
{
	rtnl_addr_put(*addr);
}

int vip_prepare(const struct vip *vip, unsigned ifindex, struct nl_msg **request)
{
	struct address a = { .ip = vip->ip, .prefixlen = vip->prefixlen, .ifindex = ifindex };
	CLEANUP(put_address) struct rtnl_addr *addr = NULL;
	int err;

	/*
	 * A secondary makes no route of its own; but should it be promoted, the host's own
	 * address having gone, then the route to the subnet has to stay.
	 */
	if (vip->ip.family == AF_INET6 && vip->prefixlen < 128)
		a.flags |= IFA_F_NOPREFIXROUTE;
	if (vip->ip.family == AF_INET6)
		a.flags |= IFA_F_NODAD;
	err = build_address(&a, &addr);
	if (err < 0)
		return err;
	if (vip->ip.family == AF_INET6) {
		rtnl_addr_set_valid_lifetime(addr, UINT32_MAX);	/* for ever */
		rtnl_addr_set_preferred_lifetime(addr, 0);
	}
	return rtnl_addr_build_add_request(addr, NLM_F_EXCL, request) < 0 ? -ENOMEM : 0;
}

int vip_add_prepared(struct netlink *netlink, struct nl_msg *request)
{
	int err = netlink_ask(netlink, request, NULL, NULL);

	return err == -EEXIST ? 0 : err;
}

int vip_add(struct netlink *netlink, const struct vip *vip, unsigned ifindex)
{
	CLEANUP(netlink_free_message) struct nl_msg *request = NULL;
	int err = vip_prepare(vip, ifindex, &request);

	return err < 0 ? err : vip_add_prepared(netlink, request);
}

/* Deleting a primary --------------------------------------------------- */

/* Addresses that go with a primary, as the kernel's own messages. */
struct companions {
	const struct address *primary;
	struct nl_msg **messages;
	size_t count;
	bool secondary;			/* the "primary" is none by now */
	struct ip *hosts;		/* what stands there as /32 already: needs no stand-in */
	size_t host_count;
};

static int add_host(struct companions *c, const struct ip *ip)
{
	struct ip *moved = reallocarray(c->hosts, c->host_count + 1, sizeof(*moved));

	if (moved == NULL)
		return -ENOMEM;
	c->hosts = moved;
	c->hosts[c->host_count++] = *ip;
	return 0;
}

/* inet_del_ifa(), net/ipv4/devinet.c: the same mask, and in the primary's subnet. */
static int find_companion(void *arg, struct nlmsghdr *message)
{
	struct companions *c = arg;
	struct nl_msg **moved, *copy;
	const struct ip *net;
	struct address a;

	if (message == NULL) {
		while (c->count > 0)
			nlmsg_free(c->messages[--c->count]);
		c->host_count = 0;
		c->secondary = false;
		return 0;
	}
	net = c->primary->peer.family == AF_UNSPEC ? &c->primary->ip : &c->primary->peer;
	if (!read_address(message, &a) || a.ifindex != c->primary->ifindex)
		return 0;
	if (a.prefixlen == c->primary->prefixlen && ip_equal(&a.ip, &c->primary->ip)) {
		c->secondary = (a.flags & IFA_F_SECONDARY) != 0;
		return 0;
	}
	if (a.prefixlen == 32 && a.peer.family == AF_UNSPEC)
		return add_host(c, &a.ip);
	if ((a.flags & IFA_F_SECONDARY) == 0 || a.prefixlen != c->primary->prefixlen ||
	    !ip_same_net(a.peer.family == AF_UNSPEC ? &a.ip : &a.peer, net, a.prefixlen))
		return 0;
	moved = reallocarray(c->messages, c->count + 1, sizeof(*moved));
	if (moved == NULL)
		return -ENOMEM;
	c->messages = moved;
	copy = nlmsg_convert(message);
	if (copy == NULL)
		return -ENOMEM;
	c->messages[c->count++] = copy;
	return 0;
}

static void free_companions(struct companions *c)
{
	find_companion(c, NULL);
	free(c->messages);
	free(c->hosts);
}

/* A request for a bare copy of a companion: /32, so that its local route stays. */
static int build_stand_in(const struct companions *c, struct nl_msg *companion, bool add,
			  struct nl_msg **out)
{
	CLEANUP(put_address) struct rtnl_addr *addr = NULL;
	struct address a;
	int err;

	if (!read_address(nlmsg_hdr(companion), &a))
		return -EIO;
	*out = NULL;
	for (size_t i = 0; i < c->host_count; i++)
		if (ip_equal(&c->hosts[i], &a.ip))
			return 0;
	a.prefixlen = 32;
	a.peer = (struct ip){ .family = AF_UNSPEC };
	a.flags = IFA_F_NOPREFIXROUTE;
	err = build_address(&a, &addr);
	if (err < 0)
		return err;
	err = add ? rtnl_addr_build_add_request(addr, NLM_F_EXCL, out) :
		rtnl_addr_build_delete_request(addr, 0, out);
	return err < 0 ? -ENOMEM : 0;
}

/*
 * One sendmsg(), which the kernel works off whole under no signal: stand-ins for
 * the companions (an interface without any IPv4 address would lose its
 * routes), the primary out, the companions back as they were, stand-ins out.
 * A companion that was promoted instead is there already, and says EEXIST.
 */
static int delete_with_companions(struct netlink *netlink, struct nl_msg *request,
				  const struct companions *c)
{
	struct nl_msg **batch = calloc(3 * c->count + 1, sizeof(struct nl_msg *));
	size_t n = 0, back;
	int err = batch == NULL ? -ENOMEM : 0;

	for (size_t i = 0; err == 0 && i < c->count; i++) {
		err = build_stand_in(c, c->messages[i], true, &batch[n]);
		n += err == 0 && batch[n] != NULL;
	}
	back = n;
	if (err == 0)
		batch[n++] = request;
	for (size_t i = 0; err == 0 && i < c->count; i++) {
		nlmsg_hdr(c->messages[i])->nlmsg_type = RTM_NEWADDR;
		nlmsg_hdr(c->messages[i])->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
		batch[n++] = c->messages[i];
	}
	for (size_t i = 0; err == 0 && i < c->count; i++) {
		err = build_stand_in(c, c->messages[i], false, &batch[n]);
		n += err == 0 && batch[n] != NULL;
	}
	if (err == 0)
		err = netlink_batch(netlink, batch, n);
	for (size_t i = 0; batch != NULL && i < n; i++)
		if (i < back || i > back + c->count)
			nlmsg_free(batch[i]);
	free(batch);
	return err;
}

int vip_delete(struct netlink *netlink, const struct address *address)
{
	struct address exact = *address;
	CLEANUP(free_companions) struct companions c = { .primary = address };
	CLEANUP(put_address) struct rtnl_addr *addr = NULL;
	CLEANUP(netlink_free_message) struct nl_msg *msg = NULL;
	/* looked at anew: what was a secondary may have been promoted since */
	bool takes_along = address->ip.family == AF_INET &&
		(address->prefixlen < 32 || address->peer.family != AF_UNSPEC);
	int err;

	exact.flags = 0;
	err = build_address(&exact, &addr);
	if (err == 0 && rtnl_addr_build_delete_request(addr, 0, &msg) < 0)
		err = -ENOMEM;
	if (err == 0 && takes_along)
		err = dump_addresses(netlink, AF_INET, find_companion, &c);
	if (err < 0)
		return err;
	err = c.count > 0 && !c.secondary ? delete_with_companions(netlink, msg, &c) : netlink_ask(netlink, msg, NULL, NULL);
	return err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

int vip_narrow(struct netlink *netlink, const struct address *address)
{
	struct vip bare = { .ip = address->ip, .prefixlen = (uint8_t)ip_bits(&address->ip) };
	int err = vip_add(netlink, &bare, address->ifindex);

	return err < 0 ? err : vip_delete(netlink, address);
}
