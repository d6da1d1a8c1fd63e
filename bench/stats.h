/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_STATS_H
#define STILE_BENCH_STATS_H

/* bench/stats - what a handful of repetitions say. */
#include <stddef.h>

struct spread {
	double median, min, max;
};

/* The median of an even count is the mean of the two in the middle. count is
 * at least 1; the values may be in any order and stay as they are. */
struct spread stats_spread(const double *values, size_t count);

#endif
