/* SPDX-License-Identifier: MIT */
/*
 * The least that ends the connections of an address: one dump of the established ones and one
 * SOCK_DESTROY for each, many in a datagram, whose answers nobody awaits.  It is what `make bench`
 * measures a release against, so it deletes no address, asks the kernel for IPv4 only and looks once.
 *
 *	bench-destroy ADDRESS
 */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define MOST 20000
#define BATCH 32		/* in one datagram */

struct request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static struct request requests[MOST];
static _Alignas(struct nlmsghdr) char datagram[32 << 10];

static struct request request_of(int type, int flags)
{
	return (struct request){
		.head = {
			.nlmsg_len = sizeof(struct request),
			.nlmsg_type = (unsigned short)type,
			.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags),
		},
		.body = {
			.sdiag_family = AF_INET,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = 1 << TCP_ESTABLISHED,
		},
	};
}

/* Until the dump's end: how many there are, or -1. */
static int dump_read(int fd, in_addr_t address)
{
	int count = 0;

	for (;;) {
		struct nlmsghdr *m = (struct nlmsghdr *)(void *)datagram;
		ssize_t n = recv(fd, datagram, sizeof(datagram), 0);

		if (n <= 0)
			return -1;
		for (; NLMSG_OK(m, (size_t)n); m = NLMSG_NEXT(m, n)) {
			const struct inet_diag_msg *socket = NLMSG_DATA(m);

			if (m->nlmsg_type == NLMSG_DONE)
				return count;
			if (m->nlmsg_type == NLMSG_ERROR || count == MOST)
				return -1;
			if (socket->id.idiag_src[0] != address)
				continue;
			requests[count] = request_of(SOCK_DESTROY, 0);
			requests[count++].body.id = socket->id;
		}
	}
}

int main(int argc, char **argv)
{
	struct request dump = request_of(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), count;
	struct in_addr address;

	if (argc != 2 || inet_pton(AF_INET, argv[1], &address) != 1)
		return 2;
	if (fd < 0 || send(fd, &dump, sizeof(dump), 0) != (ssize_t)sizeof(dump))
		return 2;
	count = dump_read(fd, address.s_addr);
	for (int i = 0; i < count; i += BATCH) {
		size_t size = sizeof(requests[0]) * (size_t)(count - i < BATCH ? count - i : BATCH);

		if (send(fd, &requests[i], size, 0) != (ssize_t)size)
			return 2;
	}
	return count < 0 ? 2 : 0;
}
