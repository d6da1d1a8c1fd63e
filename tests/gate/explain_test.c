/* SPDX-License-Identifier: MIT */
/* What an explanation holds, and that it changes no verdict. */
#include "gate_scene.h"

#include <criterion/criterion.h>

#define T UINT64_C(1000000000000)

static struct gate_scene scene;

static void open_scene(void)
{
	gate_scene_open(&scene, 100, 1);
}

static void close_scene(void)
{
	gate_scene_close(&scene);
}

TestSuite(explain, .init = open_scene, .fini = close_scene);

static struct verdict explained(uint32_t key, uint32_t cost, uint8_t flags,
				const struct check_extra *x)
{
	struct check c = check_of_key(key, cost, x);

	c.flags = flags | CHECK_EXPLAIN;
	return gate_scene_ask(&scene, &c, T);
}

static struct verdict asked(uint32_t key, uint32_t cost,
			    const struct check_extra *x)
{
	struct check c = check_of_key(key, cost, x);

	return gate_scene_ask(&scene, &c, T);
}

static const struct explain_line *line_of(const struct verdict *v,
					  const char *name)
{
	cr_assert_not_null(v->explain);
	for (unsigned i = 0; i < v->explain->count; i++)
		if (strncmp(v->explain->lines[i].name, name, LIMIT_NAME_LEN) ==
		    0)
			return &v->explain->lines[i];
	return NULL;
}

static void expect(const struct verdict *v, const char *name, bool allowed,
		   uint64_t limit, uint64_t remaining, unsigned flags)
{
	const struct explain_line *l = line_of(v, name);

	cr_assert_not_null(l, "%s", name);
	cr_expect_eq(l->allowed, allowed, "%s", name);
	cr_expect_eq(l->limit, limit, "%s", name);
	cr_expect_eq(l->remaining, remaining, "%s: %lu", name, l->remaining);
	cr_expect_eq(l->flags, flags, "%s", name);
}

/* A rule with a name of its own. */
static struct rule named(struct rule r, const char *name)
{
	memset(r.name, 0, sizeof(r.name));
	memcpy(r.name, name, strlen(name));
	return r;
}

static struct rule table_rule(struct rule r, const char *name, uint8_t level,
			      uint32_t subjects)
{
	return fixture_rule(&scene.f, named(r, name), level, subjects);
}

static const struct check_extra from_address = {
	.has_address = true,
	.address = {[10] = 0xff, [11] = 0xff, [15] = 1},
};

Test(explain, numbers_are_those_before_the_charge)
{
	struct rule rules[] = {fixture_window(10, 1000 * MS)};
	struct verdict v;

	gate_scene_org(&scene, 1, rules, 1);
	gate_scene_key(&scene, 1, 1, 0);
	v = explained(1, 3, 0, NULL);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.charged, 3);
	cr_assert_eq(v.remaining, 7);
	cr_assert_eq(v.explain->count, 1);
	expect(&v, "org", true, 10, 10, 0);
	v = explained(1, 8, 0, NULL);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	expect(&v, "org", false, 10, 7, EXPLAIN_DECIDED);
	cr_assert_eq(line_of(&v, "org")->retry_ms, v.retry_ms);
	cr_assert_eq(line_of(&v, "org")->window_ms, 1000);
}

Test(explain, a_peek_is_explained_and_charges_nothing)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000), "each", LEVEL_KEY, 10)};
	struct verdict v;

	gate_scene_org(&scene, 1, rules, 2);
	gate_scene_key(&scene, 1, 1, 0);
	v = explained(1, 3, CHECK_PEEK, NULL);
	cr_assert_eq(v.reason, REASON_ALLOW);
	expect(&v, "each", true, 5, 5, 0);
	v = explained(1, 3, CHECK_PEEK, NULL);
	expect(&v, "org", true, 10, 10, 0);
	expect(&v, "each", true, 5, 5, 0);
}

Test(explain, rules_that_do_not_apply_have_no_line)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		named(fixture_gcra(5, 1000000), "search"),
		table_rule(fixture_gcra(5, 1000000), "project", LEVEL_PROJECT,
			   10),
		table_rule(fixture_gcra(5, 1000000), "route", LEVEL_ROUTE, 10),
		table_rule(fixture_gcra(5, 1000000), "address", LEVEL_ADDRESS,
			   10)};
	struct check_extra x = from_address;
	struct verdict v;

	rules[1].route = label_hash("search", 6);
	gate_scene_org(&scene, 1, rules, 5);
	gate_scene_key(&scene, 1, 1, 0);
	v = explained(1, 1, 0, NULL);
	cr_assert_eq(v.explain->count, 1);
	x.route_hash = label_hash("search", 6);
	v = explained(1, 1, 0, &x);
	cr_assert_eq(v.explain->count, 4);
	cr_assert_null(line_of(&v, "project"));
	cr_assert_eq(line_of(&v, "address")->level, LEVEL_ADDRESS);
	cr_assert_eq(line_of(&v, "address")->algorithm, RULE_GCRA);
}

Test(explain, the_rule_that_decides_has_the_longest_wait)
{
	struct rule rules[] = {fixture_window(2, 1000 * MS),
			       named(fixture_window(2, 5000 * MS), "long"),
			       named(fixture_window(2, 3000 * MS), "middle")};
	struct verdict v;

	gate_scene_org(&scene, 1, rules, 3);
	gate_scene_key(&scene, 1, 1, 0);
	asked(1, 2, NULL);
	v = explained(1, 1, 0, NULL);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	expect(&v, "org", false, 2, 0, 0);
	expect(&v, "long", false, 2, 0, EXPLAIN_DECIDED);
	expect(&v, "middle", false, 2, 0, 0);
}

Test(explain, a_shadow_says_no_and_decides_nothing)
{
	struct rule rules[] = {fixture_window(10, 1000 * MS),
			       named(fixture_window(1, 1000 * MS), "strict")};
	struct verdict v;

	rules[1].flags = RULE_SHADOW;
	gate_scene_org(&scene, 1, rules, 2);
	gate_scene_key(&scene, 1, 1, 0);
	v = explained(1, 2, 0, NULL);
	cr_assert_eq(v.reason, REASON_ALLOW);
	expect(&v, "strict", false, 1, 1, EXPLAIN_SHADOW);
}

Test(explain, budgets_and_credits_have_lines)
{
	struct rule rules[] = {fixture_window(100, 1000 * MS)};
	const uint64_t granted[] = {4, 20};
	struct project *project;
	struct verdict v;
	struct org *org = gate_scene_org(&scene, 1, rules, 1);

	project = fixture_project(&scene.f, 1, 1);
	fixture_budget(&project->budgets[0], 50, 1, WALL_MS + 7000,
		       WALL_MS + 9000);
	fixture_budget(&project->budgets[1], 8, 1, WALL_MS - 1, WALL_MS + 3000);
	gate_scene_credits(&scene, org, granted, NULL, 2);
	gate_scene_key(&scene, 1, 1, 1);
	v = explained(1, 5, 0, NULL);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.explain->count, 4);
	expect(&v, "budget", true, 50, 50, 0);
	expect(&v, "budget.1", true, 8, 8, 0);
	expect(&v, "credits", true, 24, 24, 0);
	v = explained(1, 5, 0, NULL);
	cr_assert_eq(v.reason, REASON_BUDGET);
	expect(&v, "budget", true, 50, 45, 0);
	expect(&v, "budget.1", false, 8, 3, EXPLAIN_DECIDED);
	expect(&v, "credits", true, 24, 19, 0);
	cr_assert_eq(line_of(&v, "budget")->reset_ms, 7000);
	cr_assert_eq(line_of(&v, "budget.1")->reset_ms, 3000);
	cr_assert_eq(line_of(&v, "budget.1")->retry_ms, 3000);
	cr_assert_eq(line_of(&v, "budget.1")->level, LEVEL_PROJECT);
	cr_assert_eq(line_of(&v, "budget.1")->algorithm, EXPLAIN_BUDGET);
	fixture_set(&project->budgets[1].cap, BUDGET_NONE);
	v = explained(1, 20, 0, NULL);
	cr_assert_eq(v.reason, REASON_CREDITS);
	expect(&v, "credits", false, 24, 19, EXPLAIN_DECIDED);
	cr_assert_eq(line_of(&v, "credits")->algorithm, EXPLAIN_CREDITS);
}

Test(explain, a_denial_at_the_address_still_tells_the_rest)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		table_rule(fixture_gcra(1, 1000000), "address", LEVEL_ADDRESS,
			   10),
		table_rule(fixture_gcra(5, 1000000), "each", LEVEL_KEY, 10),
		table_rule(fixture_gcra(9, 1000000), "address2", LEVEL_ADDRESS,
			   10)};
	struct verdict v;

	gate_scene_org(&scene, 1, rules, 4);
	gate_scene_key(&scene, 1, 1, 0);
	asked(1, 1, &from_address);
	v = explained(1, 1, 0, &from_address);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	cr_assert_eq(v.explain->count, 4);
	expect(&v, "address", false, 1, 0, EXPLAIN_DECIDED);
	expect(&v, "org", true, 10, 9, 0);
	expect(&v, "each", true, 5, 4, 0);
	expect(&v, "address2", true, 9, 8, 0);
	/* and holds nothing there */
	v = explained(1, 1, CHECK_PEEK, &from_address);
	expect(&v, "address2", true, 9, 8, 0);
}

Test(explain, what_is_refused_by_its_state_has_lines_and_no_reason_in_them)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000), "each", LEVEL_KEY, 10)};
	struct org *org = gate_scene_org(&scene, 1, rules, 2);
	struct verdict v;

	gate_scene_key(&scene, 1, 1, 0);
	atomic_store_explicit(&org->state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	v = explained(1, 1, 0, NULL);
	cr_assert_eq(v.reason, REASON_SUSPENDED);
	expect(&v, "org", true, 10, 10, 0);
	expect(&v, "each", true, 5, 5, 0);
}

/* With the explanation and without it the same numbers are told. */
Test(explain, what_is_refused_by_its_state_is_told_the_least_room_of_all)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000), "each", LEVEL_KEY, 10),
		table_rule(fixture_gcra(1, 1000000), "shadow", LEVEL_ADDRESS,
			   10)};
	struct org *org;
	struct verdict v, w;

	rules[2].flags |= RULE_SHADOW;
	org = gate_scene_org(&scene, 1, rules, 3);
	gate_scene_key(&scene, 1, 1, 0);
	asked(1, 1, &from_address);
	atomic_store_explicit(&org->state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	v = asked(1, 1, &from_address);
	w = explained(1, 1, 0, &from_address);
	cr_assert_eq(v.reason, REASON_SUSPENDED);
	cr_expect_str_eq(v.limit_name, "each");
	cr_expect_eq(v.remaining, 4);
	cr_expect_eq(v.retry_ms, 0);
	cr_expect_str_eq(w.limit_name, "each");
	cr_expect_eq(w.remaining, 4);
	cr_expect_eq(
		fixture_get(&gate_scene_plan(&scene, org)->rules[2].tripped), 0,
		"no rule was asked");
}

Test(explain, no_room_for_a_subject_is_told)
{
	struct rule rules[] = {
		fixture_window(1000, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000000), "each", LEVEL_KEY, 1)};
	struct verdict v = {.reason = REASON_ALLOW};
	uint64_t counted;
	uint32_t key = 0;

	gate_scene_org(&scene, 1, rules, 2);
	while (v.reason == REASON_ALLOW && key < 100) {
		gate_scene_key(&scene, ++key, 1, 0);
		v = asked(key, 1, NULL);
	}
	cr_assert_eq(v.reason, REASON_FULL);
	cr_assert_str_eq(v.limit_name, "each");
	cr_assert_eq(v.limit, 5);
	cr_assert_eq(v.remaining, 0);
	cr_assert_eq(v.reset_ms, 0);
	v = explained(key, 1, 0, NULL);
	cr_assert_eq(v.reason, REASON_FULL);
	expect(&v, "each", false, 5, 0, EXPLAIN_DECIDED);
	counted = atomic_load(&scene.gate.counters->subjects_full);
	v = explained(key, 1, CHECK_PEEK, NULL);
	cr_assert_eq(v.reason, REASON_FULL, "who looks is told the same");
	expect(&v, "each", false, 5, 0, EXPLAIN_DECIDED);
	cr_assert_eq(atomic_load(&scene.gate.counters->subjects_full), counted);
	cr_assert_eq(explained(1, 1, CHECK_PEEK, NULL).reason, REASON_ALLOW);
}

Test(explain, an_unknown_key_has_none)
{
	struct verdict v = explained(7, 1, 0, NULL);

	cr_assert_eq(v.reason, REASON_INVALID_KEY);
	cr_assert_null(v.explain);
}

Test(explain, so_many_of_a_batch_and_no_more)
{
	struct rule rules[] = {fixture_window(100, 1000 * MS)};
	struct check checks[GATE_EXPLAINS_MAX + 2];
	struct verdict v[GATE_EXPLAINS_MAX + 2];
	struct instant now = instant_at(T);

	gate_scene_org(&scene, 1, rules, 1);
	gate_scene_key(&scene, 1, 1, 0);
	for (unsigned i = 0; i < GATE_EXPLAINS_MAX + 2; i++) {
		checks[i] = check_of_key(1, 1, NULL);
		checks[i].flags = i == 0 ? 0 : CHECK_EXPLAIN;
	}
	gate_decide(&scene.gate, checks, v, GATE_EXPLAINS_MAX + 2, &now,
		    scene.wall_ms);
	cr_assert_null(v[0].explain);
	for (unsigned i = 1; i <= GATE_EXPLAINS_MAX; i++)
		expect(&v[i], "org", true, 100, 100 - i, 0);
	cr_assert_eq(v[GATE_EXPLAINS_MAX + 1].reason, REASON_ALLOW);
	cr_assert_null(v[GATE_EXPLAINS_MAX + 1].explain);
}

Test(explain, or_not_a_denial_comes_before_no_room)
{
	struct rule rules[] = {
		fixture_window(1000, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000000), "each", LEVEL_KEY, 1),
		table_rule(fixture_gcra(1, 1000000000), "address",
			   LEVEL_ADDRESS, 10)};
	struct verdict v = {.reason = REASON_ALLOW};
	uint32_t key = 0;

	gate_scene_org(&scene, 1, rules, 3);
	while (v.reason == REASON_ALLOW && key < 100) {
		gate_scene_key(&scene, ++key, 1, 0);
		v = asked(key, 1, NULL);
	}
	cr_assert_eq(v.reason, REASON_FULL);
	cr_assert_eq(asked(1, 1, &from_address).reason, REASON_ALLOW);
	cr_assert_eq(asked(key, 1, &from_address).reason, REASON_RATE_LIMITED);
	v = explained(key, 1, 0, &from_address);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	expect(&v, "each", false, 5, 0, 0);
	expect(&v, "address", false, 1, 0, EXPLAIN_DECIDED);
}

Test(explain, subjects_that_count_as_full_are_told)
{
	struct rule rules[] = {
		fixture_window(10, 1000 * MS),
		table_rule(fixture_gcra(5, 1000000), "each", LEVEL_KEY, 10),
		table_rule(fixture_gcra(5, 1000000), "address", LEVEL_ADDRESS,
			   10)};
	struct verdict v;

	rules[2].flags = RULE_SHADOW;
	subjects_fill(scene.f.arena, rules[1].table, T + 3000 * NS_PER_MS);
	subjects_fill(scene.f.arena, rules[2].table, T + 4000 * NS_PER_MS);
	gate_scene_org(&scene, 1, rules, 3);
	gate_scene_key(&scene, 1, 1, 0);
	v = explained(1, 1, 0, &from_address);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	expect(&v, "org", true, 10, 10, 0);
	expect(&v, "each", false, 5, 0, EXPLAIN_DECIDED);
	cr_assert_eq(line_of(&v, "each")->retry_ms, 3000);
	expect(&v, "address", false, 5, 0, EXPLAIN_SHADOW);
	cr_assert_eq(line_of(&v, "address")->retry_ms, 4000);
}
