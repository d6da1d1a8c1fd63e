/* SPDX-License-Identifier: MIT */
/* Organizations and their projects. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "gate/window.h"

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

int registry_take_ring(struct registry *g, const struct org_record *rec,
		       uint64_t *ret_ring)
{
	uint64_t has = claim_load(&g->arena->orgs[rec->slot].ring);
	unsigned log2 = window_ring_log2(rec->limit);

	*ret_ring = 0;
	return RING_LOG2(has) < log2 ? rings_take(&g->rings, log2, ret_ring)
				     : 0;
}

void registry_apply_limit(struct registry *g, const struct org_record *rec,
			  uint64_t ring)
{
	struct org *org = &g->arena->orgs[rec->slot];

	if (!window_ring_drained(org)) {
		uint64_t prev = claim_load(&org->ring_prev);

		window_drain_ring(&g->claim, org);
		epoch_wait(g->epoch);
		rings_give(&g->rings, prev);
	}
	if (ring != 0) {
		uint64_t old = claim_load(&org->ring);

		window_swap_ring(&g->claim, org, ring);
		epoch_wait(g->epoch);
		window_drain_ring(&g->claim, org);
		epoch_wait(g->epoch);
		rings_give(&g->rings, old);
	}
	window_change_rule(&g->claim, org, slot_rule(rec));
	epoch_wait(g->epoch);
}

int registry_org_set_limit(struct registry *g, uint32_t slot, uint32_t limit,
			   uint64_t window_ms)
{
	struct org_record rec;
	uint64_t ring;
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
	if (registry_take_ring(g, &rec, &ring) < 0)
		return registry_fail(
			g, REGISTRY_FULL,
			"no room for a window of %u units: raise ring_bytes or "
			"the size of the arena's tmpfs",
			limit);
	r = registry_from_records(
		g, records_org_set_limit(g->records, slot, limit, window_ms),
		"org");
	if (r == 0)
		registry_apply_limit(g, &rec, ring);
	else if (ring != 0)
		rings_give(&g->rings, ring);
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

void registry_org_live(struct registry *g, uint32_t slot,
		       struct org_live *ret_live)
{
	struct org *org = &g->arena->orgs[slot];
	struct window_answer w;

	window_peek(g->arena, org, 0, clock_ticks(), NULL, &w);
	ret_live->in_window = w.in_window;
	ret_live->used = claim_load(&org->used);
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
