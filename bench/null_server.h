/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_NULL_SERVER_H
#define STILE_BENCH_NULL_SERVER_H

/*
 * bench/null_server - the floor: what moving the bytes costs when there is
 * nothing to decide.
 *
 * Speaks the frames of wire/native with the means of a stiled worker: one
 * thread, one io_uring, multishot accept and recv into page-aligned provided
 * buffers, replies gathered over a completion sweep, one send per connection
 * and sweep that posts no completion when it succeeds. Each reply is a
 * constant with the request's id and type in it.
 *
 * Peers      trusted: anything but whole, known frames ends the server, and
 *            so does a peer that leaves more than WORKLOAD_DEPTH_MAX replies
 *            unread (of HTTP answers, as many bytes).
 */
#include "process.h"
#include "wire/native.h"

#define NULL_SERVER_CONNECTIONS_MAX 1024

/* Forks the server, listening at path. cpu: the CPU to stay on, or -1.
 * Returns -errno. */
int null_server_start(const char *path, int cpu, struct process *ret_process);

/* The constant that it answers. */
void null_server_reply(const uint8_t frame[static NATIVE_REQUEST_BYTES],
		       uint8_t out[static NATIVE_REPLY_BYTES]);

/* The same for HTTP/1.1 requests without bodies, each of which gets the
 * `answer`, of NULL_SERVER_ANSWER_MAX bytes at most. */
#define NULL_SERVER_ANSWER_MAX 1024u
int null_server_start_http(const char *path, int cpu, const char *answer,
			   struct process *ret_process);

#endif
