/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_CIVIL_H
#define STILE_BASE_CIVIL_H

/*
 * base/civil - the civil clock: calendar time that a stepped wall clock does
 * not move at once.
 *
 * Civil time is CLOCK_BOOTTIME plus an offset. The offset follows
 * CLOCK_REALTIME:
 *
 *	ahead by up to CIVIL_SLEW_NS	at once
 *	behind by as much		by CIVIL_BACK_NS each tick
 *	further, in either direction	a step: when it has lasted for `settle`
 *
 * Lasting    is what ticks have seen: between two of them at most
 *            CIVIL_GAP_NS count, so a suspended machine or a stopped thread
 *            does not make a step old. A wall clock that leaves the place it
 *            stepped to begins another step. A step that is undone has had no
 *            effect at all.
 * Back       civil time goes back by CIVIL_BACK_NS at a tick, or when a step
 *            backward has lasted; by nothing else.
 * Unset      a machine without a battery starts in the past. While the civil
 *            time is before CIVIL_UNSET_MS, a step to after it is believed at
 *            once.
 * Restart    the offset lies in the arena and outlives the process, until the
 *            machine boots: a step in the middle of which we start again is
 *            still a step, and its waiting begins anew.
 * Threads    one ticks; any reads with clock_civil_ms() (base/clock.h).
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What NTP slews or a leap second makes stays below. */
#define CIVIL_SLEW_NS INT64_C(2000000000)
/* With a tick each second, twice what the kernel slews at most (500 ppm). */
#define CIVIL_BACK_NS INT64_C(1000000)
#define CIVIL_GAP_NS UINT64_C(5000000000)
#define CIVIL_UNSET_MS UINT64_C(1735689600000) /* 2025-01-01 */

struct civil {
	_Atomic(uint64_t) *offset_ns;
	uint64_t settle_ns;
	uint64_t ticked_ns;  /* boot time of the last tick */
	int64_t step_ns;     /* how far the wall clock is off; 0: no step */
	uint64_t step_to_ns; /* the offset it went to */
	uint64_t lasted_ns;  /* how long it was seen there */
};

enum civil_event {
	CIVIL_FOLLOWED, /* nothing to tell */
	CIVIL_STEPPED,  /* a step that is not believed yet */
	CIVIL_UNDONE,   /* the wall clock is back */
	CIVIL_BELIEVED, /* a step was: civil time has jumped */
};

/* The offset as CLOCK_REALTIME has it now: for an arena without one. */
void civil_take(_Atomic(uint64_t) *offset_ns);

/* `offset_ns` holds one that is believed, and is written by nobody else. */
void civil_init(struct civil *c, _Atomic(uint64_t) *offset_ns,
		uint64_t settle_ns);

/* Once a second. Reads the clocks and logs what happened. */
void civil_tick(struct civil *c);

/* The same with both clocks given; *ret_step_ns: of the event, signed. */
enum civil_event civil_tick_at(struct civil *c, uint64_t boot_ns,
			       uint64_t real_ns, int64_t *ret_step_ns);

static inline int64_t civil_step_ms(const struct civil *c)
{
	return c->step_ns / 1000000;
}

#endif
