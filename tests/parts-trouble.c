/* SPDX-License-Identifier: MIT */
/*
 * A kernel that refuses, lacks something, is short of memory or says nothing; connections that
 * come and go meanwhile; and very many of them.
 */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1;

static int setup(void **state)
{
	netns_setup(state);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	listener = parts_listener(us, "0.0.0.0", PORT);
	return 0;
}

static int teardown(void **state)
{
	close(listener);
	return parts_teardown(state);
}

/* The three functions, with what they must not write on an error. */
static struct {
	int count, destroy, listens;
	size_t counted, destroyed;
	bool listening;
} said;

static void call_all(double ms)
{
	struct ip ip = parts_ip(VIP4);

	said.counted = said.destroyed = 77;
	said.listening = true;
	parts_in(us);
	said.count = tcp_count(&ip, 1, clock_ms() + ms, &said.counted);
	said.listens = tcp_listens(&ip, PORT + 1, clock_ms() + ms, &said.listening);
	said.destroy = tcp_destroy(&ip, 1, clock_ms() + ms, &said.destroyed);
	parts_out();
}

static void expect_untouched(void)
{
	if (said.count < 0)
		assert_int_equal(said.counted, 77);
	if (said.destroy < 0)
		assert_int_equal(said.destroyed, 77);
	if (said.listens < 0)
		assert_true(said.listening);
}

/* ---- what the kernel refuses or lacks ---- */

/* In a child that is in the host already: 0 when all is as it should be, or the line. */
static int as_nobody(void *arg)
{
	struct ip ip = parts_ip(VIP4);
	double deadline = clock_ms() + HOLDS_MS;
	size_t n = 77;
	bool listens;

	(void)arg;
	if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		return __LINE__ % 256;
	if (tcp_destroy(&ip, 1, deadline, &n) != -EPERM || n != 77)
		return __LINE__ % 256;
	if (tcp_count(&ip, 1, deadline, &n) != 0 || n != 1)
		return __LINE__ % 256;
	if (tcp_listens(&ip, PORT, deadline, &listens) != 0 || !listens)
		return __LINE__ % 256;
	return 0;
}

static void nobody_may_look_but_not_destroy(void **state)
{
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);

	(void)state;
	assert_int_equal(lab_call(us, NULL, 5000, as_nobody, NULL), 0);
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

/* Goes through the requests of a datagram on its way to the kernel. */
#define for_each_request(header, data, size)                                                       \
	for (struct nlmsghdr *header = (struct nlmsghdr *)data; NLMSG_OK(header, size);            \
	     header = NLMSG_NEXT(header, size))

static uint8_t other_family, other_protocol;
static uint16_t other_type;

/* Makes of a request one that this kernel has nothing for, so that it is the one that answers. */
static int turn_away(const void *data, size_t size)
{
	for_each_request(header, data, size) {
		struct inet_diag_req_v2 *request = NLMSG_DATA(header);

		if (other_protocol != 0)
			request->sdiag_protocol = other_protocol;
		if (header->nlmsg_type != SOCK_DESTROY)
			continue;
		if (other_family != 0)
			request->sdiag_family = other_family;
		if (other_type != 0)
			header->nlmsg_type = other_type;
	}
	return 0;
}

static void without_destroy(void **state)
{
	struct pair pairs[40];

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++)
		pairs[i] = parts_pair(peer, listener, VIP4, PORT);
	parts_on_send = turn_away;
	other_type = other_protocol = 0;
	other_family = AF_NETLINK;	/* listed by sock_diag as well, never destroyed */
	call_all(HOLDS_MS);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	assert_int_equal(said.count, 0);
	assert_int_equal(said.counted, COUNT(pairs));
	expect_untouched();
	other_family = 0;
	other_type = 999;		/* as SOCK_DESTROY was before Linux 4.5 */
	call_all(HOLDS_MS);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	expect_untouched();
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_true(parts_alive(&pairs[i]));
		parts_close(&pairs[i]);
	}
}

/* The kernel says it at the end of a dump that had begun well. */
static void without_tcp_diag(void **state)
{
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);

	(void)state;
	parts_on_send = turn_away;
	other_family = 0;
	other_type = 0;
	other_protocol = 253;		/* RFC 3692: for experiments */
	call_all(HOLDS_MS);
	other_protocol = 0;
	assert_int_equal(said.count, -EOPNOTSUPP);
	assert_int_equal(said.listens, -EOPNOTSUPP);
	assert_int_equal(said.destroy, -EOPNOTSUPP);
	expect_untouched();
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

/* ---- time and memory ---- */

static void the_deadline_has_passed(void **state)
{
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);

	(void)state;
	call_all(-1);
	assert_int_equal(said.count, -ETIMEDOUT);
	assert_int_equal(said.listens, -ETIMEDOUT);
	assert_int_equal(said.destroy, -ETIMEDOUT);
	expect_untouched();
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

static ssize_t silence(ssize_t size)
{
	(void)size;
	errno = EAGAIN;
	return -1;
}

static void the_kernel_is_silent(void **state)
{
	double begun = clock_ms();

	(void)state;
	parts_on_received = silence;
	call_all(100);
	assert_int_equal(said.count, -ETIMEDOUT);
	assert_int_equal(said.listens, -ETIMEDOUT);
	assert_int_equal(said.destroy, -ETIMEDOUT);
	expect_untouched();
	assert_in_range((unsigned)(clock_ms() - begun), 298, 450);
}

static unsigned skip, times;
static int fault;

static int fail_now(void)
{
	if (skip > 0) {
		skip--;
		return 0;
	}
	if (times == 0)
		return 0;
	times--;
	errno = fault;
	return -1;
}

static int fail_to_send(const void *data, size_t size)
{
	(void)data;
	(void)size;
	return fail_now();
}

/* Twice, at the first call, the second, ...: what is tried again begins anew. */
static void the_kernel_is_only_busy(void **state)
{
	static const struct {
		int error;
		bool sending;
	} faults[] = { { ENOBUFS, false }, { EINTR, false }, { ENOBUFS, true } };
	struct pair pairs[700];

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++)
		pairs[i] = parts_pair(peer, listener, VIP4, PORT);
	for (size_t i = 0; i < COUNT(faults) * 4; i++) {
		fault = faults[i / 4].error;
		parts_on_receive = faults[i / 4].sending ? NULL : fail_now;
		parts_on_send = faults[i / 4].sending ? fail_to_send : NULL;
		skip = i % 4;
		times = 2;
		assert_int_equal(parts_count(VIP4), COUNT(pairs));
		assert_true(times == 0 || (faults[i / 4].sending && i % 4 >= 2));
		times = 2;
		skip = 0;
		assert_true(parts_listens(VIP4, PORT));
		assert_int_equal(times, 0);
	}
	parts_fault_clear(NULL);
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_true(parts_alive(&pairs[i]));
		parts_close(&pairs[i]);
	}
}

static bool is_told(int err)
{
	/* with memory short until the deadline, either is the reason */
	return err == -fault || (fault == ENOBUFS && err == -ETIMEDOUT);
}

static void errors_are_told(void **state)
{
	static const int faults[] = { ENOMEM, EPERM, ENOBUFS };
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);

	(void)state;
	for (size_t i = 0; i < COUNT(faults); i++) {
		parts_on_receive = fail_now;
		skip = 0;
		times = UINT32_MAX;
		fault = faults[i];
		call_all(100);
		assert_true(is_told(said.count) && is_told(said.listens) && is_told(said.destroy));
		expect_untouched();
	}
	parts_fault_clear(NULL);
	assert_true(parts_alive(&pair));
	parts_close(&pair);
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

static void no_descriptor_is_left(void **state)
{
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);
	int before = open_files();

	(void)state;
	call_all(-1);
	call_all(HOLDS_MS);
	assert_int_equal(said.destroyed, 1);
	assert_int_equal(open_files(), before);
	parts_close(&pair);
}

/* ---- what comes and goes meanwhile ---- */

static struct pair early, late;
static bool once;

static bool destroys(const void *data)
{
	return ((const struct nlmsghdr *)data)->nlmsg_type == SOCK_DESTROY;
}

/* The client resets its connection after the dump, before the request. */
static int reset_early(const void *data, size_t size)
{
	struct linger hard = { .l_onoff = 1 };

	(void)size;
	if (!destroys(data) || once)
		return 0;
	once = true;
	setsockopt(early.client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(early.client);
	lab_sleep_ms(20);
	return 0;
}

/* The request then means the address and port of the listener, and must not find it. */
static void one_has_gone_by_itself(void **state)
{
	struct pair others[2];

	(void)state;
	for (size_t last = 0; last < 2; last++) {
		others[0] = parts_pair(peer, listener, VIP4, PORT);
		early = parts_pair(peer, listener, VIP4, PORT);
		others[1] = parts_pair(peer, listener, VIP4, PORT);
		once = false;
		parts_on_send = reset_early;
		assert_int_equal(parts_destroy(VIP4), 2);
		assert_true(once);
		parts_fault_clear(NULL);
		assert_true(parts_reset(&others[0], 50));
		assert_true(parts_reset(&others[1], 50));
		assert_true(parts_listens(VIP4, PORT));
		close(early.server);
		parts_close(&others[0]);
		parts_close(&others[1]);
		/* once more, with nothing else in the datagram */
		early = parts_pair(peer, listener, VIP4, PORT);
		once = false;
		parts_on_send = reset_early;
		assert_int_equal(parts_destroy(VIP4), 0);
		parts_fault_clear(NULL);
		assert_true(parts_listens(VIP4, PORT));
		close(early.server);
	}
}

static int connect_late(const void *data, size_t size)
{
	(void)size;
	if (destroys(data) && !once) {
		once = true;
		parts_out();
		late = parts_pair(peer, listener, VIP4, PORT);
		parts_in(us);
	}
	return 0;
}

/* A client that is back before the release is over. */
static void one_is_back_already(void **state)
{
	struct pair pair = parts_pair(peer, listener, VIP4, PORT);

	(void)state;
	once = false;
	parts_on_send = connect_late;
	assert_int_equal(parts_destroy(VIP4), 2);
	assert_true(once);
	assert_true(parts_reset(&pair, 50));
	assert_true(parts_reset(&late, 50));
	parts_close(&pair);
	parts_close(&late);
}

/* ---- very many ---- */

#define MANY 10000

/* The clients of many connections, in a process of their own as they are too many for one. */
struct crowd {
	pid_t pid;
	int from, to;		/* pipes */
	int servers[MANY];
	size_t size;
};

static struct crowd crowd;

/* Says when all are connected, waits for the word, and says how many are reset. */
static void be_crowd(const char *address, size_t size, int from, int to)
{
	static struct pair pairs[MANY];
	size_t resets = 0;
	char byte = 0;

	lab_on_failure = NULL;
	for (size_t i = 0; i < size; i++)
		if ((pairs[i].client = parts_client(peer, address, PORT)) < 0)
			lab_fail("connection %zu: %m", i);
	if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1)
		_exit(1);
	/* all at once: one that waits in vain waits for the others as well */
	for (size_t i = 0; i < size; i++)
		resets += parts_reset(&pairs[i], resets == i ? 50 : 0);
	_exit(write(to, &resets, sizeof(resets)) != sizeof(resets));
}

static void crowd_come(const char *address, size_t size)
{
	struct rlimit files = { .rlim_cur = MANY + 500, .rlim_max = RLIM_INFINITY };
	int there[2], back[2];
	char byte;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = MANY + 500;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		lab_fail("%d open files: %m", MANY + 500);
	if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0 || (crowd.pid = fork()) < 0)
		lab_fail("fork: %m");
	if (crowd.pid == 0)
		be_crowd(address, size, there[0], back[1]);
	close(there[0]);
	close(back[1]);
	crowd.to = there[1];
	crowd.from = back[0];
	crowd.size = size;
	for (size_t i = 0; i < size; i++) {
		struct pollfd p = { .fd = listener, .events = POLLIN };

		if (poll(&p, 1, 5000) < 1 || (crowd.servers[i] = accept(listener, NULL, NULL)) < 0)
			lab_fail("connection %zu is not to be had", i);
	}
	if (read(crowd.from, &byte, 1) != 1)
		lab_fail("the clients have gone");
}

/* How many of the clients were reset. */
static size_t crowd_go(void)
{
	size_t resets = 0;

	if (write(crowd.to, "", 1) != 1 || read(crowd.from, &resets, sizeof(resets)) < 0)
		lab_fail("the clients have gone");
	lab_wait(crowd.pid, 5000);
	for (size_t i = 0; i < crowd.size; i++)
		close(crowd.servers[i]);
	close(crowd.from);
	close(crowd.to);
	return resets;
}

static size_t heard;

static ssize_t weigh(ssize_t size)
{
	if (size > 0)
		heard += (size_t)size;
	return size;
}

/* The kernel leaves out what is of no concern: it is not even copied here. */
static void foreign_connections_cost_little(void **state)
{
	(void)state;
	crowd_come(OUR4, 200);
	heard = 0;
	parts_on_received = weigh;
	assert_int_equal(parts_count(VIP4), 0);
	assert_in_range(heard, 1, 1000);
	heard = 0;
	assert_int_equal(parts_count(OUR4), 200);
	assert_true(heard > 72 * 200);
	parts_on_received = NULL;
	assert_int_equal(crowd_go(), 0);
}

/* The floor: the same dump, then one request and its answer after the other. */
static double floor_ms(size_t *destroyed)
{
	static struct inet_diag_req_v2 found[MANY];
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 fixed;
	} request = { .header = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
				  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		      .fixed = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP,
				 .idiag_states = 1 << TCP_ESTABLISHED } };
	static _Alignas(struct nlmsghdr) char datagram[32768];
	double begun = clock_ms();
	struct ip vip = parts_ip(VIP4);
	int fd = lab_socket(us, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	bool done = false;
	size_t n = 0;

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	while (!done) {
		ssize_t size = recv(fd, datagram, sizeof(datagram), 0);

		assert_true(size > 0);
		for_each_request(header, datagram, size) {
			struct inet_diag_msg *socket = NLMSG_DATA(header);

			if (header->nlmsg_type == NLMSG_DONE)
				done = true;
			else if (socket->id.idiag_src[0] == vip.in.s_addr && n < MANY)
				found[n++] = (struct inet_diag_req_v2){ .sdiag_family = AF_INET,
					.sdiag_protocol = IPPROTO_TCP, .id = socket->id };
		}
	}
	request.header.nlmsg_type = SOCK_DESTROY;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	for (size_t i = 0; i < n; i++) {
		request.fixed = found[i];
		assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
		assert_true(recv(fd, datagram, sizeof(datagram), 0) > 0);
	}
	close(fd);
	*destroyed = n;
	return clock_ms() - begun;
}

static void very_many_connections(void **state)
{
	double begun, floor, ours;
	size_t destroyed;

	(void)state;
	crowd_come(VIP4, MANY);
	assert_int_equal(parts_count(VIP4), MANY);
	floor = floor_ms(&destroyed);
	assert_int_equal(destroyed, MANY);
	assert_int_equal(crowd_go(), MANY);
	crowd_come(VIP4, MANY);
	begun = clock_ms();
	assert_int_equal(parts_destroy(VIP4), MANY);
	ours = clock_ms() - begun;
	assert_int_equal(crowd_go(), MANY);
	print_message("%d connections: %.1f ms, %.2f times the floor\n", MANY, ours, ours / floor);
	assert_true(ours < 3 * floor);
}

#define trouble_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int parts_trouble_tests(void)
{
	const struct CMUnitTest tests[] = {
		trouble_test(nobody_may_look_but_not_destroy),
		trouble_test(without_destroy),
		trouble_test(without_tcp_diag),
		trouble_test(the_deadline_has_passed),
		trouble_test(the_kernel_is_silent),
		trouble_test(the_kernel_is_only_busy),
		trouble_test(errors_are_told),
		trouble_test(no_descriptor_is_left),
		trouble_test(one_has_gone_by_itself),
		trouble_test(one_is_back_already),
		trouble_test(foreign_connections_cost_little),
		trouble_test(very_many_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
