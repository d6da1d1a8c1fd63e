/* SPDX-License-Identifier: MIT */
#include "control/reply.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 512 /* bytes of an error's sentence */

static const char json_content_type[] = "application/json";

/* The size stands before the memory, so that free knows what to wipe. */
#define SIZE_ROOM (_Alignof(max_align_t))

static void *wiping_malloc(size_t size)
{
	char *at;

	if (size > SIZE_MAX - SIZE_ROOM)
		return NULL;
	at = malloc(size + SIZE_ROOM);
	if (!at)
		return NULL;
	memcpy(at, &size, sizeof(size));
	return at + SIZE_ROOM;
}

static void wiping_free(void *p)
{
	char *at = p;
	size_t size;

	if (!p)
		return;
	at -= SIZE_ROOM;
	memcpy(&size, at, sizeof(size));
	OPENSSL_cleanse(at, size + SIZE_ROOM);
	free(at);
}

void reply_json_init(void)
{
	json_set_alloc_funcs(wiping_malloc, wiping_free);
}

void reply_init(struct reply *r)
{
	*r = (struct reply){.content_type = json_content_type};
	buf_init(&r->body, REPLY_BODY_MAX);
}

void reply_deinit(struct reply *r)
{
	buf_deinit(&r->body);
}

static void start(struct reply *r, unsigned status, const char *content_type)
{
	buf_clear(&r->body);
	r->status = status;
	r->content_type = content_type;
}

void reply_text(struct reply *r, unsigned status, const char *content_type,
		const char *text)
{
	start(r, status, content_type);
	if (buf_text(&r->body, text) < 0)
		r->status = 500;
}

static int add_json(const char *data, size_t len, void *arg)
{
	struct reply *r = arg;

	return buf_add(&r->body, data, len);
}

void reply_json(struct reply *r, unsigned status, json_t *value)
{
	start(r, status, json_content_type);
	if (value &&
	    json_dump_callback(value, add_json, r, JSON_COMPACT) == 0 &&
	    buf_text(&r->body, "\n") == 0) {
		json_decref(value);
		return;
	}
	json_decref(value);
	/* Not through JSON: memory may be short. */
	reply_text(r, 500, json_content_type,
		   "{\"error\":{\"code\":\"internal\",\"message\":\"The answer "
		   "could not be built: too large, or out of memory.\"}}\n");
}

/* A sentence that repeats bytes which are not UTF-8 (or a character cut in
 * half) is told in ASCII. */
static json_t *sentence(const char *message)
{
	char ascii[MESSAGE_MAX];
	json_t *text = json_string(message);
	size_t n = 0;

	if (text)
		return text;
	for (; message[n] && n + 1 < sizeof(ascii); n++)
		ascii[n] = (unsigned char)message[n] < 0x80 ? message[n] : '?';
	ascii[n] = '\0';
	return json_string(ascii);
}

static void send_error(struct reply *r, unsigned status, const char *code,
		       const char *message, json_t *index)
{
	json_t *text = sentence(message);

	reply_json(r, status,
		   index ? json_pack("{s:{s:s,s:o,s:o}}", "error", "code", code,
				     "message", text, "index", index)
			 : json_pack("{s:{s:s,s:o}}", "error", "code", code,
				     "message", text));
}

void reply_error(struct reply *r, unsigned status, const char *code,
		 const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	send_error(r, status, code, message, NULL);
}

void reply_error_at(struct reply *r, unsigned status, const char *code,
		    size_t index, const char *message)
{
	send_error(r, status, code, message, json_integer((json_int_t)index));
}

static const char *status_text(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 417:
		return "Expectation Failed";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	case 507:
		return "Insufficient Storage";
	default:
		return "Internal Server Error";
	}
}

void reply_write(const struct reply *r, struct buf *out, bool close_after,
		 bool head_only)
{
	buf_printf(out,
		   "HTTP/1.1 %u %s\r\nContent-Type: %s\r\n"
		   "Content-Length: %zu\r\nCache-Control: no-store\r\n",
		   r->status, status_text(r->status), r->content_type,
		   r->body.len);
	if (r->allow[0])
		buf_printf(out, "Allow: %s\r\n", r->allow);
	if (close_after)
		buf_text(out, "Connection: close\r\n");
	buf_text(out, "\r\n");
	if (!head_only)
		buf_add(out, r->body.data, r->body.len);
}
