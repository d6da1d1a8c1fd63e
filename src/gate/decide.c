/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/sha256.h"
#include "gate/outside.h"
#include "gate/place.h"
#include "gate/window.h"

#define MS_PER_MINUTE 60000u

void gate_init(struct gate *g, struct arena *a, struct keytable *t,
	       const struct keytext_prefix *prefix, uint32_t owner,
	       struct counters *counters)
{
	static const struct routes none;

	memset(g, 0, sizeof(*g));
	g->arena = a;
	g->table = t;
	g->counters = counters;
	g->prefix = *prefix;
	g->options.routes = &none;
	claim_init(&g->claim, a, owner, counters);
	g->step.arena = a;
	g->step.claim = &g->claim;
	g->step.counters = counters;
}

/* Which of so many holds are ours to give away. A hold that is in use stays so
 * wherever it is: after a restart it may be in another's part. */
static void part_holds(struct gate *g, uint32_t count)
{
	const struct gate_options *o = &g->options;
	uint32_t control = o->control_holds < count ? o->control_holds : count;
	uint32_t first = 0, share = 0;

	if (g->claim.owner == OWNER_GATE) {
		share = control;
	} else if (g->claim.owner < o->workers) {
		share = (count - control) / o->workers;
		if (share < STEP_ASKS_MAX)
			share = 0;
		first = control + g->claim.owner * share;
	}
	g->hold_first = g->hold_next = first;
	g->hold_end = first + share;
}

void gate_configure(struct gate *g, const struct gate_options *options)
{
	static const struct routes none;
	struct arena_header *h = g->arena->header;

	g->options = *options;
	if (options->routes == NULL)
		g->options.routes = &none;
	g->step.once_ns = options->once_ms * 1000000;
	/* PAIRS: nothing, here and below. Made before workers run. */
	g->has_once = options->once_ms != 0 &&
		      subjects_open(&g->once, g->arena,
				    atomic_load_explicit(&h->once,
							 memory_order_relaxed));
	g->has_cells = subjects_open(
		&g->cells, g->arena,
		atomic_load_explicit(&h->cells, memory_order_relaxed));
	if (atomic_load_explicit(&h->holds, memory_order_relaxed) != 0)
		part_holds(g, h->holds_count);
}

/* In two halves: of one piece gcc makes `rep stos`, which takes longer to begin
 * than this takes. */
static inline void clear(struct verdict *v)
{
	const size_t half = LINE_BYTES;

	memset(v, 0, half);
	memset((uint8_t *)v + half, 0, sizeof(*v) - half);
}
static_assert(sizeof(struct verdict) > LINE_BYTES &&
		      sizeof(struct verdict) <= 2 * LINE_BYTES,
	      "two halves");

/* Stage 1: the hash of each check that has a credential worth looking up. */
static void hash_keys(struct gate *g, struct check *checks,
		      struct verdict *verdicts, unsigned count,
		      const struct keytable_level *level)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		struct check *c = &checks[i];
		struct verdict *v = &verdicts[i];

		clear(v);
		g->slots[i] = 0;
		if (c->credential == CREDENTIAL_NONE) {
			v->reason = c->reason;
			v->detail = c->detail;
			continue;
		}
		v->reason = REASON_INVALID_KEY;
		if (unlikely(c->credential == CREDENTIAL_HOLD))
			continue;
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
		if (checks[i].credential == CREDENTIAL_NONE ||
		    checks[i].credential == CREDENTIAL_HOLD)
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
		__builtin_prefetch(&a->orgs[key->org], 1);
		if (key->project != 0)
			__builtin_prefetch(&a->projects[key->project], 1);
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
			window_prefetch(a, &a->orgs[org].first);
	}
}

/* ---- denials, by key and route ---- */

static int denial_of(uint8_t reason)
{
	switch (reason) {
	case REASON_RATE_LIMITED:
	case REASON_CONCURRENCY:
		return DENIAL_RATE;
	case REASON_COST_ABOVE_LIMIT:
		return DENIAL_COST;
	case REASON_SUSPENDED:
		return DENIAL_SUSPENDED;
	case REASON_SCOPE:
	case REASON_ROUTE:
	case REASON_NETWORK:
		return DENIAL_ACCESS;
	case REASON_BUDGET:
		return DENIAL_BUDGET;
	case REASON_CREDITS:
		return DENIAL_CREDITS;
	default:
		return -1;
	}
}

static void count_denials(struct gate *g, const struct key *key, uint32_t route,
			  uint8_t reason, unsigned n)
{
	int denial = denial_of(reason);
	struct cell *cell = denial >= 0 ? gate_cell(g, key, route) : NULL;

	if (cell != NULL)
		/* PAIRS: the collector's load: a number. */
		atomic_fetch_add_explicit(&cell->denied[denial], n,
					  memory_order_relaxed);
}

static bool denied_alike(const struct ask *a, const struct ask *b)
{
	return a->key == b->key && a->route_number == b->route_number &&
	       a->verdict->reason == b->verdict->reason && a->peek == b->peek;
}

/* Those that are alike are counted together. */
static void deny_run(struct gate *g)
{
	struct step *s = &g->step;
	unsigned i, n;

	for (i = 0; i < s->count; i += n) {
		struct ask *a = &s->asks[i];

		for (n = 1; i + n < s->count && denied_alike(a, a + n); n++) {
		}
		if (!a->peek)
			count_denials(g, a->key, a->route_number,
				      a->verdict->reason, n);
	}
}

static void deny_plain(struct gate *g, unsigned count)
{
	struct rule *rule = (struct rule *)(uintptr_t)&g->step.plan->rules[0];
	unsigned i, n;

	for (i = 0; i < count; i += n) {
		const struct plain_ask *a = &g->plain[i];

		for (n = 1; i + n < count && a->key == a[n].key &&
			    a->verdict->reason == a[n].verdict->reason;
		     n++) {
		}
		if (likely(a->verdict->reason == REASON_ALLOW))
			continue;
		/* PAIRS: nothing: a number to be shown. */
		atomic_fetch_add_explicit(&rule->tripped, n,
					  memory_order_relaxed);
		count_denials(g, a->key, ROUTE_NONE, a->verdict->reason, n);
	}
}

/* ---- a run of one organization ---- */

static inline void begin_run(struct gate *g)
{
	g->step.count = 0;
	g->hold_left = g->hold_end - g->hold_first;
}

static void take_run(struct gate *g, const struct instant *now,
		     uint64_t wall_ms)
{
	struct step *s = &g->step;
	bool denied = false;
	unsigned i;

	step_run(s, now, wall_ms);
	s->denied = false;
	for (i = 0; i < s->count; i++) {
		struct ask *a = &s->asks[i];

		denied = denied || a->verdict->reason != REASON_ALLOW;
		if (unlikely(a->pending != 0))
			ask_release(g, a, now, a->verdict->charged != 0);
	}
	if (denied && g->has_cells)
		deny_run(g);
	begin_run(g);
}

/* Does an earlier check of the run hold units at this one's address? It has to
 * be decided first: they count as used, and it may be denied. */
static bool follows(const struct step *s, const struct check *c)
{
	const struct check_extra *x = c->extra;
	unsigned i;

	if (x == NULL || !x->has_address)
		return false;
	for (i = 0; i < s->count; i++)
		if (s->asks[i].pending != 0 &&
		    outside_same(s->asks[i].check->extra->address, x->address))
			return true;
	return false;
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

/* Does the check say no more than key and cost, and is there no budget? */
static inline bool plain(const struct gate *g, const struct check *c,
			 const struct key *key)
{
	const struct project *p = &g->arena->projects[key->project];

	/* PAIRS: refuse(). */
	return c->extra == NULL && c->flags == 0 &&
	       KEY_ACCESS(atomic_load_explicit(&key->state,
					       memory_order_relaxed)) == 0 &&
	       (key->project == 0 ||
		(claim_load(&p->budgets[0].cap) == BUDGET_NONE &&
		 claim_load(&p->budgets[1].cap) == BUDGET_NONE));
}

/* Those of the group that are plain, up to the first that is not. Returns the
 * first that is left. */
static unsigned judge_plain(struct gate *g, const struct check *checks,
			    struct verdict *verdicts, unsigned first,
			    struct org *org, const struct instant *now,
			    uint64_t wall_ms)
{
	struct arena *a = g->arena;

	while (first != GROUP_END) {
		unsigned i = first, count = 0;
		enum plain_end end;

		do {
			struct plain_ask *ask = &g->plain[count];
			struct key *key = &a->keys[g->slots[i]];

			if (!plain(g, &checks[i], key))
				break;
			verdicts[i].org = org->id;
			if (key->project != 0)
				verdicts[i].project =
					a->projects[key->project].id;
			ask->key = key;
			ask->verdict = &verdicts[i];
			ask->cost = checks[i].cost != 0 ? checks[i].cost : 1;
			touch(key, wall_ms);
			count++;
			i = g->groups.next[i];
		} while (i != GROUP_END && count < PLAIN_ASKS_MAX);
		if (count == 0)
			break;
		end = plain_run(&g->step, g->plain, count, now);
		if (unlikely(end == PLAIN_NOT)) {
			g->step.denied = true;
			break;
		}
		if (unlikely(end == PLAIN_DENIED))
			deny_plain(g, count);
		first = i;
	}
	return first;
}

/* Stage 5: may they pass, the checks of one group. */
static void judge(struct gate *g, const struct check *checks,
		  struct verdict *verdicts, unsigned first,
		  const struct instant *now, uint64_t wall_ms)
{
	struct arena *a = g->arena;
	struct org *org = &a->orgs[g->groups.org[first]];
	struct step *s = &g->step;
	/* PAIRS: as key_valid(). */
	bool suspended =
		atomic_load_explicit(&org->state, memory_order_relaxed) !=
		SLOT_ACTIVE;
	unsigned i;

	s->org = org;
	s->plan = plan_of(a, org);
	if (likely(s->plan->plain && !suspended &&
		   claim_load(&org->credits) == 0))
		first = judge_plain(g, checks, verdicts, first, org, now,
				    wall_ms);
	if (likely(first == GROUP_END))
		return;
	begin_run(g);
	for (i = first; i != GROUP_END; i = g->groups.next[i]) {
		struct key *key = &a->keys[g->slots[i]];

		verdicts[i].org = org->id;
		if (key->project != 0)
			verdicts[i].project = a->projects[key->project].id;
		if (s->count == STEP_ASKS_MAX || follows(s, &checks[i]))
			take_run(g, now, wall_ms);
		ask_fill(g, &s->asks[s->count++], &checks[i], &verdicts[i], key,
			 suspended, now);
		if ((checks[i].flags & CHECK_PEEK) == 0 && !suspended)
			touch(key, wall_ms);
	}
	take_run(g, now, wall_ms);
}

void gate_decide(struct gate *g, struct check *checks, struct verdict *verdicts,
		 unsigned count, const struct instant *now, uint64_t wall_ms)
{
	const struct keytable_level *level = keytable_level(g->table);
	unsigned i;

	check(count <= GATE_BATCH_MAX);
	g->explained = 0;
	hash_keys(g, checks, verdicts, count, level);
	probe_table(g, checks, count, level);
	identify(g, checks, verdicts, count, level, wall_ms);
	group(g, count);
	for (i = 0; i < g->groups.count; i++)
		judge(g, checks, verdicts, g->groups.first[i], now, wall_ms);
	for (i = 0; i < count; i++) {
		if (unlikely(checks[i].credential == CREDENTIAL_HOLD))
			gate_settle(g, &checks[i], &verdicts[i], now, wall_ms);
		counter_add(&g->counters->verdicts[verdicts[i].reason], 1);
	}
}
