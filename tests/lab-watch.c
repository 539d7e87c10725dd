/* SPDX-License-Identifier: MIT */
/*
 * What comes out of a host, seen from outside the program under test: its log, the frames on its
 * wires, and the kernel's dump as iproute2 prints it. Refuses to guess: a lost frame or a line that
 * iproute2 cannot give is a failure.
 */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CAPTURE_BUFFER (16 << 20)

__attribute__((weak)) int lab_clock = 1;

int64_t lab_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int lab_slow(void)
{
	const char *text = getenv("LAB_SLOW");
	int times = text ? atoi(text) : 1;

	return times > 1 ? times : 1;
}

bool lab_took_at_most(const struct lab_result *r, int ms)
{
	return r->exit_ns - r->exec_ns < (int64_t)ms * lab_slow() * 1000000;
}

void lab_sleep_ms(int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* ---- the log ---- */

struct lab_log {
	size_t n;
	char **messages;
};

static struct lab_log *lab_log_read(struct lab_host *h)
{
	char buf[65536];
	ssize_t n;

	if (!h->log && !(h->log = calloc(1, sizeof *h->log)))
		lab_fail("calloc: %m");
	while ((n = recv(h->log_fd, buf, sizeof buf - 1, 0)) >= 0) {
		char **more = reallocarray(h->log->messages, h->log->n + 1, sizeof *more);

		buf[n] = '\0';
		if (!more)
			lab_fail("reallocarray: %m");
		h->log->messages = more;
		if (!(more[h->log->n++] = strdup(buf)))
			lab_fail("strdup: %m");
	}
	return h->log;
}

static const char *lab_log_find(struct lab_host *h, const char *text)
{
	const struct lab_log *log = lab_log_read(h);

	for (size_t i = 0; i < log->n; i++)
		if (strstr(log->messages[i], text))
			return log->messages[i];
	return NULL;
}

const char *lab_log_wait(struct lab_host *h, const char *text, int timeout_ms)
{
	const char *found;

	(void)LAB_UNTIL((found = lab_log_find(h, text)) != NULL, timeout_ms);
	return found;
}

size_t lab_log_count(struct lab_host *h, const char *text)
{
	const struct lab_log *log = lab_log_read(h);
	size_t n = 0;

	for (size_t i = 0; i < log->n; i++)
		n += strstr(log->messages[i], text) != NULL;
	return n;
}

const char *lab_log_line(struct lab_host *h, size_t n)
{
	const struct lab_log *log = lab_log_read(h);

	return n < log->n ? log->messages[n] : NULL;
}

const char *lab_log_next(struct lab_host *h, const char *text, const char *after)
{
	const struct lab_log *log = lab_log_read(h);
	bool past = !after;

	for (size_t i = 0; i < log->n; i++) {
		if (past && strstr(log->messages[i], text))
			return log->messages[i];
		past = past || log->messages[i] == after;
	}
	return NULL;
}

void lab_log_clear(struct lab_host *h)
{
	struct lab_log *log = lab_log_read(h);

	while (log->n)
		free(log->messages[--log->n]);
	free(log->messages);
	log->messages = NULL;
}

void lab_log_tail(struct lab_host *h, size_t lines, FILE *out)
{
	const struct lab_log *log = lab_log_read(h);

	for (size_t i = log->n > lines ? log->n - lines : 0; i < log->n; i++)
		fprintf(out, "%s: %s\n", h->name, log->messages[i]);
}

void lab_log_print(struct lab_host *h)
{
	lab_log_tail(h, SIZE_MAX, stderr);
}

/* ---- frames ---- */

static struct lab_capture *lab_capture_on(struct lab_host *h, const char *dev,
					  const struct sock_fprog *filter)
{
	struct lab_capture *c = calloc(1, sizeof *c);
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int on = 1, size = CAPTURE_BUFFER;
	struct ifreq ifr = {0};

	if (!c)
		lab_fail("calloc: %m");
	/* Protocol 0 until the filter stands and the interface is chosen, so nothing slips in. */
	c->fd = lab_socket(h, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", dev);
	if (ioctl(c->fd, SIOCGIFINDEX, &ifr) < 0)
		lab_fail("%s of host %s: %m", dev, h->name);
	sll.sll_ifindex = ifr.ifr_ifindex;
	if (setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
	    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 ||
	    (filter &&
	     setsockopt(c->fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter) < 0) ||
	    bind(c->fd, (struct sockaddr *)&sll, sizeof sll) < 0)
		lab_fail("capture on %s of host %s: %m", dev, h->name);
	return c;
}

struct lab_capture *lab_capture(struct lab_host *h, const char *dev)
{
	return lab_capture_on(h, dev, NULL);
}

struct lab_capture *lab_capture_announcements(struct lab_host *h, const char *dev)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), /* EtherType */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20), /* next header */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, LAB_SNAP),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return lab_capture_on(
		h, dev, &(struct sock_fprog){.len = sizeof code / sizeof *code, .filter = code});
}

static bool lab_frame_read(int fd, struct lab_frame *f)
{
	char control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec iov = {.iov_base = f->data, .iov_len = sizeof f->data};
	struct sockaddr_ll sll;
	struct msghdr m = {.msg_name = &sll,
			   .msg_namelen = sizeof sll,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof control};
	ssize_t n = recvmsg(fd, &m, MSG_TRUNC);
	struct cmsghdr *cm;

	if (n < 0 && errno != EAGAIN && errno != ENETDOWN)
		lab_fail("capture: %m");
	if (n < 0)
		return false;
	f->len = (size_t)n;
	f->outgoing = sll.sll_pkttype == PACKET_OUTGOING;
	f->ns = 0;
	for (cm = CMSG_FIRSTHDR(&m); cm; cm = CMSG_NXTHDR(&m, cm))
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(cm), sizeof t);
			f->ns = (t.tv_sec * INT64_C(1000000000) + t.tv_nsec) / lab_clock;
		}
	return true;
}

void lab_capture_read(struct lab_capture *c)
{
	struct tpacket_stats st;
	socklen_t size = sizeof st;

	for (;;) {
		if (c->n == c->room) {
			c->room = c->room ? 2 * c->room : 64;
			c->frames = reallocarray(c->frames, c->room, sizeof *c->frames);
			if (!c->frames)
				lab_fail("reallocarray: %m");
		}
		memset(&c->frames[c->n], 0, sizeof *c->frames);
		if (!lab_frame_read(c->fd, &c->frames[c->n]))
			break;
		c->n++;
	}
	if (getsockopt(c->fd, SOL_PACKET, PACKET_STATISTICS, &st, &size) < 0 || st.tp_drops)
		lab_fail("the capture lost frames");
}

void lab_capture_free(struct lab_capture *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->frames);
	free(c);
}

const struct lab_frame *lab_capture_wait(struct lab_capture *c, size_t from,
					 bool (*want)(const struct lab_frame *, const void *),
					 const void *arg, int timeout_ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int64_t until = lab_now_ns() + timeout_ms * INT64_C(1000000), left;

	for (;;) {
		lab_capture_read(c);
		for (; from < c->n; from++)
			if (want(&c->frames[from], arg))
				return &c->frames[from];
		left = (until - lab_now_ns() + 999999) / 1000000;
		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			return NULL;
	}
}

size_t lab_capture_count(struct lab_capture *c,
			 bool (*want)(const struct lab_frame *, const void *), const void *arg)
{
	size_t n = 0;

	lab_capture_read(c);
	for (size_t i = 0; i < c->n; i++)
		n += want(&c->frames[i], arg);
	return n;
}

/* RFC 826 on Ethernet: sender IP at 14 + 14, target IP at 14 + 24. */
bool lab_is_arp(const struct lab_frame *f, const void *address)
{
	struct in_addr a;

	return inet_pton(AF_INET, address, &a) == 1 && f->len >= 42 && f->data[12] == 0x08 &&
	       f->data[13] == 0x06 && !memcmp(f->data + 28, &a, 4) && !memcmp(f->data + 38, &a, 4);
}

/* RFC 4861 4.4: type 136 right behind the IPv6 header, target at 14 + 40 + 8. */
bool lab_is_na(const struct lab_frame *f, const void *address)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, address, &a) == 1 && f->len >= 78 && f->data[12] == 0x86 &&
	       f->data[13] == 0xdd && f->data[20] == IPPROTO_ICMPV6 && f->data[54] == 136 &&
	       !memcmp(f->data + 62, &a, 16);
}

bool lab_is_announcement(const struct lab_frame *f, const void *address)
{
	return lab_is_arp(f, address) || lab_is_na(f, address);
}

void lab_poke(struct lab_host *h, const char *address)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)}};
	int fd;

	if (inet_pton(AF_INET6, address, &to.in6.sin6_addr) != 1) {
		to.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9)};
		if (inet_pton(AF_INET, address, &to.in.sin_addr) != 1)
			lab_fail("%s is no address", address);
	}
	fd = lab_socket(h, to.any.sa_family, SOCK_DGRAM, 0);
	if (sendto(fd, "", 1, 0, &to.any, sizeof to) < 0)
		lab_fail("host %s cannot send to %s: %m", h->name, address);
	close(fd);
}

/* ---- the kernel's dump ---- */

/* Calls for each address in the dump; stops and returns true when `found` does. */
static bool lab_addr_each(struct lab_host *h,
			  bool (*found)(const char *dev, const char *cidr, const char *line,
					void *arg),
			  void *arg)
{
	static struct lab_result r;
	char *save = NULL, dev[32], family[8], cidr[80];

	if (lab_run(h, &r, 5000, (const char *const[]){"ip", "-o", "addr", "show", NULL}) != 0)
		lab_fail("ip addr show on host %s: %s", h->name, r.err);
	if (strlen(r.out) == sizeof r.out - 1)
		lab_fail("more addresses on host %s than can be read", h->name);
	for (char *line = strtok_r(r.out, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*d: %31s %7s %79s", dev, family, cidr) == 3 &&
		    strncmp(family, "inet", 4) == 0 && found(dev, cidr, line, arg))
			return true;
	return false;
}

struct wanted {
	const char *dev, *cidr;
	char *line;
	size_t size;
	int copies;
};

static bool lab_addr_is(const char *dev, const char *cidr, const char *line, void *arg)
{
	struct wanted *w = arg;

	if (strcmp(dev, w->dev) != 0 || strcmp(cidr, w->cidr) != 0)
		return false;
	if (w->line)
		snprintf(w->line, w->size, "%s", line);
	return true;
}

static bool lab_addr_tally(const char *dev, const char *cidr, const char *line, void *arg)
{
	struct wanted *w = arg;
	size_t n = strlen(w->cidr);

	(void)dev;
	(void)line;
	w->copies += strncmp(cidr, w->cidr, n) == 0 && (cidr[n] == '/' || cidr[n] == '\0');
	return false;
}

bool lab_addr_line(struct lab_host *h, const char *dev, const char *cidr, char *line, size_t size)
{
	return lab_addr_each(
		h, lab_addr_is,
		&(struct wanted){.dev = dev, .cidr = cidr, .line = line, .size = size});
}

bool lab_has_addr(struct lab_host *h, const char *dev, const char *cidr)
{
	return lab_addr_line(h, dev, cidr, NULL, 0);
}

int lab_addr_copies(struct lab_host *h, const char *address)
{
	struct wanted w = {.cidr = address};

	lab_addr_each(h, lab_addr_tally, &w);
	return w.copies;
}

static bool lab_parse_mac(const char *text, const char *before, unsigned char mac[6])
{
	const char *p = strstr(text, before);

	return p && sscanf(p + strlen(before), " %2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0],
			   &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) == 6;
}

bool lab_mac(struct lab_host *h, const char *dev, unsigned char mac[6])
{
	static struct lab_result r;

	return lab_run(h, &r, 5000, (const char *const[]){"ip", "-o", "link", "show", dev, NULL}) ==
		       0 &&
	       lab_parse_mac(r.out, "link/ether", mac);
}

bool lab_neigh_mac(struct lab_host *h, const char *address, unsigned char mac[6])
{
	static struct lab_result r;

	return lab_run(h, &r, 5000,
		       (const char *const[]){"ip", "-o", "neigh", "show", address, NULL}) == 0 &&
	       lab_parse_mac(r.out, "lladdr", mac);
}
