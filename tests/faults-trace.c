/* SPDX-License-Identifier: MIT */
/*
 * One run under ptrace(2), its children with it: system calls are counted, and one of them is made
 * to fail, or is the last. It judges nothing. Refuses to leave a process behind.
 */
#include "faults.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTORS = 64 };

struct tracee {
	pid_t pid;
	bool alive, ran; /* it has begun to run */
	bool striking;   /* the call that it is in is the one that fails */
	long nr;
	int number; /* of that call */
	int64_t begin_ns;
	bool lasting;              /* calls of struck_nr fail from now on */
	int64_t brk;               /* what brk(2) said last */
	bool inherited;            /* heard of by its parent's fork */
	short domain[DESCRIPTORS]; /* of its sockets, -1: none */
	short protocol[DESCRIPTORS];
	struct wire_message denied; /* to be put back */
};

static const struct trace_order *order;
static struct trace *trace;
static struct tracee tracees[TRACE_PROCESSES];

/* ---- the tracee's registers and memory ---- */

static void set_call(pid_t pid, long nr)
{
#if defined(__x86_64__)
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), nr) < 0)
		lab_fail("ptrace: %m");
#elif defined(__aarch64__)
	int value = (int)nr;
	struct iovec iov = {.iov_base = &value, .iov_len = sizeof value};

	if (ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &iov) < 0)
		lab_fail("ptrace: %m");
#else
	_Static_assert(0, "say here how a call's number and its result are set on this machine");
#endif
}

static void set_result(pid_t pid, int64_t value)
{
#if defined(__x86_64__)
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), value) < 0)
		lab_fail("ptrace: %m");
#elif defined(__aarch64__)
	struct user_regs_struct regs;
	struct iovec iov = {.iov_base = &regs, .iov_len = sizeof regs};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov) < 0)
		lab_fail("ptrace: %m");
	regs.regs[0] = (unsigned long)value;
	if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &iov) < 0)
		lab_fail("ptrace: %m");
#endif
}

/* ---- sockets ---- */

static int domain_of(const struct tracee *p, uint64_t fd)
{
	return fd < DESCRIPTORS ? p->domain[fd] : -1;
}

static bool is_send(long nr)
{
	return nr == SYS_sendto || nr == SYS_sendmsg;
}

/* It sends something over rtnetlink. */
static bool is_rtnetlink(const struct tracee *p, const uint64_t args[6])
{
	return is_send(p->nr) && domain_of(p, args[0]) == AF_NETLINK &&
	       p->protocol[args[0]] == NETLINK_ROUTE;
}

/* ---- processes ---- */

static struct tracee *find(pid_t pid)
{
	for (int i = 0; i < trace->processes; i++)
		if (tracees[i].pid == pid)
			return &tracees[i];
	return NULL;
}

static struct tracee *add(pid_t pid, const struct tracee *parent)
{
	struct tracee *p = find(pid);

	if (!p) {
		if (trace->processes == TRACE_PROCESSES)
			lab_fail("more processes than can be traced");
		p = &tracees[trace->processes++];
		memset(p, 0, sizeof *p);
		memset(p->domain, -1, sizeof p->domain);
		p->pid = pid;
		p->alive = true;
		p->nr = -1;
	}
	if (parent && !p->inherited) {
		p->inherited = true;
		memcpy(p->domain, parent->domain, sizeof p->domain);
		memcpy(p->protocol, parent->protocol, sizeof p->protocol);
		p->brk = parent->brk;
	}
	return p;
}

static void kill_all(void)
{
	for (int i = 0; i < trace->processes; i++)
		if (tracees[i].alive)
			kill(tracees[i].pid, SIGKILL);
}

static bool any_alive(void)
{
	for (int i = 0; i < trace->processes; i++)
		if (tracees[i].alive)
			return true;
	return false;
}

/* ---- system calls ---- */

static void on_entry(struct tracee *p, const struct __ptrace_syscall_info *info)
{
	int index = (int)(p - tracees);
	struct trace_process *t = &trace->of[index];
	const struct fault *f = &order->fault;
	bool here;

	p->nr = (long)info->entry.nr;
	p->number = t->count++;
	p->begin_ns = lab_now_ns();
	p->striking = false;
	if (p->number < TRACE_CALLS) {
		t->nr[p->number] = (short)p->nr;
		t->changes[p->number] = is_rtnetlink(p, info->entry.args) &&
					wire_is_change(p->pid, p->nr, info->entry.args);
		t->asks[p->number] =
			is_send(p->nr) && domain_of(p, info->entry.args[0]) == AF_NETLINK;
	}
	/* the first thing that main() does is to look at its descriptors */
	if (t->main_at < 0 && p->nr == SYS_fcntl && info->entry.args[0] == 0 &&
	    info->entry.args[1] == F_GETFD)
		t->main_at = p->number;
	/* a process that waits makes no two times the same calls */
	here = f->process == index && !trace->struck &&
	       (f->nr >= 0 ? p->number >= f->number && p->nr == f->nr : p->number == f->number);
	if (here)
		trace->struck_number = p->number;
	if (here && (f->kind == FAULT_KILL || f->kind == FAULT_KILL_AFTER)) {
		p->striking = trace->struck = true;
		trace->struck_nr = p->nr;
		if (f->kind == FAULT_KILL)
			kill(p->pid, SIGKILL);
	} else if (here && (f->kind == FAULT_DENY || f->kind == FAULT_DROP)) {
		if (t->asks[p->number < TRACE_CALLS ? p->number : 0] &&
		    wire_deny(p->pid, p->nr, info->entry.args, &p->denied)) {
			p->striking = trace->struck = true;
			trace->struck_nr = p->nr;
		}
	} else if ((here && (f->kind == FAULT_ERROR || f->kind == FAULT_LASTING)) ||
		   (p->lasting && p->nr == trace->struck_nr)) {
		const int *e = fault_errors(p->nr);

		while (*e && *e != f->error)
			e++;
		/* another call than was expected here, or one that only asks */
		if (!*e || (p->nr == SYS_brk && info->entry.args[0] == 0))
			return;
		p->striking = trace->struck = true;
		trace->struck_nr = p->nr;
		p->lasting = f->kind == FAULT_LASTING;
		if (!fault_is_done_all_the_same(p->nr))
			set_call(p->pid, -1);
	}
}

/* Which descriptors are sockets, and of what kind. */
static void note_descriptors(struct tracee *p, const uint64_t args[6], int64_t result)
{
	if (result < 0)
		return;
	if (p->nr == SYS_socket && result < DESCRIPTORS) {
		p->protocol[result] = (short)args[2];
		/* on a unix socket a Sentinel listens; the log takes datagrams */
		p->domain[result] =
			(short)((args[1] & 0xf) == SOCK_STREAM ? AF_INET : (int)args[0]);
	} else if (p->nr == SYS_close && args[0] < DESCRIPTORS)
		p->domain[args[0]] = -1;
	else if (p->nr == SYS_close_range)
		for (uint64_t fd = args[0]; fd < DESCRIPTORS && fd <= args[1]; fd++)
			p->domain[fd] = -1;
#ifdef SYS_dup2
	else if (p->nr == SYS_dup2 && result < DESCRIPTORS)
		p->domain[result] = (short)domain_of(p, args[0]);
#endif
	else if (p->nr == SYS_dup3 && result < DESCRIPTORS)
		p->domain[result] = (short)domain_of(p, args[0]);
}

static void on_exit_of_call(struct tracee *p, const struct __ptrace_syscall_info *info,
			    const uint64_t args[6])
{
	const struct fault *f = &order->fault;
	int64_t result = info->exit.rval;

	/* nothing else of what it does changes addresses */
	if (is_send(p->nr) && domain_of(p, args[0]) == AF_NETLINK && order->sent)
		order->sent(p->begin_ns, lab_now_ns());
	if (p->striking && f->kind == FAULT_KILL_AFTER) {
		kill(p->pid, SIGKILL);
	} else if (p->striking && (f->kind == FAULT_DENY || f->kind == FAULT_DROP)) {
		wire_restore(p->pid, &p->denied);
	} else if (p->striking) {
		/* the kernel has no error for brk(2): the break stays where it was */
		result = p->nr == SYS_brk ? p->brk : -f->error;
		set_result(p->pid, result);
	}
	if (p->nr == SYS_brk)
		p->brk = result;
	if (f->kind == FAULT_DENY && trace->struck &&
	    (p->nr == SYS_recvmsg || p->nr == SYS_recvfrom) && domain_of(p, args[0]) == AF_NETLINK)
		wire_answer(p->pid, p->nr, args, result, f->error);
	note_descriptors(p, args, result);
	if (p->nr == SYS_recvfrom && result > 0 &&
	    (domain_of(p, args[0]) == AF_INET || domain_of(p, args[0]) == AF_INET6))
		trace->heard = true;
}

static void on_call(struct tracee *p)
{
	static uint64_t args[TRACE_PROCESSES][6];
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, p->pid, sizeof info, &info) < 0)
		return; /* it has just been killed */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		memcpy(args[p - tracees], info.entry.args, sizeof args[0]);
		on_entry(p, &info);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && p->nr >= 0) {
		on_exit_of_call(p, &info, args[p - tracees]);
		p->nr = -1;
		p->striking = false;
	}
}

/* ---- the loop ---- */

/* It has stopped; returns the signal that it is to get. */
static int on_stop(struct tracee *p, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	unsigned long child;

	if (sig == (SIGTRAP | 0x80)) {
		on_call(p);
		return 0;
	}
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
	    event == PTRACE_EVENT_CLONE) {
		if (ptrace(PTRACE_GETEVENTMSG, p->pid, 0, &child) == 0)
			add((pid_t)child, p);
		return 0;
	}
	if (event == PTRACE_EVENT_EXEC) {
		p->ran = true;
		return 0;
	}
	if (sig == SIGSTOP && !p->ran) {
		p->ran = p != tracees; /* process 0 begins with its execve */
		return 0;
	}
	return event ? 0 : sig;
}

static void on_end(struct tracee *p, int status, double begun)
{
	bool ours = trace->struck &&
		    (order->fault.kind == FAULT_KILL || order->fault.kind == FAULT_KILL_AFTER);

	p->alive = false;
	/* it was killed inside the call: what that has done counts */
	if (p->nr >= 0 && is_send(p->nr) && order->sent)
		order->sent(p->begin_ns, lab_now_ns());
	if (WIFSIGNALED(status) && !(WTERMSIG(status) == SIGKILL &&
				     (ours || trace->hung || trace->lingers || p != tracees)))
		trace->crashed = true;
	if (p == tracees) {
		trace->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		trace->ms = (double)lab_now_ns() / 1e6 - begun;
	}
}

/* The next one that has something to tell; 0 when none has, until the moment. */
static pid_t wait_until(double moment, int *status)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		pid_t pid = waitpid(-1, status, __WALL | WNOHANG);
		double left = moment - (double)lab_now_ns() / 1e6;
		struct timespec t;

		if (pid > 0)
			return pid;
		if (left <= 0)
			return 0;
		t = (struct timespec){.tv_sec = (time_t)(left / 1000),
				      .tv_nsec = (long)(left * 1e6) % 1000000000};
		sigtimedwait(&set, NULL, &t);
	}
}

static void follow(double begun)
{
	double limit = begun + order->limit_ms;

	while (any_alive()) {
		int status, sig;
		pid_t pid = wait_until(limit, &status);
		struct tracee *p;

		if (pid == 0) {
			if (trace->hung || trace->lingers)
				lab_fail("a process cannot be killed");
			*(tracees[0].alive ? &trace->hung : &trace->lingers) = true;
			limit += 5000;
			kill_all();
			continue;
		}
		p = find(pid);
		if (!p && !WIFSTOPPED(status))
			continue; /* none of the run's */
		if (!p)
			p = add(pid, NULL);
		if (!WIFSTOPPED(status)) {
			on_end(p, status, begun);
			if (p == tracees && !trace->hung)
				limit = (double)lab_now_ns() / 1e6 + order->rest_limit_ms;
			continue;
		}
		sig = on_stop(p, status);
		/* ESRCH: it has been killed meanwhile, and its end will be told */
		ptrace(p->ran && !order->quick ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0, sig);
	}
	trace->rest_ms = (double)lab_now_ns() / 1e6 - begun - trace->ms;
}

/* As Sentinel starts it: nothing but the three descriptors, these signals ignored. */
static void child(int err)
{
	const char *argv[12] = {lab_program()};
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	for (int i = 0; i < 10 && order->argv[i]; i++)
		argv[i + 1] = order->argv[i];
	sigemptyset(&none);
	if (lab_enter(order->host) < 0 || null < 0 ||
	    dup2(order->input < 0 ? null : order->input, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(err, 2) < 0 || setenv("SENTINEL_VIP_CONFIG", "/run/sentinel-vip.conf", 1) < 0 ||
	    (order->preload && setenv("LD_PRELOAD", order->preload, 1) < 0) ||
	    sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		_exit(127);
	close_range(3, ~0U, 0);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, SIG_IGN);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
		_exit(127);
	raise(SIGSTOP);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

void trace_run(const struct trace_order *o, struct trace *t)
{
	static int err = -1;
	sigset_t set;
	int status;
	pid_t pid;
	ssize_t n;

	memset(t, 0, sizeof *t);
	for (int i = 0; i < TRACE_PROCESSES; i++)
		t->of[i].main_at = -1;
	order = o;
	trace = t;
	if (err < 0)
		err = memfd_create("stderr", MFD_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (err < 0 || ftruncate(err, 0) < 0 || lseek(err, 0, SEEK_SET) < 0 ||
	    sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		lab_fail("%m");
	pid = fork();
	if (pid < 0)
		lab_fail("fork: %m");
	if (pid == 0)
		child(err);
	add(pid, NULL);
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		lab_fail("the program cannot be traced");
	if (ptrace(PTRACE_SETOPTIONS, pid, 0,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) < 0 ||
	    ptrace(PTRACE_CONT, pid, 0, 0) < 0)
		lab_fail("ptrace: %m");
	follow((double)lab_now_ns() / 1e6);
	n = pread(err, t->err, sizeof t->err - 1, 0);
	t->err[n > 0 ? n : 0] = '\0';
}
