/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_MEMTEXT_H
#define STILE_BENCH_MEMTEXT_H

/* bench/memtext - memcached's text protocol: what a counter needs of it. */
#include "dialect.h"

/* `set KEY` to 0, for load_pass(): `incr` creates nothing. Returns as
 * dialect_build(). */
int memtext_dialect_set(struct dialect *d, const struct workload *w);

/* `incr KEY 1`; a reply is right when it is a number above 0. */
int memtext_dialect_incr(struct dialect *d, const struct workload *w);

#endif
