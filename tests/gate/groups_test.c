/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "base/counters.h"
#include "fixture.h"
#include "gate/decide.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/*
 * Checks of one organization are decided together, and nobody can tell: the
 * same batches go to a gate as a whole and to another one check by check, and
 * every verdict and every total is the same.
 */
#define BATCHES 1500u
#define KEYS 24u
#define WALL_MS UINT64_C(1700000000000)

/* The second half finds its latest check where the first half finds it. */
static const uint32_t orgs[] = {1, 2, 3, 1 + GATE_LATEST, 2 + GATE_LATEST};
#define ORGS (sizeof(orgs) / sizeof(orgs[0]))
#define SUSPENDED 3u

struct stand {
	struct fixture f;
	struct keytable table;
	struct counters counters;
	struct gate gate;
};

static void hash_of(uint32_t slot, uint8_t out[static 32])
{
	struct rng rng = {slot};
	unsigned i;

	for (i = 0; i < 32; i++)
		out[i] = (uint8_t)rng_next(&rng);
}

static struct stand *open_stand(void)
{
	struct stand *s = aligned_alloc(LINE_BYTES, sizeof(*s));
	struct keytext_prefix prefix;
	uint32_t i;

	memset(s, 0, sizeof(*s));
	fixture_open(&s->f);
	cr_assert_eq(keytable_init(&s->table, 0, NULL), 0);
	cr_assert(keytext_prefix_init(&prefix, "il"));
	gate_init(&s->gate, s->f.arena, &s->table, &prefix, 0, &s->counters);
	for (i = 0; i < ORGS; i++)
		fixture_org(&s->f, orgs[i], 5 + 40 * i, 200, 0);
	atomic_store_explicit(&s->f.arena->orgs[SUSPENDED].state,
			      SLOT_SUSPENDED, memory_order_relaxed);
	for (i = 1; i <= KEYS; i++) {
		struct key *key = fixture_key(&s->f, i);
		uint8_t hash[32];

		hash_of(i, hash);
		memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
		memcpy(key->id.c, "key00000", ID_LEN);
		key->id.c[7] = (char)('a' + i);
		key->org = orgs[i % ORGS];
		atomic_store_explicit(&key->state, SLOT_ACTIVE,
				      memory_order_relaxed);
		cr_assert_eq(keytable_insert(&s->table, hash, i), 0);
	}
	return s;
}

static void close_stand(struct stand *s)
{
	keytable_deinit(&s->table);
	fixture_close(&s->f);
	free(s);
}

/* Of few keys or many; now and then of a key that nobody knows (KEYS + 1). */
static unsigned some_checks(struct rng *rng, struct check *checks)
{
	unsigned count =
		1 + rng_below(rng, rng_below(rng, 8) ? 24 : GATE_BATCH_MAX);
	uint32_t first = 1 + rng_below(rng, KEYS);
	uint32_t keys = 1 + rng_below(rng, KEYS + 2 - first);
	unsigned i;

	for (i = 0; i < count; i++) {
		checks[i] = (struct check){
			.credential = CREDENTIAL_HASH,
			.cost = 1 + rng_below(rng, rng_below(rng, 4) ? 3 : 60),
			.flags = rng_below(rng, 8) == 0 ? CHECK_PEEK : 0,
		};
		hash_of(first + rng_below(rng, keys), checks[i].hash);
	}
	return count;
}

static void same_verdict(const struct verdict *a, const struct verdict *b,
			 unsigned batch, unsigned i)
{
	cr_assert_eq(a->reason, b->reason, "batch %u, check %u: %u, not %u",
		     batch, i, a->reason, b->reason);
	cr_assert_eq(a->limit, b->limit);
	cr_assert_eq(a->remaining, b->remaining,
		     "batch %u, check %u: %u left, not %u", batch, i,
		     a->remaining, b->remaining);
	cr_assert_eq(a->window_ms, b->window_ms);
	cr_assert_eq(a->reset_ms, b->reset_ms);
	cr_assert_eq(a->retry_ms, b->retry_ms);
	cr_assert(id_equal(a->org, b->org));
	cr_assert(id_equal(a->key, b->key));
}

/* What all keys of an organization have used. */
static uint64_t org_used(struct stand *s, uint32_t org)
{
	uint64_t used = 0;
	uint32_t i;

	for (i = 1; i <= KEYS; i++)
		if (s->f.arena->keys[i].org == org)
			used += USED_UNITS(
				fixture_get(&s->f.arena->keys[i].used));
	return used;
}

static void same_totals(struct stand *a, struct stand *b)
{
	uint32_t i;

	for (i = 0; i < ORGS; i++)
		cr_assert_eq(org_used(a, orgs[i]), org_used(b, orgs[i]));
	for (i = 1; i <= KEYS; i++)
		cr_assert_eq(fixture_get(&a->f.arena->keys[i].used),
			     fixture_get(&b->f.arena->keys[i].used));
	for (i = 0; i < REASON_COUNT; i++)
		cr_assert_eq(counter_read(&a->counters.verdicts[i]),
			     counter_read(&b->counters.verdicts[i]));
}

Test(groups, batch_is_answered_as_its_checks_one_by_one)
{
	struct rng rng = {test_seed("groups")};
	struct stand *whole = open_stand(), *single = open_stand();
	static struct check checks[GATE_BATCH_MAX], again[GATE_BATCH_MAX];
	static struct verdict verdicts[GATE_BATCH_MAX];
	uint64_t now = CLOCK_BIAS;
	unsigned batch, i;

	for (batch = 0; batch < BATCHES; batch++) {
		unsigned count = some_checks(&rng, checks);
		struct instant at;

		now += rng_below(&rng, 60);
		at = instant_at(now * CLOCK_TICK_NS);
		memcpy(again, checks, sizeof(again));
		gate_decide(&whole->gate, checks, verdicts, count, &at,
			    WALL_MS);
		for (i = 0; i < count; i++) {
			struct verdict one;

			gate_decide(&single->gate, &again[i], &one, 1, &at,
				    WALL_MS);
			same_verdict(&verdicts[i], &one, batch, i);
		}
	}
	same_totals(whole, single);
	/* Each of them often, or it says little. */
	cr_assert_gt(counter_read(&whole->counters.verdicts[REASON_ALLOW]),
		     BATCHES);
	cr_assert_gt(
		counter_read(&whole->counters.verdicts[REASON_RATE_LIMITED]),
		BATCHES);
	cr_assert_gt(counter_read(&whole->counters.verdicts[REASON_SUSPENDED]),
		     BATCHES);
	close_stand(whole);
	close_stand(single);
}

/* One version for each step, whatever is in it: the first moves the gate to
 * its instant, the other by the least there is. All share a ring entry. */
Test(groups, checks_of_one_organization_take_one_claim)
{
	struct stand *s = open_stand();
	struct org *org = &s->f.arena->orgs[1 + GATE_LATEST];
	struct check checks[2 * STEP_ASKS_MAX];
	struct verdict verdicts[2 * STEP_ASKS_MAX];
	struct instant at = instant_at(INSTANT_BIAS_NS);
	unsigned i;

	for (i = 0; i < 2 * STEP_ASKS_MAX; i++) {
		checks[i] = (struct check){.credential = CREDENTIAL_HASH,
					   .cost = 1};
		hash_of(i % 2 ? 3 : 8, checks[i].hash);
	}
	gate_decide(&s->gate, checks, verdicts, 2 * STEP_ASKS_MAX, &at,
		    WALL_MS);
	for (i = 0; i < 2 * STEP_ASKS_MAX; i++) {
		cr_assert_eq(verdicts[i].reason, REASON_ALLOW);
		cr_assert_eq(verdicts[i].remaining, verdicts[i].limit - 1 - i);
	}
	cr_assert_eq(org_used(s, 1 + GATE_LATEST), 2 * STEP_ASKS_MAX);
	cr_assert_eq(fixture_get(&org->gate),
		     2 * (at.ns + 2 * STEP_ASKS_MAX / PLAIN_ASKS_MAX - 1));
	cr_assert_eq(fixture_get(&s->f.arena->keys[3].used),
		     used_add(0, STEP_ASKS_MAX, STEP_ASKS_MAX));
	close_stand(s);
}
