/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include "base/check.h"
#include "base/clock.h"
#include "gate/decide.h"
#include "io/conn.h"
#include "io/ring.h"
#include "wire/native.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * A sweep
 *
 *	wait     one io_uring_enter: sends of the last sweep, and sleep
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

#define REAP_EVERY_S 5
#define LINGER_S 5

enum worker_order { ORDER_SERVE, ORDER_DRAIN, ORDER_CUT };

/* Received bytes that are still to be parsed. */
struct input {
	uint32_t conn_idx;
	uint32_t conn_gen;
	uint32_t buffer; /* receive buffer */
	uint32_t off, len;
	bool secret;  /* a key may be in it: wipe it */
	bool carried; /* a frame went through the session's carry */
};

/* What a connection needs besides io/conn; same index. */
struct session {
	uint64_t blocked_in; /* batch that uses the carry or the parser */
	uint64_t waits_in;   /* batch in which later inputs must wait */
	uint32_t carry_len;  /* native: bytes of a frame's beginning */
	uint8_t carry[NATIVE_REQUEST_BYTES];
};

struct worker {
	struct ring ring;
	struct conns conns;
	struct gate gate;
	struct epoch_reader reader;
	struct workers *team;
	const struct workers_options *options;
	uint32_t idx;
	int wake_fd;
	uint64_t wake_value;    /* where the read of wake_fd goes */
	struct handoff handoff; /* connections from worker 0 */
	uint32_t obeyed;        /* enum worker_order */
	bool accepting[PROTOCOLS];
	uint32_t reap_s;       /* when to look for idle connections again */
	uint64_t now, wall_ms; /* of this sweep */
	uint64_t batch;        /* number of the batch at hand */
	uint32_t input_count;
	struct input *inputs;
	struct session *sessions;
	struct http_parser *parsers;
	struct check checks[GATE_BATCH_MAX];
	struct verdict verdicts[GATE_BATCH_MAX];
	struct counters counters;
	pthread_t thread;
};

struct workers {
	struct workers_shared *shared;
	_Atomic(uint32_t)
		order;         /* enum worker_order, from the control thread */
	pthread_mutex_t mutex; /* start and end of threads only */
	pthread_cond_t changed;
	uint32_t up, failed, ended;
	int error;
	char error_text[256];
	uint32_t count;
	struct worker *workers[WORKERS_MAX];
};

/* ---- accepting ---- */

static void arm_accept(struct worker *w, enum protocol p)
{
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_multishot_accept(sqe, w->options->listeners[p].fd, NULL,
				       NULL, SOCK_CLOEXEC);
	sqe->user_data = ring_tag(OP_ACCEPT, 0, p);
	w->accepting[p] = true;
}

static void arm_wake(struct worker *w)
{
	struct io_uring_sqe *sqe = ring_sqe(&w->ring);

	io_uring_prep_read(sqe, w->wake_fd, &w->wake_value,
			   sizeof(w->wake_value), 0);
	sqe->user_data = ring_tag(OP_WAKE, 0, 0);
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

static void accepted(struct worker *w, const struct io_uring_cqe *cqe)
{
	enum protocol p = (enum protocol)TAG_IDX(cqe->user_data);

	/* Out of descriptors, or cancelled: reap() arms it again in a while,
	 * not at once. */
	if ((cqe->flags & IORING_CQE_F_MORE) == 0)
		w->accepting[p] = false;
	if (cqe->res < 0)
		return;
	if (!w->accepting[p] && w->obeyed == ORDER_SERVE)
		arm_accept(w, p);
	if (full(w, p) || w->obeyed != ORDER_SERVE)
		refuse(w, cqe->res, p);
	else
		share(w, cqe->res, p);
}

/* ---- gather ---- */

static void woken(struct worker *w)
{
	uintptr_t v;

	while (handoff_get(&w->handoff, &v))
		adopt(w, (int)(v >> 8), (enum protocol)(v & 0xff));
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
		case OP_ACCEPT:
			accepted(w, &cqe);
			break;
		case OP_WAKE:
			woken(w);
			break;
		case OP_QUIET:
			break;
		}
	}
	conns_confirm(&w->conns);
}

/* ---- parse ---- */

/* True when the input is used up; false: more in the next batch. */
static bool parse_native(struct worker *w, struct input *in, uint32_t *count)
{
	struct conn *c = conn_at(&w->conns, in->conn_idx);
	struct session *s = &w->sessions[in->conn_idx];
	const uint8_t *bytes = ring_buffer(&w->ring, in->buffer);

	while (in->off < in->len && conn_reads(c)) {
		uint32_t left = in->len - in->off;
		struct check *check = &w->checks[*count];
		const uint8_t *frame;

		if (*count == GATE_BATCH_MAX)
			return false;
		if (s->carry_len == 0 && left >= NATIVE_REQUEST_BYTES) {
			frame = bytes + in->off;
			in->off += NATIVE_REQUEST_BYTES;
		} else {
			uint32_t take = NATIVE_REQUEST_BYTES - s->carry_len;

			/* The carry holds a check of this batch: not yet. */
			if (s->blocked_in == w->batch)
				return false;
			take = take < left ? take : left;
			memcpy(s->carry + s->carry_len, bytes + in->off, take);
			s->carry_len += take;
			in->off += take;
			in->secret = in->carried = true;
			if (s->carry_len < NATIVE_REQUEST_BYTES)
				break;
			frame = s->carry;
			s->carry_len = 0;
			s->blocked_in = w->batch;
		}
		if (!native_decode(frame, check)) {
			counter_add(&w->counters.protocol_errors, 1);
			conn_finish(&w->conns, in->conn_idx);
		}
		in->secret = in->secret || frame[0] != NATIVE_CHECK_HASH;
		check->conn_idx = in->conn_idx;
		(*count)++;
	}
	return true;
}

static void reply_probe(struct worker *w, uint32_t idx)
{
	struct http_parser *p = &w->parsers[idx];
	uint8_t *out = conn_room(&w->conns, idx, HTTP_REPLY_MAX);

	if (out == NULL)
		return;
	/* PAIRS: the control thread's store, relaxed: a flag that guards
	 * nothing. */
	conn_wrote(&w->conns, idx,
		   (uint32_t)http_encode_probe(
			   p,
			   atomic_load_explicit(&w->team->shared->ready,
						memory_order_relaxed),
			   out));
	if (http_must_close(p))
		conn_finish(&w->conns, idx);
	http_reply_done(p);
}

/* One check of a connection in a batch: the parser holds its key until the
 * reply. */
static bool parse_http(struct worker *w, struct input *in, uint32_t *count)
{
	struct conn *c = conn_at(&w->conns, in->conn_idx);
	struct session *s = &w->sessions[in->conn_idx];
	struct http_parser *p = &w->parsers[in->conn_idx];
	const uint8_t *bytes = ring_buffer(&w->ring, in->buffer);

	while (in->off < in->len && conn_reads(c)) {
		struct check *check = &w->checks[*count];
		enum http_event event;

		if (s->blocked_in == w->batch || *count == GATE_BATCH_MAX)
			return false;
		in->off += (uint32_t)http_feed(
			p, bytes + in->off, in->len - in->off, &event, check);
		switch (event) {
		case HTTP_MORE:
			break;
		case HTTP_PROBE:
			reply_probe(w, in->conn_idx);
			break;
		case HTTP_BROKEN:
			counter_add(&w->counters.protocol_errors, 1);
			/* fall through */
		case HTTP_CHECK:
			check->conn_idx = in->conn_idx;
			s->blocked_in = w->batch;
			(*count)++;
			break;
		}
	}
	return true;
}

/* Fills the next batch. Inputs stay listed until their checks are answered,
 * since the checks point into them. */
static uint32_t parse(struct worker *w)
{
	uint32_t count = 0, i;

	w->batch++;
	for (i = 0; i < w->input_count; i++) {
		struct input *in = &w->inputs[i];
		struct session *s = &w->sessions[in->conn_idx];
		struct conn *c = conn_at(&w->conns, in->conn_idx);

		/* An earlier input of this connection comes first. */
		if (in->off == in->len || s->waits_in == w->batch)
			continue;
		if (c->gen != in->conn_gen || !conn_reads(c)) {
			in->secret = true;
			in->off = in->len;
		} else if (!(c->kind == PROTOCOL_NATIVE
				     ? parse_native(w, in, &count)
				     : parse_http(w, in, &count))) {
			s->waits_in = w->batch;
		} else if (in->off < in->len) { /* it will not be read */
			in->secret = true;
			in->off = in->len;
		}
	}
	return count;
}

/* ---- encode ---- */

static void reply_http(struct worker *w, const struct check *c,
		       const struct verdict *v)
{
	struct http_parser *p = &w->parsers[c->conn_idx];
	uint8_t *out = conn_room(&w->conns, c->conn_idx, HTTP_REPLY_MAX);

	if (out == NULL)
		return;
	conn_wrote(&w->conns, c->conn_idx,
		   (uint32_t)http_encode(p, &w->options->http, c, v, w->wall_ms,
					 out));
	if (http_must_close(p))
		conn_finish(&w->conns, c->conn_idx);
	http_reply_done(p);
}

static void encode(struct worker *w, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		const struct check *c = &w->checks[i];
		uint8_t *out;

		if (conn_at(&w->conns, c->conn_idx)->flags & CONN_ABORT)
			continue;
		if (conn_at(&w->conns, c->conn_idx)->kind == PROTOCOL_HTTP) {
			reply_http(w, c, &w->verdicts[i]);
			continue;
		}
		out = conn_room(&w->conns, c->conn_idx, NATIVE_REPLY_BYTES);
		if (out == NULL)
			continue;
		native_encode(c, &w->verdicts[i], out);
		conn_wrote(&w->conns, c->conn_idx, NATIVE_REPLY_BYTES);
	}
}

/* ---- the loop ---- */

/* All checks are answered: wipe what may hold a key, give the buffers back. */
static void recycle(struct worker *w)
{
	uint32_t i;

	for (i = 0; i < w->input_count; i++) {
		struct input *in = &w->inputs[i];
		struct session *s = &w->sessions[in->conn_idx];

		if (in->secret)
			explicit_bzero(ring_buffer(&w->ring, in->buffer),
				       in->len);
		if (in->carried && s->carry_len == 0)
			explicit_bzero(s->carry, sizeof(s->carry));
		ring_recycle(&w->ring, in->buffer);
	}
	w->input_count = 0;
	ring_publish(&w->ring);
}

static void obey(struct worker *w, uint32_t order)
{
	uint32_t i;

	w->obeyed = order;
	for (i = 0; i < PROTOCOLS; i++) {
		struct io_uring_sqe *sqe;

		if (!w->accepting[i])
			continue;
		sqe = ring_sqe(&w->ring);
		io_uring_prep_cancel64(sqe, ring_tag(OP_ACCEPT, 0, i), 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = ring_tag(OP_QUIET, 0, 0);
	}
	for (i = 0; i < w->conns.count; i++) {
		if ((conn_at(&w->conns, i)->flags & CONN_OPEN) == 0)
			continue;
		if (order == ORDER_DRAIN)
			conn_drain(&w->conns, i);
		else
			conn_abort(&w->conns, i);
	}
}

/* Seldom: idle connections, and accepting again after it failed. */
static void reap(struct worker *w)
{
	uint32_t i;

	w->reap_s = w->conns.now_s + REAP_EVERY_S;
	conns_reap(&w->conns, w->options->idle_timeout_s, LINGER_S);
	for (i = 0; w->idx == 0 && i < PROTOCOLS; i++)
		if (w->options->listeners[i].fd >= 0 && !w->accepting[i] &&
		    w->obeyed == ORDER_SERVE)
			arm_accept(w, (enum protocol)i);
}

static void sweep(struct worker *w)
{
	uint32_t count, order;

	gather(w);
	/* After the last byte has arrived, before any reply: the instant of
	 * every check in this sweep. */
	w->now = clock_ticks();
	w->wall_ms = clock_wall_ms();
	w->conns.now_s = (uint32_t)(w->now / (CLOCK_TICKS_PER_MS * 1000));
	if (w->input_count > 0) {
		counter_add(&w->counters.sweeps, 1);
		while ((count = parse(w)) > 0) {
			counter_add(&w->counters.batches, 1);
			gate_decide(&w->gate, w->checks, w->verdicts, count,
				    w->now, w->wall_ms);
			encode(w, count);
		}
		recycle(w);
	}
	/* PAIRS: set_order(), relaxed: it guards nothing, and the eventfd wakes
	 * us after it was stored. */
	order = atomic_load_explicit(&w->team->order, memory_order_relaxed);
	if (order != w->obeyed)
		obey(w, order);
	conns_settle(&w->conns);
	if (w->conns.now_s >= w->reap_s) {
		reap(w);
		conns_settle(&w->conns);
	}
}

static void serve(struct worker *w)
{
	bool over;

	arm_wake(w);
	do {
		epoch_enter(&w->reader);
		sweep(w);
		epoch_leave(&w->reader);
		over = w->obeyed != ORDER_SERVE && w->conns.open == 0;
		/* The last one only submits what the sweep has queued. */
		ring_wait(&w->ring, over ? 0 : REAP_EVERY_S * 1000);
	} while (!over);
}

/* ---- start and end ---- */

static int worker_setup(struct worker *w, char *err, size_t err_len)
{
	const struct workers_options *o = w->options;
	int r = ring_setup(&w->ring, o->recv_buffers, &w->counters, err,
			   err_len);

	if (r < 0)
		return r;
	w->inputs = calloc(o->recv_buffers, sizeof(*w->inputs));
	w->sessions = calloc(o->max_connections, sizeof(*w->sessions));
	w->parsers = calloc(o->max_connections, sizeof(*w->parsers));
	if (w->inputs == NULL || w->sessions == NULL || w->parsers == NULL ||
	    conns_init(&w->conns, &w->ring, o->max_connections, o->send_buffers,
		       o->output_bytes_max, &w->counters) < 0) {
		snprintf(err, err_len,
			 "no memory for %u connections: lower max_connections "
			 "or send_buffers",
			 o->max_connections);
		ring_teardown(&w->ring);
		return -ENOMEM;
	}
	return 0;
}

static void worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->inputs);
	free(w->sessions);
	free(w->parsers);
	free(w);
}

static void report(struct workers *t, uint32_t *what, int error,
		   const char *text)
{
	pthread_mutex_lock(&t->mutex);
	(*what)++;
	if (error < 0 && t->error == 0) {
		t->error = error;
		snprintf(t->error_text, sizeof(t->error_text), "%s", text);
	}
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mutex);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct workers *t = w->team;
	char name[16], err[256] = "";
	int r;

	snprintf(name, sizeof(name), "worker-%u", w->idx);
	pthread_setname_np(pthread_self(), name);
	r = worker_setup(w, err, sizeof(err));
	report(t, r < 0 ? &t->failed : &t->up, r, err);
	if (r < 0)
		return NULL;
	/* All or none: nobody accepts before everybody can take over. */
	pthread_mutex_lock(&t->mutex);
	while (t->up + t->failed < t->count)
		pthread_cond_wait(&t->changed, &t->mutex);
	if (t->failed > 0)
		w->obeyed = ORDER_CUT;
	pthread_mutex_unlock(&t->mutex);

	serve(w);
	ring_teardown(&w->ring);
	conns_deinit(&w->conns);
	report(t, &t->ended, 0, "");
	return NULL;
}

static struct worker *worker_new(struct workers *t, uint32_t idx)
{
	struct worker *w =
		aligned_alloc(LINE_BYTES, (sizeof(*w) + LINE_BYTES - 1) /
						  LINE_BYTES * LINE_BYTES);

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->team = t;
	w->options = &t->shared->options;
	w->idx = idx;
	handoff_init(&w->handoff);
	epoch_register(t->shared->epoch, &w->reader);
	gate_init(&w->gate, t->shared->arena, t->shared->table,
		  &t->shared->options.prefix, idx, &w->counters);
	w->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (w->wake_fd < 0) {
		worker_free(w);
		return NULL;
	}
	return w;
}

int workers_start(struct workers **ret_workers, struct workers_shared *shared,
		  char *err, size_t err_len)
{
	struct workers *t = calloc(1, sizeof(*t));
	uint32_t i, running = 0;
	int r = -ENOMEM;

	check(shared->options.count >= 1 &&
	      shared->options.count <= WORKERS_MAX);
	if (t == NULL)
		return r;
	t->shared = shared;
	t->count = shared->options.count;
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->changed, NULL);
	for (i = 0; i < t->count; i++) {
		t->workers[i] = worker_new(t, i);
		if (t->workers[i] == NULL) {
			snprintf(err, err_len, "no memory for worker %u", i);
			goto out;
		}
	}
	for (; running < t->count; running++) {
		r = -pthread_create(&t->workers[running]->thread, NULL,
				    worker_main, t->workers[running]);
		if (r < 0) {
			snprintf(err, err_len, "cannot start worker %u: %s",
				 running, strerror(-r));
			report(t, &t->failed, r, err);
			break;
		}
	}
	pthread_mutex_lock(&t->mutex);
	t->failed += t->count - running - (r < 0 ? 1 : 0);
	pthread_cond_broadcast(&t->changed);
	while (t->up + t->failed < t->count)
		pthread_cond_wait(&t->changed, &t->mutex);
	pthread_mutex_unlock(&t->mutex);
	if (t->failed == 0) {
		*ret_workers = t;
		return 0;
	}
	r = t->error;
	snprintf(err, err_len, "%s", t->error_text);
	for (i = 0; i < running; i++)
		pthread_join(t->workers[i]->thread, NULL);
out:
	for (i = 0; i < t->count; i++)
		worker_free(t->workers[i]);
	free(t);
	return r;
}

static void set_order(struct workers *t, enum worker_order order)
{
	static const uint64_t one = 1;
	uint32_t i;

	/* PAIRS: sweep(), relaxed: guards nothing; the write below wakes every
	 * worker after it. */
	atomic_store_explicit(&t->order, order, memory_order_relaxed);
	for (i = 0; i < t->count; i++)
		while (write(t->workers[i]->wake_fd, &one, sizeof(one)) < 0 &&
		       errno == EINTR) {
		}
}

void workers_drain(struct workers *t)
{
	set_order(t, ORDER_DRAIN);
}

static bool all_ended(struct workers *t, unsigned timeout_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&t->mutex);
	while (t->ended < t->count && r == 0)
		r = pthread_cond_timedwait(&t->changed, &t->mutex, &until);
	pthread_mutex_unlock(&t->mutex);
	return r == 0;
}

void workers_join(struct workers *t, unsigned timeout_ms)
{
	uint32_t i;

	if (!all_ended(t, timeout_ms))
		set_order(t, ORDER_CUT);
	for (i = 0; i < t->count; i++)
		pthread_join(t->workers[i]->thread, NULL);
}

struct workers *workers_free(struct workers *t)
{
	uint32_t i;

	for (i = 0; i < t->count; i++)
		worker_free(t->workers[i]);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->mutex);
	free(t);
	return NULL;
}

uint32_t workers_count(const struct workers *t)
{
	return t->count;
}

const struct counters *workers_counters(const struct workers *t, uint32_t i)
{
	return &t->workers[i]->counters;
}
