/* SPDX-License-Identifier: MIT */
/*
 * Tables of subjects and cells of usage as records.
 *
 * A subject's words change under the gate of its organization, which its name
 * does not tell. So they are read without one: each of its algorithms keeps
 * what counts in one word, and a window's ring is copied and put in order (see
 * copy_ring()). What is charged meanwhile is in it or not.
 */
#include "state/snapshot_internal.h"

#include "gate/claim.h"
#include "gate/outside.h"
#include "gate/step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- which tables there are ---- */

/* A table, and an organization that has a rule with it. */
struct table_user {
	uint64_t block; /* 0: no entry */
	uint32_t org;
};

struct tables {
	struct table_user *at; /* by hash; a power of two of them */
	uint32_t size, used;
};

#define TABLES_SIZE_MIN 64u

static struct table_user *find_place(const struct tables *t, uint64_t block)
{
	uint32_t i = (uint32_t)(block * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (i &= t->size - 1; t->at[i].block != 0 && t->at[i].block != block;)
		i = (i + 1) & (t->size - 1);
	return &t->at[i];
}

static int grow(struct tables *t)
{
	struct tables larger = {.size = t->size ? t->size * 2 : TABLES_SIZE_MIN,
				.used = t->used};

	larger.at = calloc(larger.size, sizeof(*larger.at));
	if (larger.at == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++)
		if (t->at[i].block != 0)
			*find_place(&larger, t->at[i].block) = t->at[i];
	free(t->at);
	*t = larger;
	return 0;
}

static int add_table(struct tables *t, uint64_t block, uint32_t org)
{
	struct table_user *place;
	int r;

	if (2 * t->used >= t->size) {
		r = grow(t);
		if (r < 0)
			return r;
	}
	place = find_place(t, block);
	if (place->block == 0) {
		t->used++;
		*place = (struct table_user){block, org};
	}
	return 0;
}

/* The plan of an organization that is there, or 0; in a section. */
static uint64_t plan_word(const struct arena *a, uint32_t slot)
{
	const struct org *org = &a->orgs[slot];

	return snap_slot_used(&org->state) ? claim_load(&org->plan) : 0;
}

static int add_tables(struct tables *t, const struct plan *plan, uint32_t org)
{
	int r = 0;

	for (uint32_t i = 0; i < plan->rules_count && r == 0; i++)
		if (plan->rules[i].level != LEVEL_ORG &&
		    plan->rules[i].table != 0)
			r = add_table(t, plan->rules[i].table, org);
	return r;
}

static int find_tables(struct snap_writer *w, struct tables *t)
{
	uint32_t slots = slots_read(&w->arena->header->org_slots);
	uint64_t last = 0;
	int r = 0;

	for (uint32_t slot = 1; slot < slots && r == 0; slot++) {
		uint64_t word;

		snap_enter(w);
		word = plan_word(w->arena, slot);
		/* Neighbours often share one. */
		if (word != 0 && word != last)
			r = add_tables(t, block_at(w->arena, word), slot);
		last = word;
		snap_leave(w);
	}
	return r;
}

static const struct rule *rule_with(const struct arena *a, uint32_t org,
				    uint64_t block)
{
	const struct plan *plan = block_at(a, plan_word(a, org));

	for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++)
		if (plan->rules[i].level != LEVEL_ORG &&
		    plan->rules[i].table == block)
			return &plan->rules[i];
	return NULL;
}

/* In a section: a rule with this table, of whoever has one now. NULL: nobody,
 * it is about to be freed. */
static const struct rule *rule_of(const struct arena *a, struct table_user *u)
{
	const struct rule *r = rule_with(a, u->org, u->block);
	uint32_t slots = slots_read(&a->header->org_slots);

	for (uint32_t slot = 1; r == NULL && slot < slots; slot++) {
		r = rule_with(a, slot, u->block);
		if (r != NULL)
			u->org = slot;
	}
	return r;
}

/* ---- subjects ---- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * The ring of a window that goes on while it is copied. The newest entry in the
 * copy has the total of all that was admitted before it. Those before it are in
 * the copy as well, but for some that had left the window and were overwritten;
 * in the order of their stamps, which is that of the words, what those held is
 * added to the one after it: it counts longer, never shorter. So the copy is a
 * ring in its last lap.
 */
static void copy_ring(word_t *to, const word_t *from, unsigned log2)
{
	uint64_t words[SNAP_SUBJECT_ADMISSIONS_MAX];
	size_t count = (size_t)1 << log2;

	for (size_t i = 0; i < count; i++)
		words[i] = claim_load(&from[i]);
	qsort(words, count, sizeof(words[0]), by_value);
	for (size_t i = 0; i < count; i++)
		/* PAIRS: nothing. Ours alone. */
		atomic_store_explicit(&to[i], words[i], memory_order_relaxed);
}

/* What is admitted at an address when it is let go (gate/outside.h). Read
 * before what is admitted, so that it is counted twice rather than not. */
static uint32_t read_held(const struct rule *r, struct outside *o)
{
	uint64_t held;

	if (r->level != LEVEL_ADDRESS)
		return 0;
	/* PAIRS: outside_release(), release: read before the admissions. */
	held = atomic_load_explicit(&o->held, memory_order_acquire);
	return held < r->limit ? (uint32_t)held : r->limit;
}

static size_t window_admissions(struct snap_writer *w, const struct rule *r,
				struct outside *o, unsigned log2, uint32_t held,
				const struct instant *now)
{
	word_t copy[SNAP_SUBJECT_ADMISSIONS_MAX];
	struct meter of_copy;
	struct view v;
	size_t count;

	memset(&of_copy, 0, sizeof(of_copy));
	/* PAIRS: nothing. Ours alone. The last entry is the newest. */
	atomic_store_explicit(&of_copy.level, UINT64_MAX << 32,
			      memory_order_relaxed);
	atomic_store_explicit(&of_copy.base, claim_load(&o->meter.base),
			      memory_order_relaxed);
	copy_ring(copy, subject_entries(r, o), log2);
	view_read(&v, w->arena, r, &of_copy, copy, log2, now);
	count = view_admissions(&v, w->admissions, (size_t)1 << log2);
	if (held != 0)
		w->admissions[count++] = (struct admission){now->ticks, held};
	return count;
}

static void stage_subject(struct snap_writer *w, const struct rule *r,
			  const struct subjects *t, uint32_t entry)
{
	struct outside *o = subjects_state(t, entry);
	unsigned log2 = subject_log2(r, t->stride);
	struct instant now = instant_now();
	uint64_t name, rest_ns = 0;
	size_t count = 0;
	uint32_t held;
	uint8_t *p;

	if (!subjects_name(t, entry, &name))
		return;
	held = read_held(r, o);
	if (held == 0 && meter_rests(r, w->arena, &o->meter,
				     subject_entries(r, o), log2, &now))
		return;
	if (r->algorithm == RULE_WINDOW) {
		count = window_admissions(w, r, o, log2, held, &now);
	} else {
		struct view v;

		view_read(&v, w->arena, r, &o->meter, NULL, 0, &now);
		rest_ns = v.level > now.ns ? v.level - now.ns : 0;
		rest_ns += held * r->unit_ns;
	}
	if (count == 0 && rest_ns == 0)
		return;
	p = snap_stage_record(w, SNAP_SUBJECT, entry / SUBJECTS_BUCKET,
			      SNAP_SUBJECT_BYTES);
	put_le64(p + SNAP_SUBJECT_AT_NAME, name);
	put_le64(p + SNAP_SUBJECT_AT_TAKEN, now.ns - INSTANT_BIAS_NS);
	put_le64(p + SNAP_SUBJECT_AT_REST_NS, snap_rest_ns(rest_ns));
	put_le32(p + SNAP_SUBJECT_AT_COUNT, (uint32_t)count);
	snap_stage_admissions(w, count, now.ticks);
	w->info->subjects++;
}

static void stage_table(struct snap_writer *w, const struct subjects *t,
			const struct rule *r)
{
	uint8_t *p = snap_stage_record(w, SNAP_TABLE,
				       r != NULL ? r->id : SNAP_CELLS_ID,
				       SNAP_TABLE_BYTES);

	struct instant now = instant_now();

	put_le32(p + SNAP_TABLE_AT_BUCKETS, t->count);
	put_le32(p + SNAP_TABLE_AT_STRIDE, t->stride);
	put_le64(p + SNAP_TABLE_AT_TAKEN, now.ns - INSTANT_BIAS_NS);
	if (t->full_until_ns > now.ns)
		put_le64(p + SNAP_TABLE_AT_FULL_NS,
			 snap_rest_ns(t->full_until_ns - now.ns));
	if (r == NULL)
		return;
	put_le32(p + SNAP_TABLE_AT_ALGORITHM, r->algorithm);
	put_le32(p + SNAP_TABLE_AT_LEVEL, r->level);
}

static bool can_be_saved(const struct rule *r, const struct subjects *t)
{
	if (r->algorithm == RULE_WINDOW)
		return t->stride > LINE_BYTES;
	/* Leases are saved with their holds. */
	return r->algorithm == RULE_GCRA && t->stride >= sizeof(struct outside);
}

static void save_table(struct snap_writer *w, struct table_user *u)
{
	uint32_t bucket = 0, buckets;

	do {
		const struct rule *r;
		struct subjects t;

		snap_enter(w);
		r = rule_of(w->arena, u);
		if (r == NULL || !subjects_open(&t, w->arena, u->block) ||
		    !can_be_saved(r, &t)) {
			snap_leave(w);
			return;
		}
		if (bucket == 0)
			stage_table(w, &t, r);
		buckets = t.count;
		for (uint32_t i = 0; i < SUBJECTS_BUCKET; i++)
			stage_subject(w, r, &t, bucket * SUBJECTS_BUCKET + i);
		snap_leave(w);
		snap_put_stage(w);
	} while (++bucket < buckets && !w->error);
}

/* ---- cells of usage ---- */

/* Is there anything in it that usage.db does not have? */
static bool pending(const struct cell *c)
{
	bool any =
		claim_load(&c->used) != claim_load(&c->collected_used) ||
		claim_load(&c->returned) != claim_load(&c->collected_returned);

	/* PAIRS: nothing. Counts, and this thread's own words. */
	for (int d = 0; d < DENIAL_COUNT; d++)
		any |= atomic_load_explicit(&c->denied[d],
					    memory_order_relaxed) !=
		       atomic_load_explicit(&c->collected_denied[d],
					    memory_order_relaxed);
	return any;
}

static void stage_cell(struct snap_writer *w, const struct subjects *t,
		       uint32_t entry)
{
	const struct cell *cell = subjects_state(t, entry);
	const word_t *words = (const word_t *)(const void *)cell;
	uint64_t name;
	uint8_t *p;

	if (!subjects_name(t, entry, &name) || !pending(cell))
		return;
	p = snap_stage_record(w, SNAP_CELL, entry / SUBJECTS_BUCKET,
			      SNAP_CELL_BYTES);
	put_le64(p + SNAP_CELL_AT_NAME, name);
	for (size_t i = 0; i < SNAP_CELL_WORDS; i++)
		put_le64(p + SNAP_CELL_AT_WORDS + i * sizeof(word_t),
			 claim_load(&words[i]));
	w->info->cells++;
}

bool snap_open_cells(struct arena *a, struct subjects *t)
{
	/* PAIRS: nothing. Made before workers run. */
	return subjects_open(
		t, a,
		atomic_load_explicit(&a->header->cells, memory_order_relaxed));
}

static void save_cells(struct snap_writer *w)
{
	struct subjects t;

	if (!snap_open_cells(w->arena, &t) || t.stride != sizeof(struct cell))
		return;
	stage_table(w, &t, NULL);
	for (uint32_t bucket = 0; bucket < t.count && !w->error; bucket++) {
		for (uint32_t i = 0; i < SUBJECTS_BUCKET; i++)
			stage_cell(w, &t, bucket * SUBJECTS_BUCKET + i);
		snap_put_stage(w);
	}
}

void snap_save_tables(struct snap_writer *w)
{
	struct tables tables = {0};
	int r = find_tables(w, &tables);

	if (r < 0 && !w->error)
		w->error = r;
	save_cells(w);
	for (uint32_t i = 0; i < tables.size && !w->error; i++)
		if (tables.at[i].block != 0)
			save_table(w, &tables.at[i]);
	free(tables.at);
}
