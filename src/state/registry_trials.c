/* SPDX-License-Identifier: MIT */
/*
 * The trials that routes give. Their pools are there before anybody asks, so
 * that the first check on such a route is paid like any other: in one step,
 * with nothing to be made on the way.
 */
#include "gate/routes.h"
#include "state/registry_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Open pools with which an organization is given no more trials: the rest is
 * for what somebody grants. */
#define TRIAL_POOLS_ROOM (CREDIT_POOLS_MAX - 4)

int registry_trials_insert(struct registry *g, uint32_t org,
			   unsigned *ret_count)
{
	const struct routes *routes = g->options.routes;
	int64_t now_ms = registry_now_ms(g);
	unsigned count;
	int r = 0;

	*ret_count = 0;
	for (uint32_t i = 0; routes && i < routes->count && r == 0; i++) {
		const struct route *route = &routes->routes[i];

		if (route->trial == 0)
			continue;
		r = records_trial_insert(g->records, org, route->name,
					 route->trial, TRIAL_POOLS_ROOM, now_ms,
					 &count);
		if (r == 0)
			*ret_count += count;
	}
	return registry_from_records(g, r, "pool");
}

static int insert_all(struct registry *g, unsigned *ret_count)
{
	int r = registry_begin(g, "credits");

	if (r != 0)
		return r;
	r = registry_trials_insert(g, 0, ret_count);
	if (r == 0)
		return registry_commit(g, "credits");
	records_rollback(g->records);
	return r;
}

int registry_trials_load(struct registry *g, char *err, size_t err_len)
{
	unsigned count = 0;
	int r = insert_all(g, &count);

	if (r == 0 && count > 0)
		r = registry_credits_load(g);
	if (r == 0)
		return 0;
	r = r < 0 ? r : -EIO;
	snprintf(err, err_len, "the trials of routes: %s%s",
		 r == -EIO ? records_error(g->records) : strerror(-r),
		 r == -ENOSPC ? " (raise ring_bytes or the size of the "
				"arena's tmpfs)"
			      : "");
	return r;
}
