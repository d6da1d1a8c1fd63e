/* SPDX-License-Identifier: MIT */
/* Organizations. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "gate/meter.h"
#include "gate/step.h"

#include <errno.h>
#include <string.h>

#define NO_ROOM                                                                \
	"no room for another window: raise ring_bytes or the size of the "     \
	"arena's tmpfs"

int registry_check_limit(struct registry *g, uint32_t limit, uint64_t window_ms)
{
	if (limit < 1 || limit > LIMIT_MAX)
		return registry_fail(g, REGISTRY_INVALID,
				     "a limit is 1 to %u units, not %u",
				     LIMIT_MAX, limit);
	if (window_ms < WINDOW_MS_MIN || window_ms > WINDOW_MS_MAX)
		return registry_fail(g, REGISTRY_INVALID,
				     "a window is 1 ms to 31 days");
	return 0;
}

/* In the batch: the row, with an id that is free. */
static int insert_org(struct registry *g, struct org_record *rec)
{
	int r, tries = ID_TRIES;

	do {
		if (!keytext_random_id(&rec->id))
			return registry_fail(g, -EIO, "no random numbers");
		r = records_org_insert(g->records, rec, g->options.max_orgs);
	} while (r == RECORDS_EXISTS && --tries > 0);
	/* What it refers to is its plan. */
	return registry_from_records(g, r,
				     r == RECORDS_ABSENT ? "plan" : "org");
}

/* Takes the room before the change is durable: a full arena is then an answer,
 * not an organization without a window. */
static int setup_org(struct registry *g, const struct org_record *rec,
		     uint64_t granted)
{
	struct plan_change change = {0};
	int r;

	if (slot_setup_org(g, rec) < 0)
		return registry_fail(g, REGISTRY_FULL, NO_ROOM);
	r = plan_change_add(g, &change, rec);
	/* No key names it yet: nobody to wait for, and nobody to be told. */
	if (r == 0)
		plan_change_apply(g, &change);
	else
		plan_change_abandon(g, &change);
	if (r == 0 && rec->credits)
		r = registry_credits_setup(g, rec, granted);
	if (r != 0)
		slot_withdraw_org(g, rec);
	return r;
}

int registry_org_create(struct registry *g, struct org_record *rec,
			uint64_t granted)
{
	int r;

	rec->limit_own = rec->limit != 0 || rec->window_ms != 0;
	if (!rec->limit_own) {
		rec->limit = g->options.default_limit;
		rec->window_ms = g->options.default_window_ms;
	}
	r = registry_check_limit(g, rec->limit, rec->window_ms);
	if (r == 0 && granted > (uint64_t)CREDITS_MAX)
		r = registry_fail(g, REGISTRY_INVALID, CREDITS_RANGE,
				  CREDITS_MAX);
	if (r != 0)
		return r;
	rec->credits = rec->credits || granted > 0;
	rec->suspended = false;
	rec->created_ms = registry_now_ms(g);

	r = registry_begin(g, "org");
	if (r != 0)
		return r;
	r = insert_org(g, rec);
	if (r == 0)
		r = setup_org(g, rec, granted);
	if (r != 0) {
		records_rollback(g->records);
		return r;
	}
	r = registry_commit(g, "org");
	if (r == 0)
		slot_publish_org(g, rec);
	else
		slot_withdraw_org(g, rec);
	return r;
}

int registry_finish(struct registry *g, int r, const char *what)
{
	r = registry_from_records(g, r, what);
	if (r == 0)
		return registry_commit(g, what);
	records_rollback(g->records);
	return r;
}

int registry_org_set_suspended(struct registry *g, uint32_t slot,
			       bool suspended)
{
	int r = registry_begin(g, "org");

	if (r == 0)
		r = registry_finish(
			g,
			records_org_set_suspended(g->records, slot, suspended),
			"org");
	if (r != 0)
		return r;
	slot_set_half(&g->arena->orgs[slot].state,
		      suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	epoch_wait(g->epoch);
	return 0;
}

int registry_org_set_billing(struct registry *g, uint32_t slot,
			     uint8_t anchor_day, const char *zone)
{
	int r;

	if (anchor_day < 1 || anchor_day > 31)
		return registry_fail(g, REGISTRY_INVALID,
				     "a billing day is 1 to 31");
	r = registry_zone_check(g, zone);
	if (r == 0)
		r = registry_begin(g, "organization");
	if (r == 0)
		r = registry_finish(g,
				    records_org_set_billing(g->records, slot,
							    anchor_day, zone),
				    "organization");
	if (r == 0)
		r = registry_rebill(g, slot);
	return r != 0 ? r : calendar_subscription(g, slot);
}

struct adding {
	const struct arena *arena;
	uint64_t used;
};

static int add_key_used(const struct key_record *rec, void *arg)
{
	struct adding *add = arg;

	add->used += USED_UNITS(claim_load(&add->arena->keys[rec->slot].used));
	return 0;
}

/* Of the rule "org", if there is one. */
static const struct rule *org_rule(const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->rules_count; i++)
		if (strncmp(plan->rules[i].name, EFFECTIVE_ORG,
			    RULE_NAME_LEN) == 0 &&
		    plan->rules[i].algorithm == RULE_WINDOW)
			return &plan->rules[i];
	return NULL;
}

/* What an organization has used is what its keys have used. */
void registry_org_live(struct registry *g, uint32_t slot,
		       struct org_live *ret_live)
{
	struct org *org = &g->arena->orgs[slot];
	struct adding add = {.arena = g->arena};
	const struct rule *rule = org_rule(plan_of(g->arena, org));
	struct instant now = instant_now();
	uint64_t version;
	struct view v = {.used = 0};

	while (rule != NULL) {
		version = claim_settle(g->arena, &org->gate, NULL);
		view_read(&v, g->arena, rule,
			  org_meter(g->arena, org, rule->meter), NULL, 0, &now);
		if (claim_unchanged(&org->gate, version))
			break;
	}
	ret_live->in_window = (uint32_t)v.used;
	(void)records_each_key(g->records, slot, 0, 0, add_key_used, &add);
	ret_live->used = add.used;
}

/* Several words that change apart from each other: near enough to be shown. */
unsigned registry_project_budgets(
	struct registry *g, uint32_t slot,
	struct budget_live ret_budgets[static PROJECT_BUDGETS_MAX])
{
	const struct project *p = &g->arena->projects[slot];
	uint64_t now_ms = (uint64_t)registry_now_ms(g);
	unsigned count = 0;

	for (int i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &p->budgets[i];
		uint64_t ends_ms = claim_load(&b->ends_ms);
		struct budget_view v;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, claim_load(&b->used), claim_load(&b->returned),
			    now_ms, &v);
		if (now_ms >= ends_ms)
			ends_ms = claim_load(&b->next_ends_ms);
		ret_budgets[count++] = (struct budget_live){
			.cap = v.cap,
			.used = v.used > v.returned ? v.used - v.returned : 0,
			.ends_ms = (int64_t)ends_ms,
			.index = (uint8_t)i,
			.period = registry_budget_kind(p, i),
		};
	}
	return count;
}
