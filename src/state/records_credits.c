/* SPDX-License-Identifier: MIT */
/* Pools of credits and their ledger. */
#include "state/records_credits.h"
#include "state/records_internal.h"

#include <string.h>

static int pool_row(struct records *r, sqlite3_stmt *st,
		    struct pool_record *rec)
{
	int64_t id, kind, granted, monthly;

	/* 0: the row stands for an organization without pools. */
	if (!row_range(st, 0, 0, UINT32_MAX, &id) ||
	    !row_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !row_range(st, 2, id ? POOL_TRIAL : 0, POOL_OVERAGE, &kind) ||
	    !row_text(st, 3, rec->route, sizeof(rec->route)) ||
	    !row_range(st, 4, 0, CREDITS_MAX, &granted) ||
	    !row_range(st, 5, 0, CREDITS_MAX, &monthly) ||
	    !row_range(st, 6, 0, INT64_MAX, &rec->expires_ms) ||
	    !row_range(st, 8, 0, INT64_MAX, &rec->closed_ms) ||
	    !row_range(st, 9, 0, INT64_MAX, &rec->renewed_ms) ||
	    !row_range(st, 10, 0, INT64_MAX, &rec->due_ms) ||
	    !row_range(st, 11, 0, INT64_MAX, &rec->granted_ms))
		return row_damaged(r, "pool");
	rec->id = (uint32_t)id;
	rec->kind = (uint8_t)kind;
	rec->granted = (uint64_t)granted;
	rec->monthly = (uint64_t)monthly;
	rec->created_ms = sqlite3_column_int64(st, 7);
	return 0;
}

int records_pool_insert(struct records *r, struct pool_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_INSERT);
	int64_t id = 0;
	int rc;

	statement_bind_int(st, 1, rec->org);
	statement_bind_int(st, 2, rec->kind);
	statement_bind_array(st, 3, rec->route, sizeof(rec->route));
	statement_bind_int(st, 4, (int64_t)rec->granted);
	statement_bind_int(st, 5, (int64_t)rec->monthly);
	statement_bind_int(st, 6, rec->expires_ms);
	statement_bind_int(st, 7, rec->created_ms);
	statement_bind_int(st, 8, rec->closed_ms);
	statement_bind_int(st, 9, rec->renewed_ms);
	statement_bind_int(st, 10, rec->due_ms);
	statement_bind_int(st, 11, rec->granted_ms);
	rc = statement_insert(r, st, "grant the credits", &id);
	if (rc == 0)
		rec->id = (uint32_t)id;
	return rc;
}

int records_trial_insert(struct records *r, uint32_t org, const char *route,
			 uint64_t granted, uint32_t room, int64_t now_ms,
			 unsigned *ret_count)
{
	sqlite3_stmt *st = statement_start(r, STMT_TRIAL_INSERT);
	int rc;

	statement_bind_int(st, 1, org);
	statement_bind_text(st, 2, route, strlen(route));
	statement_bind_int(st, 3, (int64_t)granted);
	statement_bind_int(st, 4, now_ms);
	statement_bind_int(st, 5, room);
	rc = statement_run(r, st, "make the trials");
	if (rc == 0)
		*ret_count = (unsigned)sqlite3_changes(r->db);
	return rc;
}

int records_pool_get(struct records *r, uint32_t id,
		     struct pool_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_GET);
	struct pool_record rec;
	int rc;

	statement_bind_int(st, 1, id);
	rc = statement_row(r, st, "no such pool");
	if (rc == 0)
		rc = pool_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	statement_finish(st);
	return rc;
}

int records_pool_granted(struct records *r, uint32_t id, int64_t granted_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_GRANTED);

	statement_bind_int(st, 1, id);
	statement_bind_int(st, 2, granted_ms);
	return statement_change(r, st, "grant the trial");
}

int records_pool_close(struct records *r, uint32_t id, int64_t closed_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_CLOSE);

	statement_bind_int(st, 1, id);
	statement_bind_int(st, 2, closed_ms);
	return statement_change(r, st, "close the pool");
}

static int each_pool(struct records *r, sqlite3_stmt *st,
		     int (*cb)(const struct pool_record *rec, void *arg),
		     void *arg)
{
	struct pool_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = pool_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_each_pool(struct records *r, uint32_t org,
		      int (*cb)(const struct pool_record *rec, void *arg),
		      void *arg)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_EACH);

	statement_bind_int(st, 1, org);
	return each_pool(r, st, cb, arg);
}

int records_each_pool_of_all(struct records *r,
			     int (*cb)(const struct pool_record *rec,
				       void *arg),
			     void *arg)
{
	return each_pool(r, statement_start(r, STMT_POOL_EACH_OF_ALL), cb, arg);
}

int records_each_pool_due(struct records *r, int64_t now_ms, uint32_t max,
			  int (*cb)(const struct pool_record *rec, void *arg),
			  void *arg)
{
	sqlite3_stmt *st = statement_start(r, STMT_POOL_EACH_DUE);

	statement_bind_int(st, 1, now_ms);
	statement_bind_int(st, 2, max ? (int64_t)max : -1);
	return each_pool(r, st, cb, arg);
}

/* ---- the ledger ---- */

int records_ledger_insert(struct records *r, struct ledger_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_LEDGER_INSERT);

	statement_bind_int(st, 1, rec->org);
	statement_bind_int(st, 2, rec->pool);
	statement_bind_int(st, 3, rec->at_ms);
	statement_bind_int(st, 4, rec->change);
	statement_bind_array(st, 5, rec->why, sizeof(rec->why));
	return statement_insert(r, st, "write the ledger", &rec->id);
}

static int ledger_row(struct records *r, sqlite3_stmt *st,
		      struct ledger_record *rec)
{
	rec->id = sqlite3_column_int64(st, 0);
	if (!row_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !row_u32(st, 2, UINT32_MAX, &rec->pool) ||
	    !row_text(st, 5, rec->why, sizeof(rec->why)))
		return row_damaged(r, "ledger");
	rec->at_ms = sqlite3_column_int64(st, 3);
	rec->change = sqlite3_column_int64(st, 4);
	return 0;
}

int records_each_ledger(struct records *r, uint32_t org, int64_t after,
			uint32_t max,
			int (*cb)(const struct ledger_record *rec, void *arg),
			void *arg)
{
	sqlite3_stmt *st = statement_start(r, STMT_LEDGER_EACH);
	struct ledger_record rec;
	int rc;

	statement_bind_int(st, 1, after);
	statement_bind_int(st, 2, max ? (int64_t)max : -1);
	statement_bind_int(st, 3, org);
	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = ledger_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}
