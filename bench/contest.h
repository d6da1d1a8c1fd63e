/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CONTEST_H
#define STILE_BENCH_CONTEST_H

/*
 * bench/contest - servers under the same load, in turns: what peers, http and
 * nginx have in common.
 *
 * In every repetition each contender runs once, in an order that is turned
 * around from one repetition to the next. Ratios and differences are those of
 * one repetition, and their medians; what drifts between repetitions cancels.
 *
 * Errors     -1 with a sentence in stand.error, or 0.
 */
#include "contest_options.h"
#include "load.h"
#include "stand.h"
#include "stats.h"

#include <jansson.h>

#define CONTEST_CONTENDERS_MAX 12
#define CONTEST_SKIPPED_MAX 12

/* Filled in by the experiment. */
struct contender {
	const char *name;
	const char *version; /* what the program says of itself */
	const struct dialect *dialect;
	struct address address;
	struct process *servers[LOAD_SERVERS_MAX];
	uint32_t server_count;
	/* The difference of its CPU time and this one's is worth telling:
	 * name of an earlier contender, or NULL. */
	const char *base;
	/* What it allowed is added here; NULL = not counted. */
	uint64_t *units_allowed;
};

struct contest_cell {
	const struct contender *contender;
	uint32_t depth;
	struct spread rps, cpu_ns, busy;
	struct spread ratio; /* of its CPU time to that of the reference */
	struct spread diff;  /* its CPU time minus that of its base, ns */
	struct spread each_ns[LOAD_SERVERS_MAX];
	uint64_t replies; /* measured and checked */
	double denied_share;
};

struct contest_skip {
	const char *name;
	char why[160];
};

struct contest {
	struct contest_options options;
	struct stand stand;
	/* The first one is the reference. */
	struct contender contenders[CONTEST_CONTENDERS_MAX];
	uint32_t contender_count;
	struct contest_skip skipped[CONTEST_SKIPPED_MAX];
	uint32_t skipped_count;
	json_t *cells;
};

/* Opens the stand and builds raw frames. The options are read, the rest is
 * zeros; contest_close() follows in any case. */
int contest_open(struct contest *c);

/* Returns the exit status; failed: something went wrong, as the stand's error
 * says. Prints what is left to print. */
int contest_close(struct contest *c, bool failed);

/* --only names it, or there is no --only. */
bool contest_wants(const struct contest *c, const char *name);

void contest_enter(struct contest *c, const struct contender *contender);
void contest_skip(struct contest *c, const char *name, const char *why);

/* Runs every cell and reports each; ends with the balance of stiled. */
int contest_run(struct contest *c);

/* A sentence for stand.error; returns -1. */
__attribute__((format(printf, 2, 3))) int contest_fail(struct contest *c,
						       const char *format, ...);

/* Asks each request of d once, `depth` at a time on a connection; more than a
 * few denials are an error. */
int contest_fill(struct contest *c, const struct address *address,
		 struct process *server, const struct dialect *d,
		 uint32_t depth);

#endif
