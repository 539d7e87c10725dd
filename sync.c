/* SPDX-License-Identifier: MIT */
/*
 * sync: the state of this host made to agree with what the Sentinels together say,
 * for boot, for a timer, for a person in doubt.  It moves nothing on one
 * Sentinel's word, and nothing that has moved while it was asking.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
	COUNCIL_MS = 1000,	/* for all Sentinels to answer */
	AGAIN_MS = 700,		/* the same under the lock, where others may be waiting */
	LOCK_MS = 1000,		/* the timer comes again */
	FENCE_MS = 3000,	/* how long a host without a majority keeps its VIPs */
	FENCE_PAUSE_MS = 300,
	FOREGROUND_MS = 15000,	/* what is not done by then is the next run's */
	OVERTAKEN_MAX = 3,
};

/* What the masters of one sync have in common, so that many cost no more than they must. */
struct shared {
	const struct facts *known;	/* all addresses at the beginning, or NULL */
	struct standings standings;	/* VIPs that stand where they should */
	int packet;			/* a packet socket, once one has been opened; else -1 */
	double resolve_ms;		/* until when names are resolved, of all masters together */
};

/* What came out for one master. */
struct matter {
	const struct master *master;
	bool known;		/* the Sentinels agree on a master */
	bool isolated;		/* no truth, VIP here, and fence = majority */
	struct shared *shared;
	enum verdict verdict;
};

static void worsen(enum verdict *verdict, enum verdict other)
{
	if (other > *verdict)
		*verdict = other;
}

static enum verdict judge(const struct run *run, int err)
{
	if (err == 0)
		return VERDICT_AGREES;
	/* -EAGAIN: there was no truth to be had, or it changed all the time */
	return err == -EAGAIN || run_may_be_replayed(run, err) ? VERDICT_TRANSIENT :
		VERDICT_PERMANENT;
}

static enum verdict finish(struct run *run, int err)
{
	enum verdict verdict = judge(run, err);

	run_report(run, err);
	run_hook(run);
	return verdict;
}

/*
 * Asks again under the lock.  A failover's own call does not wait for us: when the
 * number has been raised meanwhile, what we have heard is older than what it did.
 */
static int ask_under_lock(struct run *run, struct council *council)
{
	int err = 0;

	for (unsigned tries = 0; tries < OVERTAKEN_MAX; tries++) {
		uint64_t number = lock_number(&run->lock);

		council_free(council);
		err = council_ask(&run->master, 1, clock_ms() + AGAIN_MS, council);
		if (err < 0)
			return why_set(&run->why, err, "out of memory");
		if (lock_number(&run->lock) == number)
			return 0;
	}
	return why_set(&run->why, -EAGAIN, "other runs keep changing this master");
}

static int decide_and_apply(struct run *run, const struct sync_options *options, bool fence)
{
	CLEANUP(council_free) struct council council = { 0 };
	int err = ask_under_lock(run, &council);

	outcome_step(&run->outcome, "ask again");
	if (err < 0)
		return err;
	err = run_decide(run, &council, COUNCIL_MS);
	if (err == -EAGAIN && fence && !run->verified) {
		run->truth = (struct truth){ .where = TRUTH_ELSEWHERE };
		line_add(&run->note, "fenced: %s", run->why.text);
		err = 0;
	}
	if (err == 0)
		err = run_plan(run);
	if (err < 0)
		return err;
	/* where one is missing, a run may have been killed before it announced the others */
	if (!options->announce && !plan_changes(&run->plan))
		plan_quiet(&run->plan);
	/* another run has done it meanwhile: its announcer must not be silenced */
	return run->plan.step_count > 0 ? run_apply(run) : 0;
}

/* A change that the first answers ask for, decided once more and made. */
static int change(struct run *run, const struct sync_options *options, bool fence)
{
	int err = run_lock(run, LOCK_MS, false);

	for (unsigned tries = 0; err == 0 && tries < OVERTAKEN_MAX; tries++) {
		err = decide_and_apply(run, options, fence);
		if (err != -ESTALE)
			break;
		err = tries + 1 < OVERTAKEN_MAX ? 0 : err;
	}
	return err;
}

/* No truth: nothing moves, but a holder may be cut off. */
static void without_truth(struct matter *m, struct run *run, const struct sync_options *options)
{
	struct why no_truth = run->why;
	bool seen, holds;

	m->verdict = VERDICT_TRANSIENT;
	run->truth = (struct truth){ .where = TRUTH_ELSEWHERE };
	seen = run_plan(run) == 0;
	holds = seen && plan_changes(&run->plan);
	plan_free(&run->plan);
	run->planned = false;
	run->why = no_truth;
	m->isolated = holds && m->master->fence && !options->dry_run;
	if (m->isolated)
		return;
	line_add(&run->note, holds ? "the VIP stays here" : seen ? "the VIP is not here and stays so" :
		 "nothing is changed here");
	run_report(run, -EAGAIN);
}

/*
 * The end of a packet socket waits for the kernel, 5 to 25 ms (packet_release(), RCU): it is
 * opened for the first that announces, and closed after the last.
 */
static void share_packet(struct run *run, int *packet)
{
	if (*packet < 0 && run->packet >= 0)
		*packet = fcntl(run->packet, F_DUPFD_CLOEXEC, 3);
	else if (*packet >= 0 && run->packet < 0)
		run->packet = fcntl(*packet, F_DUPFD_CLOEXEC, 3);
}

static void settle(struct matter *m, const struct config *config, const struct council *council,
		   double asked_ms, const struct sync_options *options)
{
	CLEANUP(run_free) struct run run;
	int err;

	run_begin(&run, config, m->master);
	run_measure(&run, asked_ms, "ask");
	share_packet(&run, &m->shared->packet);
	run.known = m->shared->known;
	err = run_decide(&run, council, clock_left(m->shared->resolve_ms));
	m->known = run.verified;
	m->isolated = false;
	if (!run.verified) {
		without_truth(m, &run, options);
		return;
	}
	if (err == 0)
		err = run_plan(&run);
	if (err < 0 || (!options->dry_run && (plan_changes(&run.plan) ||
			(options->announce && run.plan.step_count > 0)))) {
		run.known = NULL;	/* what is changed is looked at afresh */
		if (err == 0)
			err = change(&run, options, false);
		m->verdict = finish(&run, err);
		share_packet(&run, &m->shared->packet);
		return;
	}
	m->verdict = VERDICT_AGREES;
	if (options->dry_run) {
		if (!options->announce && !plan_changes(&run.plan))
			plan_quiet(&run.plan);
		if (run_print(&run) < 0)
			m->verdict = VERDICT_PERMANENT;
	} else {
		refresh_add(&m->shared->standings, m->master, &run.plan);	/* or not, without memory */
		if (options->person)
			run_report(&run, 0);
	}
}

/* Fencing -------------------------------------------------------------- */

/* Asks once for all that are isolated; false when none is any more. */
static bool ask_isolated(struct matter *matters, size_t count, double deadline,
			 const struct config *config, const struct sync_options *options)
{
	const struct master **masters = calloc(count + 1, sizeof(const struct master *));
	struct council *councils = calloc(count + 1, sizeof(*councils));
	double begun = clock_ms(), end = begun + COUNCIL_MS;
	size_t asked = 0, next = 0;
	bool any = false;

	for (size_t i = 0; masters != NULL && i < count; i++)
		if (matters[i].isolated)
			masters[asked++] = matters[i].master;
	if (councils != NULL && asked > 0 &&
	    council_ask(masters, asked, end < deadline ? end : deadline, councils) == 0)
		for (size_t i = 0; i < count; i++) {
			struct endpoint master;

			if (!matters[i].isolated)
				continue;
			if (council_decide(&councils[next], false, &master))
				settle(&matters[i], config, &councils[next], begun, options);
			any = any || matters[i].isolated;
			council_free(&councils[next++]);
		}
	free(masters);
	free(councils);
	return any;
}

/* Asks for those that are isolated, until they are not or the time is over. */
static void wait_for_majority(struct matter *matters, size_t count, const struct config *config,
			      const struct sync_options *options)
{
	double deadline = clock_ms() + FENCE_MS;

	while (clock_ms() < deadline && ask_isolated(matters, count, deadline, config, options))
		poll(NULL, 0, FENCE_PAUSE_MS);
	for (size_t i = 0; i < count; i++) {
		CLEANUP(run_free) struct run run;

		run_begin(&run, config, matters[i].master);
		if (matters[i].isolated)
			matters[i].verdict = finish(&run, change(&run, options, true));
		if (matters[i].isolated && !run.verified)
			worsen(&matters[i].verdict, VERDICT_TRANSIENT);
	}
}

static void say_not_reached(const struct master *master)
{
	struct line line = { 0 };

	line_add(&line, "%s: not looked at: the others took %d s; the next run goes on with it",
		 master->name, FOREGROUND_MS / 1000);
	log_send(LOG_WARNING, line.text);
}

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

static void settle_all(struct matter *matters, size_t count, struct shared *shared,
		       const struct config *config, struct council *councils, double begun,
		       const struct sync_options *options)
{
	CLEANUP(facts_free) struct facts known = { 0 };

	if (count > 1 && look_once(&known) == 0)
		shared->known = &known;
	for (size_t i = 0; i < count; i++) {
		if (clock_ms() < begun + FOREGROUND_MS)
			settle(&matters[i], config, &councils[i], begun, options);
		else
			say_not_reached(matters[i].master);
		council_free(&councils[i]);
	}
	shared->known = NULL;
}

enum verdict sync_masters(const struct config *config, const struct master *const masters[],
			  size_t count, const struct sync_options *options)
{
	struct council *councils = calloc(count + 1, sizeof(*councils));
	struct matter *matters = calloc(count + 1, sizeof(*matters));
	struct shared shared = { .packet = -1 };
	double begun = clock_ms();
	enum verdict verdict = VERDICT_AGREES;

	if (councils == NULL || matters == NULL ||
	    council_ask(masters, count, clock_ms() + COUNCIL_MS, councils) < 0) {
		log_send(LOG_ERR, "out of memory");
		free(councils);
		free(matters);
		return VERDICT_TRANSIENT;
	}
	for (size_t i = 0; i < count; i++)
		matters[i] = (struct matter){ .master = masters[i], .verdict = VERDICT_TRANSIENT,
					      .shared = &shared };
	shared.resolve_ms = clock_ms() + COUNCIL_MS;
	settle_all(matters, count, &shared, config, councils, begun, options);
	/* what was heard so long ago is no reason to speak: the next run hears anew */
	if (clock_ms() < begun + 2 * COUNCIL_MS)
		refresh_send(&shared.standings);
	wait_for_majority(matters, count, config, options);
	refresh_free(&shared.standings);
	fd_close(&shared.packet);
	for (size_t i = 0; i < count; i++)
		worsen(&verdict, matters[i].verdict);
	free(councils);
	free(matters);
	return verdict;
}
