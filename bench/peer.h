/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PEER_H
#define STILE_BENCH_PEER_H

/*
 * bench/peer - a server of somebody else, started in a directory of its own
 * below that of the experiment.
 *
 * Errors     -1 with a sentence in `error`, or 0.
 */
#include "address.h"
#include "contest.h"
#include "process.h"

#include <limits.h>

#define PEER_DIALECTS 2

struct peer {
	struct process process;
	char program[PATH_MAX];
	char version[128];
	char dir[PATH_MAX], log[PATH_MAX];
	char path[PATH_MAX]; /* of its socket */
	struct address address;
	struct dialect dialects[PEER_DIALECTS];
};

/* Looks for the program and asks for its version. False, with the reason in
 * `why`, when it is not installed: no error. */
bool peer_find(struct peer *p, const char *program, const char *version_option,
	       char *why, size_t why_len);

/* Makes its directory, `dir`/`name`, and sets path to a socket in it. */
int peer_prepare(struct peer *p, const char *dir, const char *name, char *error,
		 size_t error_len);

/* Starts the program (argv[0] is replaced) and waits until `address` can be
 * connected to. */
int peer_start(struct peer *p, const char *name, const char *argv[], int cpu,
	       char *error, size_t error_len);

/* False when it did not end as it should. Does nothing when never started. */
bool peer_stop(struct peer *p);

/*
 * The peers that we know. Each starts its server if `c` asks for it and it is
 * installed, fills it with the keys of the workload, probes that it limits,
 * and enters its contenders, or the reason why not. Called with a zeroed peer;
 * peer_stop() follows in any case.
 */
int peer_redis(struct peer *p, struct contest *c);
int peer_redis_cell(struct peer *p, struct contest *c);
int peer_throttlecrab(struct peer *p, struct contest *c);
int peer_memcached(struct peer *p, struct contest *c);
int peer_nginx(struct peer *p, struct contest *c);

#endif
