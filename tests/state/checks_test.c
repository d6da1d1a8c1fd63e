/* SPDX-License-Identifier: MIT */
/* Checks of the control thread beside those of a worker: the same words, a part
 * of the holds of its own. */
#include "world.h"

#include "base/clock.h"
#include "base/label.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HOLDS 128u
#define CONTROL_HOLDS 7u
#define CREDITS_GRANTED 1000u
#define HOLD_MS 60000u

static struct world w;
static uint32_t org;
static struct key_record key;
static char text[KEY_TEXT_MAX];

/* The gate of the world is worker `idx` of so many. */
static void configure(uint32_t idx, uint32_t workers)
{
	struct keytext_prefix prefix;

	check(keytext_prefix_init(&prefix, "il"));
	gate_init(&w.gate, &w.arena.arena, &w.table, &prefix, idx, &w.counters);
	gate_configure(&w.gate, &(struct gate_options){
					.once_ms = w.options.request_id_ms,
					.hold_ms = HOLD_MS,
					.control_holds = CONTROL_HOLDS,
					.workers = workers});
}

static void restart(uint32_t workers)
{
	world_restart(&w);
	configure(0, workers);
}

static void open_checks(void)
{
	struct org_record rec = {
		.name = "acme", .limit = 10000, .window_ms = 60000};

	world_init(&w);
	w.options.cells = 100;
	w.options.holds = HOLDS;
	w.options.request_ids = 100;
	w.options.request_id_ms = 10000;
	w.options.hold_ms = HOLD_MS;
	w.options.control_holds = CONTROL_HOLDS;
	world_start(&w);
	configure(0, 2);
	cr_assert_eq(registry_org_create(w.registry, &rec, CREDITS_GRANTED), 0);
	org = rec.slot;
	key = world_key(&w, org, text);
}

static void close_checks(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(checks, .init = open_checks, .fini = close_checks);

static struct verdict ask(bool control, uint32_t cost, uint8_t flags,
			  const struct check_extra *x)
{
	static const struct check_extra none;
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = cost,
			  .flags = flags,
			  .extra = x != NULL ? x : &none};
	struct instant now = instant_now();
	struct verdict v;

	if (control)
		registry_check(w.registry, &c, &v);
	else
		gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v;
}

static struct verdict settle(bool control, uint64_t hold, uint32_t cost)
{
	struct check_extra x = {.hold = hold};
	struct check c = {
		.credential = CREDENTIAL_HOLD, .extra = &x, .cost = cost};
	struct instant now = instant_now();
	struct verdict v;

	if (control)
		registry_settle(w.registry, hold, cost, &v);
	else
		gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v;
}

static uint64_t credits_left(void)
{
	return ask(false, 1, CHECK_PEEK, NULL).credits;
}

Test(checks, settlement_is_counted_in_cells_that_have_grown_since)
{
	struct check_extra x = {.route_hash = label_hash("/ocr", 4)};
	struct verdict held = ask(false, 5, CHECK_RESERVE, &x);
	struct cell *cell;

	w.options.cells = 5000;
	restart(1);
	cr_assert_eq(settle(true, held.hold, 2).charged, 2);
	cell = gate_cell(&w.gate, &w.arena.arena.keys[key.slot],
			 routes_find(w.gate.options.routes, x.route_hash));
	cr_assert_eq(claim_load(&cell->returned), 3);
}

Test(checks, control_thread_counts_what_a_worker_does)
{
	cr_assert_eq(ask(false, 3, 0, NULL).credits, CREDITS_GRANTED - 3);
	cr_assert_eq(ask(true, 4, 0, NULL).credits, CREDITS_GRANTED - 7);
	cr_assert_eq(ask(true, 4, CHECK_PEEK, NULL).credits,
		     CREDITS_GRANTED - 7);
	cr_assert_eq(ask(false, 5, 0, NULL).credits, CREDITS_GRANTED - 12);
	cr_assert_eq(world_org_used(&w, org), 12);
	cr_assert_eq(ask(true, CREDITS_GRANTED, 0, NULL).reason,
		     REASON_CREDITS);
	cr_assert_eq(world_org_used(&w, org), 12);
	cr_assert_eq(counter_read(&registry_counters(w.registry)
					   ->verdicts[REASON_CREDITS]),
		     1);
}

Test(checks, control_thread_knows_no_way_around_state)
{
	char id[ID_LEN + 1];

	cr_assert_eq(registry_org_set_suspended(w.registry, org, true), 0);
	cr_assert_eq(ask(true, 1, CHECK_RESERVE, NULL).reason,
		     REASON_SUSPENDED);
	cr_assert_eq(registry_org_set_suspended(w.registry, org, false), 0);
	cr_assert_eq(ask(true, 1, 0, NULL).reason, REASON_ALLOW);
	snprintf(id, sizeof(id), "%.*s", ID_LEN, key.id.c);
	cr_assert_eq(registry_key_revoke(w.registry, id, &key), 0);
	cr_assert_eq(ask(true, 1, CHECK_RESERVE, NULL).reason,
		     REASON_INVALID_KEY);
	cr_assert_eq(world_org_used(&w, org), 1);
}

Test(checks, request_id_is_charged_once_whoever_is_asked)
{
	struct check_extra x = {.once = {1, 2}};
	struct verdict first = ask(true, 5, CHECK_RESERVE, &x), again;

	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			restart(3);
		again = ask(i % 2 == 0, 5, CHECK_RESERVE, &x);
		cr_assert_eq(again.reason, REASON_ALLOW);
		cr_assert_eq(again.flags & VERDICT_REPEATED, VERDICT_REPEATED);
		cr_assert_eq(again.hold, first.hold);
		cr_assert_eq(again.charged, 0);
	}
	cr_assert_eq(world_org_used(&w, org), 5);
}

/* Reserves until there is no room; the holds are new ones. */
static unsigned take_all(bool control, uint8_t taken[static HOLDS])
{
	unsigned count = 0;
	struct verdict v;

	for (;;) {
		v = ask(control, 1, CHECK_RESERVE, NULL);
		if (v.reason != REASON_ALLOW)
			break;
		cr_assert_lt(HOLD_ID_SLOT(v.hold), HOLDS);
		cr_assert_eq(taken[HOLD_ID_SLOT(v.hold)]++, 0);
		count++;
	}
	cr_assert_eq(v.reason, REASON_FULL);
	return count;
}

Test(checks, each_thread_has_holds_of_its_own)
{
	uint8_t taken[HOLDS] = {0};
	unsigned share = (HOLDS - CONTROL_HOLDS) / 2;

	cr_assert_eq(take_all(false, taken), share);
	cr_assert_eq(take_all(true, taken), CONTROL_HOLDS);
	configure(1, 2);
	cr_assert_eq(take_all(false, taken), share);
	cr_assert_eq(counter_read(&registry_counters(w.registry)->holds_full),
		     1);
}

Test(checks, holds_out_before_are_not_given_away_after_a_restart)
{
	uint8_t taken[HOLDS] = {0};
	unsigned before, after;

	before = take_all(true, taken) + take_all(false, taken);
	/* Now all but those of the control thread are one worker's, which had
	 * some of them before. */
	restart(1);
	after = take_all(false, taken) + take_all(true, taken);
	cr_assert_eq(before + after, HOLDS);
	cr_assert_eq(world_org_used(&w, org), HOLDS);
}

Test(checks, hold_is_settled_once_by_anybody_before_and_after_a_restart)
{
	struct verdict held[8];
	uint64_t gone = 0;

	for (unsigned i = 0; i < 8; i++) {
		held[i] = ask(i % 2 == 0, 10, CHECK_RESERVE, NULL);
		cr_assert_eq(held[i].reason, REASON_ALLOW);
	}
	for (unsigned i = 0; i < 8; i++) {
		bool by_control = i / 2 % 2 == 0;
		struct verdict v;

		if (i == 4)
			restart(1);
		v = settle(by_control, held[i].hold, 2 * i);
		cr_assert_eq(v.reason, REASON_ALLOW);
		cr_assert_eq(v.charged, 2 * i);
		gone += 2 * i;
		cr_assert_eq(settle(!by_control, held[i].hold, 0).reason,
			     REASON_NO_HOLD);
	}
	cr_assert_eq(credits_left(), CREDITS_GRANTED - gone);
	/* What was used, less what came back: nothing is charged that is not
	 * gone from the credits. */
	cr_assert_geq(world_org_used(&w, org), gone);
}

Test(checks, hold_of_the_control_thread_expires)
{
	struct instant late = instant_now();
	struct verdict v = ask(true, 10, CHECK_RESERVE, NULL);

	late = instant_at(late.ns + (HOLD_MS + 1000) * UINT64_C(1000000));
	restart(2);
	cr_assert_eq(credits_left(), CREDITS_GRANTED - 10);
	cr_assert_eq(gate_expire(&w.gate, 0, HOLDS, &late, clock_wall_ms()), 1);
	cr_assert_eq(credits_left(), CREDITS_GRANTED);
	cr_assert_eq(settle(true, v.hold, 1).reason, REASON_NO_HOLD);
}

Test(checks, without_a_part_there_is_no_hold_for_the_control_thread)
{
	w.options.control_holds = 0;
	restart(1);
	cr_assert_eq(ask(true, 1, CHECK_RESERVE, NULL).reason, REASON_FULL);
	cr_assert_eq(ask(true, 1, 0, NULL).reason, REASON_ALLOW);
}

Test(checks, explanation_of_a_counted_check_is_told)
{
	struct verdict v = ask(true, 2, CHECK_EXPLAIN, NULL);

	cr_assert_eq(v.charged, 2);
	cr_assert_not_null(v.explain);
	cr_assert_eq(v.explain->count, 2, "its limit, its credits");
	cr_assert_eq(v.explain->lines[1].remaining, CREDITS_GRANTED);
}
