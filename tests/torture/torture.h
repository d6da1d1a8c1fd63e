/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_TORTURE_H
#define STILE_TESTS_TORTURE_H

/*
 * tests/torture/torture - what these programs share: threads that start
 * together, may be stopped at any instruction for a while, and a clock that
 * ends a run which hangs.
 *
 * A failed check() stops the program with a status that is not zero.
 */
#include "../random.h"
#include "base/check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define TORTURE_THREADS_MAX 16
#define TORTURE_HANGS_S 120u
#define SKIPPED 77

struct torture_thread {
	pthread_t thread;
	unsigned idx;
	struct rng rng;
	void (*run)(struct torture_thread *);
	atomic_bool ended;
};

struct torture {
	unsigned count;
	struct torture_thread threads[TORTURE_THREADS_MAX];
	pthread_barrier_t start;
};

static struct torture torture;

/* The handler's: for how long, or until a byte comes. */
static _Atomic(uint32_t) torture_stop_us;
static int torture_frozen_fds[2];
static atomic_bool torture_frozen;

/* $STILE_SOAK: that many times the usual work; 0: it is not set, or empty. */
static inline uint64_t torture_soak(void)
{
	const char *soak = getenv("STILE_SOAK");

	return soak != NULL ? strtoull(soak, NULL, 0) : 0;
}

static inline uint64_t torture_work(uint64_t usual)
{
	uint64_t times = torture_soak();

	return times > 0 ? usual * times : usual;
}

static void torture_stop_handler(int sig)
{
	int saved = errno;
	struct timespec ts = {0};
	char byte;

	(void)sig;
	/* PAIRS: nothing. A number that guards nothing. */
	ts.tv_nsec = 1000L * (long)atomic_load_explicit(&torture_stop_us,
							memory_order_relaxed);
	if (ts.tv_nsec != 0) {
		nanosleep(&ts, NULL);
	} else {
		/* PAIRS: torture_freeze(), acquire; it guards nothing. */
		atomic_store_explicit(&torture_frozen, true,
				      memory_order_release);
		while (read(torture_frozen_fds[0], &byte, 1) < 0 &&
		       errno == EINTR)
			;
	}
	errno = saved;
}

static inline void torture_setup(void)
{
	struct sigaction sa;

	if (torture_soak() == 0)
		alarm(TORTURE_HANGS_S); /* SIGALRM ends the program */
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = torture_stop_handler;
	check(sigaction(SIGUSR1, &sa, NULL) == 0);
	check(pipe(torture_frozen_fds) == 0);
}

static void *torture_thread_main(void *arg)
{
	struct torture_thread *t = arg;

	pthread_barrier_wait(&torture.start);
	t->run(t);
	/* PAIRS: torture_running(), acquire; it guards nothing. */
	atomic_store_explicit(&t->ended, true, memory_order_release);
	return NULL;
}

/* Adds a thread; all run from torture_go() on. */
static inline struct torture_thread *
torture_add(void (*run)(struct torture_thread *), uint64_t seed)
{
	struct torture_thread *t = &torture.threads[torture.count];

	check(torture.count < TORTURE_THREADS_MAX);
	memset(t, 0, sizeof(*t));
	t->idx = torture.count++;
	t->rng.state = seed ^ (uint64_t)(t->idx + 1) << 56;
	t->run = run;
	return t;
}

static inline void torture_go(void)
{
	unsigned i;

	check(pthread_barrier_init(&torture.start, NULL, torture.count + 1) ==
	      0);
	for (i = 0; i < torture.count; i++)
		check(pthread_create(&torture.threads[i].thread, NULL,
				     torture_thread_main,
				     &torture.threads[i]) == 0);
	pthread_barrier_wait(&torture.start);
}

static inline bool torture_running(void)
{
	unsigned i;

	for (i = 0; i < torture.count; i++)
		if (!atomic_load_explicit(&torture.threads[i].ended,
					  memory_order_acquire))
			return true;
	return false;
}

/* Joins all; another set may be added then. */
static inline void torture_end(void)
{
	unsigned i;

	for (i = 0; i < torture.count; i++)
		check(pthread_join(torture.threads[i].thread, NULL) == 0);
	pthread_barrier_destroy(&torture.start);
	torture.count = 0;
}

/* Stops a thread wherever it is, for some microseconds: as if preempted. */
static inline void torture_stop(unsigned idx, uint32_t us)
{
	atomic_store_explicit(&torture_stop_us, us, memory_order_relaxed);
	pthread_kill(torture.threads[idx].thread, SIGUSR1);
}

static inline void torture_pause_us(uint32_t us)
{
	struct timespec ts = {.tv_nsec = 1000L * (long)us};

	nanosleep(&ts, NULL);
}

/* Until all threads have ended: stops one after the other at random. */
static inline void torture_harass(struct rng *rng)
{
	while (torture_running()) {
		torture_stop(rng_below(rng, torture.count),
			     1 + rng_below(rng, 300));
		torture_pause_us(1 + rng_below(rng, 400));
	}
}

/* Stops a thread until torture_thaw(). False: it ended first. */
static inline bool torture_freeze(unsigned idx)
{
	atomic_store_explicit(&torture_frozen, false, memory_order_relaxed);
	torture_stop(idx, 0);
	while (!atomic_load_explicit(&torture_frozen, memory_order_acquire)) {
		if (atomic_load_explicit(&torture.threads[idx].ended,
					 memory_order_acquire))
			return false;
		torture_pause_us(20);
	}
	return true;
}

static inline void torture_thaw(void)
{
	check(write(torture_frozen_fds[1], "", 1) == 1);
}

#endif
