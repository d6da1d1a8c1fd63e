/* SPDX-License-Identifier: MIT */
/*
 * The schema as a list of steps. A step that has been released is history and
 * never changes: a database in the field has run it. Whoever needs another
 * table or column appends a step; old databases then take only that one.
 *
 * The numbers in the CHECKs are those of gate/layout.h at the time of the
 * step. They are spelled out because a step is history, and asserted below so
 * that a changed bound does not forget its own step.
 */
#include "state/records_internal.h"

#include "gate/layout.h"
#include "state/fs.h"

#include <stdio.h>

static_assert(ARENA_ORGS_MAX == 1048576 && ARENA_PROJECTS_MAX == 1048576 &&
		      ARENA_KEYS_MAX == 16777216,
	      "a bound in the schema: append a step");
static_assert(LIMIT_MAX >= 65536 && WINDOW_MS_MIN == 1 &&
		      WINDOW_MS_MAX == 2678400000,
	      "a bound in the schema: append a step");
static_assert(NAME_MAX_BYTES == 100 && ID_LEN == 8,
	      "a bound in the schema: append a step");

#define ID_CHECK "CHECK (length(id) = 8 AND id NOT GLOB '*[^0-9A-Za-z]*')"
#define NAME_CHECK(min)                                                        \
	"CHECK (length(CAST(name AS BLOB)) BETWEEN " min " AND 100"            \
	" AND name NOT GLOB"                                                   \
	" ('*[' || char(1) || '-' || char(31) || char(127) || ']*'))"

/* Keys refer to (project, org) so that a key cannot be in a project of
 * another organization; UNIQUE (org, slot) is what that refers to, and also
 * the index behind "the projects of an organization". */
static const char schema_1[] =
	"CREATE TABLE org ("
	" slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 1 AND 1048575),"
	" id TEXT NOT NULL UNIQUE " ID_CHECK ","
	" name TEXT NOT NULL UNIQUE " NAME_CHECK(
		"1") ","
		     " limit_units INTEGER NOT NULL CHECK (limit_units BETWEEN "
		     "1 AND 65536),"
		     " window_ms INTEGER NOT NULL"
		     "  CHECK (window_ms BETWEEN 1 AND 2678400000),"
		     " suspended INTEGER NOT NULL CHECK (suspended IN (0, 1)),"
		     " created_ms INTEGER NOT NULL"
		     ") STRICT;"
		     "CREATE TABLE project ("
		     " slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 1 AND "
		     "1048575),"
		     " org INTEGER NOT NULL REFERENCES org (slot),"
		     " id TEXT NOT NULL UNIQUE " ID_CHECK ","
		     " name TEXT NOT NULL " NAME_CHECK(
			     "1") ","
				  " created_ms INTEGER NOT NULL,"
				  " UNIQUE (org, name),"
				  " UNIQUE (org, slot)"
				  ") STRICT;"
				  "CREATE TABLE key ("
				  " slot INTEGER PRIMARY KEY CHECK (slot "
				  "BETWEEN 1 AND 16777215),"
				  " org INTEGER NOT NULL REFERENCES org (slot),"
				  " project INTEGER," /* NULL: a key of the
							 organization */
				  " id TEXT NOT NULL UNIQUE " ID_CHECK ","
				  " hash BLOB NOT NULL UNIQUE CHECK "
				  "(length(hash) = 32),"
				  " name TEXT NOT NULL " NAME_CHECK(
					  "0") ","
					       " created_ms INTEGER NOT NULL,"
					       " expires_ms INTEGER NOT NULL "
					       "CHECK (expires_ms >= 0),"
					       " revoked_ms INTEGER NOT NULL "
					       "CHECK (revoked_ms >= 0),"
					       " FOREIGN KEY (org, project) "
					       "REFERENCES project (org, slot)"
					       ") STRICT;"
					       "CREATE INDEX key_org ON key "
					       "(org);"
					       "CREATE INDEX key_project ON "
					       "key (project) WHERE project IS "
					       "NOT NULL;";

const char *const records_steps[] = {
	schema_1,
};
const int records_version = sizeof(records_steps) / sizeof(records_steps[0]);

int records_migrate(sqlite3 *db, const char *const *steps, int from, int count,
		    char *err, size_t err_len)
{
	char stamp[96];
	int code, rc;

	code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	for (int i = from; code == SQLITE_OK && i < count; i++)
		code = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
	if (code == SQLITE_OK) {
		/* Part of the transaction like everything else: both numbers
		 * are in the database's first page. */
		snprintf(stamp, sizeof(stamp),
			 "PRAGMA application_id=%d;PRAGMA user_version=%d",
			 RECORDS_APPLICATION_ID, count);
		code = sqlite3_exec(db, stamp, NULL, NULL, NULL);
	}
	if (code == SQLITE_OK)
		code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (code == SQLITE_OK)
		return 0;
	rc = fs_fail(records_errno(db, code), err, err_len,
		     "cannot bring the database from schema %d to %d: %s; it "
		     "is unchanged",
		     from, count, sqlite3_errmsg(db));
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}
