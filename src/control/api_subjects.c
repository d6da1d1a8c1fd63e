/* SPDX-License-Identifier: MIT */
/* One subject of one limit. */
#include "control/api_call.h"

#include "base/label.h"
#include "base/log.h"
#include "control/rule_text.h"
#include "wire/extra.h"

#include <string.h>

/* The key, of this organization; false when answered. */
static bool subject_key(struct call *c, const struct org_record *org,
			struct subject_query *q)
{
	struct key_record key;

	if (!c->of.key)
		return true;
	if (!call_find_key(c, c->of.key, &key))
		return false;
	if (key.org != org->slot) {
		reply_error(c->reply, 404, "not_found",
			    "The organization has no key with this id.");
		return false;
	}
	q->key = key.slot;
	return true;
}

static bool subject_project(struct call *c, const struct org_record *org,
			    struct subject_query *q)
{
	struct project_record project;
	int r;

	if (!c->of.project)
		return true;
	r = records_project_find(registry_records(c->control->registry),
				 org->slot, c->of.project, &project);
	if (r < 0)
		call_records_failed(c, r);
	else if (r > 0)
		reply_error(c->reply, 404, "not_found",
			    "The organization has no project with this id or "
			    "name.");
	else
		q->project = project.slot;
	return r == 0;
}

/* What c->of says, looked up; false when answered. */
static bool read_subject(struct call *c, struct check_extra *x,
			 struct subject_query *q)
{
	struct org_record org;

	if (!c->of.name) {
		call_invalid(c, "Parameter \"name\": missing");
		return false;
	}
	if (!call_extra(c, c->of.route, NULL, c->of.address, x) ||
	    !call_find_org(c, c->subject, &org) || !subject_key(c, &org, q) ||
	    !subject_project(c, &org, q))
		return false;
	q->org = org.slot;
	q->name = c->of.name;
	q->route = x->route_hash;
	q->address = x->has_address ? x->address : NULL;
	return true;
}

static void answer_subject(struct call *c, int r,
			   const struct subject_live *live)
{
	if (r != 0) {
		call_registry_failed(c, r, "limit");
		return;
	}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
			     "name", show_limit_name(live->name), "level",
			     rule_text_level(live->level), "algorithm",
			     show_algorithm(live->algorithm), "shadow",
			     live->shadow, "limit", (json_int_t)live->limit,
			     "used", (json_int_t)live->used, "remaining",
			     (json_int_t)live->remaining, "window_ms",
			     (json_int_t)live->window_ms, "reset_ms",
			     (json_int_t)live->reset_ms, "retry_ms",
			     (json_int_t)live->retry_ms, "denied",
			     (json_int_t)live->tripped));
}

void api_limit_show(struct call *c)
{
	struct subject_query q = {.org = 0};
	struct check_extra x = {0};
	struct subject_live live;

	if (read_subject(c, &x, &q))
		answer_subject(
			c,
			registry_subject_show(c->control->registry, &q, &live),
			&live);
}

void api_limit_reset(struct call *c)
{
	const struct input inputs[] = {
		{"name", INPUT_TEXT, true, &c->of.name},
		{"key", INPUT_TEXT, false, &c->of.key},
		{"project", INPUT_TEXT, false, &c->of.project},
		{"route", INPUT_TEXT, false, &c->of.route},
		{"address", INPUT_TEXT, false, &c->of.address},
	};
	struct subject_query q = {.org = 0};
	struct check_extra x = {0};
	struct subject_live live;
	int r;

	if (!call_input(c, inputs, 5) || !read_subject(c, &x, &q))
		return;
	r = registry_subject_reset(c->control->registry, &q, &live);
	if (r == 0)
		log_event(LOG_LEVEL_INFO, "limit_reset", "limit=%s level=%s",
			  c->of.name, rule_text_level(live.level));
	answer_subject(c, r, &live);
}
