/* SPDX-License-Identifier: MIT */
/* Setting lines of the arena up: at start, and when something is created. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "gate/meter.h"
#include "state/arena.h"

#include <string.h>

struct rule slot_rule(const struct org_record *rec)
{
	struct rule rule = {
		.algorithm = RULE_WINDOW,
		.level = LEVEL_ORG,
		.limit = rec->limit,
		.span = rec->window_ms * CLOCK_TICKS_PER_MS,
		.period_ms = rec->window_ms,
		.name = "org",
	};

	return rule;
}

/* PAIRS: the snapshot's load, acquire. Publishes the id beside it. */
static void set_state(half_t *state, enum slot_state value)
{
	atomic_store_explicit(state, value, memory_order_release);
}

void slot_set_plan(struct org *org, uint64_t plan)
{
	/* PAIRS: judge() in gate/decide.c and registry_org_live(), acquire:
	 * the rules behind the word are complete. */
	atomic_store_explicit(&org->plan, plan, memory_order_release);
}

int slot_setup_org(struct registry *g, const struct org_record *rec)
{
	struct org *org = &g->arena->orgs[rec->slot];
	struct rule rule = slot_rule(rec);
	uint64_t ring, plan;
	int r;

	r = arena_reserve(g->file, REGION_ORGS,
			  ((uint64_t)rec->slot + 1) * sizeof(*org));
	if (r < 0)
		return r;
	r = plans_take(&g->plans, &rule, 1, &plan);
	if (r < 0)
		return r;
	r = rings_take(&g->rings, meter_ring_log2(rec->limit), &ring);
	if (r < 0) {
		plans_give(&g->plans, plan);
		return r;
	}
	if (meter_coarse(rec->limit))
		ring |= RING_COARSE;
	slot_set_half(&org->state, SLOT_FREE);
	/* The gate keeps growing: a slot that served another organization must
	 * not repeat its versions. */
	slot_set_word(&org->first.level, 0);
	slot_set_word(&org->first.base, 0);
	slot_set_word(&org->first.ring, ring);
	slot_set_word(&org->credits, 0);
	slot_set_half(&org->more, 0);
	slot_set_plan(org, plan);
	org->id = rec->id;
	slots_raise(&g->arena->header->org_slots, rec->slot);
	return 0;
}

void slot_publish_org(struct registry *g, const struct org_record *rec)
{
	set_state(&g->arena->orgs[rec->slot].state,
		  rec->suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
}

void slot_withdraw_org(struct registry *g, const struct org_record *rec)
{
	struct org *org = &g->arena->orgs[rec->slot];

	/* No key ever named it and the snapshot did not look at it: there is
	 * nobody to wait for. */
	rings_give(&g->rings, claim_load(&org->first.ring));
	plans_give(&g->plans, claim_load(&org->plan));
	slot_set_word(&org->first.ring, 0);
	slot_set_word(&org->plan, 0);
	org->id = (struct id){{0}};
}

int slot_setup_project(struct registry *g, const struct project_record *rec)
{
	struct project *p = &g->arena->projects[rec->slot];
	int r = arena_reserve(g->file, REGION_PROJECTS,
			      ((uint64_t)rec->slot + 1) * sizeof(*p));

	if (r < 0)
		return r;
	p->id = rec->id;
	p->org = rec->org;
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		slot_set_word(&p->budgets[i].cap, BUDGET_NONE);
	slot_set_half(&p->state, SLOT_ACTIVE);
	slots_raise(&g->arena->header->project_slots, rec->slot);
	return 0;
}

int slot_setup_key(struct registry *g, const struct key_record *rec)
{
	struct key *key = &g->arena->keys[rec->slot];
	int r = arena_reserve(g->file, REGION_KEYS,
			      ((uint64_t)rec->slot + 1) * sizeof(*key));

	if (r < 0)
		return r;
	if (!slot_holds(&key->state, key->id, rec->id)) {
		slot_set_half(&key->state, SLOT_FREE);
		slot_set_word(&key->used, 0);
		slot_set_word(&key->collected, 0);
		slot_set_half(&key->last_use_min, 0);
	}
	memcpy(key->hash, rec->hash + KEY_HASH_SKIP, sizeof(key->hash));
	key->id = rec->id;
	key->org = rec->org;
	key->project = rec->project;
	slot_set_word(&key->expires_ms, (uint64_t)rec->expires_ms);
	slots_raise(&g->arena->header->key_slots, rec->slot);
	return 0;
}

void slot_publish_key(struct registry *g, const struct key_record *rec)
{
	set_state(&g->arena->keys[rec->slot].state,
		  rec->revoked_ms != 0 ? SLOT_REVOKED : SLOT_ACTIVE);
}
