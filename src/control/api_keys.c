/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include "base/rfc3339.h"
#include "control/config.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a key may be given, in the body of create and of import. */
struct key_input {
	const char *name, *project;
	int64_t expires_at;  /* ms, 0 = not given */
	uint64_t expires_in; /* ms */
	uint8_t hash[32];
};

static bool set_expiry(int64_t at_ms, int64_t now_ms, struct key_record *key,
		       char problem[static INPUT_PROBLEM_MAX])
{
	key->expires_ms = at_ms;
	if (at_ms > now_ms && at_ms <= RFC3339_LAST_MS)
		return true;
	snprintf(problem, INPUT_PROBLEM_MAX,
		 "Expiry: expected a time after now and before the year 10000");
	return false;
}

static bool set_expiry_in(uint64_t in_ms, int64_t now_ms,
			  struct key_record *key,
			  char problem[static INPUT_PROBLEM_MAX])
{
	uint64_t most = (uint64_t)RFC3339_LAST_MS;

	return set_expiry(in_ms > most ? INT64_MAX : now_ms + (int64_t)in_ms,
			  now_ms, key, problem);
}

/*
 * Looks a project of the organization up. 0, or the status of the failure
 * with `problem` filled in.
 */
static unsigned find_project(struct call *c, uint32_t org, const char *text,
			     uint32_t *ret_slot,
			     char problem[static INPUT_PROBLEM_MAX])
{
	struct records *records = registry_records(c->control->registry);
	struct project_record project;
	int r = records_project_find(records, org, text, &project);

	if (r == 0) {
		*ret_slot = project.slot;
		return 0;
	}
	if (r < 0) {
		call_log_failure(r, records_error(records));
		snprintf(problem, INPUT_PROBLEM_MAX, "The database failed: %s",
			 records_error(records));
	} else {
		snprintf(problem, INPUT_PROBLEM_MAX,
			 "\"project\": there is no such project in this "
			 "organization");
	}
	return r < 0 ? 500 : 404;
}

static const char *code_of(unsigned status)
{
	return status == 404   ? "not_found"
	       : status == 400 ? "invalid_request"
			       : "internal";
}

/* The array `name` of the body, if any, into `access`; false when answered. */
static bool read_access(struct call *c, const char *name, uint8_t kind,
			const json_t *array, struct key_access *access)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));
		struct access_record *to = &access->at[access->count];

		if (!text || strlen(text) > ROUTE_MAX_BYTES) {
			call_invalid(c,
				     "\"%s\": expected texts of at most %d "
				     "bytes",
				     name, ROUTE_MAX_BYTES);
			return false;
		}
		if (access->count == ACCESS_MAX) {
			call_invalid(c, "\"%s\": too many", name);
			return false;
		}
		to->kind = kind;
		snprintf(to->text, sizeof(to->text), "%s", text);
		access->count++;
	}
	return true;
}

bool call_expiry(struct call *c, const char *at, const char *in,
		 int64_t *ret_ms)
{
	char problem[INPUT_PROBLEM_MAX];
	struct key_record key = {.expires_ms = 0};
	const json_t *at_value = json_object_get(c->body, at);
	const json_t *in_value = json_object_get(c->body, in);
	int64_t at_ms = 0;
	uint64_t in_ms = 0;
	bool ok = true;

	/* Their form has been checked with all others. */
	if (json_is_string(at_value) && json_is_string(in_value)) {
		call_invalid(c, "\"%s\": give this or \"%s\", not both", in,
			     at);
		return false;
	}
	if (json_is_string(at_value) &&
	    rfc3339_parse(json_string_value(at_value), &at_ms) == 0)
		ok = set_expiry(at_ms, c->now_ms, &key, problem);
	if (json_is_string(in_value) &&
	    config_parse_duration(json_string_value(in_value), &in_ms) == 0)
		ok = set_expiry_in(in_ms, c->now_ms, &key, problem);
	if (ok)
		*ret_ms = key.expires_ms;
	else
		call_invalid(c, "%s", problem);
	return ok;
}

static void answer_new_key(struct call *c, const struct key_record *key,
			   const char *text)
{
	struct show_names names = {0};
	json_t *shown = show_key(c, &names, key);

	if (json_object_set_new(shown, "key", json_string(text)) < 0) {
		json_decref(shown);
		shown = NULL;
	}
	reply_json(c->reply, 201, shown);
}

void api_key_create(struct call *c)
{
	struct key_input in = {0};
	json_t *scopes = NULL, *routes = NULL, *networks = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, false, &in.name},
		{"project", INPUT_TEXT, false, &in.project},
		{"expires_at", INPUT_TIME, false, &in.expires_at},
		{"expires_in", INPUT_DURATION, false, &in.expires_in},
		{"scopes", INPUT_ARRAY, false, &scopes},
		{"routes", INPUT_ARRAY, false, &routes},
		{"networks", INPUT_ARRAY, false, &networks},
	};
	struct key_access access = {.count = 0};
	char problem[INPUT_PROBLEM_MAX];
	char text[KEY_TEXT_MAX];
	struct key_record key = {0};
	struct org_record org;
	unsigned status = 0;
	int r;

	if (!call_input(c, inputs, 7) || !call_find_org(c, c->subject, &org) ||
	    !call_expiry(c, "expires_at", "expires_in", &key.expires_ms) ||
	    !read_access(c, "scopes", ACCESS_SCOPE, scopes, &access) ||
	    !read_access(c, "routes", ACCESS_ROUTE, routes, &access) ||
	    !read_access(c, "networks", ACCESS_NETWORK, networks, &access))
		return;
	if (in.project)
		status = find_project(c, org.slot, in.project, &key.project,
				      problem);
	if (status) {
		reply_error(c->reply, status, code_of(status), "%s", problem);
		return;
	}
	key.org = org.slot;
	snprintf(key.name, sizeof(key.name), "%s", in.name ? in.name : "");
	r = registry_key_create_for(c->control->registry, &key, access.at,
				    access.count, text);
	if (r != 0)
		call_registry_failed(c, r, "key");
	else
		answer_new_key(c, &key, text);
	OPENSSL_cleanse(text, sizeof(text));
}

static void list(struct call *c, uint32_t org)
{
	json_t *keys;
	json_t *next;

	if (call_key_page(c, org, show_key, &keys, &next))
		reply_json(c->reply, 200,
			   json_pack("{s:o,s:o}", "keys", keys, "next", next));
}

void api_key_list(struct call *c)
{
	struct org_record org;

	if (call_find_org(c, c->subject, &org))
		list(c, org.slot);
}

void api_key_list_all(struct call *c)
{
	list(c, 0);
}

static void answer_key(struct call *c, const struct key_record *key)
{
	struct show_names names = {0};

	reply_json(c->reply, 200, show_key(c, &names, key));
}

void api_key_show(struct call *c)
{
	struct key_record key;

	if (call_find_key(c, c->subject, &key))
		answer_key(c, &key);
}

void api_key_revoke(struct call *c)
{
	struct key_record key;
	int r;

	if (!call_input(c, NULL, 0))
		return;
	r = registry_key_revoke(c->control->registry, c->subject, &key);
	if (r != 0)
		call_registry_failed(c, r, "key");
	else
		answer_key(c, &key);
}

static void set_disabled(struct call *c, bool disabled)
{
	struct key_record key;
	int r;

	if (!call_input(c, NULL, 0))
		return;
	r = registry_key_set_disabled(c->control->registry, c->subject,
				      disabled, &key);
	if (r != 0)
		call_registry_failed(c, r, "key");
	else
		answer_key(c, &key);
}

void api_key_disable(struct call *c)
{
	set_disabled(c, true);
}

void api_key_enable(struct call *c)
{
	set_disabled(c, false);
}

void api_key_rotate(struct call *c)
{
	uint64_t grace_ms = 0;
	const struct input inputs[] = {
		{"grace", INPUT_DURATION, false, &grace_ms},
	};
	struct show_names names = {0};
	struct key_record old;
	struct key_record new;
	char text[KEY_TEXT_MAX];
	json_t *shown;
	int r;

	if (!call_input(c, inputs, 1))
		return;
	if (grace_ms > (uint64_t)(RFC3339_LAST_MS - c->now_ms)) {
		call_invalid(c, "\"grace\": expected a duration that ends "
				"before the year 10000");
		return;
	}
	r = registry_key_rotate(c->control->registry, c->subject, grace_ms,
				&old, &new, text);
	if (r != 0) {
		call_registry_failed(c, r, "key");
	} else {
		shown = show_key(c, &names, &new);
		if (json_object_set_new(shown, "key", json_string(text)) < 0) {
			json_decref(shown);
			shown = NULL;
		}
		reply_json(c->reply, 201,
			   json_pack("{s:o,s:o}", "old",
				     show_key(c, &names, &old), "new", shown));
	}
	OPENSSL_cleanse(text, sizeof(text));
}

/* Where the project of the element before was found: most are the same. */
struct project_memo {
	const char *text;
	uint32_t slot;
};

static unsigned read_import(struct call *c, const json_t *element,
			    struct project_memo *memo, struct key_record *key,
			    char problem[static INPUT_PROBLEM_MAX])
{
	struct key_input in = {0};
	const struct input inputs[] = {
		{"hash", INPUT_HASH, true, in.hash},
		{"name", INPUT_NAME, false, &in.name},
		{"project", INPUT_TEXT, false, &in.project},
		{"expires_at", INPUT_TIME, false, &in.expires_at},
	};
	unsigned status = 0;

	if (!json_is_object(element)) {
		snprintf(problem, INPUT_PROBLEM_MAX,
			 "Expected an object with the member \"hash\"");
		return 400;
	}
	if (!input_read(element, inputs, 4, problem))
		return 400;
	if (json_is_string(json_object_get(element, "expires_at")) &&
	    !set_expiry(in.expires_at, c->now_ms, key, problem))
		return 400;
	if (in.project && memo->text && strcmp(memo->text, in.project) == 0)
		key->project = memo->slot;
	else if (in.project)
		status = find_project(c, key->org, in.project, &key->project,
				      problem);
	if (in.project && status == 0)
		*memo = (struct project_memo){in.project, key->project};
	memcpy(key->hash, in.hash, sizeof(key->hash));
	snprintf(key->name, sizeof(key->name), "%s", in.name ? in.name : "");
	return status;
}

static void answer_import(struct call *c, const struct key_record *keys,
			  size_t count)
{
	json_t *ids = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(ids, show_id(keys[i].id)) < 0) {
			json_decref(ids);
			ids = NULL;
			break;
		}
	reply_json(c->reply, 201,
		   json_pack("{s:I,s:o}", "imported", (json_int_t)count, "ids",
			     ids));
}

static void import(struct call *c, uint32_t org, const json_t *array,
		   struct key_record *keys)
{
	size_t count = json_array_size(array);
	char problem[INPUT_PROBLEM_MAX];
	struct project_memo memo = {0};
	const char *code;
	size_t bad = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		unsigned status;

		keys[i].org = org;
		status = read_import(c, json_array_get(array, i), &memo,
				     &keys[i], problem);
		if (status) {
			reply_error_at(c->reply, status, code_of(status), i,
				       problem);
			return;
		}
	}
	r = registry_key_import(c->control->registry, keys, count, &bad);
	if (r == 0) {
		answer_import(c, keys, count);
	} else if (r == REGISTRY_EXISTS) {
		reply_error_at(c->reply, call_outcome(r, &code), "conflict",
			       bad, "A key with this hash exists already.");
	} else if (r > 0) {
		unsigned status = call_outcome(r, &code);

		reply_error_at(c->reply, status, code, bad,
			       registry_error(c->control->registry));
	} else {
		call_registry_failed(c, r, "key");
	}
}

void api_key_import(struct call *c)
{
	json_t *array = NULL;
	const struct input inputs[] = {
		{"keys", INPUT_ARRAY, true, &array},
	};
	struct key_record *keys;
	struct org_record org;
	size_t count;

	if (!call_input(c, inputs, 1) || !call_find_org(c, c->subject, &org))
		return;
	count = json_array_size(array);
	if (count < 1 || count > API_IMPORT_MAX) {
		call_invalid(c, "\"keys\": expected 1..%d elements",
			     API_IMPORT_MAX);
		return;
	}
	keys = calloc(count, sizeof(*keys));
	if (!keys) {
		reply_error(c->reply, 500, "internal", "Out of memory.");
		return;
	}
	import(c, org.slot, array, keys);
	free(keys);
}
