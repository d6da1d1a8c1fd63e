/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_WINDOW_H
#define STILE_GATE_WINDOW_H

/*
 * gate/window - an organization's exact sliding window.
 *
 * Does       a log of admissions in a ring: each entry holds when (46 bits of
 *            ticks) and how many units had been allowed before it (modulo
 *            2^18). Checks that are admitted by one claim share an entry. Units
 * in the window = allowed so far - allowed before the first entry that is
 * younger than the window. Threads    window_take(), window_peek(),
 * window_save(): any, at any time. The others: the control thread, see each.
 * Progress   lock-free (gate/claim.h).
 * Exactness  no window of the rule's length ever holds more units than the
 *            limit. A unit comes back when a whole window and one tick have
 *            passed since its tick: at most 8 us late, never early.
 * Memory     one 8-byte entry per unit of the limit, rounded up to a power of
 *            two; handed in by the control thread.
 * Time       ticks of base/clock.h, passed in.
 * Proof      tests/gate/window_trace_test.c (against a naive log),
 *            tests/torture/window_torture.c (threads, against a serial
 *            execution), tests/torture/save_torture.c (window_save).
 */
#include "gate/claim.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the window says about a check, all in ticks from `now`. */
struct window_answer {
	bool allowed;
	uint32_t limit;
	uint32_t in_window; /* units, this check included if it was counted */
	uint64_t window;
	uint64_t reset; /* until the window is at rest; 0 = it is */
	uint64_t retry; /* denied: until `cost` units can pass (0: never, the
			 * cost is above the limit). allowed: until the next
			 * unit comes back, 0 = at rest */
};

/* So many checks can be decided as one step: each may be of another key, and
 * beside their totals stand the organization's head, tail, total and entry. */
#define WINDOW_ASKS_MAX (CLAIM_WORDS_MAX - 4)

/* A check that wants to be counted. */
struct window_ask {
	word_t *key_used; /* may be NULL */
	uint32_t cost;
	struct window_answer answer;
};

/*
 * Asks for the units of `count` <= WINDOW_ASKS_MAX checks, in their order, and
 * counts those that are allowed for the organization and for their keys, all
 * in one step: they follow each other in the serial execution with nothing
 * between. A denial writes nothing and holds nothing back: a later check that
 * fits passes. `now` may be behind other threads' clocks: the newest stamp
 * counts if it is later.
 */
void window_take(struct claim *c, struct org *org, struct window_ask *asks,
		 unsigned count, uint64_t now);

/* One check. */
static inline void window_take_one(struct claim *c, struct org *org,
				   word_t *key_used, uint32_t cost,
				   uint64_t now,
				   struct window_answer *ret_answer)
{
	struct window_ask ask = {.key_used = key_used, .cost = cost};

	window_take(c, org, &ask, 1, now);
	*ret_answer = ask.answer;
}

/*
 * Fetches the ring entries that a decision will read first and the place that
 * it will write, so that the misses of a batch overlap. Reads both lines of
 * the organization: have them fetched before. A hint: whatever it reads, torn
 * or old, does no harm.
 */
void window_prefetch(const struct arena *a, const struct org *org);

/* The same answer, counting nothing. cost 0 is allowed here. */
void window_peek(struct arena *a, struct org *org, uint32_t cost, uint64_t now,
		 struct counters *counters, struct window_answer *ret_answer);

/* rule word <-> numbers */
static inline uint64_t window_rule(uint32_t limit, uint64_t window_ticks)
{
	return window_ticks << LIMIT_BITS | limit;
}

/* log2 of the ring entries that a limit needs (at least 8 entries: a line). */
unsigned window_ring_log2(uint32_t limit);

/*
 * The control thread changes rule and ring while checks go on. A lowered
 * limit binds at once; a longer window starts with what the shorter one still
 * held; a higher limit needs a ring that holds it first:
 *
 *	swap, grace period, drain, grace period; then the old ring is free.
 *
 * The next change of the same kind needs a grace period after this one
 * (base/epoch.h). A swap that finds the previous one not drained (after a
 * crash) must drain it first.
 */
void window_change_rule(struct claim *c, struct org *org, uint64_t rule);
void window_swap_ring(struct claim *c, struct org *org, uint64_t ring);
bool window_ring_drained(const struct org *org);
void window_drain_ring(struct claim *c, struct org *org);

/* One admission: when, and how many units. */
struct admission {
	uint64_t stamp; /* clock_ticks() */
	uint32_t units;
};

/* Everything of an organization that a snapshot keeps, read at one instant. */
struct window_image {
	uint64_t used; /* units allowed, ever */
	size_t count;  /* admissions still in the window, oldest first */
};

/*
 * Reads organization `slot` at one instant, whatever the workers do. Fills at
 * most `cap` admissions, the newest; LIMIT_MAX is always enough. Must run
 * inside an epoch section (the ring must not be re-used under it). Admissions
 * that left the window while they were being copied may be missing.
 */
void window_save(struct arena *a, uint32_t slot, uint64_t now,
		 struct window_image *ret_image, struct admission *out,
		 size_t cap);

/* Before workers run: puts a saved image into a fresh organization whose rule
 * and ring are set. Admissions must be oldest first; when the ring cannot
 * hold them all the oldest are merged into one entry (which keeps them
 * counted longer, never shorter). */
void window_restore(struct arena *a, uint32_t slot,
		    const struct window_image *image,
		    const struct admission *in);

#endif
