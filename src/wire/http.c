/* SPDX-License-Identifier: MIT */
#include "wire/http.h"

#include "base/check.h"
#include "base/line.h"
#include "wire/http_target.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

/*
 * llhttp splits names and values wherever the bytes happened to be split, so
 * a value is collected first and looked at when it is complete: what a request
 * means cannot depend on its fragmentation. Only headers that steer a check
 * are collected; every other value passes by.
 *
 * llhttp is lenient in two points where a proxy in front may see other lines
 * than we do: a bare LF after the request line, and folded header lines. Both
 * are found by a look at the line ends of what it consumed (lines_are_sound).
 */

static_assert(offsetof(struct http_parser, ll) == 0, "callbacks cast");

enum phase {
	PHASE_REQUEST, /* reading a request, or waiting for one */
	PHASE_REPLY,   /* a request was returned and not answered yet */
	PHASE_CLOSED,  /* the last request was answered: drop the rest */
};

enum header {
	HEADER_OTHER,
	HEADER_AUTHORIZATION,
	HEADER_API_KEY,
	HEADER_COST,
	HEADER_PEEK,
};
static_assert(HTTP_NAME_MAX > sizeof("authorization"), "longest below");

/* Bits of http_parser.seen. */
#define SEEN_KEY 0x01       /* a credential that is not empty */
#define SEEN_KEY_LONG 0x02  /* and it does not fit */
#define SEEN_EMPTY_KEY 0x04 /* an empty one */
#define SEEN_COST 0x08
#define SEEN_PEEK 0x10    /* X-Stile-Peek: 1 */
#define SEEN_NO_PEEK 0x20 /* X-Stile-Peek: 0 */

static const struct {
	const char *name; /* lower case */
	uint8_t len;
	uint8_t header;
} headers[] = {
	{"authorization", 13, HEADER_AUTHORIZATION},
	{"x-api-key", 9, HEADER_API_KEY},
	{"x-stile-cost", 12, HEADER_COST},
	{"x-stile-peek", 12, HEADER_PEEK},
};

static const struct {
	const char *path;
	uint8_t len;
	uint8_t target;
} targets[] = {
	{"/v1/check", 9, TARGET_CHECK},
	{"/v1/check/nginx", 15, TARGET_CHECK_NGINX},
	{"/livez", 6, TARGET_LIVEZ},
	{"/readyz", 7, TARGET_READYZ},
	{"/healthz", 8, TARGET_HEALTHZ},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct http_parser *parser_of(llhttp_t *ll)
{
	return (struct http_parser *)(void *)ll;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* The first fault stays: it is the one that the reply explains. */
static void set_fault(struct http_parser *p, enum detail detail)
{
	if (p->fault == DETAIL_NONE)
		p->fault = (uint8_t)detail;
}

/* ---- values ---- */

static bool value_is_cut(const struct http_parser *p)
{
	return p->value_len > HTTP_VALUE_MAX;
}

static void collect(struct http_parser *p, const char *at, size_t len)
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

/* Length of the value without the white space after it (llhttp removes the
 * one before it). */
static size_t value_trimmed(const struct http_parser *p)
{
	size_t len = value_is_cut(p) ? HTTP_VALUE_MAX : p->value_len;

	while (len > 0 &&
	       (p->value[len - 1] == ' ' || p->value[len - 1] == '\t'))
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

	if (len == 0) {
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
		if (lower(p->value[at]) != (uint8_t)scheme[at])
			return;
	if (at < len && p->value[at] != ' ')
		return;
	while (at < len && p->value[at] == ' ')
		at++;
	take_key(p, p->value + at, len - at);
}

static void take_cost(struct http_parser *p)
{
	size_t len = value_trimmed(p);
	uint32_t cost = 0;

	if (len == 0 || value_is_cut(p)) {
		set_fault(p, DETAIL_COST);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		uint32_t digit = (uint32_t)p->value[i] - '0';

		/* cost <= CHECK_COST_MAX here: ten times it cannot wrap. */
		if (digit > 9 || (cost = cost * 10 + digit) > CHECK_COST_MAX) {
			set_fault(p, DETAIL_COST);
			return;
		}
	}
	if (cost == 0 || ((p->seen & SEEN_COST) && cost != p->cost)) {
		set_fault(p, DETAIL_COST);
		return;
	}
	p->cost = cost;
	p->seen |= SEEN_COST;
}

static void take_peek(struct http_parser *p)
{
	size_t len = value_trimmed(p);

	if (len == 0)
		return; /* forwarded though absent */
	if (len == 1 && p->value[0] == '1')
		p->seen |= SEEN_PEEK;
	else if (len == 1 && p->value[0] == '0')
		p->seen |= SEEN_NO_PEEK;
	else
		set_fault(p, DETAIL_FRAME);
	if ((p->seen & SEEN_PEEK) && (p->seen & SEEN_NO_PEEK))
		set_fault(p, DETAIL_FRAME);
}

/* ---- request target ---- */

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
		if (lower(at[i]) != (uint8_t)scheme[i])
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

static uint8_t target_lookup(const struct http_parser *p)
{
	size_t len;
	const uint8_t *path = target_path(p, &len);

	for (size_t i = 0; i < COUNT(targets); i++)
		if (targets[i].len == len &&
		    memcmp(targets[i].path, path, len) == 0)
			return targets[i].target;
	return TARGET_UNKNOWN;
}

/* ---- llhttp callbacks ---- */

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
	collect(parser_of(ll), at, len);
	return 0;
}

static int on_url_complete(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);

	p->target = target_lookup(p);
	p->is_head = ll->method == HTTP_HEAD;
	p->value_len = 0;
	return 0;
}

static int on_header_field(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);

	if (!p->in_name) {
		p->in_name = true;
		p->name_len = 0;
	}
	/* A name that fills the buffer is longer than any that we know. */
	for (size_t i = 0; i < len && p->name_len < HTTP_NAME_MAX; i++)
		p->name[p->name_len++] = (char)lower((uint8_t)at[i]);
	return 0;
}

/* The name is complete when the first of its value arrives. */
static void resolve_header(struct http_parser *p)
{
	p->in_name = false;
	p->value_len = 0;
	p->header = HEADER_OTHER;
	for (size_t i = 0; i < COUNT(headers); i++)
		if (headers[i].len == p->name_len &&
		    memcmp(headers[i].name, p->name, p->name_len) == 0)
			p->header = headers[i].header;
}

static int on_header_value(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);

	if (p->in_name)
		resolve_header(p);
	if (p->header != HEADER_OTHER)
		collect(p, at, len);
	return 0;
}

static int on_header_value_complete(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);

	if (p->in_name)
		resolve_header(p);
	switch ((enum header)p->header) {
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
		take_peek(p);
		break;
	case HEADER_OTHER:
		break;
	}
	p->header = HEADER_OTHER;
	return 0;
}

static int on_headers_complete(llhttp_t *ll)
{
	(void)ll;
	return HPE_PAUSED; /* one header block at a time, never a body */
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_url_complete = on_url_complete,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
};

/* ---- requests ---- */

/*
 * Every line ends in CRLF and none begins with white space. `last` carries
 * the byte before the fragment.
 */
static bool lines_are_sound(struct http_parser *p, const uint8_t *in,
			    size_t len)
{
	const uint8_t *end = in + len;
	const uint8_t *at = in;

	if (len == 0)
		return true;
	if (p->last == '\n' && (*in == ' ' || *in == '\t'))
		return false;
	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		if ((at == in ? p->last : at[-1]) != '\r')
			return false;
		at++;
		if (at == end)
			break;
		if (*at == ' ' || *at == '\t')
			return false;
	}
	p->last = end[-1];
	return true;
}

static bool key_is_visible(const struct http_parser *p)
{
	for (size_t i = 0; i < p->key_len; i++)
		if (p->key[i] <= ' ' || p->key[i] >= 0x7f)
			return false;
	return true;
}

static void refuse(struct check *c, enum reason reason, enum detail detail)
{
	c->credential = CREDENTIAL_NONE;
	c->reason = reason;
	c->detail = (uint8_t)detail;
}

static void fill_check(const struct http_parser *p, struct check *c)
{
	c->request_id = 0;
	c->key = p->key;
	c->key_len = p->key_len;
	c->cost = p->seen & SEEN_COST ? p->cost : 1;
	c->flags = p->seen & SEEN_PEEK ? CHECK_PEEK : 0;
	c->dialect = p->target;
	c->reason = REASON_ALLOW;
	c->detail = DETAIL_NONE;
	c->credential = CREDENTIAL_KEY;
	if (p->fault != DETAIL_NONE)
		refuse(c, REASON_BAD_REQUEST, p->fault);
	else if (!(p->seen & (SEEN_KEY | SEEN_EMPTY_KEY)))
		refuse(c, REASON_NO_CREDENTIAL, DETAIL_NONE);
	else if (p->key_len == 0 || !key_is_visible(p))
		refuse(c, REASON_INVALID_KEY, DETAIL_NONE);
}

static enum http_event broken(struct http_parser *p, struct check *c)
{
	p->phase = PHASE_REPLY;
	p->close = true;
	p->is_http_10 = false;
	p->fault = DETAIL_HTTP;
	fill_check(p, c);
	return HTTP_BROKEN;
}

static enum http_event request_complete(struct http_parser *p, struct check *c)
{
	const llhttp_t *ll = &p->ll;
	const unsigned int flags = ll->flags;
	const bool body = (flags & (F_TRANSFER_ENCODING | F_CHUNKED)) ||
			  ll->content_length > 0;

	/* llhttp lets 0.9 and 2.0 through, and judges a Transfer-Encoding that
	 * does not end in chunked only when it comes to the body. */
	if (ll->http_major != 1 || ll->http_minor > 1 ||
	    ((flags & F_TRANSFER_ENCODING) && !(flags & F_CHUNKED)))
		return broken(p, c);
	p->phase = PHASE_REPLY;
	p->is_http_10 = ll->http_minor == 0;
	if (body || (flags & F_CONNECTION_CLOSE) ||
	    (p->is_http_10 && !(flags & F_CONNECTION_KEEP_ALIVE)))
		p->close = true;
	if (p->target != TARGET_CHECK && p->target != TARGET_CHECK_NGINX)
		return HTTP_PROBE;
	fill_check(p, c);
	return HTTP_CHECK;
}

size_t http_feed(struct http_parser *p, const uint8_t *in, size_t len,
		 enum http_event *ret_event, struct check *ret_check)
{
	size_t room = HTTP_HEAD_MAX - p->head_len;
	size_t take = len < room ? len : room;
	llhttp_errno_t err;

	check(p->phase != PHASE_REPLY);
	if (len == 0 || p->phase == PHASE_CLOSED) {
		*ret_event = HTTP_MORE;
		return len;
	}
	err = llhttp_execute(&p->ll, (const char *)in, take);
	if (err == HPE_PAUSED)
		take = (size_t)((const uint8_t *)llhttp_get_error_pos(&p->ll) -
				in);
	p->head_len += (uint32_t)take;
	if ((err != HPE_OK && err != HPE_PAUSED) ||
	    !lines_are_sound(p, in, take) ||
	    (err == HPE_OK && p->head_len == HTTP_HEAD_MAX)) {
		*ret_event = broken(p, ret_check);
		return len;
	}
	*ret_event =
		err == HPE_PAUSED ? request_complete(p, ret_check) : HTTP_MORE;
	return take;
}

static void reset(struct http_parser *p)
{
	bool close = p->close;

	/* Also wipes the key, and the value that it was copied from. */
	explicit_bzero(p, sizeof(*p));
	p->close = close;
	p->phase = close ? PHASE_CLOSED : PHASE_REQUEST;
	llhttp_init(&p->ll, HTTP_REQUEST, &settings);
}

void http_reply_done(struct http_parser *p)
{
	reset(p);
}

void http_init(struct http_parser *p)
{
	p->close = false;
	reset(p);
}
