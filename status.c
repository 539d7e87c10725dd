/* SPDX-License-Identifier: MIT */
/*
 * status: whether each VIP is where its master is, said so that somebody who was
 * just woken up understands it.  It changes nothing and logs nothing.
 */
#include "vip.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
	LABEL_WIDTH = 11,
	INDENT = 2,
};

/* Judging -------------------------------------------------------------- */

static struct why *add_problem(struct judgement *j, enum verdict verdict)
{
	if (verdict > j->verdict)
		j->verdict = verdict;
	if (j->problem_count < PROBLEMS_MAX)
		j->problem_count++;
	return &j->problems[j->problem_count - 1];	/* too many: the last one counts */
}

/* The first problem's remedy is the one that is said. */
#define set_remedy(j, ...) \
	((j)->remedy.text[0] == '\0' ? why_set(&(j)->remedy, 0, __VA_ARGS__) : 0)

static void judge_step(const struct state *state, const struct step *step, struct judgement *j)
{
	char vip[IP_TEXT_SIZE], master[ENDPOINT_TEXT_SIZE];
	const char *link = step->link->name;
	bool again = step > state->run.plan.steps && step[-1].kind == STEP_DELETE &&
		step[-1].vip == step->vip;

	ip_text(&step->vip->ip, vip);
	endpoint_text(&state->run.truth.master, master);
	if (step->kind == STEP_ANNOUNCE || (step->kind == STEP_ADD && again))
		return;
	if (step->kind == STEP_NARROW)
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s on %s leads this host's own addresses of its network: this host "
			"connects from the VIP, or has no route there",
			vip, link);
	else if (step->kind == STEP_ADD)
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"this host is the master, but %s is not on its %s",
			vip, link);
	else if (!state->here)
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s is on %s of this host, but the master is %s, another host",
			vip, link, master);
	else if (!plan_is_usable(step->address))
		why_set(add_problem(j, VERDICT_TRANSIENT), 0, "%s on %s does not work: %s", vip, link,
			(step->address->flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE)) == 0 ?
			"it has no local route" :
			"its duplicate address detection failed or has not ended");
	else
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s is on %s as well, where it does not belong",
			vip, link);
	set_remedy(j, "sentinel-vip sync %s", state->run.master->name);
}

/* "02:00:00:00:00:01 (10.0.0.2)", or the first alone where the host is not known. */
static const char *holder_text(const struct survey *survey, const uint8_t mac[ETH_ALEN],
			       struct line *line)
{
	const struct ip *host = survey_host(survey, mac);
	char text[MAC_TEXT_SIZE], ip[IP_TEXT_SIZE];

	*line = (struct line){ 0 };
	line_add(line, "%s", mac_text(mac, text));
	if (host != NULL)
		line_add(line, " (%s)", ip_text(host, ip));
	return line->text;
}

static void judge_holder(const struct survey *survey, const struct state *state,
			 const struct sighting *s, size_t n, struct judgement *j)
{
	const uint8_t *mac = s->question.holders[n];
	const struct ip *host = survey_host(survey, mac);
	char vip[IP_TEXT_SIZE], master[ENDPOINT_TEXT_SIZE], ip[IP_TEXT_SIZE];
	struct line who;

	if (!survey_is_intruder(survey, state, s, n))
		return;
	ip_text(&s->vip->ip, vip);
	holder_text(survey, mac, &who);
	endpoint_text(&state->run.truth.master, master);
	if (state->here)
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s answers for %s on %s, but the master is this host",
			who.text, vip, s->link->name);
	else if (host != NULL)
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s answers for %s on %s, but the master is %s",
			who.text, vip, s->link->name, master);
	else
		why_set(add_problem(j, VERDICT_TRANSIENT), 0,
			"%s answers for %s on %s, which is not the hardware address of the master "
			"%s",
			who.text, vip, s->link->name, master);
	if (host != NULL)
		set_remedy(j, "on %s: sentinel-vip sync %s", ip_text(host, ip),
			   state->run.master->name);
	else
		set_remedy(j, "find the host with %s and type there: sentinel-vip sync %s",
			   who.text, state->run.master->name);
}

static void judge_sighting(const struct survey *survey, const struct state *state,
			   const struct sighting *s, struct judgement *j)
{
	char vip[IP_TEXT_SIZE], master[ENDPOINT_TEXT_SIZE];

	for (size_t n = 0; n < s->question.holder_count; n++)
		judge_holder(survey, state, s, n, j);
	if (state->here || s->here || !s->question.asked || s->question.holder_count > 0)
		return;
	endpoint_text(&state->run.truth.master, master);
	why_set(add_problem(j, VERDICT_TRANSIENT), 0,
		"nobody answers for %s on %s; the master %s should", ip_text(&s->vip->ip, vip),
		s->link->name, master);
	set_remedy(j, "on %s: sentinel-vip sync %s", state->run.truth.master.host,
		   state->run.master->name);
}

/* It stands, but the outside is told nothing of it: "down" is the plan's own error. */
static void judge_carrier(const struct state *state, const struct sighting *s, struct judgement *j)
{
	char vip[IP_TEXT_SIZE];

	if (!state->here || !s->here || s->link == NULL ||
	    (s->link->flags & (IFF_UP | IFF_LOWER_UP)) != IFF_UP)
		return;
	why_set(add_problem(j, VERDICT_TRANSIENT), 0,
		"this host is the master, but nobody reaches %s: %s has no carrier",
		ip_text(&s->vip->ip, vip), s->link->name);
	set_remedy(j, "look at the cable, the switch port, or the other end of %s", s->link->name);
}

static void judge_listening(const struct state *state, const struct sighting *s,
			    struct judgement *j)
{
	char vip[IP_TEXT_SIZE];

	if (s->listening != LISTENING_ELSEWHERE && s->listening != LISTENING_NOWHERE)
		return;
	why_set(add_problem(j, VERDICT_TRANSIENT), 0,
		"this host is the master, but nobody listens on %s port %u",
		ip_text(&s->vip->ip, vip), (unsigned)state->run.truth.master.port);
	set_remedy(j, "%s", survey_listening_remedy(s->listening));
}

static void summarize(const struct state *state, struct judgement *j)
{
	const struct master *m = state->run.master;
	const char *it = m->vip_count == 1 ? "the VIP" : "the VIPs";
	char master[ENDPOINT_TEXT_SIZE];
	bool answered = true;

	for (size_t i = 0; i < m->vip_count; i++)
		answered = answered && state->sightings[i].question.asked;
	endpoint_text(&state->run.truth.master, master);
	if (j->problem_count > 0)
		j->summary = j->problems[0];
	else if (state->here)
		why_set(&j->summary, 0, "this host is the master and holds %s", it);
	else
		why_set(&j->summary, 0, answered ? "the master is %s, another host, and holds %s" :
			"the master is %s, another host; %s: not here", master, it);
}

void status_judge(const struct survey *survey, const struct state *state, bool whole,
		  struct judgement *judgement)
{
	struct judgement *j = judgement;

	*j = (struct judgement){ .verdict = VERDICT_AGREES };
	if (state->error < 0) {
		bool wrong = state->known && !state->blind && state->error != -ENOMEM;

		*add_problem(j, wrong ? VERDICT_TRANSIENT : VERDICT_PERMANENT) = state->run.why;
		set_remedy(j, "sentinel-vip check %s", state->run.master->name);
	}
	if (state->known && !state->blind) {
		for (size_t i = 0; i < state->run.plan.step_count; i++)
			judge_step(state, &state->run.plan.steps[i], j);
		for (size_t i = 0; i < state->run.master->vip_count; i++)
			judge_sighting(survey, state, &state->sightings[i], j);
		for (size_t i = 0; whole && i < state->run.master->vip_count; i++)
			judge_carrier(state, &state->sightings[i], j);
		for (size_t i = 0; whole && i < state->run.master->vip_count; i++)
			judge_listening(state, &state->sightings[i], j);
	}
	summarize(state, j);
}

const char *status_word(enum verdict verdict)
{
	static const char *const words[] = {
		[VERDICT_AGREES] = "right", [VERDICT_TRANSIENT] = "wrong",
		[VERDICT_PERMANENT] = "unknown",
	};

	return words[verdict];
}

/* Text ----------------------------------------------------------------- */

static void print_verdict(const char *name, const struct judgement *j)
{
	static const char *const words[] = {
		[VERDICT_AGREES] = "right", [VERDICT_TRANSIENT] = "WRONG",
		[VERDICT_PERMANENT] = "UNKNOWN",
	};
	static const enum colour colours[] = {
		[VERDICT_AGREES] = COLOUR_GREEN, [VERDICT_TRANSIENT] = COLOUR_RED,
		[VERDICT_PERMANENT] = COLOUR_YELLOW,
	};

	paint_word(COLOUR_BOLD, 0, name);
	printf(": ");
	paint_word(colours[j->verdict], 0, words[j->verdict]);
	printf(": %s\n", j->summary.text);
	for (size_t i = 1; i < j->problem_count; i++)
		paint_row(INDENT, LABEL_WIDTH, "also", j->problems[i].text);
	if (j->remedy.text[0] != '\0')
		paint_row(INDENT, LABEL_WIDTH, "remedy", j->remedy.text);
}

static void add_places(const struct state *state, const struct sighting *s, struct line *line)
{
	const struct facts *facts = &state->run.facts;
	bool any = false;

	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];
		const struct link *link = facts_link(facts, a->ifindex);

		if (!ip_equal(&a->ip, &s->vip->ip))
			continue;
		line_add(line, "%s%s", any ? " and " : "on ", link != NULL ? link->name : "?");
		if (a->prefixlen != s->vip->prefixlen)
			line_add(line, " as /%u", a->prefixlen);
		any = true;
	}
	if (!any)
		line_add(line, "not here");
}

static void add_holders(const struct survey *survey, const struct sighting *s, struct line *line)
{
	const struct question *q = &s->question;
	struct line who;

	if (s->link == NULL)
		return;
	if (!q->asked)
		line_add(line, ", not asked who answers: %s", q->why.text);
	else if (q->holder_count == 0)
		line_add(line, ", nobody %sanswers", s->here ? "else " : "");
	for (size_t i = 0; i < q->holder_count; i++)
		line_add(line, "%s%s", i == 0 ? ", answered by " : " and ",
			 holder_text(survey, q->holders[i], &who));
}

static void print_vips(const struct survey *survey, const struct state *state)
{
	int width = 0;

	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < state->run.master->vip_count; i++) {
			const struct sighting *s = &state->sightings[i];
			struct line line = { 0 };
			char ip[IP_TEXT_SIZE];
			int size = (int)strlen(ip_text(&s->vip->ip, ip));

			if (round == 0) {
				width = size > width ? size : width;
				continue;
			}
			line_add(&line, "%-*s  ", width, ip);
			add_places(state, s, &line);
			add_holders(survey, s, &line);
			if (survey->connections_error == 0 && (s->here || s->connections > 0))
				line_add(&line, ", %zu connection%s", s->connections,
					 s->connections == 1 ? "" : "s");
			if (s->listening == LISTENING_ELSEWHERE || s->listening == LISTENING_NOWHERE)
				line_add(&line, ", nobody listens on port %u",
					 (unsigned)state->run.truth.master.port);
			paint_row(INDENT, LABEL_WIDTH, "VIP", line.text);
		}
}

static void print_sentinels(const struct council *council)
{
	int width = 0;

	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < council->count; i++) {
			const struct vote *vote = &council->votes[i];
			struct line line = { 0 };
			char at[ENDPOINT_TEXT_SIZE];
			int size = (int)strlen(endpoint_text(&vote->sentinel, at));

			if (round == 0) {
				width = size > width ? size : width;
				continue;
			}
			line_add(&line, "%-*s  ", width, at);
			vote_tell(vote, &line);
			paint_row(INDENT, LABEL_WIDTH, "Sentinel", line.text);
		}
}

static void print_master(const struct survey *survey, const struct state *state,
			 const struct judgement *j)
{
	char master[ENDPOINT_TEXT_SIZE];
	struct line line = { 0 };

	print_verdict(state->run.master->name, j);
	if (state->run.plan.warning.length > 0)
		paint_row(INDENT, LABEL_WIDTH, "note", state->run.plan.warning.text + 2);
	if (state->known) {
		line_add(&line, "%s, %s", endpoint_text(&state->run.truth.master, master),
			 state->here ? "this host" : "another host");
		paint_row(INDENT, LABEL_WIDTH, "master", line.text);
	}
	if (!state->blind)
		print_vips(survey, state);
	if (state->claim_error < 0 && !state->here && !state->blind)
		paint_row(INDENT, LABEL_WIDTH, "note", state->claim_why.text);
	print_sentinels(&state->council);
}

enum verdict status_masters(const struct config *config, const struct master *const masters[],
			    size_t count, bool json)
{
	struct judgement *judgements = calloc(count + 1, sizeof(*judgements));
	enum verdict verdict = VERDICT_AGREES;
	struct survey survey;

	if (judgements == NULL || survey_take(config, masters, count, &survey) < 0) {
		log_send(LOG_ERR, "out of memory");
		free(judgements);
		return VERDICT_PERMANENT;
	}
	for (size_t i = 0; i < count; i++) {
		status_judge(&survey, &survey.states[i], true, &judgements[i]);
		if (judgements[i].verdict > verdict)
			verdict = judgements[i].verdict;
	}
	if (json)
		status_json(&survey, judgements, verdict);
	for (size_t i = 0; !json && i < count; i++) {
		if (i > 0)
			printf("\n");
		print_master(&survey, &survey.states[i], &judgements[i]);
	}
	survey_free(&survey);
	free(judgements);
	return paint_written() ? verdict : VERDICT_PERMANENT;
}
