/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_RANDOM_H
#define STILE_TESTS_RANDOM_H

/*
 * tests/random - random numbers that can be had again: the seed is printed,
 * and taken from $STILE_SEED when that is set.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	/* splitmix64: any seed will do, neighbouring ones too */
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 .. n-1 */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

static inline uint64_t test_seed(const char *who)
{
	const char *given = getenv("STILE_SEED");
	struct timespec ts;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = given != NULL ? strtoull(given, NULL, 0)
			     : (uint64_t)ts.tv_nsec ^ (uint64_t)ts.tv_sec << 20;
	fprintf(stderr, "%s: STILE_SEED=%llu\n", who, (unsigned long long)seed);
	return seed;
}

#endif
