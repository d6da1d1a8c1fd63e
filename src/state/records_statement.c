/* SPDX-License-Identifier: MIT */
/*
 * The statements. Each is prepared once, when the database is opened, and
 * belongs to one function of records.c; statement_finish() gives it back.
 *
 * Rows are never deleted in this version, so slots are dense: the lowest free
 * number is the highest one plus one, and that is also the count. Both are one
 * descent of a B-tree instead of a scan.
 */
#include "state/records_internal.h"

#include "base/check.h"
#include "state/fs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ORG_COLUMNS                                                            \
	"slot, id, name, limit_units, window_ms, suspended, created_ms"
#define PROJECT_COLUMNS "slot, org, id, name, created_ms"
#define KEY_COLUMNS                                                            \
	"slot, org, project, id, hash, name, created_ms, expires_ms, "         \
	"revoked_ms"

static const char *const statements[STMT_COUNT] = {
	[STMT_BEGIN] = "BEGIN IMMEDIATE",
	[STMT_COMMIT] = "COMMIT",
	[STMT_ROLLBACK] = "ROLLBACK",
	[STMT_ORG_TOP] = "SELECT coalesce(max(slot), 0) FROM org",
	[STMT_PROJECT_TOP] = "SELECT coalesce(max(slot), 0) FROM project",
	[STMT_KEY_TOP] = "SELECT coalesce(max(slot), 0) FROM key",
	[STMT_ORG_INSERT] = "INSERT INTO org (" ORG_COLUMNS
			    ") VALUES (?, ?, ?, ?, ?, ?, ?)",
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
	[STMT_KEY_FIND] = "SELECT " KEY_COLUMNS " FROM key WHERE id = ?1",
	[STMT_ORG_SET_LIMIT] = "UPDATE org SET limit_units = ?2,"
			       " window_ms = ?3 WHERE slot = ?1",
	[STMT_ORG_SET_SUSPENDED] = "UPDATE org SET suspended = ?2"
				   " WHERE slot = ?1",
	/* The first revocation is the one that counts. */
	[STMT_KEY_REVOKE] = "UPDATE key SET revoked_ms ="
			    " CASE revoked_ms WHEN 0 THEN ?2 ELSE revoked_ms"
			    " END WHERE slot = ?1",
	[STMT_KEY_SET_EXPIRY] = "UPDATE key SET expires_ms = ?2"
				" WHERE slot = ?1",
	[STMT_ORG_EACH] = "SELECT " ORG_COLUMNS " FROM org WHERE slot > ?1"
			  " ORDER BY slot LIMIT ?2",
	[STMT_PROJECT_EACH] = "SELECT " PROJECT_COLUMNS " FROM project"
			      " WHERE slot > ?1 ORDER BY slot LIMIT ?2",
	[STMT_PROJECT_EACH_OF_ORG] = "SELECT " PROJECT_COLUMNS " FROM project"
				     " WHERE org = ?3 AND slot > ?1"
				     " ORDER BY slot LIMIT ?2",
	[STMT_KEY_EACH] = "SELECT " KEY_COLUMNS " FROM key WHERE slot > ?1"
			  " ORDER BY slot LIMIT ?2",
	[STMT_KEY_EACH_OF_ORG] = "SELECT " KEY_COLUMNS " FROM key"
				 " WHERE org = ?3 AND slot > ?1"
				 " ORDER BY slot LIMIT ?2",
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
