/* SPDX-License-Identifier: MIT */
/*
 * What a traced process sends and receives, looked at and changed in its memory: how the kernel is
 * made to refuse a netlink message. It knows nothing of faults.
 */
#include "faults.h"

#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { BYTES = 64 << 10 };

static bool peek(pid_t pid, uint64_t at, void *to, size_t size)
{
	struct iovec here = {.iov_base = to, .iov_len = size};
	struct iovec there = {.iov_base = (void *)(uintptr_t)at, .iov_len = size};

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

static void poke(pid_t pid, uint64_t at, const void *from, size_t size)
{
	struct iovec here = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
	struct iovec there = {.iov_base = (void *)(uintptr_t)at, .iov_len = size};

	if (process_vm_writev(pid, &here, 1, &there, 1, 0) != (ssize_t)size)
		lab_fail("process_vm_writev: %m");
}

/* Where the bytes of a send or receive lie; only the first part of a list of them. */
static bool find_bytes(pid_t pid, long nr, const uint64_t args[6], uint64_t *at, size_t *size)
{
	struct msghdr m;
	struct iovec iov;

	if (nr == SYS_sendto || nr == SYS_recvfrom) {
		*at = args[1];
		*size = args[2];
		return true;
	}
	if (!peek(pid, args[1], &m, sizeof m) || m.msg_iovlen < 1 ||
	    !peek(pid, (uintptr_t)m.msg_iov, &iov, sizeof iov))
		return false;
	*at = (uintptr_t)iov.iov_base;
	*size = iov.iov_len;
	return true;
}

/*
 * The kernel skips a message of type NLMSG_NOOP and acknowledges it when it is asked to
 * (af_netlink.c, netlink_rcv_skb): so nothing is done, and the answer comes in due form, to be
 * changed into a no.
 */
bool wire_deny(pid_t pid, long nr, const uint64_t args[6], struct wire_message *m)
{
	_Alignas(struct nlmsghdr) unsigned char bytes[sizeof m->bytes];

	if (!find_bytes(pid, nr, args, &m->at, &m->size) || m->size > sizeof bytes ||
	    !peek(pid, m->at, bytes, m->size))
		return false;
	memcpy(m->bytes, bytes, m->size);
	for (size_t n = 0; n + sizeof(struct nlmsghdr) <= m->size;) {
		struct nlmsghdr *h = (struct nlmsghdr *)(bytes + n);

		if (h->nlmsg_len < sizeof *h || h->nlmsg_len > m->size - n)
			return false;
		h->nlmsg_type = NLMSG_NOOP;
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
		n += NLMSG_ALIGN(h->nlmsg_len);
	}
	poke(pid, m->at, bytes, m->size);
	return true;
}

/* rtnetlink.h: each object has NEW, DEL, GET, SET in this order. */
bool wire_is_change(pid_t pid, long nr, const uint64_t args[6])
{
	struct nlmsghdr h;
	uint64_t at;
	size_t size;

	return find_bytes(pid, nr, args, &at, &size) && size >= sizeof h &&
	       peek(pid, at, &h, sizeof h) && h.nlmsg_type >= 16 && h.nlmsg_type % 4 < 2;
}

void wire_answer(pid_t pid, long nr, const uint64_t args[6], int64_t got, int error)
{
	static _Alignas(struct nlmsghdr) unsigned char bytes[BYTES];
	uint64_t at;
	size_t size;

	if (got <= 0 || !find_bytes(pid, nr, args, &at, &size) || (size_t)got > sizeof bytes)
		return;
	size = (size_t)got < size ? (size_t)got : size;
	if (!peek(pid, at, bytes, size))
		return;
	for (size_t n = 0; n + sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr) <= size;) {
		struct nlmsghdr *h = (struct nlmsghdr *)(bytes + n);
		struct nlmsgerr *e = NLMSG_DATA(h);

		if (h->nlmsg_len < sizeof *h || h->nlmsg_len > size - n)
			break;
		if (h->nlmsg_type == NLMSG_ERROR && e->msg.nlmsg_type == NLMSG_NOOP)
			e->error = -error;
		n += NLMSG_ALIGN(h->nlmsg_len);
	}
	poke(pid, at, bytes, size);
}

void wire_restore(pid_t pid, const struct wire_message *m)
{
	poke(pid, m->at, m->bytes, m->size);
}
