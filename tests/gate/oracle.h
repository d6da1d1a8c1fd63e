/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_ORACLE_H
#define STILE_TESTS_GATE_ORACLE_H

/*
 * tests/gate/oracle - what an organization has to answer, worked out naively:
 * every admission in a list that is added up anew for each question, a bucket
 * as its definition says, leases, pools and holds as plain numbers. It shares
 * no code with src/gate and runs in one thread, one check after the other.
 *
 * Time is in nanoseconds; windows count in ticks of 4 us, as they promise.
 */
#include "oracle_state.h"

#include "base/check.h"

#include <string.h>

/* The subject of this check that a rule means; -1: it does not look at it. */
static inline int o_subject(const struct oracle *o, unsigned rule,
			    const struct o_ask *a)
{
	const struct o_rule *r = &o->rules[rule];

	if (r->route != 0 && r->route != a->route)
		return -1;
	if (r->level == O_ORG)
		return 0;
	if (r->level == O_KEY)
		return (int)a->key;
	if (r->level == O_PROJECT)
		return (int)o->key_project[a->key] - 1;
	return (int)a->route - 1;
}

static inline uint32_t o_units(const struct o_rule *r, uint32_t cost)
{
	return r->kind == O_FLIGHT || r->requests ? cost != 0 : cost;
}

/* ---- rules ---- */

/* Units in the window of which `tick` is the end. */
static inline uint64_t o_in_window(const struct o_rule *r,
				   const struct o_count *c, uint64_t tick)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = c->count; i > 0; i--) {
		if (c->log[i - 1].tick + r->span < tick)
			break;
		sum += c->log[i - 1].units;
	}
	return sum;
}

static inline bool o_fits(const struct o_rule *r, const struct o_count *c,
			  uint32_t units, uint64_t ns)
{
	if (units > r->limit)
		return false;
	if (r->kind == O_WINDOW)
		return o_in_window(r, c, ns / O_TICK_NS) + units <= r->limit;
	if (r->kind == O_FLIGHT)
		return c->leases + units <= r->limit;
	/* All its units at once must conform: the last one does. */
	return units == 0 || (c->tat > ns ? c->tat : ns) + units * r->unit_ns <=
				     ns + r->limit * r->unit_ns;
}

static inline void o_charge(const struct o_rule *r, struct o_count *c,
			    uint32_t units, uint64_t ns)
{
	uint64_t tick = ns / O_TICK_NS;
	unsigned gone = 0;

	if (r->kind == O_FLIGHT) {
		c->leases += units;
		return;
	}
	if (r->kind == O_BUCKET) {
		c->tat = (c->tat > ns ? c->tat : ns) + units * r->unit_ns;
		return;
	}
	if (c->count == O_LOG) {
		while (gone < c->count && c->log[gone].tick + r->span < tick)
			gone++;
		check(gone > 0);
		memmove(c->log, c->log + gone,
			(c->count - gone) * sizeof(c->log[0]));
		c->count -= gone;
	}
	c->log[c->count].tick = tick;
	c->log[c->count++].units = units;
}

/* Ticks as ms: the last one is left out (gate/meter.c, ticks_to_ms). */
static inline uint32_t o_ms(uint64_t ticks)
{
	return ticks == 0   ? 0
	       : ticks == 1 ? 1
			    : (uint32_t)((ticks - 1 + 249) / 250);
}

static inline void o_numbers(const struct o_rule *r, const struct o_count *c,
			     uint32_t units, bool fits, uint64_t ns,
			     struct o_answer *out)
{
	uint64_t tick = ns / O_TICK_NS, left, at, sum;
	unsigned i;

	out->numbers = true;
	out->limit = r->limit;
	out->reset_ms = out->retry_ms = 0;
	if (r->kind == O_FLIGHT) {
		out->remaining =
			c->leases < r->limit ? r->limit - c->leases : 0;
		out->reset_ms = c->leases ? (uint32_t)(r->span / 250) : 0;
		if (!fits && units <= r->limit)
			out->retry_ms =
				out->reset_ms < 1000 ? out->reset_ms : 1000;
		return;
	}
	if (r->kind == O_BUCKET) {
		uint64_t owed = c->tat > ns ? c->tat - ns : 0, wait = 0;
		uint64_t whole = r->limit * r->unit_ns;

		left = owed < whole ? whole - owed : 0;
		out->remaining = (uint32_t)(left / r->unit_ns);
		out->reset_ms = (uint32_t)((owed + 999999) / 1000000);
		if (!fits && units <= r->limit)
			wait = owed + units * r->unit_ns - whole;
		else if (fits && owed != 0)
			wait = (out->remaining + 1) * r->unit_ns - left;
		out->retry_ms = (uint32_t)((wait + 999999) / 1000000);
		return;
	}
	sum = o_in_window(r, c, tick);
	out->remaining = sum < r->limit ? r->limit - (uint32_t)sum : 0;
	if (c->count > 0 && c->log[c->count - 1].tick + r->span >= tick)
		out->reset_ms =
			o_ms(c->log[c->count - 1].tick + r->span + 1 - tick);
	if (!fits && units > r->limit)
		return;
	/* The first instant at which it fits, or at which something leaves. */
	for (i = 0; i < c->count; i++) {
		at = c->log[i].tick + r->span + 1;
		if (at <= tick)
			continue;
		if (fits || o_in_window(r, c, at) + units <= r->limit) {
			out->retry_ms = o_ms(at - tick);
			return;
		}
	}
}

/* ---- budgets and credits ---- */

static inline uint64_t o_period(const struct oracle *o,
				const struct o_budget *b)
{
	uint64_t p = b->now_period;

	if (o->wall_ms >= b->ends_ms)
		p++;
	if (o->wall_ms >= b->next_ends_ms)
		p++;
	return b->period > p ? b->period : p;
}

/* Until its period ends, ms; 0: not known. */
static inline uint64_t o_budget_rest(const struct oracle *o,
				     const struct o_budget *b)
{
	const uint64_t ends_ms[] = {b->ends_ms, b->next_ends_ms};
	uint64_t ahead = o_period(o, b) - b->now_period;

	return ahead < 2 && ends_ms[ahead] > o->wall_ms
		       ? ends_ms[ahead] - o->wall_ms
		       : 0;
}

/* Brings it to the period of now. */
static inline struct o_budget *o_budget_now(struct oracle *o, unsigned project,
					    unsigned i)
{
	struct o_budget *b = &o->budgets[project][i];
	uint64_t p = o_period(o, b);

	if (p != b->period) {
		b->period = p;
		b->used = b->returned = 0;
	}
	return b;
}

static inline uint64_t o_budget_left(struct oracle *o, unsigned project,
				     unsigned i)
{
	const struct o_budget b = o->budgets[project][i];
	uint64_t spent = o_period(o, &b) == b.period ? b.used - b.returned : 0;

	return spent < b.cap ? b.cap - spent : 0;
}

static inline void o_budget_charge(struct oracle *o, unsigned project,
				   unsigned i, uint64_t units)
{
	struct o_budget *b = o_budget_now(o, project, i);
	uint64_t before = b->used - b->returned, after = before + units;
	const unsigned percent[] = {50, 80, 100};
	unsigned k;

	for (k = 0; k < 3; k++)
		if (before < b->cap * percent[k] / 100 &&
		    after >= b->cap * percent[k] / 100)
			o->attention[project] = true;
	b->used += units;
}

static inline uint64_t o_pool_left(const struct oracle *o, unsigned i,
				   unsigned route)
{
	const struct o_pool *p = &o->pools[i];
	uint64_t in = p->granted + p->returned, out = p->used + p->withdrawn;

	if ((p->route != 0 && p->route != route) ||
	    (p->expires_ms != 0 && p->expires_ms <= o->wall_ms))
		return 0;
	return in > out ? in - out : 0;
}

static inline uint64_t o_credits(const struct oracle *o, unsigned route)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < o->pools_count; i++)
		sum += o_pool_left(o, i, route);
	return sum;
}

/* `h` remembers from which; or NULL. */
static inline void o_draw(struct oracle *o, uint64_t units, unsigned route,
			  struct o_hold *h)
{
	unsigned i;

	for (i = 0; i < o->pools_count; i++)
		while (units > 0 && o_pool_left(o, i, route) > 0) {
			o->pools[i].used++;
			units--;
			if (h != NULL)
				h->drawn[i]++;
		}
	check(units == 0);
}

static inline void o_give_back(struct oracle *o, uint64_t units,
			       const struct o_hold *h)
{
	unsigned i;

	check(o->pools_count <= HOLD_DRAWS_MAX); /* a hold tells them apart */
	for (i = o->pools_count; i-- > 0;) {
		uint64_t give = units < h->drawn[i] ? units : h->drawn[i];

		o->pools[i].returned += give;
		units -= give;
	}
	check(units == 0);
}

/* ---- a check ---- */

static inline struct o_id *o_id(struct oracle *o, const struct o_ask *a,
				uint64_t ns)
{
	unsigned i;

	for (i = 0; i < O_IDS && a->name != 0 && !a->peek; i++)
		if (o->ids[i].known && o->ids[i].key == a->key &&
		    o->ids[i].name == a->name && o->ids[i].cost == a->cost &&
		    ns < o->ids[i].when_ns + o->once_ns)
			return &o->ids[i];
	return NULL;
}

/* The rule with the least room. */
static inline void o_least(struct oracle *o, const struct o_ask *a, uint64_t ns,
			   struct o_answer *out)
{
	unsigned i;

	for (i = 0; i < o->rules_count; i++) {
		struct o_answer one = *out;
		int s = o_subject(o, i, a);

		if (s < 0 || o->rules[i].shadow)
			continue;
		one.rule = i;
		/* No units do not fit when a limit was lowered below what is
		 * counted: then the wait is until they do. */
		o_numbers(&o->rules[i], &o->counts[i][s], 0,
			  o_fits(&o->rules[i], &o->counts[i][s], 0, ns), ns,
			  &one);
		if (!out->numbers || one.remaining < out->remaining)
			*out = one;
	}
}

static inline void o_deny_by_rules(struct oracle *o, const struct o_ask *a,
				   uint64_t ns, struct o_answer *out)
{
	uint64_t longest = 0;
	unsigned i;

	for (i = 0; i < o->rules_count; i++) {
		const struct o_rule *r = &o->rules[i];
		struct o_answer one = *out;
		int s = o_subject(o, i, a);
		uint32_t units = o_units(r, a->cost);
		uint64_t wait;

		if (s < 0 || r->shadow ||
		    o_fits(r, &o->counts[i][s], units, ns))
			continue;
		one.rule = i;
		o_numbers(r, &o->counts[i][s], units, false, ns, &one);
		wait = one.retry_ms != 0 ? one.retry_ms : UINT64_MAX;
		if (wait <= longest)
			continue;
		longest = wait;
		*out = one;
		out->reason = units > r->limit      ? REASON_COST_ABOVE_LIMIT
			      : r->kind == O_FLIGHT ? REASON_CONCURRENCY
						    : REASON_RATE_LIMITED;
	}
}

/* `hold_id` is what the hold is called if it gets one. */
static inline void o_admit(struct oracle *o, const struct o_ask *a, uint64_t ns,
			   uint64_t hold_id, const bool *shadow,
			   struct o_answer *out)
{
	unsigned project = o->key_project[a->key], i;
	struct o_hold *h = NULL;
	bool leased = false;
	uint64_t ticks = 0;

	for (i = 0; i < o->rules_count; i++) {
		const struct o_rule *r = &o->rules[i];

		if (r->kind != O_FLIGHT || o_subject(o, i, a) < 0)
			continue;
		leased = true;
		if (r->span > ticks)
			ticks = r->span;
	}
	if (a->reserve) {
		uint64_t ms = a->hold_ms != 0 ? a->hold_ms : o->hold_ms;

		if (ms * 250 > ticks)
			ticks = ms * 250;
	}
	if (leased || a->reserve) {
		for (h = o->holds; h->id != 0; h++)
			check(h < &o->holds[O_HOLDS - 1]);
		memset(h, 0, sizeof(*h));
		h->id = hold_id;
		h->key = a->key;
		h->route = a->route;
		h->units = a->cost;
		h->until_tick = ns / O_TICK_NS + ticks;
		h->keep = !a->reserve || o->hold_keep;
		out->hold = true;
		out->hold_ms = ticks / 250;
	}
	for (i = 0; i < o->rules_count; i++) {
		int s = o_subject(o, i, a);

		if (s < 0 || shadow[i])
			continue;
		o_charge(&o->rules[i], &o->counts[i][s],
			 o_units(&o->rules[i], a->cost), ns);
		if (h != NULL && o->rules[i].kind == O_FLIGHT) {
			h->leased[i] = true;
			h->subject[i] = (unsigned)s;
		}
	}
	o->key_checks[a->key]++;
	o->key_units[a->key] += a->cost;
	for (i = 0; project != 0 && i < O_BUDGETS; i++) {
		if (!o->budgets[project][i].on)
			continue;
		o_budget_charge(o, project, i, a->cost);
		if (h != NULL) {
			h->budgeted[i] = true;
			h->budget_period[i] = o->budgets[project][i].period;
		}
	}
	if (o->pools_count > 0)
		o_draw(o, a->cost, a->route, h);
	if (a->name != 0) {
		struct o_id *id = &o->ids[o->ids_next++ % O_IDS];

		/* Those that are overwritten must be too old to matter. */
		check(!id->known || id->when_ns + o->once_ns <= ns);
		*id = (struct o_id){true,    a->key, a->name,
				    a->cost, ns,     h != NULL ? hold_id : 0};
	}
	out->charged = a->cost;
	o->allowed++;
}

/* Until all budgets that are too small for it have begun anew, ms; 0: none is,
 * or it will not pass then, or not known. */
static inline uint64_t o_budgets_wait(struct oracle *o, const struct o_ask *a,
				      unsigned project)
{
	uint64_t wait = 0;
	unsigned i;

	for (i = 0; i < O_BUDGETS; i++) {
		const struct o_budget *b = &o->budgets[project][i];
		uint64_t rest = o_budget_rest(o, b);

		if (!b->on || a->cost <= o_budget_left(o, project, i))
			continue;
		if (a->cost > b->cap || rest == 0)
			return 0;
		wait = rest > wait ? rest : wait;
	}
	return wait;
}

/* What is left for checks like these, as replies tell it. */
static inline void o_left(struct oracle *o, unsigned project, unsigned route,
			  struct o_answer *out)
{
	unsigned i;

	out->credits = o->pools_count > 0 ? o_credits(o, route) : CREDITS_NONE;
	out->budget = CREDITS_NONE;
	for (i = 0; project != 0 && i < O_BUDGETS; i++)
		if (o->budgets[project][i].on &&
		    o_budget_left(o, project, i) < out->budget)
			out->budget = o_budget_left(o, project, i);
}

/* Asks; when it is allowed and no peek, charges. */
static inline struct o_answer o_check(struct oracle *o, const struct o_ask *a,
				      uint64_t ns, uint64_t hold_id)
{
	struct o_answer out = {.reason = REASON_ALLOW,
			       .credits = CREDITS_NONE,
			       .budget = CREDITS_NONE};
	unsigned project = o->key_project[a->key], i;
	bool shadow[O_RULES] = {false};
	const struct o_id *id = o_id(o, a, ns);
	uint64_t wait = 0;

	if (id != NULL) {
		out.repeated = true;
		out.hold_id = id->hold;
		o_left(o, project, a->route, &out);
		o_least(o, a, ns, &out);
		o->repeated++;
		return out;
	}
	for (i = 0; i < o->rules_count; i++) {
		int s = o_subject(o, i, a);

		shadow[i] = s >= 0 && o->rules[i].shadow &&
			    !o_fits(&o->rules[i], &o->counts[i][s],
				    o_units(&o->rules[i], a->cost), ns);
		o->rules[i].tripped += shadow[i] && !a->peek;
	}
	o_deny_by_rules(o, a, ns, &out);
	o->rules[out.rule].tripped += out.reason != REASON_ALLOW && !a->peek;
	if (out.reason != REASON_ALLOW)
		return out;
	for (i = 0; project != 0 && i < O_BUDGETS; i++) {
		uint64_t left;

		if (!o->budgets[project][i].on || out.reason != REASON_ALLOW)
			continue;
		left = o_budget_left(o, project, i);
		if (left < out.budget)
			out.budget = left;
		if (a->cost > left)
			out.reason = REASON_BUDGET;
	}
	wait = out.reason == REASON_BUDGET ? o_budgets_wait(o, a, project) : 0;
	if (o->pools_count > 0) {
		out.credits = o_credits(o, a->route);
		if (a->cost > out.credits)
			wait = 0;
		if (out.reason == REASON_ALLOW && a->cost > out.credits)
			out.reason = REASON_CREDITS;
	}
	if (out.reason == REASON_ALLOW && !a->peek) {
		o_admit(o, a, ns, hold_id, shadow, &out);
		o_left(o, project, a->route, &out);
	}
	o_least(o, a, ns, &out);
	if (out.reason != REASON_ALLOW)
		out.retry_ms = (uint32_t)wait;
	return out;
}

/* ---- a settlement ---- */

static inline struct o_hold *o_hold(struct oracle *o, uint64_t id)
{
	unsigned i;

	for (i = 0; i < O_HOLDS; i++)
		if (o->holds[i].id == id && id != 0)
			return &o->holds[i];
	return NULL;
}

static inline struct o_answer o_settle(struct oracle *o, uint64_t id,
				       uint32_t cost)
{
	struct o_answer out = {.reason = REASON_NO_HOLD};
	struct o_hold *h = o_hold(o, id);
	unsigned project, i;
	uint64_t more;

	if (h == NULL)
		return out;
	out.reason = REASON_ALLOW;
	project = o->key_project[h->key];
	if (cost == SETTLE_AS_RESERVED)
		cost = h->units;
	for (i = 0; i < o->rules_count; i++)
		if (h->leased[i])
			o->counts[i][h->subject[i]].leases--;
	out.charged = cost;
	if (cost < h->units) {
		if (o->pools_count > 0)
			o_give_back(o, h->units - cost, h);
		for (i = 0; project != 0 && i < O_BUDGETS; i++) {
			struct o_budget *b = &o->budgets[project][i];

			if (b->on && h->budgeted[i] &&
			    h->budget_period[i] == o_period(o, b))
				b->returned += h->units - cost;
		}
	} else if (cost > h->units) {
		more = cost - h->units;
		for (i = 0; project != 0 && i < O_BUDGETS; i++)
			if (o->budgets[project][i].on &&
			    o_budget_left(o, project, i) < more) {
				more = o_budget_left(o, project, i);
				out.reason = REASON_BUDGET;
			}
		if (o->pools_count > 0 && o_credits(o, h->route) < more) {
			more = o_credits(o, h->route);
			out.reason = REASON_CREDITS;
		}
		out.charged = (uint32_t)(h->units + more);
		o->key_units[h->key] += more;
		if (o->pools_count > 0)
			o_draw(o, more, h->route, NULL);
		for (i = 0; project != 0 && i < O_BUDGETS && more > 0; i++)
			if (o->budgets[project][i].on)
				o_budget_charge(o, project, i, more);
	}
	o_left(o, project, h->route, &out);
	h->id = 0;
	o->settled++;
	return out;
}

/* The first, by its name, of the holds whose time has passed; 0: none. */
static inline uint64_t o_overdue(const struct oracle *o, uint64_t ns,
				 bool *ret_keep)
{
	uint64_t first = 0;
	unsigned i;

	for (i = 0; i < O_HOLDS; i++) {
		const struct o_hold *h = &o->holds[i];

		if (h->id == 0 || h->until_tick > ns / O_TICK_NS ||
		    (first != 0 && h->id > first))
			continue;
		first = h->id;
		*ret_keep = h->keep;
	}
	return first;
}

#endif
