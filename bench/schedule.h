/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_SCHEDULE_H
#define STILE_BENCH_SCHEDULE_H

/*
 * bench/schedule - when each request of an open loop is due, decided before
 * the first one is sent.
 *
 * Arrivals do not wait for replies: whoever calls a service does not know
 * that it is slow just now. That is why they are laid down beforehand, and
 * why latency counts from them and not from the moment of sending.
 *
 * Repeatable  the same seed gives the same schedule.
 */
#include <stdint.h>

/* 8 bytes each. */
#define SCHEDULE_ARRIVALS_MAX (UINT64_C(1) << 24)

enum schedule_kind {
	SCHEDULE_POISSON, /* exponential gaps: independent callers */
	SCHEDULE_FIXED,   /* equal gaps */
};

struct schedule {
	uint64_t *due_ns; /* from the start, ascending */
	uint64_t count;
	uint64_t duration_ns;
};

/* Arrivals at `rate` a second for duration_ns. -EINVAL when they are more
 * than SCHEDULE_ARRIVALS_MAX or none, -ENOMEM. */
int schedule_init(struct schedule *s, enum schedule_kind kind, uint32_t rate,
		  uint64_t duration_ns, uint64_t seed);
void schedule_deinit(struct schedule *s);

/* How many are due before at_ns. */
uint64_t schedule_before(const struct schedule *s, uint64_t at_ns);

#endif
