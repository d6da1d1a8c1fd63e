/* SPDX-License-Identifier: MIT */
#include "clocks.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static const struct clocks before = {
	.monotonic_ns = 100 * SECOND,
	.raw_ns = 90 * SECOND,
	.boot_ns = 200 * SECOND,
	.wall_ns = 1000000 * SECOND,
};

static struct clocks later(uint64_t ns)
{
	struct clocks c = before;

	c.monotonic_ns += ns;
	c.raw_ns += ns;
	c.boot_ns += ns;
	c.wall_ns += ns;
	return c;
}

static void expect(const struct clocks *after, const char *part)
{
	const char *why = clocks_disagree(&before, after);

	cr_assert_not_null(why);
	cr_assert_not_null(strstr(why, part), "%s", why);
}

Test(clocks, clocks_that_agree_say_nothing)
{
	struct clocks after = later(SECOND);

	cr_assert_null(clocks_disagree(&before, &after));
	after.raw_ns += SECOND / 2000; /* as much as NTP slews */
	after.wall_ns -= CLOCKS_SLACK_NS;
	cr_assert_null(clocks_disagree(&before, &after));
}

Test(clocks, step_of_the_wall_clock_is_seen_in_both_directions)
{
	struct clocks after = later(SECOND);

	after.wall_ns += 30000000;
	expect(&after, "set");
	after.wall_ns -= 60000000;
	expect(&after, "set");
	after.wall_ns -= 3600 * SECOND; /* before the start */
	expect(&after, "set");
}

Test(clocks, suspended_machine_is_seen)
{
	struct clocks after = later(SECOND);

	after.boot_ns += 5 * SECOND;
	expect(&after, "suspended");
}

Test(clocks, bent_clock_is_seen)
{
	struct clocks after = later(100 * SECOND);

	after.raw_ns += SECOND;
	expect(&after, "rate");
}

Test(clocks, clock_that_stands_or_goes_back_is_seen)
{
	struct clocks after = later(0);

	expect(&after, "stood still");
	after.monotonic_ns--;
	expect(&after, "stood still");
}

Test(clocks, readings_of_this_machine_agree)
{
	struct clocks a = clocks_read(), b;

	do
		b = clocks_read();
	while (b.monotonic_ns == a.monotonic_ns);
	cr_assert_null(clocks_disagree(&a, &b));
}
