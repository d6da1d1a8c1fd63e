/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include <stdio.h>
#include <stdlib.h>

/* Answers with the organization as the database has it now. */
static void answer_org(struct call *c, unsigned status, uint32_t slot)
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
	const char *name = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, true, &name},
		{"limit", INPUT_LIMIT, false, &limit},
	};
	struct org_record org = {0};
	int r;

	if (!call_input(c, inputs, 2))
		return;
	snprintf(org.name, sizeof(org.name), "%s", name);
	org.limit = limit.limit;
	org.window_ms = limit.window_ms;
	r = registry_org_create(c->control->registry, &org, 0);
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

void api_org_change(struct call *c)
{
	struct input_limit limit = {0};
	const struct input inputs[] = {
		{"limit", INPUT_LIMIT, true, &limit},
	};
	struct org_record org;
	int r;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	r = registry_org_set_limit(c->control->registry, org.slot, limit.limit,
				   limit.window_ms);
	if (r != 0)
		call_registry_failed(c, r, "organization");
	else
		answer_org(c, 200, org.slot);
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
		answer_org(c, 200, org.slot);
}

void api_org_suspend(struct call *c)
{
	set_suspended(c, true);
}

void api_org_resume(struct call *c)
{
	set_suspended(c, false);
}

void api_project_create(struct call *c)
{
	const char *name = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, true, &name},
	};
	struct project_record project = {0};
	struct org_record org;
	int r;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	project.org = org.slot;
	snprintf(project.name, sizeof(project.name), "%s", name);
	r = registry_project_create(c->control->registry, &project);
	if (r != 0)
		call_registry_failed(c, r, "project name");
	else
		reply_json(c->reply, 201, show_project(&project, org.id));
}

struct project_page {
	json_t *array;
	struct id org, last;
	uint32_t room;
	bool more, failed;
};

static int add_project(const struct project_record *project, void *arg)
{
	struct project_page *page = arg;

	if (page->room == 0) {
		page->more = true;
		return 1;
	}
	page->room--;
	page->last = project->id;
	page->failed =
		json_array_append_new(page->array,
				      show_project(project, page->org)) < 0;
	return page->failed;
}

void api_project_list(struct call *c)
{
	struct records *records = registry_records(c->control->registry);
	struct project_page page = {.room = c->limit};
	struct project_record last = {0};
	struct org_record org;
	int r;

	if (!call_find_org(c, c->subject, &org))
		return;
	if (c->after) {
		r = records_project_find(records, org.slot, c->after, &last);
		if (r < 0) {
			call_records_failed(c, r);
			return;
		}
		if (r > 0) {
			reply_error(c->reply, 404, "not_found",
				    "There is no such project to go on "
				    "after.");
			return;
		}
	}
	page.org = org.id;
	page.array = json_array();
	r = records_each_project(records, org.slot, last.slot, c->limit + 1,
				 add_project, &page);
	if (r < 0 || page.failed) {
		json_decref(page.array);
		if (r < 0)
			call_records_failed(c, r);
		else
			reply_json(c->reply, 500, NULL);
		return;
	}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o}", "projects", page.array, "next",
			     page.more ? show_id(page.last) : json_null()));
}
