/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_FULL_SCENE_H
#define STILE_TESTS_GATE_FULL_SCENE_H

/*
 * tests/gate/full_scene - an arena in which there is one of everything
 * that a decision counts in, and a gate to ask. No records and no registry:
 * two scenes are set up alike, as two starts from the same records are.
 */
#include "base/counters.h"
#include "fixture.h"
#include "gate/decide.h"

#include <stdlib.h>

#define SCENE_ORGS 4u
#define SCENE_PROJECTS 2u
#define SCENE_KEYS 8u
#define SCENE_HOLDS 128u
#define SCENE_SUBJECTS 64u
#define SCENE_POOLS 3u
#define SCENE_WALL_MS UINT64_C(1700000000000)
#define SCENE_CELLS_STRIDE ((uint32_t)sizeof(struct cell))

/* The rules of organizations one and two, by place. */
enum scene_rule {
	RULE_ORG,
	RULE_BURST,
	RULE_FLIGHT,
	RULE_SHADE,
	RULE_KEY,
	RULE_KEY_GCRA,
	RULE_KEY_FLIGHT,
	RULE_PROJECT,
	RULE_ROUTE,
	RULE_ADDRESS,
	RULE_ADDRESS_GCRA,
	SCENE_RULES
};

struct full_scene {
	uint64_t shape; /* a bit for each bound: a wide one */
	struct fixture f;
	struct arena *arena;
	struct rule rules[SCENE_RULES];
	struct keytable table;
	struct counters counters;
	struct gate gate;
	uint8_t hashes[SCENE_KEYS + 1][32];
};

static inline uint64_t scene_block(struct full_scene *s, uint64_t bytes)
{
	unsigned log2 = 3;

	while (sizeof(word_t) << log2 < bytes)
		log2++;
	return fixture_ring(&s->f, log2);
}

static inline uint64_t scene_table(struct full_scene *s, uint32_t stride,
				   uint32_t subjects)
{
	uint64_t block = scene_block(s, subjects_bytes(subjects, stride));

	subjects_format(s->arena, block, subjects, stride);
	return block;
}

static inline struct rule *scene_rule(struct full_scene *s, enum scene_rule i,
				      uint8_t algorithm, uint8_t level,
				      uint32_t limit, const char *name)
{
	struct rule *r = &s->rules[i];

	if (s->shape >> i & 1)
		limit *= 5;
	r->algorithm = algorithm;
	r->level = level;
	r->limit = limit;
	r->span = 1000 * MS;
	r->period_ms = 1000;
	r->unit_ns = algorithm == RULE_GCRA ? 70000000 : 0;
	r->id = (uint32_t)i + 100;
	memcpy(r->name, name, strlen(name));
	if (level != LEVEL_ORG)
		r->table = scene_table(
			s, outside_stride(r, meter_ring_log2(limit)),
			SCENE_SUBJECTS);
	return r;
}

static inline void scene_make_rules(struct full_scene *s)
{
	scene_rule(s, RULE_ORG, RULE_WINDOW, LEVEL_ORG, 30, "org")->meter = 0;
	scene_rule(s, RULE_BURST, RULE_GCRA, LEVEL_ORG, 25, "burst")->meter = 1;
	scene_rule(s, RULE_FLIGHT, RULE_CONCURRENCY, LEVEL_ORG, 12, "flight")
		->meter = 2;
	scene_rule(s, RULE_SHADE, RULE_WINDOW, LEVEL_ORG, 9, "shade")->meter =
		3;
	s->rules[RULE_SHADE].flags = RULE_SHADOW;
	scene_rule(s, RULE_KEY, RULE_WINDOW, LEVEL_KEY, 16, "key");
	scene_rule(s, RULE_KEY_GCRA, RULE_GCRA, LEVEL_KEY, 20, "key gcra");
	scene_rule(s, RULE_KEY_FLIGHT, RULE_CONCURRENCY, LEVEL_KEY, 7,
		   "key flight");
	scene_rule(s, RULE_PROJECT, RULE_GCRA, LEVEL_PROJECT, 22, "project");
	scene_rule(s, RULE_ROUTE, RULE_WINDOW, LEVEL_ROUTE, 17, "route");
	scene_rule(s, RULE_ADDRESS, RULE_WINDOW, LEVEL_ADDRESS, 18, "address");
	scene_rule(s, RULE_ADDRESS_GCRA, RULE_GCRA, LEVEL_ADDRESS, 21,
		   "address gcra");
}

/* Rings and meters for s->rules; the first is fixture_org()'s. */
static inline void scene_add_meters(struct full_scene *s, struct org *org,
				    uint64_t plan)
{
	uint64_t more = scene_block(s, 3 * sizeof(struct meter));

	atomic_store_explicit(&org->more, (uint32_t)RING_PLACE(more),
			      memory_order_relaxed);
	fixture_set(&org_meter(s->arena, org, 3)->ring,
		    fixture_ring(&s->f,
				 meter_ring_log2(s->rules[RULE_SHADE].limit)));
	fixture_set(&org->plan, plan);
}

static inline void scene_credits(struct full_scene *s, struct org *org)
{
	uint64_t block = scene_block(
		s, sizeof(struct credits) + SCENE_POOLS * sizeof(struct pool));
	struct credits *c = block_at(s->arena, block);

	check(c != NULL);
	c->count = SCENE_POOLS;
	for (uint32_t i = 0; i < SCENE_POOLS; i++) {
		c->pools[i].id = 10 + i;
		c->pools[i].kind = POOL_PACK;
		fixture_set(&c->pools[i].granted,
			    s->shape >> 20 & 1 ? 1000 : 30 + 10 * i);
	}
	fixture_set(&org->credits, block);
}

static inline void scene_project(struct full_scene *s, uint32_t slot)
{
	struct project *p = &s->arena->projects[slot];

	memcpy(p->id.c, "project0", ID_LEN);
	p->id.c[7] = (char)('0' + slot);
	p->org = slot;
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		fixture_set(&p->budgets[i].cap, i >= slot ? BUDGET_NONE
						: s->shape >> 21 & 1 ? 1000 + i
								     : 40 + i);
		fixture_set(&p->budgets[i].period, 7);
		fixture_set(&p->budgets[i].ends_ms, SCENE_WALL_MS * 2);
		fixture_set(&p->budgets[i].next_ends_ms, SCENE_WALL_MS * 3);
	}
	atomic_store_explicit(&p->state, SLOT_ACTIVE, memory_order_relaxed);
	slots_raise(&s->arena->header->project_slots, slot);
}

static inline void scene_key(struct full_scene *s, uint32_t slot)
{
	struct key *key = fixture_key(&s->f, slot);
	uint8_t *hash = s->hashes[slot];

	for (unsigned i = 0; i < sizeof(s->hashes[0]); i++)
		hash[i] = (uint8_t)(slot * 37 + i * 11 + 5);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	memcpy(key->id.c, "key00000", ID_LEN);
	key->id.c[7] = (char)('0' + slot);
	key->org = (slot - 1) % SCENE_ORGS + 1;
	key->project = key->org <= SCENE_PROJECTS ? key->org : 0;
	atomic_store_explicit(&key->state, SLOT_ACTIVE, memory_order_relaxed);
	slots_raise(&s->arena->header->key_slots, slot);
	check(keytable_insert(&s->table, hash, slot) == 0);
}

/* A gate that has decided nothing yet. */
static inline void scene_gate(struct full_scene *s)
{
	struct gate_options options = {.hold_ms = 2000, .workers = 1};
	struct keytext_prefix prefix;

	check(keytext_prefix_init(&prefix, "il"));
	gate_init(&s->gate, s->arena, &s->table, &prefix, 0, &s->counters);
	options.routes = s->gate.options.routes;
	gate_configure(&s->gate, &options);
}

/* One and two have all rules, three is plain, four has a coarse window; two
 * and four have credits. */
static inline void scene_set_up(struct full_scene *s, uint64_t wall_ms)
{
	struct arena_header *h = s->arena->header;
	uint64_t plan;

	scene_make_rules(s);
	plan = fixture_plan(&s->f, s->rules, SCENE_RULES);
	for (uint32_t slot = 1; slot <= SCENE_ORGS; slot++) {
		struct org *org = fixture_org(
			&s->f, slot, slot == 4 ? 100000 : 30, 1000 * MS, 0);

		if (slot <= 2)
			scene_add_meters(s, org, plan);
		if (slot == 2 || slot == 4)
			scene_credits(s, org);
	}
	for (uint32_t slot = 1; slot <= SCENE_PROJECTS; slot++)
		scene_project(s, slot);
	for (uint32_t slot = 1; slot <= SCENE_KEYS; slot++)
		scene_key(s, slot);
	fixture_set(&h->cells, scene_table(s, SCENE_CELLS_STRIDE, 128));
	h->holds_count = SCENE_HOLDS;
	fixture_set(&h->holds,
		    scene_block(s, SCENE_HOLDS * sizeof(struct hold)));
	gate_name_holds(s->arena, wall_ms);
}

static inline struct full_scene *full_scene_new(uint64_t shape, uint64_t seed,
						uint64_t wall_ms)
{
	struct full_scene *s = aligned_alloc(LINE_BYTES, sizeof(*s));

	check(s != NULL);
	memset(s, 0, sizeof(*s));
	s->shape = shape;
	fixture_open(&s->f);
	s->arena = s->f.arena;
	s->arena->header->seed = seed;
	check(keytable_init(&s->table, 0, NULL) == 0);
	scene_set_up(s, wall_ms);
	scene_gate(s);
	return s;
}

static inline void full_scene_free(struct full_scene *s)
{
	keytable_deinit(&s->table);
	fixture_close(&s->f);
	free(s);
}

/* One question. */
struct scene_ask {
	uint32_t key, cost, flags;
	uint32_t hold_ms;
	uint64_t route;  /* 0: none */
	uint8_t address; /* 0: none */
	uint64_t settle; /* not 0: of this hold, at `cost` */
};

static inline struct verdict
scene_decide(struct full_scene *s, const struct scene_ask *ask, uint64_t now_ns)
{
	struct check_extra x = {.route_hash = ask->route,
				.hold = ask->settle,
				.hold_ms = ask->hold_ms,
				.has_address = ask->address != 0};
	struct check c = {.credential = ask->settle != 0 ? CREDENTIAL_HOLD
							 : CREDENTIAL_HASH,
			  .cost = ask->cost,
			  .flags = (uint8_t)ask->flags,
			  .extra = &x};
	struct instant now = instant_at(now_ns);
	struct verdict v;

	x.address[0] = ask->address;
	memcpy(c.hash, s->hashes[ask->key], sizeof(c.hash));
	gate_decide(&s->gate, &c, &v, 1, &now, SCENE_WALL_MS);
	return v;
}

#endif
