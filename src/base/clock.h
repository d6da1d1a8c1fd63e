/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_CLOCK_H
#define STILE_BASE_CLOCK_H

/*
 * base/clock - the times of stile.
 *
 * clock_ticks    decides. CLOCK_BOOTTIME in ticks of 4 us, shifted by
 *                CLOCK_BIAS so that an age measured in an earlier boot has a
 *                positive stamp in this one. Never steps; counts a suspended
 *                machine too.
 * clock_civil_ms expires: keys, pools, periods of budgets, and the times that
 *                replies print. CLOCK_BOOTTIME plus an offset that does not
 *                believe a step of the wall clock at once (base/civil.h).
 *                Milliseconds since 1970.
 * clock_wall_ms  for log lines and files' headers. CLOCK_REALTIME,
 *                milliseconds since 1970. Nothing is decided by it.
 *
 * All read vDSO clocks: no system call on the request path.
 * 2^46 ticks last 8.9 years of uptime; a process that reaches the end of
 * them would deny, not open (clock_ticks saturates).
 */
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_TICK_NS 4000u
#define CLOCK_TICKS_PER_MS 250u
#define CLOCK_TICK_BITS 46u
#define CLOCK_TICK_MAX ((UINT64_C(1) << CLOCK_TICK_BITS) - 1)

/* 64 days: more than the longest window (31 days). */
#define CLOCK_BIAS (UINT64_C(64) * 86400 * 1000 * CLOCK_TICKS_PER_MS)

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_ticks_at(uint64_t boot_ns)
{
	uint64_t t = boot_ns / CLOCK_TICK_NS + CLOCK_BIAS;

	return t < CLOCK_TICK_MAX ? t : CLOCK_TICK_MAX;
}

static inline uint64_t clock_ticks(void)
{
	return clock_ticks_at(clock_ns(CLOCK_BOOTTIME));
}

/* `offset_ns` is that of a struct civil, `boot_ns` a CLOCK_BOOTTIME. */
static inline uint64_t clock_civil_ms(const _Atomic(uint64_t) *offset_ns,
				      uint64_t boot_ns)
{
	/* PAIRS: civil_tick_at(), relaxed: one word that guards no memory. A
	 * reader that still has the offset of a tick before is as right as
	 * one that asked a moment earlier. */
	return (boot_ns +
		atomic_load_explicit(offset_ns, memory_order_relaxed)) /
	       UINT64_C(1000000);
}

static inline uint64_t clock_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / UINT64_C(1000000);
}

#endif
