/* SPDX-License-Identifier: MIT */
#include "gate/access.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A block with these numbers; hashes are 1, 2, ... of each kind. */
static struct access *block(uint32_t scopes, uint32_t routes, uint32_t networks)
{
	struct access *a =
		calloc(1, sizeof(*a) + (scopes + routes) * sizeof(a->data[0]) +
				  networks * sizeof(struct network));
	uint32_t i;

	cr_assert_not_null(a);
	a->scopes = scopes;
	a->routes = routes;
	a->networks = networks;
	for (i = 0; i < scopes; i++)
		a->data[i] = 100 + i;
	for (i = 0; i < routes; i++)
		a->data[scopes + i] = 200 + i;
	return a;
}

static void set_network(struct network *n, const uint8_t address[static 16],
			uint64_t bits)
{
	memcpy(n->address, address, 16);
	n->bits = bits;
}

Test(access, empty_lists_restrict_nothing)
{
	struct access *a = block(0, 0, 0);
	struct check_extra extra = {.route_hash = 5};

	cr_assert_eq(access_allows(a, NULL, 0), REASON_ALLOW);
	cr_assert_eq(access_allows(a, &extra, 7), REASON_ALLOW);
	free(a);
}

Test(access, scope_is_needed_only_when_asked_for)
{
	struct access *a = block(3, 0, 0);

	cr_assert_eq(access_allows(a, NULL, 0), REASON_ALLOW);
	cr_assert_eq(access_allows(a, NULL, 100), REASON_ALLOW);
	cr_assert_eq(access_allows(a, NULL, 102), REASON_ALLOW);
	cr_assert_eq(access_allows(a, NULL, 103), REASON_SCOPE);
	cr_assert_eq(access_allows(a, NULL, 200), REASON_SCOPE);
	free(a);
}

Test(access, route_must_be_one_of_those_listed)
{
	struct access *a = block(2, 3, 0);
	struct check_extra extra = {.route_hash = 200};

	cr_assert_eq(access_allows(a, &extra, 0), REASON_ALLOW);
	extra.route_hash = 202;
	cr_assert_eq(access_allows(a, &extra, 101), REASON_ALLOW);
	extra.route_hash = 203;
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ROUTE);
	extra.route_hash = 100;
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ROUTE, "a scope's");
	extra.route_hash = 0;
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ROUTE);
	cr_assert_eq(access_allows(a, NULL, 0), REASON_ROUTE);
	cr_assert_eq(access_allows(a, NULL, 999), REASON_SCOPE, "scope first");
	free(a);
}

static enum reason from(const struct access *a,
			const uint8_t address[static 16])
{
	struct check_extra extra = {.has_address = true};

	memcpy(extra.address, address, 16);
	return access_allows(a, &extra, 0);
}

Test(access, network_of_every_length_ends_at_its_bit)
{
	uint8_t base[16], near[16];
	struct access *a = block(0, 0, 1);
	unsigned bits, i;

	for (i = 0; i < 16; i++)
		base[i] = (uint8_t)(37 * i + 11);
	for (bits = 0; bits <= 128; bits++) {
		set_network(access_networks(a), base, bits);
		cr_assert_eq(from(a, base), REASON_ALLOW, "/%u", bits);
		for (i = 0; i < 128; i++) {
			memcpy(near, base, 16);
			near[i / 8] ^= (uint8_t)(0x80u >> i % 8);
			cr_assert_eq(from(a, near),
				     i < bits ? REASON_NETWORK : REASON_ALLOW,
				     "/%u, bit %u", bits, i);
		}
	}
	free(a);
}

Test(access, ipv4_networks_are_mapped_ones)
{
	const uint8_t net[16] = {[10] = 0xff, 0xff, 10, 1, 0, 0};
	const uint8_t host[16] = {[10] = 0xff, 0xff, 10, 1, 2, 3};
	const uint8_t other[16] = {[10] = 0xff, 0xff, 10, 2, 2, 3};
	const uint8_t v6[16] = {0x20, 0x01, [12] = 10, 1, 2, 3};
	struct access *a = block(0, 0, 1);

	set_network(access_networks(a), net, 96 + 16);
	cr_assert_eq(from(a, host), REASON_ALLOW);
	cr_assert_eq(from(a, other), REASON_NETWORK);
	cr_assert_eq(from(a, v6), REASON_NETWORK);
	set_network(access_networks(a), host, 96 + 32);
	cr_assert_eq(from(a, host), REASON_ALLOW);
	cr_assert_eq(from(a, net), REASON_NETWORK);
	set_network(access_networks(a), net, 96);
	cr_assert_eq(from(a, other), REASON_ALLOW, "all of IPv4");
	cr_assert_eq(from(a, v6), REASON_NETWORK);
	set_network(access_networks(a), net, 0);
	cr_assert_eq(from(a, v6), REASON_ALLOW, "everybody");
	free(a);
}

Test(access, any_of_several_networks_will_do_and_no_address_will_not)
{
	const uint8_t one[16] = {0x20, 0x01, [15] = 1};
	const uint8_t two[16] = {0x20, 0x01, [15] = 2};
	const uint8_t three[16] = {0x20, 0x01, [15] = 3};
	struct access *a = block(3, 2, 2);
	struct check_extra extra = {.route_hash = 200};

	set_network(&access_networks(a)[0], one, 128);
	set_network(&access_networks(a)[1], three, 128);
	extra.has_address = true;
	memcpy(extra.address, one, 16);
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ALLOW);
	memcpy(extra.address, three, 16);
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ALLOW);
	memcpy(extra.address, two, 16);
	cr_assert_eq(access_allows(a, &extra, 0), REASON_NETWORK);
	extra.has_address = false;
	memcpy(extra.address, one, 16);
	cr_assert_eq(access_allows(a, &extra, 0), REASON_NETWORK);
	extra.route_hash = 0;
	cr_assert_eq(access_allows(a, &extra, 0), REASON_ROUTE, "route first");
	free(a);
}
