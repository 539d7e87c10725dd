/* SPDX-License-Identifier: MIT */
/*
 * The command line: options, a command and its masters, or Sentinel's seven words.
 * Pure but for getopt's own state; it prints nothing.
 */
#include "vip.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum {
	OPTION_ANNOUNCE = 256,
	OPTION_JSON,
	OPTION_SERVE,
	ANY_NUMBER = 1000,
};

static const struct command {
	const char *name;
	enum face face;
	int words_max;
} commands[] = {
	{ "sync", FACE_SYNC, ANY_NUMBER },
	{ "status", FACE_STATUS, ANY_NUMBER },
	{ "check", FACE_CHECK, ANY_NUMBER },
	{ "claim", FACE_CLAIM, 1 },
	{ "release", FACE_RELEASE, 1 },
};

static int parse_options(int argc, char *argv[], const char *letters, struct args *args,
			 struct why *why)
{
	static const struct option options[] = {
		{ "announce", no_argument, NULL, OPTION_ANNOUNCE },
		{ "json", no_argument, NULL, OPTION_JSON },
		{ "serve", no_argument, NULL, OPTION_SERVE },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	optind = 0;	/* GNU: begin anew */
	while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		switch (option) {
		case OPTION_ANNOUNCE:
			args->announce = true;
			break;
		case OPTION_JSON:
			args->json = true;
			break;
		case OPTION_SERVE:
			args->face = FACE_SERVE;
			break;
		case 'n':
			args->dry_run = true;
			break;
		case 'h':
			args->help = true;
			break;
		case 'V':
			args->version = true;
			break;
		default:
			return why_set(why, -EINVAL, "unknown option \"%.60s\"; see --help",
				       argv[optind - 1]);
		}
	}
	args->argc = argc - optind;
	args->argv = argv + optind;
	return 0;
}

/* An option that the face has no use for is a misunderstanding. */
static int refuse_stray_options(const struct args *args, struct why *why)
{
	if (args->announce && args->face != FACE_SYNC)
		return why_set(why, -EINVAL, "--announce goes with sync; see --help");
	if (args->json && args->face != FACE_STATUS)
		return why_set(why, -EINVAL, "--json goes with status; see --help");
	if (args->dry_run && (args->face == FACE_STATUS || args->face == FACE_CHECK))
		return why_set(why, -EINVAL, "--dry-run does not go with %s, which changes nothing",
			       args->face == FACE_STATUS ? "status" : "check");
	return 0;
}

static int refuse_company(struct why *why)
{
	return why_set(why, -EINVAL, "--serve goes alone; see --help");
}

static int parse_command(const struct command *command, struct args *args, struct why *why)
{
	int words_min = command->words_max == 1 ? 1 : 0;

	if (args->face == FACE_SERVE)
		return refuse_company(why);
	args->face = command->face;
	if (parse_options(args->argc, args->argv, "nhV", args, why) < 0)
		return -EINVAL;
	if (args->face == FACE_SERVE)
		return refuse_company(why);
	if (args->help || args->version)
		return 0;
	if (args->argc < words_min || args->argc > command->words_max)
		return why_set(why, -EINVAL, "%s takes %s; see --help", command->name,
			       words_min == 1 ? "one MASTER" : "names of masters");
	return refuse_stray_options(args, why);
}

int args_parse(int argc, char *argv[], struct args *args, struct why *why)
{
	struct args parsed = { .face = FACE_EVENT, .argc = argc - 1, .argv = argv + 1 };
	int err = 0;

	/* Sentinel's words are its call whatever the first is: a master may be named "-n" */
	if (!event_fits(parsed.argc, parsed.argv))
		err = parse_options(argc, argv, "+nhV", &parsed, why);
	if (err == 0 && parsed.argc > 0 && !event_fits(parsed.argc, parsed.argv))
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (strcmp(parsed.argv[0], commands[i].name) == 0) {
				err = parse_command(&commands[i], &parsed, why);
				if (err == 0)
					*args = parsed;
				return err;
			}
	if (err == 0 && parsed.face == FACE_SERVE && !parsed.help && !parsed.version) {
		if (parsed.argc > 0 || parsed.dry_run || parsed.announce || parsed.json)
			err = refuse_company(why);
	} else if (err == 0 && parsed.argc > 0 && !parsed.help && !parsed.version) {
		err = event_parse(parsed.argc, parsed.argv, &parsed.event, why);
		if (err == 0)
			err = refuse_stray_options(&parsed, why);
	}
	if (err == 0)
		*args = parsed;
	return err;
}
