/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_SNAPSHOTS_H
#define STILE_BENCH_SNAPSHOTS_H

/*
 * bench/snapshots - a thread that has a daemon write snapshots, one after the
 * other, for as long as something else is measured.
 *
 * Threads    snapshots_start() and snapshots_stop(): whoever measures.
 */
#include "daemon.h"

#include <stdint.h>

struct snapshots;

/* One snapshot has been written when it returns, and the next is under way.
 * NULL with a sentence. */
struct snapshots *snapshots_start(const struct daemon_server *d, char *error,
				  size_t error_len);

struct snapshots_result {
	uint32_t count;       /* from start to stop */
	uint64_t orgs, bytes; /* of the last one */
	/* of the daemon, while it wrote; and of everything */
	double writing_s, elapsed_s;
};

/* Waits for the one under way. 0, or -1 with a sentence. */
int snapshots_stop(struct snapshots *s, struct snapshots_result *ret_result,
		   char *error, size_t error_len);

#endif
