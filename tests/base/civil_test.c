/* SPDX-License-Identifier: MIT */
#include "base/civil.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define BOOT_NS (UINT64_C(3600) * 1000000000)
#define START_MS UINT64_C(1780000000000) /* in 2026 */
#define SETTLE (10 * MINUTE)

/* A machine whose wall clock we step; civil time should be `true_ms`. */
static struct {
	_Atomic(uint64_t) offset_ns;
	struct civil civil;
	uint64_t boot_ns;
	int64_t wall_off_ns; /* wall clock minus the true time */
	int64_t step_ns;     /* of the last event */
} m;

static void start(int64_t settle_ns)
{
	m.boot_ns = BOOT_NS;
	m.wall_off_ns = 0;
	atomic_init(&m.offset_ns, START_MS * (uint64_t)MS - BOOT_NS);
	civil_init(&m.civil, &m.offset_ns, (uint64_t)settle_ns);
}

static enum civil_event tick_after(int64_t ns)
{
	uint64_t true_ns;

	m.boot_ns += (uint64_t)ns;
	true_ns = START_MS * (uint64_t)MS + m.boot_ns - BOOT_NS;
	return civil_tick_at(&m.civil, m.boot_ns,
			     true_ns + (uint64_t)m.wall_off_ns, &m.step_ns);
}

static enum civil_event tick(void)
{
	return tick_after(SECOND);
}

/* Quiet ticks, one a second. */
static void pass(int64_t ns)
{
	for (; ns > 0; ns -= SECOND)
		cr_assert_eq(tick(), CIVIL_FOLLOWED);
}

/* Civil time minus true time. */
static int64_t error_ns(void)
{
	return (int64_t)(atomic_load(&m.offset_ns) -
			 (START_MS * (uint64_t)MS - BOOT_NS));
}

static const int64_t steps[] = {DAY,   -DAY,       HOUR,
				-HOUR, 3 * SECOND, -3 * SECOND};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

Test(civil, reads_as_milliseconds_since_1970)
{
	start(SETTLE);
	cr_assert_eq(clock_civil_ms(&m.offset_ns, BOOT_NS), START_MS);
	cr_assert_eq(clock_civil_ms(&m.offset_ns, BOOT_NS + 1234 * MS - 1),
		     START_MS + 1233);
}

Test(civil, step_that_is_undone_has_no_effect)
{
	for (size_t i = 0; i < STEPS; i++) {
		start(SETTLE);
		m.wall_off_ns = steps[i];
		cr_assert_eq(tick(), CIVIL_STEPPED);
		cr_assert_eq(m.step_ns, steps[i]);
		cr_assert_eq(civil_step_ms(&m.civil), steps[i] / MS);
		pass(SETTLE - SECOND);
		cr_assert_eq(error_ns(), 0);
		m.wall_off_ns = 0;
		cr_assert_eq(tick(), CIVIL_UNDONE);
		cr_assert_eq(m.step_ns, steps[i]);
		cr_assert_eq(civil_step_ms(&m.civil), 0);
		pass(2 * SETTLE);
		cr_assert_eq(error_ns(), 0);
	}
}

Test(civil, step_that_lasts_is_believed_after_settling)
{
	for (size_t i = 0; i < STEPS; i++) {
		start(SETTLE);
		m.wall_off_ns = steps[i];
		cr_assert_eq(tick(), CIVIL_STEPPED);
		pass(SETTLE - SECOND);
		cr_assert_eq(error_ns(), 0);
		cr_assert_eq(tick(), CIVIL_BELIEVED);
		cr_assert_eq(m.step_ns, steps[i]);
		cr_assert_eq(error_ns(), steps[i]);
		cr_assert_eq(civil_step_ms(&m.civil), 0);
		pass(MINUTE);
		/* And the way back is a step as well. */
		m.wall_off_ns = 0;
		cr_assert_eq(tick(), CIVIL_STEPPED);
		pass(SETTLE - SECOND);
		cr_assert_eq(error_ns(), steps[i]);
		cr_assert_eq(tick(), CIVIL_BELIEVED);
		cr_assert_eq(error_ns(), 0);
	}
}

Test(civil, without_settling_a_step_is_believed_at_once)
{
	start(0);
	m.wall_off_ns = -DAY;
	cr_assert_eq(tick(), CIVIL_BELIEVED);
	cr_assert_eq(error_ns(), -DAY);
}

Test(civil, bound_of_a_slew_is_exact)
{
	start(SETTLE);
	m.wall_off_ns = CIVIL_SLEW_NS;
	cr_assert_eq(tick(), CIVIL_FOLLOWED);
	cr_assert_eq(error_ns(), CIVIL_SLEW_NS);
	start(SETTLE);
	m.wall_off_ns = CIVIL_SLEW_NS + 1;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	start(SETTLE);
	m.wall_off_ns = -CIVIL_SLEW_NS;
	cr_assert_eq(tick(), CIVIL_FOLLOWED);
	start(SETTLE);
	m.wall_off_ns = -CIVIL_SLEW_NS - 1;
	cr_assert_eq(tick(), CIVIL_STEPPED);
}

Test(civil, slewing_forward_is_followed_as_far_as_it_goes)
{
	start(SETTLE);
	for (int i = 0; i < 3600; i++) {
		m.wall_off_ns += 83 * MS;
		cr_assert_eq(tick(), CIVIL_FOLLOWED);
		cr_assert_eq(error_ns(), m.wall_off_ns);
	}
}

Test(civil, goes_back_a_little_at_a_time)
{
	start(SETTLE);
	m.wall_off_ns = -1500 * MS;
	for (int i = 1; i <= 1500; i++) {
		cr_assert_eq(tick(), CIVIL_FOLLOWED);
		cr_assert_eq(error_ns(), -i * CIVIL_BACK_NS);
	}
	pass(MINUTE);
	cr_assert_eq(error_ns(), -1500 * MS);
	/* What the kernel slews is followed without delay. */
	for (int i = 0; i < 3600; i++) {
		m.wall_off_ns -= 500000;
		cr_assert_eq(tick(), CIVIL_FOLLOWED);
		cr_assert_eq(error_ns(), m.wall_off_ns);
	}
}

Test(civil, another_step_begins_the_waiting_anew)
{
	start(SETTLE);
	m.wall_off_ns = DAY;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	pass(SETTLE - SECOND);
	m.wall_off_ns = DAY + HOUR;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	cr_assert_eq(m.step_ns, DAY + HOUR);
	pass(SETTLE - SECOND);
	cr_assert_eq(error_ns(), 0);
	cr_assert_eq(tick(), CIVIL_BELIEVED);
	cr_assert_eq(error_ns(), DAY + HOUR);
}

Test(civil, clock_that_flaps_is_never_believed)
{
	start(SETTLE);
	for (int i = 0; i < 100; i++) {
		m.wall_off_ns = i % 2 ? DAY : -HOUR;
		cr_assert_eq(tick(), CIVIL_STEPPED);
		pass(SETTLE - SECOND);
	}
	cr_assert_eq(error_ns(), 0);
	m.wall_off_ns = 0;
	cr_assert_eq(tick(), CIVIL_UNDONE);
}

Test(civil, slewing_after_a_step_does_not_begin_anew)
{
	start(SETTLE);
	m.wall_off_ns = HOUR;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	for (int64_t i = 1; i < SETTLE / SECOND; i++) {
		m.wall_off_ns += 50 * MS;
		cr_assert_eq(tick(), CIVIL_FOLLOWED);
	}
	cr_assert_eq(error_ns(), 0);
	cr_assert_eq(tick(), CIVIL_BELIEVED);
	cr_assert_eq(error_ns(), m.wall_off_ns);
}

Test(civil, process_that_starts_in_the_middle_of_a_step_waits_anew)
{
	start(SETTLE);
	m.wall_off_ns = DAY;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	pass(SETTLE / 2);
	civil_init(&m.civil, &m.offset_ns, (uint64_t)SETTLE);
	cr_assert_eq(tick(), CIVIL_STEPPED);
	pass(SETTLE - SECOND);
	cr_assert_eq(error_ns(), 0);
	cr_assert_eq(tick(), CIVIL_BELIEVED);
	cr_assert_eq(error_ns(), DAY);
}

Test(civil, time_that_nobody_watched_does_not_make_a_step_old)
{
	start(SETTLE);
	m.wall_off_ns = DAY;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	/* Suspended for a day: boot time and wall clock both went on. */
	cr_assert_eq(tick_after(DAY), CIVIL_FOLLOWED);
	cr_assert_eq(error_ns(), 0);
	m.wall_off_ns = 0;
	cr_assert_eq(tick(), CIVIL_UNDONE);
	/* Without a step civil time just goes on. */
	cr_assert_eq(tick_after(DAY), CIVIL_FOLLOWED);
	cr_assert_eq(error_ns(), 0);
}

Test(civil, clock_that_was_never_set_is_believed_when_it_is)
{
	int64_t since_1970 = (int64_t)START_MS * MS;

	start(SETTLE);
	atomic_store(&m.offset_ns, (uint64_t)0); /* 1970 at boot */
	m.wall_off_ns = -since_1970 + (int64_t)BOOT_NS;
	pass(MINUTE);
	m.wall_off_ns = DAY - since_1970;
	cr_assert_eq(tick(), CIVIL_STEPPED, "from unset to unset");
	m.wall_off_ns = 0;
	cr_assert_eq(tick(), CIVIL_BELIEVED);
	cr_assert_eq(error_ns(), 0);
	/* Back to 1970 is a step like others. */
	m.wall_off_ns = -since_1970;
	cr_assert_eq(tick(), CIVIL_STEPPED);
	pass(SETTLE - SECOND);
	cr_assert_eq(error_ns(), 0);
}

Test(civil, takes_the_wall_clock_for_a_start)
{
	uint64_t before_ms = clock_wall_ms(), civil_ms;

	civil_take(&m.offset_ns);
	civil_ms = clock_civil_ms(&m.offset_ns, clock_ns(CLOCK_BOOTTIME));
	/* Only as far as nobody steps the clock under this test. */
	cr_assert_geq(civil_ms + 1, before_ms);
	cr_assert_leq(civil_ms, clock_wall_ms() + 1);
}
