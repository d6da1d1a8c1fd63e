/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_HTTP_H
#define STILE_BENCH_HTTP_H

/*
 * bench/http - what a check by HTTP costs, beside a responder that decides
 * nothing and beside the native protocol, interleaved.
 *
 * Returns the exit status: 0, 1 when an answer was wrong or a figure made no
 * sense, 2 for wrong usage.
 */
int http_main(int argc, char **argv);

#endif
