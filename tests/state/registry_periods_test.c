/* SPDX-License-Identifier: MIT */
/* The periods of budgets, from the records to what decisions read. */
#include "state/registry_internal.h"
#include "world.h"

#include <criterion/criterion.h>

#define DAY_MS UINT64_C(86400000)

static struct world w;
static uint32_t org, project;

static void open_world(void)
{
	struct org_record o = {.name = "a"};
	struct project_record p = {.name = "p"};
	struct budget_record b = {
		.idx = 1, .units = 7, .period = BUDGET_PER_DAY};

	world_init(&w);
	world_start(&w);
	cr_assert_eq(registry_org_create(w.registry, &o, 0), 0);
	p.org = org = o.slot;
	cr_assert_eq(registry_project_create_capped(w.registry, &p, &b, 1), 0);
	project = p.slot;
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_periods, .init = open_world, .fini = close_world);

static struct budget *budget(unsigned idx)
{
	return &w.arena.arena.projects[project].budgets[idx];
}

/* Civil time goes on. */
static uint64_t pass(uint64_t ms)
{
	atomic_fetch_add(&w.arena.arena.header->civil_ns, ms * 1000000);
	return (uint64_t)registry_now_ms(w.registry);
}

static void expect(unsigned idx, enum period_kind kind, unsigned anchor_day,
		   const char *zone)
{
	struct period_rule rule = {.kind = kind, .anchor_day = anchor_day};
	struct zone *z = NULL;
	struct period p;

	cr_assert_eq(zone_open(&z, zone), 0);
	rule.zone = z;
	period_at(&rule, pass(0), &p);
	zone_free(z);
	cr_expect_eq(claim_load(&budget(idx)->period), p.number);
	cr_expect_eq(claim_load(&budget(idx)->ends_ms), p.end_ms);
	cr_expect_eq(claim_load(&budget(idx)->next_ends_ms), p.next_end_ms);
}

Test(registry_periods, budget_of_a_new_project_has_its_period)
{
	expect(1, PERIOD_DAY, 0, "UTC");
	cr_expect_eq(claim_load(&budget(0)->period), 0);
	pass(2 * DAY_MS);
	cr_expect_not(registry_step(w.registry));
	expect(1, PERIOD_DAY, 0, "UTC");
}

Test(registry_periods, follow_the_organization)
{
	struct budget_record b = {
		.project = project, .units = 5, .period = BUDGET_PER_BILLING};

	cr_assert_eq(registry_org_set_billing(w.registry, org, 31,
					      "Pacific/Auckland"),
		     0);
	expect(1, PERIOD_DAY, 0, "Pacific/Auckland");
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	expect(0, PERIOD_BILLING, 31, "Pacific/Auckland");
	cr_assert_eq(
		registry_org_set_billing(w.registry, org, 7, "Europe/Berlin"),
		0);
	expect(0, PERIOD_BILLING, 7, "Europe/Berlin");
	expect(1, PERIOD_DAY, 0, "Europe/Berlin");
	cr_expect_eq(registry_org_set_billing(w.registry, org, 7, "localtime"),
		     REGISTRY_INVALID);
	expect(1, PERIOD_DAY, 0, "Europe/Berlin");
}

Test(registry_periods, another_kind_begins_anew)
{
	struct budget_record b = {.project = project,
				  .idx = 1,
				  .units = 5,
				  .period = BUDGET_PER_MONTH};
	uint64_t day = claim_load(&budget(1)->period);

	slot_set_word(&budget(1)->used, BUDGET_WORD(day, 3));
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	cr_expect_eq(claim_load(&budget(1)->used), 0);
	expect(1, PERIOD_MONTH, 0, "UTC");
	pass(40 * DAY_MS);
	registry_step(w.registry);
	expect(1, PERIOD_MONTH, 0, "UTC");
}

Test(registry_periods, are_up_to_date_after_a_restart)
{
	world_die(&w);
	world_start(&w);
	expect(1, PERIOD_DAY, 0, "UTC");
	pass(DAY_MS);
	registry_step(w.registry);
	expect(1, PERIOD_DAY, 0, "UTC");
}

Test(registry_periods, another_kind_begins_anew_also_across_death)
{
	struct budget_record b = {.project = project,
				  .idx = 1,
				  .units = 5,
				  .period = BUDGET_PER_MONTH};
	uint64_t day = claim_load(&budget(1)->period);

	slot_set_word(&budget(1)->used, BUDGET_WORD(day, 3));
	cr_assert_eq(records_budget_put(w.records, &b), 0);
	world_die(&w);
	world_start(&w);
	cr_expect_eq(claim_load(&budget(1)->used), 0);
	expect(1, PERIOD_MONTH, 0, "UTC");
	/* Of the same kind: it goes on. */
	slot_set_word(&budget(1)->used,
		      BUDGET_WORD(claim_load(&budget(1)->period), 2));
	world_die(&w);
	world_start(&w);
	cr_expect_eq(BUDGET_UNITS(claim_load(&budget(1)->used)), 2);
}

Test(registry_periods, removed_budget_is_left_alone)
{
	uint64_t period = claim_load(&budget(1)->period);

	cr_assert_eq(registry_budget_remove(w.registry, project, 1), 0);
	pass(2 * DAY_MS);
	registry_step(w.registry);
	cr_expect_eq(claim_load(&budget(1)->period), period);
}

/* ---- thresholds ---- */

static int count_event(const struct event_record *rec, void *arg)
{
	(void)rec;
	++*(unsigned *)arg;
	return 0;
}

static unsigned told(void)
{
	unsigned count = 0;

	registry_step(w.registry);
	cr_assert_eq(
		records_each_event(w.records, false, 0, 0, count_event, &count),
		0);
	return count;
}

/* As a worker that drives it over a threshold does. */
static void charge(uint64_t units)
{
	struct project *p = &w.arena.arena.projects[project];

	slot_set_word(&budget(1)->used,
		      BUDGET_WORD(claim_load(&budget(1)->period), units));
	atomic_store(&p->attention, 1);
	atomic_store(&w.arena.arena.header->attention, 1);
}

Test(registry_periods, threshold_of_the_last_second_is_told_in_the_next_period)
{
	cr_expect_eq(told(), 0);
	charge(7);
	pass(DAY_MS);
	cr_expect_eq(told(), 3);
	cr_expect_eq(told(), 3);
	/* Once more, in this period. */
	charge(7);
	cr_expect_eq(told(), 6);
	pass(2 * DAY_MS);
	cr_expect_eq(told(), 6);
}

Test(registry_periods, threshold_that_a_lower_cap_would_have_had_is_not_told)
{
	struct budget_record b = {.project = project,
				  .idx = 1,
				  .units = 2,
				  .period = BUDGET_PER_DAY};

	charge(2);
	cr_expect_eq(told(), 0);
	pass(DAY_MS);
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	world_die(&w);
	world_start(&w);
	cr_expect_eq(told(), 0);
}
