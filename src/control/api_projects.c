/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include "control/rule_text.h"

#include <stdio.h>
#include <string.h>

#define BUDGET_EXPECTED                                                        \
	"expected a budget such as \"1000/month\": a number of units per "     \
	"day, week, month or billing (period), or \"none\""

void api_project_create(struct call *c)
{
	const char *name = NULL, *text = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, true, &name},
		{"budget", INPUT_TEXT, false, &text},
	};
	struct budget_record budget = {.idx = 0};
	struct project_record project = {0};
	struct org_record org;
	int r;

	if (!call_input(c, inputs, 2))
		return;
	if (text &&
	    budget_text_parse(text, &budget.units, &budget.period) < 0) {
		call_invalid(c, "\"budget\": " BUDGET_EXPECTED);
		return;
	}
	if (!call_find_org(c, c->subject, &org))
		return;
	project.org = org.slot;
	snprintf(project.name, sizeof(project.name), "%s", name);
	r = registry_project_create_capped(c->control->registry, &project,
					   &budget, text != NULL);
	if (r != 0)
		call_registry_failed(c, r, "project name");
	else
		reply_json(c->reply, 201, show_project(c, &project, org.id));
}

/* Changes a budget; `text` "none" takes it away. */
static int set_budget(struct call *c, const struct project_record *project,
		      struct budget_record *budget, const char *text)
{
	struct registry *g = c->control->registry;
	int r;

	budget->project = project->slot;
	if (strcmp(text, "none") != 0)
		return registry_budget_set(g, budget);
	r = registry_budget_remove(g, project->slot, budget->idx);
	return r == REGISTRY_ABSENT ? 0 : r;
}

void api_project_budget(struct call *c)
{
	struct records *records = registry_records(c->control->registry);
	struct budget_record budget = {.idx = 0};
	struct project_record project;
	struct org_record org;
	const char *text = NULL;
	int64_t index = 0;
	const struct input inputs[] = {
		{"budget", INPUT_TEXT, true, &text},
		{"index", INPUT_COUNT, false, &index},
	};
	int r;

	if (!call_input(c, inputs, 2))
		return;
	if (strcmp(text, "none") != 0 &&
	    budget_text_parse(text, &budget.units, &budget.period) < 0) {
		call_invalid(c, "\"budget\": " BUDGET_EXPECTED);
		return;
	}
	if (index >= PROJECT_BUDGETS_MAX) {
		call_invalid(c, "\"index\": expected 0..%d",
			     PROJECT_BUDGETS_MAX - 1);
		return;
	}
	budget.idx = (uint8_t)index;
	r = records_project_find(records, 0, c->subject, &project);
	if (r > 0)
		r = REGISTRY_ABSENT;
	if (r < 0) {
		call_records_failed(c, r);
		return;
	}
	if (r == 0)
		r = set_budget(c, &project, &budget, text);
	if (r == 0 && records_org_get(records, project.org, &org) != 0)
		r = REGISTRY_ABSENT;
	if (r != 0)
		call_registry_failed(c, r, "project");
	else
		reply_json(c->reply, 200, show_project(c, &project, org.id));
}

struct project_page {
	struct call *call;
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
	page->failed = json_array_append_new(page->array,
					     show_project(page->call, project,
							  page->org)) < 0;
	return page->failed;
}

void api_project_list(struct call *c)
{
	struct records *records = registry_records(c->control->registry);
	struct project_page page = {.call = c, .room = c->limit};
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
