/* SPDX-License-Identifier: MIT */
/*
 * What the registry does by the calendar and by the clock, once a second:
 * periods of budgets, renewals of subscriptions, pools that expire, budgets
 * that have crossed a threshold, trials that were used, events and audit lines
 * that are old, holds whose time has passed, entries of tables that are at
 * rest.
 */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "gate/decide.h"
#include "state/period.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- budgets ---- */

static const char *per_name(uint8_t period)
{
	return period_kind_name((enum period_kind)period);
}

static int raise(struct registry *g, const struct budget_record *budget,
		 const struct budget_view *v, unsigned percent)
{
	const struct project *p = &g->arena->projects[budget->project];
	const struct org *org = &g->arena->orgs[p->org];
	struct event_record e = {
		.kind = "budget.threshold",
		.org = p->org,
		.project = budget->project,
	};
	int r;

	snprintf(e.body, sizeof(e.body),
		 "{\"org\":\"%.8s\",\"project\":\"%.8s\",\"budget\":%u,"
		 "\"period\":\"%s\",\"threshold\":%u,\"used\":%" PRIu64
		 ",\"cap\":%" PRIu64 "}",
		 org->id.c, p->id.c, budget->idx, per_name(budget->period),
		 percent, v->used - v->returned, v->cap);
	snprintf(e.once, sizeof(e.once), "budget:%.8s:%u:%u:%u:%u", p->id.c,
		 budget->idx, budget->period, v->period, percent);
	r = registry_event_raise(g, &e);
	return r == REGISTRY_EXISTS ? 0 : r;
}

struct telling {
	struct registry *g;
	bool nudged; /* one of the project's budgets was driven over one */
};

/* The budget as of now, or as its period has ended when it was nudged in that
 * and nothing was charged since: a second is a long time before midnight. */
static void read_told(const struct telling *t, const struct budget *b,
		      struct budget_view *v)
{
	uint64_t used = claim_load(&b->used);
	uint64_t returned = claim_load(&b->returned);

	budget_read(b, used, returned, (uint64_t)registry_now_ms(t->g), v);
	if (!t->nudged || v->period == BUDGET_PERIOD(used))
		return;
	v->period = BUDGET_PERIOD(used);
	v->used = BUDGET_UNITS(used);
	v->returned = BUDGET_PERIOD(returned) == v->period
			      ? BUDGET_UNITS(returned)
			      : 0;
}

static int tell_budget(const struct budget_record *budget, void *arg)
{
	const struct telling *t = arg;
	const struct budget *b =
		&t->g->arena->projects[budget->project].budgets[budget->idx];
	struct budget_view v;
	int r = 0;

	read_told(t, b, &v);
	if (v.cap == BUDGET_NONE || v.cap == 0)
		return 0;
	for (unsigned i = 0; i < BUDGET_THRESHOLDS && r == 0; i++)
		if (v.used - v.returned >= budget_threshold(v.cap, i))
			r = raise(t->g, budget, &v, budget_thresholds[i]);
	return r;
}

static bool has_budget(const struct project *p)
{
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		if (claim_load(&p->budgets[i].cap) != BUDGET_NONE)
			return true;
	return false;
}

/* Budgets of projects that a check has driven over a threshold. After a start
 * all of them: a process that died may have taken a nudge and told nothing. */
static void tell_thresholds(struct registry *g)
{
	struct arena_header *h = g->arena->header;
	uint32_t slot;
	int r = 0;

	/* PAIRS: charge_budgets(), relaxed, here and below: nudges. Whoever
	 * nudges after this is seen a step later. */
	if (atomic_exchange_explicit(&h->attention, 0, memory_order_relaxed) ==
		    0 &&
	    g->told)
		return;
	for (slot = 1; slot < slots_read(&h->project_slots) && r == 0; slot++) {
		struct project *p = &g->arena->projects[slot];
		struct telling t = {
			g, atomic_load_explicit(&p->attention,
						memory_order_relaxed) != 0};

		if (!t.nudged && (g->told || !has_budget(p)))
			continue;
		atomic_store_explicit(&p->attention, 0, memory_order_relaxed);
		r = records_each_budget(g->records, slot, tell_budget, &t);
		if (r != 0)
			atomic_store_explicit(&p->attention, 1,
					      memory_order_relaxed);
	}
	g->told = g->told || r == 0;
	/* The disk: tried again a step later. */
	if (r != 0)
		atomic_store_explicit(&h->attention, 1, memory_order_relaxed);
}

/* ---- subscriptions ---- */

static int renew(void *arg, uint32_t org, const struct period *month)
{
	struct registry *g = arg;
	int r;

	(void)month; /* the new pool's date is in it */
	g->renewing = true;
	r = registry_credits_renew(g, org, registry_now_ms(g));
	g->renewing = false;
	return r;
}

struct newest {
	int64_t renewed_ms;
};

static int see_pool(const struct pool_record *rec, void *arg)
{
	struct newest *n = arg;

	if (rec->closed_ms == 0 && rec->renewed_ms > n->renewed_ms)
		n->renewed_ms = rec->renewed_ms;
	return 0;
}

int calendar_subscription(struct registry *g, uint32_t slot)
{
	struct period_rule rule = {.kind = PERIOD_BILLING};
	struct newest n = {0};
	struct org_record org;
	struct period month;
	struct zone *zone;
	int r = records_each_pool(g->records, slot, see_pool, &n);

	if (r == 0 && n.renewed_ms == 0) {
		renewals_clear(g->renewals, slot);
		return 0;
	}
	if (r == 0)
		r = records_org_get(g->records, slot, &org);
	if (r == 0)
		r = zone_open(&zone, org.timezone);
	if (r != 0)
		return r;
	rule.zone = zone;
	rule.anchor_day = org.anchor_day;
	period_at(&rule, (uint64_t)n.renewed_ms, &month);
	zone_free(zone);
	return renewals_set(g->renewals, slot, org.timezone, org.anchor_day,
			    month.number, (uint64_t)registry_now_ms(g));
}

/* ---- what is old ---- */

/* Rows of each table that one step looks at and deletes, in one commit; and how
 * long it rests when that was all. */
#define PRUNE_BATCH 500u
#define PRUNE_REST_NS (UINT64_C(3600) * 1000000000)

struct pruned {
	unsigned events, pending, audit;
};

static int prune_batch(struct registry *g, int64_t now_ms, struct pruned *p)
{
	int64_t events_ms = (int64_t)g->options.events_ms;
	int64_t audit_ms = (int64_t)g->options.audit_ms;
	int r = records_begin(g->records);

	if (r != 0)
		return r;
	if (events_ms != 0)
		r = records_prune_events(g->records, now_ms - events_ms,
					 PRUNE_BATCH, &p->events, &p->pending);
	if (r == 0 && audit_ms != 0)
		r = records_prune_audit(g->records, now_ms - audit_ms,
					PRUNE_BATCH, &p->audit);
	if (r == 0)
		return records_commit(g->records);
	records_rollback(g->records);
	return r;
}

/* True: there is more to do at once. */
static bool prune(struct registry *g, int64_t now_ms, uint64_t now_ns)
{
	struct pruned p = {0};

	if (now_ns < g->prune_ns ||
	    (g->options.events_ms == 0 && g->options.audit_ms == 0))
		return false;
	g->prune_ns = now_ns + PRUNE_REST_NS;
	if (prune_batch(g, now_ms, &p) != 0) {
		log_event(LOG_LEVEL_WARN, "prune_failed", "error=%s",
			  records_error(g->records));
		return false;
	}
	if (p.events + p.audit > 0)
		log_event(p.pending ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "pruned",
			  "events=%u pending=%u audit=%u", p.events, p.pending,
			  p.audit);
	if (p.events < PRUNE_BATCH && p.audit < PRUNE_BATCH)
		return false;
	g->prune_ns = 0;
	return true;
}

/* ---- the step ---- */

int calendar_open(struct registry *g)
{
	int r = periods_new(&g->periods, &g->claim,
			    g->options.max_projects + 1);

	if (r == 0)
		r = renewals_new(&g->renewals, g->options.max_orgs + 1, renew,
				 g);
	g->untried = calloc(ARENA_ORGS_MAX, sizeof(*g->untried));
	if (r == 0 && g->untried == NULL)
		r = -ENOMEM;
	return r;
}

void calendar_close(struct registry *g)
{
	periods_free(g->periods);
	renewals_free(g->renewals);
	free(g->untried);
}

/* Pools that are closed in one step. */
#define EXPIRE_MAX 64u

bool registry_step(struct registry *g)
{
	uint64_t now_ms = (uint64_t)registry_now_ms(g);
	struct instant now = instant_now();
	bool more = periods_step(g->periods, now_ms);

	more |= renewals_step(g->renewals, now_ms);
	more |= registry_credits_expire(g, (int64_t)now_ms, EXPIRE_MAX) ==
		(int)EXPIRE_MAX;
	more |= registry_trials_step(g);
	tell_thresholds(g);
	gate_expire(g->gate, 0, g->arena->header->holds_count, &now, now_ms);
	registry_tend(g);
	priors_step(g, now.ns);
	more |= prune(g, (int64_t)now_ms, now.ns);
	return more;
}
