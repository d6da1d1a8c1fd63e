/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include "base/check.h"

#include <sys/socket.h>

/* Worker 0 accepts for all: one thread compares the loads and keeps to the
 * limits, so neither is ever exceeded. */

void worker_arm_accept(struct worker *w, enum protocol p)
{
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_multishot_accept(sqe, w->options->listeners[p].fd, NULL,
				       NULL, SOCK_CLOEXEC);
	sqe->user_data = ring_tag(OP_ACCEPT, 0, p);
	w->accepting[p] = true;
}

static void adopt(struct worker *w, int fd, enum protocol p)
{
	uint32_t idx = conn_open(&w->conns, fd, p);

	check(idx != CONN_NONE); /* the table holds max_connections */
	w->sessions[idx].carry_len = 0;
	if (p == PROTOCOL_HTTP)
		http_init(&w->parsers[idx]);
	counter_add(&w->counters.connections_accepted, 1);
	if (w->obeyed != ORDER_SERVE)
		conn_drain(&w->conns, idx);
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

/* To the worker that has the fewest. */
static void share(struct worker *w, int fd, enum protocol p)
{
	static const uint64_t one = 1;
	struct workers *t = w->team;
	struct worker *best = w;
	struct io_uring_sqe *sqe;
	uint32_t i;

	for (i = 0; i < t->count; i++)
		if (worker_load(t->workers[i]) < worker_load(best))
			best = t->workers[i];
	if (best != w &&
	    handoff_put(&best->handoff, (uintptr_t)(unsigned)fd << 8 | p)) {
		conns_expect(&best->conns, p);
		sqe = ring_sqe(&w->ring);
		io_uring_prep_write(sqe, best->wake_fd, &one, sizeof(one), 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = ring_tag(OP_QUIET, 0, 0);
		return;
	}
	/* Ours, or its mailbox is full. */
	conns_expect(&w->conns, p);
	adopt(w, fd, p);
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

	/* Out of descriptors, or cancelled: reap() arms it again in a while,
	 * not at once. */
	if ((cqe->flags & IORING_CQE_F_MORE) == 0)
		w->accepting[p] = false;
	if (cqe->res < 0)
		return;
	if (!w->accepting[p] && w->obeyed == ORDER_SERVE)
		worker_arm_accept(w, p);
	if (full(w, p) || w->obeyed != ORDER_SERVE)
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
