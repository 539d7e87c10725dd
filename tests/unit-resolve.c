/* SPDX-License-Identifier: MIT */
/*
 * Host names, from the host's own /etc/hosts, and from a name server that never
 * answers.
 */
#include "unit.h"

#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENOUGH_MS = 5000 };

#define HOSTS_ONLY "passwd: files\ngroup: files\nhosts: files\n"
#define HOSTS_DNS "passwd: files\ngroup: files\nhosts: files dns\n"

static int usual(void **state)
{
	(void)state;
	fault_clear(NULL);
	unit_write("/etc/nsswitch.conf", HOSTS_ONLY);
	unit_write("/etc/resolv.conf", "# no name server\n");
	unit_write("/etc/hosts", "127.0.0.1 localhost\n"
		   "10.0.0.2 redis-2 redis-2.example.org\n"
		   "fd00::3 redis-3\n"
		   "10.0.0.4 both\nfd00::4 both\n"
		   "::ffff:10.0.0.5 mapped\n");
	return 0;
}

static bool has(const struct ip *ips, int n, const char *text)
{
	struct ip ip = unit_ip(text);

	for (int i = 0; i < n; i++)
		if (ip_equal(&ips[i], &ip))
			return true;
	return false;
}

static void names_become_addresses(void **state)
{
	struct ip ips[RESOLVED_MAX];
	int n;

	(void)state;
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, ips, RESOLVED_MAX), 1);
	assert_true(has(ips, 1, "10.0.0.2"));
	assert_int_equal(resolve_host("Redis-2.Example.Org", ENOUGH_MS, ips, RESOLVED_MAX), 1);
	assert_true(has(ips, 1, "10.0.0.2"));
	assert_int_equal(resolve_host("redis-3", ENOUGH_MS, ips, RESOLVED_MAX), 1);
	assert_true(has(ips, 1, "fd00::3"));
	n = resolve_host("both", ENOUGH_MS, ips, RESOLVED_MAX);
	assert_int_equal(n, 2);
	assert_true(has(ips, n, "10.0.0.4"));
	assert_true(has(ips, n, "fd00::4"));
	n = resolve_host("mapped", ENOUGH_MS, ips, RESOLVED_MAX);
	assert_true(n > 0);
	assert_true(has(ips, n, "10.0.0.5"));
	/* with a scope, it is a name for event.c */
	assert_int_equal(resolve_host("fe80::1%lo", ENOUGH_MS, ips, RESOLVED_MAX), 1);
	assert_true(has(ips, 1, "fe80::1"));
}

static void no_more_are_written_than_fit(void **state)
{
	struct ip ips[RESOLVED_MAX + 1];
	char hosts[4096] = "";

	(void)state;
	memset(ips, 0x5a, sizeof(ips));
	assert_int_equal(resolve_host("both", ENOUGH_MS, ips, 1), 1);
	assert_int_equal(ips[1].family, 0x5a5a);
	for (int i = 1; i <= RESOLVED_MAX + 4; i++)
		snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "10.0.1.%d many\n",
			 i);
	unit_write("/etc/hosts", hosts);
	assert_int_equal(resolve_host("many", ENOUGH_MS, ips, RESOLVED_MAX), RESOLVED_MAX);
	assert_int_equal(ips[RESOLVED_MAX].family, 0x5a5a);
}

static void an_unknown_name_is_told(void **state)
{
	struct ip ip = { .family = 77 };

	(void)state;
	assert_int_equal(resolve_host("redis-9", ENOUGH_MS, &ip, 1), -ENOENT);
	assert_int_equal(resolve_host("not a name", ENOUGH_MS, &ip, 1), -ENOENT);
	assert_int_equal(ip.family, 77);
	/* nobody listens where the name server should be: another error, and soon */
	unit_write("/etc/nsswitch.conf", HOSTS_DNS);
	assert_int_equal(resolve_host("redis-9.example.org", ENOUGH_MS, &ip, 1), -EHOSTUNREACH);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), 1);
	assert_true(has(&ip, 1, "10.0.0.2"));
}

static void the_deadline_is_kept(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(53),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int deaf = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;
	struct ip ip = { .family = 77 };
	double begun, spent;

	(void)state;
	assert_int_equal(bind(deaf, (struct sockaddr *)&at, sizeof(at)), 0);
	unit_write("/etc/nsswitch.conf", HOSTS_DNS);
	unit_write("/etc/resolv.conf", "nameserver 127.0.0.1\n");
	begun = clock_ms();
	assert_int_equal(resolve_host("redis-9.example.org", 200, &ip, 1), -ETIMEDOUT);
	spent = clock_ms() - begun;
	if (spent < 199 || spent > 600 * lab_slow())
		fail_msg("it took %.1f ms instead of 200", spent);
	assert_int_equal(ip.family, 77);
	/* the resolver's child is gone, and reaped */
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	begun = clock_ms();
	assert_int_equal(resolve_host("redis-2", 200 * lab_slow(), &ip, 1), 1);	/* the file comes first */
	assert_true(clock_ms() - begun < 150 * lab_slow());
	close(deaf);
}

static void failures_are_told(void **state)
{
	int before = open("/", O_RDONLY), after, status;
	struct ip ip = { .family = 77 };

	(void)state;
	close(before);
	fault_set(FAULT_FORK, 0, 1, EAGAIN);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), -EAGAIN);
	fault_set(FAULT_PIPE2, 0, 1, EMFILE);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), -EMFILE);
	fault_set(FAULT_WRITE, 0, 1, EIO);		/* the child's answer */
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), -EIO);
	fault_clear(NULL);
	fault_set(FAULT_READ, 0, 1, EIO);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), -EIO);
	assert_int_equal(ip.family, 77);
	fault_set(FAULT_READ, 0, 1, EINTR);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), 1);
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	after = open("/", O_RDONLY);
	close(after);
	assert_int_equal(after, before);
}

/* Whoever called us may have asked the kernel to reap children by itself. */
static void ignored_children_do_no_harm(void **state)
{
	struct ip ip;

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(resolve_host("redis-2", ENOUGH_MS, &ip, 1), 1);
	assert_int_equal(resolve_host("redis-9", ENOUGH_MS, &ip, 1), -ENOENT);
	signal(SIGCHLD, SIG_DFL);
}

/* `self` in the configuration needs no resolver, not even a process. */
static void a_name_of_this_host_is_not_resolved(void **state)
{
	struct config config = { 0 };
	struct why why;

	(void)state;
	assert_int_equal(unit_config("[m]\nvip = 10.0.0.250\nself = redis-9 redis-9.example.org\n",
				     &config, &why), 0);
	fault_set(FAULT_FORK, 0, 99, EAGAIN);
	assert_true(config_is_self(&config.masters[0], "Redis-9.example.org"));
	assert_false(config_is_self(&config.masters[0], "redis-2"));
	assert_int_equal(fault_calls(FAULT_FORK), 0);
	config_free(&config);
}

#define test(f) cmocka_unit_test_setup_teardown(f, usual, usual)

int unit_resolve_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(names_become_addresses),
		test(no_more_are_written_than_fit),
		test(an_unknown_name_is_told),
		test(the_deadline_is_kept),
		test(failures_are_told),
		test(ignored_children_do_no_harm),
		test(a_name_of_this_host_is_not_resolved),
	};

	return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
