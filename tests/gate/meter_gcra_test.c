/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "gate/meter.h"

#include "meter_scene.h"

#include <criterion/criterion.h>

#define T0_NS INSTANT_BIAS_NS
#define SECOND_NS UINT64_C(1000000000)

static struct meter_answer take_ns(struct scene *s, uint32_t units, uint64_t ns)
{
	struct instant now = instant_at(ns);

	return scene_try(s, units, &now);
}

static struct meter_answer look_ns(struct scene *s, uint32_t units, uint64_t ns)
{
	struct instant now = instant_at(ns);

	return scene_ask(s, units, &now);
}

static void open_gcra(struct scene *s, uint32_t burst, uint64_t unit_ns)
{
	struct rule rule = scene_gcra(burst, unit_ns);

	scene_open(s, &rule, 3);
}

Test(gcra, burst_is_exactly_n_units_from_rest)
{
	const uint32_t bursts[] = {1, 2, 3, 10, 1000, METER_EXACT_MAX};
	struct scene s;
	uint32_t i;
	size_t k;

	for (k = 0; k < sizeof(bursts) / sizeof(bursts[0]); k++) {
		open_gcra(&s, bursts[k], SECOND_NS);
		for (i = 0; i < bursts[k]; i++)
			cr_assert(take_ns(&s, 1, T0_NS).fits, "%u", i);
		cr_assert_not(take_ns(&s, 1, T0_NS).fits);
		scene_close(&s);
	}
}

/* The least rate that there is, the largest burst: one CAS a unit would be
 * long, but all at once or nothing. */
Test(gcra, largest_burst_at_once)
{
	struct scene s;

	open_gcra(&s, LIMIT_MAX, 1000000);
	cr_assert_not(take_ns(&s, LIMIT_MAX + 1, T0_NS).fits);
	cr_assert(take_ns(&s, LIMIT_MAX, T0_NS).fits);
	cr_assert_not(take_ns(&s, 1, T0_NS).fits);
	cr_assert_not(take_ns(&s, 1, T0_NS + 999999).fits);
	cr_assert(take_ns(&s, 1, T0_NS + 1000000).fits);
	scene_close(&s);
}

Test(gcra, unit_comes_back_at_its_nanosecond_and_not_before)
{
	const uint64_t units[] = {1,    2,         999,       1000,
				  1001, 333333334, SECOND_NS, 3600 * SECOND_NS};
	struct scene s;
	size_t k;

	for (k = 0; k < sizeof(units) / sizeof(units[0]); k++) {
		open_gcra(&s, 3, units[k]);
		cr_assert(take_ns(&s, 3, T0_NS).fits);
		cr_assert_not(look_ns(&s, 1, T0_NS + units[k] - 1).fits);
		cr_assert(look_ns(&s, 1, T0_NS + units[k]).fits);
		cr_assert_not(look_ns(&s, 2, T0_NS + 2 * units[k] - 1).fits);
		cr_assert(look_ns(&s, 2, T0_NS + 2 * units[k]).fits);
		cr_assert(take_ns(&s, 1, T0_NS + units[k]).fits);
		cr_assert_not(take_ns(&s, 1, T0_NS + 2 * units[k] - 1).fits);
		cr_assert(take_ns(&s, 1, T0_NS + 2 * units[k]).fits);
		scene_close(&s);
	}
}

Test(gcra, burst_of_one_passes_once_each_interval)
{
	struct scene s;
	uint64_t i;

	open_gcra(&s, 1, 250);
	for (i = 0; i < 1000; i++) {
		uint64_t now = T0_NS + i * 250;

		cr_assert(i == 0 || !take_ns(&s, 1, now - 1).fits);
		cr_assert(take_ns(&s, 1, now).fits);
		cr_assert_not(take_ns(&s, 1, now).fits);
		cr_assert_not(take_ns(&s, 2, now).fits);
	}
	scene_close(&s);
}

/* A million and more a second: intervals of one nanosecond and of a few. */
static void rate_passes(uint64_t unit_ns, uint32_t burst)
{
	struct scene s;
	uint64_t ns, admitted = 0;

	open_gcra(&s, burst, unit_ns);
	for (ns = 0; ns < 20000; ns++)
		while (take_ns(&s, 1, T0_NS + ns).fits)
			admitted++;
	/* The gate moves on by a nanosecond with each decision. */
	ns = (fixture_get(&s.org->gate) >> 1) - T0_NS;
	cr_assert_leq(admitted, burst + ns / unit_ns);
	cr_assert_geq(admitted, burst + 19999 / unit_ns);
	scene_close(&s);
}

Test(gcra, rates_above_a_thousand_and_a_million_are_kept)
{
	rate_passes(1000000, 2); /* 1,000 a second */
	rate_passes(999001, 5);  /* 1,001, rounded up */
	rate_passes(1000, 1);    /* a million */
	rate_passes(334, 7);     /* three million, rounded up */
	rate_passes(10, 3);
}

Test(gcra, idle_time_never_saves_more_than_the_burst)
{
	struct scene s;

	open_gcra(&s, 5, SECOND_NS);
	cr_assert(take_ns(&s, 5, T0_NS).fits);
	cr_assert_not(take_ns(&s, 5, T0_NS + 5 * SECOND_NS - 1).fits);
	cr_assert_not(look_ns(&s, 6, T0_NS + 86400 * SECOND_NS).fits);
	cr_assert_eq(look_ns(&s, 0, T0_NS + 86400 * SECOND_NS).remaining, 5);
	cr_assert(take_ns(&s, 5, T0_NS + 86400 * SECOND_NS).fits);
	cr_assert_not(take_ns(&s, 1, T0_NS + 86400 * SECOND_NS).fits);
	scene_close(&s);
}

Test(gcra, cost_above_the_burst_never_passes_and_has_no_retry)
{
	struct meter_answer a;
	struct scene s;

	open_gcra(&s, 5, SECOND_NS);
	a = take_ns(&s, 6, T0_NS);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 0);
	cr_assert_eq(a.remaining, 5);
	a = take_ns(&s, UINT32_MAX, T0_NS);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 0);
	scene_close(&s);
}

Test(gcra, numbers_of_the_answer_are_exact_and_rounded_up)
{
	struct meter_answer a;
	struct scene s;

	open_gcra(&s, 4, SECOND_NS);
	a = look_ns(&s, 0, T0_NS);
	cr_assert_eq(a.remaining, 4);
	cr_assert_eq(a.reset_ms, 0);
	cr_assert_eq(a.retry_ms, 0, "at rest");
	a = take_ns(&s, 3, T0_NS);
	cr_assert_eq(a.remaining, 1);
	cr_assert_eq(a.reset_ms, 3000);
	cr_assert_eq(a.retry_ms, 1000, "until there are 2");
	a = look_ns(&s, 3, T0_NS);
	cr_assert_not(a.fits);
	cr_assert_eq(a.retry_ms, 2000);
	a = look_ns(&s, 3, T0_NS + 1);
	cr_assert_eq(a.retry_ms, 2000, "rounded up");
	a = look_ns(&s, 0, T0_NS + 1);
	cr_assert_eq(a.reset_ms, 3000);
	a = look_ns(&s, 3, T0_NS + 1000000);
	cr_assert_eq(a.retry_ms, 1999);
	a = look_ns(&s, 0, T0_NS + SECOND_NS - 1);
	cr_assert_eq(a.remaining, 1);
	cr_assert_eq(a.retry_ms, 1);
	a = look_ns(&s, 0, T0_NS + SECOND_NS);
	cr_assert_eq(a.remaining, 2);
	cr_assert_eq(a.retry_ms, 1000);
	a = look_ns(&s, 3, T0_NS + 2 * SECOND_NS - 1);
	cr_assert_eq(a.retry_ms, 1);
	scene_close(&s);
}

/* ITU-T I.371, the virtual scheduling algorithm: a cell conforms unless it
 * comes before TAT - tau; with tau = (N-1)T that is a burst of N. In integers
 * here, as there. */
Test(gcra, agrees_with_virtual_scheduling)
{
	struct rng rng = {test_seed("gcra")};
	uint64_t allowed = 0, denied = 0;
	unsigned trace, i;

	for (trace = 0; trace < 60; trace++) {
		uint32_t n = 1 + rng_below(&rng, 12);
		uint64_t t = 1 + rng_below(&rng, trace % 2 ? 50 : 5000000);
		uint64_t tau = (n - 1) * t, tat = 0, now = T0_NS;
		struct scene s;

		open_gcra(&s, n, t);
		for (i = 0; i < 2000; i++) {
			bool conforms, got;

			now += rng_below(&rng, 4) == 0
				       ? rng_below(&rng, (uint32_t)(3 * t))
				       : rng_below(&rng, (uint32_t)(t + 2));
			if (rng_below(&rng, 4) == 0 && tat > now + tau)
				now = tat - tau - rng_below(&rng, 2);
			now += 2; /* more than a decision moves the gate */
			conforms = now + tau >= tat;
			if (conforms)
				tat = (tat > now ? tat : now) + t;
			got = take_ns(&s, 1, now).fits;
			cr_assert_eq(got, conforms, "trace %u, %u", trace, i);
			allowed += got;
			denied += !got;
		}
		scene_close(&s);
	}
	cr_assert_gt(allowed, 10000);
	cr_assert_gt(denied, 10000);
}

/* In no stretch of time more than the burst and what the rate brings back. */
Test(gcra, no_stretch_of_time_passes_more_than_burst_and_rate)
{
	static uint64_t at[4000];
	static uint32_t sum[4001];
	struct rng rng = {test_seed("gcra_stretch")};
	uint64_t now = T0_NS;
	unsigned n = 0, i, j;
	struct scene s;

	open_gcra(&s, 7, 1000);
	while (n < 4000) {
		uint32_t cost = 1 + rng_below(&rng, 3);

		now += rng_below(&rng, rng_below(&rng, 50) ? 3000 : 30000);
		if (!take_ns(&s, cost, now).fits)
			continue;
		at[n] = now;
		sum[n + 1] = sum[n] + cost;
		n++;
	}
	for (i = 0; i < n; i++)
		for (j = i; j < n; j++)
			cr_assert((sum[j + 1] - sum[i] - 7) * UINT64_C(1000) <=
					  at[j] - at[i] ||
				  sum[j + 1] - sum[i] <= 7);
	scene_close(&s);
}

Test(gcra, reset_is_rest_whatever_was_owed)
{
	struct scene s;
	uint64_t now = instant_now().ns;

	open_gcra(&s, 5, 3600 * SECOND_NS);
	cr_assert(take_ns(&s, 5, now).fits);
	cr_assert_not(take_ns(&s, 1, now).fits);
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	/* The reset came later than `now`; so is this. */
	now = instant_now().ns;
	cr_assert_eq(look_ns(&s, 0, now).remaining, 5);
	cr_assert_eq(look_ns(&s, 0, now).reset_ms, 0);
	cr_assert(take_ns(&s, 5, now).fits);
	cr_assert_not(take_ns(&s, 1, now).fits);
	cr_assert(look_ns(&s, 1, now + 3600 * SECOND_NS).fits);
	cr_assert_not(look_ns(&s, 1, now + 3600 * SECOND_NS - 1).fits);
	/* At rest there is nothing to forget, and nothing is written. */
	now += 5 * 3600 * SECOND_NS;
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	cr_assert_eq(look_ns(&s, 0, now).remaining, 5);
	scene_close(&s);
}

Test(gcra, changed_rate_counts_from_the_same_instant)
{
	struct scene s;

	open_gcra(&s, 10, SECOND_NS);
	cr_assert(take_ns(&s, 10, T0_NS).fits);
	s.rule.unit_ns = SECOND_NS / 10; /* ten seconds owed are 100 units */
	cr_assert_eq(look_ns(&s, 0, T0_NS).remaining, 0);
	cr_assert_not(look_ns(&s, 1, T0_NS + 9 * SECOND_NS).fits);
	cr_assert(look_ns(&s, 1, T0_NS + 9 * SECOND_NS + SECOND_NS / 10).fits);
	s.rule.limit = 1000;
	cr_assert_eq(look_ns(&s, 0, T0_NS).remaining, 900);
	scene_close(&s);
}

/* ---- concurrency ---- */

static struct rule leases_of(uint32_t limit)
{
	struct rule rule = {.algorithm = RULE_CONCURRENCY,
			    .limit = limit,
			    .span = 30000 * MS,
			    .name = "flight"};

	return rule;
}

Test(concurrency, leases_up_to_the_limit_are_out)
{
	struct rule rule = leases_of(3);
	struct meter_answer a;
	struct scene s;
	unsigned i;

	scene_open(&s, &rule, 3);
	cr_assert_eq(rule_units(&rule, 50), 1, "one check, one lease");
	cr_assert_eq(rule_units(&rule, 0), 0);
	for (i = 0; i < 3; i++) {
		a = take_ns(&s, 1, T0_NS);
		cr_assert(a.fits);
		cr_assert_eq(a.remaining, 2 - i);
	}
	a = take_ns(&s, 1, T0_NS + 3600 * SECOND_NS);
	cr_assert_not(a.fits, "time alone gives nothing back");
	cr_assert_eq(a.retry_ms, 1000);
	cr_assert_eq(a.reset_ms, 30000);
	cr_assert_eq(fixture_get(&s.org->first.level), METER_FLIGHT(3, 3));
	/* A reset does not end what is in flight. */
	meter_reset(&s.claim, &s.org->gate, &s.rule, &s.org->first, NULL, 0);
	cr_assert_not(take_ns(&s, 1, T0_NS).fits);
	scene_close(&s);
}

Test(concurrency, lowered_limit_waits_until_enough_are_back)
{
	struct rule rule = leases_of(3);
	struct scene s;

	scene_open(&s, &rule, 3);
	take_ns(&s, 3, T0_NS);
	s.rule.limit = 2;
	cr_assert_eq(look_ns(&s, 1, T0_NS).remaining, 0);
	cr_assert_not(look_ns(&s, 1, T0_NS).fits);
	fixture_set(&s.org->first.level, METER_FLIGHT(5, 1));
	cr_assert(take_ns(&s, 1, T0_NS).fits);
	cr_assert_eq(fixture_get(&s.org->first.level), METER_FLIGHT(6, 2));
	cr_assert_not(take_ns(&s, 1, T0_NS).fits);
	scene_close(&s);
}
