/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_NGINX_H
#define STILE_BENCH_NGINX_H

/*
 * bench/nginx - what nginx serves with and without stile's auth_request, and
 * what CPU time both take together.
 *
 * Returns the exit status: 0, 1 when an answer was wrong or a figure made no
 * sense, 2 for wrong usage.
 */
int nginx_main(int argc, char **argv);

#endif
