/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_WINDOW_H
#define STILE_GATE_WINDOW_H

/*
 * gate/window - the entries of an exact window read and added to, inline: for
 * gate/meter, which says what they mean, and for the straight lines of
 * gate/plain and gate/own.
 */
#include "gate/meter.h"

/* Bits of the total, and how much coarser than a tick the stamp is. Exact
 * windows: 2^46 ticks are 8.9 years, totals of at most LIMIT units apart
 * within 2^18. Coarse ones: 256 us, 2^40 of them 8.9 years as well. */
#define EXACT_BITS 18u
#define COARSE_BITS 24u
#define COARSE_SHIFT 6u
static_assert(METER_EXACT_MAX < 1u << (EXACT_BITS - 1),
	      "differences are clear");
static_assert(LIMIT_MAX < 1u << (COARSE_BITS - 1), "differences are clear");

static inline unsigned shift_of(unsigned bits)
{
	return bits == COARSE_BITS ? COARSE_SHIFT : 0;
}

static inline uint64_t total_mask(unsigned bits)
{
	return (UINT64_C(1) << bits) - 1;
}

static inline uint64_t entry_stamp(unsigned bits, uint64_t e)
{
	return e >> bits << shift_of(bits);
}

static inline uint64_t entry_make(unsigned bits, uint64_t stamp, uint64_t total)
{
	return stamp >> shift_of(bits) << bits | (total & total_mask(bits));
}

static inline unsigned ring_bits(uint64_t ring)
{
	return ring & RING_COARSE ? COARSE_BITS : EXACT_BITS;
}

static inline uint64_t entry(const struct view *v, uint64_t idx)
{
	return claim_load(&v->entries[idx & v->mask]);
}

static inline word_t *ring_entries(const struct arena *a, uint64_t ring)
{
	return (word_t *)(void *)(a->rings + RING_PLACE(ring) * LINE_BYTES);
}

/* A hint that fetches what will be read; of a GCRA some line or other. */
static inline void window_prefetch(const struct arena *a,
				   const struct meter *meter)
{
	/* PAIRS: nothing; a hint, and a hint where to look. */
	uint64_t hint =
		atomic_load_explicit(&meter->level, memory_order_relaxed);
	uint64_t ring =
		atomic_load_explicit(&meter->ring, memory_order_relaxed);
	uint64_t mask = (UINT64_C(1) << RING_LOG2(ring)) - 1;
	word_t *entries = ring_entries(a, ring);

	__builtin_prefetch(&entries[((hint >> 32) + 1) & mask], 1);
	__builtin_prefetch(&entries[hint & mask]);
}

/* Ticks until what has this stamp leaves: its tick may have ended just before
 * the next began, hence one more than the window. */
static inline uint64_t leaves_in(const struct view *v, uint64_t stamp)
{
	uint64_t at = stamp + v->rule->span + 1;

	return at > v->now.ticks ? at - v->now.ticks : 0;
}

/* The largest entry that does not count: its stamp has left, or a reset came
 * after it. */
static inline uint64_t dead_entry(const struct view *v, unsigned bits)
{
	uint64_t span = v->rule->span + 1, reset = entry_stamp(bits, v->base);
	uint64_t stamp = v->now.ticks > span ? v->now.ticks - span : 0;

	if (stamp < reset)
		stamp = reset;
	return entry_make(bits, stamp, total_mask(bits));
}

static inline bool counts(const struct view *v, uint64_t e)
{
	return e > v->dead;
}

/* Where newest and oldest were seen last, one half of the word each. */
#define HINT(newest, first) ((newest) << 32 | (first))

/* Where the newest entry is, and the oldest that counts given that the newest
 * does, when they are not where the hint says. (By value, as all that is not
 * inline here: a view whose address nobody takes stays in registers.) */
uint64_t window_seek_newest(const word_t *entries, uint64_t mask, unsigned bits,
			    uint64_t from);
uint64_t window_seek_first(const word_t *entries, uint64_t mask,
			   uint64_t newest, uint64_t from, uint64_t dead);

/* All entries count: how many units the oldest stands for is not known any
 * more, at least one. There is no room anyway: the ring has as many entries as
 * the limit units. */
static inline uint64_t used_by_all(const struct view *v, uint64_t oldest,
				   unsigned bits)
{
	uint64_t used = ((v->from - oldest) & total_mask(bits)) + 1;

	return used < v->rule->limit ? v->rule->limit : used;
}

/* `bits` are those of the entries; said where the compiler knows them. */
static __attribute__((always_inline)) inline void
read_entries(struct view *v, unsigned bits, uint64_t hint)
{
	uint64_t before, first;

	v->dead = dead_entry(v, bits);
	v->newest = hint >> 32 & v->mask;
	v->from = entry(v, v->newest);
	v->after = entry(v, v->newest + 1);
	/* Stamps grow up to the newest, and what is 0 was not used yet. */
	if (unlikely(v->after > v->from || v->from == 0)) {
		v->newest = window_seek_newest(v->entries, v->mask, bits,
					       v->newest);
		v->from = entry(v, v->newest);
		v->after = entry(v, v->newest + 1);
	}
	v->to = v->from;
	v->word = &v->entries[v->newest];
	v->newest_stamp = v->first_stamp = entry_stamp(bits, v->from);
	v->total = v->from & total_mask(bits);
	v->used = 0;
	v->first = v->newest;
	v->live = counts(v, v->from);
	if (!v->live)
		return;
	v->first = hint & v->mask;
	first = entry(v, v->first);
	before = entry(v, v->first - 1);
	/* Most often none has left since, or one. */
	if (!counts(v, first)) {
		v->first = (v->first + 1) & v->mask;
		before = first;
		first = entry(v, v->first);
	}
	/* What counts is one piece of the ring: does it begin here? */
	if (unlikely(!counts(v, first) || counts(v, before))) {
		v->first = window_seek_first(v->entries, v->mask, v->newest,
					     v->first, v->dead);
		first = entry(v, v->first);
		before = entry(v, v->first - 1);
	}
	v->first_stamp = entry_stamp(bits, first);
	if (unlikely(counts(v, before)))
		v->used = used_by_all(v, first, bits);
	else
		v->used = (v->from - before) & total_mask(bits);
}

static __attribute__((always_inline)) inline void
window_read(struct view *v, unsigned bits, const struct rule *rule,
	    struct meter *meter, word_t *entries, unsigned entries_log2,
	    const struct instant *now)
{
	v->rule = rule;
	v->meter = meter;
	v->now = *now;
	v->base = claim_load(&meter->base);
	v->bits = bits;
	v->entries = entries;
	v->mask = (UINT64_C(1) << entries_log2) - 1;
	/* PAIRS: nothing. A hint: any value leads to the same answer. */
	read_entries(v, bits,
		     atomic_load_explicit(&meter->level, memory_order_relaxed));
}

/* What stamps are rounded up to: what has fewer entries than units shares
 * them. */
static inline uint64_t grain_of(const struct rule *r, unsigned bits,
				uint64_t mask)
{
	uint64_t tick = UINT64_C(1) << shift_of(bits);

	if (likely(r->limit <= mask + 1))
		return tick;
	return (r->span / (mask - 1) + tick) & ~(tick - 1);
}

static inline uint64_t admission_stamp(const struct view *v, unsigned bits,
				       bool roomy)
{
	uint64_t reset = entry_stamp(bits, v->base), stamp = v->now.ticks;
	uint64_t grain = roomy ? UINT64_C(1) << shift_of(bits)
			       : grain_of(v->rule, bits, v->mask);

	if (unlikely(stamp <= reset))
		stamp = reset + 1;
	if (grain > 1)
		stamp = (stamp + grain - 1) / grain * grain;
	if (unlikely(stamp > CLOCK_TICK_MAX))
		stamp = CLOCK_TICK_MAX;
	return stamp > v->newest_stamp ? stamp : v->newest_stamp;
}

/* Fewer entries than units, and all but one of them count: the limit was lower
 * when they were written. The last is needed to tell what the oldest stands
 * for, so units join the newest until another has left. */
static inline bool crowded(const struct view *v)
{
	return unlikely(v->rule->limit > v->mask + 1) && v->live &&
	       ((v->newest - v->first) & v->mask) + 1 >= v->mask;
}

/* `roomy`: it is known that there are as many entries as units. */
static __attribute__((always_inline)) inline void
window_charge(struct view *v, unsigned bits, bool roomy, uint32_t units)
{
	uint64_t stamp = admission_stamp(v, bits, roomy);

	if (likely(stamp != v->newest_stamp) && v->from == v->to &&
	    (roomy || !crowded(v))) {
		v->word = &v->entries[(v->newest + 1) & v->mask];
		v->from = v->after;
	}
	v->total += units;
	v->used += units;
	v->newest_stamp = stamp;
	if (!v->live)
		v->first_stamp = stamp;
	v->live = true;
	v->to = entry_make(bits, stamp, v->total);
}

/* For the straight lines: an exact ring, with an entry for each unit. */
static inline bool window_roomy(uint64_t ring, uint32_t limit)
{
	return (ring & RING_COARSE) == 0 && limit <= UINT64_C(1)
							     << RING_LOG2(ring);
}

/*
 * Ticks to milliseconds, rounded up. The last tick is left out: it is there
 * because the check's own tick had begun already, and a reply needs longer than
 * 4 us to arrive. With it, a check that fills a window of 60 s would be told to
 * come back in 60,001 ms, which HTTP rounds to 61 s. A last tick that stands
 * alone is 1 ms: 0 would say that the window is at rest.
 */
static inline uint64_t ticks_to_ms(uint64_t ticks)
{
	if (ticks == 1)
		return 1;
	return (ticks + CLOCK_TICKS_PER_MS - 2) / CLOCK_TICKS_PER_MS;
}

/* Until it is at rest. */
static inline uint64_t window_rests_ms(const struct view *v)
{
	return v->live ? ticks_to_ms(leaves_in(v, v->newest_stamp)) : 0;
}

/* Until the next unit comes back. */
static inline uint64_t window_more_ms(const struct view *v)
{
	return v->live ? ticks_to_ms(leaves_in(v, v->first_stamp)) : 0;
}

/* Where the next one should begin to look, once the claim got through. */
static inline uint64_t window_hint(const struct view *v)
{
	uint64_t newest = (uint64_t)(v->word - v->entries);

	return HINT(newest, v->first);
}

static inline void window_leave_hint(struct meter *m, uint64_t hint)
{
	/* PAIRS: window_read(), relaxed: a hint. */
	atomic_store_explicit(&m->level, hint, memory_order_relaxed);
}

#endif
