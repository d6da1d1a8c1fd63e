/* SPDX-License-Identifier: MIT */
#include "state/periods.h"

#include "../gate/fixture.h"
#include "base/rfc3339.h"
#include "gate/step.h"

#include <criterion/criterion.h>
#include <errno.h>

#define PROJECTS 64

static struct fixture f;
static struct claim claim;
static struct periods *periods;

static void open_periods(void)
{
	fixture_open(&f);
	for (uint32_t slot = 1; slot <= 2; slot++)
		fixture_org(&f, slot, 100, 1000, 0);
	for (uint32_t slot = 1; slot < PROJECTS; slot++)
		f.arena->projects[slot].org = 1 + slot % 2;
	claim_init(&claim, f.arena, OWNER_CONTROL, NULL);
	cr_assert_eq(periods_new(&periods, &claim, PROJECTS), 0);
}

static void close_periods(void)
{
	periods = periods_free(periods);
	fixture_close(&f);
}

TestSuite(periods, .init = open_periods, .fini = close_periods);

static uint64_t at(const char *text)
{
	int64_t ms = 0;

	cr_assert_eq(rfc3339_parse(text, &ms), 0);
	return (uint64_t)ms;
}

static struct budget *budget(uint32_t project, unsigned index)
{
	return &f.arena->projects[project].budgets[index];
}

static void expect(const struct budget *b, enum period_kind kind,
		   const char *zone_name, unsigned anchor, uint64_t now)
{
	struct zone *zone = NULL;
	struct period p;

	cr_assert_eq(zone_open(&zone, zone_name), 0);
	period_at(&(struct period_rule){kind, anchor, zone}, now, &p);
	zone_free(zone);
	cr_assert_eq(fixture_get(&b->period), p.number);
	cr_assert_eq(fixture_get(&b->ends_ms), p.end_ms);
	cr_assert_eq(fixture_get(&b->next_ends_ms), p.next_end_ms);
}

Test(periods, are_published_when_set_and_at_each_end)
{
	uint64_t now = at("2026-11-25T12:00:00Z");

	cr_assert_eq(
		periods_set(periods, 1, 0, PERIOD_DAY, "Europe/Berlin", 0, now),
		0);
	cr_assert_eq(periods_set(periods, 1, 1, PERIOD_BILLING, "UTC", 31, now),
		     0);
	expect(budget(1, 0), PERIOD_DAY, "Europe/Berlin", 0, now);
	expect(budget(1, 1), PERIOD_BILLING, "UTC", 31, now);
	cr_assert_eq(fixture_get(&budget(2, 0)->period), 0);
	now = at("2026-11-25T23:00:00Z");
	cr_assert_not(periods_step(periods, now - 1));
	expect(budget(1, 0), PERIOD_DAY, "Europe/Berlin", 0, now - 1);
	cr_assert_not(periods_step(periods, now));
	expect(budget(1, 0), PERIOD_DAY, "Europe/Berlin", 0, now);
	now = at("2027-05-31T00:00:00Z");
	cr_assert_not(periods_step(periods, now));
	expect(budget(1, 0), PERIOD_DAY, "Europe/Berlin", 0, now);
	expect(budget(1, 1), PERIOD_BILLING, "UTC", 31, now);
}

Test(periods, clock_that_goes_back_changes_nothing)
{
	uint64_t now = at("2026-11-25T12:00:00Z");

	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_DAY, "UTC", 0, now), 0);
	now = at("2026-11-26T00:00:00Z");
	periods_step(periods, now);
	periods_step(periods, at("2026-01-01T00:00:00Z"));
	expect(budget(1, 0), PERIOD_DAY, "UTC", 0, now);
}

Test(periods, one_claim_changes_all_three_words)
{
	uint64_t now = at("2026-11-25T12:00:00Z"), version;
	word_t *gate = &f.arena->orgs[f.arena->projects[3].org].gate;

	version = fixture_get(gate);
	cr_assert_eq(periods_set(periods, 3, 0, PERIOD_DAY, "UTC", 0, now), 0);
	cr_assert_eq(fixture_get(gate), version + 2);
	cr_assert_eq(periods_set(periods, 3, 0, PERIOD_DAY, "UTC", 0, now), 0);
	cr_assert_eq(fixture_get(gate), version + 2, "nothing has changed");
	periods_step(periods, at("2026-11-26T00:00:00Z"));
	cr_assert_eq(fixture_get(gate), version + 4);
}

/* Decisions count behind the second end before a step tells them where they
 * are: the machine slept for long. */
Test(periods, step_that_comes_too_late_counts_on)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	struct budget *b = budget(1, 0);
	struct budget_view v;
	uint32_t known;

	fixture_set(&b->cap, 10);
	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_DAY, "UTC", 0, now), 0);
	known = (uint32_t)fixture_get(&b->period) + 2;
	now = at("2027-03-01T12:00:00Z");
	fixture_set(&b->used, BUDGET_WORD(known, 7));
	fixture_set(&b->returned, BUDGET_WORD(known, 1));
	periods_step(periods, now);
	expect(b, PERIOD_DAY, "UTC", 0, now);
	budget_read(b, fixture_get(&b->used), fixture_get(&b->returned), now,
		    &v);
	cr_assert_eq(v.left, 4, "no second budget for the same day");
	/* In time: the next period is a new one. */
	now = at("2027-03-02T00:00:00Z");
	fixture_set(&b->used, BUDGET_WORD(fixture_get(&b->period) + 1, 2));
	periods_step(periods, now);
	budget_read(b, fixture_get(&b->used), fixture_get(&b->returned), now,
		    &v);
	cr_assert_eq(v.left, 8);
	cr_assert_eq(BUDGET_PERIOD(fixture_get(&b->returned)), v.period - 1);
}

Test(periods, zone_and_anchor_can_be_changed)
{
	uint64_t now = at("2026-11-25T23:30:00Z");

	cr_assert_eq(
		periods_set(periods, 1, 0, PERIOD_DAY, "Asia/Tokyo", 0, now),
		0);
	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_DAY, "America/New_York",
				 0, now),
		     0);
	expect(budget(1, 0), PERIOD_DAY, "America/New_York", 0, now);
	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_DAY, "Utopia", 0, now),
		     -ENOENT);
	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_BILLING, "UTC", 32, now),
		     -EINVAL);
	expect(budget(1, 0), PERIOD_DAY, "America/New_York", 0, now);
	now = at("2026-11-26T05:00:00Z");
	periods_step(periods, now);
	expect(budget(1, 0), PERIOD_DAY, "America/New_York", 0, now);
}

Test(periods, cleared_budget_is_left_alone)
{
	uint64_t now = at("2026-11-25T12:00:00Z");

	cr_assert_eq(periods_set(periods, 1, 0, PERIOD_DAY, "UTC", 0, now), 0);
	cr_assert_eq(periods_set(periods, 1, 1, PERIOD_DAY, "UTC", 0, now), 0);
	periods_clear(periods, 1, 0);
	periods_clear(periods, 5, 1);
	periods_step(periods, at("2026-11-27T00:00:00Z"));
	expect(budget(1, 0), PERIOD_DAY, "UTC", 0, now);
	expect(budget(1, 1), PERIOD_DAY, "UTC", 0, at("2026-11-27T00:00:00Z"));
}
