/* SPDX-License-Identifier: MIT */
/*
 * Who else on a link has an address: the question, and what is heard.  It judges each
 * frame by itself: one that is not as the RFCs want it says nothing, and what follows
 * from a holder is decided elsewhere.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

/* RFC 4861 sections 4.3 and 4.4: what solicitation and advertisement have in common, over IPv6. */
struct nd_frame {
	uint8_t destination[ETH_ALEN];
	uint8_t source[ETH_ALEN];
	uint16_t ethertype;
	uint32_t version_class_flow;
	uint16_t payload_size;
	uint8_t next_header;
	uint8_t hop_limit;
	struct in6_addr from;
	struct in6_addr to;
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	uint32_t flags;
	struct in6_addr target;
} __attribute__((packed));

/* With an option of RFC 4861 section 4.6.1. */
struct solicitation {
	struct nd_frame nd;
	uint8_t option_type;
	uint8_t option_size;	/* in units of 8 octets */
	uint8_t option_mac[ETH_ALEN];
} __attribute__((packed));

_Static_assert(sizeof(struct solicitation) == 86, "and an option of 8");
_Static_assert(sizeof(struct nd_frame) == 78, "14 of Ethernet, 40 of IPv6 and 24");
_Static_assert(offsetof(struct nd_frame, next_header) == 20, "no padding");
_Static_assert(offsetof(struct nd_frame, type) == 54, "no padding");

enum {
	ND_OFFSET = offsetof(struct nd_frame, type),
	ND_PAYLOAD = sizeof(struct nd_frame) - ND_OFFSET,
	ND_OPTION_UNIT = 8,	/* RFC 4861 section 4.6: octets */
	DISCARD = 9,		/* a port; nothing is sent to it */
	HOP_LIMIT = 255,	/* RFC 4861 section 7.1: it has crossed no router */
	FRAME_MAX = 1514,
	VLAN_ID = 0x0fff,
	HEAR_MAX = 256,		/* frames in one call: a storm must not keep the caller */
};

/* The question --------------------------------------------------------- */

/* RFC 1071 over the pseudo-header of RFC 8200 section 8.1 and the message, its checksum too. */
static uint16_t sum(const uint8_t *frame, size_t payload)
{
	size_t begin = offsetof(struct nd_frame, from), end = ND_OFFSET + payload;
	uint32_t total = (uint32_t)payload + IPPROTO_ICMPV6;

	for (size_t i = begin; i < end; i++)
		total += (i - begin) % 2 == 0 ? (uint32_t)frame[i] << 8 : frame[i];
	while (total >> 16 != 0)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

/*
 * The link-local address that this host has there: the source that the kernel would take
 * for all nodes of the link.
 */
static bool own_address(unsigned ifindex, struct in6_addr *own)
{
	CLEANUP(fd_close) int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 at = {
		.sin6_family = AF_INET6, .sin6_port = htons(DISCARD), .sin6_scope_id = ifindex,
		.sin6_addr.s6_addr = { 0xff, 0x02, [15] = 1 },
	};
	socklen_t size = sizeof(at);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &size) < 0)
		return false;
	*own = at.sin6_addr;
	return IN6_IS_ADDR_LINKLOCAL(own);
}

/*
 * From an address of our own, so that the answer is for us alone: one to :: goes to all
 * nodes, with Override set, and leads them to whoever answers (RFC 4861 section 7.2.4).
 * Without one it has to be ::, and then no option goes along (section 4.3).
 */
static size_t build_solicitation(const struct link *link, const struct in6_addr *ip,
				 struct solicitation *frame)
{
	struct in6_addr own;
	bool has_own = own_address(link->ifindex, &own);
	size_t payload = has_own ? ND_PAYLOAD + ND_OPTION_UNIT : ND_PAYLOAD;

	*frame = (struct solicitation){
		.nd.ethertype = htons(ETH_P_IPV6),
		.nd.version_class_flow = htonl(UINT32_C(6) << 28),
		.nd.next_header = IPPROTO_ICMPV6,
		.nd.hop_limit = HOP_LIMIT,
		/* RFC 4291 section 2.7.1: and the last 24 bits of the address */
		.nd.to.s6_addr = { 0xff, 0x02, [11] = 0x01, [12] = 0xff },
		.nd.type = ND_NEIGHBOR_SOLICIT,
		.nd.target = *ip,
		/* RFC 2464 section 7: and the last 32 bits of the group's */
		.nd.destination = { 0x33, 0x33 },
		.option_type = ND_OPT_SOURCE_LINKADDR,
		.option_size = 1,
	};
	if (has_own)
		frame->nd.from = own;
	frame->nd.payload_size = htons((uint16_t)payload);
	memcpy(frame->nd.to.s6_addr + 13, ip->s6_addr + 13, 3);
	memcpy(frame->nd.destination + 2, frame->nd.to.s6_addr + 12, 4);
	memcpy(frame->nd.source, link->mac, ETH_ALEN);
	memcpy(frame->option_mac, link->mac, ETH_ALEN);
	frame->nd.checksum = htons((uint16_t)~sum((const uint8_t *)frame, payload));
	return ND_OFFSET + payload;
}

int probe_send(int fd, const struct link *link, const struct ip *ip)
{
	struct solicitation solicitation;
	struct arp_frame arp;

	if (ip->family == AF_INET6) {
		size_t size = build_solicitation(link, &ip->in6, &solicitation);

		return arp_send(fd, link, &solicitation, size);
	}
	arp_build_request(link->mac, ip->in, &arp);
	memset(arp.sender_ip, 0, sizeof(arp.sender_ip));	/* so that nobody learns from it */
	return arp_send(fd, link, &arp, sizeof(arp));
}

/* The answers ---------------------------------------------------------- */

static bool read_arp(const uint8_t *frame, size_t size, struct holder *holder)
{
	static const uint8_t nobody[4];
	struct arp_frame arp;

	if (size < sizeof(arp))
		return false;
	memcpy(&arp, frame, sizeof(arp));
	if (arp.ethertype != htons(ETH_P_ARP) || arp.hardware != htons(ARPHRD_ETHER) ||
	    arp.protocol != htons(ETH_P_IP) || arp.hardware_size != ETH_ALEN ||
	    arp.protocol_size != sizeof(arp.sender_ip))
		return false;
	if (arp.operation != htons(ARPOP_REQUEST) && arp.operation != htons(ARPOP_REPLY))
		return false;
	if (memcmp(arp.sender_ip, nobody, sizeof(nobody)) == 0)
		return false;	/* somebody else's probe */
	holder->ip.family = AF_INET;
	memcpy(&holder->ip.in, arp.sender_ip, sizeof(arp.sender_ip));
	memcpy(holder->mac, arp.sender_mac, ETH_ALEN);
	holder->announced = memcmp(arp.sender_ip, arp.target_ip, sizeof(arp.sender_ip)) == 0;
	return true;
}

/*
 * Finds a link-layer address option among those from `at` to `end`.  False when one is no
 * option (RFC 4861 section 4.6) or this one is not of Ethernet (RFC 2464 section 6);
 * true, and `mac` as it was, when it is missing.
 */
static bool read_options(const uint8_t *frame, size_t at, size_t end, uint8_t wanted,
			 uint8_t mac[ETH_ALEN])
{
	struct nd_opt_hdr option;
	size_t size;

	for (bool found = false; at < end; at += size) {
		if (end - at < sizeof(option))
			return false;
		memcpy(&option, frame + at, sizeof(option));
		size = (size_t)option.nd_opt_len * ND_OPTION_UNIT;
		if (size == 0 || size > end - at)
			return false;
		if (option.nd_opt_type != wanted || found)
			continue;
		if (size != sizeof(option) + ETH_ALEN)
			return false;
		memcpy(mac, frame + at + sizeof(option), ETH_ALEN);
		found = true;
	}
	return true;
}

/* RFC 4861 sections 7.1.1 and 7.1.2, but for the options; RFC 4291 section 2.7. */
static bool is_valid(const uint8_t *frame, size_t size, const struct nd_frame *nd)
{
	size_t payload = ntohs(nd->payload_size);

	return nd->ethertype == htons(ETH_P_IPV6) && ntohl(nd->version_class_flow) >> 28 == 6 &&
		nd->next_header == IPPROTO_ICMPV6 && nd->hop_limit == HOP_LIMIT && nd->code == 0 &&
		payload >= ND_PAYLOAD && payload <= size - ND_OFFSET &&
		nd->from.s6_addr[0] != 0xff && nd->target.s6_addr[0] != 0xff &&
		sum(frame, payload) == 0xffff;
}

/*
 * An advertisement says who has its target, a solicitation who has its source: nobody
 * where that is ::, which is only asking whether it may have the target.
 */
static bool read_nd(const uint8_t *frame, size_t size, struct holder *holder)
{
	struct nd_frame nd;
	uint8_t option;

	if (size < sizeof(nd))
		return false;
	memcpy(&nd, frame, sizeof(nd));
	if (!is_valid(frame, size, &nd))
		return false;
	holder->ip.family = AF_INET6;
	if (nd.type == ND_NEIGHBOR_ADVERT) {
		/* an answer to all was asked for by nobody in particular */
		if (nd.to.s6_addr[0] == 0xff && (nd.flags & ND_NA_FLAG_SOLICITED) != 0)
			return false;
		holder->ip.in6 = nd.target;
		holder->announced = nd.to.s6_addr[0] == 0xff;
		option = ND_OPT_TARGET_LINKADDR;
	} else if (nd.type == ND_NEIGHBOR_SOLICIT) {
		holder->ip.in6 = nd.from;
		option = ND_OPT_SOURCE_LINKADDR;
	} else {
		return false;
	}
	if (IN6_IS_ADDR_UNSPECIFIED(&holder->ip.in6))
		return false;
	memcpy(holder->mac, nd.source, ETH_ALEN);
	return read_options(frame, sizeof(nd), ND_OFFSET + ntohs(nd.payload_size), option,
			    holder->mac);
}

bool probe_read(const void *frame, size_t size, struct holder *holder)
{
	static const uint8_t nobody[ETH_ALEN];
	struct holder heard = { 0 };

	if (!read_arp(frame, size, &heard) && !read_nd(frame, size, &heard))
		return false;
	/* RFC 1812 section 3.3.2: no host has a broadcast or multicast hardware address */
	if ((heard.mac[0] & 1) != 0 || memcmp(heard.mac, nobody, ETH_ALEN) == 0)
		return false;
	*holder = heard;
	return true;
}

/* Hearing -------------------------------------------------------------- */

/*
 * Of what arrives here: ARP, and solicitations and advertisements right behind the IPv6
 * header.  Not what this host sends, nor what belongs to a VLAN on the link, whose tag
 * the kernel has taken off: the same address may well be another host's there.
 */
static int attach_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 13, 0),
		/* the tag is left over from a VLAN interface where it is not present */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, VLAN_ID, 9, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nd_frame, ethertype)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 6),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct nd_frame, next_header)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct nd_frame, type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_SOLICIT, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, FRAME_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int listen_on(int fd, const struct link *link)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)link->ifindex };
	int on = 1;

	if (attach_filter(fd) < 0)
		return -errno;
	/* since Linux 4.20: spares a busy host a copy of each frame that it sends */
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

int probe_open(const struct link *link, int *fd)
{
	/* protocol 0: nothing is heard before the filter stands and the link is chosen */
	int opened = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = opened < 0 ? -errno : listen_on(opened, link);

	if (err < 0)
		fd_close(&opened);
	else
		*fd = opened;
	return err;
}

int probe_hear(int fd, const struct link *link, const struct ip *ips, size_t count,
	       struct holder *holder)
{
	uint8_t frame[FRAME_MAX];
	struct holder heard;

	for (unsigned i = 0; i < HEAR_MAX; i++) {
		ssize_t n = recv(fd, frame, sizeof(frame), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR && errno != ENETDOWN)	/* it hears again once it is up */
			return -errno;
		if (n >= 0 && probe_read(frame, (size_t)n, &heard) &&
		    ip_is_one_of(&heard.ip, ips, count) && memcmp(heard.mac, link->mac, ETH_ALEN) != 0) {
			*holder = heard;
			return 1;
		}
	}
	return 0;
}
