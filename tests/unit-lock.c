/* SPDX-License-Identifier: MIT */
/* The lock: several processes, the deadline, and the number. */
#include "unit-lock.h"

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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int lock_try(const char *master, double ms, struct lock *lock)
{
	*lock = (struct lock){ .fd = -1 };
	return lock_take(master, 0, clock_ms() + ms, lock);
}

int lock_forget(void **state)
{
	(void)state;
	fault_clear(NULL);
	return system("rm -rf " LOCK_DIR);
}

pid_t lock_holder(const char *master, int ms)
{
	int told[2];
	pid_t child;
	char c;

	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		struct lock lock;

		if (lock_try(master, 0, &lock) < 0 || write(told[1], "x", 1) != 1)
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

void lock_holder_end(pid_t child, int signal)
{
	int status;

	if (signal != 0)
		kill(child, signal);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(signal != 0 ? WIFSIGNALED(status)
				: WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void lock_file(char path[300])
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

static void the_number_is_raised_and_stays(void **state)
{
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	assert_int_equal(lock_raise(&lock), 2);
	assert_int_equal(lock_number(&lock), 2);
	lock_drop(&lock);
	assert_int_equal(lock_number(&lock), 0);
	assert_int_equal(lock_raise(&lock), 0);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 2);
	assert_int_equal(lock_raise(&lock), 3);
	lock_drop(&lock);
	assert_int_equal(lock_try("n", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 0);
	lock_drop(&lock);
}

static void a_number_that_cannot_be_kept_is_none(void **state)
{
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), 0);
	assert_int_equal(lock_raise(&lock), 1);
	fault_set(FAULT_WRITE, 0, 1, ENOSPC);
	assert_int_equal(lock_raise(&lock), 0);
	assert_int_equal(lock_number(&lock), 1);
	assert_int_equal(lock_raise(&lock), 2);
	lock_drop(&lock);
}

static void the_second_waits_for_the_first(void **state)
{
	pid_t child = lock_holder("m", 100);
	double begun = clock_ms(), spent;
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 5000, &lock), 0);
	spent = clock_ms() - begun;
	if (spent < 50 || spent > 1000)
		fail_msg("it waited %.1f ms for 100", spent);
	lock_drop(&lock);
	lock_holder_end(child, 0);
}

static void nobody_waits_beyond_the_deadline(void **state)
{
	pid_t child = lock_holder("m", -1);
	double begun = clock_ms(), spent;
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 80, &lock), -ETIMEDOUT);
	spent = clock_ms() - begun;
	lock_drop(&lock);
	if (spent < 80 || spent > 500)
		fail_msg("it waited %.1f ms for 80", spent);
	begun = clock_ms();
	assert_int_equal(lock_try("m", 0, &lock), -ETIMEDOUT);	/* one look */
	assert_true(clock_ms() - begun < 50);
	lock_drop(&lock);
	lock_holder_end(child, SIGKILL);
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
	assert_int_equal(lock_try("m", 80, &lock), 0);
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
	assert_int_equal(lock_try("m", 80, &lock), -EAGAIN);
	assert_true(clock_ms() - begun < 500);
	lock_drop(&lock);
	lock_holder_end(child, SIGKILL);
}

/* Who did not get it can still read and raise the number, and does not free it for others. */
static void without_the_lock_there_is_the_number(void **state)
{
	pid_t child = lock_holder("m", -1);
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), -ETIMEDOUT);
	assert_true(lock.fd >= 0);
	assert_false(lock.held);
	assert_int_equal(lock_raise(&lock), 1);
	assert_int_equal(lock_number(&lock), 1);
	lock_drop(&lock);
	assert_int_equal(lock.fd, -1);
	assert_int_equal(lock_try("m", 0, &lock), -ETIMEDOUT);
	assert_int_equal(lock_number(&lock), 1);
	lock_drop(&lock);
	lock_holder_end(child, SIGKILL);
}

static void another_master_does_not_wait(void **state)
{
	pid_t child = lock_holder("m", -1);
	struct lock lock;

	(void)state;
	assert_int_equal(lock_try("n", 0, &lock), 0);
	lock_drop(&lock);
	lock_holder_end(child, SIGKILL);
}

static void a_killed_holder_holds_nothing(void **state)
{
	struct lock lock;

	(void)state;
	lock_holder_end(lock_holder("m", -1), SIGKILL);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
}

/* The announcer is forked under the lock. */
static void a_child_does_not_keep_it(void **state)
{
	struct lock lock;
	pid_t child;

	(void)state;
	assert_int_equal(lock_try("m", 0, &lock), 0);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	lock_drop(&lock);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
	lock_holder_end(child, SIGKILL);
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

			if (lock_try("m", 20000, &lock) < 0)
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
		lock_holder_end(children[i], 0);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	assert_int_equal(lock_number(&lock), 8 * 25);
	lock_drop(&lock);
}

static void an_interrupted_wait_goes_on(void **state)
{
	struct lock lock;

	(void)state;
	fault_set(FAULT_FLOCK, 0, 2, EINTR);
	assert_int_equal(lock_try("m", 1000, &lock), 0);
	assert_int_equal(fault_calls(FAULT_FLOCK), 3);
	lock_drop(&lock);
	fault_set(FAULT_FLOCK, 0, 1, ENOLCK);
	assert_int_equal(lock_try("m", 1000, &lock), -ENOLCK);
	assert_int_equal(lock.fd, -1);
}

/* Neither a lock that was got nor one that was not leaves a descriptor behind. */
static void no_descriptor_is_lost(void **state)
{
	int before = open("/", O_RDONLY), after;
	struct lock lock;

	(void)state;
	close(before);
	assert_int_equal(lock_try("m", 0, &lock), 0);
	lock_drop(&lock);
	fault_set(FAULT_FLOCK, 0, 1, ENOLCK);
	assert_int_equal(lock_try("m", 0, &lock), -ENOLCK);
	assert_int_equal(chmod(LOCK_DIR, 0777), 0);
	assert_int_equal(lock_try("m", 0, &lock), -EPERM);
	after = open("/", O_RDONLY);
	close(after);
	assert_int_equal(after, before);
}

int unit_lock_tests(void)
{
	static const struct CMUnitTest tests[] = {
		lock_test(the_number_is_raised_and_stays),
		lock_test(a_number_that_cannot_be_kept_is_none),
		lock_test(the_second_waits_for_the_first),
		lock_test(nobody_waits_beyond_the_deadline),
		lock_test(a_lease_holds_nobody_up),
		lock_test(without_the_lock_there_is_the_number),
		lock_test(another_master_does_not_wait),
		lock_test(a_killed_holder_holds_nothing),
		lock_test(a_child_does_not_keep_it),
		lock_test(it_excludes),
		lock_test(an_interrupted_wait_goes_on),
		lock_test(no_descriptor_is_lost),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
