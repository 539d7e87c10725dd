/* SPDX-License-Identifier: MIT */
/*
 * As much of a JSON reader as the tests need: it refuses whatever RFC 8259 does not allow, and
 * finds a value by its path.
 */
#include "faces.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_value(const char *p);

static const char *skip_space(const char *p)
{
	return p ? p + strspn(p, " \t\r\n") : NULL;
}

static const char *skip_string(const char *p)
{
	if (!p || *p != '"')
		return NULL;
	for (p++; *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p != '\\')
			continue;
		p++;
		if (*p == 'u') {
			for (int i = 0; i < 4; i++)
				if (!isxdigit((unsigned char)*++p))
					return NULL;
		} else if (!*p || !strchr("\"\\/bfnrt", *p)) {
			return NULL;
		}
	}
	return p + 1;
}

static const char *skip_word(const char *p)
{
	static const char *const words[] = {"true", "false", "null"};
	char *end;

	for (size_t i = 0; i < COUNT(words); i++)
		if (strncmp(p, words[i], strlen(words[i])) == 0)
			return p + strlen(words[i]);
	if (*p != '-' && !isdigit((unsigned char)*p))
		return NULL;
	strtod(p, &end);
	return end;
}

/* An object or an array: `close` ends it. */
static const char *skip_list(const char *p, char close)
{
	p = skip_space(p + 1);
	if (*p == close)
		return p + 1;
	for (;;) {
		if (close == '}') {
			p = skip_space(skip_string(p));
			if (!p || *p != ':')
				return NULL;
			p++;
		}
		p = skip_space(skip_value(p));
		if (!p || (*p != ',' && *p != close))
			return NULL;
		if (*p++ == close)
			return p;
		p = skip_space(p);
	}
}

static const char *skip_value(const char *p)
{
	p = skip_space(p);
	if (!p)
		return NULL;
	if (*p == '{' || *p == '[')
		return skip_list(p, *p == '{' ? '}' : ']');
	return *p == '"' ? skip_string(p) : skip_word(p);
}

bool json_valid(const char *text)
{
	const char *end = skip_space(skip_value(text));

	return end && *end == '\0';
}

/* One step down: the member of this name, or the element of this number. */
static const char *step(const char *p, const char *name, size_t size)
{
	char close;
	long n = strtol(name, NULL, 10);

	p = skip_space(p);
	if (*p != '{' && *p != '[')
		return NULL;
	close = *p == '{' ? '}' : ']';
	p = skip_space(p + 1);
	while (*p != close) {
		bool found;

		if (close == '}') {
			const char *end = skip_string(p);

			found = (size_t)(end - p) == size + 2 && strncmp(p + 1, name, size) == 0;
			p = skip_space(end) + 1;
		} else {
			found = n-- == 0;
		}
		if (found)
			return skip_space(p);
		p = skip_space(skip_value(p));
		if (*p == ',')
			p = skip_space(p + 1);
	}
	return NULL;
}

const char *json_at(const char *text, const char *path)
{
	static char value[2048];
	const char *p = text, *end;
	size_t n = 0;

	if (!json_valid(text))
		return NULL;
	while (p && *path) {
		size_t size = strcspn(path, ".");

		p = step(p, path, size);
		path += size + (path[size] == '.');
	}
	if (!p)
		return NULL;
	end = skip_value(p);
	if (*p == '"') {
		for (p++; p < end - 1 && n < sizeof value - 1; p++)
			if (*p != '\\' || *++p != 'u')
				value[n++] = *p;
	} else {
		for (; p < end && n < sizeof value - 1; p++)
			value[n++] = *p;
	}
	value[n] = '\0';
	return value;
}
