/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PLOT_H
#define STILE_BENCH_PLOT_H

/*
 * bench/plot - a line chart as SVG: axes with units, a legend in words, light
 * and dark.
 *
 * Text       is escaped; bytes that are no text are left to the caller.
 * Colours    follow prefers-color-scheme where the viewer knows it; without
 *            it the chart is dark on white. Series differ in dashes and
 *            markers too, for those who print or do not see colours.
 * Bounds     PLOT_SERIES_MAX series, PLOT_POINTS_MAX points and ticks each;
 *            more is a bug.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLOT_SERIES_MAX 6
#define PLOT_POINTS_MAX 512
#define PLOT_TICKS_MAX 16

struct plot_tick {
	double at;
	char label[24];
};

struct plot_series {
	char name[48];
	bool reference; /* what the others are compared with: dashed */
	bool markers;   /* a dot at each point: few points, all measured */
	uint32_t count;
	double x[PLOT_POINTS_MAX], y[PLOT_POINTS_MAX]; /* x ascends */
};

struct plot {
	char title[128], subtitle[256]; /* what, and where and how measured */
	const char *x_label, *y_label;  /* with their units */
	/* The caller transforms x and says what to write where. */
	struct plot_tick x_ticks[PLOT_TICKS_MAX];
	uint32_t x_tick_count;
	/* y: from 0, or from a power of ten with all values above 0 */
	bool y_log;
	struct plot_series series[PLOT_SERIES_MAX];
	uint32_t series_count;
};

void plot_tick(struct plot *p, double at, const char *label);
struct plot_series *plot_series(struct plot *p, const char *name,
				bool reference, bool markers);
/* In any order. */
void plot_point(struct plot_series *s, double x, double y);

/* Writes DIR/name; makes DIR when it is missing. 0, or -1 with a sentence. */
int plot_write(const struct plot *p, const char *dir, const char *name,
	       char *error, size_t error_len);

#endif
