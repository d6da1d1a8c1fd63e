/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_ACCESS_H
#define STILE_GATE_ACCESS_H

/*
 * gate/access - what a key may be used for: scopes, routes, networks.
 *
 * Rules      a list that is empty restricts nothing. A key with scopes needs
 *            the one that the proxy or the route asks for; when none is asked
 *            for it passes. A key with routes or networks passes only where the
 *            check names one of them: no route, no address: denied.
 * Threads    workers, inside an epoch section; blocks are immutable.
 */
#include "gate/layout.h"
#include "wire/check.h"

/* REASON_ALLOW, REASON_SCOPE, REASON_ROUTE or REASON_NETWORK. `extra` may be
 * NULL; scope_hash 0: none is needed. */
enum reason access_allows(const struct access *access,
			  const struct check_extra *extra, uint64_t scope_hash);

static inline struct network *access_networks(const struct access *a)
{
	return (struct network *)(uintptr_t)(a->data + a->scopes + a->routes);
}

#endif
