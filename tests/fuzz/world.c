/* SPDX-License-Identifier: MIT */
/*
 * The world of the fuzz targets: the calls by which the program, libnl, libmnl and hiredis would
 * talk with a kernel are defined here under their own names.  Nothing leaves the process, and
 * the same input always takes the same course.
 */
#include "fuzz.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	FIRST_FD = 1000,	/* of those that are not real */
	FDS = 512,
	TYPE_MASK = 0xf,	/* what of a socket's type is no flag */
	CALL_US = 20,		/* each look at the clock takes time, so that loops by it end */
};

static struct {
	bool on;
	struct fuzz_world world;
	bool open[FDS];
	int family[FDS];
	uint64_t us;
} now;

int fuzz_report_fd = STDERR_FILENO;

void fuzz_broken(const char *what, const char *file, int line)
{
	dprintf(fuzz_report_fd, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

uint8_t fuzz_byte(struct fuzz *fuzz)
{
	uint8_t byte = 0;

	fuzz_bytes(fuzz, &byte, 1);
	return byte;
}

size_t fuzz_bytes(struct fuzz *fuzz, void *out, size_t size)
{
	size_t n = size < fuzz->left ? size : fuzz->left;

	memset(out, 0, size);
	if (n > 0)
		memcpy(out, fuzz->at, n);
	fuzz->at += n;
	fuzz->left -= n;
	return n;
}

struct ip fuzz_ip(struct fuzz *fuzz)
{
	struct ip ip = { .family = (fuzz_byte(fuzz) & 1) == 0 ? AF_INET : AF_INET6 };

	fuzz_bytes(fuzz, ip.bytes, ip_bits(&ip) / 8);
	return ip;
}

void fuzz_begin(const struct fuzz_world *world)
{
	memset(&now, 0, sizeof(now));
	now.world = *world;
	now.us = 1000000;
	now.on = true;
}

void fuzz_end(void)
{
	must(now.us < (uint64_t)FUZZ_MSEC_MAX * 1000);
	for (size_t i = 0; i < FDS; i++)
		must(!now.open[i]);
	now.on = false;
}

static bool is_ours(int fd)
{
	return now.on && fd >= FIRST_FD && fd < FIRST_FD + FDS;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Time ------------------------------------------------------------------ */

int clock_gettime(clockid_t clock, struct timespec *out)
{
	if (!now.on || clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, out);
	now.us += CALL_US;
	*out = (struct timespec){ .tv_sec = (time_t)(now.us / 1000000),
		.tv_nsec = (long)(now.us % 1000000) * 1000 };
	return 0;
}

/* As long as there is something to be heard everybody has it; after that all is silence. */
int poll(struct pollfd *polls, nfds_t count, int timeout_ms)
{
	int ready = 0;

	if (!now.on)
		return (int)syscall(SYS_poll, polls, count, timeout_ms);
	must(timeout_ms >= 0);	/* every wait has an end */
	for (nfds_t i = 0; i < count; i++) {
		int wanted = is_ours(polls[i].fd) ? polls[i].events : polls[i].events & POLLOUT;

		if (now.world.script.left == 0)
			wanted &= ~POLLIN;
		polls[i].revents = (short)wanted;
		ready += wanted != 0;
	}
	if (ready == 0)
		now.us += (uint64_t)timeout_ms * 1000;
	return ready;
}

/* Sockets --------------------------------------------------------------- */

int socket(int family, int type, int protocol)
{
	if (!now.on)
		return (int)syscall(SYS_socket, family, type, protocol);
	if ((type & TYPE_MASK) > SOCK_PACKET)
		return fail(EINVAL);
	for (int i = 0; i < FDS; i++)
		if (!now.open[i]) {
			now.open[i] = true;
			now.family[i] = family;
			return FIRST_FD + i;
		}
	return fail(EMFILE);
}

int close(int fd)
{
	if (!is_ours(fd))
		return (int)syscall(SYS_close, fd);
	must(now.open[fd - FIRST_FD]);
	now.open[fd - FIRST_FD] = false;
	return 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
	return is_ours(fd) ? 0 : (int)syscall(SYS_bind, fd, address, size);
}

/* What a unix socket's calls come to: 0, or -1 and one of these errors. */
static int try(int fd, const int errors[8])
{
	uint8_t byte = now.world.unsure && now.family[fd - FIRST_FD] == AF_UNIX ?
		fuzz_byte(&now.world.script) : 0;

	return byte < 0xe0 ? 0 : fail(errors[byte % 8]);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	static const int errors[8] = { EAGAIN, ENOENT, ECONNREFUSED, EACCES, EAGAIN, EPERM, ENOMEM, EAGAIN };

	return is_ours(fd) ? try(fd, errors) : (int)syscall(SYS_connect, fd, address, size);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	return is_ours(fd) ? 0 : (int)syscall(SYS_setsockopt, fd, level, option, value, size);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
	const struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_pid = 4711 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (!is_ours(fd))
		return (int)syscall(SYS_getsockname, fd, address, size);
	if (now.family[fd - FIRST_FD] == AF_UNIX && now.world.caller != NULL) {
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", now.world.caller->path);
		memcpy(address, &un, *size < sizeof(un) ? *size : sizeof(un));
		*size = sizeof(un);
		return 0;
	}
	memcpy(address, &nl, *size < sizeof(nl) ? *size : sizeof(nl));
	*size = sizeof(nl);
	return 0;
}

/* Of the kind of socket that the relay expects. */
int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	static const struct fuzz_caller root;
	const struct fuzz_caller *caller = now.world.caller != NULL ? now.world.caller : &root;
	const struct ucred peer = { .pid = 1, .uid = caller->uid, .gid = caller->gid };

	if (!is_ours(fd))
		return (int)syscall(SYS_getsockopt, fd, level, option, value, size);
	if (option == SO_PEERCRED) {
		memcpy(value, &peer, sizeof(peer));
		return 0;
	}
	if (option == SO_PEERGROUPS) {
		must(*size >= sizeof(caller->groups));
		if (caller->group_count * sizeof(gid_t) > sizeof(caller->groups))
			return fail(ERANGE);
		*size = (socklen_t)(caller->group_count * sizeof(gid_t));
		memcpy(value, caller->groups, *size);
		return 0;
	}
	must(*size == sizeof(int));
	*(int *)value = option == SO_DOMAIN ? now.family[fd - FIRST_FD] : option == SO_TYPE ? SOCK_SEQPACKET : 0;
	return 0;
}

/* Sending --------------------------------------------------------------- */

static ssize_t keep(int fd, const void *bytes, size_t size)
{
	void (*sent)(const uint8_t *, size_t) =
		now.family[fd - FIRST_FD] == AF_UNIX ? now.world.sent_unix : now.world.sent;

	must(now.open[fd - FIRST_FD]);
	if (sent != NULL)
		sent(bytes, size);
	return (ssize_t)size;
}

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *to,
	       socklen_t to_size)
{
	return is_ours(fd) ? keep(fd, bytes, size) :
		syscall(SYS_sendto, fd, bytes, size, flags, to, to_size);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
	return sendto(fd, bytes, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static const int errors[8] = { EINTR, EPIPE, ECONNRESET, ENOBUFS, EINTR, EAGAIN, ENOMEM, EINTR };
	static uint8_t whole[1 << 20];
	size_t size = 0;

	if (!is_ours(fd))
		return syscall(SYS_sendmsg, fd, message, flags);
	if (try(fd, errors) < 0)
		return -1;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		must(message->msg_iov[i].iov_len <= sizeof(whole) - size);
		memcpy(whole + size, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
		size += message->msg_iov[i].iov_len;
	}
	return keep(fd, whole, size);
}

/* What is printed is of no interest; a pipe may take a part, or be closed. */
ssize_t write(int fd, const void *bytes, size_t size)
{
	uint8_t byte;

	if (!now.on || fd > STDERR_FILENO)
		return syscall(SYS_write, fd, bytes, size);
	byte = now.world.unsure ? fuzz_byte(&now.world.script) : 0;
	return byte >= 0xe0 ? fail((byte & 1) == 0 ? EINTR : EPIPE) :
		(ssize_t)(byte >= 0x80 ? (size + 1) / 2 : size);
}

int shutdown(int fd, int how)
{
	return is_ours(fd) ? 0 : (int)syscall(SYS_shutdown, fd, how);
}

/* Hearing --------------------------------------------------------------- */

/* The next event of the script: how many bytes of how many, or -1. */
static ssize_t hear(int fd, void *buffer, size_t room, int flags, size_t *whole)
{
	static const int errors[] = { EAGAIN, EINTR, ENOBUFS, ECONNRESET, ENETDOWN, ENOMEM };
	struct fuzz *script = &now.world.script;
	uint8_t kind, low;
	size_t size, n;

	must(now.open[fd - FIRST_FD]);
	must((flags & MSG_PEEK) == 0 && room <= 1 << 16);
	if (script->left == 0)
		return fail(EAGAIN);
	if (!now.world.framed) {
		*whole = fuzz_bytes(script, buffer, room < script->left ? room : script->left);
		return (ssize_t)*whole;
	}
	kind = fuzz_byte(script);
	low = fuzz_byte(script);
	size = (size_t)fuzz_byte(script) << 8 | low;
	if (kind >= 0xf8)
		return fail(errors[kind % (sizeof(errors) / sizeof(errors[0]))]);
	if (size > script->left)
		size = script->left;
	n = size < room ? size : room;
	if (n > 0) {
		memcpy(buffer, script->at, n);
		if (now.world.mend != NULL && (kind & 1) == 0)
			now.world.mend(buffer, n);
	}
	script->at += size;
	script->left -= size;
	*whole = size;
	return (ssize_t)n;
}

ssize_t recvfrom(int fd, void *restrict buffer, size_t room, int flags,
		 struct sockaddr *restrict from, socklen_t *restrict from_size)
{
	size_t whole = 0;
	ssize_t n;

	if (!is_ours(fd))
		return syscall(SYS_recvfrom, fd, buffer, room, flags, from, from_size);
	n = hear(fd, buffer, room, flags, &whole);
	return n < 0 || (flags & MSG_TRUNC) == 0 ? n : (ssize_t)whole;
}

ssize_t recv(int fd, void *buffer, size_t room, int flags)
{
	return recvfrom(fd, buffer, room, flags, NULL, NULL);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	static uint8_t bytes[1 << 16];
	const struct sockaddr_nl nl = { .nl_family = AF_NETLINK };
	size_t whole = 0, room = 0, at = 0;
	ssize_t n;

	if (!is_ours(fd))
		return syscall(SYS_recvmsg, fd, message, flags);
	for (size_t i = 0; i < message->msg_iovlen; i++)
		room += message->msg_iov[i].iov_len;
	n = hear(fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes), flags, &whole);
	if (n < 0)
		return n;
	for (size_t i = 0; i < message->msg_iovlen && at < (size_t)n; i++) {
		size_t part = message->msg_iov[i].iov_len < (size_t)n - at ? message->msg_iov[i].iov_len :
			(size_t)n - at;

		memcpy(message->msg_iov[i].iov_base, bytes + at, part);
		at += part;
	}
	if (message->msg_name != NULL && message->msg_namelen >= sizeof(nl)) {
		memcpy(message->msg_name, &nl, sizeof(nl));
		message->msg_namelen = sizeof(nl);
	}
	message->msg_flags = (size_t)n < whole ? MSG_TRUNC : 0;
	message->msg_controllen = 0;
	return (flags & MSG_TRUNC) == 0 ? n : (ssize_t)whole;
}

/* This host has two interfaces. */
int getifaddrs(struct ifaddrs **list)
{
	static struct sockaddr_ll macs[] = {
		{ .sll_family = AF_PACKET, .sll_ifindex = 2, .sll_halen = ETH_ALEN, .sll_addr = { 2, 0, 0, 0, 0, 1 } },
		{ .sll_family = AF_PACKET, .sll_ifindex = 3, .sll_halen = ETH_ALEN, .sll_addr = { 2, 0, 0, 0, 0, 2 } },
	};
	static struct sockaddr_in6 local = { .sin6_family = AF_INET6, .sin6_scope_id = 2,
		.sin6_addr.s6_addr = { 0xfe, 0x80, [15] = 1 } };
	static char names[2][IFNAMSIZ] = { "eth0", "eth1" };
	static struct ifaddrs items[] = {
		{ .ifa_next = &items[1], .ifa_name = names[0], .ifa_addr = (struct sockaddr *)&macs[0] },
		{ .ifa_next = &items[2], .ifa_name = names[1], .ifa_addr = (struct sockaddr *)&macs[1] },
		{ .ifa_next = &items[3], .ifa_name = names[0], .ifa_addr = (struct sockaddr *)&local },
		{ .ifa_name = names[1] },
	};

	*list = items;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
	(void)list;
}
