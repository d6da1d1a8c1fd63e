/* SPDX-License-Identifier: MIT */
#include "state/records_credits.h"

#include "scratch.h"
#include "state/records_events.h"
#include "state/records_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct scratch s;
static struct records *r;

static void put_org(const char *id, bool credits)
{
	struct org_record rec = {
		.limit = 100, .window_ms = 60000, .credits = credits};

	memcpy(rec.id.c, id, ID_LEN);
	snprintf(rec.name, sizeof(rec.name), "name %s", id);
	cr_assert_eq(records_org_insert(r, &rec, 1000), 0, "%s",
		     records_error(r));
}

static void open_place(void)
{
	char err[256];

	scratch_init(&s);
	cr_assert_eq(records_open(s.records, &r, err, sizeof(err)), 0, "%s",
		     err);
	put_org("ORGa0000", true);
	put_org("ORGb0000", true);
	put_org("ORGc0000", false);
}

static void reopen(void)
{
	char err[256];

	r = records_close(r);
	cr_assert_eq(records_open(s.records, &r, err, sizeof(err)), 0, "%s",
		     err);
}

static void close_place(void)
{
	r = records_close(r);
	scratch_deinit(&s);
}

TestSuite(records_credits, .init = open_place, .fini = close_place);
TestSuite(records_events, .init = open_place, .fini = close_place);

static struct pool_record a_pool(uint32_t org, enum pool_kind kind,
				 uint64_t granted)
{
	return (struct pool_record){.org = org,
				    .kind = (uint8_t)kind,
				    .granted = granted,
				    .created_ms = 5};
}

static uint32_t put_pool(uint32_t org, enum pool_kind kind, uint64_t granted)
{
	struct pool_record rec = a_pool(org, kind, granted);

	cr_assert_eq(records_pool_insert(r, &rec), 0, "%s", records_error(r));
	return rec.id;
}

static int list(const struct pool_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u:%u.%u=%llu ", rec->org, rec->id,
		rec->kind, (unsigned long long)rec->granted);
	return 0;
}

Test(records_credits, pool_is_read_back_whole)
{
	struct pool_record rec = {.org = 1,
				  .kind = POOL_SUBSCRIPTION,
				  .route = "/v1/ocr",
				  .granted = (uint64_t)CREDITS_MAX,
				  .monthly = 1000,
				  .expires_ms = 11,
				  .created_ms = 12,
				  .renewed_ms = 13,
				  .due_ms = 14};
	struct pool_record got;

	cr_assert_eq(records_pool_insert(r, &rec), 0);
	reopen();
	cr_assert_eq(records_pool_get(r, rec.id, &got), 0);
	cr_expect_eq(got.org, 1);
	cr_expect_eq(got.kind, POOL_SUBSCRIPTION);
	cr_expect_str_eq(got.route, "/v1/ocr");
	cr_expect_eq(got.granted, (uint64_t)CREDITS_MAX);
	cr_expect_eq(got.monthly, 1000);
	cr_expect_eq(got.expires_ms, 11);
	cr_expect_eq(got.created_ms, 12);
	cr_expect_eq(got.closed_ms, 0);
	cr_expect_eq(got.renewed_ms, 13);
	cr_expect_eq(got.due_ms, 14);
	cr_expect_eq(records_pool_get(r, rec.id + 1, &got), RECORDS_ABSENT);
}

Test(records_credits, pools_come_in_the_order_they_are_used_up)
{
	char out[256] = "";

	put_pool(1, POOL_OVERAGE, 1);
	put_pool(1, POOL_PACK, 2);
	put_pool(1, POOL_PACK, 3);
	put_pool(1, POOL_TRIAL, 4);
	cr_assert_eq(records_each_pool(r, 1, list, out), 0);
	cr_expect_str_eq(out, "1:4.1=4 1:2.3=2 1:3.3=3 1:1.6=1 ");
	cr_assert_eq(records_pool_close(r, 2, 99), 0);
	cr_expect_eq(records_pool_close(r, 2, 99), RECORDS_ABSENT);
	cr_expect_eq(records_pool_close(r, 9, 99), RECORDS_ABSENT);
	out[0] = '\0';
	cr_assert_eq(records_each_pool(r, 1, list, out), 0);
	cr_expect_str_eq(out, "1:4.1=4 1:3.3=3 1:1.6=1 ");
}

Test(records_credits, organizations_that_credits_are_counted_of_are_visited)
{
	char out[256] = "";

	put_pool(2, POOL_PACK, 2);
	put_pool(2, POOL_TRIAL, 3);
	put_pool(3, POOL_PACK, 4); /* not counted */
	cr_assert_eq(records_each_pool_of_all(r, list, out), 0);
	cr_expect_str_eq(out, "1:0.0=0 2:2.1=3 2:1.3=2 ");
	cr_assert_eq(records_pool_close(r, 1, 9), 0);
	cr_assert_eq(records_pool_close(r, 2, 9), 0);
	out[0] = '\0';
	cr_assert_eq(records_each_pool_of_all(r, list, out), 0);
	cr_expect_str_eq(out, "1:0.0=0 2:0.0=0 ");
}

Test(records_credits, trial_is_granted_once_and_one_subscription_is_open)
{
	struct pool_record trial = a_pool(1, POOL_TRIAL, 5);
	struct pool_record sub = a_pool(1, POOL_SUBSCRIPTION, 5);

	cr_assert_eq(records_pool_insert(r, &trial), 0);
	cr_assert_eq(records_pool_close(r, trial.id, 9), 0);
	cr_expect_eq(records_pool_insert(r, &trial), RECORDS_EXISTS);
	snprintf(trial.route, sizeof(trial.route), "/other");
	cr_expect_eq(records_pool_insert(r, &trial), 0);
	cr_assert_eq(records_pool_insert(r, &sub), 0);
	cr_expect_eq(records_pool_insert(r, &sub), RECORDS_EXISTS);
	cr_assert_eq(records_pool_close(r, sub.id, 9), 0);
	cr_expect_eq(records_pool_insert(r, &sub), 0);
	sub = a_pool(2, POOL_SUBSCRIPTION, 5);
	cr_expect_eq(records_pool_insert(r, &sub), 0);
}

Test(records_credits, pools_out_of_range_are_refused)
{
	struct pool_record rec = a_pool(9, POOL_PACK, 5);

	cr_expect_eq(records_pool_insert(r, &rec), RECORDS_ABSENT);
	rec = a_pool(1, POOL_PACK, (uint64_t)CREDITS_MAX + 1);
	cr_expect_eq(records_pool_insert(r, &rec), -EINVAL);
	rec = a_pool(1, 7, 5);
	cr_expect_eq(records_pool_insert(r, &rec), -EINVAL);
	rec = a_pool(1, POOL_PACK, 5);
	rec.expires_ms = -1;
	cr_expect_eq(records_pool_insert(r, &rec), -EINVAL);
}

Test(records_credits, due_pools_are_visited_the_longest_due_first)
{
	static const int64_t due[] = {0, 30, 10, 20};
	char out[256] = "";

	for (unsigned i = 0; i < 4; i++) {
		struct pool_record rec = a_pool(1, POOL_PACK, i);

		rec.due_ms = due[i];
		cr_assert_eq(records_pool_insert(r, &rec), 0);
	}
	cr_assert_eq(records_each_pool_due(r, 9, 0, list, out), 0);
	cr_expect_str_eq(out, "");
	cr_assert_eq(records_each_pool_due(r, 20, 0, list, out), 0);
	cr_expect_str_eq(out, "1:3.3=2 1:4.3=3 ");
	out[0] = '\0';
	cr_assert_eq(records_each_pool_due(r, 99, 1, list, out), 0);
	cr_expect_str_eq(out, "1:3.3=2 ");
	cr_assert_eq(records_pool_close(r, 3, 21), 0);
	out[0] = '\0';
	cr_assert_eq(records_each_pool_due(r, 20, 0, list, out), 0);
	cr_expect_str_eq(out, "1:4.3=3 ");
}

static int list_ledger(const struct ledger_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u@%lld%+lld(%s) ", rec->pool,
		(long long)rec->at_ms, (long long)rec->change, rec->why);
	return 0;
}

Test(records_credits, ledger_is_read_back_in_order)
{
	struct ledger_record rec = {
		.org = 1, .at_ms = 5, .change = 100, .why = "grant"};
	char out[256] = "";
	int64_t first;

	rec.pool = put_pool(1, POOL_PACK, 100);
	cr_assert_eq(records_ledger_insert(r, &rec), 0);
	first = rec.id;
	rec.at_ms = 6;
	rec.change = -40;
	snprintf(rec.why, sizeof(rec.why), "expired");
	cr_assert_eq(records_ledger_insert(r, &rec), 0);
	reopen();
	cr_assert_eq(records_each_ledger(r, 1, 0, 0, list_ledger, out), 0);
	cr_expect_str_eq(out, "1@5+100(grant) 1@6-40(expired) ");
	out[0] = '\0';
	cr_assert_eq(records_each_ledger(r, 1, first, 1, list_ledger, out), 0);
	cr_expect_str_eq(out, "1@6-40(expired) ");
	out[0] = '\0';
	cr_assert_eq(records_each_ledger(r, 2, 0, 0, list_ledger, out), 0);
	cr_expect_str_eq(out, "");
	rec.pool = 99;
	cr_expect_eq(records_ledger_insert(r, &rec), RECORDS_ABSENT);
}

/* ---- events ---- */

static struct event_record an_event(const char *once, int64_t at_ms)
{
	struct event_record rec = {.at_ms = at_ms, .org = 1};

	strcpy(rec.kind, "budget.threshold");
	strcpy(rec.body, "{\"percent\":80}");
	snprintf(rec.once, sizeof(rec.once), "%s", once);
	return rec;
}

static int list_event(const struct event_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%s:%u.%u@%lld ", rec->once, rec->org,
		rec->project, (long long)rec->at_ms);
	return 0;
}

Test(records_events, event_is_raised_once)
{
	struct event_record rec = an_event("a", 5);
	char out[256] = "";
	int64_t first;

	cr_assert_eq(records_event_insert(r, &rec), 0, "%s", records_error(r));
	first = rec.id;
	cr_expect_eq(records_event_insert(r, &rec), RECORDS_EXISTS);
	rec = an_event("b", 6);
	rec.org = 0;
	cr_assert_eq(records_event_insert(r, &rec), 0);
	reopen();
	cr_assert_eq(records_each_event(r, false, 0, 0, list_event, out), 0);
	cr_expect_str_eq(out, "a:1.0@5 b:0.0@6 ");
	cr_expect_eq(records_event_delivered(r, first, 77), 0);
	cr_expect_eq(records_event_delivered(r, first, 78), RECORDS_ABSENT);
	cr_expect_eq(records_event_delivered(r, 999, 78), RECORDS_ABSENT);
	out[0] = '\0';
	cr_assert_eq(records_each_event(r, true, 0, 0, list_event, out), 0);
	cr_expect_str_eq(out, "b:0.0@6 ");
	out[0] = '\0';
	cr_assert_eq(records_each_event(r, false, first, 1, list_event, out),
		     0);
	cr_expect_str_eq(out, "b:0.0@6 ");
	rec = an_event("c", 7);
	rec.project = 9;
	cr_expect_eq(records_event_insert(r, &rec), RECORDS_ABSENT);
	rec = an_event("", 7);
	cr_expect_eq(records_event_insert(r, &rec), -EINVAL);
}

static int list_audit(const struct audit_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%u %s %s %s@%lld;", rec->uid, rec->action,
		rec->subject, rec->detail, (long long)rec->at_ms);
	return 0;
}

Test(records_events, audit_trail_is_read_back)
{
	struct audit_record rec = {.at_ms = 5,
				   .uid = UINT32_MAX,
				   .action = "org.suspend",
				   .subject = "acme"};
	char out[256] = "";

	cr_assert_eq(records_audit_insert(r, &rec), 0);
	reopen();
	cr_assert_eq(records_each_audit(r, 0, 0, list_audit, out), 0);
	cr_expect_str_eq(out, "4294967295 org.suspend acme @5;");
	out[0] = '\0';
	cr_assert_eq(records_each_audit(r, rec.id, 0, list_audit, out), 0);
	cr_expect_str_eq(out, "");
	rec.action[0] = '\0';
	cr_expect_eq(records_audit_insert(r, &rec), -EINVAL);
}

Test(records_events, old_rows_are_deleted_a_bounded_number_at_a_time)
{
	struct audit_record audit = {.action = "x"};
	struct event_record rec;
	char out[256] = "";
	unsigned count, pending;

	for (unsigned i = 0; i < 4; i++) {
		char once[2] = {(char)('a' + i), 0};

		rec = an_event(once, i * 10);
		cr_assert_eq(records_event_insert(r, &rec), 0);
		audit.at_ms = i * 10;
		cr_assert_eq(records_audit_insert(r, &audit), 0);
	}
	cr_assert_eq(records_event_delivered(r, 2, 99), 0);
	cr_assert_eq(records_prune_events(r, 20, 1, &count, &pending), 0);
	cr_expect_eq(count, 1);
	cr_expect_eq(pending, 1);
	cr_assert_eq(records_prune_events(r, 20, 100, &count, &pending), 0);
	cr_expect_eq(count, 1);
	cr_expect_eq(pending, 0);
	cr_assert_eq(records_prune_events(r, 20, 100, &count, &pending), 0);
	cr_expect_eq(count, 0);
	cr_assert_eq(records_prune_audit(r, 30, 2, &count), 0);
	cr_expect_eq(count, 2);
	cr_assert_eq(records_prune_audit(r, 30, 2, &count), 0);
	cr_expect_eq(count, 1);
	cr_assert_eq(records_each_event(r, false, 0, 0, list_event, out), 0);
	cr_expect_str_eq(out, "c:1.0@20 d:1.0@30 ");
	/* Numbers do not come back. */
	rec = an_event("a", 40);
	cr_assert_eq(records_event_insert(r, &rec), 0);
	cr_expect_eq(rec.id, 5);
}

/* ---- versions ---- */

static int64_t ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* Their lines in the ledger are of then. */
Test(records_credits, pools_of_an_older_version_count_as_granted_when_made)
{
	static const char old[] =
		"INSERT INTO org (slot, id, name, window_ms, suspended,"
		" created_ms, plan) VALUES (1, 'ORGa0000', 'a', 1000, 0, 5, 1);"
		"INSERT INTO pool (org, kind, route, granted, monthly,"
		" expires_ms, created_ms, closed_ms, renewed_ms, due_ms)"
		" VALUES (1, 1, 'ocr', 3, 0, 0, 77, 0, 0, 0)";
	char path[128], err[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/older", s.state);
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(records_migrate(db, records_steps, 0, 2, err, sizeof(err)),
		     0, "%s", err);
	cr_assert_eq(sqlite3_exec(db, old, NULL, NULL, NULL), SQLITE_OK, "%s",
		     sqlite3_errmsg(db));
	cr_assert_eq(records_migrate(db, records_steps, 2, 3, err, sizeof(err)),
		     0, "%s", err);
	cr_expect_eq(ask(db, "SELECT granted_ms FROM pool"), 77);
	sqlite3_close(db);
}
