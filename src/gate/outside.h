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
 * Exactness  never more than the limit. A check may be denied for units that
 *            are held and then let go, or that are admitted just when it looks
 *            (then they count twice): by at most one batch of each other
 *            worker on this one address.
 * Death      what was held by a process that died is admitted by the next one
 *            (outside_recover): charged until the window has passed, never
 *            forgotten.
 * Threads    workers, inside an epoch section. An address has a gate of its
 *            own, under which its admissions are claimed.
 * Proof      tests/gate/outside_test.c,
 *            tests/interleave/outside_interleave.c (all orders of a few, death)
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
/* Exactly once for each hold. */
void outside_release(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2, uint32_t units,
		     const struct instant *now, bool admitted);
/* At start, before workers: see Death. */
void outside_recover(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2,
		     const struct instant *now);
/* For subjects_retire(). */
bool outside_rests(struct arena *a, const struct rule *r,
		   const struct outside *o, word_t *entries,
		   unsigned entries_log2, const struct instant *now);

#endif
