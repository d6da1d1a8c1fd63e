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

static void queue_batch(struct loader *l, uint32_t conn_idx)
{
	uint32_t depth = l->options->depth;
	struct load_conn *c = &l->conns[conn_idx];
	struct io_uring_sqe *send = io_uring_get_sqe(&l->ring);
	struct io_uring_sqe *recv = io_uring_get_sqe(&l->ring);

	check(send && recv); /* two for each connection: always room */
	io_uring_prep_send(send, c->fd,
			   l->workload->frames +
				   (size_t)c->first * NATIVE_REQUEST_BYTES,
			   (size_t)depth * NATIVE_REQUEST_BYTES,
			   MSG_WAITALL | MSG_NOSIGNAL);
	send->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(send, (uint64_t)conn_idx << 1 | IS_SEND);

	io_uring_prep_recv(recv, c->fd, c->replies,
			   (size_t)depth * NATIVE_REPLY_BYTES, MSG_WAITALL);
	io_uring_sqe_set_data64(recv, (uint64_t)conn_idx << 1);
}

static void next_batch(struct loader *l, uint32_t conn_idx)
{
	struct load_conn *c = &l->conns[conn_idx];
	uint32_t depth = l->options->depth;

	c->first += depth;
	if (c->first + depth > l->workload->frame_count)
		c->first = 0;
	queue_batch(l, conn_idx);
}

static bool handle_cqe(struct loader *l, const struct io_uring_cqe *cqe)
{
	uint32_t conn_idx = (uint32_t)(cqe->user_data >> 1);
	uint32_t depth = l->options->depth;
	struct load_conn *c = &l->conns[conn_idx];

	if (cqe->user_data & IS_SEND) {
		snprintf(l->error, sizeof(l->error),
			 "a batch could not be sent: %s",
			 cqe->res < 0 ? strerror(-cqe->res)
				      : "the server closed the connection");
		return false;
	}
	if (cqe->res != (int)(depth * NATIVE_REPLY_BYTES)) {
		snprintf(l->error, sizeof(l->error),
			 "%s after %d of the %u bytes of a batch of replies",
			 cqe->res < 0 ? strerror(-cqe->res)
				      : "the server closed the connection",
			 cqe->res < 0 ? 0 : cqe->res,
			 depth * NATIVE_REPLY_BYTES);
		return false;
	}
	if (!workload_verify(l->workload, l->options->server_is_null, c->first,
			     depth, c->replies, &l->tally, l->error,
			     sizeof(l->error)))
		return false;

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
