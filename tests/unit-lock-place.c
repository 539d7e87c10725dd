/* SPDX-License-Identifier: MIT */
/* The lock: where it is, and who may have it. */
#include "unit-lock.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static void it_is_made_for_root_alone(void **state)
{
	mode_t old = umask(0);
	struct lock lock;
	char path[300];
	struct stat st;

	(void)state;
	assert_int_equal(lock_try("mymaster", 0, &lock), 0);
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
	assert_int_equal(lock_try("mymaster", 0, &lock), 0);
	lock_drop(&lock);
	fault_set(FAULT_SOCKET, 0, 1, EMFILE);
	assert_int_equal(lock_try("mymaster", 0, &lock), -EMFILE);
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

static void another_network_namespace_does_not_wait(void **state)
{
	pid_t child = lock_holder("m", -1), other;
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), -ETIMEDOUT);
	lock_drop(&lock);
	other = fork();
	if (other == 0)
		_exit(unshare(CLONE_NEWNET) < 0 || lock_try("m", 0, &lock) < 0);
	lock_holder_end(other, 0);
	lock_holder_end(child, SIGKILL);
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
	lock_holder_end(child, 0);
	assert_int_equal(lock_take("m", 7, clock_ms(), &lock), 0);
	assert_int_equal(lock_take("m", 7, clock_ms(), &other), -ETIMEDOUT);
	lock_drop(&other);
	assert_int_equal(lock_take("m", 8, clock_ms(), &other), 0);
	lock_drop(&other);
	lock_drop(&lock);
}

/* A sandbox may hide /proc: the name must be the one that others use all the same. */
static void the_lock_is_the_same_without_proc(void **state)
{
	struct lock lock;
	pid_t child, held;

	(void)state;
	held = lock_holder("m", -1);
	child = fork();
	if (child == 0)
		_exit(unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
		      mount("none", "/proc", "tmpfs", 0, NULL) == 0 &&
		      lock_try("m", 0, &lock) == -ETIMEDOUT ? 0 : 1);
	lock_holder_end(child, 0);
	lock_holder_end(held, SIGKILL);
}

static void what_cannot_be_trusted_is_refused(void **state)
{
	struct lock lock;
	char path[300];

	(void)state;
	fault_set(FAULT_MKDIR, 0, 1, EROFS);
	assert_int_equal(lock_try("m", 1000, &lock), -EROFS);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
	assert_int_equal(chmod(LOCK_DIR, 0770), 0);
	assert_int_equal(lock_try("m", 1000, &lock), -EPERM);
	assert_int_equal(chmod(LOCK_DIR, 0702), 0);
	assert_int_equal(lock_try("m", 1000, &lock), -EPERM);
	assert_int_equal(chmod(LOCK_DIR, 0755), 0);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
	lock_file(path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(lock_try("m", 1000, &lock), -ELOOP);
	/* a lock on these would be somebody else's as well */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(lock_try("m", 1000, &lock), -EPERM);
	assert_int_equal(unlink(path), 0);
	unit_write(LOCK_DIR "/another-name", "1\n");
	assert_int_equal(link(LOCK_DIR "/another-name", path), 0);
	assert_int_equal(lock_try("m", 1000, &lock), -EPERM);
	assert_int_equal(system("rm -rf " LOCK_DIR), 0);
	unit_write(LOCK_DIR, "");
	assert_int_equal(lock_try("m", 1000, &lock), -ENOTDIR);
	assert_int_equal(lock.fd, -1);
}

/* No unprivileged user can hold it against us. */
static void others_cannot_open_it(void **state)
{
	struct lock lock;
	char path[300];
	pid_t child;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
	assert_int_equal(chmod(LOCK_DIR, 0755), 0);	/* even then */
	lock_file(path);
	child = fork();
	if (child == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		if (open(path, O_RDONLY) >= 0 || errno != EACCES)
			_exit(2);
		_exit(lock_try("m", 1000, &lock) == -EACCES ? 0 : 3);
	}
	lock_holder_end(child, 0);
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
	assert_int_equal(lock_try("m", 0, &lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	lock_drop(&lock);
	lock_file(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	child = fork();
	if (child == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		_exit(lock_try("m", 1000, &lock) == 0 && lock_raise(&lock) == 2 ? 0 : 2);
	}
	lock_holder_end(child, 0);
}

int unit_lock_place_tests(void)
{
	static const struct CMUnitTest tests[] = {
		lock_test(it_is_made_for_root_alone),
		lock_test(there_is_one_file_or_none),
		lock_test(another_network_namespace_does_not_wait),
		lock_test(the_kernels_number_names_the_namespace),
		lock_test(the_lock_is_the_same_without_proc),
		lock_test(what_cannot_be_trusted_is_refused),
		lock_test(others_cannot_open_it),
		lock_test(root_shares_with_the_owner_of_the_directory),
	};

	return cmocka_run_group_tests_name("lock: its place", tests, NULL, NULL);
}
