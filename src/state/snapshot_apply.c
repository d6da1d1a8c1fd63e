/* SPDX-License-Identifier: MIT */
/*
 * The records of a snapshot, checked and, with an arena, applied. Nobody else
 * runs yet, so stores here pair with nothing: starting the threads publishes
 * all of it.
 */
#include "state/snapshot_internal.h"

#include "gate/step.h"

#include <string.h>

bool snap_holds(const half_t *slots, uint32_t slot, const half_t *state,
		const struct id *has, const uint8_t id[static ID_LEN])
{
	/* PAIRS: nothing, see above. */
	return slot < slots_read(slots) &&
	       atomic_load_explicit(state, memory_order_relaxed) != SLOT_FREE &&
	       memcmp(has->c, id, ID_LEN) == 0;
}

const struct rule *snap_find_rule(const struct arena *a, const struct org *org,
				  const uint8_t name[static RULE_NAME_LEN])
{
	const struct plan *plan = block_at(a, claim_load(&org->plan));

	for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++)
		if (memcmp(plan->rules[i].name, name, RULE_NAME_LEN) == 0)
			return &plan->rules[i];
	return NULL;
}

static void set(word_t *w, uint64_t value)
{
	/* PAIRS: nothing, see above. */
	atomic_store_explicit(w, value, memory_order_relaxed);
}

/* ---- organizations ---- */

static int read_org(struct snap_reader *r)
{
	struct org *org;
	const uint8_t *p;
	int rc = snap_take(r, SNAP_ORG_BYTES, &p);

	if (rc)
		return rc;
	r->taken_ns = get_le64(p + SNAP_ORG_AT_TAKEN);
	if (r->number >= ARENA_ORGS_MAX ||
	    r->taken_ns / CLOCK_TICK_NS > CLOCK_TICK_MAX - CLOCK_BIAS)
		return DAMAGED(r, "organization %u is out of range", r->number);
	r->restored = 0;
	r->org = NULL;
	org = r->arena ? &r->arena->orgs[r->number] : NULL;
	if (org != NULL &&
	    snap_holds(&r->arena->header->org_slots, r->number, &org->state,
		       &org->id, p + SNAP_ORG_AT_ID)) {
		r->org = org;
		r->info->orgs++;
	} else {
		r->info->skipped++;
	}
	return 0;
}

/* The rule that the organization counts by this name and algorithm, unless it
 * was restored already. */
static const struct rule *
rule_to_restore(struct snap_reader *r, const uint8_t *name, uint32_t algorithm)
{
	const struct plan *plan = block_at(r->arena, claim_load(&r->org->plan));
	const struct rule *rule = snap_find_rule(r->arena, r->org, name);
	uint32_t bit;

	if (rule == NULL || rule->level != LEVEL_ORG ||
	    rule->algorithm != algorithm)
		return NULL;
	bit = UINT32_C(1) << (rule - plan->rules);
	if (r->restored & bit)
		return NULL;
	r->restored |= bit;
	return rule;
}

static bool apply_meter(struct snap_reader *r, const uint8_t *name,
			uint32_t algorithm, uint64_t rest_ns, size_t count)
{
	const struct rule *rule;
	struct meter *meter;

	rule = rule_to_restore(r, name, algorithm);
	if (rule == NULL)
		return false;
	meter = org_meter(r->arena, r->org, rule->meter);
	if (algorithm == RULE_GCRA)
		set(&meter->level, snap_origin_ns(r, r->taken_ns) + rest_ns +
					   claim_load(&meter->base));
	else if (count > 0)
		meter_restore(r->arena, rule, meter, r->admissions, count);
	return true;
}

static int read_meter(struct snap_reader *r, uint32_t count)
{
	uint8_t name[RULE_NAME_LEN];
	uint64_t rest_ns;
	uint32_t algorithm;
	size_t kept = 0;
	const uint8_t *p;
	int rc = snap_take(r, SNAP_METER_BYTES, &p);

	if (rc)
		return rc;
	memcpy(name, p + SNAP_METER_AT_NAME, sizeof(name));
	algorithm = get_le32(p + SNAP_METER_AT_ALGORITHM);
	rest_ns = get_le64(p + SNAP_METER_AT_REST_NS);
	if (r->kind != SNAP_ORG || count > SNAP_ADMISSIONS_MAX ||
	    (algorithm != RULE_WINDOW && algorithm != RULE_GCRA) ||
	    rest_ns > SNAP_REST_NS_MAX)
		return DAMAGED(r, "a rule is out of range or order");
	rc = snap_take_admissions(r, count, r->taken_ns / CLOCK_TICK_NS,
				  SNAP_UNITS_BITS, &kept);
	if (rc == 0 && r->org != NULL &&
	    !apply_meter(r, name, algorithm, rest_ns, kept))
		r->info->skipped++;
	return rc;
}

static struct pool *find_pool(const struct snap_reader *r, uint32_t id)
{
	struct credits *c = block_at(r->arena, claim_load(&r->org->credits));

	for (uint32_t i = 0; c != NULL && i < c->count && i < CREDIT_POOLS_MAX;
	     i++)
		if (c->pools[i].id == id)
			return &c->pools[i];
	return NULL;
}

static int read_pool(struct snap_reader *r, uint32_t id)
{
	struct pool *pool;
	const uint8_t *p;
	int rc = snap_take(r, SNAP_POOL_BYTES, &p);

	if (rc)
		return rc;
	if (r->kind != SNAP_ORG)
		return DAMAGED(r, "a pool is out of order");
	if (r->org == NULL)
		return 0;
	pool = find_pool(r, id);
	if (pool == NULL) {
		r->info->skipped++;
		return 0;
	}
	set(&pool->used, get_le64(p + SNAP_POOL_AT_USED));
	set(&pool->returned, get_le64(p + SNAP_POOL_AT_RETURNED));
	set(&pool->withdrawn, get_le64(p + SNAP_POOL_AT_WITHDRAWN));
	return 0;
}

/* ---- projects and keys ---- */

static bool apply_project(struct arena *a, uint32_t slot, const uint8_t *p)
{
	struct project *project = &a->projects[slot];

	if (!snap_holds(&a->header->project_slots, slot, &project->state,
			&project->id, p + SNAP_PROJECT_AT_ID))
		return false;
	p += SNAP_PROJECT_AT_BUDGETS;
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++, p += 16) {
		set(&project->budgets[i].used, get_le64(p));
		set(&project->budgets[i].returned, get_le64(p + 8));
	}
	return true;
}

static int read_project(struct snap_reader *r)
{
	const uint8_t *p;
	int rc = snap_take(r, SNAP_PROJECT_BYTES, &p);

	if (rc)
		return rc;
	if (r->number >= ARENA_PROJECTS_MAX)
		return DAMAGED(r, "project %u is out of range", r->number);
	if (r->arena && apply_project(r->arena, r->number, p))
		r->info->projects++;
	else
		r->info->skipped++;
	return 0;
}

static bool apply_key(const struct snap_reader *r, const uint8_t *p)
{
	struct arena *a = r->arena;
	struct key *key = &a->keys[r->number];
	uint64_t used = get_le64(p + SNAP_KEY_AT_USED);
	uint64_t collected = get_le64(p + SNAP_KEY_AT_COLLECTED);

	if (!snap_holds(&a->header->key_slots, r->number, &key->state, &key->id,
			p + SNAP_KEY_AT_ID))
		return false;
	set(&key->used, used);
	/* After anything but a clean stop nobody knows what of it usage.db got
	 * after the snapshot: rather too little in there than twice. */
	set(&key->collected, r->info->clean ? collected : used);
	/* PAIRS: nothing, see above. */
	atomic_store_explicit(&key->last_use_min,
			      get_le32(p + SNAP_KEY_AT_LAST_USE),
			      memory_order_relaxed);
	return true;
}

static int read_key(struct snap_reader *r)
{
	const uint8_t *p;
	int rc = snap_take(r, SNAP_KEY_BYTES, &p);

	if (rc)
		return rc;
	if (r->number >= ARENA_KEYS_MAX)
		return DAMAGED(r, "key %u is out of range", r->number);
	if (r->arena && apply_key(r, p))
		r->info->keys++;
	else
		r->info->skipped++;
	return 0;
}

/* ---- all of them ---- */

/* A record that belongs to no other: kinds ascend, and slots do. */
static int enter_record(struct snap_reader *r, uint32_t kind, uint32_t number)
{
	bool first = kind != r->kind;

	if (kind < r->kind ||
	    (kind != SNAP_TABLE && !first && number <= r->number) ||
	    (kind < SNAP_TABLE && number == 0))
		return DAMAGED(r, "its records are out of order");
	r->kind = kind;
	r->number = number;
	return 0;
}

static int read_record(struct snap_reader *r, uint32_t kind, uint32_t number)
{
	int rc = 0;

	if (kind != SNAP_METER && kind != SNAP_POOL && kind != SNAP_SUBJECT &&
	    kind != SNAP_CELL)
		rc = enter_record(r, kind, number);
	if (rc)
		return rc;
	switch (kind) {
	case SNAP_ORG:
		return read_org(r);
	case SNAP_METER:
		return read_meter(r, number);
	case SNAP_POOL:
		return read_pool(r, number);
	case SNAP_PROJECT:
		return read_project(r);
	case SNAP_KEY:
		return read_key(r);
	case SNAP_TABLE:
		return snap_read_table(r);
	case SNAP_SUBJECT:
		return snap_read_subject(r, number);
	case SNAP_CELL:
		return snap_read_cell(r, number);
	case SNAP_HOLD:
		return snap_read_hold(r);
	default:
		return DAMAGED(r, "it has a record of unknown kind");
	}
}

int snap_read_records(struct snap_reader *r)
{
	const uint8_t *p;
	uint64_t records = 0;
	int rc;

	r->kind = r->number = 0;
	for (;; records++) {
		uint32_t kind;

		rc = snap_look(r, SNAP_RECORD_HEAD, &p);
		if (rc)
			return rc;
		kind = get_le32(p + SNAP_RECORD_AT_KIND);
		if (kind == SNAP_END)
			break;
		rc = read_record(r, kind, get_le32(p + SNAP_RECORD_AT_NUMBER));
		if (rc)
			return rc;
	}
	rc = snap_take(r, SNAP_END_BYTES, &p);
	if (rc == 0 && (get_le32(p + SNAP_RECORD_AT_NUMBER) != 0 ||
			get_le64(p + SNAP_END_AT_RECORDS) != records))
		return DAMAGED(r, "it has not as many records as it says");
	return rc;
}
