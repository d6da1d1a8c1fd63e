/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_ADMIN_HTTP_H
#define STILE_CONTROL_ADMIN_HTTP_H

/*
 * control/admin_http - bytes of one connection to whole HTTP/1.1 requests of
 * the admin API, with llhttp.
 *
 * Pure       no socket, no clock. The caller owns the memory; it must not
 *            move between init and deinit (the parser points into it).
 * Bounds     target ADMIN_TARGET_MAX, header block ADMIN_HEAD_MAX, body
 *            ADMIN_BODY_MAX; whatever is beyond becomes a status, after
 *            which the connection is closed.
 * Secrets    the body is wiped by admin_http_done() and deinit.
 */
#include "control/buf.h"

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADMIN_TARGET_MAX 2048
#define ADMIN_HEAD_MAX 16384
#define ADMIN_BODY_MAX (4u << 20)
/* What chunk sizes, extensions and trailers may add to a body. */
#define ADMIN_FRAMING_MAX (1u << 20)
#define ADMIN_FIELD_MAX 16 /* longest header name and value we look at */

enum admin_http_event {
	ADMIN_HTTP_MORE,     /* all taken, no whole request yet */
	ADMIN_HTTP_CONTINUE, /* the peer waits for "100 Continue" */
	ADMIN_HTTP_REQUEST,  /* a request is whole: answer it, then _done() */
	ADMIN_HTTP_BROKEN,   /* answer `status`, then close */
};

struct admin_http {
	llhttp_t parser;
	struct buf body;
	char target[ADMIN_TARGET_MAX + 1]; /* terminated once whole */
	size_t target_len;
	size_t head_len;   /* bytes of this request's head so far */
	size_t framed_len; /* bytes after the head so far */
	char field[ADMIN_FIELD_MAX];
	char value[ADMIN_FIELD_MAX];
	uint8_t field_len, value_len; /* ADMIN_FIELD_MAX + 1: too long */
	bool in_value;
	bool in_body; /* the head is whole */
	bool whole;
	bool expects;    /* Expect: 100-continue */
	bool started;    /* a byte of this request has been seen */
	uint16_t status; /* of a broken request */
};

void admin_http_init(struct admin_http *h);
void admin_http_deinit(struct admin_http *h);

/* Takes up to `len` bytes, stops at the first event. Returns the number
 * taken. Not to be called between a request and admin_http_done(), nor after
 * ADMIN_HTTP_BROKEN. */
size_t admin_http_feed(struct admin_http *h, const char *in, size_t len,
		       enum admin_http_event *ret_event);

/* After a whole request: does the peer want the connection kept? */
bool admin_http_keeps_alive(const struct admin_http *h);

/* The sentence for a broken request's status. */
const char *admin_http_problem(const struct admin_http *h);

/* Wipes the request that was answered and makes ready for the next. */
void admin_http_done(struct admin_http *h);

#endif
