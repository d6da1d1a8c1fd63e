/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_ECHO_SERVER_H
#define STILE_BENCH_ECHO_SERVER_H

/*
 * bench/echo_server - the shortest way there and back: a process that reads a
 * frame with one blocking read and writes the null server's reply with one
 * blocking write.
 *
 * Peers      trusted, one at a time: what is no whole frame ends the server.
 */
#include "process.h"

/* Forks the server, listening at path. Returns -errno. */
int echo_server_start(const char *path, struct process *ret_process);

#endif
