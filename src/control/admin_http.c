/* SPDX-License-Identifier: MIT */
#include "control/admin_http.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

static struct admin_http *of(llhttp_t *parser)
{
	return parser->data;
}

static int refuse(struct admin_http *h, uint16_t status)
{
	h->status = status;
	return HPE_USER;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct admin_http *h = of(parser);

	if (len > ADMIN_TARGET_MAX - h->target_len)
		return refuse(h, 414);
	memcpy(h->target + h->target_len, at, len);
	h->target_len += len;
	return 0;
}

/* Collects a name or value in lower case; too long means none we know. */
static void collect(char *out, uint8_t *out_len, const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = at[i];

		if (*out_len >= ADMIN_FIELD_MAX) {
			*out_len = ADMIN_FIELD_MAX + 1;
			return;
		}
		out[(*out_len)++] =
			c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
}

static bool is(const char *text, uint8_t text_len, const char *want)
{
	return text_len == strlen(want) && memcmp(text, want, text_len) == 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
	struct admin_http *h = of(parser);

	if (h->in_value) {
		h->in_value = false;
		h->field_len = 0;
		h->value_len = 0;
	}
	collect(h->field, &h->field_len, at, len);
	return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
	struct admin_http *h = of(parser);

	h->in_value = true;
	collect(h->value, &h->value_len, at, len);
	return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
	struct admin_http *h = of(parser);

	h->in_value = true;
	while (h->value_len > 0 && h->value_len <= ADMIN_FIELD_MAX &&
	       (h->value[h->value_len - 1] == ' ' ||
		h->value[h->value_len - 1] == '\t'))
		h->value_len--;
	if (!h->in_body && is(h->field, h->field_len, "expect")) {
		if (!is(h->value, h->value_len, "100-continue"))
			return refuse(h, 417);
		h->expects = true;
	}
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct admin_http *h = of(parser);

	h->target[h->target_len] = '\0';
	h->in_body = true;
	if (parser->http_major != 1)
		return refuse(h, 505);
	if (parser->content_length > ADMIN_BODY_MAX)
		return refuse(h, 413);
	/* HTTP/1.0 knows no 100. */
	if (parser->http_minor == 0)
		h->expects = false;
	return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	struct admin_http *h = of(parser);

	h->expects = false;
	if (buf_add(&h->body, at, len) < 0)
		return refuse(h, h->body.error == -ENOSPC ? 413 : 503);
	return 0;
}

static int on_message_complete(llhttp_t *parser)
{
	of(parser)->whole = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* What belongs to one request. */
static void forget(struct admin_http *h)
{
	buf_clear(&h->body);
	OPENSSL_cleanse(h->target, h->target_len);
	h->target[0] = '\0';
	h->target_len = 0;
	h->head_len = 0;
	h->framed_len = 0;
	h->field_len = 0;
	h->value_len = 0;
	h->in_value = false;
	h->in_body = false;
	h->whole = false;
	h->expects = false;
	h->started = false;
}

void admin_http_init(struct admin_http *h)
{
	memset(h, 0, sizeof(*h));
	buf_init(&h->body, ADMIN_BODY_MAX);
	llhttp_init(&h->parser, HTTP_REQUEST, &settings);
	h->parser.data = h;
}

void admin_http_deinit(struct admin_http *h)
{
	forget(h);
	buf_deinit(&h->body);
}

void admin_http_done(struct admin_http *h)
{
	forget(h);
}

bool admin_http_keeps_alive(const struct admin_http *h)
{
	return !h->parser.upgrade && llhttp_should_keep_alive(&h->parser);
}

const char *admin_http_problem(const struct admin_http *h)
{
	switch (h->status) {
	case 413:
		return "The body is larger than 4 MiB.";
	case 414:
		return "The path and query are longer than 2048 bytes.";
	case 417:
		return "The only expectation that can be met is 100-continue.";
	case 431:
		return "The header block is larger than 16 KiB.";
	case 503:
		return "Out of memory for the body.";
	case 505:
		return "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
	default:
		return "This is not an HTTP/1.1 request.";
	}
}

/* One call of the parser: how many bytes it took. */
static size_t run(struct admin_http *h, const char *in, size_t len)
{
	llhttp_errno_t err = llhttp_execute(&h->parser, in, len);
	const char *pos;

	if (err == HPE_OK)
		return len;
	pos = llhttp_get_error_pos(&h->parser);
	if (err == HPE_PAUSED)
		llhttp_resume(&h->parser);
	else if (err == HPE_PAUSED_UPGRADE)
		h->whole = true;
	else if (h->status == 0)
		h->status = 400;
	if (!pos || pos < in || pos > in + len)
		return len;
	return (size_t)(pos - in);
}

static bool has_body(const struct admin_http *h)
{
	return h->parser.content_length > 0 || (h->parser.flags & F_CHUNKED);
}

/* Counts what was taken against its bound. */
static void charge(struct admin_http *h, bool body, size_t len)
{
	size_t *total = body ? &h->framed_len : &h->head_len;

	*total += len;
	if (h->status)
		return;
	if (!h->in_body && h->head_len >= ADMIN_HEAD_MAX)
		h->status = 431;
	if (h->framed_len > ADMIN_BODY_MAX + ADMIN_FRAMING_MAX)
		h->status = 413;
}

size_t admin_http_feed(struct admin_http *h, const char *in, size_t len,
		       enum admin_http_event *ret_event)
{
	size_t taken = 0;
	bool go_on = len > 0;

	*ret_event = ADMIN_HTTP_MORE;
	h->started = h->started || len > 0;
	while (go_on) {
		bool body = h->in_body;
		size_t room = len - taken;
		size_t step;

		if (!body && room > ADMIN_HEAD_MAX - h->head_len)
			room = ADMIN_HEAD_MAX - h->head_len;
		step = run(h, in + taken, room);
		taken += step;
		charge(h, body, step);
		if (h->status) {
			*ret_event = ADMIN_HTTP_BROKEN;
			return taken;
		}
		if (h->whole) {
			*ret_event = ADMIN_HTTP_REQUEST;
			return taken;
		}
		if (!body && h->in_body && h->expects && has_body(h) &&
		    taken == len) {
			h->expects = false;
			*ret_event = ADMIN_HTTP_CONTINUE;
			return taken;
		}
		/* The parser paused behind the head: a request without a body
		 * becomes whole without another byte. */
		go_on = taken < len || (!body && h->in_body);
	}
	return taken;
}
