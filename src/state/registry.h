/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_REGISTRY_H
#define STILE_STATE_REGISTRY_H

/*
 * state/registry - one change to an organization, project or key, from the
 * database to the workers: durable first, then published, then acknowledged.
 *
 * Threads    the control thread alone.
 * Promise    when a call has returned 0 the change is durable and every check
 *            that starts later sees it, on any worker.
 * Errors     0; positive enum registry_outcome (the caller answers it);
 *            negative errno (disk, database), text in registry_error().
 */
#include "base/id.h"
#include "gate/layout.h"
#include "state/access.h"
#include "state/effective.h"
#include "state/records.h"
#include "state/records_credits.h"
#include "state/records_events.h"
#include "state/records_plans.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_TEXT_MAX 64 /* bytes of a key that we make, with terminator */

enum registry_outcome {
	REGISTRY_EXISTS = 1, /* name or hash is taken */
	REGISTRY_ABSENT = 2, /* no such organization, project or key */
	REGISTRY_FULL =
		3, /* a capacity is used up; registry_error() names it */
	REGISTRY_INVALID = 4, /* out of range; registry_error() says what */
	REGISTRY_REVOKED = 5, /* the key is revoked or expired: cannot rotate */
	REGISTRY_IN_USE = 6,  /* others refer to it; registry_error() says so */
};

struct registry;
struct routes;
struct arena_file;
struct epoch;
struct keytable;

/* What the largest block has room for (state/rings.h). */
#define REGISTRY_HOLDS_MAX (1u << 22)
#define REGISTRY_IDS_MAX 11000000u
#define REGISTRY_CELLS_MAX 1970000u

struct registry_options {
	uint32_t max_orgs, max_projects, max_keys;
	uint64_t ring_bytes;
	uint32_t default_limit;
	uint64_t default_window_ms;
	const char *key_prefix;
	/* What all share: entries for request ids, cells of usage, holds; and
	 * of the table of a rule that does not say. */
	uint32_t request_ids, cells, holds, subjects;
	uint64_t request_id_ms; /* an id is remembered */
	uint64_t hold_ms;       /* a reservation lasts, when it does not say */
	bool hold_keep;         /* one that expires stays charged */
	uint32_t control_holds; /* of the holds, for registry_check() */
	const struct routes *routes; /* kept; or NULL */
	/* Events and lines of the audit trail are kept; 0: for ever. Events for
	 * longer than any period, lest one is told twice in it. */
	uint64_t events_ms, audit_ms;
	/* Windows of a fresh arena count as full until they have passed, unless
	 * a snapshot of a clean stop was restored: from the boot on when nobody
	 * has served since, else from now on. To tell the two apart a snapshot
	 * is written before the start returns. */
	bool strict;
};

struct registry_report {
	uint32_t orgs, projects, keys; /* set up */
	uint32_t unserved; /* keys that do not fit into the key table */
	bool fresh;        /* no counters to carry on with */
	bool restored;     /* from the snapshot */
	/* A snapshot that was refused, or "". The arena is not marked ready
	 * then, so that a caller who gives up is told again next time; one who
	 * goes on says arena_set_ready(). */
	char warning[256];
	char arena_warning[256]; /* an arena that was discarded, or "" */
};

/*
 * Sets the arena and the key table up from the records and, when `fresh`,
 * the counters from the snapshot in `state_dir`. Before workers run. The
 * registry keeps using what it is given. An arena that is damaged, or that
 * knows none of the organizations, is discarded first. On failure an arena
 * that was not fresh keeps its counters for the next try.
 */
int registry_open(struct registry **ret_registry, struct records *records,
		  struct arena_file *arena, bool fresh, struct keytable *table,
		  struct epoch *epoch, const char *state_dir,
		  const struct registry_options *options,
		  struct registry_report *ret_report, char *err,
		  size_t err_len);
struct registry *registry_close(struct registry *g);

const char *registry_error(const struct registry *g);
struct records *registry_records(struct registry *g); /* for reading */
/* Once a second: what ends by civil time. True: there is more to do at once. */
bool registry_step(struct registry *g);
/* Civil time: what keys expire by and records are dated with. */
int64_t registry_now_ms(const struct registry *g);

/* Who asks for the changes that follow, until NULL: uid, action, subject and
 * detail. Each change is then recorded in the audit trail, in the same durable
 * step. */
void registry_act_for(struct registry *g, const struct audit_record *actor);

/* ---- organizations ---- */

/* rec->name, plan (slot, 0 = the default one), limit and window_ms (both 0:
 * none of its own) and credits (are they counted?) in; the rest out. `granted`
 * credits, if any, are a pack. */
int registry_org_create(struct registry *g, struct org_record *rec,
			uint64_t granted);
/* A limit of its own, in place of the rule "org" of its plan. */
int registry_org_set_limit(struct registry *g, uint32_t org, uint32_t limit,
			   uint64_t window_ms);
int registry_org_set_suspended(struct registry *g, uint32_t org,
			       bool suspended);

int registry_org_set_plan(struct registry *g, uint32_t org, uint32_t plan);
/* Day 1..31 and time zone that billing periods begin by. A period that runs
 * ends when it was to end. */
int registry_org_set_billing(struct registry *g, uint32_t org,
			     uint8_t anchor_day, const char *zone);
/* The rules that the organization has. */
int registry_org_rules(struct registry *g, const struct org_record *rec,
		       struct effective *ret);

/* ---- plans and rules ---- */

/* rec->name in; the rest out. */
int registry_plan_create(struct registry *g, struct plan_record *rec);
/* REGISTRY_IN_USE: organizations have it; REGISTRY_INVALID: the default one. */
int registry_plan_remove(struct registry *g, uint32_t plan);
/* Sets a rule of a plan (rule->plan) or of an organization (rule->org), also
 * while it is in use. What was counted stays, unless level, algorithm or route
 * become others. rule->id out. REGISTRY_INVALID: out of range, or one of the
 * organizations that it concerns would have too many. */
int registry_rule_set(struct registry *g, struct rule_record *rule);
/* An organization's: from then on it has what its plan says. */
int registry_rule_remove(struct registry *g, uint32_t plan, uint32_t org,
			 const char *name);

/* ---- projects ---- */

/* rec->org and name in; the rest out. */
int registry_project_create(struct registry *g, struct project_record *rec);
/* With budgets: idx, units and period of each in. */
int registry_project_create_capped(struct registry *g,
				   struct project_record *rec,
				   struct budget_record *budgets,
				   unsigned count);
/* budget->project, idx, units and period in. */
int registry_budget_set(struct registry *g, struct budget_record *budget);
int registry_budget_remove(struct registry *g, uint32_t project, uint8_t idx);

/* ---- keys ---- */

/* rec->org, project, name, expires_ms in; the rest out. The plaintext is
 * written to `text` (terminated); the caller shows it once and wipes it. */
int registry_key_create(struct registry *g, struct key_record *rec,
			char text[static KEY_TEXT_MAX]);
/* For these scopes, routes and networks only: kind and text of each in. */
int registry_key_create_for(struct registry *g, struct key_record *rec,
			    struct access_record *access, unsigned count,
			    char text[static KEY_TEXT_MAX]);
/* What a key may be used for; none of a kind: everything. */
struct key_access {
	unsigned count;
	struct access_record at[ACCESS_MAX];
};
int registry_key_access(struct registry *g, const struct key_record *rec,
			struct key_access *ret_access);
/* Import by hash, all or nothing, one durable step: recs[i].org, project,
 * name, hash, expires_ms in. *ret_bad: the first one at fault. */
int registry_key_import(struct registry *g, struct key_record *recs,
			size_t count, size_t *ret_bad);
int registry_key_revoke(struct registry *g, const char *id,
			struct key_record *ret_rec);
/* A disabled key is answered as an unknown one until it is enabled again.
 * REGISTRY_REVOKED. */
int registry_key_set_disabled(struct registry *g, const char *id, bool disabled,
			      struct key_record *ret_rec);
/* A new key with the same organization, project, name, access and expiry; the
 * old one expires after grace_ms (0 = revoked now), never later than it would
 * have. */
int registry_key_rotate(struct registry *g, const char *id, uint64_t grace_ms,
			struct key_record *ret_old, struct key_record *ret_new,
			char text[static KEY_TEXT_MAX]);

/* ---- credits ---- */

/* Each change also makes the pools of the trials that options.routes give and
 * that the organization never had, while there is room; so do creating an
 * organization whose credits are counted, and the start. Never for who has or
 * had a subscription. A check that draws from such a pool grants it: the line
 * in the ledger and an event credits.trial follow in registry_step(), once,
 * whatever dies in between. */

/* A pool: rec->org, kind (any but subscription and overage), route, granted
 * and expires_ms in; the rest out. From then on the credits of the organization
 * are counted. REGISTRY_EXISTS: it has, or had, a trial of that route;
 * REGISTRY_FULL: it has CREDIT_POOLS_MAX pools with something in them. */
int registry_credits_grant(struct registry *g, struct pool_record *rec);
/* So many credits each month, the first now; what is left at the end of a month
 * lapses. Trial pools end. 0: the subscription ends,
 * with what is left of it; REGISTRY_ABSENT when there is none. */
int registry_credits_subscribe(struct registry *g, uint32_t org,
			       uint64_t monthly);
/* Closes a pool; what is left of it is gone. REGISTRY_ABSENT. */
int registry_credits_revoke(struct registry *g, uint32_t org, uint32_t pool);
/* Pay as you go, at most `max` a month, when all other pools are empty. */
int registry_credits_overage(struct registry *g, uint32_t org, bool enabled,
			     uint64_t max);
/* For timers. A new month begins: subscription and overage are granted anew,
 * and what is left of the old ones lapses. Once a month is the caller's;
 * pool_record.renewed_ms says when it was last. REGISTRY_ABSENT: there is
 * nothing to renew. */
int registry_credits_renew(struct registry *g, uint32_t org, int64_t now_ms);
/* Closes pools that have expired, at most `max` of them. How many organizations
 * that concerned, or negative errno. (Decisions know by themselves that a pool
 * has expired.) */
int registry_credits_expire(struct registry *g, int64_t now_ms, unsigned max);

/* A pool with what the arena counts. The trial of a route is granted by its
 * first use; until then granted, used and rest are 0. rest = granted - used. */
struct pool_live {
	struct pool_record record;
	uint64_t granted;
	uint64_t used; /* less what was returned */
	int64_t rest;
	uint64_t available; /* what the first use will grant */
};
/* The open pools in the order of their consumption. */
int registry_credits_live(struct registry *g, uint32_t org,
			  struct pool_live ret_pools[static CREDIT_POOLS_MAX],
			  unsigned *ret_count);

/* ---- checks, decided by the control thread ---- */

struct check;
struct counters;
struct verdict;

/* As a worker decides it, with the same words under the same claims: nothing is
 * easier for an operator. What it says is valid until the next call. */
void registry_check(struct registry *g, struct check *check,
		    struct verdict *ret_verdict);

/* What a check would be answered, with an explanation. Nothing is charged. */
void registry_explain(struct registry *g, struct check *check,
		      struct verdict *ret_verdict);

/* Ends a hold as a settlement from the proxy does: `cost` as in struct check.
 * The verdict says what was charged. */
void registry_settle(struct registry *g, uint64_t hold, uint32_t cost,
		     struct verdict *ret_verdict);

/* Of all these, as those of a worker. */
const struct counters *registry_counters(const struct registry *g);

/* ---- what rules say of their subjects ---- */

/* One subject of one rule: what the rule's level asks for, and nothing else.
 * Key and project are the organization's. */
struct subject_query {
	uint32_t org;
	const char *name; /* of the rule */
	uint32_t key, project;
	uint64_t route; /* label_hash() */
	const uint8_t *address;
};
struct subject_live {
	const char *name; /* of RULE_NAME_LEN, zero padded */
	uint8_t level, algorithm;
	bool shadow;
	uint64_t limit, used, remaining;
	uint64_t window_ms, reset_ms, retry_ms; /* as of a verdict */
	uint64_t tripped; /* by any subject, since the rules changed last */
};
/* REGISTRY_ABSENT: no such rule; REGISTRY_INVALID: not its subject. What was
 * never seen is at rest. */
int registry_subject_show(struct registry *g, const struct subject_query *q,
			  struct subject_live *ret_live);
/* What it has counted counts no more; recorded before. REGISTRY_IN_USE: it
 * counts requests in flight, which end by themselves. */
int registry_subject_reset(struct registry *g, const struct subject_query *q,
			   struct subject_live *ret_live);

/* ---- events ---- */

/* kind, org, project, body and once in. REGISTRY_EXISTS: it was raised before.
 */
int registry_event_raise(struct registry *g, struct event_record *rec);

/* Once a second: makes room for new subjects of rules and new request ids.
 * Waits for a grace period. */
void registry_tend(struct registry *g);

/* Live numbers, from the arena. */
struct org_live {
	uint64_t used;      /* units allowed, ever */
	uint32_t in_window; /* units in the window now */
};
struct key_live {
	uint64_t used;
	uint32_t last_use_min; /* civil time in minutes; 0 = never */
};
struct budget_live {
	uint64_t cap, used;
	int64_t ends_ms; /* of the period */
	uint8_t index;
	uint8_t period; /* enum period_kind */
};
void registry_org_live(struct registry *g, uint32_t org,
		       struct org_live *ret_live);
void registry_key_live(struct registry *g, uint32_t key,
		       struct key_live *ret_live);
/* The budgets that the project has; returns how many. */
unsigned registry_project_budgets(
	struct registry *g, uint32_t project,
	struct budget_live ret_budgets[static PROJECT_BUDGETS_MAX]);

#endif
