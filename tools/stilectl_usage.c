/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"
#include "stilectl_print.h"
#include "stilectl_secret.h"

#include <stdio.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

/* ---- totals, of any time ---- */

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

/* ---- a report ---- */

#define SUMS                                                                   \
	{"CHECKS", "checks", NULL, CELL_NUMBER},                               \
		{"UNITS", "units", NULL, CELL_NUMBER},                         \
		{"RETURNED", "returned", NULL, CELL_NUMBER},                   \
	{                                                                      \
		"DENIED", "denied", NULL, CELL_NUMBER                          \
	}

static const struct column project_columns[] = {
	{"PROJECT", "project", "-", CELL_TEXT},
	{"NAME", "name", "-", CELL_TEXT},
	SUMS,
	{"BUDGET", "budget", "-", CELL_TEXT},
};
static const struct column key_columns[] = {
	{"KEY", "key", NULL, CELL_TEXT},
	{"NAME", "name", "-", CELL_TEXT},
	{"PROJECT", "project", "-", CELL_TEXT},
	SUMS,
};
static const struct column route_columns[] = {
	{"ROUTE", "route", "-", CELL_TEXT},
	SUMS,
};
static const struct column hour_columns[] = {
	{"HOUR", "hour", NULL, CELL_TIME},
	SUMS,
};

/* What a report is by: the columns of a table, and of CSV before the sums. */
static const struct report {
	const char *by;
	const struct column *columns;
	unsigned count;
	const char *names[3];
} reports[] = {
	{"project",
	 project_columns,
	 COUNT_OF(project_columns),
	 {"project", "name"}},
	{"key", key_columns, COUNT_OF(key_columns), {"key", "name", "project"}},
	{"route", route_columns, COUNT_OF(route_columns), {"route"}},
	{"hour", hour_columns, COUNT_OF(hour_columns), {"hour"}},
};

static const char *const csv_sums[] = {
	"checks",        "units",         "returned",
	"denied_rate",   "denied_cost",   "denied_suspended",
	"denied_access", "denied_budget", "denied_credits"};

#define BUDGET_TEXT_MAX 128

/* "used of cap/period" of each budget, for the table. */
static void add_budget(json_t *row)
{
	char text[BUDGET_TEXT_MAX] = "";
	const json_t *budget;
	size_t len = 0, i;

	json_array_foreach(json_object_get(row, "budgets"), i, budget)
	{
		json_int_t used =
			json_integer_value(json_object_get(budget, "used"));
		json_int_t cap =
			json_integer_value(json_object_get(budget, "cap"));
		const char *period =
			json_string_value(json_object_get(budget, "period"));

		if (len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%" JSON_INTEGER_FORMAT
						" of %" JSON_INTEGER_FORMAT
						"/%s",
						len ? ", " : "", used, cap,
						period ? period : "?");
	}
	json_object_set_new(row, "budget", json_string(text));
}

static void add_budgets(const json_t *rows)
{
	json_t *row;
	size_t n;

	json_array_foreach(rows, n, row)
	{
		add_budget(row);
	}
}

/* RFC 4180; null is empty. */
static void print_csv_text(const char *text)
{
	if (text == NULL || text[strcspn(text, ",\"\r\n")] == '\0') {
		fputs(text ? text : "", stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

#define BUDGETS 2
#define BUDGET_TITLES                                                          \
	",budget_used,budget_cap,budget_period"                                \
	",budget1_used,budget1_cap,budget1_period"

/* Of the budgets in their order; a project has each, or not. */
static void print_csv_budgets(const json_t *budgets)
{
	size_t at = 0;

	for (json_int_t i = 0; i < BUDGETS; i++) {
		const json_t *b = json_array_get(budgets, at);
		const char *period =
			json_string_value(json_object_get(b, "period"));

		if (!b ||
		    json_integer_value(json_object_get(b, "index")) != i) {
			fputs(",,,", stdout);
			continue;
		}
		printf(",%" JSON_INTEGER_FORMAT ",%" JSON_INTEGER_FORMAT ",",
		       json_integer_value(json_object_get(b, "used")),
		       json_integer_value(json_object_get(b, "cap")));
		print_csv_text(period);
		at++;
	}
}

static void print_csv(const struct report *r, const json_t *rows, bool first)
{
	bool budgets = strcmp(r->by, "project") == 0;
	const json_t *row;
	size_t n;

	for (unsigned i = 0; first && i < 3 && r->names[i]; i++)
		printf("%s,", r->names[i]);
	for (unsigned i = 0; first && i < COUNT_OF(csv_sums); i++)
		printf("%s%s", i ? "," : "", csv_sums[i]);
	fputs(first && budgets ? BUDGET_TITLES : "", stdout);
	fputs(first ? "\r\n" : "", stdout);
	json_array_foreach(rows, n, row)
	{
		for (unsigned i = 0; i < 3 && r->names[i]; i++) {
			print_csv_text(json_string_value(
				json_object_get(row, r->names[i])));
			putchar(',');
		}
		for (unsigned i = 0; i < COUNT_OF(csv_sums); i++)
			printf("%s%" JSON_INTEGER_FORMAT, i ? "," : "",
			       json_integer_value(
				       json_object_get(row, csv_sums[i])));
		if (budgets)
			print_csv_budgets(json_object_get(row, "budgets"));
		fputs("\r\n", stdout);
	}
}

/* What stands before the rows. */
static void print_head(const json_t *page)
{
	static const char *const names[] = {"org", "by", "from", "to"};

	putchar('{');
	for (unsigned i = 0; i < COUNT_OF(names); i++) {
		printf("\"%s\":", names[i]);
		json_dumpf(json_object_get(page, names[i]), stdout,
			   JSON_COMPACT | JSON_ENCODE_ANY);
		putchar(',');
	}
	fputs("\"rows\":", stdout);
}

static int print_report(struct ctl *c, const struct report *r, char *path)
{
	struct list list = {.table = {.columns = r->columns, .count = r->count},
			    .json = ctl_json(c)};
	bool csv = c->opt[OPT_CSV] != NULL, first = true;
	struct pages pages;
	int rc = pages_open(&pages, c, path);

	while (rc == CTL_OK && pages_next(&pages, &rc)) {
		const json_t *rows = json_object_get(pages.reply.json, "rows");

		if (csv) {
			print_csv(r, rows, first);
		} else {
			if (first && list.json)
				print_head(pages.reply.json);
			if (!list.json)
				add_budgets(rows);
			list_page(&list, rows);
		}
		first = false;
	}
	if (rc == CTL_OK && !csv) {
		list_end(&list);
		if (list.json)
			puts("}");
	}
	pages_close(&pages);
	return rc;
}

/* Takes over `path`; NULL stays NULL. */
static char *add_parameter(char *path, const char *name, const char *value)
{
	char *named, *whole = NULL;
	size_t len;

	if (path == NULL || value == NULL)
		return path;
	len = strlen(path) + strlen(name) + 3;
	named = secret_malloc(len);
	if (named != NULL) {
		snprintf(named, len, "%s&%s=", path, name);
		whole = api_path(named, value, "");
		secret_free(named);
	}
	secret_free(path);
	return whole;
}

static int usage_report(struct ctl *c)
{
	const char *by = c->opt[OPT_BY];
	char *path;

	for (size_t i = 0; i < COUNT_OF(reports); i++) {
		if (strcmp(by, reports[i].by) != 0)
			continue;
		path = api_path("/v1/usage?org=", c->opt[OPT_ORG], "");
		path = add_parameter(path, "by", by);
		path = add_parameter(path, "from", c->opt[OPT_FROM]);
		path = add_parameter(path, "to", c->opt[OPT_TO]);
		return print_report(c, &reports[i], path);
	}
	ctl_error("--by takes project, key, route or hour");
	return CTL_TROUBLE;
}

int cmd_usage(struct ctl *c)
{
	if (c->opt[OPT_BY] && !c->opt[OPT_ORG]) {
		ctl_error("--by needs --org");
		return CTL_TROUBLE;
	}
	if (!c->opt[OPT_BY] &&
	    (c->opt[OPT_FROM] || c->opt[OPT_TO] || c->opt[OPT_CSV])) {
		ctl_error("--from, --to and --csv need --by");
		return CTL_TROUBLE;
	}
	if (c->opt[OPT_CSV] && ctl_json(c)) {
		ctl_error("give --json or --csv, not both");
		return CTL_TROUBLE;
	}
	if (c->opt[OPT_BY])
		return usage_report(c);
	return c->opt[OPT_ORG] ? usage_of_org(c) : usage_of_all(c);
}
