/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_CLAIM_H
#define STILE_GATE_CLAIM_H

/*
 * gate/claim - several words of one organization changed as one step.
 *
 * Does       "claim and help": the gate word of an organization either holds
 *            a version (even) or names a descriptor (odd) that lists every
 *            word to change with its old and new value. Putting the name into
 *            the gate is the decision; what follows can be done by anybody.
 * Threads    one owner per struct claim; any number of owners on one gate.
 * Progress   lock-free: a lost claim means another one got through, and
 *            nobody waits for a stopped thread, they finish its work.
 * Exactness  all words change or none, also when the process dies in between
 *            (claim_recover).
 * Premise    every word that is ever claimed takes each value at most once
 *            while a late helper may exist (they grow, or a grace period lies
 *            between), so a helper that comes late fails its CAS for ever.
 * Sources    weak descriptors: Arbel-Raviv and Brown, DISC 2017; lock-free
 *            locks by helping: Ben-David, Blelloch, Wei, PPoPP 2022.
 */
#include "base/check.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stdint.h>

struct counters;

struct claim {
	struct arena *arena;
	struct descriptor *descriptor;
	struct counters *counters; /* helps are counted here; may be NULL */
	uint64_t seq;
	uint32_t owner;
	uint8_t *base;           /* the arena's */
	struct claim_word *next; /* of the descriptor's, to be filled ... */
	struct claim_word *end;  /* ... as long as there are any */
};

/* `owner` < ARENA_OWNERS, used by one thread at a time. */
void claim_init(struct claim *c, struct arena *a, uint32_t owner,
		struct counters *counters);

/* The slow half of claim_settle(): `name` is in the gate. */
uint64_t claim_help(struct arena *a, word_t *gate, uint64_t name,
		    struct counters *counters);

/* The gate's even value. Completes whatever stands in the way. All words of
 * the organization, loaded with acquire after this, are those of this version
 * or newer; if claim_unchanged() or claim_commit() then succeeds they were
 * those of this version. */
static inline uint64_t claim_settle(struct arena *a, word_t *gate,
				    struct counters *counters)
{
	/* PAIRS: claim_commit() and claim_apply(), release on the gate: an even
	 * value comes with all words of its version, an odd one with its
	 * descriptor. */
	uint64_t value = atomic_load_explicit(gate, memory_order_acquire);

	if (likely((value & 1) == 0))
		return value;
	return claim_help(a, gate, value, counters);
}

/* True when no decision got through since claim_settle() returned `version`. */
static inline bool claim_unchanged(word_t *gate, uint64_t version)
{
	/* PAIRS: the CAS of claim_commit(), release. The words read before are
	 * acquire loads: whoever saw a word of a newer decision also sees
	 * that decision's gate here, so relaxed is enough for this load. */
	return atomic_load_explicit(gate, memory_order_relaxed) == version;
}

/* Loads a word that is changed under claims. */
static inline uint64_t claim_load(const word_t *w)
{
	/* PAIRS: the CAS of claim_apply(), release. Publishes that the gate had
	 * left its old version before this value was written; see
	 * claim_unchanged(). */
	return atomic_load_explicit(w, memory_order_acquire);
}

static inline uint64_t claim_offset(const struct arena *a, const word_t *w)
{
	return (uint64_t)((uintptr_t)w - (uintptr_t)a->base);
}

/*
 * Begin, add each word at most once, commit: claim_begin(), claim_add(),
 * claim_commit(). Or, where the next word's place stays in a register:
 * claim_first(), claim_put(), claim_commit_words().
 */
static inline struct claim_word *claim_first(const struct claim *c)
{
	struct descriptor *d = c->descriptor;

	/* PAIRS: copy_decision(), second load of seq. The stores of the fields
	 * below are releases, so a helper that saw one of them sees this
	 * zero (or something newer) too; relaxed is enough here. */
	atomic_store_explicit(&d->seq, 0, memory_order_relaxed);
	return d->words;
}

static inline struct claim_word *claim_begin(struct claim *c)
{
	return c->next = claim_first(c);
}

/* Writes one word of the decision; the next goes where it returns. For who
 * knows that they are at most CLAIM_WORDS_MAX. */
static inline struct claim_word *claim_put(const struct claim *c,
					   struct claim_word *d, word_t *w,
					   uint64_t from, uint64_t to)
{
	/* PAIRS: copy_decision(), acquire. Orders the zero in seq before these:
	 * a helper with a half-new copy finds out. */
	atomic_store_explicit(&d->off,
			      (uint64_t)((uintptr_t)w - (uintptr_t)c->base),
			      memory_order_release);
	atomic_store_explicit(&d->from, from, memory_order_release);
	atomic_store_explicit(&d->to, to, memory_order_release);
	return d + 1;
}

static inline void claim_add(struct claim *c, word_t *w, uint64_t from,
			     uint64_t to)
{
	check(c->next < c->end);
	c->next = claim_put(c, c->next, w, from, to);
}

static inline word_t *claim_word_at(uint8_t *base, uint64_t off)
{
	return (word_t *)(void *)(base + off);
}

static inline void claim_swing(word_t *w, uint64_t from, uint64_t to)
{
	/* PAIRS: claim_load(), acquire. Publishes nothing but the word itself
	 * and the fact that the gate left its version before. A failure means
	 * that somebody else made this very change: not an error, and what
	 * was loaded is not used, so relaxed there. */
	atomic_compare_exchange_strong_explicit(
		w, &from, to, memory_order_release, memory_order_relaxed);
}

/* The decision, of the words before `end`. `version` is what claim_settle()
 * returned, `next` > version the gate's next even value. False: somebody else
 * got through first, nothing was changed; settle and compute again. */
static inline bool claim_commit_words(struct claim *c, struct claim_word *end,
				      word_t *gate, uint64_t version,
				      uint64_t next)
{
	struct descriptor *d = c->descriptor;
	uint8_t *base = c->base;
	uint64_t seq = ++c->seq;
	uint64_t name = seq << 8 | (uint64_t)c->owner << 1 | 1;
	uint64_t expected = version;
	struct claim_word *w;

	check_hot((version & 1) == 0 && (next & 1) == 0 && next > version);
	/* PAIRS: copy_decision(), acquire; the reason is claim_add()'s. */
	atomic_store_explicit(&d->gate_off, claim_offset(c->arena, gate),
			      memory_order_release);
	atomic_store_explicit(&d->gate_next, next, memory_order_release);
	atomic_store_explicit(&d->bytes,
			      (uint64_t)((uintptr_t)end - (uintptr_t)d->words),
			      memory_order_release);
	atomic_store_explicit(&d->last_seq, seq, memory_order_release);
	/* PAIRS: copy_decision(), acquire on seq. Publishes all fields above.
	 */
	atomic_store_explicit(&d->seq, seq, memory_order_release);

	/* PAIRS: claim_settle(), acquire on the gate. Publishes the descriptor.
	 * On failure nothing that was loaded is used: relaxed. */
	if (!atomic_compare_exchange_strong_explicit(gate, &expected, name,
						     memory_order_release,
						     memory_order_relaxed))
		return false;

	for (w = d->words; w < end; w++)
		/* PAIRS: nothing. Our own stores, read back. */
		claim_swing(
			claim_word_at(base,
				      atomic_load_explicit(
					      &w->off, memory_order_relaxed)),
			atomic_load_explicit(&w->from, memory_order_relaxed),
			atomic_load_explicit(&w->to, memory_order_relaxed));
	/* The gate's release also publishes the words: PAIRS claim_settle(). */
	claim_swing(gate, name, next);
	return true;
}

/* The same of what was added; the gate's next value is version + 2, or `next`.
 */
bool claim_commit(struct claim *c, word_t *gate, uint64_t version);
bool claim_commit_to(struct claim *c, word_t *gate, uint64_t version,
		     uint64_t next);

/* False: what is in this descriptor cannot have been written by us, the arena
 * is damaged. */
bool claim_descriptor_sane(const struct descriptor *d);

/* After opening an arena and before anybody claims: completes what dead
 * owners had decided. Returns how many it completed. */
unsigned claim_recover(struct arena *a);

#endif
