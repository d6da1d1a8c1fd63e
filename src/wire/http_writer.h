/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_HTTP_WRITER_H
#define STILE_WIRE_HTTP_WRITER_H

/*
 * wire/http_writer - constant pieces, texts and numbers, one after another.
 *
 * Bound      the end of the room is a check against a bug and not an event:
 *            what callers put together has a bound of its own (wire/http.h).
 * Private    to wire/http*.c.
 */
#include "base/check.h"
#include "wire/reason.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	uint8_t *at;
	uint8_t *end;
};

static inline void put(struct writer *w, const void *bytes, size_t len)
{
	check((size_t)(w->end - w->at) >= len);
	memcpy(w->at, bytes, len);
	w->at += len;
}

#define PUT(w, literal) put(w, "" literal, sizeof(literal) - 1)

static inline void put_text(struct writer *w, struct text text)
{
	put(w, text.s, text.len);
}

static inline void put_u64(struct writer *w, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put(w, digits + at, sizeof(digits) - at);
}

/* A name that is padded with zeros, or fills its field. */
static inline void put_name(struct writer *w,
			    const char name[static LIMIT_NAME_LEN])
{
	put(w, name, strnlen(name, LIMIT_NAME_LEN));
}

#endif
