/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_HTTP_H
#define STILE_WIRE_HTTP_H

/*
 * wire/http - checks over HTTP/1.1 for auth_request, forward_auth and the
 * like, parsed by llhttp.
 *
 * Does       bytes, in any fragmentation -> one check at a time; verdict ->
 *            a complete response. Paths: /v1/check (real status, JSON body
 *            on denial), /v1/check/nginx (200/401/403, never a body, with
 *            X-Stile-Status and X-Stile-Body), /v1/settle, /v1/refund and
 *            /v1/release (what a reservation has cost), /livez, /readyz,
 *            /healthz.
 * Pure       no clock, no allocation, no formatted output; all state is in
 *            struct http_parser, which the connection owns.
 * Bounds     header block HTTP_HEAD_MAX bytes, each value we keep has its
 *            own bound; a value beyond it is an answer, not a crash.
 * Secrets    the key is held in the parser from header to reply;
 *            http_reply_done() wipes it.
 *
 * One round: http_feed() until it returns something else than HTTP_MORE,
 * http_encode() or http_encode_probe(), http_reply_done(), then either close
 * (http_must_close()) or feed on with what was left.
 */
#include "wire/check.h"

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX 16384   /* bytes of one request's header block */
#define HTTP_REPLY_MAX 2048   /* bytes that one response can take */
#define HTTP_EXPLAIN_MAX 8192 /* one with an explanation */
#define HTTP_REALM_MAX 63     /* characters of the realm; the rest is cut */
#define HTTP_NAME_MAX 16      /* all that we look at are shorter */
#define HTTP_VALUE_MAX 320    /* bytes kept of one value, and of the target */

/* The JSON of denials: {"success":false,"error":"..."}, {"error":{"code":...}}
 * or that of RFC 9457. */
enum http_errors {
	HTTP_ERRORS_FLAT,
	HTTP_ERRORS_NESTED,
	HTTP_ERRORS_PROBLEM,
};

struct http_options {
	enum http_errors errors;
	bool reset_is_delta; /* X-RateLimit-Reset: seconds from now, not epoch
			      */
	const char *realm;   /* WWW-Authenticate; no '"' or '\' */
};

enum http_event {
	HTTP_MORE,   /* everything consumed, no request complete yet */
	HTTP_CHECK,  /* *ret_check is ready: decide, then http_encode() */
	HTTP_PROBE,  /* a health path or an unknown one: http_encode_probe() */
	HTTP_BROKEN, /* *ret_check carries the 400; encode it, then close */
};

/*
 * One connection's parser. The fields are private to wire/http*.c; they stand
 * here so that a connection can embed it. May be moved between requests, not
 * from event to reply (check->key and check->extra point into it).
 */
struct http_parser {
	llhttp_t ll;        /* first: callbacks get from it to the whole */
	uint32_t head_len;  /* bytes of this request so far */
	uint32_t cost;      /* value of X-Stile-Cost once seen */
	uint16_t value_len; /* bytes in value; > HTTP_VALUE_MAX: cut off */
	uint16_t seen;      /* what this request's headers held so far */
	uint8_t name_len;   /* characters in name; > HTTP_NAME_MAX: too long */
	uint8_t key_len;
	uint8_t header; /* whose value is being collected */
	uint8_t fault;  /* enum detail of the first malformed header */
	uint8_t target; /* which path */
	uint8_t last;   /* the byte before the next one fed */
	uint8_t phase;
	bool in_name;    /* a header name is being collected */
	bool close;      /* sticky: no request after this one */
	bool is_http_10; /* the request at hand */
	bool is_head;
	char name[HTTP_NAME_MAX];
	uint8_t key[CHECK_KEY_MAX];
	uint8_t value[HTTP_VALUE_MAX];
	struct check_extra extra; /* of the request at hand, if it has any */
};

/*
 * Feeds up to `len` bytes; stops right after the header block of one
 * request, whose reply must be encoded before feeding on. Returns how many
 * bytes were taken (<= len). Once the connection must close everything is
 * taken and dropped.
 */
size_t http_feed(struct http_parser *p, const uint8_t *in, size_t len,
		 enum http_event *ret_event, struct check *ret_check);

/* True when the connection must be closed after the reply just encoded
 * (Connection: close, HTTP/1.0, a declared body, a broken request). Holds
 * until http_init(). */
static inline bool http_must_close(const struct http_parser *p)
{
	return p->close;
}

/* True while a request has begun and is not complete: an idle connection is
 * one where it is false. */
static inline bool http_in_request(const struct http_parser *p)
{
	return p->head_len > 0;
}

/* Bytes that the answer to a check can take. */
static inline uint32_t http_reply_max(const struct check *check)
{
	return check->flags & CHECK_EXPLAIN ? HTTP_EXPLAIN_MAX : HTTP_REPLY_MAX;
}

/* Encodes the answer to the request last returned. `wall_ms` is civil time,
 * for X-RateLimit-Reset. `out` has room for http_reply_max(). Returns the bytes
 * written. */
size_t http_encode(const struct http_parser *p, const struct http_options *opt,
		   const struct check *check, const struct verdict *verdict,
		   uint64_t wall_ms, uint8_t out[static HTTP_REPLY_MAX]);

/* /livez is always 200; /readyz and /healthz follow `ready`; else 404. */
size_t http_encode_probe(const struct http_parser *p, bool ready,
			 uint8_t out[static HTTP_REPLY_MAX]);

/* The 503 for a connection that cannot be taken, before any request. */
const char *http_full_reply(size_t *ret_len);

/* Wipes what the answered request left behind and makes ready for the next. */
void http_reply_done(struct http_parser *p);

void http_init(struct http_parser *p);

#endif
