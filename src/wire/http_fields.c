/* SPDX-License-Identifier: MIT */
#include "wire/http_fields.h"

#include "base/line.h"
#include "wire/extra.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

static const struct {
	const char *name; /* lower case */
	uint8_t len;
	enum http_header header;
} headers[] = {
	/* by length */
	{"x-api-key", 9, HEADER_API_KEY},
	{"x-stile-cost", 12, HEADER_COST},
	{"x-stile-peek", 12, HEADER_PEEK},
	{"x-stile-hold", 12, HEADER_HOLD},
	{"x-request-id", 12, HEADER_REQUEST_ID},
	{"authorization", 13, HEADER_AUTHORIZATION},
	{"x-stile-route", 13, HEADER_ROUTE},
	{"x-stile-scope", 13, HEADER_SCOPE},
	{"x-forwarded-for", 15, HEADER_FORWARDED_FOR},
	{"x-stile-reserve", 15, HEADER_RESERVE},
	{"x-stile-explain", 15, HEADER_EXPLAIN},
};

static const struct {
	const char *path;
	uint8_t len;
	enum http_target target;
} targets[] = {
	{"/v1/check", 9, TARGET_CHECK},
	{"/v1/check/nginx", 15, TARGET_CHECK_NGINX},
	{"/v1/settle", 10, TARGET_SETTLE},
	{"/v1/refund", 10, TARGET_REFUND},
	{"/v1/release", 11, TARGET_RELEASE},
	{"/livez", 6, TARGET_LIVEZ},
	{"/readyz", 7, TARGET_READYZ},
	{"/healthz", 8, TARGET_HEALTHZ},
};

static_assert(HTTP_NAME_MAX > sizeof("x-forwarded-for") - 1, "the longest");

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The first fault stays: it is the one that the reply explains. */
static void set_fault(struct http_parser *p, enum detail detail)
{
	if (p->fault == DETAIL_NONE)
		p->fault = (uint8_t)detail;
}

static bool value_is_cut(const struct http_parser *p)
{
	return p->value_len > HTTP_VALUE_MAX;
}

void http_field_bytes(struct http_parser *p, const char *at, size_t len)
{
	size_t room;

	if (unlikely(value_is_cut(p)))
		return;
	room = (size_t)(HTTP_VALUE_MAX - p->value_len);
	if (unlikely(len > room)) {
		memcpy(p->value + p->value_len, at, room);
		p->value_len = HTTP_VALUE_MAX + 1;
		return;
	}
	memcpy(p->value + p->value_len, at, len);
	p->value_len = (uint16_t)(p->value_len + len);
}

void http_field_last_bytes(struct http_parser *p, const char *at, size_t len)
{
	const char *comma = memrchr(at, ',', len);

	if (comma) {
		p->value_len = 0;
		len -= (size_t)(comma - at);
		at = comma;
	}
	http_field_bytes(p, at, len);
}

/* Length of the value without the white space after it (llhttp removes the
 * one before it). */
static size_t value_trimmed(const struct http_parser *p)
{
	size_t len = value_is_cut(p) ? HTTP_VALUE_MAX : p->value_len;

	while (len > 0 && http_is_blank(p->value[len - 1]))
		len--;
	return len;
}

/*
 * One more credential. Two that differ are a fault; an empty one says nothing
 * beside another (proxies forward absent headers as empty ones). One that is
 * too long is kept nowhere, so it is never equal to another.
 */
static void take_key(struct http_parser *p, const uint8_t *key, size_t len)
{
	bool too_long = len > CHECK_KEY_MAX || value_is_cut(p);

	if (len == 0 && !too_long) {
		p->seen |= SEEN_EMPTY_KEY;
		return;
	}
	if (p->seen & SEEN_KEY) {
		if (too_long || (p->seen & SEEN_KEY_LONG) ||
		    p->key_len != len || CRYPTO_memcmp(p->key, key, len) != 0)
			set_fault(p, DETAIL_CREDENTIALS);
		return;
	}
	p->seen |= SEEN_KEY;
	if (too_long) {
		p->seen |= SEEN_KEY_LONG;
		return;
	}
	memcpy(p->key, key, len);
	p->key_len = (uint8_t)len;
}

/* Only the Bearer scheme (any case) carries a key; another is not for us. */
static void take_authorization(struct http_parser *p)
{
	static const char scheme[] = "bearer";
	const size_t scheme_len = sizeof(scheme) - 1;
	size_t len = value_trimmed(p);
	size_t at;

	if (len < scheme_len)
		return;
	for (at = 0; at < scheme_len; at++)
		if (http_lower(p->value[at]) != (uint8_t)scheme[at])
			return;
	if (at < len && !http_is_blank(p->value[at]))
		return;
	while (at < len && http_is_blank(p->value[at]))
		at++;
	take_key(p, p->value + at, len - at);
}

static enum detail cost_detail(const struct http_parser *p)
{
	if (p->target == TARGET_SETTLE)
		return DETAIL_SETTLED;
	return http_target_settles(p->target) ? DETAIL_COST_BESIDE
					      : DETAIL_COST;
}

static void take_cost(struct http_parser *p)
{
	size_t len = value_trimmed(p);
	uint32_t cost = 0;
	enum detail detail = cost_detail(p);

	if (len == 0 || value_is_cut(p)) {
		set_fault(p, detail);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		uint32_t digit = (uint32_t)p->value[i] - '0';

		/* cost <= CHECK_COST_MAX here: ten times it cannot wrap. */
		if (digit > 9 || (cost = cost * 10 + digit) > CHECK_COST_MAX) {
			set_fault(p, detail);
			return;
		}
	}
	/* Only what was reserved can have cost nothing in the end. */
	if ((cost == 0 && p->target != TARGET_SETTLE) ||
	    ((p->seen & SEEN_COST) && cost != p->cost)) {
		set_fault(p, detail);
		return;
	}
	p->cost = cost;
	p->seen |= SEEN_COST;
}

/* "1" or "0"; said in both ways it is a fault. */
static void take_flag(struct http_parser *p, unsigned int yes, unsigned int no,
		      enum detail detail)
{
	size_t len = value_trimmed(p);

	if (len == 0)
		return; /* forwarded though absent */
	if (len == 1 && p->value[0] == '1')
		p->seen = (uint16_t)(p->seen | yes);
	else if (len == 1 && p->value[0] == '0')
		p->seen = (uint16_t)(p->seen | no);
	else
		set_fault(p, detail);
	if ((p->seen & yes) && (p->seen & no))
		set_fault(p, detail);
}

/* The first that needs it makes it ready: most requests of a program have
 * none of these headers. */
static struct check_extra *extra_of(struct http_parser *p)
{
	if (!(p->seen & SEEN_EXTRA)) {
		memset(&p->extra, 0, sizeof(p->extra));
		p->seen |= SEEN_EXTRA;
	}
	return &p->extra;
}

typedef enum detail extra_taker(struct check_extra *, const void *, size_t);

static void take_extra(struct http_parser *p, extra_taker *take,
		       enum detail if_cut)
{
	size_t len = value_trimmed(p);
	enum detail detail = if_cut;

	if (len == 0)
		return; /* forwarded though absent */
	if (!value_is_cut(p))
		detail = take(extra_of(p), p->value, len);
	if (detail != DETAIL_NONE)
		set_fault(p, detail);
}

/* "1": as long as configured; "30s": so long. */
static void take_reserve(struct http_parser *p)
{
	size_t len = value_trimmed(p);

	if (len <= 1) {
		take_flag(p, SEEN_RESERVE, SEEN_NO_RESERVE, DETAIL_RESERVE);
		return;
	}
	p->seen |= SEEN_RESERVE;
	take_extra(p, extra_hold_time, DETAIL_RESERVE);
	if (p->seen & SEEN_NO_RESERVE)
		set_fault(p, DETAIL_RESERVE);
}

/* The last address of the last list is what the proxy before us saw; all
 * others are hearsay, and if the last list is empty there is none. */
static void take_forwarded_for(struct http_parser *p)
{
	const uint8_t *at = p->value;
	size_t len = value_trimmed(p);
	enum detail detail;

	if (len == 0 && !(p->seen & SEEN_EXTRA))
		return;
	if (len > 0 && *at == ',') {
		do {
			at++;
			len--;
		} while (len > 0 && http_is_blank(*at));
		if (len == 0) {
			set_fault(p, DETAIL_ADDRESS);
			return;
		}
	}
	detail = value_is_cut(p) ? DETAIL_ADDRESS
				 : extra_address(extra_of(p), at, len);
	if (detail != DETAIL_NONE)
		set_fault(p, detail);
}

/* The path inside what was collected: origin-form ("/v1/check?x") or
 * absolute-form ("http://host/v1/check?x"). Empty when there is none. */
static const uint8_t *target_path(const struct http_parser *p, size_t *ret_len)
{
	static const char scheme[] = "http://";
	const uint8_t *at = p->value;
	const uint8_t *end =
		at + (value_is_cut(p) ? HTTP_VALUE_MAX : p->value_len);
	const uint8_t *query;
	size_t i;

	for (i = 0; i < sizeof(scheme) - 1 && at + i < end; i++)
		if (http_lower(at[i]) != (uint8_t)scheme[i])
			break;
	if (i == sizeof(scheme) - 1) {
		at += i;
		while (at < end && *at != '/' && *at != '?')
			at++;
	}
	query = memchr(at, '?', (size_t)(end - at));
	if (query)
		end = query;
	else if (value_is_cut(p))
		end = at; /* the path goes on: none that we know */
	*ret_len = (size_t)(end - at);
	return at;
}

enum http_target http_field_target(const struct http_parser *p)
{
	size_t len;
	const uint8_t *path = target_path(p, &len);

	for (size_t i = 0; i < COUNT(targets); i++)
		if (targets[i].len == len &&
		    memcmp(targets[i].path, path, len) == 0)
			return targets[i].target;
	return TARGET_UNKNOWN;
}

enum http_header http_field_name(const struct http_parser *p)
{
	for (size_t i = 0; i < COUNT(headers) && headers[i].len <= p->name_len;
	     i++)
		if (headers[i].len == p->name_len &&
		    memcmp(headers[i].name, p->name, p->name_len) == 0)
			return headers[i].header;
	return HEADER_OTHER;
}

void http_field_read(struct http_parser *p)
{
	switch ((enum http_header)p->header) {
	case HEADER_AUTHORIZATION:
		take_authorization(p);
		break;
	case HEADER_API_KEY:
		take_key(p, p->value, value_trimmed(p));
		break;
	case HEADER_COST:
		take_cost(p);
		break;
	case HEADER_PEEK:
		take_flag(p, SEEN_PEEK, SEEN_NO_PEEK, DETAIL_PEEK);
		break;
	case HEADER_RESERVE:
		take_reserve(p);
		break;
	case HEADER_EXPLAIN:
		take_flag(p, SEEN_EXPLAIN, SEEN_NO_EXPLAIN, DETAIL_EXPLAIN);
		break;
	case HEADER_HOLD:
		take_extra(p, extra_hold, DETAIL_HOLD);
		break;
	case HEADER_ROUTE:
		take_extra(p, extra_route, DETAIL_ROUTE);
		break;
	case HEADER_SCOPE:
		take_extra(p, extra_scope, DETAIL_ROUTE);
		break;
	case HEADER_REQUEST_ID:
		take_extra(p, extra_once, DETAIL_ONCE);
		break;
	case HEADER_FORWARDED_FOR:
		take_forwarded_for(p);
		break;
	case HEADER_OTHER:
		break;
	}
}
