/* SPDX-License-Identifier: MIT */

/*
 * Keys in the admin API: created, rotated, imported, and never seen again.
 */
#include "base/sha256.h"
#include "stand.h"
#include "wiped.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(api_keys, .init = stand_open, .fini = stand_close);

static void hex_of(const char *key, char out[static 65])
{
	uint8_t hash[32];

	sha256(key, strlen(key), hash);
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

Test(api_keys, a_key_is_shown_once_and_its_id_is_part_of_it)
{
	const char *id, *key;

	make_org("a");
	cr_assert_eq(call("POST", "/v1/orgs/a/keys", "{\"name\":\"ci\"}"), 201);
	id = keep("id");
	key = keep("key");
	cr_assert_eq(strlen(key), 55);
	cr_assert_eq(strncmp(key, "il_", 3), 0);
	cr_assert_eq(strncmp(key + 3, id, 8), 0);
	cr_assert_str_eq(text("state"), "active");
	cr_assert(json_is_null(value("project")));
	cr_assert(json_is_null(value("expires_at")));
	cr_assert_eq(call_at("GET", "/v1/keys/*", id, NULL), 200);
	cr_assert_null(value("key"));
	cr_assert_null(memmem(stand.reply.body.data, stand.reply.body.len,
			      key + 12, 37));
	cr_assert_eq(call_at("GET", "/v1/keys/*", key, NULL), 404,
		     "a key does not name itself");
	cr_assert_null(memmem(stand.reply.body.data, stand.reply.body.len,
			      key + 12, 37));
}

Test(api_keys, a_key_belongs_to_a_project_of_its_own_organization)
{
	const char *project;

	make_org("a");
	make_org("b");
	call("POST", "/v1/orgs/a/projects", "{\"name\":\"p\"}");
	project = keep("id");
	cr_assert_eq(call("POST", "/v1/orgs/a/keys", "{\"project\":\"p\"}"),
		     201);
	cr_assert_str_eq(text("project"), project);
	cr_assert_eq(call("POST", "/v1/orgs/b/keys", "{\"project\":\"p\"}"),
		     404);
	expect_error("not_found", "\"project\"");
	call("GET", "/v1/orgs/b/keys", NULL);
	cr_assert_eq(json_array_size(value("keys")), 0);
}

Test(api_keys, expiry_is_kept_to_the_millisecond_and_has_bounds)
{
	static const struct {
		const char *body, *expires_at;
	} cases[] = {
		{"{\"expires_at\":\"2099-01-01T00:00:00.999Z\"}",
		 "2099-01-01T00:00:00.999Z"},
		{"{\"expires_at\":\"2099-01-01T01:00:00+01:00\"}",
		 "2099-01-01T00:00:00Z"},
		{"{\"expires_at\":\"9999-12-31T23:59:59.999Z\"}",
		 "9999-12-31T23:59:59.999Z"},
		{"{\"expires_at\":\"2001-01-01T00:00:00Z\"}", NULL},
		{"{\"expires_at\":\"1970-01-01T00:00:00Z\"}", NULL},
		{"{\"expires_in\":\"0s\"}", NULL},
		{"{\"expires_in\":\"18446744073709551615ms\"}", NULL},
		{"{\"expires_in\":\"3000000d\"}", NULL},
		{"{\"expires_in\":\"1h\",\"expires_at\":\"2099-01-01T00:00:"
		 "00Z\"}",
		 NULL},
	};

	make_org("a");
	for (size_t i = 0; i < COUNT(cases); i++) {
		unsigned want = cases[i].expires_at ? 201 : 400;

		cr_assert_eq(call("POST", "/v1/orgs/a/keys", cases[i].body),
			     want, "%s: %s", cases[i].body,
			     text("error.message"));
		if (cases[i].expires_at)
			cr_assert_str_eq(text("expires_at"),
					 cases[i].expires_at);
		else
			cr_assert_neq(strstr(text("error.message"), "xpir"),
				      NULL);
	}
	cr_assert_eq(call("POST", "/v1/orgs/a/keys", "{\"expires_in\":\"1d\"}"),
		     201);
	cr_assert_str_eq(text("state"), "active");
	cr_assert_str_neq(text("expires_at"), "");
}

Test(api_keys, a_revoked_key_stays_revoked_and_its_time_stays)
{
	const char *id, *when;

	make_org("a");
	call("POST", "/v1/orgs/a/keys", NULL);
	id = keep("id");
	call_at("POST", "/v1/keys/*/revoke", id, NULL);
	cr_assert_str_eq(text("state"), "revoked");
	when = keep("revoked_at");
	cr_assert_str_neq(when, "");
	cr_assert_eq(call_at("POST", "/v1/keys/*/revoke", id, "{}"), 200);
	cr_assert_str_eq(text("revoked_at"), when);
	cr_assert_eq(call_at("POST", "/v1/keys/*/rotate", id, NULL), 409);
	expect_error("conflict", "revoked or expired");
}

Test(api_keys, rotation_shows_both_keys_and_only_the_new_text)
{
	const char *id, *key, *when;

	make_org("a");
	call("POST", "/v1/orgs/a/projects", "{\"name\":\"p\"}");
	call("POST", "/v1/orgs/a/keys",
	     "{\"name\":\"ci\",\"project\":\"p\",\"expires_at\":"
	     "\"2099-01-01T00:00:00Z\"}");
	id = keep("id");
	key = keep("key");
	cr_assert_eq(
		call_at("POST", "/v1/keys/*/rotate", id, "{\"grace\":\"1h\"}"),
		201);
	cr_assert_str_eq(text("old.id"), id);
	cr_assert_str_eq(text("old.state"), "active");
	cr_assert_str_neq(text("old.expires_at"), "2099-01-01T00:00:00Z");
	cr_assert_null(value("old.key"));
	cr_assert_str_neq(text("new.id"), id);
	cr_assert_str_neq(text("new.key"), key);
	cr_assert_str_eq(text("new.name"), "ci");
	cr_assert_str_neq(text("new.project"), "");
	cr_assert_str_eq(text("new.expires_at"), "2099-01-01T00:00:00Z");
	/* No grace: the old one is revoked now. */
	id = keep("new.id");
	call_at("POST", "/v1/keys/*/rotate", id, NULL);
	cr_assert_str_eq(text("old.state"), "revoked");
	/* Grace never makes a key live longer. */
	call("POST", "/v1/orgs/a/keys", "{\"expires_in\":\"1h\"}");
	id = keep("id");
	when = keep("expires_at");
	call_at("POST", "/v1/keys/*/rotate", id, "{\"grace\":\"1d\"}");
	cr_assert_str_eq(text("old.expires_at"), when);
	cr_assert_str_eq(text("new.expires_at"), when);
	id = keep("new.id");
	cr_assert_eq(call_at("POST", "/v1/keys/*/rotate", id,
			     "{\"grace\":\"3000000d\"}"),
		     400);
	expect_error("invalid_request", "\"grace\"");
}

Test(api_keys, import_takes_all_or_nothing)
{
	char good[65], more[65], body[1024];
	const char *id;

	make_org("a");
	make_org("b");
	call("POST", "/v1/orgs/a/keys", NULL);
	hex_of(text("key"), good);
	hex_of("some key of another system", more);

	/* The second is there already: the first is not imported. */
	snprintf(body, sizeof(body),
		 "{\"keys\":[{\"hash\":\"%s\"},{\"hash\":\"%s\"}]}", more,
		 good);
	cr_assert_eq(call("POST", "/v1/orgs/b/keys/import", body), 409);
	cr_assert_eq(number("error.index"), 1);
	/* Twice in one call is as wrong. */
	snprintf(body, sizeof(body),
		 "{\"keys\":[{\"hash\":\"%s\"},{\"hash\":\"%s\"}]}", more,
		 more);
	cr_assert_eq(call("POST", "/v1/orgs/b/keys/import", body), 409);
	cr_assert_eq(number("error.index"), 1);
	snprintf(body, sizeof(body),
		 "{\"keys\":[{\"hash\":\"%s\"},{\"hash\":\"%s\",\"project\":"
		 "\"p\"}]}",
		 more, more);
	cr_assert_eq(call("POST", "/v1/orgs/b/keys/import", body), 404);
	cr_assert_eq(number("error.index"), 1);
	call("GET", "/v1/orgs/b/keys", NULL);
	cr_assert_eq(json_array_size(value("keys")), 0);

	call("POST", "/v1/orgs/b/projects", "{\"name\":\"p\"}");
	snprintf(body, sizeof(body),
		 "{\"keys\":[{\"hash\":\"%s\",\"name\":\"old\",\"project\":"
		 "\"p\",\"expires_at\":\"2099-01-01T00:00:00Z\"}]}",
		 more);
	cr_assert_eq(call("POST", "/v1/orgs/b/keys/import", body), 201);
	cr_assert_eq(number("imported"), 1);
	id = keep("ids.0");
	call_at("GET", "/v1/keys/*", id, NULL);
	cr_assert_str_eq(text("name"), "old");
	cr_assert_str_eq(text("expires_at"), "2099-01-01T00:00:00Z");
	cr_assert_str_neq(text("project"), "");
}

Test(api_keys, the_element_at_fault_is_told)
{
	static const struct {
		const char *element, *message;
	} bad[] = {
		{"7", "Expected an object"},
		{"[]", "Expected an object"},
		{"{}", "\"hash\": missing"},
		{"{\"hash\":null}", "\"hash\": expected"},
		{"{\"hash\":\"00\"}", "\"hash\": expected"},
		{"{\"hash\":\"H\",\"expires_in\":\"1h\"}", "no such member"},
		{"{\"hash\":\"H\",\"name\":\"\"}", "\"name\": expected"},
		{"{\"hash\":\"H\",\"expires_at\":\"2001-01-01T00:00:00Z\"}",
		 "Expiry"},
	};
	char good[65], other[65];

	hex_of("good", good);
	hex_of("other", other);
	make_org("a");
	for (size_t i = 0; i < COUNT(bad); i++) {
		char element[256], body[512];
		const char *h = strstr(bad[i].element, "\"H\"");

		if (h)
			snprintf(element, sizeof(element), "%.*s\"%s\"%s",
				 (int)(h - bad[i].element), bad[i].element,
				 other, h + 3);
		else
			snprintf(element, sizeof(element), "%s",
				 bad[i].element);
		snprintf(body, sizeof(body),
			 "{\"keys\":[{\"hash\":\"%s\"},%s]}", good, element);
		cr_assert_eq(call("POST", "/v1/orgs/a/keys/import", body), 400,
			     "%s", body);
		cr_assert_eq(number("error.index"), 1);
		expect_error("invalid_request", bad[i].message);
	}
	call("GET", "/v1/keys", NULL);
	cr_assert_eq(json_array_size(value("keys")), 0);
}

Test(api_keys, an_import_has_a_bound)
{
	json_t *keys = json_array(), *body = json_object();

	make_org("a");
	for (int i = 0; i < API_IMPORT_MAX; i++) {
		char name[16], hash[65];

		snprintf(name, sizeof(name), "key %d", i);
		hex_of(name, hash);
		json_array_append_new(keys, json_pack("{s:s}", "hash", hash));
	}
	json_object_set(body, "keys", keys);
	cr_assert_eq(call_json("POST", "/v1/orgs/a/keys/import", body), 201,
		     "%s", text("error.message"));
	cr_assert_eq(number("imported"), API_IMPORT_MAX);
	json_array_append_new(keys, json_object());
	cr_assert_eq(call_json("POST", "/v1/orgs/a/keys/import", body), 400);
	expect_error("invalid_request", "1..10000");
	json_decref(keys);
	json_decref(body);
}

/* A prefix that stands nowhere else betrays every copy of a key. */
Test(api_keys_wiped, nothing_of_a_new_key_is_left_in_freed_memory,
     .fini = stand_close)
{
	const char *id;

	stand_open_with("key_prefix: zq7zq7zq");
	make_org("a");
	wiped_watch("zq7zq7zq_");
	cr_assert_eq(call("POST", "/v1/orgs/a/keys", NULL), 201);
	cr_assert_eq(strncmp(text("key"), "zq7zq7zq_", 9), 0);
	id = text("id");
	cr_assert_eq(call_at("POST", "/v1/keys/*/rotate", id, NULL), 201);
	call("GET", "/livez", NULL);
	cr_assert_gt(wiped_frees(), 10);
	cr_assert_eq(wiped_leaks(), 0);
	wiped_watch(NULL);
}
