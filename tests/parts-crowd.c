/* SPDX-License-Identifier: MIT */
/*
 * Connections that come and go while they are looked at, and very many of them: what the kernel
 * does in between, and what all of it costs.
 */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* The request then means the address and port of the parts_door, and must not find it. */
static void one_has_gone_by_itself(void **state)
{
	struct pair others[2];

	(void)state;
	for (size_t last = 0; last < 2; last++) {
		others[0] = parts_pair(peer, parts_door, VIP4, PORT);
		early = parts_pair(peer, parts_door, VIP4, PORT);
		others[1] = parts_pair(peer, parts_door, VIP4, PORT);
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
		early = parts_pair(peer, parts_door, VIP4, PORT);
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
		late = parts_pair(peer, parts_door, VIP4, PORT);
		parts_in(us);
	}
	return 0;
}

/* A client that is back before the release is over. */
static void one_is_back_already(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

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
		struct pollfd p = { .fd = parts_door, .events = POLLIN };

		if (poll(&p, 1, 5000) < 1 || (crowd.servers[i] = accept(parts_door, NULL, NULL)) < 0)
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
		for_each_message(header, datagram, size) {
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
	double begun, floor, spent;
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
	spent = clock_ms() - begun;
	assert_int_equal(crowd_go(), MANY);
	print_message("%d connections: %.1f ms, %.2f times the floor\n", MANY, spent, spent / floor);
	assert_true(spent < 3 * floor);
}

int parts_crowd_tests(void)
{
	const struct CMUnitTest tests[] = {
		door_test(one_has_gone_by_itself),
		door_test(one_is_back_already),
		door_test(foreign_connections_cost_little),
		door_test(very_many_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
