/* SPDX-License-Identifier: MIT */
/* Credits of organizations, and their ledger. */
#include "control/api_call.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
	[POOL_TRIAL] = "trial",
	[POOL_SUBSCRIPTION] = "subscription",
	[POOL_PACK] = "pack",
	[POOL_REFERRAL] = "referral",
	[POOL_PROVISIONAL] = "provisional",
	[POOL_OVERAGE] = "overage",
};

static json_t *show_pool(const struct pool_live *pool)
{
	const struct pool_record *p = &pool->record;

	return json_pack("{s:I,s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}",
			 "id", (json_int_t)p->id, "kind", kinds[p->kind],
			 "route", show_text(p->route), "state",
			 pool->available > 0 ? "available" : "granted",
			 "granted", (json_int_t)pool->granted, "used",
			 (json_int_t)pool->used, "rest", (json_int_t)pool->rest,
			 "available", (json_int_t)pool->available, "monthly",
			 p->monthly ? json_integer((json_int_t)p->monthly)
				    : json_null(),
			 "created_at", show_time(p->created_ms), "expires_at",
			 show_time(p->expires_ms), "renewed_at",
			 show_time(p->renewed_ms));
}

static void answer_credits(struct call *c, unsigned status,
			   const struct org_record *org)
{
	struct pool_live pools[CREDIT_POOLS_MAX];
	unsigned count = 0;
	json_int_t rest = 0, available = 0;
	json_t *array;
	int r = registry_credits_live(c->control->registry, org->slot, pools,
				      &count);

	if (r != 0) {
		call_registry_failed(c, r, "organization");
		return;
	}
	array = json_array();
	for (unsigned i = 0; i < count; i++) {
		rest += (json_int_t)pools[i].rest;
		available += (json_int_t)pools[i].available;
		if (json_array_append_new(array, show_pool(&pools[i])) < 0) {
			json_decref(array);
			array = NULL;
			break;
		}
	}
	reply_json(c->reply, status,
		   json_pack("{s:o,s:b,s:I,s:I,s:b,s:o}", "org",
			     show_id(org->id), "counted", org->credits, "rest",
			     rest, "available", available, "overage",
			     org->overage, "pools", array));
}

/* After a change that said `r`. */
static void answer_changed(struct call *c, unsigned status, int r,
			   uint32_t slot, const char *what)
{
	struct org_record org;

	if (r == 0 && records_org_get(registry_records(c->control->registry),
				      slot, &org) != 0)
		r = REGISTRY_ABSENT;
	if (r == REGISTRY_EXISTS)
		reply_error(c->reply, 409, "conflict", "%s",
			    registry_error(c->control->registry));
	else if (r != 0)
		call_registry_failed(c, r, what);
	else
		answer_credits(c, status, &org);
}

void api_credits_show(struct call *c)
{
	struct org_record org;

	if (call_find_org(c, c->subject, &org))
		answer_credits(c, 200, &org);
}

static bool read_kind(struct call *c, const char *text, uint8_t *ret_kind)
{
	static const uint8_t granted[] = {POOL_TRIAL, POOL_PACK, POOL_REFERRAL,
					  POOL_PROVISIONAL};

	for (size_t i = 0; i < sizeof(granted); i++)
		if (strcmp(text, kinds[granted[i]]) == 0) {
			*ret_kind = granted[i];
			return true;
		}
	call_invalid(c, "\"kind\": expected pack, trial, referral or "
			"provisional");
	return false;
}

void api_credits_grant(struct call *c)
{
	const char *kind = "pack", *route = NULL;
	int64_t amount = 0, at = 0;
	uint64_t in = 0;
	const struct input inputs[] = {
		{"amount", INPUT_COUNT, true, &amount},
		{"kind", INPUT_TEXT, false, &kind},
		{"route", INPUT_TEXT, false, &route},
		{"expires_at", INPUT_TIME, false, &at},
		{"expires_in", INPUT_DURATION, false, &in},
	};
	struct pool_record pool = {.granted = 0};
	struct org_record org;

	if (!call_input(c, inputs, 5) || !read_kind(c, kind, &pool.kind) ||
	    !call_expiry(c, "expires_at", "expires_in", &pool.expires_ms))
		return;
	if (route && strlen(route) > ROUTE_MAX_BYTES) {
		call_invalid(c, "\"route\" has at most %d bytes",
			     ROUTE_MAX_BYTES);
		return;
	}
	if (!call_find_org(c, c->subject, &org))
		return;
	pool.org = org.slot;
	pool.granted = (uint64_t)amount;
	snprintf(pool.route, sizeof(pool.route), "%s", route ? route : "");
	answer_changed(c, 201,
		       registry_credits_grant(c->control->registry, &pool),
		       org.slot, "organization");
}

void api_credits_subscribe(struct call *c)
{
	int64_t monthly = 0;
	const struct input inputs[] = {
		{"monthly", INPUT_COUNT, true, &monthly},
	};
	struct org_record org;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	answer_changed(c, 200,
		       registry_credits_subscribe(c->control->registry,
						  org.slot, (uint64_t)monthly),
		       org.slot, "subscription");
}

void api_credits_revoke(struct call *c)
{
	int64_t pool = 0;
	const struct input inputs[] = {
		{"pool", INPUT_COUNT, true, &pool},
	};
	struct org_record org;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	answer_changed(
		c, 200,
		registry_credits_revoke(c->control->registry, org.slot,
					pool > UINT32_MAX ? 0 : (uint32_t)pool),
		org.slot, "pool of credits");
}

void api_credits_overage(struct call *c)
{
	bool enabled = false;
	int64_t max = CREDITS_MAX;
	const struct input inputs[] = {
		{"enabled", INPUT_FLAG, true, &enabled},
		{"max", INPUT_COUNT, false, &max},
	};
	struct org_record org;

	if (!call_input(c, inputs, 2) || !call_find_org(c, c->subject, &org))
		return;
	answer_changed(c, 200,
		       registry_credits_overage(c->control->registry, org.slot,
						enabled, (uint64_t)max),
		       org.slot, "organization");
}

/* ---- the ledger ---- */

struct page {
	json_t *array;
	uint32_t room;
	int64_t last;
	bool more, failed;
};

static int add_line(const struct ledger_record *rec, void *arg)
{
	struct page *page = arg;

	if (page->room-- == 0) {
		page->more = true;
		return 1;
	}
	page->last = rec->id;
	page->failed =
		json_array_append_new(page->array,
				      json_pack("{s:I,s:o,s:I,s:I,s:s}", "id",
						(json_int_t)rec->id, "at",
						show_time(rec->at_ms), "pool",
						(json_int_t)rec->pool, "change",
						(json_int_t)rec->change, "why",
						rec->why)) < 0;
	return page->failed;
}

void api_ledger(struct call *c)
{
	struct page page = {.room = c->limit};
	struct org_record org;
	int64_t after;
	int r;

	if (!call_after_number(c, &after) ||
	    !call_find_org(c, c->subject, &org))
		return;
	page.array = json_array();
	r = records_each_ledger(registry_records(c->control->registry),
				org.slot, after, c->limit + 1, add_line, &page);
	if (r < 0 || page.failed) {
		json_decref(page.array);
		if (r < 0)
			call_records_failed(c, r);
		else
			reply_json(c->reply, 500, NULL);
		return;
	}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o}", "ledger", page.array, "next",
			     page.more ? json_integer((json_int_t)page.last)
				       : json_null()));
}
