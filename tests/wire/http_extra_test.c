/* SPDX-License-Identifier: MIT */
/* The headers that most checks of a program do not have, and settling. */
#include "http_ask.h"

#include "base/label.h"

static const struct check_extra nothing;

static struct answer ask_with(const char *line)
{
	char request[2048];

	snprintf(request, sizeof(request), CHECK_WITH(BEARER "%s\r\n"), line);
	return ask(request);
}

Test(http_extra, every_header_has_its_field)
{
	struct answer a = ask(CHECK_WITH(
		"X-Stile-Route: POST /files\r\nx-stile-scope: files:write \r\n"
		"X-REQUEST-ID: 7f\r\nX-Forwarded-For: 192.0.2.9, ::1\r\n"
		"X-Stile-Reserve: 30s\r\nX-Stile-Explain: 1\r\n" BEARER));
	uint64_t once[2];

	label_hash_128("7f", 2, once);
	expect_key(&a, "il_abc");
	cr_assert(a.has_extra);
	cr_assert_str_eq(a.extra.route, "POST /files");
	cr_assert_str_eq(a.extra.scope, "files:write");
	cr_assert_eq(a.extra.route_hash, label_hash("POST /files", 11));
	cr_assert_eq(a.extra.scope_hash, label_hash("files:write", 11));
	cr_assert_eq(a.extra.once[0], once[0]);
	cr_assert_eq(a.extra.once[1], once[1]);
	cr_assert(a.extra.has_address);
	cr_assert_eq(a.extra.address[15], 1);
	cr_assert_eq(a.extra.hold_ms, 30000);
	cr_assert_eq(a.extra.hold, 0);
	cr_assert_eq(a.check.flags, CHECK_RESERVE | CHECK_EXPLAIN);
	cr_assert_eq(a.check.cost, 0);
}

Test(http_extra, an_empty_header_is_as_if_absent)
{
	static const char *const rows[] = {
		"X-Stile-Route:",   "X-Stile-Scope:  ",   "X-Request-Id:",
		"X-Forwarded-For:", "X-Stile-Reserve: ",  "X-Stile-Explain:",
		"X-Stile-Hold:",    "X-Stile-Reserve: 0", "X-Stile-Explain: 0"};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask_with(rows[i]);

		expect_key(&a, "il_abc");
		cr_assert_not(a.has_extra, "%s", rows[i]);
		cr_assert_eq(a.check.flags, 0);
	}
}

Test(http_extra, what_is_malformed_names_its_detail)
{
	static const struct {
		const char *line;
		enum detail detail;
	} rows[] = {
		{"X-Stile-Route: \xc3\xa4", DETAIL_ROUTE},
		{"X-Stile-Route: a\tb", DETAIL_ROUTE},
		{"X-Stile-Route: a\r\nX-Stile-Route: b", DETAIL_ROUTE},
		{"X-Stile-Scope: "
		 "0123456789012345678901234567890123456789012345678901234567890"
		 "123",
		 DETAIL_ROUTE},
		{"X-Request-Id: a\r\nX-Request-Id: b", DETAIL_ONCE},
		{"X-Forwarded-For: me", DETAIL_ADDRESS},
		{"X-Forwarded-For: 192.0.2.1,", DETAIL_ADDRESS},
		{"X-Forwarded-For: ,", DETAIL_ADDRESS},
		{"X-Forwarded-For: 192.0.2.1 ::1", DETAIL_ADDRESS},
		{"X-Stile-Reserve: yes", DETAIL_RESERVE},
		{"X-Stile-Reserve: 2", DETAIL_RESERVE},
		{"X-Stile-Reserve: 30", DETAIL_RESERVE},
		{"X-Stile-Reserve: 0s", DETAIL_RESERVE},
		{"X-Stile-Reserve: 32d", DETAIL_RESERVE},
		{"X-Stile-Reserve: 1\r\nX-Stile-Reserve: 0", DETAIL_RESERVE},
		{"X-Stile-Reserve: 0\r\nX-Stile-Reserve: 1s", DETAIL_RESERVE},
		{"X-Stile-Reserve: 2s\r\nX-Stile-Reserve: 1s", DETAIL_RESERVE},
		{"X-Stile-Explain: 2", DETAIL_EXPLAIN},
		{"X-Stile-Explain: 1\r\nX-Stile-Explain: 0", DETAIL_EXPLAIN},
		{"X-Stile-Hold: 00000000000000a1", DETAIL_HOLD_BESIDE},
		{"X-Stile-Peek: 2", DETAIL_PEEK},
		{"X-Stile-Peek: 01", DETAIL_PEEK},
		{"X-Stile-Peek: 0\r\nX-Stile-Peek: 1", DETAIL_PEEK},
		{"X-Stile-Hold: x", DETAIL_HOLD},
		{"X-Stile-Hold: 0000000000000000", DETAIL_HOLD},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask_with(rows[i].line);

		cr_assert_eq(a.check.detail, rows[i].detail, "%s: %d",
			     rows[i].line, a.check.detail);
		expect_refused(&a, REASON_BAD_REQUEST, rows[i].detail);
		cr_assert_not(a.close);
	}
}

Test(http_extra, a_request_id_has_128_bytes_at_most)
{
	static const size_t lens[] = {1,
				      127,
				      128,
				      129,
				      HTTP_VALUE_MAX,
				      HTTP_VALUE_MAX + 1,
				      HTTP_VALUE_MAX + 200};
	char line[HTTP_VALUE_MAX + 300] = "X-Request-Id: ";
	const size_t at = strlen(line);

	for (size_t i = 0; i < COUNT(lens); i++) {
		struct answer a;

		memset(line + at, 'r', lens[i]);
		line[at + lens[i]] = '\0';
		a = ask_with(line);
		if (lens[i] <= 128) {
			expect_key(&a, "il_abc");
			cr_assert(a.has_extra);
		} else {
			expect_refused(&a, REASON_BAD_REQUEST, DETAIL_ONCE);
		}
	}
}

Test(http_extra, the_last_address_of_the_last_list_is_the_clients)
{
	static const struct {
		const char *line;
		uint8_t last; /* byte of the address; 0: there is none */
	} rows[] = {
		{"X-Forwarded-For: 192.0.2.1", 1},
		{"X-Forwarded-For: 192.0.2.1:80", 1},
		{"X-Forwarded-For: [::2]:80 ", 2},
		{"X-Forwarded-For: nonsense, 192.0.2.3", 3},
		{"X-Forwarded-For: ,,, \t192.0.2.3", 3},
		{"X-Forwarded-For: 192.0.2.3,::4", 4},
		{"X-Forwarded-For: 192.0.2.3\r\nX-Forwarded-For: ::1,::5", 5},
		{"X-Forwarded-For: 192.0.2.3\r\nX-Forwarded-For:", 0},
		{"X-Forwarded-For: 192.0.2.3, unknown", 0},
		{"X-Forwarded-For: unix:", 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask_with(rows[i].line);

		expect_key(&a, "il_abc");
		cr_assert(a.has_extra);
		cr_assert_eq(a.extra.has_address, rows[i].last != 0, "%s",
			     rows[i].line);
		if (rows[i].last != 0)
			cr_assert_eq(a.extra.address[15], rows[i].last);
	}
}

Test(http_extra, a_list_of_addresses_may_be_longer_than_a_value)
{
	char line[1900] = "X-Forwarded-For: ";

	while (strlen(line) < 1800)
		strcat(line, "2001:db8:1111:2222:3333:4444:5555:6666, ");
	strcat(line, "192.0.2.77");
	cr_assert_eq(ask_with(line).extra.address[15], 77);
	/* but not one element of it */
	memset(line + 20, 'a', HTTP_VALUE_MAX + 1);
	line[20 + HTTP_VALUE_MAX + 1] = '\0';
	cr_assert_eq(ask_with(line).check.detail, DETAIL_ADDRESS);
}

Test(http_extra, nginx_takes_no_explanation)
{
	struct answer a =
		ask("GET /v1/check/nginx HTTP/1.1\r\nX-Stile-Explain: 1\r\n"
		    "X-Stile-Reserve: 1\r\n" BEARER "\r\n");

	expect_key(&a, "il_abc");
	cr_assert_eq(a.check.flags, CHECK_RESERVE);
	cr_assert_not(a.has_extra);
}

Test(http_extra, nothing_of_a_request_is_left_for_the_next)
{
	static const char three[] = CHECK_WITH(
		"X-Stile-Route: a\r\nX-Stile-Scope: b\r\nX-Request-Id: c\r\n"
		"X-Forwarded-For: ::1\r\nX-Stile-Reserve: 1s\r\n"
		"X-Stile-Explain: 1\r\n" BEARER) CHECK_WITH(BEARER)
		CHECK_WITH("X-Stile-Route: d\r\n" BEARER);
	struct check_extra want = nothing;
	struct run run;

	run_whole(&run, three, strlen(three));
	cr_assert_eq(run.count, 3);
	cr_assert(run.answers[0].has_extra);
	cr_assert_not(run.answers[1].has_extra);
	cr_assert_eq(run.answers[1].check.flags, 0);
	want.route_hash = label_hash("d", 1);
	want.route_len = 1;
	want.route[0] = 'd';
	cr_assert_eq(memcmp(&run.answers[2].extra, &want, sizeof(want)), 0);
	expect_same_in_pieces(&run, three, strlen(three));
}

/* ---- settling ---- */

#define HOLD "X-Stile-Hold: 00000000000000a1\r\n"

Test(http_settle, takes_a_hold_and_what_it_has_cost)
{
	static const struct {
		const char *request;
		uint32_t cost;
	} rows[] = {
		{"POST /v1/settle HTTP/1.1\r\n" HOLD "X-Stile-Cost: 7\r\n\r\n",
		 7},
		{"GET /v1/settle HTTP/1.1\r\n" HOLD "X-Stile-Cost: 0\r\n\r\n",
		 0},
		{"PUT /v1/settle?x HTTP/1.1\r\n" HOLD "\r\n",
		 SETTLE_AS_RESERVED},
		{"POST /v1/refund HTTP/1.1\r\n" HOLD "\r\n", 0},
		{"POST /v1/release HTTP/1.1\r\n" HOLD "\r\n",
		 SETTLE_AS_RESERVED},
		{"POST /v1/release HTTP/1.1\r\n" HOLD BEARER
		 "X-Stile-Explain: 1\r\n\r\n",
		 SETTLE_AS_RESERVED},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask(rows[i].request);

		cr_assert_eq(a.event, HTTP_CHECK);
		cr_assert_eq(a.check.credential, CREDENTIAL_HOLD);
		cr_assert_eq(a.check.reason, REASON_ALLOW);
		cr_assert_eq(a.extra.hold, 0xa1);
		cr_assert_eq(a.check.cost, rows[i].cost);
		cr_assert_eq(a.check.flags, 0);
		cr_assert_not(a.close);
	}
}

Test(http_settle, what_is_malformed_names_its_detail)
{
	static const struct {
		const char *request;
		enum detail detail;
	} rows[] = {
		{"POST /v1/settle HTTP/1.1\r\n\r\n", DETAIL_HOLD},
		{"POST /v1/settle HTTP/1.1\r\n" BEARER "\r\n", DETAIL_HOLD},
		{"POST /v1/settle HTTP/1.1\r\nX-Stile-Hold:\r\n\r\n",
		 DETAIL_HOLD},
		{"POST /v1/settle HTTP/1.1\r\nX-Stile-Hold: a1\r\n\r\n",
		 DETAIL_HOLD},
		{"POST /v1/settle HTTP/1.1\r\n" HOLD
		 "X-Stile-Hold: 00000000000000a2\r\n\r\n",
		 DETAIL_HOLD},
		{"POST /v1/settle HTTP/1.1\r\n" HOLD
		 "X-Stile-Cost: 1000001\r\n\r\n",
		 DETAIL_SETTLED},
		{"POST /v1/settle HTTP/1.1\r\n" HOLD "X-Stile-Cost:\r\n\r\n",
		 DETAIL_SETTLED},
		{"POST /v1/refund HTTP/1.1\r\n" HOLD "X-Stile-Cost: 5\r\n\r\n",
		 DETAIL_COST_BESIDE},
		{"POST /v1/release HTTP/1.1\r\n" HOLD "X-Stile-Cost: 0\r\n\r\n",
		 DETAIL_COST_BESIDE},
		{"POST /v1/settle HTTP/1.1\r\n" HOLD "X-Stile-Peek: 1\r\n\r\n",
		 DETAIL_PEEK_BESIDE},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer a = ask(rows[i].request);

		cr_assert_eq(a.check.detail, rows[i].detail, "%s: %d",
			     rows[i].request, a.check.detail);
		expect_refused(&a, REASON_BAD_REQUEST, rows[i].detail);
	}
}

Test(http_settle, only_what_settles_may_cost_nothing)
{
	struct answer a = ask_with("X-Stile-Cost: 0");

	expect_refused(&a, REASON_BAD_REQUEST, DETAIL_COST);
}
