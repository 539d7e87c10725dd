/* SPDX-License-Identifier: MIT */
/*
 * What becomes of the clients' connections: reset by a release, so that they connect to the new
 * master, and nothing else with them. And a claim says so when nobody would accept them.
 */
#include "netns-tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PORT 6379
#define OTHER_PORT 6380
#define TOLD_MS 50 /* from the release to the reset */

/* ---- the fixture: a listener of each kind, and connections through them ---- */

enum { TO_VIP4, TO_VIP6, TO_MAPPED, TO_VIPS, TO_OURS4 = TO_VIPS, TO_OURS6, PAIRS };

static int listeners[3], clients[PAIRS], servers[PAIRS];

static void connect_all(void)
{
	const struct {
		const char *address;
		int port, listener;
	} to[PAIRS] = {{VIP4, PORT, 0},
		       {VIP6, PORT, 1},
		       {VIP4, OTHER_PORT, 2},
		       {OUR4, PORT, 0},
		       {OUR6, OTHER_PORT, 2}};

	for (int i = 0; i < PAIRS; i++) {
		clients[i] = tcp_client(to[i].address, to[i].port);
		servers[i] = tcp_server(listeners[to[i].listener]);
	}
}

static void close_all(void)
{
	for (int i = 0; i < PAIRS; i++) {
		close(clients[i]);
		close(servers[i]);
	}
}

static int setup(void **state)
{
	netns_setup(state);
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	sentinel(OUR4);
	lab_log_clear(us);
	listeners[0] = tcp_listener("0.0.0.0", PORT);
	listeners[1] = tcp_listener("::", PORT);
	listeners[2] = tcp_listener(BOTH, OTHER_PORT);
	connect_all();
	return 0;
}

static int teardown(void **state)
{
	close_all();
	for (int i = 0; i < 3; i++)
		close(listeners[i]);
	return netns_teardown(state);
}

static void expect_passing(int from, int to)
{
	for (int i = from; i < to; i++)
		if (!tcp_passes(clients[i], servers[i]) || !tcp_passes(servers[i], clients[i]))
			fail_msg("connection %d is broken", i);
}

/* ---- releases ---- */

static void clients_are_told(void **state)
{
	(void)state;
	expect_passing(0, PAIRS);
	sentinel(PEER4);
	for (int i = 0; i < TO_VIPS; i++)
		if (!tcp_is_reset(clients[i], TOLD_MS - (int)((lab_now_ns() - r.exit_ns) / 1000000)))
			fail_msg("client %d was not told", i);
	expect(0, "released " VIP4 " from eth0, " VIP6 " from eth0, 3 connections closed");
	expect_passing(TO_VIPS, PAIRS);
	/* the listeners are as they were */
	close_all();
	sentinel(OUR4);
	expect(0, "claimed");
	connect_all();
	expect_passing(0, PAIRS);
}

static void only_what_goes(void **state)
{
	(void)state;
	lab_config(us, CONFIG6);
	vip("release", "mymaster");
	expect(0, "released " VIP6 " from eth0, 1 connection closed");
	assert_true(tcp_is_reset(clients[TO_VIP6], 0));
	assert_true(tcp_passes(clients[TO_VIP4], servers[TO_VIP4]));
	expect_passing(TO_MAPPED, PAIRS);
}

static void nothing_else_closes_them(void **state)
{
	(void)state;
	sentinel(OUR4);
	expect(0, "announced");
	assert_int_equal(vip("--dry-run", "release", "mymaster"), 0);
	assert_non_null(strstr(r.out, "would close the TCP connections"));
	expect_passing(0, PAIRS);
	/* the VIP of another host is no concern of a release here */
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0 && ip addr add " VIP4 "/32 dev lo");
	lab_config(us, CONFIG4);
	sentinel(PEER4);
	expect(0, "nothing to do", VIP4 " is left on lo");
	assert_int_equal(tcp_established(VIP4), 2);
}

static void told_not_to(void **state)
{
	(void)state;
	lab_config(us, "kill-connections = no\n" CONFIG_BOTH);
	sentinel(PEER4);
	assert_null(strstr(lab_log_wait(us, "released", 500), "closed"));
	expect(0, "released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	for (int i = 0; i < TO_VIPS; i++) {
		struct pollfd p = {.fd = clients[i], .events = POLLIN};

		assert_int_equal(poll(&p, 1, i ? 0 : 200), 0);
	}
	assert_int_equal(tcp_established(VIP4) + tcp_established(VIP6), 3);
	expect_passing(TO_VIPS, PAIRS);
}

/*
 * A kernel without SOCK_DESTROY, as strace(1) can make one: of the messages to sock_diag every
 * second is the request, after one for the list.
 */
static void kernel_cannot(void **state)
{
	const char *said;

	(void)state;
	lab_run(us, &r, 20000,
		(const char *const[]){"strace", "-f", "-qq", "-o", "/dev/null", "-e",
				      "inject=sendto:error=EOPNOTSUPP:when=2+2", lab_program(),
				      "release", "mymaster", NULL});
	said = lab_log_wait(us, "connections are not closed", 500);
	if (said && strstr(strstr(said, "are not closed") + 1, "are not closed"))
		fail_msg("said twice: %s", said);
	expect(0, "released " VIP4 " from eth0, " VIP6 " from eth0",
	       "WARNING: connections are not closed: this kernel has no CONFIG_INET_DIAG_DESTROY");
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	assert_int_equal(tcp_established(VIP4) + tcp_established(VIP6), 3);
	expect_passing(TO_VIPS, PAIRS);
}

/* ---- clients that come while a release is under way ---- */

#define COMERS 300

static int comers[COMERS], comer_count;

/* Starts a release with these faults, and lets one client come every 3 ms while it runs. */
static void release_slowly(const char *const faults[])
{
	const char *argv[16] = {"strace", "-f", "-qq", "-o", "/dev/null"};
	int n = 5, status;
	pid_t pid;

	while (*faults) {
		argv[n++] = "-e";
		argv[n++] = *faults++;
	}
	argv[n++] = lab_program();
	argv[n++] = "release";
	argv[n++] = "mymaster";
	pid = lab_spawn(us, "slow", argv);
	comer_count = 0;
	while ((status = lab_wait(pid, 0)) < 0) {
		union tcp_address a;
		socklen_t size = tcp_address(VIP4, PORT, &a);
		int fd = lab_socket(peer, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		assert_true(connect(fd, &a.any, size) < 0 && errno == EINPROGRESS);
		lab_sleep_ms(3 * lab_slow());
		assert_true(comer_count < COMERS);
		comers[comer_count++] = fd;
	}
	assert_int_equal(status, 0);
}

/* How many were told that their connection has ended; forgets all of them. */
static int comers_told(int *knocking)
{
	int told = 0;

	*knocking = 0;
	for (int i = 0; i < comer_count; i++) {
		struct tcp_info info;
		socklen_t size = sizeof info;

		assert_int_equal(getsockopt(comers[i], IPPROTO_TCP, TCP_INFO, &info, &size), 0);
		*knocking += info.tcpi_state == TCP_SYN_SENT;
		told += tcp_is_reset(comers[i], 0);
		close(comers[i]);
	}
	return told;
}

/* What the line says of the number of connections. */
static int closed(void)
{
	const char *said = lab_log_wait(us, VIP6 " from eth0, ", 500);

	assert_non_null(said);
	return atoi(strstr(said, VIP6) + strlen(VIP6 " from eth0, "));
}

/* Whoever gets in is told; the others knock until the new holder lets them in. */
static void clients_that_come_meanwhile(void **state)
{
	int told, knocking;

	(void)state;
	release_slowly((const char *const[]){lab_delay("inject=sendmsg:delay_enter=", 60000), NULL});
	told = comers_told(&knocking);
	assert_true(told > 0 && knocking > 0); /* it was slow */
	assert_int_equal(told + knocking, comer_count);
	assert_int_equal(tcp_established(VIP4) + tcp_established(VIP6), 0);
	assert_true(closed() >= TO_VIPS + told);
}

/*
 * A kernel that does not take the local route away: of those that came between the look and the end
 * of the address none is left here, though they cannot be told.
 */
static void kernel_cannot_seal(void **state)
{
	char fault[64];
	int told, knocking, first;

	(void)state;
	lab_must(us, "strace -qq -o /run/calls -e trace=sendmsg -e signal=none %s release mymaster", lab_program());
	lab_sh(us, &r, "grep -n RTM_DELROUTE /run/calls | cut -d: -f1");
	first = atoi(r.out);
	assert_true(first > 0);
	lab_log_clear(us);
	close_all();
	sentinel(OUR4);
	lab_log_clear(us);
	connect_all();
	snprintf(fault, sizeof fault, "inject=sendmsg:error=EPERM:when=%d..%d", first, first + 1);
	release_slowly((const char *const[]){fault, lab_delay("inject=sendto:delay_exit=", 60000), NULL});
	told = comers_told(&knocking);
	assert_true(told > 0 && told + knocking < comer_count);
	assert_int_equal(tcp_established(VIP4) + tcp_established(VIP6), 0);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
	assert_true(closed() > TO_VIPS + told);
}

/* ---- very many ---- */

#define MANY 10000

/* Too many for one process together with their other ends. */
static void crowd(int from, int to)
{
	static int fds[MANY];
	int resets = 0;
	char c = 0;

	lab_on_failure = NULL;
	for (int i = 0; i < MANY; i++)
		fds[i] = tcp_client(VIP4, PORT);
	if (write(to, &c, 1) != 1 || read(from, &c, 1) != 1)
		_exit(1);
	for (int i = 0; i < MANY; i++)
		resets += tcp_is_reset(fds[i], resets == i ? TOLD_MS : 0);
	_exit(write(to, &resets, sizeof resets) != sizeof resets);
}

static void ten_thousand(void **state)
{
	struct rlimit files = {.rlim_cur = MANY + 500, .rlim_max = MANY + 500}, before;
	int there[2], back[2], resets = 0;
	static int fds[MANY];
	pid_t pid;
	char c;

	(void)state;
	if (getrlimit(RLIMIT_NOFILE, &before) < 0)
		lab_fail("getrlimit: %m");
	if (files.rlim_max < before.rlim_max)
		files.rlim_max = before.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || pipe2(there, O_CLOEXEC) < 0 ||
	    pipe2(back, O_CLOEXEC) < 0)
		lab_fail("%d open files: %m", MANY + 500);
	fflush(NULL);
	if ((pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid == 0)
		crowd(there[0], back[1]);
	for (int i = 0; i < MANY; i++)
		fds[i] = tcp_server(listeners[0]);
	assert_int_equal(read(back[0], &c, 1), 1);
	sentinel(PEER4);
	assert_int_equal(write(there[1], "", 1), 1);
	assert_int_equal(read(back[0], &resets, sizeof resets), sizeof resets);
	assert_int_equal(lab_wait(pid, 1000), 0);
	assert_int_equal(resets, MANY);
	expect(0, "released " VIP4, ", 10003 connections closed");
	print_message("the release of 10003 connections took %d ms\n",
		      (int)((r.exit_ns - r.exec_ns) / 1000000));
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	setrlimit(RLIMIT_NOFILE, &before);
}

/* ---- who would accept them ---- */

/* A claim of the VIPs in CONFIG when something listens, or nothing (NULL), at that port. */
static void claim_with(const char *config, const char *listens, int port, const char *address)
{
	int fd = listens ? tcp_listener(listens, port) : -1;
	char warning[128] = "";
	const char *said;

	if (address)
		snprintf(warning, sizeof warning,
			 "WARNING: nobody listens on %s port 6379: see bind in redis.conf",
			 address);
	lab_config(us, "announce = none\nverify = no\n%s", config);
	sentinel(OUR4);
	said = lab_log_wait(us, "claimed", 500);
	if (!address && (!said || strstr(said, "WARNING")))
		fail_msg("with %s port %d: %s", listens, port, said);
	expect(0, "claimed", warning);
	sentinel(PEER4);
	lab_log_clear(us);
	if (fd >= 0)
		close(fd);
}

static void nobody_listens(void **state)
{
	(void)state;
	claim_with(CONFIG4, NULL, 0, VIP4);
	claim_with(CONFIG4, "127.0.0.1", PORT, VIP4);
	claim_with(CONFIG4, OUR4, PORT, VIP4);
	claim_with(CONFIG4, "0.0.0.0", OTHER_PORT, VIP4);
	claim_with(CONFIG4, "::", PORT, VIP4);
	claim_with(CONFIG6, "0.0.0.0", PORT, VIP6);
	claim_with(CONFIG6, "::1", PORT, VIP6);
	claim_with(CONFIG_BOTH, "::", PORT, VIP4);
	claim_with(CONFIG_BOTH, "0.0.0.0", PORT, VIP6);
}

static void somebody_listens(void **state)
{
	(void)state;
	claim_with(CONFIG4, "0.0.0.0", PORT, NULL);
	claim_with(CONFIG6, "::", PORT, NULL);
	claim_with(CONFIG_BOTH, BOTH, PORT, NULL);
}

int netns_reset_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(clients_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_else_closes_them, setup, teardown),
		cmocka_unit_test_setup_teardown(told_not_to, setup, teardown),
		cmocka_unit_test_setup_teardown(kernel_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_that_come_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(kernel_cannot_seal, setup, teardown),
		cmocka_unit_test_setup_teardown(ten_thousand, setup, teardown),
		netns_test(nobody_listens),
		netns_test(somebody_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
