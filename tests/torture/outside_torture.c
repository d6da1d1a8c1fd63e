/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/outside.c by threads: units of one address are held and
 * admitted or let go by several threads at once. No window ever holds more than
 * the limit (every admission is noted, and added up afterwards), and nothing
 * stays held. With a ring of as many entries as units, and of fewer; and a
 * bucket.
 */
#include "../gate/gate_scene.h"
#include "torture.h"

#define WORKERS 4u
#define COST_MAX 4u
#define LIMIT 100u
#define SPAN 500u
#ifdef STILE_TSAN
#define OPS 3000u
#else
#define OPS 30000u
#endif

static struct fixture fixture;
static struct rule rule;
static struct outside *outside;
static word_t *entries;
static unsigned entries_log2;
static _Atomic(uint64_t) clock_now;

/* From the earliest to the latest instant that it can have been admitted at. */
struct note {
	uint64_t from, to;
	uint32_t units;
};
static struct note notes[WORKERS][OPS];
static unsigned note_counts[WORKERS], denials[WORKERS];

static void work(struct torture_thread *t)
{
	struct claim claim;
	unsigned n;

	claim_init(&claim, fixture.arena, t->idx, NULL);
	note_counts[t->idx] = denials[t->idx] = 0;
	for (n = 0; n < OPS; n++) {
		uint32_t units = 1 + rng_below(&t->rng, COST_MAX);
		/* PAIRS: nothing; threads need not agree on the time. */
		uint64_t ns = atomic_fetch_add_explicit(
			&clock_now, rng_below(&t->rng, 30000),
			memory_order_relaxed);
		struct instant now = instant_at(ns);
		bool admitted = rng_below(&t->rng, 4) != 0;
		struct meter_answer m;

		if (!outside_hold(fixture.arena, &rule, outside, entries,
				  entries_log2, units, &now, &m)) {
			denials[t->idx]++;
			continue;
		}
		outside_release(&claim, &rule, outside, entries, entries_log2,
				units, &now, admitted);
		if (admitted)
			notes[t->idx][note_counts[t->idx]++] = (struct note){
				ns,
				/* The gate holds the newest admission. */
				claim_settle(fixture.arena, &outside->gate,
					     NULL) /
					2,
				units};
	}
}

static int by_time(const void *a, const void *b)
{
	const struct note *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Units that were certainly admitted within a stretch as long as the window
 * (or, of a bucket, what its definition allows in that stretch). */
static void examine(void)
{
	static struct note all[WORKERS * OPS];
	size_t n = 0, i, j;
	unsigned t;

	for (t = 0; t < WORKERS; t++) {
		memcpy(all + n, notes[t], note_counts[t] * sizeof(all[0]));
		n += note_counts[t];
	}
	qsort(all, n, sizeof(all[0]), by_time);
	check(fixture_get(&outside->held) == 0);
	check(n > WORKERS * OPS / 100);
	for (i = 0; i < n; i++) {
		uint64_t units = 0, end = all[i].from / CLOCK_TICK_NS + SPAN;
		uint64_t most = LIMIT;

		if (rule.algorithm == RULE_GCRA)
			most += SPAN * CLOCK_TICK_NS / rule.unit_ns + 1;
		for (j = i; j < n && all[j].from / CLOCK_TICK_NS <= end; j++)
			if (all[j].to / CLOCK_TICK_NS <= end)
				units += all[j].units;
		check(units <= most);
	}
}

static void run(struct rng *rng, struct rule r, unsigned log2)
{
	uint64_t word;
	uint8_t *state;
	unsigned i;

	fixture_open(&fixture);
	rule = r;
	entries_log2 = log2;
	word = fixture_ring(&fixture, log2 + 1);
	state = fixture.arena->rings + RING_PLACE(word) * LINE_BYTES;
	outside = (struct outside *)(void *)state;
	entries = (word_t *)(void *)(state + LINE_BYTES);
	atomic_store_explicit(&clock_now, INSTANT_BIAS_NS,
			      memory_order_relaxed);
	for (i = 0; i < WORKERS; i++)
		torture_add(work, rng_next(rng));
	torture_go();
	torture_harass(rng);
	torture_end();
	examine();
	for (i = 1; i < WORKERS; i++) {
		note_counts[0] += note_counts[i];
		denials[0] += denials[i];
	}
	printf("outside_torture: %u admitted, %u denied\n", note_counts[0],
	       denials[0]);
	check(denials[0] > OPS / 100);
	fixture_close(&fixture);
}

int main(void)
{
	struct rng rng = {test_seed("outside_torture")};
	uint64_t round;

	torture_setup();
	for (round = 0; round < torture_work(3); round++) {
		run(&rng, fixture_window(LIMIT, SPAN), 7);
		run(&rng, fixture_window(LIMIT, SPAN), 4);
		run(&rng, fixture_gcra(LIMIT, SPAN * CLOCK_TICK_NS / LIMIT), 3);
	}
	return 0;
}
