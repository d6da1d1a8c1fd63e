/* SPDX-License-Identifier: MIT */
#include "gate/step.h"

#include "gate_scene.h"

#include <criterion/criterion.h>

#define T0 INSTANT_BIAS_NS

static struct gate_scene s;

static struct verdict ask(uint32_t key, uint32_t cost,
			  const struct check_extra *extra, uint64_t ns)
{
	struct check c = check_of_key(key, cost, extra);

	return gate_scene_ask(&s, &c, ns);
}

static struct verdict ask_with(uint32_t key, uint32_t cost, uint8_t flags,
			       const struct check_extra *extra, uint64_t ns)
{
	struct check c = check_of_key(key, cost, extra);

	c.flags = flags;
	return gate_scene_ask(&s, &c, ns);
}

static uint64_t used(uint32_t key)
{
	return fixture_get(&s.f.arena->keys[key].used);
}

static uint64_t tripped(uint32_t org, unsigned rule)
{
	return fixture_get(&gate_scene_plan(&s, &s.f.arena->orgs[org])
				    ->rules[rule]
				    .tripped);
}

/* Keys 1 and 2 of organization 1 and a project; 3 of no project. */
static void open_with(struct rule *rules, uint32_t count)
{
	gate_scene_org(&s, 1, rules, count);
	fixture_project(&s.f, 1, 1);
	gate_scene_key(&s, 1, 1, 1);
	gate_scene_key(&s, 2, 1, 1);
	gate_scene_key(&s, 3, 1, 0);
}

static void open_scene(void)
{
	gate_scene_open(&s, STEP_ASKS_MAX + 10, 1);
}

Test(step, denied_by_one_charges_none)
{
	struct rule rules[4];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(10, 1000 * MS);
	rules[1] = fixture_rule(&s.f, fixture_gcra(3, NS_PER_MS), LEVEL_KEY, 9);
	rules[2] = fixture_rule(&s.f, fixture_window(7, 1000 * MS),
				LEVEL_PROJECT, 9);
	rules[3] = fixture_gcra(8, NS_PER_MS);
	open_with(rules, 4);
	cr_assert_eq(ask(1, 3, NULL, T0).reason, REASON_ALLOW);
	v = ask(1, 1, NULL, T0);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	cr_assert_str_eq(v.limit_name, "gcra");
	cr_assert_eq(v.limit, 3);
	cr_assert_eq(ask(2, 3, NULL, T0).reason, REASON_ALLOW);
	v = ask(3, 2, NULL, T0);
	cr_assert_eq(v.reason, REASON_ALLOW, "it is of no project");
	cr_assert_eq(v.remaining, 0, "the least room of all");
	cr_assert_eq(v.limit, 8);
	cr_assert_eq(ask(3, 1, NULL, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(used(1), used_add(0, 3, 1));
	cr_assert_eq(used(2), used_add(0, 3, 1));
	cr_assert_eq(used(3), used_add(0, 2, 1));
	cr_assert_eq(tripped(1, 1), 1);
	cr_assert_eq(tripped(1, 3), 1);
	gate_scene_close(&s);
}

/* One unit in 31 days: 6,888 times that is 2^64 ns and some. */
Test(step, cost_whose_time_overflows_is_denied)
{
	const uint64_t unit_ns = WINDOW_MS_MAX * NS_PER_MS;
	struct rule rules[1] = {fixture_gcra(1, unit_ns)};
	struct rule two[2] = {fixture_window(100000, 1000 * MS),
			      fixture_gcra(1, unit_ns)};
	struct verdict v;

	cr_assert_lt(6888 * unit_ns, unit_ns, "it is the overflow");
	open_scene();
	open_with(rules, 1);
	gate_scene_org(&s, 2, two, 2);
	gate_scene_key(&s, 4, 2, 0);
	for (uint32_t key = 1; key <= 4; key += 3) {
		v = ask(key, 6888, NULL, T0);
		cr_assert_eq(v.reason, REASON_COST_ABOVE_LIMIT);
		cr_assert_eq(v.retry_ms, 0);
		cr_assert_eq(used(key), 0);
		cr_assert_eq(ask(key, 1, NULL, T0).reason, REASON_ALLOW);
	}
}

Test(step, rule_with_the_longest_wait_is_named)
{
	struct rule rules[3];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(2, 1000 * MS);
	rules[1] = fixture_window(2, 3000 * MS);
	memcpy(rules[1].name, "long", 5);
	rules[2] = fixture_gcra(2, 2000 * NS_PER_MS);
	open_with(rules, 3);
	ask(1, 2, NULL, T0);
	v = ask(1, 1, NULL, T0);
	cr_assert_str_eq(v.limit_name, "long");
	cr_assert_eq(v.retry_ms, 3000);
	/* Never is longer than any wait. */
	v = ask(1, 3, NULL, T0);
	cr_assert_eq(v.reason, REASON_COST_ABOVE_LIMIT);
	cr_assert_eq(v.retry_ms, 0);
	gate_scene_close(&s);
}

Test(step, shadow_counts_and_denies_nothing)
{
	struct rule rules[2];
	struct verdict v;
	unsigned i;

	open_scene();
	rules[0] = fixture_window(10, 1000 * MS);
	rules[1] = fixture_window(3, 1000 * MS);
	rules[1].flags = RULE_SHADOW;
	open_with(rules, 2);
	for (i = 0; i < 10; i++) {
		v = ask(1, 1, NULL, T0);
		cr_assert_eq(v.reason, REASON_ALLOW);
		cr_assert_eq(v.limit, 10);
	}
	cr_assert_eq(tripped(1, 1), 7);
	cr_assert_eq(ask(1, 1, NULL, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(tripped(1, 0), 1);
	gate_scene_close(&s);
}

Test(step, rule_of_requests_counts_one_whatever_the_cost)
{
	struct rule rules[2];

	open_scene();
	rules[0] = fixture_window(1000, 1000 * MS);
	rules[1] = fixture_window(3, 1000 * MS);
	rules[1].flags = RULE_REQUESTS;
	open_with(rules, 2);
	cr_assert_eq(ask(1, 300, NULL, T0).remaining, 2);
	cr_assert_eq(ask(1, 300, NULL, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 300, NULL, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 1, NULL, T0).reason, REASON_RATE_LIMITED);
	gate_scene_close(&s);
}

Test(step, rule_of_a_route_looks_at_no_other)
{
	struct check_extra chat = {.route_hash = label_hash("chat", 4)};
	struct check_extra list = {.route_hash = label_hash("list", 4)};
	struct rule rules[2];

	open_scene();
	rules[0] = fixture_window(10, 1000 * MS);
	rules[1] = fixture_window(2, 1000 * MS);
	rules[1].route = chat.route_hash;
	open_with(rules, 2);
	cr_assert_eq(ask(1, 2, &chat, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 1, &chat, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(ask(1, 5, &list, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 3, NULL, T0).reason, REASON_ALLOW);
	gate_scene_close(&s);
}

/* Each label of each organization has a meter, declared or not. */
Test(step, rule_of_level_route_counts_each_label)
{
	struct check_extra a = {.route_hash = label_hash("a", 1)};
	struct check_extra b = {.route_hash = label_hash("b", 1)};
	struct rule rules[1];

	open_scene();
	rules[0] = fixture_rule(&s.f, fixture_window(2, 1000 * MS), LEVEL_ROUTE,
				9);
	open_with(rules, 1);
	gate_scene_org(&s, 2, rules, 1);
	gate_scene_key(&s, 4, 2, 0);
	cr_assert_eq(ask(1, 2, &a, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(2, 1, &a, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(ask(2, 2, &b, T0).reason, REASON_ALLOW);
	cr_assert_eq(ask(4, 2, &a, T0).reason, REASON_ALLOW, "another's");
	cr_assert_eq(ask(1, 100, NULL, T0).reason, REASON_ALLOW, "no label");
	gate_scene_close(&s);
}

/* A key that was never seen has no meter yet: what a peek is told is each
 * rule's own. */
Test(step, peek_at_an_unseen_subject_asks_each_rule)
{
	struct rule rules[3];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(100, 1000 * MS);
	rules[1] =
		fixture_rule(&s.f, fixture_window(50, 1000 * MS), LEVEL_KEY, 9);
	rules[2] = fixture_rule(&s.f, fixture_gcra(5, NS_PER_MS), LEVEL_KEY, 9);
	open_with(rules, 3);
	v = ask_with(1, 1, CHECK_PEEK, NULL, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.limit, 5);
	cr_assert_eq(v.remaining, 5);
	cr_assert_eq(ask_with(1, 6, CHECK_PEEK, NULL, T0).reason,
		     REASON_COST_ABOVE_LIMIT);
	gate_scene_close(&s);
}

/* The meters of the check before it in the same place are not its own. */
Test(step, refused_check_is_told_nothing_of_another_key)
{
	struct rule rules[2];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(100, 1000 * MS);
	rules[1] =
		fixture_rule(&s.f, fixture_window(5, 1000 * MS), LEVEL_KEY, 9);
	open_with(rules, 2);
	cr_assert_eq(ask(1, 4, NULL, T0).remaining, 1);
	atomic_store_explicit(&s.f.arena->orgs[1].state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	v = ask(2, 1, NULL, T0);
	cr_assert_eq(v.reason, REASON_SUSPENDED);
	cr_assert_eq(v.remaining, 5, "its own");
	cr_assert_eq(v.limit, 5);
	gate_scene_close(&s);
}

Test(step, shadow_of_a_check_before_is_not_counted_again)
{
	struct rule rules[2];

	open_scene();
	rules[0] = fixture_window(100, 1000 * MS);
	rules[1] = fixture_window(3, 1000 * MS);
	rules[1].flags = RULE_SHADOW;
	open_with(rules, 2);
	ask(1, 4, NULL, T0);
	cr_assert_eq(tripped(1, 1), 1);
	atomic_store_explicit(&s.f.arena->orgs[1].state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	ask(1, 1, NULL, T0);
	cr_assert_eq(tripped(1, 1), 1);
	gate_scene_close(&s);
}

/* ---- budgets and credits ---- */

Test(step, budget_ends_with_its_period_and_begins_anew)
{
	struct rule rules[1];
	struct budget *b;
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(1000, MS);
	open_with(rules, 1);
	b = &s.f.arena->projects[1].budgets[0];
	fixture_budget(b, 10, 7, WALL_MS + 1000, WALL_MS + 3000);
	v = ask(1, 6, NULL, T0);
	cr_assert_eq(v.budget, 4);
	cr_assert_eq(fixture_get(&b->used), BUDGET_WORD(7, 6));
	v = ask(2, 5, NULL, T0);
	cr_assert_eq(v.reason, REASON_BUDGET, "the project's, not the key's");
	cr_assert_eq(v.budget, 4);
	cr_assert_eq(v.retry_ms, 1000, "until the period ends");
	cr_assert_eq(ask(1, 11, NULL, T0).retry_ms, 0, "above the cap");
	cr_assert_eq(ask(3, 50, NULL, T0).reason, REASON_ALLOW);
	s.wall_ms = WALL_MS + 999;
	v = ask(1, 5, NULL, T0);
	cr_assert_eq(v.reason, REASON_BUDGET);
	cr_assert_eq(v.retry_ms, 1);
	s.wall_ms = WALL_MS + 1000;
	cr_assert_eq(ask(1, 9, NULL, T0).budget, 1);
	cr_assert_eq(fixture_get(&b->used), BUDGET_WORD(8, 9));
	/* A clock that goes back does not bring the old period back. */
	s.wall_ms = WALL_MS;
	v = ask(1, 2, NULL, T0);
	cr_assert_eq(v.reason, REASON_BUDGET);
	cr_assert_eq(v.retry_ms, 3000);
	s.wall_ms = WALL_MS + 3000;
	cr_assert_eq(ask(1, 10, NULL, T0).budget, 0);
	cr_assert_eq(fixture_get(&b->used), BUDGET_WORD(9, 10));
	gate_scene_close(&s);
}

Test(step, both_budgets_bind)
{
	struct rule rules[1];
	struct project *p;
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(1000, MS);
	open_with(rules, 1);
	p = &s.f.arena->projects[1];
	fixture_budget(&p->budgets[0], 10, 1, WALL_MS + 1000, WALL_MS + 2000);
	fixture_budget(&p->budgets[1], 15, 1, WALL_MS + 9000, WALL_MS + 99999);
	v = ask(1, 8, NULL, T0);
	cr_assert_eq(v.budget, 2);
	s.wall_ms += 1000;
	v = ask(1, 6, NULL, T0);
	cr_assert_eq(v.budget, 1, "of the longer one");
	v = ask(1, 2, NULL, T0);
	cr_assert_eq(v.reason, REASON_BUDGET);
	cr_assert_eq(v.budget, 1);
	cr_assert_eq(v.retry_ms, 8000);
	v = ask(1, 5, NULL, T0);
	cr_assert_eq(v.retry_ms, 8000, "of the one that ends last");
	cr_assert_eq(fixture_get(&p->budgets[0].used), BUDGET_WORD(2, 6));
	cr_assert_eq(fixture_get(&p->budgets[1].used), BUDGET_WORD(1, 14));
	gate_scene_close(&s);
}

Test(step, each_threshold_is_told_when_it_is_crossed)
{
	struct rule rules[1];
	struct project *p;
	unsigned i, told = 0;

	open_scene();
	rules[0] = fixture_window(1000, MS);
	open_with(rules, 1);
	p = &s.f.arena->projects[1];
	fixture_budget(&p->budgets[0], 10, 1, WALL_MS + 1000, WALL_MS + 2000);
	for (i = 1; i <= 10; i++) {
		cr_assert_eq(ask(1, 1, NULL, T0).reason, REASON_ALLOW);
		told += p->attention;
		cr_assert_eq(p->attention, i == 5 || i == 8 || i == 10, "%u",
			     i);
		atomic_store_explicit(&p->attention, 0, memory_order_relaxed);
	}
	cr_assert_eq(told, 3);
	cr_assert_eq(counter_read(&s.counters.thresholds), 3);
	gate_scene_close(&s);
}

Test(step, credits_are_drawn_in_the_order_of_the_pools)
{
	uint64_t chat = label_hash("chat", 4);
	struct check_extra extra = {.route_hash = chat};
	const uint64_t granted[] = {5, 3, 10}, routes[] = {chat, 0, 0};
	struct rule rules[1];
	struct credits *credits;
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(1000, MS);
	open_with(rules, 1);
	credits =
		gate_scene_credits(&s, &s.f.arena->orgs[1], granted, routes, 3);
	fixture_set(&credits->pools[1].expires_ms, WALL_MS + 1);
	v = ask(1, 7, &extra, T0);
	cr_assert_eq(v.credits, 11);
	cr_assert_eq(fixture_get(&credits->pools[0].used), 5);
	cr_assert_eq(fixture_get(&credits->pools[1].used), 2);
	s.wall_ms++;
	v = ask(1, 11, NULL, T0);
	cr_assert_eq(v.reason, REASON_CREDITS);
	cr_assert_eq(v.credits, 10, "one has expired with its pool");
	v = ask(1, 10, NULL, T0);
	cr_assert_eq(v.credits, 0);
	v = ask(1, 1, NULL, T0);
	cr_assert_eq(v.reason, REASON_CREDITS);
	cr_assert_eq(v.retry_ms, 0);
	cr_assert_eq(used(1), used_add(0, 17, 2));
	gate_scene_close(&s);
}

/* ---- request ids ---- */

Test(step, same_request_id_is_charged_once)
{
	struct check_extra id = {.once = {1, 2}}, other = {.once = {1, 3}};
	struct rule rules[1];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(10, 10000 * MS);
	open_with(rules, 1);
	cr_assert_eq(ask(1, 8, &id, T0).flags, 0);
	v = ask(1, 8, &id, T0 + NS_PER_MS);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.flags, VERDICT_REPEATED);
	cr_assert_eq(v.charged, 0);
	cr_assert_eq(v.remaining, 2);
	cr_assert_eq(used(1), used_add(0, 8, 1));
	/* Another key, another cost, another id: not the same. */
	cr_assert_eq(ask(2, 8, &id, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(ask(1, 9, &id, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(ask(1, 8, &other, T0).reason, REASON_RATE_LIMITED);
	/* Forgotten after its time, not a nanosecond before. */
	cr_assert_eq(ask(1, 8, &id, T0 + 1000 * NS_PER_MS - 1).flags,
		     VERDICT_REPEATED);
	cr_assert_eq(ask(1, 8, &id, T0 + 1000 * NS_PER_MS).reason,
		     REASON_RATE_LIMITED);
	/* One that was denied is not remembered. */
	cr_assert_eq(ask(1, 8, &other, T0 + 10001 * NS_PER_MS).flags, 0);
	gate_scene_close(&s);
}

/* Small numbers, as a client may count them: none is taken for another. */
Test(step, request_ids_that_are_alike_are_told_apart)
{
	struct rule rule = fixture_window(60000, 1000 * MS);
	struct check_extra id = {0};
	uint32_t key, cost;

	open_scene();
	open_with(&rule, 1);
	for (id.once[0] = 0; id.once[0] < 8; id.once[0]++)
		for (id.once[1] = 1; id.once[1] < 9; id.once[1]++)
			for (cost = 1; cost < 9; cost++)
				for (key = 1; key < 3; key++)
					cr_assert_eq(
						ask(key, cost, &id, T0).charged,
						cost, "%lu %lu of %u, key %u",
						id.once[0], id.once[1], cost,
						key);
	gate_scene_close(&s);
}

Test(step, same_request_id_twice_in_a_batch_is_charged_once)
{
	struct check_extra id = {.once = {1, 2}};
	struct instant now = instant_at(T0);
	struct check checks[3];
	struct verdict v[3];
	struct rule rules[1];
	unsigned i;

	open_scene();
	rules[0] = fixture_window(10, 10000 * MS);
	open_with(rules, 1);
	for (i = 0; i < 3; i++)
		checks[i] = check_of_key(1, 6, &id);
	gate_decide(&s.gate, checks, v, 3, &now, WALL_MS);
	for (i = 0; i < 3; i++) {
		cr_assert_eq(v[i].reason, REASON_ALLOW);
		cr_assert_eq(v[i].flags, i == 0 ? 0 : VERDICT_REPEATED);
	}
	cr_assert_eq(used(1), used_add(0, 6, 1));
	gate_scene_close(&s);
}

/* The entry of a request id was another's before, with that one's hold. */
Test(step, repeated_request_names_no_hold_of_another)
{
	struct check_extra id = {.once = {1, 2}};
	struct rule rules[1];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(100, MS);
	open_with(rules, 1);
	v = ask_with(1, 1, CHECK_RESERVE, &id, T0);
	cr_assert_neq(v.hold, 0);
	cr_assert_eq(ask_with(1, 1, CHECK_RESERVE, &id, T0 + 1).hold, v.hold);
	/* Later, and without a hold this time. */
	v = ask(1, 1, &id, T0 + 2000 * NS_PER_MS);
	cr_assert_eq(v.hold, 0);
	v = ask(1, 1, &id, T0 + 2001 * NS_PER_MS);
	cr_assert_eq(v.flags, VERDICT_REPEATED);
	cr_assert_eq(v.hold, 0);
	gate_scene_close(&s);
}

/* A client that repeats its request is told what it was told before, even if
 * the address has used up its limit since, or no hold is free. */
Test(step, repeated_request_is_allowed_before_anything_is_full)
{
	struct check_extra id = {.once = {1, 2}, .has_address = true};
	struct rule rules[2];
	struct verdict v;
	unsigned i;

	open_scene();
	rules[0] = fixture_window(1000, MS);
	rules[1] = fixture_rule(&s.f, fixture_window(2, 100 * MS),
				LEVEL_ADDRESS, 9);
	open_with(rules, 2);
	v = ask_with(1, 2, CHECK_RESERVE, &id, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	for (i = 0; i < s.f.arena->header->holds_count - 1; i++)
		cr_assert_eq(ask_with(1, 1, CHECK_RESERVE, NULL, T0).reason,
			     REASON_ALLOW);
	v = ask_with(1, 1, CHECK_RESERVE, NULL, T0);
	cr_assert_eq(v.reason, REASON_FULL);
	/* It is no rule's table: they tell what they have left. */
	cr_assert_gt(v.remaining, 0);
	v = ask_with(1, 2, CHECK_RESERVE, &id, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.flags, VERDICT_REPEATED);
	cr_assert_eq(v.charged, 0);
	cr_assert_neq(v.hold, 0);
	id.once[1] = 3;
	cr_assert_eq(ask(1, 2, &id, T0).reason, REASON_RATE_LIMITED);
	atomic_store_explicit(&s.f.arena->orgs[1].state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	id.once[1] = 2;
	cr_assert_eq(ask(1, 2, &id, T0).reason, REASON_SUSPENDED);
	gate_scene_close(&s);
}

/* Those outside the organization too. */
Test(step, longest_wait_of_all_levels_is_named)
{
	struct check_extra extra = {.has_address = true, .address = {32, 1}};
	struct rule rules[4];
	struct verdict v;

	open_scene();
	rules[0] = fixture_window(3, 50 * MS);
	rules[1] = fixture_rule(&s.f, fixture_window(2, 10 * MS), LEVEL_ADDRESS,
				9);
	rules[2] = fixture_rule(&s.f, fixture_window(2, 30 * MS), LEVEL_ADDRESS,
				9);
	rules[3] = fixture_rule(&s.f, fixture_window(2, 70 * MS), LEVEL_KEY, 9);
	open_with(rules, 4);
	cr_assert_eq(ask(1, 2, &extra, T0).reason, REASON_ALLOW);
	v = ask(1, 1, &extra, T0); /* 1, 2 and 3 */
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_eq(v.window_ms, rules[3].period_ms);
	cr_expect_eq(v.retry_ms, v.reset_ms);
	v = ask(2, 1, &extra, T0); /* 1 and 2 */
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_eq(v.window_ms, rules[2].period_ms);
	cr_expect_eq(ask(2, 1, NULL, T0).reason, REASON_ALLOW);
	v = ask(2, 1, &extra, T0); /* 0, 1 and 2 */
	cr_expect_eq(v.window_ms, rules[0].period_ms);
	v = ask(2, 3, &extra, T0); /* all but the first can never */
	cr_expect_eq(v.reason, REASON_COST_ABOVE_LIMIT);
	cr_expect_eq(v.retry_ms, 0);
	v = ask(2, 2, &extra, T0 + 60 * NS_PER_MS); /* nothing is held */
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_eq(v.window_ms, rules[3].period_ms);
	cr_expect_eq(tripped(1, 3) + tripped(1, 2) + tripped(1, 0), 4);
	gate_scene_close(&s);
}

/* ---- holds ---- */

Test(step, every_hold_has_a_name_and_each_its_own)
{
	struct check checks[STEP_ASKS_MAX];
	struct verdict v[STEP_ASKS_MAX];
	struct instant now = instant_at(T0);
	struct rule rules[1];
	unsigned i, j, round, full = 0;

	open_scene();
	rules[0] = fixture_window(10000, MS);
	open_with(rules, 1);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < STEP_ASKS_MAX; i++) {
			checks[i] = check_of_key(1, 1, NULL);
			checks[i].flags = CHECK_RESERVE;
		}
		gate_decide(&s.gate, checks, v, STEP_ASKS_MAX, &now, WALL_MS);
		for (i = 0; i < STEP_ASKS_MAX; i++) {
			if (v[i].reason == REASON_FULL) {
				full++;
				cr_assert_eq(v[i].hold, 0);
				continue;
			}
			cr_assert_neq(v[i].hold, 0, "that is none");
			for (j = 0; j < i; j++)
				cr_assert_neq(v[i].hold, v[j].hold);
		}
	}
	cr_assert_eq(full, 3 * STEP_ASKS_MAX - s.f.arena->header->holds_count);
	gate_scene_close(&s);
}

/* 503 comes last: what another reason denies is not told to come back. */
Test(step, no_room_is_the_last_reason)
{
	struct rule rules[1];
	uint64_t granted = 1000;
	unsigned i;

	open_scene();
	rules[0] = fixture_window(STEP_ASKS_MAX + 12, 1000 * MS);
	open_with(rules, 1);
	gate_scene_credits(&s, &s.f.arena->orgs[1], &granted, NULL, 1);
	fixture_budget(&s.f.arena->projects[1].budgets[0], STEP_ASKS_MAX + 11,
		       1, WALL_MS + 1000, WALL_MS + 2000);
	for (i = 0; i < STEP_ASKS_MAX + 10; i++)
		ask_with(1, 1, CHECK_RESERVE, NULL, T0);
	cr_assert_eq(ask_with(1, 1, CHECK_RESERVE, NULL, T0).reason,
		     REASON_FULL);
	cr_assert_eq(ask_with(1, 2, CHECK_RESERVE, NULL, T0).reason,
		     REASON_BUDGET);
	cr_assert_eq(ask_with(1, 3, CHECK_RESERVE, NULL, T0).reason,
		     REASON_RATE_LIMITED);
	gate_scene_close(&s);
}

Test(step, largest_plan_and_most_pools_fit_into_a_claim)
{
	static struct rule rules[PLAN_RULES_MAX];
	uint64_t granted[CREDIT_POOLS_MAX];
	struct check checks[STEP_ASKS_MAX];
	struct verdict v[STEP_ASKS_MAX];
	struct instant now = instant_at(T0);
	unsigned i;

	open_scene();
	for (i = 0; i < PLAN_RULES_MAX; i++)
		rules[i] = i < PLAN_METERS_MAX
				   ? fixture_window(1000, 1000 * MS)
				   : fixture_rule(&s.f,
						  fixture_gcra(1000, NS_PER_MS),
						  LEVEL_KEY, 30);
	for (i = 0; i < CREDIT_POOLS_MAX; i++)
		granted[i] = 50;
	open_with(rules, PLAN_RULES_MAX);
	for (i = 4; i < 4 + STEP_ASKS_MAX; i++)
		gate_scene_key(&s, i, 1, 1);
	gate_scene_credits(&s, &s.f.arena->orgs[1], granted, NULL,
			   CREDIT_POOLS_MAX);
	for (i = 0; i < STEP_ASKS_MAX; i++)
		checks[i] = check_of_key(4 + i, 20, NULL);
	gate_decide(&s.gate, checks, v, STEP_ASKS_MAX, &now, WALL_MS);
	for (i = 0; i < STEP_ASKS_MAX; i++) {
		cr_assert_eq(v[i].reason, REASON_ALLOW, "%u", i);
		cr_assert_eq(v[i].credits,
			     50u * CREDIT_POOLS_MAX - 20 * (i + 1));
		cr_assert_eq(used(4 + i), used_add(0, 20, 1));
	}
	gate_scene_close(&s);
}

Test(step, reset_of_several_rules_leaves_room_for_what_there_was_at_first)
{
	struct rule rules[2] = {fixture_gcra(3, 3600000 * NS_PER_MS),
				fixture_window(9, 3600000 * MS)};
	struct org *org;
	unsigned i;

	open_scene();
	open_with(rules, 2);
	org = &s.f.arena->orgs[1];
	for (i = 0; i < 5; i++) {
		cr_assert_eq(ask(3, 3, NULL, instant_now().ns).reason,
			     REASON_ALLOW);
		cr_assert_eq(ask(3, 1, NULL, instant_now().ns).reason,
			     REASON_RATE_LIMITED);
		meter_reset(&s.gate.claim, &org->gate,
			    &gate_scene_plan(&s, org)->rules[0], &org->first,
			    NULL, 0);
		meter_reset(&s.gate.claim, &org->gate,
			    &gate_scene_plan(&s, org)->rules[1],
			    org_meter(s.f.arena, org, 1), NULL, 0);
	}
	cr_assert_eq(used(3), used_add(0, 15, 5));
	gate_scene_close(&s);
}
