/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include "splitmix.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1e9

/* (0, 1]: its logarithm is finite. */
static double next_unit(uint64_t *random)
{
	return ((double)(splitmix_next(random) >> 11) + 1) * 0x1p-53;
}

static double next_gap(enum schedule_kind kind, double mean, uint64_t *random)
{
	return kind == SCHEDULE_FIXED ? mean : -log(next_unit(random)) * mean;
}

int schedule_init(struct schedule *s, enum schedule_kind kind, uint32_t rate,
		  uint64_t duration_ns, uint64_t seed)
{
	double mean = NS_PER_S / rate, at, expected;
	uint64_t random = seed, room;

	memset(s, 0, sizeof(*s));
	expected = (double)duration_ns / mean;
	if (rate == 0 || expected < 1 ||
	    expected > (double)SCHEDULE_ARRIVALS_MAX)
		return -EINVAL;
	/* Ten standard deviations of a Poisson count: never reached. */
	room = (uint64_t)(expected + 10 * sqrt(expected)) + 2;
	s->due_ns = malloc(room * sizeof(*s->due_ns));
	if (!s->due_ns)
		return -ENOMEM;
	/* Fixed arrivals begin at 0; others a gap after it. */
	at = kind == SCHEDULE_FIXED ? 0 : next_gap(kind, mean, &random);
	while (at < (double)duration_ns && s->count < room) {
		s->due_ns[s->count++] = (uint64_t)at;
		at += next_gap(kind, mean, &random);
	}
	s->duration_ns = duration_ns;
	if (s->count > 0)
		return 0;
	schedule_deinit(s);
	return -EINVAL;
}

void schedule_deinit(struct schedule *s)
{
	free(s->due_ns);
	memset(s, 0, sizeof(*s));
}

uint64_t schedule_before(const struct schedule *s, uint64_t at_ns)
{
	uint64_t low = 0, high = s->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (s->due_ns[middle] < at_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
