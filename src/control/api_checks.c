/* SPDX-License-Identifier: MIT */
/* Checks and what becomes of them: decided, explained, settled by the control
 * thread (registry_check()). */
#include "control/api_call.h"

#include "control/rule_text.h"
#include "wire/extra.h"
#include "wire/reason.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOLD_HEX_LEN 16

/* ---- what is asked ---- */

/* What a check and an explanation have in common. */
struct question {
	const char *key, *key_id, *route, *scope, *address;
	uint8_t key_hash[32];
	int64_t cost;
	struct check_extra extra;
	struct check check;
};
#define QUESTION_INPUTS(q)                                                     \
	{"key", INPUT_TEXT, false, &(q).key},                                  \
		{"key_id", INPUT_TEXT, false, &(q).key_id},                    \
		{"key_hash", INPUT_HASH, false, (q).key_hash},                 \
		{"cost", INPUT_COUNT, false, &(q).cost},                       \
		{"route", INPUT_TEXT, false, &(q).route},                      \
		{"scope", INPUT_TEXT, false, &(q).scope},                      \
	{                                                                      \
		"address", INPUT_TEXT, false, &(q).address                     \
	}

/* One of the three; false when answered. */
static bool read_credential(struct call *c, struct question *q)
{
	bool hash = json_is_string(json_object_get(c->body, "key_hash"));
	struct key_record rec;

	if ((q->key != NULL) + (q->key_id != NULL) + hash != 1) {
		call_invalid(c, "One of \"key\", \"key_id\" and \"key_hash\" "
				"is expected");
		return false;
	}
	if (q->key) {
		if (strlen(q->key) > CHECK_KEY_MAX) {
			call_invalid(c, "\"key\" has at most %d bytes",
				     CHECK_KEY_MAX);
			return false;
		}
		q->check.credential = CREDENTIAL_KEY;
		q->check.key = (const uint8_t *)q->key;
		q->check.key_len = (uint8_t)strlen(q->key);
		return true;
	}
	if (q->key_id && !call_find_key(c, q->key_id, &rec))
		return false;
	q->check.credential = CREDENTIAL_HASH;
	memcpy(q->check.hash, hash ? q->key_hash : rec.hash,
	       sizeof(q->check.hash));
	return true;
}

bool call_extra(struct call *c, const char *route, const char *scope,
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

/* What was read becomes a check; false when answered. */
static bool read_question(struct call *c, struct question *q)
{
	if (q->cost > CHECK_COST_MAX) {
		call_invalid(c,
			     "\"cost\": expected 1 to %u, or 0 for that of "
			     "the route",
			     CHECK_COST_MAX);
		return false;
	}
	q->check.cost = (uint32_t)q->cost;
	q->check.extra = &q->extra;
	return read_credential(c, q) &&
	       call_extra(c, q->route, q->scope, q->address, &q->extra);
}

/* ---- what is answered ---- */

static json_t *show_line(const struct explain_line *l)
{
	return json_pack(
		"{s:o,s:s,s:s,s:b,s:b,s:b,s:I,s:I,s:I,s:I,s:I}", "name",
		show_limit_name(l->name), "level", rule_text_level(l->level),
		"algorithm", show_algorithm(l->algorithm), "shadow",
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

/* ---- explain ---- */

void api_explain(struct call *c)
{
	struct question q = {.key = NULL};
	const struct input inputs[] = {QUESTION_INPUTS(q)};
	struct verdict v;

	if (!call_input(c, inputs, sizeof(inputs) / sizeof(inputs[0])) ||
	    !read_question(c, &q))
		return;
	registry_explain(c->control->registry, &q.check, &v);
	reply_json(c->reply, 200, show_verdict(&v));
}

/* ---- check ---- */

static json_t *show_count(uint64_t n)
{
	return n == CREDITS_NONE ? json_null() : json_integer((json_int_t)n);
}

static json_t *show_hold(uint64_t hold)
{
	char hex[HOLD_HEX_LEN + 1];

	if (hold == 0)
		return json_null();
	snprintf(hex, sizeof(hex), "%016" PRIx64, hold);
	return json_string(hex);
}

/* All that a reply over a socket says; NULL when memory is short. */
static json_t *show_decided(const struct check *check, const struct verdict *v)
{
	bool known = !id_is_none(v->org);
	json_t *out = show_verdict(v), *more;

	more = json_pack(
		"{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:I,s:o,s:o}",
		"limit_name",
		known && v->limit_name[0] != '\0'
			? show_limit_name(v->limit_name)
			: json_null(),
		"limit", (json_int_t)v->limit, "remaining",
		(json_int_t)v->remaining, "window_ms", (json_int_t)v->window_ms,
		"reset_ms", (json_int_t)v->reset_ms, "retry_ms",
		(json_int_t)v->retry_ms, "charged", (json_int_t)v->charged,
		"repeated", (v->flags & VERDICT_REPEATED) != 0, "hold",
		show_hold(v->hold), "hold_ms", (json_int_t)v->hold_ms,
		"credits", show_count(known ? v->credits : CREDITS_NONE),
		"budget", show_count(known ? v->budget : CREDITS_NONE));
	if (!(check->flags & CHECK_EXPLAIN))
		json_object_del(out, "explain");
	if (json_object_update_new(out, more) == 0)
		return out;
	json_decref(out);
	return NULL;
}

/* When the hold that is asked for ends; false when answered. */
static bool read_reserve(struct call *c, bool reserve, uint64_t hold_ms,
			 struct question *q)
{
	if (!json_is_string(json_object_get(c->body, "hold_time")))
		return true;
	if (!reserve || hold_ms == 0 || hold_ms > CHECK_HOLD_MS_MAX) {
		call_invalid(c, "\"hold_time\": expected 1ms to 31d, with "
				"\"reserve\"");
		return false;
	}
	q->extra.hold_ms = (uint32_t)hold_ms;
	return true;
}

void api_check(struct call *c)
{
	struct question q = {.key = NULL};
	const char *request_id = NULL;
	bool peek = false, reserve = false, explain = false;
	uint64_t hold_ms = 0;
	const struct input inputs[] = {
		QUESTION_INPUTS(q),
		{"request_id", INPUT_TEXT, false, &request_id},
		{"peek", INPUT_FLAG, false, &peek},
		{"reserve", INPUT_FLAG, false, &reserve},
		{"hold_time", INPUT_DURATION, false, &hold_ms},
		{"explain", INPUT_FLAG, false, &explain},
	};
	struct verdict v;

	if (!call_input(c, inputs, sizeof(inputs) / sizeof(inputs[0])) ||
	    !read_question(c, &q) || !read_reserve(c, reserve, hold_ms, &q))
		return;
	if (request_id && extra_once(&q.extra, request_id,
				     strlen(request_id)) != DETAIL_NONE) {
		call_invalid(c, "\"request_id\": expected up to %d bytes",
			     EXTRA_ONCE_MAX);
		return;
	}
	q.check.flags = (uint8_t)((peek ? CHECK_PEEK : 0) |
				  (reserve ? CHECK_RESERVE : 0) |
				  (explain ? CHECK_EXPLAIN : 0));
	registry_check(c->control->registry, &q.check, &v);
	reply_json(c->reply, 200, show_decided(&q.check, &v));
}

/* ---- settle ---- */

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
