/* SPDX-License-Identifier: MIT */
#include "gate/meter.h"

#include "base/check.h"
#include "gate/window.h"

/* ---- the entries of a window ---- */

#define NEAR 4 /* entries that are looked at one after the other */

/* Entries that came later follow `from`, up to the newest. Those after that are
 * older, or not used yet. */
uint64_t window_seek_newest(const word_t *entries, uint64_t mask, unsigned bits,
			    uint64_t from)
{
	uint64_t at = from, e = claim_load(&entries[at]), lo, hi;
	unsigned steps;

	if (e >> bits == 0) {
		/* Not used yet: a hint of another ring. Before the first lap
		 * is over, entries are used from 1 on. */
		at = 0;
		e = claim_load(&entries[0]);
	}
	for (steps = 0; steps < NEAR; steps++) {
		uint64_t next = claim_load(&entries[(at + 1) & mask]);

		if (next >> bits <= e >> bits)
			return at;
		at = (at + 1) & mask;
		e = next;
	}
	for (lo = 0, hi = mask + 1; hi - lo > 1;) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (claim_load(&entries[(at + mid) & mask]) >> bits > e >> bits)
			lo = mid;
		else
			hi = mid;
	}
	return (at + lo) & mask;
}

uint64_t window_seek_first(const word_t *entries, uint64_t mask,
			   uint64_t newest, uint64_t from, uint64_t dead)
{
	/* Indexes here run from the oldest to end, the newest. */
	uint64_t oldest = newest + 1, end = oldest + mask, step = 1;
	uint64_t lo = oldest + ((from - oldest) & mask), hi;

	/* Too far: another lap, or a longer window. */
	if (lo != oldest && claim_load(&entries[(lo - 1) & mask]) > dead)
		lo = oldest;
	for (hi = lo; hi < end && claim_load(&entries[hi & mask]) <= dead;
	     step *= 2) {
		lo = hi + 1;
		hi += step;
	}
	if (hi > end)
		hi = end;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (claim_load(&entries[mid & mask]) > dead)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo & mask;
}

static void read_window(struct view *v, struct arena *a,
			const struct rule *rule, struct meter *meter,
			word_t *entries, unsigned entries_log2,
			const struct instant *now)
{
	uint64_t ring = 0;

	if (entries == NULL) {
		ring = claim_load(&meter->ring);
		entries = ring_entries(a, ring);
		entries_log2 = RING_LOG2(ring);
	}
	if (likely((ring & RING_COARSE) == 0))
		window_read(v, EXACT_BITS, rule, meter, entries, entries_log2,
			    now);
	else
		window_read(v, COARSE_BITS, rule, meter, entries, entries_log2,
			    now);
}

static void charge_window(struct view *v, uint32_t units)
{
	if (likely(v->bits == EXACT_BITS))
		window_charge(v, EXACT_BITS, false, units);
	else
		window_charge(v, COARSE_BITS, false, units);
}

/* Ticks until `need` more of the units have left than there have now. */
static uint64_t left_in(const struct view *v, uint64_t need)
{
	uint64_t keep = v->used - need; /* may stay */
	uint64_t lo = v->first, hi = lo + ((v->newest - lo) & v->mask) + 1;

	/* What is charged but not in memory leaves last. */
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (((v->total - entry(v, mid)) & total_mask(v->bits)) <= keep)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (((lo - v->first) & v->mask) > ((v->newest - v->first) & v->mask))
		return leaves_in(v, v->newest_stamp);
	return leaves_in(v, entry_stamp(v->bits, entry(v, lo)));
}

static void answer_window(const struct view *v, uint32_t units,
			  struct meter_answer *out)
{
	uint32_t limit = v->rule->limit;

	out->remaining = v->used < limit ? limit - (uint32_t)v->used : 0;
	out->reset_ms = window_rests_ms(v);
	out->retry_ms = window_more_ms(v);
	/* The straight lines do not say that they have none. */
	if (unlikely(v->rule->prior[0] != 0) && v->priors != 0) {
		view_answer_parts(v, units, out);
		return;
	}
	if (out->fits)
		return;
	if (units > limit)
		out->retry_ms = 0;
	else if (v->live)
		out->retry_ms =
			ticks_to_ms(left_in(v, v->used + units - limit));
}

/* ---- GCRA ---- */

static inline uint64_t burst_ns(const struct rule *r)
{
	return r->limit * r->unit_ns;
}

/* TAT, or now at rest. */
static inline uint64_t tat(const struct view *v)
{
	return v->level > v->now.ns ? v->level : v->now.ns;
}

static inline uint64_t gcra_room_ns(const struct view *v)
{
	uint64_t used = tat(v) - v->now.ns;

	return used < burst_ns(v->rule) ? burst_ns(v->rule) - used : 0;
}

static void read_gcra(struct view *v)
{
	v->word = &v->meter->level;
	v->from = v->to = claim_load(v->word);
	v->level = v->from > v->base ? v->from - v->base : 0;
}

static void answer_gcra(const struct view *v, uint32_t units,
			struct meter_answer *out)
{
	const struct rule *r = v->rule;
	uint64_t used = tat(v) - v->now.ns, room = gcra_room_ns(v);
	uint64_t retry = 0;

	out->remaining = (uint32_t)(room / r->unit_ns);
	if (!out->fits)
		retry = units > r->limit
				? 0
				: used + units * r->unit_ns - burst_ns(r);
	else if (used != 0)
		retry = r->unit_ns - room % r->unit_ns;
	out->reset_ms = (used + 999999) / 1000000;
	out->retry_ms = (retry + 999999) / 1000000;
}

/* ---- concurrency ---- */

/* Nobody knows when a lease comes back; then ask again. */
#define LEASE_RETRY_MS 1000u

static void read_leases(struct view *v)
{
	v->word = &v->meter->level;
	v->from = v->to = claim_load(v->word);
	v->level = METER_LEASES(v->from);
}

static void answer_leases(const struct view *v, uint32_t units,
			  struct meter_answer *out)
{
	const struct rule *r = v->rule;

	out->remaining =
		v->level < r->limit ? r->limit - (uint32_t)v->level : 0;
	out->reset_ms = v->level ? r->span / CLOCK_TICKS_PER_MS : 0;
	out->retry_ms = 0;
	if (!out->fits && units <= r->limit)
		out->retry_ms = out->reset_ms < LEASE_RETRY_MS ? out->reset_ms
							       : LEASE_RETRY_MS;
}

/* ---- all of them ---- */

void view_read(struct view *v, struct arena *a, const struct rule *rule,
	       struct meter *meter, word_t *entries, unsigned entries_log2,
	       const struct instant *now)
{
	v->before = 0;
	v->priors = 0;
	if (rule->algorithm == RULE_WINDOW) {
		read_window(v, a, rule, meter, entries, entries_log2, now);
		return;
	}
	v->rule = rule;
	v->meter = meter;
	v->now = *now;
	v->base = claim_load(&meter->base);
	if (rule->algorithm == RULE_GCRA)
		read_gcra(v);
	else
		read_leases(v);
}

bool view_fits(const struct view *v, uint32_t units)
{
	const struct rule *r = v->rule;

	if (units > r->limit)
		return false;
	switch (r->algorithm) {
	case RULE_WINDOW:
		return v->used <= r->limit - units;
	case RULE_GCRA:
		return units * r->unit_ns <= gcra_room_ns(v);
	default:
		return v->level + units <= r->limit;
	}
}

void view_charge(struct view *v, uint32_t units)
{
	switch (v->rule->algorithm) {
	case RULE_WINDOW:
		charge_window(v, units);
		return;
	case RULE_GCRA:
		v->level = tat(v) + units * v->rule->unit_ns;
		v->to = v->level + v->base;
		return;
	default:
		v->level += units;
		v->to = METER_FLIGHT((v->from >> 24) + 1, v->level - v->before);
		return;
	}
}

void view_answer(const struct view *v, uint32_t units,
		 struct meter_answer *ret_answer)
{
	ret_answer->fits = view_fits(v, units);
	ret_answer->limit = v->rule->limit;
	ret_answer->window_ms = v->rule->period_ms;
	switch (v->rule->algorithm) {
	case RULE_WINDOW:
		answer_window(v, units, ret_answer);
		return;
	case RULE_GCRA:
		answer_gcra(v, units, ret_answer);
		return;
	default:
		answer_leases(v, units, ret_answer);
		return;
	}
}

bool view_less(const struct view *v, uint32_t *least)
{
	const struct rule *r = v->rule;
	uint64_t room, used;

	if (r->algorithm == RULE_GCRA) {
		room = gcra_room_ns(v);
		/* Most often that can be said without a division. */
		if (*least <= r->limit && room >= *least * r->unit_ns)
			return false;
		room /= r->unit_ns;
	} else {
		used = r->algorithm == RULE_WINDOW ? v->used : v->level;
		room = used < r->limit ? r->limit - used : 0;
	}
	if (room >= *least)
		return false;
	*least = (uint32_t)room;
	return true;
}

void view_charged(const struct view *v)
{
	if (v->rule->algorithm == RULE_WINDOW)
		window_leave_hint(v->meter, window_hint(v));
}

bool meter_rests(const struct rule *rule, struct arena *a,
		 const struct meter *meter, word_t *entries,
		 unsigned entries_log2, const struct instant *now)
{
	struct view v;

	view_read(&v, a, rule, (struct meter *)(uintptr_t)meter, entries,
		  entries_log2, now);
	switch (rule->algorithm) {
	case RULE_WINDOW:
		return !v.live;
	case RULE_GCRA:
		return v.level <= now->ns;
	default:
		return v.level == 0;
	}
}

unsigned meter_ring_log2(uint32_t limit)
{
	unsigned log2 = 3;

	check(limit <= LIMIT_MAX);
	if (meter_coarse(limit))
		return METER_COARSE_LOG2;
	while ((UINT32_C(1) << log2) < limit)
		log2++;
	return log2;
}

/* ---- control ---- */

/* Fills a ring that nobody reads yet, oldest first. */
struct filler {
	word_t *entries;
	unsigned bits;
	uint64_t mask, at, stamp, total, grain;
};

static void filler_init_at(struct filler *f, const struct rule *rule,
			   word_t *entries, unsigned entries_log2,
			   unsigned bits)
{
	f->bits = bits;
	f->entries = entries;
	f->mask = (UINT64_C(1) << entries_log2) - 1;
	f->at = f->stamp = f->total = 0;
	f->grain = grain_of(rule, f->bits, f->mask);
}

static void filler_init(struct filler *f, struct arena *a,
			const struct rule *rule, uint64_t ring)
{
	filler_init_at(f, rule, ring_entries(a, ring), RING_LOG2(ring),
		       ring_bits(ring));
}

static void filler_put(struct filler *f, uint64_t stamp, uint64_t units)
{
	stamp = (stamp + f->grain - 1) / f->grain * f->grain;
	if (stamp > f->stamp) {
		f->at++;
		f->stamp = stamp;
	}
	f->total += units;
	/* PAIRS: nothing. Published by the claim of the ring's word, or before
	 * others run. */
	atomic_store_explicit(&f->entries[f->at & f->mask],
			      entry_make(f->bits, f->stamp, f->total),
			      memory_order_relaxed);
}

static void filler_done(const struct filler *f, struct meter *meter)
{
	/* PAIRS: window_read(), relaxed: a hint. */
	atomic_store_explicit(&meter->level,
			      HINT(f->at & f->mask, f->at != 0 ? 1 : 0),
			      memory_order_relaxed);
}

/* What has been admitted since `stamp` and `total`, which are moved on. */
static void fill_newer(struct filler *f, const struct view *v, uint64_t *stamp,
		       uint64_t *total)
{
	uint64_t back = (v->newest - v->first) & v->mask;

	while (back > 0 &&
	       entry_stamp(v->bits, entry(v, v->newest - back)) < *stamp)
		back--;
	for (;; back--) {
		uint64_t e = back > 0 ? entry(v, v->newest - back) : v->from;
		uint64_t sum = e & total_mask(v->bits);
		uint64_t units = (sum - *total) & total_mask(v->bits);

		if (units != 0)
			filler_put(f, entry_stamp(v->bits, e), units);
		*stamp = entry_stamp(v->bits, e);
		*total = sum;
		if (back == 0)
			return;
	}
}

void meter_move_ring(struct claim *c, word_t *gate, struct meter *meter,
		     const struct rule *from, const struct rule *to,
		     uint64_t ring)
{
	uint64_t version, stamp = 0, total = 0;
	struct filler f;
	bool live;

	if (meter_coarse(to->limit))
		ring |= RING_COARSE;
	filler_init(&f, c->arena, to, ring);
	/* Each round copies only what came since the last one: soon that is
	 * less than anybody needs for a decision. */
	for (;;) {
		struct instant now = instant_now();
		struct view v;
		uint64_t old;

		version = claim_settle(c->arena, gate, c->counters);
		now = step_instant(&now, version);
		old = claim_load(&meter->ring);
		view_read(&v, c->arena, from, meter, NULL, 0, &now);
		if (!claim_unchanged(gate, version))
			continue;
		live = from->algorithm == RULE_WINDOW && v.live;
		/* What has left since the last round is passed by. */
		if (live && stamp < v.first_stamp)
			total = (v.total - v.used) & total_mask(v.bits);
		if (live)
			fill_newer(&f, &v, &stamp, &total);
		claim_begin(c);
		claim_add(c, &meter->ring, old, ring);
		/* What has left by now is not copied: nobody may decide any
		 * more at an instant when it counted. */
		if (claim_commit_to(c, gate, version, step_next(&now, version)))
			break;
	}
	filler_done(&f, meter);
}

void meter_reset(struct claim *c, word_t *gate, const struct rule *rule,
		 struct meter *meter, word_t *entries, unsigned entries_log2)
{
	uint64_t version, from, to;

	do {
		struct instant now = instant_now();
		struct view v;

		version = claim_settle(c->arena, gate, c->counters);
		from = claim_load(&meter->base);
		view_read(&v, c->arena, rule, meter, entries, entries_log2,
			  &now);
		if (rule->algorithm == RULE_WINDOW)
			to = v.live ? v.from : from;
		else if (rule->algorithm == RULE_GCRA)
			to = from + (tat(&v) - v.now.ns);
		else
			return; /* leases are ended, not forgotten */
		if (to == from) {
			if (claim_unchanged(gate, version))
				return;
			continue;
		}
		claim_begin(c);
		claim_add(c, &meter->base, from, to);
	} while (!claim_commit(c, gate, version));
}

void meter_seal(struct arena *a, const struct rule *rule, struct meter *meter,
		word_t *entries, unsigned entries_log2,
		const struct instant *now)
{
	struct view v;
	uint64_t base;

	if (rule->algorithm != RULE_WINDOW)
		return;
	view_read(&v, a, rule, meter, entries, entries_log2, now);
	base = v.base;
	if (v.live || v.from <= base)
		return;
	/* PAIRS: window_read(), acquire; whichever of the two it finds, these
	 * entries do not count, and one that was charged since is larger. So
	 * it guards nothing and needs no claim. This thread alone changes it.
	 */
	atomic_compare_exchange_strong_explicit(&meter->base, &base, v.from,
						memory_order_relaxed,
						memory_order_relaxed);
}

size_t view_admissions(const struct view *v, struct admission *out, size_t cap)
{
	uint64_t back = (v->newest - v->first) & v->mask, prev;
	size_t n = 0;

	if (!v->live || cap == 0)
		return 0;
	prev = v->total - v->used;
	if (back >= cap) {
		uint64_t e = entry(v, v->newest - cap);

		back = cap - 1;
		if (entry_stamp(v->bits, e) <= v->newest_stamp)
			prev = e;
	}
	for (;; back--) {
		uint64_t e = back > 0 ? entry(v, v->newest - back) : v->from;

		/* Overwritten since: it has left; its units stay with those
		 * after it. */
		if (entry_stamp(v->bits, e) > v->newest_stamp)
			continue;
		out[n].stamp = entry_stamp(v->bits, e);
		out[n].units = (uint32_t)((e - prev) & total_mask(v->bits));
		n++;
		prev = e;
		if (back == 0)
			return n;
	}
}

static void restore(struct filler *f, uint32_t limit, struct meter *meter,
		    const struct admission *in, size_t count)
{
	size_t i = 0, room = f->mask;

	/* In a full ring the units of the oldest are not known any more, but
	 * taken for 1 (see window_read()). */
	if (count == room + 1 && limit <= count && in[0].units == 1)
		room++;
	if (count > room) {
		uint64_t units = 0;

		for (; i < count - room; i++)
			units += in[i].units;
		filler_put(f, in[i].stamp, units);
	}
	for (; i < count; i++)
		filler_put(f, in[i].stamp, in[i].units);
	filler_done(f, meter);
}

void meter_restore(struct arena *a, const struct rule *rule,
		   struct meter *meter, const struct admission *in,
		   size_t count)
{
	struct filler f;

	/* PAIRS: nothing. Nobody else runs yet. */
	filler_init(&f, a, rule,
		    atomic_load_explicit(&meter->ring, memory_order_relaxed));
	restore(&f, rule->limit, meter, in, count);
}

void meter_restore_at(const struct rule *rule, struct meter *meter,
		      word_t *entries, unsigned entries_log2,
		      const struct admission *in, size_t count)
{
	struct filler f;

	filler_init_at(&f, rule, entries, entries_log2, EXACT_BITS);
	restore(&f, rule->limit, meter, in, count);
}
