/* SPDX-License-Identifier: MIT */
#include "gate/step.h"

#include "base/check.h"
#include "base/counters.h"
#include "gate/explain.h"
#include "gate/own.h"
#include "gate/prior.h"

/* Words that a check changes at most besides its rules and pools: its key's
 * total, the cell, the hold, the request id's two, and the budgets. */
#define ASK_WORDS (5 + PROJECT_BUDGETS_MAX)
static_assert(PLAN_RULES_MAX + CREDIT_POOLS_MAX + ASK_WORDS <= CLAIM_WORDS_MAX,
	      "any one check fits");
static_assert(2 * PLAN_RULES_MAX <= STEP_VIEWS_MAX, "and its rules");

/* ---- words ---- */

struct change *step_change(struct step *s, word_t *w)
{
	struct change *c;
	unsigned i;

	for (i = 0; i < s->changes_count; i++)
		if (s->changes[i].word == w)
			return &s->changes[i];
	check(s->changes_count < CLAIM_WORDS_MAX);
	c = &s->changes[s->changes_count++];
	c->word = w;
	c->from = c->to = claim_load(w);
	return c;
}

uint64_t step_value(const struct step *s, const word_t *w)
{
	unsigned i;

	for (i = 0; i < s->changes_count; i++)
		if (s->changes[i].word == w)
			return s->changes[i].to;
	return claim_load(w);
}

/* ---- budgets ---- */

/* The budget that this check would break, or -1. */
static int budget_short(struct step *s, const struct ask *a)
{
	int i;

	for (i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &a->project->budgets[i];
		struct budget_view v;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, step_value(s, &b->used),
			    step_value(s, &b->returned), s->wall_ms, &v);
		a->verdict->budget = v.left < a->verdict->budget
					     ? v.left
					     : a->verdict->budget;
		if (a->cost > v.left)
			return i;
	}
	return -1;
}

void step_crossed(struct step *s, struct project *p)
{
	/* PAIRS: the control thread's exchange, which then looks at the words
	 * themselves: a mere nudge. */
	atomic_store_explicit(&p->attention, 1, memory_order_relaxed);
	atomic_store_explicit(&s->arena->header->attention, 1,
			      memory_order_relaxed);
	if (s->counters != NULL)
		counter_add(&s->counters->thresholds, 1);
}

void step_charge_budget(struct step *s, struct project *p, unsigned i,
			uint64_t units, struct budget_view *ret_before)
{
	struct budget *b = &p->budgets[i];
	struct change *c = step_change(s, &b->used);

	budget_read(b, c->to, step_value(s, &b->returned), s->wall_ms,
		    ret_before);
	c->to = BUDGET_WORD(ret_before->period, ret_before->used + units);
	if (unlikely(budget_crosses(ret_before, units)))
		step_crossed(s, p);
}

static void charge_budgets(struct step *s, const struct ask *a)
{
	unsigned i;

	for (i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		struct budget_view v;

		if (claim_load(&a->project->budgets[i].cap) == BUDGET_NONE) {
			if (a->hold != NULL)
				atomic_store_explicit(&a->hold->budget[i], 0,
						      memory_order_relaxed);
			continue;
		}
		step_charge_budget(s, a->project, i, a->cost, &v);
		if (v.left - a->cost < a->verdict->budget)
			a->verdict->budget = v.left - a->cost;
		if (a->hold != NULL)
			/* PAIRS: nothing yet: published by the claim. */
			atomic_store_explicit(&a->hold->budget[i],
					      BUDGET_WORD(v.period, a->cost),
					      memory_order_relaxed);
	}
}

/* ---- rules ---- */

static bool applies(const struct rule *r, const struct ask *a)
{
	return r->route == 0 || r->route == a->route;
}

struct view *step_view(struct step *s, struct ask *a, unsigned i)
{
	const struct rule *r = &s->plan->rules[i];
	const struct ask_meter *at = &a->at[i];
	struct view *v;
	unsigned k;

	if (!applies(r, a))
		return NULL;
	if (likely(r->level == LEVEL_ORG))
		return &s->views[i];
	if (r->level == LEVEL_ADDRESS || at->meter == NULL)
		return NULL;
	if (unlikely(r->prior[0] != 0))
		return prior_view(s, a, i);
	for (k = s->plan->rules_count; k < s->views_count; k++)
		if (s->views[k].meter == at->meter && s->views[k].rule == r)
			return &s->views[k];
	v = &s->views[s->views_count++];
	view_read(v, s->arena, r, at->meter, at->entries, at->entries_log2,
		  &s->now);
	return v;
}

static inline void tell(struct verdict *v, const struct rule *r,
			const struct meter_answer *m)
{
	v->limit = m->limit;
	v->remaining = m->remaining;
	v->window_ms =
		m->window_ms < UINT32_MAX ? (uint32_t)m->window_ms : UINT32_MAX;
	v->reset_ms =
		m->reset_ms < UINT32_MAX ? (uint32_t)m->reset_ms : UINT32_MAX;
	v->retry_ms =
		m->retry_ms < UINT32_MAX ? (uint32_t)m->retry_ms : UINT32_MAX;
	memcpy(v->limit_name, r->name, sizeof(v->limit_name));
}
static_assert(sizeof(((struct verdict *)0)->limit_name) == RULE_NAME_LEN,
	      "a rule's name");

/* Do all rules allow it? What those in the shadow say is noted. */
static bool rules_fit(struct step *s, struct ask *a)
{
	const struct rule *rules = s->plan->rules;
	unsigned i;

	for (i = 0; i < s->plan->rules_count; i++) {
		const struct view *v = step_view(s, a, i);

		if (v == NULL || view_fits(v, rule_units(&rules[i], a->cost)))
			continue;
		if ((rules[i].flags & RULE_SHADOW) == 0)
			return false;
		a->shadow |= (uint16_t)(1u << i);
	}
	return true;
}

/* The numbers of the rule with the longest wait; returns that. */
static uint64_t tell_denied(struct step *s, struct ask *a)
{
	struct meter_answer m, worst = {.fits = true};
	const struct rule *rules = s->plan->rules;
	unsigned i;

	for (i = 0; i < s->plan->rules_count; i++) {
		const struct view *v = step_view(s, a, i);
		uint32_t units = rule_units(&rules[i], a->cost);

		if (v == NULL)
			continue;
		if (rules[i].flags & RULE_SHADOW) {
			if (!view_fits(v, units))
				a->shadow |= (uint16_t)(1u << i);
			continue;
		}
		if (view_fits(v, units))
			continue;
		view_answer(v, units, &m);
		if (!worst.fits && step_wait(&worst) >= step_wait(&m))
			continue;
		worst = m;
		a->tripped = (int8_t)i;
	}
	tell(a->verdict, &rules[a->tripped], &worst);
	return step_wait(&worst);
}

/* The numbers of the rule with the least room. */
static void tell_least(struct step *s, struct ask *a)
{
	const struct rule *rules = s->plan->rules;
	const struct view *told = NULL;
	uint32_t least = UINT32_MAX; /* more than any limit */
	struct meter_answer m;
	unsigned i;

	for (i = 0; i < s->plan->rules_count; i++) {
		const struct view *v = step_view(s, a, i);

		if (v == NULL || rules[i].flags & RULE_SHADOW)
			continue;
		if (view_less(v, &least))
			told = v;
	}
	if (told == NULL)
		return;
	view_answer(told, 0, &m);
	tell(a->verdict, told->rule, &m);
}

/* No unit passes of a subject that there is no room for. */
static void tell_full(struct verdict *v, const struct rule *r)
{
	const struct meter_answer m = {.limit = r->limit,
				       .window_ms = r->period_ms};

	tell(v, r, &m);
}

static enum reason denied_by(const struct step *s, const struct ask *a)
{
	const struct rule *r = &s->plan->rules[a->tripped];

	if (rule_units(r, a->cost) > r->limit)
		return REASON_COST_ABOVE_LIMIT;
	return r->algorithm == RULE_CONCURRENCY ? REASON_CONCURRENCY
						: REASON_RATE_LIMITED;
}

/* ---- one check ---- */

/* What a hold says of the lease of rule `i`; 0: it has taken none. */
static uint64_t lease_of(struct step *s, struct ask *a, unsigned i)
{
	const struct rule *r = &s->plan->rules[i];
	const struct view *v;

	if (r->algorithm != RULE_CONCURRENCY)
		return 0;
	if (r->level == LEVEL_ADDRESS)
		return a->pending & 1u << i
			       ? claim_offset(s->arena,
					      &a->at[i].meter->level) |
					 LEASE_OUTSIDE
			       : 0;
	v = step_view(s, a, i);
	return v != NULL && !(a->shadow & 1u << i)
		       ? claim_offset(s->arena, v->word)
		       : 0;
}

static void fill_hold(struct step *s, struct ask *a)
{
	struct hold *h = a->hold;
	unsigned i, leases = 0;

	/* PAIRS: settle's loads, acquire on state: published by the claim
	 * that makes it live. Until then nobody else looks. */
	for (i = 0; i < s->plan->rules_count; i++) {
		uint64_t lease = lease_of(s, a, i);

		if (lease != 0 && leases < HOLD_LEASES_MAX)
			atomic_store_explicit(&h->leases[leases++], lease,
					      memory_order_relaxed);
	}
	while (leases < HOLD_LEASES_MAX)
		atomic_store_explicit(&h->leases[leases++], 0,
				      memory_order_relaxed);
	step_no_draws(h);
	atomic_store_explicit(&h->units, a->cost, memory_order_relaxed);
	atomic_store_explicit(&h->until, s->now.ticks + a->hold_ticks,
			      memory_order_relaxed);
}

static void charge(struct step *s, struct ask *a)
{
	struct change *c;
	unsigned i;

	for (i = 0; i < s->plan->rules_count; i++) {
		struct view *v = step_view(s, a, i);

		if (v != NULL && !(a->shadow & 1u << i))
			view_charge(v, rule_units(&s->plan->rules[i], a->cost));
	}
	c = step_change(s, &a->key->used);
	c->to = used_add(c->to, a->cost, 1);
	if (a->cell != NULL && a->route != 0) {
		c = step_change(s, &a->cell->used);
		c->to = used_add(c->to, a->cost, 1);
	}
	if (a->project != NULL)
		charge_budgets(s, a);
	if (a->hold != NULL)
		fill_hold(s, a);
	if (s->credits != NULL) {
		step_draw(s, a->cost, a->route, a->hold);
		a->verdict->credits = step_credits(s, a->route);
	}
	if (a->hold != NULL) {
		c = step_change(s, &a->hold->state);
		c->to = c->from | 1;
		a->verdict->hold = a->hold_id;
		a->verdict->hold_ms = a->hold_ticks / CLOCK_TICKS_PER_MS;
	}
	if (a->once != NULL) {
		step_change(s, &a->once[0])->to =
			ONCE_WORD(s->now.ns, a->hold != NULL);
		if (a->hold != NULL)
			step_change(s, &a->once[1])->to = a->hold_id;
	}
	a->verdict->charged = a->cost;
}

/* Has the same been asked, and allowed, a moment ago? */
static bool repeated(struct step *s, const struct ask *a)
{
	uint64_t when = step_value(s, &a->once[0]);

	if (when == 0 || ONCE_NS(when) + s->once_ns <= s->now.ns)
		return false;
	if (ONCE_HELD(when))
		a->verdict->hold = step_value(s, &a->once[1]);
	a->verdict->flags |= VERDICT_REPEATED;
	return true;
}

/* Does a rule of the organization deny the check too, and does it wait longer
 * than the one outside, or as long and come first? Then it has been told. */
static bool outwaits(struct step *s, struct ask *a)
{
	uint64_t outside = step_wait(&a->outside), own;

	if (rules_fit(s, a))
		return false;
	own = tell_denied(s, a);
	return own > outside ||
	       (own == outside && a->tripped < a->outside_rule);
}

/* What was refused before the organization was asked. */
static void decide_refused(struct step *s, struct ask *a)
{
	struct verdict *v = a->verdict;

	if (a->outside_rule < 0) {
		a->shadow = 0; /* no rule was asked */
		tell_least(s, a);
		v->reason = a->refused;
		v->retry_ms = 0; /* waiting does not help */
	} else if (outwaits(s, a)) {
		v->reason = (uint8_t)denied_by(s, a);
	} else {
		a->tripped = a->outside_rule;
		v->reason = a->refused;
		tell(v, &s->plan->rules[a->tripped], &a->outside);
	}
}

static void decide(struct step *s, struct ask *a)
{
	struct verdict *v = a->verdict;

	v->flags = 0;
	v->charged = 0;
	v->hold = v->hold_ms = 0;
	v->credits = v->budget = CREDITS_NONE;
	v->reason = REASON_ALLOW;
	a->tripped = -1;
	a->shadow = a->outside_shadow;
	if (a->once != NULL && repeated(s, a)) {
		step_tell_left(s, a->project, a->route, v);
		tell_least(s, a);
		return;
	}
	if (unlikely(a->refused != REASON_ALLOW && a->refused != REASON_FULL)) {
		decide_refused(s, a);
		return;
	}
	if (!rules_fit(s, a)) {
		tell_denied(s, a);
		v->reason = (uint8_t)denied_by(s, a);
		return;
	}
	if (a->project != NULL && budget_short(s, a) >= 0)
		v->reason = REASON_BUDGET;
	if (s->credits != NULL) {
		v->credits = step_credits(s, a->route);
		if (v->reason == REASON_ALLOW && a->cost > v->credits)
			v->reason = REASON_CREDITS;
	}
	if (v->reason == REASON_ALLOW)
		v->reason = a->refused;
	if (v->reason == REASON_ALLOW && !a->peek)
		charge(s, a);
	if (unlikely(v->reason == REASON_FULL) && a->full_rule >= 0)
		tell_full(v, &s->plan->rules[a->full_rule]);
	else
		tell_least(s, a);
	if (v->reason != REASON_ALLOW)
		v->retry_ms = step_budget_wait(s, a);
}

static __attribute__((noinline)) void decide_explained(struct step *s,
						       struct ask *a)
{
	explain_rules(a->explain, s, a);
	decide(s, a);
	explain_verdict(a->explain, a);
}

/* ---- an attempt ---- */

static void read_rules(struct step *s)
{
	unsigned i;

	s->views_count = s->plan->rules_count;
	s->changes_count = 0;
	for (i = 0; i < s->plan->rules_count; i++) {
		const struct rule *r = &s->plan->rules[i];

		if (r->level == LEVEL_ORG)
			view_read(&s->views[i], s->arena, r,
				  org_meter(s->arena, s->org, r->meter), NULL,
				  0, &s->now);
		else
			s->views[i].from = s->views[i].to = 0;
	}
}

static bool room_for_another(const struct step *s)
{
	unsigned pools = s->credits != NULL ? s->credits->count : 0;
	unsigned rules = s->plan->rules_count;

	return s->views_count + rules <= STEP_VIEWS_MAX &&
	       s->views_count + s->changes_count + rules + pools + ASK_WORDS <=
		       CLAIM_WORDS_MAX;
}

bool step_commit(struct step *s, uint64_t version)
{
	unsigned i, words = 0;

	claim_begin(s->claim);
	for (i = 0; i < s->views_count; i++) {
		const struct view *v = &s->views[i];

		if (v->from == v->to)
			continue;
		claim_add(s->claim, v->word, v->from, v->to);
		words++;
	}
	for (i = 0; i < s->changes_count; i++) {
		const struct change *c = &s->changes[i];

		if (c->from == c->to)
			continue;
		claim_add(s->claim, c->word, c->from, c->to);
		words++;
	}
	if (words == 0) /* nothing was decided since: what was said is true */
		return claim_unchanged(&s->org->gate, version);
	return claim_commit_to(s->claim, &s->org->gate, version,
			       step_next(&s->now, version));
}

/* Returns how many checks were decided, in one claim; 0: it was lost. */
static unsigned attempt(struct step *s, unsigned from,
			const struct instant *now)
{
	uint64_t version = claim_settle(s->arena, &s->org->gate, s->counters);
	unsigned i;

	s->now = step_instant(now, version);
	step_read_credits(s);
	read_rules(s);
	for (i = from; i < s->count; i++) {
		if (i > from && !room_for_another(s))
			break;
		if (unlikely(s->asks[i].explain != NULL))
			decide_explained(s, &s->asks[i]);
		else
			decide(s, &s->asks[i]);
	}
	if (!step_commit(s, version))
		return 0;
	return i - from;
}

/* What is counted without being claimed: denials charge nobody. */
static void count(struct step *s, const struct ask *a)
{
	struct rule *rules = (struct rule *)(uintptr_t)s->plan->rules;
	unsigned i;

	if (a->peek)
		return;
	/* PAIRS: nothing, here and below: numbers to be shown. */
	if (a->tripped >= 0 && a->verdict->reason != REASON_ALLOW)
		atomic_fetch_add_explicit(&rules[a->tripped].tripped, 1,
					  memory_order_relaxed);
	for (i = 0; a->shadow >> i != 0; i++)
		if (a->shadow & 1u << i)
			atomic_fetch_add_explicit(&rules[i].tripped, 1,
						  memory_order_relaxed);
}

static __attribute__((noinline)) void run_from(struct step *s, unsigned from,
					       const struct instant *now)
{
	unsigned done, i;

	while (from < s->count) {
		done = attempt(s, from, now);
		if (done == 0) {
			if (s->counters != NULL)
				counter_add(&s->counters->retries, 1);
			continue;
		}
		for (i = 0; i < s->views_count; i++)
			if (s->views[i].from != s->views[i].to)
				view_charged(&s->views[i]);
		for (i = from; i < from + done; i++)
			count(s, &s->asks[i]);
		from += done;
	}
}

void step_run(struct step *s, const struct instant *now, uint64_t wall_ms)
{
	s->wall_ms = wall_ms;
	if (s->count == 1 && !s->denied && own_run(s, &s->asks[0], now))
		return;
	run_from(s, 0, now);
}
