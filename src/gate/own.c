/* SPDX-License-Identifier: MIT */
#include "gate/own.h"

#include "base/counters.h"
#include "gate/window.h"

#define NONE UINT32_MAX /* more than any limit */
static_assert(LIMIT_MAX < NONE, "no limit is that large");

/* May the straight line be tried? What says that it wants to be told more, or
 * is about to be denied, is not for it. */
static inline bool ours(const struct plan *plan, const struct ask *a)
{
	return plan->own && a->refused == REASON_ALLOW && !a->peek &&
	       a->hold == NULL && a->explain == NULL && a->cost != 0 &&
	       a->outside_shadow == 0;
}

#define NS_PER_MS 1000000u

static inline uint32_t to_ms(uint64_t ns)
{
	uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* What is more than words of the claim. */
struct attempt {
	const struct claim *claim;
	struct instant now;
	bool crossed;            /* a budget has crossed a threshold */
	struct verdict *verdict; /* tells the rule with the least room so far */
	unsigned hints_count;    /* to be left when the claim got through */
	struct {
		struct meter *meter;
		uint64_t hint;
	} hints[PLAN_RULES_MAX];
};

static inline void tell(struct verdict *v, const struct rule *r,
			uint32_t remaining, uint32_t reset_ms,
			uint32_t retry_ms)
{
	v->limit = r->limit;
	v->remaining = remaining;
	v->window_ms =
		r->period_ms < UINT32_MAX ? (uint32_t)r->period_ms : UINT32_MAX;
	v->reset_ms = reset_ms;
	v->retry_ms = retry_ms;
	memcpy(v->limit_name, r->name, sizeof(v->limit_name));
}

/* Each adds a word to the claim and returns where the next goes; NULL: it does
 * not fit. */
static inline struct claim_word *add_gcra(struct attempt *t,
					  struct claim_word *at,
					  const struct rule *r, struct meter *m,
					  uint32_t units)
{
	uint64_t unit_ns = r->unit_ns, limit = r->limit, now = t->now.ns;
	uint64_t base = claim_load(&m->base), from = claim_load(&m->level);
	uint64_t level = from > base ? from - base : 0;
	uint64_t tat = (level > now ? level : now) + units * unit_ns;
	uint64_t used = tat - now, burst = limit * unit_ns;
	uint64_t least = t->verdict->remaining;

	if (unlikely(units > limit || used > burst))
		return NULL;
	/* Is there less room? Most often that can be said without dividing. */
	if (least > limit || burst - used < least * unit_ns) {
		uint64_t room = burst - used, left = room / unit_ns;

		/* Something was charged, so it is not at rest: another unit
		 * comes when what is left of this one's time is over. */
		tell(t->verdict, r, (uint32_t)left, to_ms(used),
		     to_ms((left + 1) * unit_ns - room));
	}
	return claim_put(t->claim, at, &m->level, from, tat + base);
}

/* Not inline: it would take all registers from the loop around it. */
static __attribute__((noinline)) struct claim_word *
add_window(struct attempt *t, struct claim_word *at, const struct rule *r,
	   struct meter *m, const struct ask_meter *of, uint32_t units)
{
	uint64_t left = r->limit;
	word_t *entries;
	unsigned log2;
	struct view v;

	if (of == NULL) {
		uint64_t ring = claim_load(&m->ring);

		entries = ring_entries(t->claim->arena, ring);
		log2 = RING_LOG2(ring);
		if (unlikely(ring & RING_COARSE))
			return NULL;
	} else {
		entries = of->entries;
		log2 = of->entries_log2;
	}
	if (unlikely(left > UINT64_C(1) << log2))
		return NULL;
	window_read(&v, EXACT_BITS, r, m, entries, log2, &t->now);
	if (unlikely(v.used + units > left))
		return NULL;
	window_charge(&v, EXACT_BITS, true, units);
	left -= v.used;
	if (left < t->verdict->remaining)
		tell(t->verdict, r, (uint32_t)left,
		     (uint32_t)window_rests_ms(&v),
		     (uint32_t)window_more_ms(&v));
	t->hints[t->hints_count].meter = m;
	t->hints[t->hints_count++].hint = window_hint(&v);
	return claim_put(t->claim, at, v.word, v.from, v.to);
}

static inline struct claim_word *add_rules(struct attempt *t, struct step *s,
					   const struct ask *a,
					   struct claim_word *at)
{
	const struct rule *r = s->plan->rules, *end = r + s->plan->rules_count;
	const struct ask_meter *of = a->at;

	for (; r < end; r++, of++) {
		uint32_t units = r->flags & RULE_REQUESTS ? 1 : a->cost;
		bool own = r->level == LEVEL_ORG;
		struct meter *m;

		if (unlikely(r->route != 0) && r->route != a->route)
			continue;
		m = own ? org_meter(s->arena, s->org, r->meter) : of->meter;
		/* At an address they are held already. */
		if (unlikely(m == NULL || r->level == LEVEL_ADDRESS))
			continue;
		at = r->algorithm == RULE_GCRA
			     ? add_gcra(t, at, r, m, units)
			     : add_window(t, at, r, m, own ? NULL : of, units);
		if (unlikely(at == NULL))
			return NULL;
	}
	return at;
}

static struct claim_word *add_budgets(struct attempt *t, struct step *s,
				      const struct ask *a,
				      struct claim_word *at)
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
		if (v.left - a->cost < t->verdict->budget)
			t->verdict->budget = v.left - a->cost;
		if (unlikely(budget_crosses(&v, a->cost)))
			t->crossed = true;
		at = claim_put(s->claim, at, &b->used, used,
			       BUDGET_WORD(v.period, v.used + a->cost));
	}
	return at;
}

static struct claim_word *add_credits(struct attempt *t, struct step *s,
				      const struct ask *a, uint64_t word,
				      struct claim_word *at)
{
	struct credits *credits = block_at(s->arena, word);
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
	t->verdict->credits = left;
	return units == 0 ? at : NULL;
}

static inline struct claim_word *
add_used(const struct claim *c, struct claim_word *at, word_t *w, uint32_t cost)
{
	uint64_t used = claim_load(w);

	return claim_put(c, at, w, used, used_add(used, cost, 1));
}

/* Puts all that changes into the claim. */
static inline struct claim_word *add_all(struct attempt *t, struct step *s,
					 const struct ask *a)
{
	struct claim_word *at = claim_begin(s->claim);
	uint64_t credits = claim_load(&s->org->credits);

	at = add_rules(t, s, a, at);
	if (at != NULL && a->project != NULL)
		at = add_budgets(t, s, a, at);
	if (at != NULL && credits != 0)
		at = add_credits(t, s, a, credits, at);
	if (unlikely(at == NULL))
		return NULL;
	at = add_used(s->claim, at, &a->key->used, a->cost);
	if (a->cell != NULL && a->route != 0)
		at = add_used(s->claim, at, &a->cell->used, a->cost);
	if (a->once != NULL) {
		uint64_t when = claim_load(&a->once[0]);

		if (when != 0 && ONCE_NS(when) + s->once_ns > t->now.ns)
			return NULL;
		at = claim_put(s->claim, at, &a->once[0], when,
			       ONCE_WORD(t->now.ns, 0));
	}
	return at;
}
static_assert(PLAN_RULES_MAX + PROJECT_BUDGETS_MAX + CREDIT_POOLS_MAX + 3 <=
		      CLAIM_WORDS_MAX,
	      "they fit");

bool own_run(struct step *s, struct ask *a, const struct instant *now)
{
	struct verdict *v = a->verdict;
	struct claim *c = s->claim;
	uint64_t version, next;
	struct attempt t;
	unsigned i;

	if (!ours(s->plan, a))
		return false;
	t.verdict = v;
	t.claim = c;
	for (;;) {
		version = claim_settle(s->arena, &s->org->gate, s->counters);
		next = step_turn(now, version, &t.now);
		t.hints_count = 0;
		t.crossed = false;
		v->remaining = NONE;
		v->credits = v->budget = CREDITS_NONE;
		c->next = add_all(&t, s, a);
		if (v->remaining == NONE) /* no rule looked at it */
			v->remaining = 0;
		if (unlikely(c->next == NULL))
			return false;
		if (likely(claim_commit_to(c, &s->org->gate, version, next)))
			break;
		if (s->counters != NULL)
			counter_add(&s->counters->retries, 1);
	}
	for (i = 0; i < t.hints_count; i++)
		window_leave_hint(t.hints[i].meter, t.hints[i].hint);
	if (unlikely(t.crossed))
		step_crossed(s, a->project);
	v->reason = REASON_ALLOW;
	v->flags = 0;
	v->charged = a->cost;
	v->hold = v->hold_ms = 0;
	a->tripped = -1;
	a->shadow = 0;
	return true;
}
