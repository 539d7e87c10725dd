/* SPDX-License-Identifier: MIT */
/* What `status` says of a cluster that is right, and of one that is not; JSON says the same. */
#include "faces.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define NAME CLUSTER_MASTER ": "

/* A value of the last run's JSON. */
#define expect_json(path, value)                                                                   \
	do {                                                                                       \
		const char *is_ = json_at(r.out, path);                                            \
		if (!is_ || strcmp(is_, value) != 0)                                               \
			faces_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", path,      \
				   is_ ? is_ : "(nothing)", value);                                \
	} while (0)

#define M "masters.0."

static void right_on_the_master(void **state)
{
	(void)state;
	on(A, "status");
	expect(0, NAME "right: this host is the master and holds the VIPs\n",
	       "172.16.2.4:6379, this host", "on eth0, nobody else answers, 0 connections",
	       "127.0.0.1:26379    172.16.2.4:6379, epoch", "172.16.2.15:26379  172.16.2.4:6379");
	expect_not("remedy");
	assert_string_equal(r.err, "");
	on(A, "status", "--json", CLUSTER_MASTER);
	expect(0, "");
	assert_true(json_valid(r.out));
	expect_json("schema", "1");
	expect_json("host", "a");
	expect_json("verdict", "right");
	expect_json(M "name", CLUSTER_MASTER);
	expect_json(M "verdict", "right");
	expect_json(M "problems", "[]");
	expect_json(M "master.host", "172.16.2.4");
	expect_json(M "master.port", "6379");
	expect_json(M "this_host", "true");
	expect_json(M "vips.0.address", VIP4);
	expect_json(M "vips.0.here.0.interface", "eth0");
	expect_json(M "vips.0.here.0.prefix", "32");
	expect_json(M "vips.0.answered_by", "[]");
	expect_json(M "vips.1.address", VIP6);
	expect_json(M "vips.1.connections", "0");
	expect_json(M "vips.0.listens", "true");
	expect_json(M "vips.1.listens", "true");
	expect_json(M "sentinels.0.host", "127.0.0.1");
	expect_json(M "sentinels.2.answer", "master");
	expect_json(M "sentinels.2.master.host", "172.16.2.4");
}

static void right_on_a_replica(void **state)
{
	char text[128];

	(void)state;
	on(B, "status");
	snprintf(text, sizeof text, "not here, answered by %s (172.16.2.4)", faces_mac(A, "eth0"));
	expect(0, NAME "right: the master is 172.16.2.4:6379, another host, and holds the VIPs\n",
	       text);
	on(B, "status", "--json");
	expect(0, "");
	expect_json("verdict", "right");
	expect_json(M "this_host", "false");
	expect_json(M "vips.0.here", "[]");
	expect_json(M "vips.0.listens", "null");
	expect_json(M "vips.0.answered_by.0.mac", faces_mac(A, "eth0"));
	expect_json(M "vips.0.answered_by.0.host", "172.16.2.4");
	expect_json(M "vips.0.answered_by.0.expected", "true");
	expect_json(M "vips.1.answered_by.0.mac", faces_mac(A, "eth0"));
	assert_null(json_at(r.out, M "vips.1.answered_by.1"));
}

/* Two interfaces of one host on one switch: the host does not take its own answer for another's. */
static void an_interface_more_is_no_conflict(void **state)
{
	(void)state;
	lab_config(faces_host(C), "interface = eth1\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	lab_must(faces_host(C), "ip addr add " VIP4 "/32 dev eth0");
	lab_must(faces_host(A), "ip addr del " VIP4 "/32 dev eth0");
	on(C, "status");
	expect(1, VIP4 " is on eth0 of this host", "on eth0, nobody else answers");
}

static void the_vip_is_missing(void **state)
{
	(void)state;
	lab_must(faces_host(A), "ip addr del " VIP4 "/32 dev eth0");
	on(A, "status");
	expect(1, NAME "WRONG: this host is the master, but " VIP4 " is not on its eth0\n",
	       "remedy     sentinel-vip sync " CLUSTER_MASTER "\n", "not here, nobody answers");
	expect_not("also");
	on(A, "status", "--json");
	expect(1, "");
	expect_json("verdict", "wrong");
	expect_json(M "verdict", "wrong");
	expect_json(M "problems.0", "this host is the master, but " VIP4 " is not on its eth0");
	expect_json(M "remedy", "sentinel-vip sync " CLUSTER_MASTER);
	expect_json(M "vips.0.here", "[]");
	expect_json(M "vips.1.here.0.interface", "eth0");
	on(B, "status");
	expect(1,
	       NAME "WRONG: nobody answers for " VIP4 " on eth0; the master 172.16.2.4:6379 should",
	       "remedy     on 172.16.2.4: sentinel-vip sync " CLUSTER_MASTER);
}

static void the_vip_is_on_a_replica(void **state)
{
	(void)state;
	lab_must(faces_host(A), "ip addr del " VIP6 "/128 dev eth0");
	lab_must(faces_host(B), "ip addr add " VIP6 "/64 dev eth0 nodad");
	on(B, "status");
	expect(1,
	       NAME "WRONG: " VIP6
		    " is on eth0 of this host, but the master is 172.16.2.4:6379, another host",
	       "remedy     sentinel-vip sync " CLUSTER_MASTER, "on eth0 as /64");
	on(B, "status", "--json");
	expect(1, "");
	expect_json(M "vips.1.here.0.prefix", "64");
}

/* An old holder that has not let go: who it is is said by its MAC, and by its address. */
static void another_holds_it_too(void **state)
{
	char text[128];

	(void)state;
	lab_must(faces_host(B), "ip addr add " VIP4 "/24 dev eth0");
	snprintf(text, sizeof text,
		 "WRONG: %s (172.16.2.2) answers for " VIP4 " on eth0, but the master is this "
		 "host\n",
		 faces_mac(B, "eth0"));
	on(A, "status");
	expect(1, text, "remedy     on 172.16.2.2: sentinel-vip sync " CLUSTER_MASTER);
	on(A, "status", "--json");
	expect(1, "");
	expect_json(M "vips.0.answered_by.0.mac", faces_mac(B, "eth0"));
	expect_json(M "vips.0.answered_by.0.expected", "false");
	/* from a third host both are seen, and the right one told from the wrong */
	snprintf(text, sizeof text,
		 "WRONG: %s (172.16.2.2) answers for " VIP4 " on eth0, but the master is "
		 "172.16.2.4:6379\n",
		 faces_mac(B, "eth0"));
	on(C, "status");
	expect(1, text);
	expect_not("also");
	/* and so it is when the master has lost it meanwhile */
	lab_must(faces_host(A), "ip addr del " VIP4 "/32 dev eth0");
	on(C, "status");
	expect(1, text);
}

static void a_stranger_holds_it(void **state)
{
	unsigned char m[6];
	char text[160];

	(void)state;
	lab_must(c->client, "ip addr add " VIP4 "/32 dev eth0");
	assert_true(lab_mac(c->client, "eth0", m));
	snprintf(text, sizeof text,
		 "WRONG: %02x:%02x:%02x:%02x:%02x:%02x answers for " VIP4 " on eth0, which is not "
		 "the hardware address of the master 172.16.2.4:6379\n",
		 m[0], m[1], m[2], m[3], m[4], m[5]);
	on(B, "status");
	lab_must(c->client, "ip addr del " VIP4 "/32 dev eth0");
	expect(1, text, "find the host with ");
}

static void a_stranger_holds_it_in_ipv6(void **state)
{
	(void)state;
	lab_must(faces_host(C), "ip addr add " VIP6 "/128 dev eth0 nodad");
	on(A, "status");
	expect(1, faces_mac(C, "eth0"),
	       " answers for " VIP6 " on eth0, but the master is this host");
}

static void no_sentinel_answers(void **state)
{
	(void)state;
	cluster_sentinel_kill(c, A);
	on(A, "status");
	expect(2, NAME "UNKNOWN: no majority of its Sentinels agrees on a master: ",
	       "Connection refused", "on eth0, nobody else answers");
	on(A, "status", "--json");
	expect(2, "");
	expect_json("verdict", "unknown");
	expect_json(M "master", "null");
	expect_json(M "this_host", "null");
	expect_json(M "sentinels.0.answer", "none");
	expect_json(M "sentinels.0.error", "Connection refused");
	expect_json(M "vips.0.here.0.interface", "eth0");
}

/* A Sentinel that does not answer does not matter to the verdict, but is said. */
static void one_sentinel_is_silent(void **state)
{
	(void)state;
	kill(c->node[C].sentinel, SIGSTOP);
	on(A, "status");
	kill(c->node[C].sentinel, SIGCONT);
	expect(0, "172.16.2.15:26379  it did not answer in time");
	if (r.exit_ns - r.exec_ns > INT64_C(2500000000))
		faces_fail(__FILE__, __LINE__, "it took more than 2.5 s");
}

static void connections_are_counted(void **state)
{
	const char *const subscribe[] = {"redis-cli", "-h", VIP4, "SUBSCRIBE", "x", NULL};
	pid_t client;

	(void)state;
	client = lab_spawn(c->client, "client.log", subscribe);
	(void)LAB_UNTIL(lab_sh(faces_host(A), NULL, "ss -Htn src " VIP4 " | grep -q ESTAB") == 0,
			2000);
	on(A, "status");
	kill(client, SIGKILL);
	lab_wait(client, -1);
	expect(0, VIP4 "    on eth0, nobody else answers, 1 connection\n", "0 connections");
}

/* Until they take a server for dead. */
static void sentinels_wait(int ms)
{
	for (int node = A; node <= C; node++)
		lab_must(faces_host(node), "redis-cli -p 26379 SENTINEL SET " CLUSTER_MASTER
			 " down-after-milliseconds %d", ms);
}

/* The VIP is where it should be, and leads nowhere. */
static void nobody_listens_there(void **state)
{
	(void)state;
	lab_must(faces_host(A), "redis-cli CONFIG SET bind '127.0.0.1 172.16.2.4 fd00:16:2::4 " VIP6 "'");
	on(A, "status");
	expect(1, NAME "WRONG: this host is the master, but nobody listens on " VIP4 " port 6379\n",
	       "remedy     redis-cli CONFIG SET bind '* -::*'; and in redis.conf: bind * -::*\n",
	       ", 0 connections, nobody listens on port 6379\n");
	expect_not("also");
	on(A, "status", "--json");
	lab_must(faces_host(A), "redis-cli CONFIG SET bind '* -::*'");
	expect(1, "");
	expect_json("verdict", "wrong");
	expect_json(M "problems.0", "this host is the master, but nobody listens on " VIP4 " port 6379");
	expect_json(M "vips.0.listens", "false");
	expect_json(M "vips.1.listens", "true");
	/* down altogether, and the Sentinels have not noticed */
	sentinels_wait(600000);
	cluster_redis_kill(c, A);
	on(A, "status");
	cluster_redis_start(c, A);
	cluster_settle(c);
	sentinels_wait(2000);
	expect(1, NAME "WRONG: this host is the master, but nobody listens on " VIP4 " port 6379\n",
	       "also       this host is the master, but nobody listens on " VIP6 " port 6379\n",
	       "remedy     systemctl start redis-server");
}

static void the_link_cannot_be_asked(void **state)
{
	(void)state;
	lab_config(faces_host(C), "interface = eth1\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	lab_carrier(faces_host(C), "eth1", false);
	on(C, "status");
	lab_carrier(faces_host(C), "eth1", true);
	expect(0, "right: the master is 172.16.2.4:6379, another host; the VIP: not here\n",
	       "not here, not asked who answers: eth1 has no carrier");
	lab_must(faces_host(C), "ip addr add " VIP4 "/32 dev eth1 && ip link set eth1 down");
	on(C, "status");
	lab_must(faces_host(C), "ip link set eth1 up && ip addr del " VIP4 "/32 dev eth1");
	expect(1, "not asked who answers: eth1 is down");
	lab_config(faces_host(C), "interface = eth9\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	on(C, "status", "--json");
	expect(0, "");
	expect_json(M "vips.0.answered_by", "null");
	expect_json(M "vips.0.not_asked", "no interface of this host is meant for it");
	on(C, "status");
	expect(0, "note       interface eth9 does not exist here");
}

static void anybody_may_ask(void **state)
{
	const char *argv[] = {"setpriv",        "--reuid",     "65534",  "--regid", "65534",
			      "--clear-groups", lab_program(), "status", NULL};

	(void)state;
	lab_file(faces_host(B), "sentinel-vip.conf", 0644, 0,
		 "interface = eth0\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	lab_run(faces_host(B), &r, 10000, argv);
	expect(0, "right: ", "not asked who answers: CAP_NET_RAW is missing");
}

/* Colour is for terminals, and only where it is wanted. */
static void colour_is_for_terminals(void **state)
{
	(void)state;
	on(A, "status");
	expect_not("\033");
	lab_sh(faces_host(A), &r, "TERM=xterm script -qec '%s status' /dev/null", lab_program());
	expect(0, "\033[32mright\033[0m");
	lab_sh(faces_host(A), &r, "TERM=xterm NO_COLOR=1 script -qec '%s status' /dev/null",
	       lab_program());
	expect(0, "right");
	expect_not("\033");
}

static void what_is_wrong_with_the_call_is_said(void **state)
{
	(void)state;
	on(A, "status", "othermaster");
	assert_int_equal(r.status, 2);
	assert_non_null(strstr(r.err, "has no section [othermaster]"));
	assert_string_equal(r.out, "");
	lab_sh(faces_host(A), &r, "%s status >/dev/full", lab_program());
	assert_int_equal(r.status, 2);
	lab_sh(faces_host(A), &r, "%s check >/dev/full", lab_program());
	assert_int_equal(r.status, 1);
}

int faces_status_tests(void)
{
	const struct CMUnitTest tests[] = {
		faces_test(right_on_the_master),
		faces_test(right_on_a_replica),
		faces_test(an_interface_more_is_no_conflict),
		faces_test(the_vip_is_missing),
		faces_test(the_vip_is_on_a_replica),
		faces_test(another_holds_it_too),
		faces_test(a_stranger_holds_it),
		faces_test(a_stranger_holds_it_in_ipv6),
		faces_test(no_sentinel_answers),
		faces_test(one_sentinel_is_silent),
		faces_test(connections_are_counted),
		faces_test(nobody_listens_there),
		faces_test(the_link_cannot_be_asked),
		faces_test(anybody_may_ask),
		faces_test(colour_is_for_terminals),
		faces_test(what_is_wrong_with_the_call_is_said),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
