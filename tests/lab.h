/* SPDX-License-Identifier: MIT */
/*
 * A laboratory for tests that cross a wire: hosts, a switch between them, and eyes on both, all
 * inside namespaces of one test program. Nothing of the machine is touched, several laboratories
 * run side by side, and all of one is gone when its outermost process ends, however it ends.
 *
 * It refuses to skip: without root or without namespaces the program fails and says why.
 *
 * A call that cannot do its work calls lab_fail(), which ends the program, or the running test
 * where lab_on_failure is set. So only what a test wants to judge is returned.
 */
#ifndef LAB_H
#define LAB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define LAB_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- lab.c: the namespaces and the switch ---- */

/*
 * Calls fn(argc, argv) inside a laboratory and returns what it returned. To be called first in
 * main().
 */
int lab_main(int argc, char **argv, int (*fn)(int argc, char **argv));

/* If set, called with the message of a failure instead of printing it and exit(1); may return. */
extern void (*lab_on_failure)(const char *message);
void lab_fail(const char *fmt, ...) LAB_PRINTF(1, 2) __attribute__((noreturn));

/* ---- lab-host.c: the hosts ---- */

/*
 * A host: a network namespace wired to the switch, a host name, and its own /run, /dev/log,
 * /etc/hosts, /etc/resolv.conf and /etc/nsswitch.conf. Everything else of the file system is the
 * machine's.
 */
struct lab_host {
	char name[12]; /* also its host name and the name of its first port on the switch */
	char run[64];  /* the host's /run, as the test program sees it */
	int netns, mntns, utsns;
	int root;            /* of its files: where the tests see theirs, even in a chroot(2) */
	int log_fd;          /* what arrives on the host's /dev/log */
	struct lab_log *log; /* what was read from it so far */
};

/*
 * A host NAME (up to 11 letters) whose eth0 is on the switch and carries the addresses that follow,
 * each as ADDR/PREFIX, NULL at the end. Duplicate address detection is off, IPv4 settings are the
 * kernel's defaults whatever the machine uses. Returns when frames pass.
 */
struct lab_host *lab_host(const char *name, ...) __attribute__((sentinel));

/* One more interface, up, with its own port on the switch (named NAME.DEV). */
void lab_host_link(struct lab_host *h, const char *dev, ...) __attribute__((sentinel));

/* How many processes run in the host, and the number of one of them. */
int lab_host_processes(struct lab_host *h, pid_t *one);

/* SIGKILL to every process in the host: as if its power had failed, but the interfaces stay. */
void lab_host_kill(struct lab_host *h);

/* Kills what runs there, takes the host from the switch and forgets it. NULL is fine. */
void lab_host_free(struct lab_host *h);

/* The cable is pulled (the interface stays up, without carrier), or plugged in again. */
void lab_carrier(struct lab_host *h, const char *dev, bool on);

/* The switch forgets the port of eth0, or takes it back: the carrier stays, no frame passes. */
void lab_cut(struct lab_host *h, bool cut);

/*
 * This process goes into the host for good; for a forked child that is going to exec. Returns 0 or
 * -errno.
 */
int lab_enter(const struct lab_host *h);

/* A socket of the host's network in this process. */
int lab_socket(const struct lab_host *h, int domain, int type, int protocol);

/*
 * PATH is below the host's /run; directories on the way are made. Returns the path as the host sees
 * it.
 */
const char *lab_file(struct lab_host *h, const char *path, mode_t mode, uid_t owner,
		     const char *fmt, ...) LAB_PRINTF(5, 6);

/* ---- shared by the files of the laboratory only ---- */

#define LAB_DIR "/run/lab" /* the hosts' /run directories, in the laboratory's own /run */
#define LAB_LOG                                                                                    \
	"/run/systemd/journal/dev-log" /* where /dev/log leads: as with systemd, into each host's  \
					  own /run */

extern int lab_netns; /* the switch's */
void lab_mkdirs(const char *path);
void lab_write(const char *path, const char *text);
void lab_mount(const char *what, const char *where, const char *type, unsigned long flags,
	       const char *data);

/* ---- lab-run.c: commands in a host ---- */

struct lab_result {
	int status;      /* exit status, or 128 + the signal that killed it */
	bool timed_out;  /* it was killed because it took too long */
	int64_t exec_ns; /* CLOCK_REALTIME just before execve ... */
	int64_t exit_ns; /* ... and when its end was seen */
	char out[16384]; /* standard output, cut off at the end, NUL-terminated */
	char err[16384]; /* standard error, the same */
};

/*
 * Runs argv (found by PATH) in the host (NULL: in the laboratory itself, where the switch is),
 * waits for its end but not for its children's. r may be NULL. Returns the status.
 */
int lab_run(struct lab_host *h, struct lab_result *r, int timeout_ms, const char *const argv[]);

/*
 * Calls fn(arg) in a forked child in the host, the rest as lab_run(); it returns the exit status or
 * execs.
 */
int lab_call(struct lab_host *h, struct lab_result *r, int timeout_ms, int (*fn)(void *arg),
	     void *arg);

/*
 * Starts argv in the host and returns its process id. Output goes to PATH below the host's /run, or
 * to ours if NULL.
 */
pid_t lab_spawn(struct lab_host *h, const char *path, const char *const argv[]);

/*
 * Waits for a process that lab_spawn() started; returns the status as in lab_result, or -1 when it
 * still runs.
 */
int lab_wait(pid_t pid, int timeout_ms);

/* One shell line (sh -c), 20 s at most. */
int lab_sh(struct lab_host *h, struct lab_result *r, const char *fmt, ...) LAB_PRINTF(3, 4);

/* The same, but a status other than 0 is a failure. */
void lab_must(struct lab_host *h, const char *fmt, ...) LAB_PRINTF(2, 3);

/* For strace -e: "inject=CALL:delay_enter=" and so many microseconds, such as all of us go by. */
const char *lab_delay(const char *what, int us);

/* The program under test: $SENTINEL_VIP or ./sentinel-vip, absolute. */
const char *lab_program(void);

/*
 * For a child: as RestrictAddressFamilies= does it, socket(2) says EAFNOSUPPORT for this family from
 * now on. Negative when that cannot be had.
 */
int lab_forbid_family(unsigned family);

/*
 * Writes the host's configuration, /run/sentinel-vip.conf, mode 0600, root's; every command is
 * started with SENTINEL_VIP_CONFIG set to it.
 */
void lab_config(struct lab_host *h, const char *fmt, ...) LAB_PRINTF(2, 3);

/* Runs the program under test with these arguments, NULL at the end; 30 s at most. */
int lab_vip(struct lab_host *h, struct lab_result *r, ...) __attribute__((sentinel));

/* ---- lab-watch.c: what comes out, seen from outside the program under test ---- */

int64_t lab_now_ns(void); /* CLOCK_REALTIME, as frames are stamped */
/* So many times slower time goes for us and for the program under test: tests/slow-clock.c; or 1. */
extern int lab_clock;
/* So that a resolver asks as long as with its default of 5 s; it keeps its own time, and takes 30 at most. */
#define LAB_RESOLVER_S (lab_clock > 6 ? 30 : 5 * lab_clock)
/*
 * How many times as long all may take as in a build that is installed: $LAB_SLOW, for the
 * sanitizers or valgrind, 1 without. What a run takes of the memory is then not its own, either.
 */
int lab_slow(void);
/* The run took this long at the most, times that. */
bool lab_took_at_most(const struct lab_result *r, int ms);
void lab_sleep_ms(int ms);

/* Evaluates COND every 2 ms until it is true, MS at most; is COND's last value. */
#define LAB_UNTIL(cond, ms)                                                                        \
	({                                                                                         \
		int64_t until_ = lab_now_ns() + (int64_t)(ms)*1000000;                             \
		bool is_;                                                                          \
		while (!(is_ = (cond)) && lab_now_ns() < until_)                                   \
			lab_sleep_ms(2);                                                           \
		is_;                                                                               \
	})

/*
 * Messages that arrived on the host's /dev/log, raw, priority and time included. The pointers live
 * until lab_log_clear().
 */
const char *lab_log_wait(struct lab_host *h, const char *text,
			 int timeout_ms); /* the first with TEXT in it, or NULL */
size_t lab_log_count(struct lab_host *h,
		     const char *text); /* how many have TEXT in it; "" is in all */
const char *lab_log_line(struct lab_host *h, size_t n); /* the n-th, or NULL */
/* The next one with TEXT in it after that message, or the first of all after NULL; or NULL. */
const char *lab_log_next(struct lab_host *h, const char *text, const char *after);
void lab_log_clear(struct lab_host *h);
void lab_log_print(struct lab_host *h); /* all of it on stderr, to explain a failure */
void lab_log_tail(struct lab_host *h, size_t lines, FILE *out); /* the last ones only */

#define LAB_SNAP 128 /* bytes kept of a frame */

struct lab_frame {
	int64_t ns;    /* CLOCK_REALTIME, stamped by the kernel */
	bool outgoing; /* sent by this host, not received */
	size_t len;    /* as on the wire, can be more than LAB_SNAP */
	unsigned char data[LAB_SNAP];
};

struct lab_capture {
	int fd;
	size_t n, room;
	struct lab_frame *frames;
};

/* Every frame on an interface of the host, from now on. A frame that was lost is a failure. */
struct lab_capture *lab_capture(struct lab_host *h, const char *dev);

/* The same for ARP and ICMPv6 only, filtered in the kernel: for long captures beside traffic. */
struct lab_capture *lab_capture_announcements(struct lab_host *h, const char *dev);

/* Looks at what arrived meanwhile. Makes pointers to earlier frames void, not indices. */
void lab_capture_read(struct lab_capture *c);
void lab_capture_free(struct lab_capture *c);

/* The first frame from index `from` on that `want` accepts, or NULL when none came in time. */
const struct lab_frame *lab_capture_wait(struct lab_capture *c, size_t from,
					 bool (*want)(const struct lab_frame *f, const void *arg),
					 const void *arg, int timeout_ms);
size_t lab_capture_count(struct lab_capture *c,
			 bool (*want)(const struct lab_frame *f, const void *arg), const void *arg);

/*
 * For `want`; arg is the address as text. The first two accept any ARP / NA frame for it, with
 * whatever details.
 */
bool lab_is_arp(const struct lab_frame *f, const void *address); /* sender = target = address */
bool lab_is_na(const struct lab_frame *f,
	       const void *address); /* unsolicited or not, target = address */
bool lab_is_announcement(const struct lab_frame *f, const void *address);

/* Sends one datagram to the discard port of ADDRESS, so that the host looks for its neighbour. */
void lab_poke(struct lab_host *h, const char *address);

/* The kernel's dump. */
bool lab_has_addr(struct lab_host *h, const char *dev,
		  const char *cidr); /* exactly this address/prefix on dev */
int lab_addr_copies(struct lab_host *h, const char *address); /* any interface, any prefix */
bool lab_addr_line(struct lab_host *h, const char *dev, const char *cidr, char *line,
		   size_t size); /* with its flags */
bool lab_mac(struct lab_host *h, const char *dev, unsigned char mac[6]);
bool lab_neigh_mac(struct lab_host *h, const char *address,
		   unsigned char mac[6]); /* false: no usable entry */

#endif
