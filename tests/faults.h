/* SPDX-License-Identifier: MIT */
/*
 * The fault sweep: each system call that a run makes is made to fail, or the run is killed at it;
 * and each allocation fails. After each such point an oracle looks at the kernel, the wire and the
 * processes, and at what an undisturbed run makes of what was left behind.
 *
 * A point has a name, by which it can be tried alone: FACE:PROCESS.NUMBER:WHAT, such as
 * "claim:0.57:ENOBUFS". Process 0 is the program, 1 its first child (the announcer). NUMBER counts
 * the system calls of that process after execve, or its allocations. WHAT is
 *
 *	ENOBUFS		the call is not made and fails with this error
 *	ENOBUFS+	so do all later ones of the same kind in that process
 *	kill, kill+	SIGKILL before the call takes effect, or after
 *	deny-EPERM	the kernel does not do what a netlink message asks for, and answers so
 *	drop		the kernel says that it has done it, but has not, as if somebody had undone
 *it alloc, alloc+	the allocation fails, and all later ones
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "lab.h"

/* ---- faults-errors.c: which error is plausible for which call ---- */

enum fault_kind {
	FAULT_NONE,
	FAULT_ERROR,
	FAULT_LASTING,
	FAULT_KILL,
	FAULT_KILL_AFTER,
	FAULT_DENY,
	FAULT_DROP,
	FAULT_ALLOC,
	FAULT_ALLOC_LASTING,
	FAULT_KINDS
};

struct fault {
	enum fault_kind kind;
	int process, number;
	int error;
	long nr; /* the call that is expected there, or else the next of its kind; -1: whatever is
		  */
};

enum { FAULT_ERRORS = 9, FAULT_NAME_SIZE = 64 };

/* The errors that call NR can give, 0 at the end; none for those that cannot fail. */
const int *fault_errors(long nr);
/* Whether NR does its work though it says an error: close(2). */
bool fault_is_done_all_the_same(long nr);
/* Errors that the kernel answers a netlink message with, 0 at the end. */
extern const int fault_denials[];
/* What follows FACE: in the name of a point. */
const char *fault_name(const struct fault *f, char out[FAULT_NAME_SIZE]);
bool fault_parse(const char *text, struct fault *f);
const char *fault_call_name(long nr, char out[32]);

/* ---- faults-trace.c: a run under ptrace(2) ---- */

enum { TRACE_PROCESSES = 6, TRACE_CALLS = 4000, TRACE_SENDS = 64 };

struct trace_process {
	int count; /* system calls after execve */
	short nr[TRACE_CALLS];
	/* a message over netlink, which is answered; one over rtnetlink that changes something */
	bool asks[TRACE_CALLS], changes[TRACE_CALLS];
	int main_at; /* the first call of main() */
};

struct trace {
	int processes;
	struct trace_process of[TRACE_PROCESSES];
	bool struck;        /* the fault has happened */
	long struck_nr;     /* at this call ... */
	int struck_number;  /* ... of its process */
	int status;         /* of process 0: its exit status, or 128 + the signal */
	bool hung;          /* ... or it took longer than it may */
	bool lingers;       /* a child did not end */
	bool heard;         /* a Sentinel's answer was read */
	bool crashed;       /* a process was killed by a signal that is not ours */
	double ms, rest_ms; /* until the end of process 0, and of the last child after it */
	char err[1024];     /* standard error */
};

struct trace_order {
	struct lab_host *host;
	const char *const *argv;
	const char *preload; /* a library, or NULL */
	int input;           /* its standard input; -1: /dev/null */
	struct fault fault;
	bool quick; /* no stop at system calls: nothing is counted */
	int limit_ms, rest_limit_ms;
	/* called after each netlink message, with its begin and end (lab_now_ns) */
	void (*sent)(int64_t begin_ns, int64_t end_ns);
};

/* Runs it, to the end of its last child. */
void trace_run(const struct trace_order *order, struct trace *t);

/* ---- faults-wire.c: what a traced process sends and hears ---- */

/* A message, and where it lies in the process. */
struct wire_message {
	uint64_t at;
	size_t size;
	unsigned char bytes[2048];
};

/* In each, call NR with these arguments is one that sends or receives. */
bool wire_is_change(pid_t pid, long nr, const uint64_t args[6]);
/* Makes it one that does nothing and is acknowledged; false when it cannot be. */
bool wire_deny(pid_t pid, long nr, const uint64_t args[6], struct wire_message *m);
/* After the call, what it was before. */
void wire_restore(pid_t pid, const struct wire_message *m);
/* The acknowledgement of such a one, among the GOT bytes that were received, becomes this error. */
void wire_answer(pid_t pid, long nr, const uint64_t args[6], int64_t got, int error);

/* ---- faults-state.c: the kernel's state of a host ---- */

/* Addresses and routes, one a line, sorted: "KEY | DETAILS". */
struct state {
	char text[8192];
};

struct state_address {
	const char *cidr;
	bool vip;       /* as the program adds it */
	bool own_route; /* may make a connected route */
};

void state_open(struct lab_host *h);
void state_read(struct state *s);
/* Exactly these addresses on eth0, in this order, and the default route. */
void state_make(const struct state_address *addresses, const char *gateway);
/*
 * What `now` has lost of `before`, or has too much, leaving out the VIPs: false and a text. A
 * source address of a route may change.
 */
bool state_is_whole(const struct state *before, const struct state *now, const char *const vips[],
		    char *text, size_t size);

/* From now on changes of the VIPs are written down. */
void state_watch(const char *const vips[]);
/* Reads what has changed, in a call that began and ended then. */
void state_watched(int64_t begin_ns, int64_t end_ns);
/* Whether the address certainly did not stand at that moment. */
bool state_was_away(const char *address, int64_t ns);
/* The end of the call that added it last; 0 when it stood all along, -1 when it does not. */
int64_t state_since(const char *address);

/* ---- faults-scenes.c: what is run ---- */

struct scene {
	const char *name;
	const char *argv[10]; /* without the program */
	const char *votes;    /* of the Sentinels: A here, B on the peer, - none */
	bool here;            /* where the VIPs belong */
	bool by_sentinel;     /* status 1 asks for a replay */
	bool reads;           /* changes nothing, whatever is */
	bool relay;           /* the words are a request, and --serve is what runs */
	bool stale;           /* the arguments do not say what the Sentinels say */
	bool claimed;         /* by the program just before, whose announcer is at work */
	bool alone;           /* the other Sentinels do not answer: no truth, and status 1 */
	bool fresh;           /* nothing has run before, since the host was booted */
	const struct state_address *before;
	const char *keys; /* of the configuration, besides */
};

extern const struct scene scenes[];
extern const size_t scene_count;
extern const char *const scene_vips[];

/* ---- faults-stage.c: the hosts, and what stands on them before a run ---- */

enum {
	STAGE_LIMIT_MS = 20000, /* the promise: no run takes longer */
	STAGE_REST_MS = 13000,  /* the schedule, the announcer's grace of 10 s, and a bit */
	STAGE_CONNECTIONS = 4,
};

/* A connection of the peer's. */
struct connection {
	const char *to;
	bool vip;
	int near, far; /* -1: not open */
};

extern struct stage {
	struct lab_host *us, *peer;
	struct lab_capture *eyes; /* on the peer */
	struct connection connections[STAGE_CONNECTIONS];
} stage;

/* `bridge`: eth0 is one, with the cable as its port. */
void stage_open(bool bridge);
/* The configuration of a scene, what the Sentinels say, and no locks. */
void stage_set(const struct scene *s);
/* All as it was before; *before is what it must be, or becomes it when it is empty. */
void stage_prepare(const struct scene *s, struct state *before);
/* `quick`: not followed call by call, nor beyond its own end. */
void stage_run(const struct scene *s, const struct fault *f, bool quick, struct trace *t);
/* How many allocations each process of the last run made that counted them. */
int stage_allocations(int process);
int stage_files(void);
void stage_forget_locks(void);
/* Whether the client has been told that its connection is over. */
bool stage_was_reset(const struct connection *c);
void stage_close(struct connection *c);

/* ---- faults-judge.c: the oracle ---- */

/* The state before, the run undisturbed, and what it leaves. */
void judge_begin(const struct scene *s, struct trace *t);
/* One point. False when something is wrong: then `said` has it all. */
bool judge_point(const struct scene *s, const struct fault *f, struct trace *t, char *said,
		 size_t size);

/* ---- faults-alloc.c: the library that is preloaded ---- */

#define ALLOC_FILE "/run/allocations" /* shared memory with the program */

struct alloc_shared {
	int process, number; /* which one fails; number 0: none */
	int lasting;
	int processes;
	int counts[TRACE_PROCESSES];
	int struck;
};

#endif
