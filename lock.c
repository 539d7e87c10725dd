/* SPDX-License-Identifier: MIT */
/*
 * One run at a time for a master.  The lock is on a file that only those may open
 * who may enter LOCK_DIR; it is told apart by network namespace, since that
 * is what a VIP lives in.  It waits, but never longer than it was told.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LOOK_AGAIN_MS = 2,
	NAME_SIZE = MASTER_NAME_SIZE + 32,
};

/* Files are 0600; where others could write to the directory, they could be theirs. */
static int open_directory(int *out)
{
	CLEANUP(fd_close) int fd = open(LOCK_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		if (mkdir(LOCK_DIR, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = open(LOCK_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	*out = fd;
	fd = -1;
	return 0;
}

/* Root's files in a directory of Sentinel's user are that user's as well. */
static int open_file(int dir, const char *name, int *out)
{
	int fd = openat(dir, name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
			0600);
	struct stat st, at;

	if (fd < 0)
		return -errno;
	/* another name of the file elsewhere would be given away, and written to */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		close(fd);
		return -EPERM;
	}
	if (geteuid() == 0 && fstat(dir, &at) == 0 && at.st_uid != 0 &&
	    st.st_uid != at.st_uid && fchown(fd, at.st_uid, at.st_gid) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

uint64_t socket_namespace(int fd)
{
	uint64_t cookie = 0;
#ifdef SO_NETNS_COOKIE
	socklen_t size = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		cookie = 0;
#else
	(void)fd;
#endif
	return cookie;
}

/* Where a sandbox hides /proc the kernel gives the same file to who has CAP_NET_ADMIN. */
static int ask_for_namespace(struct stat *net)
{
	CLEANUP(fd_close) int any = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CLEANUP(fd_close) int fd = any < 0 ? -1 : ioctl(any, SIOCGSKNS);

	return fd < 0 ? -1 : fstat(fd, net);
}

/*
 * The number that socket_namespace() gives, asked for once more; before Linux 5.14 that of the file.
 * Who cannot learn it for want of memory has no lock, since another name would be another lock.
 */
static int find_namespace(uint64_t *number)
{
	struct stat net;
	int err;
#ifdef SO_NETNS_COOKIE
	CLEANUP(fd_close) int any = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*number);

	if (any < 0)
		return -errno;
	if (getsockopt(any, SOL_SOCKET, SO_NETNS_COOKIE, number, &size) == 0)
		return 0;
	if (errno != ENOPROTOOPT)
		return -errno;
#endif
	err = stat("/proc/self/ns/net", &net) < 0 ? errno : 0;
	if (err != 0 && ask_for_namespace(&net) < 0) {
		if (err != ENOENT && err != EACCES && err != EPERM)
			return -err;
		net.st_ino = 0;		/* one network namespace for all */
	}
	*number = net.st_ino;
	return 0;
}

static int make_name(const char *master, uint64_t namespace, char name[NAME_SIZE])
{
	int err = namespace == 0 ? find_namespace(&namespace) : 0;

	if (err == 0)
		snprintf(name, NAME_SIZE, "%" PRIu64 ".%s", namespace, master);
	return err;
}

int lock_take(const char *master, uint64_t namespace, double deadline_ms, struct lock *lock)
{
	CLEANUP(fd_close) int dir = -1;
	CLEANUP(fd_close) int fd = -1;
	char name[NAME_SIZE];
	int err = make_name(master, namespace, name);

	if (err == 0)
		err = open_directory(&dir);
	if (err == 0)
		err = open_file(dir, name, &fd);
	if (err < 0)
		return err;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_ms() >= deadline_ms) {
			*lock = (struct lock){ .fd = fd, .held = false };
			fd = -1;
			return -ETIMEDOUT;
		}
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	*lock = (struct lock){ .fd = fd, .held = true };
	fd = -1;
	return 0;
}

void lock_drop(struct lock *lock)
{
	/* unlocked by hand: a child may have inherited the descriptor */
	if (lock->held)
		flock(lock->fd, LOCK_UN);
	lock->held = false;
	fd_close(&lock->fd);
}

uint64_t lock_number(const struct lock *lock)
{
	struct stat st;

	return lock->fd < 0 || fstat(lock->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

uint64_t lock_raise(const struct lock *lock)
{
	off_t end;

	/* O_APPEND: to write and to learn where it has come to stand cannot be told apart by others */
	if (lock->fd < 0 || write(lock->fd, "", 1) != 1 || (end = lseek(lock->fd, 0, SEEK_CUR)) < 0)
		return 0;
	return (uint64_t)end;
}

int lock_watch(const char *master, uint64_t namespace)
{
	char name[NAME_SIZE], path[sizeof(LOCK_DIR) + NAME_SIZE];
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || make_name(master, namespace, name) < 0) {
		fd_close(&fd);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/%s", LOCK_DIR, name);
	if (inotify_add_watch(fd, path, IN_MODIFY) >= 0)
		return fd;
	fd_close(&fd);
	return -1;
}

void lock_drain(int watch)
{
	char scrap[1024];

	while (watch >= 0 && read(watch, scrap, sizeof(scrap)) > 0)
		;
}
