/* SPDX-License-Identifier: MIT */
/*
 * Who is master: what one Sentinel says, resolved; and what all Sentinels of a
 * master together say.  It decides by Sentinel's own rule and by no other.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	RESOLVE_MIN_MS = 50,
	TALKS_MAX = 500,	/* Sentinels of all masters together: a process may open 1024 files */
	NAMES_MS = 200,		/* beyond the deadline, for the names of all masters together */
};

int truth_of(const struct master *master, const struct endpoint *at, int timeout_ms,
	     struct truth *truth, struct why *why)
{
	struct truth found = { .where = TRUTH_LOOK, .master = *at, .from = truth->from };
	int n;

	if (at->ip.family != AF_UNSPEC && !ip_is_hosts(&at->ip))
		return why_set(why, -EINVAL, "the master is said to be %s, which is no host's address: see "
			       "sentinel monitor and announce-ip", at->host);
	/* inet_aton() would read more into digits than an address of four numbers */
	if (at->ip.family == AF_UNSPEC && at->host[strspn(at->host, "0123456789.")] == '\0')
		return why_set(why, -EINVAL, "the master is said to be \"%s\", which is neither an address "
			       "nor a host name", at->host);
	if (at->ip.family != AF_UNSPEC) {
		found.ips[found.ip_count++] = at->ip;
	} else if (config_is_self(master, at->host)) {
		found.where = TRUTH_HERE;
	} else {
		n = resolve_host(at->host, timeout_ms, found.ips, RESOLVED_MAX);
		if (n < 0)
			return why_set(why, n, "cannot resolve %s: %s; put it into /etc/hosts, or into "
				       "self = on the host that it names", at->host,
				       n == -ENOENT ? "no such name" :
				       n == -EHOSTUNREACH ? "no name server answers" : strerror(-n));
		found.ip_count = (size_t)n;
	}
	*truth = found;
	return 0;
}

/* Asking --------------------------------------------------------------- */

/* A conversation of several masters, and where its answers lie for one. */
struct place {
	size_t talk;		/* NO_TALK: there are too many */
	size_t address, epoch, fellows;
};

#define NO_TALK SIZE_MAX

struct talks {
	struct sentinel *items[TALKS_MAX];
	const struct endpoint *at[TALKS_MAX];
	const struct master *as[TALKS_MAX];	/* whose user and password it was opened with */
	size_t count;
};

static void close_talks(struct talks *talks)
{
	for (size_t i = 0; i < talks->count; i++)
		sentinel_close(&talks->items[i]);
}

/* The conversation with that Sentinel as that user, opened when it is the first time. */
static int find_talk(struct talks *talks, const struct master *master, const struct endpoint *at,
		     size_t *index)
{
	int err;

	for (size_t i = 0; i < talks->count; i++)
		if (endpoint_equal(talks->at[i], at) && sentinel_same_login(talks->as[i], master)) {
			*index = i;
			return 0;
		}
	*index = NO_TALK;
	if (talks->count == TALKS_MAX)
		return 0;
	err = sentinel_open(master, at, &talks->items[talks->count]);
	if (err < 0)
		return err;
	talks->at[talks->count] = at;
	talks->as[talks->count] = master;
	*index = talks->count++;
	return 0;
}

static int ask(struct talks *talks, const struct master *master, const struct endpoint *at,
	       bool fellows, struct place *place)
{
	int err = find_talk(talks, master, at, &place->talk);
	struct sentinel *s;

	if (err < 0 || place->talk == NO_TALK)
		return err;
	s = talks->items[place->talk];
	err = sentinel_ask(s, SENTINEL_ADDRESS, master->name, &place->address);
	if (err == 0)
		err = sentinel_ask(s, SENTINEL_MASTER, master->name, &place->epoch);
	if (err == 0 && fellows)
		err = sentinel_ask(s, SENTINEL_FELLOWS, master->name, &place->fellows);
	return err;
}

/* The address of GET-MASTER-ADDR-BY-NAME: in a failover SENTINEL MASTER has the old one. */
static void read_vote(const struct talks *talks, const struct place *place, struct council *council,
		      struct vote *vote)
{
	const struct sentinel *s;

	if (place->talk == NO_TALK) {
		snprintf(vote->answer.error, sizeof(vote->answer.error), "not asked");
		council->unasked++;
		return;
	}
	s = talks->items[place->talk];	/* NOLINT: ask() opened it */
	sentinel_address(s, place->address, &vote->answer);
	vote->has_epoch = sentinel_epoch(s, place->epoch, &vote->epoch);
}

static int ask_local(const struct master *const masters[], size_t count, double deadline_ms,
		     struct council councils[])
{
	CLEANUP(close_talks) struct talks talks = { .count = 0 };
	struct place *places = calloc(count + 1, sizeof(*places));
	int err = places == NULL ? -ENOMEM : 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		err = ask(&talks, masters[i], &masters[i]->sentinel, true, &places[i]);
	if (err == 0)
		sentinel_hear(talks.items, talks.count, deadline_ms);
	for (size_t i = 0; err == 0 && i < count; i++) {
		struct endpoint *fellows = NULL;
		size_t n = 0;
		int told = places[i].talk == NO_TALK ? -EPROTO :
			sentinel_others(talks.items[places[i].talk], places[i].fellows, &fellows, &n);

		councils[i].blind = told < 0;
		if (told == -ENOMEM)
			err = -ENOMEM;
		councils[i].votes = calloc(n + 1, sizeof(struct vote));
		if (councils[i].votes == NULL) {
			err = -ENOMEM;
		} else {
			councils[i].count = n + 1;
			councils[i].votes[0].sentinel = masters[i]->sentinel;
			read_vote(&talks, &places[i], &councils[i], &councils[i].votes[0]);
			if (places[i].talk != NO_TALK)
				sentinel_quorum(talks.items[places[i].talk], places[i].epoch,
						&councils[i].quorum);
			for (size_t j = 0; j < n; j++)
				councils[i].votes[j + 1].sentinel = fellows[j];
		}
		free(fellows);
	}
	free(places);
	return err;
}

static bool is_asked(const struct council *council, size_t index)
{
	return index > 0 && index < council->count && council->votes[index].sentinel.port != 0;
}

/*
 * A place for each master and each of its Sentinels, the local one left empty.  The first fellow of
 * each comes before the second of any, so that whoever is said to have a thousand fellows does
 * not take the others' places.
 */
static int ask_fellows(const struct master *const masters[], size_t count, double deadline_ms,
		       struct council councils[])
{
	CLEANUP(close_talks) struct talks talks = { .count = 0 };
	struct place *places;
	size_t most = 0, next = 0;
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		next += councils[i].count;
		most = councils[i].count > most ? councils[i].count : most;
	}
	places = calloc(next + 1, sizeof(*places));
	if (places == NULL)
		return -ENOMEM;
	next = 0;
	for (size_t j = 0; j < most; j++)
		for (size_t i = 0; err == 0 && i < count; i++)
			if (is_asked(&councils[i], j))
				err = ask(&talks, masters[i], &councils[i].votes[j].sentinel, false,
					  &places[next++]);
	if (err == 0)
		sentinel_hear(talks.items, talks.count, deadline_ms);
	next = 0;
	for (size_t j = 0; err == 0 && j < most; j++)
		for (size_t i = 0; i < count; i++)
			if (is_asked(&councils[i], j))
				read_vote(&talks, &places[next++], &councils[i],
					  &councils[i].votes[j]);
	free(places);
	return err;
}

/*
 * Sentinels may differ in announce-hostnames: one names the host, another its
 * address.  So that both are the same master, names are resolved here.
 */
static void resolve_votes(struct council *council, double deadline_ms)
{
	for (size_t i = 0; i < council->count; i++) {
		struct endpoint *e = &council->votes[i].answer.master;
		int left = clock_left(deadline_ms);
		struct ip ip;

		if (clock_ms() >= deadline_ms)
			return;
		if (council->votes[i].answer.kind != ANSWER_MASTER || e->ip.family != AF_UNSPEC ||
		    resolve_host(e->host, left < RESOLVE_MIN_MS ? RESOLVE_MIN_MS : left, &ip, 1) != 1)
			continue;
		for (size_t j = i; j < council->count; j++) {
			struct endpoint *same = &council->votes[j].answer.master;

			if (same->ip.family == AF_UNSPEC && strcasecmp(same->host, e->host) == 0 && same != e)
				same->ip = ip;
		}
		e->ip = ip;
	}
}

int council_ask(const struct master *const masters[], size_t count, double deadline_ms,
		struct council councils[])
{
	double now = clock_ms();
	int err;

	for (size_t i = 0; i < count; i++)
		councils[i] = (struct council){ 0 };
	/* a local Sentinel that hangs must leave the others time to be heard */
	err = ask_local(masters, count, now + (deadline_ms - now) / 2, councils);
	if (err == 0)
		err = ask_fellows(masters, count, deadline_ms, councils);
	if (deadline_ms < clock_ms() + NAMES_MS)
		deadline_ms = clock_ms() + NAMES_MS;
	for (size_t i = 0; i < count; i++) {
		if (err == 0)
			resolve_votes(&councils[i], deadline_ms);
		else
			council_free(&councils[i]);
	}
	return err;
}

void council_free(struct council *council)
{
	free(council->votes);
	*council = (struct council){ 0 };
}

/* Deciding ------------------------------------------------------------- */

bool council_is_small(const struct council *council)
{
	return council->count < council->quorum;
}

bool council_decide(const struct council *council, bool but_local, struct endpoint *master)
{
	const struct vote *best = NULL;
	size_t answered = 0;
	bool agreed = true;

	for (size_t i = but_local ? 1 : 0; i < council->count; i++) {
		const struct vote *vote = &council->votes[i];

		if (vote->answer.kind != ANSWER_MASTER || !vote->has_epoch)
			continue;
		answered++;
		if (best == NULL || vote->epoch > best->epoch) {
			best = vote;
			agreed = true;
		} else if (but_local && vote->epoch == best->epoch &&
			   (vote->answer.master.ip.family == AF_UNSPEC) !=
			   (best->answer.master.ip.family == AF_UNSPEC)) {
			/* a name that does not resolve here contradicts no address */
			if (best->answer.master.ip.family == AF_UNSPEC)
				best = vote;
		} else if (vote->epoch == best->epoch &&
			   !endpoint_equal(&vote->answer.master, &best->answer.master)) {
			agreed = false;
		}
	}
	if (council->blind || council_is_small(council) || best == NULL || !agreed ||
	    answered * 2 <= council->count)
		return false;
	*master = best->answer.master;
	return true;
}

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
			 "more than %d; ", council->unasked, council->count, TALKS_MAX);
	for (size_t i = 0; i < council->count; i++) {
		line_add(line, "%s%s: ", i > 0 ? ", " : "",
			 endpoint_text(&council->votes[i].sentinel, at));
		vote_tell(&council->votes[i], line);
	}
	if (council->blind && council->count > 0 && council->votes[0].answer.kind == ANSWER_MASTER)
		line_add(line, ", but not who the other Sentinels are");
}
