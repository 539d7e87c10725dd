/* SPDX-License-Identifier: MIT */
/* TCP between the hosts of a laboratory: who listens on `us`, and the clients on `peer`. */
#ifndef NETNS_TCP_H
#define NETNS_TCP_H

#include "netns.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define BOTH "*" /* listens on IPv6 and, mapped into it, on IPv4 */

union tcp_address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Returns the size; what is none is a failure, as is all that cannot be done here. */
socklen_t tcp_address(const char *text, int port, union tcp_address *a);

int tcp_listener(const char *text, int port);
int tcp_client(const char *text, int port);
/* The other end of the next client of a listener. */
int tcp_server(int from);

/* Within MS it reads a reset; nothing else was there to read. */
bool tcp_is_reset(int fd, int ms);
/* A byte goes from the one end to the other. */
bool tcp_passes(int from, int to);
/* How many connections there are on an address of `us`. */
int tcp_established(const char *address);

#endif
