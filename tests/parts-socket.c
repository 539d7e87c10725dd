/* SPDX-License-Identifier: MIT */
/* TCP sockets of the hosts, with both ends in this process. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union endpoint_address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* "*" is :: that takes IPv4 as well. */
static socklen_t make(const char *address, uint16_t port, union endpoint_address *out)
{
	struct ip ip = parts_ip(strcmp(address, "*") == 0 ? "::" : address);

	memset(out, 0, sizeof(*out));
	out->any.sa_family = ip.family;
	if (ip.family == AF_INET) {
		out->in.sin_port = htons(port);
		out->in.sin_addr = ip.in;
		return sizeof(out->in);
	}
	out->in6.sin6_port = htons(port);
	out->in6.sin6_addr = ip.in6;
	return sizeof(out->in6);
}

int parts_listener(const struct lab_host *h, const char *address, uint16_t port)
{
	int on = 1, v6_only = strcmp(address, "*") != 0;
	union endpoint_address at;
	socklen_t size = make(address, port, &at);
	int fd = lab_socket(h, at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	/* IP_FREEBIND: the address may come later, as a VIP does */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
	    (at.any.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) < 0) ||
	    bind(fd, &at.any, size) < 0 || listen(fd, 4096) < 0)
		lab_fail("listen on %s: %m", address);
	return fd;
}

int parts_client(const struct lab_host *h, const char *address, uint16_t port)
{
	struct timeval limit = { .tv_sec = 2 };
	union endpoint_address to;
	socklen_t size = make(address, port, &to);
	int fd = lab_socket(h, to.any.sa_family, SOCK_STREAM, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		lab_fail("setsockopt: %m");
	if (connect(fd, &to.any, size) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

struct pair parts_pair(const struct lab_host *from, int listener, const char *address,
		       uint16_t port)
{
	struct pair pair = { .client = parts_client(from, address, port) };
	struct pollfd p = { .fd = listener, .events = POLLIN };

	if (pair.client < 0)
		fail_msg("%s port %u: %s", address, (unsigned)port, strerror(errno));
	poll(&p, 1, 2000);
	pair.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (pair.server < 0)
		fail_msg("accept on %s: %s", address, strerror(errno));
	return pair;
}

void parts_close(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
}

bool parts_reset(const struct pair *pair, int ms)
{
	struct pollfd p = { .fd = pair->client, .events = POLLIN };
	char byte;

	return poll(&p, 1, ms) == 1 && recv(pair->client, &byte, 1, MSG_DONTWAIT) < 0 &&
		errno == ECONNRESET;
}

static bool one_way(int from, int to)
{
	struct pollfd p = { .fd = to, .events = POLLIN };
	char byte = 'x';

	return send(from, &byte, 1, MSG_NOSIGNAL) == 1 && poll(&p, 1, 1000) == 1 &&
		recv(to, &byte, 1, MSG_DONTWAIT) == 1;
}

bool parts_alive(const struct pair *pair)
{
	return one_way(pair->client, pair->server) && one_way(pair->server, pair->client);
}

int parts_door = -1;

int parts_door_setup(void **state)
{
	netns_setup(state);
	parts_hold_vips(us);
	parts_door = parts_listener(us, "0.0.0.0", PORT);
	return 0;
}

int parts_door_teardown(void **state)
{
	close(parts_door);
	return parts_teardown(state);
}
