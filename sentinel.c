/* SPDX-License-Identifier: MIT */
/*
 * Conversations with Sentinels: questions in one pipeline, answers until a
 * deadline, many Sentinels at once.  hiredis writes the questions and reads the
 * answers; the socket is ours, since its deadline must hold for the whole and not
 * for each read.  What the answers say is read in sentinel-answer.c.
 */
#include "vip.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	ANSWER_BYTES_MAX = 4 << 20,	/* a hundred masters with ten Sentinels are 600 kB */
	ARRAY_DIGITS_MAX = 5,		/* no array of ours has 100,000 elements */
	RESOLVE_MS = 300,
	READ_BYTES = 16384,	/* at once: hiredis looks at all of an unfinished answer again */
};

struct sentinel {
	struct endpoint at;
	int fd;
	char *out;		/* the questions */
	size_t out_size, out_sent;
	redisReader *reader;
	redisReply **replies;
	size_t asked, heard;
	size_t bytes;
	unsigned array_digits;	/* 0: not in the head of an array */
	bool authenticates;	/* the first answer is that to AUTH */
	bool over;		/* all heard, or given up */
	char error[64];		/* why it was given up; empty when not */
};

static void give_up(struct sentinel *s, const char *error)
{
	if (s->error[0] == '\0')
		snprintf(s->error, sizeof(s->error), "%s", error);
	s->over = true;
	fd_close(&s->fd);
}

static int say(struct sentinel *s, int argc, const char **argv)
{
	char *command, *moved;
	int size = redisFormatCommandArgv(&command, argc, argv, NULL);

	if (size < 0)
		return -ENOMEM;
	moved = realloc(s->out, s->out_size + (size_t)size);
	if (moved != NULL) {
		memcpy(moved + s->out_size, command, (size_t)size);
		s->out = moved;
		s->out_size += (size_t)size;
		s->asked++;
	}
	free(command);
	return moved != NULL ? 0 : -ENOMEM;
}

static int authenticate(struct sentinel *s, const struct master *master)
{
	const char *with_user[] = { "AUTH", master->user, master->password };
	const char *plain[] = { "AUTH", master->password };

	if (master->password == NULL)
		return 0;
	s->authenticates = true;
	return master->user != NULL ? say(s, 3, with_user) : say(s, 2, plain);
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool sentinel_same_login(const struct master *a, const struct master *b)
{
	return same_text(a->user, b->user) && same_text(a->password, b->password);
}

int sentinel_open(const struct master *master, const struct endpoint *at,
		  struct sentinel **sentinel)
{
	struct sentinel *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->at = *at;
	s->fd = -1;
	s->reader = redisReaderCreate();
	if (s->reader == NULL || authenticate(s, master) < 0) {
		sentinel_close(&s);
		return -ENOMEM;
	}
	*sentinel = s;
	return 0;
}

void sentinel_close(struct sentinel **sentinel)
{
	struct sentinel *s = *sentinel;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->heard; i++)
		freeReplyObject(s->replies[i]);
	free(s->replies);
	if (s->reader != NULL)
		redisReaderFree(s->reader);
	free(s->out);
	fd_close(&s->fd);
	free(s);
	*sentinel = NULL;
}

int sentinel_ask(struct sentinel *sentinel, enum sentinel_question question, const char *master,
		 size_t *index)
{
	static const char *const names[] = {
		[SENTINEL_ADDRESS] = "GET-MASTER-ADDR-BY-NAME",
		[SENTINEL_MASTER] = "MASTER",
		[SENTINEL_FELLOWS] = "SENTINELS",
		[SENTINEL_REPLICAS] = "REPLICAS",
		[SENTINEL_MYID] = "MYID",
	};
	const char *words[] = { "SENTINEL", names[question], master };
	int err = say(sentinel, question == SENTINEL_MYID ? 2 : 3, words);

	if (err == 0)
		*index = sentinel->asked - 1;
	return err;
}

/* The socket ----------------------------------------------------------- */

static socklen_t socket_address(const struct endpoint *at, const struct ip *ip,
				struct sockaddr_storage *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (at->port == 0) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%.*s",
			 (int)sizeof(un->sun_path) - 1, at->host);
		return sizeof(*un);
	}
	if (ip->family == AF_INET) {
		in->sin_family = AF_INET;
		in->sin_port = htons(at->port);
		in->sin_addr = ip->in;
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(at->port);
	in6->sin6_addr = ip->in6;
	return sizeof(*in6);
}

static void reach(struct sentinel *s)
{
	struct sockaddr_storage address;
	struct ip ip = s->at.ip;
	socklen_t size;

	if (s->at.port != 0 && ip.family == AF_UNSPEC) {
		/* RFC 6761 section 6.3: localhost needs no resolver */
		if (strcasecmp(s->at.host, "localhost") == 0)
			ip_parse("127.0.0.1", &ip);
		else if (resolve_host(s->at.host, RESOLVE_MS, &ip, 1) < 0) {
			give_up(s, "its name does not resolve");
			return;
		}
	}
	size = socket_address(&s->at, &ip, &address);
	s->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || (connect(s->fd, (struct sockaddr *)&address, size) < 0 &&
			  errno != EINPROGRESS))
		give_up(s, strerror(errno));
}

static void send_on(struct sentinel *s)
{
	while (!s->over && s->out_sent < s->out_size) {
		ssize_t n = send(s->fd, s->out + s->out_sent, s->out_size - s->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
			return;
		if (n < 0)
			give_up(s, strerror(errno));
		else
			s->out_sent += (size_t)n;
	}
}

static bool needs_resolver(const struct sentinel *s)
{
	return s->fd < 0 && !s->over && s->at.port != 0 && s->at.ip.family == AF_UNSPEC &&
		strcasecmp(s->at.host, "localhost") != 0;
}

void sentinel_reach(struct sentinel *sentinel)
{
	if (!needs_resolver(sentinel))
		sentinel_send(sentinel);
}

uint64_t sentinel_namespace(const struct sentinel *sentinel)
{
	return socket_namespace(sentinel->fd);
}

void sentinel_send(struct sentinel *sentinel)
{
	if (sentinel->fd < 0 && !sentinel->over)
		reach(sentinel);
	send_on(sentinel);
}

/* Answers -------------------------------------------------------------- */

/*
 * "*1000000" makes the reader allocate before anything came.  Such a line cannot be
 * in what a Sentinel says of itself, so it is not worth reading on.
 */
static bool is_absurd(struct sentinel *s, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		bool digit = bytes[i] >= '0' && bytes[i] <= '9';

		if (bytes[i] == '*')	/* anywhere: hiredis does not look at what ends a string */
			s->array_digits = 1;
		else if (s->array_digits > 0)
			s->array_digits = digit ? s->array_digits + 1 : 0;
		if (s->array_digits > 1 + ARRAY_DIGITS_MAX)
			return true;
	}
	return false;
}

static int keep(struct sentinel *s, redisReply *reply)
{
	redisReply **moved = reallocarray(s->replies, s->heard + 1, sizeof(*moved));

	if (moved == NULL)
		return -ENOMEM;
	s->replies = moved;
	s->replies[s->heard++] = reply;
	return 0;
}

static void take_replies(struct sentinel *s)
{
	while (!s->over) {
		void *reply = NULL;

		if (redisReaderGetReply(s->reader, &reply) != REDIS_OK) {
			give_up(s, "it does not speak as a Sentinel");
			return;
		}
		if (reply == NULL)
			return;
		if (keep(s, reply) < 0) {
			freeReplyObject(reply);
			give_up(s, "out of memory");
		}
		/* closed later: that costs as much as the question, and its sender has better to do */
		if (s->heard == s->asked)
			s->over = true;
	}
}

static void hear_on(struct sentinel *s)
{
	static char bytes[READ_BYTES];	/* not on the stack, of which each page would be probed */
	ssize_t n;

	while (!s->over) {
		n = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			give_up(s, n == 0 ? "it closed the connection" : strerror(errno));
			return;
		}
		s->bytes += (size_t)n;
		if (s->bytes > ANSWER_BYTES_MAX || is_absurd(s, bytes, (size_t)n)) {
			give_up(s, "it does not speak as a Sentinel");
			return;
		}
		if (redisReaderFeed(s->reader, bytes, (size_t)n) != REDIS_OK)
			give_up(s, "out of memory");
		take_replies(s);
	}
}

void sentinel_hear(struct sentinel *const sentinels[], size_t count, double deadline_ms)
{
	struct pollfd *polls = calloc(count + 1, sizeof(*polls));
	size_t open = count;

	for (size_t i = 0; polls != NULL && i < count; i++)
		if (!needs_resolver(sentinels[i]))
			sentinel_send(sentinels[i]);
	/* last, and only in time: a resolver that hangs must not keep us from the others */
	for (size_t i = 0; polls != NULL && i < count; i++) {
		if (!needs_resolver(sentinels[i]))
			continue;
		if (clock_ms() + RESOLVE_MS <= deadline_ms)
			sentinel_send(sentinels[i]);
		else
			give_up(sentinels[i], "its name does not resolve");
	}
	/* one look at least: what came while we were busy has been said in time */
	for (bool first = true; polls != NULL && (first || clock_ms() < deadline_ms); first = false) {
		int wait = clock_ms() < deadline_ms ? clock_left(deadline_ms) : 0;

		open = 0;
		for (size_t i = 0; i < count; i++) {
			struct sentinel *s = sentinels[i];

			polls[i].fd = s->over ? -1 : s->fd;
			polls[i].events = s->out_sent < s->out_size ? POLLIN | POLLOUT : POLLIN;
			open += !s->over;
		}
		if (open == 0 || poll(polls, count, wait) <= 0) {
			if (open == 0)
				break;
			continue;
		}
		for (size_t i = 0; i < count; i++)
			if (polls[i].fd >= 0 && polls[i].revents != 0) {
				send_on(sentinels[i]);
				hear_on(sentinels[i]);
			}
	}
	for (size_t i = 0; i < count; i++)
		if (!sentinels[i]->over)
			give_up(sentinels[i], polls == NULL ? "out of memory" : "it did not answer in time");
	free(polls);
}

/* What was heard ------------------------------------------------------- */

const struct redisReply *sentinel_reply(const struct sentinel *sentinel, size_t index)
{
	return index < sentinel->heard ? sentinel->replies[index] : NULL;
}

const struct redisReply *sentinel_welcome(const struct sentinel *sentinel)
{
	return sentinel->authenticates ? sentinel_reply(sentinel, 0) : NULL;
}

const char *sentinel_trouble(const struct sentinel *sentinel)
{
	return sentinel->error;
}
