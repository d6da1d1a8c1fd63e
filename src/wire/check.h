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

#define CHECK_KEY_MAX 255 /* bytes of a key that any codec accepts */
#define SETTLE_AS_RESERVED UINT32_MAX /* cost of a settle: leave it */
#define CHECK_COST_MAX 1000000u /* units; above it the input is malformed */
#define LIMIT_NAME_LEN 24       /* characters, zero padded */

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
	REASON_CONCURRENCY = 8,      /* 429: too many requests in flight */
	REASON_BUDGET = 9,           /* 402: the project's budget is used up */
	REASON_CREDITS = 10,         /* 402: the organization's credits are */
	REASON_SCOPE = 11,           /* 403: the key lacks the scope */
	REASON_ROUTE = 12,           /* 403: the key is not for this route */
	REASON_NETWORK = 13,         /* 403: nor for clients at this address */
	REASON_FULL = 14,            /* 503: no room to count another subject */
	REASON_NO_HOLD = 15, /* 404: settle: unknown, settled, expired */
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
	DETAIL_ROUTE = 6,   /* route or scope: too long, or not printable */
	DETAIL_ADDRESS = 7, /* the client's address is none */
	DETAIL_HOLD = 8,    /* not the id of a hold, or none to settle; native:
			     * not a time to hold */
	DETAIL_ONCE = 9,    /* the request id is too long, or there are two */
	/* Which header of HTTP; these are in no native reply. */
	DETAIL_PEEK = 10,    /* neither 0 nor 1, or both */
	DETAIL_EXPLAIN = 11, /* likewise */
	DETAIL_RESERVE = 12, /* likewise, and not a time to hold */
	DETAIL_SETTLED = 13, /* DETAIL_COST of a settlement: 0 is one */
	/* in their place they say nothing, and are refused */
	DETAIL_COST_BESIDE = 14, /* what gives back takes no cost */
	DETAIL_PEEK_BESIDE = 15, /* what settles is no check */
	DETAIL_HOLD_BESIDE = 16, /* what is a check settles nothing */
	DETAIL_COUNT
};

enum credential {
	CREDENTIAL_NONE =
		0,          /* wire has already set reason; gate passes it on */
	CREDENTIAL_KEY = 1, /* key, key_len */
	CREDENTIAL_HASH = 2, /* hash */
	CREDENTIAL_HOLD = 3, /* extra->hold: not a check, settle it */
};

#define CHECK_PEEK 0x01u    /* answer, but count nothing */
#define CHECK_RESERVE 0x02u /* the cost is an estimate: hold it */
#define CHECK_EXPLAIN 0x04u /* tell what every rule says */

/* Settling: the cost is what was reserved. */
#define SETTLE_AS_RESERVED UINT32_MAX
#define CHECK_HOLD_MS_MAX 2678400000u /* 31 days; above it is malformed */

#define LABEL_MAX 63 /* bytes of a route or a scope: printable ASCII */

/* What most checks do not say. Zero: not said. */
struct check_extra {
	uint64_t once[2];    /* 128-bit hash of the request id; 0, 0: none */
	uint64_t hold;       /* settle: which hold */
	uint64_t route_hash; /* label_hash() of `route`; 0: none */
	uint64_t scope_hash; /* of the scope needed; 0: none said */
	uint32_t hold_ms; /* reserve: expires after so long; 0: as configured */
	bool has_address;
	uint8_t address[16]; /* of the client; IPv4 mapped into IPv6 */
	uint8_t route_len, scope_len;
	char route[LABEL_MAX + 1];
	char scope[LABEL_MAX + 1];
};

struct check {
	uint64_t request_id;             /* native: echoed; HTTP: 0 */
	const uint8_t *key;              /* CREDENTIAL_KEY: key_len bytes */
	const struct check_extra *extra; /* or NULL; lives as long as `key` */
	uint32_t conn_idx; /* set by the worker; codecs leave it alone */
	uint32_t cost;     /* units, 1..CHECK_COST_MAX; 0: what the route costs;
			    * settle: what it has really cost, 0 too, or
			    * SETTLE_AS_RESERVED */
	uint8_t key_len;
	uint8_t credential; /* enum credential */
	uint8_t reason;     /* CREDENTIAL_NONE: enum reason */
	uint8_t detail;     /* CREDENTIAL_NONE: enum detail */
	uint8_t dialect;    /* private to the codec: how to answer */
	uint8_t flags;      /* CHECK_PEEK ... */
	uint8_t hash[32];   /* SHA-256 of the key; gate fills it for KEY */
};

#define EXPLAIN_LINES_MAX 20
#define EXPLAIN_SHADOW 0x01u  /* counts and reports, denies nothing */
#define EXPLAIN_DECIDED 0x02u /* has denied, and is the one that is named */
/* What is no rule stands in the place of an algorithm. */
#define EXPLAIN_BUDGET 4u
#define EXPLAIN_CREDITS 5u

/* What one rule, a budget or the credits say to a check, had it been alone:
 * before it was charged. */
struct explain_line {
	char name[LIMIT_NAME_LEN];
	uint8_t level;     /* enum rule_level, of gate/layout.h */
	uint8_t algorithm; /* enum rule_algorithm, or EXPLAIN_... */
	uint8_t flags;     /* EXPLAIN_SHADOW ... */
	uint8_t allowed;   /* 0: no */
	uint64_t limit, remaining;
	uint64_t window_ms, reset_ms, retry_ms; /* as of a verdict */
};

struct explain {
	uint8_t count;
	struct explain_line lines[EXPLAIN_LINES_MAX];
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
	uint32_t window_ms; /* 0: none, it counts what is in flight */
	uint32_t reset_ms;  /* until the window is wholly at rest; 0 = it is */
	uint32_t retry_ms;  /* 429, 402: until a check of this cost can pass;
			     * when allowed: until additional quota, 0 = at
			     * rest; 0 when no waiting helps */
	struct id org;
	struct id project; /* none for a key of the organization */
	struct id key;
	char limit_name[LIMIT_NAME_LEN]; /* "org"; nothing that a quoted text
					  * of JSON or a header escapes */
	uint8_t flags;                   /* VERDICT_REPEATED ... */
	uint32_t charged; /* units: allow; settle: in the end, of the cost */
	uint64_t hold;    /* of a reservation or leases; 0: none */
	uint64_t hold_ms; /* until it expires */
	uint64_t credits; /* left; CREDITS_NONE: not counted */
	uint64_t budget;  /* left of the project's; likewise */
	const struct explain *explain; /* CHECK_EXPLAIN: valid until the gate's
					* next batch; or NULL: the key is not
					* known */
};

#define VERDICT_REPEATED 0x01u /* same request id: answered, not charged */
#define CREDITS_NONE UINT64_MAX

#endif
