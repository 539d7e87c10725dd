/* SPDX-License-Identifier: MIT */
/*
 * The conversation with rtnetlink, over libnl: a question, the whole answer, in
 * bounded time, and again where the kernel was only busy.  What is asked is
 * the affair of vip.c and facts.c.
 */
#include "vip.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum {
	ANSWER_MS = 1000,	/* rtnetlink answers inside the call; this is generous */
	PAUSE_MAX_MS = 100,
	QUEUE_BYTES = 208 << 10,	/* net.core.rmem_max as Linux sets it */
	ACK_BYTES = 1024,	/* of a queue, for each acknowledgement */
	MESSAGE_BYTES = 32 << 10,	/* the most that a dump puts into one (af_netlink.c) */
	ERROR_MAX = 4095,	/* MAX_ERRNO, include/linux/err.h */
};

struct netlink {
	struct nl_sock *sk;
	double deadline_ms;
	netlink_listener listen;
	void *arg;
	unsigned pending;	/* answers still to come */
	int error;		/* of the first answer that said one */
	bool exist_is_well;	/* EEXIST is no error in this answer */
	bool single;		/* the answer is one message, no acknowledgement follows */
	bool unheard;		/* an answer may still lie in the queue */
};

static int on_message(struct nl_msg *msg, void *arg)
{
	struct netlink *k = arg;
	int err = k->listen != NULL ? k->listen(k->arg, nlmsg_hdr(msg)) : 0;

	if (err < 0 && k->error == 0)
		k->error = err;
	if (!k->single)
		return NL_OK;
	k->pending--;
	return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	const struct nlmsghdr *message = nlmsg_hdr(msg);
	struct netlink *k = arg;

	/* a dump that could not be finished says so here (af_netlink.c, netlink_dump_done) */
	if (message->nlmsg_type == NLMSG_DONE && nlmsg_datalen(message) >= (int)sizeof(int) &&
	    *(const int *)nlmsg_data(message) < 0 && k->error == 0)
		k->error = *(const int *)nlmsg_data(message) < -ERROR_MAX ? -EPROTO :
			*(const int *)nlmsg_data(message);
	k->pending--;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *answer, void *arg)
{
	struct netlink *k = arg;
	bool expected = answer->error == -EEXIST && k->exist_is_well;

	(void)from;
	k->pending--;
	if (k->error == 0 && !expected)
		k->error = answer->error > 0 || answer->error < -ERROR_MAX ? -EPROTO : answer->error;
	return NL_SKIP;	/* NL_STOP would make libnl return a code of its own, coarser than errno */
}

/* libnl's codes; what is worth another try becomes EAGAIN or ENOBUFS. */
static int from_libnl(int err)
{
	switch (-err) {
	case NLE_AGAIN: case NLE_DUMP_INTR: case NLE_SEQ_MISMATCH: return -EAGAIN;
	case NLE_INTR: return -EINTR;
	case NLE_NOMEM: return -ENOBUFS;
	case NLE_BUSY: return -EBUSY;
	case NLE_PERM: return -EPERM;
	case NLE_NOACCESS: return -EACCES;
	case NLE_AF_NOSUPPORT: return -EAFNOSUPPORT;
	case NLE_NODEV: return -ENODEV;
	default: return -EIO;
	}
}

static int reconnect(struct netlink *k)
{
	struct timeval limit = { .tv_sec = ANSWER_MS / 1000, .tv_usec = ANSWER_MS % 1000 * 1000 };
	int err;

	k->unheard = true;
	nl_close(k->sk);
	errno = 0;
	err = nl_connect(k->sk, NETLINK_ROUTE);
	if (err < 0)
		return errno != 0 ? -errno : from_libnl(err);
	if (setsockopt(nl_socket_get_fd(k->sk), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	err = nl_socket_set_buffer_size(k->sk, QUEUE_BYTES, 0);
	k->unheard = err < 0;
	return err < 0 ? from_libnl(err) : 0;
}

int netlink_open(double deadline_ms, struct netlink **netlink)
{
	struct netlink *k = calloc(1, sizeof(*k));
	int err;

	if (k == NULL)
		return -ENOMEM;
	k->deadline_ms = deadline_ms;
	k->sk = nl_socket_alloc();
	if (k->sk == NULL) {
		free(k);
		return -ENOMEM;
	}
	/* a size of its own saves a look at each message before it is read */
	nl_socket_set_msg_buf_size(k->sk, MESSAGE_BYTES);
	/* a connection is never used again after an answer that was not heard to its end */
	nl_socket_disable_seq_check(k->sk);
	nl_socket_modify_cb(k->sk, NL_CB_VALID, NL_CB_CUSTOM, on_message, k);
	nl_socket_modify_cb(k->sk, NL_CB_FINISH, NL_CB_CUSTOM, on_end, k);
	nl_socket_modify_cb(k->sk, NL_CB_ACK, NL_CB_CUSTOM, on_end, k);
	nl_socket_modify_err_cb(k->sk, NL_CB_CUSTOM, on_error, k);
	err = reconnect(k);
	if (err < 0) {
		netlink_close(&k);
		return err;
	}
	*netlink = k;
	return 0;
}

void netlink_close(struct netlink **netlink)
{
	if (*netlink != NULL) {
		nl_socket_free((*netlink)->sk);
		free(*netlink);
	}
	*netlink = NULL;
}

uint64_t netlink_namespace(const struct netlink *netlink)
{
	return netlink == NULL ? 0 : socket_namespace(nl_socket_get_fd(netlink->sk));
}

/* rtnetlink.h: each object has NEW, DEL, GET, SET in this order. */
static bool is_single_get(const struct nlmsghdr *message)
{
	return (message->nlmsg_type - RTM_BASE) % 4 == RTM_GETLINK - RTM_BASE &&
		(message->nlmsg_flags & NLM_F_DUMP) == 0;
}

/* Takes `count` answers to what has just been sent. */
static int hear(struct netlink *k, unsigned count)
{
	k->pending = count;
	k->error = 0;
	while (k->pending > 0) {
		int err = nl_recvmsgs_default(k->sk);

		if (err < 0) {
			k->unheard = true;
			return from_libnl(err);
		}
	}
	return k->error;
}

static bool worth_another_try(int err)
{
	return err == -EAGAIN || err == -EBUSY || err == -EINTR || err == -ENOBUFS;
}

/*
 * A new connection after a pause that doubles, since answers to the last
 * question may still lie in the old one.  False when the time is over.
 */
static bool try_again(struct netlink *k, int err, int *pause_ms)
{
	if (!worth_another_try(err) || clock_ms() + *pause_ms >= k->deadline_ms)
		return false;
	poll(NULL, 0, *pause_ms);
	*pause_ms = *pause_ms < PAUSE_MAX_MS / 2 ? *pause_ms * 2 : PAUSE_MAX_MS;
	return reconnect(k) == 0;
}

int netlink_ask(struct netlink *k, struct nl_msg *msg, netlink_listener listen, void *arg)
{
	int pause_ms = 1;
	int err = k->unheard ? reconnect(k) : 0;

	if (err < 0)
		return err;
	k->single = is_single_get(nlmsg_hdr(msg));
	if (k->single)
		nl_socket_disable_auto_ack(k->sk);
	do {
		nlmsg_hdr(msg)->nlmsg_seq = NL_AUTO_SEQ;
		nlmsg_hdr(msg)->nlmsg_pid = NL_AUTO_PORT;
		k->listen = listen;
		k->arg = arg;
		if (listen != NULL)
			listen(arg, NULL);
		err = nl_send_auto(k->sk, msg);
		err = err < 0 ? from_libnl(err) : hear(k, 1);
	} while (try_again(k, err, &pause_ms));
	k->single = false;
	nl_socket_enable_auto_ack(k->sk);
	return err;
}

void netlink_free_message(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

struct nl_msg *netlink_question(int type, int flags, void *fixed, size_t size)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	if (msg != NULL && nlmsg_append(msg, fixed, size, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* Adds a request to the batch, which moves. */
static int append(struct netlink *k, struct nl_msg *msg, char **batch, size_t *size)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	size_t padded = (size_t)NLMSG_ALIGN(header->nlmsg_len);
	char *moved = realloc(*batch, *size + padded);

	if (moved == NULL)
		return -ENOMEM;
	header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	header->nlmsg_seq = nl_socket_use_seq(k->sk);
	header->nlmsg_pid = nl_socket_get_local_port(k->sk);
	memset(moved + *size, 0, padded);
	memcpy(moved + *size, header, header->nlmsg_len);
	*batch = moved;
	*size += padded;
	return 0;
}

int netlink_batch(struct netlink *netlink, struct nl_msg **messages, size_t count)
{
	char *batch = NULL;
	size_t size = 0;
	int err = netlink->unheard ? reconnect(netlink) : 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		err = append(netlink, messages[i], &batch, &size);
	if (err == 0) {
		int fd = nl_socket_get_fd(netlink->sk), room = (int)(size + count * ACK_BYTES);

		/* all goes in one message, and all answers come before the first is read */
		if (room > QUEUE_BYTES) {
			setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
			setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
		}
		netlink->listen = NULL;
		err = nl_sendto(netlink->sk, batch, size);
		netlink->exist_is_well = true;
		err = err < 0 ? from_libnl(err) : hear(netlink, (unsigned)count);
		netlink->exist_is_well = false;
	}
	free(batch);
	return err;
}
