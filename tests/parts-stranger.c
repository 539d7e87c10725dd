/* SPDX-License-Identifier: MIT */
/* What must not be taken for another holder, and a probe in a link's and a caller's trouble. */
#include "parts.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- ourselves ---- */

static void nobody_but_us(void **state)
{
	const struct ip vip4 = parts_ip(VIP4), vip6 = parts_ip(VIP6);

	(void)state;
	parts_hold_vips(us);
	ear_ask(VIP4);
	ear_ask(VIP6);
	parts_in(us);
	assert_int_equal(arp_announce(ear, &ear_link, &vip4), 0);
	assert_int_equal(arp_announce(ear, &ear_link, &vip6), 0);
	parts_out();
	lab_poke(peer, VIP4);		/* and our kernel answers it */
	lab_poke(peer, VIP6);
	expect_unheard(2 * ANSWER_MS);
}

/* Nothing that this host sends comes here, from whichever socket. */
static void own_frames_stay_out(void **state)
{
	const struct ip vips[] = { parts_ip(VIP4), parts_ip(VIP6) };
	int fds[] = { ear, lab_socket(us, AF_PACKET, SOCK_RAW, 0) };

	(void)state;
	parts_hold_vips(us);
	for (int ignored = 1; ignored >= 0; ignored--) {	/* by newer kernels; then the filter's turn */
		assert_int_equal(setsockopt(ear, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignored,
					    sizeof(ignored)), 0);
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(probe_send(fds[i / 2], &ear_link, &vips[i % 2]), 0);
			assert_int_equal(arp_announce(fds[i / 2], &ear_link, &vips[i % 2]), 0);
		}
		assert_false(ear_rings());
	}
	close(fds[1]);
}

/* A switch that sends them back, or our own MAC in somebody's hands: it is ear_link. */
static void own_mac_is_never_told(void **state)
{
	struct arp_frame reply;
	struct na_frame na;

	(void)state;
	arp_build_reply(ear_link.mac, parts_ip(VIP4).in, &reply);
	ear_inject(&reply, sizeof(reply));
	arp_build_advertisement(ear_link.mac, &(struct in6_addr){ .s6_addr = { 0xfd, [14] = 0x02, 0x50 } },
				&na);
	ear_inject(&na, sizeof(na));
	assert_true(ear_rings());
	expect_unheard(ANSWER_MS);
}

/* ---- what is none of our business ---- */

static const uint8_t stranger[ETH_ALEN] = { 0x02, 0x42, 0xac, 0x13, 0x00, 0x02 };

static void other_addresses(void **state)
{
	struct arp_frame reply;

	(void)state;
	arp_build_reply(stranger, parts_ip("10.0.0.251").in, &reply);
	ear_inject(&reply, sizeof(reply));
	ear_ask(PEER4);			/* answered, but not on our list */
	ear_ask(PEER6);
	assert_true(ear_rings());
	expect_unheard(ANSWER_MS);
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
		frame[6] = 0x02;	/* or the switch would drop it */
		frame[12] = i % 2 == 0 ? 0x08 : 0x86;
		frame[13] = i % 2 == 0 ? 0x06 : 0xdd;
		if (i % 2 == 1) {
			frame[20] = 58;
			frame[54] = (unsigned char)(135 + i / 2 % 2);
		}
		ear_inject(frame, 14 + i * 7);
	}
	expect_unheard(0);
	arp_build_reply(stranger, parts_ip(VIP4).in, &reply);
	ear_inject(&reply, sizeof(reply));
	expect_heard(VIP4, stranger, ANSWER_MS);
}

/* The filter lets through nothing but what may be an answer. */
static void traffic_stays_out(void **state)
{
	/* each differs in one place from what may be an answer */
	static const struct {
		size_t at;
		unsigned char value;
	} other[] = { { 54, 128 }, { 54, 134 }, { 54, 137 }, { 20, 17 }, { 13, 0xde }, { 12, 0x08 } };
	unsigned char frame[62] = { 0x33, 0x33, 0, 0, 0, 1, 2, [12] = 0x86, 0xdd, 0x60,
		[19] = 8, 58, 255, [54] = 136 };
	int listener = parts_listener(us, "*", PORT);
	struct pair pair = parts_pair(peer, listener, OUR4, PORT);
	struct holder holder;

	(void)state;
	while (ear_rings())
		ear_hear(&holder, 0);	/* the peer has asked where we are */
	for (unsigned i = 0; i < 20; i++)
		assert_true(parts_alive(&pair));
	for (size_t i = 0; i < COUNT(other); i++) {
		unsigned char was = frame[other[i].at];

		frame[other[i].at] = other[i].value;
		ear_inject(frame, sizeof(frame));
		frame[other[i].at] = was;
	}
	ear_inject(frame, 14);
	ear_inject(frame, 54);
	assert_false(ear_rings());
	ear_inject(frame, sizeof(frame));
	assert_true(ear_rings());
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
	ear_inject(&tagged, sizeof(tagged));
	tagged.tci = htons(0xe000 | 4094);
	ear_inject(&tagged, sizeof(tagged));
	expect_unheard(ANSWER_MS);
	tagged.tci = htons(0xe000);	/* IEEE 802.1Q: VLAN 0 is none, it only has a priority */
	ear_inject(&tagged, sizeof(tagged));
	expect_heard(VIP4, stranger, ANSWER_MS);
}

/* Another host that only asks whether it may have the VIP does not have it. */
static void other_probes(void **state)
{
	struct link theirs = parts_link(peer, "eth0");
	const struct ip vips[] = { parts_ip(VIP4), parts_ip(VIP6) };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(probe_send(mouth, &theirs, &vips[i]), 0);
	expect_unheard(ANSWER_MS);
}

/* ---- the link, the caller ---- */

static void link_goes_down_and_up(void **state)
{
	unsigned char mac[6];
	struct ip vip = parts_ip(VIP4);

	(void)state;
	parts_hold_vips(old);
	assert_true(lab_mac(old, "eth0", mac));
	lab_must(us, "ip link set eth0 down");
	assert_int_equal(probe_send(ear, &ear_link, &vip), -ENETDOWN);
	expect_unheard(10);
	lab_must(us, "ip link set eth0 up");
	assert_true(LAB_UNTIL((ear_ask(VIP4), ear_rings()), 2000));
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
	assert_int_equal(setsockopt(ear, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	arp_build_reply(stranger, parts_ip("10.0.0.66").in, &reply);
	for (unsigned i = 0; i < 1000; i++)
		ear_inject(&reply, sizeof(reply));
	while (ear_rings()) {
		assert_int_equal(probe_hear(ear, &ear_link, &vip, 1, &holder), 0);
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
	assert_int_equal(lab_call(us, NULL, 2000, as_nobody, &ear_link), 0);
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
		int other = ear_open(&ear_link);

		took = clock_ms() - begun;
		best = took < best ? took : best;
		close(other);
	}
	assert_true(best < 2);
}

int parts_stranger_tests(void)
{
	const struct CMUnitTest tests[] = {
		ear_test(nobody_but_us),
		ear_test(own_frames_stay_out),
		ear_test(own_mac_is_never_told),
		ear_test(other_addresses),
		ear_test(garbage_between),
		ear_test(traffic_stays_out),
		ear_test(other_vlans_stay_out),
		ear_test(other_probes),
		ear_test(link_goes_down_and_up),
		ear_test(a_storm),
		ear_test(who_may_not),
		ear_test(opening_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
