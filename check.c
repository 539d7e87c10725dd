/* SPDX-License-Identifier: MIT */
/*
 * check: what would break a failover, found before it happens, each finding with what to
 * type.  This file collects and prints; what is looked at is in check-*.c.  It changes
 * nothing.
 */
#include "vip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#ifndef DOCDIR
#define DOCDIR "/usr/local/share/doc/sentinel-vip"
#endif

enum {
	INDENT = 2,
	LEVEL_WIDTH = 9,
	TOPIC_WIDTH = 14,
};

/* Collecting ----------------------------------------------------------- */

void report_add(struct report *report, enum level level, const char *topic, const char *format, ...)
{
	struct finding *moved = reallocarray(report->findings, report->count + 1, sizeof(*moved));
	char text[sizeof(moved->text.text)];
	va_list args;

	if (moved == NULL) {
		report->incomplete = true;
		return;
	}
	report->findings = moved;
	moved[report->count] = (struct finding){ .level = level, .topic = topic };
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	why_set(&moved[report->count++].text, 0, "%s", text);
}

void report_remedy(struct report *report, const char *format, ...)
{
	char text[sizeof(report->findings->remedy.text)];
	va_list args;

	if (report->incomplete || report->count == 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	why_set(&report->findings[report->count - 1].remedy, 0, "%s", text);
}

void report_why(struct report *report, enum level level, const char *topic, const struct why *why)
{
	const char *colon = strstr(why->text, ": ");
	int n = colon != NULL ? (int)(colon - why->text) : (int)strlen(why->text);

	report_add(report, level, topic, "%.*s", n, why->text);
	if (colon != NULL)
		report_remedy(report, "%s", colon + 2);
}

/* Printing ------------------------------------------------------------- */

static const struct {
	const char *word;
	enum colour colour;
} looks[] = {
	[LEVEL_OK] = { "ok", COLOUR_GREEN },
	[LEVEL_WARNING] = { "warning", COLOUR_YELLOW },
	[LEVEL_ERROR] = { "error", COLOUR_RED },
};

static void print_finding(const struct finding *f)
{
	printf("%*s", INDENT, "");
	paint_word(looks[f->level].colour, LEVEL_WIDTH, looks[f->level].word);
	printf("%-*s%s\n", TOPIC_WIDTH, f->topic, f->text.text);
	if (f->remedy.text[0] != '\0')
		paint_row(INDENT + LEVEL_WIDTH, TOPIC_WIDTH, "remedy:", f->remedy.text);
}

static void print_count(size_t count, enum level level)
{
	char word[32];

	snprintf(word, sizeof(word), "%zu %s%s", count, looks[level].word, count == 1 ? "" : "s");
	paint_word(count > 0 ? looks[level].colour : COLOUR_NONE, 0, word);
}

static enum verdict print_report(const struct report *report)
{
	size_t errors = 0, warnings = 0;
	bool first = true;

	for (size_t i = 0; i < report->count; i++) {
		const struct finding *f = &report->findings[i];

		if (f->level != LEVEL_TITLE) {
			print_finding(f);
			errors += f->level == LEVEL_ERROR;
			warnings += f->level == LEVEL_WARNING;
		} else if (i + 1 < report->count && f[1].level != LEVEL_TITLE) {
			printf("%s", first ? "" : "\n");
			paint_word(COLOUR_BOLD, 0, f->text.text);
			printf("\n");
			first = false;
		}
	}
	printf("\n");
	print_count(errors, LEVEL_ERROR);
	printf(", ");
	print_count(warnings, LEVEL_WARNING);
	printf("%s\n", errors > 0 ? ": a failover would go wrong until this is mended" :
	       warnings > 0 ? ": a failover works; the warnings say what may hurt it" :
	       ": nothing here would break a failover");
	return !paint_written() || errors > 0 ? VERDICT_TRANSIENT : VERDICT_AGREES;
}

/* Running -------------------------------------------------------------- */

/* As in the example, which a package may have been installed without. */
#define LINES "'[mymaster]' 'vip = 172.16.2.250'"
#define EXAMPLE DOCDIR "/examples/sentinel-vip.conf"

enum verdict check_refused(const char *config_path, int err, const struct why *why)
{
	struct report report = { 0 };
	const char *colon = strrchr(why->text, ':');
	enum verdict verdict;

	report_add(&report, LEVEL_TITLE, NULL, "This host");
	report_add(&report, LEVEL_ERROR, "configuration", "%s", why->text);
	if (colon != NULL && strncmp(colon, ": ch", 4) == 0)	/* chmod, chown */
		report_remedy(&report, "%s", colon + 2);
	else if (err == -ENOENT || err == -ENODATA)
		report_remedy(&report, "printf '%%s\\n' " LINES " >>%s, with your master's name and a free "
			      "address; " EXAMPLE " has every key", config_path);
	else if (err == -EACCES && geteuid() != 0)
		report_remedy(&report, "sudo sentinel-vip check, since root may read it");
	else if (err == -EACCES)
		report_remedy(&report, "namei -l %s shows what this user may not read", config_path);
	else
		report_remedy(&report, "correct the file; man sentinel-vip.conf, or " EXAMPLE
			      ", says how");
	verdict = print_report(&report);
	free(report.findings);
	return verdict;
}

enum verdict check_masters(const struct config *config, const char *config_path,
			   const struct master *const masters[], size_t count)
{
	struct report report = { 0 };
	enum verdict verdict;
	struct survey survey;

	if (survey_take(config, masters, count, &survey) < 0) {
		log_send(LOG_ERR, "out of memory");
		return VERDICT_TRANSIENT;
	}
	report_add(&report, LEVEL_TITLE, NULL, "This host");
	check_host(config, config_path, &report);
	check_links(&survey, &report);
	check_sentinels(&survey, config_path, &report);
	verdict = print_report(&report);
	if (report.incomplete) {
		log_send(LOG_ERR, "out of memory");
		verdict = VERDICT_TRANSIENT;
	}
	survey_free(&survey);
	free(report.findings);
	return verdict;
}
