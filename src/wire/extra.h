/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_EXTRA_H
#define STILE_WIRE_EXTRA_H

/*
 * wire/extra - what most checks do not say, written down in one way by every
 * codec.
 *
 * Does       text of a header or bytes of a frame -> a field of a struct
 *            check_extra that was zeroed before the first of them. Returns
 *            DETAIL_NONE, or what is wrong; then the field is as it was.
 * Empty      says nothing: proxies forward absent headers as empty ones.
 * Twice      the same again is fine, something else is a fault; of addresses
 *            the last one counts.
 */
#include "wire/check.h"

#include <stddef.h>
#include <stdint.h>

#define EXTRA_ONCE_MAX 128 /* bytes of a request id */

/* 1..LABEL_MAX characters of printable ASCII. */
enum detail extra_route(struct check_extra *e, const void *text, size_t len);
enum detail extra_scope(struct check_extra *e, const void *text, size_t len);

/* A request id of any bytes. */
enum detail extra_once(struct check_extra *e, const void *text, size_t len);

/* "192.0.2.1", "192.0.2.1:8080", "2001:db8::1", "[2001:db8::1]:443". Empty,
 * "unknown", and "unix:" (a Unix socket, to nginx) are no address. */
enum detail extra_address(struct check_extra *e, const void *text, size_t len);

/* 16 hexadecimal digits, not all of them 0. */
enum detail extra_hold(struct check_extra *e, const void *text, size_t len);

/* How long to hold: "500ms", "30s", "5m", "1h", "7d"; at most
 * CHECK_HOLD_MS_MAX, and not nothing. */
enum detail extra_hold_time(struct check_extra *e, const void *text,
			    size_t len);

#endif
