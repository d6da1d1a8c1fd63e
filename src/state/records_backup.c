/* SPDX-License-Identifier: MIT */
/*
 * A copy appears under its name complete or not at all: SQLite's online
 * backup writes a temporary file beside it, which is made to stand alone (no
 * log), brought to disk and then renamed without replacing.
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

static int copy_failed(struct records *r, const char *path, const char *doing,
		       int rc)
{
	return fs_fail(rc, r->error, sizeof(r->error),
		       "cannot back up to %s: %s: %s", path, doing,
		       strerror(-rc));
}

static int exists(struct records *r, const char *path)
{
	return fs_fail(RECORDS_EXISTS, r->error, sizeof(r->error),
		       "%s exists; a backup does not overwrite, name another "
		       "file",
		       path);
}

static int copy_database(struct records *r, const char *path, const char *temp)
{
	sqlite3_backup *backup;
	sqlite3 *to = NULL;
	int code, rc = 0;

	code = sqlite3_open_v2(temp, &to,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
				       SQLITE_OPEN_EXRESCODE,
			       NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(to, "PRAGMA locking_mode=EXCLUSIVE", NULL,
				    NULL, NULL);
	if (code == SQLITE_OK) {
		backup = sqlite3_backup_init(to, "main", r->db, "main");
		if (backup) {
			/* All at once: nobody else writes the source. */
			(void)sqlite3_backup_step(backup, -1);
			code = sqlite3_backup_finish(backup);
		} else {
			code = sqlite3_errcode(to);
		}
	}
	/* The copy says "write-ahead log" like its source. Without it, it is
	 * one file that can be read from anywhere. */
	if (code == SQLITE_OK)
		code = sqlite3_exec(to, "PRAGMA journal_mode=DELETE", NULL,
				    NULL, NULL);
	if (code != SQLITE_OK)
		rc = fs_fail(records_errno(to, code), r->error,
			     sizeof(r->error), "cannot back up to %s: %s", path,
			     sqlite3_errmsg(to));
	sqlite3_close(to);
	return rc;
}

static int rename_new(const char *temp, const char *path)
{
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return RECORDS_EXISTS;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without that flag (NFS): a link does not replace
	 * either. The caller removes the other name. */
	if (link(temp, path) == 0)
		return 0;
	return errno == EEXIST ? RECORDS_EXISTS : -errno;
}

static int publish(struct records *r, int fd, const char *temp,
		   const char *path)
{
	int rc;

	if (fsync(fd))
		return copy_failed(r, path, "fsync", -errno);
	rc = rename_new(temp, path);
	if (rc == RECORDS_EXISTS)
		return exists(r, path);
	if (rc)
		return copy_failed(r, path, "rename", rc);
	rc = fs_sync_parent(path);
	if (rc) {
		/* It cannot be promised, so it must not look done. */
		unlink(path);
		return copy_failed(r, path, "fsync of its directory", rc);
	}
	return 0;
}

/* What SQLite may leave beside a copy that it could not finish. */
static void remove_temp(const char *temp)
{
	static const char *const suffixes[] = {"", "-journal", "-wal"};
	char name[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", temp, suffixes[i]);
		unlink(name);
	}
}

int records_backup(struct records *r, const char *path)
{
	char temp[PATH_MAX - 16]; /* room for SQLite's suffixes */
	int fd, rc;

	if (r->in_batch)
		return copy_failed(r, path, "a batch is under way", -EBUSY);
	if (access(path, F_OK) == 0)
		return exists(r, path);
	if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >=
	    (int)sizeof(temp))
		return copy_failed(r, path, "name", -ENAMETOOLONG);
	/* mkostemp makes it 0600. */
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return copy_failed(r, path, "create", -errno);
	rc = copy_database(r, path, temp);
	if (rc == 0)
		rc = publish(r, fd, temp, path);
	close(fd);
	remove_temp(temp);
	return rc;
}
