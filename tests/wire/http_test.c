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
			expect_refused(&a, REASON_BAD_REQUEST, DETAIL_FRAME);
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

/* ---- connections ---- */

Test(http_connection, follows_the_version_and_the_header)
{
	static const struct {
		const char *version;
		const char *header;
		bool close;
		const char *says;
	} rows[] = {
		{"1.1", "", false, NULL},
		{"1.1", "Connection: keep-alive\r\n", false, NULL},
		{"1.1", "Connection: close\r\n", true, "close"},
		{"1.1", "Connection: CLOSE\r\n", true, "close"},
		{"1.1", "Connection: keep-alive, close\r\n", true, "close"},
		{"1.1", "Connection: x\r\nConnection: close\r\n", true,
		 "close"},
		{"1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", false,
		 NULL},
		{"1.0", "", true, "close"},
		{"1.0", "Connection: close\r\n", true, "close"},
		{"1.0", "Connection: keep-alive\r\n", false, "keep-alive"},
		{"1.0", "Connection: keep-alive, close\r\n", true, "close"},
	};
	static const char *const paths[] = {"/v1/check", "/v1/check/nginx",
					    "/livez", "/nowhere"};
	char request[256];
	char says[64];

	for (size_t i = 0; i < COUNT(rows) * COUNT(paths); i++) {
		size_t row = i / COUNT(paths);
		struct answer a;

		snprintf(request, sizeof(request), "GET %s HTTP/%s\r\n%s\r\n",
			 paths[i % COUNT(paths)], rows[row].version,
			 rows[row].header);
		a = ask(request);
		cr_assert_neq(a.event, HTTP_BROKEN);
		cr_assert_eq(a.close, rows[row].close, "%s", request);
		snprintf(says, sizeof(says), "\r\nConnection: %s\r\n",
			 rows[row].says ? rows[row].says : "");
		if (rows[row].says)
			cr_assert_not_null(strstr(a.reply, says));
		else
			cr_assert_null(strstr(a.reply, "Connection:"));
	}
}

Test(http_connection, a_declared_body_is_not_waited_for)
{
	static const char *const declared[] = {
		"POST /v1/check HTTP/1.1\r\n" BEARER
		"Content-Length: 7\r\n\r\n",
		"POST /v1/check HTTP/1.1\r\nContent-Length: 7\r\n" BEARER
		"\r\nbodybod",
		"POST /v1/check HTTP/1.1\r\n" BEARER
		"Transfer-Encoding: chunked\r\n\r\n",
		"POST /v1/check HTTP/1.1\r\n" BEARER
		"Transfer-Encoding: chunked\r\n\r\nzz\r\nno chunk",
		"GET /v1/check HTTP/1.1\r\n" BEARER "Expect: 100-continue\r\n"
		"Content-Length: 18446744073709551615\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(declared); i++) {
		struct answer a = ask(declared[i]);

		expect_key(&a, "il_abc");
		cr_assert(a.close);
		cr_assert_not_null(
			strstr(a.reply, "\r\nConnection: close\r\n"));
	}
}

Test(http_connection, an_empty_body_keeps_it_open)
{
	struct answer a = ask("POST /v1/check HTTP/1.1\r\n" BEARER
			      "Content-Length: 0\r\n\r\n");

	expect_key(&a, "il_abc");
	cr_assert_not(a.close);
}

Test(http_connection, a_body_is_never_taken_for_a_request)
{
	struct answer a = ask("POST /v1/check HTTP/1.1\r\n" BEARER
			      "Content-Length: 30\r\n\r\n"
			      "GET /v1/check HTTP/1.1\r\n\r\n");

	expect_key(&a, "il_abc");
	cr_assert(a.close);
}

Test(http_connection, pipelined_requests_come_one_by_one)
{
	static const char pipelined[] =
		"GET /v1/check HTTP/1.1\r\nX-API-Key: first\r\n\r\n"
		"\r\n"
		"POST /v1/check/nginx HTTP/1.1\r\nX-Stile-Cost: 9\r\n"
		"Content-Length: 0\r\nX-API-Key: second\r\n\r\n"
		"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"
		"GET /v1/check HTTP/1.1\r\nX-API-Key: never\r\n\r\n";
	struct run run;

	run_whole(&run, pipelined, strlen(pipelined));
	cr_assert_eq(run.count, 3);
	expect_key(&run.answers[0], "first");
	cr_assert_eq(run.answers[0].check.cost, 0);
	expect_key(&run.answers[1], "second");
	cr_assert_eq(run.answers[1].check.cost, 9);
	cr_assert_eq(run.answers[2].event, HTTP_PROBE);
	cr_assert(run.answers[2].close);
	expect_same_in_pieces(&run, pipelined, strlen(pipelined));
}

Test(http_connection, nothing_of_a_request_is_left_for_the_next)
{
	static const char two[] =
		"HEAD /v1/check/nginx HTTP/1.0\r\nConnection: keep-alive\r\n"
		"X-API-Key: a\r\nX-API-Key: b\r\nX-Stile-Cost: 5\r\n"
		"X-Stile-Peek: 1\r\n\r\n"
		"GET /v1/check HTTP/1.1\r\n\r\n";
	struct run run;

	run_whole(&run, two, strlen(two));
	cr_assert_eq(run.count, 2);
	expect_refused(&run.answers[0], REASON_BAD_REQUEST, DETAIL_CREDENTIALS);
	expect_refused(&run.answers[1], REASON_NO_CREDENTIAL, DETAIL_NONE);
	cr_assert_eq(run.answers[1].check.cost, 0);
	cr_assert_eq(run.answers[1].check.flags, 0);
	cr_assert_not(run.answers[1].close);
	cr_assert_not_null(strstr(run.answers[1].reply, "{\"success\":false"));
	expect_same_in_pieces(&run, two, strlen(two));
}

Test(http_connection, tells_a_started_request_from_an_idle_line)
{
	struct http_parser p;
	struct check c;
	enum http_event event;

	http_init(&p);
	cr_assert_not(http_in_request(&p));
	cr_assert_eq(http_feed(&p, (const uint8_t *)"GET /l", 6, &event, &c),
		     6);
	cr_assert_eq(event, HTTP_MORE);
	cr_assert(http_in_request(&p));
	cr_assert_eq(http_feed(&p, (const uint8_t *)"ivez HTTP/1.1\r\n\r\n", 17,
			       &event, &c),
		     17);
	cr_assert_eq(event, HTTP_PROBE);
	http_reply_done(&p);
	cr_assert_not(http_in_request(&p));
}

/* ---- broken requests ---- */

Test(http_broken, not_http_1)
{
	static const char *const rows[] = {
		"\n",
		"hello\r\n\r\n",
		"get /v1/check HTTP/1.1\r\n\r\n",
		"FROB /v1/check HTTP/1.1\r\n\r\n",
		"GET /v1/check\r\n\r\n",
		"GET /v1/check HTTP/0.9\r\n\r\n",
		"GET /v1/check HTTP/2.0\r\n\r\n",
		"GET /v1/check HTTP/1.2\r\n\r\n",
		"GET /v1/check HTTP/11\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02",
		"GET v1/check HTTP/1.1\r\n\r\n",
		("GET /v1/ch\x01"
		 "eck HTTP/1.1\r\n\r\n"),
		"GET /v1/check HTTP/1.1\r\nno colon\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\n: no name\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask(rows[i]);

		expect_broken(&a);
	}
}

Test(http_broken, shapes_that_smuggle_requests)
{
	static const char *const rows[] = {
		/* a length and an encoding, either way round */
		CHECK_WITH(
			"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
		CHECK_WITH(
			"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
		/* lengths that two readers may read differently */
		CHECK_WITH("Content-Length: 5\r\nContent-Length: 5\r\n"),
		CHECK_WITH("Content-Length: 5\r\nContent-Length: 6\r\n"),
		CHECK_WITH("Content-Length: 5, 5\r\n"),
		CHECK_WITH("Content-Length: +5\r\n"),
		CHECK_WITH("Content-Length: -5\r\n"),
		CHECK_WITH("Content-Length: 0x5\r\n"),
		CHECK_WITH("Content-Length: 18446744073709551616\r\n"),
		CHECK_WITH("Content-Length:\r\n"),
		/* encodings that do not end in chunked */
		CHECK_WITH("Transfer-Encoding: identity\r\n"),
		CHECK_WITH("Transfer-Encoding: chunked, identity\r\n"),
		CHECK_WITH("Transfer-Encoding: xchunked\r\n"),
		CHECK_WITH("Transfer-Encoding: chunked\r\n"
			   "Transfer-Encoding: gzip\r\n"),
		/* white space around a name */
		CHECK_WITH("Content-Length : 5\r\n"),
		CHECK_WITH("X-API-Key : il_abc\r\n"),
		"GET /v1/check HTTP/1.1\r\n X-API-Key: a\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\n\tX-API-Key: a\r\n\r\n",
		/* folded lines */
		CHECK_WITH("X-API-Key: a\r\n b\r\n"),
		CHECK_WITH("X-API-Key: a\r\n\tb\r\n"),
		CHECK_WITH("X-Other: a\r\n X-API-Key: b\r\n"),
		CHECK_WITH("X-Other:\r\n b\r\n"),
		/* line ends */
		"GET /v1/check HTTP/1.1\n\n",
		"GET /v1/check HTTP/1.1\nHost: a\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\nHost: a\nX-API-Key: b\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\nHost: a\n\r\n",
		"GET /v1/check HTTP/1.1\r\nHost: a\r\n\n",
		"GET /v1/check HTTP/1.1\r\nHost: a\rX-API-Key: b\r\n\r\n",
		"GET /v1/check HTTP/1.1\rHost: a\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\n\rX",
		"GET /v1/check HTTP/1.1\r\nHost: a\r\r\n\r\n",
		"\n\nGET /v1/check HTTP/1.1\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask(rows[i]);

		cr_expect_eq(a.event, HTTP_BROKEN, "%s", rows[i]);
		expect_broken(&a);
	}
}

Test(http_broken, a_zero_byte_is_nowhere_welcome)
{
	static const char good[] = "GET /v1/check?q HTTP/1.1\r\nHost: a\r\n"
				   "X-API-Key: abc\r\nX-Other: abc\r\n\r\n";

	for (size_t at = 0; at < sizeof(good) - 3; at++) {
		char bad[sizeof(good)];
		struct answer a;

		memcpy(bad, good, sizeof(good));
		bad[at] = '\0';
		a = ask_bytes(bad, sizeof(good) - 1);
		cr_assert_eq(a.event, HTTP_BROKEN, "at %zu", at);
	}
}

Test(http_broken, answers_in_the_dialect_of_the_path)
{
	struct answer a;

	a = ask("GET /v1/check/nginx HTTP/1.1\r\nbad header\r\n\r\n");
	expect_broken(&a);
	cr_assert_eq(strncmp(a.reply, "HTTP/1.1 403 ", 13), 0);
	cr_assert_not_null(strstr(a.reply, "\r\nX-Stile-Status: 400\r\n"));
	a = ask("GET /v1/check HTTP/1.1\r\nbad header\r\n\r\n");
	expect_broken(&a);
	cr_assert_eq(strncmp(a.reply, "HTTP/1.1 400 ", 13), 0);
	a = ask("GET /livez HTTP/1.1\r\nbad header\r\n\r\n");
	expect_broken(&a);
	cr_assert_eq(strncmp(a.reply, "HTTP/1.1 400 ", 13), 0);
}

static char big[HTTP_HEAD_MAX + 64];

/* A request whose header block has `len` bytes. */
static void make_big(size_t len)
{
	static const char start[] =
		"GET /v1/check HTTP/1.1\r\n" BEARER "Cookie: ";

	memset(big, 'c', sizeof(big));
	memcpy(big, start, sizeof(start) - 1);
	memcpy(big + len - 4, "\r\n\r\n", 4);
}

static enum http_event feed_big(size_t len, size_t step)
{
	struct http_parser p;
	struct check c;
	enum http_event event = HTTP_MORE;

	http_init(&p);
	for (size_t at = 0; at < len && event == HTTP_MORE; at += step)
		http_feed(&p, (const uint8_t *)big + at,
			  len - at < step ? len - at : step, &event, &c);
	return event;
}

Test(http_broken, header_block_is_bounded)
{
	static const size_t steps[] = {
		1, 7, 4096, HTTP_HEAD_MAX - 1, HTTP_HEAD_MAX, sizeof(big)};

	for (size_t i = 0; i < COUNT(steps); i++) {
		make_big(HTTP_HEAD_MAX - 1);
		cr_assert_eq(feed_big(HTTP_HEAD_MAX - 1, steps[i]), HTTP_CHECK);
		make_big(HTTP_HEAD_MAX);
		cr_assert_eq(feed_big(HTTP_HEAD_MAX, steps[i]), HTTP_CHECK);
		make_big(HTTP_HEAD_MAX + 1);
		cr_assert_eq(feed_big(HTTP_HEAD_MAX + 1, steps[i]),
			     HTTP_BROKEN);
	}
}

Test(http_broken, bound_is_for_each_request_of_a_connection)
{
	struct http_parser p;
	struct run run;

	make_big(HTTP_HEAD_MAX);
	memset(&run, 0, sizeof(run));
	http_init(&p);
	for (int i = 0; i < ANSWERS_MAX; i++) {
		feed(&p, &run, big, HTTP_HEAD_MAX);
		expect_key(&run.answers[i], "il_abc");
	}
}

Test(http_broken, empty_lines_without_end_are_bounded_too)
{
	struct http_parser p;
	struct check c;
	enum http_event event = HTTP_MORE;
	size_t fed = 0;

	http_init(&p);
	for (; event == HTTP_MORE && fed < 2 * HTTP_HEAD_MAX; fed += 2)
		http_feed(&p, (const uint8_t *)"\r\n", 2, &event, &c);
	cr_assert_eq(event, HTTP_BROKEN);
	cr_assert_eq(fed, HTTP_HEAD_MAX);
}

/* ---- secrets ---- */

static bool holds(const void *where, size_t len, const char *what)
{
	return memmem(where, len, what, strlen(what)) != NULL;
}

Test(http_secret, is_wiped_with_the_reply)
{
	static const char *const requests[] = {
		"GET /v1/check?k=s3cr3t HTTP/1.1\r\n"
		"X-API-Key: s3cr3t\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\nX-API-Key: s3cr3t\r\n"
		"Authorization: Bearer s3cr3t2\r\n\r\n",
		"GET /v1/check HTTP/1.1\r\nX-API-Key: s3cr3t\r\nbroken\r\n",
		"GET /livez HTTP/1.1\r\nX-API-Key: s3cr3t\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(requests); i++) {
		struct http_parser p;
		struct check c;
		enum http_event event;

		http_init(&p);
		http_feed(&p, (const uint8_t *)requests[i], strlen(requests[i]),
			  &event, &c);
		cr_assert_neq(event, HTTP_MORE);
		cr_assert(holds(&p, sizeof(p), "s3cr3t"));
		http_reply_done(&p);
		cr_assert_not(holds(&p, sizeof(p), "s3cr3t"));
	}
}

Test(http_secret, is_in_no_reply)
{
	static const char *const requests[] = {
		CHECK_WITH("X-API-Key: s3cr3t\r\n"),
		CHECK_WITH("X-API-Key: s3cr3t x\r\n"),
		CHECK_WITH("X-API-Key: s3cr3t\r\nX-API-Key: s3cr3t2\r\n"),
		CHECK_WITH("X-API-Key: s3cr3t\r\nno colon\r\n"),
	};

	for (size_t i = 0; i < COUNT(requests); i++) {
		struct answer a = ask(requests[i]);

		cr_assert_not(holds(a.reply, a.reply_len, "s3cr3t"));
	}
}

Test(http_secret, an_abandoned_request_is_wiped_by_init)
{
	struct http_parser p;
	struct check c;
	enum http_event event;

	http_init(&p);
	http_feed(&p, (const uint8_t *)"GET / HTTP/1.1\r\nX-API-Key: s3cr3t",
		  33, &event, &c);
	cr_assert(holds(&p, sizeof(p), "s3cr3t"));
	http_init(&p);
	cr_assert_not(holds(&p, sizeof(p), "s3cr3t"));
}
