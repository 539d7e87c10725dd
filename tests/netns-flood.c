/* SPDX-License-Identifier: MIT */
/*
 * Answers that are far too large: the program stops listening in time, and takes no memory for what
 * was only promised. What it takes is read from its system calls, since it is gone too soon to be
 * looked at.
 */
#include "netns-fake.h"
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

#define CONFIG "announce = none\n" CONFIG4

/* One master with ten Sentinels is 6 kB; this is what nothing should ever need. */
#define MEMORY_MAX (64L << 20)
#define AT_MOST_MS 1500 /* strace(1) is slow */

static struct fake *local;
static struct fake_turn *says;

static int setup(void **state)
{
	netns_setup(state);
	lab_config(us, CONFIG);
	local = fake_start(us, "127.0.0.1", 26379);
	says = fake_turn(local, 0, PEER4, 6379, "1", NULL);
	return 0;
}

static int teardown(void **state)
{
	fake_stop_all();
	return netns_teardown(state);
}

/*
 * What was mapped after the first connection: all of it, and more than was ever in use at once,
 * since what was given back is not taken off.
 */
static long memory_taken(void)
{
	long sum = 0, size, brk, last_brk = 0, first_brk = 0;
	char path[128], line[512];
	bool connected = false;
	FILE *f;

	snprintf(path, sizeof path, "%s/memory", us->run);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		const char *comma = strchr(line, ',');

		if (strncmp(line, "connect(", 8) == 0 && !strstr(line, "/dev/log"))
			connected = true;
		if (sscanf(line, "brk(%*[^)]) = %li", &brk) == 1) {
			last_brk = brk;
			first_brk = connected ? first_brk : brk;
		}
		if (!connected || !comma)
			continue;
		if (sscanf(line, "mmap(%*[^,], %ld", &size) == 1)
			sum += size;
		if (sscanf(line, "mremap(%*[^,], %*d, %ld", &size) == 1)
			sum += size;
	}
	fclose(f);
	assert_true(connected);
	return sum + last_brk - first_brk;
}

static void run_traced(const char *const words[])
{
	/* the leak sanitizer, where it is built in, cannot do its work under strace(1) */
	const char *argv[20] = {
		"strace",      "-E", "ASAN_OPTIONS=detect_leaks=0",   "-qq",        "-o",
		"/run/memory", "-e", "trace=connect,mmap,mremap,brk", lab_program()};
	int ms;

	for (int i = 9; *words; i++)
		argv[i] = *words++;
	lab_run(us, &r, 20000, argv);
	ms = (int)((r.exit_ns - r.exec_ns) / 1000000);
	if (memory_taken() > MEMORY_MAX * lab_slow() || ms > AT_MOST_MS * lab_slow())
		fail_msg("%ld bytes were mapped, in %d ms: %s...", memory_taken(), ms,
			 says->says[FAKE_ADDRESS].head_size ? says->says[FAKE_ADDRESS].head
							    : says->says[FAKE_ADDRESS].bytes);
}

struct flood {
	const char *head, *bytes;
	size_t times;
};

#define FILL "................................................................"
#define FILL1K FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL FILL

static const struct flood floods[] = {
	{"$10485760\r\n", FILL1K, 10240},         /* 10 MB in one string */
	{"$1000000000\r\n", FILL1K, 10240},       /* promised */
	{"*2\r\n$10485760\r\n", FILL1K, 10240},   /* the host */
	{"+", FILL1K, 10240},                     /* a line without an end */
	{"-NOAUTH ", FILL1K, 10240},              /* an error without an end */
	{"*", "1111111111111111", 655360},        /* a number without an end */
	{"*1000000000\r\n", "$1\r\nx\r\n", 1000}, /* promised */
	{"*99999\r\n", "$1\r\nx\r\n", 99999},     /* kept */
	{"*99999\r\n*99999\r\n*99999\r\n*99999\r\n*99999\r\n*99999\r\n", ":1\r\n", 600000},
	{"", "*99999\r\n", 400000}, /* arrays in arrays in arrays */
	{"*90000\r\n", "*0\r\n", 1000000},
	{"*2\r\n", "*2\r\n", 1000000},
	{"", "\r\n", 4000000},
};

static void flood_with(struct fake_turn *t, enum fake_question q, const struct flood *f)
{
	fake_format(t, q, "%s", f->bytes);
	snprintf(t->says[q].head, sizeof t->says[q].head, "%s", f->head);
	t->says[q].head_size = strlen(f->head);
	t->says[q].times = f->times;
}

static void the_call_is_flooded(void **state)
{
	const char *const words[] = {"mymaster", "leader", "start", OLD4,
				     "6379",     OUR4,     "6379",  NULL};

	(void)state;
	for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
		flood_with(says, FAKE_ADDRESS, &floods[i]);
		run_traced(words);
		expect(0, i ? "announced" : "claimed", "unverified: 127.0.0.1:26379: ");
	}
}

static void sync_is_flooded(void **state)
{
	const char *const words[] = {"sync", NULL};

	(void)state;
	for (size_t i = 0; i < sizeof floods / sizeof *floods; i++)
		for (enum fake_question q = FAKE_ADDRESS; q <= FAKE_FELLOWS; q++) {
			fake_turn(local, 0, OUR4, 6379, "1", NULL);
			flood_with(says, q, &floods[i]);
			run_traced(words);
			expect(1, "undecided");
		}
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

int netns_flood_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(the_call_is_flooded),
		test(sync_is_flooded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
