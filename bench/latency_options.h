/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_LATENCY_OPTIONS_H
#define STILE_BENCH_LATENCY_OPTIONS_H

/* bench/latency_options - the command line of `stile-bench latency`. */
#include "options.h"
#include "schedule.h"

#include <limits.h>

enum latency_wait {
	LATENCY_AUTO,  /* spin when there are two CPUs */
	LATENCY_SPIN,  /* the generator looks at the clock all the time */
	LATENCY_SLEEP, /* it sleeps until something is due or has come */
};

struct latency_options {
	bool json, pin;
	bool snapshot; /* idle against snapshots, instead of null server */
	uint32_t keys, keys_per_org, repetitions, connections, lag_max_us;
	double seconds, warmup_seconds; /* of one run */
	uint32_t rates[OPTIONS_LIST_MAX], rates_count;
	enum workload_mode modes[2];
	uint32_t modes_count;
	enum schedule_kind arrivals;
	enum latency_wait wait;
	char stiled[PATH_MAX];
	const char *dir;  /* NULL = a fresh one, removed afterwards */
	const char *plot; /* directory for SVG; NULL = none */
};

/* As options_parse(). */
int latency_options_parse(struct latency_options *o, int argc, char **argv);

#endif
