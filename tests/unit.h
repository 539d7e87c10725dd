/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share.  They are linked with all of the program but its
 * main(), in one executable: check-unit.  The pure groups need nothing; the groups
 * with effects run inside a host of a laboratory (lab.h), with a /run, a
 * /dev/log, an /etc/hosts and a network of their own.
 */
#ifndef UNIT_H
#define UNIT_H

#include "../vip.h"

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Groups, run by check-unit.c: those that need no laboratory, and those that do. */
int unit_ip_tests(void);
int unit_event_tests(void);
int unit_args_tests(void);
int unit_keys_tests(void);
int unit_ask_tests(void);
int unit_config_tests(void);
int unit_refuse_tests(void);
int unit_claim_tests(void);
int unit_release_tests(void);
int unit_where_tests(void);
int unit_frame_tests(void);
int unit_due_tests(void);
int unit_council_tests(void);
int unit_truth_tests(void);

int unit_file_tests(void);
int unit_trust_tests(void);
int unit_lock_tests(void);
int unit_lock_place_tests(void);
int unit_resolve_tests(void);
int unit_log_tests(void);
int unit_relay_tests(void);
int unit_relay_ask_tests(void);
int unit_netlink_tests(void);
int unit_change_tests(void);
int unit_apply_tests(void);
int unit_detach_tests(void);

/* check-unit.c ----------------------------------------------------------------- */

/* The text has this part; the failure shows both. */
#define expect_text(text, part) unit_expect_text(__FILE__, __LINE__, text, part, true)
#define expect_no_text(text, part) unit_expect_text(__FILE__, __LINE__, text, part, false)
void unit_expect_text(const char *file, int line, const char *text, const char *part, bool has);

/* An address that must be one; "" is none. */
struct ip unit_ip(const char *text);

/* A new file with these bytes, mode 0600; its path, until the next call. */
const char *unit_file(const char *bytes, size_t size);

/* The same from text, read as a configuration. */
int unit_config(const char *text, struct config *config, struct why *why);

/* Replaces a file of the host, in place, since it may be mounted somewhere. */
void unit_write(const char *path, const char *text);

/* What is written to a descriptor between the two; the text lives until the next end. */
struct unit_capture {
	int fd, saved, file;
};

void unit_capture_begin(struct unit_capture *capture, int fd);
const char *unit_capture_end(struct unit_capture *capture);

/* unit-fault.c ------------------------------------------------------------------ */

/* Calls that can be made to fail, in the program and, for the last four, in libnl. */
enum fault {
	FAULT_MEMORY,		/* malloc, calloc, realloc, reallocarray, strdup, asprintf */
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FORK,
	FAULT_PIPE2,
	FAULT_FLOCK,
	FAULT_MKDIR,
	FAULT_SOCKET,
	FAULT_SENDTO,		/* of frames */
	FAULT_SENDMSG,		/* and libnl's sendto() */
	FAULT_RECVMSG,
	FAULT_COUNT,
};

/* After `skip` more calls that succeed, `times` calls fail with `error`. */
void fault_set(enum fault fault, unsigned skip, unsigned times, int error);
/* Nothing fails any more; also a cmocka teardown. */
int fault_clear(void **state);
/* How often the call was made since fault_set() or fault_clear(), failed ones included. */
unsigned fault_calls(enum fault fault);

/* Blocks that the program got and has not given back: the same before and after. */
long fault_live(void);

/* sendto() is not carried out; what it was given is kept here. */
struct fault_frame {
	size_t size;
	int ifindex, flags;
	uint8_t bytes[128];
};

extern bool fault_keep_frames;
extern struct fault_frame fault_frames[8];
extern unsigned fault_frame_count;

/* Read calls return no more than this at once; 0: what they will. */
extern size_t fault_read_max;

/* Looks at, and may change, each message that libnl receives. `peek`: it will be seen again. */
struct nlmsghdr;
extern void (*fault_on_message)(struct nlmsghdr *message, bool peek);

#endif
