/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_ROUNDTRIP_OPTIONS_H
#define STILE_BENCH_ROUNDTRIP_OPTIONS_H

/* bench/roundtrip_options - the command line of `stile-bench roundtrip`. */
#include "options.h"

#include <limits.h>

/* Where client and server run, and how the client waits. */
enum roundtrip_place {
	ROUNDTRIP_SAME,       /* one CPU for both; the client sleeps */
	ROUNDTRIP_APART,      /* a CPU for each; the client sleeps */
	ROUNDTRIP_APART_SPIN, /* a CPU for each; the client never sleeps */
	ROUNDTRIP_PLACES
};

struct roundtrip_options {
	bool json;
	uint32_t keys, repetitions, spin_us;
	double seconds, warmup_seconds; /* of one run */
	enum workload_mode mode;
	bool places[ROUNDTRIP_PLACES];
	char stiled[PATH_MAX];
};

extern const char *const roundtrip_place_names[ROUNDTRIP_PLACES];

/* As options_parse(). cpus: those that we may use. */
int roundtrip_options_parse(struct roundtrip_options *o, unsigned int cpus,
			    int argc, char **argv);

#endif
