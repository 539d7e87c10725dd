/* SPDX-License-Identifier: MIT */
/*
 * The configuration file: inih splits it, this file gives the words their
 * meaning.  What is not understood is refused with its line, never defaulted, and
 * a file that somebody else may write is not read at all.
 */
#include "vip.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	LINE_MAX_INIH = 199,	/* INI_MAX_LINE less the final NUL */
	SECTION_MAX_INIH = 49,	/* MAX_SECTION in ini.c, likewise */
};

_Static_assert((int)SECTION_MAX_INIH < (int)MASTER_NAME_SIZE, "a section's name fits");

/* Which line gave a VIP, to name both places when two are the same. */
struct place {
	struct ip ip;
	size_t master;
	unsigned line;
};

struct parser {
	const char *path;
	const char *next;		/* rest of the text */
	unsigned line;
	unsigned failed_line;		/* 0: no error of ours yet */
	struct why *why;
	struct config config;
	size_t master_room;
	struct master defaults;
	unsigned seen;			/* keys of this section, by place in keys[] */
	unsigned *section_lines;	/* beside config.masters */
	size_t section_room;
	size_t place_room;
};

static struct master *current(struct parser *p)
{
	return p->config.master_count == 0 ? &p->defaults :
		&p->config.masters[p->config.master_count - 1];
}

/* Keeps the first error only: what follows it is often its consequence. */
static int refuse_at(struct parser *p, unsigned line, const char *format, ...) PRINTF(3, 4);

static int refuse_at(struct parser *p, unsigned line, const char *format, ...)
{
	char text[384];
	va_list args;

	if (p->failed_line != 0)
		return 0;
	p->failed_line = line;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	why_set(p->why, 0, "%s, line %u: %s", p->path, line, text);
	return 0;
}

#define refuse(p, ...) refuse_at(p, (p)->line, __VA_ARGS__)

/* Makes room for one more; `*array` moves when it is full. */
static bool grow(void *array, size_t count, size_t *room, size_t size)
{
	void **items = array;
	size_t more = *room == 0 ? 4 : *room * 2;
	void *moved;

	if (count < *room)
		return true;
	moved = reallocarray(*items, more, size);
	if (moved == NULL)
		return false;
	*items = moved;
	*room = more;
	return true;
}

/* inih's handler: 1, or 0 when it is an error. */
static int on_key(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;
	struct master *m = current(p);
	size_t before = m->vip_count;
	struct why why;

	(void)section;		/* begin_section() has read the whole of it */
	if (p->failed_line != 0)
		return 0;
	if (keys_set(name, value, p->config.master_count > 0, &p->seen, m, &why) < 0)
		return refuse(p, "%s", why.text);
	if (m->vip_count > before) {
		if (!grow(&p->config.places, p->config.place_count, &p->place_room, sizeof(*p->config.places)))
			return refuse(p, "out of memory");
		p->config.places[p->config.place_count++] = (struct place){
			m->vips[before].ip, p->config.master_count - 1, p->line };
	}
	return 1;
}

static bool end_section(struct parser *p)
{
	if (p->config.master_count > 0 && current(p)->vip_count == 0) {
		refuse_at(p, p->section_lines[p->config.master_count - 1], "[%s] has no vip = ADDRESS", current(p)->name);
		return false;
	}
	return true;
}

/* inih cuts long names short and says nothing of empty sections: read it here. */
static bool begin_section(struct parser *p, const char *line)
{
	const char *end = strchr(line, ']');
	size_t size = end ? (size_t)(end - line - 1) : 0;
	struct master m = p->defaults;

	if (!end_section(p))
		return false;
	if (end == NULL || end[1] != '\0')
		return refuse(p, "expected [MASTER] and nothing else on the line");
	if (size > SECTION_MAX_INIH)
		return refuse(p, "the master's name is longer than %d characters", SECTION_MAX_INIH);
	memcpy(m.name, line + 1, size);
	m.name[size] = '\0';
	if (!master_name_ok(m.name))
		return refuse(p, "[%s]: a master's name has letters, digits and .-_ only", m.name);
	if (!grow(&p->config.masters, p->config.master_count, &p->master_room, sizeof(m)))
		return refuse(p, "out of memory");
	if (!grow(&p->section_lines, p->config.master_count, &p->section_room,
		  sizeof(*p->section_lines)))
		return refuse(p, "out of memory");
	if (!keys_inherit(&m))
		return refuse(p, "out of memory");
	p->section_lines[p->config.master_count] = p->line;
	p->config.masters[p->config.master_count++] = m;
	p->seen = 0;
	return true;
}

/* Cuts a comment off: # or ; at the start or after white space. */
static size_t without_comment(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((line[i] == '#' || line[i] == ';') && (i == 0 || isblank((unsigned char)line[i - 1])))
			size = i;
	while (size > 0 && isspace((unsigned char)line[size - 1]))
		size--;
	return size;
}

/* inih's reader: hands over one trimmed line, so that no line is a continuation. */
static char *read_line(char *out, int room, void *stream)
{
	struct parser *p = stream;
	const char *line = p->next, *end;
	size_t size;

	if (p->failed_line != 0 || *line == '\0')
		return NULL;
	p->line++;
	end = strchrnul(line, '\n');
	p->next = *end == '\n' ? end + 1 : end;
	while (line < end && isspace((unsigned char)*line))
		line++;
	size = without_comment(line, (size_t)(end - line));
	if (size > LINE_MAX_INIH - 1 || (int)size + 2 > room) {
		refuse(p, "the line is longer than %d characters", LINE_MAX_INIH - 1);
		return NULL;
	}
	memcpy(out, line, size);
	memcpy(out + size, "\n", 2);
	if (*out == '[') {
		out[size] = '\0';
		if (!begin_section(p, out))
			return NULL;
		memcpy(out + size, "\n", 2);
	}
	return out;
}

static int by_ip(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = (int)x->ip.family - (int)y->ip.family;

	return order != 0 ? order : memcmp(x->ip.bytes, y->ip.bytes, ip_bits(&x->ip) / 8);
}

static int by_address(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = by_ip(a, b);

	return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

/* One address can stand for one master only. */
static void refuse_twins(struct parser *p)
{
	char text[IP_TEXT_SIZE];

	if (p->config.place_count < 2)
		return;
	qsort(p->config.places, p->config.place_count, sizeof(*p->config.places), by_address);
	for (size_t i = 1; i < p->config.place_count; i++) {
		const struct place *a = &p->config.places[i - 1], *b = &p->config.places[i];

		if (ip_equal(&a->ip, &b->ip))
			refuse_at(p, b->line, "vip = %s is already a VIP of [%s], line %u",
				  ip_text(&a->ip, text), p->config.masters[a->master].name, a->line);
	}
}

static int by_name(const void *a, const void *b)
{
	const struct master *x = *(const struct master *const *)a;
	const struct master *y = *(const struct master *const *)b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : (x > y) - (x < y);
}

static void refuse_namesakes(struct parser *p)
{
	const struct config *config = &p->config;
	const struct master **sorted;

	if (config->master_count < 2)
		return;
	sorted = calloc(config->master_count, sizeof(const void *));
	if (sorted == NULL) {
		refuse(p, "out of memory");
		return;
	}
	for (size_t i = 0; i < config->master_count; i++)
		sorted[i] = &config->masters[i];
	qsort(sorted, config->master_count, sizeof(const void *), by_name);
	for (size_t i = 1; i < config->master_count; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			refuse_at(p, p->section_lines[sorted[i] - config->masters],
				  "[%s] stands already in line %u", sorted[i]->name,
				  p->section_lines[sorted[i - 1] - config->masters]);
	free(sorted);
}

static int parse(struct parser *p)
{
	int line = ini_parse_stream(read_line, p, on_key, p);

	if (p->failed_line == 0 && line < 0)
		return why_set(p->why, -ENOMEM, "%s: out of memory", p->path);
	if (line > 0 && (p->failed_line == 0 || (unsigned)line < p->failed_line)) {
		p->failed_line = 0;
		refuse_at(p, (unsigned)line, "expected [MASTER] or KEY = VALUE");
	}
	if (p->failed_line == 0 && end_section(p)) {
		refuse_namesakes(p);
		refuse_twins(p);
	}
	if (p->failed_line == 0 && p->config.master_count == 0)
		return why_set(p->why, -ENODATA, "%s: no master is configured: expected [NAME] and "
			       "vip = ADDRESS", p->path);
	return p->failed_line == 0 ? 0 : -EINVAL;
}

int config_read(const char *path, struct config *config, struct why *why)
{
	struct parser p = { .path = path, .why = why, .config.path = path };
	char *text = NULL;
	int err = trust_text(path, false, &text, why);

	if (err < 0 || text == NULL)
		return err;
	keys_default(&p.defaults);
	p.next = text;
	if (strncmp(p.next, "\xef\xbb\xbf", 3) == 0)
		p.next += 3;	/* a byte order mark */
	err = parse(&p);
	free(text);
	free(p.section_lines);
	keys_free(&p.defaults);
	if (err < 0)
		config_free(&p.config);
	else
		*config = p.config;
	return err;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->master_count; i++)
		keys_free(&config->masters[i]);
	free(config->masters);
	free(config->places);
	*config = (struct config){ 0 };
}

const struct master *config_master(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->master_count; i++)
		if (strcmp(config->masters[i].name, name) == 0)
			return &config->masters[i];
	return NULL;
}

const struct master *config_owner(const struct config *config, const struct ip *ip)
{
	const struct place wanted = { .ip = *ip };
	const struct place *found;

	/* each of a thousand masters asks */
	if (config->places != NULL) {
		found = bsearch(&wanted, config->places, config->place_count, sizeof(wanted), by_ip);
		return found != NULL ? &config->masters[found->master] : NULL;
	}
	for (size_t i = 0; i < config->master_count; i++)
		for (size_t j = 0; j < config->masters[i].vip_count; j++)
			if (ip_equal(&config->masters[i].vips[j].ip, ip))
				return &config->masters[i];
	return NULL;
}

bool config_is_self(const struct master *master, const char *host)
{
	const char *word = master->self;
	size_t size = strlen(host);

	while (word != NULL && *word != '\0') {
		size_t n = strcspn(word, " \t,");

		if (n > 0 && n == size && strncasecmp(word, host, n) == 0)
			return true;
		word += n + strspn(word + n, " \t,");
		if (n == 0 && *word == '\0')
			break;
	}
	return false;
}
