/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_FS_H
#define STILE_STATE_FS_H

/*
 * state/fs - the few file operations that records and snapshots share.
 *
 * Threads    any; no shared state.
 */
#include <stddef.h>

/* Writes a sentence for people into err (cut to err_len) and returns rc. */
int fs_fail(int rc, char *err, size_t err_len, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Makes the name of `path` durable: fsync of the directory it is in.
 * Negative errno. */
int fs_sync_parent(const char *path);

#endif
