/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says of this host at one moment: its addresses, and the few
 * links that the question is about.  It changes nothing.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LINK_LOCAL_NET = 0xa9fe0000,	/* 169.254.0.0/16 */
	NEW_CS = 500,			/* an address that was made in the last 5 s is new */
	NEW_PAUSE_MS = 64,		/* the last of the pauses that its route is given, which double */
};

static int read_link(void *arg, struct nlmsghdr *message)
{
	struct ifinfomsg *fixed;
	struct nlattr *tb[IFLA_MAX + 1];
	struct link link = { 0 };

	if (message == NULL || message->nlmsg_type != RTM_NEWLINK)
		return 0;
	fixed = nlmsg_data(message);
	if (nlmsg_parse(message, sizeof(*fixed), tb, IFLA_MAX, NULL) < 0 || tb[IFLA_IFNAME] == NULL)
		return -EIO;
	link.ifindex = (unsigned)fixed->ifi_index;
	link.flags = fixed->ifi_flags;
	link.type = fixed->ifi_type;
	nla_strlcpy(link.name, tb[IFLA_IFNAME], sizeof(link.name));
	if (link.type == ARPHRD_ETHER) {
		if (tb[IFLA_ADDRESS] == NULL || nla_len(tb[IFLA_ADDRESS]) != ETH_ALEN)
			return -EIO;
		memcpy(link.mac, nla_data(tb[IFLA_ADDRESS]), ETH_ALEN);
	}
	*(struct link *)arg = link;
	return 0;
}

/* One link, by index or by name; -ENODEV when there is none. */
static int ask_link(struct netlink *netlink, unsigned ifindex, const char *name, struct link *link)
{
	struct ifinfomsg fixed = { .ifi_index = (int)ifindex };
	CLEANUP(netlink_free_message) struct nl_msg *msg =
		netlink_question(RTM_GETLINK, 0, &fixed, sizeof(fixed));
	struct link found = { 0 };
	int err;

	/* without this the answer lists every SR-IOV function */
	if (msg == NULL || nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0)
		return -ENOMEM;
	/* rtnl_dev_get(), net/core/rtnetlink.c: either finds alternative names as well */
	if (name != NULL && nla_put_string(msg, strlen(name) < IFNAMSIZ ? IFLA_IFNAME :
					   IFLA_ALT_IFNAME, name) < 0)
		return -ENOMEM;
	err = netlink_ask(netlink, msg, read_link, &found);
	if (err < 0)
		return err;
	if (found.ifindex == 0)
		return -ENODEV;
	*link = found;
	return 0;
}

int facts_read_link(struct netlink *netlink, unsigned ifindex, struct link *link)
{
	return ask_link(netlink, ifindex, NULL, link);
}

const struct link *facts_link(const struct facts *facts, unsigned ifindex)
{
	for (size_t i = 0; i < facts->link_count; i++)
		if (facts->links[i].ifindex == ifindex)
			return &facts->links[i];
	return NULL;
}

/* Adds a link; one that went away since it was heard of took its addresses along. */
static int want_link(struct netlink *netlink, struct facts *facts, unsigned ifindex,
		     const char *name)
{
	struct link *moved, link;
	int err;

	if (name == NULL && facts_link(facts, ifindex) != NULL)
		return 0;
	err = ask_link(netlink, ifindex, name, &link);
	if (err < 0)
		return err == -ENODEV ? 0 : err;
	moved = reallocarray(facts->links, facts->link_count + 1, sizeof(link));
	if (moved == NULL)
		return -ENOMEM;
	facts->links = moved;
	facts->links[facts->link_count++] = link;
	return 0;
}

static bool is_vip(const struct master *master, const struct ip *ip)
{
	for (size_t i = 0; i < master->vip_count; i++)
		if (ip_equal(&master->vips[i].ip, ip))
			return true;
	return false;
}

/* Whether the address is a VIP, or the master's, or its subnet has a VIP in it. */
static bool matters(const struct master *master, const struct ip *here, size_t count,
		    const struct address *a)
{
	for (size_t i = 0; i < count; i++)
		if (ip_equal(&here[i], &a->ip))
			return true;
	for (size_t i = 0; i < master->vip_count; i++)
		if (ip_same_net(&master->vips[i].ip, &a->ip, a->prefixlen))
			return true;
	return false;
}

/*
 * Whether VIPs, of whichever master, are all the IPv4 addresses that the link has.  One that the
 * host has given itself (RFC 3927) is none that it is reached at.
 */
static bool only_vips_on(const struct config *config, const struct facts *facts,
			 const struct link *link)
{
	bool any = false;

	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];

		if (a->ifindex != link->ifindex || a->ip.family != AF_INET)
			continue;
		if (config_owner(config, &a->ip) != NULL)
			any = true;
		else if ((ntohl(a->ip.in.s_addr) & IN_CLASSB_NET) != LINK_LOCAL_NET)
			return false;
	}
	return any;
}

/* The whole table has to be read, so only when the answer can matter. */
static int find_default_routes(struct netlink *netlink, const struct config *config,
			       struct facts *facts)
{
	bool needed = false;

	for (size_t i = 0; i < facts->link_count; i++) {
		facts->links[i].only_vips = only_vips_on(config, facts, &facts->links[i]);
		needed = needed || facts->links[i].only_vips;
	}
	return needed ? route_find_defaults(netlink, facts->links, facts->link_count) : 0;
}

/*
 * Whether its route may just not be there yet: IPv6 makes it when duplicate address detection is over, or
 * would be, and that is a work of its own (addrconf_dad_work(), net/ipv6/addrconf.c).
 */
static bool is_new(const struct address *a, const struct link *link)
{
	uint32_t age = (uint32_t)(uint64_t)(clock_ms() / 10) - a->created_cs;

	return a->ip.family == AF_INET6 && (a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0 &&
		(link->flags & IFF_UP) != 0 && (int32_t)age < NEW_CS;
}

/*
 * What cannot be found out is taken for well: nothing is changed because of it.  True when another
 * look may find less.
 */
static bool look_for_sealed(struct netlink *netlink, const struct master *master, struct facts *facts,
			    bool again)
{
	bool any = false;

	for (size_t i = 0; i < facts->address_count; i++) {
		struct address *a = &facts->addresses[i];
		const struct link *link;

		if ((again && !a->sealed) || !is_vip(master, &a->ip))
			continue;
		link = facts_link(facts, a->ifindex);
		if (link == NULL || (link->flags & IFF_LOOPBACK) != 0)
			continue;
		if (route_is_sealed(netlink, a, &a->sealed) < 0)
			a->sealed = false;
		any = any || (a->sealed && is_new(a, link));
	}
	return any;
}

static void find_sealed(struct netlink *netlink, const struct master *master, struct facts *facts)
{
	bool again = look_for_sealed(netlink, master, facts, false);

	for (int pause_ms = 1; again && pause_ms <= NEW_PAUSE_MS; pause_ms *= 2) {
		poll(NULL, 0, pause_ms);
		again = look_for_sealed(netlink, master, facts, true);
	}
}

/* Half of the kernel's work is saved where all is IPv4, or all is IPv6. */
static sa_family_t common_family(const struct master *master, const struct ip *here, size_t count)
{
	sa_family_t family = master->vip_count > 0 ? master->vips[0].ip.family : AF_UNSPEC;

	for (size_t i = 1; i < master->vip_count; i++)
		if (master->vips[i].ip.family != family)
			return AF_UNSPEC;
	for (size_t i = 0; i < count; i++)
		if (here[i].family != family)
			return AF_UNSPEC;
	return family;
}

static int copy_addresses(const struct facts *known, struct facts *facts)
{
	struct address *items = reallocarray(NULL, known->address_count + 1, sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	if (known->address_count > 0)
		memcpy(items, known->addresses, known->address_count * sizeof(*items));
	*facts = (struct facts){ .addresses = items, .address_count = known->address_count };
	return 0;
}

int facts_gather_from(struct netlink *netlink, const struct facts *known,
		      const struct config *config, const struct master *master,
		      const struct ip *here, size_t count, struct facts *facts)
{
	struct facts found;
	int err = known != NULL ? copy_addresses(known, &found) :
		vip_addresses(netlink, common_family(master, here, count), &found);

	if (err < 0)
		return err;
	if (master->interface[0] != '\0') {
		err = want_link(netlink, &found, 0, master->interface);
		found.interface = found.link_count > 0 ? found.links[0].ifindex : 0;
	}
	for (size_t i = 0; err == 0 && i < found.address_count; i++)
		if (matters(master, here, count, &found.addresses[i]))
			err = want_link(netlink, &found, found.addresses[i].ifindex, NULL);
	if (err == 0)
		err = find_default_routes(netlink, config, &found);
	if (err < 0) {
		facts_free(&found);
		return err;
	}
	find_sealed(netlink, master, &found);
	*facts = found;
	return 0;
}

int facts_gather(struct netlink *netlink, const struct config *config, const struct master *master,
		 const struct ip *here, size_t count, struct facts *facts)
{
	return facts_gather_from(netlink, NULL, config, master, here, count, facts);
}

void facts_free(struct facts *facts)
{
	free(facts->addresses);
	free(facts->links);
	*facts = (struct facts){ 0 };
}

int facts_watch(void)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
	};
	/*
	 * Not what is added: a failover of a hundred masters to one host would wake a hundred
	 * announcers a hundred times each.  (BPF loads in network byte order.)
	 */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWADDR), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	/* without it there are only more reasons to look */
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

void facts_drain(int fd)
{
	char scrap[8192];

	/* ENOBUFS says that events were lost: as good a reason to look as any */
	while (recv(fd, scrap, sizeof(scrap), MSG_TRUNC) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}
