/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_MEMO_H
#define STILE_BENCH_MEMO_H

/*
 * bench/memo - a verification memo, to measure what it would save: a key that
 * SHA-256 has proved once is recognized by SipHash-2-4 with a secret key and
 * 128 bits of result, and its SHA-256 is taken from a table.
 *
 * stiled does not have one; docs/performance.md says why. A direct-mapped
 * table is the kindest form: one line for a key, nothing to search.
 *
 * Threads    any, after memo_learn().
 */
#include "base/line.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct memo_name {
	uint64_t low, high;
};

struct memo_entry {
	struct memo_name name; /* zeros: free */
	uint8_t hash[SHA256_BYTES];
} LINE_ALIGNED;

struct memo {
	struct memo_name secret;
	struct memo_entry *entries;
	uint64_t mask;
};

/* Bytes of a table for that many keys: half of it stays free. */
uint64_t memo_bytes(uint32_t keys);
int memo_init(struct memo *m, uint32_t keys); /* -ENOMEM */
void memo_deinit(struct memo *m);

/* SipHash-2-4-128. */
struct memo_name memo_name(const struct memo *m, const void *key,
			   size_t key_len);

/* The key takes its place, whoever had it. */
void memo_learn(struct memo *m, const void *key, size_t key_len,
		const uint8_t hash[static SHA256_BYTES]);

static inline const struct memo_entry *memo_place(const struct memo *m,
						  struct memo_name name)
{
	return &m->entries[name.low & m->mask];
}

/* What sha256() says of the key: from its place, or computed. */
static inline void memo_hash(const struct memo *m, struct memo_name name,
			     const void *key, size_t key_len,
			     uint8_t out[static SHA256_BYTES])
{
	const struct memo_entry *e = memo_place(m, name);

	if (e->name.low == name.low && e->name.high == name.high)
		memcpy(out, e->hash, sizeof(e->hash));
	else
		sha256(key, key_len, out);
}

#endif
