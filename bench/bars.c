/* SPDX-License-Identifier: MIT */
#include "bars.h"

#include "base/check.h"
#include "svg.h"

#include <stdio.h>

/* The picture, and the field of the bars in it. */
#define WIDTH 860
#define LEFT 150.0
#define RIGHT 740.0 /* a number fits behind the longest bar */
#define TOP 78.0
#define STEP 30.0
#define THICK 18.0

void bars_add(struct bars *b, const char *name, struct spread value)
{
	check(b->count < BARS_MAX);
	snprintf(b->bars[b->count].name, sizeof(b->bars[0].name), "%s", name);
	b->bars[b->count].value = value;
	b->count++;
}

/* The longest line reaches the right end. */
static double unit_of(const struct bars *b)
{
	double most = 0;

	for (uint32_t i = 0; i < b->count; i++)
		if (b->bars[i].value.max > most)
			most = b->bars[i].value.max;
	check(most > 0);
	return (RIGHT - LEFT) / most;
}

static void put_bar(FILE *f, const struct bars *b, uint32_t i, double unit)
{
	const struct spread *v = &b->bars[i].value;
	double top = TOP + i * STEP, middle = top + THICK / 2;
	char number[32];

	svg_label(f, LEFT - 10, middle + 4, "text-anchor=\"end\"",
		  b->bars[i].name);
	/* The first one is what the others are compared with. */
	fprintf(f,
		"<rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		"height=\"%.1f\"/>\n",
		i == 0 ? 0 : 5, LEFT, top, v->median * unit, THICK);
	svg_line(f, "axis", LEFT + v->min * unit, middle, LEFT + v->max * unit,
		 middle);
	snprintf(number, sizeof(number), "%.3g", v->median);
	svg_label(f, LEFT + v->max * unit + 8, middle + 4, "", number);
}

int bars_write(const struct bars *b, const char *dir, const char *name,
	       char *error, size_t error_len)
{
	double bottom = TOP + b->count * STEP, unit = unit_of(b);
	struct svg svg = {
		.title = b->title,
		.subtitle = b->subtitle,
		.width = WIDTH,
		.height = (unsigned int)bottom + 40,
	};

	if (svg_open(&svg, dir, name, error, error_len) < 0)
		return -1;
	for (uint32_t i = 0; i < b->count; i++)
		put_bar(svg.file, b, i, unit);
	svg_line(svg.file, "axis", LEFT, TOP - 6, LEFT, bottom);
	svg_label(svg.file, LEFT, bottom + 20, "class=\"small\"", b->label);
	return svg_close(&svg, error, error_len);
}
