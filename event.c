/* SPDX-License-Identifier: MIT */
/*
 * Sentinel's seven words.  Pure: it looks at nothing but its arguments, and it
 * refuses whatever Sentinel would not send.
 */
#include "vip.h"

#include <errno.h>
#include <string.h>

enum { MASTER, ROLE, STATE, FROM_IP, FROM_PORT, TO_IP, TO_PORT, WORDS };

bool event_fits(int argc, char *const argv[])
{
	uint16_t port;

	return argc == WORDS && port_parse(argv[FROM_PORT], true, &port) == 0 &&
	       port_parse(argv[TO_PORT], false, &port) == 0;
}

/* sentinel.c valid_name(): letters, digits and ".-_" */
bool master_name_ok(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

	return *name != '\0' && name[strspn(name, allowed)] == '\0';
}

/* RFC 1123 section 2.1; "_" because people use it, ":" and "%" for addresses. */
static bool host_ok(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";

	return strlen(host) < HOST_SIZE && host[strspn(host, allowed)] == '\0';
}

static int parse_endpoint(const char *host, const char *port, bool old, struct endpoint *out,
			  struct why *why)
{
	const char *side = old ? "FROM" : "TO";

	if (!host_ok(host))
		return why_set(why, -EINVAL, "%s-IP \"%.60s\" is neither an address nor a host name",
			       side, host);
	if (port_parse(port, old, &out->port) < 0)
		return why_set(why, -EINVAL, "%s-PORT \"%.60s\" is not a port (1 to 65535)",
			       side, port);
	memcpy(out->host, host, strlen(host) + 1);
	if (ip_parse(host, &out->ip) < 0)
		out->ip = (struct ip){ .family = AF_UNSPEC };
	return 0;
}

int event_parse(int argc, char *const argv[], struct event *event, struct why *why)
{
	struct event parsed = { 0 };
	int err;

	if (argc != WORDS)
		return why_set(why, -EINVAL,
			       "\"%.60s\" is no command, and Sentinel's call has 7 arguments "
			       "(MASTER ROLE STATE FROM-IP FROM-PORT TO-IP TO-PORT), not %d; see --help",
			       argc > 0 ? argv[0] : "", argc);
	if (!master_name_ok(argv[MASTER]))
		return why_set(why, -EINVAL, "\"%.60s\" cannot be a master's name "
			       "(letters, digits and .-_ only)", argv[MASTER]);
	if (strlen(argv[MASTER]) >= sizeof(parsed.master))
		return why_set(why, -EINVAL, "the master's name \"%.60s...\" is longer than %d "
			       "characters", argv[MASTER], MASTER_NAME_SIZE - 1);
	memcpy(parsed.master, argv[MASTER], strlen(argv[MASTER]) + 1);
	err = parse_endpoint(argv[FROM_IP], argv[FROM_PORT], true, &parsed.from, why);
	if (err < 0)
		return err;
	err = parse_endpoint(argv[TO_IP], argv[TO_PORT], false, &parsed.to, why);
	if (err < 0)
		return err;
	if (parsed.to.host[0] == '\0')
		return why_set(why, -EINVAL, "TO-IP is empty: this Sentinel could not resolve the "
			       "new master's name; check resolve-hostnames and the resolver here");
	*event = parsed;
	return 0;
}
