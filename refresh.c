/* SPDX-License-Identifier: MIT */
/*
 * What stands here, and rightly so, is announced once more by each sync.  A neighbour
 * that was cut off when the VIP came has heard none of the claim's announcements; one that asked
 * while another host still held the VIP has been told the wrong one. Neither can be seen
 * from here, and each would go wrong for half a minute and more.
 *
 * It announces nothing that has left, or that another run is at work on, and says nothing.
 */
#include "vip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KERNEL_MS = 1000 };

int refresh_add(struct standings *s, const struct master *master, const struct plan *plan)
{
	struct standing *moved;

	if (plan->decision != PLAN_CLAIM || !master->refresh || plan->step_count == 0)
		return 0;
	moved = reallocarray(s->items, s->count + plan->step_count, sizeof(*moved));
	if (moved == NULL)
		return -ENOMEM;
	s->items = moved;
	for (size_t i = 0; i < plan->step_count; i++)
		if (plan->steps[i].kind == STEP_ANNOUNCE)
			s->items[s->count++] = (struct standing){
				.master = master,
				.ip = plan->steps[i].vip->ip,
				.ifindex = plan->steps[i].link->ifindex,
			};
	return 0;
}

void refresh_free(struct standings *s)
{
	free(s->items);
	*s = (struct standings){ 0 };
}

static int by_place(const void *a, const void *b)
{
	const struct address *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	if (x->ip.family != y->ip.family)
		return x->ip.family < y->ip.family ? -1 : 1;
	return memcmp(x->ip.bytes, y->ip.bytes, ip_bits(&x->ip) / 8);
}

static bool stands(const struct facts *facts, const struct standing *s)
{
	const struct address wanted = { .ip = s->ip, .ifindex = s->ifindex };

	return facts->address_count > 0 &&
		bsearch(&wanted, facts->addresses, facts->address_count, sizeof(wanted), by_place) != NULL;
}

/* Under the lock no run of ours takes it away meanwhile; `watch` tells of all others. */
static int announce(const struct netlink *netlink, int packet, int watch,
		    const struct link *link, const struct standing *s)
{
	struct lock lock = { .fd = -1 };
	int err = lock_take(s->master->name, netlink_namespace(netlink), 0, &lock);

	/* whoever has it announces, or releases; without a lock to be had the look must do */
	if (err != -ETIMEDOUT)
		err = arp_announce_unless(packet, watch, link, &s->ip);
	else
		err = 0;
	lock_drop(&lock);
	return err;
}

static void close_netlink(struct netlink **netlink)
{
	netlink_close(netlink);
}

void refresh_send(const struct standings *s)
{
	CLEANUP(close_netlink) struct netlink *netlink = NULL;
	CLEANUP(facts_free) struct facts facts = { 0 };
	CLEANUP(fd_close) int packet = -1;
	CLEANUP(fd_close) int watch = -1;
	struct link link = { 0 };

	/* the watch before the look, so that nothing falls in between */
	if (s->count == 0 || arp_open(&packet) < 0 || (watch = facts_watch()) < 0 ||
	    netlink_open(clock_ms() + KERNEL_MS, &netlink) < 0 ||
	    vip_addresses(netlink, AF_UNSPEC, &facts) < 0)
		return;
	qsort(facts.addresses, facts.address_count, sizeof(*facts.addresses), by_place);
	for (size_t i = 0; i < s->count; i++) {
		const struct standing *one = &s->items[i];

		if (!stands(&facts, one))
			continue;
		if (link.ifindex != one->ifindex && facts_read_link(netlink, one->ifindex, &link) < 0)
			return;
		if ((link.flags & IFF_LOWER_UP) != 0 &&
		    announce(netlink, packet, watch, &link, one) == -EAGAIN)
			return;		/* something has changed: the next run looks again */
	}
}
