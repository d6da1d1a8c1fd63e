/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_SUBJECTS_H
#define STILE_GATE_SUBJECTS_H

/*
 * gate/subjects - a fixed-size table of what turns up while checks go on: keys,
 * labels, addresses that a rule counts; request ids; cells of usage.
 *
 * Does       finds the state of a subject by a 64-bit hash, or takes a free
 *            entry for it. A home bucket of 31 entries under one gate
 *            (gate/claim.h): every change of an entry's name is a claim of
 *            that gate, so no subject ever has two entries.
 * Identity   50 bits of the hash are compared, and 14 others choose the bucket:
 *            a new subject is taken for another one once in 2^46 times (in a
 *            table of B > 2^14 buckets: 2^60 / B).
 * Threads    subjects_find(), subjects_take(): workers, inside an epoch
 *            section. subjects_retire(), subjects_free(): the control thread.
 * Progress   find is wait-free, take is lock-free.
 * Reuse      an entry goes USED -> RETIRING (control, when its state is at
 *            rest) -> grace period -> FREE, if its state is still at rest and
 *            nobody took it back meanwhile: take() of a retiring subject
 *            revives it. A new subject finds the words of the last one, whose
 *            limit was at rest: nothing is ever set back, so a helper that
 *            comes late fails.
 * Bound      a full bucket is SUBJECTS_FULL. In a table that holds as many as
 *            it was made for (half its entries) that is one bucket in six
 *            thousand, and one new subject in fifty thousand.
 * Memory     in the arena's ring region; named by its block. The table takes
 *            the whole block: what the block's power of two leaves is entries.
 * Proof      tests/torture/subjects_torture.c (threads),
 *            tests/interleave/subjects_interleave.c (all orders of a few)
 */
#include "gate/claim.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define SUBJECTS_BUCKET 31
/* Entries of a window in a state: one for each unit of the largest limit. */
#define SUBJECTS_ENTRIES_LOG2 16u
#define SUBJECTS_STRIDE_MAX                                                    \
	(LINE_BYTES + (sizeof(word_t) << SUBJECTS_ENTRIES_LOG2))
#define SUBJECTS_FULL UINT32_MAX

#define SUBJECTS_BUCKET_LINES 4

/* A bucket: four lines. */
struct subjects_bucket {
	word_t gate;
	word_t names[SUBJECTS_BUCKET];
} LINE_ALIGNED;
static_assert(sizeof(struct subjects_bucket) ==
		      SUBJECTS_BUCKET_LINES * LINE_BYTES,
	      "four lines");

/* Where a table is; made from the block's word, kept by value. */
struct subjects {
	struct arena *arena;
	struct subjects_bucket *buckets;
	uint8_t *states;
	uint32_t count;  /* buckets */
	uint32_t stride; /* bytes of a state, a multiple of 8 */
	/* Nobody knows what was counted before: until then (as struct instant)
	 * every subject counts as full. 0: it is known. */
	uint64_t full_until_ns;
};

/* Bytes of the block for at least `count` subjects (twice as many entries),
 * each with a state of `stride` bytes. */
uint64_t subjects_bytes(uint32_t count, uint32_t stride);
/* The same, of a count that is not 0, as a constant. */
#define SUBJECTS_BYTES(count, stride)                                          \
	(LINE_BYTES + (2 * (uint64_t)(count) + SUBJECTS_BUCKET - 1) /          \
			      SUBJECTS_BUCKET *                                \
			      (sizeof(struct subjects_bucket) +                \
			       (uint64_t)SUBJECTS_BUCKET * (stride)))

/* Control: makes an empty table in a zeroed block of that size or more. States
 * that need 64-byte alignment have a stride that is a multiple of 64. */
void subjects_format(struct arena *a, uint64_t block, uint32_t count,
		     uint32_t stride);
/* False: what is in the block is no table that fits into it. */
bool subjects_open(struct subjects *t, struct arena *a, uint64_t block);

/* What the control thread notes of a table, in its block. Workers read `rule`,
 * which is there before the block is published. */
struct subjects_note {
	uint32_t rule;   /* whose it is: row number in the records */
	uint32_t wanted; /* subjects that were asked for; 0: as usual */
	/* Until when what was counted here by larger numbers than those of
	 * today may matter, as struct instant. */
	uint64_t until_ns;
};
/* Of a table that subjects_open() opens. */
struct subjects_note *subjects_note(const struct arena *a, uint64_t block);

static inline uint32_t subjects_home(const struct subjects *t, uint64_t hash)
{
	/* The bits that no name holds first: see subjects.c. */
	uint32_t low = (uint32_t)hash;

	return (uint32_t)((uint64_t)(low << 18 | low >> 14) * t->count >> 32);
}

/* Where a search in the bucket begins. */
static inline unsigned subjects_line(uint64_t hash)
{
	return (unsigned)(hash >> 62);
}

/* The entry of the subject, taken when it has none; SUBJECTS_FULL. It is the
 * subject's until the end of the caller's epoch section: whoever is going to
 * charge asks here. `c` is the caller's, and nothing is begun in it. */
uint32_t subjects_take(const struct subjects *t, struct claim *c,
		       uint64_t hash);

/* The entry of the subject, or SUBJECTS_FULL: it has none. To be read only:
 * one that is retiring may be given to another subject at any moment. What was
 * loaded from its state (with acquire) was the subject's if subjects_is() says
 * so afterwards; if not, the subject has no entry and is at rest. */
uint32_t subjects_find(const struct subjects *t, uint64_t hash);
bool subjects_is(const struct subjects *t, uint32_t entry, uint64_t hash);
/* Would a subject that has no entry be given one just now? */
bool subjects_room(const struct subjects *t, uint64_t hash);

static inline void *subjects_state(const struct subjects *t, uint32_t entry)
{
	return t->states + (uint64_t)entry * t->stride;
}

static inline uint32_t subjects_capacity(const struct subjects *t)
{
	return t->count * SUBJECTS_BUCKET;
}

/* Control: marks entries from *cursor on whose state `at_rest` says so, until
 * `max` are marked or the end is reached (then *cursor is 0 again); returns
 * how many. Then a grace period, then subjects_free(), which frees those marked
 * that still are at rest and returns how many; the others stay marked, for the
 * next time. In this order always: nothing is freed without a grace period
 * since it was marked, nor marked again without one.
 *
 * `at_rest` is asked while workers change the state. It must be true of a state
 * only if a new subject that finds it is treated as one never seen. */
typedef bool subjects_rest_fn(const void *state, void *arg);
uint32_t subjects_retire(const struct subjects *t, struct claim *c,
			 uint32_t *cursor, uint32_t max,
			 subjects_rest_fn *at_rest, void *arg);
uint32_t subjects_free(const struct subjects *t, struct claim *c,
		       subjects_rest_fn *at_rest, void *arg);
/* Counts those that are used or retiring. */
uint32_t subjects_used(const struct subjects *t);

/* ---- what outlives the arena (state/snapshot.h) ---- */

/* The part of its subject's hash that an entry holds. With the table's count of
 * buckets and the entry's own it is all that is needed to find it again. False:
 * the entry is nobody's. */
bool subjects_name(const struct subjects *t, uint32_t entry,
		   uint64_t *ret_name);
/* Before workers run: the entry of that name in that bucket, taken when there
 * is none (then *ret_new, and its state is what it was). SUBJECTS_FULL. */
uint32_t subjects_restore(const struct subjects *t, uint32_t bucket,
			  uint64_t name, bool *ret_new);
/* Before workers run: sets full_until_ns of the table in this block, if there
 * is one. */
void subjects_fill(struct arena *a, uint64_t block, uint64_t until_ns);

/* The hash of a subject that two numbers name. `seed` is the arena's, never
 * what a peer chooses: seeds that are near each other hash pairs that are alike
 * to the same. For one seed any bit of either number changes all of the hash.
 */
uint64_t subjects_hash2(uint64_t seed, uint64_t a, uint64_t b);

#endif
