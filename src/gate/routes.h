/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_ROUTES_H
#define STILE_GATE_ROUTES_H

/*
 * gate/routes - what the configuration says about routes: price, scope,
 * trial.
 *
 * Threads    filled before workers run, read by all.
 * Numbers    a declared route has its place + 1; any other label is
 *            ROUTE_OTHER, none at all ROUTE_NONE.
 */
#include "wire/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTES_MAX 250
#define ROUTE_NONE 0
#define ROUTE_OTHER (ROUTES_MAX + 1)
#define ROUTE_TRIAL_MAX 1000000000

struct route {
	uint64_t hash;       /* label_hash() of the name */
	uint64_t scope_hash; /* a key needs this scope; 0: none */
	uint32_t price;      /* units, 1..CHECK_COST_MAX */
	/* Credits, 0..ROUTE_TRIAL_MAX; routes_add() leaves them 0. */
	uint32_t trial;
	char name[LABEL_MAX + 1];
	char scope[LABEL_MAX + 1]; /* "": none */
};

struct routes {
	uint32_t count;
	struct route routes[ROUTES_MAX];
	uint8_t index[1024]; /* by hash: place + 1; linear probing */
};

/* False: there is one of this name, or ROUTES_MAX are there. */
bool routes_add(struct routes *r, const char *name, uint32_t price,
		const char *scope);

/* The number of a label by its hash. */
static inline uint32_t routes_find(const struct routes *r, uint64_t hash)
{
	size_t at = hash % sizeof(r->index);

	if (hash == 0)
		return ROUTE_NONE;
	for (; r->index[at] != 0; at = (at + 1) % sizeof(r->index))
		if (r->routes[r->index[at] - 1].hash == hash)
			return r->index[at];
	return ROUTE_OTHER;
}

/* NULL: not declared. */
static inline const struct route *routes_at(const struct routes *r,
					    uint32_t number)
{
	return number != ROUTE_NONE && number <= r->count
		       ? &r->routes[number - 1]
		       : NULL;
}

#endif
