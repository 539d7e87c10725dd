/* SPDX-License-Identifier: MIT */
/* What the configuration refuses, each with its line and its reason. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The text of `size` bytes is refused in this line (0: none is named) for this reason. */
static void refused_bytes(const char *bytes, size_t size, unsigned line, const char *says)
{
	struct config config = { .master_count = 77 };
	struct why why = { "" };
	const char *path = unit_file(bytes, size);
	char where[128];
	long live = fault_live();
	int err = config_read(path, &config, &why);

	if (err != (strstr(says, "no master") != NULL ? -ENODATA : -EINVAL))
		fail_msg("\"%s\": %d", bytes, err);
	if (line > 0)
		snprintf(where, sizeof(where), "%s, line %u: %s", path, line, says);
	else
		snprintf(where, sizeof(where), "%s", path);
	if (strncmp(why.text, where, strlen(where)) != 0)
		fail_msg("expected \"%s...\", got \"%s\"", where, why.text);
	expect_text(why.text, says);
	assert_int_equal(config.master_count, 77);	/* written only on success */
	assert_int_equal(fault_live(), live);
}

static void refused(const char *text, unsigned line, const char *says)
{
	refused_bytes(text, strlen(text), line, says);
}

static void an_unknown_key_is_named_with_its_line(void **state)
{
	(void)state;
	refused("# one\n\n[m]\nvip = 10.0.0.1\n\n; six\ninterfce = eth0\n[n]\nvip = 10.0.0.2\n", 7,
		"unknown key \"interfce\" (known: vip, interface, announce, self");
	refused("vips = 10.0.0.1\n[m]\nvip = 10.0.0.1\n", 1, "unknown key \"vips\"");
	refused("[m]\nvip = 10.0.0.1\nVIP = 10.0.0.2\n", 3, "unknown key \"VIP\"");
	refused("[m]\nvip = 10.0.0.1\nvip 2 = 10.0.0.2\n", 3, "unknown key \"vip 2\"");
	refused("[m]\nvip = 10.0.0.1\n= 10.0.0.2\n", 3, "unknown key \"\"");
	refused("\xef\xbb\xbf\n[m]\nfoo = 1\n", 3, "unknown key \"foo\"");
	refused("\r\n[m]\r\nfoo = 1\r\n", 3, "unknown key \"foo\"");
	refused("[m]\nfoo = 1", 2, "unknown key \"foo\"");
}

static void a_line_that_is_neither_is_refused(void **state)
{
	(void)state;
	refused("vip\n", 1, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nvip = 10.0.0.1\n10.0.0.2\n", 3, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nvip = 10.0.0.1\n  10.0.0.2\n", 3, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nvip\n= 10.0.0.1\n", 2, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nvip = 10.0.0.1\n\\\n", 3, "expected [MASTER] or KEY = VALUE");
	refused("\xff\xfe[\n", 1, "expected [MASTER] or KEY = VALUE");
	/* a byte order mark is one only at the beginning */
	refused("\n\xef\xbb\xbf[m]\nvip = 10.0.0.1\n", 2, "");
}

static void values_are_refused_with_their_line(void **state)
{
	(void)state;
	refused("[m]\n\nvip = 10.0.0.300\n", 3, "vip = 10.0.0.300: expected ADDRESS");
	refused("[m]\nvip =\n", 2, "vip = : expected ADDRESS");
	refused("[m]\nvip = # 10.0.0.1\n", 2, "vip = : expected ADDRESS");
	refused("[m]\nvip = 10.0.0.1 /24\n", 2, "vip = 10.0.0.1 /24: expected ADDRESS");
	refused("[m]\nvip = 10.0.0.1#2\n", 2, "vip = 10.0.0.1#2: expected ADDRESS");
	refused("[m]\nvip = \"10.0.0.1\"\n", 2, "vip = \"10.0.0.1\": expected ADDRESS");
	refused("[m]\nvip = 10.0.0.1\nvip = 10.0.0.0/24\n", 3,
		"vip = 10.0.0.0/24: this is its network");
	refused("[m]\nvip = 10.0.0.1/33\n", 2, "prefix length \"33\": expected 1 to 32");
	refused("announce = 5 1\n[m]\nvip = 10.0.0.1\n", 1, "announce: \"1\" does not come after");
	refused("[m]\nvip = 10.0.0.1\nannounce = soon\n", 3,
		"announce: \"soon\": expected seconds");
	refused("interface =\n[m]\nvip = 10.0.0.1\n", 1, "interface");
	refused("self =\n[m]\nvip = 10.0.0.1\n", 1, "self: expected names");
}

static void keys_stand_once_and_in_their_place(void **state)
{
	(void)state;
	refused("interface = a\ninterface = b\n[m]\nvip = 10.0.0.1\n", 2,
		"interface is given twice");
	refused("interface = a\n[m]\nvip = 10.0.0.1\ninterface = b\nannounce = 1\nannounce = 2\n",
		6, "announce is given twice");
	refused("vip = 10.0.0.1\n[m]\nvip = 10.0.0.2\n", 1, "vip belongs in a master's section");
}

static void sections_are_read_whole(void **state)
{
	(void)state;
	refused("[]\nvip = 10.0.0.1\n", 1, "[]: a master's name has letters");
	refused("[my master]\nvip = 10.0.0.1\n", 1, "[my master]: a master's name has letters");
	refused("[ m ]\nvip = 10.0.0.1\n", 1, "[ m ]: a master's name has letters");
	refused("[m\nvip = 10.0.0.1\n", 1, "expected [MASTER] and nothing else");
	refused("[m]]\nvip = 10.0.0.1\n", 1, "expected [MASTER] and nothing else");
	refused("[m] vip = 10.0.0.1\n", 1, "expected [MASTER] and nothing else");
	refused("[m]#x\nvip = 10.0.0.1\n", 1, "expected [MASTER] and nothing else");
	refused("[a]\nvip = 10.0.0.1\n[\n", 3, "expected [MASTER] and nothing else");
	refused("[m # x]\nvip = 10.0.0.1\n", 1, "expected [MASTER] and nothing else");
	refused("\n[mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm]\nvip = 10.0.0.1\n", 2,
		"the master's name is longer than 49");
	refused("[m\x01]\nvip = 10.0.0.1\n", 1, "[m\\x01]: a master's name");
}

static void a_master_has_vips_and_stands_once(void **state)
{
	(void)state;
	refused("[a]\n[b]\nvip = 10.0.0.1\n", 1, "[a] has no vip = ADDRESS");
	refused("[a]\nvip = 10.0.0.1\n\n[b]\ninterface = eth0\n# end\n", 4, "[b] has no vip");
	refused("[a]\nvip = 10.0.0.1\n[b]", 3, "[b] has no vip");
	refused("[a]\nvip = 10.0.0.1\n[b]\nvip = 10.0.0.2\n\n[a]\nvip = 10.0.0.3\n", 6,
		"[a] stands already in line 1");
	refused("", 0, "no master is configured");
	refused("\n# nothing\n", 0, "no master is configured");
	refused("interface = eth0\n", 0, "no master is configured");
	refused("\xef\xbb\xbf", 0, "no master is configured");
}

static void a_vip_has_one_master(void **state)
{
	(void)state;
	refused("[a]\nvip = 10.0.0.1\nvip = 10.0.0.1\n", 3,
		"vip = 10.0.0.1 is already a VIP of [a], line 2");
	refused("[a]\nvip = 10.0.0.1\n[b]\nvip = 10.0.0.2\n[c]\nvip = 10.0.0.1/24\n", 6,
		"vip = 10.0.0.1 is already a VIP of [a], line 2");
	refused("[a]\nvip = 10.0.0.1\n[b]\nvip = ::ffff:10.0.0.1\n", 4,
		"vip = 10.0.0.1 is already");
	refused("[a]\nvip = fd00::1\n[b]\nvip = FD00:0::0001\n", 4,
		"vip = fd00::1 is already a VIP of [a], line 2");
}

/* What comes first is said, whichever check finds it. */
static void the_first_error_is_said(void **state)
{
	(void)state;
	refused("[m]\nnonsense\nfoo = 1\nvip = x\n", 2, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nfoo = 1\nnonsense\nvip = x\n", 2, "unknown key \"foo\"");
	refused("nonsense\n[m\n", 1, "expected [MASTER] or KEY = VALUE");
	refused("[m]\nvip = 10.0.0.1\n[n\nnonsense\n", 3, "expected [MASTER] and nothing else");
}

static void long_lines_are_refused(void **state)
{
	char text[512], value[301];

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int n = 192; n <= 193; n++) {	/* 199 and 200 characters */
		snprintf(text, sizeof(text), "[m]\nself = %.*s\nvip = 10.0.0.1\n", n, value);
		refused(text, 2, "the line is longer than 198 characters");
	}
	snprintf(text, sizeof(text), "\n\n%s", value);
	refused(text, 3, "the line is longer than 198 characters");
	snprintf(text, sizeof(text), "[m]\nvip = 10.0.0.1\n[%s]\n", value);
	refused(text, 3, "the line is longer than 198 characters");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
	static const char nul[] = "[m]\nvip = 10.0.0.1\n\0foo = 1\n";
	static const char last[] = "[m]\nvip = 10.0.0.1\n\0";

	(void)state;
	refused_bytes(nul, sizeof(nul) - 1, 0, "NUL byte");
	refused_bytes(last, sizeof(last) - 1, 0, "NUL byte");
	refused("[m]\nvip = 10.0.0.1\nf\x1b[2J = 1\n", 3, "unknown key \"f\\x1b[2J\"");
	refused("[m]\nvip = 10.0.0.1\ninterface = a\rb\n", 3, "interface");
}

static void what_is_no_file_is_refused(void **state)
{
	struct config config = { .master_count = 77 };
	struct why why = { "" };
	char path[128];

	(void)state;
	assert_int_equal(config_read("/nonexistent/x.conf", &config, &why), -ENOENT);
	expect_text(why.text, "/nonexistent/x.conf is not there: write it");
	assert_int_equal(config_read("/", &config, &why), -EINVAL);
	assert_string_equal(why.text, "/ is not a regular file");
	assert_int_equal(config_read("/dev/null", &config, &why), -EINVAL);
	assert_string_equal(why.text, "/dev/null is not a regular file");
	snprintf(path, sizeof(path), "%s.fifo", unit_file("", 0));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(config_read(path, &config, &why), -EINVAL); /* nor waits */
	expect_text(why.text, "is not a regular file");
	unlink(path);
	assert_int_equal(config.master_count, 77);
}

static void a_file_beyond_reason_is_refused(void **state)
{
	struct config config;
	struct why why = { "" };
	const char *path = unit_file("[m]\nvip = 10.0.0.1\n", 19);

	(void)state;
	assert_int_equal(truncate(path, (16 << 20) + 1), 0);
	assert_int_equal(config_read(path, &config, &why), -EFBIG);
	expect_text(why.text, "larger than 16 MiB");
}

int unit_refuse_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_key_is_named_with_its_line),
		cmocka_unit_test(a_line_that_is_neither_is_refused),
		cmocka_unit_test(values_are_refused_with_their_line),
		cmocka_unit_test(keys_stand_once_and_in_their_place),
		cmocka_unit_test(sections_are_read_whole),
		cmocka_unit_test(a_master_has_vips_and_stands_once),
		cmocka_unit_test(a_vip_has_one_master),
		cmocka_unit_test(the_first_error_is_said),
		cmocka_unit_test(long_lines_are_refused),
		cmocka_unit_test(bytes_that_are_no_text_are_refused),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(a_file_beyond_reason_is_refused),
	};

	return cmocka_run_group_tests_name("config refuses", tests, NULL, NULL);
}
