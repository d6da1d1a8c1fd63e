/* SPDX-License-Identifier: MIT */
#include "base/date.h"

#include <stdbool.h>

/*
 * Days are counted from 0000-03-01, so that the leap day is the last day of a
 * year and every month before it has a fixed start: day = 153 * m + 2 over 5,
 * m counted from March.
 */
#define DAYS_TO_1970 719468
#define DAYS_PER_ERA 146097 /* 400 years */

int64_t date_to_days(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = date_floor(y, 400);
	int64_t of_era = y - era * 400;
	int64_t m = month > 2 ? month - 3 : month + 9;
	int64_t of_year = (153 * m + 2) / 5 + day - 1;

	return era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 +
	       of_year - DAYS_TO_1970;
}

void date_of_days(int64_t days, int64_t *ret_year, unsigned *ret_month,
		  unsigned *ret_day)
{
	int64_t z = days + DAYS_TO_1970;
	int64_t era = date_floor(z, DAYS_PER_ERA);
	int64_t of_era = z - era * DAYS_PER_ERA;
	int64_t y =
		(of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
		365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*ret_day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
	*ret_month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*ret_year = y + era * 400 + (*ret_month <= 2 ? 1 : 0);
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

unsigned date_days_in_month(int64_t year, unsigned month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30,
				       31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}
