/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_REPLY_H
#define STILE_CONTROL_REPLY_H

/*
 * control/reply - what the admin API asks and answers, apart from sockets.
 *
 * Secrets    a reply may hold a new key: its memory is wiped, and so is that
 *            of the JSON library (reply_json_init()).
 */
#include "control/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REPLY_ALLOW_MAX 32
#define REPLY_BODY_MAX (4u << 20) /* bytes of one answer */

struct admin_request {
	uint8_t method;     /* llhttp_method_t */
	uid_t uid;          /* of the peer */
	const char *target; /* path and query, terminated */
	const char *body;   /* NULL when empty */
	size_t body_len;
};

struct reply {
	unsigned status;
	const char *content_type;
	char allow[REPLY_ALLOW_MAX]; /* methods, with a 405; "" = none */
	struct buf body;
};

/* Makes the JSON library wipe what it frees. Once, before any JSON is made. */
void reply_json_init(void);

void reply_init(struct reply *r);
void reply_deinit(struct reply *r);

void reply_text(struct reply *r, unsigned status, const char *content_type,
		const char *text);

/* Takes over `value`; NULL (no memory while it was built) becomes a 500. */
void reply_json(struct reply *r, unsigned status, json_t *value);

/* {"error":{"code":...,"message":...}} */
void reply_error(struct reply *r, unsigned status, const char *code,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The same with "index": which element of the request is at fault. */
void reply_error_at(struct reply *r, unsigned status, const char *code,
		    size_t index, const char *message);

/* As HTTP/1.1, behind what `out` holds. out->error says whether it fitted. */
void reply_write(const struct reply *r, struct buf *out, bool close_after,
		 bool head_only);

#endif
