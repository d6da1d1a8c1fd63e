/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ARENA_MARK_H
#define STILE_STATE_ARENA_MARK_H

/*
 * state/arena_mark - which arena counted last for a state directory.
 *
 * Does       tells an arena that was left behind from the newest one. Whoever
 *            starts stiled once by hand and once as a service, with another
 *            runtime directory, has two; the one that missed what the other
 *            counted must not be carried on with.
 * Threads    the control thread, with the lock of the state directory.
 * File       DIR/arena-id, mode 0600: the id of the arena in hex. Not synced:
 *            an arena is good for one boot only, and so is what is cached.
 * Errors     negative errno and a sentence.
 */
#include "state/arena.h"

#define ARENA_MARK_FILE "arena-id"

/*
 * After arena_open(): empties `f` if another arena has served `state_dir` since
 * (*ret_stale, and *fresh becomes true), and notes that from now on it is this
 * one. A directory without a note, restored from a backup perhaps, takes the
 * arena that there is.
 */
int arena_mark(struct arena_file *f, const char *state_dir, bool *fresh,
	       bool *ret_stale, char *err, size_t err_len);

#endif
