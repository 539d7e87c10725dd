/* SPDX-License-Identifier: MIT */
/*
 * `check`: nothing to object to where all is right, and each finding where exactly one thing is
 * wrong. Remedies that are commands are typed, and all is well again. This file: the host, its
 * interfaces, and what Sentinel lets the program do; Sentinel's own knowledge is in
 * faces-sentinel.c.
 */
#include "faces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ON_ETH1 "interface = eth1\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n"

static char remedy[1024]; /* of the finding that was looked for last */

void faces_finding(const char *file, int line, const char *level, const char *topic,
		   const char *text)
{
	char begin[128];

	snprintf(begin, sizeof begin, "  %-9s%-14s", level, topic);
	remedy[0] = '\0';
	for (const char *p = r.out; (p = strstr(p, begin)); p++) {
		const char *end = strchrnul(p, '\n'), *at = strstr(p, text);

		if (!at || at > end)
			continue;
		sscanf(end, "\n remedy: %1023[^\n]", remedy);
		if (strcmp(level, "ok") != 0 && !*remedy)
			faces_fail(file, line, "%s %s: no remedy", level, topic);
		return;
	}
	faces_fail(file, line, "no %s of %s: %s", level, topic, text);
}

const char *faces_remedy(void)
{
	return remedy;
}

void faces_count(const char *file, int line, int errors, int warnings)
{
	char text[64];

	snprintf(text, sizeof text, "\n%d error%s, %d warning%s: ", errors, errors == 1 ? "" : "s",
		 warnings, warnings == 1 ? "" : "s");
	faces_expect(file, line, errors > 0, (const char *const[]){text, NULL});
}

/* The remedy up to its comma or semicolon, typed on the node. */
static void type_remedy(int node)
{
	lab_must(faces_host(node), "%.*s", (int)strcspn(remedy, ",;"), remedy);
}

/* ---- all is right ---- */

static void all_is_right(void **state)
{
	(void)state;
	for (int node = A; node <= C; node++) {
		on(node, "check");
		expect_count(0, 0);
		expect_not("remedy");
		assert_string_equal(r.err, "");
	}
	on(A, "check");
	expect_finding("ok", "configuration", "/run/sentinel-vip.conf: 1 master, 2 VIPs");
	expect_finding("ok", "connections", "SOCK_DESTROY");
	expect_finding("ok", "interface", "eth0 is up");
	expect_finding("ok", "secondaries", "");
	expect_finding("ok", "ARP", "arp_ignore 0 and arp_announce 0");
	expect_finding("ok", "IPv6", "on");
	expect_finding("ok", "managed by", "neither");
	expect_finding("ok", "reachable", "");
	expect_finding("ok", "capabilities", "root");
	expect_finding("ok", "lock", "/run/sentinel-vip");
	expect_finding("ok", "Sentinels", "all 3 name 172.16.2.4:6379");
	expect_finding("ok", "monitor", "172.16.2.4:6379");
	expect_finding("ok", "script", lab_program());
	expect_finding("ok", "replicas", "2, none of them a VIP");
	expect_finding("ok", "Redis", "172.16.2.4:6379 listens on the VIP");
	expect_finding("ok", "VIP", "this host is the master");
	lab_config(faces_host(C), ON_ETH1);
	on(C, "check", CLUSTER_MASTER);
	expect_count(0, 0);
	expect_finding("ok", "interface", "eth1 is up");
}

/* check changes nothing, not even a file. */
static void nothing_is_changed(void **state)
{
	static struct lab_result before, after;
	static const char *const look =
		"ls -lR /run/sentinel-vip /run/redis /run/sentinel; ip addr; ip neigh show "
		"nud permanent; sysctl -a 2>/dev/null | grep -E "
		"'net.ipv[46].conf.*(arp_|disable|promote)'";

	(void)state;
	lab_must(faces_host(B), "rm -rf /run/sentinel-vip");
	lab_sh(faces_host(B), &before, "%s", look);
	on(B, "check");
	expect_count(0, 0);
	lab_sh(faces_host(B), &after, "%s", look);
	assert_string_equal(before.out, after.out);
	lab_log_clear(faces_host(B));
	on(B, "check");
	on(B, "status");
	assert_int_equal(lab_log_count(faces_host(B), "sentinel-vip["), 0);
}

/* ---- the host ---- */

static void others_may_write_the_configuration(void **state)
{
	(void)state;
	lab_must(faces_host(A), "chmod go+w /run/sentinel-vip.conf");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration", "can be written by others");
	type_remedy(A);
	on(A, "check");
	expect_count(0, 0);
	lab_config(faces_host(A), "[" CLUSTER_MASTER "]\nvip = nonsense\n");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration", "line 2: vip = nonsense");
}

/* What is typed first on a new host, and by whoever is not root. */
static void no_configuration_yet(void **state)
{
	const char *argv[] = {"setpriv",        "--reuid",     "65534", "--regid", "65534",
			      "--clear-groups", lab_program(), "check", NULL};

	(void)state;
	lab_must(faces_host(A), "rm /run/sentinel-vip.conf");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration", "/run/sentinel-vip.conf is not there");
	assert_non_null(strstr(faces_remedy(), "/examples/sentinel-vip.conf"));
	type_remedy(A);
	on(A, "check");
	expect_count(0, 0);
	/* as the packages come */
	lab_config(faces_host(A), "#[" CLUSTER_MASTER "]\n#vip = " VIP4 "\n");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "configuration", "no master is configured");
	type_remedy(A);
	on(A, "check");
	expect_count(0, 0);
	lab_must(faces_host(A), "chmod 600 /run/sentinel-vip.conf");
	lab_run(faces_host(A), &r, 10000, argv);
	expect_count(1, 0);
	expect_finding("error", "configuration", "Permission denied");
	assert_non_null(strstr(faces_remedy(), "sudo sentinel-vip check"));
}

static void what_may_not_be_tried_is_said(void **state)
{
	const char *argv[] = {"setpriv",        "--reuid",     "65534", "--regid", "65534",
			      "--clear-groups", lab_program(), "check", NULL};

	(void)state;
	lab_must(faces_host(A), "chmod 644 /run/sentinel-vip.conf");
	lab_run(faces_host(A), &r, 10000, argv);
	expect_finding("warning", "connections", "CAP_NET_ADMIN is missing");
	assert_string_equal(faces_remedy(), "run this check as root");
	expect_finding("ok", "VIP", "this host is the master");
}

/* ---- an interface ---- */

static void interface_missing(void **state)
{
	(void)state;
	lab_config(faces_host(C), "interface = eth9\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	on(C, "check");
	expect_count(1, 0);
	expect_finding("error", "interface", "eth9 does not exist here");
	assert_non_null(strstr(faces_remedy(), "correct interface ="));
}

static void interface_down(void **state)
{
	(void)state;
	lab_config(faces_host(C), ON_ETH1);
	lab_must(faces_host(C), "ip link set eth1 down");
	on(C, "check");
	expect_count(1, 0);
	expect_finding("error", "interface", "eth1 is down");
	assert_non_null(strstr(faces_remedy(), "ip link set eth1 up"));
	lab_must(faces_host(C), "ip link set eth1 up");
}

static void no_carrier(void **state)
{
	(void)state;
	lab_config(faces_host(C), ON_ETH1);
	lab_carrier(faces_host(C), "eth1", false);
	on(C, "check");
	lab_carrier(faces_host(C), "eth1", true);
	expect_count(1, 0);
	expect_finding("error", "interface", "eth1 has no carrier");
}

static void no_ethernet(void **state)
{
	(void)state;
	lab_must(faces_host(C),
		 "ip link add tun9 type veth peer name tun8 && ip link set tun8 up && "
		 "ip link set tun9 arp off up");
	lab_config(faces_host(C), "interface = tun9\n[" CLUSTER_MASTER "]\nvip = " VIP4 "\n");
	on(C, "check");
	lab_must(faces_host(C), "ip link del tun9");
	expect_count(0, 1);
	expect_finding("warning", "interface", "tun9 is not an Ethernet that does ARP");
}

static void secondaries_go_along(void **state)
{
	(void)state;
	lab_config(faces_host(A), "interface = eth0\n[" CLUSTER_MASTER "]\nvip = " VIP4 "/24\n");
	on(A, "check");
	expect_count(0, 1);
	expect_finding("warning", "secondaries", "promote_secondaries is off");
	type_remedy(A);
	on(A, "check");
	lab_must(faces_host(A), "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=0");
	expect_count(0, 0);
	expect_finding("ok", "secondaries", "promote_secondaries is on");
}

/* What check says of arp_ignore is what other hosts see. */
static void arp_is_not_answered(void **state)
{
	(void)state;
	lab_must(faces_host(A), "sysctl -qw net.ipv4.conf.all.arp_ignore=8");
	on(B, "status");
	expect(1, "nobody answers for " VIP4);
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "ARP", "arp_ignore is 8");
	type_remedy(A);
	on(A, "check");
	expect_count(0, 0);
	on(B, "status");
	expect(0, "answered by");
	lab_must(faces_host(A), "sysctl -qw net.ipv4.conf.all.arp_ignore=0");
}

/*
 * 2 answers those in the subnet of an address: /32 alone has no subnet with others in it. A probe
 * has no sender address, so it is a plain question that shows it.
 */
static void arp_is_answered_to_neighbours_only(void **state)
{
	static const char *const ask = "ip neigh flush dev eth0; arping -q -c 1 -w 1 -I eth0 " VIP4;

	(void)state;
	lab_must(faces_host(A), "sysctl -qw net.ipv4.conf.eth0.arp_ignore=2");
	assert_int_equal(lab_sh(faces_host(B), NULL, "%s", ask), 0);
	on(A, "check");
	lab_must(faces_host(A), "sysctl -qw net.ipv4.conf.eth0.arp_ignore=0");
	expect_count(0, 0);
	/* without an address that covers it: nobody is answered */
	lab_must(faces_host(A), "ip addr del " VIP4 "/32 dev eth0");
	lab_must(faces_host(C),
		 "ip addr add " VIP4 "/32 dev eth1; sysctl -qw net.ipv4.conf.eth1.arp_ignore=2 "
		 "net.ipv4.conf.eth0.arp_ignore=8");
	assert_int_not_equal(lab_sh(faces_host(B), NULL, "%s", ask), 0);
	lab_must(faces_host(C),
		 "ip addr del " VIP4 "/32 dev eth1; sysctl -qw net.ipv4.conf.eth0.arp_ignore=0");
	lab_must(faces_host(A), "ip addr add " VIP4 "/32 dev eth0");
	lab_config(faces_host(C), ON_ETH1);
	on(C, "check");
	expect_count(1, 0);
	expect_finding("error", "ARP", "arp_ignore is 2");
	type_remedy(C);
	on(C, "check");
	expect_count(0, 0);
	lab_must(faces_host(C), "sysctl -qw net.ipv4.conf.eth1.arp_ignore=1");
}

static void the_vip_is_on_lo(void **state)
{
	(void)state;
	lab_must(faces_host(B), "ip addr add " VIP4 "/32 dev lo");
	on(A, "status");
	expect(1, faces_mac(B, "eth0"));
	on(B, "check");
	expect_finding("error", "ARP", VIP4 " stands on lo");
	type_remedy(B);
	on(B, "check");
	expect_count(0, 0);
}

static void ipv6_is_turned_off(void **state)
{
	(void)state;
	lab_config(faces_host(C), "interface = eth1\n[" CLUSTER_MASTER "]\nvip = " VIP6 "\n");
	lab_must(faces_host(C), "sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1");
	on(C, "check");
	expect_count(1, 0);
	expect_finding("error", "IPv6", "IPv6 is turned off on eth1");
	type_remedy(C);
	on(C, "check");
	expect_count(0, 0);
}

/* ---- who else manages it ---- */

static int ifindex(int node, const char *dev)
{
	static struct lab_result text;

	lab_sh(faces_host(node), &text, "ip -o link show %s | cut -d: -f1", dev);
	return atoi(text.out);
}

static void networkd_manages_it(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof path, "systemd/netif/links/%d", ifindex(B, "eth0"));
	lab_file(faces_host(B), "net/10-eth0.network", 0644, 0,
		 "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
	lab_file(faces_host(B), path, 0644, 0,
		 "# This is private data. Do not parse.\nADMIN_STATE=configured\n"
		 "OPER_STATE=routable\nNETWORK_FILE=/run/net/"
		 "10-eth0.network\nNETWORK_FILE_DROPINS=\"\"\n");
	on(B, "check");
	expect_count(0, 1);
	expect_finding("warning", "managed by", "systemd-networkd");
	assert_non_null(strstr(faces_remedy(), "KeepConfiguration=static"));
	assert_non_null(strstr(faces_remedy(), "10-eth0.network.d/"));
	lab_file(faces_host(B), "net/keep.conf", 0644, 0, "[Network]\nKeepConfiguration=static\n");
	lab_file(faces_host(B), path, 0644, 0,
		 "ADMIN_STATE=configured\nNETWORK_FILE=/run/net/10-eth0.network\n"
		 "NETWORK_FILE_DROPINS=\"/run/net/none.conf:/run/net/keep.conf\"\n");
	on(B, "check");
	expect_count(0, 0);
	expect_finding("ok", "managed by", "KeepConfiguration");
	lab_file(faces_host(B), path, 0644, 0, "ADMIN_STATE=unmanaged\nOPER_STATE=routable\n");
	on(B, "check");
	expect_count(0, 0);
	lab_must(faces_host(B), "rm /run/%s", path);
}

static void networkmanager_manages_it(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof path, "NetworkManager/devices/%d", ifindex(B, "eth0"));
	lab_file(faces_host(B), path, 0644, 0, "[device]\nmanaged=true\nconnection-uuid=1234\n");
	on(B, "check");
	expect_count(0, 1);
	expect_finding("warning", "managed by", "NetworkManager");
	assert_non_null(strstr(faces_remedy(), "unmanaged-devices=interface-name:eth0"));
	lab_file(faces_host(B), path, 0644, 0, "[device]\nmanaged=false\n");
	on(B, "check");
	expect_count(0, 0);
	lab_must(faces_host(B), "rm /run/%s", path);
}

/* ---- what Sentinel lets the program do ---- */

static void no_packet_sockets_for_sentinel(void **state)
{
	(void)state;
	faces_restart_sentinel(
		B, (const char *const[]){"setpriv", "--bounding-set", "-net_raw", NULL});
	on(B, "check");
	faces_restart_sentinel(B, (const char *const[]){NULL});
	expect_count(1, 0);
	expect_finding("error", "capabilities",
		       "its user, root, starts this program without CAP_NET_RAW");
	assert_non_null(strstr(faces_remedy(), "NET_RAW"));
}

static void sentinel_of_another_user(void **state)
{
	const char *const user[] = {"setpriv", "--reuid",        "65534", "--regid",
				    "65534",   "--clear-groups", NULL};
	const char *const capable[] = {"setpriv",
				       "--reuid",
				       "65534",
				       "--regid",
				       "65534",
				       "--clear-groups",
				       "--inh-caps",
				       "-all,+net_admin,+net_raw",
				       "--ambient-caps",
				       "-all,+net_admin,+net_raw",
				       NULL};

	(void)state;
	lab_must(faces_host(B), "chown -R 65534:65534 /run/sentinel; rm -rf /run/sentinel-vip");
	faces_restart_sentinel(B, user);
	on(B, "check");
	expect_count(2, 1);
	expect_finding("error", "capabilities",
		       "nobody, starts this program without CAP_NET_ADMIN and CAP_NET_RAW");
	assert_non_null(strstr(faces_remedy(), "setcap cap_net_admin,cap_net_raw+ep "));
	expect_finding("error", "configuration", "nobody, cannot read /run/sentinel-vip.conf");
	lab_must(faces_host(B), "%s", faces_remedy());
	expect_finding("warning", "lock", "it does not exist, and Sentinel's user cannot make it");
	type_remedy(B);
	faces_restart_sentinel(B, capable);
	on(B, "check");
	lab_must(faces_host(B), "chown -R 0:0 /run/sentinel; rm -rf /run/sentinel-vip");
	faces_restart_sentinel(B, (const char *const[]){NULL});
	expect_count(0, 0);
	expect_finding("ok", "capabilities", "nobody");
}

/* A hook that cannot be run breaks no failover: a warning. */
static void hooks_that_cannot_be_run(void **state)
{
	(void)state;
	lab_file(faces_host(A), "hook", 0644, 0, "#!/bin/sh\n");
	lab_config(faces_host(A), "after-claim = /run/hook\nafter-release = /run/missing\n"
				  "[" CLUSTER_MASTER "]\nvip = " VIP4 "\nvip = " VIP6 "\n");
	on(A, "check");
	expect_count(0, 2);
	expect_finding("warning", "hook", "does not see after-release = /run/missing: No such file");
	expect_finding("warning", "hook", "root, may not execute after-claim = /run/hook");
	type_remedy(A);
	lab_config(faces_host(A), "after-claim = /run/hook\n[" CLUSTER_MASTER "]\nvip = " VIP4
				  "\nvip = " VIP6 "\n");
	on(A, "check");
	expect_count(0, 0);
	expect_finding("ok", "hook", "root, can run after-claim = /run/hook");
}

/* It would not be run, and nobody would notice before a failover; the same for what is read. */
static void what_others_could_exchange(void **state)
{
	(void)state;
	lab_file(faces_host(A), "d/hook", 0755, 0, "#!/bin/sh\n");
	lab_must(faces_host(A), "chmod 757 /run/d");
	lab_config(faces_host(A), "after-claim = /run/d/hook\nafter-release = /run/d/hook\n"
				  "[" CLUSTER_MASTER "]\nvip = " VIP4 "\nvip = " VIP6 "\n");
	on(A, "check");
	expect_count(1, 0);
	expect_finding("error", "hook", "/run/d leads to /run/d/hook and can be written by others");
	type_remedy(A);
	on(A, "check");
	expect_count(0, 0);
}

static void the_lock_can_be_had_by_others(void **state)
{
	(void)state;
	lab_must(faces_host(B), "mkdir -p /run/sentinel-vip && chmod 777 /run/sentinel-vip");
	on(B, "check");
	expect_count(0, 1);
	expect_finding("warning", "lock", "others can write to it");
	type_remedy(B);
	on(B, "check");
	expect_count(0, 0);
}

int faces_check_tests(void)
{
	const struct CMUnitTest tests[] = {
		faces_test(all_is_right),
		faces_test(nothing_is_changed),
		faces_test(others_may_write_the_configuration),
		faces_test(no_configuration_yet),
		faces_test(what_may_not_be_tried_is_said),
		faces_test(interface_missing),
		faces_test(interface_down),
		faces_test(no_carrier),
		faces_test(no_ethernet),
		faces_test(secondaries_go_along),
		faces_test(arp_is_not_answered),
		faces_test(arp_is_answered_to_neighbours_only),
		faces_test(the_vip_is_on_lo),
		faces_test(ipv6_is_turned_off),
		faces_test(networkd_manages_it),
		faces_test(networkmanager_manages_it),
		faces_test(no_packet_sockets_for_sentinel),
		faces_test(sentinel_of_another_user),
		faces_test(hooks_that_cannot_be_run),
		faces_test(what_others_could_exchange),
		faces_test(the_lock_can_be_had_by_others),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
