/* SPDX-License-Identifier: MIT */
#include "state/records_plans.h"

#include "scratch.h"
#include "state/records_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct scratch s;
static struct records *r;
static char err[512];

static void must_open(void)
{
	int rc = records_open(s.records, &r, err, sizeof(err));

	cr_assert_eq(rc, 0, "%d: %s", rc, err);
}

static void open_place(void)
{
	scratch_init(&s);
	must_open();
}

static void close_place(void)
{
	r = records_close(r);
	scratch_deinit(&s);
}

TestSuite(records_plans, .init = open_place, .fini = close_place);

static void reopen(void)
{
	r = records_close(r);
	must_open();
}

static struct org_record put_org(const char *id)
{
	struct org_record rec = {.limit = 100, .window_ms = 60000};

	memcpy(rec.id.c, id, ID_LEN);
	snprintf(rec.name, sizeof(rec.name), "name %s", id);
	cr_assert_eq(records_org_insert(r, &rec, 1000), 0, "%s",
		     records_error(r));
	return rec;
}

static uint32_t put_project(uint32_t org, const char *id)
{
	struct project_record rec = {.org = org};

	memcpy(rec.id.c, id, ID_LEN);
	snprintf(rec.name, sizeof(rec.name), "%s", id);
	cr_assert_eq(records_project_insert(r, &rec, 1000), 0);
	return rec.slot;
}

static uint32_t put_key(uint32_t org, const char *id)
{
	struct key_record rec = {.org = org};

	memcpy(rec.id.c, id, ID_LEN);
	memset(rec.hash, id[3], sizeof(rec.hash));
	cr_assert_eq(records_key_insert(r, &rec, 1000), 0);
	return rec.slot;
}

static struct plan_record a_plan(const char *id, const char *name)
{
	struct plan_record rec = {.created_ms = 5};

	memcpy(rec.id.c, id, ID_LEN);
	snprintf(rec.name, sizeof(rec.name), "%s", name);
	return rec;
}

static struct rule_record a_rule(uint32_t plan, uint32_t org, const char *name)
{
	struct rule_record rec = {.plan = plan,
				  .org = org,
				  .algorithm = RULE_WINDOW,
				  .limit = 10,
				  .period_ms = 1000};

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	return rec;
}

/* ---- the step ---- */

/* What the first release left, with rows. */
static const char old_rows[] =
	"INSERT INTO org VALUES (1, 'ORGa0000', 'a', 7, 1000, 0, 5);"
	/* 31 January 2024, 23:59:59.999 UTC */
	"INSERT INTO org VALUES (2, 'ORGb0000', 'b', 65536, 60000, 1,"
	" 1706745599999);"
	"INSERT INTO project VALUES (1, 1, 'PROa0000', 'p', 5);"
	"INSERT INTO key VALUES (1, 1, 1, 'KEYa0000', zeroblob(32), '', 5, 0,"
	" 9);";

Test(records_plans, database_of_the_first_release_is_carried_over)
{
	struct plan_record plan;
	struct org_record org;
	struct key_record key;
	sqlite3 *db;

	r = records_close(r);
	remove(s.records);
	cr_assert_eq(sqlite3_open(s.records, &db), SQLITE_OK);
	cr_assert_eq(records_migrate(db, records_steps, 0, 1, err, sizeof(err)),
		     0, "%s", err);
	cr_assert_eq(sqlite3_exec(db, old_rows, NULL, NULL, NULL), SQLITE_OK,
		     "%s", sqlite3_errmsg(db));
	sqlite3_close(db);

	must_open();
	cr_assert_eq(records_org_get(r, 1, &org), 0);
	cr_expect_eq(org.plan, PLAN_DEFAULT);
	cr_expect(org.limit_own);
	cr_expect_eq(org.limit, 7);
	cr_expect_eq(org.anchor_day, 1);
	cr_expect_not(org.overage);
	cr_expect_not(org.credits);
	cr_expect_str_eq(org.timezone, "UTC");
	cr_assert_eq(records_org_get(r, 2, &org), 0);
	cr_expect_eq(org.anchor_day, 31);
	cr_expect(org.suspended);
	cr_assert_eq(records_key_find(r, "KEYa0000", &key), 0);
	cr_expect_not(key.disabled);
	cr_expect_eq(key.revoked_ms, 9);
	cr_assert_eq(records_plan_get(r, PLAN_DEFAULT, &plan), 0);
	cr_expect_str_eq(plan.name, "default");
	/* and goes on */
	cr_expect_eq(put_org("ORGc0000").slot, 3);
	reopen();
	cr_expect_eq(records_org_get(r, 3, &org), 0);
}

Test(records_plans, new_organization_is_filled_in)
{
	struct org_record org = put_org("ORGa0000");

	cr_expect_eq(org.plan, PLAN_DEFAULT);
	cr_expect_not(org.limit_own);
	cr_expect_eq(org.anchor_day, 1); /* of 1970 */
	cr_expect_str_eq(org.timezone, "UTC");
}

Test(records_plans, organization_columns_are_changed_and_read_back)
{
	struct plan_record plan = a_plan("PLNa0000", "fast");
	struct org_record org;

	put_org("ORGa0000");
	cr_assert_eq(records_plan_insert(r, &plan), 0);
	cr_expect_eq(records_org_set_plan(r, 1, plan.slot), 0);
	cr_expect_eq(records_org_set_plan(r, 1, 99), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_plan(r, 9, plan.slot), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_billing(r, 1, 31, "Europe/Berlin"), 0);
	cr_expect_eq(records_org_set_billing(r, 1, 32, "UTC"), -EINVAL);
	cr_expect_eq(records_org_set_billing(r, 1, 0, "UTC"), -EINVAL);
	cr_expect_eq(records_org_set_billing(r, 1, 1, ""), -EINVAL);
	cr_expect_eq(records_org_set_billing(r, 1, 1, "a b"), -EINVAL);
	cr_expect_eq(records_org_set_billing(r, 9, 1, "UTC"), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_credits(r, 1, true, true), 0);
	cr_expect_eq(records_org_set_credits(r, 9, true, true), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_limit(r, 1, 7, 5), 0);
	reopen();
	cr_assert_eq(records_org_get(r, 1, &org), 0);
	cr_expect_eq(org.plan, plan.slot);
	cr_expect_eq(org.anchor_day, 31);
	cr_expect_str_eq(org.timezone, "Europe/Berlin");
	cr_expect(org.overage && org.credits && org.limit_own);
	cr_expect_eq(records_org_drop_limit(r, 1), 0);
	cr_expect_eq(records_org_drop_limit(r, 9), RECORDS_ABSENT);
	cr_assert_eq(records_org_get(r, 1, &org), 0);
	cr_expect_not(org.limit_own);
	cr_expect_eq(org.limit, 7);
}

Test(records_plans, key_is_disabled_and_enabled)
{
	struct key_record key;

	put_org("ORGa0000");
	put_key(1, "KEYa0000");
	cr_expect_eq(records_key_set_disabled(r, 1, true), 0);
	reopen();
	cr_assert_eq(records_key_find(r, "KEYa0000", &key), 0);
	cr_expect(key.disabled);
	cr_expect_eq(records_key_set_disabled(r, 1, false), 0);
	cr_assert_eq(records_key_find(r, "KEYa0000", &key), 0);
	cr_expect_not(key.disabled);
	cr_expect_eq(records_key_set_disabled(r, 2, true), RECORDS_ABSENT);
}

/* ---- plans ---- */

static int count_plan(const struct plan_record *rec, void *arg)
{
	char *names = arg;

	strcat(names, rec->name);
	strcat(names, " ");
	return 0;
}

Test(records_plans, plans_are_found_visited_and_removed)
{
	struct plan_record plan = a_plan("PLNa0000", "fast");
	struct plan_record found;
	char names[64] = "";
	uint64_t orgs;

	cr_assert_eq(records_plan_insert(r, &plan), 0);
	cr_expect_eq(plan.slot, 2);
	cr_expect_eq(records_plan_insert(r, &plan), RECORDS_EXISTS);
	plan = a_plan("PLNb0000", "PLNa0000"); /* looks like an id */
	cr_assert_eq(records_plan_insert(r, &plan), 0);
	cr_assert_eq(records_plan_find(r, "PLNa0000", &found), 0);
	cr_expect_eq(found.slot, 2);
	cr_assert_eq(records_plan_find(r, "fast", &found), 0);
	cr_expect_eq(found.created_ms, 5);
	cr_expect_eq(records_plan_find(r, "slow", &found), RECORDS_ABSENT);
	cr_expect_eq(records_plan_get(r, 9, &found), RECORDS_ABSENT);

	put_org("ORGa0000");
	cr_assert_eq(records_org_set_plan(r, 1, 2), 0);
	cr_assert_eq(records_plan_orgs(r, 2, &orgs), 0);
	cr_expect_eq(orgs, 1);
	cr_assert_eq(records_begin(r), 0);
	cr_expect_eq(records_plan_remove(r, 2), RECORDS_EXISTS);
	cr_assert_eq(records_org_set_plan(r, 1, PLAN_DEFAULT), 0);
	cr_expect_eq(records_plan_remove(r, 2), 0);
	cr_expect_eq(records_plan_remove(r, 2), RECORDS_ABSENT);
	cr_assert_eq(records_commit(r), 0);
	cr_assert_eq(records_each_plan(r, 0, 0, count_plan, names), 0);
	cr_expect_str_eq(names, "default PLNa0000 ");
	names[0] = '\0';
	cr_assert_eq(records_each_plan(r, 1, 1, count_plan, names), 0);
	cr_expect_str_eq(names, "PLNa0000 ");
}

Test(records_plans, full_table_of_plans_is_an_answer)
{
	struct plan_record plan;
	char id[16];

	cr_assert_eq(records_begin(r), 0);
	for (unsigned i = 2; i <= PLANS_MAX; i++) {
		snprintf(id, sizeof(id), "PLN%05u", i);
		plan = a_plan(id, id);
		cr_assert_eq(records_plan_insert(r, &plan), 0);
	}
	plan = a_plan("PLNx0000", "one too many");
	cr_expect_eq(records_plan_insert(r, &plan), RECORDS_FULL);
	records_rollback(r);
}

static int add_slot(const struct org_record *rec, void *arg)
{
	uint32_t *sum = arg;

	*sum = *sum * 10 + rec->slot;
	return 0;
}

Test(records_plans, organizations_of_a_plan_are_visited)
{
	struct plan_record plan = a_plan("PLNa0000", "fast");
	uint32_t sum = 0;

	cr_assert_eq(records_plan_insert(r, &plan), 0);
	put_org("ORGa0000");
	put_org("ORGb0000");
	put_org("ORGc0000");
	cr_assert_eq(records_org_set_plan(r, 1, 2), 0);
	cr_assert_eq(records_org_set_plan(r, 3, 2), 0);
	cr_assert_eq(records_each_org_of_plan(r, 2, 0, 0, add_slot, &sum), 0);
	cr_expect_eq(sum, 13);
	sum = 0;
	cr_assert_eq(records_each_org_of_plan(r, 2, 1, 5, add_slot, &sum), 0);
	cr_expect_eq(sum, 3);
}

/* ---- rules ---- */

struct kept {
	struct rule_record rules[8];
	unsigned count;
};

static int keep(const struct rule_record *rec, void *arg)
{
	struct kept *k = arg;

	k->rules[k->count++] = *rec;
	return 0;
}

Test(records_plans, rule_is_read_back_whole)
{
	struct rule_record rule = {.plan = 1,
				   .name = "burst.of_9-x",
				   .level = LEVEL_ROUTE,
				   .algorithm = RULE_GCRA,
				   .limit = RULE_LIMIT_MAX,
				   .period_ms = WINDOW_MS_MAX,
				   .burst = RULE_BURST_MAX,
				   .lease_ms = RULE_LEASE_MS_MAX,
				   .route = "/v1/\xc3\xa4",
				   .shadow = true,
				   .full_pass = true,
				   .max_subjects = RULE_SUBJECTS_MAX};
	struct kept k = {0};

	cr_assert_eq(records_rule_put(r, &rule), 0, "%s", records_error(r));
	reopen();
	cr_assert_eq(records_each_rule_of_plan(r, 1, keep, &k), 0);
	cr_assert_eq(k.count, 1);
	cr_expect_eq(k.rules[0].id, rule.id);
	cr_expect_eq(k.rules[0].plan, 1);
	cr_expect_eq(k.rules[0].org, 0);
	cr_expect_str_eq(k.rules[0].name, rule.name);
	cr_expect_eq(k.rules[0].level, LEVEL_ROUTE);
	cr_expect_eq(k.rules[0].algorithm, RULE_GCRA);
	cr_expect_eq(k.rules[0].limit, RULE_LIMIT_MAX);
	cr_expect_eq(k.rules[0].period_ms, WINDOW_MS_MAX);
	cr_expect_eq(k.rules[0].burst, RULE_BURST_MAX);
	cr_expect_eq(k.rules[0].lease_ms, RULE_LEASE_MS_MAX);
	cr_expect_str_eq(k.rules[0].route, rule.route);
	cr_expect(k.rules[0].shadow && k.rules[0].full_pass);
	cr_expect_not(k.rules[0].requests_only || k.rules[0].removed);
	cr_expect_eq(k.rules[0].max_subjects, RULE_SUBJECTS_MAX);
}

Test(records_plans, number_of_a_rule_stays_until_it_counts_something_else)
{
	struct rule_record rule = a_rule(1, 0, "r");
	uint32_t first;

	cr_assert_eq(records_begin(r), 0);
	cr_assert_eq(records_rule_put(r, &rule), 0);
	first = rule.id;
	rule.limit = 20;
	rule.shadow = true;
	rule.id = 0;
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_expect_eq(rule.id, first);
	rule.level = LEVEL_KEY;
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_expect_gt(rule.id, first);
	first = rule.id;
	rule.algorithm = RULE_CONCURRENCY;
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_expect_gt(rule.id, first);
	first = rule.id;
	snprintf(rule.route, sizeof(rule.route), "/a");
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_expect_gt(rule.id, first);
	/* Not even when the highest one went. */
	first = rule.id;
	cr_assert_eq(records_rule_delete(r, 1, 0, "r"), 0);
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_expect_gt(rule.id, first);
	cr_assert_eq(records_commit(r), 0);
}

Test(records_plans, rules_of_organizations_are_visited_one_by_one)
{
	struct rule_record rule;
	struct kept k = {0};

	put_org("ORGa0000");
	put_org("ORGb0000");
	rule = a_rule(0, 2, "x");
	cr_assert_eq(records_rule_put(r, &rule), 0);
	rule = a_rule(0, 1, "x"); /* the same name elsewhere */
	cr_assert_eq(records_rule_put(r, &rule), 0);
	rule = a_rule(0, 1, "a");
	rule.removed = true;
	cr_assert_eq(records_rule_put(r, &rule), 0);
	rule = a_rule(1, 0, "p");
	cr_assert_eq(records_rule_put(r, &rule), 0);
	cr_assert_eq(records_each_rule_of_org(r, 0, keep, &k), 0);
	cr_assert_eq(k.count, 3);
	cr_expect_eq(k.rules[0].org, 1);
	cr_expect_str_eq(k.rules[0].name, "x");
	cr_expect_str_eq(k.rules[1].name, "a");
	cr_expect(k.rules[1].removed);
	cr_expect_eq(k.rules[2].org, 2);
	k.count = 0;
	cr_assert_eq(records_each_rule_of_org(r, 2, keep, &k), 0);
	cr_expect_eq(k.count, 1);
	cr_expect_eq(records_rule_delete(r, 0, 2, "x"), 0);
	cr_expect_eq(records_rule_delete(r, 0, 2, "x"), RECORDS_ABSENT);
	k.count = 0;
	cr_assert_eq(records_each_rule_of_org(r, 2, keep, &k), 0);
	cr_expect_eq(k.count, 0);
}

Test(records_plans, rules_out_of_range_are_refused)
{
	struct rule_record good, bad;

	put_org("ORGa0000");
	good = a_rule(1, 0, "r");
	for (unsigned i = 0; i < 9; i++) {
		bad = good;
		switch (i) {
		case 0:
			bad.name[0] = '\0';
			break;
		case 1:
			bad.name[0] = 'R';
			break;
		case 2:
			bad.name[0] = ' ';
			break;
		case 3:
			bad.level = LEVEL_COUNT;
			break;
		case 4:
			bad.algorithm = 0;
			break;
		case 5:
			bad.limit = 0;
			break;
		case 6:
			bad.period_ms = WINDOW_MS_MAX + 1;
			break;
		case 7: /* of both */
			bad.org = 1;
			break;
		default: /* a plan cannot take away */
			bad.removed = true;
			break;
		}
		cr_expect_eq(records_rule_put(r, &bad), -EINVAL, "case %u", i);
	}
	bad = a_rule(77, 0, "r");
	cr_expect_eq(records_rule_put(r, &bad), RECORDS_ABSENT);
	bad = a_rule(0, 77, "r");
	cr_expect_eq(records_rule_put(r, &bad), RECORDS_ABSENT);
}

Test(records_plans, too_many_rules_are_an_answer)
{
	struct rule_record rule;
	char name[16];

	cr_assert_eq(records_begin(r), 0);
	for (unsigned i = 0; i < RULES_OF_ONE_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		rule = a_rule(1, 0, name);
		cr_assert_eq(records_rule_put(r, &rule), 0);
	}
	rule = a_rule(1, 0, "last");
	cr_expect_eq(records_rule_put(r, &rule), RECORDS_FULL);
	rule = a_rule(1, 0, "r3"); /* changing one is none more */
	cr_expect_eq(records_rule_put(r, &rule), 0);
	records_rollback(r);
}

/* ---- budgets ---- */

static int keep_budget(const struct budget_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u.%u=%llu/%u ", rec->project, rec->idx,
		(unsigned long long)rec->units, rec->period);
	return 0;
}

Test(records_plans, budgets_are_set_replaced_and_removed)
{
	struct budget_record b = {
		.project = 2, .idx = 1, .units = 7, .period = BUDGET_PER_DAY};
	char out[128] = "";

	put_org("ORGa0000");
	put_project(1, "PROa0000");
	put_project(1, "PROb0000");
	cr_assert_eq(records_budget_put(r, &b), 0);
	b.idx = 0;
	b.units = (uint64_t)BUDGET_UNITS_MAX;
	b.period = BUDGET_PER_BILLING;
	cr_assert_eq(records_budget_put(r, &b), 0);
	b.project = 1;
	b.units = 0;
	cr_assert_eq(records_budget_put(r, &b), 0);
	b.units = 8;
	cr_assert_eq(records_budget_put(r, &b), 0);
	reopen();
	cr_assert_eq(records_each_budget(r, 0, keep_budget, out), 0);
	cr_expect_str_eq(out, "1.0=8/4 2.0=17592186044415/4 2.1=7/1 ");
	cr_expect_eq(records_budget_delete(r, 2, 0), 0);
	cr_expect_eq(records_budget_delete(r, 2, 0), RECORDS_ABSENT);
	out[0] = '\0';
	cr_assert_eq(records_each_budget(r, 2, keep_budget, out), 0);
	cr_expect_str_eq(out, "2.1=7/1 ");
	b.project = 3;
	cr_expect_eq(records_budget_put(r, &b), RECORDS_ABSENT);
	b.project = 1;
	b.idx = 2;
	cr_expect_eq(records_budget_put(r, &b), -EINVAL);
	b.idx = 0;
	b.period = 0;
	cr_expect_eq(records_budget_put(r, &b), -EINVAL);
}

/* ---- access ---- */

static int keep_access(const struct access_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u.%u=%s ", rec->key, rec->kind, rec->text);
	return 0;
}

Test(records_plans, access_is_visited_key_by_key)
{
	struct access_record a = {
		.key = 2, .kind = ACCESS_NETWORK, .text = "10.0.0.0/8"};
	char out[128] = "";

	put_org("ORGa0000");
	put_key(1, "KEYa0000");
	put_key(1, "KEYb0000");
	cr_assert_eq(records_access_insert(r, &a), 0);
	cr_expect_eq(records_access_insert(r, &a), RECORDS_EXISTS);
	a = (struct access_record){
		.key = 2, .kind = ACCESS_SCOPE, .text = "read"};
	cr_assert_eq(records_access_insert(r, &a), 0);
	a.key = 1;
	cr_assert_eq(records_access_insert(r, &a), 0);
	reopen();
	cr_assert_eq(records_each_access(r, 0, keep_access, out), 0);
	cr_expect_str_eq(out, "1.1=read 2.1=read 2.3=10.0.0.0/8 ");
	out[0] = '\0';
	cr_assert_eq(records_each_access(r, 1, keep_access, out), 0);
	cr_expect_str_eq(out, "1.1=read ");
	a.key = 3;
	cr_expect_eq(records_access_insert(r, &a), RECORDS_ABSENT);
	a.key = 1;
	a.text[0] = '\0';
	cr_expect_eq(records_access_insert(r, &a), -EINVAL);
	a = (struct access_record){.key = 1, .kind = 4, .text = "x"};
	cr_expect_eq(records_access_insert(r, &a), -EINVAL);
}
