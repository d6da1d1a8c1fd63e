/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_PLANS_H
#define STILE_STATE_PLANS_H

/*
 * state/plans - the rules of organizations as blocks of the arena
 * (gate/layout.h, struct plan): equal rules share a block.
 *
 * Threads    the control thread.
 * Memory     bookkeeping is private; the blocks come from state/rings. They
 *            are never carried over: a start makes them anew.
 */
#include "gate/layout.h"
#include "state/rings.h"

struct plan_entry {
	uint64_t hash;
	uint64_t block; /* 0: no entry; PLAN_GONE: there was one */
	uint32_t users;
};

struct plans {
	struct arena *arena;
	struct rings *rings;
	struct plan_entry *entries;
	uint32_t size, used; /* a power of two; entries that are not 0 */
};

void plans_init(struct plans *p, struct arena *a, struct rings *rings);
void plans_deinit(struct plans *p);

/* The block of these rules (their counts are 0), with one more user. The
 * order of rules is kept. -ENOMEM, -ENOSPC. */
int plans_take(struct plans *p, const struct rule *rules, uint32_t count,
	       uint64_t *ret_block);
/* One user less; after a grace period when it was published. */
void plans_give(struct plans *p, uint64_t block);

#endif
