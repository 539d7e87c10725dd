/* SPDX-License-Identifier: MIT */
/*
 * Which error is plausible for which system call: what the manual pages and the kernel's sources
 * say can happen to a program that does nothing wrong, for want of memory, descriptors, space or
 * permission, by a signal, a sandbox or a disk. A call that is not in the table cannot fail here.
 */
#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static const struct {
	const char *name;
	long nr;
	int errors[FAULT_ERRORS + 1];
} calls[] = {
#define CALL(name, ...)                                                                            \
	{                                                                                          \
#name, SYS_##name,                                                                 \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
	/* sockets; seccomp(2) and LSMs answer EPERM where they forbid */
	CALL(socket, ENOBUFS, ENOMEM, EMFILE, EPERM),
	CALL(bind, ENOBUFS, ENOMEM, EPERM, ENODEV),
	CALL(connect, EINTR, EAGAIN, ENOMEM, EPERM, ENOBUFS),
	CALL(sendto, ENOBUFS, EPERM, EINTR, EAGAIN, ENOMEM, ENODEV, EIO),
	CALL(sendmsg, ENOBUFS, EPERM, EINTR, EAGAIN, ENOMEM, EIO),
	CALL(recvfrom, ENOBUFS, EINTR, EAGAIN, ENOMEM, EIO),
	CALL(recvmsg, ENOBUFS, EINTR, EAGAIN, ENOMEM, EIO),
	CALL(setsockopt, ENOBUFS, ENOMEM, EPERM),
	CALL(getsockopt, ENOBUFS, ENOMEM),
	CALL(getsockname, ENOBUFS),
	CALL(accept4, EINTR, EAGAIN, ENOMEM, EMFILE, ENOBUFS),
	CALL(shutdown, ENOBUFS),
	/* files */
	CALL(openat, EINTR, ENOMEM, EMFILE, EIO, ENOSPC, EPERM, ENODEV),
	CALL(read, EINTR, EAGAIN, EIO, ENOMEM, ENOBUFS),
	CALL(pread64, EINTR, EIO, ENOMEM),
	CALL(write, EINTR, EAGAIN, EIO, ENOSPC, ENOMEM, EPERM),
	CALL(writev, EINTR, EAGAIN, EIO, ENOSPC, ENOMEM),
	CALL(pwrite64, EINTR, EIO, ENOSPC, ENOMEM, EPERM),
	CALL(close, EINTR, EIO, ENOSPC),
	CALL(newfstatat, ENOMEM, EIO, EPERM),
#ifdef SYS_fstat
	CALL(fstat, ENOMEM, EIO),
#endif
	CALL(statx, ENOMEM, EIO, EPERM),
	CALL(faccessat, ENOMEM, EIO),
	CALL(readlinkat, ENOMEM, EIO),
	CALL(getdents64, EIO, ENOMEM),
	CALL(lseek, EIO),
	CALL(mkdirat, ENOMEM, EIO, ENOSPC, EPERM),
	CALL(unlinkat, EIO, EPERM, ENOMEM),
	CALL(fchown, EINTR, EIO, ENOSPC, EPERM),
	CALL(flock, EINTR, EAGAIN, ENOMEM),
	CALL(fcntl, EINTR, EAGAIN, EMFILE),
	CALL(ioctl, EINTR, ENOMEM, EIO, EPERM, ENODEV),
	CALL(chdir, ENOMEM, EIO, EPERM),
	CALL(dup3, EINTR, EMFILE, ENOMEM),
	CALL(close_range, EMFILE, ENOMEM),
	CALL(pipe2, EMFILE, ENOMEM),
	CALL(inotify_init1, EMFILE, ENOMEM),
	CALL(inotify_add_watch, ENOMEM, ENOSPC, EPERM),
	/* waits */
	CALL(ppoll, EINTR, ENOMEM, EAGAIN),
	CALL(clock_nanosleep, EINTR),
	CALL(wait4, EINTR),
	/* memory and processes */
	CALL(mmap, ENOMEM, EAGAIN, EPERM, ENODEV),
	CALL(mremap, ENOMEM, EAGAIN),
	CALL(mprotect, ENOMEM),
	CALL(brk, ENOMEM),
	CALL(clone, EAGAIN, ENOMEM, EPERM),
	CALL(clone3, EAGAIN, ENOMEM, EPERM),
	CALL(setsid, EPERM),
	CALL(prctl, EPERM),
	CALL(kill, EPERM),
	CALL(getrandom, EINTR, EAGAIN),
	CALL(exit_group, 0),
#ifdef SYS_open /* those that newer architectures do without */
	CALL(open, EINTR, ENOMEM, EMFILE, EIO, ENOSPC, EPERM, ENODEV),
	CALL(stat, ENOMEM, EIO, EPERM),
	CALL(lstat, ENOMEM, EIO, EPERM),
	CALL(access, ENOMEM, EIO),
	CALL(readlink, ENOMEM, EIO),
	CALL(mkdir, ENOMEM, EIO, ENOSPC, EPERM),
	CALL(unlink, EIO, EPERM, ENOMEM),
	CALL(dup2, EINTR, EMFILE, ENOMEM),
	CALL(poll, EINTR, ENOMEM, EAGAIN),
	CALL(fork, EAGAIN, ENOMEM, EPERM),
	CALL(vfork, EAGAIN, ENOMEM, EPERM),
#endif
};

static const struct {
	const char *name;
	int error;
} errors[] = {
	{"ENOBUFS", ENOBUFS}, {"EPERM", EPERM},   {"EINTR", EINTR},
	{"EAGAIN", EAGAIN},   {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE},
	{"ENODEV", ENODEV},   {"EIO", EIO},       {"ENOSPC", ENOSPC},
};

static const char *const kinds[FAULT_KINDS] = {
	[FAULT_KILL] = "kill",   [FAULT_KILL_AFTER] = "kill+",     [FAULT_DROP] = "drop",
	[FAULT_ALLOC] = "alloc", [FAULT_ALLOC_LASTING] = "alloc+",
};

const int fault_denials[] = {ENOBUFS, EPERM, EINTR, EAGAIN, ENOMEM, ENODEV, 0};

const int *fault_errors(long nr)
{
	static const int none[] = {0};

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].nr == nr)
			return calls[i].errors;
	return none;
}

/* close(2): the descriptor is gone in any case. */
bool fault_is_done_all_the_same(long nr)
{
	return nr == SYS_close;
}

const char *fault_call_name(long nr, char out[32])
{
	snprintf(out, 32, "call %ld", nr);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].nr == nr)
			snprintf(out, 32, "%s", calls[i].name);
	return out;
}

static const char *error_name(int error)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i].error == error)
			return errors[i].name;
	return "?";
}

const char *fault_name(const struct fault *f, char out[FAULT_NAME_SIZE])
{
	if (kinds[f->kind])
		snprintf(out, FAULT_NAME_SIZE, "%d.%d:%s", f->process, f->number, kinds[f->kind]);
	else
		snprintf(out, FAULT_NAME_SIZE, "%d.%d:%s%s%s", f->process, f->number,
			 f->kind == FAULT_DENY ? "deny-" : "", error_name(f->error),
			 f->kind == FAULT_LASTING ? "+" : "");
	return out;
}

static bool parse_error(const char *word, struct fault *f)
{
	f->kind = FAULT_ERROR;
	if (strncmp(word, "deny-", 5) == 0) {
		f->kind = FAULT_DENY;
		word += 5;
	}
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		size_t n = strlen(errors[i].name);

		if (strncmp(word, errors[i].name, n) != 0)
			continue;
		f->error = errors[i].error;
		if (strcmp(word + n, "+") == 0 && f->kind == FAULT_ERROR)
			f->kind = FAULT_LASTING;
		else if (word[n])
			continue;
		return true;
	}
	return false;
}

bool fault_parse(const char *text, struct fault *f)
{
	char word[32];

	*f = (struct fault){.kind = FAULT_NONE, .nr = -1};
	if (sscanf(text, "%d.%d:%31s", &f->process, &f->number, word) != 3)
		return false;
	for (int k = 0; k < FAULT_KINDS; k++)
		if (kinds[k] && strcmp(word, kinds[k]) == 0) {
			f->kind = (enum fault_kind)k;
			return true;
		}
	return parse_error(word, f);
}
