/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_ADMIN_H
#define STILE_CONTROL_ADMIN_H

/*
 * control/admin - the HTTP/1.1 server on the admin socket.
 *
 * Threads    the control thread alone: it polls admin_fd() for reading and
 *            calls admin_step(). The descriptor covers everything, time-outs
 *            included.
 * Peers      root and our own user (SO_PEERCRED); others get 403.
 * Bounds     max_connections (one more is answered 503; at most ADMIN_AWAY_MAX
 *            are being told so, or 403, at a time), ADMIN_HEAD_MAX,
 *            ADMIN_BODY_MAX, REPLY_BODY_MAX; a request has to be whole after
 *            ADMIN_REQUEST_MS, a reply fetched after ADMIN_REPLY_MS. One step
 *            answers at most one request of each connection.
 * Order      requests of a connection are answered one after the other;
 *            pipelined ones wait in the socket.
 * Secrets    input, bodies and replies are wiped after use.
 */
#include "control/reply.h"

#include <stdint.h>

#define ADMIN_INPUT_BYTES 16384
#define ADMIN_REQUEST_MS 30000
#define ADMIN_REPLY_MS 30000
#define ADMIN_AWAY_MAX 16    /* turned away at a time; beyond, closed unheard */
#define ADMIN_LINGER_MS 2000 /* after the last reply, for the peer to read */

struct admin;

struct admin_options {
	int listen_fd; /* listening Unix socket; admin_close() closes it */
	uint32_t max_connections;
	uint64_t idle_ms;
	void (*handle)(void *arg, const struct admin_request *request,
		       struct reply *reply);
	void *arg;
};

/* Negative errno; on failure listen_fd stays the caller's. */
int admin_open(const struct admin_options *o, struct admin **ret_admin);

/* Readable when admin_step() has something to do. */
int admin_fd(const struct admin *a);

/* Does what is ready and returns. */
void admin_step(struct admin *a);
/* The same at a given monotonic time, for tests. */
void admin_step_at(struct admin *a, uint64_t now_ms);

/* Connections open now, without those that are being turned away. */
uint32_t admin_connections(const struct admin *a);

/* Closes everything; the socket's file is the caller's to remove. */
struct admin *admin_close(struct admin *a);

#endif
