/* SPDX-License-Identifier: MIT */
#include "load.h"

#include "base/check.h"
#include "base/clock.h"
#include "loader.h"
#include "pages.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define POLL_NS 5000000 /* how often the caller looks for trouble */

static uint64_t replies_of_all(const struct loader *loaders, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += loader_replies(&loaders[i]);
	return sum;
}

static const char *any_error(const struct loader *loaders, uint32_t count)
{
	const char *error = NULL;

	for (uint32_t i = 0; i < count && !error; i++)
		error = loader_error(&loaders[i]);
	return error;
}

/* Sleeps; returns false when something went wrong meanwhile. */
static bool watch(const struct load_options *o, struct loader *loaders,
		  uint64_t duration_ns, char *error, size_t error_len)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns;

	for (;;) {
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
		struct timespec pause = {.tv_nsec = POLL_NS};
		const char *what = any_error(loaders, o->threads);

		if (what) {
			process_explain(o->servers, o->server_count, what,
					error, error_len);
			return false;
		}
		if (*o->interrupted) {
			snprintf(error, error_len, "interrupted");
			return false;
		}
		if (now_ns >= end_ns)
			return true;
		if (end_ns - now_ns < POLL_NS)
			pause.tv_nsec = (long)(end_ns - now_ns);
		nanosleep(&pause, NULL);
	}
}

struct sample {
	uint64_t at_ns, replies, server_cpu_ns, client_cpu_ns;
	uint64_t each_cpu_ns[LOAD_SERVERS_MAX];
};

static int take_sample(const struct load_options *o, struct loader *loaders,
		       struct sample *ret_sample)
{
	ret_sample->at_ns = clock_ns(CLOCK_MONOTONIC);
	ret_sample->replies = replies_of_all(loaders, o->threads);
	ret_sample->client_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	ret_sample->server_cpu_ns = 0;
	for (uint32_t i = 0; i < o->server_count; i++) {
		int r = process_cpu_ns(o->servers[i],
				       &ret_sample->each_cpu_ns[i]);

		if (r < 0)
			return r;
		ret_sample->server_cpu_ns += ret_sample->each_cpu_ns[i];
	}
	return 0;
}

/* A figure that cannot be is worse than none. */
static const char *nonsense(const struct sample *a, const struct sample *b,
			    uint32_t cpus)
{
	if (b->at_ns <= a->at_ns)
		return "the clock stood still or went backwards";
	if (b->replies <= a->replies)
		return "no reply came in the measured time";
	if (b->server_cpu_ns < a->server_cpu_ns)
		return "the server's CPU counter went backwards";
	if (b->server_cpu_ns == a->server_cpu_ns)
		return "the server answered without using any CPU time; "
		       "measure for longer";
	/* two ticks of 10 ms for each CPU: the counter's grain */
	if (b->server_cpu_ns - a->server_cpu_ns >
	    (b->at_ns - a->at_ns + UINT64_C(20000000)) * cpus)
		return "the server used more CPU time than there was";
	return NULL;
}

static int measure(const struct load_options *o, struct loader *loaders,
		   struct load_result *r, char *error, size_t error_len)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct sample a = {0}, b = {0};
	const char *why;

	if (!watch(o, loaders, o->warmup_ns, error, error_len))
		return -1;
	if (take_sample(o, loaders, &a) < 0)
		goto no_counter;
	if (!watch(o, loaders, o->measure_ns, error, error_len))
		return -1;
	if (take_sample(o, loaders, &b) < 0)
		goto no_counter;
	why = nonsense(&a, &b, cpus > 0 ? (uint32_t)cpus : 1);
	if (why) {
		snprintf(error, error_len, "%s", why);
		return -1;
	}
	r->elapsed_ns = b.at_ns - a.at_ns;
	r->replies = b.replies - a.replies;
	r->server_cpu_ns = b.server_cpu_ns - a.server_cpu_ns;
	for (uint32_t i = 0; i < o->server_count; i++)
		r->each_cpu_ns[i] = b.each_cpu_ns[i] - a.each_cpu_ns[i];
	r->client_cpu_ns = b.client_cpu_ns - a.client_cpu_ns;
	return 0;
no_counter:
	snprintf(error, error_len,
		 "the server's CPU time cannot be read: it ended, or /proc "
		 "is hidden");
	return -1;
}

static void close_all(struct load_conn *conns, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (conns[i].fd >= 0)
			close(conns[i].fd);
}

static int connect_or_say(const struct address *address, char *error,
			  size_t error_len)
{
	char name[PATH_MAX];
	int fd = address_connect(address);

	if (fd < 0) {
		address_name(address, name, sizeof(name));
		snprintf(error, error_len, "cannot connect to %s: %s", name,
			 strerror(-fd));
	}
	return fd;
}

static bool open_all(const struct load_options *o, const struct dialect *d,
		     struct load_conn *conns, uint8_t *replies,
		     size_t replies_bytes, char *error, size_t error_len)
{
	for (uint32_t i = 0; i < o->connections; i++)
		conns[i].fd = -1;
	for (uint32_t i = 0; i < o->connections; i++) {
		struct load_conn *c = &conns[i];

		c->fd = connect_or_say(&o->address, error, error_len);
		if (c->fd < 0)
			return false;
		c->replies = replies + i * replies_bytes;
		/* Far apart, so that no two ask for the same keys. */
		c->first = (uint32_t)((uint64_t)i * d->request_count /
				      o->connections);
		if (c->first + o->depth > d->request_count)
			c->first = 0;
	}
	return true;
}

static int start_loaders(const struct load_options *o, const struct dialect *d,
			 struct loader *loaders, struct load_conn *conns,
			 uint32_t *ret_started, char *error, size_t error_len)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < o->threads; i++) {
		struct loader *l = &loaders[i];
		int r;

		l->options = o;
		l->dialect = d;
		l->conns = conns + next;
		l->conn_count = o->connections / o->threads +
				(i < o->connections % o->threads);
		next += l->conn_count;
		r = loader_start(l);
		if (r < 0) {
			snprintf(error, error_len, "no thread: %s",
				 strerror(-r));
			return -1;
		}
		*ret_started = i + 1;
	}
	return 0;
}

int load_run(const struct load_options *o, const struct dialect *d,
	     struct load_result *ret_result, char *error, size_t error_len)
{
	size_t each = pages_round((size_t)o->depth * d->reply_bytes_max);
	size_t reply_bytes = o->connections * each;
	struct load_result result = {0};
	struct load_conn *conns = NULL;
	struct loader *loaders = NULL;
	const char *what;
	uint32_t started = 0;
	uint8_t *replies;
	int r = -1;

	check(o->depth > 0 && o->depth <= WORKLOAD_DEPTH_MAX &&
	      o->depth <= d->request_count);
	check(o->server_count > 0 && o->server_count <= LOAD_SERVERS_MAX);
	check(o->threads > 0 && o->threads <= o->connections);
	/* Page-aligned, as every buffer that the kernel copies to. */
	replies = pages_map(reply_bytes);
	conns = calloc(o->connections, sizeof(*conns));
	loaders = aligned_alloc(LINE_BYTES, o->threads * sizeof(*loaders));
	if (!replies || !conns || !loaders) {
		snprintf(error, error_len, "out of memory");
		goto out_free;
	}
	memset(loaders, 0, o->threads * sizeof(*loaders));

	if (open_all(o, d, conns, replies, each, error, error_len) &&
	    start_loaders(o, d, loaders, conns, &started, error, error_len) ==
		    0)
		r = measure(o, loaders, &result, error, error_len);

	for (uint32_t i = 0; i < started; i++)
		loader_stop(&loaders[i]);
	for (uint32_t i = 0; i < started; i++) {
		loader_join(&loaders[i]);
		result.total.allowed += loaders[i].tally.allowed;
		result.total.denied += loaders[i].tally.denied;
	}
	what = any_error(loaders, started);
	if (r == 0 && what) { /* in the last batches */
		process_explain(o->servers, o->server_count, what, error,
				error_len);
		r = -1;
	}
	close_all(conns, o->connections);
	if (r == 0)
		*ret_result = result;
out_free:
	free(loaders);
	free(conns);
	pages_unmap(replies, reply_bytes);
	return r;
}

/* A blocking connection of load_pass(), its batch, its replies. */
struct pass_conn {
	int fd;
	uint32_t first, count;
	uint8_t *replies;
};

static bool pass_send(struct pass_conn *c, const struct dialect *d,
		      uint32_t first, uint32_t depth)
{
	size_t len;

	c->first = first;
	c->count = d->request_count - first < depth ? d->request_count - first
						    : depth;
	len = (size_t)c->count * d->request_bytes;
	return send(c->fd, d->requests + (size_t)first * d->request_bytes, len,
		    MSG_NOSIGNAL) == (ssize_t)len;
}

static bool pass_receive(const struct pass_conn *c, const struct dialect *d,
			 struct workload_tally *tally, char *error,
			 size_t error_len)
{
	size_t room = (size_t)c->count * d->reply_bytes_max;
	size_t received = 0, taken = 0;
	uint32_t done = 0;

	while (done < c->count && received < room) {
		ssize_t n =
			recv(c->fd, c->replies + received, room - received, 0);
		uint32_t judged;

		if (n <= 0)
			break;
		received += (size_t)n;
		n = d->judge(d, c->first + done, c->count - done,
			     c->replies + taken, received - taken, tally,
			     &judged, error, error_len);
		if (n < 0)
			return false;
		taken += (size_t)n;
		done += judged;
	}
	if (done == c->count && taken == received)
		return true;
	snprintf(error, error_len,
		 "%zu bytes came in reply to a batch of %u, %u whole replies",
		 received, c->count, done);
	return false;
}

/* A batch on each connection, then the replies of each. */
static bool pass_round(struct pass_conn *conns, const struct load_options *o,
		       const struct dialect *d, uint32_t *done,
		       struct workload_tally *tally, char *error,
		       size_t error_len)
{
	uint32_t used = 0;

	while (used < o->connections && *done < d->request_count) {
		if (!pass_send(&conns[used], d, *done, o->depth)) {
			snprintf(error, error_len, "a batch was not taken");
			return false;
		}
		*done += conns[used++].count;
	}
	for (uint32_t i = 0; i < used; i++)
		if (!pass_receive(&conns[i], d, tally, error, error_len))
			return false;
	return true;
}

static bool pass_all(struct pass_conn *conns, const struct load_options *o,
		     const struct dialect *d, struct workload_tally *tally,
		     char *error, size_t error_len)
{
	char why[LOADER_ERROR_LEN];
	uint32_t done = 0;

	while (done < d->request_count) {
		if (*o->interrupted) {
			snprintf(error, error_len, "interrupted");
			return false;
		}
		if (!pass_round(conns, o, d, &done, tally, why, sizeof(why))) {
			process_explain(o->servers, o->server_count, why, error,
					error_len);
			return false;
		}
	}
	return true;
}

int load_pass(const struct load_options *o, const struct dialect *d,
	      struct workload_tally *ret_tally, char *error, size_t error_len)
{
	struct timeval timeout = {.tv_sec =
					  LOAD_STALL_NS / UINT64_C(1000000000)};
	size_t each = pages_round((size_t)o->depth * d->reply_bytes_max);
	struct pass_conn *conns = calloc(o->connections, sizeof(*conns));
	uint8_t *replies = pages_map(o->connections * each);
	uint32_t opened = 0;
	bool fine = conns && replies;

	check(o->depth > 0 && o->depth <= LOAD_PASS_DEPTH_MAX);
	if (!fine)
		snprintf(error, error_len, "out of memory");
	for (; fine && opened < o->connections; opened++) {
		struct pass_conn *c = &conns[opened];

		c->fd = connect_or_say(&o->address, error, error_len);
		fine = c->fd >= 0;
		if (!fine)
			break;
		c->replies = replies + opened * each;
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
			   sizeof(timeout));
	}
	fine = fine && pass_all(conns, o, d, ret_tally, error, error_len);
	for (uint32_t i = 0; i < opened; i++)
		close(conns[i].fd);
	pages_unmap(replies, o->connections * each);
	free(conns);
	return fine ? 0 : -1;
}

int load_ask_once(const char *path,
		  const uint8_t frame[static NATIVE_REQUEST_BYTES],
		  uint8_t reply[static NATIVE_REPLY_BYTES], char *error,
		  size_t error_len)
{
	struct timeval timeout = {.tv_sec = 5};
	struct address address = {.path = path};
	int fd = connect_or_say(&address, error, error_len);
	ssize_t n;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	n = send(fd, frame, NATIVE_REQUEST_BYTES, MSG_NOSIGNAL);
	if (n == NATIVE_REQUEST_BYTES)
		n = recv(fd, reply, NATIVE_REPLY_BYTES, MSG_WAITALL);
	else
		n = -1;
	close(fd);
	if (n == NATIVE_REPLY_BYTES)
		return 0;
	snprintf(error, error_len, "%s did not answer a single request", path);
	return -1;
}
