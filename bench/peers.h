/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PEERS_H
#define STILE_BENCH_PEERS_H

/*
 * bench/peers - the same pattern of checks against stile and against what
 * people use instead, each started here.
 *
 * Returns the exit status: 0, 1 when a reply was wrong, a figure made no sense
 * or a server that is installed could not be started, 2 for wrong usage.
 */
int peers_main(int argc, char **argv);

#endif
