/* SPDX-License-Identifier: MIT */
/*
 * Stands in for libFuzzer where a corpus is only run through once more, as with gcc or under
 * coverage: each argument is an input, or a directory of them.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long inputs;

static int replay_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *bytes;
	bool whole;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	bytes = malloc((size_t)st.st_size + (st.st_size == 0));
	whole = bytes != NULL && read(fd, bytes, (size_t)st.st_size) == (ssize_t)st.st_size;
	close(fd);
	if (whole) {
		LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
		inputs++;
	}
	free(bytes);
	return whole ? 0 : -1;
}

static int replay(const char *path)
{
	DIR *directory = opendir(path);
	char file[PATH_MAX];
	int err = 0;

	if (directory == NULL)
		return errno == ENOTDIR ? replay_file(path) : -1;
	for (struct dirent *d; err == 0 && (d = readdir(directory)) != NULL;)
		if (d->d_name[0] != '.') {
			snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
			err = replay_file(file);
		}
	closedir(directory);
	return err;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
	printf("%s: %lu inputs\n", argv[0], inputs);
	return inputs == 0;
}
