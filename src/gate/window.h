/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_WINDOW_H
#define STILE_GATE_WINDOW_H

/*
 * gate/window - an organization's exact sliding window, as a snapshot sees it
 * and as the control thread changes it. (The decision itself is in
 * gate/decide.)
 *
 * Exactness  no window of the rule's length ever holds more units than the
 *            limit; a unit comes back at most two ticks (8 us) late.
 * Source     sliding log with totals; see docs/architecture.md.
 */
#include "gate/layout.h"

#include <stddef.h>
#include <stdint.h>

struct arena;

/* One admission: when, and how many units. */
struct admission {
	uint64_t stamp; /* clock_ticks() */
	uint32_t units;
};

/* Everything of an organization that a snapshot keeps, read at one instant. */
struct window_image {
	uint64_t used;	/* units allowed, ever */
	size_t count;	/* admissions still in the window, oldest first */
};

/*
 * Reads organization `slot` at one instant, whatever the workers do
 * (lock-free; retries while decisions get through). Fills at most `cap`
 * admissions, the newest; LIMIT_MAX is always enough.
 */
void window_save(struct arena *a, uint32_t slot, uint64_t now,
		 struct window_image *ret_image, struct admission *out,
		 size_t cap);

/* Before workers run: puts a saved image into a fresh organization whose rule
 * and ring are set. Admissions must be oldest first; those beyond what the
 * ring can hold (its oldest) are dropped. */
void window_restore(struct arena *a, uint32_t slot,
		    const struct window_image *image,
		    const struct admission *in);

#endif
