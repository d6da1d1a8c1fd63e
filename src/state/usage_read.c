/* SPDX-License-Identifier: MIT */
/*
 * The rows and what the arena has beyond them are read as of one instant:
 * under the mutex of the collector, who holds it over a commit and the stores
 * after it. What is pending goes into a temporary table, in memory, and SQLite
 * does the rest.
 *
 * The rows of an organization are found hour by hour: 2160 look-ups for the 90
 * days that are kept.
 */
#include "state/usage_read.h"

#include "base/clock.h"
#include "state/fs.h"
#include "state/records.h"
#include "state/records_internal.h"
#include "state/usage_cells.h"
#include "state/usage_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEADLINE_STEPS 20000 /* of SQLite's machine between two looks */

struct reading {
	struct usage *u;
	const struct usage_query *q;
	sqlite3 *db;
	sqlite3_stmt *add;
	struct usage_batch batch; /* of the organization's keys */
	uint32_t *slots;          /* of its keys */
	size_t count, room;
	int64_t hour;      /* of what is pending */
	uint64_t until_ns; /* monotonic */
	char *err;
	size_t err_len;
};

static int fail(struct reading *r, int code)
{
	if ((code & 0xff) == SQLITE_INTERRUPT)
		return fs_fail(-ETIMEDOUT, r->err, r->err_len,
			       "too many rows for one answer: ask for fewer "
			       "hours");
	return fs_fail(records_errno(r->db, code), r->err, r->err_len,
		       "reading " USAGE_FILE ": %s",
		       r->db != NULL ? sqlite3_errmsg(r->db)
				     : sqlite3_errstr(code));
}

static int late(void *arg)
{
	const struct reading *r = arg;

	return clock_ns(CLOCK_MONOTONIC) > r->until_ns;
}

/* ---- the connection ---- */

static const char live[] =
	"CREATE TEMP TABLE live(hour INTEGER, org TEXT, key TEXT, route TEXT,"
	" project TEXT, checks INTEGER, units INTEGER, returned INTEGER,"
	" d0 INTEGER, d1 INTEGER, d2 INTEGER, d3 INTEGER, d4 INTEGER,"
	" d5 INTEGER)";

static int open_database(struct reading *r)
{
	int code = sqlite3_open_v2(r->u->path, &r->db,
				   SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX |
					   SQLITE_OPEN_EXRESCODE,
				   NULL);

	if (code == SQLITE_OK) {
		sqlite3_busy_timeout(r->db, USAGE_BUSY_MS);
		sqlite3_progress_handler(r->db, DEADLINE_STEPS, late, r);
		code = sqlite3_exec(r->db,
				    "PRAGMA temp_store=MEMORY;"
				    "PRAGMA cache_size=-8192;"
				    "PRAGMA mmap_size=0",
				    NULL, NULL, NULL);
	}
	if (code == SQLITE_OK)
		code = sqlite3_exec(r->db, live, NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(
			r->db,
			"INSERT INTO live VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,"
			"?10,?11,?12,?13,?14)",
			-1, &r->add, NULL);
	return code == SQLITE_OK ? 0 : fail(r, code);
}

static int add_live(struct reading *r, const struct usage_subject *s,
		    const char *route, const struct usage_sums *sums)
{
	int code;

	usage_bind_row(r->add, r->hour, s, route, sums);
	code = sqlite3_step(r->add);
	(void)sqlite3_reset(r->add);
	return code == SQLITE_DONE ? 0 : fail(r, code);
}

/* ---- what is pending ---- */

static int note_key(const struct key_record *rec, void *arg)
{
	struct reading *r = arg;

	if (r->count == r->room) {
		size_t room = r->room != 0 ? 2 * r->room : 256;
		uint32_t *slots = realloc(r->slots, room * sizeof(*slots));

		if (slots == NULL)
			return -ENOMEM;
		r->slots = slots;
		r->room = room;
	}
	r->slots[r->count++] = rec->slot;
	return 0;
}

/* The keys of the organization, in the order of their slots, and memory for
 * what each may have. */
static int note_keys(struct reading *r, struct records *records)
{
	int rc = records_each_key(records, r->q->org, 0, 0, note_key, r);

	if (rc == 0) {
		r->batch.changes =
			calloc(r->count + 1, sizeof(*r->batch.changes));
		r->batch.cells =
			calloc(USAGE_CELL_BATCH, sizeof(*r->batch.cells));
		if (r->batch.changes == NULL || r->batch.cells == NULL)
			rc = -ENOMEM;
	}
	return rc == 0 ? 0
		       : fs_fail(rc, r->err, r->err_len, "reading the keys: %s",
				 rc == -ENOMEM ? strerror(ENOMEM)
					       : records_error(records));
}

/* Begins to read; what the rows are as of. */
static int begin(struct reading *r)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(r->db, "SELECT since_ms FROM since",
					  -1, &st, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		r->hour = usage_hour_found(sqlite3_column_int64(st, 0),
					   r->q->now_ms);
	sqlite3_finalize(st);
	return code == SQLITE_ROW    ? 0
	       : code == SQLITE_DONE ? fail(r, SQLITE_CORRUPT)
				     : fail(r, code);
}

static int add_cells(struct reading *r)
{
	struct usage_batch *b = &r->batch;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < b->cell_count; i++)
		if (id_equal(b->cells[i].subject.org, r->q->org_id))
			rc = add_live(r, &b->cells[i].subject,
				      b->cells[i].route, &b->cells[i].sums);
	b->cell_count = 0;
	return rc;
}

static int add_pending(struct reading *r)
{
	uint32_t left = usage_cells_count(r->u);
	struct usage_batch *b = &r->batch;
	int rc = 0;

	for (size_t i = 0; i < r->count; i++)
		usage_find_key(r->u->arena, r->slots[i], b);
	while (rc == 0 && left != 0) {
		left -= usage_cells_scan(r->u, b, NULL, left);
		rc = add_cells(r);
	}
	for (uint32_t i = 0; rc == 0 && i < b->count; i++) {
		const struct usage_sums sums = {
			.checks = USED_CHECKS(b->changes[i].rest),
			.units = USED_UNITS(b->changes[i].rest)};

		/* All of it is in cells. */
		if (b->changes[i].rest == 0)
			continue;
		rc = add_live(r, &b->changes[i].subject, "", &sums);
	}
	return rc;
}

/* The collector may be waiting for a disk. */
static int hold(struct reading *r)
{
	struct timespec until = {
		.tv_sec = (time_t)(r->until_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(r->until_ns % UINT64_C(1000000000)),
	};
	int e = pthread_mutex_clocklock(&r->u->mutex, CLOCK_MONOTONIC, &until);

	return e == 0 ? 0
		      : fs_fail(-e, r->err, r->err_len,
				"usage is being written and the disk is slow: "
				"ask again");
}

static int add_project(const struct project_record *rec, void *arg)
{
	struct reading *r = arg;
	const struct usage_subject s = {.org = r->q->org_id,
					.project = rec->id};
	const struct usage_sums none = {0};

	return add_live(r, &s, "", &none);
}

/* ---- the rows ---- */

#define COLUMNS                                                                \
	"project,checks,units,returned,denied_rate,denied_cost,"               \
	"denied_suspended,denied_access,denied_budget,denied_credits"
#define SELECT_BY(group)                                                       \
	"WITH RECURSIVE hours(h) AS (SELECT ?1 UNION ALL SELECT h+1 FROM "     \
	"hours WHERE h<?2), found AS (SELECT " group " AS g," COLUMNS          \
	" FROM hours CROSS JOIN usage ON hour=h AND org=?3 UNION ALL "         \
	"SELECT " group                                                        \
	",project,checks,units,returned,d0,d1,d2,d3,d4,d5 FROM live "          \
	"WHERE hour BETWEEN ?4 AND ?5) SELECT g,max(project),sum(checks),"     \
	"sum(units),sum(returned),sum(denied_rate),sum(denied_cost),"          \
	"sum(denied_suspended),sum(denied_access),sum(denied_budget),"         \
	"sum(denied_credits) FROM found WHERE ?6 IS NULL OR g>?6 GROUP BY g "  \
	"ORDER BY g "                                                          \
	"LIMIT ?7"

static const char *const selects[] = {
	[USAGE_BY_PROJECT] = SELECT_BY("project"),
	[USAGE_BY_KEY] = SELECT_BY("key"),
	[USAGE_BY_ROUTE] = SELECT_BY("route"),
	[USAGE_BY_HOUR] = SELECT_BY("printf('%08d',hour)"),
};
static_assert(DENIAL_COUNT == 6, "the columns of the queries");

static int one_number(struct reading *r, const char *sql, int64_t *ret_value)
{
	sqlite3_stmt *st;
	int code = sqlite3_prepare_v2(r->db, sql, -1, &st, NULL);

	if (code != SQLITE_OK)
		return fail(r, code);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW && sqlite3_column_type(st, 0) == SQLITE_INTEGER)
		*ret_value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return code == SQLITE_ROW ? 0 : fail(r, code);
}

static void show(sqlite3_stmt *st,
		 void (*cb)(const struct usage_row *row, void *arg), void *arg)
{
	struct usage_row row = {
		.group = (const char *)sqlite3_column_text(st, 0),
		.checks = (uint64_t)sqlite3_column_int64(st, 2),
		.units = (uint64_t)sqlite3_column_int64(st, 3),
		.returned = (uint64_t)sqlite3_column_int64(st, 4),
	};

	if (sqlite3_column_bytes(st, 1) == ID_LEN)
		memcpy(row.project.c, sqlite3_column_blob(st, 1), ID_LEN);
	for (int d = 0; d < DENIAL_COUNT; d++)
		row.denied[d] = (uint64_t)sqlite3_column_int64(st, 5 + d);
	cb(&row, arg);
}

static int bind_query(struct reading *r, sqlite3_stmt *st)
{
	const struct usage_query *q = r->q;
	int64_t from = usage_hour(q->from_ms);
	int64_t to = (q->to_ms + USAGE_HOUR_MS - 1) / USAGE_HOUR_MS - 1;
	int64_t oldest = 0, newest = -1;
	int rc = one_number(r, "SELECT min(hour) FROM usage", &oldest);

	if (rc == 0)
		rc = one_number(r, "SELECT max(hour) FROM usage", &newest);
	if (rc < 0)
		return rc;
	/* The recursion has at least one step: an hour without rows. */
	if (from > oldest)
		oldest = from;
	if (to < newest)
		newest = to;
	if (newest < oldest)
		oldest = newest = -1;
	sqlite3_bind_int64(st, 1, oldest);
	sqlite3_bind_int64(st, 2, newest);
	sqlite3_bind_text(st, 3, q->org_id.c, ID_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, from);
	sqlite3_bind_int64(st, 5, to);
	/* Left NULL without. */
	if (q->after != NULL)
		sqlite3_bind_text(st, 6, q->after, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 7, (int64_t)q->max + 1);
	return 0;
}

static int show_rows(struct reading *r,
		     void (*cb)(const struct usage_row *row, void *arg),
		     void *arg, bool *ret_more)
{
	sqlite3_stmt *st;
	uint32_t shown = 0;
	int code = sqlite3_prepare_v2(r->db, selects[r->q->by], -1, &st, NULL);
	int rc;

	if (code != SQLITE_OK)
		return fail(r, code);
	rc = bind_query(r, st);
	while (rc == 0 && (code = sqlite3_step(st)) == SQLITE_ROW &&
	       shown < r->q->max) {
		show(st, cb, arg);
		shown++;
	}
	*ret_more = code == SQLITE_ROW;
	if (rc == 0 && code != SQLITE_ROW && code != SQLITE_DONE)
		rc = fail(r, code);
	sqlite3_finalize(st);
	return rc;
}

int usage_read(struct usage *u, struct records *records,
	       const struct usage_query *q,
	       void (*cb)(const struct usage_row *row, void *arg), void *arg,
	       bool *ret_more, char *err, size_t err_len)
{
	struct reading r = {.u = u, .q = q, .err = err, .err_len = err_len};
	int rc;

	r.until_ns =
		clock_ns(CLOCK_MONOTONIC) + USAGE_READ_MS * UINT64_C(1000000);
	*ret_more = false;
	rc = note_keys(&r, records);
	if (rc == 0)
		rc = open_database(&r);
	if (rc == 0)
		rc = hold(&r);
	if (rc == 0) {
		rc = begin(&r);
		if (rc == 0)
			rc = add_pending(&r);
		pthread_mutex_unlock(&u->mutex);
	}
	r.hour = usage_hour(q->from_ms); /* whatever is asked for */
	if (rc == 0 && q->by == USAGE_BY_PROJECT)
		rc = records_each_project(records, q->org, 0, 0, add_project,
					  &r);
	if (rc == 0)
		rc = show_rows(&r, cb, arg, ret_more);
	sqlite3_finalize(r.add);
	sqlite3_close(r.db);
	free(r.slots);
	free(r.batch.changes);
	free(r.batch.cells);
	return rc;
}
