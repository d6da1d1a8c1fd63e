/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RINGS_H
#define STILE_STATE_RINGS_H

/*
 * state/rings - memory for windows: powers of two of cache lines out of the
 * arena's ring region.
 *
 * Threads    the control thread.
 * Memory     its own bookkeeping is private; after a restart it is rebuilt
 *            from the rings in use (rings_adopt, rings_settle).
 * Bound      `max_bytes`; the answer is -ENOSPC, as when the tmpfs is full.
 *            A larger free ring is split when nothing else is left; free
 *            neighbours become one again at the next start.
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_file;

#define RINGS_LOG2_MAX 26 /* words of the largest block: 512 MiB */

struct rings_free {
	uint32_t *places;
	size_t count, room;
};

struct rings {
	struct arena_file *file;
	uint64_t max_lines;
	uint64_t end; /* lines handed out so far, used or free again */
	uint32_t next_gen;
	bool fresh;
	struct rings_free free[RINGS_LOG2_MAX + 1];
	/* rings in use, while adopting */
	uint64_t *adopted;
	size_t adopted_count, adopted_room;
};

/* fresh: the arena is, so what was never handed out is zero already. */
void rings_init(struct rings *r, struct arena_file *file, uint64_t max_bytes,
		bool fresh);
void rings_deinit(struct rings *r);

/* At start: a ring that is in use; then once, when all are known. -ENOMEM;
 * -EINVAL: two rings overlap or one is out of bounds, the arena is damaged. */
int rings_adopt(struct rings *r, uint64_t ring);
int rings_settle(struct rings *r);

/* A zeroed ring of 2^log2 entries, as a ring word. -ENOSPC, -ENOMEM. */
int rings_take(struct rings *r, unsigned log2, uint64_t *ret_ring);
/* After a grace period. */
void rings_give(struct rings *r, uint64_t ring);

#endif
