/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_CHECK_H
#define STILE_WIRE_CHECK_H

/*
 * wire/check - the question and the answer, the same for every protocol.
 *
 * A codec turns bytes into a struct check; gate/decide turns that into a
 * struct verdict; the codec turns both into bytes. Nothing here owns memory:
 * `key` points into the receive buffer or the connection's parser and lives
 * until the reply of this check has been encoded.
 */
#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

#define CHECK_KEY_MAX 255       /* bytes of a key that any codec accepts */
#define CHECK_COST_MAX 1000000u /* units; above it the input is malformed */
#define LIMIT_NAME_LEN 8        /* characters, zero padded */

/* What became of a check. The numbers are those of the native protocol
 * (docs/protocol.md); never renumber. */
enum reason {
	REASON_ALLOW = 0,
	REASON_BAD_REQUEST = 1,   /* 400: malformed, see enum detail */
	REASON_NO_CREDENTIAL = 2, /* 401: no key was sent */
	REASON_INVALID_KEY = 3,  /* 401: unknown, malformed, revoked, expired */
	REASON_SUSPENDED = 4,    /* 403: the organization is suspended */
	REASON_RATE_LIMITED = 5, /* 429: come back after retry_ms */
	REASON_COST_ABOVE_LIMIT = 6, /* 429: never passes at this cost */
	REASON_NOT_READY = 7,        /* 503: starting or draining */
	REASON_COUNT
};

/* Which part of a malformed request was at fault. */
enum detail {
	DETAIL_NONE = 0,
	DETAIL_COST = 1,        /* not a number, 0, or above CHECK_COST_MAX */
	DETAIL_CREDENTIALS = 2, /* two different credentials */
	DETAIL_FRAME = 3,   /* unknown type, flag or non-zero reserved byte */
	DETAIL_VERSION = 4, /* native: a version we do not speak */
	DETAIL_HTTP = 5,    /* not HTTP/1.x, or a header too large */
	DETAIL_COUNT
};

enum credential {
	CREDENTIAL_NONE =
		0,          /* wire has already set reason; gate passes it on */
	CREDENTIAL_KEY = 1, /* key, key_len */
	CREDENTIAL_HASH = 2, /* hash */
};

#define CHECK_PEEK 0x01u /* answer, but count nothing */

struct check {
	uint64_t request_id; /* native: echoed; HTTP: 0 */
	const uint8_t *key;  /* CREDENTIAL_KEY: key_len bytes */
	uint32_t conn_idx;   /* set by the worker; codecs leave it alone */
	uint32_t cost;       /* units, 1..CHECK_COST_MAX */
	uint8_t key_len;
	uint8_t credential; /* enum credential */
	uint8_t flags;      /* CHECK_PEEK */
	uint8_t reason;     /* CREDENTIAL_NONE: enum reason */
	uint8_t detail;     /* CREDENTIAL_NONE: enum detail */
	uint8_t dialect;    /* private to the codec: how to answer */
	uint8_t hash[32];   /* SHA-256 of the key; gate fills it for KEY */
};

/*
 * limit..retry_ms are meaningful when `org` is set (allow, 403, 429).
 * Times are milliseconds from the verdict, rounded up.
 */
struct verdict {
	uint8_t reason;     /* enum reason */
	uint8_t detail;     /* enum detail */
	uint32_t limit;     /* units per window */
	uint32_t remaining; /* units left, after this check */
	uint32_t window_ms;
	uint32_t reset_ms; /* until the window is wholly at rest; 0 = it is */
	uint32_t retry_ms; /* 429: until a check of this cost can pass; when
			    * allowed: until additional quota, 0 = at rest;
			    * 0 when no waiting helps */
	struct id org;
	struct id project; /* none for a key of the organization */
	struct id key;
	char limit_name[LIMIT_NAME_LEN]; /* "org" */
};

#endif
