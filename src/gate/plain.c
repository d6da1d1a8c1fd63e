/* SPDX-License-Identifier: MIT */
#include "gate/plain.h"

#include "gate/straight.h"

static inline void tell(struct verdict *v, const struct rule *r,
			uint64_t reset_ms, uint64_t retry_ms)
{
	v->limit = r->limit;
	v->window_ms = (uint32_t)r->period_ms;
	v->reset_ms = (uint32_t)reset_ms;
	v->retry_ms = (uint32_t)retry_ms;
	v->credits = v->budget = CREDITS_NONE;
	memcpy(v->limit_name, r->name, sizeof(v->limit_name));
}
static_assert(WINDOW_MS_MAX < UINT32_MAX, "and no wait is longer than two");

/* Member by member: only where it is needed then does the compiler put
 * together in memory what else stays in registers. */
static inline struct view copy_of(const struct view *v)
{
	struct view c;

	c.rule = v->rule;
	c.meter = v->meter;
	c.word = v->word;
	c.from = v->from;
	c.to = v->to;
	c.now = v->now;
	c.level = 0; /* of no window */
	c.base = v->base;
	c.entries = v->entries;
	c.mask = v->mask;
	c.dead = v->dead;
	c.bits = v->bits;
	c.newest = v->newest;
	c.after = v->after;
	c.first = v->first;
	c.newest_stamp = v->newest_stamp;
	c.first_stamp = v->first_stamp;
	c.total = v->total;
	c.used = v->used;
	c.live = v->live;
	c.subject = c.before = c.priors = 0; /* a plain rule has none */
	c.prior = NULL;
	return c;
}

/* `before`: units that the checks before it in this claim were allowed. */
static __attribute__((noinline)) void
deny(struct view v, const struct plain_ask *a, uint32_t before)
{
	struct meter_answer m;

	if (before > 0)
		view_charge(&v, before);
	view_answer(&v, a->cost, &m);
	tell(a->verdict, v.rule, m.reset_ms, m.retry_ms);
	a->verdict->remaining = m.remaining;
	a->verdict->reason = a->cost > v.rule->limit ? REASON_COST_ABOVE_LIMIT
						     : REASON_RATE_LIMITED;
}

/* A word stands in a claim once: what several checks add to the total of
 * their key is added by the first of them. `allowed`: a bit for each. */
static inline struct claim_word *add_keys(const struct claim *c,
					  struct claim_word *at,
					  const struct plain_ask *asks,
					  unsigned count, uint32_t allowed)
{
	unsigned i, j;

	for (i = 0; i < count; i++) {
		struct key *key = asks[i].key;
		uint64_t old, to;

		if (!(allowed >> i & 1))
			continue;
		for (j = 0; j < i; j++)
			if (asks[j].key == key && (allowed >> j & 1))
				break;
		if (j < i)
			continue;
		old = claim_load(&key->used);
		to = used_add(old, asks[i].cost, 1);
		for (j = i + 1; j < count; j++)
			if (asks[j].key == key && (allowed >> j & 1))
				to = used_add(to, asks[j].cost, 1);
		at = claim_put(c, at, &key->used, old, to);
	}
	return at;
}
static_assert(1 + PLAIN_ASKS_MAX <= CLAIM_WORDS_MAX, "they fit");

static __attribute__((always_inline)) inline enum plain_end
under_window(struct step *s, const struct plain_ask *asks, unsigned count,
	     const struct instant *now)
{
	const struct rule *rule = &s->plan->rules[0];
	struct claim *c = s->claim;
	struct org *org = s->org;
	uint32_t limit = rule->limit;

	for (;;) {
		uint64_t version =
			claim_settle(c->arena, &org->gate, c->counters);
		uint64_t units = 0, ring = claim_load(&org->first.ring);
		uint64_t next, reset_ms, retry_ms;
		struct claim_word *end;
		struct instant at;
		uint32_t allowed = 0;
		struct view v;
		unsigned i;

		if (unlikely(!window_roomy(ring, limit)))
			return PLAIN_NOT;
		next = step_turn(now, version, &at);
		window_read(&v, EXACT_BITS, rule, &org->first,
			    ring_entries(c->arena, ring), RING_LOG2(ring), &at);
		for (i = 0; i < count; i++) {
			const struct plain_ask *a = &asks[i];

			if (unlikely(v.used + units + a->cost > limit)) {
				deny(copy_of(&v), a, (uint32_t)units);
				continue;
			}
			allowed |= UINT32_C(1) << i;
			units += a->cost;
			a->verdict->remaining =
				limit - (uint32_t)(v.used + units);
		}
		if (unlikely(allowed == 0)) {
			/* Nothing was decided since: the denials are true. */
			if (claim_unchanged(&org->gate, version))
				return PLAIN_DENIED;
			continue;
		}
		window_charge(&v, EXACT_BITS, true, (uint32_t)units);
		reset_ms = window_rests_ms(&v);
		retry_ms = window_more_ms(&v);
		end = add_keys(
			c, claim_put(c, claim_first(c), v.word, v.from, v.to),
			asks, count, allowed);
		if (unlikely(!claim_commit_words(c, end, &org->gate, version,
						 next))) {
			straight_lost(s);
			continue;
		}
		window_leave_hint(&org->first, window_hint(&v));
		for (i = 0; i < count; i++) {
			struct verdict *to = asks[i].verdict;

			if (unlikely(!(allowed >> i & 1)))
				continue;
			tell(to, rule, reset_ms, retry_ms);
			to->reason = REASON_ALLOW;
			to->charged = asks[i].cost;
		}
		return allowed == (UINT32_C(1) << count) - 1 ? PLAIN_ALLOWED
							     : PLAIN_DENIED;
	}
}
static_assert(PLAIN_ASKS_MAX < 32, "a bit for each");
static_assert(CHECK_COST_MAX < UINT32_MAX, "no sum of costs overflows 64 bits");

/* Puts what each rule changes into the claim; NULL: one denies. */
static inline struct claim_word *add_rules(struct step *s, uint32_t units,
					   uint64_t now_ns,
					   struct least *ret_least)
{
	const struct rule *r = s->plan->rules;
	const struct rule *end = r + s->plan->rules_count;
	struct claim_word *at = claim_first(s->claim);
	/* There is one rule at least. */
	struct least least = {.rule = r, .left = STRAIGHT_NONE};

	s->straight.after = 0;
	for (; r < end; r++) {
		struct meter *m = org_meter(s->arena, s->org, r->meter);

		at = likely(r->algorithm == RULE_GCRA)
			     ? straight_gcra(s->claim, at, r, m, units, now_ns,
					     &least)
			     : straight_window(s, at, r, m, NULL, units, now_ns,
					       &least);
		if (unlikely(at == NULL))
			return NULL;
	}
	*ret_least = least;
	return at;
}

static __attribute__((always_inline)) inline enum plain_end
under_rules(struct step *s, const struct plain_ask *asks, unsigned count,
	    const struct instant *now)
{
	const uint32_t all = (UINT32_C(1) << count) - 1;
	uint64_t units = 0;
	struct least least;
	unsigned i;

	for (i = 0; i < count; i++)
		units += asks[i].cost;
	if (unlikely(units > s->plan->own))
		return PLAIN_NOT;
	for (;; straight_lost(s)) {
		uint64_t version =
			claim_settle(s->arena, &s->org->gate, s->counters);
		uint64_t next, now_ns = straight_turn(now, version, &next);
		struct claim_word *at =
			add_rules(s, (uint32_t)units, now_ns, &least);

		if (likely(at != NULL)) {
			at = add_keys(s->claim, at, asks, count, all);
			if (likely(claim_commit_words(s->claim, at,
						      &s->org->gate, version,
						      next)))
				break;
		} else if (claim_unchanged(&s->org->gate, version)) {
			return PLAIN_NOT;
		}
	}
	if (s->straight.after != 0)
		straight_finish(s, NULL);
	/* As if one came after the other: each was told what was left then. */
	for (i = 0; i < count; i++) {
		struct verdict *v = asks[i].verdict;

		units -= asks[i].cost;
		straight_tell(s, v, &least, units);
		v->credits = v->budget = CREDITS_NONE;
		v->charged = asks[i].cost;
	}
	return PLAIN_ALLOWED;
}
static_assert(PLAN_METERS_MAX + PLAIN_ASKS_MAX <= CLAIM_WORDS_MAX, "they fit");

/* Most often it is one, and then the compiler leaves the loops out. */
static __attribute__((noinline)) enum plain_end
several_under_window(struct step *s, const struct plain_ask *asks,
		     unsigned count, const struct instant *now)
{
	check(count <= PLAIN_ASKS_MAX); /* and the loops are unrolled */
	return under_window(s, asks, count, now);
}

static __attribute__((noinline)) enum plain_end
several_under_rules(struct step *s, const struct plain_ask *asks,
		    unsigned count, const struct instant *now)
{
	check(count <= PLAIN_ASKS_MAX);
	return under_rules(s, asks, count, now);
}

static __attribute__((noinline)) enum plain_end
one_under_rules(struct step *s, const struct plain_ask *ask,
		const struct instant *now)
{
	return under_rules(s, ask, 1, now);
}

enum plain_end plain_run(struct step *s, const struct plain_ask *asks,
			 unsigned count, const struct instant *now)
{
	bool one = likely(count == 1);

	if (s->plan->plain == PLAIN_WINDOW)
		return one ? under_window(s, asks, 1, now)
			   : several_under_window(s, asks, count, now);
	return one ? one_under_rules(s, asks, now)
		   : several_under_rules(s, asks, count, now);
}
