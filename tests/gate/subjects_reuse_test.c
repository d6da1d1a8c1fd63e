/* SPDX-License-Identifier: MIT */

/* Subjects that come and go: entries are retired, revived, freed, used again,
 * and names change as words under a claim may. */
#include "gate/subjects.h"

#include "../random.h"
#include "subjects_scene.h"

#include <stdlib.h>

Test(subjects_reuse, only_what_is_at_rest_is_retired)
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

Test(subjects_reuse, retiring_subject_is_found_and_stays_itself)
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

Test(subjects_reuse, take_of_a_retiring_subject_keeps_it)
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
Test(subjects_reuse, subject_charged_after_the_mark_is_not_freed_until_at_rest)
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

Test(subjects_reuse, new_subject_goes_on_with_the_words_of_the_last_one)
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

Test(subjects_reuse, retiring_goes_on_where_it_stopped)
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
Test(subjects_reuse, name_never_takes_the_same_value_twice)
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
Test(subjects_reuse, generation_may_come_round)
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
Test(subjects_reuse, recovery_completes_what_a_dead_process_had_decided)
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

Test(subjects_reuse, subject_that_is_there_is_taken_while_a_change_stands_still)
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

#define SUBJECTS 4000u
#define STEPS 400000u

/* Random subjects come and go, against an array. */
Test(subjects_reuse, random_trace_agrees_with_an_array)
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
