/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of version 1, for the first start after an upgrade: each
 * organization had one window, which is the rule "org" now, and a key's total
 * was units alone.
 */
#include "state/snapshot_internal.h"

#include "gate/step.h"

#include <string.h>

static const uint8_t rule_org[RULE_NAME_LEN] = "org";

static bool apply_org(struct snap_reader *r, uint32_t slot,
		      const uint8_t id[static ID_LEN], size_t count)
{
	struct arena *a = r->arena;
	struct org *org = &a->orgs[slot];
	const struct rule *rule;

	if (!snap_holds(&a->header->org_slots, slot, &org->state, &org->id, id))
		return false;
	rule = snap_find_rule(a, org, rule_org);
	if (rule == NULL || rule->level != LEVEL_ORG ||
	    rule->algorithm != RULE_WINDOW)
		return false;
	if (count > 0)
		meter_restore(a, rule, org_meter(a, org, rule->meter),
			      r->admissions, count);
	return true;
}

static int read_org(struct snap_reader *r, uint32_t *previous)
{
	const uint8_t *p;
	uint32_t slot, count;
	uint64_t taken;
	uint8_t id[ID_LEN];
	size_t kept = 0;
	int rc = snap_take(r, SNAP1_ORG_BYTES, &p);

	if (rc)
		return rc;
	slot = get_le32(p + SNAP1_ORG_AT_SLOT);
	count = get_le32(p + SNAP1_ORG_AT_COUNT);
	memcpy(id, p + SNAP1_ORG_AT_ID, ID_LEN);
	taken = get_le64(p + SNAP1_ORG_AT_TICKS);
	if (slot <= *previous || slot >= ARENA_ORGS_MAX ||
	    count > SNAP_ADMISSIONS_MAX || taken > CLOCK_TICK_MAX - CLOCK_BIAS)
		return DAMAGED(r, "organization %u is out of range", slot);
	*previous = slot;
	rc = snap_take_admissions(r, count, taken, SNAP1_UNITS_BITS, &kept);
	if (rc)
		return rc;
	if (r->arena && apply_org(r, slot, id, kept))
		r->info->orgs++;
	else
		r->info->skipped++;
	return 0;
}

static bool apply_key(struct arena *a, const uint8_t *p, uint32_t slot)
{
	struct key *key = &a->keys[slot];
	uint64_t used = get_le64(p + SNAP1_KEY_AT_USED) & USED_UNIT_MASK;

	if (!snap_holds(&a->header->key_slots, slot, &key->state, &key->id,
			p + SNAP1_KEY_AT_ID))
		return false;
	/* PAIRS: nothing, here and below: nobody else runs yet; starting the
	 * threads publishes all of it. */
	atomic_store_explicit(&key->used, used, memory_order_relaxed);
	atomic_store_explicit(&key->collected, used, memory_order_relaxed);
	atomic_store_explicit(&key->last_use_min,
			      get_le32(p + SNAP1_KEY_AT_LAST_USE),
			      memory_order_relaxed);
	return true;
}

static int read_key(struct snap_reader *r, uint32_t *previous)
{
	const uint8_t *p;
	uint32_t slot;
	int rc = snap_take(r, SNAP1_KEY_BYTES, &p);

	if (rc)
		return rc;
	slot = get_le32(p + SNAP1_KEY_AT_SLOT);
	if (slot <= *previous || slot >= ARENA_KEYS_MAX)
		return DAMAGED(r, "key %u is out of range", slot);
	*previous = slot;
	if (r->arena && apply_key(r->arena, p, slot))
		r->info->keys++;
	else
		r->info->skipped++;
	return 0;
}

int snap_read_v1(struct snap_reader *r, const uint8_t *end)
{
	uint32_t orgs = get_le32(end + SNAP1_END_AT_ORGS), org = 0;
	uint32_t keys = get_le32(end + SNAP1_END_AT_KEYS), key = 0;
	const uint8_t *p;
	int rc = 0;

	for (; orgs > 0 && rc == 0; orgs--)
		rc = read_org(r, &org);
	for (; keys > 0 && rc == 0; keys--)
		rc = read_key(r, &key);
	return rc ? rc : snap_take(r, SNAP1_END_BYTES, &p);
}
