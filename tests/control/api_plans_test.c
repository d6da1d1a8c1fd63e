/* SPDX-License-Identifier: MIT */

/*
 * Plans, limits, budgets, access and credits over the admin API. Statuses of
 * every route are walked in openapi_test.c; here is what the answers mean.
 */
#include "stand.h"
#include "state/records_events.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(api_plans, .init = stand_open, .fini = stand_close);

/* "name=limit(source) " of the limits in the last answer. */
static const char *limits(void)
{
	static char out[512];
	json_t *array = value("limits"), *one;
	size_t i;

	out[0] = '\0';
	json_array_foreach(array, i, one)
	{
		sprintf(out + strlen(out), "%s=%s(%s) ",
			json_string_value(json_object_get(one, "name")),
			json_string_value(json_object_get(one, "limit")),
			json_string_value(json_object_get(one, "source")));
	}
	return out;
}

static void good(const char *method, const char *target, const char *body)
{
	cr_assert_eq(call(method, target, body) / 100, 2, "%s %s: %s", target,
		     body ? body : "", text("error.message"));
}

Test(api_plans, limits_say_where_they_are_from)
{
	make_org("a");
	good("GET", "/v1/orgs/a/limits", NULL);
	cr_expect_str_eq(limits(), "org=100/60s(default) ");
	good("POST", "/v1/plans", "{\"name\":\"fast\"}");
	cr_expect_eq(number("orgs"), 0);
	good("POST", "/v1/plans/fast/limits",
	     "{\"name\":\"org\",\"limit\":\"500/60s\"}");
	good("POST", "/v1/plans/fast/limits",
	     "{\"name\":\"k\",\"limit\":\"gcra 10/1s burst 5\","
	     "\"level\":\"key\"}");
	cr_expect_str_eq(limits(),
			 "org=500/60s(plan) k=gcra 10/1s burst 5(plan) ");
	good("PATCH", "/v1/orgs/a", "{\"plan\":\"fast\"}");
	cr_expect_str_eq(text("plan"), "fast");
	cr_expect_eq(number("limit.limit"), 500);
	good("POST", "/v1/orgs/a/limits", "{\"name\":\"k\",\"limit\":\"off\"}");
	cr_expect_str_eq(limits(), "org=500/60s(plan) ");
	good("POST", "/v1/orgs/a/limits",
	     "{\"name\":\"x\",\"limit\":\"inflight 5\"}");
	cr_expect_str_eq(limits(), "org=500/60s(plan) "
				   "x=inflight 5 lease 60s(org) ");
	good("PATCH", "/v1/orgs/a", "{\"limit\":\"7/1s\"}");
	good("GET", "/v1/orgs/a/limits", NULL);
	cr_expect_str_eq(limits(),
			 "org=7/1s(org) x=inflight 5 lease 60s(org) ");
	good("POST", "/v1/orgs/a/limits/remove", "{\"name\":\"org\"}");
	good("POST", "/v1/orgs/a/limits/remove", "{\"name\":\"x\"}");
	good("POST", "/v1/orgs/a/limits/remove", "{\"name\":\"k\"}");
	cr_expect_str_eq(limits(),
			 "org=500/60s(plan) k=gcra 10/1s burst 5(plan) ");
	good("GET", "/v1/plans/fast", NULL);
	cr_expect_eq(number("orgs"), 1);
	cr_expect_eq(call("POST", "/v1/plans/fast/remove", NULL), 409);
	expect_error("conflict", "organizations have this plan");
}

Test(api_plans, every_member_of_a_limit_is_kept)
{
	make_org("a");
	good("POST", "/v1/orgs/a/limits",
	     "{\"name\":\"n\",\"limit\":\"5/1s\",\"level\":\"route\","
	     "\"route\":\"/ocr\",\"shadow\":true,\"requests\":true,"
	     "\"when_full\":\"pass\",\"max_subjects\":1000}");
	cr_expect_str_eq(text("limits.1.level"), "route");
	cr_expect_str_eq(text("limits.1.route"), "/ocr");
	cr_expect(json_is_true(value("limits.1.shadow")));
	cr_expect(json_is_true(value("limits.1.requests")));
	cr_expect_str_eq(text("limits.1.when_full"), "pass");
	cr_expect_eq(number("limits.1.max_subjects"), 1000);
	/* What is not said is as if it had never been. */
	good("POST", "/v1/orgs/a/limits",
	     "{\"name\":\"n\",\"limit\":\"5/1s\"}");
	cr_expect_str_eq(text("limits.1.level"), "org");
	cr_expect(json_is_null(value("limits.1.route")));
	cr_expect(json_is_null(value("limits.1.max_subjects")));
}

Test(api_plans, limits_that_are_refused_say_why)
{
	static const struct {
		const char *body, *message;
	} bad[] = {
		{"{\"name\":\"n\"}", "\"limit\": missing"},
		{"{\"name\":\"n\",\"limit\":\"5\"}", "\"gcra 10/1s burst 5\""},
		{"{\"name\":\"n\",\"limit\":\"0/1s\"}", "1..8388607"},
		{"{\"name\":\"n\",\"limit\":\"5/1s\",\"level\":\"x\"}",
		 "\"level\": expected org"},
		{"{\"name\":\"n\",\"limit\":\"5/1s\",\"shadow\":1}",
		 "\"shadow\": expected true or false"},
		{"{\"name\":\"n\",\"limit\":\"5/1s\",\"when_full\":\"x\"}",
		 "\"when_full\": expected deny or pass"},
		{"{\"name\":\"n\",\"limit\":\"5/"
		 "1s\",\"max_subjects\":99999999}",
		 "at most 16777216 subjects"},
		{"{\"name\":\"n\",\"limit\":\"5/1s\",\"max_subjects\":-1}",
		 "not negative"},
		{"{\"name\":\"abcdefghijklmnopqrstuvwxyz\",\"limit\":\"5/1s\"}",
		 "at most 24 bytes"},
		{"{\"name\":\"A\",\"limit\":\"5/1s\"}", "a-z"},
		{"{\"name\":\"org\",\"limit\":\"5/1s\",\"level\":\"key\"}",
		 "of level org"},
	};

	make_org("a");
	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert_eq(call("POST", "/v1/orgs/a/limits", bad[i].body),
			     400, "%s", bad[i].body);
		expect_error("invalid_request", bad[i].message);
	}
	cr_assert_eq(call("POST", "/v1/plans/default/limits",
			  "{\"name\":\"n\",\"limit\":\"off\"}"),
		     400);
	good("POST", "/v1/orgs/a/limits",
	     "{\"name\":\"org\",\"limit\":\"gcra 5/1s\"}");
	good("GET", "/v1/orgs/a", NULL);
	cr_expect(json_is_null(value("limit")));
}

Test(api_plans, one_thing_of_an_organization_is_changed_at_a_time)
{
	static const char *const bad[] = {
		"{\"limit\":\"5/1s\",\"plan\":\"default\"}",
		"{\"plan\":\"default\",\"anchor_day\":3}",
		"{\"limit\":\"5/1s\",\"timezone\":\"UTC\"}",
	};

	make_org("a");
	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert_eq(call("PATCH", "/v1/orgs/a", bad[i]), 400);
		expect_error("invalid_request", "Expected one of");
	}
	good("PATCH", "/v1/orgs/a", "{\"anchor_day\":31}");
	cr_expect_eq(number("anchor_day"), 31);
	cr_expect_str_eq(text("timezone"), "UTC");
	cr_expect_eq(call("PATCH", "/v1/orgs/a", "{\"anchor_day\":0}"), 400);
	expect_error("invalid_request", "1 to 31");
	cr_expect_eq(call("PATCH", "/v1/orgs/a", "{\"anchor_day\":257}"), 400);
	cr_expect_eq(call("PATCH", "/v1/orgs/a", "{\"timezone\":\"x\"}"), 400);
	expect_error("invalid_request", "Europe/Berlin");
	cr_expect_eq(call("PATCH", "/v1/orgs/a", "{\"plan\":\"none\"}"), 404);
	good("GET", "/v1/orgs/a", NULL);
	cr_expect_eq(number("anchor_day"), 31);
}

Test(api_plans, plans_are_listed_page_by_page)
{
	good("POST", "/v1/plans", "{\"name\":\"b\"}");
	good("POST", "/v1/plans", "{\"name\":\"c\"}");
	good("GET", "/v1/plans?limit=2", NULL);
	cr_expect_str_eq(text("plans.0.name"), "default");
	cr_expect(json_is_null(value("plans.0.created_at")));
	cr_expect_str_eq(text("plans.1.name"), "b");
	cr_assert_eq(call_at("GET", "/v1/plans?after=*", keep("next"), NULL),
		     200);
	cr_expect_str_eq(text("plans.0.name"), "c");
	cr_expect(json_is_null(value("next")));
}

Test(api_plans, budgets_of_a_project_are_shown_and_changed)
{
	const char *id;

	make_org("a");
	good("POST", "/v1/orgs/a/projects",
	     "{\"name\":\"p\",\"budget\":\"100/month\"}");
	cr_expect_str_eq(text("budgets.0.budget"), "100/month");
	id = keep("id");
	cr_assert_eq(call_at("POST", "/v1/projects/*/budget", id,
			     "{\"budget\":\"5/day\",\"index\":1}"),
		     200);
	cr_expect_eq(number("budgets.1.index"), 1);
	cr_assert_eq(call_at("POST", "/v1/projects/*/budget", id,
			     "{\"budget\":\"none\"}"),
		     200);
	cr_expect_eq(json_array_size(value("budgets")), 1);
	cr_expect_str_eq(text("budgets.0.budget"), "5/day");
	/* Nothing to take away is no failure. */
	cr_expect_eq(call_at("POST", "/v1/projects/*/budget", id,
			     "{\"budget\":\"none\"}"),
		     200);
	cr_expect_eq(call_at("POST", "/v1/projects/*/budget", id,
			     "{\"budget\":\"5/day\",\"index\":2}"),
		     400);
	good("GET", "/v1/orgs/a/projects", NULL);
	cr_expect_str_eq(text("projects.0.budgets.0.budget"), "5/day");
	cr_expect_eq(call("POST", "/v1/orgs/a/projects",
			  "{\"name\":\"q\",\"budget\":\"none\"}"),
		     400);
}

Test(api_plans, access_of_a_key_is_shown_wherever_the_key_is)
{
	const char *id;

	make_org("a");
	good("POST", "/v1/orgs/a/keys",
	     "{\"scopes\":[\"read\",\"a.b\"],\"routes\":[\"/ocr\"],"
	     "\"networks\":[\"10.0.0.0/8\",\"::1\"]}");
	id = keep("id");
	cr_assert_eq(call_at("GET", "/v1/keys/*", id, NULL), 200);
	cr_expect_eq(json_array_size(value("scopes")), 2);
	cr_expect_str_eq(text("routes.0"), "/ocr");
	cr_expect_str_eq(text("networks.0"), "10.0.0.0/8");
	cr_assert_eq(call_at("POST", "/v1/keys/*/rotate", id, NULL), 201);
	cr_expect_str_eq(text("new.routes.0"), "/ocr");
	cr_expect_eq(call("POST", "/v1/orgs/a/keys", "{\"scopes\":[7]}"), 400);
	expect_error("invalid_request", "\"scopes\": expected texts");
	cr_expect_eq(call("POST", "/v1/orgs/a/keys", "{\"scopes\":\"a\"}"),
		     400);
	cr_expect_eq(call("POST", "/v1/orgs/a/keys",
			  "{\"networks\":[\"10.0.0.1/8\"]}"),
		     400);
	expect_error("invalid_request", "2001:db8::/32");
	cr_expect_eq(
		call("POST", "/v1/orgs/a/keys", "{\"scopes\":[\"a\",\"a\"]}"),
		400);
	expect_error("invalid_request", "twice");
}

Test(api_plans, disabled_key_says_so)
{
	const char *id;

	make_org("a");
	good("POST", "/v1/orgs/a/keys", NULL);
	id = keep("id");
	cr_assert_eq(call_at("POST", "/v1/keys/*/disable", id, NULL), 200);
	cr_expect_str_eq(text("state"), "disabled");
	cr_assert_eq(call_at("POST", "/v1/keys/*/enable", id, NULL), 200);
	cr_expect_str_eq(text("state"), "active");
}

Test(api_plans, credits_are_granted_and_accounted_for)
{
	good("POST", "/v1/orgs", "{\"name\":\"a\",\"credits\":500}");
	cr_expect_eq(number("credits"), 500);
	make_org("b");
	cr_expect(json_is_null(value("credits")));
	good("GET", "/v1/orgs/b/credits", NULL);
	cr_expect_not(json_is_true(value("counted")));
	good("POST", "/v1/orgs/a/credits",
	     "{\"amount\":50,\"kind\":\"trial\",\"route\":\"/ocr\","
	     "\"expires_in\":\"90d\"}");
	cr_expect(json_is_true(value("counted")));
	cr_expect_eq(number("rest"), 550);
	cr_expect_str_eq(text("pools.0.kind"), "trial");
	cr_expect_str_eq(text("pools.0.route"), "/ocr");
	cr_expect(json_is_string(value("pools.0.expires_at")));
	cr_expect_str_eq(text("pools.1.kind"), "pack");
	cr_expect(json_is_null(value("pools.1.route")));
	good("POST", "/v1/orgs/a/credits/subscribe", "{\"monthly\":1000}");
	cr_expect_eq(number("pools.0.monthly"), 1000);
	cr_expect_eq(number("rest"), 1500);
	good("POST", "/v1/orgs/a/credits/overage",
	     "{\"enabled\":true,\"max\":9}");
	cr_expect(json_is_true(value("overage")));
	good("GET", "/v1/orgs/a/ledger?limit=3", NULL);
	cr_expect_eq(number("ledger.0.change"), 500);
	cr_expect_str_eq(text("ledger.0.why"), "grant");
	cr_assert_eq(number("next"), 3);
	good("GET", "/v1/orgs/a/ledger?after=3", NULL);
	cr_expect_eq(number("ledger.0.change"), -50);
	cr_expect_str_eq(text("ledger.0.why"), "subscribed");
	cr_expect(json_is_null(value("next")));
}

Test(api_plans, credits_that_are_refused_say_why)
{
	static const struct {
		const char *target, *body, *message;
	} bad[] = {
		{"/v1/orgs/a/credits", "{}", "\"amount\": missing"},
		{"/v1/orgs/a/credits", "{\"amount\":1.5}", "whole number"},
		{"/v1/orgs/a/credits", "{\"amount\":9000000000000}",
		 "8796093022207"},
		{"/v1/orgs/a/credits",
		 "{\"amount\":1,\"kind\":\"subscription\"}", "\"kind\""},
		{"/v1/orgs/a/credits",
		 "{\"amount\":1,\"expires_at\":\"2001-01-01T00:00:00Z\"}",
		 "Expiry"},
		{"/v1/orgs/a/credits",
		 "{\"amount\":1,\"expires_in\":\"1h\","
		 "\"expires_at\":\"2901-01-01T00:00:00Z\"}",
		 "not both"},
		{"/v1/orgs/a/credits/subscribe", "{\"monthly\":9000000000000}",
		 "8796093022207"},
	};

	make_org("a");
	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert_eq(call("POST", bad[i].target, bad[i].body), 400,
			     "%s", bad[i].body);
		expect_error("invalid_request", bad[i].message);
	}
	good("GET", "/v1/orgs/a", NULL);
	cr_expect(json_is_null(value("credits")));
}

Test(api_plans, changes_are_in_the_audit_trail_and_questions_are_not)
{
	make_org("a");
	good("POST", "/v1/orgs/a/suspend", NULL);
	call("POST", "/v1/orgs/none/suspend", NULL);
	call("POST", "/v1/orgs/a/limits", "{\"name\":\"x\",\"limit\":\"5\"}");
	good("GET", "/v1/orgs/a", NULL);
	good("POST", "/v1/orgs/a/limits",
	     "{\"name\":\"x\",\"limit\":\"5/1s\"}");
	good("POST", "/v1/snapshot", NULL);
	good("GET", "/v1/audit", NULL);
	cr_assert_eq(json_array_size(value("audit")), 3);
	cr_expect_eq(number("audit.0.uid"), 4711);
	cr_expect_str_eq(text("audit.0.action"), "org.create");
	cr_expect_str_eq(text("audit.0.detail"), "{\"name\":\"a\"}");
	cr_expect_str_eq(text("audit.1.action"), "org.suspend");
	cr_expect_str_eq(text("audit.1.subject"), "a");
	cr_expect_str_eq(text("audit.2.detail"),
			 "{\"name\":\"x\",\"limit\":\"5/1s\"}");
}

Test(api_plans, detail_of_the_audit_trail_is_cut)
{
	json_t *body = json_object(), *scopes = json_array();
	char scope[200];

	make_org("a");
	for (unsigned i = 0; i < 10; i++) {
		memset(scope, 'a' + (int)i, sizeof(scope));
		json_array_append_new(scopes,
				      json_stringn(scope, sizeof(scope)));
	}
	json_object_set_new(body, "scopes", scopes);
	cr_assert_eq(call_json("POST", "/v1/orgs/a/keys", body), 201);
	json_decref(body);
	good("GET", "/v1/audit?after=1", NULL);
	cr_expect_str_eq(text("audit.0.action"), "key.create");
	cr_expect_eq(strncmp(text("audit.0.detail"), "{\"scopes\":[\"aaa", 15),
		     0);
	cr_expect_leq(strlen(text("audit.0.detail")), AUDIT_DETAIL_BYTES);
}

Test(api_plans, events_are_told_with_ids)
{
	struct event_record event = {.kind = "budget.threshold",
				     .org = 1,
				     .body = "{\"percent\":80}",
				     .once = "x"};
	const char *id;

	make_org("a");
	id = keep("id");
	cr_assert_eq(registry_event_raise(stand.control.registry, &event), 0);
	good("GET", "/v1/events", NULL);
	cr_expect_str_eq(text("events.0.org"), id);
	cr_expect(json_is_null(value("events.0.project")));
	cr_expect_eq(number("events.0.body.percent"), 80);
	cr_expect(json_is_null(value("events.0.delivered_at")));
	good("GET", "/v1/events?after=1", NULL);
	cr_expect_eq(json_array_size(value("events")), 0);
}
