/* SPDX-License-Identifier: MIT */
/*
 * Sentinel's call: a hint that something has changed.  What Sentinel says now outranks the
 * arguments; where it cannot be asked they are all there is.  It waits for nobody longer than
 * a failover can.
 */
#include "vip.h"

#include <errno.h>

enum {
	RESOLVE_MS = 2000,
	QUESTION_MS = 300,	/* for the local Sentinel, connect included */
	LOCK_MS = 300,		/* for another run */
	COUNCIL_MS = 1000,	/* for all Sentinels */
	FRESH_MS = 5,		/* for so long what the kernel said is taken for what it would say */
	OVERTAKEN_MAX = 3,	/* times that a run begins again */
};

/* Whether from and to are the same, which this Sentinel cannot help: see ask_the_others(). */
static bool is_for_the_others(const struct run *run, const struct event *event)
{
	return run->master->verify && endpoint_equal(&event->from, &event->to);
}

/* Connects before the lock is had, so that Sentinel has accepted when it is asked. */
static int reach_sentinel(struct run *run, const struct event *event)
{
	int err = 0;

	if (!run->master->verify || is_for_the_others(run, event) || run->sentinel != NULL)
		return 0;
	err = sentinel_open(run->master, &run->master->sentinel, &run->sentinel);
	if (err < 0)
		return why_set(&run->why, err, "out of memory");
	sentinel_reach(run->sentinel);
	return 0;
}

/* Sends the question; the answer is heard after the kernel was asked. */
static int send_question(struct run *run, const struct event *event, size_t *index)
{
	int err = reach_sentinel(run, event);

	if (err < 0 || run->sentinel == NULL)
		return err;
	err = sentinel_ask(run->sentinel, SENTINEL_ADDRESS, run->master->name, index);
	if (err < 0)
		return why_set(&run->why, err, "out of memory");
	sentinel_send(run->sentinel);
	return 0;
}

/* Sentinel cannot be asked, or does not say: the arguments are all there is. */
static void go_unverified(struct run *run, const struct answer *answer)
{
	char at[ENDPOINT_TEXT_SIZE];

	line_add(&run->outcome.warning, "; unverified: %s: %s%s",
		 endpoint_text(&run->master->sentinel, at), answer->error,
		 answer->kind == ANSWER_DENIED ? "; name a file with the password in sentinel-auth =" :
		 "");
}

/* What the local Sentinel says outranks what it, or another, said when it called. */
static int weigh(struct run *run, const struct event *event, const struct answer *answer)
{
	char ours[ENDPOINT_TEXT_SIZE], theirs[ENDPOINT_TEXT_SIZE];

	switch (answer->kind) {
	case ANSWER_UNKNOWN:
		return why_set(&run->why, -ENOENT, "Sentinel at %s does not know %s: correct sentinel = "
			       "or the master's name",
			       endpoint_text(&run->master->sentinel, theirs), run->master->name);
	case ANSWER_MASTER:
		run->verified = true;
		if (endpoint_equal(&answer->master, &event->to))
			return truth_of(run->master, &event->to, RESOLVE_MS, &run->truth, &run->why);
		run->ready = false;
		line_add(&run->note, "arguments are stale: they say %s, Sentinel says %s",
			 endpoint_text(&event->to, ours), endpoint_text(&answer->master, theirs));
		return truth_of(run->master, &answer->master, RESOLVE_MS, &run->truth, &run->why);
	default:
		if (run->master->verify)
			go_unverified(run, answer);
		return truth_of(run->master, &event->to, RESOLVE_MS, &run->truth, &run->why);
	}
}

/*
 * From and to are the same when this Sentinel could not resolve the new master's
 * name: it has the new epoch and the old address.  Its fellows know better.
 */
static int ask_the_others(struct run *run, const struct event *event)
{
	struct council council;
	const struct vote *vote;
	char text[ENDPOINT_TEXT_SIZE];
	int err = council_ask(&run->master, 1, clock_ms() + COUNCIL_MS, &council);

	if (err < 0)
		return why_set(&run->why, err, "out of memory");
	vote = council_decide(&council, true);
	/* reached, so that a replay will be checked: the others may have heard by then */
	run->verified = council.count > 0 && council.votes[0].answer.kind == ANSWER_MASTER;
	outcome_step(&run->outcome, "ask");
	if (vote == NULL || vote_names(vote, &event->to)) {
		council_free(&council);
		return why_set(&run->why, -EAGAIN, "from and to are both %s: this Sentinel cannot resolve "
			       "the new master's name, and no majority of the others says who it is; "
			       "put the name into /etc/hosts", endpoint_text(&event->to, text));
	}
	run->verified = true;
	line_add(&run->note, "from and to are the same, so the other Sentinels were asked");
	err = truth_of_vote(run->master, vote, RESOLVE_MS, &run->truth, &run->why);
	council_free(&council);
	return err;
}

/*
 * A conversation that breaks off at once, for want of memory, of a descriptor, or by chance, is had
 * once more: old arguments must not be followed for that.
 */
static void hear_answer(struct run *run, const struct event *event, size_t index,
			double deadline, struct answer *answer)
{
	for (unsigned tries = 0; run->sentinel != NULL; tries++) {
		sentinel_hear(&run->sentinel, 1, deadline);
		sentinel_address(run->sentinel, index, answer);
		if (answer->kind != ANSWER_NONE || tries == 1 || clock_ms() >= deadline)
			break;
		sentinel_close(&run->sentinel);
		if (send_question(run, event, &index) < 0)
			break;
	}
}

/*
 * While Sentinel answers: all that can be done without a change, for the case that it agrees with
 * the arguments.  What fails is found out, and said, by whoever needs it.
 */
static void make_ready(struct run *run, const struct event *event)
{
	if (truth_of(run->master, &event->to, 0, &run->truth, &run->why) < 0 || run_make_plan(run) < 0)
		return;
	run->ready = true;
	run->planned = false;	/* not yet: it is nothing to be told of */
	apply_prepare(&run->plan);
	if (run->packet < 0 && run->plan.decision == PLAN_CLAIM)
		(void)arp_open(&run->packet);
}

static int find_truth(struct run *run, const struct event *event, bool dry_run)
{
	double deadline = clock_ms() + QUESTION_MS;
	struct answer answer = { .kind = ANSWER_NONE };
	size_t index = 0;
	int err = send_question(run, event, &index);

	/* meanwhile the kernel, as if the arguments were right */
	if (err == 0 && event->to.ip.family != AF_UNSPEC) {
		run->truth.where = TRUTH_LOOK;
		run->truth.ips[0] = event->to.ip;
		run->truth.ip_count = 1;
		err = run_gather(run);
	}
	if (err == 0 && run->sentinel != NULL && !dry_run && event->to.ip.family != AF_UNSPEC)
		make_ready(run, event);
	/* even when the kernel failed: whether a replay is safe depends on it */
	if (run->sentinel != NULL) {
		hear_answer(run, event, index, deadline, &answer);
		outcome_step(&run->outcome, "ask");
		run->verified = answer.kind == ANSWER_MASTER;
	}
	if (err < 0)
		return err;
	return weigh(run, event, &answer);
}

static int follow(struct run *run, const struct event *event, bool dry_run)
{
	int err;

	run->ready = false;
	err = is_for_the_others(run, event) ? ask_the_others(run, event) : find_truth(run, event, dry_run);
	/* the facts hold when they were gathered for that very address, and just now */
	if (err == 0 && (run->facts.addresses == NULL || run->truth.ip_count != 1 ||
			 !ip_equal(&run->truth.ips[0], &event->to.ip) ||
			 clock_ms() > run->gathered_ms + FRESH_MS)) {
		run->ready = false;
		err = run_gather(run);
	}
	if (err == 0 && !run->ready)
		err = run_make_plan(run);
	else if (err == 0)
		run->planned = true;
	return err == 0 ? run_finish(run, dry_run) : err;
}

int call_run(struct run *run, const struct event *event, bool dry_run)
{
	int err = reach_sentinel(run, event);

	if (err == 0 && !dry_run)
		err = run_lock(run, LOCK_MS, true);
	if (err < 0)
		return err;
	run->truth.from = event->from.ip;
	for (unsigned tries = 0; tries < OVERTAKEN_MAX; tries++) {
		/* what Sentinel says now is at least as new as what the other run knew */
		if (tries > 0) {
			run_again(run);
			sentinel_close(&run->sentinel);
		}
		run->asked_at = lock_number(&run->lock);
		err = follow(run, event, dry_run);
		if (err != -ESTALE || !run->verified)
			break;
	}
	return err;
}
