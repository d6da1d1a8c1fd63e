/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PEER_LIMIT_H
#define STILE_BENCH_PEER_LIMIT_H

/*
 * bench/peer_limit - the limit that peers are given: one that nobody reaches,
 * whose counters nobody forgets while a run lasts. One unit comes back each
 * hour, and a million may be used at once; in nanoseconds that still fits the
 * 64-bit arithmetic of all of them.
 */
#include "peer.h"

#define PEER_BURST 1000000
#define PEER_BURST_TEXT "1000000"
#define PEER_BURST_BUT_ONE_TEXT "999999"
#define PEER_UNIT_S_TEXT "3600"
#define PEER_UNIT_US_TEXT "3600000000"

/* Sends a RESP command with a limit of `limit`: so many have to pass, the next
 * one has not. A server that allows everything is fast. `allowed`: the first
 * number of the reply when it passes. */
int peer_probe(struct peer *p, struct contest *c, size_t argc,
	       const char *const *argv, uint32_t limit, int64_t allowed);

#endif
