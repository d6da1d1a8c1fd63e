/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_SVG_H
#define STILE_BENCH_SVG_H

/*
 * bench/svg - what charts are drawn with: a picture with a title, text and
 * lines in it, light and dark.
 *
 * Classes    title, small; paper, grid, axis, line; s0 to s5 and f0 to f5, the
 *            strokes and fills of series.
 * Text       is escaped; bytes that are no text are left to the caller.
 */
#include <stddef.h>
#include <stdio.h>

struct svg {
	const char *title, *subtitle;
	unsigned int width, height;
	FILE *file; /* from svg_open() to svg_close() */
	char path[256];
};

/* Begins DIR/name with the title; makes DIR when it is missing. Both return 0,
 * or -1 with a sentence. */
int svg_open(struct svg *s, const char *dir, const char *name, char *error,
	     size_t error_len);
int svg_close(struct svg *s, char *error, size_t error_len);

void svg_text(FILE *f, const char *text);
/* attributes: of the element, "" = none */
void svg_label(FILE *f, double x, double y, const char *attributes,
	       const char *text);
void svg_line(FILE *f, const char *class, double x1, double y1, double x2,
	      double y2);

#endif
