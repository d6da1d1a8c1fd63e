/* SPDX-License-Identifier: MIT */
#include "loader.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define WAIT_S 1 /* how often a loader looks whether to stop */
#define IS_SEND UINT64_C(1)

static void queue_recv(struct loader *l, uint32_t conn_idx)
{
	const struct dialect *d = l->dialect;
	struct load_conn *c = &l->conns[conn_idx];
	struct io_uring_sqe *recv = io_uring_get_sqe(&l->ring);

	check(recv != NULL); /* two for each connection: always room */
	io_uring_prep_recv(recv, c->fd, c->replies + c->received,
			   (size_t)l->options->depth * d->reply_bytes_max -
				   c->received,
			   d->reply_is_fixed ? MSG_WAITALL : 0);
	io_uring_sqe_set_data64(recv, (uint64_t)conn_idx << 1);
}

static void queue_batch(struct loader *l, uint32_t conn_idx)
{
	const struct dialect *d = l->dialect;
	struct load_conn *c = &l->conns[conn_idx];
	struct io_uring_sqe *send = io_uring_get_sqe(&l->ring);

	check(send != NULL); /* likewise */
	io_uring_prep_send(send, c->fd,
			   d->requests + (size_t)c->first * d->request_bytes,
			   (size_t)l->options->depth * d->request_bytes,
			   MSG_WAITALL | MSG_NOSIGNAL);
	send->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(send, (uint64_t)conn_idx << 1 | IS_SEND);
	c->judged = 0;
	c->received = c->taken = 0;
	queue_recv(l, conn_idx);
}

static void next_batch(struct loader *l, uint32_t conn_idx)
{
	struct load_conn *c = &l->conns[conn_idx];
	uint32_t depth = l->options->depth;

	c->first += depth;
	if (c->first + depth > l->dialect->request_count)
		c->first = 0;
	queue_batch(l, conn_idx);
}

/* Takes what a receive brought. Returns 1 when the batch is complete, 0 when
 * more has to come, -1 when something is wrong. */
static int take_replies(struct loader *l, struct load_conn *c, int received)
{
	const struct dialect *d = l->dialect;
	uint32_t depth = l->options->depth, count = 0;
	size_t room = (size_t)depth * d->reply_bytes_max;
	ssize_t n;

	c->received += received > 0 ? (size_t)received : 0;
	if (received <= 0 || (d->reply_is_fixed && c->received < room)) {
		snprintf(l->error, sizeof(l->error),
			 "%s after %zu bytes of a batch of replies",
			 received < 0 ? strerror(-received)
				      : "the server closed the connection",
			 c->received);
		return -1;
	}
	n = d->judge(d, c->first + c->judged, depth - c->judged,
		     c->replies + c->taken, c->received - c->taken, &l->tally,
		     &count, l->error, sizeof(l->error));
	if (n < 0)
		return -1;
	c->taken += (size_t)n;
	c->judged += count;
	if (c->judged == depth && c->taken == c->received)
		return 1;
	if (c->judged < depth && c->received < room)
		return 0;
	snprintf(l->error, sizeof(l->error),
		 "the server sent more than the replies to a batch: %zu bytes",
		 c->received);
	return -1;
}

static bool handle_cqe(struct loader *l, const struct io_uring_cqe *cqe)
{
	uint32_t conn_idx = (uint32_t)(cqe->user_data >> 1);
	uint32_t depth = l->options->depth;
	int r;

	if (cqe->user_data & IS_SEND) {
		snprintf(l->error, sizeof(l->error),
			 "a batch could not be sent: %s",
			 cqe->res < 0 ? strerror(-cqe->res)
				      : "the server closed the connection");
		return false;
	}
	r = take_replies(l, &l->conns[conn_idx], cqe->res);
	if (r < 0)
		return false;
	if (r == 0) {
		queue_recv(l, conn_idx);
		return true;
	}

	/* PAIRS: loader_replies(), relaxed. A number that guards nothing; one
	 * writer. */
	atomic_store_explicit(
		&l->replies,
		atomic_load_explicit(&l->replies, memory_order_relaxed) + depth,
		memory_order_relaxed);
	/* PAIRS: loader_stop(), relaxed: nothing was written that we would have
	 * to see along with it. */
	if (atomic_load_explicit(&l->stop, memory_order_relaxed))
		l->busy--;
	else
		next_batch(l, conn_idx);
	return true;
}

static bool loader_loop(struct loader *l)
{
	struct __kernel_timespec wait = {.tv_sec = WAIT_S};
	uint64_t last_ns = clock_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < l->conn_count; i++)
		queue_batch(l, i);
	l->busy = l->conn_count;
	while (l->busy > 0) {
		struct io_uring_cqe *cqe;
		unsigned int head, count = 0;
		int r = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1,
							 &wait, NULL);

		if (r < 0 && r != -ETIME && r != -EINTR) {
			snprintf(l->error, sizeof(l->error),
				 "io_uring failed: %s", strerror(-r));
			return false;
		}
		io_uring_for_each_cqe(&l->ring, head, cqe)
		{
			if (!handle_cqe(l, cqe))
				return false;
			count++;
		}
		io_uring_cq_advance(&l->ring, count);
		if (count > 0) {
			last_ns = clock_ns(CLOCK_MONOTONIC);
		} else if (clock_ns(CLOCK_MONOTONIC) - last_ns >
			   LOAD_STALL_NS) {
			snprintf(l->error, sizeof(l->error),
				 "no reply for %" PRIu64 " s, %" PRIu32
				 " batches are missing",
				 LOAD_STALL_NS / UINT64_C(1000000000), l->busy);
			return false;
		}
	}
	return true;
}

static void *loader_main(void *arg)
{
	struct loader *l = arg;
	unsigned int entries = 2;
	int r;

	if (l->options->server_cpu >= 0)
		process_pin_self_away_from(l->options->server_cpu);
	while (entries < 2 * l->conn_count)
		entries *= 2;
	r = io_uring_queue_init(entries, &l->ring,
				IORING_SETUP_SINGLE_ISSUER |
					IORING_SETUP_DEFER_TASKRUN);
	if (r < 0) {
		snprintf(l->error, sizeof(l->error),
			 "cannot set up io_uring: %s", strerror(-r));
	} else {
		bool fine = loader_loop(l);

		io_uring_queue_exit(&l->ring);
		if (fine)
			return NULL;
	}
	/* PAIRS: loader_error(), acquire: l->error is complete. */
	atomic_store_explicit(&l->failed, true, memory_order_release);
	return NULL;
}

int loader_start(struct loader *l)
{
	return -pthread_create(&l->thread, NULL, loader_main, l);
}

void loader_stop(struct loader *l)
{
	/* PAIRS: handle_cqe(), relaxed; see there. */
	atomic_store_explicit(&l->stop, true, memory_order_relaxed);
}

void loader_join(struct loader *l)
{
	pthread_join(l->thread, NULL);
}

uint64_t loader_replies(const struct loader *l)
{
	/* PAIRS: handle_cqe(), relaxed; see there. */
	return atomic_load_explicit(&l->replies, memory_order_relaxed);
}

const char *loader_error(const struct loader *l)
{
	/* PAIRS: loader_main(), release: the caller reads the error next. */
	return atomic_load_explicit(&l->failed, memory_order_acquire) ? l->error
								      : NULL;
}
