/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share.  Each target is one parser with arbitrary bytes in place of what
 * it reads, linked with all of the program but its main(); besides that nothing crashes, leaks
 * or reads what is not there, it looks at whether the result is one that its contract allows.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "../../vip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A result that a contract in vip.h rules out: says where, and ends as a crash. */
#define must(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_broken(const char *what, const char *file, int line);
/* Where it says so; for a target in which stderr is the program's. */
extern int fuzz_report_fd;

/* The input, from its front; zeros when it is used up. */
struct fuzz {
	const uint8_t *at;
	size_t left;
};

uint8_t fuzz_byte(struct fuzz *fuzz);
/* Up to `size` bytes; returns how many there were. */
size_t fuzz_bytes(struct fuzz *fuzz, void *out, size_t size);
struct ip fuzz_ip(struct fuzz *fuzz);

/* What a refusal says: one line, no control characters, not nothing. */
void fuzz_check_why(const struct why *why);
/* 0 or -errno, which strerror() can be asked about. */
void fuzz_check_error(int err);

/*
 * For `mend`: makes a datagram whole netlink messages. One too long ends where it does, one too short
 * is the last.
 */
void fuzz_mend_netlink(uint8_t *bytes, size_t size);

/*
 * A world in which time passes only where the program waits, and where whatever socket it opens
 * hears the rest of the input, one event after the other: a byte for its kind, two for its
 * size (little endian) and that many bytes.  What the program sends goes to `sent`, unless
 * that is NULL, and then nowhere.  fuzz_end() looks whether all sockets are closed again.
 */
enum { FUZZ_MSEC_MAX = 60000 };

/* Who is at the other end of a unix socket, and where that lies in the file system. */
struct fuzz_caller {
	uid_t uid;
	gid_t gid;
	gid_t groups[4];
	size_t group_count;
	const char *path;
};

struct fuzz_world {
	struct fuzz script;
	bool framed;		/* false: the whole rest of the input is one stream */
	/* unix sockets: to connect and to send takes a byte each, from 0xe0 on it fails; stdout may
	 * take a part */
	bool unsure;
	const struct fuzz_caller *caller;	/* NULL: root */
	void (*sent)(const uint8_t *bytes, size_t size);	/* but over unix sockets: */
	void (*sent_unix)(const uint8_t *bytes, size_t size);
	/* may mend what is about to be heard, so that it passes for the real thing */
	void (*mend)(uint8_t *bytes, size_t size);
};

void fuzz_begin(const struct fuzz_world *world);
void fuzz_end(void);

#endif
