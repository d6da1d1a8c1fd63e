/* SPDX-License-Identifier: MIT */
#include "gate/subjects.h"

#include "base/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * A name: hash (its upper 50 bits) | state (2 bits) | generation (12 bits)
 *
 *	FRESH     the whole word is 0: never used since the table was made
 *	FREE      was used before
 *	USED      belongs to the subject
 *	RETIRING  belongs to the subject, and is about to be freed
 *
 * A name changes only under a claim of its bucket's gate, and its generation
 * grows with each change. 12 bits are enough: a helper is in an epoch section
 * (or is the control thread, which waits for itself), while that lasts no more
 * than two grace periods begin, and in each of them a word is taken, retired,
 * revived and freed at most once.
 *
 * Why nothing that was charged is lost when an entry is freed. Say the control
 * thread marks an entry (its name becomes RETIRING), waits for a grace period
 * and frees it. A section that charges the subject either
 *   - was open when the wait began: it has ended when the wait is over, and
 *     what it charged is seen by at_rest(), which is asked again then; or
 *   - began after: it sees the mark, so its subjects_take() makes the name
 *     USED again. That is a claim of the gate with which the control thread
 *     frees, so one of the two fails. If the worker comes first, the control
 *     thread looks again, finds a name that is not RETIRING and leaves it
 *     alone. If it comes second, it looks again and finds no subject: it takes
 *     an entry anew, and nobody had charged the old one.
 * A name that was seen USED in a section is safe until its end: what would
 * free it is a mark that came later, and a wait for this very section.
 *
 * Where a name is. The upper two bits of the hash say in which of the four
 * lines a search begins; it goes on to the next one, round the bucket. A
 * subject takes the first entry on that way that is not taken. So one that
 * stands behind a line was taken when that line was full: its last name has
 * not been FRESH since, and a FRESH one there ends a search. At half load 99
 * subjects of 100 stand in the first line.
 *
 * A bucket is chosen by the lower 14 bits of the hash, which no name holds,
 * and only then by those above them.
 */
#define NAME_GEN_MASK UINT64_C(0xfff)
#define NAME_FRESH UINT64_C(0)
#define NAME_FREE (UINT64_C(1) << 12)
#define NAME_USED (UINT64_C(2) << 12)
#define NAME_RETIRING (UINT64_C(3) << 12)
#define NAME_STATE(n) ((n)&NAME_RETIRING)
#define NAME_HASH(n) ((n) & ~UINT64_C(0x3fff))
/* USED and RETIRING have it, FREE and FRESH do not. */
#define NAME_TAKEN NAME_USED

#define LINE_WORDS (LINE_BYTES / sizeof(word_t))
static_assert(LINE_WORDS == 8, "look() is written out for eight");
#define NOWHERE 0 /* where the gate is, no name */

#define HEADER_MAGIC UINT64_C(0x31304a425553) /* "SUBJ01" */

/* The block's first line; written before the block's word is published. */
struct header {
	uint64_t magic;
	uint32_t count; /* buckets */
	uint32_t stride;
	uint64_t capacity; /* entries */
	uint64_t full_until_ns;
	struct subjects_note note;
	uint64_t spare[2];
};
static_assert(sizeof(struct header) == LINE_BYTES, "one line");

static uint64_t bytes_of(uint64_t buckets, uint32_t stride)
{
	return sizeof(struct header) +
	       buckets * (sizeof(struct subjects_bucket) +
			  (uint64_t)SUBJECTS_BUCKET * stride);
}

static bool stride_sane(uint32_t stride)
{
	return stride != 0 && stride <= SUBJECTS_STRIDE_MAX &&
	       stride % sizeof(word_t) == 0;
}

uint64_t subjects_bytes(uint32_t count, uint32_t stride)
{
	return SUBJECTS_BYTES(count != 0 ? count : 1, stride);
}

/* Bytes of the block; 0: it is not in the region. */
static uint64_t block_bytes(uint64_t block)
{
	uint64_t bytes, place = (uint64_t)RING_PLACE(block) * LINE_BYTES;

	if (block == 0 || RING_LOG2(block) > 40)
		return 0;
	bytes = sizeof(word_t) << RING_LOG2(block);
	return bytes <= ARENA_RING_BYTES && place <= ARENA_RING_BYTES - bytes
		       ? bytes
		       : 0;
}

static uint8_t *block_at(const struct arena *a, uint64_t block)
{
	return a->rings + (uint64_t)RING_PLACE(block) * LINE_BYTES;
}

void subjects_format(struct arena *a, uint64_t block, uint32_t count,
		     uint32_t stride)
{
	uint64_t bytes = block_bytes(block);
	struct header *h = (void *)block_at(a, block);

	check(stride_sane(stride));
	check(bytes >= subjects_bytes(count, stride));
	h->count = (uint32_t)((bytes - sizeof(*h)) /
			      (bytes_of(1, stride) - sizeof(*h)));
	h->stride = stride;
	h->capacity = (uint64_t)h->count * SUBJECTS_BUCKET;
	h->magic = HEADER_MAGIC;
}

bool subjects_open(struct subjects *t, struct arena *a, uint64_t block)
{
	uint64_t bytes = block_bytes(block);
	struct header *h;

	if (bytes < sizeof(*h))
		return false;
	h = (void *)block_at(a, block);
	if (h->magic != HEADER_MAGIC || h->count == 0 ||
	    !stride_sane(h->stride) || bytes_of(h->count, h->stride) > bytes ||
	    h->capacity != (uint64_t)h->count * SUBJECTS_BUCKET)
		return false;
	t->arena = a;
	t->buckets = (void *)(h + 1);
	t->states = (uint8_t *)(t->buckets + h->count);
	t->count = h->count;
	t->stride = h->stride;
	t->full_until_ns = h->full_until_ns;
	return true;
}

struct subjects_note *subjects_note(const struct arena *a, uint64_t block)
{
	struct header *h = (void *)block_at(a, block);

	return &h->note;
}

static inline uint64_t name_wanted(uint64_t hash)
{
	return NAME_HASH(hash) | NAME_TAKEN;
}

/* Only the generation and USED or RETIRING may differ. */
static inline bool name_matches(uint64_t name, uint64_t wanted)
{
	return (name ^ wanted) < NAME_TAKEN;
}

static inline bool name_is_used(uint64_t name, uint64_t hash)
{
	return (name ^ (NAME_HASH(hash) | NAME_USED)) <= NAME_GEN_MASK;
}

static inline uint64_t name_after(uint64_t name, uint64_t hash_and_state)
{
	return hash_and_state | ((name + 1) & NAME_GEN_MASK);
}

static inline word_t *words_of(struct subjects_bucket *b)
{
	return &b->gate;
}

static inline uint32_t entry_of(uint32_t home, unsigned word)
{
	return home * SUBJECTS_BUCKET + word - 1;
}

/* `word`, or `i` when that one is the subject's name. Without a branch: where
 * in a line a name is cannot be predicted. */
static inline unsigned pick(unsigned word, uint64_t name, uint64_t wanted,
			    unsigned i)
{
	return name_matches(name, wanted) ? i : word;
}

/*
 * Which word of the bucket is the subject's name, or NOWHERE.
 *
 * PAIRS: claim_load() with the CAS that put the name in, release: what the last
 * subject's charges left in the state is seen by whoever sees the name.
 */
static inline unsigned look(struct subjects_bucket *b, uint64_t hash)
{
	uint64_t wanted = name_wanted(hash);
	unsigned n, line = subjects_line(hash);

	for (n = 0; n < SUBJECTS_BUCKET_LINES; n++) {
		unsigned first = line * (unsigned)LINE_WORDS, word = NOWHERE;
		const word_t *w = words_of(b) + first;
		uint64_t last = claim_load(&w[7]);

		/* The gate is no name: looking like one it gives NOWHERE too.
		 * Written out, since gcc does not unroll it. */
		word = pick(word, claim_load(&w[0]), wanted, first);
		word = pick(word, claim_load(&w[1]), wanted, first + 1);
		word = pick(word, claim_load(&w[2]), wanted, first + 2);
		word = pick(word, claim_load(&w[3]), wanted, first + 3);
		word = pick(word, claim_load(&w[4]), wanted, first + 4);
		word = pick(word, claim_load(&w[5]), wanted, first + 5);
		word = pick(word, claim_load(&w[6]), wanted, first + 6);
		word = pick(word, last, wanted, first + 7);
		if (word != NOWHERE)
			return word;
		if (last == NAME_FRESH)
			break;
		line = (line + 1) % SUBJECTS_BUCKET_LINES;
	}
	return NOWHERE;
}

/* The word that a new subject takes, or NOWHERE: the bucket is full. */
static inline unsigned vacancy(struct subjects_bucket *b, uint64_t hash)
{
	unsigned n, i, line = subjects_line(hash);

	for (n = 0; n < SUBJECTS_BUCKET_LINES; n++) {
		const word_t *w = words_of(b) + line * LINE_WORDS;

		for (i = line == 0; i < LINE_WORDS; i++)
			if ((claim_load(&w[i]) & NAME_TAKEN) == 0)
				return line * (unsigned)LINE_WORDS + i;
		line = (line + 1) % SUBJECTS_BUCKET_LINES;
	}
	return NOWHERE;
}

static inline bool rename_entry(struct claim *c, struct subjects_bucket *b,
				uint64_t version, unsigned word, uint64_t from,
				uint64_t hash_and_state)
{
	claim_begin(c);
	claim_add(c, words_of(b) + word, from,
		  name_after(from, hash_and_state));
	return claim_commit(c, &b->gate, version);
}

uint32_t subjects_find(const struct subjects *t, uint64_t hash)
{
	uint32_t home = subjects_home(t, hash);
	unsigned word = look(&t->buckets[home], hash);

	return word != NOWHERE ? entry_of(home, word) : SUBJECTS_FULL;
}

bool subjects_is(const struct subjects *t, uint32_t entry, uint64_t hash)
{
	uint32_t home = subjects_home(t, hash);
	uint32_t i = entry - home * SUBJECTS_BUCKET;

	check_hot(i < SUBJECTS_BUCKET);
	/* PAIRS: nothing itself. The state was loaded with acquire: whoever saw
	 * in it what another subject was charged sees that one's name here.
	 * Within a section a name does not come back once it is gone: its
	 * successor would have to be marked and waited for. */
	return name_matches(atomic_load_explicit(&t->buckets[home].names[i],
						 memory_order_relaxed),
			    name_wanted(hash));
}

bool subjects_room(const struct subjects *t, uint64_t hash)
{
	return vacancy(&t->buckets[subjects_home(t, hash)], hash) != NOWHERE;
}

/* There is none, or it is retiring, or somebody else is at it. `word` was
 * looked up after `version` had been loaded. */
static __attribute__((noinline)) uint32_t
take_anew(const struct subjects *t, struct claim *c, uint64_t hash,
	  uint32_t home, uint64_t version, unsigned word)
{
	struct subjects_bucket *b = &t->buckets[home];

	for (;;) {
		uint64_t name;

		if (word == NOWHERE)
			word = vacancy(b, hash);
		if ((version & 1) != 0) {
			/* Complete it, and look again. */
		} else if (word == NOWHERE) {
			if (claim_unchanged(&b->gate, version))
				return SUBJECTS_FULL;
		} else {
			/* Whatever became of it since it was looked up: then
			 * the gate moved too, and the claim is lost. */
			name = claim_load(words_of(b) + word);
			if (name_is_used(name, hash) ||
			    rename_entry(c, b, version, word, name,
					 NAME_HASH(hash) | NAME_USED))
				return entry_of(home, word);
		}
		version = claim_settle(t->arena, &b->gate, c->counters);
		word = look(b, hash);
	}
}

uint32_t subjects_take(const struct subjects *t, struct claim *c, uint64_t hash)
{
	uint32_t home = subjects_home(t, hash);
	struct subjects_bucket *b = &t->buckets[home];
	/* PAIRS: as in claim_settle(); but a subject that is there need not
	 * wait until others are through. */
	uint64_t version = atomic_load_explicit(&b->gate, memory_order_acquire);
	unsigned word = look(b, hash);

	if (likely(word != NOWHERE &&
		   name_is_used(claim_load(words_of(b) + word), hash)))
		return entry_of(home, word);
	return take_anew(t, c, hash, home, version, word);
}

/* Brings a name from one state to another, unless somebody else changes it or
 * its state is not at rest. */
static bool move_at_rest(const struct subjects *t, struct claim *c,
			 uint32_t home, unsigned word, uint64_t from,
			 uint64_t to, subjects_rest_fn *at_rest, void *arg)
{
	struct subjects_bucket *b = &t->buckets[home];
	uint64_t version, name;

	do {
		name = claim_load(words_of(b) + word);
		if (NAME_STATE(name) != from)
			return false;
		version = claim_settle(t->arena, &b->gate, c->counters);
		name = claim_load(words_of(b) + word);
		if (NAME_STATE(name) != from ||
		    !at_rest(subjects_state(t, entry_of(home, word)), arg))
			return false;
	} while (!rename_entry(c, b, version, word, name,
			       to == NAME_FREE ? to : NAME_HASH(name) | to));
	return true;
}

uint32_t subjects_retire(const struct subjects *t, struct claim *c,
			 uint32_t *cursor, uint32_t max,
			 subjects_rest_fn *at_rest, void *arg)
{
	uint32_t entry = *cursor, marked = 0;

	for (; entry < subjects_capacity(t) && marked < max; entry++)
		marked += move_at_rest(t, c, entry / SUBJECTS_BUCKET,
				       entry % SUBJECTS_BUCKET + 1, NAME_USED,
				       NAME_RETIRING, at_rest, arg);
	*cursor = entry < subjects_capacity(t) ? entry : 0;
	return marked;
}

uint32_t subjects_free(const struct subjects *t, struct claim *c,
		       subjects_rest_fn *at_rest, void *arg)
{
	uint32_t home, freed = 0;
	unsigned word;

	for (home = 0; home < t->count; home++)
		for (word = 1; word <= SUBJECTS_BUCKET; word++)
			freed += move_at_rest(t, c, home, word, NAME_RETIRING,
					      NAME_FREE, at_rest, arg);
	return freed;
}

uint32_t subjects_used(const struct subjects *t)
{
	uint32_t home, used = 0;
	unsigned word;

	for (home = 0; home < t->count; home++)
		for (word = 1; word <= SUBJECTS_BUCKET; word++)
			used += (claim_load(words_of(&t->buckets[home]) +
					    word) &
				 NAME_TAKEN) != 0;
	return used;
}

/* ---- what outlives the arena ---- */

bool subjects_name(const struct subjects *t, uint32_t entry, uint64_t *ret_name)
{
	struct subjects_bucket *b = &t->buckets[entry / SUBJECTS_BUCKET];
	uint64_t name = claim_load(&b->names[entry % SUBJECTS_BUCKET]);

	if ((name & NAME_TAKEN) == 0)
		return false;
	*ret_name = NAME_HASH(name);
	return true;
}

uint32_t subjects_restore(const struct subjects *t, uint32_t bucket,
			  uint64_t name, bool *ret_new)
{
	struct subjects_bucket *b = &t->buckets[bucket];
	unsigned word = look(b, name);
	uint64_t from;

	*ret_new = word == NOWHERE;
	if (word != NOWHERE)
		return entry_of(bucket, word);
	word = vacancy(b, name);
	if (word == NOWHERE)
		return SUBJECTS_FULL;
	from = claim_load(words_of(b) + word);
	/* PAIRS: nothing. Nobody else runs yet. */
	atomic_store_explicit(words_of(b) + word,
			      name_after(from, NAME_HASH(name) | NAME_USED),
			      memory_order_relaxed);
	return entry_of(bucket, word);
}

void subjects_fill(struct arena *a, uint64_t block, uint64_t until_ns)
{
	struct subjects t;

	if (subjects_open(&t, a, block))
		((struct header *)(void *)block_at(a, block))->full_until_ns =
			until_ns;
}

uint64_t subjects_hash2(uint64_t seed, uint64_t a, uint64_t b)
{
	const uint64_t pair[2] = {a, b};

	return XXH3_64bits_withSeed(pair, sizeof(pair), seed);
}
