/* SPDX-License-Identifier: MIT */
/*
 * sync over many masters: what it takes for one it does not take for each, whoever has the lock of
 * one keeps only that one, and no master is always the last. All have the same fake Sentinels
 * (netns-council.h), which say the same of each.
 */
#include "netns-council.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 20
#define VIP_OF "10.0.0.%d"
#define FIRST_VIP 100

static void configure(int masters, const char *defaults)
{
	char path[200];
	FILE *f;

	lab_config(us, "announce = none\ninterface = eth0\n%s", defaults);
	snprintf(path, sizeof path, "%s/sentinel-vip.conf", us->run);
	f = fopen(path, "ae");
	if (!f)
		lab_fail("%s: %m", path);
	for (int i = 0; i < masters; i++)
		fprintf(f, "[m%d]\nvip = " VIP_OF "\n", i, FIRST_VIP + i);
	if (fclose(f) != 0)
		lab_fail("%s: %m", path);
}

static bool stands(int master)
{
	char address[32];

	snprintf(address, sizeof address, VIP_OF, FIRST_VIP + master);
	return lab_addr_copies(us, address) == 1;
}

static int standing(int masters)
{
	int n = 0;

	for (int i = 0; i < masters; i++)
		n += stands(i);
	return n;
}

static void all_gone(int masters)
{
	for (int i = 0; i < masters; i++)
		lab_must(us, "ip addr del " VIP_OF "/32 dev eth0 2>/dev/null || :", FIRST_VIP + i);
}

/* Somebody else has the locks of the masters from..to-1, which were there before. */
static pid_t hold(int from, int to)
{
	char script[512];
	pid_t pid;

	snprintf(script, sizeof script,
		 "i=%d; while [ $i -lt %d ]; do f=$(echo /run/sentinel-vip/*.m$i); "
		 "eval \"exec $((i + 10))<$f\"; flock -n $((i + 10)) || exit 1; i=$((i + 1)); done; "
		 "echo >/run/held; exec sleep 600", from, to);
	lab_must(us, "rm -f /run/held");
	pid = lab_spawn(us, NULL, (const char *const[]){"bash", "-c", script, NULL});
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "test -e /run/held") == 0, 3000));
	return pid;
}

static void let_go(pid_t holder)
{
	kill(holder, SIGKILL);
	lab_wait(holder, -1);
}

/* All locks are there, and no VIP is. */
static void locks_exist(int masters)
{
	council_says("A3 A3 A3");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(masters), masters);
	all_gone(masters);
	lab_log_clear(us);
}

/* ---- time ---- */

/* What does not answer is waited for at the first look and once more, not for each. */
static void a_sentinel_that_is_off_is_waited_for_twice(void **state)
{
	(void)state;
	configure(MANY, "");
	council_says("A3 A3 h");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(MANY), MANY);
	assert_int_equal(council[1]->connections, 2);
	assert_in_range(council_ms(), 1000, 3500 * lab_slow());
	council_says("B4 B4 h");
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(MANY), 0);
	assert_int_equal(council[1]->connections, 2);
}

/* ---- locks ---- */

static void who_is_held_keeps_nobody(void **state)
{
	pid_t holder;

	(void)state;
	configure(MANY, "");
	locks_exist(MANY);
	holder = hold(0, 5);
	vip("sync");
	let_go(holder);
	assert_int_equal(r.status, 1);
	assert_in_range(council_ms(), 0, 1200 * lab_slow()); /* one wait for the five */
	for (int i = 0; i < MANY; i++)
		assert_int_equal(stands(i), i >= 5);
	assert_int_equal(lab_log_count(us, "another run for this master has the lock"), 5);
	assert_non_null(lab_log_wait(us, "m4: left to the next sync: another run", 0));
	assert_int_equal(lab_log_count(us, "claimed"), MANY - 5);
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(MANY), MANY);
}

/* Most runs are through in a moment; the others are not kept even for that. */
static void who_is_let_go_in_time_is_not_left(void **state)
{
	bool in_time = false;

	(void)state;
	configure(3, "");
	locks_exist(3);
	for (int tries = 0; tries < 5 && !in_time; tries++) {
		pid_t holder = hold(1, 2), pid;
		int status;

		all_gone(3);
		lab_log_clear(us);
		council_says("A3 A3 A3");
		pid = lab_spawn(us, "output", (const char *const[]){lab_program(), "sync", NULL});
		assert_true(LAB_UNTIL(stands(0) && stands(2), 3000));
		assert_false(stands(1));
		let_go(holder);
		status = lab_wait(pid, 5000);
		in_time = status == 0; /* or the machine was too busy */
		assert_int_equal(stands(1), in_time);
		assert_true(status == 0 || status == 1);
	}
	assert_true(in_time);
	assert_int_equal(council[1]->connections, 3); /* at first, for two, for the third */
}

/* A failover's own call goes on without the lock, and what it did stands. */
static void who_is_overtaken_keeps_nobody(void **state)
{
	pid_t pid;

	(void)state;
	configure(3, "");
	locks_exist(3);
	council_says("A3 A3 A3");
	council_turn(1, "A3 A3 A3");
	council_turn(2, "B4 B4 B4");
	council[1]->turn[1].says[FAKE_ADDRESS].wait_ms = 650;
	pid = lab_spawn(us, "output", (const char *const[]){lab_program(), "sync", NULL});
	assert_true(LAB_UNTIL(council[1]->connections == 2, 3000));
	configure(3, "verify = no\n");
	vip("m1", "leader", "start", OLD4, "6379", PEER4, "6379");
	assert_int_equal(r.status, 0);
	assert_in_range(council_ms(), 290, 900 * lab_slow());
	assert_int_equal(lab_wait(pid, 5000), 0);
	assert_int_equal(council[1]->connections, 3);
	assert_true(stands(0) && stands(2));
	assert_false(stands(1));
	assert_null(lab_log_wait(us, "m1: claimed", 0));
}

/* A sync that takes so long over each master: to raise its number, which comes before all changes. */
static void sync_slowly(int us_each)
{
	lab_sh(us, &r,
	       "exec strace -E ASAN_OPTIONS=detect_leaks=0 -qq -o /run/strace $(printf -- '-P %%s ' "
	       "/run/sentinel-vip/*) -e %s %s sync",
	       lab_delay("inject=write:delay_enter=", us_each), lab_program());
}

/* What one takes long for must not keep the locks of the others. */
static void locks_are_let_go_when_the_others_take_long(void **state)
{
	(void)state;
	configure(5, "");
	locks_exist(5);
	council_says("A3 A3 A3");
	sync_slowly(200000);
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(5), 5);
	assert_in_range(council[1]->connections, 1 + 3, 1 + 5);
}

/* A run ends in time, and says who comes next. */
static void who_is_not_reached_in_time_is_left(void **state)
{
	(void)state;
	configure(3, "");
	locks_exist(3);
	council_says("A3 A3 A3");
	sync_slowly(7600000);
	assert_int_equal(r.status, 1);
	assert_int_equal(standing(3), 2);
	assert_non_null(lab_log_wait(us, "left to the next sync: the others took too long", 500));
	assert_int_equal(lab_log_count(us, "left to the next sync"), 1);
	vip("sync");
	assert_int_equal(r.status, 0);
	assert_int_equal(standing(3), 3);
}

/* ---- order ---- */

static void nobody_is_always_the_last(void **state)
{
	char first[64] = "", line[64];
	bool another = false;

	(void)state;
	configure(8, "");
	council_says("A3 A3 A3");
	for (int i = 0; i < 30 && !another; i++) {
		const char *claimed;

		vip("sync");
		assert_int_equal(r.status, 0);
		claimed = strstr(r.err, ": claimed ");
		assert_non_null(claimed);
		snprintf(line, sizeof line, "%.30s", claimed);
		if (!*first)
			strcpy(first, line);
		another = strcmp(first, line) != 0;
		all_gone(8);
	}
	assert_true(another);
	/* but who watches wants them as they are written down */
	for (int i = 0; i < 10; i++) {
		vip("-n", "sync");
		assert_true(strncmp(r.out, "m0", 2) == 0);
	}
}

/* ---- a liar ---- */

#define LIAR_PORT 26500
#define FELLOWS 1000 /* of each master */

/* What it says to one question; `port` is that of its next fellow. */
static void lie(FILE *out, const char *question, int *port)
{
	if (strstr(question, "GET-MASTER")) {
		fprintf(out, "*2\r\n$8\r\n" OUR4 "\r\n$4\r\n6379\r\n");
	} else if (strstr(question, "SENTINELS")) {
		fprintf(out, "*%d\r\n", FELLOWS);
		for (int i = 0; i < FELLOWS; i++, (*port)++)
			fprintf(out, "*4\r\n$2\r\nip\r\n$9\r\n10.0.0.99\r\n$4\r\nport\r\n$%d\r\n%d\r\n",
				snprintf(NULL, 0, "%d", *port), *port);
	} else if (strstr(question, "MASTER")) {
		fprintf(out, "*2\r\n$12\r\nconfig-epoch\r\n$1\r\n3\r\n");
	}
}

/* A Sentinel that names other fellows for each master, who are nowhere. */
static void serve_lies(int listener)
{
	char line[256];

	for (;;) {
		int fd = accept(listener, NULL, NULL), port = 1;
		FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
		char question[1024] = "";

		/* "*3", and each word with its length before it */
		while (in && out && fgets(line, sizeof line, in)) {
			if (*line == '*')
				*question = '\0';
			strncat(question, line, sizeof question - strlen(question) - 1);
			if (line[0] == 'm') { /* the name of a master is the last word */
				lie(out, question, &port);
				fflush(out);
			}
		}
		if (in)
			fclose(in);
		if (out)
			fclose(out);
	}
}

static double cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static pid_t liar_start(void)
{
	int listener = lab_socket(us, AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(LIAR_PORT),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	pid_t pid;

	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 8) < 0)
		lab_fail("listen: %m");
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		lab_fail("fork: %m");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_lies(listener);
	}
	close(listener);
	return pid;
}

/* It cannot make us ask the whole world, nor keep us from asking for the honest one. */
static void a_liar_with_sixty_thousand_fellows(void **state)
{
	bool told = false;
	pid_t liar;

	(void)state;
	liar = liar_start();
	configure(60, "sentinel = 127.0.0.1:26500\n");
	lab_must(us, "printf '[honest]\\nsentinel = 127.0.0.1:26379\\nvip = " VIP4 "\\n' "
		     ">>/run/sentinel-vip.conf");
	council_says("A3 A3 A3");
	/* on a busy machine not all lies are told in time */
	for (int tries = 0; tries < 5 && !told; tries++) {
		double before = cpu_ms();

		council_vip(false);
		lab_log_clear(us);
		vip("sync");
		assert_int_equal(r.status, 1);
		assert_in_range((int)(cpu_ms() - before), 0, 2000 * lab_slow());
		told = lab_log_count(us, " of its 1001 Sentinels were not asked, since") == 60;
	}
	kill(liar, SIGKILL);
	lab_wait(liar, -1);
	assert_true(told);
	assert_int_equal(lab_log_count(us, ": undecided: no majority of its Sentinels agrees"), 60);
	assert_int_equal(standing(60), 0);
	assert_int_equal(lab_addr_copies(us, VIP4), 1);
}

int netns_many_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(a_sentinel_that_is_off_is_waited_for_twice),
		test(who_is_held_keeps_nobody),
		test(who_is_let_go_in_time_is_not_left),
		test(who_is_overtaken_keeps_nobody),
		test(locks_are_let_go_when_the_others_take_long),
		test(who_is_not_reached_in_time_is_left),
		test(nobody_is_always_the_last),
		test(a_liar_with_sixty_thousand_fellows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
