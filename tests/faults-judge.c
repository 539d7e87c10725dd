/* SPDX-License-Identifier: MIT */
/*
 * The oracle of the fault sweep: what must be true after every point, whatever failed. It asks the
 * kernel, the peer and the processes; of the program it takes the exit status alone, and holds it
 * to that.
 */
#include "faults.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What an undisturbed run begins with and ends in. */
static struct state before, after;
static int files_before;

static bool is_announcement(const struct lab_frame *f, const char *address)
{
	/* not the kernel's answers to whoever asks: RFC 4861 section 4.4, the S flag */
	return lab_is_arp(f, address) || (lab_is_na(f, address) && !(f->data[58] & 0x40));
}

static bool announced_while_away(const char **which)
{
	lab_capture_read(stage.eyes);
	for (size_t i = 0; i < stage.eyes->n; i++)
		for (const char *const *v = scene_vips; *v; v++)
			if (is_announcement(&stage.eyes->frames[i], *v) &&
			    state_was_away(*v, stage.eyes->frames[i].ns)) {
				*which = *v;
				return true;
			}
	return false;
}

/* Each VIP that has come was announced after that. */
static const char *not_announced(const char *text)
{
	lab_capture_read(stage.eyes);
	for (const char *const *v = scene_vips; *v; v++) {
		bool is = !strstr(text, *v);

		for (size_t i = 0; i < stage.eyes->n && !is; i++)
			is = is_announcement(&stage.eyes->frames[i], *v) &&
			     stage.eyes->frames[i].ns > state_since(*v);
		if (!is)
			return *v;
	}
	return NULL;
}

LAB_PRINTF(3, 4)
static void say(char *said, size_t size, const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + n, size - n, fmt, ap);
	va_end(ap);
}

static void judge_status(const struct scene *s, const struct fault *f, const struct trace *t,
			 const struct state *now, char *said, size_t size)
{
	bool killed = t->struck && f->process == 0 &&
		      (f->kind == FAULT_KILL || f->kind == FAULT_KILL_AFTER) &&
		      t->status == 128 + SIGKILL;
	/* ld.so's own status, and what the kernel does when the program cannot be mapped */
	bool loading = t->struck && f->process == 0 && f->number < t->of[0].main_at &&
		       (t->status == 127 || t->status > 128);
	bool loader = t->struck && f->process == 0 && t->of[0].main_at < 0;

	if (killed || loading || loader)
		return;
	if (t->crashed)
		say(said, size, "a process died of a signal (status %d)\n", t->status);
	else if (t->status > 2)
		say(said, size, "status %d\n", t->status);
	if (t->status == 1 && s->by_sentinel && !t->heard)
		say(said, size, "status 1, but no Sentinel was heard\n");
	if (t->status == 1 && s->votes[0] == '-')
		say(said, size, "status 1, but there is no Sentinel\n");
	if (t->status == 0 && s->alone)
		say(said, size, "status 0, but there is no majority\n");
	/* where asking does not go at all, the arguments are believed */
	if (t->status == 0 && !s->reads && strcmp(now->text, after.text) != 0 &&
	    !(s->stale && (f->kind == FAULT_LASTING || f->kind == FAULT_ALLOC_LASTING)))
		say(said, size, "status 0, but the host does not agree\n");
}

static void judge_connections(const struct scene *s, const struct trace *t, const struct state *now,
			      char *said, size_t size)
{
	bool told = lab_log_wait(stage.us, "not closed", 0) ||
		    !lab_log_wait(stage.us, "]: mymaster: ", 0);

	for (struct connection *c = stage.connections; c < stage.connections + STAGE_CONNECTIONS;
	     c++) {
		if (c->far < 0)
			continue;
		if (!c->vip && stage_was_reset(c)) {
			say(said, size, "the connection to %s is lost\n", c->to);
			stage_close(c);
		} else if (c->vip && t->status == (s->alone ? 1 : 0) && !s->here && !told &&
			   !strstr(now->text, c->to) && !stage_was_reset(c)) {
			say(said, size, "the client of %s was told nothing\n", c->to);
		}
	}
}

static void judge(const struct scene *s, const struct fault *f, const struct trace *t, char *said,
		  size_t size)
{
	struct state now;
	const char *which;
	char text[200];

	state_watched(0, lab_now_ns());
	state_read(&now);
	if (t->hung)
		say(said, size, "it still ran after %d s\n", STAGE_LIMIT_MS / 1000);
	if (t->lingers)
		say(said, size, "a child still ran %d s later\n", STAGE_REST_MS / 1000);
	judge_status(s, f, t, &now, said, size);
	if (!state_is_whole(&before, &now, scene_vips, text, sizeof text))
		say(said, size, "%s\n", text);
	if (s->reads && strcmp(before.text, now.text) != 0)
		say(said, size, "it has changed something\n");
	judge_connections(s, t, &now, said, size);
	/* it cannot know before it reads back that the kernel did not do as it said */
	if (f->kind != FAULT_DROP && announced_while_away(&which))
		say(said, size, "%s was announced while it was not here\n", which);
	/* the lock's directory and its file */
	if (stage_files() > files_before + 2)
		say(said, size, "it left files behind\n");
	if (*said)
		say(said, size, "state then:\n%s",
		    strcmp(now.text, after.text) == 0 ? "as it should be\n" : now.text);
}

/* The next run, undisturbed, makes it right. */
static void judge_healing(const struct scene *s, char *said, size_t size)
{
	static struct trace t;
	struct state now;
	const char *which;

	if (s->reads)
		return;
	/* on a busy machine Sentinels are not heard in time: then it is said, and safe to try again
	 */
	for (int tries = 0; tries < 3; tries++) {
		size_t undecided = lab_log_count(stage.us, ": undecided");

		stage_run(s, &(struct fault){.kind = FAULT_NONE}, true, &t);
		if (t.status != 1 || s->alone || lab_log_count(stage.us, ": undecided") == undecided)
			break;
	}
	state_watched(0, lab_now_ns());
	state_read(&now);
	if (s->claimed && !LAB_UNTIL(lab_host_processes(stage.us, NULL) == 0, STAGE_REST_MS))
		say(said, size, "the announcer of the claim goes on\n");
	if (t.status != (s->alone ? 1 : 0))
		say(said, size, "the next run ended with %d\n", t.status);
	if (strcmp(now.text, after.text) != 0)
		say(said, size, "the next run does not heal it, expected:\n%s\nhave:\n%s\n",
		    after.text, now.text);
	if (announced_while_away(&which))
		say(said, size, "%s was announced while it was not here, in the next run\n", which);
	which = s->here ? not_announced(now.text) : NULL;
	if (which)
		say(said, size, "%s has come and was never announced\n", which);
}

bool judge_point(const struct scene *s, const struct fault *f, struct trace *t, char *said,
		 size_t size)
{
	const char *line;

	*said = '\0';
	stage_prepare(s, &before);
	stage_run(s, f, false, t);
	judge(s, f, t, said, size);
	judge_healing(s, said, size);
	if (!*said)
		return true;
	stage_forget_locks(); /* what was left there is said once */
	say(said, size, "stderr: %s\n", t->err);
	for (size_t i = 0; (line = lab_log_line(stage.us, i)); i++)
		say(said, size, "log: %s\n", line);
	return false;
}

void judge_begin(const struct scene *s, struct trace *t)
{
	static struct trace unused;
	char said[8192] = "";

	stage_set(s);
	before.text[0] = '\0';
	files_before = stage_files();
	stage_prepare(s, &before);
	stage_run(s, &(struct fault){.kind = FAULT_ALLOC}, false, &unused); /* counts them */
	stage_prepare(s, &before);
	stage_run(s, &(struct fault){.kind = FAULT_NONE}, false, t);
	state_read(&after);
	judge(s, &(struct fault){.kind = FAULT_NONE}, t, said, sizeof said);
	if (s->reads ? t->status > 2 : t->status != (s->alone ? 1 : 0))
		say(said, sizeof said, "undisturbed, it ended with %d: %s", t->status, t->err);
	if (*said)
		lab_fail("%s, undisturbed: %s", s->name, said);
	/* the counters of the first one have been written over */
	stage_prepare(s, &before);
	stage_run(s, &(struct fault){.kind = FAULT_ALLOC}, false, &unused);
}
