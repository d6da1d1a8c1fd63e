/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_NATIVE_H
#define STILE_WIRE_NATIVE_H

/*
 * wire/native - the native binary protocol, version 1 (docs/protocol.md).
 *
 * Does       one 128-byte request <-> struct check, struct verdict -> one
 *            64-byte reply. Little-endian, fixed offsets.
 * Pure       no clock, no allocation, no state between frames.
 *
 * Request, 128 bytes                      Reply, 64 bytes
 *   0 u8  type 1=CHECK_KEY 2=CHECK_HASH     0 u8  type | 0x80
 *   1 u8  version = 1                       1 u8  reason (enum reason)
 *   2 u8  flags (bit 0: peek)               2 u8  detail (enum detail)
 *   3 u8  key length (CHECK_KEY), else 0    3 u8  version = 1
 *   4 u32 cost, 1..1000000                  4 u32 limit
 *   8 u64 request id, echoed                8 u64 request id
 *  16 16  client address (IPv6, or         16 u32 remaining
 *         ::ffff:a.b.c.d); zero = none     20 u32 window, ms
 *  32 u64 idempotency id; 0 = none         24 u32 reset, ms
 *  40 24  route, ASCII, zero padded        28 u32 retry, ms
 *  64 64  CHECK_KEY: the key, zero padded  32 8   organization id
 *         CHECK_HASH: SHA-256, 32 bytes,   40 8   project id, zero = none
 *         then 32 zero bytes               48 8   key id
 *                                          56 8   limit name, zero padded
 *
 * Bytes 16..63 are room for rules to come: version 1 takes any value there
 * and decides nothing by it.
 */
#include "wire/check.h"

#include <stdbool.h>
#include <stdint.h>

#define NATIVE_VERSION 1
#define NATIVE_REQUEST_BYTES 128
#define NATIVE_REPLY_BYTES 64
#define NATIVE_KEY_MAX 64

#define NATIVE_CHECK_KEY 1
#define NATIVE_CHECK_HASH 2

/*
 * Reads one whole frame. Always fills *ret_check, so that there is always
 * something to answer. Returns false when the stream cannot be trusted any
 * more (unknown type or version): answer, then close.
 * For CREDENTIAL_KEY, ret_check->key points into `frame`.
 */
bool native_decode(const uint8_t frame[static NATIVE_REQUEST_BYTES],
		   struct check *ret_check);

void native_encode(const struct check *check, const struct verdict *verdict,
		   uint8_t out[static NATIVE_REPLY_BYTES]);

#endif
