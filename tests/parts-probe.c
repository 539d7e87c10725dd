/* SPDX-License-Identifier: MIT */
/*
 * Probes on the wire: every byte of the question, the answers of a real kernel that has not let
 * go, and what must not be taken for an answer.
 */
#include "parts.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 100

static struct lab_host *old;	/* has not let go */
static struct link ours;
static int fd = -1, raw = -1;	/* the probe's, and one of the peer's that sends anything */

static int opened(const struct link *link)
{
	int new_fd = -1, err;

	parts_in(us);
	err = probe_open(link, &new_fd);
	parts_out();
	assert_int_equal(err, 0);
	return new_fd;
}

static int setup(void **state)
{
	netns_setup(state);
	old = lab_host("old", OLD4 "/24", "fd00::9/64", NULL);
	ours = parts_link(us, "eth0");
	fd = opened(&ours);
	raw = lab_socket(peer, AF_PACKET, SOCK_RAW, 0);
	return 0;
}

static int teardown(void **state)
{
	close(fd);
	close(raw);
	lab_host_free(old);
	return parts_teardown(state);
}

static void add_vips(struct lab_host *h)
{
	lab_must(h, "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
}

static void ask(const char *address)
{
	struct ip ip = parts_ip(address);

	assert_int_equal(probe_send(fd, &ours, &ip), 0);
}

/* The next holder of either VIP that is heard within MS. */
static bool hear(struct holder *holder, int ms)
{
	const struct ip ips[] = { parts_ip("10.0.0.77"), parts_ip(VIP4), parts_ip(VIP6) };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	double end = clock_ms() + ms;

	for (;;) {
		int n = probe_hear(fd, &ours, ips, COUNT(ips), holder);

		assert_in_range(n, 0, 1);
		if (n == 1 || clock_ms() >= end)
			return n == 1;
		poll(&p, 1, clock_left(end));
	}
}

#define expect_heard(address, mac, ms) heard_is(__FILE__, __LINE__, address, mac, ms)
static void heard_is(const char *file, int line, const char *address, const unsigned char *mac,
		     int ms)
{
	struct ip ip = parts_ip(address);
	struct holder holder;

	if (!hear(&holder, ms) || !ip_equal(&holder.ip, &ip) ||
	    memcmp(holder.mac, mac, ETH_ALEN) != 0) {
		print_error("nobody, or somebody else, has %s\n", address);
		_fail(file, line);
	}
}

#define expect_silence_of_holders(ms) holders_silent(__FILE__, __LINE__, ms)
static void holders_silent(const char *file, int line, int ms)
{
	struct holder holder;

	if (hear(&holder, ms)) {
		print_error("%02x:..:%02x was heard\n", holder.mac[0], holder.mac[5]);
		_fail(file, line);
	}
}

/* Sends a frame as it is from the peer. */
static void inject(const void *frame, size_t size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };

	parts_in(peer);
	to.sll_ifindex = (int)if_nametoindex("eth0");
	parts_out();
	if (sendto(raw, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
		lab_fail("sendto: %m");
}

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
	memcpy(want + 6, ours.mac, 6);
	memcpy(want + 22, ours.mac, 6);
	ask(VIP4);
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
	memcpy(ours.mac, want + 6, 6);
	ask("fd00::1234:5678");
	golden(lab_capture_wait(eyes, 0, is_probe6, NULL, 100), want, sizeof(want));
}

/* ---- a stale holder ---- */

static void stale_holder(void **state)
{
	unsigned char mac[6];
	size_t learned;

	(void)state;
	add_vips(us);
	add_vips(old);
	assert_true(lab_mac(old, "eth0", mac));
	for (unsigned i = 0; i < 3; i++) {
		ask(VIP4);
		expect_heard(VIP4, mac, ANSWER_MS);
		ask(VIP6);
		expect_heard(VIP6, mac, ANSWER_MS);
	}
	expect_silence_of_holders(ANSWER_MS);
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
	ask(VIP4);
	expect_heard(VIP4, mac, ANSWER_MS);
	ask(VIP6);
	expect_heard(VIP6, mac, ANSWER_MS);
}

/* Two of them, each is told; once they have let go there is silence. */
static void stale_holders(void **state)
{
	unsigned char macs[2][6];
	struct holder holder;
	bool seen[2] = { false };

	(void)state;
	add_vips(us);
	add_vips(old);
	add_vips(peer);
	assert_true(lab_mac(old, "eth0", macs[0]) && lab_mac(peer, "eth0", macs[1]));
	ask(VIP4);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(hear(&holder, ANSWER_MS));
		seen[memcmp(holder.mac, macs[0], 6) == 0 ? 0 : 1] = true;
	}
	assert_true(seen[0] && seen[1]);
	lab_must(old, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	lab_must(peer, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	ask(VIP4);
	ask(VIP6);
	expect_silence_of_holders(ANSWER_MS);
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
	add_vips(old);
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

/* ---- ourselves ---- */

static void nobody_but_us(void **state)
{
	const struct ip vip4 = parts_ip(VIP4), vip6 = parts_ip(VIP6);

	(void)state;
	add_vips(us);
	ask(VIP4);
	ask(VIP6);
	parts_in(us);
	assert_int_equal(arp_announce(fd, &ours, &vip4), 0);
	assert_int_equal(arp_announce(fd, &ours, &vip6), 0);
	parts_out();
	lab_poke(peer, VIP4);		/* and our kernel answers it */
	lab_poke(peer, VIP6);
	expect_silence_of_holders(2 * ANSWER_MS);
}

static bool answers(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ANSWER_MS) == 1;
}

/* Our own frames do not even come here, nor what our kernel says for itself. */
static void own_frames_stay_out(void **state)
{
	const struct ip vip4 = parts_ip(VIP4), vip6 = parts_ip(VIP6);

	(void)state;
	add_vips(us);
	ask(VIP4);
	ask(VIP6);
	assert_int_equal(arp_announce(fd, &ours, &vip4), 0);
	assert_int_equal(arp_announce(fd, &ours, &vip6), 0);
	assert_false(answers());
}

/* A switch that sends them back, or our own MAC in somebody's hands: it is ours. */
static void own_mac_is_never_told(void **state)
{
	struct arp_frame reply;
	struct na_frame na;

	(void)state;
	arp_build_reply(ours.mac, parts_ip(VIP4).in, &reply);
	inject(&reply, sizeof(reply));
	arp_build_advertisement(ours.mac, &(struct in6_addr){ .s6_addr = { 0xfd, [14] = 0x02, 0x50 } },
				&na);
	inject(&na, sizeof(na));
	assert_true(answers());
	expect_silence_of_holders(ANSWER_MS);
}

/* ---- what is none of our business ---- */

static const uint8_t stranger[ETH_ALEN] = { 0x02, 0x42, 0xac, 0x13, 0x00, 0x02 };

static void other_addresses(void **state)
{
	struct arp_frame reply;

	(void)state;
	arp_build_reply(stranger, parts_ip("10.0.0.251").in, &reply);
	inject(&reply, sizeof(reply));
	ask(PEER4);			/* answered, but not on our list */
	ask(PEER6);
	assert_true(answers());
	expect_silence_of_holders(ANSWER_MS);
}

static void garbage_between(void **state)
{
	unsigned char frame[1514];
	struct arp_frame reply;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		for (size_t j = 0; j < sizeof(frame); j++)
			frame[j] = (unsigned char)(i * 31 + j * 7);
		memset(frame, 0xff, 6);
		frame[12] = i % 2 == 0 ? 0x08 : 0x86;
		frame[13] = i % 2 == 0 ? 0x06 : 0xdd;
		if (i % 2 == 1) {
			frame[20] = 58;
			frame[54] = (unsigned char)(135 + i / 2 % 2);
		}
		inject(frame, 14 + i * 7);
	}
	expect_silence_of_holders(0);
	arp_build_reply(stranger, parts_ip(VIP4).in, &reply);
	inject(&reply, sizeof(reply));
	expect_heard(VIP4, stranger, ANSWER_MS);
}

/* The filter lets through nothing but what may be an answer. */
static void traffic_stays_out(void **state)
{
	static const unsigned char echo[62] = { 0x33, 0x33, 0, 0, 0, 1, [12] = 0x86, 0xdd, 0x60,
		[19] = 8, 58, 255, [54] = 128 };
	int listener = parts_listener(us, "*", PORT);
	struct pair pair = parts_pair(peer, listener, OUR4, PORT);
	struct holder holder;

	(void)state;
	while (answers())
		hear(&holder, 0);	/* the peer has asked where we are */
	for (unsigned i = 0; i < 20; i++)
		assert_true(parts_alive(&pair));
	inject(echo, sizeof(echo));
	inject(echo, 14);
	lab_must(peer, "echo x > /dev/udp/" OUR4 "/9 2>/dev/null || true");
	assert_false(answers());
	parts_close(&pair);
	close(listener);
}

/* The same address in another VLAN on the cable is another host's, and no conflict. */
static void other_vlans_stay_out(void **state)
{
	struct {
		uint8_t macs[12];
		uint16_t tpid, tci;
		uint8_t rest[30];
	} __attribute__((packed)) tagged;
	struct arp_frame reply;

	(void)state;
	arp_build_reply(stranger, parts_ip(VIP4).in, &reply);
	memcpy(tagged.macs, &reply, 12);
	memcpy(tagged.rest, (const uint8_t *)&reply + 12, 30);
	tagged.tpid = htons(ETH_P_8021Q);
	tagged.tci = htons(10);
	inject(&tagged, sizeof(tagged));
	tagged.tci = htons(0xe000 | 4094);
	inject(&tagged, sizeof(tagged));
	expect_silence_of_holders(ANSWER_MS);
	tagged.tci = htons(0xe000);	/* IEEE 802.1Q: VLAN 0 is none, it only has a priority */
	inject(&tagged, sizeof(tagged));
	expect_heard(VIP4, stranger, ANSWER_MS);
}

/* Another host that only asks whether it may have the VIP does not have it. */
static void other_probes(void **state)
{
	struct link theirs = parts_link(peer, "eth0");
	const struct ip vips[] = { parts_ip(VIP4), parts_ip(VIP6) };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(probe_send(raw, &theirs, &vips[i]), 0);
	expect_silence_of_holders(ANSWER_MS);
}

/* ---- the link, the caller ---- */

static void link_goes_down_and_up(void **state)
{
	unsigned char mac[6];
	struct ip vip = parts_ip(VIP4);

	(void)state;
	add_vips(old);
	assert_true(lab_mac(old, "eth0", mac));
	lab_must(us, "ip link set eth0 down");
	assert_int_equal(probe_send(fd, &ours, &vip), -ENETDOWN);
	expect_silence_of_holders(10);
	lab_must(us, "ip link set eth0 up");
	assert_true(LAB_UNTIL((ask(VIP4), answers()), 2000));
	expect_heard(VIP4, mac, ANSWER_MS);
}

/* Each call ends, whatever keeps coming. */
static void a_storm(void **state)
{
	const struct ip vip = parts_ip(VIP4);
	struct arp_frame reply;
	int size = 8 << 20;
	struct holder holder;
	unsigned calls = 0;

	(void)state;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	arp_build_reply(stranger, parts_ip("10.0.0.66").in, &reply);
	for (unsigned i = 0; i < 1000; i++)
		inject(&reply, sizeof(reply));
	while (answers()) {
		assert_int_equal(probe_hear(fd, &ours, &vip, 1, &holder), 0);
		calls++;
	}
	assert_in_range(calls, 2, 10);
}

static int as_nobody(void *arg)
{
	int mine = -1;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	return probe_open(arg, &mine) == -EPERM && mine == -1 ? 0 : 2;
}

static void who_may_not(void **state)
{
	struct link none = { .ifindex = 4711 };
	int mine = -1, err;

	(void)state;
	assert_int_equal(lab_call(us, NULL, 2000, as_nobody, &ours), 0);
	parts_in(us);
	err = probe_open(&none, &mine);
	parts_out();
	assert_int_equal(err, -ENODEV);
	assert_int_equal(mine, -1);
}

/* It stands in a failover's way: the bind must not wait for the kernel's grace period. */
static void opening_takes_no_time(void **state)
{
	double best = 1000;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		double begun = clock_ms(), took;
		int other = opened(&ours);

		took = clock_ms() - begun;
		best = took < best ? took : best;
		close(other);
	}
	assert_true(best < 2);
}

#define probe_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int parts_probe_tests(void)
{
	const struct CMUnitTest tests[] = {
		probe_test(every_byte_of_arp), probe_test(every_byte_of_solicitation),
		probe_test(stale_holder), probe_test(stale_holder_elsewhere),
		probe_test(stale_holders), probe_test(stale_holder_speaks),
		probe_test(nobody_but_us), probe_test(own_frames_stay_out),
		probe_test(own_mac_is_never_told), probe_test(other_addresses),
		probe_test(garbage_between), probe_test(traffic_stays_out),
		probe_test(other_vlans_stay_out), probe_test(other_probes),
		probe_test(link_goes_down_and_up), probe_test(a_storm), probe_test(who_may_not),
		probe_test(opening_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
