/* SPDX-License-Identifier: MIT */
#include "wire/http.h"

#include "base/check.h"
#include "base/line.h"
#include "wire/http_fields.h"

#include <assert.h>
#include <string.h>

/*
 * llhttp splits names and values wherever the bytes happened to be split, so
 * a value is collected first and looked at when it is complete: what a request
 * means cannot depend on its fragmentation. Only headers that steer a check
 * are collected; every other value passes by.
 *
 * llhttp is lenient in two points where a proxy in front may see other lines
 * than we do: a bare LF after the request line, and folded header lines. Both
 * are found by a look at the line ends of what it is about to see
 * (sound_lines).
 */

static_assert(offsetof(struct http_parser, ll) == 0, "callbacks cast");

enum phase {
	PHASE_REQUEST, /* reading a request, or waiting for one */
	PHASE_REPLY,   /* a request was returned and not answered yet */
	PHASE_CLOSED,  /* the last request was answered: drop the rest */
};

static struct http_parser *parser_of(llhttp_t *ll)
{
	return (struct http_parser *)(void *)ll;
}

/* ---- llhttp callbacks ---- */

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
	http_field_bytes(parser_of(ll), at, len);
	return 0;
}

static int on_url_complete(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);

	p->target = (uint8_t)http_field_target(p);
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
		p->name[p->name_len++] = (char)http_lower((uint8_t)at[i]);
	return 0;
}

/* The name is complete when the first of its value arrives. False when there
 * is none, which llhttp lets pass. */
static bool resolve_header(struct http_parser *p)
{
	if (!p->in_name)
		return true;
	p->in_name = false;
	p->value_len = 0;
	p->header = (uint8_t)http_field_name(p);
	return p->name_len > 0;
}

static int on_header_value(llhttp_t *ll, const char *at, size_t len)
{
	struct http_parser *p = parser_of(ll);

	if (!resolve_header(p))
		return HPE_USER;
	if (p->header == HEADER_FORWARDED_FOR)
		http_field_last_bytes(p, at, len);
	else if (p->header != HEADER_OTHER)
		http_field_bytes(p, at, len);
	return 0;
}

static int on_header_value_complete(llhttp_t *ll)
{
	struct http_parser *p = parser_of(ll);

	if (!resolve_header(p))
		return HPE_USER;
	http_field_read(p);
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
 * How many of the bytes llhttp may see: up to the end of the next empty line,
 * since what follows the header block is none of our lines, or up to a byte
 * that ends a line without CR or folds one. `last` is the byte before them.
 */
static size_t sound_lines(const struct http_parser *p, const uint8_t *in,
			  size_t len, bool *ret_sound)
{
	const uint8_t *end = in + len;
	const uint8_t *at = in;

	*ret_sound = false;
	if (p->last == '\n' && http_is_blank(*in))
		return 0;
	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		bool empty = at - in >= 2 && at[-2] == '\n';

		if ((at == in ? p->last : at[-1]) != '\r')
			return (size_t)(at - in);
		at++;
		if (at == end)
			break;
		if (http_is_blank(*at))
			return (size_t)(at - in);
		if (empty) {
			end = at;
			break;
		}
	}
	*ret_sound = true;
	return (size_t)(end - in);
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
	c->reason = (uint8_t)reason;
	c->detail = (uint8_t)detail;
}

static void fill_key(const struct http_parser *p, struct check *c)
{
	c->cost = p->seen & SEEN_COST ? p->cost : 0;
	c->flags = (uint8_t)((p->seen & SEEN_PEEK ? CHECK_PEEK : 0) |
			     (p->seen & SEEN_RESERVE ? CHECK_RESERVE : 0));
	/* nginx takes no body, where an explanation would stand. */
	if ((p->seen & SEEN_EXPLAIN) && p->target == TARGET_CHECK)
		c->flags |= CHECK_EXPLAIN;
	c->credential = CREDENTIAL_KEY;
	if (p->fault != DETAIL_NONE)
		refuse(c, REASON_BAD_REQUEST, p->fault);
	else if (c->extra && c->extra->hold != 0)
		refuse(c, REASON_BAD_REQUEST, DETAIL_HOLD_BESIDE);
	else if (!(p->seen & (SEEN_KEY | SEEN_EMPTY_KEY)))
		refuse(c, REASON_NO_CREDENTIAL, DETAIL_NONE);
	else if (p->key_len == 0 || !key_is_visible(p))
		refuse(c, REASON_INVALID_KEY, DETAIL_NONE);
}

/* The hold is all that it takes; a key beside it says nothing. */
static void fill_hold(const struct http_parser *p, struct check *c)
{
	const bool cost = p->seen & SEEN_COST;

	c->cost = p->target == TARGET_REFUND ? 0
		  : cost                     ? p->cost
					     : SETTLE_AS_RESERVED;
	c->flags = 0;
	c->credential = CREDENTIAL_HOLD;
	if (p->fault != DETAIL_NONE)
		refuse(c, REASON_BAD_REQUEST, p->fault);
	else if (c->extra == NULL || c->extra->hold == 0)
		refuse(c, REASON_BAD_REQUEST, DETAIL_HOLD);
	else if (cost && p->target != TARGET_SETTLE)
		refuse(c, REASON_BAD_REQUEST, DETAIL_COST_BESIDE);
	else if (p->seen & SEEN_PEEK)
		refuse(c, REASON_BAD_REQUEST, DETAIL_PEEK_BESIDE);
}

static void fill_check(const struct http_parser *p, struct check *c)
{
	c->extra = p->seen & SEEN_EXTRA ? &p->extra : NULL;
	c->request_id = 0;
	c->key = p->key;
	c->key_len = p->key_len;
	c->dialect = p->target;
	c->reason = REASON_ALLOW;
	c->detail = DETAIL_NONE;
	if (http_target_settles(p->target))
		fill_hold(p, c);
	else
		fill_key(p, c);
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
	if (p->target != TARGET_CHECK && p->target != TARGET_CHECK_NGINX &&
	    !http_target_settles(p->target))
		return HTTP_PROBE;
	fill_check(p, c);
	return HTTP_CHECK;
}

/* Lets llhttp see `len` sound bytes or fewer; returns how many it took. */
static size_t parse(struct http_parser *p, const uint8_t *in, size_t len,
		    llhttp_errno_t *ret_err)
{
	*ret_err = llhttp_execute(&p->ll, (const char *)in, len);
	if (*ret_err == HPE_PAUSED)
		len = (size_t)((const uint8_t *)llhttp_get_error_pos(&p->ll) -
			       in);
	p->head_len += (uint32_t)len;
	if (len > 0)
		p->last = in[len - 1];
	return len;
}

size_t http_feed(struct http_parser *p, const uint8_t *in, size_t len,
		 enum http_event *ret_event, struct check *ret_check)
{
	size_t took = 0;

	check(p->phase != PHASE_REPLY);
	*ret_event = HTTP_MORE;
	if (p->phase == PHASE_CLOSED)
		return len;
	while (took < len) {
		size_t room = HTTP_HEAD_MAX - p->head_len;
		size_t left = len - took < room ? len - took : room;
		llhttp_errno_t err;
		bool sound;

		left = sound_lines(p, in + took, left, &sound);
		took += parse(p, in + took, left, &err);
		if (err == HPE_PAUSED) {
			*ret_event = request_complete(p, ret_check);
			return *ret_event == HTTP_BROKEN ? len : took;
		}
		if (err != HPE_OK || !sound || p->head_len == HTTP_HEAD_MAX) {
			*ret_event = broken(p, ret_check);
			return len;
		}
	}
	return len;
}

static void reset(struct http_parser *p)
{
	bool close = p->close;

	/* Also wipes the key, and the value that it was copied from. What
	 * `extra` holds is no secret, and nothing without SEEN_EXTRA. */
	explicit_bzero(p, offsetof(struct http_parser, extra));
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
