/* SPDX-License-Identifier: MIT */
/*
 * What the surroundings forbid or break: capabilities, socket families, signals, descriptors,
 * loggers. Either it is harmless, or nothing is changed and the line says what to allow.
 */
#include "netns-fake.h"
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- privileges ---- */

/* The call under setpriv(1); the words before it are its own. */
#define setpriv(...) lab_run(us, &r, 20000, (const char *const[]){"setpriv", __VA_ARGS__, NULL})

static void without_net_admin(void **state)
{
	char *before;

	(void)state;
	before = netns_state();
	setpriv("--bounding-set", "-net_admin", "--inh-caps", "-net_admin", lab_program(),
		SENTINELS_CALL(OUR4));
	expect(2, "mymaster: ", "CAP_NET_ADMIN");
	expect_unchanged(before);
	lab_must(us, "ip addr add " VIP4 "/32 dev eth0");
	before = netns_state();
	setpriv("--bounding-set", "-net_admin", "--inh-caps", "-net_admin", lab_program(),
		SENTINELS_CALL(PEER4));
	expect(2, "mymaster: ", "CAP_NET_ADMIN");
	expect_unchanged(before);
}

static void without_net_raw(void **state)
{
	char *before = netns_state();

	(void)state;
	setpriv("--bounding-set", "-net_raw", "--inh-caps", "-net_raw", lab_program(),
		SENTINELS_CALL(OUR4));
	expect(2, "mymaster: ", "CAP_NET_RAW");
	expect_unchanged(before);
}

/*
 * Neither root nor anything but the two capabilities, with a directory for locks as a service
 * manager makes it.
 */
static void with_two_capabilities_only(void **state)
{
	(void)state;
	lab_must(us, "mkdir -m 700 /run/sentinel-vip && chown 65534 /run/sentinel-vip && chown "
		     "65534 /run/sentinel-vip.conf");
	setpriv("--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
		"-all,+net_admin,+net_raw", "--inh-caps", "-all,+net_admin,+net_raw",
		"--ambient-caps", "+net_admin,+net_raw", "--no-new-privs", lab_program(),
		SENTINELS_CALL(OUR4));
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_true(lab_has_addr(us, "eth0", VIP6 "/128"));
	expect_announced(VIP4);
	expect_announced(VIP6);
	setpriv("--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set",
		"-all,+net_admin,+net_raw", "--inh-caps", "-all,+net_admin,+net_raw",
		"--ambient-caps", "+net_admin,+net_raw", "--no-new-privs", lab_program(),
		SENTINELS_CALL(PEER4));
	expect(0, "mymaster: released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
}

static int exec_call(const char *to)
{
	const char *const argv[] = {lab_program(), SENTINELS_CALL(to), NULL};

	execv(argv[0], (char *const *)argv);
	return 127;
}

static int call_without_family(void *family)
{
	return lab_forbid_family(*(const unsigned *)family) < 0 ? 126 : exec_call(OUR4);
}

static void without_a_family(unsigned family, const char *name)
{
	char *before = netns_state();

	lab_call(us, &r, 20000, call_without_family, &family);
	expect(2, "mymaster: ", name, "RestrictAddressFamilies");
	expect_unchanged(before);
}

static void without_netlink(void **state)
{
	(void)state;
	without_a_family(AF_NETLINK, "AF_NETLINK");
}

static void without_packet(void **state)
{
	(void)state;
	without_a_family(AF_PACKET, "AF_PACKET");
}

static int status_without_packet(void *unused)
{
	const char *const argv[] = {lab_program(), "status", NULL};

	(void)unused;
	if (lab_forbid_family(AF_PACKET) < 0)
		return 126;
	execv(argv[0], (char *const *)argv);
	return 127;
}

/* Who only looks says what could not be looked at. */
static void status_without_packet_sockets(void **state)
{
	(void)state;
	lab_call(us, &r, 20000, status_without_packet, NULL);
	assert_int_equal(r.status, 2);	/* no Sentinel is here */
	expect_said("not asked who answers: AF_PACKET is forbidden here");
}

/* Then stderr is all that is left, and the VIP moves all the same. */
static void without_unix(void **state)
{
	unsigned family = AF_UNIX;

	(void)state;
	lab_call(us, &r, 20000, call_without_family, &family);
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.err, "mymaster: claimed " VIP4));
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
}

static int call_with_files(void *most)
{
	const struct rlimit limit = {(rlim_t)*(const int *)most, (rlim_t)*(const int *)most};

	closefrom(3); /* make's own, say */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? 126 : exec_call(OUR4);
}

/* However few files it may open: all is done, or nothing, and it says what it lacked. */
static void no_more_descriptors(void **state)
{
	struct fake *f = fake_start(us, "127.0.0.1", 26379);
	bool no_netlink = false, no_packet = false;
	int done = 0;

	(void)state;
	fake_turn(f, 0, OUR4, 6379, "7", NULL);
	lab_config(us, "announce = none\n" CONFIG4);
	for (int n = 4; n < 16; n++) { /* with 3 libc itself cannot be loaded */
		const char *said;

		lab_call(us, &r, 20000, call_with_files, &n);
		assert_int_equal(r.status == 0, lab_has_addr(us, "eth0", VIP4 "/32"));
		done += r.status == 0;
		/* where there is none left for the logger, either, it is told on standard error */
		said = lab_log_wait(us, "mymaster: ", 100);
		said = said ? said : r.err;
		if (!strstr(said, "mymaster: "))
			fail_msg("with %d files: status %d, %s%s", n, r.status, said, r.err);
		no_netlink = no_netlink || strstr(said, "cannot open rtnetlink: Too many open files");
		no_packet = no_packet || strstr(said, "cannot open a packet socket: Too many open files");
		lab_must(us, "ip addr del " VIP4 "/32 dev eth0 2>/dev/null || :");
		lab_log_clear(us);
	}
	fake_stop(f);
	assert_in_range(done, 8, 11);
	assert_true(no_netlink && no_packet);
}

/* Its user may have no more processes: the VIP moves, and what is left undone is said. */
static void no_more_processes(void **state)
{
	(void)state;
	lab_file(us, "hook", 0755, 0, "#!/bin/sh\n");
	lab_config(us, "after-claim = /run/hook\n" CONFIG4);
	lab_must(us, "mkdir -m 700 /run/sentinel-vip && chown 65510 /run/sentinel-vip /run/sentinel-vip.conf");
	setpriv("--reuid", "65510", "--regid", "65510", "--clear-groups", "--bounding-set",
		"-all,+net_admin,+net_raw", "--inh-caps", "-all,+net_admin,+net_raw",
		"--ambient-caps", "+net_admin,+net_raw", /* the leak sanitizer, where it is built in, would need one */
		"env", "ASAN_OPTIONS=detect_leaks=0", "prlimit", "--nproc=1", lab_program(),
		SENTINELS_CALL(OUR4));
	assert_int_equal(r.status, 0);
	assert_non_null(lab_log_wait(us, "mymaster: claimed " VIP4, 500));
	assert_non_null(lab_log_wait(us, "; announced only once: Resource temporarily unavailable", 500));
	assert_non_null(lab_log_wait(us, "mymaster: no hook was run: Resource temporarily unavailable", 500));
	assert_int_equal(lab_log_count(us, ""), 2);
	expect_announced(VIP4);
}

/* ---- the lock ---- */

static void lock_is_nobody_elses(void **state)
{
	struct stat st;
	char path[128];

	(void)state;
	sentinel(OUR4);
	expect(0, "claimed");
	snprintf(path, sizeof path, "%s/sentinel-vip", us->run);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_uid, 0);
	lab_must(us, "test -n \"$(ls /run/sentinel-vip)\"");
	assert_int_not_equal(
		lab_sh(us, NULL,
		       "setpriv --reuid 65534 --regid 65534 --clear-groups "
		       "sh -c 'for f in /run/sentinel-vip/*; do flock -n $f true || exit 1; done'"),
		0);
}

static int hold_locks(void *unused)
{
	(void)unused;
	return system("setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '"
		      "for f in /run/sentinel-vip/*; do (flock $f sleep 600) & done'");
}

/*
 * Where others may write to the directory, they could hold its locks for ever: then it is better to
 * have none.
 */
static void lock_directory_is_open_to_others(void **state)
{
	(void)state;
	sentinel(OUR4);
	expect(0, "claimed");
	lab_must(us, "chmod 777 /run/sentinel-vip && chmod 666 /run/sentinel-vip/*");
	assert_int_equal(lab_call(us, &r, 1000, hold_locks, NULL), 0);
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "flock -n /run/sentinel-vip/* true") != 0, 2000));
	sentinel(PEER4);
	expect(0, "released " VIP4, "/run/sentinel-vip");
	assert_true(lab_took_at_most(&r, 1000));
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
}

/*
 * What root makes in the directory of Sentinel's user is to be that user's as well; where root may not
 * give it away there is no lock, since that user could not take it.
 */
static void lock_cannot_be_given_away(void **state)
{
	(void)state;
	lab_must(us, "mkdir -m 700 /run/sentinel-vip && chown 65534 /run/sentinel-vip");
	setpriv("--bounding-set", "-chown", lab_program(), SENTINELS_CALL(OUR4));
	expect(0, "claimed " VIP4, "WARNING: not locked: /run/sentinel-vip: Operation not permitted");
	lab_must(us, "rm /run/sentinel-vip/*");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	lab_must(us, "test $(stat -c %%u /run/sentinel-vip/*) = 65534");
}

/* The lock cannot be had: the VIP moves all the same, and the line says so. */
static void lock_cannot_be_had(void **state)
{
	(void)state;
	lab_must(us, "touch /run/sentinel-vip");
	sentinel(OUR4);
	expect(0, "claimed " VIP4, "/run/sentinel-vip");
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	sentinel(PEER4);
	expect(0, "released " VIP4, "/run/sentinel-vip");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 900));
}

/* ---- what Sentinel hands down ---- */

static int call_with_signals_ignored(void *unused)
{
	(void)unused;
	if (signal(SIGHUP, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGALRM, SIG_IGN) == SIG_ERR || signal(SIGCHLD, SIG_IGN) == SIG_ERR)
		return 126;
	return exec_call(OUR4);
}

static void signals_arrive_ignored(void **state)
{
	(void)state;
	lab_call(us, &r, 20000, call_with_signals_ignored, NULL);
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	expect_announced(VIP4);
	/* a name is resolved with a child's help */
	lab_must(us, "ip addr del " VIP4 "/32 dev eth0");
	lab_file(us, "etc/hosts", 0644, 0, OUR4 " redis-1\n");
	lab_run(us, &r, 20000,
		(const char *const[]){"sh", "-c", "trap '' HUP PIPE ALRM; exec \"$@\"", "sh",
				      lab_program(), SENTINELS_CALL("redis-1"), NULL});
	expect(0, "mymaster: claimed " VIP4);
}

static int call_with_stdio_closed(void *to)
{
	close(0);
	close(1);
	close(2);
	return exec_call(to);
}

/* An ARP probe (sender 0) or a solicitation, which ask whether another holds it. */
static bool is_probe(const struct lab_frame *f)
{
	static const uint8_t nobody[4];

	if (f->data[12] == 0x08 && f->data[13] == 0x06)
		return !memcmp(f->data + 28, nobody, 4);
	return f->data[12] == 0x86 && f->data[54] == 135;
}

static bool is_foreign(const struct lab_frame *f, const void *mac)
{
	return !is_probe(f) && !f->outgoing && !memcmp(f->data + 6, mac, 6) && !lab_is_announcement(f, VIP4) &&
	       !lab_is_announcement(f, VIP6) &&
	       !(f->data[12] == 0x86 && f->data[20] == 0); /* MLD is the kernel's */
}

/*
 * A socket that got a number of stdio's must not get what is meant for stdio: nothing but
 * announcements leaves.
 */
static void stdio_is_closed(void **state)
{
	static char to_us[] = OUR4, to_peer[] = PEER4, to_nobody[] = "no-such-host";
	unsigned char mac[6];

	(void)state;
	assert_true(lab_mac(us, "eth0", mac));
	lab_call(us, &r, 20000, call_with_stdio_closed, to_us);
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	expect_announced(VIP4);
	assert_true(LAB_UNTIL(lab_capture_count(eyes, lab_is_arp, VIP4) == 4,
			      500)); /* its child speaks, too */
	lab_call(us, &r, 20000, call_with_stdio_closed, to_nobody);
	expect(2, "mymaster: ", "no-such-host");
	lab_call(us, &r, 20000, call_with_stdio_closed, to_peer);
	expect(0, "mymaster: released " VIP4);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);

	/* and without a logger, when stderr would be the last resort */
	lab_must(us, "mv /run/systemd/journal/dev-log /run/systemd/journal/gone");
	assert_int_equal(lab_call(us, &r, 20000, call_with_stdio_closed, to_us), 0);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_int_equal(lab_call(us, &r, 20000, call_with_stdio_closed, to_peer), 0);
	assert_int_equal(lab_addr_copies(us, VIP4), 0);
	assert_int_equal(lab_capture_count(eyes, is_foreign, mac), 0);
}

static int call_with_full_stdio(void *to)
{
	int full = open("/dev/full", O_RDWR);

	if (full < 0 || dup2(full, 0) < 0 || dup2(full, 1) < 0 || dup2(full, 2) < 0)
		return 126;
	return exec_call(to);
}

static void stdio_cannot_be_written(void **state)
{
	static char to_us[] = OUR4;

	(void)state;
	lab_call(us, &r, 20000, call_with_full_stdio, to_us);
	expect(0, "mymaster: claimed " VIP4);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	/* a plan that nobody could read was not printed */
	assert_int_equal(
		lab_sh(us, NULL, "%s --dry-run release mymaster >/dev/full", lab_program()), 2);
}

/* Once, and where whoever waits for it looks; a pipe that nobody reads any more is no trouble. */
static void what_cannot_be_printed_is_said(void **state)
{
	static const char *const words[] = {
		"-n release mymaster", "-n claim mymaster", "-n mymaster leader start " OLD4 " 6379 " OUR4 " 6379",
		"status", "status --json", "check", "--help", "--version",
	};

	(void)state;
	lab_config(us, "verify = no\n" CONFIG4);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		const char *at;
		int status = lab_sh(us, &r, "%s %s >/dev/full", lab_program(), words[i]);

		at = strstr(r.err, "sentinel-vip: cannot write to standard output: No space left on device\n");
		if (status < 1 || status > 2 || !at || strstr(at + 1, "sentinel-vip: "))
			fail_msg("\"%s\" ends with %d and says \"%s\"", words[i], status, r.err);
		lab_sh(us, &r, "%s %s | :", lab_program(), words[i]);
		assert_null(strstr(r.err, "standard output"));
	}
}

/* ---- loggers ---- */

static void logger_is_missing(void **state)
{
	(void)state;
	lab_must(us, "rm /run/systemd/journal/dev-log");
	sentinel(OUR4);
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.err, "mymaster: claimed " VIP4));
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
}

/* It has stopped reading and its queue is full: whoever waits for it hangs. */
static void logger_hangs(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int log, fill;

	(void)state;
	lab_must(us, "rm /run/systemd/journal/dev-log");
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/systemd/journal/dev-log", us->run);
	log = lab_socket(us, AF_UNIX, SOCK_DGRAM,
			 0); /* the queue is 10 messages in a new network */
	fill = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(log, (struct sockaddr *)&sun, sizeof sun), 0);
	assert_int_equal(connect(fill, (struct sockaddr *)&sun, sizeof sun), 0);
	while (send(fill, "x", 1, 0) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	sentinel(OUR4);
	assert_int_equal(r.status, 0);
	assert_true(lab_took_at_most(&r, 1000));
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
	assert_non_null(strstr(r.err, "mymaster: claimed " VIP4));
	close(log);
	close(fill);
}

int netns_sandbox_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(without_net_admin),
		netns_test(without_net_raw),
		netns_test(with_two_capabilities_only),
		netns_test(without_netlink),
		netns_test(without_packet),
		netns_test(status_without_packet_sockets),
		netns_test(without_unix),
		netns_test(no_more_descriptors),
		netns_test(no_more_processes),
		netns_test(lock_is_nobody_elses),
		netns_test(lock_directory_is_open_to_others),
		netns_test(lock_cannot_be_given_away),
		netns_test(lock_cannot_be_had),
		netns_test(signals_arrive_ignored),
		netns_test(stdio_is_closed),
		netns_test(stdio_cannot_be_written),
		netns_test(what_cannot_be_printed_is_said),
		netns_test(logger_is_missing),
		netns_test(logger_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
