/* SPDX-License-Identifier: MIT */
/*
 * check: the sandbox that systemd puts Sentinel in, and so this program when Sentinel
 * calls it (systemd.exec(5)).  It asks systemctl, which is not in the way of any failover.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	SYSTEMCTL_MS = 1500,
	OUTPUT_BYTES = 32768,
	VALUE_BYTES = 2048,
	DONE_MAX = 8,		/* units that were judged; an alias comes twice */
	WORDS_MAX = 8,		/* of systemctl's arguments */
};

static const char properties[] =
	"--property=Id,LoadState,ActiveState,User,NoExecPaths,ExecPaths,NoNewPrivileges,PrivateUsers,"
	"PrivateNetwork,RestrictAddressFamilies,CapabilityBoundingSet,AmbientCapabilities,ExecStart";

/* Judging -------------------------------------------------------------- */

/* One unit, and where its findings go. */
struct unit {
	const char *properties;
	const char *program;
	char id[128];
	struct report *report;
	unsigned errors;
};

static bool property(const struct unit *unit, const char *key, char value[VALUE_BYTES])
{
	value[0] = '\0';
	return file_line(unit->properties, key, value, VALUE_BYTES) != NULL;
}

static bool is_yes(const struct unit *unit, const char *key)
{
	char value[VALUE_BYTES];

	return property(unit, key, value) && strcmp(value, "yes") == 0;
}

static bool has_word(const char *list, const char *word)
{
	size_t size = strlen(word);

	while (*list != '\0') {
		size_t n = strcspn(list, " ");

		if (n == size && strncasecmp(list, word, n) == 0)
			return true;
		list += n + strspn(list + n, " ");
	}
	return false;
}

static bool has_failed(const struct unit *unit)
{
	char value[VALUE_BYTES];

	return property(unit, "ActiveState=", value) && strcmp(value, "failed") == 0;
}

/* systemd refuses to start what has failed too often, until that is forgotten. */
static const char *restart(const struct unit *unit, char text[2 * sizeof(unit->id) + 64])
{
	size_t n = 0;

	if (has_failed(unit))
		n = (size_t)sprintf(text, "systemctl reset-failed %s; ", unit->id);
	sprintf(text + n, "systemctl restart %s", unit->id);
	return text;
}

static void object(struct unit *unit, const char *setting, const char *what)
{
	char text[2 * sizeof(unit->id) + 64];

	unit->errors++;
	report_add(unit->report, LEVEL_ERROR, "sandbox", "%s: %s", unit->id, what);
	report_remedy(unit->report, "systemctl edit %s: [Service] %s; then %s", unit->id, setting,
		      restart(unit, text));
}

/* The longest of the paths that is the program's own or one above it; 0: none is. */
static size_t nearest(const char *paths, const char *program)
{
	size_t best = 0;

	while (*paths != '\0') {
		size_t n = strcspn(paths, " "), skip = 0, size;

		while (skip < n && strchr("-+", paths[skip]) != NULL)
			skip++;		/* "where it is there", "below RootDirectory=" */
		size = n - skip;
		while (size > 1 && paths[skip + size - 1] == '/')
			size--;
		if (strncmp(program, paths + skip, size) == 0 && size > best &&
		    (size == 1 || program[size] == '\0' || program[size] == '/'))
			best = size;
		paths += n + strspn(paths + n, " ");
	}
	return best;
}

static void judge_paths(struct unit *unit)
{
	char no[VALUE_BYTES], yes[VALUE_BYTES], setting[PATH_MAX + 16];

	if (!property(unit, "NoExecPaths=", no) || !property(unit, "ExecPaths=", yes) ||
	    nearest(no, unit->program) <= nearest(yes, unit->program))
		return;
	snprintf(setting, sizeof(setting), "ExecPaths=%s", unit->program);
	object(unit, setting, "NoExecPaths= forbids to execute this program");
}

/* "AF_INET AF_UNIX" allows these; "~AF_PACKET" all but these; "~" all. */
static void judge_families(struct unit *unit)
{
	static const char *const needed[] = { "AF_NETLINK", "AF_PACKET" };
	char value[VALUE_BYTES], what[128];
	const char *list = value;
	bool deny;

	if (!property(unit, "RestrictAddressFamilies=", value))
		return;
	deny = *list == '~';
	list += deny;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (has_word(list, needed[i]) != deny)
			continue;
		snprintf(what, sizeof(what), "RestrictAddressFamilies= forbids %s", needed[i]);
		object(unit, deny ? "RestrictAddressFamilies=" :
		       "RestrictAddressFamilies=AF_NETLINK AF_PACKET", what);
		return;
	}
}

static void judge_capabilities(struct unit *unit)
{
	static const char *const needed[] = { "cap_net_admin", "cap_net_raw" };
	char bounding[VALUE_BYTES], ambient[VALUE_BYTES], user[VALUE_BYTES];
	bool bound, root, lacks = false, locked = false;

	bound = property(unit, "CapabilityBoundingSet=", bounding);
	property(unit, "AmbientCapabilities=", ambient);
	property(unit, "User=", user);
	root = user[0] == '\0' || strcmp(user, "root") == 0 || strcmp(user, "0") == 0;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		locked = locked || (bound && !has_word(bounding, needed[i]));
		lacks = lacks || !has_word(ambient, needed[i]);
	}
	if (locked)
		object(unit, "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW",
		       "CapabilityBoundingSet= takes CAP_NET_ADMIN or CAP_NET_RAW away for good");
	/* capabilities of the program's file are the other way, where new ones can be had */
	if (lacks && !root && (locked || is_yes(unit, "NoNewPrivileges=")))
		object(unit, "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW",
		       "AmbientCapabilities= gives its user neither CAP_NET_ADMIN nor CAP_NET_RAW, "
		       "and NoNewPrivileges= leaves no other way");
}

/* With the relay it only has to be started and to reach a socket. */
static void judge_relayed(struct unit *unit)
{
	char value[VALUE_BYTES];

	judge_paths(unit);
	if (property(unit, "RestrictAddressFamilies=", value) &&
	    has_word(value + (*value == '~'), "AF_UNIX") == (*value == '~'))
		object(unit, *value == '~' ? "RestrictAddressFamilies=" : "RestrictAddressFamilies=AF_UNIX",
		       "RestrictAddressFamilies= forbids AF_UNIX, by which the relay is asked");
	if (unit->errors == 0)
		report_add(unit->report, LEVEL_OK, "sandbox", "%s lets this program ask the relay",
			   unit->id);
}

static void judge_direct(struct unit *unit)
{
	judge_paths(unit);
	judge_families(unit);
	judge_capabilities(unit);
	if (is_yes(unit, "PrivateUsers="))
		object(unit, "PrivateUsers=no",
		       "PrivateUsers= makes all capabilities void for this host's network");
	if (is_yes(unit, "PrivateNetwork="))
		object(unit, "PrivateNetwork=no",
		       "PrivateNetwork= shuts it off from this host's interfaces");
	if (unit->errors == 0)
		report_add(unit->report, LEVEL_OK, "sandbox", "%s lets this program work",
			   unit->id);
}

/* Properties of several units come with an empty line between them. */
struct paragraphs {
	char *copy, *next;
	char done[DONE_MAX][128];
	size_t count;
};

static bool next_unit(struct paragraphs *p, struct unit *unit)
{
	while (p->next != NULL && *p->next != '\0') {
		char load[64];
		size_t n = 0;

		unit->properties = p->next;
		unit->errors = 0;
		p->next = strstr(p->next, "\n\n");
		if (p->next != NULL) {
			p->next[1] = '\0';
			p->next += 2;
		}
		if (file_line(unit->properties, "Id=", unit->id, sizeof(unit->id)) == NULL ||
		    file_line(unit->properties, "LoadState=", load, sizeof(load)) == NULL ||
		    strcmp(load, "loaded") != 0)
			continue;
		while (n < p->count && strcmp(p->done[n], unit->id) != 0)
			n++;
		if (n < p->count || p->count == DONE_MAX)
			continue;
		memcpy(p->done[p->count++], unit->id, sizeof(unit->id));
		return true;
	}
	return false;
}

size_t check_unit_judge(const char *output, const char *program, bool relayed,
			struct report *report, unsigned *errors)
{
	struct paragraphs all = { .copy = strdup(output) };
	struct unit unit = { .program = program, .report = report };

	*errors = 0;
	all.next = all.copy;
	report->incomplete = report->incomplete || all.copy == NULL;
	while (next_unit(&all, &unit)) {
		if (relayed)
			judge_relayed(&unit);
		else
			judge_direct(&unit);
		*errors += unit.errors;
	}
	free(all.copy);
	return all.count;
}

/* A Sentinel that does not run ------------------------------------------ */

/* Of "{ path=... ; argv[]=/usr/bin/redis-sentinel /etc/redis/sentinel.conf ... }" */
static bool find_configuration(const struct unit *unit, char path[VALUE_BYTES])
{
	char value[VALUE_BYTES], *save = NULL;
	char *words;

	property(unit, "ExecStart=", value);
	words = strstr(value, "argv[]=");
	for (char *w = words != NULL ? strtok_r(words, " ", &save) : NULL; w != NULL;
	     w = strtok_r(NULL, " ", &save)) {
		size_t n = strlen(w);

		if (*w == '/' && n > 5 && strcmp(w + n - 5, ".conf") == 0) {
			strcpy(path, w);
			return true;
		}
	}
	return false;
}

/* It does not start while it may not execute its client-reconfig-script. */
static void judge_script(struct unit *unit, const char *script)
{
	char no[VALUE_BYTES], yes[VALUE_BYTES], program[PATH_MAX];
	char text[2 * sizeof(unit->id) + 64];

	if (realpath(script, program) == NULL || access(program, X_OK) < 0) {
		report_add(unit->report, LEVEL_ERROR, "script",
			   "%s does not start: its client-reconfig-script is %s: %s", unit->id, script,
			   strerror(errno));
	} else if (property(unit, "NoExecPaths=", no) && property(unit, "ExecPaths=", yes) &&
		   nearest(no, program) > nearest(yes, program)) {
		report_add(unit->report, LEVEL_ERROR, "script",
			   "%s does not start: its client-reconfig-script is %s, which NoExecPaths= and "
			   "ExecPaths= forbid to execute", unit->id, script);
	} else {
		return;
	}
	unit->errors++;
	report_remedy(unit->report, "in sentinel.conf: sentinel client-reconfig-script NAME %s; then %s",
		      unit->program, restart(unit, text));
}

void check_unit_stopped(const char *output, const char *program, struct report *report)
{
	struct paragraphs all = { .copy = strdup(output) };
	struct unit unit = { .program = program, .report = report };
	char path[VALUE_BYTES], line[VALUE_BYTES], script[VALUE_BYTES];
	char text[2 * sizeof(unit.id) + 64];

	all.next = all.copy;
	while (next_unit(&all, &unit)) {
		FILE *file = find_configuration(&unit, path) ? fopen(path, "re") : NULL;

		while (file != NULL && fgets(line, sizeof(line), file) != NULL)
			if (sscanf(line, " sentinel client-reconfig-script %*s %2047s", script) == 1)
				judge_script(&unit, script);
		if (file != NULL)
			fclose(file);
		if (unit.errors == 0 && has_failed(&unit)) {
			report_add(report, LEVEL_ERROR, "unit", "%s has failed", unit.id);
			report_remedy(report, "journalctl -u %s says why; when that is mended, %s",
				      unit.id, restart(&unit, text));
		}
	}
	free(all.copy);
}

/* Asking --------------------------------------------------------------- */

/* In the child. */
static int run_systemctl(int fd, void *words)
{
	char *environment[] = { (char *)"LC_ALL=C",
				(char *)"SYSTEMD_PAGER=", (char *)"SYSTEMD_COLORS=0", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *argv[WORDS_MAX + 2] = { (char *)"systemctl" };

	for (size_t i = 0; i < WORDS_MAX && ((char **)words)[i] != NULL; i++)
		argv[i + 1] = ((char **)words)[i];
	if (null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(null, 2) < 0)
		return 1;
	execve("/usr/bin/systemctl", argv, environment);
	execve("/bin/systemctl", argv, environment);
	return 1;
}

bool check_booted(void)
{
	return access("/run/systemd/system", F_OK) == 0;	/* sd_booted(3) */
}

ssize_t check_systemctl(const char *const words[], char *output, size_t size)
{
	if (!check_booted())
		return 0;
	return child_hear(run_systemctl, (void *)words, SYSTEMCTL_MS, output, size);
}

bool check_unit(const char *name, const char *program, bool relayed, struct report *report)
{
	const char *words[WORDS_MAX + 1] = {
		"show", properties, "redis-sentinel.service",
		"valkey-sentinel.service", "sentinel.service", "redis-sentinel@*.service",
		"valkey-sentinel@*.service",
	};
	unsigned errors = 0;
	char *output;
	ssize_t n;

	if (!check_booted())
		return true;
	if (name[0] != '\0') {
		words[2] = name;
		words[3] = NULL;
	}
	output = malloc(OUTPUT_BYTES);
	if (output == NULL) {
		report->incomplete = true;
		return true;
	}
	n = check_systemctl(words, output, OUTPUT_BYTES - 1);
	if (n <= 0) {
		report_add(report, LEVEL_WARNING, "sandbox",
			   "systemctl did not say what sandbox Sentinel is in");
		report_remedy(report, "systemctl show %s %s", properties,
			      name[0] != '\0' ? name : "redis-sentinel");
	} else {
		output[n] = '\0';
		if (name[0] == '\0')
			check_unit_stopped(output, program, report);
		if (check_unit_judge(output, program, relayed, report, &errors) == 0)
			report_add(report, LEVEL_OK, "sandbox",
				   "no unit of a Sentinel is loaded here");
	}
	free(output);
	return errors == 0;
}
