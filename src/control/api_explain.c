/* SPDX-License-Identifier: MIT */
/* What limits say: to a check that is not counted, and about one subject. */
#include "control/api_call.h"

#include "base/label.h"
#include "base/log.h"
#include "control/rule_text.h"
#include "wire/extra.h"
#include "wire/reason.h"

#include <stdio.h>
#include <string.h>

static const char *algorithm_name(uint8_t algorithm)
{
	static const char *const names[] = {
		[RULE_WINDOW] = "window",           [RULE_GCRA] = "gcra",
		[RULE_CONCURRENCY] = "concurrency", [EXPLAIN_BUDGET] = "budget",
		[EXPLAIN_CREDITS] = "credits",
	};

	return names[algorithm];
}

static json_t *show_name(const char name[static RULE_NAME_LEN])
{
	return json_stringn(name, strnlen(name, RULE_NAME_LEN));
}

/* ---- explain ---- */

static json_t *show_line(const struct explain_line *l)
{
	return json_pack(
		"{s:o,s:s,s:s,s:b,s:b,s:b,s:I,s:I,s:I,s:I,s:I}", "name",
		show_name(l->name), "level", rule_text_level(l->level),
		"algorithm", algorithm_name(l->algorithm), "shadow",
		(l->flags & EXPLAIN_SHADOW) != 0, "allowed", l->allowed != 0,
		"decided", (l->flags & EXPLAIN_DECIDED) != 0, "limit",
		(json_int_t)l->limit, "remaining", (json_int_t)l->remaining,
		"window_ms", (json_int_t)l->window_ms, "reset_ms",
		(json_int_t)l->reset_ms, "retry_ms", (json_int_t)l->retry_ms);
}

static json_t *show_verdict(const struct verdict *v)
{
	const struct reason_info *info = reason_info(v->reason);
	json_t *lines = json_array();

	for (unsigned i = 0; v->explain != NULL && i < v->explain->count; i++)
		if (json_array_append_new(
			    lines, show_line(&v->explain->lines[i])) < 0) {
			json_decref(lines);
			return NULL;
		}
	return json_pack("{s:b,s:s%,s:i,s:s%,s:o,s:o,s:o,s:o}", "allowed",
			 v->reason == REASON_ALLOW, "reason", info->word.s,
			 (size_t)info->word.len, "status", (int)info->status,
			 "message", info->message.s, (size_t)info->message.len,
			 "org", show_id(v->org), "project", show_id(v->project),
			 "key", show_id(v->key), "explain", lines);
}

/* One of the two; false when answered. */
static bool read_credential(struct call *c, const char *key, const char *key_id,
			    struct check *check)
{
	struct key_record rec;

	if (!key == !key_id) {
		call_invalid(c, "Either \"key\" or \"key_id\" is expected");
		return false;
	}
	if (key) {
		if (strlen(key) > CHECK_KEY_MAX) {
			call_invalid(c, "\"key\" has at most %d bytes",
				     CHECK_KEY_MAX);
			return false;
		}
		check->credential = CREDENTIAL_KEY;
		check->key = (const uint8_t *)key;
		check->key_len = (uint8_t)strlen(key);
		return true;
	}
	if (!call_find_key(c, key_id, &rec))
		return false;
	check->credential = CREDENTIAL_HASH;
	memcpy(check->hash, rec.hash, sizeof(check->hash));
	return true;
}

/* False when answered. */
static bool read_extra(struct call *c, const char *route, const char *scope,
		       const char *address, struct check_extra *x)
{
	if ((route && extra_route(x, route, strlen(route)) != DETAIL_NONE) ||
	    (scope && extra_scope(x, scope, strlen(scope)) != DETAIL_NONE)) {
		call_invalid(c,
			     "\"route\", \"scope\": expected up to %d "
			     "characters of printable ASCII",
			     LABEL_MAX);
		return false;
	}
	if (address &&
	    (extra_address(x, address, strlen(address)) != DETAIL_NONE ||
	     !x->has_address)) {
		call_invalid(c, "\"address\": expected an IPv4 or IPv6 "
				"address");
		return false;
	}
	return true;
}

void api_explain(struct call *c)
{
	const char *key = NULL, *key_id = NULL, *route = NULL, *scope = NULL,
		   *address = NULL;
	int64_t cost = 0;
	const struct input inputs[] = {
		{"key", INPUT_TEXT, false, &key},
		{"key_id", INPUT_TEXT, false, &key_id},
		{"cost", INPUT_COUNT, false, &cost},
		{"route", INPUT_TEXT, false, &route},
		{"scope", INPUT_TEXT, false, &scope},
		{"address", INPUT_TEXT, false, &address},
	};
	struct check_extra extra = {0};
	struct check check = {.extra = &extra};
	struct verdict v;

	if (!call_input(c, inputs, 6))
		return;
	if (cost > CHECK_COST_MAX) {
		call_invalid(c,
			     "\"cost\": expected 1 to %u, or 0 for that of "
			     "the route",
			     CHECK_COST_MAX);
		return;
	}
	if (!read_credential(c, key, key_id, &check) ||
	    !read_extra(c, route, scope, address, &extra))
		return;
	check.cost = (uint32_t)cost;
	registry_explain(c->control->registry, &check, &v);
	reply_json(c->reply, 200, show_verdict(&v));
}

/* ---- settle ---- */

static json_t *show_count(uint64_t n)
{
	return n == CREDITS_NONE ? json_null() : json_integer((json_int_t)n);
}

void api_settle(struct call *c)
{
	const char *hold = NULL;
	int64_t cost = SETTLE_AS_RESERVED;
	const struct input inputs[] = {
		{"hold", INPUT_TEXT, true, &hold},
		{"cost", INPUT_COUNT, false, &cost},
	};
	struct check_extra extra = {0};
	const struct reason_info *info;
	struct verdict v;

	if (!call_input(c, inputs, 2))
		return;
	if (cost > CHECK_COST_MAX && cost != SETTLE_AS_RESERVED) {
		call_invalid(c,
			     "\"cost\": expected 0 to %u; without it the hold "
			     "is settled as it was reserved",
			     CHECK_COST_MAX);
		return;
	}
	if (extra_hold(&extra, hold, strlen(hold)) != DETAIL_NONE) {
		call_invalid(c, "\"hold\": expected 16 hexadecimal digits");
		return;
	}
	registry_settle(c->control->registry, extra.hold, (uint32_t)cost, &v);
	if (v.reason == REASON_NO_HOLD) {
		reply_error(c->reply, 404, "not_found",
			    "There is no such hold: it was settled, or has "
			    "expired.");
		return;
	}
	info = reason_info(v.reason);
	reply_json(c->reply, 200,
		   json_pack("{s:s,s:I,s:s%,s:o,s:o,s:o,s:o}", "hold", hold,
			     "charged", (json_int_t)v.charged, "reason",
			     info->word.s, (size_t)info->word.len, "credits",
			     show_count(v.credits), "org", show_id(v.org),
			     "project", show_id(v.project), "key",
			     show_id(v.key)));
}

/* ---- one subject of one limit ---- */

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
	if (!read_extra(c, c->of.route, NULL, c->of.address, x) ||
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
			     "name", show_name(live->name), "level",
			     rule_text_level(live->level), "algorithm",
			     algorithm_name(live->algorithm), "shadow",
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
