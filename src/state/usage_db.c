/* SPDX-License-Identifier: MIT */
/*
 * The file: opening, statements, errors, and the marks.
 *
 * A mark is a collected word of the last transaction. Whoever opens the
 * database puts them into the arena: if the process died after the commit and
 * before it had stored them all, it does what was left to do; else they are
 * there already. They are about one arena, named by its id; and they are
 * removed before an arena that began anew (under the same id, when it was
 * found to be damaged) counts in it.
 */
#include "state/usage_internal.h"

#include "state/arena.h"
#include "state/fs.h"
#include "state/records_internal.h"
#include "state/usage_cells.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `hour` counts from 1970, UTC. Behind it the organization: new rows stand
 * together, old ones go together, and a reader asks hour by hour. The row of
 * route "" has what named none. */
static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE usage("
	" hour INTEGER NOT NULL, org TEXT NOT NULL, key TEXT NOT NULL,"
	" route TEXT NOT NULL, project TEXT NOT NULL,"
	" checks INTEGER NOT NULL, units INTEGER NOT NULL,"
	" returned INTEGER NOT NULL, denied_rate INTEGER NOT NULL,"
	" denied_cost INTEGER NOT NULL, denied_suspended INTEGER NOT NULL,"
	" denied_access INTEGER NOT NULL, denied_budget INTEGER NOT NULL,"
	" denied_credits INTEGER NOT NULL,"
	" PRIMARY KEY(hour, org, key, route)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE mark(slot INTEGER NOT NULL, key TEXT NOT NULL,"
	" used INTEGER NOT NULL) STRICT;"
	"CREATE TABLE cell_mark(entry INTEGER NOT NULL, owner INTEGER NOT NULL,"
	" used INTEGER NOT NULL, returned INTEGER NOT NULL,"
	" denied BLOB NOT NULL) STRICT;"
	"CREATE TABLE since(one INTEGER PRIMARY KEY CHECK(one = 1),"
	" arena BLOB NOT NULL, since_ms INTEGER NOT NULL) STRICT;"
	"PRAGMA application_id=1398032725;" /* USAGE_APPLICATION_ID */
	"PRAGMA user_version=1;"            /* USAGE_VERSION */
	"COMMIT;";

/* NOLINTBEGIN(bugprone-suspicious-missing-comma): long statements */
static const char *const statements[USAGE_STATEMENTS] = {
	[USAGE_BEGIN] = "BEGIN IMMEDIATE",
	[USAGE_COMMIT] = "COMMIT",
	[USAGE_ROLLBACK] = "ROLLBACK",
	[USAGE_ADD] =
		"INSERT INTO usage VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,"
		"?12,?13,?14) ON CONFLICT DO UPDATE SET "
		"checks=checks+excluded.checks,units=units+excluded.units,"
		"returned=returned+excluded.returned,"
		"denied_rate=denied_rate+excluded.denied_rate,"
		"denied_cost=denied_cost+excluded.denied_cost,"
		"denied_suspended=denied_suspended+excluded.denied_suspended,"
		"denied_access=denied_access+excluded.denied_access,"
		"denied_budget=denied_budget+excluded.denied_budget,"
		"denied_credits=denied_credits+excluded.denied_credits",
	[USAGE_MARKS_GONE] = "DELETE FROM mark",
	[USAGE_MARK] = "INSERT INTO mark VALUES(?1,?2,?3)",
	[USAGE_CELL_MARKS_GONE] = "DELETE FROM cell_mark",
	[USAGE_CELL_MARK] = "INSERT INTO cell_mark VALUES(?1,?2,?3,?4,?5)",
	[USAGE_SINCE] = "INSERT OR REPLACE INTO since VALUES(1,?1,?2)",
	[USAGE_PRUNE] =
		("DELETE FROM usage WHERE (hour,org,key,route) IN (SELECT "
		 "hour,org,key,route FROM usage WHERE hour<?1 LIMIT ?2)"),
};
/* NOLINTEND(bugprone-suspicious-missing-comma) */
static_assert(DENIAL_COUNT == 6, "the columns of the schema");
static_assert(USAGE_APPLICATION_ID == 1398032725 && USAGE_VERSION == 1,
	      "the pragmas of the schema");

static int say(struct usage *u, int r, const char *text)
{
	snprintf(u->error, sizeof(u->error), "%s", text);
	return r;
}

int usage_db_fail(struct usage *u, int code, const char *doing)
{
	int r = records_errno(u->db, code);
	char text[USAGE_ERROR_MAX];

	snprintf(text, sizeof(text), "%s " USAGE_FILE ": %s", doing,
		 u->db != NULL ? sqlite3_errmsg(u->db) : strerror(-r));
	return say(u, r, text);
}

int usage_db_run(struct usage *u, enum usage_statement which)
{
	sqlite3_stmt *st = u->st[which];
	int code = sqlite3_step(st);
	int r = code == SQLITE_DONE ? 0 : usage_db_fail(u, code, "writing");

	(void)sqlite3_reset(st); /* the code of the step, told already */
	return r;
}

int usage_db_since(struct usage *u, int64_t since_ms)
{
	sqlite3_stmt *st = u->st[USAGE_SINCE];

	sqlite3_bind_blob(st, 1, u->arena->header->id,
			  sizeof(u->arena->header->id), SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, since_ms);
	return usage_db_run(u, USAGE_SINCE);
}

static void bind_id(sqlite3_stmt *st, int at, const struct id *id)
{
	sqlite3_bind_text(st, at, id->c, id_is_none(*id) ? 0 : ID_LEN,
			  SQLITE_STATIC);
}

void usage_bind_row(sqlite3_stmt *st, int64_t hour,
		    const struct usage_subject *s, const char *route,
		    const struct usage_sums *sums)
{
	sqlite3_bind_int64(st, 1, hour);
	bind_id(st, 2, &s->org);
	bind_id(st, 3, &s->key);
	sqlite3_bind_text(st, 4, route, -1, SQLITE_STATIC);
	bind_id(st, 5, &s->project);
	sqlite3_bind_int64(st, 6, (int64_t)sums->checks);
	sqlite3_bind_int64(st, 7, (int64_t)sums->units);
	sqlite3_bind_int64(st, 8, (int64_t)sums->returned);
	for (int i = 0; i < DENIAL_COUNT; i++)
		sqlite3_bind_int64(st, 9 + i, (int64_t)sums->denied[i]);
}

/* ---- opening ---- */

static int query_int(sqlite3 *db, const char *sql, int *ret_value)
{
	sqlite3_stmt *st;
	int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (code != SQLITE_OK)
		return code;
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		*ret_value = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Ours, or empty and made ours; nothing is written to another. */
static int take_possession(struct usage *u)
{
	int app = 0, version = 0, tables = 0;
	int code = query_int(u->db, "PRAGMA application_id", &app);

	if (code == SQLITE_OK)
		code = query_int(u->db, "PRAGMA user_version", &version);
	if (code == SQLITE_OK)
		code = query_int(u->db, "SELECT count(*) FROM sqlite_schema",
				 &tables);
	if (code != SQLITE_OK)
		return usage_db_fail(u, code, "opening");
	if (app == 0 && version == 0 && tables == 0) {
		code = sqlite3_exec(u->db, schema, NULL, NULL, NULL);
		return code == SQLITE_OK ? 0
					 : usage_db_fail(u, code, "creating");
	}
	if (app != USAGE_APPLICATION_ID)
		return say(u, -EINVAL,
			   USAGE_FILE
			   " is not a database of usage; move it away");
	if (version != USAGE_VERSION)
		return say(
			u, -EPROTONOSUPPORT,
			USAGE_FILE
			" was written by a newer version of stile; start that, "
			"or move it away");
	return 0;
}

/* SQLite would create it with the umask's mode. */
static int create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int configure(struct usage *u)
{
	sqlite3_busy_timeout(u->db, USAGE_BUSY_MS);
	sqlite3_db_config(u->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(u->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return sqlite3_exec(u->db,
			    "PRAGMA cache_size=-8192;"
			    "PRAGMA mmap_size=0;"
			    "PRAGMA temp_store=MEMORY;"
			    "PRAGMA cell_size_check=ON;"
			    "PRAGMA journal_mode=WAL;"
			    "PRAGMA journal_size_limit=16777216;"
			    "PRAGMA synchronous=FULL",
			    NULL, NULL, NULL);
}

static int prepare(struct usage *u)
{
	int code = SQLITE_OK;

	for (int i = 0; i < USAGE_STATEMENTS && code == SQLITE_OK; i++)
		code = sqlite3_prepare_v3(u->db, statements[i], -1,
					  SQLITE_PREPARE_PERSISTENT, &u->st[i],
					  NULL);
	return code;
}

/* ---- the marks ---- */

static void apply_mark(struct usage *u, sqlite3_stmt *st)
{
	int64_t slot = sqlite3_column_int64(st, 0);
	const void *id = sqlite3_column_blob(st, 1);
	struct key *key;

	if (slot <= 0 || slot >= slots_read(&u->arena->header->key_slots) ||
	    sqlite3_column_bytes(st, 1) != ID_LEN)
		return;
	key = &u->arena->keys[slot];
	if (memcmp(key->id.c, id, ID_LEN) == 0)
		/* PAIRS: nothing; see usage_settle(). */
		atomic_store_explicit(&key->collected,
				      (uint64_t)sqlite3_column_int64(st, 2),
				      memory_order_relaxed);
}

static void apply_cell_mark(struct usage *u, sqlite3_stmt *st)
{
	uint32_t denied[DENIAL_COUNT];

	if (sqlite3_column_bytes(st, 4) != (int)sizeof(denied))
		return;
	memcpy(denied, sqlite3_column_blob(st, 4), sizeof(denied));
	usage_cells_put_back(u, (uint32_t)sqlite3_column_int64(st, 0),
			     (uint64_t)sqlite3_column_int64(st, 1),
			     (uint64_t)sqlite3_column_int64(st, 2),
			     (uint64_t)sqlite3_column_int64(st, 3), denied);
}

static int each_row(struct usage *u, const char *sql,
		    void (*fn)(struct usage *u, sqlite3_stmt *st))
{
	sqlite3_stmt *st;
	int code = sqlite3_prepare_v2(u->db, sql, -1, &st, NULL);

	if (code != SQLITE_OK)
		return code;
	while ((code = sqlite3_step(st)) == SQLITE_ROW)
		fn(u, st);
	sqlite3_finalize(st);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void take_since(struct usage *u, sqlite3_stmt *st)
{
	const struct arena_header *h = u->arena->header;

	if (sqlite3_column_bytes(st, 0) != (int)sizeof(h->id) ||
	    memcmp(sqlite3_column_blob(st, 0), h->id, sizeof(h->id)) != 0)
		return;
	u->since_ms = sqlite3_column_int64(st, 1);
}

static int put_back(struct usage *u)
{
	int code = each_row(u, "SELECT slot, key, used FROM mark", apply_mark);

	if (code == SQLITE_OK)
		code = each_row(u,
				"SELECT entry, owner, used, returned, denied "
				"FROM cell_mark",
				apply_cell_mark);
	return code;
}

/* From here on the database is about this arena. */
static int adopt(struct usage *u, int64_t now_ms)
{
	int64_t before = u->since_ms;
	int code = SQLITE_OK, r;

	u->since_ms = 0;
	if (!u->fresh)
		code = each_row(u, "SELECT arena, since_ms FROM since",
				take_since);
	if (code == SQLITE_OK && u->since_ms != 0)
		code = put_back(u);
	/* A clock that was wrong then is not believed. */
	if (u->since_ms == 0 || u->since_ms > now_ms)
		u->since_ms = before != 0 ? before : now_ms;
	if (code != SQLITE_OK)
		return usage_db_fail(u, code, "reading");
	r = usage_db_run(u, USAGE_BEGIN);
	if (r == 0)
		r = usage_db_run(u, USAGE_MARKS_GONE);
	if (r == 0)
		r = usage_db_run(u, USAGE_CELL_MARKS_GONE);
	if (r == 0)
		r = usage_db_since(u, u->since_ms);
	if (r == 0)
		r = usage_db_run(u, USAGE_COMMIT);
	if (r == 0)
		u->fresh = false;
	return r;
}

int usage_db_open(struct usage *u, int64_t now_ms)
{
	int code, r = create(u->path);

	if (r < 0) {
		snprintf(u->error, sizeof(u->error),
			 "opening " USAGE_FILE ": %s", strerror(-r));
		return r;
	}
	code = sqlite3_open_v2(u->path, &u->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
				       SQLITE_OPEN_EXRESCODE,
			       NULL);
	if (code == SQLITE_OK)
		r = take_possession(u);
	if (code == SQLITE_OK && r == 0)
		code = configure(u);
	if (code == SQLITE_OK && r == 0)
		code = prepare(u);
	if (code != SQLITE_OK)
		r = usage_db_fail(u, code, "opening");
	if (r == 0)
		r = fs_sync_parent(u->path);
	if (r == 0)
		r = adopt(u, now_ms);
	if (r < 0)
		usage_db_close(u);
	else
		u->written_hour = usage_hour(u->since_ms);
	return r;
}

void usage_db_close(struct usage *u)
{
	for (int i = 0; i < USAGE_STATEMENTS; i++) {
		sqlite3_finalize(u->st[i]);
		u->st[i] = NULL;
	}
	sqlite3_close(u->db);
	u->db = NULL;
}
