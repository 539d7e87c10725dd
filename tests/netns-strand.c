/* SPDX-License-Identifier: MIT */
/*
 * Clients on the very host that claims, connected to the VIP while another host had it: no reset of that
 * host reaches them any more, since its source is an address of their own host by then. A claim that adds
 * the VIP ends such connections, and no others.
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
#define MAPPED "::ffff:" VIP4
#define TOLD_MS 5000 /* after the claim; on a busy machine, too */
#define QUIET_MS 200 /* for what must not come */

static const char hold_both[] = "ip addr add " VIP4 "/32 dev eth0; ip addr add " VIP6 "/128 dev eth0 nodad";
static const char drop_both[] = "ip addr del " VIP4 "/32 dev eth0; ip addr del " VIP6 "/128 dev eth0";

/* ---- the fixture: the peer has the VIPs, and clients on either host ---- */

static int theirs, ours; /* listeners on the peer and on us, of both families */

static int listener(struct lab_host *h)
{
	union tcp_address a;
	socklen_t size = tcp_address(BOTH, PORT, &a);
	int fd = lab_socket(h, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, &a.any, size) < 0 ||
	    listen(fd, 4096) < 0)
		lab_fail("listen: %m");
	return fd;
}

/* From an address of the host, or from one that the kernel chooses (NULL). */
static int client(struct lab_host *h, const char *from, const char *to)
{
	union tcp_address a, b;
	socklen_t size = tcp_address(to, PORT, &a);
	int fd = lab_socket(h, a.any.sa_family, SOCK_STREAM, 0), bad;

	if (from && bind(fd, &b.any, tcp_address(from, 0, &b)) < 0)
		lab_fail("bind to %s: %m", from);
	/* the route of an IPv6 address comes a moment after it */
	(void)LAB_UNTIL((bad = connect(fd, &a.any, size)) == 0 || errno != EHOSTUNREACH, 2000);
	if (bad < 0)
		lab_fail("connect to %s: %m", to);
	return fd;
}

static int setup(void **state)
{
	netns_setup(state);
	theirs = listener(peer);
	ours = listener(us);
	lab_must(peer, hold_both);
	lab_config(us, "announce = none\nverify = no\n" CONFIG_BOTH);
	return 0;
}

static int teardown(void **state)
{
	close(theirs);
	close(ours);
	return netns_teardown(state);
}

/* Within MS it learns that its connection is over; closes it. */
static bool is_told(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;
	bool told = poll(&p, 1, ms * lab_slow()) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNABORTED;

	close(fd);
	return told;
}

static bool is_quiet(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 0;
}

/* The announcer has come and gone. */
static void wait_for_its_end(void)
{
	assert_true(LAB_UNTIL((lab_sh(us, &r, "pgrep -x vip-announce"), r.status != 0), 3000));
}

/* Claims, by hand, and lets the announcer come to its end. */
static void claim(void)
{
	vip("claim", "mymaster");
	if (r.status != 0 || !lab_log_wait(us, "claimed", 500))
		fail_msg("status %d: %s", r.status, r.err);
	wait_for_its_end();
}

static void expect_line(const char *text)
{
	if (!lab_log_wait(us, text, TOLD_MS)) {
		lab_log_print(us);
		fail_msg("\"%s\" is not in the log", text);
	}
}

static void expect_no_line(void)
{
	if (lab_log_count(us, "of this host's") != 0) {
		lab_log_print(us);
		fail_msg("more is ended than was stranded");
	}
}

/* ---- those that are ended ---- */

static void waiting_clients_are_told(void **state)
{
	int stranded[] = {client(us, NULL, VIP4), client(us, NULL, MAPPED), client(us, NULL, VIP6),
			  client(us, NULL, VIP4)};
	int elsewhere = client(us, NULL, PEER4), from_afar = client(peer, NULL, OUR4);
	size_t n = sizeof stranded / sizeof *stranded;

	(void)state;
	shutdown(stranded[3], SHUT_WR); /* it has asked, and waits for the answer */
	lab_sleep_ms(50);
	sentinel(OUR4);
	assert_int_equal(r.status, 0);
	for (size_t i = 0; i < n; i++)
		if (!is_told(stranded[i], TOLD_MS))
			fail_msg("client %zu was told nothing", i);
	expect_line("mymaster: closed 4 of this host's connections to " VIP4 ", " VIP6
		    ": they led to the host that had it before");
	assert_true(is_quiet(elsewhere, QUIET_MS) && is_quiet(from_afar, 0));
	close(elsewhere);
	close(from_afar);
}

/* Whoever claims, and with the usual announcements. */
static void whoever_claims(void **state)
{
	int fd = client(us, NULL, VIP4);

	(void)state;
	lab_config(us, "verify = no\n" CONFIG4);
	vip("claim", "mymaster");
	assert_true(is_told(fd, TOLD_MS));
	expect_line("mymaster: closed 1 of this host's connections to " VIP4 ": ");
	/* and what has come to this host since stays */
	fd = client(us, OUR4, VIP4);
	lab_sleep_ms(2500);
	assert_true(tcp_passes(fd, tcp_server(ours)));
	close(fd);
}

/* ---- those that are not ---- */

/*
 * Connections of this host with itself, from each address that it has: as they are while an announcer
 * is late. They stand when the claim comes, so that it cannot miss them.
 */
static void what_ends_here_stays(void **state)
{
	static const char *const from[] = {NULL, OUR4, OUR4, NULL, OUR6, VIP4};
	static const char *const to[] = {VIP4, VIP4, MAPPED, VIP6, VIP6, VIP4};
	enum { N = sizeof from / sizeof *from };
	int clients[N], servers[N], stranded = client(us, NULL, VIP4), half;

	(void)state;
	lab_must(us, hold_both);
	for (int i = 0; i < N; i++) {
		const char *source = from[i] && strcmp(to[i], MAPPED) == 0 ? "::ffff:" OUR4 : from[i];

		clients[i] = client(us, source, to[i]);
		servers[i] = tcp_server(ours);
	}
	shutdown(clients[1], SHUT_WR);
	half = clients[1];
	lab_must(us, drop_both);
	claim();
	assert_true(is_told(stranded, TOLD_MS));
	expect_line("closed 1 of this host's connections to ");
	for (int i = 0; i < N; i++)
		if (!tcp_passes(servers[i], clients[i]) ||
		    (clients[i] != half && !tcp_passes(clients[i], servers[i])))
			fail_msg("connection %d is broken", i);
	for (int i = 0; i < N; i++) {
		close(clients[i]);
		close(servers[i]);
	}
}

/* Who still knocks is let in here. */
static void who_knocks_is_let_in(void **state)
{
	union tcp_address a;
	socklen_t size = tcp_address(VIP4, PORT, &a);
	int fd = lab_socket(us, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), server;

	(void)state;
	lab_must(peer, "ip route add blackhole " OUR4);
	assert_true(connect(fd, &a.any, size) < 0 && errno == EINPROGRESS);
	claim();
	server = tcp_server(ours); /* with the next SYN, a second after the first */
	assert_true(tcp_passes(fd, server) && tcp_passes(server, fd));
	expect_no_line();
	close(fd);
	close(server);
}

static void nothing_else_ends_them(void **state)
{
	int fd = client(us, NULL, VIP4);

	(void)state;
	lab_config(us, "announce = none\nverify = no\n" CONFIG4);
	assert_int_equal(vip("--dry-run", "claim", "mymaster"), 0);
	expect_said("  would close this host's connections that lead to another holder of what is added\n");
	assert_true(is_quiet(fd, QUIET_MS));
	/* it stands already */
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	assert_int_equal(vip("--dry-run", "claim", "mymaster"), 0);
	assert_null(strstr(r.out, "would close"));
	vip("claim", "mymaster");
	expect(0, "announced");
	assert_true(is_quiet(fd, QUIET_MS));
	/* another one is added */
	lab_config(us, "announce = none\nverify = no\n" CONFIG_BOTH);
	claim();
	assert_true(is_quiet(fd, QUIET_MS));
	expect_no_line();
	close(fd);
}

static void told_not_to_end_them(void **state)
{
	int fd = client(us, NULL, VIP4);

	(void)state;
	lab_config(us, "kill-connections = no\nannounce = none\nverify = no\n" CONFIG4);
	vip("--dry-run", "claim", "mymaster");
	assert_null(strstr(r.out, "would close"));
	claim();
	assert_true(is_quiet(fd, QUIET_MS));
	expect_no_line();
	close(fd);
}

/* The VIP leaves again before the announcer has come to look: who connects then is right. */
static void not_after_it_has_left(void **state)
{
	pid_t pid;
	int fd;

	(void)state;
	pid = lab_spawn(us, "slow", (const char *const[]){"strace", "-f", "-qq", "-o", "/dev/null", "-e",
		lab_delay("inject=flock:delay_enter=", 500000), lab_program(), "claim", "mymaster", NULL});
	assert_true(LAB_UNTIL(lab_addr_copies(us, VIP6) == 1, 5000));
	lab_must(us, drop_both);
	fd = client(us, NULL, VIP4);
	assert_true(lab_wait(pid, 10000) >= 0);
	wait_for_its_end();
	assert_true(is_quiet(fd, QUIET_MS));
	expect_no_line();
	close(fd);
}

/* ---- where it cannot be done ---- */

/* The third message of the announcer to sock_diag is the request; the first two ask for lists. */
static void kernel_cannot_end_them(void **state)
{
	int fd = client(us, NULL, VIP4);

	(void)state;
	lab_run(us, &r, 20000,
		(const char *const[]){"strace", "-f", "-qq", "-o", "/dev/null", "-e",
				      "inject=sendto:error=EOPNOTSUPP:when=3", lab_program(), "claim",
				      "mymaster", NULL});
	assert_int_equal(r.status, 0);
	expect_line("mymaster: connections are not closed: this kernel has no CONFIG_INET_DIAG_DESTROY; "
		    "clients on this host that only wait at " VIP4 ", " VIP6 " are not told that it has moved");
	assert_true(is_quiet(fd, 0));
	close(fd);
}

/* ---- very many ---- */

#define MANY 10000

/* Too many for one process together with their other ends: it has the others. */
static void accept_all(int until)
{
	char c;

	lab_on_failure = NULL;
	for (int i = 0; i < MANY; i++)
		tcp_server(theirs);
	_exit(read(until, &c, 1) != 0);
}

static void ten_thousand_are_told(void **state)
{
	struct rlimit files = {.rlim_cur = MANY + 500, .rlim_max = MANY + 500}, before;
	static int clients[MANY];
	int64_t begun;
	int until[2];
	pid_t pid;

	(void)state;
	if (getrlimit(RLIMIT_NOFILE, &before) < 0)
		lab_fail("getrlimit: %m");
	if (files.rlim_max < before.rlim_max)
		files.rlim_max = before.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || pipe2(until, O_CLOEXEC) < 0)
		lab_fail("%d open files: %m", MANY + 500);
	fflush(NULL);
	if ((pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid == 0) {
		close(until[1]);
		accept_all(until[0]);
	}
	for (int i = 0; i < MANY; i++)
		clients[i] = client(us, NULL, VIP4);
	sentinel(OUR4);
	begun = lab_now_ns();
	assert_int_equal(r.status, 0);
	for (int i = 0; i < MANY; i++)
		if (!is_told(clients[i], TOLD_MS))
			fail_msg("client %d was told nothing", i);
	print_message("the claim took %d us; all were told %d ms later\n",
		      (int)((r.exit_ns - r.exec_ns) / 1000), (int)((lab_now_ns() - begun) / 1000000));
	expect_line("closed 10000 of this host's connections to ");
	close(until[0]);
	close(until[1]);
	assert_int_equal(lab_wait(pid, 2000), 0);
	setrlimit(RLIMIT_NOFILE, &before);
}

int netns_strand_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(waiting_clients_are_told), test(whoever_claims),	 test(what_ends_here_stays),
		test(who_knocks_is_let_in),	test(nothing_else_ends_them), test(told_not_to_end_them),
		test(not_after_it_has_left),	test(kernel_cannot_end_them),	 test(ten_thousand_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
