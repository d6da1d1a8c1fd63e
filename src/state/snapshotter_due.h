/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOTTER_DUE_H
#define STILE_STATE_SNAPSHOTTER_DUE_H

/*
 * state/snapshotter_due - when the snapshot thread has something to do.
 *
 * Intervals are measured by the monotonic clock. The turn of the hour is the
 * civil time's, which may be stepped: whoever sleeps looks again after
 * DUE_LOOK_NS.
 */
#include "state/usage.h"

#include <stdint.h>

#define DUE_NS_PER_MS UINT64_C(1000000)
#define DUE_NS_PER_S UINT64_C(1000000000)
#define DUE_LOOK_NS (10 * DUE_NS_PER_S)
#define DUE_QUIET_NS (2 * DUE_NS_PER_S)

/* Nanoseconds from `civil_ms` to the turn of its hour: 1 ms at least. */
static inline uint64_t due_turn_ns(int64_t civil_ms)
{
	return (uint64_t)(USAGE_HOUR_MS - civil_ms % USAGE_HOUR_MS) *
	       DUE_NS_PER_MS;
}

/* At least so many times as long as a collection takes lies between the starts
 * of two: with a million keys in use one takes seconds, and the CPU is the
 * workers'. */
#define DUE_USAGE_REST 10

static inline uint64_t due_usage_interval_ns(uint64_t interval_ns,
					     uint64_t took_ns)
{
	uint64_t rest_ns = took_ns * DUE_USAGE_REST;

	return interval_ns > rest_ns ? interval_ns : rest_ns;
}

/* Until usage is to be collected: an interval after it was last, `past_ns` ago,
 * or once the hour of that is over. 0: now. Shortly before the turn it waits
 * for it: a slow disk shall not make it late there. */
static inline uint64_t due_usage_ns(uint64_t past_ns, uint64_t interval_ns,
				    int64_t collected_ms, int64_t civil_ms)
{
	uint64_t left_ns = past_ns < interval_ns ? interval_ns - past_ns : 0;
	uint64_t turn_ns = due_turn_ns(civil_ms);

	if (collected_ms / USAGE_HOUR_MS != civil_ms / USAGE_HOUR_MS)
		return 0;
	return left_ns + DUE_QUIET_NS < turn_ns ? left_ns : turn_ns;
}

/* Until a snapshot is to be taken, that would be in `left_ns`. One that might
 * go on over the turn of the hour, as the last one took `took_ns`, is to wait
 * until usage has been collected there. */
static inline uint64_t due_snapshot_ns(uint64_t left_ns, uint64_t took_ns,
				       int64_t civil_ms)
{
	uint64_t turn_ns = due_turn_ns(civil_ms);

	return left_ns == 0 && turn_ns < 2 * took_ns ? turn_ns : left_ns;
}

#endif
