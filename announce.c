/* SPDX-License-Identifier: MIT */
/*
 * The detached announcer: it goes on telling the neighbours after the caller has
 * been answered.  It wakes for its schedule, for what the kernel reports and for what
 * is heard on the wire, looks each time before it speaks, and is silent for good once
 * the VIP has left.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

enum {
	NA_APART_MS = 1000,	/* RFC 4861 section 10: RETRANS_TIMER */
	NA_REPEATS = 2,		/* MAX_NEIGHBOR_ADVERTISEMENT, 3, less the first */
	BUSY_MS = 10,		/* before the next try where a run holds the lock */
	GRACE_MS = 10000,	/* for the kernel, after the last of the schedule */
	STRAND_MS = 100,	/* then other runs' frames have left, and the first probes are answered */
	LATE_MS = 1000,		/* no busy machine's fault: this process was stopped meanwhile */
	ASK_MS = 1000,		/* for all Sentinels */
	RESOLVE_MS = 500,
	WORD_HOLDS_MS = 1000,	/* no failover is quicker */
};

/* What the Sentinels say of where the master is. */
enum word { WORD_NONE, WORD_HERE, WORD_ELSEWHERE };

struct announcer {
	const struct master *master;
	struct target *targets;
	size_t count;
	struct taps taps;
	double begun_ms, end_ms;
	uint64_t number;
	int packet;
	int watch;		/* facts_watch() */
	int newer;		/* lock_watch() */
	struct netlink *netlink;
	double here_ms;		/* when the Sentinels said that the master is here; or negative */
	bool mute;		/* here for the stranded connections alone */
	double strand_ms;	/* when to look for those; negative when that is done */
};

int announce_due(const struct schedule *schedule, sa_family_t family, unsigned n)
{
	unsigned last = 0, found = 0;

	if (family == AF_INET)
		return n < schedule->count ? (int)schedule->at_ms[n] : -1;
	for (unsigned i = 0; i < schedule->count && found < NA_REPEATS; i++) {
		if (schedule->at_ms[i] < last + NA_APART_MS)
			continue;
		last = schedule->at_ms[i];
		if (found++ == n)
			return (int)last;
	}
	return -1;
}

/* The moment of an address's next repeat; negative when it is through. */
static double due(const struct announcer *a, const struct target *t)
{
	int ms = announce_due(&a->master->announce, t->ip.family, t->repeat);

	return ms < 0 ? -1 : a->begun_ms + ms;
}

static double sooner(double a, double b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* When there is something to do next; negative when all is through. */
static double next_wake(const struct announcer *a)
{
	double next = a->strand_ms;

	for (size_t i = 0; i < a->count && !a->mute; i++) {
		const struct target *t = &a->targets[i];

		next = sooner(next, due(a, t));
		if ((t->link.flags & IFF_LOWER_UP) == 0)
			next = sooner(next, t->owed ? a->end_ms : -1);	/* the kernel tells when it comes */
		else
			next = sooner(next, t->owed ? clock_ms() + BUSY_MS : conflict_next(t));
	}
	return next;
}

static bool stands(const struct facts *facts, const struct target *t)
{
	for (size_t i = 0; i < facts->address_count; i++)
		if (facts->addresses[i].ifindex == t->link.ifindex &&
		    ip_equal(&facts->addresses[i].ip, &t->ip))
			return true;
	return false;
}

static void forget(struct announcer *a, size_t i)
{
	a->targets[i] = a->targets[--a->count];
}

/* False when the kernel cannot be asked: then nothing may be said either. */
static bool drop_what_left(struct announcer *a)
{
	CLEANUP(facts_free) struct facts facts = { 0 };

	if (vip_addresses(a->netlink, AF_UNSPEC, &facts) < 0)
		return false;
	for (size_t i = a->count; i-- > 0;)
		if (!stands(&facts, &a->targets[i]))
			forget(a, i);
	return true;
}

/* One address: what is due or owed now, from the MAC that the link has now. */
static bool speak(struct announcer *a, struct target *t)
{
	double now = clock_ms();
	struct link link;
	bool is_due = false;

	if (t->superseded || facts_read_link(a->netlink, t->link.ifindex, &link) < 0)
		return false;
	while (due(a, t) >= 0 && due(a, t) <= now) {
		is_due = true;
		t->repeat++;
	}
	if ((link.flags & IFF_LOWER_UP) == 0) {
		t->owed = t->owed || is_due;
		t->link = link;
		return true;
	}
	if ((t->link.flags & IFF_LOWER_UP) == 0 || memcmp(t->link.mac, link.mac, ETH_ALEN) != 0)
		t->owed = true;
	t->link = link;
	if (is_due || t->owed || conflict_wants_announcement(t, now))
		t->owed = arp_announce_unless(a->packet, a->watch, &link, &t->ip) < 0;
	conflict_probe(&a->taps, t, is_due, now);
	return true;
}

enum look { LOOK_GO_ON, LOOK_BUSY, LOOK_END };

/*
 * Under the lock no run of ours can take the VIP away between the look and the
 * frame.  Without a lock to be had, the look alone must do.
 */
static enum look look(struct announcer *a)
{
	struct lock lock = { .fd = -1 };
	struct strands strands = { 0 };
	enum look result = LOOK_GO_ON;

	if (lock_take(a->master->name, netlink_namespace(a->netlink), 0, &lock) == -ETIMEDOUT) {
		lock_drop(&lock);
		return LOOK_BUSY;
	}
	if (a->number != 0 && lock_number(&lock) != a->number) {
		result = LOOK_END;	/* a newer run has taken over */
	} else if (!drop_what_left(a)) {
		result = LOOK_BUSY;
	} else {
		for (size_t i = a->count; i-- > 0;)
			if (!a->mute && !speak(a, &a->targets[i]))
				forget(a, i);
		if (a->strand_ms >= 0 && a->strand_ms <= clock_ms())
			strand_find(a->targets, a->count, &strands);
		if (a->count == 0)
			result = LOOK_END;
	}
	lock_drop(&lock);
	if (strands.looked)
		a->strand_ms = strand_end(a->master->name, a->targets, a->count, &strands) ?
			clock_ms() + BUSY_MS : -1;
	return result;
}

/*
 * Waits for the moment, for the kernel, or for a frame about one of the addresses.  False
 * when none of them came: frames about others are no reason to look.
 */
static bool wait_and_hear(struct announcer *a, double until)
{
	struct pollfd polls[2 + TAPS_MAX] = { { .fd = a->watch, .events = POLLIN },
					      { .fd = a->newer, .events = POLLIN } };

	for (size_t i = 0; i < a->taps.count; i++)
		polls[2 + i] = (struct pollfd){ .fd = a->taps.items[i].fd, .events = POLLIN };
	if (poll(polls, 2 + a->taps.count, until > clock_ms() ? clock_left(until) : 0) <= 0)
		return clock_ms() >= until;
	facts_drain(a->watch);
	lock_drain(a->newer);
	/* first a look whether it is here still: the frames can wait, and may be no conflict then */
	if (polls[0].revents != 0 || polls[1].revents != 0)
		return true;
	return conflict_hear(a->master->name, &a->taps, a->targets, a->count);
}

/* All of them: the local one may have been stopped together with this process. */
static enum word ask_the_sentinels(struct announcer *a)
{
	CLEANUP(facts_free) struct facts facts = { 0 };
	struct council council;
	const struct vote *vote;
	struct truth truth = { 0 };
	struct why why;
	bool decided;

	if (!a->master->verify || council_ask(&a->master, 1, clock_ms() + ASK_MS, &council) < 0)
		return WORD_NONE;
	vote = council_decide(&council, false);
	decided = vote != NULL && truth_of_vote(a->master, vote, RESOLVE_MS, &truth, &why) == 0;
	council_free(&council);
	if (!decided || vip_addresses(a->netlink, AF_UNSPEC, &facts) < 0)
		return WORD_NONE;
	return plan_is_here(&truth, &facts) ? WORD_HERE : WORD_ELSEWHERE;
}

/*
 * Another host has announced an address of ours, or this process was stopped for so long that
 * another one may have: nothing is said before it is known who is right.  Where nobody
 * can tell, whoever announced last is.  False when the master is elsewhere.
 */
static bool is_right(struct announcer *a, bool late)
{
	bool challenged = false;
	enum word word = WORD_HERE;

	for (size_t i = 0; i < a->count; i++)
		challenged = challenged || a->targets[i].challenged;
	if (!late && !challenged)
		return true;
	if (late || a->here_ms < 0 || clock_ms() > a->here_ms + WORD_HOLDS_MS) {
		word = ask_the_sentinels(a);
		a->here_ms = word == WORD_HERE ? clock_ms() : -1;
	}
	for (size_t i = 0; i < a->count; i++) {
		struct target *t = &a->targets[i];

		t->superseded = t->superseded || (t->challenged && word == WORD_NONE);
		t->challenged = false;
	}
	if (word == WORD_ELSEWHERE) {
		struct line line = { 0 };

		line_add(&line, "%s: no longer announced: the Sentinels say that another host is the "
			 "master; if the VIP is still here, run: sentinel-vip sync %s", a->master->name,
			 a->master->name);
		log_send(LOG_WARNING, line.text);
	}
	return word != WORD_ELSEWHERE;
}

static void warn_of_silence(const struct announcer *a)
{
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < a->count; i++) {
		const struct target *t = &a->targets[i];
		struct line line = { 0 };

		if (!t->owed)
			continue;
		line_add(&line, "%s: %s is not announced, for want of a carrier on %s; when it is back, "
			 "run: sentinel-vip sync --announce %s", a->master->name, ip_text(&t->ip, text),
			 t->link.name, a->master->name);
		log_send(LOG_WARNING, line.text);
	}
}

static void announce(struct announcer *a)
{
	enum look seen;
	double wake;

	a->end_ms = a->targets[0].end_ms + GRACE_MS;
	if (netlink_open(a->end_ms, &a->netlink) < 0)
		return;
	a->newer = lock_watch(a->master->name, netlink_namespace(a->netlink));
	if (!a->mute)
		conflict_open(&a->taps, a->targets, a->count);
	do {
		seen = look(a);
		if (seen == LOOK_END)
			break;
		wake = seen == LOOK_BUSY ? clock_ms() + BUSY_MS : next_wake(a);
		/* a run that is at work may be taking the VIP away: then who else has it is right */
		if (seen == LOOK_BUSY)
			poll(NULL, 0, BUSY_MS);
		while (seen != LOOK_BUSY && wake >= 0 && !wait_and_hear(a, wake))
			;
		if (wake >= 0 && !is_right(a, clock_ms() > wake + LATE_MS))
			seen = LOOK_END;
	} while (seen != LOOK_END && wake >= 0 && clock_ms() < a->end_ms);
	/* a newer run's announcer says what is true now */
	if (seen != LOOK_END && !a->mute) {
		conflict_report(a->master->name, a->targets, a->count);
		warn_of_silence(a);
	}
	netlink_close(&a->netlink);
}

/* Whether an announcement follows what has just been added. */
static bool is_added(const struct plan *plan, size_t i)
{
	const struct step *step = &plan->steps[i];

	return i > 0 && step[-1].kind == STEP_ADD && step[-1].vip == step->vip && step[-1].done;
}

/* Returns how many of them were added, where that matters. */
static int list_targets(const struct plan *plan, struct announcer *a)
{
	const struct schedule *schedule = &a->master->announce;
	int added = 0;
	unsigned last_ms = schedule->count > 0 ? schedule->at_ms[schedule->count - 1] : 0;

	a->targets = calloc(plan->step_count + 1, sizeof(*a->targets));
	if (a->targets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->kind != STEP_ANNOUNCE || !step->done)
			continue;
		a->targets[a->count++] = (struct target){
			.ip = step->vip->ip,
			.link = *step->link,
			.added = a->master->kill_connections && is_added(plan, i) ? STRAND_LOOKS : 0,
			.owed = (step->link->flags & IFF_LOWER_UP) == 0,
			.begun_ms = a->begun_ms,
			.end_ms = a->begun_ms + last_ms,
			.again_ms = -1,
			.verdict_ms = -1,
		};
		added += a->targets[a->count - 1].added > 0;
	}
	return added;
}

/* Nothing of the caller's stays open, no terminal, no directory held. */
static void detach(int *packet)
{
	int null;

	setsid();
	if (chdir("/") < 0)
		_exit(1);	/* cannot fail; and nothing is lost if it does */
	prctl(PR_SET_NAME, "vip-announce");
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	if (*packet != 3)
		*packet = dup2(*packet, 3);
	closefrom(4);
}

int announce_detach(int packet, const struct master *master, const struct plan *plan,
		    uint64_t number)
{
	struct announcer a = { .master = master, .number = number, .begun_ms = clock_ms(),
			       .packet = packet, .watch = -1, .newer = -1, .here_ms = -1,
			       .strand_ms = -1 };
	int added = list_targets(plan, &a), err;
	pid_t child;

	if (added < 0)
		return added;
	a.mute = a.count == 0 || next_wake(&a) < 0 || master->announce.count == 0;
	if (added > 0)
		a.strand_ms = a.begun_ms + (a.mute ? 0 : STRAND_MS);
	child = added > 0 || !a.mute ? fork() : 1;
	err = child < 0 ? -errno : 0;
	if (child == 0) {
		detach(&a.packet);
		a.watch = facts_watch();
		if (a.watch >= 0 && (a.packet >= 0 || a.mute))
			announce(&a);
		_exit(0);
	}
	free(a.targets);
	return err;
}
