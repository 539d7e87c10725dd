/* SPDX-License-Identifier: MIT */
/*
 * `check`: what the Sentinels know and do, who listens, and who answers; one thing wrong each time.
 */
#include "faces.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CLI "redis-cli -p 26379 "

static void sentinel_is_down(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, A);
	on(A, "check");
	expect_count(1, 1);
	expect_finding("error", "reachable", "Connection refused");
	expect_finding("warning", "capabilities", "no Sentinel process is seen here");
}

static void another_sentinel_is_down(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, C);
	on(A, "check");
	expect_count(0, 1);
	expect_finding("warning", "Sentinels", "172.16.2.15:26379: Connection refused");
}

static void no_majority(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, B);
	cluster_sentinel_kill(c, C);
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "Sentinels", "no majority of its Sentinels agrees on a master");
}

static void too_few_sentinels(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, B);
	cluster_sentinel_kill(c, C);
	/* with the quorum that it has it would be in doubt: fewer can fail over nothing */
	lab_must(faces_host(A), CLI "SENTINEL SET " CLUSTER_MASTER " quorum 1 && " CLI
				    "SENTINEL RESET " CLUSTER_MASTER);
	/* the replicas come back with the next INFO; it is 1 s after a reset */
	assert_true(LAB_UNTIL((on(A, "check"), strstr(r.out, "replicas      2")), 12000));
	expect_count(0, 1);
	expect_finding("warning", "Sentinels", "only 1 of them watches it");
	lab_must(faces_host(A), CLI "SENTINEL SET " CLUSTER_MASTER " quorum 2");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "Sentinels", "");
	assert_non_null(strstr(faces_remedy(), "compare sentinel monitor with the other Sentinels'"));
}

static void sentinel_does_not_know_the_master(void **state)
{
	(void)state;
	lab_config(faces_host(A), "interface = eth0\n[othermaster]\nvip = " VIP4 "\n");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "Sentinel", "it does not know othermaster");
}

static void sentinel_wants_a_password(void **state)
{
	(void)state;
	lab_must(faces_host(A), CLI "ACL SETUSER default resetpass '>secret'");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "reachable", "NOAUTH");
	lab_file(faces_host(A), "auth", 0600, 0, "password = secret\n");
	lab_config(faces_host(A), "interface = eth0\nsentinel-auth = /run/auth\n[" CLUSTER_MASTER
				  "]\nvip = " VIP4 "\n");
	on(A, "check");
	expect_finding("ok", "reachable", "");
	expect_finding("ok", "password", "/run/auth");
	lab_must(faces_host(A), CLI "-a secret ACL SETUSER default nopass");
}

static void sentinel_does_not_tell_all(void **state)
{
	(void)state;
	lab_must(faces_host(A), CLI "ACL SETUSER default '-sentinel|replicas'");
	on(A, "check");
	lab_must(faces_host(A), CLI "ACL SETUSER default '+sentinel|replicas'");
	expect_count(0, 1);
	expect_finding("warning", "replicas",
		       "SENTINEL REPLICAS " CLUSTER_MASTER " is not answered");
	lab_must(faces_host(A), CLI "ACL SETUSER default '-sentinel|master'");
	on(A, "check");
	lab_must(faces_host(A), CLI "ACL SETUSER default '+sentinel|master'");
	expect_finding("warning", "script",
		       "SENTINEL MASTER " CLUSTER_MASTER " is not answered, so its script is not known");
	assert_string_equal(faces_remedy(), "allow +sentinel|master to the user of sentinel-auth");
	/* the others say who the master is, and what depends on that is looked at */
	lab_must(faces_host(A), CLI "ACL SETUSER default '-sentinel|get-master-addr-by-name'");
	on(A, "check");
	lab_must(faces_host(A), CLI "ACL SETUSER default '+sentinel|get-master-addr-by-name'");
	expect_finding("error", "reachable", "it does not let this program ask: NOPERM");
	expect_finding("ok", "VIP", "this host is the master");
}

static void sentinel_is_elsewhere(void **state)
{
	(void)state;
	lab_config(faces_host(A), "interface = eth0\nsentinel = 172.16.2.2:26379\n[" CLUSTER_MASTER
				  "]\nvip = " VIP4 "\n");
	on(A, "check");
	expect_finding("warning", "place", "it is not on this host");
}

/* ---- the script ---- */

static void script(const char *path)
{
	lab_must(faces_host(A),
		 CLI "SENTINEL SET " CLUSTER_MASTER " client-reconfig-script '%s' | grep OK", path);
}

static void sentinel_calls_nobody(void **state)
{
	(void)state;
	script("");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "script", "Sentinel calls nobody");
	assert_non_null(strstr(faces_remedy(), "sentinel client-reconfig-script " CLUSTER_MASTER));
	assert_ptr_equal(strstr(faces_remedy(), "stop Sentinel"), faces_remedy()); /* or it writes over it */
	script("/bin/true");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "script", "Sentinel calls /bin/true, not this program");
	lab_must(faces_host(A), "mkdir -p /run/other && cp %s /run/other/sentinel-vip",
		 lab_program());
	script("/run/other/sentinel-vip");
	on(A, "check");
	expect_count(0, 1);
	expect_finding("warning", "script",
		       "/run/other/sentinel-vip, another file than this program");
	lab_must(faces_host(A), "ln -sf %s /run/link", lab_program());
	script("/run/link");
	on(A, "check");
	expect_count(0, 0);
	lab_must(faces_host(A), "rm /run/link");
	on(A, "check");
	script(lab_program());
	expect_count(1, 0);
	expect_finding("error", "script", "Sentinel calls /run/link: No such file");
}

/* ---- Redis ---- */

static void redis_does_not_listen(void **state)
{
	(void)state;
	lab_must(faces_host(A), "redis-cli CONFIG SET bind '127.0.0.1 172.16.2.4 fd00:16:2::4'");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "Redis", "at 172.16.2.4:6379 does not listen on the VIP " VIP4);
	lab_must(faces_host(A), "%.*s", (int)strcspn(faces_remedy(), ";"), faces_remedy());
	on(A, "check");
	expect_count(0, 0);
	/* on the VIP itself is as well */
	lab_must(faces_host(A),
		 "redis-cli CONFIG SET bind '127.0.0.1 172.16.2.4 " VIP4 " " VIP6 "'");
	on(A, "check");
	lab_must(faces_host(A), "redis-cli CONFIG SET bind '* -::*'");
	expect_count(0, 0);
}

static void redis_does_not_run(void **state)
{
	(void)state;
	cluster_redis_kill(c, B);
	on(B, "check");
	expect_count(0, 1);
	expect_finding("warning", "Redis", "does not run here");
}

/* ---- the VIPs ---- */

static void another_answers(void **state)
{
	(void)state;
	lab_must(faces_host(B), "ip addr add " VIP4 "/24 dev eth0");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "VIP", faces_mac(B, "eth0"));
	assert_string_equal(faces_remedy(), "on 172.16.2.2: sentinel-vip sync " CLUSTER_MASTER);
}

static void nobody_holds_it(void **state)
{
	(void)state;
	lab_must(faces_host(A), "ip addr del " VIP4 "/32 dev eth0");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "VIP", VIP4 " is not on its eth0");
	lab_must(faces_host(A), "%s %s", lab_program(), strchr(faces_remedy(), ' '));
	on(A, "check");
	expect_count(0, 0);
}

/* ---- a VIP among the servers: slow, since Sentinel has to learn and to forget it ---- */

static void the_vip_is_taken_for_a_replica(void **state)
{
	const char *const redis[] = {"redis-server",
				     "--port",
				     "6380",
				     "--bind",
				     "*",
				     "--protected-mode",
				     "no",
				     "--save",
				     "",
				     "--replicaof",
				     "172.16.2.4",
				     "6379",
				     "--replica-announce-ip",
				     VIP4,
				     "--dir",
				     "/run/redis",
				     NULL};
	pid_t second;

	(void)state;
	second = lab_spawn(faces_host(A), "second.log", redis);
	assert_true(LAB_UNTIL((on(A, "check"), strstr(r.out, "takes the VIP")), 20000));
	kill(second, SIGKILL);
	lab_wait(second, -1);
	expect_finding("error", "replicas", "Sentinel takes the VIP " VIP4 " for a replica");
	assert_non_null(strstr(faces_remedy(), "SENTINEL RESET " CLUSTER_MASTER));
	for (int node = A; node <= C; node++)
		lab_must(faces_host(node), CLI "SENTINEL RESET " CLUSTER_MASTER);
}

/* The last one: Sentinel forgets what it knew. */
static void monitor_names_the_vip(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, B);
	cluster_sentinel_kill(c, C);
	lab_must(faces_host(A), CLI "SENTINEL REMOVE " CLUSTER_MASTER " && " CLI
				    "SENTINEL MONITOR " CLUSTER_MASTER " " VIP4 " 6379 1");
	script(lab_program());
	on(A, "check");
	expect_finding("error", "monitor", "names a VIP, " VIP4 ", as the master");
	assert_non_null(strstr(faces_remedy(), "SENTINEL REMOVE " CLUSTER_MASTER));
	on(A, "status");
	expect(1, "is a VIP of [" CLUSTER_MASTER "]");
	lab_must(faces_host(A), CLI "SENTINEL REMOVE " CLUSTER_MASTER " && " CLI
				    "SENTINEL MONITOR " CLUSTER_MASTER " 127.0.0.1 6379 1");
	script(lab_program());
	on(A, "check");
	expect_finding("warning", "monitor",
		       "known as 127.0.0.1, so every host takes itself for it");
}

int faces_sentinel_tests(void)
{
	const struct CMUnitTest tests[] = {
		faces_test(sentinel_is_down),
		faces_test(another_sentinel_is_down),
		faces_test(no_majority),
		faces_test(too_few_sentinels),
		faces_test(sentinel_does_not_know_the_master),
		faces_test(sentinel_wants_a_password),
		faces_test(sentinel_does_not_tell_all),
		faces_test(sentinel_is_elsewhere),
		faces_test(sentinel_calls_nobody),
		faces_test(redis_does_not_listen),
		faces_test(redis_does_not_run),
		faces_test(another_answers),
		faces_test(nobody_holds_it),
		faces_test(the_vip_is_taken_for_a_replica),
		faces_test(monitor_names_the_vip),
	};

	return cmocka_run_group_tests_name("check: Sentinel and Redis", tests, NULL, NULL);
}
