/* SPDX-License-Identifier: MIT */
/*
 * Addresses, compared in binary and never as text, and the host and port pairs
 * that Sentinel speaks in.  It resolves no name.
 */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int ip_parse(const char *text, struct ip *ip)
{
	struct ip parsed = { 0 };

	if (inet_pton(AF_INET, text, &parsed.in) == 1) {
		parsed.family = AF_INET;
	} else if (inet_pton(AF_INET6, text, &parsed.in6) == 1) {
		parsed.family = AF_INET6;
		if (IN6_IS_ADDR_V4MAPPED(&parsed.in6)) {
			struct ip v4 = { .family = AF_INET };

			memcpy(&v4.in, parsed.bytes + 12, sizeof(v4.in));
			parsed = v4;
		}
	} else {
		return -EINVAL;
	}
	*ip = parsed;
	return 0;
}

unsigned ip_bits(const struct ip *ip)
{
	return ip->family == AF_INET ? 32 : 128;
}

bool ip_same_net(const struct ip *a, const struct ip *b, unsigned prefixlen)
{
	unsigned whole = prefixlen / 8, rest = prefixlen % 8;

	if (a->family != b->family || a->family == AF_UNSPEC || prefixlen > ip_bits(a))
		return false;
	if (memcmp(a->bytes, b->bytes, whole) != 0)
		return false;
	return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

bool ip_in_networks(const char *networks, const struct ip *ip)
{
	char text[IP_TEXT_SIZE];
	struct ip network;
	unsigned bits;

	for (; *networks != '\0'; networks += strcspn(networks, " "), networks += *networks == ' ')
		if (sscanf(networks, "%45[^/ ]/%u", text, &bits) == 2 && ip_parse(text, &network) == 0 &&
		    bits <= ip_bits(&network) && ip_same_net(&network, ip, bits))
			return true;
	return false;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return ip_same_net(a, b, ip_bits(a));
}

bool ip_is_one_of(const struct ip *ip, const struct ip *ips, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ip_equal(ip, &ips[i]))
			return true;
	return false;
}

bool ip_is_hosts(const struct ip *ip)
{
	uint32_t v4 = ntohl(ip->in.s_addr);

	if (ip->family == AF_INET)	/* RFC 1122 section 3.2.1.3; RFC 1112: 224.0.0.0/4 and up */
		return v4 >> 24 != 0 && v4 >> 28 < 0xe;
	return !IN6_IS_ADDR_UNSPECIFIED(&ip->in6) && !IN6_IS_ADDR_MULTICAST(&ip->in6);
}

bool ip_is_loopback(const struct ip *ip)
{
	if (ip->family == AF_INET)
		return ip->bytes[0] == 127;
	return ip->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&ip->in6);
}

const char *ip_text(const struct ip *ip, char out[IP_TEXT_SIZE])
{
	if (ip->family == AF_UNSPEC ||
	    inet_ntop(ip->family, ip->bytes, out, IP_TEXT_SIZE) == NULL)
		snprintf(out, IP_TEXT_SIZE, "(no address)");
	return out;
}

const char *mac_text(const uint8_t mac[ETH_ALEN], char out[MAC_TEXT_SIZE])
{
	snprintf(out, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	return out;
}

const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_SIZE])
{
	const char *host = e->host[0] != '\0' ? e->host : "(nothing)";

	if (e->port == 0) {
		snprintf(out, ENDPOINT_TEXT_SIZE, "%s", host);	/* a unix socket */
		return out;
	}
	snprintf(out, ENDPOINT_TEXT_SIZE, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
		 (unsigned)e->port);
	return out;
}

int port_parse(const char *text, bool zero, uint16_t *port)
{
	unsigned value = 0;

	if (*text == '\0' || strlen(text) > 5)
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
	}
	if (value > UINT16_MAX || (value == 0 && !zero))
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

bool endpoint_make(const char *host, const char *port, struct endpoint *out)
{
	struct endpoint e = { 0 };

	if (strlen(host) >= sizeof(e.host) || *host == '\0' || port_parse(port, false, &e.port) < 0)
		return false;
	memcpy(e.host, host, strlen(host) + 1);
	if (ip_parse(host, &e.ip) < 0)
		e.ip = (struct ip){ .family = AF_UNSPEC };
	*out = e;
	return true;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	if (a->port != b->port)
		return false;
	if (a->ip.family != AF_UNSPEC && b->ip.family != AF_UNSPEC)
		return ip_equal(&a->ip, &b->ip);
	return strcasecmp(a->host, b->host) == 0;
}
