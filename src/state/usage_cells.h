/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_USAGE_CELLS_H
#define STILE_STATE_USAGE_CELLS_H

/*
 * state/usage_cells - usage by route: the part of state/usage that looks into
 * the table of cells (gate/subjects.h, header->cells).
 *
 * Exactness  a key's total is read first and its cells after it, so of a cell
 *            no more is taken than the key has grown by; the rest is found by
 *            the next collection. So what named no route, the difference, is
 *            never negative, and all rows of a key always add up to `used`.
 */
#include "state/usage.h"

struct usage_batch;

/* Adds cells to the batch, of the keys in it and others that were denied or
 * given something back. Looks at `max` entries from b->cell_next on, at each
 * once at most, while there is room; returns how many. */
uint32_t usage_cells_scan(const struct usage *u, struct usage_batch *b,
			  struct epoch_reader *reader, uint32_t max);
/* Entries of the table; 0: there is none. */
uint32_t usage_cells_count(const struct usage *u);
/* The collected words of an entry, if it still has this owner. */
void usage_cells_put_back(const struct usage *u, uint32_t entry, uint64_t owner,
			  uint64_t used, uint64_t returned,
			  const uint32_t denied[static DENIAL_COUNT]);

/* For subjects_retire(): all that the cell has counted is in the rows. A hold
 * may still name it (hold->cell): that is for the caller to know. */
bool usage_cell_at_rest(const void *cell, void *arg);

#endif
