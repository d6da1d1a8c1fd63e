/* SPDX-License-Identifier: MIT */
/*
 * Tables of subjects (gate/subjects.h) for the rules of other levels than the
 * organization, and what all organizations share: request ids, cells of usage,
 * holds.
 *
 * A rule's table is found by the rule's number in the records and by what it is
 * for; blocks of rules that name it keep it. A limit that outgrows the entries
 * of its table, or is to have room for another number of subjects, gets another
 * one and reads the old one (registry_priors.c). One of level address does not:
 * it counts on in its table, with coarser stamps (gate/meter.h), as one does
 * that is above the entries of any table.
 */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "gate/decide.h"
#include "gate/meter.h"
#include "gate/outside.h"
#include "gate/step.h"
#include "gate/subjects.h"
#include "state/arena.h"
#include "state/usage_cells.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- tables of rules ---- */

/* Entries of a window that nobody asked for few subjects of; above them stamps
 * are coarser. */
#define ENTRIES_USUAL_LOG2 12u
/* What a table may take for an entry for each unit. */
#define TABLE_BYTES_EXACT (UINT64_C(64) << 20)

/* Bytes of a state; `subjects`: how many were asked for, 0: the usual. */
static uint32_t stride_of(const struct rule *r, uint32_t subjects)
{
	uint32_t limit =
		r->limit < METER_EXACT_MAX ? r->limit : METER_EXACT_MAX - 1;
	/* One that is left over tells what the oldest stands for, when the
	 * limit is raised and all others count. */
	unsigned log2 =
		r->algorithm == RULE_WINDOW ? meter_ring_log2(limit + 1) : 0;

	if (log2 > ENTRIES_USUAL_LOG2 &&
	    (subjects == 0 ||
	     subjects_bytes(subjects, outside_stride(r, log2)) >
		     TABLE_BYTES_EXACT))
		log2 = ENTRIES_USUAL_LOG2;
	return outside_stride(r, log2);
}
static_assert(METER_EXACT_MAX <= 1u << SUBJECTS_ENTRIES_LOG2, "they fit");

/* Can this rule count there? `any`: with coarser stamps, and for another number
 * of subjects than was asked for. */
static bool serves(const struct rule_table *t, const struct rule *r,
		   uint32_t subjects, bool any)
{
	if (t->block == 0 || t->rule != r->id || t->algorithm != r->algorithm ||
	    t->level != r->level)
		return false;
	return any ||
	       (t->wanted == subjects && t->stride >= stride_of(r, subjects));
}

/* Of several the one with the largest entries: it was there last, and is found
 * again after a restart. */
static struct rule_table *find_table(struct registry *g, const struct rule *r,
				     uint32_t subjects, bool any)
{
	struct rule_table *best = NULL;

	for (size_t i = 0; i < g->tables_count; i++) {
		struct rule_table *t = &g->tables[i];

		if (serves(t, r, subjects, any) &&
		    (best == NULL || t->stride > best->stride))
			best = t;
	}
	return best;
}

static struct rule_table *table_at(struct registry *g, uint64_t block)
{
	for (size_t i = 0; block != 0 && i < g->tables_count; i++)
		if (g->tables[i].block == block)
			return &g->tables[i];
	return NULL;
}

/* That this rule has to count in although it may not suit. */
static struct rule_table *stay(struct registry *g, uint32_t org,
			       const struct rule *old, const struct rule *r)
{
	struct rule_table *t = old != NULL ? table_at(g, old->table) : NULL;

	return t != NULL && serves(t, r, 0, true) && priors_full(g, org, old)
		       ? t
		       : NULL;
}

static struct rule_table *new_entry(struct registry *g)
{
	size_t room = g->tables_room ? 2 * g->tables_room : 16;
	struct rule_table *p;

	for (size_t i = 0; i < g->tables_count; i++)
		if (g->tables[i].block == 0)
			return &g->tables[i];
	if (g->tables_count == g->tables_room) {
		p = realloc(g->tables, room * sizeof(*p));
		if (p == NULL)
			return NULL;
		g->tables = p;
		g->tables_room = room;
	}
	return &g->tables[g->tables_count++];
}

/* A large window has large entries: fewer of them, when nobody said how
 * many. */
#define TABLE_BYTES_USUAL (UINT64_C(160) << 20)
#define SUBJECTS_USUAL_MIN 256u

static uint32_t usual_subjects(const struct registry *g, uint32_t stride)
{
	uint32_t count = g->options.subjects;

	while (count / 2 >= SUBJECTS_USUAL_MIN &&
	       subjects_bytes(count, stride) > TABLE_BYTES_USUAL)
		count /= 2;
	return count;
}

static int make_block(struct registry *g, uint32_t count, uint32_t stride,
		      uint64_t *ret_block)
{
	uint64_t bytes = subjects_bytes(count, stride);
	unsigned log2 = apply_log2(bytes);
	int r;

	if (log2 > RINGS_LOG2_MAX)
		return -ENOSPC;
	r = rings_take(&g->rings, log2, ret_block);
	if (r == 0)
		subjects_format(g->arena, *ret_block, count, stride);
	return r;
}

int tables_take(struct registry *g, uint32_t org, const struct rule *old,
		struct rule *r, uint32_t subjects)
{
	struct rule_table *t =
		find_table(g, r, subjects, r->level == LEVEL_ADDRESS);
	int e;

	if (t == NULL)
		t = stay(g, org, old, r);
	if (t == NULL) {
		t = new_entry(g);
		if (t == NULL)
			return -ENOMEM;
		memset(t, 0, sizeof(*t));
		t->rule = r->id;
		t->algorithm = r->algorithm;
		t->level = r->level;
		t->stride = stride_of(r, subjects);
		t->wanted = subjects;
		e = make_block(g,
			       subjects != 0 ? subjects
					     : usual_subjects(g, t->stride),
			       t->stride, &t->block);
		if (e < 0) {
			t->block = 0;
			return e;
		}
		*subjects_note(g->arena, t->block) = (struct subjects_note){
			.rule = r->id, .wanted = subjects};
	} else {
		priors_shrink(g, t->block, &t->sample, r);
	}
	r->table = t->block;
	t->sample = *r;
	return 0;
}

static void ref_priors(struct registry *g, const struct rule *r)
{
	for (unsigned i = 0; i < RULE_PRIORS_MAX; i++) {
		struct rule_table *t = table_at(g, r->prior[i]);

		if (t == NULL)
			continue;
		t->refs++;
		t->prior_refs++;
		if (r->algorithm == RULE_WINDOW && t->prior_span < r->span)
			t->prior_span = r->span;
	}
}

void tables_ref(struct registry *g, const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		struct rule_table *t = table_at(g, plan->rules[i].table);

		if (t != NULL)
			t->refs++;
		ref_priors(g, &plan->rules[i]);
	}
}

static void unref(struct registry *g, struct rule_table *t)
{
	if (--t->refs != 0)
		return;
	if (t->algorithm == RULE_CONCURRENCY)
		leases_forget(g, apply_block(g, t->block),
			      sizeof(word_t) << RING_LOG2(t->block));
	/* Who has just ended a hold may be about to give its lease back, and
	 * the hold says something else by now: nothing was there to be
	 * forgotten. */
	if (t->algorithm == RULE_CONCURRENCY && t->level == LEVEL_ADDRESS)
		epoch_wait(g->epoch);
	rings_give(&g->rings, t->block);
	t->block = 0;
}

static void unref_priors(struct registry *g, const struct rule *r)
{
	for (unsigned i = 0; i < RULE_PRIORS_MAX; i++) {
		struct rule_table *t = table_at(g, r->prior[i]);

		if (t == NULL)
			continue;
		if (--t->prior_refs == 0)
			t->prior_span = 0;
		unref(g, t);
	}
}

void tables_unref(struct registry *g, const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		struct rule_table *t = table_at(g, plan->rules[i].table);

		if (t != NULL)
			unref(g, t);
		unref_priors(g, &plan->rules[i]);
	}
}

void tables_abandon(struct registry *g)
{
	for (size_t i = 0; i < g->tables_count; i++) {
		struct rule_table *t = &g->tables[i];

		if (t->block == 0 || t->refs != 0)
			continue;
		rings_give(&g->rings, t->block);
		t->block = 0;
	}
}

/* A table that this rule counts in, or did. */
static int adopt(struct registry *g, const struct rule *r, uint64_t block)
{
	const struct subjects_note *note;
	struct rule_table *t;
	struct subjects s;
	int e;

	if (block == 0 || table_at(g, block) != NULL)
		return 0;
	e = rings_adopt(&g->rings, block);
	if (e == 0)
		e = arena_reserve(g->file, REGION_RINGS,
				  (uint64_t)RING_PLACE(block) * LINE_BYTES +
					  (sizeof(word_t) << RING_LOG2(block)));
	if (e < 0)
		return e;
	if (!subjects_open(&s, g->arena, block))
		return -EINVAL;
	t = new_entry(g);
	if (t == NULL)
		return -ENOMEM;
	note = subjects_note(g->arena, block);
	*t = (struct rule_table){.rule = note->rule,
				 .algorithm = r->algorithm,
				 .level = r->level,
				 .stride = s.stride,
				 .wanted = note->wanted,
				 .block = block,
				 .sample = *r};
	return 0;
}

int tables_adopt(struct registry *g, const struct plan *plan)
{
	int e = 0;

	for (uint32_t i = 0; i < plan->rules_count && e == 0; i++) {
		const struct rule *r = &plan->rules[i];

		e = adopt(g, r, r->table);
		for (unsigned k = 0; k < RULE_PRIORS_MAX && e == 0; k++)
			e = adopt(g, r, r->prior[k]);
	}
	return e;
}

/* What a dead process held at addresses is admitted there. (Leases:
 * leases_count().) */
void tables_recover(struct registry *g, const struct plan *plan)
{
	struct instant now = instant_now();

	for (uint32_t i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];
		struct subjects s;

		if (r->level != LEVEL_ADDRESS ||
		    r->algorithm == RULE_CONCURRENCY || r->table == 0 ||
		    !subjects_open(&s, g->arena, r->table))
			continue;
		for (uint32_t k = 0; k < subjects_capacity(&s); k++) {
			struct outside *o = subjects_state(&s, k);

			outside_recover(&g->claim, r, o, subject_entries(r, o),
					subject_log2(r, s.stride), &now);
		}
	}
}

void tables_deinit(struct registry *g)
{
	free(g->tables);
}

/* ---- what all share ---- */

/* At start: keeps the block when it is there and of this size. */
static int keep_or_make(struct registry *g, word_t *word, uint32_t count,
			uint32_t stride)
{
	struct subjects t;
	uint64_t block = claim_load(word);
	int r = 0;

	if (block != 0 && subjects_open(&t, g->arena, block) &&
	    t.stride == stride && subjects_capacity(&t) >= count)
		return 0;
	slot_set_word(word, 0);
	if (block != 0)
		rings_give(&g->rings, block);
	if (count != 0) {
		r = make_block(g, count, stride, &block);
		if (r == 0)
			slot_set_word(word, block);
	}
	return r;
}

#define BLOCK_BYTES_MAX ((uint64_t)sizeof(word_t) << RINGS_LOG2_MAX)
#define ONCE_STRIDE (2 * sizeof(word_t))
static_assert((uint64_t)REGISTRY_HOLDS_MAX * sizeof(struct hold) <=
			      BLOCK_BYTES_MAX &&
		      SUBJECTS_BYTES(REGISTRY_IDS_MAX, ONCE_STRIDE) <=
			      BLOCK_BYTES_MAX &&
		      SUBJECTS_BYTES(REGISTRY_CELLS_MAX, sizeof(struct cell)) <=
			      BLOCK_BYTES_MAX,
	      "the largest block");

static int keep_or_make_holds(struct registry *g)
{
	struct arena_header *h = g->arena->header;
	uint64_t block = claim_load(&h->holds);
	uint64_t fresh = 0;
	uint32_t count = g->options.holds;
	int r = 0;

	if (block != 0 && h->holds_count == count)
		return 0;
	if (count != 0)
		r = rings_take(&g->rings,
			       apply_log2(count * sizeof(struct hold)), &fresh);
	if (r < 0)
		return r;
	if (block != 0) {
		holds_move(apply_block(g, block), h->holds_count,
			   fresh != 0 ? apply_block(g, fresh) : NULL, count);
		rings_give(&g->rings, block);
	}
	slot_set_word(&h->holds, fresh);
	h->holds_count = count;
	if (block == 0 && count != 0)
		gate_name_holds(g->arena, clock_wall_ms());
	return r;
}

int shared_adopt(struct registry *g)
{
	struct arena_header *h = g->arena->header;
	const uint64_t blocks[] = {claim_load(&h->once), claim_load(&h->cells),
				   claim_load(&h->holds)};
	int r = 0;

	for (unsigned i = 0; i < 3 && r == 0; i++)
		if (blocks[i] != 0)
			r = rings_adopt(&g->rings, blocks[i]);
	return r;
}

static int no_room(struct registry *g, int r, const char *option,
		   uint32_t count)
{
	if (r != -ENOSPC)
		return r;
	return registry_fail(g, r,
			     "no room for %s: %u: lower it, raise ring_bytes, "
			     "or enlarge the arena's tmpfs",
			     option, count);
}

int shared_make(struct registry *g)
{
	struct arena_header *h = g->arena->header;
	int r;

	if (h->seed == 0 &&
	    getrandom(&h->seed, sizeof(h->seed), 0) != sizeof(h->seed))
		return -EIO;
	r = keep_or_make(g, &h->once, g->options.request_ids, ONCE_STRIDE);
	if (r < 0)
		return no_room(g, r, "request_ids", g->options.request_ids);
	r = keep_or_make(g, &h->cells, g->options.cells, sizeof(struct cell));
	if (r < 0)
		return no_room(g, r, "usage_cells", g->options.cells);
	r = keep_or_make_holds(g);
	return r < 0 ? no_room(g, r, "holds", g->options.holds) : 0;
}

/* ---- entries whose subject is at rest ---- */

struct resting {
	const struct registry *g;
	const struct rule *rule;
	uint32_t stride;
	struct instant now;
};

static bool meter_is_at_rest(const void *state, void *arg)
{
	const struct resting *r = arg;
	struct outside *o = (struct outside *)(uintptr_t)state;

	word_t *entries = subject_entries(r->rule, o);
	unsigned log2 = subject_log2(r->rule, r->stride);

	/* Of other levels nothing is ever held. */
	if (!outside_rests(r->g->arena, r->rule, o, entries, log2, &r->now))
		return false;
	meter_seal(r->g->arena, r->rule, &o->meter, entries, log2, &r->now);
	return true;
}

static bool once_is_at_rest(const void *state, void *arg)
{
	const struct resting *r = arg;
	const word_t *when = state;

	return ONCE_NS(claim_load(when)) +
		       r->g->options.request_id_ms * UINT64_C(1000000) <=
	       r->now.ns;
}

/* Every entry is looked at once in so many steps. */
#define TEND_STEPS 8u

static void tend(struct registry *g, const struct subjects *t,
		 struct table_tending *at, subjects_rest_fn *rests,
		 struct resting *r)
{
	r->stride = t->stride;
	if (at->marked)
		subjects_free(t, &g->claim, rests, r);
	at->marked = subjects_retire(t, &g->claim, &at->cursor,
				     subjects_capacity(t) / TEND_STEPS + 1,
				     rests, r) != 0;
}

void registry_tend(struct registry *g)
{
	struct resting r = {.g = g, .now = instant_now()};
	struct subjects t;

	/* What was marked the last time has waited since. */
	epoch_wait(g->epoch);
	if (subjects_open(&t, g->arena, claim_load(&g->arena->header->once)))
		tend(g, &t, &g->once_tending, once_is_at_rest, &r);
	if (subjects_open(&t, g->arena, claim_load(&g->arena->header->cells)))
		tend(g, &t, &g->cells_tending, usage_cell_at_rest, &r);
	for (size_t i = 0; i < g->tables_count; i++) {
		struct rule_table *table = &g->tables[i];
		struct rule longest = table->sample;

		if (table->block == 0 ||
		    !subjects_open(&t, g->arena, table->block))
			continue;
		/* At rest for all who read it. */
		if (longest.span < table->prior_span)
			longest.span = table->prior_span;
		r.rule = &longest;
		tend(g, &t, &table->tending, meter_is_at_rest, &r);
	}
}
