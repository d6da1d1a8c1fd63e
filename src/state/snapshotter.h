/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOTTER_H
#define STILE_STATE_SNAPSHOTTER_H

/*
 * state/snapshotter - the thread that writes snapshots, at an interval and on
 * demand, and collects usage (state/usage.h), at another and at the turn of
 * each hour.
 *
 * Hour       a snapshot that is due waits when the turn of the hour is nearer
 *            than twice the time the last one took; one that is asked for does
 *            not. So usage is collected within 100 ms of the turn, or when the
 *            snapshot that was asked for just before it is on disk.
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
struct usage;

#define SNAPSHOT_ERROR_MAX 256

struct snapshot_result {
	bool taken; /* info is that of the last one that worked */
	struct snapshot_info info;
	char error[SNAPSHOT_ERROR_MAX]; /* of the last one; "" = it worked */
};

struct snapshotter_options {
	struct arena *arena;
	struct epoch *epoch;
	const char *dir;     /* kept */
	uint32_t interval_s; /* 0: on demand only */
	struct usage *usage; /* NULL: not collected */
	uint32_t usage_interval_s;
};

int snapshotter_start(struct snapshotter **ret_s,
		      const struct snapshotter_options *o);

/* Takes one and waits for it. Negative errno, a sentence in err. */
int snapshotter_now(struct snapshotter *s, struct snapshot_info *ret_info,
		    char *err, size_t err_len);

void snapshotter_last(struct snapshotter *s, struct snapshot_result *ret_last);

/* Ends the thread. After the workers have ended; collects usage a last time and
 * takes a last, clean snapshot. The
 * epoch keeps the thread's reader: its memory (1 KB) is never given back. */
int snapshotter_stop(struct snapshotter *s, char *err, size_t err_len);

#endif
