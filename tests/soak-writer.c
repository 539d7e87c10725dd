/* SPDX-License-Identifier: MIT */
/*
 * The clients of the soak: on each client's host one process for each VIP writes through it all
 * along, like somebody who knows one address and nothing of Sentinel, and says in shared memory
 * when the last write was acknowledged and by whom.
 */
#include "soak.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PATIENCE_MS 300
#define PAUSE_MS 25

static struct writer *writers;

const struct writer *writer_of(int client, int vip)
{
	return &writers[client * VIPS_MAX + vip];
}

/* Who is at the other end; -1 when it does not say. */
static int who(redisContext *link)
{
	redisReply *reply = redisCommand(link, "CONFIG GET replica-announce-ip");
	int node = node_of(word(reply, 1));

	freeReplyObject(reply);
	return node;
}

static redisContext *writer_connect(const struct vip *v, int *node)
{
	const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
	redisContext *link = redisConnectWithTimeout(v->address, REDIS_PORT + v->master, patience);

	if (link && !link->err && redisSetTimeout(link, patience) == REDIS_OK &&
	    (*node = who(link)) >= 0)
		return link;
	redisFree(link);
	return NULL;
}

static void writer_run(const struct vip *v, struct writer *mine)
{
	redisContext *link = NULL;
	int node = -1;

	for (;; lab_sleep_ms(PAUSE_MS)) {
		redisReply *reply = NULL;
		int64_t now;

		if (link || (link = writer_connect(v, &node)))
			reply = redisCommand(link, "SET soak %lu", mine->acks);
		if (reply && reply->type == REDIS_REPLY_STATUS) {
			now = lab_now_ns();
			if (mine->acked_ns && now - mine->acked_ns > mine->silence_ns)
				mine->silence_ns = now - mine->acked_ns;
			mine->node = node;
			mine->acked_ns = now;
			mine->acks++;
		} else if (link) {
			redisFree(link);
			link = NULL;
		}
		freeReplyObject(reply);
	}
}

void writers_start(void)
{
	const size_t size = CLIENTS * VIPS_MAX * sizeof *writers;

	writers = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (writers == MAP_FAILED)
		lab_fail("mmap: %m");
	fflush(NULL);
	for (int c = 0; c < CLIENTS; c++)
		for (int v = 0; v < w.vips; v++) {
			struct writer *mine = &writers[c * VIPS_MAX + v];
			pid_t pid;

			mine->node = -1;
			if ((pid = fork()) < 0)
				lab_fail("fork: %m");
			if (pid > 0)
				continue;
			if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || lab_enter(w.client[c]) < 0)
				_exit(1);
			writer_run(&w.vip[v], mine);
		}
}
