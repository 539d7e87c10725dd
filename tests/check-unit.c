/* SPDX-License-Identifier: MIT */
/*
 * The unit tests: first the groups that are pure, then, in a host of a laboratory,
 * those with effects.  One argument chooses tests by name, `*` and `?` allowed.
 */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void unit_expect_text(const char *file, int line, const char *text, const char *part, bool has)
{
	if ((strstr(text, part) != NULL) == has)
		return;
	print_error("expected %s \"%s\"\n in \"%s\"\n", has ? "the part" : "no", part, text);
	_fail(file, line);
}

struct ip unit_ip(const char *text)
{
	struct ip ip = { .family = AF_UNSPEC };

	if (*text != '\0' && ip_parse(text, &ip) < 0)
		fail_msg("\"%s\" is not an address", text);
	return ip;
}

const char *unit_file(const char *bytes, size_t size)
{
	static char path[64];
	const char *where = getenv("TMPDIR");
	int fd;

	if (path[0] != '\0')
		unlink(path);
	snprintf(path, sizeof(path), "%.40s/unit-XXXXXX", where != NULL ? where : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return path;
}

int unit_config(const char *text, struct config *config, struct why *why)
{
	return config_read(unit_file(text, strlen(text)), config, why);
}

void unit_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

void unit_capture_begin(struct unit_capture *capture, int fd)
{
	fflush(NULL);
	capture->fd = fd;
	capture->saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	capture->file = memfd_create("capture", MFD_CLOEXEC);
	if (capture->saved < 0 || capture->file < 0 || dup2(capture->file, fd) < 0)
		fail_msg("capture: %s", strerror(errno));
}

const char *unit_capture_end(struct unit_capture *capture)
{
	static char text[16384];
	ssize_t n;

	fflush(NULL);
	dup2(capture->saved, capture->fd);
	close(capture->saved);
	n = pread(capture->file, text, sizeof(text) - 1, 0);
	close(capture->file);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void failed(const char *message)
{
	fail_msg("%s", message);
}

static int run(int (*const groups[])(void), size_t count)
{
	int bad = 0;

	for (size_t i = 0; i < count; i++)
		bad += groups[i]() != 0;
	return bad;
}

static int with_effects(int argc, char **argv)
{
	static int (*const groups[])(void) = { unit_file_tests, unit_trust_tests, unit_lock_tests,
		unit_lock_place_tests, unit_resolve_tests,
		unit_log_tests, unit_relay_tests, unit_relay_ask_tests, unit_netlink_tests, unit_change_tests, unit_apply_tests,
		unit_detach_tests };
	static struct lab_host *volatile host;	/* reachable until the end: no leak */

	(void)argc;
	(void)argv;
	host = lab_host("us", "10.0.0.1/24", "fd00::1/64", (char *)NULL);
	if (lab_enter(host) < 0)
		lab_fail("the host cannot be entered: %m");
	lab_on_failure = failed;
	return run(groups, COUNT(groups)) > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	static int (*const pure[])(void) = { unit_ip_tests, unit_event_tests, unit_args_tests, unit_keys_tests,
		unit_ask_tests, unit_config_tests, unit_refuse_tests, unit_claim_tests,
		unit_release_tests, unit_where_tests, unit_frame_tests, unit_due_tests,
		unit_council_tests, unit_truth_tests };
	int bad;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bad = run(pure, COUNT(pure));
	unit_file("", 0);
	if (lab_main(argc, argv, with_effects) != 0)
		bad++;
	/* a process whose children get a new process namespace cannot look for leaks at its end */
	fflush(NULL);
	_exit(bad > 0 ? 1 : 0);
}
