/* SPDX-License-Identifier: MIT */
/* The command line: which face it asks for, and what is refused with which remedy. */
#include "unit.h"

#include <errno.h>
#include <string.h>

enum { WORDS_MAX = 12 };

/* As a shell would pass it; words are split at spaces. */
static int parse(const char *line, struct args *args, struct why *why)
{
	static char text[256], *argv[WORDS_MAX + 1];
	char *save = NULL;
	int argc = 0;

	memset(args, 0, sizeof(*args));
	*why = (struct why){ "" };
	assert_true(strlen(line) < sizeof(text));
	strcpy(text, line);
	for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < WORDS_MAX);
		argv[argc++] = w;
	}
	argv[argc] = NULL;
	return args_parse(argc, argv, args, why);
}

static void each_command_has_its_face(void **state)
{
	static const struct {
		const char *line;
		enum face face;
		int words;
	} cases[] = {
		{ "vip sync", FACE_SYNC, 0 },
		{ "vip sync a b c", FACE_SYNC, 3 },
		{ "vip status", FACE_STATUS, 0 },
		{ "vip status a", FACE_STATUS, 1 },
		{ "vip check a b", FACE_CHECK, 2 },
		{ "vip claim a", FACE_CLAIM, 1 },
		{ "vip release a", FACE_RELEASE, 1 },
		{ "vip --serve", FACE_SERVE, 0 },
		{ "vip m leader start 10.0.0.1 6379 10.0.0.2 6379", FACE_EVENT, 7 },
		/* a master may be called as an option or a command is */
		{ "vip -n leader start 10.0.0.1 6379 10.0.0.2 6379", FACE_EVENT, 7 },
		{ "vip sync leader start 10.0.0.1 6379 10.0.0.2 6379", FACE_EVENT, 7 },
		{ "vip -- sync a", FACE_SYNC, 1 },
		{ "vip sync -- -a", FACE_SYNC, 1 },
	};
	struct args args;
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (parse(cases[i].line, &args, &why) < 0)
			fail_msg("%s: %s", cases[i].line, why.text);
		if (args.face != cases[i].face || args.argc != cases[i].words)
			fail_msg("%s: face %d with %d words", cases[i].line, (int)args.face, args.argc);
		assert_false(args.dry_run || args.announce || args.json || args.help || args.version);
	}
}

static void options_stand_before_or_after(void **state)
{
	struct args args;
	struct why why;

	(void)state;
	for (int i = 0; i < 3; i++) {
		static const char *const lines[] = { "vip -n --announce sync a", "vip sync --announce -n a",
						     "vip sync a --dry-run --announce" };

		assert_int_equal(parse(lines[i], &args, &why), 0);
		assert_true(args.dry_run && args.announce && !args.json);
		assert_int_equal(args.argc, 1);
		assert_string_equal(args.argv[0], "a");
	}
	assert_int_equal(parse("vip status --json", &args, &why), 0);
	assert_true(args.json);
	assert_int_equal(parse("vip -n m leader start 10.0.0.1 6379 10.0.0.2 6379", &args, &why), 0);
	assert_true(args.dry_run && args.face == FACE_EVENT);
	for (int i = 0; i < 4; i++) {
		static const char *const lines[] = { "vip --help", "vip -h", "vip claim --help", "vip -hV sync" };

		assert_int_equal(parse(lines[i], &args, &why), 0);
		assert_true(args.help);
	}
	assert_int_equal(parse("vip check -V", &args, &why), 0);
	assert_true(args.version);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{ "vip --announce status", "--announce goes with sync" },
		{ "vip check --announce", "--announce goes with sync" },
		{ "vip --announce m leader start 10.0.0.1 6379 10.0.0.2 6379", "--announce goes with sync" },
		{ "vip sync --json", "--json goes with status" },
		{ "vip claim a --json", "--json goes with status" },
		{ "vip -n status", "--dry-run does not go with status, which changes nothing" },
		{ "vip check -n", "--dry-run does not go with check, which changes nothing" },
		{ "vip claim", "claim takes one MASTER" },
		{ "vip release a b", "release takes one MASTER" },
		{ "vip --serve sync", "--serve goes alone" },
		{ "vip sync --serve", "--serve goes alone" },
		{ "vip --serve a", "--serve goes alone" },
		{ "vip --serve -n", "--serve goes alone" },
		{ "vip --serve --json", "--serve goes alone" },
		{ "vip --serve --announce", "--serve goes alone" },
		{ "vip --wrong", "unknown option \"--wrong\"" },
		{ "vip sync -x", "unknown option \"-x\"" },
		{ "vip sync --json=yes", "unknown option \"--json=yes\"" },
		{ "vip synch", "\"synch\" is no command" },
	};
	struct args args;
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (parse(cases[i].line, &args, &why) != -EINVAL)
			fail_msg("%s is taken", cases[i].line);
		expect_text(why.text, cases[i].expected);
	}
}

int unit_args_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_has_its_face),
		cmocka_unit_test(options_stand_before_or_after),
		cmocka_unit_test(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
