/* SPDX-License-Identifier: MIT */
/*
 * What leaves on the wire, as the peer sees it: every byte of each form, when the repeats leave,
 * and who believes them.
 */
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>

#define SLACK_MS 150 /* a busy machine is late, never early */

/* ---- every byte ---- */

static void golden(const struct lab_frame *f, const unsigned char *want, size_t size)
{
	assert_non_null(f);
	assert_true(f->len >= size && f->len <= LAB_SNAP);
	assert_memory_equal(f->data, want, size);
	for (size_t i = size; i < f->len; i++)
		assert_int_equal(f->data[i], 0); /* padding tells nothing */
}

/* RFC 826; RFC 5227 section 1.1 for what an announcement is. */
static void arp_is(const struct lab_frame *f, unsigned char operation, const unsigned char mac[6],
		   const unsigned char target[6])
{
	/* clang-format off */
	unsigned char want[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, operation,
		0, 0, 0, 0, 0, 0, 10, 0, 0, 250, 0, 0, 0, 0, 0, 0, 10, 0, 0, 250,
	};
	/* clang-format on */

	memcpy(want + 6, mac, 6);
	memcpy(want + 22, mac, 6);
	memcpy(want + 32, target, 6);
	golden(f, want, sizeof want);
}

/* RFC 8200 section 8.1, over what was captured: the sum with the checksum in it is all ones. */
static unsigned sum_icmpv6(const unsigned char *packet, size_t size)
{
	unsigned long sum = (unsigned long)size + 58;

	for (size_t i = 8; i < 40 + size; i += 2) /* from the addresses on */
		sum += (unsigned long)packet[i] << 8 | packet[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned)sum;
}

/* RFC 4861 sections 4.4, 7.1.2 and 7.2.6. */
static void na_is(const struct lab_frame *f, const unsigned char mac[6])
{
	/* clang-format off */
	unsigned char want[86] = {
		0x33, 0x33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 32, 58, 255,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x50,
		0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		136, 0, 0, 0, 0x20, 0, 0, 0,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x50,
		2, 1, 0, 0, 0, 0, 0, 0,
	};
	/* clang-format on */

	assert_non_null(f);
	memcpy(want + 6, mac, 6);
	memcpy(want + 80, mac, 6);
	memcpy(want + 56, f->data + 56, 2);
	golden(f, want, sizeof want);
	assert_int_equal(sum_icmpv6(f->data + 14, 32), 0xffff);
}

static void every_byte(void **state)
{
	static const unsigned char nobody[6];
	const struct lab_frame *f;
	unsigned char mac[6];

	(void)state;
	assert_true(lab_mac(us, "eth0", mac));
	sentinel(OUR4);
	expect(0, "claimed");
	f = lab_capture_wait(eyes, 0, lab_is_arp, VIP4, 500);
	arp_is(f, 1, mac, nobody);
	f = lab_capture_wait(eyes, (size_t)(f - eyes->frames) + 1, lab_is_arp, VIP4, 500);
	arp_is(f, 2, mac, mac);
	na_is(lab_capture_wait(eyes, 0, lab_is_na, VIP6, 500), mac);
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 2);
	assert_int_equal(lab_capture_count(eyes, lab_is_na, VIP6), 1);
}

static const unsigned char new_mac[6] = {2, 0, 0, 0, 0xbe, 0xef};

static bool is_new_arp(const struct lab_frame *f, const void *address)
{
	return lab_is_arp(f, address) && !memcmp(f->data + 6, new_mac, 6);
}

static bool is_new_na(const struct lab_frame *f, const void *address)
{
	return lab_is_na(f, address) && !memcmp(f->data + 6, new_mac, 6);
}

/* The repeats are the same frames; with the MAC that the interface has by then. */
static void repeats_have_the_new_mac(void **state)
{
	static const unsigned char nobody[6];
	const struct lab_frame *f;

	(void)state;
	lab_config(us, "announce = 0.3 1.2\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_must(us, "ip link set eth0 address 02:00:00:00:be:ef");
	f = lab_capture_wait(eyes, 0, is_new_arp, VIP4, 1000);
	arp_is(f, 1, new_mac, nobody);
	f = lab_capture_wait(eyes, (size_t)(f - eyes->frames) + 1, lab_is_arp, VIP4, 500);
	arp_is(f, 2, new_mac, new_mac);
	na_is(lab_capture_wait(eyes, 0, is_new_na, VIP6, 1500), new_mac);
}

/* ---- when ---- */

static void times_are(bool (*want)(const struct lab_frame *, const void *), const char *address,
		      const int *ms, size_t n)
{
	int64_t t0 = 0;
	size_t seen = 0;

	for (size_t i = 0; i < eyes->n; i++) {
		const struct lab_frame *f = &eyes->frames[i];
		int at;

		if (!want(f, address))
			continue;
		t0 = seen ? t0 : f->ns;
		at = (int)((f->ns - t0) / 1000000);
		if (seen >= n || at < ms[seen] - 10 || at > ms[seen] + SLACK_MS)
			fail_msg("announcement %zu of %s after %d ms, expected %d", seen + 1,
				 address, at, seen < n ? ms[seen] : -1);
		seen++;
	}
	if (seen != n)
		fail_msg("%zu announcements of %s, expected %zu", seen, address, n);
}

#define expect_times(want, address, ...)                                                           \
	times_are(want, address, (const int[]){__VA_ARGS__},                                       \
		  sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* The program has long ended when the last repeat leaves, and then its child ends as well. */
static void schedule_by_default(void **state)
{
	(void)state;
	lab_config(us, CONFIG_BOTH "vip = 10.0.0.251\nvip = fd00::251\n");
	sentinel(OUR4);
	assert_true(lab_took_at_most(&r, 1000));
	expect(0, "claimed");
	assert_int_equal(lab_host_processes(us, NULL), 1);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 6000));
	lab_capture_read(eyes);
	expect_times(lab_is_arp, VIP4, 0, 0, 200, 200, 1100, 1100, 2200, 2200, 5000, 5000);
	expect_times(lab_is_arp, "10.0.0.251", 0, 0, 200, 200, 1100, 1100, 2200, 2200, 5000, 5000);
	expect_times(lab_is_na, VIP6, 0, 1100, 2200);
	expect_times(lab_is_na, "fd00::251", 0, 1100, 2200);
	assert_true(lab_has_addr(us, "eth0", VIP4 "/32"));
}

static void schedule_by_config(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.1 0.3 0.75\n" CONFIG_BOTH
		       "[other]\nvip = 10.0.0.77\nannounce = 0.5\n");
	sentinel(OUR4);
	expect(0, "claimed");
	vip("claim", "other");
	expect(0, "claimed");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 2000));
	lab_capture_read(eyes);
	expect_times(lab_is_arp, VIP4, 0, 0, 100, 100, 300, 300, 750, 750);
	expect_times(lab_is_arp, "10.0.0.77", 0, 0, 500, 500);
	expect_times(lab_is_na, VIP6, 0);
}

static void schedule_none(void **state)
{
	(void)state;
	lab_config(us, "announce = none\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	/* it looks for stranded connections, and says nothing */
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
	lab_capture_read(eyes);
	expect_times(lab_is_arp, VIP4, 0, 0);
	expect_times(lab_is_na, VIP6, 0);
	/* of what stood there is not even that */
	sentinel(OUR4);
	expect(0, "announced");
	assert_int_equal(lab_host_processes(us, NULL), 0);
}

/* A second call starts anew; the first one's child gives way, so no repeat comes twice. */
static void schedule_of_a_second_call(void **state)
{
	size_t n;

	(void)state;
	lab_config(us, "announce = 0.4 0.8\n" CONFIG4);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(200);
	lab_capture_read(eyes);
	n = lab_capture_count(eyes, lab_is_arp, VIP4);
	assert_int_equal(n, 2);
	sentinel(OUR4);
	expect(0, "announced");
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 2000));
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 2 + 6);
}

/* ---- who believes it ---- */

/* The peer has just learned of another holder, so its locktime (1 s) is running. */
static void peer_follows_at_once(void **state)
{
	const char *const vips[] = {VIP4, VIP6};
	struct lab_host *old = lab_host("old", OLD4 "/24", "fd00::9/64", (const char *)NULL);
	unsigned char ours[6], olds[6], mac[6];

	(void)state;
	assert_true(lab_mac(us, "eth0", ours) && lab_mac(old, "eth0", olds));
	for (int turn = 0; turn < 3; turn++) {
		lab_must(old, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6
			      "/128 dev eth0 nodad");
		lab_must(peer, "ip neigh flush dev eth0");
		for (size_t i = 0; i < 2; i++) {
			lab_poke(peer, vips[i]);
			assert_true(LAB_UNTIL(lab_neigh_mac(peer, vips[i], mac), 1000));
			assert_memory_equal(mac, olds, 6);
		}
		lab_must(old,
			 "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
		sentinel(OUR4);
		expect(0, "claimed");
		for (size_t i = 0; i < 2; i++)
			assert_true(LAB_UNTIL(
				lab_neigh_mac(peer, vips[i], mac) && !memcmp(mac, ours, 6), 100));
		sentinel(PEER4);
		expect(0, "released");
	}
	lab_host_free(old);
}

int netns_wire_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(every_byte),           netns_test(repeats_have_the_new_mac),
		netns_test(schedule_by_default),  netns_test(schedule_by_config),
		netns_test(schedule_none),        netns_test(schedule_of_a_second_call),
		netns_test(peer_follows_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
