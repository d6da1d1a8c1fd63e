/* SPDX-License-Identifier: MIT */
#include "base/date.h"

#include <criterion/criterion.h>

Test(date, days_and_dates_are_each_other_s_inverse)
{
	/* Counted up day by day from 1600 to 2500. */
	int64_t days = date_to_days(1600, 1, 1), year;
	unsigned month, day;

	for (int64_t y = 1600; y < 2500; y++)
		for (unsigned m = 1; m <= 12; m++)
			for (unsigned d = 1; d <= date_days_in_month(y, m);
			     d++, days++) {
				cr_assert_eq(date_to_days(y, m, d), days);
				date_of_days(days, &year, &month, &day);
				cr_assert(year == y && month == m && day == d);
			}
}

Test(date, known_days)
{
	cr_assert_eq(date_to_days(1970, 1, 1), 0);
	cr_assert_eq(date_to_days(1969, 12, 31), -1);
	cr_assert_eq(date_to_days(2000, 2, 29), 11016);
	cr_assert_eq(date_to_days(2100, 3, 1), 47541);
	cr_assert_eq(date_to_days(-1, 3, 1), date_to_days(0, 3, 1) - 366);
	cr_assert_eq(date_days_in_month(1900, 2), 28);
	cr_assert_eq(date_days_in_month(2000, 2), 29);
	cr_assert_eq(date_days_in_month(2024, 2), 29);
	cr_assert_eq(date_days_in_month(2026, 2), 28);
}

Test(date, floor_rounds_down)
{
	cr_assert_eq(date_floor(-1, 7), -1);
	cr_assert_eq(date_floor(-7, 7), -1);
	cr_assert_eq(date_floor(-8, 7), -2);
	cr_assert_eq(date_floor(6, 7), 0);
	cr_assert_eq(date_floor(7, 7), 1);
}
