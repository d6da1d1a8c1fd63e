/* SPDX-License-Identifier: MIT */
#include "state/effective.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

#define SAY(...) snprintf(why, EFFECTIVE_WHY_MAX, __VA_ARGS__)

bool effective_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-");

	return len >= 1 && len <= RULE_NAME_LEN && name[len] == '\0';
}

static int check_window(const struct rule_record *rule, char *why)
{
	uint32_t most = rule->level == LEVEL_ORG ? RULE_WINDOW_LIMIT_MAX
						 : RULE_SUBJECT_LIMIT_MAX;

	if (rule->limit >= 1 && rule->limit <= most &&
	    rule->period_ms >= WINDOW_MS_MIN &&
	    rule->period_ms <= WINDOW_MS_MAX)
		return 0;
	SAY("a window is 1..%" PRIu32 " units%s in 1ms..31d", most,
	    rule->level == LEVEL_ORG ? "" : " (below level org)");
	return -ERANGE;
}

#define GCRA_BURST_NS_MAX (UINT64_C(100) * 365 * 86400 * 1000000000)

static int check_gcra(const struct rule_record *rule, char *why)
{
	if (rule->limit < 1 || rule->limit > RULE_LIMIT_MAX ||
	    rule->period_ms < WINDOW_MS_MIN ||
	    rule->period_ms > WINDOW_MS_MAX || rule->burst < 1 ||
	    rule->burst > RULE_BURST_MAX) {
		SAY("a gcra is 1..%u units per 1ms..31d with a burst of 1..%u",
		    RULE_LIMIT_MAX, RULE_BURST_MAX);
		return -ERANGE;
	}
	/* The interval between units is counted in nanoseconds. */
	if (rule->limit > rule->period_ms * NS_PER_MS) {
		SAY("a gcra has at most one unit per nanosecond");
		return -ERANGE;
	}
	/* And so is a whole burst, beside the time since boot. */
	if (rule->burst > GCRA_BURST_NS_MAX / ((rule->period_ms * NS_PER_MS +
						rule->limit - 1) /
					       rule->limit)) {
		SAY("a gcra's burst comes back within a hundred years");
		return -ERANGE;
	}
	return 0;
}

static int check_flight(const struct rule_record *rule, char *why)
{
	if (rule->limit >= 1 && rule->limit <= RULE_FLIGHT_MAX &&
	    rule->lease_ms >= RULE_LEASE_MS_MIN &&
	    rule->lease_ms <= RULE_LEASE_MS_MAX)
		return 0;
	SAY("inflight is 1..%u with a lease of 1s..24h", RULE_FLIGHT_MAX);
	return -ERANGE;
}

int effective_check(const struct rule_record *rule,
		    char why[static EFFECTIVE_WHY_MAX])
{
	if (!effective_name_ok(rule->name)) {
		SAY("the name of a limit is 1..%d of a-z 0-9 _ . -",
		    RULE_NAME_LEN);
		return -ERANGE;
	}
	if (rule->removed)
		return 0;
	if (rule->level >= LEVEL_COUNT) {
		SAY("no such level");
		return -ERANGE;
	}
	if (rule->max_subjects > RULE_SUBJECTS_MAX) {
		SAY("at most %u subjects", RULE_SUBJECTS_MAX);
		return -ERANGE;
	}
	switch (rule->algorithm) {
	case RULE_WINDOW:
		return check_window(rule, why);
	case RULE_GCRA:
		return check_gcra(rule, why);
	case RULE_CONCURRENCY:
		return check_flight(rule, why);
	default:
		SAY("no such algorithm");
		return -ERANGE;
	}
}

static const struct rule_record *named(const struct rule_record *rules,
				       unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	return NULL;
}

static struct rule_record window(uint32_t limit, uint64_t window_ms)
{
	return (struct rule_record){.name = EFFECTIVE_ORG,
				    .level = LEVEL_ORG,
				    .algorithm = RULE_WINDOW,
				    .limit = limit,
				    .period_ms = window_ms};
}

static bool is_org(const struct rule_record *rule)
{
	return strcmp(rule->name, EFFECTIVE_ORG) == 0;
}

/* Room for all of both and the rule "org", before they are counted. */
#define ALL_MAX (2 * RULES_OF_ONE_MAX + 1)

static unsigned collect(const struct effective_from *f,
			const struct rule_record *org,
			const struct rule_record *all[static ALL_MAX])
{
	unsigned count = 0;

	if (!org->removed)
		all[count++] = org;
	for (unsigned i = 0; i < f->plan_count && count < ALL_MAX; i++) {
		const struct rule_record *own =
			named(f->own, f->own_count, f->plan[i].name);

		if (is_org(&f->plan[i]))
			continue;
		if (!own)
			own = &f->plan[i];
		if (!own->removed)
			all[count++] = own;
	}
	for (unsigned i = 0; i < f->own_count && count < ALL_MAX; i++)
		if (!is_org(&f->own[i]) && !f->own[i].removed &&
		    !named(f->plan, f->plan_count, f->own[i].name))
			all[count++] = &f->own[i];
	return count;
}

int effective_build(const struct effective_from *f, struct effective *ret,
		    char why[static EFFECTIVE_WHY_MAX])
{
	const struct rule_record *all[ALL_MAX];
	const struct rule_record *org =
		named(f->own, f->own_count, EFFECTIVE_ORG);
	struct rule_record standard =
		window(f->default_limit, f->default_window_ms);
	unsigned count, next = 0, flights = 0;

	if (!org && f->org && f->org->limit_own)
		standard = window(f->org->limit, f->org->window_ms);
	else if (!org)
		org = named(f->plan, f->plan_count, EFFECTIVE_ORG);
	count = collect(f, org ? org : &standard, all);
	if (count > PLAN_RULES_MAX) {
		SAY("at most %d limits, counting those of the plan and "
		    "\"" EFFECTIVE_ORG "\"",
		    PLAN_RULES_MAX);
		return -E2BIG;
	}
	ret->count = count;
	for (unsigned i = 0; i < count; i++)
		if (all[i]->level == LEVEL_ORG)
			ret->rules[next++] = *all[i];
	ret->org_count = next;
	for (unsigned i = 0; i < count; i++)
		if (all[i]->level != LEVEL_ORG)
			ret->rules[next++] = *all[i];
	if (ret->org_count > PLAN_METERS_MAX) {
		SAY("at most %d limits of level org", PLAN_METERS_MAX);
		return -E2BIG;
	}
	for (unsigned i = 0; i < count; i++)
		flights += ret->rules[i].algorithm == RULE_CONCURRENCY;
	if (flights > HOLD_LEASES_MAX) {
		SAY("at most %d limits inflight", HOLD_LEASES_MAX);
		return -E2BIG;
	}
	return 0;
}
