/* SPDX-License-Identifier: MIT */
/*
 * What the program has to say: one line a run to syslog, and to the terminal of
 * whoever typed the command.  It never waits for the logger and never lets a byte
 * of an argument reach a log as a control character.
 */
#include "vip.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LOG_SOCKET "/dev/log"

static bool to_terminal;
static char caller[128];

/* Copies what is printable; the rest becomes \xNN. */
static void escape(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = c >= 0x20 && c < 0x7f;	/* 0x80 to 0x9f are controls, too */

		if (n + (plain ? 1 : 4) >= size) {
			for (size_t i = 1; i <= 3 && i <= n; i++)
				out[n - i] = '.';
			break;
		}
		if (plain)
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
}

int why_set(struct why *why, int error, const char *format, ...)
{
	char text[sizeof(why->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	escape(why->text, sizeof(why->text), text);
	return error;
}

void line_add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - line->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line->text + line->length, room, format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n < room) {
		line->length += (size_t)n;
		return;
	}
	line->length = sizeof(line->text) - 1;
	memcpy(line->text + line->length - 3, "...", 3);
}

/* systemd.exec(5): stderr leads to the journal, which gets the line by syslog already. */
static bool stderr_is_the_journal(void)
{
	const char *stream = secure_getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_to_terminal(void)
{
	to_terminal = !stderr_is_the_journal();
}

void log_caller(const char *who)
{
	snprintf(caller, sizeof(caller), "; for %s", who);
}

static int send_to_syslog(int priority, const char *text)
{
	static const struct sockaddr_un address = {
		.sun_family = AF_UNIX, .sun_path = LOG_SOCKET,
	};
	CLEANUP(fd_close) int fd = -1;
	char datagram[2048];
	char when[32];
	struct tm tm;
	time_t now;
	int n;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* RFC 3164 section 4.1.2: local time, English month, day padded by a space */
	now = time(NULL);
	if (localtime_r(&now, &tm) == NULL || strftime(when, sizeof(when), "%b %e %T", &tm) == 0)
		return -EOVERFLOW;
	n = snprintf(datagram, sizeof(datagram), "<%d>%s sentinel-vip[%d]: %s",
		     LOG_DAEMON | priority, when, (int)getpid(), text);
	if (n < 0)
		return -EINVAL;
	if ((size_t)n >= sizeof(datagram))
		n = sizeof(datagram) - 1;
	if (send(fd, datagram, (size_t)n, MSG_NOSIGNAL) != n)
		return -errno;
	return 0;
}

void log_send(int priority, const char *text)
{
	int saved = errno;
	struct pollfd terminal = { .fd = STDERR_FILENO, .events = POLLOUT };
	char safe[1536 + sizeof(caller)];

	escape(safe, 1536, text);
	strcat(safe, caller);
	/* both may lead to one journal, and it may hang */
	if ((send_to_syslog(priority, safe) < 0 || to_terminal) &&
	    poll(&terminal, 1, 0) > 0 && (terminal.revents & POLLOUT) != 0)
		dprintf(STDERR_FILENO, "sentinel-vip: %s\n", safe);
	errno = saved;
}

double clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int clock_left(double deadline_ms)
{
	double left = deadline_ms - clock_ms();

	return left < 1 ? 1 : (int)left;
}

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
