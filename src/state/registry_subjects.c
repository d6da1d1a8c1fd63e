/* SPDX-License-Identifier: MIT */
/*
 * What a rule says at this moment about one of its subjects, and how it is told
 * to forget it.
 *
 * The control thread alone gives entries of tables away (registry_tend()), so
 * an entry that it has found stays the subject's while it looks at it.
 */
#include "state/registry_internal.h"

#include "gate/decide.h"
#include "gate/outside.h"
#include "gate/prior.h"
#include "gate/step.h"

#include <string.h>

/* Where a rule counts a subject. */
struct spot {
	const struct rule *rule;
	word_t *gate;
	struct meter *meter; /* NULL: nothing is known of it, it is at rest */
	word_t *entries;
	unsigned entries_log2;
	struct outside *outside; /* level address, when there is a meter */
	uint64_t full_until_ns;  /* it counts as full until then */
	struct gate_subject of;
};

static const char *const subject_words[LEVEL_COUNT] = {
	[LEVEL_PROJECT] = "a project",
	[LEVEL_KEY] = "a key",
	[LEVEL_ROUTE] = "a route",
	[LEVEL_ADDRESS] = "an address",
};

static int check_subject(struct registry *g, const struct rule *rule,
			 const struct subject_query *q)
{
	const bool given[LEVEL_COUNT] = {
		[LEVEL_PROJECT] = q->project != 0,
		[LEVEL_KEY] = q->key != 0,
		[LEVEL_ROUTE] = q->route != 0,
		[LEVEL_ADDRESS] = q->address != NULL,
	};
	bool others = false;

	for (unsigned i = LEVEL_PROJECT; i < LEVEL_COUNT; i++)
		others = others || (given[i] && i != rule->level);
	if (!others && (rule->level == LEVEL_ORG || given[rule->level]))
		return 0;
	if (rule->level == LEVEL_ORG)
		registry_fail(g, REGISTRY_INVALID,
			      "This limit counts for the organization: it "
			      "takes no subject.");
	else
		registry_fail(g, REGISTRY_INVALID,
			      "This limit counts for %s: name one, and nothing "
			      "else.",
			      subject_words[rule->level]);
	return REGISTRY_INVALID;
}

static void find_in_table(struct registry *g, const struct rule *rule,
			  const struct subject_query *q, struct spot *s)
{
	const struct gate_subject of = {
		.org = q->org,
		.project = q->project,
		.key = q->key,
		.route = q->route,
		.address = q->address,
	};
	uint64_t subject = gate_subject(g->arena, rule, &of);
	uint64_t until_ns = prior_full_until_ns(g->arena, rule);
	struct subjects table;
	struct outside *state;
	uint32_t entry;

	s->of = of;
	if (!subjects_open(&table, g->arena, rule->table))
		return;
	s->full_until_ns =
		table.full_until_ns > until_ns ? table.full_until_ns : until_ns;
	entry = subjects_find(&table, subject);
	if (entry == SUBJECTS_FULL) {
		if (rule->prior[0] == 0)
			return;
		/* Its predecessors may know it. */
		s->meter = &g->gate->rest.meter;
		s->entries = g->gate->rest_entries;
		s->entries_log2 = 3;
		return;
	}
	state = subjects_state(&table, entry);
	s->meter = &state->meter;
	s->entries = subject_entries(rule, state);
	s->entries_log2 = subject_log2(rule, table.stride);
	if (rule->level != LEVEL_ADDRESS)
		return;
	s->outside = state;
	s->gate = &state->gate;
}

static int find_spot(struct registry *g, const struct subject_query *q,
		     struct spot *ret_spot)
{
	struct org *org = &g->arena->orgs[q->org];
	const struct plan *plan = plan_of(g->arena, org);
	const struct rule *rule = NULL;
	int r;

	for (uint32_t i = 0; i < plan->rules_count && rule == NULL; i++)
		if (strlen(q->name) <= RULE_NAME_LEN &&
		    strncmp(plan->rules[i].name, q->name, RULE_NAME_LEN) == 0)
			rule = &plan->rules[i];
	if (rule == NULL) {
		registry_fail(g, REGISTRY_ABSENT, "no such limit");
		return REGISTRY_ABSENT;
	}
	r = check_subject(g, rule, q);
	if (r != 0)
		return r;
	memset(ret_spot, 0, sizeof(*ret_spot));
	ret_spot->rule = rule;
	ret_spot->gate = &org->gate;
	if (rule->level == LEVEL_ORG)
		ret_spot->meter = org_meter(g->arena, org, rule->meter);
	else
		find_in_table(g, rule, q, ret_spot);
	return 0;
}

/* As of one version of the gate. */
static void read_spot(struct registry *g, const struct spot *s,
		      const struct instant *now, struct view *ret_view,
		      struct view ret_prior[static RULE_PRIORS_MAX])
{
	uint64_t version;

	do {
		struct instant at;

		version = claim_settle(g->arena, s->gate, NULL);
		at = step_instant(now, version);
		view_read(ret_view, g->arena, s->rule, s->meter, s->entries,
			  s->entries_log2, &at);
		prior_read(g->arena, ret_view, &s->of, ret_prior);
	} while (!claim_unchanged(s->gate, version));
}

static uint64_t used_of(const struct view *v, const struct meter_answer *m)
{
	switch (v->rule->algorithm) {
	case RULE_WINDOW:
		return v->used;
	case RULE_GCRA:
		return m->limit - m->remaining;
	default:
		return v->level;
	}
}

static void tell_spot(struct registry *g, const struct spot *s,
		      struct subject_live *live)
{
	const struct rule *r = s->rule;
	struct instant now = instant_now();

	*live = (struct subject_live){
		.name = r->name,
		.level = r->level,
		.algorithm = r->algorithm,
		.shadow = (r->flags & RULE_SHADOW) != 0,
		.limit = r->limit,
		.remaining = r->limit,
		.window_ms = r->period_ms,
		/* PAIRS: nothing: a number to be shown. */
		.tripped =
			atomic_load_explicit(&r->tripped, memory_order_relaxed),
	};
	if (s->full_until_ns > now.ns) {
		live->used = r->limit;
		live->remaining = 0;
		live->reset_ms = live->retry_ms =
			(s->full_until_ns - now.ns + 999999) / 1000000;
		return;
	}
	if (s->meter != NULL) {
		struct meter_answer m;
		struct view v, prior[RULE_PRIORS_MAX];

		read_spot(g, s, &now, &v, prior);
		view_answer(&v, 0, &m);
		live->used = used_of(&v, &m);
		live->remaining = m.remaining;
		live->reset_ms = m.reset_ms;
		live->retry_ms = m.retry_ms;
	}
	if (s->outside != NULL) {
		uint64_t held = claim_load(&s->outside->held);

		live->used += held;
		live->remaining -=
			held < live->remaining ? held : live->remaining;
	}
}

int registry_subject_show(struct registry *g, const struct subject_query *q,
			  struct subject_live *ret_live)
{
	struct spot s;
	int r = find_spot(g, q, &s);

	if (r == 0)
		tell_spot(g, &s, ret_live);
	return r;
}

int registry_subject_reset(struct registry *g, const struct subject_query *q,
			   struct subject_live *ret_live)
{
	struct spot s;
	int r = find_spot(g, q, &s);

	if (r == 0 && s.rule->algorithm == RULE_CONCURRENCY)
		r = registry_fail(g, REGISTRY_IN_USE,
				  "This limit counts requests in flight: they "
				  "end when they are released or expire.");
	if (r == 0)
		r = registry_begin(g, "limit");
	if (r == 0)
		r = registry_commit(g, "limit");
	if (r != 0)
		return r;
	prior_reset(&g->claim, s.gate, s.rule, &s.of);
	/* Not where nothing is known of anybody. */
	if (s.meter != NULL && s.meter != &g->gate->rest.meter)
		meter_reset(&g->claim, s.gate, s.rule, s.meter, s.entries,
			    s.entries_log2);
	tell_spot(g, &s, ret_live);
	return 0;
}
