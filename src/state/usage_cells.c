/* SPDX-License-Identifier: MIT */
#include "state/usage_cells.h"

#include "base/epoch.h"
#include "gate/claim.h"
#include "gate/routes.h"
#include "gate/subjects.h"
#include "state/usage_internal.h"

#include <stdlib.h>

static bool open_table(const struct usage *u, struct subjects *t)
{
	/* PAIRS: the control thread's store when it made the table, release:
	 * the block is formatted. */
	uint64_t block = atomic_load_explicit(&u->arena->header->cells,
					      memory_order_acquire);

	return block != 0 && subjects_open(t, u->arena, block) &&
	       t->stride >= sizeof(struct cell);
}

/* ---- what a key's difference leaves for its cells ---- */

static int compare_slot(const void *slot, const void *change)
{
	uint32_t a = *(const uint32_t *)slot;
	uint32_t b = ((const struct usage_change *)change)->slot;

	return a < b ? -1 : a > b;
}

/* As much of `want` (USED_*) as the key's total has grown by and no other cell
 * has taken. */
static uint64_t take(struct usage_batch *b, uint32_t key, uint64_t want)
{
	struct usage_change *c =
		bsearch(&key, b->changes, b->count, sizeof(*c), compare_slot);
	uint64_t units, checks;

	if (c == NULL)
		return 0;
	units = USED_UNITS(want) < USED_UNITS(c->rest) ? USED_UNITS(want)
						       : USED_UNITS(c->rest);
	checks = USED_CHECKS(want) < USED_CHECKS(c->rest)
			 ? USED_CHECKS(want)
			 : USED_CHECKS(c->rest);
	c->rest = (USED_CHECKS(c->rest) - checks) << USED_UNIT_BITS |
		  (USED_UNITS(c->rest) - units);
	return checks << USED_UNIT_BITS | units;
}

/* ---- cells ---- */

static const char *route_name(const struct usage *u, uint64_t owner)
{
	uint64_t route = CELL_ROUTE(owner);

	if (route == 0)
		return "";
	for (uint32_t i = 0; u->routes != NULL && i < u->routes->count; i++)
		if ((u->routes->routes[i].hash & CELL_ROUTE_MASK) == route)
			return u->routes->routes[i].name;
	return USAGE_ROUTE_OTHER;
}

/* Denials, and what was given back. True: some. */
static bool find_rest(struct cell *cell, struct usage_cell_change *c)
{
	uint64_t returned = claim_load(&cell->returned);
	bool some = false;

	/* PAIRS: nothing: this thread's own words; and the workers' counts,
	 * acquire for the owner, see cell_own(). */
	c->returned = returned;
	c->sums.returned =
		returned - atomic_load_explicit(&cell->collected_returned,
						memory_order_relaxed);
	some = c->sums.returned != 0;
	for (int d = 0; d < DENIAL_COUNT; d++) {
		c->denied[d] = atomic_load_explicit(&cell->denied[d],
						    memory_order_acquire);
		c->sums.denied[d] =
			(uint32_t)(c->denied[d] -
				   atomic_load_explicit(
					   &cell->collected_denied[d],
					   memory_order_relaxed));
		some |= c->sums.denied[d] != 0;
	}
	return some;
}

static void find_change(const struct usage *u, struct usage_batch *b,
			struct cell *cell, uint32_t entry)
{
	struct usage_cell_change *c = &b->cells[b->cell_count];
	uint64_t used = claim_load(&cell->used), from, taken;
	bool some;

	*c = (struct usage_cell_change){.cell = cell, .entry = entry};
	some = find_rest(cell, c);
	/* PAIRS: nothing: this thread's own word. */
	from = atomic_load_explicit(&cell->collected_used,
				    memory_order_relaxed);
	if (!some && used == from)
		return;
	/* PAIRS: cell_own(), release: read after the counts. */
	c->owner = atomic_load_explicit(&cell->owner, memory_order_acquire);
	if (CELL_KEY(c->owner) == 0 ||
	    CELL_KEY(c->owner) >= slots_read(&u->arena->header->key_slots))
		return;
	taken = take(b, CELL_KEY(c->owner), used_between(from, used));
	if (!some && taken == 0)
		return;
	c->used = used_add(from, USED_UNITS(taken), USED_CHECKS(taken));
	c->sums.units = USED_UNITS(taken);
	c->sums.checks = USED_CHECKS(taken);
	usage_find_subject(u->arena, CELL_KEY(c->owner), &c->subject);
	c->route = route_name(u, c->owner);
	b->cell_count++;
}

uint32_t usage_cells_scan(const struct usage *u, struct usage_batch *b,
			  struct epoch_reader *reader, uint32_t max)
{
	uint32_t end, looked = 0;
	struct subjects t;

	if (!open_table(u, &t))
		return 0;
	end = subjects_capacity(&t);
	if (max > end)
		max = end;
	while (looked < max && b->cell_count < USAGE_CELL_BATCH) {
		if (reader != NULL)
			epoch_enter(reader);
		for (uint32_t i = 0; i < USAGE_STRETCH && looked < max &&
				     b->cell_count < USAGE_CELL_BATCH;
		     i++, looked++) {
			if (b->cell_next >= end)
				b->cell_next = 0;
			find_change(u, b, subjects_state(&t, b->cell_next),
				    b->cell_next);
			b->cell_next++;
		}
		if (reader != NULL)
			epoch_leave(reader);
	}
	return looked;
}

void usage_cells_put_back(const struct usage *u, uint32_t entry, uint64_t owner,
			  uint64_t used, uint64_t returned,
			  const uint32_t denied[static DENIAL_COUNT])
{
	struct subjects t;
	struct cell *cell;

	if (!open_table(u, &t) || entry >= subjects_capacity(&t))
		return;
	cell = subjects_state(&t, entry);
	/* PAIRS: nothing, here and below: before there are workers, or words
	 * that only this thread writes. */
	if (atomic_load_explicit(&cell->owner, memory_order_relaxed) != owner)
		return;
	atomic_store_explicit(&cell->collected_used, used,
			      memory_order_relaxed);
	atomic_store_explicit(&cell->collected_returned, returned,
			      memory_order_relaxed);
	for (int d = 0; d < DENIAL_COUNT; d++)
		atomic_store_explicit(&cell->collected_denied[d], denied[d],
				      memory_order_relaxed);
}

uint32_t usage_cells_count(const struct usage *u)
{
	struct subjects t;

	return open_table(u, &t) ? subjects_capacity(&t) : 0;
}

bool usage_cell_at_rest(const void *state, void *arg)
{
	const struct cell *c = state;
	bool rest;

	(void)arg;
	/* PAIRS: usage_settle(), release. */
	rest = claim_load(&c->used) ==
		       atomic_load_explicit(&c->collected_used,
					    memory_order_acquire) &&
	       claim_load(&c->returned) ==
		       atomic_load_explicit(&c->collected_returned,
					    memory_order_acquire);
	for (int d = 0; rest && d < DENIAL_COUNT; d++)
		/* PAIRS: the same; and the workers' counts: a grace period
		 * orders those that matter. */
		rest = atomic_load_explicit(&c->denied[d],
					    memory_order_relaxed) ==
		       atomic_load_explicit(&c->collected_denied[d],
					    memory_order_acquire);
	return rest;
}
