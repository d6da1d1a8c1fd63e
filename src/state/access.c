/* SPDX-License-Identifier: MIT */
#include "state/access.h"

#include "base/label.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAPPED_BITS 96 /* ::ffff:0:0/96 holds IPv4 */
#define ADDRESS_BITS 128

#define SAY(...) snprintf(why, ACCESS_WHY_MAX, __VA_ARGS__)

/* Digits only, at most three. */
static bool parse_bits(const char *text, unsigned most, unsigned *ret_bits)
{
	size_t len = strspn(text, "0123456789");
	unsigned bits = 0;

	if (len < 1 || len > 3 || text[len] != '\0')
		return false;
	for (size_t i = 0; i < len; i++)
		bits = bits * 10 + (unsigned)(text[i] - '0');
	*ret_bits = bits;
	return bits <= most;
}

static bool rest_is_zero(const uint8_t address[static 16], unsigned bits)
{
	for (unsigned i = bits; i < ADDRESS_BITS; i++)
		if (address[i / 8] & 0x80u >> i % 8)
			return false;
	return true;
}

bool access_parse_network(const char *text, struct network *ret_network)
{
	struct network n = {{0}, 0};
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned base = 0, bits = ADDRESS_BITS;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, n.address + 12) == 1) {
		base = MAPPED_BITS;
		n.address[10] = n.address[11] = 0xff;
	} else if (inet_pton(AF_INET6, address, n.address) != 1) {
		return false;
	}
	if (slash) {
		if (!parse_bits(slash + 1, ADDRESS_BITS - base, &bits))
			return false;
		bits += base;
	}
	n.bits = bits;
	if (!rest_is_zero(n.address, bits))
		return false;
	*ret_network = n;
	return true;
}

static bool label_ok(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len > ROUTE_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

int access_check(const struct access_record *of, unsigned count,
		 char why[static ACCESS_WHY_MAX])
{
	static const unsigned most[] = {[ACCESS_SCOPE] = ACCESS_SCOPES_MAX,
					[ACCESS_ROUTE] = ACCESS_ROUTES_MAX,
					[ACCESS_NETWORK] = ACCESS_NETWORKS_MAX};
	static const char *const names[] = {[ACCESS_SCOPE] = "scope",
					    [ACCESS_ROUTE] = "route",
					    [ACCESS_NETWORK] = "network"};
	unsigned has[ACCESS_NETWORK + 1] = {0};
	struct network network;

	for (unsigned i = 0; i < count; i++) {
		uint8_t kind = of[i].kind;

		if (kind == ACCESS_NETWORK
			    ? !access_parse_network(of[i].text, &network)
			    : !label_ok(of[i].text)) {
			SAY(kind == ACCESS_NETWORK
				    ? "a network is an address, or one with "
				      "the bits that count, such as 10.0.0.0/8 "
				      "or 2001:db8::/32, and zeroes behind"
				    : "a scope or route is 1..255 bytes "
				      "without spaces and control characters");
			return -EINVAL;
		}
		for (unsigned j = 0; j < i; j++)
			if (of[j].kind == kind &&
			    strcmp(of[j].text, of[i].text) == 0) {
				SAY("a %s is given twice", names[kind]);
				return -EINVAL;
			}
		if (++has[kind] > most[kind]) {
			SAY("at most %u of each kind: %s", most[kind],
			    names[kind]);
			return -EINVAL;
		}
	}
	return 0;
}

unsigned access_fill(const struct access_record *of, unsigned count,
		     uint64_t out[static ACCESS_WORDS_MAX])
{
	struct access head = {0};
	unsigned at = sizeof(head) / 8;

	for (unsigned kind = ACCESS_SCOPE; kind <= ACCESS_NETWORK; kind++)
		for (unsigned i = 0; i < count; i++) {
			struct network network;

			if (of[i].kind != kind)
				continue;
			if (kind != ACCESS_NETWORK) {
				out[at++] = label_hash(of[i].text,
						       strlen(of[i].text));
				head.scopes += kind == ACCESS_SCOPE;
				head.routes += kind == ACCESS_ROUTE;
				continue;
			}
			/* A row that a stranger edited admits nobody: no client
			 * has the highest multicast address. */
			if (!access_parse_network(of[i].text, &network)) {
				memset(&network, 0xff, sizeof(network));
				network.bits = ADDRESS_BITS;
			}
			memcpy(out + at, &network, sizeof(network));
			at += sizeof(network) / 8;
			head.networks++;
		}
	memcpy(out, &head, sizeof(head));
	return at;
}
