/* SPDX-License-Identifier: MIT */
/*
 * Small text files of the kernel and of other programs.  It understands none of
 * them.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

ssize_t file_read(const char *path, char *buffer, size_t size)
{
	CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t length = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (length < size - 1 && (n = read(fd, buffer + length, size - 1 - length)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		length += (size_t)n;
	}
	buffer[length] = '\0';
	return (ssize_t)length;
}

bool file_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

const char *file_line(const char *text, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);

	while (text != NULL && *text != '\0') {
		const char *end = strchrnul(text, '\n'), *next = *end != '\0' ? end + 1 : end;

		if (strncmp(text, key, n) != 0) {
			text = next;
			continue;
		}
		text += n;
		text += strspn(text, " \t");
		while (end > text && strchr(" \t\r", end[-1]) != NULL)
			end--;
		n = end > text ? (size_t)(end - text) : 0;
		n = n < size ? n : size - 1;
		memcpy(out, text, n);
		out[n] = '\0';
		return next;
	}
	return NULL;
}
