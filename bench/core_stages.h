/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CORE_STAGES_H
#define STILE_BENCH_CORE_STAGES_H

/*
 * bench/core_stages - the stages of a check, one row each, and what one of
 * them does to a chunk of keys.
 *
 * Threads   each has a struct core_thread, with an owner's descriptor of its
 *           own; all share the world.
 * Checked   each result of each operation; a wrong one ends the run.
 */
#include "base/counters.h"
#include "core_world.h"
#include "gate/decide.h"

#include <stdbool.h>
#include <stdint.h>

/* Operations between two looks at the clock; a multiple of every batch. */
#define CORE_CHUNK 1024u
/* Operations that share an instant where they are not in a batch. */
#define CORE_INSTANT 64u
/* Those of a batch whose misses are made to overlap here. */
#define CORE_FETCH_MAX 32u

struct core_thread;

struct core_stage {
	const char *name;
	bool (*chunk)(struct core_thread *t); /* false: a wrong result */
	bool hot;       /* organization, key and table lines */
	bool hashed;    /* the hash is sent, not the key */
	bool denied;    /* needs full windows */
	uint16_t batch; /* checks whose misses overlap */
	/* bench/core_rules.h */
	uint8_t words; /* rules, or words that are claimed */
	uint8_t plan;  /* enum core_plan; CORE_PLANS: none */
	bool budget, credits;
};

extern const struct core_stage core_stages[];
extern const size_t core_stages_count;

/* The bare claim of as many words at the same place, or -1. */
int core_stage_reference(const struct core_stage *s);

struct core_thread {
	const struct core_stage *stage;
	struct core_world *world;
	const struct core_key *keys; /* that the stage walks round */
	uint32_t key_count, at;
	uint64_t wall_ms;
	struct gate gate;
	struct counters counters;
	struct check checks[GATE_BATCH_MAX];
	struct verdict verdicts[GATE_BATCH_MAX];
};

/* Thread `idx` of `count`: they begin equally far apart. */
void core_thread_init(struct core_thread *t, struct core_world *w,
		      const struct core_stage *stage, uint32_t idx,
		      uint32_t count);

static inline const struct core_key *core_next_key(struct core_thread *t)
{
	const struct core_key *k = &t->keys[t->at];

	if (++t->at == t->key_count)
		t->at = 0;
	return k;
}

#endif
