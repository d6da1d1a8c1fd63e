/* SPDX-License-Identifier: MIT */
#include "gate/routes.h"

#include "base/label.h"

#include <string.h>

static void copy(char out[static LABEL_MAX + 1], const char *text)
{
	size_t len = strnlen(text, LABEL_MAX);

	memcpy(out, text, len);
	out[len] = '\0';
}

bool routes_add(struct routes *r, const char *name, uint32_t price,
		const char *scope)
{
	uint64_t hash = label_hash(name, strlen(name));
	struct route *route = &r->routes[r->count];
	size_t at = hash % sizeof(r->index);

	if (r->count == ROUTES_MAX || routes_find(r, hash) != ROUTE_OTHER)
		return false;
	while (r->index[at] != 0)
		at = (at + 1) % sizeof(r->index);
	route->hash = hash;
	route->price = price;
	route->scope_hash = scope[0] ? label_hash(scope, strlen(scope)) : 0;
	copy(route->name, name);
	copy(route->scope, scope);
	r->index[at] = (uint8_t)++r->count;
	return true;
}
