/* SPDX-License-Identifier: MIT */
/* What frames say of who has an address, and that all others say nothing. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* clang-format off */
#define OTHER_MAC 0x02, 0x42, 0xac, 0x13, 0x00, 0x02
#define OUR_MAC 0x02, 0x00, 0x00, 0x00, 0x00, 0x01
#define V6(last) 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, last
#define ALL_NODES 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1

/* RFC 826: 10.0.0.250 is at OTHER_MAC, it says to us at 10.0.0.1. */
static const uint8_t arp[42] = {
	OUR_MAC, OTHER_MAC, 0x08, 0x06,
	0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x02,
	OTHER_MAC, 10, 0, 0, 250,
	OUR_MAC, 10, 0, 0, 1,
};

/* RFC 4861 section 4.4: the answer to all, with the option; the checksum is put in below. */
static const uint8_t na[86] = {
	0x33, 0x33, 0, 0, 0, 1, OTHER_MAC, 0x86, 0xdd,
	0x60, 0, 0, 0, 0, 32, 58, 255, V6(0x50), ALL_NODES,
	136, 0, 0, 0, 0x20, 0, 0, 0, V6(0x50),
	2, 1, OTHER_MAC,
};

/* RFC 4861 section 4.3: the holder looks for us. */
static const uint8_t ns[86] = {
	0x33, 0x33, 0xff, 0, 0, 1, OTHER_MAC, 0x86, 0xdd,
	0x60, 0, 0, 0, 0, 32, 58, 255, V6(0x50),
	0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1,
	135, 0, 0, 0, 0, 0, 0, 0, V6(0x01),
	1, 1, OTHER_MAC,
};
/* clang-format on */

static const uint8_t other_mac[ETH_ALEN] = { OTHER_MAC };

/* The checksum as RFC 8200 section 8.1 has it, over as much as the frame says it has. */
static void seal(uint8_t *frame)
{
	size_t size = (size_t)frame[18] << 8 | frame[19];
	unsigned long sum = size + 58;

	frame[56] = frame[57] = 0;
	for (size_t i = 0; i < 32 + size; i++)
		sum += (unsigned long)frame[22 + i] << (i % 2 == 0 ? 8 : 0);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	frame[56] = (uint8_t)(~sum >> 8);
	frame[57] = (uint8_t)~sum;
}

/* A frame to be changed, with room behind it, in memory of just this size under the sanitizers. */
struct frame {
	size_t size;
	uint8_t bytes[160];
};

static struct frame make(const uint8_t *bytes, size_t size)
{
	struct frame f = { .size = size };

	memcpy(f.bytes, bytes, size);
	if (size > sizeof(arp))
		seal(f.bytes);
	return f;
}

/* Reads an exact copy, and sees that nothing is written when nothing is said. */
static bool says(const struct frame *f, struct holder *holder)
{
	struct holder before = { .ip = { .family = 77 }, .mac = { 7, 7, 7, 7, 7, 7 } };
	uint8_t *copy = malloc(f->size > 0 ? f->size : 1);
	bool is;

	memcpy(copy, f->bytes, f->size);
	*holder = before;
	is = probe_read(copy, f->size, holder);
	free(copy);
	if (!is)
		assert_memory_equal(holder, &before, sizeof(before));
	return is;
}

#define expect_says(f, ip, mac) says_so(__FILE__, __LINE__, f, ip, mac)
static void says_so(const char *file, int line, const struct frame *f, const char *text,
		    const uint8_t mac[ETH_ALEN])
{
	struct ip ip = parts_ip(text);
	struct holder holder;

	if (!says(f, &holder) || !ip_equal(&holder.ip, &ip) ||
	    memcmp(holder.mac, mac, ETH_ALEN) != 0) {
		print_error("the frame does not say who has %s\n", text);
		_fail(file, line);
	}
}

#define expect_silent(f) says_nothing(__FILE__, __LINE__, f)
static void says_nothing(const char *file, int line, const struct frame *f)
{
	struct holder holder;

	if (says(f, &holder)) {
		print_error("the frame was believed\n");
		_fail(file, line);
	}
}

/* ---- ARP ---- */

static void arp_reply_and_request(void **state)
{
	struct frame f = make(arp, sizeof(arp));

	(void)state;
	expect_says(&f, VIP4, other_mac);
	f.bytes[21] = 1;
	expect_says(&f, VIP4, other_mac);
	memset(f.bytes + 38, 0, 4);		/* whomever it asks for */
	expect_says(&f, VIP4, other_mac);
	f.bytes[6] = 0x66;			/* whoever passed it on */
	expect_says(&f, VIP4, other_mac);
	f.size = 60;				/* padded by an Ethernet card */
	expect_says(&f, VIP4, other_mac);
}

static void arp_that_says_nothing(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {
		{ 12, 0x86 }, { 13, 0x00 }, { 14, 1 }, { 15, 6 }, { 16, 0x86 }, { 17, 1 },
		{ 18, 8 }, { 18, 0 }, { 19, 16 }, { 19, 0 }, { 20, 1 }, { 21, 0 }, { 21, 3 },
		{ 21, 8 }, { 22, 0x03 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct frame f = make(arp, sizeof(arp));

		f.bytes[wrong[i].at] = wrong[i].value;
		expect_silent(&f);
	}
}

static void arp_of_nobody(void **state)
{
	struct frame f = make(arp, sizeof(arp));

	(void)state;
	memset(f.bytes + 28, 0, 4);		/* a probe */
	expect_silent(&f);
	f = make(arp, sizeof(arp));
	memset(f.bytes + 22, 0, 6);
	expect_silent(&f);
	memset(f.bytes + 22, 0xff, 6);
	expect_silent(&f);
}

/* ---- neighbour discovery ---- */

static void advertisement(void **state)
{
	static const uint8_t asked[] = { V6(0x01) };
	struct frame f = make(na, sizeof(na));

	(void)state;
	expect_says(&f, VIP6, other_mac);
	f.bytes[6] = 0x66;			/* the option counts, not who passed it on */
	expect_says(&f, VIP6, other_mac);
	f.bytes[37] = 0x09;			/* it may come from another address of the holder */
	seal(f.bytes);
	expect_says(&f, VIP6, other_mac);
	f.bytes[58] = 0x60;			/* asked for by us */
	memcpy(f.bytes + 38, asked, sizeof(asked));
	seal(f.bytes);
	expect_says(&f, VIP6, other_mac);
	f.bytes[15] = 0x12;			/* traffic class and flow label */
	expect_says(&f, VIP6, other_mac);
	f.size += 20;				/* behind the packet */
	memset(f.bytes + sizeof(na), 0xa5, 20);
	expect_says(&f, VIP6, other_mac);
}

static void advertisement_without_the_option(void **state)
{
	static const uint8_t sender[ETH_ALEN] = { 0x02, 0, 0, 0, 0, 0x77 };
	struct frame f = make(na, sizeof(na));

	(void)state;
	memcpy(f.bytes + 6, sender, ETH_ALEN);
	f.bytes[19] = 24;
	seal(f.bytes);
	expect_says(&f, VIP6, sender);		/* what lies behind the packet is not looked at */
	f.size = 78;
	expect_says(&f, VIP6, sender);
	f = make(na, sizeof(na));
	memcpy(f.bytes + 6, sender, ETH_ALEN);
	f.bytes[78] = 1;			/* another option is no substitute */
	seal(f.bytes);
	expect_says(&f, VIP6, sender);
}

static void solicitation(void **state)
{
	static const uint8_t sender[ETH_ALEN] = { 0x0a, 0x42, 0xac, 0x13, 0x00, 0x02 };
	struct frame f = make(ns, sizeof(ns));

	(void)state;
	expect_says(&f, VIP6, other_mac);
	f.bytes[78] = 2;
	f.bytes[6] = 0x0a;
	seal(f.bytes);
	expect_says(&f, VIP6, sender);
}

/* From ::, as in duplicate address detection: it has nothing yet, also not what it asks for. */
static void solicitation_of_nobody(void **state)
{
	struct frame f = make(ns, sizeof(ns));

	(void)state;
	memset(f.bytes + 22, 0, 16);
	f.bytes[77] = 0x50;
	f.bytes[19] = 24;
	f.size = 78;
	seal(f.bytes);
	expect_silent(&f);
}

/* RFC 4861 sections 7.1.1 and 7.1.2, with a checksum that is right. */
static void packets_that_say_nothing(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {
		{ 12, 0x08 }, { 13, 0x00 }, { 14, 0x40 }, { 14, 0x00 }, { 20, 17 }, { 20, 0 },
		{ 21, 254 }, { 21, 64 }, { 21, 0 }, { 54, 133 }, { 54, 134 }, { 54, 137 }, { 54, 128 },
		{ 55, 1 }, { 58, 0x60 }, { 62, 0xff }, { 22, 0xff }, { 19, 23 }, { 19, 0 },
		{ 19, 25 }, { 19, 31 }, { 19, 33 }, { 18, 1 }, { 79, 0 }, { 79, 2 }, { 79, 255 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct frame f = make(na, sizeof(na));

		f.bytes[wrong[i].at] = wrong[i].value;
		if (wrong[i].at != 18)
			seal(f.bytes);
		if (wrong[i].at == 20)		/* the sum has the protocol in it */
			f.bytes[57] = (uint8_t)(f.bytes[57] + 58 - wrong[i].value);
		expect_silent(&f);
	}
}

/* RFC 4861 section 4.6: in any number, known or not; but each must be one. */
static void options(void **state)
{
	static const uint8_t nonce[] = { 14, 1, 1, 2, 3, 4, 5, 6 };
	static const uint8_t second[] = { 2, 1, 0x02, 9, 9, 9, 9, 9 };
	static const uint8_t longer[] = { 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0 };
	struct frame f = make(na, sizeof(na));

	(void)state;
	memcpy(f.bytes + 86, f.bytes + 78, 8);
	memcpy(f.bytes + 78, nonce, 8);
	f.size = 94;
	f.bytes[19] = 40;
	seal(f.bytes);
	expect_says(&f, VIP6, other_mac);
	f.bytes[79] = 0;			/* none of them if one is none */
	seal(f.bytes);
	expect_silent(&f);
	f = make(na, sizeof(na));
	memcpy(f.bytes + 86, second, 8);
	f.size = 94;
	f.bytes[19] = 40;
	seal(f.bytes);
	expect_says(&f, VIP6, other_mac);
	f.bytes[87] = 2;
	seal(f.bytes);
	expect_silent(&f);
	f = make(na, sizeof(na));
	memcpy(f.bytes + 78, longer, 16);	/* of InfiniBand, it may be */
	f.size = 94;
	f.bytes[19] = 40;
	seal(f.bytes);
	expect_silent(&f);
}

/* ---- damage ---- */

static void cut_off_anywhere(void **state)
{
	const struct frame frames[] = { make(arp, sizeof(arp)), make(na, sizeof(na)),
		make(ns, sizeof(ns)) };

	(void)state;
	for (size_t i = 0; i < COUNT(frames); i++) {
		for (size_t size = 0; size < frames[i].size; size++) {
			struct frame f = frames[i];

			f.size = size;
			expect_silent(&f);
		}
	}
}

/* The checksum covers all but the Ethernet header, and the version, class, flow and hop limit. */
static void one_bit_is_wrong(void **state)
{
	const struct frame frames[] = { make(na, sizeof(na)), make(ns, sizeof(ns)) };

	(void)state;
	for (size_t i = 0; i < COUNT(frames); i++) {
		for (size_t bit = 18 * 8; bit < frames[i].size * 8; bit++) {
			struct frame f = frames[i];

			f.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			expect_silent(&f);
		}
	}
}

/* What comes of it is looked at by the sanitizers; the seed is fixed, so that it comes again. */
static void garbage(void **state)
{
	const struct frame frames[] = { make(arp, sizeof(arp)), make(na, sizeof(na)),
		make(ns, sizeof(ns)) };
	struct holder holder;

	(void)state;
	srandom(4861);
	for (unsigned i = 0; i < 300000; i++) {
		struct frame f = frames[i % 3];
		unsigned damage = (unsigned)random() % 8;

		f.size = (unsigned)random() % sizeof(f.bytes);
		while (damage-- > 0)
			f.bytes[(unsigned)random() % sizeof(f.bytes)] = (uint8_t)random();
		if (i % 2 == 0 && f.bytes[18] == 0 && f.bytes[19] <= sizeof(f.bytes) - 54)
			seal(f.bytes);
		if (says(&f, &holder))
			assert_true(holder.ip.family == AF_INET || holder.ip.family == AF_INET6);
	}
}

/* ---- sending ---- */

/* Who announces beside a change says nothing once there has been one, not even the rest. */
static void a_change_silences(void **state)
{
	struct link link = parts_link(us, "eth0");
	struct ip ips[] = { parts_ip(VIP4), parts_ip(VIP6) };
	int fd = lab_socket(us, AF_PACKET, SOCK_RAW, 0);
	int watch = lab_socket(us, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)); /* of what we send, too */
	char frame[128];

	(void)state;
	while (recv(watch, frame, sizeof(frame), MSG_DONTWAIT) >= 0)
		;
	assert_int_equal(arp_announce_unless(fd, watch, &link, &ips[0]), -EAGAIN);
	assert_non_null(lab_capture_wait(eyes, 0, lab_is_arp, VIP4, 500));
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 1);	/* of two */
	for (size_t i = 0; i < COUNT(ips); i++)
		assert_int_equal(arp_announce_unless(fd, watch, &link, &ips[i]), -EAGAIN);
	lab_sleep_ms(50);
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 1);
	assert_int_equal(lab_capture_count(eyes, lab_is_na, VIP6), 0);
	for (size_t i = 0; i < COUNT(ips); i++)
		assert_int_equal(arp_announce_unless(fd, -1, &link, &ips[i]), 0);
	assert_non_null(lab_capture_wait(eyes, 0, lab_is_na, VIP6, 500));
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 3);
	close(watch);
	close(fd);
}

int parts_frame_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_reply_and_request),
		cmocka_unit_test(arp_that_says_nothing),
		cmocka_unit_test(arp_of_nobody),
		cmocka_unit_test(advertisement),
		cmocka_unit_test(advertisement_without_the_option),
		cmocka_unit_test(solicitation),
		cmocka_unit_test(solicitation_of_nobody),
		cmocka_unit_test(packets_that_say_nothing),
		cmocka_unit_test(options),
		cmocka_unit_test(cut_off_anywhere),
		cmocka_unit_test(one_bit_is_wrong),
		cmocka_unit_test(garbage),
		parts_test(a_change_silences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
