/* SPDX-License-Identifier: MIT */
/*
 * check: the relay, where Sentinel's own sandbox lets this program change nothing, and
 * the units of this program.  It asks systemctl and looks at the socket, and where that is
 * well it asks the relay for the status: so that what has to start there has started.
 */
#include "vip.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_BYTES = 8192 };

#define SOCKET_UNIT "sentinel-vip.socket"
#define TIMER_UNIT "sentinel-vip-sync.timer"
/* a template says what it is by any of its instances */
#define SERVICE_UNIT "sentinel-vip@check.service"
#define SLICE_UNIT "sentinel-vip.slice"

/* One of our units, as systemd sees it. */
struct own_unit {
	bool loaded, active, enabled;
	char group[64];
	char deny[512], allow[512];	/* networks, space between */
};

/* The paragraph of a unit in what `systemctl show` printed. */
static void read_unit(const char *output, const char *id, struct own_unit *unit)
{
	char line[640], value[64];
	const char *at;

	*unit = (struct own_unit){ 0 };
	snprintf(line, sizeof(line), "Id=%s\n", id);
	at = strstr(output, line);
	if (at == NULL)
		return;
	while (at > output && (at[-1] != '\n' || at == output + 1 || at[-2] != '\n'))
		at--;
	for (; *at != '\0' && *at != '\n'; at = strchrnul(at, '\n'), at += *at != '\0') {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (file_line(line, "LoadState=", value, sizeof(value)) != NULL)
			unit->loaded = strcmp(value, "loaded") == 0;
		else if (file_line(line, "ActiveState=", value, sizeof(value)) != NULL)
			unit->active = strcmp(value, "active") == 0;
		else if (file_line(line, "UnitFileState=", value, sizeof(value)) != NULL)
			unit->enabled = strcmp(value, "enabled") == 0;
		else if (file_line(line, "Group=", value, sizeof(value)) != NULL)
			snprintf(unit->group, sizeof(unit->group), "%s", value);
		else if (file_line(line, "IPAddressDeny=", unit->deny, sizeof(unit->deny)) == NULL)
			file_line(line, "IPAddressAllow=", unit->allow, sizeof(unit->allow));
	}
}

/* Empty where there is no systemd, or it does not answer. */
static void ask_units(char output[OUTPUT_BYTES])
{
	static const char *const words[] = {
		"show",
		"--property=Id,LoadState,ActiveState,UnitFileState,Group,IPAddressDeny,IPAddressAllow",
		SOCKET_UNIT, TIMER_UNIT, SERVICE_UNIT, SLICE_UNIT, NULL,
	};
	ssize_t n = check_systemctl(words, output, OUTPUT_BYTES - 1);

	output[n > 0 ? n : 0] = '\0';
}

/* The timer ------------------------------------------------------------ */

/* Sentinel calls nobody at boot, nor when an address is deleted. */
void check_timer(struct report *report)
{
	char output[OUTPUT_BYTES];
	struct own_unit timer;

	ask_units(output);
	read_unit(output, TIMER_UNIT, &timer);
	if (!timer.loaded)
		return;
	if (timer.enabled && timer.active) {
		report_add(report, LEVEL_OK, "timer", "sync corrects every 5 s what is wrong");
		return;
	}
	report_add(report, LEVEL_WARNING, "timer",
		   "%s is not %s: at boot, or when somebody deletes a VIP, nobody puts it back",
		   TIMER_UNIT, timer.active ? "enabled" : "started");
	report_remedy(report, "systemctl enable --now %s", TIMER_UNIT);
}

/* The relay ------------------------------------------------------------ */

bool check_relay_is_way(const struct process *p)
{
	char seen[PATH_MAX];
	struct stat st;

	return stat(process_path(p, RELAY_PATH, seen), &st) == 0 ||
	       (check_booted() && (p->pid == 0 || p->unit[0] != '\0'));
}

static bool find_group(const char *name, gid_t *gid)
{
	FILE *file = fopen("/etc/group", "re");
	const struct group *entry;
	bool found = false;

	while (file != NULL && !found && (entry = fgetgrent(file)) != NULL)
		if (strcmp(entry->gr_name, name) == 0) {
			*gid = entry->gr_gid;
			found = true;
		}
	if (file != NULL)
		fclose(file);
	return found;
}

/* The relay is a user of its own, who may read by its group only. */
static void check_readable(const struct own_unit *service, const char *what, const char *path,
			   struct report *report)
{
	struct stat st;
	gid_t gid = 0;

	if (!service->loaded || stat(path, &st) < 0 || !find_group(service->group, &gid))
		return;
	if ((st.st_mode & S_IROTH) != 0 || ((st.st_mode & S_IRGRP) != 0 && st.st_gid == gid)) {
		report_add(report, LEVEL_OK, what, "the relay, in group %s, can read %s",
			   service->group, path);
		return;
	}
	report_add(report, LEVEL_ERROR, what, "the relay, in group %s, cannot read %s",
		   service->group, path);
	report_remedy(report, "chgrp %s %s; chmod g+r %s", service->group, path, path);
}

/* Whether Sentinel would come through to it. */
static bool check_socket(const struct process *p, const struct own_unit *unit,
			 struct report *report)
{
	char seen[PATH_MAX];
	struct stat st;

	if (stat(process_path(p, RELAY_PATH, seen), &st) < 0) {
		report_add(report, LEVEL_ERROR, "relay",
			   "Sentinel's sandbox lets this program change nothing, and the relay is "
			   "not there: %s: %s",
			   RELAY_PATH, strerror(errno));
		report_remedy(report, "systemctl enable --now %s", SOCKET_UNIT);
		return false;
	}
	if (!process_may(p, &st, 2)) {
		report_add(report, LEVEL_ERROR, "relay",
			   "Sentinel's user, %s, may not write to %s, which is for group %u", p->user,
			   RELAY_PATH, (unsigned)st.st_gid);
		report_remedy(report,
			      "systemctl edit %s: [Socket] SocketGroup=%u; then restart it", SOCKET_UNIT,
			      (unsigned)p->gid);
		return false;
	}
	if (unit->loaded && !unit->enabled) {
		report_add(report, LEVEL_WARNING, "relay",
			   "%s is not enabled: after the next boot it is not there", SOCKET_UNIT);
		report_remedy(report, "systemctl enable %s", SOCKET_UNIT);
	}
	return true;
}

/* What the filter drops is lost without a word: it would look as if nobody answered. */
static void check_filter(const struct endpoint *at, const struct own_unit *service,
			 const struct own_unit *slice, struct report *report)
{
	char text[IP_TEXT_SIZE];

	if (at->ip.family == AF_UNSPEC || !ip_in_networks(service->deny, &at->ip) ||
	    ip_in_networks(service->allow, &at->ip) || ip_in_networks(slice->allow, &at->ip))
		return;
	report_add(report, LEVEL_ERROR, "relay", "it may not speak to %s, so that it cannot ask this Sentinel",
		   ip_text(&at->ip, text));
	report_remedy(report, "systemctl edit " SLICE_UNIT ": [Slice] IPAddressAllow=%s",
		      ip_text(&at->ip, text));
}

/* "sentinel-vip: refused: WHY; for root (uid 0), pid 7" */
static const char *reason(struct line *said)
{
	static const char prefix[] = "sentinel-vip: refused: ";
	char *end = strstr(said->text, "; for ");

	if (end != NULL)
		*end = '\0';
	said->text[strcspn(said->text, "\n")] = '\0';
	return strncmp(said->text, prefix, sizeof(prefix) - 1) == 0 ?
		said->text + sizeof(prefix) - 1 : said->text;
}

/* A request of the kind that changes nothing. */
static void try(const struct master *master, struct report *report)
{
	char *words[] = { (char *)"status", (char *)master->name };
	struct line said = { 0 };
	enum verdict verdict;
	struct why why;
	int err = relay_ask(2, words, 0, &said, &verdict, &why);

	if (err == -EACCES) {
		report_add(report, LEVEL_WARNING, "relay", "you may not ask it, so it was not tried");
		report_remedy(report, "run this check as root");
	} else if (err < 0) {
		report_why(report, LEVEL_ERROR, "relay", &why);
	} else if (said.length > 0) {
		report_add(report, LEVEL_ERROR, "relay", "it refuses: %s", reason(&said));
		report_remedy(report, "correct that; see journalctl -t sentinel-vip");
	} else {
		report_add(report, LEVEL_OK, "relay",
			   "Sentinel keeps its sandbox, and hands its calls to %s", SOCKET_UNIT);
	}
}

void check_relay(const struct process *p, const struct master *master, const char *config_path,
		 struct report *report)
{
	struct own_unit socket, service, slice;
	char output[OUTPUT_BYTES];
	bool there;

	ask_units(output);
	read_unit(output, SOCKET_UNIT, &socket);
	read_unit(output, SERVICE_UNIT, &service);
	read_unit(output, SLICE_UNIT, &slice);
	check_filter(&master->sentinel, &service, &slice, report);
	there = check_socket(p, &socket, report);
	if (!file_same(config_path, CONFIG_PATH)) {
		report_add(report, LEVEL_ERROR, "configuration", "the relay reads %s, not %s", CONFIG_PATH,
			   config_path);
		report_remedy(report, "move it there");
		return;
	}
	check_readable(&service, "configuration", config_path, report);
	if (master->auth_path != NULL)
		check_readable(&service, "password", master->auth_path, report);
	if (there)
		try(master, report);
}
