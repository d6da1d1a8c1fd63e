/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_USAGE_H
#define STILE_STATE_USAGE_H

/*
 * state/usage - what was used, hour by hour, in a database of its own.
 *
 * Does       key->used and the cells are totals that only workers change;
 *            usage_collect() adds what they have grown by to rows (hour,
 *            organization, key, route) in DIR/usage.db and then says so in
 *            key->collected and beside the cells.
 * Exactness  sum of the rows + (used - collected) = used, for every key, at
 *            any time and across the death of the process: a transaction also
 *            holds the collected words that it stands for, and the next start
 *            puts them back should the process have died between the commit
 *            and the stores. Checks are told apart modulo 2^24 between two
 *            collections, units modulo 2^40, denials modulo 2^32. In a fresh
 *            arena, whose totals come from the snapshot, nothing is pending.
 * Hour       what is found belongs to the hour of the collection before. One
 *            is due at the turn of every hour, so it is late by as much as
 *            that one is; what could not be written then waits, and belongs
 *            to the hour of the last one that worked.
 * Durable    WAL, synchronous=FULL: one fsync per collection that found
 *            something. After a power loss the rows lack what came after the
 *            last collection.
 * Threads    usage_open(), usage_close(): while no other thread uses it.
 *            usage_collect(): the snapshot thread.
 *            usage_status(): any but the workers. state/usage_read.h: control.
 * Never      do workers wait: none of its locks is theirs, and it is in an
 *            epoch section for USAGE_STRETCH slots at a time.
 * Errors     a database that cannot be opened or written is tried again by
 *            each collection; until then the differences stay in the arena.
 * Memory     8 MB of buffers, touched as keys are used, and 8 MB of cache.
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_file;
struct epoch_reader;
struct usage;

#define USAGE_FILE "usage.db"
#define USAGE_HOUR_MS INT64_C(3600000)
#define USAGE_STRETCH 1024u    /* slots looked at in an epoch section */
#define USAGE_BATCH (1u << 17) /* keys of one transaction */
#define USAGE_PRUNE_ROWS 4096  /* rows that one transaction deletes ... */
#define USAGE_PRUNE_TIMES 16   /* ... and such transactions a collection */
#define USAGE_ERROR_MAX 256

struct routes;

/* In rows: a route that is not declared. */
#define USAGE_ROUTE_OTHER "other"

struct usage_options {
	struct arena_file *arena;
	bool fresh; /* arena_open(): there is nothing to carry on with */
	const char *state_dir;
	uint64_t retention_ms;       /* 0: rows stay for ever */
	const struct routes *routes; /* kept; NULL: none are declared */
};

struct usage_status {
	uint64_t collections; /* that worked */
	uint64_t failures;
	uint64_t rows;   /* changed, since the start */
	uint64_t pruned; /* rows deleted by age */
	int64_t last_ms; /* civil time of the last one; 0: none yet */
	char error[USAGE_ERROR_MAX]; /* of the last one; "" = it worked */
};

/* After arena_open(), before the registry looks at the arena: puts collected
 * words back. A database that fails is told in usage_status(). -ENOMEM,
 * -ENAMETOOLONG. */
int usage_open(struct usage **ret_usage, const struct usage_options *o,
	       int64_t now_ms);
/* The registry has found that the arena was damaged: what usage.db says of it,
 * should it not be open yet, means nothing any more. */
void usage_forget(struct usage *u);
/* Collects nothing. */
struct usage *usage_close(struct usage *u);

/* `reader` is this thread's; NULL when the workers have ended. Negative errno,
 * the sentence in usage_status(). `now_ms`: civil time. */
int usage_collect(struct usage *u, struct epoch_reader *reader, int64_t now_ms);

void usage_status(struct usage *u, struct usage_status *ret_status);

#endif
