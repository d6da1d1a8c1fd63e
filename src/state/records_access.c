/* SPDX-License-Identifier: MIT */
/* Budgets of projects, and what keys may be used for. */
#include "state/records_internal.h"
#include "state/records_plans.h"

static int budget_row(struct records *r, sqlite3_stmt *st,
		      struct budget_record *rec)
{
	int64_t idx, units, period;

	if (!row_u32(st, 0, ARENA_PROJECTS_MAX - 1, &rec->project) ||
	    !row_range(st, 1, 0, PROJECT_BUDGETS_MAX - 1, &idx) ||
	    !row_range(st, 2, 0, BUDGET_UNITS_MAX, &units) ||
	    !row_range(st, 3, BUDGET_PER_DAY, BUDGET_PER_BILLING, &period))
		return row_damaged(r, "budget");
	rec->idx = (uint8_t)idx;
	rec->units = (uint64_t)units;
	rec->period = (uint8_t)period;
	rec->created_ms = sqlite3_column_int64(st, 4);
	return 0;
}

int records_budget_put(struct records *r, const struct budget_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_BUDGET_PUT);

	statement_bind_int(st, 1, rec->project);
	statement_bind_int(st, 2, rec->idx);
	statement_bind_int(st, 3, (int64_t)rec->units);
	statement_bind_int(st, 4, rec->period);
	statement_bind_int(st, 5, rec->created_ms);
	return statement_run(r, st, "set the budget");
}

int records_budget_delete(struct records *r, uint32_t project, uint8_t idx)
{
	sqlite3_stmt *st = statement_start(r, STMT_BUDGET_DELETE);

	statement_bind_int(st, 1, project);
	statement_bind_int(st, 2, idx);
	return statement_change(r, st, "remove the budget");
}

int records_each_budget(struct records *r, uint32_t project,
			int (*cb)(const struct budget_record *rec, void *arg),
			void *arg)
{
	sqlite3_stmt *st = statement_start(
		r, project ? STMT_BUDGET_EACH_OF_PROJECT : STMT_BUDGET_EACH);
	struct budget_record rec;
	int rc;

	if (project)
		statement_bind_int(st, 1, project);
	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = budget_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_access_insert(struct records *r, const struct access_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_ACCESS_INSERT);

	statement_bind_int(st, 1, rec->key);
	statement_bind_int(st, 2, rec->kind);
	statement_bind_array(st, 3, rec->text, sizeof(rec->text));
	return statement_run(r, st, "restrict the key");
}

static int access_row(struct records *r, sqlite3_stmt *st,
		      struct access_record *rec)
{
	int64_t kind;

	if (!row_u32(st, 0, ARENA_KEYS_MAX - 1, &rec->key) ||
	    !row_range(st, 1, ACCESS_SCOPE, ACCESS_NETWORK, &kind) ||
	    !row_text(st, 2, rec->text, sizeof(rec->text)))
		return row_damaged(r, "key_access");
	rec->kind = (uint8_t)kind;
	return 0;
}

int records_each_access(struct records *r, uint32_t key,
			int (*cb)(const struct access_record *rec, void *arg),
			void *arg)
{
	sqlite3_stmt *st = statement_start(r, key ? STMT_ACCESS_EACH_OF_KEY
						  : STMT_ACCESS_EACH);
	struct access_record rec;
	int rc;

	if (key)
		statement_bind_int(st, 1, key);
	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = access_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}
