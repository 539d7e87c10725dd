/* SPDX-License-Identifier: MIT */
/*
 * sentinel-vip: moves a virtual IP to where Redis Sentinel says the master is.
 * This file is the program seen whole: which way it was called, what that does, and
 * with which status it ends.  Only it chooses statuses.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

#define CONFIG_PATH "/etc/sentinel-vip.conf"

/* What Sentinel makes of our end (sentinel.c, sentinelCollectTerminatedScripts). */
static const int statuses[] = {
	[VERDICT_AGREES] = 0,
	[VERDICT_TRANSIENT] = 1,	/* called again in 30 s, with the same arguments */
	[VERDICT_PERMANENT] = 2,	/* not called again */
};

struct request {
	const struct face *face;
	int argc;		/* the words after the command; all, in Sentinel's call */
	char **argv;
	struct event event;	/* of Sentinel's call */
	struct sync_options options;
	double begun_ms;
};

/* Everything that this program can be called as. */
struct face {
	const char *name;	/* NULL: Sentinel's call, which has no command word */
	int words_min, words_max;
	enum verdict (*run)(const struct request *request, const struct config *config);
};

static const char usage[] =
	"usage: sentinel-vip [-n] MASTER ROLE STATE FROM-IP FROM-PORT TO-IP TO-PORT\n"
	"       sentinel-vip [-n] sync [--announce] [MASTER...]\n"
	"       sentinel-vip [-n] claim MASTER\n"
	"       sentinel-vip [-n] release MASTER\n"
	"       sentinel-vip --help | --version\n";

static const char help[] =
	"\n"
	"Moves the virtual IP of a Redis or Valkey master to the host that is master.\n"
	"\n"
	"  MASTER ROLE ...     what Sentinel calls as client-reconfig-script: claims the VIPs of\n"
	"                      MASTER when TO-IP is an address of this host, else releases them\n"
	"  sync [MASTER...]    asks all Sentinels who is master and makes this host agree:\n"
	"                      for boot, for a timer, for the first binding\n"
	"  claim MASTER        puts the VIPs on this host by hand, when no Sentinel can answer\n"
	"  release MASTER      takes them off this host by hand\n"
	"\n"
	"  -n, --dry-run       print what would be done and change nothing\n"
	"      --announce      with sync: announce again what stands already\n"
	"  -h, --help          this text\n"
	"  -V, --version       the version\n"
	"\n"
	"Configuration: " CONFIG_PATH ", or the file named by SENTINEL_VIP_CONFIG.\n"
	"    [mymaster]\n"
	"    vip = 172.16.2.250\n"
	"In sentinel.conf:\n"
	"    sentinel client-reconfig-script mymaster /usr/sbin/sentinel-vip\n"
	"\n"
	"Exit status: 0 this host agrees with who is master; 1 not yet, and trying again is\n"
	"safe; 2 not until somebody mends what the log names.\n"
	"Manual: sentinel-vip(8), sentinel-vip.conf(5)\n";

static void complain(const char *name, const struct why *why)
{
	struct line line = { 0 };

	log_to_terminal();
	line_add(&line, "%s%srefused: %s", name, *name != '\0' ? ": " : "", why->text);
	log_send(LOG_ERR, line.text);
}

static const struct master *find_master(const struct config *config, const char *name)
{
	const struct master *master = config_master(config, name);
	struct why why;

	if (master != NULL)
		return master;
	why_set(&why, 0, "the configuration has no section [%.60s]: write one with vip = ADDRESS, "
		"or correct the name", name);
	complain("", &why);
	return NULL;
}

/* Ends a run as it has to be: reported, freed, judged. */
static enum verdict conclude(struct run *run, int err, bool silent)
{
	enum verdict verdict = err == 0 ? VERDICT_AGREES :
		run_may_be_replayed(run, err) ? VERDICT_TRANSIENT : VERDICT_PERMANENT;

	if (err < 0 || !silent)
		run_report(run, err);
	run_free(run);
	return verdict;
}

/* The faces ------------------------------------------------------------ */

static enum verdict face_event(const struct request *request, const struct config *config)
{
	const struct master *master = find_master(config, request->event.master);
	struct run run;

	if (master == NULL)
		return VERDICT_PERMANENT;
	run_begin(&run, config, master);
	run_measure(&run, request->begun_ms, "config");
	return conclude(&run, run_event(&run, &request->event, request->options.dry_run),
			request->options.dry_run);
}

static enum verdict by_hand(const struct request *request, const struct config *config, bool claim)
{
	const struct master *master = find_master(config, request->argv[0]);
	struct run run;

	if (master == NULL)
		return VERDICT_PERMANENT;
	run_begin(&run, config, master);
	run_measure(&run, request->begun_ms, "config");
	return conclude(&run, run_by_hand(&run, claim, request->options.dry_run),
			request->options.dry_run);
}

static enum verdict face_claim(const struct request *request, const struct config *config)
{
	return by_hand(request, config, true);
}

static enum verdict face_release(const struct request *request, const struct config *config)
{
	return by_hand(request, config, false);
}

static enum verdict face_sync(const struct request *request, const struct config *config)
{
	size_t count = request->argc > 0 ? (size_t)request->argc : config->master_count;
	const struct master **masters = calloc(count + 1, sizeof(const struct master *));
	struct sync_options options = request->options;
	enum verdict verdict = masters != NULL ? VERDICT_AGREES : VERDICT_TRANSIENT;

	for (size_t i = 0; masters != NULL && i < count; i++) {
		masters[i] = request->argc > 0 ? find_master(config, request->argv[i]) :
			&config->masters[i];
		if (masters[i] == NULL)
			verdict = VERDICT_PERMANENT;
	}
	options.person = isatty(STDERR_FILENO);
	if (verdict == VERDICT_AGREES)
		verdict = sync_masters(config, masters, count, &options);
	free(masters);
	return verdict;
}

static const struct face sentinels_call = { NULL, 0, 0, face_event };

static const struct face commands[] = {
	{ "sync", 0, 1000, face_sync },
	{ "claim", 1, 1, face_claim },
	{ "release", 1, 1, face_release },
};

/* Arguments ------------------------------------------------------------ */

/* Sentinel's seven words are its call whatever the first one is. */
static int find_face(struct request *request, struct why *why)
{
	request->face = &sentinels_call;
	if (event_fits(request->argc, request->argv))
		return event_parse(request->argc, request->argv, &request->event, why);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(request->argv[0], commands[i].name) == 0)
			request->face = &commands[i];
	if (request->face == &sentinels_call)
		return event_parse(request->argc, request->argv, &request->event, why);
	log_to_terminal();
	request->argc--;
	request->argv++;
	if (request->argc < request->face->words_min || request->argc > request->face->words_max)
		return why_set(why, -EINVAL, "%s takes %s; see --help", request->face->name,
			       request->face->words_max == 1 ? "one MASTER" : "names of masters");
	return 0;
}

static void print_and_exit(const char *first, const char *second)
{
	bool written = printf("%s%s", first, second) >= 0 && fflush(stdout) == 0;

	exit(statuses[written ? VERDICT_AGREES : VERDICT_PERMANENT]);
}

/* Options may stand anywhere but in Sentinel's call: a master may be named "-n". */
static int parse_arguments(int argc, char *argv[], struct request *request, struct why *why)
{
	enum { ANNOUNCE = 256 };
	static const struct option options[] = {
		{ "announce", no_argument, NULL, ANNOUNCE },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while (!event_fits(argc - 1, argv + 1) &&
	       (option = getopt_long(argc, argv, "nhV", options, NULL)) != -1) {
		switch (option) {
		case ANNOUNCE:
			request->options.announce = true;
			break;
		case 'n':
			request->options.dry_run = true;
			break;
		case 'h':
			print_and_exit(usage, help);
			break;
		case 'V':
			print_and_exit("sentinel-vip " VERSION "\n", "");
			break;
		default:
			return why_set(why, -EINVAL, "unknown option \"%.60s\"; see --help",
				       argv[optind - 1]);
		}
	}
	request->argc = argc - optind;
	request->argv = argv + optind;
	if (request->argc == 0) {
		fputs(usage, stderr);
		exit(statuses[VERDICT_PERMANENT]);
	}
	if (find_face(request, why) < 0)
		return -EINVAL;
	if (request->options.announce && request->face->run != face_sync)
		return why_set(why, -EINVAL, "--announce goes with sync; see --help");
	return 0;
}

/* A descriptor of ours must never become the 0, 1 or 2 that others write to. */
static void mend_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(statuses[VERDICT_PERMANENT]);
}

int main(int argc, char *argv[])
{
	CLEANUP(config_free) struct config config = { 0 };
	const char *path = secure_getenv("SENTINEL_VIP_CONFIG");
	struct request request = { .begun_ms = clock_ms() };
	struct why why;

	mend_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);	/* or the resolver's child could not be waited for */
	if (isatty(STDERR_FILENO))
		log_to_terminal();
	if (parse_arguments(argc, argv, &request, &why) < 0 ||
	    config_read(path != NULL && *path != '\0' ? path : CONFIG_PATH, &config, &why) < 0) {
		complain("", &why);
		return statuses[VERDICT_PERMANENT];
	}
	return statuses[request.face->run(&request, &config)];
}
