/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CLOCKS_H
#define STILE_BENCH_CLOCKS_H

/*
 * bench/clocks - whether time passed as it should while something was
 * measured.
 *
 * Latencies are read from CLOCK_MONOTONIC. A machine that was suspended, a
 * virtual one that was stopped, or one whose clocks were set or bent
 * meanwhile shows where the other clocks disagree with it.
 */
#include <stdint.h>

/* What two clocks may differ by over a run: the time between their reading,
 * in which we may lose the CPU, and the most that NTP slews (500 ppm), twice.
 */
#define CLOCKS_SLACK_NS UINT64_C(20000000)
#define CLOCKS_SLEW_PARTS UINT64_C(1000)

struct clocks {
	uint64_t monotonic_ns, raw_ns, boot_ns, wall_ns;
};

struct clocks clocks_read(void);

/* Says in a sentence what happened between `a` and `b`; NULL = nothing. */
const char *clocks_disagree(const struct clocks *a, const struct clocks *b);

#endif
