/* SPDX-License-Identifier: MIT */
/*
 * Who on the links answers for addresses: many questions at once, in bounded time.
 * Whether somebody should is not decided here.
 */
#include "vip.h"

#include <errno.h>
#include <ifaddrs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROUNDS = 2,		/* a broadcast may be lost */
	DRAIN_EVERY = 16,	/* questions; or the answers to many would overflow the socket */
};

/* A link and the questions about it. */
struct cable {
	const struct link *link;
	int fd;
	struct question **questions;
	struct ip *ips;
	size_t count;
};

struct cables {
	struct cable *items;
	size_t count;
	struct ifaddrs *own;
};

static void close_cables(struct cables *cables)
{
	for (size_t i = 0; i < cables->count; i++) {
		fd_close(&cables->items[i].fd);
		free(cables->items[i].questions);
		free(cables->items[i].ips);
	}
	free(cables->items);
	if (cables->own != NULL)
		freeifaddrs(cables->own);
}

/* Why nothing could be asked, for all questions of a link. */
static void give_up(struct cable *w, int err)
{
	for (size_t i = 0; i < w->count; i++) {
		struct question *q = w->questions[i];

		q->asked = false;
		if (err == -EPERM || err == -EACCES)
			why_set(&q->why, 0, "CAP_NET_RAW is missing");
		else if (err == -EAFNOSUPPORT)
			why_set(&q->why, 0, "AF_PACKET is forbidden here");
		else
			why_set(&q->why, 0, "%s: %s", w->link->name, strerror(-err));
	}
	fd_close(&w->fd);
}

static const char *why_not(const struct link *link)
{
	if (!arp_works_on(link))
		return "is not an Ethernet that does ARP";
	if ((link->flags & IFF_UP) == 0)
		return "is down";
	return (link->flags & IFF_LOWER_UP) == 0 ? "has no carrier" : NULL;
}

static struct cable *find_cable(struct cables *cables, const struct link *link)
{
	struct cable *moved;

	for (size_t i = 0; i < cables->count; i++)
		if (cables->items[i].link->ifindex == link->ifindex)
			return &cables->items[i];
	moved = reallocarray(cables->items, cables->count + 1, sizeof(*moved));
	if (moved == NULL)
		return NULL;
	cables->items = moved;
	moved[cables->count] = (struct cable){ .link = link, .fd = -1 };
	return &moved[cables->count++];
}

static int add_question(struct cables *cables, struct question *q)
{
	const char *obstacle = why_not(q->link);
	struct question **questions;
	struct cable *w;
	struct ip *ips;

	q->holder_count = 0;
	q->asked = obstacle == NULL;
	if (obstacle != NULL)
		return why_set(&q->why, 0, "%s %s", q->link->name, obstacle);
	w = find_cable(cables, q->link);
	if (w == NULL)
		return -ENOMEM;
	questions = reallocarray(w->questions, w->count + 1, sizeof(struct question *));
	if (questions == NULL)
		return -ENOMEM;
	w->questions = questions;
	ips = reallocarray(w->ips, w->count + 1, sizeof(*ips));
	if (ips == NULL)
		return -ENOMEM;
	w->ips = ips;
	w->questions[w->count] = q;
	w->ips[w->count++] = q->ip;
	return 0;
}

static void note(struct cable *w, const struct holder *holder)
{
	for (size_t i = 0; i < w->count; i++) {
		struct question *q = w->questions[i];
		size_t n = 0;

		if (!ip_equal(&q->ip, &holder->ip))
			continue;
		while (n < q->holder_count && memcmp(q->holders[n], holder->mac, ETH_ALEN) != 0)
			n++;
		if (n == q->holder_count && n < HOLDERS_MAX)
			memcpy(q->holders[q->holder_count++], holder->mac, ETH_ALEN);
	}
}

static void hear(const struct cables *cables, struct cable *w)
{
	struct holder holder;
	int n;

	while ((n = probe_hear(w->fd, w->link, w->ips, w->count, &holder)) > 0)
		if (!arp_is_own(cables->own, holder.mac))
			note(w, &holder);
	if (n < 0)
		give_up(w, n);
}

static void send_all(const struct cables *cables, struct cable *w)
{
	int err = 0;

	for (size_t i = 0; w->fd >= 0 && i < w->count; i++) {
		err = probe_send(w->fd, w->link, &w->ips[i]);
		if (err < 0 && err != -ENOBUFS && err != -EAGAIN)
			give_up(w, err);
		else if (i % DRAIN_EVERY == DRAIN_EVERY - 1)
			hear(cables, w);
	}
}

static void listen_until(const struct cables *cables, struct pollfd *polls, double deadline_ms)
{
	while (clock_ms() < deadline_ms) {
		for (size_t i = 0; i < cables->count; i++)
			polls[i] = (struct pollfd){ .fd = cables->items[i].fd, .events = POLLIN };
		if (poll(polls, cables->count, clock_left(deadline_ms)) <= 0)
			continue;
		for (size_t i = 0; i < cables->count; i++)
			if (polls[i].fd >= 0 && polls[i].revents != 0)
				hear(cables, &cables->items[i]);
	}
}

int neighbours_ask(struct question questions[], size_t count)
{
	CLEANUP(close_cables) struct cables cables = { 0 };
	struct pollfd *polls;
	double begun;

	for (size_t i = 0; i < count; i++)
		if (add_question(&cables, &questions[i]) < 0)
			return -ENOMEM;
	if (cables.count == 0)
		return 0;
	polls = calloc(cables.count, sizeof(*polls));
	if (polls == NULL)
		return -ENOMEM;
	if (getifaddrs(&cables.own) < 0)
		cables.own = NULL;	/* then only each link's own address is told apart */
	for (size_t i = 0; i < cables.count; i++) {
		int err = probe_open(cables.items[i].link, &cables.items[i].fd);

		if (err < 0)
			give_up(&cables.items[i], err);
	}
	begun = clock_ms();
	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (size_t i = 0; i < cables.count; i++)
			send_all(&cables, &cables.items[i]);
		listen_until(&cables, polls, begun + (double)NEIGHBOURS_MS * round / ROUNDS);
	}
	free(polls);
	return 0;
}
