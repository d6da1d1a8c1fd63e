/* SPDX-License-Identifier: MIT */
#include "state/snapshotter.h"

#include "base/epoch.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct snapshotter {
	struct arena *arena;
	const char *dir;
	uint32_t interval_s;
	struct epoch_reader reader;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* under the mutex: */
	uint64_t asked, done; /* requests, counted */
	bool stop;
	int result; /* of the last one */
	struct snapshot_result last;
};

/* The mutex is not held while the disk is written. */
static void take(struct snapshotter *s, bool clean)
{
	struct snapshot_info info = {0};
	char err[SNAPSHOT_ERROR_MAX] = "";
	char quoted[2 * SNAPSHOT_ERROR_MAX];
	int r = snapshot_write(s->arena, clean ? NULL : &s->reader, s->dir,
			       clean, &info, err, sizeof(err));

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

static void *run(void *arg)
{
	struct snapshotter *s = arg;
	struct timespec due;

	pthread_setname_np(pthread_self(), "snapshot");
	clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_sec += s->interval_s;
	pthread_mutex_lock(&s->mutex);
	while (!s->stop) {
		uint64_t asked = s->asked;
		int r = 0;

		if (asked == s->done)
			r = s->interval_s == 0
				    ? pthread_cond_wait(&s->changed, &s->mutex)
				    : pthread_cond_timedwait(&s->changed,
							     &s->mutex, &due);
		if (s->stop || (s->asked == s->done && r != ETIMEDOUT))
			continue;
		asked = s->asked;
		pthread_mutex_unlock(&s->mutex);
		take(s, false);
		clock_gettime(CLOCK_MONOTONIC, &due);
		due.tv_sec += s->interval_s;
		pthread_mutex_lock(&s->mutex);
		s->done = asked;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

int snapshotter_start(struct snapshotter **ret_s, struct arena *a,
		      struct epoch *epoch, const char *dir, uint32_t interval_s)
{
	struct snapshotter *s = aligned_alloc(
		64, (sizeof(*s) + 63) / 64 * 64); /* ck aligns its records */
	pthread_condattr_t attr;
	int r;

	if (s == NULL)
		return -ENOMEM;
	*s = (struct snapshotter){
		.arena = a, .dir = dir, .interval_s = interval_s};
	epoch_register(epoch, &s->reader);
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
	take(s, true);
	r = s->result;
	snprintf(err, err_len, "%s", s->last.error);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->mutex);
	/* The epoch keeps the reader in its list: not freed. */
	return r;
}
