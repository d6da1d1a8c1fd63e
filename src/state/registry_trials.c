/* SPDX-License-Identifier: MIT */
/*
 * The trials that routes give. Their pools are there before anybody asks, so
 * that the first check on such a route is paid like any other: in one step,
 * with nothing to be made on the way. Whoever looks is told that they are
 * available, not that they were granted, until a check has drawn from them.
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

/* ---- granted by use ---- */

/* Organizations with such trials that one step looks at, and trials that it
 * grants, in one commit. */
#define TRIALS_LOOKS 16384u
#define TRIALS_BATCH 256u

static_assert(CREDIT_POOLS_MAX <= 16, "bits of untried");

struct used_trial {
	uint32_t org, pool;
	unsigned place;
};

void registry_trials_watch(struct registry *g, uint32_t org,
			   const struct pool_record *pools, unsigned count)
{
	uint16_t bits = 0;

	for (unsigned i = 0; i < count; i++)
		if (pools[i].granted_ms == 0)
			bits |= (uint16_t)(1u << i);
	g->untried[org] = bits;
}

#define ROUTE_ESCAPED_BYTES (6 * ROUTE_MAX_BYTES + 1)
static_assert(ROUTE_ESCAPED_BYTES + 100 < EVENT_BODY_BYTES, "fits the body");

/* As a text of JSON holds it. */
static void escape(const char *text, char out[static ROUTE_ESCAPED_BYTES])
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\' || c < ' ')
			out += snprintf(out, 7, "\\u%04x", c);
		else
			*out++ = (char)c;
	}
	*out = '\0';
}

int registry_trial_grant(struct registry *g, const struct pool_record *rec)
{
	const char *org_id = g->arena->orgs[rec->org].id.c;
	struct event_record e = {.kind = "credits.trial", .org = rec->org};
	char route[ROUTE_ESCAPED_BYTES];
	int r = records_pool_granted(g->records, rec->id, registry_now_ms(g));

	if (r == RECORDS_ABSENT) /* it was before */
		return 0;
	r = registry_from_records(g, r, "pool");
	if (r == 0)
		r = registry_ledger_write(g, rec->org, rec->id,
					  (int64_t)rec->granted, "trial");
	if (r != 0)
		return r;
	escape(rec->route, route);
	snprintf(e.body, sizeof(e.body),
		 "{\"org\":\"%.8s\",\"pool\":%u,\"route\":\"%s\","
		 "\"amount\":%" PRIu64 "}",
		 org_id, rec->id, route, rec->granted);
	snprintf(e.once, sizeof(e.once), "trial:%.8s:%u", org_id, rec->id);
	r = registry_event_raise(g, &e);
	return r == REGISTRY_EXISTS ? 0 : r;
}

/* The organization's trials that were used and are not granted yet, `room` at
 * most; how many. */
static unsigned used_trials(struct registry *g, uint32_t org,
			    struct used_trial *ret, unsigned room)
{
	uint64_t block = claim_load(&g->arena->orgs[org].credits);
	const struct credits *c = block != 0 ? apply_block(g, block) : NULL;
	unsigned count = 0;

	for (unsigned i = 0; c != NULL && i < c->count && count < room; i++)
		if (g->untried[org] & 1u << i &&
		    claim_load(&c->pools[i].used) > 0)
			ret[count++] =
				(struct used_trial){org, c->pools[i].id, i};
	return count;
}

static int grant_used(struct registry *g, const struct used_trial *used,
		      unsigned count)
{
	struct pool_record rec;
	int r = 0;

	for (unsigned i = 0; i < count && r == 0; i++) {
		r = registry_from_records(
			g, records_pool_get(g->records, used[i].pool, &rec),
			"pool");
		if (r == 0)
			r = registry_trial_grant(g, &rec);
	}
	return r;
}

int registry_trials_note(struct registry *g, uint32_t org)
{
	struct used_trial used[CREDIT_POOLS_MAX];

	return grant_used(g, used, used_trials(g, org, used, CREDIT_POOLS_MAX));
}

/* Goes on where the last step ended. */
static unsigned find_used(struct registry *g, struct used_trial *ret)
{
	uint32_t slots = slots_read(&g->arena->header->org_slots);
	unsigned count = 0, looks = 0;

	for (uint32_t seen = 0; seen < slots; seen++) {
		uint32_t org = g->untried_cursor;

		if (org >= slots)
			org = 0;
		if (g->untried[org] != 0) {
			if (looks++ == TRIALS_LOOKS ||
			    count > TRIALS_BATCH - CREDIT_POOLS_MAX)
				break;
			count += used_trials(g, org, ret + count,
					     CREDIT_POOLS_MAX);
		}
		g->untried_cursor = org + 1;
	}
	return count;
}

bool registry_trials_step(struct registry *g)
{
	struct used_trial used[TRIALS_BATCH];
	unsigned count = find_used(g, used);
	int r;

	if (count == 0 || registry_begin(g, "credits") != 0)
		return false;
	r = grant_used(g, used, count);
	if (r != 0)
		records_rollback(g->records);
	else
		r = registry_commit(g, "credits");
	/* The disk: they are found again. */
	if (r != 0)
		return false;
	for (unsigned i = 0; i < count; i++)
		g->untried[used[i].org] &= (uint16_t) ~(1u << used[i].place);
	return count > TRIALS_BATCH - CREDIT_POOLS_MAX;
}

/* ---- start ---- */

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
