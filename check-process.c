/* SPDX-License-Identifier: MIT */
/*
 * check: the local Sentinel, and what it lets this program do when it calls it.  What
 * the person who types the command may do says little: it is Sentinel's user that counts.
 */
#include "vip.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>

enum { ENVIRONMENT_BYTES = 65536 };

#define NEEDED (UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW)

/* "CAP_NET_ADMIN and CAP_NET_RAW", or one of them. */
static const char *names_of(uint64_t caps)
{
	bool admin = (caps & UINT64_C(1) << CAP_NET_ADMIN) != 0;
	bool raw = (caps & UINT64_C(1) << CAP_NET_RAW) != 0;

	return admin && raw ? "CAP_NET_ADMIN and CAP_NET_RAW"
	       : admin      ? "CAP_NET_ADMIN"
			    : "CAP_NET_RAW";
}

/* Capabilities --------------------------------------------------------- */

static void remedy_caps(const struct process *p, const char *program, struct report *report)
{
	if (p->unit[0] != '\0')
		report_remedy(report,
			      "systemctl edit %s: [Service] AmbientCapabilities=CAP_NET_ADMIN "
			      "CAP_NET_RAW; then restart it",
			      p->unit);
	else if (p->foreign_user_ns || (p->bounding & NEEDED) != NEEDED)
		report_remedy(report,
			      "give the container of Sentinel NET_ADMIN and NET_RAW (cap_add)");
	else if (p->no_new_privs)
		report_remedy(report, "start Sentinel without no_new_privs, or with both as "
				      "ambient capabilities");
	else
		/* by number: a user's group need not have the user's name */
		report_remedy(report, "chgrp %u %s; chmod 750 %s; setcap cap_net_admin,cap_net_raw+ep %s",
			      (unsigned)p->gid, program, program, program);
}

static void check_caps(const struct process *p, const char *program, struct report *report)
{
	struct file_caps caps;
	uint64_t missing;

	process_file_caps(program, &caps);
	missing = NEEDED & ~(p->foreign_user_ns ? 0 : process_exec(p, &caps));
	if (missing == 0) {
		report_add(report, LEVEL_OK, "capabilities",
			   "its user, %s, starts this program with %s", p->user, names_of(NEEDED));
		return;
	}
	report_add(report, LEVEL_ERROR, "capabilities",
		   "its user, %s, starts this program without %s%s", p->user, names_of(missing),
		   p->foreign_user_ns ? ", being in a user namespace of its own" : "");
	remedy_caps(p, program, report);
}

/* No process is seen: what this process may do is all that can be told. */
static void check_own_caps(struct report *report)
{
	struct process own;
	uint64_t missing;

	if (process_read(0, &own) < 0)
		return;
	missing = NEEDED & ~own.permitted;
	report_add(report, LEVEL_WARNING, "capabilities",
		   "no Sentinel process is seen here, so nobody knows what it may do; you, %s, are "
		   "%s %s",
		   own.user, missing == 0 ? "with" : "without",
		   names_of(missing == 0 ? NEEDED : missing));
	report_remedy(report, "run this check where Sentinel runs, as root");
}

/* Files ---------------------------------------------------------------- */

/*
 * The value of a variable in the process's environment, when it has one.  False when that
 * cannot be seen: Redis writes its title over where it was.
 */
static bool read_variable(const struct process *p, const char *name, char out[PATH_MAX])
{
	char path[64], *text = malloc(ENVIRONMENT_BYTES);
	size_t size = strlen(name);
	bool seen = false;
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)p->pid);
	if (text != NULL)
		n = file_read(path, text, ENVIRONMENT_BYTES);
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(text + i) + 1) {
		const char *value = strchr(text + i, '=');

		seen = seen || value != NULL;
		if (value != NULL && value == text + i + size && strncmp(text + i, name, size) == 0 &&
		    value[1] != '\0')
			snprintf(out, PATH_MAX, "%s", value + 1);
	}
	free(text);
	return seen;
}

/* Whether Sentinel's calls will read the configuration that was read just now. */
static void check_same_config(const struct process *p, const char *program, const char *config_path,
			      struct report *report)
{
	char named[PATH_MAX] = CONFIG_PATH, path[PATH_MAX];
	struct file_caps caps;
	bool seen = true;

	process_file_caps(program, &caps);
	/* where the file gives capabilities, AT_SECURE is set and the variable not looked at */
	if (p->uid == 0 || caps.permitted == 0)
		seen = read_variable(p, "SENTINEL_VIP_CONFIG", named);
	if (file_same(process_path(p, named, path), config_path))
		return;
	if (seen) {
		report_add(report, LEVEL_ERROR, "configuration", "Sentinel's calls read %s, not %s",
			   named, config_path);
		report_remedy(
			report,
			"put it where Sentinel's calls read it, or set SENTINEL_VIP_CONFIG in "
			"Sentinel's environment");
	} else {
		report_add(report, LEVEL_OK, "configuration",
			   "%s must be named by SENTINEL_VIP_CONFIG in the environment of "
			   "Sentinel, too, which cannot be seen",
			   config_path);
	}
}

static void check_readable(const struct process *p, const char *what, const char *path,
			   struct report *report)
{
	char seen[PATH_MAX];
	struct stat st;

	if (stat(process_path(p, path, seen), &st) < 0) {
		if (errno == EACCES)
			return;		/* hidden from who checks, not from Sentinel */
		report_add(report, LEVEL_ERROR, what, "Sentinel does not see %s: %s", path,
			   strerror(errno));
		report_remedy(report, "put it into Sentinel's container, too");
	} else if (!process_may(p, &st, 4)) {
		report_add(report, LEVEL_ERROR, what, "Sentinel's user, %s, cannot read %s",
			   p->user, path);
		if ((st.st_mode & S_IRGRP) != 0)
			report_remedy(report, "chgrp %u %s", (unsigned)p->gid, path);
		else
			report_remedy(report, "chgrp %u %s; chmod g+r %s", (unsigned)p->gid, path,
				      path);
	} else {
		report_add(report, LEVEL_OK, what, "its user, %s, can read %s", p->user, path);
	}
}

/* A sandbox may forbid to execute what lies there: it then has a mount of its own, noexec. */
static void check_executable(const struct process *p, const char *program, struct report *report)
{
	char seen[PATH_MAX];
	struct statvfs fs;
	struct stat st;

	process_path(p, program, seen);
	if (stat(seen, &st) < 0 || statvfs(seen, &fs) < 0)
		return;		/* said where client-reconfig-script is looked at */
	if ((fs.f_flag & ST_NOEXEC) != 0) {
		report_add(report, LEVEL_ERROR, "executable",
			   "Sentinel may not execute %s: it lies on a noexec mount there",
			   program);
		if (p->unit[0] != '\0')
			report_remedy(report, "systemctl edit %s: [Service] ExecPaths=%s", p->unit,
				      program);
		else
			report_remedy(report, "install it elsewhere, or mount that with exec");
	} else if (!process_may(p, &st, 1)) {
		report_add(report, LEVEL_ERROR, "executable",
			   "Sentinel's user, %s, may not execute %s", p->user, program);
		report_remedy(report, "chmod 755 %s", program);
	}
}

/* Nobody needs it for a failover, so that it is a warning at most. */
static void check_hook(const struct process *p, const char *key, const char *path,
		       struct report *report)
{
	char seen[PATH_MAX];
	struct statvfs fs;
	struct stat st;

	if (path == NULL)
		return;
	process_path(p, path, seen);
	if (stat(seen, &st) < 0 || statvfs(seen, &fs) < 0) {
		report_add(report, LEVEL_WARNING, "hook", "Sentinel does not see %s = %s: %s", key, path,
			   strerror(errno));
		report_remedy(report, "put it there, or write %s = none", key);
	} else if ((fs.f_flag & ST_NOEXEC) != 0) {
		report_add(report, LEVEL_WARNING, "hook",
			   "Sentinel may not execute %s = %s: it lies on a noexec mount there", key, path);
		report_remedy(report, "in Sentinel's unit: [Service] ExecPaths=%s, and the programs that "
			      "it needs", path);
	} else if ((st.st_mode & 0111) == 0 || !process_may(p, &st, 1)) {	/* root needs one, too */
		report_add(report, LEVEL_WARNING, "hook", "its user, %s, may not execute %s = %s",
			   p->user, key, path);
		report_remedy(report, "chmod 755 %s", path);
	} else {
		report_add(report, LEVEL_OK, "hook", "its user, %s, can run %s = %s", p->user, key, path);
	}
}

/* The lock ------------------------------------------------------------- */

static const char *why_no_lock(const struct process *p)
{
	char seen[PATH_MAX];
	struct statvfs fs;
	struct stat st;

	if (stat(process_path(p, LOCK_DIR, seen), &st) == 0) {
		if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
			return "others can write to it";
		if (!process_may(p, &st, 7))
			return "it belongs to another user";
	} else if (stat(process_path(p, "/run", seen), &st) < 0 || !process_may(p, &st, 3)) {
		return "it does not exist, and Sentinel's user cannot make it";
	}
	return statvfs(seen, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0
		       ? "it is read-only to Sentinel"
		       : NULL;
}

static void check_lock(const struct process *p, struct report *report)
{
	const char *why = why_no_lock(p);

	if (why == NULL) {
		report_add(report, LEVEL_OK, "lock", "its user, %s, can keep locks in %s", p->user,
			   LOCK_DIR);
		return;
	}
	report_add(report, LEVEL_WARNING, "lock",
		   "%s cannot be used: %s; two calls for one master could meet", LOCK_DIR, why);
	if (p->unit[0] != '\0')
		report_remedy(
			report,
			"rm -r %s; systemctl edit %s: [Service] RuntimeDirectory=sentinel-vip "
			"RuntimeDirectoryPreserve=yes; then restart it",
			LOCK_DIR, p->unit);
	else
		report_remedy(report, "install -d -m 0700 -o %s %s, and the same at each boot",
			      p->user, LOCK_DIR);
}

/* The findings of one report after those of another. */
static void append(struct report *report, const struct report *more)
{
	for (size_t i = 0; i < more->count; i++) {
		const struct finding *f = &more->findings[i];

		report_add(report, f->level, f->topic, "%s", f->text.text);
		if (f->remedy.text[0] != '\0')
			report_remedy(report, "%s", f->remedy.text);
	}
	report->incomplete = report->incomplete || more->incomplete;
}

static size_t errors_of(const struct report *report)
{
	size_t n = 0;

	for (size_t i = 0; i < report->count; i++)
		n += report->findings[i].level == LEVEL_ERROR;
	return n;
}

/* What a sandbox does to it is said with the unit; else the process itself shows it. */
static void check_direct(const struct process *p, const char *program, struct report *report)
{
	if (!check_unit(p->unit, program, false, report))
		return;
	if (p->pid == 0) {
		check_own_caps(report);
		return;
	}
	check_caps(p, program, report);
	check_executable(p, program, report);
}

static void check_relayed(const struct master *master, const char *program,
			  const char *config_path, const struct process *p, struct report *report)
{
	/* in no group that counts: what it may read is looked at with its unit */
	struct process relay = { .uid = UINT32_MAX, .gid = UINT32_MAX, .user = "sentinel-vip" };

	if (check_unit(p->unit, program, true, report) && p->pid != 0)
		check_executable(p, program, report);
	check_relay(p, master, config_path, report);
	check_hook(&relay, "after-claim", master->after_claim, report);
	check_hook(&relay, "after-release", master->after_release, report);
}

/*
 * Where Sentinel can change nothing itself there is the relay, and what the direct way would
 * need is of no interest.  `p` is empty when no Sentinel is seen.
 */
static void check_process(const struct master *master, const char *program, const char *config_path,
			  const struct process *p, struct report *report)
{
	struct report direct = { 0 };
	bool relayed;

	check_direct(p, program, &direct);
	relayed = errors_of(&direct) > 0 && check_relay_is_way(p);
	if (relayed)
		check_relayed(master, program, config_path, p, report);
	else
		append(report, &direct);
	free(direct.findings);
	if (relayed || p->pid == 0)
		return;
	check_same_config(p, program, config_path, report);
	check_readable(p, "configuration", config_path, report);
	if (master->auth_path != NULL)
		check_readable(p, "password", master->auth_path, report);
	check_hook(p, "after-claim", master->after_claim, report);
	check_hook(p, "after-release", master->after_release, report);
	check_lock(p, report);
}

/* The local Sentinel --------------------------------------------------- */

static void check_answer(const struct state *state, struct report *report)
{
	const struct answer *answer = &state->council.votes[0].answer;

	switch (answer->kind) {
	case ANSWER_NONE:
		report_add(report, LEVEL_ERROR, "reachable", "it cannot be asked: %s",
			   answer->error);
		report_remedy(
			report,
			"start it (systemctl start redis-sentinel; journalctl -u redis-sentinel says "
			"why it does not), or correct sentinel = in the configuration");
		return;
	case ANSWER_DENIED:
		report_add(report, LEVEL_ERROR, "reachable", "it does not let this program ask: %s",
			   answer->error);
		report_remedy(
			report,
			"sentinel-auth = FILE in the configuration, with a user who may "
			"+sentinel|get-master-addr-by-name +sentinel|master +sentinel|sentinels "
			"+sentinel|myid +sentinel|replicas");
		return;
	default:
		report_add(report, LEVEL_OK, "reachable", "it answers");
	}
}

bool check_is_near(const struct state *state, const struct endpoint *at)
{
	return at->port == 0 || plan_is_local(&state->run.facts, &at->ip) ||
	       strcasecmp(at->host, "localhost") == 0 ||
	       config_is_self(state->run.master, at->host);
}

void check_local(const struct state *state, const char *config_path, struct process *process,
		 struct report *report)
{
	const struct master *master = state->run.master;
	char text[ENDPOINT_TEXT_SIZE], program[PATH_MAX];

	report_add(report, LEVEL_TITLE, NULL, "Sentinel %s",
		   endpoint_text(&master->sentinel, text));
	check_answer(state, report);
	if (!check_is_near(state, &master->sentinel)) {
		report_add(report, LEVEL_WARNING, "place",
			   "it is not on this host: this program is called where it runs");
		report_remedy(
			report,
			"run a Sentinel on each host of the VIP, and name that in sentinel =");
		return;
	}
	process_find_sentinel(&master->sentinel, process);
	process_program(program);
	check_process(master, program, config_path, process, report);
}
