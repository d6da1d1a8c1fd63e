/* SPDX-License-Identifier: MIT */
/*
 * What is asked of the database, row by row. The statements themselves are in
 * records_statement.c.
 */
#include "state/records.h"
#include "state/records_internal.h"

#include "base/check.h"
#include "gate/layout.h"
#include "state/fs.h"
#include "state/records_plans.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/* A change writes a handful of pages; with less room than this the next one
 * may not fit. */
#define PROBE_FREE_BYTES (UINT64_C(1) << 20)

/* --- rows to structs --- */

static int org_row(struct records *r, sqlite3_stmt *st, struct org_record *rec)
{
	int64_t day;

	if (!row_u32(st, 0, ARENA_ORGS_MAX - 1, &rec->slot) ||
	    !row_bytes(st, 1, rec->id.c, ID_LEN) ||
	    !row_text(st, 2, rec->name, sizeof(rec->name)) ||
	    !row_u32(st, 3, LIMIT_MAX, &rec->limit))
		return row_damaged(r, "org");
	rec->window_ms = (uint64_t)sqlite3_column_int64(st, 4);
	if (rec->window_ms < WINDOW_MS_MIN || rec->window_ms > WINDOW_MS_MAX)
		return row_damaged(r, "org");
	rec->suspended = row_flag(st, 5);
	rec->created_ms = sqlite3_column_int64(st, 6);
	if (!row_u32(st, 7, PLANS_MAX, &rec->plan) ||
	    !row_range(st, 9, 1, 31, &day) ||
	    !row_text(st, 12, rec->timezone, sizeof(rec->timezone)))
		return row_damaged(r, "org");
	rec->limit_own = row_flag(st, 8);
	rec->anchor_day = (uint8_t)day;
	rec->overage = row_flag(st, 10);
	rec->credits = row_flag(st, 11);
	return 0;
}

static int project_row(struct records *r, sqlite3_stmt *st,
		       struct project_record *rec)
{
	if (!row_u32(st, 0, ARENA_PROJECTS_MAX - 1, &rec->slot) ||
	    !row_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !row_bytes(st, 2, rec->id.c, ID_LEN) ||
	    !row_text(st, 3, rec->name, sizeof(rec->name)))
		return row_damaged(r, "project");
	rec->created_ms = sqlite3_column_int64(st, 4);
	return 0;
}

static int key_row(struct records *r, sqlite3_stmt *st, struct key_record *rec)
{
	rec->project = 0;
	if (!row_u32(st, 0, ARENA_KEYS_MAX - 1, &rec->slot) ||
	    !row_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    (sqlite3_column_type(st, 2) != SQLITE_NULL &&
	     !row_u32(st, 2, ARENA_PROJECTS_MAX - 1, &rec->project)) ||
	    !row_bytes(st, 3, rec->id.c, ID_LEN) ||
	    !row_bytes(st, 4, rec->hash, sizeof(rec->hash)) ||
	    !row_text(st, 5, rec->name, sizeof(rec->name)))
		return row_damaged(r, "key");
	rec->created_ms = sqlite3_column_int64(st, 6);
	rec->expires_ms = sqlite3_column_int64(st, 7);
	rec->revoked_ms = sqlite3_column_int64(st, 8);
	rec->disabled = row_flag(st, 9);
	return 0;
}

/* --- insert --- */

int records_org_insert(struct records *r, struct org_record *rec,
		       uint32_t max_slot)
{
	const char *zone = rec->timezone[0] ? rec->timezone : "UTC";
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc;

	rc = row_next_slot(r, STMT_ORG_TOP, max_slot, ARENA_ORGS_MAX, &slot);
	if (rc)
		return rc;
	st = statement_start(r, STMT_ORG_INSERT);
	statement_bind_int(st, 1, slot);
	statement_bind_text(st, 2, rec->id.c, ID_LEN);
	statement_bind_text(st, 3, rec->name,
			    strnlen(rec->name, sizeof(rec->name)));
	statement_bind_int(st, 4, rec->limit);
	statement_bind_int(st, 5, (int64_t)rec->window_ms);
	statement_bind_int(st, 6, rec->suspended);
	statement_bind_int(st, 7, rec->created_ms);
	statement_bind_int(st, 8, rec->plan ? rec->plan : PLAN_DEFAULT);
	statement_bind_int(st, 9, rec->limit_own);
	statement_bind_int(st, 10, rec->anchor_day);
	statement_bind_int(st, 11, rec->overage);
	statement_bind_int(st, 12, rec->credits);
	statement_bind_text(st, 13, zone, strlen(zone));
	rc = statement_run(r, st, "create the organization");
	/* What the database filled in, too. */
	if (rc == 0)
		rc = records_org_get(r, slot, rec);
	return rc;
}

int records_project_insert(struct records *r, struct project_record *rec,
			   uint32_t max_slot)
{
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc;

	rc = row_next_slot(r, STMT_PROJECT_TOP, max_slot, ARENA_PROJECTS_MAX,
			   &slot);
	if (rc)
		return rc;
	st = statement_start(r, STMT_PROJECT_INSERT);
	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, rec->org);
	statement_bind_text(st, 3, rec->id.c, ID_LEN);
	statement_bind_text(st, 4, rec->name,
			    strnlen(rec->name, sizeof(rec->name)));
	statement_bind_int(st, 5, rec->created_ms);
	rc = statement_run(r, st, "create the project");
	if (rc == 0)
		rec->slot = slot;
	return rc;
}

int records_key_insert(struct records *r, struct key_record *rec,
		       uint32_t max_slot)
{
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc;

	rc = row_next_slot(r, STMT_KEY_TOP, max_slot, ARENA_KEYS_MAX, &slot);
	if (rc)
		return rc;
	st = statement_start(r, STMT_KEY_INSERT);
	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, rec->org);
	if (rec->project)
		statement_bind_int(st, 3,
				   rec->project); /* else NULL, as cleared */
	statement_bind_text(st, 4, rec->id.c, ID_LEN);
	statement_bind_hash(st, 5, rec->hash);
	statement_bind_text(st, 6, rec->name,
			    strnlen(rec->name, sizeof(rec->name)));
	statement_bind_int(st, 7, rec->created_ms);
	statement_bind_int(st, 8, rec->expires_ms);
	statement_bind_int(st, 9, rec->revoked_ms);
	rc = statement_run(r, st, "create the key");
	if (rc == 0)
		rec->slot = slot;
	return rc;
}

/* --- find --- */

static int one_org(struct records *r, sqlite3_stmt *st,
		   struct org_record *ret_rec)
{
	struct org_record rec;
	int rc = statement_row(r, st, "no such organization");

	if (rc == 0)
		rc = org_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	statement_finish(st);
	return rc;
}

int records_org_find(struct records *r, const char *id_or_name,
		     struct org_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_FIND);

	statement_bind_text(st, 1, id_or_name, strlen(id_or_name));
	return one_org(r, st, ret_rec);
}

int records_org_get(struct records *r, uint32_t slot,
		    struct org_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_GET);

	statement_bind_int(st, 1, slot);
	return one_org(r, st, ret_rec);
}

static int one_project(struct records *r, sqlite3_stmt *st,
		       struct project_record *ret_rec)
{
	struct project_record rec;
	int rc = statement_row(r, st, "no such project");

	if (rc == 0)
		rc = project_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	statement_finish(st);
	return rc;
}

int records_project_find(struct records *r, uint32_t org,
			 const char *id_or_name, struct project_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_PROJECT_FIND);

	statement_bind_int(st, 1, org);
	statement_bind_text(st, 2, id_or_name, strlen(id_or_name));
	return one_project(r, st, ret_rec);
}

int records_project_get(struct records *r, uint32_t slot,
			struct project_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_PROJECT_GET);

	statement_bind_int(st, 1, slot);
	return one_project(r, st, ret_rec);
}

int records_key_find(struct records *r, const char *id,
		     struct key_record *ret_rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_KEY_FIND);
	struct key_record rec;
	int rc;

	statement_bind_text(st, 1, id, strlen(id));
	rc = statement_row(r, st, "no such key");
	if (rc == 0)
		rc = key_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	statement_finish(st);
	return rc;
}

/* --- change --- */

int records_org_set_limit(struct records *r, uint32_t slot, uint32_t limit,
			  uint64_t window_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_SET_LIMIT);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, limit);
	statement_bind_int(st, 3, (int64_t)window_ms);
	return statement_change(r, st, "change the limit");
}

int records_org_drop_limit(struct records *r, uint32_t slot)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_DROP_LIMIT);

	statement_bind_int(st, 1, slot);
	return statement_change(r, st, "remove the limit");
}

int records_org_set_plan(struct records *r, uint32_t slot, uint32_t plan)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_SET_PLAN);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, plan);
	return statement_change(r, st, "change the plan");
}

int records_org_set_billing(struct records *r, uint32_t slot,
			    uint8_t anchor_day, const char *zone)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_SET_BILLING);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, anchor_day);
	statement_bind_text(st, 3, zone, strlen(zone));
	return statement_change(r, st, "change the billing period");
}

int records_org_set_credits(struct records *r, uint32_t slot, bool credits,
			    bool overage)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_SET_CREDITS);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, credits);
	statement_bind_int(st, 3, overage);
	return statement_change(r, st, "change how credits are counted");
}

int records_org_set_suspended(struct records *r, uint32_t slot, bool suspended)
{
	sqlite3_stmt *st = statement_start(r, STMT_ORG_SET_SUSPENDED);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, suspended);
	return statement_change(r, st, "suspend or resume the organization");
}

int records_key_revoke(struct records *r, uint32_t slot, int64_t revoked_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_KEY_REVOKE);

	/* 0 would say "not revoked" and still look like success. */
	check(revoked_ms > 0);
	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, revoked_ms);
	return statement_change(r, st, "revoke the key");
}

int records_key_set_expiry(struct records *r, uint32_t slot, int64_t expires_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_KEY_SET_EXPIRY);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, expires_ms);
	return statement_change(r, st, "change the expiry of the key");
}

int records_key_set_disabled(struct records *r, uint32_t slot, bool disabled)
{
	sqlite3_stmt *st = statement_start(r, STMT_KEY_SET_DISABLED);

	statement_bind_int(st, 1, slot);
	statement_bind_int(st, 2, disabled);
	return statement_change(r, st, "disable or enable the key");
}

/* --- visit --- */

static int each_org(struct records *r, sqlite3_stmt *st,
		    int (*cb)(const struct org_record *rec, void *arg),
		    void *arg)
{
	struct org_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = org_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_each_org(struct records *r, uint32_t after, uint32_t max,
		     int (*cb)(const struct org_record *rec, void *arg),
		     void *arg)
{
	return each_org(r, visit_start(r, STMT_ORG_EACH, 0, after, max), cb,
			arg);
}

int records_each_org_of_plan(struct records *r, uint32_t plan, uint32_t after,
			     uint32_t max,
			     int (*cb)(const struct org_record *rec, void *arg),
			     void *arg)
{
	return each_org(r,
			visit_start(r, STMT_ORG_EACH_OF_PLAN, plan, after, max),
			cb, arg);
}

int records_each_project(struct records *r, uint32_t org, uint32_t after,
			 uint32_t max,
			 int (*cb)(const struct project_record *rec, void *arg),
			 void *arg)
{
	sqlite3_stmt *st = visit_start(
		r, org ? STMT_PROJECT_EACH_OF_ORG : STMT_PROJECT_EACH, org,
		after, max);
	struct project_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = project_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_each_key(struct records *r, uint32_t org, uint32_t after,
		     uint32_t max,
		     int (*cb)(const struct key_record *rec, void *arg),
		     void *arg)
{
	sqlite3_stmt *st = visit_start(
		r, org ? STMT_KEY_EACH_OF_ORG : STMT_KEY_EACH, org, after, max);
	bool all = org == 0 && max == 0;
	struct key_record rec;
	int rc;

	/* Refused: the cache stays as it is, which does no harm. */
	if (all)
		(void)sqlite3_exec(r->db, RECORDS_CACHE_VISIT, NULL, NULL,
				   NULL);
	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = key_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	if (all)
		(void)sqlite3_exec(r->db, RECORDS_CACHE, NULL, NULL, NULL);
	statement_finish(st);
	return rc;
}

static int top(struct records *r, enum records_statement which,
	       uint64_t *ret_top)
{
	int64_t highest = 0;
	int rc = statement_number(r, statement_start(r, which), &highest);

	*ret_top = (uint64_t)highest;
	return rc;
}

int records_count(struct records *r, struct records_counts *ret_counts)
{
	struct records_counts c;
	int rc = top(r, STMT_ORG_TOP, &c.orgs);

	if (rc == 0)
		rc = top(r, STMT_PROJECT_TOP, &c.projects);
	if (rc == 0)
		rc = top(r, STMT_KEY_TOP, &c.keys);
	if (rc == 0)
		*ret_counts = c;
	return rc;
}

/* --- health --- */

int records_probe(struct records *r)
{
	struct statvfs fs;
	int moved = 0, rc;

	sqlite3_file_control(r->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	if (moved)
		return fs_fail(-ESTALE, r->error, sizeof(r->error),
			       "%s was removed or replaced under the running "
			       "process; stop it and restore a backup",
			       r->path);
	if (statvfs(r->path, &fs))
		return fs_fail(-errno, r->error, sizeof(r->error),
			       "cannot ask for free space at %s: %s", r->path,
			       strerror(errno));
	if (fs.f_flag & ST_RDONLY)
		return fs_fail(-EROFS, r->error, sizeof(r->error),
			       "the file system of %s is read-only", r->path);
	if (fs.f_blocks &&
	    (uint64_t)fs.f_bavail * fs.f_frsize < PROBE_FREE_BYTES)
		return fs_fail(-ENOSPC, r->error, sizeof(r->error),
			       "less than 1 MB free at %s", r->path);
	if (r->in_batch)
		return 0;
	rc = statement_run(r, statement_start(r, STMT_BEGIN), "begin");
	if (rc == 0)
		rc = statement_run(r, statement_start(r, STMT_ROLLBACK),
				   "roll back");
	return rc;
}
