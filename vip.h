/* SPDX-License-Identifier: MIT */
/*
 * The nouns of sentinel-vip, and every function that crosses a file, grouped by
 * file from the lowest floor up.  A file calls only floors below its own.
 *
 * Unless a contract says otherwise: a function returns 0 or -errno, writes its
 * output parameters only on success, keeps no pointer to its arguments, and
 * addresses and hardware addresses are in network byte order while ports,
 * prefix lengths and interface indices are in host byte order.
 */
#ifndef VIP_H
#define VIP_H

#include <linux/if_ether.h>
#include <net/if.h>
#include <linux/if.h>		/* after it: IFF_LOWER_UP is only there */
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(function) __attribute__((cleanup(function)))

enum {
	MASTER_NAME_SIZE = 64,	/* Sentinel sets no limit; the INI reader's is 49 */
	INTERFACE_SIZE = 128,	/* ALTIFNAMSIZ, <linux/if.h> */
	HOST_SIZE = 256,	/* RFC 1035 section 2.3.4: 255 octets */
	IP_TEXT_SIZE = INET6_ADDRSTRLEN,
	ENDPOINT_TEXT_SIZE = HOST_SIZE + 8,	/* "[host]:65535" */
	SCHEDULE_MAX = 16,	/* repeats of an announcement */
	RESOLVED_MAX = 16,	/* addresses of one host name that are looked at */
	LAPS_MAX = 16,		/* steps of a run that are timed */
};

/* What came of a run; the order is that of getting worse. */
enum verdict {
	VERDICT_AGREES,		/* this host is as it should be */
	VERDICT_TRANSIENT,	/* it may be later; try again */
	VERDICT_PERMANENT,	/* it will not be until somebody mends something */
};

/* Floor 0: log.c ------------------------------------------------------- */

/* Why something was refused or failed: one line for a person, no newline. */
struct why {
	char text[512];
};

/*
 * Sets the text (control characters escaped, cut to what fits) and returns
 * `error`, so that a failure is said and returned in one statement.
 */
int why_set(struct why *why, int error, const char *format, ...) PRINTF(3, 4);

/* A line that grows by parts; too long, it ends in "...". */
struct line {
	size_t length;
	char text[1024];
};

void line_add(struct line *line, const char *format, ...) PRINTF(2, 3);

/*
 * Sends one line to syslog as a datagram to /dev/log (RFC 3164, facility
 * daemon, tag sentinel-vip) and never waits for it: a logger that hangs must not
 * hold a failover up.  `priority` is one of syslog.h's levels.  The line goes to
 * stderr as well when log_to_terminal() was called and stderr is not the journal, or
 * when syslog cannot be had.
 * errno is left as it was.
 */
void log_send(int priority, const char *text);
void log_to_terminal(void);
/* On whose behalf this process works: every line ends with it from now on. */
void log_caller(const char *caller);

/* Milliseconds of CLOCK_MONOTONIC, with their fraction. */
double clock_ms(void);

/* Ends the wait at a moment of clock_ms(); at least 1, so that poll() waits. */
int clock_left(double deadline_ms);

/* Descriptors: closes *fd unless it is negative; for CLEANUP. */
void fd_close(int *fd);

/* Floor 0: paint.c ----------------------------------------------------- */

/*
 * For what a person reads on stdout.  Colour only on a terminal that has some, and
 * not where NO_COLOR is set (https://no-color.org).
 */
enum colour { COLOUR_NONE, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_BOLD };

/* Whether there is colour, and that there is some although stdout is no terminal. */
bool paint_has_colour(void);
void paint_use_colour(void);
/* A word, padded with spaces to `width` columns. */
void paint_word(enum colour colour, int width, const char *word);
/* "  label   text": one line, its control characters escaped, indented by `indent`. */
void paint_row(int indent, int width, const char *label, const char *text);
/* Whether all of it was written; flushes, and says once what went wrong. */
bool paint_written(void);

/* Floor 0: file.c ------------------------------------------------------ */

/*
 * Reads what fits of a small file (sysctl, /proc, state of other programs) and ends it
 * with NUL.  Returns its length, which NULs inside may exceed, or -errno.
 */
ssize_t file_read(const char *path, char *buffer, size_t size);
/* Whether both lead to one file. */
bool file_same(const char *a, const char *b);
/*
 * The rest of the first line at or after `text` that begins with `key`, without the
 * white space around it, cut to what fits.  Returns where the search goes on, or NULL.
 */
const char *file_line(const char *text, const char *key, char *out, size_t size);

/* Floor 0: trust.c ----------------------------------------------------- */

/*
 * The text of a file that nobody but root and the caller could have written, nor
 * replaced; with `private` others cannot read it either.  The caller frees *text.
 */
int trust_text(const char *path, bool private, char **text, struct why *why);
/* A program that is there: -EINVAL when it is not a file, -EPERM when others could exchange it. */
int trust_program(const char *path, const struct stat *st, struct why *why);
/* -EPERM when somebody other than root and the caller could have written this file. */
int trust_writers(const char *path, const struct stat *st, struct why *why);
/*
 * -EPERM when somebody other than root and the caller could put another file in its place: by a
 * directory on the way, followed link by link.  0 too where the way ends before the file.
 */
int trust_way(const char *path, struct why *why);

/* Floor 0: ip.c -------------------------------------------------------- */

/* An address of either family; `family` is AF_UNSPEC when there is none. */
struct ip {
	sa_family_t family;
	union {
		struct in_addr in;
		struct in6_addr in6;
		uint8_t bytes[sizeof(struct in6_addr)];
	};
};

/* A virtual IP as it is to stand on an interface. */
struct vip {
	struct ip ip;
	uint8_t prefixlen;	/* bits */
};

/*
 * Reads the whole of `text` as an address.  IPv4-mapped IPv6 addresses become
 * IPv4 (RFC 4291 section 2.5.5.2).  -EINVAL when it is not an address.
 */
int ip_parse(const char *text, struct ip *ip);
bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_is_one_of(const struct ip *ip, const struct ip *ips, size_t count);
/* Writes the text form into `out` and returns it, for use in a format. */
const char *ip_text(const struct ip *ip, char out[IP_TEXT_SIZE]);
/* "02:42:ac:13:00:02" */
enum { MAC_TEXT_SIZE = sizeof("00:00:00:00:00:00") };
const char *mac_text(const uint8_t mac[ETH_ALEN], char out[MAC_TEXT_SIZE]);
/* Length of the family's addresses in bits: 32 or 128. */
unsigned ip_bits(const struct ip *ip);
/* Whether the first `prefixlen` bits agree; false across families. */
bool ip_same_net(const struct ip *a, const struct ip *b, unsigned prefixlen);
/* Whether one of these networks, "127.0.0.0/8 ::1/128", has it. */
bool ip_in_networks(const char *networks, const struct ip *ip);
/* Whether a host can have it: neither "this network" nor multicast, broadcast or ::. */
bool ip_is_hosts(const struct ip *ip);
/* 127.0.0.0/8 (RFC 1122 section 3.2.1.3) or ::1 (RFC 4291 section 2.5.3). */
bool ip_is_loopback(const struct ip *ip);

/*
 * A host as Sentinel names it: an address, or a name; or where a Sentinel
 * listens, which may be a unix socket.
 */
struct endpoint {
	char host[HOST_SIZE];	/* with port 0: the path of a unix socket */
	struct ip ip;		/* AF_UNSPEC while `host` is a name that was not resolved */
	uint16_t port;
};

/* From the two words that Sentinel gives; false when they cannot be that. */
bool endpoint_make(const char *host, const char *port, struct endpoint *out);
/* The same port, and the same address or, while one is not known, the same name. */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* "10.0.0.2:6379", "[fd00::2]:6379", "redis-2:6379" */
const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_SIZE]);

/*
 * Reads a port, 1 to 65535 in decimal and nothing else; 0 only where `zero` is
 * allowed.  -EINVAL.
 */
int port_parse(const char *text, bool zero, uint16_t *port);

/* Floor 1: event.c ----------------------------------------------------- */

/* Sentinel's call; ROLE and STATE decide nothing and are only looked at. */
struct event {
	char master[MASTER_NAME_SIZE];
	struct endpoint from;
	struct endpoint to;
};

/*
 * Whether the words (without the program's name) are Sentinel's call rather
 * than a command: seven of them, ports in the fifth and the seventh place.
 */
bool event_fits(int argc, char *const argv[]);

/*
 * Reads Sentinel's seven words: master-name role state from-ip from-port to-ip
 * to-port (redis sentinel.c, sentinelCallClientReconfScript).  Pure.
 * -EINVAL with the reason when one of them cannot be what Sentinel sends.
 */
int event_parse(int argc, char *const argv[], struct event *event, struct why *why);

/* Whether `name` can name a master: Sentinel's own rule, A-z 0-9 . - _ */
bool master_name_ok(const char *name);

/* Floor 2: args.c ------------------------------------------------------ */

enum face {
	FACE_EVENT, FACE_SYNC, FACE_STATUS, FACE_CHECK, FACE_CLAIM, FACE_RELEASE, FACE_SERVE,
};

/* What the program was called as. */
struct args {
	enum face face;
	struct event event;	/* of FACE_EVENT */
	int argc;		/* the words after the command; 0 with FACE_EVENT: none at all */
	char **argv;
	bool dry_run, announce, json, help, version;
};

/* -EINVAL with what was expected.  With help or version the rest means nothing. */
int args_parse(int argc, char *argv[], struct args *args, struct why *why);

/* Floor 1: config.c ---------------------------------------------------- */

/* When announcements are repeated: milliseconds after the first, ascending. */
struct schedule {
	unsigned count;
	unsigned at_ms[SCHEDULE_MAX];
};

struct master {
	char name[MASTER_NAME_SIZE];
	char interface[INTERFACE_SIZE];	/* empty: not configured */
	struct schedule announce;
	char *self;			/* names of this host, space between; or NULL */
	struct endpoint sentinel;	/* the one that is asked first */
	char *user, *password;		/* for every Sentinel; NULL: none */
	char *auth_path;		/* the file that they come from */
	char *after_claim, *after_release;	/* hooks; NULL: none */
	bool verify;			/* ask before following Sentinel's arguments */
	bool kill_connections;		/* a move of the VIP ends TCP connections on it, and to it */
	bool refresh;			/* sync announces again what stands */
	bool fence;			/* sync lets go of the VIP where no majority is heard */
	struct vip *vips;
	size_t vip_count;
};

struct config {
	const char *path;		/* the one that was read, as it was given */
	struct master *masters;
	size_t master_count;
	struct place *places;		/* all VIPs by address, for config_owner(); NULL: none yet */
	size_t place_count;
};

/* The file that is read unless SENTINEL_VIP_CONFIG names another one. */
#define CONFIG_PATH "/etc/sentinel-vip.conf"

/*
 * Reads the file and checks all of it, whichever master is asked for: an error
 * is found when the file is written, not at the failover that needs it.
 * -errno with file, line and what was expected; -EPERM when the file could have
 * been written by somebody other than root and the caller, -ENODATA when it names no master.
 */
int config_read(const char *path, struct config *config, struct why *why);
void config_free(struct config *config);
const struct master *config_master(const struct config *config, const char *name);
/* The master that has this address among its VIPs, or NULL. */
const struct master *config_owner(const struct config *config, const struct ip *ip);
/* Whether `host` is one of the master's `self` names (case does not matter). */
bool config_is_self(const struct master *master, const char *host);

/* Floor 1: keys.c ------------------------------------------------------ */

/*
 * Gives one key of the configuration its meaning in `master`; before the first
 * section that is the defaults.  `seen` collects the keys of a section, one bit
 * each, so that a second one is refused.  -EINVAL with what was expected.
 */
int keys_set(const char *name, const char *value, bool in_section, unsigned *seen,
	     struct master *master, struct why *why);
/* What holds when the file says nothing. */
void keys_default(struct master *master);
/* After a copy of the defaults: owns what they point to.  False without memory. */
bool keys_inherit(struct master *master);
void keys_free(struct master *master);

/* Floor 1: child.c ----------------------------------------------------- */

/* Runs in the child, writes to `fd`; what it returns is the child's exit status. */
typedef int (*child_work)(int fd, void *arg);

/*
 * Does the work in a child, which is killed when it has ended its output, filled the
 * buffer, or come to the deadline.  Returns how many bytes were heard, -ETIMEDOUT, or
 * another -errno.
 */
ssize_t child_hear(child_work work, void *arg, int timeout_ms, void *buffer, size_t size);

/* Floor 1: resolve.c --------------------------------------------------- */

/*
 * Resolves a host name through the system's resolver, in a child that is killed
 * at the deadline since getaddrinfo() knows none.  Returns how many addresses
 * were written (1 to `max`), -ETIMEDOUT, -ENOENT when there is no such name, or
 * another -errno.
 */
int resolve_host(const char *name, int timeout_ms, struct ip *out, size_t max);

/* Floor 1: process.c --------------------------------------------------- */

/* What a process may do, as proc(5) and capabilities(7) have it. */
struct process {
	pid_t pid;		/* 0: there is none */
	uid_t uid;		/* effective, as all here */
	gid_t gid;
	gid_t groups[32];
	size_t group_count;
	uint64_t inheritable, permitted, bounding, ambient;	/* 1 << CAP_... */
	bool no_new_privs;
	bool foreign_user_ns;	/* its capabilities say nothing here */
	char unit[128];		/* of systemd; empty: none */
	char user[64];		/* of /etc/passwd, or "uid 101" */
};

enum { USER_SIZE = sizeof(((struct process *)0)->user) };
/* The user's name as above. */
void process_name_user(uid_t uid, char user[USER_SIZE]);

/* `pid` 0 is this process.  -errno when it is gone or hidden. */
int process_read(pid_t pid, struct process *process);
/* The Sentinel of this network namespace that listens there; pid 0 when none is seen. */
void process_find_sentinel(const struct endpoint *at, struct process *process);
/* The path as that process sees it; as it stands when that cannot be looked at. */
const char *process_path(const struct process *process, const char *path, char out[PATH_MAX]);
/* Where the file of this program lies. */
const char *process_program(char out[PATH_MAX]);
/* Whether it may read, write or search (4, 2, 1) a file with these permissions. */
bool process_may(const struct process *process, const struct stat *st, unsigned bits);

/* Capabilities of a file, capabilities(7). */
struct file_caps {
	bool effective;
	uint64_t permitted, inheritable;
};
/* None where there are none or the mount is nosuid. */
void process_file_caps(const char *path, struct file_caps *caps);
/* The effective capabilities that the file gets when the process executes it.  Pure. */
uint64_t process_exec(const struct process *process, const struct file_caps *caps);

/* Floor 1: lock.c ------------------------------------------------------ */

/*
 * One run at a time for a master in a network namespace.  The lock is on a file in
 * LOCK_DIR that no unprivileged user can open or make, so none can hold it.
 * The file keeps a number that each run raises: an announcer that finds
 * another number than its own knows that a newer run has taken over.  The number is the file's
 * size, so that of two that raise it at once each gets one of its own.
 */
#define LOCK_DIR "/run/sentinel-vip"

struct lock {
	int fd;			/* -1: the file could not be had */
	bool held;
};

/* The kernel's own number of a socket's network namespace (Linux 5.14); 0 when it does not say. */
uint64_t socket_namespace(int fd);
/*
 * Waits until the deadline (clock_ms) at the longest.  -ETIMEDOUT when another
 * run kept it: then the file is open all the same, for its number.  Another -errno
 * when the directory or the file cannot be had.  `namespace` is socket_namespace()'s
 * number, the same for all who are to meet; 0: this file looks at /proc, which takes longer.
 */
int lock_take(const char *master, uint64_t namespace, double deadline_ms, struct lock *lock);
void lock_drop(struct lock *lock);
/* The number in the file; 0 when there is none yet. */
uint64_t lock_number(const struct lock *lock);
/* Raises it by one and returns the new one, which nobody else has; 0 when it cannot be written. */
uint64_t lock_raise(const struct lock *lock);
/*
 * A descriptor that becomes readable when a run raises the number; drain it with
 * lock_drain().  -1 where there is none to be had: poll(2) passes over it.
 */
int lock_watch(const char *master, uint64_t namespace);
void lock_drain(int watch);

/* Floor 1: relay.c ----------------------------------------------------- */

/* Where sentinel-vip.socket listens. */
#define RELAY_PATH "/run/sentinel-vip.socket"

enum {
	RELAY_WORDS_MAX = 256,
	RELAY_TEXT_MAX = 16384,	/* bytes; 200 names of masters */
};

enum relay_kind {
	RELAY_REQUEST = 'q',	/* text: the words, each ended by NUL; value: what follows */
	RELAY_TAKEN = 't',	/* somebody has begun with it */
	RELAY_OUT = 'o',	/* text for stdout */
	RELAY_ERR = 'e',	/* text for stderr */
	RELAY_VERDICT = 'v',	/* value: an enum verdict; the last one */
};

/* What the asking end is. */
enum {
	RELAY_PERSON = 1,	/* stderr is a terminal */
	RELAY_COLOUR = 2,	/* paint_has_colour() */
};

/* Before each packet.  All versions begin with these five bytes. */
struct relay_head {
	char magic[4];
	uint8_t version;
	uint8_t kind;
	uint8_t value;
	uint8_t zero;
};

/* One packet; `size` is of the text. */
struct relay_packet {
	struct relay_head head;
	size_t size;
	char text[RELAY_TEXT_MAX];
};

void relay_head(enum relay_kind kind, unsigned value, struct relay_head *head);
/* -EPROTO when it does not come from this program, in this version. */
int relay_check(const struct relay_head *head, size_t size, struct why *why);
/* The words as a request; -E2BIG.  Pure, as is the next one. */
int relay_pack(int argc, char *const argv[], unsigned flags, struct relay_packet *packet);
/* The words of a request, NULL at the end; they point into it.  -EPROTO, -E2BIG. */
int relay_unpack(struct relay_packet *packet, int *argc, char *argv[RELAY_WORDS_MAX + 1],
		 struct why *why);
/*
 * One packet, without waiting: its size on the wire, 0 at the end, -EAGAIN when there is none,
 * -EPROTO when it is too short or too long, another -errno.
 */
ssize_t relay_receive(int fd, struct relay_packet *packet);
int relay_send(int fd, const struct relay_packet *packet);

/*
 * Whether this process may not change the network: it lacks a capability, or its sandbox a
 * family of sockets.  Three system calls where it may.
 */
bool relay_is_needed(void);
/*
 * Has the words obeyed at the other end and passes on what is printed there; 20 s at
 * most.  -ENOENT when nobody is there and -EACCES when this user may not ask: nobody
 * has seen the words then.  After another -errno somebody may have.  With `said` nothing is
 * passed on: what would have gone to stderr is added there.
 */
int relay_ask(int argc, char *const argv[], unsigned flags, struct line *said,
	      enum verdict *verdict, struct why *why);
/* What is to be done so that relay_ask() is heard; empty when it would be. */
void relay_advise(struct why *why);

/* Floor 2: serve.c ----------------------------------------------------- */

struct request {
	int argc;
	char *argv[RELAY_WORDS_MAX + 2];	/* as of main(); points into the packet */
	struct relay_packet packet;
};

/* Who waits for the answer, and what the process itself had as stdout and stderr. */
struct session {
	int fd, out, err;
};

/*
 * The request from a connection, and who sent it to log_caller(); 3 s at most.  -EACCES when
 * who asks is neither root nor in the socket's group; -errno.
 */
int serve_receive(int fd, struct request *request, struct why *why);
/* From here on what is printed is kept for the asking end, which is told that we begin. */
int serve_begin(int fd, struct session *session, struct why *why);
/* Sends it, and the verdict, and ends the connection. */
void serve_end(struct session *session, enum verdict verdict);
/* Instead of these two. */
void serve_refuse(int fd, const struct why *why);
/* Until all children of this process have ended. */
void serve_wait(void);

/* Floor 1: sentinel.c, sentinel-answer.c ------------------------------- */

enum sentinel_question {
	SENTINEL_ADDRESS,	/* SENTINEL GET-MASTER-ADDR-BY-NAME */
	SENTINEL_MASTER,	/* SENTINEL MASTER: for its config-epoch */
	SENTINEL_FELLOWS,	/* SENTINEL SENTINELS */
	SENTINEL_REPLICAS,	/* SENTINEL REPLICAS, since Redis 5.0 */
	SENTINEL_MYID,		/* SENTINEL MYID, since Redis 6.2; of no master */
};

enum { SENTINEL_ID_SIZE = 40 + 1 };	/* redis sentinel.c: CONFIG_RUN_ID_SIZE */

/* What one Sentinel said. */
struct answer {
	enum {
		ANSWER_NONE,	/* nothing that could be understood; `error` says why */
		ANSWER_MASTER,
		ANSWER_UNKNOWN,	/* it knows no such master */
		ANSWER_DENIED,	/* NOAUTH, WRONGPASS or NOPERM; `error` quotes it */
	} kind;
	struct endpoint master;	/* of ANSWER_MASTER; a name is not resolved */
	char error[64];
};

struct sentinel;		/* one conversation: a pipeline of questions (hiredis) */

/* Prepares it, with `master`'s user and password; nothing is sent.  -ENOMEM. */
int sentinel_open(const struct master *master, const struct endpoint *at,
		  struct sentinel **sentinel);
/* Whether a conversation for the one can be the other's as well. */
bool sentinel_same_login(const struct master *a, const struct master *b);
void sentinel_close(struct sentinel **sentinel);
/* Adds a question; *index finds its answer afterwards. */
int sentinel_ask(struct sentinel *sentinel, enum sentinel_question question, const char *master,
		 size_t *index);
/*
 * Begins to connect, so that it has accepted by the time of the first question; later
 * where a host name has to be resolved for it.
 */
void sentinel_reach(struct sentinel *sentinel);
/* socket_namespace() of its socket; 0 as well before there is one. */
uint64_t sentinel_namespace(const struct sentinel *sentinel);
/* Connects and sends what can be sent without waiting, so that other work goes on. */
void sentinel_send(struct sentinel *sentinel);
/* Sends and hears all of them, until all are through or the deadline has come. */
void sentinel_hear(struct sentinel *const sentinels[], size_t count, double deadline_ms);

struct redisReply;		/* hiredis' */
/* The answer as it came, until sentinel_close(); NULL when none did. */
const struct redisReply *sentinel_reply(const struct sentinel *sentinel, size_t index);
/* That to AUTH; NULL where none was asked for as well. */
const struct redisReply *sentinel_welcome(const struct sentinel *sentinel);
/* Why nothing more will come; empty when all did. */
const char *sentinel_trouble(const struct sentinel *sentinel);

/* sentinel-answer.c */

/* A field of the answer to SENTINEL_MASTER, until sentinel_close(); NULL when it has none. */
const char *sentinel_field(const struct sentinel *sentinel, size_t index, const char *name);
/*
 * Answers to SENTINEL_ADDRESS, to SENTINEL_MASTER, and to SENTINEL_FELLOWS and
 * SENTINEL_REPLICAS.
 */
void sentinel_address(const struct sentinel *sentinel, size_t index, struct answer *answer);
bool sentinel_epoch(const struct sentinel *sentinel, size_t index, uint64_t *epoch);
bool sentinel_quorum(const struct sentinel *sentinel, size_t index, uint64_t *quorum);
/* The answer to SENTINEL_MYID, and what SENTINEL_FELLOWS has of the n-th; false: no usable one. */
bool sentinel_id(const struct sentinel *sentinel, size_t index, char id[SENTINEL_ID_SIZE]);
bool sentinel_others_id(const struct sentinel *sentinel, size_t index, size_t n,
			char id[SENTINEL_ID_SIZE]);
/* The caller frees *others; port 0 marks one that cannot be asked.  -EPROTO. */
int sentinel_others(const struct sentinel *sentinel, size_t index, struct endpoint **others,
		    size_t *count);

/* Floor 1: netlink.c --------------------------------------------------- */

struct netlink;			/* a connection to rtnetlink (libnl) */
struct nl_msg;
struct nlmsghdr;

/*
 * Opens rtnetlink.  All that is asked of it is tried again on EBUSY, EAGAIN,
 * EINTR and ENOBUFS until the deadline (clock_ms), and bounded by it.
 * -EAFNOSUPPORT where a sandbox forbids AF_NETLINK.
 */
int netlink_open(double deadline_ms, struct netlink **netlink);
void netlink_close(struct netlink **netlink);
/* socket_namespace() of its socket. */
uint64_t netlink_namespace(const struct netlink *netlink);

/* Looks at one message of an answer; NULL when the answer begins (again). */
typedef int (*netlink_listener)(void *arg, struct nlmsghdr *message);

/* A message with its fixed part; NULL without memory. */
struct nl_msg *netlink_question(int type, int flags, void *fixed, size_t size);
void netlink_free_message(struct nl_msg **msg);

/* Sends one message and hears the whole answer: the kernel's -errno, or 0. */
int netlink_ask(struct netlink *netlink, struct nl_msg *msg, netlink_listener listen, void *arg);

/*
 * Sends several in one sendmsg(), which the kernel works off whole: no signal and
 * no other request falls in between.  All are tried; the first error is
 * returned, but for EEXIST.  Not tried again.
 */
int netlink_batch(struct netlink *netlink, struct nl_msg **messages, size_t count);

/* Floor 2: vip.c, facts.c ------------------------------------------------------ */

/* An address as the kernel holds it (rtnetlink(7), RTM_NEWADDR). */
struct address {
	struct ip ip;		/* IFA_LOCAL, or IFA_ADDRESS where there is none */
	struct ip peer;		/* IFA_ADDRESS where it differs; AF_UNSPEC if not */
	uint8_t prefixlen;
	unsigned ifindex;
	uint32_t flags;		/* IFA_F_* */
	uint32_t created_cs;	/* 1/100 s since the boot, as a number that wraps; 0: not said */
	bool sealed;		/* has no local route; looked up for VIPs alone */
};

struct link {
	unsigned ifindex;
	char name[IFNAMSIZ];
	unsigned flags;		/* IFF_*; IFF_LOWER_UP is the carrier */
	unsigned type;		/* ARPHRD_* */
	uint8_t mac[ETH_ALEN];	/* of an ARPHRD_ETHER link only */
	bool only_vips;		/* has IPv4 addresses, and all are VIPs, or link-local */
	bool default_route;	/* carries an IPv4 default route; looked up for only_vips */
};

/* What the kernel said, at one moment. */
struct facts {
	struct address *addresses;
	size_t address_count;
	struct link *links;	/* only those that the question is about */
	size_t link_count;
	unsigned interface;	/* ifindex of the configured interface; 0: none, or missing */
};

/*
 * Asks for all addresses of this network namespace, and for the links that
 * matter to moving the VIPs of `master`: its interface, those that hold one of
 * its VIPs, those that hold one of the `count` addresses at `here`, and those whose
 * subnet a VIP is in.
 */
int facts_gather(struct netlink *netlink, const struct config *config, const struct master *master,
		 const struct ip *here, size_t count, struct facts *facts);
/* The same with addresses that were asked for before, unless `known` is NULL. */
int facts_gather_from(struct netlink *netlink, const struct facts *known,
		      const struct config *config, const struct master *master,
		      const struct ip *here, size_t count, struct facts *facts);
void facts_free(struct facts *facts);
const struct link *facts_link(const struct facts *facts, unsigned ifindex);
/* Only the addresses, of one family or, with AF_UNSPEC, of both. */
int vip_addresses(struct netlink *netlink, sa_family_t family, struct facts *facts);
/* One link as it is now; -ENODEV when it is gone. */
int facts_read_link(struct netlink *netlink, unsigned ifindex, struct link *link);

/*
 * Adds the VIP: never a source address (IPv6 deprecated, RFC 4862 section 5.5.4),
 * no second connected route (IFA_F_NOPREFIXROUTE; an IPv4 one with a prefix must
 * become a secondary, which the plan sees to), no duplicate address
 * detection (RFC 4429 does not fit an address that moves).  It is 0 when it
 * stands there already.  -ENODEV, -EPERM, ...
 */
int vip_add(struct netlink *netlink, const struct vip *vip, unsigned ifindex);
/* Its two halves: the request, to be freed by netlink_free_message(), and the change. */
int vip_prepare(const struct vip *vip, unsigned ifindex, struct nl_msg **request);
int vip_add_prepared(struct netlink *netlink, struct nl_msg *request);

/*
 * Deletes exactly this address.  IPv4 addresses that the kernel would take
 * along with a primary (promote_secondaries 0) are put back in the same system
 * call, so that neither a kill nor a packet falls in between.  It is 0 when it is
 * gone already.
 */
int vip_delete(struct netlink *netlink, const struct address *address);
/*
 * Leaves the IPv4 VIP there as /32 alone.  The two overlap, so that nobody's connection
 * and no packet to it is lost.
 */
int vip_narrow(struct netlink *netlink, const struct address *address);

/*
 * A socket that becomes readable when an address has gone or a link changes; drain it
 * with facts_drain().  For the announcer.
 */
int facts_watch(void);
void facts_drain(int fd);

/* Floor 2: route.c ----------------------------------------------------- */

/*
 * Takes the local route of an address away: from then on nothing that is sent to it comes in, so
 * that nobody can connect to it, while all that is sent from it, resets above all, still
 * leaves.  Adding the address anew puts the route back.  It is 0 where there is none.
 */
int route_seal(struct netlink *netlink, const struct address *address);
/* Whether no table has a local route for the address on its link. */
int route_is_sealed(struct netlink *netlink, const struct address *address, bool *sealed);
/* Marks the links that carry an IPv4 default route, whatever the table. */
int route_find_defaults(struct netlink *netlink, struct link *links, size_t count);

/* Floor 1: arp.c ------------------------------------------------------- */

/* RFC 826 over Ethernet; announcements in the sense of RFC 5227 section 2.3. */
struct arp_frame {
	uint8_t destination[ETH_ALEN];
	uint8_t source[ETH_ALEN];
	uint16_t ethertype;
	uint16_t hardware;
	uint16_t protocol;
	uint8_t hardware_size;
	uint8_t protocol_size;
	uint16_t operation;
	uint8_t sender_mac[ETH_ALEN];
	uint8_t sender_ip[4];
	uint8_t target_mac[ETH_ALEN];
	uint8_t target_ip[4];
} __attribute__((packed));

/* RFC 4861 section 4.4 with the target link-layer address option, over IPv6. */
struct na_frame {
	uint8_t destination[ETH_ALEN];
	uint8_t source[ETH_ALEN];
	uint16_t ethertype;
	uint32_t version_class_flow;
	uint16_t payload_size;
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t from[16];
	uint8_t to[16];
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	uint32_t flags;
	uint8_t target[16];
	uint8_t option_type;
	uint8_t option_size;	/* in units of 8 octets */
	uint8_t option_mac[ETH_ALEN];
} __attribute__((packed));

/* Request: sender = target = VIP, target hardware address 0 (RFC 5227 section 3). */
void arp_build_request(const uint8_t mac[ETH_ALEN], struct in_addr vip, struct arp_frame *frame);
/*
 * Reply: sender = target, the sender's hardware address in both places.  With
 * ff:ff:.. as target Linux takes the reply for a broadcast answer and ignores it
 * inside the neighbour entry's locktime.
 */
void arp_build_reply(const uint8_t mac[ETH_ALEN], struct in_addr vip, struct arp_frame *frame);
/*
 * Unsolicited neighbour advertisement to ff02::1 from the VIP: Override set,
 * Solicited and Router clear (RFC 4861 section 7.2.6), hop limit 255 (section 7.1.2),
 * checksum of RFC 8200 section 8.1.
 */
void arp_build_advertisement(const uint8_t mac[ETH_ALEN], const struct in6_addr *vip,
			     struct na_frame *frame);

/*
 * A packet socket that sends and hears nothing.  -EPERM without CAP_NET_RAW,
 * -EAFNOSUPPORT where a sandbox forbids AF_PACKET.
 */
int arp_open(int *fd);
/* Whether one of these interfaces of this host, getifaddrs(3)'s, has the hardware address. */
struct ifaddrs;
bool arp_is_own(const struct ifaddrs *interfaces, const uint8_t mac[ETH_ALEN]);
/* Sends a whole frame out of a link, without waiting.  -ENETDOWN, -ENXIO, -ENOBUFS, ... */
int arp_send(int fd, const struct link *link, const void *frame, size_t size);
/* Whether frames of ours mean anything on this link: Ethernet that does ARP. */
bool arp_works_on(const struct link *link);
/*
 * Sends what the address's family takes, from the link's MAC: an ARP request and
 * an ARP reply, or a neighbour advertisement.  -ENETDOWN, -ENXIO, -ENOBUFS, ...
 * Success does not mean that it left: look at IFF_LOWER_UP.
 */
int arp_announce(int fd, const struct link *link, const struct ip *vip);
/*
 * The same, but before each frame it looks whether `watch`, a descriptor, has become
 * readable: then that frame is not sent, nor the next, and it is -EAGAIN.
 */
int arp_announce_unless(int fd, int watch, const struct link *link, const struct ip *vip);

/* Floor 1: diag.c ------------------------------------------------------ */

/* A TCP socket of this network namespace, as the kernel lists it (inet_diag, libmnl). */
struct diag_socket {
	uint8_t family;
	bool over;		/* only what is left of a closed one */
	bool v6_only;		/* a listener that takes no IPv4 */
	uint8_t id[48];		/* struct inet_diag_sockid, cookie included */
};

/* Which of them are meant. */
struct diag_question {
	uint32_t states;	/* one bit each, TCP_ESTABLISHED and so on */
	uint16_t port;		/* local; 0: any */
	const struct ip *ips;	/* a hint: others may be listed as well */
	size_t ip_count;	/* 0: any */
	bool remote;		/* the addresses are the other end's, not the local ones */
};

/* Looks at one socket; NULL when the list begins (again). */
typedef int (*diag_listener)(void *arg, const struct diag_socket *socket);

/*
 * Lists sockets of both families, again where memory was short; bounded by the deadline
 * (clock_ms).  -EOPNOTSUPP where the kernel lists none.
 */
int diag_list(const struct diag_question *question, double deadline_ms, diag_listener listen,
	      void *arg);
/* Its local address; IPv4's when it is v4-mapped. */
struct ip diag_ip(const struct diag_socket *socket);
/* The address of its other end, likewise. */
struct ip diag_remote(const struct diag_socket *socket);
/* Whether they are the two ends of one connection, of whichever families. */
bool diag_are_ends(const struct diag_socket *one, const struct diag_socket *other);
/*
 * Destroys exactly these and adds to *destroyed how many there still were, on an error, too.
 * -errno as tcp_destroy().
 */
int diag_destroy(const struct diag_socket *sockets, size_t count, double deadline_ms,
		 size_t *destroyed);

/* Floor 2: tcp.c ------------------------------------------------------- */

/*
 * TCP connections of this network namespace.
 * A connection is any socket but a listener whose local address is the VIP; IPv4
 * connections of an IPv6 listener (v4-mapped) are IPv4's.  Every call is bounded by
 * the deadline (clock_ms).
 */

/* connections[i] gets the number of those on ips[i]. */
int tcp_count(const struct ip *ips, size_t count, double deadline_ms, size_t connections[]);
/*
 * Destroys them (SOCK_DESTROY), so that each peer is sent a reset: only while the
 * address still stands, since afterwards the reset cannot leave.  *destroyed gets how many.
 * -EOPNOTSUPP where the kernel was built without CONFIG_INET_DIAG_DESTROY,
 * -EPERM without CAP_NET_ADMIN.
 */
int tcp_destroy(const struct ip *ips, size_t count, double deadline_ms, size_t *destroyed);
/*
 * Finds the connections that this network namespace has with these addresses, all of which stand
 * here, as they stood elsewhere: those whose other end is not here.  No reset of the host that they lead
 * to can reach them, its source being local by now, and one that only waits would wait for
 * ever.  Not those that are still being made: their next SYN comes here.  Nor those that the
 * other end has closed, which know it.  They are to be ended by diag_destroy(), which is right even
 * when the addresses have left since.  The caller frees *found.
 */
int tcp_find_stranded(const struct ip *ips, size_t count, double deadline_ms,
		      struct diag_socket **found, size_t *found_count);
/* Whether somebody listens at the port on the wildcard of the family, on a wildcard that
 * takes both, or on the address itself. */
int tcp_listens(const struct ip *ip, uint16_t port, double deadline_ms, bool *listens);

/* Floor 1: probe.c ----------------------------------------------------- */

/* Who answers for an address on a link. */
struct holder {
	struct ip ip;
	uint8_t mac[ETH_ALEN];
	bool announced;		/* to all, unasked: it claims the address */
};

/* A packet socket that hears ARP and neighbour discovery on one link, nonblocking. */
int probe_open(const struct link *link, int *fd);
/*
 * Asks the link who has the address: an ARP probe with sender 0 (RFC 5227 section 2.1.1),
 * or a neighbour solicitation from :: to the solicited-node address (RFC 4862
 * section 5.4.2).  The host itself does not hear it.
 */
int probe_send(int fd, const struct link *link, const struct ip *ip);
/* Whether a frame says who has an address, and who that is.  Pure; any bytes will do. */
bool probe_read(const void *frame, size_t size, struct holder *holder);
/*
 * Takes what was heard: 1 and a holder when a frame says that another MAC than the
 * link's has one of the addresses; 0 when there is nothing more to be heard now.
 */
int probe_hear(int fd, const struct link *link, const struct ip *ips, size_t count,
	       struct holder *holder);

/* Floor 2: neighbours.c ------------------------------------------------ */

enum { HOLDERS_MAX = 4 };	/* of one address; further ones are not told apart */

/* Who answers for an address on a link, but this host. */
struct question {
	const struct link *link;
	struct ip ip;
	bool asked;		/* false: the link could not be asked */
	struct why why;		/* ... for this reason */
	size_t holder_count;
	uint8_t holders[HOLDERS_MAX][ETH_ALEN];
};

/*
 * Asks the links all of the questions at once, twice, and listens NEIGHBOURS_MS.  Hardware
 * addresses of this host's own interfaces are left out: it answers itself where two
 * of them are on one switch.  -ENOMEM.
 */
enum { NEIGHBOURS_MS = 220 };
int neighbours_ask(struct question questions[], size_t count);

/* Floor 3: truth.c, council.c ------------------------------------------ */

/* Who is master. */
struct truth {
	enum { TRUTH_ELSEWHERE, TRUTH_HERE, TRUTH_LOOK } where;	/* LOOK: `ips` decide */
	struct endpoint master;		/* empty when a person said claim or release */
	struct ip ips[RESOLVED_MAX];	/* of the master */
	size_t ip_count;
	struct ip from;			/* the old master's; AF_UNSPEC if not known */
};

/*
 * What is true when `at` is the master: from `self`, whatever a resolver would say; from its
 * address; else from the resolver, `timeout_ms` at most.  -errno as resolve_host().
 */
int truth_of(const struct master *master, const struct endpoint *at, int timeout_ms,
	     struct truth *truth, struct why *why);

/* What one Sentinel of those that watch a master said. */
struct vote {
	struct endpoint sentinel;
	char id[SENTINEL_ID_SIZE];	/* of the Sentinel that is known there; empty: not said */
	struct answer answer;
	struct ip *ips;		/* of a name that was resolved; NULL: it was not */
	size_t ip_count;
	bool here;		/* a name of `self`; or, where votes differ, an address of this host */
	bool has_epoch;
	uint64_t epoch;		/* config-epoch: each failover has a higher one */
};

/* The same for what a vote has named, whose addresses are known already. */
int truth_of_vote(const struct master *master, const struct vote *vote, int timeout_ms,
		  struct truth *truth, struct why *why);

enum { COUNCIL_ASKED_MAX = 500 };	/* Sentinels of all masters together: a process may open 1024 files */

/* All known Sentinels of a master; the local one is the first. */
struct council {
	struct vote *votes;
	size_t count;
	bool blind;		/* the local one did not say who the others are */
	uint64_t quorum;	/* as the local one has it; 0: it did not say */
	size_t unasked;		/* of the Sentinels, since there are more than this program asks */
};

/*
 * Asks the masters' local Sentinels who their fellows are, then all of these at
 * once, until the deadline (clock_ms).  councils[i] is of masters[i], and to be
 * freed by council_free().  -ENOMEM; whoever did not answer is a vote that says so, and
 * who is another Sentinel than the one known at its address has not answered.
 */
int council_ask(const struct master *const masters[], size_t count, double deadline_ms,
		struct council councils[]);
void council_free(struct council *council);

/*
 * Sentinel's own rule: when a majority of all known Sentinels has answered, the
 * vote with the highest config-epoch; the first where several stand there.  NULL when there is
 * no majority, when those at the highest epoch may mean two masters, or when fewer
 * are known than the quorum.  With `but_local` the local one counts among those known but is
 * not listened to, and a name that does not resolve contradicts nobody.  Pure, as all below.
 */
const struct vote *council_decide(const struct council *council, bool but_local);
/*
 * Whether nothing is decided for this reason alone: at the highest epoch one name stands
 * against another, or against an address.  A host that hears this is not cut off.
 */
bool council_differs_by_names(const struct council *council);
/*
 * Whether both votes, of ANSWER_MASTER, mean the same master for sure: by the same address or name,
 * by an address that a name resolves to, or since both are this host.
 */
bool vote_same(const struct vote *a, const struct vote *b);
/* The same for one that was heard elsewhere. */
bool vote_names(const struct vote *vote, const struct endpoint *at);
/*
 * Whether fewer are known than must agree before a failover, which is so for some seconds
 * after the local one was started from a new file or reset: a majority of those says nothing.
 */
bool council_is_small(const struct council *council);
/* "127.0.0.1:26379: 10.0.0.1:6379 (epoch 3), 10.0.0.2:26379: it did not answer in time" */
void council_tell(const struct council *council, struct line *line);
/* "10.0.0.1:6379, epoch 3" or "it did not answer in time" */
void vote_tell(const struct vote *vote, struct line *line);

/* Floor 3: plan.c ------------------------------------------------------ */

enum step_kind { STEP_DELETE, STEP_ADD, STEP_ANNOUNCE, STEP_NARROW };

/* One thing to do, in the order it stands; pointers into config and facts. */
struct step {
	enum step_kind kind;
	const struct vip *vip;
	const struct link *link;
	const struct address *address;	/* STEP_DELETE, STEP_NARROW */
	uint8_t prefixlen;	/* STEP_ADD: the VIP's own, or all bits */
	struct nl_msg *request;	/* STEP_ADD: from apply_prepare(), or NULL */
	bool done;		/* set by apply_plan() */
	bool unsent;		/* STEP_ANNOUNCE, likewise: done but for the frame, which is repeated */
};

struct plan {
	enum { PLAN_CLAIM, PLAN_RELEASE } decision;
	struct step *steps;
	size_t step_count;
	bool kill_connections;	/* of the addresses that are deleted, before and after */
	const struct lock *lock;	/* while it has this number nobody newer is at work */
	uint64_t number;	/* 0: nobody is asked */
	unsigned left;		/* VIPs on loopback, of which one is named */
	struct line warning;	/* what the operator should know; may be empty */
};

/*
 * Works out what this host must do so that it holds the master's VIPs when the
 * truth is here, and none of them when it is elsewhere.  Pure; keeps pointers into
 * config and facts, which must outlive the plan.
 * -EPERM when it is refused (a VIP that is a server's own address), -ENODEV when
 * the interface is missing, -ENETDOWN when it is administratively down.
 */
int plan_make(const struct config *config, const struct master *master,
	      const struct truth *truth, const struct facts *facts, struct plan *plan,
	      struct why *why);
void plan_free(struct plan *plan);
/* Whether the address, which stands, can be used: an IPv6 one may be barred, or it is sealed. */
bool plan_is_usable(const struct address *address);
/* Whether the address is one of this network namespace's own. */
bool plan_is_local(const struct facts *facts, const struct ip *ip);
/* Whether the master is this host. */
bool plan_is_here(const struct truth *truth, const struct facts *facts);
/* Whether it adds or deletes anything. */
bool plan_changes(const struct plan *plan);
/* Leaves out announcements of what is not added. */
void plan_quiet(struct plan *plan);

/* Floor 4: apply.c ----------------------------------------------------- */

/* What a run has to say for itself. */
struct outcome {
	struct line done;	/* empty: nothing had to be done */
	struct line warning;	/* what the operator should know; may be empty */
	unsigned unannounced;	/* VIPs, of which one is named */
	struct {
		const char *name;
		double ms;
	} laps[LAPS_MAX];	/* what took how long; made text when all is done */
	unsigned lap_count;
	double begun_ms, lap_ms;	/* clock_ms() of the start and of the last lap */
};

/* Milliseconds since the last lap, and begins a new one. */
double outcome_lap(struct outcome *outcome);
/* Names what the lap that ends here was spent on. */
void outcome_step(struct outcome *outcome, const char *name);

/* Makes what apply_plan() will need, as far as that changes nothing; it works without as well. */
void apply_prepare(struct plan *plan);
/*
 * Carries the plan out, then reads back that the kernel agrees.  `packet` is
 * arp_open()'s, or -1 when nothing is to be announced.  An announcement that
 * cannot be sent is a warning: the address stands, and the announcer comes after.
 * So are connections that cannot be destroyed.
 * -errno with the first reason; all steps are tried, what was done stands, and a
 * second run goes on from there.  -ESTALE when a newer run has begun before a delete: what that one
 * has put there is not taken away.
 */
int apply_plan(struct netlink *netlink, int packet, struct plan *plan,
	       struct outcome *outcome, struct why *why);
/* The plan as a list on stdout; changes nothing.  -errno of the write. */
int apply_print(const struct master *master, const struct plan *plan, const char *reason);

/* Floor 3: conflict.c -------------------------------------------------- */

enum {
	STRAND_LOOKS = 2,	/* unless the first finds nothing */
	TAPS_MAX = 16,		/* links of one master's VIPs that are listened to */
	PROBES = 2,		/* after a claim, whether or not anybody answers */
};

/* A link that is listened to. */
struct tap {
	unsigned ifindex;
	int fd;			/* probe_open()'s */
};

struct taps {
	struct tap items[TAPS_MAX];
	size_t count;
};

/* An address that is announced.  Moments are clock_ms()'s, -1 when there is none. */
struct target {
	struct ip ip;
	struct link link;	/* as it was at the last look */
	unsigned added;		/* just now: so many looks for connections of this host that it has stranded */
	unsigned repeat;	/* the next one of the schedule */
	bool owed;		/* an announcement could not leave: no carrier, or a new MAC */
	double begun_ms, end_ms;	/* of the schedule */
	/* the conflict, if there is one */
	unsigned probes;	/* sent */
	unsigned heard;		/* frames of another host that has the address */
	uint8_t others[HOLDERS_MAX][ETH_ALEN];	/* those that were named */
	size_t other_count;
	uint8_t other[ETH_ALEN];	/* the one that was heard last */
	double again_ms;	/* when to announce once more because of it */
	double talked_over_ms;	/* when that was done last */
	double verdict_ms;	/* when the last probe's answer must have come */
	bool answered;		/* since the last probe */
	double probed_ms;	/* when the last probe was sent */
	bool challenged;	/* another host has announced it since, unasked */
	bool superseded;	/* and may well be right: not to be announced any more */
	bool judged;
};

/* Listens to the links of the targets; what cannot be listened to is left out. */
void conflict_open(struct taps *taps, const struct target *targets, size_t count);
/* When this target has something to do; negative when it has not. */
double conflict_next(const struct target *target);
/* Whether it is to be announced now because of a conflict; says so once. */
bool conflict_wants_announcement(struct target *target, double now_ms);
/* Probes when it is time to.  `repeated`: it has just been announced by the schedule. */
void conflict_probe(const struct taps *taps, struct target *target, bool repeated, double now_ms);
/*
 * Takes what was heard; another holder is logged when it is heard first.  True when
 * something of it was about one of the targets.
 */
bool conflict_hear(const char *master, const struct taps *taps, struct target *targets,
		   size_t count);
/* Logs those that are still held elsewhere at the end. */
void conflict_report(const char *master, const struct target *targets, size_t count);

/* Floor 3: strand.c ---------------------------------------------------- */

/* Connections that are to end. */
struct strands {
	struct ip *ips;		/* that they lead to */
	size_t ip_count;
	struct diag_socket *sockets;
	size_t count;
	int error;		/* why they could not be found */
	bool looked;
};

/*
 * Looks for what tcp_find_stranded() says, for the targets that were added, which must stand here: under
 * the lock, so that no run of ours takes them away meanwhile.
 */
void strand_find(const struct target *targets, size_t count, struct strands *strands);
/*
 * Ends them and says how many there were, or why it could not.  Frees them.  Whether there is
 * to be another look, for those that this one may have missed.
 */
bool strand_end(const char *master, struct target *targets, size_t count, struct strands *strands);

/* Floor 4: announce.c -------------------------------------------------- */

/*
 * Goes on announcing the plan's VIPs from a detached child after the first
 * announcement: its own session, no descriptor of the caller's but `packet`.  The child
 * also ends the connections that an added VIP has stranded, unless kill-connections is no; for
 * that alone where nothing is to be announced again.
 * It ends with the schedule, or as soon as no VIP of the plan is on its link, or when the
 * lock's number is no longer `number` (0: not looked at), or when, another host having
 * announced one of them or this one having been frozen, the Sentinels say that the master is
 * elsewhere.
 * Returns in the caller only, 0 or -errno of the fork.
 */
int announce_detach(int packet, const struct master *master, const struct plan *plan,
		    uint64_t number);

/*
 * When the n-th repeat of an address's announcement is due, in ms after the
 * first; -1 when there is none.  IPv4 follows the schedule; IPv6 takes those
 * entries that lie 1 s apart, two at most (RFC 4861 section 7.2.6:
 * MAX_NEIGHBOR_ADVERTISEMENT, RetransTimer).
 */
int announce_due(const struct schedule *schedule, sa_family_t family, unsigned n);

/* Floor 4: hook.c ------------------------------------------------------ */

enum { HOOK_MS = 30000 };	/* then it is killed, with all that it has started */

/*
 * Runs the master's after-claim when the plan, carried out, has added a VIP, or its after-release
 * when it has deleted one, in a session of its own under a process that keeps it.
 * `reason` says why the VIP has moved.  Returns in the caller only, at once: 0, also when there
 * is nothing to be run, or -errno of the fork.
 */
int hook_detach(const struct master *master, const struct plan *plan, const struct truth *truth,
		const char *reason);
/*
 * What that process does; it loses its capabilities for good, and descriptors that the
 * hook must not have close on exec.  Returns when the hook and all that it
 * has started are gone, `limit_ms` at the longest and a second to kill them; all that there is
 * to say of it is logged.
 */
void hook_keep(const char *master, const char *event, const char *path,
	       char *const environment[], int limit_ms);

/* Floor 4: refresh.c --------------------------------------------------- */

/* A VIP that stands where it should, as a sync has found it. */
struct standing {
	const struct master *master;
	struct ip ip;
	unsigned ifindex;
};

struct standings {
	struct standing *items;
	size_t count;
};

/* Remembers what stands by a plan that changes nothing.  -ENOMEM. */
int refresh_add(struct standings *standings, const struct master *master,
		const struct plan *plan);
/*
 * Announces each once, if it still stands: in one look at the kernel for all.  What another run has
 * the lock of is left out, and all that is left when anything changes meanwhile.
 */
void refresh_send(const struct standings *standings);
void refresh_free(struct standings *standings);

/* Floor 5: run.c ------------------------------------------------------- */

/* One run for one master; every way in goes through these. */
struct run {
	const struct config *config;
	const struct master *master;
	struct truth truth;
	struct sentinel *sentinel;	/* the local one, in Sentinel's call */
	struct netlink *netlink;
	const struct facts *known;	/* addresses that were just asked for, or NULL */
	struct facts facts;
	double gathered_ms;	/* when the kernel had said them all */
	struct plan plan;
	struct lock lock;
	uint64_t asked_at;	/* the lock's number before Sentinel was asked; UINT64_MAX: not */
	int packet;
	bool verified;		/* a Sentinel has said who is master */
	bool ready;		/* the plan was made from the arguments, before Sentinel answered */
	bool planned;		/* there is a plan, so it is known whether this is the master's */
	bool applied;		/* the kernel may have been changed */
	struct line note;	/* what came between the arguments and the truth */
	struct outcome outcome;
	struct why why;
};

void run_begin(struct run *run, const struct config *config, const struct master *master);
/* The run began earlier, with something that took until now. */
void run_measure(struct run *run, double begun_ms, const char *name);
void run_free(struct run *run);

/* The whole of a person's claim or release; -errno with run->why. */
int run_by_hand(struct run *run, bool claim, bool dry_run);

/*
 * The parts, for Sentinel's call and for sync: lock, from what the Sentinels said to
 * run->truth (-EAGAIN when they do not say it), then facts (alone, or with the plan), the
 * plan, then apply, or print where nothing is to be changed.
 */
int run_lock(struct run *run, int wait_ms, bool failover);
int run_decide(struct run *run, const struct council *council, int resolve_ms);
int run_gather(struct run *run);
int run_make_plan(struct run *run);
int run_plan(struct run *run);
int run_apply(struct run *run);
int run_finish(struct run *run, bool dry_run);
/* Overtaken, so that it begins anew: what it has moved already is told to the hook. */
void run_again(struct run *run);

/*
 * Whether the failure may pass by itself and a replay of the same arguments is
 * safe, because Sentinel could be asked and so will be able to correct them.
 */
bool run_may_be_replayed(const struct run *run, int err);
/* The plan of a run on stdout, which changes nothing. */
int run_print(const struct run *run);
/* Logs the one line of the run. */
void run_report(const struct run *run, int err);
/* Last of all: starts the hook, if one is wanted; the run has its verdict and nobody waits. */
void run_hook(const struct run *run);

/* Floor 6: call.c ------------------------------------------------------ */

/* The whole of Sentinel's call; -errno with run->why. */
int call_run(struct run *run, const struct event *event, bool dry_run);

/* Floor 6: change.c ---------------------------------------------------- */

/* What the masters of one sync have in common, so that many cost no more than they must. */
struct common {
	struct netlink *netlink;	/* NULL: not open */
	double netlink_ms;		/* clock_ms() when it was opened */
	int packet;			/* a packet socket, once one has been opened; else -1 */
	double resolve_ms;		/* until when names are resolved, of all masters together */
	double deadline_ms;		/* what is not begun by then is left to the next sync */
	bool announce;			/* what stands is announced again */
	bool many;			/* masters */
};

/* These two around all that a run does. */
void common_lend(struct common *common, struct run *run);
void common_take_back(struct common *common, struct run *run);
void common_free(struct common *common);

/* A run that has found something to be changed. */
struct change {
	struct run *run;	/* malloc()ed and begun; NULL: there is nothing, or nothing any more */
	bool fence;		/* without a truth the VIP is given up */
	unsigned tries;		/* how often other runs were faster */
	enum verdict verdict;	/* once it is through */
};

/*
 * Decides each once more, under its lock and by asking again, and makes it.  Locks are taken as far
 * as nobody else has them, and all of those masters are asked in one.  Locks of others are
 * waited for 300 ms in all, while none is held, and left then with a word in the log.  No
 * change has a run afterwards, and each has a verdict.
 */
void change_all(struct change changes[], size_t count, struct common *common);
/* It is through with that: reports it, starts the hook, has a verdict and no run. */
void change_end(struct change *change, int err);
/* The same without a word. */
void change_drop(struct change *change);

/* Floor 6: sync.c ------------------------------------------------------ */

struct sync_options {
	bool announce;		/* announce again what stands already */
	bool dry_run;
	bool person;		/* somebody watches: say it when there is nothing to do */
};

/*
 * Asks all Sentinels of each master who it is and makes this host agree; the
 * worst verdict of all.  Silent where nothing changes.
 */
enum verdict sync_masters(const struct config *config, const struct master *const masters[],
			  size_t count, const struct sync_options *options);

/* Floor 6: survey.c ---------------------------------------------------- */

/* Who accepts connections at a VIP. */
enum listening {
	LISTENING_UNKNOWN,	/* it was not asked, or the kernel does not say */
	LISTENING_THERE,
	LISTENING_ELSEWHERE,	/* not there, but at the server's own address */
	LISTENING_NOWHERE,
};

/* One VIP as it is found. */
struct sighting {
	const struct vip *vip;
	const struct link *link;	/* where it belongs on this host; NULL: nowhere */
	bool here;			/* stands here, on any link but loopback */
	struct question question;	/* who else answers for it on `link` */
	size_t connections;		/* TCP, of this host */
	enum listening listening;	/* on the master's port, where the VIP stands on its host */
};

/* What there is to know of one master; facts and plan are those of the run. */
struct state {
	struct run run;
	struct council council;
	bool known;			/* who is master is in run.truth */
	bool here;			/* it is this host */
	bool blind;			/* the kernel did not tell its addresses */
	int error;			/* of the first that failed: truth, facts, plan; run.why */
	struct plan claim;		/* as if this host were the master */
	int claim_error;
	struct why claim_why;
	struct sighting *sightings;	/* one for each VIP */
};

struct survey {
	struct state *states;		/* one for each master */
	size_t count;
	struct question *hosts;		/* the masters' and the Sentinels' own addresses */
	size_t host_count;
	int connections_error;		/* -errno when connections could not be counted */
};

/*
 * Looks at everything at once and changes nothing: what the Sentinels say, where the
 * VIPs stand and should, who answers for them, their connections.  Done in
 * SURVEY_MS whatever the number of masters.  -ENOMEM.  Keeps pointers to config and masters.
 */
enum { SURVEY_MS = 2500 };
int survey_take(const struct config *config, const struct master *const masters[],
		size_t count, struct survey *survey);
void survey_free(struct survey *survey);
/* The address of a server or a Sentinel that answers with this MAC; NULL: none does. */
const struct ip *survey_host(const struct survey *survey, const uint8_t mac[ETH_ALEN]);
/*
 * Whether the n-th that answers for the VIP should not: this host is the master; or the
 * master's own address answers with another MAC; or, where that says nothing,
 * there are several, or it should say something and the one is known for another host.
 */
bool survey_is_intruder(const struct survey *survey, const struct state *state,
			const struct sighting *sighting, size_t n);
/*
 * Whether the server of this host, whose own addresses these are, can be reached at the VIP; where
 * none of them is known it is taken to run elsewhere.  -errno of tcp_listens().
 */
int survey_listening(const struct ip *vip, const struct ip *own, size_t own_count, uint16_t port,
		     double deadline_ms, enum listening *listening);
/* What to type when it cannot. */
const char *survey_listening_remedy(enum listening listening);

/* Floor 7: status.c, check.c ------------------------------------------- */

/*
 * Says for each master who is master, where its VIPs stand and whether that is
 * right, on stdout, as text or as JSON.  AGREES when all is right, TRANSIENT when
 * something is not, PERMANENT when it could not be found out.
 */
enum verdict status_masters(const struct config *config, const struct master *const masters[],
			    size_t count, bool json);

/* What status makes of one master. */
enum { PROBLEMS_MAX = 16 };
struct judgement {
	enum verdict verdict;		/* as of status_masters() */
	size_t problem_count;
	struct why problems[PROBLEMS_MAX];	/* the first one is the worst */
	struct why summary;		/* the verdict in words */
	struct why remedy;		/* what to type; may be empty */
};

/* Pure.  Carriers and who listens at the VIPs are judged with `whole`; check says those by itself. */
void status_judge(const struct survey *survey, const struct state *state, bool whole,
		  struct judgement *judgement);
/* "right", "wrong" or "unknown" */
const char *status_word(enum verdict verdict);
/* status-json.c: all of it on stdout, one object. */
void status_json(const struct survey *survey, const struct judgement judgements[],
		 enum verdict verdict);

/*
 * Looks for what would break a failover and says the remedy for each finding, on stdout.
 * AGREES, or TRANSIENT with any that must be mended.
 */
enum verdict check_masters(const struct config *config, const char *config_path,
			   const struct master *const masters[], size_t count);
/* The same where the configuration is refused already. */
enum verdict check_refused(const char *config_path, int err, const struct why *why);

/* What the parts of check write into; check.c prints it. */
enum level { LEVEL_TITLE, LEVEL_OK, LEVEL_WARNING, LEVEL_ERROR };

struct finding {
	enum level level;
	const char *topic;	/* a literal */
	struct why text;
	struct why remedy;	/* a command or a setting to type; empty where all is well */
};

struct report {
	struct finding *findings;
	size_t count;
	bool incomplete;	/* no memory */
};

/* What the findings after it are about; `topic` is NULL then. */
void report_add(struct report *report, enum level level, const char *topic, const char *format,
		...) PRINTF(4, 5);
/* Of the finding that was added last. */
void report_remedy(struct report *report, const char *format, ...) PRINTF(2, 3);
/* A reason of the form "what is wrong: what to do". */
void report_why(struct report *report, enum level level, const char *topic,
		const struct why *why);

/* check-host.c: the configuration, and what the kernel can do. */
void check_host(const struct config *config, const char *config_path, struct report *report);

/* check-link.c: the interfaces that VIPs belong on. */
void check_links(const struct survey *survey, struct report *report);

/* check-process.c: a master's local Sentinel, and what it lets this program do. */
void check_local(const struct state *state, const char *config_path, struct process *process,
		 struct report *report);
/* Whether a Sentinel listens on this host. */
bool check_is_near(const struct state *state, const struct endpoint *at);

/*
 * check-systemd.c: its unit; `name` is empty when the process is not known.  False when it
 * keeps this program from its work, which is to ask the relay where it is `relayed`.
 */
bool check_unit(const char *name, const char *program, bool relayed, struct report *report);
/* Of the same output: why a unit whose Sentinel is not seen does not run. */
void check_unit_stopped(const char *output, const char *program, struct report *report);
/*
 * Judges what `systemctl show` printed of one or several units: the sandbox that they put
 * this program in.  Returns how many units were there.  Pure.
 */
size_t check_unit_judge(const char *output, const char *program, bool relayed,
			struct report *report, unsigned *errors);
/* What systemctl prints when it is called with these; 0 without systemd, -errno. */
ssize_t check_systemctl(const char *const words[], char *output, size_t size);
bool check_booted(void);

/* check-relay.c: whether the relay is how this process is meant to be helped. */
bool check_relay_is_way(const struct process *process);
/* Whether it would be; `auth_path` may be NULL. */
void check_relay(const struct process *process, const struct master *master, const char *config_path,
		 struct report *report);
/* The timer for sync, where it is installed. */
void check_timer(struct report *report);

/*
 * check-redis.c: whether those of a master's servers that are on this host listen on the
 * VIP.  False when there is none, so that this host never has to hold it.
 */
bool check_redis(const struct state *state, const struct endpoint *replicas, size_t count,
		 struct report *report);

/* check-sentinel.c: what the Sentinels know of the masters. */
void check_sentinels(const struct survey *survey, const char *config_path,
		     struct report *report);

#endif
