/* SPDX-License-Identifier: MIT */
/* memcached, incr: a counter for each key and no limiter at all. What a
 * fixed-window limiter on top of it would cost at least. */
#include "peer.h"

#include "memtext.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* An item and its share of the hash table, generously. */
#define BYTES_PER_KEY UINT64_C(256)
#define SPARE_MIB UINT64_C(64)

static int start(struct peer *p, struct contest *c)
{
	char memory_mib[24];
	const char *argv[] = {
		NULL,
		"-s",
		p->path,
		"-a",
		"0700",
		"-t",
		"1",
		"-c",
		"2048",
		"-m",
		memory_mib,
		/* As root it wants to be told that we mean it. */
		geteuid() == 0 ? "-u" : NULL,
		"root",
		NULL,
	};

	snprintf(memory_mib, sizeof(memory_mib), "%" PRIu64,
		 SPARE_MIB + c->options.keys * BYTES_PER_KEY / (1 << 20));
	if (peer_prepare(p, c->stand.daemon.dir, "memcached", c->stand.error,
			 STAND_ERROR_LEN) < 0)
		return -1;
	return peer_start(p, "memcached", argv, c->stand.server_cpu,
			  c->stand.error, STAND_ERROR_LEN);
}

int peer_memcached(struct peer *p, struct contest *c)
{
	const struct workload *w = &c->stand.workload;
	struct dialect set = {0};
	char why[128];
	int r;

	if (!contest_wants(c, "memcached"))
		return 0;
	if (!peer_find(p, "memcached", "-V", why, sizeof(why))) {
		contest_skip(c, "memcached", why);
		return 0;
	}
	if (start(p, c) < 0)
		return -1;
	r = memtext_dialect_incr(&p->dialects[0], w);
	if (r == 0)
		r = memtext_dialect_set(&set, w);
	if (r < 0)
		contest_fail(c, "out of memory");
	else
		r = contest_fill(c, &p->address, &p->process, &set,
				 LOAD_PASS_DEPTH_MAX);
	dialect_free(&set);
	contest_enter(c, &(struct contender){
				 .name = "memcached",
				 .version = p->version,
				 .dialect = &p->dialects[0],
				 .address = p->address,
				 .servers = {&p->process},
				 .server_count = 1,
			 });
	return r;
}
