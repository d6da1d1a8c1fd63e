/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_WIRE_HTTP_ANSWER_H
#define STILE_TESTS_WIRE_HTTP_ANSWER_H

/* tests/wire/http_answer - a request, a verdict, and the response to it. */
#include "wire/http.h"
#include "wire/reason.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define WALL_MS UINT64_C(1700000000000)

static const struct http_options epoch = {.realm = "stile"};

/* Sends `request` through a parser and answers it with `v`. */
static inline const char *reply_to(const char *request,
				   const struct http_options *opt,
				   const struct verdict *v, uint64_t wall_ms)
{
	static char out[HTTP_EXPLAIN_MAX + 1];
	struct http_parser p;
	struct check c;
	enum http_event event;
	size_t len;

	http_init(&p);
	http_feed(&p, (const uint8_t *)request, strlen(request), &event, &c);
	cr_assert(event == HTTP_CHECK || event == HTTP_BROKEN);
	memset(out, 0, sizeof(out));
	len = http_encode(&p, opt, &c, v, wall_ms, (uint8_t *)out);
	cr_assert_leq(len, http_reply_max(&c));
	cr_assert_eq(strlen(out), len);
	http_reply_done(&p);
	return out;
}

#define CHECK "GET /v1/check HTTP/1.1\r\nX-API-Key: a\r\n\r\n"
#define NGINX "GET /v1/check/nginx HTTP/1.1\r\nX-API-Key: a\r\n\r\n"
#define NOBODY "X-Stile-Org: \r\nX-Stile-Project: \r\nX-Stile-Key-Id: \r\n"
#define SOMEBODY                                                               \
	"X-Stile-Org: orgORG12\r\n"                                            \
	"X-Stile-Project: prjPRJ34\r\n"                                        \
	"X-Stile-Key-Id: keyKEY56\r\n"

static inline struct verdict known(enum reason reason)
{
	return (struct verdict){
		.reason = (uint8_t)reason,
		.limit = 100,
		.remaining = reason == REASON_ALLOW ? 95 : 0,
		.window_ms = 60000,
		.reset_ms = 59001,
		.retry_ms = 11001,
		.org = {"orgORG12"},
		.project = {"prjPRJ34"},
		.key = {"keyKEY56"},
		.limit_name = "org",
		.charged = reason == REASON_ALLOW ? 5 : 0,
		.credits = CREDITS_NONE,
		.budget = CREDITS_NONE,
	};
}

static inline struct verdict unknown(enum reason reason, enum detail detail)
{
	return (struct verdict){.reason = (uint8_t)reason,
				.detail = (uint8_t)detail,
				.credits = CREDITS_NONE,
				.budget = CREDITS_NONE};
}

#endif
