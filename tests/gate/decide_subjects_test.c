/* SPDX-License-Identifier: MIT */
/* Rules that count keys, projects, routes and addresses, and holds. */
#include "full_scene.h"

#include <criterion/criterion.h>

#define NOW (INSTANT_BIAS_NS + UINT64_C(1000000000))
#define MS_NS UINT64_C(1000000)

static struct full_scene *open_scene(void)
{
	return full_scene_new(UINT64_MAX, 1, SCENE_WALL_MS);
}

Test(decide_subjects, peek_at_subjects_never_seen_asks_each_rule)
{
	struct full_scene *s = open_scene();
	uint32_t least = s->rules[RULE_KEY_FLIGHT].limit;
	struct scene_ask ask = {.key = 1, .cost = 1, .flags = CHECK_PEEK};
	struct verdict v;

	/* The lowest limit of a subject's rule, and not that of the first. */
	cr_assert_lt(least, s->rules[RULE_KEY].limit);
	v = scene_decide(s, &ask, NOW);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(v.limit, least);
	cr_expect_str_eq(v.limit_name, "key flight");
	full_scene_free(s);
}

Test(decide_subjects, first_hold_of_all_can_be_settled)
{
	struct full_scene *s = open_scene();
	struct scene_ask ask = {.key = 3, .cost = 2, .flags = CHECK_RESERVE};
	struct verdict v;

	for (uint32_t slot = 0; slot < SCENE_HOLDS; slot++)
		fixture_set(&hold_at(s->arena, slot)->state, 0);
	v = scene_decide(s, &ask, NOW);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_neq(v.hold, 0, "0 says that there is none");
	ask.settle = v.hold;
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_ALLOW);
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_NO_HOLD);
	full_scene_free(s);
}

Test(decide_subjects, hold_of_an_arena_that_was_lost_settles_nothing)
{
	struct full_scene *lost = open_scene();
	struct full_scene *s = full_scene_new(UINT64_MAX, 1, SCENE_WALL_MS + 1);
	struct scene_ask ask = {.key = 3, .cost = 2, .flags = CHECK_RESERVE};
	struct verdict v = scene_decide(lost, &ask, NOW);

	cr_assert_neq(scene_decide(s, &ask, NOW).hold, v.hold);
	ask.settle = v.hold;
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_NO_HOLD);
	full_scene_free(lost);
	full_scene_free(s);
}

/* ---- tables whose subjects count as full ---- */

static void fill(struct full_scene *s, enum scene_rule rule, uint64_t until_ns)
{
	subjects_fill(s->arena, s->rules[rule].table, until_ns);
}

Test(decide_subjects, full_table_denies_until_its_time)
{
	struct full_scene *s = open_scene();
	struct scene_ask ask = {.key = 1, .cost = 1}, dear = {.key = 1};
	struct verdict v;

	fill(s, RULE_KEY_GCRA, NOW + 5 * MS_NS);
	v = scene_decide(s, &ask, NOW);
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_str_eq(v.limit_name, "key gcra");
	cr_expect_eq(v.limit, s->rules[RULE_KEY_GCRA].limit);
	cr_expect_eq(v.remaining, 0);
	cr_expect_eq(v.retry_ms, 5);
	cr_expect_eq(v.reset_ms, 5);
	/* No waiting helps this one. */
	dear.cost = s->rules[RULE_KEY_GCRA].limit + 1;
	v = scene_decide(s, &dear, NOW);
	cr_expect_eq(v.reason, REASON_COST_ABOVE_LIMIT);
	cr_expect_eq(v.retry_ms, 0);
	ask.flags = CHECK_PEEK;
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_RATE_LIMITED);
	ask.flags = 0;
	cr_expect_eq(scene_decide(s, &ask, NOW + 5 * MS_NS - 1).reason,
		     REASON_RATE_LIMITED);
	/* and nothing was charged by any of them */
	v = scene_decide(s, &ask, NOW + 5 * MS_NS);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(fixture_get(&s->arena->keys[1].used), used_add(0, 1, 1));
	full_scene_free(s);
}

Test(decide_subjects, full_table_concerns_who_has_such_a_subject)
{
	struct full_scene *s = open_scene();
	struct scene_ask ask = {.key = 1, .cost = 1};

	fill(s, RULE_ADDRESS, NOW + MS_NS);
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_ALLOW);
	ask.address = 1;
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_RATE_LIMITED);
	/* nothing is held there */
	ask.address = 0;
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_ALLOW);
	full_scene_free(s);
}

Test(decide_subjects, full_table_in_the_shadow_is_told_not_enforced)
{
	struct full_scene *s = open_scene();
	const struct plan *plan = plan_of(s->arena, &s->arena->orgs[1]);
	struct rule *rule = (struct rule *)(uintptr_t)&plan->rules[RULE_KEY];
	struct scene_ask ask = {.key = 1, .cost = 1};

	rule->flags |= RULE_SHADOW;
	fill(s, RULE_KEY, NOW + MS_NS);
	cr_expect_eq(scene_decide(s, &ask, NOW).reason, REASON_ALLOW);
	cr_expect_eq(fixture_get(&rule->tripped), 1);
	full_scene_free(s);
}
