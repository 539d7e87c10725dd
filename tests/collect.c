/* SPDX-License-Identifier: MIT */
/*
 * A system log for hosts that have none: listens on one datagram socket per
 * host and prints each message as "log", a tab, the host, a tab and the text.
 *
 *	collect HOST=SOCKET...
 *
 * The priority, the time stamp and the tag are taken off.  Nothing is kept, no
 * message is looked at further, and a message cannot forge a second line.
 */

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HOSTS_MAX 16

/* Past "<30>Nov 22 17:41:00 tag[123]: ", or as much of it as is there. */
static char *text_of(char *message)
{
	char *text = message, *tag;

	if (*text == '<' && (tag = strchr(text, '>')))
		text = tag + 1;
	if (strlen(text) > 16 && text[3] == ' ' && text[6] == ' ' && text[9] == ':' &&
	    text[12] == ':' && text[15] == ' ')
		text += 16;
	tag = text + strcspn(text, " :[");
	if (*tag == '[')
		tag += strcspn(tag, "]") + 1;
	if (tag[0] == ':' && tag[1] == ' ')
		text = tag + 2;
	return text;
}

static int log_open(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
	    sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	unlink(path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void log_show(int fd, const char *host)
{
	char message[4096], *text;
	ssize_t length = recv(fd, message, sizeof(message) - 1, 0);

	if (length <= 0)
		return;
	message[length] = '\0';
	while (length > 0 && (message[length - 1] == '\n' || message[length - 1] == '\0'))
		message[--length] = '\0';
	text = text_of(message);
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	printf("log\t%s\t%s\n", host, text);
}

int main(int argc, char **argv)
{
	struct pollfd poll_on[HOSTS_MAX];
	const int hosts = argc - 1;

	if (hosts < 1 || hosts > HOSTS_MAX) {
		fprintf(stderr, "usage: collect HOST=SOCKET...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < hosts; i++) {
		char *path = strchr(argv[i + 1], '=');

		if (path)
			*path++ = '\0';
		poll_on[i] = (struct pollfd){.fd = path ? log_open(path) : -1, .events = POLLIN};
		if (poll_on[i].fd < 0) {
			fprintf(stderr, "collect: %s: %s\n", path ? path : "no socket given",
				strerror(errno));
			return 2;
		}
	}
	while (poll(poll_on, (nfds_t)hosts, -1) > 0 || errno == EINTR)
		for (int i = 0; i < hosts; i++)
			if (poll_on[i].revents & POLLIN)
				log_show(poll_on[i].fd, argv[i + 1]);
	return 1;
}
