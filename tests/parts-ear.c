/* SPDX-License-Identifier: MIT */
/* An open probe on `us`, with a third host that may have a VIP, and a peer that sends anything. */
#include "parts.h"

#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

struct lab_host *old;
struct link ear_link;
int ear = -1;
int mouth = -1;

int ear_open(const struct link *link)
{
	int new_fd = -1, err;

	parts_in(us);
	err = probe_open(link, &new_fd);
	parts_out();
	assert_int_equal(err, 0);
	return new_fd;
}

int ear_setup(void **state)
{
	netns_setup(state);
	old = lab_host("old", OLD4 "/24", "fd00::9/64", NULL);
	ear_link = parts_link(us, "eth0");
	ear = ear_open(&ear_link);
	mouth = lab_socket(peer, AF_PACKET, SOCK_RAW, 0);
	return 0;
}

int ear_teardown(void **state)
{
	close(ear);
	close(mouth);
	lab_host_free(old);
	return parts_teardown(state);
}

void ear_ask(const char *address)
{
	struct ip ip = parts_ip(address);

	assert_int_equal(probe_send(ear, &ear_link, &ip), 0);
}

/* The next holder of either VIP that is heard within MS. */
bool ear_hear(struct holder *holder, int ms)
{
	const struct ip ips[] = { parts_ip("10.0.0.77"), parts_ip(VIP4), parts_ip(VIP6) };
	struct pollfd p = { .fd = ear, .events = POLLIN };
	double end = clock_ms() + ms;

	for (;;) {
		int n = probe_hear(ear, &ear_link, ips, COUNT(ips), holder);

		assert_in_range(n, 0, 1);
		if (n == 1 || clock_ms() >= end)
			return n == 1;
		poll(&p, 1, clock_left(end));
	}
}

void ear_expect(const char *file, int line, const char *address, const unsigned char *mac,
		     int ms)
{
	struct ip ip = parts_ip(address);
	struct holder holder;

	if (!ear_hear(&holder, ms) || !ip_equal(&holder.ip, &ip) ||
	    memcmp(holder.mac, mac, ETH_ALEN) != 0) {
		print_error("nobody, or somebody else, has %s\n", address);
		_fail(file, line);
	}
}

void ear_expect_nobody(const char *file, int line, int ms)
{
	struct holder holder;

	if (ear_hear(&holder, ms)) {
		print_error("%02x:..:%02x was heard\n", holder.mac[0], holder.mac[5]);
		_fail(file, line);
	}
}

/* Sends a frame as it is from the peer. */
void ear_inject(const void *frame, size_t size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };

	parts_in(peer);
	to.sll_ifindex = (int)if_nametoindex("eth0");
	parts_out();
	if (sendto(mouth, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
		lab_fail("sendto: %m");
}

bool ear_rings(void)
{
	struct pollfd p = { .fd = ear, .events = POLLIN };

	return poll(&p, 1, ANSWER_MS) == 1;
}
