/* SPDX-License-Identifier: MIT */
#include "base/check.h"
#include "wire/http.h"
#include "wire/http_fields.h"
#include "wire/reason.h"

#include <assert.h>
#include <string.h>

/*
 * Responses are put together from constant pieces and numbers; the longest
 * that can arise is far below HTTP_REPLY_MAX (tests/wire/http_test.c builds
 * it), so the writer's bound is a check against a bug and not an event.
 */

struct writer {
	uint8_t *at;
	uint8_t *end;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
	check((size_t)(w->end - w->at) >= len);
	memcpy(w->at, bytes, len);
	w->at += len;
}

#define PUT(w, literal) put(w, "" literal, sizeof(literal) - 1)

static void put_text(struct writer *w, struct text text)
{
	put(w, text.s, text.len);
}

static void put_u64(struct writer *w, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put(w, digits + at, sizeof(digits) - at);
}

static uint64_t seconds_up(uint64_t ms)
{
	return ms / 1000 + (ms % 1000 != 0);
}

static uint64_t at_least_1(uint64_t n)
{
	return n ? n : 1;
}

static void put_status_line(struct writer *w, unsigned int status)
{
	switch (status) {
	case 200:
		PUT(w, "HTTP/1.1 200 OK\r\n");
		return;
	case 400:
		PUT(w, "HTTP/1.1 400 Bad Request\r\n");
		return;
	case 401:
		PUT(w, "HTTP/1.1 401 Unauthorized\r\n");
		return;
	case 402:
		PUT(w, "HTTP/1.1 402 Payment Required\r\n");
		return;
	case 403:
		PUT(w, "HTTP/1.1 403 Forbidden\r\n");
		return;
	case 404:
		PUT(w, "HTTP/1.1 404 Not Found\r\n");
		return;
	case 429:
		PUT(w, "HTTP/1.1 429 Too Many Requests\r\n");
		return;
	case 503:
		PUT(w, "HTTP/1.1 503 Service Unavailable\r\n");
		return;
	default:
		check(status == 0); /* a status without a status line */
	}
}

/* HTTP/1.1 stays open unless told otherwise, HTTP/1.0 the other way round. */
static void put_connection(struct writer *w, const struct http_parser *p)
{
	if (p->close)
		PUT(w, "Connection: close\r\n");
	else if (p->is_http_10)
		PUT(w, "Connection: keep-alive\r\n");
}

static void put_json(struct writer *w, struct text message)
{
	PUT(w, "{\"success\":false,\"error\":\"");
	put_text(w, message);
	PUT(w, "\"}");
}

static size_t json_len(struct text message)
{
	return sizeof("{\"success\":false,\"error\":\"\"}") - 1 + message.len;
}

/* ---- verdicts ---- */

static void put_id(struct writer *w, struct id id)
{
	if (!id_is_none(id))
		put(w, id.c, ID_LEN);
	PUT(w, "\r\n");
}

/* Always all three, empty or not: a proxy that copies them overwrites what
 * the client sent, and some mistake a missing one for a text of their own. */
static void put_identity(struct writer *w, const struct verdict *v)
{
	PUT(w, "X-Stile-Org: ");
	put_id(w, v->org);
	PUT(w, "X-Stile-Project: ");
	put_id(w, v->project);
	PUT(w, "X-Stile-Key-Id: ");
	put_id(w, v->key);
}

static void put_limit_name(struct writer *w, const struct verdict *v)
{
	put(w, v->limit_name, strnlen(v->limit_name, LIMIT_NAME_LEN));
}

/*
 * RateLimit and RateLimit-Policy follow draft-ietf-httpapi-ratelimit-headers
 * -10 and -11. t is the time until additional quota, and never later than
 * Retry-After.
 */
static void put_limits(struct writer *w, const struct http_options *opt,
		       const struct verdict *v, uint64_t wall_ms)
{
	const bool limited = v->reason == REASON_RATE_LIMITED;
	const bool never = v->reason == REASON_COST_ABOVE_LIMIT;
	uint64_t retry_s = seconds_up(v->retry_ms);

	if (limited)
		retry_s = at_least_1(retry_s);
	PUT(w, "X-RateLimit-Limit: ");
	put_u64(w, v->limit);
	PUT(w, "\r\nX-RateLimit-Remaining: ");
	put_u64(w, v->remaining);
	PUT(w, "\r\nX-RateLimit-Reset: ");
	put_u64(w, opt->reset_is_delta ? seconds_up(v->reset_ms)
				       : seconds_up(wall_ms + v->reset_ms));
	PUT(w, "\r\nRateLimit-Policy: \"");
	put_limit_name(w, v);
	PUT(w, "\";q=");
	put_u64(w, v->limit);
	PUT(w, ";w=");
	put_u64(w, at_least_1(seconds_up(v->window_ms)));
	PUT(w, "\r\nRateLimit: \"");
	put_limit_name(w, v);
	PUT(w, "\";r=");
	put_u64(w, v->remaining);
	if (retry_s != 0 && !never) {
		PUT(w, ";t=");
		put_u64(w, retry_s);
	}
	PUT(w, "\r\n");
	if (limited) {
		PUT(w, "Retry-After: ");
		put_u64(w, retry_s);
		PUT(w, "\r\n");
	}
}

/* RFC 6750: no error code when no credential came at all. */
static void put_challenge(struct writer *w, const struct http_options *opt,
			  uint8_t reason, struct text message)
{
	if (reason != REASON_NO_CREDENTIAL && reason != REASON_INVALID_KEY &&
	    reason != REASON_BAD_REQUEST)
		return;
	PUT(w, "WWW-Authenticate: Bearer realm=\"");
	put(w, opt->realm, strnlen(opt->realm, HTTP_REALM_MAX));
	PUT(w, "\"");
	if (reason == REASON_INVALID_KEY)
		PUT(w, ", error=\"invalid_token\"");
	else if (reason == REASON_BAD_REQUEST)
		PUT(w, ", error=\"invalid_request\"");
	if (reason != REASON_NO_CREDENTIAL) {
		PUT(w, ", error_description=\"");
		put_text(w, message);
		PUT(w, "\"");
	}
	PUT(w, "\r\n");
}

/* auth_request passes on 2xx, 401 and 403; all else becomes a 500. */
static unsigned int nginx_status(unsigned int status)
{
	return status == 200 || status == 401 ? status : 403;
}

size_t http_encode(const struct http_parser *p, const struct http_options *opt,
		   const struct check *check, const struct verdict *verdict,
		   uint64_t wall_ms, uint8_t out[static HTTP_REPLY_MAX])
{
	const struct verdict *v = verdict;
	const struct reason_info *info = reason_info(v->reason);
	const bool nginx = check->dialect == TARGET_CHECK_NGINX;
	const bool deny = v->reason != REASON_ALLOW;
	const struct text message = v->reason == REASON_BAD_REQUEST
					    ? reason_detail_message(v->detail)
					    : info->message;
	struct writer w = {out, out + HTTP_REPLY_MAX};

	put_status_line(&w, nginx ? nginx_status(info->status) : info->status);
	put_identity(&w, v);
	if (!id_is_none(v->org))
		put_limits(&w, opt, v, wall_ms);
	if (nginx) {
		PUT(&w, "X-Stile-Status: ");
		put_u64(&w, info->status);
		PUT(&w, "\r\n");
	}
	if (deny) {
		PUT(&w, "X-Stile-Reason: ");
		put_text(&w, info->word);
		PUT(&w, "\r\n");
		put_challenge(&w, opt, v->reason, message);
		if (nginx) {
			PUT(&w, "X-Stile-Body: ");
			put_json(&w, message);
			PUT(&w, "\r\n");
		}
		PUT(&w, "Cache-Control: no-store\r\n");
	}
	put_connection(&w, p);
	if (!deny || nginx) {
		PUT(&w, "Content-Length: 0\r\n\r\n");
		return (size_t)(w.at - out);
	}
	PUT(&w, "Content-Type: application/json\r\nContent-Length: ");
	put_u64(&w, json_len(message));
	PUT(&w, "\r\n\r\n");
	if (!p->is_head)
		put_json(&w, message);
	return (size_t)(w.at - out);
}

/* ---- probes ---- */

#define PROBE_HEAD(type, length)                                               \
	"Cache-Control: no-store\r\n"                                          \
	"Content-Type: " type "\r\n"                                           \
	"Content-Length: " length "\r\n"
#define PROBE_OK "ok\n"
#define PROBE_NOT_READY "not ready\n"
#define PROBE_UNKNOWN "{\"success\":false,\"error\":\"Not found\"}"

size_t http_encode_probe(const struct http_parser *p, bool ready,
			 uint8_t out[static HTTP_REPLY_MAX])
{
	struct writer w = {out, out + HTTP_REPLY_MAX};
	struct text body;

	if (p->target != TARGET_LIVEZ && p->target != TARGET_READYZ &&
	    p->target != TARGET_HEALTHZ) {
		put_status_line(&w, 404);
		PUT(&w, PROBE_HEAD("application/json", "37"));
		body = (struct text){PROBE_UNKNOWN, sizeof(PROBE_UNKNOWN) - 1};
	} else if (ready || p->target == TARGET_LIVEZ) {
		put_status_line(&w, 200);
		PUT(&w, PROBE_HEAD("text/plain", "3"));
		body = (struct text){PROBE_OK, sizeof(PROBE_OK) - 1};
	} else {
		put_status_line(&w, 503);
		PUT(&w, PROBE_HEAD("text/plain", "10"));
		body = (struct text){PROBE_NOT_READY,
				     sizeof(PROBE_NOT_READY) - 1};
	}
	put_connection(&w, p);
	PUT(&w, "\r\n");
	if (!p->is_head)
		put_text(&w, body);
	return (size_t)(w.at - out);
}

#define FULL_BODY "{\"success\":false,\"error\":\"Too many connections\"}"
static const char full_reply[] = "HTTP/1.1 503 Service Unavailable\r\n"
				 "Content-Type: application/json\r\n"
				 "Content-Length: 48\r\n"
				 "Cache-Control: no-store\r\n"
				 "Retry-After: 1\r\n"
				 "Connection: close\r\n\r\n" FULL_BODY;
static_assert(sizeof(FULL_BODY) - 1 == 48, "Content-Length");

const char *http_full_reply(size_t *ret_len)
{
	*ret_len = sizeof(full_reply) - 1;
	return full_reply;
}
