/* SPDX-License-Identifier: MIT */
/* What is charged and held, the forms of error bodies, explanations. */
#include "http_answer.h"

#include "gate/layout.h"

#include <assert.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct http_options nested = {.errors = HTTP_ERRORS_NESTED,
					   .realm = "stile"};
static const struct http_options problem = {.errors = HTTP_ERRORS_PROBLEM,
					    .realm = "stile"};

static bool has(const char *reply, const char *line)
{
	return strstr(reply, line) != NULL;
}

/* Content-Length is right, and this is the body. */
static void expect_body(const char *reply, const char *type, const char *want)
{
	const char *body = strstr(reply, "\r\n\r\n");
	char line[128];

	cr_assert_not_null(body);
	cr_assert_str_eq(body + 4, want);
	snprintf(line, sizeof(line),
		 "\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", type,
		 strlen(want));
	cr_assert(has(reply, line), "%s", reply);
}

/* ---- charges ---- */

Test(http_charge, what_is_left_is_told_when_it_is_counted)
{
	struct verdict v = known(REASON_ALLOW);

	v.credits = 0;
	v.budget = UINT64_MAX - 1;
	cr_assert(has(reply_to(CHECK, &epoch, &v, WALL_MS),
		      "X-Stile-Charged: 5\r\n"
		      "X-Stile-Credits-Remaining: 0\r\n"
		      "X-Stile-Budget-Remaining: 18446744073709551614\r\n"));
	v = known(REASON_CREDITS);
	v.credits = 3;
	cr_assert(has(reply_to(CHECK, &epoch, &v, WALL_MS),
		      "\r\nX-Stile-Credits-Remaining: 3\r\n"));
	v = unknown(REASON_INVALID_KEY, DETAIL_NONE);
	v.credits = v.budget = 3;
	cr_assert_not(has(reply_to(CHECK, &epoch, &v, WALL_MS), "Remaining"));
}

Test(http_charge, a_hold_is_told_with_its_end_rounded_down)
{
	struct verdict v = known(REASON_ALLOW);

	cr_assert_not(has(reply_to(CHECK, &epoch, &v, WALL_MS), "Hold"));
	v.hold = UINT64_C(0x0123456789abcdef);
	v.hold_ms = 29999;
	cr_assert(has(reply_to(NGINX, &epoch, &v, WALL_MS),
		      "\r\nX-Stile-Hold: 0123456789abcdef\r\n"
		      "X-Stile-Hold-Expires: 29\r\n"));
	v.hold = 1;
	v.hold_ms = 30000;
	cr_assert(has(reply_to(CHECK, &epoch, &v, WALL_MS),
		      "\r\nX-Stile-Hold: 0000000000000001\r\n"
		      "X-Stile-Hold-Expires: 30\r\n"));
}

Test(http_charge, a_repeated_request_says_so)
{
	struct verdict v = known(REASON_ALLOW);

	v.flags = VERDICT_REPEATED;
	v.charged = 0;
	v.hold = 1;
	cr_assert(has(reply_to(CHECK, &epoch, &v, WALL_MS),
		      "X-Stile-Charged: 0\r\nX-Stile-Repeated: 1\r\n"
		      "X-Stile-Hold: 0000000000000001\r\n"
		      "Content-Length: 0\r\n"));
}

#define SETTLE                                                                 \
	"POST /v1/settle HTTP/1.1\r\nX-Stile-Hold: 00000000000000a1\r\n\r\n"

Test(http_charge, a_settlement_tells_what_was_charged)
{
	struct verdict v = unknown(REASON_ALLOW, DETAIL_NONE);

	v.charged = 7;
	v.credits = 93;
	v.hold = 0xa1;
	cr_assert_str_eq(reply_to(SETTLE, &epoch, &v, WALL_MS),
			 "HTTP/1.1 200 OK\r\n" NOBODY "X-Stile-Charged: 7\r\n"
			 "X-Stile-Credits-Remaining: 93\r\n"
			 "Content-Length: 0\r\n\r\n");
	v.reason = REASON_CREDITS;
	memcpy(v.org.c, "orgORG12", ID_LEN);
	cr_assert(has(reply_to(SETTLE, &epoch, &v, WALL_MS),
		      "HTTP/1.1 402 Payment Required\r\n"
		      "X-Stile-Org: orgORG12\r\nX-Stile-Project: \r\n"
		      "X-Stile-Key-Id: \r\nX-Stile-Charged: 7\r\n"
		      "X-Stile-Credits-Remaining: 93\r\n"
		      "X-Stile-Reason: credits\r\n"));
	v = unknown(REASON_NO_HOLD, DETAIL_NONE);
	cr_assert_str_eq(
		reply_to(SETTLE, &epoch, &v, WALL_MS),
		"HTTP/1.1 404 Not Found\r\n" NOBODY
		"X-Stile-Reason: no_hold\r\n"
		"Cache-Control: no-store\r\n"
		"Content-Type: application/json\r\n"
		"Content-Length: 47\r\n\r\n"
		"{\"success\":false,\"error\":\"No such reservation\"}");
}

/* ---- denials ---- */

Test(http_denial, requests_in_flight_have_no_window)
{
	struct verdict v = known(REASON_CONCURRENCY);
	const char *reply;

	v.window_ms = v.reset_ms = v.retry_ms = 0;
	memcpy(v.limit_name, "parallel", sizeof("parallel"));
	reply = reply_to(CHECK, &epoch, &v, WALL_MS);
	cr_assert(has(reply, "HTTP/1.1 429 "));
	cr_assert(has(reply, "RateLimit-Policy: \"parallel\";q=100;"
			     "qu=\"concurrent-requests\"\r\n"
			     "RateLimit: \"parallel\";r=0\r\n"
			     "Retry-After: 1\r\n"
			     "X-Stile-Limit: parallel\r\n"));
}

Test(http_denial, only_what_waiting_helps_has_a_retry_after)
{
	for (uint8_t reason = 1; reason < REASON_COUNT; reason++) {
		struct verdict v = known(reason);
		const bool always = reason == REASON_RATE_LIMITED ||
				    reason == REASON_CONCURRENCY ||
				    reason == REASON_FULL;
		const bool may =
			reason == REASON_BUDGET || reason == REASON_CREDITS;

		v.retry_ms = 1001;
		cr_assert_eq(has(reply_to(CHECK, &epoch, &v, WALL_MS),
				 "\r\nRetry-After: 2\r\n"),
			     always || may);
		v.retry_ms = 0;
		cr_assert_eq(has(reply_to(CHECK, &epoch, &v, WALL_MS),
				 "\r\nRetry-After: 1\r\n"),
			     always);
	}
}

Test(http_denial, the_rule_is_named_by_429_and_by_its_full_table)
{
	for (uint8_t reason = 1; reason < REASON_COUNT; reason++) {
		struct verdict v = known(reason);

		cr_assert_eq(has(reply_to(NGINX, &epoch, &v, WALL_MS),
				 "\r\nX-Stile-Limit: org\r\n"),
			     reason_info(reason)->status == 429 ||
				     reason == REASON_FULL);
		/* No room for a hold: what is named has something left. */
		v.remaining = 1;
		cr_assert_eq(has(reply_to(NGINX, &epoch, &v, WALL_MS),
				 "\r\nX-Stile-Limit: org\r\n"),
			     reason_info(reason)->status == 429);
	}
}

Test(http_denial, a_budgets_wait_is_not_that_of_the_window)
{
	struct verdict v = known(REASON_BUDGET);
	const char *reply = reply_to(CHECK, &epoch, &v, WALL_MS);

	cr_assert(has(reply, "HTTP/1.1 402 Payment Required\r\n"));
	cr_assert(has(reply, "RateLimit: \"org\";r=0\r\nRetry-After: 12\r\n"
			     "X-Stile-Reason: budget\r\n"));
}

/* ---- forms ---- */

#define JSON "application/json"
#define PROBLEM "application/problem+json"

Test(http_form, nested)
{
	static const struct {
		uint8_t reason;
		uint32_t retry_ms;
		const char *body;
	} rows[] = {
		{REASON_RATE_LIMITED, 11001,
		 "{\"error\":{\"code\":\"RATE_LIMITED\",\"message\":\"Rate "
		 "limit exceeded\",\"details\":{\"limit\":\"org\","
		 "\"retry_after_ms\":11001}}}"},
		{REASON_COST_ABOVE_LIMIT, 0,
		 "{\"error\":{\"code\":\"COST_ABOVE_LIMIT\",\"message\":\"Cost "
		 "is above the rate limit\",\"details\":{\"limit\":\"org\"}}}"},
		{REASON_FULL, 0,
		 "{\"error\":{\"code\":\"FULL\",\"message\":\"No room to "
		 "count in\",\"details\":{\"limit\":\"org\"}}}"},
		{REASON_BUDGET, 60000,
		 "{\"error\":{\"code\":\"BUDGET\",\"message\":\"Budget cap "
		 "exceeded\",\"details\":{\"retry_after_ms\":60000}}}"},
		{REASON_CREDITS, 0,
		 "{\"error\":{\"code\":\"CREDITS\",\"message\":\"Insufficient "
		 "credits\",\"details\":{}}}"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct verdict v = known(rows[i].reason);

		v.retry_ms = rows[i].retry_ms;
		expect_body(reply_to(CHECK, &nested, &v, WALL_MS), JSON,
			    rows[i].body);
	}
}

Test(http_form, problem)
{
	struct verdict v = known(REASON_RATE_LIMITED);

	expect_body(reply_to(CHECK, &problem, &v, WALL_MS), PROBLEM,
		    "{\"type\":\"https://iana.org/assignments/"
		    "http-problem-types#quota-exceeded\",\"title\":\"Request "
		    "cannot be satisfied as assigned quota has been "
		    "exceeded\",\"status\":429,\"detail\":\"Rate limit "
		    "exceeded\",\"reason\":\"rate_limited\","
		    "\"violated-policies\":[\"org\"]}");
	v = known(REASON_FULL);
	expect_body(reply_to(CHECK, &problem, &v, WALL_MS), PROBLEM,
		    "{\"type\":\"about:blank\",\"title\":\"Service "
		    "Unavailable\",\"status\":503,\"detail\":\"No room to "
		    "count in\",\"reason\":\"full\",\"limit\":\"org\"}");
	v = unknown(REASON_BAD_REQUEST, DETAIL_COST);
	expect_body(reply_to(CHECK, &problem, &v, WALL_MS), PROBLEM,
		    "{\"type\":\"about:blank\",\"title\":\"Bad Request\","
		    "\"status\":400,\"detail\":\"Cost must be a whole number "
		    "from 1 to 1000000\",\"reason\":\"bad_request\"}");
}

Test(http_form, nginx_gets_the_same_body_and_its_type)
{
	static const struct http_options *const forms[] = {&epoch, &nested,
							   &problem};

	for (size_t i = 0; i < COUNT(forms); i++) {
		for (uint8_t reason = 1; reason < REASON_COUNT; reason++) {
			struct verdict v = known(reason);
			char want[1024];

			snprintf(want, sizeof(want),
				 "\r\nX-Stile-Body-Type: %s\r\n"
				 "X-Stile-Body: %s\r\n",
				 forms[i] == &problem ? PROBLEM : JSON,
				 strstr(reply_to(CHECK, forms[i], &v, WALL_MS),
					"\r\n\r\n") +
					 4);
			cr_assert(has(reply_to(NGINX, forms[i], &v, WALL_MS),
				      want),
				  "%s", want);
		}
	}
}

/* ---- explanations ---- */

#define EXPLAIN                                                                \
	"GET /v1/check HTTP/1.1\r\nX-API-Key: a\r\nX-Stile-Explain: 1\r\n\r\n"

static const struct explain two = {
	.count = 2,
	.lines = {{.name = "org",
		   .level = LEVEL_ORG,
		   .algorithm = RULE_WINDOW,
		   .allowed = 1,
		   .limit = 100,
		   .remaining = 95,
		   .window_ms = 60000,
		   .reset_ms = 59001,
		   .retry_ms = 11001},
		  {.name = "abcdefghijklmnopqrstuvw",
		   .level = LEVEL_ADDRESS,
		   .algorithm = RULE_CONCURRENCY,
		   .flags = EXPLAIN_SHADOW | EXPLAIN_DECIDED}},
};

#define TWO                                                                    \
	"\"explain\":[{\"name\":\"org\",\"level\":\"org\",\"algorithm\":"      \
	"\"window\",\"shadow\":false,\"allowed\":true,\"decided\":false,"      \
	"\"limit\":100,\"remaining\":95,\"window_ms\":60000,\"reset_ms\":"     \
	"59001,"                                                               \
	"\"retry_ms\":11001},{\"name\":\"abcdefghijklmnopqrstuvw\","           \
	"\"level\":\"address\",\"algorithm\":\"concurrency\",\"shadow\":true," \
	"\"allowed\":false,\"decided\":true,\"limit\":0,\"remaining\":0,"      \
	"\"window_ms\":0,"                                                     \
	"\"reset_ms\":0,\"retry_ms\":0}]}"

Test(http_explain, stands_beside_the_answer)
{
	struct verdict v = known(REASON_ALLOW);

	v.explain = &two;
	expect_body(reply_to(EXPLAIN, &epoch, &v, WALL_MS), JSON,
		    "{\"success\":true," TWO);
	expect_body(reply_to(EXPLAIN, &problem, &v, WALL_MS), JSON,
		    "{\"success\":true," TWO);
	v = known(REASON_CREDITS);
	v.retry_ms = 0;
	v.explain = &two;
	expect_body(
		reply_to(EXPLAIN, &epoch, &v, WALL_MS), JSON,
		"{\"success\":false,\"error\":\"Insufficient credits\"," TWO);
	expect_body(reply_to(EXPLAIN, &nested, &v, WALL_MS), JSON,
		    "{\"error\":{\"code\":\"CREDITS\",\"message\":\""
		    "Insufficient credits\",\"details\":{}}," TWO);
	expect_body(reply_to(EXPLAIN, &problem, &v, WALL_MS), PROBLEM,
		    "{\"type\":\"about:blank\",\"title\":\"Payment Required\","
		    "\"status\":402,\"detail\":\"Insufficient credits\","
		    "\"reason\":\"credits\"," TWO);
}

Test(http_explain, only_who_asked_gets_one)
{
	struct verdict v = known(REASON_ALLOW);

	v.explain = &two;
	cr_assert_not(has(reply_to(CHECK, &epoch, &v, WALL_MS), "explain"));
	v.explain = NULL;
	cr_assert(has(reply_to(EXPLAIN, &epoch, &v, WALL_MS),
		      "\r\nContent-Length: 0\r\n\r\n"));
}

Test(http_explain, every_level_and_algorithm_has_its_word)
{
	static const char *const levels[] = {[LEVEL_ORG] = "org",
					     [LEVEL_PROJECT] = "project",
					     [LEVEL_KEY] = "key",
					     [LEVEL_ROUTE] = "route",
					     [LEVEL_ADDRESS] = "address"};
	static const char *const algorithms[] = {[RULE_WINDOW] = "window",
						 [RULE_GCRA] = "gcra",
						 [RULE_CONCURRENCY] =
							 "concurrency",
						 [EXPLAIN_BUDGET] = "budget",
						 [EXPLAIN_CREDITS] = "credits"};

	static_assert(COUNT(levels) == LEVEL_COUNT, "one each");
	for (uint8_t l = 0; l < COUNT(levels); l++) {
		for (uint8_t a = 1; a < COUNT(algorithms); a++) {
			struct verdict v = known(REASON_ALLOW);
			struct explain e = {.count = 1};
			char want[64];

			e.lines[0].level = l;
			e.lines[0].algorithm = a;
			v.explain = &e;
			snprintf(want, sizeof(want),
				 "\"level\":\"%s\",\"algorithm\":\"%s\"",
				 levels[l], algorithms[a]);
			cr_assert(has(reply_to(EXPLAIN, &epoch, &v, WALL_MS),
				      want));
		}
	}
}

Test(http_explain, a_number_without_a_word_has_none)
{
	static const uint8_t numbers[] = {0, EXPLAIN_CREDITS + 1, UINT8_MAX};

	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct verdict v = known(REASON_ALLOW);
		struct explain e = {.count = 1};

		e.lines[0].algorithm = numbers[i];
		v.explain = &e;
		cr_assert(has(reply_to(EXPLAIN, &epoch, &v, WALL_MS),
			      "\"algorithm\":\"\""));
	}
}

Test(http_explain, the_longest_fits_a_send_chunk)
{
	struct explain e;
	struct verdict v = known(REASON_RATE_LIMITED);
	const char *reply;
	size_t lines = 0;

	memset(&e, 0xff, sizeof(e));
	for (size_t i = 0; i < EXPLAIN_LINES_MAX; i++) {
		memset(e.lines[i].name, 'n', LIMIT_NAME_LEN);
		e.lines[i].level = LEVEL_ADDRESS;
		e.lines[i].algorithm = RULE_CONCURRENCY;
	}
	v.explain = &e;
	reply = reply_to(EXPLAIN, &problem, &v, WALL_MS);
	for (const char *at = reply; (at = strstr(at, "{\"name\"")); at++)
		lines++;
	cr_assert_eq(lines, EXPLAIN_LINES_MAX);
	cr_assert_gt(strlen(reply), 5000);
	cr_assert_leq(HTTP_EXPLAIN_MAX, 16384);
}
