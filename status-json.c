/* SPDX-License-Identifier: MIT */
/*
 * The facts of status as one JSON object (RFC 8259), for programs.  Every key is
 * always there; what is not known is null.  Keys are added, never changed.
 */
#include "vip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SCHEMA = 1 };		/* raised when a key would change its meaning */

/* Writing -------------------------------------------------------------- */

/* Length of the UTF-8 sequence at `s` (RFC 3629 section 4), 0 when it is none. */
static size_t utf8_length(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 0x6 ? 2 : s[0] >> 4 == 0xe ? 3 :
		s[0] >> 3 == 0x1e ? 4 : 0;
	uint32_t value = n > 1 ? s[0] & (0x7fu >> n) : s[0];

	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 0x2)
			return 0;
		value = value << 6 | (s[i] & 0x3f);
	}
	if (n > 1 && (value < least[n] || value > 0x10ffff || value >> 11 == 0x1b))
		return 0;
	return n;
}

/* RFC 8259 section 7; control characters of the upper half are escaped, too. */
static void put_text(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	putchar('"');
	while (*s != '\0') {
		size_t n = utf8_length(s);

		if (n == 0)
			printf("\\ufffd");
		else if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			printf("\\u%04x", *s);
		else if (n == 2 && s[0] == 0xc2 && s[1] < 0xa0)
			printf("\\u%04x", s[1]);
		else
			printf("%.*s", (int)n, (const char *)s);
		s += n == 0 ? 1 : n;
	}
	putchar('"');
}

/* A member of an object; `first` is of the object, and cleared. */
static void put_key(bool *first, const char *key)
{
	printf("%s\"%s\": ", *first ? "" : ", ", key);
	*first = false;
}

static void member_text(bool *first, const char *key, const char *text)
{
	put_key(first, key);
	if (text != NULL)
		put_text(text);
	else
		printf("null");
}

static void member_number(bool *first, const char *key, bool known, uint64_t number)
{
	put_key(first, key);
	if (known)
		printf("%" PRIu64, number);
	else
		printf("null");
}

static void member_bool(bool *first, const char *key, bool value)
{
	put_key(first, key);
	printf("%s", value ? "true" : "false");
}

/* Parts ---------------------------------------------------------------- */

/* {"host": ..., "port": ...}; a unix socket has its path as host, and no port. */
static void put_endpoint(const struct endpoint *e)
{
	bool first = true;

	putchar('{');
	member_text(&first, "host", e->host);
	member_number(&first, "port", e->port != 0, e->port);
	putchar('}');
}

static void put_vote(const struct vote *vote)
{
	static const char *const kinds[] = {
		[ANSWER_NONE] = "none", [ANSWER_MASTER] = "master", [ANSWER_UNKNOWN] = "unknown",
		[ANSWER_DENIED] = "denied",
	};
	const struct answer *a = &vote->answer;
	bool first = true;

	putchar('{');
	member_text(&first, "host", vote->sentinel.host);
	member_number(&first, "port", vote->sentinel.port != 0, vote->sentinel.port);
	member_text(&first, "answer", kinds[a->kind]);
	put_key(&first, "master");
	if (a->kind == ANSWER_MASTER)
		put_endpoint(&a->master);
	else
		printf("null");
	member_number(&first, "epoch", vote->has_epoch, vote->epoch);
	member_text(&first, "error", a->error[0] != '\0' ? a->error : NULL);
	putchar('}');
}

static void put_places(const struct facts *facts, const struct ip *ip)
{
	bool first_place = true;

	putchar('[');
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];
		const struct link *link = facts_link(facts, a->ifindex);
		bool first = true;

		if (!ip_equal(&a->ip, ip))
			continue;
		printf("%s{", first_place ? "" : ", ");
		member_text(&first, "interface", link != NULL ? link->name : NULL);
		member_number(&first, "prefix", true, a->prefixlen);
		putchar('}');
		first_place = false;
	}
	putchar(']');
}

static void put_holders(const struct survey *survey, const struct state *state,
			const struct sighting *s)
{
	if (!s->question.asked) {
		printf("null");
		return;
	}
	putchar('[');
	for (size_t i = 0; i < s->question.holder_count; i++) {
		const uint8_t *mac = s->question.holders[i];
		const struct ip *host = survey_host(survey, mac);
		char text[MAC_TEXT_SIZE], ip[IP_TEXT_SIZE];
		bool first = true;

		printf("%s{", i == 0 ? "" : ", ");
		member_text(&first, "mac", mac_text(mac, text));
		member_text(&first, "host", host != NULL ? ip_text(host, ip) : NULL);
		put_key(&first, "expected");
		if (state->known)
			printf("%s", survey_is_intruder(survey, state, s, i) ? "false" : "true");
		else
			printf("null");
		putchar('}');
	}
	putchar(']');
}

static void put_vip(const struct survey *survey, const struct state *state,
		    const struct sighting *s)
{
	bool first = true;
	char ip[IP_TEXT_SIZE];

	putchar('{');
	member_text(&first, "address", ip_text(&s->vip->ip, ip));
	member_number(&first, "prefix", true, s->vip->prefixlen);
	member_text(&first, "interface", s->link != NULL ? s->link->name : NULL);
	put_key(&first, "here");
	if (state->blind)
		printf("null");
	else
		put_places(&state->run.facts, &s->vip->ip);
	put_key(&first, "answered_by");
	put_holders(survey, state, s);
	member_text(&first, "not_asked", s->question.asked ? NULL : s->link == NULL ?
		    "no interface of this host is meant for it" : s->question.why.text);
	member_number(&first, "connections", survey->connections_error == 0, s->connections);
	if (s->listening == LISTENING_UNKNOWN)
		member_text(&first, "listens", NULL);
	else
		member_bool(&first, "listens", s->listening == LISTENING_THERE);
	putchar('}');
}

static void put_problems(const struct judgement *j)
{
	putchar('[');
	for (size_t i = 0; i < j->problem_count; i++) {
		printf("%s", i == 0 ? "" : ", ");
		put_text(j->problems[i].text);
	}
	putchar(']');
}

static void put_master(const struct survey *survey, const struct state *state,
		       const struct judgement *j)
{
	const struct master *m = state->run.master;
	bool first = true;

	printf("{");
	member_text(&first, "name", m->name);
	member_text(&first, "verdict", status_word(j->verdict));
	member_text(&first, "summary", j->summary.text);
	put_key(&first, "problems");
	put_problems(j);
	member_text(&first, "remedy", j->remedy.text[0] != '\0' ? j->remedy.text : NULL);
	put_key(&first, "master");
	if (state->known)
		put_endpoint(&state->run.truth.master);
	else
		printf("null");
	if (state->known && !state->blind)
		member_bool(&first, "this_host", state->here);
	else
		member_text(&first, "this_host", NULL);
	printf(",\n   \"vips\": [");
	for (size_t i = 0; i < m->vip_count; i++) {
		printf("%s\n    ", i == 0 ? "" : ",");
		put_vip(survey, state, &state->sightings[i]);
	}
	printf("],\n   \"sentinels\": [");
	for (size_t i = 0; i < state->council.count; i++) {
		printf("%s\n    ", i == 0 ? "" : ",");
		put_vote(&state->council.votes[i]);
	}
	printf("]}");
}

void status_json(const struct survey *survey, const struct judgement judgements[],
		 enum verdict verdict)
{
	char host[256] = "";		/* POSIX: HOST_NAME_MAX is 255 at most */
	bool first = true;

	gethostname(host, sizeof(host) - 1);
	putchar('{');
	member_number(&first, "schema", true, SCHEMA);
	member_text(&first, "host", host);
	member_text(&first, "verdict", status_word(verdict));
	printf(",\n \"masters\": [");
	for (size_t i = 0; i < survey->count; i++) {
		printf("%s\n  ", i == 0 ? "" : ",");
		put_master(survey, &survey->states[i], &judgements[i]);
	}
	printf("]}\n");
}
