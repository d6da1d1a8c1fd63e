/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ARENA_H
#define STILE_STATE_ARENA_H

/*
 * state/arena - maps the shared arena (gate/layout.h) and hands out pages.
 *
 * Threads    the control thread.
 * Place      a file in tmpfs, mode 0600; its header carries the boot id. One
 *            of another boot, another layout or half made is replaced by an
 *            empty one, and the snapshot is used instead. "Half made" lasts
 *            until arena_set_ready(): a process that dies while it restores
 *            the snapshot leaves nothing that passes for counters.
 * Civil      the offset of the civil clock (base/civil.h) lies in the header:
 *            taken from the wall clock when the arena is made, carried on with
 *            otherwise.
 * Alone      the file is locked (flock): -EBUSY when another process has it.
 * Errors     negative errno and a sentence with the remedy.
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>

enum arena_region {
	REGION_ORGS,
	REGION_PROJECTS,
	REGION_KEYS,
	REGION_RINGS,
	REGION_COUNT
};

struct arena_file {
	struct arena arena;
	int fd; /* -1: private memory */
	uint8_t boot_id[16];
	uint8_t id[16]; /* for the header when it is written anew */
	uint64_t reserved[REGION_COUNT]; /* bytes with pages behind them */
};

/*
 * Opens or creates. *ret_fresh: there were no counters to carry on with.
 * *ret_recovered: decisions of a dead process that were completed.
 * The caller holds the lock of the state directory: one process writes.
 */
int arena_open(struct arena_file *f, const char *path, bool *ret_fresh,
	       unsigned *ret_recovered, char *err, size_t err_len);

/* An arena in private memory, for tests and benches. */
int arena_open_private(struct arena_file *f);

void arena_close(struct arena_file *f);

/* Its counters are complete: the next process may carry on with them. */
void arena_set_ready(struct arena_file *f);

/* Before workers run: what it holds turned out to be damaged, or somebody
 * else's. Empties it, as a fresh one. Negative errno and a sentence. */
int arena_discard(struct arena_file *f, char *err, size_t err_len);

/* Makes sure that the first `bytes` of a region have pages behind them.
 * -ENOSPC: the tmpfs is full; nothing changed. */
int arena_reserve(struct arena_file *f, enum arena_region region,
		  uint64_t bytes);

/* <runtime_dir>/arena when `runtime_dir` is not empty, else
 * $RUNTIME_DIRECTORY/arena, else /dev/shm/stile-<hash of state_dir>.arena. */
int arena_path(char *out, size_t out_len, const char *runtime_dir,
	       const char *state_dir);

#endif
