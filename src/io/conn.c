/* SPDX-License-Identifier: MIT */
#include "io/conn.h"

#include "base/check.h"
#include "base/counters.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int conns_init(struct conns *cs, struct ring *ring, uint32_t count,
	       uint32_t send_chunks, uint64_t output_max,
	       struct counters *counters)
{
	uint32_t i;

	*cs = (struct conns){.ring = ring,
			     .counters = counters,
			     .count = count,
			     .free = CONN_NONE,
			     .output_max = output_max};
	cs->conns = calloc(count, sizeof(*cs->conns));
	cs->listed = calloc(count, sizeof(*cs->listed));
	cs->silent = calloc(count, sizeof(*cs->silent));
	cs->closed = calloc(count, sizeof(*cs->closed));
	if (cs->conns == NULL || cs->listed == NULL || cs->silent == NULL ||
	    cs->closed == NULL || chunks_init(&cs->chunks, send_chunks) < 0) {
		free(cs->conns);
		free(cs->listed);
		free(cs->silent);
		free(cs->closed);
		return -ENOMEM;
	}
	for (i = count; i > 0; i--) {
		cs->conns[i - 1].next_free = cs->free;
		cs->free = i - 1;
	}
	return 0;
}

void conns_deinit(struct conns *cs)
{
	chunks_deinit(&cs->chunks);
	free(cs->conns);
	free(cs->listed);
	free(cs->silent);
	free(cs->closed);
}

/* PAIRS: nothing, here and in release(). A number for balance and for limits;
 * one thread adds and compares (so a limit is never exceeded), one subtracts;
 * it guards no other memory. */
void conns_expect(struct conns *cs, uint32_t kind)
{
	atomic_fetch_add_explicit(&cs->load[kind], 1, memory_order_relaxed);
}

uint32_t conns_load(const struct conns *cs, uint32_t kind)
{
	return atomic_load_explicit(&cs->load[kind], memory_order_relaxed);
}

static void arm_recv(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);
	struct io_uring_sqe *sqe = ring_sqe(cs->ring);

	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RECV_GROUP;
	sqe->user_data = ring_tag(OP_RECV, c->gen, idx);
	c->flags |= CONN_RECV;
	c->flags &= ~(unsigned)CONN_REARM;
}

/* Success says nothing and failure changes nothing: for close and cancel, whose
 * effects arrive by other completions. */
static void quiet(struct io_uring_sqe *sqe)
{
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = ring_tag(OP_QUIET, 0, 0);
}

/*
 * The kernel always hands a shutdown to a thread of its own, which looks the
 * descriptor up when its turn comes. Closed before that, the number may be
 * another file's by then, and that one would be shut: so the slot is kept until
 * the completion.
 */
static void shut(struct conns *cs, uint32_t idx, int how)
{
	struct conn *c = conn_at(cs, idx);
	struct io_uring_sqe *sqe = ring_sqe(cs->ring);

	io_uring_prep_shutdown(sqe, c->fd, how);
	sqe->user_data = ring_tag(OP_SHUT, c->gen, idx);
	c->shuts++;
}

uint32_t conn_open(struct conns *cs, int fd, uint32_t kind)
{
	uint32_t idx = cs->free;
	struct conn *c;

	if (idx == CONN_NONE)
		return idx;
	c = conn_at(cs, idx);
	cs->free = c->next_free;
	cs->open++;
	*c = (struct conn){.fd = fd,
			   .gen = c->gen + 1,
			   .flags = CONN_OPEN | CONN_ACTIVE,
			   .kind = kind,
			   .first = CHUNK_NONE,
			   .last = CHUNK_NONE};
	arm_recv(cs, idx);
	conn_list(cs, idx);
	counter_add(&cs->counters->connections, 1);
	return idx;
}

struct conn *conn_of(struct conns *cs, uint64_t tag)
{
	uint32_t idx = TAG_IDX(tag);
	struct conn *c;

	if (idx >= cs->count)
		return NULL;
	c = conn_at(cs, idx);
	if ((c->flags & CONN_OPEN) == 0 || (c->gen & 0xffffffu) != TAG_GEN(tag))
		return NULL;
	return c;
}

/* ---- output ---- */

static void drop_first(struct conns *cs, struct conn *c)
{
	struct chunk *k = &cs->chunks.chunks[c->first];
	uint32_t next = k->next;

	c->queued -= k->len - k->sent;
	chunks_give(&cs->chunks, c->first);
	c->first = next;
	if (next == CHUNK_NONE)
		c->last = CHUNK_NONE;
}

/* Drops what is queued, but for the chunk that the kernel reads from. */
static void drop_queue(struct conns *cs, struct conn *c)
{
	uint32_t kept = c->flags & CONN_SENDING ? c->first : CHUNK_NONE;
	struct chunk *k = NULL;

	if (kept != CHUNK_NONE) {
		k = &cs->chunks.chunks[kept];
		c->first = k->next;
	}
	while (c->first != CHUNK_NONE)
		drop_first(cs, c);
	c->queued = 0;
	if (k == NULL)
		return;
	c->first = c->last = kept;
	c->queued = k->len - k->sent;
	k->next = CHUNK_NONE;
}

/* The pool is empty: who leaves most replies unread pays for it, not who
 * happens to need a chunk now. */
static void evict(struct conns *cs, uint32_t asks)
{
	uint32_t most = asks, i;

	for (i = 0; i < cs->count; i++)
		if ((cs->conns[i].flags & (CONN_OPEN | CONN_ABORT)) ==
			    CONN_OPEN &&
		    cs->conns[i].queued > cs->conns[most].queued)
			most = i;
	counter_add(&cs->counters->output_evictions, 1);
	conn_abort(cs, most);
	drop_queue(cs, conn_at(cs, most));
}

uint8_t *conn_more_room(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);
	uint32_t new;

	new = chunks_take(&cs->chunks);
	if (unlikely(new == CHUNK_NONE)) {
		evict(cs, idx);
		new = chunks_take(&cs->chunks);
		if (new == CHUNK_NONE || (c->flags & CONN_ABORT)) {
			if (new != CHUNK_NONE)
				chunks_give(&cs->chunks, new);
			conn_abort(cs, idx);
			return NULL;
		}
	}
	if (c->last == CHUNK_NONE)
		c->first = new;
	else
		cs->chunks.chunks[c->last].next = new;
	c->last = new;
	return chunk_bytes(&cs->chunks, new);
}

/*
 * Hands the first chunk's unsent bytes to the kernel. Normally the socket
 * takes them at once: then MSG_DONTWAIT, and no completion on success if
 * nothing waits behind it (one enter per sweep instead of two). `wait`: the
 * socket was full; the kernel sends when there is room and tells us.
 */
static void send_first(struct conns *cs, uint32_t idx, bool wait)
{
	struct conn *c = conn_at(cs, idx);
	struct chunk *k = &cs->chunks.chunks[c->first];
	struct io_uring_sqe *sqe = ring_sqe(cs->ring);
	int flags = MSG_NOSIGNAL | MSG_WAITALL | (wait ? 0 : MSG_DONTWAIT);

	c->inflight = k->len - k->sent;
	c->flags |= CONN_SENDING;
	io_uring_prep_send(sqe, c->fd,
			   chunk_bytes(&cs->chunks, c->first) + k->sent,
			   c->inflight, flags);
	sqe->user_data = ring_tag(OP_SEND, c->gen, idx);
	if (!wait && k->next == CHUNK_NONE &&
	    (c->flags & (CONN_EOF | CONN_FINISH)) == 0 &&
	    cs->silent_count < cs->count) {
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		c->flags |= CONN_SILENT;
		cs->silent[cs->silent_count++] = idx;
		cs->silent_mark = ring_mark(cs->ring);
	}
}

static void advance(struct conns *cs, struct conn *c, uint32_t bytes)
{
	struct chunk *k = &cs->chunks.chunks[c->first];

	k->sent += bytes;
	c->queued -= bytes;
	c->inflight = 0;
	c->flags &= ~(unsigned)(CONN_SENDING | CONN_SILENT);
	counter_add(&cs->counters->sent_bytes, bytes);
	if (k->sent == k->len)
		drop_first(cs, c);
}

void conn_sent(struct conns *cs, uint32_t idx, int res)
{
	struct conn *c = conn_at(cs, idx);
	uint32_t asked = c->inflight;

	if (res > 0) {
		advance(cs, c, (uint32_t)res);
		c->flags |= CONN_ACTIVE;
	}
	c->inflight = 0;
	c->flags &= ~(unsigned)(CONN_SENDING | CONN_SILENT);
	conn_list(cs, idx);
	if (res < 0 && res != -EAGAIN && res != -EINTR && res != -ENOBUFS) {
		conn_abort(cs, idx); /* the peer is gone */
		return;
	}
	if (res < 0 || (uint32_t)res < asked) {
		counter_add(&cs->counters->sends_parked, 1);
		if ((c->flags & CONN_ABORT) == 0)
			send_first(cs, idx, true);
	}
}

/*
 * Why silence means success: a send with MSG_DONTWAIT is over when the kernel
 * has taken its entry; one that is short or fails posts its completion then
 * and there; and whoever calls has taken all completions. So it has to be
 * known that the entry was taken: that of the last one, whatever has been
 * queued behind it since. (Waiting for those too would hold a reply back until
 * something else happens to wake us.) A failed one may have been listed,
 * answered and listed again: it is confirmed once, since that ends CONN_SILENT.
 */
void conns_confirm(struct conns *cs)
{
	uint32_t i;

	if (cs->silent_count == 0 ||
	    unlikely(!ring_taken(cs->ring, cs->silent_mark)))
		return;
	for (i = 0; i < cs->silent_count; i++) {
		struct conn *c = conn_at(cs, cs->silent[i]);

		if ((c->flags & CONN_SILENT) == 0)
			continue; /* it spoke, and conn_sent() has dealt with it
				   */
		advance(cs, c, c->inflight);
		if ((c->flags &
		     (CONN_EOF | CONN_FINISH | CONN_ABORT | CONN_PAUSED)) ||
		    c->first != CHUNK_NONE)
			conn_list(cs, cs->silent[i]);
	}
	cs->silent_count = 0;
}

/* ---- input ---- */

int conn_received(struct conns *cs, uint32_t idx, int res, uint32_t cqe_flags)
{
	struct conn *c = conn_at(cs, idx);

	if ((cqe_flags & IORING_CQE_F_MORE) == 0)
		c->flags &= ~(unsigned)CONN_RECV;
	conn_list(cs, idx);
	if (res > 0) {
		counter_add(&cs->counters->recv_bytes, (uint64_t)res);
		if ((c->flags & CONN_RECV) == 0)
			c->flags |= CONN_REARM;
		return conn_reads(c) ? res : 0;
	}
	switch (res) {
	case 0:
		c->flags |= CONN_EOF;
		break;
	case -ENOBUFS:
		counter_add(&cs->counters->recv_buffers_exhausted, 1);
		c->flags |= CONN_REARM;
		break;
	case -ECANCELED: /* we paused it */
	case -EINTR:
	case -EAGAIN:
		c->flags |= CONN_REARM;
		break;
	default:
		conn_abort(cs, idx);
	}
	return 0;
}

/* ---- the end ---- */

void conn_finish(struct conns *cs, uint32_t idx)
{
	conn_at(cs, idx)->flags |= CONN_FINISH;
	conn_list(cs, idx);
}

void conn_abort(struct conns *cs, uint32_t idx)
{
	conn_at(cs, idx)->flags |= CONN_ABORT;
	conn_list(cs, idx);
}

void conn_shut(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);

	c->shuts--;
	/* Only to be released; it is no progress that keeps anybody alive. */
	if (c->flags & CONN_ABORT)
		conn_list(cs, idx);
}

void conn_drain(struct conns *cs, uint32_t idx)
{
	/* What is in the socket already is still received, then end of file:
	 * the same path as a peer that has finished. */
	shut(cs, idx, SHUT_RD);
}

static void release(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);
	struct io_uring_sqe *sqe = ring_sqe(cs->ring);

	drop_queue(cs, c);
	io_uring_prep_close(sqe, c->fd);
	quiet(sqe);
	c->flags = 0;
	c->next_free = cs->free;
	cs->free = idx;
	cs->open--;
	cs->closed[cs->closed_count++] = idx;
	atomic_fetch_sub_explicit(&cs->load[c->kind], 1, memory_order_relaxed);
	counter_add(&cs->counters->connections_closed, 1);
	counter_add(&cs->counters->connections, UINT64_MAX); /* minus one */
}

static void settle_abort(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);

	if (c->flags & (CONN_RECV | CONN_SENDING)) {
		/* The kernel still holds something: make it let go; its
		 * completions bring us back here. */
		if ((c->flags & CONN_CUT) == 0)
			shut(cs, idx, SHUT_RDWR);
		c->flags |= CONN_CUT | CONN_SHUT;
		return;
	}
	if (c->shuts > 0)
		return;
	release(cs, idx);
}

static void cancel_recv(struct conns *cs, uint32_t idx)
{
	struct io_uring_sqe *sqe = ring_sqe(cs->ring);

	io_uring_prep_cancel64(
		sqe, ring_tag(OP_RECV, conn_at(cs, idx)->gen, idx), 0);
	quiet(sqe);
}

static void settle_open(struct conns *cs, uint32_t idx)
{
	struct conn *c = conn_at(cs, idx);

	if ((c->flags & CONN_SENDING) == 0 && c->first != CHUNK_NONE)
		send_first(cs, idx, false);

	if (c->first == CHUNK_NONE) {
		if (c->flags & CONN_EOF) {
			c->flags |= CONN_ABORT;
			settle_abort(cs, idx);
			return;
		}
		if ((c->flags & (CONN_FINISH | CONN_SHUT)) == CONN_FINISH) {
			/* The peer reads our answers up to end of file; we go
			 * on reading, and dropping, until it closes: a close
			 * over unread bytes would reset the connection. */
			shut(cs, idx, SHUT_WR);
			c->flags |= CONN_SHUT;
			c->active_s = cs->now_s;
		}
	}
	if ((c->flags & CONN_PAUSED) == 0 && c->queued > cs->output_max) {
		counter_add(&cs->counters->output_overflows, 1);
		c->flags |= CONN_PAUSED;
	} else if ((c->flags & CONN_PAUSED) &&
		   c->queued <= cs->output_max / 2) {
		c->flags &= ~(unsigned)CONN_PAUSED;
	}
	/* Each time until it has ended: a cancel may miss a receive that is
	 * just being run. */
	if ((c->flags & (CONN_PAUSED | CONN_RECV)) == (CONN_PAUSED | CONN_RECV))
		cancel_recv(cs, idx);
	if ((c->flags & (CONN_REARM | CONN_PAUSED | CONN_EOF | CONN_RECV)) ==
	    CONN_REARM)
		arm_recv(cs, idx);
}

void conns_settle(struct conns *cs)
{
	uint32_t i;

	cs->closed_count = 0;
	for (i = 0; i < cs->listed_count; i++) {
		uint32_t idx = cs->listed[i];
		struct conn *c = conn_at(cs, idx);

		if ((c->flags & (CONN_ACTIVE | CONN_SHUT)) == CONN_ACTIVE)
			c->active_s = cs->now_s;
		c->flags &= ~(unsigned)(CONN_LISTED | CONN_ACTIVE);
		if (c->flags & CONN_ABORT)
			settle_abort(cs, idx);
		else
			settle_open(cs, idx);
	}
	cs->listed_count = 0;
}

void conns_reap(struct conns *cs, uint32_t idle_s, uint32_t linger_s)
{
	uint32_t i;

	for (i = 0; i < cs->count; i++) {
		struct conn *c = conn_at(cs, i);
		uint32_t quiet_s = cs->now_s - c->active_s;

		if ((c->flags & CONN_OPEN) == 0)
			continue;
		/* Whole seconds: one more has surely passed. */
		if (quiet_s > ((c->flags & CONN_SHUT) ? linger_s : idle_s)) {
			if ((c->flags & CONN_SHUT) == 0)
				counter_add(&cs->counters->connections_idle, 1);
			conn_abort(cs, i);
		}
	}
}
