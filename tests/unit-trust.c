/* SPDX-License-Identifier: MIT */
/*
 * The way to a file: who could put another one in its place, by a directory or by a symbolic link on
 * the way.  As root, in a host's /run.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOBODY = 65534 };

#define TREE "/run/trust"

static void make(const char *script)
{
	char text[512];

	snprintf(text, sizeof(text), "rm -rf " TREE " && mkdir -p -m 755 " TREE "/a/b && cd " TREE " && %s", script);
	assert_int_equal(system(text), 0);
}

static int way_as(uid_t caller, const char *path, struct why *why)
{
	int err;

	*why = (struct why){ "" };
	assert_int_equal(seteuid(caller), 0);
	err = trust_way(path, why);
	assert_int_equal(seteuid(0), 0);
	return err;
}

static void a_way_is_root_s_and_the_caller_s(void **state)
{
	static const char *const well[] = {
		"true",
		"chmod 1777 a; chmod 3775 a/b",		/* sticky: each his own files */
		"chmod 2755 a; chmod 700 a/b",
		"ln -s /run/trust/a/b l; rmdir a/b; mkdir c; ln -s ../c a/b",
		"rm -r a",				/* whoever opens it is told */
		"rm -r a; ln -s missing a",
		"rm -r a; ln -s a a",			/* as many links as one likes */
		"rm -r a; touch a",
		"mv a r; ln -s r l; ln -s l m; ln -s m a",
		"chown -h 65534 .; chown 0 .; ln -s b a/l; chown -h 65534 a/l; rmdir a/b; ln -s . a/b",
	};
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(well); i++) {
		int err;

		make(well[i]);
		err = way_as(0, TREE "/a/b/file", &why);
		if (err != 0 && err != -ELOOP)
			fail_msg("\"%s\": %d, %s", well[i], err, why.text);
		assert_int_equal(err == -ELOOP, i == 6);
	}
	make("chown 65534 a/b");
	assert_int_equal(way_as(NOBODY, TREE "/a/b/file", &why), 0);
}

static void nobody_else_may_change_it(void **state)
{
	static const struct {
		const char *script, *path, *says;
	} cases[] = {
		{ "chmod 775 a/b", TREE "/a/b/file", TREE "/a/b leads to " TREE "/a/b/file and can be "
		  "written by others, who could put another file there: chmod go-w " TREE "/a/b" },
		{ "chmod 777 a", TREE "/a/b/file", TREE "/a leads to " TREE "/a/b/file and can be" },
		{ "chmod 757 .", TREE "/a/b/file", TREE " leads to " },
		{ "chown 65534 a", TREE "/a/b/file", TREE "/a leads to " TREE "/a/b/file and belongs to "
		  "uid 65534, who could put another file there: chown root " TREE "/a" },
		/* the bit protects the files of others, not from who owns the directory */
		{ "chown 65534 a/b; chmod 1777 a/b", TREE "/a/b/file", "belongs to uid 65534" },
		{ "chmod 1777 a; chown 65534 a/b", TREE "/a/b/file", TREE "/a/b leads to" },
		/* each directory that a link lies in, and each that it leads to */
		{ "mkdir -m 777 w; ln -s ../a/b w/l", TREE "/w/l/file", TREE "/w leads to" },
		{ "mkdir -m 777 w; mkdir w/c; ln -s " TREE "/w/c l", TREE "/l/file", TREE "/w leads to" },
		{ "mkdir -m 777 w; ln -s ../a/b/file w/f; ln -s ../../w/f a/b/l", TREE "/a/b/l",
		  TREE "/w leads to" },
		{ "chmod 777 a", TREE "/./a//b/../b/file", TREE "/a leads to" },
		{ "chmod 777 a", TREE "/a/../a/b/../../file", TREE "/a leads to" },
		/* a link that is somebody's own among those of all */
		{ "mkdir -m 1777 w; ln -s ../a/b w/l; chown -h 65534 w/l", TREE "/w/l/file", TREE "/w/l leads "
		  "to " TREE "/w/l/file and belongs to uid 65534, who could lead it elsewhere: rm " TREE "/w/l" },
	};
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		make(cases[i].script);
		if (way_as(0, cases[i].path, &why) != -EPERM)
			fail_msg("\"%s\" is refused: %s", cases[i].script, why.text);
		expect_text(why.text, cases[i].says);
	}
	make("chown 65534 a/b");
	assert_int_equal(way_as(1, TREE "/a/b/file", &why), -EPERM);
}

static void a_way_that_is_not_whole_begins_here(void **state)
{
	char here[PATH_MAX];
	struct why why;

	(void)state;
	make("chmod 777 a");
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(TREE "/a/b"), 0);
	assert_int_equal(way_as(0, "file", &why), -EPERM);
	expect_text(why.text, TREE "/a leads to file");
	assert_int_equal(chdir(TREE), 0);
	assert_int_equal(way_as(0, "file", &why), 0);
	/* in a directory that is no more there is a way up, but none that could be looked at */
	assert_int_equal(chdir(TREE "/a/b"), 0);
	assert_int_equal(rmdir(TREE "/a/b"), 0);
	assert_int_equal(access("../../a", F_OK), 0);
	assert_int_equal(way_as(0, "../../a/file", &why), -ENOENT);
	expect_text(why.text, "cannot look at what leads to ../../a/file: ");
	assert_int_equal(chdir(here), 0);
}

/* What cannot be looked at, and what is too long for that. */
static void a_way_has_an_end(void **state)
{
	char longer[2 * PATH_MAX];
	struct why why;

	(void)state;
	make("ln -s l2 l; ln -s l l2");
	assert_int_equal(way_as(0, TREE "/l/file", &why), -ELOOP);
	expect_text(why.text, "cannot look at what leads to " TREE "/l/file: ");
	memset(longer, '/', sizeof(longer) - 1);
	longer[PATH_MAX - 20] = '\0';
	assert_int_equal(way_as(0, longer, &why), 0);
	memcpy(longer, TREE "/l", strlen(TREE "/l"));
	assert_int_equal(system("ln -sfn /run/a/very/long/way/that/has/no/room/left/in/what/the/kernel/allows/for/one/way/of/"
				"which/there/are/4096 " TREE "/l"), 0);
	assert_int_equal(way_as(0, longer, &why), -ENAMETOOLONG);
	memset(longer, '/', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(way_as(0, longer, &why), 0);
	memset(longer + 1, 'x', NAME_MAX + 1);
	longer[NAME_MAX + 2] = '\0';
	assert_int_equal(way_as(0, longer, &why), 0);
}

/* By links the kernel goes on farther than a path can be long: that far it is not looked, so it is not well. */
static void a_way_that_is_too_deep(void **state)
{
	struct why why;

	(void)state;
	make("n=$(printf %0250d 0); p=$n; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do p=$p/$n; done; "
	     "for i in 1 2; do mkdir -p $p; ln -s $p l; cd -P l; done; mkdir -m 777 w; touch w/file");
	assert_int_equal(access(TREE "/l/l/w/file", F_OK), 0);
	assert_int_equal(way_as(0, TREE "/l/file", &why), 0);
	assert_int_equal(way_as(0, TREE "/l/l/w/file", &why), -ENAMETOOLONG);
	expect_text(why.text, "cannot look at what leads to " TREE "/l/l/w/file: ");
}

/* The file's own permissions are well, and it is not read all the same. */
static void a_configuration_that_can_be_exchanged_is_refused(void **state)
{
	struct config config = { 0 };
	struct why why = { "" };

	(void)state;
	make("printf '[m]\\nvip = 10.0.0.1\\n' >a/b/conf; chmod 644 a/b/conf");
	assert_int_equal(config_read(TREE "/a/b/conf", &config, &why), 0);
	config_free(&config);
	assert_int_equal(chmod(TREE "/a", 0777), 0);
	assert_int_equal(config_read(TREE "/a/b/conf", &config, &why), -EPERM);
	expect_text(why.text, ": chmod go-w " TREE "/a");
}

int unit_trust_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_way_is_root_s_and_the_caller_s),
		cmocka_unit_test(nobody_else_may_change_it),
		cmocka_unit_test(a_way_that_is_not_whole_begins_here),
		cmocka_unit_test(a_way_has_an_end),
		cmocka_unit_test(a_way_that_is_too_deep),
		cmocka_unit_test(a_configuration_that_can_be_exchanged_is_refused),
	};

	return cmocka_run_group_tests_name("the way to a file", tests, NULL, NULL);
}
