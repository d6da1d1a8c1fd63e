/* SPDX-License-Identifier: MIT */
#include "gate/subjects.h"

#include "../random.h"
#include "subjects_scene.h"

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
