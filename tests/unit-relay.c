/* SPDX-License-Identifier: MIT */
/*
 * The relay's packets: what is packed is what is unpacked, and everything else is
 * refused; and who needs the relay.
 */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static struct relay_packet packet;
static char *words[RELAY_WORDS_MAX + 1];
static struct why why;
static int count;

/* Packets -------------------------------------------------------------------- */

static void words_arrive_as_they_were(void **state)
{
	char *sent[] = { (char *)"sync", (char *)"", (char *)"--announce", (char *)"a b\n\xff" };

	(void)state;
	assert_int_equal(relay_pack(4, sent, RELAY_COLOUR, &packet), 0);
	assert_int_equal(packet.head.value, RELAY_COLOUR);
	assert_int_equal(packet.size, sizeof("sync") + 1 + sizeof("--announce") + sizeof("a b\n\xff"));
	assert_int_equal(relay_unpack(&packet, &count, words, &why), 0);
	assert_int_equal(count, 4);
	for (int i = 0; i < 4; i++)
		assert_string_equal(words[i], sent[i]);
	assert_null(words[4]);
}

static void as_many_words_as_fit(void **state)
{
	static char *many[RELAY_WORDS_MAX + 1], longest[RELAY_TEXT_MAX + 1];

	(void)state;
	for (size_t i = 0; i <= RELAY_WORDS_MAX; i++)
		many[i] = (char *)"m";
	assert_int_equal(relay_pack(RELAY_WORDS_MAX, many, 0, &packet), 0);
	assert_int_equal(relay_unpack(&packet, &count, words, &why), 0);
	assert_int_equal(count, RELAY_WORDS_MAX);
	assert_int_equal(relay_pack(RELAY_WORDS_MAX + 1, many, 0, &packet), -E2BIG);

	many[0] = longest;
	memset(longest, 'x', RELAY_TEXT_MAX - 1);
	assert_int_equal(relay_pack(1, many, 0, &packet), 0);
	assert_int_equal(relay_unpack(&packet, &count, words, &why), 0);
	assert_int_equal(strlen(words[0]), RELAY_TEXT_MAX - 1);
	longest[RELAY_TEXT_MAX - 1] = 'x';
	assert_int_equal(relay_pack(1, many, 0, &packet), -E2BIG);
}

static void what_is_no_request_is_refused(void **state)
{
	char *one[] = { (char *)"status" };

	(void)state;
	relay_pack(1, one, 0, &packet);
	packet.size--;
	assert_int_equal(relay_unpack(&packet, &count, words, &why), -EPROTO);
	expect_text(why.text, "no end");
	packet.size = 0;
	assert_int_equal(relay_unpack(&packet, &count, words, &why), -EPROTO);
	relay_pack(1, one, 0, &packet);
	packet.head.kind = RELAY_VERDICT;
	assert_int_equal(relay_unpack(&packet, &count, words, &why), -EPROTO);
	/* one word more than there is room for */
	packet.head.kind = RELAY_REQUEST;
	packet.size = RELAY_WORDS_MAX + 1;
	memset(packet.text, '\0', packet.size);
	assert_int_equal(relay_unpack(&packet, &count, words, &why), -E2BIG);
	expect_text(why.text, "more than 256 words");
}

static void another_version_is_named(void **state)
{
	struct relay_head head;

	(void)state;
	relay_head(RELAY_TAKEN, 0, &head);
	assert_int_equal(relay_check(&head, sizeof(head), &why), 0);
	assert_int_equal(relay_check(&head, sizeof(head) - 1, &why), -EPROTO);
	head.version = 77;
	assert_int_equal(relay_check(&head, sizeof(head), &why), -EPROTO);
	expect_text(why.text, "speaks version 77, this one version 1: install");
	relay_head(RELAY_TAKEN, 0, &head);
	head.magic[3] ^= 1;
	assert_int_equal(relay_check(&head, sizeof(head), &why), -EPROTO);
	expect_text(why.text, "not of this program");
}

static void only_whole_packets_are_received(void **state)
{
	char big[sizeof(struct relay_head) + RELAY_TEXT_MAX + 1] = { 0 };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(relay_receive(pair[0], &packet), -EAGAIN);
	assert_int_equal(send(pair[1], big, sizeof(struct relay_head) - 1, 0),
			 sizeof(struct relay_head) - 1);
	assert_int_equal(relay_receive(pair[0], &packet), -EPROTO);
	assert_int_equal(send(pair[1], big, sizeof(big), 0), sizeof(big));
	assert_int_equal(relay_receive(pair[0], &packet), -EPROTO);
	assert_int_equal(send(pair[1], big, sizeof(big) - 1, 0), sizeof(big) - 1);
	assert_int_equal(relay_receive(pair[0], &packet), sizeof(big) - 1);
	assert_int_equal(packet.size, RELAY_TEXT_MAX);
	close(pair[1]);
	assert_int_equal(relay_receive(pair[0], &packet), 0);
	close(pair[0]);
}

static int open_descriptors(void)
{
	int open = 0;

	for (int fd = 0; fd < 256; fd++)
		open += fcntl(fd, F_GETFD) >= 0;
	return open;
}

/* Who sends descriptors could fill our table, or hand us what only we may write to. */
static void descriptors_do_not_arrive(void **state)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS } };
	struct relay_head head;
	struct iovec part = { &head, sizeof(head) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int pair[2], before;

	(void)state;
	relay_head(RELAY_REQUEST, 0, &head);
	memcpy(CMSG_DATA(&control.header), &(int){ STDERR_FILENO }, sizeof(int));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(sendmsg(pair[1], &message, 0), sizeof(head));
	before = open_descriptors();
	assert_int_equal(relay_receive(pair[0], &packet), sizeof(head));
	assert_int_equal(open_descriptors(), before);
	close(pair[0]);
	close(pair[1]);
}

/* The serving end ------------------------------------------------------------ */

static struct request request;

static void only_a_connection_is_served(void **state)
{
	int pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(serve_receive(null, &request, &why), -ENOTSOCK);
	expect_text(why.text, "--serve is for sentinel-vip@.service");
	close(null);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(serve_receive(pair[0], &request, &why), -ENOTSOCK);
	close(pair[0]);
	close(pair[1]);
	null = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(serve_receive(null, &request, &why), -ENOTSOCK);
	close(null);
}

static void a_request_is_the_words_of_a_call(void **state)
{
	char *sent[] = { (char *)"sync", (char *)"mymaster" };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	relay_pack(2, sent, RELAY_PERSON, &packet);
	assert_int_equal(relay_send(pair[1], &packet), 0);
	assert_int_equal(serve_receive(pair[0], &request, &why), 0);
	assert_int_equal(request.argc, 3);
	assert_string_equal(request.argv[0], "sentinel-vip");
	assert_string_equal(request.argv[1], "sync");
	assert_string_equal(request.argv[2], "mymaster");
	assert_null(request.argv[3]);
	assert_int_equal(request.packet.head.value, RELAY_PERSON);
	close(pair[0]);
	close(pair[1]);
}

/* Who needs it --------------------------------------------------------------- */

/* What relay_is_needed() says after this was done in a child; 2 when it could not be. */
static int needed_after(int (*change)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(change() < 0 ? 2 : relay_is_needed() ? 1 : 0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int stay(void)
{
	return 0;
}

static int be_nobody(void)
{
	return setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ? -1 : 0;
}

static int forbid_netlink(void)
{
	return lab_forbid_family(AF_NETLINK);
}

static int forbid_packet(void)
{
	return lab_forbid_family(AF_PACKET);
}

static int forbid_inet6(void)
{
	return lab_forbid_family(AF_INET6);
}

static void who_needs_the_relay(void **state)
{
	int before = open_descriptors();

	(void)state;
	assert_int_equal(needed_after(stay), 0);
	assert_int_equal(needed_after(be_nobody), 1);
	assert_int_equal(needed_after(forbid_netlink), 1);
	assert_int_equal(needed_after(forbid_packet), 1);
	assert_int_equal(needed_after(forbid_inet6), 0);
	assert_false(relay_is_needed());
	assert_int_equal(open_descriptors(), before);
}

int unit_relay_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_arrive_as_they_were),
		cmocka_unit_test(as_many_words_as_fit),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(another_version_is_named),
		cmocka_unit_test(only_whole_packets_are_received),
		cmocka_unit_test(descriptors_do_not_arrive),
		cmocka_unit_test(only_a_connection_is_served),
		cmocka_unit_test(a_request_is_the_words_of_a_call),
		cmocka_unit_test(who_needs_the_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
