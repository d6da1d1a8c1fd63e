/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RECORDS_EVENTS_H
#define STILE_STATE_RECORDS_EVENTS_H

/*
 * state/records_events - what happened and is to be told (events), and who
 * changed what (the audit trail). Errors, outcomes and batches are those of
 * state/records.h.
 */
#include "state/records.h"

#define EVENT_KIND_BYTES 64
#define EVENT_BODY_BYTES 2047
#define EVENT_ONCE_BYTES 127
#define AUDIT_ACTION_BYTES 64
#define AUDIT_SUBJECT_BYTES 127
#define AUDIT_DETAIL_BYTES 511

struct event_record {
	int64_t id;
	int64_t at_ms;
	char kind[EVENT_KIND_BYTES + 1]; /* "budget.threshold" */
	uint32_t org, project;           /* slots; 0: none */
	char body[EVENT_BODY_BYTES + 1]; /* a JSON object */
	/* What makes it this one: a second with the same text is not raised. */
	char once[EVENT_ONCE_BYTES + 1];
	int64_t delivered_ms; /* 0: pending */
};

struct audit_record {
	int64_t id;
	int64_t at_ms;
	uint32_t uid; /* of who asked for it */
	char action[AUDIT_ACTION_BYTES + 1];
	char subject[AUDIT_SUBJECT_BYTES + 1];
	char detail[AUDIT_DETAIL_BYTES + 1];
};

/* rec->id is filled in. RECORDS_EXISTS: it was raised before. */
int records_event_insert(struct records *r, struct event_record *rec);
/* RECORDS_ABSENT: no such pending event. */
int records_event_delivered(struct records *r, int64_t id,
			    int64_t delivered_ms);
/* Oldest first, behind number `after`; only pending ones, or all. */
int records_each_event(struct records *r, bool pending, int64_t after,
		       uint32_t max,
		       int (*cb)(const struct event_record *rec, void *arg),
		       void *arg);

int records_audit_insert(struct records *r, struct audit_record *rec);
int records_each_audit(struct records *r, int64_t after, uint32_t max,
		       int (*cb)(const struct audit_record *rec, void *arg),
		       void *arg);

/* Deletes what is from before `before_ms`: of the `max` (not 0) oldest rows,
 * delivered or not. *ret_count: how many went; *ret_pending: how many of them
 * nobody was told. An event that was deleted can be raised again, so its
 * `before_ms` lies further back than any period that events tell of. */
int records_prune_events(struct records *r, int64_t before_ms, uint32_t max,
			 unsigned *ret_count, unsigned *ret_pending);
int records_prune_audit(struct records *r, int64_t before_ms, uint32_t max,
			unsigned *ret_count);

#endif
