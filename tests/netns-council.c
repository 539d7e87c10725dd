/* SPDX-License-Identifier: MIT */
/*
 * The council of fake Sentinels. Refuses a word that it does not know.
 */
#include "netns-council.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_PORT 26379

struct fake *council[COUNCIL_MAX];

int council_setup(void **state)
{
	netns_setup(state);
	lab_config(us, COUNCIL_CONFIG);
	council[0] = fake_start(us, "127.0.0.1", FIRST_PORT);
	for (int i = 1; i < COUNCIL_MAX; i++)
		council[i] = fake_start(peer, PEER4, FIRST_PORT + i);
	return 0;
}

int council_teardown(void **state)
{
	fake_stop_all();
	return netns_teardown(state);
}

static const char *address_of(char letter)
{
	switch (letter) {
	case 'A':
		return OUR4;
	case 'B':
		return PEER4;
	case 'C':
		return "10.0.0.3";
	default:
		lab_fail("no master is called %c", letter);
	}
}

/* An answer to each of the questions. */
static void say_all(struct fake_turn *t, const char *text)
{
	for (enum fake_question q = FAKE_ADDRESS; q <= FAKE_MYID; q++)
		fake_format(t, q, "%s", text);
}

static void say(int i, int n, const char *word, const char *const fellows[])
{
	const char *epoch = word[0] ? word + 1 : "";
	struct fake_turn *t;

	t = fake_turn(council[i], n, strchr("ABC", *word) ? address_of(*word) : OLD4, 6379, epoch,
		      fellows);
	if (strchr("ABC", *word)) {
		if (!*epoch)
			fake_format(t, FAKE_MASTER, "-ERR No such master with that name\r\n");
	} else if (*word == '?') {
		say_all(t, "-ERR No such master with that name\r\n");
		fake_format(t, FAKE_ADDRESS, "*-1\r\n");
	} else if (*word == '!') {
		say_all(t, "-NOAUTH Authentication required.\r\n");
	} else if (*word == '-') {
		t->closes = true;
	} else if (*word == 'h') {
		say_all(t, "");
	} else if (!strchr("0n", *word)) {
		lab_fail("\"%s\" is no vote", word);
	}
}

void council_turn(int n, const char *votes)
{
	char words[COUNCIL_MAX][32] = {""}, listed[COUNCIL_MAX][64];
	const char *fellows[COUNCIL_MAX + 1] = {NULL};
	int count = sscanf(votes, "%31s %31s %31s %31s %31s", words[0], words[1], words[2],
			   words[3], words[4]);

	for (int i = 1; i < count; i++) {
		snprintf(listed[i], sizeof listed[i], "%s %d",
			 *words[i] == 'n' ? "nobody.example" : PEER4,
			 *words[i] == '0' ? 0 : FIRST_PORT + i);
		fellows[i - 1] = listed[i];
	}
	for (int i = 0; i < count; i++)
		say(i, n, words[i], i == 0 ? fellows : NULL);
}

void council_says(const char *votes)
{
	for (int i = 0; i < COUNCIL_MAX; i++)
		fake_forget(council[i]);
	council_turn(0, votes);
}

void council_vip(bool here)
{
	lab_must(us, here ? "ip addr replace " VIP4 "/32 dev eth0"
			  : "ip addr del " VIP4 "/32 dev eth0 2>/dev/null || :");
}

int council_ms(void)
{
	return (int)((r.exit_ns - r.exec_ns) / 1000000);
}

void council_quiet(const char *file, int line, int status)
{
	if (r.status == status && !r.timed_out && !*r.err && !*r.out && lab_log_count(us, "") == 0)
		return;
	print_error("status %d, expected %d and silence, stdout:\n%s\nstderr:\n%s\nsyslog:\n",
		    r.status, status, r.out, r.err);
	lab_log_print(us);
	_fail(file, line);
}
