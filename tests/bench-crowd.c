/* SPDX-License-Identifier: MIT */
/*
 * The release of a VIP that has 10,000 connections, against the bare loop that destroys them: time
 * from exec to exit.  Both ends of the connections are in processes of their own, which sleep
 * meanwhile, so that nobody else has to carry so many descriptors.  It refuses to count a turn after
 * which any client does not read its reset.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD 10000
#define CROWD_PORT 7000
#define OTHER_FILES 64		/* of a process that holds the crowd */
#define CROWD_WAIT_MS 30000	/* to make it, and to look what became of it */

enum { FLOOR, OURS, SS, CONTENDERS };

static struct contender contenders[CONTENDERS] = {
	[FLOOR] = RELEASE_FLOOR,
	[OURS] = RELEASE_OURS,
	[SS] = RELEASE_SS,
};

static const struct target target = {
	"exit: sentinel-vip / floor, at most 3", true, 3, OURS, FLOOR, EXIT,
};

/* A process that holds one end of the crowd, and the two ways to talk to it. */
struct holder {
	pid_t pid;
	int told, ask;
};

static int crowd[CROWD];

/* ---- in the holders; what goes wrong there is seen by the silence ---- */

static void hold_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		_exit(1);
	if (files.rlim_max < CROWD + OTHER_FILES)
		files.rlim_max = CROWD + OTHER_FILES;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		_exit(1);
}

static void hold_tell(int fd, int number)
{
	if (write(fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
		_exit(1);
}

static void hold_servers(int tell, int asked)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(CROWD_PORT) };
	int listener, on = 1;

	(void)asked;
	if (lab_enter(wire.host) < 0)
		_exit(1);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, CROWD) < 0)
		_exit(1);
	hold_tell(tell, 0);
	for (int i = 0; i < CROWD; i++)
		if ((crowd[i] = accept(listener, NULL, NULL)) < 0)
			_exit(1);
	hold_tell(tell, CROWD);
	for (;;)
		pause();
}

static void hold_clients(int tell, int asked)
{
	int reset = 0;
	char byte;

	for (int i = 0; i < CROWD; i++)
		crowd[i] = wire_client(CROWD_PORT, NULL);
	hold_tell(tell, CROWD);
	if (read(asked, &byte, 1) != 1)
		_exit(1);
	while (reset < CROWD && wire_was_reset(crowd[reset]))
		reset++;
	hold_tell(tell, reset);
	_exit(0);
}

/* ---- in the benchmark ---- */

static struct holder holder_start(void (*hold)(int tell, int asked))
{
	int told[2], ask[2];
	struct holder h;

	fflush(NULL);
	if (pipe(told) < 0 || pipe(ask) < 0 || (h.pid = fork()) < 0)
		lab_fail("fork: %m");
	if (h.pid == 0) {
		close(told[0]);
		close(ask[1]);
		hold_files();
		hold(told[1], ask[0]);
	}
	close(told[1]);
	close(ask[0]);
	h.told = told[0];
	h.ask = ask[1];
	return h;
}

static int holder_hear(const struct holder *h)
{
	struct pollfd readable = { .fd = h->told, .events = POLLIN };
	int number;

	if (poll(&readable, 1, CROWD_WAIT_MS) <= 0 ||
	    read(h->told, &number, sizeof(number)) != (ssize_t)sizeof(number))
		lab_fail("%d connections cannot be made or held: see ulimit -Hn", CROWD);
	return number;
}

static void holder_end(const struct holder *h)
{
	kill(h->pid, SIGKILL);
	if (waitpid(h->pid, NULL, 0) < 0)
		lab_fail("waitpid: %m");
	close(h->told);
	close(h->ask);
}

static void turn(const struct contender *c, size_t round)
{
	struct holder servers, clients;
	struct times times;
	int reset;

	if (wire_vip(true) < 0)
		lab_fail("the VIP cannot be added");
	servers = holder_start(hold_servers);
	holder_hear(&servers);
	clients = holder_start(hold_clients);
	holder_hear(&clients);
	holder_hear(&servers);
	wire_run(c, &times);
	if (write(clients.ask, "", 1) != 1)
		lab_fail("write: %m");
	reset = holder_hear(&clients);
	if (reset != CROWD)
		lab_fail("%s: client %d of %d reads no reset", c->program, reset + 1, CROWD);
	if ((wire_vip(true) == 0) == (c == &contenders[FLOOR]))
		lab_fail("%s: the VIP is not as it should be", c->program);
	c->ms[EXIT][round] = (double)(times.exit_ns - times.exec_ns) / 1e6;
	holder_end(&clients);
	holder_end(&servers);
	wire_clear(c->program);
}

void crowd_bench(size_t rounds)
{
	struct contest contest = {
		.contenders = contenders,
		.count = CONTENDERS,
		.rounds = rounds,
	};

	/* so that a client that is connected is also accepted */
	lab_must(wire.host, "echo %d >/proc/sys/net/core/somaxconn", CROWD);
	contest_run(&contest, 1, turn);
	report_table(&contest, "10,000 CONNECTIONS, exec to exit", EXIT, FLOOR, "x floor");
	printf("\n");
	report_target(&contest, &target);
}
