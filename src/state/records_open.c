/* SPDX-License-Identifier: MIT */
/*
 * Opening without harm. A file that is not ours, or that a newer version has
 * migrated, must stay as it is, byte for byte: not even its journal may be
 * folded in. So it is judged twice. First the 100 bytes of the header are read
 * without SQLite; this finds nearly everything. But a newer version may have
 * left its migration in the write-ahead log, so SQLite is asked again, with
 * exclusive locking (no -shm file) and checkpoints off. Only then is anything
 * written.
 *
 * Exclusive locking stays on: the daemon publishes what it has read, and a
 * second writer would make the two differ.
 */
#include "state/records_internal.h"

#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* https://www.sqlite.org/fileformat.html#the_database_header */
#define HEADER_BYTES 100
#define HEADER_MAGIC "SQLite format 3"
#define HEADER_USER_VERSION 60
#define HEADER_APPLICATION_ID 68

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static int refuse_foreign(const char *path, char *err, size_t err_len)
{
	return fs_fail(-EINVAL, err, err_len,
		       "%s is not a database of stile; move it away, or name "
		       "another state directory (the file was not changed)",
		       path);
}

static int refuse_newer(const char *path, int version, char *err,
			size_t err_len)
{
	return fs_fail(-EPROTONOSUPPORT, err, err_len,
		       "%s was written by a newer version of stile (schema %d, "
		       "this version knows up to %d); start the newer version, "
		       "or restore a backup made by this one (the file was not "
		       "changed)",
		       path, version, records_version);
}

static int refuse_busy(const char *path, char *err, size_t err_len)
{
	return fs_fail(-EBUSY, err, err_len,
		       "%s is in use by another program; close it and start "
		       "again (stile holds the database alone)",
		       path);
}

static int refuse_errno(const char *path, const char *doing, int errnum,
			char *err, size_t err_len)
{
	return fs_fail(-errnum, err, err_len, "cannot %s %s: %s", doing, path,
		       strerror(errnum));
}

/* The first look: 0 when nothing speaks against opening it. */
static int judge_header(const char *path, bool *ret_new, char *err,
			size_t err_len)
{
	uint8_t h[HEADER_BYTES] = {0};
	static const uint8_t zero[HEADER_BYTES];
	struct stat stat;
	ssize_t n;
	int fd;

	*ret_new = false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		*ret_new = true;
		return 0;
	}
	if (fd < 0)
		return refuse_errno(path, "open", errno, err, err_len);
	if (fstat(fd, &stat) == 0 && !S_ISREG(stat.st_mode)) {
		close(fd);
		return refuse_foreign(path, err, err_len);
	}
	n = pread(fd, h, sizeof(h), 0);
	if (n < 0) {
		int errnum = errno;

		close(fd);
		return refuse_errno(path, "read", errnum, err, err_len);
	}
	close(fd);
	/* Empty, or zeroes with a journal beside it: a creation that was cut
	 * short. SQLite rolls it back and the second look decides. */
	if (memcmp(h, zero, sizeof(h)) == 0)
		return 0;
	if (n < HEADER_BYTES ||
	    memcmp(h, HEADER_MAGIC, sizeof(HEADER_MAGIC)) != 0)
		return refuse_foreign(path, err, err_len);
	if (get_be32(h + HEADER_APPLICATION_ID) != RECORDS_APPLICATION_ID)
		return refuse_foreign(path, err, err_len);
	if (get_be32(h + HEADER_USER_VERSION) > (uint32_t)records_version)
		return refuse_newer(path,
				    (int)get_be32(h + HEADER_USER_VERSION), err,
				    err_len);
	return 0;
}

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
	return code == SQLITE_ROW    ? SQLITE_OK
	       : code == SQLITE_DONE ? SQLITE_ERROR
				     : code;
}

/* Pragmas that change how we behave but nothing in the file. */
static int configure(sqlite3 *db)
{
	int code;

	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, RECORDS_BUSY_MS);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* No mmap: a read error would be a signal instead of an answer. */
	code = sqlite3_exec(db,
			    "PRAGMA locking_mode=EXCLUSIVE;" RECORDS_CACHE
			    "PRAGMA mmap_size=0;"
			    "PRAGMA temp_store=MEMORY;"
			    "PRAGMA foreign_keys=ON;"
			    "PRAGMA cell_size_check=ON;"
			    "PRAGMA synchronous=FULL;",
			    NULL, NULL, NULL);
	return code;
}

/* The second look, through SQLite and its log. *ret_version: 0 = empty. */
static int judge_database(sqlite3 *db, const char *path, int *ret_version,
			  char *err, size_t err_len)
{
	int app = 0, version = 0, tables = 0, code;

	code = query_int(db, "PRAGMA application_id", &app);
	if (code == SQLITE_OK)
		code = query_int(db, "PRAGMA user_version", &version);
	if (code == SQLITE_OK)
		code = query_int(db, "SELECT count(*) FROM sqlite_schema",
				 &tables);
	if (code == SQLITE_NOTADB)
		return refuse_foreign(path, err, err_len);
	if ((code & 0xff) == SQLITE_BUSY)
		return refuse_busy(path, err, err_len);
	if ((code & 0xff) == SQLITE_CORRUPT)
		return fs_fail(-EBADMSG, err, err_len,
			       "%s is damaged: %s; restore a backup "
			       "(docs/operation.md)",
			       path, sqlite3_errmsg(db));
	if (code != SQLITE_OK)
		return fs_fail(records_errno(db, code), err, err_len,
			       "cannot read %s: %s", path, sqlite3_errmsg(db));
	if (app != RECORDS_APPLICATION_ID && (app || version || tables))
		return refuse_foreign(path, err, err_len);
	if (version > records_version)
		return refuse_newer(path, version, err, err_len);
	if (version < 0 || (app == RECORDS_APPLICATION_ID && version == 0))
		return fs_fail(-EBADMSG, err, err_len,
			       "%s says schema %d, which never was; restore a "
			       "backup (docs/operation.md)",
			       path, version);
	*ret_version = version;
	return 0;
}

/* The first write: the schema in one transaction of the rollback journal (so
 * a file is never half ours), then the log. */
static int take_possession(sqlite3 *db, const char *path, int version,
			   char *err, size_t err_len)
{
	char mode[8] = "";
	sqlite3_stmt *st;
	int code, rc;

	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	if (version < records_version) {
		rc = records_migrate(db, records_steps, version,
				     records_version, err, err_len);
		if (rc)
			return rc;
	}
	code = sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &st, NULL);
	if (code == SQLITE_OK) {
		code = sqlite3_step(st);
		if (code == SQLITE_ROW)
			snprintf(mode, sizeof(mode), "%s",
				 (const char *)sqlite3_column_text(st, 0));
		sqlite3_finalize(st);
	}
	if (strcmp(mode, "wal") != 0)
		return fs_fail(records_errno(db, code), err, err_len,
			       "cannot switch %s to write-ahead logging: %s",
			       path, sqlite3_errmsg(db));
	/* After a large import the log shrinks again to 16 MB. */
	code = sqlite3_exec(db, "PRAGMA journal_size_limit=16777216", NULL,
			    NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(db, "BEGIN IMMEDIATE;ROLLBACK", NULL, NULL,
				    NULL);
	if (code == SQLITE_OK)
		return 0;
	if ((code & 0xff) == SQLITE_BUSY)
		return refuse_busy(path, err, err_len);
	return fs_fail(records_errno(db, code), err, err_len,
		       "cannot write %s: %s", path, sqlite3_errmsg(db));
}

/* The log takes the mode of the database when SQLite creates it; one that is
 * there already may have another. */
static int tighten_modes(const char *path, char *err, size_t err_len)
{
	static const char *const suffixes[] = {"", "-wal", "-journal"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char name[PATH_MAX];

		if (snprintf(name, sizeof(name), "%s%s", path, suffixes[i]) >=
		    (int)sizeof(name))
			return refuse_errno(path, "open", ENAMETOOLONG, err,
					    err_len);
		if (chmod(name, 0600) && errno != ENOENT)
			return refuse_errno(name, "set the mode of", errno, err,
					    err_len);
	}
	return 0;
}

/* SQLite would create it with the umask's mode. */
static int create_empty(const char *path, char *err, size_t err_len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return refuse_errno(path, "create", errno, err, err_len);
	close(fd);
	return 0;
}

static int open_database(struct records *r, char *err, size_t err_len)
{
	int version = 0, code, rc;

	code = sqlite3_open_v2(r->path, &r->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
				       SQLITE_OPEN_EXRESCODE,
			       NULL);
	if (code == SQLITE_OK)
		code = configure(r->db);
	if ((code & 0xff) == SQLITE_BUSY)
		return refuse_busy(r->path, err, err_len);
	if (code != SQLITE_OK)
		return fs_fail(records_errno(r->db, code), err, err_len,
			       "cannot open %s: %s", r->path,
			       sqlite3_errmsg(r->db));
	rc = judge_database(r->db, r->path, &version, err, err_len);
	if (rc == 0)
		rc = tighten_modes(r->path, err, err_len);
	if (rc == 0)
		rc = take_possession(r->db, r->path, version, err, err_len);
	if (rc)
		return rc;
	code = records_prepare(r);
	if (code != SQLITE_OK)
		return fs_fail(records_errno(r->db, code), err, err_len,
			       "%s does not have the tables of schema %d: %s; "
			       "restore a backup (docs/operation.md)",
			       r->path, records_version, sqlite3_errmsg(r->db));
	return 0;
}

int records_open(const char *path, struct records **ret_records, char *err,
		 size_t err_len)
{
	struct records *r;
	bool is_new;
	int rc;

	rc = judge_header(path, &is_new, err, err_len);
	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (r)
		r->path = strdup(path);
	if (!r || !r->path) {
		free(r);
		return refuse_errno(path, "open", ENOMEM, err, err_len);
	}
	if (is_new)
		rc = create_empty(path, err, err_len);
	if (rc == 0)
		rc = open_database(r, err, err_len);
	if (rc == 0) {
		rc = fs_sync_parent(path);
		if (rc)
			refuse_errno(path, "fsync the directory of", -rc, err,
				     err_len);
	}
	if (rc) {
		records_close(r);
		return rc;
	}
	*ret_records = r;
	return 0;
}

struct records *records_close(struct records *r)
{
	if (!r)
		return NULL;
	for (int i = 0; i < STMT_COUNT; i++)
		sqlite3_finalize(r->st[i]);
	sqlite3_close(r->db);
	free(r->path);
	free(r);
	return NULL;
}
