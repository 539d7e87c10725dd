/* SPDX-License-Identifier: MIT */
/*
 * The tests of `status` and `check`: the program under test ($SENTINEL_VIP) on the hosts of a real
 * cluster, each time with one thing broken. One argument chooses tests by name, `*` and `?`
 * allowed.
 */
#include "faces.h"

#include <stdio.h>
#include <string.h>

static const struct cluster_setup setup = {
	.nodes = 3,
	.addresses = {{"172.16.2.4/24", "fd00:16:2::4/64"},
		      {"172.16.2.2/24", "fd00:16:2::2/64"},
		      {"172.16.2.15/24", "fd00:16:2::15/64"}},
	.client = {"172.16.2.100/24", "fd00:16:2::100/64"},
	.vip_config = "interface = eth0\n"
		      "[" CLUSTER_MASTER "]\n"
		      "vip = " VIP4 "\n"
		      "vip = " VIP6 "\n",
	.sentinel = "sentinel deny-scripts-reconfig no\n",
};

struct cluster *c;
struct lab_result r;

struct lab_host *faces_host(int node)
{
	return c->node[node].host;
}

static void show(void)
{
	print_error("status %d, stdout:\n%s\nstderr:\n%s\n", r.status, r.out, r.err);
}

void faces_fail(const char *file, int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	print_error("%s\n", text);
	show();
	_fail(file, line);
}

void faces_expect(const char *file, int line, int status, const char *const texts[])
{
	if (r.timed_out || r.status != status)
		faces_fail(file, line, "status %d, expected %d", r.status, status);
	for (; *texts; texts++)
		if (!strstr(r.out, *texts))
			faces_fail(file, line, "\"%s\" is not in the output", *texts);
}

void faces_expect_not(const char *file, int line, const char *text)
{
	if (strstr(r.out, text))
		faces_fail(file, line, "\"%s\" is in the output", text);
}

const char *faces_mac(int node, const char *dev)
{
	static char text[18];
	unsigned char m[6];

	assert_true(lab_mac(faces_host(node), dev, m));
	snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return text;
}

void faces_restart_sentinel(int node, const char *const before[])
{
	const char *argv[16] = {NULL};
	int n = 0;

	cluster_sentinel_kill(c, node);
	for (; before[n]; n++)
		argv[n] = before[n];
	argv[n++] = "redis-sentinel";
	argv[n] = "/run/sentinel/sentinel.conf";
	c->node[node].sentinel = lab_spawn(faces_host(node), "sentinel.log", argv);
	assert_true(LAB_UNTIL(cluster_says(c, node) == A, 5000));
}

static void take_vips_away(struct lab_host *h)
{
	lab_must(h, "ip -o addr | awk '$4 ~ \"^(" VIP4 "|" VIP6 ")/\" "
		    "{ print \"ip addr del\", $4, \"dev\", $2 }' | sh");
}

/* As claim does it, but nothing goes on in the background. */
static void bind_vips(struct lab_host *h)
{
	lab_must(h, "ip addr add " VIP4 "/32 dev eth0 && "
		    "ip addr add " VIP6 "/128 dev eth0 nodad preferred_lft 0");
}

int faces_settle(void **state)
{
	(void)state;
	for (int i = 0; i < c->nodes; i++) {
		lab_config(faces_host(i), "%s", setup.vip_config);
		take_vips_away(faces_host(i));
	}
	cluster_settle(c);
	assert_int_equal(cluster_master(c), A);
	bind_vips(faces_host(A));
	return 0;
}

/*
 * C gets a second interface, eth1, without addresses, on the same switch. It can be broken without
 * breaking the cluster, since it answers for its own addresses only (arp_ignore).
 */
static int start(void **state)
{
	(void)state;
	c = cluster_start(&setup);
	lab_host_link(faces_host(C), "eth1", (const char *)NULL);
	lab_must(faces_host(C), "sysctl -qw net.ipv4.conf.eth1.arp_ignore=1");
	return 0;
}

static void failed(const char *message)
{
	fail_msg("%s", message);
}

static int run(int argc, char **argv)
{
	static int (*const groups[])(void) = {
		faces_status_tests,
		faces_check_tests,
		faces_process_tests,
		faces_sentinel_tests,
	};
	int bad = faces_parts_tests() != 0;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	start(NULL);
	lab_on_failure = failed;
	for (size_t i = 0; i < COUNT(groups); i++)
		bad += groups[i]() != 0;
	lab_on_failure = NULL;
	cluster_free(c);
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	return lab_main(argc, argv, run);
}
