/* SPDX-License-Identifier: MIT */
/*
 * Clients that connect anew the moment they have read their reset, while the release that sent it
 * still goes on: each is told again or kept out, and none is left with a connection that is no more.
 * A release that is killed between the one and the other is mended by the next run.
 */
#include "netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 6379
#define CLIENTS 100
#define TURNS 5
#define APART_US 200
#define ARRIVE_MS 5000 /* a SYN that nobody answered is sent again after 1 and 3 s */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t make(const char *text, union address *a)
{
	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(PORT);
		return sizeof a->in;
	}
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(PORT);
	inet_pton(AF_INET6, text, &a->in6.sin6_addr);
	return sizeof a->in6;
}

/* ---- the crowd, in a process of the peer's ---- */

static int crowd[CLIENTS], ear;
static bool talks; /* each speaks first, as clients of Redis do */

static void come(int i, const char *address)
{
	struct epoll_event e = {.events = EPOLLIN | (talks ? EPOLLOUT : 0), .data.u32 = (uint32_t)i};
	union address a;
	socklen_t size = make(address, &a);

	crowd[i] = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (crowd[i] < 0 || (connect(crowd[i], &a.any, size) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(ear, EPOLL_CTL_ADD, crowd[i], &e) < 0)
		_exit(3);
}

/* Connected, or told that it is not: in the latter case to be heard of once more. */
static void talk(int i)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

	(void)!send(crowd[i], "x", 1, MSG_NOSIGNAL);
	if (epoll_ctl(ear, EPOLL_CTL_MOD, crowd[i], &e) < 0)
		_exit(6);
}

/*
 * Whoever loses its connection is back at once, until all were greeted. They come all together, or
 * every few hundred microseconds one.
 */
static void mingle(const char *address, int apart_us, int tell)
{
	int greeted = 0, come_on = 0;
	char c = 0;

	if (lab_enter(peer) < 0 || (ear = epoll_create1(0)) < 0)
		_exit(2);
	while (greeted < CLIENTS) {
		struct epoll_event e;

		for (; come_on < CLIENTS; come_on++) {
			come(come_on, address);
			if (apart_us > 0) {
				usleep((useconds_t)apart_us);
				come_on++;
				break;
			}
		}
		if (epoll_wait(ear, &e, 1, come_on < CLIENTS ? 0 : -1) < 1)
			continue;
		if ((e.events & (EPOLLOUT | EPOLLERR)) == EPOLLOUT) {
			talk((int)e.data.u32);
			continue;
		}
		if (recv(crowd[e.data.u32], &c, 1, 0) == 1) {
			greeted++;
			continue;
		}
		close(crowd[e.data.u32]);
		if (write(tell, "r", 1) != 1)
			_exit(5);
		come((int)e.data.u32, address);
	}
	_exit(0);
}

static pid_t crowd_start(const char *address, int apart_us, int *told)
{
	int pipe_fds[2];
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		lab_fail("pipe: %m");
	fflush(NULL);
	if ((pid = fork()) < 0)
		lab_fail("fork: %m");
	if (pid == 0) {
		lab_on_failure = NULL;
		mingle(address, apart_us, pipe_fds[1]);
	}
	close(pipe_fds[1]);
	*told = pipe_fds[0];
	return pid;
}

/* ---- the hosts ---- */

static struct lab_host *new;
static int door, new_door;

static int listener(const struct lab_host *h)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int on = 1, fd = lab_socket(h, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 4096) < 0)
		lab_fail("listen: %m");
	return fd;
}

static int accept_all(int from, int fds[], int n, int ms)
{
	struct pollfd p = {.fd = from, .events = POLLIN};
	int64_t until = lab_now_ns() + ms * INT64_C(1000000);

	while (n < CLIENTS && lab_now_ns() < until && poll(&p, 1, ms) == 1)
		if ((fds[n] = accept4(from, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			n++;
	return n;
}

static void greet(int fds[], int n)
{
	for (int i = 0; i < n; i++)
		if (write(fds[i], "n", 1) != 1)
			lab_fail("write: %m");
}

static int setup(void **state)
{
	talks = false;
	netns_setup(state);
	new = lab_host("new", "10.0.0.3/24", "fd00::3/64", NULL);
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	lab_config(new, "announce = none\n" CONFIG_BOTH);
	door = listener(us);
	new_door = listener(new);
	return 0;
}

static int teardown(void **state)
{
	close(door);
	close(new_door);
	lab_host_free(new);
	return netns_teardown(state);
}

/* The peer can connect to it; an address that hears nothing is silent. */
static bool reaches(const char *address)
{
	struct timeval limit = {.tv_usec = 300000};
	union address a;
	socklen_t size = make(address, &a);
	int fd = lab_socket(peer, a.any.sa_family, SOCK_STREAM, 0);
	bool connected = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
			 connect(fd, &a.any, size) == 0;

	close(fd);
	return connected;
}

/* ---- the tests ---- */

static void nobody_is_left_behind(const char *address)
{
	int here[CLIENTS], there[CLIENTS], told, n, status;
	char resets[16 * CLIENTS];
	struct lab_result claimed;
	ssize_t first;
	pid_t pid;

	vip("claim", "mymaster");
	pid = crowd_start(address, 0, &told);
	assert_int_equal(accept_all(door, here, 0, ARRIVE_MS), CLIENTS);
	vip("release", "mymaster");
	assert_int_equal(r.status, 0);
	lab_vip(new, &claimed, "claim", "mymaster", NULL);
	assert_int_equal(claimed.status, 0);
	n = accept_all(new_door, there, 0, ARRIVE_MS);
	greet(there, n);
	first = read(told, resets, sizeof resets);
	if (n != CLIENTS)
		print_error("%s: %d of %d clients were left behind (%d resets)\n", address,
			    CLIENTS - n, CLIENTS, (int)first);
	status = lab_wait(pid, n == CLIENTS ? 1000 : 0);
	if (status < 0)
		kill(pid, SIGKILL);
	assert_int_equal(status, 0);
	assert_true(first >= CLIENTS);
	for (int i = 0; i < CLIENTS; i++) {
		close(here[i]);
		close(there[i]);
	}
	close(told);
	lab_vip(new, NULL, "release", "mymaster", NULL);
	lab_log_clear(us);
}

/*
 * They come one after the other while the release is under way: one whose handshake it falls into
 * believes that it is connected. What it says is heard by the new holder, which knows nothing of it.
 */
static void nobody_is_lost_who_comes_just_then(void **state)
{
	int there[CLIENTS], told, n, status;
	struct lab_result claimed;
	pid_t pid;

	(void)state;
	talks = true;
	for (int turn = 0; turn < TURNS; turn++) {
		vip("claim", "mymaster");
		pid = crowd_start(VIP4, APART_US, &told);
		lab_sleep_ms(5);
		vip("release", "mymaster");
		assert_int_equal(r.status, 0);
		lab_vip(new, &claimed, "claim", "mymaster", NULL);
		assert_int_equal(claimed.status, 0);
		n = accept_all(new_door, there, 0, ARRIVE_MS);
		if (n != CLIENTS)
			print_error("%d of %d clients were lost\n", CLIENTS - n, CLIENTS);
		greet(there, n);
		status = lab_wait(pid, n == CLIENTS ? 2000 : 0);
		if (status < 0)
			kill(pid, SIGKILL);
		assert_int_equal(status, 0);
		for (int i = 0; i < n; i++)
			close(there[i]);
		close(told);
		lab_vip(new, NULL, "release", "mymaster", NULL);
	}
}

static void back_at_once(void **state)
{
	(void)state;
	for (int turn = 0; turn < TURNS; turn++)
		nobody_is_left_behind(VIP4);
}

static void back_at_once_v6(void **state)
{
	(void)state;
	for (int turn = 0; turn < TURNS; turn++)
		nobody_is_left_behind(VIP6);
}

/* ---- a release that is killed between the route and the address ---- */

static void kill_the_release(void)
{
	static const char *const vips[] = {VIP4, VIP6};

	vip("claim", "mymaster");
	assert_int_equal(r.status, 0);
	lab_run(us, &r, 20000,
		(const char *const[]){"strace", "-f", "-qq", "-o", "/dev/null", "-e",
				      "inject=sendto:signal=SIGKILL:when=1", lab_program(), "release",
				      "mymaster", NULL});
	assert_int_not_equal(r.status, 0);
	lab_log_clear(us);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lab_addr_copies(us, vips[i]), 1);
		assert_false(reaches(vips[i]));
	}
}

static void killed_then_released(void **state)
{
	(void)state;
	kill_the_release();
	vip("release", "mymaster");
	expect(0, "released " VIP4 " from eth0, " VIP6 " from eth0");
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
}

/* Rightful once more: an address that hears nothing is as good as none. */
static void killed_then_claimed(void **state)
{
	(void)state;
	kill_the_release();
	sentinel(OUR4);
	expect(0, "claimed " VIP4 " on eth0", VIP6 " on eth0");
	assert_true(reaches(VIP4) && reaches(VIP6));
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0, " VIP6 " on eth0");
}

/* The route is in another table, as that of a VRF; then the address is neither. */
static void another_table(void **state)
{
	(void)state;
	lab_config(us, "announce = none\n" CONFIG4);
	vip("claim", "mymaster");
	lab_must(us, "ip rule add pref 1 lookup 77; ip route add local " VIP4 " dev eth0 table 77; "
		     "ip route del local " VIP4 " dev eth0 table local");
	lab_log_clear(us);
	assert_true(reaches(VIP4));
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0");
	/* nor where this namespace's rules do not lead there */
	lab_must(us, "ip rule del pref 1");
	sentinel(OUR4);
	expect(0, "announced " VIP4 " on eth0");
	assert_int_equal(lab_sh(us, NULL, "ip route show table 77 | grep -q ."), 0);
	sentinel(PEER4);
	expect(0, "released " VIP4);
	lab_sh(us, &r, "ip route show table 77");
	assert_string_equal(r.out, "");
}

/* The host's own address, configured as a VIP: what would take the default route along stays. */
static void sealed_and_all_that_the_host_has(void **state)
{
	char *before;

	(void)state;
	lab_config(us, "announce = none\n" CONFIG4);
	lab_must(us, "ip addr del " OUR4 "/24 dev eth0; ip addr add " VIP4 "/24 dev eth0; "
		     "ip route add default via " PEER4 "; ip route del local " VIP4 " table local");
	before = netns_state();
	vip("claim", "mymaster");
	expect(0, "announced " VIP4);
	expect_same_state(before);
}

#define crowd_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int netns_crowd_tests(void)
{
	const struct CMUnitTest tests[] = {
		crowd_test(back_at_once),
		crowd_test(back_at_once_v6),
		crowd_test(nobody_is_lost_who_comes_just_then),
		crowd_test(killed_then_released),
		crowd_test(killed_then_claimed),
		crowd_test(another_table),
		crowd_test(sealed_and_all_that_the_host_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
