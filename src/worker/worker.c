/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <sys/socket.h>

/*
 * A sweep
 *
 *	await    one io_uring_enter: sends of the last sweep, and sleep; in
 *	         latency mode several, for a while, before it sleeps
 *	gather   take all completions; received bytes become `inputs`
 *	parse    inputs -> a batch of checks
 *	decide   the batch, with one reading of the clock
 *	encode   verdicts -> replies in the connections' chunks
 *	         ... parse, decide, encode until the inputs are used up
 *	settle   one send per connection, re-arm, close
 *
 * From gather to encode runs inside one epoch section: what the control
 * thread acknowledges has been seen by every sweep that began later.
 */

/* Every so often: who is idle, and accepting again after it failed. */
#define TICK_S 5
#define LINGER_S 5

/* ---- gather ---- */

static void arm_wake(struct worker *w)
{
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_read(sqe, w->wake_fd, &w->wake_value,
			   sizeof(w->wake_value), 0);
	sqe->user_data = ring_tag(OP_WAKE, 0, 0);
}

static void arm_tick(struct worker *w)
{
	static struct __kernel_timespec after = {.tv_sec = TICK_S};
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_timeout(sqe, &after, 0, 0);
	sqe->user_data = ring_tag(OP_TICK, 0, 0);
}

static void woken(struct worker *w)
{
	worker_take_over(w);
	arm_wake(w);
}

static void received(struct worker *w, const struct io_uring_cqe *cqe)
{
	struct conn *c = conn_of(&w->conns, cqe->user_data);
	uint32_t idx = TAG_IDX(cqe->user_data);
	struct input *in;
	int len = 0;

	if (c != NULL)
		len = conn_received(&w->conns, idx, cqe->res, cqe->flags);
	if ((cqe->flags & IORING_CQE_F_BUFFER) == 0)
		return;
	/* A buffer that holds nothing for us goes through the list too: it is
	 * wiped and given back there. */
	check(w->input_count < w->ring.buffer_count);
	in = &w->inputs[w->input_count++];
	*in = (struct input){
		.conn_idx = idx,
		.conn_gen = c != NULL ? c->gen : 0,
		.buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT,
		.len = (uint32_t)(cqe->res > 0 ? cqe->res : 0),
		.secret = len <= 0 || c->kind == PROTOCOL_HTTP,
	};
	if (len <= 0)
		in->off = in->len;
}

static void gather(struct worker *w)
{
	struct io_uring_cqe cqe;

	while (ring_next(&w->ring, &cqe)) {
		switch (TAG_OP(cqe.user_data)) {
		case OP_RECV:
			received(w, &cqe);
			break;
		case OP_SEND:
			if (conn_of(&w->conns, cqe.user_data) != NULL)
				conn_sent(&w->conns, TAG_IDX(cqe.user_data),
					  cqe.res);
			break;
		case OP_SHUT:
			if (conn_of(&w->conns, cqe.user_data) != NULL)
				conn_shut(&w->conns, TAG_IDX(cqe.user_data));
			break;
		case OP_ACCEPT:
			worker_accepted(w, &cqe);
			break;
		case OP_WAKE:
			woken(w);
			break;
		case OP_TICK:
			w->tick = true;
			arm_tick(w);
			break;
		case OP_QUIET:
			break;
		}
	}
	conns_confirm(&w->conns);
}

/* ---- settle ---- */

/* The order of the control thread. Worker 0 takes who has connected and stops
 * sharing, then the others follow: none ends while a connection is on its way
 * to it. */
static uint32_t worker_order(const struct worker *w)
{
	const struct workers *t = w->team;
	/* PAIRS: set_order(), relaxed: it guards nothing, and the eventfd wakes
	 * us after it was stored. */
	uint32_t order = atomic_load_explicit(&t->order, memory_order_relaxed);

	/* PAIRS: worker_end_sharing(), release: the mailbox is complete. */
	if (w->idx != 0 && order != ORDER_SERVE &&
	    !atomic_load_explicit(&t->shared_out, memory_order_acquire))
		return w->obeyed;
	return order;
}

static void obey(struct worker *w, uint32_t order)
{
	uint32_t i;

	if (w->idx == 0)
		worker_cancel_accepts(w);
	else
		worker_take_over(w);
	w->obeyed = order;
	for (i = 0; i < w->conns.count; i++) {
		if ((conn_at(&w->conns, i)->flags & CONN_OPEN) == 0)
			continue;
		if (order == ORDER_DRAIN)
			conn_drain(&w->conns, i);
		else
			conn_abort(&w->conns, i);
	}
}

static void settle_conns(struct worker *w)
{
	uint32_t i;

	conns_settle(&w->conns);
	for (i = 0; i < w->conns.closed_count; i++)
		worker_forget(w, w->conns.closed[i]);
}

static bool accepts(const struct worker *w)
{
	return w->accepting[PROTOCOL_NATIVE] || w->accepting[PROTOCOL_HTTP];
}

static void arm_accepts(struct worker *w)
{
	uint32_t i;

	for (i = 0; w->idx == 0 && i < PROTOCOLS; i++)
		if (w->options->listeners[i].fd >= 0 && !w->accepting[i] &&
		    w->obeyed == ORDER_SERVE)
			worker_arm_accept(w, (enum protocol)i);
}

static void settle(struct worker *w)
{
	uint32_t order = worker_order(w);

	if (order != w->obeyed)
		obey(w, order);
	if (w->idx == 0 && order != ORDER_SERVE && !accepts(w) && !w->alone) {
		w->alone = true;
		worker_end_sharing(w);
	}
	settle_conns(w);
	if (!w->tick)
		return;
	w->tick = false;
	conns_reap(&w->conns, w->options->idle_timeout_s, LINGER_S);
	settle_conns(w);
	arm_accepts(w);
}

/* ---- the loop ---- */

static void answer(struct worker *w)
{
	uint32_t count;

	counter_add(&w->counters.sweeps, 1);
	while ((count = worker_parse(w)) > 0) {
		counter_add(&w->counters.batches, 1);
		gate_decide(&w->gate, w->checks, w->verdicts, count, &w->now,
			    w->civil_ms);
		worker_encode(w, count);
	}
	worker_recycle(w);
}

static void sweep(struct worker *w)
{
	uint64_t boot_ns;

	gather(w);
	/* After the last byte has arrived, before any reply: the instant of
	 * every check in this sweep. */
	boot_ns = clock_ns(CLOCK_BOOTTIME);
	w->now = instant_at(boot_ns + INSTANT_BIAS_NS);
	w->civil_ms = clock_civil_ms(&w->gate.arena->header->civil_ns, boot_ns);
	w->conns.now_s = (uint32_t)(w->now.ticks / (CLOCK_TICKS_PER_MS * 1000));
	w->busy = w->input_count > 0;
	if (w->busy)
		answer(w);
	settle(w);
}

static bool has_work(const struct worker *w)
{
	return w->obeyed == ORDER_SERVE || w->conns.open > 0 || accepts(w);
}

/* Who has just asked may ask again: in latency mode we look for that for a
 * while, which saves both sides the wake-up. An order comes as a completion
 * too and ends it. */
static bool spin(struct worker *w)
{
	uint64_t spin_ns = w->options->spin_us * UINT64_C(1000);

	if (!w->busy || spin_ns == 0)
		return false;
	counter_add(&w->counters.spins, 1);
	if (!ring_spin(&w->ring, spin_ns))
		return false;
	counter_add(&w->counters.spins_hit, 1);
	return true;
}

static void await(struct worker *w)
{
	if (!spin(w))
		ring_wait(&w->ring, RING_EVER);
}

void worker_round(struct worker *w)
{
	await(w);
	epoch_enter(&w->reader);
	sweep(w);
	epoch_leave(&w->reader);
}

void worker_serve(struct worker *w)
{
	arm_wake(w);
	arm_tick(w);
	arm_accepts(w);
	while (has_work(w))
		worker_round(w);
	/* Submits what the last sweep has queued: closes. */
	ring_wait(&w->ring, 0);
}
