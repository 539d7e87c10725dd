/* SPDX-License-Identifier: MIT */
/*
 * The relay: a request as the serving end reads it, from whoever it comes, and what a serving
 * end answers as the asking end hears it.  The first byte chooses.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

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

static void serve(void)
{
	static struct request request;
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	struct why why = { .text = "" };
	int err;

	memset(&request, 0, sizeof(request));
	err = serve_receive(fd, &request, &why);
	log_caller("");
	if (err < 0) {
		fuzz_check_why(&why);
		serve_refuse(fd, &why);
		return;
	}
	must(request.argc >= 2 && request.argv[request.argc] == NULL);
	check_words(&request.packet, request.argc - 1, request.argv + 1);
	check_parsed(request.argc, request.argv);
}

static void ask(void)
{
	static char word[] = "sync", *words[] = { word, NULL };
	enum verdict verdict = (enum verdict)77;
	struct why why = { .text = "" };
	struct line said = { 0 };
	double begun = clock_ms();

	if (relay_ask(1, words, 0, &said, &verdict, &why) < 0) {
		fuzz_check_why(&why);
		must(verdict == (enum verdict)77);
	} else {
		must(verdict >= VERDICT_AGREES && verdict <= VERDICT_PERMANENT);
	}
	must(said.length == strlen(said.text));
	must(clock_ms() - begun < 25000);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_world world = { .script = { data, size }, .framed = true };
	uint8_t mode = fuzz_byte(&world.script);

	if (mode < 0x40) {
		unpack(world.script.at, world.script.left);
		return 0;
	}
	fuzz_begin(&world);
	if (mode < 0xa0)
		serve();
	else
		ask();
	fuzz_end();
	return 0;
}
