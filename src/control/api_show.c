/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include "base/rfc3339.h"
#include "control/rule_text.h"

#include <stdlib.h>
#include <string.h>

json_t *show_id(struct id id)
{
	return id_is_none(id) ? json_null() : json_stringn(id.c, ID_LEN);
}

json_t *show_time(int64_t wall_ms)
{
	char text[RFC3339_MAX];

	if (wall_ms == 0)
		return json_null();
	rfc3339_format(wall_ms, text);
	return json_string(text);
}

json_t *show_text(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

/* The window over all checks; null when it is none, or of another kind. */
static json_t *show_limit(struct call *c, const struct org_record *org)
{
	struct effective rules;

	if (registry_org_rules(c->control->registry, org, &rules) != 0)
		return NULL;
	for (unsigned i = 0; i < rules.org_count; i++) {
		const struct rule_record *rule = &rules.rules[i];

		if (strcmp(rule->name, EFFECTIVE_ORG) == 0 &&
		    rule->algorithm == RULE_WINDOW)
			return json_pack("{s:I,s:I}", "limit",
					 (json_int_t)rule->limit, "window_ms",
					 (json_int_t)rule->period_ms);
	}
	return json_null();
}

/* What is left of all pools; null when credits are not counted. */
static json_t *show_balance(struct call *c, const struct org_record *org)
{
	struct pool_live pools[CREDIT_POOLS_MAX];
	unsigned count;
	int64_t sum = 0;

	if (!org->credits)
		return json_null();
	if (registry_credits_live(c->control->registry, org->slot, pools,
				  &count) != 0)
		return NULL;
	for (unsigned i = 0; i < count; i++)
		sum += pools[i].rest;
	return json_integer(sum);
}

json_t *show_org(struct call *c, const struct org_record *org)
{
	struct registry *g = c->control->registry;
	struct plan_record plan;
	struct org_live live;

	if (records_plan_get(registry_records(g), org->plan, &plan) != 0)
		return NULL;
	registry_org_live(g, org->slot, &live);
	return json_pack(
		"{s:o,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:o,s:b,s:i,s:s}", "id",
		show_id(org->id), "name", org->name, "state",
		org->suspended ? "suspended" : "active", "plan", plan.name,
		"limit", show_limit(c, org), "created_at",
		show_time(org->created_ms), "used", (json_int_t)live.used,
		"in_window", (json_int_t)live.in_window, "credits",
		show_balance(c, org), "overage", org->overage, "anchor_day",
		org->anchor_day, "timezone", org->timezone);
}

json_t *show_org_usage(struct call *c, const struct org_record *org)
{
	struct org_live live;

	registry_org_live(c->control->registry, org->slot, &live);
	return json_pack("{s:o,s:s,s:I,s:I,s:o}", "id", show_id(org->id),
			 "name", org->name, "used", (json_int_t)live.used,
			 "in_window", (json_int_t)live.in_window, "limit",
			 show_limit(c, org));
}

static int add_budget(const struct budget_record *rec, void *arg)
{
	char text[RULE_TEXT_MAX];

	budget_text_format(rec->units, rec->period, text);
	return json_array_append_new(arg, json_pack("{s:i,s:s}", "index",
						    rec->idx, "budget", text)) <
	       0;
}

json_t *show_project(struct call *c, const struct project_record *project,
		     struct id org)
{
	json_t *budgets = json_array();

	if (records_each_budget(registry_records(c->control->registry),
				project->slot, add_budget, budgets) != 0) {
		json_decref(budgets);
		budgets = NULL;
	}
	return json_pack("{s:o,s:s,s:o,s:o,s:o}", "id", show_id(project->id),
			 "name", project->name, "org", show_id(org),
			 "created_at", show_time(project->created_ms),
			 "budgets", budgets);
}

json_t *show_rule(const struct rule_record *rule, const char *source)
{
	char text[RULE_TEXT_MAX];

	rule_text_format(rule, text);
	return json_pack("{s:s,s:s,s:s,s:o,s:b,s:b,s:s,s:o,s:s}", "name",
			 rule->name, "level", rule_text_level(rule->level),
			 "limit", text, "route", show_text(rule->route),
			 "shadow", rule->shadow, "requests",
			 rule->requests_only, "when_full",
			 rule->full_pass ? "pass" : "deny", "max_subjects",
			 rule->max_subjects
				 ? json_integer((json_int_t)rule->max_subjects)
				 : json_null(),
			 "source", source);
}

/* Ids of the key's organization and project; false after an answer. */
static bool look_up(struct call *c, struct show_names *names,
		    const struct key_record *key)
{
	struct records *records = registry_records(c->control->registry);
	struct org_record org;
	struct project_record project;
	int r = 0;

	if (names->org_slot != key->org) {
		r = records_org_get(records, key->org, &org);
		if (r == 0) {
			names->org_slot = key->org;
			names->org = org.id;
		}
	}
	if (r == 0 && key->project && names->project_slot != key->project) {
		r = records_project_get(records, key->project, &project);
		if (r == 0) {
			names->project_slot = key->project;
			names->project = project.id;
		}
	}
	return r == 0;
}

static const char *key_state(const struct key_record *key, int64_t now_ms)
{
	if (key->revoked_ms)
		return "revoked";
	if (key->expires_ms && key->expires_ms <= now_ms)
		return "expired";
	if (key->disabled)
		return "disabled";
	return "active";
}

static json_t *show_access(const struct key_access *access, uint8_t kind)
{
	json_t *texts = json_array();

	for (unsigned i = 0; i < access->count; i++)
		if (access->at[i].kind == kind &&
		    json_array_append_new(
			    texts, json_string(access->at[i].text)) < 0) {
			json_decref(texts);
			return NULL;
		}
	return texts;
}

json_t *show_key(struct call *c, struct show_names *names,
		 const struct key_record *key)
{
	struct key_access access;
	struct key_live live;

	if (!look_up(c, names, key) ||
	    registry_key_access(c->control->registry, key, &access) != 0)
		return NULL;
	registry_key_live(c->control->registry, key->slot, &live);
	return json_pack(
		"{s:o,s:s,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:I,s:o,s:o,s:o}", "id",
		show_id(key->id), "name", key->name, "org", show_id(names->org),
		"project", key->project ? show_id(names->project) : json_null(),
		"state", key_state(key, c->now_ms), "created_at",
		show_time(key->created_ms), "expires_at",
		show_time(key->expires_ms), "revoked_at",
		show_time(key->revoked_ms), "last_used_at",
		show_time((int64_t)live.last_use_min * 60000), "used",
		(json_int_t)live.used, "scopes",
		show_access(&access, ACCESS_SCOPE), "routes",
		show_access(&access, ACCESS_ROUTE), "networks",
		show_access(&access, ACCESS_NETWORK));
}

json_t *show_key_usage(struct call *c, struct show_names *names,
		       const struct key_record *key)
{
	struct key_live live;

	if (!look_up(c, names, key))
		return NULL;
	registry_key_live(c->control->registry, key->slot, &live);
	return json_pack("{s:o,s:s,s:o,s:o,s:I,s:o}", "id", show_id(key->id),
			 "name", key->name, "org", show_id(names->org),
			 "project",
			 key->project ? show_id(names->project) : json_null(),
			 "used", (json_int_t)live.used, "last_used_at",
			 show_time((int64_t)live.last_use_min * 60000));
}

/* Rows are copied out first, so that showing one can ask the database again.
 * One row more than fits the page says that there is a next page. */
struct rows {
	void *at;
	uint32_t count, room;
};

static int add_key(const struct key_record *rec, void *arg)
{
	struct rows *rows = arg;

	if (rows->count == rows->room)
		return 1;
	((struct key_record *)rows->at)[rows->count++] = *rec;
	return 0;
}

static int add_org(const struct org_record *rec, void *arg)
{
	struct rows *rows = arg;

	if (rows->count == rows->room)
		return 1;
	((struct org_record *)rows->at)[rows->count++] = *rec;
	return 0;
}

static bool make_rows(struct call *c, struct rows *rows, size_t row_size)
{
	rows->room = c->limit + 1;
	rows->at = calloc(rows->room, row_size);
	if (!rows->at)
		reply_error(c->reply, 500, "internal", "Out of memory.");
	return rows->at != NULL;
}

bool call_key_page(struct call *c, uint32_t org,
		   json_t *(*show)(struct call *c, struct show_names *names,
				   const struct key_record *key),
		   json_t **ret_array, json_t **ret_next)
{
	struct show_names names = {0};
	struct key_record last = {0};
	struct key_record *key;
	struct rows rows = {0};
	json_t *array;
	int r;

	if (c->after && !call_find_key(c, c->after, &last))
		return false;
	if (!make_rows(c, &rows, sizeof(*key)))
		return false;
	r = records_each_key(registry_records(c->control->registry), org,
			     last.slot, rows.room, add_key, &rows);
	if (r < 0) {
		call_records_failed(c, r);
		free(rows.at);
		return false;
	}
	array = json_array();
	key = rows.at;
	for (uint32_t i = 0; i < rows.count && i < c->limit; i++)
		/* A NULL makes it fail, and the reply a 500. */
		if (json_array_append_new(array, show(c, &names, &key[i])) <
		    0) {
			json_decref(array);
			array = NULL;
			break;
		}
	*ret_array = array;
	*ret_next = rows.count > c->limit ? show_id(key[c->limit - 1].id)
					  : json_null();
	free(rows.at);
	return true;
}

bool call_org_page(struct call *c,
		   json_t *(*show)(struct call *c,
				   const struct org_record *org),
		   json_t **ret_array, json_t **ret_next)
{
	struct org_record last = {0};
	struct org_record *org;
	struct rows rows = {0};
	json_t *array;
	int r;

	if (c->after && !call_find_org(c, c->after, &last))
		return false;
	if (!make_rows(c, &rows, sizeof(*org)))
		return false;
	r = records_each_org(registry_records(c->control->registry), last.slot,
			     rows.room, add_org, &rows);
	if (r < 0) {
		call_records_failed(c, r);
		free(rows.at);
		return false;
	}
	array = json_array();
	org = rows.at;
	for (uint32_t i = 0; i < rows.count && i < c->limit; i++)
		if (json_array_append_new(array, show(c, &org[i])) < 0) {
			json_decref(array);
			array = NULL;
			break;
		}
	*ret_array = array;
	*ret_next = rows.count > c->limit ? show_id(org[c->limit - 1].id)
					  : json_null();
	free(rows.at);
	return true;
}

const char *show_algorithm(uint8_t algorithm)
{
	static const char *const names[] = {
		[RULE_WINDOW] = "window",           [RULE_GCRA] = "gcra",
		[RULE_CONCURRENCY] = "concurrency", [EXPLAIN_BUDGET] = "budget",
		[EXPLAIN_CREDITS] = "credits",
	};

	return names[algorithm];
}

json_t *show_limit_name(const char name[static RULE_NAME_LEN])
{
	return json_stringn(name, strnlen(name, RULE_NAME_LEN));
}
