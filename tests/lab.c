/* SPDX-License-Identifier: MIT */
/*
 * The laboratory itself: mount, process, network, IPC and host name namespaces for the test
 * program, and a bridge as the switch. Refuses to work half: whatever cannot be made is a failure.
 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void (*lab_on_failure)(const char *message);
int lab_netns = -1;

void lab_fail(const char *fmt, ...)
{
	static char message[32768];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	if (lab_on_failure)
		lab_on_failure(message);
	fprintf(stderr, "lab: %s\n", message);
	exit(1);
}

void lab_mkdirs(const char *path)
{
	char part[256];

	for (const char *p = path + 1; p; p++) {
		p = strchr(p, '/');
		snprintf(part, sizeof part, "%.*s", p ? (int)(p - path) : (int)strlen(path), path);
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			lab_fail("mkdir %s: %m", part);
		if (!p)
			break;
	}
}

void lab_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		lab_fail("write %s: %m", path);
}

void lab_mount(const char *what, const char *where, const char *type, unsigned long flags,
	       const char *data)
{
	/* a bind takes no type; valgrind wants one to look at all the same */
	if (mount(what, where, type ? type : "none", flags, data) < 0)
		lab_fail("mount %s on %s: %m", what, where);
}

/* A /dev of our own, since the machine's /dev/log must be neither used nor replaced. */
static void lab_make_dev(void)
{
	static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
	static const char *const links[][2] = {
		{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
		{"pts/ptmx", "ptmx"},          {LAB_LOG, "log"}};
	char from[64], to[64];

	lab_mkdirs(LAB_DIR "/dev");
	lab_mount("tmpfs", LAB_DIR "/dev", "tmpfs", MS_NOSUID, "mode=755");
	/* Bound, not mknod()ed: that is allowed in more containers. */
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		snprintf(from, sizeof from, "/dev/%s", nodes[i]);
		snprintf(to, sizeof to, LAB_DIR "/dev/%s", nodes[i]);
		lab_write(to, "");
		lab_mount(from, to, NULL, MS_BIND, NULL);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(to, sizeof to, LAB_DIR "/dev/%s", links[i][1]);
		if (symlink(links[i][0], to) < 0)
			lab_fail("symlink %s: %m", to);
	}
	lab_mkdirs(LAB_DIR "/dev/shm");
	lab_mount("tmpfs", LAB_DIR "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	lab_mkdirs(LAB_DIR "/dev/pts");
	if (access("/dev/pts", F_OK) == 0)
		lab_mount("/dev/pts", LAB_DIR "/dev/pts", NULL, MS_BIND | MS_REC, NULL);
	lab_mount(LAB_DIR "/dev", "/dev", NULL, MS_MOVE, NULL);
}

/* In the child of process 1 of the new namespaces: what is around the hosts. */
static void lab_make(void)
{
	lab_mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	lab_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	lab_mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	lab_make_dev();
	if (setenv("TMPDIR", "/run", 1) < 0 || setenv("LC_ALL", "C", 1) < 0)
		lab_fail("setenv: %m");
	lab_program(); /* made absolute while the directory is still the one we were started in */

	/* The switch does not speak: a frame that a test sees was sent by a host. */
	lab_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	/* Collectors are read only now and then; the default of 10 messages would block whoever
	 * logs. */
	lab_write("/proc/sys/net/unix/max_dgram_qlen", "4096");
	lab_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (lab_netns < 0)
		lab_fail("/proc/self/ns/net: %m");
	lab_must(NULL, "ip link set lo up && "
		       "ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 "
		       "&& ip link set br0 up");
}

static int lab_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * Process 1: reaps whoever is left to it, and takes all of the laboratory with it when the program
 * has ended.
 */
static int lab_init(int argc, char **argv, int (*fn)(int, char **), int alive)
{
	struct pollfd p = {.fd = alive};
	int status;
	pid_t pid, main_pid;

	/* If the parent died before the prctl, its end of the pipe is closed. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP)))
		_exit(1);
	signal(SIGCHLD, SIG_DFL);
	main_pid = fork();
	if (main_pid < 0)
		lab_fail("fork: %m");
	if (main_pid == 0) {
		close(alive);
		lab_make();
		exit(fn(argc, argv));
	}
	while ((pid = wait(&status)) != main_pid)
		if (pid < 0 && errno != EINTR)
			_exit(1);
	_exit(lab_status(status));
}

int lab_main(int argc, char **argv, int (*fn)(int, char **))
{
	int alive[2], status;
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0); /* in step with stderr, and with others beside it */
	if (geteuid() != 0)
		lab_fail("needs root, to make network namespaces: sudo %s", argv[0]);
	if (pipe2(alive, O_CLOEXEC) < 0)
		lab_fail("pipe: %m");
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		lab_fail("namespaces cannot be made here (%m); in a container, CAP_SYS_ADMIN is "
			 "missing");
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		lab_fail("fork: %m");
	if (pid == 0) {
		close(alive[1]);
		lab_init(argc, argv, fn, alive[0]);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			lab_fail("waitpid: %m");
	/* not by exit(): a leak checker cannot look at a process whose children have a PID namespace */
	fflush(NULL);
	_exit(lab_status(status));
}
