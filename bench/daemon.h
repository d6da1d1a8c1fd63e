/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_DAEMON_H
#define STILE_BENCH_DAEMON_H

/*
 * bench/daemon - a real stiled in a scratch directory, and the organizations
 * and keys of a workload in it, by way of the admin API.
 *
 * Errors     -1 with a sentence in `error`, or 0.
 */
#include "process.h"
#include "workload.h"

#include <limits.h>
#include <signal.h>

struct daemon_server {
	struct process process;
	char dir[PATH_MAX];         /* state, sockets, configuration, log */
	char runtime_dir[PATH_MAX]; /* counters, on tmpfs; "" = none made */
	char socket_path[PATH_MAX]; /* native */
	char http_path[PATH_MAX];
	char admin_path[PATH_MAX];
};

/* Starts it with one worker, listening in `dir`, and waits until it is ready.
 * settings: more lines of its configuration, or NULL. cpu: the CPU to stay on,
 * or -1. */
int daemon_start(struct daemon_server *d, const char *stiled, const char *dir,
		 const char *settings, int cpu, char *error, size_t error_len);

/* Stops it and removes what it left outside `dir`. False when it did not end
 * as it should. Does nothing when it was never started. */
bool daemon_stop(struct daemon_server *d);

/* Creates w's organizations and imports its keys by hash; fills in the ids
 * that the daemon gave them. Tells of progress on standard error. Gives up
 * when *interrupted is set. */
int daemon_load_keys(const struct daemon_server *d, struct workload *w,
		     const volatile sig_atomic_t *interrupted, char *error,
		     size_t error_len);

/* Units allowed so far, over all organizations. */
int daemon_units_used(const struct daemon_server *d, uint64_t *ret_units,
		      char *error, size_t error_len);

#endif
