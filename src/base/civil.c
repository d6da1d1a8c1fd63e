/* SPDX-License-Identifier: MIT */
#include "base/civil.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>

/* The two clocks are read one after the other; a thread that was preempted in
 * between tries again. */
#define READ_TRIES 8
#define READ_GAP_NS 50000u

static void read_clocks(uint64_t *ret_boot_ns, uint64_t *ret_real_ns)
{
	uint64_t after_ns = clock_ns(CLOCK_BOOTTIME), before_ns;
	int tries = READ_TRIES;

	do {
		before_ns = after_ns;
		*ret_real_ns = clock_ns(CLOCK_REALTIME);
		after_ns = clock_ns(CLOCK_BOOTTIME);
	} while (after_ns - before_ns > READ_GAP_NS && --tries > 0);
	*ret_boot_ns = before_ns + (after_ns - before_ns) / 2;
}

static uint64_t offset(const struct civil *c)
{
	/* PAIRS: nothing; we alone write it. */
	return atomic_load_explicit(c->offset_ns, memory_order_relaxed);
}

static void set_offset(_Atomic(uint64_t) *offset_ns, uint64_t value)
{
	/* PAIRS: clock_civil_ms(), relaxed: it guards no other memory. */
	atomic_store_explicit(offset_ns, value, memory_order_relaxed);
}

void civil_take(_Atomic(uint64_t) *offset_ns)
{
	uint64_t boot_ns, real_ns;

	read_clocks(&boot_ns, &real_ns);
	set_offset(offset_ns, real_ns - boot_ns);
}

void civil_init(struct civil *c, _Atomic(uint64_t) *offset_ns,
		uint64_t settle_ns)
{
	*c = (struct civil){.offset_ns = offset_ns, .settle_ns = settle_ns};
}

/* The wall clock was never set, and now it is. */
static bool is_set_now(const struct civil *c, uint64_t boot_ns,
		       uint64_t real_ns)
{
	const uint64_t unset_ns = CIVIL_UNSET_MS * 1000000;

	return boot_ns + offset(c) < unset_ns && real_ns >= unset_ns;
}

static void follow(struct civil *c, int64_t off_ns)
{
	if (off_ns < -CIVIL_BACK_NS)
		off_ns = -CIVIL_BACK_NS;
	set_offset(c->offset_ns, offset(c) + (uint64_t)off_ns);
}

/* Is the wall clock where it stepped to before? Slewing there is no step. */
static bool stays(const struct civil *c, uint64_t to_ns)
{
	int64_t moved_ns = (int64_t)(to_ns - c->step_to_ns);

	return c->step_ns != 0 && moved_ns >= -CIVIL_SLEW_NS &&
	       moved_ns <= CIVIL_SLEW_NS;
}

enum civil_event civil_tick_at(struct civil *c, uint64_t boot_ns,
			       uint64_t real_ns, int64_t *ret_step_ns)
{
	uint64_t to_ns = real_ns - boot_ns;
	uint64_t passed_ns = boot_ns - c->ticked_ns;
	int64_t off_ns = (int64_t)(to_ns - offset(c));
	bool same = stays(c, to_ns);

	c->ticked_ns = boot_ns;
	if (off_ns >= -CIVIL_SLEW_NS && off_ns <= CIVIL_SLEW_NS) {
		*ret_step_ns = c->step_ns;
		c->step_ns = 0;
		follow(c, off_ns);
		return *ret_step_ns != 0 ? CIVIL_UNDONE : CIVIL_FOLLOWED;
	}
	if (!same)
		c->lasted_ns = 0;
	else
		c->lasted_ns +=
			passed_ns < CIVIL_GAP_NS ? passed_ns : CIVIL_GAP_NS;
	*ret_step_ns = c->step_ns = off_ns;
	c->step_to_ns = to_ns;
	if (c->lasted_ns < c->settle_ns && !is_set_now(c, boot_ns, real_ns))
		return same ? CIVIL_FOLLOWED : CIVIL_STEPPED;
	set_offset(c->offset_ns, to_ns);
	c->step_ns = 0;
	return CIVIL_BELIEVED;
}

void civil_tick(struct civil *c)
{
	uint64_t boot_ns, real_ns;
	int64_t step_ns;

	read_clocks(&boot_ns, &real_ns);
	switch (civil_tick_at(c, boot_ns, real_ns, &step_ns)) {
	case CIVIL_STEPPED:
		log_event(LOG_LEVEL_WARN, "clock_stepped",
			  "step_ms=%" PRId64 " believed_in_s=%" PRIu64,
			  step_ns / 1000000, c->settle_ns / 1000000000);
		break;
	case CIVIL_UNDONE:
		log_event(LOG_LEVEL_INFO, "clock_step_undone",
			  "step_ms=%" PRId64, step_ns / 1000000);
		break;
	case CIVIL_BELIEVED:
		log_event(LOG_LEVEL_WARN, "clock_step_believed",
			  "step_ms=%" PRId64, step_ns / 1000000);
		break;
	case CIVIL_FOLLOWED:
		break;
	}
}
