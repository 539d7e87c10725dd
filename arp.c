/* SPDX-License-Identifier: MIT */
/*
 * The frames that tell the neighbours where an address is now, and their sending.
 * The builders are pure.  When to send, and whether one may, is decided elsewhere.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct arp_frame) == 42, "RFC 826: 14 of Ethernet and 28");
_Static_assert(offsetof(struct arp_frame, sender_mac) == 22, "no padding");
_Static_assert(sizeof(struct na_frame) == 86, "14 of Ethernet, 40 of IPv6, 24 and an option of 8");
_Static_assert(offsetof(struct na_frame, type) == 54, "no padding");

enum {
	NA_PAYLOAD = 32,	/* RFC 4861 section 4.4: 24, and the option's 8 */
	HOP_LIMIT = 255,	/* RFC 4861 section 7.1.2: else it is dropped */
};

static void build_arp(const uint8_t mac[ETH_ALEN], struct in_addr vip, uint16_t operation,
		      struct arp_frame *frame)
{
	*frame = (struct arp_frame){
		.ethertype = htons(ETH_P_ARP),
		.hardware = htons(ARPHRD_ETHER),
		.protocol = htons(ETH_P_IP),
		.hardware_size = ETH_ALEN,
		.protocol_size = sizeof(vip),
		.operation = htons(operation),
	};
	memset(frame->destination, 0xff, ETH_ALEN);
	memcpy(frame->source, mac, ETH_ALEN);
	memcpy(frame->sender_mac, mac, ETH_ALEN);
	memcpy(frame->sender_ip, &vip, sizeof(vip));
	memcpy(frame->target_ip, &vip, sizeof(vip));
}

void arp_build_request(const uint8_t mac[ETH_ALEN], struct in_addr vip, struct arp_frame *frame)
{
	build_arp(mac, vip, ARPOP_REQUEST, frame);
}

void arp_build_reply(const uint8_t mac[ETH_ALEN], struct in_addr vip, struct arp_frame *frame)
{
	build_arp(mac, vip, ARPOP_REPLY, frame);
	memcpy(frame->target_mac, mac, ETH_ALEN);
}

/* RFC 1071 over the pseudo-header of RFC 8200 section 8.1 and the message. */
static uint16_t checksum(const struct na_frame *frame)
{
	const uint8_t *bytes = (const uint8_t *)frame;
	uint32_t sum = NA_PAYLOAD + IPPROTO_ICMPV6;

	for (size_t i = offsetof(struct na_frame, from); i < sizeof(*frame); i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

void arp_build_advertisement(const uint8_t mac[ETH_ALEN], const struct in6_addr *vip,
			     struct na_frame *frame)
{
	/* RFC 2464 section 7: 33:33 and the last four bytes of ff02::1 */
	static const uint8_t all_nodes_mac[ETH_ALEN] = { 0x33, 0x33, 0, 0, 0, 1 };
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };

	*frame = (struct na_frame){
		.ethertype = htons(ETH_P_IPV6),
		.version_class_flow = htonl(UINT32_C(6) << 28),
		.payload_size = htons(NA_PAYLOAD),
		.next_header = IPPROTO_ICMPV6,
		.hop_limit = HOP_LIMIT,
		.type = ND_NEIGHBOR_ADVERT,
		.flags = ND_NA_FLAG_OVERRIDE,
		.option_type = ND_OPT_TARGET_LINKADDR,
		.option_size = 1,
	};
	memcpy(frame->destination, all_nodes_mac, ETH_ALEN);
	memcpy(frame->source, mac, ETH_ALEN);
	memcpy(frame->from, vip, sizeof(frame->from));
	memcpy(frame->to, all_nodes, sizeof(frame->to));
	memcpy(frame->target, vip, sizeof(frame->target));
	memcpy(frame->option_mac, mac, ETH_ALEN);
	frame->checksum = checksum(frame);
}

int arp_open(int *fd)
{
	/* protocol 0: nothing is heard, so that nothing piles up */
	int opened = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (opened < 0)
		return -errno;
	*fd = opened;
	return 0;
}

bool arp_works_on(const struct link *link)
{
	return link->type == ARPHRD_ETHER && (link->flags & (IFF_NOARP | IFF_LOOPBACK)) == 0;
}

int arp_send(int fd, const struct link *link, const void *frame, size_t size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)link->ifindex };
	ssize_t n = sendto(fd, frame, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));

	if (n < 0)
		return -errno;
	return n == (ssize_t)size ? 0 : -EIO;
}

/* Whether the kernel has reported something that nobody has looked at yet. */
static bool has_changed(int watch)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };

	return watch >= 0 && poll(&p, 1, 0) != 0;
}

int arp_announce_unless(int fd, int watch, const struct link *link, const struct ip *vip)
{
	struct arp_frame frame;
	struct na_frame na;
	int first, second;

	if (vip->family == AF_INET6) {
		arp_build_advertisement(link->mac, &vip->in6, &na);
		if (has_changed(watch))
			return -EAGAIN;
		return arp_send(fd, link, &na, sizeof(na));
	}
	arp_build_request(link->mac, vip->in, &frame);
	if (has_changed(watch))
		return -EAGAIN;
	first = arp_send(fd, link, &frame, sizeof(frame));
	arp_build_reply(link->mac, vip->in, &frame);
	if (has_changed(watch))
		return -EAGAIN;
	second = arp_send(fd, link, &frame, sizeof(frame));
	return first < 0 ? first : second;
}

int arp_announce(int fd, const struct link *link, const struct ip *vip)
{
	return arp_announce_unless(fd, -1, link, vip);
}

bool arp_is_own(const struct ifaddrs *interfaces, const uint8_t mac[ETH_ALEN])
{
	for (const struct ifaddrs *a = interfaces; a != NULL; a = a->ifa_next) {
		const struct sockaddr_ll *ll = (const struct sockaddr_ll *)a->ifa_addr;

		if (ll != NULL && ll->sll_family == AF_PACKET && ll->sll_halen == ETH_ALEN &&
		    memcmp(ll->sll_addr, mac, ETH_ALEN) == 0)
			return true;
	}
	return false;
}
