/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_OUTSIDE_H
#define STILE_GATE_OUTSIDE_H

/*
 * gate/outside - rules that count something which belongs to no organization:
 * the client's address, over all organizations of a plan.
 *
 * Does       before the organization decides, the units are *held* at the
 *            address: they count for everybody who asks meanwhile. If the
 *            organization allows, they are admitted there and let go; if it
 *            denies, only let go.
 *            In flight, a lease is taken at the address before. If the
 *            organization denies it is given back; if it allows, the check's
 *            hold names it (LEASE_OUTSIDE), and whoever gets the end of the
 *            hold through gives it back then (gate/settle.c): there is one
 *            such thread, so once.
 * Exactness  never more than the limit. A check may be denied for units that
 *            are held and then let go, or that are admitted just when it looks
 *            (then they count twice), and for leases that are given back: by
 *            at most one batch of each other worker on this one address.
 *            Leases out are, at any moment, exactly those of the live holds;
 *            of checks in the middle of a decision, as above; and of holds
 *            that have ended while the thread that ended them is on its way to
 *            give them back: one hold of each thread. The last two deny and
 *            never admit; nothing else is ever in the word.
 * Death      what was held by a process that died is admitted by the next one
 *            (outside_recover): charged until the window has passed, never
 *            forgotten. Leases are set to what live holds name
 *            (state/registry_leases.c).
 * Threads    workers, inside an epoch section; leases are given back by the
 *            control thread too. An address has a gate of its own, under which
 *            its admissions are claimed; its leases are one word, with no gate.
 * Progress   lock-free; a lease is given back wait-free.
 * Reuse      a lease that is out keeps the address its entry, since that is not
 *            at rest; what names the word forgets it before its table goes
 *            (leases_forget()).
 * Proof      tests/gate/outside_{,flight_}test.c,
 *            tests/torture/{outside_torture,flight_torture,claim_kill}.c
 *            (threads, death),
 *            tests/interleave/{outside,lease,settle}_interleave.c (all orders
 *            of a few, death)
 */
#include "gate/meter.h"
#include "gate/subjects.h"

/* The state of an address: a meter, what is held, and for a window its
 * entries (from the second line on). */
struct outside {
	struct meter meter;
	word_t held;
	word_t gate; /* as an organization's */
};

/* An IPv4 address by itself, an IPv6 one by its /64. */
uint64_t outside_subject(uint64_t seed, const uint8_t address[static 16]);
/* Are the two addresses one subject? */
bool outside_same(const uint8_t a[static 16], const uint8_t b[static 16]);

/* Bytes of a state, for the table. */
uint32_t outside_stride(const struct rule *r, unsigned entries_log2);

/* The entries of a window, in a state of any level. */
static inline word_t *subject_entries(const struct rule *r, struct outside *o)
{
	return r->algorithm == RULE_WINDOW
		       ? (word_t *)(void *)((uint8_t *)o + LINE_BYTES)
		       : NULL;
}

static inline unsigned subject_log2(const struct rule *r, uint32_t stride)
{
	return r->algorithm == RULE_WINDOW
		       ? (unsigned)__builtin_ctz((stride - LINE_BYTES) /
						 (uint32_t)sizeof(word_t))
		       : 0;
}

/* Holds the units if there is room, and answers. */
bool outside_hold(struct arena *a, const struct rule *r, struct outside *o,
		  word_t *entries, unsigned entries_log2, uint32_t units,
		  const struct instant *now, struct meter_answer *ret_answer);
/* Exactly once for each hold. `admitted`: a lease stays out, and the check's
 * hold has it. */
void outside_release(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2, uint32_t units,
		     const struct instant *now, bool admitted);
/* The lease of a hold that has ended: by the thread whose claim ended it, once,
 * in the epoch section in which it read it. */
void outside_end_lease(word_t *level);
/* At start, before workers: see Death. Windows and GCRA. */
void outside_recover(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2,
		     const struct instant *now);
/* For subjects_retire(). */
bool outside_rests(struct arena *a, const struct rule *r,
		   const struct outside *o, word_t *entries,
		   unsigned entries_log2, const struct instant *now);

#endif
