/* SPDX-License-Identifier: MIT */
#include "control/api_usage.h"

#include "base/rfc3339.h"
#include "control/config.h"
#include "state/period.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- totals, of any time ---- */

static void answer_totals(struct call *c)
{
	struct org_record org;
	json_t *orgs;
	json_t *keys;
	json_t *next;

	if (!c->org) {
		if (!call_org_page(c, show_org_usage, &orgs, &next))
			return;
		keys = json_array();
	} else {
		if (!call_find_org(c, c->org, &org) ||
		    !call_key_page(c, org.slot, show_key_usage, &keys, &next))
			return;
		orgs = json_pack("[o]", show_org_usage(c, &org));
	}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o,s:o}", "orgs", orgs, "keys", keys,
			     "next", next));
}

/* ---- what is asked for ---- */

static const char *const by_names[] = {
	[USAGE_BY_PROJECT] = "project",
	[USAGE_BY_KEY] = "key",
	[USAGE_BY_ROUTE] = "route",
	[USAGE_BY_HOUR] = "hour",
};
#define BY_COUNT (sizeof(by_names) / sizeof(by_names[0]))

static bool read_by(struct call *c, enum usage_by *ret_by)
{
	for (size_t i = 0; i < BY_COUNT; i++)
		if (strcmp(c->by, by_names[i]) == 0) {
			*ret_by = (enum usage_by)i;
			return true;
		}
	call_invalid(c, "Parameter \"by\": expected one of project, key, "
			"route, hour");
	return false;
}

/* RFC 3339, or "-7d": that long ago. */
static bool read_time(struct call *c, const char *name, const char *text,
		      int64_t *ret_ms)
{
	uint64_t ago_ms;

	if (text == NULL)
		return true;
	if (text[0] == '-' && config_parse_duration(text + 1, &ago_ms) == 0) {
		*ret_ms = ago_ms < (uint64_t)c->now_ms
				  ? c->now_ms - (int64_t)ago_ms
				  : 0;
		return true;
	}
	if (rfc3339_parse(text, ret_ms) == 0)
		return true;
	call_invalid(c,
		     "Parameter \"%s\": expected an RFC 3339 time, or how long "
		     "ago, such as -7d",
		     name);
	return false;
}

#define HOUR_TEXT 24

/* Hours are named by the time at which they begin. */
static bool read_after(struct call *c, struct usage_query *q,
		       char hour[static HOUR_TEXT])
{
	int64_t ms;

	q->after = c->after;
	if (q->by != USAGE_BY_HOUR || c->after == NULL)
		return true;
	if (rfc3339_parse(c->after, &ms) < 0) {
		call_invalid(c, "Parameter \"after\": expected the hour of a "
				"row");
		return false;
	}
	snprintf(hour, HOUR_TEXT, "%08lld", (long long)(ms / USAGE_HOUR_MS));
	q->after = hour;
	return true;
}

static bool read_format(struct call *c, bool *ret_csv)
{
	*ret_csv = c->format != NULL && strcmp(c->format, "csv") == 0;
	if (c->format == NULL || *ret_csv || strcmp(c->format, "json") == 0)
		return true;
	call_invalid(c, "Parameter \"format\": expected json or csv");
	return false;
}

/* ---- a row ---- */

static json_t *show_budgets(struct call *c, uint32_t project)
{
	struct budget_live all[PROJECT_BUDGETS_MAX];
	unsigned count =
		registry_project_budgets(c->control->registry, project, all);
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(
			array,
			json_pack("{s:i,s:s,s:I,s:I,s:o}", "index",
				  (int)all[i].index, "period",
				  period_kind_name(
					  (enum period_kind)all[i].period),
				  "cap", (json_int_t)all[i].cap, "used",
				  (json_int_t)all[i].used, "ends_at",
				  show_time(all[i].ends_ms)));
	return array;
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *begin_project(const struct usage_report *r, const char *group)
{
	struct records *records = registry_records(r->c->control->registry);
	struct project_record p;

	if (group[0] == '\0' ||
	    records_project_find(records, r->org->slot, group, &p) != 0)
		return json_pack("{s:o,s:n,s:[]}", "project",
				 text_or_null(group), "name", "budgets");
	return json_pack("{s:s,s:s,s:o}", "project", group, "name", p.name,
			 "budgets", show_budgets(r->c, p.slot));
}

static json_t *begin_key(const struct usage_report *r,
			 const struct usage_row *row)
{
	struct records *records = registry_records(r->c->control->registry);
	struct key_record key;
	bool known = records_key_find(records, row->group, &key) == 0;

	return json_pack("{s:s,s:o,s:o}", "key", row->group, "name",
			 known ? json_string(key.name) : json_null(), "project",
			 show_id(row->project));
}

static json_t *begin_row(const struct usage_report *r,
			 const struct usage_row *row)
{
	switch (r->by) {
	case USAGE_BY_PROJECT:
		return begin_project(r, row->group);
	case USAGE_BY_KEY:
		return begin_key(r, row);
	case USAGE_BY_ROUTE:
		return json_pack("{s:o}", "route", text_or_null(row->group));
	case USAGE_BY_HOUR:
		break;
	}
	return json_pack(
		"{s:o}", "hour",
		show_time(strtoll(row->group, NULL, 10) * USAGE_HOUR_MS));
}

static json_t *sums(const struct usage_row *row)
{
	uint64_t denied = 0;

	for (int d = 0; d < DENIAL_COUNT; d++)
		denied += row->denied[d];
	return json_pack(
		"{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "checks",
		(json_int_t)row->checks, "units", (json_int_t)row->units,
		"returned", (json_int_t)row->returned, "denied",
		(json_int_t)denied, "denied_rate",
		(json_int_t)row->denied[DENIAL_RATE], "denied_cost",
		(json_int_t)row->denied[DENIAL_COST], "denied_suspended",
		(json_int_t)row->denied[DENIAL_SUSPENDED], "denied_access",
		(json_int_t)row->denied[DENIAL_ACCESS], "denied_budget",
		(json_int_t)row->denied[DENIAL_BUDGET], "denied_credits",
		(json_int_t)row->denied[DENIAL_CREDITS]);
}

static void add_row(const struct usage_row *row, void *arg)
{
	struct usage_report *r = arg;
	json_t *object = begin_row(r, row), *rest = sums(row);

	/* What cannot be made makes it fail, and the reply a 500. */
	if (r->rows != NULL && (json_object_update(object, rest) < 0 ||
				json_array_append(r->rows, object) < 0)) {
		json_decref(r->rows);
		r->rows = NULL;
	}
	json_decref(object);
	json_decref(rest);
}

/* ---- the answer ---- */

static json_t *next_of(const struct usage_report *r, bool more)
{
	const json_t *last =
		json_array_get(r->rows, json_array_size(r->rows) - 1);
	const char *group =
		json_string_value(json_object_get(last, by_names[r->by]));

	/* Nothing is behind "none" but what has a name. */
	return more ? json_string(group ? group : "") : json_null();
}

static void answer_report(struct call *c)
{
	struct usage_query q = {
		.to_ms = INT64_MAX / 2, .max = c->limit, .now_ms = c->now_ms};
	struct usage_report report = {.c = c};
	char err[USAGE_ERROR_MAX] = "", hour[HOUR_TEXT];
	struct org_record org;
	bool more, csv;
	int r;

	if (!c->org) {
		call_invalid(c, "Parameter \"org\": expected with \"by\"");
		return;
	}
	if (!read_by(c, &q.by) || !read_time(c, "from", c->from, &q.from_ms) ||
	    !read_time(c, "to", c->to, &q.to_ms) || !read_after(c, &q, hour) ||
	    !read_format(c, &csv) || !call_find_org(c, c->org, &org))
		return;
	if (q.from_ms > q.to_ms) {
		call_invalid(c, "Parameter \"from\": expected no later than "
				"\"to\"");
		return;
	}
	q.org = org.slot;
	q.org_id = org.id;
	report.org = &org;
	report.by = q.by;
	report.rows = json_array();
	r = usage_read(c->control->usage,
		       registry_records(c->control->registry), &q, add_row,
		       &report, &more, err, sizeof(err));
	if (r == -ETIMEDOUT)
		call_invalid(c, "%s", err);
	else if (r < 0)
		reply_error(c->reply, 500, "internal", "%s", err);
	else if (csv && report.rows != NULL)
		usage_csv(&report);
	else
		reply_json(
			c->reply, 200,
			json_pack(
				"{s:o,s:s,s:o,s:o,s:O,s:o}", "org",
				show_id(org.id), "by", by_names[q.by], "from",
				show_time(q.from_ms / USAGE_HOUR_MS *
					  USAGE_HOUR_MS),
				"to",
				c->to ? show_time(
						(q.to_ms + USAGE_HOUR_MS - 1) /
						USAGE_HOUR_MS * USAGE_HOUR_MS)
				      : json_null(),
				"rows", report.rows, "next",
				next_of(&report, more)));
	if (r < 0 && r != -ETIMEDOUT)
		call_log_failure(r, err);
	json_decref(report.rows);
}

void api_usage(struct call *c)
{
	if (c->by)
		answer_report(c);
	else if (c->from || c->to || c->format)
		call_invalid(c, "Parameter \"by\": expected with \"from\", "
				"\"to\" and \"format\"");
	else
		answer_totals(c);
}
