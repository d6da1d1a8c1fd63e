/* SPDX-License-Identifier: MIT */
#include "load.h"

#include "base/check.h"
#include "base/clock.h"
#include "loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define POLL_NS 5000000 /* how often the caller looks for trouble */

int load_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

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
			process_explain(o->server, what, error, error_len);
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
};

static int take_sample(const struct load_options *o, struct loader *loaders,
		       struct sample *ret_sample)
{
	ret_sample->at_ns = clock_ns(CLOCK_MONOTONIC);
	ret_sample->replies = replies_of_all(loaders, o->threads);
	ret_sample->client_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	return process_cpu_ns(o->server, &ret_sample->server_cpu_ns);
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
	struct sample a, b;
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

static bool open_all(const struct load_options *o, const struct workload *w,
		     struct load_conn *conns, uint8_t *replies, char *error,
		     size_t error_len)
{
	size_t bytes = (size_t)WORKLOAD_DEPTH_MAX * NATIVE_REPLY_BYTES;

	for (uint32_t i = 0; i < o->connections; i++)
		conns[i].fd = -1;
	for (uint32_t i = 0; i < o->connections; i++) {
		struct load_conn *c = &conns[i];

		c->fd = load_connect(o->path);
		if (c->fd < 0) {
			snprintf(error, error_len, "cannot connect to %s: %s",
				 o->path, strerror(-c->fd));
			return false;
		}
		c->replies = replies + i * bytes;
		/* Far apart, so that no two ask for the same keys. */
		c->first = (uint32_t)((uint64_t)i * w->frame_count /
				      o->connections);
		if (c->first + o->depth > w->frame_count)
			c->first = 0;
	}
	return true;
}

static int start_loaders(const struct load_options *o, const struct workload *w,
			 struct loader *loaders, struct load_conn *conns,
			 uint32_t *ret_started, char *error, size_t error_len)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < o->threads; i++) {
		struct loader *l = &loaders[i];
		int r;

		l->options = o;
		l->workload = w;
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

int load_run(const struct load_options *o, const struct workload *w,
	     struct load_result *ret_result, char *error, size_t error_len)
{
	size_t reply_bytes = (size_t)o->connections * WORKLOAD_DEPTH_MAX *
			     NATIVE_REPLY_BYTES;
	struct load_result result = {0};
	struct load_conn *conns = NULL;
	struct loader *loaders = NULL;
	const char *what;
	uint32_t started = 0;
	uint8_t *replies;
	int r = -1;

	check(o->depth > 0 && o->depth <= WORKLOAD_DEPTH_MAX);
	check(o->threads > 0 && o->threads <= o->connections);
	/* Page-aligned, as every buffer that the kernel copies to. */
	replies = mmap(NULL, reply_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	conns = calloc(o->connections, sizeof(*conns));
	loaders = aligned_alloc(LINE_BYTES, o->threads * sizeof(*loaders));
	if (replies == MAP_FAILED || !conns || !loaders) {
		snprintf(error, error_len, "out of memory");
		goto out_free;
	}
	memset(loaders, 0, o->threads * sizeof(*loaders));

	if (open_all(o, w, conns, replies, error, error_len) &&
	    start_loaders(o, w, loaders, conns, &started, error, error_len) ==
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
		process_explain(o->server, what, error, error_len);
		r = -1;
	}
	close_all(conns, o->connections);
	if (r == 0)
		*ret_result = result;
out_free:
	free(loaders);
	free(conns);
	if (replies != MAP_FAILED)
		munmap(replies, reply_bytes);
	return r;
}

int load_ask_once(const char *path,
		  const uint8_t frame[static NATIVE_REQUEST_BYTES],
		  uint8_t reply[static NATIVE_REPLY_BYTES], char *error,
		  size_t error_len)
{
	struct timeval timeout = {.tv_sec = 5};
	int fd = load_connect(path);
	ssize_t n;

	if (fd < 0) {
		snprintf(error, error_len, "cannot connect to %s: %s", path,
			 strerror(-fd));
		return -1;
	}
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
