/* SPDX-License-Identifier: MIT */
#include "core_world.h"

#include "base/check.h"
#include "base/clock.h"
#include "gate/window.h"
#include "splitmix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_TICKS 1

static uint32_t hot_org(const struct core_world *w)
{
	return w->org_count + 1;
}

static uint64_t ring_lines(unsigned log2)
{
	return (UINT64_C(1) << log2) * sizeof(word_t) / LINE_BYTES;
}

uint64_t core_world_bytes(uint32_t org_count)
{
	/* the table: 8 bytes an entry at a load of at least 0.3 */
	return org_count *
	       (sizeof(struct core_key) + sizeof(struct org) +
		sizeof(struct key) + LINE_BYTES + 8 * 4 + sizeof(uint32_t));
}

static void set(word_t *w, uint64_t value)
{
	/* PAIRS: nothing. Threads start later. */
	atomic_store_explicit(w, value, memory_order_relaxed);
}

static void make_org(struct core_world *w, uint32_t slot, uint32_t limit,
		     uint64_t place)
{
	struct org *org = &w->file.arena.orgs[slot];

	set(&org->rule, window_rule(limit, WINDOW_TICKS));
	set(&org->ring, RING_WORD(place, window_ring_log2(limit), 1));
	memcpy(org->id.c, &slot, sizeof(slot));
	/* PAIRS: nothing. Threads start later. */
	atomic_store_explicit(&org->state, SLOT_ACTIVE, memory_order_relaxed);
}

static int make_key(struct core_world *w, struct core_key *k, uint32_t slot,
		    uint32_t org)
{
	struct key *key = &w->file.arena.keys[slot];
	char text[CORE_KEY_LEN + 1];

	if (!keytext_random_id(&key->id) ||
	    !keytext_make(&w->prefix, key->id, text, sizeof(text)))
		return -EIO;
	memcpy(k->text, text, sizeof(k->text));
	sha256(k->text, sizeof(k->text), k->hash);
	k->slot = slot;
	k->org = org;
	memcpy(key->hash, k->hash + KEY_HASH_SKIP, sizeof(key->hash));
	key->org = org;
	/* PAIRS: nothing. Threads start later. */
	atomic_store_explicit(&key->state, SLOT_ACTIVE, memory_order_relaxed);
	return keytable_insert(&w->table, k->hash, slot);
}

static int reserve(struct core_world *w)
{
	uint64_t lines =
		w->org_count * ring_lines(window_ring_log2(CORE_SPREAD_LIMIT)) +
		ring_lines(window_ring_log2(CORE_HOT_LIMIT));
	uint64_t keys = w->org_count + UINT64_C(1) + CORE_HOT_KEYS;
	int r = arena_reserve(&w->file, REGION_ORGS,
			      (w->org_count + UINT64_C(2)) *
				      sizeof(struct org));

	if (r == 0)
		r = arena_reserve(&w->file, REGION_KEYS,
				  keys * sizeof(struct key));
	if (r == 0)
		r = arena_reserve(&w->file, REGION_RINGS, lines * LINE_BYTES);
	return r;
}

static int fill_arena(struct core_world *w, uint32_t *order)
{
	uint64_t lines = ring_lines(window_ring_log2(CORE_SPREAD_LIMIT));
	int r = reserve(w);

	splitmix_shuffle(order, w->org_count, 1);
	for (uint32_t i = 0; i < w->org_count && r == 0; i++) {
		uint32_t slot = order[i] + 1;

		make_org(w, slot, CORE_SPREAD_LIMIT, order[i] * lines);
		r = make_key(w, &w->keys[i], slot, slot);
	}
	make_org(w, hot_org(w), CORE_HOT_LIMIT, w->org_count * lines);
	for (uint32_t i = 0; i < CORE_HOT_KEYS && r == 0; i++)
		r = make_key(w, &w->keys[w->org_count + i],
			     w->org_count + 1 + i, hot_org(w));
	return r;
}

int core_world_init(struct core_world *w, uint32_t org_count)
{
	uint32_t *order = calloc(org_count, sizeof(*order));
	int r;

	check(org_count >= CORE_ORGS_MIN && org_count <= CORE_ORGS_MAX);
	memset(w, 0, sizeof(*w));
	w->org_count = org_count;
	check(keytext_prefix_init(&w->prefix, "il"));
	w->keys = calloc(org_count + CORE_HOT_KEYS, sizeof(*w->keys));
	r = w->keys && order ? arena_open_private(&w->file) : -ENOMEM;
	if (r < 0)
		goto out_free;
	r = keytable_init(&w->table, org_count + CORE_HOT_KEYS, NULL);
	if (r < 0)
		goto out_arena;
	r = fill_arena(w, order);
	free(order);
	if (r < 0)
		core_world_deinit(w);
	return r;
out_arena:
	arena_close(&w->file);
out_free:
	free(order);
	free(w->keys);
	return r;
}

void core_world_deinit(struct core_world *w)
{
	keytable_deinit(&w->table);
	arena_close(&w->file);
	free(w->keys);
}

/* Takes units one by one at one instant: `most` of each organization, or as
 * many as there are. */
static void take_everywhere(struct core_world *w, uint64_t now, uint32_t most)
{
	struct arena *a = &w->file.arena;
	struct window_answer answer;
	struct claim c;

	claim_init(&c, a, OWNER_CONTROL, NULL);
	for (uint32_t slot = 1; slot <= hot_org(w); slot++) {
		uint32_t taken = 0;

		do
			window_take_one(&c, &a->orgs[slot], NULL, 1, now,
					&answer);
		while (answer.allowed && ++taken < most);
	}
}

void core_world_fill(struct core_world *w)
{
	w->full_at = clock_ticks();
	take_everywhere(w, w->full_at, UINT32_MAX);
}

void core_world_rest(struct core_world *w)
{
	take_everywhere(w, clock_ticks(), 1);
}
