/* SPDX-License-Identifier: MIT */
/* What limits say, over the admin API: explanations, subjects, resets. */
#include "base/label.h"
#include "gate/decide.h"
#include "stand.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct gate gate;
static struct counters counters;
static char key_text[64];
static const char *key_id, *project_id;

/* An organization "a" with a project and a key of it, and a gate to ask. */
static void open_all(void)
{
	struct keytext_prefix prefix;

	stand_open();
	make_org("a");
	cr_assert_eq(call("POST", "/v1/orgs/a/projects",
			  "{\"name\":\"p\",\"budget\":\"50/day\"}"),
		     201);
	project_id = keep("id");
	cr_assert_eq(call("POST", "/v1/orgs/a/keys", "{\"project\":\"p\"}"),
		     201);
	snprintf(key_text, sizeof(key_text), "%s", text("key"));
	key_id = keep("id");
	check(keytext_prefix_init(&prefix, "il"));
	gate_init(&gate, &stand.arena.arena, &stand.table, &prefix, 0,
		  &counters);
}

TestSuite(explain, .init = open_all, .fini = stand_close);

static struct verdict spend(uint32_t cost, const struct check_extra *x)
{
	struct instant now = instant_now();
	struct check c = {.credential = CREDENTIAL_KEY,
			  .key = (const uint8_t *)key_text,
			  .key_len = (uint8_t)strlen(key_text),
			  .cost = cost,
			  .extra = x};
	struct verdict v;

	gate_decide(&gate, &c, &v, 1, &now, (uint64_t)stand.control.started_ms);
	return v;
}

static void limit(const char *name, const char *limit, const char *more)
{
	char body[200];

	snprintf(body, sizeof(body), "{\"name\":\"%s\",\"limit\":\"%s\"%s}",
		 name, limit, more);
	cr_assert_eq(call("POST", "/v1/orgs/a/limits", body), 200, "%s",
		     text("error.message"));
}

static unsigned explain(const char *member, const char *credential,
			const char *more)
{
	char body[400];

	snprintf(body, sizeof(body), "{\"%s\":\"%s\"%s}", member, credential,
		 more);
	return call("POST", "/v1/explain", body);
}

static unsigned show(const char *query)
{
	char target[200];

	snprintf(target, sizeof(target), "/v1/orgs/a/limits/show?%s", query);
	return call("GET", target, NULL);
}

static unsigned reset(const char *body)
{
	return call("POST", "/v1/orgs/a/limits/reset", body);
}

Test(explain, tells_every_line_and_charges_nothing)
{
	limit("org", "10/1h", "");
	limit("each", "gcra 5/1s burst 4",
	      ",\"level\":\"key\",\"shadow\":true");
	spend(3, NULL);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(explain("key", key_text, ",\"cost\":2"), 200);
		cr_assert(json_is_true(value("allowed")));
		cr_assert_str_eq(text("reason"), "allow");
		cr_assert_eq(number("status"), 200);
		cr_assert_str_eq(text("key"), key_id);
		cr_assert_str_eq(text("project"), project_id);
		cr_assert_eq(json_array_size(value("explain")), 3);
		cr_assert_str_eq(text("explain.0.name"), "org");
		cr_assert_str_eq(text("explain.0.algorithm"), "window");
		cr_assert_eq(number("explain.0.limit"), 10);
		cr_assert_eq(number("explain.0.remaining"), 7);
		cr_assert(json_is_true(value("explain.1.shadow")));
		cr_assert_str_eq(text("explain.1.level"), "key");
		cr_assert_str_eq(text("explain.2.name"), "budget");
		cr_assert_eq(number("explain.2.limit"), 50);
		cr_assert_eq(number("explain.2.remaining"), 47);
	}
}

Test(explain, by_the_id_of_a_key_it_is_the_same)
{
	limit("org", "10/1h", "");
	spend(9, NULL);
	cr_assert_eq(explain("key_id", key_id, ",\"cost\":2"), 200);
	cr_assert(json_is_false(value("allowed")));
	cr_assert_str_eq(text("reason"), "rate_limited");
	cr_assert_eq(number("status"), 429);
	cr_assert(json_is_true(value("explain.0.decided")));
	cr_assert_gt(number("explain.0.retry_ms"), 0);
}

Test(explain, an_unknown_key_and_a_suspended_organization_are_answers)
{
	cr_assert_eq(explain("key", "il_none", ""), 200);
	cr_assert_str_eq(text("reason"), "invalid_key");
	cr_assert(json_is_null(value("org")));
	cr_assert_eq(json_array_size(value("explain")), 0);
	cr_assert_eq(call("POST", "/v1/orgs/a/suspend", NULL), 200);
	cr_assert_eq(explain("key_id", key_id, ""), 200);
	cr_assert_str_eq(text("reason"), "suspended");
	cr_assert_eq(json_array_size(value("explain")), 2);
	cr_assert(json_is_true(value("explain.0.allowed")));
}

Test(explain, route_scope_and_address_are_part_of_the_question)
{
	limit("ocr", "3/1h", ",\"level\":\"route\",\"route\":\"/ocr\"");
	limit("from", "5/1h", ",\"level\":\"address\"");
	cr_assert_eq(explain("key", key_text, ""), 200);
	cr_assert_eq(json_array_size(value("explain")), 2);
	cr_assert_eq(explain("key", key_text,
			     ",\"route\":\"/ocr\",\"scope\":\"s\","
			     "\"address\":\"2001:db8::1\",\"cost\":4"),
		     200);
	cr_assert_eq(json_array_size(value("explain")), 4);
	cr_assert_str_eq(text("reason"), "cost_above_limit");
	cr_assert(json_is_true(value("explain.1.decided")));
}

Test(explain, what_is_no_question_is_400)
{
	char body[400];

	snprintf(body, sizeof(body), "{\"key\":\"%s\",\"key_id\":\"%s\"}",
		 key_text, key_id);
	cr_assert_eq(call("POST", "/v1/explain", body), 400);
	expect_error("invalid_request", "One of");
	snprintf(body, sizeof(body), "{\"key\":\"%0300d\"}", 0);
	cr_assert_eq(call("POST", "/v1/explain", body), 400);
	expect_error("invalid_request", "255 bytes");
	cr_assert_eq(explain("key", "a", ",\"cost\":1000001"), 400);
	cr_assert_eq(explain("key", "a", ",\"address\":\"unix:\""), 400);
	cr_assert_eq(explain("key", "a", ",\"address\":\"x\""), 400);
	cr_assert_eq(explain("key", "a", ",\"route\":\"a\\tb\""), 400);
	cr_assert_eq(explain("key", "a", ",\"charge\":true"), 400);
}

Test(explain, a_limit_of_the_organization_is_shown_and_reset)
{
	limit("org", "10/1h", "");
	spend(10, NULL);
	cr_assert_eq(spend(1, NULL).reason, REASON_RATE_LIMITED);
	cr_assert_eq(show("name=org"), 200);
	cr_assert_eq(number("limit"), 10);
	cr_assert_eq(number("used"), 10);
	cr_assert_eq(number("remaining"), 0);
	cr_assert_gt(number("reset_ms"), 3590000);
	cr_assert_eq(number("denied"), 1);
	cr_assert_eq(reset("{\"name\":\"org\"}"), 200);
	cr_assert_eq(number("used"), 0);
	cr_assert_eq(number("remaining"), 10);
	cr_assert_eq(number("reset_ms"), 0);
	cr_assert_eq(spend(10, NULL).reason, REASON_ALLOW);
	/* and the budget has counted both */
	cr_assert_eq(explain("key", key_text, ""), 200);
	cr_assert_eq(number("explain.1.remaining"), 30);
}

Test(explain, each_level_has_its_subjects)
{
	struct check_extra x = {.has_address = true,
				.address = {[10] = 0xff,
					    [11] = 0xff,
					    [12] = 192,
					    [14] = 2,
					    [15] = 7}};
	char query[100], body[120];
	const struct {
		const char *level, *what, *subject, *other;
	} cases[] = {
		{"key", "key", key_id, NULL},
		{"project", "project", "p", NULL},
		{"route", "route", "/ocr", "/other"},
		{"address", "address", "192.0.2.7", "192.0.2.8"},
	};

	x.route_hash = label_hash("/ocr", 4);
	for (size_t i = 0; i < 4; i++) {
		snprintf(body, sizeof(body), ",\"level\":\"%s\"",
			 cases[i].level);
		limit(cases[i].level, i % 2 ? "8/1h" : "gcra 8/1h burst 8",
		      body);
	}
	cr_assert_eq(spend(3, &x).reason, REASON_ALLOW);
	for (size_t i = 0; i < 4; i++) {
		snprintf(query, sizeof(query), "name=%s&%s=%s", cases[i].level,
			 cases[i].what, cases[i].subject);
		cr_assert_eq(show(query), 200, "%s", text("error.message"));
		cr_assert_str_eq(text("level"), cases[i].level);
		cr_assert_eq(number("used"), 3, "%s", query);
		cr_assert_eq(number("remaining"), 5);
		if (cases[i].other) {
			snprintf(query, sizeof(query), "name=%s&%s=%s",
				 cases[i].level, cases[i].what, cases[i].other);
			cr_assert_eq(show(query), 200);
			cr_assert_eq(number("used"), 0);
		}
		snprintf(body, sizeof(body), "{\"name\":\"%s\",\"%s\":\"%s\"}",
			 cases[i].level, cases[i].what, cases[i].subject);
		cr_assert_eq(reset(body), 200, "%s", text("error.message"));
		cr_assert_eq(number("used"), 0, "%s", body);
	}
	cr_assert_eq(spend(8, &x).reason, REASON_ALLOW);
	cr_assert_neq(spend(1, &x).reason, REASON_ALLOW);
}

Test(explain, the_subject_is_what_the_level_asks_for)
{
	limit("each", "8/1h", ",\"level\":\"key\"");
	cr_assert_eq(show("name=each"), 400);
	expect_error("invalid_request", "counts for a key");
	cr_assert_eq(show("name=each&route=x"), 400);
	cr_assert_eq(show("name=org&route=x"), 400);
	expect_error("invalid_request", "takes no subject");
	cr_assert_eq(show("name=each&key=none"), 404);
	cr_assert_eq(show("name=org&project=none"), 404);
	cr_assert_eq(show("name=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 404);
	cr_assert_eq(show("name=org&name=org"), 400);
	make_org("b");
	cr_assert_eq(call("POST", "/v1/orgs/b/keys", "{}"), 201);
	cr_assert_eq(call_at("GET", "/v1/orgs/a/limits/show?name=each&key=*",
			     keep("id"), NULL),
		     404);
	expect_error("not_found", "no key with this id");
}

Test(explain, requests_in_flight_are_not_forgotten)
{
	limit("fly", "inflight 5 lease 30s", "");
	cr_assert_eq(show("name=fly"), 200);
	cr_assert_str_eq(text("algorithm"), "concurrency");
	cr_assert_eq(reset("{\"name\":\"fly\"}"), 409);
	expect_error("conflict", "in flight");
}

Test(explain, a_reset_is_in_the_audit_trail_and_a_look_is_not)
{
	json_int_t lines;
	const json_t *last;

	cr_assert_eq(show("name=org"), 200);
	cr_assert_eq(explain("key", key_text, ""), 200);
	cr_assert_eq(reset("{\"name\":\"none\"}"), 404);
	cr_assert_eq(call("GET", "/v1/audit", NULL), 200);
	lines = (json_int_t)json_array_size(value("audit"));
	cr_assert_eq(reset("{\"name\":\"org\"}"), 200);
	cr_assert_eq(call("GET", "/v1/audit", NULL), 200);
	cr_assert_eq((json_int_t)json_array_size(value("audit")), lines + 1);
	last = json_array_get(value("audit"), (size_t)lines);
	cr_assert_str_eq(json_string_value(json_object_get(last, "action")),
			 "limit.reset");
	cr_assert_str_eq(json_string_value(json_object_get(last, "detail")),
			 "{\"name\":\"org\"}");
}
