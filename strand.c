/* SPDX-License-Identifier: MIT */
/*
 * The connections that a VIP strands when it comes to the host of their clients: those led to the host that
 * had it before.  Its reset, if it still sends one, is thrown away here as from a source
 * that is local (martian), so that who only waits would never be told.
 */
#include "vip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum {
	FIND_MS = 250,		/* under the lock: no longer than a failover's call waits for it */
	END_MS = 2000,
	TOLD = 4,		/* addresses that are named */
};

static void name_some(struct line *line, const struct ip *ips, size_t count)
{
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < count && i < TOLD; i++)
		line_add(line, "%s%s", i > 0 ? ", " : "", ip_text(&ips[i], text));
	if (count == 0)
		line_add(line, "a VIP");
	if (count > TOLD)
		line_add(line, " and %zu more", count - TOLD);
}

static const char *explain(int err)
{
	return err == -EOPNOTSUPP ? "this kernel has no CONFIG_INET_DIAG_DESTROY" : strerror(-err);
}

/* Of a host where none can ever be found `check` tells, and each release: there need not be any. */
static bool goes_without_saying(int err)
{
	return err == -ELIBACC || err == -EOPNOTSUPP;
}

void strand_find(const struct target *targets, size_t count, struct strands *strands)
{
	*strands = (struct strands){ .looked = true };
	for (size_t i = 0; i < count; i++) {
		if (targets[i].added == 0)
			continue;
		if (strands->ips == NULL)
			strands->ips = calloc(count, sizeof(*strands->ips));
		if (strands->ips != NULL)
			strands->ips[strands->ip_count++] = targets[i].ip;
		else
			strands->error = -ENOMEM;
	}
	if (strands->ip_count > 0)
		strands->error = tcp_find_stranded(strands->ips, strands->ip_count, clock_ms() + FIND_MS,
						   &strands->sockets, &strands->count);
	if (goes_without_saying(strands->error))
		strands->error = 0;
}

bool strand_end(const char *master, struct target *targets, size_t count, struct strands *strands)
{
	struct line line = { 0 }, names = { 0 };
	size_t ended = 0;
	int err = strands->error;
	bool late = err == -ETIMEDOUT, again = false;	/* a busy host: once more, without the lock meanwhile */

	if (err == 0 && strands->count > 0)
		err = diag_destroy(strands->sockets, strands->count, clock_ms() + END_MS, &ended);
	for (size_t i = 0; i < count; i++) {
		if (targets[i].added > 0)
			targets[i].added = late || (ended > 0 && err == 0) ? targets[i].added - 1 : 0;
		again = again || targets[i].added > 0;
	}
	name_some(&names, strands->ips, strands->ip_count);
	if (err < 0 && !(late && again)) {
		line_add(&line, "%s: connections are not closed: %s; clients on this host that only wait at %s "
			 "are not told that it has moved", master, explain(err), names.text);
		log_send(LOG_WARNING, line.text);
	} else if (ended > 0) {
		line_add(&line, "%s: closed %u of this host's connections to %s: they led to the host that "
			 "had it before", master, (unsigned)ended, names.text);
		log_send(LOG_NOTICE, line.text);
	}
	free(strands->sockets);
	free(strands->ips);
	*strands = (struct strands){ 0 };
	return again;
}
