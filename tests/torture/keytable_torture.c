/* SPDX-License-Identifier: MIT */

/*
 * gate/keytable under threads: readers look keys up while the writer inserts,
 * removes, re-uses tombstones and lets the table grow and be rebuilt. A key
 * that is surely there is always found, in its own slot; one that is surely
 * not there never is; and no reader touches a table that was freed.
 */
#include "gate/keytable.h"

#include "../gate/fixture.h"
#include "base/epoch.h"
#include "torture.h"

#define READERS 3u
#define KEYS 6000u
#ifdef STILE_TSAN
#define CHANGES 60000u
#else
#define CHANGES 2000000u
#endif
#define LOOKUPS 20000u /* each reader does at least */
#define SWEEP 16u
/* The table is emptied and filled so often that it is rebuilt many times. */
#define TIDES 10u

enum { ABSENT = 0, COMING = 1, PRESENT = 2, GOING = 3 }; /* phase % 4 */

static struct fixture fixture;
static struct keytable table;
static struct epoch epoch;
static struct epoch_reader readers[READERS];
static _Atomic(uint32_t) phases[KEYS + 1];
static atomic_bool enough;
static _Atomic(uint64_t) looked_up[READERS];
static uint64_t sure[READERS];

/* Every third key shares its bucket with many others: chains overflow. */
static void hash_of(uint32_t slot, uint8_t out[static 32])
{
	struct rng r = {slot};
	unsigned i;

	for (i = 0; i < 4; i++) {
		uint64_t v = rng_next(&r);

		if (i == 0 && slot % 3 == 0)
			v &= ~(UINT64_C(3) << 24);
		memcpy(out + i * 8, &v, 8);
	}
}

static void sweep(struct torture_thread *t)
{
	const struct keytable_level *level = keytable_level(&table);
	uint8_t hash[32];
	unsigned i;

	for (i = 0; i < SWEEP; i++) {
		uint32_t slot = 1 + rng_below(&t->rng, KEYS), found;
		uint32_t before, after;

		hash_of(slot, hash);
		/* PAIRS: change(), release: a key that was there before the
		 * lookup began must be found by it. The level was read before,
		 * as a worker does; what is surely there is in it or was
		 * inserted into the one that is current. */
		before = atomic_load_explicit(&phases[slot],
					      memory_order_acquire);
		found = keytable_find(level, fixture.arena->keys, hash);
		after = atomic_load_explicit(&phases[slot],
					     memory_order_relaxed);
		/* PAIRS: nothing. One writer, and a number only. */
		atomic_fetch_add_explicit(&looked_up[t->idx], 1,
					  memory_order_relaxed);
		check(found == 0 || found == slot);
		if (before != after || before % 2 != 0)
			continue;
		sure[t->idx]++;
		if (before % 4 == ABSENT)
			check(found == 0);
		else
			check(found == slot);
	}
}

static void read_keys(struct torture_thread *t)
{
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	while (!atomic_load_explicit(&enough, memory_order_relaxed)) {
		epoch_enter(&readers[t->idx]);
		sweep(t);
		epoch_leave(&readers[t->idx]);
	}
}

static void change(uint32_t slot)
{
	uint32_t phase =
		atomic_load_explicit(&phases[slot], memory_order_relaxed);
	uint8_t hash[32];

	hash_of(slot, hash);
	/* PAIRS: sweep(). The phase after COMING or GOING is a release: what
	 * was done to the table is seen by whoever sees it. The one before
	 * is ordered by the release of the entry itself. */
	atomic_store_explicit(&phases[slot], phase + 1, memory_order_relaxed);
	if (phase % 4 == ABSENT)
		check(keytable_insert(&table, hash, slot) == 0);
	else
		check(keytable_remove(&table, hash, slot));
	atomic_store_explicit(&phases[slot], phase + 2, memory_order_release);
}

/* The readers may come late on a busy machine. */
static bool readers_did(uint64_t lookups)
{
	unsigned i;

	for (i = 0; i < READERS; i++)
		if (atomic_load_explicit(&looked_up[i], memory_order_relaxed) <
		    lookups)
			return false;
	return true;
}

static void write_keys(struct torture_thread *t)
{
	uint64_t i, changes = torture_work(CHANGES), tide = changes / TIDES;

	for (i = 0; i < changes || !readers_did(LOOKUPS); i++) {
		uint32_t slot = 1 + rng_below(&t->rng, KEYS);
		bool there = atomic_load_explicit(&phases[slot],
						  memory_order_relaxed) %
				     4 ==
			     PRESENT;
		bool rising = i / tide % 2 == 0;

		if (there == rising && rng_below(&t->rng, 4) != 0)
			continue;
		change(slot);
	}
	atomic_store_explicit(&enough, true, memory_order_relaxed);
}

int main(void)
{
	uint64_t seed = test_seed("keytable_torture"), lookups = 0, sures = 0;
	struct rng rng = {seed};
	uint32_t slot;
	uint8_t hash[32];
	unsigned i;

	torture_setup();
	fixture_open(&fixture);
	epoch_init(&epoch);
	for (i = 0; i < READERS; i++)
		epoch_register(&epoch, &readers[i]);
	check(keytable_init(&table, 0, &epoch) == 0);
	for (slot = 1; slot <= KEYS; slot++) {
		hash_of(slot, hash);
		memcpy(fixture_key(&fixture, slot)->hash, hash + KEY_HASH_SKIP,
		       sizeof(hash) - KEY_HASH_SKIP);
	}
	for (i = 0; i < READERS; i++)
		torture_add(read_keys, seed);
	torture_add(write_keys, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();
	for (i = 0; i < READERS; i++) {
		lookups += looked_up[i];
		sures += sure[i];
	}
	printf("keytable_torture: %llu lookups, %llu with a sure answer, %llu "
	       "buckets\n",
	       (unsigned long long)lookups, (unsigned long long)sures,
	       (unsigned long long)keytable_level(&table)->mask + 1);
	check(sures > lookups / 2);
	check(keytable_level(&table)->mask > 64);
	keytable_deinit(&table);
	fixture_close(&fixture);
	return 0;
}
