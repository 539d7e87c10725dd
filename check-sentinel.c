/* SPDX-License-Identifier: MIT */
/*
 * check: what the Sentinels know of each master, and whether they call this program.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TALK_MS = 500,		/* with the local Sentinels, all together */
	QUORUM_MIN = 3,		/* Sentinels: of two, none can replace the other */
};

/* A local Sentinel, which several masters may have in common. */
struct local {
	const struct state *state;	/* of the first master that names it */
	struct process process;
};

/* What more is asked for one master. */
struct talk {
	const struct survey *survey;
	const struct state *state;
	const struct local *local;
	struct sentinel *sentinel;
	size_t master, replicas;	/* where the answers are */
	struct report *report;
};

static void close_talk(struct talk *talk)
{
	sentinel_close(&talk->sentinel);
}

/* The options of redis-cli that lead to a Sentinel. */
static const char *cli(const struct endpoint *at, struct line *line)
{
	*line = (struct line){ 0 };
	if (at->port == 0)
		line_add(line, "-s %s", at->host);
	else
		line_add(line, "-h %s -p %u", at->host, (unsigned)at->port);
	return line->text;
}

/* The Sentinels of a master -------------------------------------------- */

static void check_council(const struct talk *talk)
{
	const struct council *council = &talk->state->council;
	const struct endpoint *master = &talk->state->run.truth.master;
	const struct vote *best = council_decide(council, false);
	char at[ENDPOINT_TEXT_SIZE], text[ENDPOINT_TEXT_SIZE];
	struct report *report = talk->report;
	size_t agree = 0;

	for (size_t i = 0; i < council->count; i++) {
		const struct vote *vote = &council->votes[i];
		struct line said = { 0 };

		endpoint_text(&vote->sentinel, at);
		if (vote->answer.kind == ANSWER_MASTER && best != NULL && vote_same(vote, best)) {
			agree++;
			continue;
		}
		vote_tell(vote, &said);
		report_add(report, LEVEL_WARNING, "Sentinels", "%s: %s", at, said.text);
		report_remedy(report,
			      vote->answer.kind == ANSWER_MASTER
				      ? "wait some seconds; if it stays so, SENTINEL RESET %s there"
				      : "start it and let it be reached; if it is gone for good, "
					"SENTINEL RESET %s on the others",
			      talk->state->run.master->name);
	}
	if (council->count < QUORUM_MIN) {
		report_add(report, LEVEL_WARNING, "Sentinels",
			   "only %zu of them watch%s it: when a host dies, no majority is left to "
			   "fail over",
			   council->count, council->count == 1 ? "es" : "");
		report_remedy(report,
			      "run Sentinels on three hosts or more, each with sentinel monitor %s",
			      talk->state->run.master->name);
	} else if (agree == council->count) {
		report_add(report, LEVEL_OK, "Sentinels", "all %zu name %s", agree,
			   endpoint_text(master, text));
	}
}

static void check_script(const struct talk *talk)
{
	const char *name = talk->state->run.master->name;
	const char *script = sentinel_field(talk->sentinel, talk->master, "client-reconfig-script");
	struct report *report = talk->report;
	char program[PATH_MAX], seen[PATH_MAX];
	const char *base;
	struct stat st;

	process_program(program);
	if (sentinel_field(talk->sentinel, talk->master, "name") == NULL) {
		report_add(report, LEVEL_WARNING, "script",
			   "SENTINEL MASTER %s is not answered, so its script is not known",
			   name);
		report_remedy(report, "allow +sentinel|master to the user of sentinel-auth");
		return;
	}
	if (script == NULL) {
		report_add(report, LEVEL_ERROR, "script", "Sentinel calls nobody at a failover");
	} else if (stat(process_path(&talk->local->process, script, seen), &st) < 0) {
		report_add(report, LEVEL_ERROR, "script", "Sentinel calls %s: %s", script,
			   strerror(errno));
	} else if (file_same(seen, "/proc/self/exe")) {
		report_add(report, LEVEL_OK, "script", "Sentinel calls this program, %s", script);
		return;
	} else {
		base = strrchr(script, '/');
		if (strncmp(base != NULL ? base + 1 : script, "sentinel-vip",
			    strlen("sentinel-vip")) == 0)
			report_add(report, LEVEL_WARNING, "script",
				   "Sentinel calls %s, another file than this program, %s",
				   script, program);
		else
			report_add(report, LEVEL_ERROR, "script",
				   "Sentinel calls %s, not this program", script);
	}
	report_remedy(
		report,
		"stop Sentinel, which writes to its file; in sentinel.conf: sentinel client-reconfig-script %s %s; start it",
		name, program);
}

/* Names of servers ----------------------------------------------------- */

/* A VIP taken for a server: it would be failed over to, or moved from under it. */
static void check_monitor(const struct talk *talk)
{
	const struct state *state = talk->state;
	const struct endpoint *master = &state->run.truth.master;
	struct report *report = talk->report;
	char text[ENDPOINT_TEXT_SIZE];
	struct line options;

	for (size_t i = 0; i < state->council.count; i++) {
		const struct vote *vote = &state->council.votes[i];

		bool vip = config_owner(state->run.config, &vote->answer.master.ip) != NULL;

		for (size_t j = 0; j < vote->ip_count; j++)
			vip = vip || config_owner(state->run.config, &vote->ips[j]) != NULL;
		if (vote->answer.kind == ANSWER_MASTER && vip) {
			report_add(report, LEVEL_ERROR, "monitor",
				   "%s names a VIP, %s, as the master",
				   endpoint_text(&vote->sentinel, text), vote->answer.master.host);
			report_remedy(
				report,
				"redis-cli %s SENTINEL REMOVE %s, and SENTINEL MONITOR with the "
				"server's own address",
				cli(&vote->sentinel, &options), state->run.master->name);
			return;
		}
	}
	if (state->run.truth.ip_count > 0 && ip_is_loopback(&state->run.truth.ips[0])) {
		report_add(report, LEVEL_WARNING, "monitor",
			   "the master is known as %s, so every host takes itself for it; that is "
			   "well with one host alone",
			   master->host);
		report_remedy(report,
			      "sentinel monitor %s with the server's own address, on all hosts",
			      state->run.master->name);
	} else {
		report_add(report, LEVEL_OK, "monitor",
			   "the master is known under its own address, %s",
			   endpoint_text(master, text));
	}
}

static void check_sentinels_names(const struct talk *talk)
{
	for (size_t i = 1; i < talk->state->council.count; i++) {
		const struct endpoint *at = &talk->state->council.votes[i].sentinel;

		if (config_owner(talk->state->run.config, &at->ip) == NULL)
			continue;
		report_add(talk->report, LEVEL_ERROR, "Sentinels",
			   "one of them is known under a VIP, %s", at->host);
		report_remedy(
			talk->report,
			"sentinel announce-ip OWN-ADDRESS in its sentinel.conf, then SENTINEL "
			"RESET %s on the others",
			talk->state->run.master->name);
	}
}

static void check_replicas(const struct talk *talk, const struct endpoint *replicas, size_t count)
{
	const char *name = talk->state->run.master->name;
	struct line options;
	size_t vips = 0;

	for (size_t i = 0; i < count; i++) {
		if (config_owner(talk->state->run.config, &replicas[i].ip) == NULL)
			continue;
		vips++;
		report_add(talk->report, LEVEL_ERROR, "replicas",
			   "Sentinel takes the VIP %s for a replica, and may make it the master",
			   replicas[i].host);
		report_remedy(
			talk->report,
			"replica-announce-ip OWN-ADDRESS in each redis.conf; then redis-cli %s "
			"SENTINEL RESET %s",
			cli(&talk->state->run.master->sentinel, &options), name);
	}
	if (vips > 0)
		return;
	if (count > 0) {
		report_add(talk->report, LEVEL_OK, "replicas", "%zu, none of them a VIP", count);
		return;
	}
	report_add(talk->report, LEVEL_WARNING, "replicas", "there is none to fail over to");
	report_remedy(talk->report, "replicaof %s %u in the redis.conf of another host",
		      talk->state->run.truth.master.host,
		      (unsigned)talk->state->run.truth.master.port);
}

/* One master ----------------------------------------------------------- */

static void check_vips(const struct talk *talk, bool serves)
{
	const struct state *state = talk->state;
	struct report *report = talk->report;
	struct judgement j;

	if (state->error < 0) {
		report_why(report, LEVEL_ERROR, "VIP", &state->run.why);
		return;
	}
	if (serves && state->claim_error < 0 && !state->here)
		report_why(report, LEVEL_ERROR, "interface", &state->claim_why);
	status_judge(talk->survey, state, false, &j);
	for (size_t i = 0; i < j.problem_count; i++) {
		report_add(report, LEVEL_ERROR, "VIP", "%s", j.problems[i].text);
		report_remedy(report, "%s", j.remedy.text);
	}
	if (j.problem_count == 0)
		report_add(report, LEVEL_OK, "VIP", "%s", j.summary.text);
}

static void check_master(const struct talk *talk)
{
	const struct state *state = talk->state;
	struct endpoint *replicas = NULL;
	struct line options;
	size_t count = 0;
	bool serves;

	report_add(talk->report, LEVEL_TITLE, NULL, "Master %s", state->run.master->name);
	if (state->council.votes[0].answer.kind == ANSWER_UNKNOWN) {
		report_add(talk->report, LEVEL_ERROR, "Sentinel", "it does not know %s",
			   state->run.master->name);
		report_remedy(
			talk->report,
			"redis-cli %s SENTINEL MASTERS shows the names that it knows: correct "
			"[%s], or sentinel monitor",
			cli(&state->run.master->sentinel, &options), state->run.master->name);
		return;
	}
	if (!state->known) {
		/* a local Sentinel that cannot be asked has been said already */
		if (state->council.votes[0].answer.kind == ANSWER_MASTER) {
			report_add(talk->report, LEVEL_ERROR, "Sentinels", "%s",
				   state->run.why.text);
			report_remedy(talk->report,
				      council_is_small(&state->council)
					      ? "wait some seconds; if it stays so, compare sentinel "
						"monitor with the other Sentinels'"
				      : council_differs_by_names(&state->council)
					      ? "the same sentinel announce-hostnames and "
						"resolve-hostnames for all of them"
					      : "start them, or mend what keeps them from answering");
		}
		if (state->claim_error < 0)
			report_why(talk->report, LEVEL_ERROR, "interface", &state->claim_why);
		return;
	}
	check_council(talk);
	check_monitor(talk);
	check_sentinels_names(talk);
	if (talk->sentinel == NULL) {
		check_vips(talk, true);
		return;
	}
	check_script(talk);
	if (sentinel_others(talk->sentinel, talk->replicas, &replicas, &count) < 0) {
		report_add(talk->report, LEVEL_WARNING, "replicas",
			   "SENTINEL REPLICAS %s is not answered", state->run.master->name);
		report_remedy(talk->report,
			      "allow +sentinel|replicas to the user of sentinel-auth");
	} else {
		check_replicas(talk, replicas, count);
	}
	serves = check_redis(state, replicas, count, talk->report);
	check_vips(talk, serves);
	free(replicas);
}

/* All of them ---------------------------------------------------------- */

static int open_talk(struct talk *talk)
{
	const struct master *master = talk->state->run.master;
	int err;

	if (talk->state->council.votes[0].answer.kind != ANSWER_MASTER)
		return 0;
	err = sentinel_open(master, &master->sentinel, &talk->sentinel);
	if (err == 0)
		err = sentinel_ask(talk->sentinel, SENTINEL_MASTER, master->name, &talk->master);
	if (err == 0)
		err = sentinel_ask(talk->sentinel, SENTINEL_REPLICAS, master->name,
				   &talk->replicas);
	return err;
}

/* The master's local Sentinel, listed when it is the first time. */
static const struct local *find_local(struct local *locals, size_t *count,
				      const struct state *state)
{
	size_t n = 0;

	while (n < *count &&
	       (!endpoint_equal(&locals[n].state->run.master->sentinel,
				&state->run.master->sentinel) ||
		!sentinel_same_login(locals[n].state->run.master, state->run.master)))
		n++;
	if (n == *count)
		locals[(*count)++] = (struct local){ .state = state };
	return &locals[n];
}

void check_sentinels(const struct survey *survey, const char *config_path, struct report *report)
{
	struct local *locals = calloc(survey->count + 1, sizeof(*locals));
	struct talk *talks = calloc(survey->count + 1, sizeof(*talks));
	struct sentinel **sentinels = calloc(survey->count + 1, sizeof(struct sentinel *));
	size_t local_count = 0, count = 0;

	report->incomplete =
		report->incomplete || locals == NULL || talks == NULL || sentinels == NULL;
	for (size_t i = 0; !report->incomplete && i < survey->count; i++) {
		talks[i] = (struct talk){ .survey = survey,
					  .state = &survey->states[i],
					  .report = report };
		talks[i].local = find_local(locals, &local_count, talks[i].state);
		if (open_talk(&talks[i]) < 0)
			report->incomplete = true;
		if (talks[i].sentinel != NULL)
			sentinels[count++] = talks[i].sentinel;
	}
	if (!report->incomplete) {
		sentinel_hear(sentinels, count, clock_ms() + TALK_MS);
		for (size_t i = 0; i < local_count; i++)
			check_local(locals[i].state, config_path, &locals[i].process, report);
		for (size_t i = 0; i < survey->count; i++)
			check_master(&talks[i]);
	}
	for (size_t i = 0; talks != NULL && i < survey->count; i++)
		close_talk(&talks[i]);
	free(locals);
	free(talks);
	free(sentinels);
}
