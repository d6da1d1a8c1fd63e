/* SPDX-License-Identifier: MIT */
/* How long events and the audit trail are kept. */
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define DAY_MS INT64_C(86400000)

static struct world w;

static void open_world(void)
{
	world_init(&w);
	w.options.events_ms = (uint64_t)(90 * DAY_MS);
	w.options.audit_ms = (uint64_t)(10 * DAY_MS);
	world_start(&w);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_prune, .init = open_world, .fini = close_world);

/* So many of each, a number of days old. */
static void fill(unsigned count, int64_t days)
{
	int64_t at_ms = registry_now_ms(w.registry) - days * DAY_MS;
	struct event_record e = {.kind = "x", .body = "{}", .at_ms = at_ms};
	struct audit_record a = {.action = "x", .at_ms = at_ms};

	cr_assert_eq(records_begin(w.records), 0);
	for (unsigned i = 0; i < count; i++) {
		snprintf(e.once, sizeof(e.once), "%lld:%u", (long long)days, i);
		cr_assert_eq(records_event_insert(w.records, &e), 0);
		cr_assert_eq(records_audit_insert(w.records, &a), 0);
	}
	cr_assert_eq(records_commit(w.records), 0);
}

static int one_event(const struct event_record *rec, void *arg)
{
	(void)rec;
	++*(unsigned *)arg;
	return 0;
}

static int one_line(const struct audit_record *rec, void *arg)
{
	(void)rec;
	++*(unsigned *)arg;
	return 0;
}

static unsigned events(void)
{
	unsigned n = 0;

	cr_assert_eq(records_each_event(w.records, false, 0, 0, one_event, &n),
		     0);
	return n;
}

static unsigned lines(void)
{
	unsigned n = 0;

	cr_assert_eq(records_each_audit(w.records, 0, 0, one_line, &n), 0);
	return n;
}

Test(registry_prune, each_is_kept_for_its_own_time)
{
	fill(3, 91);
	fill(4, 11);
	fill(5, 9);
	cr_expect_not(registry_step(w.registry));
	cr_expect_eq(events(), 9);
	cr_expect_eq(lines(), 5);
}

Test(registry_prune, many_go_a_bounded_number_in_a_step)
{
	unsigned steps = 1, before = 1200, now;

	fill(1200, 91);
	while (registry_step(w.registry)) {
		now = events();
		cr_expect_eq(before - now, 500, "%u", before - now);
		cr_expect_eq(lines(), now);
		before = now;
		cr_assert_lt(++steps, 100);
	}
	cr_expect_eq(steps, 3);
	cr_expect_eq(events(), 0);
	cr_expect_eq(lines(), 0);
}

/* A look at the tables in every step would be for nothing. */
Test(registry_prune, a_step_that_found_all_is_followed_by_a_rest)
{
	cr_expect_not(registry_step(w.registry));
	fill(1, 91);
	cr_expect_not(registry_step(w.registry));
	cr_expect_eq(events(), 1);
}

Test(registry_prune, nothing_goes_that_is_kept_for_ever)
{
	world_die(&w);
	w.options.events_ms = 0;
	world_start(&w);
	fill(2, 4000);
	cr_expect_not(registry_step(w.registry));
	cr_expect_eq(events(), 2);
	cr_expect_eq(lines(), 0);
	world_die(&w);
	w.options.events_ms = (uint64_t)(90 * DAY_MS);
	w.options.audit_ms = 0;
	world_start(&w);
	fill(2, 4001);
	cr_expect_not(registry_step(w.registry));
	cr_expect_eq(events(), 0);
	cr_expect_eq(lines(), 2);
}
