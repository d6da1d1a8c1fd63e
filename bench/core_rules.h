/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CORE_RULES_H
#define STILE_BENCH_CORE_RULES_H

/*
 * bench/core_rules - what several limits at once are measured on: plans of 1,
 * 3 and 6 rules, and words to be claimed by themselves.
 *
 * Allowed   for ever, as core_world's windows are: a unit of a GCRA takes one
 *           nanosecond. Concurrency is left out: each lease would need a second
 *           claim that gives it back.
 * Place     three lines an organization: its further meters and the words of
 *           the bare claim. One organization more, `rich`, has what `hot` has
 *           and credits; the tables of subjects are for it and `hot` only.
 */
#include "state/arena.h"

#include <stdbool.h>
#include <stdint.h>

#define CORE_WORDS_MAX 6u
/* Of the hot organization: their lines, too, stand in the first cache. */
#define CORE_RULES_KEYS 64u

/* org->more names one. */
struct core_meters {
	struct meter more[CORE_WORDS_MAX];
	word_t words[CORE_WORDS_MAX];
};
static_assert(sizeof(struct core_meters) == 3 * LINE_BYTES, "three lines");

enum core_plan {
	CORE_MIXED_1, /* a window */
	CORE_MIXED_3, /* a window, 2 GCRA */
	CORE_MIXED_6, /* a window, 5 GCRA */
	CORE_GCRA_1,
	CORE_GCRA_3,
	CORE_GCRA_6,
	CORE_LEVELS_6, /* a window and a GCRA, one of the project, two of the
			* key, one of the route */
	CORE_PLANS
};

struct core_rules {
	uint64_t spread[CORE_PLANS], hot[CORE_PLANS]; /* RING_WORD of plans */
};

/* Lines that all this takes in the ring region. */
uint64_t core_rules_lines(uint32_t org_count);
/* At `place`, for the organizations of the slots 1 to `rich`, which gets
 * credits. The project in slot 1 gets a budget. */
void core_rules_init(struct core_rules *r, struct arena *a, uint64_t place,
		     uint32_t rich);

static inline struct core_meters *core_meters(const struct arena *a,
					      const struct org *org)
{
	/* PAIRS: nothing. Set before threads start. */
	return (struct core_meters *)(void *)(a->rings +
					      (uint64_t)atomic_load_explicit(
						      &org->more,
						      memory_order_relaxed) *
						      LINE_BYTES);
}

struct core_thread;

/* ---- stages (core_stages.h) ---- */

/* The protocol of gate/claim.h by itself, on words that are merely counted:
 * those that are always claimed together have to agree. */
bool claim_chunk(struct core_thread *t);
/* The same, claiming GCRA with their new values worked out. */
bool bare_chunk(struct core_thread *t);
/* step_run(): a check, or a batch of the hot organization. */
bool rules_chunk(struct core_thread *t);

#endif
