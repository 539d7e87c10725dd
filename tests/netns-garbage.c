/* SPDX-License-Identifier: MIT */
/*
 * Answers that are none, and answers that do not come, in Sentinel's call: the arguments are
 * followed then, the line says unverified, within a bounded time and a bounded memory.
 */
#include "netns-fake.h"
#include "netns.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG "announce = none\n" CONFIG4

/* 300 ms are allowed; the rest is for a busy machine. */
#define AT_LEAST_MS 280
#define AT_MOST_MS 900
/* What is settled by what was heard does not wait for more. */
#define AT_ONCE_MS 270

static struct fake *local;
static struct fake_turn *says;
static bool here; /* the VIP, after the last call */

static int setup(void **state)
{
	netns_setup(state);
	lab_config(us, CONFIG);
	local = fake_start(us, "127.0.0.1", 26379);
	says = fake_turn(local, 0, PEER4, 6379, "1", NULL);
	here = false;
	return 0;
}

static int teardown(void **state)
{
	fake_stop_all();
	return netns_teardown(state);
}

/* The name of a case in what a failure prints. */
static void show(const char *bytes, size_t size)
{
	print_error("said: \"");
	for (size_t i = 0; i < size && i < 200; i++)
		print_error(isprint((unsigned char)bytes[i]) ? "%c" : "\\x%02x",
			    (unsigned char)bytes[i]);
	print_error("\" (%zu bytes)\n", size);
}

/* The arguments are followed, each time to where the VIP is not, and the line says that much. */
static void follows_the_arguments(const char *why, int least_ms, int most_ms)
{
	int ms;
	bool fine;

	here = !here;
	sentinel(here ? OUR4 : PEER4);
	ms = (int)((r.exit_ns - r.exec_ns) / 1000000);
	fine = r.status == 0 && ms >= least_ms && ms <= most_ms * lab_slow() &&
	       lab_log_wait(us, "unverified: ", 500) && lab_log_count(us, why) == 1 &&
	       lab_addr_copies(us, VIP4) == (here ? 1 : 0);
	if (!fine) {
		show(says->says[FAKE_ADDRESS].bytes, says->says[FAKE_ADDRESS].size);
		print_error("status %d after %d ms, expected %d to %d ms and \"%s\"\n%s", r.status,
			    ms, least_ms, most_ms, why, r.err);
		lab_log_print(us);
	}
	assert_true(fine);
	expect(0, here ? "claimed " VIP4 : "released " VIP4, "WARNING: unverified: ", why);
}

#define BYTES(text) text, sizeof(text) - 1
#define TEN "xxxxxxxxxx"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* ---- whole, and not an address ---- */

static void answers_of_a_wrong_kind(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		{BYTES("+OK\r\n")},
		{BYTES("+" PEER4 ":6379\r\n")},
		{BYTES(":1\r\n")},
		{BYTES("$13\r\n" PEER4 ":6379\r\n")},
		{BYTES("*1\r\n$8\r\n" PEER4 "\r\n")},
		{BYTES("*3\r\n$8\r\n" PEER4 "\r\n$4\r\n6379\r\n$1\r\n1\r\n")},
		{BYTES("*2\r\n:1\r\n:2\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n:6379\r\n")},
		{BYTES("*2\r\n+" PEER4 "\r\n+6379\r\n")},
		{BYTES("*2\r\n$-1\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$-1\r\n")},
		{BYTES("*2\r\n*-1\r\n*-1\r\n")},
		{BYTES("*2\r\n*2\r\n$8\r\n" PEER4 "\r\n$4\r\n6379\r\n$4\r\n6379\r\n")},
		{BYTES("*1\r\n*2\r\n$8\r\n" PEER4 "\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n-ERR one\r\n-ERR two\r\n")},
		/* ports that are none */
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$1\r\n0\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$5\r\n99999\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$5\r\n65536\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$1\r\nx\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$0\r\n\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$2\r\n-1\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$5\r\n6379 \r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$5\r\n6379\0\r\n")},
		{BYTES("*2\r\n$8\r\n" PEER4 "\r\n$21\r\n184467440737095516170\r\n")},
		/* hosts that are none */
		{BYTES("*2\r\n$0\r\n\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n$9\r\n" PEER4 "\0\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n$9\r\n\0" PEER4 "\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n$300\r\n" HUNDRED HUNDRED HUNDRED "\r\n$4\r\n6379\r\n")},
		{BYTES("*2\r\n$256\r\n" HUNDRED HUNDRED TEN TEN TEN TEN TEN
		       "xxxxxx\r\n$4\r\n6379\r\n")},
		/* the answer to a HELLO that nobody said, in both protocols */
		{BYTES("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.1\r\n$"
		       "5\r\n"
		       "proto\r\n:2\r\n$2\r\nid\r\n:3\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n$"
		       "4\r\nrole\r\n"
		       "$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n")},
		{BYTES("%1\r\n+server\r\n+redis\r\n")},
		/* other protocols */
		{BYTES("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")},
		{BYTES("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")},
		{BYTES("220 mail.example.net ESMTP\r\n")},
		{BYTES("\x15\x03\x01\x00\x02\x02\x28")},
		{BYTES("\r\n")},
		{BYTES("\0\0\0\0")},
		{BYTES("VALUE x 0 1\r\n")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake_bytes(says, FAKE_ADDRESS, cases[i].bytes, cases[i].size);
		follows_the_arguments("it does not speak as a Sentinel", 0, AT_ONCE_MS);
	}
}

/* What it says is in the line, in so far as a line can take it. */
static void answers_with_an_error(void **state)
{
	static const struct {
		const char *error, *in_the_line;
	} cases[] = {
		{"ERR unknown command 'SENTINEL'", "ERR unknown command 'SENTINEL'"},
		{"LOADING Redis is loading the dataset in memory", "LOADING Redis is loading"},
		{"MISCONF \x1b[31mred\x1b[0m", "MISCONF \\x1b[31mred"},
		{"", "unverified: "},
		{"NOAUT", "NOAUT"},
		{"ERR " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED, "ERR xxxxxxxxxx"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake_format(says, FAKE_ADDRESS, "-%s\r\n", cases[i].error);
		here = !here;
		sentinel(here ? OUR4 : PEER4);
		assert_non_null(lab_log_wait(us, "unverified", 500));
		assert_int_equal(lab_log_count(us, "\x1b"), 0);
		assert_int_equal(lab_log_count(us, "sentinel-auth"), 0);
		expect(0, here ? "claimed" : "released", cases[i].in_the_line);
	}
}

/* More than was asked for is not looked at, wherever the bytes are split. */
static void two_answers_to_one_question(void **state)
{
	(void)state;
	fake_format(says, FAKE_ADDRESS,
		    "*2\r\n$8\r\n" OUR4 "\r\n$4\r\n6379\r\n*2\r\n$8\r\n" PEER4
		    "\r\n$4\r\n6379\r\n-ERR\r\n");
	sentinel(OUR4);
	expect(0, "claimed", "as Sentinel says");
	says->drip = true;
	sentinel(OUR4);
	expect(0, "announced", "as Sentinel says");
}

/* ---- heads that promise more than can be ---- */

static void promises_that_are_absurd(void **state)
{
	static const char *const cases[] = {
		"*1000000000\r\n",
		"*2147483647\r\n",
		"*2147483648\r\n",
		"*4294967298\r\n",
		"*536870912\r\n",
		"*100000\r\n",
		"*9223372036854775807\r\n",
		"*99999999999999999999\r\n",
		"*-2\r\n",
		"*x\r\n",
		"$-2\r\n",
		"$x\r\n",
		"$99999999999999999999\r\n",
		"*2\r\n*1000000000\r\n",
		"*2\r\n$1\r\nx\r\n*1000000000\r\n",
		/* what stands where a string's end should be is looked at by nobody */
		"*2\r\n$1\r\nxYY*300000000\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool drip = i % 3 == 0;

		fake_format(says, FAKE_ADDRESS, "%s", cases[i]);
		says->drip = drip;
		says->drip_us = drip ? 1000 : 0;
		follows_the_arguments("unverified: 127.0.0.1:26379: ", 0, AT_MOST_MS);
	}
}

static void arrays_in_arrays(void **state)
{
	char deep[4000];

	(void)state;
	for (size_t i = 0; i < sizeof deep; i++)
		deep[i] = "*1\r\n"[i % 4];
	for (int levels = 2; levels <= 1000; levels *= 2) {
		fake_bytes(says, FAKE_ADDRESS, deep, 4 * (size_t)levels);
		follows_the_arguments("unverified: 127.0.0.1:26379: ", 0, AT_MOST_MS);
	}
	for (size_t i = 0; i < sizeof deep; i++)
		deep[i] = "*2\r\n*0\r\n"[i % 8];
	fake_bytes(says, FAKE_ADDRESS, deep, sizeof deep);
	follows_the_arguments("it does not speak as a Sentinel", 0, AT_MOST_MS);
}

/* ---- too slow ---- */

static void byte_by_byte_and_quick(void **state)
{
	(void)state;
	says->drip = true;
	sentinel(OUR4);
	expect(0, "nothing to do", "arguments are stale", PEER4 ":6379");
	says->drip_us = 2000; /* 33 bytes */
	sentinel(OUR4);
	expect(0, "nothing to do", "arguments are stale", PEER4 ":6379");
}

static void byte_by_byte_and_slow(void **state)
{
	(void)state;
	says->drip = true;
	says->drip_us = 25000; /* each in time, the whole too late */
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
}

static void late_but_in_time(void **state)
{
	(void)state;
	says->says[FAKE_ADDRESS].wait_ms = 120;
	sentinel(OUR4);
	expect(0, "nothing to do", "arguments are stale");
	assert_in_range((r.exit_ns - r.exec_ns) / 1000000, 120, AT_MOST_MS * lab_slow());
}

/* The kernel was slow, so that the time is over when the answer, long there, is looked at. */
static void there_before_the_kernel_answered(void **state)
{
	(void)state;
	lab_sh(us, &r,
	       "exec strace -E ASAN_OPTIONS=detect_leaks=0 -qq -o /dev/null -e "
	       "%s %s mymaster leader start " OLD4 " 6379 " OUR4 " 6379",
	       lab_delay("inject=sendmsg:delay_enter=", 400000), lab_program());
	assert_true(r.exit_ns - r.exec_ns > INT64_C(400000000)); /* else nothing was tried */
	expect(0, "nothing to do", "arguments are stale");
}

static void nothing_at_all(void **state)
{
	(void)state;
	says->says[FAKE_ADDRESS].wait_ms = 1500;
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	fake_bytes(says, FAKE_ADDRESS, "", 0);
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	fake_bytes(says, FAKE_ADDRESS, "*2\r\n$8\r\n", 8); /* an answer begun */
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	fake_bytes(says, FAKE_ADDRESS, "$1000000000\r\n", 13); /* and one to wait for */
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	says->deaf = true;
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
}

/* Its process hangs: the kernel accepts, and nobody reads. */
static void frozen(void **state)
{
	struct fake *f;

	(void)state;
	kill(local->pid, SIGSTOP);
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
	f = fake_start(us, "frozen.sock", 0);
	kill(f->pid, SIGSTOP);
	lab_config(us, "sentinel = unix:/run/frozen.sock\n" CONFIG);
	follows_the_arguments("it did not answer in time", AT_LEAST_MS, AT_MOST_MS);
}

/* Nobody answers for the address, so that not even a refusal comes. */
static void unreachable(void **state)
{
	(void)state;
	lab_config(us, "sentinel = 10.0.0.99:26379\n" CONFIG);
	follows_the_arguments("unverified: 10.0.0.99:26379: it did not answer in time", AT_LEAST_MS,
			      AT_MOST_MS);
	lab_config(us, "sentinel = 192.0.2.1:26379\n" CONFIG);
	follows_the_arguments("unverified: 192.0.2.1:26379: Network is unreachable", 0, AT_ONCE_MS);
}

static void its_name_is_not_known(void **state)
{
	(void)state;
	lab_config(us, "sentinel = watcher:26379\n" CONFIG);
	follows_the_arguments("unverified: watcher:26379: its name does not resolve", 0,
			      AT_MOST_MS);
	/* a name server that hangs */
	lab_file(us, "etc/resolv.conf", 0644, 0, "nameserver 10.0.0.99\n");
	follows_the_arguments("unverified: watcher:26379: its name does not resolve", AT_LEAST_MS,
			      AT_MOST_MS);
}

/* ---- gone ---- */

static void refused(void **state)
{
	(void)state;
	fake_stop(local);
	says = &(struct fake_turn){0}; /* for what a failure shows */
	follows_the_arguments("unverified: 127.0.0.1:26379: Connection refused", 0, AT_ONCE_MS);
	lab_config(us, "sentinel = unix:/run/nobody.sock\n" CONFIG);
	follows_the_arguments("unverified: /run/nobody.sock: No such file or directory", 0,
			      AT_ONCE_MS);
	lab_config(us, "sentinel = unix:/run/sentinel-vip.conf\n" CONFIG);
	follows_the_arguments("unverified: /run/sentinel-vip.conf: Connection refused", 0,
			      AT_ONCE_MS);
}

/* Closed after each of its bytes. */
static void closed_in_the_middle(void **state)
{
	size_t whole = says->says[FAKE_ADDRESS].size;

	(void)state;
	assert_in_range(whole, 20, 40);
	says->closes = true;
	for (says->most = 0; says->most < whole; says->most++)
		follows_the_arguments("it closed the connection", 0, AT_ONCE_MS);
	sentinel(OUR4);
	expect(0, "arguments are stale");
}

static void reset_in_the_middle(void **state)
{
	(void)state;
	says->closes = says->reset = true;
	for (says->most = 0; says->most < 28; says->most += 7)
		follows_the_arguments("unverified: 127.0.0.1:26379: ", 0, AT_ONCE_MS);
	says->most = 0;
	says->deaf = true;
	follows_the_arguments("unverified: 127.0.0.1:26379: ", 0, AT_ONCE_MS);
}

int netns_garbage_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(answers_of_a_wrong_kind),
		test(answers_with_an_error),
		test(two_answers_to_one_question),
		test(promises_that_are_absurd),
		test(arrays_in_arrays),
		test(byte_by_byte_and_quick),
		test(byte_by_byte_and_slow),
		test(late_but_in_time),
		test(there_before_the_kernel_answered),
		test(nothing_at_all),
		test(frozen),
		test(unreachable),
		test(its_name_is_not_known),
		test(refused),
		test(closed_in_the_middle),
		test(reset_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
