/* SPDX-License-Identifier: MIT */
#include "gate/routes.h"

#include "base/label.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct routes routes;

static uint64_t hash_of(const char *name)
{
	return label_hash(name, strlen(name));
}

Test(routes, declared_ones_are_found_by_their_hash)
{
	const struct route *r;
	uint32_t number;

	cr_assert(routes_add(&routes, "chat", 5, "write"));
	cr_assert(routes_add(&routes, "list", 1, ""));
	number = routes_find(&routes, hash_of("chat"));
	cr_assert_eq(number, 1);
	r = routes_at(&routes, number);
	cr_assert_str_eq(r->name, "chat");
	cr_assert_str_eq(r->scope, "write");
	cr_assert_eq(r->price, 5);
	cr_assert_eq(r->scope_hash, hash_of("write"));
	r = routes_at(&routes, routes_find(&routes, hash_of("list")));
	cr_assert_str_eq(r->name, "list");
	cr_assert_eq(r->scope_hash, 0);
}

Test(routes, others_are_other_and_none_is_none)
{
	routes_add(&routes, "chat", 5, "");
	cr_assert_eq(routes_find(&routes, 0), ROUTE_NONE);
	cr_assert_eq(routes_find(&routes, hash_of("chats")), ROUTE_OTHER);
	cr_assert_null(routes_at(&routes, ROUTE_NONE));
	cr_assert_null(routes_at(&routes, ROUTE_OTHER));
	cr_assert_null(routes_at(&routes, 2));
}

Test(routes, name_is_declared_once)
{
	cr_assert(routes_add(&routes, "chat", 5, ""));
	cr_assert_not(routes_add(&routes, "chat", 6, ""));
	cr_assert_eq(routes.count, 1);
	cr_assert_eq(routes.routes[0].price, 5);
}

Test(routes, as_many_as_there_is_room_for_and_no_more)
{
	char name[LABEL_MAX + 1];
	unsigned i;

	for (i = 0; i < ROUTES_MAX; i++) {
		snprintf(name, sizeof(name), "route-%u", i);
		cr_assert(routes_add(&routes, name, i + 1, ""));
	}
	cr_assert_not(routes_add(&routes, "one more", 1, ""));
	for (i = 0; i < ROUTES_MAX; i++) {
		snprintf(name, sizeof(name), "route-%u", i);
		cr_assert_eq(routes_find(&routes, hash_of(name)), i + 1);
		cr_assert_eq(routes.routes[i].price, i + 1);
	}
	cr_assert_eq(routes_find(&routes, hash_of("one more")), ROUTE_OTHER);
}

Test(routes, longest_name_is_kept_whole)
{
	char name[LABEL_MAX + 1];

	memset(name, 'x', LABEL_MAX);
	name[LABEL_MAX] = '\0';
	cr_assert(routes_add(&routes, name, 1, name));
	cr_assert_str_eq(routes.routes[0].name, name);
	cr_assert_str_eq(routes.routes[0].scope, name);
}
