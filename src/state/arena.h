/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ARENA_H
#define STILE_STATE_ARENA_H

/*
 * state/arena - maps the shared arena (gate/layout.h) and hands out pages.
 *
 * Threads    the control thread.
 * Place      a file in tmpfs, mode 0600; its header carries the boot id. One
 *            of another boot, another layout or half made is replaced by an
 *            empty one, and the snapshot is used instead.
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
	int fd;                          /* -1: private memory */
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

/* Makes sure that the first `bytes` of a region have pages behind them.
 * -ENOSPC: the tmpfs is full; nothing changed. */
int arena_reserve(struct arena_file *f, enum arena_region region,
		  uint64_t bytes);

/* <runtime_dir>/arena when `runtime_dir` is not empty, else
 * $RUNTIME_DIRECTORY/arena, else /dev/shm/stile-<hash of state_dir>.arena. */
int arena_path(char *out, size_t out_len, const char *runtime_dir,
	       const char *state_dir);

#endif
