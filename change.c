/* SPDX-License-Identifier: MIT */
/*
 * What sync has found to be changed, for many masters at once: the locks that are free, one
 * question to all their Sentinels, then one after the other.  It waits for no lock while it has
 * another, and keeps none for long; what another run has the lock of is left to the next sync.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <syslog.h>

enum {
	AGAIN_MS = 700,		/* for all Sentinels to answer, where others may be waiting */
	LOCK_MS = 300,		/* for the locks of all, while none is held */
	LOOK_AGAIN_MS = 10,
	HOLD_MS = 300,		/* for those of a round that are done before; as a failover's call waits */
	BATCH_MAX = 256,	/* locks at once: of 1024 descriptors, the Sentinels need some as well */
	OVERTAKEN_MAX = 3,
	NETLINK_MS = 5000,	/* half of the time that a connection is good for */
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

void change_end(struct change *change, int err)
{
	change->verdict = judge(change->run, err);
	if (change->fence && !change->run->verified)
		worsen(&change->verdict, VERDICT_TRANSIENT);
	run_report(change->run, err);
	run_hook(change->run);
	change_drop(change);
}

void change_drop(struct change *change)
{
	run_free(change->run);
	free(change->run);
	change->run = NULL;
}

/* What is shared ------------------------------------------------------- */

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

void common_lend(struct common *common, struct run *run)
{
	double now = clock_ms(), end = now + 2 * NETLINK_MS;

	/* a kernel that stays busy must not take that time for each look */
	if (end > common->deadline_ms)
		end = common->deadline_ms;
	if (common->netlink != NULL && now > common->netlink_ms + NETLINK_MS)
		netlink_close(&common->netlink);
	if (common->netlink == NULL && netlink_open(end, &common->netlink) == 0)
		common->netlink_ms = now;
	run->netlink = common->netlink;	/* NULL: it opens one itself, and says what fails */
	common->netlink = NULL;
	share_packet(run, &common->packet);
}

void common_take_back(struct common *common, struct run *run)
{
	common->netlink = run->netlink;
	run->netlink = NULL;
	share_packet(run, &common->packet);
	fd_close(&run->packet);	/* many copies were many descriptors */
}

void common_free(struct common *common)
{
	netlink_close(&common->netlink);
	fd_close(&common->packet);
}

/* One round ------------------------------------------------------------ */

struct round {
	struct change *changes[BATCH_MAX];
	const struct master *masters[BATCH_MAX];
	struct council councils[BATCH_MAX];
	size_t count;
};

/* The locks that nobody else has. */
static void lock_free_ones(struct round *round, struct change changes[], size_t count,
			   struct common *common)
{
	round->count = 0;
	for (size_t i = 0; i < count && round->count < BATCH_MAX; i++) {
		struct run *run = changes[i].run;
		int err;

		if (run == NULL)
			continue;
		common_lend(common, run);
		err = run_lock(run, 0, false);
		common_take_back(common, run);
		if (err < 0) {
			lock_drop(&run->lock);
			continue;
		}
		run->asked_at = lock_number(&run->lock);
		round->masters[round->count] = run->master;
		round->changes[round->count++] = &changes[i];
	}
}

static int decide_and_apply(struct change *change, const struct council *council,
			    const struct common *common)
{
	struct run *run = change->run;
	int err;

	/*
	 * A failover's own call does not wait for us: when the number has been raised since, what
	 * we have heard is older than what it did.
	 */
	if (lock_number(&run->lock) != run->asked_at)
		return why_set(&run->why, -ESTALE, "other runs keep changing this master");
	err = run_decide(run, council, clock_left(common->resolve_ms));
	if (err == -EAGAIN && change->fence && !run->verified && !council_differs_by_names(council)) {
		run->truth = (struct truth){ .where = TRUTH_ELSEWHERE };
		line_add(&run->note, "fenced: %s", run->why.text);
		err = 0;
	}
	if (err == 0)
		err = run_plan(run);
	if (err < 0)
		return err;
	/* where one is missing, a run may have been killed before it announced the others */
	if (!common->announce && !plan_changes(&run->plan))
		plan_quiet(&run->plan);
	/* another run has done it meanwhile: its announcer must not be silenced */
	return run->plan.step_count > 0 ? run_apply(run) : 0;
}

/* Done, or overtaken and to be decided anew: the lock is let go in either case. */
static void make(struct change *change, const struct council *council, struct common *common)
{
	struct run *run = change->run;
	int err;

	if (common->many)
		outcome_step(&run->outcome, "others");
	common_lend(common, run);
	err = decide_and_apply(change, council, common);
	common_take_back(common, run);
	if (err == -ESTALE && ++change->tries < OVERTAKEN_MAX) {
		run_again(run);
		lock_drop(&run->lock);
		return;
	}
	change_end(change, err == -ESTALE ? -EAGAIN : err);
}

static void make_all(struct round *round, struct common *common)
{
	int err = council_ask(round->masters, round->count, clock_ms() + AGAIN_MS, round->councils);
	double until = clock_ms() + HOLD_MS;

	for (size_t i = 0; err == 0 && i < round->count; i++)
		outcome_step(&round->changes[i]->run->outcome, "ask again");
	for (size_t i = 0; i < round->count; i++) {
		struct change *change = round->changes[i];

		if (err < 0)
			change_end(change, why_set(&change->run->why, err, "out of memory"));
		else if (i == 0 || clock_ms() < until)
			make(change, &round->councils[i], common);
		else	/* whoever waits for this lock has waited long enough: asked anew */
			lock_drop(&change->run->lock);
		council_free(&round->councils[i]);
	}
}

/* All of them ---------------------------------------------------------- */

static void leave(struct change *change, bool in_time)
{
	struct line line = { 0 };

	line_add(&line, "%s: left to the next sync: ", change->run->master->name);
	if (in_time)
		line_add(&line, "another run for this master has the lock: see "
			 "\"ps -C sentinel-vip,vip-announce\"");
	else
		line_add(&line, "the others took too long");
	log_send(LOG_WARNING, line.text);
	change->verdict = VERDICT_TRANSIENT;
	change_drop(change);
}

static size_t left(const struct change changes[], size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += changes[i].run != NULL;
	return n;
}

void change_all(struct change changes[], size_t count, struct common *common)
{
	double until = clock_ms() + LOCK_MS;
	struct round round;

	common->resolve_ms = clock_ms() + AGAIN_MS;
	for (size_t i = 0; common->many && i < count; i++)
		if (changes[i].run != NULL)
			outcome_step(&changes[i].run->outcome, "others");
	while (left(changes, count) > 0 && clock_ms() < common->deadline_ms) {
		lock_free_ones(&round, changes, count, common);
		if (round.count > 0)
			make_all(&round, common);
		else if (clock_ms() < until)
			poll(NULL, 0, LOOK_AGAIN_MS);
		else
			break;
	}
	for (size_t i = 0; i < count; i++)
		if (changes[i].run != NULL)
			leave(&changes[i], clock_ms() < common->deadline_ms);
}
