/* SPDX-License-Identifier: MIT */
#include "state/effective.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static char why[EFFECTIVE_WHY_MAX];

static struct rule_record a_rule(const char *name, uint8_t level,
				 uint32_t limit)
{
	struct rule_record rule = {.level = level,
				   .algorithm = RULE_WINDOW,
				   .limit = limit,
				   .period_ms = 1000};

	snprintf(rule.name, sizeof(rule.name), "%s", name);
	return rule;
}

/* "name=limit " of each, in order. */
static const char *built(const struct effective_from *from)
{
	static char out[512];
	struct effective e;
	int r = effective_build(from, &e, why);

	out[0] = '\0';
	cr_assert_eq(r, 0, "%s", why);
	for (unsigned i = 0; i < e.count; i++) {
		sprintf(out + strlen(out), "%s=%u ", e.rules[i].name,
			e.rules[i].limit);
		cr_assert_eq(e.rules[i].level == LEVEL_ORG, i < e.org_count);
	}
	return out;
}

Test(effective, organization_limit_comes_from_where_it_is_said_first)
{
	struct rule_record plan[] = {a_rule("org", LEVEL_ORG, 20)};
	struct rule_record own[] = {a_rule("org", LEVEL_ORG, 40)};
	struct org_record org = {.limit = 30, .window_ms = 5};
	struct effective_from from = {.default_limit = 10,
				      .default_window_ms = 60000};

	cr_expect_str_eq(built(&from), "org=10 ");
	from.org = &org;
	cr_expect_str_eq(built(&from), "org=10 ");
	from.plan = plan;
	from.plan_count = 1;
	cr_expect_str_eq(built(&from), "org=20 ");
	org.limit_own = true;
	cr_expect_str_eq(built(&from), "org=30 ");
	from.own = own;
	from.own_count = 1;
	cr_expect_str_eq(built(&from), "org=40 ");
	own[0].removed = true;
	cr_expect_str_eq(built(&from), "");
}

Test(effective, own_rules_replace_add_and_take_away)
{
	struct rule_record plan[] = {
		a_rule("a", LEVEL_KEY, 1), a_rule("b", LEVEL_KEY, 2),
		a_rule("c", LEVEL_ORG, 3), a_rule("d", LEVEL_ROUTE, 4)};
	struct rule_record own[] = {
		a_rule("x", LEVEL_ORG, 5), a_rule("b", LEVEL_ORG, 6),
		a_rule("d", LEVEL_ORG, 7), a_rule("y", LEVEL_KEY, 8),
		a_rule("z", LEVEL_KEY, 9)};
	struct effective_from from = {.plan = plan,
				      .plan_count = 4,
				      .own = own,
				      .own_count = 5,
				      .default_limit = 10,
				      .default_window_ms = 60000};

	own[2].removed = true; /* of the plan */
	own[4].removed = true; /* of nothing */
	cr_expect_str_eq(built(&from), "org=10 b=6 c=3 x=5 a=1 y=8 ");
}

Test(effective, too_many_are_an_answer_at_the_bound)
{
	struct rule_record plan[RULES_OF_ONE_MAX], own[RULES_OF_ONE_MAX];
	struct effective_from from = {.plan = plan,
				      .own = own,
				      .default_limit = 10,
				      .default_window_ms = 60000};
	struct effective e;
	char name[16];

	for (unsigned i = 0; i < RULES_OF_ONE_MAX; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		plan[i] = a_rule(name, LEVEL_KEY, 1);
		snprintf(name, sizeof(name), "o%u", i);
		own[i] = a_rule(name, LEVEL_KEY, 1);
	}
	from.plan_count = 10;
	from.own_count = 5;
	cr_expect_eq(effective_build(&from, &e, why), 0);
	cr_expect_eq(e.count, PLAN_RULES_MAX);
	from.own_count = 6;
	cr_expect_eq(effective_build(&from, &e, why), -E2BIG);
	cr_expect_not_null(strstr(why, "at most 16"));
	from.plan_count = from.own_count = RULES_OF_ONE_MAX;
	cr_expect_eq(effective_build(&from, &e, why), -E2BIG);

	for (unsigned i = 0; i < RULES_OF_ONE_MAX; i++)
		plan[i].level = LEVEL_ORG;
	from.own_count = 0;
	from.plan_count = PLAN_METERS_MAX - 1; /* and "org" */
	cr_expect_eq(effective_build(&from, &e, why), 0);
	cr_expect_eq(e.org_count, PLAN_METERS_MAX);
	from.plan_count = PLAN_METERS_MAX;
	cr_expect_eq(effective_build(&from, &e, why), -E2BIG);
	cr_expect_not_null(strstr(why, "level org"));

	/* A hold has room for so many leases. */
	for (unsigned i = 0; i < RULES_OF_ONE_MAX; i++)
		plan[i].algorithm = RULE_CONCURRENCY;
	from.plan_count = HOLD_LEASES_MAX;
	cr_expect_eq(effective_build(&from, &e, why), 0);
	from.plan_count++;
	cr_expect_eq(effective_build(&from, &e, why), -E2BIG);
	cr_expect_not_null(strstr(why, "at most 4 limits inflight"));
}

static int checked(struct rule_record rule)
{
	return effective_check(&rule, why);
}

Test(effective, window_is_bounded_by_level)
{
	struct rule_record rule = a_rule("w", LEVEL_ORG, RULE_WINDOW_LIMIT_MAX);

	cr_expect_eq(checked(rule), 0);
	rule.limit++;
	cr_expect_eq(checked(rule), -ERANGE);
	cr_expect_not_null(strstr(why, "8388607"));
	/* Entries beside the subject have no room for larger totals. */
	rule.level = LEVEL_ADDRESS;
	rule.limit = RULE_SUBJECT_LIMIT_MAX;
	cr_expect_eq(checked(rule), 0);
	rule.limit++;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.limit = 0;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.limit = 1;
	rule.period_ms = 0;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.period_ms = WINDOW_MS_MAX;
	cr_expect_eq(checked(rule), 0);
	rule.period_ms++;
	cr_expect_eq(checked(rule), -ERANGE);
}

Test(effective, gcra_has_a_burst_and_at_most_a_unit_per_nanosecond)
{
	struct rule_record rule = a_rule("g", LEVEL_KEY, 1000000);

	rule.algorithm = RULE_GCRA;
	rule.period_ms = 1;
	rule.burst = 1;
	cr_expect_eq(checked(rule), 0);
	rule.limit++;
	cr_expect_eq(checked(rule), -ERANGE);
	cr_expect_not_null(strstr(why, "nanosecond"));
	rule.period_ms = 1000;
	rule.limit = RULE_LIMIT_MAX;
	cr_expect_eq(checked(rule), 0);
	rule.burst = 0;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.burst = RULE_BURST_MAX;
	cr_expect_eq(checked(rule), 0);
	rule.burst++;
	cr_expect_eq(checked(rule), -ERANGE);
	/* One in a day: a burst of 36,500 comes back in a hundred years. */
	rule.limit = 1;
	rule.period_ms = 86400000;
	rule.burst = 36500;
	cr_expect_eq(checked(rule), 0);
	rule.burst++;
	cr_expect_eq(checked(rule), -ERANGE);
	cr_expect_not_null(strstr(why, "hundred years"));
}

Test(effective, lease_is_bounded)
{
	struct rule_record rule = a_rule("c", LEVEL_KEY, RULE_FLIGHT_MAX);

	rule.algorithm = RULE_CONCURRENCY;
	rule.lease_ms = RULE_LEASE_MS_MIN;
	cr_expect_eq(checked(rule), 0);
	rule.lease_ms--;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.lease_ms = RULE_LEASE_MS_MAX;
	cr_expect_eq(checked(rule), 0);
	rule.lease_ms++;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.lease_ms = RULE_LEASE_MS_MIN;
	rule.limit++;
	cr_expect_eq(checked(rule), -ERANGE);

	/* Of every level. */
	rule.limit--;
	for (rule.level = LEVEL_ORG; rule.level < LEVEL_COUNT; rule.level++)
		cr_expect_eq(checked(rule), 0);
}

Test(effective, names_are_checked)
{
	struct rule_record rule = a_rule("a.b_c-9", LEVEL_KEY, 1);

	cr_expect_eq(checked(rule), 0);
	strcpy(rule.name, "abcdefghijklmnopqrstuvwx");
	cr_expect_eq(checked(rule), 0);
	cr_expect_not(effective_name_ok("abcdefghijklmnopqrstuvwxy"));
	cr_expect_not(effective_name_ok(""));
	cr_expect_not(effective_name_ok("A"));
	cr_expect_not(effective_name_ok("a b"));
	cr_expect_not(effective_name_ok("\xc3\xa4"));
	rule.name[0] = '\0';
	rule.removed = true;
	cr_expect_eq(checked(rule), -ERANGE);
	strcpy(rule.name, "x");
	rule.limit = 0;
	cr_expect_eq(checked(rule), 0);
}

Test(effective, unknown_algorithm_and_level_are_refused)
{
	struct rule_record rule = a_rule("a", LEVEL_COUNT, 1);

	cr_expect_eq(checked(rule), -ERANGE);
	rule.level = LEVEL_ORG;
	rule.algorithm = 0;
	cr_expect_eq(checked(rule), -ERANGE);
	rule.algorithm = RULE_WINDOW;
	rule.max_subjects = RULE_SUBJECTS_MAX + 1;
	cr_expect_eq(checked(rule), -ERANGE);
}
