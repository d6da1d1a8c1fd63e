/* SPDX-License-Identifier: MIT */

/*
 * The interleaver about itself: as many interleavings as there are by
 * arithmetic, and an update that is lost in some of them is found.
 */
#include "interleave.h"

#define STORES 4u

static struct {
	_Atomic(uint32_t) own[2], both;
} memory;

static void setup(void)
{
	/* Nothing: zero is where it begins. */
}

static void apart(unsigned idx, unsigned life)
{
	uint32_t i;

	(void)life;
	for (i = 1; i <= STORES; i++)
		atomic_store_explicit(&memory.own[idx], i,
				      memory_order_relaxed);
}

static void apart_ended(unsigned life)
{
	(void)life;
	must(memory.own[0] == STORES && memory.own[1] == STORES);
}

static void count(unsigned idx, unsigned life)
{
	(void)idx, (void)life;
	atomic_fetch_add_explicit(&memory.both, 1, memory_order_relaxed);
}

static void count_torn(unsigned idx, unsigned life)
{
	uint32_t was = atomic_load_explicit(&memory.both, memory_order_relaxed);

	(void)idx, (void)life;
	atomic_store_explicit(&memory.both, was + 1, memory_order_relaxed);
}

static void count_ended(unsigned life)
{
	(void)life;
	must(memory.both == 2);
}

int main(int argc, char **argv)
{
	struct interleave scenario = {.name = "apart",
				      .threads = 2,
				      .setup = setup,
				      .thread = apart,
				      .ended = apart_ended};

	interleave_begin(argc, argv);
	interleave_watch("memory", &memory, sizeof(memory));
	/* Of 8 steps any 4 are the first thread's. */
	must(interleave_all(&scenario) == 70);

	scenario.name = "count";
	scenario.thread = count;
	scenario.ended = count_ended;
	must(interleave_all(&scenario) == 2);

	/* With --finds only: each may load before the other stores. */
	scenario.name = "count, torn";
	scenario.thread = count_torn;
	if (argc > 1)
		interleave_all(&scenario);
	return interleave_end();
}
