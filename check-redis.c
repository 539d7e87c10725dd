/* SPDX-License-Identifier: MIT */
/*
 * check: whether the servers of a master that are on this host listen where the VIP will be.
 */
#include "vip.h"

#include <string.h>

enum { LISTENS_MS = 200 };

static void check_listens(const struct state *state, const struct endpoint *server,
			  struct report *report)
{
	const struct master *master = state->run.master;
	char at[ENDPOINT_TEXT_SIZE], ip[IP_TEXT_SIZE];
	enum listening listening;
	int err;

	endpoint_text(server, at);
	for (size_t i = 0; i < master->vip_count; i++) {
		err = survey_listening(&master->vips[i].ip, &server->ip,
				       server->ip.family != AF_UNSPEC, server->port,
				       clock_ms() + LISTENS_MS, &listening);
		if (err < 0) {
			report_add(report, LEVEL_WARNING, "Redis",
				   "who listens on port %u is not known: %s", server->port,
				   strerror(-err));
			report_remedy(report, "modprobe tcp_diag, or run this check as root");
			return;
		}
		if (listening == LISTENING_THERE)
			continue;
		if (listening == LISTENING_NOWHERE)
			report_add(report, LEVEL_WARNING, "Redis",
				   "does not run here, though Sentinel knows one at %s", at);
		else
			report_add(report, LEVEL_ERROR, "Redis",
				   "at %s does not listen on the VIP %s", at,
				   ip_text(&master->vips[i].ip, ip));
		report_remedy(report, "%s", survey_listening_remedy(listening));
		return;
	}
	report_add(report, LEVEL_OK, "Redis", "at %s listens on the VIP", at);
}

static bool is_ours(const struct state *state, const struct endpoint *server)
{
	return server->port != 0 && (config_is_self(state->run.master, server->host) ||
		(server->ip.family != AF_UNSPEC && plan_is_local(&state->run.facts, &server->ip)));
}

bool check_redis(const struct state *state, const struct endpoint *replicas, size_t count,
		 struct report *report)
{
	const struct endpoint *master = &state->run.truth.master;
	bool any = false;

	if (state->here || is_ours(state, master)) {
		check_listens(state, master, report);
		any = true;
	}
	for (size_t i = 0; i < count; i++)
		if (is_ours(state, &replicas[i]) &&
		    config_owner(state->run.config, &replicas[i].ip) == NULL) {
			check_listens(state, &replicas[i], report);
			any = true;
		}
	return any;
}
