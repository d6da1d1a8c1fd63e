/* SPDX-License-Identifier: MIT */
/* Organizations and their projects. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "gate/meter.h"
#include "gate/step.h"

#include <errno.h>

static int check_limit(struct registry *g, uint32_t limit, uint64_t window_ms)
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

int registry_org_create(struct registry *g, struct org_record *rec)
{
	int r, tries = ID_TRIES;

	if (rec->limit == 0 && rec->window_ms == 0) {
		rec->limit = g->options.default_limit;
		rec->window_ms = g->options.default_window_ms;
	}
	r = check_limit(g, rec->limit, rec->window_ms);
	if (r != 0)
		return r;
	rec->suspended = false;
	rec->created_ms = (int64_t)clock_wall_ms();

	r = records_begin(g->records);
	if (r < 0)
		return registry_from_records(g, r, "org");
	do {
		if (!keytext_random_id(&rec->id)) {
			r = registry_fail(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = records_org_insert(g->records, rec, g->options.max_orgs);
	} while (r == RECORDS_EXISTS && --tries > 0);
	r = registry_from_records(g, r, "org");
	if (r != 0)
		goto out_rollback;
	/* Take the room before the change is durable: a full arena is then an
	 * answer, not an organization without a window. */
	r = slot_setup_org(g, rec);
	if (r < 0) {
		r = registry_fail(
			g, REGISTRY_FULL,
			"no room for another window: raise ring_bytes or "
			"the size of the arena's tmpfs");
		goto out_rollback;
	}
	r = registry_from_records(g, records_commit(g->records), "org");
	if (r == 0)
		slot_publish_org(g, rec);
	else
		slot_withdraw_org(g, rec);
	return r;
out_rollback:
	records_rollback(g->records);
	return r;
}

int registry_take_room(struct registry *g, const struct org_record *rec,
		       struct limit_room *ret_room)
{
	uint64_t has = claim_load(&g->arena->orgs[rec->slot].first.ring);
	unsigned log2 = meter_ring_log2(rec->limit);
	struct rule rule = slot_rule(rec);
	int r = plans_take(&g->plans, &rule, 1, &ret_room->plan);

	ret_room->ring = 0;
	if (r < 0)
		return r;
	if (RING_LOG2(has) >= log2 &&
	    (!meter_coarse(rec->limit) || (has & RING_COARSE) != 0))
		return 0;
	r = rings_take(&g->rings, log2, &ret_room->ring);
	if (r < 0)
		plans_give(&g->plans, ret_room->plan);
	return r;
}

void registry_give_room(struct registry *g, const struct limit_room *room)
{
	plans_give(&g->plans, room->plan);
	if (room->ring != 0)
		rings_give(&g->rings, room->ring);
}

void registry_apply_limit(struct registry *g, const struct org_record *rec,
			  const struct limit_room *room)
{
	struct org *org = &g->arena->orgs[rec->slot];
	uint64_t plan = claim_load(&org->plan);
	struct rule rule = slot_rule(rec);

	/* The larger ring first: whoever decides by the new rule finds it. */
	if (room->ring != 0) {
		uint64_t old = claim_load(&org->first.ring);
		const struct rule *from =
			plan != 0 ? &((struct plan *)block_at(g->arena, plan))
					     ->rules[0]
				  : &rule;

		meter_move_ring(&g->claim, &org->gate, &org->first, from, &rule,
				room->ring);
		epoch_wait(g->epoch);
		rings_give(&g->rings, old);
	}
	slot_set_plan(org, room->plan);
	epoch_wait(g->epoch);
	plans_give(&g->plans, plan);
}

int registry_org_set_limit(struct registry *g, uint32_t slot, uint32_t limit,
			   uint64_t window_ms)
{
	struct org_record rec;
	struct limit_room room;
	int r = check_limit(g, limit, window_ms);

	if (r != 0)
		return r;
	r = registry_from_records(g, records_org_get(g->records, slot, &rec),
				  "org");
	if (r != 0)
		return r;
	rec.limit = limit;
	rec.window_ms = window_ms;
	/* The room first, as when it is created: a limit that is durable but
	 * has no room would keep the next start from succeeding. */
	if (registry_take_room(g, &rec, &room) < 0)
		return registry_fail(
			g, REGISTRY_FULL,
			"no room for a window of %u units: raise ring_bytes or "
			"the size of the arena's tmpfs",
			limit);
	r = registry_from_records(
		g, records_org_set_limit(g->records, slot, limit, window_ms),
		"org");
	if (r == 0)
		registry_apply_limit(g, &rec, &room);
	else
		registry_give_room(g, &room);
	return r;
}

int registry_org_set_suspended(struct registry *g, uint32_t slot,
			       bool suspended)
{
	int r = registry_from_records(
		g, records_org_set_suspended(g->records, slot, suspended),
		"org");

	if (r != 0)
		return r;
	slot_set_half(&g->arena->orgs[slot].state,
		      suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	epoch_wait(g->epoch);
	return 0;
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

/* What an organization has used is what its keys have used. */
void registry_org_live(struct registry *g, uint32_t slot,
		       struct org_live *ret_live)
{
	struct org *org = &g->arena->orgs[slot];
	struct adding add = {.arena = g->arena};
	struct instant now = instant_now();
	const struct plan *plan;
	uint64_t version;
	struct view v;

	do {
		version = claim_settle(g->arena, &org->gate, NULL);
		plan = block_at(g->arena, claim_load(&org->plan));
		view_read(&v, g->arena, &plan->rules[0], &org->first, NULL, 0,
			  &now);
	} while (!claim_unchanged(&org->gate, version));
	ret_live->in_window = (uint32_t)v.used;
	(void)records_each_key(g->records, slot, 0, 0, add_key_used, &add);
	ret_live->used = add.used;
}

/* ---- projects ---- */

int registry_project_create(struct registry *g, struct project_record *rec)
{
	int r, tries = ID_TRIES;

	rec->created_ms = (int64_t)clock_wall_ms();
	r = records_begin(g->records);
	if (r < 0)
		return registry_from_records(g, r, "project");
	do {
		if (!keytext_random_id(&rec->id)) {
			r = registry_fail(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = records_project_insert(g->records, rec,
					   g->options.max_projects);
	} while (r == RECORDS_EXISTS && --tries > 0);
	r = registry_from_records(g, r, "project");
	if (r != 0)
		goto out_rollback;
	if (slot_setup_project(g, rec) < 0) {
		r = registry_fail(g, REGISTRY_FULL,
				  "the arena's tmpfs is full: enlarge it");
		goto out_rollback;
	}
	return registry_from_records(g, records_commit(g->records), "project");
out_rollback:
	records_rollback(g->records);
	return r;
}
