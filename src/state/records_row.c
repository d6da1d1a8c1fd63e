/* SPDX-License-Identifier: MIT */
/* What every table of records needs: columns as values, free slots, visits. */
#include "state/records_internal.h"

#include "state/fs.h"

#include <errno.h>
#include <string.h>

int row_damaged(struct records *r, const char *table)
{
	return fs_fail(-EBADMSG, r->error, sizeof(r->error),
		       "a row of table %s does not obey the schema; check %s "
		       "and restore a backup (docs/operation.md)",
		       table, r->path);
}

/* Text without SQLite's copy for a terminator. False when it does not fit:
 * the CHECKs forbid that, so somebody has edited the file. */
bool row_text(sqlite3_stmt *st, int at, char *out, size_t cap)
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

bool row_bytes(sqlite3_stmt *st, int at, void *out, size_t len)
{
	const void *bytes = sqlite3_column_blob(st, at);

	if (!bytes || (size_t)sqlite3_column_bytes(st, at) != len)
		return false;
	memcpy(out, bytes, len);
	return true;
}

/* A number from 1 to max, such as a slot. */
bool row_u32(sqlite3_stmt *st, int at, uint32_t max, uint32_t *out)
{
	int64_t v = sqlite3_column_int64(st, at);

	if (v < 1 || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

bool row_slot(sqlite3_stmt *st, int at, uint32_t max, uint32_t *out)
{
	if (sqlite3_column_type(st, at) != SQLITE_NULL)
		return row_u32(st, at, max, out);
	*out = 0;
	return true;
}

bool row_range(sqlite3_stmt *st, int at, int64_t min, int64_t max, int64_t *out)
{
	*out = sqlite3_column_int64(st, at);
	return *out >= min && *out <= max;
}

bool row_flag(sqlite3_stmt *st, int at)
{
	return sqlite3_column_int(st, at) != 0;
}

int row_next_slot(struct records *r, enum records_statement top,
		  uint32_t max_slot, uint32_t bound, uint32_t *ret_slot)
{
	int64_t highest = 0;
	int rc = statement_number(r, statement_start(r, top), &highest);

	if (rc)
		return rc;
	if (highest >= max_slot || highest >= (int64_t)bound - 1)
		return records_say(r, RECORDS_FULL, "the table is full");
	*ret_slot = (uint32_t)highest + 1;
	return 0;
}

sqlite3_stmt *visit_start(struct records *r, enum records_statement which,
			  uint32_t org, uint32_t after, uint32_t max)
{
	sqlite3_stmt *st = statement_start(r, which);

	statement_bind_int(st, 1, after);
	statement_bind_int(st, 2, max ? (int64_t)max : -1);
	if (org)
		statement_bind_int(st, 3, org);
	return st;
}

int visit_step(struct records *r, sqlite3_stmt *st)
{
	int code = sqlite3_step(st);

	return code == SQLITE_ROW    ? VISIT_ROW
	       : code == SQLITE_DONE ? 0
				     : records_fail(r, code, "read");
}
