/* SPDX-License-Identifier: MIT */
/*
 * The conversation with a real kernel in which calls fail: what is tried again, for
 * how long, and what is said at the end.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const int busy[] = { ENOBUFS, EINTR, EAGAIN, EBUSY };

enum { ENOUGH_MS = 5000, SHORT_MS = 150 };

static struct netlink *open_for(double ms)
{
	struct netlink *netlink = NULL;

	assert_int_equal(netlink_open(clock_ms() + ms, &netlink), 0);
	return netlink;
}

/* How often eth0's address is in the list: once, if all is well. */
static int copies(const struct facts *facts)
{
	struct ip ip = unit_ip("10.0.0.1");
	int n = 0;

	for (size_t i = 0; i < facts->address_count; i++)
		n += ip_equal(&facts->addresses[i].ip, &ip);
	return n;
}

/* Lists the addresses; 0 when the list is what it should be. */
static int list(struct netlink *netlink)
{
	struct facts facts = { .address_count = 77 };
	int err = vip_addresses(netlink, AF_UNSPEC, &facts);

	if (err < 0) {
		assert_int_equal(facts.address_count, 77);
		return err;
	}
	assert_int_equal(copies(&facts), 1);
	facts_free(&facts);
	return 0;
}

/* Asks for one thing, which is answered without an acknowledgement. */
static int ask_link(struct netlink *netlink)
{
	struct link link = { .ifindex = 77 };
	int err = facts_read_link(netlink, if_nametoindex("eth0"), &link);

	if (err == 0)
		assert_string_equal(link.name, "eth0");
	else
		assert_int_equal(link.ifindex, 77);
	return err;
}

/* Changes to what the kernel says ------------------------------------------------- */

static int say_error;		/* in place of an acknowledgement, or at a dump's end */
static unsigned say_times;

/* What would answer one question, or acknowledge one change, refuses it. */
static void refuse_question(struct nlmsghdr *message, bool peek)
{
	struct nlmsgerr *answer = NLMSG_DATA(message);

	if ((message->nlmsg_flags & NLM_F_MULTI) != 0 || say_times == 0)
		return;
	message->nlmsg_type = NLMSG_ERROR;
	answer->error = -say_error;
	if (!peek)
		say_times--;
}

static void spoil_end_of_dump(struct nlmsghdr *message, bool peek)
{
	if (message->nlmsg_type != NLMSG_DONE || say_times == 0)
		return;
	*(int *)NLMSG_DATA(message) = -say_error;
	if (!peek)
		say_times--;
}

static void interrupt_dump(struct nlmsghdr *message, bool peek)
{
	if ((message->nlmsg_flags & NLM_F_MULTI) == 0 || say_times == 0)
		return;
	message->nlmsg_flags |= NLM_F_DUMP_INTR;
	if (message->nlmsg_type == NLMSG_DONE && !peek)
		say_times--;
}

static void say(void (*how)(struct nlmsghdr *, bool), int error, unsigned times)
{
	fault_on_message = how;
	say_error = error;
	say_times = times;
}

/* Tests --------------------------------------------------------------------------- */

static void a_busy_send_is_tried_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(busy); i++) {
		struct netlink *netlink = open_for(ENOUGH_MS);

		fault_set(FAULT_SENDMSG, 0, 3, busy[i]);
		assert_int_equal(list(netlink), 0);
		assert_int_equal(fault_calls(FAULT_SENDMSG), 4);
		netlink_close(&netlink);
		assert_null(netlink);
	}
}

/* What could not be read lies in the queue; it is not the answer to the next question. */
static void an_unheard_answer_is_not_the_next(void **state)
{
	struct netlink *netlink = open_for(ENOUGH_MS);

	(void)state;
	fault_set(FAULT_RECVMSG, 0, 1, EIO);
	assert_int_equal(ask_link(netlink), -EIO);
	assert_int_equal(list(netlink), 0);
	fault_set(FAULT_RECVMSG, 0, 1, EIO);
	assert_int_equal(list(netlink), -EIO);
	assert_int_equal(ask_link(netlink), 0);
	/* nor may it be, when there is no new connection to be had */
	fault_set(FAULT_RECVMSG, 0, 1, EIO);
	assert_int_equal(list(netlink), -EIO);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	assert_int_equal(list(netlink), -EMFILE);
	assert_int_equal(list(netlink), 0);
	netlink_close(&netlink);
}

static void a_busy_receive_is_tried_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(busy); i++) {
		struct netlink *netlink = open_for(ENOUGH_MS);

		fault_set(FAULT_RECVMSG, 0, 3, busy[i]);
		assert_int_equal(list(netlink), 0);
		/* in the middle of an answer, so that the rest of it must not be heard twice */
		fault_set(FAULT_RECVMSG, 1, 1, busy[i]);
		assert_int_equal(list(netlink), 0);
		assert_int_equal(ask_link(netlink), 0);
		netlink_close(&netlink);
	}
}

static void a_busy_kernel_is_asked_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(busy); i++) {
		struct netlink *netlink = open_for(ENOUGH_MS);

		say(refuse_question, busy[i], 3);
		assert_int_equal(ask_link(netlink), 0);
		assert_int_equal(say_times, 0);
		netlink_close(&netlink);
	}
}

/* Addresses came or went while they were listed: the list is made anew, not longer. */
static void an_interrupted_dump_is_made_anew(void **state)
{
	struct netlink *netlink = open_for(ENOUGH_MS);

	(void)state;
	say(interrupt_dump, 0, 3);
	fault_set(FAULT_SENDMSG, 0, 0, 0);
	assert_int_equal(list(netlink), 0);
	assert_int_equal(say_times, 0);
	assert_int_equal(fault_calls(FAULT_SENDMSG), 4);
	netlink_close(&netlink);
}

/* The kernel could not list all of them: the part of it is no answer. */
static void a_dump_that_fails_at_its_end_is_no_answer(void **state)
{
	struct netlink *netlink = open_for(ENOUGH_MS);

	(void)state;
	say(spoil_end_of_dump, EMSGSIZE, 1);
	assert_int_equal(list(netlink), -EMSGSIZE);
	say(spoil_end_of_dump, ENOBUFS, 2);
	assert_int_equal(list(netlink), 0);
	assert_int_equal(say_times, 0);
	netlink_close(&netlink);
}

static void expect_deadline(double begun)
{
	double spent = clock_ms() - begun;

	/* the pause that would go beyond it is not made any more; one is 100 ms at most */
	if (spent < SHORT_MS - 110 || spent > SHORT_MS + 150)
		fail_msg("it was tried for %.1f ms instead of %d", spent, SHORT_MS);
}

static void at_the_deadline_it_is_an_error(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(busy); i++) {
		double begun = clock_ms();
		struct netlink *netlink = open_for(SHORT_MS);

		fault_set(FAULT_SENDMSG, 0, 1000, busy[i]);
		assert_int_equal(list(netlink), -busy[i]);
		expect_deadline(begun);
		assert_in_range(fault_calls(FAULT_SENDMSG), 4, 20);	/* no busy loop either */
		netlink_close(&netlink);
		fault_clear(NULL);

		begun = clock_ms();
		netlink = open_for(SHORT_MS);
		say(refuse_question, busy[i], 1000);
		assert_int_equal(ask_link(netlink), -busy[i]);
		expect_deadline(begun);
		netlink_close(&netlink);
		fault_clear(NULL);
	}
}

static void an_interrupted_dump_ends_at_the_deadline(void **state)
{
	double begun = clock_ms();
	struct netlink *netlink = open_for(SHORT_MS);

	(void)state;
	say(interrupt_dump, 0, 1000);
	assert_int_equal(list(netlink), -EAGAIN);
	expect_deadline(begun);
	netlink_close(&netlink);
}

/* A kernel that says nothing at all: recvmsg() fails after SO_RCVTIMEO. */
static void silence_ends_as_well(void **state)
{
	struct netlink *netlink = open_for(SHORT_MS);

	(void)state;
	fault_set(FAULT_RECVMSG, 0, 1000, EAGAIN);
	assert_int_equal(list(netlink), -EAGAIN);
	netlink_close(&netlink);
}

static void what_will_not_change_is_not_tried_again(void **state)
{
	static const int errors[] = { EPERM, ENODEV, EINVAL, EADDRNOTAVAIL, EOPNOTSUPP };
	struct netlink *netlink = open_for(ENOUGH_MS);

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		say(refuse_question, errors[i], 1);
		fault_set(FAULT_SENDMSG, 0, 0, 0);
		assert_int_equal(ask_link(netlink), -errors[i]);
		assert_int_equal(fault_calls(FAULT_SENDMSG), 1);
	}
	fault_set(FAULT_SENDMSG, 0, 1, EPERM);
	assert_int_equal(list(netlink), -EPERM);
	assert_int_equal(fault_calls(FAULT_SENDMSG), 1);
	fault_set(FAULT_SENDMSG, 0, 1, EACCES);
	assert_true(ask_link(netlink) < 0);
	assert_int_equal(fault_calls(FAULT_SENDMSG), 1);
	assert_int_equal(ask_link(netlink), 0);		/* it can still be asked */
	netlink_close(&netlink);
}

static void a_forbidden_family_is_told(void **state)
{
	static const int errors[] = { EAFNOSUPPORT, EMFILE, EPERM };
	long live = fault_live();

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		struct netlink *netlink = NULL;

		fault_set(FAULT_SOCKET, 0, 1, errors[i]);
		assert_int_equal(netlink_open(clock_ms() + 100, &netlink), -errors[i]);
		assert_null(netlink);
		fault_set(FAULT_SOCKET, 0, 1, errors[i]);
		assert_int_equal(facts_watch(), -errors[i]);
	}
	assert_int_equal(fault_live(), live);
}

static void without_memory_nothing_is_asked(void **state)
{
	struct netlink *netlink = NULL;
	long live = fault_live();

	(void)state;
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(netlink_open(clock_ms() + 100, &netlink), -ENOMEM);
	assert_null(netlink);
	netlink_close(&netlink);	/* as CLEANUP would */
	netlink = open_for(ENOUGH_MS);
	fault_set(FAULT_MEMORY, 0, 1, ENOMEM);
	assert_int_equal(list(netlink), -ENOMEM);
	assert_int_equal(list(netlink), 0);
	netlink_close(&netlink);
	assert_int_equal(fault_live(), live);
}

/* A new connection for each try, and the old one closed. */
static void no_descriptor_is_lost(void **state)
{
	int before = open("/", O_RDONLY), after;
	struct netlink *netlink;

	(void)state;
	close(before);
	netlink = open_for(ENOUGH_MS);
	fault_set(FAULT_RECVMSG, 0, 4, ENOBUFS);
	assert_int_equal(list(netlink), 0);
	fault_set(FAULT_SENDMSG, 0, 1, ENOBUFS);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);		/* the new connection fails */
	assert_int_equal(list(netlink), -ENOBUFS);
	netlink_close(&netlink);
	after = open("/", O_RDONLY);
	close(after);
	assert_int_equal(after, before);
}

static int refuse_all(void *arg, struct nlmsghdr *message)
{
	int *calls = arg;

	if (message == NULL)
		return 0;
	++*calls;
	return -EILSEQ;
}

static void a_listener_may_refuse(void **state)
{
	struct ifaddrmsg fixed = { .ifa_family = AF_UNSPEC };
	struct netlink *netlink = open_for(ENOUGH_MS);
	struct nl_msg *msg = netlink_question(RTM_GETADDR, NLM_F_DUMP, &fixed, sizeof(fixed));
	int calls = 0;

	(void)state;
	assert_int_equal(netlink_ask(netlink, msg, refuse_all, &calls), -EILSEQ);
	assert_true(calls >= 3); /* all of the answer was taken nevertheless */
	netlink_free_message(&msg);
	assert_int_equal(list(netlink), 0);
	netlink_close(&netlink);
}

static void the_watch_tells_of_changes(void **state)
{
	char byte;
	int fd = facts_watch();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(
		system("ip addr add 10.9.9.9/32 dev eth0 && ip addr del 10.9.9.9/32 dev eth0"), 0);
	assert_true(recv(fd, &byte, 1, MSG_PEEK) > 0);
	facts_drain(fd);
	assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
}

#define test(f) cmocka_unit_test_teardown(f, fault_clear)

int unit_netlink_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(a_busy_send_is_tried_again),
		test(a_busy_receive_is_tried_again),
		test(an_unheard_answer_is_not_the_next),
		test(a_busy_kernel_is_asked_again),
		test(an_interrupted_dump_is_made_anew),
		test(a_dump_that_fails_at_its_end_is_no_answer),
		test(at_the_deadline_it_is_an_error),
		test(an_interrupted_dump_ends_at_the_deadline),
		test(silence_ends_as_well),
		test(what_will_not_change_is_not_tried_again),
		test(a_forbidden_family_is_told),
		test(without_memory_nothing_is_asked),
		test(no_descriptor_is_lost),
		test(a_listener_may_refuse),
		test(the_watch_tells_of_changes),
	};

	return cmocka_run_group_tests_name("netlink", tests, NULL, NULL);
}
