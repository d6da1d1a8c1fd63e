/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_INTERLEAVE_STEP_SCENE_H
#define STILE_TESTS_INTERLEAVE_STEP_SCENE_H

/*
 * tests/interleave/step_scene - one organization with rules, a budget and a
 * pool of credits, in as little memory as that needs, and how its threads ask.
 */
#include "gate/step.h"

#include "gate/plain.h"
#include "interleave.h"

#include <string.h>

#define THREADS_MAX 3u
#define LIVES_MAX 2u /* of those that reserve */
#define ASKS_MAX 2u  /* of a batch */
#define RULES_MAX 2u
#define WORDS_MAX 8u   /* of a claim */
#define WINDOW_LOG2 2u /* entries of a window: more than any limit here */

/* Places in the ring region, in lines. */
enum place {
	PLACE_NONE,
	PLACE_RING,
	PLACE_MORE,
	PLACE_CREDITS = PLACE_MORE + 1,
	PLACE_PLAN = PLACE_CREDITS + 2,
	PLACE_END = PLACE_PLAN + 1 + 2 * RULES_MAX
};

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	struct arena_header header;
	struct org org;
	struct key key;
	struct project project;
	struct hold holds[LIVES_MAX][THREADS_MAX];
	word_t once[2]; /* of the request id */
	struct {
		uint8_t lines[PLACE_END][LINE_BYTES];
	} rings LINE_ALIGNED;
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.header = &memory.header,
	.descriptors = memory.descriptors,
	.orgs = &memory.org,
	.projects = &memory.project,
	.keys = &memory.key,
	.rings = (uint8_t *)&memory.rings,
};

/* What a thread works with. */
static struct place_of {
	struct step step;
	struct check checks[ASKS_MAX];
	struct verdict verdicts[ASKS_MAX];
} places[THREADS_MAX], observer;

/*
 * A thread's checks: a digit is one of that cost, p a peek at a cost of 1; i
 * and r have a cost of 1 and the request id, and r reserves. What follows
 * without a comma is in the same batch. Behind a = in the straight line for
 * plain plans, to which budgets and credits are unknown. Beside i and r others
 * cost 2: so units are odd if the one with the id was charged.
 */
struct shape {
	const char *name;
	uint8_t rules[RULES_MAX]; /* enum rule_algorithm; 0: none */
	uint32_t limits[RULES_MAX];
	uint32_t budget, credits; /* 0: none */
	const char *threads[THREADS_MAX];
	unsigned deaths;
	bool soak; /* takes minutes */
};
static const struct shape *shape;

/* ---- To ask ---- */

/* Threads read the clock in another order than they decide in. */
static struct instant time_of(unsigned idx)
{
	return instant_at(INSTANT_BIAS_NS +
			  (THREADS_MAX - idx) * UINT64_C(9000));
}

#define WALL_MS UINT64_C(1700000000000)

static struct plan *plan(void)
{
	return block_at(&arena, RING_WORD(PLACE_PLAN, 0, 1));
}

#define ONCE_FOR_NS UINT64_C(60000000000)
/* The request id's entry was another one's, which had a hold. */
#define ONCE_BEFORE ONCE_WORD(INSTANT_BIAS_NS - 2 * ONCE_FOR_NS, 1)
#define HOLD_BEFORE 77u

static void ask(struct place_of *p, unsigned i, uint32_t cost, bool peek)
{
	struct ask *a = &p->step.asks[i];

	a->check = &p->checks[i];
	a->verdict = &p->verdicts[i];
	a->key = &memory.key;
	a->project = &memory.project;
	a->cost = cost;
	a->peek = peek;
	a->outside_rule = -1;
	p->step.count = i + 1;
}

/* By a letter of a script. */
static void ask_as(struct place_of *p, unsigned i, char what, unsigned idx,
		   unsigned life)
{
	struct ask *a = &p->step.asks[i];

	ask(p, i, what < 'a' ? (uint32_t)(what - '0') : 1, what == 'p');
	if (what == 'i' || what == 'r')
		a->once = memory.once;
	if (what == 'r') {
		a->hold = &memory.holds[life][idx];
		a->hold_id = 1 + idx + life * THREADS_MAX;
		a->hold_ticks = CLOCK_TICKS_PER_MS;
	}
}

static bool is_plain(const char *s)
{
	return *s == '=';
}

static void run(struct place_of *p, struct claim *c, const struct instant *now)
{
	p->step.arena = &arena;
	p->step.claim = c;
	p->step.org = &memory.org;
	p->step.plan = plan();
	p->step.once_ns = ONCE_FOR_NS;
	step_run(&p->step, now, WALL_MS);
}

static void run_plain(struct place_of *p, struct claim *c,
		      const struct instant *now)
{
	struct plain_ask asks[ASKS_MAX];
	unsigned i;

	for (i = 0; i < p->step.count; i++)
		asks[i] = (struct plain_ask){.key = p->step.asks[i].key,
					     .verdict = &p->verdicts[i],
					     .cost = p->step.asks[i].cost};
	p->step.arena = &arena;
	p->step.claim = c;
	p->step.org = &memory.org;
	p->step.plan = plan();
	if (plain_run(&p->step, asks, p->step.count, now) == PLAIN_NOT)
		run(p, c, now);
}

/* ---- Before ---- */

static void set_up_rules(void)
{
	unsigned i;

	for (i = 0; i < RULES_MAX && shape->rules[i] != 0; i++) {
		struct rule *r = &plan()->rules[i];

		r->algorithm = shape->rules[i];
		r->level = LEVEL_ORG;
		r->meter = (uint8_t)i;
		r->limit = shape->limits[i];
		r->span = UINT64_C(60000) * CLOCK_TICKS_PER_MS;
		r->period_ms = 60000;
		r->unit_ns = UINT64_C(60000000000);
		r->name[0] = (char)('a' + i);
		if (r->algorithm == RULE_WINDOW)
			org_meter(&arena, &memory.org, i)->ring =
				RING_WORD(PLACE_RING, WINDOW_LOG2, 1);
	}
	plan()->rules_count = i;
	plan_complete(plan());
}

static void setup(void)
{
	struct credits *credits =
		block_at(&arena, RING_WORD(PLACE_CREDITS, 0, 1));
	unsigned i;

	memset(&memory, 0, sizeof(memory));
	memory.org.more = PLACE_MORE;
	memory.org.plan = RING_WORD(PLACE_PLAN, 0, 1);
	memory.org.state = SLOT_ACTIVE;
	memory.once[0] = ONCE_BEFORE;
	memory.once[1] = HOLD_BEFORE;
	set_up_rules();
	for (i = 0; i < PROJECT_BUDGETS_MAX; i++)
		memory.project.budgets[i].cap = BUDGET_NONE;
	if (shape->budget != 0) {
		memory.project.budgets[0].cap = shape->budget;
		memory.project.budgets[0].period = 7;
		memory.project.budgets[0].ends_ms = 2 * WALL_MS;
		memory.project.budgets[0].next_ends_ms = 3 * WALL_MS;
	}
	if (shape->credits == 0)
		return;
	credits->count = 1;
	credits->pools[0].kind = POOL_PACK;
	credits->pools[0].granted = shape->credits;
	memory.org.credits = RING_WORD(PLACE_CREDITS, 0, 1);
}

static void watch_place(struct place_of *p)
{
	struct step *s = &p->step;

	interleave_watch("step", s, offsetof(struct step, asks[ASKS_MAX]));
	interleave_watch("attempt", &s->now,
			 offsetof(struct step, views[RULES_MAX]) -
				 offsetof(struct step, now));
	interleave_watch("changes", s->changes,
			 WORDS_MAX * sizeof(s->changes[0]));
	interleave_watch("verdicts", p->verdicts, sizeof(p->verdicts));
}

static void watch_scene(void)
{
	struct credits *credits =
		block_at(&arena, RING_WORD(PLACE_CREDITS, 0, 1));
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++) {
		interleave_watch("descriptor", &memory.descriptors[i],
				 offsetof(struct descriptor, words) +
					 WORDS_MAX * sizeof(struct claim_word));
		watch_place(&places[i]);
	}
	interleave_watch("gate and meter", &memory.org.gate,
			 sizeof(word_t) + sizeof(struct meter));
	interleave_watch("meter", block_at(&arena, RING_WORD(PLACE_MORE, 0, 1)),
			 sizeof(struct meter));
	interleave_watch("window",
			 block_at(&arena, RING_WORD(PLACE_RING, 0, 1)),
			 sizeof(word_t) << WINDOW_LOG2);
	interleave_watch("key", &memory.key.used, sizeof(word_t));
	interleave_watch("budget", &memory.project.budgets[0].used,
			 sizeof(word_t));
	interleave_watch("attention", &memory.project.attention,
			 sizeof(half_t));
	interleave_watch("attention", &memory.header.attention, sizeof(half_t));
	interleave_watch("credits", &credits->pools[0].used, sizeof(word_t));
	for (i = 0; i < RULES_MAX; i++)
		interleave_watch("tripped", &plan()->rules[i].tripped,
				 sizeof(word_t));
	interleave_watch("holds", memory.holds, sizeof(memory.holds));
	interleave_watch("request id", memory.once, sizeof(memory.once));
}

#endif
