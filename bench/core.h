/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CORE_H
#define STILE_BENCH_CORE_H

/*
 * bench/core - what each stage of a check costs by itself: in this process, no
 * socket, no kernel, 1..N threads.
 *
 * Returns the exit status: 0, 1 when a stage did wrong or a figure made no
 * sense, 2 for wrong usage.
 */
int core_main(int argc, char **argv);

#endif
