/* SPDX-License-Identifier: MIT */
/*
 * Tables of subjects, cells of usage and holds, from their records. A table
 * takes its subjects back when it has the same rule and the same geometry:
 * a name holds no more of the hash than that needs. As in snapshot_apply.c
 * nobody else runs yet.
 */
#include "state/snapshot_internal.h"

#include "gate/decide.h"
#include "gate/outside.h"
#include "gate/step.h"

#include <string.h>

static void set(word_t *w, uint64_t value)
{
	/* PAIRS: nothing, see above. */
	atomic_store_explicit(w, value, memory_order_relaxed);
}

/* ---- tables ---- */

/* Some organization's rule with this id and a table. */
static const struct rule *find_rule(const struct arena *a, uint32_t id)
{
	uint32_t slots = slots_read(&a->header->org_slots);

	for (uint32_t slot = 1; slot < slots; slot++) {
		const struct plan *plan =
			block_at(a, claim_load(&a->orgs[slot].plan));

		for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++)
			if (plan->rules[i].id == id &&
			    plan->rules[i].level != LEVEL_ORG &&
			    plan->rules[i].table != 0)
				return &plan->rules[i];
	}
	return NULL;
}

static bool open_table(struct snap_reader *r, uint32_t algorithm,
		       uint32_t level)
{
	if (r->number == SNAP_CELLS_ID)
		return snap_open_cells(r->arena, &r->table);
	r->rule = find_rule(r->arena, r->number);
	return r->rule != NULL && r->rule->algorithm == algorithm &&
	       r->rule->level == level &&
	       subjects_open(&r->table, r->arena, r->rule->table) &&
	       (algorithm != RULE_WINDOW || r->table.stride > LINE_BYTES);
}

int snap_read_table(struct snap_reader *r)
{
	uint32_t algorithm, level;
	uint64_t taken_ns, full_ns;
	const uint8_t *p;
	int rc = snap_take(r, SNAP_TABLE_BYTES, &p);

	if (rc)
		return rc;
	algorithm = get_le32(p + SNAP_TABLE_AT_ALGORITHM);
	level = get_le32(p + SNAP_TABLE_AT_LEVEL);
	r->buckets = get_le32(p + SNAP_TABLE_AT_BUCKETS);
	r->stride = get_le32(p + SNAP_TABLE_AT_STRIDE);
	taken_ns = get_le64(p + SNAP_TABLE_AT_TAKEN);
	full_ns = get_le64(p + SNAP_TABLE_AT_FULL_NS);
	if (full_ns > SNAP_REST_NS_MAX ||
	    taken_ns / CLOCK_TICK_NS > CLOCK_TICK_MAX - CLOCK_BIAS ||
	    r->buckets == 0 || r->stride == 0 ||
	    r->stride > SUBJECTS_STRIDE_MAX ||
	    r->stride % sizeof(word_t) != 0 || level >= LEVEL_COUNT)
		return DAMAGED(r, "the table of rule %u is out of range",
			       r->number);
	r->rule = NULL;
	r->table_open = r->arena && open_table(r, algorithm, level);
	if (r->table_open && r->rule != NULL && full_ns != 0)
		subjects_fill(r->arena, r->rule->table,
			      snap_origin_ns(r, taken_ns) + full_ns);
	r->table_open = r->table_open && r->table.count == r->buckets &&
			r->table.stride == r->stride;
	return 0;
}

static bool apply_subject(struct snap_reader *r, uint32_t bucket, uint64_t name,
			  uint64_t at_ns, size_t count)
{
	struct outside *o;
	uint32_t entry;
	bool is_new;

	if (!r->table_open)
		return false;
	entry = subjects_restore(&r->table, bucket, name, &is_new);
	if (entry == SUBJECTS_FULL || !is_new)
		return false;
	o = subjects_state(&r->table, entry);
	if (r->rule->algorithm == RULE_GCRA)
		set(&o->meter.level, at_ns);
	else if (r->rule->algorithm == RULE_WINDOW && count > 0)
		meter_restore_at(
			r->rule, &o->meter, subject_entries(r->rule, o),
			subject_log2(r->rule, r->stride), r->admissions, count);
	return true;
}

int snap_read_subject(struct snap_reader *r, uint32_t bucket)
{
	uint64_t name, taken_ns, rest_ns;
	uint32_t count;
	size_t kept = 0;
	const uint8_t *p;
	int rc = snap_take(r, SNAP_SUBJECT_BYTES, &p);

	if (rc)
		return rc;
	name = get_le64(p + SNAP_SUBJECT_AT_NAME);
	taken_ns = get_le64(p + SNAP_SUBJECT_AT_TAKEN);
	rest_ns = get_le64(p + SNAP_SUBJECT_AT_REST_NS);
	count = get_le32(p + SNAP_SUBJECT_AT_COUNT);
	if (r->kind != SNAP_TABLE || r->number == SNAP_CELLS_ID ||
	    bucket >= r->buckets || rest_ns > SNAP_REST_NS_MAX ||
	    count > SNAP_SUBJECT_ADMISSIONS_MAX + 1 ||
	    taken_ns / CLOCK_TICK_NS > CLOCK_TICK_MAX - CLOCK_BIAS)
		return DAMAGED(r, "a subject is out of range or order");
	rc = snap_take_admissions(r, count, taken_ns / CLOCK_TICK_NS,
				  SNAP_UNITS_BITS, &kept);
	if (rc)
		return rc;
	if (apply_subject(r, bucket, name,
			  snap_origin_ns(r, taken_ns) + rest_ns, kept))
		r->info->subjects++;
	else
		r->info->skipped++;
	return 0;
}

/* Nobody knows what usage.db got after the snapshot: rather too little than
 * twice (as for keys). */
static void nothing_pending(struct cell *c)
{
	set(&c->collected_used, claim_load(&c->used));
	set(&c->collected_returned, claim_load(&c->returned));
	/* PAIRS: nothing, see above. */
	for (int d = 0; d < DENIAL_COUNT; d++)
		atomic_store_explicit(
			&c->collected_denied[d],
			atomic_load_explicit(&c->denied[d],
					     memory_order_relaxed),
			memory_order_relaxed);
}

static bool apply_cell(struct snap_reader *r, uint32_t bucket, const uint8_t *p)
{
	struct cell *cell;
	word_t *words;
	uint32_t entry;
	bool is_new;

	if (!r->table_open)
		return false;
	entry = subjects_restore(&r->table, bucket,
				 get_le64(p + SNAP_CELL_AT_NAME), &is_new);
	if (entry == SUBJECTS_FULL || !is_new)
		return false;
	cell = subjects_state(&r->table, entry);
	words = (word_t *)(void *)cell;
	for (size_t i = 0; i < SNAP_CELL_WORDS; i++)
		set(&words[i],
		    get_le64(p + SNAP_CELL_AT_WORDS + i * sizeof(word_t)));
	if (!r->info->clean)
		nothing_pending(cell);
	return true;
}

int snap_read_cell(struct snap_reader *r, uint32_t bucket)
{
	const uint8_t *p;
	int rc = snap_take(r, SNAP_CELL_BYTES, &p);

	if (rc)
		return rc;
	if (r->kind != SNAP_TABLE || r->number != SNAP_CELLS_ID ||
	    r->stride != sizeof(struct cell) || bucket >= r->buckets)
		return DAMAGED(r, "a cell is out of range or order");
	if (apply_cell(r, bucket, p))
		r->info->cells++;
	else
		r->info->skipped++;
	return 0;
}

/* ---- holds ---- */

/* The entry at this place of this table, taken when it has none. */
static void *place(const struct subjects *t, const uint8_t *p)
{
	uint32_t bucket = get_le32(p + SNAP_PLACE_AT_BUCKET), entry;
	bool is_new;

	if (get_le32(p + SNAP_PLACE_AT_BUCKETS) != t->count ||
	    bucket >= t->count)
		return NULL;
	entry = subjects_restore(t, bucket, get_le64(p + SNAP_PLACE_AT_NAME),
				 &is_new);
	return entry != SUBJECTS_FULL ? subjects_state(t, entry) : NULL;
}

/* What a lease of this rule is counted in now, or NULL: nothing. */
static word_t *lease_word(struct arena *a, struct org *org,
			  const struct rule *rule, const uint8_t *p)
{
	struct subjects t;
	struct meter *meter;

	if (rule->level == LEVEL_ORG) {
		meter = org_meter(a, org, rule->meter);
		return &meter->level;
	}
	if (!subjects_open(&t, a, rule->table))
		return NULL;
	meter = place(&t, p + SNAP_LEASE_AT_PLACE);
	return meter != NULL ? &meter->level : NULL;
}

static uint64_t restore_lease(struct arena *a, struct org *org,
			      const uint8_t *p)
{
	const struct rule *rule =
		p[SNAP_LEASE_AT_NAME] != 0
			? snap_find_rule(a, org, p + SNAP_LEASE_AT_NAME)
			: NULL;
	word_t *level;
	uint64_t was;

	/* No rule counts it any more? */
	if (rule == NULL || rule->algorithm != RULE_CONCURRENCY)
		return 0;
	level = lease_word(a, org, rule, p);
	if (level == NULL)
		return 0;
	was = claim_load(level);
	set(level, METER_FLIGHT((was >> 24) + 1, METER_LEASES(was) + 1));
	return claim_offset(a, level) |
	       (rule->level == LEVEL_ADDRESS ? LEASE_OUTSIDE : 0);
}

/* The hold's place, when it can go back there. */
static struct hold *hold_to_restore(struct arena *a, uint32_t slot,
				    const uint8_t *p)
{
	uint32_t key = get_le32(p + SNAP_HOLD_AT_KEY);
	uint32_t org = get_le32(p + SNAP_HOLD_AT_ORG);
	struct hold *h;

	/* PAIRS: nothing, see above. */
	if (atomic_load_explicit(&a->header->holds, memory_order_relaxed) ==
		    0 ||
	    slot >= a->header->holds_count ||
	    !snap_holds(&a->header->key_slots, key, &a->keys[key].state,
			&a->keys[key].id, p + SNAP_HOLD_AT_KEY_ID) ||
	    !snap_holds(&a->header->org_slots, org, &a->orgs[org].state,
			&a->orgs[org].id, p + SNAP_HOLD_AT_ORG_ID) ||
	    a->keys[key].org != org)
		return NULL;
	h = hold_at(a, slot);
	return HOLD_LIVE(claim_load(&h->state)) ? NULL : h;
}

static bool apply_hold(struct snap_reader *r, const uint8_t *p)
{
	struct arena *a = r->arena;
	struct hold *h = hold_to_restore(a, r->number, p);
	uint32_t org = get_le32(p + SNAP_HOLD_AT_ORG);
	uint64_t taken_ns = get_le64(p + SNAP_HOLD_AT_TAKEN);
	struct subjects cells;
	word_t *cell;

	if (h == NULL || !snap_open_cells(a, &cells))
		return false;
	cell = place(&cells, p + SNAP_HOLD_AT_CELL);
	if (cell == NULL)
		return false;
	set(&h->subject, (uint64_t)get_le32(p + SNAP_HOLD_AT_KEY) << 32 | org);
	set(&h->units, get_le64(p + SNAP_HOLD_AT_UNITS));
	set(&h->until, snap_origin_ns(r, taken_ns) / CLOCK_TICK_NS +
			       get_le64(p + SNAP_HOLD_AT_LEFT));
	set(&h->cell, claim_offset(a, cell));
	set(&h->flags, get_le64(p + SNAP_HOLD_AT_FLAGS));
	set(&h->route, get_le64(p + SNAP_HOLD_AT_ROUTE));
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		set(&h->budget[i], get_le64(p + SNAP_HOLD_AT_BUDGETS + 8 * i));
	for (unsigned i = 0; i < HOLD_LEASES_MAX; i++)
		set(&h->leases[i], restore_lease(a, &a->orgs[org],
						 p + SNAP_HOLD_AT_LEASES +
							 i * SNAP_LEASE_BYTES));
	for (unsigned i = 0; i < HOLD_DRAWS_MAX; i++)
		set(&h->draws[i],
		    r->version > SNAP2_VERSION
			    ? get_le64(p + SNAP_HOLD_AT_DRAWS + 8 * i)
			    : 0);
	set(&h->state, get_le64(p + SNAP_HOLD_AT_STATE));
	return true;
}

int snap_read_hold(struct snap_reader *r)
{
	const uint8_t *p;
	int rc = snap_take(r,
			   r->version > SNAP2_VERSION ? SNAP_HOLD_BYTES
						      : SNAP2_HOLD_BYTES,
			   &p);

	if (rc)
		return rc;
	if (r->number >= HOLD_SLOTS_MAX ||
	    !HOLD_LIVE(get_le64(p + SNAP_HOLD_AT_STATE)) ||
	    get_le32(p + SNAP_HOLD_AT_KEY) >= ARENA_KEYS_MAX ||
	    get_le32(p + SNAP_HOLD_AT_ORG) >= ARENA_ORGS_MAX ||
	    get_le64(p + SNAP_HOLD_AT_UNITS) > UINT32_MAX ||
	    get_le64(p + SNAP_HOLD_AT_LEFT) > CLOCK_TICK_MAX - CLOCK_BIAS ||
	    get_le64(p + SNAP_HOLD_AT_TAKEN) / CLOCK_TICK_NS >
		    CLOCK_TICK_MAX - CLOCK_BIAS)
		return DAMAGED(r, "hold %u is out of range", r->number);
	if (r->arena && apply_hold(r, p))
		r->info->holds++;
	else
		r->info->skipped++;
	return 0;
}
