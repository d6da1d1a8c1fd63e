/* SPDX-License-Identifier: MIT */

/*
 * The admin API over a real registry. Statuses of every route are walked in
 * openapi_test.c; here is what the answers mean.
 */
#include "base/log.h"
#include "stand.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(api, .init = stand_open, .fini = stand_close);

/* ---- paths and queries ---- */

Test(api, unknown_paths_are_404)
{
	static const char *const none[] = {"/",
					   "",
					   "/v1",
					   "/v1/",
					   "/v1/orgs/",
					   "/v1/orgs//keys",
					   "//v1/orgs",
					   "/v1/orgs/a/",
					   "/v1/orgs/a/b",
					   "/V1/orgs",
					   "/v1/%6frgs",
					   "/v1/keysx",
					   "/livez/",
					   "*",
					   "http://stile/livez",
					   "/v1/orgs#a",
					   "/v1/orgs/a/keys/import/x"};

	for (size_t i = 0; i < COUNT(none); i++) {
		cr_assert_eq(call("GET", none[i], NULL), 404, "%s", none[i]);
		expect_error("not_found", "no such path");
	}
}

Test(api, other_methods_are_405_with_those_there_are)
{
	static const struct {
		const char *method, *target, *allow;
	} cases[] = {
		{"DELETE", "/v1/orgs", "POST, GET, HEAD"},
		{"OPTIONS", "/v1/orgs/a", "GET, HEAD, PATCH"},
		{"GET", "/v1/keys/a/revoke", "POST"},
		{"HEAD", "/v1/snapshot", "POST"},
		{"POST", "/metrics", "GET, HEAD"},
		{"PUT", "/v1/orgs/a/keys/import", "POST"},
		{"CONNECT", "/livez", "GET, HEAD"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		cr_assert_eq(call(cases[i].method, cases[i].target, NULL), 405,
			     "%s %s", cases[i].method, cases[i].target);
		cr_assert_str_eq(stand.reply.allow, cases[i].allow);
		expect_error("method_not_allowed", cases[i].allow);
	}
	call("GET", "/livez", NULL);
	cr_assert_str_eq(stand.reply.allow, "");
}

Test(api, every_405_has_room_for_its_allow)
{
	struct api_route_name name;

	for (size_t i = 0; api_route(i, &name); i++) {
		cr_assert_eq(call("DELETE", name.path, NULL), 405);
		cr_assert_not_null(strstr(stand.reply.allow, name.method));
		cr_assert_lt(strlen(stand.reply.allow) + 8, REPLY_ALLOW_MAX);
	}
}

Test(api, head_is_answered_like_get)
{
	cr_assert_eq(call("HEAD", "/livez", NULL), 200);
	cr_assert_eq(call("HEAD", "/v1/orgs/none", NULL), 404);
}

Test(api, names_in_paths_are_percent_encoded)
{
	make_org("a/b c%\xc3\xa4");
	cr_assert_eq(call("GET", "/v1/orgs/a%2Fb%20c%25%c3%A4", NULL), 200);
	cr_assert_str_eq(text("name"), "a/b c%\xc3\xa4");
	cr_assert_eq(call("GET", "/v1/orgs/a%2Fb%20c%25%c3%A4/keys", NULL),
		     200);
	cr_assert_eq(call("GET", "/v1/usage?org=a/b%20c%25%C3%A4", NULL), 200);
	make_org("..");
	cr_assert_eq(call("GET", "/v1/orgs/..", NULL), 200);
	make_org("a+b");
	cr_assert_eq(call("GET", "/v1/usage?org=a+b", NULL), 200);
	cr_assert_eq(call("GET", "/v1/usage?org=a%20b", NULL), 404);
}

Test(api, wrong_percent_encoding_and_zero_bytes_are_400)
{
	static const char *const bad[] = {
		"/v1/orgs/%",      "/v1/orgs/%2",       "/v1/orgs/%2g",
		"/v1/orgs/a%00",   "/v1/orgs/%00",      "/v1/keys/a%00b/revoke",
		"/v1/usage?org=%", "/v1/usage?org=%00", "/v1/usage?%6=1"};

	make_org("a");
	for (size_t i = 0; i < COUNT(bad); i++) {
		const char *method = strstr(bad[i], "revoke") ? "POST" : "GET";

		cr_assert_eq(call(method, bad[i], NULL), 400, "%s", bad[i]);
		expect_error("invalid_request", "percent-encoded");
	}
	/* Not UTF-8: simply nobody's name. */
	cr_assert_eq(call("GET", "/v1/orgs/%ff", NULL), 404);
	cr_assert_eq(call("GET", "/v1/orgs/%C3", NULL), 404);
}

Test(api, parameters_are_checked_by_name)
{
	static const struct {
		const char *target, *message;
	} bad[] = {
		{"/v1/keys?limit=0", "\"limit\": expected"},
		{"/v1/keys?limit=1001", "\"limit\": expected"},
		{"/v1/keys?limit=", "\"limit\": expected"},
		{"/v1/keys?limit=+1", "\"limit\": expected"},
		{"/v1/keys?limit=1.0", "\"limit\": expected"},
		{"/v1/keys?limit=4294967297", "\"limit\": expected"},
		{"/v1/keys?limit=18446744073709551617", "\"limit\": expected"},
		{"/v1/keys?limit=1&limit=1", "given twice"},
		{"/v1/keys?after=a&after=a", "given twice"},
		{"/v1/keys?Limit=1", "\"Limit\": unknown"},
		{"/v1/keys?limit", "\"limit\": without a value"},
		{"/v1/keys?%6cimit=0", "\"limit\": expected"},
		{"/v1/keys?a%0Ab=1", "unknown here"},
		{"/v1/keys?%ff=1", "\"?\": unknown here"},
		{"/v1/keys?=1", "\"\": unknown here"},
		{"/v1/keys?org=a", "\"org\": unknown here"},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert_eq(call("GET", bad[i].target, NULL), 400, "%s",
			     bad[i].target);
		expect_error("invalid_request", bad[i].message);
	}
	cr_assert_eq(call("GET", "/v1/keys?", NULL), 200);
	cr_assert_eq(call("GET", "/v1/keys?&&limit=1000&", NULL), 200);
	cr_assert_eq(call("GET", "/v1/keys?limit=0001", NULL), 200);
}

/* ---- bodies ---- */

Test(api, bodies_that_are_no_json_object)
{
	static const struct {
		const char *body, *message;
	} bad[] = {
		{"{", "it ends too early"},
		{"nonsense", "syntax"},
		{"[]", "not an object"},
		{"\"text\"", "not a JSON object"},
		{"null", "not a JSON object"},
		{"{\"name\":\"a\"} x", "something follows"},
		{"{\"name\":\"a\"}{}", "something follows"},
		{"{\"name\":\"a\",\"name\":\"b\"}", "given twice"},
		{"{\"name\":\"a\",\"n\\u0061me\":\"b\"}", "given twice"},
		{"{\"name\":\"a\",\"limit\":{\"limit\":1,\"limit\":1,"
		 "\"window_ms\":1}}",
		 "given twice"},
		{"{\"name\":\"\xff\"}", "not UTF-8"},
		{"{\"name\":\"\xc0\x80\"}", "not UTF-8"},
		{"{\"name\":\"\xed\xa0\x80\"}", "not UTF-8"},
		{"{\"name\":\"a\\u0000b\"}", "zero byte"},
		{"{\"na\\u0000me\":\"a\"}", "zero byte"},
		{"{\"name\":\"\\ud800\"}", "syntax"},
		{"{\"name\":1e999}", "too large"},
		{"{\"name\":99999999999999999999}", "too large"},
		{"{\"name\":NaN}", "syntax"},
		{"{name:\"a\"}", "syntax"},
		{"{'name':'a'}", "syntax"},
		{"{\"name\":\"a\",}", "syntax"},
		{"/**/{}", "syntax"},
		{"\xef\xbb\xbf{}", "syntax"},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert_eq(call("POST", "/v1/orgs", bad[i].body), 400, "%s",
			     bad[i].body);
		expect_error("invalid_request", bad[i].message);
	}
	cr_assert_eq(call_bytes("POST", "/v1/orgs", "{\"name\":\"a\0\"}", 13),
		     400);
	cr_assert_eq(call_bytes("POST", "/v1/orgs", "{\"name\":\"a\"}\0", 13),
		     400);
	call("GET", "/v1/orgs", NULL);
	cr_assert_eq(json_array_size(value("orgs")), 0);
}

Test(api, deep_nesting_is_refused_without_harm)
{
	static char body[1 << 20];

	memset(body, '[', sizeof(body) - 1);
	memcpy(body, "{\"name\":", 8);
	cr_assert_eq(call("POST", "/v1/orgs", body), 400);
	expect_error("invalid_request", "nested too deeply");
	for (size_t i = 0; i + 5 < sizeof(body); i += 5)
		memcpy(body + i, "{\"a\":", 5);
	body[(sizeof(body) - 1) / 5 * 5] = '\0';
	cr_assert_eq(call("POST", "/v1/orgs", body), 400);
	expect_error("invalid_request", "nested too deeply");
}

Test(api, an_error_does_not_repeat_the_body)
{
	call("POST", "/v1/orgs", "{\"name\":secretsecretsecret}");
	cr_assert_null(strstr(text("error.message"), "secret"));
}

Test(api, the_message_of_an_error_stays_utf8_when_a_long_name_is_cut)
{
	/* 60 bytes end inside a character. */
	cr_assert_eq(call("POST", "/v1/orgs",
			  "{\"x\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
			  "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3"
			  "\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
			  "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3"
			  "\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\":1}"),
		     400);
	expect_error("invalid_request", "no such member");
}

/* ---- organizations ---- */

Test(api, an_organization_gets_the_configured_limit_or_its_own)
{
	make_org("a");
	cr_assert_eq(number("limit.limit"), 100);
	cr_assert_eq(number("limit.window_ms"), 60000);
	cr_assert_str_eq(text("state"), "active");
	call("POST", "/v1/orgs", "{\"name\":\"b\",\"limit\":\"5/1500ms\"}");
	cr_assert_eq(number("limit.window_ms"), 1500);
	call("POST", "/v1/orgs", "{\"name\":\"c\",\"limit\":null}");
	cr_assert_eq(number("limit.limit"), 100);
	call("PATCH", "/v1/orgs/c",
	     "{\"limit\":{\"limit\":7,\"window_ms\":1}}");
	cr_assert_eq(number("limit.limit"), 7);
	call("GET", "/v1/orgs/c", NULL);
	cr_assert_eq(number("limit.limit"), 7);
	cr_assert_eq(call("PATCH", "/v1/orgs/c", "{\"limit\":null}"), 400);
	cr_assert_eq(call("PATCH", "/v1/orgs/c", "{}"), 400);
	expect_error("invalid_request", "Expected one of");
}

Test(api, an_organization_is_found_by_id_and_by_name)
{
	const char *id;

	make_org("a");
	id = keep("id");
	cr_assert_eq(call_at("GET", "/v1/orgs/*", id, NULL), 200);
	cr_assert_str_eq(text("name"), "a");
	cr_assert_eq(call("GET", "/v1/orgs/A", NULL), 404, "case matters");
	/* A name that looks like the id of another one: the id wins. */
	make_org(id);
	cr_assert_eq(call_at("GET", "/v1/orgs/*", id, NULL), 200);
	cr_assert_str_eq(text("name"), "a");
}

Test(api, suspension_is_shown_and_ends)
{
	make_org("a");
	call("POST", "/v1/orgs/a/suspend", "{}");
	cr_assert_str_eq(text("state"), "suspended");
	call("POST", "/v1/orgs/a/suspend", NULL);
	cr_assert_str_eq(text("state"), "suspended");
	call("GET", "/v1/orgs/a", NULL);
	cr_assert_str_eq(text("state"), "suspended");
	call("POST", "/v1/orgs/a/resume", NULL);
	cr_assert_str_eq(text("state"), "active");
}

/* ---- pages ---- */

/* Walks a list in pages of `size`; returns how many elements there were. */
static size_t walk(const char *list, const char *member, unsigned size)
{
	char target[160], after[16] = "", last[16] = "";
	size_t total = 0;

	for (unsigned pages = 0; pages < 100; pages++) {
		size_t n;

		snprintf(target, sizeof(target), "%s%climit=%u%s%s", list,
			 strchr(list, '?') ? '&' : '?', size,
			 after[0] ? "&after=" : "", after);
		cr_assert_eq(call("GET", target, NULL), 200, "%s", target);
		n = json_array_size(value(member));
		total += n;
		if (json_is_null(value("next")))
			return total;
		cr_assert_eq(n, size, "a page before the last is full");
		snprintf(last, sizeof(last), "%s",
			 json_string_value(json_object_get(
				 json_array_get(value(member), n - 1), "id")));
		snprintf(after, sizeof(after), "%s", text("next"));
		cr_assert_str_eq(after, last);
	}
	cr_assert(false, "no end");
	return 0;
}

Test(api, lists_come_in_pages_without_gaps)
{
	make_org("a");
	make_org("b");
	for (int i = 0; i < 6; i++) {
		char body[64];

		snprintf(body, sizeof(body), "{\"name\":\"p%d\"}", i);
		call("POST", "/v1/orgs/a/projects", body);
		call("POST", "/v1/orgs/a/keys", NULL);
		call("POST", "/v1/orgs/b/keys", NULL);
	}
	for (unsigned size = 1; size <= 8; size++) {
		cr_assert_eq(walk("/v1/orgs", "orgs", size), 2);
		cr_assert_eq(walk("/v1/orgs/a/projects", "projects", size), 6);
		cr_assert_eq(walk("/v1/orgs/b/projects", "projects", size), 0);
		cr_assert_eq(walk("/v1/orgs/b/keys", "keys", size), 6);
		cr_assert_eq(walk("/v1/keys", "keys", size), 12);
		cr_assert_eq(walk("/v1/usage", "orgs", size), 2);
		cr_assert_eq(walk("/v1/usage?org=a", "keys", size), 6);
	}
	call("GET", "/v1/orgs/a/keys", NULL);
	cr_assert_eq(json_array_size(value("keys")), 6);
	cr_assert_eq(call("GET", "/v1/orgs/a/projects?after=none", NULL), 404);
	cr_assert_eq(call("GET", "/v1/orgs?after=", NULL), 404);
}

/* ---- operation ---- */

Test(api, readiness_says_why_not)
{
	cr_assert_eq(call("GET", "/readyz", NULL), 200);
	stand.not_ready = "draining";
	cr_assert_eq(call("GET", "/readyz", NULL), 503);
	cr_assert_eq(memcmp(stand.reply.body.data, "not ready: draining\n", 20),
		     0);
	cr_assert_eq(call("GET", "/livez", NULL), 200);
	stand.not_ready = NULL;
	/* A database that was taken away cannot record a change. */
	cr_assert_eq(call("GET", "/v1/status", NULL), 200);
	cr_assert(json_is_true(value("ready")));
	char path[128];

	snprintf(path, sizeof(path), "%s/records.db", stand.dir);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(call("GET", "/readyz", NULL), 503);
	call("GET", "/v1/status", NULL);
	cr_assert(json_is_false(value("ready")));
}

Test(api, status_adds_up)
{
	make_org("a");
	counter_add(&stand.counters[0].verdicts[REASON_ALLOW], 40);
	counter_add(&stand.counters[1].verdicts[REASON_ALLOW], 2);
	counter_add(&stand.counters[1].connections, 5);
	call("GET", "/v1/status", NULL);
	cr_assert_eq(number("counters.checks.allow"), 42);
	cr_assert_eq(number("workers.0.checks.allow"), 40);
	cr_assert_eq(number("connections"), 5);
	cr_assert_eq(number("counts.orgs"), 1);
	cr_assert_eq(number("pid"), getpid());
	cr_assert_str_eq(text("started_at"), "2023-11-14T22:13:20.123Z");
	cr_assert(json_is_null(value("snapshot.last_at")));
	cr_assert_eq(number("clock.step_ms"), 0);
	cr_assert_eq(number("clock.settle_s"), 600);
	stand.civil.step_ns = INT64_C(-3600000) * 1000000;
	stand.last.taken = true;
	stand.last.info.wall_ms = 1700000000000;
	strcpy(stand.last.error, "disk full");
	call("GET", "/v1/status", NULL);
	cr_assert_str_eq(text("snapshot.last_at"), "2023-11-14T22:13:20Z");
	cr_assert_str_eq(text("snapshot.last_error"), "disk full");
	cr_assert_eq(number("clock.step_ms"), -3600000);
}

Test(api, a_snapshot_that_fails_says_why)
{
	cr_assert_eq(call("POST", "/v1/snapshot", NULL), 200);
	cr_assert_eq(number("bytes"), 4096);
	stand.snapshot_result = -EIO;
	cr_assert_eq(call("POST", "/v1/snapshot", "{}"), 500);
	expect_error("internal", "the hook says no");
	stand.snapshot_result = -ENOSPC;
	cr_assert_eq(call("POST", "/v1/snapshot", NULL), 507);
	expect_error("capacity", "the hook says no");
}

Test(api, a_backup_is_written_once_and_for_its_owner_alone)
{
	char body[256], path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/copy.db", stand.dir);
	snprintf(body, sizeof(body), "{\"path\":\"%s\"}", path);
	cr_assert_eq(call("POST", "/v1/backup", body), 201);
	cr_assert_str_eq(text("path"), path);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(call("POST", "/v1/backup", body), 409);
	cr_assert_eq(call("POST", "/v1/backup", "{\"path\":\"/nowhere/x\"}"),
		     400);
	expect_error("invalid_request", "\"path\"");
	cr_assert_eq(call("POST", "/v1/backup", "{\"path\":\"x.db\"}"), 400);
	cr_assert_eq(call("POST", "/v1/backup", "{\"path\":\"\"}"), 400);
}

/* ---- secrets and the log ---- */

/* What a call writes to standard error. */
static const char *logged(const char *method, const char *target,
			  const char *body)
{
	static char said[4096];
	int file = memfd_create("stderr", 0), old = dup(STDERR_FILENO);
	ssize_t n;

	dup2(file, STDERR_FILENO);
	log_set_level(LOG_LEVEL_DEBUG);
	call(method, target, body);
	log_set_level(LOG_LEVEL_WARN);
	dup2(old, STDERR_FILENO);
	n = pread(file, said, sizeof(said) - 1, 0);
	cr_assert_geq(n, 0);
	said[n] = '\0';
	close(file);
	close(old);
	return said;
}

Test(api, changes_are_logged_with_who_and_what)
{
	const char *said;

	make_org("a b");
	said = logged("POST", "/v1/orgs/a%20b/suspend", NULL);
	cr_assert_not_null(strstr(said, "event=admin method=POST "
					"route=/v1/orgs/{org}/suspend "
					"subject=\"a b\" status=200 uid=4711"),
			   "%s", said);
	said = logged("DELETE", "/x\"y", NULL);
	cr_assert_not_null(strstr(said, "method=DELETE route=none status=404"),
			   "%s", said);
	said = logged("DELETE", "/v1/orgs/a", NULL);
	cr_assert_not_null(strstr(said, "route=/v1/orgs/{org} status=405"),
			   "%s", said);
	cr_assert_str_eq(logged("GET", "/v1/orgs", NULL), "",
			 "questions are not logged");
}

/* Operators paste keys where ids belong. */
Test(api, a_key_in_the_wrong_place_is_not_logged)
{
	static const char secret[] = "secretsecretsecret";
	static const struct {
		const char *method, *target, *body;
	} slips[] = {
		{"POST", "/v1/keys/il_abc_secretsecretsecret/revoke", NULL},
		{"POST", "/v1/keys/secretsecretsecret/rotate", "{}"},
		{"POST", "/v1/orgs/secretsecretsecret/suspend", NULL},
		{"POST", "/v1/orgs?key=secretsecretsecret", NULL},
		{"POST", "/secretsecretsecret", NULL},
		{"POST", "/v1/orgs", "{\"name\":secretsecretsecret}"},
		{"POST", "/v1/orgs", "{\"secretsecretsecret\":1}"},
		{"POST", "/v1/orgs/a/keys/import",
		 "{\"keys\":[{\"hash\":\"secretsecretsecret\"}]}"},
	};

	make_org("a");
	for (size_t i = 0; i < COUNT(slips); i++) {
		const char *said =
			logged(slips[i].method, slips[i].target, slips[i].body);

		cr_assert_str_neq(said, "");
		cr_assert_null(strstr(said, secret), "%s", said);
	}
}
