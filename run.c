/* SPDX-License-Identifier: MIT */
/*
 * One run for one master, whoever calls: the lock, the kernel's facts, the plan, its
 * execution, and the line that says it all.  It chooses no exit status.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

enum {
	DEADLINE_MS = 10000,	/* for the kernel; for the lock, where a person waits */
	LISTEN_MS = 500,	/* for the look who listens */
	HEAD_BYTES = 400,	/* of the line are for what was done, or not, in any case */
};

void run_begin(struct run *run, const struct config *config, const struct master *master)
{
	*run = (struct run){ .config = config, .master = master, .packet = -1, .lock.fd = -1,
			     .asked_at = UINT64_MAX };
	run->outcome.begun_ms = run->outcome.lap_ms = clock_ms();
}

void run_measure(struct run *run, double begun_ms, const char *name)
{
	run->outcome.begun_ms = run->outcome.lap_ms = begun_ms;
	outcome_step(&run->outcome, name);
}

void run_free(struct run *run)
{
	lock_drop(&run->lock);
	plan_free(&run->plan);
	facts_free(&run->facts);
	netlink_close(&run->netlink);
	sentinel_close(&run->sentinel);
	fd_close(&run->packet);
}

static int open_netlink(struct run *run)
{
	int err = netlink_open(run->outcome.begun_ms + DEADLINE_MS, &run->netlink);

	if (err == -EAFNOSUPPORT)
		return why_set(&run->why, err, "AF_NETLINK is forbidden here: add "
			       "RestrictAddressFamilies=AF_NETLINK AF_PACKET to the unit");
	if (err < 0)
		return why_set(&run->why, err, "cannot open rtnetlink: %s", strerror(-err));
	return 0;
}

/* Before anything is changed: a claim that cannot announce is none. */
static int open_packet(struct run *run)
{
	int err = 0;

	for (size_t i = 0; i < run->plan.step_count && run->packet < 0 && err == 0; i++)
		if (run->plan.steps[i].kind == STEP_ANNOUNCE)
			err = arp_open(&run->packet);
	if (err == -EPERM || err == -EACCES)
		return why_set(&run->why, err, "may not announce: CAP_NET_RAW is missing; run as root, "
			       "or give the unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW");
	if (err == -EAFNOSUPPORT)
		return why_set(&run->why, err, "AF_PACKET is forbidden here: add "
			       "RestrictAddressFamilies=AF_NETLINK AF_PACKET to the unit");
	if (err < 0)
		return why_set(&run->why, err, "cannot open a packet socket: %s", strerror(-err));
	return 0;
}

/* Without a lock to be had a failover goes on: a VIP that does not move is worse. */
int run_lock(struct run *run, int wait_ms, bool failover)
{
	uint64_t namespace = run->sentinel != NULL ? sentinel_namespace(run->sentinel) : 0;
	int err;

	/* for the namespace's number alone: whoever changes anything finds out what fails here */
	if (namespace == 0 && run->netlink == NULL)
		(void)netlink_open(run->outcome.begun_ms + DEADLINE_MS, &run->netlink);
	if (namespace == 0)
		namespace = netlink_namespace(run->netlink);
	err = lock_take(run->master->name, namespace, clock_ms() + wait_ms, &run->lock);
	if (err != -ETIMEDOUT || wait_ms > 0)
		outcome_step(&run->outcome, "lock");
	if (err == -ETIMEDOUT && failover) {
		line_add(&run->outcome.warning, "; another run kept the lock for %d ms: gone on without",
			 wait_ms);
		return 0;
	}
	if (err == -ETIMEDOUT)
		return why_set(&run->why, err, "another run for this master has held the lock for "
			       "%d s: see \"ps -C sentinel-vip,vip-announce\"", wait_ms / 1000);
	if (err < 0)
		line_add(&run->outcome.warning, "; not locked: %s: %s", LOCK_DIR, strerror(-err));
	return 0;
}

int run_gather(struct run *run)
{
	int err = run->netlink == NULL ? open_netlink(run) : 0;

	if (err < 0)
		return err;
	facts_free(&run->facts);
	err = facts_gather_from(run->netlink, run->known, run->config, run->master, run->truth.ips,
				run->truth.ip_count, &run->facts);
	outcome_step(&run->outcome, "facts");
	run->gathered_ms = clock_ms();
	if (err < 0)
		return why_set(&run->why, err, "cannot ask the kernel for its addresses: %s",
			       strerror(-err));
	return 0;
}

int run_make_plan(struct run *run)
{
	int err;

	plan_free(&run->plan);
	err = plan_make(run->config, run->master, &run->truth, &run->facts, &run->plan, &run->why);
	run->planned = err == 0;
	return err;
}

void run_again(struct run *run)
{
	run_hook(run);	/* now, while there are the plan and the facts that it points into */
	run->applied = run->planned = run->ready = false;
	plan_free(&run->plan);
	run->plan = (struct plan){ 0 };
	run->note = (struct line){ 0 };
}

int run_decide(struct run *run, const struct council *council, int resolve_ms)
{
	const struct vote *vote = council_decide(council, false);
	struct line said = { 0 };
	char text[ENDPOINT_TEXT_SIZE];

	run->verified = false;
	if (vote == NULL) {
		council_tell(council, &said);
		if (council->count > 0 && council->votes[0].answer.kind == ANSWER_DENIED)
			line_add(&said, "; name a file with the password in sentinel-auth =");
		if (council_differs_by_names(council))
			return why_set(&run->why, -EAGAIN, "its Sentinels name the master in ways that cannot be "
				       "told to be one: give them all the same announce-hostnames, or put each name "
				       "into /etc/hosts on all hosts, or into self = on the host that it names; %s",
				       said.text);
		if (council_is_small(council) && !council->blind)
			return why_set(&run->why, -EAGAIN, "too few of its Sentinels are known: %s knows %zu, "
				       "itself included, and its quorum is %llu: it may have been started or reset "
				       "a moment ago; if it stays so, see whether it reaches the master that it "
				       "names, and the quorum of sentinel monitor; %s",
				       endpoint_text(&run->master->sentinel, text), council->count,
				       (unsigned long long)council->quorum, said.text);
		return why_set(&run->why, -EAGAIN, "no majority of its Sentinels agrees on a master: %s",
			       said.text);
	}
	run->verified = true;
	return truth_of_vote(run->master, vote, resolve_ms, &run->truth, &run->why);
}

int run_plan(struct run *run)
{
	int err = run_gather(run);

	return err < 0 ? err : run_make_plan(run);
}

/* After the frame: a VIP behind which nobody listens moves no client. */
static void look_for_listeners(struct run *run)
{
	uint16_t port = run->truth.master.port;
	double deadline = clock_ms() + LISTEN_MS;
	char text[IP_TEXT_SIZE];
	bool listens;

	if (run->plan.decision != PLAN_CLAIM || port == 0)
		return;
	for (size_t i = 0; i < run->master->vip_count; i++) {
		const struct ip *ip = &run->master->vips[i].ip;

		if (tcp_listens(ip, port, deadline, &listens) < 0)
			return;
		if (listens)
			continue;
		line_add(&run->outcome.warning, "; nobody listens on %s port %u: see bind in redis.conf",
			 ip_text(ip, text), (unsigned)port);
		return;
	}
}

int run_apply(struct run *run)
{
	uint64_t number;
	int err = open_packet(run), fork_err;
	bool ordered;

	if (err < 0)
		return err;
	number = lock_raise(&run->lock);	/* silences older announcers */
	/*
	 * Raised meanwhile by a call that did not wait: it came later, and has heard something newer.
	 * Who did not wait itself, and could not ask, cannot ask again, and does as it was told.
	 */
	ordered = (run->verified || run->lock.held) && number != 0 && run->asked_at != UINT64_MAX;
	if (ordered && number != run->asked_at + 1)
		return why_set(&run->why, -ESTALE, "a newer run has overtaken this one");
	run->plan.lock = &run->lock;
	run->plan.number = ordered ? number : 0;
	run->applied = true;
	err = apply_plan(run->netlink, run->packet, &run->plan, &run->outcome, &run->why);
	/* a failover's call that could not wait for the lock: what it knew was newer */
	if (ordered && lock_number(&run->lock) != number)
		return why_set(&run->why, -ESTALE, "a newer run has overtaken this one");
	fork_err = announce_detach(run->packet, run->master, &run->plan, number);
	if (fork_err < 0)
		line_add(&run->outcome.warning, "; announced only once: %s", strerror(-fork_err));
	if (err == 0)
		look_for_listeners(run);
	return err;
}

int run_finish(struct run *run, bool dry_run)
{
	int err = dry_run ? run_print(run) : run_apply(run);

	if (err < 0 && dry_run)
		run->why.text[0] = '\0';	/* it is said already */
	return err;
}

int run_by_hand(struct run *run, bool claim, bool dry_run)
{
	int err = dry_run ? 0 : run_lock(run, DEADLINE_MS, false);

	run->truth.where = claim ? TRUTH_HERE : TRUTH_ELSEWHERE;
	line_add(&run->note, "by hand");
	if (err == 0)
		err = run_plan(run);
	return err == 0 ? run_finish(run, dry_run) : err;
}

/* Reporting ------------------------------------------------------------ */

/* "the master is 10.0.0.1:6379, this host", as far as that is known */
static struct line reason(const struct run *run)
{
	struct line line = { 0 };
	char text[ENDPOINT_TEXT_SIZE];

	if (run->planned && run->truth.master.host[0] != '\0')
		line_add(&line, "the master is %s, %s%s", endpoint_text(&run->truth.master, text),
			 run->plan.decision == PLAN_CLAIM ? "this host" : "another host",
			 run->verified && run->note.length == 0 ? ", as Sentinel says" : "");
	return line;
}

int run_print(const struct run *run)
{
	struct line because = reason(run);
	struct why safe;

	if (run->note.length > 0)
		line_add(&because, "%s%s", because.length > 0 ? "; " : "", run->note.text);
	line_add(&because, "%s", run->outcome.warning.text);
	why_set(&safe, 0, "%s", because.text);	/* it quotes what Sentinel has said */
	return apply_print(run->master, &run->plan, safe.text);
}

bool run_may_be_replayed(const struct run *run, int err)
{
	return run->verified && (err == -ENODEV || err == -ENETDOWN || err == -EAGAIN ||
				 err == -EBUSY || err == -EINTR || err == -ENOBUFS ||
				 err == -ETIMEDOUT || err == -EHOSTUNREACH || err == -ESTALE ||
				 err == -EMFILE || err == -ENFILE);
}

/* Where this process may not, another could for Sentinel's calls and for sync. */
static void advise(struct line *line)
{
	struct why why;

	if (!relay_is_needed())
		return;
	relay_advise(&why);
	if (why.text[0] != '\0')
		line_add(line, "; %s", why.text);
}

/* Too long together, the head is what is cut: the reason and the warning come after it. */
static void join(struct line *line, const struct line *head, const struct line *tail)
{
	size_t room = sizeof(line->text) - 1 - tail->length;

	if (room < HEAD_BYTES)
		room = HEAD_BYTES;
	if (head->length <= room)
		line_add(line, "%s%s", head->text, tail->text);
	else
		line_add(line, "%.*s...%s", (int)room - 3, head->text, tail->text);
}

void run_report(const struct run *run, int err)
{
	const struct outcome *o = &run->outcome;
	struct line line = { 0 }, head = { 0 }, warning = { 0 }, because = reason(run), tail = { 0 };
	int priority = o->done.length > 0 ? LOG_NOTICE : LOG_INFO;
	bool undecided = err == -EAGAIN && !run->verified;

	/* one that was made ready and not followed warns of nothing */
	line_add(&warning, "%s%s", run->planned ? run->plan.warning.text : "", o->warning.text);
	line_add(&head, "%s: ", run->master->name);
	if (err < 0) {
		priority = undecided ? LOG_WARNING : LOG_ERR;
		line_add(&head, "%s: %s", run->applied || o->done.length > 0 ? "failed" :
			 undecided ? "undecided" : "refused", run->why.text);
		if (o->done.length > 0)
			line_add(&head, "; before that: %s", o->done.text);
		if (err == -EPERM || err == -EACCES || err == -EAFNOSUPPORT)
			advise(&head);
	} else {
		line_add(&head, "%s", o->done.length > 0 ? o->done.text : "nothing to do");
	}
	if (because.length > 0)
		line_add(&tail, "; %s", because.text);
	if (run->note.length > 0)
		line_add(&tail, "; %s", run->note.text);
	if (warning.length > 0) {
		if (priority > LOG_WARNING)
			priority = LOG_WARNING;
		/* each begins with "; " */
		line_add(&tail, "; WARNING: %s", warning.text + 2);
	}
	line_add(&tail, " (");
	for (unsigned i = 0; i < o->lap_count; i++)
		line_add(&tail, "%s %.2f, ", o->laps[i].name, o->laps[i].ms);
	line_add(&tail, "in all %.2f ms)", clock_ms() - o->begun_ms);
	join(&line, &head, &tail);
	log_send(priority, line.text);
}

void run_hook(const struct run *run)
{
	struct line because = reason(run), line = { 0 };
	int err;

	if (!run->applied)
		return;
	if (run->note.length > 0)
		line_add(&because, "%s%s", because.length > 0 ? "; " : "", run->note.text);
	err = hook_detach(run->master, &run->plan, &run->truth, because.text);
	if (err == 0)
		return;
	line_add(&line, "%s: no hook was run: %s", run->master->name, strerror(-err));
	log_send(LOG_WARNING, line.text);
}
