/* SPDX-License-Identifier: MIT */
/*
 * Calls that fail when a test says so.  The program's own calls come here by the
 * linker's --wrap; socket(), sendto(), sendmsg() and recvmsg() are defined here under
 * their own names, so that libnl finds these, and its translation of errors is tested too.
 */
#include "unit.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	unsigned skip, times, calls;
	int error;
} faults[FAULT_COUNT];

static long live;

bool fault_keep_frames;
struct fault_frame fault_frames[8];
unsigned fault_frame_count;
size_t fault_read_max;
void (*fault_on_message)(struct nlmsghdr *message, bool peek);

void fault_set(enum fault fault, unsigned skip, unsigned times, int error)
{
	faults[fault].skip = skip;
	faults[fault].times = times;
	faults[fault].error = error;
	faults[fault].calls = 0;
}

int fault_clear(void **state)
{
	(void)state;
	memset(faults, 0, sizeof(faults));
	fault_keep_frames = false;
	fault_frame_count = 0;
	fault_read_max = 0;
	fault_on_message = NULL;
	return 0;
}

unsigned fault_calls(enum fault fault)
{
	return faults[fault].calls;
}

long fault_live(void)
{
	return live;
}

static bool fails(enum fault fault)
{
	faults[fault].calls++;
	if (faults[fault].skip > 0) {
		faults[fault].skip--;
		return false;
	}
	if (faults[fault].times == 0)
		return false;
	faults[fault].times--;
	errno = faults[fault].error;
	return true;
}

/* The names are the linker's. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **out, const char *format, ...) PRINTF(2, 3);
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...) PRINTF(3, 4);
void __real_free(void *block);
void __wrap_free(void *block);
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __real_write(int fd, const void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size);
pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

static void *given(void *block)
{
	if (block != NULL)
		live++;
	return block;
}

void *__wrap_malloc(size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : given(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : given(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
	void *moved = fails(FAULT_MEMORY) ? NULL : __real_realloc(old, size);

	return old == NULL ? given(moved) : moved;
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	void *moved = fails(FAULT_MEMORY) ? NULL : __real_reallocarray(old, count, size);

	return old == NULL ? given(moved) : moved;
}

char *__wrap_strdup(const char *text)
{
	return fails(FAULT_MEMORY) ? NULL : given(__real_strdup(text));
}

static int print(char **out, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static int print(char **out, const char *format, va_list args)
{
	int n = fails(FAULT_MEMORY) ? -1 : vasprintf(out, format, args);

	if (n < 0)
		*out = (char *)1;	/* asprintf(3): undefined then */
	else
		given(*out);
	return n;
}

int __wrap_asprintf(char **out, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = print(out, format, args);
	va_end(args);
	return n;
}

/* asprintf() under _FORTIFY_SOURCE */
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
	va_list args;
	int n;

	(void)flag;
	va_start(args, format);
	n = print(out, format, args);
	va_end(args);
	return n;
}

void __wrap_free(void *block)
{
	if (block != NULL)
		live--;
	__real_free(block);
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
	if (fails(FAULT_READ))
		return -1;
	if (fault_read_max > 0 && size > fault_read_max)
		size = fault_read_max;
	return __real_read(fd, buffer, size);
}

ssize_t __wrap_write(int fd, const void *buffer, size_t size)
{
	return fails(FAULT_WRITE) ? -1 : __real_write(fd, buffer, size);
}

pid_t __wrap_fork(void)
{
	return fails(FAULT_FORK) ? -1 : __real_fork();
}

int __wrap_pipe2(int fds[2], int flags)
{
	return fails(FAULT_PIPE2) ? -1 : __real_pipe2(fds, flags);
}

int __wrap_flock(int fd, int operation)
{
	return fails(FAULT_FLOCK) ? -1 : __real_flock(fd, operation);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	return fails(FAULT_MKDIR) ? -1 : __real_mkdir(path, mode);
}

/* In place of the C library's ------------------------------------------------- */

int socket(int domain, int type, int protocol)
{
	return fails(FAULT_SOCKET) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

/* Frames leave by it, and libnl's batches: those count as sendmsg(). */
ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
	       socklen_t to_size)
{
	bool netlink = to != NULL && to->sa_family == AF_NETLINK;
	struct fault_frame *frame = &fault_frames[fault_frame_count % COUNT(fault_frames)];

	if (fault_keep_frames && !netlink) {
		assert_true(size <= sizeof(frame->bytes));
		assert_int_equal(to_size, sizeof(struct sockaddr_ll));
		assert_int_equal(to->sa_family, AF_PACKET);
		memcpy(frame->bytes, data, size);
		frame->size = size;
		frame->flags = flags;
		frame->ifindex = ((const struct sockaddr_ll *)(const void *)to)->sll_ifindex;
		fault_frame_count++;
	}
	if (fails(netlink ? FAULT_SENDMSG : FAULT_SENDTO))
		return -1;
	if (fault_keep_frames && !netlink)
		return (ssize_t)size;
	return syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return fails(FAULT_SENDMSG) ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n = fails(FAULT_RECVMSG) ? -1 : syscall(SYS_recvmsg, fd, message, flags);
	const struct sockaddr_nl *from = message->msg_name;
	struct nlmsghdr *header;
	unsigned left = (unsigned)n;

	if (n <= 0 || fault_on_message == NULL || from == NULL || from->nl_family != AF_NETLINK)
		return n;
	if ((size_t)n > message->msg_iov[0].iov_len)
		left = (unsigned)message->msg_iov[0].iov_len;
	for (header = message->msg_iov[0].iov_base; NLMSG_OK(header, left);
	     header = NLMSG_NEXT(header, left))
		fault_on_message(header, (flags & MSG_PEEK) != 0);
	return n;
}
