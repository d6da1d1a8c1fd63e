/* SPDX-License-Identifier: MIT */
#include "control/api_usage.h"

#include <string.h>

static const char *const sums[] = {
	"checks",        "units",         "returned",
	"denied_rate",   "denied_cost",   "denied_suspended",
	"denied_access", "denied_budget", "denied_credits"};

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
		buf_text(out, "\r\n");
	}
}
