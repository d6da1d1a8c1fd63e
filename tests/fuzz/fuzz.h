/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_FUZZ_FUZZ_H
#define STILE_TESTS_FUZZ_FUZZ_H

/*
 * tests/fuzz/fuzz - what the harnesses share: a check that stays on, and
 * pieces of an input whose sizes follow from its bytes, so that a finding is
 * one file.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,       \
				__LINE__, #condition);                         \
			abort();                                               \
		}                                                              \
	} while (0)

struct cuts {
	uint64_t state;
	uint32_t largest;
};

/* Small pieces, or up to whole buffers, by the first bytes of the input. */
static inline struct cuts cuts_of(const uint8_t *data, size_t len)
{
	static const uint32_t largest[] = {1, 3, 20, 200, 3000, 20000};
	struct cuts c = {.state = UINT64_C(0x9e3779b97f4a7c15)};

	for (size_t i = 0; i < len && i < 64; i++)
		c.state = (c.state ^ data[i]) * UINT64_C(0x100000001b3);
	c.largest = largest[(c.state >> 40) % 6];
	return c;
}

static inline uint32_t cuts_draw(struct cuts *c, uint32_t below)
{
	c->state = c->state * UINT64_C(6364136223846793005) +
		   UINT64_C(1442695040888963407);
	return (uint32_t)(c->state >> 33) % below;
}

static inline size_t cuts_next(struct cuts *c, size_t left)
{
	size_t len = 1 + cuts_draw(c, c->largest);

	return len < left ? len : left;
}

/* A copy that ends where its memory ends: reading on is seen. */
static inline uint8_t *exact_copy(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	must(copy != NULL);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

#endif
