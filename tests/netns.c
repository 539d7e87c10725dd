/* SPDX-License-Identifier: MIT */
/*
 * The fixture of the tests in network namespaces and the questions that all of them ask. Refuses to
 * take the program's word: what is asked is the kernel and the peer.
 */
#include "netns.h"

#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct lab_host *us, *peer;
struct lab_capture *eyes;
struct lab_result r;

int netns_setup(void **state)
{
	(void)state;
	us = lab_host("us", OUR4 "/24", OUR6 "/64", NULL);
	peer = lab_host("peer", PEER4 "/24", PEER6 "/64", NULL);
	eyes = lab_capture(peer, "eth0");
	lab_config(us, CONFIG_BOTH);
	return 0;
}

int netns_teardown(void **state)
{
	(void)state;
	lab_capture_free(eyes);
	lab_host_free(us);
	lab_host_free(peer);
	eyes = NULL;
	us = peer = NULL;
	return 0;
}

#define check(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error(__VA_ARGS__);                                                  \
			print_error("\nstatus %d, stdout:\n%s\nstderr:\n%s\nsyslog:\n", r.status,  \
				    r.out, r.err);                                                 \
			lab_log_print(us);                                                         \
			_fail(file, line);                                                         \
		}                                                                                  \
	} while (0)

void netns_expect(const char *file, int line, int status, const char *const texts[])
{
	const char *said = lab_log_wait(us, "sentinel-vip[", 500);

	check(!r.timed_out, "the program did not end");
	check(r.status == status, "status %d, expected %d", r.status, status);
	check(said, "nothing in syslog");
	check(lab_log_count(us, "") == 1, "%zu lines in syslog, expected one",
	      lab_log_count(us, ""));
	check(!strpbrk(said, "\n\r"), "the line in syslog is not one line");
	for (; *texts; texts++)
		check(strstr(said, *texts), "\"%s\" is not in the line", *texts);
	lab_log_clear(us);
}

char *netns_state(void)
{
	static struct lab_result state;
	char *copy;

	if (lab_sh(us, &state,
		   "ip -o addr && ip -o link && ip route show table all && ip -6 route show table "
		   "all") != 0)
		lab_fail("%s", state.err);
	copy = strdup(state.out);
	if (!copy)
		lab_fail("strdup: %m");
	return copy;
}

void netns_silence(const char *file, int line)
{
	const char *const vips[] = {VIP4, VIP6};
	int left = 0;

	(void)LAB_UNTIL((left = lab_host_processes(us, NULL)) == 0, 500);
	check(left == 0, "%d processes still run", left);
	for (size_t i = 0; i < 2; i++)
		check(lab_capture_count(eyes, lab_is_announcement, vips[i]) == 0,
		      "%s was announced", vips[i]);
}

void netns_unchanged(const char *file, int line, char *before, bool silent)
{
	char *after = netns_state();

	check(strcmp(before, after) == 0, "something changed, before:\n%s\nafter:\n%s", before,
	      after);
	if (silent)
		netns_silence(file, line);
	free(before);
	free(after);
}

static bool arp_request_of(const struct lab_frame *f, const void *address)
{
	return lab_is_arp(f, address) && f->data[21] == 1;
}

static bool arp_reply_of(const struct lab_frame *f, const void *address)
{
	return lab_is_arp(f, address) && f->data[21] == 2;
}

void netns_announced(const char *file, int line, const char *address)
{
	bool (*const v4[])(const struct lab_frame *, const void *) = {arp_request_of, arp_reply_of};
	bool (*const v6[])(const struct lab_frame *, const void *) = {lab_is_na, lab_is_na};

	for (size_t i = 0; i < 2; i++) {
		const struct lab_frame *f = lab_capture_wait(
			eyes, 0, (strchr(address, ':') ? v6 : v4)[i], address, 500);

		check(f, "%s was not announced (form %zu)", address, i + 1);
		check(f->ns < r.exit_ns, "%s was announced after the program had ended", address);
	}
}

void netns_speak(struct lab_host *h, bool announces)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	/* clang-format off */
	unsigned char frame[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 1,
		0, 0, 0, 0, 0, 0, 10, 0, 0, 250, 0, 0, 0, 0, 0, 0, 10, 0, 0, 99,
	};
	/* clang-format on */
	int fd = lab_socket(h, AF_PACKET, SOCK_RAW, 0);
	struct lab_result index;

	if (!lab_mac(h, "eth0", frame + 6))
		lab_fail("no MAC");
	memcpy(frame + 22, frame + 6, 6);
	if (announces)
		frame[41] = 250;
	lab_sh(h, &index, "ip -o link show eth0");
	to.sll_ifindex = atoi(index.out);
	if (sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) < 0)
		lab_fail("sendto: %m");
	close(fd);
}
