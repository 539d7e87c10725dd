/* SPDX-License-Identifier: MIT */
/*
 * sentinel-vip: moves a virtual IP to where Redis Sentinel says the master is.
 * This file is the program seen whole: what each way of calling it does, and with which
 * status it ends.  Only it chooses statuses.
 */
#include "vip.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif
#ifndef SBINDIR
#define SBINDIR "/usr/local/sbin"
#endif

/* What Sentinel makes of our end (sentinel.c, sentinelCollectTerminatedScripts). */
static const int statuses[] = {
	[VERDICT_AGREES] = 0,
	[VERDICT_TRANSIENT] = 1,	/* called again in 30 s, with the same arguments */
	[VERDICT_PERMANENT] = 2,	/* not called again */
};

static const char usage[] =
	"usage: sentinel-vip [-n] MASTER ROLE STATE FROM-IP FROM-PORT TO-IP TO-PORT\n"
	"       sentinel-vip [-n] sync [--announce] [MASTER...]\n"
	"       sentinel-vip status [--json] [MASTER...]\n"
	"       sentinel-vip check [MASTER...]\n"
	"       sentinel-vip [-n] claim MASTER\n"
	"       sentinel-vip [-n] release MASTER\n"
	"       sentinel-vip --serve\n"
	"       sentinel-vip --help | --version\n";

static const char help[] =
	"\n"
	"Moves the virtual IP of a Redis or Valkey master to the host that is master.\n"
	"\n"
	"  MASTER ROLE ...     what Sentinel calls as client-reconfig-script: claims the VIPs of\n"
	"                      MASTER when TO-IP is an address of this host, else releases them\n"
	"  sync [MASTER...]    asks all Sentinels who is master and makes this host agree:\n"
	"                      for boot, for a timer, for the first binding\n"
	"  status [MASTER...]  who is master, where the VIPs stand, and whether that is right\n"
	"  check [MASTER...]   what would break a failover, and the remedy for each\n"
	"  claim MASTER        puts the VIPs on this host by hand, when no Sentinel can answer\n"
	"  release MASTER      takes them off this host by hand\n"
	"\n"
	"  -n, --dry-run       print what would be done and change nothing\n"
	"      --announce      with sync: announce again what stands already\n"
	"      --json          with status: the same facts as JSON\n"
	"      --serve         obeys one request from a connection on standard input: for\n"
	"                      sentinel-vip.socket, the relay\n"
	"  -h, --help          this text\n"
	"  -V, --version       the version\n"
	"\n"
	"Configuration: " CONFIG_PATH ", or the file named by SENTINEL_VIP_CONFIG.\n"
	"    [mymaster]\n"
	"    vip = 172.16.2.250\n"
	"In sentinel.conf:\n"
	"    sentinel client-reconfig-script mymaster " SBINDIR "/sentinel-vip\n"
	"\n"
	"Exit status: 0 this host agrees with who is master; 1 not yet, and trying again is\n"
	"safe; 2 not until somebody mends what the log names.  status: 0 right, 1 wrong, 2 not\n"
	"to be found out; check: 1 with anything that must be mended.\n"
	"Manual: sentinel-vip(8), sentinel-vip.conf(5)\n";

static void complain(const struct why *why)
{
	struct line line = { 0 };

	log_to_terminal();
	line_add(&line, "refused: %s", why->text);
	log_send(LOG_ERR, line.text);
}

static const struct master *find_master(const struct config *config, const char *name)
{
	const struct master *master = config_master(config, name);
	struct why why;

	if (master == NULL) {
		why_set(&why, 0, "%s has no section [%.60s]: write one with vip = ADDRESS, or correct "
			"the name", config->path, name);
		complain(&why);
	}
	return master;
}

/* The masters that were named, or all; NULL when one is not known. */
static const struct master **find_masters(const struct args *args, const struct config *config,
					  size_t *count)
{
	size_t n = args->argc > 0 ? (size_t)args->argc : config->master_count;
	const struct master **masters = calloc(n + 1, sizeof(const struct master *));

	for (size_t i = 0; masters != NULL && i < n; i++) {
		masters[i] = args->argc > 0 ? find_master(config, args->argv[i]) : &config->masters[i];
		if (masters[i] == NULL) {
			free(masters);
			return NULL;
		}
	}
	*count = n;
	return masters;
}

/* Sentinel's call, and a person's claim or release: one run for one master. */
static enum verdict run_one(const struct args *args, const struct config *config, double begun_ms)
{
	bool event = args->face == FACE_EVENT;
	const struct master *master = find_master(config, event ? args->event.master : args->argv[0]);
	CLEANUP(run_free) struct run run;
	enum verdict verdict;
	int err;

	run_begin(&run, config, master);
	if (master == NULL)
		return VERDICT_PERMANENT;
	run_measure(&run, begun_ms, "config");
	err = event ? call_run(&run, &args->event, args->dry_run) :
		run_by_hand(&run, args->face == FACE_CLAIM, args->dry_run);
	if (event && isatty(STDERR_FILENO))
		log_to_terminal();
	if (!args->dry_run || (err < 0 && run.why.text[0] != '\0'))
		run_report(&run, err);
	verdict = err == 0 ? VERDICT_AGREES : run_may_be_replayed(&run, err) ? VERDICT_TRANSIENT :
		VERDICT_PERMANENT;
	run_hook(&run);
	return verdict;
}

static enum verdict run_many(const struct args *args, const struct config *config, bool person)
{
	struct sync_options options = { .announce = args->announce, .dry_run = args->dry_run,
					.person = person };
	enum verdict verdict = VERDICT_PERMANENT;
	size_t count;
	const struct master **masters = find_masters(args, config, &count);

	if (masters == NULL)
		return VERDICT_PERMANENT;
	if (args->face == FACE_SYNC)
		verdict = sync_masters(config, masters, count, &options);
	else if (args->face == FACE_STATUS)
		verdict = status_masters(config, masters, count, args->json);
	else if (args->face == FACE_CHECK)
		verdict = check_masters(config, config->path, masters, count);
	free(masters);
	return verdict;
}

/* What the relay takes: the rest is for who has the rights. */
static bool is_for_relay(const struct args *args)
{
	return !args->help && !args->version && !args->dry_run &&
		((args->face == FACE_EVENT && args->argc > 0) || args->face == FACE_SYNC ||
		 args->face == FACE_STATUS);
}

/* Everything but the relay: what the words ask for, done in this process. */
static enum verdict obey(const struct args *args, const char *path, bool person, double begun_ms)
{
	CLEANUP(config_free) struct config config = { 0 };
	struct why why, advice = { "" };
	int err;

	if (args->face != FACE_EVENT || person)
		log_to_terminal();
	err = config_read(path, &config, &why);
	if (err < 0 && args->face == FACE_CHECK)
		return check_refused(path, err, &why);
	if (err == -EACCES && is_for_relay(args))
		relay_advise(&advice);
	if (err < 0 && advice.text[0] != '\0')
		why_set(&why, err, "%s; %s", why.text, advice.text);
	if (err < 0) {
		complain(&why);
		return VERDICT_PERMANENT;
	}
	if (args->face == FACE_EVENT || args->face == FACE_CLAIM || args->face == FACE_RELEASE)
		return run_one(args, &config, begun_ms);
	return run_many(args, &config, person);
}

/* The relay ------------------------------------------------------------ */

/*
 * Has the words obeyed by a process with more rights.  False when there is none: then what
 * cannot be done here says so itself.
 */
static bool hand_over(const struct args *args, int argc, char *argv[], enum verdict *verdict)
{
	unsigned flags = (isatty(STDERR_FILENO) ? RELAY_PERSON : 0) |
		(paint_has_colour() ? RELAY_COLOUR : 0);
	struct why why;
	int err = relay_ask(argc - 1, argv + 1, flags, NULL, verdict, &why);

	if (err == -ENOENT || err == -EACCES)
		return false;
	if (err == 0)
		return true;
	complain(&why);
	/* how far it came is not known, nor whether a Sentinel could be asked */
	*verdict = args->face == FACE_SYNC && err != -E2BIG ? VERDICT_TRANSIENT : VERDICT_PERMANENT;
	return true;
}

static int parse_request(struct request *request, struct args *args, struct why *why)
{
	int err = serve_receive(STDIN_FILENO, request, why);

	if (err == 0)
		err = args_parse(request->argc, request->argv, args, why);
	if (err == 0 && !is_for_relay(args))
		return why_set(why, -EPERM, "the relay takes Sentinel's call, sync and status only");
	return err;
}

/* The other end: one request, answered first and announced to the end then. */
static int serve(double begun_ms)
{
	struct request request;
	struct session session;
	enum verdict verdict;
	struct args args = { 0 };
	struct why why;
	int err = parse_request(&request, &args, &why);

	if (err == 0)
		err = serve_begin(STDIN_FILENO, &session, &why);
	if (err < 0) {
		complain(&why);
		serve_refuse(STDIN_FILENO, &why);
		return statuses[VERDICT_PERMANENT];
	}
	if ((request.packet.head.value & RELAY_COLOUR) != 0)
		paint_use_colour();
	verdict = obey(&args, CONFIG_PATH, (request.packet.head.value & RELAY_PERSON) != 0, begun_ms);
	serve_end(&session, verdict);
	serve_wait();
	return statuses[VERDICT_AGREES];
}

/* A descriptor of ours must never become the 0, 1 or 2 that others write to. */
static void mend_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(statuses[VERDICT_PERMANENT]);
}

static int print(const char *first, const char *second)
{
	printf("%s%s", first, second);
	return statuses[paint_written() ? VERDICT_AGREES : VERDICT_PERMANENT];
}

int main(int argc, char *argv[])
{
	const char *path = secure_getenv("SENTINEL_VIP_CONFIG");
	double begun_ms = clock_ms();
	enum verdict verdict;
	struct args args;
	struct why why;

	mend_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* LimitFSIZE=0: then the number is not written, no more */
	signal(SIGCHLD, SIG_DFL);	/* or children could not be waited for */
	if (args_parse(argc, argv, &args, &why) < 0) {
		complain(&why);
		return statuses[VERDICT_PERMANENT];
	}
	if (args.help)
		return print(usage, help);
	if (args.version)
		return print("sentinel-vip " VERSION "\n", "");
	if (args.face == FACE_EVENT && args.argc == 0) {
		fputs(usage, stderr);
		return statuses[VERDICT_PERMANENT];
	}
	if (args.face == FACE_SERVE)
		return serve(begun_ms);
	if (path == NULL || *path == '\0')
		path = CONFIG_PATH;
	if (is_for_relay(&args) && strcmp(path, CONFIG_PATH) == 0 && relay_is_needed() &&
	    hand_over(&args, argc, argv, &verdict))
		return statuses[verdict];
	/* of a failover's call that is asked when there is something to say: it takes as long as a frame */
	return statuses[obey(&args, path, args.face != FACE_EVENT && isatty(STDERR_FILENO), begun_ms)];
}
