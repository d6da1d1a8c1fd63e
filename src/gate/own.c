/* SPDX-License-Identifier: MIT */
#include "gate/own.h"

#include "base/counters.h"
#include "gate/window.h"

#define NONE UINT32_MAX /* more than any limit */
static_assert(LIMIT_MAX < NONE, "no limit is that large");

/* The rule with the least room so far, and what it has to say. */
struct least {
	const struct rule *rule; /* NULL: none looked at the check */
	uint32_t remaining;
	uint64_t used_ns, room_ns;  /* of a GCRA */
	uint64_t rests_ms, more_ms; /* of a window */
};

/* What is left to do when the claim got through. */
struct hints {
	unsigned count;
	struct {
		struct meter *meter;
		uint64_t hint;
	} of[PLAN_METERS_MAX];
};

/* May the straight line be tried? */
static inline bool ours(const struct step *s, const struct ask *a)
{
	unsigned i;

	if (s->plan->meters_count != s->plan->rules_count ||
	    a->refused != REASON_ALLOW || a->peek || a->cost == 0 ||
	    a->once != NULL || a->hold != NULL || a->explain != NULL ||
	    a->outside_shadow != 0)
		return false;
	for (i = 0; a->project != NULL && i < PROJECT_BUDGETS_MAX; i++)
		if (claim_load(&a->project->budgets[i].cap) != BUDGET_NONE)
			return false;
	return true;
}

static inline bool add_gcra(struct claim *c, const struct rule *r,
			    struct meter *m, uint32_t units,
			    const struct instant *now, struct least *least)
{
	uint64_t base = claim_load(&m->base), from = claim_load(&m->level);
	uint64_t level = from > base ? from - base : 0;
	uint64_t tat = level > now->ns ? level : now->ns;
	uint64_t need = units * r->unit_ns, burst = r->limit * r->unit_ns;
	uint64_t used = tat - now->ns + need;

	if (units > r->limit || used > burst)
		return false;
	claim_add(c, &m->level, from, tat + need + base);
	/* Is burst - used less than the least so far? Most often that can be
	 * said without a division. */
	if (least->remaining <= r->limit &&
	    burst - used >= least->remaining * r->unit_ns)
		return true;
	least->rule = r;
	least->used_ns = used;
	least->room_ns = burst - used;
	least->remaining = (uint32_t)(least->room_ns / r->unit_ns);
	return true;
}

static inline bool add_window(struct claim *c, const struct rule *r,
			      struct meter *m, uint32_t units,
			      const struct instant *now, struct hints *hints,
			      struct least *least)
{
	uint64_t ring = claim_load(&m->ring);
	struct view v;

	if (unlikely(ring & RING_COARSE))
		return false;
	window_read(&v, EXACT_BITS, r, m, ring_entries(c->arena, ring),
		    RING_LOG2(ring), now);
	if (units > r->limit || v.used > r->limit - units)
		return false;
	window_charge(&v, EXACT_BITS, units);
	claim_add(c, v.word, v.from, v.to);
	if (window_hint(&v, &hints->of[hints->count].hint))
		hints->of[hints->count++].meter = m;
	if (r->limit - (uint32_t)v.used >= least->remaining)
		return true;
	least->rule = r;
	least->remaining = r->limit - (uint32_t)v.used;
	least->rests_ms = window_rests_ms(&v);
	least->more_ms = window_more_ms(&v);
	return true;
}

/* Puts all that changes into the claim. False: not for us. */
static inline bool add_rules(struct step *s, const struct ask *a,
			     const struct instant *now, struct hints *hints,
			     struct least *least)
{
	const struct plan *plan = s->plan;
	unsigned i;

	for (i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];
		struct meter *m = org_meter(s->arena, s->org, r->meter);
		uint32_t units = rule_units(r, a->cost);
		bool fits = false;

		if (r->route != 0 && r->route != a->route)
			continue;
		if (unlikely(r->flags & RULE_SHADOW))
			return false;
		if (r->algorithm == RULE_GCRA)
			fits = add_gcra(s->claim, r, m, units, now, least);
		else if (r->algorithm == RULE_WINDOW)
			fits = add_window(s->claim, r, m, units, now, hints,
					  least);
		if (unlikely(!fits))
			return false;
	}
	return true;
}

static inline void add_used(struct claim *c, word_t *w, uint32_t cost)
{
	uint64_t used = claim_load(w);

	claim_add(c, w, used, used_add(used, cost, 1));
}

#define NS_PER_MS 1000000u

static inline uint32_t to_ms(uint64_t ns)
{
	uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static inline void tell(struct verdict *v, const struct least *least)
{
	const struct rule *r = least->rule;

	if (r == NULL)
		return;
	v->limit = r->limit;
	v->remaining = least->remaining;
	v->window_ms =
		r->period_ms < UINT32_MAX ? (uint32_t)r->period_ms : UINT32_MAX;
	memcpy(v->limit_name, r->name, sizeof(v->limit_name));
	if (r->algorithm == RULE_WINDOW) {
		v->reset_ms = (uint32_t)least->rests_ms;
		v->retry_ms = (uint32_t)least->more_ms;
		return;
	}
	/* Something was charged, so it is not at rest: another unit comes when
	 * what is left of this one's time is over. */
	v->reset_ms = to_ms(least->used_ns);
	v->retry_ms = to_ms(r->unit_ns -
			    (least->room_ns - least->remaining * r->unit_ns));
}

bool own_run(struct step *s, const struct instant *now)
{
	struct ask *a = &s->asks[0];
	struct verdict *v = a->verdict;

	if (!ours(s, a))
		return false;
	for (;;) {
		uint64_t version =
			claim_settle(s->arena, &s->org->gate, s->counters);
		struct instant at = step_instant(now, version);
		struct least least = {.remaining = NONE};
		struct hints hints;
		unsigned i;

		hints.count = 0;
		if (claim_load(&s->org->credits) != 0)
			return false;
		claim_begin(s->claim);
		if (!add_rules(s, a, &at, &hints, &least))
			return false;
		add_used(s->claim, &a->key->used, a->cost);
		if (a->cell != NULL && a->route != 0)
			add_used(s->claim, &a->cell->used, a->cost);
		if (unlikely(!claim_commit_to(s->claim, &s->org->gate, version,
					      step_next(&at, version)))) {
			if (s->counters != NULL)
				counter_add(&s->counters->retries, 1);
			continue;
		}
		for (i = 0; i < hints.count; i++)
			window_leave_hint(hints.of[i].meter, hints.of[i].hint);
		tell(v, &least);
		break;
	}
	v->reason = REASON_ALLOW;
	v->flags = 0;
	v->charged = a->cost;
	v->hold = v->hold_ms = 0;
	v->credits = v->budget = CREDITS_NONE;
	a->tripped = -1;
	a->shadow = 0;
	return true;
}
