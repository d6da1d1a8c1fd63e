/* SPDX-License-Identifier: MIT */

/*
 * base/epoch under threads, by its two promises: what a section saw stays
 * until the section ends (an object is spoilt, with plain stores, after a
 * grace period: ThreadSanitizer would see a reader of it), and what was
 * stored before epoch_wait() is seen by every section that begins after it
 * returned - that is what an acknowledged revocation rests on.
 */
#include "base/epoch.h"

#include "torture.h"

#define READERS 3u
#define OBJECTS 4u
#ifdef STILE_TSAN
#define CHANGES 2000u
#else
#define CHANGES 10000u
#endif

#define SECTIONS 10000u /* each reader does at least */

struct object {
	uint64_t a, b; /* equal unless spoilt */
};

static struct epoch epoch;
static struct epoch_reader readers[READERS];
static struct object objects[OBJECTS];
static _Atomic(struct object *) current = &objects[0];
static _Atomic(uint64_t) revoked;      /* stored before the grace period */
static _Atomic(uint64_t) acknowledged; /* stored after it */
static atomic_bool enough;
static _Atomic(uint64_t) sections[READERS];

static void section(struct torture_thread *t)
{
	uint64_t acked, a;
	const volatile struct object *o; /* read it each time */
	unsigned i;

	/* PAIRS: change(), relaxed: somebody heard of the acknowledgement by a
	 * way of which this memory knows nothing. */
	acked = atomic_load_explicit(&acknowledged, memory_order_relaxed);
	epoch_enter(&readers[t->idx]);
	check(atomic_load_explicit(&revoked, memory_order_relaxed) >= acked);
	/* PAIRS: change(), release: the object is complete. */
	o = atomic_load_explicit(&current, memory_order_acquire);
	a = o->a;
	for (i = rng_below(&t->rng, 50); i > 0; i--)
		check(o->b == a && o->a == a);
	epoch_leave(&readers[t->idx]);
	/* PAIRS: nothing. One writer, and a number only. */
	atomic_fetch_add_explicit(&sections[t->idx], 1, memory_order_relaxed);
}

static void run(struct torture_thread *t)
{
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	while (!atomic_load_explicit(&enough, memory_order_relaxed))
		section(t);
}

/* The readers may come late on a busy machine. */
static bool readers_did(uint64_t count)
{
	unsigned i;

	for (i = 0; i < READERS; i++)
		if (atomic_load_explicit(&sections[i], memory_order_relaxed) <
		    count)
			return false;
	return true;
}

static void change(struct torture_thread *t)
{
	uint64_t i, n = torture_work(CHANGES);

	(void)t;
	for (i = 1; i <= n || !readers_did(SECTIONS); i++) {
		struct object *old = &objects[(i - 1) % OBJECTS];
		struct object *new = &objects[i % OBJECTS];

		new->a = new->b = i;
		/* PAIRS: section(), acquire. */
		atomic_store_explicit(&current, new, memory_order_release);
		atomic_store_explicit(&revoked, i, memory_order_relaxed);
		epoch_wait(&epoch);
		atomic_store_explicit(&acknowledged, i, memory_order_relaxed);
		old->a = UINT64_MAX;
		old->b = 0;
	}
	atomic_store_explicit(&enough, true, memory_order_relaxed);
}

int main(void)
{
	uint64_t seed = test_seed("epoch_torture"), total = 0;
	struct rng rng = {seed};
	unsigned i;

	torture_setup();
	epoch_init(&epoch);
	for (i = 0; i < READERS; i++) {
		epoch_register(&epoch, &readers[i]);
		torture_add(run, seed);
	}
	torture_add(change, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();
	for (i = 0; i < READERS; i++)
		total += sections[i];
	printf("epoch_torture: %llu grace periods, %llu sections\n",
	       (unsigned long long)torture_work(CHANGES),
	       (unsigned long long)total);
	return 0;
}
