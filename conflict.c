/* SPDX-License-Identifier: MIT */
/*
 * A stale holder: another host that still answers for a VIP which this one has just
 * claimed.  Announcements do not make it let go, nor do they show it, since it ignores
 * them; a probe does.  It is named in the log, and talked over once its own
 * run has had the time to release.  It is never fought: whoever holds a VIP wrongly
 * is for its own Sentinel, for sync, or for a person to stop.
 */
#include "vip.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
	HEARD_MAX = 64,
	PROBE_AGAIN_MS = 200,
	LET_GO_MS = 150,	/* a stale holder's own Sentinel calls it within that time */
	APART_MS = 1000,	/* between two announcements that a conflict causes */
};

void conflict_open(struct taps *taps, const struct target *targets, size_t count)
{
	taps->count = 0;
	for (size_t i = 0; i < count && taps->count < TAPS_MAX; i++) {
		struct tap *tap = &taps->items[taps->count];
		bool known = false;

		for (size_t j = 0; j < taps->count; j++)
			known = known || taps->items[j].ifindex == targets[i].link.ifindex;
		/* one that cannot be heard is announced all the same */
		if (known || probe_open(&targets[i].link, &tap->fd) < 0)
			continue;
		tap->ifindex = targets[i].link.ifindex;
		taps->count++;
	}
}

double conflict_next(const struct target *t)
{
	double next = t->again_ms;

	if (t->probes < PROBES) {
		double probe = t->begun_ms + t->probes * PROBE_AGAIN_MS;

		if (next < 0 || probe < next)
			next = probe;
	}
	if (t->verdict_ms >= 0 && (next < 0 || t->verdict_ms < next))
		next = t->verdict_ms;
	if (t->heard > 0 && t->verdict_ms < 0 && !t->judged && (next < 0 || t->end_ms < next))
		next = t->end_ms;
	return next;
}

bool conflict_wants_announcement(struct target *t, double now_ms)
{
	if (t->again_ms < 0 || t->again_ms > now_ms)
		return false;
	t->again_ms = -1;
	return true;
}

/*
 * Twice at the start; after that only where somebody answered, with each repeat, and a
 * last time at the end, whose answer is the verdict.
 */
void conflict_probe(const struct taps *taps, struct target *t, bool repeated, double now_ms)
{
	bool last = now_ms >= t->end_ms;
	bool wanted = t->heard > 0 && (repeated || (last && t->verdict_ms < 0));

	if (t->probes < PROBES && t->begun_ms + t->probes * PROBE_AGAIN_MS <= now_ms) {
		t->probes++;
		wanted = true;
	}
	if (t->verdict_ms >= 0 && t->verdict_ms <= now_ms) {
		t->verdict_ms = -1;
		t->judged = true;
	}
	if (!wanted || t->judged)
		return;
	for (size_t i = 0; i < taps->count; i++)
		if (taps->items[i].ifindex == t->link.ifindex)
			probe_send(taps->items[i].fd, &t->link, &t->ip);
	t->probed_ms = now_ms;
	if (last && t->heard > 0) {
		t->answered = false;
		t->verdict_ms = now_ms + LET_GO_MS;
	}
}

static void say(const char *master, int priority, const struct target *t, const char *what)
{
	char ip[IP_TEXT_SIZE], mac[MAC_TEXT_SIZE];
	struct line line = { 0 };

	line_add(&line, "%s: %s is %s held by %s on %s", master, ip_text(&t->ip, ip), what,
		 mac_text(t->other, mac), t->link.name);
	if (t->judged)
		line_add(&line, ", heard %u times: find that host and run there: sentinel-vip sync %s",
			 t->heard, master);
	log_send(priority, line.text);
}

/* Each is named once; of many only the first few: whoever can send can forge any number. */
static bool is_new(struct target *t, const uint8_t mac[ETH_ALEN])
{
	for (size_t i = 0; i < t->other_count; i++)
		if (memcmp(t->others[i], mac, ETH_ALEN) == 0)
			return false;
	if (t->other_count == HOLDERS_MAX)
		return false;
	memcpy(t->others[t->other_count++], mac, ETH_ALEN);
	return true;
}

static bool is_own(const uint8_t mac[ETH_ALEN])
{
	struct ifaddrs *interfaces;
	bool own;

	if (getifaddrs(&interfaces) < 0)
		return false;
	own = arp_is_own(interfaces, mac);
	freeifaddrs(interfaces);
	return own;
}

static bool take(const char *master, struct target *t, const struct holder *holder)
{
	const uint8_t *mac = holder->mac;
	double now = clock_ms();

	if (memcmp(t->other, mac, ETH_ALEN) != 0) {
		if (is_own(mac))
			return false;	/* another interface of this very host, on the same switch */
		memcpy(t->other, mac, ETH_ALEN);
		if (is_new(t, mac))
			say(master, LOG_WARNING, t, "also");
	}
	t->heard++;
	t->answered = true;
	/* nobody was asked: it was claimed there since, or a stale holder has spoken up by itself */
	if (holder->announced && now - t->probed_ms > LET_GO_MS && now - t->begun_ms > APART_MS)
		t->challenged = true;
	if (t->again_ms < 0 && !t->judged && (t->heard == 1 || now - t->talked_over_ms >= APART_MS)) {
		t->again_ms = now + LET_GO_MS;
		t->talked_over_ms = t->again_ms;
	}
	return true;
}

static bool hear_tap(const char *master, const struct tap *tap, struct target *targets,
		      size_t count, const struct ip *ips)
{
	const struct link *link = NULL;
	struct holder holder;
	bool taken = false;

	for (size_t i = 0; i < count && link == NULL; i++)
		if (targets[i].link.ifindex == tap->ifindex)
			link = &targets[i].link;
	/* not for ever: what is heard must not keep us from what is due */
	for (unsigned n = 0; link != NULL && n < HEARD_MAX &&
	     probe_hear(tap->fd, link, ips, count, &holder) == 1; n++)
		for (size_t i = 0; i < count; i++)
			if (targets[i].link.ifindex == tap->ifindex &&
			    ip_equal(&targets[i].ip, &holder.ip))
				taken = take(master, &targets[i], &holder) || taken;
	return taken;
}

bool conflict_hear(const char *master, const struct taps *taps, struct target *targets,
		   size_t count)
{
	struct ip *ips = calloc(count + 1, sizeof(*ips));
	bool taken = false;

	for (size_t i = 0; ips != NULL && i < count; i++)
		ips[i] = targets[i].ip;
	for (size_t i = 0; ips != NULL && i < taps->count; i++)
		taken = hear_tap(master, &taps->items[i], targets, count, ips) || taken;
	free(ips);
	return taken;
}

void conflict_report(const char *master, const struct target *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct target *t = &targets[i];

		if (t->judged && t->answered)
			say(master, LOG_WARNING, t, "still");
	}
}
