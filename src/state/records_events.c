/* SPDX-License-Identifier: MIT */
/* Events and the audit trail. */
#include "state/records_events.h"
#include "gate/layout.h"
#include "state/records_internal.h"

int records_event_insert(struct records *r, struct event_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_EVENT_INSERT);

	statement_bind_int(st, 1, rec->at_ms);
	statement_bind_array(st, 2, rec->kind, sizeof(rec->kind));
	statement_bind_slot(st, 3, rec->org);
	statement_bind_slot(st, 4, rec->project);
	statement_bind_array(st, 5, rec->body, sizeof(rec->body));
	statement_bind_array(st, 6, rec->once, sizeof(rec->once));
	statement_bind_int(st, 7, rec->delivered_ms);
	return statement_insert(r, st, "raise the event", &rec->id);
}

int records_event_delivered(struct records *r, int64_t id, int64_t delivered_ms)
{
	sqlite3_stmt *st = statement_start(r, STMT_EVENT_DELIVERED);

	statement_bind_int(st, 1, id);
	statement_bind_int(st, 2, delivered_ms);
	return statement_change(r, st, "note the delivery");
}

static int event_row(struct records *r, sqlite3_stmt *st,
		     struct event_record *rec)
{
	rec->id = sqlite3_column_int64(st, 0);
	rec->at_ms = sqlite3_column_int64(st, 1);
	if (!row_text(st, 2, rec->kind, sizeof(rec->kind)) ||
	    !row_slot(st, 3, ARENA_ORGS_MAX - 1, &rec->org) ||
	    !row_slot(st, 4, ARENA_PROJECTS_MAX - 1, &rec->project) ||
	    !row_text(st, 5, rec->body, sizeof(rec->body)) ||
	    !row_text(st, 6, rec->once, sizeof(rec->once)))
		return row_damaged(r, "event");
	rec->delivered_ms = sqlite3_column_int64(st, 7);
	return 0;
}

/* A visit by numbers that may be larger than a slot. */
static sqlite3_stmt *visit_numbers(struct records *r,
				   enum records_statement which, int64_t after,
				   uint32_t max)
{
	sqlite3_stmt *st = statement_start(r, which);

	statement_bind_int(st, 1, after);
	statement_bind_int(st, 2, max ? (int64_t)max : -1);
	return st;
}

int records_each_event(struct records *r, bool pending, int64_t after,
		       uint32_t max,
		       int (*cb)(const struct event_record *rec, void *arg),
		       void *arg)
{
	sqlite3_stmt *st = visit_numbers(
		r, pending ? STMT_EVENT_EACH_PENDING : STMT_EVENT_EACH, after,
		max);
	struct event_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = event_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_audit_insert(struct records *r, struct audit_record *rec)
{
	sqlite3_stmt *st = statement_start(r, STMT_AUDIT_INSERT);

	statement_bind_int(st, 1, rec->at_ms);
	statement_bind_int(st, 2, rec->uid);
	statement_bind_array(st, 3, rec->action, sizeof(rec->action));
	statement_bind_array(st, 4, rec->subject, sizeof(rec->subject));
	statement_bind_array(st, 5, rec->detail, sizeof(rec->detail));
	return statement_insert(r, st, "write the audit trail", &rec->id);
}

static int audit_row(struct records *r, sqlite3_stmt *st,
		     struct audit_record *rec)
{
	int64_t uid;

	rec->id = sqlite3_column_int64(st, 0);
	rec->at_ms = sqlite3_column_int64(st, 1);
	if (!row_range(st, 2, 0, UINT32_MAX, &uid) ||
	    !row_text(st, 3, rec->action, sizeof(rec->action)) ||
	    !row_text(st, 4, rec->subject, sizeof(rec->subject)) ||
	    !row_text(st, 5, rec->detail, sizeof(rec->detail)))
		return row_damaged(r, "audit");
	rec->uid = (uint32_t)uid;
	return 0;
}

int records_each_audit(struct records *r, int64_t after, uint32_t max,
		       int (*cb)(const struct audit_record *rec, void *arg),
		       void *arg)
{
	sqlite3_stmt *st = visit_numbers(r, STMT_AUDIT_EACH, after, max);
	struct audit_record rec;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		rc = audit_row(r, st, &rec);
		if (rc == 0)
			rc = cb(&rec, arg);
		if (rc)
			break;
	}
	statement_finish(st);
	return rc;
}

int records_prune_events(struct records *r, int64_t before_ms, uint32_t max,
			 unsigned *ret_count, unsigned *ret_pending)
{
	sqlite3_stmt *st = visit_numbers(r, STMT_EVENT_PRUNE, before_ms, max);
	unsigned count = 0, pending = 0;
	int rc;

	while ((rc = visit_step(r, st)) == VISIT_ROW) {
		count++;
		pending += sqlite3_column_int64(st, 0) == 0;
	}
	statement_finish(st);
	if (rc != 0)
		return rc;
	*ret_count = count;
	*ret_pending = pending;
	return 0;
}

int records_prune_audit(struct records *r, int64_t before_ms, uint32_t max,
			unsigned *ret_count)
{
	sqlite3_stmt *st = statement_start(r, STMT_AUDIT_PRUNE);
	int rc;

	statement_bind_int(st, 1, before_ms);
	statement_bind_int(st, 2, max);
	rc = statement_run(r, st, "delete the old audit trail");
	if (rc == 0)
		*ret_count = (unsigned)sqlite3_changes(r->db);
	return rc;
}
