/* SPDX-License-Identifier: MIT */
#include "core_run.h"

#include "base/check.h"
#include "base/clock.h"
#include "clocks.h"
#include "process.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One thread's; read by the caller when it has been joined. */
struct runner {
	struct core_thread core;
	const struct core_run_options *options;
	pthread_barrier_t *begin;
	pthread_t thread;
	int cpu; /* -1 = any */
	bool fine;
	uint64_t operations, cpu_ns, elapsed_ns;
} LINE_ALIGNED;

static bool run_for(struct runner *r, uint64_t duration_ns)
{
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC), now_ns;
	uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	bool fine = true;

	r->operations = 0;
	do {
		fine = r->core.stage->chunk(&r->core);
		r->operations += CORE_CHUNK;
		now_ns = clock_ns(CLOCK_MONOTONIC);
	} while (fine && now_ns - begin_ns < duration_ns);
	r->elapsed_ns = now_ns - begin_ns;
	r->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	return fine;
}

static void *runner_main(void *arg)
{
	struct runner *r = arg;

	if (r->cpu >= 0)
		process_pin_self(r->cpu);
	r->fine = run_for(r, r->options->warmup_ns);
	pthread_barrier_wait(r->begin);
	r->fine = r->fine && run_for(r, r->options->measure_ns);
	return NULL;
}

/* The CPU of a thread; they go round when there are more threads. */
static int cpu_of(uint32_t idx)
{
	cpu_set_t set;
	uint32_t count;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -1;
	count = (uint32_t)CPU_COUNT(&set);
	idx %= count > 0 ? count : 1;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET((size_t)i, &set) && idx-- == 0)
			return i;
	return -1;
}

static int add_up(const struct runner *runners, const char *stage,
		  uint32_t count, struct core_run_result *ret, char *error,
		  size_t error_len)
{
	uint64_t operations = 0, cpu_ns = 0;
	double rate = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct runner *r = &runners[i];

		if (!r->fine) {
			snprintf(error, error_len,
				 "%s: a wrong result on thread %u of %u", stage,
				 (unsigned)i + 1, (unsigned)count);
			return -1;
		}
		if (r->cpu_ns == 0 || r->elapsed_ns == 0) {
			snprintf(error, error_len,
				 "%s: %lu operations in no time; measure for "
				 "longer",
				 stage, (unsigned long)r->operations);
			return -1;
		}
		operations += r->operations;
		cpu_ns += r->cpu_ns;
		rate += (double)r->operations * 1e9 / (double)r->elapsed_ns;
	}
	ret->ns = (double)cpu_ns / (double)operations;
	ret->rate = rate;
	return 0;
}

int core_run(struct core_world *w, const struct core_stage *stage,
	     const struct core_run_options *o, struct core_run_result *ret,
	     char *error, size_t error_len)
{
	struct runner *runners =
		aligned_alloc(LINE_BYTES, o->threads * sizeof(*runners));
	struct clocks before = clocks_read(), after;
	pthread_barrier_t begin;
	const char *why;
	uint32_t started = 0;
	int r = 0;

	check(o->threads > 0 && o->threads <= WORKERS_MAX);
	if (!runners || pthread_barrier_init(&begin, NULL, o->threads) != 0) {
		free(runners);
		snprintf(error, error_len, "out of memory");
		return -1;
	}
	memset(runners, 0, o->threads * sizeof(*runners));
	for (uint32_t i = 0; i < o->threads; i++) {
		struct runner *t = &runners[i];

		core_thread_init(&t->core, w, stage, i, o->threads);
		t->options = o;
		t->begin = &begin;
		t->cpu = o->pin ? cpu_of(i) : -1;
		/* The others wait for it at the barrier: no way back. */
		check(pthread_create(&t->thread, NULL, runner_main, t) == 0);
		started++;
	}
	for (uint32_t i = 0; i < started; i++)
		pthread_join(runners[i].thread, NULL);
	after = clocks_read();
	why = clocks_disagree(&before, &after);
	if (why) {
		snprintf(error, error_len, "%s", why);
		r = -1;
	} else {
		r = add_up(runners, stage->name, o->threads, ret, error,
			   error_len);
	}
	pthread_barrier_destroy(&begin);
	free(runners);
	return r;
}
