/* SPDX-License-Identifier: MIT */
/* Plans and rules. */
#include "state/records_plans.h"
#include "state/records_internal.h"

#include <stdio.h>
#include <string.h>

static int plan_row(struct records *r, sqlite3_stmt *st,
		    struct plan_record *rec)
{
	if (!row_u32(st, 0, PLANS_MAX, &rec->slot) ||
	    !row_bytes(st, 1, rec->id.c, ID_LEN) ||
	    !row_text(st, 2, rec->name, sizeof(rec->name)))
		return row_damaged(r, "plan");
	rec->created_ms = sqlite3_column_int64(st, 3);
	return 0;
}

static int rule_row(struct records *r, sqlite3_stmt *st,
		    struct rule_record *rec)
{
	int64_t level, algorithm, period, burst, lease, subjects;

	if (!row_u32(st, 0, UINT32_MAX, &rec->id) ||
	    !row_slot(st, 1, PLANS_MAX, &rec->plan) ||
	    !row_slot(st, 2, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !row_text(st, 3, rec->name, sizeof(rec->name)) ||
	    !row_range(st, 4, 0, LEVEL_COUNT - 1, &level) ||
	    !row_range(st, 5, RULE_WINDOW, RULE_CONCURRENCY, &algorithm) ||
	    !row_u32(st, 6, RULE_LIMIT_MAX, &rec->limit) ||
	    !row_range(st, 7, 0, WINDOW_MS_MAX, &period) ||
	    !row_range(st, 8, 0, RULE_BURST_MAX, &burst) ||
	    !row_range(st, 9, 0, RULE_LEASE_MS_MAX, &lease) ||
	    !row_text(st, 10, rec->route, sizeof(rec->route)) ||
	    !row_range(st, 14, 0, RULE_SUBJECTS_MAX, &subjects))
		return row_damaged(r, "rule");
	rec->level = (uint8_t)level;
	rec->algorithm = (uint8_t)algorithm;
	rec->period_ms = (uint64_t)period;
	rec->burst = (uint32_t)burst;
	rec->lease_ms = (uint64_t)lease;
	rec->shadow = row_flag(st, 11);
	rec->requests_only = row_flag(st, 12);
	rec->full_pass = row_flag(st, 13);
	rec->max_subjects = (uint32_t)subjects;
	rec->removed = row_flag(st, 15);
	return 0;
}

/* ---- plans ---- */

int records_plan_insert(struct records *r, struct plan_record *rec)
{
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc = row_next_slot(r, STMT_PLAN_TOP, PLANS_MAX, PLANS_MAX + 1,
			       &slot);

	if (rc)
		return rc;
	st = statement_start(r, STMT_PLAN_INSERT);
	statement_bind_int(st, 1, slot);
	statement_bind_text(st, 2, rec->id.c, ID_LEN);
	statement_bind_array(st, 3, rec->name, sizeof(rec->name));
	statement_bind_int(st, 4, rec->created_ms);
	rc = statement_run(r, st, "create the plan");
	if (rc == 0)
		rec->slot = slot;
	return rc;
}

static int one_plan(struct records *r, sqlite3_stmt *st,
		    struct plan_record *ret_rec)
{
	struct plan_record rec;
	int rc = statement_row(r, st, "no such plan");

	if (rc == 0)
		rc = plan_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	statement_finish(st);
	return rc;
}

int records_plan_find(struct records *r, const char *id_or_name,
		      struct plan_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_PLAN_FIND);

	statement_bind_text(st, 1, id_or_name, strlen(id_or_name));
	return one_plan(r, st, ret_rec);
}

int records_plan_get(struct records *r, uint32_t slot,
		     struct plan_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_PLAN_GET);

	statement_bind_int(st, 1, slot);
	return one_plan(r, st, ret_rec);
}

int records_plan_orgs(struct records *r, uint32_t slot, uint64_t *ret_count)
{
	sqlite3_stmt *st = statement_start(r, STMT_PLAN_ORGS);
	int64_t count;
	int rc;

	statement_bind_int(st, 1, slot);
	rc = statement_number(r, st, &count);
	if (rc == 0)
		*ret_count = (uint64_t)count;
	return rc;
}

int records_plan_remove(struct records *r, uint32_t slot)
{
	sqlite3_stmt *st;
	uint64_t orgs;
	int rc = records_plan_orgs(r, slot, &orgs);

	if (rc)
		return rc;
	if (orgs != 0)
		return records_say(r, RECORDS_EXISTS,
				   "organizations have this plan");
	st = statement_start(r, STMT_RULE_DELETE_OF_PLAN);
	statement_bind_int(st, 1, slot);
	rc = statement_run(r, st, "remove the plan's rules");
	if (rc)
		return rc;
	st = statement_start(r, STMT_PLAN_DELETE);
	statement_bind_int(st, 1, slot);
	return statement_change(r, st, "remove the plan");
}

int records_each_plan(struct records *r, uint32_t after, uint32_t max,
		      int (*cb)(const struct plan_record *rec, void *arg),
		      void *arg)
{
	sqlite3_stmt *st = visit_start(r, STMT_PLAN_EACH, 0, after, max);
	struct plan_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = plan_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

/* ---- rules ---- */

static int find_rule(struct records *r, uint32_t plan, uint32_t org,
		     const char *name, struct rule_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, plan ? STMT_RULE_FIND_OF_PLAN
						   : STMT_RULE_FIND_OF_ORG);
	int rc;

	statement_bind_int(st, 1, plan ? plan : org);
	statement_bind_text(st, 2, name, strlen(name));
	rc = statement_row(r, st, "no such limit");
	if (rc == 0)
		rc = rule_row(r, st, ret_rec);
	statement_finish(st);
	return rc;
}

static void bind_rule(sqlite3_stmt *st, const struct rule_record *rec)
{
	statement_bind_int(st, 5, rec->level);
	statement_bind_int(st, 6, rec->algorithm);
	statement_bind_int(st, 7, rec->limit);
	statement_bind_int(st, 8, (int64_t)rec->period_ms);
	statement_bind_int(st, 9, rec->burst);
	statement_bind_int(st, 10, (int64_t)rec->lease_ms);
	statement_bind_array(st, 11, rec->route, sizeof(rec->route));
	statement_bind_int(st, 12, rec->shadow);
	statement_bind_int(st, 13, rec->requests_only);
	statement_bind_int(st, 14, rec->full_pass);
	statement_bind_int(st, 15, rec->max_subjects);
	statement_bind_int(st, 16, rec->removed);
}

static int insert_rule(struct records *r, struct rule_record *rec)
{
	sqlite3_stmt *st =
		statement_start(r, rec->plan ? STMT_RULE_COUNT_OF_PLAN
					     : STMT_RULE_COUNT_OF_ORG);
	int64_t id = 0, count = 0;
	int rc;

	statement_bind_int(st, 1, rec->plan ? rec->plan : rec->org);
	rc = statement_number(r, st, &count);
	if (rc)
		return rc;
	if (count >= RULES_OF_ONE_MAX)
		return records_say(r, RECORDS_FULL, "too many limits");
	st = statement_start(r, STMT_RULE_INSERT);
	statement_bind_slot(st, 2, rec->plan);
	statement_bind_slot(st, 3, rec->org);
	statement_bind_array(st, 4, rec->name, sizeof(rec->name));
	bind_rule(st, rec);
	rc = statement_insert(r, st, "set the limit", &id);
	if (rc == 0)
		rec->id = (uint32_t)id;
	return rc;
}

static int delete_rule(struct records *r, uint32_t id)
{
	sqlite3_stmt *st = statement_start(r, STMT_RULE_DELETE);

	statement_bind_int(st, 1, id);
	return statement_change(r, st, "remove the limit");
}

int records_rule_put(struct records *r, struct rule_record *rec)
{
	struct rule_record has;
	sqlite3_stmt *st;
	int rc = find_rule(r, rec->plan, rec->org, rec->name, &has);

	if (rc == RECORDS_ABSENT)
		return insert_rule(r, rec);
	if (rc)
		return rc;
	if (has.level != rec->level || has.algorithm != rec->algorithm ||
	    strcmp(has.route, rec->route) != 0) {
		rc = delete_rule(r, has.id);
		return rc ? rc : insert_rule(r, rec);
	}
	st = statement_start(r, STMT_RULE_UPDATE);
	statement_bind_int(st, 1, has.id);
	bind_rule(st, rec);
	rc = statement_change(r, st, "set the limit");
	if (rc == 0)
		rec->id = has.id;
	return rc;
}

int records_rule_delete(struct records *r, uint32_t plan, uint32_t org,
			const char *name)
{
	struct rule_record has;
	int rc = find_rule(r, plan, org, name, &has);

	return rc ? rc : delete_rule(r, has.id);
}

static int each_rule(struct records *r, sqlite3_stmt *st,
		     int (*cb)(const struct rule_record *rec, void *arg),
		     void *arg)
{
	struct rule_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = rule_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_each_rule_of_plan(struct records *r, uint32_t plan,
			      int (*cb)(const struct rule_record *rec,
					void *arg),
			      void *arg)
{
	sqlite3_stmt *st = statement_start(r, STMT_RULE_EACH_OF_PLAN);

	statement_bind_int(st, 1, plan);
	return each_rule(r, st, cb, arg);
}

int records_each_rule_of_org(struct records *r, uint32_t org,
			     int (*cb)(const struct rule_record *rec,
				       void *arg),
			     void *arg)
{
	sqlite3_stmt *st = statement_start(r, org ? STMT_RULE_EACH_OF_ORG
						  : STMT_RULE_EACH_OF_ALL);

	if (org)
		statement_bind_int(st, 1, org);
	return each_rule(r, st, cb, arg);
}
