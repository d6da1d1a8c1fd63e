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
#include "state/records_credits.h"
#include "state/records_events.h"
#include "state/records_plans.h"

#include <stdio.h>

static_assert(ARENA_ORGS_MAX == 1048576 && ARENA_PROJECTS_MAX == 1048576 &&
		      ARENA_KEYS_MAX == 16777216,
	      "a bound in the schema: append a step");
static_assert(LIMIT_MAX == 8388607 && WINDOW_MS_MIN == 1 &&
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

static_assert(PLANS_MAX == 1023 && RULE_NAME_LEN == 24 && LEVEL_COUNT == 5 &&
		      ROUTE_MAX_BYTES == 255 && TIMEZONE_MAX_BYTES == 63 &&
		      RULE_LIMIT_MAX == 1000000000 &&
		      RULE_BURST_MAX == 1000000 &&
		      RULE_LEASE_MS_MAX == 86400000 &&
		      RULE_SUBJECTS_MAX == 16777216 &&
		      CREDITS_MAX == 8796093022207 &&
		      PROJECT_BUDGETS_MAX == 2 &&
		      BUDGET_UNITS_MAX == 17592186044415,
	      "a bound in the schema: append a step");

/* Plans and their rules, what an organization has instead, budgets, what a key
 * may be used for, credits and who was told what.
 *
 * org.plan cannot be NOT NULL: a column that refers to another table is added
 * empty. A row without one is damaged.
 *
 * AUTOINCREMENT: counters in the arena are known by these numbers, which must
 * not come back for something else. */
static const char schema_2[] =
	"CREATE TABLE plan ("
	" slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 1 AND 1023),"
	" id TEXT NOT NULL UNIQUE " ID_CHECK ","
	" name TEXT NOT NULL UNIQUE " NAME_CHECK(
		"1") ","
		     " created_ms INTEGER NOT NULL"
		     ") STRICT;"
		     "INSERT INTO plan VALUES (1, 'default0', 'default', 0);"
		     "ALTER TABLE org ADD COLUMN plan INTEGER REFERENCES plan "
		     "(slot);"
		     /* A wider CHECK: another column of the same name. */
		     "ALTER TABLE org ADD COLUMN limit_wide INTEGER NOT NULL"
		     " DEFAULT 1 CHECK (limit_wide BETWEEN 1 AND 8388607);"
		     "UPDATE org SET limit_wide = limit_units;"
		     "ALTER TABLE org DROP COLUMN limit_units;"
		     "ALTER TABLE org RENAME COLUMN limit_wide TO limit_units;"
		     "ALTER TABLE org ADD COLUMN limit_own INTEGER NOT NULL "
		     "DEFAULT 1"
		     " CHECK (limit_own IN (0, 1));"
		     "ALTER TABLE org ADD COLUMN anchor_day INTEGER NOT NULL "
		     "DEFAULT 1"
		     " CHECK (anchor_day BETWEEN 1 AND 31);"
		     "ALTER TABLE org ADD COLUMN overage INTEGER NOT NULL "
		     "DEFAULT 0"
		     " CHECK (overage IN (0, 1));"
		     "ALTER TABLE org ADD COLUMN credits INTEGER NOT NULL "
		     "DEFAULT 0"
		     " CHECK (credits IN (0, 1));"
		     "ALTER TABLE org ADD COLUMN timezone TEXT NOT NULL "
		     "DEFAULT 'UTC'"
		     " CHECK (length(timezone) BETWEEN 1 AND 63"
		     "  AND timezone NOT GLOB '*[^0-9A-Za-z_+/-]*');"
		     "UPDATE org SET plan = 1, anchor_day ="
		     " CAST(strftime('%d', created_ms / 1000, 'unixepoch') AS "
		     "INTEGER);"
		     "CREATE INDEX org_plan ON org (plan);"
		     "CREATE INDEX org_credits ON org (slot) WHERE credits = 1;"
		     "CREATE TABLE rule ("
		     " id INTEGER PRIMARY KEY AUTOINCREMENT"
		     "  CHECK (id BETWEEN 1 AND 4294967295),"
		     " plan INTEGER REFERENCES plan (slot),"
		     " org INTEGER REFERENCES org (slot),"
		     " name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 24"
		     "  AND name NOT GLOB '*[^a-z0-9_.-]*'),"
		     " level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 4),"
		     " algorithm INTEGER NOT NULL CHECK (algorithm BETWEEN 1 "
		     "AND 3),"
		     " limit_units INTEGER NOT NULL"
		     "  CHECK (limit_units BETWEEN 1 AND 1000000000),"
		     " period_ms INTEGER NOT NULL"
		     "  CHECK (period_ms BETWEEN 0 AND 2678400000),"
		     " burst INTEGER NOT NULL CHECK (burst BETWEEN 0 AND "
		     "1000000),"
		     " lease_ms INTEGER NOT NULL CHECK (lease_ms BETWEEN 0 AND "
		     "86400000),"
		     " route TEXT NOT NULL CHECK (length(CAST(route AS BLOB)) "
		     "<= 255),"
		     " shadow INTEGER NOT NULL CHECK (shadow IN (0, 1)),"
		     " requests_only INTEGER NOT NULL CHECK (requests_only IN "
		     "(0, 1)),"
		     " full_pass INTEGER NOT NULL CHECK (full_pass IN (0, 1)),"
		     " max_subjects INTEGER NOT NULL"
		     "  CHECK (max_subjects BETWEEN 0 AND 16777216),"
		     " removed INTEGER NOT NULL CHECK (removed IN (0, 1)),"
		     " CHECK ((plan IS NULL) <> (org IS NULL)),"
		     " CHECK (removed = 0 OR org IS NOT NULL),"
		     " UNIQUE (plan, name),"
		     " UNIQUE (org, name)"
		     ") STRICT;"
		     "CREATE TABLE budget ("
		     " project INTEGER NOT NULL REFERENCES project (slot),"
		     " idx INTEGER NOT NULL CHECK (idx IN (0, 1)),"
		     " units INTEGER NOT NULL"
		     "  CHECK (units BETWEEN 0 AND 17592186044415),"
		     " period INTEGER NOT NULL CHECK (period BETWEEN 1 AND 4),"
		     " created_ms INTEGER NOT NULL,"
		     " PRIMARY KEY (project, idx)"
		     ") STRICT, WITHOUT ROWID;"
		     "ALTER TABLE key ADD COLUMN disabled INTEGER NOT NULL "
		     "DEFAULT 0"
		     " CHECK (disabled IN (0, 1));"
		     "CREATE TABLE key_access ("
		     " key INTEGER NOT NULL REFERENCES key (slot),"
		     " kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),"
		     " text TEXT NOT NULL"
		     "  CHECK (length(CAST(text AS BLOB)) BETWEEN 1 AND 255),"
		     " PRIMARY KEY (key, kind, text)"
		     ") STRICT, WITHOUT ROWID;"
		     "CREATE TABLE pool ("
		     " id INTEGER PRIMARY KEY AUTOINCREMENT"
		     "  CHECK (id BETWEEN 1 AND 4294967295),"
		     " org INTEGER NOT NULL REFERENCES org (slot),"
		     " kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 6),"
		     " route TEXT NOT NULL CHECK (length(CAST(route AS BLOB)) "
		     "<= 255),"
		     " granted INTEGER NOT NULL"
		     "  CHECK (granted BETWEEN 0 AND 8796093022207),"
		     " monthly INTEGER NOT NULL"
		     "  CHECK (monthly BETWEEN 0 AND 8796093022207),"
		     " expires_ms INTEGER NOT NULL CHECK (expires_ms >= 0),"
		     " created_ms INTEGER NOT NULL,"
		     " closed_ms INTEGER NOT NULL CHECK (closed_ms >= 0),"
		     " renewed_ms INTEGER NOT NULL CHECK (renewed_ms >= 0),"
		     " due_ms INTEGER NOT NULL CHECK (due_ms >= 0)"
		     ") STRICT;"
		     "CREATE INDEX pool_org ON pool (org, id);"
		     "CREATE INDEX pool_open ON pool (org, kind, id) WHERE "
		     "closed_ms = 0;"
		     "CREATE INDEX pool_due ON pool (due_ms, id)"
		     " WHERE closed_ms = 0 AND due_ms <> 0;"
		     "CREATE UNIQUE INDEX pool_trial ON pool (org, route) "
		     "WHERE kind = 1;"
		     "CREATE UNIQUE INDEX pool_single ON pool (org, kind)"
		     " WHERE closed_ms = 0 AND kind IN (2, 6);"
		     "CREATE TABLE ledger ("
		     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
		     " org INTEGER NOT NULL REFERENCES org (slot),"
		     " pool INTEGER NOT NULL REFERENCES pool (id),"
		     " at_ms INTEGER NOT NULL,"
		     " change INTEGER NOT NULL,"
		     " why TEXT NOT NULL CHECK (length(CAST(why AS BLOB)) "
		     "BETWEEN 1 AND 100)"
		     ") STRICT;"
		     "CREATE INDEX ledger_org ON ledger (org, id);"
		     "CREATE TABLE event ("
		     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
		     " at_ms INTEGER NOT NULL,"
		     " kind TEXT NOT NULL CHECK (length(CAST(kind AS BLOB)) "
		     "BETWEEN 1 AND 64),"
		     " org INTEGER REFERENCES org (slot),"
		     " project INTEGER REFERENCES project (slot),"
		     " body TEXT NOT NULL"
		     "  CHECK (length(CAST(body AS BLOB)) BETWEEN 2 AND 2047),"
		     " once TEXT NOT NULL UNIQUE"
		     "  CHECK (length(CAST(once AS BLOB)) BETWEEN 1 AND 127),"
		     " delivered_ms INTEGER NOT NULL CHECK (delivered_ms >= 0)"
		     ") STRICT;"
		     "CREATE INDEX event_pending ON event (id) WHERE "
		     "delivered_ms = 0;"
		     "CREATE TABLE audit ("
		     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
		     " at_ms INTEGER NOT NULL,"
		     " uid INTEGER NOT NULL,"
		     " action TEXT NOT NULL"
		     "  CHECK (length(CAST(action AS BLOB)) BETWEEN 1 AND 64),"
		     " subject TEXT NOT NULL CHECK (length(CAST(subject AS "
		     "BLOB)) <= 127),"
		     " detail TEXT NOT NULL CHECK (length(CAST(detail AS "
		     "BLOB)) <= 511)"
		     ") STRICT;";

/* When a pool was granted; 0: a trial that nobody has used yet. Those that are
 * there have their line in the ledger. */
static const char schema_3[] =
	"ALTER TABLE pool ADD COLUMN granted_ms INTEGER NOT NULL DEFAULT 0"
	" CHECK (granted_ms >= 0);"
	"UPDATE pool SET granted_ms = max(created_ms, 1);";

const char *const records_steps[] = {
	schema_1,
	schema_2,
	schema_3,
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
