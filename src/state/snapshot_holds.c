/* SPDX-License-Identifier: MIT */
/*
 * Holds as records. One is saved when it was there before everything that it
 * is counted in was saved, and still is after it: then that counts it, and what
 * is given back after a restart was charged.
 */
#include "state/snapshot_internal.h"

#include "gate/claim.h"
#include "gate/decide.h"
#include "gate/step.h"

#include <stdlib.h>
#include <string.h>

static bool has_holds(const struct arena *a)
{
	/* PAIRS: nothing. Made before workers run. */
	return atomic_load_explicit(&a->header->holds, memory_order_relaxed) !=
	       0;
}

void snap_note_holds(struct snap_writer *w)
{
	uint32_t count = w->arena->header->holds_count;

	if (!has_holds(w->arena) || count == 0)
		return;
	w->holds = calloc(count, sizeof(*w->holds));
	if (w->holds == NULL) {
		w->error = -ENOMEM;
		return;
	}
	w->holds_count = count;
	for (uint32_t slot = 0; slot < count; slot++) {
		uint64_t state = claim_load(&hold_at(w->arena, slot)->state);

		/* Most are free, and then their page stays untouched. */
		if (HOLD_LIVE(state))
			w->holds[slot] = state;
	}
}

static uint64_t hold_word(const word_t *w)
{
	/* PAIRS: still(): what is read before it was this hold's. */
	return atomic_load_explicit(w, memory_order_relaxed);
}

/* Is it the hold it was, so that what was read of it is its own? */
static bool still(struct hold *h, uint64_t state)
{
	/* PAIRS: claim_load() of `state` in take_hold() of gate/decide.c,
	 * acquire: the owner finds the hold ended and fills it anew. The CAS
	 * that ended it either came before this, which then finds another
	 * state; or after, in the release sequence of this, so what was read
	 * before this is not what the owner stores. With a plain load here the
	 * owner's stores would have to be releases. */
	return atomic_fetch_or_explicit(&h->state, 0, memory_order_release) ==
	       state;
}

/* The entry of this table in whose state the byte at `off` of the arena is. */
static bool find_entry(const struct subjects *t, uint64_t off,
		       uint32_t *ret_entry)
{
	uint64_t from = claim_offset(t->arena, (word_t *)(void *)t->states);
	uint64_t entry = off >= from ? (off - from) / t->stride : UINT64_MAX;

	if (entry >= subjects_capacity(t) || (off - from) % t->stride != 0)
		return false;
	*ret_entry = (uint32_t)entry;
	return true;
}

static bool put_place(uint8_t *p, const struct subjects *t, uint64_t off)
{
	uint64_t name;
	uint32_t entry;

	if (!find_entry(t, off, &entry) || !subjects_name(t, entry, &name))
		return false;
	put_le32(p + SNAP_PLACE_AT_BUCKET, entry / SUBJECTS_BUCKET);
	put_le32(p + SNAP_PLACE_AT_BUCKETS, t->count);
	put_le64(p + SNAP_PLACE_AT_NAME, name);
	return true;
}

/* The rule that this lease is one of, or NULL: none any more. */
static const struct rule *put_lease(struct arena *a, struct org *org,
				    uint64_t lease, uint8_t *p)
{
	uint64_t off = LEASE_OFFSET(lease);
	const struct plan *plan = block_at(a, claim_load(&org->plan));

	for (uint32_t i = 0; plan != NULL && i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];
		struct subjects t;

		if (r->algorithm != RULE_CONCURRENCY ||
		    (r->level == LEVEL_ADDRESS) != (off != lease))
			continue;
		if (r->level == LEVEL_ORG
			    ? off == claim_offset(a,
						  &org_meter(a, org, r->meter)
							   ->level)
			    : subjects_open(&t, a, r->table) &&
				      put_place(p + SNAP_LEASE_AT_PLACE, &t,
						off))
			return r;
	}
	return NULL;
}

static void put_leases(struct arena *a, struct org *org, const struct hold *h,
		       uint8_t *p)
{
	for (unsigned i = 0; i < HOLD_LEASES_MAX; i++, p += SNAP_LEASE_BYTES) {
		uint64_t lease = hold_word(&h->leases[i]);
		const struct rule *r =
			lease != 0 ? put_lease(a, org, lease, p) : NULL;

		if (r != NULL)
			memcpy(p + SNAP_LEASE_AT_NAME, r->name, RULE_NAME_LEN);
	}
}

/* False: it says nothing that makes sense, or is another one by now. */
static bool put_hold(struct snap_writer *w, struct hold *h, uint64_t state,
		     uint8_t *p)
{
	struct arena *a = w->arena;
	struct instant now = instant_now();
	uint64_t subject = hold_word(&h->subject);
	uint64_t until = hold_word(&h->until);
	uint32_t key = (uint32_t)(subject >> 32), org = (uint32_t)subject;
	struct subjects cells;

	if (key == 0 || key >= slots_read(&a->header->key_slots) || org == 0 ||
	    org >= slots_read(&a->header->org_slots) ||
	    !snap_slot_used(&a->keys[key].state) ||
	    !snap_slot_used(&a->orgs[org].state) ||
	    !snap_open_cells(a, &cells) ||
	    !put_place(p + SNAP_HOLD_AT_CELL, &cells, hold_word(&h->cell)))
		return false;
	put_le64(p + SNAP_HOLD_AT_STATE, state);
	put_le32(p + SNAP_HOLD_AT_KEY, key);
	put_le32(p + SNAP_HOLD_AT_ORG, org);
	memcpy(p + SNAP_HOLD_AT_KEY_ID, a->keys[key].id.c, ID_LEN);
	memcpy(p + SNAP_HOLD_AT_ORG_ID, a->orgs[org].id.c, ID_LEN);
	put_le64(p + SNAP_HOLD_AT_TAKEN, now.ns - INSTANT_BIAS_NS);
	put_le64(p + SNAP_HOLD_AT_LEFT,
		 until > now.ticks ? until - now.ticks : 0);
	put_le64(p + SNAP_HOLD_AT_UNITS, hold_word(&h->units));
	put_le64(p + SNAP_HOLD_AT_FLAGS, hold_word(&h->flags));
	put_le64(p + SNAP_HOLD_AT_ROUTE, hold_word(&h->route));
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++)
		put_le64(p + SNAP_HOLD_AT_BUDGETS + 8 * i,
			 hold_word(&h->budget[i]));
	put_leases(a, &a->orgs[org], h, p + SNAP_HOLD_AT_LEASES);
	for (unsigned i = 0; i < HOLD_DRAWS_MAX; i++)
		put_le64(p + SNAP_HOLD_AT_DRAWS + 8 * i,
			 hold_word(&h->draws[i]));
	return still(h, state);
}

void snap_save_holds(struct snap_writer *w)
{
	for (uint32_t slot = 0; slot < w->holds_count && !w->error; slot++) {
		uint8_t *p;
		bool put;

		if (w->holds[slot] == 0)
			continue;
		p = snap_stage_record(w, SNAP_HOLD, slot, SNAP_HOLD_BYTES);
		snap_enter(w);
		put = put_hold(w, hold_at(w->arena, slot), w->holds[slot], p);
		snap_leave(w);
		if (put) {
			w->info->holds++;
		} else {
			w->staged = 0;
			w->records--;
		}
		snap_put_stage(w);
	}
}
