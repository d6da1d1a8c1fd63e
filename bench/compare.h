/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_COMPARE_H
#define STILE_BENCH_COMPARE_H

/*
 * bench/compare - what a check costs beyond moving its bytes: null server and
 * real check, interleaved, same transport, same frames, same load.
 *
 * Returns the exit status: 0, 1 when a reply was wrong or a figure made no
 * sense, 2 for wrong usage.
 */
int compare_main(int argc, char **argv);

#endif
