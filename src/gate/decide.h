/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_DECIDE_H
#define STILE_GATE_DECIDE_H

/*
 * gate/decide - from checks to verdicts: who is calling, and may it pass now.
 *
 * Does       key -> SHA-256 -> key table -> key, project, organization ->
 *            state -> window. A batch goes through in stages, so that the
 *            cache misses of its checks overlap. Its checks of one
 *            organization are decided together, in their order.
 * Order      400, 401, 403, 429: the first that applies is the answer.
 * Threads    one struct gate per worker; all share the arena and the table.
 * Progress   identity is wait-free, the limit lock-free.
 * Time       passed in; one reading serves a batch.
 * Call it    inside an epoch section that began after the checks' bytes had
 *            arrived; nothing is remembered from one call to the next.
 */
#include "base/keytext.h"
#include "gate/claim.h"
#include "gate/keytable.h"
#include "gate/layout.h"
#include "gate/window.h"
#include "wire/check.h"

#include <stdint.h>

#define GATE_BATCH_MAX 256
/* Where the latest check of an organization is looked for. */
#define GATE_LATEST 512

/* Of one batch: its checks by organization. */
struct gate_groups {
	uint16_t count;
	uint16_t first[GATE_BATCH_MAX]; /* of each group */
	uint16_t next[GATE_BATCH_MAX];  /* of each check; GROUP_END */
	uint32_t org[GATE_BATCH_MAX];   /* of each check; 0: none */
	uint16_t latest[GATE_LATEST];
};

struct gate {
	struct arena *arena;
	struct keytable *table;
	struct counters *counters;
	struct keytext_prefix prefix;
	struct claim claim;
	/* scratch */
	uint32_t slots[GATE_BATCH_MAX]; /* key of each check; 0: none */
	struct gate_groups groups;
	uint16_t run[WINDOW_ASKS_MAX];
	struct window_ask asks[WINDOW_ASKS_MAX];
	unsigned run_count;
};

void gate_init(struct gate *g, struct arena *a, struct keytable *t,
	       const struct keytext_prefix *prefix, uint32_t owner,
	       struct counters *counters);

/* count <= GATE_BATCH_MAX. `checks` are changed: the hash is filled in. */
void gate_decide(struct gate *g, struct check *checks, struct verdict *verdicts,
		 unsigned count, uint64_t now_ticks, uint64_t wall_ms);

#endif
