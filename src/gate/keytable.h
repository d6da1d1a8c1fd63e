/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_KEYTABLE_H
#define STILE_GATE_KEYTABLE_H

/*
 * gate/keytable - from the SHA-256 of a key to its slot in the arena.
 *
 * Does       open addressing over buckets of one cache line: eight entries of
 *            40 hash bits and a 24-bit slot. The rest of the hash is compared
 *            in the key's own line, which a check reads anyway.
 * Threads    one writer (the control thread); readers at any time, inside an
 *            epoch section (base/epoch.h).
 * Progress   readers wait-free: a bucket is left for the next one only while
 *            it is full, and at most KEYTABLE_PROBES_MAX are read.
 * Growth     the writer fills a larger table, publishes its address, waits
 *            for a grace period and frees the old one.
 * Memory     8 bytes an entry at a load of 0.3 to 0.6: 13 to 27 a key beside
 *            its line of 64. Of the keys 97.8 to 99.9 % stand in the bucket
 *            that is looked at first. Huge pages where the kernel gives
 *            them. Private to the process: rebuilt from the records at start.
 * Proof      tests/torture/keytable_torture.c
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoch;

#define KEYTABLE_BUCKET_ENTRIES 8
#define KEYTABLE_PROBES_MAX 32

struct bucket {
	word_t entries[KEYTABLE_BUCKET_ENTRIES];
} LINE_ALIGNED;

/* One size of the table; readers take it anew for each sweep. */
struct keytable_level {
	uint64_t mask; /* buckets - 1 */
	size_t bytes;
	struct bucket *buckets;
};

struct keytable {
	_Atomic(struct keytable_level *) level;
	/* the writer's */
	uint64_t used; /* entries and tombstones */
	uint64_t live;
	struct epoch *epoch;
};

/* `epoch` may be NULL while there are no readers. -ENOMEM. */
int keytable_init(struct keytable *t, uint64_t expected, struct epoch *epoch);
void keytable_deinit(struct keytable *t);

/* Writer. The key's line must be complete. -ENOMEM: cannot grow;
 * -ENOSPC: KEYTABLE_PROBES_MAX full buckets in a row (the hashes are not
 * random). */
int keytable_insert(struct keytable *t, const uint8_t hash[static 32],
		    uint32_t slot);
/* Writer. False when it was not there. */
bool keytable_remove(struct keytable *t, const uint8_t hash[static 32],
		     uint32_t slot);

/* Reader, three steps so that a batch overlaps its cache misses. */
static inline const struct keytable_level *keytable_level(struct keytable *t)
{
	/* PAIRS: grow(), release. Publishes the buckets behind the address. */
	return atomic_load_explicit(&t->level, memory_order_acquire);
}

static inline uint64_t keytable_tag(const uint8_t hash[static 32])
{
	uint64_t h;

	memcpy(&h, hash, sizeof(h));
	return h >> 24;
}

static inline void keytable_prefetch(const struct keytable_level *l,
				     const uint8_t hash[static 32])
{
	__builtin_prefetch(&l->buckets[keytable_tag(hash) & l->mask]);
}

/* The slot of the first entry with this tag: where the key is, unless another
 * key has the same 40 bits (of a million keys about one has such a twin); 0 =
 * surely unknown. keytable_match() tells once its line has arrived. */
uint32_t keytable_probe(const struct keytable_level *l,
			const uint8_t hash[static 32]);

/* Compares all that the key's line holds of the hash, in constant time; the
 * tag has been compared already. */
static inline bool keytable_match(const struct key *key,
				  const uint8_t hash[static 32])
{
	uint64_t a[2], b[2];

	static_assert(sizeof(a) == sizeof(key->hash), "16 bytes");
	memcpy(a, key->hash, sizeof(a));
	memcpy(b, hash + KEY_HASH_SKIP, sizeof(b));
	return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}

/* The slot of the key, or 0: for those that keytable_match() says are not
 * where keytable_probe() has found their tag. */
uint32_t keytable_find(const struct keytable_level *l, const struct key *keys,
		       const uint8_t hash[static 32]);

#endif
