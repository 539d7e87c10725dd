/* SPDX-License-Identifier: MIT */
/*
 * What a process may do, and what it lets a program do that it executes: read from
 * /proc, computed as the kernel computes it.  It touches no process.
 */
#include "vip.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { STATUS_BYTES = 8192 };

static uint64_t hex_line(const char *status, const char *key)
{
	char text[32];

	return file_line(status, key, text, sizeof(text)) != NULL ? strtoull(text, NULL, 16) : 0;
}

/* "real effective saved filesystem" */
static unsigned id_line(const char *status, const char *key)
{
	unsigned real = 0, effective = 0;
	char text[64];

	if (file_line(status, key, text, sizeof(text)) == NULL ||
	    sscanf(text, "%u %u", &real, &effective) != 2)
		return UINT32_MAX;
	return effective;
}

static void read_groups(const char *status, struct process *p)
{
	char text[1024], *word = text, *end;

	if (file_line(status, "Groups:", text, sizeof(text)) == NULL)
		return;
	while (p->group_count < sizeof(p->groups) / sizeof(p->groups[0])) {
		unsigned long id = strtoul(word, &end, 10);

		if (end == word)
			return;
		p->groups[p->group_count++] = (gid_t)id;
		word = end;
	}
}

/* The last part of the path in a line of cgroups(7), when it is a service's. */
static void read_unit(pid_t pid, char *unit, size_t size)
{
	char path[64], text[STATUS_BYTES], *save = NULL;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (file_read(path, text, sizeof(text)) < 0)
		return;
	for (char *l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save)) {
		const char *name = strrchr(l, '/'), *dot = strrchr(l, '.');

		if (name != NULL && dot > name && strcmp(dot, ".service") == 0 &&
		    strlen(name + 1) < size)
			strcpy(unit, name + 1);
	}
}

/* From the file alone: a directory service may not answer just now. */
void process_name_user(uid_t uid, char user[USER_SIZE])
{
	FILE *passwd = fopen("/etc/passwd", "re");
	const struct passwd *entry;

	snprintf(user, USER_SIZE, "uid %u", (unsigned)uid);
	while (passwd != NULL && (entry = fgetpwent(passwd)) != NULL)
		if (entry->pw_uid == uid) {
			snprintf(user, USER_SIZE, "%s", entry->pw_name);
			break;
		}
	if (passwd != NULL)
		fclose(passwd);
}

/* Namespaces that cannot be looked at are taken for ours. */
static bool in_our(pid_t pid, const char *kind)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	if (stat(path, &ours) < 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	return stat(path, &theirs) < 0 ||
	       (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev);
}

int process_read(pid_t pid, struct process *process)
{
	struct process p = { .pid = pid != 0 ? pid : getpid() };
	char path[64], text[STATUS_BYTES];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)p.pid);
	n = file_read(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	p.uid = id_line(text, "Uid:");
	p.gid = id_line(text, "Gid:");
	read_groups(text, &p);
	p.inheritable = hex_line(text, "CapInh:");
	p.permitted = hex_line(text, "CapPrm:");
	p.bounding = hex_line(text, "CapBnd:");
	p.ambient = hex_line(text, "CapAmb:");
	p.no_new_privs = hex_line(text, "NoNewPrivs:") != 0;
	p.foreign_user_ns = !in_our(p.pid, "user");
	read_unit(p.pid, p.unit, sizeof(p.unit));
	process_name_user(p.uid, p.user);
	*process = p;
	return 0;
}

/* Finding -------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/*
 * By its name, and by what it writes over its arguments: "redis-sentinel *:26379
 * [sentinel]".  With that turned off (set-proc-title) the port cannot be told.
 */
static bool is_sentinel(pid_t pid, const struct endpoint *at)
{
	char path[64], name[64], line[STATUS_BYTES], title[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (file_read(path, name, sizeof(name)) < 0)
		return false;
	name[strcspn(name, "\n")] = '\0';
	if (!ends_with(name, "-sentinel") && !ends_with(name, "-server"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	n = file_read(path, line, sizeof(line));
	for (ssize_t i = 0; i + 1 < n; i++)
		if (line[i] == '\0')
			line[i] = ' ';
	if (n <= 0)
		return false;
	snprintf(title, sizeof(title), ":%u [sentinel]", (unsigned)at->port);
	if (at->port != 0 && strstr(line, "[sentinel]") != NULL)
		return strstr(line, title) != NULL;
	return ends_with(name, "-sentinel") || strstr(line, "[sentinel]") != NULL ||
		strstr(line, " --sentinel") != NULL;
}

void process_find_sentinel(const struct endpoint *at, struct process *process)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	*process = (struct process){ 0 };
	while (proc != NULL && process->pid == 0 && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && is_sentinel(pid, at) && in_our(pid, "net"))
			process_read(pid, process);
	}
	if (proc != NULL)
		closedir(proc);
}

/* Files ---------------------------------------------------------------- */

const char *process_path(const struct process *process, const char *path, char out[PATH_MAX])
{
	char root[64] = "";
	struct stat st;

	snprintf(root, sizeof(root), "/proc/%d/root/.", (int)process->pid);
	if (process->pid == 0 || stat(root, &st) < 0)
		root[0] = '\0';
	snprintf(out, PATH_MAX, "%s%s", root, path);
	return out;
}

const char *process_program(char out[PATH_MAX])
{
	if (realpath("/proc/self/exe", out) == NULL)
		snprintf(out, PATH_MAX, "sentinel-vip");
	return out;
}

bool process_may(const struct process *process, const struct stat *st, unsigned bits)
{
	unsigned shift = 0;

	if (process->uid == 0 && (process->bounding & UINT64_C(1) << CAP_DAC_OVERRIDE) != 0)
		return true;
	if (st->st_uid == process->uid)
		return (st->st_mode >> 6 & bits) == bits;
	if (st->st_gid == process->gid)
		shift = 3;
	for (size_t i = 0; i < process->group_count; i++)
		if (st->st_gid == process->groups[i])
			shift = 3;
	return (st->st_mode >> shift & bits) == bits;
}

void process_file_caps(const char *path, struct file_caps *caps)
{
	struct vfs_ns_cap_data data = { 0 };
	struct statvfs fs;

	*caps = (struct file_caps){ 0 };
	if (statvfs(path, &fs) < 0 || (fs.f_flag & ST_NOSUID) != 0 ||
	    getxattr(path, "security.capability", &data, sizeof(data)) < (ssize_t)XATTR_CAPS_SZ_2)
		return;
	caps->effective = (le32toh(data.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE) != 0;
	for (unsigned i = 0; i < VFS_CAP_U32; i++) {
		caps->permitted |= (uint64_t)le32toh(data.data[i].permitted) << (32 * i);
		caps->inheritable |= (uint64_t)le32toh(data.data[i].inheritable) << (32 * i);
	}
}

/* cap_bprm_creds_from_file(), security/commoncap.c */
uint64_t process_exec(const struct process *process, const struct file_caps *caps)
{
	bool root = process->uid == 0;
	uint64_t all = UINT64_MAX;
	uint64_t permitted = (process->bounding & (root ? all : caps->permitted)) |
		(process->inheritable & (root ? all : caps->inheritable));
	bool privileged = !root && (caps->permitted | caps->inheritable) != 0;
	uint64_t ambient = privileged ? 0 : process->ambient;

	if (process->no_new_privs)
		permitted &= process->permitted;
	permitted |= ambient;
	return root || caps->effective ? permitted : ambient;
}
