/* SPDX-License-Identifier: MIT */
/*
 * `check`: what Sentinel's own process sees and may do, where that is another thing than what the
 * person sees who types it: another environment, other mounts, another user.
 */
#include "faces.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>

#define CONFIG "interface = eth0\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n"

static const char *const as_it_was[] = {NULL};

/* A line in Sentinel's mount namespace, which it has had since it was started with `own_mounts`. */
#define in_sentinel(...) lab_must(faces_host(B), "nsenter -m -t %d " __VA_ARGS__)
static const char *const own_mounts[] = {"unshare", "-m", NULL};

/* The program from a place of its own, so that its file can be changed. */
#define COPY "/run/copy/sentinel-vip"

static void make_copy(void)
{
	lab_must(faces_host(B), "mkdir -p /run/copy && mount -t tmpfs none /run/copy && cp %s " COPY,
		 lab_program());
}

static void check_by_copy(void)
{
	lab_sh(faces_host(B), &r, COPY " check");
}

/* As it is in containers that run it as a user: with these words for setpriv(1) besides. */
static void start_as_nobody(const char *groups, const char *more)
{
	lab_must(faces_host(B), "chown -R 65534:65534 /run/sentinel");
	faces_restart_sentinel(B, (const char *const[]){"setpriv", "--reuid", "65534", "--regid", "65534",
							"--groups", groups, more, NULL});
}

static int put_back(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, B);
	lab_must(faces_host(B), "chown -R 0:0 /run/sentinel; sed -i /set-proc-title/d /run/sentinel/sentinel.conf; "
				"rm -rf /run/sentinel-vip; umount /run/copy 2>/dev/null || :");
	faces_restart_sentinel(B, as_it_was);
	return 0;
}

/* Redis writes its title over its environment, but where it is told not to. */
static void calls_that_read_another_configuration(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, B);
	lab_must(faces_host(B), "echo 'set-proc-title no' >>/run/sentinel/sentinel.conf");
	faces_restart_sentinel(B, as_it_was);
	on(B, "check");
	expect_count(0, 0);
	expect_not("cannot be seen");
	faces_restart_sentinel(B, (const char *const[]){"env", "SENTINEL_VIP_CONFIG=/run/other.conf", NULL});
	on(B, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration",
		       "Sentinel's calls read /run/other.conf, not /run/sentinel-vip.conf");
	faces_restart_sentinel(B, (const char *const[]){"env", "-u", "SENTINEL_VIP_CONFIG", NULL});
	on(B, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration",
		       "Sentinel's calls read /etc/sentinel-vip.conf, not /run/sentinel-vip.conf");
	assert_non_null(strstr(faces_remedy(), "set SENTINEL_VIP_CONFIG in Sentinel's environment"));
}

/* A container has what was put into it. */
static void what_sentinel_does_not_see(void **state)
{
	char program[256];

	(void)state;
	snprintf(program, sizeof program, "%s", lab_program());
	lab_file(faces_host(B), "secret/auth", 0600, 0, "user = default\npassword = any\n");
	lab_config(faces_host(B), "sentinel-auth = /run/secret/auth\n" CONFIG);
	faces_restart_sentinel(B, own_mounts);
	on(B, "check");
	expect_count(0, 0);
	in_sentinel("mount -t tmpfs none /run/secret", (int)c->node[B].sentinel);
	on(B, "check");
	expect_count(1, 0);
	expect_finding("error", "password", "Sentinel does not see /run/secret/auth: No such file");
	assert_string_equal(faces_remedy(), "put it into Sentinel's container, too");
	/* hidden from who looks, it may be there all the same */
	in_sentinel("sh -c 'touch /run/secret/auth; chown 65534 /run/secret; chmod 700 /run/secret'",
		    (int)c->node[B].sentinel);
	lab_sh(faces_host(B), &r, "setpriv --bounding-set -dac_override,-dac_read_search %s check", program);
	expect_count(0, 0);
	expect_not("/run/secret/auth");
	in_sentinel("mount -t tmpfs none %s", (int)c->node[B].sentinel, dirname(program));
	on(B, "check");
	expect_count(1, 0);
	expect_finding("error", "script", "No such file or directory");
}

#define FORBID "sh -c 'mount --bind %s %s && mount -o remount,bind,noexec %s'"

/* A sandbox that lets nothing be executed but what it names has mounts of its own for that. */
static void what_sentinel_may_not_execute(void **state)
{
	char program[256], line[1024], *place;

	(void)state;
	snprintf(program, sizeof program, "%s", lab_program());
	place = dirname(program);
	lab_file(faces_host(B), "hooks/hook", 0755, 0, "#!/bin/sh\n");
	lab_config(faces_host(B), "after-claim = /run/hooks/hook\n" CONFIG);
	faces_restart_sentinel(B, own_mounts);
	on(B, "check");
	expect_count(0, 0);
	snprintf(line, sizeof line, FORBID, "/run/hooks", "/run/hooks", "/run/hooks");
	in_sentinel("%s", (int)c->node[B].sentinel, line);
	on(B, "check");
	expect_count(0, 1);
	expect_finding("warning", "hook",
		       "may not execute after-claim = /run/hooks/hook: it lies on a noexec mount there");
	assert_non_null(strstr(faces_remedy(), "ExecPaths=/run/hooks/hook"));
	snprintf(line, sizeof line, FORBID, place, place, place);
	in_sentinel("%s", (int)c->node[B].sentinel, line);
	on(B, "check");
	expect_count(1, 1);
	expect_finding("error", "executable", "it lies on a noexec mount there");
	assert_non_null(strstr(faces_remedy(), "mount that with exec"));
}

/* What Sentinel's user may do, by the groups it was given as well. */
static void what_its_user_may_not(void **state)
{
	(void)state;
	make_copy();
	lab_must(faces_host(B), "chmod 700 " COPY "; mkdir -p -m 700 /run/sentinel-vip");
	lab_must(faces_host(B), "chown 0:4242 /run/sentinel-vip.conf && chmod 640 /run/sentinel-vip.conf");
	start_as_nobody("4241,4242", "--no-new-privs");
	check_by_copy();
	expect_finding("error", "capabilities", "its user, nobody, starts this program without");
	assert_string_equal(faces_remedy(),
			    "start Sentinel without no_new_privs, or with both as ambient capabilities");
	expect_finding("error", "executable", "Sentinel's user, nobody, may not execute " COPY);
	lab_must(faces_host(B), "%s", faces_remedy());
	expect_finding("ok", "configuration", "its user, nobody, can read /run/sentinel-vip.conf");
	expect_finding("warning", "lock", "it belongs to another user");
	lab_must(faces_host(B), "chgrp 4243 /run/sentinel-vip.conf");
	check_by_copy();
	expect_finding("error", "configuration", "Sentinel's user, nobody, cannot read /run/sentinel-vip.conf");
	assert_string_equal(faces_remedy(), "chgrp 65534 /run/sentinel-vip.conf");
	lab_must(faces_host(B), "%s", faces_remedy());
	check_by_copy();
	expect_not("cannot read");
	expect_not("may not execute");
}

/* The capabilities of the file: what check tells to type makes it well. */
static void the_file_gives_capabilities(void **state)
{
	(void)state;
	make_copy();
	lab_must(faces_host(B), "chmod 755 " COPY "; chgrp 65534 /run/sentinel-vip.conf; "
				"chmod 640 /run/sentinel-vip.conf");
	start_as_nobody("65534", "--");
	check_by_copy();
	expect_finding("error", "capabilities", "its user, nobody, starts this program without");
	lab_must(faces_host(B), "%s", faces_remedy());
	check_by_copy();
	expect_finding("ok", "capabilities", "its user, nobody, starts this program with CAP_NET_ADMIN and");
	expect_not("may not execute");
	/* such a program looks at no variable of who starts it: ld.so(8), secure execution */
	expect_finding("error", "configuration", "Sentinel's calls read /etc/sentinel-vip.conf, not");
}

int faces_process_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, faces_settle, put_back)
	const struct CMUnitTest tests[] = {
		test(calls_that_read_another_configuration),
		test(what_sentinel_does_not_see),
		test(what_sentinel_may_not_execute),
		test(what_its_user_may_not),
		test(the_file_gives_capabilities),
	};

	return cmocka_run_group_tests_name("check: Sentinel's process", tests, NULL, NULL);
}
