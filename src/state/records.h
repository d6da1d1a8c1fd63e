/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RECORDS_H
#define STILE_STATE_RECORDS_H

/*
 * state/records - organizations, projects and keys in SQLite, the system of
 * record. Plans, rules, budgets and access are in records_plans.h, credits in
 * records_credits.h, events and the audit trail in records_events.h.
 *
 * Threads    the control thread alone (after start-up, which loads).
 * Durable    WAL, synchronous=FULL: when a call outside begin/commit, or
 *            records_commit(), has returned 0 the change survives power loss.
 *            When it has failed the change is not there; after a failed fsync
 *            and a power loss it may be.
 * Slots      the row number is the arena slot: the lowest free number >= 1.
 *            Rows are never deleted, so slots are dense.
 * Alone      the file is locked exclusively; other programs cannot even read
 *            it meanwhile (-EBUSY at open when one does).
 * Schema     PRAGMA user_version; older ones are migrated in a transaction,
 *            a newer one is refused (-EPROTONOSUPPORT) and left untouched.
 *            PRAGMA application_id tells our files from others
 *            (-EINVAL when foreign).
 * Errors     0, or negative errno; records_error() has the text of the last
 *            failure or outcome. Positive outcomes are named at the call.
 *            -EINVAL: a value that the schema's CHECKs refuse. -EBADMSG: the
 *            file is damaged.
 * Memory     at most 64 MB of page cache.
 */
#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_BYTES 100  /* UTF-8, no control characters, not empty */
#define ROUTE_MAX_BYTES 255 /* of a route or a scope */
#define TIMEZONE_MAX_BYTES 63
#define PLAN_DEFAULT 1u /* its slot: the plan "default", always there */

enum records_outcome {
	RECORDS_EXISTS = 1, /* name, id or hash is taken */
	RECORDS_ABSENT = 2, /* no such row */
	RECORDS_FULL = 3,   /* the table has max_slot rows */
};

struct records;

struct org_record {
	uint32_t slot;
	struct id id;
	char name[NAME_MAX_BYTES + 1];
	/* Its own limit when limit_own; else what it would have had when it was
	 * created. */
	uint32_t limit;
	uint64_t window_ms;
	bool suspended;
	int64_t created_ms; /* wall clock */
	uint32_t plan;      /* slot; insert: 0 = PLAN_DEFAULT */
	bool limit_own;
	/* Billing. The day of the month that a period begins on, 1..31, the
	 * last one where the month is shorter; insert: 0 = that of created_ms
	 * in UTC. */
	uint8_t anchor_day;
	bool overage; /* pay as you go when all else is used up */
	bool credits; /* they are counted: without any it is denied */
	char timezone[TIMEZONE_MAX_BYTES + 1]; /* insert: "" = UTC */
};

struct project_record {
	uint32_t slot;
	uint32_t org; /* slot */
	struct id id;
	char name[NAME_MAX_BYTES + 1];
	int64_t created_ms;
};

struct key_record {
	uint32_t slot;
	uint32_t org;
	uint32_t project; /* 0 = key of the organization */
	struct id id;
	uint8_t hash[32];
	char name[NAME_MAX_BYTES + 1]; /* may be empty */
	int64_t created_ms;
	int64_t expires_ms; /* 0 = never */
	int64_t revoked_ms; /* 0 = not revoked */
	bool disabled;      /* insert ignores it */
};

/* Opens or creates; `err` gets a sentence for people on failure. */
int records_open(const char *path, struct records **ret_records, char *err,
		 size_t err_len);
struct records *records_close(struct records *r);
const char *records_error(const struct records *r);

/* Several changes as one durable step. They do not nest. When a change in
 * between fails with a negative errno: records_rollback(). A commit that fails
 * has rolled back. */
int records_begin(struct records *r);
int records_commit(struct records *r);
void records_rollback(struct records *r);

/* Insert; rec->slot is filled in. RECORDS_EXISTS (org: name or id; project:
 * name within its organization or id; key: id or hash), RECORDS_FULL,
 * RECORDS_ABSENT (rec->org does not exist, or rec->project not within it). A
 * batch goes on after a positive outcome. */
int records_org_insert(struct records *r, struct org_record *rec,
		       uint32_t max_slot);
int records_project_insert(struct records *r, struct project_record *rec,
			   uint32_t max_slot);
int records_key_insert(struct records *r, struct key_record *rec,
		       uint32_t max_slot);

/* Find by id, or by unique name (id wins). Names are compared byte for byte.
 * org 0: a project of any organization, by id only. RECORDS_ABSENT. */
int records_org_find(struct records *r, const char *id_or_name,
		     struct org_record *ret_rec);
int records_org_get(struct records *r, uint32_t slot,
		    struct org_record *ret_rec);
int records_project_find(struct records *r, uint32_t org,
			 const char *id_or_name,
			 struct project_record *ret_rec);
int records_project_get(struct records *r, uint32_t slot,
			struct project_record *ret_rec);
int records_key_find(struct records *r, const char *id,
		     struct key_record *ret_rec);

/* Change. RECORDS_ABSENT. */
/* A limit of its own; and none any more. */
int records_org_set_limit(struct records *r, uint32_t slot, uint32_t limit,
			  uint64_t window_ms);
int records_org_drop_limit(struct records *r, uint32_t slot);
int records_org_set_plan(struct records *r, uint32_t slot, uint32_t plan);
int records_org_set_billing(struct records *r, uint32_t slot,
			    uint8_t anchor_day, const char *zone);
int records_org_set_credits(struct records *r, uint32_t slot, bool credits,
			    bool overage);
int records_org_set_suspended(struct records *r, uint32_t slot, bool suspended);
/* revoked_ms > 0; the instant of an earlier revocation stays. */
int records_key_revoke(struct records *r, uint32_t slot, int64_t revoked_ms);
int records_key_set_expiry(struct records *r, uint32_t slot,
			   int64_t expires_ms);
int records_key_set_disabled(struct records *r, uint32_t slot, bool disabled);

/* Visit in slot order, `org` 0 = of all organizations, starting above slot
 * `after`, at most `max` rows (0 = all). A callback that returns non-zero
 * ends the visit, which returns that value. A callback may call anything but
 * the same visit. Fast enough for 1 M keys within a second: one prepared
 * statement, no per-row allocation. */
int records_each_org(struct records *r, uint32_t after, uint32_t max,
		     int (*cb)(const struct org_record *rec, void *arg),
		     void *arg);
int records_each_project(struct records *r, uint32_t org, uint32_t after,
			 uint32_t max,
			 int (*cb)(const struct project_record *rec, void *arg),
			 void *arg);
int records_each_key(struct records *r, uint32_t org, uint32_t after,
		     uint32_t max,
		     int (*cb)(const struct key_record *rec, void *arg),
		     void *arg);
/* The organizations of one plan. */
int records_each_org_of_plan(struct records *r, uint32_t plan, uint32_t after,
			     uint32_t max,
			     int (*cb)(const struct org_record *rec, void *arg),
			     void *arg);

struct records_counts {
	uint64_t orgs, projects, keys;
};
int records_count(struct records *r, struct records_counts *ret_counts);

/* Consistent copy to a new file (SQLite backup API; refuses to overwrite:
 * RECORDS_EXISTS; mode 0600; fsynced). The file appears complete or not at
 * all. `path` should be absolute: it is the daemon's directory otherwise. */
int records_backup(struct records *r, const char *path);

/* 0 when a durable write would work now (for /readyz): the file is still the
 * one under its name, the file system is writable and has 1 MB free, and the
 * write lock can be had. Writes nothing. */
int records_probe(struct records *r);

#endif
