/* SPDX-License-Identifier: MIT */
#include "bars.h"

#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct bars b;
static char dir[80], svg[65536], error[256];

static void setup(void)
{
	memset(&b, 0, sizeof(b));
	b.label = "ns";
	cr_assert_eq(scratch_make("/tmp", dir, sizeof(dir)), 0);
}

static void teardown(void)
{
	scratch_remove(dir);
}

TestSuite(bars, .init = setup, .fini = teardown, .timeout = 10);

static void draw(void)
{
	char path[128];
	FILE *f;

	cr_assert_eq(bars_write(&b, dir, "a.svg", error, sizeof(error)), 0,
		     "%s", error);
	snprintf(path, sizeof(path), "%s/a.svg", dir);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	svg[fread(svg, 1, sizeof(svg) - 1, f)] = '\0';
	fclose(f);
}

static void expect(const char *part)
{
	cr_assert_not_null(strstr(svg, part), "'%s' is not in: %s", part, svg);
}

Test(bars, lengths_are_in_proportion_and_the_longest_line_ends_at_the_right)
{
	bars_add(&b, "stile", (struct spread){100, 90, 120});
	bars_add(&b, "a & b", (struct spread){200, 150, 400});
	draw();
	/* 590 wide: 400 ns */
	expect("class=\"f0\" x=\"150.0\" y=\"78.0\" width=\"147.5\"");
	expect("class=\"f5\" x=\"150.0\" y=\"108.0\" width=\"295.0\"");
	expect("x1=\"371.2\" y1=\"117.0\" x2=\"740.0\" y2=\"117.0\"");
	expect(">100<");
	expect(">200<");
	expect(">a &amp; b<");
	expect(">ns<");
	expect("height=\"178\"");
	expect("</svg>");
}

Test(bars, takes_as_many_as_it_says)
{
	for (int i = 0; i < BARS_MAX; i++)
		bars_add(&b, "x", (struct spread){1, 1, 1});
	draw();
	expect("y=\"408.0\"");
}

Test(bars, directory_that_cannot_be_made_is_told)
{
	bars_add(&b, "x", (struct spread){1, 1, 1});
	cr_assert_eq(bars_write(&b, "/proc/nothing/here", "a.svg", error,
				sizeof(error)),
		     -1);
	cr_assert_not_null(strstr(error, "cannot be written"));
}
