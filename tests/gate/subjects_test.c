/* SPDX-License-Identifier: MIT */
#include "gate/subjects.h"

#include "../random.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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
static void open_scene(struct scene *s, uint32_t buckets)
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

static uint32_t take(struct scene *s, uint64_t hash)
{
	return subjects_take(&s->t, &s->claim, hash);
}

static uint32_t find(struct scene *s, uint64_t hash)
{
	return subjects_find(&s->t, hash);
}

static word_t *state(struct scene *s, uint32_t entry)
{
	return subjects_state(&s->t, entry);
}

/* At rest is a state whose first word is even. */
static bool even(const void *state, void *arg)
{
	unsigned *asked = arg;

	if (asked != NULL)
		++*asked;
	return fixture_get(state) % 2 == 0;
}

static uint32_t retire_all(struct scene *s)
{
	uint32_t cursor = 0, marked;

	marked = subjects_retire(&s->t, &s->claim, &cursor, UINT32_MAX, even,
				 NULL);
	cr_assert_eq(cursor, 0);
	return marked;
}

static uint32_t free_all(struct scene *s)
{
	return subjects_free(&s->t, &s->claim, even, NULL);
}

Test(subjects, finds_what_was_taken_and_nothing_else)
{
	struct scene s;
	uint32_t a, b;

	open_scene(&s, 4);
	cr_assert_eq(find(&s, 0), SUBJECTS_FULL);
	cr_assert_eq(find(&s, UINT64_MAX), SUBJECTS_FULL);
	a = take(&s, 0);
	cr_assert_lt(a, subjects_capacity(&s.t));
	cr_assert_eq(find(&s, 0), a);
	cr_assert_eq(take(&s, 0), a);
	cr_assert_eq(find(&s, UINT64_MAX), SUBJECTS_FULL);
	b = take(&s, UINT64_MAX);
	cr_assert_neq(a, b);
	cr_assert_eq(find(&s, UINT64_MAX), b);
	cr_assert_eq(find(&s, 0), a);
	cr_assert(subjects_is(&s.t, a, 0));
	cr_assert(subjects_is(&s.t, b, UINT64_MAX));
	cr_assert_eq(subjects_used(&s.t), 2);
	fixture_close(&s.f);
}

/* 50 bits in the name, and 14 that choose the bucket. */
Test(subjects, every_bit_of_the_hash_tells_subjects_apart)
{
	struct rng rng = {test_seed("every_bit_of_the_hash_tells")};
	struct scene s;
	unsigned round, bit;

	open_scene(&s, 1u << 14);
	for (round = 0; round < 100; round++) {
		uint64_t hash = rng_next(&rng);
		uint32_t entry = take(&s, hash);

		cr_assert_eq(find(&s, hash), entry);
		for (bit = 0; bit < 64; bit++)
			cr_assert_eq(find(&s, hash ^ UINT64_C(1) << bit),
				     SUBJECTS_FULL, "bit %u", bit);
	}
	fixture_close(&s.f);
}

/* The word of the gate is compared beside the names. */
Test(subjects, gate_that_looks_like_a_name_is_none)
{
	struct scene s;

	open_scene(&s, 1);
	fixture_set(&s.t.buckets[0].gate, 2 << 12 | 6); /* hash 0, USED */
	cr_assert_eq(find(&s, 0), SUBJECTS_FULL);
	cr_assert_eq(take(&s, 0), 0);
	cr_assert_eq(find(&s, 0), 0);
	fixture_close(&s.f);
}

Test(subjects, states_lie_behind_the_buckets_side_by_side)
{
	struct scene s;
	const uint8_t *first, *end;

	open_scene(&s, 7);
	first = subjects_state(&s.t, 0);
	end = s.f.arena->rings + (uint64_t)RING_PLACE(s.block) * LINE_BYTES +
	      (sizeof(word_t) << RING_LOG2(s.block));
	cr_assert_eq(subjects_capacity(&s.t), 7 * SUBJECTS_BUCKET);
	cr_assert_eq((uintptr_t)first % LINE_BYTES, 0);
	cr_assert_eq((uintptr_t)s.t.buckets % LINE_BYTES, 0);
	cr_assert_geq(first, (const uint8_t *)&s.t.buckets[7]);
	cr_assert_eq((const uint8_t *)subjects_state(&s.t, 5) - first,
		     5 * STRIDE);
	/* The whole table, as it was made. */
	cr_assert(subjects_open(&s.t, s.f.arena, s.block));
	cr_assert_leq(
		(const uint8_t *)subjects_state(&s.t, subjects_capacity(&s.t)),
		end);
	fixture_close(&s.f);
}

Test(subjects, table_has_twice_the_entries_asked_for)
{
	static const uint32_t counts[] = {0, 1, 15, 16, 31, 1000, 123456};
	uint64_t per_bucket = 256 + 31 * 64;
	unsigned i;

	for (i = 0; i < 7; i++) {
		uint64_t buckets =
			(subjects_bytes(counts[i], 64) - 64) / per_bucket;

		cr_assert_geq(buckets, 1);
		cr_assert_geq(buckets * SUBJECTS_BUCKET, 2 * counts[i]);
		cr_assert_lt(buckets * SUBJECTS_BUCKET,
			     2 * counts[i] + SUBJECTS_BUCKET + 1);
	}
}

/* Whatever the line that each of them begins with. */
Test(subjects, bucket_takes_31_and_then_says_full)
{
	unsigned line, i;

	for (line = 0; line < 4; line++) {
		bool seen[SUBJECTS_BUCKET] = {false};
		struct scene s;

		open_scene(&s, 1);
		for (i = 0; i < SUBJECTS_BUCKET; i++) {
			uint32_t entry = take(&s, LINE(line) | NTH(i));

			cr_assert_lt(entry, SUBJECTS_BUCKET);
			cr_assert_not(seen[entry]);
			seen[entry] = true;
		}
		cr_assert_eq(take(&s, LINE(line) | NTH(i)), SUBJECTS_FULL);
		cr_assert_eq(take(&s, LINE(line + 1) | NTH(i)), SUBJECTS_FULL);
		cr_assert_eq(find(&s, LINE(line) | NTH(i)), SUBJECTS_FULL);
		cr_assert_eq(subjects_used(&s.t), SUBJECTS_BUCKET);
		for (i = 0; i < SUBJECTS_BUCKET; i++) {
			uint32_t entry = find(&s, LINE(line) | NTH(i));

			cr_assert_neq(entry, SUBJECTS_FULL);
			cr_assert_eq(take(&s, LINE(line) | NTH(i)), entry);
		}
		/* One of them goes, and there is room for one. */
		for (i = 0; i < SUBJECTS_BUCKET; i++)
			fixture_set(state(&s, i), i != 17);
		cr_assert_eq(retire_all(&s), 1);
		cr_assert_eq(free_all(&s), 1);
		cr_assert_eq(take(&s, LINE(line) | NTH(99)), 17);
		cr_assert_eq(take(&s, LINE(line) | NTH(98)), SUBJECTS_FULL);
		fixture_close(&s.f);
	}
}

Test(subjects, what_overflowed_a_line_is_found_when_the_line_is_free_again)
{
	unsigned line, i;

	for (line = 0; line < 4; line++) {
		unsigned names = line == 0 ? 7 : 8; /* and the gate */
		uint32_t over, other;
		struct scene s;

		open_scene(&s, 1);
		for (i = 0; i < names; i++)
			take(&s, LINE(line) | NTH(i));
		over = take(&s, LINE(line) | NTH(i));
		cr_assert_neq((over + 1) / 8, line);
		cr_assert_eq((over + 1) / 8, (line + 1) % 4);
		fixture_set(state(&s, over), 1);
		cr_assert_eq(retire_all(&s), names);
		cr_assert_eq(free_all(&s), names);
		cr_assert_eq(find(&s, LINE(line) | NTH(names)), over);
		cr_assert_eq(take(&s, LINE(line) | NTH(names)), over);
		other = take(&s, LINE(line) | NTH(77));
		cr_assert_eq((other + 1) / 8, line, "first line first");
		fixture_close(&s.f);
	}
}

Test(subjects, only_what_is_at_rest_is_retired)
{
	struct scene s;
	uint32_t a, b;

	open_scene(&s, 4);
	a = take(&s, 1);
	b = take(&s, UINT64_MAX);
	fixture_set(state(&s, b), 5);
	cr_assert_eq(retire_all(&s), 1);
	cr_assert_eq(retire_all(&s), 0, "marked already");
	cr_assert_eq(free_all(&s), 1);
	cr_assert_eq(free_all(&s), 0);
	cr_assert_eq(find(&s, 1), SUBJECTS_FULL);
	cr_assert_eq(find(&s, UINT64_MAX), b);
	cr_assert_not(subjects_is(&s.t, a, 1));
	cr_assert_eq(subjects_used(&s.t), 1);
	fixture_close(&s.f);
}

Test(subjects, retiring_subject_is_found_and_stays_itself)
{
	struct scene s;
	uint32_t a;

	open_scene(&s, 1);
	a = take(&s, 1);
	cr_assert_eq(retire_all(&s), 1);
	cr_assert_eq(find(&s, 1), a);
	cr_assert(subjects_is(&s.t, a, 1));
	cr_assert_eq(subjects_used(&s.t), 1);
	fixture_close(&s.f);
}

Test(subjects, take_of_a_retiring_subject_keeps_it)
{
	struct scene s;
	uint32_t a;

	open_scene(&s, 1);
	a = take(&s, 1);
	cr_assert_eq(retire_all(&s), 1);
	cr_assert_eq(take(&s, 1), a);
	cr_assert_eq(free_all(&s), 0);
	cr_assert_eq(find(&s, 1), a);
	/* And may be retired another time. */
	cr_assert_eq(retire_all(&s), 1);
	cr_assert_eq(free_all(&s), 1);
	cr_assert_eq(find(&s, 1), SUBJECTS_FULL);
	fixture_close(&s.f);
}

/* By a section that had found it before it was marked. */
Test(subjects, subject_charged_after_the_mark_is_not_freed_until_at_rest)
{
	struct scene s;
	uint32_t a;

	open_scene(&s, 1);
	a = take(&s, 1);
	cr_assert_eq(retire_all(&s), 1);
	fixture_set(state(&s, a), 7);
	cr_assert_eq(free_all(&s), 0);
	cr_assert_eq(find(&s, 1), a);
	fixture_set(state(&s, a), 8);
	cr_assert_eq(free_all(&s), 1);
	cr_assert_eq(find(&s, 1), SUBJECTS_FULL);
	fixture_close(&s.f);
}

Test(subjects, new_subject_goes_on_with_the_words_of_the_last_one)
{
	struct scene s;
	uint32_t a, b;

	open_scene(&s, 1);
	a = take(&s, NTH(1));
	fixture_set(state(&s, a), 42);
	cr_assert_eq(retire_all(&s), 1);
	cr_assert_eq(free_all(&s), 1);
	b = take(&s, NTH(2));
	cr_assert_eq(b, a);
	cr_assert_eq(fixture_get(state(&s, b)), 42);
	cr_assert_eq(find(&s, NTH(1)), SUBJECTS_FULL);
	fixture_close(&s.f);
}

Test(subjects, retiring_goes_on_where_it_stopped)
{
	struct scene s;
	uint32_t cursor = 0, last, marked = 0;
	unsigned i, asked = 0, calls = 0;

	open_scene(&s, 8);
	for (i = 0; i < 60; i++)
		cr_assert_neq(take(&s, i * UINT64_C(0x9e3779b97f4a7c15)),
			      SUBJECTS_FULL);
	do {
		uint32_t n;

		last = cursor;
		n = subjects_retire(&s.t, &s.claim, &cursor, 7, even, &asked);
		marked += n;
		cr_assert_leq(n, 7);
		cr_assert(cursor == 0 || n == 7);
		cr_assert(cursor == 0 || cursor > last);
		cr_assert_lt(++calls, 20);
	} while (cursor != 0);
	cr_assert_eq(marked, 60);
	cr_assert_eq(asked, 60, "free entries are not asked");
	cr_assert_geq(calls, 60 / 7);
	fixture_close(&s.f);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* A late helper's CAS fails only if the word does not come back to what it
 * was. */
Test(subjects, name_never_takes_the_same_value_twice)
{
	static uint64_t values[4 * 1000];
	struct scene s;
	unsigned i, n = 0;
	word_t *name;

	open_scene(&s, 1);
	name = &s.t.buckets[0].names[0];
	for (i = 0; i < 1000; i++) {
		uint64_t hash = NTH(i % 2);

		cr_assert_eq(take(&s, hash), 0);
		values[n++] = fixture_get(name);
		cr_assert_eq(retire_all(&s), 1);
		values[n++] = fixture_get(name);
		if (i % 3 == 0) {
			cr_assert_eq(take(&s, hash), 0);
			values[n++] = fixture_get(name);
			cr_assert_eq(retire_all(&s), 1);
		}
		cr_assert_eq(free_all(&s), 1);
		values[n++] = fixture_get(name);
	}
	qsort(values, n, sizeof(*values), by_value);
	cr_assert_neq(values[0], 0, "what it was when it was made");
	for (i = 1; i < n; i++)
		cr_assert_neq(values[i], values[i - 1]);
	fixture_close(&s.f);
}

/* The generation comes round: no state may then look like another one. */
Test(subjects, generation_may_come_round)
{
	struct scene s;
	unsigned i;

	open_scene(&s, 1);
	for (i = 0; i < 5000; i++) {
		cr_assert_eq(take(&s, NTH(3)), 0);
		cr_assert_eq(find(&s, NTH(3)), 0);
		cr_assert_eq(retire_all(&s), 1);
		cr_assert_eq(find(&s, NTH(3)), 0);
		cr_assert_eq(free_all(&s), 1);
		cr_assert_eq(find(&s, NTH(3)), SUBJECTS_FULL);
		cr_assert_neq(fixture_get(&s.t.buckets[0].names[0]), 0);
	}
	fixture_close(&s.f);
}

/* As if the owner had stopped right after its name was in the gate. */
static void stop_midway(struct scene *s, word_t *name, uint64_t before)
{
	struct subjects_bucket *b = &s->t.buckets[0];

	fixture_set(name, before);
	fixture_set(&b->gate,
		    s->claim.seq << 8 | (uint64_t)s->claim.owner << 1 | 1);
}

/* An insertion, a mark, a revival, a mark, the end: each half done. */
Test(subjects, recovery_completes_what_a_dead_process_had_decided)
{
	uint64_t before = 0, after;
	struct scene s;
	word_t *name;
	unsigned i;

	open_scene(&s, 1);
	name = &s.t.buckets[0].names[0];
	for (i = 0; i < 5; i++) {
		if (i == 0 || i == 2)
			cr_assert_eq(take(&s, 1), 0);
		else if (i == 4)
			cr_assert_eq(free_all(&s), 1);
		else
			cr_assert_eq(retire_all(&s), 1);
		after = fixture_get(name);
		stop_midway(&s, name, before);
		cr_assert_eq(find(&s, 1), i == 0 ? SUBJECTS_FULL : 0);
		cr_assert(claim_descriptor_sane(s.claim.descriptor));
		cr_assert_eq(claim_recover(s.f.arena), 1);
		cr_assert_eq(fixture_get(name), after);
		cr_assert_eq(fixture_get(&s.t.buckets[0].gate), 2 * (i + 1));
		cr_assert_eq(find(&s, 1), i == 4 ? SUBJECTS_FULL : 0);
		before = after;
	}
	fixture_close(&s.f);
}

Test(subjects, subject_that_is_there_is_taken_while_a_change_stands_still)
{
	struct scene s;
	struct claim other;
	uint64_t gate;
	uint32_t a, b;

	open_scene(&s, 1);
	a = take(&s, NTH(1));
	b = take(&s, NTH(2));
	stop_midway(&s, &s.t.buckets[0].names[b], 0);
	claim_init(&other, s.f.arena, 9, NULL);
	gate = fixture_get(&s.t.buckets[0].gate);
	cr_assert_eq(subjects_take(&s.t, &other, NTH(1)), a);
	cr_assert_eq(fixture_get(&s.t.buckets[0].gate), gate);
	/* One that is not there completes it. */
	cr_assert_eq(subjects_take(&s.t, &other, NTH(2)), b);
	cr_assert_eq(find(&s, NTH(2)), b);
	cr_assert_eq(fixture_get(&s.t.buckets[0].gate) % 2, 0);
	fixture_close(&s.f);
}

Test(subjects, block_that_holds_no_table_is_refused)
{
	struct scene s;
	struct subjects t;
	uint8_t saved[LINE_BYTES], *header;
	unsigned log2;
	uint32_t other;

	open_scene(&s, 4);
	log2 = RING_LOG2(s.block);
	header = s.f.arena->rings + (uint64_t)RING_PLACE(s.block) * LINE_BYTES;
	memcpy(saved, header, sizeof(saved));
	cr_assert(subjects_open(&t, s.f.arena, s.block));
	cr_assert_not(subjects_open(&t, s.f.arena, 0));
	cr_assert_not(subjects_open(
		&t, s.f.arena, RING_WORD(RING_PLACE(s.block), log2 - 1, 1)));
	cr_assert_not(subjects_open(&t, s.f.arena,
				    RING_WORD(RING_PLACE(s.block), 2, 1)));
	cr_assert_not(subjects_open(&t, s.f.arena,
				    RING_WORD(RING_PLACE(s.block), 63, 1)));
	/* Its end is beyond the region. */
	cr_assert_not(subjects_open(
		&t, s.f.arena,
		RING_WORD((ARENA_RING_BYTES - (UINT64_C(4) << log2)) /
				  LINE_BYTES,
			  log2, 1)));
	/* Magic; buckets; stride; capacity. */
	header[0] ^= 1;
	cr_assert_not(subjects_open(&t, s.f.arena, s.block));
	memcpy(header, saved, sizeof(saved));
	other = 0;
	memcpy(header + 8, &other, 4);
	cr_assert_not(subjects_open(&t, s.f.arena, s.block));
	other = UINT32_MAX;
	memcpy(header + 8, &other, 4);
	cr_assert_not(subjects_open(&t, s.f.arena, s.block));
	memcpy(header, saved, sizeof(saved));
	for (other = 0; other < 24; other += 4) {
		memcpy(header + 12, &other, 4);
		cr_assert_eq(subjects_open(&t, s.f.arena, s.block),
			     other == 8 || other == 16);
	}
	other = UINT32_MAX - 7;
	memcpy(header + 12, &other, 4);
	cr_assert_not(subjects_open(&t, s.f.arena, s.block));
	memcpy(header, saved, sizeof(saved));
	header[16] ^= 1;
	cr_assert_not(subjects_open(&t, s.f.arena, s.block));
	memcpy(header, saved, sizeof(saved));
	cr_assert(subjects_open(&t, s.f.arena, s.block));
	fixture_close(&s.f);
}

#define SUBJECTS 4000u
#define STEPS 400000u

/* Random subjects come and go, against an array. */
Test(subjects, random_trace_agrees_with_an_array)
{
	static uint32_t entries[SUBJECTS]; /* + 1; 0: none */
	struct rng rng = {test_seed("subjects random_trace")};
	struct scene s;
	uint32_t i, n, there = 0, full = 0;

	open_scene(&s, 100);
	for (i = 0; i < STEPS; i++) {
		uint32_t who = rng_below(&rng, SUBJECTS);
		uint64_t hash = subjects_hash2(1, who, 0);
		uint32_t had = entries[who];

		cr_assert_eq(find(&s, hash), had - 1);
		if (i % 4 == 0) {
			uint32_t got = take(&s, hash);

			if (had != 0) {
				cr_assert_eq(got, had - 1);
			} else if (got == SUBJECTS_FULL) {
				full++;
			} else {
				there++;
				entries[who] = got + 1;
			}
		}
		if (i % 20000 != 0)
			continue;
		/* A third of them is at rest and goes. */
		for (n = 0; n < SUBJECTS; n++)
			if (entries[n] != 0)
				fixture_set(state(&s, entries[n] - 1),
					    rng_below(&rng, 3) != 0);
		n = retire_all(&s);
		cr_assert_eq(free_all(&s), n);
		there -= n;
		for (n = 0; n < SUBJECTS; n++)
			if (entries[n] != 0 &&
			    fixture_get(state(&s, entries[n] - 1)) == 0)
				entries[n] = 0;
		cr_assert_eq(subjects_used(&s.t), there);
	}
	cr_assert_gt(full, 0);
	fixture_close(&s.f);
}

/* The header's Bound. */
Test(subjects, half_filled_table_has_hardly_a_full_bucket)
{
	struct scene s;
	uint32_t i, full = 0, count = 200000;

	open_scene(&s, 2 * count / SUBJECTS_BUCKET);
	for (i = 0; i < count; i++)
		full += take(&s, subjects_hash2(7, i, 0)) == SUBJECTS_FULL;
	cr_assert_leq(full, 10);
	fixture_close(&s.f);
}

Test(subjects, hash_of_a_pair_depends_on_all_that_goes_in)
{
	struct rng rng = {test_seed("hash_of_a_pair")};
	unsigned round, bit, out, flips[64] = {0};

	cr_assert_neq(subjects_hash2(1, 2, 3), subjects_hash2(1, 3, 2));
	cr_assert_neq(subjects_hash2(1, 2, 3), subjects_hash2(2, 2, 3));
	cr_assert_eq(subjects_hash2(1, 2, 3), subjects_hash2(1, 2, 3));
	for (round = 0; round < 500; round++) {
		uint64_t seed = rng_next(&rng);
		uint64_t in[2] = {rng_next(&rng), rng_next(&rng)};
		uint64_t hash = subjects_hash2(seed, in[0], in[1]);

		for (bit = 0; bit < 128; bit++) {
			uint64_t diff;

			in[bit / 64] ^= UINT64_C(1) << bit % 64;
			diff = hash ^ subjects_hash2(seed, in[0], in[1]);
			in[bit / 64] ^= UINT64_C(1) << bit % 64;
			for (out = 0; out < 64; out++)
				flips[out] += (unsigned)(diff >> out & 1);
		}
	}
	for (out = 0; out < 64; out++) {
		cr_assert_gt(flips[out], 500 * 128 * 48 / 100, "bit %u", out);
		cr_assert_lt(flips[out], 500 * 128 * 52 / 100, "bit %u", out);
	}
}
