/* SPDX-License-Identifier: MIT */
/* Probes on the wire: every byte of the question, and the answers of a kernel that has not let go. */
#include "parts.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- every byte of the question ---- */

static bool is_probe4(const struct lab_frame *f, const void *unused)
{
	(void)unused;
	return f->data[12] == 0x08 && f->data[13] == 0x06 && !memcmp(f->data + 38, "\x0a\0\0\xfa", 4);
}

static bool is_probe6(const struct lab_frame *f, const void *unused)
{
	(void)unused;
	return f->data[12] == 0x86 && f->data[13] == 0xdd && f->data[54] == 135;
}

/* Nothing but zeros may follow: padding tells nothing. */
static void golden(const struct lab_frame *f, const unsigned char *want, size_t size)
{
	assert_non_null(f);
	assert_true(f->len >= size && f->len <= LAB_SNAP);
	assert_memory_equal(f->data, want, size);
	for (size_t i = size; i < f->len; i++)
		assert_int_equal(f->data[i], 0);
}

static void every_byte_of_arp(void **state)
{
	/* clang-format off */
	unsigned char want[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 1,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 10, 0, 0, 250,
	};
	/* clang-format on */

	(void)state;
	memcpy(want + 6, ear_link.mac, 6);
	memcpy(want + 22, ear_link.mac, 6);
	ear_ask(VIP4);
	golden(lab_capture_wait(eyes, 0, is_probe4, NULL, 100), want, sizeof(want));
}

static void every_byte_of_solicitation(void **state)
{
	/* clang-format off */
	unsigned char want[78] = {
		0x33, 0x33, 0xff, 0x34, 0x56, 0x78, 0x02, 0, 0, 0, 0xbe, 0xef, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 24, 58, 255,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x34, 0x56, 0x78,
		135, 0, 0xbe, 0x4e, 0, 0, 0, 0,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78,
	};
	/* clang-format on */

	(void)state;
	memcpy(ear_link.mac, want + 6, 6);
	ear_ask("fd00::1234:5678");
	golden(lab_capture_wait(eyes, 0, is_probe6, NULL, 100), want, sizeof(want));
}

/* ---- a stale holder ---- */

static void stale_holder(void **state)
{
	unsigned char mac[6];
	size_t learned;

	(void)state;
	parts_hold_vips(us);
	parts_hold_vips(old);
	assert_true(lab_mac(old, "eth0", mac));
	for (unsigned i = 0; i < 3; i++) {
		ear_ask(VIP4);
		expect_heard(VIP4, mac, ANSWER_MS);
		ear_ask(VIP6);
		expect_heard(VIP6, mac, ANSWER_MS);
	}
	expect_unheard(ANSWER_MS);
	/* asking has taught nobody anything */
	learned = (size_t)lab_sh(peer, NULL, "ip neigh | grep -q -e '" VIP4 "' -e '" VIP6 "'");
	assert_int_equal(learned, 1);
}

/* As a planned failover leaves it: deprecated on the old master, on any interface. */
static void stale_holder_elsewhere(void **state)
{
	unsigned char mac[6];

	(void)state;
	lab_must(old, "ip addr add " VIP4 "/24 dev lo && "
		      "ip addr add " VIP6 "/64 dev eth0 nodad preferred_lft 0");
	assert_true(lab_mac(old, "eth0", mac));
	ear_ask(VIP4);
	expect_heard(VIP4, mac, ANSWER_MS);
	ear_ask(VIP6);
	expect_heard(VIP6, mac, ANSWER_MS);
}

/* Two of them, each is told; once they have let go there is silence. */
static void stale_holders(void **state)
{
	unsigned char macs[2][6];
	struct holder holder;
	bool seen[2] = { false };

	(void)state;
	parts_hold_vips(us);
	parts_hold_vips(old);
	parts_hold_vips(peer);
	assert_true(lab_mac(old, "eth0", macs[0]) && lab_mac(peer, "eth0", macs[1]));
	ear_ask(VIP4);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(ear_hear(&holder, ANSWER_MS));
		seen[memcmp(holder.mac, macs[0], 6) == 0 ? 0 : 1] = true;
	}
	assert_true(seen[0] && seen[1]);
	lab_must(old, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	lab_must(peer, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	ear_ask(VIP4);
	ear_ask(VIP6);
	expect_unheard(ANSWER_MS);
}

/* Without being asked: it announces, asks for somebody, or looks for somebody from the VIP. */
static void stale_holder_speaks(void **state)
{
	struct sockaddr_in6 vip = { .sin6_family = AF_INET6, .sin6_addr = parts_ip(VIP6).in6 };
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = parts_ip(OUR6).in6,
		.sin6_port = htons(9) };
	int from = lab_socket(old, AF_INET6, SOCK_DGRAM, 0);
	unsigned char mac[6];

	(void)state;
	parts_hold_vips(old);
	assert_true(lab_mac(old, "eth0", mac));
	lab_must(old, "arping -q -c 1 -A -I eth0 " VIP4);
	expect_heard(VIP4, mac, ANSWER_MS);
	lab_sh(old, NULL, "arping -q -c 1 -w 1 -s " VIP4 " -I eth0 10.0.0.99");
	expect_heard(VIP4, mac, ANSWER_MS);
	assert_int_equal(bind(from, (struct sockaddr *)&vip, sizeof(vip)), 0);
	assert_int_equal(sendto(from, "", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	expect_heard(VIP6, mac, ANSWER_MS);
	close(from);
}

int parts_probe_tests(void)
{
	const struct CMUnitTest tests[] = {
		ear_test(every_byte_of_arp),
		ear_test(every_byte_of_solicitation),
		ear_test(stale_holder),
		ear_test(stale_holder_elsewhere),
		ear_test(stale_holders),
		ear_test(stale_holder_speaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
