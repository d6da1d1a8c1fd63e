/* SPDX-License-Identifier: MIT */
#include "gate/own.h"

#include "gate/straight.h"

/* May the straight line be tried? What says that it wants to be told more, or
 * is about to be denied, is not for it. (All in one: none of it is likely.) */
static inline bool ours(const struct plan *plan, const struct ask *a)
{
	uintptr_t more = (uintptr_t)a->hold | (uintptr_t)a->explain |
			 a->refused | a->peek | a->outside_shadow;

	/* A cost of 0 is more than any. */
	return likely(more == 0) && likely(a->cost - 1 < plan->own);
}
static_assert(REASON_ALLOW == 0, "what is refused is not ours");

static __attribute__((noinline)) struct claim_word *
add_budgets(struct step *s, const struct ask *a, struct claim_word *at)
{
	unsigned i;

	for (i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		struct budget *b = &a->project->budgets[i];
		uint64_t used;
		struct budget_view v;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		used = claim_load(&b->used);
		budget_read(b, used, claim_load(&b->returned), s->wall_ms, &v);
		if (unlikely(a->cost > v.left))
			return NULL;
		if (v.left - a->cost < a->verdict->budget)
			a->verdict->budget = v.left - a->cost;
		if (unlikely(budget_crosses(&v, a->cost)))
			s->straight.after |= STRAIGHT_CROSSED;
		at = claim_put(s->claim, at, &b->used, used,
			       BUDGET_WORD(v.period, v.used + a->cost));
	}
	return at;
}

static __attribute__((noinline)) struct claim_word *
add_credits(struct step *s, const struct ask *a, uint64_t word,
	    struct claim_word *at)
{
	struct credits *credits =
		(void *)(s->arena->rings + RING_PLACE(word) * LINE_BYTES);
	uint64_t units = a->cost, left = 0;
	unsigned i, count = credits->count;

	if (unlikely(count > CREDIT_POOLS_MAX)) /* torn: the claim is lost */
		return NULL;
	for (i = 0; i < count; i++) {
		struct pool *p = &credits->pools[i];
		uint64_t used = claim_load(&p->used);
		uint64_t has = pool_left(p, used, claim_load(&p->returned),
					 a->route, s->wall_ms);
		uint64_t take = has < units ? has : units;

		left += has - take;
		units -= take;
		if (take != 0)
			at = claim_put(s->claim, at, &p->used, used,
				       used + take);
	}
	a->verdict->credits = left;
	return units == 0 ? at : NULL;
}

static inline struct claim_word *
add_used(const struct claim *c, struct claim_word *at, word_t *w, uint32_t cost)
{
	uint64_t used = claim_load(w);

	return claim_put(c, at, w, used, used_add(used, cost, 1));
}

/* What few checks change besides. */
static __attribute__((noinline)) struct claim_word *
add_rest(struct step *s, const struct ask *a, uint64_t credits, uint64_t now_ns,
	 struct claim_word *at)
{
	if (a->project != NULL)
		at = add_budgets(s, a, at);
	if (credits != 0 && at != NULL)
		at = add_credits(s, a, credits, at);
	if (unlikely(at == NULL))
		return NULL;
	if (a->cell != NULL && a->route != 0)
		at = add_used(s->claim, at, &a->cell->used, a->cost);
	if (a->once != NULL) {
		uint64_t when = claim_load(&a->once[0]);

		if (when != 0 && ONCE_NS(when) + s->once_ns > now_ns)
			return NULL;
		at = claim_put(s->claim, at, &a->once[0], when,
			       ONCE_WORD(now_ns, 0));
	}
	return at;
}

/* The meter of a rule; NULL: it does not look at the check. `ret_of`: where
 * its entries are, if they are not in the organization's ring. */
static inline struct meter *meter_of(const struct step *s, const struct ask *a,
				     const struct rule *r,
				     const struct ask_meter **ret_of)
{
	*ret_of = NULL;
	if (r->level == LEVEL_ORG)
		return r->route == 0 || r->route == a->route
			       ? org_meter(s->arena, s->org, r->meter)
			       : NULL;
	*ret_of = &a->at[r - s->plan->rules];
	/* At an address the units are held already. */
	return r->level != LEVEL_ADDRESS ? (*ret_of)->meter : NULL;
}

/* Puts all that changes into the claim; NULL: somebody denies. */
static inline struct claim_word *add_all(struct step *s, const struct ask *a,
					 uint64_t now_ns,
					 struct least *ret_least)
{
	const struct rule *r = s->plan->rules;
	const struct rule *end = r + s->plan->rules_count;
	struct claim_word *at = claim_first(s->claim);
	struct least least = {.left = STRAIGHT_NONE};
	uint64_t credits;

	s->straight.after = 0;
	a->verdict->credits = a->verdict->budget = CREDITS_NONE;
	for (; r < end; r++) {
		uint32_t units = r->flags & RULE_REQUESTS ? 1 : a->cost;
		const struct ask_meter *of;
		struct meter *m = meter_of(s, a, r, &of);

		if (m == NULL)
			continue;
		at = likely(r->algorithm == RULE_GCRA)
			     ? straight_gcra(s->claim, at, r, m, units, now_ns,
					     &least)
			     : straight_window(s, at, r, m, of, units, now_ns,
					       &least);
		if (unlikely(at == NULL))
			return NULL;
	}
	credits = claim_load(&s->org->credits);
	if ((credits | (uintptr_t)a->project | (uintptr_t)a->cell |
	     (uintptr_t)a->once) != 0) {
		at = add_rest(s, a, credits, now_ns, at);
		if (unlikely(at == NULL))
			return NULL;
	}
	*ret_least = least;
	return add_used(s->claim, at, &a->key->used, a->cost);
}
static_assert(PLAN_RULES_MAX + PROJECT_BUDGETS_MAX + CREDIT_POOLS_MAX + 3 <=
		      CLAIM_WORDS_MAX,
	      "they fit");

bool own_run(struct step *s, struct ask *a, const struct instant *now)
{
	struct least least;

	if (!ours(s->plan, a))
		return false;
	for (;; straight_lost(s)) {
		uint64_t version =
			claim_settle(s->arena, &s->org->gate, s->counters);
		uint64_t next, now_ns = straight_turn(now, version, &next);
		struct claim_word *at = add_all(s, a, now_ns, &least);

		if (likely(at != NULL)) {
			if (likely(claim_commit_words(s->claim, at,
						      &s->org->gate, version,
						      next)))
				break;
		} else if (claim_unchanged(&s->org->gate, version)) {
			return false;
		}
	}
	if (s->straight.after != 0)
		straight_finish(s, a->project);
	if (likely(least.rule != NULL))
		straight_tell(s, a->verdict, &least, 0);
	a->verdict->charged = a->cost;
	return true;
}
