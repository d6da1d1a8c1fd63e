/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ARENA_H
#define STILE_STATE_ARENA_H

/*
 * state/arena - maps the shared arena (gate/layout.h) and hands out pages.
 *
 * Threads    open, reserve and close: the control thread. The pointers may be
 *            used by any thread.
 * Place      a file in tmpfs, named after the state directory; its header
 *            carries the boot id. One of another boot, another layout or
 *            half made is replaced by an empty one.
 */
#include "gate/claim.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>

struct arena {
	uint8_t *base;
	struct arena_header *header;
	struct descriptor *descriptors; /* ARENA_OWNERS of them */
	struct org *orgs;
	struct project *projects;
	struct key *keys;
	uint8_t *rings;
	int fd; /* -1: private memory (tests) */
	uint64_t allocated[4]; /* bytes with pages behind them, per region */
};

enum arena_region {
	REGION_ORGS,
	REGION_PROJECTS,
	REGION_KEYS,
	REGION_RINGS,
};

/* *ret_fresh: there were no counters to carry on with. `dir` is the runtime
 * directory on tmpfs, `name` the file in it. Completes what a dead process
 * had claimed. Negative errno and a sentence with the remedy on failure. */
int arena_open(struct arena *a, const char *path, bool *ret_fresh, char *err,
	       size_t err_len);

/* An arena in private memory, for tests and benches. */
int arena_open_private(struct arena *a);

void arena_close(struct arena *a);

/* Makes sure that the first `bytes` of a region have pages.
 * -ENOSPC when the tmpfs is full. */
int arena_reserve(struct arena *a, enum arena_region region, uint64_t bytes);

#endif
