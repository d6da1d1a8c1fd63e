/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_HTTP_FIELDS_H
#define STILE_WIRE_HTTP_FIELDS_H

/*
 * wire/http_fields - what the target and the headers of one request say.
 *
 * Does       keeps the bytes of the one value at hand (http_field_bytes()),
 *            then reads it when it is complete.
 * Private    to wire/http*.c.
 */
#include "wire/http.h"

enum http_target {
	TARGET_UNKNOWN, /* 404 */
	TARGET_CHECK,
	TARGET_CHECK_NGINX,
	TARGET_SETTLE,
	TARGET_REFUND,  /* settle at 0 */
	TARGET_RELEASE, /* settle as reserved */
	TARGET_LIVEZ,
	TARGET_READYZ,
	TARGET_HEALTHZ,
};

enum http_header {
	HEADER_OTHER,
	HEADER_AUTHORIZATION,
	HEADER_API_KEY,
	HEADER_COST,
	HEADER_PEEK,
	HEADER_RESERVE,
	HEADER_EXPLAIN,
	HEADER_HOLD,
	HEADER_ROUTE,
	HEADER_SCOPE,
	HEADER_REQUEST_ID,
	HEADER_FORWARDED_FOR,
};

/* Bits of http_parser.seen. */
#define SEEN_KEY 0x01       /* a credential that is not empty */
#define SEEN_KEY_LONG 0x02  /* and it does not fit */
#define SEEN_EMPTY_KEY 0x04 /* an empty one */
#define SEEN_COST 0x08
#define SEEN_PEEK 0x10    /* X-Stile-Peek: 1 */
#define SEEN_NO_PEEK 0x20 /* X-Stile-Peek: 0 */
#define SEEN_RESERVE 0x40 /* 1, or a time to hold */
#define SEEN_NO_RESERVE 0x80
#define SEEN_EXPLAIN 0x100
#define SEEN_NO_EXPLAIN 0x200
#define SEEN_EXTRA 0x400 /* http_parser.extra is in use */

/* One more piece of the value at hand; beyond HTTP_VALUE_MAX it is cut. */
void http_field_bytes(struct http_parser *p, const char *at, size_t len);

/* The same, but only what follows the last comma so far is kept, and the comma
 * before it: a list of any length. */
void http_field_last_bytes(struct http_parser *p, const char *at, size_t len);

/* Which target p->value holds: the path compared exactly, query ignored. */
enum http_target http_field_target(const struct http_parser *p);

/* Which header p->name, in lower case, names. */
enum http_header http_field_name(const struct http_parser *p);

/* Reads p->value as the value of p->header into the rest of the parser. */
void http_field_read(struct http_parser *p);

static inline bool http_target_settles(uint8_t target)
{
	return target == TARGET_SETTLE || target == TARGET_REFUND ||
	       target == TARGET_RELEASE;
}

static inline bool http_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static inline uint8_t http_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

#endif
