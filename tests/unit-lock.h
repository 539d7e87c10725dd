/* SPDX-License-Identifier: MIT */
/* What the tests of the lock share; unit-lock.c has it. */
#ifndef UNIT_LOCK_H
#define UNIT_LOCK_H

#include "unit.h"

#include <sys/types.h>

/* lock_take(), which waits so long at most. */
int lock_try(const char *master, double ms, struct lock *lock);
/* A process that holds the lock for some time, or for ever; returns when it has it. */
pid_t lock_holder(const char *master, int ms);
void lock_holder_end(pid_t child, int signal);
/* The one file of the directory. */
void lock_file(char path[300]);

/* Each test begins where nobody ever took a lock. */
int lock_forget(void **state);
#define lock_test(f) cmocka_unit_test_setup_teardown(f, lock_forget, lock_forget)

#endif
