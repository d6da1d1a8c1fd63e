/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_RFC3339_H
#define STILE_BASE_RFC3339_H

/*
 * base/rfc3339 - wall clock instants as text, both ways.
 *
 * Range      1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z, in
 *            milliseconds since 1970. POSIX time knows no leap second, so
 *            second 60 is out of range.
 * Threads    any; no locale, no time zone data, no allocation.
 */
#include <stdint.h>

#define RFC3339_MAX 25 /* "2025-01-02T03:04:05.678Z" and its terminator */
#define RFC3339_LAST_MS INT64_C(253402300799999)

/*
 * The whole of `text` must be a date and time with "Z" or an offset;
 * fractions beyond milliseconds are cut off.
 * -EINVAL when it is not of that shape, -ERANGE when a number in it is out of
 * range (month 13, 30 February, an instant before 1970).
 */
int rfc3339_parse(const char *text, int64_t *ret_ms);

/* UTC; the fraction only when there is one. `ms` is clamped to the range. */
void rfc3339_format(int64_t ms, char out[static RFC3339_MAX]);
/* The same, always with milliseconds. */
void rfc3339_format_ms(int64_t ms, char out[static RFC3339_MAX]);

#endif
