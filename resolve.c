/* SPDX-License-Identifier: MIT */
/*
 * Host names, only for those who let Sentinel announce them.  The resolver has no
 * deadline of its own, so it works in a child that can be killed.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child writes: a pipe takes it whole (POSIX: up to PIPE_BUF, 512). */
struct lookup {
	int error;		/* -errno, or 0 */
	uint32_t count;
	struct ip ips[RESOLVED_MAX];
};

_Static_assert(sizeof(struct lookup) <= 512, "one write to a pipe");

static void look_up(const char *name, struct lookup *answer)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	int err = getaddrinfo(name, NULL, &hints, &list);

	if (err != 0) {
		answer->error = err == EAI_NONAME || err == EAI_NODATA ? -ENOENT :
			err == EAI_SYSTEM && errno != 0 ? -errno :
			err == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
		return;
	}
	for (a = list; a != NULL && answer->count < RESOLVED_MAX; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];

		/* through the text form, so that mapped addresses are told apart in one place */
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
				NI_NUMERICHOST) != 0)
			continue;
		text[strcspn(text, "%")] = '\0';
		if (ip_parse(text, &answer->ips[answer->count]) == 0)
			answer->count++;
	}
	freeaddrinfo(list);
	if (answer->count == 0)
		answer->error = -ENOENT;
}

static int hear(int fd, double deadline, struct lookup *answer)
{
	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (clock_ms() >= deadline)
			return -ETIMEDOUT;
		if (poll(&wait, 1, clock_left(deadline)) <= 0)
			continue;
		n = read(fd, answer, sizeof(*answer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		return n == (ssize_t)sizeof(*answer) ? 0 : -EIO;
	}
}

int resolve_host(const char *name, int timeout_ms, struct ip *out, size_t max)
{
	double deadline = clock_ms() + timeout_ms;
	struct lookup answer = { 0 };
	CLEANUP(fd_close) int reader = -1;
	int pipes[2];
	pid_t child;
	int err;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	reader = pipes[0];
	child = fork();
	if (child == 0) {
		look_up(name, &answer);
		_exit(write(pipes[1], &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
	}
	err = child < 0 ? -errno : 0;
	close(pipes[1]);
	if (err < 0)
		return err;
	err = hear(reader, deadline, &answer);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (err < 0)
		return err;
	if (answer.error < 0)
		return answer.error;
	if (answer.count > max)
		answer.count = (uint32_t)max;
	memcpy(out, answer.ips, answer.count * sizeof(*out));
	return (int)answer.count;
}
