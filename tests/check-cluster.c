/* SPDX-License-Identifier: MIT */
/*
 * The program under test ($SENTINEL_VIP) called by real Sentinels and asking them. Each group of
 * tests has a laboratory of its own, and some run at once since they mostly wait; what a group
 * printed is shown whole when it has ended. One argument chooses tests by name, `*` and `?`
 * allowed.
 */
#include "cluster-test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * More would compete for the processors, and Sentinel's own times are those of the field. So would several
 * where each takes many times as long.
 */
#define AT_ONCE (lab_slow() < 5 ? 5 : 1)

struct group {
	int (*tests)(void);
	pid_t pid;
	int output;
	int status; /* -1 until it has ended */
};

/* The longest first. */
static struct group groups[] = {
	{.tests = cluster_storm_tests},    {.tests = cluster_sync_tests},
	{.tests = cluster_cut_tests},      {.tests = cluster_replay_tests},
	{.tests = cluster_failover_tests}, {.tests = cluster_overlap_tests},
	{.tests = cluster_ipv6_tests},     {.tests = cluster_council_tests},
	{.tests = cluster_names_tests},    {.tests = cluster_auth_tests},
	{.tests = cluster_window_tests},   {.tests = cluster_clients_tests},
};

#define GROUPS (sizeof groups / sizeof *groups)

static const struct group *mine; /* in a group's own process */

static void failed(const char *message)
{
	fail_msg("%s", message);
}

static int run(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	lab_on_failure = failed;
	return mine->tests() ? 1 : 0;
}

static void start(struct group *g, int argc, char **argv)
{
	g->status = -1;
	g->output = memfd_create("output", MFD_CLOEXEC);
	fflush(NULL);
	if (g->output < 0 || (g->pid = fork()) < 0)
		lab_fail("a group of tests: %m");
	if (g->pid > 0)
		return;
	/* the laboratory ends with this process, and this process with the one that started it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(g->output, STDOUT_FILENO) < 0 ||
	    dup2(g->output, STDERR_FILENO) < 0)
		_exit(1);
	mine = g;
	exit(lab_main(argc, argv, run));
}

static void wait_for_one(size_t started)
{
	int status;
	pid_t pid;

	while ((pid = wait(&status)) < 0)
		if (errno != EINTR)
			lab_fail("wait: %m");
	for (size_t i = 0; i < started; i++)
		if (groups[i].pid == pid)
			groups[i].status =
				WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A group that had none of the chosen tests and nothing to complain of is not mentioned. */
static void show(const struct group *g, bool chosen)
{
	off_t size = lseek(g->output, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	if (!text || pread(g->output, text, (size_t)size, 0) != size)
		lab_fail("output of a group of tests: %m");
	if (!chosen || g->status || strstr(text, "[ RUN"))
		fputs(text, stdout);
	if (g->status > 1)
		printf("[  FAILED  ] the group ended with status %d\n", g->status);
	fflush(stdout);
	free(text);
	close(g->output);
}

int main(int argc, char **argv)
{
	const int64_t begun = lab_now_ns();
	size_t started = 0, ended = 0, shown = 0;
	bool bad = false;

	if (geteuid() != 0)
		lab_fail("needs root, to make network namespaces: sudo %s", argv[0]);
	while (shown < GROUPS) {
		for (; started < GROUPS && started < ended + AT_ONCE; started++)
			start(&groups[started], argc, argv);
		wait_for_one(started);
		ended++;
		for (; shown < started && groups[shown].status >= 0; shown++) {
			show(&groups[shown], argc > 1);
			bad = bad || groups[shown].status;
		}
	}
	printf("%zu groups in %d s\n", GROUPS, (int)((lab_now_ns() - begun) / 1000000000));
	return bad ? 1 : 0;
}
