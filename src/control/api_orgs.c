/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include <stdio.h>
#include <stdlib.h>

void call_answer_org(struct call *c, unsigned status, uint32_t slot)
{
	struct org_record org;
	int r = records_org_get(registry_records(c->control->registry), slot,
				&org);

	if (r < 0)
		call_records_failed(c, r);
	else if (r > 0)
		call_registry_failed(c, REGISTRY_ABSENT, "organization");
	else
		reply_json(c->reply, status, show_org(c, &org));
}

void api_org_create(struct call *c)
{
	struct input_limit limit = {0};
	const char *name = NULL, *plan_name = NULL;
	int64_t credits = -1;
	const struct input inputs[] = {
		{"name", INPUT_NAME, true, &name},
		{"limit", INPUT_LIMIT, false, &limit},
		{"plan", INPUT_TEXT, false, &plan_name},
		{"credits", INPUT_COUNT, false, &credits},
	};
	struct plan_record plan = {.slot = PLAN_DEFAULT};
	struct org_record org = {0};
	int r;

	if (!call_input(c, inputs, 4) ||
	    (plan_name && !call_find_plan(c, plan_name, &plan)))
		return;
	snprintf(org.name, sizeof(org.name), "%s", name);
	org.limit = limit.limit;
	org.window_ms = limit.window_ms;
	org.plan = plan.slot;
	org.credits = credits >= 0;
	r = registry_org_create(c->control->registry, &org,
				credits > 0 ? (uint64_t)credits : 0);
	if (r != 0)
		call_registry_failed(c, r, "organization name");
	else
		reply_json(c->reply, 201, show_org(c, &org));
}

void api_org_list(struct call *c)
{
	json_t *orgs;
	json_t *next;

	if (call_org_page(c, show_org, &orgs, &next))
		reply_json(c->reply, 200,
			   json_pack("{s:o,s:o}", "orgs", orgs, "next", next));
}

void api_org_show(struct call *c)
{
	struct org_record org;

	if (call_find_org(c, c->subject, &org))
		reply_json(c->reply, 200, show_org(c, &org));
}

/* What a change may be about; one thing at a time, so that it is one durable
 * step. */
struct org_input {
	struct input_limit limit;
	const char *plan;
	int64_t anchor_day;
	const char *zone;
};

static int change_org(struct call *c, const struct org_record *org,
		      const struct org_input *in, uint32_t plan)
{
	struct registry *g = c->control->registry;

	if (in->limit.limit)
		return registry_org_set_limit(g, org->slot, in->limit.limit,
					      in->limit.window_ms);
	if (plan)
		return registry_org_set_plan(g, org->slot, plan);
	return registry_org_set_billing(g, org->slot,
					in->anchor_day < 0 ? org->anchor_day
					: in->anchor_day > 31
						? 0 /* refused by name */
						: (uint8_t)in->anchor_day,
					in->zone ? in->zone : org->timezone);
}

void api_org_change(struct call *c)
{
	struct org_input in = {.anchor_day = -1};
	const struct input inputs[] = {
		{"limit", INPUT_LIMIT, false, &in.limit},
		{"plan", INPUT_TEXT, false, &in.plan},
		{"anchor_day", INPUT_COUNT, false, &in.anchor_day},
		{"timezone", INPUT_TEXT, false, &in.zone},
	};
	struct plan_record plan = {.slot = 0};
	struct org_record org;
	int r;

	if (!call_input(c, inputs, 4))
		return;
	if ((in.limit.limit != 0) + (in.plan != NULL) +
		    (in.anchor_day >= 0 || in.zone != NULL) !=
	    1) {
		call_invalid(c, "Expected one of \"limit\", \"plan\", and "
				"\"anchor_day\" with \"timezone\"");
		return;
	}
	if (!call_find_org(c, c->subject, &org) ||
	    (in.plan && !call_find_plan(c, in.plan, &plan)))
		return;
	r = change_org(c, &org, &in, plan.slot);
	if (r != 0)
		call_registry_failed(c, r, "organization");
	else
		call_answer_org(c, 200, org.slot);
}

static void set_suspended(struct call *c, bool suspended)
{
	struct org_record org;
	int r;

	if (!call_input(c, NULL, 0) || !call_find_org(c, c->subject, &org))
		return;
	r = registry_org_set_suspended(c->control->registry, org.slot,
				       suspended);
	if (r != 0)
		call_registry_failed(c, r, "organization");
	else
		call_answer_org(c, 200, org.slot);
}

void api_org_suspend(struct call *c)
{
	set_suspended(c, true);
}

void api_org_resume(struct call *c)
{
	set_suspended(c, false);
}
