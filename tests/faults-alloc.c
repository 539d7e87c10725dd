/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the program: the n-th allocation of one of its processes fails, or all from there
 * on, whoever asks: the program, its libraries, or libc itself. The counters lie in a file that
 * both sides map. Before that can be had nothing fails.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own names, for those who stand in front of them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
int posix_memalign(void **p, size_t alignment, size_t size);

static struct alloc_shared *shared;
static int process;

static void forked(void)
{
	process = __atomic_fetch_add(&shared->processes, 1, __ATOMIC_SEQ_CST);
}

__attribute__((constructor)) static void begin(void)
{
	int fd = open(ALLOC_FILE, O_RDWR | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED
			   : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED || pthread_atfork(NULL, NULL, forked) != 0)
		return;
	shared = map;
	shared->processes = 1;
}

static bool fails(void)
{
	int n;

	if (!shared || process >= TRACE_PROCESSES)
		return false;
	n = ++shared->counts[process];
	if (process != shared->process || shared->number == 0 || n < shared->number ||
	    (n > shared->number && !shared->lasting))
		return false;
	shared->struck = 1;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
	void *got = fails() ? NULL : __libc_memalign(alignment, size);

	if (got)
		*p = got;
	return got ? 0 : ENOMEM;
}
