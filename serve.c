/* SPDX-License-Identifier: MIT */
/*
 * The serving end of the relay: one request of somebody with fewer rights.  It trusts
 * nothing: who asks is what the kernel says, the request is bounded in size and time,
 * and what may be asked for is decided by the caller of this file.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	REQUEST_MS = 3000,	/* for the request, which is sent at once */
	ANSWER_S = 5,		/* for the asking end to take what was printed */
	OUTPUT_MAX = 16 << 20,	/* bytes of it */
	GROUPS_MAX = 256,
};

/* Who asks ------------------------------------------------------------- */

static bool is_member(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* The socket's own permissions are one fence; this holds when somebody has opened it. */
static int judge_peer(int fd, const struct ucred *peer, struct why *why)
{
	struct sockaddr_un own = { 0 };
	socklen_t size = sizeof(own) - 1;
	struct stat st;

	if (peer->uid == 0)
		return 0;
	if (getsockname(fd, (struct sockaddr *)&own, &size) < 0 || own.sun_path[0] == '\0' ||
	    stat(own.sun_path, &st) < 0)
		return why_set(why, -EACCES, "the socket has no place in the file system, so nobody but "
			       "root may ask");
	if (peer->uid != st.st_uid && !is_member(fd, peer, st.st_gid))
		return why_set(why, -EACCES, "only root and members of the socket's group, %u, may ask",
			       (unsigned)st.st_gid);
	return 0;
}

static int know_peer(int fd, struct why *why)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int domain = AF_UNSPEC, type = 0;
	socklen_t domain_size = sizeof(domain), type_size = sizeof(type);
	char user[USER_SIZE];
	struct why caller;

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size);
	if (domain != AF_UNIX || type != SOCK_SEQPACKET ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid == (uid_t)-1)
		return why_set(why, -ENOTSOCK, "--serve is for sentinel-vip@.service, with a connection "
			       "of sentinel-vip.socket as standard input");
	process_name_user(peer.uid, user);
	why_set(&caller, 0, "%s (uid %u), pid %d", user, (unsigned)peer.uid, (int)peer.pid);
	log_caller(caller.text);
	return judge_peer(fd, &peer, why);
}

/* The request ---------------------------------------------------------- */

int serve_receive(int fd, struct request *request, struct why *why)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	double deadline = clock_ms() + REQUEST_MS;
	ssize_t n;
	int err = know_peer(fd, why);

	if (err < 0)
		return err;
	do {
		if (clock_ms() >= deadline)
			return why_set(why, -ETIMEDOUT, "no request came for %d s", REQUEST_MS / 1000);
	} while (poll(&p, 1, clock_left(deadline)) <= 0);
	n = relay_receive(fd, &request->packet);
	if (n == 0)
		return why_set(why, -ECONNRESET, "the connection was closed without a request");
	if (n < 0)
		return why_set(why, (int)n, n == -EPROTO ? "the request is too short or too long" :
			       "cannot read the request");
	err = relay_check(&request->packet.head, sizeof(request->packet.head), why);
	if (err == 0)
		err = relay_unpack(&request->packet, &request->argc, request->argv + 1, why);
	if (err < 0)
		return err;
	request->argv[0] = (char *)"sentinel-vip";
	request->argc++;
	return 0;
}

/* What is printed meanwhile -------------------------------------------- */

static int capture(int fd, const char *name, int *kept)
{
	CLEANUP(fd_close) int file = memfd_create(name, MFD_CLOEXEC);

	*kept = file < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (*kept < 0)
		return -errno;
	if (dup2(file, fd) < 0)
		return -errno;
	return 0;
}

int serve_begin(int fd, struct session *session, struct why *why)
{
	struct relay_packet taken = { .size = 0 };
	int err;

	*session = (struct session){ .fd = fd, .out = -1, .err = -1 };
	err = capture(STDOUT_FILENO, "stdout", &session->out);
	if (err == 0)
		err = capture(STDERR_FILENO, "stderr", &session->err);
	if (err < 0)
		return why_set(why, err, "cannot keep what is printed: %s", strerror(-err));
	relay_head(RELAY_TAKEN, 0, &taken.head);
	relay_send(fd, &taken);		/* who has gone meanwhile is not missed */
	return 0;
}

/* Sends what was printed, unless that failed before, and puts the descriptor back. */
static int give_back(int fd, int *kept, int to, enum relay_kind kind, int err)
{
	struct relay_packet packet;
	off_t at = 0;
	ssize_t n;

	relay_head(kind, 0, &packet.head);
	while (*kept >= 0 && err == 0 && at < OUTPUT_MAX &&
	       (n = pread(fd, packet.text, sizeof(packet.text), at)) > 0) {
		packet.size = (size_t)n;
		err = relay_send(to, &packet);
		at += n;
	}
	if (*kept >= 0)
		dup2(*kept, fd);
	fd_close(kept);
	return err;
}

static int send_verdict(int fd, enum verdict verdict)
{
	struct relay_packet packet = { .size = 0 };

	relay_head(RELAY_VERDICT, verdict, &packet.head);
	return relay_send(fd, &packet);
}

void serve_end(struct session *session, enum verdict verdict)
{
	struct timeval patience = { .tv_sec = ANSWER_S };
	int err;

	setsockopt(session->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	fflush(NULL);
	err = give_back(STDOUT_FILENO, &session->out, session->fd, RELAY_OUT, 0);
	err = give_back(STDERR_FILENO, &session->err, session->fd, RELAY_ERR, err);
	if (err == 0)
		send_verdict(session->fd, verdict);
	/* whoever else has it, the asking end is not kept */
	shutdown(session->fd, SHUT_RDWR);
}

void serve_refuse(int fd, const struct why *why)
{
	struct relay_packet packet;

	/* what is left unread at the end would reset the connection, and the answer with it: unix(7) */
	shutdown(fd, SHUT_RD);
	while (relay_receive(fd, &packet) > 0)
		;
	relay_head(RELAY_ERR, 0, &packet.head);
	packet.size = (size_t)snprintf(packet.text, sizeof(packet.text),
				       "sentinel-vip: refused: %s\n", why->text);
	if (relay_send(fd, &packet) == 0)
		send_verdict(fd, VERDICT_PERMANENT);
	shutdown(fd, SHUT_RDWR);
}

/* Its announcers are this process's children, and systemd ends all with the first. */
void serve_wait(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}
