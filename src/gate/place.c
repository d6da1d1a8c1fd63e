/* SPDX-License-Identifier: MIT */
#include "gate/place.h"

#include "base/check.h"
#include "base/counters.h"
#include "gate/access.h"
#include "gate/explain.h"
#include "gate/prior.h"

#define HOLD_TRIES 1024 /* places that are looked at for a free hold */

static inline uint64_t seed(const struct gate *g)
{
	return g->arena->header->seed;
}

uint64_t gate_subject_of(const struct arena *a, uint8_t level, uint32_t rule,
			 const struct gate_subject *of)
{
	uint64_t seed = a->header->seed;

	switch (level) {
	case LEVEL_PROJECT:
		return of->project != 0
			       ? subjects_hash2(seed, rule, of->project)
			       : 0;
	case LEVEL_KEY:
		return of->key != 0 ? subjects_hash2(seed, rule, of->key) : 0;
	case LEVEL_ROUTE:
		return of->route != 0 ? subjects_hash2(seed, of->org, of->route)
				      : 0;
	case LEVEL_ADDRESS:
		return of->address != NULL ? outside_subject(seed, of->address)
					   : 0;
	default:
		return 0;
	}
}

uint64_t gate_subject(const struct arena *a, const struct rule *r,
		      const struct gate_subject *of)
{
	return gate_subject_of(a, r->level, r->id, of);
}

static inline uint64_t subject_of(const struct gate *g, const struct rule *r,
				  const struct ask *a, uint32_t org)
{
	const struct check_extra *x = a->check->extra;
	const struct gate_subject of = {
		.org = org,
		.project = a->key->project,
		.key = (uint32_t)(a->key - g->arena->keys),
		.route = a->route,
		.address = x != NULL && x->has_address ? x->address : NULL,
	};

	return gate_subject(g->arena, r, &of);
}

static enum reason too_many(const struct rule *r, const struct ask *a)
{
	if (rule_units(r, a->cost) > r->limit)
		return REASON_COST_ABOVE_LIMIT;
	return r->algorithm == RULE_CONCURRENCY ? REASON_CONCURRENCY
						: REASON_RATE_LIMITED;
}

/* Will it be charged nothing anyway? (What is refused is placed only to be
 * told.) */
static inline bool looks(const struct ask *a)
{
	return a->peek || a->refused != REASON_ALLOW;
}

/* No room is the last of all reasons: another may still come. */
static inline bool denied_before(const struct ask *a)
{
	return a->refused != REASON_ALLOW && a->refused != REASON_FULL;
}

/* Rule `i` says this before the organization is asked. */
static void told_outside(const struct gate *g, struct ask *a, unsigned i,
			 const struct meter_answer *m)
{
	const struct rule *r = &g->step.plan->rules[i];

	if (unlikely(a->explain != NULL))
		explain_outside(a->explain, i, m);
	if (m->fits)
		return;
	if (r->flags & RULE_SHADOW) {
		a->outside_shadow |= (uint16_t)(1u << i);
		return;
	}
	/* Of several the one with the longest wait. */
	if (denied_before(a) &&
	    (a->outside_rule < 0 || step_wait(&a->outside) >= step_wait(m)))
		return;
	a->outside = *m;
	a->outside_rule = (int8_t)i;
	a->refused = (uint8_t)too_many(r, a);
}

/* Nobody knows what the subjects of this table were charged before the machine
 * was started: until then they count as full. True: it denies. */
static bool full_since_boot(const struct gate *g, uint64_t until_ns,
			    struct ask *a, unsigned i,
			    const struct instant *now)
{
	const struct rule *r = &g->step.plan->rules[i];
	uint64_t left_ns = until_ns - now->ns;
	struct meter_answer m = {
		.limit = r->limit,
		.window_ms = r->period_ms,
		.reset_ms = (left_ns + 999999) / 1000000,
	};

	if (too_many(r, a) == REASON_RATE_LIMITED)
		m.retry_ms = m.reset_ms;
	told_outside(g, a, i, &m);
	return (r->flags & RULE_SHADOW) == 0;
}

/* There is no room for another subject of rule `i`. Who only looks is told the
 * same, and is not counted. */
static void full_table(struct gate *g, struct ask *a, unsigned i)
{
	const struct rule *r = &g->step.plan->rules[i];
	bool pass = (r->flags & (RULE_FULL_PASS | RULE_SHADOW)) != 0;

	if (!looks(a)) {
		/* PAIRS: nothing: a number to be shown. */
		atomic_fetch_add_explicit(&((struct rule *)(uintptr_t)r)->full,
					  1, memory_order_relaxed);
		counter_add(&g->counters->subjects_full, 1);
	}
	if (unlikely(a->explain != NULL))
		explain_full(a->explain, r, i, pass);
	if (pass || denied_before(a))
		return;
	if (a->refused != REASON_FULL)
		a->full_rule = (int8_t)i;
	a->refused = REASON_FULL;
}

/* Finds the meter of a rule that is not the organization's own, or refuses. */
static void place_rule(struct gate *g, struct ask *a, unsigned i, uint32_t org,
		       const struct instant *now)
{
	const struct rule *r = &g->step.plan->rules[i];
	struct ask_meter *at = &a->at[i];
	uint64_t subject = subject_of(g, r, a, org);
	struct subjects table;
	uint64_t until_ns;
	uint32_t entry;
	uint8_t *state;

	at->meter = NULL;
	at->entries = NULL;
	at->entries_log2 = 0;
	if (subject == 0 || (r->route != 0 && r->route != a->route) ||
	    !subjects_open(&table, g->arena, r->table))
		return;
	until_ns = table.full_until_ns;
	if (unlikely(r->prior[0] != 0) && until_ns <= now->ns)
		until_ns = prior_full_until_ns(g->arena, r);
	if (unlikely(until_ns > now->ns) &&
	    full_since_boot(g, until_ns, a, i, now))
		return;
	entry = looks(a) ? subjects_find(&table, subject)
			 : subjects_take(&table, &g->claim, subject);
	if (entry == SUBJECTS_FULL && looks(a) &&
	    subjects_room(&table, subject)) {
		at->meter = &g->rest.meter;
		at->entries = g->rest_entries;
		at->entries_log2 = 3;
		return;
	}
	if (entry == SUBJECTS_FULL) {
		full_table(g, a, i);
		return;
	}
	state = subjects_state(&table, entry);
	at->meter = (struct meter *)(void *)state;
	at->entries = subject_entries(r, (struct outside *)(void *)state);
	at->entries_log2 = subject_log2(r, table.stride);
}

static inline struct outside *outside_of(struct meter *m)
{
	return (struct outside *)(void *)m; /* its first member */
}

/* Holds the units at a rule outside the organization, or refuses. */
static void hold_outside(struct gate *g, struct ask *a, unsigned i,
			 const struct instant *now)
{
	const struct rule *r = &g->step.plan->rules[i];
	struct ask_meter *at = &a->at[i];
	uint32_t units = rule_units(r, a->cost);
	struct meter_answer m;
	struct view v;

	if (looks(a)) {
		view_read(&v, g->arena, r, at->meter, at->entries,
			  at->entries_log2, now);
		view_answer(&v, units, &m);
	} else if (outside_hold(g->arena, r, outside_of(at->meter), at->entries,
				at->entries_log2, units, now, &m)) {
		a->pending |= (uint16_t)(1u << i);
	}
	told_outside(g, a, i, &m);
}

void ask_release(struct gate *g, struct ask *a, const struct instant *now,
		 bool admitted)
{
	unsigned i;

	for (i = 0; a->pending >> i != 0; i++) {
		const struct rule *r = &g->step.plan->rules[i];
		struct ask_meter *at = &a->at[i];

		if (a->pending & 1u << i)
			outside_release(&g->claim, r, outside_of(at->meter),
					at->entries, at->entries_log2,
					rule_units(r, a->cost), now, admitted);
	}
	a->pending = 0;
}

static void place_rules(struct gate *g, struct ask *a, uint32_t org,
			const struct instant *now)
{
	const struct plan *plan = g->step.plan;
	unsigned i;

	for (i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];

		if (r->level == LEVEL_ORG)
			continue;
		place_rule(g, a, i, org, now);
		if (r->level == LEVEL_ADDRESS && a->at[i].meter != NULL)
			hold_outside(g, a, i, now);
	}
	if (a->refused != REASON_ALLOW)
		ask_release(g, a, now, false);
}

/* Is the check about any subject of the rule? */
static bool has_subject(const struct rule *r, const struct ask *a)
{
	switch (r->level) {
	case LEVEL_PROJECT:
		return a->key->project != 0;
	case LEVEL_ROUTE:
		return a->route != 0;
	case LEVEL_ADDRESS:
		return a->check->extra != NULL && a->check->extra->has_address;
	default:
		return true;
	}
}

static bool leases(const struct plan *plan, const struct ask *a,
		   uint64_t *ret_ticks)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];

		if (r->algorithm != RULE_CONCURRENCY ||
		    (r->route != 0 && r->route != a->route) ||
		    !has_subject(r, a))
			continue;
		if (!any || r->span > *ret_ticks)
			*ret_ticks = r->span;
		any = true;
	}
	return any;
}

struct cell *gate_cell(struct gate *g, const struct key *key, uint32_t number)
{
	const struct route *route = routes_at(g->options.routes, number);
	uint32_t slot = (uint32_t)(key - g->arena->keys), entry;
	uint64_t owner =
		CELL_OWNER(slot, route != NULL          ? route->hash
				 : number == ROUTE_NONE ? 0
							: CELL_ROUTE_OTHER);
	struct cell *cell;

	if (!g->has_cells)
		return NULL;
	entry = subjects_take(&g->cells, &g->claim,
			      subjects_hash2(seed(g), owner, 0));
	if (entry == SUBJECTS_FULL)
		return NULL;
	cell = subjects_state(&g->cells, entry);
	cell_own(cell, owner);
	return cell;
}

/* A free hold of ours; NULL: none. Those of one run are different ones. */
static struct hold *take_hold(struct gate *g, uint32_t *ret_slot)
{
	uint32_t tries = HOLD_TRIES;

	/* Once round in a run: what it was given it has not filled yet. */
	for (; tries > 0 && g->hold_left > 0; tries--, g->hold_left--) {
		uint32_t slot = g->hold_next++;
		struct hold *h = hold_at(g->arena, slot);

		if (g->hold_next == g->hold_end)
			g->hold_next = g->hold_first;
		if (HOLD_LIVE(claim_load(&h->state)) == 0) {
			*ret_slot = slot;
			g->hold_left--;
			return h;
		}
	}
	return NULL;
}

static void place_hold(struct gate *g, struct ask *a, uint32_t org,
		       bool reserve)
{
	const struct check_extra *x = a->check->extra;
	uint32_t slot;

	if (reserve) {
		uint64_t ms = x != NULL && x->hold_ms != 0 ? x->hold_ms
							   : g->options.hold_ms;

		if (ms * CLOCK_TICKS_PER_MS > a->hold_ticks)
			a->hold_ticks = ms * CLOCK_TICKS_PER_MS;
	}
	a->cell = a->cell != NULL ? a->cell : gate_cell(g, a->key, ROUTE_NONE);
	a->hold = a->cell != NULL ? take_hold(g, &slot) : NULL;
	if (a->hold == NULL) {
		a->refused = REASON_FULL;
		a->full_rule = -1;
		counter_add(&g->counters->holds_full, 1);
		return;
	}
	a->hold_id = HOLD_ID(slot, HOLD_GEN(claim_load(&a->hold->state)));
	/* PAIRS: settle(), acquire on the subject: who sees this one sees that
	 * the last use of the hold is over. The rest: gate_settle(), acquire
	 * on state: the claim that makes the hold live publishes it. */
	atomic_store_explicit(&a->hold->subject,
			      (uint64_t)(a->key - g->arena->keys) << 32 | org,
			      memory_order_release);
	atomic_store_explicit(&a->hold->cell,
			      (uint64_t)((uint8_t *)a->cell - g->arena->base),
			      memory_order_relaxed);
	atomic_store_explicit(&a->hold->route, a->route, memory_order_relaxed);
	atomic_store_explicit(&a->hold->flags,
			      !reserve || g->options.hold_keep ? HOLD_KEEP : 0,
			      memory_order_relaxed);
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		atomic_store_explicit(&a->hold->budget[i], 0,
				      memory_order_relaxed);
}

static void place_once(struct gate *g, struct ask *a)
{
	const struct check_extra *x = a->check->extra;
	uint32_t key = (uint32_t)(a->key - g->arena->keys);
	/* The id is the client's choice: it is hashed, and no seed. */
	uint64_t hash = subjects_hash2(seed(g), x->once[0], x->once[1]);
	uint32_t entry;

	hash = subjects_hash2(seed(g), hash, (uint64_t)key << 32 | a->cost);
	entry = subjects_take(&g->once, &g->claim, hash);
	if (entry == SUBJECTS_FULL)
		counter_add(&g->counters->once_full, 1);
	else
		a->once = subjects_state(&g->once, entry);
}

/* Everything that is not the organization's line: most checks have none. */
static void place(struct gate *g, struct ask *a, uint32_t org,
		  const struct instant *now)
{
	const struct check_extra *x = a->check->extra;
	const struct plan *plan = g->step.plan;
	bool reserve = (a->check->flags & CHECK_RESERVE) != 0;
	bool leased = leases(plan, a, &a->hold_ticks);

	/* First: what was allowed before is allowed again, full or not. */
	if (x != NULL && (x->once[0] | x->once[1]) != 0 && g->has_once &&
	    !a->peek)
		place_once(g, a);
	if (plan->meters_count != plan->rules_count)
		place_rules(g, a, org, now);
	if (a->refused != REASON_ALLOW || a->peek)
		return;
	if (a->route != 0)
		a->cell = gate_cell(g, a->key, a->route_number);
	if (reserve || leased)
		place_hold(g, a, org, reserve);
}

static enum reason refuse(const struct gate *g, const struct ask *a,
			  bool suspended, uint64_t scope_hash)
{
	/* PAIRS: key_valid(); the block it names is complete, by the same
	 * grace period. */
	uint32_t state =
		atomic_load_explicit(&a->key->state, memory_order_relaxed);

	if (suspended)
		return REASON_SUSPENDED;
	if (likely(KEY_ACCESS(state) == 0))
		return REASON_ALLOW;
	return access_allows(
		(const struct access *)(const void *)(g->arena->rings +
						      (uint64_t)KEY_ACCESS(
							      state) *
							      LINE_BYTES),
		a->check->extra, scope_hash);
}

static void begin_explaining(struct gate *g, struct ask *a)
{
	if (g->explained == GATE_EXPLAINS_MAX)
		return;
	a->explain = &g->explains[g->explained++];
	explain_begin(a->explain);
	a->verdict->explain = &a->explain->out;
}

void ask_fill(struct gate *g, struct ask *a, const struct check *c,
	      struct verdict *v, struct key *key, bool suspended,
	      const struct instant *now)
{
	const struct check_extra *x = c->extra;
	const struct route *route = NULL;
	uint64_t scope = 0;
	unsigned i;

	a->check = c;
	a->verdict = v;
	a->key = key;
	a->project =
		key->project != 0 ? &g->arena->projects[key->project] : NULL;
	a->cell = NULL;
	a->once = NULL;
	a->hold = NULL;
	a->hold_ticks = 0;
	a->route = 0;
	a->cost = c->cost;
	a->peek = (c->flags & CHECK_PEEK) != 0;
	a->pending = a->outside_shadow = 0;
	a->outside_rule = -1;
	a->explain = NULL;
	a->route_number = ROUTE_NONE;
	if (unlikely(x != NULL)) {
		a->route = x->route_hash;
		a->route_number =
			(uint16_t)routes_find(g->options.routes, a->route);
		route = routes_at(g->options.routes, a->route_number);
		scope = x->scope_hash;
	}
	if (route != NULL && scope == 0)
		scope = route->scope_hash;
	if (a->cost == 0)
		a->cost = route != NULL ? route->price : 1;
	/* Those of the organization itself are not looked up. */
	if (g->step.plan->meters_count != g->step.plan->rules_count)
		for (i = 0; i < g->step.plan->rules_count; i++)
			a->at[i].meter = NULL;
	a->refused = (uint8_t)refuse(g, a, suspended, scope);
	if (unlikely(c->flags & CHECK_EXPLAIN))
		begin_explaining(g, a);
	if (a->refused == REASON_ALLOW)
		place(g, a, key->org, now);
	else if (g->step.plan->meters_count != g->step.plan->rules_count)
		place_rules(g, a, key->org, now); /* to be told */
}
