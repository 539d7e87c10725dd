/* SPDX-License-Identifier: MIT */
/*
 * `check` where systemd runs: what it says of Sentinel's unit and of this program's own.  A booted
 * Debian is what tests/check-package looks at; here systemctl(1) is a script that shows what a test
 * wants, for the states that a Debian would have to be brought into one by one.  The Sentinel, the
 * relay and the files are real.
 */
#include "netns-relay.h"

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char systemctl[] = "#!/bin/sh\n"
				"case $* in\n"
				"*sentinel-vip.socket*) cat /run/units/own;;\n"
				"*) cat /run/units/sentinel;;\n"
				"esac\n";

/* As systemctl(1) of Debian 12 shows them: empty where there is nothing. */
static const char own[] = "Id=sentinel-vip.socket\n"
			  "LoadState=loaded\n"
			  "ActiveState=active\n"
			  "UnitFileState=enabled\n"
			  "\n"
			  "Id=sentinel-vip-sync.timer\n"
			  "LoadState=loaded\n"
			  "ActiveState=active\n"
			  "UnitFileState=enabled\n"
			  "\n"
			  "Group=askers\n"
			  "IPAddressAllow=127.0.0.0/8 ::1/128\n"
			  "IPAddressDeny=::/0 0.0.0.0/0\n"
			  "Id=sentinel-vip@check.service\n"
			  "LoadState=loaded\n"
			  "ActiveState=inactive\n"
			  "UnitFileState=static\n"
			  "\n"
			  "IPAddressAllow=10.0.0.0/8\n"
			  "IPAddressDeny=\n"
			  "Id=sentinel-vip.slice\n"
			  "LoadState=loaded\n"
			  "ActiveState=inactive\n"
			  "UnitFileState=static\n";

static const char sandbox[] = "CapabilityBoundingSet=\n"
			      "AmbientCapabilities=\n"
			      "User=redis\n"
			      "ExecPaths=\n"
			      "NoExecPaths=\n"
			      "PrivateNetwork=no\n"
			      "PrivateUsers=yes\n"
			      "NoNewPrivileges=yes\n"
			      "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
			      "Id=redis-sentinel.service\n"
			      "LoadState=loaded\n";

static int begin(void **state)
{
	relay_setup(state);
	lab_file(us, "stand-in/systemctl", 0755, 0, "%s", systemctl);
	lab_file(us, "units/own", 0644, 0, "%s", own);
	lab_file(us, "units/sentinel", 0644, 0, "%s", sandbox);
	lab_must(us, "mkdir -p /run/systemd/system && echo askers:x:65501: >>/etc/group && "
		     "chown 0:65501 /etc/sentinel-vip.conf && chmod 640 /etc/sentinel-vip.conf && "
		     "if test -e /usr/bin/systemctl; then mount --bind /run/stand-in/systemctl /usr/bin/systemctl; "
		     "else mount -t overlay none -o lowerdir=/run/stand-in:/usr/bin /usr/bin; fi");
	return 0;
}

/* What is shown of a unit is edited by sed(1), from what it was at first. */
static void edit(const char *file, const char *script)
{
	lab_file(us, "first", 0644, 0, "%s", strcmp(file, "own") == 0 ? own : sandbox);
	lab_must(us, "sed -E '%s' /run/first >/run/units/%s", script, file);
}

/* A Sentinel in nobody's service, or in this unit's, and what check says; started by env(1) with `how`. */
static void check_with(const char *how, const char *unit, const char *const before[])
{
	const char *argv[24] = {NULL};
	pid_t sentinel;
	int n = 0;

	lab_file(us, "sentinel.conf", 0666, SENTINEL_ID, "port 26379\ndir /\nsentinel monitor mymaster " OUR4
		 " 6379 1\n");
	for (; before[n] != NULL; n++)
		argv[n] = before[n];
	argv[n++] = "redis-sentinel";
	argv[n] = "/run/sentinel.conf";
	sentinel = lab_spawn(us, "sentinel.log", argv);
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "redis-cli -p 26379 ping") == 0, 5000));
	lab_file(us, "cgroup", 0644, 0, "0::/system.slice/%s\n", unit);
	lab_must(us, "mount --bind /run/cgroup /proc/%d/cgroup", (int)sentinel);
	lab_sh(us, &r, "env %s %s check", how, lab_program());
	kill(sentinel, SIGKILL);
	lab_wait(sentinel, -1);
}

#define check(unit, before) check_with("-u SENTINEL_VIP_CONFIG", unit, before)

#define NO_UNIT "session-1.scope"

static const char *const confined[] = {"setpriv", "--reuid", "65501", "--regid", "65501", "--clear-groups",
				       "--bounding-set", "-all", "--inh-caps", "-all", NULL};
static const char *const free_of_all[] = {NULL};

static void all_units_are_well(void **state)
{
	(void)state;
	check(NO_UNIT, confined);
	expect_said("  ok       timer         sync corrects every 5 s what is wrong\n");
	expect_said("  ok       sandbox       redis-sentinel.service lets this program ask the relay\n");
	expect_said("  ok       configuration the relay, in group askers, can read /etc/sentinel-vip.conf\n");
	expect_said("  ok       relay         Sentinel keeps its sandbox, and hands its calls to "
		    "sentinel-vip.socket\n");
}

static void the_timer_does_not_run(void **state)
{
	(void)state;
	edit("own", "/sync.timer/,/^$/ s/enabled/disabled/");
	check(NO_UNIT, confined);
	expect_said("  warning  timer         sentinel-vip-sync.timer is not enabled: at boot, or when somebody");
	expect_said("remedy:       systemctl enable --now sentinel-vip-sync.timer\n");
	edit("own", "/sync.timer/,/^$/ s/=active/=inactive/");
	check(NO_UNIT, confined);
	expect_said("  warning  timer         sentinel-vip-sync.timer is not started: ");
	edit("own", "/sync.timer/,/^$/ s/=loaded/=not-found/");
	check(NO_UNIT, confined);
	assert_null(strstr(r.out, "timer"));
}

static void the_socket_goes_with_the_next_boot(void **state)
{
	(void)state;
	edit("own", "/vip.socket/,/^$/ s/enabled/disabled/");
	check(NO_UNIT, confined);
	expect_said("  warning  relay         sentinel-vip.socket is not enabled: after the next boot it is not");
	expect_said("remedy:       systemctl enable sentinel-vip.socket\n");
	expect_said("  ok       relay         Sentinel keeps its sandbox"); /* till then */
}

static void the_socket_is_not_there(void **state)
{
	(void)state;
	relay_stop();
	check(NO_UNIT, confined);
	/* nobody knows of a service that it is in: then its unit has to let it do all itself */
	expect_said("  error    sandbox       redis-sentinel.service: RestrictAddressFamilies= forbids AF_NETLINK\n");
	check("redis-sentinel.service", confined);
	expect_said("  error    relay         Sentinel's sandbox lets this program change nothing, and the relay is "
		    "not there: /run/sentinel-vip.socket: No such file or directory\n");
	expect_said("remedy:       systemctl enable --now sentinel-vip.socket\n");
	assert_null(strstr(r.out, "AF_NETLINK"));
}

/* The relay is nobody but the member of one group, by which it reads. */
static void the_relay_cannot_read(void **state)
{
	(void)state;
	relay_config(CONFIG_BOTH);
	lab_must(us, "printf 'password = x\n' >/etc/auth; chmod 600 /etc/auth; echo 'sentinel-auth = /etc/auth' "
		     "| cat - /etc/sentinel-vip.conf >/run/c; cat /run/c >/etc/sentinel-vip.conf; "
		     "chown 0:0 /etc/sentinel-vip.conf; chmod 640 /etc/sentinel-vip.conf");
	check(NO_UNIT, confined);
	expect_said("  error    configuration the relay, in group askers, cannot read /etc/sentinel-vip.conf\n");
	expect_said("remedy:       chgrp askers /etc/sentinel-vip.conf; chmod g+r /etc/sentinel-vip.conf\n");
	expect_said("  error    password      the relay, in group askers, cannot read /etc/auth\n");
	lab_must(us, "chgrp askers /etc/sentinel-vip.conf /etc/auth; chmod g+r /etc/sentinel-vip.conf /etc/auth");
	check(NO_UNIT, confined);
	expect_said("  ok       password      the relay, in group askers, can read /etc/auth\n");
	assert_null(strstr(r.out, "cannot read"));
	/* one that everybody may read needs no group */
	lab_must(us, "chgrp 0 /etc/sentinel-vip.conf; chmod 644 /etc/sentinel-vip.conf");
	check(NO_UNIT, confined);
	assert_null(strstr(r.out, "cannot read"));
}

/* What systemd's filter drops is lost without a word. */
static void the_relay_may_not_speak_to_sentinel(void **state)
{
	(void)state;
	relay_config("sentinel = " OUR4 ":26379\n" CONFIG_BOTH);
	lab_must(us, "chown 0:65501 /etc/sentinel-vip.conf; chmod 640 /etc/sentinel-vip.conf");
	check(NO_UNIT, confined);
	assert_null(strstr(r.out, "may not speak"));
	edit("own", "s|^IPAddressAllow=10.*|IPAddressAllow=192.168.0.0/16|");
	check(NO_UNIT, confined);
	expect_said("  error    relay         it may not speak to " OUR4 ", so that it cannot ask this Sentinel\n");
	expect_said("remedy:       systemctl edit sentinel-vip.slice: [Slice] IPAddressAllow=" OUR4 "\n");
}

static void the_relay_reads_another_configuration(void **state)
{
	(void)state;
	lab_must(us, "cp -p /etc/sentinel-vip.conf /run/other.conf");
	check_with("SENTINEL_VIP_CONFIG=/run/other.conf", NO_UNIT, confined);
	expect_said("  error    configuration the relay reads /etc/sentinel-vip.conf, not /run/other.conf\n");
	expect_said("remedy:       move it there\n");
}

static void who_may_not_ask_the_relay(void **state)
{
	(void)state;
	lab_must(us, "chmod 644 /etc/sentinel-vip.conf");
	check_with("-u SENTINEL_VIP_CONFIG setpriv --reuid 65534 --regid 65534 --clear-groups", NO_UNIT, confined);
	expect_said("  warning  relay         you may not ask it, so it was not tried\n");
}

static void systemctl_says_little(void **state)
{
	(void)state;
	lab_file(us, "units/sentinel", 0644, 0, "\n");
	check(NO_UNIT, free_of_all);
	expect_said("  ok       sandbox       no unit of a Sentinel is loaded here\n");
	lab_file(us, "units/sentinel", 0644, 0, "%s", "");
	check(NO_UNIT, free_of_all);
	expect_said("  warning  sandbox       systemctl did not say what sandbox Sentinel is in\n");
	expect_said(" redis-sentinel\n");
	check("my-sentinel.service", free_of_all);
	expect_said(" my-sentinel.service\n");
	lab_must(us, "mount --bind /dev/null /usr/bin/systemctl");	/* nobody may execute that */
	check("my-sentinel.service", free_of_all);
	expect_said("  warning  sandbox       systemctl did not say what sandbox Sentinel is in\n");
}

/* What is missing is to be written into the unit that Sentinel is in. */
static void remedies_name_the_unit(void **state)
{
	char program[256];

	(void)state;
	relay_stop();
	lab_must(us, "rmdir /run/systemd/system; chmod 755 /run/sentinel-vip; chmod 777 /run/sentinel-vip");
	check("my-sentinel.service", confined);
	expect_said("  error    capabilities  its user, uid 65501, starts this program without");
	expect_said("remedy:       systemctl edit my-sentinel.service: [Service] AmbientCapabilities=CAP_NET_ADMIN "
		    "CAP_NET_RAW; then restart it\n");
	expect_said("  warning  lock          /run/sentinel-vip cannot be used: others can write to it");
	expect_said("remedy:       rm -r /run/sentinel-vip; systemctl edit my-sentinel.service: [Service] "
		    "RuntimeDirectory=sentinel-vip RuntimeDirectoryPreserve=yes; then restart it\n");
	snprintf(program, sizeof program, "%s", lab_program());
	check("my-sentinel.service",
	      ((const char *const[]){"unshare", "-m", "sh", "-c", "mount --bind \"$0\" \"$0\" && mount -o "
				     "remount,bind,noexec \"$0\" && exec \"$@\"", dirname(program), NULL}));
	expect_said("remedy:       systemctl edit my-sentinel.service: [Service] ExecPaths=");
}

int netns_units_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, begin, relay_teardown)
	const struct CMUnitTest tests[] = {
		test(all_units_are_well),
		test(the_timer_does_not_run),
		test(the_socket_goes_with_the_next_boot),
		test(the_socket_is_not_there),
		test(the_relay_cannot_read),
		test(the_relay_may_not_speak_to_sentinel),
		test(the_relay_reads_another_configuration),
		test(who_may_not_ask_the_relay),
		test(systemctl_says_little),
		test(remedies_name_the_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
