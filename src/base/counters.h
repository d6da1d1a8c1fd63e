/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_COUNTERS_H
#define STILE_BASE_COUNTERS_H

/*
 * base/counters - what a worker counts; one row per counter, and the metrics
 * page, `status` and the documentation come out of these rows.
 *
 * Threads    one worker writes its own struct counters (relaxed load + store,
 *            no locked instruction); anybody reads, relaxed. A reader sees
 *            each counter exact but not all at one instant.
 */
#include "base/line.h"
#include "wire/check.h"

#include <stdatomic.h>
#include <stdint.h>

/* X(field, metric name, help). All only grow. */
#define COUNTERS(X)                                                            \
	X(connections_accepted, "connections_accepted_total",                  \
	  "Connections taken")                                                 \
	X(connections_refused, "connections_refused_total",                    \
	  "Connections closed at once because a limit was reached")            \
	X(accepts_failed, "accepts_failed_total",                              \
	  "Times that no connection could be taken, for want of descriptors "  \
	  "or memory")                                                         \
	X(connections_closed, "connections_closed_total",                      \
	  "Connections that ended")                                            \
	X(connections_idle, "connections_idle_closed_total",                   \
	  "Connections closed by the idle timeout")                            \
	X(protocol_errors, "protocol_errors_total",                            \
	  "Connections closed because the peer broke the protocol")            \
	X(recv_bytes, "received_bytes_total", "Bytes received")                \
	X(sent_bytes, "sent_bytes_total", "Bytes handed to the kernel")        \
	X(sweeps, "sweeps_total", "Rounds of a worker that found work")        \
	X(spins, "spins_total",                                                \
	  "Times that a worker looked for work before it slept")               \
	X(spins_hit, "spins_hit_total", "Of those, times that work came")      \
	X(batches, "batches_total", "Batches of checks decided together")      \
	X(helps, "claims_helped_total",                                        \
	  "Decisions of another thread completed on its behalf")               \
	X(retries, "claims_retried_total",                                     \
	  "Decisions repeated because another thread got through first")       \
	X(thresholds, "budget_thresholds_total",                               \
	  "Times that a project's budget crossed a threshold")                 \
	X(once_full, "request_ids_full_total",                                 \
	  "Request ids that there was no room to remember")                    \
	X(subjects_full, "subjects_full_total",                                \
	  "Checks that a rule had no room to count a subject of")              \
	X(holds_full, "holds_full_total",                                      \
	  "Reservations refused for want of room")                             \
	X(recv_buffers_exhausted, "recv_buffers_exhausted_total",              \
	  "Receives that stopped because no buffer was free")                  \
	X(sends_parked, "sends_parked_total",                                  \
	  "Sends that the peer's socket buffer could not take whole")          \
	X(output_overflows, "output_overflows_total",                          \
	  "Connections that were not read from until replies were taken")      \
	X(output_evictions, "output_evictions_total",                          \
	  "Connections closed with replies unread because no send buffer was " \
	  "left")                                                              \
	X(ring_full, "ring_full_total",                                        \
	  "Times the submission ring was full and was flushed early")          \
	X(cq_overflows, "cq_overflows_total", "Completion ring overflows")

struct counters {
	_Atomic(uint64_t) verdicts[REASON_COUNT]; /* by enum reason */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a name being declared */
#define X(field, metric, help) _Atomic(uint64_t) field;
	COUNTERS(X)
#undef X
	_Atomic(uint64_t) connections; /* open now: a gauge */
} LINE_ALIGNED;

static inline void counter_add(_Atomic(uint64_t) *c, uint64_t n)
{
	/* PAIRS: nothing. One writer; readers want a number and nothing that
	 * it guards, so relaxed on both sides. */
	atomic_store_explicit(c,
			      atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic(uint64_t) *c)
{
	/* PAIRS: counter_add(), relaxed; see there. */
	return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
