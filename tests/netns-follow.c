/* SPDX-License-Identifier: MIT */
/*
 * Neighbours that are hard to convince: kernels that have just learned the old holder's MAC, so
 * that their locktime of one second runs, and that are made to hear only a part of what is
 * announced: one form of ARP, or nothing for the first second. And a hundred failovers away from a
 * host that keeps the VIP. All must follow.
 */
#include "netns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE_MS 100
#define LATE_MS 1000
#define SLACK_MS 50

/*
 * What a neighbour does not hear of ARP: classic BPF on its ingress, which gets the frame and says
 * what becomes of it (tc-bpf(8), 2 is to drop it). The operation stands at 14 + 6, RFC 826.
 */
#define DEAF_TO_NOTHING NULL
#define DEAF_TO_REQUESTS "protocol arp bpf da bytecode '4,40 0 0 20,21 0 1 1,6 0 0 2,6 0 0 0'"
#define DEAF_TO_REPLIES "protocol arp bpf da bytecode '4,40 0 0 20,21 0 1 2,6 0 0 2,6 0 0 0'"
#define DEAF "protocol all bpf da bytecode '1,6 0 0 2'"

static struct neighbour {
	const char *name;
	const char *deaf_to;
	bool knows;  /* the old holder; else it has no entry */
	bool accept; /* makes an entry of an announcement, ip-sysctl arp_accept */
	int within_ms;
	struct lab_host *host;
} neighbours[] = {
	{.name = "any", .knows = true, .within_ms = AT_ONCE_MS},
	{.name = "replies", .deaf_to = DEAF_TO_REQUESTS, .knows = true, .within_ms = AT_ONCE_MS},
	{.name = "requests", .deaf_to = DEAF_TO_REPLIES, .knows = true, .within_ms = AT_ONCE_MS},
	/* behind a port that comes up only then; the repeat of 1.1 s is for it */
	{.name = "late", .deaf_to = DEAF, .knows = true, .within_ms = LATE_MS + 300},
	{.name = "newany", .accept = true, .within_ms = AT_ONCE_MS},
	{.name = "newreplies",
	 .deaf_to = DEAF_TO_REQUESTS,
	 .accept = true,
	 .within_ms = AT_ONCE_MS},
	{.name = "newrequests",
	 .deaf_to = DEAF_TO_REPLIES,
	 .accept = true,
	 .within_ms = AT_ONCE_MS},
	{.name = "nobody"},
};

#define NEIGHBOURS (sizeof neighbours / sizeof *neighbours)

static struct lab_host *old;

static int setup(void **state)
{
	netns_setup(state);
	old = lab_host("old", OLD4 "/24", "fd00::9/64", (char *)NULL);
	lab_must(old,
		 "ip addr add " VIP4 "/32 dev eth0 && ip addr add " VIP6 "/128 dev eth0 nodad");
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		struct neighbour *n = &neighbours[i];
		char address[32], address6[32];

		snprintf(address, sizeof address, "10.0.0.%zu/24", 50 + i);
		snprintf(address6, sizeof address6, "fd00::5%zu/64", i);
		n->host = lab_host(n->name, address, address6, (char *)NULL);
		lab_must(n->host,
			 "sysctl -qw net.ipv4.neigh.eth0.locktime=100 "
			 "net.ipv4.conf.eth0.arp_accept=%d && tc qdisc add dev eth0 ingress",
			 n->accept);
	}
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < NEIGHBOURS; i++)
		lab_host_free(neighbours[i].host);
	lab_host_free(old);
	return netns_teardown(state);
}

static bool has_entry(const struct neighbour *n, const char *address, const unsigned char mac[6])
{
	unsigned char has[6];

	return lab_neigh_mac(n->host, address, has) && !memcmp(has, mac, 6);
}

static void learn(const struct neighbour *n, const unsigned char mac[6])
{
	if (!n->knows)
		return;
	lab_poke(n->host, VIP4);
	lab_poke(n->host, VIP6);
	if (!LAB_UNTIL(has_entry(n, VIP4, mac) && has_entry(n, VIP6, mac), 1000))
		fail_msg("%s does not know the old holder", n->name);
}

static void deafen(const struct neighbour *n)
{
	if (n->deaf_to)
		lab_must(n->host, "tc filter add dev eth0 parent ffff: %s", n->deaf_to);
}

/* What a neighbour does with one of the addresses. */
struct waits {
	const struct neighbour *n;
	const char *address;
	bool over;
};

static bool is_late(const struct neighbour *n)
{
	return n->within_ms > LATE_MS;
}

/* It has our MAC in its time; the control, which neither knew nor accepts, never has. */
static void look(struct waits *w, const unsigned char mac[6], int ms)
{
	bool has = has_entry(w->n, w->address, mac);

	if (has && !w->n->knows && !w->n->accept)
		fail_msg("%s has made an entry of %s", w->n->name, w->address);
	if (has && is_late(w->n) && ms < LATE_MS)
		fail_msg("%s is not deaf", w->n->name);
	if (!has && w->n->within_ms && ms > w->n->within_ms + SLACK_MS)
		fail_msg("%s has not followed %s after %d ms", w->n->name, w->address, ms);
	w->over = has || (!w->n->within_ms && ms > 1500);
}

static void expect_followed(const unsigned char mac[6], int64_t since)
{
	struct waits all[2 * NEIGHBOURS];
	size_t n = 0, left;
	bool heard = false;

	for (size_t i = 0; i < NEIGHBOURS; i++) {
		all[n] = (struct waits){.n = &neighbours[i], .address = VIP4};
		n++;
		if (!neighbours[i].knows) /* no kernel makes an entry of an advertisement */
			continue;
		all[n] = (struct waits){.n = &neighbours[i], .address = VIP6};
		n++;
	}
	for (left = n; left > 0;) {
		int ms = (int)((lab_now_ns() - since) / 1000000);

		for (size_t i = 0; !heard && ms > LATE_MS && i < NEIGHBOURS; i++)
			if (is_late(&neighbours[i]))
				lab_must(neighbours[i].host, "tc filter del dev eth0 parent ffff:");
		heard = ms > LATE_MS;
		for (size_t i = 0; i < n; i++)
			if (!all[i].over) {
				look(&all[i], mac, ms);
				left -= all[i].over;
			}
	}
}

static void all_follow(void **state)
{
	unsigned char ours[6], olds[6];
	int64_t begun;

	(void)state;
	assert_true(lab_mac(us, "eth0", ours) && lab_mac(old, "eth0", olds));
	begun = lab_now_ns();
	for (size_t i = 0; i < NEIGHBOURS; i++)
		learn(&neighbours[i], olds);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		deafen(&neighbours[i]);
	lab_must(old, "ip addr del " VIP4 "/32 dev eth0 && ip addr del " VIP6 "/128 dev eth0");
	sentinel(OUR4);
	expect(0, "claimed");
	/* or the locktime would be over, and this prove less */
	assert_true(lab_now_ns() - begun < lab_slow() * INT64_C(1000000000));
	expect_followed(ours, lab_capture_wait(eyes, 0, lab_is_arp, VIP4, 0)->ns);
}

/* ---- a stale holder ---- */

#define RUNS_MAX 100
#define RUNS (lab_slow() < 5 ? RUNS_MAX : 16) /* at once */
#define ENDS_MS 5000

/* Of the runs, a quarter each. */
enum kind {
	KNOWS,   /* the peer knows the stale holder */
	ASKS,    /* it knows nobody and asks at the very moment of the claim; both answer */
	SENDS,   /* it knows the stale holder and goes on sending all the while */
	LETS_GO, /* the stale holder does so, after a time; else it never does */
	KINDS,
};

static const char *nth(int i, bool six)
{
	static char text[32];

	if (six)
		snprintf(text, sizeof text, "fd00::1:%d", i);
	else
		snprintf(text, sizeof text, "10.0.0.%d", 100 + i);
	return text;
}

/* The VIPs of every `step`th run, from the first of these on, come to a host or go. */
static void vips_of(struct lab_host *h, const char *verb, int from, int step)
{
	static char lines[16384];
	size_t n = 0;

	for (int i = from; i < RUNS; i += step) {
		n += (size_t)snprintf(lines + n, sizeof lines - n, "addr %s %s/32 dev eth0\n", verb,
				      nth(i, false));
		n += (size_t)snprintf(lines + n, sizeof lines - n,
				      "addr %s %s/128 dev eth0 nodad\n", verb, nth(i, true));
	}
	lab_must(h, "ip -b %s", lab_file(h, "batch", 0600, 0, "%s", lines));
}

static void poke_both(int i)
{
	lab_poke(peer, nth(i, false));
	lab_poke(peer, nth(i, true));
}

static int setup_runs(void **state)
{
	static char config[RUNS_MAX * 64];
	size_t n = (size_t)snprintf(config, sizeof config,
				    "interface = eth0\nannounce = 0.2 1.1 2.2\n");

	netns_setup(state);
	old = lab_host("old", OLD4 "/24", "fd00::9/64", (char *)NULL);
	for (int i = 0; i < RUNS; i++) {
		n += (size_t)snprintf(config + n, sizeof config - n, "[m%d]\nvip = %s\n", i,
				      nth(i, false));
		n += (size_t)snprintf(config + n, sizeof config - n, "vip = %s\n", nth(i, true));
	}
	lab_config(us, "%s", config);
	vips_of(old, "add", 0, 1);
	for (int i = 0; i < RUNS; i++)
		if (i % KINDS != ASKS)
			poke_both(i);
	return 0;
}

static int teardown_runs(void **state)
{
	lab_host_free(old);
	return netns_teardown(state);
}

static void claim_all(void)
{
	pid_t pids[RUNS];
	char master[8];

	for (int i = 0; i < RUNS; i++) {
		snprintf(master, sizeof master, "m%d", i);
		if (i % KINDS == ASKS)
			poke_both(i);
		pids[i] = lab_spawn(us, "claims",
				    (const char *const[]){lab_program(), master, "leader", "start",
							  OLD4, "6379", OUR4, "6379", NULL});
	}
	for (int i = 0; i < RUNS; i++)
		assert_int_equal(lab_wait(pids[i], ENDS_MS * lab_slow()), 0);
}

/* It is with us at the end, and whose fault it might have been was said. */
static bool ended_well(const char *address, bool never_let_go, const unsigned char ours[6],
		       const unsigned char olds[6])
{
	char said[128];

	if (!has_entry(&(struct neighbour){.host = peer}, address, ours)) {
		lab_sh(peer, &r, "ip neigh show %s", address);
		print_error("in the end the peer has: %s", r.out);
		return false;
	}
	snprintf(said, sizeof said, "%s is also held by %02x:%02x:%02x:%02x:%02x:%02x", address,
		 olds[0], olds[1], olds[2], olds[3], olds[4], olds[5]);
	if (never_let_go && !lab_log_wait(us, said, 0)) {
		print_error("not in the log: %s\n", said);
		return false;
	}
	return true;
}

static void the_peer_ends_up_with_us(void **state)
{
	int64_t until;
	unsigned char ours[6], olds[6];
	int wrong = 0;

	(void)state;
	assert_true(lab_mac(us, "eth0", ours) && lab_mac(old, "eth0", olds));
	claim_all();
	vips_of(old, "del", LETS_GO, KINDS);
	until = lab_now_ns() + ENDS_MS * lab_slow() * INT64_C(1000000);
	while (lab_host_processes(us, NULL) > 0 && lab_now_ns() < until)
		for (int i = SENDS; i < RUNS; i += KINDS) {
			poke_both(i);
			lab_sleep_ms(2);
		}
	assert_int_equal(lab_host_processes(us, NULL), 0);
	for (int i = 0; i < RUNS; i++)
		for (int six = 0; six < 2; six++)
			wrong += !ended_well(nth(i, six), i % KINDS != LETS_GO, ours, olds);
	assert_int_equal(wrong, 0);
}

int netns_follow_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(the_peer_ends_up_with_us, setup_runs,
						teardown_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
