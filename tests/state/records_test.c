/* SPDX-License-Identifier: MIT */
#include "state/records.h"

#include "gate/layout.h"
#include "scratch.h"
#include "state/records_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scratch s;
static struct records *r;
static char err[512];

static int open_it(void)
{
	return records_open(s.records, &r, err, sizeof(err));
}

static void must_open(void)
{
	int rc = open_it();

	cr_assert_eq(rc, 0, "%d: %s", rc, err);
}

static void open_place(void)
{
	scratch_init(&s);
	must_open();
}

static void close_place(void)
{
	r = records_close(r);
	scratch_deinit(&s);
}

TestSuite(records, .init = open_place, .fini = close_place);

static struct id an_id(const char *text)
{
	struct id id;

	cr_assert_eq(strlen(text), ID_LEN);
	memcpy(id.c, text, ID_LEN);
	return id;
}

static struct org_record an_org(const char *id, const char *name)
{
	struct org_record rec = {.id = an_id(id),
				 .limit = 100,
				 .window_ms = 60000,
				 .created_ms = 5};

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	return rec;
}

static struct key_record a_key(uint32_t org, const char *id, uint8_t hash)
{
	struct key_record rec = {.org = org, .id = an_id(id), .created_ms = 5};

	memset(rec.hash, hash, sizeof(rec.hash));
	return rec;
}

static uint32_t put_org(const char *id, const char *name)
{
	struct org_record rec = an_org(id, name);

	cr_assert_eq(records_org_insert(r, &rec, 1000), 0, "%s",
		     records_error(r));
	return rec.slot;
}

static uint32_t put_key(uint32_t org, const char *id, uint8_t hash)
{
	struct key_record rec = a_key(org, id, hash);

	cr_assert_eq(records_key_insert(r, &rec, 1000), 0, "%s",
		     records_error(r));
	return rec.slot;
}

static uint64_t orgs(void)
{
	struct records_counts counts;

	cr_assert_eq(records_count(r, &counts), 0);
	return counts.orgs;
}

/* A number from a file that nobody has open. */
static int64_t number(const char *path, const char *sql)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t n;

	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK,
		     "%s: %s", sql, sqlite3_errmsg(db));
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void run_sql(const char *path, const char *sql)
{
	char *why = NULL;
	sqlite3 *db;

	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, sql, NULL, NULL, &why);
	cr_assert_null(why, "%s: %s", sql, why);
	sqlite3_close(db);
}

static int64_t pragma(const char *name)
{
	char sql[64];
	sqlite3_stmt *st;
	int64_t n;

	snprintf(sql, sizeof(sql), "PRAGMA %s", name);
	cr_assert_eq(sqlite3_prepare_v2(r->db, sql, -1, &st, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* ---- what a new file is ---- */

Test(records, durability_is_really_on)
{
	sqlite3_stmt *st;
	struct stat stat_;

	cr_expect_eq(pragma("synchronous"), 2); /* FULL */
	cr_expect_eq(pragma("foreign_keys"), 1);
	cr_expect_eq(pragma("application_id"), RECORDS_APPLICATION_ID);
	cr_expect_eq(pragma("user_version"), records_version);
	cr_assert_eq(
		sqlite3_prepare_v2(r->db, "PRAGMA journal_mode", -1, &st, NULL),
		SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	cr_expect_str_eq((const char *)sqlite3_column_text(st, 0), "wal");
	sqlite3_finalize(st);
	cr_assert_eq(
		sqlite3_prepare_v2(r->db, "PRAGMA locking_mode", -1, &st, NULL),
		SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	cr_expect_str_eq((const char *)sqlite3_column_text(st, 0), "exclusive");
	sqlite3_finalize(st);
	cr_assert_eq(stat(s.records, &stat_), 0);
	cr_expect_eq(stat_.st_mode & 07777, 0600);
	put_org("ORGa0000", "a");
	snprintf(err, sizeof(err), "%s-wal", s.records);
	cr_assert_eq(stat(err, &stat_), 0);
	cr_expect_eq(stat_.st_mode & 07777, 0600);
}

Test(records, acknowledged_row_survives_kill_nine)
{
	int fds[2], status;
	pid_t pid;
	char byte;

	records_close(r);
	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		must_open();
		put_org("ORGa0000", "acknowledged");
		cr_assert_eq(records_begin(r), 0);
		put_org("ORGb0000", "not yet");
		(void)!write(fds[1], "x", 1);
		pause();
	}
	cr_assert_eq(read(fds[0], &byte, 1), 1);
	/* While it lives the file is its own. */
	cr_expect_eq(open_it(), -EBUSY);
	cr_expect_not_null(strstr(err, "in use"), "%s", err);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	must_open();
	cr_expect_eq(orgs(), 1);
	cr_expect_eq(put_org("ORGb0000", "not yet"), 2);
}

/* ---- outcomes ---- */

Test(records, taken_names_ids_and_hashes_are_told)
{
	struct project_record project = {.org = 1, .name = "shop"};
	struct org_record org = an_org("ORGb0000", "acme");
	struct key_record key = a_key(1, "KEYa0000", 1);

	put_org("ORGa0000", "acme");
	cr_expect_eq(records_org_insert(r, &org, 10), RECORDS_EXISTS);
	cr_expect_not_null(strstr(records_error(r), "name"));
	org = an_org("ORGa0000", "other");
	cr_expect_eq(records_org_insert(r, &org, 10), RECORDS_EXISTS);
	cr_expect_not_null(strstr(records_error(r), "id"));
	cr_expect_eq(put_org("ORGb0000", "other"), 2);

	project.id = an_id("PROa0000");
	cr_assert_eq(records_project_insert(r, &project, 10), 0);
	project.id = an_id("PROb0000");
	cr_expect_eq(records_project_insert(r, &project, 10), RECORDS_EXISTS);
	project.org = 2; /* the same name elsewhere */
	cr_expect_eq(records_project_insert(r, &project, 10), 0);
	cr_expect_eq(project.slot, 2);

	put_key(1, "KEYa0000", 1);
	key.id = an_id("KEYb0000");
	cr_expect_eq(records_key_insert(r, &key, 10), RECORDS_EXISTS);
	cr_expect_not_null(strstr(records_error(r), "hash"));
	key = a_key(1, "KEYa0000", 2);
	cr_expect_eq(records_key_insert(r, &key, 10), RECORDS_EXISTS);
}

Test(records, absent_things_are_told)
{
	struct project_record project = {
		.org = 7, .id = an_id("PROa0000"), .name = "shop"};
	struct key_record key = a_key(7, "KEYa0000", 1);
	struct org_record org;

	put_org("ORGa0000", "a");
	put_org("ORGb0000", "b");
	cr_expect_eq(records_project_insert(r, &project, 10), RECORDS_ABSENT);
	cr_expect_eq(records_key_insert(r, &key, 10), RECORDS_ABSENT);
	project.org = 1;
	cr_assert_eq(records_project_insert(r, &project, 10), 0);
	/* a project of another organization */
	key.org = 2;
	key.project = project.slot;
	cr_expect_eq(records_key_insert(r, &key, 10), RECORDS_ABSENT);
	key.org = 1;
	cr_expect_eq(records_key_insert(r, &key, 10), 0);

	cr_expect_eq(records_org_get(r, 9, &org), RECORDS_ABSENT);
	cr_expect_eq(records_org_find(r, "nobody", &org), RECORDS_ABSENT);
	cr_expect_eq(records_project_get(r, 9, &project), RECORDS_ABSENT);
	cr_expect_eq(records_project_find(r, 2, "shop", &project),
		     RECORDS_ABSENT);
	cr_expect_eq(records_project_find(r, 0, "shop", &project),
		     RECORDS_ABSENT);
	cr_expect_eq(records_project_find(r, 0, "PROa0000", &project), 0);
	cr_expect_eq(records_project_find(r, 1, "shop", &project), 0);
	cr_expect_eq(records_key_find(r, "KEYz0000", &key), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_limit(r, 9, 1, 1), RECORDS_ABSENT);
	cr_expect_eq(records_org_set_suspended(r, 9, true), RECORDS_ABSENT);
	cr_expect_eq(records_key_revoke(r, 9, 1), RECORDS_ABSENT);
	cr_expect_eq(records_key_set_expiry(r, 9, 1), RECORDS_ABSENT);
}

Test(records, full_table_is_an_answer_at_the_bound)
{
	struct org_record org = an_org("ORGc0000", "c");
	struct key_record key = a_key(1, "KEYb0000", 2);
	struct project_record project = {
		.org = 1, .id = an_id("PROa0000"), .name = "p"};

	cr_assert_eq(put_org("ORGa0000", "a"), 1);
	cr_assert_eq(put_org("ORGb0000", "b"), 2);
	cr_expect_eq(records_org_insert(r, &org, 2), RECORDS_FULL);
	cr_expect_eq(records_org_insert(r, &org, 3), 0);
	cr_expect_eq(records_project_insert(r, &project, 0), RECORDS_FULL);
	cr_expect_eq(records_project_insert(r, &project, 1), 0);
	put_key(1, "KEYa0000", 1);
	cr_expect_eq(records_key_insert(r, &key, 1), RECORDS_FULL);
	cr_expect_eq(records_key_insert(r, &key, 2), 0);
}

Test(records, values_out_of_range_are_refused)
{
	static const char *const ids[] = {"ORG-0000", "ORG 0000", "ORG\n0000"};
	struct org_record org;
	struct key_record key;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		org = an_org(ids[i], "a");
		cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	}
	org = an_org("ORGa0000", "");
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org = an_org("ORGa0000", "line\nbreak");
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org = an_org("ORGa0000", "del\x7f");
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org = an_org("ORGa0000", "a");
	org.limit = 0;
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org.limit = LIMIT_MAX + 1;
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org.limit = LIMIT_MAX;
	org.window_ms = 0;
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org.window_ms = WINDOW_MS_MAX + 1;
	cr_expect_eq(records_org_insert(r, &org, 10), -EINVAL);
	org.window_ms = WINDOW_MS_MAX;
	memset(org.name, 'n', NAME_MAX_BYTES);
	org.name[NAME_MAX_BYTES] = '\0';
	cr_expect_eq(records_org_insert(r, &org, 10), 0, "%s",
		     records_error(r));
	key = a_key(1, "KEYa0000", 1);
	key.expires_ms = -1;
	cr_expect_eq(records_key_insert(r, &key, 10), -EINVAL);
	cr_expect_eq(records_org_set_limit(r, 1, 0, 1), -EINVAL);
	cr_expect_eq(orgs(), 1);
}

Test(records, id_wins_over_a_name_that_looks_like_one)
{
	struct org_record org;

	put_org("ORGa0000", "ORGb0000");
	put_org("ORGb0000", "other");
	cr_assert_eq(records_org_find(r, "ORGb0000", &org), 0);
	cr_expect_eq(org.slot, 2);
	cr_assert_eq(records_org_find(r, "other", &org), 0);
	cr_expect_eq(org.slot, 2);
	cr_expect_eq(records_org_find(r, "Other", &org), RECORDS_ABSENT);
}

Test(records, changes_are_read_back_after_a_reopen)
{
	struct key_record key;
	struct org_record org;

	put_org("ORGa0000", "a");
	put_key(1, "KEYa0000", 7);
	cr_assert_eq(records_org_set_limit(r, 1, 65536, WINDOW_MS_MAX), 0);
	cr_assert_eq(records_org_set_suspended(r, 1, true), 0);
	cr_assert_eq(records_key_set_expiry(r, 1, 1234567890123), 0);
	cr_assert_eq(records_key_revoke(r, 1, 77), 0);
	cr_assert_eq(records_key_revoke(r, 1, 99), 0); /* the first counts */
	records_close(r);
	must_open();
	cr_assert_eq(records_org_get(r, 1, &org), 0);
	cr_expect_eq(org.limit, 65536);
	cr_expect_eq(org.window_ms, WINDOW_MS_MAX);
	cr_expect(org.suspended);
	cr_expect_eq(org.created_ms, 5);
	cr_assert_eq(records_key_find(r, "KEYa0000", &key), 0);
	cr_expect_eq(key.expires_ms, 1234567890123);
	cr_expect_eq(key.revoked_ms, 77);
	cr_expect_eq(key.hash[31], 7);
	cr_expect_eq(key.project, 0);
}

/* ---- batches ---- */

Test(records, batch_is_one_step)
{
	struct org_record twice = an_org("ORGc0000", "a");

	cr_assert_eq(records_begin(r), 0);
	put_org("ORGa0000", "a");
	put_org("ORGb0000", "b");
	/* goes on after an outcome */
	cr_expect_eq(records_org_insert(r, &twice, 10), RECORDS_EXISTS);
	put_org("ORGc0000", "c");
	records_rollback(r);
	cr_expect_eq(orgs(), 0);
	records_rollback(r); /* again: nothing */
	cr_assert_eq(records_begin(r), 0);
	cr_expect_eq(put_org("ORGa0000", "a"), 1);
	cr_assert_eq(records_commit(r), 0);
	records_close(r);
	must_open();
	cr_expect_eq(orgs(), 1);
}

Test(records, full_disk_is_an_error_and_the_file_goes_on)
{
	struct org_record org = an_org("ORGb0000", "b");
	struct rlimit small, was;

	put_org("ORGa0000", "a");
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 100;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	cr_expect_lt(records_org_insert(r, &org, 10), 0);
	cr_expect_neq(records_error(r)[0], '\0');
	cr_expect_lt(records_org_set_suspended(r, 1, true), 0);
	if (records_begin(r) == 0) {
		int rc = records_org_insert(r, &org, 10);

		if (rc == 0)
			rc = records_commit(r);
		else
			records_rollback(r);
		cr_expect_lt(rc, 0);
	}
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	cr_expect_eq(orgs(), 1);
	cr_expect_eq(put_org("ORGb0000", "b"), 2);
	records_close(r);
	must_open();
	cr_expect_eq(orgs(), 2);
}

/* ---- visits ---- */

static uint32_t seen[64];
static unsigned seen_count;
static unsigned stop_at;

static int see_key(const struct key_record *rec, void *arg)
{
	(void)arg;
	seen[seen_count++] = rec->slot;
	return seen_count == stop_at ? 4711 : 0;
}

static int see_org(const struct org_record *rec, void *arg)
{
	(void)arg;
	seen[seen_count++] = rec->slot;
	return seen_count == stop_at ? -EINTR : 0;
}

static void expect_seen(unsigned count, uint32_t first, uint32_t last)
{
	cr_assert_eq(seen_count, count);
	if (count != 0) {
		cr_expect_eq(seen[0], first);
		cr_expect_eq(seen[count - 1], last);
	}
	for (unsigned i = 1; i < count; i++)
		cr_expect_gt(seen[i], seen[i - 1]);
	seen_count = 0;
}

Test(records, visits_go_in_slot_order_page_by_page)
{
	char id[ID_LEN + 1];

	put_org("ORGa0000", "a");
	put_org("ORGb0000", "b");
	for (uint8_t i = 1; i <= 20; i++) {
		snprintf(id, sizeof(id), "KEYk%04u", i);
		put_key(1 + i % 2, id, i);
	}
	cr_assert_eq(records_each_key(r, 0, 0, 0, see_key, NULL), 0);
	expect_seen(20, 1, 20);
	cr_assert_eq(records_each_key(r, 0, 7, 5, see_key, NULL), 0);
	expect_seen(5, 8, 12);
	cr_assert_eq(records_each_key(r, 1, 0, 0, see_key, NULL), 0);
	expect_seen(10, 2, 20);
	cr_assert_eq(records_each_key(r, 2, 3, 2, see_key, NULL), 0);
	expect_seen(2, 5, 7);
	cr_assert_eq(records_each_key(r, 9, 0, 0, see_key, NULL), 0);
	expect_seen(0, 0, 0);
	stop_at = 3;
	cr_assert_eq(records_each_key(r, 0, 0, 0, see_key, NULL), 4711);
	expect_seen(3, 1, 3);
	stop_at = 1;
	cr_assert_eq(records_each_org(r, 0, 0, see_org, NULL), -EINTR);
	expect_seen(1, 1, 1);
}

/* ---- files that are not ours, not of this version, not whole ---- */

static void expect_untouched(int want)
{
	size_t len, after_len;
	uint8_t *before = scratch_read(s.records, &len), *after;
	unsigned files = scratch_count(s.state, "records.db");

	cr_expect_eq(open_it(), want, "%s", err);
	after = scratch_read(s.records, &after_len);
	cr_expect(len == after_len && memcmp(before, after, len) == 0);
	cr_expect_eq(scratch_count(s.state, "records.db"), files);
	cr_expect_not_null(strstr(err, s.records), "%s", err);
	free(before);
	free(after);
}

Test(records, newer_schema_is_refused_and_left_alone)
{
	char sql[64];

	put_org("ORGa0000", "a");
	r = records_close(r);
	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d",
		 records_version + 1);
	run_sql(s.records, sql);
	expect_untouched(-EPROTONOSUPPORT);
	cr_expect_not_null(strstr(err, "newer version"), "%s", err);
	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", records_version);
	run_sql(s.records, sql);
	must_open();
	cr_expect_eq(orgs(), 1);
}

/* The newer version was killed before its log was folded in. */
Test(records, newer_schema_in_the_log_is_refused_too)
{
	char wal[128], sql[64];
	uint8_t *log;
	size_t len;
	int fds[2], status;
	pid_t pid;
	char byte;

	put_org("ORGa0000", "a");
	r = records_close(r);
	cr_assert_eq(pipe(fds), 0);
	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d",
		 records_version + 1);
	pid = fork();
	if (pid == 0) {
		sqlite3 *db;

		sqlite3_open(s.records, &db);
		sqlite3_exec(db, sql, NULL, NULL, NULL);
		(void)!write(fds[1], "x", 1);
		pause();
	}
	cr_assert_eq(read(fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	snprintf(wal, sizeof(wal), "%s-wal", s.records);
	log = scratch_read(wal, &len);
	cr_assert_gt(len, 0);
	free(log);
	expect_untouched(-EPROTONOSUPPORT);
	log = scratch_read(wal, &len);
	cr_expect_gt(len, 0);
	free(log);
}

Test(records, foreign_files_are_refused_and_left_alone)
{
	r = records_close(r);
	unlink(s.records);
	scratch_write(s.records, "not a database at all", 21);
	expect_untouched(-EINVAL);
	unlink(s.records);
	run_sql(s.records, "CREATE TABLE t (a)");
	expect_untouched(-EINVAL);
	cr_expect_not_null(strstr(err, "not a database of stile"), "%s", err);
	unlink(s.records);
	run_sql(s.records, "PRAGMA application_id=12345;CREATE TABLE t (a)");
	expect_untouched(-EINVAL);
	unlink(s.records);
	cr_assert_eq(mkdir(s.records, 0700), 0);
	cr_expect_eq(open_it(), -EINVAL);
	rmdir(s.records);
	cr_assert_eq(mkfifo(s.records, 0600), 0);
	cr_expect_eq(open_it(), -EINVAL);
	unlink(s.records);
	scratch_write(s.records, "", 0); /* a creation that was cut short */
	must_open();
}

Test(records, damaged_file_is_told)
{
	char id[ID_LEN + 1];
	uint8_t *bytes;
	size_t len;

	put_org("ORGa0000", "a");
	cr_assert_eq(records_begin(r), 0);
	for (unsigned i = 1; i <= 200; i++) {
		struct key_record key;

		snprintf(id, sizeof(id), "KEYk%04u", i);
		key = a_key(1, id, (uint8_t)i);
		key.hash[5] = 99;
		cr_assert_eq(records_key_insert(r, &key, 1000), 0);
	}
	cr_assert_eq(records_commit(r), 0);
	r = records_close(r);
	bytes = scratch_read(s.records, &len);
	for (size_t at = 4096; at < len; at++)
		bytes[at] = (uint8_t)(bytes[at] ^ 0x55);
	scratch_write(s.records, bytes, len);
	free(bytes);
	if (open_it() == 0) {
		int rc = records_each_key(r, 0, 0, 0, see_key, NULL);

		cr_expect_eq(rc, -EBADMSG, "%d %s", rc, records_error(r));
	} else {
		r = NULL;
		cr_expect_eq(open_it(), -EBADMSG, "%s", err);
	}
}

Test(records, row_that_a_stranger_edited_is_told)
{
	struct org_record org;

	put_org("ORGa0000", "a");
	r = records_close(r);
	run_sql(s.records, "PRAGMA ignore_check_constraints=1;"
			   "UPDATE org SET limit_units = 2000000000");
	must_open();
	cr_expect_eq(records_org_get(r, 1, &org), -EBADMSG);
	cr_expect_not_null(strstr(records_error(r), "restore"));
	cr_expect_eq(records_each_org(r, 0, 0, see_org, NULL), -EBADMSG);
	cr_expect_eq(seen_count, 0);
}

Test(records, place_that_cannot_be_used_is_told)
{
	struct records *other;

	cr_expect_eq(records_open("/no/such/place/records.db", &other, err,
				  sizeof(err)),
		     -ENOENT);
	cr_expect_not_null(strstr(err, "/no/such/place"), "%s", err);
}

/* ---- versions ---- */

static const char *const steps[] = {
	"CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1)",
	"ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 5",
	"UPDATE a SET y = y + 1",
};

static sqlite3 *synthetic(int version)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/synthetic", s.state);
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(records_migrate(db, steps, 0, version, err, sizeof(err)),
		     0);
	return db;
}

static int ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int n;

	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return n;
}

Test(records, older_version_takes_only_the_steps_it_lacks)
{
	sqlite3 *db = synthetic(1);

	cr_assert_eq(ask(db, "PRAGMA user_version"), 1);
	cr_assert_eq(records_migrate(db, steps, 1, 3, err, sizeof(err)), 0);
	cr_expect_eq(ask(db, "PRAGMA user_version"), 3);
	cr_expect_eq(ask(db, "PRAGMA application_id"), RECORDS_APPLICATION_ID);
	cr_expect_eq(ask(db, "SELECT y FROM a"), 6);
	cr_expect_eq(ask(db, "SELECT count(*) FROM a"), 1);
	sqlite3_close(db);
}

Test(records, failed_step_changes_nothing)
{
	const char *const bad[] = {steps[0], steps[1], "UPDATE nothing SET y=1",
				   steps[2]};
	sqlite3 *db = synthetic(1);

	cr_assert_lt(records_migrate(db, bad, 1, 4, err, sizeof(err)), 0);
	cr_expect_not_null(strstr(err, "unchanged"), "%s", err);
	cr_expect_eq(ask(db, "PRAGMA user_version"), 1);
	cr_expect_eq(ask(db, "SELECT count(*) FROM pragma_table_info('a')"), 1);
	cr_expect(sqlite3_get_autocommit(db));
	cr_assert_eq(records_migrate(db, steps, 1, 3, err, sizeof(err)), 0);
	sqlite3_close(db);
}

/* ---- backup ---- */

Test(records, backup_is_complete_and_stands_alone)
{
	char path[128];
	struct stat st;

	put_org("ORGa0000", "a");
	put_key(1, "KEYa0000", 1);
	snprintf(path, sizeof(path), "%s/copy", s.state);
	cr_assert_eq(records_backup(r, path), 0, "%s", records_error(r));
	put_org("ORGb0000", "after");
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq(scratch_count(s.state, "copy"), 1);
	cr_expect_eq(number(path, "SELECT count(*) FROM org"), 1);
	cr_expect_eq(number(path, "SELECT count(*) FROM key"), 1);
	cr_expect_eq(number(path, "SELECT count(*) FROM pragma_integrity_check"
				  " WHERE integrity_check = 'ok'"),
		     1);
	records_close(r);
	cr_assert_eq(rename(path, s.records), 0);
	snprintf(path, sizeof(path), "%s-wal", s.records);
	unlink(path);
	must_open();
	cr_expect_eq(orgs(), 1);
}

Test(records, backup_does_not_overwrite)
{
	char path[128];
	uint8_t *bytes;
	size_t len;

	snprintf(path, sizeof(path), "%s/copy", s.state);
	scratch_write(path, "precious", 8);
	cr_expect_eq(records_backup(r, path), RECORDS_EXISTS);
	cr_expect_eq(records_backup(r, s.records), RECORDS_EXISTS);
	bytes = scratch_read(path, &len);
	cr_assert_eq(len, 8);
	cr_expect_arr_eq(bytes, "precious", 8);
	free(bytes);
}

Test(records, failed_backup_leaves_nothing)
{
	struct rlimit small, was;
	char path[128];

	put_org("ORGa0000", "a");
	snprintf(path, sizeof(path), "%s/none/copy", s.state);
	cr_expect_eq(records_backup(r, path), -ENOENT);
	snprintf(path, sizeof(path), "%s/copy", s.state);
	cr_assert_eq(records_begin(r), 0);
	cr_expect_eq(records_backup(r, path), -EBUSY);
	records_rollback(r);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 8192;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	cr_expect_lt(records_backup(r, path), 0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	cr_expect_eq(scratch_count(s.state, "copy"), 0);
	cr_expect_eq(records_backup(r, path), 0);
}

/* ---- health ---- */

Test(records, probe_sees_a_file_that_was_moved_away)
{
	char path[128];

	cr_expect_eq(records_probe(r), 0);
	cr_assert_eq(records_begin(r), 0);
	cr_expect_eq(records_probe(r), 0);
	records_rollback(r);
	snprintf(path, sizeof(path), "%s/away", s.state);
	cr_assert_eq(rename(s.records, path), 0);
	cr_expect_eq(records_probe(r), -ESTALE);
	cr_expect_not_null(strstr(records_error(r), "removed"));
}
