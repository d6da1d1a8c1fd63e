/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_ROUNDTRIP_REPORT_H
#define STILE_BENCH_ROUNDTRIP_REPORT_H

/* bench/roundtrip_report - the figures of `stile-bench roundtrip`, for people
 * and for programs. */
#include "machine.h"
#include "roundtrip_options.h"
#include "stats.h"

#include <jansson.h>

enum roundtrip_server {
	ROUNDTRIP_ECHO,
	ROUNDTRIP_NULL,
	ROUNDTRIP_CHECK,
	ROUNDTRIP_CHECK_SPIN,
	ROUNDTRIP_SERVERS
};

enum roundtrip_figure {
	ROUNDTRIP_P50, /* us, as the next two */
	ROUNDTRIP_P99,
	ROUNDTRIP_MEAN,
	ROUNDTRIP_CPU,       /* the server's, ns a request */
	ROUNDTRIP_P50_RATIO, /* to the echo of the same repetition */
	ROUNDTRIP_MEAN_RATIO,
	ROUNDTRIP_FIGURES
};

struct roundtrip_cell {
	enum roundtrip_place place;
	enum roundtrip_server server;
	struct spread figures[ROUNDTRIP_FIGURES];
	uint64_t replies; /* measured and checked */
};

void roundtrip_report_head(const struct roundtrip_options *o,
			   const struct machine *m);
void roundtrip_report_row(const struct roundtrip_cell *c);

/* A new reference, or NULL without memory. */
json_t *roundtrip_report_json(const struct roundtrip_options *o,
			      const struct machine *m,
			      const struct roundtrip_cell *c);

#endif
