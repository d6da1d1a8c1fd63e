/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RECORDS_INTERNAL_H
#define STILE_STATE_RECORDS_INTERNAL_H

/*
 * state/records_internal - what records.c (rows), records_row.c (columns,
 * visits), records_statement.c (statements, transactions, errors),
 * records_open.c (file, pragmas), records_schema.c (versions) and
 * records_backup.c share. Nobody else includes
 * it but the tests of migrations.
 */
#include "state/records.h"

#include <sqlite3.h>
#include <string.h>

#define RECORDS_APPLICATION_ID 0x5354494c /* "STIL" */
#define RECORDS_BUSY_MS 2000    /* wait for a lock that a tool holds */
#define RECORDS_ERROR_BYTES 512 /* of records_error() */

/* Page cache. 64 MB: random inserts of a million hashes stay in memory. A
 * visit of all keys reads each page once, so it would only fill it. */
#define RECORDS_CACHE "PRAGMA cache_size=-65536;"
#define RECORDS_CACHE_VISIT "PRAGMA cache_size=-2000;"

enum records_statement {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_ROLLBACK,
	STMT_ORG_TOP,
	STMT_PROJECT_TOP,
	STMT_KEY_TOP,
	STMT_ORG_INSERT,
	STMT_PROJECT_INSERT,
	STMT_KEY_INSERT,
	STMT_ORG_FIND,
	STMT_ORG_GET,
	STMT_PROJECT_FIND,
	STMT_PROJECT_GET,
	STMT_KEY_FIND,
	STMT_ORG_SET_LIMIT,
	STMT_ORG_SET_SUSPENDED,
	STMT_KEY_REVOKE,
	STMT_KEY_SET_EXPIRY,
	STMT_ORG_EACH,
	STMT_PROJECT_EACH,
	STMT_PROJECT_EACH_OF_ORG,
	STMT_KEY_EACH,
	STMT_KEY_EACH_OF_ORG,
	STMT_ORG_DROP_LIMIT,
	STMT_ORG_SET_PLAN,
	STMT_ORG_SET_BILLING,
	STMT_ORG_SET_CREDITS,
	STMT_KEY_SET_DISABLED,
	STMT_ORG_EACH_OF_PLAN,
	STMT_PLAN_TOP,
	STMT_PLAN_INSERT,
	STMT_PLAN_FIND,
	STMT_PLAN_GET,
	STMT_PLAN_ORGS,
	STMT_PLAN_DELETE,
	STMT_PLAN_EACH,
	STMT_RULE_INSERT,
	STMT_RULE_UPDATE,
	STMT_RULE_FIND_OF_PLAN,
	STMT_RULE_FIND_OF_ORG,
	STMT_RULE_COUNT_OF_PLAN,
	STMT_RULE_COUNT_OF_ORG,
	STMT_RULE_DELETE,
	STMT_RULE_DELETE_OF_PLAN,
	STMT_RULE_EACH_OF_PLAN,
	STMT_RULE_EACH_OF_ORG,
	STMT_RULE_EACH_OF_ALL,
	STMT_BUDGET_PUT,
	STMT_BUDGET_DELETE,
	STMT_BUDGET_EACH,
	STMT_BUDGET_EACH_OF_PROJECT,
	STMT_ACCESS_INSERT,
	STMT_ACCESS_EACH,
	STMT_ACCESS_EACH_OF_KEY,
	STMT_POOL_INSERT,
	STMT_POOL_GET,
	STMT_POOL_CLOSE,
	STMT_POOL_EACH,
	STMT_POOL_EACH_OF_ALL,
	STMT_POOL_EACH_DUE,
	STMT_POOL_GRANTED,
	STMT_TRIAL_INSERT,
	STMT_LEDGER_INSERT,
	STMT_LEDGER_EACH,
	STMT_EVENT_INSERT,
	STMT_EVENT_DELIVERED,
	STMT_EVENT_EACH,
	STMT_EVENT_EACH_PENDING,
	STMT_EVENT_PRUNE,
	STMT_AUDIT_INSERT,
	STMT_AUDIT_EACH,
	STMT_AUDIT_PRUNE,
	STMT_COUNT
};

struct records {
	sqlite3 *db;
	sqlite3_stmt *st[STMT_COUNT];
	bool in_batch; /* between records_begin() and commit or rollback */
	char *path;
	char error[RECORDS_ERROR_BYTES];
};

/* Prepares every statement; a positive SQLite code on failure. */
int records_prepare(struct records *r);

/* The errno for a SQLite result code of `db`. */
int records_errno(sqlite3 *db, int code);

/* Sets records_error() to "doing: what SQLite says"; returns the errno. */
int records_fail(struct records *r, int code, const char *doing);

/* Sets records_error() and returns the outcome. */
int records_say(struct records *r, enum records_outcome outcome,
		const char *text);

/* Hands out statement `which`; it must not be in use, as it would be when the
 * callback of a visit starts the same visit. */
sqlite3_stmt *statement_start(struct records *r, enum records_statement which);
void statement_finish(sqlite3_stmt *st);

/* Binding cannot fail: the numbers are right and the memory is the caller's
 * (SQLITE_STATIC) until statement_finish(). */
void statement_bind_int(sqlite3_stmt *st, int at, int64_t value);
void statement_bind_text(sqlite3_stmt *st, int at, const char *text,
			 size_t len);
/* An array of `cap` bytes that ends at its first zero. */
static inline void statement_bind_array(sqlite3_stmt *st, int at,
					const char *text, size_t cap)
{
	statement_bind_text(st, at, text, strnlen(text, cap));
}
/* A slot; 0 is NULL, as what is not bound. */
static inline void statement_bind_slot(sqlite3_stmt *st, int at, uint32_t slot)
{
	if (slot)
		statement_bind_int(st, at, slot);
}
void statement_bind_hash(sqlite3_stmt *st, int at,
			 const uint8_t hash[static 32]);

/* Runs a statement that returns no rows, and finishes it: 0, RECORDS_EXISTS,
 * RECORDS_ABSENT (what it refers to), or negative errno. */
int statement_run(struct records *r, sqlite3_stmt *st, const char *doing);
/* The same; RECORDS_ABSENT when it changed no row. */
int statement_change(struct records *r, sqlite3_stmt *st, const char *doing);
/* The same; *ret_id is the number that a row got. */
int statement_insert(struct records *r, sqlite3_stmt *st, const char *doing,
		     int64_t *ret_id);
/* The number that a statement selects, and finishes it. */
int statement_number(struct records *r, sqlite3_stmt *st, int64_t *ret_number);
/* Steps to the one row a search may have: 0, RECORDS_ABSENT or an error. */
int statement_row(struct records *r, sqlite3_stmt *st, const char *absent);

/* ---- records_row.c ---- */

/* A row that the schema's CHECKs forbid: somebody has edited the file. Sets
 * records_error(); -EBADMSG. */
int row_damaged(struct records *r, const char *table);

/* Columns as values; false when they do not fit, as above. Text without
 * SQLite's copy for a terminator. */
bool row_text(sqlite3_stmt *st, int at, char *out, size_t cap);
bool row_bytes(sqlite3_stmt *st, int at, void *out, size_t len);
/* A number from 1 to max, such as a slot. */
bool row_u32(sqlite3_stmt *st, int at, uint32_t max, uint32_t *out);
/* The same, or NULL as 0. */
bool row_slot(sqlite3_stmt *st, int at, uint32_t max, uint32_t *out);
/* A number from min to max. */
bool row_range(sqlite3_stmt *st, int at, int64_t min, int64_t max,
	       int64_t *out);
bool row_flag(sqlite3_stmt *st, int at);

/* The lowest free slot, below `bound` and not above `max_slot`; RECORDS_FULL.
 * `top` asks for the highest one. */
int row_next_slot(struct records *r, enum records_statement top,
		  uint32_t max_slot, uint32_t bound, uint32_t *ret_slot);

/* A visit: ?1 after, ?2 how many (0: all), ?3 whose (0: not bound). */
sqlite3_stmt *visit_start(struct records *r, enum records_statement which,
			  uint32_t org, uint32_t after, uint32_t max);
/* 0 at the end, an error, or VISIT_ROW: there is a row. */
#define VISIT_ROW INT32_MAX
int visit_step(struct records *r, sqlite3_stmt *st);

/* One array entry per version; entry i leads from version i to i + 1. */
extern const char *const records_steps[];
extern const int records_version; /* the newest: number of entries */

/*
 * Brings an open database from `from` to `count` with steps[from..count) in
 * one transaction. Negative errno and a sentence; then nothing has changed.
 */
int records_migrate(sqlite3 *db, const char *const *steps, int from, int count,
		    char *err, size_t err_len);

#endif
