/* SPDX-License-Identifier: MIT */
/*
 * Work that knows no deadline of its own, done in a child that can be killed.  It
 * leaves no process behind.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads until the end, or until the buffer is full. */
static ssize_t hear(int fd, double deadline_ms, char *buffer, size_t size)
{
	size_t heard = 0;

	while (heard < size) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (clock_ms() >= deadline_ms)
			return -ETIMEDOUT;
		if (poll(&wait, 1, clock_left(deadline_ms)) <= 0)
			continue;
		n = read(fd, buffer + heard, size - heard);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		heard += (size_t)n;
	}
	return (ssize_t)heard;
}

ssize_t child_hear(child_work work, void *arg, int timeout_ms, void *buffer, size_t size)
{
	double deadline = clock_ms() + timeout_ms;
	CLEANUP(fd_close) int reader = -1;
	int pipes[2];
	pid_t child, parent = getpid();
	ssize_t n;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	reader = pipes[0];
	child = fork();
	if (child == 0) {
		/* nobody else would end it, and it has a share in the lock */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(work(pipes[1], arg));
	}
	n = child < 0 ? -errno : 0;
	close(pipes[1]);
	if (n < 0)
		return n;
	n = hear(reader, deadline, buffer, size);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return n;
}
