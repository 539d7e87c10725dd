/* SPDX-License-Identifier: MIT */
/*
 * For `make check-valgrind` alone: time goes some times slower for whoever is linked with it, the
 * program and those who test it alike.  So a deadline is as far away as it is at the usual pace,
 * and what is measured is compared with what it is there.  The kernel, Redis and the shell keep
 * their own time.
 */
#include "lab.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL

enum { SLOW_CLOCK = 10 };

int lab_clock = SLOW_CLOCK;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_usleep(useconds_t us);
int __wrap_usleep(useconds_t us);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);

static struct timespec from_ns(long long ns)
{
	return (struct timespec){ .tv_sec = ns / NS, .tv_nsec = ns % NS };
}

static long long to_ns(const struct timespec *t)
{
	return t->tv_sec * NS + t->tv_nsec;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	int err = __real_clock_gettime(id, now);

	if (err == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_REALTIME))
		*now = from_ns(to_ns(now) / SLOW_CLOCK);
	return err;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return __real_poll(fds, count, timeout_ms > 0 ? timeout_ms * SLOW_CLOCK : timeout_ms);
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	struct timespec slow = from_ns(to_ns(time) * SLOW_CLOCK);
	int err = __real_nanosleep(&slow, left);

	if (err != 0 && left != NULL)
		*left = from_ns(to_ns(left) / SLOW_CLOCK);
	return err;
}

int __wrap_usleep(useconds_t us)
{
	struct timespec time = from_ns(us * 1000LL);

	return __wrap_nanosleep(&time, NULL);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	struct timeval limit;

	if (level != SOL_SOCKET || (name != SO_RCVTIMEO && name != SO_SNDTIMEO) || size != sizeof(limit))
		return __real_setsockopt(fd, level, name, value, size);
	limit = *(const struct timeval *)value;
	limit.tv_sec *= SLOW_CLOCK;
	limit.tv_usec *= SLOW_CLOCK;
	limit.tv_sec += limit.tv_usec / 1000000;
	limit.tv_usec %= 1000000;
	return __real_setsockopt(fd, level, name, &limit, sizeof(limit));
}
