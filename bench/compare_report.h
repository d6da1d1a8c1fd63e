/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_COMPARE_REPORT_H
#define STILE_BENCH_COMPARE_REPORT_H

/*
 * bench/compare_report - the figures of `stile-bench compare`, for people and
 * for programs.
 *
 * share_of_null and diff_cpu_ns are medians of the pairs: null and check of
 * one repetition ran right after each other, so what drifts between
 * repetitions cancels. They need not equal the ratio and the difference of the
 * other two medians to the last digit.
 */
#include "compare_options.h"
#include "stand.h"
#include "stats.h"

#include <jansson.h>

struct compare_cell {
	enum workload_mode mode;
	uint32_t connections, depth;
	struct spread null_rps, check_rps, share_of_null;
	struct spread null_cpu_ns, check_cpu_ns, diff_cpu_ns;
	struct spread null_busy, check_busy; /* CPUs the server used */
	uint64_t replies;    /* of both servers, measured and checked */
	double denied_share; /* of the checks */
};

void compare_report_head(const struct compare_options *o,
			 const struct stand *s);
void compare_report_row(const struct compare_cell *c);

/* A new reference, or NULL without memory. */
json_t *compare_report_json(const struct compare_options *o,
			    const struct stand *s,
			    const struct compare_cell *c);

/* throughput-CONNECTIONS.svg for each number of connections: what was reached
 * by depth. 0, or -1 with a sentence. */
int compare_report_plot(const struct compare_options *o, const struct stand *s,
			const struct compare_cell *cells, uint32_t cell_count,
			char *error, size_t error_len);

#endif
