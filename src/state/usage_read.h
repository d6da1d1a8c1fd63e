/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_USAGE_READ_H
#define STILE_STATE_USAGE_READ_H

/*
 * state/usage_read - what an organization used between two hours, by project,
 * key, route or hour.
 *
 * Exactness  rows of usage.db and what is not collected yet, both of the same
 *            instant: without `from` and `to` the units of an organization are
 *            those that were allowed when one asks, as far as rows are kept.
 * Threads    the control thread, on a connection of its own that only reads.
 * Bounds     `max` groups; USAGE_READ_MS of work (-ETIMEDOUT: ask for fewer
 *            hours); the snapshot thread may be waited for as long.
 */
#include "base/id.h"
#include "state/usage.h"

#include <stdbool.h>

struct records;

#define USAGE_READ_MS 2000

enum usage_by { USAGE_BY_PROJECT, USAGE_BY_KEY, USAGE_BY_ROUTE, USAGE_BY_HOUR };

struct usage_query {
	uint32_t org; /* slot */
	struct id org_id;
	enum usage_by by;
	/* Whole hours: the one that `from_ms` is in and those after it that
	 * begin before `to_ms`. */
	int64_t from_ms, to_ms;
	const char *after; /* groups behind this one; NULL: all */
	uint32_t max;
	int64_t now_ms; /* civil time */
};

struct usage_row {
	/* Id of the project or key, name of the route: "" is none, always the
	 * first. Hour: its number since 1970, in 8 digits. In ascending order;
	 * `after` takes the same. */
	const char *group;
	struct id project; /* of the key, by key */
	uint64_t checks, units, returned;
	uint64_t denied[DENIAL_COUNT];
};

/* By project, those that used nothing are there too. Calls `cb` for each row;
 * *ret_more: there are others behind the last. Negative errno and a sentence.
 */
int usage_read(struct usage *u, struct records *records,
	       const struct usage_query *q,
	       void (*cb)(const struct usage_row *row, void *arg), void *arg,
	       bool *ret_more, char *err, size_t err_len);

#endif
