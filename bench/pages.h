/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PAGES_H
#define STILE_BENCH_PAGES_H

/* bench/pages - large memory that is read at random or copied to and from by
 * the kernel: page-aligned, in pages of 2 MiB if there are any to be had, so
 * that the client's TLB misses are not part of a figure. */
#include <stddef.h>

void *pages_map(size_t bytes); /* zeros, or NULL */
void pages_unmap(const void *p, size_t bytes);

/* Up to the next multiple of a page. */
size_t pages_round(size_t bytes);

#endif
