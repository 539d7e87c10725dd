/* SPDX-License-Identifier: MIT */
/*
 * The conversation with the kernel about TCP sockets (sock_diag(7), inet_diag), over libmnl: a list
 * of them, and their end.  A socket is never named by its addresses alone: its cookie
 * goes along, so that once a connection has gone neither a listener nor the next connection
 * can be taken for it.  Which sockets are meant is decided elsewhere.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	DUMP_BYTES = 32 << 10,	/* the most that netlink_dump() puts into a datagram */
	MESSAGE_BYTES = 4 << 10,
	FILTER_IPS = 32,	/* with more addresses the kernel lists all sockets */
	BATCH = 32,		/* in one datagram: if all fail, the answers fit in any SO_RCVBUF */
	PAUSE_MS = 10,
	ERROR_MAX = 4095,	/* MAX_ERRNO, include/linux/err.h */
	TIMER_TIME_WAIT = 3,	/* idiag_timer, inet_twsk_diag_fill() in net/ipv4/inet_diag.c */
};

_Static_assert(sizeof(struct inet_diag_sockid) == sizeof((struct diag_socket){ 0 }.id),
	       "as the kernel's");

/* The conversation ----------------------------------------------------- */

static void close_socket(struct mnl_socket **sk)
{
	if (*sk != NULL)
		mnl_socket_close(*sk);
	*sk = NULL;
}

static int open_socket(struct mnl_socket **sk)
{
	CLEANUP(close_socket) struct mnl_socket *opened =
		mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (opened == NULL || mnl_socket_bind(opened, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	*sk = opened;
	opened = NULL;
	return 0;
}

/* One datagram.  The kernel answers inside the calls, so that it hardly ever waits. */
static ssize_t receive(struct mnl_socket *sk, void *buffer, size_t size, double deadline_ms)
{
	struct pollfd readable = { .fd = mnl_socket_get_fd(sk), .events = POLLIN };

	while (clock_ms() < deadline_ms) {
		ssize_t n = mnl_socket_recvfrom(sk, buffer, size);

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			poll(&readable, 1, clock_left(deadline_ms));
		else if (errno != EINTR)
			return -errno;
	}
	return -ETIMEDOUT;
}

/* Lists ---------------------------------------------------------------- */

/*
 * One alternative of the kernel's filter: when `match` holds, on to `accept`, which jumps
 * behind the last alternative; if not, on to the next one.  The middle is struct
 * inet_diag_hostcond with room for either family: the jump leaves out what IPv4
 * does not need.
 */
struct alternative {
	struct inet_diag_bc_op match;
	uint8_t family;
	uint8_t prefixlen;
	int port;
	uint8_t address[sizeof(struct in6_addr)];
	struct inet_diag_bc_op accept;
};

_Static_assert(offsetof(struct alternative, address) ==
	       sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond), "as the kernel's");
_Static_assert(offsetof(struct alternative, accept) == 28, "no padding");
_Static_assert(sizeof(struct alternative) == 32, "no padding");
_Static_assert(FILTER_IPS * sizeof(struct alternative) + 128 <= MESSAGE_BYTES &&
	       BATCH * (sizeof(struct inet_diag_req_v2) + 16) <= MESSAGE_BYTES, "both fit");

/* To end exactly behind the program is to accept, four bytes further to refuse. */
static void build_filter(const struct diag_question *q, struct alternative *filter)
{
	const struct ip *ips = q->ips;

	for (size_t i = 0; i < q->ip_count; i++) {
		size_t rest = (q->ip_count - i - 1) * sizeof(*filter);
		struct alternative *a = &filter[i];

		*a = (struct alternative){
			.match = {
				.code = q->remote ? INET_DIAG_BC_D_COND : INET_DIAG_BC_S_COND,
				.yes = offsetof(struct alternative, accept),
				.no = sizeof(*a),
			},
			.family = (uint8_t)ips[i].family,
			.prefixlen = (uint8_t)ip_bits(&ips[i]),
			.port = -1,
			.accept = {
				.code = INET_DIAG_BC_JMP,
				.yes = sizeof(a->accept),
				.no = (uint16_t)(sizeof(a->accept) + rest),
			},
		};
		if (rest == 0)
			a->match.no += sizeof(a->accept);
		memcpy(a->address, ips[i].bytes, ip_bits(&ips[i]) / 8);
	}
}

/*
 * Both families in one walk through the kernel's table are what the first form of the request
 * gives (inet_diag_dump_compat() in net/ipv4/inet_diag.c); the newer one asks for one.
 */
static void put_question(struct nlmsghdr *header, const struct diag_question *q, sa_family_t family)
{
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (family == AF_UNSPEC) {
		struct inet_diag_req *fixed = mnl_nlmsg_put_extra_header(header, sizeof(*fixed));

		header->nlmsg_type = TCPDIAG_GETSOCK;
		fixed->idiag_states = q->states;
		fixed->id.idiag_sport = htons(q->port);
	} else {
		struct inet_diag_req_v2 *fixed = mnl_nlmsg_put_extra_header(header, sizeof(*fixed));

		header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
		fixed->sdiag_family = (uint8_t)family;
		fixed->sdiag_protocol = IPPROTO_TCP;
		fixed->idiag_states = q->states;
		fixed->id.idiag_sport = htons(q->port);
	}
}

static int ask(struct mnl_socket *sk, const struct diag_question *q, sa_family_t family)
{
	_Alignas(struct nlmsghdr) char message[MESSAGE_BYTES];
	struct alternative filter[FILTER_IPS];
	struct nlmsghdr *header = mnl_nlmsg_put_header(message);

	put_question(header, q, family);
	if (q->ip_count > 0 && q->ip_count <= FILTER_IPS) {
		build_filter(q, filter);
		mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, q->ip_count * sizeof(*filter), filter);
	}
	return mnl_socket_sendto(sk, message, header->nlmsg_len) < 0 ? -errno : 0;
}

/* What a message that ends an answer says; the end of a dump has its own errno, too. */
static int end_error(const struct nlmsghdr *message)
{
	bool is_error = message->nlmsg_type == NLMSG_ERROR;
	int said;

	if (mnl_nlmsg_get_payload_len(message) < (is_error ? sizeof(struct nlmsgerr) : sizeof(said)))
		return is_error ? -EPROTO : 0;
	memcpy(&said, mnl_nlmsg_get_payload(message), sizeof(said));	/* first in either */
	return said > 0 || said < -ERROR_MAX ? -EPROTO : said;
}

/* mnl_nlmsg_ok() takes lengths from 2 GiB up for negative ones, which fit anywhere. */
static bool is_whole(const struct nlmsghdr *message, int left)
{
	return mnl_nlmsg_ok(message, left) && message->nlmsg_len <= (uint32_t)left;
}

/* Listeners tell whether they are for IPv6 alone (since Linux 4.3). */
static bool is_v6_only(const struct nlmsghdr *message)
{
	const struct nlattr *attribute;

	mnl_attr_for_each(attribute, message, sizeof(struct inet_diag_msg)) {
		if (mnl_attr_get_type(attribute) == INET_DIAG_SKV6ONLY &&
		    mnl_attr_validate(attribute, MNL_TYPE_U8) == 0)
			return mnl_attr_get_u8(attribute) != 0;
	}
	return false;
}

static void read_socket(const struct nlmsghdr *message, struct diag_socket *out)
{
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);

	*out = (struct diag_socket){
		.family = socket->idiag_family,
		/* what is left of a closed one is listed as FIN_WAIT2, but is as dead as TIME_WAIT */
		.over = socket->idiag_timer == TIMER_TIME_WAIT,
		.v6_only = socket->idiag_state == TCP_LISTEN && is_v6_only(message),
	};
	memcpy(out->id, &socket->id, sizeof(out->id));
}

/* Looks at one datagram; *done when the answer ends with it. */
static int hear(void *datagram, size_t size, diag_listener listen, void *arg, bool *done)
{
	struct nlmsghdr *message = datagram;
	int left = (int)size, err = 0;
	struct diag_socket socket;

	for (; is_whole(message, left); message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
			*done = true;
			return end_error(message);
		}
		if (err == 0 && (message->nlmsg_type == SOCK_DIAG_BY_FAMILY ||
				 message->nlmsg_type == TCPDIAG_GETSOCK) &&
		    mnl_nlmsg_get_payload_len(message) >= sizeof(struct inet_diag_msg)) {
			read_socket(message, &socket);
			err = listen(arg, &socket);
		}
	}
	return err;
}

static int list_once(const struct diag_question *q, sa_family_t family, double deadline_ms,
		     diag_listener listen, void *arg)
{
	_Alignas(struct nlmsghdr) char datagram[DUMP_BYTES];
	CLEANUP(close_socket) struct mnl_socket *sk = NULL;
	bool done = false;
	int err = open_socket(&sk);

	if (err == 0)
		err = ask(sk, q, family);
	while (err == 0 && !done) {
		ssize_t n = receive(sk, datagram, sizeof(datagram), deadline_ms);

		err = n < 0 ? (int)n : hear(datagram, (size_t)n, listen, arg, &done);
	}
	return err;
}

/* Each family by itself: IPv4 is in the dump of AF_INET6 as well, v4-mapped. */
static int list_by_family(const struct diag_question *q, double deadline_ms, diag_listener listen,
			  void *arg)
{
	int err = list_once(q, AF_INET, deadline_ms, listen, arg);

	return err < 0 ? err : list_once(q, AF_INET6, deadline_ms, listen, arg);
}

/* A kernel without what that takes says one of these before it has listed anything. */
static bool is_unknown(int err)
{
	return err == -EOPNOTSUPP || err == -EINVAL || err == -ENOENT;
}

/*
 * The kernel says ENOENT when nobody registered for TCP: built without CONFIG_INET_DIAG, or
 * the module cannot be loaded from here.
 */
int diag_list(const struct diag_question *q, double deadline_ms, diag_listener listen, void *arg)
{
	int err;

	for (;;) {
		listen(arg, NULL);
		err = list_once(q, AF_UNSPEC, deadline_ms, listen, arg);
		if (is_unknown(err)) {
			listen(arg, NULL);
			err = list_by_family(q, deadline_ms, listen, arg);
		}
		if (err != -ENOBUFS || clock_ms() + PAUSE_MS >= deadline_ms)
			return err == -ENOENT ? -EOPNOTSUPP : err;
		poll(NULL, 0, PAUSE_MS);
	}
}

static struct ip read_ip(sa_family_t family, const __be32 words[4])
{
	struct ip ip = { .family = family };

	memcpy(ip.bytes, words, ip_bits(&ip) / 8);
	if (ip.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ip.in6)) {
		ip = (struct ip){ .family = AF_INET };
		memcpy(ip.bytes, &words[3], sizeof(ip.in));
	}
	return ip;
}

struct ip diag_ip(const struct diag_socket *socket)
{
	struct inet_diag_sockid id;

	memcpy(&id, socket->id, sizeof(id));
	return read_ip(socket->family, id.idiag_src);
}

struct ip diag_remote(const struct diag_socket *socket)
{
	struct inet_diag_sockid id;

	memcpy(&id, socket->id, sizeof(id));
	return read_ip(socket->family, id.idiag_dst);
}

bool diag_are_ends(const struct diag_socket *one, const struct diag_socket *other)
{
	struct inet_diag_sockid a, b;
	struct ip from, to;

	memcpy(&a, one->id, sizeof(a));
	memcpy(&b, other->id, sizeof(b));
	if (a.idiag_sport != b.idiag_dport || a.idiag_dport != b.idiag_sport)
		return false;
	from = read_ip(one->family, a.idiag_src);
	to = read_ip(other->family, b.idiag_dst);
	if (!ip_equal(&from, &to))
		return false;
	from = read_ip(one->family, a.idiag_dst);
	to = read_ip(other->family, b.idiag_src);
	return ip_equal(&from, &to);
}

/* Their end ------------------------------------------------------------ */

/* Only failures answer, and the last one in any case, so that all have been heard by then. */
static size_t build_batch(const struct diag_socket *sockets, size_t count, char *batch)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		struct nlmsghdr *header = mnl_nlmsg_put_header(batch + size);
		struct inet_diag_req_v2 *fixed;

		header->nlmsg_type = SOCK_DESTROY;
		header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (i + 1 == count ? NLM_F_ACK : 0));
		header->nlmsg_seq = (uint32_t)i;
		fixed = mnl_nlmsg_put_extra_header(header, sizeof(*fixed));
		fixed->sdiag_family = sockets[i].family;
		fixed->sdiag_protocol = IPPROTO_TCP;
		fixed->idiag_states = UINT32_MAX;
		memcpy(&fixed->id, sockets[i].id, sizeof(fixed->id));
		size += header->nlmsg_len;
	}
	return size;
}

/*
 * A kernel that cannot destroy says EOPNOTSUPP of each or, before Linux 4.5, EINVAL.  Of
 * one among others it means that it has just got to TIME_WAIT (before Linux 6.3):
 * gone by itself, as those with ENOENT are.
 */
static int destroy_batch(struct mnl_socket *sk, const struct diag_socket *sockets, size_t count,
			 double deadline_ms, size_t *destroyed)
{
	_Alignas(struct nlmsghdr) char message[MESSAGE_BYTES];
	const struct nlmsghdr *answer = (const struct nlmsghdr *)(const void *)message;
	size_t gone = 0, unsupported = 0;
	int error = 0;

	if (mnl_socket_sendto(sk, message, build_batch(sockets, count, message)) < 0)
		return -errno;
	do {
		ssize_t n = receive(sk, message, sizeof(message), deadline_ms);
		int err;

		if (n < 0)
			return (int)n;
		if (!is_whole(answer, (int)n) || answer->nlmsg_type != NLMSG_ERROR)
			return -EPROTO;
		err = end_error(answer);
		if (err == -EOPNOTSUPP || err == -EINVAL)
			unsupported++;
		else if (err == -ENOENT)
			gone++;
		else if (error == 0)
			error = err;
	} while (answer->nlmsg_seq + 1 != count);
	if (error == 0 && unsupported == count)
		return -EOPNOTSUPP;
	*destroyed += count - gone - unsupported;
	return error;
}

int diag_destroy(const struct diag_socket *sockets, size_t count, double deadline_ms,
		 size_t *destroyed)
{
	CLEANUP(close_socket) struct mnl_socket *sk = NULL;
	int err = open_socket(&sk);

	for (size_t at = 0; err == 0 && at < count; at += BATCH)
		err = destroy_batch(sk, &sockets[at], count - at < BATCH ? count - at : BATCH,
				    deadline_ms, destroyed);
	return err;
}
