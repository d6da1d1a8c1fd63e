/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_FIXTURE_H
#define STILE_TESTS_GATE_FIXTURE_H

/*
 * tests/gate/fixture - organizations in an arena, without records and
 * registry: slots are set up by hand, rings are handed out once.
 */
#include "base/check.h"
#include "base/clock.h"
#include "gate/claim.h"
#include "gate/meter.h"
#include "gate/step.h"
#include "state/arena.h"

#include <string.h>

#define MS CLOCK_TICKS_PER_MS

struct fixture {
	struct arena_file file;
	struct arena *arena;
	uint64_t ring_lines;
	uint32_t ring_gen;
};

static inline void fixture_set(word_t *w, uint64_t value)
{
	/* PAIRS: nothing. Set up before threads start. */
	atomic_store_explicit(w, value, memory_order_relaxed);
}

static inline uint64_t fixture_get(const word_t *w)
{
	/* PAIRS: nothing. One thread, or all others have ended. */
	return atomic_load_explicit(w, memory_order_relaxed);
}

static inline void fixture_open(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	check(arena_open_private(&f->file) == 0);
	f->arena = &f->file.arena;
}

static inline void fixture_close(struct fixture *f)
{
	arena_close(&f->file);
}

/* A ring that nobody used before. */
static inline uint64_t fixture_ring(struct fixture *f, unsigned log2)
{
	uint64_t place = f->ring_lines;

	f->ring_lines += (UINT64_C(1) << log2) / (LINE_BYTES / sizeof(word_t));
	check(arena_reserve(&f->file, REGION_RINGS,
			    f->ring_lines * LINE_BYTES) == 0);
	return RING_WORD(place, log2, ++f->ring_gen);
}

/* A plan with these rules. */
static inline uint64_t fixture_plan(struct fixture *f, const struct rule *rules,
				    uint32_t count)
{
	uint64_t word = fixture_ring(f, 9);
	struct plan *plan =
		(void *)(f->arena->rings + RING_PLACE(word) * LINE_BYTES);

	plan->rules_count = count;
	for (uint32_t i = 0; i < count; i++)
		memcpy(&plan->rules[i], &rules[i], sizeof(*rules));
	plan_complete(plan);
	return word;
}

static inline struct rule fixture_window(uint32_t limit, uint64_t window)
{
	struct rule rule = {
		.algorithm = RULE_WINDOW,
		.level = LEVEL_ORG,
		.limit = limit,
		.span = window,
		.period_ms = (uint32_t)((window + MS - 1) / MS),
		.name = "org",
	};

	return rule;
}

/* An organization with a fresh window; ring_log2 0: what the limit needs. */
static inline struct org *fixture_org(struct fixture *f, uint32_t slot,
				      uint32_t limit, uint64_t window,
				      unsigned ring_log2)
{
	struct org *org = &f->arena->orgs[slot];
	struct rule rule = fixture_window(limit, window);

	if (ring_log2 == 0)
		ring_log2 = meter_ring_log2(limit);
	check(arena_reserve(&f->file, REGION_ORGS,
			    (slot + UINT64_C(1)) * sizeof(*org)) == 0);
	fixture_set(&org->first.level, 0);
	fixture_set(&org->first.base, 0);
	fixture_set(&org->first.ring,
		    fixture_ring(f, ring_log2) |
			    (meter_coarse(limit) ? RING_COARSE : 0));
	fixture_set(&org->plan, fixture_plan(f, &rule, 1));
	fixture_set(&org->credits, 0);
	memcpy(org->id.c, "org00000", ID_LEN);
	org->id.c[7] = (char)('0' + slot % 10);
	atomic_store_explicit(&org->state, SLOT_ACTIVE, memory_order_relaxed);
	slots_raise(&f->arena->header->org_slots, slot);
	return org;
}

static inline struct key *fixture_key(struct fixture *f, uint32_t slot)
{
	check(arena_reserve(&f->file, REGION_KEYS,
			    (slot + UINT64_C(1)) * sizeof(struct key)) == 0);
	return &f->arena->keys[slot];
}

/* A project without budgets. */
static inline struct project *fixture_project(struct fixture *f, uint32_t slot,
					      uint32_t org)
{
	struct project *project = &f->arena->projects[slot];

	check(arena_reserve(&f->file, REGION_PROJECTS,
			    (slot + UINT64_C(1)) * sizeof(*project)) == 0);
	project->org = org;
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		fixture_set(&project->budgets[i].cap, BUDGET_NONE);
	return project;
}

#endif
