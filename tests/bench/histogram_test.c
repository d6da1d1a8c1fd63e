/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include "../random.h"

#include <criterion/criterion.h>
#include <string.h>

static struct histogram h;

static void setup(void)
{
	histogram_clear(&h);
}

TestSuite(histogram, .init = setup);

/* The histogram's word for a value that is not the largest one. */
static uint64_t told(uint64_t value)
{
	histogram_clear(&h);
	histogram_record(&h, value);
	histogram_record(&h, HISTOGRAM_VALUE_MAX);
	return histogram_percentile(&h, 500000);
}

Test(histogram, small_values_are_told_exactly)
{
	for (uint64_t v = 0; v < 2 * HISTOGRAM_STEPS; v++)
		cr_assert_eq(told(v), v, "%lu", v);
}

static void expect_near(uint64_t v)
{
	uint64_t t = told(v);

	cr_assert(t >= v, "%lu told as %lu", v, t);
	cr_assert(t - v <= v / HISTOGRAM_STEPS, "%lu told as %lu", v, t);
}

Test(histogram, error_stays_below_one_step_at_every_power_of_two)
{
	for (unsigned bit = 1; bit < HISTOGRAM_VALUE_BITS; bit++)
		for (uint64_t d = 0; d < 3; d++)
			expect_near((UINT64_C(1) << bit) + d - 1);
}

Test(histogram, error_stays_below_one_step_for_random_values)
{
	struct rng random = {test_seed("histogram_test")};

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t v = rng_next(&random);

		expect_near(v >> (64 - HISTOGRAM_VALUE_BITS) >>
			    v % HISTOGRAM_VALUE_BITS);
	}
}

Test(histogram, larger_values_are_never_told_as_smaller_ones)
{
	uint64_t last = 0;

	for (uint64_t v = 1; v < HISTOGRAM_VALUE_MAX; v += v / 300 + 1) {
		cr_assert_geq(told(v), last);
		last = told(v);
	}
}

Test(histogram, nothing_recorded_is_zero)
{
	cr_assert_eq(histogram_percentile(&h, 0), 0);
	cr_assert_eq(histogram_percentile(&h, HISTOGRAM_ALL), 0);
}

Test(histogram, one_value_is_every_percentile)
{
	histogram_record(&h, 1234567);
	for (uint32_t p = 0; p <= HISTOGRAM_ALL; p += HISTOGRAM_ALL / 8)
		cr_assert_eq(histogram_percentile(&h, p), 1234567);
}

Test(histogram, ranks_are_exact_at_their_edges)
{
	for (uint64_t v = 1; v <= 200; v++)
		histogram_record(&h, v);
	cr_assert_eq(histogram_percentile(&h, 0), 1);
	cr_assert_eq(histogram_percentile(&h, 1), 1);
	cr_assert_eq(histogram_percentile(&h, 5000), 1);
	cr_assert_eq(histogram_percentile(&h, 5001), 2);
	cr_assert_eq(histogram_percentile(&h, 500000), 100);
	cr_assert_eq(histogram_percentile(&h, 990000), 198);
	cr_assert_eq(histogram_percentile(&h, 995000), 199);
	cr_assert_eq(histogram_percentile(&h, 995001), 200);
	cr_assert_eq(histogram_percentile(&h, HISTOGRAM_ALL), 200);
}

/* The count times the parts does not fit in 64 bits. */
Test(histogram, ranks_of_huge_counts_do_not_overflow)
{
	h.buckets[1] = UINT64_C(1) << 62;
	h.buckets[2] = UINT64_C(1) << 62;
	h.count = UINT64_C(1) << 63;
	h.min = 1;
	h.max = 2;
	cr_assert_eq(histogram_percentile(&h, 500000), 1);
	cr_assert_eq(histogram_percentile(&h, 500001), 2);
}

Test(histogram, maximum_is_exact)
{
	histogram_record(&h, 1000000);
	histogram_record(&h, 1000001);
	cr_assert_eq(h.min, 1000000);
	cr_assert_eq(h.max, 1000001);
	cr_assert_eq(histogram_percentile(&h, HISTOGRAM_ALL), 1000001);
	cr_assert_eq(histogram_percentile(&h, 1), 1000001,
		     "the top of its bucket, cut at the maximum");
}

Test(histogram, values_above_the_bound_are_kept_and_counted)
{
	histogram_record(&h, HISTOGRAM_VALUE_MAX);
	cr_assert_eq(h.clipped, 0);
	histogram_record(&h, HISTOGRAM_VALUE_MAX + 1);
	histogram_record(&h, UINT64_MAX);
	cr_assert_eq(h.clipped, 2);
	cr_assert_eq(h.count, 3);
	cr_assert_eq(histogram_percentile(&h, 1), HISTOGRAM_VALUE_MAX);
}

Test(histogram, merged_is_the_same_as_recorded_together)
{
	static struct histogram parts[3], all;
	struct rng random = {test_seed("histogram_test")};

	histogram_clear(&all);
	for (unsigned i = 0; i < 3; i++)
		histogram_clear(&parts[i]);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t v = rng_next(&random) >> rng_next(&random) % 64;

		histogram_record(&all, v);
		histogram_record(&parts[i % 2], v); /* the third stays empty */
	}
	for (unsigned i = 0; i < 3; i++)
		histogram_add(&h, &parts[i]);
	cr_assert_eq(memcmp(&h, &all, sizeof(h)), 0);
}
