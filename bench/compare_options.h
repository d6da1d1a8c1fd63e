/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_COMPARE_OPTIONS_H
#define STILE_BENCH_COMPARE_OPTIONS_H

/* bench/compare_options - the command line of `stile-bench compare`. */
#include "options.h"

#include <limits.h>

struct compare_options {
	bool json, pin;
	uint32_t keys, repetitions, threads;
	double seconds, warmup_seconds; /* of one run */
	uint32_t connections[OPTIONS_LIST_MAX], connections_count;
	uint32_t depths[OPTIONS_LIST_MAX], depths_count;
	enum workload_mode modes[2];
	uint32_t modes_count;
	char stiled[PATH_MAX];
	const char *dir;  /* NULL = a fresh one, removed afterwards */
	const char *plot; /* directory for SVG; NULL = none */
};

/* Returns 0; 1 when the help was asked for and printed; -1 when something is
 * wrong, which was told on standard error. */
int compare_options_parse(struct compare_options *o, int argc, char **argv);

#endif
