/* SPDX-License-Identifier: MIT */
/*
 * What Sentinels say: one conversation with all kinds of questions, or the councils of two
 * masters and what they decide.  The first byte chooses, the rest is what is heard.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MASTERS = 2, DEADLINE_MS = 500 };

/* In place of resolve.c: a resolver that is always the same, and has no child. */
int resolve_host(const char *name, int timeout_ms, struct ip *out, size_t max)
{
	size_t n = strlen(name) % 4 < max ? strlen(name) % 4 : max;

	must(timeout_ms > 0 && max > 0);
	if (n == 0)
		return -ENOENT;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct ip){ .family = AF_INET, .bytes = { 10, 0, (uint8_t)i, (uint8_t)name[0] } };
	return (int)n;
}

static void check_endpoint(const struct endpoint *e)
{
	char text[ENDPOINT_TEXT_SIZE];

	must(memchr(e->host, '\0', sizeof(e->host)) != NULL && e->host[0] != '\0');
	must(e->ip.family == AF_UNSPEC || e->ip.family == AF_INET || e->ip.family == AF_INET6);
	must(strlen(endpoint_text(e, text)) < ENDPOINT_TEXT_SIZE);
}

static void check_answer(const struct answer *a)
{
	must(memchr(a->error, '\0', sizeof(a->error)) != NULL);
	must(strpbrk(a->error, "\r\n") == NULL);
	if (a->kind == ANSWER_MASTER) {
		check_endpoint(&a->master);
		must(a->master.port != 0);
	}
	if (a->kind == ANSWER_NONE || a->kind == ANSWER_DENIED)
		must(a->error[0] != '\0');
}

static void check_others(const struct sentinel *s, size_t index)
{
	struct endpoint *others = NULL;
	size_t count = 77;
	int err = sentinel_others(s, index, &others, &count);

	must(err == 0 || (err == -EPROTO && others == NULL && count == 77));
	for (size_t i = 0; err == 0 && i < count; i++)
		check_endpoint(&others[i]);
	free(others);
}

static void converse(const struct master *master)
{
	static const char *const fields[] = { "config-epoch", "ip", "flags", "" };
	struct sentinel *s = NULL;
	struct answer answer;
	uint64_t epoch = 77;
	size_t index[5];
	char id[SENTINEL_ID_SIZE];

	must(sentinel_open(master, &master->sentinel, &s) == 0);
	for (unsigned q = SENTINEL_ADDRESS; q <= SENTINEL_MYID; q++)
		must(sentinel_ask(s, (enum sentinel_question)q, master->name, &index[q]) == 0);
	sentinel_send(s);
	sentinel_hear(&s, 1, clock_ms() + DEADLINE_MS);
	/* any question's answer, read as that of any other */
	for (unsigned q = SENTINEL_ADDRESS; q <= SENTINEL_MYID; q++) {
		sentinel_address(s, index[q], &answer);
		check_answer(&answer);
		must(sentinel_epoch(s, index[q], &epoch) || epoch == 77);
		for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
			must(sentinel_field(s, index[q], fields[i]) == NULL ||
			     strlen(sentinel_field(s, index[q], fields[i])) < 5 << 20);
		check_others(s, index[q]);
		for (size_t n = 0; n < 3; n++)
			must(!sentinel_others_id(s, index[q], n, id) || strlen(id) == sizeof(id) - 1);
		must(!sentinel_id(s, index[q], id) || strlen(id) == sizeof(id) - 1);
		epoch = 77;
	}
	sentinel_close(&s);
	must(s == NULL);
}

/* Sentinel's rule, once more and plainly. */
static void check_decision(const struct council *c, bool but_local, const struct vote *best)
{
	uint64_t highest = 0;
	size_t answered = 0;
	bool said = false;

	must(!c->blind && c->count >= c->quorum);
	for (size_t i = but_local; i < c->count; i++)
		if (c->votes[i].answer.kind == ANSWER_MASTER && c->votes[i].has_epoch) {
			answered++;
			highest = c->votes[i].epoch > highest ? c->votes[i].epoch : highest;
		}
	must(answered * 2 > c->count);
	for (size_t i = but_local; i < c->count; i++) {
		const struct vote *v = &c->votes[i];

		if (v->answer.kind != ANSWER_MASTER || !v->has_epoch || v->epoch != highest)
			continue;
		said = said || v == best;
		must(vote_same(v, best) || (but_local && v->answer.master.ip.family == AF_UNSPEC));
		must(vote_same(v, best) == vote_same(best, v));
	}
	must(said);
}

static void settle(const struct master *master, const struct council *c)
{
	struct why why = { .text = "" };
	struct line line = { 0 };

	must(c->count > 0);
	council_tell(c, &line);
	must(line.length == strlen(line.text));
	for (size_t i = 0; i < c->count; i++)
		if (i == 0 || c->votes[i].sentinel.port != 0)	/* else it was not asked */
			check_answer(&c->votes[i].answer);
	for (int but_local = 0; but_local < 2; but_local++) {
		const struct vote *vote = council_decide(c, but_local);
		struct truth truth = { .ip_count = 77 };

		must(vote == NULL || but_local || !council_differs_by_names(c));
		if (vote == NULL)
			continue;
		check_decision(c, but_local, vote);
		if (truth_of_vote(master, vote, 100, &truth, &why) < 0) {
			fuzz_check_why(&why);
			must(truth.ip_count == 77);
		} else {
			must(truth.ip_count <= RESOLVED_MAX);
			must(truth.ip_count > 0 || truth.where == TRUTH_HERE);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char user[] = "vip", password[] = "secret", self[] = "redis-1 redis-2";
	static const char *const hosts[] = { "127.0.0.1", "fd00::1", "localhost", "nowhere." };
	struct fuzz_world world = { .script = { data, size } };
	struct master masters[MASTERS] = { { .name = "one", .self = self }, { .name = "two" } };
	const struct master *const all[] = { &masters[0], &masters[1] };
	uint8_t mode = fuzz_byte(&world.script);
	struct council councils[MASTERS];
	double begun;

	must(endpoint_make(hosts[mode >> 5 & 3], "26379", &masters[0].sentinel));
	if ((mode & 128) != 0)
		masters[0].sentinel = (struct endpoint){ .host = "/run/sentinel.sock" };
	masters[1].sentinel = masters[0].sentinel;
	if ((mode & 1) == 0)
		must(endpoint_make("sentinel-2", "26379", &masters[1].sentinel));
	for (int i = 0; (mode & 2) != 0 && i < MASTERS; i++) {
		masters[i].user = (mode & 4) != 0 ? user : NULL;
		masters[i].password = password;
	}
	world.framed = (mode & 8) != 0;
	fuzz_begin(&world);
	begun = clock_ms();
	if ((mode & 16) == 0) {
		converse(&masters[0]);
	} else if (council_ask(all, MASTERS, clock_ms() + DEADLINE_MS, councils) == 0) {
		for (int i = 0; i < MASTERS; i++) {
			settle(&masters[i], &councils[i]);
			council_free(&councils[i]);
		}
	}
	must(clock_ms() - begun < 2 * DEADLINE_MS);
	fuzz_end();
	return 0;
}
