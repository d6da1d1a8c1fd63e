/* SPDX-License-Identifier: MIT */
/* What limits say: to a check, and about one subject. */
#include "stilectl_calls.h"
#include "stilectl_secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))
#define WAIT_MAX 32

/* ---- explain ---- */

static const struct column line_columns[] = {
	{"LIMIT", "name", NULL, CELL_TEXT},
	{"LEVEL", "level", NULL, CELL_TEXT},
	{"KIND", "algorithm", NULL, CELL_TEXT},
	{"OF", "limit", NULL, CELL_NUMBER},
	{"USED", "used", NULL, CELL_NUMBER},
	{"LEFT", "remaining", NULL, CELL_NUMBER},
	{"AT REST IN", "reset", "-", CELL_TEXT},
	{"MORE IN", "retry", "-", CELL_TEXT},
	{"SAYS", "says", NULL, CELL_TEXT},
};

static const struct column who_columns[] = {
	{"ORG", "org", "-", CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"KEY", "key", "-", CELL_TEXT},
};

static json_int_t number_of(const json_t *object, const char *field)
{
	return json_integer_value(json_object_get(object, field));
}

/* A time for people, rounded up; null: none. */
static json_t *wait_text(json_int_t ms)
{
	char text[WAIT_MAX];

	if (ms <= 0)
		return json_null();
	if (ms < 1000)
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "ms", ms);
	else if (ms < 120 * 1000)
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "s",
			 (ms + 999) / 1000);
	else if (ms < 120 * 60 * 1000)
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "m",
			 (ms + 59999) / 60000);
	else
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "h",
			 (ms + 3599999) / 3600000);
	return json_string(text);
}

static const char *says(const json_t *line)
{
	bool allowed = json_is_true(json_object_get(line, "allowed"));

	if (json_is_true(json_object_get(line, "shadow")))
		return allowed ? "yes (shadow)" : "no (shadow)";
	if (json_is_true(json_object_get(line, "decided")))
		return "NO, and decides";
	return allowed ? "yes" : "no";
}

/* Numbers of the answer become what the table shows. */
static void for_people(json_t *line)
{
	json_int_t used =
		number_of(line, "limit") - number_of(line, "remaining");

	json_object_set_new(line, "used", json_integer(used > 0 ? used : 0));
	json_object_set_new(line, "reset",
			    wait_text(number_of(line, "reset_ms")));
	json_object_set_new(line, "retry",
			    wait_text(number_of(line, "retry_ms")));
	json_object_set_new(line, "says", json_string(says(line)));
}

static void show_explanation(const json_t *answer)
{
	struct table table = {.columns = line_columns,
			      .count = COUNT_OF(line_columns)};
	json_t *lines = json_object_get(answer, "explain");

	print_record(who_columns, COUNT_OF(who_columns), answer);
	if (json_array_size(lines) == 0)
		return;
	putchar('\n');
	for (size_t i = 0; i < json_array_size(lines); i++)
		for_people(json_array_get(lines, i));
	print_rows(&table, lines);
}

int cmd_explain(struct ctl *c)
{
	json_t *body = json_object();
	int rc = body_question(body, c);

	if (rc == 0)
		return call_and_judge(c, "/v1/explain", body, show_explanation);
	json_decref(body);
	return rc;
}

/* ---- one subject ---- */

static const struct column subject_columns[] = {
	{"LIMIT", "name", NULL, CELL_TEXT},
	{"LEVEL", "level", NULL, CELL_TEXT},
	{"KIND", "algorithm", NULL, CELL_TEXT},
	{"SHADOW", "shadow", NULL, CELL_TEXT},
	{"OF", "limit", NULL, CELL_NUMBER},
	{"USED", "used", NULL, CELL_NUMBER},
	{"LEFT", "remaining", NULL, CELL_NUMBER},
	{"AT REST IN", "reset", "-", CELL_TEXT},
	{"MORE IN", "retry", "-", CELL_TEXT},
	{"DENIED", "denied", NULL, CELL_NUMBER},
};

static const struct {
	unsigned option;
	const char *name;
} subject_options[] = {
	{OPT_KEY, "key"},
	{OPT_PROJECT, "project"},
	{OPT_ROUTE, "route"},
	{OPT_ADDRESS, "address"},
};

static int call_and_show_subject(struct ctl *c, const char *method, char *path,
				 json_t *body)
{
	struct reply reply;
	int rc = api_call(c, method, path, body, &reply);

	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c)) {
		print_json(reply.json);
	} else {
		json_object_set_new(
			reply.json, "reset",
			wait_text(number_of(reply.json, "reset_ms")));
		json_object_set_new(
			reply.json, "retry",
			wait_text(number_of(reply.json, "retry_ms")));
		print_record(subject_columns, COUNT_OF(subject_columns),
			     reply.json);
	}
	reply_deinit(&reply);
	return CTL_OK;
}

/* Appends "name=value"; frees the path before. NULL: out of memory (told). */
static char *add_parameter(char *path, const char *name, const char *value)
{
	char joint[WAIT_MAX], *more, *out = NULL;

	if (!path)
		return NULL;
	snprintf(joint, sizeof(joint), "%s%s=", strchr(path, '?') ? "&" : "?",
		 name);
	more = api_path(joint, value, "");
	if (more)
		out = api_path(path, "", more);
	secret_free(more);
	secret_free(path);
	return out;
}

int cmd_limit_show(struct ctl *c)
{
	char *path = api_path("/v1/orgs/", c->opt[OPT_ORG], "/limits/show");

	path = add_parameter(path, "name", c->arg[0]);
	for (size_t i = 0; i < COUNT_OF(subject_options); i++)
		if (c->opt[subject_options[i].option])
			path = add_parameter(path, subject_options[i].name,
					     c->opt[subject_options[i].option]);
	return call_and_show_subject(c, "GET", path, NULL);
}

int cmd_limit_reset(struct ctl *c)
{
	json_t *body = json_object();
	int rc = body_text(body, "name", c->arg[0]);

	for (size_t i = 0; rc == 0 && i < COUNT_OF(subject_options); i++)
		rc = body_text(body, subject_options[i].name,
			       c->opt[subject_options[i].option]);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	return call_and_show_subject(
		c, "POST",
		api_path("/v1/orgs/", c->opt[OPT_ORG], "/limits/reset"), body);
}
