/* SPDX-License-Identifier: MIT */
/*
 * The detached announcer: it goes on telling the neighbours after the caller has
 * been answered.  It wakes for its schedule and for what the kernel reports, looks
 * each time before it speaks, and is silent for good once the VIP has left.
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
	BUSY_MS = 50,		/* before the next try where a run holds the lock */
	GRACE_MS = 10000,	/* for the kernel, after the last of the schedule */
};

struct target {
	struct ip ip;
	unsigned ifindex;
	char link_name[IFNAMSIZ];
	unsigned repeat;	/* the next one */
	bool owed;		/* an announcement could not leave: no carrier, new MAC */
	bool carrier;		/* at the last look */
	uint8_t mac[ETH_ALEN];
};

struct announcer {
	const struct master *master;
	struct target *targets;
	size_t count;
	double begun_ms;
	uint64_t number;
	int packet;
	int watch;
	struct netlink *netlink;
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

static int due(const struct announcer *a, const struct target *t)
{
	return announce_due(&a->master->announce, t->ip.family, t->repeat);
}

/* The moment of the next repeat of any address; negative when all are through. */
static double next_due(const struct announcer *a)
{
	int first = -1;

	for (size_t i = 0; i < a->count; i++) {
		int ms = due(a, &a->targets[i]);

		if (ms >= 0 && (first < 0 || ms < first))
			first = ms;
	}
	return first < 0 ? -1 : a->begun_ms + first;
}

static bool stands(const struct facts *facts, const struct target *t)
{
	for (size_t i = 0; i < facts->address_count; i++)
		if (facts->addresses[i].ifindex == t->ifindex &&
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

	if (vip_addresses(a->netlink, &facts) < 0)
		return false;
	for (size_t i = a->count; i-- > 0;)
		if (!stands(&facts, &a->targets[i]))
			forget(a, i);
	return true;
}

/* One address: what is due or owed now, from the MAC that the link has now. */
static bool speak(struct announcer *a, struct target *t)
{
	struct link link;
	bool is_due = false;

	if (facts_read_link(a->netlink, t->ifindex, &link) < 0)
		return false;
	while (due(a, t) >= 0 && a->begun_ms + due(a, t) <= clock_ms()) {
		is_due = true;
		t->repeat++;
	}
	if ((link.flags & IFF_LOWER_UP) == 0) {
		t->carrier = false;
		t->owed = t->owed || is_due;
		return true;
	}
	if (!t->carrier || memcmp(t->mac, link.mac, ETH_ALEN) != 0)
		t->owed = true;
	t->carrier = true;
	memcpy(t->mac, link.mac, ETH_ALEN);
	if (is_due || t->owed)
		t->owed = arp_announce(a->packet, &link, &t->ip) < 0;
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
	enum look result = LOOK_GO_ON;

	if (lock_take(a->master->name, 0, &lock) == -ETIMEDOUT) {
		lock_drop(&lock);
		return LOOK_BUSY;
	}
	if (a->number != 0 && lock_number(&lock) != a->number) {
		result = LOOK_END;	/* a newer run has taken over */
	} else if (!drop_what_left(a)) {
		result = LOOK_BUSY;
	} else {
		for (size_t i = a->count; i-- > 0;)
			if (!speak(a, &a->targets[i]))
				forget(a, i);
		if (a->count == 0)
			result = LOOK_END;
	}
	lock_drop(&lock);
	return result;
}

static void warn_of_silence(const struct announcer *a)
{
	struct line line = { 0 };
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < a->count; i++)
		if (a->targets[i].owed)
			line_add(&line, "%s%s on %s", line.length > 0 ? ", " : "",
				 ip_text(&a->targets[i].ip, text), a->targets[i].link_name);
	if (line.length > 0) {
		struct line all = { 0 };

		line_add(&all, "%s: never announced, for want of a carrier: %s; when the cable is back, "
			 "run: sentinel-vip claim %s", a->master->name, line.text, a->master->name);
		log_send(LOG_WARNING, all.text);
	}
}

static void announce(struct announcer *a)
{
	double end = a->begun_ms + GRACE_MS;
	double wake = next_due(a);

	for (unsigned i = 0; i < a->master->announce.count; i++)
		end = a->begun_ms + a->master->announce.at_ms[i] + GRACE_MS;
	if (netlink_open(end, &a->netlink) < 0)
		return;
	while (wake >= 0 && clock_ms() < end) {
		struct pollfd events = { .fd = a->watch, .events = POLLIN };
		enum look seen;

		if (poll(&events, 1, wake > clock_ms() ? clock_left(wake) : 0) < 0 && errno != EINTR)
			break;
		facts_drain(a->watch);
		seen = look(a);
		if (seen == LOOK_END)
			break;
		wake = seen == LOOK_BUSY ? clock_ms() + BUSY_MS : next_due(a);
	}
	warn_of_silence(a);
	netlink_close(&a->netlink);
}

static int list_targets(const struct plan *plan, struct announcer *a)
{
	a->targets = calloc(plan->step_count + 1, sizeof(*a->targets));
	if (a->targets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];
		struct target *t = &a->targets[a->count];

		if (step->kind != STEP_ANNOUNCE)
			continue;
		t->ip = step->vip->ip;
		t->ifindex = step->link->ifindex;
		memcpy(t->link_name, step->link->name, sizeof(t->link_name));
		t->carrier = (step->link->flags & IFF_LOWER_UP) != 0;
		t->owed = !t->carrier;
		memcpy(t->mac, step->link->mac, ETH_ALEN);
		a->count++;
	}
	return 0;
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
			       .packet = packet, .watch = -1 };
	int err = list_targets(plan, &a);
	pid_t child;

	if (err < 0)
		return err;
	child = a.count > 0 && next_due(&a) >= 0 ? fork() : 1;
	err = child < 0 ? -errno : 0;
	if (child == 0) {
		detach(&a.packet);
		a.watch = facts_watch();
		if (a.watch >= 0 && a.packet >= 0)
			announce(&a);
		_exit(0);
	}
	free(a.targets);
	return err;
}
