/* SPDX-License-Identifier: MIT */
/*
 * Leases name the word that they count in (struct hold, gate/layout.h). When
 * that word is about to mean something else, they have to forget it.
 */
#include "state/registry_internal.h"

#include "base/epoch.h"
#include "gate/decide.h"

#include <string.h>

static bool forget_in(struct hold *h, uint64_t from, uint64_t end)
{
	bool any = false;

	for (unsigned i = 0; i < HOLD_LEASES_MAX; i++) {
		/* PAIRS: fill_hold(), relaxed. A place below `end` is of rules
		 * that no decision goes by any more, so whoever fills the hold
		 * anew meanwhile writes another one, and this CAS fails. */
		uint64_t off = atomic_load_explicit(&h->leases[i],
						    memory_order_relaxed);

		if (off < from || off >= end)
			continue;
		/* PAIRS: return_leases(), relaxed: the grace period that
		 * follows lets those who have read the old place finish. */
		any |= atomic_compare_exchange_strong_explicit(
			&h->leases[i], &off, 0, memory_order_relaxed,
			memory_order_relaxed);
	}
	return any;
}

void leases_forget(struct registry *g, const void *at, uint64_t bytes)
{
	uint64_t from = (uint64_t)((const uint8_t *)at - g->arena->base);
	uint32_t count = g->arena->header->holds_count;
	bool any = false;

	for (uint32_t slot = 0; slot < count; slot++)
		any |= forget_in(hold_at(g->arena, slot), from, from + bytes);
	if (any)
		epoch_wait(g->epoch);
}

/* At start: a hold that goes gives its leases back; nobody else runs. */
static void give_back(struct registry *g, struct hold *h)
{
	for (unsigned i = 0; i < HOLD_LEASES_MAX; i++) {
		/* PAIRS: nothing, here and below. */
		uint64_t off = atomic_load_explicit(&h->leases[i],
						    memory_order_relaxed);
		word_t *word = (word_t *)(void *)(g->arena->base + off);
		uint64_t level;

		if (off < ARENA_ORGS_AT || off >= ARENA_BYTES ||
		    off % sizeof(word_t) != 0)
			continue;
		level = claim_load(word);
		if (METER_LEASES(level) > 0)
			slot_set_word(word,
				      METER_FLIGHT((level >> 24) + 1,
						   METER_LEASES(level) - 1));
	}
	slot_set_word(&h->state,
		      HOLD_STATE(HOLD_GEN(claim_load(&h->state)) + 1, 0));
}

void holds_move(struct registry *g, struct hold *from, uint32_t had,
		struct hold *to, uint32_t count)
{
	for (uint32_t slot = 0; slot < had; slot++) {
		if (slot < count)
			memcpy(&to[slot], &from[slot], sizeof(*to));
		else if (HOLD_LIVE(claim_load(&from[slot].state)))
			give_back(g, &from[slot]);
	}
}

/* Is it a hold of a key that is still of that organization? */
static bool owned(const struct registry *g, const struct hold *h)
{
	uint64_t subject =
		atomic_load_explicit(&h->subject, memory_order_relaxed);
	uint32_t key = (uint32_t)(subject >> 32), org = (uint32_t)subject;

	return key != 0 && key < slots_read(&g->arena->header->key_slots) &&
	       KEY_STATE(atomic_load_explicit(&g->arena->keys[key].state,
					      memory_order_relaxed)) !=
		       SLOT_FREE &&
	       g->arena->keys[key].org == org;
}

void holds_check(struct registry *g)
{
	uint32_t count = g->arena->header->holds_count;

	for (uint32_t slot = 0; slot < count; slot++) {
		struct hold *h = hold_at(g->arena, slot);

		if (HOLD_LIVE(claim_load(&h->state)) && !owned(g, h))
			slot_set_word(
				&h->state,
				HOLD_STATE(HOLD_GEN(claim_load(&h->state)) + 1,
					   0));
	}
}
