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
 * Threads    subjects_find(), subjects_take(): workers, inside an epoch
 *            section, and what they return is theirs until its end.
 *            subjects_retire(), subjects_free(): the control thread.
 * Progress   find is wait-free, take is lock-free.
 * Reuse      an entry goes USED -> RETIRING (control, when its state is at
 *            rest) -> grace period -> FREE, if its state is still at rest and
 *            nobody took it back meanwhile: take() of a retiring subject
 *            revives it. A new subject finds the words of the last one, whose
 *            limit was at rest: nothing is ever set back, so a helper that
 *            comes late fails.
 * Bound      a full bucket is SUBJECTS_FULL; at most half filled, that is one
 *            bucket in ten thousand.
 * Memory     in the arena's ring region; named by its block.
 * Proof      tests/torture/subjects_torture.c
 */
#include "gate/claim.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define SUBJECTS_BUCKET 31
#define SUBJECTS_FULL UINT32_MAX

/* Where a table is; made from the block's word, kept by value. */
struct subjects {
	struct arena *arena;
	uint8_t *buckets;
	uint8_t *states;
	uint32_t mask;   /* buckets - 1 */
	uint32_t stride; /* bytes of a state, a multiple of 8 */
};

/* Bytes of the block for at least `count` subjects (twice as many entries),
 * each with a state of `stride` bytes. */
uint64_t subjects_bytes(uint32_t count, uint32_t stride);

/* Control: makes an empty table in a zeroed block of that size. States that
 * need 64-byte alignment have a stride that is a multiple of 64. */
void subjects_format(struct arena *a, uint64_t block, uint32_t count,
		     uint32_t stride);
/* False: what is in the block is no table that fits into it. */
bool subjects_open(struct subjects *t, struct arena *a, uint64_t block);

/* The entry of the subject, or SUBJECTS_FULL: it has none. */
uint32_t subjects_find(const struct subjects *t, uint64_t hash);
/* The entry of the subject, taken when it has none; SUBJECTS_FULL. */
uint32_t subjects_take(const struct subjects *t, struct claim *c,
		       uint64_t hash);
void *subjects_state(const struct subjects *t, uint32_t entry);
uint32_t subjects_capacity(const struct subjects *t);

/* Control: marks entries from *cursor on whose state `at_rest` says so, until
 * `max` are marked or the end is reached (then *cursor is 0 again). Then a
 * grace period, then subjects_free(), which frees those marked that still are
 * at rest and returns how many. */
typedef bool subjects_rest_fn(const void *state, void *arg);
uint32_t subjects_retire(const struct subjects *t, struct claim *c,
			 uint32_t *cursor, uint32_t max,
			 subjects_rest_fn *at_rest, void *arg);
uint32_t subjects_free(const struct subjects *t, struct claim *c,
		       subjects_rest_fn *at_rest, void *arg);
uint32_t subjects_used(const struct subjects *t); /* counts; control */

#endif
