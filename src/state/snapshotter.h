/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOTTER_H
#define STILE_STATE_SNAPSHOTTER_H

/*
 * state/snapshotter - the thread that writes snapshots, at an interval and on
 * demand.
 *
 * Threads    all calls: the control thread.
 * Never      do workers wait for it. The control thread waits only in
 *            snapshotter_now() and snapshotter_stop().
 */
#include "state/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoch;
struct snapshotter;

#define SNAPSHOT_ERROR_MAX 256

struct snapshot_result {
	bool taken; /* info is that of the last one that worked */
	struct snapshot_info info;
	char error[SNAPSHOT_ERROR_MAX]; /* of the last one; "" = it worked */
};

/* interval_s 0: on demand only. `dir` is kept. */
int snapshotter_start(struct snapshotter **ret_s, struct arena *a,
		      struct epoch *epoch, const char *dir,
		      uint32_t interval_s);

/* Takes one and waits for it. Negative errno, a sentence in err. */
int snapshotter_now(struct snapshotter *s, struct snapshot_info *ret_info,
		    char *err, size_t err_len);

void snapshotter_last(struct snapshotter *s, struct snapshot_result *ret_last);

/* Ends the thread. After the workers have ended; takes a last, clean one. The
 * epoch keeps the thread's reader: its memory (1 KB) is never given back. */
int snapshotter_stop(struct snapshotter *s, char *err, size_t err_len);

#endif
