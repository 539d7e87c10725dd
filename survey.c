/* SPDX-License-Identifier: MIT */
/*
 * A look at everything that can be seen from this host: what the Sentinels say,
 * what the kernel holds, who on the links answers for it.  For status and check; it
 * changes nothing and judges little.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	COUNCIL_MS = 1000,	/* for all Sentinels */
	RESOLVE_MS = 500,	/* for the names of all masters together */
	COUNT_MS = 300,		/* for the kernel's list of connections */
	LISTEN_MS = 300,	/* for all its lists of listeners */
};

/* One master ----------------------------------------------------------- */

/* Where the VIP belongs: on the link of the claim; else where it stands already. */
static const struct link *find_link(const struct state *state, const struct vip *vip)
{
	const struct facts *facts = &state->run.facts;

	for (size_t i = 0; i < state->claim.step_count; i++)
		if (state->claim.steps[i].vip == vip && state->claim.steps[i].kind != STEP_DELETE)
			return state->claim.steps[i].link;
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct link *link = facts_link(facts, facts->addresses[i].ifindex);

		if (ip_equal(&facts->addresses[i].ip, &vip->ip) && link != NULL &&
		    (link->flags & IFF_LOOPBACK) == 0)
			return link;
	}
	return NULL;
}

static bool stands_here(const struct facts *facts, const struct ip *ip)
{
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct link *link = facts_link(facts, facts->addresses[i].ifindex);

		if (ip_equal(&facts->addresses[i].ip, ip) &&
		    (link == NULL || (link->flags & IFF_LOOPBACK) == 0))
			return true;
	}
	return false;
}

/* Truth, facts, and what would be done: now, and if this host were the master. */
static void look(struct state *state, double resolve_deadline)
{
	struct run *run = &state->run;
	struct truth truth;
	struct why why;
	int err;

	state->error = run_decide(run, &state->council, clock_left(resolve_deadline));
	state->known = state->error == 0;
	why = run->why;
	if (!state->known)
		run->truth = (struct truth){ .where = TRUTH_ELSEWHERE };
	err = run_gather(run);
	state->blind = err < 0;
	if (state->blind)
		state->claim_why = run->why;
	state->here = state->known && !state->blind && plan_is_here(&run->truth, &run->facts);
	if (err == 0 && state->known)
		err = plan_make(run->config, run->master, &run->truth, &run->facts, &run->plan,
				&run->why);
	if (state->known)
		state->error = err;
	else
		run->why = why;
	truth = run->truth;
	truth.where = TRUTH_HERE;
	state->claim_error = state->blind ? err :
		plan_make(run->config, run->master, &truth, &run->facts, &state->claim,
			  &state->claim_why);
}

static int list_sightings(struct state *state)
{
	const struct master *master = state->run.master;

	state->sightings = calloc(master->vip_count + 1, sizeof(*state->sightings));
	if (state->sightings == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < master->vip_count; i++) {
		struct sighting *s = &state->sightings[i];

		s->vip = &master->vips[i];
		s->link = find_link(state, s->vip);
		s->here = stands_here(&state->run.facts, &s->vip->ip);
	}
	return 0;
}

/* What is asked of the links ------------------------------------------- */

/* Masters share servers and Sentinels: each is asked for once on a link. */
static int add_host(struct survey *survey, const struct link *link, const struct ip *ip)
{
	struct question *moved;

	for (size_t i = 0; i < survey->host_count; i++)
		if (survey->hosts[i].link->ifindex == link->ifindex &&
		    ip_equal(&survey->hosts[i].ip, ip))
			return 0;
	moved = reallocarray(survey->hosts, survey->host_count + 1, sizeof(*moved));
	if (moved == NULL)
		return -ENOMEM;
	survey->hosts = moved;
	moved[survey->host_count++] = (struct question){ .link = link, .ip = *ip };
	return 0;
}

/* Those whose hardware address tells which host it is that answers for the VIP. */
static int add_hosts(struct survey *survey, const struct state *state, const struct link *link)
{
	const struct truth *truth = &state->run.truth;
	int err = 0;

	for (size_t i = 0; err == 0 && i < truth->ip_count; i++)
		if (!plan_is_local(&state->run.facts, &truth->ips[i]))
			err = add_host(survey, link, &truth->ips[i]);
	for (size_t i = 0; err == 0 && i < state->council.count; i++) {
		const struct ip *ip = &state->council.votes[i].sentinel.ip;

		if (ip->family != AF_UNSPEC && !plan_is_local(&state->run.facts, ip))
			err = add_host(survey, link, ip);
	}
	return err;
}

static int list_hosts(struct survey *survey, size_t *questions)
{
	int err = 0;

	*questions = 0;
	for (size_t i = 0; err == 0 && i < survey->count; i++) {
		const struct state *state = &survey->states[i];

		for (size_t j = 0; err == 0 && j < state->run.master->vip_count; j++) {
			if (state->sightings[j].link == NULL)
				continue;
			++*questions;
			err = add_hosts(survey, state, state->sightings[j].link);
		}
	}
	*questions += survey->host_count;
	return err;
}

/* Hands all questions out in one list, or takes the answers back from it. */
static void copy_questions(struct survey *survey, struct question *list, bool back)
{
	size_t n = 0;

	for (size_t i = 0; i < survey->count; i++)
		for (size_t j = 0; j < survey->states[i].run.master->vip_count; j++) {
			struct sighting *s = &survey->states[i].sightings[j];

			if (s->link == NULL)
				continue;
			if (back)
				s->question = list[n++];
			else
				list[n++] = (struct question){ .link = s->link, .ip = s->vip->ip };
		}
	for (size_t i = 0; i < survey->host_count; i++, n++) {
		if (back)
			survey->hosts[i] = list[n];
		else
			list[n] = survey->hosts[i];
	}
}

static int ask_links(struct survey *survey)
{
	struct question *list;
	size_t count;
	int err = list_hosts(survey, &count);

	if (err < 0)
		return err;
	list = calloc(count + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	copy_questions(survey, list, false);
	err = neighbours_ask(list, count);
	copy_questions(survey, list, true);
	free(list);
	return err;
}

/* Connections ---------------------------------------------------------- */

static int count_connections(struct survey *survey)
{
	size_t total = 0, n = 0;
	size_t *connections;
	struct ip *ips;

	for (size_t i = 0; i < survey->count; i++)
		total += survey->states[i].run.master->vip_count;
	ips = calloc(total + 1, sizeof(*ips));
	connections = calloc(total + 1, sizeof(*connections));
	if (ips == NULL || connections == NULL) {
		free(ips);
		free(connections);
		return -ENOMEM;
	}
	for (size_t i = 0; i < survey->count; i++)
		for (size_t j = 0; j < survey->states[i].run.master->vip_count; j++)
			ips[n++] = survey->states[i].run.master->vips[j].ip;
	survey->connections_error = tcp_count(ips, total, clock_ms() + COUNT_MS, connections);
	n = 0;
	for (size_t i = 0; survey->connections_error == 0 && i < survey->count; i++)
		for (size_t j = 0; j < survey->states[i].run.master->vip_count; j++)
			survey->states[i].sightings[j].connections = connections[n++];
	free(ips);
	free(connections);
	return 0;
}

/* Listeners ------------------------------------------------------------ */

int survey_listening(const struct ip *vip, const struct ip *own, size_t own_count, uint16_t port,
		     double deadline_ms, enum listening *listening)
{
	bool there, anywhere = false;
	int err = tcp_listens(vip, port, deadline_ms, &there);

	for (size_t i = 0; err == 0 && !there && !anywhere && i < own_count; i++)
		err = tcp_listens(&own[i], port, deadline_ms, &anywhere);
	if (err == 0)
		*listening = there ? LISTENING_THERE : anywhere || own_count == 0 ?
			LISTENING_ELSEWHERE : LISTENING_NOWHERE;
	return err;
}

const char *survey_listening_remedy(enum listening listening)
{
	return listening == LISTENING_NOWHERE ? "systemctl start redis-server (or valkey-server)" :
		"redis-cli CONFIG SET bind '* -::*'; and in redis.conf: bind * -::*";
}

/* Only where clients should be served now: a replica's host has no VIP to be reached at. */
static void ask_listeners(struct survey *survey)
{
	double deadline = clock_ms() + LISTEN_MS;

	for (size_t i = 0; i < survey->count; i++) {
		const struct state *state = &survey->states[i];
		const struct truth *truth = &state->run.truth;

		if (!state->here || truth->master.port == 0)
			continue;
		for (size_t j = 0; j < state->run.master->vip_count; j++) {
			struct sighting *s = &state->sightings[j];

			if (s->here && survey_listening(&s->vip->ip, truth->ips, truth->ip_count,
			    truth->master.port, deadline, &s->listening) < 0)
				return;
		}
	}
}

/* All of them ---------------------------------------------------------- */

static int ask_sentinels(struct survey *survey, const struct master *const masters[])
{
	struct council *councils = calloc(survey->count + 1, sizeof(*councils));
	int err = councils == NULL ? -ENOMEM :
		council_ask(masters, survey->count, clock_ms() + COUNCIL_MS, councils);

	for (size_t i = 0; err == 0 && i < survey->count; i++)
		survey->states[i].council = councils[i];
	free(councils);
	return err;
}

int survey_take(const struct config *config, const struct master *const masters[],
		size_t count, struct survey *survey)
{
	struct survey s = { .states = calloc(count + 1, sizeof(struct state)), .count = count };
	struct netlink *netlink = NULL;		/* one for all runs */
	double deadline;
	int err;

	if (s.states == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		run_begin(&s.states[i].run, config, masters[i]);
	err = ask_sentinels(&s, masters);
	deadline = clock_ms() + RESOLVE_MS;
	for (size_t i = 0; err == 0 && i < count; i++) {
		s.states[i].run.netlink = netlink;
		look(&s.states[i], deadline);
		netlink = s.states[i].run.netlink;
		s.states[i].run.netlink = NULL;
		err = list_sightings(&s.states[i]);
	}
	netlink_close(&netlink);
	if (err == 0)
		err = ask_links(&s);
	if (err == 0)
		err = count_connections(&s);
	if (err == 0)
		ask_listeners(&s);
	if (err < 0)
		survey_free(&s);
	else
		*survey = s;
	return err;
}

void survey_free(struct survey *survey)
{
	for (size_t i = 0; i < survey->count; i++) {
		struct state *state = &survey->states[i];

		free(state->sightings);
		plan_free(&state->claim);
		council_free(&state->council);
		run_free(&state->run);
	}
	free(survey->states);
	free(survey->hosts);
	*survey = (struct survey){ 0 };
}

/* Meaning -------------------------------------------------------------- */

static bool is_holder(const struct question *q, const uint8_t mac[ETH_ALEN])
{
	for (size_t i = 0; i < q->holder_count; i++)
		if (memcmp(q->holders[i], mac, ETH_ALEN) == 0)
			return true;
	return false;
}

const struct ip *survey_host(const struct survey *survey, const uint8_t mac[ETH_ALEN])
{
	for (size_t i = 0; i < survey->host_count; i++)
		if (is_holder(&survey->hosts[i], mac))
			return &survey->hosts[i].ip;
	return NULL;
}

/* Whether an address of the link has this one in its network, so that it can be heard there. */
static bool is_near(const struct facts *facts, const struct link *link, const struct ip *ip)
{
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];

		if (a->ifindex == link->ifindex && ip_same_net(&a->ip, ip, a->prefixlen))
			return true;
	}
	return false;
}

bool survey_is_intruder(const struct survey *survey, const struct state *state,
			const struct sighting *sighting, size_t n)
{
	const struct truth *truth = &state->run.truth;
	bool answers = false, mute = false;

	if (!state->known || state->here)
		return state->here;
	for (size_t i = 0; i < survey->host_count; i++)
		for (size_t j = 0; j < truth->ip_count; j++) {
			const struct question *host = &survey->hosts[i];

			if (host->link->ifindex != sighting->link->ifindex ||
			    !ip_equal(&host->ip, &truth->ips[j]))
				continue;
			if (is_holder(host, sighting->question.holders[n]))
				return false;
			answers = answers || host->holder_count > 0;
			mute = mute || is_near(&state->run.facts, host->link, &host->ip);
		}
	if (mute && survey_host(survey, sighting->question.holders[n]) != NULL)
		return true;
	return answers || sighting->question.holder_count > 1;
}
