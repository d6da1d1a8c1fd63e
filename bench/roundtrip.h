/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_ROUNDTRIP_H
#define STILE_BENCH_ROUNDTRIP_H

/*
 * `stile-bench roundtrip`: one connection with one request in flight, a client
 * that sends, waits and looks, against a blocking echo, the null server,
 * stiled, and stiled in latency mode, in turns; on one CPU, or on two.
 */
int roundtrip_main(int argc, char **argv);

#endif
