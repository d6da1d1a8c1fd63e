/* SPDX-License-Identifier: MIT */
/* Checks over the admin API: charge, reserve, and how a reservation ends. */
#include "stilectl_calls.h"

#include <stdio.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

static const struct column verdict_columns[] = {
	{"CHARGED", "charged", NULL, CELL_NUMBER},
	{"REPEATED", "repeated", NULL, CELL_TEXT},
	{"HOLD", "hold", "-", CELL_TEXT},
	{"HOLD MS", "hold_ms", NULL, CELL_NUMBER},
	{"LIMIT", "limit_name", "-", CELL_TEXT},
	{"OF", "limit", NULL, CELL_NUMBER},
	{"LEFT", "remaining", NULL, CELL_NUMBER},
	{"RESET MS", "reset_ms", NULL, CELL_NUMBER},
	{"RETRY MS", "retry_ms", NULL, CELL_NUMBER},
	{"CREDITS", "credits", "-", CELL_NUMBER},
	{"BUDGET", "budget", "-", CELL_NUMBER},
	{"ORG", "org", "-", CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"KEY", "key", "-", CELL_TEXT},
};

static void show_answer(const json_t *answer)
{
	print_record(verdict_columns, COUNT_OF(verdict_columns), answer);
}

/* The rest of the check is in `body`, which is stolen. */
static int decide(struct ctl *c, json_t *body)
{
	int rc = body_question(body, c);

	if (rc == 0)
		rc = body_text(body, "request_id", c->opt[OPT_REQUEST_ID]);
	if (rc == 0)
		return call_and_judge(c, "/v1/checks", body, show_answer);
	json_decref(body);
	return rc;
}

int cmd_charge(struct ctl *c)
{
	json_t *body = json_object();

	if (c->opt[OPT_PEEK])
		json_object_set_new(body, "peek", json_true());
	return decide(c, body);
}

int cmd_reserve(struct ctl *c)
{
	json_t *body = json_object();
	int rc = body_text(body, "hold_time", c->opt[OPT_HOLD_TIME]);

	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	json_object_set_new(body, "reserve", json_true());
	return decide(c, body);
}

/* ---- settle ---- */

static const struct column settled_columns[] = {
	{"HOLD", "hold", NULL, CELL_TEXT},
	{"CHARGED", "charged", NULL, CELL_NUMBER},
	{"REASON", "reason", NULL, CELL_TEXT},
	{"CREDITS", "credits", "-", CELL_NUMBER},
	{"ORG", "org", NULL, CELL_TEXT},
	{"KEY", "key", NULL, CELL_TEXT},
};

int cmd_settle(struct ctl *c)
{
	json_t *body = json_object();
	struct reply reply;
	int rc = body_text(body, "hold", c->arg[0]);

	if (rc == 0)
		rc = body_number(body, "cost", c->opt[OPT_COST]);
	if (rc == 0)
		rc = api_call(c, "POST", api_path("/v1/settle", "", ""), body,
			      &reply);
	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else
		print_record(settled_columns, COUNT_OF(settled_columns),
			     reply.json);
	reply_deinit(&reply);
	return CTL_OK;
}
