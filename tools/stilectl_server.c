/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"
#include "stilectl_print.h"
#include "stilectl_secret.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

static const struct column org_usage_columns[] = {
	{"ORG", "id", NULL, CELL_TEXT},
	{"NAME", "name", NULL, CELL_TEXT},
	{"USED", "used", NULL, CELL_NUMBER},
	{"IN WINDOW", "in_window", NULL, CELL_NUMBER},
	{"LIMIT", "limit", NULL, CELL_LIMIT},
};

static const struct column key_usage_columns[] = {
	{"KEY", "id", NULL, CELL_TEXT},
	{"NAME", "name", "-", CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	{"USED", "used", NULL, CELL_NUMBER},
	{"LAST USED", "last_used_at", "never", CELL_TIME},
};

/* All organizations: the pages are pages of organizations. */
static int usage_of_all(struct ctl *c)
{
	struct list orgs = {.table = {.columns = org_usage_columns,
				      .count = COUNT_OF(org_usage_columns)},
			    .json = ctl_json(c)};
	struct pages pages;
	int rc = pages_open(&pages, c, api_path("/v1/usage", "", ""));

	while (rc == CTL_OK && pages_next(&pages, &rc)) {
		if (orgs.json && !orgs.opened)
			fputs("{\"orgs\":", stdout);
		list_page(&orgs, json_object_get(pages.reply.json, "orgs"));
	}
	if (rc == CTL_OK) {
		list_end(&orgs);
		if (orgs.json)
			puts(",\"keys\":[]}");
	}
	pages_close(&pages);
	return rc;
}

/* One organization: the pages are pages of its keys, and each repeats the
 * organization. */
static int usage_of_org(struct ctl *c)
{
	struct list orgs = {.table = {.columns = org_usage_columns,
				      .count = COUNT_OF(org_usage_columns)},
			    .json = ctl_json(c)};
	struct list keys = {.table = {.columns = key_usage_columns,
				      .count = COUNT_OF(key_usage_columns)},
			    .json = ctl_json(c)};
	struct pages pages;
	bool first = true;
	int rc = pages_open(&pages, c,
			    api_path("/v1/usage?org=", c->opt[OPT_ORG], ""));

	while (rc == CTL_OK && pages_next(&pages, &rc)) {
		const json_t *page = pages.reply.json;

		if (first) {
			fputs(orgs.json ? "{\"orgs\":" : "", stdout);
			list_page(&orgs, json_object_get(page, "orgs"));
			list_end(&orgs);
			fputs(orgs.json ? ",\"keys\":" : "\n", stdout);
			first = false;
		}
		list_page(&keys, json_object_get(page, "keys"));
	}
	if (rc == CTL_OK) {
		list_end(&keys);
		if (keys.json)
			puts("}");
	}
	pages_close(&pages);
	return rc;
}

int cmd_usage(struct ctl *c)
{
	return c->opt[OPT_ORG] ? usage_of_org(c) : usage_of_all(c);
}

static int call_and_print(struct ctl *c, const char *method, const char *path,
			  const json_t *body)
{
	struct reply reply;
	int rc = api_call(c, method, api_path(path, "", ""), body, &reply);

	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else
		print_anything(reply.json);
	reply_deinit(&reply);
	return CTL_OK;
}

int cmd_status(struct ctl *c)
{
	return call_and_print(c, "GET", "/v1/status", NULL);
}

int cmd_snapshot(struct ctl *c)
{
	return call_and_print(c, "POST", "/v1/snapshot", NULL);
}

/* The server wants to know the whole path: its directory is not ours. */
static int absolute_path(const char *file, char out[static PATH_MAX])
{
	char dir[PATH_MAX];
	int len;

	if (file[0] == '/') {
		len = snprintf(out, PATH_MAX, "%s", file);
	} else if (getcwd(dir, sizeof(dir))) {
		len = snprintf(out, PATH_MAX, "%s/%s",
			       strcmp(dir, "/") == 0 ? "" : dir, file);
	} else {
		ctl_error("cannot tell the current directory: %s; give the "
			  "whole path of FILE",
			  strerror(errno));
		return CTL_TROUBLE;
	}
	if (len < 0 || len >= PATH_MAX) {
		ctl_error("the path of FILE is longer than %d bytes",
			  PATH_MAX - 1);
		return CTL_TROUBLE;
	}
	return CTL_OK;
}

int cmd_backup(struct ctl *c)
{
	char path[PATH_MAX];
	json_t *body;
	int rc = absolute_path(c->arg[0], path);

	if (rc != CTL_OK)
		return rc;
	body = json_pack("{s:s}", "path", path);
	if (!body) {
		ctl_error("the path of FILE is not valid UTF-8");
		return CTL_TROUBLE;
	}
	rc = call_and_print(c, "POST", "/v1/backup", body);
	json_decref(body);
	return rc;
}

int cmd_metrics(struct ctl *c)
{
	struct reply reply;
	int rc;

	if (ctl_json(c)) {
		ctl_error("metrics are Prometheus' text; there is no --json "
			  "of them (status has it)");
		return CTL_TROUBLE;
	}
	rc = api_call(c, "GET", api_path("/metrics", "", ""), NULL, &reply);
	if (rc != CTL_OK)
		return rc;
	fwrite(reply.text, 1, reply.text_len, stdout);
	reply_deinit(&reply);
	return CTL_OK;
}
