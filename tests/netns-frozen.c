/* SPDX-License-Identifier: MIT */
/*
 * A run that stands still between two of its steps, while a failover's call that does not wait for
 * it goes by: what the newer one has done stands at the end, and the older one finds out.
 */
#include "netns-council.h"

#include <signal.h>
#include <unistd.h>

#define is_here() (lab_addr_copies(us, VIP4) == 1)
#define CALL_HERE "mymaster", "leader", "start", PEER4, "6379", OUR4, "6379"

/* A run that waits for 1.5 s at such a system call on PATH, and has begun to. */
static pid_t frozen(const char *path, const char *call, const char *const words[])
{
	char trace[64], inject[64];
	const char *argv[24] = {"strace", "-E", "ASAN_OPTIONS=detect_leaks=0", "-f", "-qq", "-o", "/run/strace",
				"-P", path, "-e", trace, "-e", NULL, lab_program()};
	int n = 14;
	pid_t pid;

	snprintf(trace, sizeof trace, "trace=%s", call);
	snprintf(inject, sizeof inject, "inject=%s:delay_enter=", call);
	argv[12] = lab_delay(inject, 1500000);
	while (*words)
		argv[n++] = *words++;
	pid = lab_spawn(us, "output", argv);
	if (!LAB_UNTIL(lab_sh(us, NULL, "test -s /run/strace") == 0, 8000))
		fail_msg("it does not come so far");
	return pid;
}

#define frozen(path, call, ...) frozen(path, call, (const char *const[]){__VA_ARGS__, NULL})

static const char *lock_path(void)
{
	static char path[256];

	lab_must(us, "ls /run/sentinel-vip/*.mymaster >/run/lock-path");
	lab_sh(us, &r, "cat /run/lock-path");
	snprintf(path, sizeof path, "%.*s", (int)strcspn(r.out, "\n"), r.out);
	return path;
}

/* Both have seen the same number before they raise it. */
static void a_sync_that_is_frozen_before_it_raises_the_number(void **state)
{
	pid_t pid;

	(void)state;
	council_vip(true);
	council_says("A3 A3 A3");
	vip(CALL_HERE); /* makes the lock's file */
	lab_log_clear(us);
	council_says("B4 B4 B4");
	pid = frozen(lock_path(), "write,pwrite64", "sync");
	council_says("A5 A5 A5");
	vip(CALL_HERE);
	assert_int_equal(r.status, 0);
	assert_int_equal(lab_wait(pid, 8000), 0);
	assert_true(is_here());
}

/* Connections are ended before the address goes: libmnl is loaded for that. */
static void a_fence_that_is_frozen_before_it_deletes(void **state)
{
	pid_t pid, monitor;

	(void)state;
	lab_config(us, "fence = majority\n" COUNCIL_CONFIG);
	council_vip(true);
	council_says("A3 - -");
	lab_sh(us, &r, "ldconfig -p | sed -n 's/.*libmnl.so.0 .*=> //p' | head -n 1");
	r.out[strcspn(r.out, "\n")] = '\0';
	pid = frozen(r.out, "openat", "sync");
	council_says("A5 A5 A5");
	vip(CALL_HERE);
	assert_int_equal(r.status, 0);
	/* and not for a moment: what the call has claimed is not taken away, to be claimed again */
	monitor = lab_spawn(us, "monitor", (const char *const[]){"ip", "-o", "monitor", "address", NULL});
	lab_must(us, "for i in $(seq 500); do ip addr add 10.0.0.66/32 dev lo; ip addr del 10.0.0.66/32 dev lo; "
		     "grep -q 10.0.0.66 /run/monitor && break; sleep 0.01; done");
	assert_in_range(lab_wait(pid, 8000), 0, 1);
	assert_true(is_here());
	assert_int_equal(lab_log_count(us, "fenced"), 0);
	kill(monitor, SIGTERM);
	lab_wait(monitor, 2000);
	lab_must(us, "! grep 'Deleted.* " VIP4 "/' /run/monitor");
}

int netns_frozen_tests(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, council_setup, council_teardown)
	const struct CMUnitTest tests[] = {
		test(a_sync_that_is_frozen_before_it_raises_the_number),
		test(a_fence_that_is_frozen_before_it_deletes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
