/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_NATIVE_H
#define STILE_WIRE_NATIVE_H

/*
 * wire/native - the native binary protocol, version 1 (docs/protocol.md).
 *
 * Does       a request <-> struct check, struct verdict -> its reply.
 *            Little-endian, fixed offsets; the type in the first byte of a
 *            request says how long it and its reply are.
 * Pure       no clock, no allocation, no state between frames.
 *
 * Request, 128 bytes                      Reply, 64 bytes
 *   0 u8  type 1=CHECK_KEY 2=CHECK_HASH     0 u8  type | 0x80
 *   1 u8  version = 1                       1 u8  reason (enum reason)
 *   2 u8  flags (bit 0: peek)               2 u8  detail (enum detail)
 *   3 u8  key length (CHECK_KEY), else 0    3 u8  version = 1
 *   4 u32 cost, 1..1000000                  4 u32 limit
 *   8 u64 request id, echoed                8 u64 request id
 *  16 48  any value                        16 u32 remaining
 *  64 64  CHECK_KEY: the key, zero padded  20 u32 window, ms
 *         CHECK_HASH: SHA-256, 32 bytes,   24 u32 reset, ms
 *         then 32 zero bytes               28 u32 retry, ms
 *                                          32 8   organization id
 *                                          40 8   project id, zero = none
 *                                          48 8   key id
 *                                          56 8   limit name, zero padded
 *
 * 3=LONG_KEY 4=LONG_HASH, 384 bytes       Reply of types 3, 4, 5, 128 bytes
 *   0 128 as types 1 and 2, but               0 64  as above
 *         flags: bit 1: reserve,             64 24  limit name, whole
 *                bit 2: explain              88 u64 hold, 0 = none
 *         cost: 0 = what the route costs     96 u32 hold expires in, ms
 *         16..63 zero
 * 128 16  once id, zero = none              100 u32 charged
 * 144 16  client address (IPv6, or          104 u64 credits left,
 *         ::ffff:a.b.c.d), zero = none              2^64-1: not counted
 * 160 u32 time to hold, ms, 0 = as          112 u64 budget left, likewise
 *         configured                        120 u8  bit 0: repeated
 * 164 u8  route length                      121 u8  lines that follow
 * 165 u8  scope length                      122 6   zero
 * 166 26  zero
 * 192 64  route, zero padded
 * 256 64  scope, zero padded
 * 320 64  zero
 *
 * 5=SETTLE, 128 bytes
 *   0..15 as above; flags and key length zero; cost 0..1000000,
 *         2^32-1 = as reserved
 *  16 u64 hold
 *  24 104 zero
 *
 * A line, 96 bytes: right behind the reply to a check that is to be explained,
 * as many as it says, EXPLAIN_LINES_MAX at most
 *   0 u8  type 192                            8 u64 request id
 *   1 u8  its number, from 0                 16 u64 limit
 *   2 u8  level (enum rule_level)            24 u64 remaining
 *   3 u8  version = 1                        32 u64 window, ms
 *   4 u8  algorithm (enum rule_algorithm,    40 u64 reset, ms
 *         EXPLAIN_BUDGET, EXPLAIN_CREDITS)   48 u64 retry, ms
 *   5 u8  bit 0: shadow, 1: decided,         56 24  name, zero padded
 *         2: allowed                         80 16  zero
 *   6 2   zero
 */
#include "base/line.h"
#include "wire/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NATIVE_VERSION 1
#define NATIVE_REQUEST_BYTES 128
#define NATIVE_REPLY_BYTES 64
#define NATIVE_LONG_REQUEST_BYTES 384
#define NATIVE_LONG_REPLY_BYTES 128
#define NATIVE_KEY_MAX 64

#define NATIVE_CHECK_KEY 1
#define NATIVE_CHECK_HASH 2
#define NATIVE_LONG_KEY 3
#define NATIVE_LONG_HASH 4
#define NATIVE_SETTLE 5
#define NATIVE_LINE 64 /* never of a request */

#define NATIVE_LINE_BYTES 96
/* The longest reply, with its lines. */
#define NATIVE_ANSWER_MAX                                                      \
	(NATIVE_LONG_REPLY_BYTES + EXPLAIN_LINES_MAX * NATIVE_LINE_BYTES)

/* How long a frame of this type is; an unknown one is as long as type 1. */
static inline uint32_t native_request_bytes(uint8_t type)
{
	return type == NATIVE_LONG_KEY || type == NATIVE_LONG_HASH
		       ? NATIVE_LONG_REQUEST_BYTES
		       : NATIVE_REQUEST_BYTES;
}

/* Of the reply to a request of this type, without the lines behind it. */
static inline uint32_t native_reply_bytes(uint8_t type)
{
	return type >= NATIVE_LONG_KEY && type <= NATIVE_SETTLE
		       ? NATIVE_LONG_REPLY_BYTES
		       : NATIVE_REPLY_BYTES;
}

/*
 * Reads one whole frame, of native_request_bytes(frame[0]). Always fills
 * *ret_check, so that there is always something to answer; *ret_extra only
 * when the check refers to it. Returns false when the stream cannot be
 * trusted any more (unknown type or version): answer, then close.
 * For CREDENTIAL_KEY, ret_check->key points into `frame`.
 */
bool native_decode(const uint8_t *frame, struct check_extra *ret_extra,
		   struct check *ret_check);

struct native_run {
	uint32_t count; /* frames that were read */
	uint32_t bytes; /* that they fill */
	bool broken;    /* the last of them made native_decode() return false */
	bool secret;    /* one may hold a key */
};

/*
 * Reads the whole frames that stand one behind the other at the beginning of
 * `bytes`, `max` at most and up to one that is broken or to be explained, into
 * as many checks of `conn_idx`; each as native_decode() does.
 */
struct native_run native_decode_run(const uint8_t *bytes, uint32_t len,
				    uint32_t conn_idx, uint32_t max,
				    struct check_extra *ret_extras,
				    struct check *ret_checks);

/* Of the reply with its lines. */
static inline uint32_t native_answer_bytes(const struct check *check,
					   const struct verdict *verdict)
{
	uint32_t bytes = native_reply_bytes(check->dialect);

	if (unlikely(check->flags & CHECK_EXPLAIN) && verdict->explain != NULL)
		bytes += verdict->explain->count * NATIVE_LINE_BYTES;
	return bytes;
}

/* Writes native_answer_bytes(). */
void native_encode(const struct check *check, const struct verdict *verdict,
		   uint8_t *out);

/*
 * The replies to the first of `count` checks, one behind the other: to those of
 * one connection, as far as `room` bytes hold them whole. Returns how many that
 * are, *ret_bytes how long.
 */
uint32_t native_encode_run(const struct check *checks,
			   const struct verdict *verdicts, uint32_t count,
			   uint8_t *out, uint32_t room, uint32_t *ret_bytes);

#endif
