/* SPDX-License-Identifier: MIT */
/*
 * Two runs at once, and runs that are killed: whatever happens, the next state is whole. strace(1)
 * makes a run slow, or kills it on the way into its n-th system call.
 */
#include "netns.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MANY "announce = none\n" CONFIG_BOTH "vip = 10.0.0.251\nvip = fd00::251\n"

static int vips_here(void)
{
	return lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6) +
	       lab_addr_copies(us, "10.0.0.251") + lab_addr_copies(us, "fd00::251");
}

/* A run whose every message to the kernel waits 100 ms; it has the lock when this returns. */
static pid_t slow(const char *command)
{
	const char *const argv[] = {"strace",
				    "-f",
				    "-qq",
				    "-o",
				    "/dev/null",
				    "-e",
				    lab_delay("inject=sendmsg,sendto:delay_enter=", 100000),
				    lab_program(),
				    command,
				    "mymaster",
				    NULL};
	pid_t pid = lab_spawn(us, "slow", argv);

	assert_true(LAB_UNTIL(lab_sh(us, NULL,
				     "for f in /run/sentinel-vip/*; do test -e $f && ! flock -n $f "
				     "true && exit 0; done; exit 1") == 0,
			      5000));
	return pid;
}

static void one_after_the_other(const char *first, const char *second, int left)
{
	pid_t pid;

	lab_config(us, MANY);
	if (left == 4) /* something to release for the first */
		vip("claim", "mymaster");
	lab_log_clear(us);
	pid = slow(first);
	assert_int_equal(vip(second, "mymaster"), 0);
	/* the second came later, so the first is through with the kernel; its log line is slow as
	 * well */
	assert_int_equal(lab_wait(pid, 1000), 0);
	assert_int_equal(vips_here(), left);
	assert_int_equal(lab_log_count(us, ""), 2);
}

static void release_waits_for_claim(void **state)
{
	(void)state;
	one_after_the_other("claim", "release", 0);
}

static void claim_waits_for_release(void **state)
{
	(void)state;
	one_after_the_other("release", "claim", 4);
}

/* Two masters have nothing to do with each other, so they do not wait for each other. */
static void masters_do_not_wait(void **state)
{
	pid_t pid;

	(void)state;
	lab_config(us, MANY "[other]\nvip = 10.0.0.77\n");
	pid = slow("claim");
	vip("claim", "other");
	assert_int_equal(r.status, 0);
	assert_true(lab_took_at_most(&r, 300));
	assert_int_equal(lab_wait(pid, 0), -1);
	assert_int_equal(lab_wait(pid, 5000), 0);
	assert_int_equal(vips_here() + lab_addr_copies(us, "10.0.0.77"), 5);
}

/*
 * Someone holds the lock and never lets go. A person is told, after a time that is bounded; a
 * failover does not wait for long.
 */
static void lock_is_held_for_ever(void **state)
{
	char *before;
	pid_t pid;

	(void)state;
	lab_config(us, MANY);
	vip("release", "mymaster");
	expect(0, "nothing to do");
	before = netns_state();
	pid = lab_spawn(
		us, NULL,
		(const char *const[]){"sh", "-c", "exec flock /run/sentinel-vip/* sleep 600", NULL});
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "flock -n /run/sentinel-vip/* true") != 0, 2000));
	vip("claim", "mymaster");
	expect(2, "mymaster: ", "lock");
	assert_in_range((r.exit_ns - r.exec_ns) / 1000000, 5000, 12000 * lab_slow());
	expect_same_state(before);
	sentinel(OUR4);
	expect(0, "mymaster: claimed", "lock");
	assert_true(lab_took_at_most(&r, 1000));
	assert_int_equal(vips_here(), 4);
	lab_host_kill(us);
	lab_wait(pid, 1000);
}

static void a_crowd(void **state)
{
	pid_t pids[6];
	size_t said = 0;

	(void)state;
	lab_config(us, "announce = 0.2 1.1\n" CONFIG_BOTH "vip = 10.0.0.251\nvip = fd00::251\n");
	for (int turn = 0; turn < 12; turn++) {
		int here, left, bad = 0;

		for (int i = 0; i < 6; i++) {
			const char *const argv[] = {lab_program(),
						    (turn + i) % 2 ? "claim" : "release",
						    "mymaster", NULL};

			pids[i] = lab_spawn(us, "crowd", argv);
		}
		for (int i = 0; i < 6; i++)
			bad += lab_wait(pids[i], 20000) != 0;
		here = vips_here();
		/* no announcer goes on for what is not here; its schedule would last 1.1 s */
		left = here ? 0 : LAB_UNTIL(lab_host_processes(us, NULL) == 0, 700) ? 0 : 1;
		said += lab_log_count(us, "]: mymaster: ");
		if (bad || left || (here != 0 && here != 4) || said != 6 * (turn + 1U)) {
			lab_log_print(us);
			fail_msg("turn %d: %d failed, %d of 4 VIPs are here, %d announcers, %zu "
				 "lines",
				 turn, bad, here, left, said);
		}
		lab_log_clear(us);
	}
}

/* ---- other hands meanwhile ---- */

/* Between the look at the addresses and the first change, somebody else does the same. */
static void raced(const char *to, const char *by_hand)
{
	const char *const argv[] = {"strace",      "-qq",
				    "-o",          "/run/strace",
				    "-e",          lab_delay("inject=sendmsg,sendto:delay_enter=", 200000),
				    lab_program(), SENTINELS_CALL(to),
				    NULL};
	pid_t pid = lab_spawn(us, "raced", argv);

	assert_true(
		LAB_UNTIL(lab_sh(us, NULL, "grep -q 'recv.*NLMSG_DONE' /run/strace") == 0, 5000));
	lab_must(us, "%s", by_hand);
	assert_int_equal(lab_wait(pid, 10000), 0);
}

static void raced_release(void **state)
{
	(void)state;
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
	raced(PEER4, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	assert_int_equal(vips_here(), 0);
}

static void raced_claim(void **state)
{
	(void)state;
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	raced(OUR4, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
	assert_int_equal(vips_here(), 2);
}

/* ---- killed anywhere ---- */

struct scene {
	const char *before; /* makes the state that the run begins with */
	const char *to;
	const char *always; /* must hold after every kill */
	const char *again;  /* the run after the kill; NULL: the same */
	const char *mended; /* must hold after it */
	int left;           /* VIPs at the end */
};

/* A system call of a run: strace counts the calls of each name apart. */
struct call {
	char name[32];
	int nth;
};

/* The calls that a run makes. */
static size_t list_calls(const char *to, struct call *calls, size_t max)
{
	char path[128], line[256];
	size_t n = 0;
	FILE *f;

	lab_must(us,
		 "strace -qq -s0 -o /run/strace %s mymaster leader start " OLD4
		 " 6379 %s 6379 && cut -c-250 /run/strace >/run/calls",
		 lab_program(), to);
	snprintf(path, sizeof path, "%s/calls", us->run);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		struct call *c = &calls[n];

		if (strstr(line, ".gcda\"")) /* `make coverage`: gcov's own from here on */
			break;
		if (sscanf(line, "%31[a-z0-9_](", c->name) != 1)
			continue;
		c->nth = 1;
		for (size_t i = 0; i < n; i++)
			c->nth += strcmp(calls[i].name, c->name) == 0;
		assert_true(++n < max);
	}
	fclose(f);
	return n;
}

static void check_scene(const struct scene *s, const struct call *c, const char *when)
{
	if (s->always && lab_sh(us, NULL, "%s", s->always) != 0)
		fail_msg("%s call %d of %s: `%s` does not hold", when, c->nth, c->name, s->always);
}

static void killed_anywhere(const struct scene *s)
{
	static struct call calls[1000];
	int kills = 0, tries = 0;
	char inject[64];
	size_t n, first = 0;

	lab_config(us, MANY);
	lab_must(us, "%s", s->before);
	n = list_calls(s->to, calls, 1000);
	while (first < n &&
	       strcmp(calls[first].name, "fcntl") != 0) /* the first thing that main() does */
		first++;
	assert_in_range(n - first, 20, 200);
	for (const struct call *c = calls + first; c < calls + n; c++) {
		const char *const argv[] = {"strace", "-qq",  "-o",          "/dev/null",
					    "-e",     inject, lab_program(), SENTINELS_CALL(s->to),
					    NULL};

		lab_must(us, "ip addr flush dev eth0; %s", s->before);
		snprintf(inject, sizeof inject, "inject=%s:signal=KILL:when=%d", c->name, c->nth);
		tries++;
		kills += lab_run(us, NULL, 10000, argv) == 128 + SIGKILL;
		check_scene(s, c, "killed at");
		if (sentinel(s->again ? s->again : s->to) != 0 || vips_here() != s->left)
			fail_msg("killed at call %d of %s and run again: status %d, %d VIPs\n%s",
				 c->nth, c->name, r.status, vips_here(), r.err);
		check_scene(s, c, "run again after");
		if (s->mended && lab_sh(us, NULL, "%s", s->mended) != 0)
			fail_msg("killed at call %d of %s and run again: `%s` does not hold",
				 c->nth, c->name, s->mended);
		lab_log_clear(us);
	}
	assert_true(kills > tries * 9 / 10); /* else nothing was tried */
}

#define HOST_UP "ip addr add " OUR4 "/24 dev eth0; ip addr add " OUR6 "/64 dev eth0"

static void killed_while_claiming(void **state)
{
	(void)state;
	killed_anywhere(&(struct scene){.before = HOST_UP " || :", .to = OUR4, .left = 4});
}

static void killed_while_releasing(void **state)
{
	(void)state;
	killed_anywhere(&(struct scene){
		.before = HOST_UP
		"; ip addr add " VIP4 "/24 dev eth0; ip addr add " VIP4 "/32 dev eth0; "
		"ip addr add " VIP6
		"/128 dev eth0 nodad; ip addr add fd00::251/64 dev eth0 nodad || :",
		.to = PEER4,
		.left = 0});
}

/* And the master is here again: whatever was taken away of the VIPs, they work. */
static void killed_while_releasing_and_claimed(void **state)
{
	(void)state;
	killed_anywhere(&(struct scene){
		.before = HOST_UP "; ip addr add " VIP4 "/24 dev eth0; ip addr add " VIP6
				  "/128 dev eth0 nodad || :",
		.to = PEER4,
		.again = OUR4,
		.mended = "ip route show table local | grep -q '^local " VIP4 " dev eth0' && "
			  "ip -6 route show table local | grep -q '^local " VIP6 " dev eth0'",
		.left = 4});
}

static void killed_while_releasing_the_primary(void **state)
{
	(void)state;
	killed_anywhere(&(struct scene){
		.before = "ip addr flush dev eth0; ip addr add " VIP4
			  "/24 dev eth0; ip addr add 10.0.0.251/24 dev eth0; " HOST_UP
			  "; ip route replace default via " PEER4 " || :",
		.to = PEER4,
		.always = "ip addr show eth0 | grep -q ' " OUR4
			  "/24 ' && ip route | grep -q '^default via " PEER4 " ' && "
			  "ip route | grep -q '^10.0.0.0/24 '",
		.left = 0});
}

/*
 * The child is killed in the middle of its schedule: the next run starts a new one.
 */
static void killed_child_is_replaced(void **state)
{
	pid_t child;

	(void)state;
	lab_config(us, "announce = 0.5 1\n" CONFIG4);
	sentinel(OUR4);
	expect(0, "claimed");
	assert_int_equal(lab_host_processes(us, &child), 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	sentinel(OUR4);
	expect(0, "announced");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 2000));
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 2 + 6);
}

/* It is loaded when it is first called, unless the program was linked with it. */
static void libmnl_is_missing(void **state)
{
	bool linked = lab_sh(us, NULL, "ldd %s | grep -q libmnl", getenv("SENTINEL_VIP")) == 0;

	(void)state;
	lab_config(us, "announce = none\n" CONFIG4);
	lab_must(us, "for f in $(/sbin/ldconfig -p | sed -n 's/.*libmnl.so.0 .*=> //p'); do "
		     "mount --bind /dev/null $f; done");
	sentinel(OUR4);
	if (linked) {
		assert_int_equal(r.status, 127);	/* the loader says which */
		return;
	}
	expect(0, "claimed");
	sentinel(PEER4);
	expect(0, "released", "connections are not closed: libmnl.so.0 cannot be loaded");
	vip("check");
	expect_said("  warning  connections   of a VIP that leaves cannot be ended: libmnl cannot be loaded\n");
	expect_said("remedy:       install it (libmnl0 in Debian)\n");
}

/* One that lacks a function, wherever that would be called first, is none: nothing ends in the middle. */
static void libmnl_is_another(void **state)
{
	static const char *const lacks[] = {"mnl_socket_bind", "mnl_nlmsg_put_header", "mnl_attr_put",
					    "mnl_nlmsg_next", "mnl_socket_close"};

	(void)state;
	if (lab_sh(us, NULL, "ldd %s | grep -q libmnl", getenv("SENTINEL_VIP")) == 0)
		return; /* the loader's business */
	lab_config(us, "announce = none\n" CONFIG4);
	for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
		lab_must(us, "for f in $(/sbin/ldconfig -p | sed -n 's/.*libmnl.so.0 .*=> //p'); do "
			     "LC_ALL=C sed 's/\\x00%s\\x00/\\x00M%s\\x00/' $f >/run/libmnl; "
			     "mount --bind /run/libmnl $f; done", lacks[i], lacks[i] + 1);
		sentinel(OUR4);
		expect(0, "claimed");
		sentinel(PEER4);
		expect(0, "released", "connections are not closed: libmnl.so.0 cannot be loaded");
		/* the process that looks for stranded connections may have it still */
		lab_must(us, "for f in $(/sbin/ldconfig -p | sed -n 's/.*libmnl.so.0 .*=> //p'); do "
			     "umount -l $f; done");
	}
}

int netns_fault_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(release_waits_for_claim),
		netns_test(claim_waits_for_release),
		netns_test(masters_do_not_wait),
		netns_test(lock_is_held_for_ever),
		netns_test(a_crowd),
		netns_test(raced_release),
		netns_test(raced_claim),
		netns_test(killed_while_claiming),
		netns_test(killed_while_releasing),
		netns_test(killed_while_releasing_and_claimed),
		netns_test(killed_while_releasing_the_primary),
		netns_test(killed_child_is_replaced),
		netns_test(libmnl_is_missing),
		netns_test(libmnl_is_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
