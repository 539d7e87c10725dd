/* SPDX-License-Identifier: MIT */
/*
 * check: the sandbox that systemd puts Sentinel in, and so this program when Sentinel
 * calls it (systemd.exec(5)).  It asks systemctl, which is not in the way of any failover.
 */
#include "vip.h"

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
};

#define PROPERTIES "Id,LoadState,User,NoExecPaths,ExecPaths,NoNewPrivileges,PrivateUsers," \
	"PrivateNetwork,RestrictAddressFamilies,CapabilityBoundingSet,AmbientCapabilities"

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

static void object(struct unit *unit, const char *setting, const char *what)
{
	unit->errors++;
	report_add(unit->report, LEVEL_ERROR, "sandbox", "%s: %s", unit->id, what);
	report_remedy(unit->report, "systemctl edit %s: [Service] %s; then restart it", unit->id,
		      setting);
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

static void judge_unit(struct unit *unit)
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
size_t check_unit_judge(const char *output, const char *program, struct report *report,
			unsigned *errors)
{
	char done[DONE_MAX][128], load[64];
	char *copy = strdup(output), *next = copy;
	size_t count = 0;

	*errors = 0;
	if (copy == NULL)
		report->incomplete = true;
	while (next != NULL && *next != '\0') {
		struct unit unit = { .properties = next, .program = program, .report = report };
		size_t n = 0;

		next = strstr(next, "\n\n");
		if (next != NULL) {
			next[1] = '\0';
			next += 2;
		}
		if (file_line(unit.properties, "Id=", unit.id, sizeof(unit.id)) == NULL ||
		    file_line(unit.properties, "LoadState=", load, sizeof(load)) == NULL ||
		    strcmp(load, "loaded") != 0)
			continue;
		while (n < count && strcmp(done[n], unit.id) != 0)
			n++;
		if (n < count || count == DONE_MAX)
			continue;
		memcpy(done[count++], unit.id, sizeof(unit.id));
		judge_unit(&unit);
		*errors += unit.errors;
	}
	free(copy);
	return count;
}

/* Asking --------------------------------------------------------------- */

/* In the child. */
static int run_systemctl(int fd, void *name)
{
	char *known[] = { (char *)"systemctl", (char *)"show", (char *)"--property=" PROPERTIES,
			  (char *)"redis-sentinel.service", (char *)"valkey-sentinel.service",
			  (char *)"sentinel.service", (char *)"redis-sentinel@*.service",
			  (char *)"valkey-sentinel@*.service", NULL };
	char *environment[] = { (char *)"LC_ALL=C",
				(char *)"SYSTEMD_PAGER=", (char *)"SYSTEMD_COLORS=0", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *unit = name;

	if (unit[0] != '\0') {
		known[3] = name;
		known[4] = NULL;
	}
	if (null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(null, 2) < 0)
		return 1;
	execve("/usr/bin/systemctl", known, environment);
	execve("/bin/systemctl", known, environment);
	return 1;
}

bool check_unit(const char *name, const char *program, struct report *report)
{
	unsigned errors = 0;
	char unit[128], *output;
	ssize_t n;

	if (access("/run/systemd/system", F_OK) < 0)	/* sd_booted(3) */
		return true;
	snprintf(unit, sizeof(unit), "%s", name);
	output = malloc(OUTPUT_BYTES);
	if (output == NULL) {
		report->incomplete = true;
		return true;
	}
	n = child_hear(run_systemctl, unit, SYSTEMCTL_MS, output, OUTPUT_BYTES - 1);
	if (n <= 0) {
		report_add(report, LEVEL_WARNING, "sandbox",
			   "systemctl did not say what sandbox Sentinel is in");
		report_remedy(report, "systemctl show --property=" PROPERTIES " %s",
			      unit[0] != '\0' ? unit : "redis-sentinel");
	} else {
		output[n] = '\0';
		if (check_unit_judge(output, program, report, &errors) == 0)
			report_add(report, LEVEL_OK, "sandbox",
				   "no unit of a Sentinel is loaded here");
	}
	free(output);
	return errors == 0;
}
