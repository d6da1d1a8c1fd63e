/* SPDX-License-Identifier: MIT */
#include "wire/extra.h"

#include "base/label.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

static bool is_printable(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

static enum detail put_label(const void *text, size_t len, uint64_t *hash,
			     uint8_t *ret_len,
			     char ret_label[static LABEL_MAX + 1])
{
	uint64_t h;

	if (len == 0)
		return DETAIL_NONE;
	if (len > LABEL_MAX || !is_printable(text, len))
		return DETAIL_ROUTE;
	h = label_hash(text, len);
	if (*hash != 0 && *hash != h)
		return DETAIL_ROUTE;
	*hash = h;
	*ret_len = (uint8_t)len;
	memcpy(ret_label, text, len);
	return DETAIL_NONE;
}

enum detail extra_route(struct check_extra *e, const void *text, size_t len)
{
	return put_label(text, len, &e->route_hash, &e->route_len, e->route);
}

enum detail extra_scope(struct check_extra *e, const void *text, size_t len)
{
	return put_label(text, len, &e->scope_hash, &e->scope_len, e->scope);
}

enum detail extra_once(struct check_extra *e, const void *text, size_t len)
{
	uint64_t h[2];

	if (len == 0)
		return DETAIL_NONE;
	if (len > EXTRA_ONCE_MAX)
		return DETAIL_ONCE;
	label_hash_128(text, len, h);
	if ((e->once[0] | e->once[1]) != 0 &&
	    (e->once[0] != h[0] || e->once[1] != h[1]))
		return DETAIL_ONCE;
	e->once[0] = h[0];
	e->once[1] = h[1];
	return DETAIL_NONE;
}

/* ---- addresses ---- */

#define PORT_DIGITS_MAX 5

static bool is_text(const char *text, size_t len, const char *want)
{
	return strlen(want) == len && memcmp(text, want, len) == 0;
}

/* What follows the address: nothing, or ":" and the digits of a port. */
static bool is_port(const char *at, const char *end)
{
	if (at == end)
		return true;
	if (*at++ != ':' || at == end || end - at > PORT_DIGITS_MAX)
		return false;
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at == end;
}

/* Where the address proper is, without brackets and port. False: neither. */
static bool find_host(const char *text, size_t len, const char **ret_host,
		      size_t *ret_len)
{
	const char *end = text + len;
	const char *stop;

	if (*text == '[') {
		stop = memchr(text, ']', len);
		*ret_host = text + 1;
		*ret_len = stop ? (size_t)(stop - *ret_host) : 0;
		return stop && memchr(*ret_host, ':', *ret_len) &&
		       is_port(stop + 1, end);
	}
	/* One colon comes before a port, more are of an IPv6 address. */
	stop = memchr(text, ':', len);
	if (stop && memchr(stop + 1, ':', (size_t)(end - stop - 1)))
		stop = NULL;
	*ret_host = text;
	*ret_len = stop ? (size_t)(stop - text) : len;
	return is_port(*ret_host + *ret_len, end);
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

enum detail extra_address(struct check_extra *e, const void *text, size_t len)
{
	char host[INET6_ADDRSTRLEN];
	uint8_t address[sizeof(e->address)];
	const char *at;

	if (len == 0 || is_text(text, len, "unknown") ||
	    is_text(text, len, "unix:")) {
		e->has_address = false;
		return DETAIL_NONE;
	}
	if (!find_host(text, len, &at, &len) || len >= sizeof(host))
		return DETAIL_ADDRESS;
	memcpy(host, at, len);
	host[len] = '\0';
	if (strlen(host) != len)
		return DETAIL_ADDRESS;
	memcpy(address, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, host, address + sizeof(mapped)) != 1 &&
	    inet_pton(AF_INET6, host, address) != 1)
		return DETAIL_ADDRESS;
	memcpy(e->address, address, sizeof(address));
	e->has_address = true;
	return DETAIL_NONE;
}

/* ---- holds ---- */

#define HOLD_DIGITS 16

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum detail extra_hold(struct check_extra *e, const void *text, size_t len)
{
	const uint8_t *at = text;
	uint64_t hold = 0;

	if (len == 0)
		return DETAIL_NONE;
	if (len != HOLD_DIGITS)
		return DETAIL_HOLD;
	for (size_t i = 0; i < len; i++) {
		int digit = hex_digit(at[i]);

		if (digit < 0)
			return DETAIL_HOLD;
		hold = hold << 4 | (uint64_t)digit;
	}
	if (hold == 0 || (e->hold != 0 && e->hold != hold))
		return DETAIL_HOLD;
	e->hold = hold;
	return DETAIL_NONE;
}

static const struct {
	const char *unit;
	uint32_t ms;
} units[] = {{"ms", 1},
	     {"s", 1000},
	     {"m", 60 * 1000},
	     {"h", 60 * 60 * 1000},
	     {"d", 24 * 60 * 60 * 1000}};

enum detail extra_hold_time(struct check_extra *e, const void *text, size_t len)
{
	const char *at = text, *end = at + len;
	uint64_t n = 0;

	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		n = n * 10 + (uint64_t)(*at - '0');
		if (n > CHECK_HOLD_MS_MAX)
			return DETAIL_RESERVE;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!is_text(at, (size_t)(end - at), units[i].unit))
			continue;
		n *= units[i].ms;
		if (n == 0 || n > CHECK_HOLD_MS_MAX ||
		    (e->hold_ms != 0 && e->hold_ms != n))
			return DETAIL_RESERVE;
		e->hold_ms = (uint32_t)n;
		return DETAIL_NONE;
	}
	return DETAIL_RESERVE;
}
