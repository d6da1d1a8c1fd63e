/* SPDX-License-Identifier: MIT */
#include "state/period.h"

#include "base/check.h"
#include "base/date.h"

#include <stddef.h>
#include <string.h>

static const char *const names[] = {
	[PERIOD_DAY] = "day",
	[PERIOD_WEEK] = "week",
	[PERIOD_MONTH] = "month",
	[PERIOD_BILLING] = "billing",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

bool period_kind_parse(const char *text, enum period_kind *ret_kind)
{
	for (unsigned i = PERIOD_DAY; i < NAMES; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret_kind = (enum period_kind)i;
			return true;
		}
	return false;
}

const char *period_kind_name(enum period_kind kind)
{
	check(kind >= PERIOD_DAY && kind <= PERIOD_BILLING);
	return names[kind];
}

/* Monday, 1969-12-29, is three days before 1970. */
#define MONDAY_SHIFT 3

static int64_t number_of(const struct period_rule *rule, int64_t days)
{
	int64_t year, number;
	unsigned month, day, begins;

	switch (rule->kind) {
	case PERIOD_DAY:
		return days;
	case PERIOD_WEEK:
		return date_floor(days + MONDAY_SHIFT, 7);
	default:
		break;
	}
	date_of_days(days, &year, &month, &day);
	number = (year - 1970) * 12 + month - 1;
	if (rule->kind == PERIOD_MONTH)
		return number;
	begins = date_days_in_month(year, month);
	if (rule->anchor_day < begins)
		begins = rule->anchor_day;
	return day >= begins ? number : number - 1;
}

/* The date that period `number` begins on. */
static int64_t first_day(const struct period_rule *rule, int64_t number)
{
	int64_t year;
	unsigned month, day = 1;

	switch (rule->kind) {
	case PERIOD_DAY:
		return number;
	case PERIOD_WEEK:
		return number * 7 - MONDAY_SHIFT;
	default:
		break;
	}
	year = 1970 + date_floor(number, 12);
	month = (unsigned)(number - date_floor(number, 12) * 12) + 1;
	if (rule->kind == PERIOD_BILLING) {
		day = date_days_in_month(year, month);
		if (rule->anchor_day < day)
			day = rule->anchor_day;
	}
	return date_to_days(year, month, day);
}

static uint64_t start_ms(const struct period_rule *rule, int64_t number)
{
	return (uint64_t)zone_first_instant(
		       rule->zone, first_day(rule, number) * DATE_DAY_S) *
	       1000;
}

void period_at(const struct period_rule *rule, uint64_t civil_ms,
	       struct period *ret_period)
{
	int64_t utc_s, number, next;

	check(rule->kind != PERIOD_BILLING ||
	      (rule->anchor_day >= 1 && rule->anchor_day <= PERIOD_ANCHOR_MAX));
	if (civil_ms < PERIOD_FROM_MS)
		civil_ms = PERIOD_FROM_MS;
	if (civil_ms > PERIOD_TO_MS)
		civil_ms = PERIOD_TO_MS;
	utc_s = (int64_t)(civil_ms / 1000);
	number = number_of(rule,
			   date_floor(utc_s + zone_offset_s(rule->zone, utc_s),
				      DATE_DAY_S));
	/* Clocks that were put back over midnight show a date that had ended
	 * already: what has begun goes on. */
	while (start_ms(rule, number + 1) <= civil_ms)
		number++;
	ret_period->number = (uint32_t)number;
	ret_period->start_ms = start_ms(rule, number);
	ret_period->end_ms = start_ms(rule, number + 1);
	for (next = number + 2;; next++) {
		ret_period->next_end_ms = start_ms(rule, next);
		if (ret_period->next_end_ms > ret_period->end_ms)
			break;
	}
}
