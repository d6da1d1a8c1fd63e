/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_LOADER_H
#define STILE_BENCH_LOADER_H

/*
 * bench/loader - one thread of bench/load: its connections, its io_uring, the
 * closed loop.
 *
 * Threads    loader_main() in a thread of its own; whoever started it calls
 *            the functions below, all of them while it runs but `tally`,
 *            which is read after loader_join().
 */
#include "base/line.h"
#include "load.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#define LOADER_ERROR_LEN 512

struct load_conn {
	int fd;
	uint32_t first;         /* request at which the batch begins */
	uint32_t judged;        /* replies of the batch */
	uint8_t *replies;       /* room for those of a batch, page-aligned */
	size_t received, taken; /* bytes of them, and those judged */
};

/* The caller fills in options to conn_count; the rest starts as zeros. */
struct loader {
	const struct load_options *options;
	const struct dialect *dialect;
	struct load_conn *conns;
	uint32_t conn_count;

	uint32_t busy; /* connections with a batch under way */
	struct io_uring ring;
	pthread_t thread;
	struct workload_tally tally;
	char error[LOADER_ERROR_LEN];

	/* written by the loader, read by the caller */
	_Atomic(uint64_t) replies LINE_ALIGNED;
	_Atomic(bool) failed;
	/* written by the caller */
	_Atomic(bool) stop LINE_ALIGNED;
};

int loader_start(struct loader *l); /* -errno */
void loader_stop(struct loader *l); /* after the batches under way */
void loader_join(struct loader *l);

uint64_t loader_replies(const struct loader *l);
const char *loader_error(const struct loader *l); /* NULL = fine */

#endif
