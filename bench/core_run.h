/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CORE_RUN_H
#define STILE_BENCH_CORE_RUN_H

/*
 * bench/core_run - one stage on some threads for some time.
 *
 * ns       thread CPU time of one operation: what it costs, also when others
 *          want the CPUs. For threads that hinder each other it grows.
 * rate     operations of all threads in a second of the clock: what one gets.
 */
#include "core_stages.h"

struct core_run_options {
	uint32_t threads;
	bool pin; /* thread i on the i-th CPU that we may use */
	uint64_t warmup_ns, measure_ns;
};

struct core_run_result {
	double ns, rate;
};

/* 0, or -1 with a sentence. */
int core_run(struct core_world *w, const struct core_stage *stage,
	     const struct core_run_options *o, struct core_run_result *ret,
	     char *error, size_t error_len);

#endif
