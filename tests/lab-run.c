/* SPDX-License-Identifier: MIT */
/*
 * Commands in a host of the laboratory, with their output, their end and their times. Refuses to
 * wait for ever: each has a time limit, and what exceeds it is killed and said to have timed out.
 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELL_TIMEOUT_MS 20000
#define VIP_TIMEOUT_MS 30000
#define MAX_ARGS 64

struct start {
	const char *const *argv; /* or, when NULL: */
	int (*fn)(void *arg);
	void *arg;
	int64_t *exec_ns; /* in memory shared with the child, or NULL */
};

static void lab_child(struct lab_host *h, const struct start *s, int out, int err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	lab_on_failure = NULL;
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	if (h && lab_enter(h) < 0)
		_exit(127);
	if (setenv("SENTINEL_VIP_CONFIG", "/run/sentinel-vip.conf", 1) < 0)
		_exit(127);
	if (s->exec_ns)
		*s->exec_ns = lab_now_ns();
	if (!s->argv)
		_exit(s->fn(s->arg));
	execvp(s->argv[0], (char *const *)s->argv);
	fprintf(stderr, "%s: %s\n", s->argv[0], strerror(errno));
	_exit(127);
}

/*
 * Returns when the child is in the host and has called execve (or has ended): from then on
 * lab_host_kill() finds it.
 */
static pid_t lab_fork(struct lab_host *h, const struct start *s, int out, int err)
{
	int started[2];
	pid_t pid;
	char c;

	fflush(NULL);
	if (pipe2(started, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid == 0)
		lab_child(h, s, out, err);
	close(started[1]);
	if (s->argv && read(started[0], &c, 1) < 0)
		lab_fail("read: %m");
	close(started[0]);
	return pid;
}

/* valgrind does not know pidfd_open(2), and an older kernel has none. */
static bool ends_in_time(pid_t pid, int timeout_ms)
{
	int64_t until = lab_now_ns() + (int64_t)timeout_ms * 1000000;
	siginfo_t info = {.si_pid = 0};

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0 && (timeout_ms < 0 || lab_now_ns() < until))
		lab_sleep_ms(2);
	return info.si_pid != 0;
}

int lab_wait(pid_t pid, int timeout_ms)
{
	int fd = pidfd_open(pid, 0), status;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool ended;

	if (fd < 0 && errno != ENOSYS)
		lab_fail("pidfd_open %d: %m", (int)pid);
	ended = fd < 0 ? ends_in_time(pid, timeout_ms) : poll(&p, 1, timeout_ms) > 0;
	if (fd >= 0)
		close(fd);
	if (!ended)
		return -1;
	if (waitpid(pid, &status, 0) < 0)
		lab_fail("waitpid %d: %m", (int)pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A file, not a pipe: nobody has to empty it, and a child that keeps it open holds nobody up. */
static int lab_output(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	if (fd < 0)
		lab_fail("memfd_create: %m");
	return fd;
}

static void lab_output_read(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	if (n < 0)
		lab_fail("pread: %m");
	text[n] = '\0';
	close(fd);
}

static int lab_do(struct lab_host *h, struct lab_result *r, int timeout_ms, struct start *s)
{
	static struct lab_result unused;
	int out = lab_output(), err = lab_output();
	pid_t pid;

	r = r ? r : &unused;
	s->exec_ns = mmap(NULL, sizeof *s->exec_ns, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->exec_ns == MAP_FAILED)
		lab_fail("mmap: %m");
	pid = lab_fork(h, s, out, err);
	r->status = lab_wait(pid, timeout_ms);
	r->exit_ns = lab_now_ns();
	r->timed_out = r->status < 0;
	if (r->timed_out) {
		kill(pid, SIGKILL);
		r->status = lab_wait(pid, -1);
	}
	r->exec_ns = *s->exec_ns;
	munmap(s->exec_ns, sizeof *s->exec_ns);
	lab_output_read(out, r->out, sizeof r->out);
	lab_output_read(err, r->err, sizeof r->err);
	return r->status;
}

int lab_run(struct lab_host *h, struct lab_result *r, int timeout_ms, const char *const argv[])
{
	return lab_do(h, r, timeout_ms, &(struct start){.argv = argv});
}

int lab_call(struct lab_host *h, struct lab_result *r, int timeout_ms, int (*fn)(void *arg),
	     void *arg)
{
	return lab_do(h, r, timeout_ms, &(struct start){.fn = fn, .arg = arg});
}

pid_t lab_spawn(struct lab_host *h, const char *path, const char *const argv[])
{
	char full[256];
	int fd = 2;
	pid_t pid;

	if (path) {
		lab_file(h, path, 0644, 0, "%s", "");
		snprintf(full, sizeof full, "%s/%s", h->run, path);
		fd = open(full, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (fd < 0)
			lab_fail("%s: %m", full);
	}
	pid = lab_fork(h, &(struct start){.argv = argv}, fd, fd);
	if (fd != 2)
		close(fd);
	return pid;
}

LAB_PRINTF(5, 0)
static int lab_vsh(struct lab_host *h, struct lab_result *r, char *line, size_t size,
		   const char *fmt, va_list ap)
{
	if (vsnprintf(line, size, fmt, ap) >= (int)size)
		lab_fail("a shell line of more than %zu bytes", size);
	return lab_run(h, r, SHELL_TIMEOUT_MS, (const char *const[]){"sh", "-c", line, NULL});
}

int lab_sh(struct lab_host *h, struct lab_result *r, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	int status;

	va_start(ap, fmt);
	status = lab_vsh(h, r, line, sizeof line, fmt, ap);
	va_end(ap);
	return status;
}

void lab_must(struct lab_host *h, const char *fmt, ...)
{
	static struct lab_result r;
	char line[4096];
	va_list ap;
	int status;

	va_start(ap, fmt);
	status = lab_vsh(h, &r, line, sizeof line, fmt, ap);
	va_end(ap);
	if (status != 0)
		lab_fail("%s: `%s` ended with %d\n%s%s", h ? h->name : "switch", line, status,
			 r.out, r.err);
}

const char *lab_program(void)
{
	static char path[PATH_MAX];
	const char *name = getenv("SENTINEL_VIP");

	if (!*path && (!realpath(name ? name : "./sentinel-vip", path) || access(path, X_OK) < 0)) {
		*path = '\0';
		lab_fail("%s: %m; build it first, or say where it is: SENTINEL_VIP=",
			 name ? name : "./sentinel-vip");
	}
	return path;
}

const char *lab_delay(const char *what, int us)
{
	static char text[96];

	snprintf(text, sizeof text, "%s%lld", what, (long long)us * lab_clock);
	return text;
}

int lab_forbid_family(unsigned family)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, family, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
		     &(struct sock_fprog){.len = sizeof code / sizeof *code, .filter = code});
}

void lab_config(struct lab_host *h, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	lab_file(h, "sentinel-vip.conf", 0600, 0, "%s", text);
}

int lab_vip(struct lab_host *h, struct lab_result *r, ...)
{
	const char *argv[MAX_ARGS] = {lab_program()};
	va_list ap;
	int n = 1;

	va_start(ap, r);
	while (n < MAX_ARGS - 1 && (argv[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	return lab_run(h, r, VIP_TIMEOUT_MS, argv);
}
