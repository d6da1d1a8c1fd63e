/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_INTERLEAVE_SETTLE_SCENE_H
#define STILE_TESTS_INTERLEAVE_SETTLE_SCENE_H

/*
 * tests/interleave/settle_scene - an organization with a rule, a limit of what
 * is in flight, a budget and two pools of credits, and a hold of a key of it
 * that is live when the threads begin, with a lease at an address; how they
 * act, and what the books say.
 */
#include "gate/decide.h"

#include "base/counters.h"
#include "interleave.h"

#include <string.h>

#define THREADS_MAX 3u
#define ACTS_MAX 2u
#define WORDS_MAX 12u /* of a claim */
#define RULES 2u
#define RESERVED 2u   /* units of the first hold */
#define HOLDS_MINE 2u /* of each thread, behind the first hold */
#define HOLDS (1 + THREADS_MAX * HOLDS_MINE)

/* Places in the ring region, in lines. */
enum place {
	PLACE_WINDOW = 1,
	PLACE_MORE = PLACE_WINDOW + 2,
	PLACE_CREDITS = PLACE_MORE + 1,
	PLACE_PLAN = PLACE_CREDITS + 3,
	PLACE_HOLDS = PLACE_PLAN + 1 + 2 * RULES,
	PLACE_CELLS = PLACE_HOLDS + 2 * HOLDS,
	PLACE_END = PLACE_CELLS + 128
};
#define WINDOW_LOG2 4u
#define CELLS_LOG2 10u

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	struct arena_header header;
	struct org orgs[2];
	struct project projects[2];
	struct key keys[2];
	word_t client; /* leases of the address */
	struct {
		uint8_t lines[PLACE_END][LINE_BYTES];
	} rings LINE_ALIGNED;
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.header = &memory.header,
	.descriptors = memory.descriptors,
	.orgs = memory.orgs,
	.projects = memory.projects,
	.keys = memory.keys,
	.rings = (uint8_t *)&memory.rings,
};
static struct keytable table;
static struct counters counters[THREADS_MAX + 1];
/* The last one is that of before the threads. */
static struct gate gates[THREADS_MAX + 1];
static struct cell *cell;

/*
 * A thread's acts:
 *	0..9  settles the first hold at this cost; = at what was reserved
 *	x     the control thread: ends the first hold, if its time has passed
 *	c     a check of cost 1
 *	n     reserves as many units as the first hold has, in its place
 */
struct shape {
	const char *name;
	uint8_t rule;             /* enum rule_algorithm */
	uint32_t limit;           /* its */
	uint32_t flight;          /* in flight at most; 0: no such rule */
	uint32_t budget, credits; /* 0: none */
	bool keep;                /* what expires stays charged */
	const char *threads[THREADS_MAX];
	unsigned deaths;
	bool soak; /* takes minutes */
};
static const struct shape *shape;

/* ---- To act ---- */

#define WALL_MS UINT64_C(1700000000000)
#define HOLD_MS 1u
#define ROUTE UINT64_C(0x1234567890)

static const uint8_t key_hash[32] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Threads read the clock in another order than they decide in. */
static struct instant time_of(unsigned idx)
{
	return instant_at(INSTANT_BIAS_NS +
			  (THREADS_MAX + 1 - idx) * UINT64_C(9000));
}

/* All holds have expired, and nothing of a minute has come back. */
static struct instant late(void)
{
	return instant_at(INSTANT_BIAS_NS + 2 * HOLD_MS * UINT64_C(1000000));
}

/* Or what an act leaves behind would be a state of its own. */
static void clear(struct gate *g)
{
	struct step *s = &g->step;

	memset(&s->org, 0,
	       offsetof(struct step, asks[1]) - offsetof(struct step, org));
	memset(&s->now, 0,
	       offsetof(struct step, views[RULES]) -
		       offsetof(struct step, now));
	memset(s->changes, 0, WORDS_MAX * sizeof(s->changes[0]));
	g->slots[0] = g->groups.org[0] = 0;
	g->groups.count = g->groups.first[0] = g->groups.next[0] = 0;
	g->hold_next = g->hold_first;
	g->hold_left = 0;
}

static bool is_settling(char act)
{
	return act == '=' || (act >= '0' && act <= '9');
}

static uint32_t cost_of(char act)
{
	return act == '=' ? RESERVED : (uint32_t)(act - '0');
}

static void ask(struct gate *g, char act, unsigned idx, struct verdict *v)
{
	struct instant now = time_of(idx);
	struct check_extra extra = {.route_hash = ROUTE};
	struct check c = {.extra = &extra};

	if (is_settling(act)) {
		c.credential = CREDENTIAL_HOLD;
		c.cost = act == '=' ? SETTLE_AS_RESERVED : cost_of(act);
		extra.hold = HOLD_ID(0, 0);
	} else {
		c.credential = CREDENTIAL_HASH;
		c.cost = act == 'n' ? RESERVED : 1;
		c.flags = act == 'n' ? CHECK_RESERVE : 0;
		memcpy(c.hash, key_hash, sizeof(c.hash));
	}
	gate_decide(g, &c, v, 1, &now, WALL_MS);
}

static uint32_t expire(struct gate *g)
{
	struct instant now = late();

	return gate_expire(g, 0, 1, &now, WALL_MS);
}

/* ---- What the books say ---- */

enum { NEVER, LIVE, GONE };

struct books {
	uint64_t first, second; /* in the first hold's place: enum above */
	uint64_t units;         /* charged and not given back */
	uint64_t counted;       /* by the rule, which nothing gives back */
	uint64_t leases;
};

static struct credits *credits_at(void)
{
	return block_at(&arena, RING_WORD(PLACE_CREDITS, 0, 1));
}

static struct plan *plan(void)
{
	return block_at(&arena, RING_WORD(PLACE_PLAN, 0, 1));
}

static uint64_t counted(void)
{
	const struct rule *r = &plan()->rules[0];
	struct meter *m = &memory.orgs[1].first;
	const struct instant now = late();
	uint64_t tat = m->level;
	struct view v;

	if (r->algorithm == RULE_GCRA)
		return (tat - INSTANT_BIAS_NS) / r->unit_ns;
	view_read(&v, &arena, r, m, NULL, 0, &now);
	return v.used;
}

static uint64_t spent(void)
{
	const struct pool *p = credits_at()->pools;

	return p[0].used - p[0].returned + p[1].used - p[1].returned;
}

/* All that counts units says the same. */
static void read_books(struct books *b)
{
	const struct budget *budget = &memory.projects[1].budgets[0];
	uint64_t state = hold_at(&arena, 0)->state, live = 0;
	unsigned i;

	b->first = state == HOLD_STATE(0, 1) ? LIVE : GONE;
	b->second = HOLD_GEN(state) == 0    ? NEVER
		    : HOLD_GEN(state) > 1   ? GONE
		    : HOLD_LIVE(state) != 0 ? LIVE
					    : NEVER;
	b->units = USED_UNITS(memory.keys[1].used) - cell->returned;
	must(USED_UNITS(cell->used) - cell->returned == b->units);
	must(shape->credits == 0 || spent() == b->units);
	must(shape->budget == 0 ||
	     BUDGET_UNITS(budget->used) - BUDGET_UNITS(budget->returned) ==
		     b->units);
	b->counted = counted();
	b->leases = METER_LEASES(org_meter(&arena, &memory.orgs[1], 1)->level);
	for (i = 0; i < HOLDS; i++)
		live += HOLD_LIVE(hold_at(&arena, i)->state);
	must(shape->flight == 0 || b->leases == live);
}

/* ---- Before ---- */

static void set_up_rules(void)
{
	struct rule *r = &plan()->rules[0];

	r->algorithm = shape->rule;
	r->limit = shape->limit;
	r->span = UINT64_C(60000) * CLOCK_TICKS_PER_MS;
	r->unit_ns = UINT64_C(60000000000);
	if (shape->rule == RULE_WINDOW)
		memory.orgs[1].first.ring =
			RING_WORD(PLACE_WINDOW, WINDOW_LOG2, 1);
	r++;
	r->algorithm = RULE_CONCURRENCY;
	r->limit = shape->flight;
	r->span = HOLD_MS * CLOCK_TICKS_PER_MS;
	r->meter = 1;
	plan()->rules_count = shape->flight != 0 ? 2 : 1;
	plan_complete(plan());
	memory.orgs[1].plan = RING_WORD(PLACE_PLAN, 0, 1);
	memory.orgs[1].more = PLACE_MORE;
}

static void set_up_money(void)
{
	struct budget *b = memory.projects[1].budgets;
	struct pool *p = credits_at()->pools;

	b[0].cap = shape->budget != 0 ? shape->budget : BUDGET_NONE;
	b[1].cap = BUDGET_NONE;
	b[0].period = 7;
	b[0].ends_ms = 2 * WALL_MS;
	b[0].next_ends_ms = 3 * WALL_MS;
	if (shape->credits == 0)
		return;
	/* The hold draws from both. */
	credits_at()->count = 2;
	p[0].granted = 1;
	p[1].granted = shape->credits - 1;
	p[0].id = 1;
	p[1].id = 2;
	memory.orgs[1].credits = RING_WORD(PLACE_CREDITS, 0, 1);
}

static void set_up_shared(void)
{
	struct arena_header *h = &memory.header;
	uint64_t cells = RING_WORD(PLACE_CELLS, CELLS_LOG2, 1);
	const struct gate_options options = {.hold_ms = HOLD_MS,
					     .hold_keep = shape->keep};
	struct keytext_prefix prefix;
	unsigned i;

	h->seed = 42;
	h->holds = RING_WORD(PLACE_HOLDS, 0, 1);
	h->holds_count = HOLDS;
	h->cells = cells;
	subjects_format(&arena, cells, 1, sizeof(struct cell));
	must(keytext_prefix_init(&prefix, "il"));
	for (i = 0; i <= THREADS_MAX; i++) {
		struct gate *g = &gates[i];
		bool anew = i < THREADS_MAX && shape->threads[i] != NULL &&
			    strchr(shape->threads[i], 'n') != NULL;

		gate_init(g, &arena, &table, &prefix, i, &counters[i]);
		gate_configure(g, &options);
		g->hold_first =
			i == THREADS_MAX || anew ? 0 : 1 + i * HOLDS_MINE;
		g->hold_end = g->hold_first +
			      (i == THREADS_MAX || anew ? 1 : HOLDS_MINE);
		g->hold_next = g->hold_first;
	}
}

/* The organization, and the first hold. */
static void set_up(void)
{
	struct gate *g = &gates[THREADS_MAX];
	struct verdict v;

	memset(&memory, 0, sizeof(memory));
	memory.orgs[1].state = SLOT_ACTIVE;
	memory.keys[1].state = SLOT_ACTIVE;
	memory.keys[1].org = memory.keys[1].project = 1;
	memcpy(memory.keys[1].hash, key_hash + KEY_HASH_SKIP,
	       sizeof(memory.keys[1].hash));
	set_up_rules();
	set_up_money();
	set_up_shared();
	ask(g, 'n', THREADS_MAX, &v);
	must(v.reason == REASON_ALLOW && v.hold == HOLD_ID(0, 0));
	memory.client = 1;
	hold_at(&arena, 0)->leases[HOLD_LEASES_MAX - 1] =
		claim_offset(&arena, &memory.client) | LEASE_OUTSIDE;
	cell = gate_cell(g, &memory.keys[1], ROUTE_OTHER);
	must(cell != NULL && USED_UNITS(cell->used) == RESERVED);
}

static void watch_gate(struct gate *g)
{
	struct step *s = &g->step;

	interleave_watch("claim", &g->claim, sizeof(g->claim));
	interleave_watch("holds", &g->hold_first,
			 offsetof(struct gate, rest) -
				 offsetof(struct gate, hold_first));
	interleave_watch("slot", g->slots, sizeof(g->slots[0]));
	interleave_watch("group", &g->groups,
			 offsetof(struct gate_groups, first[1]));
	interleave_watch("next", g->groups.next, sizeof(g->groups.next[0]));
	interleave_watch("org", g->groups.org, sizeof(g->groups.org[0]));
	interleave_watch("step", s, offsetof(struct step, asks[1]));
	interleave_watch("attempt", &s->now,
			 offsetof(struct step, views[RULES]) -
				 offsetof(struct step, now));
	interleave_watch("changes", s->changes,
			 WORDS_MAX * sizeof(s->changes[0]));
}

static void watch_scene(void)
{
	struct org *org = &memory.orgs[1];
	static const struct shape any = {.rule = RULE_GCRA, .limit = RESERVED};
	unsigned i;

	/* Where the cell is, it will be again. */
	shape = &any;
	set_up();
	for (i = 0; i < THREADS_MAX; i++) {
		interleave_watch("descriptor", &memory.descriptors[i],
				 offsetof(struct descriptor, words) +
					 WORDS_MAX * sizeof(struct claim_word));
		watch_gate(&gates[i]);
	}
	interleave_watch("gate and meter", &org->gate,
			 sizeof(word_t) + sizeof(struct meter));
	interleave_watch("flight", org_meter(&arena, org, 1),
			 sizeof(struct meter));
	interleave_watch("window",
			 block_at(&arena, RING_WORD(PLACE_WINDOW, 0, 1)),
			 sizeof(word_t) << WINDOW_LOG2);
	interleave_watch("client", &memory.client, sizeof(word_t));
	interleave_watch("key", &memory.keys[1].used, sizeof(word_t));
	interleave_watch("cell", &cell->used,
			 offsetof(struct cell, line0_spare) -
				 offsetof(struct cell, used));
	interleave_watch("budget", &memory.projects[1].budgets[0].used,
			 2 * sizeof(word_t));
	interleave_watch("attention", &memory.projects[1].attention,
			 sizeof(half_t));
	interleave_watch("attention", &memory.header.attention, sizeof(half_t));
	interleave_watch("credits", &credits_at()->pools[0].used,
			 2 * sizeof(word_t));
	interleave_watch("credits", &credits_at()->pools[1].used,
			 2 * sizeof(word_t));
	for (i = 0; i < RULES; i++)
		interleave_watch("tripped", &plan()->rules[i].tripped,
				 sizeof(word_t));
	interleave_watch("holds", hold_at(&arena, 0),
			 HOLDS * sizeof(struct hold));
	interleave_ignore(counters, sizeof(counters));
}

#endif
