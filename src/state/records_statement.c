/* SPDX-License-Identifier: MIT */
/*
 * The statements. Each is prepared once, when the database is opened, and
 * belongs to one function of records*.c; statement_finish() gives it back.
 *
 * Rows of organizations, projects and keys are never deleted, so slots are
 * dense: the lowest free number is the highest one plus one, and that is also
 * the count. Both are one descent of a B-tree instead of a scan.
 */
#include "state/records_internal.h"

#include "base/check.h"
#include "state/fs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ORG_COLUMNS                                                            \
	"slot, id, name, limit_units, window_ms, suspended, created_ms, "      \
	"plan, limit_own, anchor_day, overage, credits, timezone"
#define PROJECT_COLUMNS "slot, org, id, name, created_ms"
#define KEY_COLUMNS                                                            \
	"slot, org, project, id, hash, name, created_ms, expires_ms, "         \
	"revoked_ms"
#define RULE_COLUMNS                                                           \
	"id, plan, org, name, level, algorithm, limit_units, period_ms, "      \
	"burst, lease_ms, route, shadow, requests_only, full_pass, "           \
	"max_subjects, removed"
#define POOL_COLUMNS                                                           \
	"pool.id, org, kind, route, granted, monthly, expires_ms, "            \
	"pool.created_ms, closed_ms, renewed_ms, due_ms, granted_ms"
#define EVENT_COLUMNS "id, at_ms, kind, org, project, body, once, delivered_ms"

static const char *const statements[STMT_COUNT] = {
	[STMT_BEGIN] = "BEGIN IMMEDIATE",
	[STMT_COMMIT] = "COMMIT",
	[STMT_ROLLBACK] = "ROLLBACK",
	[STMT_ORG_TOP] = "SELECT coalesce(max(slot), 0) FROM org",
	[STMT_PROJECT_TOP] = "SELECT coalesce(max(slot), 0) FROM project",
	[STMT_KEY_TOP] = "SELECT coalesce(max(slot), 0) FROM key",
	[STMT_ORG_INSERT] = "INSERT INTO org (" ORG_COLUMNS
			    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
			    " iif(?10 > 0, ?10, CAST(strftime('%d',"
			    " ?7 / 1000, 'unixepoch') AS INTEGER)),"
			    " ?11, ?12, ?13)",
	[STMT_PROJECT_INSERT] = "INSERT INTO project (" PROJECT_COLUMNS
				") VALUES (?, ?, ?, ?, ?)",
	[STMT_KEY_INSERT] = "INSERT INTO key (" KEY_COLUMNS
			    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[STMT_ORG_FIND] = "SELECT " ORG_COLUMNS " FROM org"
			  " WHERE id = ?1 OR name = ?1"
			  " ORDER BY id = ?1 DESC LIMIT 1",
	[STMT_ORG_GET] = "SELECT " ORG_COLUMNS " FROM org WHERE slot = ?1",
	[STMT_PROJECT_FIND] = "SELECT " PROJECT_COLUMNS " FROM project"
			      " WHERE (id = ?2 AND (org = ?1 OR ?1 = 0))"
			      " OR (org = ?1 AND name = ?2)"
			      " ORDER BY id = ?2 DESC LIMIT 1",
	[STMT_PROJECT_GET] =
		"SELECT " PROJECT_COLUMNS " FROM project WHERE slot = ?1",
	[STMT_KEY_FIND] =
		"SELECT " KEY_COLUMNS ", disabled FROM key WHERE id = ?1",
	[STMT_ORG_SET_LIMIT] = "UPDATE org SET limit_own = 1, limit_units = ?2,"
			       " window_ms = ?3 WHERE slot = ?1",
	[STMT_ORG_DROP_LIMIT] = "UPDATE org SET limit_own = 0 WHERE slot = ?1",
	[STMT_ORG_SET_PLAN] = "UPDATE org SET plan = ?2 WHERE slot = ?1",
	[STMT_ORG_SET_BILLING] = "UPDATE org SET anchor_day = ?2,"
				 " timezone = ?3 WHERE slot = ?1",
	[STMT_ORG_SET_CREDITS] = "UPDATE org SET credits = ?2, overage = ?3"
				 " WHERE slot = ?1",
	[STMT_ORG_SET_SUSPENDED] = "UPDATE org SET suspended = ?2"
				   " WHERE slot = ?1",
	/* The first revocation is the one that counts. */
	[STMT_KEY_REVOKE] = "UPDATE key SET revoked_ms ="
			    " CASE revoked_ms WHEN 0 THEN ?2 ELSE revoked_ms"
			    " END WHERE slot = ?1",
	[STMT_KEY_SET_EXPIRY] = "UPDATE key SET expires_ms = ?2"
				" WHERE slot = ?1",
	[STMT_KEY_SET_DISABLED] = "UPDATE key SET disabled = ?2"
				  " WHERE slot = ?1",
	[STMT_ORG_EACH] = "SELECT " ORG_COLUMNS " FROM org WHERE slot > ?1"
			  " ORDER BY slot LIMIT ?2",
	[STMT_PROJECT_EACH] = "SELECT " PROJECT_COLUMNS " FROM project"
			      " WHERE slot > ?1 ORDER BY slot LIMIT ?2",
	[STMT_PROJECT_EACH_OF_ORG] = "SELECT " PROJECT_COLUMNS " FROM project"
				     " WHERE org = ?3 AND slot > ?1"
				     " ORDER BY slot LIMIT ?2",
	[STMT_KEY_EACH] =
		"SELECT " KEY_COLUMNS ", disabled FROM key WHERE slot > ?1"
		" ORDER BY slot LIMIT ?2",
	[STMT_KEY_EACH_OF_ORG] = "SELECT " KEY_COLUMNS ", disabled FROM key"
				 " WHERE org = ?3 AND slot > ?1"
				 " ORDER BY slot LIMIT ?2",
	[STMT_ORG_EACH_OF_PLAN] = "SELECT " ORG_COLUMNS " FROM org"
				  " WHERE plan = ?3 AND slot > ?1"
				  " ORDER BY slot LIMIT ?2",

	[STMT_PLAN_TOP] = "SELECT coalesce(max(slot), 0) FROM plan",
	[STMT_PLAN_INSERT] = "INSERT INTO plan (slot, id, name, created_ms)"
			     " VALUES (?, ?, ?, ?)",
	[STMT_PLAN_FIND] = "SELECT slot, id, name, created_ms FROM plan"
			   " WHERE id = ?1 OR name = ?1"
			   " ORDER BY id = ?1 DESC LIMIT 1",
	[STMT_PLAN_GET] = "SELECT slot, id, name, created_ms FROM plan"
			  " WHERE slot = ?1",
	[STMT_PLAN_ORGS] = "SELECT count(*) FROM org WHERE plan = ?1",
	[STMT_PLAN_DELETE] = "DELETE FROM plan WHERE slot = ?1",
	[STMT_PLAN_EACH] = "SELECT slot, id, name, created_ms FROM plan"
			   " WHERE slot > ?1 ORDER BY slot LIMIT ?2",

	[STMT_RULE_INSERT] = "INSERT INTO rule (" RULE_COLUMNS
			     ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
			     " ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
	[STMT_RULE_UPDATE] =
		"UPDATE rule SET level = ?5, algorithm = ?6,"
		" limit_units = ?7, period_ms = ?8, burst = ?9, lease_ms = ?10,"
		" route = ?11, shadow = ?12, requests_only = ?13,"
		" full_pass = ?14, max_subjects = ?15, removed = ?16"
		" WHERE id = ?1",
	[STMT_RULE_FIND_OF_PLAN] = "SELECT " RULE_COLUMNS " FROM rule"
				   " WHERE plan = ?1 AND name = ?2",
	[STMT_RULE_FIND_OF_ORG] = "SELECT " RULE_COLUMNS " FROM rule"
				  " WHERE org = ?1 AND name = ?2",
	[STMT_RULE_COUNT_OF_PLAN] = "SELECT count(*) FROM rule WHERE plan = ?1",
	[STMT_RULE_COUNT_OF_ORG] = "SELECT count(*) FROM rule WHERE org = ?1",
	[STMT_RULE_DELETE] = "DELETE FROM rule WHERE id = ?1",
	[STMT_RULE_DELETE_OF_PLAN] = "DELETE FROM rule WHERE plan = ?1",
	[STMT_RULE_EACH_OF_PLAN] = "SELECT " RULE_COLUMNS " FROM rule"
				   " WHERE plan = ?1 ORDER BY id",
	[STMT_RULE_EACH_OF_ORG] = "SELECT " RULE_COLUMNS " FROM rule"
				  " WHERE org = ?1 ORDER BY id",
	[STMT_RULE_EACH_OF_ALL] = "SELECT " RULE_COLUMNS " FROM rule"
				  " WHERE org IS NOT NULL ORDER BY org, id",

	[STMT_BUDGET_PUT] =
		"INSERT INTO budget (project, idx, units, period, created_ms)"
		" VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
		" units = excluded.units, period = excluded.period,"
		" created_ms = excluded.created_ms",
	[STMT_BUDGET_DELETE] = "DELETE FROM budget"
			       " WHERE project = ?1 AND idx = ?2",
	[STMT_BUDGET_EACH] = "SELECT project, idx, units, period, created_ms"
			     " FROM budget ORDER BY project, idx",
	[STMT_BUDGET_EACH_OF_PROJECT] =
		"SELECT project, idx, units, period, created_ms FROM budget"
		" WHERE project = ?1 ORDER BY idx",
	[STMT_ACCESS_INSERT] = "INSERT INTO key_access (key, kind, text)"
			       " VALUES (?, ?, ?)",
	[STMT_ACCESS_EACH] = "SELECT key, kind, text FROM key_access"
			     " ORDER BY key, kind, text",
	[STMT_ACCESS_EACH_OF_KEY] = "SELECT key, kind, text FROM key_access"
				    " WHERE key = ?1 ORDER BY kind, text",

	[STMT_POOL_INSERT] =
		"INSERT INTO pool (org, kind, route, granted, monthly,"
		" expires_ms, created_ms, closed_ms, renewed_ms, due_ms,"
		" granted_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[STMT_POOL_GET] = "SELECT " POOL_COLUMNS " FROM pool WHERE id = ?1",
	[STMT_POOL_CLOSE] = "UPDATE pool SET closed_ms = ?2"
			    " WHERE id = ?1 AND closed_ms = 0",
	[STMT_POOL_EACH] = "SELECT " POOL_COLUMNS " FROM pool"
			   " WHERE org = ?1 AND closed_ms = 0"
			   " ORDER BY kind, id",
	[STMT_POOL_EACH_OF_ALL] =
		"SELECT coalesce(pool.id, 0), slot, coalesce(kind, 0),"
		" coalesce(route, ''), coalesce(granted, 0),"
		" coalesce(monthly, 0), coalesce(expires_ms, 0),"
		" coalesce(pool.created_ms, 0), coalesce(closed_ms, 0),"
		" coalesce(renewed_ms, 0), coalesce(due_ms, 0),"
		" coalesce(granted_ms, 0)"
		" FROM org LEFT JOIN pool ON pool.org = org.slot"
		" AND pool.closed_ms = 0 WHERE org.credits = 1"
		" ORDER BY org.slot, kind, pool.id",
	[STMT_POOL_EACH_DUE] = "SELECT " POOL_COLUMNS " FROM pool"
			       " WHERE closed_ms = 0 AND due_ms <> 0"
			       " AND due_ms <= ?1 ORDER BY due_ms, id LIMIT ?2",
	[STMT_POOL_GRANTED] = "UPDATE pool SET granted_ms = ?2"
			      " WHERE id = ?1 AND granted_ms = 0",
	[STMT_TRIAL_INSERT] =
		"INSERT INTO pool (org, kind, route, granted, monthly,"
		" expires_ms, created_ms, closed_ms, renewed_ms, due_ms,"
		" granted_ms)"
		" SELECT slot, 1, ?2, ?3, 0, 0, ?4, 0, 0, 0, 0 FROM org"
		" WHERE credits = 1 AND (?1 = 0 OR slot = ?1)"
		" AND NOT EXISTS (SELECT 1 FROM pool WHERE org = slot"
		" AND kind = 1 AND route = ?2)"
		" AND NOT EXISTS (SELECT 1 FROM pool WHERE org = slot"
		" AND kind = 2)"
		" AND (SELECT count(*) FROM pool WHERE org = slot"
		" AND closed_ms = 0) < ?5",
	[STMT_LEDGER_INSERT] = "INSERT INTO ledger (org, pool, at_ms, change,"
			       " why) VALUES (?, ?, ?, ?, ?)",
	[STMT_LEDGER_EACH] = "SELECT id, org, pool, at_ms, change, why"
			     " FROM ledger WHERE org = ?3 AND id > ?1"
			     " ORDER BY id LIMIT ?2",

	[STMT_EVENT_INSERT] = "INSERT INTO event (at_ms, kind, org, project,"
			      " body, once, delivered_ms)"
			      " VALUES (?, ?, ?, ?, ?, ?, ?)",
	[STMT_EVENT_DELIVERED] = "UPDATE event SET delivered_ms = ?2"
				 " WHERE id = ?1 AND delivered_ms = 0",
	[STMT_EVENT_EACH] = "SELECT " EVENT_COLUMNS " FROM event"
			    " WHERE id > ?1 ORDER BY id LIMIT ?2",
	[STMT_EVENT_EACH_PENDING] = "SELECT " EVENT_COLUMNS " FROM event"
				    " WHERE id > ?1 AND delivered_ms = 0"
				    " ORDER BY id LIMIT ?2",
	/* Both are filled in the order of time: the first rows are the oldest.
	 */
	[STMT_EVENT_PRUNE] = "DELETE FROM event WHERE id IN (SELECT id FROM"
			     " (SELECT id, at_ms FROM event ORDER BY id"
			     " LIMIT ?2) WHERE at_ms < ?1)"
			     " RETURNING delivered_ms",
	[STMT_AUDIT_INSERT] = "INSERT INTO audit (at_ms, uid, action, subject,"
			      " detail) VALUES (?, ?, ?, ?, ?)",
	[STMT_AUDIT_EACH] = "SELECT id, at_ms, uid, action, subject, detail"
			    " FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
	[STMT_AUDIT_PRUNE] = "DELETE FROM audit WHERE id IN (SELECT id FROM"
			     " (SELECT id, at_ms FROM audit ORDER BY id"
			     " LIMIT ?2) WHERE at_ms < ?1)",
};

int records_prepare(struct records *r)
{
	for (int i = 0; i < STMT_COUNT; i++) {
		int code = sqlite3_prepare_v3(r->db, statements[i], -1,
					      SQLITE_PREPARE_PERSISTENT,
					      &r->st[i], NULL);

		if (code != SQLITE_OK)
			return code;
	}
	return SQLITE_OK;
}

const char *records_error(const struct records *r)
{
	return r->error;
}

/* --- results --- */

int records_errno(sqlite3 *db, int code)
{
	int errnum;

	switch (code & 0xff) {
	case SQLITE_OK:
		return -EIO; /* a failure without a code */
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
	case SQLITE_TOOBIG:
		return -EINVAL;
	default:
		/* SQLite has no code of its own for it: say what the kernel
		 * said, when it did. */
		errnum = db ? sqlite3_system_errno(db) : 0;
		return errnum ? -errnum : -EIO;
	}
}

int records_fail(struct records *r, int code, const char *doing)
{
	int rc = records_errno(r->db, code);

	if ((code & 0xff) == SQLITE_IOERR)
		return fs_fail(rc, r->error, sizeof(r->error),
			       "%s: %s (%s) in %s", doing,
			       sqlite3_errmsg(r->db), strerror(-rc), r->path);
	return fs_fail(rc, r->error, sizeof(r->error), "%s: %s in %s", doing,
		       sqlite3_errmsg(r->db), r->path);
}

int records_say(struct records *r, enum records_outcome outcome,
		const char *text)
{
	return fs_fail((int)outcome, r->error, sizeof(r->error), "%s", text);
}

/* --- statements --- */

sqlite3_stmt *statement_start(struct records *r, enum records_statement which)
{
	sqlite3_stmt *st = r->st[which];

	check(!sqlite3_stmt_busy(st));
	return st;
}

void statement_finish(sqlite3_stmt *st)
{
	/* The code of a failed step, told already. */
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

void statement_bind_int(sqlite3_stmt *st, int at, int64_t value)
{
	int code = sqlite3_bind_int64(st, at, value);

	check(code == SQLITE_OK);
}

void statement_bind_text(sqlite3_stmt *st, int at, const char *text, size_t len)
{
	int code = sqlite3_bind_text(st, at, text, (int)len, SQLITE_STATIC);

	check(code == SQLITE_OK);
}

void statement_bind_hash(sqlite3_stmt *st, int at,
			 const uint8_t hash[static 32])
{
	int code = sqlite3_bind_blob(st, at, hash, 32, SQLITE_STATIC);

	check(code == SQLITE_OK);
}

/* A batch that SQLite has rolled back by itself (disk full, I/O error) must
 * not go on as single changes. */
static bool batch_lost(struct records *r)
{
	return r->in_batch && sqlite3_get_autocommit(r->db);
}

int statement_run(struct records *r, sqlite3_stmt *st, const char *doing)
{
	int code, rc = 0;

	if (batch_lost(r)) {
		statement_finish(st);
		return fs_fail(-ECANCELED, r->error, sizeof(r->error),
			       "%s: the batch was rolled back by an earlier "
			       "failure",
			       doing);
	}
	code = sqlite3_step(st);
	if (code == SQLITE_CONSTRAINT_UNIQUE ||
	    code == SQLITE_CONSTRAINT_PRIMARYKEY ||
	    code == SQLITE_CONSTRAINT_ROWID) {
		const char *what = strrchr(sqlite3_errmsg(r->db), ' ');

		rc = fs_fail(RECORDS_EXISTS, r->error, sizeof(r->error),
			     "%s: %s is taken", doing, what ? what + 1 : "it");
	} else if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
		rc = records_say(
			r, RECORDS_ABSENT,
			"no such organization, or no such project in it");
	} else if (code != SQLITE_DONE) {
		rc = records_fail(r, code, doing);
	}
	statement_finish(st);
	return rc;
}

int statement_change(struct records *r, sqlite3_stmt *st, const char *doing)
{
	int rc = statement_run(r, st, doing);

	if (rc == 0 && sqlite3_changes(r->db) == 0)
		rc = records_say(r, RECORDS_ABSENT, "no such row");
	return rc;
}

int statement_insert(struct records *r, sqlite3_stmt *st, const char *doing,
		     int64_t *ret_id)
{
	int rc = statement_run(r, st, doing);

	if (rc == 0)
		*ret_id = sqlite3_last_insert_rowid(r->db);
	return rc;
}

int statement_number(struct records *r, sqlite3_stmt *st, int64_t *ret_number)
{
	int code = sqlite3_step(st);
	int rc = 0;

	if (code == SQLITE_ROW)
		*ret_number = sqlite3_column_int64(st, 0);
	else
		rc = records_fail(r, code, "count");
	statement_finish(st);
	return rc;
}

int statement_row(struct records *r, sqlite3_stmt *st, const char *absent)
{
	int code = sqlite3_step(st);

	if (code == SQLITE_ROW)
		return 0;
	if (code == SQLITE_DONE)
		return records_say(r, RECORDS_ABSENT, absent);
	return records_fail(r, code, "search");
}

/* --- transactions --- */

int records_begin(struct records *r)
{
	int rc;

	check(!r->in_batch);
	rc = statement_run(r, statement_start(r, STMT_BEGIN), "begin");
	if (rc == 0)
		r->in_batch = true;
	return rc;
}

int records_commit(struct records *r)
{
	int rc;

	check(r->in_batch);
	rc = statement_run(r, statement_start(r, STMT_COMMIT), "commit");
	if (rc)
		records_rollback(r);
	r->in_batch = false;
	return rc;
}

void records_rollback(struct records *r)
{
	sqlite3_stmt *st = statement_start(r, STMT_ROLLBACK);

	/* Not statement_run(): the text of the failure that led here stays. */
	if (!sqlite3_get_autocommit(r->db)) {
		(void)sqlite3_step(st);
		statement_finish(st);
	}
	r->in_batch = false;
}
