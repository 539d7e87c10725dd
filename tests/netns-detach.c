/* SPDX-License-Identifier: MIT */
/*
 * The child that repeats the announcements: when it falls silent and ends, and what it keeps of
 * the process that it comes from.
 */
#include "netns.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- when it stops ---- */

static void stops(const char *how)
{
	lab_config(us, "announce = 0.1 0.2 0.3 0.4 0.5 0.6 0.7 1.1 2.2\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	assert_non_null(lab_capture_wait(eyes, 3, lab_is_arp, VIP4, 1000));
	if (how)
		lab_must(us, "%s", how);
	else
		sentinel(PEER4);
	lab_capture_free(eyes);
	eyes = lab_capture(peer, "eth0");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 150));
	assert_int_equal(lab_capture_count(eyes, lab_is_announcement, VIP4), 0);
	assert_int_equal(lab_capture_count(eyes, lab_is_announcement, VIP6), 0);
}

static void stops_when_released(void **state)
{
	(void)state;
	stops(NULL);
}

static void stops_when_deleted_by_hand(void **state)
{
	(void)state;
	stops("ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
}

static void stops_when_flushed(void **state)
{
	(void)state;
	stops("ip addr flush dev eth0");
}

static void stops_when_the_interface_goes(void **state)
{
	(void)state;
	stops("ip link del eth0");
}

/* What leaves alone is silent alone. */
static void stops_for_one_of_two(void **state)
{
	size_t other;

	(void)state;
	lab_config(us, "announce = 0.1 0.2 0.3 0.4 0.5 0.6 0.7 1.1\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	assert_non_null(lab_capture_wait(eyes, 3, lab_is_arp, VIP4, 1000));
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	other = lab_capture_count(eyes, lab_is_arp, VIP4);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 2000));
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), other);
	assert_int_equal(lab_capture_count(eyes, lab_is_na, VIP6), 2);
}

/* It stands on another interface now: what is said of the first one is no longer true. */
static void stops_when_moved_to_another_interface(void **state)
{
	(void)state;
	lab_host_link(us, "eth1", "10.1.0.1/24", (const char *)NULL);
	stops("ip addr del " VIP4 "/32 dev eth0 && ip addr add " VIP4
	      "/32 dev eth1 && ip addr del " VIP6 "/128 dev eth0");
}

/* ---- the process that repeats ---- */

static void child_is_detached(void **state)
{
	char path[128], target[256];
	struct pollfd p = {.events = 0};
	int leak[2], stat_fd;
	pid_t pid, child;
	ssize_t n;

	(void)state;
	/* as an old Sentinel: a descriptor of its own that is not closed on exec */
	assert_int_equal(pipe(leak), 0);
	assert_int_equal(fcntl(leak[0], F_SETFD, FD_CLOEXEC), 0);
	pid = lab_spawn(us, "out",
			(const char *const[]){"sh", "-c", "cd /run && exec \"$@\"", "sh",
					      lab_program(), SENTINELS_CALL(OUR4), NULL});
	close(leak[1]);
	assert_int_equal(lab_wait(pid, 2000), 0);
	p.fd = leak[0];
	assert_int_equal(poll(&p, 1, 500), 1); /* its other end is closed everywhere */
	assert_true(p.revents & POLLHUP);
	close(leak[0]);

	assert_int_equal(lab_host_processes(us, &child), 1);
	assert_int_not_equal(child, pid);
	snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
	stat_fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(stat_fd, target, sizeof target - 1);
	assert_true(n > 0);
	target[n] = '\0';
	close(stat_fd);
	{
		int ppid, pgrp, session, tty;

		assert_int_equal(sscanf(strrchr(target, ')'), ") %*c %d %d %d %d", &ppid, &pgrp,
					&session, &tty),
				 4);
		assert_int_equal(ppid, 1);
		assert_int_not_equal(session, getsid(0));
		assert_int_not_equal(pgrp, getpgrp());
		assert_int_equal(tty, 0);
	}
	snprintf(path, sizeof path, "/proc/%d/cwd", (int)child);
	n = readlink(path, target, sizeof target - 1);
	assert_int_equal(n, 1);
	assert_int_equal(target[0], '/');
	/* neither the caller's output nor its leaks: sockets and the lock's file at most */
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)child, fd);
		n = readlink(path, target, sizeof target - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, "socket:", 7) && strncmp(target, "anon_inode:", 11) &&
		    strcmp(target, "/dev/null") && strncmp(target, "/run/sentinel-vip/", 18))
			fail_msg("the child has %s open as descriptor %d", target, fd);
	}
	expect(0, "claimed");
}

/* Whoever reads Sentinel's pipe sees its end when the program ends, not five seconds later. */
static void caller_is_not_held_up(void **state)
{
	(void)state;
	assert_int_equal(lab_sh(us, &r,
				"timeout %d sh -c '%s mymaster leader start " OLD4 " 6379 " OUR4
				" 6379 2>&1 | cat'",
				2 * lab_clock, lab_program()),
			 0);
	assert_true(lab_took_at_most(&r, 500));
	expect(0, "claimed");
	assert_int_equal(lab_host_processes(us, NULL), 1);
}

/* The address stands, so what could not be sent at once has all the more to be repeated. */
static void what_could_not_be_sent_is_repeated(void **state)
{
	(void)state;
	lab_config(us, "verify = no\nannounce = 0.2 0.4\n" CONFIG4);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	assert_int_equal(lab_sh(us, &r,
				"ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null "
				"-e inject=sendto:error=ENOBUFS:when=1..2 "
				"%s mymaster leader start " OLD4 " 6379 " OUR4 " 6379",
				lab_program()),
			 0);
	assert_int_equal(lab_log_count(us, "announced " VIP4), 0);
	assert_non_null(lab_log_wait(us, VIP4 " was not announced on eth0 yet", 500));
	assert_non_null(lab_capture_wait(eyes, 0, lab_is_announcement, VIP4, 2000));
}

int netns_detach_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(stops_when_released),  netns_test(stops_when_deleted_by_hand),
		netns_test(stops_when_flushed),   netns_test(stops_when_the_interface_goes),
		netns_test(stops_for_one_of_two), netns_test(stops_when_moved_to_another_interface),
		netns_test(child_is_detached),    netns_test(caller_is_not_held_up),
		netns_test(what_could_not_be_sent_is_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
