/* SPDX-License-Identifier: MIT */
#include "stilectl_calls.h"
#include "stilectl_secret.h"
#include "stilectl_time.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

static const struct column org_columns[] = {
	{"ID", "id", NULL, CELL_TEXT},
	{"NAME", "name", NULL, CELL_TEXT},
	{"STATE", "state", NULL, CELL_TEXT},
	{"PLAN", "plan", NULL, CELL_TEXT},
	{"LIMIT", "limit", "-", CELL_LIMIT},
	{"IN WINDOW", "in_window", NULL, CELL_NUMBER},
	{"USED", "used", NULL, CELL_NUMBER},
	{"CREDITS", "credits", "-", CELL_NUMBER},
	{"CREATED", "created_at", NULL, CELL_TIME},
};

static const struct column project_columns[] = {
	{"ID", "id", NULL, CELL_TEXT},
	{"NAME", "name", NULL, CELL_TEXT},
	{"ORG", "org", NULL, CELL_TEXT},
	{"BUDGETS", "budgets", "-", CELL_TEXTS},
	{"CREATED", "created_at", NULL, CELL_TIME},
};

static const struct column key_columns[] = {
	{"ID", "id", NULL, CELL_TEXT},
	{"NAME", "name", "-", CELL_TEXT},
	{"ORG", "org", NULL, CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"STATE", "state", NULL, CELL_TEXT},
	{"USED", "used", NULL, CELL_NUMBER},
	{"LAST USED", "last_used_at", "never", CELL_TIME},
	{"CREATED", "created_at", NULL, CELL_TIME},
	{"EXPIRES", "expires_at", "never", CELL_TIME},
	{"REVOKED", "revoked_at", "-", CELL_TIME},
};

/* Of one key alone: a list would be too wide. */
static const struct column one_key_columns[] = {
	{"ID", "id", NULL, CELL_TEXT},
	{"NAME", "name", "-", CELL_TEXT},
	{"ORG", "org", NULL, CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"STATE", "state", NULL, CELL_TEXT},
	{"USED", "used", NULL, CELL_NUMBER},
	{"LAST USED", "last_used_at", "never", CELL_TIME},
	{"CREATED", "created_at", NULL, CELL_TIME},
	{"EXPIRES", "expires_at", "never", CELL_TIME},
	{"REVOKED", "revoked_at", "-", CELL_TIME},
	{"SCOPES", "scopes", "all", CELL_TEXTS},
	{"ROUTES", "routes", "all", CELL_TEXTS},
	{"NETWORKS", "networks", "all", CELL_TEXTS},
};

static const struct kind orgs = {org_columns, COUNT_OF(org_columns)};
static const struct kind projects = {project_columns,
				     COUNT_OF(project_columns)};
static const struct kind keys = {key_columns, COUNT_OF(key_columns)};
static const struct kind one_key = {one_key_columns, COUNT_OF(one_key_columns)};

int cmd_org_create(struct ctl *c)
{
	json_t *body = json_object();

	if (body_text(body, "name", c->arg[0]) != 0 ||
	    body_text(body, "limit", c->opt[OPT_LIMIT]) != 0 ||
	    body_text(body, "plan", c->opt[OPT_PLAN]) != 0 ||
	    body_number(body, "credits", c->opt[OPT_CREDITS]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(c, &orgs, "POST", api_path("/v1/orgs", "", ""),
			     body);
}

int cmd_org_list(struct ctl *c)
{
	return call_and_list(c, &orgs, api_path("/v1/orgs", "", ""), "orgs");
}

int cmd_org_show(struct ctl *c)
{
	return call_and_show(c, &orgs, "GET",
			     api_path("/v1/orgs/", c->arg[0], ""), NULL);
}

int cmd_org_suspend(struct ctl *c)
{
	return call_and_show(c, &orgs, "POST",
			     api_path("/v1/orgs/", c->arg[0], "/suspend"),
			     NULL);
}

int cmd_org_resume(struct ctl *c)
{
	return call_and_show(c, &orgs, "POST",
			     api_path("/v1/orgs/", c->arg[0], "/resume"), NULL);
}

int cmd_org_limit(struct ctl *c)
{
	json_t *body = json_object();

	if (body_text(body, "limit", c->arg[1]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(c, &orgs, "PATCH",
			     api_path("/v1/orgs/", c->arg[0], ""), body);
}

int cmd_org_plan(struct ctl *c)
{
	json_t *body = json_object();

	if (body_text(body, "plan", c->arg[1]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(c, &orgs, "PATCH",
			     api_path("/v1/orgs/", c->arg[0], ""), body);
}

int cmd_org_billing(struct ctl *c)
{
	json_t *body = json_object();

	if (body_number(body, "anchor_day", c->opt[OPT_DAY]) != 0 ||
	    body_text(body, "timezone", c->opt[OPT_TIMEZONE]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(c, &orgs, "PATCH",
			     api_path("/v1/orgs/", c->arg[0], ""), body);
}

int cmd_project_create(struct ctl *c)
{
	json_t *body = json_object();

	if (body_text(body, "name", c->arg[0]) != 0 ||
	    body_text(body, "budget", c->opt[OPT_BUDGET]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(
		c, &projects, "POST",
		api_path("/v1/orgs/", c->opt[OPT_ORG], "/projects"), body);
}

int cmd_project_budget(struct ctl *c)
{
	json_t *body = json_object();

	if (body_text(body, "budget", c->arg[1]) != 0 ||
	    body_number(body, "index", c->opt[OPT_INDEX]) != 0) {
		json_decref(body);
		return CTL_TROUBLE;
	}
	return call_and_show(c, &projects, "POST",
			     api_path("/v1/projects/", c->arg[0], "/budget"),
			     body);
}

int cmd_project_list(struct ctl *c)
{
	return call_and_list(
		c, &projects,
		api_path("/v1/orgs/", c->opt[OPT_ORG], "/projects"),
		"projects");
}

/* The key on standard output, for $(...); the rest on standard error. */
static int show_key(const struct ctl *c, const json_t *whole, const json_t *key)
{
	const char *text = json_string_value(json_object_get(key, "key"));
	const char *id = json_string_value(json_object_get(key, "id"));

	if (!text || !id) {
		ctl_error("stiled created a key but did not send it; see key "
			  "list");
		return CTL_TROUBLE;
	}
	if (ctl_json(c))
		print_json(whole);
	else
		puts(text);
	if (fflush(stdout) != 0) {
		ctl_error("cannot write key %s to standard output: %s; nobody "
			  "has it now: revoke it",
			  id, strerror(errno));
		clearerr(stdout);
		return CTL_TROUBLE;
	}
	if (ctl_json(c))
		return CTL_OK;
	fprintf(stderr,
		"This is key %s. It is shown only now: stile keeps nothing but "
		"its hash.\n",
		id);
	return CTL_OK;
}

int cmd_key_create(struct ctl *c)
{
	char expires[TIME_TEXT_MAX];
	const char *when = c->opt[OPT_EXPIRES];
	json_t *body = json_object();
	struct reply reply;
	int rc = 0;

	if (when)
		rc = time_from_when(when, (int64_t)clock_wall_ms(), expires);
	if (rc == 0)
		rc = body_text(body, "name", c->opt[OPT_NAME]);
	if (rc == 0)
		rc = body_text(body, "project", c->opt[OPT_PROJECT]);
	if (rc == 0)
		rc = body_text(body, "expires_at", when ? expires : NULL);
	if (rc == 0)
		rc = body_texts(body, "scopes", c, OPT_SCOPE);
	if (rc == 0)
		rc = body_texts(body, "routes", c, OPT_ROUTE);
	if (rc == 0)
		rc = body_texts(body, "networks", c, OPT_NETWORK);
	if (rc == 0)
		rc = api_call(c, "POST",
			      api_path("/v1/orgs/", c->opt[OPT_ORG], "/keys"),
			      body, &reply);
	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	rc = show_key(c, reply.json, reply.json);
	reply_deinit(&reply);
	return rc;
}

int cmd_key_list(struct ctl *c)
{
	return call_and_list(
		c, &keys,
		c->opt[OPT_ORG]
			? api_path("/v1/orgs/", c->opt[OPT_ORG], "/keys")
			: api_path("/v1/keys", "", ""),
		"keys");
}

int cmd_key_show(struct ctl *c)
{
	return call_and_show(c, &one_key, "GET",
			     api_path("/v1/keys/", c->arg[0], ""), NULL);
}

int cmd_key_revoke(struct ctl *c)
{
	return call_and_show(c, &one_key, "POST",
			     api_path("/v1/keys/", c->arg[0], "/revoke"), NULL);
}

int cmd_key_disable(struct ctl *c)
{
	return call_and_show(c, &one_key, "POST",
			     api_path("/v1/keys/", c->arg[0], "/disable"),
			     NULL);
}

int cmd_key_enable(struct ctl *c)
{
	return call_and_show(c, &one_key, "POST",
			     api_path("/v1/keys/", c->arg[0], "/enable"), NULL);
}

int cmd_key_rotate(struct ctl *c)
{
	json_t *body = json_object();
	const json_t *old;
	struct reply reply;
	const char *expires = NULL, *id = NULL;
	char until[TIME_TEXT_MAX];
	int rc = body_text(body, "grace", c->opt[OPT_GRACE]);

	if (rc == 0)
		rc = api_call(c, "POST",
			      api_path("/v1/keys/", c->arg[0], "/rotate"), body,
			      &reply);
	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	rc = show_key(c, reply.json, json_object_get(reply.json, "new"));
	old = json_object_get(reply.json, "old");
	id = json_string_value(json_object_get(old, "id"));
	expires = json_string_value(json_object_get(old, "expires_at"));
	if (rc == CTL_OK && !ctl_json(c) && id) {
		if (json_is_string(json_object_get(old, "revoked_at")) ||
		    !expires) {
			fprintf(stderr, "Key %s is revoked.\n", id);
		} else {
			time_for_people(expires, until);
			fprintf(stderr, "Key %s stays valid until %s.\n", id,
				until);
		}
	}
	reply_deinit(&reply);
	return rc;
}
