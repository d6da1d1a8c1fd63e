/* SPDX-License-Identifier: MIT */
#include "gate/window.h"

#include "fixture.h"

#include <criterion/criterion.h>

#define T0 CLOCK_BIAS

struct scene {
	struct fixture f;
	struct org *org;
	struct claim claim;
};

static void open_scene(struct scene *s, uint32_t limit, uint64_t window)
{
	fixture_open(&s->f);
	s->org = fixture_org(&s->f, 1, limit, window, 0);
	claim_init(&s->claim, s->f.arena, 0, NULL);
}

static struct window_answer take(struct scene *s, uint32_t cost, uint64_t now)
{
	struct window_answer w;

	window_take_one(&s->claim, s->org, NULL, cost, now, &w);
	return w;
}

static struct window_answer peek(struct scene *s, uint32_t cost, uint64_t now)
{
	struct window_answer w;

	window_peek(s->f.arena, s->org, cost, now, NULL, &w);
	return w;
}

Test(window, limit_of_one_passes_once_in_a_window_and_a_tick)
{
	struct scene s;
	struct window_answer w;

	open_scene(&s, 1, 100 * MS);
	w = take(&s, 1, T0);
	cr_assert(w.allowed);
	cr_assert_eq(w.in_window, 1);
	cr_assert_eq(w.reset, 100 * MS + 1);
	cr_assert_eq(w.retry, 100 * MS + 1);
	w = take(&s, 1, T0);
	cr_assert_not(w.allowed);
	cr_assert_eq(w.retry, 100 * MS + 1);
	w = take(&s, 1, T0 + 100 * MS);
	cr_assert_not(w.allowed, "the ends of a window both belong to it");
	cr_assert_eq(w.retry, 1);
	w = take(&s, 1, T0 + 100 * MS + 1);
	cr_assert(w.allowed);
	cr_assert_eq(fixture_get(&s.org->used), 2);
	fixture_close(&s.f);
}

Test(window, spends_exactly_the_last_unit)
{
	struct scene s;

	open_scene(&s, 10, MS);
	cr_assert(take(&s, 7, T0).allowed);
	cr_assert_not(take(&s, 4, T0 + 1).allowed);
	cr_assert(take(&s, 3, T0 + 1).allowed);
	cr_assert_not(take(&s, 1, T0 + 1).allowed);
	cr_assert_eq(fixture_get(&s.org->used), 10);
	fixture_close(&s.f);
}

Test(window, denial_writes_nothing)
{
	struct scene s;
	struct org before;

	open_scene(&s, 2, MS);
	take(&s, 2, T0);
	before = *s.org;
	take(&s, 1, T0 + 1);
	take(&s, 3, T0 + 1);
	peek(&s, 1, T0 + 9999);
	cr_assert_arr_eq(&before, s.org, sizeof(before));
	fixture_close(&s.f);
}

Test(window, cost_above_the_limit_never_passes_and_has_no_retry)
{
	struct scene s;
	struct window_answer w;

	open_scene(&s, 5, MS);
	w = take(&s, 6, T0);
	cr_assert_not(w.allowed);
	cr_assert_eq(w.retry, 0);
	cr_assert_eq(w.reset, 0);
	take(&s, 1, T0);
	w = take(&s, UINT32_MAX, T0);
	cr_assert_not(w.allowed);
	cr_assert_eq(w.retry, 0);
	cr_assert(take(&s, 4, T0).allowed);
	fixture_close(&s.f);
}

Test(window, retry_waits_for_as_many_units_as_the_cost_needs)
{
	struct scene s;
	unsigned i;

	open_scene(&s, 8, 1000);
	for (i = 0; i < 4; i++)
		cr_assert(take(&s, 2, T0 + i * 10).allowed);
	cr_assert_eq(take(&s, 1, T0 + 50).retry, 1001 - 50);
	cr_assert_eq(take(&s, 2, T0 + 50).retry, 1001 - 50);
	cr_assert_eq(take(&s, 3, T0 + 50).retry, 1001 + 10 - 50);
	cr_assert_eq(take(&s, 8, T0 + 50).retry, 1001 + 30 - 50);
	cr_assert_eq(take(&s, 8, T0 + 50).reset, 1001 + 30 - 50);
	cr_assert_not(peek(&s, 3, T0 + 1010).allowed);
	cr_assert(peek(&s, 3, T0 + 1011).allowed);
	fixture_close(&s.f);
}

Test(window, clock_that_goes_back_admits_nothing_early)
{
	struct scene s;
	struct window_answer w;

	open_scene(&s, 1, MS);
	take(&s, 1, T0 + 1000);
	w = take(&s, 1, T0 + 995);
	cr_assert_not(w.allowed);
	cr_assert_eq(w.retry, MS + 1, "counted from the newest stamp");
	/* An admission by a late clock bears the newest stamp. */
	cr_assert(take(&s, 1, T0 + 1000 + MS + 1).allowed);
	fixture_set(&s.org->rule, window_rule(2, MS));
	cr_assert(take(&s, 1, T0).allowed);
	cr_assert_not(take(&s, 1, T0 + 1000 + 2 * MS + 1).allowed);
	cr_assert(take(&s, 1, T0 + 1000 + 2 * MS + 2).allowed);
	fixture_close(&s.f);
}

Test(window, largest_limit_fills_and_empties_one_by_one)
{
	struct scene s;
	uint32_t i;

	open_scene(&s, LIMIT_MAX, LIMIT_MAX - 1);
	/* Several rounds: the ring and the totals in its entries wrap. */
	for (i = 0; i < LIMIT_MAX; i++)
		cr_assert(take(&s, 1, T0 + i).allowed, "%u", i);
	cr_assert_not(take(&s, 1, T0 + LIMIT_MAX - 1).allowed);
	for (i = 0; i < 5 * LIMIT_MAX; i++) {
		uint64_t now = T0 + LIMIT_MAX + i;
		struct window_answer w = take(&s, 1, now);

		cr_assert(w.allowed, "%u", i);
		cr_assert_eq(w.in_window, LIMIT_MAX);
		cr_assert_not(take(&s, 1, now).allowed, "%u", i);
	}
	cr_assert_eq(take(&s, LIMIT_MAX, T0 + 6 * LIMIT_MAX).retry,
		     LIMIT_MAX - 1);
	cr_assert(take(&s, LIMIT_MAX, T0 + 9 * LIMIT_MAX).allowed);
	fixture_close(&s.f);
}

Test(window, longest_window_lasts_31_days)
{
	uint64_t w = WINDOW_MS_MAX * MS;
	struct scene s;

	open_scene(&s, 1, w);
	cr_assert_eq(take(&s, 1, T0).reset, w + 1);
	cr_assert_not(take(&s, 1, T0 + w).allowed);
	cr_assert(take(&s, 1, T0 + w + 1).allowed);
	fixture_close(&s.f);
}

Test(window, end_of_time_denies)
{
	struct scene s;

	open_scene(&s, 1, MS);
	cr_assert(take(&s, 1, CLOCK_TICK_MAX).allowed);
	cr_assert_not(take(&s, 1, CLOCK_TICK_MAX).allowed);
	fixture_close(&s.f);
}

Test(window, key_and_organization_are_charged_together)
{
	struct scene s;
	struct window_answer w;
	struct key *a, *b;

	open_scene(&s, 10, MS);
	a = fixture_key(&s.f, 1);
	b = fixture_key(&s.f, 2);
	window_take_one(&s.claim, s.org, &a->used, 4, T0, &w);
	window_take_one(&s.claim, s.org, &b->used, 5, T0, &w);
	window_take_one(&s.claim, s.org, &b->used, 5, T0, &w);
	cr_assert_not(w.allowed);
	cr_assert_eq(fixture_get(&a->used), 4);
	cr_assert_eq(fixture_get(&b->used), 5);
	cr_assert_eq(fixture_get(&s.org->used), 9);
	fixture_close(&s.f);
}

Test(window, lowered_limit_binds_at_once)
{
	struct scene s;
	struct window_answer w;

	open_scene(&s, 8, 1000);
	take(&s, 6, T0);
	window_change_rule(&s.claim, s.org, window_rule(4, 1000));
	w = take(&s, 1, T0 + 1);
	cr_assert_not(w.allowed);
	cr_assert_eq(w.limit, 4);
	cr_assert_eq(w.in_window, 6);
	cr_assert_eq(w.retry, 1000);
	cr_assert(take(&s, 4, T0 + 1001).allowed);
	fixture_close(&s.f);
}

Test(window, longer_window_starts_with_what_the_shorter_still_held)
{
	struct scene s;

	open_scene(&s, 4, 100);
	take(&s, 2, T0);
	take(&s, 2, T0 + 200);
	window_change_rule(&s.claim, s.org, window_rule(4, 1000));
	cr_assert_eq(peek(&s, 0, T0 + 200).in_window, 2);
	cr_assert(take(&s, 2, T0 + 300).allowed);
	cr_assert_eq(take(&s, 1, T0 + 300).retry, 1001 - 100);
	fixture_close(&s.f);
}

Test(window, ring_has_a_place_for_each_unit)
{
	cr_assert_eq(window_ring_log2(0), 3);
	cr_assert_eq(window_ring_log2(1), 3);
	cr_assert_eq(window_ring_log2(8), 3);
	cr_assert_eq(window_ring_log2(9), 4);
	cr_assert_eq(window_ring_log2(16), 4);
	cr_assert_eq(window_ring_log2(LIMIT_MAX - 1), 16);
	cr_assert_eq(window_ring_log2(LIMIT_MAX), 16);
}

Test(window, raised_limit_carries_the_old_ring_over)
{
	struct scene s;
	uint32_t i;

	open_scene(&s, 64, 10000);
	for (i = 0; i < 100; i++)
		take(&s, 1, T0 + i); /* 64 pass; they do not start at 0 */
	for (i = 0; i < 40; i++)
		cr_assert(take(&s, 1, T0 + 10001 + i).allowed);
	window_swap_ring(&s.claim, s.org, fixture_ring(&s.f, 7));
	cr_assert_not(window_ring_drained(s.org));
	window_change_rule(&s.claim, s.org, window_rule(128, 10000));
	for (i = 0; i < 20; i++)
		cr_assert(take(&s, 1, T0 + 10041 + i).allowed);
	cr_assert_eq(peek(&s, 0, T0 + 10060).in_window, 64 - 60 + 60);
	window_drain_ring(&s.claim, s.org);
	cr_assert(window_ring_drained(s.org));
	cr_assert_eq(peek(&s, 0, T0 + 10060).in_window, 64);
	cr_assert_eq(peek(&s, 65, T0 + 10060).retry, 4 - 3);
	window_drain_ring(&s.claim, s.org); /* nothing left: no harm */
	for (i = 0; i < 64; i++)
		cr_assert(take(&s, 1, T0 + 10060).allowed, "%u", i);
	cr_assert_not(take(&s, 1, T0 + 10060).allowed);
	fixture_close(&s.f);
}

Test(window, saved_image_is_what_the_window_holds)
{
	static struct admission in[LIMIT_MAX];
	struct window_image image;
	struct scene s;

	open_scene(&s, 10, 1000);
	take(&s, 1, T0);
	take(&s, 2, T0 + 500);
	take(&s, 3, T0 + 900);
	window_save(s.f.arena, 1, T0 + 1001, &image, in, LIMIT_MAX);
	cr_assert_eq(image.used, 6);
	cr_assert_eq(image.count, 2);
	cr_assert_eq(in[0].stamp, T0 + 500);
	cr_assert_eq(in[0].units, 2);
	cr_assert_eq(in[1].stamp, T0 + 900);
	cr_assert_eq(in[1].units, 3);
	window_save(s.f.arena, 1, T0 + 1001, &image, in, 1);
	cr_assert_eq(image.count, 1);
	cr_assert_eq(in[0].units, 3, "the newest");
	window_save(s.f.arena, 1, T0 + 9999, &image, in, LIMIT_MAX);
	cr_assert_eq(image.used, 6);
	cr_assert_eq(image.count, 0);
	fixture_close(&s.f);
}

Test(window, restored_image_decides_as_before)
{
	static struct admission in[LIMIT_MAX];
	struct window_image image;
	struct scene s;

	open_scene(&s, 10, 1000);
	take(&s, 6, T0);
	take(&s, 3, T0 + 10);
	window_save(s.f.arena, 1, T0 + 20, &image, in, LIMIT_MAX);
	s.org = fixture_org(&s.f, 2, 10, 1000, 0);
	window_restore(s.f.arena, 2, &image, in);
	cr_assert_eq(fixture_get(&s.org->used), 9);
	cr_assert_not(take(&s, 2, T0 + 1000).allowed);
	cr_assert(take(&s, 7, T0 + 1001).allowed);
	cr_assert_not(take(&s, 1, T0 + 1001).allowed);
	fixture_close(&s.f);
}

Test(window, restored_into_a_smaller_ring_counts_longer_never_shorter)
{
	struct admission in[20];
	struct window_image image = {.used = 20, .count = 20};
	struct scene s;
	uint32_t i;

	for (i = 0; i < 20; i++)
		in[i] = (struct admission){.stamp = T0 + i, .units = 1};
	open_scene(&s, 8, 1000);
	window_restore(s.f.arena, 1, &image, in);
	/* The first 13 stand under the stamp of the 13th. */
	cr_assert_eq(peek(&s, 0, T0 + 1012).in_window, 20);
	cr_assert_eq(peek(&s, 0, T0 + 1013).in_window, 7);
	cr_assert(take(&s, 1, T0 + 1013).allowed);
	cr_assert_not(take(&s, 1, T0 + 1013).allowed);
	fixture_close(&s.f);
}

/* restore: strict fills a window beyond what was ever allowed. */
Test(window, restored_full_window_may_hold_more_than_was_used)
{
	struct admission full = {.stamp = T0, .units = LIMIT_MAX};
	struct window_image image = {.used = 3, .count = 1};
	struct scene s;

	open_scene(&s, LIMIT_MAX, 1000);
	window_restore(s.f.arena, 1, &image, &full);
	cr_assert_eq(peek(&s, 1, T0 + 1000).in_window, LIMIT_MAX);
	cr_assert_not(take(&s, 1, T0 + 1000).allowed);
	cr_assert(take(&s, LIMIT_MAX, T0 + 1001).allowed);
	cr_assert_eq(fixture_get(&s.org->used), LIMIT_MAX + 3);
	fixture_close(&s.f);
}
