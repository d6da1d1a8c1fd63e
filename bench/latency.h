/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_LATENCY_H
#define STILE_BENCH_LATENCY_H

/*
 * bench/latency - how long a reply takes at a given rate, counted from when
 * its request was due: null server and real check, interleaved, the same
 * arrivals for both.
 *
 * Returns the exit status: 0, 1 when a reply was wrong or a figure made no
 * sense, 2 for wrong usage.
 */
int latency_main(int argc, char **argv);

#endif
