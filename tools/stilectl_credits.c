/* SPDX-License-Identifier: MIT */
/* Credits, events and the audit trail. */
#include "stilectl_calls.h"
#include "stilectl_time.h"

#include "base/clock.h"

#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

static const struct column pool_columns[] = {
	{"ID", "id", NULL, CELL_NUMBER},
	{"KIND", "kind", NULL, CELL_TEXT},
	{"ROUTE", "route", "all", CELL_TEXT},
	{"GRANTED", "granted", NULL, CELL_NUMBER},
	{"USED", "used", NULL, CELL_NUMBER},
	{"REST", "rest", NULL, CELL_NUMBER},
	{"MONTHLY", "monthly", "-", CELL_NUMBER},
	{"AVAILABLE", "available", NULL, CELL_NUMBER},
	{"CREATED", "created_at", NULL, CELL_TIME},
	{"EXPIRES", "expires_at", "never", CELL_TIME},
};
static const struct kind pools = {pool_columns, COUNT_OF(pool_columns)};

static const struct column ledger_columns[] = {
	{"ID", "id", NULL, CELL_NUMBER},
	{"AT", "at", NULL, CELL_TIME},
	{"POOL", "pool", NULL, CELL_NUMBER},
	{"CHANGE", "change", NULL, CELL_NUMBER},
	{"WHY", "why", NULL, CELL_TEXT},
};
static const struct kind ledger = {ledger_columns, COUNT_OF(ledger_columns)};

static const struct column event_columns[] = {
	{"ID", "id", NULL, CELL_NUMBER},
	{"AT", "at", NULL, CELL_TIME},
	{"KIND", "kind", NULL, CELL_TEXT},
	{"ORG", "org", "-", CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"DELIVERED", "delivered_at", "-", CELL_TIME},
};
static const struct kind events = {event_columns, COUNT_OF(event_columns)};

static const struct column audit_columns[] = {
	{"ID", "id", NULL, CELL_NUMBER},
	{"AT", "at", NULL, CELL_TIME},
	{"UID", "uid", NULL, CELL_NUMBER},
	{"ACTION", "action", NULL, CELL_TEXT},
	{"SUBJECT", "subject", "-", CELL_TEXT},
	{"DETAIL", "detail", "-", CELL_TEXT},
};
static const struct kind audit = {audit_columns, COUNT_OF(audit_columns)};

/* The body was made with result `rc`. */
static int change(struct ctl *c, const char *what, int rc, json_t *body)
{
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	return call_and_tell(c, &pools, "POST",
			     api_path("/v1/orgs/", c->arg[0], what), body,
			     "pools");
}

int cmd_credits_grant(struct ctl *c)
{
	const char *when = c->opt[OPT_EXPIRES];
	json_t *body = json_object();
	char expires[TIME_TEXT_MAX];
	int rc = body_number(body, "amount", c->arg[1]);

	if (rc == 0 && when)
		rc = time_from_when(when, (int64_t)clock_wall_ms(), expires);
	if (rc == 0)
		rc = body_text(body, "expires_at", when ? expires : NULL);
	if (rc == 0)
		rc = body_text(body, "kind", c->opt[OPT_KIND]);
	if (rc == 0)
		rc = body_text(body, "route", c->opt[OPT_ROUTE]);
	return change(c, "/credits", rc, body);
}

int cmd_credits_subscribe(struct ctl *c)
{
	json_t *body = json_object();

	return change(c, "/credits/subscribe",
		      body_number(body, "monthly", c->arg[1]), body);
}

int cmd_credits_revoke(struct ctl *c)
{
	json_t *body = json_object();

	return change(c, "/credits/revoke",
		      body_number(body, "pool", c->arg[1]), body);
}

int cmd_credits_overage(struct ctl *c)
{
	bool on = strcmp(c->arg[1], "on") == 0;
	json_t *body = json_object();
	int rc = 0;

	if (!on && strcmp(c->arg[1], "off") != 0) {
		ctl_error("credits overage: expected on or off");
		rc = CTL_TROUBLE;
	}
	json_object_set_new(body, "enabled", json_boolean(on));
	if (rc == 0)
		rc = body_number(body, "max", c->opt[OPT_MAX]);
	return change(c, "/credits/overage", rc, body);
}

int cmd_credits_list(struct ctl *c)
{
	return call_and_tell(c, &pools, "GET",
			     api_path("/v1/orgs/", c->arg[0], "/credits"), NULL,
			     "pools");
}

int cmd_credits_ledger(struct ctl *c)
{
	return call_and_list(c, &ledger,
			     api_path("/v1/orgs/", c->arg[0], "/ledger"),
			     "ledger");
}

int cmd_events(struct ctl *c)
{
	return call_and_list_after(c, &events, api_path("/v1/events", "", ""),
				   "events", c->opt[OPT_AFTER]);
}

int cmd_audit(struct ctl *c)
{
	return call_and_list_after(c, &audit, api_path("/v1/audit", "", ""),
				   "audit", c->opt[OPT_AFTER]);
}
