/* SPDX-License-Identifier: MIT */
/*
 * What is said, and that it never waits for who listens: /dev/log of the host is
 * read, full, deaf or missing; standard error as well.
 */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { SAFE_MAX = 1535 };	/* log.c: what is kept of a line */

static int logger = -1;

static const struct sockaddr_un dev_log = { .sun_family = AF_UNIX, .sun_path = LAB_LOG };

static void listen_with(int type)
{
	unlink(LAB_LOG);
	logger = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(logger, (const struct sockaddr *)&dev_log, sizeof(dev_log)) < 0)
		fail_msg("%s: %s", LAB_LOG, strerror(errno));
}

static int begin(void **state)
{
	(void)state;
	listen_with(SOCK_DGRAM);
	return 0;
}

static int finish(void **state)
{
	close(logger);
	logger = -1;
	unlink(LAB_LOG);
	return fault_clear(state);
}

/* The datagram that has arrived; "" when there is none. */
static const char *heard(void)
{
	static char text[4096];
	ssize_t n = recv(logger, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* Sends it and returns what standard error got. */
static const char *send_captured(int priority, const char *text)
{
	struct unit_capture capture;

	unit_capture_begin(&capture, STDERR_FILENO);
	log_send(priority, text);
	return unit_capture_end(&capture);
}

static void a_line_is_a_datagram_in_the_form_of_syslog(void **state)
{
	static const struct {
		int priority;
		const char *begin;
	} cases[] = { { LOG_ERR, "<27>" }, { LOG_WARNING, "<28>" }, { LOG_NOTICE, "<29>" },
		      { LOG_INFO, "<30>" } };	/* RFC 3164 section 4.1.1: daemon is 3 */

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char tag[64];
		const char *text, *rest;
		struct tm tm;
		time_t now = time(NULL);

		assert_string_equal(send_captured(cases[i].priority, "mymaster: claimed"), "");
		text = heard();
		assert_memory_equal(text, cases[i].begin, 4);
		localtime_r(&now, &tm);
		rest = strptime(text + 4, "%b %e %H:%M:%S", &tm);
		assert_non_null(rest);
		assert_int_equal(rest - text - 4, 15);
		assert_in_range(mktime(&tm), now - 1, now + 2);
		snprintf(tag, sizeof(tag), " sentinel-vip[%d]: mymaster: claimed", (int)getpid());
		assert_string_equal(rest, tag);
		assert_string_equal(heard(), "");
	}
}

/* Whatever an argument held, a terminal that shows the log sees nothing but text. */
static void control_characters_are_escaped(void **state)
{
	char all[256], *p = all;
	const char *text;

	(void)state;
	for (int c = 1; c < 256; c++)
		*p++ = (char)c;
	*p = '\0';
	log_send(LOG_ERR, all);
	text = strstr(heard(), "]: ") + 3;
	expect_text(text, "\\x01\\x02");
	expect_text(text, "\\x0a");
	expect_text(text, "\\x1b");
	expect_text(text, "\\x7f");
	expect_text(text, " !\"#$%&'()*+,-./0123456789:;<=>?@ABC");
	expect_text(text, "xyz{|}~\\x7f");
	for (p = (char *)text; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		/* 0x80 to 0x9f are controls as well: 0x9b alone begins a sequence (ECMA-48) */
		if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			fail_msg("the byte 0x%02x got through", c);
	}
}

static void a_reason_is_safe_to_print(void **state)
{
	char controls[200];
	struct why why;

	(void)state;
	assert_int_equal(why_set(&why, -EPERM, "%s is %d", "a\nb\x1b[2J", 7), -EPERM);
	assert_string_equal(why.text, "a\\x0ab\\x1b[2J is 7");
	assert_int_equal(why_set(&why, 0, "%2000s", "x"), 0);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	assert_int_equal(why_set(&why, -1, "%0400d%0400d\n", 0, 0), -1);
	assert_true(strlen(why.text) < sizeof(why.text));
	memset(controls, 1, sizeof(controls) - 1);
	controls[sizeof(controls) - 1] = '\0';
	why_set(&why, 0, "%s", controls);
	assert_in_range(strlen(why.text), sizeof(why.text) - 5, sizeof(why.text) - 1);
	assert_string_equal(why.text + strlen(why.text) - 3, "...");
}

static void a_long_line_ends_in_dots(void **state)
{
	char text[4000];
	const char *got;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[SAFE_MAX] = '\0';
	log_send(LOG_INFO, text);
	got = strstr(heard(), "]: ") + 3;
	assert_string_equal(got, text);
	text[SAFE_MAX] = 'x';
	text[sizeof(text) - 1] = '\0';
	log_send(LOG_INFO, text);
	got = strstr(heard(), "]: ") + 3;
	assert_int_equal(strlen(got), SAFE_MAX);
	assert_string_equal(got + SAFE_MAX - 4, "x...");
}

static void a_line_grows_and_ends_in_dots(void **state)
{
	struct line line = { 0 };

	(void)state;
	line_add(&line, "%s", "");
	assert_string_equal(line.text, "");
	line_add(&line, "claimed %s", "10.0.0.250");
	line_add(&line, " on %s", "eth0");
	assert_string_equal(line.text, "claimed 10.0.0.250 on eth0");
	assert_int_equal(line.length, strlen(line.text));
	/* just full */
	line_add(&line, "%0*d", (int)(sizeof(line.text) - 1 - line.length), 0);
	assert_int_equal(line.length, sizeof(line.text) - 1);
	assert_string_equal(line.text + line.length - 3, "000");
	line_add(&line, "%s", "");
	assert_string_equal(line.text + line.length - 3, "000");
	for (int i = 0; i < 3; i++) {
		line_add(&line, "x");
		assert_int_equal(line.length, sizeof(line.text) - 1);
		assert_int_equal(strlen(line.text), line.length);
		assert_string_equal(line.text + line.length - 5, "00...");
	}
	line = (struct line){ 0 };
	line_add(&line, "%5000s", "x");
	assert_int_equal(strlen(line.text), sizeof(line.text) - 1);
	assert_string_equal(line.text + line.length - 3, "...");
}

/* Nobody reads: a logger that was stopped, or that hangs. */
static void a_full_log_is_not_waited_for(void **state)
{
	int filler = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	double begun;

	(void)state;
	assert_int_equal(connect(filler, (const struct sockaddr *)&dev_log, sizeof(dev_log)), 0);
	while (send(filler, "x", 1, 0) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	begun = clock_ms();
	assert_string_equal(send_captured(LOG_ERR, "mymaster: refused: \x1b"),
			    "sentinel-vip: mymaster: refused: \\x1b\n");
	assert_true(clock_ms() - begun < 200);
	close(filler);
}

static void without_a_log_it_goes_to_standard_error(void **state)
{
	(void)state;
	close(logger);		/* the name is there, nobody behind it */
	assert_string_equal(send_captured(LOG_INFO, "one"), "sentinel-vip: one\n");
	unlink(LAB_LOG);
	assert_string_equal(send_captured(LOG_INFO, "two"), "sentinel-vip: two\n");
	listen_with(SOCK_STREAM);
	assert_int_equal(listen(logger, 1), 0);
	assert_string_equal(send_captured(LOG_INFO, "three"), "sentinel-vip: three\n");
	close(logger);
	listen_with(SOCK_DGRAM);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	assert_string_equal(send_captured(LOG_INFO, "four"), "sentinel-vip: four\n");
	assert_string_equal(send_captured(LOG_INFO, "five"), "");
	expect_text(heard(), "]: five");
}

/* In a child, since it cannot be taken back. */
static void a_person_sees_it_as_well(void **state)
{
	struct unit_capture capture;
	const char *text;
	pid_t child;

	(void)state;
	unit_capture_begin(&capture, STDERR_FILENO);
	child = fork();
	if (child == 0) {
		log_to_terminal();
		log_send(LOG_NOTICE, "m: claimed\r\x1b");
		_exit(0);
	}
	waitpid(child, NULL, 0);
	text = unit_capture_end(&capture);
	assert_string_equal(text, "sentinel-vip: m: claimed\\x0d\\x1b\n");
	expect_text(heard(), "]: m: claimed\\x0d\\x1b");
}

/* With systemd both lead to the same journal: when that hangs, both are full. */
static void a_full_standard_error_is_not_waited_for(void **state)
{
	bool ended;
	int pipes[2];
	pid_t child;

	(void)state;
	unlink(LAB_LOG);
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(pipes[1], "x", 1) == 1)
		;
	assert_int_equal(fcntl(pipes[1], F_SETFL, 0), 0);
	child = fork();
	if (child == 0) {
		dup2(pipes[1], STDERR_FILENO);
		log_send(LOG_ERR, "mymaster: refused");
		_exit(0);
	}
	ended = LAB_UNTIL(waitpid(child, NULL, WNOHANG) == child, 1000);
	if (!ended) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(pipes[0]);
	close(pipes[1]);
	assert_true(ended);
}

static void errno_is_left_alone(void **state)
{
	struct unit_capture capture;
	int after;

	(void)state;
	errno = EXDEV;
	log_send(LOG_INFO, "one");
	assert_int_equal(errno, EXDEV);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	unit_capture_begin(&capture, STDERR_FILENO);
	errno = EXDEV;
	log_send(LOG_INFO, "two");
	after = errno;
	unit_capture_end(&capture);
	assert_int_equal(after, EXDEV);
}

static void moments_have_at_least_a_millisecond_left(void **state)
{
	double now = clock_ms();
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(clock_left(now - 1000), 1);
	assert_int_equal(clock_left(0), 1);
	assert_in_range(clock_left(clock_ms() + 5000), 4900, 5000);
	lab_sleep_ms(5);
	assert_true(clock_ms() - now >= 5 && clock_ms() - now < 500);
	fd_close(&fd);
	assert_int_equal(fd, -1);
	fd_close(&fd);
	assert_int_equal(fd, -1);
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int unit_log_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(a_line_is_a_datagram_in_the_form_of_syslog),
		test(control_characters_are_escaped),
		test(a_reason_is_safe_to_print),
		test(a_long_line_ends_in_dots),
		test(a_line_grows_and_ends_in_dots),
		test(a_full_log_is_not_waited_for),
		test(without_a_log_it_goes_to_standard_error),
		test(a_person_sees_it_as_well),
		test(a_full_standard_error_is_not_waited_for),
		test(errno_is_left_alone),
		test(moments_have_at_least_a_millisecond_left),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
