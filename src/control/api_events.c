/* SPDX-License-Identifier: MIT */
/* Events, and the audit trail. */
#include "control/api_call.h"

struct page {
	struct call *call;
	json_t *array;
	uint32_t room;
	int64_t last;
	bool more, failed;
};

/* Puts one more in; NULL fails. What the visit goes on with. */
static int put(struct page *page, int64_t id, json_t *one)
{
	page->last = id;
	page->room--;
	page->failed = json_array_append_new(page->array, one) < 0;
	return page->failed;
}

static void answer(struct call *c, struct page *page, const char *name, int r)
{
	if (r < 0 || page->failed) {
		json_decref(page->array);
		if (r < 0)
			call_records_failed(c, r);
		else
			reply_json(c->reply, 500, NULL);
		return;
	}
	reply_json(c->reply, 200,
		   json_pack("{s:o,s:o}", name, page->array, "next",
			     page->more ? json_integer((json_int_t)page->last)
					: json_null()));
}

/* Ids of what an event is about; null when there is none. */
static json_t *show_slot_org(struct call *c, uint32_t slot)
{
	struct org_record org;

	if (slot == 0)
		return json_null();
	return records_org_get(registry_records(c->control->registry), slot,
			       &org) == 0
		       ? show_id(org.id)
		       : NULL;
}

static json_t *show_slot_project(struct call *c, uint32_t slot)
{
	struct project_record project;

	if (slot == 0)
		return json_null();
	return records_project_get(registry_records(c->control->registry), slot,
				   &project) == 0
		       ? show_id(project.id)
		       : NULL;
}

static int add_event(const struct event_record *rec, void *arg)
{
	struct page *page = arg;

	if (page->room == 0) {
		page->more = true;
		return 1;
	}
	return put(page, rec->id,
		   json_pack("{s:I,s:o,s:s,s:o,s:o,s:o,s:o}", "id",
			     (json_int_t)rec->id, "at", show_time(rec->at_ms),
			     "kind", rec->kind, "org",
			     show_slot_org(page->call, rec->org), "project",
			     show_slot_project(page->call, rec->project),
			     "body", json_loads(rec->body, 0, NULL),
			     "delivered_at", show_time(rec->delivered_ms)));
}

void api_events(struct call *c)
{
	struct page page = {.call = c, .room = c->limit};
	int64_t after;

	if (!call_after_number(c, &after))
		return;
	page.array = json_array();
	answer(c, &page, "events",
	       records_each_event(registry_records(c->control->registry), false,
				  after, c->limit + 1, add_event, &page));
}

static int add_audit(const struct audit_record *rec, void *arg)
{
	struct page *page = arg;

	if (page->room == 0) {
		page->more = true;
		return 1;
	}
	return put(page, rec->id,
		   json_pack("{s:I,s:o,s:I,s:s,s:s,s:s}", "id",
			     (json_int_t)rec->id, "at", show_time(rec->at_ms),
			     "uid", (json_int_t)rec->uid, "action", rec->action,
			     "subject", rec->subject, "detail", rec->detail));
}

void api_audit(struct call *c)
{
	struct page page = {.call = c, .room = c->limit};
	int64_t after;

	if (!call_after_number(c, &after))
		return;
	page.array = json_array();
	answer(c, &page, "audit",
	       records_each_audit(registry_records(c->control->registry), after,
				  c->limit + 1, add_audit, &page));
}
