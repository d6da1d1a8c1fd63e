/* SPDX-License-Identifier: MIT */
#ifndef STILE_WORKER_WORKER_INTERNAL_H
#define STILE_WORKER_WORKER_INTERNAL_H

/*
 * worker/worker_internal - what the files of this folder share: a worker, the
 * team, and who calls whom.
 *
 *	worker_team.c      start, drain, join; the memory of a worker
 *	worker.c           the loop, stage by stage
 *	worker_accept.c    a new connection, and to whom it goes
 *	worker_requests.c  received bytes -> checks, verdicts -> replies
 */
#include "base/handoff.h"
#include "gate/decide.h"
#include "io/conn.h"
#include "io/ring.h"
#include "wire/native.h"
#include "worker/worker.h"

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
	uint8_t carry[NATIVE_LONG_REQUEST_BYTES];
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
	bool alone;         /* worker 0 has ended sharing */
	bool busy;          /* the last sweep found work */
	bool tick;          /* came in this sweep */
	struct instant now; /* of this sweep */
	uint64_t civil_ms;
	uint64_t batch;    /* number of the batch at hand */
	uint32_t explains; /* checks of it that want to be explained */
	uint32_t input_count;
	uint32_t input_first; /* those before it are used up */
	struct input *inputs;
	struct session *sessions;
	struct http_parser *parsers;
	struct check checks[GATE_BATCH_MAX];
	struct check_extra extras[GATE_BATCH_MAX]; /* of native checks */
	struct verdict verdicts[GATE_BATCH_MAX];
	struct counters counters;
	pthread_t thread;
};

struct workers {
	struct workers_shared *shared;
	_Atomic(uint32_t)
		order; /* enum worker_order, from the control thread */
	_Atomic(bool) shared_out; /* worker 0 hands over no more */
	pthread_mutex_t mutex;    /* start and end of threads only */
	pthread_cond_t changed;
	uint32_t up, failed, ended;
	int error;
	char error_text[256];
	uint32_t count;
	struct worker *workers[WORKERS_MAX];
};

/* ---- worker.c ---- */

/* The whole life of a worker whose memory is there. */
void worker_serve(struct worker *w);
/* One turn of it: wait, then a sweep over what has arrived. */
void worker_round(struct worker *w);

/* ---- worker_team.c ---- */

/* What any thread can set up; NULL: no memory, or no descriptor. */
struct worker *worker_new(struct workers *t, uint32_t idx);
/* The rest, by the thread that will serve: ring, buffers, connections. */
int worker_setup(struct worker *w, char *err, size_t err_len);
void worker_teardown(struct worker *w);
void worker_free(struct worker *w);

/* ---- worker_accept.c ---- */

void worker_arm_accept(struct worker *w, enum protocol p);
void worker_accepted(struct worker *w, const struct io_uring_cqe *cqe);
/* Connections that worker 0 has handed over. */
void worker_take_over(struct worker *w);
/* Worker 0, draining: who has connected is still taken, then `accepting` ends.
 * Cutting: it ends. */
void worker_cancel_accepts(struct worker *w);
/* Then: tells the others that nothing more comes. */
void worker_end_sharing(struct worker *w);

/* ---- worker_requests.c ---- */

/* Fills the next batch. Inputs stay listed until their checks are answered,
 * since the checks point into them. */
uint32_t worker_parse(struct worker *w);
void worker_encode(struct worker *w, uint32_t count);
/* All checks are answered: wipe what may hold a key, give the buffers back. */
void worker_recycle(struct worker *w);
/* The connection has ended, perhaps in the middle of a key. */
void worker_forget(struct worker *w, uint32_t idx);

#endif
