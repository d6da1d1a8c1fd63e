/* SPDX-License-Identifier: MIT */
#include "gate/explain.h"

#include "gate/step.h"

#include <string.h>

static_assert(EXPLAIN_BUDGET > RULE_CONCURRENCY &&
		      EXPLAIN_CREDITS > RULE_CONCURRENCY,
	      "no algorithms");
static_assert(LIMIT_NAME_LEN == RULE_NAME_LEN, "a rule's name");

void explain_begin(struct explaining *x)
{
	x->said_by = 0;
	x->out.count = 0;
}

void explain_outside(struct explaining *x, unsigned i,
		     const struct meter_answer *m)
{
	if (x->said_by & 1u << i && !x->said[i].fits)
		return;
	x->said_by |= (uint16_t)(1u << i);
	x->said[i] = *m;
}

void explain_full(struct explaining *x, const struct rule *rule, unsigned i,
		  bool pass)
{
	const struct meter_answer m = {
		.fits = pass,
		.limit = rule->limit,
		.remaining = pass ? rule->limit : 0,
		.window_ms = rule->period_ms,
	};

	explain_outside(x, i, &m);
}

static struct explain_line *add_line(struct explaining *x, const char *name,
				     size_t len)
{
	struct explain_line *l = &x->out.lines[x->out.count++];

	memset(l, 0, sizeof(*l));
	memcpy(l->name, name, len);
	return l;
}

static void add_rule(struct explaining *x, const struct rule *r,
		     const struct meter_answer *m)
{
	struct explain_line *l = add_line(x, r->name, sizeof(r->name));

	l->level = r->level;
	l->algorithm = r->algorithm;
	l->flags = r->flags & RULE_SHADOW ? EXPLAIN_SHADOW : 0;
	l->allowed = m->fits;
	l->limit = m->limit;
	l->remaining = m->remaining;
	l->window_ms = m->window_ms;
	l->reset_ms = m->reset_ms;
	l->retry_ms = m->retry_ms;
}

static void add_budgets(struct explaining *x, const struct step *s,
			const struct ask *a)
{
	static const char names[PROJECT_BUDGETS_MAX][LIMIT_NAME_LEN] = {
		"budget", "budget.1"};

	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &a->project->budgets[i];
		struct explain_line *l;
		struct budget_view v;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, step_value(s, &b->used),
			    step_value(s, &b->returned), s->wall_ms, &v);
		l = add_line(x, names[i], sizeof(names[i]));
		l->level = LEVEL_PROJECT;
		l->algorithm = EXPLAIN_BUDGET;
		l->allowed = a->cost <= v.left;
		l->limit = v.cap;
		l->remaining = v.left;
		l->reset_ms = budget_rest_ms(b, &v, s->wall_ms);
		if (!l->allowed && a->cost <= v.cap)
			l->retry_ms = l->reset_ms;
	}
}

static void add_credits(struct explaining *x, const struct step *s,
			const struct ask *a)
{
	struct explain_line *l = add_line(x, "credits", sizeof("credits"));
	unsigned i;

	l->level = LEVEL_ORG;
	l->algorithm = EXPLAIN_CREDITS;
	for (i = 0; i < s->credits->count; i++) {
		const struct pool *p = &s->credits->pools[i];

		/* As if nothing had been used of it. */
		l->limit += pool_left(p, 0, 0, a->route, s->wall_ms);
	}
	l->remaining = step_credits(s, a->route);
	l->allowed = a->cost <= l->remaining;
}

void explain_rules(struct explaining *x, struct step *s, struct ask *a)
{
	const struct rule *rules = s->plan->rules;
	unsigned i;

	x->out.count = 0; /* of an attempt that was lost */
	for (i = 0; i < s->plan->rules_count; i++) {
		struct meter_answer m;
		const struct view *v;

		x->line_of[i] = EXPLAIN_NO_LINE;
		if (x->said_by & 1u << i) {
			m = x->said[i];
		} else {
			v = step_view(s, a, i);
			if (v == NULL)
				continue;
			view_answer(v, rule_units(&rules[i], a->cost), &m);
		}
		x->line_of[i] = x->out.count;
		add_rule(x, &rules[i], &m);
	}
	if (a->project != NULL)
		add_budgets(x, s, a);
	if (s->credits != NULL)
		add_credits(x, s, a);
}

static void mark_rule(struct explaining *x, int rule)
{
	if (rule >= 0 && x->line_of[rule] != EXPLAIN_NO_LINE)
		x->out.lines[x->line_of[rule]].flags |= EXPLAIN_DECIDED;
}

/* The first that denies. */
static void mark_kind(struct explaining *x, uint8_t algorithm)
{
	for (unsigned i = 0; i < x->out.count; i++) {
		struct explain_line *l = &x->out.lines[i];

		if (l->algorithm != algorithm || l->allowed)
			continue;
		l->flags |= EXPLAIN_DECIDED;
		return;
	}
}

void explain_verdict(struct explaining *x, const struct ask *a)
{
	switch (a->verdict->reason) {
	case REASON_RATE_LIMITED:
	case REASON_CONCURRENCY:
	case REASON_COST_ABOVE_LIMIT:
		mark_rule(x, a->tripped);
		return;
	case REASON_FULL:
		mark_rule(x, a->full_rule);
		return;
	case REASON_BUDGET:
		mark_kind(x, EXPLAIN_BUDGET);
		return;
	case REASON_CREDITS:
		mark_kind(x, EXPLAIN_CREDITS);
		return;
	default:
		return;
	}
}
