/* SPDX-License-Identifier: MIT */
/*
 * The least that can be done: one RTM_NEWADDR with its acknowledgement read, one gratuitous ARP
 * request, exit.  It is what `make bench` measures sentinel-vip against, so it looks nothing up and
 * checks only what would make a measurement a lie.  It is built static, and with the shared
 * libraries of sentinel-vip, none of which it uses: that is the loader's price.
 *
 *	bench-floor IFINDEX MAC ADDRESS
 */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct add_request {
	struct nlmsghdr head;
	struct ifaddrmsg addr;
	struct rtattr local_head;
	struct in_addr local;
};

_Static_assert(sizeof(struct add_request) == NLMSG_LENGTH(sizeof(struct ifaddrmsg)) +
	       RTA_LENGTH(sizeof(struct in_addr)), "the attribute follows without padding");

struct ack {
	struct nlmsghdr head;
	struct nlmsgerr err;
	char echo[256];
};

static int address_add(unsigned int ifindex, struct in_addr address)
{
	struct add_request req = {
		.head = {
			.nlmsg_len = sizeof(req),
			.nlmsg_type = RTM_NEWADDR,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
		},
		.addr = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = ifindex },
		.local_head = { .rta_len = RTA_LENGTH(sizeof(struct in_addr)), .rta_type = IFA_LOCAL },
		.local = address,
	};
	struct ack ack;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || send(fd, &req, sizeof(req), 0) != (ssize_t)sizeof(req))
		return -1;
	if (recv(fd, &ack, sizeof(ack), 0) < (ssize_t)(sizeof(ack.head) + sizeof(ack.err)))
		return -1;
	return ack.head.nlmsg_type == NLMSG_ERROR && ack.err.error == 0 ? 0 : -1;
}

static int address_announce(unsigned int ifindex, const unsigned char mac[ETH_ALEN],
			    struct in_addr address)
{
	struct ether_arp arp = {
		.ea_hdr = {
			.ar_hrd = htons(ARPHRD_ETHER),
			.ar_pro = htons(ETH_P_IP),
			.ar_hln = ETH_ALEN,
			.ar_pln = sizeof(address),
			.ar_op = htons(ARPOP_REQUEST),
		},
	};
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = (int)ifindex,
		.sll_halen = ETH_ALEN,
	};
	/* Protocol 0: nothing is ever received, so no receive hook is installed. */
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(arp.arp_sha, mac, ETH_ALEN);
	memcpy(arp.arp_spa, &address, sizeof(address));
	memcpy(arp.arp_tpa, &address, sizeof(address));
	memset(to.sll_addr, 0xff, ETH_ALEN);
	if (fd < 0)
		return -1;
	if (sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)sizeof(arp))
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned char mac[ETH_ALEN];
	struct in_addr address;
	unsigned int ifindex;
	char *at;

	if (argc != 4 || inet_pton(AF_INET, argv[3], &address) != 1)
		return 2;
	ifindex = (unsigned int)strtoul(argv[1], NULL, 10);
	at = argv[2];
	for (int i = 0; i < ETH_ALEN; i++, at++)
		mac[i] = (unsigned char)strtoul(at, &at, 16);
	if (address_add(ifindex, address) < 0 || address_announce(ifindex, mac, address) < 0)
		return 2;
	/* Closing the packet socket waits for an RCU grace period, here or in the kernel's exit. */
	return 0;
}
