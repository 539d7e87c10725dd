/* SPDX-License-Identifier: MIT */
/*
 * The relay: who may not change the network hands its words over a unix socket to a
 * process that may, and waits for what came of them.  This file has the form of what
 * passes, and the asking end.  It does not look at the words: the serving end judges them.
 */
#include "vip.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum {
	RELAY_VERSION = 1,
	VERDICT_MS = 20000,	/* for the whole of it; a run takes 15 s at most */
	FULL_MS = 10,		/* before the next try where too many wait to be accepted */
	AGAIN_FIRST_MS = 50,	/* where nobody took the request: then twice as much, */
	AGAIN_LAST_MS = 800,	/* and after this much no more */
	PROBE_TYPE = 0xf,	/* no such socket type: refused with EINVAL where the family is allowed */
};

static const char magic[4] = { 's', 'v', 'i', 'p' };

_Static_assert(sizeof(struct relay_head) == 8, "no padding");

void relay_head(enum relay_kind kind, unsigned value, struct relay_head *head)
{
	*head = (struct relay_head){ .version = RELAY_VERSION, .kind = (uint8_t)kind,
				     .value = (uint8_t)value };
	memcpy(head->magic, magic, sizeof(magic));
}

int relay_check(const struct relay_head *head, size_t size, struct why *why)
{
	if (size < sizeof(*head) || memcmp(head->magic, magic, sizeof(magic)) != 0)
		return why_set(why, -EPROTO, "what came over the relay's socket is not of this program");
	if (head->version != RELAY_VERSION)
		return why_set(why, -EPROTO, "the other end of the relay speaks version %u, this one "
			       "version %d: install the same sentinel-vip for both", head->version,
			       RELAY_VERSION);
	return 0;
}

/* The question ---------------------------------------------------------- */

int relay_pack(int argc, char *const argv[], unsigned flags, struct relay_packet *packet)
{
	size_t size = 0;

	relay_head(RELAY_REQUEST, flags, &packet->head);
	for (int i = 0; i < argc; i++) {
		size_t n = strlen(argv[i]) + 1;

		if (i == RELAY_WORDS_MAX || n > sizeof(packet->text) - size)
			return -E2BIG;
		memcpy(packet->text + size, argv[i], n);
		size += n;
	}
	packet->size = size;
	return 0;
}

int relay_unpack(struct relay_packet *packet, int *argc, char *argv[RELAY_WORDS_MAX + 1],
		 struct why *why)
{
	int count = 0;

	if (packet->head.kind != RELAY_REQUEST)
		return why_set(why, -EPROTO, "what came is no request");
	if (packet->size == 0 || packet->text[packet->size - 1] != '\0')
		return why_set(why, -EPROTO, "the request has no end");
	for (char *word = packet->text; word < packet->text + packet->size;
	     word += strlen(word) + 1) {
		if (count == RELAY_WORDS_MAX)
			return why_set(why, -E2BIG, "the request has more than %d words",
				       RELAY_WORDS_MAX);
		argv[count++] = word;
	}
	argv[count] = NULL;
	*argc = count;
	return 0;
}

/* Whether it is needed, and there --------------------------------------- */

static bool may_open(int family)
{
	/*
	 * A filter of system calls looks at the family alone; the kernel refuses the type before
	 * there is a socket, so that none has to be closed.
	 */
	int fd = socket(family, PROBE_TYPE, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == EINVAL;
}

bool relay_is_needed(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { 0 };
	uint32_t needed = 1U << CAP_NET_ADMIN | 1U << CAP_NET_RAW;

	if (syscall(SYS_capget, &header, caps) == 0 && (caps[0].effective & needed) != needed)
		return true;
	return !may_open(AF_NETLINK) || !may_open(AF_PACKET);
}

static int try_connect(int *out)
{
	static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = RELAY_PATH };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static int refuse_connect(int err, struct why *why)
{
	struct stat st;

	if (err == -ENOENT || err == -ECONNREFUSED)
		return why_set(why, -ENOENT, "the relay is not there: systemctl enable --now "
			       "sentinel-vip.socket");
	if (err == -EACCES && stat(RELAY_PATH, &st) == 0)
		return why_set(why, err, "the relay serves root and group %u only: systemctl edit "
			       "sentinel-vip.socket: [Socket] SocketGroup= that of Sentinel's user",
			       (unsigned)st.st_gid);
	return why_set(why, err, "%s: %s", RELAY_PATH, strerror(-err));
}

/* Looks at the socket only: a connection would be a request that never comes. */
void relay_advise(struct why *why)
{
	why->text[0] = '\0';
	if (access(RELAY_PATH, W_OK) < 0)
		refuse_connect(-errno, why);
}

/* The answer ------------------------------------------------------------ */

/* What was said at the serving end, to where it would have been said here. */
static void pass_on(int fd, const char *text, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	/* Sentinel's log may hang; a person's pager may not have read yet */
	if (fd == STDERR_FILENO && (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0))
		return;
	while (size > 0) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

static int hear_one(int fd, double deadline_ms, struct relay_packet *packet)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	do {
		if (clock_ms() >= deadline_ms)
			return -ETIMEDOUT;
	} while (poll(&p, 1, clock_left(deadline_ms)) <= 0);
	n = relay_receive(fd, packet);
	return n == 0 ? -ECONNRESET : n < 0 ? (int)n : 0;
}

/* To where it would have been said here, or, of stderr, to who wants to read it. */
static void take_text(const struct relay_packet *packet, struct line *said)
{
	bool error = packet->head.kind == RELAY_ERR;

	if (said == NULL)
		pass_on(error ? STDERR_FILENO : STDOUT_FILENO, packet->text, packet->size);
	else if (error)
		line_add(said, "%.*s", (int)packet->size, packet->text);
}

/* *taken: somebody has begun with it. */
static int hear(int fd, double deadline_ms, struct line *said, bool *taken, enum verdict *verdict,
		struct why *why)
{
	struct relay_packet packet;
	int err;

	while ((err = hear_one(fd, deadline_ms, &packet)) == 0) {
		err = relay_check(&packet.head, sizeof(packet.head), why);
		if (err < 0)
			return err;
		*taken = true;
		if (packet.head.kind == RELAY_OUT || packet.head.kind == RELAY_ERR)
			take_text(&packet, said);
		else if (packet.head.kind != RELAY_TAKEN)
			break;
	}
	if (err == -ETIMEDOUT)
		return why_set(why, err, "the relay has said nothing for %d s: journalctl -t sentinel-vip "
			       "says how far it came", VERDICT_MS / 1000);
	if (err == -EPROTO)
		return why_set(why, err, "what came over the relay's socket is not of this program");
	if (err < 0 && !*taken)
		return why_set(why, err, "the relay has closed the connection: journalctl -u "
			       "\"sentinel-vip@*\" says why it does not start");
	if (err < 0)
		return why_set(why, err, "the relay broke off in the middle: journalctl -u "
			       "\"sentinel-vip@*\"");
	if (packet.head.kind != RELAY_VERDICT || packet.head.value > VERDICT_PERMANENT)
		return why_set(why, -EPROTO, "the relay answered what is no verdict");
	*verdict = (enum verdict)packet.head.value;
	return 0;
}

ssize_t relay_receive(int fd, struct relay_packet *packet)
{
	struct iovec parts[] = { { &packet->head, sizeof(packet->head) },
				 { packet->text, sizeof(packet->text) } };
	/* no room for descriptors: the kernel gives none to who has not asked for them */
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = recvmsg(fd, &message, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n > 0 && ((message.msg_flags & MSG_TRUNC) != 0 || (size_t)n < sizeof(packet->head)))
		return -EPROTO;
	packet->size = n > 0 ? (size_t)n - sizeof(packet->head) : 0;
	return n;
}

int relay_send(int fd, const struct relay_packet *packet)
{
	struct iovec parts[] = { { (void *)&packet->head, sizeof(packet->head) },
				 { (void *)packet->text, packet->size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/*
 * Once through, from the connection to the verdict.  -EAGAIN while too many wait to be
 * accepted.
 */
static int ask_once(const struct relay_packet *request, double deadline_ms, struct line *said,
		    bool *taken, enum verdict *verdict, struct why *why)
{
	CLEANUP(fd_close) int fd = -1;
	int err = try_connect(&fd);

	if (err == -EAGAIN)
		return why_set(why, err, "too many wait for the relay");
	if (err < 0)
		return refuse_connect(err, why);
	err = relay_send(fd, request);
	/* closed already: what it said before that can be heard all the same */
	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		return why_set(why, err, "cannot send to the relay: %s", strerror(-err));
	return hear(fd, deadline_ms, said, taken, verdict, why);
}

int relay_ask(int argc, char *const argv[], unsigned flags, struct line *said,
	      enum verdict *verdict, struct why *why)
{
	double deadline = clock_ms() + VERDICT_MS;
	struct relay_packet request;
	int pause = AGAIN_FIRST_MS, err;
	bool taken = false;

	if (relay_pack(argc, argv, flags, &request) < 0)
		return why_set(why, -E2BIG, "these are too many words for the relay, which takes %d: name "
			       "fewer masters", RELAY_WORDS_MAX);
	for (;;) {
		err = ask_once(&request, deadline, said, &taken, verdict, why);
		if (err == -EAGAIN && clock_ms() < deadline) {
			poll(NULL, 0, FULL_MS);
			continue;
		}
		/* turned away unheard: what it says is as true as before */
		if (taken || pause > AGAIN_LAST_MS || (err != -ECONNRESET && err != -EPIPE))
			return err;
		poll(NULL, 0, pause);
		pause *= 2;
	}
}
