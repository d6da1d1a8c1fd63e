/* SPDX-License-Identifier: MIT */
#include "state/renewals.h"

#include "base/rfc3339.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define ORGS 3000

static struct {
	struct renewals *r;
	unsigned calls;
	unsigned granted[ORGS];
	struct period month[ORGS]; /* granted last */
	int result;
} s;

static int due(void *arg, uint32_t org, const struct period *month)
{
	cr_assert_eq(arg, &s);
	s.calls++;
	if (s.result != 0)
		return s.result;
	cr_assert_gt(month->number, s.month[org].number);
	s.granted[org]++;
	s.month[org] = *month;
	return 0;
}

static void open_renewals(void)
{
	memset(&s, 0, sizeof(s));
	cr_assert_eq(renewals_new(&s.r, ORGS, due, &s), 0);
}

static void close_renewals(void)
{
	s.r = renewals_free(s.r);
}

TestSuite(renewals, .init = open_renewals, .fini = close_renewals);

static uint64_t at(const char *text)
{
	int64_t ms = 0;

	cr_assert_eq(rfc3339_parse(text, &ms), 0);
	return (uint64_t)ms;
}

static void set(uint32_t org, const char *zone, unsigned anchor, uint32_t last,
		const char *now)
{
	cr_assert_eq(renewals_set(s.r, org, zone, anchor, last, at(now)), 0);
}

static void step(const char *now)
{
	while (renewals_step(s.r, at(now)))
		;
}

#define MONTH(year, month) (((year)-1970) * 12 + (month)-1)

Test(renewals, new_subscription_is_due_at_once)
{
	set(1, "UTC", 25, 0, "2026-11-25T12:00:00Z");
	cr_assert_eq(s.calls, 0);
	step("2026-11-25T12:00:01Z");
	cr_assert_eq(s.granted[1], 1);
	cr_assert_eq(s.month[1].number, MONTH(2026, 11));
	cr_assert_eq(s.month[1].start_ms, at("2026-11-25T00:00:00Z"));
	cr_assert_eq(s.month[1].end_ms, at("2026-12-25T00:00:00Z"));
	step("2026-12-24T23:59:59.999Z");
	cr_assert_eq(s.calls, 1);
}

Test(renewals, come_on_the_anchor_day_or_the_last_of_the_month)
{
	set(1, "Europe/Berlin", 31, MONTH(2026, 1), "2026-02-01T00:00:00Z");
	step("2026-02-27T22:59:59.999Z");
	cr_assert_eq(s.calls, 0);
	step("2026-02-27T23:00:00Z"); /* midnight of the 28th there */
	cr_assert_eq(s.granted[1], 1);
	step("2026-03-30T21:59:59.999Z");
	cr_assert_eq(s.granted[1], 1);
	step("2026-03-30T22:00:00Z"); /* the 31st, in summer time */
	cr_assert_eq(s.granted[1], 2);
	step("2026-04-29T22:00:00Z");
	cr_assert_eq(s.granted[1], 3);
	cr_assert_eq(s.month[1].number, MONTH(2026, 4));
}

Test(renewals, what_was_renewed_before_a_restart_is_not_renewed_again)
{
	set(1, "UTC", 10, MONTH(2026, 11), "2026-11-25T12:00:00Z");
	set(2, "UTC", 10, MONTH(2026, 10), "2026-11-25T12:00:00Z");
	step("2026-11-25T12:00:00Z");
	cr_assert_eq(s.granted[1], 0);
	cr_assert_eq(s.granted[2], 1);
	step("2026-12-10T00:00:00Z");
	cr_assert_eq(s.granted[1], 1);
	cr_assert_eq(s.granted[2], 2);
}

Test(renewals, missed_months_are_not_made_up)
{
	set(1, "UTC", 10, MONTH(2026, 3), "2026-11-25T12:00:00Z");
	step("2026-11-25T12:00:00Z");
	cr_assert_eq(s.granted[1], 1);
	cr_assert_eq(s.month[1].number, MONTH(2026, 11));
	/* The same while it runs: the machine slept. */
	step("2027-06-11T12:00:00Z");
	cr_assert_eq(s.granted[1], 2);
	cr_assert_eq(s.month[1].number, MONTH(2027, 6));
}

Test(renewals, what_could_not_be_granted_is_tried_again)
{
	set(1, "UTC", 10, MONTH(2026, 11), "2026-11-25T12:00:00Z");
	set(2, "UTC", 10, MONTH(2026, 11), "2026-11-25T12:00:00Z");
	s.result = -EIO;
	step("2026-12-10T00:00:00Z");
	step("2026-12-10T00:00:01Z");
	cr_assert_eq(s.calls, 4);
	s.result = 0;
	step("2026-12-10T00:00:02Z");
	step("2026-12-10T00:00:03Z");
	cr_assert_eq(s.calls, 6);
	cr_assert(s.granted[1] == 1 && s.granted[2] == 1);
}

Test(renewals, changed_anchor_grants_no_month_twice)
{
	set(1, "UTC", 5, MONTH(2026, 11), "2026-11-10T00:00:00Z");
	set(1, "UTC", 20, MONTH(2026, 11), "2026-11-10T00:00:00Z");
	step("2026-11-20T00:00:00Z");
	cr_assert_eq(s.granted[1], 0);
	step("2026-12-20T00:00:00Z");
	cr_assert_eq(s.granted[1], 1);
	/* To an earlier day, which has passed: due. */
	set(1, "UTC", 5, MONTH(2026, 12), "2027-01-10T00:00:00Z");
	step("2027-01-10T00:00:00Z");
	cr_assert_eq(s.granted[1], 2);
	cr_assert_eq(s.month[1].number, MONTH(2027, 1));
}

Test(renewals, clock_that_goes_back_renews_nothing_again)
{
	set(1, "UTC", 10, 0, "2026-11-25T12:00:00Z");
	step("2026-11-25T12:00:00Z");
	step("2026-12-10T00:00:00Z");
	cr_assert_eq(s.granted[1], 2);
	step("2026-11-25T12:00:00Z");
	set(1, "UTC", 10, MONTH(2026, 12), "2026-11-25T12:00:00Z");
	step("2026-11-25T12:00:01Z");
	step("2026-12-10T00:00:00Z");
	cr_assert_eq(s.granted[1], 2);
}

Test(renewals, many_at_once_and_none_that_was_cleared)
{
	for (uint32_t org = 1; org < ORGS; org++)
		set(org, "UTC", 1 + org % 31, 0, "2026-11-25T12:00:00Z");
	for (uint32_t org = 3; org < ORGS; org += 3)
		renewals_clear(s.r, org);
	step("2026-11-25T12:00:01Z");
	for (uint32_t org = 1; org < ORGS; org++)
		cr_assert_eq(s.granted[org], org % 3 != 0, "%u", org);
	cr_assert_eq(renewals_set(s.r, 1, "Nowhere", 1, 0, 0), -ENOENT);
	cr_assert_eq(renewals_set(s.r, 1, "UTC", 0, 0, 0), -EINVAL);
}
