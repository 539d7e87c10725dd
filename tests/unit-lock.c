/* SPDX-License-Identifier: MIT */
/* The lock: several processes, the deadline, the number, and who may have it. */
#include "unit.h"

#include "lab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static int take(const char *master, double ms, struct lock *lock)
{
	*lock = (struct lock){ .fd = -1 };
	return lock_take(master, 0, clock_ms() + ms, lock);
}

/* Each test begins where nobody ever took a lock. */
static int forget(void **state)
{
	(void)state;
	fault_clear(NULL);
	return system("rm -rf " LOCK_DIR);
}

/* A process that holds the lock for some time, or for ever; returns when it has it. */
static pid_t holder(const char *master, int ms)
{
	int told[2];
	pid_t child;
	char c;

	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		struct lock lock;

		if (take(master, 0, &lock) < 0 || write(told[1], "x", 1) != 1)
			_exit(1);
		if (ms < 0)
			pause();
		lab_sleep_ms(ms);
		lock_drop(&lock);
		_exit(0);
	}
	assert_true(child > 0);
	close(told[1]);
	assert_int_equal(read(told[0], &c, 1), 1);
	close(told[0]);
	return child;
}

static void end(pid_t child, int signal)
{
	int status;

	if (signal != 0)
		kill(child, signal);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(signal != 0 ? WIFSIGNALED(status)
				: WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The one file of the directory. */
static void lock_file(char path[300])
{
	DIR *d = opendir(LOCK_DIR);
	struct dirent *e;
	int files = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			snprintf(path, 300, LOCK_DIR "/%s", e->d_name);
			files++;
		}
	closedir(d);
	assert_int_equal(files, 1);
}

static void it_is_made_for_root_alone(void **state)
{
	mode_t old = umask(0);
	struct lock lock;
	char path[300];
	struct stat st;

	(void)state;
	assert_int_equal(take("mymaster", 0, &lock), 0);
	umask(old);
	assert_int_equal(stat(LOCK_DIR, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	lock_file(path);
	expect_text(path, ".mymaster");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_true((fcntl(lock.fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_true(lock.held);
	lock_drop(&lock);
	assert_int_equal(lock.fd, -1);
	assert_false(lock.held);
	lock_drop(&lock);		/* once more does no harm */
}

/* A run that cannot learn where it is has no lock, rather than one that nobody else has. */
static void there_is_one_file_or_none(void **state)
{
	struct lock lock = { .fd = -1 };
	struct netlink *netlink;
	char path[300];

	(void)state;
	assert_int_equal(take("mymaster", 0, &lock), 0);
	lock_drop(&lock);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	assert_int_equal(take("mymaster", 0, &lock), -EMFILE);
	assert_int_equal(lock.fd, -1);
	fault_set(FAULT_SOCKET, 0, 1, ENOMEM);
	assert_int_equal(lock_watch("mymaster", 0), -1);
	lock_file(path);
	/* what rtnetlink says is the same */
	assert_int_equal(netlink_open(clock_ms() + 1000, &netlink), 0);
	assert_int_equal(lock_take("mymaster", netlink_namespace(netlink), 0, &lock), 0);
	lock_drop(&lock);
	lock_file(path);
	netlink_close(&netlink);
}

static void the_number_is_raised_and_stays(void **state)
{
	struct lock lock;

	(void)state;
	assert_int_equal(take("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	assert_int_equal(lock_raise(&lock), 2);
	assert_int_equal(lock_number(&lock), 2);
	lock_drop(&lock);
	assert_int_equal(lock_number(&lock), 0);
	assert_int_equal(lock_raise(&lock), 0);
	assert_int_equal(take("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 2);
	assert_int_equal(lock_raise(&lock), 3);
	lock_drop(&lock);
	assert_int_equal(take("n", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 0);
	lock_drop(&lock);
}

static void a_number_that_cannot_be_kept_is_none(void **state)
{
	struct lock lock;
	char path[300];

	(void)state;
	assert_int_equal(take("m", 0, &lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	fault_set(FAULT_PWRITE, 0, 1, ENOSPC);
	assert_int_equal(lock_raise(&lock), 0);
	assert_int_equal(lock_number(&lock), 1);
	lock_file(path);
	assert_int_equal(truncate(path, 4), 0);		/* a write that was cut short */
	assert_int_equal(lock_number(&lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	lock_drop(&lock);
}

static void the_second_waits_for_the_first(void **state)
{
	pid_t child = holder("m", 100);
	double begun = clock_ms(), spent;
	struct lock lock;

	(void)state;
	assert_int_equal(take("m", 5000, &lock), 0);
	spent = clock_ms() - begun;
	if (spent < 50 || spent > 1000)
		fail_msg("it waited %.1f ms for 100", spent);
	lock_drop(&lock);
	end(child, 0);
}

static void nobody_waits_beyond_the_deadline(void **state)
{
	pid_t child = holder("m", -1);
	double begun = clock_ms(), spent;
	struct lock lock;

	(void)state;
	assert_int_equal(take("m", 80, &lock), -ETIMEDOUT);
	spent = clock_ms() - begun;
	lock_drop(&lock);
	if (spent < 80 || spent > 500)
		fail_msg("it waited %.1f ms for 80", spent);
	begun = clock_ms();
	assert_int_equal(take("m", 0, &lock), -ETIMEDOUT);	/* one look */
	assert_true(clock_ms() - begun < 50);
	lock_drop(&lock);
	end(child, SIGKILL);
}

/* open(2) waits for whoever has a lease on the file, /proc/sys/fs/lease-break-time seconds. */
static void a_lease_holds_nobody_up(void **state)
{
	double begun;
	struct lock lock;
	char path[300], c;
	int told[2];
	pid_t child;

	(void)state;
	assert_int_equal(take("m", 80, &lock), 0);
	lock_drop(&lock);
	lock_file(path);
	assert_int_equal(pipe(told), 0);
	child = fork();
	if (child == 0) {
		int fd = open(path, O_RDWR);

		signal(SIGIO, SIG_IGN);
		if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0 || write(told[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(told[1]);
	assert_int_equal(read(told[0], &c, 1), 1);
	close(told[0]);
	begun = clock_ms();
	assert_int_equal(take("m", 80, &lock), -EAGAIN);
	assert_true(clock_ms() - begun < 500);
	lock_drop(&lock);
	end(child, SIGKILL);
}

/* Who did not get it can still read and raise the number, and does not free it for others. */
static void without_the_lock_there_is_the_number(void **state)
{
	pid_t child = holder("m", -1);
	struct lock lock;

	(void)state;
	assert_int_equal(take("m", 0, &lock), -ETIMEDOUT);
	assert_true(lock.fd >= 0);
	assert_false(lock.held);
	assert_int_equal(lock_raise(&lock), 1);
	assert_int_equal(lock_number(&lock), 1);
	lock_drop(&lock);
	assert_int_equal(lock.fd, -1);
	assert_int_equal(take("m", 0, &lock), -ETIMEDOUT);
	assert_int_equal(lock_number(&lock), 1);
	lock_drop(&lock);
	end(child, SIGKILL);
}

static void another_master_does_not_wait(void **state)
{
	pid_t child = holder("m", -1);
	struct lock lock;

	(void)state;
	assert_int_equal(take("n", 0, &lock), 0);
	lock_drop(&lock);
	end(child, SIGKILL);
}

static void another_network_namespace_does_not_wait(void **state)
{
	pid_t child = holder("m", -1), other;
	struct lock lock;

	(void)state;
	assert_int_equal(take("m", 0, &lock), -ETIMEDOUT);
	lock_drop(&lock);
	other = fork();
	if (other == 0)
		_exit(unshare(CLONE_NEWNET) < 0 || take("m", 0, &lock) < 0);
	end(other, 0);
	end(child, SIGKILL);
}

static uint64_t namespace_of_a_new_connection(void)
{
	struct netlink *netlink = NULL;
	uint64_t number;

	if (netlink_open(clock_ms() + 1000, &netlink) < 0)
		_exit(2);
	number = netlink_namespace(netlink);
	netlink_close(&netlink);
	return number;
}

/* Kernels before 5.14 have no number for it: then /proc tells them apart, as above. */
static void the_kernels_number_names_the_namespace(void **state)
{
	uint64_t here = namespace_of_a_new_connection(), there;
	struct lock lock = { .fd = -1 }, other = { .fd = -1 };
	pid_t child;

	(void)state;
	assert_int_equal(netlink_namespace(NULL), 0);
	assert_int_equal(namespace_of_a_new_connection(), here);
	child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(2);
		there = namespace_of_a_new_connection();
		_exit((there == 0) != (here == 0) || (here != 0 && there == here));
	}
	end(child, 0);
	assert_int_equal(lock_take("m", 7, clock_ms(), &lock), 0);
	assert_int_equal(lock_take("m", 7, clock_ms(), &other), -ETIMEDOUT);
	lock_drop(&other);
	assert_int_equal(lock_take("m", 8, clock_ms(), &other), 0);
	lock_drop(&other);
	lock_drop(&lock);
}

static void a_killed_holder_holds_nothing(void **state)
{
	struct lock lock;

	(void)state;
	end(holder("m", -1), SIGKILL);
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
}

/* The announcer is forked under the lock. */
static void a_child_does_not_keep_it(void **state)
{
	struct lock lock;
	pid_t child;

	(void)state;
	assert_int_equal(take("m", 0, &lock), 0);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	lock_drop(&lock);
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
	end(child, SIGKILL);
}

/* A sandbox may hide /proc: the name must be the one that others use all the same. */
static void the_lock_is_the_same_without_proc(void **state)
{
	struct lock lock;
	pid_t child, held;

	(void)state;
	held = holder("m", -1);
	child = fork();
	if (child == 0)
		_exit(unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
		      mount("none", "/proc", "tmpfs", 0, NULL) == 0 &&
		      take("m", 0, &lock) == -ETIMEDOUT ? 0 : 1);
	end(child, 0);
	end(held, SIGKILL);
}

/* Eight processes raise the number 25 times each: none is lost. */
static void it_excludes(void **state)
{
	pid_t children[8];
	struct lock lock;

	(void)state;
	for (size_t i = 0; i < COUNT(children); i++) {
		children[i] = fork();
		if (children[i] != 0)
			continue;
		for (int j = 0; j < 25; j++) {
			uint64_t before;

			if (take("m", 20000, &lock) < 0)
				_exit(1);
			before = lock_number(&lock);
			sched_yield();
			if (lock_raise(&lock) != before + 1)
				_exit(2);
			lock_drop(&lock);
		}
		_exit(0);
	}
	for (size_t i = 0; i < COUNT(children); i++)
		end(children[i], 0);
	assert_int_equal(take("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 8 * 25);
	lock_drop(&lock);
}

static void an_interrupted_wait_goes_on(void **state)
{
	struct lock lock;

	(void)state;
	fault_set(FAULT_FLOCK, 0, 2, EINTR);
	assert_int_equal(take("m", 1000, &lock), 0);
	assert_int_equal(fault_calls(FAULT_FLOCK), 3);
	lock_drop(&lock);
	fault_set(FAULT_FLOCK, 0, 1, ENOLCK);
	assert_int_equal(take("m", 1000, &lock), -ENOLCK);
	assert_int_equal(lock.fd, -1);
}

static void what_cannot_be_trusted_is_refused(void **state)
{
	struct lock lock;
	char path[300];

	(void)state;
	fault_set(FAULT_MKDIR, 0, 1, EROFS);
	assert_int_equal(take("m", 1000, &lock), -EROFS);
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
	assert_int_equal(chmod(LOCK_DIR, 0770), 0);
	assert_int_equal(take("m", 1000, &lock), -EPERM);
	assert_int_equal(chmod(LOCK_DIR, 0702), 0);
	assert_int_equal(take("m", 1000, &lock), -EPERM);
	assert_int_equal(chmod(LOCK_DIR, 0755), 0);
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
	lock_file(path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(take("m", 1000, &lock), -ELOOP);
	/* a lock on these would be somebody else's as well */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(take("m", 1000, &lock), -EPERM);
	assert_int_equal(unlink(path), 0);
	unit_write(LOCK_DIR "/another-name", "1\n");
	assert_int_equal(link(LOCK_DIR "/another-name", path), 0);
	assert_int_equal(take("m", 1000, &lock), -EPERM);
	assert_int_equal(system("rm -rf " LOCK_DIR), 0);
	unit_write(LOCK_DIR, "");
	assert_int_equal(take("m", 1000, &lock), -ENOTDIR);
	assert_int_equal(lock.fd, -1);
}

/* No unprivileged user can hold it against us. */
static void others_cannot_open_it(void **state)
{
	struct lock lock;
	char path[300];
	pid_t child;

	(void)state;
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
	assert_int_equal(chmod(LOCK_DIR, 0755), 0);	/* even then */
	lock_file(path);
	child = fork();
	if (child == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		if (open(path, O_RDONLY) >= 0 || errno != EACCES)
			_exit(2);
		_exit(take("m", 1000, &lock) == -EACCES ? 0 : 3);
	}
	end(child, 0);
}

/* Sentinel's user may own the directory: root's runs then leave files that it can use. */
static void root_shares_with_the_owner_of_the_directory(void **state)
{
	struct lock lock;
	char path[300];
	struct stat st;
	pid_t child;

	(void)state;
	assert_int_equal(mkdir(LOCK_DIR, 0700), 0);
	assert_int_equal(chown(LOCK_DIR, NOBODY, NOBODY), 0);
	assert_int_equal(take("m", 0, &lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	lock_drop(&lock);
	lock_file(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	child = fork();
	if (child == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		_exit(take("m", 1000, &lock) == 0 && lock_raise(&lock) == 2 ? 0 : 2);
	}
	end(child, 0);
}

/* Neither a lock that was got nor one that was not leaves a descriptor behind. */
static void no_descriptor_is_lost(void **state)
{
	int before = open("/", O_RDONLY), after;
	struct lock lock;

	(void)state;
	close(before);
	assert_int_equal(take("m", 0, &lock), 0);
	lock_drop(&lock);
	fault_set(FAULT_FLOCK, 0, 1, ENOLCK);
	assert_int_equal(take("m", 0, &lock), -ENOLCK);
	assert_int_equal(chmod(LOCK_DIR, 0777), 0);
	assert_int_equal(take("m", 0, &lock), -EPERM);
	after = open("/", O_RDONLY);
	close(after);
	assert_int_equal(after, before);
}

#define test(f) cmocka_unit_test_setup_teardown(f, forget, forget)

int unit_lock_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(it_is_made_for_root_alone),
		test(there_is_one_file_or_none),
		test(the_number_is_raised_and_stays),
		test(a_number_that_cannot_be_kept_is_none),
		test(the_second_waits_for_the_first),
		test(nobody_waits_beyond_the_deadline),
		test(a_lease_holds_nobody_up),
		test(without_the_lock_there_is_the_number),
		test(another_master_does_not_wait),
		test(another_network_namespace_does_not_wait),
		test(the_lock_is_the_same_without_proc),
		test(the_kernels_number_names_the_namespace),
		test(a_killed_holder_holds_nothing),
		test(a_child_does_not_keep_it),
		test(it_excludes),
		test(an_interrupted_wait_goes_on),
		test(what_cannot_be_trusted_is_refused),
		test(others_cannot_open_it),
		test(root_shares_with_the_owner_of_the_directory),
		test(no_descriptor_is_lost),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
