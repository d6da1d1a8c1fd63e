/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_DECIDE_H
#define STILE_GATE_DECIDE_H

/*
 * gate/decide - from checks to verdicts: who is calling, and may it pass now.
 *
 * Does       key -> SHA-256 -> key table -> key, project, organization ->
 *            state, access -> gate/step. A batch goes through in stages, so
 *            that the cache misses of its checks overlap. Its checks of one
 *            organization are decided together, in their order.
 * Order      400, 401, 403, 429, 402, 503: the first that applies is the
 *            answer. The same request id again is answered after 403.
 * Threads    one struct gate per worker; all share the arena and the table.
 * Progress   identity is wait-free, the limits lock-free.
 * Time       passed in; one reading serves a batch.
 * Call it    inside an epoch section that began after the checks' bytes had
 *            arrived; nothing is remembered from one call to the next.
 */
#include "base/keytext.h"
#include "gate/claim.h"
#include "gate/explain.h"
#include "gate/keytable.h"
#include "gate/layout.h"
#include "gate/outside.h"
#include "gate/plain.h"
#include "gate/routes.h"
#include "gate/step.h"
#include "gate/subjects.h"
#include "wire/check.h"

#include <stdint.h>

#define GATE_BATCH_MAX 256
#define GATE_EXPLAINS_MAX 8 /* checks of a batch that are explained */
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

/* What the configuration says; what is 0 or NULL is off. */
struct gate_options {
	const struct routes *routes;
	uint64_t once_ms; /* a request id is remembered */
	uint64_t hold_ms; /* a reservation lasts, when it does not say */
	bool hold_keep;   /* one that expires stays charged */
	/* Of the holds the first are the control thread's; workers share the
	 * others, and each of them has its part. */
	uint32_t control_holds, workers;
};

/* How many of so many are the control thread's. */
#define GATE_CONTROL_HOLDS(holds) ((holds) / 16)

struct gate {
	struct arena *arena;
	struct keytable *table;
	struct counters *counters;
	struct keytext_prefix prefix;
	struct gate_options options;
	struct claim claim;
	/* what all share, when it is there */
	bool has_once, has_cells;
	struct subjects once, cells;
	uint32_t hold_first, hold_end, hold_next; /* ours of header->holds */
	uint32_t hold_left;  /* that the run at hand may still look at */
	struct outside rest; /* a subject that was never seen */
	word_t rest_entries[8];
	/* scratch */
	uint32_t slots[GATE_BATCH_MAX]; /* key of each check; 0: none */
	struct gate_groups groups;
	struct step step;
	struct plain_ask plain[PLAIN_ASKS_MAX];
	uint32_t explained; /* of `explains`, in the batch at hand */
	struct explaining explains[GATE_EXPLAINS_MAX];
};

void gate_init(struct gate *g, struct arena *a, struct keytable *t,
	       const struct keytext_prefix *prefix, uint32_t owner,
	       struct counters *counters);

/* After gate_init() and after the arena's shared tables were made, before the
 * first check. Without it there are no routes, request ids and holds. */
void gate_configure(struct gate *g, const struct gate_options *options);

/* count <= GATE_BATCH_MAX, and at most GATE_EXPLAINS_MAX of them with
 * CHECK_EXPLAIN: what is above is decided and not explained. `checks` are
 * changed: the hash is filled in. */
void gate_decide(struct gate *g, struct check *checks, struct verdict *verdicts,
		 unsigned count, const struct instant *now, uint64_t wall_ms);

/* Which of its subjects a rule means, as a hash for its table; 0: none. Slots,
 * and what was not said is 0 or NULL. */
struct gate_subject {
	uint32_t org, project, key;
	uint64_t route;
	const uint8_t *address;
};
uint64_t gate_subject(const struct arena *a, const struct rule *r,
		      const struct gate_subject *of);
/* The same in the table of the rule with this id. */
uint64_t gate_subject_of(const struct arena *a, uint8_t level, uint32_t rule,
			 const struct gate_subject *of);

/* For gate/settle.c: where the key's use of this route (gate/routes.h) is
 * counted, until the end of the epoch section; NULL: there is no room. */
struct cell *gate_cell(struct gate *g, const struct key *key, uint32_t number);

/* ---- gate/settle.c ---- */

/*
 * Ends a hold: its leases are given back, and of the units what was too much;
 * what was too little is charged to budgets and credits as far as they allow
 * (rules keep what they counted). The verdict says what was charged in the
 * end; REASON_NO_HOLD, REASON_BUDGET, REASON_CREDITS.
 */
void gate_settle(struct gate *g, const struct check *c, struct verdict *v,
		 const struct instant *now, uint64_t wall_ms);

/* The control thread: ends those of [from, end) whose time has passed; returns
 * how many. */
uint32_t gate_expire(struct gate *g, uint32_t from, uint32_t end,
		     const struct instant *now, uint64_t wall_ms);

/* Before workers run, when the holds were made anew: they are called what none
 * was called while the wall clock was earlier. So nobody who comes late, with a
 * hold of before, settles another one. */
void gate_name_holds(struct arena *a, uint64_t wall_ms);

#define HOLD_SLOTS_MAX (1u << 24)
/* Not 0 in the next 2^40 uses of a hold: 0 is none. */
#define HOLD_ID(slot, gen)                                                     \
	((uint64_t)(slot) << 40 | (((gen) + 1) & UINT64_C(0xffffffffff)))
#define HOLD_ID_SLOT(id) ((uint32_t)((id) >> 40))

static inline struct hold *hold_at(const struct arena *a, uint32_t slot)
{
	/* PAIRS: nothing. Set before workers run. */
	struct hold *holds =
		block_at(a, atomic_load_explicit(&a->header->holds,
						 memory_order_relaxed));

	return &holds[slot];
}

#endif
