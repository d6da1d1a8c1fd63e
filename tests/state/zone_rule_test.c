/* SPDX-License-Identifier: MIT */
#include "state/zone_rule.h"

#include "base/date.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

static const char *const good[] = {
	"UTC0",
	"<-03>3",
	"<+0530>-5:30",
	"CET-1CEST,M3.5.0,M10.5.0/3",
	"EST5EDT,M3.2.0,M11.1.0",
	"NZST-12NZDT,M9.5.0,M4.1.0/3", /* summer over the new year */
	"<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
	"IST-1GMT0,M10.5.0,M3.5.0/1", /* "summer" is winter */
	"EET-2EEST,M3.5.4/24,M10.5.5/1",
	"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
	"AAA3BBB,J59,J60",
	"AAA3BBB,J60/-24,J300/167",
	"AAA3BBB,59,59/26",
};

Test(zone_rule, reads_what_the_c_library_reads_and_means_the_same)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct zone_rule rule;

		cr_assert(zone_rule_parse(&rule, good[i]), "%s", good[i]);
		setenv("TZ", good[i], 1);
		tzset();
		/* Every half hour of four years, and its last second. */
		for (int64_t at = date_to_days(2023, 1, 1) * DATE_DAY_S;
		     at < date_to_days(2027, 1, 1) * DATE_DAY_S; at += 1800)
			for (int64_t t = at; t >= at - 1; t--) {
				time_t time = (time_t)t;
				struct tm tm;
				int64_t end;

				localtime_r(&time, &tm);
				cr_assert_eq(zone_rule_offset(&rule, t, &end),
					     tm.tm_gmtoff, "%s at %lld",
					     good[i], (long long)t);
				cr_assert_gt(end, t);
			}
	}
}

/* The C library looks at one year at a time. */
Test(zone_rule, changes_beyond_the_new_year)
{
	struct zone_rule rule;
	int64_t from = date_to_days(2023, 1, 1) * DATE_DAY_S, end;
	int64_t to = date_to_days(2032, 1, 1) * DATE_DAY_S;

	/* Summer for ever, as RFC 9636 writes it. */
	cr_assert(zone_rule_parse(&rule, "AAA3BBB,0/0,J365/25"));
	for (int64_t at = from; at < to; at += 1800)
		cr_assert_eq(zone_rule_offset(&rule, at, &end), -2 * 3600);
	/* Begins on 29 December, 17:00, of the year before. */
	cr_assert(zone_rule_parse(&rule, "AAA0BBB,0/-55,J60/0"));
	from -= 55 * 3600;
	cr_assert_eq(zone_rule_offset(&rule, from - 1, &end), 0);
	cr_assert_eq(end, from);
	cr_assert_eq(zone_rule_offset(&rule, from, &end), 3600);
	cr_assert_eq(end, date_to_days(2023, 3, 1) * DATE_DAY_S - 3600);
}

Test(zone_rule, end_is_where_the_offset_changes)
{
	struct zone_rule rule;
	int64_t at = date_to_days(2026, 1, 1) * DATE_DAY_S, end;
	int32_t offset, next;

	cr_assert(zone_rule_parse(&rule, "CET-1CEST,M3.5.0,M10.5.0/3"));
	for (int i = 0; i < 2000; i++, at = end) {
		offset = zone_rule_offset(&rule, at, &end);
		next = zone_rule_offset(&rule, end - 1, &at);
		cr_assert_eq(offset, next);
		cr_assert_eq(at, end);
		next = zone_rule_offset(&rule, end, &at);
		cr_assert_eq(abs(offset - next), 3600);
	}
}

Test(zone_rule, anything_else_is_refused)
{
	static const char *const bad[] = {
		"",
		"A0",
		"AB0",
		"CET",
		"CET-",
		"CET-25",
		"CET-1:60",
		"CET-1CEST", /* when? */
		"CET-1CEST,M3.5.0",
		"CET-1CEST,M3.5.0,M10.5.0/3,",
		"CET-1CEST,M3.5.0,M10.5.0/168",
		"CET-1CEST,M13.5.0,M10.5.0",
		"CET-1CEST,M0.5.0,M10.5.0",
		"CET-1CEST,M3.6.0,M10.5.0",
		"CET-1CEST,M3.5.7,M10.5.0",
		"CET-1CEST,M3.5,M10.5.0",
		"CET-1CEST,J0,J365",
		"CET-1CEST,J1,J366",
		"CET-1CEST,0,366",
		"CET-1CEST,M3.5.0,M10.5.0 ",
		"<CET-1",
		"<+0>-1",
		"CET-99999999999999999999",
	};
	struct zone_rule rule;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(zone_rule_parse(&rule, bad[i]), "%s", bad[i]);
}
