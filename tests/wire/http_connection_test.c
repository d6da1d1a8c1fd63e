/* SPDX-License-Identifier: MIT */
#include "http_ask.h"

#include <stdlib.h>

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
