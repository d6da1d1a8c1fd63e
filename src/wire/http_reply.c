/* SPDX-License-Identifier: MIT */
#include "wire/http.h"

#include "wire/http_body.h"
#include "wire/http_fields.h"
#include "wire/http_writer.h"

#include <assert.h>
#include <string.h>

/*
 * Responses are put together from constant pieces and numbers; the longest
 * that can arise is far below HTTP_REPLY_MAX
 * (tests/wire/http_reply_test.c builds it).
 */

static_assert(HTTP_REPLY_MAX + EXPLAIN_LINES_MAX * 300 <= HTTP_EXPLAIN_MAX,
	      "an explanation fits");

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
	if (status == 200) { /* most often */
		PUT(w, "HTTP/1.1 200 OK\r\n");
		return;
	}
	PUT(w, "HTTP/1.1 ");
	put_u64(w, status);
	PUT(w, " ");
	put_text(w, http_phrase(status));
	PUT(w, "\r\n");
}

/* HTTP/1.1 stays open unless told otherwise, HTTP/1.0 the other way round. */
static void put_connection(struct writer *w, const struct http_parser *p)
{
	if (p->close)
		PUT(w, "Connection: close\r\n");
	else if (p->is_http_10)
		PUT(w, "Connection: keep-alive\r\n");
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

/*
 * RateLimit and RateLimit-Policy follow draft-ietf-httpapi-ratelimit-headers
 * -10 and -11. t is the time until additional quota, and never later than
 * Retry-After.
 */
static void put_limits(struct writer *w, const struct http_options *opt,
		       const struct verdict *v, uint64_t wall_ms)
{
	uint64_t t = seconds_up(v->retry_ms);

	if (v->reason == REASON_RATE_LIMITED)
		t = at_least_1(t);
	else if (v->reason == REASON_COST_ABOVE_LIMIT ||
		 reason_info(v->reason)->status == 402)
		t = 0; /* never, or of something else than this limit */
	PUT(w, "X-RateLimit-Limit: ");
	put_u64(w, v->limit);
	PUT(w, "\r\nX-RateLimit-Remaining: ");
	put_u64(w, v->remaining);
	PUT(w, "\r\nX-RateLimit-Reset: ");
	put_u64(w, opt->reset_is_delta ? seconds_up(v->reset_ms)
				       : seconds_up(wall_ms + v->reset_ms));
	PUT(w, "\r\nRateLimit-Policy: \"");
	put_name(w, v->limit_name);
	PUT(w, "\";q=");
	put_u64(w, v->limit);
	if (v->window_ms != 0) {
		PUT(w, ";w=");
		put_u64(w, seconds_up(v->window_ms));
	} else {
		PUT(w, ";qu=\"concurrent-requests\"");
	}
	PUT(w, "\r\nRateLimit: \"");
	put_name(w, v->limit_name);
	PUT(w, "\";r=");
	put_u64(w, v->remaining);
	if (t != 0) {
		PUT(w, ";t=");
		put_u64(w, t);
	}
	PUT(w, "\r\n");
}

static void put_hold_id(struct writer *w, uint64_t hold)
{
	char digits[16];

	for (size_t i = sizeof(digits); i > 0; hold >>= 4)
		digits[--i] = "0123456789abcdef"[hold & 15];
	put(w, digits, sizeof(digits));
}

/* A number that may be told: CREDITS_NONE is none. */
#define PUT_LEFT(w, name, n)                                                   \
	do {                                                                   \
		if ((n) != CREDITS_NONE) {                                     \
			PUT(w, name ": ");                                     \
			put_u64(w, n);                                         \
			PUT(w, "\r\n");                                        \
		}                                                              \
	} while (0)

/* A repeated request does not tell when its hold expires. */
static void put_hold(struct writer *w, const struct verdict *v)
{
	PUT(w, "X-Stile-Hold: ");
	put_hold_id(w, v->hold);
	PUT(w, "\r\n");
	if (v->hold_ms != 0) {
		PUT(w, "X-Stile-Hold-Expires: ");
		/* who goes by it comes too early, not too late */
		put_u64(w, v->hold_ms / 1000);
		PUT(w, "\r\n");
	}
}

/* What was paid and what is left of it. What is settled may be denied the rest
 * of its cost, and was charged for all that. */
static void put_charges(struct writer *w, const struct check *c,
			const struct verdict *v)
{
	const bool allow = v->reason == REASON_ALLOW;

	if (!allow && id_is_none(v->org))
		return;
	if (allow || v->charged != 0) {
		PUT(w, "X-Stile-Charged: ");
		put_u64(w, v->charged);
		PUT(w, "\r\n");
	}
	if (v->flags & VERDICT_REPEATED)
		PUT(w, "X-Stile-Repeated: 1\r\n");
	if (v->hold != 0 && !http_target_settles(c->dialect))
		put_hold(w, v);
	PUT_LEFT(w, "X-Stile-Credits-Remaining", v->credits);
	PUT_LEFT(w, "X-Stile-Budget-Remaining", v->budget);
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

static void put_denial(struct writer *w, const struct http_options *opt,
		       const struct verdict *v)
{
	if (http_may_retry(v)) {
		PUT(w, "Retry-After: ");
		put_u64(w, at_least_1(seconds_up(v->retry_ms)));
		PUT(w, "\r\n");
	}
	if (http_names_limit(v)) {
		PUT(w, "X-Stile-Limit: ");
		put_name(w, v->limit_name);
		PUT(w, "\r\n");
	}
	PUT(w, "X-Stile-Reason: ");
	put_text(w, reason_info(v->reason)->word);
	PUT(w, "\r\n");
	put_challenge(w, opt, v->reason, http_message(v));
	PUT(w, "Cache-Control: no-store\r\n");
}

/* What nginx is to answer: auth_request takes no body, and few statuses. */
static void put_for_nginx(struct writer *w, const struct http_options *opt,
			  const struct verdict *v)
{
	PUT(w, "X-Stile-Status: ");
	put_u64(w, reason_info(v->reason)->status);
	PUT(w, "\r\n");
	if (v->reason == REASON_ALLOW)
		return;
	PUT(w, "X-Stile-Body-Type: ");
	put_text(w, http_body_type(opt->errors));
	PUT(w, "\r\nX-Stile-Body: ");
	http_put_body(w, opt->errors, v, NULL);
	PUT(w, "\r\n");
}

static void put_body(struct writer *w, const struct http_parser *p,
		     const struct http_options *opt, const struct verdict *v,
		     const struct explain *explain)
{
	uint8_t bytes[HTTP_EXPLAIN_MAX];
	struct writer body = {bytes, bytes + sizeof(bytes)};
	size_t len;

	http_put_body(&body, opt->errors, v, explain);
	len = (size_t)(body.at - bytes);
	PUT(w, "Content-Type: ");
	put_text(w, v->reason == REASON_ALLOW ? http_body_type(HTTP_ERRORS_FLAT)
					      : http_body_type(opt->errors));
	PUT(w, "\r\nContent-Length: ");
	put_u64(w, len);
	PUT(w, "\r\n\r\n");
	if (!p->is_head)
		put(w, bytes, len);
}

size_t http_encode(const struct http_parser *p, const struct http_options *opt,
		   const struct check *check, const struct verdict *verdict,
		   uint64_t wall_ms, uint8_t out[static HTTP_REPLY_MAX])
{
	const struct verdict *v = verdict;
	const unsigned int status = reason_info(v->reason)->status;
	const bool nginx = check->dialect == TARGET_CHECK_NGINX;
	const bool deny = v->reason != REASON_ALLOW;
	const struct explain *explain =
		check->flags & CHECK_EXPLAIN ? v->explain : NULL;
	struct writer w = {out, out + http_reply_max(check)};

	put_status_line(&w, nginx ? nginx_status(status) : status);
	put_identity(&w, v);
	if (!id_is_none(v->org) && v->limit_name[0] != '\0')
		put_limits(&w, opt, v, wall_ms);
	put_charges(&w, check, v);
	if (deny)
		put_denial(&w, opt, v);
	if (nginx)
		put_for_nginx(&w, opt, v);
	put_connection(&w, p);
	if (nginx || (!deny && !explain))
		PUT(&w, "Content-Length: 0\r\n\r\n");
	else
		put_body(&w, p, opt, v, explain);
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
