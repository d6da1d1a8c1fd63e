/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RECORDS_PLANS_H
#define STILE_STATE_RECORDS_PLANS_H

/*
 * state/records_plans - what limits a check, as records: plans with their
 * rules, rules of one organization, budgets of projects, what a key may be
 * used for. Errors, outcomes and batches are those of state/records.h.
 */
#include "gate/layout.h"
#include "state/records.h"

#define PLANS_MAX 1023
#define RULES_OF_ONE_MAX 64 /* of a plan or of an organization */

/* What the columns hold; state/effective.h has the ranges by algorithm. */
#define RULE_LIMIT_MAX 1000000000u
#define RULE_BURST_MAX 1000000u
#define RULE_LEASE_MS_MAX 86400000u
#define RULE_SUBJECTS_MAX 16777216u
#define BUDGET_UNITS_MAX INT64_C(17592186044415) /* 2^44 - 1 */

struct plan_record {
	uint32_t slot;
	struct id id;
	char name[NAME_MAX_BYTES + 1];
	int64_t created_ms;
};

/* A rule of a plan, or of one organization, where it replaces the plan's rule
 * of that name. */
struct rule_record {
	uint32_t id;
	uint32_t plan, org; /* slots; one of them is 0 */
	char name[RULE_NAME_LEN + 1];
	uint8_t level;                   /* enum rule_level */
	uint8_t algorithm;               /* enum rule_algorithm */
	uint32_t limit;                  /* units; GCRA: units per period */
	uint64_t period_ms;              /* window, GCRA */
	uint32_t burst;                  /* GCRA */
	uint64_t lease_ms;               /* concurrency */
	char route[ROUTE_MAX_BYTES + 1]; /* the only one it is for; "" = all */
	bool shadow, requests_only, full_pass;
	uint32_t max_subjects; /* 0 = the configured number */
	bool removed; /* an organization's: takes the plan's rule away */
};

enum budget_per { /* the numbers are those of period kinds */
		  BUDGET_PER_DAY = 1,
		  BUDGET_PER_WEEK = 2,
		  BUDGET_PER_MONTH = 3, /* of the calendar */
		  BUDGET_PER_BILLING =
			  4, /* from the organization's anchor day on */
};

struct budget_record {
	uint32_t project; /* slot */
	uint8_t idx;      /* 0..PROJECT_BUDGETS_MAX-1 */
	uint8_t period;   /* enum budget_per */
	uint64_t units;
	int64_t created_ms;
};

enum access_kind {
	ACCESS_SCOPE = 1,
	ACCESS_ROUTE = 2,
	ACCESS_NETWORK = 3, /* CIDR, as it was given */
};

struct access_record {
	uint32_t key; /* slot */
	uint8_t kind; /* enum access_kind */
	char text[ROUTE_MAX_BYTES + 1];
};

/* ---- plans ---- */

/* rec->slot is filled in. RECORDS_EXISTS (name or id), RECORDS_FULL. */
int records_plan_insert(struct records *r, struct plan_record *rec);
/* By id or name (id wins). RECORDS_ABSENT. */
int records_plan_find(struct records *r, const char *id_or_name,
		      struct plan_record *ret_rec);
int records_plan_get(struct records *r, uint32_t slot,
		     struct plan_record *ret_rec);
/* With its rules. RECORDS_EXISTS: organizations have it; RECORDS_ABSENT. The
 * caller sees to it that the default one stays. In a batch. */
int records_plan_remove(struct records *r, uint32_t slot);
int records_each_plan(struct records *r, uint32_t after, uint32_t max,
		      int (*cb)(const struct plan_record *rec, void *arg),
		      void *arg);
/* How many organizations have it. */
int records_plan_orgs(struct records *r, uint32_t slot, uint64_t *ret_count);

/* ---- rules ---- */

/* Inserts the rule, or changes the one of that plan or organization with that
 * name. The number of a rule stays unless level, algorithm or route change:
 * what was counted then means something else. rec->id is filled in.
 * RECORDS_FULL: RULES_OF_ONE_MAX; RECORDS_ABSENT: no such plan or
 * organization. In a batch. */
int records_rule_put(struct records *r, struct rule_record *rec);
/* RECORDS_ABSENT. */
int records_rule_delete(struct records *r, uint32_t plan, uint32_t org,
			const char *name);
/* Of a plan, in the order of their numbers. */
int records_each_rule_of_plan(struct records *r, uint32_t plan,
			      int (*cb)(const struct rule_record *rec,
					void *arg),
			      void *arg);
/* Of one organization, or (0) of all, organization by organization. */
int records_each_rule_of_org(struct records *r, uint32_t org,
			     int (*cb)(const struct rule_record *rec,
				       void *arg),
			     void *arg);

/* ---- budgets ---- */

/* Sets or replaces it. RECORDS_ABSENT: no such project. */
int records_budget_put(struct records *r, const struct budget_record *rec);
/* RECORDS_ABSENT. */
int records_budget_delete(struct records *r, uint32_t project, uint8_t idx);
/* Of one project, or (0) of all in order. */
int records_each_budget(struct records *r, uint32_t project,
			int (*cb)(const struct budget_record *rec, void *arg),
			void *arg);

/* ---- access of keys ---- */

/* RECORDS_EXISTS: the key has it already; RECORDS_ABSENT: no such key. */
int records_access_insert(struct records *r, const struct access_record *rec);
/* Of one key, or (0) of all, key by key. */
int records_each_access(struct records *r, uint32_t key,
			int (*cb)(const struct access_record *rec, void *arg),
			void *arg);

#endif
