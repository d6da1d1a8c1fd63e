/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include "gate_scene.h"

#include <criterion/criterion.h>

#define T0 INSTANT_BIAS_NS
#define LEASE_MS 30000u

static struct gate_scene s;
static struct project *project;
static struct credits *credits;

static uint64_t used(uint32_t key)
{
	return fixture_get(&s.f.arena->keys[key].used);
}

static struct verdict reserve(uint32_t key, uint32_t cost,
			      const struct check_extra *extra, uint64_t ns)
{
	struct check c = check_of_key(key, cost, extra);

	c.flags = CHECK_RESERVE;
	return gate_scene_ask(&s, &c, ns);
}

static uint32_t expire(uint64_t ns)
{
	struct instant now = instant_at(ns);

	return gate_expire(&s.gate, 0, s.f.arena->header->holds_count, &now,
			   s.wall_ms);
}

static uint64_t left(unsigned pool)
{
	const struct pool *p = &credits->pools[pool];

	return fixture_get(&p->granted) + fixture_get(&p->returned) -
	       fixture_get(&p->used);
}

/* A budget of 100 and pools of 30, 30 and 100; rules that are in nobody's way,
 * and one that allows two at a time. */
static void open_scene(void)
{
	const uint64_t granted[] = {30, 30, 100};
	struct rule rules[3];

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	rules[0] = fixture_window(10000, 1000 * MS);
	rules[1] = fixture_flight(50, LEASE_MS);
	rules[2] =
		fixture_rule(&s.f, fixture_flight(2, LEASE_MS), LEVEL_KEY, 20);
	gate_scene_org(&s, 1, rules, 3);
	project = fixture_project(&s.f, 1, 1);
	fixture_budget(&project->budgets[0], 100, 5, WALL_MS + 1000,
		       WALL_MS + 2000);
	credits = gate_scene_credits(&s, &s.f.arena->orgs[1], granted, NULL, 3);
	gate_scene_key(&s, 1, 1, 1);
	gate_scene_key(&s, 2, 1, 0);
}

static bool at_rest(const void *state, void *arg)
{
	(void)state;
	(void)arg;
	return true;
}

Test(settle, cell_of_usage_that_became_anothers_is_left_alone)
{
	struct arena *a;
	struct subjects cells;
	struct verdict v;
	struct cell *was;
	uint32_t cursor = 0, entry;
	uint64_t hash = 1;

	open_scene();
	a = s.f.arena;
	v = reserve(2, 40, NULL, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	was = (struct cell *)(void *)(a->base +
				      fixture_get(
					      &hold_at(a, HOLD_ID_SLOT(v.hold))
						       ->cell));
	cr_assert(subjects_open(&cells, a, fixture_get(&a->header->cells)));
	subjects_retire(&cells, &s.gate.claim, &cursor, UINT32_MAX, at_rest,
			NULL);
	cr_assert_eq(subjects_free(&cells, &s.gate.claim, at_rest, NULL), 1);
	do
		entry = subjects_take(&cells, &s.gate.claim,
				      subjects_hash2(7, hash++, 0));
	while (entry == SUBJECTS_FULL || subjects_state(&cells, entry) != was);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 0, T0).reason, REASON_ALLOW);
	cr_expect_eq(fixture_get(&was->returned), 0);
}

Test(settle, as_reserved_changes_nothing_but_the_leases)
{
	struct verdict v, w;

	open_scene();
	v = reserve(1, 40, NULL, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.charged, 40);
	cr_assert_eq(v.hold_ms, LEASE_MS, "the longer of both");
	cr_assert_eq(reserve(1, 1, NULL, T0).reason, REASON_ALLOW);
	cr_assert_eq(reserve(1, 1, NULL, T0).reason, REASON_CONCURRENCY);
	w = gate_scene_settle(&s, v.hold, SETTLE_AS_RESERVED, T0);
	cr_assert_eq(w.reason, REASON_ALLOW);
	cr_assert_eq(w.charged, 40);
	cr_assert_eq(w.hold, v.hold);
	cr_assert_eq(w.credits, 160 - 41);
	cr_assert(id_equal(w.key, s.f.arena->keys[1].id));
	cr_assert(id_equal(w.org, s.f.arena->orgs[1].id));
	cr_assert_eq(used(1), used_add(0, 41, 2));
	cr_assert_eq(fixture_get(&project->budgets[0].returned), 0);
	cr_assert_eq(reserve(1, 1, NULL, T0).reason, REASON_ALLOW);
	gate_scene_close(&s);
}

Test(settle, less_is_given_back_in_the_opposite_order)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 70, NULL, T0);
	cr_assert_eq(left(0), 0);
	cr_assert_eq(left(1), 0);
	cr_assert_eq(left(2), 90);
	v = gate_scene_settle(&s, v.hold, 25, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.charged, 25);
	cr_assert_eq(left(0), 5, "the first drawn is the last given back");
	cr_assert_eq(left(1), 30);
	cr_assert_eq(left(2), 100);
	cr_assert_eq(v.credits, 135);
	cr_assert_eq(fixture_get(&project->budgets[0].returned),
		     BUDGET_WORD(5, 45));
	cr_assert_eq(reserve(1, 75, NULL, T0).budget, 0);
	/* Usage keeps what was asked for; what came back stands beside it. */
	cr_assert_eq(used(1), used_add(0, 145, 2));
	gate_scene_close(&s);
}

Test(settle, nothing_used_gives_everything_back)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 70, NULL, T0);
	v = gate_scene_settle(&s, v.hold, 0, T0);
	cr_assert_eq(v.charged, 0);
	cr_assert_eq(v.credits, 160);
	cr_assert_eq(reserve(1, 100, NULL, T0).budget, 0);
	gate_scene_close(&s);
}

Test(settle, more_is_charged_as_far_as_the_caps_allow)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 10, NULL, T0);
	v = gate_scene_settle(&s, v.hold, 30, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.charged, 30);
	cr_assert_eq(used(1), used_add(0, 30, 1));
	cr_assert_eq(v.credits, 130);
	v = reserve(1, 10, NULL, T0);
	v = gate_scene_settle(&s, v.hold, 500, T0);
	cr_assert_eq(v.reason, REASON_BUDGET);
	cr_assert_eq(v.charged, 70, "100 in all");
	cr_assert_eq(fixture_get(&project->budgets[0].used),
		     BUDGET_WORD(5, 100));
	v = reserve(2, 20, NULL, T0);
	v = gate_scene_settle(&s, v.hold, 500, T0);
	cr_assert_eq(v.reason, REASON_CREDITS);
	cr_assert_eq(v.charged, 60);
	cr_assert_eq(v.credits, 0);
	cr_assert_eq(used(2), used_add(0, 60, 1));
	gate_scene_close(&s);
}

/* What a rule has counted stays counted: it was about the rate. */
Test(settle, rules_keep_what_they_counted)
{
	struct verdict v, w;

	open_scene();
	v = reserve(1, 60, NULL, T0);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 10, T0).reason,
		     REASON_ALLOW);
	w = reserve(2, 1, NULL, T0);
	cr_assert_eq(w.reason, REASON_ALLOW);
	{
		struct check c = check_of_key(2, 9939, NULL);

		c.flags = CHECK_PEEK;
		v = gate_scene_ask(&s, &c, T0);
		cr_assert_eq(v.reason, REASON_CREDITS, "but not the window");
		c.cost = 9940;
		cr_assert_eq(gate_scene_ask(&s, &c, T0).reason,
			     REASON_RATE_LIMITED);
	}
	gate_scene_close(&s);
}

Test(settle, second_time_is_no_hold_and_so_is_another_generation)
{
	struct verdict v, w, none;
	uint64_t i;

	open_scene();
	v = reserve(1, 10, NULL, T0);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 5, T0).reason, REASON_ALLOW);
	memset(&none, 0, sizeof(none));
	none.reason = REASON_NO_HOLD;
	w = gate_scene_settle(&s, v.hold, 0, T0);
	cr_assert_arr_eq(&w, &none, sizeof(w));
	cr_assert_eq(fixture_get(&project->budgets[0].returned),
		     BUDGET_WORD(5, 5));
	/* The same place again, and the old name. */
	for (i = 0; i < STEP_ASKS_MAX; i++) {
		w = reserve(1, 1, NULL, T0);
		cr_assert_eq(w.reason, REASON_ALLOW);
		cr_assert_neq(w.hold, v.hold);
		if (HOLD_ID_SLOT(w.hold) == HOLD_ID_SLOT(v.hold))
			break;
		gate_scene_settle(&s, w.hold, 1, T0);
	}
	cr_assert_lt(i, STEP_ASKS_MAX);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 0, T0).reason,
		     REASON_NO_HOLD);
	cr_assert_eq(gate_scene_settle(&s, w.hold, 1, T0).reason, REASON_ALLOW);
	/* Names of no hold at all. */
	cr_assert_eq(gate_scene_settle(&s, 0, 1, T0).reason, REASON_NO_HOLD);
	cr_assert_eq(gate_scene_settle(&s, UINT64_MAX, 1, T0).reason,
		     REASON_NO_HOLD);
	cr_assert_eq(
		gate_scene_settle(&s, HOLD_ID(STEP_ASKS_MAX, 0), 1, T0).reason,
		REASON_NO_HOLD);
	gate_scene_close(&s);
}

/* What an earlier period was charged is past; credits are not. */
Test(settle, budget_of_an_earlier_period_gets_nothing_back)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 60, NULL, T0);
	s.wall_ms = WALL_MS + 1000;
	cr_assert_eq(reserve(1, 50, NULL, T0).budget, 50);
	v = gate_scene_settle(&s, v.hold, 10, T0);
	cr_assert_eq(v.charged, 10);
	cr_assert_eq(v.credits, 160 - 60);
	cr_assert_eq(fixture_get(&project->budgets[0].used),
		     BUDGET_WORD(6, 50));
	cr_assert_eq(fixture_get(&project->budgets[0].returned), 0);
	/* Of this one it does. */
	cr_assert_eq(reserve(2, 1, NULL, T0).reason, REASON_ALLOW);
	v = reserve(1, 50, NULL, T0);
	gate_scene_settle(&s, v.hold, 20, T0);
	cr_assert_eq(fixture_get(&project->budgets[0].returned),
		     BUDGET_WORD(6, 30));
	gate_scene_close(&s);
}

Test(settle, more_than_reserved_is_charged_to_the_period_of_now)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 10, NULL, T0);
	s.wall_ms = WALL_MS + 1000;
	v = gate_scene_settle(&s, v.hold, 40, T0);
	cr_assert_eq(v.charged, 40);
	cr_assert_eq(fixture_get(&project->budgets[0].used),
		     BUDGET_WORD(6, 30));
	gate_scene_close(&s);
}

Test(settle, crossing_a_threshold_is_told)
{
	struct verdict v;

	open_scene();
	v = reserve(1, 10, NULL, T0);
	cr_assert_eq(project->attention, 0);
	gate_scene_settle(&s, v.hold, 55, T0);
	cr_assert_eq(project->attention, 1);
	gate_scene_close(&s);
}

/* Between the two another check has drawn from a pool that comes later. */
Test(settle, each_pool_gets_back_what_it_has_paid)
{
	uint64_t chat = label_hash("chat", 4);
	struct check_extra extra = {.route_hash = chat};
	struct verdict v, w;

	open_scene();
	credits->pools[0].route = chat;
	v = reserve(1, 20, &extra, T0);
	w = reserve(2, 50, NULL, T0);
	cr_assert_eq(left(0), 10);
	cr_assert_eq(left(2), 80);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 5, T0).charged, 5);
	cr_assert_eq(left(0), 25);
	cr_assert_eq(left(1), 0);
	cr_assert_eq(left(2), 80);
	gate_scene_settle(&s, w.hold, 0, T0);
	cr_assert_eq(left(0), 25);
	cr_assert_eq(left(1), 30);
	cr_assert_eq(left(2), 100);
	gate_scene_close(&s);
}

Test(settle, what_a_pool_has_paid_that_is_no_more_is_gone)
{
	struct verdict v, w;

	open_scene();
	v = reserve(1, 20, NULL, T0);
	w = reserve(2, 30, NULL, T0);
	cr_assert_eq(left(1), 10);
	credits->pools[0].id = 9;
	cr_assert_eq(gate_scene_settle(&s, v.hold, 0, T0).credits, 110);
	cr_assert_eq(left(0), 0);
	cr_assert_eq(left(1), 10);
	gate_scene_settle(&s, w.hold, 0, T0);
	cr_assert_eq(left(0), 0);
	cr_assert_eq(left(1), 30);
	gate_scene_close(&s);
}

/* More pools than a hold tells apart, or one that a snapshot brought. */
Test(settle, without_its_draws_a_hold_is_given_back_to_the_last_of_its_route)
{
	const uint64_t granted[] = {10, 10, 10, 10};
	const uint64_t chat = label_hash("chat", 4);
	const uint64_t routes[] = {chat + 1, 0, 0, 0};
	struct check_extra extra = {.route_hash = chat + 1};
	struct verdict v;

	open_scene();
	credits =
		gate_scene_credits(&s, &s.f.arena->orgs[1], granted, routes, 4);
	v = reserve(1, 35, &extra, T0);
	cr_assert_eq(left(3), 5);
	gate_scene_settle(&s, v.hold, 12, T0);
	cr_assert_eq(left(0), 0);
	cr_assert_eq(left(1), 8);
	cr_assert_eq(left(2), 10);
	cr_assert_eq(left(3), 10);
	extra.route_hash = chat;
	v = reserve(1, 28, &extra, T0);
	for (unsigned i = 0; i < HOLD_DRAWS_MAX; i++)
		fixture_set(&hold_at(s.f.arena, HOLD_ID_SLOT(v.hold))->draws[i],
			    0);
	gate_scene_settle(&s, v.hold, 0, T0);
	cr_assert_eq(left(0), 0, "of another route");
	cr_assert_eq(left(1), 8, "no more than was drawn");
	cr_assert_eq(left(2), 10);
	cr_assert_eq(left(3), 10);
	gate_scene_close(&s);
}

Test(settle, expired_hold_is_returned_or_kept)
{
	struct verdict v, w;

	open_scene();
	v = reserve(1, 40, NULL, T0);
	cr_assert_eq(expire(T0 + LEASE_MS * NS_PER_MS - 1), 0);
	cr_assert_eq(expire(T0 + LEASE_MS * NS_PER_MS), 1);
	cr_assert_eq(expire(T0 + LEASE_MS * NS_PER_MS), 0);
	cr_assert_eq(gate_scene_settle(&s, v.hold, 0, T0).reason,
		     REASON_NO_HOLD);
	w = reserve(1, 1, NULL, T0);
	cr_assert_eq(w.credits, 159);
	s.options.hold_keep = true;
	gate_configure(&s.gate, &s.options);
	v = reserve(1, 40, NULL, T0);
	cr_assert_eq(reserve(1, 1, NULL, T0).reason, REASON_CONCURRENCY);
	cr_assert_eq(expire(T0 + 9 * LEASE_MS * NS_PER_MS), 2);
	cr_assert_eq(left(0) + left(1) + left(2), 160 - 40,
		     "each as it was when it was made");
	cr_assert_eq(reserve(1, 1, NULL, T0).reason, REASON_ALLOW,
		     "leases come back in any case");
	gate_scene_close(&s);
}

/* A lease without a reservation: what was charged stays when it expires. */
Test(settle, lease_alone_keeps_its_charge)
{
	struct check c = check_of_key(1, 7, NULL);
	struct verdict v;

	open_scene();
	v = gate_scene_ask(&s, &c, T0);
	cr_assert_neq(v.hold, 0);
	cr_assert_eq(v.hold_ms, LEASE_MS);
	cr_assert_eq(expire(T0 + LEASE_MS * NS_PER_MS), 1);
	cr_assert_eq(left(0), 23);
	cr_assert_eq(fixture_get(&s.gate.step.plan->rules[1].tripped), 0);
	gate_scene_close(&s);
}

Test(settle, hold_lasts_as_long_as_was_asked_for)
{
	struct check_extra extra = {.hold_ms = 2 * LEASE_MS};
	struct verdict v;

	open_scene();
	v = reserve(1, 7, &extra, T0);
	cr_assert_eq(v.hold_ms, 2 * LEASE_MS);
	cr_assert_eq(expire(T0 + 2 * LEASE_MS * NS_PER_MS - 1), 0);
	cr_assert_eq(expire(T0 + 2 * LEASE_MS * NS_PER_MS), 1);
	gate_scene_close(&s);
}

/* A shadow that had no room took no lease, and none is given back. */
Test(settle, shadow_without_room_has_no_lease)
{
	struct rule rules[1];
	struct verdict v[3];
	unsigned i;

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	rules[0] = fixture_flight(2, LEASE_MS);
	rules[0].flags = RULE_SHADOW;
	gate_scene_org(&s, 1, rules, 1);
	gate_scene_key(&s, 1, 1, 0);
	for (i = 0; i < 3; i++) {
		v[i] = reserve(1, 1, NULL, T0);
		cr_assert_eq(v[i].reason, REASON_ALLOW);
	}
	gate_scene_settle(&s, v[2].hold, 1, T0);
	cr_assert_eq(METER_LEASES(fixture_get(&s.f.arena->orgs[1].first.level)),
		     2);
	gate_scene_settle(&s, v[0].hold, 1, T0);
	gate_scene_settle(&s, v[1].hold, 1, T0);
	cr_assert_eq(METER_LEASES(fixture_get(&s.f.arena->orgs[1].first.level)),
		     0);
	gate_scene_close(&s);
}

/* A key of no project, and a limit of what each project has in flight. */
Test(settle, limit_that_does_not_look_takes_no_hold)
{
	struct check c = check_of_key(2, 1, NULL);
	struct rule rules[2];
	struct verdict v;

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	rules[0] = fixture_window(100, 1000 * MS);
	rules[1] = fixture_rule(&s.f, fixture_flight(2, LEASE_MS),
				LEVEL_PROJECT, 20);
	gate_scene_org(&s, 1, rules, 2);
	fixture_project(&s.f, 1, 1);
	gate_scene_key(&s, 1, 1, 1);
	gate_scene_key(&s, 2, 1, 0);
	v = gate_scene_ask(&s, &c, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.hold, 0);
	c = check_of_key(1, 1, NULL);
	cr_assert_neq(gate_scene_ask(&s, &c, T0).hold, 0);
	gate_scene_close(&s);
}
