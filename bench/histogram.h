/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_HISTOGRAM_H
#define STILE_BENCH_HISTOGRAM_H

/*
 * bench/histogram - how often each latency was seen, in fixed memory.
 *
 * Does       log-linear buckets: values below 2 * HISTOGRAM_STEPS one by one,
 *            above that HISTOGRAM_STEPS buckets to each power of two.
 * Exactness  a percentile is the largest value of its bucket, but never above
 *            the largest value recorded: not below the true one, and above
 *            it by less than one part in HISTOGRAM_STEPS (0.8 %).
 *            Count, minimum and maximum are exact.
 * Bounds     values above HISTOGRAM_VALUE_MAX (68 s in nanoseconds) are
 *            recorded as that value and counted in `clipped`: never lost.
 * Threads    one at a time; histogram_add() puts those of several together.
 */
#include <stdint.h>

#define HISTOGRAM_PRECISION_BITS 7u
#define HISTOGRAM_STEPS (1u << HISTOGRAM_PRECISION_BITS)
#define HISTOGRAM_VALUE_BITS 36u
#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)
#define HISTOGRAM_BUCKETS                                                      \
	((HISTOGRAM_VALUE_BITS - HISTOGRAM_PRECISION_BITS + 1) *               \
	 HISTOGRAM_STEPS)

struct histogram {
	uint64_t count, clipped;
	uint64_t min, max; /* mean something when count > 0 */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
void histogram_add(struct histogram *to, const struct histogram *from);

/* Parts per million, so that ranks are exact: 999000 is the 99.9th
 * percentile, HISTOGRAM_ALL the maximum, 0 the minimum. */
#define HISTOGRAM_ALL 1000000u
/* The value that so many parts of all values do not exceed; 0 when there are
 * none. */
uint64_t histogram_percentile(const struct histogram *h, uint32_t parts);

#endif
