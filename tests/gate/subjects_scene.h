/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_SUBJECTS_SCENE_H
#define STILE_TESTS_GATE_SUBJECTS_SCENE_H

/*
 * tests/gate/subjects_scene - a table of subjects of a few buckets, and who
 * takes and retires in it, all in one thread.
 */
#include "fixture.h"
#include "gate/subjects.h"

#include <criterion/criterion.h>

#define STRIDE 24u
#define SMALL 15u /* subjects: one bucket */
/* Bits of a hash that choose the line; the entry that is taken first. */
#define LINE(n) ((uint64_t)(n) << 62)
/* One subject after the other, in one bucket and one line. */
#define NTH(n) ((uint64_t)(n) << 14)

struct scene {
	struct fixture f;
	struct subjects t;
	struct claim claim;
	uint64_t block;
};

/* A table of exactly this many buckets, whatever the block has room for. */
static inline void open_scene(struct scene *s, uint32_t buckets)
{
	uint64_t bytes = subjects_bytes(SMALL * buckets, STRIDE);
	unsigned log2 = 3;

	fixture_open(&s->f);
	while (sizeof(word_t) << log2 < bytes)
		log2++;
	s->block = fixture_ring(&s->f, log2);
	subjects_format(s->f.arena, s->block, SMALL * buckets, STRIDE);
	cr_assert(subjects_open(&s->t, s->f.arena, s->block));
	cr_assert_geq(s->t.count, buckets);
	s->t.count = buckets;
	claim_init(&s->claim, s->f.arena, 3, NULL);
}

static inline uint32_t take(struct scene *s, uint64_t hash)
{
	return subjects_take(&s->t, &s->claim, hash);
}

static inline uint32_t find(struct scene *s, uint64_t hash)
{
	return subjects_find(&s->t, hash);
}

static inline word_t *state(struct scene *s, uint32_t entry)
{
	return subjects_state(&s->t, entry);
}

/* At rest is a state whose first word is even. */
static inline bool even(const void *state, void *arg)
{
	unsigned *asked = arg;

	if (asked != NULL)
		++*asked;
	return fixture_get(state) % 2 == 0;
}

static inline uint32_t retire_all(struct scene *s)
{
	uint32_t cursor = 0, marked;

	marked = subjects_retire(&s->t, &s->claim, &cursor, UINT32_MAX, even,
				 NULL);
	cr_assert_eq(cursor, 0);
	return marked;
}

static inline uint32_t free_all(struct scene *s)
{
	return subjects_free(&s->t, &s->claim, even, NULL);
}

#endif
