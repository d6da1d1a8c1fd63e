/* SPDX-License-Identifier: MIT */
#include "state/period.h"

#include "../random.h"
#include "base/date.h"
#include "base/rfc3339.h"

#include <criterion/criterion.h>

#define HOUR_MS UINT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

static uint64_t at(const char *text)
{
	int64_t ms = 0;

	cr_assert_eq(rfc3339_parse(text, &ms), 0, "%s", text);
	return (uint64_t)ms;
}

static struct period_rule rule_of(enum period_kind kind, const char *zone,
				  unsigned anchor_day)
{
	struct zone *z = NULL;

	cr_assert_eq(zone_open(&z, zone), 0, "%s", zone);
	return (struct period_rule){kind, anchor_day, z};
}

static struct period now(const struct period_rule *rule, uint64_t ms)
{
	struct period p;

	period_at(rule, ms, &p);
	return p;
}

/* That `start` and `end` are borders of one period, to the millisecond. */
static struct period between(const struct period_rule *rule, const char *start,
			     const char *end)
{
	uint64_t start_ms = at(start), end_ms = at(end);
	struct period before = now(rule, start_ms - 1);
	struct period first = now(rule, start_ms);
	struct period last = now(rule, end_ms - 1);
	struct period after = now(rule, end_ms);

	cr_assert_eq(first.start_ms, start_ms, "%s", start);
	cr_assert_eq(first.end_ms, end_ms, "%s", start);
	cr_assert_eq(last.number, first.number);
	cr_assert_eq(last.start_ms, start_ms);
	cr_assert_eq(last.end_ms, end_ms);
	cr_assert_eq(before.number + 1, first.number);
	cr_assert_eq(before.end_ms, start_ms);
	cr_assert_eq(before.next_end_ms, end_ms);
	cr_assert_eq(after.number, first.number + 1);
	cr_assert_eq(after.start_ms, end_ms);
	cr_assert_eq(after.end_ms, first.next_end_ms);
	return first;
}

Test(period, day_of_utc)
{
	struct period_rule r = rule_of(PERIOD_DAY, "UTC", 0);
	struct period p =
		between(&r, "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z");

	cr_assert_eq(p.number, date_to_days(2026, 11, 25));
}

Test(period, day_has_23_to_25_hours_where_clocks_change)
{
	struct period_rule r = rule_of(PERIOD_DAY, "Europe/Berlin", 0);
	struct period p;

	p = between(&r, "2026-03-29T00:00:00+01:00",
		    "2026-03-30T00:00:00+02:00");
	cr_assert_eq(p.end_ms - p.start_ms, 23 * HOUR_MS);
	p = between(&r, "2026-10-25T00:00:00+02:00",
		    "2026-10-26T00:00:00+01:00");
	cr_assert_eq(p.end_ms - p.start_ms, 25 * HOUR_MS);
	r = rule_of(PERIOD_DAY, "America/New_York", 0);
	p = between(&r, "2026-03-08T00:00:00-05:00",
		    "2026-03-09T00:00:00-04:00");
	cr_assert_eq(p.end_ms - p.start_ms, 23 * HOUR_MS);
	p = between(&r, "2026-11-01T00:00:00-04:00",
		    "2026-11-02T00:00:00-05:00");
	cr_assert_eq(p.end_ms - p.start_ms, 25 * HOUR_MS);
	r = rule_of(PERIOD_DAY, "Australia/Lord_Howe", 0);
	p = between(&r, "2026-04-05T00:00:00+11:00",
		    "2026-04-06T00:00:00+10:30");
	cr_assert_eq(p.end_ms - p.start_ms, 24 * HOUR_MS + HOUR_MS / 2);
}

Test(period, day_without_midnight_begins_when_clocks_change)
{
	struct period_rule r = rule_of(PERIOD_DAY, "America/Sao_Paulo", 0);
	struct period p;

	p = between(&r, "2018-11-04T01:00:00-02:00",
		    "2018-11-05T00:00:00-02:00");
	cr_assert_eq(p.end_ms - p.start_ms, 23 * HOUR_MS);
	r = rule_of(PERIOD_DAY, "Asia/Beirut", 0);
	between(&r, "2022-03-27T01:00:00+03:00", "2022-03-28T00:00:00+03:00");
	r = rule_of(PERIOD_MONTH, "Asia/Beirut", 0);
	/* 2018: on 25 March; a month that begins with the gap. */
	between(&r, "2018-03-01T00:00:00+02:00", "2018-04-01T00:00:00+03:00");
}

Test(period, day_whose_midnight_comes_twice_begins_with_the_first)
{
	struct period_rule r = rule_of(PERIOD_DAY, "America/St_Johns", 0);

	/* At 00:01 clocks went back to 23:01 of the day before. */
	between(&r, "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30");
}

Test(period, day_that_was_left_out_is_no_period)
{
	struct period_rule r = rule_of(PERIOD_DAY, "Pacific/Apia", 0);
	uint64_t border = at("2011-12-31T00:00:00+14:00");
	struct period before = now(&r, border - 1), after = now(&r, border);

	cr_assert_eq(before.end_ms, border);
	cr_assert_eq(before.next_end_ms, border + DAY_MS);
	cr_assert_eq(after.start_ms, border);
	cr_assert_eq(after.number, before.number + 2);
}

Test(period, week_begins_on_monday)
{
	struct period_rule r = rule_of(PERIOD_WEEK, "Europe/Berlin", 0);
	struct period p;

	/* ISO week 53 of 2026, over the new year. */
	p = between(&r, "2026-12-28T00:00:00+01:00",
		    "2027-01-04T00:00:00+01:00");
	cr_assert_eq(p.number, (date_to_days(2026, 12, 28) + 3) / 7);
	p = between(&r, "2026-03-23T00:00:00+01:00",
		    "2026-03-30T00:00:00+02:00");
	cr_assert_eq(p.end_ms - p.start_ms, 7 * DAY_MS - HOUR_MS);
}

Test(period, calendar_month)
{
	struct period_rule r = rule_of(PERIOD_MONTH, "America/New_York", 0);
	struct period p;

	p = between(&r, "2024-02-01T00:00:00-05:00",
		    "2024-03-01T00:00:00-05:00");
	cr_assert_eq(p.number, 54 * 12 + 1);
	cr_assert_eq(p.end_ms - p.start_ms, 29 * DAY_MS);
	between(&r, "2026-02-01T00:00:00-05:00", "2026-03-01T00:00:00-05:00");
	between(&r, "2026-12-01T00:00:00-05:00", "2027-01-01T00:00:00-05:00");
	p = between(&r, "2026-03-01T00:00:00-05:00",
		    "2026-04-01T00:00:00-04:00");
	cr_assert_eq(p.end_ms - p.start_ms, 31 * DAY_MS - HOUR_MS);
}

Test(period, billing_month_begins_on_its_anchor_or_the_last_day)
{
	struct period_rule r = rule_of(PERIOD_BILLING, "UTC", 31);

	between(&r, "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z");
	between(&r, "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z");
	between(&r, "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z");
	between(&r, "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z");
	between(&r, "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z");
	between(&r, "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z");
	r = rule_of(PERIOD_BILLING, "Europe/Berlin", 29);
	between(&r, "2026-02-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00");
	between(&r, "2026-03-29T00:00:00+01:00", "2026-04-29T00:00:00+02:00");
	r = rule_of(PERIOD_BILLING, "UTC", 15);
	between(&r, "2026-12-15T00:00:00Z", "2027-01-15T00:00:00Z");
}

Test(period, billing_month_of_anchor_1_is_the_calendar_month)
{
	struct period_rule r = rule_of(PERIOD_BILLING, "Asia/Tokyo", 1);
	struct period_rule month = rule_of(PERIOD_MONTH, "Asia/Tokyo", 0);

	for (uint64_t ms = at("2025-01-01T00:00:00Z");
	     ms < at("2029-01-01T00:00:00Z"); ms += DAY_MS / 2) {
		struct period a = now(&r, ms), b = now(&month, ms);

		cr_assert(a.number == b.number && a.start_ms == b.start_ms &&
			  a.end_ms == b.end_ms);
	}
}

Test(period, what_is_out_of_range_is_taken_for_the_border)
{
	struct period_rule r = rule_of(PERIOD_DAY, "America/New_York", 0);

	cr_assert_eq(now(&r, 0).number, now(&r, PERIOD_FROM_MS).number);
	cr_assert_gt(now(&r, 0).number, 0);
	cr_assert_lt(now(&r, UINT64_MAX).number, UINT32_C(1) << 20);
	r.kind = PERIOD_BILLING;
	r.anchor_day = 31;
	cr_assert_gt(now(&r, 0).number, 0);
	cr_assert_lt(now(&r, 0).number, 12);
}

Test(period, kinds_have_names)
{
	enum period_kind kind = PERIOD_DAY;

	for (unsigned k = PERIOD_DAY; k <= PERIOD_BILLING; k++) {
		cr_assert(period_kind_parse(
			period_kind_name((enum period_kind)k), &kind));
		cr_assert_eq(kind, k);
	}
	cr_assert_not(period_kind_parse("", &kind));
	cr_assert_not(period_kind_parse("days", &kind));
	cr_assert_not(period_kind_parse("year", &kind));
}

/* Followed from one end to the next, and asked at any moment in between. */
static void follow(const struct period_rule *rule, struct rng *rng,
		   uint64_t from_ms, unsigned periods)
{
	struct period p = now(rule, from_ms), next, inside;

	cr_assert_leq(p.start_ms, from_ms);
	cr_assert_gt(p.end_ms, from_ms);
	for (unsigned i = 0; i < periods; i++, p = next) {
		uint64_t len = p.end_ms - p.start_ms;

		next = now(rule, p.end_ms);
		cr_assert_eq(next.number, p.number + 1);
		cr_assert_eq(next.start_ms, p.end_ms);
		cr_assert_eq(next.end_ms, p.next_end_ms);
		for (int j = 0; j < 3; j++) {
			inside = now(rule, p.start_ms + rng_next(rng) % len);
			cr_assert_eq(inside.number, p.number);
			cr_assert_eq(inside.start_ms, p.start_ms);
			cr_assert_eq(inside.end_ms, p.end_ms);
			cr_assert_eq(inside.next_end_ms, p.next_end_ms);
		}
		inside = now(rule, p.end_ms - 1);
		cr_assert_eq(inside.number, p.number);
	}
}

Test(period, periods_tile_time)
{
	static const char *const zones[] = {
		"UTC",
		"Europe/Berlin",
		"America/New_York",
		"America/Sao_Paulo",
		"Asia/Beirut",
		"America/St_Johns",
		"America/Havana",
		"Australia/Lord_Howe",
		"Africa/Casablanca",
		"Asia/Gaza",
		"Pacific/Kiritimati",
		"America/Nuuk",
		"Antarctica/Troll",
		"Asia/Kathmandu",
	};
	struct rng rng = {test_seed("period")};

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		struct period_rule r = rule_of(PERIOD_DAY, zones[i], 0);
		uint64_t from = at("1996-01-01T00:00:00Z") +
				rng_next(&rng) % (60 * 365 * DAY_MS);

		follow(&r, &rng, from, 2000);
		r.kind = PERIOD_WEEK;
		follow(&r, &rng, from, 1000);
		r.kind = PERIOD_MONTH;
		follow(&r, &rng, from, 500);
		r.kind = PERIOD_BILLING;
		r.anchor_day = 1 + rng_below(&rng, 31);
		follow(&r, &rng, from, 500);
	}
}
