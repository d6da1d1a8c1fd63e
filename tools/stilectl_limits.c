/* SPDX-License-Identifier: MIT */
/* Plans, and limits of plans and organizations. */
#include "stilectl_calls.h"

#include <stdio.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))
#define LIMIT_TEXT_MAX 128

static const struct column plan_columns[] = {
	{"ID", "id", NULL, CELL_TEXT},
	{"NAME", "name", NULL, CELL_TEXT},
	{"ORGS", "orgs", NULL, CELL_NUMBER},
	{"CREATED", "created_at", "-", CELL_TIME},
};
static const struct kind plans = {plan_columns, COUNT_OF(plan_columns)};

static const struct column limit_columns[] = {
	{"NAME", "name", NULL, CELL_TEXT},
	{"LEVEL", "level", "-", CELL_TEXT},
	{"LIMIT", "limit", NULL, CELL_TEXT},
	{"ROUTE", "route", "all", CELL_TEXT},
	{"SHADOW", "shadow", "-", CELL_TEXT},
	{"REQUESTS", "requests", "-", CELL_TEXT},
	{"WHEN FULL", "when_full", "-", CELL_TEXT},
	{"MAX SUBJECTS", "max_subjects", "-", CELL_NUMBER},
	{"SOURCE", "source", NULL, CELL_TEXT},
};

/* A limit of several words, as the shell has cut it. */
static int body_limit(json_t *body, const struct ctl *c, unsigned first)
{
	char text[LIMIT_TEXT_MAX] = "";
	size_t len = 0;

	for (unsigned i = first; i < c->arg_count; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
					len ? " " : "", c->arg[i]);
		if (len >= sizeof(text)) {
			ctl_error("the limit is too long");
			return CTL_TROUBLE;
		}
	}
	return body_text(body, "limit", text);
}

/* NULL: told. */
static json_t *rule_body(const struct ctl *c, unsigned name)
{
	json_t *body = json_object();

	if (c->opt[OPT_SHADOW])
		json_object_set_new(body, "shadow", json_true());
	if (c->opt[OPT_REQUESTS])
		json_object_set_new(body, "requests", json_true());
	if (body_text(body, "name", c->arg[name]) == 0 &&
	    body_limit(body, c, name + 1) == 0 &&
	    body_text(body, "level", c->opt[OPT_LEVEL]) == 0 &&
	    body_text(body, "route", c->opt[OPT_ROUTE]) == 0 &&
	    body_text(body, "when_full", c->opt[OPT_WHEN_FULL]) == 0 &&
	    body_number(body, "max_subjects", c->opt[OPT_MAX_SUBJECTS]) == 0)
		return body;
	json_decref(body);
	return NULL;
}

static json_t *name_body(const char *name)
{
	json_t *body = json_object();

	if (body_text(body, "name", name) == 0)
		return body;
	json_decref(body);
	return NULL;
}

/* Those that were taken away have a row too. */
static void print_limits(const json_t *answer)
{
	struct table table = {.columns = limit_columns,
			      .count = COUNT_OF(limit_columns)};
	json_t *rows = json_copy(json_object_get(answer, "limits"));
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(answer, "off"), i, name)
	{
		json_array_append_new(rows,
				      json_pack("{s:O,s:s,s:s,s:s}", "name",
						name, "limit", "off", "route",
						"-", "source", "org"));
	}
	print_rows(&table, rows);
	json_decref(rows);
}

static int call_limits(struct ctl *c, const char *method, char *path,
		       json_t *body)
{
	struct reply reply;
	int rc = api_call(c, method, path, body, &reply);

	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else
		print_limits(reply.json);
	reply_deinit(&reply);
	return CTL_OK;
}

/* Steals the body; NULL is trouble that has been told. */
static int change_limits(struct ctl *c, const char *before, const char *whose,
			 const char *after, json_t *body)
{
	if (!body)
		return CTL_TROUBLE;
	return call_limits(c, "POST", api_path(before, whose, after), body);
}

int cmd_limit_set(struct ctl *c)
{
	return change_limits(c, "/v1/orgs/", c->opt[OPT_ORG], "/limits",
			     rule_body(c, 0));
}

int cmd_limit_remove(struct ctl *c)
{
	return change_limits(c, "/v1/orgs/", c->opt[OPT_ORG], "/limits/remove",
			     name_body(c->arg[0]));
}

int cmd_limit_list(struct ctl *c)
{
	return call_limits(c, "GET",
			   api_path("/v1/orgs/", c->opt[OPT_ORG], "/limits"),
			   NULL);
}

int cmd_plan_limit_set(struct ctl *c)
{
	return change_limits(c, "/v1/plans/", c->arg[0], "/limits",
			     rule_body(c, 1));
}

int cmd_plan_limit_remove(struct ctl *c)
{
	return change_limits(c, "/v1/plans/", c->arg[0], "/limits/remove",
			     name_body(c->arg[1]));
}

int cmd_plan_create(struct ctl *c)
{
	json_t *body = name_body(c->arg[0]);

	if (!body)
		return CTL_TROUBLE;
	return call_and_show(c, &plans, "POST", api_path("/v1/plans", "", ""),
			     body);
}

int cmd_plan_list(struct ctl *c)
{
	return call_and_list(c, &plans, api_path("/v1/plans", "", ""), "plans");
}

int cmd_plan_show(struct ctl *c)
{
	struct reply reply;
	int rc = api_call(c, "GET", api_path("/v1/plans/", c->arg[0], ""), NULL,
			  &reply);

	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c)) {
		print_json(reply.json);
	} else {
		print_record(plan_columns, COUNT_OF(plan_columns), reply.json);
		putchar('\n');
		print_limits(reply.json);
	}
	reply_deinit(&reply);
	return CTL_OK;
}

int cmd_plan_remove(struct ctl *c)
{
	return call_and_show(c, NULL, "POST",
			     api_path("/v1/plans/", c->arg[0], "/remove"),
			     NULL);
}
