/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include "base/check.h"

#include <assert.h>
#include <string.h>

static_assert(HISTOGRAM_VALUE_BITS < 64, "values fit");

static uint32_t bucket_of(uint64_t value)
{
	unsigned shift = 0;

	if (value >= 2 * HISTOGRAM_STEPS)
		shift = 63 - (unsigned)__builtin_clzll(value) -
			HISTOGRAM_PRECISION_BITS;
	return shift * HISTOGRAM_STEPS + (uint32_t)(value >> shift);
}

/* The largest value that bucket_of() puts there. */
static uint64_t bucket_top(uint32_t bucket)
{
	unsigned shift = 0;

	if (bucket >= 2 * HISTOGRAM_STEPS)
		shift = bucket / HISTOGRAM_STEPS - 1;
	return ((uint64_t)(bucket - shift * HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_clear(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void histogram_record(struct histogram *h, uint64_t value)
{
	if (value > HISTOGRAM_VALUE_MAX) {
		value = HISTOGRAM_VALUE_MAX;
		h->clipped++;
	}
	h->buckets[bucket_of(value)]++;
	h->count++;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	to->count += from->count;
	to->clipped += from->clipped;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
}

uint64_t histogram_percentile(const struct histogram *h, uint32_t parts)
{
	uint64_t rank, seen = 0, value;
	uint32_t i = 0;

	check(parts <= HISTOGRAM_ALL);
	if (h->count == 0)
		return 0;
	if (parts == 0)
		return h->min;
	/* rounded up, in two steps that do not overflow */
	rank = h->count / HISTOGRAM_ALL * parts +
	       (h->count % HISTOGRAM_ALL * parts + HISTOGRAM_ALL - 1) /
		       HISTOGRAM_ALL;
	while ((seen += h->buckets[i]) < rank)
		i++;
	value = bucket_top(i);
	return value < h->max ? value : h->max;
}
