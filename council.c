/* SPDX-License-Identifier: MIT */
/*
 * What the Sentinels of a master together say, decided by Sentinel's own rule and by no
 * other, and told.  Pure: whoever asked them is truth.c.
 */
#include "vip.h"

#include <strings.h>

/* Deciding ------------------------------------------------------------- */

bool council_is_small(const struct council *council)
{
	return council->count < council->quorum;
}

static bool is_address(const struct vote *vote)
{
	return vote->answer.master.ip.family != AF_UNSPEC;
}

/* A name of another host that nobody could resolve. */
static bool is_unresolved(const struct vote *vote)
{
	return !is_address(vote) && !vote->here && vote->ip_count == 0;
}

bool vote_names(const struct vote *vote, const struct endpoint *at)
{
	const struct endpoint *e = &vote->answer.master;

	return endpoint_equal(e, at) ||
		(e->port == at->port && ip_is_one_of(&at->ip, vote->ips, vote->ip_count));
}

bool vote_same(const struct vote *a, const struct vote *b)
{
	const struct endpoint *at = &b->answer.master;

	if (vote_names(a, at) || vote_names(b, &a->answer.master))
		return true;
	if (a->answer.master.port != at->port || (is_address(a) && is_address(b)))
		return false;
	for (size_t i = 0; i < b->ip_count; i++)
		if (ip_is_one_of(&b->ips[i], a->ips, a->ip_count))
			return true;
	return a->here && b->here;
}

/* What stands at the highest epoch. */
struct top {
	const struct vote *best;	/* the first, so that it is the local one's spelling */
	size_t answered;		/* at whatever epoch */
	bool agreed;
	bool by_names;			/* not agreed, but no two addresses differ */
};

static struct top find_top(const struct council *council, bool but_local)
{
	struct top top = { .agreed = true, .by_names = true };

	for (size_t i = but_local ? 1 : 0; i < council->count; i++) {
		const struct vote *vote = &council->votes[i];

		if (vote->answer.kind != ANSWER_MASTER || !vote->has_epoch)
			continue;
		top.answered++;
		if (top.best == NULL || vote->epoch > top.best->epoch)
			top.best = vote;
	}
	for (const struct vote *a = top.best; a != NULL && a < council->votes + council->count; a++) {
		if (a->answer.kind != ANSWER_MASTER || !a->has_epoch || a->epoch != top.best->epoch)
			continue;
		for (const struct vote *b = top.best; b < a; b++) {
			if (b->answer.kind != ANSWER_MASTER || !b->has_epoch ||
			    b->epoch != top.best->epoch || vote_same(a, b))
				continue;
			/* to whom no name resolves, whoever does not name the old master is right */
			if (but_local && is_unresolved(a) != is_unresolved(b))
				continue;
			top.agreed = false;
			top.by_names = top.by_names && !(is_address(a) && is_address(b));
		}
	}
	return top;
}

static bool is_heard(const struct council *council, const struct top *top)
{
	return !council->blind && !council_is_small(council) && top->best != NULL &&
		top->answered * 2 > council->count;
}

const struct vote *council_decide(const struct council *council, bool but_local)
{
	struct top top = find_top(council, but_local);

	if (!is_heard(council, &top) || !top.agreed)
		return NULL;
	for (const struct vote *v = top.best; but_local && v < council->votes + council->count; v++)
		if (v->answer.kind == ANSWER_MASTER && v->has_epoch && v->epoch == top.best->epoch &&
		    !is_unresolved(v))
			return v;
	return top.best;
}

bool council_differs_by_names(const struct council *council)
{
	struct top top = find_top(council, false);

	return is_heard(council, &top) && !top.agreed && top.by_names;
}

/* Telling -------------------------------------------------------------- */

void vote_tell(const struct vote *vote, struct line *line)
{
	const struct answer *answer = &vote->answer;
	char text[ENDPOINT_TEXT_SIZE];

	if (answer->kind == ANSWER_UNKNOWN)
		line_add(line, "does not know it");
	else if (answer->kind != ANSWER_MASTER)
		line_add(line, "%s", answer->error[0] != '\0' ? answer->error : "cannot be asked");
	else if (!vote->has_epoch)
		line_add(line, "%s, no epoch", endpoint_text(&answer->master, text));
	else
		line_add(line, "%s, epoch %llu", endpoint_text(&answer->master, text),
			 (unsigned long long)vote->epoch);
}

void council_tell(const struct council *council, struct line *line)
{
	char at[ENDPOINT_TEXT_SIZE];

	if (council->unasked > 0)
		line_add(line, "%zu of its %zu Sentinels were not asked, since those of all masters are "
			 "more than %d; ", council->unasked, council->count, COUNCIL_ASKED_MAX);
	for (size_t i = 0; i < council->count; i++) {
		line_add(line, "%s%s: ", i > 0 ? ", " : "",
			 endpoint_text(&council->votes[i].sentinel, at));
		vote_tell(&council->votes[i], line);
	}
	if (council->blind && council->count > 0 && council->votes[0].answer.kind == ANSWER_MASTER)
		line_add(line, ", but not who the other Sentinels are");
}
