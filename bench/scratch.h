/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_SCRATCH_H
#define STILE_BENCH_SCRATCH_H

/* bench/scratch - directories that live as long as an experiment. */
#include <stddef.h>

/* Makes a fresh directory, mode 0700, under `parent`. -errno; then path is
 * empty. */
int scratch_make(const char *parent, char *path, size_t path_len);

/* Removes the directory and all in it; what cannot be removed stays. */
void scratch_remove(const char *path);

#endif
