/* SPDX-License-Identifier: MIT */
#include "gate/keytable.h"

#include "base/check.h"
#include "base/epoch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * Entry: tag (40 bits) << 24 | slot. 0 is empty; a removed entry becomes a
 * tombstone (slot 0, tag 1): a full bucket must stay full, or readers would
 * stop before what had overflowed from it. Tombstones are used again by
 * insertions and vanish when the table is rebuilt.
 *
 * The tag also chooses the bucket (its low bits), so that the table can be
 * rebuilt from its own entries.
 */
#define SLOT_BITS 24u
#define SLOT_OF(e) ((uint32_t)((e) & ((1u << SLOT_BITS) - 1)))
#define TAG_OF(e) ((e) >> SLOT_BITS)
#define TOMBSTONE (UINT64_C(1) << SLOT_BITS)
#define IS_TOMBSTONE(e) ((e) != 0 && SLOT_OF(e) == 0)

#define BUCKETS_MIN 64u
/* Grow above 3/5 of the entries: then one bucket in eight is full. */
#define LOAD_NUM 3u
#define LOAD_DEN 5u

static inline uint64_t read_entry(const word_t *e)
{
	/* PAIRS: publish(), release. Publishes the line of the key in this
	 * slot: its hash, id, organization and project. */
	return atomic_load_explicit(e, memory_order_acquire);
}

static inline void publish(word_t *e, uint64_t value)
{
	/* PAIRS: read_entry(), acquire; see there. */
	atomic_store_explicit(e, value, memory_order_release);
}

/* Places are taken in their order and never become empty again. */
static inline bool is_full(const word_t *entries)
{
	return read_entry(&entries[KEYTABLE_BUCKET_ENTRIES - 1]) != 0;
}

static struct keytable_level *level_new(uint64_t buckets)
{
	struct keytable_level *l = malloc(sizeof(*l));
	size_t bytes = (size_t)buckets * sizeof(struct bucket);
	void *p;

	if (l == NULL)
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		free(l);
		return NULL;
	}
	/* Huge pages save a TLB miss per lookup. Refused: it works all the
	 * same, so the result does not matter. */
	(void)madvise(p, bytes, MADV_HUGEPAGE);
	l->buckets = p;
	l->bytes = bytes;
	l->mask = buckets - 1;
	return l;
}

static void level_free(struct keytable_level *l)
{
	if (l == NULL)
		return;
	munmap(l->buckets, l->bytes);
	free(l);
}

/* Puts an entry into the first bucket of its chain with room. A tombstone
 * counts as room. Returns false when KEYTABLE_PROBES_MAX are full;
 * *ret_fresh: it took an empty place. */
static bool level_put(struct keytable_level *l, uint64_t entry, bool *ret_fresh)
{
	uint64_t b = TAG_OF(entry) & l->mask;
	unsigned probe, i;

	for (probe = 0; probe < KEYTABLE_PROBES_MAX; probe++) {
		struct bucket *bucket = &l->buckets[b];

		for (i = 0; i < KEYTABLE_BUCKET_ENTRIES; i++) {
			uint64_t e = read_entry(&bucket->entries[i]);

			if (e != 0 && !IS_TOMBSTONE(e))
				continue;
			*ret_fresh = e == 0;
			publish(&bucket->entries[i], entry);
			return true;
		}
		b = (b + 1) & l->mask;
	}
	return false;
}

static struct keytable_level *writer_level(struct keytable *t)
{
	/* PAIRS: nothing. Only the writer stores it, and this is the writer. */
	return atomic_load_explicit(&t->level, memory_order_relaxed);
}

static int rebuild(struct keytable *t, uint64_t buckets)
{
	struct keytable_level *old = writer_level(t);
	struct keytable_level *new = level_new(buckets);
	uint64_t b, live = 0;
	unsigned i;
	bool fresh;

	if (new == NULL)
		return -ENOMEM;
	for (b = 0; b <= old->mask; b++) {
		for (i = 0; i < KEYTABLE_BUCKET_ENTRIES; i++) {
			uint64_t e = read_entry(&old->buckets[b].entries[i]);

			if (SLOT_OF(e) == 0)
				continue;
			if (!level_put(new, e, &fresh)) {
				level_free(new);
				return -ENOSPC;
			}
			live++;
		}
	}
	/* PAIRS: keytable_level(), acquire: the entries are in. */
	atomic_store_explicit(&t->level, new, memory_order_release);
	t->used = t->live = live;
	if (t->epoch != NULL)
		epoch_wait(t->epoch);
	level_free(old);
	return 0;
}

static uint64_t capacity(const struct keytable_level *l)
{
	return (l->mask + 1) * KEYTABLE_BUCKET_ENTRIES / LOAD_DEN * LOAD_NUM;
}

int keytable_init(struct keytable *t, uint64_t expected, struct epoch *epoch)
{
	uint64_t buckets = BUCKETS_MIN;
	struct keytable_level *l;

	while (buckets * KEYTABLE_BUCKET_ENTRIES / LOAD_DEN * LOAD_NUM <
	       expected)
		buckets *= 2;
	l = level_new(buckets);
	if (l == NULL)
		return -ENOMEM;
	/* PAIRS: nothing yet; there are no readers. */
	atomic_init(&t->level, l);
	t->used = t->live = 0;
	t->epoch = epoch;
	return 0;
}

void keytable_deinit(struct keytable *t)
{
	level_free(writer_level(t));
}

int keytable_insert(struct keytable *t, const uint8_t hash[static 32],
		    uint32_t slot)
{
	uint64_t entry = keytable_tag(hash) << SLOT_BITS | slot;
	uint64_t buckets = writer_level(t)->mask + 1;
	bool fresh;
	int r;

	check(slot != 0 && slot < ARENA_KEYS_MAX);
	if (t->used >= capacity(writer_level(t))) {
		/* Many tombstones: the same size is enough. */
		r = rebuild(t, t->live * 2 > t->used ? buckets * 2 : buckets);
		if (r < 0)
			return r;
	}
	if (!level_put(writer_level(t), entry, &fresh))
		return -ENOSPC;
	t->live++;
	t->used += fresh ? 1 : 0;
	return 0;
}

bool keytable_remove(struct keytable *t, const uint8_t hash[static 32],
		     uint32_t slot)
{
	struct keytable_level *l = writer_level(t);
	uint64_t entry = keytable_tag(hash) << SLOT_BITS | slot;
	uint64_t b = TAG_OF(entry) & l->mask;
	unsigned probe, i;

	for (probe = 0; probe < KEYTABLE_PROBES_MAX; probe++) {
		word_t *entries = l->buckets[b].entries;

		for (i = 0; i < KEYTABLE_BUCKET_ENTRIES; i++) {
			if (read_entry(&entries[i]) != entry)
				continue;
			publish(&entries[i], TOMBSTONE);
			t->live--;
			return true;
		}
		if (!is_full(entries))
			return false;
		b = (b + 1) & l->mask;
	}
	return false;
}

/* `keys` NULL: the first entry with the tag will do. */
static inline uint32_t scan(const struct keytable_level *l,
			    const struct key *keys,
			    const uint8_t hash[static 32])
{
	uint64_t tag = keytable_tag(hash), wanted = tag << SLOT_BITS;
	uint64_t b = tag & l->mask;
	unsigned probe, i;

	for (probe = 0; probe < KEYTABLE_PROBES_MAX; probe++) {
		const word_t *entries = l->buckets[b].entries;

		for (i = 0; i < KEYTABLE_BUCKET_ENTRIES; i++) {
			/* What is left of the entry when the tags are equal. */
			uint64_t slot = read_entry(&entries[i]) ^ wanted;

			if (likely(slot >> SLOT_BITS != 0) || slot == 0)
				continue;
			/* Equal tags are almost always the key itself; the
			 * comparison takes the same time either way. */
			if (keys == NULL || keytable_match(&keys[slot], hash))
				return (uint32_t)slot;
		}
		if (likely(!is_full(entries)))
			return 0;
		b = (b + 1) & l->mask;
	}
	return 0;
}

uint32_t keytable_probe(const struct keytable_level *l,
			const uint8_t hash[static 32])
{
	return scan(l, NULL, hash);
}

uint32_t keytable_find(const struct keytable_level *l, const struct key *keys,
		       const uint8_t hash[static 32])
{
	return scan(l, keys, hash);
}
