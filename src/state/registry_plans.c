/* SPDX-License-Identifier: MIT */
/* Plans, their rules, and the rules of organizations. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_ROOM                                                                \
	"no room for other limits: raise ring_bytes or the size of the "       \
	"arena's tmpfs"

/* ---- what is kept in memory ---- */

static bool may_have_own(const struct registry *g, uint32_t org)
{
	return g->ruled[org / 8] & 1u << org % 8;
}

/* Bits are only ever set: one too many costs a search that finds nothing. */
static void note_own(struct registry *g, uint32_t org)
{
	g->ruled[org / 8] |= (uint8_t)(1u << org % 8);
}

static int note_rule(const struct rule_record *rule, void *arg)
{
	note_own(arg, rule->org);
	return 0;
}

int registry_plans_load(struct registry *g)
{
	g->ruled = calloc(ARENA_ORGS_MAX / 8, 1);
	if (g->ruled == NULL)
		return -ENOMEM;
	return records_each_rule_of_org(g->records, 0, note_rule, g);
}

/* The rules are read again when they are needed next. */
static void forget_plan(struct registry *g, uint32_t plan)
{
	free(g->plans[plan]);
	g->plans[plan] = NULL;
}

void registry_plans_unload(struct registry *g)
{
	for (uint32_t i = 0; i <= PLANS_MAX; i++)
		forget_plan(g, i);
	free(g->ruled);
	shares_deinit(g);
	tables_deinit(g);
}

struct collecting {
	struct rule_record *at;
	unsigned count;
};

static int collect(const struct rule_record *rule, void *arg)
{
	struct collecting *c = arg;

	if (c->count == RULES_OF_ONE_MAX)
		return -EBADMSG;
	c->at[c->count++] = *rule;
	return 0;
}

static int plan_rules(struct registry *g, uint32_t plan)
{
	struct collecting c = {.at = g->own};
	struct plan_rules *rules;
	int r = records_each_rule_of_plan(g->records, plan, collect, &c);

	if (r != 0)
		return r;
	rules = malloc(sizeof(*rules) + c.count * sizeof(rules->at[0]));
	if (rules == NULL)
		return -ENOMEM;
	rules->count = c.count;
	memcpy(rules->at, c.at, c.count * sizeof(rules->at[0]));
	g->plans[plan] = rules;
	return 0;
}

int registry_effective(struct registry *g, const struct org_record *rec)
{
	struct effective_from from = {
		.own = g->own,
		.org = rec,
		.default_limit = g->options.default_limit,
		.default_window_ms = g->options.default_window_ms,
	};
	char why[EFFECTIVE_WHY_MAX];
	int r = 0;

	if (g->plans[rec->plan] == NULL)
		r = plan_rules(g, rec->plan);
	if (r == 0 && may_have_own(g, rec->slot)) {
		struct collecting c = {.at = g->own};

		r = records_each_rule_of_org(g->records, rec->slot, collect,
					     &c);
		from.own_count = c.count;
	}
	if (r != 0)
		return registry_from_records(g, r, "limit");
	from.plan = g->plans[rec->plan]->at;
	from.plan_count = g->plans[rec->plan]->count;
	if (effective_build(&from, &g->effective, why) < 0)
		return registry_fail(g, REGISTRY_INVALID, "%s: %s", rec->name,
				     why);
	return 0;
}

/* ---- changing the rules of organizations ---- */

int plan_change_room(struct plan_change *c)
{
	size_t room = c->room ? 2 * c->room : 1;
	void *at;

	if (c->count < c->room)
		return 0;
	at = realloc(c->at, room * sizeof(c->at[0]));
	if (at == NULL)
		return -ENOMEM;
	c->at = at;
	c->room = room;
	return 0;
}

static const struct plan *plan_at(struct registry *g, uint64_t block)
{
	return block != 0 ? apply_block(g, block) : NULL;
}

int plan_change_add(struct registry *g, struct plan_change *c,
		    const struct org_record *rec)
{
	const struct org *org = &g->arena->orgs[rec->slot];
	const struct plan *had;
	struct meters_room room;
	uint64_t between = 0, block = 0;
	int r = registry_effective(g, rec);

	if (r != 0)
		return r;
	had = plan_at(g, claim_load(&org->plan));
	meters_assign(had, &g->effective);
	r = plan_change_room(c);
	if (r == 0)
		r = meters_take(g, rec->slot, &g->effective, &room);
	if (r == 0) {
		r = share_take(g, rec->slot, &g->effective, &block);
		if (r == 0)
			r = priors_announce(g, had, plan_at(g, block),
					    &between);
		if (r < 0) {
			share_put(g, block);
			tables_abandon(g);
			meters_give(g, &room);
		}
	}
	if (r < 0)
		return registry_fail(g, REGISTRY_FULL, NO_ROOM);
	c->at[c->count].org = rec->slot;
	c->at[c->count].room = room;
	c->at[c->count].between = between;
	c->at[c->count++].block = block;
	return 0;
}

void plan_change_abandon(struct registry *g, struct plan_change *c)
{
	for (size_t i = 0; i < c->count; i++) {
		share_put(g, c->at[i].between);
		share_put(g, c->at[i].block);
		meters_give(g, &c->at[i].room);
	}
	free(c->at);
}

/* What is to be published before the rest, and waited for. In its place then:
 * what is to be given back. */
static void apply_between(struct registry *g, struct plan_change *c)
{
	bool any = false;

	for (size_t i = 0; i < c->count; i++) {
		if (c->at[i].between == 0)
			continue;
		c->at[i].between =
			apply_plan_publish(g, c->at[i].org, c->at[i].between);
		any = true;
	}
	if (any)
		epoch_wait(g->epoch);
}

void plan_change_apply(struct registry *g, struct plan_change *c)
{
	apply_between(g, c);
	for (size_t i = 0; i < c->count; i++) {
		uint32_t org = c->at[i].org;
		uint64_t had = claim_load(&g->arena->orgs[org].plan);

		meters_prepare(g, org, plan_at(g, had),
			       plan_at(g, c->at[i].block), &c->at[i].room);
		/* In its place: what is to be given back. */
		c->at[i].block = apply_plan_publish(g, org, c->at[i].block);
	}
	epoch_wait(g->epoch);
	for (size_t i = 0; i < c->count; i++) {
		uint32_t org = c->at[i].org;

		meters_forget(
			g, org, plan_at(g, c->at[i].block),
			plan_at(g, claim_load(&g->arena->orgs[org].plan)));
	}
	plan_change_abandon(g, c);
}

/* Ends a change whose last step said `r`: commits and applies, or not. */
static int finish(struct registry *g, struct plan_change *c, int r,
		  const char *what)
{
	if (r == 0)
		r = registry_commit(g, what);
	else
		records_rollback(g->records);
	if (r == 0)
		plan_change_apply(g, c);
	else
		plan_change_abandon(g, c);
	return r;
}

struct adding {
	struct registry *g;
	struct plan_change *change;
};

static int add_org(const struct org_record *rec, void *arg)
{
	struct adding *a = arg;

	return plan_change_add(a->g, a->change, rec);
}

/* All organizations that a rule of `plan` or `org` concerns. */
static int add_concerned(struct registry *g, struct plan_change *c,
			 uint32_t plan, uint32_t org)
{
	struct adding a = {g, c};
	struct org_record rec;
	int r;

	if (plan != 0) {
		forget_plan(g, plan);
		return records_each_org_of_plan(g->records, plan, 0, 0, add_org,
						&a);
	}
	r = registry_from_records(g, records_org_get(g->records, org, &rec),
				  "organization");
	if (r == 0)
		note_own(g, org);
	return r != 0 ? r : plan_change_add(g, c, &rec);
}

/* ---- rules ---- */

static int check_rule(struct registry *g, const struct rule_record *rule)
{
	char why[EFFECTIVE_WHY_MAX];

	if (effective_check(rule, why) < 0)
		return registry_fail(g, REGISTRY_INVALID, "%s", why);
	if (rule->removed && rule->plan != 0)
		return registry_fail(g, REGISTRY_INVALID,
				     "only an organization can take a limit "
				     "of its plan away");
	if (strcmp(rule->name, EFFECTIVE_ORG) == 0 && !rule->removed &&
	    (rule->level != LEVEL_ORG || rule->route[0] != '\0'))
		return registry_fail(g, REGISTRY_INVALID,
				     "the limit \"" EFFECTIVE_ORG
				     "\" is of level org and for all routes");
	return 0;
}

int registry_rule_set(struct registry *g, struct rule_record *rule)
{
	struct plan_change c = {0};
	int r = check_rule(g, rule);

	if (r == 0)
		r = registry_begin(g, "limit");
	if (r != 0)
		return r;
	r = records_rule_put(g->records, rule);
	if (r == RECORDS_FULL)
		r = registry_fail(g, REGISTRY_FULL, "at most %d limits",
				  RULES_OF_ONE_MAX);
	else
		r = registry_from_records(
			g, r, rule->plan != 0 ? "plan" : "organization");
	/* One "org" of its own, not two. */
	if (r == 0 && rule->org != 0 && strcmp(rule->name, EFFECTIVE_ORG) == 0)
		r = registry_from_records(
			g, records_org_drop_limit(g->records, rule->org),
			"organization");
	if (r == 0)
		r = add_concerned(g, &c, rule->plan, rule->org);
	r = finish(g, &c, r, "limit");
	if (r != 0 && rule->plan != 0)
		forget_plan(g, rule->plan);
	return r;
}

int registry_rule_remove(struct registry *g, uint32_t plan, uint32_t org,
			 const char *name)
{
	struct plan_change c = {0};
	struct org_record rec;
	int r = registry_begin(g, "limit");

	if (r != 0)
		return r;
	r = records_rule_delete(g->records, plan, org, name);
	/* The limit of org_record is one of its own as well. */
	if (r == RECORDS_ABSENT && org != 0 &&
	    strcmp(name, EFFECTIVE_ORG) == 0) {
		r = records_org_get(g->records, org, &rec);
		if (r == 0)
			r = rec.limit_own
				    ? records_org_drop_limit(g->records, org)
				    : (int)RECORDS_ABSENT;
	}
	r = registry_from_records(g, r, "limit");
	if (r == 0)
		r = add_concerned(g, &c, plan, org);
	r = finish(g, &c, r, "limit");
	if (r != 0 && plan != 0)
		forget_plan(g, plan);
	return r;
}

int registry_org_set_limit(struct registry *g, uint32_t slot, uint32_t limit,
			   uint64_t window_ms)
{
	struct plan_change c = {0};
	int r = registry_check_limit(g, limit, window_ms);

	if (r == 0)
		r = registry_begin(g, "org");
	if (r != 0)
		return r;
	r = registry_from_records(
		g, records_org_set_limit(g->records, slot, limit, window_ms),
		"org");
	if (r == 0 && may_have_own(g, slot)) {
		r = records_rule_delete(g->records, 0, slot, EFFECTIVE_ORG);
		r = r == RECORDS_ABSENT ? 0
					: registry_from_records(g, r, "limit");
	}
	/* The room before it is durable, as when it is created: a limit that
	 * has no room would keep the next start from succeeding. */
	if (r == 0)
		r = add_concerned(g, &c, 0, slot);
	return finish(g, &c, r, "org");
}

int registry_org_set_plan(struct registry *g, uint32_t slot, uint32_t plan)
{
	struct plan_change c = {0};
	int r = registry_begin(g, "org");

	if (r != 0)
		return r;
	r = registry_from_records(g,
				  records_org_set_plan(g->records, slot, plan),
				  "organization or plan");
	if (r == 0)
		r = add_concerned(g, &c, 0, slot);
	return finish(g, &c, r, "org");
}

int registry_org_rules(struct registry *g, const struct org_record *rec,
		       struct effective *ret)
{
	int r = registry_effective(g, rec);

	if (r == 0)
		*ret = g->effective;
	return r;
}

/* ---- plans ---- */

int registry_plan_create(struct registry *g, struct plan_record *rec)
{
	int r, tries = ID_TRIES;

	rec->created_ms = registry_now_ms(g);
	r = registry_begin(g, "plan");
	if (r != 0)
		return r;
	do {
		if (!keytext_random_id(&rec->id)) {
			r = registry_fail(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = records_plan_insert(g->records, rec);
	} while (r == RECORDS_EXISTS && --tries > 0);
	if (r == RECORDS_FULL)
		r = registry_fail(g, REGISTRY_FULL, "at most %d plans",
				  PLANS_MAX);
	else
		r = registry_from_records(g, r, "plan");
	if (r != 0)
		goto out_rollback;
	/* The slot may have been another plan's. */
	forget_plan(g, rec->slot);
	return registry_commit(g, "plan");
out_rollback:
	records_rollback(g->records);
	return r;
}

int registry_plan_remove(struct registry *g, uint32_t plan)
{
	int r;

	if (plan == PLAN_DEFAULT)
		return registry_fail(g, REGISTRY_INVALID,
				     "the plan \"default\" cannot be removed");
	r = registry_begin(g, "plan");
	if (r != 0)
		return r;
	r = records_plan_remove(g->records, plan);
	if (r == RECORDS_EXISTS)
		r = registry_fail(g, REGISTRY_IN_USE,
				  "organizations have this plan; give them "
				  "another one first");
	else
		r = registry_from_records(g, r, "plan");
	if (r != 0) {
		records_rollback(g->records);
		return r;
	}
	forget_plan(g, plan);
	return registry_commit(g, "plan");
}
