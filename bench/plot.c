/* SPDX-License-Identifier: MIT */
#include "plot.h"

#include "base/check.h"
#include "svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The picture, and the frame of the axes in it. */
#define WIDTH 860
#define HEIGHT 480
#define LEFT 92.0
#define RIGHT 816.0
#define TOP 104.0
#define BOTTOM 412.0
#define DECADES_FULL 4 /* with three ticks each */

/* What is drawn of each axis. */
struct range {
	double x0, x1, y0, y1; /* y0, y1: logarithms when y_log */
	bool y_log;
};

void plot_tick(struct plot *p, double at, const char *label)
{
	struct plot_tick *t = &p->x_ticks[p->x_tick_count];

	check(p->x_tick_count < PLOT_TICKS_MAX);
	t->at = at;
	snprintf(t->label, sizeof(t->label), "%s", label);
	p->x_tick_count++;
}

struct plot_series *plot_series(struct plot *p, const char *name,
				bool reference, bool markers)
{
	struct plot_series *s = &p->series[p->series_count];

	check(p->series_count < PLOT_SERIES_MAX);
	p->series_count++;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->reference = reference;
	s->markers = markers;
	s->count = 0;
	return s;
}

void plot_point(struct plot_series *s, double x, double y)
{
	uint32_t i = s->count++;

	check(s->count <= PLOT_POINTS_MAX);
	for (; i > 0 && s->x[i - 1] > x; i--) {
		s->x[i] = s->x[i - 1];
		s->y[i] = s->y[i - 1];
	}
	s->x[i] = x;
	s->y[i] = y;
}

static double x_of(const struct range *r, double x)
{
	return LEFT + (x - r->x0) / (r->x1 - r->x0) * (RIGHT - LEFT);
}

static double y_of(const struct range *r, double y)
{
	if (r->y_log)
		y = log10(y);
	return BOTTOM - (y - r->y0) / (r->y1 - r->y0) * (BOTTOM - TOP);
}

/* The largest of 1, 2 and 5 times a power of ten that is not above v. */
static double nice_below(double v)
{
	double power = pow(10, floor(log10(v)));
	double digit = v / power;

	/* a hair, because powers of ten are not exact */
	return (digit >= 4.999999 ? 5 : digit >= 1.999999 ? 2 : 1) * power;
}

static double nice_above(double v)
{
	double below = nice_below(v);

	return v <= below * 1.000001 ? below : nice_below(below * 2.6);
}

static struct range range_of(const struct plot *p)
{
	struct range r = {.y_log = p->y_log};
	double low = HUGE_VAL, high = 0;

	r.x0 = HUGE_VAL;
	r.x1 = -HUGE_VAL;
	for (uint32_t i = 0; i < p->series_count; i++) {
		const struct plot_series *s = &p->series[i];

		for (uint32_t k = 0; k < s->count; k++) {
			r.x0 = fmin(r.x0, s->x[k]);
			r.x1 = fmax(r.x1, s->x[k]);
			low = fmin(low, s->y[k]);
			high = fmax(high, s->y[k]);
		}
	}
	for (uint32_t i = 0; i < p->x_tick_count; i++) {
		r.x0 = fmin(r.x0, p->x_ticks[i].at);
		r.x1 = fmax(r.x1, p->x_ticks[i].at);
	}
	if (!(r.x1 > r.x0)) { /* one point stands in the middle */
		r.x0 -= 1;
		r.x1 += 1;
	}
	if (p->y_log) {
		check(low > 0);
		r.y0 = log10(nice_below(low));
		r.y1 = log10(nice_above(high));
		if (r.y1 - r.y0 > DECADES_FULL) {
			r.y0 = floor(r.y0);
			r.y1 = ceil(r.y1);
		}
		if (r.y1 - r.y0 < 0.3)
			r.y1 = r.y0 + 1;
	} else {
		double step;

		high = high > 0 ? high : 1;
		step = nice_above(high / 6);
		r.y1 = ceil(high / step) * step;
	}
	return r;
}

static void put_y_tick(FILE *f, const struct range *r, double y)
{
	char label[32];
	double at = y_of(r, y);

	snprintf(label, sizeof(label), "%.10g", y);
	svg_line(f, "grid", LEFT, at, RIGHT, at);
	svg_label(f, LEFT - 9, at + 4.5, "text-anchor=\"end\"", label);
}

static void put_axes(FILE *f, const struct plot *p, const struct range *r)
{
	if (r->y_log) {
		/* 1, 2, 5, 10 ...; over many decades 1, 10 ... */
		double factor = r->y1 - r->y0 > DECADES_FULL ? 6 : 1.5;
		double y = pow(10, r->y0);

		while (y <= pow(10, r->y1) * 1.000001) {
			put_y_tick(f, r, y);
			y = nice_above(y * factor);
		}
	} else {
		double step = nice_above(r->y1 / 6 * 0.999999);

		for (int i = 0; i * step <= r->y1 * 1.000001; i++)
			put_y_tick(f, r, i * step);
	}
	for (uint32_t i = 0; i < p->x_tick_count; i++) {
		double at = x_of(r, p->x_ticks[i].at);

		svg_line(f, "grid", at, TOP, at, BOTTOM);
		svg_label(f, at, BOTTOM + 20, "text-anchor=\"middle\"",
			  p->x_ticks[i].label);
	}
	svg_line(f, "axis", LEFT, BOTTOM, RIGHT, BOTTOM);
	svg_line(f, "axis", LEFT, TOP, LEFT, BOTTOM);
	svg_label(f, (LEFT + RIGHT) / 2, BOTTOM + 46, "text-anchor=\"middle\"",
		  p->x_label);
	fprintf(f,
		"<text transform=\"translate(20 %.1f) rotate(-90)\" "
		"text-anchor=\"middle\">",
		(TOP + BOTTOM) / 2);
	svg_text(f, p->y_label);
	fputs("</text>\n", f);
}

static const char *dashes(const struct plot_series *s)
{
	return s->reference ? " stroke-dasharray=\"7 5\"" : "";
}

static void put_series(FILE *f, const struct plot_series *s, uint32_t idx,
		       const struct range *r)
{
	fprintf(f, "<polyline class=\"line s%u\"%s points=\"", idx, dashes(s));
	for (uint32_t i = 0; i < s->count; i++)
		fprintf(f, "%.1f,%.1f ", x_of(r, s->x[i]), y_of(r, s->y[i]));
	fputs("\"/>\n", f);
	for (uint32_t i = 0; s->markers && i < s->count; i++)
		fprintf(f,
			"<circle class=\"f%u\" cx=\"%.1f\" cy=\"%.1f\" "
			"r=\"4\"/>\n",
			idx, x_of(r, s->x[i]), y_of(r, s->y[i]));
}

/* One line above the frame; a character is taken to be 7 units wide. */
static void put_legend(FILE *f, const struct plot *p)
{
	double x = 24;

	for (uint32_t i = 0; i < p->series_count; i++) {
		const struct plot_series *s = &p->series[i];

		fprintf(f, "<path class=\"line s%u\"%s d=\"M%.1f %.1fh34\"/>\n",
			i, dashes(s), x, TOP - 18.5);
		svg_label(f, x + 42, TOP - 14, "", s->name);
		x += 60 + 7.0 * (double)strlen(s->name);
	}
}

static void put_plot(FILE *f, const struct plot *p)
{
	struct range r = range_of(p);

	put_axes(f, p, &r);
	for (uint32_t i = 0; i < p->series_count; i++)
		put_series(f, &p->series[i], i, &r);
	put_legend(f, p);
}

int plot_write(const struct plot *p, const char *dir, const char *name,
	       char *error, size_t error_len)
{
	struct svg svg = {
		.title = p->title,
		.subtitle = p->subtitle,
		.width = WIDTH,
		.height = HEIGHT,
	};

	if (svg_open(&svg, dir, name, error, error_len) < 0)
		return -1;
	put_plot(svg.file, p);
	return svg_close(&svg, error, error_len);
}
