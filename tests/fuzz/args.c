/* SPDX-License-Identifier: MIT */
/* The command line: words with a NUL or a line's end between them. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 32 };

static void check_endpoint(const struct endpoint *e, bool zero)
{
	must(strlen(e->host) < sizeof(e->host));
	must(e->port != 0 || zero);
	must(e->ip.family == AF_UNSPEC || e->ip.family == AF_INET || e->ip.family == AF_INET6);
}

static void check_event(int argc, char **argv, const struct event *event)
{
	must(argc == 7);
	must(event_fits(argc, argv));
	must(strcmp(event->master, argv[0]) == 0);
	must(master_name_ok(event->master));
	must(event->to.host[0] != '\0');
	check_endpoint(&event->from, true);
	check_endpoint(&event->to, false);
}

static bool is_word(char *const words[], int count, const char *word)
{
	for (int i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static void check_args(const struct args *args, int argc, char **argv)
{
	must(args->argc >= 0 && args->argc < argc);
	must(args->face <= FACE_SERVE || args->help || args->version);
	if (args->help || args->version)
		return;
	if (args->face == FACE_EVENT) {
		if (args->argc > 0)
			check_event(args->argc, args->argv, &args->event);
		return;
	}
	must(!event_fits(argc - 1, argv + 1));
	if (args->face == FACE_CLAIM || args->face == FACE_RELEASE)
		must(args->argc == 1);
	/* nothing is done that was not asked for */
	must(!args->json || is_word(argv, argc, "--json") || args->face == FACE_STATUS);
	for (int i = 0; i < args->argc; i++)
		must(is_word(argv, argc, args->argv[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[WORDS_MAX + 2], *given[WORDS_MAX + 2];
	static char name[] = "sentinel-vip";
	struct why why = { .text = "" };
	struct args args;
	int argc = 0;

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	argv[argc++] = name;
	for (char *at = text; size > 0 && at < text + size && argc <= WORDS_MAX; at += strlen(at) + 1) {
		char *end = strchr(at, '\n');

		if (end != NULL)
			*end = '\0';
		argv[argc++] = at;
	}
	argv[argc] = NULL;
	memcpy(given, argv, sizeof(given));
	memset(&args, 0x5a, sizeof(args));
	if (args_parse(argc, argv, &args, &why) == 0) {
		check_args(&args, argc, given);
	} else {
		fuzz_check_why(&why);
		must(args.argc == 0x5a5a5a5a);	/* written only on success */
	}
	free(text);
	return 0;
}
