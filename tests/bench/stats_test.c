/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <criterion/criterion.h>

static void expect(struct spread s, double min, double median, double max)
{
	cr_assert_float_eq(s.min, min, 1e-9);
	cr_assert_float_eq(s.median, median, 1e-9);
	cr_assert_float_eq(s.max, max, 1e-9);
}

Test(stats, one_value_is_all_three)
{
	const double v[] = {7};

	expect(stats_spread(v, 1), 7, 7, 7);
}

Test(stats, odd_count_has_one_in_the_middle)
{
	const double v[] = {9, 1, 5};

	expect(stats_spread(v, 3), 1, 5, 9);
}

Test(stats, even_count_takes_the_mean_of_two)
{
	const double v[] = {4, 1, 3, 100};

	expect(stats_spread(v, 4), 1, 3.5, 100);
}

Test(stats, equal_values_do_not_get_lost)
{
	const double v[] = {2, 2, 2, 1, 2};

	expect(stats_spread(v, 5), 1, 2, 2);
}

Test(stats, negative_values_are_in_order)
{
	const double v[] = {-1, -5, 3};

	expect(stats_spread(v, 3), -5, -1, 3);
}
