/* SPDX-License-Identifier: MIT */
#include "http_ask.h"

#include <stdlib.h>

/* ---- credentials ---- */

Test(http_credential, bearer_key_is_taken)
{
	static const char *const good[] = {
		CHECK_WITH("Authorization: Bearer il_abc\r\n"),
		CHECK_WITH("authorization: bearer il_abc\r\n"),
		CHECK_WITH("AUTHORIZATION: BEARER il_abc\r\n"),
		CHECK_WITH("Authorization:Bearer   il_abc \t \r\n"),
		CHECK_WITH("Authorization: \t Bearer il_abc\r\n"),
		CHECK_WITH("Authorization: Bearer\til_abc\r\n"),
		CHECK_WITH("X-API-Key: il_abc\r\n"),
		CHECK_WITH("x-api-key:il_abc\t\r\n"),
		CHECK_WITH(
			"Authorization: Basic Zm9v\r\nX-API-Key: il_abc\r\n"),
		CHECK_WITH("Authorization: Bearerx y\r\nX-API-Key: il_abc\r\n"),
		CHECK_WITH("Authorization:\r\nX-API-Key: il_abc\r\n"),
	};

	for (size_t i = 0; i < COUNT(good); i++) {
		struct answer a = ask(good[i]);

		expect_key(&a, "il_abc");
		cr_assert_eq(a.check.cost, 0);
		cr_assert_eq(a.check.flags, 0);
		cr_assert_not(a.has_extra);
		cr_assert_eq(a.check.request_id, 0);
		cr_assert_not(a.close);
	}
}

Test(http_credential, names_that_only_resemble_ours_carry_none)
{
	static const char *const others[] = {
		CHECK_WITH(""),
		CHECK_WITH("X-API-Keys: il_abc\r\n"),
		CHECK_WITH("X-API-Ke: il_abc\r\n"),
		CHECK_WITH("Proxy-Authorization: Bearer il_abc\r\n"),
		CHECK_WITH("Authorization-And-Much-More: Bearer il_abc\r\n"),
		CHECK_WITH("Authorization: Basic Zm9v\r\n"),
		CHECK_WITH("Authorization: Bear il_abc\r\n"),
		CHECK_WITH("Authorization: Bearer,il_abc\r\n"),
		CHECK_WITH("Authorization:\r\n"),
		"GET /v1/check?key=il_abc HTTP/1.1\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(others); i++) {
		struct answer a = ask(others[i]);

		expect_refused(&a, REASON_NO_CREDENTIAL, DETAIL_NONE);
	}
}

Test(http_credential, malformed_keys_are_invalid_and_not_bad_requests)
{
	static const char *const bad[] = {
		CHECK_WITH("Authorization: Bearer\r\n"),
		CHECK_WITH("Authorization: Bearer \r\n"),
		CHECK_WITH("X-API-Key:\r\n"),
		CHECK_WITH("X-API-Key: \t \r\n"),
		CHECK_WITH("Authorization: Bearer il abc\r\n"),
		CHECK_WITH("Authorization: Bearer il_abc, Bearer il_abc\r\n"),
		CHECK_WITH("X-API-Key: il\tabc\r\n"),
		CHECK_WITH("X-API-Key: il_\xc3\xa4\r\n"),
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct answer a = ask(bad[i]);

		expect_refused(&a, REASON_INVALID_KEY, DETAIL_NONE);
		cr_assert_not(a.close);
	}
}

static struct answer ask_key_of(const char *before, size_t len)
{
	static char request[HTTP_HEAD_MAX];
	int at = snprintf(request, sizeof(request),
			  "GET /v1/check HTTP/1.1\r\n%s", before);

	memset(request + at, 'k', len);
	strcpy(request + at + len, "\r\n\r\n");
	return ask(request);
}

Test(http_credential, key_length_is_bounded)
{
	static const char *const before[] = {
		"X-API-Key: ", "Authorization: Bearer ",
		/* white space as long as what is kept of a value */
		"Authorization: Bearer                                      "};

	for (size_t i = 0; i < COUNT(before); i++) {
		static const size_t good[] = {1, 55, CHECK_KEY_MAX - 1,
					      CHECK_KEY_MAX};
		static const size_t bad[] = {CHECK_KEY_MAX + 1,
					     HTTP_VALUE_MAX - 7, HTTP_VALUE_MAX,
					     HTTP_VALUE_MAX + 1, 5000};

		for (size_t j = 0; j < COUNT(good); j++) {
			struct answer a = ask_key_of(before[i], good[j]);

			cr_assert_eq(a.check.credential, CREDENTIAL_KEY);
			cr_assert_eq(a.check.key_len, good[j]);
			cr_assert_eq(strspn(a.key, "k"), good[j]);
		}
		for (size_t j = 0; j < COUNT(bad); j++) {
			struct answer a = ask_key_of(before[i], bad[j]);

			expect_refused(&a, REASON_INVALID_KEY, DETAIL_NONE);
		}
	}
}

Test(http_credential, same_key_twice_is_one_key)
{
	static const char *const same[] = {
		CHECK_WITH(BEARER "X-API-Key: il_abc\r\n"),
		CHECK_WITH("X-API-Key: il_abc\r\n" BEARER),
		CHECK_WITH(BEARER BEARER),
		CHECK_WITH("X-API-Key: il_abc\r\nX-API-Key: il_abc \r\n"),
		/* an absent header that the proxy forwarded as an empty one */
		CHECK_WITH(BEARER "X-API-Key:\r\n"),
		CHECK_WITH("X-API-Key:\r\n" BEARER),
	};

	for (size_t i = 0; i < COUNT(same); i++) {
		struct answer a = ask(same[i]);

		expect_key(&a, "il_abc");
	}
}

Test(http_credential, two_different_keys_are_a_bad_request)
{
	static const char *const two[] = {
		CHECK_WITH(BEARER "X-API-Key: il_abd\r\n"),
		CHECK_WITH(BEARER "X-API-Key: il_ab\r\n"),
		CHECK_WITH(BEARER "X-API-Key: il_abcd\r\n"),
		CHECK_WITH("X-API-Key: IL_ABC\r\n" BEARER),
		CHECK_WITH(BEARER "Authorization: Bearer il_abd\r\n"),
		CHECK_WITH("X-API-Key: a\r\nX-API-Key: b\r\nX-API-Key: a\r\n"),
		CHECK_WITH("X-API-Key: a b\r\nX-API-Key: b\r\n"),
	};

	for (size_t i = 0; i < COUNT(two); i++) {
		struct answer a = ask(two[i]);

		expect_refused(&a, REASON_BAD_REQUEST, DETAIL_CREDENTIALS);
		cr_assert_not(a.close);
	}
}

Test(http_credential, a_key_behind_much_white_space_is_not_an_empty_one)
{
	char request[1024];
	struct answer a;

	snprintf(request, sizeof(request),
		 CHECK_WITH("Authorization: Bearer%*s\r\n"), HTTP_VALUE_MAX,
		 "il_abc");
	a = ask(request);
	expect_refused(&a, REASON_INVALID_KEY, DETAIL_NONE);
	snprintf(request, sizeof(request),
		 CHECK_WITH("Authorization: Bearer%*s\r\nX-API-Key: b\r\n"),
		 HTTP_VALUE_MAX, "il_abc");
	a = ask(request);
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_CREDENTIALS);
}

Test(http_credential, a_key_that_is_too_long_equals_no_other)
{
	char request[2048];
	char key[400];

	memset(key, 'k', sizeof(key));
	for (size_t len = CHECK_KEY_MAX; len < sizeof(key); len += 36) {
		struct answer a;

		snprintf(request, sizeof(request),
			 CHECK_WITH("X-API-Key: %.*s\r\nX-API-Key: %.*s\r\n"),
			 (int)len, key, CHECK_KEY_MAX, key);
		a = ask(request);
		if (len == CHECK_KEY_MAX)
			cr_assert_eq(a.check.credential, CREDENTIAL_KEY);
		else
			expect_refused(&a, REASON_BAD_REQUEST,
				       DETAIL_CREDENTIALS);
	}
}

/* ---- cost and peek ---- */

Test(http_cost, whole_numbers_in_range_are_taken)
{
	static const struct {
		const char *text;
		uint32_t cost;
	} rows[] = {
		{"1", 1},
		{"2", 2},
		{"10", 10},
		{"007", 7},
		{"65536", 65536},
		{"999999", 999999},
		{"42 \t", 42},
		{"1000000", 1000000},
		{"0001000000", 1000000},
		{"00000000000000000000000000000000000000000000000001", 1},
	};
	char request[512];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a;

		snprintf(request, sizeof(request),
			 CHECK_WITH(BEARER "X-Stile-Cost: %s\r\n"),
			 rows[i].text);
		a = ask(request);
		expect_key(&a, "il_abc");
		cr_assert_eq(a.check.cost, rows[i].cost);
	}
}

Test(http_cost, everything_else_is_a_bad_request)
{
	static const char *const rows[] = {
		"",
		"0",
		"00",
		"1000001",
		"10000000",
		"-1",
		"+1",
		"1.0",
		"1e3",
		"0x10",
		"1 2",
		"1,1",
		"abc",
		"1a",
		" ",
		"\xb2",
		"1;2",
		"4294967297",
		"18446744073709551617",
		"99999999999999999999999999999999999999999999999999999999",
		"100000000000000000000000000000000000000000000000000001",
	};
	char request[512];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a;

		snprintf(request, sizeof(request),
			 CHECK_WITH(BEARER "X-Stile-Cost: %s\r\n"), rows[i]);
		a = ask(request);
		expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
		cr_assert_not(a.close);
	}
}

Test(http_cost, an_endless_number_is_a_bad_request)
{
	char request[1024];
	char digits[HTTP_VALUE_MAX + 20];
	struct answer a;

	memset(digits, '0', sizeof(digits));
	digits[sizeof(digits) - 2] = '1';
	digits[sizeof(digits) - 1] = '\0';
	snprintf(request, sizeof(request),
		 CHECK_WITH(BEARER "X-Stile-Cost: %s\r\n"), digits);
	a = ask(request);
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
}

Test(http_cost, repeated_costs_have_to_agree)
{
	struct answer a;

	a = ask(CHECK_WITH(BEARER "X-Stile-Cost: 5\r\nX-Stile-Cost: 05\r\n"));
	expect_key(&a, "il_abc");
	cr_assert_eq(a.check.cost, 5);
	a = ask(CHECK_WITH(BEARER "X-Stile-Cost: 5\r\nX-Stile-Cost: 6\r\n"));
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
	a = ask(CHECK_WITH(BEARER "X-Stile-Cost: 5\r\nX-Stile-Cost: x\r\n"));
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
}

Test(http_cost, a_bad_request_is_told_before_a_missing_or_invalid_key)
{
	struct answer a;

	a = ask(CHECK_WITH("X-Stile-Cost: 0\r\n"));
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
	a = ask(CHECK_WITH("X-API-Key: \r\nX-Stile-Cost: 0\r\n"));
	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
}

Test(http_peek, is_asked_for_with_1)
{
	static const struct {
		const char *headers;
		bool good;
		uint8_t flags;
	} rows[] = {
		{"X-Stile-Peek: 1\r\n", true, CHECK_PEEK},
		{"x-stile-peek:1 \r\n", true, CHECK_PEEK},
		{"X-Stile-Peek: 1\r\nX-Stile-Peek: 1\r\n", true, CHECK_PEEK},
		{"X-Stile-Peek: 0\r\n", true, 0},
		{"X-Stile-Peek:\r\n", true, 0},
		{"X-Stile-Peek: 1\r\nX-Stile-Peek: 0\r\n", false, 0},
		{"X-Stile-Peek: 0\r\nX-Stile-Peek: 1\r\n", false, 0},
		{"X-Stile-Peek: 2\r\n", false, 0},
		{"X-Stile-Peek: 11\r\n", false, 0},
		{"X-Stile-Peek: true\r\n", false, 0},
	};
	char request[512];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a;

		snprintf(request, sizeof(request), CHECK_WITH(BEARER "%s"),
			 rows[i].headers);
		a = ask(request);
		if (rows[i].good) {
			expect_key(&a, "il_abc");
			cr_assert_eq(a.check.flags, rows[i].flags);
		} else {
			expect_refused(&a, REASON_BAD_REQUEST, DETAIL_PEEK);
		}
	}
}

/* ---- targets and methods ---- */

Test(http_target, paths_are_exact_and_a_query_is_ignored)
{
	static const struct {
		const char *target;
		enum http_event event;
		unsigned int status;
	} rows[] = {
		{"/v1/check", HTTP_CHECK, 200},
		{"/v1/check?", HTTP_CHECK, 200},
		{"/v1/check?a=/livez&b=?", HTTP_CHECK, 200},
		{"http://stile/v1/check", HTTP_CHECK, 200},
		{"HTTP://stile:80/v1/check?x", HTTP_CHECK, 200},
		{"/v1/check/nginx", HTTP_CHECK, 200},
		{"/v1/check/nginx?x", HTTP_CHECK, 200},
		{"/livez", HTTP_PROBE, 200},
		{"/readyz?verbose", HTTP_PROBE, 200},
		{"/healthz", HTTP_PROBE, 200},
		{"/", HTTP_PROBE, 404},
		{"*", HTTP_PROBE, 404},
		{"/v1/chec", HTTP_PROBE, 404},
		{"/v1/check/", HTTP_PROBE, 404},
		{"/v1/checks", HTTP_PROBE, 404},
		{"/V1/check", HTTP_PROBE, 404},
		{"//v1/check", HTTP_PROBE, 404},
		{"/v1/./check", HTTP_PROBE, 404},
		{"/v1%2fcheck", HTTP_PROBE, 404},
		{"/v1/check#a", HTTP_PROBE, 404},
		{"/v1/check/nginx/", HTTP_PROBE, 404},
		{"/metrics", HTTP_PROBE, 404},
		{"http://stile", HTTP_PROBE, 404},
		{"http://stile?/v1/check", HTTP_PROBE, 404},
	};
	char request[512];
	char status[32];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a;

		snprintf(request, sizeof(request),
			 "GET %s HTTP/1.1\r\nHost: stile\r\n" BEARER "\r\n",
			 rows[i].target);
		a = ask(request);
		cr_assert_eq(a.event, rows[i].event, "%s", rows[i].target);
		snprintf(status, sizeof(status), "HTTP/1.1 %u ",
			 rows[i].status);
		cr_assert_eq(strncmp(a.reply, status, strlen(status)), 0, "%s",
			     rows[i].target);
		cr_assert_not(a.close);
	}
}

Test(http_target, a_long_query_does_not_hide_the_path)
{
	char request[2048];
	char query[1024];
	struct answer a;

	memset(query, 'q', sizeof(query));
	snprintf(request, sizeof(request),
		 "GET /v1/check?%.*s HTTP/1.1\r\n" BEARER "\r\n",
		 (int)sizeof(query), query);
	a = ask(request);
	expect_key(&a, "il_abc");
	snprintf(request, sizeof(request),
		 "GET /v1/check%.*s HTTP/1.1\r\n" BEARER "\r\n",
		 (int)sizeof(query), query);
	a = ask(request);
	cr_assert_eq(a.event, HTTP_PROBE);
}

Test(http_method, any_that_http_knows_will_do)
{
	static const char *const methods[] = {
		"GET",     "HEAD",  "POST",  "PUT",      "DELETE", "PATCH",
		"OPTIONS", "TRACE", "PURGE", "PROPFIND", "LINK"};
	char request[256];

	for (size_t i = 0; i < COUNT(methods); i++) {
		struct answer a;

		snprintf(request, sizeof(request),
			 "%s /v1/check HTTP/1.1\r\n" BEARER "\r\n", methods[i]);
		a = ask(request);
		expect_key(&a, "il_abc");
		cr_assert_not(a.close);
	}
}

Test(http_method, head_gets_the_headers_and_no_body)
{
	static const char get[] = "GET /v1/check HTTP/1.1\r\n\r\n";
	static const char head[] = "HEAD /v1/check HTTP/1.1\r\n\r\n";
	struct answer with = ask(get);
	struct answer without = ask(head);
	const char *end = strstr(with.reply, "\r\n\r\n") + 4;

	cr_assert_eq(without.reply_len, (size_t)(end - with.reply));
	cr_assert_eq(memcmp(with.reply, without.reply, without.reply_len), 0);
	cr_assert_gt(with.reply_len, without.reply_len);

	with = ask("GET /readyz HTTP/1.1\r\n\r\n");
	without = ask("HEAD /readyz HTTP/1.1\r\n\r\n");
	cr_assert_eq(with.reply_len, without.reply_len + 3);
	cr_assert_eq(memcmp(with.reply, without.reply, without.reply_len), 0);
}
