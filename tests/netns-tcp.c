/* SPDX-License-Identifier: MIT */
/* TCP between the hosts of a laboratory: who listens on `us`, and the clients on `peer`. */
#include "netns-tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

socklen_t tcp_address(const char *text, int port, union tcp_address *a)
{
	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((uint16_t)port);
		return sizeof a->in;
	}
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons((uint16_t)port);
	if (strcmp(text, BOTH) != 0 && inet_pton(AF_INET6, text, &a->in6.sin6_addr) != 1)
		lab_fail("%s is no address", text);
	return sizeof a->in6;
}

int tcp_listener(const char *text, int port)
{
	int on = 1, only = strcmp(text, BOTH) != 0;
	union tcp_address a;
	socklen_t size = tcp_address(text, port, &a);
	int fd = lab_socket(us, a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    (a.any.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) < 0) ||
	    bind(fd, &a.any, size) < 0 || listen(fd, 4096) < 0)
		lab_fail("listen on %s port %d: %m", text, port);
	return fd;
}

int tcp_client(const char *text, int port)
{
	struct timeval limit = {.tv_sec = 2};
	union tcp_address a;
	socklen_t size = tcp_address(text, port, &a);
	int fd = lab_socket(peer, a.any.sa_family, SOCK_STREAM, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
	    connect(fd, &a.any, size) < 0)
		lab_fail("connect to %s port %d: %m", text, port);
	return fd;
}

int tcp_server(int from)
{
	struct pollfd p = {.fd = from, .events = POLLIN};
	int fd = poll(&p, 1, 2000) == 1 ? accept4(from, NULL, NULL, SOCK_CLOEXEC) : -1;

	if (fd < 0)
		lab_fail("accept: %m");
	return fd;
}

bool tcp_is_reset(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	return poll(&p, 1, ms) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

bool tcp_passes(int from, int to)
{
	struct pollfd p = {.fd = to, .events = POLLIN};
	char c = 'x';

	return send(from, &c, 1, MSG_NOSIGNAL) == 1 && poll(&p, 1, 1000) == 1 &&
	       recv(to, &c, 1, MSG_DONTWAIT) == 1;
}

int tcp_established(const char *address)
{
	static struct lab_result found;

	lab_sh(us, &found, "ss -Htn state established src '[%s]' | wc -l", address);
	return atoi(found.out);
}
