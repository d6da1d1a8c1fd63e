/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static struct schedule s;

static void teardown(void)
{
	schedule_deinit(&s);
}

TestSuite(schedule, .fini = teardown);

Test(schedule, fixed_arrivals_are_equally_far_apart)
{
	cr_assert_eq(schedule_init(&s, SCHEDULE_FIXED, 1000, SECOND, 1), 0);
	cr_assert_eq(s.count, 1000);
	for (uint64_t i = 0; i < s.count; i++)
		cr_assert_eq(s.due_ns[i], i * 1000000);
}

/* 3 a second is no whole number of nanoseconds: errors must not add up. */
Test(schedule, odd_rates_do_not_drift)
{
	cr_assert_eq(schedule_init(&s, SCHEDULE_FIXED, 300007, SECOND, 1), 0);
	cr_assert_eq(s.count, 300007);
	cr_assert_lt(SECOND - s.due_ns[s.count - 1], 3400);
}

/* Mean and variance of exponential gaps, within six standard errors; the seed
 * is fixed, so this passes always or never. */
Test(schedule, poisson_gaps_are_exponential)
{
	double sum = 0, squares = 0, mean, n;
	const double want = 1e4;
	uint64_t below = 0;

	cr_assert_eq(schedule_init(&s, SCHEDULE_POISSON, 100000, 5 * SECOND, 7),
		     0);
	n = (double)s.count - 1;
	cr_assert_float_eq(n, 500000, 6 * sqrt(500000));
	for (uint64_t i = 1; i < s.count; i++) {
		double gap = (double)(s.due_ns[i] - s.due_ns[i - 1]);

		cr_assert(s.due_ns[i] >= s.due_ns[i - 1]);
		sum += gap;
		squares += gap * gap;
		below += gap < want;
	}
	mean = sum / n;
	cr_assert_float_eq(mean, want, 6 * want / sqrt(n));
	cr_assert_float_eq(squares / n / (mean * mean), 2, 0.05);
	cr_assert_float_eq((double)below / n, 1 - exp(-1), 0.005);
	cr_assert_lt(s.due_ns[s.count - 1], 5 * SECOND);
}

Test(schedule, same_seed_gives_the_same_arrivals)
{
	struct schedule other;

	cr_assert_eq(schedule_init(&s, SCHEDULE_POISSON, 1000, SECOND, 1), 0);
	cr_assert_eq(schedule_init(&other, SCHEDULE_POISSON, 1000, SECOND, 1),
		     0);
	cr_assert_eq(s.count, other.count);
	cr_assert_eq(memcmp(s.due_ns, other.due_ns, s.count * 8), 0);
	schedule_deinit(&other);
	cr_assert_eq(schedule_init(&other, SCHEDULE_POISSON, 1000, SECOND, 2),
		     0);
	cr_assert_neq(s.due_ns[0], other.due_ns[0]);
	schedule_deinit(&other);
}

Test(schedule, counts_what_is_due_before_an_instant)
{
	cr_assert_eq(schedule_init(&s, SCHEDULE_FIXED, 10, SECOND, 1), 0);
	cr_assert_eq(schedule_before(&s, 0), 0);
	cr_assert_eq(schedule_before(&s, 1), 1);
	cr_assert_eq(schedule_before(&s, SECOND / 10), 1);
	cr_assert_eq(schedule_before(&s, SECOND / 10 + 1), 2);
	cr_assert_eq(schedule_before(&s, UINT64_MAX), 10);
}

Test(schedule, too_many_or_none_are_refused)
{
	cr_assert_eq(schedule_init(&s, SCHEDULE_FIXED, 1, SECOND / 2, 1),
		     -EINVAL);
	cr_assert_eq(schedule_init(&s, SCHEDULE_FIXED, 0, SECOND, 1), -EINVAL);
	cr_assert_eq(schedule_init(&s, SCHEDULE_POISSON,
				   (uint32_t)SCHEDULE_ARRIVALS_MAX + 1, SECOND,
				   1),
		     -EINVAL);
	cr_assert_null(s.due_ns);
}
