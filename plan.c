/* SPDX-License-Identifier: MIT */
/*
 * From what is true to what this host must do.  Pure: no clock, no kernel, no
 * Sentinel.  It refuses to take an address away that is the host's own.
 */
#include "vip.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <string.h>

bool plan_is_local(const struct facts *facts, const struct ip *ip)
{
	if (ip_is_loopback(ip))
		return true;
	for (size_t i = 0; i < facts->address_count; i++)
		if (ip_equal(&facts->addresses[i].ip, ip))
			return true;
	return false;
}

static int add_step(struct plan *plan, enum step_kind kind, const struct vip *vip,
		    const struct link *link, const struct address *address)
{
	struct step *moved = reallocarray(plan->steps, plan->step_count + 1, sizeof(*moved));

	if (moved == NULL)
		return -ENOMEM;
	plan->steps = moved;
	plan->steps[plan->step_count++] = (struct step){
		.kind = kind, .vip = vip, .link = link, .address = address,
		.prefixlen = vip->prefixlen };
	return 0;
}

/* A VIP that is named as a server would be moved away from under that server. */
static int refuse_vip_as_server(const struct config *config, const struct truth *truth,
				struct why *why)
{
	const struct master *owner = config_owner(config, &truth->from);
	const struct ip *ip = &truth->from;
	const char *side = "FROM-IP";
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; owner == NULL && i < truth->ip_count; i++) {
		ip = &truth->ips[i];
		owner = config_owner(config, ip);
		side = "TO-IP";
	}
	if (owner == NULL)
		return 0;
	return why_set(why, -EPERM, "%s %s is a VIP of [%s]: sentinel monitor and announce-ip must "
		       "name the servers' own addresses, and vip = none of them", side,
		       ip_text(ip, text), owner->name);
}

bool plan_is_here(const struct truth *truth, const struct facts *facts)
{
	bool here = truth->where == TRUTH_HERE;

	for (size_t i = 0; truth->where == TRUTH_LOOK && !here && i < truth->ip_count; i++)
		here = plan_is_local(facts, &truth->ips[i]);
	return here;
}

/* Claiming ------------------------------------------------------------- */

/* The link that carries one of the master's addresses; loopback carries no VIP. */
static const struct link *link_of_master(const struct truth *truth, const struct facts *facts)
{
	for (size_t i = 0; i < truth->ip_count; i++)
		for (size_t j = 0; j < facts->address_count; j++) {
			const struct link *link;

			if (!ip_equal(&truth->ips[i], &facts->addresses[j].ip))
				continue;
			link = facts_link(facts, facts->addresses[j].ifindex);
			if (link != NULL && (link->flags & IFF_LOOPBACK) == 0)
				return link;
		}
	return NULL;
}

/* The link with the narrowest subnet that the VIP is in. */
static const struct link *link_of_subnet(const struct vip *vip, const struct facts *facts)
{
	const struct link *best = NULL;
	unsigned prefixlen = 0;

	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];
		const struct link *link = facts_link(facts, a->ifindex);

		if (link == NULL || (link->flags & IFF_LOOPBACK) != 0 || ip_equal(&a->ip, &vip->ip) ||
		    a->prefixlen <= prefixlen || !ip_same_net(&a->ip, &vip->ip, a->prefixlen))
			continue;
		best = link;
		prefixlen = a->prefixlen;
	}
	return best;
}

static int choose_link(const struct master *master, const struct vip *vip,
		       const struct truth *truth, const struct facts *facts,
		       const struct link **out, struct why *why)
{
	const struct link *link;
	char text[IP_TEXT_SIZE];

	if (master->interface[0] != '\0') {
		link = facts_link(facts, facts->interface);
		if (facts->interface == 0 || link == NULL)
			return why_set(why, -ENODEV, "interface %s does not exist here: make it, or "
				       "correct interface = of [%s]", master->interface, master->name);
	} else {
		link = link_of_master(truth, facts);
		if (link == NULL)
			link = link_of_subnet(vip, facts);
		if (link == NULL)
			return why_set(why, -EINVAL, "no interface of this host is in the subnet of %s: "
				       "set interface = in [%s]", ip_text(&vip->ip, text), master->name);
	}
	if ((link->flags & IFF_LOOPBACK) != 0)
		return why_set(why, -EINVAL, "interface %s is a loopback, which no neighbour can reach: "
			       "correct interface = of [%s]", link->name, master->name);
	if ((link->flags & IFF_UP) == 0)
		return why_set(why, -ENETDOWN, "interface %s is down: bring it up with "
			       "\"ip link set %s up\"; this program never does", link->name, link->name);
	*out = link;
	return 0;
}

/*
 * An IPv6 address that failed or still undergoes detection answers nobody; nor does one
 * whose release was killed half-way.
 */
bool plan_is_usable(const struct address *a)
{
	return !a->sealed && (a->ip.family == AF_INET ||
			      (a->flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE)) == 0);
}

/* With the last IPv4 address of a link its routes go; and it looks like the host's own. */
static bool is_all_of(const struct link *link, const struct address *a)
{
	return a->ip.family == AF_INET && link->only_vips && link->default_route;
}

static void warn_of_link(const struct link *link, struct plan *plan)
{
	if (!arp_works_on(link))
		line_add(&plan->warning, "; %s is not an Ethernet that does ARP: not announced there",
			 link->name);
	else if ((link->flags & IFF_LOWER_UP) == 0)
		line_add(&plan->warning, "; %s has no carrier: announced when it comes", link->name);
}

/* How this host's own addresses stand in a subnet of a link. */
enum rank { RANK_NONE, RANK_BEHIND, RANK_FIRST };

/*
 * The first address of an IPv4 subnet has the route to it, the others are its secondaries and have none
 * (__inet_insert_ifa(), net/ipv4/devinet.c).  A VIP that came first took it from the host's own address.
 */
static enum rank own_rank(const struct config *config, const struct link *link,
			  const struct facts *facts, const struct ip *ip, unsigned prefixlen)
{
	enum rank rank = RANK_NONE;

	for (size_t i = 0; i < facts->address_count && rank != RANK_FIRST; i++) {
		const struct address *a = &facts->addresses[i];

		if (a->ifindex != link->ifindex || a->prefixlen != prefixlen ||
		    !ip_same_net(a->peer.family == AF_UNSPEC ? &a->ip : &a->peer, ip, prefixlen) ||
		    config_owner(config, &a->ip) != NULL)
			continue;
		rank = (a->flags & IFA_F_SECONDARY) != 0 ? RANK_BEHIND : RANK_FIRST;
	}
	return rank;
}

/* The prefix only behind the host's own address: where that comes later, it has to be the first. */
static int add_vip(const struct config *config, const struct vip *vip, const struct link *link,
		   const struct facts *facts, struct plan *plan)
{
	int err = add_step(plan, STEP_ADD, vip, link, NULL);

	if (err == 0 && vip->ip.family == AF_INET &&
	    own_rank(config, link, facts, &vip->ip, vip->prefixlen) != RANK_FIRST)
		plan->steps[plan->step_count - 1].prefixlen = 32;
	return err;
}

static int claim_one(const struct config *config, const struct vip *vip, const struct link *link,
		     const struct facts *facts, struct plan *plan)
{
	bool stands = false;
	int err = 0;

	for (size_t i = 0; err == 0 && i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];

		if (a->ifindex != link->ifindex || !ip_equal(&a->ip, &vip->ip))
			continue;
		if (!plan_is_usable(a) && !is_all_of(link, a)) {
			err = add_step(plan, STEP_DELETE, vip, link, a);
			continue;
		}
		stands = true;
		/* secondaries too: one of them would be the next to lead */
		if (a->ip.family == AF_INET && a->prefixlen < 32 &&
		    own_rank(config, link, facts, &a->ip, a->prefixlen) == RANK_BEHIND)
			err = add_step(plan, STEP_NARROW, vip, link, a);
	}
	if (err == 0 && !stands)
		err = add_vip(config, vip, link, facts, plan);
	if (err == 0 && arp_works_on(link))
		err = add_step(plan, STEP_ANNOUNCE, vip, link, NULL);
	return err;
}

/* Copies on other links, from before `interface` was changed or from other hands. */
static int delete_strays(const struct vip *vip, const struct link *link,
			 const struct facts *facts, struct plan *plan)
{
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];
		const struct link *other;
		int err;

		if (!ip_equal(&a->ip, &vip->ip))
			continue;	/* first, since there may be thousands */
		other = facts_link(facts, a->ifindex);
		if (other == NULL || other == link || (other->flags & IFF_LOOPBACK) != 0)
			continue;
		if (is_all_of(other, a)) {
			line_add(&plan->warning, "; left on %s, where it is the only address",
				 other->name);
			continue;
		}
		err = add_step(plan, STEP_DELETE, vip, other, a);
		if (err < 0)
			return err;
	}
	return 0;
}

static int plan_claim(const struct config *config, const struct master *master,
		      const struct truth *truth, const struct facts *facts, struct plan *plan,
		      struct why *why)
{
	const struct link *link = NULL;
	int err = 0;

	for (size_t i = 0; err == 0 && i < master->vip_count; i++) {
		err = choose_link(master, &master->vips[i], truth, facts, &link, why);
		if (err == 0 && link != NULL)
			err = claim_one(config, &master->vips[i], link, facts, plan);
	}
	for (size_t i = 0; err == 0 && i < facts->link_count; i++)	/* once each */
		for (size_t j = 0; j < master->vip_count; j++)
			if (choose_link(master, &master->vips[j], truth, facts, &link, why) == 0 &&
			    link != NULL && link == &facts->links[i]) {
				warn_of_link(link, plan);
				break;
			}
	for (size_t i = 0; err == 0 && i < master->vip_count; i++) {
		err = choose_link(master, &master->vips[i], truth, facts, &link, why);
		if (err == 0 && link != NULL)
			err = delete_strays(&master->vips[i], link, facts, plan);
	}
	return err;
}

/* Releasing ------------------------------------------------------------ */

static const struct vip *vip_of(const struct master *master, const struct ip *ip)
{
	for (size_t i = 0; i < master->vip_count; i++)
		if (ip_equal(&master->vips[i].ip, ip))
			return &master->vips[i];
	return NULL;
}

static int release_one(const struct vip *vip, const struct address *a, const struct facts *facts,
		       struct plan *plan, struct why *why)
{
	const struct link *link = facts_link(facts, a->ifindex);
	char text[IP_TEXT_SIZE];

	if (link == NULL)
		return 0;	/* the link has gone, and the address with it */
	ip_text(&a->ip, text);
	if ((link->flags & IFF_LOOPBACK) != 0) {
		if (plan->left++ == 0)
			line_add(&plan->warning, "; %s is left on %s", text, link->name);
		return 0;
	}
	if (is_all_of(link, a))
		return why_set(why, -EPERM, "%s is the only IPv4 address of %s, which carries the "
			       "default route: it looks like this host's own address, so it is not "
			       "taken away; correct vip =, or give the host another address", text,
			       link->name);
	return add_step(plan, STEP_DELETE, vip, link, a);
}

/* Secondaries first: they would go with their primary, and be put back. */
static int plan_release(const struct master *master, const struct facts *facts,
			struct plan *plan, struct why *why)
{
	for (int primaries = 0; primaries <= 1; primaries++)
		for (size_t i = 0; i < facts->address_count; i++) {
			const struct address *a = &facts->addresses[i];
			const struct vip *vip = vip_of(master, &a->ip);
			bool primary = (a->flags & IFA_F_SECONDARY) == 0;
			int err;

			if (vip == NULL || primary != (primaries == 1))
				continue;
			err = release_one(vip, a, facts, plan, why);
			if (err < 0)
				return err;
		}
	if (plan->left > 1)
		line_add(&plan->warning, "; likewise %u more", plan->left - 1);
	return 0;
}

int plan_make(const struct config *config, const struct master *master,
	      const struct truth *truth, const struct facts *facts, struct plan *plan,
	      struct why *why)
{
	struct plan made = { 0 };
	int err = refuse_vip_as_server(config, truth, why);

	if (err < 0)
		return err;
	why->text[0] = '\0';
	if (plan_is_here(truth, facts)) {
		made.decision = PLAN_CLAIM;
		err = plan_claim(config, master, truth, facts, &made, why);
	} else {
		made.decision = PLAN_RELEASE;
		made.kill_connections = master->kill_connections;
		err = plan_release(master, facts, &made, why);
	}
	if (err < 0) {
		plan_free(&made);
		return err == -ENOMEM ? why_set(why, err, "out of memory") : err;
	}
	*plan = made;
	return 0;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++)
		netlink_free_message(&plan->steps[i].request);
	free(plan->steps);
	plan->steps = NULL;
	plan->step_count = 0;
}

bool plan_changes(const struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++)
		if (plan->steps[i].kind != STEP_ANNOUNCE)
			return true;
	return false;
}

void plan_quiet(struct plan *plan)
{
	size_t kept = 0;

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->kind != STEP_ANNOUNCE ||
		    (kept > 0 && plan->steps[kept - 1].kind == STEP_ADD &&
		     plan->steps[kept - 1].vip == step->vip))
			plan->steps[kept++] = *step;
	}
	plan->step_count = kept;
}
