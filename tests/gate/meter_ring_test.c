/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "gate/meter.h"

#include "meter_scene.h"

#include <criterion/criterion.h>

/*
 * What the ring itself must stand: hints that are anything, fewer entries than
 * units, being replaced, saved and restored.
 */
#define T0 CLOCK_BIAS

/* Every admission, with the time that it was really made at. */
#define LOG_MAX 200000
static struct admission log_of[LOG_MAX];
static size_t log_count;

static void log_put(uint64_t now, uint32_t units)
{
	check(log_count < LOG_MAX);
	log_of[log_count++] = (struct admission){now, units};
}

/* Units of the last `span` ticks, both ends included. */
static uint64_t logged(uint64_t now, uint64_t span)
{
	uint64_t sum = 0;
	size_t i;

	for (i = log_count; i > 0 && log_of[i - 1].stamp + span >= now; i--)
		sum += log_of[i - 1].units;
	return sum;
}

/* ---- hints ---- */

static struct view view_with(struct scene *s, uint64_t hint, uint64_t ticks)
{
	struct instant now = scene_ticks(ticks);
	struct view v;

	fixture_set(&s->org->first.level, hint);
	view_read(&v, s->f.arena, &s->rule, &s->org->first, NULL, 0, &now);
	return v;
}

/* A ring that holds `entries` admissions of different ticks, and any hint. */
static void hints_of(unsigned entries)
{
	uint64_t newest, first, hint, end = T0 + entries;
	struct scene s;
	unsigned i, at;

	scene_open_window(&s, 8, 5, 3);
	for (i = 0; i < entries; i++)
		take(&s, 1, T0 + i);
	hint = fixture_get(&s.org->first.level);
	for (at = 0; at < 8; at++) {
		struct view right = view_with(&s, hint, end + at);

		unsigned live = at < 5 ? 5 - at : 0;

		/* One at each of the ticks before `end`. */
		cr_assert_eq(right.used, entries < live ? entries : live);
		for (newest = 0; newest < 18; newest++)
			for (first = 0; first < 18; first++) {
				struct view v = view_with(
					&s, newest << 32 | first, end + at);

				cr_assert_eq(v.used, right.used,
					     "%u entries, hint %lu %lu",
					     entries, newest, first);
				cr_assert_eq(v.newest_stamp,
					     right.newest_stamp);
				cr_assert_eq(v.from, right.from);
				cr_assert(!v.live ||
					  v.first_stamp == right.first_stamp);
			}
	}
	scene_close(&s);
}

Test(ring, any_hint_leads_to_the_same_answer)
{
	unsigned entries;

	for (entries = 0; entries <= 20; entries++)
		hints_of(entries);
}

Test(ring, hints_of_random_bits_decide_alike)
{
	struct rng rng = {test_seed("hints")};
	struct scene s;
	unsigned i;
	uint64_t now = T0;

	scene_open_window(&s, 60, 1000, 0);
	log_count = 0;
	for (i = 0; i < 50000; i++) {
		uint32_t cost = 1 + rng_below(&rng, 3);
		bool fits;

		now += rng_below(&rng, 60);
		fixture_set(&s.org->first.level,
			    rng_next(&rng) >> rng_below(&rng, 64));
		fits = take(&s, cost, now).fits;
		cr_assert_eq(fits, logged(now, 1000) + cost <= 60, "%u", i);
		if (fits)
			log_put(now, cost);
	}
	scene_close(&s);
}

/* ---- fewer entries than units ---- */

/* Never early, at most a grain late; `entries` that are coarse have stamps of
 * 64 ticks besides. */
static void coarse_run(uint32_t limit, uint64_t span, unsigned log2,
		       uint64_t unit_max, struct rng *rng)
{
	uint64_t entries = UINT64_C(1) << log2, now = T0 + rng_below(rng, 999);
	uint64_t tick = meter_coarse(limit) ? 64 : 1;
	uint64_t grain = (span / (entries - 2) / tick + 1) * tick;
	unsigned denied = 0, i, steps = 6000;
	struct scene s;

	if (meter_coarse(limit))
		log2 = METER_COARSE_LOG2;
	scene_open_window(&s, limit, span, log2);
	log_count = 0;
	for (i = 0; i < steps; i++) {
		uint32_t cost = 1 + rng_below(rng, (uint32_t)unit_max);
		struct meter_answer a;

		now += rng_below(rng, rng_below(rng, 20)
					      ? (uint32_t)(span / 30 + 2)
					      : (uint32_t)span);
		if (cost > limit)
			cost = limit;
		a = take(&s, cost, now);
		if (a.fits) {
			cr_assert_leq(logged(now, span) + cost, limit,
				      "early: limit %u, span %lu, %u", limit,
				      span, i);
			log_put(now, cost);
			continue;
		}
		denied++;
		cr_assert_gt(logged(now, span + grain) + cost, limit,
			     "late: limit %u, span %lu, %u", limit, span, i);
		/* As it was told to: then there is room. */
		if (rng_below(rng, 4) == 0)
			cr_assert(
				look(&s, cost, now + a.retry_ms * MS + 1).fits);
	}
	cr_assert_gt(denied, steps / 100, "limit %u, span %lu: %u", limit, span,
		     denied);
	scene_close(&s);
}

Test(ring, fewer_entries_than_units_are_never_early_and_a_grain_late)
{
	struct rng rng = {test_seed("grain")};
	unsigned i;

	for (i = 0; i < 60; i++)
		coarse_run(9 + rng_below(&rng, 500),
			   250 + rng_below(&rng, 5000), 3 + rng_below(&rng, 4),
			   60, &rng);
}

Test(ring, limits_above_the_exact_are_never_early_and_a_grain_late)
{
	struct rng rng = {test_seed("coarse")};

	coarse_run(METER_EXACT_MAX + 1, 1000 * MS, 13, 8000, &rng);
	coarse_run(100000, 250, 13, 12000, &rng);
	coarse_run(1000000, 60000 * MS, 13, 120000, &rng);
	coarse_run(LIMIT_MAX, 3600000 * MS, 13, 1000000, &rng);
	coarse_run(LIMIT_MAX, WINDOW_MS_MAX * MS / 1000, 13, 1000000, &rng);
}

Test(ring, coarse_window_spends_exactly_its_limit)
{
	uint32_t i, n = 0;
	struct scene s;

	scene_open_window(&s, LIMIT_MAX, 60000 * MS, 0);
	cr_assert(fixture_get(&s.org->first.ring) & RING_COARSE);
	for (i = 0; i < 8; i++, n += 1000000)
		cr_assert(take(&s, 1000000, T0 + i * 999).fits);
	cr_assert(take(&s, LIMIT_MAX - n - 1, T0 + 8000).fits);
	cr_assert_not(take(&s, 2, T0 + 9000).fits);
	cr_assert(take(&s, 1, T0 + 9000).fits);
	cr_assert_not(take(&s, 1, T0 + 9000).fits);
	/* Many laps of totals of 24 bits. */
	for (i = 1; i < 20; i++) {
		uint64_t now = T0 + i * UINT64_C(61000) * MS;

		cr_assert(take(&s, LIMIT_MAX, now).fits, "%u", i);
		cr_assert_not(take(&s, 1, now + 60000 * MS).fits);
	}
	scene_close(&s);
}

/* One unit at every tick for longer than the ring: entries are shared. */
Test(ring, steady_stream_is_bounded_by_entries_not_units)
{
	uint64_t i, admitted = 0, span = 1000;
	struct scene s;

	scene_open_window(&s, 100, span, 4);
	log_count = 0;
	for (i = 0; i < 100000; i++)
		if (take(&s, 1, T0 + i).fits) {
			cr_assert_lt(logged(T0 + i, span), 100);
			log_put(T0 + i, 1);
			admitted++;
		}
	/* A grain (72) late at most: 100 each 1001 + 72 ticks. */
	cr_assert_geq(admitted, 100000 / 1073 * 100);
	scene_close(&s);
}

/* The entries stay what they are: a subject's. */
Test(ring, raised_above_its_entries_admits_the_difference_at_once)
{
	struct scene s;
	uint64_t t;
	unsigned i;

	scene_open_window(&s, 7, 10000, 3);
	for (i = 0; i < 20; i++)
		take(&s, 1, T0 - 20000 + i); /* these will have left */
	for (i = 0; i < 7; i++)
		cr_assert(take(&s, 1, T0 + i * 10).fits);
	cr_assert_not(take(&s, 1, T0 + 70).fits);
	s.rule.limit = 60;
	for (i = 0, t = T0 + 100; i < 53; i++, t += 20)
		cr_assert(take(&s, 1, t).fits, "%u", i);
	cr_assert_not(take(&s, 1, t).fits);
	/* Those before it leave when they would have, but for the newest, that
	 * the others have joined. */
	for (i = 0; i < 6; i++) {
		cr_assert_eq(used_at(&s, T0 + i * 10 + 10000), 60 - i);
		cr_assert_eq(used_at(&s, T0 + i * 10 + 10001), 59 - i);
	}
	cr_assert(take(&s, 6, T0 + 10061).fits);
	cr_assert_not(take(&s, 1, T0 + 10061).fits);
	cr_assert(take(&s, 54, t + 10000 + 10000 / 6).fits);
	scene_close(&s);
}

/* ---- another ring ---- */

static void move(struct scene *s, const struct rule *to, unsigned log2)
{
	meter_move_ring(&s->claim, &s->org->gate, &s->org->first, &s->rule, to,
			fixture_ring(&s->f, log2));
	s->rule = *to;
}

/* meter_move_ring() reads the time itself: everything happens about now, in
 * windows so long that a slow test does not matter. */
#define LONG (UINT64_C(3600000) * MS)

static uint64_t begin_now(struct scene *s, uint32_t limit)
{
	scene_open_window(s, limit, LONG, 0);
	return instant_now().ticks - LONG / 2;
}

Test(ring, raised_limit_keeps_every_admission)
{
	struct rule to = fixture_window(128, LONG);
	struct scene s;
	uint64_t t;
	unsigned i;

	t = begin_now(&s, 64);
	for (i = 0; i < 100; i++)
		take(&s, 1, t - LONG - 200 + i); /* these will have left */
	for (i = 0; i < 60; i++)
		cr_assert(take(&s, 1, t + i * 10).fits);
	move(&s, &to, 7);
	t += 600;
	cr_assert_eq(used_at(&s, t), 60);
	for (i = 0; i < 68; i++)
		cr_assert(take(&s, 1, t + i).fits, "%u", i);
	cr_assert_not(take(&s, 1, t + 68).fits);
	t -= 600;
	for (i = 0; i < 60; i++) {
		cr_assert_eq(used_at(&s, t + i * 10 + LONG), 128 - i);
		cr_assert_eq(used_at(&s, t + i * 10 + LONG + 1), 127 - i);
	}
	scene_close(&s);
}

/* Whatever hint the old ring, or a late thread, has left. */
Test(ring, moved_ring_stands_any_hint)
{
	struct rule to = fixture_window(64, LONG);
	uint64_t hint, t;
	struct scene s;
	unsigned i;

	t = begin_now(&s, 8);
	for (i = 0; i < 5; i++)
		take(&s, 1, t + i);
	move(&s, &to, 6);
	for (hint = 0; hint < 64; hint++) {
		struct view v = view_with(&s, hint << 32 | (63 - hint), t + 5);

		cr_assert_eq(v.used, 5, "hint %lu: %lu", hint, v.used);
	}
	for (hint = 0; hint < 59; hint++) {
		fixture_set(&s.org->first.level, (63 - hint) << 32);
		cr_assert(take(&s, 1, t + 5 + hint / 2).fits);
	}
	cr_assert_not(take(&s, 1, t + 99).fits);
	scene_close(&s);
}

Test(ring, exact_to_coarse_and_back_counts_all)
{
	struct rule coarse = fixture_window(METER_EXACT_MAX + 100, LONG);
	struct rule exact = fixture_window(2000, LONG);
	struct scene s;
	uint64_t t;
	unsigned i;

	t = begin_now(&s, 1000);
	for (i = 0; i < 500; i++)
		cr_assert(take(&s, 2, t + i).fits);
	move(&s, &coarse, METER_COARSE_LOG2);
	cr_assert(fixture_get(&s.org->first.ring) & RING_COARSE);
	cr_assert_eq(used_at(&s, t + 500), 1000);
	cr_assert_eq(used_at(&s, t + LONG), 1000, "not early");
	cr_assert(take(&s, METER_EXACT_MAX - 900, t + 1000).fits);
	cr_assert_not(take(&s, 1, t + 1000).fits);
	scene_close(&s);

	t = begin_now(&s, METER_EXACT_MAX + 100);
	for (i = 0; i < 500; i++)
		cr_assert(take(&s, 3, t + i * 1000).fits);
	move(&s, &exact, 11);
	cr_assert_not(fixture_get(&s.org->first.ring) & RING_COARSE);
	t += 500000;
	cr_assert_eq(used_at(&s, t), 1500);
	cr_assert(take(&s, 500, t).fits);
	cr_assert_not(take(&s, 1, t).fits);
	cr_assert_eq(used_at(&s, t - 500000 + LONG), 2000);
	scene_close(&s);
}

/* What was used before the window began is not copied, nor what a reset has
 * wiped out. */
Test(ring, move_copies_only_what_counts)
{
	struct rule to = fixture_window(64, LONG);
	struct scene s;
	uint64_t t;

	t = begin_now(&s, 16);
	take(&s, 10, t - LONG);
	move(&s, &to, 6);
	cr_assert_eq(used_at(&s, t), 0);
	cr_assert_eq(look(&s, 0, t).reset_ms, 0);
	take(&s, 7, t);
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	take(&s, 3, t + 1);
	to.limit = 100;
	move(&s, &to, 7);
	cr_assert_eq(used_at(&s, t + 1), 3);
	scene_close(&s);
}

/* A bucket becomes a window: it begins empty. */
Test(ring, nothing_is_copied_from_another_algorithm)
{
	struct rule to = fixture_window(8, LONG), from = scene_gcra(8, 1000);
	uint64_t t = instant_now().ticks;
	struct scene s;

	scene_open(&s, &from, 3);
	cr_assert(take(&s, 8, t).fits);
	memset(&s.view, 0xff, sizeof(s.view));
	move(&s, &to, 3);
	cr_assert_eq(used_at(&s, t), 0);
	cr_assert(take(&s, 8, t).fits);
	cr_assert_not(take(&s, 1, t).fits);
	scene_close(&s);
}

/* What has left when the ring is moved is not in the new one: a check that was
 * stamped before happens no earlier than the move. */
Test(ring, decisions_follow_the_move)
{
	struct rule to = fixture_window(1, 1000 * MS);
	struct scene s;
	uint64_t t;

	scene_open_window(&s, 1, 1000 * MS, 0);
	t = instant_now().ticks - 1001 * MS;
	cr_assert(take(&s, 1, t).fits);
	cr_assert_not(take(&s, 1, t + 999 * MS).fits);
	move(&s, &to, 3);
	cr_assert(take(&s, 1, t + 999 * MS).fits, "now, not then");
	cr_assert_geq(s.view.newest_stamp, t + 1001 * MS);
	scene_close(&s);
}

/* A full house, into fewer entries: longer, never shorter. */
Test(ring, move_into_fewer_entries_than_units)
{
	struct rule to = fixture_window(64, LONG);
	uint64_t grain = LONG / 14 + 1, t;
	struct scene s;
	unsigned i;

	t = begin_now(&s, 64);
	for (i = 0; i < 64; i++)
		cr_assert(take(&s, 1, t + i * 10).fits);
	move(&s, &to, 4);
	cr_assert_eq(used_at(&s, t + 640), 64);
	cr_assert_eq(used_at(&s, t + LONG), 64);
	cr_assert_eq(used_at(&s, t + 630 + LONG + grain), 0);
	scene_close(&s);
}

Test(ring, place_of_a_ring_may_be_used_again)
{
	struct rule to = fixture_window(60, LONG);
	struct scene s;
	uint64_t place[2], t, used = 0;
	unsigned i, k;

	t = begin_now(&s, 60);
	place[0] = fixture_get(&s.org->first.ring);
	place[1] = fixture_ring(&s.f, 6);
	for (i = 1; i <= 50; i++) {
		uint64_t ring = place[i % 2] + RING_WORD(0, 0, 2 * i);

		memset(s.f.arena->rings + RING_PLACE(ring) * LINE_BYTES, 0,
		       sizeof(word_t) << 6);
		meter_move_ring(&s.claim, &s.org->gate, &s.org->first, &s.rule,
				&to, ring);
		for (k = 0; k < 2; k++)
			used += take(&s, 1, t + 100 * i + k).fits;
		cr_assert_eq(used_at(&s, t + 100 * i + 2), used);
	}
	cr_assert_eq(used, 60);
	scene_close(&s);
}

/* ---- saved and restored ---- */

Test(ring, admissions_are_what_the_window_holds)
{
	struct admission in[16];
	struct scene s;
	size_t n;

	scene_open_window(&s, 10, 1000, 0);
	look(&s, 0, T0);
	cr_assert_eq(view_admissions(&s.view, in, 0), 0);
	cr_assert_eq(view_admissions(&s.view, in, 16), 0);
	take(&s, 1, T0);
	take(&s, 2, T0 + 500);
	take(&s, 3, T0 + 900);
	look(&s, 0, T0 + 1001);
	n = view_admissions(&s.view, in, 16);
	cr_assert_eq(n, 2);
	cr_assert_eq(in[0].stamp, T0 + 500);
	cr_assert_eq(in[0].units, 2);
	cr_assert_eq(in[1].stamp, T0 + 900);
	cr_assert_eq(in[1].units, 3);
	cr_assert_eq(view_admissions(&s.view, in, 1), 1);
	cr_assert_eq(in[0].units, 3, "the newest");
	look(&s, 0, T0 + 9999);
	cr_assert_eq(view_admissions(&s.view, in, 16), 0);
	scene_close(&s);
}

/* The ring goes on meanwhile: what was overwritten had left, and its units
 * stay with the one after it. */
Test(ring, admissions_overwritten_meanwhile_count_longer_never_shorter)
{
	struct admission in[16];
	struct view v;
	struct scene s;
	unsigned i;
	size_t n;

	scene_open_window(&s, 8, 1000, 3);
	for (i = 0; i < 8; i++)
		take(&s, 1, T0 + i);
	look(&s, 0, T0 + 10);
	v = s.view;
	for (i = 0; i < 3; i++)
		cr_assert(take(&s, 1, T0 + 1001 + i).fits);
	n = view_admissions(&v, in, 16);
	cr_assert_eq(n, 5);
	cr_assert_eq(in[0].stamp, T0 + 3);
	cr_assert_eq(in[0].units, 4);
	for (i = 1; i < 5; i++) {
		cr_assert_eq(in[i].stamp, T0 + 3 + i);
		cr_assert_eq(in[i].units, 1);
	}
	cr_assert_eq(view_admissions(&v, in, 5), 5);
	cr_assert_eq(in[0].units, 4);
	scene_close(&s);
}

Test(ring, restored_window_decides_as_before)
{
	struct admission in[16];
	struct scene s;
	size_t n;

	scene_open_window(&s, 10, 1000, 0);
	take(&s, 6, T0);
	take(&s, 3, T0 + 10);
	look(&s, 0, T0 + 20);
	n = view_admissions(&s.view, in, 16);
	s.org = fixture_org(&s.f, 2, 10, 1000, 0);
	meter_restore(s.f.arena, &s.rule, &s.org->first, in, n);
	cr_assert_eq(used_at(&s, T0 + 20), 9);
	cr_assert_not(take(&s, 2, T0 + 1000).fits);
	cr_assert(take(&s, 7, T0 + 1001).fits);
	cr_assert_not(take(&s, 1, T0 + 1001).fits);
	scene_close(&s);
}

Test(ring, restored_into_fewer_entries_counts_longer_never_shorter)
{
	struct admission in[20];
	struct scene s;
	uint32_t i;

	for (i = 0; i < 20; i++)
		in[i] = (struct admission){.stamp = T0 + i, .units = 1};
	scene_open_window(&s, 8, 1000, 3);
	meter_restore(s.f.arena, &s.rule, &s.org->first, in, 20);
	/* An entry has left already, the ring's first; the first 14 stand under
	 * the stamp of the 14th. */
	cr_assert_eq(used_at(&s, T0 + 19), 20);
	cr_assert_eq(used_at(&s, T0 + 1013), 20);
	cr_assert_eq(used_at(&s, T0 + 1014), 6);
	cr_assert(take(&s, 2, T0 + 1014).fits);
	cr_assert_not(take(&s, 1, T0 + 1014).fits);
	scene_close(&s);
}

Test(ring, restored_into_coarse_entries_counts_longer_never_shorter)
{
	static struct admission in[20000];
	struct scene s;
	uint32_t i;

	for (i = 0; i < 20000; i++)
		in[i] = (struct admission){.stamp = T0 + i * 10, .units = 5};
	scene_open_window(&s, 100000, 60000 * MS, 0);
	meter_restore(s.f.arena, &s.rule, &s.org->first, in, 20000);
	cr_assert_eq(used_at(&s, T0 + 60000 * MS), 100000);
	cr_assert_not(take(&s, 1, T0 + 60000 * MS).fits);
	/* 200,000 ticks in all, and a grain. */
	cr_assert(take(&s, 100000,
		       T0 + 60000 * MS + 200000 + 60000 * MS / 8190 + 64)
			  .fits);
	scene_close(&s);
}

/* restore: strict fills a window whatever was used. */
Test(ring, restored_full_window_is_full)
{
	const uint32_t limits[] = {8, METER_EXACT_MAX, LIMIT_MAX};
	struct scene s;
	unsigned i;

	for (i = 0; i < 3; i++) {
		struct admission full = {.stamp = T0, .units = limits[i]};

		scene_open_window(&s, limits[i], 1000, 0);
		meter_restore(s.f.arena, &s.rule, &s.org->first, &full, 1);
		cr_assert_eq(used_at(&s, T0 + 1000), limits[i]);
		cr_assert_not(take(&s, 1, T0 + 1000).fits);
		cr_assert(take(&s, limits[i], T0 + 1064).fits);
		scene_close(&s);
	}
}
