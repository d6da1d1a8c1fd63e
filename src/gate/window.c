/* SPDX-License-Identifier: MIT */
#include "gate/window.h"

#include "base/check.h"
#include "base/counters.h"

/* An entry: stamp << LIMIT_BITS | units allowed before it, modulo 2^18. */
#define ENTRY_STAMP(e) ((e) >> LIMIT_BITS)
#define ENTRY(stamp, before) ((stamp) << LIMIT_BITS | ((before)&LIMIT_MASK))

/* Units between two totals, both modulo 2^18. Never more than half of it
 * apart, since a window holds at most LIMIT_MAX units. */
#define UNITS(later, earlier) (((later) - (earlier)) & LIMIT_MASK)

/* What one decision is computed from: the words of one version. */
struct view {
	struct arena *arena;
	uint64_t version;
	uint64_t head, tail, used, rule;
	uint64_t ring, ring_prev, ring_switch;
	word_t *entries; /* of `ring`, and their number less one */
	uint64_t mask;
	uint64_t now;          /* max(now, newest stamp) */
	uint64_t newest;       /* stamp of the newest entry */
	uint64_t first;        /* oldest entry that is in the window */
	uint64_t first_stamp;  /* its stamp; no meaning when there is none */
	uint64_t before_first; /* its total */
	uint32_t in_entries;   /* units in the window that entries stand for */
	uint32_t in_window;    /* and with what the claim at hand admits */
	bool live;             /* there are any */
};

static inline word_t *ring_entries(const struct arena *a, uint64_t ring)
{
	return (word_t *)(void *)(a->rings + RING_PLACE(ring) * LINE_BYTES);
}

static inline uint64_t ring_mask(uint64_t ring)
{
	return (UINT64_C(1) << RING_LOG2(ring)) - 1;
}

static inline word_t *entry_in(const struct arena *a, uint64_t ring,
			       uint64_t idx)
{
	return &ring_entries(a, ring)[idx & ring_mask(ring)];
}

static inline word_t *entry_at(const struct view *v, uint64_t idx)
{
	if (unlikely(idx < v->ring_switch))
		return entry_in(v->arena, v->ring_prev, idx);
	return &v->entries[idx & v->mask];
}

static inline uint64_t entry(const struct view *v, uint64_t idx)
{
	return claim_load(entry_at(v, idx));
}

static inline uint32_t view_limit(const struct view *v)
{
	return (uint32_t)(v->rule & LIMIT_MASK);
}

static inline uint64_t view_window(const struct view *v)
{
	return v->rule >> LIMIT_BITS;
}

/* Ticks until an entry leaves the window: its tick may have ended just before
 * the next began, hence one more than the window. */
static inline uint64_t leaves_in(const struct view *v, uint64_t stamp)
{
	uint64_t at = stamp + view_window(v) + 1;

	return at > v->now ? at - v->now : 0;
}

/* The first entry in [lo, head) that is still in the window. Stamps never
 * decrease. Most often it is `lo` or near it: gallop, then bisect. */
static uint64_t first_live(const struct view *v, uint64_t lo)
{
	uint64_t hi = lo, step = 1;

	while (hi < v->head && leaves_in(v, ENTRY_STAMP(entry(v, hi))) == 0) {
		lo = hi + 1;
		hi += step;
		step *= 2;
	}
	if (hi > v->head)
		hi = v->head;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (leaves_in(v, ENTRY_STAMP(entry(v, mid))) == 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The oldest entry that has to leave before `need` more units have left. */
static uint64_t last_to_leave(const struct view *v, uint32_t need)
{
	uint64_t lo = v->first, hi = v->head - 1;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (UNITS(entry(v, mid + 1), v->before_first) >= need)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static void view_read(struct view *v, struct arena *a, struct org *org,
		      uint64_t now, struct counters *counters)
{
	v->arena = a;
	v->version = claim_settle(a, &org->gate, counters);
	v->head = claim_load(&org->head);
	v->tail = claim_load(&org->tail);
	v->used = claim_load(&org->used);
	v->rule = claim_load(&org->rule);
	v->ring = claim_load(&org->ring);
	v->ring_prev = claim_load(&org->ring_prev);
	v->ring_switch = claim_load(&org->ring_switch);
	v->entries = ring_entries(a, v->ring);
	v->mask = ring_mask(v->ring);
	v->now = now;
	v->first = v->head;
	v->before_first = v->used & LIMIT_MASK;
	/* The words may be of different versions; then the caller will find the
	 * gate changed, but until then they must not lead us astray. */
	if (v->tail < v->head && v->head - v->tail - 1 <= v->mask) {
		v->newest = ENTRY_STAMP(entry(v, v->head - 1));
		if (v->newest > now)
			v->now = v->newest;
		v->first = first_live(v, v->tail);
		if (v->first < v->head) {
			uint64_t e = entry(v, v->first);

			v->first_stamp = ENTRY_STAMP(e);
			v->before_first = e & LIMIT_MASK;
		}
	}
	v->in_entries = (uint32_t)UNITS(v->used, v->before_first);
	v->in_window = v->in_entries;
	v->live = v->first < v->head;
}

/* The next check finds these units in the window, as of now. */
static inline void view_admit(struct view *v, uint32_t cost)
{
	v->in_window += cost;
	v->newest = v->now;
	if (!v->live)
		v->first_stamp = v->now;
	v->live = true;
}

/* Ticks until `need` units have left, which are in the window. */
static uint64_t left_in(const struct view *v, uint32_t need)
{
	if (need > v->in_entries)
		return leaves_in(v, v->now);
	return leaves_in(v, ENTRY_STAMP(entry(v, last_to_leave(v, need))));
}

/* Fills the answer for a check that finds `v`, and if `count` is set, admits
 * it when it may pass. */
static inline void view_answer(struct view *v, uint32_t cost, bool count,
			       struct window_answer *out)
{
	uint32_t limit = view_limit(v);

	out->allowed = cost <= limit && v->in_window <= limit - cost;
	if (out->allowed && count)
		view_admit(v, cost);
	out->limit = limit;
	out->window = view_window(v);
	out->in_window = v->in_window;
	out->reset = v->live ? leaves_in(v, v->newest) : 0;
	out->retry = v->live ? leaves_in(v, v->first_stamp) : 0;
	if (!out->allowed && cost > limit)
		out->retry = 0;
	else if (!out->allowed && v->live)
		out->retry = left_in(v, v->in_window + cost - limit);
}

void window_prefetch(const struct arena *a, const struct org *org)
{
	uint64_t ring = claim_load(&org->ring);
	uint64_t head = claim_load(&org->head);

	/* The newest entry; most often the place at `head` is in its line. */
	__builtin_prefetch(entry_in(a, ring, head - 1), 1);
	__builtin_prefetch(entry_in(a, ring, claim_load(&org->tail)));
}

void window_peek(struct arena *a, struct org *org, uint32_t cost, uint64_t now,
		 struct counters *counters, struct window_answer *ret_answer)
{
	struct view v;

	do {
		view_read(&v, a, org, now, counters);
		view_answer(&v, cost, false, ret_answer);
	} while (!claim_unchanged(&org->gate, v.version));
}

static inline bool charges(const struct window_ask *ask, const word_t *key_used)
{
	return ask->answer.allowed && ask->key_used == key_used;
}

/* A word stands in a claim once: what several checks add to the total of
 * their key is added by the first of them. */
static inline void add_keys(struct claim *c, const struct window_ask *asks,
			    unsigned count)
{
	unsigned i, j;

	for (i = 0; i < count; i++) {
		word_t *used = asks[i].key_used;
		uint64_t old, units = 0;

		if (used == NULL || !asks[i].answer.allowed)
			continue;
		for (j = 0; j < i && !charges(&asks[j], used); j++) {
		}
		if (j < i)
			continue;
		for (; j < count; j++)
			units += charges(&asks[j], used) ? asks[j].cost : 0;
		old = claim_load(used);
		claim_add(c, used, old, old + units);
	}
}

/* Puts everything that was admitted into one claim. It shares an instant, so
 * one entry stands for all of it. */
static inline bool view_commit(const struct view *v, struct claim *c,
			       struct org *org, const struct window_ask *asks,
			       unsigned count)
{
	word_t *slot = entry_at(v, v->head);

	claim_begin(c);
	claim_add(c, slot, claim_load(slot), ENTRY(v->now, v->used));
	claim_add(c, &org->head, v->head, v->head + 1);
	if (v->first != v->tail)
		claim_add(c, &org->tail, v->tail, v->first);
	claim_add(c, &org->used, v->used,
		  v->used + (v->in_window - v->in_entries));
	add_keys(c, asks, count);
	return claim_commit(c, &org->gate, v->version);
}
static_assert(WINDOW_ASKS_MAX + 4 == CLAIM_WORDS_MAX, "a word for each key");

static __attribute__((always_inline)) inline void
take(struct claim *c, struct org *org, struct window_ask *asks, unsigned count,
     uint64_t now)
{
	for (;;) {
		struct view v;
		unsigned i;

		view_read(&v, c->arena, org, now, c->counters);
		for (i = 0; i < count; i++)
			view_answer(&v, asks[i].cost, true, &asks[i].answer);
		if (v.in_window == v.in_entries) {
			/* Nothing was decided since: the denials are true. */
			if (claim_unchanged(&org->gate, v.version))
				return;
			continue;
		}
		if (view_commit(&v, c, org, asks, count))
			return;
		if (c->counters != NULL)
			counter_add(&c->counters->retries, 1);
	}
}

void window_take(struct claim *c, struct org *org, struct window_ask *asks,
		 unsigned count, uint64_t now)
{
	check(count <= WINDOW_ASKS_MAX);
	/* Most often it is one, and then the compiler leaves the loops out. */
	if (likely(count == 1))
		take(c, org, asks, 1, now);
	else
		take(c, org, asks, count, now);
}

unsigned window_ring_log2(uint32_t limit)
{
	unsigned log2 = 3;

	check(limit <= LIMIT_MAX);
	while ((UINT32_C(1) << log2) < limit)
		log2++;
	return log2;
}

void window_change_rule(struct claim *c, struct org *org, uint64_t rule)
{
	uint64_t version;

	do {
		uint64_t old;

		version = claim_settle(c->arena, &org->gate, c->counters);
		old = claim_load(&org->rule);
		if (old == rule)
			return;
		claim_begin(c);
		claim_add(c, &org->rule, old, rule);
	} while (!claim_commit(c, &org->gate, version));
}

/*
 * Moving to a larger ring while checks go on. First the new ring is put in use
 * for entries from `head` on (the border), the old one stays beside it for
 * those below: one claim. Then the old ring's live entries, which nobody
 * writes any more, are copied in pieces from the border down, each piece
 * together with the lowered border as one claim. A process that dies in
 * between leaves a valid state that the next one drains.
 *
 * The border goes up in window_swap_ring() and down in window_drain_ring(), so
 * it may take a value twice: hence the grace periods (claim.h, Premise).
 */
#define PIECE (CLAIM_WORDS_MAX - 1)

void window_swap_ring(struct claim *c, struct org *org, uint64_t ring)
{
	uint64_t version;

	do {
		uint64_t old, border, head;

		version = claim_settle(c->arena, &org->gate, c->counters);
		old = claim_load(&org->ring);
		border = claim_load(&org->ring_switch);
		head = claim_load(&org->head);
		check(RING_LOG2(ring) >= RING_LOG2(old) &&
		      RING_GEN(ring) != RING_GEN(old));
		/* Else entries of ring_prev would be lost, and the limit with
		 * them. */
		check(border <= claim_load(&org->tail));
		claim_begin(c);
		claim_add(c, &org->ring_prev, claim_load(&org->ring_prev), old);
		claim_add(c, &org->ring, old, ring);
		if (border != head)
			claim_add(c, &org->ring_switch, border, head);
	} while (!claim_commit(c, &org->gate, version));
}

bool window_ring_drained(const struct org *org)
{
	return claim_load(&org->ring_switch) <= claim_load(&org->tail);
}

void window_drain_ring(struct claim *c, struct org *org)
{
	while (!window_ring_drained(org)) {
		struct view v;
		uint64_t i, to;

		view_read(&v, c->arena, org, 0, c->counters);
		if (v.ring_switch <= v.tail)
			continue;
		to = v.ring_switch > PIECE ? v.ring_switch - PIECE : 0;
		if (to < v.tail)
			to = v.tail;
		claim_begin(c);
		claim_add(c, &org->ring_switch, v.ring_switch, to);
		for (i = to; i < v.ring_switch; i++) {
			word_t *slot = entry_in(c->arena, v.ring, i);
			uint64_t old = claim_load(slot);
			uint64_t moved = entry(&v, i);

			if (old != moved)
				claim_add(c, slot, old, moved);
		}
		claim_commit(c, &org->gate, v.version);
	}
}

void window_save(struct arena *a, uint32_t slot, uint64_t now,
		 struct window_image *ret_image, struct admission *out,
		 size_t cap)
{
	struct org *org = &a->orgs[slot];
	struct view v;
	uint64_t from;
	size_t i, count, gone;

	do {
		do {
			view_read(&v, a, org, now, NULL);
		} while (!claim_unchanged(&org->gate, v.version));

		from = v.first;
		if (v.head - from > cap)
			from = v.head - cap;
		count = (size_t)(v.head - from);
		/* Workers go on meanwhile. An entry's place is written again
		 * only after it has left the window, so with a stamp later
		 * than ours: that tells an overwritten one, and everything
		 * before it has left the window too. A window made shorter
		 * meanwhile lets it be overwritten sooner: begin again. */
		for (i = gone = 0; i < count; i++) {
			uint64_t e = entry(&v, from + i);

			out[i].stamp = ENTRY_STAMP(e);
			out[i].units = (uint32_t)(e & LIMIT_MASK);
			if (out[i].stamp > v.now)
				gone = i + 1;
		}
		/* Whoever overwrote what was read above had seen these words
		 * change, and its entry was an acquire load: they are seen
		 * here. None takes an old value again within the section. */
	} while (claim_load(&org->rule) != v.rule ||
		 claim_load(&org->ring) != v.ring ||
		 claim_load(&org->ring_switch) != v.ring_switch);

	/* From the total before each entry to the units of each. */
	count -= gone;
	for (i = 0; i < count; i++) {
		uint64_t before = out[i + gone].units;
		uint64_t after =
			i + 1 < count ? out[i + gone + 1].units : v.used;

		out[i].stamp = out[i + gone].stamp;
		out[i].units = (uint32_t)UNITS(after, before);
	}
	ret_image->used = v.used;
	ret_image->count = count;
}

void window_restore(struct arena *a, uint32_t slot,
		    const struct window_image *image,
		    const struct admission *in)
{
	struct org *org = &a->orgs[slot];
	/* PAIRS: nothing, here and below. Nobody else runs yet; starting the
	 * threads publishes all of it. */
	uint64_t ring = atomic_load_explicit(&org->ring, memory_order_relaxed);
	size_t size = (size_t)1 << RING_LOG2(ring);
	size_t skip = image->count > size ? image->count - size : 0;
	uint64_t before = image->used, after;
	size_t i;

	for (i = 0; i < image->count; i++)
		before -= in[i].units;
	after = before;
	for (i = 0; i < skip; i++)
		after += in[i].units;
	for (; i < image->count; i++) {
		after += in[i].units;
		atomic_store_explicit(entry_in(a, ring, i - skip),
				      ENTRY(in[i].stamp, before),
				      memory_order_relaxed);
		before = after;
	}
	atomic_store_explicit(&org->head, image->count - skip,
			      memory_order_relaxed);
	atomic_store_explicit(&org->tail, 0, memory_order_relaxed);
	atomic_store_explicit(&org->ring_switch, 0, memory_order_relaxed);
	atomic_store_explicit(&org->used, image->used, memory_order_relaxed);
}
