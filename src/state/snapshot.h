/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOT_H
#define STILE_STATE_SNAPSHOT_H

/*
 * state/snapshot - the counters on disk, for the case that the arena is lost
 * (reboot, power loss).
 *
 * File       DIR/counters.snap, mode 0600: versioned header, records of what
 *            does not rest, XXH3-128 over everything
 *            (docs/snapshot-format.md). Written as a temporary file, fsync,
 *            rename, fsync of the directory. Version 1 is still read.
 * Content    what a decision counts in: meters, credits, budgets, totals of
 *            keys, tables of subjects, cells of usage, holds. Not request ids,
 *            and not what the records say.
 * Threads    snapshot_write() runs on the snapshot thread (or on the control
 *            thread after the workers have ended), one at a time; it never
 *            blocks a worker. snapshot_read() runs before workers exist.
 * Exactness  an organization's meters and credits are saved at one instant, so
 *            are a project's budgets and each subject. Different ones, and a
 *            key and its organization, are saved at different instants unless
 *            `clean`: what is charged meanwhile is in one and not in another.
 *            A hold is saved only if it was there before and after all that it
 *            is counted in; the units of others stay charged.
 * Ages       a stamp is kept as its age when its organization was saved. In
 *            the same boot that is exact; after a reboot it is that age plus
 *            CLOCK_BOOTTIME, so the time between the snapshot and the boot
 *            does not count: never too old, so never allowed too early. The
 *            same for what GCRA and holds have left. A window that has more
 *            units than entries may then come back one grain later
 *            (gate/meter.h).
 * Memory     0.1 MB while it runs, up to 5.5 MB when an organization has eight
 *            windows of 65,536 entries, 32 bytes for each table of subjects
 *            and 8 for each hold up to the last one that is live.
 */
#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoch_reader;

#define SNAPSHOT_FILE "counters.snap"
#define SNAPSHOT_TEMP "counters.snap.tmp"
#define SNAPSHOT_REFUSED "counters.snap.refused-" /* and a number from 1 */
#define SNAPSHOT_REFUSED_MAX 16 /* files set aside; then writing fails */

struct snapshot_info {
	uint64_t bytes;
	uint64_t duration_ms;
	int64_t wall_ms; /* when it was taken */
	/* written, or restored */
	uint32_t orgs, projects, keys, holds;
	uint64_t subjects, cells;
	uint64_t skipped; /* read: entries whose slot, rule or table is not what
			   * it was */
	uint32_t set_aside; /* write: number of the refused file, 0 = none */
	bool clean;         /* taken after the workers had ended */
	bool same_boot;     /* read: taken since this machine booted */
};

enum snapshot_outcome {
	SNAPSHOT_ABSENT = 1, /* no file: not an error */
};

/*
 * `reader` is this thread's, entered for one slot at a time; NULL when nobody
 * changes rings any more. Slots that are free or were never used are left out.
 *
 * A file that snapshot_read() would refuse is not overwritten but renamed to
 * SNAPSHOT_REFUSED and a number; then info->set_aside is that number and `err`
 * says why it was refused.
 *
 * On failure: negative errno, a sentence in `err`, no temporary file, the old
 * snapshot as it was. (If only the last step fails, the fsync of the
 * directory, the new one is there already and is complete.)
 */
int snapshot_write(struct arena *a, struct epoch_reader *reader,
		   const char *dir, bool clean, struct snapshot_info *ret_info,
		   char *err, size_t err_len);

/*
 * Puts a snapshot into a fresh arena whose organizations, projects and keys
 * have been set up from the records (ids, plans, rings, tables, pools, holds,
 * slot counts in the header), before workers run. Entries whose slot is free
 * or has another id are skipped; so are meters whose rule has another
 * algorithm or is gone, subjects of a table that has another size, and pools
 * that are closed. The seed of the arena's hashes becomes that of the snapshot.
 *
 * The file is verified whole before anything is applied. Damaged, foreign or
 * newer: -EBADMSG / -EINVAL / -EPROTONOSUPPORT, a sentence in `err`, the file
 * left alone and nothing restored. Another negative errno: it cannot be read;
 * what was applied by then is right but not all.
 */
int snapshot_read(struct arena *a, const char *dir,
		  struct snapshot_info *ret_info, char *err, size_t err_len);

/* What the header of the snapshot in `dir` says, unverified: clean, same_boot
 * and wall_ms. SNAPSHOT_ABSENT. Negative errno: snapshot_read() would refuse
 * it, or it cannot be read. */
int snapshot_peek(struct arena *a, const char *dir,
		  struct snapshot_info *ret_info);

#endif
