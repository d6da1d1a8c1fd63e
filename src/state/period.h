/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_PERIOD_H
#define STILE_STATE_PERIOD_H

/*
 * state/period - days, weeks and months of a time zone: which one is it now,
 * and when does it end.
 *
 * Periods of one rule tile time: each begins where the one before ends, and
 * their numbers grow by one. Exception: a day that a zone leaves out (Samoa,
 * 30 December 2011) is no period; its number is skipped.
 *
 * DAY      from the first instant of a date to that of the next: 23 to 25
 *          hours where clocks change. Number: days since 1970-01-01.
 * WEEK     begins on Monday (ISO 8601). Number: Mondays since 1970.
 * MONTH    calendar month. Number: months since January 1970.
 * BILLING  begins on the anchor day of a month, or on its last day when it is
 *          shorter (anchor 31: 31 January, 28 February, 31 March). Number: of
 *          the month that it begins in.
 *
 * Numbers of different kinds do not compare.
 * Range    civil time from PERIOD_FROM_MS to PERIOD_TO_MS; what lies outside
 *          is taken for the border. Numbers are below 2^20.
 * Threads  any; pure.
 */
#include "state/zone.h"

#include <stdbool.h>
#include <stdint.h>

#define PERIOD_FROM_MS UINT64_C(5356800000)   /* 1970-03-04 */
#define PERIOD_TO_MS UINT64_C(32503680000000) /* 3000-01-01 */
#define PERIOD_ANCHOR_MAX 31

enum period_kind {
	PERIOD_DAY = 1,
	PERIOD_WEEK = 2,
	PERIOD_MONTH = 3,
	PERIOD_BILLING = 4,
};

struct period_rule {
	enum period_kind kind;
	unsigned anchor_day; /* of PERIOD_BILLING: 1..31 */
	const struct zone *zone;
};

struct period {
	uint32_t number;
	/* Milliseconds since 1970; end and next end are the first instants that
	 * are not in it any more, and not in the one after it. */
	uint64_t start_ms, end_ms, next_end_ms;
};

void period_at(const struct period_rule *rule, uint64_t civil_ms,
	       struct period *ret_period);

/* "day", "week", "month", "billing"; false: no such kind. */
bool period_kind_parse(const char *text, enum period_kind *ret_kind);
const char *period_kind_name(enum period_kind kind);

#endif
