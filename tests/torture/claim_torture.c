/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/claim.c by threads: more threads than cores decide on two
 * gates and are stopped at any point. All words of one decision agree at each
 * version, the totals are exact to the unit, and the others go on while one
 * thread is stopped for good.
 */
#include "gate/claim.h"

#include "../gate/fixture.h"
#include "base/counters.h"
#include "torture.h"

#define THREADS 5u
#define GATES 2u
/* Under each gate: words that are raised together, and one of each thread. */
#define SHARED (CLAIM_WORDS_MAX - 1)
#define DECISIONS 150000u
#define FREEZES 20u

static struct fixture fixture;
static struct counters counters[THREADS];
static atomic_bool thawed; /* no thread will be frozen any more */

/* What each thread knows that it did. */
static struct {
	uint64_t units[GATES];
	uint64_t commits[GATES];
} done[THREADS];

static word_t *gate_of(unsigned g)
{
	return &fixture.arena->orgs[g + 1].gate;
}

static word_t *shared_of(unsigned g, unsigned i)
{
	return &fixture.arena->keys[1 + g * 100 + i].used;
}

static word_t *own_of(unsigned g, unsigned thread)
{
	return &fixture.arena->keys[1 + g * 100 + SHARED + thread].used;
}

/* One try at a decision; checks what it reads of a version. */
static bool decide(struct torture_thread *t, struct claim *c, unsigned g)
{
	uint64_t version = claim_settle(c->arena, gate_of(g), c->counters);
	unsigned i, first = rng_below(&t->rng, SHARED);
	uint64_t shared[SHARED], own, units = 1 + rng_below(&t->rng, 9);

	for (i = 0; i < SHARED; i++)
		shared[i] = claim_load(shared_of(g, i));
	own = claim_load(own_of(g, t->idx));
	if (!claim_unchanged(gate_of(g), version))
		return false;
	for (i = 1; i < SHARED; i++)
		check(shared[i] == shared[0]);
	check(own == done[t->idx].units[g]);

	/* In any order. */
	claim_begin(c);
	for (i = 0; i < SHARED; i++) {
		unsigned w = (first + i) % SHARED;

		claim_add(c, shared_of(g, w), shared[w], shared[w] + units);
		if (i == first / 2)
			claim_add(c, own_of(g, t->idx), own, own + units);
	}
	if (!claim_commit(c, gate_of(g), version))
		return false;
	done[t->idx].units[g] += units;
	done[t->idx].commits[g]++;
	return true;
}

static void run(struct torture_thread *t)
{
	uint64_t i, decisions = torture_work(DECISIONS);
	struct claim claim;

	claim_init(&claim, fixture.arena, t->idx * 9 % ARENA_OWNERS,
		   &counters[t->idx]);
	/* PAIRS: main(), relaxed: it guards nothing. */
	for (i = 0; i < decisions ||
		    !atomic_load_explicit(&thawed, memory_order_relaxed);
	     i++)
		while (!decide(t, &claim, rng_below(&t->rng, GATES)))
			;
}

/* Wherever a thread stands still: decisions go on, under both gates. */
static void freeze(struct rng *rng)
{
	unsigned i, g;

	for (i = 0; i < FREEZES; i++) {
		torture_pause_us(rng_below(rng, 500));
		check(torture_freeze(rng_below(rng, THREADS)));
		for (g = 0; g < GATES; g++) {
			uint64_t start =
				claim_settle(fixture.arena, gate_of(g), NULL);

			while (claim_settle(fixture.arena, gate_of(g), NULL) <
			       start + 2 * 100ULL)
				torture_pause_us(20);
		}
		torture_thaw();
	}
}

static uint64_t helped(void)
{
	uint64_t helps = 0;
	unsigned i;

	for (i = 0; i < THREADS; i++)
		helps += counter_read(&counters[i].helps);
	return helps;
}

int main(void)
{
	uint64_t seed = test_seed("claim_torture"), decisions = 0;
	struct rng rng = {seed};
	unsigned g, i;

	torture_setup();
	fixture_open(&fixture);
	for (i = 0; i < THREADS; i++)
		torture_add(run, seed);
	torture_go();
	do {
		freeze(&rng);
	} while (helped() == 0);
	atomic_store_explicit(&thawed, true, memory_order_relaxed);
	torture_harass(&rng);
	torture_end();

	for (g = 0; g < GATES; g++) {
		uint64_t units = 0, commits = 0;

		for (i = 0; i < THREADS; i++) {
			check(fixture_get(own_of(g, i)) == done[i].units[g]);
			units += done[i].units[g];
			commits += done[i].commits[g];
		}
		for (i = 0; i < SHARED; i++)
			check(fixture_get(shared_of(g, i)) == units);
		check(fixture_get(gate_of(g)) == 2 * commits);
		decisions += commits;
	}
	printf("claim_torture: %llu decisions, %llu helps\n",
	       (unsigned long long)decisions, (unsigned long long)helped());
	fixture_close(&fixture);
	return 0;
}
