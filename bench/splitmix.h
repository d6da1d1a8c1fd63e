/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_SPLITMIX_H
#define STILE_BENCH_SPLITMIX_H

/* bench/splitmix - numbers that look random, and are the same on every run. */
#include <stdint.h>

static inline uint64_t splitmix_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* 0 .. count - 1 in random order: Fisher and Yates. */
static inline void splitmix_shuffle(uint32_t *order, uint32_t count,
				    uint64_t seed)
{
	for (uint32_t i = 0; i < count; i++)
		order[i] = i;
	for (uint32_t i = count; i > 1; i--) {
		uint32_t j = (uint32_t)(splitmix_next(&seed) % i);
		uint32_t t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

#endif
