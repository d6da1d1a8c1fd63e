/* SPDX-License-Identifier: MIT */
#include "gate/claim.h"

#include "base/check.h"
#include "base/counters.h"

/*
 * The gate of an organization
 *
 *	even  version << 1: grows, at an organization with the time
 *	odd   seq << 8 | owner << 1 | 1: the decision `seq` of `owner`
 *
 * An owner writes its descriptor, then swings the gate from the version it
 * computed with to the descriptor's name. That CAS is the decision: it can
 * only succeed if nothing was decided since. Then each word goes from its old
 * to its new value, then the gate goes to the next version. The last two
 * steps are idempotent, so anyone who meets the odd gate does them too.
 *
 * A helper copies the descriptor first and believes the copy only if `seq`
 * was the gate's before and after. If it was not, the decision is complete
 * already: an owner re-uses its descriptor only after the gate moved on.
 *
 * Proof by test: tests/torture/claim_torture.c (threads), claim_kill.c (death
 * between any two instructions), claim_late.c (a helper that was stopped
 * anywhere, while the owner went on). By all orders of a few threads, and
 * death: tests/interleave/claim_interleave.c, tests/models/claim.pml.
 */

/* Pauses before helping: the owner is most likely about to finish, and two
 * threads completing the same decision slow each other down. 0 in
 * tests/interleave, which is not in a hurry. */
#ifndef HELP_PATIENCE
#define HELP_PATIENCE 64
#endif

#define NAME_SEQ(name) ((name) >> 8)
#define NAME_OWNER(name) ((unsigned)((name) >> 1) & 127u)

struct decision {
	uint64_t gate_off;
	uint64_t gate_next;
	unsigned count;
	struct {
		uint64_t off, from, to;
	} words[CLAIM_WORDS_MAX];
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Any number of bytes: it may be of a damaged arena. */
static inline unsigned words_in(uint64_t bytes)
{
	return bytes <= sizeof(struct claim_word) * CLAIM_WORDS_MAX
		       ? (unsigned)(bytes / sizeof(struct claim_word))
		       : CLAIM_WORDS_MAX + 1;
}

void claim_init(struct claim *c, struct arena *a, uint32_t owner,
		struct counters *counters)
{
	check(owner < ARENA_OWNERS);
	c->arena = a;
	c->owner = owner;
	c->descriptor = &a->descriptors[owner];
	c->counters = counters;
	c->base = a->base;
	c->next = c->descriptor->words;
	c->end = c->descriptor->words + CLAIM_WORDS_MAX;
	/* PAIRS: nothing. Only the owner reads or writes last_seq; a restart
	 * that follows is ordered by the process's end. */
	c->seq = atomic_load_explicit(&c->descriptor->last_seq,
				      memory_order_relaxed);
}

bool claim_commit(struct claim *c, word_t *gate, uint64_t version)
{
	return claim_commit_to(c, gate, version, version + 2);
}

bool claim_commit_to(struct claim *c, word_t *gate, uint64_t version,
		     uint64_t next)
{
	return claim_commit_words(c, c->next, gate, version, next);
}

/* False: the descriptor means something else by now. */
static bool copy_decision(struct arena *a, uint64_t name, struct decision *out)
{
	struct descriptor *d = &a->descriptors[NAME_OWNER(name)];
	unsigned i;

	/* PAIRS: claim_commit(), release on seq: the fields are complete. */
	if (atomic_load_explicit(&d->seq, memory_order_acquire) !=
	    NAME_SEQ(name))
		return false;
	/* PAIRS: claim_add() and claim_commit(), release on each field: if one
	 * of them is newer than `name`, the load of seq at the end sees so. */
	out->gate_off =
		atomic_load_explicit(&d->gate_off, memory_order_acquire);
	out->gate_next =
		atomic_load_explicit(&d->gate_next, memory_order_acquire);
	out->count =
		words_in(atomic_load_explicit(&d->bytes, memory_order_acquire));
	if (out->count > CLAIM_WORDS_MAX)
		return false;
	for (i = 0; i < out->count; i++) {
		struct claim_word *w = &d->words[i];

		out->words[i].off =
			atomic_load_explicit(&w->off, memory_order_acquire);
		out->words[i].from =
			atomic_load_explicit(&w->from, memory_order_acquire);
		out->words[i].to =
			atomic_load_explicit(&w->to, memory_order_acquire);
	}
	/* PAIRS: claim_begin(); the acquire loads above order this one. */
	return atomic_load_explicit(&d->seq, memory_order_relaxed) ==
	       NAME_SEQ(name);
}

static void claim_apply(struct arena *a, uint64_t name,
			const struct decision *dec)
{
	unsigned i;

	for (i = 0; i < dec->count; i++)
		claim_swing(claim_word_at(a->base, dec->words[i].off),
			    dec->words[i].from, dec->words[i].to);
	claim_swing(claim_word_at(a->base, dec->gate_off), name,
		    dec->gate_next);
}

uint64_t claim_help(struct arena *a, word_t *gate, uint64_t name,
		    struct counters *counters)
{
	struct decision dec;
	unsigned patience = HELP_PATIENCE;

	for (;;) {
		uint64_t now;

		pause_cpu();
		/* PAIRS: as in claim_settle(). */
		now = atomic_load_explicit(gate, memory_order_acquire);
		if ((now & 1) == 0)
			return now;
		if (now != name) {
			name = now;
			patience = HELP_PATIENCE;
			continue;
		}
		if (patience-- > 0)
			continue;
		patience = HELP_PATIENCE;
		if (copy_decision(a, name, &dec)) {
			claim_apply(a, name, &dec);
			if (counters != NULL)
				counter_add(&counters->helps, 1);
		}
	}
}

static bool place_sane(uint64_t off)
{
	return off >= ARENA_ORGS_AT && off < ARENA_BYTES &&
	       off % sizeof(word_t) == 0;
}

bool claim_descriptor_sane(const struct descriptor *d)
{
	/* PAIRS: nothing, here and below. The owners are dead. */
	unsigned count =
		words_in(atomic_load_explicit(&d->bytes, memory_order_relaxed));
	unsigned i;

	if (atomic_load_explicit(&d->seq, memory_order_relaxed) == 0)
		return true;
	if (count > CLAIM_WORDS_MAX ||
	    !place_sane(
		    atomic_load_explicit(&d->gate_off, memory_order_relaxed)))
		return false;
	for (i = 0; i < count; i++)
		if (!place_sane(atomic_load_explicit(&d->words[i].off,
						     memory_order_relaxed)))
			return false;
	return true;
}

unsigned claim_recover(struct arena *a)
{
	struct decision dec;
	unsigned owner, completed = 0;

	for (owner = 0; owner < ARENA_OWNERS; owner++) {
		struct descriptor *d = &a->descriptors[owner];
		/* PAIRS: nothing. The owners are dead, and nobody else runs. */
		uint64_t seq =
			atomic_load_explicit(&d->seq, memory_order_relaxed);
		uint64_t name = seq << 8 | (uint64_t)owner << 1 | 1;
		word_t *gate;

		if (seq == 0 || !copy_decision(a, name, &dec))
			continue;
		gate = claim_word_at(a->base, dec.gate_off);
		if (atomic_load_explicit(gate, memory_order_relaxed) == name) {
			claim_apply(a, name, &dec);
			completed++;
		}
	}
	return completed;
}
