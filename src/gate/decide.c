/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/sha256.h"
#include "gate/window.h"

#define MS_PER_MINUTE 60000u

void gate_init(struct gate *g, struct arena *a, struct keytable *t,
	       const struct keytext_prefix *prefix, uint32_t owner,
	       struct counters *counters)
{
	g->arena = a;
	g->table = t;
	g->counters = counters;
	g->prefix = *prefix;
	claim_init(&g->claim, a, owner, counters);
}

/*
 * Ticks to milliseconds, rounded up. The last tick is left out: it is there
 * because the check's own tick had begun already, and a reply needs longer than
 * 4 us to arrive. With it, a check that fills a window of 60 s would be told to
 * come back in 60,001 ms, which HTTP rounds to 61 s. A last tick that stands
 * alone is 1 ms: 0 would say that the window is at rest.
 */
static inline uint32_t ticks_to_ms(uint64_t ticks)
{
	uint64_t ms = (ticks + CLOCK_TICKS_PER_MS - 2) / CLOCK_TICKS_PER_MS;

	if (ticks == 1)
		ms = 1;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static inline void answer_window(struct verdict *v,
				 const struct window_answer *w)
{
	v->limit = w->limit;
	v->remaining = w->in_window < w->limit ? w->limit - w->in_window : 0;
	v->window_ms = ticks_to_ms(w->window);
	v->reset_ms = ticks_to_ms(w->reset);
	v->retry_ms = ticks_to_ms(w->retry);
	memcpy(v->limit_name, "org", sizeof("org"));
}

/* Stage 1: the hash of each check that has a credential worth looking up. */
static void hash_keys(struct gate *g, struct check *checks,
		      struct verdict *verdicts, unsigned count,
		      const struct keytable_level *level)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		struct check *c = &checks[i];
		struct verdict *v = &verdicts[i];

		memset(v, 0, sizeof(*v));
		g->slots[i] = 0;
		if (c->credential == CREDENTIAL_NONE) {
			v->reason = c->reason;
			v->detail = c->detail;
			continue;
		}
		v->reason = REASON_INVALID_KEY;
		if (c->credential == CREDENTIAL_KEY) {
			if (keytext_classify(&g->prefix, c->key, c->key_len) ==
			    KEYTEXT_BROKEN) {
				c->credential = CREDENTIAL_NONE;
				continue;
			}
			sha256(c->key, c->key_len, c->hash);
		}
		keytable_prefetch(level, c->hash);
	}
}

/* Stage 2: the buckets have arrived; fetch the keys' own lines. */
static void probe_table(struct gate *g, const struct check *checks,
			unsigned count, const struct keytable_level *level)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		if (checks[i].credential == CREDENTIAL_NONE)
			continue;
		g->slots[i] = keytable_probe(level, checks[i].hash);
		__builtin_prefetch(&g->arena->keys[g->slots[i]]);
	}
}

static inline bool key_valid(const struct key *key, uint64_t wall_ms)
{
	uint64_t expires_ms;

	/* PAIRS: the registry's stores, relaxed. They guard no other memory; an
	 * acknowledged change is seen because a grace period lies between it
	 * and this sweep (base/epoch.h). Likewise expires_ms. */
	if (atomic_load_explicit(&key->state, memory_order_relaxed) !=
	    SLOT_ACTIVE)
		return false;
	expires_ms =
		atomic_load_explicit(&key->expires_ms, memory_order_relaxed);
	return expires_ms == 0 || wall_ms < expires_ms;
}

/* Stage 3: which key is it really, and is it any good. */
static void identify(struct gate *g, const struct check *checks,
		     struct verdict *verdicts, unsigned count,
		     const struct keytable_level *level, uint64_t wall_ms)
{
	struct arena *a = g->arena;
	unsigned i;

	for (i = 0; i < count; i++) {
		const struct key *key;
		uint32_t slot;

		if (g->slots[i] == 0)
			continue;
		slot = g->slots[i];
		if (unlikely(!keytable_match(&a->keys[slot], checks[i].hash)))
			slot = keytable_find(level, a->keys, checks[i].hash);
		key = &a->keys[slot];
		if (slot == 0 || !key_valid(key, wall_ms)) {
			g->slots[i] = 0;
			continue;
		}
		g->slots[i] = slot;
		verdicts[i].reason = REASON_ALLOW;
		verdicts[i].key = key->id;
		__builtin_prefetch(&a->orgs[key->org].gate, 1);
		__builtin_prefetch(&a->orgs[key->org].rule);
		if (key->project != 0)
			__builtin_prefetch(&a->projects[key->project]);
	}
}

/* Stage 4: the organizations have arrived; fetch what they remember. */
static void fetch_windows(const struct gate *g, unsigned count)
{
	const struct arena *a = g->arena;
	unsigned i;

	for (i = 0; i < count; i++)
		if (g->slots[i] != 0)
			window_prefetch(a, &a->orgs[a->keys[g->slots[i]].org]);
}

static inline void touch(struct key *key, uint64_t wall_ms)
{
	uint32_t minute = (uint32_t)(wall_ms / MS_PER_MINUTE);

	/* PAIRS: nothing. A coarse time for people; two workers may write the
	 * same or neighbouring minutes in either order. */
	if (atomic_load_explicit(&key->last_use_min, memory_order_relaxed) !=
	    minute)
		atomic_store_explicit(&key->last_use_min, minute,
				      memory_order_relaxed);
}

/* Stage 5: may it pass. */
static void judge(struct gate *g, const struct check *c, struct verdict *v,
		  uint32_t slot, uint64_t now, uint64_t wall_ms)
{
	struct arena *a = g->arena;
	struct key *key = &a->keys[slot];
	struct org *org = &a->orgs[key->org];
	struct window_answer w;

	v->org = org->id;
	if (key->project != 0)
		v->project = a->projects[key->project].id;

	/* PAIRS: as key_valid(). */
	if (atomic_load_explicit(&org->state, memory_order_relaxed) !=
	    SLOT_ACTIVE) {
		window_peek(a, org, 0, now, g->counters, &w);
		v->reason = REASON_SUSPENDED;
		answer_window(v, &w);
		v->retry_ms = 0; /* waiting does not help */
		return;
	}
	if (c->flags & CHECK_PEEK) {
		window_peek(a, org, c->cost, now, g->counters, &w);
	} else {
		window_take(&g->claim, org, &key->used, c->cost, now, &w);
		touch(key, wall_ms);
	}
	answer_window(v, &w);
	if (!w.allowed)
		v->reason = c->cost > w.limit ? REASON_COST_ABOVE_LIMIT
					      : REASON_RATE_LIMITED;
}

void gate_decide(struct gate *g, struct check *checks, struct verdict *verdicts,
		 unsigned count, uint64_t now_ticks, uint64_t wall_ms)
{
	const struct keytable_level *level = keytable_level(g->table);
	unsigned i;

	check(count <= GATE_BATCH_MAX);
	hash_keys(g, checks, verdicts, count, level);
	probe_table(g, checks, count, level);
	identify(g, checks, verdicts, count, level, wall_ms);
	fetch_windows(g, count);
	for (i = 0; i < count; i++) {
		if (g->slots[i] != 0)
			judge(g, &checks[i], &verdicts[i], g->slots[i],
			      now_ticks, wall_ms);
		counter_add(&g->counters->verdicts[verdicts[i].reason], 1);
	}
}
