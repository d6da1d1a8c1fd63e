/* SPDX-License-Identifier: MIT */
#ifndef STILE_WORKER_WORKER_H
#define STILE_WORKER_WORKER_H

/*
 * worker/worker - the threads that answer checks: io > wire > gate > wire >
 * io.
 *
 * Threads    workers_start(), workers_drain() and workers_join(): the control
 *            thread. Each worker has its own ring, connections and buffers;
 *            they share the arena, the key table and nothing else.
 * Accepting  worker 0 accepts for all and hands each connection to the worker
 *            that has the fewest.
 * Request path in steady state: no lock, no allocation, no formatted text,
 *            no system call but io_uring_enter.
 */
#include "base/counters.h"
#include "base/epoch.h"
#include "base/handoff.h"
#include "base/keytext.h"
#include "gate/decide.h"
#include "wire/http.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum protocol { PROTOCOL_NATIVE, PROTOCOL_HTTP, PROTOCOLS };

struct listener {
	int fd; /* -1: none */
	enum protocol protocol;
	uint32_t max_connections;
};

struct workers_options {
	struct listener listeners[PROTOCOLS];
	uint32_t count;
	uint32_t max_connections;
	uint32_t idle_timeout_s;
	uint32_t spin_us; /* look for work that long before sleeping */
	bool pin;         /* each on a CPU of its own */
	uint32_t recv_buffers;
	uint32_t send_buffers;
	uint64_t output_bytes_max;
	struct keytext_prefix prefix;
	struct gate_options gate; /* workers: set by workers_start() */
	struct http_options http;
};

struct arena;
struct keytable;
struct workers;

/* What the workers of one process share. */
struct workers_shared {
	struct workers_options options;
	struct arena *arena;
	struct keytable *table;
	struct epoch *epoch;
	_Atomic(bool) ready; /* what /readyz says */
};

/* All workers run, or none and a sentence in `err`. */
int workers_start(struct workers **ret_workers, struct workers_shared *shared,
		  char *err, size_t err_len);

/* Nobody can connect any more; answer what was read and what lies in the
 * sockets, also of those who wait to be accepted, and close. Returns at once.
 */
void workers_drain(struct workers *ws);

/* After workers_drain(): waits until all have ended; after `timeout_ms`
 * connections that are still open are cut. The counters stay readable until
 * workers_free(). */
void workers_join(struct workers *ws, unsigned timeout_ms);
/* Also their epoch readers: nobody calls epoch_wait() on that epoch again. */
struct workers *workers_free(struct workers *ws);

uint32_t workers_count(const struct workers *ws);
const struct counters *workers_counters(const struct workers *ws, uint32_t i);

#endif
