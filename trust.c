/* SPDX-License-Identifier: MIT */
/*
 * Files that decide what this program does.  Nobody but root and the caller may have written
 * them, nor be able to put others in their place; what is not so is not read.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FILE_MAX = 16 << 20,	/* bytes; a thousand masters with 256 VIPs are 9 MB */
	LINKS_MAX = 40,		/* symbolic ones, as the kernel has it: path_resolution(7) */
};

/* The way -------------------------------------------------------------- */

/* Of root or the caller; `path` is what the directory leads to. */
static int look_at_directory(const char *at, const struct stat *st, const char *path, struct why *why)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return why_set(why, -EPERM, "%s leads to %s and belongs to uid %u, who could put another "
			       "file there: chown root %s", at, path, (unsigned)st->st_uid, at);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st->st_mode & S_ISVTX) == 0)
		return why_set(why, -EPERM, "%s leads to %s and can be written by others, who could put "
			       "another file there: chmod go-w %s", at, path, at);
	return 0;
}

/* Puts the rest of a way behind what a symbolic link says. */
static int follow_link(const char *link, char left[PATH_MAX])
{
	static char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target));
	size_t rest = strlen(left);

	if (n < 0)
		return -errno;
	if ((size_t)n + 1 + rest >= PATH_MAX)
		return -ENAMETOOLONG;
	memmove(left + n + 1, left, rest + 1);
	memcpy(left, target, (size_t)n);
	left[n] = '/';
	return 0;
}

/* Cuts the first name off the rest of a way; NULL at its end. */
static const char *next_name(char left[PATH_MAX], char name[NAME_MAX + 1])
{
	size_t begin = strspn(left, "/"), size = strcspn(left + begin, "/");

	if (size == 0 || size > NAME_MAX)
		return NULL;	/* nothing can have such a name */
	memcpy(name, left + begin, size);
	name[size] = '\0';
	memmove(left, left + begin + size, strlen(left + begin + size) + 1);
	return name;
}

/*
 * One step on from the directory `at`, "" for the root, whose permissions are in *st.  1 at the
 * end: a file, or nothing.
 */
static int step(char at[PATH_MAX], char left[PATH_MAX], struct stat *st, unsigned *links,
		const char *path, struct why *why)
{
	char name[NAME_MAX + 1];
	size_t length = strlen(at);
	bool shared = (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
	int err;

	if (next_name(left, name) == NULL)
		return 1;
	if (length + 1 + strlen(name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		at[length > 0 ? (size_t)(strrchr(at, '/') - at) : 0] = '\0';
		return stat(*at != '\0' ? at : "/", st) < 0 ? -errno : 0;
	}
	sprintf(at + length, "/%s", name);
	if (lstat(at, st) < 0)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 1 : -errno;
	if (S_ISDIR(st->st_mode))
		return look_at_directory(at, st, path, why);
	if (!S_ISLNK(st->st_mode))
		return 1;
	/* where everybody may make links, this one may be anybody's */
	if (shared && st->st_uid != 0 && st->st_uid != geteuid())
		return why_set(why, -EPERM, "%s leads to %s and belongs to uid %u, who could lead it "
			       "elsewhere: rm %s", at, path, (unsigned)st->st_uid, at);
	err = ++*links > LINKS_MAX ? -ELOOP : follow_link(at, left);
	if (err < 0)
		return err;
	at[*left == '/' ? 0 : length] = '\0';
	return stat(*at != '\0' ? at : "/", st) < 0 ? -errno : 0;
}

int trust_way(const char *path, struct why *why)
{
	/* not on the stack, of which each page would be probed: a failover comes through here */
	static char at[PATH_MAX], left[PATH_MAX];
	unsigned links = 0;
	struct stat st;
	int err;

	at[0] = left[0] = '\0';
	if ((path[0] != '/' && getcwd(left, sizeof(left)) == NULL) || stat("/", &st) < 0)
		return why_set(why, -errno, "cannot look at what leads to %s: %s", path, strerror(errno));
	if (strlen(left) + 1 + strlen(path) >= sizeof(left))
		return 0;	/* too long to be opened, which says so */
	strcat(strcat(left, "/"), path);
	why->text[0] = '\0';
	err = look_at_directory("/", &st, path, why);
	while (err == 0)
		err = step(at, left, &st, &links, path, why);
	if (err < 0 && why->text[0] == '\0')
		why_set(why, err, "cannot look at what leads to %s: %s", path, strerror(-err));
	return err < 0 ? err : 0;
}

/* The file ------------------------------------------------------------- */

int trust_writers(const char *path, const struct stat *st, struct why *why)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return why_set(why, -EPERM, "%s belongs to uid %u, who could change it: chown root %s",
			       path, (unsigned)st->st_uid, path);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return why_set(why, -EPERM, "%s can be written by others than its owner: chmod go-w %s",
			       path, path);
	return 0;
}

int trust_program(const char *path, const struct stat *st, struct why *why)
{
	int err = S_ISREG(st->st_mode) ? trust_writers(path, st, why) :
		why_set(why, -EINVAL, "%s is not a regular file", path);

	return err < 0 ? err : trust_way(path, why);
}

int trust_text(const char *path, bool private, char **text, struct why *why)
{
	CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	size_t size = 0;
	ssize_t n;
	char *buffer;
	int err;

	if (fd < 0 && errno == ENOENT)
		return why_set(why, -ENOENT, "%s is not there: write it, see sentinel-vip.conf(5)", path);
	if (fd < 0)
		return why_set(why, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		return why_set(why, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return why_set(why, -EINVAL, "%s is not a regular file", path);
	err = trust_writers(path, &st, why);
	if (err == 0)
		err = trust_way(path, why);
	if (err < 0)
		return err;
	if (private && (st.st_mode & S_IROTH) != 0)
		return why_set(why, -EPERM, "%s can be read by everybody: chmod o-r %s", path, path);
	if (st.st_size > FILE_MAX)
		return why_set(why, -EFBIG, "%s is larger than %d MiB", path, FILE_MAX >> 20);
	buffer = malloc((size_t)st.st_size + 1);
	if (buffer == NULL)
		return why_set(why, -ENOMEM, "%s: out of memory", path);
	while (size < (size_t)st.st_size &&
	       (n = read(fd, buffer + size, (size_t)st.st_size - size)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = why_set(why, -errno, "%s: %s", path, strerror(errno));

			free(buffer);
			return err;
		}
		size += (size_t)n;
	}
	buffer[size] = '\0';
	if (strlen(buffer) != size) {
		free(buffer);
		return why_set(why, -EINVAL, "%s is not a text file: it has a NUL byte", path);
	}
	*text = buffer;
	return 0;
}
