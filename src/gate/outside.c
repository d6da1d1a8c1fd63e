/* SPDX-License-Identifier: MIT */
#include "gate/outside.h"

#include "base/check.h"
#include "gate/step.h"

#include <string.h>

/* An IPv6 address without what tells those of its /64 apart. */
static void address_parts(const uint8_t address[static 16], uint64_t *ret_high,
			  uint64_t *ret_low)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(ret_high, address, sizeof(*ret_high));
	memcpy(ret_low, address + 8, sizeof(*ret_low));
	if (memcmp(address, mapped, sizeof(mapped)) != 0)
		*ret_low = 0;
}

uint64_t outside_subject(uint64_t seed, const uint8_t address[static 16])
{
	uint64_t high, low;

	address_parts(address, &high, &low);
	return subjects_hash2(seed, high, low);
}

bool outside_same(const uint8_t a[static 16], const uint8_t b[static 16])
{
	uint64_t high[2], low[2];

	address_parts(a, &high[0], &low[0]);
	address_parts(b, &high[1], &low[1]);
	return high[0] == high[1] && low[0] == low[1];
}

uint32_t outside_stride(const struct rule *r, unsigned entries_log2)
{
	if (r->algorithm != RULE_WINDOW)
		return sizeof(struct outside);
	return LINE_BYTES + (uint32_t)(sizeof(word_t) << entries_log2);
}

/* One lease, in one word that is all there is to know: no gate. */
static bool take_lease(struct arena *a, const struct rule *r, struct meter *m,
		       uint32_t units, const struct instant *now,
		       struct meter_answer *ret_answer)
{
	struct view v;

	do {
		view_read(&v, a, r, m, NULL, 0, now);
		view_answer(&v, units, ret_answer);
		if (!ret_answer->fits)
			return false;
		/* PAIRS: nothing. The word is the whole state and guards no
		 * other memory, so relaxed is enough: the CAS alone orders the
		 * takers. Whoever gives this entry to another address looks at
		 * it after a grace period, which orders the two. */
	} while (!atomic_compare_exchange_weak_explicit(
		v.word, &v.from, v.from + units, memory_order_relaxed,
		memory_order_relaxed));
	return true;
}

void outside_end_lease(word_t *level)
{
	/* PAIRS: nothing, as in take_lease(). That the hold has ended was
	 * decided before, so whoever takes this lease takes none of a live one,
	 * in whatever order it sees the two. And that it had been taken was
	 * seen with the hold's state, acquire: this does not go below zero. */
	uint64_t was =
		atomic_fetch_sub_explicit(level, 1, memory_order_relaxed);

	check(METER_LEASES(was) != 0);
}

static bool hold_units(struct arena *a, const struct rule *r, struct outside *o,
		       word_t *entries, unsigned entries_log2, uint32_t units,
		       const struct instant *now,
		       struct meter_answer *ret_answer)
{
	struct view v;
	uint64_t version;
	/* PAIRS: outside_release(), release: whoever admits stores the
	 * admission before it lets go, so either the units are seen here as
	 * held, or below as admitted. */
	uint64_t held = atomic_fetch_add_explicit(&o->held, units,
						  memory_order_acq_rel);

	do {
		struct instant at;

		version = claim_settle(a, &o->gate, NULL);
		at = step_instant(now, version);
		view_read(&v, a, r, &o->meter, entries, entries_log2, &at);
	} while (!claim_unchanged(&o->gate, version));
	/* The others' units and ours, as if they were admitted one by one. */
	if (held != 0) {
		if (held > r->limit || !view_fits(&v, (uint32_t)held)) {
			view_answer(&v, r->limit, ret_answer);
			ret_answer->fits = false;
			goto out_full;
		}
		view_charge(&v, (uint32_t)held);
	}
	view_answer(&v, units, ret_answer);
	if (ret_answer->fits)
		return true;
out_full:
	/* PAIRS: the fetch_add above; nothing was written in between. */
	atomic_fetch_sub_explicit(&o->held, units, memory_order_relaxed);
	return false;
}

bool outside_hold(struct arena *a, const struct rule *r, struct outside *o,
		  word_t *entries, unsigned entries_log2, uint32_t units,
		  const struct instant *now, struct meter_answer *ret_answer)
{
	if (r->algorithm == RULE_CONCURRENCY)
		return take_lease(a, r, &o->meter, units, now, ret_answer);
	return hold_units(a, r, o, entries, entries_log2, units, now,
			  ret_answer);
}

static void admit(struct claim *c, const struct rule *r, struct outside *o,
		  word_t *entries, unsigned entries_log2, uint32_t units,
		  const struct instant *now)
{
	struct view v;
	uint64_t version;

	do {
		struct instant at;

		version = claim_settle(c->arena, &o->gate, c->counters);
		at = step_instant(now, version);
		view_read(&v, c->arena, r, &o->meter, entries, entries_log2,
			  &at);
		view_charge(&v, units);
		claim_begin(c);
		claim_add(c, v.word, v.from, v.to);
	} while (!claim_commit_to(c, &o->gate, version,
				  step_next(&v.now, version)));
	view_charged(&v);
}

void outside_release(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2, uint32_t units,
		     const struct instant *now, bool admitted)
{
	if (r->algorithm == RULE_CONCURRENCY) {
		if (!admitted)
			outside_end_lease(&o->meter.level);
		return;
	}
	if (admitted)
		admit(c, r, o, entries, entries_log2, units, now);
	/* PAIRS: outside_hold(), acquire. Publishes the admission. */
	atomic_fetch_sub_explicit(&o->held, units, memory_order_release);
}

void outside_recover(struct claim *c, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2,
		     const struct instant *now)
{
	/* PAIRS: nothing. The others are dead, or not born yet. */
	uint64_t held = atomic_load_explicit(&o->held, memory_order_relaxed);

	if (held == 0)
		return;
	if (held > r->limit)
		held = r->limit;
	admit(c, r, o, entries, entries_log2, (uint32_t)held, now);
	atomic_store_explicit(&o->held, 0, memory_order_relaxed);
}

bool outside_rests(struct arena *a, const struct rule *r,
		   const struct outside *o, word_t *entries,
		   unsigned entries_log2, const struct instant *now)
{
	/* PAIRS: outside_release(), release: the admission is seen below. */
	return atomic_load_explicit(&o->held, memory_order_acquire) == 0 &&
	       meter_rests(r, a, &o->meter, entries, entries_log2, now);
}
