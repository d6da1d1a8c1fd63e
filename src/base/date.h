/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_DATE_H
#define STILE_BASE_DATE_H

/*
 * base/date - dates of the Gregorian calendar as numbers of days since
 * 1970-01-01, both ways.
 *
 * Range      any year that the caller's days reach; before 1582 the calendar
 *            is continued backwards.
 * Threads    any; no locale, no time zone.
 */
#include <stdint.h>

#define DATE_DAY_S 86400

/* `month` 1..12, `day` 1..31. */
int64_t date_to_days(int64_t year, unsigned month, unsigned day);
void date_of_days(int64_t days, int64_t *ret_year, unsigned *ret_month,
		  unsigned *ret_day);
unsigned date_days_in_month(int64_t year, unsigned month);

/* Division that rounds down, also below zero. `by` > 0. */
static inline int64_t date_floor(int64_t value, int64_t by)
{
	return value / by - (value % by < 0);
}

#endif
