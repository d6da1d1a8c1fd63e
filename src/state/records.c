/* SPDX-License-Identifier: MIT */
/*
 * The statements. Each is prepared once, when the database is opened, and
 * belongs to one function below; finish() gives it back.
 *
 * Rows are never deleted in this version, so slots are dense: the lowest free
 * number is the highest one plus one, and that is also the count. Both are one
 * descent of a B-tree instead of a scan.
 */
#include "state/records.h"
#include "state/records_internal.h"

#include "base/check.h"
#include "gate/layout.h"
#include "state/fs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define ORG_COLUMNS                                                            \
	"slot, id, name, limit_units, window_ms, suspended, created_ms"
#define PROJECT_COLUMNS "slot, org, id, name, created_ms"
#define KEY_COLUMNS                                                            \
	"slot, org, project, id, hash, name, created_ms, expires_ms, "         \
	"revoked_ms"

/* A change writes a handful of pages; with less room than this the next one
 * may not fit. */
#define PROBE_FREE_BYTES (UINT64_C(1) << 20)

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

static int outcome(struct records *r, enum records_outcome outcome,
		   const char *text)
{
	return fs_fail((int)outcome, r->error, sizeof(r->error), "%s", text);
}

static int refuse_damaged(struct records *r, const char *table)
{
	return fs_fail(-EBADMSG, r->error, sizeof(r->error),
		       "a row of table %s does not obey the schema; check %s "
		       "and restore a backup (docs/records.md)",
		       table, r->path);
}

/* --- statements --- */

/* Hands out statement `which`; it must not be in use, as it would be when the
 * callback of a visit starts the same visit. */
static sqlite3_stmt *start(struct records *r, enum records_statement which)
{
	sqlite3_stmt *st = r->st[which];

	check(!sqlite3_stmt_busy(st));
	return st;
}

static void finish(sqlite3_stmt *st)
{
	/* The code of a failed step, told already. */
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* Binding cannot fail: the numbers are right and the memory is the caller's
 * (SQLITE_STATIC) until finish(). */
static void bind_int(sqlite3_stmt *st, int at, int64_t value)
{
	int code = sqlite3_bind_int64(st, at, value);

	check(code == SQLITE_OK);
}

static void bind_text(sqlite3_stmt *st, int at, const char *text, size_t len)
{
	int code = sqlite3_bind_text(st, at, text, (int)len, SQLITE_STATIC);

	check(code == SQLITE_OK);
}

static void bind_hash(sqlite3_stmt *st, int at, const uint8_t hash[static 32])
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

static int run(struct records *r, sqlite3_stmt *st, const char *doing)
{
	int code, rc = 0;

	if (batch_lost(r)) {
		finish(st);
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
		rc = outcome(r, RECORDS_ABSENT,
			     "no such organization, or no such project in it");
	} else if (code != SQLITE_DONE) {
		rc = records_fail(r, code, doing);
	}
	finish(st);
	return rc;
}

static int change(struct records *r, sqlite3_stmt *st, const char *doing)
{
	int rc = run(r, st, doing);

	if (rc == 0 && sqlite3_changes(r->db) == 0)
		rc = outcome(r, RECORDS_ABSENT, "no such row");
	return rc;
}

/* --- transactions --- */

int records_begin(struct records *r)
{
	int rc;

	check(!r->in_batch);
	rc = run(r, start(r, STMT_BEGIN), "begin");
	if (rc == 0)
		r->in_batch = true;
	return rc;
}

int records_commit(struct records *r)
{
	int rc;

	check(r->in_batch);
	rc = run(r, start(r, STMT_COMMIT), "commit");
	if (rc)
		records_rollback(r);
	r->in_batch = false;
	return rc;
}

void records_rollback(struct records *r)
{
	sqlite3_stmt *st = start(r, STMT_ROLLBACK);

	/* Not run(): the text of the failure that led here stays. */
	if (!sqlite3_get_autocommit(r->db)) {
		(void)sqlite3_step(st);
		finish(st);
	}
	r->in_batch = false;
}

/* --- rows to structs --- */

/* Text without SQLite's copy for a terminator. False when it does not fit:
 * the CHECKs forbid that, so somebody has edited the file. */
static bool column_text(sqlite3_stmt *st, int at, char *out, size_t cap)
{
	const void *text = sqlite3_column_blob(st, at);
	size_t len = (size_t)sqlite3_column_bytes(st, at);

	if (len >= cap || (len && !text))
		return false;
	if (len)
		memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

static bool column_bytes(sqlite3_stmt *st, int at, void *out, size_t len)
{
	const void *bytes = sqlite3_column_blob(st, at);

	if (!bytes || (size_t)sqlite3_column_bytes(st, at) != len)
		return false;
	memcpy(out, bytes, len);
	return true;
}

/* A number from 1 to max, such as a slot. */
static bool column_u32(sqlite3_stmt *st, int at, uint32_t max, uint32_t *out)
{
	int64_t v = sqlite3_column_int64(st, at);

	if (v < 1 || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static int org_row(struct records *r, sqlite3_stmt *st, struct org_record *rec)
{
	if (!column_u32(st, 0, ARENA_ORGS_MAX - 1, &rec->slot) ||
	    !column_bytes(st, 1, rec->id.c, ID_LEN) ||
	    !column_text(st, 2, rec->name, sizeof(rec->name)) ||
	    !column_u32(st, 3, LIMIT_MAX, &rec->limit))
		return refuse_damaged(r, "org");
	rec->window_ms = (uint64_t)sqlite3_column_int64(st, 4);
	if (rec->window_ms < WINDOW_MS_MIN || rec->window_ms > WINDOW_MS_MAX)
		return refuse_damaged(r, "org");
	rec->suspended = sqlite3_column_int(st, 5) != 0;
	rec->created_ms = sqlite3_column_int64(st, 6);
	return 0;
}

static int project_row(struct records *r, sqlite3_stmt *st,
		       struct project_record *rec)
{
	if (!column_u32(st, 0, ARENA_PROJECTS_MAX - 1, &rec->slot) ||
	    !column_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !column_bytes(st, 2, rec->id.c, ID_LEN) ||
	    !column_text(st, 3, rec->name, sizeof(rec->name)))
		return refuse_damaged(r, "project");
	rec->created_ms = sqlite3_column_int64(st, 4);
	return 0;
}

static int key_row(struct records *r, sqlite3_stmt *st, struct key_record *rec)
{
	rec->project = 0;
	if (!column_u32(st, 0, ARENA_KEYS_MAX - 1, &rec->slot) ||
	    !column_u32(st, 1, ARENA_ORGS_MAX - 1, &rec->org) ||
	    (sqlite3_column_type(st, 2) != SQLITE_NULL &&
	     !column_u32(st, 2, ARENA_PROJECTS_MAX - 1, &rec->project)) ||
	    !column_bytes(st, 3, rec->id.c, ID_LEN) ||
	    !column_bytes(st, 4, rec->hash, sizeof(rec->hash)) ||
	    !column_text(st, 5, rec->name, sizeof(rec->name)))
		return refuse_damaged(r, "key");
	rec->created_ms = sqlite3_column_int64(st, 6);
	rec->expires_ms = sqlite3_column_int64(st, 7);
	rec->revoked_ms = sqlite3_column_int64(st, 8);
	return 0;
}

/* --- insert --- */

static int next_slot(struct records *r, enum records_statement top,
		     uint32_t max_slot, uint32_t bound, uint32_t *ret_slot)
{
	sqlite3_stmt *st = start(r, top);
	int code = sqlite3_step(st);
	int64_t highest;

	if (code != SQLITE_ROW) {
		int rc = records_fail(r, code, "look for a free slot");

		finish(st);
		return rc;
	}
	highest = sqlite3_column_int64(st, 0);
	finish(st);
	if (highest >= max_slot || highest >= (int64_t)bound - 1)
		return outcome(r, RECORDS_FULL, "the table is full");
	*ret_slot = (uint32_t)highest + 1;
	return 0;
}

int records_org_insert(struct records *r, struct org_record *rec,
		       uint32_t max_slot)
{
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc;

	rc = next_slot(r, STMT_ORG_TOP, max_slot, ARENA_ORGS_MAX, &slot);
	if (rc)
		return rc;
	st = start(r, STMT_ORG_INSERT);
	bind_int(st, 1, slot);
	bind_text(st, 2, rec->id.c, ID_LEN);
	bind_text(st, 3, rec->name, strnlen(rec->name, sizeof(rec->name)));
	bind_int(st, 4, rec->limit);
	bind_int(st, 5, (int64_t)rec->window_ms);
	bind_int(st, 6, rec->suspended);
	bind_int(st, 7, rec->created_ms);
	rc = run(r, st, "create the organization");
	if (rc == 0)
		rec->slot = slot;
	return rc;
}

int records_project_insert(struct records *r, struct project_record *rec,
			   uint32_t max_slot)
{
	sqlite3_stmt *st;
	uint32_t slot = 0;
	int rc;

	rc = next_slot(r, STMT_PROJECT_TOP, max_slot, ARENA_PROJECTS_MAX,
		       &slot);
	if (rc)
		return rc;
	st = start(r, STMT_PROJECT_INSERT);
	bind_int(st, 1, slot);
	bind_int(st, 2, rec->org);
	bind_text(st, 3, rec->id.c, ID_LEN);
	bind_text(st, 4, rec->name, strnlen(rec->name, sizeof(rec->name)));
	bind_int(st, 5, rec->created_ms);
	rc = run(r, st, "create the project");
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

	rc = next_slot(r, STMT_KEY_TOP, max_slot, ARENA_KEYS_MAX, &slot);
	if (rc)
		return rc;
	st = start(r, STMT_KEY_INSERT);
	bind_int(st, 1, slot);
	bind_int(st, 2, rec->org);
	if (rec->project)
		bind_int(st, 3, rec->project); /* else NULL, as cleared */
	bind_text(st, 4, rec->id.c, ID_LEN);
	bind_hash(st, 5, rec->hash);
	bind_text(st, 6, rec->name, strnlen(rec->name, sizeof(rec->name)));
	bind_int(st, 7, rec->created_ms);
	bind_int(st, 8, rec->expires_ms);
	bind_int(st, 9, rec->revoked_ms);
	rc = run(r, st, "create the key");
	if (rc == 0)
		rec->slot = slot;
	return rc;
}

/* --- find --- */

/* Steps to the one row a search may have: 0, RECORDS_ABSENT or an error. */
static int one_row(struct records *r, sqlite3_stmt *st, const char *absent)
{
	int code = sqlite3_step(st);

	if (code == SQLITE_ROW)
		return 0;
	if (code == SQLITE_DONE)
		return outcome(r, RECORDS_ABSENT, absent);
	return records_fail(r, code, "search");
}

static int one_org(struct records *r, sqlite3_stmt *st,
		   struct org_record *ret_rec)
{
	struct org_record rec;
	int rc = one_row(r, st, "no such organization");

	if (rc == 0)
		rc = org_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	finish(st);
	return rc;
}

int records_org_find(struct records *r, const char *id_or_name,
		     struct org_record *ret_rec)
{
	sqlite3_stmt *st = start(r, STMT_ORG_FIND);

	bind_text(st, 1, id_or_name, strlen(id_or_name));
	return one_org(r, st, ret_rec);
}

int records_org_get(struct records *r, uint32_t slot,
		    struct org_record *ret_rec)
{
	sqlite3_stmt *st = start(r, STMT_ORG_GET);

	bind_int(st, 1, slot);
	return one_org(r, st, ret_rec);
}

static int one_project(struct records *r, sqlite3_stmt *st,
		       struct project_record *ret_rec)
{
	struct project_record rec;
	int rc = one_row(r, st, "no such project");

	if (rc == 0)
		rc = project_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	finish(st);
	return rc;
}

int records_project_find(struct records *r, uint32_t org,
			 const char *id_or_name, struct project_record *ret_rec)
{
	sqlite3_stmt *st = start(r, STMT_PROJECT_FIND);

	bind_int(st, 1, org);
	bind_text(st, 2, id_or_name, strlen(id_or_name));
	return one_project(r, st, ret_rec);
}

int records_project_get(struct records *r, uint32_t slot,
			struct project_record *ret_rec)
{
	sqlite3_stmt *st = start(r, STMT_PROJECT_GET);

	bind_int(st, 1, slot);
	return one_project(r, st, ret_rec);
}

int records_key_find(struct records *r, const char *id,
		     struct key_record *ret_rec)
{
	sqlite3_stmt *st = start(r, STMT_KEY_FIND);
	struct key_record rec;
	int rc;

	bind_text(st, 1, id, strlen(id));
	rc = one_row(r, st, "no such key");
	if (rc == 0)
		rc = key_row(r, st, &rec);
	if (rc == 0)
		*ret_rec = rec;
	finish(st);
	return rc;
}

/* --- change --- */

int records_org_set_limit(struct records *r, uint32_t slot, uint32_t limit,
			  uint64_t window_ms)
{
	sqlite3_stmt *st = start(r, STMT_ORG_SET_LIMIT);

	bind_int(st, 1, slot);
	bind_int(st, 2, limit);
	bind_int(st, 3, (int64_t)window_ms);
	return change(r, st, "change the limit");
}

int records_org_set_suspended(struct records *r, uint32_t slot, bool suspended)
{
	sqlite3_stmt *st = start(r, STMT_ORG_SET_SUSPENDED);

	bind_int(st, 1, slot);
	bind_int(st, 2, suspended);
	return change(r, st, "suspend or resume the organization");
}

int records_key_revoke(struct records *r, uint32_t slot, int64_t revoked_ms)
{
	sqlite3_stmt *st = start(r, STMT_KEY_REVOKE);

	/* 0 would say "not revoked" and still look like success. */
	check(revoked_ms > 0);
	bind_int(st, 1, slot);
	bind_int(st, 2, revoked_ms);
	return change(r, st, "revoke the key");
}

int records_key_set_expiry(struct records *r, uint32_t slot, int64_t expires_ms)
{
	sqlite3_stmt *st = start(r, STMT_KEY_SET_EXPIRY);

	bind_int(st, 1, slot);
	bind_int(st, 2, expires_ms);
	return change(r, st, "change the expiry of the key");
}

/* --- visit --- */

static sqlite3_stmt *start_visit(struct records *r,
				 enum records_statement which, uint32_t org,
				 uint32_t after, uint32_t max)
{
	sqlite3_stmt *st = start(r, which);

	bind_int(st, 1, after);
	bind_int(st, 2, max ? (int64_t)max : -1);
	if (org)
		bind_int(st, 3, org);
	return st;
}

/* 0 at the end, an error, or STEPPED: there is a row. */
#define STEPPED INT32_MAX
static int step_visit(struct records *r, sqlite3_stmt *st)
{
	int code = sqlite3_step(st);

	return code == SQLITE_ROW    ? STEPPED
	       : code == SQLITE_DONE ? 0
				     : records_fail(r, code, "read");
}

int records_each_org(struct records *r, uint32_t after, uint32_t max,
		     int (*cb)(const struct org_record *rec, void *arg),
		     void *arg)
{
	sqlite3_stmt *st = start_visit(r, STMT_ORG_EACH, 0, after, max);
	struct org_record rec;
	int rc;

	while ((rc = step_visit(r, st)) == STEPPED) {
		rc = org_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	finish(st);
	return rc;
}

int records_each_project(struct records *r, uint32_t org, uint32_t after,
			 uint32_t max,
			 int (*cb)(const struct project_record *rec, void *arg),
			 void *arg)
{
	sqlite3_stmt *st = start_visit(
		r, org ? STMT_PROJECT_EACH_OF_ORG : STMT_PROJECT_EACH, org,
		after, max);
	struct project_record rec;
	int rc;

	while ((rc = step_visit(r, st)) == STEPPED) {
		rc = project_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	finish(st);
	return rc;
}

int records_each_key(struct records *r, uint32_t org, uint32_t after,
		     uint32_t max,
		     int (*cb)(const struct key_record *rec, void *arg),
		     void *arg)
{
	sqlite3_stmt *st = start_visit(
		r, org ? STMT_KEY_EACH_OF_ORG : STMT_KEY_EACH, org, after, max);
	struct key_record rec;
	int rc;

	while ((rc = step_visit(r, st)) == STEPPED) {
		rc = key_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	finish(st);
	return rc;
}

static int top(struct records *r, enum records_statement which,
	       uint64_t *ret_top)
{
	sqlite3_stmt *st = start(r, which);
	int code = sqlite3_step(st);
	int rc = 0;

	if (code == SQLITE_ROW)
		*ret_top = (uint64_t)sqlite3_column_int64(st, 0);
	else
		rc = records_fail(r, code, "count");
	finish(st);
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
	rc = run(r, start(r, STMT_BEGIN), "begin");
	if (rc == 0)
		rc = run(r, start(r, STMT_ROLLBACK), "roll back");
	return rc;
}
