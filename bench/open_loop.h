/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_OPEN_LOOP_H
#define STILE_BENCH_OPEN_LOOP_H

/*
 * bench/open_loop - requests sent when a schedule says, whatever the server
 * does, each one's latency counted from the instant at which it was due.
 *
 * Does       request i of the schedule goes to connection i modulo their
 *            number; what is due on one connection at the same time goes in
 *            one send. A server that stalls delays replies, not the schedule:
 *            requests that had to wait for it count from when they were due
 *            (no coordinated omission).
 * Threads    the caller's, with an io_uring of its own.
 * Lag        how late the generator itself came to a request. It is part of
 *            the latency, since nobody can tell the two apart; so it is told
 *            apart, and more of it than lag_max_ns at the 99th percentile is
 *            an error. A full socket is the server's doing and no lag.
 * Bounded    by the schedule, and by LOAD_STALL_NS without any reply.
 */
#include "histogram.h"
#include "process.h"
#include "schedule.h"
#include "workload.h"

#include <signal.h>

struct open_loop_options {
	const char *path; /* the server's socket */
	struct process *server;
	bool server_is_null;
	bool spin; /* never sleeps: needs a CPU of its own */
	uint32_t connections;
	uint64_t warmup_ns; /* requests due before this are not counted */
	uint64_t lag_max_ns;
	const struct schedule *schedule;
	const volatile sig_atomic_t *interrupted; /* ends the run when set */
};

struct open_loop_result {
	/* of the requests that were due after the warm-up */
	struct histogram latency_ns, lag_ns;
	uint64_t replies, server_cpu_ns;
	/* from the end of the warm-up until the last reply */
	uint64_t elapsed_ns;
	/* of all */
	struct workload_tally total;
};

/* Returns 0, or -1 with a sentence in `error`: a wrong reply, a server that
 * died or went silent, a generator that came too late, clocks that disagree. */
int open_loop_run(const struct open_loop_options *o, const struct workload *w,
		  struct open_loop_result *ret_result, char *error,
		  size_t error_len);

#endif
