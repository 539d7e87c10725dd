/* SPDX-License-Identifier: MIT */
/*
 * sentinel-vip: moves a virtual IP to where Redis Sentinel says the master is.
 * This file is the program seen whole: which way it was called, what is asked, what is
 * done, what is said, and with which status it ends.  Only it chooses statuses.
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

/* What Sentinel makes of our end (sentinelCollectTerminatedScripts). */
enum {
	STATUS_AGREES = 0,	/* this host is as it should be */
	STATUS_PERMANENT = 2,	/* do not call again with these arguments */
};

enum {
	DEADLINE_MS = 10000,	/* for the lock and for the kernel */
	RESOLVE_MS = 2000,
};

struct request {
	enum { FACE_EVENT, FACE_CLAIM, FACE_RELEASE } face;
	bool dry_run;
	const char *master;
	struct event event;	/* of FACE_EVENT */
};

struct run {
	struct config config;
	const struct master *master;
	struct truth truth;
	struct netlink *netlink;
	struct facts facts;
	struct plan plan;
	struct lock lock;
	int packet;
	struct outcome outcome;
	struct why why;
};

static const char usage[] =
	"usage: sentinel-vip [--dry-run] MASTER ROLE STATE FROM-IP FROM-PORT TO-IP TO-PORT\n"
	"       sentinel-vip [--dry-run] claim MASTER\n"
	"       sentinel-vip [--dry-run] release MASTER\n"
	"       sentinel-vip --help | --version\n";

static const char help[] =
	"\n"
	"Moves the virtual IP of a Redis or Valkey master to the host that is master.\n"
	"\n"
	"  MASTER ROLE ...   what Sentinel calls as client-reconfig-script: claims the VIPs\n"
	"                    of MASTER when TO-IP is an address of this host, else releases\n"
	"  claim MASTER      puts the VIPs on this host, by hand: for the first binding\n"
	"  release MASTER    takes them off this host\n"
	"\n"
	"  -n, --dry-run     print what would be done and change nothing\n"
	"  -h, --help        this text\n"
	"  -V, --version     the version\n"
	"\n"
	"Configuration: " CONFIG_PATH ", or the file named by SENTINEL_VIP_CONFIG.\n"
	"    [mymaster]\n"
	"    vip = 172.16.2.250\n"
	"In sentinel.conf:\n"
	"    sentinel client-reconfig-script mymaster /usr/sbin/sentinel-vip\n"
	"\n"
	"Exit status: 0 this host agrees with who is master; 2 it does not, and the log says why.\n"
	"Manual: sentinel-vip(8), sentinel-vip.conf(5)\n";

/* A descriptor of ours must never become the 0, 1 or 2 that others write to. */
static void mend_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(STATUS_PERMANENT);
}

/* Sentinel hands down SIGHUP, SIGPIPE and SIGALRM ignored; children need SIGCHLD. */
static void mend_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

static int parse_command(int argc, char *const argv[], struct request *request, struct why *why)
{
	static const struct {
		const char *name;
		int face;
	} commands[] = { { "claim", FACE_CLAIM }, { "release", FACE_RELEASE } };

	if (event_fits(argc, argv))
		argc = -argc;		/* Sentinel's, whatever its first word is */
	for (size_t i = 0; argc > 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].name) != 0)
			continue;
		log_to_terminal();
		if (argc != 2)
			return why_set(why, -EINVAL, "%s takes one MASTER; see --help", argv[0]);
		if (!master_name_ok(argv[1]) || strlen(argv[1]) >= MASTER_NAME_SIZE)
			return why_set(why, -EINVAL, "\"%.60s\" cannot be a master's name", argv[1]);
		request->face = (__typeof__(request->face))commands[i].face;
		request->master = argv[1];
		return 0;
	}
	request->face = FACE_EVENT;
	request->master = request->event.master;
	return event_parse(abs(argc), argv, &request->event, why);
}

/* Options first; what Sentinel calls has none, and a master may be named "-n". */
static int parse_arguments(int argc, char *argv[], struct request *request, struct why *why)
{
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while (!event_fits(argc - 1, argv + 1) &&
	       (option = getopt_long(argc, argv, "+nhV", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			request->dry_run = true;
			break;
		case 'h':
			printf("%s%s", usage, help);
			exit(fflush(stdout) == 0 ? STATUS_AGREES : STATUS_PERMANENT);
		case 'V':
			printf("sentinel-vip %s\n", VERSION);
			exit(fflush(stdout) == 0 ? STATUS_AGREES : STATUS_PERMANENT);
		default:
			return why_set(why, -EINVAL, "unknown option \"%.60s\"; see --help",
				       argv[optind - 1]);
		}
	}
	if (optind == argc) {
		fputs(usage, stderr);
		exit(STATUS_PERMANENT);
	}
	return parse_command(argc - optind, argv + optind, request, why);
}

static int read_config(const struct request *request, struct run *run)
{
	const char *path = secure_getenv("SENTINEL_VIP_CONFIG");
	int err;

	if (path == NULL || *path == '\0')
		path = CONFIG_PATH;
	err = config_read(path, &run->config, &run->why);
	if (err < 0)
		return err;
	run->master = config_master(&run->config, request->master);
	if (run->master == NULL)
		return why_set(&run->why, -ENOENT, "%s has no section [%s]: write it there with "
			       "vip = ADDRESS, or correct the name", path, request->master);
	return 0;
}

/* Who is master, from the arguments; only a host name costs a look-up. */
static int find_truth(const struct request *request, struct run *run)
{
	struct truth *truth = &run->truth;
	const struct endpoint *to = &request->event.to;
	int n;

	if (request->face != FACE_EVENT) {
		truth->where = request->face == FACE_CLAIM ? TRUTH_HERE : TRUTH_ELSEWHERE;
		return 0;
	}
	truth->where = TRUTH_LOOK;
	truth->master = *to;
	truth->from = request->event.from.ip;
	if (to->ip.family != AF_UNSPEC) {
		truth->ips[0] = to->ip;
		truth->ip_count = 1;
		return 0;
	}
	if (config_is_self(run->master, to->host)) {
		truth->where = TRUTH_HERE;
		return 0;
	}
	n = resolve_host(to->host, RESOLVE_MS, truth->ips, RESOLVED_MAX);
	outcome_step(&run->outcome, "resolve");
	if (n < 0)
		return why_set(&run->why, n, "cannot resolve %s: %s; put it into /etc/hosts, or "
			       "into self = on the host it names", to->host,
			       n == -ENOENT ? "no such name" : strerror(-n));
	truth->ip_count = (size_t)n;
	return 0;
}

static int open_netlink(struct run *run)
{
	int err = netlink_open(run->outcome.begun_ms + DEADLINE_MS, &run->netlink);

	if (err == -EAFNOSUPPORT)
		return why_set(&run->why, err, "AF_NETLINK is forbidden here: add "
			       "RestrictAddressFamilies=AF_NETLINK AF_PACKET to the unit");
	if (err < 0)
		return why_set(&run->why, err, "cannot open rtnetlink: %s", strerror(-err));
	return 0;
}

/* Before anything is changed: a claim that cannot announce is none. */
static int open_packet(struct run *run)
{
	int err = 0;

	for (size_t i = 0; i < run->plan.step_count && run->packet < 0 && err == 0; i++)
		if (run->plan.steps[i].kind == STEP_ANNOUNCE)
			err = arp_open(&run->packet);
	if (err == -EPERM || err == -EACCES)
		return why_set(&run->why, err, "may not announce: CAP_NET_RAW is missing; run as root, "
			       "or give the unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW");
	if (err == -EAFNOSUPPORT)
		return why_set(&run->why, err, "AF_PACKET is forbidden here: add "
			       "RestrictAddressFamilies=AF_NETLINK AF_PACKET to the unit");
	if (err < 0)
		return why_set(&run->why, err, "cannot open a packet socket: %s", strerror(-err));
	return 0;
}

/* Without a lock to be had the run goes on: a VIP that does not move is worse. */
static int take_lock(struct run *run)
{
	bool waited = false;
	int err = lock_take(run->master->name, run->outcome.begun_ms + DEADLINE_MS, &run->lock,
			    &waited);

	if (err == -ETIMEDOUT)
		return why_set(&run->why, err, "another run for this master has held the lock for "
			       "%d s: see \"ps -C sentinel-vip\"", DEADLINE_MS / 1000);
	if (err < 0)
		line_add(&run->outcome.warning, "; not locked: %s: %s", LOCK_DIR, strerror(-err));
	if (waited)
		outcome_step(&run->outcome, "lock");
	return 0;
}

static int make_plan(struct run *run)
{
	const struct truth *truth = &run->truth;
	int err = facts_gather(run->netlink, run->master, truth->ips, truth->ip_count, &run->facts);

	if (err < 0)
		return why_set(&run->why, err, "cannot ask the kernel for its addresses: %s",
			       strerror(-err));
	outcome_step(&run->outcome, "facts");
	return plan_make(&run->config, run->master, truth, &run->facts, &run->plan, &run->why);
}

static int apply(struct run *run)
{
	uint64_t number = lock_raise(&run->lock);	/* silences older announcers */
	int err = apply_plan(run->netlink, run->packet, &run->plan, &run->outcome, &run->why);

	if (err < 0)
		return err;
	err = announce_detach(run->packet, run->master, &run->plan, number);
	if (err < 0)
		line_add(&run->outcome.warning, "; announced only once: %s", strerror(-err));
	return 0;
}

static int carry_out(const struct request *request, struct run *run)
{
	int err = read_config(request, run);

	outcome_step(&run->outcome, "config");
	if (err == 0)
		err = find_truth(request, run);
	if (err == 0)
		err = open_netlink(run);
	if (err == 0 && !request->dry_run)
		err = take_lock(run);
	if (err == 0)
		err = make_plan(run);
	if (err == 0 && request->dry_run)
		return apply_print(run->master, &run->plan);
	if (err == 0)
		err = open_packet(run);
	if (err == 0)
		err = apply(run);
	lock_drop(&run->lock);
	return err;
}

/* One line: what was done, why, what to know, and how long it took. */
static void report(const struct request *request, const struct run *run, int err)
{
	const struct outcome *o = &run->outcome;
	struct line line = { 0 };
	int priority = LOG_NOTICE;

	if (request->master != NULL && request->master[0] != '\0')
		line_add(&line, "%s: ", request->master);
	if (err < 0) {
		priority = LOG_ERR;
		line_add(&line, "%s: %s", o->done.length > 0 ? "failed" : "refused", run->why.text);
		if (o->done.length > 0)
			line_add(&line, "; before that: %s", o->done.text);
	} else {
		if (o->done.length == 0)
			priority = LOG_INFO;
		line_add(&line, "%s", o->done.length > 0 ? o->done.text : "nothing to do");
	}
	if (run->plan.reason.length > 0)
		line_add(&line, "; %s", run->plan.reason.text);
	if (run->plan.warning.length > 0 || o->warning.length > 0) {
		if (priority > LOG_WARNING)
			priority = LOG_WARNING;
		line_add(&line, "; WARNING%s%s", run->plan.warning.text, o->warning.text);
	}
	line_add(&line, " (%s%s%.2f ms)", o->steps.text, o->steps.length > 0 ? "; " : "",
		 clock_ms() - o->begun_ms);
	log_send(priority, line.text);
}

int main(int argc, char *argv[])
{
	struct request request = { 0 };
	struct run run = { .packet = -1, .lock.fd = -1 };
	int err;

	mend_descriptors();
	mend_signals();
	run.outcome.begun_ms = run.outcome.lap_ms = clock_ms();
	if (isatty(STDERR_FILENO))
		log_to_terminal();
	err = parse_arguments(argc, argv, &request, &run.why);
	if (err < 0)
		log_to_terminal();
	else
		err = carry_out(&request, &run);
	if (err < 0 || !request.dry_run)
		report(&request, &run, err);
	return err < 0 ? STATUS_PERMANENT : STATUS_AGREES;
}
