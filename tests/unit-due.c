/* SPDX-License-Identifier: MIT */
/*
 * The announcer's schedule (unit_due_tests, pure), and its start (unit_detach_tests,
 * in the host): that it begins, that it does not, and how it stands in the world.
 */
#include "unit.h"

#include "lab.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct schedule usual = { 4, { 200, 1100, 2200, 5000 } };

static void ipv4_follows_the_schedule(void **state)
{
	struct schedule full = { .count = SCHEDULE_MAX };
	struct schedule none = { 0 };

	(void)state;
	assert_int_equal(announce_due(&usual, AF_INET, 0), 200);
	assert_int_equal(announce_due(&usual, AF_INET, 1), 1100);
	assert_int_equal(announce_due(&usual, AF_INET, 2), 2200);
	assert_int_equal(announce_due(&usual, AF_INET, 3), 5000);
	assert_int_equal(announce_due(&usual, AF_INET, 4), -1);
	assert_int_equal(announce_due(&usual, AF_INET, UINT32_MAX), -1);
	assert_int_equal(announce_due(&none, AF_INET, 0), -1);
	for (unsigned i = 0; i < SCHEDULE_MAX; i++)
		full.at_ms[i] = i + 1;
	assert_int_equal(announce_due(&full, AF_INET, SCHEDULE_MAX - 1), SCHEDULE_MAX);
	assert_int_equal(announce_due(&full, AF_INET, SCHEDULE_MAX), -1);
}

/* RFC 4861 section 7.2.6: three in all at most, each RetransTimer (1 s) after the one before. */
static void ipv6_is_rarer(void **state)
{
	static const struct {
		struct schedule schedule;
		int due[3];
	} cases[] = {
		{ { 4, { 200, 1100, 2200, 5000 } }, { 1100, 2200, -1 } },
		{ { 4, { 1000, 2000, 3000, 4000 } }, { 1000, 2000, -1 } },
		{ { 3, { 999, 1000, 1999 } }, { 1000, -1, -1 } },
		{ { 3, { 1500, 2499, 2500 } }, { 1500, 2500, -1 } },
		{ { 5, { 100, 200, 300, 400, 500 } }, { -1, -1, -1 } },
		{ { 2, { 500, 60000 } }, { 60000, -1, -1 } },
		{ { 1, { 5000 } }, { 5000, -1, -1 } },
		{ { 0, { 0 } }, { -1, -1, -1 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(announce_due(&cases[i].schedule, AF_INET6, n),
					 cases[i].due[n]);
}

/* Its start ---------------------------------------------------------------------- */

struct scene {
	struct vip vip;
	struct master master;
	struct link link;
	struct step step;
	struct plan plan;
};

static void make_scene(struct scene *s, const char *vip)
{
	*s = (struct scene){
		.vip = { .ip = unit_ip(vip), .prefixlen = 32 },
		.master = { .name = "detached",
			    .announce = usual,
			    .vips = &s->vip,
			    .vip_count = 1 },
		.link = { .ifindex = if_nametoindex("eth0"),
			  .name = "eth0",
			  .type = ARPHRD_ETHER,
			  .flags = IFF_UP | IFF_LOWER_UP },
		.step = { .kind = STEP_ANNOUNCE, .vip = &s->vip, .link = &s->link, .done = true },
		.plan = { .decision = PLAN_CLAIM, .steps = &s->step, .step_count = 1 },
	};
}

static void a_failed_fork_is_said(void **state)
{
	struct scene s;
	long live = fault_live();

	(void)state;
	make_scene(&s, "10.0.0.250");
	fault_set(FAULT_FORK, 0, 1, EAGAIN);
	assert_int_equal(announce_detach(-1, &s.master, &s.plan, 0), -EAGAIN);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(announce_detach(-1, &s.master, &s.plan, 0), -ENOMEM);
	assert_int_equal(fault_live(), live);
}

/* What sync announces again: without memory it is left out, and what was there stays. */
static void a_standing_that_is_not_kept(void **state)
{
	struct standings standings = { 0 };
	long live = fault_live();
	struct scene s;

	(void)state;
	make_scene(&s, "10.0.0.250");
	s.plan.decision = PLAN_CLAIM;
	s.master.refresh = true;
	assert_int_equal(refresh_add(&standings, &s.master, &s.plan), 0);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(refresh_add(&standings, &s.master, &s.plan), -ENOMEM);
	assert_int_equal(standings.count, 1);
	assert_int_equal(refresh_add(&standings, &s.master, &s.plan), 0);
	assert_int_equal(standings.count, 2);
	refresh_free(&standings);
	assert_int_equal(fault_live(), live);
}

static void nothing_to_repeat_is_no_child(void **state)
{
	struct scene s;

	(void)state;
	fault_set(FAULT_FORK, 0, 99, EAGAIN);		/* it would be heard of */
	make_scene(&s, "10.0.0.250");
	s.master.announce.count = 0;
	assert_int_equal(announce_detach(-1, &s.master, &s.plan, 0), 0);
	make_scene(&s, "10.0.0.250");
	s.step.kind = STEP_ADD;
	assert_int_equal(announce_detach(-1, &s.master, &s.plan, 0), 0);
	make_scene(&s, "10.0.0.250");
	s.plan.step_count = 0;
	assert_int_equal(announce_detach(-1, &s.master, &s.plan, 0), 0);
	assert_int_equal(fault_calls(FAULT_FORK), 0);
}

/* Our only child, once it has said so by its name; 0 when there is none. */
static pid_t announcer(void)
{
	DIR *d = opendir("/proc");
	pid_t found = 0;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		char path[300], name[32];
		int pid, parent;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = atoi(e->d_name) > 0 ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		/* others may be at work on this machine */
		if (fscanf(f, "%d (%31[^)]) %*c %d", &pid, name, &parent) == 3 && parent == getpid() &&
		    strcmp(name, "vip-announce") == 0)
			found = pid;
		fclose(f);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static void link_of(pid_t pid, const char *what, char out[256])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	n = readlink(path, out, 255);
	out[n < 0 ? 0 : n] = '\0';
}

static void the_child_holds_nothing_of_the_caller(void **state)
{
	struct scene s;
	char path[64], text[256];
	int packet, leaked, pipes[2], status;
	pid_t child;

	(void)state;
	make_scene(&s, "10.0.0.250");
	lab_must(NULL, "ip addr add 10.0.0.250/32 dev eth0");
	assert_int_equal(chdir("/run"), 0);
	assert_int_equal(pipe(pipes), 0); /* not close-on-exec, as old Sentinels leak */
	leaked = dup2(pipes[1], 100);
	close(pipes[1]);
	assert_int_equal(arp_open(&packet), 0);
	assert_int_equal(announce_detach(packet, &s.master, &s.plan, 0), 0);
	close(packet);
	close(leaked);
	assert_true(LAB_UNTIL(announcer() != 0, 2000));
	child = announcer();
	/* the end of the pipe is seen although the child lives: it closed its copy */
	assert_int_equal(read(pipes[0], text, 1), 0);
	close(pipes[0]);
	assert_int_equal(getsid(child), child);
	link_of(child, "cwd", text);
	assert_string_equal(text, "/");
	for (int fd = 0; fd <= 2; fd++) {
		snprintf(path, sizeof(path), "fd/%d", fd);
		link_of(child, path, text);
		assert_string_equal(text, "/dev/null");
	}
	link_of(child, "fd/3", text);
	expect_text(text, "socket:");
	/* and it ends when the address leaves, long before its schedule does */
	lab_must(NULL, "ip addr del 10.0.0.250/32 dev eth0");
	assert_int_equal(LAB_UNTIL(waitpid(child, &status, WNOHANG) == child, 1000), true);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(chdir("/"), 0);
}

/* Without the socket that tells it of changes it would speak blindly: it ends. */
static void a_child_that_cannot_look_ends(void **state)
{
	struct scene s;
	int status;

	(void)state;
	make_scene(&s, "10.0.0.251");
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	assert_int_equal(announce_detach(0, &s.master, &s.plan, 0), 0);
	assert_true(LAB_UNTIL(wait4(-1, &status, WNOHANG, NULL) > 0, 1000));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int unit_due_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_follows_the_schedule),
		cmocka_unit_test(ipv6_is_rarer),
	};

	return cmocka_run_group_tests_name("announce's schedule", tests, NULL, NULL);
}

int unit_detach_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_failed_fork_is_said, fault_clear),
		cmocka_unit_test_teardown(a_standing_that_is_not_kept, fault_clear),
		cmocka_unit_test_teardown(nothing_to_repeat_is_no_child, fault_clear),
		cmocka_unit_test(the_child_holds_nothing_of_the_caller),
		cmocka_unit_test_teardown(a_child_that_cannot_look_ends, fault_clear),
	};

	return cmocka_run_group_tests_name("announce", tests, NULL, NULL);
}
