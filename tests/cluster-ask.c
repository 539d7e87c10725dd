/* SPDX-License-Identifier: MIT */
/*
 * Questions to the cluster. Refuses to guess: who is master is asked of the Sentinels, who holds an
 * address of the kernels, who takes writes by writing. Each question has a connection and a time
 * limit of its own.
 */
#include "cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 300

static socklen_t cluster_address(const char *text, int port, struct sockaddr_storage *to)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof *to);
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		return sizeof *in;
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
		lab_fail("%s is no address", text);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)port);
	return sizeof *in6;
}

static redisContext *cluster_connect(struct cluster *c, const char *address, int port)
{
	const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
	struct sockaddr_storage to;
	socklen_t size = cluster_address(address, port, &to), error_size = sizeof(int);
	int error = 0, fd = lab_socket(c->client, to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	redisContext *link;

	if ((connect(fd, (const struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS) ||
	    poll(&p, 1, PATIENCE_MS) != 1 ||
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0 || error ||
	    fcntl(fd, F_SETFL, 0) < 0) {
		close(fd);
		return NULL;
	}
	link = redisConnectFd(fd);
	if (!link || link->err || redisSetTimeout(link, patience) != REDIS_OK)
		lab_fail("hiredis: %s", link ? link->errstr : "out of memory");
	return link;
}

redisReply *cluster_ask(struct cluster *c, const char *address, int port, const char *format, ...)
{
	redisContext *link = cluster_connect(c, address, port);
	redisReply *reply;
	va_list ap;

	if (!link)
		return NULL;
	if (port == CLUSTER_SENTINEL_PORT && c->setup->password)
		freeReplyObject(redisCommand(link, "AUTH %s", c->setup->password));
	va_start(ap, format);
	reply = redisvCommand(link, format, ap);
	va_end(ap);
	redisFree(link);
	return reply;
}

const char *cluster_word(const redisReply *reply, size_t which)
{
	if (reply && reply->type == REDIS_REPLY_ARRAY && which < reply->elements)
		reply = reply->element[which];
	return reply && reply->str ? reply->str : "";
}

int cluster_index(const struct cluster *c, const char *name)
{
	unsigned char a[16], b[16];

	for (int i = 0; i < c->nodes; i++) {
		int family = strchr(name, ':') ? AF_INET6 : AF_INET;

		if (strcmp(name, c->node[i].host->name) == 0)
			return i;
		if (inet_pton(family, name, a) == 1 && inet_pton(family, c->node[i].ip, b) == 1 &&
		    memcmp(a, b, family == AF_INET6 ? 16 : 4) == 0)
			return i;
	}
	return -1;
}

int cluster_says(struct cluster *c, int node)
{
	redisReply *reply;
	int master;

	if (!c->node[node].sentinel)
		return -1;
	reply = cluster_ask(c, c->node[node].ip, CLUSTER_SENTINEL_PORT,
			    "SENTINEL GET-MASTER-ADDR-BY-NAME " CLUSTER_MASTER);
	master = cluster_index(c, cluster_word(reply, 0));
	freeReplyObject(reply);
	return master;
}

int cluster_master(struct cluster *c)
{
	int votes[CLUSTER_NODES] = {0};

	for (int i = 0; i < c->nodes; i++) {
		int master = cluster_says(c, i);

		if (master >= 0 && ++votes[master] > c->nodes / 2)
			return master;
	}
	return -1;
}

int cluster_holder(struct cluster *c, const char *address)
{
	int holder = -1;

	for (int i = 0; i < c->nodes; i++) {
		int copies = lab_addr_copies(c->node[i].host, address);

		if (copies > 1 || (copies && holder >= 0))
			return -2;
		if (copies)
			holder = i;
	}
	return holder;
}

int cluster_write(struct cluster *c, const char *address)
{
	static unsigned counter;
	redisContext *link = cluster_connect(c, address, CLUSTER_REDIS_PORT);
	redisReply *set, *who = NULL;
	int node = -1;

	if (!link)
		return -1;
	set = redisCommand(link, "SET sentinel-vip:test %u", ++counter);
	/* On the same connection: it is the server that acknowledged who is asked for its name. */
	if (set && set->type == REDIS_REPLY_STATUS)
		who = redisCommand(link, "CONFIG GET replica-announce-ip");
	node = cluster_index(c, cluster_word(who, 1));
	freeReplyObject(set);
	freeReplyObject(who);
	redisFree(link);
	return node;
}

bool cluster_is_replica(struct cluster *c, int node)
{
	redisReply *reply = cluster_ask(c, c->node[node].ip, CLUSTER_REDIS_PORT, "ROLE");
	bool is = strcmp(cluster_word(reply, 0), "slave") == 0;

	freeReplyObject(reply);
	return is;
}
