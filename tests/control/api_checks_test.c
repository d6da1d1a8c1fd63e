/* SPDX-License-Identifier: MIT */
/* Checks over the admin API: as over a socket, and told as JSON. */
#include "base/sha256.h"
#include "stand.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char key_text[64], key_hash[2 * SHA256_BYTES + 1];
static const char *key_id;

/* An organization "a" with 10 an hour, 100 credits and a budget of 50. */
static void open_all(void)
{
	uint8_t hash[SHA256_BYTES];

	stand_open();
	cr_assert_eq(call("POST", "/v1/orgs",
			  "{\"name\":\"a\",\"limit\":\"40/1h\","
			  "\"credits\":100}"),
		     201);
	cr_assert_eq(call("POST", "/v1/orgs/a/projects",
			  "{\"name\":\"p\",\"budget\":\"50/day\"}"),
		     201);
	cr_assert_eq(call("POST", "/v1/orgs/a/keys",
			  "{\"project\":\"p\",\"scopes\":[\"read\"]}"),
		     201);
	snprintf(key_text, sizeof(key_text), "%s", text("key"));
	key_id = keep("id");
	sha256(key_text, strlen(key_text), hash);
	for (unsigned i = 0; i < SHA256_BYTES; i++)
		snprintf(key_hash + 2 * i, 3, "%02x", hash[i]);
}

TestSuite(checks, .init = open_all, .fini = stand_close);

static unsigned ask(const char *member, const char *credential,
		    const char *more)
{
	char body[600];

	snprintf(body, sizeof(body), "{\"%s\":\"%s\"%s}", member, credential,
		 more);
	return call("POST", "/v1/checks", body);
}

/* By the key's id; it has an answer. */
static void check_id(const char *more)
{
	cr_assert_eq(ask("key_id", key_id, more), 200, "%s",
		     text("error.message"));
}

static void settle(const char *hold, const char *more, unsigned status)
{
	char body[100];

	snprintf(body, sizeof(body), "{\"hold\":\"%s\"%s}", hold, more);
	cr_assert_eq(call("POST", "/v1/settle", body), status);
}

static void expect_left(json_int_t rate, json_int_t budget, json_int_t credits)
{
	check_id(",\"peek\":true");
	cr_assert_eq(number("remaining"), rate);
	cr_assert_eq(number("budget"), budget);
	cr_assert_eq(number("credits"), credits);
}

Test(checks, key_id_and_hash_are_one_question)
{
	cr_assert_eq(ask("key", key_text, ""), 200);
	cr_assert_eq(ask("key_id", key_id, ""), 200);
	cr_assert_eq(ask("key_hash", key_hash, ""), 200);
	cr_assert(json_is_true(value("allowed")));
	cr_assert_str_eq(text("reason"), "allow");
	cr_assert_eq(number("status"), 200);
	cr_assert_str_eq(text("key"), key_id);
	cr_assert_str_eq(text("limit_name"), "org");
	cr_assert_eq(number("limit"), 40);
	cr_assert_eq(number("window_ms"), 3600000);
	cr_assert_gt(number("reset_ms"), 0);
	cr_assert_eq(number("charged"), 1);
	cr_assert(json_is_false(value("repeated")));
	cr_assert(json_is_null(value("hold")));
	cr_assert_eq(number("hold_ms"), 0);
	cr_assert_null(value("explain"));
	expect_left(37, 47, 97);
}

Test(checks, peek_counts_and_holds_nothing)
{
	for (int i = 0; i < STAND_HOLDS + 1; i++) {
		check_id(",\"cost\":7,\"peek\":true,\"reserve\":true");
		cr_assert(json_is_true(value("allowed")));
		cr_assert_eq(number("charged"), 0);
		cr_assert(json_is_null(value("hold")));
	}
	expect_left(40, 50, 100);
}

Test(checks, reservation_is_settled_once)
{
	const char *hold;

	check_id(",\"cost\":20,\"reserve\":true");
	cr_assert_eq(strlen(text("hold")), 16);
	cr_assert_eq(number("hold_ms"), 300000, "as configured");
	cr_assert_eq(number("charged"), 20);
	hold = keep("hold");
	expect_left(20, 30, 80);
	settle(hold, ",\"cost\":12", 200);
	cr_assert_eq(number("charged"), 12);
	cr_assert_eq(number("credits"), 88);
	settle(hold, "", 404);
	expect_left(20, 38, 88);
	check_id(",\"cost\":5,\"reserve\":true,\"hold_time\":\"90s\"");
	cr_assert_eq(number("hold_ms"), 90000);
	settle(keep("hold"), ",\"cost\":0", 200);
	expect_left(15, 38, 88);
}

Test(checks, holds_are_counted_and_more_is_a_denial)
{
	const char *hold = NULL;

	for (int i = 0; i < STAND_HOLDS; i++) {
		check_id(",\"reserve\":true");
		cr_assert(json_is_true(value("allowed")));
		hold = keep("hold");
	}
	check_id(",\"reserve\":true");
	cr_assert_str_eq(text("reason"), "full");
	cr_assert_eq(number("status"), 503);
	cr_assert(json_is_null(value("hold")));
	expect_left(36, 46, 96);
	settle(hold, "", 200);
	check_id(",\"reserve\":true");
	cr_assert(json_is_true(value("allowed")));
}

Test(checks, request_id_is_charged_once)
{
	const char *once =
		",\"cost\":3,\"reserve\":true,\"request_id\":\"r-1\"";
	const char *hold;

	check_id(once);
	hold = keep("hold");
	for (int i = 0; i < 2; i++) {
		check_id(once);
		cr_assert(json_is_true(value("allowed")));
		cr_assert(json_is_true(value("repeated")));
		cr_assert_eq(number("charged"), 0);
		cr_assert_str_eq(text("hold"), hold);
	}
	expect_left(37, 47, 97);
	check_id(",\"cost\":4,\"request_id\":\"r-1\"");
	cr_assert(json_is_false(value("repeated")));
	expect_left(33, 43, 93);
}

Test(checks, denials_are_answers_with_their_numbers)
{
	cr_assert_eq(ask("key", "il_none", ""), 200);
	cr_assert(json_is_false(value("allowed")));
	cr_assert_str_eq(text("reason"), "invalid_key");
	cr_assert(json_is_null(value("org")));
	cr_assert(json_is_null(value("limit_name")));
	cr_assert(json_is_null(value("credits")));
	check_id(",\"cost\":40");
	check_id("");
	cr_assert_str_eq(text("reason"), "rate_limited");
	cr_assert_eq(number("status"), 429);
	cr_assert_gt(number("retry_ms"), 0);
	cr_assert_eq(number("charged"), 0);
	check_id(",\"cost\":41");
	cr_assert_str_eq(text("reason"), "cost_above_limit");
}

Test(checks, operator_has_no_way_around_state_and_access)
{
	check_id(",\"scope\":\"write\"");
	cr_assert_str_eq(text("reason"), "scope");
	check_id(",\"scope\":\"read\"");
	cr_assert_str_eq(text("reason"), "allow");
	cr_assert_eq(call("POST", "/v1/orgs/a/suspend", NULL), 200);
	check_id(",\"reserve\":true");
	cr_assert_str_eq(text("reason"), "suspended");
	cr_assert_eq(call("POST", "/v1/orgs/a/resume", NULL), 200);
	cr_assert_eq(call_at("POST", "/v1/keys/*/disable", key_id, NULL), 200);
	check_id("");
	cr_assert_str_eq(text("reason"), "invalid_key");
	cr_assert_eq(call_at("POST", "/v1/keys/*/enable", key_id, NULL), 200);
	expect_left(39, 49, 99);
	cr_assert_eq(call_at("POST", "/v1/keys/*/revoke", key_id, NULL), 200);
	check_id("");
	cr_assert_str_eq(text("reason"), "invalid_key");
}

Test(checks, address_and_route_are_part_of_it)
{
	cr_assert_eq(call("POST", "/v1/orgs/a/limits",
			  "{\"name\":\"ocr\",\"limit\":\"3/1h\","
			  "\"level\":\"route\",\"route\":\"/ocr\"}"),
		     200);
	cr_assert_eq(call("POST", "/v1/orgs/a/limits",
			  "{\"name\":\"from\",\"limit\":\"2/1h\","
			  "\"level\":\"address\"}"),
		     200);
	check_id(",\"route\":\"/ocr\",\"cost\":3");
	cr_assert_str_eq(text("limit_name"), "ocr");
	check_id(",\"route\":\"/ocr\"");
	cr_assert_str_eq(text("reason"), "rate_limited");
	check_id(",\"address\":\"192.0.2.7\",\"cost\":2");
	check_id(",\"address\":\"192.0.2.7\",\"explain\":true");
	cr_assert_str_eq(text("limit_name"), "from");
	cr_assert_eq(json_array_size(value("explain")), 4);
	cr_assert_str_eq(text("explain.1.name"), "from");
	cr_assert(json_is_true(value("explain.1.decided")));
	check_id(",\"address\":\"192.0.2.8\"");
	cr_assert(json_is_true(value("allowed")));
}

Test(checks, what_is_no_question_is_400)
{
	char body[400];
	const char *const more[] = {
		",\"cost\":1000001",
		",\"cost\":-1",
		",\"route\":\"a\\tb\"",
		",\"address\":\"x\"",
		",\"hold_time\":\"5m\"",
		",\"reserve\":true,\"hold_time\":\"0s\"",
		",\"reserve\":true,\"hold_time\":\"32d\"",
		",\"reserve\":true,\"hold_time\":300",
		",\"reserve\":\"5m\"",
		",\"request_id\":\"\"",
		",\"key\":\"il_a\"",
		",\"key_hash\":\"00\"",
		",\"hold\":\"000001a2106f1437\"",
	};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		cr_assert_eq(ask("key_id", key_id, more[i]), 400, "%s",
			     more[i]);
	snprintf(body, sizeof(body), ",\"request_id\":\"%0129d\"", 0);
	cr_assert_eq(ask("key_id", key_id, body), 400);
	expect_error("invalid_request", "128 bytes");
	cr_assert_eq(ask("key_id", "none", ""), 404);
	cr_assert_eq(call("POST", "/v1/checks", "{}"), 400);
	expect_left(40, 50, 100);
}

Test(checks, nothing_is_written_into_the_audit_trail)
{
	json_int_t lines;

	cr_assert_eq(call("GET", "/v1/audit", NULL), 200);
	lines = (json_int_t)json_array_size(value("audit"));
	check_id("");
	cr_assert_eq(call("GET", "/v1/audit", NULL), 200);
	cr_assert_eq((json_int_t)json_array_size(value("audit")), lines);
}
