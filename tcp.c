/* SPDX-License-Identifier: MIT */
/*
 * TCP sockets as the kernel lists them (sock_diag(7), inet_diag), over libmnl: how many
 * connections an address has, their end, and who listens.  A socket is never
 * named by its addresses alone: its cookie goes along, so that once a connection has
 * gone neither a listener nor the next connection can be taken for it.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	DUMP_BYTES = 32 << 10,	/* the most that netlink_dump() puts into a datagram */
	MESSAGE_BYTES = 4 << 10,
	FILTER_IPS = 32,	/* with more addresses the kernel lists all sockets */
	BATCH = 32,		/* in one datagram: if all fail, the answers fit in any SO_RCVBUF */
	PASSES = 2,
	PAUSE_MS = 10,
	TIMER_TIME_WAIT = 3,	/* idiag_timer, inet_twsk_diag_fill() in net/ipv4/inet_diag.c */
};

/*
 * Not TIME_WAIT: such a connection is over for both ends, and no reset can come of
 * it.  The kernel lists half-open requests (TCP_NEW_SYN_RECV) with SYN_RECV.
 */
enum {
	CONNECTIONS = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_SYN_RECV |
		1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSE_WAIT |
		1 << TCP_LAST_ACK | 1 << TCP_CLOSING,
	LISTENERS = 1 << TCP_LISTEN,
};

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

/* Dumps ---------------------------------------------------------------- */

/* Which sockets to list. */
struct listing {
	sa_family_t family;
	uint32_t states;	/* one bit each */
	uint16_t port;		/* local; 0: any */
	const struct ip *ips;	/* local */
	size_t ip_count;	/* 0: any */
};

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
static void build_filter(const struct ip *ips, size_t count, struct alternative *filter)
{
	for (size_t i = 0; i < count; i++) {
		size_t rest = (count - i - 1) * sizeof(*filter);
		struct alternative *a = &filter[i];

		*a = (struct alternative){
			.match = {
				.code = INET_DIAG_BC_S_COND,
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

static int ask(struct mnl_socket *sk, const struct listing *l)
{
	_Alignas(struct nlmsghdr) char message[MESSAGE_BYTES];
	struct alternative filter[FILTER_IPS];
	struct nlmsghdr *header = mnl_nlmsg_put_header(message);
	struct inet_diag_req_v2 *fixed;

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	fixed = mnl_nlmsg_put_extra_header(header, sizeof(*fixed));
	fixed->sdiag_family = (uint8_t)l->family;
	fixed->sdiag_protocol = IPPROTO_TCP;
	fixed->idiag_states = l->states;
	fixed->id.idiag_sport = htons(l->port);
	if (l->ip_count > 0 && l->ip_count <= FILTER_IPS) {
		build_filter(l->ips, l->ip_count, filter);
		mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, l->ip_count * sizeof(*filter), filter);
	}
	return mnl_socket_sendto(sk, message, header->nlmsg_len) < 0 ? -errno : 0;
}

/* What a message that ends an answer says; the end of a dump has its own errno, too. */
static int end_error(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type == NLMSG_ERROR)
		return mnl_nlmsg_get_payload_len(message) < sizeof(*error) ? -EPROTO : error->error;
	return mnl_nlmsg_get_payload_len(message) < sizeof(int) ? 0 :
		*(const int *)mnl_nlmsg_get_payload(message);
}

/* Looks at one datagram; *done when the answer ends with it. */
static int hear(void *datagram, size_t size, netlink_listener listen, void *arg, bool *done)
{
	struct nlmsghdr *message = datagram;
	int left = (int)size, err = 0;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
			*done = true;
			return end_error(message);
		}
		if (err == 0 && message->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		    mnl_nlmsg_get_payload_len(message) >= sizeof(struct inet_diag_msg))
			err = listen(arg, message);
	}
	return err;
}

static int dump_once(const struct listing *l, double deadline_ms, netlink_listener listen,
		     void *arg)
{
	_Alignas(struct nlmsghdr) char datagram[DUMP_BYTES];
	CLEANUP(close_socket) struct mnl_socket *sk = NULL;
	bool done = false;
	int err = open_socket(&sk);

	if (err == 0)
		err = ask(sk, l);
	listen(arg, NULL);
	while (err == 0 && !done) {
		ssize_t n = receive(sk, datagram, sizeof(datagram), deadline_ms);

		err = n < 0 ? (int)n : hear(datagram, (size_t)n, listen, arg, &done);
	}
	return err;
}

/*
 * Lists sockets to `listen`, once more on a new socket where memory was short.  The kernel
 * says ENOENT when nobody registered for TCP: built without CONFIG_INET_DIAG, or
 * the module cannot be loaded from here.
 */
static int dump(const struct listing *l, double deadline_ms, netlink_listener listen, void *arg)
{
	int err;

	while ((err = dump_once(l, deadline_ms, listen, arg)) == -ENOBUFS &&
	       clock_ms() + PAUSE_MS < deadline_ms)
		poll(NULL, 0, PAUSE_MS);
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

/* The address in a socket's identity; IPv4's when it is v4-mapped. */
static struct ip read_ip(uint8_t family, const uint32_t words[4])
{
	struct ip ip = { .family = family };

	memcpy(ip.bytes, words, ip_bits(&ip) / 8);
	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ip.in6)) {
		ip = (struct ip){ .family = AF_INET };
		memcpy(ip.bytes, &words[3], sizeof(ip.in));
	}
	return ip;
}

/* Connections ---------------------------------------------------------- */

/* Each as the request that destroys it. */
struct connections {
	const struct ip *ips;
	size_t ip_count;
	struct inet_diag_req_v2 *items;
	size_t count, room;
	size_t kept;		/* of the dumps before this one */
};

static void free_connections(struct connections *c)
{
	free(c->items);
}

static bool is_one_of(const struct ip *ip, const struct ip *ips, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ip_equal(ip, &ips[i]))
			return true;
	return false;
}

static int keep_connection(void *arg, struct nlmsghdr *message)
{
	const struct inet_diag_msg *socket = message == NULL ? NULL : mnl_nlmsg_get_payload(message);
	struct connections *c = arg;
	struct ip ip;

	if (socket == NULL) {
		c->count = c->kept;
		return 0;
	}
	ip = read_ip(socket->idiag_family, socket->id.idiag_src);
	/* what is left of a closed one is listed as FIN_WAIT2, but is as dead as TIME_WAIT */
	if (socket->idiag_timer == TIMER_TIME_WAIT || !is_one_of(&ip, c->ips, c->ip_count))
		return 0;
	if (c->count == c->room) {
		size_t room = c->room == 0 ? 64 : c->room * 2;
		struct inet_diag_req_v2 *moved = reallocarray(c->items, room, sizeof(*moved));

		if (moved == NULL)
			return -ENOMEM;
		c->items = moved;
		c->room = room;
	}
	c->items[c->count++] = (struct inet_diag_req_v2){
		.sdiag_family = socket->idiag_family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = CONNECTIONS,
		.id = socket->id,
	};
	return 0;
}

/* IPv4 is in the kernel's dump of AF_INET6 as well: v4-mapped. */
static int find_connections(struct connections *c, double deadline_ms)
{
	struct listing l = { .states = CONNECTIONS, .ips = c->ips, .ip_count = c->ip_count };
	int err;

	c->count = c->kept = 0;
	l.family = AF_INET;
	err = dump(&l, deadline_ms, keep_connection, c);
	if (err < 0)
		return err;
	c->kept = c->count;
	l.family = AF_INET6;
	return dump(&l, deadline_ms, keep_connection, c);
}

int tcp_count(const struct ip *ips, size_t count, double deadline_ms, size_t connections[])
{
	CLEANUP(free_connections) struct connections c = { .ips = ips, .ip_count = count };
	int err = find_connections(&c, deadline_ms);

	if (err < 0)
		return err;
	for (size_t i = 0; i < count; i++) {
		connections[i] = 0;
		for (size_t j = 0; j < c.count; j++) {
			struct ip ip = read_ip(c.items[j].sdiag_family, c.items[j].id.idiag_src);

			connections[i] += ip_equal(&ip, &ips[i]);
		}
	}
	return 0;
}

/* Their end ------------------------------------------------------------ */

/* Only failures answer, and the last one in any case, so that all have been heard by then. */
static size_t build_batch(const struct inet_diag_req_v2 *items, size_t count, char *batch)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		struct nlmsghdr *header = mnl_nlmsg_put_header(batch + size);

		header->nlmsg_type = SOCK_DESTROY;
		header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (i + 1 == count ? NLM_F_ACK : 0));
		header->nlmsg_seq = (uint32_t)i;
		memcpy(mnl_nlmsg_put_extra_header(header, sizeof(*items)), &items[i], sizeof(*items));
		size += header->nlmsg_len;
	}
	return size;
}

/*
 * A kernel that cannot destroy says EOPNOTSUPP of each or, before Linux 4.5, EINVAL.  Of
 * one among others it means that it has just got to TIME_WAIT (before Linux 6.3):
 * gone by itself, as those with ENOENT are.
 */
static int destroy_batch(struct mnl_socket *sk, const struct inet_diag_req_v2 *items, size_t count,
			 double deadline_ms, size_t *destroyed)
{
	_Alignas(struct nlmsghdr) char message[MESSAGE_BYTES];
	const struct nlmsghdr *answer = (const struct nlmsghdr *)(const void *)message;
	size_t gone = 0, unsupported = 0;
	int error = 0;

	if (mnl_socket_sendto(sk, message, build_batch(items, count, message)) < 0)
		return -errno;
	do {
		ssize_t n = receive(sk, message, sizeof(message), deadline_ms);
		int err;

		if (n < 0)
			return (int)n;
		if (!mnl_nlmsg_ok(answer, (int)n) || answer->nlmsg_type != NLMSG_ERROR)
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

/*
 * Twice, unless nothing is left: a dump goes on at a position in a chain of the kernel's
 * hash table, so that one that ends meanwhile can hide another; and a client that
 * was quick is back already.
 */
int tcp_destroy(const struct ip *ips, size_t count, double deadline_ms, size_t *destroyed)
{
	CLEANUP(free_connections) struct connections c = { .ips = ips, .ip_count = count };
	CLEANUP(close_socket) struct mnl_socket *sk = NULL;
	size_t sum = 0;
	int err = open_socket(&sk);

	for (int pass = 0; err == 0 && pass < PASSES; pass++) {
		err = find_connections(&c, deadline_ms);
		if (err == 0 && c.count == 0)
			break;
		for (size_t at = 0; err == 0 && at < c.count; at += BATCH)
			err = destroy_batch(sk, &c.items[at], c.count - at < BATCH ? c.count - at : BATCH,
					    deadline_ms, &sum);
	}
	if (err == 0)
		*destroyed = sum;
	return err;
}

/* Listeners ------------------------------------------------------------ */

struct search {
	const struct ip *ip;
	bool found;
};

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

static int match_listener(void *arg, struct nlmsghdr *message)
{
	static const struct in6_addr wildcard;
	const struct inet_diag_msg *socket;
	struct search *search = arg;
	struct ip ip;

	if (message == NULL) {
		search->found = false;
		return 0;
	}
	socket = mnl_nlmsg_get_payload(message);
	ip = read_ip(socket->idiag_family, socket->id.idiag_src);
	if (ip_equal(&ip, search->ip))
		search->found = true;
	else if (memcmp(ip.bytes, &wildcard, ip_bits(&ip) / 8) == 0)
		search->found |= ip.family == search->ip->family ||
			(ip.family == AF_INET6 && !is_v6_only(message));
	return 0;
}

int tcp_listens(const struct ip *ip, uint16_t port, double deadline_ms, bool *listens)
{
	struct listing l = { .family = ip->family, .states = LISTENERS, .port = port };
	struct search search = { .ip = ip };
	int err = dump(&l, deadline_ms, match_listener, &search);

	if (err == 0 && !search.found && ip->family == AF_INET) {
		l.family = AF_INET6;
		err = dump(&l, deadline_ms, match_listener, &search);
	}
	if (err == 0)
		*listens = search.found;
	return err;
}
