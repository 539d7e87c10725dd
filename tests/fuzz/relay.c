/* SPDX-License-Identifier: MIT */
/*
 * The relay: a request as the serving end reads it, from whoever it comes, and what a serving
 * end answers as the asking end hears it.  The first byte chooses, and who asks.  An event of an
 * even kind gets this program's own first bytes.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SERVE = 0x40,		/* the first byte from here on, with options in it; below: unpack */
	ASK = 0x80,
	SERVE_CALLER = 15,	/* which of them */
	SERVE_UNSURE = 16,
	SERVE_OBEY = 32,
	ASK_ALOUD = 1,		/* what is said is passed on */
	ASK_UNSURE = 2,
	ASK_TOO_MUCH = 4,
	ASK_ADVICE = 8,
	PRINTED_MAX = 1 << 16,
	ASK_MS = 25000,
};

/* The root of the file system is root's, and of its group. */
static const struct fuzz_caller callers[SERVE_CALLER + 1] = {
	{ .path = "" },
	{ .uid = 1000, .gid = 1000, .path = "/" },
	{ .uid = 1000, .gid = 0, .path = "/" },
	{ .uid = 1000, .gid = 1000, .groups = { 5, 0 }, .group_count = 2, .path = "/" },
	{ .uid = 1000, .gid = 1000, .groups = { 5, 6 }, .group_count = 2, .path = "/" },
	{ .uid = 1000, .gid = 0, .path = "" },
	{ .uid = 1000, .gid = 0, .path = "/dev/null/nothing" },
	{ .uid = (uid_t)-1, .gid = 0, .path = "/" },
	{ .uid = 1000, .gid = 1000, .group_count = 1000, .path = "/" },
};

void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

/* What a serving end is to send for one request, and how far it has come. */
static struct {
	bool taken, verdict;
	bool unsure;		/* what is sent may be lost, and what follows it may not */
	size_t out, err;	/* bytes */
} answer;

/* The words of a packet are whole, and packed again they are the same bytes. */
static void check_words(const struct relay_packet *packet, int argc, char **argv)
{
	static struct relay_packet again;

	must(argc >= 1 && argc <= RELAY_WORDS_MAX && argv[argc] == NULL);
	for (int i = 0; i < argc; i++)
		must(argv[i] >= packet->text && argv[i] + strlen(argv[i]) < packet->text + packet->size);
	must(relay_pack(argc, argv, packet->head.value, &again) == 0);
	must(again.size == packet->size && memcmp(again.text, packet->text, packet->size) == 0);
}

static void check_parsed(int argc, char **argv)
{
	struct why why = { .text = "" };
	struct args args;

	if (args_parse(argc, argv, &args, &why) < 0)
		fuzz_check_why(&why);
	else
		must(args.argc >= 0 && args.argc < argc);
}

static void check_answer(const uint8_t *bytes, size_t size)
{
	struct why why = { .text = "" };
	struct relay_head head;

	must(size >= sizeof(head) && size <= sizeof(head) + RELAY_TEXT_MAX);
	memcpy(&head, bytes, sizeof(head));
	must(relay_check(&head, size, &why) == 0);
	must(!answer.verdict);		/* nothing comes after it */
	size -= sizeof(head);
	switch (head.kind) {
	case RELAY_TAKEN:
		must(!answer.taken && size == 0);
		answer.taken = true;
		break;
	case RELAY_OUT:
		must((answer.taken || answer.unsure) && answer.err == 0);
		answer.out += size;
		break;
	case RELAY_ERR:
		answer.err += size;
		break;
	default:
		must(head.kind == RELAY_VERDICT && size == 0);
		answer.verdict = true;
		break;
	}
}

/* A face that prints the words it was given, on both, as often as the first one's length says. */
static void obey(int fd, const struct request *request, bool unsure)
{
	struct session session;
	struct why why = { .text = "" };
	size_t printed = 0, times = 1 + 40 * strlen(request->argv[1]);

	must(serve_begin(fd, &session, &why) == 0);
	for (size_t i = 0; i < times && printed < PRINTED_MAX; i++) {
		for (int j = 1; j < request->argc; j++)
			printed += (size_t)fprintf(stdout, "%s\n", request->argv[j]);
		fputs("said\n", stderr);
	}
	serve_end(&session, request->packet.head.value % (VERDICT_PERMANENT + 1));
	must(session.out == -1 && session.err == -1);
	if (!unsure)
		must(answer.taken && answer.verdict && answer.out == printed && answer.err >= 5);
}

static void serve(int options)
{
	static struct request request;
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	const struct fuzz_caller *caller = &callers[options & SERVE_CALLER];
	struct why why = { .text = "" };
	bool unsure = (options & SERVE_UNSURE) != 0;
	int err;

	memset(&request, 0, sizeof(request));
	memset(&answer, 0, sizeof(answer));
	answer.unsure = unsure;
	err = serve_receive(fd, &request, &why);
	log_caller("");
	if (err < 0) {
		fuzz_check_why(&why);
		serve_refuse(fd, &why);
		must(!answer.taken && (unsure || (answer.verdict && answer.err > 0)));
		return;
	}
	/* root, or the group of where the socket lies */
	must(caller->uid == 0 || (strcmp(caller->path, "/") == 0 &&
		(caller->gid == 0 || (caller->group_count > 1 && caller->groups[1] == 0))));
	must(request.argc >= 2 && request.argv[request.argc] == NULL);
	check_words(&request.packet, request.argc - 1, request.argv + 1);
	check_parsed(request.argc, request.argv);
	if ((options & SERVE_OBEY) != 0)
		obey(fd, &request, unsure);
	serve_wait();
}

static void ask(int options)
{
	static char word[] = "sync", *words[RELAY_WORDS_MAX + 2];
	int count = (options & ASK_TOO_MUCH) != 0 ? RELAY_WORDS_MAX + 1 : 1;
	bool aloud = (options & ASK_ALOUD) != 0;
	enum verdict verdict = (enum verdict)77;
	struct why why = { .text = "" };
	struct line said = { 0 };
	double begun = clock_ms();
	int err;

	for (int i = 0; i < count; i++)
		words[i] = word;
	words[count] = NULL;
	if ((options & ASK_ADVICE) != 0) {
		relay_is_needed();
		relay_advise(&why);
	}
	err = relay_ask(count, words, 0, aloud ? NULL : &said, &verdict, &why);
	if (err < 0) {
		fuzz_check_why(&why);
		fuzz_check_error(err);
		must(verdict == (enum verdict)77);
	} else {
		must(count == 1 && verdict >= VERDICT_AGREES && verdict <= VERDICT_PERMANENT);
	}
	must(said.length == strlen(said.text));
	must(clock_ms() - begun < ASK_MS);
}

/* The bytes of one packet, without a socket. */
static void unpack(const uint8_t *data, size_t size)
{
	struct relay_packet *packet = calloc(1, sizeof(*packet));
	char *argv[RELAY_WORDS_MAX + 1];
	struct why why = { .text = "" };
	int argc = 77;

	if (packet == NULL)
		return;
	packet->size = size < sizeof(packet->text) ? size : sizeof(packet->text);
	if (size > 0)
		memcpy(packet->text, data, packet->size);
	relay_head(RELAY_REQUEST, 1, &packet->head);
	must(relay_check(&packet->head, sizeof(packet->head), &why) == 0);
	if (relay_unpack(packet, &argc, argv, &why) < 0) {
		fuzz_check_why(&why);
		must(argc == 77);
	} else {
		check_words(packet, argc, argv);
	}
	free(packet);
}

static void mend(uint8_t *bytes, size_t size)
{
	struct relay_head head, own;

	if (size < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	relay_head((enum relay_kind)head.kind, head.value, &own);
	memcpy(bytes, &own, sizeof(own));
}

/* The serving end takes stdout and stderr for a while: what is found is still to be read. */
static void keep_stderr(void)
{
	if (fuzz_report_fd != STDERR_FILENO)
		return;
	fuzz_report_fd = dup(STDERR_FILENO);
	must(fuzz_report_fd >= 0);
	if (__sanitizer_set_report_fd != NULL)
		__sanitizer_set_report_fd((void *)(intptr_t)fuzz_report_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_world world = { .script = { data, size }, .framed = true, .mend = mend };
	uint8_t mode = fuzz_byte(&world.script);

	keep_stderr();
	if (mode < SERVE) {
		unpack(world.script.at, world.script.left);
		return 0;
	}
	if (mode < ASK) {
		world.unsure = (mode & SERVE_UNSURE) != 0;
		world.caller = &callers[mode & SERVE_CALLER];
		world.sent_unix = check_answer;
	} else {
		world.unsure = (mode & ASK_UNSURE) != 0;
	}
	fuzz_begin(&world);
	if (mode < ASK)
		serve(mode);
	else
		ask(mode);
	fuzz_end();
	return 0;
}
