/* SPDX-License-Identifier: MIT */
/*
 * Who is master: what one Sentinel says, resolved; and all Sentinels of a master, asked at
 * once.  What they together say is council.c's affair.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	RESOLVE_MIN_MS = 50,
	NAMES_MS = 200,		/* beyond the deadline, for the names of all masters together */
	ADDRESSES_MS = 200,	/* for the kernel, which says at once what they are */
};

static int find_truth(const struct master *master, const struct endpoint *at,
		      const struct ip *ips, size_t ip_count, int timeout_ms, struct truth *truth,
		      struct why *why)
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
	if (config_is_self(master, at->host)) {
		found.where = TRUTH_HERE;
	} else if (at->ip.family != AF_UNSPEC) {
		found.ips[found.ip_count++] = at->ip;
	} else if (ip_count > 0) {
		memcpy(found.ips, ips, ip_count * sizeof(*ips));
		found.ip_count = ip_count;
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

int truth_of(const struct master *master, const struct endpoint *at, int timeout_ms,
	     struct truth *truth, struct why *why)
{
	return find_truth(master, at, NULL, 0, timeout_ms, truth, why);
}

int truth_of_vote(const struct master *master, const struct vote *vote, int timeout_ms,
		  struct truth *truth, struct why *why)
{
	return find_truth(master, &vote->answer.master, vote->ips, vote->ip_count, timeout_ms,
			  truth, why);
}

/* Asking --------------------------------------------------------------- */

/* A conversation of several masters, and where its answers lie for one. */
struct place {
	size_t talk;		/* NO_TALK: there are too many */
	size_t address, epoch, fellows;
};

#define NO_TALK SIZE_MAX
#define NO_ANSWER SIZE_MAX

struct talks {
	struct sentinel *items[COUNCIL_ASKED_MAX];
	const struct endpoint *at[COUNCIL_ASKED_MAX];
	const struct master *as[COUNCIL_ASKED_MAX];	/* whose user and password it was opened with */
	size_t id[COUNCIL_ASKED_MAX];	/* where its id is; NO_ANSWER: it was not asked for */
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
	if (talks->count == COUNCIL_ASKED_MAX)
		return 0;
	err = sentinel_open(master, at, &talks->items[talks->count]);
	if (err < 0)
		return err;
	talks->at[talks->count] = at;
	talks->as[talks->count] = master;
	talks->id[talks->count] = NO_ANSWER;
	*index = talks->count++;
	return 0;
}

/* `fellow` is NULL for the local one, who is asked for the others. */
static int ask(struct talks *talks, const struct master *master, const struct vote *fellow,
	       struct place *place)
{
	int err = find_talk(talks, master, fellow != NULL ? &fellow->sentinel : &master->sentinel,
			    &place->talk);
	struct sentinel *s;

	if (err < 0 || place->talk == NO_TALK)
		return err;
	s = talks->items[place->talk];
	err = sentinel_ask(s, SENTINEL_ADDRESS, master->name, &place->address);
	if (err == 0)
		err = sentinel_ask(s, SENTINEL_MASTER, master->name, &place->epoch);
	if (err == 0 && fellow == NULL)
		err = sentinel_ask(s, SENTINEL_FELLOWS, master->name, &place->fellows);
	else if (err == 0 && fellow->id[0] != '\0' && talks->id[place->talk] == NO_ANSWER)
		err = sentinel_ask(s, SENTINEL_MYID, master->name, &talks->id[place->talk]);
	return err;
}

/*
 * Addresses are given away again: that of a Sentinel long gone may be one of another cluster by
 * now, which knows a master of the same name.  Where an id is not said, as before Redis 6.2 or
 * for want of permission, the address is all there is.
 */
static bool is_another(const struct talks *talks, const struct place *place, const struct vote *vote)
{
	char id[SENTINEL_ID_SIZE];

	return vote->id[0] != '\0' && talks->id[place->talk] != NO_ANSWER &&
		sentinel_id(talks->items[place->talk], talks->id[place->talk], id) &&
		strcmp(id, vote->id) != 0;
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
	if (!is_another(talks, place, vote))
		return;
	vote->has_epoch = false;
	vote->answer = (struct answer){ .kind = ANSWER_NONE };
	snprintf(vote->answer.error, sizeof(vote->answer.error),
		 "is another Sentinel than the one known there");
}

static int ask_local(const struct master *const masters[], size_t count, double deadline_ms,
		     struct council councils[])
{
	CLEANUP(close_talks) struct talks talks = { .count = 0 };
	struct place *places = calloc(count + 1, sizeof(*places));
	int err = places == NULL ? -ENOMEM : 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		err = ask(&talks, masters[i], NULL, &places[i]);
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
			for (size_t j = 0; j < n; j++) {
				councils[i].votes[j + 1].sentinel = fellows[j];
				(void)sentinel_others_id(talks.items[places[i].talk], places[i].fellows,
							 j, councils[i].votes[j + 1].id);
			}
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
				err = ask(&talks, masters[i], &councils[i].votes[j], &places[next++]);
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

/* Names --------------------------------------------------------------- */

/*
 * council_free() frees what is kept here.  gcc's analyzer forgets which vote of the array it was,
 * and takes it for lost when the next one is looked at.
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* Of the votes before it the one that has the same name, so that it is resolved once. */
static const struct vote *same_name(const struct council *council, size_t index)
{
	const struct endpoint *e = &council->votes[index].answer.master;

	for (size_t i = 0; i < index; i++) {
		const struct vote *vote = &council->votes[i];

		if (vote->answer.kind == ANSWER_MASTER && strcasecmp(vote->answer.master.host, e->host) == 0)
			return vote;
	}
	return NULL;
}

static void keep_addresses(struct vote *vote, const struct ip *ips, size_t count)
{
	vote->ips = count > 0 ? calloc(count, sizeof(*ips)) : NULL;
	vote->ip_count = vote->ips != NULL ? count : 0;	/* without memory: not resolved */
	if (vote->ip_count > 0)
		memcpy(vote->ips, ips, count * sizeof(*ips));
}

/*
 * Sentinels may differ in announce-hostnames: one names the host, another its
 * address.  So that both are the same master, names are resolved here; but for those of this
 * host, which are not the resolver's affair.
 */
static void resolve_votes(const struct master *master, struct council *council, double deadline_ms)
{
	for (size_t i = 0; i < council->count; i++) {
		struct vote *vote = &council->votes[i];
		const struct endpoint *e = &vote->answer.master;
		int left = clock_left(deadline_ms);
		const struct vote *same;
		struct ip ips[RESOLVED_MAX];
		int n;

		if (vote->answer.kind != ANSWER_MASTER)
			continue;
		vote->here = config_is_self(master, e->host);
		if (vote->here || e->ip.family != AF_UNSPEC)
			continue;
		same = same_name(council, i);
		if (same != NULL) {
			keep_addresses(vote, same->ips, same->ip_count);
		} else if (clock_ms() < deadline_ms) {
			n = resolve_host(e->host, left < RESOLVE_MIN_MS ? RESOLVE_MIN_MS : left, ips,
					 RESOLVED_MAX);
			keep_addresses(vote, ips, n > 0 ? (size_t)n : 0);
		}
	}
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* Whether a name that is known stands against another name or an address. */
static bool is_mixed(const struct council *council)
{
	const struct vote *named = NULL;

	for (size_t i = 0; named == NULL && i < council->count; i++)
		if (council->votes[i].here || council->votes[i].ip_count > 0)
			named = &council->votes[i];
	for (size_t i = 0; named != NULL && i < council->count; i++)
		if (council->votes[i].answer.kind == ANSWER_MASTER &&
		    !vote_same(&council->votes[i], named))
			return true;
	return false;
}

static bool stands_here(const struct master *master, const struct facts *facts, const struct ip *ip)
{
	for (size_t i = 0; i < master->vip_count; i++)
		if (ip_equal(&master->vips[i].ip, ip))
			return false;
	for (size_t i = 0; i < facts->address_count; i++)
		if (ip_equal(&facts->addresses[i].ip, ip))
			return true;
	return ip_is_loopback(ip);
}

/*
 * A name of `self` and an address of this host, or one in /etc/hosts for 127.0.1.1, are one master.
 * An address that is not here is not: another Sentinel that cannot resolve a new master's name
 * goes on to name the old one, at the new epoch.
 */
static void find_here(const struct master *master, const struct facts *facts, struct council *council)
{
	for (size_t i = 0; i < council->count; i++) {
		struct vote *vote = &council->votes[i];
		const struct ip *ip = &vote->answer.master.ip;

		if (vote->answer.kind != ANSWER_MASTER)
			continue;
		/* loopback in an address is the host of the Sentinel that said it */
		if (ip->family != AF_UNSPEC && !ip_is_loopback(ip))
			vote->here = vote->here || stands_here(master, facts, ip);
		for (size_t j = 0; j < vote->ip_count; j++)
			vote->here = vote->here || stands_here(master, facts, &vote->ips[j]);
	}
}

/* The names of all, then once this host's addresses, where they are needed at all. */
static void settle_names(const struct master *const masters[], size_t count, double deadline_ms,
			 struct council councils[])
{
	CLEANUP(netlink_close) struct netlink *netlink = NULL;
	CLEANUP(facts_free) struct facts facts = { 0 };
	bool looked = false;

	for (size_t i = 0; i < count; i++) {
		resolve_votes(masters[i], &councils[i], deadline_ms);
		if (!is_mixed(&councils[i]))
			continue;
		/* where the kernel does not say it, they stay two */
		if (!looked && netlink_open(clock_ms() + ADDRESSES_MS, &netlink) == 0)
			(void)vip_addresses(netlink, AF_UNSPEC, &facts);
		looked = true;
		if (facts.address_count > 0)
			find_here(masters[i], &facts, &councils[i]);
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
	if (err == 0)
		settle_names(masters, count, deadline_ms, councils);
	for (size_t i = 0; err < 0 && i < count; i++)
		council_free(&councils[i]);
	return err;
}

void council_free(struct council *council)
{
	for (size_t i = 0; council->votes != NULL && i < council->count; i++)
		free(council->votes[i].ips);
	free(council->votes);
	*council = (struct council){ 0 };
}
