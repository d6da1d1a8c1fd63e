/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_BARS_H
#define STILE_BENCH_BARS_H

/*
 * bench/bars - a bar chart as SVG: one bar for each contender with its number
 * beside it, and a line from the least to the most of its repetitions.
 *
 * Bounds     BARS_MAX bars; more is a bug.
 */
#include "stats.h"

#include <stdint.h>

#define BARS_MAX 12

struct bars {
	char title[128], subtitle[256]; /* what, and where and how measured */
	const char *label;              /* of the values, with their unit */
	struct {
		char name[48];
		struct spread value; /* above 0 */
	} bars[BARS_MAX];
	uint32_t count; /* at least 1 when drawn */
};

void bars_add(struct bars *b, const char *name, struct spread value);

/* Writes DIR/name; makes DIR when it is missing. 0, or -1 with a sentence. */
int bars_write(const struct bars *b, const char *dir, const char *name,
	       char *error, size_t error_len);

#endif
