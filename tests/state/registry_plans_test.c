/* SPDX-License-Identifier: MIT */
/* Rules, access, budgets: from a change to what the workers read. */
#include "base/clock.h"
#include "base/label.h"
#include "gate/outside.h"
#include "gate/subjects.h"
#include "state/registry_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct world w;

static void open_world(void)
{
	world_init(&w);
	world_start(&w);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_plans, .init = open_world, .fini = close_world);

static void *block_in_arena(uint64_t place)
{
	return w.arena.arena.rings + place * LINE_BYTES;
}

static const struct plan *plan_in_arena(uint32_t org)
{
	uint64_t block = claim_load(&w.arena.arena.orgs[org].plan);

	cr_assert_neq(block, 0);
	return block_in_arena(RING_PLACE(block));
}

/* "name=limit " of each rule that the workers see. */
static const char *rules_of(uint32_t org)
{
	static char out[512];
	const struct plan *plan = plan_in_arena(org);

	out[0] = '\0';
	for (unsigned i = 0; i < plan->rules_count; i++)
		sprintf(out + strlen(out), "%.24s=%u ", plan->rules[i].name,
			plan->rules[i].limit);
	return out;
}

static struct rule_record a_rule(uint32_t plan, uint32_t org, const char *name,
				 uint32_t limit)
{
	struct rule_record rule = {.plan = plan,
				   .org = org,
				   .level = LEVEL_KEY,
				   .algorithm = RULE_WINDOW,
				   .limit = limit,
				   .period_ms = 1000};

	if (strcmp(name, "org") == 0)
		rule.level = LEVEL_ORG;
	snprintf(rule.name, sizeof(rule.name), "%s", name);
	return rule;
}

static void set(struct rule_record rule)
{
	int r = registry_rule_set(w.registry, &rule);

	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
}

static uint32_t make_plan(const char *name)
{
	struct plan_record plan = {.slot = 0};
	int r;

	snprintf(plan.name, sizeof(plan.name), "%s", name);
	r = registry_plan_create(w.registry, &plan);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
	return plan.slot;
}

/* Without a limit of its own; plan 0: the default one. */
static uint32_t org_with(const char *name, uint32_t plan)
{
	struct org_record rec = {.plan = plan};
	int r;

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	r = registry_org_create(w.registry, &rec, 0);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
	return rec.slot;
}

static uint32_t plain_org(const char *name)
{
	return org_with(name, 0);
}

/* ---- rules ---- */

Test(registry_plans, organizations_with_the_same_rules_share_a_block)
{
	uint32_t a = org_with("a", 0), b = org_with("b", 0);
	uint32_t c = world_org(&w, "c", 100), d = world_org(&w, "d", 7);

	cr_expect_str_eq(rules_of(a), "org=100 ");
	cr_expect_eq(plan_in_arena(a), plan_in_arena(b));
	cr_expect_eq(plan_in_arena(a),
		     plan_in_arena(c)); /* its own, but the same */
	cr_expect_neq(plan_in_arena(a), plan_in_arena(d));
	cr_expect_str_eq(rules_of(d), "org=7 ");
}

Test(registry_plans, every_field_reaches_the_workers)
{
	uint32_t org = org_with("a", 0);
	struct rule_record rule = a_rule(0, org, "g", 10);
	const struct rule *r;

	rule.algorithm = RULE_GCRA;
	rule.period_ms = 7;
	rule.burst = 5;
	strcpy(rule.route, "/ocr");
	rule.shadow = rule.requests_only = rule.full_pass = true;
	set(rule);
	rule = a_rule(0, org, "c", 3);
	rule.level = LEVEL_ORG;
	rule.algorithm = RULE_CONCURRENCY;
	rule.lease_ms = 2000;
	set(rule);
	cr_assert_str_eq(rules_of(org), "org=100 c=3 g=5 ");
	cr_expect_eq(plan_in_arena(org)->meters_count, 2);
	r = &plan_in_arena(org)->rules[0];
	cr_expect_eq(r->algorithm, RULE_WINDOW);
	cr_expect_eq(r->span, UINT64_C(60000) * CLOCK_TICKS_PER_MS);
	cr_expect_eq(r->period_ms, 60000);
	cr_expect_eq(r->rate, 100);
	cr_expect_eq(r->id, 0);
	r = &plan_in_arena(org)->rules[1];
	cr_expect_eq(r->meter, 1);
	cr_expect_eq(r->span, UINT64_C(2000) * CLOCK_TICKS_PER_MS);
	r = &plan_in_arena(org)->rules[2];
	cr_expect_eq(r->algorithm, RULE_GCRA);
	cr_expect_eq(r->level, LEVEL_KEY);
	cr_expect_eq(r->flags, RULE_SHADOW | RULE_REQUESTS | RULE_FULL_PASS);
	cr_expect_eq(r->limit, 5);
	cr_expect_eq(r->rate, 10);
	cr_expect_eq(r->unit_ns, 700000);
	cr_expect_eq(r->route, label_hash("/ocr", 4));
	cr_expect_neq(r->id, 0);
}

Test(registry_plans, rule_of_a_plan_concerns_all_that_have_it)
{
	uint32_t fast = make_plan("fast");
	uint32_t a = org_with("a", fast), b = org_with("b", fast);
	uint32_t other = org_with("other", 0);
	char text[KEY_TEXT_MAX];

	world_key(&w, a, text);
	cr_expect_eq(world_passes(&w, text, 50), 50);
	set(a_rule(fast, 0, "org", 60));
	set(a_rule(fast, 0, "k", 5));
	set(a_rule(0, b, "k", 6));
	cr_expect_str_eq(rules_of(a), "org=60 k=5 ");
	cr_expect_str_eq(rules_of(b), "org=60 k=6 ");
	cr_expect_str_eq(rules_of(other), "org=100 ");
	/* What was counted stays: 10 of "org" are left, 5 of "k". */
	cr_expect_eq(world_passes(&w, text, 50), 5);
	cr_assert_eq(registry_rule_remove(w.registry, fast, 0, "k"), 0);
	cr_expect_eq(world_passes(&w, text, 50), 5);
	cr_expect_str_eq(rules_of(a), "org=60 ");
	cr_expect_str_eq(rules_of(b), "org=60 k=6 ");
	cr_assert_eq(registry_rule_remove(w.registry, 0, b, "k"), 0);
	cr_expect_eq(plan_in_arena(a), plan_in_arena(b));
	cr_expect_eq(registry_rule_remove(w.registry, 0, b, "k"),
		     REGISTRY_ABSENT);
	cr_expect_eq(registry_rule_remove(w.registry, fast, 0, "k"),
		     REGISTRY_ABSENT);
}

Test(registry_plans, organization_moves_between_plans_and_limits)
{
	uint32_t fast = make_plan("fast"), org = org_with("a", 0);
	struct rule_record off = a_rule(0, org, "org", 1);

	set(a_rule(fast, 0, "org", 60));
	cr_assert_eq(registry_org_set_plan(w.registry, org, fast), 0);
	cr_expect_str_eq(rules_of(org), "org=60 ");
	cr_assert_eq(registry_org_set_limit(w.registry, org, 70, 1000), 0);
	cr_expect_str_eq(rules_of(org), "org=70 ");
	set(a_rule(0, org, "org", 80));
	cr_expect_str_eq(rules_of(org), "org=80 ");
	cr_assert_eq(registry_org_set_limit(w.registry, org, 90, 1000), 0);
	cr_expect_str_eq(rules_of(org), "org=90 ");
	cr_assert_eq(registry_rule_remove(w.registry, 0, org, "org"), 0);
	cr_expect_str_eq(rules_of(org), "org=60 ");
	cr_expect_eq(registry_rule_remove(w.registry, 0, org, "org"),
		     REGISTRY_ABSENT);
	off.removed = true;
	set(off);
	cr_expect_str_eq(rules_of(org), "");
	cr_assert_eq(registry_rule_remove(w.registry, 0, org, "org"), 0);
	cr_assert_eq(registry_org_set_plan(w.registry, org, PLAN_DEFAULT), 0);
	cr_expect_str_eq(rules_of(org), "org=100 ");
	cr_expect_eq(registry_org_set_plan(w.registry, org, 99),
		     REGISTRY_ABSENT);
	cr_expect_eq(registry_org_set_plan(w.registry, 99, fast),
		     REGISTRY_ABSENT);
	cr_expect_str_eq(rules_of(org), "org=100 ");
}

Test(registry_plans, rules_are_rebuilt_by_the_next_start)
{
	uint32_t fast = make_plan("fast");
	uint32_t a = org_with("a", fast), b = org_with("b", fast);

	set(a_rule(fast, 0, "k", 5));
	set(a_rule(0, b, "x", 6));
	for (unsigned i = 0; i < 2; i++) {
		world_restart(&w);
		cr_expect_not(w.report.fresh, "%s", w.report.arena_warning);
		cr_expect_str_eq(rules_of(a), "org=100 k=5 ");
		cr_expect_str_eq(rules_of(b), "org=100 k=5 x=6 ");
	}
	/* And another default reaches those who have none of their own. */
	world_die(&w);
	w.options.default_limit = 30;
	world_start(&w);
	cr_expect_str_eq(rules_of(a), "org=30 k=5 ");
}

Test(registry_plans, memory_of_rules_that_are_gone_is_used_again)
{
	uint32_t org = org_with("a", 0);
	uint64_t end = 0;

	for (uint32_t i = 200; i > 0; i--) {
		set(a_rule(0, org, "x", i));
		if (i == 197)
			end = w.registry->rings.end;
		cr_assert_eq(w.registry->shares.count, 1);
	}
	cr_expect_eq(w.registry->rings.end, end);
}

Test(registry_plans, rule_of_another_route_counts_anew)
{
	uint32_t org = org_with("a", 0), meter;
	struct rule_record rule = a_rule(0, org, "x", 5);

	rule.level = LEVEL_ORG;
	strcpy(rule.route, "/ocr");
	set(rule);
	meter = plan_in_arena(org)->rules[1].meter;
	rule.limit = 7;
	set(rule);
	cr_expect_eq(plan_in_arena(org)->rules[1].meter, meter);
	strcpy(rule.route, "/pdf");
	set(rule);
	cr_expect_neq(plan_in_arena(org)->rules[1].meter, meter);
}

Test(registry_plans, many_kinds_of_rules_are_found_again)
{
	uint32_t orgs[100];
	char name[16];

	for (uint32_t i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "o%u", i);
		orgs[i] = world_org(&w, name, 1 + i / 2);
	}
	cr_expect_eq(w.registry->shares.count, 50);
	for (uint32_t i = 0; i < 100; i += 2)
		cr_expect_eq(plan_in_arena(orgs[i]),
			     plan_in_arena(orgs[i + 1]));
	/* Each is given back and taken again, in another order. */
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_eq(registry_org_set_limit(w.registry, orgs[99 - i],
						    1 + i % 7, 1000),
			     0);
	cr_expect_eq(w.registry->shares.count, 7);
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_eq(
			registry_org_set_limit(w.registry, orgs[i], 9, 1000),
			0);
	cr_expect_eq(w.registry->shares.count, 1);
}

static uint64_t table_of(uint32_t org)
{
	const struct plan *plan = plan_in_arena(org);

	for (unsigned i = 0; i < plan->rules_count; i++)
		if (plan->rules[i].level != LEVEL_ORG)
			return plan->rules[i].table;
	return 0;
}

/* An address has a gate of its own: what was counted is in the table, so that
 * is kept. */
Test(registry_plans, raised_window_of_an_address_keeps_its_table)
{
	uint32_t org = plain_org("acme");
	struct rule_record rule = a_rule(0, org, "each", 5);
	uint64_t table;

	rule.level = LEVEL_ADDRESS;
	rule.max_subjects = 40;
	set(rule);
	table = table_of(org);
	cr_assert_neq(table, 0);
	rule.limit = 5000;
	set(rule);
	cr_expect_eq(table_of(org), table);
	rule.max_subjects = 400;
	set(rule);
	cr_expect_eq(table_of(org), table);
	rule.limit = 1;
	set(rule);
	cr_expect_eq(table_of(org), table);
}

/* A window of a subject holds as many entries as its table has room for. */
Test(registry_plans, windows_of_subjects_of_every_size_are_served)
{
	static const uint32_t limits[] = {1,    8,    256,   257,  505,
					  4096, 4097, 65535, 65536};
	static const uint8_t levels[] = {LEVEL_KEY, LEVEL_ADDRESS};

	for (unsigned i = 0; i < 2 * sizeof(limits) / sizeof(limits[0]); i++) {
		char name[16];
		struct rule_record rule;
		struct subjects table;
		uint32_t org;

		snprintf(name, sizeof(name), "org-%u", i);
		org = plain_org(name);
		rule = a_rule(0, org, "each", limits[i / 2]);
		rule.level = levels[i % 2];
		rule.max_subjects = 8;
		set(rule);
		for (unsigned j = 0; j < plan_in_arena(org)->rules_count; j++) {
			const struct rule *r = &plan_in_arena(org)->rules[j];

			if (r->level == LEVEL_ORG)
				continue;
			cr_assert(
				subjects_open(&table, &w.arena.arena, r->table),
				"%u", r->limit);
			cr_assert_geq(subjects_capacity(&table), 8);
			/* Exact: each unit has an entry. */
			cr_assert_geq(1u << subject_log2(r, table.stride),
				      r->limit);
		}
		cr_assert_eq(registry_rule_remove(w.registry, 0, org, "each"),
			     0);
	}
}

/* For many subjects, or nobody knows how many, 4,096 units have. */
Test(registry_plans, large_window_of_many_subjects_is_coarser)
{
	static const uint32_t many[] = {0, 200};

	for (unsigned i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		char name[16];
		struct rule_record rule;
		const struct plan *plan;
		struct subjects table;
		uint32_t org;

		snprintf(name, sizeof(name), "org-%u", i);
		org = plain_org(name);
		rule = a_rule(0, org, "each", 65536);
		rule.level = LEVEL_KEY;
		rule.max_subjects = many[i];
		set(rule);
		plan = plan_in_arena(org);
		for (unsigned j = 0; j < plan->rules_count; j++) {
			const struct rule *r = &plan->rules[j];

			if (r->level == LEVEL_ORG)
				continue;
			cr_assert(subjects_open(&table, &w.arena.arena,
						r->table));
			cr_assert_eq(subject_log2(r, table.stride), 12);
		}
		cr_assert_eq(registry_rule_remove(w.registry, 0, org, "each"),
			     0);
	}
}

Test(registry_plans, refused_rule_changes_nothing)
{
	uint32_t fast = make_plan("fast"), org = org_with("a", fast);
	struct rule_record rule;
	char name[16];

	for (unsigned i = 1; i < PLAN_RULES_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		set(a_rule(i % 2 ? fast : 0, i % 2 ? 0 : org, name, 1));
	}
	rule = a_rule(fast, 0, "more", 1);
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_INVALID);
	cr_expect_not_null(strstr(registry_error(w.registry), "a: at most 16"));
	rule = a_rule(0, org, "more", 1);
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_INVALID);
	cr_expect_eq(plan_in_arena(org)->rules_count, PLAN_RULES_MAX);
	set(a_rule(fast, 0, "r1", 9)); /* replacing one is none more */

	rule = a_rule(fast, 0, "r2", 0);
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_INVALID);
	rule = a_rule(fast, 0, "org", 5);
	rule.level = LEVEL_KEY;
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_INVALID);
	rule = a_rule(fast, 0, "r1", 5);
	rule.removed = true;
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_INVALID);
	rule = a_rule(0, 77, "r1", 5);
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_ABSENT);
	rule = a_rule(77, 0, "r1", 5);
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_ABSENT);
	world_restart(&w);
	cr_expect_eq(plan_in_arena(org)->rules_count, PLAN_RULES_MAX);
}

Test(registry_plans, full_ring_region_is_an_answer_and_nothing_is_recorded)
{
	uint32_t org = org_with("a", 0);
	struct effective e;
	struct org_record rec;
	struct rule_record rule = a_rule(0, org, "x", 1);
	uint64_t ring;

	for (unsigned log2 = RINGS_LOG2_MAX + 1; log2-- > 3;)
		while (rings_take(&w.registry->rings, log2, &ring) == 0)
			;
	cr_expect_eq(registry_rule_set(w.registry, &rule), REGISTRY_FULL);
	cr_assert_eq(records_org_get(w.records, org, &rec), 0);
	cr_assert_eq(registry_org_rules(w.registry, &rec, &e), 0);
	cr_expect_eq(e.count, 1);
	cr_expect_str_eq(rules_of(org), "org=100 ");
}

Test(registry_plans, plan_is_removed_when_nobody_has_it)
{
	uint32_t fast = make_plan("fast"), org = org_with("a", fast);
	struct plan_record plan = {.name = "fast"};

	cr_expect_eq(registry_plan_create(w.registry, &plan), REGISTRY_EXISTS);
	cr_expect_eq(registry_plan_remove(w.registry, fast), REGISTRY_IN_USE);
	cr_expect_eq(registry_plan_remove(w.registry, PLAN_DEFAULT),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_plan_remove(w.registry, 99), REGISTRY_ABSENT);
	set(a_rule(fast, 0, "k", 5));
	cr_assert_eq(registry_org_set_plan(w.registry, org, PLAN_DEFAULT), 0);
	cr_expect_eq(registry_plan_remove(w.registry, fast), 0);
	/* Another one in its slot has none of its rules. */
	cr_expect_eq(make_plan("new"), fast);
	cr_expect_str_eq(rules_of(org_with("b", fast)), "org=100 ");
}

Test(registry_plans, billing_days_and_zones_are_checked)
{
	uint32_t org = plain_org("a");
	struct org_record rec;

	cr_expect_eq(registry_org_set_billing(w.registry, org, 31, "UTC"), 0);
	cr_assert_eq(records_org_get(w.records, org, &rec), 0);
	cr_expect_eq(rec.anchor_day, 31);
	cr_expect_eq(registry_org_set_billing(w.registry, org, 0, "UTC"),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_billing(w.registry, org, 32, "UTC"),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_billing(w.registry, org, 1, ""),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_billing(w.registry, org, 1, "../passwd"),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_billing(w.registry, org, 1, "No/Such"),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_billing(w.registry, 99, 1, "UTC"),
		     REGISTRY_ABSENT);
}

/* ---- keys ---- */

static struct access_record one(uint8_t kind, const char *text)
{
	struct access_record rec = {.kind = kind};

	snprintf(rec.text, sizeof(rec.text), "%s", text);
	return rec;
}

static uint32_t key_word(uint32_t slot)
{
	return atomic_load_explicit(&w.arena.arena.keys[slot].state,
				    memory_order_relaxed);
}

static const struct access *access_of(uint32_t slot)
{
	cr_assert_neq(KEY_ACCESS(key_word(slot)), 0);
	return block_in_arena(KEY_ACCESS(key_word(slot)));
}

Test(registry_plans, access_of_a_key_reaches_the_workers)
{
	struct access_record of[] = {one(ACCESS_SCOPE, "read"),
				     one(ACCESS_NETWORK, "10.0.0.0/8")};
	struct key_record rec = {.org = plain_org("a")}, old, new;
	struct key_access has;
	char text[KEY_TEXT_MAX], id[ID_LEN + 1];

	cr_assert_eq(registry_key_create_for(w.registry, &rec, of, 2, text), 0);
	cr_expect_eq(KEY_STATE(key_word(rec.slot)), SLOT_ACTIVE);
	cr_expect_eq(access_of(rec.slot)->scopes, 1);
	cr_expect_eq(access_of(rec.slot)->networks, 1);
	cr_expect_eq(access_of(rec.slot)->data[0], label_hash("read", 4));
	cr_assert_eq(registry_key_access(w.registry, &rec, &has), 0);
	cr_expect_eq(has.count, 2);

	world_restart(&w);
	cr_expect_eq(access_of(rec.slot)->scopes, 1);

	/* A new key may do no more than the old one. */
	snprintf(id, sizeof(id), "%.8s", rec.id.c);
	cr_assert_eq(registry_key_rotate(w.registry, id, 0, &old, &new, text),
		     0);
	cr_expect_eq(key_word(old.slot), KEY_WORD(SLOT_REVOKED, 0));
	cr_expect_eq(access_of(new.slot)->networks, 1);
	world_restart(&w);
	cr_expect_eq(access_of(new.slot)->scopes, 1);
	cr_expect_eq(key_word(old.slot), KEY_WORD(SLOT_REVOKED, 0));
}

Test(registry_plans, refused_access_creates_no_key)
{
	struct access_record bad[] = {one(ACCESS_NETWORK, "10.0.0.1/8")};
	struct access_record twice[] = {one(ACCESS_SCOPE, "a"),
					one(ACCESS_SCOPE, "a")};
	struct key_record rec = {.org = plain_org("a")};
	struct records_counts counts;
	char text[KEY_TEXT_MAX];

	cr_expect_eq(registry_key_create_for(w.registry, &rec, bad, 1, text),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_key_create_for(w.registry, &rec, twice, 2, text),
		     REGISTRY_INVALID);
	cr_assert_eq(records_count(w.records, &counts), 0);
	cr_expect_eq(counts.keys, 0);
	cr_expect_str_eq(text, "");
}

Test(registry_plans, disabled_key_is_unknown_until_it_is_enabled)
{
	struct access_record of[] = {one(ACCESS_SCOPE, "read")};
	struct key_record rec = {.org = plain_org("a")}, got;
	char text[KEY_TEXT_MAX], id[ID_LEN + 1];

	cr_assert_eq(registry_key_create_for(w.registry, &rec, of, 1, text), 0);
	snprintf(id, sizeof(id), "%.8s", rec.id.c);
	cr_assert_eq(registry_key_set_disabled(w.registry, id, true, &got), 0);
	cr_expect(got.disabled);
	cr_expect_eq(world_check(&w, text, 1).reason, REASON_INVALID_KEY);
	world_restart(&w);
	cr_expect_eq(KEY_STATE(key_word(rec.slot)), SLOT_DISABLED);
	cr_expect_eq(access_of(rec.slot)->scopes, 1);
	cr_assert_eq(registry_key_set_disabled(w.registry, id, false, &got), 0);
	cr_expect_eq(KEY_STATE(key_word(rec.slot)), SLOT_ACTIVE);
	cr_expect_eq(access_of(rec.slot)->scopes, 1);
	cr_assert_eq(registry_key_revoke(w.registry, id, &got), 0);
	cr_expect_eq(registry_key_set_disabled(w.registry, id, false, &got),
		     REGISTRY_REVOKED);
	cr_expect_eq(registry_key_set_disabled(w.registry, "none", true, &got),
		     REGISTRY_ABSENT);
}

/* ---- budgets ---- */

static struct budget *budget_of(uint32_t project, unsigned idx)
{
	return &w.arena.arena.projects[project].budgets[idx];
}

Test(registry_plans, budgets_cap_projects)
{
	struct project_record project = {.org = plain_org("a"), .name = "p"};
	struct project_record bare = {.org = project.org, .name = "q"};
	struct budget_record budgets[] = {
		{.idx = 1, .units = 7, .period = BUDGET_PER_DAY}};
	struct budget_record b = {.units = 0, .period = BUDGET_PER_MONTH};

	cr_assert_eq(registry_project_create_capped(w.registry, &project,
						    budgets, 1),
		     0);
	cr_expect_eq(claim_load(&budget_of(project.slot, 0)->cap), BUDGET_NONE);
	cr_expect_eq(claim_load(&budget_of(project.slot, 1)->cap), 7);
	cr_assert_eq(registry_project_create(w.registry, &bare), 0);
	cr_expect_eq(claim_load(&budget_of(bare.slot, 0)->cap), BUDGET_NONE);
	b.project = bare.slot;
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	cr_expect_eq(claim_load(&budget_of(bare.slot, 0)->cap), 0);
	cr_assert_eq(registry_budget_remove(w.registry, project.slot, 1), 0);
	cr_expect_eq(registry_budget_remove(w.registry, project.slot, 1),
		     REGISTRY_ABSENT);
	cr_expect_eq(claim_load(&budget_of(project.slot, 1)->cap), BUDGET_NONE);
	world_restart(&w);
	cr_expect_eq(claim_load(&budget_of(bare.slot, 0)->cap), 0);
	cr_expect_eq(claim_load(&budget_of(bare.slot, 1)->cap), BUDGET_NONE);
	cr_expect_eq(claim_load(&budget_of(project.slot, 1)->cap), BUDGET_NONE);
}

Test(registry_plans, changed_cap_keeps_what_was_used_and_another_period_not)
{
	struct project_record project = {.org = plain_org("a"), .name = "p"};
	struct budget_record b = {.units = 5, .period = BUDGET_PER_MONTH};

	cr_assert_eq(registry_project_create(w.registry, &project), 0);
	b.project = project.slot;
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	slot_set_word(&budget_of(project.slot, 0)->used, BUDGET_WORD(9, 4));
	b.units = 8;
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	cr_expect_eq(claim_load(&budget_of(project.slot, 0)->used),
		     BUDGET_WORD(9, 4));
	world_restart(&w);
	cr_expect_eq(claim_load(&budget_of(project.slot, 0)->used),
		     BUDGET_WORD(9, 4));
	cr_expect_eq(claim_load(&budget_of(project.slot, 0)->cap), 8);
	b.period = BUDGET_PER_DAY;
	cr_assert_eq(registry_budget_set(w.registry, &b), 0);
	cr_expect_eq(claim_load(&budget_of(project.slot, 0)->used), 0);
	b.idx = PROJECT_BUDGETS_MAX;
	cr_expect_eq(registry_budget_set(w.registry, &b), REGISTRY_INVALID);
	b.idx = 0;
	b.project = 99;
	cr_expect_eq(registry_budget_set(w.registry, &b), REGISTRY_ABSENT);
}

/* ---- the audit trail ---- */

static int list_audit(const struct audit_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u %s %s;", rec->uid, rec->action,
		rec->subject);
	return 0;
}

Test(registry_plans, changes_are_recorded_with_who_asked)
{
	struct audit_record who = {
		.uid = 7, .action = "limit.set", .subject = "a"};
	struct rule_record bad = a_rule(0, 99, "x", 1);
	uint32_t org = plain_org("a");
	char out[256] = "";

	registry_act_for(w.registry, &who);
	set(a_rule(0, org, "x", 1));
	cr_expect_gt(registry_rule_set(w.registry, &bad), 0); /* no change */
	strcpy(who.action, "org.suspend");
	registry_act_for(w.registry, &who);
	cr_assert_eq(registry_org_set_suspended(w.registry, org, true), 0);
	registry_act_for(w.registry, NULL);
	cr_assert_eq(registry_org_set_suspended(w.registry, org, false), 0);
	cr_assert_eq(records_each_audit(w.records, 0, 0, list_audit, out), 0);
	cr_expect_str_eq(out, "7 limit.set a;7 org.suspend a;");
}
