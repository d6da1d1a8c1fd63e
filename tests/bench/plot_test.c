/* SPDX-License-Identifier: MIT */
#include "plot.h"

#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plot p;
static char dir[80], svg[65536], error[256];

static void setup(void)
{
	memset(&p, 0, sizeof(p));
	p.x_label = "depth";
	p.y_label = "replies";
	cr_assert_eq(scratch_make("/tmp", dir, sizeof(dir)), 0);
}

static void teardown(void)
{
	scratch_remove(dir);
}

TestSuite(plot, .init = setup, .fini = teardown, .timeout = 10);

static void draw(void)
{
	char path[128];
	FILE *f;

	cr_assert_eq(plot_write(&p, dir, "a.svg", error, sizeof(error)), 0,
		     "%s", error);
	snprintf(path, sizeof(path), "%s/a.svg", dir);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	svg[fread(svg, 1, sizeof(svg) - 1, f)] = '\0';
	fclose(f);
	cr_assert_null(strstr(svg, "nan"));
	cr_assert_null(strstr(svg, "inf"));
	cr_assert_not_null(strstr(svg, "</svg>"));
}

static void expect(const char *part)
{
	cr_assert_not_null(strstr(svg, part), "'%s' is not in: %s", part, svg);
}

Test(plot, axes_say_what_they_are_and_how_much)
{
	struct plot_series *s = plot_series(&p, "stile", false, true);

	plot_point(s, 0, 1);
	plot_point(s, 1, 6);
	plot_tick(&p, 0, "one");
	plot_tick(&p, 1, "two");
	draw();
	expect(">depth<");
	expect(">replies<");
	expect(">stile<");
	expect(">one<");
	expect(">two<");
	expect(">0<");
	expect(">6<");
}

Test(plot, logarithmic_axis_covers_the_values)
{
	struct plot_series *s = plot_series(&p, "stile", false, false);

	p.y_log = true;
	plot_point(s, 0, 12);
	plot_point(s, 1, 1500);
	draw();
	expect(">10<");
	expect(">200<");
	expect(">2000<");
}

/* Points are given from right to left, and lie from left to right. */
Test(plot, points_are_drawn_in_the_order_of_x)
{
	struct plot_series *s = plot_series(&p, "stile", false, false);

	plot_point(s, 2, 3);
	plot_point(s, 0, 1);
	plot_point(s, 1, 2);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_float_eq(s->x[i], i, 1e-9);
		cr_assert_float_eq(s->y[i], i + 1, 1e-9);
	}
}

Test(plot, text_cannot_become_markup)
{
	plot_point(plot_series(&p, "<b>&", false, false), 0, 1);
	snprintf(p.title, sizeof(p.title), "</svg>");
	draw();
	expect("&lt;b&gt;&amp;");
	expect("&lt;/svg&gt;");
	cr_assert_eq(strstr(svg, "</svg>") + strlen("</svg>\n"),
		     svg + strlen(svg));
}

Test(plot, one_point_and_equal_values_can_be_drawn)
{
	plot_point(plot_series(&p, "a", false, true), 3, 5);
	draw();
	p.y_log = true;
	draw();
	p.y_log = false;
	p.series[0].y[0] = 0;
	draw();
}

Test(plot, directory_that_cannot_be_made_is_told)
{
	plot_point(plot_series(&p, "a", false, true), 3, 5);
	cr_assert_eq(
		plot_write(&p, "/dev/null/x", "a.svg", error, sizeof(error)),
		-1);
	cr_assert_not_null(strstr(error, "/dev/null/x/a.svg"), "%s", error);
}
