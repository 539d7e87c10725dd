/* SPDX-License-Identifier: MIT */
/* Between libmnl and the kernel: sendto() and recvmsg() in place of the C library's. */
#include "parts.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int (*parts_on_send)(const void *data, size_t size);
int (*parts_on_receive)(void);
ssize_t (*parts_on_received)(ssize_t size);

int parts_fault_clear(void **state)
{
	(void)state;
	parts_on_send = NULL;
	parts_on_receive = NULL;
	parts_on_received = NULL;
	return 0;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
	       socklen_t to_size)
{
	if (parts_on_send != NULL && to != NULL && to->sa_family == AF_NETLINK &&
	    parts_on_send(data, size) < 0)
		return -1;
	return syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	bool netlink = message->msg_namelen == sizeof(struct sockaddr_nl);
	ssize_t n;

	if (netlink && parts_on_receive != NULL && parts_on_receive() < 0)
		return -1;
	n = syscall(SYS_recvmsg, fd, message, flags);
	return netlink && parts_on_received != NULL ? parts_on_received(n) : n;
}
