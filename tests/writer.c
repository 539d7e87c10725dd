/* SPDX-License-Identifier: MIT */
/*
 * The client of the demonstration: writes an increasing counter through a VIP
 * all the time and says, one line a change, what it notices.
 *
 *	acknowledged by HOST
 *	acknowledged by HOST again after N ms
 *	lost: WHY
 *	gone: N acknowledged writes
 *	total: N acknowledged, N gone, N ms the longest silence
 *
 * HOST is what the server calls itself (replica-announce-ip, else its run id).
 * "lost" is a write that nobody acknowledged; it is tried again for ever, with
 * the same value, so that acknowledged values never skip one.  "gone" is worse:
 * after a reconnect the server's counter is behind what was acknowledged.
 * "total" comes at SIGTERM or SIGINT, and ends the program.
 *
 * It resolves no names and never follows a redirection: like a client that
 * knows one address and nothing of Sentinel.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <hiredis/hiredis.h>

#define KEY "sentinel-vip:counter"

/* Short, so that a host that swallows packets is noticed as fast as one that is dead. */
#define PATIENCE_MS 200
/* 200 writes a second: fine enough to time a failover by, and next to no load. */
#define PAUSE_MS 5
/* After a failure, so that refused connections do not make a busy loop. */
#define RETRY_MS 10

#define NAME_MAX_LEN 64

struct writer {
	const char *address;
	int port;
	redisContext *link;
	char host[NAME_MAX_LEN]; /* who is at the other end of link */
	char why[160];  /* why the last write was lost; empty while writes are acknowledged */
	bool served;    /* this link has acknowledged a write */
	uint64_t found; /* the counter as this link showed it at first */
	uint64_t acked; /* the last value acknowledged, which is also their number */
	uint64_t floor; /* acked at the last check for missing writes */
	uint64_t gone;
	int64_t last_ms; /* when the last acknowledgement came; 0 before the first */
	int64_t longest_ms;
};

static volatile sig_atomic_t done;

static void on_signal(int sig)
{
	(void)sig;
	done = 1;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void writer_hang_up(struct writer *w)
{
	if (w->link)
		redisFree(w->link);
	w->link = NULL;
}

/* Said once per reason: a host that is down for three seconds is one line, not three hundred. */
static void writer_lost(struct writer *w, const char *why)
{
	if (strncmp(w->why, why, sizeof(w->why) - 1) != 0) {
		snprintf(w->why, sizeof(w->why), "%s", why);
		printf("lost: %s\n", w->why);
	}
	writer_hang_up(w);
}

/*
 * What went wrong on the link, in words: hiredis calls a timeout "Resource temporarily
 * unavailable".
 */
static const char *link_error(const redisContext *link)
{
	if (!link)
		return "out of memory";
	if (link->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK))
		return "no answer";
	if (link->err == REDIS_ERR_IO && errno == ETIMEDOUT)
		return "no answer to the connection attempt";
	return link->errstr;
}

/* A reply that is no error, else NULL and the link is gone. */
static redisReply *writer_ask(struct writer *w, const char *command)
{
	redisReply *reply = redisCommand(w->link, command);

	if (!reply) {
		writer_lost(w, link_error(w->link));
	} else if (reply->type == REDIS_REPLY_ERROR) {
		writer_lost(w, reply->str);
		freeReplyObject(reply);
		reply = NULL;
	}
	return reply;
}

static void name_from_info(struct writer *w, const char *info)
{
	const char *id = strstr(info, "run_id:");

	snprintf(w->host, sizeof(w->host), "%.*s", id ? (int)strcspn(id + 7, "\r\n") : 1,
		 id ? id + 7 : "?");
}

/* Who is there, and how far did its counter get? */
static bool writer_greet(struct writer *w)
{
	redisReply *reply;

	reply = writer_ask(w, "GET " KEY);
	if (!reply)
		return false;
	w->found = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
	freeReplyObject(reply);

	reply = writer_ask(w, "CONFIG GET replica-announce-ip");
	if (!reply)
		return false;
	w->host[0] = '\0';
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
		snprintf(w->host, sizeof(w->host), "%s", reply->element[1]->str);
	freeReplyObject(reply);
	if (w->host[0])
		return true;

	reply = writer_ask(w, "INFO server");
	if (!reply)
		return false;
	name_from_info(w, reply->str);
	freeReplyObject(reply);
	return true;
}

static bool writer_connect(struct writer *w)
{
	const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};

	w->link = redisConnectWithTimeout(w->address, w->port, patience);
	if (!w->link || w->link->err) {
		writer_lost(w, link_error(w->link));
		return false;
	}
	redisSetTimeout(w->link, patience);
	w->served = false;
	return writer_greet(w);
}

/*
 * The first acknowledgement on a new link.  Values below floor that are missing were counted when
 * they were found missing, so only those acknowledged since then can be new losses.
 */
static void writer_served(struct writer *w, int64_t silence_ms)
{
	uint64_t missing = 0;

	w->served = true;
	if (!w->last_ms)
		printf("acknowledged by %s\n", w->host);
	else
		printf("acknowledged by %s again after %" PRId64 " ms\n", w->host, silence_ms);
	w->why[0] = '\0';

	if (w->found < w->acked)
		missing = w->acked - (w->found > w->floor ? w->found : w->floor);
	if (missing)
		printf("gone: %" PRIu64 " acknowledged write%s\n", missing,
		       missing == 1 ? "" : "s");
	w->gone += missing;
	w->floor = w->acked;
}

static bool writer_write(struct writer *w)
{
	char command[96];
	redisReply *reply;
	int64_t now, silence = 0;

	snprintf(command, sizeof(command), "SET " KEY " %" PRIu64, w->acked + 1);
	reply = writer_ask(w, command);
	if (!reply)
		return false;
	freeReplyObject(reply);

	now = now_ms();
	if (w->last_ms)
		silence = now - w->last_ms;
	if (silence > w->longest_ms)
		w->longest_ms = silence;
	if (!w->served)
		writer_served(w, silence);
	w->acked++;
	w->last_ms = now;
	return true;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_signal};
	struct writer w = {.address = argv[1]};

	if (argc != 3 || (w.port = atoi(argv[2])) <= 0) {
		fprintf(stderr, "usage: writer ADDRESS PORT\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);

	while (!done) {
		bool fine = (w.link || writer_connect(&w)) && writer_write(&w);

		pause_ms(fine ? PAUSE_MS : RETRY_MS);
	}
	printf("total: %" PRIu64 " acknowledged, %" PRIu64 " gone, %" PRId64
	       " ms the longest silence\n",
	       w.acked, w.gone, w.longest_ms);
	writer_hang_up(&w);
	return 0;
}
