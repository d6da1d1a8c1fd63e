/* SPDX-License-Identifier: MIT */
#include "state/turnover.h"

#include "../random.h"
#include "base/rfc3339.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define MEMBERS 20000
#define DAY_MS UINT64_C(86400000)

static struct {
	struct turnover *t;
	unsigned visits;
	unsigned of[MEMBERS];        /* visits of each member */
	struct period last[MEMBERS]; /* what the last one said */
	bool refuse;
} v;

static int visit(void *arg, uint32_t member, const struct period *period)
{
	cr_assert_eq(arg, &v);
	v.visits++;
	v.of[member]++;
	v.last[member] = *period;
	return v.refuse ? -EIO : 0;
}

static void open_turnover(void)
{
	memset(&v, 0, sizeof(v));
	cr_assert_eq(turnover_new(&v.t, MEMBERS, visit, &v), 0);
}

static void close_turnover(void)
{
	v.t = turnover_free(v.t);
}

TestSuite(turnover, .init = open_turnover, .fini = close_turnover);

static uint64_t at(const char *text)
{
	int64_t ms = 0;

	cr_assert_eq(rfc3339_parse(text, &ms), 0);
	return (uint64_t)ms;
}

static struct period set(uint32_t member, enum period_kind kind,
			 const char *zone, unsigned anchor_day, uint64_t now)
{
	struct period p = {0};

	cr_assert_eq(turnover_set(v.t, member, kind, zone, anchor_day, now, &p),
		     0);
	return p;
}

static unsigned steps(uint64_t now)
{
	unsigned n = 1;

	while (turnover_step(v.t, now))
		n++;
	return n;
}

Test(turnover, visits_nobody_before_the_end_and_everybody_at_it)
{
	uint64_t now = at("2026-11-25T12:00:00Z"), end;
	struct period p = set(1, PERIOD_DAY, "UTC", 0, now);

	set(2, PERIOD_DAY, "UTC", 0, now);
	set(3, PERIOD_DAY, "Europe/Berlin", 0, now);
	set(4, PERIOD_MONTH, "UTC", 0, now);
	end = at("2026-11-26T00:00:00Z");
	cr_assert_eq(p.end_ms, end);
	steps(at("2026-11-25T22:59:59.999Z"));
	cr_assert_eq(v.visits, 0);
	steps(at("2026-11-25T23:00:00Z"));
	cr_assert_eq(v.visits, 1);
	cr_assert_eq(v.of[3], 1);
	steps(end - 1);
	cr_assert_eq(v.visits, 1);
	steps(end);
	cr_assert_eq(v.visits, 3);
	cr_assert_eq(v.last[1].number, p.number + 1);
	cr_assert_eq(v.last[2].start_ms, end);
	steps(end);
	steps(end + DAY_MS - 1);
	cr_assert_eq(v.visits, 4, "Berlin's next day");
	cr_assert_eq(v.of[4], 0);
}

Test(turnover, standstill_is_made_up_with_one_visit)
{
	struct period p =
		set(1, PERIOD_DAY, "UTC", 0, at("2026-01-01T12:00:00Z"));

	steps(at("2026-11-25T12:00:00Z"));
	cr_assert_eq(v.visits, 1);
	cr_assert_gt(v.last[1].number, p.number + 300);
	cr_assert_eq(v.last[1].start_ms, at("2026-11-25T00:00:00Z"));
}

Test(turnover, never_goes_back)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	struct period p = set(1, PERIOD_DAY, "UTC", 0, now), q;

	steps(now - 30 * DAY_MS);
	cr_assert_eq(v.visits, 0);
	/* One who joins gets the period of those who are there. */
	q = set(2, PERIOD_DAY, "UTC", 0, now - 30 * DAY_MS);
	cr_assert_eq(q.number, p.number);
	steps(p.end_ms);
	cr_assert_eq(v.visits, 2);
}

Test(turnover, member_leaves_its_former_rule)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	struct period p;

	for (uint32_t m = 0; m < 5; m++)
		set(m, PERIOD_DAY, "UTC", 0, now);
	p = set(2, PERIOD_WEEK, "Asia/Tokyo", 0, now); /* in the middle */
	set(4, PERIOD_MONTH, "UTC", 0, now);           /* the first of it */
	turnover_clear(v.t, 0);                        /* the last of it */
	turnover_clear(v.t, 0);
	turnover_clear(v.t, 777);
	turnover_clear(v.t, MEMBERS - 1);
	steps(at("2026-11-26T00:00:00Z"));
	cr_assert_eq(v.visits, 2);
	cr_assert(v.of[1] == 1 && v.of[3] == 1);
	steps(p.end_ms);
	cr_assert_eq(v.of[2], 1);
	cr_assert_eq(v.of[0] + v.of[4], 0);
	steps(at("2026-12-01T00:00:00Z"));
	cr_assert_eq(v.of[4], 1);
}

Test(turnover, many_are_visited_in_batches_each_once)
{
	uint64_t now = at("2026-11-25T12:00:00Z"), end;
	struct period p;

	for (uint32_t m = 0; m < MEMBERS; m++)
		set(m, m % 3 ? PERIOD_DAY : PERIOD_WEEK, "UTC", 0, now);
	/* A Sunday: both end at the same moment. */
	end = at("2026-11-30T00:00:00Z");
	cr_assert(turnover_step(v.t, end));
	cr_assert_eq(v.visits, TURNOVER_BATCH);
	/* Who joins in the middle is up to date; who leaves is not visited. */
	p = set(0, PERIOD_DAY, "UTC", 0, end);
	cr_assert_eq(p.start_ms, end);
	turnover_clear(v.t, 1);
	turnover_clear(v.t, 2);
	cr_assert_eq(steps(end), (MEMBERS - 1) / TURNOVER_BATCH);
	for (uint32_t m = 3; m < MEMBERS; m++) {
		cr_assert_eq(v.of[m], 1, "%u", m);
		cr_assert_eq(v.last[m].start_ms, end);
	}
}

Test(turnover, cursor_survives_the_loss_of_its_member)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	uint64_t end = at("2026-11-26T00:00:00Z");

	for (uint32_t m = 0; m < MEMBERS; m++)
		set(m, PERIOD_DAY, "UTC", 0, now);
	cr_assert(turnover_step(v.t, end));
	for (uint32_t m = 0; m < MEMBERS; m++)
		if (v.of[m] == 0 && m % 2)
			turnover_clear(v.t, m);
	steps(end);
	for (uint32_t m = 0; m < MEMBERS; m += 2)
		cr_assert_eq(v.of[m], 1);
	cr_assert_lt(v.visits, MEMBERS);
}

Test(turnover, visit_that_fails_is_tried_again_a_step_later)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	uint64_t end = at("2026-11-26T00:00:00Z");

	set(1, PERIOD_DAY, "UTC", 0, now);
	set(2, PERIOD_DAY, "UTC", 0, now);
	v.refuse = true;
	cr_assert_not(turnover_step(v.t, end), "not at once");
	cr_assert_eq(v.visits, 2);
	cr_assert_not(turnover_step(v.t, end + 1000));
	cr_assert_eq(v.visits, 4);
	v.refuse = false;
	cr_assert_not(turnover_step(v.t, end + 2000));
	cr_assert_eq(v.visits, 6);
	cr_assert_not(turnover_step(v.t, end + 3000));
	cr_assert_eq(v.visits, 6);
}

Test(turnover, revisit_needs_no_end)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	struct period p = set(1, PERIOD_DAY, "UTC", 0, now);

	set(2, PERIOD_WEEK, "UTC", 0, now);
	turnover_revisit(v.t, 1);
	steps(now);
	cr_assert_eq(v.visits, 1);
	cr_assert_eq(v.last[1].number, p.number);
	steps(now);
	cr_assert_eq(v.visits, 1);
}

Test(turnover, what_cannot_be_followed_changes_nothing)
{
	uint64_t now = at("2026-11-25T12:00:00Z");
	struct period p = set(1, PERIOD_DAY, "UTC", 0, now);

	cr_assert_eq(
		turnover_set(v.t, 1, PERIOD_DAY, "Mars/Olympus", 0, now, &p),
		-ENOENT);
	cr_assert_eq(turnover_set(v.t, 1, PERIOD_BILLING, "UTC", 0, now, &p),
		     -EINVAL);
	cr_assert_eq(turnover_set(v.t, 1, PERIOD_BILLING, "UTC", 32, now, &p),
		     -EINVAL);
	steps(p.end_ms);
	cr_assert_eq(v.of[1], 1);
}

/* Against the plain way: each member asks for its own period. */
Test(turnover, agrees_with_asking_everybody)
{
	static const char *const zones[] = {"UTC", "Europe/Berlin",
					    "America/New_York", "Asia/Tokyo"};
	enum { FEW = 200 };
	static struct period_rule rules[FEW];
	static uint32_t number[FEW];
	struct zone *opened[4];
	struct rng rng = {test_seed("turnover")};
	uint64_t now = at("2026-01-01T00:00:00Z");

	for (int i = 0; i < 4; i++)
		cr_assert_eq(zone_open(&opened[i], zones[i]), 0);
	for (int round = 0; round < 3000; round++) {
		uint32_t m = rng_below(&rng, FEW), zone = rng_below(&rng, 4);
		unsigned anchor = 1 + rng_below(&rng, 31);
		enum period_kind kind =
			(enum period_kind)(1 + rng_below(&rng, 4));

		number[m] = set(m, kind, zones[zone], anchor, now).number;
		rules[m] = (struct period_rule){kind, anchor, opened[zone]};
		if (rng_below(&rng, 8) == 0) {
			m = rng_below(&rng, FEW);
			turnover_clear(v.t, m);
			rules[m].zone = NULL;
		}
		now += rng_below(&rng, 8 * 3600000);
		steps(now);
		for (m = 0; m < FEW; m++) {
			struct period p;

			if (rules[m].zone == NULL)
				continue;
			period_at(&rules[m], now, &p);
			if (p.number != number[m]) {
				cr_assert_eq(v.last[m].number, p.number);
				cr_assert_eq(v.last[m].end_ms, p.end_ms);
				number[m] = p.number;
			}
		}
	}
}
