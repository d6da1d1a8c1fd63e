/* SPDX-License-Identifier: MIT */
#include "state/rings.h"

#include "gate/layout.h"
#include "state/arena.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct arena_file f;
static struct rings r;

static void open_rings(void)
{
	cr_assert_eq(arena_open_private(&f), 0);
	rings_init(&r, &f, 1 << 20, true);
}

static void close_rings(void)
{
	rings_deinit(&r);
	arena_close(&f);
}

TestSuite(rings, .init = open_rings, .fini = close_rings);

static uint64_t lines(uint64_t ring)
{
	return UINT64_C(1) << (RING_LOG2(ring) - 3);
}

static uint64_t take(unsigned log2)
{
	uint64_t ring = 0;

	cr_assert_eq(rings_take(&r, log2, &ring), 0);
	cr_assert_eq(RING_LOG2(ring), log2);
	return ring;
}

static void restart(void)
{
	rings_deinit(&r);
	rings_init(&r, &f, 1 << 20, false);
}

Test(rings, ring_is_zeroed_also_when_its_place_was_used)
{
	uint64_t ring = take(10), again;
	uint8_t *p = f.arena.rings + RING_PLACE(ring) * LINE_BYTES;

	memset(p, 0xff, lines(ring) * LINE_BYTES);
	rings_give(&r, ring);
	again = take(10);
	cr_assert_eq(RING_PLACE(again), RING_PLACE(ring));
	for (size_t i = 0; i < lines(ring) * LINE_BYTES; i++)
		cr_assert_eq(p[i], 0);
	/* and its word differs */
	cr_expect_neq(again, ring);
}

Test(rings, bound_is_an_answer)
{
	unsigned count = 0;
	uint64_t ring, untouched = 42;

	while (rings_take(&r, 16, &ring) == 0)
		count++;
	cr_expect_eq(count, 2); /* 512 KB each */
	cr_expect_eq(rings_take(&r, 3, &untouched), -ENOSPC);
	cr_expect_eq(untouched, 42);
	rings_give(&r, ring);
	cr_expect_eq(take(16),
		     RING_WORD(RING_PLACE(ring), 16, RING_GEN(ring) + 1));
}

Test(rings, larger_free_ring_is_split_when_there_is_no_other_room)
{
	uint64_t first = take(16), second = take(16), ring;
	uint64_t end = RING_PLACE(second) + lines(second);
	unsigned count = 0;

	rings_give(&r, second);
	while (rings_take(&r, 5, &ring) == 0) {
		cr_assert_geq(RING_PLACE(ring), lines(first));
		cr_assert_leq(RING_PLACE(ring) + lines(ring), end);
		count++;
	}
	cr_expect_eq(count, lines(first) / 4);
}

Test(rings, generation_wraps_without_zero)
{
	uint64_t ring = RING_WORD(0, 3, (1u << 30) - 1), next;

	cr_assert_eq(rings_adopt(&r, ring), 0);
	cr_assert_eq(rings_settle(&r), 0);
	next = take(3);
	cr_expect_eq(RING_GEN(next), 1);
	r.next_gen = (1u << 30) - 1;
	cr_expect_eq(RING_GEN(take(3)), (1u << 30) - 1);
	cr_expect_eq(RING_GEN(take(3)), 1);
}

Test(rings, overlapping_or_impossible_rings_are_refused)
{
	uint64_t last = ARENA_RING_BYTES / LINE_BYTES;

	cr_expect_eq(rings_adopt(&r, 0), -EINVAL);
	cr_expect_eq(rings_adopt(&r, RING_WORD(0, 2, 1)), -EINVAL);
	cr_expect_eq(rings_adopt(&r, RING_WORD(0, 27, 1)), -EINVAL);
	cr_expect_eq(rings_adopt(&r, RING_WORD(last - 1, 4, 1)), -EINVAL);
	cr_expect_eq(rings_adopt(&r, RING_WORD(last - 2, 4, 1)), 0);
	cr_expect_eq(rings_settle(&r), 0);
	restart();
	cr_expect_eq(rings_adopt(&r, RING_WORD(2, 4, 1)), 0);
	cr_expect_eq(rings_adopt(&r, RING_WORD(0, 4, 2)), 0);
	cr_expect_eq(rings_settle(&r), 0);
	restart();
	cr_expect_eq(rings_adopt(&r, RING_WORD(2, 4, 1)), 0);
	cr_expect_eq(rings_adopt(&r, RING_WORD(1, 4, 2)), 0);
	cr_expect_eq(rings_settle(&r), -EINVAL);
	restart();
	cr_expect_eq(rings_adopt(&r, RING_WORD(4, 3, 1)), 0);
	cr_expect_eq(rings_adopt(&r, RING_WORD(4, 3, 2)), 0);
	cr_expect_eq(rings_settle(&r), -EINVAL);
}

#define LIVE 64

/* No two rings in use ever share a line, over restarts too, and a generation
 * is never seen twice at a place within a life. */
Test(rings, rings_in_use_never_overlap)
{
	const char *given = getenv("STILE_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10)
			      : (unsigned)time(NULL);
	uint64_t live[LIVE] = {0};
	unsigned full = 0;

	fprintf(stderr, "STILE_SEED=%u\n", seed);
	srand(seed);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (unsigned)rand() % LIVE;

		if (rand() % 500 == 0) {
			restart();
			for (unsigned j = 0; j < LIVE; j++)
				if (live[j] != 0)
					cr_assert_eq(rings_adopt(&r, live[j]),
						     0);
			cr_assert_eq(rings_settle(&r), 0);
		} else if (live[i] != 0) {
			rings_give(&r, live[i]);
			live[i] = 0;
		} else if (rings_take(&r, 3 + (unsigned)rand() % 11, &live[i]) <
			   0) {
			full++;
			live[i] = 0;
			continue;
		}
		for (unsigned j = 0; live[i] != 0 && j < LIVE; j++)
			cr_assert(j == i || live[j] == 0 ||
				  RING_PLACE(live[j]) + lines(live[j]) <=
					  RING_PLACE(live[i]) ||
				  RING_PLACE(live[i]) + lines(live[i]) <=
					  RING_PLACE(live[j]));
		cr_assert(live[i] == 0 ||
			  RING_PLACE(live[i]) + lines(live[i]) <=
				  (1 << 20) / LINE_BYTES);
	}
	cr_expect_lt(full, 20000);
}
