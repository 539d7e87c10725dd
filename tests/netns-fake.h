/* SPDX-License-Identifier: MIT */
/*
 * Sentinels that say what a test wants, byte for byte: what a real one never says, or not when it
 * is wanted. Each is a process outside the hosts with a socket inside one of them, so that it
 * counts among nobody's processes.
 *
 * A turn is what it does on one connection: the n-th connection gets the n-th turn, and all after
 * the last one get the last. Turns can be changed at any time, for the connections that come.
 */
#ifndef NETNS_FAKE_H
#define NETNS_FAKE_H

#include "lab.h"

#define FAKE_TURNS 4

enum fake_question {
	FAKE_ADDRESS, /* SENTINEL GET-MASTER-ADDR-BY-NAME */
	FAKE_MASTER,  /* SENTINEL MASTER */
	FAKE_FELLOWS, /* SENTINEL SENTINELS */
	FAKE_MYID,    /* SENTINEL MYID */
	FAKE_OTHER,   /* AUTH and whatever else */
	FAKE_QUESTIONS,
};

/* Nothing is said when both are empty. */
struct fake_bytes {
	int wait_ms; /* before the first of them */
	size_t head_size, size;
	char head[64];    /* said once, then: */
	char bytes[4096]; /* so often: */
	size_t times;     /* 0: once */
};

struct fake_turn {
	struct fake_bytes says[FAKE_QUESTIONS];
	bool drip;   /* each byte in a segment of its own ... */
	int drip_us; /* ... so long after the one before */
	bool closes; /* after so many bytes: */
	size_t most;
	bool reset; /* closes with a reset */
	bool deaf;  /* never reads; with `closes`, closes at once */
};

struct fake {
	pid_t pid;
	int fd, port;
	char path[128]; /* of a unix socket, as this process sees it; "" for TCP */
	int connections;
	char heard[4096]; /* the questions, words as they came, each with a newline */
	size_t heard_size;
	int turns;
	struct fake_turn turn[FAKE_TURNS];
};

/* Listens on ADDRESS of the host, or with port 0 on a unix socket at that path below its /run. */
struct fake *fake_start(struct lab_host *h, const char *address, int port);

/* Nobody listens there any more. */
void fake_stop(struct fake *f);
/* The same for all; for a teardown. */
void fake_stop_all(void);

/*
 * In turn N, and all after it, it speaks like a Sentinel to which HOST:PORT is the master since
 * EPOCH. `fellows` are "HOST PORT", NULL at the end; NULL for none. SENTINEL MASTER shows another
 * address, as on the leader of a failover, and a quorum of more than half of the fellows and itself.
 * Its id, and that of each fellow, is made of the port.
 */
struct fake_turn *fake_turn(struct fake *f, int n, const char *host, int port, const char *epoch,
			    const char *const fellows[]);

/* In the list of fellows the n-th, from 0, has that id; of 40 digits. */
void fake_fellow_id(struct fake_turn *t, int n, const char *id);

/* Its quorum is that, in place of more than half. */
void fake_quorum(struct fake_turn *t, const char *quorum);

/* The answer to one question in bytes, or by a format. */
void fake_bytes(struct fake_turn *t, enum fake_question q, const void *bytes, size_t size);
void fake_format(struct fake_turn *t, enum fake_question q, const char *fmt, ...) LAB_PRINTF(3, 4);

/* How often the words were heard. */
int fake_heard(const struct fake *f, const char *words);

/* It forgets what it heard, and its connections: the next one is the first again. */
void fake_forget(struct fake *f);

#endif
