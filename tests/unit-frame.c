/* SPDX-License-Identifier: MIT */
/*
 * The announcements, byte by byte as the RFCs want them, and their sending with a
 * sendto() that keeps or refuses them.
 */
#include "unit.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mac[ETH_ALEN] = { 0x02, 0x42, 0xac, 0x10, 0x02, 0xfe };

/* VIP 172.16.2.250 = ac 10 02 fa */
static const uint8_t golden_request[42] = {
	/* RFC 894: to all, from us, EtherType 0x0806 (RFC 826, "Definitions") */
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0x08, 0x06,
	/* RFC 826 "Packet format": Ethernet, IPv4, sizes, opcode ares_op$REQUEST */
	0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
	/* RFC 5227 section 2.3: sender hardware address ours, sender IP = the VIP */
	0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0xac, 0x10, 0x02, 0xfa,
	/* RFC 5227 sections 2.1.1, 2.3: target hardware address all zero, target IP = the VIP */
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xac, 0x10, 0x02, 0xfa,
};

static const uint8_t golden_reply[42] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0x08, 0x06,
	/* RFC 826: ares_op$REPLY; RFC 5944 section 4.6 allows it as gratuitous ARP */
	0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
	0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0xac, 0x10, 0x02, 0xfa,
	/* RFC 5944 section 4.6: the same hardware address in the target's place */
	0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0xac, 0x10, 0x02, 0xfa,
};

/* VIP fd00::250; the checksum was computed by another program */
static const uint8_t golden_na[86] = {
	/* RFC 2464 section 7: 33:33 and the last four octets of ff02::1; section 3: 0x86dd */
	0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x42, 0xac, 0x10, 0x02, 0xfe, 0x86, 0xdd,
	/* RFC 8200 section 3: version 6, payload 32, ICMPv6 (58) */
	/* RFC 4861 section 7.1.2: hop limit 255 */
	0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
	/* RFC 4861 section 4.4: source, an address of the sending interface: the VIP */
	0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x50,
	/* RFC 4861 section 7.2.6: to the all-nodes multicast address */
	0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
	/* RFC 4861 section 4.4: type 136, code 0, checksum; R and S clear, O set */
	0x88, 0x00, 0xa6, 0xad, 0x20, 0x00, 0x00, 0x00,
	/* target address: the VIP */
	0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x50,
	/* RFC 4861 section 4.6.1: target link-layer address (2), one unit of 8 octets */
	0x02, 0x01, 0x02, 0x42, 0xac, 0x10, 0x02, 0xfe,
};

static void expect_bytes(const void *is, const uint8_t *golden, size_t size)
{
	const uint8_t *bytes = is;

	for (size_t i = 0; i < size; i++)
		if (bytes[i] != golden[i])
			fail_msg("byte %zu is 0x%02x instead of 0x%02x", i, bytes[i], golden[i]);
}

static void sizes_are_those_of_the_wire(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct arp_frame), sizeof(golden_request));
	assert_int_equal(sizeof(struct na_frame), sizeof(golden_na));
	assert_int_equal(offsetof(struct arp_frame, operation), 20);
	assert_int_equal(offsetof(struct arp_frame, target_ip), 38);
	assert_int_equal(offsetof(struct na_frame, hop_limit), 21);
	assert_int_equal(offsetof(struct na_frame, checksum), 56);
	assert_int_equal(offsetof(struct na_frame, option_mac), 80);
}

static void the_request_is_this(void **state)
{
	struct ip vip = unit_ip("172.16.2.250");
	struct arp_frame frame;

	(void)state;
	memset(&frame, 0xa5, sizeof(frame));
	arp_build_request(mac, vip.in, &frame);
	expect_bytes(&frame, golden_request, sizeof(golden_request));
}

static void the_reply_is_this(void **state)
{
	struct ip vip = unit_ip("172.16.2.250");
	struct arp_frame frame;

	(void)state;
	memset(&frame, 0xa5, sizeof(frame));
	arp_build_reply(mac, vip.in, &frame);
	expect_bytes(&frame, golden_reply, sizeof(golden_reply));
}

static void the_advertisement_is_this(void **state)
{
	struct ip vip = unit_ip("fd00::250");
	struct na_frame frame;

	(void)state;
	memset(&frame, 0xa5, sizeof(frame));
	arp_build_advertisement(mac, &vip.in6, &frame);
	expect_bytes(&frame, golden_na, sizeof(golden_na));
}

/* One octet's weight at a time, the field itself left out, modulo 65535: not the program's way. */
static unsigned checksum_of(const uint8_t *frame)
{
	static const uint8_t rest_of_pseudo_header[8] = { 0, 0, 0, 32, 0, 0, 0, 58 };
	unsigned long sum = 0;

	for (unsigned i = 0; i < 8; i++)		/* RFC 8200 section 8.1 */
		sum += (unsigned long)rest_of_pseudo_header[i] * (i % 2 == 0 ? 256 : 1);
	for (unsigned i = 22; i < 86; i++)		/* both addresses, then the message */
		if (i != 56 && i != 57)
			sum += (unsigned long)frame[i] * (i % 2 == 0 ? 256 : 1);
	return 0xffff - (unsigned)(sum % 0xffff == 0 ? 0xffff : sum % 0xffff);
}

static void the_checksum_is_right(void **state)
{
	static const char *const vips[] = { "fd00::250", "2001:db8::1", "::2",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"fd00:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
		"fd12:3456:789a:bcde:f012:3456:789a:bcde" };
	struct na_frame frame = { 0 };

	(void)state;
	assert_int_equal(checksum_of(golden_na), 0xa6ad);
	for (unsigned i = 0; i < 70000; i++) {
		struct ip vip = unit_ip(vips[i % COUNT(vips)]);
		const uint8_t *bytes = (const uint8_t *)&frame;

		if (i >= COUNT(vips)) {		/* each sum there can be */
			vip.bytes[14] = (uint8_t)(i >> 8);
			vip.bytes[15] = (uint8_t)i;
		}
		arp_build_advertisement(mac, &vip.in6, &frame);
		if ((unsigned)(bytes[56] << 8 | bytes[57]) != checksum_of(bytes))
			fail_msg("run %u: 0x%02x%02x instead of 0x%04x", i, bytes[56], bytes[57],
				 checksum_of(bytes));
	}
}

static void only_ethernet_that_does_arp_is_announced_on(void **state)
{
	static const struct {
		unsigned flags, type;
		bool works;
	} cases[] = {
		{ IFF_UP | IFF_LOWER_UP, ARPHRD_ETHER, true },
		{ IFF_UP, ARPHRD_ETHER, true },
		{ IFF_UP | IFF_LOWER_UP | IFF_NOARP, ARPHRD_ETHER, false },
		{ IFF_UP | IFF_LOWER_UP | IFF_LOOPBACK, ARPHRD_ETHER, false },
		{ IFF_UP | IFF_LOWER_UP | IFF_LOOPBACK, ARPHRD_LOOPBACK, false },
		{ IFF_UP | IFF_LOWER_UP, ARPHRD_NONE, false },
		{ IFF_UP | IFF_LOWER_UP | IFF_POINTOPOINT, ARPHRD_PPP, false },
		{ IFF_UP | IFF_LOWER_UP, ARPHRD_INFINIBAND, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct link link = { .flags = cases[i].flags, .type = cases[i].type };

		assert_int_equal(arp_works_on(&link), cases[i].works);
	}
}

/* Sending ------------------------------------------------------------------ */

static struct link a_link(void)
{
	struct link link = { .ifindex = 7, .name = "eth0", .type = ARPHRD_ETHER,
			     .flags = IFF_UP | IFF_LOWER_UP };

	memcpy(link.mac, mac, sizeof(mac));
	return link;
}

static void ipv4_is_sent_as_request_and_reply(void **state)
{
	struct ip vip = unit_ip("172.16.2.250");
	struct link link = a_link();

	(void)state;
	fault_keep_frames = true;
	assert_int_equal(arp_announce(99, &link, &vip), 0);
	assert_int_equal(fault_frame_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fault_frames[i].size, 42);
		assert_int_equal(fault_frames[i].ifindex, 7);
		assert_true((fault_frames[i].flags & MSG_DONTWAIT) != 0);
	}
	expect_bytes(fault_frames[0].bytes, golden_request, sizeof(golden_request));
	expect_bytes(fault_frames[1].bytes, golden_reply, sizeof(golden_reply));
}

static void ipv6_is_sent_as_advertisement(void **state)
{
	struct ip vip = unit_ip("fd00::250");
	struct link link = a_link();

	(void)state;
	fault_keep_frames = true;
	assert_int_equal(arp_announce(99, &link, &vip), 0);
	assert_int_equal(fault_frame_count, 1);
	assert_int_equal(fault_frames[0].size, 86);
	assert_int_equal(fault_frames[0].ifindex, 7);
	assert_true((fault_frames[0].flags & MSG_DONTWAIT) != 0);
	expect_bytes(fault_frames[0].bytes, golden_na, sizeof(golden_na));
}

/* The second form may still get through, and the error is not lost. */
static void a_frame_that_cannot_be_sent_is_an_error(void **state)
{
	static const int errors[] = { ENETDOWN, ENXIO, ENOBUFS, EAGAIN, EPERM };
	struct ip v4 = unit_ip("172.16.2.250"), v6 = unit_ip("fd00::250");
	struct link link = a_link();

	(void)state;
	fault_keep_frames = true;
	for (size_t i = 0; i < COUNT(errors); i++) {
		for (unsigned skip = 0; skip < 2; skip++) {
			fault_set(FAULT_SENDTO, skip, 1, errors[i]);
			assert_int_equal(arp_announce(99, &link, &v4), -errors[i]);
			assert_int_equal(fault_calls(FAULT_SENDTO), 2);
		}
		fault_set(FAULT_SENDTO, 0, 2, errors[i]);
		assert_int_equal(arp_announce(99, &link, &v4), -errors[i]);
		fault_set(FAULT_SENDTO, 0, 1, errors[i]);
		assert_int_equal(arp_announce(99, &link, &v6), -errors[i]);
		assert_int_equal(fault_calls(FAULT_SENDTO), 1);
	}
}

static void a_socket_that_is_forbidden_is_an_error(void **state)
{
	static const int errors[] = { EPERM, EAFNOSUPPORT, EMFILE };

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		int fd = -7;

		fault_set(FAULT_SOCKET, 0, 1, errors[i]);
		assert_int_equal(arp_open(&fd), -errors[i]);
		assert_int_equal(fd, -7);
	}
}

int unit_frame_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_those_of_the_wire),
		cmocka_unit_test(the_request_is_this),
		cmocka_unit_test(the_reply_is_this),
		cmocka_unit_test(the_advertisement_is_this),
		cmocka_unit_test(the_checksum_is_right),
		cmocka_unit_test(only_ethernet_that_does_arp_is_announced_on),
		cmocka_unit_test_teardown(ipv4_is_sent_as_request_and_reply, fault_clear),
		cmocka_unit_test_teardown(ipv6_is_sent_as_advertisement, fault_clear),
		cmocka_unit_test_teardown(a_frame_that_cannot_be_sent_is_an_error, fault_clear),
		cmocka_unit_test_teardown(a_socket_that_is_forbidden_is_an_error, fault_clear),
	};

	return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
