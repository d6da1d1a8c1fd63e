/* SPDX-License-Identifier: MIT */
#include "gate/access.h"

#include <string.h>

static bool listed(const uint64_t *hashes, uint32_t count, uint64_t hash)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (hashes[i] == hash)
			return true;
	return false;
}

static bool within(const struct network *n, const uint8_t address[static 16])
{
	size_t whole = n->bits / 8;
	unsigned rest = n->bits % 8;

	if (memcmp(n->address, address, whole) != 0)
		return false;
	return rest == 0 ||
	       ((n->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

static bool near(const struct access *a, const struct check_extra *extra)
{
	const struct network *n = access_networks(a);
	uint32_t i;

	for (i = 0; i < a->networks; i++)
		if (within(&n[i], extra->address))
			return true;
	return false;
}

enum reason access_allows(const struct access *a,
			  const struct check_extra *extra, uint64_t scope_hash)
{
	if (a->scopes != 0 && scope_hash != 0 &&
	    !listed(a->data, a->scopes, scope_hash))
		return REASON_SCOPE;
	if (a->routes != 0 &&
	    (extra == NULL || extra->route_hash == 0 ||
	     !listed(a->data + a->scopes, a->routes, extra->route_hash)))
		return REASON_ROUTE;
	if (a->networks != 0 &&
	    (extra == NULL || !extra->has_address || !near(a, extra)))
		return REASON_NETWORK;
	return REASON_ALLOW;
}
