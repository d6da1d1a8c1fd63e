/* SPDX-License-Identifier: MIT */
#include "clocks.h"

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

struct clocks clocks_read(void)
{
	return (struct clocks){
		.monotonic_ns = clock_ns(CLOCK_MONOTONIC),
		.raw_ns = clock_ns(CLOCK_MONOTONIC_RAW),
		.boot_ns = clock_ns(CLOCK_BOOTTIME),
		.wall_ns = clock_ns(CLOCK_REALTIME),
	};
}

/* A clock that went back has passed a number near 2^64: not near either. */
static bool near(uint64_t passed_ns, uint64_t other_ns)
{
	uint64_t slack_ns =
		CLOCKS_SLACK_NS + passed_ns / 1000000 * CLOCKS_SLEW_PARTS;

	return other_ns <= passed_ns + slack_ns &&
	       other_ns + slack_ns >= passed_ns;
}

const char *clocks_disagree(const struct clocks *a, const struct clocks *b)
{
	uint64_t passed_ns = b->monotonic_ns - a->monotonic_ns;

	if (b->monotonic_ns <= a->monotonic_ns)
		return "the clock stood still or went backwards";
	if (!near(passed_ns, b->boot_ns - a->boot_ns))
		return "the machine was suspended meanwhile";
	if (!near(passed_ns, b->raw_ns - a->raw_ns))
		return "the clock's rate was changed meanwhile";
	if (!near(passed_ns, b->wall_ns - a->wall_ns))
		return "the wall clock was set meanwhile";
	return NULL;
}
