/* SPDX-License-Identifier: MIT */
/*
 * Sentinels of a test's making. Refuses to understand more of a question than which one it is.
 */
#include "netns-fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAKES 16

static struct fake *fakes[FAKES];

/* ---- one connection, in a process of its own ---- */

struct talk {
	struct fake *fake;
	const struct fake_turn *turn;
	int fd;
	size_t said;
	char in[8192];
	size_t in_size;
};

static void talk_end_if_due(struct talk *t)
{
	if (!t->turn->closes || t->said < t->turn->most)
		return;
	if (t->turn->reset)
		setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
			   sizeof(struct linger));
	close(t->fd);
	_exit(0);
}

/* Whoever does not listen any more ends the connection. */
static void talk_say(struct talk *t, const char *bytes, size_t size)
{
	while (size > 0) {
		size_t part = t->turn->drip ? 1 : size;
		ssize_t n;

		talk_end_if_due(t);
		if (t->turn->closes && part > t->turn->most - t->said)
			part = t->turn->most - t->said;
		n = send(t->fd, bytes, part, MSG_NOSIGNAL);
		if (n <= 0)
			_exit(0);
		bytes += n;
		size -= (size_t)n;
		t->said += (size_t)n;
		if (t->turn->drip_us)
			usleep((useconds_t)t->turn->drip_us);
	}
	talk_end_if_due(t);
}

static void talk_answer(struct talk *t, enum fake_question q)
{
	const struct fake_bytes *b = &t->turn->says[q];

	if (b->wait_ms)
		lab_sleep_ms(b->wait_ms);
	talk_say(t, b->head, b->head_size);
	for (size_t i = 0; i < (b->times ? b->times : 1); i++)
		talk_say(t, b->bytes, b->size);
}

static enum fake_question question_of(char *const words[], int n)
{
	if (n >= 2 && strcasecmp(words[0], "SENTINEL") == 0) {
		if (strcasecmp(words[1], "GET-MASTER-ADDR-BY-NAME") == 0)
			return FAKE_ADDRESS;
		if (strcasecmp(words[1], "MASTER") == 0)
			return FAKE_MASTER;
		if (strcasecmp(words[1], "SENTINELS") == 0)
			return FAKE_FELLOWS;
		if (strcasecmp(words[1], "MYID") == 0)
			return FAKE_MYID;
	}
	return FAKE_OTHER;
}

/* "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n": its size, or 0 while it is not whole. */
static size_t question_split(char *in, size_t size, char *words[8], int *count)
{
	char *at = in, *end = in + size, *line;
	long n;

	if (!(line = memmem(at, size, "\r\n", 2)))
		return 0;
	n = strtol(at + 1, NULL, 10);
	if (*at != '*' || n < 1 || n > 8)
		_exit(1); /* nobody asks like that */
	at = line + 2;
	for (*count = 0; *count < n; (*count)++) {
		long length;

		if (!(line = memmem(at, (size_t)(end - at), "\r\n", 2)))
			return 0;
		length = strtol(at + 1, NULL, 10);
		if (*at != '$' || length < 0 || length > 4096)
			_exit(1);
		words[*count] = line + 2;
		at = line + 2 + length + 2;
		if (at > end)
			return 0;
	}
	for (int i = 0; i < *count; i++) {
		line = i + 1 < *count ? memchr(words[i], '\r', (size_t)(end - words[i])) : at - 2;
		*line = '\0';
	}
	return (size_t)(at - in);
}

static void talk_note(struct fake *f, char *const words[], int count)
{
	char line[512];
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", words[i],
				      i + 1 < count ? " " : "\n");
	if (f->heard_size + n < sizeof f->heard) {
		memcpy(f->heard + f->heard_size, line, n);
		f->heard_size += n;
	}
}

static void talk(struct fake *f, const struct fake_turn *turn, int fd)
{
	static struct talk t;

	t = (struct talk){.fake = f, .turn = turn, .fd = fd};
	if (turn->drip)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (turn->deaf) {
		talk_end_if_due(&t);
		pause();
	}
	for (;;) {
		char *words[8];
		int count;
		size_t used = question_split(t.in, t.in_size, words, &count);
		ssize_t n;

		if (used > 0) {
			talk_note(f, words, count);
			talk_answer(&t, question_of(words, count));
			t.in_size -= used;
			memmove(t.in, t.in + used, t.in_size);
			continue;
		}
		n = recv(fd, t.in + t.in_size, sizeof t.in - t.in_size, 0);
		if (n <= 0)
			_exit(0);
		t.in_size += (size_t)n;
	}
}

/* ---- the process that listens ---- */

static void serve(struct fake *f)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < FAKES; i++)
		if (fakes[i])
			close(fakes[i]->fd); /* or their ports would outlive them */
	for (;;) {
		int fd = accept(f->fd, NULL, NULL), n;

		if (fd < 0)
			continue;
		n = f->connections++;
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			talk(f, &f->turn[n < f->turns ? n : f->turns - 1], fd);
		}
		close(fd);
	}
}

static int listen_unix(struct lab_host *h, const char *path, char *full, size_t size)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(full, size, "%s/%s", h->run, path);
	if (strlen(full) >= sizeof sun.sun_path)
		lab_fail("%s is too long for a socket", full);
	strcpy(sun.sun_path, full);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof sun) < 0)
		lab_fail("%s: %m", full);
	return fd;
}

static int listen_tcp(struct lab_host *h, const char *address, int port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
	int fd;

	if (inet_pton(AF_INET6, address, &at.in6.sin6_addr) != 1) {
		at.in = (struct sockaddr_in){.sin_family = AF_INET,
					     .sin_port = htons((uint16_t)port)};
		if (inet_pton(AF_INET, address, &at.in.sin_addr) != 1)
			lab_fail("%s is no address", address);
	}
	fd = lab_socket(h, at.any.sa_family, SOCK_STREAM, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(fd, &at.any, sizeof at) < 0)
		lab_fail("%s:%d of host %s: %m", address, port, h->name);
	return fd;
}

struct fake *fake_start(struct lab_host *h, const char *address, int port)
{
	struct fake *f =
		mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int i = 0;

	while (i < FAKES && fakes[i])
		i++;
	if (f == MAP_FAILED || i == FAKES)
		lab_fail("no room for another fake");
	f->fd = port ? listen_tcp(h, address, port)
		     : listen_unix(h, address, f->path, sizeof f->path);
	if (listen(f->fd, 64) < 0)
		lab_fail("listen: %m");
	f->turns = 1;
	f->port = port;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		lab_fail("fork: %m");
	if (pid == 0)
		serve(f);
	setpgid(pid, pid);
	f->pid = pid; /* not before: the memory is the child's as well */
	fakes[i] = f;
	return f;
}

void fake_stop(struct fake *f)
{
	for (int i = 0; i < FAKES; i++)
		if (fakes[i] == f)
			fakes[i] = NULL;
	kill(-f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	close(f->fd);
	if (*f->path)
		unlink(f->path);
	munmap(f, sizeof *f);
}

void fake_stop_all(void)
{
	for (int i = 0; i < FAKES; i++)
		if (fakes[i])
			fake_stop(fakes[i]);
}

/* ---- what it says ---- */

void fake_bytes(struct fake_turn *t, enum fake_question q, const void *bytes, size_t size)
{
	struct fake_bytes *b = &t->says[q];

	memset(b, 0, sizeof *b);
	if (size > sizeof b->bytes)
		lab_fail("%zu bytes are more than a fake can say", size);
	memcpy(b->bytes, bytes, size);
	b->size = size;
}

void fake_format(struct fake_turn *t, enum fake_question q, const char *fmt, ...)
{
	char text[sizeof t->says[q].bytes];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof text)
		lab_fail("%d bytes are more than a fake can say", n);
	fake_bytes(t, q, text, (size_t)n);
}

static size_t add_words(char *text, size_t at, size_t size, const char *const words[])
{
	for (; *words; words++)
		at += (size_t)snprintf(text + at, at < size ? size - at : 0, "$%zu\r\n%s\r\n",
				       strlen(*words), *words);
	return at;
}

static void say_fellows(struct fake_turn *t, const char *const fellows[])
{
	char text[4096], host[300], port[32], id[41];
	size_t n = 0, at;

	while (fellows && fellows[n])
		n++;
	at = (size_t)snprintf(text, sizeof text, "*%zu\r\n", n);
	for (size_t i = 0; i < n; i++) {
		if (sscanf(fellows[i], "%299s %31s", host, port) != 2)
			lab_fail("\"%s\" is no fellow", fellows[i]);
		at += (size_t)snprintf(text + at, sizeof text - at, "*10\r\n");
		snprintf(id, sizeof id, "%040d", atoi(port));
		at = add_words(text, at, sizeof text,
			       (const char *const[]){"name", "0a1b2c", "ip", host, "port", port,
						     "runid", id, "flags", "sentinel", NULL});
		if (at >= sizeof text)
			lab_fail("too many fellows");
	}
	fake_bytes(t, FAKE_FELLOWS, text, at);
}

struct fake_turn *fake_turn(struct fake *f, int n, const char *host, int port, const char *epoch,
			    const char *const fellows[])
{
	struct fake_turn *t = &f->turn[n];
	char text[2048], quorum[32];
	size_t at, known = 1;

	while (fellows && fellows[known - 1])
		known++;
	snprintf(quorum, sizeof quorum, "%zu", known / 2 + 1);
	memset(t, 0, sizeof *t);
	fake_format(t, FAKE_ADDRESS, "*2\r\n$%zu\r\n%s\r\n$%d\r\n%d\r\n", strlen(host), host,
		    snprintf(NULL, 0, "%d", port), port);
	at = (size_t)snprintf(text, sizeof text, "*12\r\n");
	at = add_words(text, at, sizeof text,
		       (const char *const[]){"name", "mymaster", "ip", "10.0.0.99", "port", "6379",
					     "flags", "master", "config-epoch", epoch, "quorum",
					     quorum, NULL});
	fake_bytes(t, FAKE_MASTER, text, at);
	say_fellows(t, fellows);
	fake_format(t, FAKE_MYID, "$40\r\n%040d\r\n", f->port);
	fake_format(t, FAKE_OTHER, "+OK\r\n");
	f->turns = n + 1;
	return t;
}

void fake_fellow_id(struct fake_turn *t, int n, const char *id)
{
	struct fake_bytes *b = &t->says[FAKE_FELLOWS];
	static const char key[] = "$5\r\nrunid\r\n$40\r\n";
	char *at = b->bytes;

	for (int i = 0; at && i <= n; i++) {
		at = memmem(at, b->size - (size_t)(at - b->bytes), key, sizeof key - 1);
		at = at ? at + sizeof key - 1 : NULL;
	}
	if (!at || strlen(id) != 40)
		lab_fail("it has no %dth fellow, or \"%s\" is no id", n, id);
	memcpy(at, id, 40);
}

void fake_quorum(struct fake_turn *t, const char *quorum)
{
	struct fake_bytes *b = &t->says[FAKE_MASTER];
	const char *old = memmem(b->bytes, b->size, "$6\r\nquorum\r\n", 12);
	size_t size;

	if (!old)
		lab_fail("it says no quorum");
	size = (size_t)(old - b->bytes) + 12;
	size += (size_t)snprintf(b->bytes + size, sizeof b->bytes - size, "$%zu\r\n%s\r\n",
				 strlen(quorum), quorum);
	b->size = size;
}

int fake_heard(const struct fake *f, const char *words)
{
	int n = 0;

	for (const char *p = f->heard; (p = strstr(p, words)); p++)
		n++;
	return n;
}

void fake_forget(struct fake *f)
{
	f->connections = 0;
	f->heard_size = 0;
	memset(f->heard, 0, sizeof f->heard);
}
