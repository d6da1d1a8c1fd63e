/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include "base/check.h"

#include <errno.h>
#include <sys/socket.h>

/* Worker 0 accepts for all: one thread compares the loads and keeps to the
 * limits, so neither is ever exceeded. */

void worker_arm_accept(struct worker *w, enum protocol p)
{
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);
	int fd = w->options->listeners[p].fd;

	/* A multishot accept is not told that its socket has been shut; a
	 * single one that begins afterwards is. */
	if (w->obeyed == ORDER_SERVE)
		io_uring_prep_multishot_accept(sqe, fd, NULL, NULL,
					       SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	sqe->user_data = ring_tag(OP_ACCEPT, 0, p);
	w->accepting[p] = true;
}

static void adopt(struct worker *w, int fd, enum protocol p)
{
	uint32_t idx = conn_open(&w->conns, fd, p);

	check(idx != CONN_NONE); /* the table holds max_connections */
	worker_forget(w, idx);
	counter_add(&w->counters.connections_accepted, 1);
	if (w->obeyed == ORDER_DRAIN)
		conn_drain(&w->conns, idx);
	else if (w->obeyed == ORDER_CUT)
		conn_abort(&w->conns, idx);
}

static uint32_t worker_load(const struct worker *w)
{
	return conns_load(&w->conns, PROTOCOL_NATIVE) +
	       conns_load(&w->conns, PROTOCOL_HTTP);
}

/* Full: say so where the protocol can, and close. */
static void refuse(struct worker *w, int fd, enum protocol p)
{
	struct io_uring_sqe *sqe;
	size_t len;
	const char *reply = http_full_reply(&len);

	counter_add(&w->counters.connections_refused, 1);
	if (p == PROTOCOL_HTTP) {
		sqe = ring_sqe(&w->ring);
		io_uring_prep_send(sqe, fd, reply, len,
				   MSG_NOSIGNAL | MSG_DONTWAIT);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = ring_tag(OP_QUIET, 0, 0);
	}
	sqe = ring_sqe(&w->ring);
	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = ring_tag(OP_QUIET, 0, 0);
}

static void wake(struct worker *w, const struct worker *other)
{
	static const uint64_t one = 1;
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_write(sqe, other->wake_fd, &one, sizeof(one), 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = ring_tag(OP_QUIET, 0, 0);
}

/* To the worker that has the fewest. */
static void share(struct worker *w, int fd, enum protocol p)
{
	struct workers *t = w->team;
	struct worker *best = w;
	uint32_t i;

	/* The others, while they serve. */
	for (i = 0; w->obeyed == ORDER_SERVE && i < t->count; i++)
		if (worker_load(t->workers[i]) < worker_load(best))
			best = t->workers[i];
	/* It may be closed over there before it is counted here; but nobody
	 * else reads these counts. */
	if (best != w &&
	    handoff_put(&best->handoff, (uintptr_t)(unsigned)fd << 8 | p)) {
		conns_expect(&best->conns, p);
		wake(w, best);
		return;
	}
	/* Ours, or its mailbox is full. */
	conns_expect(&w->conns, p);
	adopt(w, fd, p);
}

void worker_cancel_accepts(struct worker *w)
{
	uint32_t i;

	for (i = 0; i < PROTOCOLS; i++) {
		struct io_uring_sqe *sqe;

		if (!w->accepting[i])
			continue;
		sqe = ring_sqe(&w->ring);
		io_uring_prep_cancel64(sqe, ring_tag(OP_ACCEPT, 0, i), 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = ring_tag(OP_QUIET, 0, 0);
	}
}

void worker_end_sharing(struct worker *w)
{
	struct workers *t = w->team;
	uint32_t i;

	/* PAIRS: worker_order(), acquire.
	 * What was put into the mailboxes stands before it: who sees this and
	 * then empties its own has all that was ever handed to it. */
	atomic_store_explicit(&t->shared_out, true, memory_order_release);
	for (i = 1; i < t->count; i++)
		wake(w, t->workers[i]);
}

static bool full(const struct worker *w, enum protocol p)
{
	const struct workers *t = w->team;
	uint32_t of_kind = 0, all = 0, i;

	for (i = 0; i < t->count; i++) {
		of_kind += conns_load(&t->workers[i]->conns, p);
		all += worker_load(t->workers[i]);
	}
	return of_kind >= w->options->listeners[p].max_connections ||
	       all >= w->options->max_connections;
}

void worker_accepted(struct worker *w, const struct io_uring_cqe *cqe)
{
	enum protocol p = (enum protocol)TAG_IDX(cqe->user_data);

	/* Out of descriptors: settle() arms it again in a while, not at once.
	 * Draining: first cancelled, then one by one until the shut socket has
	 * no more (-EINVAL). */
	if ((cqe->flags & IORING_CQE_F_MORE) == 0)
		w->accepting[p] = false;
	if (cqe->res < 0) {
		if (w->obeyed == ORDER_SERVE)
			counter_add(&w->counters.accepts_failed, 1);
		else if (w->obeyed == ORDER_DRAIN && cqe->res == -ECANCELED)
			worker_arm_accept(w, p);
		return;
	}
	if (!w->accepting[p])
		worker_arm_accept(w, p);
	if (full(w, p))
		refuse(w, cqe->res, p);
	else
		share(w, cqe->res, p);
}

void worker_take_over(struct worker *w)
{
	uintptr_t v;

	while (handoff_get(&w->handoff, &v))
		adopt(w, (int)(v >> 8), (enum protocol)(v & 0xff));
}
