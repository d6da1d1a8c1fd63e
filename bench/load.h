/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_LOAD_H
#define STILE_BENCH_LOAD_H

/*
 * bench/load - a closed loop: each connection sends a batch of `depth`
 * requests with one send, waits for every reply, checks each, and sends the
 * next batch.
 *
 * Threads    `threads` of them share the connections, each with an io_uring
 *            of its own; the caller's thread takes the time.
 * Bounded    by warmup_ns + measure_ns, and by LOAD_STALL_NS without any
 *            reply, which is an error.
 */
#include "address.h"
#include "dialect.h"
#include "process.h"

#include <signal.h>

#define LOAD_CONNECTIONS_MAX 1024
#define LOAD_THREADS_MAX 64
#define LOAD_SERVERS_MAX 3
#define LOAD_STALL_NS UINT64_C(5000000000)

struct load_options {
	struct address address; /* of the server */
	/* The processes that do the work, whose CPU time counts: the server
	 * and whom it asks. */
	struct process *servers[LOAD_SERVERS_MAX];
	uint32_t server_count;
	int server_cpu; /* the load keeps off it; -1 = no matter */
	uint32_t connections, depth, threads;
	uint64_t warmup_ns, measure_ns;
	const volatile sig_atomic_t *interrupted; /* ends the run when set */
};

struct load_result {
	/* within the measured time */
	uint64_t elapsed_ns, replies;
	uint64_t server_cpu_ns, client_cpu_ns; /* server: the sum of the next */
	uint64_t each_cpu_ns[LOAD_SERVERS_MAX];
	/* the whole run, warm-up and last batches included */
	struct workload_tally total;
};

/* Returns 0, or -1 with a sentence in `error`: a wrong reply, a server that
 * died or went silent, a clock that makes no sense. */
int load_run(const struct load_options *o, const struct dialect *d,
	     struct load_result *ret_result, char *error, size_t error_len);

/*
 * Asks every request of d once, in order: fills a server that begins empty.
 * Uses address, servers, connections, depth and interrupted of o. A batch and
 * its replies have to fit a socket's buffers, because all are sent before any
 * is read. Returns as load_run() does; *ret_tally is added to.
 */
#define LOAD_PASS_DEPTH_MAX 64u
int load_pass(const struct load_options *o, const struct dialect *d,
	      struct workload_tally *ret_tally, char *error, size_t error_len);

/*
 * Sends one frame on a connection of its own and waits for the reply.
 * Returns 0, or -1 with a sentence.
 */
int load_ask_once(const char *path,
		  const uint8_t frame[static NATIVE_REQUEST_BYTES],
		  uint8_t reply[static NATIVE_REPLY_BYTES], char *error,
		  size_t error_len);

#endif
