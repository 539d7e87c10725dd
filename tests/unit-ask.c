/* SPDX-License-Identifier: MIT */
/* The keys that say how Sentinels are asked: where, with which secret, and whether. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set(const char *name, const char *value, struct master *master, struct why *why)
{
	unsigned seen = 0;

	*why = (struct why){ "" };
	return keys_set(name, value, true, &seen, master, why);
}

static void sentinels_are_endpoints(void **state)
{
	static const struct {
		const char *value, *host;
		unsigned port;
	} cases[] = {
		{ "127.0.0.1:26379", "127.0.0.1", 26379 },
		{ "redis-1.example.org:1", "redis-1.example.org", 1 },
		{ "[fd00::1]:65535", "fd00::1", 65535 },
		{ "[::ffff:10.0.0.1]:26379", "::ffff:10.0.0.1", 26379 },
		{ "unix:/run/redis/sentinel.sock", "/run/redis/sentinel.sock", 0 },
		{ "unix:/a:b", "/a:b", 0 },
	};
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	assert_string_equal(m.sentinel.host, "127.0.0.1");
	assert_int_equal(m.sentinel.port, 26379);
	assert_int_equal(m.sentinel.ip.family, AF_INET);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (set("sentinel", cases[i].value, &m, &why) < 0)
			fail_msg("%s: %s", cases[i].value, why.text);
		assert_string_equal(m.sentinel.host, cases[i].host);
		assert_int_equal(m.sentinel.port, cases[i].port);
	}
}

static void what_is_no_sentinel_is_refused(void **state)
{
	static const char *const cases[] = {
		"", ":", ":26379", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0",
		"127.0.0.1:65536", "127.0.0.1:26379 ", "fd00::1:26379", "[fd00::1]", "[]:26379",
		"[fd00::1:26379", "fd00::1]:26379", "a:b:1", "unix:", "unix:run/sock", "unix",
		"127.0.0.1:26379 127.0.0.2:26379", "redis 1:26379", "redis\x01:26379",
	};
	char path[256];
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (set("sentinel", cases[i], &m, &why) != -EINVAL)
			fail_msg("\"%s\" was taken for a Sentinel", cases[i]);
		expect_text(why.text, "sentinel = ");
		assert_string_equal(m.sentinel.host, "127.0.0.1");
	}
	snprintf(path, sizeof(path), "unix:/%0106d", 0);	/* 107, unix(7) */
	assert_int_equal(set("sentinel", path, &m, &why), 0);
	snprintf(path, sizeof(path), "unix:/%0107d", 0);
	assert_int_equal(set("sentinel", path, &m, &why), -EINVAL);
}

static void words_are_taken_whole(void **state)
{
	static const char *const neither[] = { "", "Yes", "true", "1", "yes ", "y", "majority no" };
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	assert_true(m.verify);
	assert_false(m.fence);
	assert_int_equal(set("verify", "no", &m, &why), 0);
	assert_false(m.verify);
	assert_int_equal(set("verify", "yes", &m, &why), 0);
	assert_true(m.verify);
	assert_int_equal(set("fence", "majority", &m, &why), 0);
	assert_true(m.fence);
	assert_int_equal(set("fence", "no", &m, &why), 0);
	assert_false(m.fence);
	for (size_t i = 0; i < COUNT(neither); i++) {
		assert_int_equal(set("verify", neither[i], &m, &why), -EINVAL);
		expect_text(why.text, "expected yes or no");
		assert_int_equal(set("fence", neither[i], &m, &why), -EINVAL);
		expect_text(why.text, "expected majority or no");
	}
	assert_int_equal(set("verify", "majority", &m, &why), -EINVAL);
	assert_int_equal(set("fence", "yes", &m, &why), -EINVAL);
}

/* Writes the secrets, mode 0600, and reads them as the key does. */
static int set_auth(const char *text, struct master *m, struct why *why)
{
	return set("sentinel-auth", unit_file(text, strlen(text)), m, why);
}

static void secrets_come_from_a_file(void **state)
{
	long live = fault_live();
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	assert_int_equal(set_auth("# ours\nuser = vip\npassword = a b#c;d \n", &m, &why), 0);
	assert_string_equal(m.user, "vip");
	assert_string_equal(m.password, "a b#c;d ");
	keys_free(&m);
	assert_int_equal(set_auth("password = secret\r\n", &m, &why), 0);
	assert_null(m.user);
	assert_string_equal(m.password, "secret");
	keys_free(&m);
	assert_int_equal(fault_live(), live);
}

static void secrets_are_read_whole_or_refused(void **state)
{
	static const char *const cases[] = { "", "user = vip\n", "password=secret\n", "secret\n",
		"password = secret\nfoo = 1\n", " password = secret\n" };
	struct master m;
	struct why why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		keys_default(&m);
		if (set_auth(cases[i], &m, &why) != -EINVAL)
			fail_msg("\"%s\" was taken for secrets", cases[i]);
		expect_text(why.text, "password = SECRET");
		assert_null(strstr(why.text, "secret"));	/* it is going to be logged */
		keys_free(&m);
	}
}

static void secrets_are_nobody_elses(void **state)
{
	static const char text[] = "password = secret\n";
	const char *path = unit_file(text, strlen(text));
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(set("sentinel-auth", path, &m, &why), -EPERM);
	expect_text(why.text, "can be read by everybody: chmod o-r");
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(set("sentinel-auth", path, &m, &why), -EPERM);
	expect_text(why.text, "can be written by others");
	assert_int_equal(set("sentinel-auth", "/nonexistent", &m, &why), -ENOENT);
	expect_text(why.text, "/nonexistent is not there");
	/* from which directory would it be read? */
	assert_int_equal(set("sentinel-auth", "etc/passwd", &m, &why), -EINVAL);
	expect_text(why.text, "sentinel-auth = etc/passwd: expected the absolute path of a file");
	assert_null(m.password);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(set("sentinel-auth", path, &m, &why), 0);
	keys_free(&m);
}

/* A section's file stands for itself: no user of the defaults with its password. */
static void a_sections_secrets_replace_the_defaults(void **state)
{
	struct master m;
	struct why why;

	(void)state;
	keys_default(&m);
	assert_int_equal(set_auth("user = vip\npassword = one\n", &m, &why), 0);
	assert_int_equal(set_auth("password = two\n", &m, &why), 0);
	assert_string_equal(m.password, "two");
	assert_null(m.user);
	assert_int_equal(set_auth("user = other\n", &m, &why), -EINVAL);
	keys_free(&m);
}

/* Half of the secrets are none: refused, and nothing is lost. */
static void without_memory_they_are_refused(void **state)
{
	static const char text[] = "user = vip\npassword = secret\n";
	const char *path = unit_file(text, strlen(text));
	long live = fault_live();
	unsigned n;

	(void)state;
	for (n = 0; n < 20; n++) {
		struct master m;
		struct why why = { "" };
		int err;

		keys_default(&m);
		fault_set(FAULT_MEMORY, n, 1, ENOMEM);
		err = set("sentinel-auth", path, &m, &why);
		fault_clear(NULL);
		keys_free(&m);
		assert_int_equal(fault_live(), live);
		if (err == 0)
			break;
		assert_int_equal(err, -ENOMEM);
		expect_text(why.text, "out of memory");
	}
	assert_in_range(n, 4, 19);	/* the text, the user, the password, the path */
}

static void defaults_are_inherited_as_copies(void **state)
{
	char text[256], auth[64];
	struct config config = { 0 };
	struct why why = { "" };

	(void)state;
	/* the file of the secrets must outlive unit_file()'s next call */
	snprintf(auth, sizeof(auth), "%s.auth", unit_file("", 0));
	unit_write(auth, "user = vip\npassword = secret\n");
	assert_int_equal(chmod(auth, 0600), 0);
	snprintf(text, sizeof(text),
		 "sentinel-auth = %s\nsentinel = [fd00::1]:1\nverify = no\n"
		 "[a]\nvip = 10.0.0.1\n[b]\nvip = 10.0.0.2\nsentinel = b:2\n"
		 "verify = yes\nfence = majority\n",
		 auth);
	if (unit_config(text, &config, &why) < 0)
		fail_msg("%s", why.text);
	assert_string_equal(config.masters[0].password, "secret");
	assert_string_equal(config.masters[1].user, "vip");
	assert_true(config.masters[0].password != config.masters[1].password);
	assert_string_equal(config.masters[0].sentinel.host, "fd00::1");
	assert_string_equal(config.masters[1].sentinel.host, "b");
	assert_false(config.masters[0].verify || config.masters[0].fence);
	assert_true(config.masters[1].verify && config.masters[1].fence);
	config_free(&config);
	unlink(auth);
}

int unit_ask_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentinels_are_endpoints),
		cmocka_unit_test(what_is_no_sentinel_is_refused),
		cmocka_unit_test(words_are_taken_whole),
		cmocka_unit_test(secrets_come_from_a_file),
		cmocka_unit_test(secrets_are_read_whole_or_refused),
		cmocka_unit_test(secrets_are_nobody_elses),
		cmocka_unit_test(a_sections_secrets_replace_the_defaults),
		cmocka_unit_test_teardown(without_memory_they_are_refused, fault_clear),
		cmocka_unit_test(defaults_are_inherited_as_copies),
	};

	return cmocka_run_group_tests_name("keys for Sentinels", tests, NULL, NULL);
}
