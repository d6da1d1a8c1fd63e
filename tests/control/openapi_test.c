/* SPDX-License-Identifier: MIT */

/*
 * docs/openapi.yaml and the API are the same: paths, parameters, members of
 * requests, answers and examples.
 */
#include "openapi.h"
#include "stand.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(openapi, .init = stand_open, .fini = stand_close);

Test(openapi, routes_and_documented_paths_are_the_same_set)
{
	json_t *paths = json_object_get(stand.doc, "paths"), *item, *operation;
	struct api_route_name name;
	size_t count = 0, documented = 0;
	const char *path, *method;

	for (; api_route(count, &name); count++)
		cr_expect_not_null(
			openapi_operation(stand.doc, name.method, name.path),
			"not documented: %s %s", name.method, name.path);
	json_object_foreach(paths, path, item)
	{
		json_object_foreach(item, method, operation)
		{
			documented += strcmp(method, "parameters") != 0;
		}
	}
	cr_assert_eq(documented, count, "%zu documented, %zu implemented",
		     documented, count);
}

Test(openapi, no_route_stands_twice_and_there_is_an_end)
{
	struct api_route_name a, b;

	for (size_t i = 0; api_route(i, &a); i++)
		for (size_t j = 0; j < i && api_route(j, &b); j++)
			cr_assert(strcmp(a.method, b.method) != 0 ||
				  strcmp(a.path, b.path) != 0);
	cr_assert_not(api_route(SIZE_MAX, &a));
}

/* A path of the document with "zzzzzzzz" for the part in braces. */
static const char *example_path(const char *path)
{
	static char out[128];
	const char *brace = strchr(path, '{');

	if (!brace)
		return path;
	snprintf(out, sizeof(out), "%.*szzzzzzzz%s", (int)(brace - path), path,
		 strchr(path, '}') + 1);
	return out;
}

static bool has_parameter(json_t *operation, const char *name)
{
	json_t *list = json_object_get(operation, "parameters"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		one = openapi_resolve(stand.doc, one);
		if (strcmp(json_string_value(json_object_get(one, "name")),
			   name) == 0)
			return true;
	}
	return false;
}

Test(openapi, exactly_the_documented_parameters_are_known)
{
	static const char *const pool[] = {"after", "limit",   "org",   "x",
					   "name",  "project", "route", "key",
					   "by",    "address"};
	struct api_route_name name;

	for (size_t i = 0; api_route(i, &name); i++) {
		json_t *operation =
			openapi_operation(stand.doc, name.method, name.path);

		for (size_t k = 0; k < COUNT(pool); k++) {
			char target[160];
			bool unknown;

			snprintf(target, sizeof(target), "%s?%s=1",
				 example_path(name.path), pool[k]);
			call(name.method, target, NULL);
			unknown = strstr(text("error.message"),
					 "unknown here") != NULL;
			cr_expect_eq(unknown,
				     !has_parameter(operation, pool[k]),
				     "%s %s", name.method, target);
		}
	}
}

static json_t *body_media(json_t *operation)
{
	json_t *body = openapi_resolve(
		stand.doc, json_object_get(operation, "requestBody"));

	return json_object_get(json_object_get(body, "content"),
			       "application/json");
}

Test(openapi, exactly_the_documented_members_are_known)
{
	static const char *const pool[] = {
		"name",       "limit",    "project", "expires_at", "expires_in",
		"grace",      "keys",     "path",    "hash",       "id",
		"x",          "plan",     "credits", "budget",     "scopes",
		"routes",     "networks", "level",   "amount",     "monthly",
		"pool",       "enabled",  "index",   "shadow",     "kind",
		"anchor_day", "timezone", "max",     "key",        "key_id",
		"cost",       "scope",    "address", "charge"};
	struct api_route_name name;

	for (size_t i = 0; api_route(i, &name); i++) {
		json_t *operation =
			openapi_operation(stand.doc, name.method, name.path);
		json_t *schema =
			json_object_get(body_media(operation), "schema");

		for (size_t k = 0; k < COUNT(pool); k++) {
			char body[64];
			bool known;

			snprintf(body, sizeof(body), "{\"%s\":false}", pool[k]);
			call(name.method, example_path(name.path), body);
			known = json_object_get(
				json_object_get(schema, "properties"), pool[k]);
			if (!schema)
				expect_error("invalid_request", "no body");
			else if (known)
				cr_assert_null(strstr(text("error.message"),
						      "no such member"));
			else
				expect_error("invalid_request",
					     "no such member");
		}
		/* Is a body required as documented? */
		if (strcmp(name.method, "POST") == 0 ||
		    strcmp(name.method, "PATCH") == 0) {
			bool required = json_is_true(json_object_get(
				openapi_resolve(stand.doc,
						json_object_get(operation,
								"requestBody")),
				"required"));

			call(name.method, example_path(name.path), NULL);
			cr_expect_eq(strstr(text("error.message"),
					    "expected as body") != NULL,
				     required, "%s", name.path);
		}
	}
}

static unsigned examples;

static void media_example_fits(const char *where, json_t *media)
{
	json_t *example = json_object_get(media, "example");
	char problem[OPENAPI_PROBLEM_MAX] = "";

	if (!example)
		return;
	examples++;
	cr_expect(openapi_fits(stand.doc, json_object_get(media, "schema"),
			       example, true, problem),
		  "%s: %s", where, problem);
}

/* Everything that has a "content" anywhere below. */
static void examples_below(const char *where, json_t *node)
{
	const char *name;
	json_t *one;
	size_t i;

	if (json_is_array(node)) {
		json_array_foreach(node, i, one) examples_below(where, one);
		return;
	}
	json_object_foreach(node, name, one)
	{
		if (json_object_get(one, "schema"))
			media_example_fits(where, one);
		examples_below(name, one);
	}
}

Test(openapi, examples_fit_their_schemas)
{
	examples_below("", stand.doc);
	cr_assert_gt(examples, 10);
}

Test(openapi, examples_of_requests_are_accepted)
{
	struct api_route_name name;
	const char *key, *project;

	cr_assert_eq(call("POST", "/v1/orgs", "{\"name\":\"zzzzzzzz\"}"), 201);
	cr_assert_eq(call("POST", "/v1/plans", "{\"name\":\"zzzzzzzz\"}"), 201);
	cr_assert_eq(call("POST", "/v1/orgs/zzzzzzzz/projects",
			  "{\"name\":\"website\"}"),
		     201);
	project = keep("id");
	cr_assert_eq(call("POST", "/v1/orgs/zzzzzzzz/keys", "{}"), 201);
	key = keep("id");
	for (size_t i = 0; api_route(i, &name); i++) {
		json_t *media = body_media(
			openapi_operation(stand.doc, name.method, name.path));
		json_t *example =
			json_deep_copy(json_object_get(media, "example"));
		char target[128], path[128];

		if (!example)
			continue;
		strcpy(target, example_path(name.path));
		if (strncmp(target, "/v1/keys/", 9) == 0)
			memcpy(target + 9, key, 8);
		if (strncmp(target, "/v1/projects/", 13) == 0)
			memcpy(target + 13, project, 8);
		/* Two that would meet what is there. */
		if (strcmp(name.path, "/v1/backup") == 0) {
			snprintf(path, sizeof(path), "%s/copy.db", stand.dir);
			json_object_set_new(example, "path", json_string(path));
		}
		if (strstr(name.path, "{org}/projects") ||
		    strcmp(name.path, "/v1/plans") == 0)
			json_object_set_new(example, "name", json_string("b"));
		call_json(name.method, target, example);
		/* revoked just before */
		if (strstr(target, "rotate") || strstr(target, "able"))
			cr_expect_eq(stand.reply.status, 409);
		else if (strcmp(target, "/v1/settle") == 0) /* no such hold */
			cr_expect_eq(stand.reply.status, 404);
		else
			cr_expect_eq(stand.reply.status / 100, 2, "%s: %s",
				     target, text("error.message"));
		json_decref(example);
	}
}

/* ---- every documented answer is given ---- */

struct step {
	const char *method, *target, *body;
	unsigned status;
};

#define HASH_A                                                                 \
	"\"hash\":"                                                            \
	"\"0011223344556677889900112233445566778899001122334455667788990011\""
#define LIMIT(name, limit) "{\"name\":\"" name "\",\"limit\":\"" limit "\"}"
#define HASH_B                                                                 \
	"\"hash\":"                                                            \
	"\"AA11223344556677889900112233445566778899001122334455667788990011\""

/* One after the other, in a registry with room for 2 organizations, 2
 * projects, 5 keys and one large window. KEY1 and KEY2 stand for the ids
 * of the first two keys, PROJECT for that of the first project, DIR for the
 * scratch directory. */
static const struct step steps[] = {
	{"GET", "/livez", NULL, 200},
	{"GET", "/livez?x=1", NULL, 400},
	{"GET", "/readyz", NULL, 200},
	{"GET", "/readyz?x=1", NULL, 400},
	{"GET", "/healthz", NULL, 200},
	{"GET", "/healthz?x=1", NULL, 400},
	{"GET", "/metrics", NULL, 200},
	{"GET", "/metrics?x=1", NULL, 400},
	{"GET", "/v1/status", NULL, 200},
	{"GET", "/v1/status?x=1", NULL, 400},
	{"POST", "/v1/snapshot", NULL, 200},
	{"POST", "/v1/snapshot", "{\"x\":1}", 400},
	{"POST", "/v1/backup", "{\"path\":\"DIR/copy.db\"}", 201},
	{"POST", "/v1/backup", "{\"path\":\"DIR/copy.db\"}", 409},
	{"POST", "/v1/backup", "{\"path\":\"copy.db\"}", 400},

	{"POST", "/v1/orgs", "{\"name\":\"a\",\"limit\":\"16384/1d\"}", 201},
	{"POST", "/v1/orgs", "{\"name\":\"a\"}", 409},
	{"POST", "/v1/orgs", "{\"name\":\"\"}", 400},
	{"POST", "/v1/orgs", "{\"name\":\"b\"}", 201},
	{"POST", "/v1/orgs", "{\"name\":\"c\"}", 507},
	{"GET", "/v1/orgs", NULL, 200},
	{"GET", "/v1/orgs?limit=0", NULL, 400},
	{"GET", "/v1/orgs?after=none", NULL, 404},
	{"GET", "/v1/orgs/a", NULL, 200},
	{"GET", "/v1/orgs/%zz", NULL, 400},
	{"GET", "/v1/orgs/none", NULL, 404},
	{"PATCH", "/v1/orgs/a", "{\"limit\":\"5/1s\"}", 200},
	{"PATCH", "/v1/orgs/a", "{\"limit\":\"5\"}", 400},
	{"PATCH", "/v1/orgs/none", "{\"limit\":\"5/1s\"}", 404},
	{"PATCH", "/v1/orgs/b", "{\"limit\":\"65536/31d\"}", 200},
	{"PATCH", "/v1/orgs/a", "{\"limit\":\"65536/31d\"}", 507},
	{"POST", "/v1/orgs/a/suspend", NULL, 200},
	{"POST", "/v1/orgs/a/suspend", "[]", 400},
	{"POST", "/v1/orgs/none/suspend", NULL, 404},
	{"POST", "/v1/orgs/a/resume", NULL, 200},
	{"POST", "/v1/orgs/a/resume", "{", 400},
	{"POST", "/v1/orgs/none/resume", NULL, 404},

	{"POST", "/v1/orgs", "{\"name\":\"c\",\"plan\":\"none\"}", 404},
	{"PATCH", "/v1/orgs/a", "{\"plan\":\"default\"}", 200},
	{"PATCH", "/v1/orgs/a", "{\"anchor_day\":32}", 400},
	{"GET", "/v1/orgs/a/limits", NULL, 200},
	{"GET", "/v1/orgs/a/limits?x=1", NULL, 400},
	{"GET", "/v1/orgs/none/limits", NULL, 404},
	{"POST", "/v1/orgs/a/limits", LIMIT("k", "inflight 5"), 200},
	{"POST", "/v1/orgs/a/limits", LIMIT("k", "inflight"), 400},
	{"POST", "/v1/orgs/a/limits", LIMIT("org", "65536/31d"), 507},
	{"POST", "/v1/orgs/none/limits", LIMIT("k", "1/1s"), 404},
	{"POST", "/v1/orgs/a/limits/remove", "{\"name\":\"k\"}", 200},
	{"POST", "/v1/orgs/a/limits/remove", "{\"name\":\"k\"}", 404},
	{"POST", "/v1/orgs/a/limits/remove", "{}", 400},
	{"POST", "/v1/orgs/a/limits/remove", "{\"name\":\"org\"}", 200},
	{"GET", "/v1/orgs/a/limits/show?name=org", NULL, 200},
	{"GET", "/v1/orgs/a/limits/show", NULL, 400},
	{"GET", "/v1/orgs/a/limits/show?name=none", NULL, 404},
	{"POST", "/v1/orgs/a/limits/reset", "{\"name\":\"org\"}", 200},
	{"POST", "/v1/orgs/a/limits/reset", "{\"name\":1}", 400},
	{"POST", "/v1/orgs/a/limits/reset", "{\"name\":\"none\"}", 404},
	{"POST", "/v1/orgs/a/limits", LIMIT("fly", "inflight 5"), 200},
	{"POST", "/v1/orgs/a/limits/reset", "{\"name\":\"fly\"}", 409},
	{"POST", "/v1/orgs/a/limits/remove", "{\"name\":\"fly\"}", 200},
	{"POST", "/v1/settle", "{\"hold\":\"000001a2106f1437\"}", 404},
	{"POST", "/v1/settle", "{\"hold\":\"1\"}", 400},
	{"POST", "/v1/settle",
	 "{\"hold\":\"000001a2106f1437\",\"cost\":1000001}", 400},
	{"POST", "/v1/checks", "{\"key\":\"none\"}", 200},
	{"POST", "/v1/checks", "{}", 400},
	{"POST", "/v1/checks", "{\"key_id\":\"none\"}", 404},
	{"POST", "/v1/explain", "{\"key\":\"none\"}", 200},
	{"POST", "/v1/explain", "{}", 400},
	{"POST", "/v1/explain", "{\"key_id\":\"none\"}", 404},

	{"POST", "/v1/plans", "{\"name\":\"fast\"}", 201},
	{"POST", "/v1/plans", "{\"name\":\"fast\"}", 409},
	{"POST", "/v1/plans", "{\"name\":7}", 400},
	{"GET", "/v1/plans", NULL, 200},
	{"GET", "/v1/plans?limit=0", NULL, 400},
	{"GET", "/v1/plans?after=none", NULL, 404},
	{"GET", "/v1/plans/fast", NULL, 200},
	{"GET", "/v1/plans/fast?x=1", NULL, 400},
	{"GET", "/v1/plans/none", NULL, 404},
	{"POST", "/v1/plans/fast/limits", LIMIT("k", "gcra 5/1s"), 200},
	{"POST", "/v1/plans/fast/limits", LIMIT("K", "gcra 5/1s"), 400},
	{"POST", "/v1/plans/none/limits", LIMIT("k", "gcra 5/1s"), 404},
	{"POST", "/v1/plans/default/limits", LIMIT("org", "65536/31d"), 507},
	{"POST", "/v1/plans/fast/limits/remove", "{\"name\":\"k\"}", 200},
	{"POST", "/v1/plans/fast/limits/remove", "{\"name\":\"k\"}", 404},
	{"POST", "/v1/plans/fast/limits/remove", "{\"name\":1}", 400},
	{"POST", "/v1/plans/fast/remove", NULL, 200},
	{"POST", "/v1/plans/fast/remove", NULL, 404},
	{"POST", "/v1/plans/default/remove", NULL, 400},

	{"POST", "/v1/orgs/a/credits", "{\"amount\":10,\"kind\":\"trial\"}",
	 201},
	{"POST", "/v1/orgs/a/credits", "{\"amount\":10,\"kind\":\"trial\"}",
	 409},
	{"POST", "/v1/orgs/a/credits", "{\"amount\":-1}", 400},
	{"POST", "/v1/orgs/none/credits", "{\"amount\":1}", 404},
	{"GET", "/v1/orgs/a/credits", NULL, 200},
	{"GET", "/v1/orgs/a/credits?x=1", NULL, 400},
	{"GET", "/v1/orgs/none/credits", NULL, 404},
	{"POST", "/v1/orgs/a/credits/subscribe", "{\"monthly\":0}", 404},
	{"POST", "/v1/orgs/a/credits/subscribe", "{\"monthly\":10}", 200},
	{"POST", "/v1/orgs/a/credits/subscribe", "{\"monthly\":\"x\"}", 400},
	{"POST", "/v1/orgs/a/credits/revoke", "{\"pool\":2}", 200},
	{"POST", "/v1/orgs/a/credits/revoke", "{\"pool\":2}", 404},
	{"POST", "/v1/orgs/a/credits/revoke", "{\"pool\":-2}", 400},
	{"POST", "/v1/orgs/a/credits/overage", "{\"enabled\":true}", 200},
	{"POST", "/v1/orgs/a/credits/overage", "{\"enabled\":1}", 400},
	{"POST", "/v1/orgs/none/credits/overage", "{\"enabled\":true}", 404},
	{"GET", "/v1/orgs/a/ledger", NULL, 200},
	{"GET", "/v1/orgs/a/ledger?after=x", NULL, 400},
	{"GET", "/v1/orgs/none/ledger", NULL, 404},
	{"GET", "/v1/events", NULL, 200},
	{"GET", "/v1/events?after=x", NULL, 400},
	{"GET", "/v1/audit?limit=1", NULL, 200},
	{"GET", "/v1/audit?after=-1", NULL, 400},

	{"POST", "/v1/orgs/a/projects",
	 "{\"name\":\"p\",\"budget\":\"5/month\"}", 201},
	{"POST", "/v1/projects/PROJECT/budget", "{\"budget\":\"none\"}", 200},
	{"POST", "/v1/projects/PROJECT/budget", "{\"budget\":\"5\"}", 400},
	{"POST", "/v1/projects/none/budget", "{\"budget\":\"5/day\"}", 404},
	{"POST", "/v1/orgs/a/projects", "{\"name\":\"p\"}", 409},
	{"POST", "/v1/orgs/a/projects", "{\"name\":7}", 400},
	{"POST", "/v1/orgs/none/projects", "{\"name\":\"p\"}", 404},
	{"POST", "/v1/orgs/b/projects", "{\"name\":\"p\"}", 201},
	{"POST", "/v1/orgs/a/projects", "{\"name\":\"q\"}", 507},
	{"GET", "/v1/orgs/a/projects", NULL, 200},
	{"GET", "/v1/orgs/a/projects?limit=x", NULL, 400},
	{"GET", "/v1/orgs/none/projects", NULL, 404},

	{"POST", "/v1/orgs/a/keys", "{\"project\":\"p\"}", 201}, /* KEY1 */
	{"POST", "/v1/orgs/a/keys", NULL, 201},                  /* KEY2 */
	{"POST", "/v1/orgs/a/keys", "{\"expires_in\":\"x\"}", 400},
	{"POST", "/v1/orgs/none/keys", NULL, 404},
	{"GET", "/v1/orgs/a/keys", NULL, 200},
	{"GET", "/v1/orgs/a/keys?limit=1001", NULL, 400},
	{"GET", "/v1/orgs/none/keys", NULL, 404},
	{"POST", "/v1/orgs/a/keys/import", "{\"keys\":[{" HASH_A "}]}", 201},
	{"POST", "/v1/orgs/a/keys/import", "{\"keys\":[{" HASH_A "}]}", 409},
	{"POST", "/v1/orgs/a/keys/import", "{\"keys\":[]}", 400},
	{"POST", "/v1/orgs/none/keys/import", "{\"keys\":[{" HASH_A "}]}", 404},
	{"GET", "/v1/keys", NULL, 200},
	{"GET", "/v1/keys?limit=-1", NULL, 400},
	{"GET", "/v1/keys?after=none", NULL, 404},
	{"GET", "/v1/keys/KEY1", NULL, 200},
	{"GET", "/v1/keys/KEY1", "{}", 400},
	{"GET", "/v1/keys/none", NULL, 404},
	{"POST", "/v1/keys/KEY2/rotate", "{\"grace\":\"1h\"}", 201},
	{"POST", "/v1/keys/KEY2/rotate", NULL, 201}, /* five keys now */
	{"POST", "/v1/keys/KEY2/rotate", NULL, 409},
	{"POST", "/v1/keys/KEY2/rotate", "{\"grace\":3600}", 400},
	{"POST", "/v1/keys/none/rotate", NULL, 404},
	{"POST", "/v1/keys/KEY1/rotate", NULL, 507},
	{"POST", "/v1/orgs/a/keys", NULL, 507},
	{"POST", "/v1/orgs/a/keys/import", "{\"keys\":[{" HASH_B "}]}", 507},
	{"POST", "/v1/keys/KEY1/disable", NULL, 200},
	{"POST", "/v1/keys/KEY1/disable", "{\"x\":1}", 400},
	{"POST", "/v1/keys/none/disable", NULL, 404},
	{"POST", "/v1/keys/KEY1/enable", NULL, 200},
	{"POST", "/v1/keys/KEY1/enable", "{\"x\":1}", 400},
	{"POST", "/v1/keys/none/enable", NULL, 404},
	{"POST", "/v1/keys/KEY1/revoke", NULL, 200},
	{"POST", "/v1/keys/KEY1/disable", NULL, 409},
	{"POST", "/v1/keys/KEY1/enable", NULL, 409},
	{"POST", "/v1/keys/KEY1/revoke", "{\"x\":null}", 400},
	{"POST", "/v1/keys/none/revoke", NULL, 404},

	{"GET", "/v1/usage", NULL, 200},
	{"GET", "/v1/usage?org=a", NULL, 200},
	{"GET", "/v1/usage?org=a&org=a", NULL, 400},
	{"GET", "/v1/usage?org=none", NULL, 404},
	{"GET", "/v1/usage?org=a&by=project", NULL, 200},
	{"GET", "/v1/usage?org=a&by=key&format=csv", NULL, 200},
	{"GET", "/v1/usage?org=a&by=nothing", NULL, 400},
};

/* What the stand cannot bring about, and who does. */
static const char *const elsewhere[] = {
	"POST /v1/backup 507", /* a full disk: tests/e2e/faults_test.py */
	"POST /v1/settle 200", /* a hold: tests/e2e/holds_test.py */
};

/* `in` with the first `what` replaced. */
static const char *put(const char *in, const char *what, const char *with)
{
	static char out[2][512];
	static unsigned next;
	const char *at = in ? strstr(in, what) : NULL;
	char *to = out[next ^= 1];

	if (!at)
		return in;
	snprintf(to, sizeof(out[0]), "%.*s%s%s", (int)(at - in), in, with,
		 at + strlen(what));
	return to;
}

static void every_documented_answer_was_given(void)
{
	json_t *paths = json_object_get(stand.doc, "paths"), *item, *operation,
	       *response;
	const char *path, *method, *status;

	for (size_t i = 0; i < COUNT(elsewhere); i++)
		json_object_set_new(stand.given, elsewhere[i], json_true());
	json_object_foreach(paths, path, item)
	{
		json_object_foreach(item, method, operation)
		{
			json_t *all = json_object_get(operation, "responses");

			json_object_foreach(all, status, response)
			{
				char name[128];
				char upper[8];
				size_t n = 0;

				for (; method[n]; n++)
					upper[n] = (char)(method[n] - 32);
				upper[n] = '\0';
				snprintf(name, sizeof(name), "%s %s %s", upper,
					 path, status);
				cr_expect(strcmp(status, "default") == 0 ||
						  json_object_get(stand.given,
								  name),
					  "documented, but not seen: %s", name);
			}
		}
	}
}

Test(openapi_steps, every_documented_answer_is_given, .fini = stand_close)
{
	char first[9] = "", second[9] = "", project[9] = "";

	stand_open_with("{max_orgs: 2, max_projects: 2, max_keys: 5, "
			"ring_bytes: 1MiB}");
	for (size_t i = 0; i < COUNT(steps); i++) {
		const struct step *s = &steps[i];
		const char *target =
			put(put(put(s->target, "KEY1", first), "KEY2", second),
			    "PROJECT", project);

		call(s->method, target, put(s->body, "DIR", stand.dir));
		cr_expect_eq(stand.reply.status, s->status,
			     "step %zu: %s %s %s: %u %s", i, s->method, target,
			     s->body, stand.reply.status,
			     text("error.message"));
		if (stand.reply.status == 201 && value("key"))
			strcpy(first[0] ? second : first, text("id"));
		if (stand.reply.status == 201 && value("budgets") &&
		    !project[0])
			strcpy(project, text("id"));
	}
	/* Plans in use; pools that cannot be told apart from a full table. */
	call("POST", "/v1/plans", "{\"name\":\"used\"}");
	call("PATCH", "/v1/orgs/a", "{\"plan\":\"used\"}");
	call("POST", "/v1/plans/used/remove", NULL);
	for (unsigned i = 0; i < 17; i++)
		call("POST", "/v1/orgs/a/credits", "{\"amount\":1}");
	stand.not_ready = "starting";
	call("GET", "/readyz", NULL);
	call("GET", "/healthz", NULL);
	stand.snapshot_result = -ENOSPC;
	call("POST", "/v1/snapshot", NULL);
	every_documented_answer_was_given();
}
