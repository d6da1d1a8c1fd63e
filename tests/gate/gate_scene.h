/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_GATE_SCENE_H
#define STILE_TESTS_GATE_GATE_SCENE_H

/*
 * tests/gate/gate_scene - a gate with all that a check can be counted in:
 * plans of any rules, projects with budgets, pools of credits, holds, request
 * ids, cells of usage, routes. Key k of the scene has the hash gate_hash(k).
 */
#include "../random.h"
#include "base/counters.h"
#include "base/label.h"
#include "fixture.h"
#include "gate/decide.h"

#include <stdlib.h>

#define WALL_MS UINT64_C(1700000000000)
#define NS_PER_MS UINT64_C(1000000)

struct gate_scene {
	struct fixture f;
	struct keytable table;
	struct counters counters;
	struct routes routes;
	struct gate_options options;
	struct gate gate;
	uint64_t wall_ms;
};

static inline void gate_hash(uint32_t key, uint8_t out[static 32])
{
	struct rng rng = {key};
	unsigned i;

	for (i = 0; i < 32; i++)
		out[i] = (uint8_t)rng_next(&rng);
}

static inline uint64_t fixture_block(struct fixture *f, uint64_t bytes)
{
	unsigned log2 = 3;

	while ((sizeof(word_t) << log2) < bytes)
		log2++;
	return fixture_ring(f, log2);
}

/* A table of subjects, with a state for each. */
static inline uint64_t fixture_table(struct fixture *f, uint32_t count,
				     uint32_t stride)
{
	uint64_t block = fixture_block(f, subjects_bytes(count, stride));

	subjects_format(f->arena, block, count, stride);
	return block;
}

/* Bytes of a subject's state. */
static inline uint32_t fixture_stride(const struct rule *r, unsigned log2)
{
	return r->algorithm == RULE_WINDOW
		       ? LINE_BYTES + (uint32_t)(sizeof(word_t) << log2)
		       : LINE_BYTES;
}

/* The rule with a table for so many subjects, and rings for its limit. */
static inline struct rule fixture_rule(struct fixture *f, struct rule r,
				       uint8_t level, uint32_t subjects)
{
	r.level = level;
	r.id = ++f->ring_gen;
	r.table = fixture_table(f, subjects,
				fixture_stride(&r, meter_ring_log2(r.limit)));
	return r;
}

/* Everything that is shared, in an arena that is there; no gate yet. */
static inline void gate_scene_fill(struct gate_scene *s, uint32_t holds,
				   uint32_t ids, uint32_t cells)
{
	struct arena_header *h = s->f.arena->header;

	/* No block of the region at 0, where an offset says nothing. */
	fixture_ring(&s->f, 3);
	h->seed = 42;
	h->holds_count = holds;
	fixture_set(&h->holds,
		    fixture_block(&s->f, holds * sizeof(struct hold)));
	fixture_set(&h->once, fixture_table(&s->f, ids, 16));
	fixture_set(&h->cells,
		    fixture_table(&s->f, cells, sizeof(struct cell)));
}

static inline void gate_scene_gate(struct gate_scene *s, uint32_t owners)
{
	struct keytext_prefix prefix;

	check(keytable_init(&s->table, 0, NULL) == 0);
	check(keytext_prefix_init(&prefix, "il"));
	s->options = (struct gate_options){
		.routes = &s->routes,
		.once_ms = 1000,
		.hold_ms = 500,
		.workers = owners,
	};
	s->wall_ms = WALL_MS;
	gate_init(&s->gate, s->f.arena, &s->table, &prefix, 0, &s->counters);
	gate_configure(&s->gate, &s->options);
}

/* All of it; the gate is owner 0 of `owners`. */
static inline void gate_scene_open(struct gate_scene *s, uint32_t holds,
				   uint32_t owners)
{
	memset(s, 0, sizeof(*s));
	fixture_open(&s->f);
	gate_scene_fill(s, holds, 2000, 500);
	gate_scene_gate(s, owners);
}

static inline void gate_scene_close(struct gate_scene *s)
{
	keytable_deinit(&s->table);
	fixture_close(&s->f);
}

static inline struct key *gate_scene_key(struct gate_scene *s, uint32_t slot,
					 uint32_t org, uint32_t project)
{
	struct key *key = fixture_key(&s->f, slot);
	uint8_t hash[32];

	gate_hash(slot, hash);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	memcpy(key->id.c, "key00000", ID_LEN);
	key->id.c[7] = (char)('a' + slot % 26);
	key->org = org;
	key->project = project;
	atomic_store_explicit(&key->state, SLOT_ACTIVE, memory_order_relaxed);
	check(keytable_insert(&s->table, hash, slot) == 0);
	return key;
}

/* Rules of the organization itself get its meters in their order. */
static inline struct org *gate_scene_org(struct gate_scene *s, uint32_t slot,
					 struct rule *rules, uint32_t count)
{
	struct org *org = fixture_org(&s->f, slot, 1, 1000, 0);
	uint64_t more = fixture_ring(&s->f, 5);
	uint32_t i;
	uint8_t meter = 0;

	atomic_store_explicit(&org->more, (uint32_t)RING_PLACE(more),
			      memory_order_relaxed);
	for (i = 0; i < count; i++) {
		struct meter *m;

		if (rules[i].level != LEVEL_ORG)
			continue;
		rules[i].meter = meter++;
		m = org_meter(s->f.arena, org, rules[i].meter);
		if (rules[i].algorithm == RULE_WINDOW)
			fixture_set(
				&m->ring,
				fixture_ring(&s->f,
					     meter_ring_log2(rules[i].limit)));
	}
	fixture_set(&org->plan, fixture_plan(&s->f, rules, count));
	return org;
}

static inline const struct plan *gate_scene_plan(struct gate_scene *s,
						 const struct org *org)
{
	return block_at(s->f.arena, fixture_get(&org->plan));
}

static inline struct check check_of_key(uint32_t key, uint32_t cost,
					const struct check_extra *extra)
{
	struct check c = {
		.credential = CREDENTIAL_HASH, .cost = cost, .extra = extra};

	gate_hash(key, c.hash);
	return c;
}

static inline struct verdict gate_scene_ask(struct gate_scene *s,
					    struct check *c, uint64_t ns)
{
	struct instant now = instant_at(ns);
	struct verdict v;

	gate_decide(&s->gate, c, &v, 1, &now, s->wall_ms);
	return v;
}

static inline struct verdict gate_scene_settle(struct gate_scene *s,
					       uint64_t hold, uint32_t cost,
					       uint64_t ns)
{
	struct check_extra extra = {.hold = hold};
	struct check c = {
		.credential = CREDENTIAL_HOLD, .cost = cost, .extra = &extra};

	return gate_scene_ask(s, &c, ns);
}

/* Pools in the order of their consumption; only the first words matter. */
static inline struct credits *gate_scene_credits(struct gate_scene *s,
						 struct org *org,
						 const uint64_t *granted,
						 const uint64_t *routes,
						 uint32_t count)
{
	uint64_t word = fixture_block(
		&s->f, sizeof(struct credits) + count * sizeof(struct pool));
	struct credits *credits = block_at(s->f.arena, word);
	uint32_t i;

	check(credits != NULL);
	credits->count = count;
	for (i = 0; i < count; i++) {
		fixture_set(&credits->pools[i].granted, granted[i]);
		credits->pools[i].route = routes != NULL ? routes[i] : 0;
		credits->pools[i].id = i + 1;
	}
	fixture_set(&org->credits, word);
	return credits;
}

static inline void fixture_budget(struct budget *b, uint64_t cap,
				  uint32_t period, uint64_t ends_ms,
				  uint64_t next_ends_ms)
{
	fixture_set(&b->cap, cap);
	fixture_set(&b->period, period);
	fixture_set(&b->ends_ms, ends_ms);
	fixture_set(&b->next_ends_ms, next_ends_ms);
}

static inline struct rule fixture_gcra(uint32_t burst, uint64_t unit_ns)
{
	struct rule rule = {.algorithm = RULE_GCRA,
			    .limit = burst,
			    .unit_ns = unit_ns,
			    .period_ms = 1000,
			    .name = "gcra"};

	return rule;
}

static inline struct rule fixture_flight(uint32_t limit, uint64_t lease_ms)
{
	struct rule rule = {.algorithm = RULE_CONCURRENCY,
			    .limit = limit,
			    .span = lease_ms * MS,
			    .name = "flight"};

	return rule;
}

#endif
