/* SPDX-License-Identifier: MIT */
/*
 * Sentinels that answer only those who say a password, and one that is asked through a unix socket.
 * Where the program may not ask, it must still follow its arguments, and say what to configure.
 */
#include "cluster-test.h"

#include <stdio.h>

#define CONFIG "interface = eth0\n" MASTER_AND_VIP
#define AUTH "sentinel-auth = /run/sentinel-vip.auth\n"
#define SOCKET "/run/sentinel/sentinel.sock"

static const struct cluster_setup locked = {
	THREE_HOSTS,
	.vip_config = CONFIG,
	.password = "open sesame",
	.sentinel = "requirepass \"open sesame\"\n"
		    "user vip on >secret -@all +sentinel|get-master-addr-by-name "
		    "+sentinel|sentinels +sentinel|master +sentinel|myid\n"
		    "user older on >secret -@all +sentinel|get-master-addr-by-name "
		    "+sentinel|sentinels +sentinel|master\n"
		    "user mute on >secret -@all\n"
		    "unixsocket " SOCKET "\n"
		    "unixsocketperm 700",
};

/* The same on all nodes: configuration and, if there is any, the file with the password. */
static void configure(const char *config, const char *auth)
{
	for (int i = 0; i < c->nodes; i++) {
		lab_config(c->node[i].host, "%s" CONFIG, config);
		if (auth)
			lab_file(c->node[i].host, "sentinel-vip.auth", 0600, 0, "%s", auth);
	}
	log_clear();
}

/* Called and synced on each node, all is verified, and nothing moves. */
static void expect_verified(void)
{
	int master = cluster_master(c);

	moves_clear();
	for (int i = 0; i < c->nodes; i++) {
		check(call(i, (master + 1) % c->nodes, master) == 0, "status %d", r.status);
		expect_lines(i, 1, ", as Sentinel says");
		expect_lines(i, 0, "unverified");
		check(vip(i, "sync") == 0, "sync on node %d: %s", i, r.err);
	}
	check(moves_heard() == 0, "the VIP moved");
}

/* The arguments are followed, whatever they say; the status asks for no replay; sync does nothing.
 */
static void expect_unverified(const char *error)
{
	int master = cluster_master(c), other = (master + 1) % c->nodes;

	check(call(master, master, other) == 0, "status %d", r.status);
	check(cluster_holder(c, VIP4) == -1, "the arguments were not followed");
	expect_line(master, 0, "unverified: ");
	expect_line(master, 0, error);
	check(vip(master, "sync") == 1, "status %d of sync", r.status);
	check(cluster_holder(c, VIP4) == -1, "sync claimed without a truth");
	check(call(master, other, master) == 0, "status %d", r.status);
	expect_sole_holder(master);

	lab_must(c->node[other].host, "sed -i s/eth0/eth7/ /run/sentinel-vip.conf");
	check(call(other, master, other) == 2, "status %d with a missing interface", r.status);
}

/* ---- the tests ---- */

static void failover_without_password(void **state)
{
	(void)state;
	fail_over();
	for (int i = 0; i < c->nodes; i++) {
		expect_line(i, FOLLOW_MS, "unverified: 127.0.0.1:26379: NOAUTH");
		expect_lines(i, 1, "name a file with the password in sentinel-auth =");
	}
}

static void failover_as_user(void **state)
{
	(void)state;
	configure(AUTH, "# of the Sentinels\nuser = vip\npassword = secret\n");
	fail_over();
	for (int i = 0; i < c->nodes; i++) {
		expect_line(i, FOLLOW_MS, ", as Sentinel says");
		expect_lines(i, 0, "unverified");
	}
}

static void no_password(void **state)
{
	(void)state;
	expect_unverified("NOAUTH");
}

static void wrong_password(void **state)
{
	(void)state;
	configure(AUTH, "password = open simsim\n");
	expect_unverified("WRONGPASS");
}

static void user_without_permission(void **state)
{
	(void)state;
	configure(AUTH, "user = mute\npassword = secret\n");
	expect_unverified("NOPERM");
}

static void right_password(void **state)
{
	(void)state;
	configure(AUTH, "password = open sesame\n");
	expect_verified();
}

static void user_of_least_privilege(void **state)
{
	(void)state;
	configure(AUTH, "user = vip\npassword = secret\n");
	expect_verified();
}

/* Who may not ask the others for their ids goes by their addresses. */
static void user_who_may_not_ask_for_ids(void **state)
{
	(void)state;
	configure(AUTH, "user = older\npassword = secret\n");
	expect_verified();
}

/* The local Sentinel is asked through the socket, and sync asks the others over TCP. */
static void unix_socket(void **state)
{
	int master = cluster_master(c);

	(void)state;
	configure("sentinel = unix:" SOCKET "\n" AUTH, "user = vip\npassword = secret\n");
	expect_verified();
	configure("sentinel = unix:" SOCKET ".not\n" AUTH, "user = vip\npassword = secret\n");
	check(call(0, (master + 1) % c->nodes, master) == 0, "status %d", r.status);
	expect_line(0, 0, "unverified: " SOCKET ".not: No such file or directory");
}

/* The password must not be read by others. */
static void password_that_others_can_read(void **state)
{
	int master = cluster_master(c);

	(void)state;
	configure(AUTH, "password = open sesame\n");
	lab_must(c->node[master].host, "chmod 644 /run/sentinel-vip.auth");
	check(call(master, 0, master) == 2, "status %d", r.status);
	expect_line(master, 0, "/run/sentinel-vip.auth");
	check(moves_heard() == 0, "the VIP moved");
}

int cluster_auth_tests(void)
{
	const struct CMUnitTest tests[] = {
		on_cluster(failover_without_password),
		on_cluster(failover_as_user),
		on_cluster(no_password),
		on_cluster(wrong_password),
		on_cluster(user_without_permission),
		on_cluster(right_password),
		on_cluster(user_of_least_privilege),
		on_cluster(user_who_may_not_ask_for_ids),
		on_cluster(unix_socket),
		on_cluster(password_that_others_can_read),
	};

	test_use(&locked, only_vip4);
	return cmocka_run_group_tests_name("auth", tests, NULL, test_end);
}
