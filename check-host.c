/* SPDX-License-Identifier: MIT */
/*
 * check: what concerns all masters of this host: the configuration, and whether
 * connections of a VIP can be ended.
 */
#include "vip.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESTROY_MS = 300 };

static void check_config(const struct config *config, const char *path, struct report *report)
{
	size_t vips = 0;

	for (size_t i = 0; i < config->master_count; i++)
		vips += config->masters[i].vip_count;
	report_add(report, LEVEL_OK, "configuration",
		   "%s: %zu master%s, %zu VIP%s; nobody but its owner can change it",
		   path, config->master_count, config->master_count == 1 ? "" : "s", vips,
		   vips == 1 ? "" : "s");
}

/* One that somebody else could exchange is not run; nothing else here would tell before a failover. */
static void check_hooks(const struct config *config, struct report *report)
{
	const char *last = NULL;

	for (size_t i = 0; i < 2 * config->master_count; i++) {
		const struct master *m = &config->masters[i / 2];
		const char *path = i % 2 == 0 ? m->after_claim : m->after_release;
		struct stat st;
		struct why why;
		int err;

		/* most often the same for all masters */
		if (path == NULL || (last != NULL && strcmp(path, last) == 0))
			continue;
		last = path;
		err = stat(path, &st) == 0 ? trust_program(path, &st, &why) : trust_way(path, &why);
		if (err < 0)
			report_why(report, LEVEL_ERROR, "hook", &why);
	}
}

/* Ending connections --------------------------------------------------- */

/* A packet filter may drop what goes over lo, and lo may be down: then nobody answers, for minutes. */
static int connect_until(int fd, const struct sockaddr_in *at, double deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t size = sizeof(error);

	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 && errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, clock_left(deadline_ms)) <= 0)
		return -ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

/* A connection of this process to itself, at a loopback address that nobody uses. */
static int try_destroy(size_t *destroyed)
{
	struct sockaddr_in at = { .sin_family = AF_INET }, from;
	CLEANUP(fd_close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CLEANUP(fd_close) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ip ip = { .family = AF_INET };
	double deadline = clock_ms() + DESTROY_MS;
	socklen_t size = sizeof(at);
	uint32_t host;
	size_t used;
	int err;

	if (getrandom(&host, sizeof(host), GRND_NONBLOCK) != (ssize_t)sizeof(host))
		host = (uint32_t)getpid();
	ip.in.s_addr = htonl(UINT32_C(0x7f400000) | (host & 0x3ffffe) | 1); /* in 127.64.0.0/10 */
	err = tcp_count(&ip, 1, deadline, &used);
	if (err < 0 || used > 0)
		return err < 0 ? err : -EADDRINUSE;
	at.sin_addr = ip.in;
	from = at;
	if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&at, &size) < 0 ||
	    bind(client, (struct sockaddr *)&from, sizeof(from)) < 0)
		return -errno;
	err = connect_until(client, &at, deadline);
	return err < 0 ? err : tcp_destroy(&ip, 1, deadline, destroyed);
}

static void check_destroy(struct report *report)
{
	size_t destroyed = 0;
	int err = try_destroy(&destroyed);

	if (err == 0 && destroyed > 0) {
		report_add(report, LEVEL_OK, "connections",
			   "of a VIP that leaves can be ended (SOCK_DESTROY)");
	} else if (err == -EPERM || err == -EACCES) {
		report_add(report, LEVEL_WARNING, "connections",
			   "ending them could not be tried: CAP_NET_ADMIN is missing here");
		report_remedy(report, "run this check as root");
	} else if (err == -EOPNOTSUPP || err == 0) {
		report_add(report, LEVEL_WARNING, "connections",
			   "of a VIP that leaves cannot be ended: this kernel has no SOCK_DESTROY, "
			   "so that clients wait for their own timeouts");
		report_remedy(report, "a kernel with CONFIG_INET_DIAG_DESTROY=y; or tcp-keepalive "
				      "and timeouts in the clients");
	} else if (err == -ELIBACC) {
		report_add(report, LEVEL_WARNING, "connections",
			   "of a VIP that leaves cannot be ended: libmnl cannot be loaded");
		report_remedy(report, "install it (libmnl0 in Debian)");
	} else {
		report_add(report, LEVEL_WARNING, "connections",
			   "ending them could not be tried: %s", strerror(-err));
		report_remedy(report, "ip link set lo up; modprobe tcp_diag; let no packet filter stop what goes over lo");
	}
}

void check_host(const struct config *config, const char *config_path, struct report *report)
{
	check_config(config, config_path, report);
	check_hooks(config, report);
	check_destroy(report);
	check_timer(report);
}
