/* SPDX-License-Identifier: MIT */
#include "gate/outside.h"

#include <string.h>

uint64_t outside_subject(uint64_t seed, const uint8_t address[static 16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint64_t high, low;

	memcpy(&high, address, sizeof(high));
	memcpy(&low, address + 8, sizeof(low));
	if (memcmp(address, mapped, sizeof(mapped)) != 0)
		low = 0;
	return subjects_hash2(seed, high, low);
}

uint32_t outside_stride(const struct rule *r, unsigned entries_log2)
{
	if (r->algorithm != RULE_WINDOW)
		return sizeof(struct outside);
	return LINE_BYTES + (uint32_t)(sizeof(word_t) << entries_log2);
}

bool outside_hold(struct arena *a, const struct rule *r, struct outside *o,
		  word_t *entries, unsigned entries_log2, uint32_t units,
		  const struct instant *now, struct meter_answer *ret_answer)
{
	struct view v;
	/* PAIRS: outside_release(), release: whoever admits stores the
	 * admission before it lets go, so either the units are seen here as
	 * held, or below as admitted. */
	uint64_t held = atomic_fetch_add_explicit(&o->held, units,
						  memory_order_acq_rel);

	view_read(&v, a, r, &o->meter, entries, entries_log2, now);
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

static void admit(struct arena *a, const struct rule *r, struct outside *o,
		  word_t *entries, unsigned entries_log2, uint32_t units,
		  const struct instant *now)
{
	for (;;) {
		struct view v;
		uint64_t from;

		view_read(&v, a, r, &o->meter, entries, entries_log2, now);
		view_append(&v, units);
		from = v.from;
		/* PAIRS: claim_load() in view_read(), acquire. The word is the
		 * whole admission. */
		if (atomic_compare_exchange_strong_explicit(
			    v.word, &from, v.to, memory_order_release,
			    memory_order_relaxed)) {
			view_charged(&v);
			return;
		}
	}
}

void outside_release(struct arena *a, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2, uint32_t units,
		     const struct instant *now, bool admitted)
{
	if (admitted)
		admit(a, r, o, entries, entries_log2, units, now);
	/* PAIRS: outside_hold(), acquire. Publishes the admission. */
	atomic_fetch_sub_explicit(&o->held, units, memory_order_release);
}

void outside_recover(struct arena *a, const struct rule *r, struct outside *o,
		     word_t *entries, unsigned entries_log2,
		     const struct instant *now)
{
	/* PAIRS: nothing. The others are dead, or not born yet. */
	uint64_t held = atomic_load_explicit(&o->held, memory_order_relaxed);

	if (held == 0)
		return;
	if (held > r->limit)
		held = r->limit;
	admit(a, r, o, entries, entries_log2, (uint32_t)held, now);
	atomic_store_explicit(&o->held, 0, memory_order_relaxed);
}
