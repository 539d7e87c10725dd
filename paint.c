/* SPDX-License-Identifier: MIT */
/*
 * What a person reads on stdout: coloured words and aligned rows.  No byte of
 * what others have said reaches the terminal as a control character.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static bool use_colour;

void paint_use_colour(void)
{
	use_colour = true;
}

bool paint_has_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return use_colour || ((no == NULL || *no == '\0') && term != NULL && strcmp(term, "dumb") != 0 &&
		isatty(STDOUT_FILENO));
}

void paint_word(enum colour colour, int width, const char *word)
{
	/* ECMA-48 section 8.3.117, Select Graphic Rendition */
	static const char *const codes[] = {
		[COLOUR_NONE] = "0", [COLOUR_GREEN] = "32", [COLOUR_YELLOW] = "33",
		[COLOUR_RED] = "1;31", [COLOUR_BOLD] = "1",
	};
	int padding = width - (int)strlen(word);

	if (colour != COLOUR_NONE && paint_has_colour())
		printf("\033[%sm%s\033[0m", codes[colour], word);
	else
		printf("%s", word);
	if (padding > 0)
		printf("%*s", padding, "");
}

void paint_row(int indent, int width, const char *label, const char *text)
{
	struct why safe;

	why_set(&safe, 0, "%s", text);
	printf("%*s%-*s%s\n", indent, "", width, label, safe.text);
}

bool paint_written(void)
{
	static bool said;
	struct line line = { 0 };
	int error = fflush(stdout) == 0 ? 0 : errno;

	if (error == 0 && ferror(stdout) == 0)
		return true;
	/* who closes a pipe has read enough */
	if (error != EPIPE && !said) {
		line_add(&line, "cannot write to standard output%s%s", error != 0 ? ": " : "",
			 error != 0 ? strerror(error) : "");
		log_to_terminal();
		log_send(LOG_ERR, line.text);
	}
	said = true;
	return false;
}
