/* SPDX-License-Identifier: MIT */
/*
 * The configuration file: what is accepted (unit_config_tests), and whose file it
 * may be, which takes root to try (unit_file_tests).
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* Reads what must be right. */
static struct config read_good(const char *text)
{
	struct config config = { 0 };
	struct why why = { "" };

	if (unit_config(text, &config, &why) < 0)
		fail_msg("refused: %s", why.text);
	return config;
}

static void expect_vip(const struct master *m, size_t i, const char *address, unsigned prefixlen)
{
	struct ip ip = unit_ip(address);

	assert_true(i < m->vip_count);
	assert_true(ip_equal(&m->vips[i].ip, &ip));
	assert_int_equal(m->vips[i].prefixlen, prefixlen);
}

static void the_least_file_is_enough(void **state)
{
	static const unsigned usual[] = { 200, 1100, 2200, 5000 };
	struct config config = read_good("[mymaster]\nvip = 172.16.2.250\n");
	const struct master *m = config_master(&config, "mymaster");

	(void)state;
	assert_int_equal(config.master_count, 1);
	assert_non_null(m);
	assert_string_equal(m->name, "mymaster");
	assert_string_equal(m->interface, "");
	assert_null(m->self);
	assert_int_equal(m->vip_count, 1);
	expect_vip(m, 0, "172.16.2.250", 32);
	assert_int_equal(m->announce.count, 4);
	assert_memory_equal(m->announce.at_ms, usual, sizeof(usual));
	assert_null(config_master(&config, "MyMaster"));
	assert_null(config_master(&config, "mymaste"));
	assert_null(config_master(&config, ""));
	config_free(&config);
	assert_int_equal(config.master_count, 0);
	assert_null(config.masters);
}

static void defaults_hold_for_all_and_sections_for_themselves(void **state)
{
	struct config config =
		read_good("interface = eth0\nannounce = 1\nself = all\n"
			  "[a]\nvip = 10.0.0.1\n"
			  "[b]\nvip = 10.0.0.2/24\nvip = fd00::2/64\ninterface = eth1\n"
			  "announce = none\nself = b\n"
			  "[c]\nvip = 10.0.0.3\nvip = 10.0.0.4\nself = c1\nself = c2 c3\n");
	const struct master *a = config_master(&config, "a"), *b = config_master(&config, "b"),
			    *c = config_master(&config, "c");
	struct ip v6 = unit_ip("fd00::2"), other = unit_ip("10.0.0.5"), none = { 0 };

	(void)state;
	assert_int_equal(config.master_count, 3);
	assert_string_equal(a->interface, "eth0");
	assert_string_equal(b->interface, "eth1");
	assert_string_equal(c->interface, "eth0");
	assert_int_equal(a->announce.count, 1);
	assert_int_equal(a->announce.at_ms[0], 1000);
	assert_int_equal(b->announce.count, 0);
	assert_int_equal(c->announce.count, 1);
	expect_vip(a, 0, "10.0.0.1", 32);
	expect_vip(b, 0, "10.0.0.2", 24);
	expect_vip(b, 1, "fd00::2", 64);
	expect_vip(c, 1, "10.0.0.4", 32);
	assert_true(config_is_self(a, "all") && config_is_self(b, "all") &&
		    config_is_self(c, "all"));
	assert_false(config_is_self(a, "b") || config_is_self(a, "c1"));
	assert_true(config_is_self(b, "b") && !config_is_self(b, "c1"));
	assert_true(config_is_self(c, "c1") && config_is_self(c, "c3") && !config_is_self(c, "b"));
	assert_ptr_equal(config_owner(&config, &v6), b);
	assert_null(config_owner(&config, &other));
	assert_null(config_owner(&config, &none));
	config_free(&config);
}

/* Each of them says the same. */
static void spelling_does_not_matter(void **state)
{
	static const char *const cases[] = {
		"interface=eth0\n[m]\nvip=10.0.0.1/24\n",
		"interface = eth0\n\n\n[m]\n\nvip = 10.0.0.1/24\n\n",
		"interface = eth0\n[m]\nvip = 10.0.0.1/24",
		"interface = eth0\r\n[m]\r\nvip = 10.0.0.1/24\r\n",
		"interface = eth0\r\n[m]\r\nvip = 10.0.0.1/24\r",
		"\xef\xbb\xbfinterface = eth0\n[m]\nvip = 10.0.0.1/24\n",
		"\xef\xbb\xbf[m]\nvip = 10.0.0.1/24\ninterface = eth0\n",
		"\xef\xbb\xbf# a comment\r\ninterface = eth0\r\n[m]\r\nvip = 10.0.0.1/24\r\n",
		"  interface\t=\teth0  \n\t[m] \n   vip  =  10.0.0.1/24\t\n",
		("# one\n; two\n  # three\ninterface = eth0 # four\n[m] ; five\n"
		 "vip = 10.0.0.1/24\t;six\n"),
		"interface = eth0 ;\n[m]\t#\nvip = 10.0.0.1/24 #= [x]\n#[y]\n;vip = x\n#\n;\n",
		"[m]\nvip = 10.0.0.1/24\ninterface = eth0\n",
		"[m]\ninterface = eth0\n     vip = 10.0.0.1/24\n     \n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct config config = { 0 };
		struct why why = { "" };

		if (unit_config(cases[i], &config, &why) < 0)
			fail_msg("\"%s\": %s", cases[i], why.text);
		assert_int_equal(config.master_count, 1);
		assert_string_equal(config.masters[0].name, "m");
		assert_string_equal(config.masters[0].interface, "eth0");
		assert_int_equal(config.masters[0].vip_count, 1);
		expect_vip(&config.masters[0], 0, "10.0.0.1", 24);
		config_free(&config);
	}
}

/* No blank before them: they belong to the word. */
static void comment_signs_inside_words_stay(void **state)
{
	struct config config = read_good("[m]\nvip = 10.0.0.1\ninterface = a#b;c\nself = x#y\n");

	(void)state;
	assert_string_equal(config.masters[0].interface, "a#b;c");
	assert_true(config_is_self(&config.masters[0], "x#y"));
	config_free(&config);
}

/* An indented line is a line of its own, not more of the one before. */
static void no_line_is_continued(void **state)
{
	struct config config = read_good("[m]\nself = a\n  self = b\n\tvip = 10.0.0.1\n");

	(void)state;
	assert_true(config_is_self(&config.masters[0], "a"));
	assert_true(config_is_self(&config.masters[0], "b"));
	assert_int_equal(config.masters[0].vip_count, 1);
	config_free(&config);
}

static void a_line_may_have_198_characters(void **state)
{
	char text[1024], value[200];
	struct config config;

	(void)state;
	memset(value, 'x', sizeof(value));
	for (int blanks = 0; blanks <= 300; blanks += 300) {	/* blanks around do not count */
		snprintf(text, sizeof(text), "%*s[m]\nself = %.191s\nvip = 10.0.0.1\n", blanks, "",
			 value);
		config = read_good(text);
		assert_int_equal(strlen(config.masters[0].self), 191);
		config_free(&config);
	}
	snprintf(text, sizeof(text), "self = %.191s%*s# %s\n[m]\nvip = 10.0.0.1\n", value, 200, "",
		 "a comment does not count either");
	config = read_good(text);
	assert_int_equal(strlen(config.masters[0].self), 191);
	config_free(&config);
}

static void a_section_may_have_49_characters(void **state)
{
	char text[128], name[50];
	struct config config;

	(void)state;
	memset(name, 'm', 49);
	name[49] = '\0';
	snprintf(text, sizeof(text), "[%s]\nvip = 10.0.0.1\n", name);
	config = read_good(text);
	assert_non_null(config_master(&config, name));
	config_free(&config);
}

static double processor_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Reads so many masters with 16 VIPs each; returns what it took of the processor. */
static double read_many(int masters, struct config *config)
{
	char *text = malloc(1 << 20), *end = text;
	struct why why = { "" };
	double begun;

	for (int i = 0; i < masters; i++) {
		end += sprintf(end, "[master-%d]\n", i);
		for (int j = 0; j < 16; j++)
			end += sprintf(end, "vip = 10.%d.%d.%d\n", 1 + j, i / 250, 1 + i % 250);
	}
	begun = processor_ms();
	if (unit_config(text, config, &why) < 0)
		fail_msg("%s", why.text);
	begun = processor_ms() - begun;
	free(text);
	return begun;
}

static void a_thousand_masters_are_read_quickly(void **state)
{
	double few = 1e9, many = 1e9;
	struct config config = { 0 };
	const struct master *last;

	(void)state;
	for (int i = 0; i < 3; i++) {
		double ms = read_many(125, &config);

		few = ms < few ? ms : few;
		config_free(&config);
		ms = read_many(1000, &config);
		many = ms < many ? ms : many;
		if (i < 2)
			config_free(&config);
	}
	/* eight times as many take eight times as long, or sixty-four times if each is compared with each */
	if (many > 24 * few)
		fail_msg("125 masters took %.1f ms, 1000 took %.1f ms", few, many);
	assert_int_equal(config.master_count, 1000);
	last = config_master(&config, "master-999");
	assert_non_null(last);
	assert_int_equal(last->vip_count, 16);
	expect_vip(last, 15, "10.16.3.250", 32);
	config_free(&config);
}

/* read() may give less than was asked for, and may be interrupted. */
static void the_file_comes_in_pieces(void **state)
{
	struct config config = { 0 };
	struct why why;

	(void)state;
	fault_read_max = 3;
	fault_set(FAULT_READ, 2, 1, EINTR);
	assert_int_equal(unit_config("[mymaster]\nvip = 10.0.0.1\n", &config, &why), 0);
	assert_true(fault_calls(FAULT_READ) > 9);
	assert_string_equal(config.masters[0].name, "mymaster");
	expect_vip(&config.masters[0], 0, "10.0.0.1", 32);
	config_free(&config);
	fault_read_max = 0;
	fault_set(FAULT_READ, 0, 1, EIO);
	assert_int_equal(unit_config("[m]\nvip = 10.0.0.1\n", &config, &why), -EIO);
	expect_text(why.text, strerror(EIO));
}

/* Each allocation fails once: refused with its reason, and nothing is lost. */
static void without_memory_it_is_refused(void **state)
{
	static const char text[] =
		"self = all\n[a]\nvip = 10.0.0.1\nself = a\n[b]\nvip = 10.0.0.2\n"
		"[c]\nvip = 10.0.0.3\n[d]\nvip = 10.0.0.4\n[e]\nvip = 10.0.0.5\nvip = fd00::5\n";
	const char *path = unit_file(text, strlen(text));
	long live = fault_live();
	unsigned n;

	(void)state;
	for (n = 0; n < 200; n++) {
		struct config config = { .master_count = 77 };
		struct why why = { "" };
		int err;

		fault_set(FAULT_MEMORY, n, 1, ENOMEM);
		err = config_read(path, &config, &why);
		if (err == 0) {
			config_free(&config);
			break;
		}
		assert_true(err < 0);
		expect_text(why.text, "out of memory");
		expect_text(why.text, path);
		assert_int_equal(config.master_count, 77);
		assert_int_equal(fault_live(), live);
	}
	assert_in_range(n, 10, 100);
	assert_int_equal(fault_live(), live);
}

/* Whose file it is, as root ---------------------------------------------------- */

static int read_as(uid_t caller, uid_t owner, mode_t mode, struct why *why)
{
	static const char text[] = "[m]\nvip = 10.0.0.1\n";
	const char *path = unit_file(text, strlen(text));
	struct config config = { 0 };
	int err;

	assert_int_equal(chown(path, owner, 0), 0);
	assert_int_equal(chmod(path, mode), 0);
	*why = (struct why){ "" };
	assert_int_equal(seteuid(caller), 0);
	err = config_read(path, &config, why);
	assert_int_equal(seteuid(0), 0);
	if (err == 0)
		config_free(&config);
	return err;
}

static void only_root_and_the_caller_may_own_it(void **state)
{
	struct why why;

	(void)state;
	assert_int_equal(read_as(0, 0, 0644, &why), 0);
	assert_int_equal(read_as(NOBODY, 0, 0644, &why), 0);
	assert_int_equal(read_as(NOBODY, NOBODY, 0600, &why), 0);
	assert_int_equal(read_as(0, NOBODY, 0644, &why), -EPERM);
	expect_text(why.text, "belongs to uid 65534");
	expect_text(why.text, "chown root /");
	assert_int_equal(read_as(NOBODY, 1, 0644, &why), -EPERM);
	expect_text(why.text, "belongs to uid 1,");
	assert_int_equal(read_as(NOBODY, 0, 0600, &why), -EACCES);
	expect_text(why.text, strerror(EACCES));
}

static void only_the_owner_may_write_it(void **state)
{
	struct why why;

	(void)state;
	for (mode_t mode = 0; mode <= 0777; mode++) {
		bool others = (mode & 0022) != 0;

		assert_int_equal(read_as(0, 0, mode, &why), others ? -EPERM : 0);
		if (others)
			expect_text(why.text,
				    "can be written by others than its owner: chmod go-w /");
	}
}

int unit_config_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_file_is_enough),
		cmocka_unit_test(defaults_hold_for_all_and_sections_for_themselves),
		cmocka_unit_test(spelling_does_not_matter),
		cmocka_unit_test(comment_signs_inside_words_stay),
		cmocka_unit_test(no_line_is_continued),
		cmocka_unit_test(a_line_may_have_198_characters),
		cmocka_unit_test(a_section_may_have_49_characters),
		cmocka_unit_test(a_thousand_masters_are_read_quickly),
		cmocka_unit_test_teardown(the_file_comes_in_pieces, fault_clear),
		cmocka_unit_test_teardown(without_memory_it_is_refused, fault_clear),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}

int unit_file_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_root_and_the_caller_may_own_it),
		cmocka_unit_test(only_the_owner_may_write_it),
	};

	return cmocka_run_group_tests_name("config's file", tests, NULL, NULL);
}
