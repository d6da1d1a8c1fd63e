/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_KEYTEXT_H
#define STILE_BASE_KEYTEXT_H

/*
 * base/keytext - the text of a key: il_ + 8 id + _ + 37 secret + 6 CRC-32.
 *
 * Shape      base62 (0-9A-Za-z); the checksum is the CRC-32 (zlib) of every
 *            byte before it, six digits, left-padded with '0'. With the
 *            prefix "il" 55 bytes: one SHA-256 block.
 * Entropy    37 base62 characters = 220 bits from OpenSSL's CSPRNG: no salt
 *            and no slow hash are needed (docs/threat-model.md).
 * Threads    any; no state.
 * Secrets    classify makes no copy; make wipes its scratch, and `out` too
 *            when it fails. `out` is the caller's to wipe.
 */
#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYTEXT_PREFIX_MAX 8
#define KEYTEXT_SECRET_LEN 37
#define KEYTEXT_CRC_LEN 6
/* prefix + '_' + id + '_' + secret + crc */
#define KEYTEXT_LEN(prefix_len)                                                \
	((prefix_len) + 1 + ID_LEN + 1 + KEYTEXT_SECRET_LEN + KEYTEXT_CRC_LEN)

/* The prefix as configured, with its underscore. */
struct keytext_prefix {
	uint8_t len; /* with '_' */
	char text[KEYTEXT_PREFIX_MAX + 1];
};

/* prefix: 1..8 characters of [a-z0-9]. Returns false otherwise. */
bool keytext_prefix_init(struct keytext_prefix *p, const char *prefix);

enum keytext_kind {
	KEYTEXT_OURS,    /* our shape, checksum right: hash and look up */
	KEYTEXT_FOREIGN, /* not our prefix: perhaps an imported key */
	KEYTEXT_BROKEN,  /* our prefix, but not our shape or checksum: refuse */
};

enum keytext_kind keytext_classify(const struct keytext_prefix *p,
				   const uint8_t *key, size_t key_len);

/* The six digits of the CRC-32 of text. */
void keytext_checksum(const void *text, size_t text_len,
		      char out[static KEYTEXT_CRC_LEN]);

/* Random id; random key with that id, terminated. out_len must be at least
 * KEYTEXT_LEN + 1. Returns false when the CSPRNG fails. */
bool keytext_random_id(struct id *ret_id);
bool keytext_make(const struct keytext_prefix *p, struct id id, char *out,
		  size_t out_len);

#endif
