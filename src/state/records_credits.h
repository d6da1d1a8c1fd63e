/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RECORDS_CREDITS_H
#define STILE_STATE_RECORDS_CREDITS_H

/*
 * state/records_credits - pools of credits, and the ledger that an auditor
 * reads. What was used of a pool is counted in the arena, not here; the ledger
 * has what was granted and, when a pool is closed, what was left of it.
 * Errors, outcomes and batches are those of state/records.h.
 */
#include "gate/layout.h"
#include "state/records.h"

#define CREDITS_MAX INT64_C(8796093022207) /* 2^43 - 1: of one pool */
#define LEDGER_WHY_BYTES 100

struct pool_record {
	uint32_t id;
	uint32_t org;                    /* slot */
	uint8_t kind;                    /* enum pool_kind */
	char route[ROUTE_MAX_BYTES + 1]; /* the only one it pays; "" = all */
	uint64_t granted;
	uint64_t monthly;   /* renewed to this much; 0: not renewed */
	int64_t expires_ms; /* 0: never */
	int64_t created_ms;
	int64_t closed_ms;  /* 0: open */
	int64_t renewed_ms; /* when its month was granted; 0: not monthly */
	int64_t due_ms;     /* when it is to be closed; 0: never */
	int64_t granted_ms; /* 0: a trial that nobody has used yet */
};

struct ledger_record {
	int64_t id;
	uint32_t org, pool;
	int64_t at_ms;
	int64_t change;
	char why[LEDGER_WHY_BYTES + 1];
};

/* rec->id is filled in. RECORDS_EXISTS: a trial of that route was granted
 * before, or there is an open subscription or overage; RECORDS_ABSENT: no such
 * organization. */
int records_pool_insert(struct records *r, struct pool_record *rec);
/* A trial pool of this route, not granted yet, for an organization (0: for
 * each) whose credits are counted, that never had one or a subscription, and
 * that has fewer than `room` open pools. */
int records_trial_insert(struct records *r, uint32_t org, const char *route,
			 uint64_t granted, uint32_t room, int64_t now_ms,
			 unsigned *ret_count);
/* RECORDS_ABSENT. */
int records_pool_get(struct records *r, uint32_t id,
		     struct pool_record *ret_rec);
/* It has been used. RECORDS_ABSENT: no such pool that is not granted yet. */
int records_pool_granted(struct records *r, uint32_t id, int64_t granted_ms);
/* RECORDS_ABSENT: no such open pool. */
int records_pool_close(struct records *r, uint32_t id, int64_t closed_ms);

/* The open pools of one organization in the order of their consumption. */
int records_each_pool(struct records *r, uint32_t org,
		      int (*cb)(const struct pool_record *rec, void *arg),
		      void *arg);
/* Those of every organization that credits are counted of, organization by
 * organization. One without any is visited once, with id 0. */
int records_each_pool_of_all(struct records *r,
			     int (*cb)(const struct pool_record *rec,
				       void *arg),
			     void *arg);
/* The open pools that are due at `now_ms`, the longest due first, at most
 * `max`. */
int records_each_pool_due(struct records *r, int64_t now_ms, uint32_t max,
			  int (*cb)(const struct pool_record *rec, void *arg),
			  void *arg);

/* rec->id is filled in. RECORDS_ABSENT. */
int records_ledger_insert(struct records *r, struct ledger_record *rec);
/* Of one organization, oldest first, behind number `after`. */
int records_each_ledger(struct records *r, uint32_t org, int64_t after,
			uint32_t max,
			int (*cb)(const struct ledger_record *rec, void *arg),
			void *arg);

#endif
