/* SPDX-License-Identifier: MIT */
#include "core_world.h"

#include "base/check.h"
#include "base/clock.h"
#include "gate/plain.h"
#include "scratch.h"
#include "splitmix.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	return org_count * (sizeof(struct core_key) + sizeof(struct org) +
			    sizeof(struct key) + LINE_BYTES + 8 * 4 +
			    sizeof(struct core_meters) + sizeof(uint32_t)) +
	       memo_bytes(org_count);
}

static void set(word_t *w, uint64_t value)
{
	/* PAIRS: nothing. Threads start later. */
	atomic_store_explicit(w, value, memory_order_relaxed);
}

#define PLAN_LINES 4u
static_assert(sizeof(struct plan) + sizeof(struct rule) <=
		      PLAN_LINES * LINE_BYTES,
	      "a plan of one rule");

static uint64_t make_plan(struct core_world *w, uint32_t limit, uint64_t place)
{
	uint64_t word = RING_WORD(place, 5, 1);
	struct plan *plan = block_at(&w->file.arena, word);

	plan->rules_count = 1;
	plan->rules[0] = (struct rule){.algorithm = RULE_WINDOW,
				       .limit = limit,
				       .span = CORE_WINDOW_TICKS,
				       .name = "org"};
	plan_complete(plan);
	return word;
}

static void make_org(struct core_world *w, uint32_t slot, uint32_t limit,
		     uint64_t place)
{
	struct org *org = &w->file.arena.orgs[slot];

	set(&org->first.ring, RING_WORD(place, meter_ring_log2(limit), 1));
	set(&org->plan, limit == CORE_HOT_LIMIT ? w->hot_plan : w->plan);
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
	memo_learn(&w->memo, k->text, sizeof(k->text), k->hash);
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
		w->org_count * ring_lines(meter_ring_log2(CORE_SPREAD_LIMIT)) +
		2 * ring_lines(meter_ring_log2(CORE_HOT_LIMIT)) +
		2 * PLAN_LINES + core_rules_lines(w->org_count);
	uint64_t keys = w->org_count + UINT64_C(1) + CORE_HOT_KEYS;
	int r = arena_reserve(&w->file, REGION_ORGS,
			      (w->org_count + UINT64_C(3)) *
				      sizeof(struct org));

	if (r == 0)
		r = arena_reserve(&w->file, REGION_KEYS,
				  keys * sizeof(struct key));
	if (r == 0)
		r = arena_reserve(&w->file, REGION_PROJECTS,
				  2 * sizeof(struct project));
	if (r == 0)
		r = arena_reserve(&w->file, REGION_RINGS, lines * LINE_BYTES);
	return r;
}

static int fill_arena(struct core_world *w, uint32_t *order)
{
	uint64_t lines = ring_lines(meter_ring_log2(CORE_SPREAD_LIMIT));
	int r = reserve(w);

	if (r < 0)
		return r;
	w->plan =
		make_plan(w, CORE_SPREAD_LIMIT,
			  w->org_count * lines +
				  ring_lines(meter_ring_log2(CORE_HOT_LIMIT)));
	w->hot_plan =
		make_plan(w, CORE_HOT_LIMIT, RING_PLACE(w->plan) + PLAN_LINES);
	splitmix_shuffle(order, w->org_count, 1);
	for (uint32_t i = 0; i < w->org_count && r == 0; i++) {
		uint32_t slot = order[i] + 1;

		make_org(w, slot, CORE_SPREAD_LIMIT, order[i] * lines);
		r = make_key(w, &w->keys[i], slot, slot);
	}
	make_org(w, hot_org(w), CORE_HOT_LIMIT, w->org_count * lines);
	w->rich = hot_org(w) + 1;
	make_org(w, w->rich, CORE_HOT_LIMIT,
		 RING_PLACE(w->hot_plan) + PLAN_LINES);
	core_rules_init(&w->rules, &w->file.arena,
			RING_PLACE(w->hot_plan) + PLAN_LINES +
				ring_lines(meter_ring_log2(CORE_HOT_LIMIT)),
			w->rich);
	for (uint32_t i = 0; i < CORE_HOT_KEYS && r == 0; i++)
		r = make_key(w, &w->keys[w->org_count + i],
			     w->org_count + 1 + i, hot_org(w));
	return r;
}

static int open_arena(struct core_world *w, enum core_place place, char *error,
		      size_t error_len)
{
	char dir[PATH_MAX - 16], path[PATH_MAX];
	unsigned recovered;
	bool fresh;
	int r;

	if (place == CORE_PRIVATE)
		return arena_open_private(&w->file);
	r = scratch_make(CORE_TMPFS_DIR, dir, sizeof(dir));
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/arena", dir);
	r = arena_open(&w->file, path, &fresh, &recovered, error, error_len);
	/* It goes when we go, however that is. */
	scratch_remove(dir);
	return r;
}

int core_world_init(struct core_world *w, uint32_t org_count,
		    enum core_place place, char *error, size_t error_len)
{
	uint32_t *order = calloc(org_count, sizeof(*order));
	int r;

	check(org_count >= CORE_ORGS_MIN && org_count <= CORE_ORGS_MAX);
	memset(w, 0, sizeof(*w));
	w->org_count = org_count;
	error[0] = '\0';
	check(keytext_prefix_init(&w->prefix, "il"));
	w->keys = calloc(org_count + CORE_HOT_KEYS, sizeof(*w->keys));
	r = w->keys && order ? open_arena(w, place, error, error_len) : -ENOMEM;
	if (r < 0)
		goto out_free;
	r = keytable_init(&w->table, org_count + CORE_HOT_KEYS, NULL);
	if (r < 0)
		goto out_arena;
	r = memo_init(&w->memo, org_count + CORE_HOT_KEYS);
	if (r < 0)
		goto out_table;
	r = fill_arena(w, order);
	if (r == 0) {
		free(order);
		return 0;
	}
	memo_deinit(&w->memo);
out_table:
	keytable_deinit(&w->table);
out_arena:
	arena_close(&w->file);
out_free:
	free(order);
	free(w->keys);
	if (error[0] == '\0')
		snprintf(error, error_len, "no world to measure in: %s",
			 strerror(-r));
	return r;
}

void core_world_deinit(struct core_world *w)
{
	memo_deinit(&w->memo);
	keytable_deinit(&w->table);
	arena_close(&w->file);
	free(w->keys);
}

/* Takes one unit of each organization, or all that there are. */
static void take_everywhere(struct core_world *w, const struct instant *now,
			    bool all)
{
	struct arena *a = &w->file.arena;
	struct verdict verdict = {.remaining = 0};
	struct plain_ask ask = {
		.key = &a->keys[0], .verdict = &verdict, .cost = 1};
	struct claim c;
	struct step s;

	memset(&s, 0, sizeof(s));
	s.arena = a;
	s.claim = &c;
	claim_init(&c, a, OWNER_CONTROL, NULL);
	for (uint32_t slot = 1; slot <= hot_org(w); slot++) {
		s.org = &a->orgs[slot];
		s.plan = plan_of(a, s.org);
		ask.cost = all ? s.plan->rules[0].limit : 1;
		/* Then what was left of it when not all was there. */
		while (plain_run(&s, &ask, 1, now) == PLAIN_DENIED && all &&
		       verdict.remaining > 0)
			ask.cost = verdict.remaining;
	}
}

void core_world_fill(struct core_world *w)
{
	w->full_at = instant_now();
	take_everywhere(w, &w->full_at, true);
}

void core_world_rest(struct core_world *w)
{
	struct instant now = instant_now();

	take_everywhere(w, &now, false);
}
