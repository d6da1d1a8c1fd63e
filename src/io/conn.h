/* SPDX-License-Identifier: MIT */
#ifndef STILE_IO_CONN_H
#define STILE_IO_CONN_H

/*
 * io/conn - the connections of one worker: their receives, their replies on
 * the way out, and their end.
 *
 * Threads    one worker.
 * Memory     a fixed table, and send chunks from a pool, all taken at start.
 * Output     replies are collected in chunks; conns_settle() hands them to the
 *            kernel, one send per connection and sweep. A send that the kernel
 *            takes whole posts no completion: conns_confirm() learns of it
 *            from the silence. What the peer does not take stays queued while
 *            we go on reading; above `output_max` bytes we stop reading until
 *            half of it has been taken. When the pool is empty, the one that
 *            holds most of it is closed, whoever asked.
 * Idle       is who neither was given a reply nor took a piece of one: bytes
 *            that never become a request keep nobody alive.
 * Life       conn_open() -> receives -> peer's end (EOF), our end
 *            (conn_finish: answer, then close) or a fault (conn_abort) ->
 *            the slot is free when the kernel holds nothing of it any more.
 */
#include "base/check.h"
#include "io/chunks.h"
#include "io/ring.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conn_flag {
	CONN_OPEN = 1u << 0,
	CONN_RECV = 1u << 1,    /* a receive is armed */
	CONN_REARM = 1u << 2,   /* it ended for want of buffers */
	CONN_PAUSED = 1u << 3,  /* too many unread replies */
	CONN_EOF = 1u << 4,     /* the peer sends nothing more */
	CONN_FINISH = 1u << 5,  /* we take nothing more: answer, then close */
	CONN_SHUT = 1u << 6,    /* our sending end is shut */
	CONN_ABORT = 1u << 7,   /* close without answering */
	CONN_SENDING = 1u << 8, /* a send is with the kernel */
	CONN_SILENT = 1u << 9,  /* ... and posts nothing if it succeeds */
	CONN_LISTED = 1u << 10, /* in the list that conns_settle() visits */
	CONN_CUT = 1u << 11,    /* both ends are shut */
	CONN_ACTIVE = 1u << 12, /* it got on since it was last settled */
};

struct conn {
	int fd;
	uint32_t gen;
	uint32_t flags;
	uint32_t kind;        /* < CONN_KINDS; the worker's */
	uint32_t first, last; /* queue of chunks with replies */
	uint32_t inflight;    /* bytes of `first` that are with the kernel */
	uint32_t shuts;       /* shutdowns that are with the kernel */
	uint32_t active_s;    /* seconds, of the last progress or CONN_SHUT */
	uint64_t queued;      /* bytes in the queue */
	uint32_t next_free;
};

#define CONN_KINDS 2

struct conns {
	struct ring *ring;
	struct counters *counters;
	struct chunks chunks;
	struct conn *conns;
	uint32_t count; /* slots */
	uint32_t free;  /* first free slot */
	uint32_t open;
	/* By kind, and with those that are on their way here from the worker
	 * that accepted them. It adds, the owner of this table subtracts. */
	_Atomic(uint32_t) load[CONN_KINDS];
	uint64_t output_max;
	uint32_t now_s;   /* set by the worker for each sweep */
	uint32_t *listed; /* to be settled */
	uint32_t listed_count;
	uint32_t *silent; /* sends that say nothing, to be confirmed */
	uint32_t silent_count;
	uint32_t silent_mark; /* ring_mark() of the last of them */
	uint32_t *closed;     /* slots that the last conns_settle() freed */
	uint32_t closed_count;
};

#define CONN_NONE UINT32_MAX

/* -ENOMEM. */
int conns_init(struct conns *cs, struct ring *ring, uint32_t count,
	       uint32_t send_chunks, uint64_t output_max,
	       struct counters *counters);
void conns_deinit(struct conns *cs);

/* Takes the descriptor, which conns_expect() has announced, and arms its
 * receive. CONN_NONE: no slot is free (the descriptor is still the caller's).
 */
uint32_t conn_open(struct conns *cs, int fd, uint32_t kind);

/* Any worker: a connection will be opened here; how many there are. */
void conns_expect(struct conns *cs, uint32_t kind);
uint32_t conns_load(const struct conns *cs, uint32_t kind);

static inline struct conn *conn_at(struct conns *cs, uint32_t idx)
{
	return &cs->conns[idx];
}

/* The connection that a completion belongs to, or NULL when it is gone. */
struct conn *conn_of(struct conns *cs, uint64_t tag);

/* The next conns_settle() looks at it. */
static inline void conn_list(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);

	if (c->flags & CONN_LISTED)
		return;
	c->flags |= CONN_LISTED;
	cs->listed[cs->listed_count++] = idx;
}

/* The half of conn_room() for the first reply of a chunk. */
uint8_t *conn_more_room(struct conns *cs, uint32_t idx);

/* Room for `len` <= CHUNK_BYTES contiguous bytes of reply, to be followed by
 * conn_wrote(). NULL: the pool is empty, and nobody who holds more of it could
 * give any back; the connection was aborted. */
static inline uint8_t *conn_room(struct conns *cs, uint32_t idx, uint32_t len)
{
	uint32_t last = conn_at(cs, idx)->last;
	uint32_t used;

	check_hot(len <= CHUNK_BYTES);
	if (unlikely(last == CHUNK_NONE))
		return conn_more_room(cs, idx);
	used = cs->chunks.chunks[last].len;
	if (unlikely(CHUNK_BYTES - used < len))
		return conn_more_room(cs, idx);
	return chunk_bytes(&cs->chunks, last) + used;
}

/* How much may be written where conn_room() has just pointed; `len` at least.
 */
static inline uint32_t conn_room_len(struct conns *cs, uint32_t idx)
{
	return CHUNK_BYTES - cs->chunks.chunks[conn_at(cs, idx)->last].len;
}

static inline void conn_wrote(struct conns *cs, uint32_t idx, uint32_t len)
{
	struct conn *c = conn_at(cs, idx);

	cs->chunks.chunks[c->last].len += len;
	c->queued += len;
	c->flags |= CONN_ACTIVE;
	conn_list(cs, idx);
}

/* Take nothing more from the peer; close when it has our answers. */
void conn_finish(struct conns *cs, uint32_t idx);
/* Close now; what is queued is dropped. */
void conn_abort(struct conns *cs, uint32_t idx);
/* Stop the peer's sending; what it has sent is still read and answered. */
void conn_drain(struct conns *cs, uint32_t idx);

/* True while what arrives is to be read as requests. */
static inline bool conn_reads(const struct conn *c)
{
	return (c->flags & (CONN_FINISH | CONN_ABORT)) == 0;
}

/* Completions. conn_received(): >0 bytes of a request, 0 nothing to read. */
int conn_received(struct conns *cs, uint32_t idx, int res, uint32_t cqe_flags);
void conn_sent(struct conns *cs, uint32_t idx, int res);
void conn_shut(struct conns *cs, uint32_t idx);

/* Once a sweep, after all completions have been taken: sends that posted
 * nothing have succeeded. */
void conns_confirm(struct conns *cs);
/* Once a sweep, at its end: send, re-arm, pause, close what is due. Whoever
 * keeps something by slot finds in `closed` which ones ended. */
void conns_settle(struct conns *cs);
/* Now and then: close what has been idle for more than `idle_s`, and what does
 * not go away within `linger_s` of our end of file. */
void conns_reap(struct conns *cs, uint32_t idle_s, uint32_t linger_s);

#endif
