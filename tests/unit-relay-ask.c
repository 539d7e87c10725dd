/* SPDX-License-Identifier: MIT */
/*
 * The asking end of the relay, where nobody serves, where somebody serves as it should, and
 * where what comes is no answer.
 */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, GROUP = 4711 };

static struct why why;

static const struct sockaddr_un place = { .sun_family = AF_UNIX, .sun_path = RELAY_PATH };

static int forget(void **state)
{
	fault_clear(state);
	unlink(RELAY_PATH);
	why.text[0] = '\0';
	return 0;
}

/* A process that does `each` with every connection; it ends by SIGKILL. */
static pid_t serve_with(void (*each)(int fd))
{
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t child;

	if (bind(listener, (const struct sockaddr *)&place, sizeof(place)) < 0 ||
	    listen(listener, 64) < 0)
		fail_msg("%s: %s", RELAY_PATH, strerror(errno));
	child = fork();
	assert_true(child >= 0);
	while (child == 0) {
		int fd = accept(listener, NULL, NULL);

		each(fd);
		close(fd);
	}
	close(listener);
	return child;
}

static void stop(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static int ask(enum verdict *verdict)
{
	char *sent[] = { (char *)"sync" };

	return relay_ask(1, sent, 0, NULL, verdict, &why);
}

static void say(int fd, enum relay_kind kind, unsigned value, const char *text)
{
	static struct relay_packet said;

	relay_head(kind, value, &said.head);
	said.size = strlen(text);
	memcpy(said.text, text, said.size);
	relay_send(fd, &said);
}

static void wait_for_request(int fd)
{
	static struct relay_packet heard;
	int err;

	while ((err = (int)relay_receive(fd, &heard)) == -EAGAIN)
		lab_sleep_ms(1);
}

static void answer_transient(int fd)
{
	wait_for_request(fd);
	say(fd, RELAY_TAKEN, 0, "");
	say(fd, RELAY_OUT, 0, "out ");
	say(fd, RELAY_ERR, 0, "err ");
	say(fd, RELAY_OUT, 0, "and out");
	say(fd, RELAY_VERDICT, VERDICT_TRANSIENT, "");
}

static void the_answer_is_passed_on(void **state)
{
	struct unit_capture out, err;
	enum verdict verdict = VERDICT_AGREES;
	pid_t child = serve_with(answer_transient);
	int result;

	(void)state;
	unit_capture_begin(&out, STDOUT_FILENO);
	result = ask(&verdict);
	expect_text(unit_capture_end(&out), "out and out");
	assert_int_equal(result, 0);
	assert_int_equal(verdict, VERDICT_TRANSIENT);
	unit_capture_begin(&err, STDERR_FILENO);
	unit_capture_begin(&out, STDOUT_FILENO);
	result = ask(&verdict);
	unit_capture_end(&out);
	assert_string_equal(unit_capture_end(&err), "err ");
	assert_int_equal(result, 0);
	stop(child);
}

static void nobody_serves(void **state)
{
	enum verdict verdict = VERDICT_TRANSIENT;

	(void)state;
	assert_int_equal(ask(&verdict), -ENOENT);
	expect_text(why.text, "systemctl enable --now sentinel-vip.socket");
	/* the file has outlived who listened */
	stop(serve_with(answer_transient));
	why.text[0] = '\0';
	assert_int_equal(ask(&verdict), -ENOENT);
	expect_text(why.text, "systemctl enable --now sentinel-vip.socket");
	assert_int_equal(verdict, VERDICT_TRANSIENT);
}

static void the_group_is_named_that_may_ask(void **state)
{
	pid_t server = serve_with(answer_transient), child;
	int status;

	(void)state;
	assert_int_equal(chmod(RELAY_PATH, 0660), 0);
	assert_int_equal(chown(RELAY_PATH, 0, GROUP), 0);
	child = fork();
	if (child == 0) {
		enum verdict verdict;
		bool right = setgid(NOBODY) == 0 && setuid(NOBODY) == 0 && ask(&verdict) == -EACCES &&
			strstr(why.text, "root and group 4711 only") != NULL;

		why.text[0] = '\0';
		relay_advise(&why);
		_exit(right && strstr(why.text, "root and group 4711 only") != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	relay_advise(&why);
	assert_string_equal(why.text, "");
	stop(server);
	unlink(RELAY_PATH);
	relay_advise(&why);
	expect_text(why.text, "systemctl enable --now sentinel-vip.socket");
}

static void close_at_once(int fd)
{
	(void)fd;
}

/* The first two are turned away, as by a service manager that has too many. */
static void turn_two_away(int fd)
{
	static int turned;

	if (turned++ >= 2)
		answer_transient(fd);
}

static void turned_away_it_comes_again(void **state)
{
	struct unit_capture out, err;
	enum verdict verdict = VERDICT_AGREES;
	pid_t child = serve_with(turn_two_away);
	int result;

	(void)state;
	unit_capture_begin(&out, STDOUT_FILENO);
	unit_capture_begin(&err, STDERR_FILENO);
	result = ask(&verdict);
	unit_capture_end(&err);
	unit_capture_end(&out);
	assert_int_equal(result, 0);
	assert_int_equal(verdict, VERDICT_TRANSIENT);
	stop(child);
	unlink(RELAY_PATH);

	/* but not for ever */
	child = serve_with(close_at_once);
	result = ask(&verdict);
	assert_true(result == -ECONNRESET || result == -EPIPE);
	expect_text(why.text, "has closed the connection");
	stop(child);
}

static void break_off(int fd)
{
	wait_for_request(fd);
	say(fd, RELAY_TAKEN, 0, "");
}

static void other_version(int fd)
{
	struct relay_head head;

	wait_for_request(fd);
	relay_head(RELAY_VERDICT, VERDICT_AGREES, &head);
	head.version = 9;
	send(fd, &head, sizeof(head), MSG_NOSIGNAL);
}

static void no_such_verdict(int fd)
{
	wait_for_request(fd);
	say(fd, RELAY_VERDICT, VERDICT_PERMANENT + 1, "");
}

static void nonsense(int fd)
{
	wait_for_request(fd);
	send(fd, "hello", 5, MSG_NOSIGNAL);
}

/* After any of these nobody knows how far it came: asked once, and no verdict made up. */
static void what_is_no_answer_is_an_error(void **state)
{
	static const struct {
		void (*each)(int fd);
		const char *text;
	} cases[] = {
		{ break_off, "broke off in the middle" },
		{ other_version, "speaks version 9" },
		{ no_such_verdict, "no verdict" },
		{ nonsense, "not of this program" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		pid_t child = serve_with(cases[i].each);
		enum verdict verdict = VERDICT_AGREES;
		double begun = clock_ms();
		int result = ask(&verdict);

		assert_true(result < 0 && result != -ENOENT && result != -EACCES);
		expect_text(why.text, cases[i].text);
		assert_int_equal(verdict, VERDICT_AGREES);
		assert_true(clock_ms() - begun < 1000);
		stop(child);
		unlink(RELAY_PATH);
	}
}

/* Before anybody is asked, so that half of a request is never obeyed. */
static void too_many_words_are_not_sent(void **state)
{
	enum verdict verdict = VERDICT_PERMANENT;
	char *words[RELAY_WORDS_MAX + 1];

	(void)state;
	for (int i = 0; i <= RELAY_WORDS_MAX; i++)
		words[i] = (char *)"a";
	assert_int_equal(relay_ask(RELAY_WORDS_MAX + 1, words, 0, NULL, &verdict, &why), -E2BIG);
	expect_text(why.text, "too many words for the relay, which takes 256: name fewer masters");
	assert_int_equal(verdict, VERDICT_PERMANENT);
}

int unit_relay_ask_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_many_words_are_not_sent),
		cmocka_unit_test_setup_teardown(the_answer_is_passed_on, forget, forget),
		cmocka_unit_test_setup_teardown(nobody_serves, forget, forget),
		cmocka_unit_test_setup_teardown(the_group_is_named_that_may_ask, forget, forget),
		cmocka_unit_test_setup_teardown(turned_away_it_comes_again, forget, forget),
		cmocka_unit_test_setup_teardown(what_is_no_answer_is_an_error, forget, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
