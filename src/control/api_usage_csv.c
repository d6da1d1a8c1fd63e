/* SPDX-License-Identifier: MIT */
#include "control/api_usage.h"

#include <string.h>

static const char *const sums[] = {
	"checks",        "units",         "returned",
	"denied_rate",   "denied_cost",   "denied_suspended",
	"denied_access", "denied_budget", "denied_credits"};

#define BUDGET_TITLES                                                          \
	",budget_used,budget_cap,budget_period"                                \
	",budget1_used,budget1_cap,budget1_period"

static const char *const names[][4] = {
	[USAGE_BY_PROJECT] = {"project", "name", NULL},
	[USAGE_BY_KEY] = {"key", "name", "project", NULL},
	[USAGE_BY_ROUTE] = {"route", NULL},
	[USAGE_BY_HOUR] = {"hour", NULL},
};

/* Quoted where need be; null is empty. */
static void add_text(struct buf *out, const char *text)
{
	if (text == NULL)
		return;
	if (text[strcspn(text, ",\"\r\n")] == '\0') {
		buf_text(out, text);
		return;
	}
	buf_text(out, "\"");
	for (; *text; text++) {
		if (*text == '"')
			buf_text(out, "\"");
		buf_add(out, text, 1);
	}
	buf_text(out, "\"");
}

/* Of the budgets in their order; a project has each, or not. */
static void add_budgets(struct buf *out, const json_t *row)
{
	const json_t *budgets = json_object_get(row, "budgets"), *budget;
	size_t at = 0;

	for (json_int_t i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		budget = json_array_get(budgets, at);
		if (budget == NULL ||
		    json_integer_value(json_object_get(budget, "index")) != i) {
			buf_text(out, ",,,");
			continue;
		}
		buf_printf(
			out, ",%lld,%lld,%s",
			(long long)json_integer_value(
				json_object_get(budget, "used")),
			(long long)json_integer_value(
				json_object_get(budget, "cap")),
			json_string_value(json_object_get(budget, "period")));
		at++;
	}
}

void usage_csv(const struct usage_report *r)
{
	struct buf *out = &r->c->reply->body;
	const char *const *name = names[r->by];
	size_t at;
	json_t *row;

	reply_text(r->c->reply, 200, "text/csv; charset=utf-8", "");
	for (size_t i = 0; name[i] != NULL; i++)
		buf_printf(out, "%s,", name[i]);
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
		buf_printf(out, "%s%s", i ? "," : "", sums[i]);
	if (r->by == USAGE_BY_PROJECT)
		buf_text(out, BUDGET_TITLES);
	buf_text(out, "\r\n");
	json_array_foreach(r->rows, at, row)
	{
		for (size_t i = 0; name[i] != NULL; i++) {
			add_text(out, json_string_value(
					      json_object_get(row, name[i])));
			buf_text(out, ",");
		}
		for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
			buf_printf(out, "%s%lld", i ? "," : "",
				   (long long)json_integer_value(
					   json_object_get(row, sums[i])));
		if (r->by == USAGE_BY_PROJECT)
			add_budgets(out, row);
		buf_text(out, "\r\n");
	}
}
