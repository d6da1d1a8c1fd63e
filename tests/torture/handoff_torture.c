/* SPDX-License-Identifier: MIT */

/*
 * base/handoff under threads: everything arrives, once and in order, together
 * with the memory that it stands for (ThreadSanitizer looks at that). Cells go
 * forth through one and come back through another. Full is an answer.
 */
#include "base/handoff.h"

#include "torture.h"

#include <sched.h>

#ifdef STILE_TSAN
#define VALUES 200000u
#else
#define VALUES 5000000u
#endif
#define CELLS (HANDOFF_ENTRIES / 2)

struct cell {
	uint64_t value; /* not atomic: handed over */
};

static struct handoff forth, back;
static struct cell cells[CELLS];
static uint64_t waited[2];

static struct cell *get(struct handoff *h, uint64_t *times)
{
	uintptr_t value;

	while (!handoff_get(h, &value)) {
		(*times)++;
		sched_yield();
	}
	check(value < CELLS);
	return &cells[value];
}

static void put(struct handoff *h, const struct cell *c)
{
	/* There are fewer cells than places. */
	check(handoff_put(h, (uintptr_t)(c - cells)));
}

static void produce(struct torture_thread *t)
{
	uint64_t i, n = torture_work(VALUES);

	for (i = 0; i < n; i++) {
		struct cell *c = get(&back, &waited[t->idx]);

		c->value = i;
		put(&forth, c);
	}
}

static void consume(struct torture_thread *t)
{
	uint64_t i, n = torture_work(VALUES);

	for (i = 0; i < n; i++) {
		struct cell *c = get(&forth, &waited[t->idx]);

		check(c->value == i);
		put(&back, c);
	}
}

static void fill_and_empty(struct handoff *h)
{
	uintptr_t i, value;

	check(!handoff_get(h, &value));
	for (i = 0; i < HANDOFF_ENTRIES - 1; i++)
		check(handoff_put(h, i));
	check(!handoff_put(h, i));
	for (i = 0; i < HANDOFF_ENTRIES - 1; i++)
		check(handoff_get(h, &value) && value == i);
	check(!handoff_get(h, &value));
}

int main(void)
{
	uint64_t seed = test_seed("handoff_torture");
	struct rng rng = {seed};
	unsigned i;

	torture_setup();
	handoff_init(&forth);
	handoff_init(&back);
	fill_and_empty(&forth);
	for (i = 0; i < CELLS; i++)
		put(&back, &cells[i]);
	torture_add(produce, seed);
	torture_add(consume, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();
	printf("handoff_torture: %llu values, waited %llu and %llu times\n",
	       (unsigned long long)torture_work(VALUES),
	       (unsigned long long)waited[0], (unsigned long long)waited[1]);
	return 0;
}
