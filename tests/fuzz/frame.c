/* SPDX-License-Identifier: MIT */
/*
 * Frames heard: each by itself, then as an announcer (conflict.c) and as somebody who asks
 * (neighbours.c) hear them.  An event of an even kind gets a checksum that fits.
 */
#include "fuzz.h"

#include <netinet/icmp6.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Checks a holder against the frame itself, by its octets (RFC 826, RFC 4861 section 4). */
static void check_holder(const uint8_t *frame, size_t size, const struct holder *h)
{
	must((h->mac[0] & 1) == 0);
	if (h->ip.family == AF_INET) {
		must(size >= 42 && frame[12] == 0x08 && frame[13] == 0x06);
		must(memcmp(h->ip.bytes, frame + 28, 4) == 0 && memcmp(h->mac, frame + 22, 6) == 0);
		must(h->announced == (memcmp(frame + 28, frame + 38, 4) == 0));
		return;
	}
	must(h->ip.family == AF_INET6 && size >= 78 && frame[12] == 0x86 && frame[13] == 0xdd);
	must(frame[21] == 255 && (frame[54] == 135 || frame[54] == 136));
	must(memcmp(h->ip.bytes, frame + (frame[54] == 136 ? 62 : 22), 16) == 0);
	must(!h->announced || (frame[54] == 136 && frame[38] == 0xff));
}

/* An ICMPv6 message gets its checksum, and a length within the frame. */
static void mend(uint8_t *frame, size_t size)
{
	size_t payload;
	uint32_t total;

	if (size < 58 || frame[12] != 0x86)
		return;
	payload = (size_t)frame[18] << 8 | frame[19];
	if (payload < 4 || payload > size - 54) {
		payload = size - 54;
		frame[18] = (uint8_t)(payload >> 8);
		frame[19] = (uint8_t)payload;
	}
	total = (uint32_t)payload + IPPROTO_ICMPV6;
	frame[56] = frame[57] = 0;
	for (size_t i = 22; i < 54 + payload; i++)
		total += i % 2 == 0 ? (uint32_t)frame[i] << 8 : frame[i];
	while (total >> 16 != 0)
		total = (total & 0xffff) + (total >> 16);
	frame[56] = (uint8_t)(~total >> 8);
	frame[57] = (uint8_t)~total;
}

static void read_one(const uint8_t *data, size_t size, bool mended)
{
	uint8_t *exact = malloc(size + (size == 0));
	struct holder holder, other;

	if (exact == NULL)
		return;
	if (size > 0)
		memcpy(exact, data, size);
	if (mended)
		mend(exact, size);
	memset(&holder, 0x5a, sizeof(holder));
	other = holder;
	if (probe_read(exact, size, &holder))
		check_holder(exact, size, &holder);
	else
		must(memcmp(&holder, &other, sizeof(holder)) == 0);
	free(exact);
}

static const struct link links[2] = {
	{ .ifindex = 2, .name = "eth0", .flags = IFF_UP | IFF_LOWER_UP, .type = 1,
	  .mac = { 2, 0, 0, 0, 0, 1 } },
	{ .ifindex = 3, .name = "eth1", .flags = IFF_UP | IFF_LOWER_UP, .type = 1,
	  .mac = { 2, 0, 0, 0, 0, 2 } },
};

static void check_sent(const uint8_t *frame, size_t size)
{
	must(size == 42 || size == 78 || size == 86);
	must(memcmp(frame + 6, links[0].mac, ETH_ALEN) == 0 || memcmp(frame + 6, links[1].mac, ETH_ALEN) == 0);
	if (size == 42)	/* a probe teaches nobody anything */
		must(memcmp(frame + 28, "\0\0\0\0", 4) == 0);
}

static void check_target(const struct target *t)
{
	must(t->other_count <= HOLDERS_MAX && t->probes <= PROBES);
	/* this host is not another */
	for (int i = 0; i < 2; i++)
		must(t->heard == 0 || memcmp(t->other, links[i].mac, ETH_ALEN) != 0);
	must(t->heard > 0 || (t->other_count == 0 && t->again_ms < 0 && !t->superseded));
}

/* As announce.c does it, but for its schedule. */
static void announcer(const struct ip ips[2])
{
	struct target targets[2] = { 0 };
	struct taps taps;
	double next = 0;

	for (int i = 0; i < 2; i++) {
		targets[i].ip = ips[i];
		targets[i].link = links[i];
		targets[i].begun_ms = clock_ms();
		targets[i].end_ms = clock_ms() + 5000;
		targets[i].again_ms = targets[i].verdict_ms = -1;
	}
	conflict_open(&taps, targets, 2);
	must(taps.count <= 2);
	for (unsigned round = 0; round < 64 && next >= 0; round++) {
		next = -1;
		conflict_hear("mymaster", &taps, targets, 2);
		for (int i = 0; i < 2; i++) {
			double at;

			conflict_wants_announcement(&targets[i], clock_ms());
			conflict_probe(&taps, &targets[i], round % 8 == 7, clock_ms());
			check_target(&targets[i]);
			at = conflict_next(&targets[i]);
			if (at >= 0 && (next < 0 || at < next))
				next = at;
		}
		/* frames come while it waits */
		for (double now = clock_ms(); now < next; now = clock_ms())
			if (poll(&(struct pollfd){ .fd = taps.items[0].fd, .events = POLLIN }, 1, clock_left(next)) > 0)
				conflict_hear("mymaster", &taps, targets, 2);
	}
	must(next < 0);	/* it comes to an end by itself */
	conflict_report("mymaster", targets, 2);
	for (size_t i = 0; i < taps.count; i++)
		fd_close(&taps.items[i].fd);
}

static void asker(const struct ip ips[2])
{
	struct question questions[4] = { 0 };
	double begun = clock_ms();

	for (int i = 0; i < 4; i++) {
		questions[i].link = &links[i / 2];
		questions[i].ip = ips[i % 2];
	}
	must(neighbours_ask(questions, 4) == 0);
	for (int i = 0; i < 4; i++) {
		must(questions[i].holder_count <= HOLDERS_MAX);
		for (size_t n = 0; n < questions[i].holder_count; n++)
			must(memcmp(questions[i].holders[n], links[0].mac, ETH_ALEN) != 0 &&
			     memcmp(questions[i].holders[n], links[1].mac, ETH_ALEN) != 0);
		if (!questions[i].asked)
			fuzz_check_why(&questions[i].why);
	}
	must(clock_ms() - begun < 2 * NEIGHBOURS_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_world world = { .script = { data, size }, .framed = true, .sent = check_sent,
				    .mend = mend };
	uint8_t mode = fuzz_byte(&world.script);
	struct ip ips[2] = { { .family = AF_INET, .bytes = { 10, 0, 0, 9 } },
			     { .family = AF_INET6, .bytes = { 0xfd, [15] = 9 } } };

	if (mode < 0x60) {
		read_one(world.script.at, world.script.left, (mode & 1) == 0);
		return 0;
	}
	fuzz_begin(&world);
	if (mode < 0xb0)
		announcer(ips);
	else
		asker(ips);
	fuzz_end();
	return 0;
}
