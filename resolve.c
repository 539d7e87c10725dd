/* SPDX-License-Identifier: MIT */
/*
 * Host names, only for those who let Sentinel announce them.  The resolver has no
 * deadline of its own, so it works in a child that can be killed.
 */
#include "vip.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
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

/* In the child; its exit status means nothing. */
static int tell(int fd, void *name)
{
	struct lookup answer = { 0 };

	look_up(name, &answer);
	return write(fd, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1;
}

int resolve_host(const char *name, int timeout_ms, struct ip *out, size_t max)
{
	struct lookup answer;
	char copy[HOST_SIZE];
	ssize_t n;

	snprintf(copy, sizeof(copy), "%s", name);
	n = child_hear(tell, copy, timeout_ms, &answer, sizeof(answer));
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(answer))
		return -EIO;
	if (answer.error < 0)
		return answer.error;
	if (answer.count > max)
		answer.count = (uint32_t)max;
	memcpy(out, answer.ips, answer.count * sizeof(*out));
	return (int)answer.count;
}
