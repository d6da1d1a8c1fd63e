/* SPDX-License-Identifier: MIT */

/*
 * window_save() while workers decide and overwrite the ring as fast as they
 * can, the window is made shorter and longer, and rings are swapped: each
 * image holds whole admissions in order, never more units than the limit, and
 * a total that was true between call and return. (Against the exact story of
 * a run: window_torture.c, where the ring is never overwritten.)
 */
#include "../gate/fixture.h"
#include "base/epoch.h"
#include "torture.h"

#define WORKERS 3u
#define COST_MAX 3u
#define LIMIT (1u << LOG2)
#define LOG2 9u
#define WINDOW_SHORT 250u
#define WINDOW_LONG 20000u
#define CHANGES 60u /* of the window */

static struct fixture fixture;
static struct org *org;
static struct epoch epoch;
static struct epoch_reader readers[WORKERS + 1];
static uint64_t rings[2];
static _Atomic(uint64_t) clock_now;
static atomic_bool enough;
static uint64_t units[WORKERS];
static _Atomic(uint64_t) admissions_saved;
static uint64_t images, rule_changes;

static bool all_done(void)
{
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	return atomic_load_explicit(&enough, memory_order_relaxed);
}

static void work(struct torture_thread *t)
{
	struct key *key = &fixture.arena->keys[1 + t->idx];
	struct claim claim;

	claim_init(&claim, fixture.arena, t->idx, NULL);
	while (!all_done()) {
		uint32_t cost = rng_below(&t->rng, 32) ? 1 : COST_MAX;
		struct window_answer w;
		/* PAIRS: nothing; threads need not agree on the time. */
		uint64_t now = atomic_fetch_add_explicit(&clock_now,
							 rng_below(&t->rng, 3),
							 memory_order_relaxed);

		epoch_enter(&readers[t->idx]);
		window_take_one(&claim, org, &key->used, cost, now, &w);
		epoch_leave(&readers[t->idx]);
		if (w.allowed)
			units[t->idx] += cost;
	}
}

static void control(struct torture_thread *t)
{
	struct claim c;
	unsigned use = 0;

	claim_init(&c, fixture.arena, OWNER_CONTROL, NULL);
	while (rule_changes < torture_work(CHANGES) ||
	       atomic_load_explicit(&admissions_saved, memory_order_relaxed) ==
		       0) {
		uint64_t window = rule_changes % 2 ? WINDOW_LONG : WINDOW_SHORT;

		window_change_rule(&c, org, window_rule(LIMIT, window));
		rule_changes++;
		epoch_wait(&epoch);
		torture_pause_us(rng_below(&t->rng, 60));
		if (rng_below(&t->rng, 4) != 0)
			continue;
		use = !use;
		memset(fixture.arena->rings +
			       RING_PLACE(rings[use]) * LINE_BYTES,
		       0, sizeof(word_t) << LOG2);
		rings[use] += RING_WORD(0, 0, 2); /* the next generation */
		window_swap_ring(&c, org, rings[use]);
		epoch_wait(&epoch);
		window_drain_ring(&c, org);
		epoch_wait(&epoch);
	}
	atomic_store_explicit(&enough, true, memory_order_relaxed);
}

static void check_image(const struct window_image *image,
			const struct admission *in)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < image->count; i++) {
		check(in[i].units >= 1 && in[i].units <= COST_MAX);
		check(i == 0 || in[i].stamp >= in[i - 1].stamp);
		sum += in[i].units;
	}
	check(sum <= LIMIT);
	/* PAIRS: nothing. One writer, and a number only. */
	atomic_fetch_add_explicit(&admissions_saved, image->count,
				  memory_order_relaxed);
}

static void save(struct torture_thread *t)
{
	static struct admission in[LIMIT_MAX];

	for (; !all_done(); images++) {
		struct window_image image;
		uint64_t least, now;

		/* Up to a few windows ahead of what the workers think. */
		now = atomic_load_explicit(&clock_now, memory_order_relaxed) +
		      rng_below(&t->rng, 16 * WINDOW_SHORT);
		epoch_enter(&readers[WORKERS]);
		least = claim_load(&org->used);
		window_save(fixture.arena, 1, now, &image, in, LIMIT_MAX);
		check(image.used >= least &&
		      image.used <= claim_load(&org->used));
		epoch_leave(&readers[WORKERS]);
		check_image(&image, in);
	}
}

int main(void)
{
	uint64_t seed = test_seed("save_torture"), total = 0;
	struct rng rng = {seed};
	unsigned i;

	torture_setup();
	fixture_open(&fixture);
	org = fixture_org(&fixture, 1, LIMIT, WINDOW_SHORT, LOG2);
	rings[0] = fixture_get(&org->ring);
	rings[1] = fixture_ring(&fixture, LOG2);
	atomic_store_explicit(&clock_now, CLOCK_BIAS, memory_order_relaxed);
	epoch_init(&epoch);
	for (i = 0; i < WORKERS + 1; i++)
		epoch_register(&epoch, &readers[i]);
	for (i = 0; i < WORKERS; i++)
		torture_add(work, seed);
	torture_add(control, seed);
	torture_add(save, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();

	for (i = 0; i < WORKERS; i++) {
		check(fixture_get(&fixture.arena->keys[1 + i].used) ==
		      units[i]);
		total += units[i];
	}
	check(fixture_get(&org->used) == total);
	printf("save_torture: %llu units, %llu images of %llu admissions, %llu "
	       "changes of the window\n",
	       (unsigned long long)total, (unsigned long long)images,
	       (unsigned long long)admissions_saved,
	       (unsigned long long)rule_changes);
	fixture_close(&fixture);
	return 0;
}
