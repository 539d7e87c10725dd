/* SPDX-License-Identifier: MIT */
/*
 * The relay where somebody means ill, or something is missing or dies: what is asked for in another
 * form is refused with one line, nobody is kept waiting, and no verdict is made up.
 */
#include "netns-relay.h"

#include "netns-fake.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- nobody there ---- */

static void a_missing_relay_is_named(void **state)
{
	char *before = netns_state();

	(void)state;
	relay_stop();
	lab_must(us, "chmod 644 /etc/sentinel-vip.conf && chown root /etc/sentinel-vip.conf");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	expect(2, "AF_NETLINK is forbidden here",
	       "systemctl enable --now sentinel-vip.socket");
	/* before the configuration can be read, too */
	lab_must(us, "chmod 600 /etc/sentinel-vip.conf");
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	expect(2, "/etc/sentinel-vip.conf: Permission denied",
	       "systemctl enable --now sentinel-vip.socket");
	expect_unchanged(before);
}

static void others_may_not_ask(void **state)
{
	char *before = netns_state();

	(void)state;
	assert_int_equal(relay_ask_as(65534, (const char *const[]){SENTINELS_CALL(OUR4), NULL}), 2);
	expect(2, "/etc/sentinel-vip.conf: Permission denied", "serves root and group 65501 only");
	/* when somebody has opened the socket for all, the other end does not serve them either */
	lab_must(us, "chmod 666 /run/sentinel-vip.socket");
	assert_int_equal(relay_ask_as(65534, (const char *const[]){SENTINELS_CALL(OUR4), NULL}), 2);
	assert_non_null(strstr(r.err, "only root and members of the socket's group, 65501, may ask"));
	expect(2, "only root and members", "; for nobody (uid 65534), pid ");
	expect_same_state(before);
}

/* Not a word about the VIP then, neither that it is there nor that it is not. */
static void without_it_status_says_what_it_cannot_see(void **state)
{
	struct fake *sentinel = fake_start(us, "127.0.0.1", 26379);

	(void)state;
	fake_turn(sentinel, 0, OUR4, 6379, "7", NULL);
	relay_stop();
	lab_must(us, "chmod 644 /etc/sentinel-vip.conf && chown root /etc/sentinel-vip.conf");
	assert_int_equal(ask("status"), 2);
	assert_non_null(strstr(r.out, "AF_NETLINK is forbidden here"));
	assert_null(strstr(r.out, "nobody answers"));
	assert_int_equal(ask("status", "--json"), 2);
	assert_non_null(strstr(r.out, "AF_NETLINK is forbidden here"));
	/* where nobody says who is master that is no reason to be silent about it */
	fake_stop(sentinel);
	assert_int_not_equal(ask("check"), 0);
	assert_non_null(strstr(r.out, "error    interface     AF_NETLINK is forbidden here"));
}

/* Who names another configuration would be served by the wrong one. */
static void another_configuration_is_not_for_the_relay(void **state)
{
	(void)state;
	lab_must(us, "chmod 644 /run/sentinel-vip.conf");
	lab_run(us, &r, 20000,
		(const char *const[]){"setpriv", "--reuid", "65501", "--regid", "65501",
				      "--clear-groups", lab_program(), SENTINELS_CALL(OUR4), NULL});
	expect(2, "/run/sentinel-vip.conf, line 1");
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/* ---- who asks in another way ---- */

/* What comes over the connection until its end, as far as it is text. */
static const char *reply(int fd)
{
	static char text[4096];
	size_t size = 0;
	char packet[20000];
	ssize_t n;

	while ((n = recv(fd, packet, sizeof packet, 0)) > 0)
		if (n > 8 && size + (size_t)n < sizeof text) {
			memcpy(text + size, packet + 8, (size_t)n - 8);
			size += (size_t)n - 8;
		}
	text[size] = '\0';
	close(fd);
	return text;
}

/* The packet leads to one line, and to the same one at this end; nothing is changed. */
static void refused(const void *packet, size_t size, const char *why)
{
	int fd = relay_connect();
	const char *said;

	assert_int_equal(send(fd, packet, size, 0), size);
	said = reply(fd);
	if (strstr(said, why) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", why, said);
	if (lab_log_wait(us, why, 1000) == NULL || lab_log_count(us, "") != 1)
		fail_msg("\"%s\" is not the one line in the log", why);
	assert_non_null(lab_log_wait(us, "; for root (uid 0), pid ", 0));
	lab_log_clear(us);
}

#define HEAD "svip\1q\0\0"
#define words_refused(words, why) refused(HEAD words, sizeof(HEAD words) - 1, why)

static void another_form_is_refused(void **state)
{
	static char big[20000] = HEAD;
	char *before = netns_state();

	(void)state;
	refused("x", 1, "too short or too long");
	refused("GET / HTTP/1.0\r\n\r\n", 18, "not of this program");
	refused("svip\2q\0\0status\0", 15, "speaks version 2, this one version 1");
	refused("svip\1v\0\0status\0", 15, "no request");
	words_refused("", "no end");
	words_refused("status", "no end");
	refused(big, sizeof big, "too short or too long");
	memset(big + 8, 'x', sizeof big - 8);
	refused(big, 16384 + 8, "no end");
	memset(big + 8, 0, 300);
	refused(big, 8 + 300, "more than 256 words");
	expect_same_state(before);
}

/* The text for a terminal is painted at the serving end, which has none. */
static void colour_is_for_who_has_it(void **state)
{
	static const char plain[] = "svip\1q\0\0status", painted[] = "svip\1q\2\0status";
	int fd = relay_connect();

	(void)state;
	assert_int_equal(send(fd, plain, sizeof plain, 0), sizeof plain);
	assert_null(strchr(reply(fd), '\033'));
	fd = relay_connect();
	assert_int_equal(send(fd, painted, sizeof painted, 0), sizeof painted);
	assert_non_null(strchr(reply(fd), '\033'));
}

static void other_words_are_refused(void **state)
{
	char *before = netns_state();

	(void)state;
	words_refused("claim\0mymaster\0", "Sentinel's call, sync and status only");
	words_refused("release\0mymaster\0", "Sentinel's call, sync and status only");
	words_refused("check\0", "Sentinel's call, sync and status only");
	words_refused("--help\0", "Sentinel's call, sync and status only");
	words_refused("--version\0", "Sentinel's call, sync and status only");
	words_refused("--serve\0", "Sentinel's call, sync and status only");
	words_refused("sync\0-n\0", "Sentinel's call, sync and status only");
	words_refused("--dry-run\0mymaster\0leader\0start\0" OLD4 "\0" "6379\0" OUR4 "\0" "6379\0",
		      "Sentinel's call, sync and status only");
	words_refused("--\0", "Sentinel's call, sync and status only");
	words_refused("rm\0-rf\0", "no command");
	words_refused("sync\0--fast\0", "unknown option");
	words_refused("mymaster\0leader\0start\0" OLD4 "\0" "6379\0" OUR4 "\0", "7 arguments");
	words_refused("mymaster\0leader\0start\0" OLD4 "\0" "6379\0" OUR4 "\0" "6379\0more\0",
		      "7 arguments");
	words_refused("my master\0leader\0start\0" OLD4 "\0" "6379\0" OUR4 "\0" "6379\0",
		      "cannot be a master's name");
	expect_same_state(before);
}

/* One that says nothing is sent away; one that goes costs one line. */
static void who_says_nothing_is_sent_away(void **state)
{
	int silent = relay_connect();
	int64_t begun = lab_now_ns();

	(void)state;
	close(relay_connect());
	assert_non_null(lab_log_wait(us, "closed without a request; for root", 1000));
	assert_non_null(strstr(reply(silent), "no request came for 3 s"));
	assert_true(lab_now_ns() - begun < INT64_C(5000000000));
	assert_non_null(lab_log_wait(us, "no request came for 3 s; for root", 1000));
	assert_int_equal(lab_log_count(us, ""), 2);
	assert_true(relay_is_quiet(1000));
}

/* Nobody reads what is printed: it ends all the same. */
static void who_does_not_read_is_left(void **state)
{
	static char text[200000] = "announce = none\n";
	size_t n = strlen(text);
	int fd;

	(void)state;
	for (int i = 0; i < 240; i++)
		n += (size_t)sprintf(text + n, "[a-master-with-quite-a-long-name-%d]\nsentinel = "
				     "127.0.0.1:1\ninterface = eth0\nvip = 10.1.%d.1\n", i, i);
	relay_config(text);
	fd = relay_connect();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){1}, sizeof(int));
	assert_int_equal(send(fd, HEAD "status\0--json", 8 + 14, 0), 22);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) > 1, 3000));
	assert_true(relay_is_quiet(15000));
	close(fd);
}

/* ---- an end dies ---- */

/* The serving process has taken the request: what it prints is kept for the other end. */
#define AT_WORK                                                                                    \
	"p=$(pgrep -f " RELAY_SERVING ") && "                                                      \
	"case $(readlink /proc/$p/fd/2) in *memfd:*) ;; *) false;; esac"

/*
 * A call that is at work for a second: its Sentinel could not resolve the new master's name, and the
 * one that is asked then is silent.
 */
static pid_t ask_for_long(void)
{
	fake_start(us, "127.0.0.1", 26379);
	return relay_ask_later((const char *const[]){"mymaster", "leader", "start", OUR4, "6379",
						     OUR4, "6379", NULL});
}

static void the_run_goes_on_although_the_caller_dies(void **state)
{
	pid_t asking = ask_for_long();

	(void)state;
	assert_true(LAB_UNTIL(lab_sh(us, NULL, AT_WORK) == 0, 3000));
	kill(asking, SIGKILL);
	lab_wait(asking, -1);
	assert_non_null(lab_log_wait(us, "from and to are both", 3000));
	assert_int_equal(lab_log_count(us, ""), 1);
	assert_true(relay_is_quiet(1000));
}

static void no_verdict_is_made_up(void **state)
{
	pid_t asking = ask_for_long();

	(void)state;
	assert_true(LAB_UNTIL(lab_sh(us, NULL, AT_WORK " && kill -KILL $p") == 0, 3000));
	assert_int_equal(lab_wait(asking, 5000), 2);
	assert_non_null(lab_log_wait(us, "the relay broke off in the middle", 1000));

	relay_start(RELAY_CLOSES);
	lab_log_clear(us);
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	expect(2, "the relay has closed the connection", "sentinel-vip@*");
	/* sync comes again */
	assert_int_equal(ask("sync"), 1);
	assert_int_equal(ask("status"), 2);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

static void nobody_waits_for_ever(void **state)
{
	(void)state;
	relay_start(RELAY_IS_SILENT);
	assert_int_equal(ask(SENTINELS_CALL(OUR4)), 2);
	assert_true(r.exit_ns - r.exec_ns > INT64_C(19000000000));
	assert_true(lab_took_at_most(&r, 22000));
	expect(2, "has said nothing for 20 s");
}

/* ---- many ---- */

static void config_of_many(int count)
{
	static char text[20000];
	size_t n = (size_t)sprintf(text, "interface = eth0\nverify = no\nannounce = 1\n");

	for (int i = 0; i < count; i++)
		n += (size_t)sprintf(text + n, "[m%d]\nvip = 10.0.1.%d\n", i, i);
	relay_config(text);
}

/* As many at a time as are allowed, the rest as soon as one ends; the statuses must be 0. */
static void ask_for_many(int count, int at_once)
{
	pid_t asking[256];

	for (int i = 0; i < count + at_once; i++) {
		char name[16];

		if (i >= at_once && i - at_once < count)
			assert_int_equal(lab_wait(asking[i - at_once], 20000), 0);
		snprintf(name, sizeof name, "m%d", i);
		if (i < count)
			asking[i] = relay_ask_later((const char *const[]){
				name, "leader", "start", OLD4, "6379", OUR4, "6379", NULL});
	}
}

static int vips(void)
{
	lab_sh(us, &r, "ip -o addr show dev eth0 | grep -c ' 10.0.1.'");
	return atoi(r.out);
}

static void sixty_four_at_once(void **state)
{
	(void)state;
	config_of_many(64);
	ask_for_many(64, 64);
	assert_int_equal(vips(), 64);
	assert_int_equal(lab_log_count(us, ": claimed 10.0.1."), 64);
}

/* Sentinel runs 16 scripts at a time. */
static void a_storm_of_two_hundred_masters(void **state)
{
	(void)state;
	config_of_many(200);
	ask_for_many(200, 16);
	assert_int_equal(vips(), 200);
	assert_true(relay_is_quiet(20000));
}

int netns_relay_trouble_tests(void)
{
	const struct CMUnitTest tests[] = {
		relay_test(a_missing_relay_is_named),
		relay_test(others_may_not_ask),
		relay_test(without_it_status_says_what_it_cannot_see),
		relay_test(colour_is_for_who_has_it),
		relay_test(another_configuration_is_not_for_the_relay),
		relay_test(another_form_is_refused),
		relay_test(other_words_are_refused),
		relay_test(who_says_nothing_is_sent_away),
		relay_test(who_does_not_read_is_left),
		relay_test(the_run_goes_on_although_the_caller_dies),
		relay_test(no_verdict_is_made_up),
		relay_test(nobody_waits_for_ever),
		relay_test(sixty_four_at_once),
		relay_test(a_storm_of_two_hundred_masters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
