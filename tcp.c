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
	/* whoever has them may wait for the other end for ever */
	WAITING = 1 << TCP_ESTABLISHED | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2,
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

static int append(struct connections *c, const struct diag_socket *socket)
{
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
	return append(c, socket);
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

/* Stranded connections ------------------------------------------------- */

static int keep_client(void *arg, const struct diag_socket *socket)
{
	struct connections *c = arg;
	struct ip local, remote;

	if (socket == NULL) {
		c->count = 0;
		return 0;
	}
	local = diag_ip(socket);
	remote = diag_remote(socket);
	if (socket->over || ip_equal(&local, &remote) || !ip_is_one_of(&remote, c->ips, c->ip_count))
		return 0;
	return append(c, socket);
}

/* Another list, begun again, can only tell of more of them. */
static int forget_client_of(void *arg, const struct diag_socket *server)
{
	struct connections *c = arg;

	for (size_t i = 0; server != NULL && i < c->count; i++)
		if (diag_are_ends(&c->items[i], server)) {
			c->items[i] = c->items[--c->count];
			break;
		}
	return 0;
}

/*
 * The other end of a connection of this host with itself is in the kernel's table before the client's
 * is established: it is looked for when all clients have been found.
 */
int tcp_find_stranded(const struct ip *ips, size_t count, double deadline_ms,
		      struct diag_socket **found, size_t *found_count)
{
	CLEANUP(free_connections) struct connections c = { .ips = ips, .ip_count = count };
	struct diag_question clients = { .states = WAITING, .ips = ips, .ip_count = count, .remote = true };
	struct diag_question servers = { .states = CONNECTIONS, .ips = ips, .ip_count = count };
	int err = diag_list(&clients, deadline_ms, keep_client, &c);

	if (err == 0 && c.count > 0)
		err = diag_list(&servers, deadline_ms, forget_client_of, &c);
	if (err < 0)
		return err;
	*found = c.items;
	*found_count = c.count;
	c.items = NULL;
	return 0;
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
