/* SPDX-License-Identifier: MIT */
#include "core_rules.h"

#include "core_stages.h"
#include "gate/outside.h"
#include "gate/plain.h"
#include "gate/step.h"
#include "gate/subjects.h"
#include "gate/window.h"

#include <stdio.h>
#include <string.h>

#define PLAN_LOG2 7u /* words: up to 7 rules */
#define PLAN_LINES ((UINT64_C(1) << PLAN_LOG2) * sizeof(word_t) / LINE_BYTES)
static_assert(sizeof(struct plan) + 7 * sizeof(struct rule) <=
		      PLAN_LINES * LINE_BYTES,
	      "a plan of seven rules");
#define CREDITS_LINES 2u
#define TABLE_LOG2 17u /* words: room for the hot keys */
#define TABLE_LINES ((UINT64_C(1) << TABLE_LOG2) * sizeof(word_t) / LINE_BYTES)
#define TABLES 4u
#define METERS_LINES (sizeof(struct core_meters) / LINE_BYTES)

#define GCRA_BURST 1000000u
#define ROUTE UINT64_C(0x726f757465) /* of all checks of levels */
#define PROJECT 1u
#define PLENTY (UINT64_C(1) << 43)

uint64_t core_rules_lines(uint32_t org_count)
{
	return (org_count + UINT64_C(2)) * METERS_LINES +
	       2 * CORE_PLANS * PLAN_LINES + CREDITS_LINES +
	       TABLES * TABLE_LINES;
}

/* ---- plans ---- */

struct shape {
	unsigned windows, gcras, subjects;
};
static const struct shape shapes[CORE_PLANS] = {
	[CORE_MIXED_1] = {1, 0, 0},  [CORE_MIXED_3] = {1, 2, 0},
	[CORE_MIXED_6] = {1, 5, 0},  [CORE_GCRA_1] = {0, 1, 0},
	[CORE_GCRA_3] = {0, 3, 0},   [CORE_GCRA_6] = {0, 6, 0},
	[CORE_LEVELS_6] = {1, 1, 4},
};
static const uint8_t levels[TABLES] = {LEVEL_PROJECT, LEVEL_KEY, LEVEL_KEY,
				       LEVEL_ROUTE};

static struct rule *add(struct plan *p, uint8_t algorithm)
{
	struct rule *r = &p->rules[p->rules_count++];

	memset(r, 0, sizeof(*r));
	r->algorithm = algorithm;
	r->limit = GCRA_BURST;
	r->unit_ns = 1;
	r->period_ms = 1;
	r->rate = GCRA_BURST;
	r->id = p->rules_count;
	snprintf(r->name, sizeof(r->name), "rule%u", p->rules_count);
	return r;
}

/* The window is the organization's first meter, always: of its words the hint
 * would be no time for a GCRA. */
static void make_plan(struct arena *a, uint64_t word, const struct shape *s,
		      uint32_t limit, uint64_t tables)
{
	struct plan *p = block_at(a, word);

	if (s->windows > 0) {
		struct rule *r = add(p, RULE_WINDOW);

		r->limit = limit;
		r->span = CORE_WINDOW_TICKS;
	}
	for (unsigned i = 0; i < s->gcras; i++)
		add(p, RULE_GCRA)->meter = (uint8_t)(i + 1);
	for (unsigned i = 0; i < s->subjects; i++) {
		struct rule *r = add(p, RULE_GCRA);

		r->level = levels[i];
		r->table = RING_WORD(tables + i * TABLE_LINES, TABLE_LOG2, 1);
	}
	plan_complete(p);
}

/* PAIRS: nothing, here and below. Threads start later. */
static void set(word_t *w, uint64_t value)
{
	atomic_store_explicit(w, value, memory_order_relaxed);
}

static void make_credits(struct arena *a, uint64_t place, uint32_t rich)
{
	uint64_t word = RING_WORD(place, 4, 1);
	struct credits *c = block_at(a, word);

	c->count = 1;
	c->pools[0].kind = POOL_SUBSCRIPTION;
	set(&c->pools[0].granted, PLENTY);
	set(&a->orgs[rich].credits, word);
}

static void make_budget(struct project *p)
{
	set(&p->budgets[0].cap, PLENTY);
	set(&p->budgets[0].period, 1);
	set(&p->budgets[0].ends_ms, UINT64_MAX);
	set(&p->budgets[0].next_ends_ms, UINT64_MAX);
	set(&p->budgets[1].cap, BUDGET_NONE);
}

void core_rules_init(struct core_rules *r, struct arena *a, uint64_t place,
		     uint32_t rich)
{
	uint64_t plans, tables;

	for (uint32_t slot = 1; slot <= rich; slot++)
		atomic_store_explicit(
			&a->orgs[slot].more,
			(uint32_t)(place + (slot - 1) * METERS_LINES),
			memory_order_relaxed);
	plans = place + rich * METERS_LINES;
	tables = plans + 2 * CORE_PLANS * PLAN_LINES + CREDITS_LINES;
	for (unsigned i = 0; i < TABLES; i++)
		subjects_format(
			a, RING_WORD(tables + i * TABLE_LINES, TABLE_LOG2, 1),
			CORE_HOT_KEYS, sizeof(struct outside));
	for (unsigned i = 0; i < CORE_PLANS; i++) {
		r->spread[i] =
			RING_WORD(plans + 2 * i * PLAN_LINES, PLAN_LOG2, 1);
		r->hot[i] = RING_WORD(plans + (2 * i + 1) * PLAN_LINES,
				      PLAN_LOG2, 1);
		make_plan(a, r->spread[i], &shapes[i], CORE_SPREAD_LIMIT,
			  tables);
		make_plan(a, r->hot[i], &shapes[i], CORE_HOT_LIMIT, tables);
	}
	make_credits(a, plans + 2 * CORE_PLANS * PLAN_LINES, rich);
	make_budget(&a->projects[PROJECT]);
}

/* ---- stages ---- */

/* As a worker would fetch them that knew what will be needed. */
static void fetch(const struct core_thread *t, const struct core_key *const *k)
{
	const struct arena *a = t->gate.arena;
	unsigned words = t->stage->words;

	for (unsigned i = 0; i < t->stage->batch; i++) {
		__builtin_prefetch(&a->orgs[k[i]->org], 1);
		if (t->stage->plan < CORE_PLANS)
			__builtin_prefetch(&a->keys[k[i]->slot], 1);
	}
	for (unsigned i = 0; i < t->stage->batch; i++) {
		const struct org *org = &a->orgs[k[i]->org];
		const struct core_meters *m = core_meters(a, org);

		if (t->stage->plan >= CORE_PLANS) {
			__builtin_prefetch(&m->words[CORE_WORDS_MAX - 1], 1);
			continue;
		}
		if (shapes[t->stage->plan].windows > 0)
			window_prefetch(a, &org->first);
		for (size_t at = 0; at < words * sizeof(struct meter);
		     at += LINE_BYTES)
			__builtin_prefetch((const uint8_t *)m + at, 1);
	}
}

/* Keys for a batch, fetched if that is more than one. */
static void next_batch(struct core_thread *t, const struct core_key **keys)
{
	for (unsigned i = 0; i < t->stage->batch; i++)
		keys[i] = core_next_key(t);
	if (t->stage->batch > 1)
		fetch(t, keys);
}

static bool claim_words(struct claim *c, struct org *org, unsigned count)
{
	struct core_meters *m = core_meters(c->arena, org);
	uint64_t from[CORE_WORDS_MAX] = {0}, version;

	do {
		version = claim_settle(c->arena, &org->gate, NULL);
		claim_begin(c);
		for (unsigned i = 0; i < count; i++) {
			from[i] = claim_load(&m->words[i]);
			claim_add(c, &m->words[i], from[i], from[i] + 1);
		}
	} while (!claim_commit(c, &org->gate, version));
	return from[1] == (count > 2 ? from[2] : 0) && from[3] == from[5];
}

/* The same with the new values worked out: what decisions on so many GCRA would
 * cost if nobody wanted to know more than yes or no. */
static bool claim_gcras(struct claim *c, struct org *org,
			const struct plan *plan, const struct instant *now)
{
	const struct rule *end = plan->rules + plan->rules_count, *r;
	uint64_t version, next;
	struct instant at;

	do {
		version = claim_settle(c->arena, &org->gate, NULL);
		next = step_turn(now, version, &at);
		claim_begin(c);
		for (r = plan->rules; r < end; r++) {
			word_t *w = &org_meter(c->arena, org, r->meter)->level;
			uint64_t from = claim_load(w);
			uint64_t tat =
				(from > at.ns ? from : at.ns) + r->unit_ns;

			if (tat - at.ns > r->limit * r->unit_ns)
				break;
			claim_add(c, w, from, tat);
		}
		if (r < end && claim_unchanged(&org->gate, version))
			return false;
	} while (r < end || !claim_commit_to(c, &org->gate, version, next));
	return true;
}

bool bare_chunk(struct core_thread *t)
{
	const struct core_rules *rules = &t->world->rules;
	const struct core_stage *stage = t->stage;
	struct arena *a = t->gate.arena;
	const struct plan *plan =
		block_at(a, stage->hot ? rules->hot[stage->plan]
				       : rules->spread[stage->plan]);
	const struct core_key *keys[CORE_FETCH_MAX] = {NULL};
	struct instant now = instant_now();
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += stage->batch) {
		next_batch(t, keys);
		for (uint32_t i = 0; i < stage->batch; i++) {
			if ((done + i) % CORE_INSTANT == 0)
				now = instant_now();
			right &=
				claim_gcras(&t->gate.claim,
					    &a->orgs[keys[i]->org], plan, &now);
		}
	}
	return right;
}

bool claim_chunk(struct core_thread *t)
{
	const struct core_key *keys[CORE_FETCH_MAX] = {NULL};
	uint32_t batch = t->stage->batch;
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += batch) {
		next_batch(t, keys);
		for (uint32_t i = 0; i < batch; i++)
			right &= claim_words(&t->gate.claim,
					     &t->gate.arena->orgs[keys[i]->org],
					     t->stage->words);
	}
	return right;
}

/* As gate/decide does it. */
static void place(struct step *s, struct ask *a, uint32_t key)
{
	uint64_t seed = s->arena->header->seed;

	for (unsigned i = 0; i < s->plan->rules_count; i++) {
		const struct rule *r = &s->plan->rules[i];
		uint64_t name = r->level == LEVEL_PROJECT ? PROJECT
				: r->level == LEVEL_KEY   ? key
							  : ROUTE;
		struct subjects table;

		if (r->level == LEVEL_ORG ||
		    !subjects_open(&table, s->arena, r->table))
			continue;
		a->at[i].meter = subjects_state(
			&table,
			subjects_take(&table, s->claim,
				      subjects_hash2(seed, r->id, name)));
	}
}

/* Of the organization that is asked, the check of this key. */
static inline void ask(struct core_thread *t, unsigned i,
		       const struct core_key *k)
{
	struct step *s = &t->gate.step;

	s->asks[i].key = &s->arena->keys[k->slot];
	if (unlikely(t->stage->plan == CORE_LEVELS_6))
		place(s, &s->asks[i], k->slot);
}

static inline struct org *org_of(const struct core_thread *t,
				 const struct core_key *k)
{
	return &t->gate.arena
			->orgs[t->stage->credits ? t->world->rich : k->org];
}

static void ask_init(struct core_thread *t, unsigned i)
{
	struct ask *ask = &t->gate.step.asks[i];

	memset(ask, 0, sizeof(*ask));
	ask->verdict = &t->verdicts[i];
	ask->cost = 1;
	ask->outside_rule = -1;
	if (t->stage->plan == CORE_LEVELS_6)
		ask->route = ROUTE;
	if (t->stage->budget)
		ask->project = &t->gate.arena->projects[PROJECT];
}
static_assert(CORE_FETCH_MAX <= STEP_ASKS_MAX, "a batch is one run");

/* As gate/decide: what says no more than key and cost, and is under rules of
 * the organization alone, goes the plain way. */
static bool plain(const struct core_thread *t)
{
	return t->gate.step.plan->plain && !t->stage->budget &&
	       !t->stage->credits;
}

static bool plain_one_by_one(struct core_thread *t)
{
	struct step *s = &t->gate.step;
	struct instant now = instant_now();
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done++) {
		const struct core_key *k = core_next_key(t);
		struct plain_ask ask = {&s->arena->keys[k->slot], t->verdicts,
					1};

		if (done % CORE_INSTANT == 0)
			now = instant_now();
		s->org = org_of(t, k);
		right &= plain_run(s, &ask, 1, &now) == PLAIN_ALLOWED;
	}
	return right;
}

static bool one_by_one(struct core_thread *t)
{
	struct step *s = &t->gate.step;
	struct instant now = instant_now();
	bool right = true;

	s->count = 1;
	for (uint32_t done = 0; done < CORE_CHUNK; done++) {
		const struct core_key *k = core_next_key(t);

		if (done % CORE_INSTANT == 0)
			now = instant_now();
		s->org = org_of(t, k);
		ask(t, 0, k);
		step_run(s, &now, t->wall_ms);
		right &= t->verdicts[0].reason == REASON_ALLOW;
	}
	return right;
}

/* Those of one organization, a whole batch or one. */
static bool decide(struct core_thread *t, const struct core_key *const *keys,
		   unsigned count, const struct instant *now)
{
	struct step *s = &t->gate.step;
	bool right = true;

	s->org = org_of(t, keys[0]);
	if (plain(t)) {
		struct plain_ask *asks = t->gate.plain;

		for (unsigned i = 0; i < count; i += PLAIN_ASKS_MAX) {
			unsigned n = count - i < PLAIN_ASKS_MAX
					     ? count - i
					     : PLAIN_ASKS_MAX;

			for (unsigned j = 0; j < n; j++)
				asks[j] = (struct plain_ask){
					&s->arena->keys[keys[i + j]->slot],
					&t->verdicts[i + j], 1};
			right &= plain_run(s, asks, n, now) == PLAIN_ALLOWED;
		}
		return right;
	}
	s->count = count;
	for (unsigned i = 0; i < count; i++)
		ask(t, i, keys[i]);
	step_run(s, now, t->wall_ms);
	for (unsigned i = 0; i < count; i++)
		right &= t->verdicts[i].reason == REASON_ALLOW;
	return right;
}

static bool in_batches(struct core_thread *t)
{
	const struct core_key *keys[CORE_FETCH_MAX] = {NULL};
	const struct core_stage *stage = t->stage;
	struct instant now = instant_now();
	/* All of the hot organization are one group. */
	unsigned group = stage->hot ? stage->batch : 1;
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += stage->batch) {
		next_batch(t, keys);
		for (uint32_t i = 0; i < stage->batch; i += group) {
			if ((done + i) % CORE_INSTANT == 0)
				now = instant_now();
			right &= decide(t, &keys[i], group, &now);
		}
	}
	return right;
}

bool rules_chunk(struct core_thread *t)
{
	const struct core_stage *stage = t->stage;
	const struct core_rules *rules = &t->world->rules;

	t->gate.step.plan = block_at(t->gate.arena,
				     stage->hot ? rules->hot[stage->plan]
						: rules->spread[stage->plan]);
	for (unsigned i = 0; i < stage->batch; i++)
		ask_init(t, i);
	if (stage->batch > 1)
		return in_batches(t);
	return plain(t) ? plain_one_by_one(t) : one_by_one(t);
}
