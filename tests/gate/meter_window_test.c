/* SPDX-License-Identifier: MIT */
#include "gate/meter.h"

#include "meter_scene.h"

#include <criterion/criterion.h>

#define T0 CLOCK_BIAS
#define SECOND (UINT64_C(1000) * MS)

Test(window, limit_of_one_passes_once_in_a_window_and_a_tick)
{
	struct meter_answer a;
	struct scene s;

	scene_open_window(&s, 1, 100 * MS, 0);
	a = take(&s, 1, T0);
	cr_assert(a.fits);
	cr_assert_eq(a.remaining, 0);
	cr_assert_eq(a.reset_ms, 100);
	cr_assert_eq(a.retry_ms, 100);
	a = take(&s, 1, T0);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 100);
	a = take(&s, 1, T0 + 100 * MS);
	cr_assert_not(a.fits, "the ends of a window both belong to it");
	cr_assert_eq(a.retry_ms, 1);
	cr_assert(take(&s, 1, T0 + 100 * MS + 1).fits);
	scene_close(&s);
}

Test(window, spends_exactly_the_last_unit)
{
	struct scene s;

	scene_open_window(&s, 10, MS, 0);
	cr_assert(take(&s, 7, T0).fits);
	cr_assert_not(take(&s, 4, T0 + 1).fits);
	cr_assert(take(&s, 3, T0 + 1).fits);
	cr_assert_not(take(&s, 1, T0 + 1).fits);
	cr_assert_eq(used_at(&s, T0 + 1), 10);
	scene_close(&s);
}

Test(window, denial_writes_nothing)
{
	struct scene s;
	struct org before;

	scene_open_window(&s, 2, MS, 0);
	take(&s, 2, T0);
	before = *s.org;
	take(&s, 1, T0 + 1);
	take(&s, 3, T0 + 1);
	look(&s, 1, T0 + 9999);
	cr_assert_arr_eq(&before, s.org, sizeof(before));
	scene_close(&s);
}

Test(window, cost_above_the_limit_never_passes_and_has_no_retry)
{
	struct meter_answer a;
	struct scene s;

	scene_open_window(&s, 5, MS, 0);
	a = take(&s, 6, T0);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 0);
	cr_assert_eq(a.reset_ms, 0);
	take(&s, 1, T0);
	a = take(&s, UINT32_MAX, T0);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 0);
	cr_assert(take(&s, 4, T0).fits);
	scene_close(&s);
}

Test(window, retry_waits_for_as_many_units_as_the_cost_needs)
{
	struct scene s;
	unsigned i;

	scene_open_window(&s, 8, SECOND, 0);
	for (i = 0; i < 4; i++)
		cr_assert(take(&s, 2, T0 + i * 10 * MS).fits);
	cr_assert_eq(take(&s, 1, T0 + 50 * MS).retry_ms, 1000 - 50);
	cr_assert_eq(take(&s, 2, T0 + 50 * MS).retry_ms, 1000 - 50);
	cr_assert_eq(take(&s, 3, T0 + 50 * MS).retry_ms, 1000 + 10 - 50);
	cr_assert_eq(take(&s, 8, T0 + 50 * MS).retry_ms, 1000 + 30 - 50);
	cr_assert_eq(take(&s, 8, T0 + 50 * MS).reset_ms, 1000 + 30 - 50);
	cr_assert_not(look(&s, 3, T0 + SECOND + 10 * MS).fits);
	cr_assert(look(&s, 3, T0 + SECOND + 10 * MS + 1).fits);
	scene_close(&s);
}

/* Checks of one claim: the second sees what the first has charged. */
Test(window, charges_of_one_view_add_up)
{
	struct instant now = scene_ticks(T0 + MS);
	struct meter_answer a;
	struct scene s;

	scene_open_window(&s, 10, SECOND, 0);
	take(&s, 2, T0);
	scene_read(&s, &now);
	view_charge(&s.view, 3);
	view_charge(&s.view, 4);
	view_answer(&s.view, 1, &a);
	cr_assert(a.fits);
	cr_assert_eq(a.remaining, 1);
	cr_assert_eq(a.retry_ms, 999);
	cr_assert_eq(a.reset_ms, 1000);
	view_answer(&s.view, 2, &a);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 999, "the 2 leave first");
	view_answer(&s.view, 4, &a);
	cr_assert_eq(a.retry_ms, 1000, "what was charged now leaves last");
	scene_close(&s);
}

Test(window, clock_that_goes_back_admits_nothing_early)
{
	struct scene s;

	/* The gate's instant is what counts, not the caller's. */
	scene_open_window(&s, 1, MS, 0);
	take(&s, 1, T0 + 1000);
	cr_assert_not(take(&s, 1, T0 + 995).fits);
	cr_assert(take(&s, 1, T0 + 1000 + MS + 1).fits);
	s.rule.limit = 2;
	cr_assert(take(&s, 1, T0).fits);
	cr_assert_not(take(&s, 1, T0 + 1000 + 2 * MS + 1).fits);
	cr_assert(take(&s, 1, T0 + 1000 + 2 * MS + 2).fits);
	scene_close(&s);
}

/* Where no gate keeps the time in order (gate/outside.h). */
Test(window, view_in_the_past_counts_all_that_came_later)
{
	struct instant early = scene_ticks(T0);
	struct meter_answer a;
	struct scene s;

	scene_open_window(&s, 2, MS, 0);
	take(&s, 2, T0 + 1000);
	view_read(&s.view, s.f.arena, &s.rule, &s.org->first, NULL, 0, &early);
	view_answer(&s.view, 1, &a);
	cr_assert_not(a.fits);
	cr_assert_eq(s.view.used, 2);
	scene_close(&s);
}

/* Several rounds: the ring, and the totals in its entries, wrap. */
Test(window, largest_exact_limit_fills_and_empties_one_by_one)
{
	const uint32_t limit = METER_EXACT_MAX;
	struct scene s;
	uint32_t i;

	scene_open_window(&s, limit, limit - 1, 0);
	cr_assert_eq(RING_LOG2(fixture_get(&s.org->first.ring)), 16);
	for (i = 0; i < limit; i++)
		cr_assert(take(&s, 1, T0 + i).fits, "%u", i);
	cr_assert_not(take(&s, 1, T0 + limit - 1).fits);
	for (i = 0; i < 9 * limit; i++) {
		uint64_t now = T0 + limit + i;

		cr_assert(take(&s, 1, now).fits, "%u", i);
		cr_assert_eq(s.view.used, limit);
		cr_assert_not(take(&s, 1, now).fits, "%u", i);
	}
	cr_assert_eq(take(&s, limit, T0 + 10 * limit).retry_ms,
		     (limit - 1 + MS - 2) / MS);
	cr_assert(take(&s, limit, T0 + 13 * limit).fits);
	scene_close(&s);
}

Test(window, longest_window_lasts_31_days)
{
	uint64_t w = WINDOW_MS_MAX * MS;
	struct scene s;

	scene_open_window(&s, 1, w, 0);
	cr_assert_eq(take(&s, 1, T0).reset_ms, WINDOW_MS_MAX);
	cr_assert_not(take(&s, 1, T0 + w).fits);
	cr_assert(take(&s, 1, T0 + w + 1).fits);
	scene_close(&s);
}

Test(window, shortest_window_lasts_a_millisecond)
{
	struct scene s;

	scene_open_window(&s, 2, WINDOW_MS_MIN * MS, 0);
	cr_assert_eq(take(&s, 2, T0).reset_ms, 1);
	cr_assert_not(take(&s, 1, T0 + MS).fits);
	cr_assert(take(&s, 2, T0 + MS + 1).fits);
	scene_close(&s);
}

Test(window, end_of_time_denies)
{
	struct scene s;

	scene_open_window(&s, 2, MS, 0);
	cr_assert(take(&s, 1, CLOCK_TICK_MAX).fits);
	cr_assert(take(&s, 1, CLOCK_TICK_MAX + 1).fits);
	cr_assert_not(take(&s, 1, CLOCK_TICK_MAX + 10 * MS).fits);
	cr_assert_not(take(&s, 1, 2 * CLOCK_TICK_MAX).fits);
	scene_close(&s);
}

Test(window, lowered_limit_binds_at_once)
{
	struct meter_answer a;
	struct scene s;

	scene_open_window(&s, 8, SECOND, 0);
	take(&s, 6, T0);
	s.rule.limit = 4;
	a = take(&s, 1, T0 + MS);
	cr_assert_not(a.fits);
	cr_assert_eq(a.limit, 4);
	cr_assert_eq(a.remaining, 0);
	cr_assert_eq(a.retry_ms, 999);
	cr_assert(take(&s, 4, T0 + SECOND + 1).fits);
	scene_close(&s);
}

Test(window, lengthened_window_counts_what_the_ring_remembers)
{
	struct scene s;
	unsigned i;

	scene_open_window(&s, 4, 100, 0);
	for (i = 0; i < 3; i++)
		take(&s, 2, T0 + i * 200);
	s.rule.span = 1000;
	s.rule.limit = 7;
	cr_assert_eq(used_at(&s, T0 + 400), 6, "those that had left too");
	cr_assert(take(&s, 1, T0 + 400).fits);
	cr_assert_not(take(&s, 1, T0 + 1000).fits);
	cr_assert(take(&s, 2, T0 + 1001).fits);
	scene_close(&s);
}

/* All that the ring holds is in the longer window: how much came before is not
 * known, so there is no room until the oldest have left. */
Test(window, lengthened_beyond_the_ring_is_full)
{
	struct scene s;
	unsigned i;

	scene_open_window(&s, 8, 100, 0);
	for (i = 0; i < 20; i++)
		cr_assert(take(&s, 1, T0 + i * 101).fits);
	s.rule.span = 1000 * MS;
	cr_assert_eq(used_at(&s, T0 + 2000), 8);
	cr_assert_not(take(&s, 1, T0 + 2000).fits);
	s.rule.limit = 100;
	cr_assert_not(take(&s, 1, T0 + 2000).fits, "at least `limit`");
	cr_assert_eq(used_at(&s, T0 + 12 * 101 + s.rule.span), 100);
	cr_assert_eq(used_at(&s, T0 + 12 * 101 + s.rule.span + 1), 7);
	scene_close(&s);
}

Test(window, shortened_window_lets_go_at_once)
{
	struct scene s;

	scene_open_window(&s, 4, 1000, 0);
	take(&s, 2, T0);
	take(&s, 2, T0 + 200);
	s.rule.span = 100;
	cr_assert_eq(used_at(&s, T0 + 201), 2);
	cr_assert(take(&s, 2, T0 + 201).fits);
	scene_close(&s);
}

Test(window, reset_forgets_what_was_counted_and_nothing_else)
{
	struct scene s;

	/* The control thread's time is now. */
	scene_open_window(&s, 4, SECOND, 0);
	take(&s, 3, T0);
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	cr_assert_eq(used_at(&s, T0), 3, "had left already");
	s.rule.span = 30 * 86400 * SECOND;
	take(&s, 1, T0);
	cr_assert_not(take(&s, 1, T0).fits);
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	cr_assert_eq(used_at(&s, T0), 0);
	cr_assert(look(&s, 4, T0).fits);
	cr_assert_eq(look(&s, 0, T0).reset_ms, 0);
	cr_assert(take(&s, 4, T0).fits, "a tick after the reset");
	cr_assert_not(take(&s, 1, T0).fits);
	cr_assert_eq(s.view.used, 4);
	scene_close(&s);
}

Test(window, ring_has_a_place_for_each_unit)
{
	cr_assert_eq(meter_ring_log2(0), 3);
	cr_assert_eq(meter_ring_log2(1), 3);
	cr_assert_eq(meter_ring_log2(8), 3);
	cr_assert_eq(meter_ring_log2(9), 4);
	cr_assert_eq(meter_ring_log2(16), 4);
	cr_assert_eq(meter_ring_log2(METER_EXACT_MAX), 16);
	cr_assert_eq(meter_ring_log2(METER_EXACT_MAX + 1), METER_COARSE_LOG2);
	cr_assert_eq(meter_ring_log2(LIMIT_MAX), METER_COARSE_LOG2);
}

Test(window, is_at_rest_when_nothing_counts)
{
	struct instant now = scene_ticks(T0 + MS), later;
	struct scene s;

	scene_open_window(&s, 4, MS, 0);
	cr_assert(
		meter_rests(&s.rule, s.f.arena, &s.org->first, NULL, 0, &now));
	take(&s, 1, T0);
	cr_assert_not(
		meter_rests(&s.rule, s.f.arena, &s.org->first, NULL, 0, &now));
	later = scene_ticks(T0 + MS + 1);
	cr_assert(meter_rests(&s.rule, s.f.arena, &s.org->first, NULL, 0,
			      &later));
	scene_close(&s);
}
