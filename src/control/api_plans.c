/* SPDX-License-Identifier: MIT */
/* Plans, and the limits of plans and organizations. */
#include "control/api_call.h"

#include "control/rule_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_EXPECTED                                                         \
	"expected a limit such as \"100/60s\", \"gcra 10/1s burst 5\" or "     \
	"\"inflight 5 lease 30s\""

/* ---- plans as JSON ---- */

struct listing {
	json_t *array;
	const char *source;
};

static int add_rule(const struct rule_record *rule, void *arg)
{
	struct listing *l = arg;

	return json_array_append_new(l->array, show_rule(rule, l->source)) < 0;
}

static json_t *show_plan(struct call *c, const struct plan_record *plan)
{
	struct records *records = registry_records(c->control->registry);
	struct listing l = {json_array(), "plan"};
	uint64_t orgs;

	if (records_each_rule_of_plan(records, plan->slot, add_rule, &l) != 0 ||
	    records_plan_orgs(records, plan->slot, &orgs) != 0) {
		json_decref(l.array);
		return NULL;
	}
	return json_pack("{s:o,s:s,s:o,s:I,s:o}", "id", show_id(plan->id),
			 "name", plan->name, "created_at",
			 show_time(plan->created_ms), "orgs", (json_int_t)orgs,
			 "limits", l.array);
}

static void answer_plan(struct call *c, unsigned status, uint32_t slot)
{
	struct plan_record plan;
	int r = records_plan_get(registry_records(c->control->registry), slot,
				 &plan);

	if (r < 0)
		call_records_failed(c, r);
	else if (r > 0)
		call_registry_failed(c, REGISTRY_ABSENT, "plan");
	else
		reply_json(c->reply, status, show_plan(c, &plan));
}

void api_plan_create(struct call *c)
{
	const char *name = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, true, &name},
	};
	struct plan_record plan = {.slot = 0};
	int r;

	if (!call_input(c, inputs, 1))
		return;
	snprintf(plan.name, sizeof(plan.name), "%s", name);
	r = registry_plan_create(c->control->registry, &plan);
	if (r != 0)
		call_registry_failed(c, r, "plan name");
	else
		reply_json(c->reply, 201, show_plan(c, &plan));
}

struct plan_page {
	struct plan_record at[API_PAGE_MAX + 1];
	uint32_t count;
};

static int collect(const struct plan_record *plan, void *arg)
{
	struct plan_page *page = arg;

	page->at[page->count++] = *plan;
	return 0;
}

static void answer_page(struct call *c, const struct plan_page *page)
{
	json_t *plans = json_array();
	bool more = page->count > c->limit;

	for (uint32_t i = 0; i < page->count && i < c->limit; i++)
		if (json_array_append_new(plans, show_plan(c, &page->at[i])) <
		    0) {
			json_decref(plans);
			plans = NULL;
			break;
		}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o}", "plans", plans, "next",
			     more ? show_id(page->at[c->limit - 1].id)
				  : json_null()));
}

void api_plan_list(struct call *c)
{
	struct plan_record last = {.slot = 0};
	struct plan_page page = {.count = 0};
	int r;

	if (c->after && !call_find_plan(c, c->after, &last))
		return;
	r = records_each_plan(registry_records(c->control->registry), last.slot,
			      c->limit + 1, collect, &page);
	if (r < 0)
		call_records_failed(c, r);
	else
		answer_page(c, &page);
}

void api_plan_show(struct call *c)
{
	struct plan_record plan;

	if (call_find_plan(c, c->subject, &plan))
		reply_json(c->reply, 200, show_plan(c, &plan));
}

void api_plan_remove(struct call *c)
{
	struct plan_record plan;
	int r;

	if (!call_input(c, NULL, 0) || !call_find_plan(c, c->subject, &plan))
		return;
	r = registry_plan_remove(c->control->registry, plan.slot);
	if (r != 0)
		call_registry_failed(c, r, "plan");
	else
		reply_json(c->reply, 200,
			   json_pack("{s:o,s:s}", "id", show_id(plan.id),
				     "name", plan.name));
}

/* ---- limits ---- */

static bool set_level(struct call *c, const char *level,
		      struct rule_record *rule)
{
	if (!level || rule_text_parse_level(level, &rule->level))
		return true;
	call_invalid(c, "\"level\": expected org, project, key, route or "
			"address");
	return false;
}

/* deny or pass; false when answered. */
static bool set_when_full(struct call *c, const char *text,
			  struct rule_record *rule)
{
	rule->full_pass = text && strcmp(text, "pass") == 0;
	if (!text || rule->full_pass || strcmp(text, "deny") == 0)
		return true;
	call_invalid(c, "\"when_full\": expected deny or pass");
	return false;
}

/* The rule that the body describes; false when answered. */
static bool read_rule(struct call *c, struct rule_record *rule)
{
	const char *name = NULL, *limit = NULL, *level = NULL, *route = NULL,
		   *when_full = NULL;
	int64_t subjects = 0;
	const struct input inputs[] = {
		{"name", INPUT_TEXT, true, &name},
		{"limit", INPUT_TEXT, true, &limit},
		{"level", INPUT_TEXT, false, &level},
		{"route", INPUT_TEXT, false, &route},
		{"shadow", INPUT_FLAG, false, &rule->shadow},
		{"requests", INPUT_FLAG, false, &rule->requests_only},
		{"when_full", INPUT_TEXT, false, &when_full},
		{"max_subjects", INPUT_COUNT, false, &subjects},
	};

	if (!call_input(c, inputs, 8))
		return false;
	if (rule_text_parse(limit, rule) < 0) {
		call_invalid(c, "\"limit\": " LIMIT_EXPECTED);
		return false;
	}
	if (!set_level(c, level, rule) || !set_when_full(c, when_full, rule))
		return false;
	if (strlen(name) > RULE_NAME_LEN ||
	    (route && strlen(route) > ROUTE_MAX_BYTES)) {
		call_invalid(c, "\"name\" has at most %d bytes, \"route\" %d",
			     RULE_NAME_LEN, ROUTE_MAX_BYTES);
		return false;
	}
	rule->max_subjects = subjects > RULE_SUBJECTS_MAX
				     ? RULE_SUBJECTS_MAX + 1 /* refused */
				     : (uint32_t)subjects;
	snprintf(rule->name, sizeof(rule->name), "%s", name);
	snprintf(rule->route, sizeof(rule->route), "%s", route ? route : "");
	return true;
}

void api_plan_rule_set(struct call *c)
{
	struct rule_record rule = {.level = LEVEL_ORG};
	struct plan_record plan;
	int r;

	if (!read_rule(c, &rule) || !call_find_plan(c, c->subject, &plan))
		return;
	rule.plan = plan.slot;
	r = registry_rule_set(c->control->registry, &rule);
	if (r != 0)
		call_registry_failed(c, r, "plan");
	else
		answer_plan(c, 200, plan.slot);
}

void api_plan_rule_remove(struct call *c)
{
	const char *name = NULL;
	const struct input inputs[] = {
		{"name", INPUT_TEXT, true, &name},
	};
	struct plan_record plan;
	int r;

	if (!call_input(c, inputs, 1) || !call_find_plan(c, c->subject, &plan))
		return;
	r = registry_rule_remove(c->control->registry, plan.slot, 0, name);
	if (r != 0)
		call_registry_failed(c, r, "limit");
	else
		answer_plan(c, 200, plan.slot);
}

/* Where an organization has it from. */
static const char *source_of(const struct rule_record *rule,
			     const struct org_record *org)
{
	if (rule->org != 0)
		return "org";
	if (rule->plan != 0)
		return "plan";
	/* The one that is there without a record. */
	return org->limit_own ? "org" : "default";
}

static int add_off(const struct rule_record *rule, void *arg)
{
	if (rule->removed &&
	    json_array_append_new(arg, json_string(rule->name)) < 0)
		return -ENOMEM;
	return 0;
}

/* Names of the limits that the organization has taken away. NULL: it failed. */
static json_t *rules_off(struct call *c, const struct org_record *org)
{
	json_t *array = json_array();

	if (records_each_rule_of_org(registry_records(c->control->registry),
				     org->slot, add_off, array) == 0)
		return array;
	json_decref(array);
	return NULL;
}

static void answer_rules(struct call *c, const struct org_record *org)
{
	struct effective rules;
	json_t *array;
	int r = registry_org_rules(c->control->registry, org, &rules);

	if (r != 0) {
		call_registry_failed(c, r, "organization");
		return;
	}
	array = json_array();
	for (unsigned i = 0; i < rules.count; i++)
		if (json_array_append_new(
			    array, show_rule(&rules.rules[i],
					     source_of(&rules.rules[i], org))) <
		    0) {
			json_decref(array);
			array = NULL;
			break;
		}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o,s:o}", "org", show_id(org->id), "limits",
			     array, "off", rules_off(c, org)));
}

void api_org_rules(struct call *c)
{
	struct org_record org;

	if (call_find_org(c, c->subject, &org))
		answer_rules(c, &org);
}

/* After a change of the organization's own limits. */
static void answer_changed(struct call *c, int r, uint32_t slot,
			   const char *what)
{
	struct org_record org;

	if (r == 0 && records_org_get(registry_records(c->control->registry),
				      slot, &org) != 0)
		r = REGISTRY_ABSENT;
	if (r != 0)
		call_registry_failed(c, r, what);
	else
		answer_rules(c, &org);
}

void api_org_rule_set(struct call *c)
{
	struct rule_record rule = {.level = LEVEL_ORG};
	struct org_record org;

	if (!read_rule(c, &rule) || !call_find_org(c, c->subject, &org))
		return;
	rule.org = org.slot;
	answer_changed(c, registry_rule_set(c->control->registry, &rule),
		       org.slot, "organization");
}

void api_org_rule_remove(struct call *c)
{
	const char *name = NULL;
	const struct input inputs[] = {
		{"name", INPUT_TEXT, true, &name},
	};
	struct org_record org;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	answer_changed(
		c,
		registry_rule_remove(c->control->registry, 0, org.slot, name),
		org.slot, "limit");
}
