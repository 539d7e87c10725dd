/* SPDX-License-Identifier: MIT */
/*
 * Questions to the servers of the soak. They are asked on the host itself, so that a switch which
 * loses frames does not hide the answer. Refuses to guess: no answer in time is none.
 */
#include "soak.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 300

static redisContext *connect_on(int node, int port)
{
	const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int error = 0, fd = lab_socket(w.node[node].host, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t size = sizeof error;
	redisContext *link;

	if ((connect(fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) ||
	    poll(&p, 1, PATIENCE_MS) != 1 ||
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error ||
	    fcntl(fd, F_SETFL, 0) < 0) {
		close(fd);
		return NULL;
	}
	link = redisConnectFd(fd);
	if (!link || link->err || redisSetTimeout(link, patience) != REDIS_OK)
		lab_fail("hiredis: %s", link ? link->errstr : "out of memory");
	return link;
}

redisReply *ask(int node, int port, const char *format, ...)
{
	redisContext *link;
	redisReply *reply;
	va_list ap;

	if (w.node[node].off || !(link = connect_on(node, port)))
		return NULL;
	va_start(ap, format);
	reply = redisvCommand(link, format, ap);
	va_end(ap);
	redisFree(link);
	return reply;
}

const char *word(const redisReply *reply, size_t which)
{
	if (reply && reply->type == REDIS_REPLY_ARRAY && which < reply->elements)
		reply = reply->element[which];
	return reply && reply->str ? reply->str : "";
}

const char *field(const redisReply *reply, const char *name)
{
	for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
	     i += 2)
		if (strcmp(word(reply, i), name) == 0)
			return word(reply, i + 1);
	return "";
}

int node_of(const char *ip)
{
	for (int i = 0; i < w.nodes; i++)
		if (strcmp(w.node[i].ip, ip) == 0)
			return i;
	return -1;
}

int says(int node, int master)
{
	redisReply *reply;
	int found;

	if (!w.node[node].sentinel || w.node[node].sentinel_frozen)
		return -1;
	reply = ask(node, SENTINEL_PORT, "SENTINEL GET-MASTER-ADDR-BY-NAME m%d", master);
	found = node_of(word(reply, 0));
	freeReplyObject(reply);
	return found;
}

int master_of(int master)
{
	int votes[NODES_MAX] = {0};

	for (int i = 0; i < w.nodes; i++) {
		int node = says(i, master);

		if (node >= 0 && ++votes[node] > w.nodes / 2)
			return node;
	}
	return -1;
}
