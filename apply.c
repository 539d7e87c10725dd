/* SPDX-License-Identifier: MIT */
/*
 * A plan, carried out in its order and read back from the kernel.  It adds nothing
 * to the plan; what fails is said with its remedy.
 */
#include "vip.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD_BYTES = 300 };	/* of a list of addresses, and one more */

double outcome_lap(struct outcome *outcome)
{
	double now = clock_ms(), spent = now - outcome->lap_ms;

	outcome->lap_ms = now;
	return spent;
}

static void name_step(struct outcome *outcome, const char *name, double ms)
{
	if (outcome->lap_count == LAPS_MAX)
		return;
	outcome->laps[outcome->lap_count].name = name;
	outcome->laps[outcome->lap_count++].ms = ms;
}

void outcome_step(struct outcome *outcome, const char *name)
{
	name_step(outcome, name, outcome_lap(outcome));
}

/* What the kernel's error means to the person who has to mend it. */
static int explain(int err, const struct step *step, struct why *why)
{
	const char *verb = step->kind == STEP_DELETE ? "delete" :
		step->kind == STEP_NARROW ? "narrow" : "add";
	const char *name = step->link->name;
	char text[IP_TEXT_SIZE];

	ip_text(&step->vip->ip, text);
	switch (-err) {
	case EPERM:
		return why_set(why, err, "may not %s %s on %s: CAP_NET_ADMIN is missing; run as root, or "
			       "give the unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW", verb, text,
			       name);
	case EACCES:
		return why_set(why, err, "cannot %s %s on %s: IPv6 is turned off there; set "
			       "net.ipv6.conf.%s.disable_ipv6 to 0", verb, text, name, name);
	case ENODEV:
		return why_set(why, err, "cannot %s %s: interface %s has just gone away", verb, text, name);
	case EAGAIN: case EBUSY: case EINTR: case ENOBUFS:
		return why_set(why, err, "cannot %s %s on %s: the kernel stayed busy (%s); run it again",
			       verb, text, name, strerror(-err));
	default:
		return why_set(why, err, "cannot %s %s on %s: %s", verb, text, name, strerror(-err));
	}
}

static void tell_more(struct line *done, unsigned *more)
{
	if (*more > 0)
		line_add(done, " and %u more", *more);
	*more = 0;
}

/*
 * "claimed A on eth0, B on eth0 and 7 more; released C from eth1", of the steps that were done: the line
 * has to have room for what else there is to say.
 */
static void tell(struct line *done, const struct plan *plan)
{
	static const char *const verbs[] = {
		[STEP_DELETE] = "released", [STEP_ADD] = "claimed", [STEP_ANNOUNCE] = "announced",
		[STEP_NARROW] = "narrowed",
	};
	const char *last = NULL;
	char text[IP_TEXT_SIZE];
	size_t begin = done->length;
	unsigned more = 0;

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];
		const char *verb = verbs[step->kind];

		if (!step->done || step->unsent)
			continue;
		if (step->kind == STEP_ANNOUNCE && i > 0 && step[-1].kind == STEP_ADD &&
		    step[-1].vip == step->vip)
			continue;	/* goes without saying */
		if (verb == last && done->length - begin > TOLD_BYTES) {
			more++;
			continue;
		}
		if (verb == last) {
			line_add(done, ", ");
		} else {
			tell_more(done, &more);
			line_add(done, "%s%s ", done->length > 0 ? "; " : "", verb);
		}
		line_add(done, "%s %s %s%s", ip_text(&step->vip->ip, text),
			 step->kind == STEP_DELETE ? "from" : "on", step->link->name,
			 step->kind == STEP_NARROW ? " to /32" : "");
		last = verb;
	}
	tell_more(done, &more);
}

static int prepare(struct step *step)
{
	struct vip vip = { .ip = step->vip->ip, .prefixlen = step->prefixlen };

	return vip_prepare(&vip, step->link->ifindex, &step->request);
}

void apply_prepare(struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++) {
		struct step *step = &plan->steps[i];

		/* what fails is tried again, and said, when its turn comes */
		if (step->kind == STEP_ADD && step->request == NULL && prepare(step) < 0)
			return;
	}
}

static int carry_out(struct netlink *netlink, int packet, struct step *step,
		     struct outcome *outcome, struct why *why)
{
	char text[IP_TEXT_SIZE];
	int err = 0;

	switch (step->kind) {
	case STEP_ADD:
		if (step->request == NULL)
			err = prepare(step);
		if (err == 0)
			err = vip_add_prepared(netlink, step->request);
		return err < 0 ? explain(err, step, why) : 0;
	case STEP_NARROW:
		err = vip_narrow(netlink, step->address);
		return err < 0 ? explain(err, step, why) : 0;
	case STEP_DELETE:
		err = vip_delete(netlink, step->address);
		return err < 0 ? explain(err, step, why) : 0;
	case STEP_ANNOUNCE:
		err = arp_announce(packet, step->link, &step->vip->ip);
		step->unsent = err < 0;
		if (err < 0 && outcome->unannounced++ == 0)
			line_add(&outcome->warning, "; %s was not announced on %s yet: %s",
				 ip_text(&step->vip->ip, text), step->link->name, strerror(-err));
		return 0;
	}
	return -EINVAL;
}

enum {
	ANY_PREFIX = 0,
	KILL_MS = 2000,		/* a release must not wait for it for ever */
};

static bool holds(const struct facts *facts, const struct ip *ip, unsigned ifindex,
		  unsigned prefixlen)
{
	for (size_t i = 0; i < facts->address_count; i++) {
		const struct address *a = &facts->addresses[i];

		if (a->ifindex == ifindex && ip_equal(&a->ip, ip) &&
		    (prefixlen == ANY_PREFIX || prefixlen == a->prefixlen) &&
		    (a->flags & (a->ip.family == AF_INET6 ? IFA_F_DADFAILED : 0)) == 0)
			return true;
	}
	return false;
}

static bool is_added_again(const struct plan *plan, const struct step *deleted)
{
	for (const struct step *s = deleted; s < plan->steps + plan->step_count; s++)
		if (s->kind == STEP_ADD && s->vip == deleted->vip && s->link == deleted->link)
			return true;
	return false;
}

/* Each address stands where it was added and no more where it was deleted. */
static int verify(struct netlink *netlink, const struct plan *plan, struct why *why)
{
	CLEANUP(facts_free) struct facts facts = { 0 };
	char text[IP_TEXT_SIZE];
	int err = vip_addresses(netlink, AF_UNSPEC, &facts);

	if (err < 0)
		return why_set(why, err, "cannot read the addresses back: %s", strerror(-err));
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];
		unsigned prefixlen = step->kind == STEP_NARROW ? 32 :
			step->kind == STEP_DELETE && plan->decision == PLAN_CLAIM ?
			step->address->prefixlen : ANY_PREFIX;
		bool there = holds(&facts, &step->vip->ip, step->link->ifindex, prefixlen);

		ip_text(&step->vip->ip, text);
		if (step->kind == STEP_ANNOUNCE && !there)
			return why_set(why, -EBUSY, "%s has just left %s", text, step->link->name);
		if ((step->kind == STEP_ADD || step->kind == STEP_NARROW) && !there)
			return why_set(why, -EIO, "%s was added to %s and is gone again: something else "
				       "removes it (NetworkManager, systemd-networkd, a script?)", text,
				       step->link->name);
		if (step->kind == STEP_DELETE && there && !is_added_again(plan, step))
			return why_set(why, -EIO, "%s was deleted from %s and is there again: something "
				       "else adds it (keepalived, a script?)", text, step->link->name);
		if (step->kind == STEP_NARROW &&
		    holds(&facts, &step->vip->ip, step->link->ifindex, step->address->prefixlen))
			return why_set(why, -EIO, "%s/%u was deleted from %s and is there again: something "
				       "else adds it (keepalived, a script?)", text,
				       (unsigned)step->address->prefixlen, step->link->name);
	}
	return 0;
}

/*
 * Before the addresses go, since the resets leave from them; and once more after,
 * for what came in between.  A release that cannot do it is still a release.
 */
static bool kill_connections(const struct plan *plan, size_t *killed, struct outcome *outcome)
{
	struct ip *ips = calloc(plan->step_count + 1, sizeof(*ips));
	size_t count = 0, now = 0;
	int err = ips == NULL ? -ENOMEM : 0;

	for (size_t i = 0; err == 0 && i < plan->step_count; i++)
		if (plan->steps[i].kind == STEP_DELETE)
			ips[count++] = plan->steps[i].vip->ip;
	if (err == 0)
		err = tcp_destroy(ips, count, clock_ms() + KILL_MS, &now);
	free(ips);
	if (err == 0)
		*killed += now;
	else if (err == -EOPNOTSUPP)
		line_add(&outcome->warning, "; connections are not closed: this kernel has no "
			 "CONFIG_INET_DIAG_DESTROY");
	else if (err == -ELIBACC)
		line_add(&outcome->warning, "; connections are not closed: libmnl.so.0 cannot be loaded: "
			 "install it (libmnl0 in Debian)");
	else
		line_add(&outcome->warning, "; connections are not closed: %s", strerror(-err));
	return err == 0;
}

/*
 * A client that has read its reset is back within the millisecond.  Nothing that was connected after
 * the look at the connections could be told of its end, so nobody gets in from here on.  A kernel
 * that does not do it is no reason to keep the address.
 */
static void seal(struct netlink *netlink, const struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++)
		if (plan->steps[i].kind == STEP_DELETE)
			route_seal(netlink, plan->steps[i].address);
}

/* Ending connections takes its time, and a failover's call does not wait for it. */
static bool is_overtaken(const struct plan *plan)
{
	return plan->number != 0 && lock_number(plan->lock) != plan->number;
}

int apply_plan(struct netlink *netlink, int packet, struct plan *plan,
	       struct outcome *outcome, struct why *why)
{
	static const char *const names[] = {
		[STEP_DELETE] = "delete", [STEP_ADD] = "add", [STEP_ANNOUNCE] = "announce",
		[STEP_NARROW] = "narrow",
	};
	double spent[] = { -1, -1, -1, -1 };
	bool kill = plan->kill_connections && plan_changes(plan);
	struct why last;
	size_t killed = 0;
	int failed = 0, err;

	if (kill) {
		seal(netlink, plan);
		kill = kill_connections(plan, &killed, outcome);
		outcome_step(outcome, "kill");
	}
	outcome_lap(outcome);
	for (size_t i = 0; i < plan->step_count; i++) {
		struct step *step = &plan->steps[i];

		step->done = false;
		if (step->kind == STEP_ANNOUNCE && i > 0 && step[-1].kind == STEP_ADD &&
		    step[-1].vip == step->vip && !step[-1].done)
			continue;
		if (step->kind == STEP_DELETE && failed != -ESTALE && is_overtaken(plan))
			failed = why_set(why, -ESTALE, "a newer run has overtaken this one");
		if (failed == -ESTALE)
			continue;
		/* one VIP that cannot be moved is no reason to leave the others behind */
		err = carry_out(netlink, packet, step, outcome, failed == 0 ? why : &last);
		step->done = err == 0;
		failed = failed == 0 ? err : failed;
		spent[step->kind] = (spent[step->kind] < 0 ? 0 : spent[step->kind]) +
			outcome_lap(outcome);
	}
	if (outcome->unannounced > 1)
		line_add(&outcome->warning, "; likewise %u more", outcome->unannounced - 1);
	outcome->unannounced = 0;
	tell(&outcome->done, plan);
	for (unsigned kind = 0; kind < sizeof(names) / sizeof(names[0]); kind++)
		if (spent[kind] >= 0)
			name_step(outcome, names[kind], spent[kind]);
	if (kill) {
		if (failed != -ESTALE)
			kill_connections(plan, &killed, outcome);
		outcome_step(outcome, "kill again");
		line_add(&outcome->done, "%s%zu connection%s closed",
			 outcome->done.length > 0 ? ", " : "", killed, killed == 1 ? "" : "s");
	}
	if (plan->step_count > 0) {
		err = verify(netlink, plan, failed == 0 ? why : &last);
		failed = failed == 0 ? err : failed;
		outcome_step(outcome, "verify");
	}
	return failed;
}

int apply_print(const struct master *master, const struct plan *plan, const char *reason)
{
	static const char *const verbs[] = {
		[STEP_DELETE] = "delete", [STEP_ADD] = "add", [STEP_ANNOUNCE] = "announce",
		[STEP_NARROW] = "narrow",
	};
	const char *hook = plan->decision == PLAN_CLAIM ? master->after_claim : master->after_release;
	char text[IP_TEXT_SIZE];

	printf("%s: %s%s%s%s\n", master->name, plan->decision == PLAN_CLAIM ? "claim" : "release",
	       *reason != '\0' ? ": " : "", reason, plan->warning.text);
	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		printf("  would %s %s/%u %s %s%s\n", verbs[step->kind],
		       ip_text(&step->vip->ip, text),
		       (unsigned)(step->address != NULL ? step->address->prefixlen :
							  step->prefixlen),
		       step->kind == STEP_DELETE ? "from" : "on", step->link->name,
		       step->kind == STEP_NARROW ? " to /32" : "");
	}
	if (plan->kill_connections && plan_changes(plan))
		printf("  would close the TCP connections of what is deleted\n");
	for (size_t i = 0; master->kill_connections && i < plan->step_count; i++) {
		if (plan->steps[i].kind != STEP_ADD)
			continue;
		printf("  would close this host's connections that lead to another holder of what is added\n");
		break;
	}
	if (plan->step_count == 0)
		printf("  nothing to do\n");
	for (size_t i = 0; hook != NULL && i < plan->step_count; i++) {
		if (plan->steps[i].kind != (plan->decision == PLAN_CLAIM ? STEP_ADD : STEP_DELETE))
			continue;
		printf("  would run %s\n", hook);
		break;
	}
	return paint_written() ? 0 : -EIO;
}
