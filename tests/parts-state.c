/* SPDX-License-Identifier: MIT */
/* Connections in every state that the kernel knows, half-open ones and leftovers included. */
#include "parts.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How many sockets with the VIP at their end are in this state, says ss(8). */
static bool in_state(const char *state, int n)
{
	return lab_sh(us, NULL,
		      "test $(ss -Hntao state %s src " VIP4 " | grep -c .) = %d", state, n) == 0;
}

#define expect_state(state, n) assert_true(LAB_UNTIL(in_state(state, n), 2000))

/* It goes at once, whatever the peer does not say. */
static void expect_destroyed(size_t n)
{
	double begun = clock_ms();

	assert_int_equal(parts_count(VIP4), n);
	assert_int_equal(parts_destroy(VIP4), n);
	assert_int_equal(parts_count(VIP4), 0);
	assert_true(clock_ms() - begun < 500);
}

static void half_open(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);
	static const char data[4096];

	(void)state;
	lab_cut(peer, true);
	assert_int_equal(send(pair.server, data, sizeof(data), 0), sizeof(data));
	expect_destroyed(1);
	parts_close(&pair);
}

static void close_wait(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	shutdown(pair.client, SHUT_WR);
	expect_state("close-wait", 1);
	expect_destroyed(1);
	assert_true(parts_reset(&pair, 50));
	parts_close(&pair);
}

/* The client has read the end of what the server says, and now learns that nobody listens. */
static void fin_wait_2(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);
	struct pollfd p = { .fd = pair.client };
	char byte;

	(void)state;
	shutdown(pair.server, SHUT_WR);
	expect_state("fin-wait-2", 1);
	expect_destroyed(1);
	assert_int_equal(poll(&p, 1, 50), 1);	/* POLLERR or POLLHUP */
	assert_int_equal(send(pair.client, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(recv(pair.client, &byte, 1, MSG_DONTWAIT), 0);
	parts_close(&pair);
}

static void fin_wait_1(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	lab_cut(peer, true);
	shutdown(pair.server, SHUT_WR);
	expect_state("fin-wait-1", 1);
	expect_destroyed(1);
	parts_close(&pair);
}

/* No process has it any more, but it still speaks. */
static void fin_wait_1_of_nobody(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	lab_cut(peer, true);
	close(pair.server);
	expect_state("fin-wait-1", 1);
	expect_destroyed(1);
	close(pair.client);
}

static void last_ack(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	shutdown(pair.client, SHUT_WR);
	expect_state("close-wait", 1);
	lab_cut(peer, true);
	close(pair.server);
	expect_state("last-ack", 1);
	expect_destroyed(1);
	close(pair.client);
}

static void closing(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	/* both end at once: from here on the peer does not hear us, but we hear it */
	lab_must(us, "ip neigh replace " PEER4 " lladdr 02:00:00:00:00:99 dev eth0");
	shutdown(pair.server, SHUT_WR);
	expect_state("fin-wait-1", 1);
	shutdown(pair.client, SHUT_WR);
	expect_state("closing", 1);
	expect_destroyed(1);
	parts_close(&pair);
}

/* The kernel keeps a small remainder, which it lists as FIN_WAIT2: the connection is over. */
static void fin_wait_2_of_nobody(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	close(pair.server);
	expect_state("fin-wait-2", 1);
	expect_destroyed(0);
	assert_true(in_state("fin-wait-2", 1));
	close(pair.client);
}

static void time_wait(void **state)
{
	struct pair pair = parts_pair(peer, parts_door, VIP4, PORT);

	(void)state;
	close(pair.server);
	expect_state("fin-wait-2", 1);
	close(pair.client);
	expect_state("time-wait", 1);
	expect_destroyed(0);
	assert_true(in_state("time-wait", 1));
}

/* The client believes that it is connected; the server waits for its first byte. */
static void syn_recv(void **state)
{
	static const char *const listens[] = { "0.0.0.0", "*" };
	int seconds = 10;

	(void)state;
	for (size_t i = 0; i < COUNT(listens); i++) {
		int waits = parts_listener(us, listens[i], (uint16_t)(PORT + 1 + i));
		struct pair pair = { .server = -1 };

		assert_int_equal(setsockopt(waits, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
					    sizeof(seconds)), 0);
		pair.client = parts_client(peer, VIP4, (uint16_t)(PORT + 1 + i));
		assert_true(pair.client >= 0);
		expect_state("syn-recv", 1);
		expect_destroyed(1);
		/* nobody knows of it any more */
		assert_int_equal(send(pair.client, "x", 1, MSG_NOSIGNAL), 1);
		assert_true(parts_reset(&pair, 50));
		assert_true(parts_listens(VIP4, (uint16_t)(PORT + 1 + i)));
		close(pair.client);
		close(waits);
	}
}

/* Connected, but not accepted yet; the next one will be. */
static void not_yet_accepted(void **state)
{
	struct pair first = { .client = parts_client(peer, VIP4, PORT), .server = -1 }, next;

	(void)state;
	assert_true(first.client >= 0);
	expect_state("established", 1);
	expect_destroyed(1);
	assert_true(parts_reset(&first, 50));
	close(first.client);
	/* the kernel still hands out the dead one */
	first.server = accept4(parts_door, NULL, NULL, SOCK_CLOEXEC);
	next = parts_pair(peer, parts_door, VIP4, PORT);
	assert_true(parts_alive(&next));
	parts_close(&next);
	if (first.server >= 0)
		close(first.server);
}

static void syn_sent(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = parts_ip(VIP4).in };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT),
		.sin_addr = parts_ip("10.0.0.99").in };
	int fd = lab_socket(us, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char byte;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	expect_state("syn-sent", 1);
	expect_destroyed(1);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNABORTED);
	close(fd);
}

int parts_state_tests(void)
{
	const struct CMUnitTest tests[] = {
		door_test(half_open), door_test(close_wait), door_test(fin_wait_2),
		door_test(fin_wait_1), door_test(fin_wait_1_of_nobody), door_test(last_ack),
		door_test(closing), door_test(fin_wait_2_of_nobody), door_test(time_wait),
		door_test(syn_recv), door_test(not_yet_accepted), door_test(syn_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
