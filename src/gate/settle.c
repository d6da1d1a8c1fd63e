/* SPDX-License-Identifier: MIT */
/* The end of a hold. All orders of a few who end it, and death:
 * tests/interleave/settle_interleave.c. */
#include "gate/decide.h"

#include "base/check.h"
#include "base/counters.h"

/* A hold as one attempt sees it. */
struct settling {
	struct step *step;
	struct hold *hold;
	struct project *project; /* or NULL */
	struct key *key;
	struct cell *cell;
	uint64_t route;
	uint64_t units;                   /* reserved */
	word_t *outside[HOLD_LEASES_MAX]; /* its leases at addresses ... */
	unsigned outside_count;           /* ... so many of them */
};

static uint64_t return_to(struct step *s, struct pool *p, uint64_t units)
{
	uint64_t used = step_value(s, &p->used);
	uint64_t returned = step_value(s, &p->returned);
	uint64_t give = used > returned ? used - returned : 0;

	if (give > units)
		give = units;
	if (give > 0)
		step_change(s, &p->returned)->to += give;
	return give;
}

static struct pool *pool_of(struct credits *credits, uint32_t id)
{
	unsigned i;

	for (i = 0; i < credits->count; i++)
		if (credits->pools[i].id == id)
			return &credits->pools[i];
	return NULL;
}

/* Back to the pools that have paid, the last drawn from first. What a pool has
 * paid that is no more is gone, as all that was left of it. */
static uint64_t undo_draws(struct settling *t, uint64_t units)
{
	struct step *s = t->step;
	unsigned i;

	for (i = HOLD_DRAWS_MAX; i-- > 0 && units > 0;) {
		/* PAIRS: fill_hold(); the state was loaded with acquire. */
		uint64_t draw = atomic_load_explicit(&t->hold->draws[i],
						     memory_order_relaxed);
		uint64_t give = HOLD_DRAW_UNITS(draw);
		struct pool *p;

		if (draw == 0)
			continue;
		if (give > units)
			give = units;
		units -= give;
		p = pool_of(s->credits, HOLD_DRAW_POOL(draw));
		if (p != NULL)
			return_to(s, p, give);
	}
	return units;
}

static void give_back(struct settling *t, uint64_t units)
{
	struct step *s = t->step;
	unsigned i;

	units = undo_draws(t, units);
	/* Which they were is not known: as if all were one. */
	for (i = s->credits->count; i-- > 0 && units > 0;) {
		struct pool *p = &s->credits->pools[i];

		if (p->route == 0 || p->route == t->route)
			units -= return_to(s, p, units);
	}
}

static void settle_less(struct settling *t, uint64_t units)
{
	struct step *s = t->step;
	unsigned i;

	step_change(s, &t->cell->returned)->to += units;
	if (s->credits != NULL)
		give_back(t, units);
	for (i = 0; t->project != NULL && i < PROJECT_BUDGETS_MAX; i++) {
		struct budget *b = &t->project->budgets[i];
		/* PAIRS: fill_hold(); the state was loaded with acquire. */
		uint64_t charged = atomic_load_explicit(&t->hold->budget[i],
							memory_order_relaxed);
		struct budget_view v;
		struct change *c;

		if (claim_load(&b->cap) == BUDGET_NONE || charged == 0)
			continue;
		c = step_change(s, &b->returned);
		budget_read(b, step_value(s, &b->used), c->to, s->wall_ms, &v);
		/* What an earlier period was charged is past. */
		if (BUDGET_PERIOD(charged) == v.period)
			c->to = BUDGET_WORD(v.period, v.returned + units);
	}
}

/* How much of `units` budgets and credits can bear. */
static uint64_t bearable(struct settling *t, uint64_t units,
			 enum reason *ret_reason)
{
	struct step *s = t->step;
	unsigned i;

	for (i = 0; t->project != NULL && i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &t->project->budgets[i];
		struct budget_view v;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, step_value(s, &b->used),
			    step_value(s, &b->returned), s->wall_ms, &v);
		if (v.left < units) {
			units = v.left;
			*ret_reason = REASON_BUDGET;
		}
	}
	if (s->credits != NULL) {
		uint64_t left = step_credits(s, t->route);

		if (left < units) {
			units = left;
			*ret_reason = REASON_CREDITS;
		}
	}
	return units;
}

static void settle_more(struct settling *t, uint64_t units)
{
	struct step *s = t->step;
	struct change *c = step_change(s, &t->key->used);
	unsigned i;

	c->to = used_add(c->to, units, 0);
	if (t->route != 0) {
		c = step_change(s, &t->cell->used);
		c->to = used_add(c->to, units, 0);
	}
	if (s->credits != NULL)
		step_draw(s, units, t->route, NULL);
	for (i = 0; t->project != NULL && i < PROJECT_BUDGETS_MAX; i++) {
		struct budget_view v;

		if (claim_load(&t->project->budgets[i].cap) != BUDGET_NONE)
			step_charge_budget(s, t->project, i, units, &v);
	}
}

static void return_leases(struct settling *t)
{
	struct step *s = t->step;
	unsigned i;

	t->outside_count = 0;
	for (i = 0; i < HOLD_LEASES_MAX; i++) {
		/* PAIRS: as above. */
		uint64_t lease = atomic_load_explicit(&t->hold->leases[i],
						      memory_order_relaxed);
		word_t *word = (word_t *)(void *)(s->arena->base +
						  LEASE_OFFSET(lease));
		struct change *c;

		if (lease == 0)
			continue;
		if (lease & LEASE_OUTSIDE) {
			t->outside[t->outside_count++] = word;
			continue;
		}
		c = step_change(s, word);
		c->to = METER_FLIGHT((c->to >> 24) + 1,
				     METER_LEASES(c->to) - 1);
	}
}

/* After the claim that ended the hold, which only one thread gets through. By
 * now the hold may be another's: what it named was read before. */
static void return_leases_outside(const struct settling *t)
{
	unsigned i;

	for (i = 0; i < t->outside_count; i++)
		outside_end_lease(t->outside[i]);
}

/* False: the hold is not live any more. */
static bool settle(struct gate *g, uint32_t slot, uint64_t state, uint64_t cost,
		   struct verdict *v, const struct instant *now,
		   uint64_t wall_ms)
{
	struct arena *a = g->arena;
	struct step *s = &g->step;
	struct settling t = {.step = s, .hold = hold_at(a, slot)};
	/* PAIRS: place_hold(), release. It says whose gate tells us that what
	 * else is read here is this hold's: if it is of the next use of the
	 * hold, then so is its state below. */
	uint64_t subject =
		atomic_load_explicit(&t.hold->subject, memory_order_acquire);
	uint64_t cell =
		atomic_load_explicit(&t.hold->cell, memory_order_relaxed);

	t.key = &a->keys[subject >> 32];
	t.route = atomic_load_explicit(&t.hold->route, memory_order_relaxed);
	t.units = atomic_load_explicit(&t.hold->units, memory_order_relaxed);
	/* The one that was charged may have become another key's since: it was
	 * at rest as soon as usage.db had it. */
	t.cell = gate_cell(g, t.key, routes_find(g->options.routes, t.route));
	if (t.cell == NULL)
		t.cell = (struct cell *)(void *)(a->base + cell);
	t.project = t.key->project != 0 ? &a->projects[t.key->project] : NULL;
	s->org = &a->orgs[(uint32_t)subject];
	s->wall_ms = wall_ms;
	if (cost == SETTLE_AS_RESERVED)
		cost = t.units;
	for (;;) {
		uint64_t version = claim_settle(a, &s->org->gate, g->counters);
		enum reason reason = REASON_ALLOW;
		uint64_t charged = cost;

		if (claim_load(&t.hold->state) != state) {
			if (claim_unchanged(&s->org->gate, version))
				return false;
			continue;
		}
		s->now = step_instant(now, version);
		s->views_count = s->changes_count = 0;
		step_read_credits(s);
		step_change(s, &t.hold->state)->to =
			HOLD_STATE(HOLD_GEN(state) + 1, 0);
		return_leases(&t);
		if (cost < t.units) {
			settle_less(&t, t.units - cost);
		} else if (cost > t.units) {
			uint64_t more = bearable(&t, cost - t.units, &reason);

			if (more > 0)
				settle_more(&t, more);
			charged = t.units + more;
		}
		step_tell_left(s, t.project, t.route, v);
		if (!step_commit(s, version)) {
			counter_add(&g->counters->retries, 1);
			continue;
		}
		return_leases_outside(&t);
		v->reason = (uint8_t)reason;
		v->charged = (uint32_t)charged;
		v->org = s->org->id;
		v->key = t.key->id;
		if (t.project != NULL)
			v->project = t.project->id;
		return true;
	}
}

void gate_settle(struct gate *g, const struct check *c, struct verdict *v,
		 const struct instant *now, uint64_t wall_ms)
{
	uint64_t id = c->extra->hold, state;
	uint32_t slot = HOLD_ID_SLOT(id);

	v->reason = REASON_NO_HOLD;
	/* PAIRS: nothing. Set before workers run. */
	if (slot >= g->arena->header->holds_count ||
	    atomic_load_explicit(&g->arena->header->holds,
				 memory_order_relaxed) == 0)
		return;
	state = claim_load(&hold_at(g->arena, slot)->state);
	if (!HOLD_LIVE(state) || HOLD_ID(slot, HOLD_GEN(state)) != id)
		return;
	if (settle(g, slot, state, c->cost, v, now, wall_ms)) {
		v->hold = id;
		return;
	}
	memset(v, 0, sizeof(*v));
	v->reason = REASON_NO_HOLD;
}

uint32_t gate_expire(struct gate *g, uint32_t from, uint32_t end,
		     const struct instant *now, uint64_t wall_ms)
{
	uint32_t slot, expired = 0;

	for (slot = from; slot < end; slot++) {
		struct hold *h = hold_at(g->arena, slot);
		uint64_t state = claim_load(&h->state);
		struct verdict v;
		bool keep;

		/* PAIRS: fill_hold(), before the claim of state. */
		if (!HOLD_LIVE(state) ||
		    atomic_load_explicit(&h->until, memory_order_relaxed) >
			    now->ticks)
			continue;
		keep = (atomic_load_explicit(&h->flags, memory_order_relaxed) &
			HOLD_KEEP) != 0;
		expired += settle(g, slot, state, keep ? SETTLE_AS_RESERVED : 0,
				  &v, now, wall_ms);
	}
	return expired;
}

void gate_name_holds(struct arena *a, uint64_t wall_ms)
{
	uint32_t slot;

	/* PAIRS: nothing, here and below. Nobody else runs yet. */
	if (atomic_load_explicit(&a->header->holds, memory_order_relaxed) == 0)
		return;
	/* No hold is used again in less than a millisecond for long: the clock
	 * is ahead of the generations. They come again after 34 years. */
	for (slot = 0; slot < a->header->holds_count; slot++)
		atomic_store_explicit(&hold_at(a, slot)->state,
				      HOLD_STATE(wall_ms, 0),
				      memory_order_relaxed);
}
