/* SPDX-License-Identifier: MIT */
#include "snapshots.h"

#include "api.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_LEN 512

struct snapshots {
	struct api api;
	pthread_t thread;
	_Atomic(bool) stop;
	struct snapshots_result result;
	bool failed;
	char error[ERROR_LEN];
};

static uint64_t number(const json_t *answer, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(answer, name));
}

static bool take(struct snapshots *s)
{
	json_t *answer = api_call(&s->api, "/v1/snapshot", "{}");

	if (!answer)
		return false;
	s->result.bytes = number(answer, "bytes");
	s->result.orgs = number(answer, "orgs");
	s->result.writing_s += (double)number(answer, "duration_ms") / 1e3;
	s->result.count++;
	json_decref(answer);
	return true;
}

static void *snapshots_main(void *arg)
{
	struct snapshots *s = arg;
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);

	/* PAIRS: snapshots_stop(), relaxed: it guards nothing. */
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed) &&
	       !s->failed)
		s->failed = !take(s);
	s->result.elapsed_s =
		(double)(clock_ns(CLOCK_MONOTONIC) - begin_ns) / 1e9;
	return NULL;
}

struct snapshots *snapshots_start(const struct daemon_server *d, char *error,
				  size_t error_len)
{
	struct snapshots *s = calloc(1, sizeof(*s));

	if (!s) {
		snprintf(error, error_len, "out of memory");
		return NULL;
	}
	if (api_open(&s->api, d->admin_path, s->error, ERROR_LEN) == 0 &&
	    take(s)) {
		memset(&s->result, 0, sizeof(s->result));
		if (pthread_create(&s->thread, NULL, snapshots_main, s) == 0)
			return s;
		snprintf(s->error, ERROR_LEN, "no thread for snapshots");
	}
	snprintf(error, error_len, "%s", s->error);
	api_close(&s->api);
	free(s);
	return NULL;
}

int snapshots_stop(struct snapshots *s, struct snapshots_result *ret_result,
		   char *error, size_t error_len)
{
	int r = 0;

	/* PAIRS: snapshots_main(), relaxed: it guards nothing. */
	atomic_store_explicit(&s->stop, true, memory_order_relaxed);
	pthread_join(s->thread, NULL);
	*ret_result = s->result;
	if (s->failed) {
		snprintf(error, error_len, "%s", s->error);
		r = -1;
	}
	api_close(&s->api);
	free(s);
	return r;
}
