/* SPDX-License-Identifier: MIT */
/*
 * What is run in the fault sweep, and the oracle: what must be true after every point, whatever
 * failed. It asks the kernel, the peer and the processes; of the program it takes the exit status
 * alone, and holds it to that.
 */
#include "faults.h"
#include "netns-fake.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUR4 "10.0.0.1"
#define OUR6 "fd00::1"
#define PEER4 "10.0.0.2"
#define PEER6 "fd00::2"
#define VIP_A "10.0.0.250"
#define VIP_B "10.0.0.251"
#define VIP_6 "fd00::250"

#define CALL(to) "mymaster", "leader", "start", "10.0.0.9", "6379", to, "6379"
#define KEYS_3 "vip = " VIP_A "\nvip = " VIP_B "/24\nvip = " VIP_6 "\n"

enum {
	FOREGROUND_MS = 20000, /* the promise: no run takes longer */
	REST_MS = 13000,       /* the schedule, the announcer's grace of 10 s, and a bit */
	PORT = 6379,
};

/* The host's own: two addresses of one subnet, another master's VIP; .5 is a secondary. */
#define OWN                                                                                        \
	{OUR4 "/24", false, true}, {"10.0.0.5/24", false, true}, {OUR6 "/64", false, true},        \
	{                                                                                          \
		"10.0.0.77/32", true, false                                                        \
	}

static const struct state_address without[] = {OWN, {NULL, false, false}};
static const struct state_address with[] = {
	OWN,
	{VIP_A "/32", true, false},
	{VIP_A "/24", true, true}, /* somebody's copy */
	{VIP_B "/24", true, true},
	{VIP_6 "/128", true, false},
	{NULL, false, false},
};
/* The VIP came first, so that the host's own address is its secondary. */
static const struct state_address primary[] = {
	{VIP_B "/24", true, true},
	OWN,
	{NULL, false, false},
};
static const struct state_address wrong[] = {
	OWN,
	{VIP_A "/24", true, true},
	{NULL, false, false},
};

const struct scene scenes[] = {
	{.name = "claim",
	 .argv = {"claim", "mymaster"},
	 .votes = "-",
	 .here = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "claim-again",
	 .argv = {"claim", "mymaster"},
	 .votes = "-",
	 .here = true,
	 .before = wrong,
	 .keys = "vip = " VIP_A "\n"},
	{.name = "release",
	 .argv = {"release", "mymaster"},
	 .votes = "-",
	 .before = with,
	 .keys = KEYS_3},
	{.name = "release-primary",
	 .argv = {"release", "mymaster"},
	 .votes = "-",
	 .before = primary,
	 .keys = "vip = " VIP_B "/24\n"},
	{.name = "sync-here",
	 .argv = {"sync", "mymaster"},
	 .votes = "A",
	 .here = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "sync-away",
	 .argv = {"sync", "mymaster"},
	 .votes = "B",
	 .before = with,
	 .keys = KEYS_3},
	{.name = "event-here",
	 .argv = {CALL(OUR4)},
	 .votes = "A",
	 .here = true,
	 .by_sentinel = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "event-away",
	 .argv = {CALL(PEER4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "event-stale",
	 .argv = {CALL(OUR4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .stale = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "serve-here",
	 .argv = {CALL(OUR4)},
	 .votes = "A",
	 .here = true,
	 .by_sentinel = true,
	 .relay = true,
	 .before = without,
	 .keys = KEYS_3,
	 .fresh = true},
	{.name = "serve-away",
	 .argv = {CALL(PEER4)},
	 .votes = "B",
	 .by_sentinel = true,
	 .relay = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "status",
	 .argv = {"status"},
	 .votes = "A",
	 .here = true,
	 .reads = true,
	 .before = with,
	 .keys = KEYS_3},
	{.name = "check",
	 .argv = {"check"},
	 .votes = "A",
	 .here = true,
	 .reads = true,
	 .before = with,
	 .keys = KEYS_3},
};
const size_t scene_count = sizeof scenes / sizeof *scenes;

static const char *const vips[] = {VIP_A, VIP_B, VIP_6, NULL};
static struct lab_host *us, *peer;
static struct lab_capture *eyes;
static struct fake *sentinels[3];
static int listener = -1;
static struct alloc_shared *allocations;
static char preload[512];

/* What an undisturbed run begins with and ends in. */
static struct state before, after;
static int files_before;

/* ---- connections ---- */

enum { CONNECTIONS = 4 };

static struct connection {
	const char *to;
	bool vip;
	int near, far;
} connections[CONNECTIONS] = {
	{OUR4, false, -1, -1},
	{VIP_A, true, -1, -1},
	{VIP_B, true, -1, -1},
	{VIP_6, true, -1, -1},
};

static int make_listener(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int fd = lab_socket(us, AF_INET6, SOCK_STREAM, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 64) < 0)
		lab_fail("listen: %m");
	return fd;
}

static void close_connection(struct connection *c)
{
	struct linger now = {.l_onoff = 1};

	/* by a reset, so that nothing waits in the kernel */
	for (int i = 0; i < 2; i++) {
		int *fd = i ? &c->far : &c->near;

		if (*fd >= 0) {
			setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
			close(*fd);
		}
		*fd = -1;
	}
}

static void open_connection(struct connection *c)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)}};
	struct timeval limit = {.tv_sec = 3};

	if (inet_pton(AF_INET6, c->to, &to.in6.sin6_addr) != 1) {
		to.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT)};
		inet_pton(AF_INET, c->to, &to.in.sin_addr);
	}
	c->far = lab_socket(peer, to.any.sa_family, SOCK_STREAM, 0);
	setsockopt(c->far, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(c->far, &to.any, sizeof to) < 0)
		lab_fail("connect to %s: %m", c->to);
	c->near = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (c->near < 0)
		lab_fail("accept: %m");
}

/* Whether the client has been told that its connection is over. */
static bool was_reset(const struct connection *c)
{
	char byte;

	return recv(c->far, &byte, 1, MSG_DONTWAIT) < 0 ? errno != EAGAIN : true;
}

/* ---- before a point ---- */

static int count_files(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		char full[600];

		snprintf(full, sizeof full, "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			n += 1 + (e->d_type == DT_DIR ? count_files(full) : 0);
	}
	if (d)
		closedir(d);
	return n;
}

static void forget_locks(void)
{
	char path[600], full[900];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "%s/sentinel-vip", us->run);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(full, sizeof full, "%s/%s", path, e->d_name);
		unlink(full);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

static void prepare(const struct scene *s)
{
	struct state now;

	for (struct connection *c = connections + 1; c < connections + CONNECTIONS; c++)
		close_connection(c);
	state_make(s->before, PEER4);
	state_read(&now);
	if (before.text[0] && strcmp(before.text, now.text) != 0)
		lab_fail("the state before cannot be had again, expected:\n%s\nhave:\n%s",
			 before.text, now.text);
	before = now;
	if (connections[0].near < 0)
		open_connection(connections);
	for (struct connection *c = connections + 1; c < connections + CONNECTIONS; c++)
		if (strstr(now.text, c->to))
			open_connection(c);
	if (s->fresh)
		forget_locks();
	lab_log_clear(us);
	for (int i = 0; i < 3; i++)
		if (sentinels[i])
			fake_forget(sentinels[i]);
	lab_capture_read(eyes);
	eyes->n = 0;
	state_watch(vips);
}

/* The asking end of the relay: a connection with the words in it. */
static void ask_relay(const struct scene *s, int ends[2])
{
	char packet[1024] = {'s', 'v', 'i', 'p', 1, 'q'};
	size_t n = 8;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		lab_fail("socketpair: %m");
	for (int i = 0; s->argv[i]; i++)
		n += 1 + (size_t)sprintf(packet + n, "%s", s->argv[i]);
	if (send(ends[0], packet, n, 0) != (ssize_t)n)
		lab_fail("send: %m");
}

/* The status that the asking end would end with. */
static int relay_status(int fd, int status)
{
	static char packet[1 << 20];
	ssize_t n;

	while ((n = recv(fd, packet, sizeof packet, MSG_DONTWAIT)) > 0)
		if (n >= 8 && packet[5] == 'v')
			return packet[6];
	/* killed before it had an answer; else "the relay broke off", which is 2 */
	return status > 2 ? status : 2;
}

static void run(const struct scene *s, const struct fault *f, bool quick, struct trace *t)
{
	bool alloc = f->kind == FAULT_ALLOC || f->kind == FAULT_ALLOC_LASTING;
	int ends[2] = {-1, -1};
	struct trace_order order = {.host = us,
				    .argv = s->relay ? (const char *const[]){"--serve", NULL}
						     : s->argv,
				    .fault = *f,
				    .quick = quick,
				    .preload = alloc ? preload : NULL,
				    .limit_ms = FOREGROUND_MS,
				    .rest_limit_ms = quick ? 0 : REST_MS,
				    .sent = state_watched};

	*allocations = (struct alloc_shared){.process = f->process,
					     .number = f->number,
					     .lasting = f->kind == FAULT_ALLOC_LASTING};
	if (s->relay)
		ask_relay(s, ends);
	order.input = ends[1];
	trace_run(&order, t);
	if (s->relay) {
		t->status = relay_status(ends[0], t->status);
		close(ends[0]);
		close(ends[1]);
	}
	if (alloc)
		t->struck = allocations->struck;
}

/* ---- the oracle ---- */

static bool is_announcement(const struct lab_frame *f, const char *address)
{
	/* not the kernel's answers to whoever asks: RFC 4861 section 4.4, the S flag */
	return lab_is_arp(f, address) || (lab_is_na(f, address) && !(f->data[58] & 0x40));
}

static bool announced_while_away(const char **which)
{
	lab_capture_read(eyes);
	for (size_t i = 0; i < eyes->n; i++)
		for (const char *const *v = vips; *v; v++)
			if (is_announcement(&eyes->frames[i], *v) &&
			    state_was_away(*v, eyes->frames[i].ns)) {
				*which = *v;
				return true;
			}
	return false;
}

/* Each VIP that has come was announced after that. */
static const char *not_announced(const char *text)
{
	lab_capture_read(eyes);
	for (const char *const *v = vips; *v; v++) {
		bool is = !strstr(text, *v);

		for (size_t i = 0; i < eyes->n && !is; i++)
			is = is_announcement(&eyes->frames[i], *v) &&
			     eyes->frames[i].ns > state_since(*v);
		if (!is)
			return *v;
	}
	return NULL;
}

static void say(char *said, size_t size, const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + n, size - n, fmt, ap);
	va_end(ap);
}

static void judge_status(const struct scene *s, const struct fault *f, const struct trace *t,
			 const struct state *now, char *said, size_t size)
{
	bool killed = t->struck && f->process == 0 &&
		      (f->kind == FAULT_KILL || f->kind == FAULT_KILL_AFTER) &&
		      t->status == 128 + SIGKILL;
	/* ld.so's own status, and what the kernel does when the program cannot be mapped */
	bool loading = t->struck && f->process == 0 && f->number < t->of[0].main_at &&
		       (t->status == 127 || t->status > 128);
	bool loader = t->struck && f->process == 0 && t->of[0].main_at < 0;

	if (killed || loading || loader)
		return;
	if (t->crashed)
		say(said, size, "a process died of a signal (status %d)\n", t->status);
	else if (t->status > 2)
		say(said, size, "status %d\n", t->status);
	if (t->status == 1 && s->by_sentinel && !t->heard)
		say(said, size, "status 1, but no Sentinel was heard\n");
	if (t->status == 1 && s->votes[0] == '-')
		say(said, size, "status 1, but there is no Sentinel\n");
	/* where asking does not go at all, the arguments are believed */
	if (t->status == 0 && !s->reads && strcmp(now->text, after.text) != 0 &&
	    !(s->stale && (f->kind == FAULT_LASTING || f->kind == FAULT_ALLOC_LASTING)))
		say(said, size, "status 0, but the host does not agree\n");
}

static void judge_connections(const struct scene *s, const struct trace *t, const struct state *now,
			      char *said, size_t size)
{
	bool told = lab_log_wait(us, "not closed", 0) || !lab_log_wait(us, "]: mymaster: ", 0);

	for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
		if (c->far < 0)
			continue;
		if (!c->vip && was_reset(c)) {
			say(said, size, "the connection to %s is lost\n", c->to);
			close_connection(c);
		} else if (c->vip && t->status == 0 && !s->here && !told &&
			   !strstr(now->text, c->to) && !was_reset(c)) {
			say(said, size, "the client of %s was told nothing\n", c->to);
		}
	}
}

static void judge(const struct scene *s, const struct fault *f, const struct trace *t, char *said,
		  size_t size)
{
	struct state now;
	const char *which;
	char text[200];

	state_watched(0, lab_now_ns());
	state_read(&now);
	if (t->hung)
		say(said, size, "it still ran after %d s\n", FOREGROUND_MS / 1000);
	if (t->lingers)
		say(said, size, "a child still ran %d s later\n", REST_MS / 1000);
	judge_status(s, f, t, &now, said, size);
	if (!state_is_whole(&before, &now, vips, text, sizeof text))
		say(said, size, "%s\n", text);
	if (s->reads && strcmp(before.text, now.text) != 0)
		say(said, size, "it has changed something\n");
	judge_connections(s, t, &now, said, size);
	if (announced_while_away(&which))
		say(said, size, "%s was announced while it was not here\n", which);
	/* the lock's directory and its file */
	if (count_files(us->run) > files_before + 2)
		say(said, size, "it left files behind\n");
	if (*said)
		say(said, size, "state then:\n%s",
		    strcmp(now.text, after.text) == 0 ? "as it should be\n" : now.text);
}

/* The next run, undisturbed, makes it right. */
static void judge_healing(const struct scene *s, char *said, size_t size)
{
	static struct trace t;
	struct state now;
	const char *which;

	if (s->reads)
		return;
	run(s, &(struct fault){.kind = FAULT_NONE}, true, &t);
	state_watched(0, lab_now_ns());
	state_read(&now);
	if (t.status != 0)
		say(said, size, "the next run ended with %d\n", t.status);
	if (strcmp(now.text, after.text) != 0)
		say(said, size, "the next run does not heal it, expected:\n%s\nhave:\n%s\n",
		    after.text, now.text);
	if (announced_while_away(&which))
		say(said, size, "%s was announced while it was not here, in the next run\n", which);
	which = s->here ? not_announced(now.text) : NULL;
	if (which)
		say(said, size, "%s has come and was never announced\n", which);
}

bool scene_try(const struct scene *s, const struct fault *f, struct trace *t, char *said,
	       size_t size)
{
	const char *line;

	*said = '\0';
	prepare(s);
	run(s, f, false, t);
	judge(s, f, t, said, size);
	judge_healing(s, said, size);
	if (!*said)
		return true;
	forget_locks(); /* what was left there is said once */
	say(said, size, "stderr: %s\n", t->err);
	for (size_t i = 0; (line = lab_log_line(us, i)); i++)
		say(said, size, "log: %s\n", line);
	return false;
}

void scene_begin(const struct scene *s, struct trace *t)
{
	static struct trace unused;
	char said[8192] = "";

	lab_config(us,
		   "announce = 0.02\nsentinel = 127.0.0.1:26379\ninterface = eth0\n"
		   "[other]\nvip = 10.0.0.77\n[mymaster]\n%s",
		   s->keys);
	for (int i = 0; i < 3; i++)
		if (sentinels[i])
			fake_turn(sentinels[i], 0, *s->votes == 'B' ? PEER4 : OUR4, PORT, "3",
				  i ? NULL
				    : (const char *const[]){PEER4 " 26380", PEER4 " 26381", NULL});
	/* --serve reads no other */
	lab_must(us, "cp -p /run/sentinel-vip.conf /etc/sentinel-vip.conf");
	before.text[0] = '\0';
	forget_locks();
	files_before = count_files(us->run);
	prepare(s);
	run(s, &(struct fault){.kind = FAULT_ALLOC}, false, &unused); /* counts them */
	prepare(s);
	run(s, &(struct fault){.kind = FAULT_NONE}, false, t);
	state_read(&after);
	judge(s, &(struct fault){.kind = FAULT_NONE}, t, said, sizeof said);
	if (s->reads ? t->status > 2 : t->status != 0)
		say(said, sizeof said, "undisturbed, it ended with %d: %s", t->status, t->err);
	if (*said)
		lab_fail("%s, undisturbed: %s", s->name, said);
	/* the counters of the first one have been written over */
	prepare(s);
	run(s, &(struct fault){.kind = FAULT_ALLOC}, false, &unused);
}

int scene_allocations(int process)
{
	return allocations->counts[process];
}

void scene_open(void)
{
	char path[600];
	unsigned char mac[6];
	int fd;

	us = lab_host("us", OUR4 "/24", OUR6 "/64", NULL);
	peer = lab_host("peer", PEER4 "/24", PEER6 "/64", NULL);
	/* an /etc of its own, for the configuration that the relay reads */
	lab_must(us,
		 "mkdir /run/host-etc && for f in passwd group hosts nsswitch.conf ld.so.cache; do "
		 "cp -L /etc/$f /run/host-etc; done && mount --bind /run/host-etc /etc");
	/* so that no run waits for an answer of ours */
	if (!lab_mac(us, "eth0", mac))
		lab_fail("no MAC");
	for (const char *const *v = (const char *const[]){OUR4, OUR6, VIP_A, VIP_B, VIP_6, NULL};
	     *v; v++)
		lab_must(peer,
			 "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev eth0 nud "
			 "permanent",
			 *v, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	eyes = lab_capture_announcements(peer, "eth0");
	state_open(us);
	listener = make_listener();
	sentinels[0] = fake_start(us, "127.0.0.1", 26379);
	sentinels[1] = fake_start(peer, PEER4, 26380);
	sentinels[2] = fake_start(peer, PEER4, 26381);
	snprintf(path, sizeof path, "%s/%s", us->run, strrchr(ALLOC_FILE, '/') + 1);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof *allocations) < 0)
		lab_fail("%s: %m", path);
	allocations = mmap(NULL, sizeof *allocations, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (allocations == MAP_FAILED)
		lab_fail("mmap: %m");
	close(fd);
	if (readlink("/proc/self/exe", preload, sizeof preload - 1) < 0)
		lab_fail("/proc/self/exe: %m");
	snprintf(strrchr(preload, '/'), 32, "/faults-alloc.so");
}
