/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include "base/check.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int worker_setup(struct worker *w, char *err, size_t err_len)
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

void worker_teardown(struct worker *w)
{
	ring_teardown(&w->ring);
	conns_deinit(&w->conns);
}

void worker_free(struct worker *w)
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

/* Worker N stays on the N-th of the CPUs that the process may use. */
static int pin(uint32_t idx, char *err, size_t err_len)
{
	cpu_set_t all, one;
	uint32_t left = idx;
	size_t cpu;
	int r;

	CPU_ZERO(&all);
	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		goto out_errno;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && left-- == 0)
			break;
	if (cpu == CPU_SETSIZE) {
		snprintf(err, err_len,
			 "pin: there is no CPU for worker %u: lower workers, "
			 "or turn pin off",
			 idx);
		return -EINVAL;
	}
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) == 0)
		return 0;
out_errno:
	r = -errno;
	snprintf(err, err_len, "pin: worker %u cannot be kept on a CPU: %s",
		 idx, strerror(-r));
	return r;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct workers *t = w->team;
	char name[16], err[256] = "";
	int r = 0;

	snprintf(name, sizeof(name), "worker-%u", w->idx);
	pthread_setname_np(pthread_self(), name);
	if (w->options->pin)
		r = pin(w->idx, err, sizeof(err));
	if (r == 0)
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

	worker_serve(w);
	worker_teardown(w);
	report(t, &t->ended, 0, "");
	return NULL;
}

struct worker *worker_new(struct workers *t, uint32_t idx)
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
	if (t->shared->options.gate.routes != NULL) {
		struct gate_options gate = t->shared->options.gate;

		gate.workers = t->count;
		gate_configure(&w->gate, &gate);
	}
	/* Blocking ones are written by a thread of the kernel's. */
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
	pthread_condattr_t attr;
	uint32_t i, running = 0;
	int r = -ENOMEM;

	check(shared->options.count >= 1 &&
	      shared->options.count <= WORKERS_MAX);
	if (t == NULL)
		return r;
	t->shared = shared;
	t->count = shared->options.count;
	pthread_mutex_init(&t->mutex, NULL);
	/* A drain takes as long as it was given, wherever the wall clock goes
	 * meanwhile. */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attr);
	pthread_condattr_destroy(&attr);
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

	/* PAIRS: worker_order(), relaxed: guards nothing; the write below wakes
	 * every worker after it. */
	atomic_store_explicit(&t->order, order, memory_order_relaxed);
	for (i = 0; i < t->count; i++)
		while (write(t->workers[i]->wake_fd, &one, sizeof(one)) < 0 &&
		       errno == EINTR) {
		}
}

void workers_drain(struct workers *t)
{
	uint32_t i;

	/* Nobody connects any more; who has waits to be accepted. */
	for (i = 0; i < PROTOCOLS; i++)
		if (t->shared->options.listeners[i].fd >= 0)
			shutdown(t->shared->options.listeners[i].fd, SHUT_RD);
	set_order(t, ORDER_DRAIN);
}

static bool all_ended(struct workers *t, unsigned timeout_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
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
