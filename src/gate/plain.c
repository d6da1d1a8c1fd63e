/* SPDX-License-Identifier: MIT */
#include "gate/plain.h"

#include "base/counters.h"
#include "gate/window.h"

/* What all that are allowed in one claim are told alike. */
struct told {
	uint32_t limit, window_ms, reset_ms, retry_ms;
	const char *name;
};

static inline void tell(struct verdict *v, const struct told *t)
{
	v->limit = t->limit;
	v->window_ms = t->window_ms;
	v->reset_ms = t->reset_ms;
	v->retry_ms = t->retry_ms;
	memcpy(v->limit_name, t->name, sizeof(v->limit_name));
}

static inline void told_from(struct told *t, const struct view *v,
			     uint64_t reset_ms, uint64_t retry_ms)
{
	t->limit = v->rule->limit;
	t->window_ms = (uint32_t)v->rule->period_ms;
	t->reset_ms = (uint32_t)reset_ms;
	t->retry_ms = (uint32_t)retry_ms;
	t->name = v->rule->name;
}
static_assert(WINDOW_MS_MAX < UINT32_MAX, "and no wait is longer than two");

/* `before`: units that the checks before it in this claim were allowed. */
static __attribute__((noinline)) void
deny(struct view *v, struct plain_ask *a, uint32_t before)
{
	struct meter_answer m;
	struct told t;

	if (before > 0)
		view_charge(v, before);
	view_answer(v, a->cost, &m);
	told_from(&t, v, m.reset_ms, m.retry_ms);
	tell(a->verdict, &t);
	a->verdict->remaining = m.remaining;
	a->verdict->credits = a->verdict->budget = CREDITS_NONE;
	a->verdict->reason = a->cost > v->rule->limit ? REASON_COST_ABOVE_LIMIT
						      : REASON_RATE_LIMITED;
}

/* A word stands in a claim once: what several checks add to the total of
 * their key is added by the first of them. */
static inline void add_keys(struct claim *c, const struct plain_ask *asks,
			    unsigned count)
{
	unsigned i, j;

	for (i = 0; i < count; i++) {
		struct key *key = asks[i].key;
		uint64_t old, to;

		if (!asks[i].allowed)
			continue;
		for (j = 0; j < i; j++)
			if (asks[j].key == key && asks[j].allowed)
				break;
		if (j < i)
			continue;
		old = claim_load(&key->used);
		to = used_add(old, asks[i].cost, 1);
		for (j = i + 1; j < count; j++)
			if (asks[j].key == key && asks[j].allowed)
				to = used_add(to, asks[j].cost, 1);
		claim_add(c, &key->used, old, to);
	}
}

static __attribute__((always_inline)) inline enum plain_end
run(struct claim *c, struct org *org, const struct plan *plan,
    struct plain_ask *asks, unsigned count, const struct instant *now)
{
	const struct rule *rule = &plan->rules[0];
	uint32_t limit = rule->limit;

	for (;;) {
		uint64_t version =
			claim_settle(c->arena, &org->gate, c->counters);
		struct instant at = step_instant(now, version);
		uint64_t units = 0, ring = claim_load(&org->first.ring);
		enum plain_end end = PLAIN_ALLOWED;
		struct told told;
		struct view v;
		unsigned i;

		if (unlikely(ring & RING_COARSE))
			return PLAIN_NOT;
		window_read(&v, EXACT_BITS, rule, &org->first,
			    ring_entries(c->arena, ring), RING_LOG2(ring), &at);
		for (i = 0; i < count; i++) {
			struct plain_ask *a = &asks[i];

			a->allowed = a->cost <= limit &&
				     v.used + units <= limit - a->cost;
			if (unlikely(!a->allowed)) {
				/* A copy, so that `v` needs no address. */
				struct view then = v;

				end = PLAIN_DENIED;
				deny(&then, a, (uint32_t)units);
				continue;
			}
			units += a->cost;
			a->verdict->remaining =
				limit - (uint32_t)(v.used + units);
		}
		if (units == 0) {
			/* Nothing was decided since: the denials are true. */
			if (claim_unchanged(&org->gate, version))
				return PLAIN_DENIED;
			continue;
		}
		window_charge(&v, EXACT_BITS, (uint32_t)units);
		claim_begin(c);
		claim_add(c, v.word, v.from, v.to);
		add_keys(c, asks, count);
		if (!claim_commit_to(c, &org->gate, version,
				     step_next(&at, version))) {
			if (c->counters != NULL)
				counter_add(&c->counters->retries, 1);
			continue;
		}
		window_charged(&v);
		told_from(&told, &v, window_rests_ms(&v), window_more_ms(&v));
		for (i = 0; i < count; i++) {
			struct verdict *to = asks[i].verdict;

			if (unlikely(!asks[i].allowed))
				continue;
			tell(to, &told);
			to->reason = REASON_ALLOW;
			to->charged = asks[i].cost;
			to->credits = to->budget = CREDITS_NONE;
		}
		return end;
	}
}

enum plain_end plain_run(struct claim *c, struct org *org,
			 const struct plan *plan, struct plain_ask *asks,
			 unsigned count, const struct instant *now)
{
	check(count <= PLAIN_ASKS_MAX);
	/* Most often it is one, and then the compiler leaves the loops out. */
	if (likely(count == 1))
		return run(c, org, plan, asks, 1, now);
	return run(c, org, plan, asks, count, now);
}
