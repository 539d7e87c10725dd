/* SPDX-License-Identifier: MIT */
/*
 * The configuration file, and after a line "--- auth" the one with the password, which the first
 * reaches as /proc/self/fd/101.  What is accepted is written out again and must then
 * say the same.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONFIG_FD = 100, AUTH_FD };

#define CONFIG_FILE "/proc/self/fd/100"
#define MARK "--- auth\n"

static void fill(int fd, const void *bytes, size_t size)
{
	if (fcntl(fd, F_GETFD) < 0) {
		int made = memfd_create("fuzz", MFD_CLOEXEC);

		must(made >= 0 && dup2(made, fd) == fd && fchmod(fd, 0600) == 0);
		close(made);
	}
	must(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
}

static void check_schedule(const struct schedule *s)
{
	must(s->count <= SCHEDULE_MAX);
	for (unsigned i = 0; i < s->count; i++)
		must(s->at_ms[i] > (i == 0 ? 0 : s->at_ms[i - 1]) && s->at_ms[i] <= 60000);
}

static void check_config(const struct config *config)
{
	must(config->master_count > 0);
	for (size_t i = 0; i < config->master_count; i++) {
		const struct master *m = &config->masters[i];

		must(m->vip_count > 0 && master_name_ok(m->name));
		must(config_master(config, m->name) == m);
		check_schedule(&m->announce);
		must(!config_is_self(m, "") && (m->self != NULL || !config_is_self(m, "redis-1")));
		must(m->sentinel.host[0] != '\0');
		must((m->password == NULL) == (m->auth_path == NULL));
		must(m->user == NULL || m->password != NULL);
		for (size_t j = 0; j < m->vip_count; j++) {
			must(m->vips[j].prefixlen >= 1 && m->vips[j].prefixlen <= ip_bits(&m->vips[j].ip));
			must(!ip_is_loopback(&m->vips[j].ip) && ip_is_hosts(&m->vips[j].ip));
			must(config_owner(config, &m->vips[j].ip) == m);
		}
	}
}

/* As a person would write it.  Names that need several lines are left out. */
static char *write_out(const struct config *config, size_t *size)
{
	char text[ENDPOINT_TEXT_SIZE], *out = NULL;
	FILE *file = open_memstream(&out, size);

	must(file != NULL);
	for (size_t i = 0; i < config->master_count; i++) {
		const struct master *m = &config->masters[i];

		fprintf(file, "[%s]\n", m->name);
		for (size_t j = 0; j < m->vip_count; j++)
			fprintf(file, "vip = %s/%u\n", ip_text(&m->vips[j].ip, text), m->vips[j].prefixlen);
		if (m->interface[0] != '\0')
			fprintf(file, "interface=%s\n", m->interface);
		fprintf(file, "announce =%s", m->announce.count == 0 ? " none" : "");
		for (unsigned j = 0; j < m->announce.count; j++)
			fprintf(file, " %u.%03u", m->announce.at_ms[j] / 1000, m->announce.at_ms[j] % 1000);
		fprintf(file, "\nverify = %s\nkill-connections = %s\nfence = %s\n", m->verify ? "yes" : "no",
			m->kill_connections ? "yes" : "no", m->fence ? "majority" : "no");
		fprintf(file, "sentinel=%s%s\n", m->sentinel.port == 0 ? "unix:" : "",
			endpoint_text(&m->sentinel, text));
	}
	must(fclose(file) == 0);
	return out;
}

static void check_same(const struct config *a, const struct config *b)
{
	must(a->master_count == b->master_count);
	for (size_t i = 0; i < a->master_count; i++) {
		const struct master *x = &a->masters[i], *y = &b->masters[i];

		must(strcmp(x->name, y->name) == 0 && strcmp(x->interface, y->interface) == 0);
		must(x->announce.count == y->announce.count);
		for (unsigned j = 0; j < x->announce.count; j++)
			must(x->announce.at_ms[j] == y->announce.at_ms[j]);
		must(x->verify == y->verify && x->kill_connections == y->kill_connections &&
		     x->fence == y->fence);
		must(endpoint_equal(&x->sentinel, &y->sentinel));
		must(x->vip_count == y->vip_count);
		for (size_t j = 0; j < x->vip_count; j++)
			must(ip_equal(&x->vips[j].ip, &y->vips[j].ip) &&
			     x->vips[j].prefixlen == y->vips[j].prefixlen);
	}
}

static void check_again(const struct config *config)
{
	struct config again;
	struct why why = { .text = "" };
	size_t size;
	char *text = write_out(config, &size);

	fill(CONFIG_FD, text, size);
	if (config_read(CONFIG_FILE, &again, &why) < 0) {
		fprintf(stderr, "%s\n%s\n", why.text, text);
		must(!"what was accepted is refused when it is written out");
	}
	check_same(config, &again);
	config_free(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *mark = size == 0 ? NULL : memmem(data, size, MARK, strlen(MARK));
	size_t first = mark != NULL ? (size_t)(mark - data) : size;
	const uint8_t *auth = mark != NULL ? mark + strlen(MARK) : data + size;
	struct config config = { .master_count = 77 };
	struct why why = { .text = "" };

	fill(CONFIG_FD, data, first);
	fill(AUTH_FD, auth, (size_t)(data + size - auth));
	if (config_read(CONFIG_FILE, &config, &why) < 0) {
		fuzz_check_why(&why);
		must(config.master_count == 77);
		return 0;
	}
	check_config(&config);
	check_again(&config);
	config_free(&config);
	return 0;
}
