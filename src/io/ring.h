/* SPDX-License-Identifier: MIT */
#ifndef STILE_IO_RING_H
#define STILE_IO_RING_H

/*
 * io/ring - one worker's io_uring: set-up, receive buffers, submissions that
 * are never lost.
 *
 * Threads    the worker that called ring_setup() (SINGLE_ISSUER).
 * Memory     all taken in ring_setup(): rings, and `recv_buffers` receive
 *            buffers of RECV_BUFFER_BYTES, page-aligned (limits of the
 *            kernel's copy: unaligned buffers cost three times as much).
 * Security   the ring is created disabled and restricted to the operations
 *            in RING_OPS before it is enabled: what runs on it can neither
 *            open files nor connect anywhere.
 * Identity   user_data of every operation names what it belongs to; the order
 *            of completions means nothing.
 */
#include "base/line.h"

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECV_BUFFER_BYTES 16384u
#define RING_SQ_ENTRIES 1024u
#define RING_CQ_ENTRIES 8192u
#define RECV_GROUP 0

struct counters;

/* What an operation was for: the top byte of user_data. */
enum ring_op {
	OP_ACCEPT = 1, /* multishot; idx = listener */
	OP_RECV,       /* multishot; idx = connection */
	OP_SEND,       /* idx = connection */
	OP_SHUT,       /* idx = connection */
	OP_WAKE,       /* read of the worker's own eventfd */
	OP_TICK,       /* timeout that the worker arms again and again */
	OP_QUIET,      /* success posts nothing, failure needs no answer */
};

/* op (8 bits), generation (24 bits), index (32 bits) */
static inline uint64_t ring_tag(enum ring_op op, uint32_t gen, uint32_t idx)
{
	return (uint64_t)op << 56 | (uint64_t)(gen & 0xffffffu) << 32 | idx;
}
#define TAG_OP(tag) ((enum ring_op)((tag) >> 56))
#define TAG_GEN(tag) ((uint32_t)((tag) >> 32) & 0xffffffu)
#define TAG_IDX(tag) ((uint32_t)(tag))

struct ring {
	struct io_uring uring;
	struct io_uring_buf_ring *buf_ring;
	uint8_t *buffers;
	uint32_t buffer_count;
	uint32_t recycled; /* returned but not yet published */
	struct counters *counters;
};

/*
 * On failure a negative errno and a sentence with the remedy in `err`.
 * recv_buffers: a power of two.
 */
int ring_setup(struct ring *r, uint32_t recv_buffers, struct counters *counters,
	       char *err, size_t err_len);
void ring_teardown(struct ring *r);

/* Whether a ring like ours can be had at all; from any thread, at start. */
int ring_probe(char *err, size_t err_len);

/* Never NULL: a full ring is submitted first. */
struct io_uring_sqe *ring_sqe(struct ring *r);

/* Submits what is queued and waits for a completion, `timeout_ms` at most. A
 * timeout is a timer of the kernel's that each wait starts and stops: RING_EVER
 * spares that.
 * What completed is then in the completion queue, or comes after it when that
 * is full: ring_next() until it says false has seen everything. */
#define RING_EVER UINT32_MAX
void ring_wait(struct ring *r, unsigned timeout_ms);

/* The same without sleeping: looks for completions for `spin_ns`. True when
 * there are some. Every look is a system call, because completions of this
 * kind of ring happen only inside of one; so another thread that wants this
 * CPU gets it as from any busy thread. */
bool ring_spin(struct ring *r, uint64_t spin_ns);

/* Stands for all that ring_sqe() has given out so far. */
static inline uint32_t ring_mark(const struct ring *r)
{
	return r->uring.sq.sqe_tail;
}

/* Whether the kernel has taken everything up to `mark`. Normally so after the
 * next ring_wait(), but not when the kernel had no memory or was interrupted.
 */
static inline bool ring_taken(const struct ring *r, uint32_t mark)
{
	uint32_t taken = ring_mark(r) - io_uring_sq_ready(&r->uring);

	return (int32_t)(taken - mark) >= 0;
}

/* The next completion, copied out, or false when there is none. */
bool ring_next(struct ring *r, struct io_uring_cqe *ret_cqe);

static inline uint8_t *ring_buffer(const struct ring *r, uint32_t id)
{
	return r->buffers + (size_t)id * RECV_BUFFER_BYTES;
}

/* Gives a receive buffer back; the kernel gets it with ring_publish(). */
void ring_recycle(struct ring *r, uint32_t id);
void ring_publish(struct ring *r);

#endif
