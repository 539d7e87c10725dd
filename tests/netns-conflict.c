/* SPDX-License-Identifier: MIT */
/*
 * A stale holder: another host that keeps the VIP after it was claimed here. It is named at once,
 * talked over, and named again with a count if it never lets go; the peers end up with us all the
 * same. And nobody is accused who is not one.
 */
#include "netns.h"

#include "../vip.h"

#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OTHER4 "10.0.0.8"
#define NAMED_MS (100 * lab_slow()) /* from the first announcement to the line in the log */
#define LET_GO_MS 150
#define SLACK_MS 100 /* a busy machine is late, never early */
#define MS INT64_C(1000000)

static struct lab_host *old;
static unsigned char olds[6], ours[6];
static char olds_text[18];
static struct lab_capture *lips; /* what our eth0 sends and hears */

static int setup(void **state)
{
	netns_setup(state);
	old = lab_host("old", OLD4 "/24", "fd00::9/64", (const char *)NULL);
	lips = lab_capture_announcements(us, "eth0");
	assert_true(lab_mac(us, "eth0", ours) && lab_mac(old, "eth0", olds));
	snprintf(olds_text, sizeof olds_text, "%02x:%02x:%02x:%02x:%02x:%02x", olds[0], olds[1],
		 olds[2], olds[3], olds[4], olds[5]);
	return 0;
}

static int teardown(void **state)
{
	lab_capture_free(lips);
	lab_host_free(old);
	return netns_teardown(state);
}

#define conflict_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void keep(struct lab_host *h, bool keeps)
{
	const char *verb = keeps ? "add" : "del";

	lab_must(h, "ip addr %s " VIP4 "/32 dev eth0; ip addr %s " VIP6 "/128 dev eth0 %s", verb,
		 verb, keeps ? "nodad" : "");
}

static void claim(void)
{
	sentinel(OUR4);
	if (r.status != 0)
		fail_msg("status %d", r.status);
}

static const char *line_of(const char *address, const char *what, const char *mac)
{
	static char line[128];

	snprintf(line, sizeof line, "mymaster: %s is %s held by %s on eth0", address, what, mac);
	return line;
}

static void wait_for_the_end(int ms)
{
	if (!LAB_UNTIL(lab_host_processes(us, NULL) == 0, ms))
		fail_msg("the announcer does not end");
}

static int64_t first_sent(const char *address, int64_t since)
{
	lab_capture_read(lips);
	for (size_t i = 0; i < lips->n; i++)
		if (lips->frames[i].outgoing && lips->frames[i].ns >= since &&
		    lab_is_announcement(&lips->frames[i], address))
			return lips->frames[i].ns;
	fail_msg("%s was not announced", address);
	return 0;
}

/* ---- said ---- */

static void named_at_once(void **state)
{
	const char *const vips[] = {VIP4, VIP6};

	(void)state;
	lab_config(us, "announce = 0.3\n" CONFIG_BOTH);
	keep(old, true);
	for (int turn = 0; turn < 10; turn++) {
		int64_t since = lab_now_ns();

		claim();
		for (size_t i = 0; i < 2; i++) {
			int left =
				NAMED_MS - (int)((lab_now_ns() - first_sent(vips[i], since)) / MS);

			if (!lab_log_wait(us, line_of(vips[i], "also", olds_text),
					  left > 0 ? left : 0))
				fail_msg("%s: not named within %d ms, turn %d", vips[i], NAMED_MS,
					 turn);
		}
		sentinel(PEER4);
		wait_for_the_end(2000);
		lab_log_clear(us);
	}
}

/* An answer of the stale holder that reached us, to a probe or to somebody else. */
static bool is_answer(const struct lab_frame *f, const void *address)
{
	static const unsigned char vip4[4] = {10, 0, 0, 250};

	if (f->outgoing || memcmp(f->data + 6, olds, 6) != 0)
		return false;
	return strchr(address, ':') ? lab_is_na(f, address)
				    : f->data[12] == 0x08 && f->data[13] == 0x06 &&
					      !memcmp(f->data + 28, vip4, 4);
}

static void still_there_at_the_end(void **state)
{
	const char *const vips[] = {VIP4, VIP6};
	char said[64];

	(void)state;
	lab_config(us, "announce = 0.1 0.4 0.7\n" CONFIG_BOTH);
	keep(old, true);
	claim();
	wait_for_the_end(2000);
	for (size_t i = 0; i < 2; i++) {
		const char *line = lab_log_wait(us, line_of(vips[i], "still", olds_text), 0);
		size_t answers = lab_capture_count(lips, is_answer, vips[i]);

		if (!line)
			fail_msg("%s: nothing said at the end", vips[i]);
		snprintf(said, sizeof said, ", heard %zu times: ", answers);
		if (answers < 3 || !strstr(line, said))
			fail_msg("%s: there were %zu answers, but: %s", vips[i], answers, line);
		assert_non_null(strstr(line, "run there: sentinel-vip sync mymaster"));
		assert_int_equal(strncmp(line, "<28>", 4), 0); /* daemon, warning */
		assert_int_equal(lab_log_count(us, line_of(vips[i], "also", olds_text)), 1);
	}
}

static void gone_before_the_end(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.2 0.5 0.8\n" CONFIG_BOTH);
	keep(old, true);
	claim();
	assert_non_null(lab_log_wait(us, line_of(VIP4, "also", olds_text), 500));
	assert_non_null(lab_log_wait(us, line_of(VIP6, "also", olds_text), 500));
	lab_sleep_ms(300);
	keep(old, false);
	wait_for_the_end(2000);
	assert_int_equal(lab_log_count(us, "still held"), 0);
}

/* It comes only when the schedule is half through. */
static void comes_later(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.2 0.8 1.2\n" CONFIG4);
	claim();
	lab_sleep_ms(500);
	assert_int_equal(lab_log_count(us, "held"), 0);
	lab_must(old, "ip addr add " VIP4 "/32 dev eth0");
	netns_speak(old, false);
	assert_non_null(lab_log_wait(us, line_of(VIP4, "also", olds_text), NAMED_MS));
	wait_for_the_end(2500);
	assert_int_equal(lab_log_count(us, line_of(VIP4, "still", olds_text)), 1);
}

/* Each is named, and once. */
static void two_of_them(void **state)
{
	struct lab_host *other = lab_host("other", OTHER4 "/24", "fd00::8/64", (const char *)NULL);
	unsigned char mac[6];
	char text[18];

	(void)state;
	assert_true(lab_mac(other, "eth0", mac));
	snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	lab_config(us, "announce = 0.1 0.4 0.7\n" CONFIG4);
	keep(old, true);
	keep(other, true);
	claim();
	wait_for_the_end(2000);
	lab_host_free(other);
	assert_int_equal(lab_log_count(us, line_of(VIP4, "also", olds_text)), 1);
	assert_int_equal(lab_log_count(us, line_of(VIP4, "also", text)), 1);
	assert_int_equal(lab_log_count(us, "still held"), 1);
}

static void speak_as(const unsigned char mac[6])
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	/* clang-format off */
	unsigned char frame[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 2,
		0, 0, 0, 0, 0, 0, 10, 0, 0, 250, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 0, 0, 250,
	};
	/* clang-format on */
	int fd = lab_socket(old, AF_PACKET, SOCK_RAW, 0);
	struct lab_result index;

	memcpy(frame + 6, mac, 6);
	memcpy(frame + 22, mac, 6);
	lab_sh(old, &index, "ip -o link show eth0");
	to.sll_ifindex = atoi(index.out);
	assert_int_equal(sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to),
			 sizeof frame);
	close(fd);
}

/* Whoever can send can forge any number of holders: the first few are named, so that the log lives. */
static void very_many_of_them(void **state)
{
	unsigned char mac[6] = {2, 0xfe, 0, 0, 0, 0};

	(void)state;
	lab_config(us, "announce = 0.4 0.8\n" CONFIG4);
	claim();
	for (int i = 0; i < 4 * HOLDERS_MAX; i++) {
		mac[5] = (unsigned char)i;
		speak_as(mac);
	}
	wait_for_the_end(2000);
	assert_int_equal(lab_log_count(us, VIP4 " is also held by 02:fe:00:00:00:"), HOLDERS_MAX);
}

/* ---- talked over ---- */

static size_t arps_between(int64_t from, int64_t to)
{
	size_t n = 0;

	lab_capture_read(lips);
	for (size_t i = 0; i < lips->n; i++)
		n += lips->frames[i].outgoing && lips->frames[i].ns >= from &&
		     lips->frames[i].ns < to && lab_is_arp(&lips->frames[i], VIP4);
	return n;
}

/* Once more when it had its time to let go; no more than that while nothing else is heard. */
static void talked_over(void **state)
{
	const struct lab_frame *answer;
	int64_t heard;

	(void)state;
	lab_config(us, "announce = 1.5\n" CONFIG4);
	keep(old, true);
	claim();
	answer = lab_capture_wait(lips, 0, is_answer, VIP4, 500);
	assert_non_null(answer);
	heard = answer->ns;
	lab_sleep_ms(1000);
	assert_int_equal(arps_between(0, heard), 2); /* the first announcement, both forms */
	assert_int_equal(arps_between(heard, heard + LET_GO_MS * MS), 0);
	assert_int_equal(arps_between(heard + LET_GO_MS * MS, heard + (LET_GO_MS + SLACK_MS) * MS),
			 2);
	assert_int_equal(arps_between(heard, lab_now_ns()), 2);
}

/* It speaks up ten times a second, as a busy host does; it is answered once a second. */
static void talked_over_at_most_once_a_second(void **state)
{
	int64_t last = 0, begun = lab_now_ns();
	size_t extra = 0;

	(void)state;
	lab_config(us, "announce = 5\n" CONFIG4);
	claim();
	while (lab_now_ns() < begun + 3300 * MS) {
		netns_speak(old, false);
		lab_sleep_ms(97);
	}
	lab_capture_read(lips);
	for (size_t i = 0; i < lips->n; i++) {
		const struct lab_frame *f = &lips->frames[i];

		if (!f->outgoing || !lab_is_arp(f, VIP4) || f->data[21] != 1)
			continue;
		if (extra > 0 && f->ns - last < 950 * MS)
			print_error("talked over after %d ms\n", (int)((f->ns - last) / MS));
		extra += last != 0;
		last = f->ns;
	}
	assert_in_range(extra, 3, 4);
	assert_int_equal(lab_log_count(us, "held"), 1);
}

/*
 * A stale holder that does not speak by itself misleads nobody: from the first announcement on the
 * peer knows us, whatever we ask and are answered meanwhile.
 */
static void asking_misleads_nobody(void **state)
{
	const char *const vips[] = {VIP4, VIP6};
	unsigned char mac[6];

	(void)state;
	lab_config(us, "announce = 0.2 1.1\n" CONFIG_BOTH);
	keep(old, true);
	for (size_t i = 0; i < 2; i++) {
		lab_poke(peer, vips[i]);
		assert_true(LAB_UNTIL(lab_neigh_mac(peer, vips[i], mac), 1000));
		assert_memory_equal(mac, olds, 6);
	}
	claim();
	while (lab_host_processes(us, NULL) > 0)
		for (size_t i = 0; i < 2; i++)
			if (lab_neigh_mac(peer, vips[i], mac) && memcmp(mac, ours, 6) != 0)
				fail_msg("the peer was led away from us: %s", vips[i]);
	assert_non_null(lab_log_wait(us, line_of(VIP4, "still", olds_text), 0));
	assert_non_null(lab_log_wait(us, line_of(VIP6, "still", olds_text), 0));
}

/* ---- nobody else's fault ---- */

/* Another interface of ours on the same switch answers for all addresses of ours. */
static void our_other_interface(void **state)
{
	const struct lab_frame *f = NULL;
	unsigned char mac[6];

	(void)state;
	lab_host_link(us, "eth1", "10.0.0.11/24", "fd00::11/64", (const char *)NULL);
	assert_true(lab_mac(us, "eth1", mac));
	lab_config(us, "announce = 0.1 0.4\n" CONFIG_BOTH);
	claim();
	wait_for_the_end(2000);
	memcpy(olds, mac, 6); /* it did answer, else this proves nothing */
	f = lab_capture_wait(lips, 0, is_answer, VIP4, 0);
	assert_non_null(f);
	assert_int_equal(lab_log_count(us, "held"), 0);
}

/* The peer asks for the VIP, others announce other addresses, and somebody probes as we do. */
static void the_usual_talk(void **state)
{
	(void)state;
	lab_config(us, "announce = 0.1 0.4 0.7\n" CONFIG_BOTH);
	lab_must(old, "ip addr add 10.0.0.77/32 dev eth0");
	claim();
	for (int i = 0; i < 5; i++) {
		lab_must(peer, "ip neigh flush dev eth0");
		lab_poke(peer, VIP4);
		lab_poke(peer, VIP6);
		lab_sh(old, NULL,
		       "arping -q -c 1 -A -I eth0 10.0.0.77; arping -q -c 1 -w 1 -D -I eth0 " VIP4);
	}
	wait_for_the_end(2000);
	assert_int_equal(lab_log_count(us, "held"), 0);
}

int netns_conflict_tests(void)
{
	const struct CMUnitTest tests[] = {
		conflict_test(named_at_once),
		conflict_test(still_there_at_the_end),
		conflict_test(gone_before_the_end),
		conflict_test(comes_later),
		conflict_test(two_of_them),
		conflict_test(very_many_of_them),
		conflict_test(talked_over),
		conflict_test(talked_over_at_most_once_a_second),
		conflict_test(asking_misleads_nobody),
		conflict_test(our_other_interface),
		conflict_test(the_usual_talk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
