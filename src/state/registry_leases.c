/* SPDX-License-Identifier: MIT */
/*
 * Leases name the word that they count in (struct hold, gate/layout.h). When
 * that word is about to mean something else, they have to forget it; and a
 * start counts them anew, for what died meanwhile.
 */
#include "state/registry_internal.h"

#include "base/epoch.h"
#include "gate/decide.h"
#include "gate/step.h"
#include "gate/subjects.h"

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

bool leases_any(const struct registry *g, uint32_t org, const void *at,
		uint64_t bytes)
{
	uint64_t from = (uint64_t)((const uint8_t *)at - g->arena->base);
	uint32_t count = g->arena->header->holds_count;

	for (uint32_t slot = 0; slot < count; slot++) {
		struct hold *h = hold_at(g->arena, slot);

		/* PAIRS: place_hold() and fill_hold(), published by the state,
		 * here and below. */
		if (!HOLD_LIVE(claim_load(&h->state)) ||
		    (uint32_t)atomic_load_explicit(&h->subject,
						   memory_order_relaxed) != org)
			continue;
		for (unsigned i = 0; i < HOLD_LEASES_MAX; i++) {
			uint64_t off = atomic_load_explicit(
				&h->leases[i], memory_order_relaxed);

			if (off >= from && off < from + bytes)
				return true;
		}
	}
	return false;
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

static void end_hold(struct hold *h)
{
	slot_set_word(&h->state,
		      HOLD_STATE(HOLD_GEN(claim_load(&h->state)) + 1, 0));
}

void holds_move(struct hold *from, uint32_t had, struct hold *to,
		uint32_t count)
{
	for (uint32_t slot = 0; slot < had; slot++) {
		if (slot < count)
			memcpy(&to[slot], &from[slot], sizeof(*to));
		else if (HOLD_LIVE(claim_load(&from[slot].state)))
			end_hold(&from[slot]);
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
			end_hold(h);
	}
}

/* ---- at start: as many leases are out as live holds say ---- */

static void set_leases(word_t *level, uint64_t leases)
{
	uint64_t was = claim_load(level);

	if (METER_LEASES(was) != leases)
		slot_set_word(level, METER_FLIGHT((was >> 24) + 1, leases));
}

static void clear_orgs(struct registry *g)
{
	uint32_t slots = slots_read(&g->arena->header->org_slots);

	for (uint32_t slot = 1; slot < slots; slot++) {
		struct org *org = &g->arena->orgs[slot];
		const struct plan *plan =
			block_at(g->arena, claim_load(&org->plan));

		for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++)
			if (plan->rules[i].level == LEVEL_ORG &&
			    plan->rules[i].algorithm == RULE_CONCURRENCY)
				set_leases(&org_meter(g->arena, org,
						      plan->rules[i].meter)
						    ->level,
					   0);
	}
}

/* False: table `i` is none of leases. */
static bool open_table(const struct registry *g, size_t i,
		       struct subjects *ret_table)
{
	const struct rule_table *t = &g->tables[i];

	return t->block != 0 && t->algorithm == RULE_CONCURRENCY &&
	       subjects_open(ret_table, g->arena, t->block);
}

static void clear_tables(struct registry *g)
{
	for (size_t i = 0; i < g->tables_count; i++) {
		struct subjects t;

		if (!open_table(g, i, &t))
			continue;
		for (uint32_t k = 0; k < subjects_capacity(&t); k++) {
			struct meter *meter = subjects_state(&t, k);

			set_leases(&meter->level, 0);
		}
	}
}

/* Does a table of leases have a state there? */
static bool of_table(const struct registry *g, uint64_t lease)
{
	uint64_t off = LEASE_OFFSET(lease);

	for (size_t i = 0; i < g->tables_count; i++) {
		struct subjects t;
		uint64_t from;

		if (!open_table(g, i, &t) ||
		    (g->tables[i].level == LEVEL_ADDRESS) != (off != lease))
			continue;
		from = (uint64_t)(t.states - g->arena->base);
		if (off >= from && (off - from) % t.stride == 0 &&
		    (off - from) / t.stride < subjects_capacity(&t))
			return true;
	}
	return false;
}

static bool of_org(const struct registry *g, struct org *org, uint64_t lease)
{
	const struct plan *plan = block_at(g->arena, claim_load(&org->plan));

	for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++)
		if (plan->rules[i].level == LEVEL_ORG &&
		    plan->rules[i].algorithm == RULE_CONCURRENCY &&
		    lease == claim_offset(g->arena,
					  &org_meter(g->arena, org,
						     plan->rules[i].meter)
						   ->level))
			return true;
	return false;
}

static void count_leases(struct registry *g, struct hold *h)
{
	/* PAIRS: nothing, here and below. Nobody else runs. */
	uint64_t subject =
		atomic_load_explicit(&h->subject, memory_order_relaxed);
	struct org *org = &g->arena->orgs[(uint32_t)subject];

	for (unsigned i = 0; i < HOLD_LEASES_MAX; i++) {
		uint64_t lease = atomic_load_explicit(&h->leases[i],
						      memory_order_relaxed);
		word_t *level = (word_t *)(void *)(g->arena->base +
						   LEASE_OFFSET(lease));

		if (lease == 0)
			continue;
		if (of_org(g, org, lease) || of_table(g, lease))
			set_leases(level, METER_LEASES(claim_load(level)) + 1);
		else
			slot_set_word(&h->leases[i], 0);
	}
}

void leases_count(struct registry *g)
{
	uint32_t count = g->arena->header->holds_count;

	clear_orgs(g);
	clear_tables(g);
	for (uint32_t slot = 0; slot < count; slot++) {
		struct hold *h = hold_at(g->arena, slot);

		if (HOLD_LIVE(claim_load(&h->state)))
			count_leases(g, h);
	}
}
