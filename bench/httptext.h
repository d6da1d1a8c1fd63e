/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_HTTPTEXT_H
#define STILE_BENCH_HTTPTEXT_H

/*
 * bench/httptext - HTTP/1.1 as a client that keeps its connection: GET with an
 * X-API-Key, answers with a Content-Length.
 */
#include "address.h"
#include "dialect.h"

#define HTTPTEXT_REPLY_MAX 1024u

/* Who answers, and so what is right: 200 counts as allowed, 429 as denied. */
struct httptext_service {
	const char *path;
	uint32_t status_denied; /* 429, or what a proxy's limiter answers */
	bool names_key;         /* X-Stile-Org and X-Stile-Key-Id of the key */
	/* A header whose absence is wrong in a 200; NULL = none. */
	const char *header;
};

struct httptext_reply {
	uint32_t status;
	size_t head_len; /* with the empty line */
	size_t body_len;
};

/* Reads the head at the beginning of `bytes`. Returns the length of the whole
 * answer, 0 when it is not all there, -1 when it is none that we know. */
ssize_t httptext_read(const uint8_t *bytes, size_t len,
		      struct httptext_reply *ret);

/* The value of a header within a head; NULL when it is not there. */
const char *httptext_find(const uint8_t *head, size_t head_len,
			  const char *name, size_t *ret_len);

/* One GET with a key on a connection of its own; the answer is left in `out`,
 * with a zero behind it. Returns its status, or -1 when there was none. */
int httptext_ask(const struct address *a, const char *path, const char *key,
		 size_t key_len, char out[static HTTPTEXT_REPLY_MAX + 1]);

/* `service` has to live as long as d. Returns as dialect_build(). */
int httptext_dialect(struct dialect *d, const struct workload *w,
		     const struct httptext_service *service);

#endif
