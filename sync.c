/* SPDX-License-Identifier: MIT */
/*
 * sync: the state of this host made to agree with what the Sentinels together say,
 * for boot, for a timer, for a person in doubt.  It moves nothing on one
 * Sentinel's word, and nothing that has moved while it was asking.
 */
#include "vip.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <syslog.h>

enum {
	COUNCIL_MS = 1000,	/* for all Sentinels to answer */
	FENCE_MS = 3000,	/* how long a host without a majority keeps its VIPs */
	FENCE_PAUSE_MS = 300,
	FOREGROUND_MS = 15000,	/* what is not done by then is the next run's */
};

struct sync {
	const struct config *config;
	const struct sync_options *options;
	struct common common;
	const struct facts *known;	/* all addresses at the beginning, or NULL */
	struct standings standings;	/* VIPs that stand where they should */
	struct change *changes;		/* one for each master, with its verdict */
	bool *isolated;			/* no truth, VIP here, and fence = majority */
	size_t count;
};

static bool has_changes(const struct run *run, const struct sync_options *options)
{
	return !options->dry_run && (plan_changes(&run->plan) ||
				     (options->announce && run->plan.step_count > 0));
}

/* No truth: nothing moves, but a holder may be cut off. */
static void without_truth(struct sync *sync, size_t index, const struct council *council)
{
	struct run *run = sync->changes[index].run;
	struct why no_truth = run->why;
	bool seen, holds;

	sync->changes[index].verdict = VERDICT_TRANSIENT;
	run->truth = (struct truth){ .where = TRUTH_ELSEWHERE };
	seen = run_plan(run) == 0;
	holds = seen && plan_changes(&run->plan);
	plan_free(&run->plan);
	run->planned = false;
	run->why = no_truth;
	/* who hears a majority is not cut off, whatever that calls the master */
	sync->isolated[index] = holds && run->master->fence && !sync->options->dry_run &&
		!council_differs_by_names(council);
	if (sync->isolated[index])
		return;
	line_add(&run->note, holds ? "the VIP stays here" : seen ? "the VIP is not here and stays so" :
		 "nothing is changed here");
	run_report(run, -EAGAIN);
}

/* Nothing is to be changed, or only shown. */
static void agree(struct sync *sync, struct change *change)
{
	struct run *run = change->run;

	change->verdict = VERDICT_AGREES;
	if (sync->options->dry_run) {
		if (!sync->options->announce && !plan_changes(&run->plan))
			plan_quiet(&run->plan);
		if (run_print(run) < 0)
			change->verdict = VERDICT_PERMANENT;
	} else {
		refresh_add(&sync->standings, run->master, &run->plan);	/* or not, without memory */
		if (sync->options->person)
			run_report(run, 0);
	}
}

/* The first look, without the lock: the change keeps its run when there is something to be changed. */
static void look(struct sync *sync, size_t index, const struct master *master,
		 const struct council *council, double asked_ms)
{
	struct change *change = &sync->changes[index];
	struct run *run = change->run = malloc(sizeof(*run));
	int err;

	if (run == NULL) {
		log_send(LOG_ERR, "out of memory");
		return;
	}
	run_begin(run, sync->config, master);
	run_measure(run, asked_ms, "ask");
	common_lend(&sync->common, run);
	run->known = sync->known;
	sync->isolated[index] = false;
	err = run_decide(run, council, clock_left(sync->common.resolve_ms));
	if (!run->verified)
		without_truth(sync, index, council);
	else if (err == 0)
		err = run_plan(run);
	common_take_back(&sync->common, run);
	if (run->verified && err < 0) {
		change_end(change, err);
	} else if (run->verified && has_changes(run, sync->options)) {
		/* what is changed is looked at afresh */
		run->known = NULL;
		run->planned = false;
		plan_free(&run->plan);
		facts_free(&run->facts);
	} else {
		if (run->verified)
			agree(sync, change);
		change_drop(change);
	}
}

/* Fencing -------------------------------------------------------------- */

/* Asks once for all that are isolated; false when none is any more. */
static bool ask_isolated(struct sync *sync, const struct master *const masters[], double deadline)
{
	const struct master **asked = calloc(sync->count + 1, sizeof(const struct master *));
	struct council *councils = calloc(sync->count + 1, sizeof(*councils));
	double begun = clock_ms(), end = begun + COUNCIL_MS;
	size_t count = 0, next = 0;
	bool any = false;

	for (size_t i = 0; asked != NULL && i < sync->count; i++)
		if (sync->isolated[i])
			asked[count++] = masters[i];
	if (councils != NULL && count > 0 &&
	    council_ask(asked, count, end < deadline ? end : deadline, councils) == 0)
		for (size_t i = 0; i < sync->count; i++) {
			if (!sync->isolated[i])
				continue;
			if (council_decide(&councils[next], false) != NULL ||
			    council_differs_by_names(&councils[next]))
				look(sync, i, masters[i], &councils[next], begun);
			any = any || sync->isolated[i];
			council_free(&councils[next++]);
		}
	free(asked);
	free(councils);
	change_all(sync->changes, sync->count, &sync->common);
	return any;
}

/* A change that does not need a truth. */
static void fence(struct sync *sync, size_t index, const struct master *master)
{
	struct change *change = &sync->changes[index];

	change->run = malloc(sizeof(*change->run));
	if (change->run == NULL) {
		log_send(LOG_ERR, "out of memory");
		return;
	}
	run_begin(change->run, sync->config, master);
	change->fence = true;
}

/* Asks for those that are isolated, until they are not or the time is over. */
static void wait_for_majority(struct sync *sync, const struct master *const masters[])
{
	double deadline = clock_ms() + FENCE_MS;

	while (clock_ms() < deadline && ask_isolated(sync, masters, deadline))
		poll(NULL, 0, FENCE_PAUSE_MS);
	/* what was left before must not keep a host from letting go */
	sync->common.deadline_ms = clock_ms() + FOREGROUND_MS;
	for (size_t i = 0; i < sync->count; i++)
		if (sync->isolated[i])
			fence(sync, i, masters[i]);
	change_all(sync->changes, sync->count, &sync->common);
}

/* All ------------------------------------------------------------------ */

/* One look at the addresses for all: of a thousand masters each would look at those of all. */
static int look_once(struct facts *facts)
{
	struct netlink *netlink = NULL;
	int err = netlink_open(clock_ms() + COUNCIL_MS, &netlink);

	if (err == 0)
		err = vip_addresses(netlink, AF_UNSPEC, facts);
	netlink_close(&netlink);
	return err;
}

static void look_at_all(struct sync *sync, const struct master *const masters[],
			struct council councils[], double begun)
{
	CLEANUP(facts_free) struct facts known = { 0 };

	if (sync->count > 1 && look_once(&known) == 0)
		sync->known = &known;
	for (size_t i = 0; i < sync->count; i++) {
		look(sync, i, masters[i], &councils[i], begun);
		council_free(&councils[i]);
	}
	sync->known = NULL;
}

/*
 * What takes long, such as names that do not resolve, has its limit for all masters together.  So
 * that those who come after it are not always the same, the first is another one each time,
 * but for a person who wants to find them as they are written down.
 */
static void put_in_order(const struct master *const masters[], size_t count,
			 const struct sync_options *options, const struct master *ordered[])
{
	bool any_order = !options->person && !options->dry_run && count > 0;
	size_t first = any_order ? (size_t)(clock_ms() * 1000) % count : 0;

	for (size_t i = 0; i < count; i++)
		ordered[i] = masters[(first + i) % count];
}

enum verdict sync_masters(const struct config *config, const struct master *const masters[],
			  size_t count, const struct sync_options *options)
{
	const struct master **ordered = calloc(count + 1, sizeof(const struct master *));
	struct council *councils = calloc(count + 1, sizeof(*councils));
	double begun = clock_ms();
	struct sync sync = {
		.config = config,
		.options = options,
		.common = { .packet = -1, .announce = options->announce, .many = count > 1,
			    .deadline_ms = begun + FOREGROUND_MS },
		.changes = calloc(count + 1, sizeof(*sync.changes)),
		.isolated = calloc(count + 1, sizeof(*sync.isolated)),
		.count = count,
	};
	enum verdict verdict = VERDICT_AGREES;

	if (ordered != NULL)
		put_in_order(masters, count, options, ordered);
	if (ordered == NULL || councils == NULL || sync.changes == NULL || sync.isolated == NULL ||
	    council_ask(ordered, count, begun + COUNCIL_MS, councils) < 0) {
		log_send(LOG_ERR, "out of memory");
		verdict = VERDICT_TRANSIENT;
	} else {
		for (size_t i = 0; i < count; i++)
			sync.changes[i].verdict = VERDICT_TRANSIENT;
		sync.common.resolve_ms = clock_ms() + COUNCIL_MS;
		look_at_all(&sync, ordered, councils, begun);
		change_all(sync.changes, count, &sync.common);
		/* what was heard so long ago is no reason to speak: the next run hears anew */
		if (clock_ms() < begun + 2 * COUNCIL_MS)
			refresh_send(&sync.standings);
		wait_for_majority(&sync, ordered);
		for (size_t i = 0; i < count; i++)
			if (sync.changes[i].verdict > verdict)
				verdict = sync.changes[i].verdict;
	}
	refresh_free(&sync.standings);
	common_free(&sync.common);
	free(sync.changes);
	free(sync.isolated);
	free(ordered);
	free(councils);
	return verdict;
}
