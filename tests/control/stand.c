/* SPDX-License-Identifier: MIT */
#include "stand.h"

#include "base/clock.h"
#include "base/log.h"
#include "openapi.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stand stand;

static bool is_ready(const struct control *c, const char **ret_why)
{
	(void)c;
	if (stand.not_ready)
		*ret_why = stand.not_ready;
	return !stand.not_ready;
}

static int take_snapshot(struct control *c, struct snapshot_info *ret_info,
			 char *err, size_t err_len)
{
	(void)c;
	if (stand.snapshot_result < 0) {
		snprintf(err, err_len, "the hook says no");
		return stand.snapshot_result;
	}
	*ret_info = (struct snapshot_info){
		.bytes = 4096, .duration_ms = 7, .orgs = 1, .keys = 2};
	return 0;
}

static void last_snapshot(const struct control *c,
			  struct snapshot_result *ret_last)
{
	(void)c;
	*ret_last = stand.last;
}

static void open_registry(void)
{
	struct registry_options options = {
		.max_orgs = stand.config.max_orgs,
		.max_projects = stand.config.max_projects,
		.max_keys = stand.config.max_keys,
		.ring_bytes = stand.config.ring_bytes,
		.default_limit = stand.config.default_limit,
		.default_window_ms = stand.config.default_window_ms,
		.key_prefix = stand.config.key_prefix,
		.request_ids = 100,
		.request_id_ms = 10000,
		.cells = 100,
		.holds = STAND_HOLDS,
		.control_holds = STAND_HOLDS,
		.hold_ms = 300000,
	};
	struct usage_options usage = {.arena = &stand.arena, .fresh = true};
	struct registry_report report;
	char path[128], err[256] = "";

	snprintf(path, sizeof(path), "%s/records.db", stand.dir);
	cr_assert_eq(records_open(path, &stand.records, err, sizeof(err)), 0,
		     "%s", err);
	cr_assert_eq(arena_open_private(&stand.arena), 0);
	epoch_init(&stand.epoch);
	cr_assert_eq(registry_open(&stand.control.registry, stand.records,
				   &stand.arena, true, &stand.table,
				   &stand.epoch, stand.dir, &options, &report,
				   err, sizeof(err)),
		     0, "%s", err);
	usage.state_dir = stand.dir;
	cr_assert_eq(usage_open(&stand.control.usage, &usage,
				(int64_t)clock_wall_ms()),
		     0);
}

void stand_open_with(const char *yaml)
{
	memset(&stand, 0, sizeof(stand));
	log_set_level(LOG_LEVEL_WARN);
	reply_json_init();
	reply_init(&stand.reply);
	strcpy(stand.dir, "/dev/shm/stile-api-test.XXXXXX");
	cr_assert_not_null(mkdtemp(stand.dir));
	config_defaults(&stand.config);
	cr_assert_eq(config_load_text(&stand.config, "test", yaml, strlen(yaml),
				      stderr),
		     0);
	open_registry();
	for (unsigned i = 0; i < STAND_WORKERS; i++)
		stand.workers[i] = &stand.counters[i];
	stand.control.config = &stand.config;
	stand.control.workers = stand.workers;
	stand.control.worker_count = STAND_WORKERS;
	stand.control.arena_path = "/dev/shm/arena";
	stand.control.arena_fresh = true;
	stand.control.started_ms = 1700000000123;
	stand.control.civil = &stand.civil;
	stand.control.ready = is_ready;
	stand.control.snapshot = take_snapshot;
	stand.control.snapshot_last = last_snapshot;
	stand.doc = openapi_load(OPENAPI_YAML);
	stand.given = json_object();
}

void stand_open(void)
{
	stand_open_with("");
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *where)
{
	(void)st;
	(void)flag;
	(void)where;
	return remove(path);
}

void stand_close(void)
{
	json_decref(stand.json);
	json_decref(stand.doc);
	json_decref(stand.given);
	reply_deinit(&stand.reply);
	stand.control.usage = usage_close(stand.control.usage);
	stand.control.registry = registry_close(stand.control.registry);
	stand.records = records_close(stand.records);
	arena_close(&stand.arena);
	nftw(stand.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- calls ---- */

static uint8_t method_number(const char *name)
{
	uint8_t m = 0;

	while (strcmp(llhttp_method_name(m), name) != 0)
		m++;
	return m;
}

/* Does a target have the form of a path of the document? */
static bool has_form(const char *pattern, const char *target)
{
	size_t len = strcspn(target, "?");

	while (*pattern) {
		if (*pattern == '{') {
			size_t part = strcspn(target, "/?");

			if (part == 0)
				return false;
			target += part;
			len -= part;
			pattern = strchr(pattern, '}') + 1;
		} else {
			if (len == 0 || *pattern++ != *target++)
				return false;
			len--;
		}
	}
	return len == 0;
}

static const char *documented_path(const char *target)
{
	json_t *paths = json_object_get(stand.doc, "paths"), *item;
	const char *path;

	json_object_foreach(paths, path, item)
	{
		if (has_form(path, target))
			return path;
	}
	return NULL;
}

/* Statuses that "default" of the document lists for any request. */
static bool is_for_any(unsigned status)
{
	return status == 404 || status == 405 || status == 500;
}

static void hold_against_document(const char *method, const char *target)
{
	const char *path = documented_path(target), *type = "application/json";
	const char *asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
	json_t *operation = NULL, *response = NULL, *schema;
	char problem[OPENAPI_PROBLEM_MAX] = "", status[8], name[128];

	snprintf(status, sizeof(status), "%u", stand.reply.status);
	if (path)
		operation = openapi_operation(stand.doc, asked, path);
	if (operation)
		response =
			openapi_response(stand.doc, operation, status, &type);
	cr_assert(response || is_for_any(stand.reply.status),
		  "%s %s answered %s, which the document does not know: %.*s",
		  method, target, status, (int)stand.reply.body.len,
		  stand.reply.body.data);
	/* One answer that has two forms. */
	if (strncmp(stand.reply.content_type, "text/csv", 8) == 0 &&
	    json_object_get(json_object_get(response, "content"), "text/csv"))
		type = "text/csv";
	cr_assert_eq(strncmp(stand.reply.content_type, type, strlen(type)), 0,
		     "%s %s: %s", method, target, stand.reply.content_type);
	if (response) {
		snprintf(name, sizeof(name), "%s %s %s", asked, path, status);
		json_object_set_new(stand.given, name, json_true());
	}
	if (strcmp(type, "application/json") != 0)
		return;
	schema =
		response
			? json_object_get(
				  json_object_get(
					  json_object_get(response, "content"),
					  type),
				  "schema")
			: json_object_get(
				  json_object_get(json_object_get(stand.doc,
								  "components"),
						  "schemas"),
				  "Error");
	cr_assert_not_null(stand.json, "%s %s: no JSON", method, target);
	cr_assert(openapi_fits(stand.doc, schema, stand.json, true, problem),
		  "%s %s %s: %s in %.*s", method, target, status, problem,
		  (int)stand.reply.body.len, stand.reply.body.data);
}

unsigned call_bytes(const char *method, const char *target, const char *body,
		    size_t body_len)
{
	struct admin_request request = {
		.method = method_number(method),
		.uid = 4711,
		.target = target,
		.body = body,
		.body_len = body_len,
	};

	reply_deinit(&stand.reply);
	reply_init(&stand.reply);
	json_decref(stand.json);
	api_handle(&stand.control, &request, &stand.reply);
	cr_assert_eq(stand.reply.body.error, 0);
	stand.json = json_loadb(stand.reply.body.data, stand.reply.body.len,
				JSON_REJECT_DUPLICATES, NULL);
	hold_against_document(method, target);
	return stand.reply.status;
}

unsigned call(const char *method, const char *target, const char *body)
{
	return call_bytes(method, target, body, body ? strlen(body) : 0);
}

unsigned call_json(const char *method, const char *target, const json_t *body)
{
	json_malloc_t take;
	json_free_t give;
	char *dump = json_dumps(body, JSON_COMPACT);

	json_get_alloc_funcs(&take, &give);
	call(method, target, dump);
	give(dump);
	return stand.reply.status;
}

void make_org(const char *name)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
	cr_assert_eq(call("POST", "/v1/orgs", body), 201, "%s",
		     text("error.message"));
}

unsigned call_at(const char *method, const char *form, const char *part,
		 const char *body)
{
	char target[256];
	char *out = target;

	for (; *form && out < target + sizeof(target) - 1; form++) {
		if (*form != '*')
			*out++ = *form;
		else
			out += snprintf(out,
					(size_t)(target + sizeof(target) - out),
					"%s", part);
	}
	*out = '\0';
	return call(method, target, body);
}

/* ---- looking at the answer ---- */

json_t *value(const char *path)
{
	char copy[128], *rest = copy, *part;
	json_t *v = stand.json;

	cr_assert_lt(strlen(path), sizeof(copy));
	strcpy(copy, path);
	while ((part = strsep(&rest, ".")))
		v = json_is_array(v)
			    ? json_array_get(v, strtoul(part, NULL, 10))
			    : json_object_get(v, part);
	return v;
}

const char *text(const char *path)
{
	const char *t = json_string_value(value(path));

	return t ? t : "";
}

json_int_t number(const char *path)
{
	cr_assert(json_is_integer(value(path)), "%s", path);
	return json_integer_value(value(path));
}

const char *keep(const char *path)
{
	static char kept[5][128];
	static unsigned next;
	char *out = kept[next++ % 5];

	snprintf(out, sizeof(kept[0]), "%s", text(path));
	return out;
}

void expect_error(const char *code, const char *message_part)
{
	cr_assert_str_eq(text("error.code"), code, "%s", text("error.message"));
	cr_assert_not_null(strstr(text("error.message"), message_part),
			   "\"%s\" is not in: %s", message_part,
			   text("error.message"));
}
