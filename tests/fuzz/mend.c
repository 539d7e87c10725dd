/* SPDX-License-Identifier: MIT */
/*
 * What more than one fuzz target does with bytes before they are heard, and asks of a result.
 */
#include "fuzz.h"

#include <linux/netlink.h>
#include <string.h>

enum { MESSAGE_MAX = 0x1ff };	/* bytes; longer ones would leave no room for a second */

void fuzz_check_why(const struct why *why)
{
	must(why->text[0] != '\0');
	for (const char *c = why->text; *c != '\0'; c++)
		must((unsigned char)*c >= ' ' && *c != 0x7f);
}

void fuzz_check_error(int err)
{
	must(err <= 0 && err >= -4095);
}

void fuzz_mend_netlink(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= size;) {
		struct nlmsghdr header;

		memcpy(&header, bytes + at, sizeof(header));
		header.nlmsg_len &= MESSAGE_MAX;
		if (header.nlmsg_len < sizeof(header))
			header.nlmsg_len = sizeof(header);
		if (header.nlmsg_len > size - at)
			header.nlmsg_len = (uint32_t)(size - at);
		memcpy(bytes + at, &header, sizeof(header));
		at += NLMSG_ALIGN(header.nlmsg_len);
	}
}
