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

/* How far after `at`, whose entry is `e`, the newest is. (By value, as all that
 * is not inline here: a view whose address nobody takes stays in registers.) */
uint64_t window_newest_after(const word_t *entries, uint64_t mask,
			     unsigned bits, uint64_t at, uint64_t e);

#define NEAR 4 /* entries that are looked at one after the other */

/* The newest entry: from the hint on, as long as stamps grow. */
static inline uint64_t find_newest(struct view *v, unsigned bits, uint64_t hint)
{
	uint64_t at = hint >> 32 & v->mask, steps = 0;
	uint64_t e = entry(v, at);

	if (unlikely(e >> bits == 0)) {
		/* Not used yet: a hint of another ring. Before the first lap
		 * is over, entries are used from 1 on. */
		at = 0;
		e = entry(v, at);
	}
	for (;;) {
		uint64_t next = entry(v, at + 1);

		if (next >> bits <= e >> bits)
			break;
		if (unlikely(steps++ == NEAR)) {
			at += window_newest_after(v->entries, v->mask, bits,
						  at, e);
			e = entry(v, at);
			at &= v->mask;
			break;
		}
		at = (at + 1) & v->mask;
		e = next;
	}
	v->newest = at;
	return e;
}

/* Sets first to the oldest entry that counts, given that the newest does, and
 * returns the one before it; when there is none (all entries count), itself. */
static inline uint64_t find_first(struct view *v, uint64_t hint)
{
	uint64_t oldest = v->newest + 1, from = hint & UINT32_MAX, before;
	uint64_t lo, hi, end = v->newest + 1 + v->mask, step = 1;

	/* Indexes from here on run from oldest to end, the newest. */
	from = oldest + ((from - oldest) & v->mask);
	before = entry(v, from - 1);
	if (from == oldest) {
		before = entry(v, from);
	} else if (counts(v, before)) {
		/* Too far: another lap, or a longer window. */
		from = oldest;
		before = entry(v, from);
	}
	lo = hi = from;
	while (hi < end) {
		uint64_t e = entry(v, hi);

		if (counts(v, e))
			break;
		before = e;
		lo = hi + 1;
		hi += step;
		step *= 2;
	}
	if (hi > end)
		hi = end;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		uint64_t e = entry(v, mid);

		if (counts(v, e)) {
			hi = mid;
		} else {
			before = e;
			lo = mid + 1;
		}
	}
	v->first = lo & v->mask;
	if (lo == oldest)
		before = entry(v, lo);
	return before;
}

static __attribute__((always_inline)) inline void
read_entries(struct view *v, unsigned bits, uint64_t hint)
{
	uint64_t e;

	v->dead = dead_entry(v, bits);
	e = find_newest(v, bits, hint);
	v->newest_stamp = entry_stamp(bits, e);
	v->total = e & total_mask(bits);
	v->used = 0;
	v->live = counts(v, e);
	v->first = v->newest;
	v->first_stamp = v->newest_stamp;
	if (v->live) {
		uint64_t before = find_first(v, hint);
		uint64_t first = entry(v, v->first);

		v->first_stamp = entry_stamp(bits, first);
		v->used = (v->total - before) & total_mask(bits);
		/* All entries count: how many units the oldest stands for is
		 * not known any more, at least one. There is no room anyway:
		 * the ring has as many entries as the limit units. */
		if (unlikely(before == first)) {
			v->used++;
			if (v->used < v->rule->limit)
				v->used = v->rule->limit;
		}
	}
	v->word = &v->entries[v->newest];
	v->from = v->to = e;
}

/* `bits` are those of the entries; said where the compiler knows them. */
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

static inline uint64_t admission_stamp(const struct view *v, unsigned bits)
{
	uint64_t stamp = v->now.ticks;
	uint64_t reset = entry_stamp(bits, v->base);
	uint64_t grain = grain_of(v->rule, bits, v->mask);

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

static __attribute__((always_inline)) inline void
window_charge(struct view *v, unsigned bits, uint32_t units)
{
	uint64_t stamp = admission_stamp(v, bits);

	if (stamp != v->newest_stamp && v->from == v->to && !crowded(v)) {
		v->word = &v->entries[(v->newest + 1) & v->mask];
		v->from = claim_load(v->word);
	}
	v->total += units;
	v->used += units;
	v->newest_stamp = stamp;
	if (!v->live)
		v->first_stamp = stamp;
	v->live = true;
	v->to = entry_make(bits, stamp, v->total);
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

/* Where the next one should begin to look, once the claim got through; false:
 * where this one did. */
static inline bool window_hint(const struct view *v, uint64_t *ret_hint)
{
	uint64_t newest = (uint64_t)(v->word - v->entries);

	if (newest == v->newest && v->first == v->newest)
		return false;
	*ret_hint = HINT(newest, v->used == 0 ? newest : v->first);
	return true;
}

static inline void window_leave_hint(struct meter *m, uint64_t hint)
{
	/* PAIRS: window_read(), relaxed: a hint. */
	atomic_store_explicit(&m->level, hint, memory_order_relaxed);
}

static inline void window_charged(const struct view *v)
{
	uint64_t hint;

	if (window_hint(v, &hint))
		window_leave_hint(v->meter, hint);
}

#endif
