/* SPDX-License-Identifier: MIT */
/*
 * What inet_diag answers: connections counted, connections destroyed, stranded ones and listeners
 * looked for.  An event of an even kind gets its messages' lengths mended.
 */
#include "fuzz.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS = 400, IPS = 2 };

static const struct ip ips[IPS] = {
	{ .family = AF_INET, .bytes = { 10, 0, 0, 9 } },
	{ .family = AF_INET6, .bytes = { 0xfd, [15] = 9 } },
};

static size_t destroyable;	/* how many of them may lose their connections */

/* Whether a socket's local address is one of ours, v4-mapped ones included. */
static bool is_ours(const struct inet_diag_req_v2 *r)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const uint8_t *source = (const uint8_t *)r->id.idiag_src;

	if (r->sdiag_family == AF_INET)
		return destroyable > 0 && memcmp(source, ips[0].bytes, 4) == 0;
	return r->sdiag_family == AF_INET6 &&
		((destroyable > 1 && memcmp(source, ips[1].bytes, 16) == 0) ||
		 (destroyable > 0 && memcmp(source, mapped, 12) == 0 &&
		  memcmp(source + 12, ips[0].bytes, 4) == 0));
}

/* Whatever the kernel lists: no connection is destroyed but those of the addresses asked for. */
static void check_sent(const uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at < size;) {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;

		must(size - at >= sizeof(header) + sizeof(request));
		memcpy(&header, bytes + at, sizeof(header));
		memcpy(&request, bytes + at + sizeof(header), sizeof(request));
		must(header.nlmsg_len >= sizeof(header) + sizeof(request) && header.nlmsg_len <= size - at);
		must((header.nlmsg_flags & NLM_F_REQUEST) != 0);
		if (header.nlmsg_type == SOCK_DESTROY)
			must(is_ours(&request));
		at += NLMSG_ALIGN(header.nlmsg_len);
	}
}

/* Two lists: what the second has the other end of is not among them. */
static int find_stranded(double deadline, size_t size)
{
	struct diag_socket *found = NULL;
	size_t count = 0;
	int err = tcp_find_stranded(ips, IPS, deadline, &found, &count);

	must(err == 0 || found == NULL);
	must(count <= size);
	for (size_t i = 0; i < count; i++) {
		struct ip local = diag_ip(&found[i]), remote = diag_remote(&found[i]);

		must(!found[i].over && ip_is_one_of(&remote, ips, IPS) && !ip_equal(&local, &remote));
	}
	free(found);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_world world = { .script = { data, size }, .framed = true, .sent = check_sent,
				        .mend = fuzz_mend_netlink };
	uint8_t mode = fuzz_byte(&world.script);
	size_t connections[IPS], destroyed = SIZE_MAX;
	bool listens;
	double begun;
	int err;

	fuzz_begin(&world);
	begun = clock_ms();
	destroyable = 0;
	switch (mode % 4) {
	case 0:
		if (mode >= 128) {
			err = find_stranded(begun + DEADLINE_MS, size);
			break;
		}
		err = tcp_count(ips, IPS, begun + DEADLINE_MS, connections);
		must(err < 0 || (connections[0] <= size && connections[1] <= size));
		break;
	case 1:
		err = tcp_listens(&ips[mode / 4 % IPS], 6379, begun + DEADLINE_MS, &listens);
		break;
	default:
		destroyable = mode % 4 - 1;
		err = tcp_destroy(ips, destroyable, begun + DEADLINE_MS, &destroyed);
		must(err < 0 ? destroyed == SIZE_MAX : destroyed <= size);
		break;
	}
	fuzz_check_error(err);
	must(clock_ms() - begun < 2 * DEADLINE_MS);
	fuzz_end();
	return 0;
}
