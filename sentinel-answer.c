/* SPDX-License-Identifier: MIT */
/*
 * What a Sentinel has said, read from hiredis' replies: whatever is not as it must be is no
 * answer.  What the answers mean for this host is truth.c's affair.
 */
#include "vip.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OTHERS_MAX = 1000 };	/* Sentinels or replicas of one master */

static bool is_text(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING && strlen(r->str) == r->len;
}

static bool is_denial(const char *error)
{
	return strncmp(error, "NOAUTH", 6) == 0 || strncmp(error, "WRONGPASS", 9) == 0 ||
		strncmp(error, "NOPERM", 6) == 0;
}

/* What there is when there is no usable answer. */
static void say_why_not(const struct sentinel *s, const redisReply *r, struct answer *answer)
{
	const redisReply *welcome = sentinel_welcome(s);

	answer->kind = ANSWER_NONE;
	if (r == NULL) {
		snprintf(answer->error, sizeof(answer->error), "%s", sentinel_trouble(s));
	} else if (r->type == REDIS_REPLY_ERROR) {
		answer->kind = is_denial(r->str) ? ANSWER_DENIED : ANSWER_NONE;
		/* why AUTH failed says more than that it is wanted */
		if (answer->kind == ANSWER_DENIED && welcome != NULL && welcome->type == REDIS_REPLY_ERROR)
			r = welcome;
		snprintf(answer->error, sizeof(answer->error), "%.60s", r->str);
		answer->error[strcspn(answer->error, "\r\n")] = '\0';
	}
	if (answer->error[0] == '\0')
		snprintf(answer->error, sizeof(answer->error), "it does not speak as a Sentinel");
}

void sentinel_address(const struct sentinel *sentinel, size_t index, struct answer *answer)
{
	const redisReply *r = sentinel_reply(sentinel, index);

	*answer = (struct answer){ .kind = ANSWER_NONE };
	if (r != NULL && (r->type == REDIS_REPLY_NIL ||
			  (r->type == REDIS_REPLY_ARRAY && r->elements == 0))) {
		answer->kind = ANSWER_UNKNOWN;
		return;
	}
	if (r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == 2 &&
	    is_text(r->element[0]) && is_text(r->element[1]) &&
	    endpoint_make(r->element[0]->str, r->element[1]->str, &answer->master)) {
		answer->kind = ANSWER_MASTER;
		return;
	}
	say_why_not(sentinel, r, answer);
}

/* SENTINEL MASTER and each of SENTINEL SENTINELS: names and values in turn. */
static const char *field(const redisReply *r, const char *name)
{
	if (r == NULL || r->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i + 1 < r->elements; i += 2)
		if (is_text(r->element[i]) && is_text(r->element[i + 1]) &&
		    strcmp(r->element[i]->str, name) == 0)
			return r->element[i + 1]->str;
	return NULL;
}

const char *sentinel_field(const struct sentinel *sentinel, size_t index, const char *name)
{
	return field(sentinel_reply(sentinel, index), name);
}

static bool read_number(const struct sentinel *sentinel, size_t index, const char *name, uint64_t *number)
{
	const char *text = field(sentinel_reply(sentinel, index), name);
	char *end;
	uint64_t value;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0)
		return false;
	*number = value;
	return true;
}

bool sentinel_epoch(const struct sentinel *sentinel, size_t index, uint64_t *epoch)
{
	return read_number(sentinel, index, "config-epoch", epoch);
}

bool sentinel_quorum(const struct sentinel *sentinel, size_t index, uint64_t *quorum)
{
	return read_number(sentinel, index, "quorum", quorum);
}

/* "[no runid]" and the like are none. */
static bool copy_id(const char *text, char id[SENTINEL_ID_SIZE])
{
	if (text == NULL || strlen(text) != SENTINEL_ID_SIZE - 1 ||
	    text[strspn(text, "0123456789abcdef")] != '\0')
		return false;
	memcpy(id, text, SENTINEL_ID_SIZE);
	return true;
}

bool sentinel_id(const struct sentinel *sentinel, size_t index, char id[SENTINEL_ID_SIZE])
{
	const redisReply *r = sentinel_reply(sentinel, index);

	return r != NULL && is_text(r) && copy_id(r->str, id);
}

bool sentinel_others_id(const struct sentinel *sentinel, size_t index, size_t n,
			char id[SENTINEL_ID_SIZE])
{
	const redisReply *r = sentinel_reply(sentinel, index);

	return r != NULL && r->type == REDIS_REPLY_ARRAY && n < r->elements &&
		copy_id(field(r->element[n], "runid"), id);
}

int sentinel_others(const struct sentinel *sentinel, size_t index, struct endpoint **others,
		    size_t *count)
{
	const redisReply *r = sentinel_reply(sentinel, index);
	struct endpoint *list;
	size_t n = 0;

	if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements > OTHERS_MAX)
		return -EPROTO;
	list = calloc(r->elements + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < r->elements; i++) {
		const char *host = field(r->element[i], "ip"), *port = field(r->element[i], "port");

		/* one that cannot be asked still counts among those that must agree */
		if (host == NULL || port == NULL || !endpoint_make(host, port, &list[n]))
			snprintf(list[n].host, sizeof(list[n].host), "?");
		n++;
	}
	*others = list;
	*count = n;
	return 0;
}
