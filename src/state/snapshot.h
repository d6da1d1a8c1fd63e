/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOT_H
#define STILE_STATE_SNAPSHOT_H

/*
 * state/snapshot - the counters on disk, for the case that the arena is lost
 * (reboot, power loss).
 *
 * File       state/counters.snap: versioned header, organizations, keys,
 *            XXH3-128 over everything before it (docs/snapshot-format.md).
 *            Written as a temporary file, fsync, rename, fsync of the
 *            directory.
 * Threads    snapshot_write() runs on the snapshot thread (or on the control
 *            thread after the workers have ended); it never blocks a worker.
 *            snapshot_read() runs before workers exist.
 * Ages       a stamp is kept as its age at the instant of the snapshot; after
 *            a reboot it is that age plus CLOCK_BOOTTIME.
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct snapshot_info {
	uint64_t bytes;
	uint64_t duration_ms;
	int64_t wall_ms; /* when it was taken */
	uint32_t orgs, keys;
	bool clean; /* taken after the workers had ended */
};

enum snapshot_outcome {
	SNAPSHOT_ABSENT = 1, /* no file: not an error */
};

/*
 * `org_slots` and `key_slots` are one above the highest slot in use. Slots
 * that are free are skipped. On failure: negative errno, a sentence in
 * `err`, the temporary file removed, the old snapshot untouched.
 */
int snapshot_write(struct arena *a, const char *dir, uint32_t org_slots,
		   uint32_t key_slots, bool clean,
		   struct snapshot_info *ret_info, char *err, size_t err_len);

/*
 * Puts a snapshot into an arena whose organizations and keys have been set up
 * from the records (ids, rules, rings), before workers run. Entries whose
 * slot is free or now has another id are skipped. Damaged, foreign or newer
 * file: -EBADMSG / -EINVAL / -EPROTONOSUPPORT, a sentence in `err`, the file
 * left alone and nothing restored (it is verified whole before anything is
 * applied).
 */
int snapshot_read(struct arena *a, const char *dir,
		  struct snapshot_info *ret_info, char *err, size_t err_len);

#endif
