/* SPDX-License-Identifier: MIT */
#include "gate/keytable.h"

#include "../random.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

#define BUCKETS_MIN 64u /* of a table for few keys */
#define CHAIN_MAX (KEYTABLE_PROBES_MAX * KEYTABLE_BUCKET_ENTRIES)

struct scene {
	struct fixture f;
	struct keytable t;
};

static void open_scene(struct scene *s, uint64_t expected)
{
	fixture_open(&s->f);
	cr_assert_eq(keytable_init(&s->t, expected, NULL), 0);
}

static void close_scene(struct scene *s)
{
	keytable_deinit(&s->t);
	fixture_close(&s->f);
}

/* A hash with this tag (40 bits), the rest made from `rest`. */
static void hash_of(uint64_t tag, uint64_t rest, uint8_t out[static 32])
{
	struct rng r = {rest};
	unsigned i;

	for (i = 0; i < 4; i++) {
		uint64_t v = rng_next(&r);

		if (i == 0)
			v = tag << 24 | (v & 0xffffff);
		memcpy(out + i * 8, &v, 8);
	}
}

static int put(struct scene *s, const uint8_t hash[static 32], uint32_t slot)
{
	struct key *key = fixture_key(&s->f, slot);

	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	return keytable_insert(&s->t, hash, slot);
}

static uint32_t find(struct scene *s, const uint8_t hash[static 32])
{
	return keytable_find(keytable_level(&s->t), s->f.arena->keys, hash);
}

Test(keytable, finds_what_was_inserted_and_nothing_else)
{
	struct scene s;
	uint8_t a[32], b[32];

	open_scene(&s, 0);
	hash_of(0x1234567890, 1, a);
	hash_of(0x1234567891, 2, b);
	cr_assert_eq(find(&s, a), 0);
	cr_assert_eq(keytable_probe(keytable_level(&s.t), a), 0);
	cr_assert_eq(put(&s, a, 77), 0);
	cr_assert_eq(find(&s, a), 77);
	cr_assert_eq(keytable_probe(keytable_level(&s.t), a), 77);
	cr_assert_eq(find(&s, b), 0);
	cr_assert(keytable_remove(&s.t, a, 77));
	cr_assert_eq(find(&s, a), 0);
	cr_assert_eq(keytable_probe(keytable_level(&s.t), a), 0);
	cr_assert_not(keytable_remove(&s.t, a, 77));
	close_scene(&s);
}

/* 40 bits in the entry and 128 in the line; 88 are not kept. */
Test(keytable, compares_168_bits_of_the_hash)
{
	struct scene s;
	uint8_t a[32];
	unsigned bit;

	open_scene(&s, 0);
	hash_of(0x1234567890, 1, a);
	put(&s, a, 77);
	for (bit = 24; bit < 256; bit = bit == 63 ? 128 : bit + 1) {
		a[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(find(&s, a), 0, "bit %u", bit);
		a[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_assert_eq(find(&s, a), 77);
	close_scene(&s);
}

/* Tag 0 looks like an empty entry without its slot, tag 1 like a tombstone. */
Test(keytable, tags_that_look_like_marks_are_found)
{
	static const uint64_t tags[] = {0, 1, (UINT64_C(1) << 40) - 1};
	struct scene s;
	uint8_t hash[32];
	unsigned i;

	open_scene(&s, 0);
	for (i = 0; i < 3; i++) {
		hash_of(tags[i], i, hash);
		cr_assert_eq(find(&s, hash), 0);
		cr_assert_eq(put(&s, hash, 1), 0);
		cr_assert_eq(find(&s, hash), 1);
		cr_assert(keytable_remove(&s.t, hash, 1));
		cr_assert_eq(find(&s, hash), 0);
		cr_assert_eq(put(&s, hash, ARENA_KEYS_MAX - 1), 0);
		cr_assert_eq(find(&s, hash), ARENA_KEYS_MAX - 1);
		cr_assert(keytable_remove(&s.t, hash, ARENA_KEYS_MAX - 1));
	}
	close_scene(&s);
}

Test(keytable, equal_tags_are_told_apart_by_the_line)
{
	struct scene s;
	uint8_t hash[32];
	uint32_t i;

	open_scene(&s, 0);
	for (i = 1; i <= 20; i++) {
		hash_of(5, i, hash);
		put(&s, hash, i);
	}
	for (i = 1; i <= 20; i++) {
		hash_of(5, i, hash);
		cr_assert_eq(find(&s, hash), i);
	}
	hash_of(5, 99, hash);
	cr_assert_eq(find(&s, hash), 0);
	close_scene(&s);
}

/* All in one chain, which goes over the end of the table. */
Test(keytable, full_chain_is_searched_to_its_end_and_no_further)
{
	struct scene s;
	uint8_t hash[32];
	uint32_t i;

	open_scene(&s, 0);
	for (i = 1; i <= CHAIN_MAX; i++) {
		hash_of(BUCKETS_MIN * i - 3, i, hash);
		cr_assert_eq(put(&s, hash, i), 0);
	}
	hash_of(BUCKETS_MIN * i - 3, i, hash);
	cr_assert_eq(put(&s, hash, i), -ENOSPC);
	cr_assert_eq(find(&s, hash), 0);
	cr_assert_not(keytable_remove(&s.t, hash, i));
	for (i = 1; i <= CHAIN_MAX; i++) {
		hash_of(BUCKETS_MIN * i - 3, i, hash);
		cr_assert_eq(find(&s, hash), i);
	}
	close_scene(&s);
}

Test(keytable, what_overflowed_a_bucket_survives_removals_in_it)
{
	struct scene s;
	uint8_t hash[32];
	uint32_t i;

	open_scene(&s, 0);
	for (i = 1; i <= 20; i++) {
		hash_of(BUCKETS_MIN * i, i, hash);
		put(&s, hash, i);
	}
	for (i = 1; i <= 16; i++) {
		hash_of(BUCKETS_MIN * i, i, hash);
		cr_assert(keytable_remove(&s.t, hash, i));
	}
	for (i = 17; i <= 20; i++) {
		hash_of(BUCKETS_MIN * i, i, hash);
		cr_assert_eq(find(&s, hash), i);
	}
	/* The places are used again. */
	cr_assert_eq(s.t.used, 20);
	for (i = 1; i <= 16; i++) {
		hash_of(BUCKETS_MIN * i, i, hash);
		put(&s, hash, i);
	}
	cr_assert_eq(s.t.used, 20);
	cr_assert_eq(s.t.live, 20);
	for (i = 1; i <= 20; i++) {
		hash_of(BUCKETS_MIN * i, i, hash);
		cr_assert_eq(find(&s, hash), i);
	}
	close_scene(&s);
}

/* Keys that come and go must not make the table grow without end. */
Test(keytable, tombstones_vanish_when_the_table_is_rebuilt)
{
	struct scene s;
	uint8_t hash[32];
	uint64_t mask;
	uint32_t i;

	open_scene(&s, 0);
	mask = keytable_level(&s.t)->mask;
	for (i = 1; i <= 20000; i++) {
		hash_of(i * UINT64_C(0x9e3779b9), i, hash);
		cr_assert_eq(put(&s, hash, i % 1000 + 1), 0);
		if (i % 100 == 0)
			continue;
		cr_assert(keytable_remove(&s.t, hash, i % 1000 + 1));
	}
	cr_assert_eq(s.t.live, 200);
	cr_assert_leq(keytable_level(&s.t)->mask, 2 * mask + 1);
	for (i = 100; i <= 20000; i += 100) {
		hash_of(i * UINT64_C(0x9e3779b9), i, hash);
		cr_assert_eq(keytable_probe(keytable_level(&s.t), hash),
			     i % 1000 + 1);
	}
	close_scene(&s);
}

#define KEYS 20000

/* Random insertions and removals through many sizes, against an array. */
Test(keytable, random_trace_agrees_with_an_array)
{
	static bool there[KEYS + 1];
	struct rng rng = {test_seed("random_trace_agrees_with_an_array")};
	struct scene s;
	uint8_t hash[32];
	uint32_t i, slot, live = 0;

	open_scene(&s, 0);
	for (i = 0; i < 40 * KEYS; i++) {
		slot = 1 + rng_below(&rng, KEYS);
		/* Few tags share many low bits: chains overflow. */
		hash_of((uint64_t)slot * slot << slot % 7, slot, hash);
		cr_assert_eq(find(&s, hash), there[slot] ? slot : 0);
		if (!there[slot]) {
			if (put(&s, hash, slot) != 0)
				continue; /* the tags are not random */
			live++;
		} else {
			cr_assert(keytable_remove(&s.t, hash, slot));
			live--;
		}
		there[slot] = !there[slot];
		cr_assert_eq(find(&s, hash), there[slot] ? slot : 0);
	}
	cr_assert_eq(s.t.live, live);
	cr_assert_gt(keytable_level(&s.t)->mask, KEYS / 16);
	for (slot = 1; slot <= KEYS; slot++) {
		hash_of((uint64_t)slot * slot << slot % 7, slot, hash);
		cr_assert_eq(find(&s, hash), there[slot] ? slot : 0);
	}
	close_scene(&s);
}

Test(keytable, table_for_the_expected_keys_does_not_grow)
{
	struct scene s;
	const struct keytable_level *level;
	uint8_t hash[32];
	uint32_t i;

	open_scene(&s, KEYS);
	level = keytable_level(&s.t);
	for (i = 1; i <= KEYS; i++) {
		struct rng r = {i};

		hash_of(rng_next(&r) >> 24, i, hash);
		put(&s, hash, i);
	}
	cr_assert_eq(keytable_level(&s.t), level);
	cr_assert_leq(level->bytes, KEYS * 8 * 10 / 3 + 4096);
	close_scene(&s);
}

#define KEY_BYTES_MAX 96.0

static void random_hash(uint32_t slot, uint8_t out[static 32])
{
	struct rng r = {slot};

	hash_of(rng_next(&r) >> 24, slot, out);
}

/* The share of keys 1..keys that stand in the bucket their hash names. */
static double in_first_line(const struct keytable_level *l, uint32_t keys)
{
	uint32_t slot, first = 0;
	uint8_t hash[32];
	unsigned i;

	for (slot = 1; slot <= keys; slot++) {
		const struct bucket *b;

		random_hash(slot, hash);
		b = &l->buckets[keytable_tag(hash) & l->mask];
		for (i = 0; i < KEYTABLE_BUCKET_ENTRIES; i++)
			first += (fixture_get(&b->entries[i]) & 0xffffff) ==
				 slot;
	}
	return (double)first / keys;
}

/* Both depend on the load alone, and between two doublings every load is met:
 * with 10 million keys it is the same. */
Test(keytable, key_takes_96_bytes_and_most_lookups_one_line)
{
	const uint32_t few = 100000, many = 3 * few;
	unsigned fullest = 0;
	struct scene s;
	uint8_t hash[32];
	uint32_t slot;

	open_scene(&s, 0);
	for (slot = 1; slot <= many; slot++) {
		const struct keytable_level *l;

		random_hash(slot, hash);
		cr_assert_eq(keytable_insert(&s.t, hash, slot), 0);
		l = keytable_level(&s.t);
		if (slot <= few)
			continue;
		cr_assert_leq((double)l->bytes / slot +
				      (double)sizeof(struct key),
			      KEY_BYTES_MAX, "%u keys", slot);
		/* The next one would make it grow. */
		if (s.t.used + 3 < (l->mask + 1) * 24 / 5 || fullest > 3)
			continue;
		fullest++;
		cr_assert_gt(in_first_line(l, slot), 0.97, "%u keys", slot);
	}
	cr_assert_gt(fullest, 0);
	close_scene(&s);
}
