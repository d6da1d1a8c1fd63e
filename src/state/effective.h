/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_EFFECTIVE_H
#define STILE_STATE_EFFECTIVE_H

/*
 * state/effective - which rules an organization has: those of its plan, with
 * its own in place of those of the same name.
 *
 * The rule "org", a window over all checks, is there without being recorded.
 * It is, the first that there is:
 *	1. the organization's rule of that name (or none, when that one says
 *	   "removed")
 *	2. the organization's own limit (org_record, limit_own)
 *	3. the plan's rule of that name
 *	4. the configured default
 *
 * Pure: no database, no arena, no clock.
 */
#include "state/records_plans.h"

#define EFFECTIVE_WHY_MAX 160
#define EFFECTIVE_ORG "org" /* the name of the rule that is always there */

#define RULE_WINDOW_LIMIT_MAX LIMIT_MAX /* level organization */
#define RULE_SUBJECT_LIMIT_MAX 65536u   /* the others */
#define RULE_FLIGHT_MAX 1000000u        /* leases */
#define RULE_LEASE_MS_MIN 1000u

struct effective {
	unsigned count;
	unsigned org_count; /* of level organization: they come first */
	struct rule_record rules[PLAN_RULES_MAX];
	uint8_t meter[PLAN_METERS_MAX]; /* meters_assign() */
};

/* Does the name consist of 1..24 of [a-z0-9_.-]? */
bool effective_name_ok(const char *name);

/* -ERANGE: the rule is out of range, `why` says what was expected. A rule
 * that is `removed` needs a name only. */
int effective_check(const struct rule_record *rule,
		    char why[static EFFECTIVE_WHY_MAX]);

struct effective_from {
	const struct rule_record *plan; /* the plan's rules, in order */
	unsigned plan_count;
	const struct rule_record *own; /* the organization's, in order */
	unsigned own_count;
	const struct org_record *org; /* NULL: one without anything of its own
				       */
	uint32_t default_limit;
	uint64_t default_window_ms;
};

/*
 * The rules in the order in which they are decided: those of level
 * organization first, "org" at their head; among equals those of the plan
 * first. -E2BIG: more than PLAN_RULES_MAX, more than PLAN_METERS_MAX of level
 * organization, or more than HOLD_LEASES_MAX that count what is in flight;
 * `why` says so.
 */
int effective_build(const struct effective_from *from, struct effective *ret,
		    char why[static EFFECTIVE_WHY_MAX]);

#endif
