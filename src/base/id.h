/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_ID_H
#define STILE_BASE_ID_H

/*
 * base/id - the public name of an organization, project or key.
 *
 * Shape      8 characters of base62 (0-9A-Za-z), no terminator; all zero
 *            bytes mean "none". 8 characters hold 47.6 bits: a name, not a
 *            secret.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ID_LEN 8

struct id {
	char c[ID_LEN];
};

static inline bool id_is_none(struct id a)
{
	uint64_t w;

	memcpy(&w, a.c, sizeof(w));
	return w == 0;
}

static inline bool id_equal(struct id a, struct id b)
{
	return memcmp(a.c, b.c, ID_LEN) == 0;
}

#endif
