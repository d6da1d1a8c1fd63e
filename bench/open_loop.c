/* SPDX-License-Identifier: MIT */
#include "open_loop.h"

#include "address.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/line.h"
#include "clocks.h"
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define IS_SEND UINT64_C(1)
#define IN_BYTES ((size_t)WORKLOAD_DEPTH_MAX * NATIVE_REPLY_BYTES)
#define LAG_PARTS 990000u /* the percentile that is held to lag_max_ns */
/* How long the loop sleeps at most, so that it sees an interruption. */
#define SLEEP_MAX_NS UINT64_C(100000000)
/* Between connecting and the first request: a server still busy with
 * accepting is not what is measured. */
#define LEAD_NS UINT64_C(5000000)

/* Requests of a connection are counted from 0, `due` of them so far; request k
 * carries the frame k after `first`. */
struct open_conn {
	int fd;
	uint32_t first;
	uint32_t in_send; /* requests in the send under way; 0 = none */
	uint32_t in_len;  /* bytes of a reply begun */
	uint64_t due, sent;
	uint64_t oldest; /* all before it are answered */
	uint8_t *in;
};

struct open_loop {
	const struct open_loop_options *o;
	const struct workload *w;
	struct io_uring ring;
	struct open_conn *conns;
	uint8_t *in;
	uint8_t *answered; /* one for each arrival */
	uint32_t turn;     /* connection of the next arrival */
	uint64_t next;     /* arrival: all before it have come due */
	uint64_t replies;  /* to all arrivals */
	uint64_t first;    /* arrival that counts */
	uint64_t start_ns; /* of the schedule */
	uint64_t last_ns;  /* when the last reply came */
	uint64_t cpu_ns;   /* the server's, at the end of the warm-up */
	bool cpu_taken;
	struct open_loop_result result;
	char *error;
	size_t error_len;
};

static uint64_t arrival_of(const struct open_loop *l, const struct open_conn *c,
			   uint64_t request)
{
	return request * l->o->connections + (uint64_t)(c - l->conns);
}

static uint64_t due_ns(const struct open_loop *l, uint64_t arrival)
{
	return l->start_ns + l->o->schedule->due_ns[arrival];
}

/* Sends what is due, one send at a time: two of them on one socket could
 * mix. A connection has at most WORKLOAD_DEPTH_MAX requests under way; more
 * wait here, as they would in a full socket. */
static void flush(struct open_loop *l, struct open_conn *c)
{
	uint64_t count = c->due - c->sent;
	uint32_t place = (uint32_t)((c->first + c->sent) % l->w->frame_count);
	struct io_uring_sqe *sqe;

	if (count > c->oldest + WORKLOAD_DEPTH_MAX - c->sent)
		count = c->oldest + WORKLOAD_DEPTH_MAX - c->sent;
	if (count > l->w->frame_count - place)
		count = l->w->frame_count - place;
	if (count == 0 || c->in_send > 0)
		return;
	sqe = io_uring_get_sqe(&l->ring);
	check(sqe != NULL); /* two for each connection: always room */
	io_uring_prep_send(sqe, c->fd,
			   l->w->frames + (size_t)place * NATIVE_REQUEST_BYTES,
			   (size_t)count * NATIVE_REQUEST_BYTES,
			   MSG_WAITALL | MSG_NOSIGNAL);
	io_uring_sqe_set_data64(sqe, (uint64_t)(c - l->conns) << 1 | IS_SEND);
	c->in_send = (uint32_t)count;
	c->sent += count;
}

static void arm_recv(struct open_loop *l, struct open_conn *c)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	check(sqe != NULL);
	io_uring_prep_recv(sqe, c->fd, c->in + c->in_len, IN_BYTES - c->in_len,
			   0);
	io_uring_sqe_set_data64(sqe, (uint64_t)(c - l->conns) << 1);
}

static bool say(struct open_loop *l, const char *what, int r)
{
	snprintf(l->error, l->error_len, "%s: %s", what,
		 r < 0 ? strerror(-r) : "the server closed the connection");
	return false;
}

static bool take_reply(struct open_loop *l, struct open_conn *c,
		       const uint8_t *reply, uint64_t now_ns)
{
	uint32_t frames = l->w->frame_count, frame, ahead;
	uint64_t request, arrival;

	if (!workload_check_reply(l->w, l->o->server_is_null, reply, &frame,
				  &l->result.total, l->error, l->error_len))
		return false;
	ahead = (uint32_t)((c->first + c->oldest) % frames);
	ahead = frame >= ahead ? frame - ahead : frame + frames - ahead;
	request = c->oldest + ahead;
	arrival = arrival_of(l, c, request);
	if (request >= c->sent || l->answered[arrival] ||
	    now_ns < due_ns(l, arrival)) {
		snprintf(l->error, l->error_len,
			 "wrong reply to request %" PRIu32
			 ": it was not asked, or answered before",
			 frame);
		return false;
	}
	l->answered[arrival] = 1;
	l->replies++;
	if (arrival >= l->first)
		histogram_record(&l->result.latency_ns,
				 now_ns - due_ns(l, arrival));
	while (c->oldest < c->sent && l->answered[arrival_of(l, c, c->oldest)])
		c->oldest++;
	return true;
}

static bool handle_recv(struct open_loop *l, struct open_conn *c, int res,
			uint64_t now_ns)
{
	uint32_t at = 0;

	if (res <= 0)
		return say(l, "no reply", res);
	c->in_len += (uint32_t)res;
	for (; c->in_len - at >= NATIVE_REPLY_BYTES; at += NATIVE_REPLY_BYTES)
		if (!take_reply(l, c, c->in + at, now_ns))
			return false;
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
	l->last_ns = now_ns;
	arm_recv(l, c);
	flush(l, c); /* what WORKLOAD_DEPTH_MAX held back */
	return true;
}

static bool handle(struct open_loop *l, const struct io_uring_cqe *cqe,
		   uint64_t now_ns)
{
	struct open_conn *c = &l->conns[cqe->user_data >> 1];

	if (!(cqe->user_data & IS_SEND))
		return handle_recv(l, c, cqe->res, now_ns);
	if (cqe->res != (int)(c->in_send * NATIVE_REQUEST_BYTES))
		return say(l, "requests could not be sent", cqe->res);
	c->in_send = 0;
	flush(l, c);
	return true;
}

static void take_due(struct open_loop *l, uint64_t now_ns)
{
	const struct schedule *s = l->o->schedule;

	while (l->next < s->count && due_ns(l, l->next) <= now_ns) {
		if (l->next >= l->first)
			histogram_record(&l->result.lag_ns,
					 now_ns - due_ns(l, l->next));
		l->conns[l->turn].due++;
		l->turn = l->turn + 1 < l->o->connections ? l->turn + 1 : 0;
		l->next++;
	}
}

static int submit(struct open_loop *l, uint64_t now_ns)
{
	const struct schedule *s = l->o->schedule;
	uint64_t sleep_ns = SLEEP_MAX_NS;
	struct __kernel_timespec wait = {0};
	struct io_uring_cqe *cqe;

	if (l->o->spin)
		return io_uring_submit_and_get_events(&l->ring);
	if (l->next < s->count && due_ns(l, l->next) - now_ns < sleep_ns)
		sleep_ns = due_ns(l, l->next) - now_ns;
	wait.tv_nsec = (long)sleep_ns;
	return io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &wait, NULL);
}

/* Everything of one round but taking the time. */
static bool step(struct open_loop *l, uint64_t now_ns)
{
	uint32_t from = l->turn, connections = l->o->connections;
	uint64_t before = l->next, came;
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;
	int r;

	take_due(l, now_ns);
	came = l->next - before;
	for (uint64_t i = 0; i < came && i < connections; i++) {
		flush(l, &l->conns[from]);
		from = from + 1 < connections ? from + 1 : 0;
	}
	r = submit(l, now_ns);
	if (r < 0 && r != -ETIME && r != -EINTR)
		return say(l, "io_uring failed", r);
	now_ns = clock_ns(CLOCK_MONOTONIC);
	io_uring_for_each_cqe(&l->ring, head, cqe)
	{
		if (!handle(l, cqe, now_ns))
			return false;
		count++;
	}
	io_uring_cq_advance(&l->ring, count);
	return true;
}

/* At the end of the warm-up, once. */
static bool take_cpu(struct open_loop *l, uint64_t now_ns)
{
	if (l->cpu_taken || now_ns < l->start_ns + l->o->warmup_ns)
		return true;
	l->cpu_taken = true;
	if (process_cpu_ns(l->o->server, &l->cpu_ns) == 0)
		return true;
	snprintf(l->error, l->error_len,
		 "the server's CPU time cannot be read: it ended, or /proc "
		 "is hidden");
	return false;
}

static bool loop(struct open_loop *l)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	l->start_ns = now_ns + LEAD_NS;
	l->last_ns = l->start_ns;
	for (uint32_t i = 0; i < l->o->connections; i++)
		arm_recv(l, &l->conns[i]);
	while (l->replies < l->o->schedule->count) {
		/* Idle since: the last reply, or the last request due. */
		uint64_t idle_ns = l->last_ns;

		if (!take_cpu(l, now_ns) || !step(l, now_ns))
			return false;
		now_ns = clock_ns(CLOCK_MONOTONIC);
		if (l->next > 0 && due_ns(l, l->next - 1) > idle_ns)
			idle_ns = due_ns(l, l->next - 1);
		if (l->replies < l->next && now_ns > idle_ns + LOAD_STALL_NS) {
			snprintf(l->error, l->error_len,
				 "no reply for %" PRIu64 " s, %" PRIu64
				 " are missing",
				 LOAD_STALL_NS / UINT64_C(1000000000),
				 l->next - l->replies);
			return false;
		}
		if (*l->o->interrupted) {
			snprintf(l->error, l->error_len, "interrupted");
			return false;
		}
	}
	return take_cpu(l, l->start_ns + l->o->warmup_ns);
}

/* A figure that cannot be is worse than none. */
static const char *nonsense(const struct open_loop *l)
{
	const struct open_loop_result *r = &l->result;

	if (r->replies == 0)
		return "no request was due in the measured time";
	if (r->latency_ns.clipped > 0)
		return "a reply took longer than the histogram holds";
	if (r->latency_ns.min == 0)
		return "a reply came at the instant at which it was due";
	return NULL;
}

static bool finish(struct open_loop *l, const struct clocks *before)
{
	struct open_loop_result *r = &l->result;
	struct clocks after = clocks_read();
	const char *why = clocks_disagree(before, &after);
	uint64_t end_ns = l->start_ns + l->o->schedule->duration_ns;
	uint64_t lag_ns = histogram_percentile(&r->lag_ns, LAG_PARTS);
	uint64_t cpu_ns;

	if (process_cpu_ns(l->o->server, &cpu_ns) < 0 || cpu_ns < l->cpu_ns)
		why = "the server's CPU counter cannot be read or went "
		      "backwards";
	r->server_cpu_ns = cpu_ns - l->cpu_ns;
	r->replies = r->latency_ns.count;
	if (l->last_ns > end_ns)
		end_ns = l->last_ns;
	r->elapsed_ns = end_ns - l->start_ns - l->o->warmup_ns;
	if (!why)
		why = nonsense(l);
	if (why) {
		snprintf(l->error, l->error_len, "%s", why);
		return false;
	}
	if (lag_ns <= l->o->lag_max_ns)
		return true;
	snprintf(l->error, l->error_len,
		 "the load generator came %.0f us late to its own requests at "
		 "the 99th percentile, %.0f us are allowed: it needs a CPU to "
		 "itself, or a lower rate, or a larger --lag-max",
		 (double)lag_ns / 1e3, (double)l->o->lag_max_ns / 1e3);
	return false;
}

static bool open_conns(struct open_loop *l)
{
	const struct open_loop_options *o = l->o;
	struct address address = {.path = o->path};

	for (uint32_t i = 0; i < o->connections; i++)
		l->conns[i].fd = -1;
	for (uint32_t i = 0; i < o->connections; i++) {
		struct open_conn *c = &l->conns[i];

		c->fd = address_connect(&address);
		if (c->fd < 0) {
			snprintf(l->error, l->error_len,
				 "cannot connect to %s: %s", o->path,
				 strerror(-c->fd));
			return false;
		}
		c->in = l->in + i * IN_BYTES;
		/* Far apart, so that no two ask for the same keys. */
		c->first = (uint32_t)((uint64_t)i * l->w->frame_count /
				      o->connections);
	}
	return true;
}

static bool run(struct open_loop *l)
{
	struct clocks before = clocks_read();
	unsigned int entries = 2;
	bool fine;
	int r;

	while (entries < 2 * l->o->connections)
		entries *= 2;
	r = io_uring_queue_init(entries, &l->ring,
				IORING_SETUP_SINGLE_ISSUER |
					IORING_SETUP_DEFER_TASKRUN);
	if (r < 0)
		return say(l, "cannot set up io_uring", r);
	fine = loop(l);
	io_uring_queue_exit(&l->ring);
	if (fine)
		return finish(l, &before);
	return false;
}

int open_loop_run(const struct open_loop_options *o, const struct workload *w,
		  struct open_loop_result *ret_result, char *error,
		  size_t error_len)
{
	struct open_loop *l = calloc(1, sizeof(*l));
	bool fine = false;

	check(o->connections > 0 && o->connections <= LOAD_CONNECTIONS_MAX);
	if (!l) {
		snprintf(error, error_len, "out of memory");
		return -1;
	}
	l->o = o;
	l->w = w;
	l->error = error;
	l->error_len = error_len;
	l->first = schedule_before(o->schedule, o->warmup_ns);
	histogram_clear(&l->result.latency_ns);
	histogram_clear(&l->result.lag_ns);
	/* Page-aligned, as every buffer that the kernel copies to. */
	l->in = mmap(NULL, o->connections * IN_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	l->conns = calloc(o->connections, sizeof(*l->conns));
	l->answered = malloc(o->schedule->count);
	if (l->in == MAP_FAILED || !l->conns || !l->answered) {
		snprintf(error, error_len, "out of memory");
		goto out_free;
	}
	memset(l->answered, 0, o->schedule->count); /* no faults later */
	if (open_conns(l)) {
		fine = run(l);
		if (!fine && !*o->interrupted) {
			char what[512];

			snprintf(what, sizeof(what), "%s", error);
			process_explain(&o->server, 1, what, error, error_len);
		}
	}
	for (uint32_t i = 0; i < o->connections; i++)
		if (l->conns[i].fd >= 0)
			close(l->conns[i].fd);
	if (fine)
		*ret_result = l->result;
out_free:
	free(l->answered);
	free(l->conns);
	if (l->in != MAP_FAILED)
		munmap(l->in, o->connections * IN_BYTES);
	free(l);
	return fine ? 0 : -1;
}
