/* SPDX-License-Identifier: MIT */
/* What the subjects of a rule have counted when it goes to another table. */
#include "base/clock.h"
#include "base/label.h"
#include "state/registry_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 5u
#define MINUTE_MS 60000u
#define LEASE_MS 60000u
#define NS_PER_S UINT64_C(1000000000)

static struct world w;
static uint32_t org, basic, pro;
static struct key_record key;
static char text[KEY_TEXT_MAX];

static void set(const struct rule_record *as)
{
	struct rule_record rule = *as;
	int r = registry_rule_set(w.registry, &rule);

	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
}

static struct rule_record rule_of(uint32_t plan, uint32_t own, uint32_t limit)
{
	return (struct rule_record){.plan = plan,
				    .org = own,
				    .name = "each",
				    .level = LEVEL_KEY,
				    .algorithm = RULE_WINDOW,
				    .limit = limit,
				    .period_ms = MINUTE_MS,
				    .max_subjects = 40};
}

static uint32_t make_plan(const char *name)
{
	struct plan_record plan = {.slot = 0};
	struct rule_record rule;

	snprintf(plan.name, sizeof(plan.name), "%s", name);
	cr_assert_eq(registry_plan_create(w.registry, &plan), 0);
	rule = rule_of(plan.slot, 0, LIMIT);
	set(&rule);
	return plan.slot;
}

static void start(void)
{
	world_start(&w);
	gate_configure(&w.gate, &(struct gate_options){.workers = 1});
}

static void open_world(void)
{
	struct org_record rec = {.name = "acme"};

	world_init(&w);
	w.options.cells = 100;
	w.options.holds = 64;
	w.options.default_limit = 1000;
	start();
	basic = make_plan("basic");
	pro = make_plan("pro");
	rec.plan = basic;
	cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	org = rec.slot;
	key = world_key(&w, org, text);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_priors, .init = open_world, .fini = close_world);

static void restart(void)
{
	world_die(&w);
	start();
	cr_assert_not(w.report.restored);
}

static const struct rule *each(void)
{
	const struct plan *plan =
		plan_of(&w.arena.arena, &w.arena.arena.orgs[org]);

	for (uint32_t i = 0; i < plan->rules_count; i++)
		if (strcmp(plan->rules[i].name, "each") == 0)
			return &plan->rules[i];
	cr_assert_fail("no such rule");
	return NULL;
}

static void move_to(uint32_t plan)
{
	cr_assert_eq(registry_org_set_plan(w.registry, org, plan), 0);
}

static void take_back(uint32_t plan, uint32_t own)
{
	cr_assert_eq(registry_rule_remove(w.registry, plan, own, "each"), 0);
}

static uint32_t passes(void)
{
	return world_passes(&w, text, 3 * LIMIT);
}

static struct subject_live shown(void)
{
	struct subject_query q = {.org = org, .name = "each", .key = key.slot};
	struct subject_live live;

	cr_assert_eq(registry_subject_show(w.registry, &q, &live), 0);
	return live;
}

static unsigned tables(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < w.registry->tables_count; i++)
		n += w.registry->tables[i].block != 0;
	return n;
}

/* ---- counts on ---- */

Test(registry_priors, raised_window_counts_on_in_larger_entries)
{
	struct rule_record rule = rule_of(basic, 0, 10 * LIMIT);
	uint64_t table = each()->table;

	cr_assert_eq(passes(), LIMIT);
	set(&rule);
	cr_expect_neq(each()->table, table);
	cr_expect_eq(each()->prior[0], table);
	cr_expect_eq(shown().used, LIMIT);
	cr_expect_eq(shown().remaining, 9 * LIMIT);
	cr_expect_eq(world_passes(&w, text, 20 * LIMIT), 9 * LIMIT);
	cr_expect_eq(shown().used, 10 * LIMIT);
	/* Lower again: in the table that it has, and all is counted. */
	rule.limit = LIMIT;
	table = each()->table;
	set(&rule);
	cr_expect_eq(each()->table, table);
	cr_expect_eq(passes(), 0);
}

Test(registry_priors, other_number_of_subjects_counts_on)
{
	struct rule_record rule = rule_of(basic, 0, LIMIT);
	struct subjects t;

	cr_assert_eq(world_passes(&w, text, 2), 2);
	rule.max_subjects = 4000;
	set(&rule);
	cr_assert(subjects_open(&t, &w.arena.arena, each()->table));
	cr_expect_geq(subjects_capacity(&t), 8000);
	cr_expect_eq(passes(), LIMIT - 2);
	rule.max_subjects = 30;
	set(&rule);
	cr_assert(subjects_open(&t, &w.arena.arena, each()->table));
	cr_expect_lt(subjects_capacity(&t), 8000);
	cr_expect_eq(passes(), 0);
}

Test(registry_priors, another_plan_and_back_counts_on)
{
	cr_assert_eq(world_passes(&w, text, 3), 3);
	move_to(pro);
	cr_expect_eq(world_passes(&w, text, 1), 1);
	move_to(basic);
	cr_expect_eq(world_passes(&w, text, 3), 1);
	move_to(pro);
	cr_expect_eq(passes(), 0);
	cr_expect_eq(shown().used, LIMIT);
	/* Two tables that changed places, and no third one. */
	cr_expect_eq(tables(), 2);
	cr_expect_eq(each()->prior[1], 0);
}

Test(registry_priors, own_limit_and_back_counts_on)
{
	struct rule_record rule = rule_of(0, org, LIMIT + 1);

	cr_assert_eq(passes(), LIMIT);
	set(&rule);
	cr_expect_eq(passes(), 1);
	take_back(0, org);
	cr_expect_eq(passes(), 0);
	cr_expect_eq(shown().used, LIMIT + 1);
}

Test(registry_priors, gcra_counts_on)
{
	struct rule_record rule = rule_of(basic, 0, 1);

	rule.algorithm = RULE_GCRA;
	rule.burst = LIMIT;
	set(&rule);
	rule.plan = pro;
	set(&rule);
	cr_assert_eq(passes(), LIMIT);
	move_to(pro);
	cr_expect_eq(passes(), 0);
	rule.burst = LIMIT + 2;
	set(&rule);
	cr_expect_eq(passes(), 2);
	move_to(basic);
	cr_expect_eq(passes(), 0);
}

Test(registry_priors, what_is_in_flight_counts_on_until_it_ends)
{
	struct check_extra x = {0};
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = 1,
			  .extra = &x};
	struct rule_record rule = rule_of(basic, 0, 2);
	struct instant now = instant_now();
	struct verdict v;
	uint64_t hold;

	rule.algorithm = RULE_CONCURRENCY;
	rule.lease_ms = LEASE_MS;
	set(&rule);
	rule.plan = pro;
	set(&rule);
	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	hold = v.hold;
	cr_assert_neq(hold, 0);
	cr_assert_eq(passes(), 1);
	move_to(pro);
	cr_expect_eq(passes(), 0);
	cr_expect_eq(shown().used, 2);
	restart();
	cr_expect_eq(passes(), 0);
	/* Long after the leases should have ended a hold is out. */
	priors_step(w.registry, now.ns + 3600 * NS_PER_S);
	cr_expect_neq(each()->prior[0], 0);
	registry_settle(w.registry, hold, SETTLE_AS_RESERVED, &v);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(shown().used, 1);
	cr_expect_eq(passes(), 1);
}

Test(registry_priors, what_others_have_in_flight_holds_nobody)
{
	struct org_record rec = {.name = "other", .plan = basic};
	struct rule_record rule = rule_of(basic, 0, 2);
	uint64_t now_ns = instant_now().ns;
	char others[KEY_TEXT_MAX];

	rule.algorithm = RULE_CONCURRENCY;
	rule.lease_ms = LEASE_MS;
	set(&rule);
	rule.plan = pro;
	set(&rule);
	cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	world_key(&w, rec.slot, others);
	cr_assert_eq(world_passes(&w, others, 1), 1);
	move_to(pro);
	cr_assert_neq(each()->prior[0], 0);
	priors_step(w.registry, now_ns + 3600 * NS_PER_S);
	cr_expect_eq(each()->prior[0], 0);
	cr_expect_eq(world_passes(&w, others, 3), 1);
}

static uint32_t passes_on(const char *route)
{
	struct check_extra x = {.route_hash = label_hash(route, strlen(route))};
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = 1,
			  .extra = &x};
	struct instant now = instant_now();
	struct verdict v;
	uint32_t n = 0;

	for (unsigned i = 0; i < 3 * LIMIT; i++) {
		gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
		n += v.reason == REASON_ALLOW;
	}
	return n;
}

Test(registry_priors, another_algorithm_begins_anew)
{
	struct rule_record rule = rule_of(pro, 0, LIMIT);

	cr_assert_eq(passes(), LIMIT);
	rule.algorithm = RULE_GCRA;
	rule.burst = LIMIT;
	set(&rule);
	move_to(pro);
	cr_expect_eq(each()->prior[0], 0);
	cr_expect_eq(passes(), LIMIT);
}

Test(registry_priors, another_route_begins_anew)
{
	struct rule_record rule = rule_of(basic, 0, LIMIT);

	strcpy(rule.route, "a");
	set(&rule);
	cr_assert_eq(passes_on("a"), LIMIT);
	strcpy(rule.route, "b");
	set(&rule);
	cr_expect_eq(each()->prior[0], 0);
	cr_expect_eq(passes_on("b"), LIMIT);
	restart();
	cr_expect_eq(passes_on("b"), 0);
	rule.plan = pro;
	set(&rule);
	move_to(pro);
	cr_expect_eq(passes_on("b"), 0);
}

Test(registry_priors, death_forgets_nothing)
{
	struct rule_record rule = rule_of(basic, 0, 10 * LIMIT);

	cr_assert_eq(world_passes(&w, text, 2), 2);
	move_to(pro);
	cr_assert_eq(world_passes(&w, text, 1), 1);
	restart();
	cr_expect_eq(shown().used, 3);
	move_to(basic);
	restart();
	cr_expect_eq(shown().used, 3);
	set(&rule);
	restart();
	cr_expect_eq(shown().used, 3);
	cr_expect_eq(world_passes(&w, text, 20 * LIMIT), 10 * LIMIT - 3);
}

Test(registry_priors, who_was_carried_over_is_let_go_as_well)
{
	cr_assert_eq(world_passes(&w, text, 2), 2);
	move_to(pro);
	restart();
	cr_assert_eq(tables(), 2);
	priors_step(w.registry, instant_now().ns + 70 * NS_PER_S);
	cr_expect_eq(each()->prior[0], 0);
	cr_expect_eq(tables(), 1);
}

/* First for the table, then for the rules that have it, then for those that
 * announce it. */
Test(registry_priors, without_room_nothing_changes_and_nothing_is_kept)
{
	struct rule_record rule = rule_of(basic, 0, 10 * LIMIT);
	struct rings *rings = &w.registry->rings;
	uint64_t table = each()->table, most = rings->max_lines;
	unsigned refused = 0;

	cr_assert_eq(world_passes(&w, text, 2), 2);
	for (uint64_t lines = 0;; lines += 4) {
		struct rule_record again = rule;
		uint64_t end = rings->end;

		/* What was given back is not to be had. */
		for (unsigned i = 0; i <= RINGS_LOG2_MAX; i++)
			rings->free[i].count = 0;
		rings->max_lines = end + lines;
		if (registry_rule_set(w.registry, &again) == 0)
			break;
		refused++;
		cr_assert_eq(each()->table, table);
		cr_assert_eq(tables(), 1);
	}
	rings->max_lines = most;
	cr_expect_gt(refused, 2);
	cr_expect_neq(each()->table, table);
	cr_expect_eq(world_passes(&w, text, 20 * LIMIT), 10 * LIMIT - 2);
}

/* ---- as many as a rule may have ---- */

Test(registry_priors, rule_raised_too_often_keeps_its_table)
{
	struct rule_record rule = rule_of(basic, 0, LIMIT);
	uint64_t table = 0;

	cr_assert_eq(passes(), LIMIT);
	for (unsigned i = 1; i <= 6; i++) {
		rule.limit = LIMIT << 2 * (i < 4 ? i : 4);
		rule.max_subjects = 40 + i;
		set(&rule);
		cr_expect_eq(world_passes(&w, text, 1), 1);
		if (i == RULE_PRIORS_MAX)
			table = each()->table;
		else if (i > RULE_PRIORS_MAX)
			cr_expect_eq(each()->table, table);
	}
	cr_expect_eq(shown().used, LIMIT + 6);
	cr_expect_eq(shown().limit, LIMIT << 8);
}

Test(registry_priors, only_the_oldest_of_too_many_is_forgotten)
{
	uint32_t plans[RULE_PRIORS_MAX + 1];
	char name[16];

	cr_assert_eq(world_passes(&w, text, 1), 1);
	for (unsigned i = 0; i <= RULE_PRIORS_MAX; i++) {
		snprintf(name, sizeof(name), "plan-%u", i);
		plans[i] = make_plan(name);
		move_to(plans[i]);
		cr_assert_eq(world_passes(&w, text, 1), 1);
		cr_expect_eq(shown().used, i < RULE_PRIORS_MAX ? i + 2 : i + 1);
	}
	cr_expect_eq(world_passes(&w, text, 1), 1);
	cr_expect_eq(passes(), 0);
}

/* ---- in the end ---- */

Test(registry_priors, what_does_not_matter_any_more_is_let_go)
{
	uint64_t now_ns = instant_now().ns;

	cr_assert_eq(world_passes(&w, text, 1), 1);
	move_to(pro);
	cr_assert_eq(tables(), 2);
	priors_step(w.registry, now_ns + 50 * NS_PER_S);
	cr_expect_neq(each()->prior[0], 0);
	priors_step(w.registry, now_ns + 70 * NS_PER_S);
	cr_expect_eq(each()->prior[0], 0);
	cr_expect_eq(each()->prior_until_ns, 0);
	cr_expect_eq(tables(), 1);
	cr_expect_eq(w.registry->priors.due_ns, 0);
	cr_expect_eq(w.registry->shares.count, 1);
	cr_expect_eq(passes(), LIMIT);
}

Test(registry_priors, debt_of_a_lowered_burst_is_kept_as_long_as_it_lasts)
{
	struct rule_record rule = rule_of(basic, 0, 1);
	uint64_t now_ns = instant_now().ns;

	rule.algorithm = RULE_GCRA;
	rule.burst = 10; /* ten minutes to work off */
	set(&rule);
	cr_assert_eq(world_passes(&w, text, 10), 10);
	rule.burst = 1;
	set(&rule);
	rule.plan = pro;
	set(&rule);
	move_to(pro);
	priors_step(w.registry, now_ns + 500 * NS_PER_S);
	cr_expect_neq(each()->prior[0], 0);
	cr_expect_eq(passes(), 0);
	priors_step(w.registry, now_ns + 700 * NS_PER_S);
	cr_expect_eq(each()->prior[0], 0);
}

Test(registry_priors, organizations_that_move_together_share_their_rules)
{
	struct rule_record rule = rule_of(basic, 0, 10 * LIMIT);
	struct org_record rec = {.plan = basic};
	char name[16];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "org-%u", i);
		strcpy(rec.name, name);
		rec.slot = 0;
		cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	}
	cr_assert_eq(w.registry->shares.count, 1);
	set(&rule);
	/* A second may begin meanwhile. */
	cr_expect_leq(w.registry->shares.count, 2);
	cr_expect_eq(tables(), 2);
	priors_step(w.registry, instant_now().ns + 70 * NS_PER_S);
	cr_expect_eq(w.registry->shares.count, 1);
	cr_expect_eq(tables(), 1);
}

/* ---- to look and to forget ---- */

Test(registry_priors, peek_and_show_see_what_was_counted_before)
{
	struct check_extra x = {0};
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = 3,
			  .flags = CHECK_PEEK,
			  .extra = &x};
	struct instant now;
	struct verdict v;

	cr_assert_eq(world_passes(&w, text, 3), 3);
	move_to(pro);
	/* It has no entry of its own yet. */
	cr_expect_eq(shown().used, 3);
	now = instant_now();
	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_eq(v.remaining, 2);
	cr_expect_gt(v.retry_ms, MINUTE_MS - 10000);
	c.cost = 2;
	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(shown().used, 3);
}

Test(registry_priors, reset_forgets_all_of_it)
{
	struct subject_query q = {.org = org, .name = "each", .key = key.slot};
	struct subject_live live;

	cr_assert_eq(world_passes(&w, text, 3), 3);
	move_to(pro);
	cr_assert_eq(registry_subject_reset(w.registry, &q, &live), 0);
	cr_expect_eq(live.used, 0);
	cr_assert_eq(world_passes(&w, text, 2), 2);
	move_to(basic);
	cr_assert_eq(registry_subject_reset(w.registry, &q, &live), 0);
	cr_expect_eq(live.used, 0);
	cr_expect_eq(passes(), LIMIT);
}
