/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/sha256.h"

#define MS_PER_MINUTE 60000u

void gate_init(struct gate *g, struct arena *a, struct keytable *t,
	       const struct keytext_prefix *prefix, uint32_t owner,
	       struct counters *counters)
{
	g->arena = a;
	g->table = t;
	g->counters = counters;
	g->prefix = *prefix;
	memset(&g->groups, 0, sizeof(g->groups));
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
	if (KEY_STATE(atomic_load_explicit(
		    &key->state, memory_order_relaxed)) != SLOT_ACTIVE)
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

#define GROUP_END UINT16_MAX

/*
 * Puts check `i` into the group of its organization; true when it is the first
 * there. `latest` is a hint: what another organization or an earlier batch
 * has left there is not the last of a group of this organization. Two
 * organizations at one place of it may have several groups each in a batch:
 * earlier checks are in earlier groups all the same.
 */
static inline bool join(struct gate_groups *s, unsigned i, uint32_t org)
{
	uint16_t *latest = &s->latest[org % GATE_LATEST];
	unsigned before = *latest;

	*latest = (uint16_t)i;
	s->org[i] = org;
	s->next[i] = GROUP_END;
	if (before < i && s->org[before] == org &&
	    s->next[before] == GROUP_END) {
		s->next[before] = (uint16_t)i;
		return false;
	}
	s->first[s->count++] = (uint16_t)i;
	return true;
}

/* Stage 4: the organizations have arrived; fetch what they remember, and find
 * out which checks belong together. */
static void group(struct gate *g, unsigned count)
{
	const struct arena *a = g->arena;
	unsigned i;

	g->groups.count = 0;
	for (i = 0; i < count; i++) {
		uint32_t org = g->slots[i] != 0 ? a->keys[g->slots[i]].org : 0;

		if (org == 0)
			g->groups.org[i] = 0;
		else if (join(&g->groups, i, org))
			window_prefetch(a, &a->orgs[org]);
	}
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

static inline void answer(const struct check *c, struct verdict *v,
			  const struct window_answer *w)
{
	answer_window(v, w);
	if (!w->allowed)
		v->reason = c->cost > w->limit ? REASON_COST_ABOVE_LIMIT
					       : REASON_RATE_LIMITED;
}

/* Decides the checks that have been put into the run. */
static void take_run(struct gate *g, const struct check *checks,
		     struct verdict *verdicts, struct org *org, uint64_t now)
{
	unsigned count = g->run_count, i;

	window_take(&g->claim, org, g->asks, count, now);
	for (i = 0; i < count; i++)
		answer(&checks[g->run[i]], &verdicts[g->run[i]],
		       &g->asks[i].answer);
	g->run_count = 0;
}

/* What counts nothing: the organization is suspended, or a mere question. */
static void peek(struct gate *g, const struct check *c, struct verdict *v,
		 struct org *org, uint64_t now, bool suspended)
{
	struct window_answer w;

	window_peek(g->arena, org, suspended ? 0 : c->cost, now, g->counters,
		    &w);
	if (!suspended) {
		answer(c, v, &w);
		return;
	}
	v->reason = REASON_SUSPENDED;
	answer_window(v, &w);
	v->retry_ms = 0; /* waiting does not help */
}

/* Stage 5: may they pass, the checks of one group. */
static void judge(struct gate *g, const struct check *checks,
		  struct verdict *verdicts, unsigned first, uint64_t now,
		  uint64_t wall_ms)
{
	struct arena *a = g->arena;
	struct org *org = &a->orgs[g->groups.org[first]];
	/* PAIRS: as key_valid(). */
	bool suspended =
		atomic_load_explicit(&org->state, memory_order_relaxed) !=
		SLOT_ACTIVE;
	unsigned i;

	g->run_count = 0;
	for (i = first; i != GROUP_END; i = g->groups.next[i]) {
		const struct check *c = &checks[i];
		struct verdict *v = &verdicts[i];
		struct key *key = &a->keys[g->slots[i]];
		bool counts = !suspended && (c->flags & CHECK_PEEK) == 0;

		v->org = org->id;
		if (key->project != 0)
			v->project = a->projects[key->project].id;
		if (g->run_count == WINDOW_ASKS_MAX ||
		    (!counts && g->run_count))
			take_run(g, checks, verdicts, org, now);
		if (!counts) {
			peek(g, c, v, org, now, suspended);
			continue;
		}
		g->run[g->run_count] = (uint16_t)i;
		g->asks[g->run_count].key_used = &key->used;
		g->asks[g->run_count].cost = c->cost;
		g->run_count++;
		touch(key, wall_ms);
	}
	if (g->run_count > 0)
		take_run(g, checks, verdicts, org, now);
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
	group(g, count);
	for (i = 0; i < g->groups.count; i++)
		judge(g, checks, verdicts, g->groups.first[i], now_ticks,
		      wall_ms);
	for (i = 0; i < count; i++)
		counter_add(&g->counters->verdicts[verdicts[i].reason], 1);
}
