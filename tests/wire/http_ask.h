/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_WIRE_HTTP_ASK_H
#define STILE_TESTS_WIRE_HTTP_ASK_H

/*
 * tests/wire/http_ask - requests through a parser, whole and in pieces, and
 * what came of each.
 */
#include "wire/http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define WALL_MS UINT64_C(1700000000000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct http_options epoch = {.realm = "stile"};

static const struct verdict allowed = {
	.reason = REASON_ALLOW,
	.limit = 100,
	.remaining = 95,
	.window_ms = 60000,
	.reset_ms = 59001,
	.retry_ms = 11001,
	.org = {"orgORG12"},
	.project = {"prjPRJ34"},
	.key = {"keyKEY56"},
	.limit_name = "org",
	.charged = 5,
	.credits = CREDITS_NONE,
	.budget = CREDITS_NONE,
};

struct answer {
	enum http_event event;
	struct check check; /* without its pointers */
	bool has_extra;
	struct check_extra extra;
	char key[CHECK_KEY_MAX + 1];
	bool close;
	size_t reply_len;
	char reply[HTTP_REPLY_MAX + 1];
};

#define ANSWERS_MAX 4

struct run {
	size_t count;
	struct answer answers[ANSWERS_MAX];
};

/* What a gate would say to what the codec has already refused. */
static inline struct verdict verdict_for(const struct check *c)
{
	if (c->credential == CREDENTIAL_NONE)
		return (struct verdict){.reason = c->reason,
					.detail = c->detail};
	return allowed;
}

static inline void feed(struct http_parser *p, struct run *run, const char *in,
			size_t len)
{
	while (len > 0) {
		struct answer *a = &run->answers[run->count];
		struct verdict v;
		size_t took;

		cr_assert_lt(run->count, ANSWERS_MAX);
		memset(a, 0, sizeof(*a));
		took = http_feed(p, (const uint8_t *)in, len, &a->event,
				 &a->check);
		cr_assert_leq(took, len);
		in += took;
		len -= took;
		if (a->event == HTTP_MORE) {
			cr_assert_eq(len, 0, "HTTP_MORE takes everything");
			return;
		}
		if (a->event == HTTP_PROBE) {
			a->reply_len =
				http_encode_probe(p, true, (uint8_t *)a->reply);
		} else {
			memcpy(a->key, a->check.key, a->check.key_len);
			a->has_extra = a->check.extra != NULL;
			if (a->has_extra)
				a->extra = *a->check.extra;
			v = verdict_for(&a->check);
			a->reply_len =
				http_encode(p, &epoch, &a->check, &v, WALL_MS,
					    (uint8_t *)a->reply);
		}
		a->check.key = NULL; /* so that answers can be compared */
		a->check.extra = NULL;
		a->close = http_must_close(p);
		http_reply_done(p);
		run->count++;
	}
}

static inline void run_whole(struct run *run, const char *in, size_t len)
{
	struct http_parser p;

	memset(run, 0, sizeof(*run));
	memset(&p, 0xee, sizeof(p));
	http_init(&p);
	feed(&p, run, in, len);
}

/* The same bytes in two pieces, cut everywhere, and one by one. */
static inline void expect_same_in_pieces(const struct run *want, const char *in,
					 size_t len)
{
	struct http_parser p;
	struct run got;

	for (size_t cut = 1; cut < len; cut++) {
		memset(&got, 0, sizeof(got));
		http_init(&p);
		feed(&p, &got, in, cut);
		feed(&p, &got, in + cut, len - cut);
		got.answers[got.count] = want->answers[got.count];
		cr_assert_eq(memcmp(&got, want, sizeof(got)), 0,
			     "cut at %zu differs", cut);
	}
	memset(&got, 0, sizeof(got));
	http_init(&p);
	for (size_t i = 0; i < len; i++)
		feed(&p, &got, in + i, 1);
	got.answers[got.count] = want->answers[got.count];
	cr_assert_eq(memcmp(&got, want, sizeof(got)), 0,
		     "byte by byte differs");
}

/* One request, nothing after it. */
static inline struct answer ask_bytes(const char *in, size_t len)
{
	struct run run;

	run_whole(&run, in, len);
	cr_assert_eq(run.count, 1, "%zu answers", run.count);
	expect_same_in_pieces(&run, in, len);
	return run.answers[0];
}

static inline struct answer ask(const char *in)
{
	return ask_bytes(in, strlen(in));
}

#define CHECK_WITH(headers)                                                    \
	"GET /v1/check HTTP/1.1\r\nHost: stile\r\n" headers "\r\n"
#define BEARER "Authorization: Bearer il_abc\r\n"

static inline void expect_key(const struct answer *a, const char *key)
{
	cr_assert_eq(a->event, HTTP_CHECK);
	cr_assert_eq(a->check.credential, CREDENTIAL_KEY);
	cr_assert_eq(a->check.reason, REASON_ALLOW);
	cr_assert_str_eq(a->key, key);
	cr_assert_eq(a->check.key_len, strlen(key));
}

static inline void expect_refused(const struct answer *a, enum reason reason,
				  enum detail detail)
{
	cr_assert_eq(a->event, HTTP_CHECK);
	cr_assert_eq(a->check.credential, CREDENTIAL_NONE);
	cr_assert_eq(a->check.reason, reason, "reason %d", a->check.reason);
	cr_assert_eq(a->check.detail, detail, "detail %d", a->check.detail);
}

static inline void expect_broken(const struct answer *a)
{
	cr_assert_eq(a->event, HTTP_BROKEN, "event %d", a->event);
	cr_assert_eq(a->check.credential, CREDENTIAL_NONE);
	cr_assert_eq(a->check.reason, REASON_BAD_REQUEST);
	cr_assert_eq(a->check.detail, DETAIL_HTTP);
	cr_assert(a->close);
	cr_assert_not_null(strstr(a->reply, "\r\nConnection: close\r\n"));
}

#endif
