/* SPDX-License-Identifier: MIT */
/* Setting lines of the arena up: at start, and when something is created. */
#include "state/registry_internal.h"

#include "state/arena.h"

#include <string.h>

/* PAIRS: the snapshot's load, acquire. Publishes the id beside it. */
static void set_state(half_t *state, enum slot_state value)
{
	atomic_store_explicit(state, value, memory_order_release);
}

int slot_setup_org(struct registry *g, const struct org_record *rec)
{
	struct org *org = &g->arena->orgs[rec->slot];
	int r;

	r = arena_reserve(g->file, REGION_ORGS,
			  ((uint64_t)rec->slot + 1) * sizeof(*org));
	if (r < 0)
		return r;
	slot_set_half(&org->state, SLOT_FREE);
	/* The gate keeps growing: a slot that served another organization must
	 * not repeat its versions. */
	slot_set_word(&org->first.level, 0);
	slot_set_word(&org->first.base, 0);
	slot_set_word(&org->first.ring, 0);
	slot_set_word(&org->plan, 0);
	slot_set_word(&org->credits, 0);
	slot_set_half(&org->more, 0);
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
	uint64_t plan = claim_load(&org->plan);

	/* No key ever named it and the snapshot did not look at it: there is
	 * nobody to wait for. */
	if (plan != 0) {
		meters_withdraw(g, rec->slot, apply_block(g, plan));
		share_put(g, plan);
	}
	slot_set_word(&org->plan, 0);
	apply_credits_none(g, rec->slot);
	org->id = (struct id){{0}};
}

int slot_setup_project(struct registry *g, const struct project_record *rec)
{
	struct project *p = &g->arena->projects[rec->slot];
	int r = arena_reserve(g->file, REGION_PROJECTS,
			      ((uint64_t)rec->slot + 1) * sizeof(*p));

	if (r < 0)
		return r;
	/* Budgets of the same project go on; registry_access_load() caps. */
	for (uint8_t i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		if (!slot_holds(&p->state, p->id, rec->id))
			apply_budget_reset(g, rec->slot, i);
		apply_budget(g, rec->slot, i, BUDGET_NONE);
	}
	p->id = rec->id;
	p->org = rec->org;
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

void slot_publish_key(struct registry *g, const struct key_record *rec,
		      uint32_t access)
{
	apply_key_state(g, rec->slot,
			rec->revoked_ms != 0 ? SLOT_REVOKED
			: rec->disabled      ? SLOT_DISABLED
					     : SLOT_ACTIVE,
			access);
}
