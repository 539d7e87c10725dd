/* SPDX-License-Identifier: MIT */
/*
 * The hook: a program of the operator's that is told that a VIP has moved.  It is given the
 * facts and nothing else, no capability and no descriptor of ours, and HOOK_MS of time.  A
 * detached process keeps it: nobody waits for either, and what goes wrong here is a line in
 * the log and no more.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

enum {
	LINES_MAX = 40,		/* of the hook's output that are logged */
	LINE_BYTES = 400,
	LINE_APART_MS = 2,	/* a logger's queue has room for 10 (net.unix.max_dgram_qlen) */
	HEAR_BYTES = 65536,	/* at once: what a pipe holds, pipe(7) */
	HEAR_APART_MS = 10,	/* what is not logged may come as fast as that, 6 MB/s */
	KILL_ROUNDS = 100,	/* each finds what the one before has orphaned */
	KILL_ROUND_MS = 10,
	CHILDREN_BYTES = 4096,
};

#define HOOK_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What the hook is told -------------------------------------------------- */

static const char *event_of(const struct plan *plan)
{
	return plan->decision == PLAN_CLAIM ? "after-claim" : "after-release";
}

static bool counts(const struct plan *plan, const struct step *step)
{
	return step->done && step->kind == (plan->decision == PLAN_CLAIM ? STEP_ADD : STEP_DELETE);
}

static bool moved(const struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++)
		if (counts(plan, &plan->steps[i]))
			return true;
	return false;
}

/* A word that stands in a list already: two copies of a VIP, two VIPs on one interface. */
static bool listed(const char *list, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += size)
		if ((at == list || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
			return true;
	return false;
}

/* "NAME=value", printable whatever was put into it; NULL without memory. */
static char *variable(const char *name, const char *value)
{
	struct why safe;
	char *text;

	why_set(&safe, 0, "%s", value);
	return asprintf(&text, "%s=%s", name, safe.text) < 0 ? NULL : text;
}

/* The addresses that have moved, or the interfaces, each once. */
static char *list_of(const struct plan *plan, const char *name, bool interfaces)
{
	size_t size = strlen(name) + 2 + plan->step_count * (IP_TEXT_SIZE + 1), begin;
	char *list = calloc(1, size), text[IP_TEXT_SIZE];

	if (list == NULL)
		return NULL;
	begin = (size_t)snprintf(list, size, "%s=", name);
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];
		const char *word = interfaces ? step->link->name : ip_text(&step->vip->ip, text);
		size_t end = strlen(list);

		if (counts(plan, step) && !listed(list + begin, word))
			snprintf(list + end, size - end, "%s%s", end > begin ? " " : "", word);
	}
	return list;
}

/* False without memory.  Room for all and the NULL at the end. */
enum { VARIABLES = 9 };

static bool describe(const struct master *master, const struct plan *plan,
		     const struct truth *truth, const char *reason, char *out[VARIABLES + 1])
{
	char from[IP_TEXT_SIZE] = "", port[8] = "";
	size_t n = 0;

	if (truth->from.family != AF_UNSPEC)
		ip_text(&truth->from, from);
	if (truth->master.port != 0)
		snprintf(port, sizeof(port), "%u", (unsigned)truth->master.port);
	out[n++] = variable("PATH", HOOK_PATH);
	out[n++] = variable("SENTINEL_VIP_EVENT", event_of(plan));
	out[n++] = variable("SENTINEL_VIP_MASTER", master->name);
	out[n++] = list_of(plan, "SENTINEL_VIP_VIPS", false);
	out[n++] = list_of(plan, "SENTINEL_VIP_INTERFACE", true);
	out[n++] = variable("SENTINEL_VIP_FROM", from);
	out[n++] = variable("SENTINEL_VIP_TO", truth->master.host);
	out[n++] = variable("SENTINEL_VIP_PORT", port);
	out[n++] = variable("SENTINEL_VIP_REASON", reason);
	out[n] = NULL;
	for (size_t i = 0; i < n; i++)
		if (out[i] == NULL)
			return false;
	return true;
}

/* What it says ------------------------------------------------------------ */

struct output {
	const char *label;
	int fd;			/* of the pipe; -1: at its end */
	unsigned lines;
	size_t left_out;	/* bytes */
	size_t length;
	char text[LINE_BYTES + 1];
};

static void say_line(struct output *o)
{
	struct line line = { 0 };

	if (o->lines == LINES_MAX)
		o->left_out += o->length;
	if (o->length == 0 || o->lines == LINES_MAX)
		return;
	o->text[o->length] = '\0';
	line_add(&line, "%s says: %s", o->label, o->text);
	log_send(LOG_NOTICE, line.text);
	poll(NULL, 0, LINE_APART_MS);
	o->lines++;
}

/*
 * Takes what is there now; the rest of a line that is too long is left out.  Who has more to say than is
 * logged waits for us, and costs no more than that.
 */
static void hear(struct output *o)
{
	char bytes[HEAR_BYTES];
	ssize_t n = o->fd < 0 ? -1 : read(o->fd, bytes, sizeof(bytes));
	unsigned before = o->lines;

	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			say_line(o);
			o->length = 0;
		} else if (o->length < LINE_BYTES && bytes[i] != '\0') {
			o->text[o->length++] = bytes[i];
		} else {
			o->left_out++;
		}
	}
	if (n == 0)
		fd_close(&o->fd);
	else if (o->lines == before)
		poll(NULL, 0, HEAR_APART_MS);
}

static void hear_the_rest(struct output *o)
{
	struct pollfd wait = { .events = POLLIN };
	struct line line = { 0 };

	/* bounded: who still writes to it has been killed, and the pipe holds 64 KiB */
	for (unsigned i = 0; i < 16; i++) {
		wait.fd = o->fd;
		if (poll(&wait, 1, 0) <= 0)
			break;
		hear(o);
	}
	say_line(o);
	if (o->left_out == 0)
		return;
	line_add(&line, "%s said more: %zu bytes are not logged", o->label, o->left_out);
	log_send(LOG_NOTICE, line.text);
}

/* Its process -------------------------------------------------------------- */

/* -errno when it could keep a capability. */
static int lose_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	/*
	 * This takes CAP_SETPCAP.  Without it no_new_privs sees to it that root's next program
	 * gets none back, and ambient ones go with the permitted: capabilities(7).
	 */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/*
	 * The filter of our units kills whoever calls capset(2).  Who is not root takes nothing
	 * through execve(2) then but what is ambient.
	 */
	if (geteuid() != 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) > 0)
		return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* In the child; does not return.  All our descriptors above 2 close by themselves. */
static void become_hook(const char *path, const char *event, char *const environment[], pid_t keeper,
			int out, int trouble)
{
	char *const argv[] = { (char *)path, (char *)event, NULL };
	sigset_t none;
	int error;

	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(1);
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);	/* Sentinel hands some on ignored */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	if (dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
		execve(path, argv, environment);
	error = errno;
	_exit(write(trouble, &error, sizeof(error)) == sizeof(error) ? 127 : 126);
}

static pid_t start(const char *path, const char *event, char *const environment[], int *out,
		   int *error)
{
	int output[2], trouble[2];
	pid_t keeper = getpid(), child;

	if (pipe2(output, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(trouble, O_CLOEXEC) < 0)
		return -errno;	/* it is about to end */
	child = fork();
	if (child == 0)
		become_hook(path, event, environment, keeper, output[1], trouble[1]);
	if (child < 0)
		return -errno;
	close(output[1]);
	close(trouble[1]);
	if (read(trouble[0], error, sizeof(*error)) != sizeof(*error))
		*error = 0;
	close(trouble[0]);
	*out = output[0];
	return child;
}

/* Those that its own children have left behind are ours now: PR_SET_CHILD_SUBREAPER. */
static void kill_all(pid_t hook, bool running)
{
	char path[64], text[CHILDREN_BYTES], *last;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	for (unsigned round = 0; round < KILL_ROUNDS; round++) {
		pid_t gone;

		if (running)
			kill(-hook, SIGKILL);
		/* a number ends with a space; what a list that is too long ends in is another's */
		if (file_read(path, text, sizeof(text)) > 0 && (last = strrchr(text, ' ')) != NULL) {
			*last = '\0';
			for (char *save, *word = strtok_r(text, " ", &save); word != NULL;
			     word = strtok_r(NULL, " ", &save))
				kill((pid_t)strtol(word, NULL, 10), SIGKILL);
		}
		while ((gone = waitpid(-1, NULL, WNOHANG)) > 0)
			running = running && gone != hook;
		if (gone < 0)
			return;
		poll(NULL, 0, KILL_ROUND_MS);
	}
}

struct end {
	bool seen;		/* of the hook itself */
	int status;		/* as waitpid(2) has it */
	double at_ms;
};

/* False when nothing that the hook has started is left, nor the hook. */
static bool reap(pid_t hook, struct end *end)
{
	int status;
	pid_t gone;

	while ((gone = waitpid(-1, &status, WNOHANG)) > 0)
		if (gone == hook)
			*end = (struct end){ true, status, clock_ms() };
	return gone == 0;
}

static const char *remedy(int error)
{
	return error == EACCES ? ": chmod +x, and in a unit of systemd ExecPaths=" :
	       error == ENOENT ? ", or the program that its first line names" :
	       error == ENOEXEC ? ": its first line must be #! and a program" : "";
}

static void report(const char *label, const char *path, const struct end *end, bool killed,
		   double begun_ms, int limit_ms)
{
	double took_ms = (end->seen ? end->at_ms : clock_ms()) - begun_ms;
	struct line line = { 0 };

	line_add(&line, "%s: %s ", label, path);
	if (!end->seen)
		line_add(&line, "was killed: it took longer than %g s", limit_ms / 1e3);
	else if (WIFSIGNALED(end->status))
		line_add(&line, "failed: signal %d after %.0f ms", WTERMSIG(end->status), took_ms);
	else if (WEXITSTATUS(end->status) != 0)
		line_add(&line, "failed: exit status %d after %.0f ms", WEXITSTATUS(end->status),
			 took_ms);
	else
		line_add(&line, "ended well after %.0f ms", took_ms);
	if (end->seen && killed)
		line_add(&line, "; what it had left running was killed after %g s", limit_ms / 1e3);
	log_send(!killed && end->status == 0 ? LOG_NOTICE : LOG_WARNING, line.text);
}

/* Until the hook and all that it has started are gone; true when they had to be killed. */
static bool watch(pid_t hook, struct output *output, int children, double end_ms, struct end *end)
{
	while (reap(hook, end)) {
		struct pollfd polls[] = { { .fd = children, .events = POLLIN },
					  { .fd = output->fd, .events = POLLIN } };
		struct signalfd_siginfo ignored;

		if (clock_ms() >= end_ms) {
			kill_all(hook, !end->seen);
			return true;
		}
		if (poll(polls, 2, clock_left(end_ms)) <= 0)
			continue;
		if (polls[1].revents != 0)
			hear(output);
		if (polls[0].revents != 0 && read(children, &ignored, sizeof(ignored)) < 0)
			poll(NULL, 0, KILL_ROUND_MS);
	}
	return false;
}

/*
 * Looked at as late as can be: whoever could put another program in its place would have it run
 * as this user.  One that is not there now is nobody's, and might be anybody's when it is.
 */
static int look_at_hook(const char *path, struct why *why)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return why_set(why, -errno, "%s: put it there, with chmod +x", strerror(errno));
	return trust_program(path, &st, why);
}

void hook_keep(const char *master, const char *event, const char *path,
	       char *const environment[], int limit_ms)
{
	double begun_ms = clock_ms();
	struct output output = { .fd = -1 };
	struct end end = { 0 };
	struct line label = { 0 }, line = { 0 };
	struct why why;
	sigset_t child;
	int children, error = 0, err;
	pid_t hook;
	bool killed;

	line_add(&label, "%s: %s", master, event);
	output.label = label.text;
	if (look_at_hook(path, &why) < 0) {
		line_add(&line, "%s: %s is not run: %s", label.text, path, why.text);
		log_send(LOG_WARNING, line.text);
		return;
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	err = children < 0 ? -errno : lose_capabilities();
	hook = err < 0 ? err : start(path, event, environment, &output.fd, &error);
	if (hook < 0 || error != 0) {
		line_add(&line, "%s: %s cannot be executed: %s%s", label.text, path,
			 strerror(error != 0 ? error : (int)-hook), remedy(error));
		log_send(LOG_WARNING, line.text);
		return;
	}
	killed = watch(hook, &output, children, begun_ms + limit_ms, &end);
	hear_the_rest(&output);
	report(label.text, path, &end, killed, begun_ms, limit_ms);
}

/* Nothing of the caller's stays open, no terminal, no directory held. */
static void detach(void)
{
	int null;

	setsid();
	if (chdir("/") < 0)
		_exit(1);	/* cannot fail; and nothing is lost but the hook */
	prctl(PR_SET_NAME, "vip-hook");
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			_exit(1);
	closefrom(3);
}

int hook_detach(const struct master *master, const struct plan *plan, const struct truth *truth,
		const char *reason)
{
	const char *path = plan->decision == PLAN_CLAIM ? master->after_claim : master->after_release;
	char *environment[VARIABLES + 1];
	pid_t child;

	if (path == NULL || !moved(plan))
		return 0;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0)
		return 0;
	detach();
	if (describe(master, plan, truth, reason, environment))
		hook_keep(master->name, event_of(plan), path, environment, HOOK_MS);
	_exit(0);
}
