/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_CONTROL_WIPED_H
#define STILE_TESTS_CONTROL_WIPED_H

/*
 * Replaces free() (linked with --wrap=free): memory is searched for a secret
 * just before it goes back to the heap.
 */
#include <stdbool.h>
#include <stddef.h>

/* From now on, look for `secret`; NULL stops. */
void wiped_watch(const char *secret);

/* Pieces of memory that were given back with the secret in them, and all
 * that were looked at. */
size_t wiped_leaks(void);
size_t wiped_frees(void);

#endif
