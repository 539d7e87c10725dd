/* SPDX-License-Identifier: MIT */
/*
 * What each key of the configuration means.  A value is understood whole or
 * refused with what was expected; where it stands in the file is config.c's affair.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ANNOUNCE_LAST_MS = 60000,
	VALUE_SIZE = 256,	/* config.c lets no longer line pass */
};

#define refuse(why, ...) why_set(why, -EINVAL, __VA_ARGS__)

static int parse_prefix(const char *text, struct vip *vip, struct why *why)
{
	unsigned bits = ip_bits(&vip->ip);
	uint16_t value;

	if (port_parse(text, false, &value) < 0 || value > bits)
		return refuse(why, "prefix length \"%.40s\": expected 1 to %u", text, bits);
	vip->prefixlen = (uint8_t)value;
	return 0;
}

/* Only a unicast address that can move from host to host will do. */
static const char *why_not_a_vip(const struct vip *vip)
{
	const struct ip *ip = &vip->ip;
	unsigned host_bits = ip_bits(ip) - vip->prefixlen;
	uint32_t v4, host;

	if (ip_is_loopback(ip))
		return "is a loopback address";
	if (ip->family == AF_INET6) {
		if (IN6_IS_ADDR_UNSPECIFIED(&ip->in6) || IN6_IS_ADDR_MULTICAST(&ip->in6))
			return "is not a unicast address";
		return IN6_IS_ADDR_LINKLOCAL(&ip->in6) ? "is a link-local address" : NULL;
	}
	v4 = ntohl(ip->in.s_addr);
	if (v4 >> 24 == 0 || v4 >> 28 >= 0xe)
		return "is not a unicast address";
	host = host_bits < 2 ? 1 : v4 & ((UINT32_C(1) << host_bits) - 1);
	if (host == 0)
		return "is its network's own address";
	if (host_bits >= 2 && host == (UINT32_C(1) << host_bits) - 1)
		return "is its network's broadcast address";
	return NULL;
}

static int key_vip(struct master *m, const char *value, struct why *why)
{
	char address[IP_TEXT_SIZE];
	const char *slash = strchr(value, '/');
	size_t size = slash ? (size_t)(slash - value) : strlen(value);
	struct vip vip, *moved;
	const char *bad;

	if (size >= sizeof(address))
		return refuse(why, "vip = %.60s: expected an address", value);
	memcpy(address, value, size);
	address[size] = '\0';
	if (ip_parse(address, &vip.ip) < 0)
		return refuse(why, "vip = %.60s: expected ADDRESS or ADDRESS/PREFIX", value);
	vip.prefixlen = (uint8_t)ip_bits(&vip.ip);
	if (slash != NULL && parse_prefix(slash + 1, &vip, why) < 0)
		return -EINVAL;
	bad = why_not_a_vip(&vip);
	if (bad != NULL)
		return refuse(why, "vip = %.60s: this %s, which cannot be a VIP", value, bad);

	moved = reallocarray(m->vips, m->vip_count + 1, sizeof(vip));
	if (moved == NULL)
		return why_set(why, -ENOMEM, "out of memory");
	m->vips = moved;
	m->vips[m->vip_count++] = vip;
	return 0;
}

static int key_interface(struct master *m, const char *value, struct why *why)
{
	size_t size = strlen(value);

	if (size == 0 || size >= sizeof(m->interface) || strpbrk(value, "/ \t\r\n\v\f") != NULL)
		return refuse(why, "interface = %.60s: expected the name of one interface, "
			      "as \"ip link\" shows it", value);
	memcpy(m->interface, value, size + 1);
	return 0;
}

/* Seconds with up to three decimals, to milliseconds. */
static bool parse_seconds(const char *text, unsigned *ms)
{
	unsigned whole = 0, fraction = 0, scale = 1000, digits = 0;

	for (; *text >= '0' && *text <= '9' && whole <= ANNOUNCE_LAST_MS; text++, digits++)
		whole = whole * 10 + (unsigned)(*text - '0');
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9' && scale > 1; text++, digits++) {
			scale /= 10;
			fraction += (unsigned)(*text - '0') * scale;
		}
	*ms = whole * 1000 + fraction;
	return digits > 0 && *text == '\0' && whole <= ANNOUNCE_LAST_MS / 1000 &&
		*ms <= ANNOUNCE_LAST_MS;
}

static int key_announce(struct master *m, const char *value, struct why *why)
{
	struct schedule s = { 0 };
	char words[VALUE_SIZE];
	char *save = NULL;

	snprintf(words, sizeof(words), "%s", value);
	if (strcmp(words, "none") != 0) {
		for (char *w = strtok_r(words, " \t,", &save); w; w = strtok_r(NULL, " \t,", &save)) {
			unsigned ms;

			if (s.count == SCHEDULE_MAX)
				return refuse(why, "announce: more than %d repeats", SCHEDULE_MAX);
			if (!parse_seconds(w, &ms) || ms == 0)
				return refuse(why, "announce: \"%.40s\": expected seconds after the first "
					      "announcement, up to %d (such as 0.2), or none",
					      w, ANNOUNCE_LAST_MS / 1000);
			if (s.count > 0 && ms <= s.at_ms[s.count - 1])
				return refuse(why, "announce: \"%.40s\" does not come after the one "
					      "before it", w);
			s.at_ms[s.count++] = ms;
		}
		if (s.count == 0)
			return refuse(why, "announce: expected seconds (such as 0.2 1.1 2.2 5) or none");
	}
	m->announce = s;
	return 0;
}

static int key_self(struct master *m, const char *value, struct why *why)
{
	char *joined;

	if (value[strspn(value, " \t,")] == '\0')
		return refuse(why, "self: expected names of this host");
	if (asprintf(&joined, "%s%s%s", m->self ? m->self : "", m->self ? " " : "", value) < 0)
		return why_set(why, -ENOMEM, "out of memory");
	free(m->self);
	m->self = joined;
	return 0;
}

/* HOST:PORT, [V6]:PORT or unix:/PATH */
static int key_sentinel(struct master *m, const char *value, struct why *why)
{
	const char *colon = strrchr(value, ':');
	struct endpoint at = { 0 };
	char host[HOST_SIZE];
	size_t size;

	if (strncmp(value, "unix:", 5) == 0) {
		/* sun_path of sockaddr_un has 108 bytes, unix(7) */
		if (value[5] != '/' || strlen(value + 5) > 107)
			return refuse(why, "sentinel = %.60s: expected unix:/PATH, up to 107 characters",
				      value);
		snprintf(at.host, sizeof(at.host), "%s", value + 5);
		m->sentinel = at;
		return 0;
	}
	size = colon != NULL ? (size_t)(colon - value) : 0;
	if (size >= 2 && value[0] == '[' && value[size - 1] == ']') {
		value++;
		size -= 2;
	} else if (memchr(value, ':', size) != NULL) {
		size = 0;	/* an IPv6 address needs its brackets */
	}
	if (size == 0 || size >= sizeof(host))
		return refuse(why, "sentinel = %.60s: expected HOST:PORT, [IPV6]:PORT or unix:/PATH", value);
	memcpy(host, value, size);
	host[size] = '\0';
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)host[i] <= ' ' || (unsigned char)host[i] >= 0x7f)
			return refuse(why, "sentinel = %.60s: expected HOST:PORT", value);
	if (!endpoint_make(host, colon + 1, &at))
		return refuse(why, "sentinel = %.60s: \"%.20s\" is not a port (1 to 65535)", value,
			      colon + 1);
	m->sentinel = at;
	return 0;
}

static int set_text(char **where, const char *value, struct why *why)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return why_set(why, -ENOMEM, "out of memory");
	free(*where);
	*where = copy;
	return 0;
}

/* A file of its own, since the configuration may be readable by everybody. */
static int key_sentinel_auth(struct master *m, const char *path, struct why *why)
{
	char *text = NULL, *save = NULL, *line;
	int err = 0;

	/* nobody knows in which directory it will be read */
	if (path[0] != '/')
		return refuse(why, "sentinel-auth = %.60s: expected the absolute path of a file", path);
	err = trust_text(path, true, &text, why);
	free(m->user);		/* the defaults': a name without its password is none */
	free(m->password);
	m->user = m->password = NULL;
	for (line = err == 0 ? strtok_r(text, "\r\n", &save) : NULL; err == 0 && line != NULL;
	     line = strtok_r(NULL, "\r\n", &save)) {
		if (strncmp(line, "user = ", 7) == 0)
			err = set_text(&m->user, line + 7, why);
		else if (strncmp(line, "password = ", 11) == 0)
			err = set_text(&m->password, line + 11, why);
		else if (*line != '#')
			err = refuse(why, "%s: expected lines \"user = NAME\" and \"password = SECRET\", "
				     "and nothing else", path);
	}
	if (err == 0)
		err = set_text(&m->auth_path, path, why);
	if (err == 0 && m->password == NULL)
		err = refuse(why, "%s: expected a line \"password = SECRET\"", path);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
	return err;
}

static int yes_or_no(const char *name, const char *value, bool *out, struct why *why)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return refuse(why, "%s = %.40s: expected yes or no", name, value);
	*out = strcmp(value, "yes") == 0;
	return 0;
}

static int key_verify(struct master *m, const char *value, struct why *why)
{
	return yes_or_no("verify", value, &m->verify, why);
}

static int key_kill_connections(struct master *m, const char *value, struct why *why)
{
	return yes_or_no("kill-connections", value, &m->kill_connections, why);
}

static int key_refresh(struct master *m, const char *value, struct why *why)
{
	return yes_or_no("refresh", value, &m->refresh, why);
}

static int key_fence(struct master *m, const char *value, struct why *why)
{
	if (strcmp(value, "majority") != 0 && strcmp(value, "no") != 0)
		return refuse(why, "fence = %.40s: expected majority or no", value);
	m->fence = strcmp(value, "majority") == 0;
	return 0;
}

/* It is looked at when it is to be run, and by check: no failover waits for the disk that it is on. */
static int hook(char **where, const char *name, const char *value, struct why *why)
{
	if (strcmp(value, "none") == 0) {
		free(*where);
		*where = NULL;
		return 0;
	}
	if (value[0] != '/')
		return refuse(why, "%s = %.60s: expected the absolute path of a program, or none", name,
			      value);
	return set_text(where, value, why);
}

static int key_after_claim(struct master *m, const char *value, struct why *why)
{
	return hook(&m->after_claim, "after-claim", value, why);
}

static int key_after_release(struct master *m, const char *value, struct why *why)
{
	return hook(&m->after_release, "after-release", value, why);
}

static const struct key {
	const char *name;
	bool in_section_only;
	bool repeatable;
	int (*parse)(struct master *m, const char *value, struct why *why);
} keys[] = {
	{ "vip", true, true, key_vip },
	{ "interface", false, false, key_interface },
	{ "announce", false, false, key_announce },
	{ "self", false, true, key_self },
	{ "sentinel", false, false, key_sentinel },
	{ "sentinel-auth", false, false, key_sentinel_auth },
	{ "verify", false, false, key_verify },
	{ "fence", false, false, key_fence },
	{ "refresh", false, false, key_refresh },
	{ "kill-connections", false, false, key_kill_connections },
	{ "after-claim", false, false, key_after_claim },
	{ "after-release", false, false, key_after_release },
};

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

_Static_assert(KEY_COUNT <= 32, "a bit of `seen` for each");

int keys_set(const char *name, const char *value, bool in_section, unsigned *seen,
	     struct master *master, struct why *why)
{
	char known[256] = "";

	for (unsigned i = 0; i < KEY_COUNT; i++) {
		if (strcmp(name, keys[i].name) != 0) {
			snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
				 i == 0 ? "" : ", ", keys[i].name);
			continue;
		}
		if (keys[i].in_section_only && !in_section)
			return refuse(why, "%s belongs in a master's section: write [NAME] before it",
				      name);
		if (!keys[i].repeatable && (*seen & 1u << i) != 0)
			return refuse(why, "%s is given twice", name);
		*seen |= 1u << i;
		return keys[i].parse(master, value, why);
	}
	return refuse(why, "unknown key \"%.60s\" (known: %s)", name, known);
}

void keys_default(struct master *master)
{
	*master = (struct master){
		.announce = { 4, { 200, 1100, 2200, 5000 } },
		.verify = true,
		.kill_connections = true,
		.refresh = true,
	};
	endpoint_make("127.0.0.1", "26379", &master->sentinel);
}

bool keys_inherit(struct master *master)
{
	char **owned[] = { &master->self, &master->user, &master->password, &master->auth_path,
			   &master->after_claim, &master->after_release };
	bool whole = true;

	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
		char *copy = *owned[i] != NULL ? strdup(*owned[i]) : NULL;

		whole = whole && (copy != NULL || *owned[i] == NULL);
		*owned[i] = copy;
	}
	if (!whole)
		keys_free(master);
	return whole;
}

void keys_free(struct master *master)
{
	if (master->password != NULL)
		explicit_bzero(master->password, strlen(master->password));
	free(master->password);
	free(master->user);
	free(master->auth_path);
	free(master->after_claim);
	free(master->after_release);
	free(master->self);
	free(master->vips);
	master->password = master->user = master->auth_path = master->self = NULL;
	master->after_claim = master->after_release = NULL;
	master->vips = NULL;
}
