/* SPDX-License-Identifier: MIT */
#include "state/snapshotter.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/log.h"
#include "state/snapshotter_due.h"
#include "state/usage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct snapshotter {
	struct snapshotter_options options;
	struct epoch_reader reader;
	/* the thread's: */
	uint64_t due_ns;          /* the next snapshot; monotonic */
	uint64_t took_ns;         /* the last one */
	int64_t collected_ms;     /* usage; civil time */
	uint64_t collected_ns;    /* the same, monotonic */
	uint64_t collect_took_ns; /* the last one */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* under the mutex: */
	uint64_t asked, done; /* requests, counted */
	bool stop;
	int result; /* of the last one */
	struct snapshot_result last;
};

static int64_t civil_ms(const struct snapshotter *s)
{
	return (int64_t)clock_civil_ms(&s->options.arena->header->civil_ns,
				       clock_ns(CLOCK_BOOTTIME));
}

/* The mutex is not held while the disk is written. */
static void take(struct snapshotter *s, bool clean)
{
	struct snapshot_info info = {0};
	char err[SNAPSHOT_ERROR_MAX] = "";
	char quoted[2 * SNAPSHOT_ERROR_MAX];
	int r = snapshot_write(s->options.arena, clean ? NULL : &s->reader,
			       s->options.dir, clean, &info, err, sizeof(err));

	if (r < 0)
		log_event(LOG_LEVEL_ERROR, "snapshot_failed", "error=%s",
			  log_quote(err, quoted, sizeof(quoted)));
	else if (info.set_aside != 0)
		log_event(LOG_LEVEL_WARN, "snapshot_set_aside",
			  "number=%u reason=%s", info.set_aside,
			  log_quote(err, quoted, sizeof(quoted)));
	pthread_mutex_lock(&s->mutex);
	s->result = r;
	if (r == 0) {
		s->last.taken = true;
		s->last.info = info;
	}
	snprintf(s->last.error, sizeof(s->last.error), "%s", r < 0 ? err : "");
	pthread_mutex_unlock(&s->mutex);
}

static void collect(struct snapshotter *s, bool workers)
{
	if (s->options.usage == NULL)
		return;
	s->collected_ms = civil_ms(s);
	s->collected_ns = clock_ns(CLOCK_MONOTONIC);
	(void)usage_collect(s->options.usage, workers ? &s->reader : NULL,
			    s->collected_ms); /* counts and tells failures */
	s->collect_took_ns = clock_ns(CLOCK_MONOTONIC) - s->collected_ns;
}

/* Nanoseconds until the one and the other. */
static uint64_t collect_in(const struct snapshotter *s)
{
	if (s->options.usage == NULL)
		return UINT64_MAX;
	return due_usage_ns(clock_ns(CLOCK_MONOTONIC) - s->collected_ns,
			    due_usage_interval_ns(s->options.usage_interval_s *
							  DUE_NS_PER_S,
						  s->collect_took_ns),
			    s->collected_ms, civil_ms(s));
}

static uint64_t snapshot_in(const struct snapshotter *s)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	uint64_t left_ns = s->due_ns > now_ns ? s->due_ns - now_ns : 0;

	if (s->options.interval_s == 0)
		return UINT64_MAX;
	return due_snapshot_ns(left_ns,
			       s->options.usage != NULL ? s->took_ns : 0,
			       civil_ms(s));
}

static void snapshot(struct snapshotter *s)
{
	uint64_t began_ns = clock_ns(CLOCK_MONOTONIC), now_ns;

	take(s, false);
	now_ns = clock_ns(CLOCK_MONOTONIC);
	s->took_ns = now_ns - began_ns;
	s->due_ns = now_ns + s->options.interval_s * DUE_NS_PER_S;
}

/* Under the mutex. */
static void rest(struct snapshotter *s)
{
	uint64_t first_ns = collect_in(s), other_ns = snapshot_in(s), at_ns;
	struct timespec at;

	if (other_ns < first_ns)
		first_ns = other_ns;
	if (first_ns == 0)
		return;
	if (first_ns == UINT64_MAX) {
		pthread_cond_wait(&s->changed, &s->mutex);
		return;
	}
	at_ns = clock_ns(CLOCK_MONOTONIC) +
		(first_ns < DUE_LOOK_NS ? first_ns : DUE_LOOK_NS);
	at.tv_sec = (time_t)(at_ns / DUE_NS_PER_S);
	at.tv_nsec = (long)(at_ns % DUE_NS_PER_S);
	(void)pthread_cond_timedwait(&s->changed, &s->mutex, &at);
}

static void *run(void *arg)
{
	struct snapshotter *s = arg;

	pthread_setname_np(pthread_self(), "snapshot");
	pthread_mutex_lock(&s->mutex);
	while (!s->stop) {
		uint64_t asked;

		if (s->asked == s->done)
			rest(s);
		asked = s->asked;
		if (s->stop)
			break;
		pthread_mutex_unlock(&s->mutex);
		if (collect_in(s) == 0)
			collect(s, true);
		if (asked != s->done || snapshot_in(s) == 0)
			snapshot(s);
		pthread_mutex_lock(&s->mutex);
		if (asked != s->done) {
			s->done = asked;
			pthread_cond_broadcast(&s->changed);
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

int snapshotter_start(struct snapshotter **ret_s,
		      const struct snapshotter_options *o)
{
	struct snapshotter *s = aligned_alloc(
		64, (sizeof(*s) + 63) / 64 * 64); /* ck aligns its records */
	pthread_condattr_t attr;
	int r;

	if (s == NULL)
		return -ENOMEM;
	*s = (struct snapshotter){.options = *o};
	s->collected_ms = civil_ms(s);
	s->collected_ns = clock_ns(CLOCK_MONOTONIC);
	s->due_ns = s->collected_ns + o->interval_s * DUE_NS_PER_S;
	epoch_register(o->epoch, &s->reader);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	r = -pthread_create(&s->thread, NULL, run, s);
	if (r < 0) {
		pthread_cond_destroy(&s->changed);
		pthread_mutex_destroy(&s->mutex);
		/* The epoch keeps the reader in its list: not freed. */
		return r;
	}
	*ret_s = s;
	return 0;
}

int snapshotter_now(struct snapshotter *s, struct snapshot_info *ret_info,
		    char *err, size_t err_len)
{
	uint64_t mine;
	int r;

	pthread_mutex_lock(&s->mutex);
	mine = ++s->asked;
	pthread_cond_broadcast(&s->changed);
	while (s->done < mine)
		pthread_cond_wait(&s->changed, &s->mutex);
	r = s->result;
	*ret_info = s->last.info;
	snprintf(err, err_len, "%s", s->last.error);
	pthread_mutex_unlock(&s->mutex);
	return r;
}

void snapshotter_last(struct snapshotter *s, struct snapshot_result *ret_last)
{
	pthread_mutex_lock(&s->mutex);
	*ret_last = s->last;
	pthread_mutex_unlock(&s->mutex);
}

int snapshotter_stop(struct snapshotter *s, char *err, size_t err_len)
{
	int r;

	pthread_mutex_lock(&s->mutex);
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
	pthread_join(s->thread, NULL);
	collect(s, false);
	take(s, true);
	r = s->result;
	snprintf(err, err_len, "%s", s->last.error);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->mutex);
	/* The epoch keeps the reader in its list: not freed. */
	return r;
}
