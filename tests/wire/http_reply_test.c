/* SPDX-License-Identifier: MIT */
#include "http_answer.h"

static const struct http_options delta = {.reset_is_delta = true,
					  .realm = "stile"};

static void expect(const char *request, struct verdict v, const char *want)
{
	cr_assert_str_eq(reply_to(request, &epoch, &v, WALL_MS), want);
}

Test(http_reply, allow_has_identity_and_limits_and_no_body)
{
	expect(CHECK, known(REASON_ALLOW),
	       "HTTP/1.1 200 OK\r\n" SOMEBODY "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 95\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=95;t=12\r\n"
	       "X-Stile-Charged: 5\r\n"
	       "Content-Length: 0\r\n\r\n");
	expect(NGINX, known(REASON_ALLOW),
	       "HTTP/1.1 200 OK\r\n" SOMEBODY "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 95\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=95;t=12\r\n"
	       "X-Stile-Charged: 5\r\n"
	       "X-Stile-Status: 200\r\n"
	       "Content-Length: 0\r\n\r\n");
}

Test(http_reply, rate_limited)
{
	expect(CHECK, known(REASON_RATE_LIMITED),
	       "HTTP/1.1 429 Too Many Requests\r\n" SOMEBODY
	       "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 0\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=0;t=12\r\n"
	       "Retry-After: 12\r\n"
	       "X-Stile-Limit: org\r\n"
	       "X-Stile-Reason: rate_limited\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 47\r\n\r\n"
	       "{\"success\":false,\"error\":\"Rate limit exceeded\"}");
	expect(NGINX, known(REASON_RATE_LIMITED),
	       "HTTP/1.1 403 Forbidden\r\n" SOMEBODY
	       "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 0\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=0;t=12\r\n"
	       "Retry-After: 12\r\n"
	       "X-Stile-Limit: org\r\n"
	       "X-Stile-Reason: rate_limited\r\n"
	       "Cache-Control: no-store\r\n"
	       "X-Stile-Status: 429\r\n"
	       "X-Stile-Body-Type: application/json\r\n"
	       "X-Stile-Body: "
	       "{\"success\":false,\"error\":\"Rate limit exceeded\"}\r\n"
	       "Content-Length: 0\r\n\r\n");
}

Test(http_reply, cost_above_the_limit_is_never_retried)
{
	expect(CHECK, known(REASON_COST_ABOVE_LIMIT),
	       "HTTP/1.1 429 Too Many Requests\r\n" SOMEBODY
	       "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 0\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=0\r\n"
	       "X-Stile-Limit: org\r\n"
	       "X-Stile-Reason: cost_above_limit\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 56\r\n\r\n"
	       "{\"success\":false,\"error\":\"Cost is above the rate "
	       "limit\"}");
}

Test(http_reply, suspended)
{
	expect(CHECK, known(REASON_SUSPENDED),
	       "HTTP/1.1 403 Forbidden\r\n" SOMEBODY
	       "X-RateLimit-Limit: 100\r\n"
	       "X-RateLimit-Remaining: 0\r\n"
	       "X-RateLimit-Reset: 1700000060\r\n"
	       "RateLimit-Policy: \"org\";q=100;w=60\r\n"
	       "RateLimit: \"org\";r=0;t=12\r\n"
	       "X-Stile-Reason: suspended\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 50\r\n\r\n"
	       "{\"success\":false,\"error\":\"Organization suspended\"}");
}

Test(http_reply, missing_key_is_challenged_without_an_error)
{
	expect(CHECK, unknown(REASON_NO_CREDENTIAL, DETAIL_NONE),
	       "HTTP/1.1 401 Unauthorized\r\n" NOBODY
	       "X-Stile-Reason: no_credential\r\n"
	       "WWW-Authenticate: Bearer realm=\"stile\"\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 43\r\n\r\n"
	       "{\"success\":false,\"error\":\"Missing API key\"}");
}

Test(http_reply, invalid_key)
{
	expect(CHECK, unknown(REASON_INVALID_KEY, DETAIL_NONE),
	       "HTTP/1.1 401 Unauthorized\r\n" NOBODY
	       "X-Stile-Reason: invalid_key\r\n"
	       "WWW-Authenticate: Bearer realm=\"stile\", "
	       "error=\"invalid_token\", "
	       "error_description=\"Invalid API key\"\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 43\r\n\r\n"
	       "{\"success\":false,\"error\":\"Invalid API key\"}");
	expect(NGINX, unknown(REASON_INVALID_KEY, DETAIL_NONE),
	       "HTTP/1.1 401 Unauthorized\r\n" NOBODY
	       "X-Stile-Reason: invalid_key\r\n"
	       "WWW-Authenticate: Bearer realm=\"stile\", "
	       "error=\"invalid_token\", "
	       "error_description=\"Invalid API key\"\r\n"
	       "Cache-Control: no-store\r\n"
	       "X-Stile-Status: 401\r\n"
	       "X-Stile-Body-Type: application/json\r\n"
	       "X-Stile-Body: "
	       "{\"success\":false,\"error\":\"Invalid API key\"}\r\n"
	       "Content-Length: 0\r\n\r\n");
}

Test(http_reply, bad_request_says_what_was_wrong)
{
	expect(CHECK, unknown(REASON_BAD_REQUEST, DETAIL_CREDENTIALS),
	       "HTTP/1.1 400 Bad Request\r\n" NOBODY
	       "X-Stile-Reason: bad_request\r\n"
	       "WWW-Authenticate: Bearer realm=\"stile\", "
	       "error=\"invalid_request\", "
	       "error_description=\"Two different API keys were sent\"\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 60\r\n\r\n"
	       "{\"success\":false,"
	       "\"error\":\"Two different API keys were sent\"}");
	for (uint8_t detail = 0; detail < DETAIL_COUNT; detail++) {
		struct verdict v = unknown(REASON_BAD_REQUEST, detail);
		struct text message = reason_detail_message(detail);

		cr_assert_eq(strlen(message.s), message.len);
		cr_assert_not_null(strstr(reply_to(CHECK, &epoch, &v, WALL_MS),
					  message.s));
	}
}

Test(http_reply, not_ready)
{
	expect(CHECK, unknown(REASON_NOT_READY, DETAIL_NONE),
	       "HTTP/1.1 503 Service Unavailable\r\n" NOBODY
	       "X-Stile-Reason: not_ready\r\n"
	       "Cache-Control: no-store\r\n"
	       "Content-Type: application/json\r\n"
	       "Content-Length: 45\r\n\r\n"
	       "{\"success\":false,\"error\":\"Service not ready\"}");
}

Test(http_reply, nginx_hears_only_200_401_and_403)
{
	for (uint8_t reason = 0; reason < REASON_COUNT; reason++) {
		struct verdict v = known(reason);
		unsigned int status = reason_info(reason)->status;
		const char *reply = reply_to(NGINX, &epoch, &v, WALL_MS);
		char want[64];

		snprintf(want, sizeof(want), "HTTP/1.1 %d ",
			 status == 200 || status == 401 ? status : 403);
		cr_assert_eq(strncmp(reply, want, strlen(want)), 0);
		snprintf(want, sizeof(want), "\r\nX-Stile-Status: %u\r\n",
			 status);
		cr_assert_not_null(strstr(reply, want));
		cr_assert_not_null(
			strstr(reply, "\r\nContent-Length: 0\r\n\r\n"));
		cr_assert_eq(strstr(reply, "X-Stile-Body: ") != NULL,
			     reason != REASON_ALLOW);
	}
}

Test(http_reply, a_key_of_the_organization_has_no_project)
{
	struct verdict v = known(REASON_ALLOW);

	memset(&v.project, 0, sizeof(v.project));
	cr_assert_not_null(strstr(reply_to(CHECK, &epoch, &v, WALL_MS),
				  "X-Stile-Org: orgORG12\r\n"
				  "X-Stile-Project: \r\n"
				  "X-Stile-Key-Id: keyKEY56\r\n"));
}

Test(http_reply, seconds_are_rounded_up)
{
	static const struct {
		uint64_t wall_ms;
		uint32_t reset_ms;
		const char *epoch;
		const char *delta;
	} rows[] = {
		{WALL_MS, 0, ": 1700000000\r", ": 0\r"},
		{WALL_MS, 1, ": 1700000001\r", ": 1\r"},
		{WALL_MS, 999, ": 1700000001\r", ": 1\r"},
		{WALL_MS, 1000, ": 1700000001\r", ": 1\r"},
		{WALL_MS, 1001, ": 1700000002\r", ": 2\r"},
		{WALL_MS + 999, 0, ": 1700000001\r", ": 0\r"},
		{WALL_MS + 999, 1, ": 1700000001\r", ": 1\r"},
		{WALL_MS + 999, 2, ": 1700000002\r", ": 1\r"},
		{WALL_MS, UINT32_MAX, ": 1704294968\r", ": 4294968\r"},
		{0, 0, ": 0\r", ": 0\r"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict v = known(REASON_ALLOW);
		char want[64];

		v.reset_ms = rows[i].reset_ms;
		snprintf(want, sizeof(want), "X-RateLimit-Reset%s",
			 rows[i].epoch);
		cr_assert_not_null(strstr(
			reply_to(CHECK, &epoch, &v, rows[i].wall_ms), want));
		snprintf(want, sizeof(want), "X-RateLimit-Reset%s",
			 rows[i].delta);
		cr_assert_not_null(strstr(
			reply_to(CHECK, &delta, &v, rows[i].wall_ms), want));
	}
}

Test(http_reply, retry_after_is_at_least_a_second_and_never_before_t)
{
	static const struct {
		uint32_t retry_ms;
		unsigned int seconds;
	} rows[] = {{0, 1},    {1, 1},      {999, 1},    {1000, 1},
		    {1001, 2}, {59999, 60}, {60000, 60}, {60001, 61}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict v = known(REASON_RATE_LIMITED);
		char want[64];
		const char *reply;

		v.retry_ms = rows[i].retry_ms;
		reply = reply_to(CHECK, &epoch, &v, WALL_MS);
		snprintf(want, sizeof(want), ";t=%u\r\nRetry-After: %u\r\n",
			 rows[i].seconds, rows[i].seconds);
		cr_assert_not_null(strstr(reply, want), "%s", reply);
	}
}

Test(http_reply, a_window_at_rest_promises_no_more_quota)
{
	struct verdict v = known(REASON_ALLOW);

	v.retry_ms = 0;
	cr_assert_not_null(strstr(reply_to(CHECK, &epoch, &v, WALL_MS),
				  "RateLimit: \"org\";r=95\r\n"));
}

Test(http_reply, windows_are_told_in_whole_seconds)
{
	static const struct {
		uint32_t window_ms;
		unsigned int w;
	} rows[] = {{1, 1},
		    {999, 1},
		    {1000, 1},
		    {1001, 2},
		    {60000, 60},
		    {1500, 2},
		    {2678400000u, 2678400}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict v = known(REASON_ALLOW);
		char want[64];

		v.window_ms = rows[i].window_ms;
		snprintf(want, sizeof(want), ";q=100;w=%u\r\n", rows[i].w);
		cr_assert_not_null(
			strstr(reply_to(CHECK, &epoch, &v, WALL_MS), want));
	}
}

Test(http_reply, a_limit_name_may_fill_its_field)
{
	struct verdict v = known(REASON_ALLOW);

	memcpy(v.limit_name, "abcdefghijklmnopqrstuvwx", LIMIT_NAME_LEN);
	cr_assert_not_null(
		strstr(reply_to(CHECK, &epoch, &v, WALL_MS),
		       "RateLimit: \"abcdefghijklmnopqrstuvwx\";r="));
}

/* The longest reply: every field at its widest, in the longer dialect. */
Test(http_reply, the_longest_fits)
{
	static const char *const requests[] = {
		"GET /v1/check HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /v1/check/nginx HTTP/1.1\r\nConnection: close\r\n\r\n",
		("GET /v1/check/nginx HTTP/1.0\r\n"
		 "Connection: keep-alive\r\n\r\n")};
	char realm[2 * HTTP_REALM_MAX];
	struct http_options opt = {.realm = realm};
	size_t longest = 0;

	memset(realm, 'r', sizeof(realm) - 1);
	realm[sizeof(realm) - 1] = '\0';
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		for (unsigned int reason = 0; reason < 256; reason++) {
			for (uint8_t d = 0; d <= DETAIL_COUNT; d++) {
				struct verdict v = known(REASON_ALLOW);
				size_t len;

				v.reason = (uint8_t)reason;
				v.detail = d;
				v.limit = UINT32_MAX;
				v.remaining = UINT32_MAX;
				v.window_ms = UINT32_MAX;
				v.reset_ms = UINT32_MAX;
				v.retry_ms = UINT32_MAX;
				memset(v.limit_name, 'n', LIMIT_NAME_LEN);
				v.charged = UINT32_MAX;
				v.flags = UINT8_MAX;
				v.hold = UINT64_MAX;
				v.hold_ms = UINT64_MAX;
				v.credits = UINT64_MAX - 1;
				v.budget = UINT64_MAX - 1;
				opt.errors = reason % 3;
				len = strlen(reply_to(requests[i], &opt, &v,
						      UINT64_MAX / 2));
				if (len > longest)
					longest = len;
			}
		}
	}
	cr_assert_gt(longest, 600);
	cr_assert_leq(longest, HTTP_REPLY_MAX);
}

Test(http_reply, an_unknown_reason_is_a_denial)
{
	struct verdict v = unknown(REASON_COUNT, DETAIL_NONE);

	cr_assert_eq(strncmp(reply_to(CHECK, &epoch, &v, WALL_MS),
			     "HTTP/1.1 400 ", 13),
		     0);
}

/* ---- probes ---- */

static const char *probe(const char *path, bool ready)
{
	static char out[HTTP_REPLY_MAX + 1];
	char request[128];
	struct http_parser p;
	struct check c;
	enum http_event event;
	size_t len;

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n\r\n", path);
	http_init(&p);
	http_feed(&p, (const uint8_t *)request, strlen(request), &event, &c);
	cr_assert_eq(event, HTTP_PROBE);
	memset(out, 0, sizeof(out));
	len = http_encode_probe(&p, ready, (uint8_t *)out);
	cr_assert_eq(strlen(out), len);
	return out;
}

#define PROBE_OK                                                               \
	"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n"                       \
	"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
#define PROBE_NO                                                               \
	"HTTP/1.1 503 Service Unavailable\r\nCache-Control: no-store\r\n"      \
	"Content-Type: text/plain\r\nContent-Length: 10\r\n\r\nnot ready\n"

Test(http_probe, alive_is_not_ready)
{
	cr_assert_str_eq(probe("/livez", true), PROBE_OK);
	cr_assert_str_eq(probe("/livez", false), PROBE_OK);
	cr_assert_str_eq(probe("/readyz", true), PROBE_OK);
	cr_assert_str_eq(probe("/readyz", false), PROBE_NO);
	cr_assert_str_eq(probe("/healthz", true), PROBE_OK);
	cr_assert_str_eq(probe("/healthz", false), PROBE_NO);
}

Test(http_probe, an_unknown_path_is_not_found)
{
	static const char want[] =
		"HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\n"
		"Content-Type: application/json\r\nContent-Length: 37\r\n\r\n"
		"{\"success\":false,\"error\":\"Not found\"}";

	cr_assert_str_eq(probe("/", true), want);
	cr_assert_str_eq(probe("/v1/ext_authz/v1/check", false), want);
}

/* ---- the table of reasons ---- */

Test(reason, every_reason_has_status_word_and_message)
{
	for (unsigned int r = 0; r < REASON_COUNT; r++) {
		const struct reason_info *info = reason_info((uint8_t)r);

		cr_assert_geq(info->status, 200);
		cr_assert_eq(strlen(info->word.s), info->word.len);
		cr_assert_eq(strlen(info->message.s), info->message.len);
		cr_assert_gt(info->word.len, 0);
		/* it stands in JSON and in a quoted header parameter */
		cr_assert_null(strpbrk(info->message.s, "\"\\\r\n"));
	}
	for (unsigned int d = 0; d < DETAIL_COUNT; d++)
		cr_assert_null(strpbrk(reason_detail_message((uint8_t)d).s,
				       "\"\\\r\n"));
}
