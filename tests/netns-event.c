/* SPDX-License-Identifier: MIT */
/*
 * What the announcer is woken by, besides its schedule: the carrier, the MAC, the next run. And on
 * which interfaces a VIP is announced at all.
 */
#include "netns.h"

#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOON_MS 150 /* of what an event causes; a busy machine is late */

/* Milliseconds of processor time that all processes of `us` have taken. */
static long busy_ms(void)
{
	unsigned long user, system;
	char path[64], text[512];
	pid_t one;
	FILE *f;

	if (lab_host_processes(us, &one) != 1)
		fail_msg("%d processes, expected the announcer", lab_host_processes(us, &one));
	snprintf(path, sizeof path, "/proc/%d/stat", (int)one);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof text, f) ||
	    sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		   &user, &system) != 2)
		lab_fail("%s: %m", path);
	fclose(f);
	return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static void expect_idle(int ms)
{
	long before = busy_ms();

	lab_sleep_ms(ms);
	assert_in_range(busy_ms() - before, 0, (20 + ms / 20) * lab_slow());
}

static void carrier(bool on)
{
	lab_carrier(us, "eth0", on);
	assert_true(LAB_UNTIL((lab_sh(us, NULL, "ip link show eth0 | grep -q LOWER_UP") == 0) == on,
			      2000));
}

/* Both VIPs are announced by that MAC (NULL: any) within the time, and not before. */
static void expect_now(const unsigned char *mac, size_t since)
{
	const char *const all[] = {VIP4, VIP6};

	for (size_t i = 0; i < 2; i++) {
		const struct lab_frame *f =
			lab_capture_wait(eyes, since, lab_is_announcement, all[i], SOON_MS);

		if (!f)
			fail_msg("%s was not announced", all[i]);
		if (mac)
			assert_memory_equal(f->data + 6, mac, 6);
	}
}

static size_t seen(void)
{
	lab_capture_read(eyes);
	return eyes->n;
}

static size_t announcements(void)
{
	return lab_capture_count(eyes, lab_is_announcement, VIP4) +
	       lab_capture_count(eyes, lab_is_announcement, VIP6);
}

/* ---- the carrier ---- */

static void carrier_comes_after_the_claim(void **state)
{
	size_t since;

	(void)state;
	lab_config(us, "announce = 0.1 0.2\n" CONFIG_BOTH);
	carrier(false);
	sentinel(OUR4);
	expect(0, "claimed " VIP4, "eth0 has no carrier: announced when it comes");
	expect_idle(600); /* longer than the schedule */
	since = seen();
	assert_int_equal(announcements(), 0);
	lab_carrier(us, "eth0", true);
	expect_now(NULL, since);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
}

static void carrier_goes_and_comes(void **state)
{
	size_t since;

	(void)state;
	lab_config(us, "announce = 0.1 3\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(300);
	carrier(false);
	since = seen();
	expect_idle(300);
	lab_carrier(us, "eth0", true);
	expect_now(NULL, since);
}

/* The last of the schedule found no carrier: it is still owed. */
static void carrier_goes_before_the_last(void **state)
{
	size_t since;

	(void)state;
	lab_config(us, "announce = 0.1 0.6 1.2\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(350);
	carrier(false);
	since = seen();
	lab_sleep_ms(1200);
	assert_int_equal(lab_log_count(us, ""), 0); /* it has not given up */
	lab_carrier(us, "eth0", true);
	expect_now(NULL, since);
}

/* It is not waited for without end; then somebody has to know what was not done. */
static void carrier_does_not_come_back(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.1 0.2\n" CONFIG4);
	carrier(false);
	sentinel(OUR4);
	expect(0, "claimed " VIP4, "announced when it comes");
	assert_false(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 9000)); /* 10 s after the last */
	assert_non_null(lab_log_wait(us, "mymaster: " VIP4 " is not announced, for want of a carrier on eth0; when "
					 "it is back, run: sentinel-vip sync --announce mymaster", 3000));
	assert_int_equal(lab_log_count(us, ""), 1);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, 1000));
}

static void released_without_carrier(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.1 3\n" CONFIG_BOTH);
	carrier(false);
	sentinel(OUR4);
	expect(0, "claimed");
	sentinel(PEER4);
	expect(0, "released " VIP4);
	lab_carrier(us, "eth0", true);
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 0, SOON_MS));
	assert_int_equal(announcements(), 0);
}

/* ---- the MAC ---- */

static void mac_changes(void **state)
{
	static const unsigned char new[6] = {2, 0, 0, 0, 0xbe, 0xef};
	size_t since;

	(void)state;
	lab_config(us, "announce = 0.1 3\n" CONFIG_BOTH);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(400);
	since = seen();
	lab_must(us, "ip link set eth0 address 02:00:00:00:be:ef");
	expect_now(new, since);
	lab_sleep_ms(100); /* for the other form */
	since = seen();
	expect_idle(300); /* said once */
	assert_null(lab_capture_wait(eyes, since, lab_is_announcement, VIP4, 0));
}

/* Other interfaces and addresses come and go: of no concern. */
static void others_change(void **state)
{
	size_t before;

	(void)state;
	lab_config(us, "announce = 0.1 3\n" CONFIG_BOTH);
	lab_host_link(us, "eth1", "10.1.0.1/24", (const char *)NULL);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(400);
	before = announcements();
	lab_must(us, "ip addr add 10.1.0.7/32 dev eth1 && ip link set eth1 address "
		     "02:00:00:00:be:ef && ip link set eth1 down && ip addr add 10.0.0.7/32 dev "
		     "eth0 && ip addr del 10.0.0.7/32 dev eth0");
	expect_idle(300);
	assert_int_equal(announcements(), before);
}

/* Neighbours that ask for each other, 2000 times a second: heard, and of no concern. */
static void others_talk(void **state)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	/* clang-format off */
	unsigned char frame[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 1,
		2, 0, 0, 0, 0, 9, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 77,
	};
	/* clang-format on */
	int fd = lab_socket(peer, AF_PACKET, SOCK_RAW, 0);
	long before;

	(void)state;
	lab_config(us, "announce = 0.1 3\n" CONFIG_BOTH);
	lab_sh(peer, &r, "ip -o link show eth0");
	to.sll_ifindex = atoi(r.out);
	sentinel(OUR4);
	expect(0, "claimed");
	lab_sleep_ms(400);
	before = busy_ms();
	for (int i = 0; i < 1000; i++) {
		if (sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) < 0)
			lab_fail("sendto: %m");
		usleep(440);
	}
	close(fd);
	assert_in_range(busy_ms() - before, 0, 30 * lab_slow());
}

/* ---- the next run ---- */

static void second_event_ends_the_first(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.5 4\n" CONFIG_BOTH);
	for (int i = 0; i < 3; i++) {
		sentinel(OUR4);
		expect(0, i ? "announced" : "claimed");
	}
	assert_true(LAB_UNTIL(lab_host_processes(us, NULL) == 1, SOON_MS));
	lab_sleep_ms(1000);
	assert_int_equal(lab_capture_count(eyes, lab_is_arp, VIP4), 3 * 2 + 2);
}

/* ---- kinds of interfaces ---- */

/* Claims on an interface that holds OUR4 now; the peer reaches it there. */
static void expect_announced_from(const char *dev)
{
	unsigned char mac[6], neighbour[6];
	size_t since = seen();

	assert_true(lab_mac(us, dev, mac));
	lab_config(us,
		   "interface = %s\nannounce = 0.1\n[mymaster]\nvip = " VIP4 "\nvip = " VIP6 "\n",
		   dev);
	lab_must(peer, "ip neigh flush dev eth0 && ip neigh replace " VIP4
		       " lladdr 02:00:00:00:00:99 dev eth0 nud stale && ip neigh replace " VIP6
		       " lladdr 02:00:00:00:00:99 dev eth0 nud stale");
	sentinel(OUR4);
	expect(0, "claimed " VIP4 " on ", dev);
	expect_now(mac, since);
	assert_true(
		LAB_UNTIL(lab_neigh_mac(peer, VIP4, neighbour) && !memcmp(neighbour, mac, 6), 100));
	assert_true(
		LAB_UNTIL(lab_neigh_mac(peer, VIP6, neighbour) && !memcmp(neighbour, mac, 6), 100));
}

static void on_macvlan(void **state)
{
	(void)state;
	lab_must(us, "ip link add link eth0 name mv0 type macvlan mode bridge && ip addr flush dev "
		     "eth0 && ip addr add " OUR4 "/24 dev mv0 && ip addr add " OUR6
		     "/64 dev mv0 nodad && ip link set mv0 up");
	expect_announced_from("mv0");
}

static void on_bridge(void **state)
{
	static const unsigned char new[6] = {2, 0, 0, 0, 0xbe, 0xef};
	size_t since;

	(void)state;
	lab_must(us, "ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 && "
		     "ip addr flush dev eth0 && ip link set eth0 master br0 && ip addr add " OUR4
		     "/24 dev br0 && ip addr add " OUR6 "/64 dev br0 nodad && ip link set br0 up");
	assert_true(LAB_UNTIL(lab_sh(us, NULL, "ip link show br0 | grep -q LOWER_UP") == 0, 2000));
	expect_announced_from("br0");
	/* it takes over another MAC while the announcer runs */
	lab_config(us,
		   "interface = br0\nannounce = 2\n[mymaster]\nvip = " VIP4 "\nvip = " VIP6 "\n");
	sentinel(OUR4);
	expect(0, "announced");
	lab_sleep_ms(300);
	since = seen();
	lab_must(us, "ip link set br0 address 02:00:00:00:be:ef");
	expect_now(new, since);
}

/* Claimed, said, and not one frame of it nor a process that might send one. */
static void expect_unannounced_on(const char *dev)
{
	char said[128];

	snprintf(said, sizeof said, "%s is not an Ethernet that does ARP: not announced there",
		 dev);
	lab_config(us, "interface = %s\n[mymaster]\nvip = " VIP4 "\nvip = " VIP6 "\n", dev);
	sentinel(OUR4);
	expect(0, "claimed " VIP4 " on ", dev, "WARNING", said);
	assert_true(lab_has_addr(us, dev, VIP4 "/32") && lab_has_addr(us, dev, VIP6 "/128"));
	expect_silence();
	sentinel(OUR4);
	expect(0, "nothing to do", said);
}

static void expect_released_from(const char *dev)
{
	sentinel(PEER4);
	expect(0, "released " VIP4 " from ", dev);
	assert_int_equal(lab_addr_copies(us, VIP4) + lab_addr_copies(us, VIP6), 0);
}

static void on_noarp(void **state)
{
	(void)state;
	lab_must(us, "ip link set eth0 arp off");
	expect_unannounced_on("eth0");
	expect_released_from("eth0");
}

static void on_tun(void **state)
{
	(void)state;
	lab_must(us,
		 "mkdir -p /dev/net && { test -c /dev/net/tun || mknod /dev/net/tun c 10 200; } "
		 "&& ip tuntap add dev tun0 mode tun && ip link set tun0 up && ip addr add "
		 "10.5.0.1/24 dev tun0");
	expect_unannounced_on("tun0");
	expect_released_from("tun0");
}

/* Which a release spares; so it is refused before it is there for ever. */
static void on_loopback(void **state)
{
	char *before = netns_state();

	(void)state;
	lab_config(us, "interface = lo\n[mymaster]\nvip = " VIP4 "\n");
	sentinel(OUR4);
	expect(2, "refused: interface lo is a loopback");
	expect_unchanged(before);
}

int netns_event_tests(void)
{
	const struct CMUnitTest tests[] = {
		netns_test(carrier_comes_after_the_claim),
		netns_test(carrier_goes_and_comes),
		netns_test(carrier_goes_before_the_last),
		netns_test(carrier_does_not_come_back),
		netns_test(released_without_carrier),
		netns_test(mac_changes),
		netns_test(others_change),
		netns_test(others_talk),
		netns_test(second_event_ends_the_first),
		netns_test(on_macvlan),
		netns_test(on_bridge),
		netns_test(on_noarp),
		netns_test(on_tun),
		netns_test(on_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
