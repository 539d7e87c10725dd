/* SPDX-License-Identifier: MIT */
/*
 * Which TCP sockets of this network namespace belong to an address: how many connections it
 * has, their end, and who listens.  The kernel is asked in diag.c.
 */
#include "vip.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES = 2 };

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

/* Connections ---------------------------------------------------------- */

struct connections {
	const struct ip *ips;
	size_t ip_count;
	struct diag_socket *items;
	size_t count, room;
};

static void free_connections(struct connections *c)
{
	free(c->items);
}

static int keep_connection(void *arg, const struct diag_socket *socket)
{
	struct connections *c = arg;
	struct ip ip;

	if (socket == NULL) {
		c->count = 0;
		return 0;
	}
	ip = diag_ip(socket);
	if (socket->over || !ip_is_one_of(&ip, c->ips, c->ip_count))
		return 0;
	if (c->count == c->room) {
		size_t room = c->room == 0 ? 64 : c->room * 2;
		struct diag_socket *moved = reallocarray(c->items, room, sizeof(*moved));

		if (moved == NULL)
			return -ENOMEM;
		c->items = moved;
		c->room = room;
	}
	c->items[c->count++] = *socket;
	return 0;
}

static int find_connections(struct connections *c, double deadline_ms)
{
	struct diag_question q = { .states = CONNECTIONS, .ips = c->ips, .ip_count = c->ip_count };

	return diag_list(&q, deadline_ms, keep_connection, c);
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
			struct ip ip = diag_ip(&c.items[j]);

			connections[i] += ip_equal(&ip, &ips[i]);
		}
	}
	return 0;
}

/*
 * Twice, unless nothing is left: a dump goes on at a position in a chain of the kernel's
 * hash table, so that one that ends meanwhile can hide another; and a client that
 * was quick is back already.
 */
int tcp_destroy(const struct ip *ips, size_t count, double deadline_ms, size_t *destroyed)
{
	CLEANUP(free_connections) struct connections c = { .ips = ips, .ip_count = count };
	size_t sum = 0;
	int err = 0;

	for (int pass = 0; err == 0 && pass < PASSES; pass++) {
		err = find_connections(&c, deadline_ms);
		if (err == 0 && c.count == 0)
			break;
		if (err == 0)
			err = diag_destroy(c.items, c.count, deadline_ms, &sum);
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

static int match_listener(void *arg, const struct diag_socket *socket)
{
	static const struct in6_addr wildcard;
	struct search *search = arg;
	struct ip ip;

	if (socket == NULL) {
		search->found = false;
		return 0;
	}
	ip = diag_ip(socket);
	if (ip_equal(&ip, search->ip))
		search->found = true;
	else if (memcmp(ip.bytes, &wildcard, ip_bits(&ip) / 8) == 0)
		search->found |= ip.family == search->ip->family ||
			(ip.family == AF_INET6 && !socket->v6_only);
	return 0;
}

int tcp_listens(const struct ip *ip, uint16_t port, double deadline_ms, bool *listens)
{
	struct diag_question q = { .states = LISTENERS, .port = port };
	struct search search = { .ip = ip };
	int err = diag_list(&q, deadline_ms, match_listener, &search);

	if (err == 0)
		*listens = search.found;
	return err;
}
